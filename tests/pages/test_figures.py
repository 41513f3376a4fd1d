"""The house style: one colour a goal, one marker a size, the same picture twice, numbers as text."""

import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from splithistory import study
from splithistory.information import implied_op
from splithistory.pages import figures
from splithistory.pages.claims import VERDICTS


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        figures.use_house_style()
        yield
    plt.close("all")


def svg(fig):
    text = io.StringIO()
    fig.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def test_every_goal_has_a_colour_and_every_size_a_marker_of_its_own():
    colours = [figures.GOAL_COLOUR[n_good] for n_good in (0, *study.GOALS)]
    markers = [figures.SIZE_MARKER[size] for size in study.SIZES]
    assert len(set(colours)) == len(colours) and len(set(markers)) == len(markers)


def test_the_same_figure_is_the_same_svg_twice():
    def drawn():
        fig, (ax,) = figures.panels(1, 1, 3.0, 2.0)
        figures.scatter_model(ax, 0.5, 0.2, n_good=4, size="53k")
        return svg(fig)

    assert drawn() == drawn()


def test_a_model_is_drawn_at_its_values_with_its_interval():
    _, ax = plt.subplots()
    figures.scatter_model(ax, 0.5, 0.2, n_good=4, size="53k", interval=(0.1, 0.3))
    bar, point = ax.lines
    assert bar.get_ydata().tolist() == [0.1, 0.3] and point.get_marker() == "s"
    assert point.get_color() == figures.GOAL_COLOUR[4]


def test_mean_and_standard_error_are_those_of_the_seeds():
    _, ax = plt.subplots()
    figures.mean_and_se(ax, [1, 2], [[1.0, 3.0], [2.0, 2.0]])
    low, high = ax.collections[0].get_segments()[0][:, 1]
    assert (low + high) / 2 == 2 and high - low == pytest.approx(2 * np.sqrt(2) / np.sqrt(2))


def test_one_seed_has_no_standard_error():
    _, ax = plt.subplots()
    figures.mean_and_se(ax, [1], [[1.0]])
    assert ax.lines[0].get_ydata().tolist() == [1.0]


def curves_of_two_goals():
    rows = [(m, s, g, x, "loss", m + x) for m, s, g in ((0, 0, 2), (1, 0, 4), (2, 1, 4)) for x in (0, 10)]
    return pd.DataFrame(rows, columns=["model", "seed", "n_good", "step", "column", "value"])


def test_curves_are_a_line_a_model_or_the_mean_of_a_seed():
    _, ax = plt.subplots()
    figures.curves(ax, curves_of_two_goals(), linestyle=":")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0, 10], [1, 11], [2, 12]]
    assert [line.get_color() for line in ax.lines] == [figures.GOAL_COLOUR[g] for g in (2, 4, 4)]
    figures.curves(ax, curves_of_two_goals(), by="seed", color="k")
    assert [line.get_ydata().tolist() for line in ax.lines[3:]] == [[0.5, 10.5], [2, 12]]


def test_a_gallery_has_a_named_panel_for_each_group_and_the_rest_is_blank():
    table = curves_of_two_goals()
    fig = figures.curve_panels(table, {"loss": {}}, ["seed", "n_good"], 2, ylim=(0, 20))
    titles = [f"{seed}, {figures.goal_name(g)}" for seed, g in ((0, 2), (0, 4), (1, 4))]
    assert [ax.get_title() or ax.get_title("left") for ax in fig.axes[:3]] == titles
    assert [ax.axison for ax in fig.axes] == [True, True, True, False]
    assert all(ax.get_ylim() == (0, 20) and len(ax.lines) == 1 for ax in fig.axes[:3])


def test_means_are_drawn_at_each_value_of_a_column():
    rows = [(4, at, value) for at, values in ((32, (1, 3)), (8, (0, 1))) for value in values]
    _, ax = plt.subplots()
    figures.means(ax, pd.DataFrame(rows, columns=["n_good", "level", "s"]), "level", "s")
    assert ax.lines[0].get_xydata().tolist() == [[8, 0.5], [32, 2]]


def test_the_implied_curve_is_the_closed_form():
    _, ax = plt.subplots()
    figures.implied_op_curve(ax, 0.25)
    s, op = ax.lines[0].get_data()
    assert np.allclose(op, implied_op(s, 0.25))


def test_a_waterfall_ends_where_its_terms_add_up_to():
    _, ax = plt.subplots()
    values = {
        "op_success_rate": 0.5,
        "op_within_success": 0.2,
        "op_within_failure": 0.1,
        "delta": 0.05,
        "op": 0.75,
    }
    figures.waterfall(ax, {name: (value, 0.01) for name, value in values.items()}, colour="k")
    ends = [sorted((bar.get_y(), bar.get_y() + bar.get_height())) for bar in ax.patches]
    assert np.allclose(ends, [(0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.75, 0.8), (0, 0.75)])
    assert [t.get_text() for t in ax.texts] == ["0.500", "0.200", "0.100", "−0.050", "0.750"]


def test_in_place_of_a_missing_figure_stands_why():
    (ax,) = figures.nothing("no arm").axes
    assert ax.texts[0].get_text() == "no arm" and not ax.axison


def test_the_legend_names_goals_and_sizes():
    _, ax = plt.subplots()
    figures.key_to_models(ax, (2, 0), ("18k",))
    texts = [t.get_text() for t in ax.get_legend().get_texts()]
    assert texts == [figures.goal_name(2), "pretrained", "18k"]


def test_a_logarithmic_axis_has_the_ticks_it_is_given_and_no_others():
    _, (ax,) = figures.panels(1, 1, 2, 2)
    ax.plot([0.1, 10], [1, 2])
    figures.log_ticks(ax.xaxis, [0.1, 0.5, 5])
    figures.log_ticks(ax.yaxis, [1, 2], ["one", "two"])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "0.5", "5"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["one", "two"]
    assert len(ax.get_xticks(minor=True)) == 0


def test_each_stage_has_a_marker_of_its_own_and_only_the_reinforced_one_is_filled():
    looks = {stage: figures.stage_look(stage, "#0072b2") for stage in figures.STAGE_MARKER}
    assert len({look["marker"] for look in looks.values()}) == len(looks)
    assert [s for s, look in looks.items() if look["markerfacecolor"] != "white"] == ["finetuned"]


def test_stacked_terms_end_at_op_once_delta_is_taken_off_and_the_key_names_them():
    _, ax = plt.subplots()
    terms = {"op_success_rate": 0.4, "op_within_success": 0.2, "op_within_failure": 0.1, "delta": 0.05}
    figures.stacked_terms(ax, pd.DataFrame([{"n_good": 4, "op": 0.65, **terms}]))
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(ends, [0.4, 0.6, 0.7, 0.65])
    assert ax.collections[0].get_segments()[0][0, 0] == 0.65
    names = [handle.get_label() for handle in figures.term_handles()]
    assert names[-2:] == ["δ, subtracted", "Op"] and len(names) == len(figures.WATERFALL)


def test_counted_bars_are_as_long_as_their_counts_and_say_them_in_readable_ink():
    _, ax = plt.subplots()
    figures.counted_bars(ax, {"a": {"x": 3, "y": 1}, "b": {"x": 0, "y": 2}}, {"x": "#333333", "y": "#eeeeee"})
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(0, 3), (3, 1), (0, 0), (0, 2)]
    assert [text.get_text() for text in ax.texts] == ["3", "1", "2"]
    assert [text.get_color() for text in ax.texts] == ["white", figures.INK, figures.INK]


def test_every_verdict_has_a_colour():
    assert list(figures.VERDICT_COLOUR) == list(VERDICTS)


def test_models_on_goals_stand_in_the_panel_of_the_goal():
    rows = {
        "n_good": [2, 2, 4],
        "goal": [2, 4, 4],
        "size": "18k",
        "s": [0.9, 0.5, 0.7],
        "op": [0.8, 0.3, 0.4],
    }
    fig, axes = figures.on_each_goal(pd.DataFrame(rows), "s", "op", "success")
    assert [ax.get_title(loc="left") for ax in axes] == [f"task {figures.goal_name(goal)}" for goal in (2, 4)]
    points = [[tuple(np.ravel(line.get_data())) for line in ax.lines] for ax in axes]
    assert points == [[(0.9, 0.8)], [(0.5, 0.3), (0.7, 0.4)]]
    plt.close(fig)


@pytest.mark.parametrize("draw", ["scatter", "plot", "errorbar"])
def test_a_figure_that_hides_a_point_is_refused_and_one_with_none_is_kept(draw, monkeypatch):
    kept = []
    monkeypatch.setattr(figures, "hand_over", lambda name, *_: kept.append(name))
    style = {"marker": "o"} if draw == "plot" else {"fmt": "o"} if draw == "errorbar" else {}
    for limits in (None, (0, 3), (0, 2.9)):
        fig, (_, other) = plt.subplots(1, 2)
        getattr(other, draw)([1.0, 2.0, np.nan], [10.0, 3.0, 5.0], **style)
        other.set_xscale("log")
        other.plot([0.1, 9], [-50, 50])  # a line without markers may go on beyond a panel
        getattr(other, draw)([0.5], [3.0], transform=other.transAxes, **({} if draw == "errorbar" else style))
        other.set_ylim(limits and (limits[0], 10 * limits[1] / 3))
        if limits == (0, 2.9):
            with pytest.raises(ValueError, match="fig-x: panel 2 hides 1 points, allowed are those in"):
                figures.keep(fig, "fig-x")
        figures.keep(fig, "fig-x", cut_off=limits == (0, 2.9))
        plt.close(fig)
    assert kept == ["fig-x"] * 3
