"""Figures as text: every kind of mark gives its numbers, and one that moves changes its line only."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from splithistory.pages.plotted import BLOCKS, plotted


@pytest.fixture
def axes():
    yield plt.subplots()[1]
    plt.close("all")


def told(axes) -> dict[str, str]:
    return dict(line.partition(": ")[::2] for line in plotted(axes.figure).splitlines())


MARKS = {
    "line": (lambda ax: ax.plot([1, 2], [0.5, 0.25], label="Op: a"), 'line 1 "Op a", y', "0.5 0.25"),
    "reference line": (lambda ax: ax.axhline(3), "line 1, y", "3 3"),
    "points": (lambda ax: ax.scatter([1, 2], [3, 4], c=[5, 6]), "marks 1, y", "3 4"),
    "colours of points": (lambda ax: ax.scatter([1, 2], [3, 4], c=[5, 6]), "marks 1, values", "5 6"),
    "bar": (lambda ax: ax.bar([1], [2], bottom=[3]), "bar 1, y", "3 5"),
    "width of a bar": (lambda ax: ax.bar([1], [2], bottom=[3]), "bar 1, x", "0.6 1.4"),
    "error bars": (lambda ax: ax.errorbar([1], [2], yerr=[0.5]), "marks 1, y", "1.5 2.5"),
    "band": (lambda ax: ax.fill_between([0, 1], [2, 3], [4, 5]), "marks 1, y", "4 2 3 5 5 4 4"),
    "arrow": (lambda ax: ax.fill([0, 1, 0], [0, 0, 2]), "patch 1, y", "0 0 2 0"),
    "image": (lambda ax: ax.imshow([[1, 2], [3, 4]]), "image 1, values", "1 2 3 4"),
    "mesh": (lambda ax: ax.pcolormesh([[1, 2], [3, 4]]), "marks 1, values", "1 2 3 4"),
    "text": (lambda ax: ax.text(1, 2, "as\nsaid"), "text 1, says", '"as said"'),
    "place of a note": (lambda ax: ax.annotate("n", (1, 2), (3, 4)), "text 1, y", "2"),
    "place of an image": (lambda ax: ax.imshow([[1]], extent=(0, 1, 2, 4)), "image 1, y", "2 4"),
    "names of ticks": (lambda ax: ax.set_xticks([1, 2], ["a", "b"]), "frame, names of x", '"a" "b"'),
    "limits": (lambda ax: ax.set_ylim(1, 10), "frame, limits of y", "1 10"),
    "scale": (lambda ax: ax.set_yscale("log"), "frame, scales", '"linear" "log"'),
    "title": (lambda ax: ax.set_title("a title", loc="left"), "frame, texts", '"a title"'),
    "missing": (lambda ax: ax.plot([0, 1], [np.nan, -0.0]), "line 1, y", "nan 0"),
}


@pytest.mark.parametrize("kind", MARKS)
def test_every_kind_of_mark_gives_its_numbers(kind, axes):
    draw, mark, numbers = MARKS[kind]
    before = told(axes)
    draw(axes)
    assert told(axes)[f"panel 1, {mark}"] == numbers != before.get(f"panel 1, {mark}")


def test_legends_and_titles_are_told(axes):
    axes.plot([0], label="first")
    axes.legend()
    axes.figure.suptitle("over all")
    axes.figure.legend(["of the figure"])
    assert told(axes)["panel 1, frame, texts"] == '"first"'
    assert told(axes)["figure, texts"] == '"over all" "of the figure"'


def test_x_is_told_once_for_marks_that_share_it(axes):
    axes.plot([1, 2], [3, 4])
    axes.plot([1, 2], [5, 6])
    axes.plot([2, 2], [7, 8])
    x = [mark for mark in told(axes) if mark.endswith(", x") and "line" in mark]
    assert x == ["panel 1, line 1, x", "panel 1, line 3, x"]


def test_long_curves_stay_short_and_one_moved_point_still_shows(axes):
    y = np.sin(np.linspace(0, 3, 2000))
    (line,) = axes.plot(y)
    mark = "panel 1, line 1, y (means of 2000 numbers)"
    before = told(axes)[mark].split()
    line.set_ydata(np.where(np.arange(2000) == 700, y + 0.1, y))
    after = told(axes)[mark].split()
    assert len(before) == BLOCKS and sum(a != b for a, b in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize(("odd", "word"), [(np.nan, "nan"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_a_number_that_is_not_finite_hides_no_other_of_a_long_curve(odd, word, axes):
    y = np.linspace(0, 1, 480)
    y[7] = odd
    (line,) = axes.plot(y)
    mark = f"panel 1, line 1, y (means of 480 numbers, 1 {word})"
    before = told(axes)[mark].split()
    assert np.isfinite(np.array(before, float)).all()
    line.set_ydata(np.where(np.arange(480) == 8, y + 0.1, y))
    assert [a != b for a, b in zip(before, told(axes)[mark].split(), strict=True)] == [True] + 23 * [False]
    line.set_ydata(np.where(np.arange(480) == 9, odd, y))
    assert f"panel 1, line 1, y (means of 480 numbers, 2 {word})" in told(axes)


def test_a_stretch_without_any_number_is_told_without_a_warning(axes, recwarn):
    axes.plot(np.where(np.arange(48) < 2, np.nan, 1.0))
    assert told(axes)["panel 1, line 1, y (means of 48 numbers, 2 nan)"].split() == ["nan"] + 23 * ["1"]
    assert not recwarn.list


def test_labels_of_several_lines_stay_on_one_and_keep_panels_apart():
    figure, panels = plt.subplots(2)
    for panel, y in zip(panels, (1, 2), strict=True):
        panel.plot([y, y], label="first\nsecond\x0bthird: x")
    found = told(panels[0])
    for number in (1, 2):
        mark = f'panel {number}, line 1 "first second third x", y'
        assert found[mark] == f"{number} {number}"
    assert all(line.startswith(("panel", "figure")) for line in plotted(figure).splitlines())
    plt.close("all")
