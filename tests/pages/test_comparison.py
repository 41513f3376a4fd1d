"""Outputs compared: what moved is named with its number, and nothing else is."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_output

from splithistory.pages.comparison import Tolerance, comparable, differences
from splithistory.pages.gluing import PREFIX as GLUE
from splithistory.pages.plotted import MIME, plotted


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(**data):
    return new_output("display_data", data={kind.replace("_", "/"): value for kind, value in data.items()})


def printed(before, after, tolerance=0.0):
    return differences([stream(before)], [stream(after)], Tolerance.read(tolerance))


# --- printed numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "tolerance"),
    [
        ("Op 0.412 nats", "Op 0.412 nats", 0.0),
        ("Op 0.412 nats", "Op   0.412 nats\n", 0.0),  # blanks of a column that got wider
        ("Op 0.412", "Op 0.413", 0.0001),  # 0.41249 and 0.41251 are printed so
        ("Op −0.01", "Op 0.00", 0.005),
        ("12 %", "13 %", 0.001),
        ("1e-05", "2e-05", 1e-9),
        ("1,000 of them", "1,002 of them", 2),
        ("100", "104", {"relative": 0.05}),
        ("0.000", "0.001", {"relative": 0.05}),  # 0.00049 and 0.00051 are printed so
        ("0.001", "0.000", {"relative": 0.05}),
        ("nan 18k a3 v1.2.3", "nan 18k a3 v1.2.3", 0.0),
    ],
)
def test_numbers_within_their_precision_and_tolerance_agree(before, after, tolerance):
    assert printed(before, after, tolerance) == []


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "message"),
    [
        ("Op 0.412", "Op 0.413", 0.0, "stdout, line 1: 0.412 -> 0.413, moved by +0.001 (allowed: 0)"),
        ("Op 0.41", "Op 0.44", 0.01, "0.41 -> 0.44, moved by +0.03 (allowed: 0.02), in 'Op 0.44'"),
        ("a\n5 of 8", "a\n6 of 8", 0.9, "line 2: 5 -> 6, moved by +1 (allowed: 0.9)"),
        ("Op -0.1", "Op 0.1", 0.0, "-0.1 -> 0.1, moved by +0.2"),
        ("1,000", "1,001", 0.0, "1,000 -> 1,001, moved by +1"),
        ("18k", "19k", 0.0, "18 -> 19"),
        ("0.000", "0.002", {"relative": 0.05}, "0.000 -> 0.002, moved by +0.002 (allowed: 0.001)"),
        ("0", "1", {"relative": 0.05}, "0 -> 1, moved by +1 (allowed: 0)"),
        ("Op 0.4: yes", "Op 0.4: no", 9.0, "'Op 0.4: yes' -> 'Op 0.4: no'"),
        ("0.5", "nan", 9.0, "'0.5' -> 'nan'"),
        ("a", "a\nb", 9.0, "line 2: None -> 'b'"),
    ],
)
def test_a_number_that_moved_is_named_with_its_way(before, after, tolerance, message):
    (line,) = printed(before, after, tolerance)
    assert message in line


@given(st.floats(-1e6, 1e6), st.floats(-1, 1), st.floats(1e-9, 1.0), st.integers(1, 6))
def test_values_within_the_tolerance_always_agree_however_they_are_rounded(value, share, tolerance, digits):
    other = value + share * tolerance * (1 - 1e-9)
    assert printed(f"{value:.{digits}f}", f"{other:.{digits}f}", tolerance) == []


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.integers(3, 6))
def test_values_further_apart_than_tolerance_and_rounding_never_agree(value, tolerance, digits):
    moved = value + tolerance + 2.1 * 10.0**-digits
    (line,) = printed(f"{value:.{digits}f}", f"{moved:.{digits}f}", tolerance)
    assert "moved by +" in line


@pytest.mark.parametrize("given", [-1, "0.1", True, None, {"absolute": -1}, {"percent": 1}, [1]])
def test_a_tolerance_that_means_nothing_is_refused(given):
    with pytest.raises(ValueError, match=r"tolerance: given .*, allowed a number >= 0"):
        Tolerance.read(given)


# --- tables ------------------------------------------------------------------------------------

TABLE = pd.DataFrame(
    {"op": [0.412, 0.5], "n": [3, 4]},
    pd.MultiIndex.from_tuples([("18k", 0), ("18k", 1)], names=["size", "seed"]),
)


def tables(after, tolerance=0.0):
    outputs = [[shown(text_html=t.to_html(), text_plain=str(t))] for t in (TABLE, after)]
    return differences(*outputs, Tolerance.read(tolerance))


def test_a_cell_of_a_table_that_moved_is_named_by_row_and_column():
    moved = TABLE.assign(op=[0.412, 0.6])
    assert tables(moved) == ["display 1, row '1', column 'op': 0.500 -> 0.600, moved by +0.1 (allowed: 0)"]
    (line,) = tables(TABLE.assign(op=[0.512, 0.5]))
    assert "row '18k 0', column 'op': 0.412 -> 0.512" in line
    assert tables(moved, 0.1) == [] and tables(TABLE) == []


def test_tables_of_other_shapes_heads_and_words_do_not_agree():
    assert tables(TABLE.iloc[:1]) == ["display 1: a table of 4 × 4 cells -> 3 × 4"]
    (line,) = tables(TABLE.rename(columns={"op": "imp"}), 9.0)
    assert "'op' -> 'imp'" in line
    (line,) = differences([shown(text_html="<b>3</b> of 4")], [shown(text_html="<b>2</b> of 4")])
    assert "display 1, text, line 1: 3 -> 2" in line
    (line,) = differences([shown(text_html=TABLE.to_html())], [shown(text_html="none")])[1:]
    assert line == "display 1: 1 -> 0 tables"


def test_what_no_reader_sees_of_a_table_is_not_compared():
    styled = [
        f"<style>#{name} {{color: red}}</style><table id={name}><tr><td>1</td></table>" for name in "ab"
    ]
    assert differences(*([shown(text_html=html)] for html in styled)) == []


# --- figures -----------------------------------------------------------------------------------


def drawn(y, scale="linear", ends=(0, 1)):
    fig, ax = plt.subplots()
    ax.plot(y, label="Op")
    ax.set_yscale(scale)
    ax.set_ylim(*ends)
    plt.close(fig)
    output = shown(image_png="pixels", text_plain=str(fig))
    output.data[MIME] = plotted(fig)
    return output


def test_a_moved_point_of_a_figure_is_named():
    output = drawn([0.1, 0.5, 0.9])
    output.metadata = {"scrapbook": {"name": "fig-op"}}
    (line,) = differences([drawn([0.1, 0.4, 0.9])], [output])
    assert line.startswith('display 1 (fig-op), panel 1, line 1 "Op", y[1]: 0.4 -> 0.5, moved by +0.1')


def test_figures_agree_where_no_eye_could_tell_them_apart_or_within_the_tolerance():
    before, unseen, moved = ([drawn([0.1, y, 0.9])] for y in (0.4, 0.40001, 0.45))
    assert differences(before, unseen) == []
    assert differences(before, moved, Tolerance(0.06)) == [] != differences(before, moved, Tolerance(0.04))


@pytest.mark.parametrize("scale", ["log", "linear"])
def test_a_small_number_of_a_logarithmic_axis_is_compared_as_the_eye_sees_it(scale):
    one, other, near = ([drawn([y, 1e-3, 1.0], scale, (1e-6, 1))] for y in (1e-5, 2e-5, 1.0001e-5))
    lines = differences(one, other)
    assert [line.split(", ")[2:4] for line in lines] == [['line 1 "Op"', "y[0]: 1e-05 -> 2e-05"]] * (
        scale == "log"
    )
    assert differences(one, near) == [] == differences(one, other, Tolerance(1e-4))
    lines = differences(one, [drawn([1e-5, 1e-3, 1.0], scale, (2e-6, 1))])
    assert any("limits of y[0]: 1e-06 -> 2e-06" in line for line in lines) == (scale == "log")


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("hidden", [0.0, np.inf, -np.inf, np.nan])
def test_what_an_axis_does_not_show_never_agrees_with_what_it_does(hidden, scale):
    one, other = ([drawn([y, 0.1, 1.0], scale, (0.1, 1))] for y in (hidden, 0.5))
    for lines in (differences(one, other, Tolerance(relative=0.1)), differences(other, one)):
        assert sum("y[0]" in line and "line 1" in line for line in lines) == 1
    assert differences(one, one) == []


def test_a_long_curve_of_a_logarithmic_axis_is_compared_so_too():
    y = np.geomspace(1e-6, 1, 480)
    moved = np.where(np.arange(480) < 20, 2 * y, y)
    (line,) = differences(*([drawn(values, "log", (1e-6, 1))] for values in (y, moved)))
    assert "(means of 480 numbers)[0]" in line


@pytest.mark.parametrize("after", [[0.1, 0.4], [0.1, np.nan, 0.9]])
def test_a_point_that_is_gone_is_noticed(after):
    lines = differences([drawn([0.1, 0.4, 0.9])], [drawn(after)], Tolerance(9.0))
    assert any("3 -> 2 numbers" in line or "0.4 -> nan" in line for line in lines)


def shown_beside_a_long_axis(put) -> list:
    fig, ax = plt.subplots()
    put(ax)
    ax.set(xlim=(10_000, 500_000), ylim=(0, 1), xscale="log")
    plt.close(fig)
    return [new_output("display_data", data={MIME: plotted(fig)})]


@pytest.mark.parametrize("method", ["bar", "text"])
def test_what_stands_along_two_axes_is_compared_along_each(method):
    """Weights along one, up to 500,000, and nats along the other."""

    def at(x, y):
        return shown_beside_a_long_axis(
            lambda ax: ax.bar([x], [y], 9e3) if method == "bar" else ax.text(x, y, "n")
        )

    for moved, coordinate in (((18_000, 0.42), "y"), ((18_200, 0.41), "x")):
        lines = differences(at(18_000, 0.41), at(*moved))
        assert lines and all(f"{method} 1, {coordinate}[" in line for line in lines)
    assert differences(at(18_000, 0.41), at(18_000.1, 0.4100001)) == []


def test_a_text_at_zero_may_have_the_noise_of_a_sum():
    zero, noise = (shown_beside_a_long_axis(lambda ax, y=y: ax.text(2e4, y, "n")) for y in (0.0, 1e-17))
    assert differences(zero, noise) == []


def test_a_mark_that_came_or_went_is_noticed():
    output = drawn([0.1])
    output.data[MIME] += "\npanel 1, bar 1, x: 0 1"
    assert differences([drawn([0.1])], [output]) == ["display 1, panel 1, bar 1, x: 0 -> 2 numbers"]
    assert differences([output], [drawn([0.1])]) == ["display 1, panel 1, bar 1, x: 2 -> 0 numbers"]


# --- whole cells -------------------------------------------------------------------------------


def test_pictures_and_plain_text_beside_html_are_not_kept():
    output = shown(image_png="pixels", text_html="<b>1</b>", text_plain="1")
    assert dict(comparable(output).data) == {"text/html": "<b>1</b>"}
    glued = new_output("display_data", data={f"{GLUE}image/svg+xml": "<svg/>", f"{GLUE}text/plain": "2"})
    assert dict(comparable(glued).data) == {"text/plain": "2"}
    assert dict(comparable(shown(text_plain="1")).data) == {"text/plain": "1"}


def test_glued_values_are_compared_under_their_names():
    outputs = [new_output("display_data", data={f"{GLUE}text/plain": f"'{x}'"}) for x in ("0.41", "0.42")]
    outputs[1].metadata = {"scrapbook": {"name": "op"}}
    (line,) = differences(outputs[:1], outputs[1:])
    assert "display 1 (op), line 1: 0.41 -> 0.42" in line


def test_outputs_that_came_or_went_are_noticed():
    one = shown(text_plain="1")
    assert differences([one, one], [one]) == ["displays: 2 -> 1"]
    assert differences([shown(text_html="1")], [one]) == ["display 1: no text/html any more"]
    assert differences([stream("a", "stderr")], []) == ["stderr, line 1: 'a' -> ''"]
    errors = [new_output("error", ename="ValueError", evalue=f"given {x}", traceback=[]) for x in (1, 2)]
    (line,) = differences(errors[:1], errors[1:])
    assert "error, line 1: 1 -> 2" in line and differences([one], [one]) == []
