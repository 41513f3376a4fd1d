"""What a figure plots, as text: figures are compared by the numbers behind their marks, not by their pixels.

`%load_ext splithistory.pages.plotted` in a notebook: each Matplotlib figure that a cell shows carries, beside
its picture, a text of the type `MIME`. `comparison` reads it. Knows no chapter and no house style.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

MIME = "text/x-plotted"
BLOCKS = 24  # a longer list of numbers is told by the means of so many blocks


def plotted(figure: Figure) -> str:
    """The data of a figure, a line for each coordinate of each mark: `panel 1, line 2 "Op", y: 0 0.5 1`.

    Numbers have six digits. Lists longer than `BLOCKS` are told by the means of `BLOCKS` equal stretches, so
    that a text stays short and one moved point still shows; what is not finite is counted beside them, and
    hides no mean. The x of a mark is left out where it is that of the mark before. Nothing is drawn for it.
    """
    lines = [_line("figure", "texts", [text.get_text() for text in _loose_texts(figure)])]
    for number, axes in enumerate(figure.axes, start=1):
        x = ""
        for mark, coordinates in _marks(axes):
            told = {name: _line(f"panel {number}, {mark}", name, v) for name, v in coordinates.items()}
            before, x = x, _line("", "x", coordinates.get("x", []))
            lines += [line for name, line in told.items() if name != "x" or x != before]
    return "\n".join(line for line in lines if line)


def load_ipython_extension(shell: Any) -> None:
    """Let the notebook's figures carry their data (`%load_ext splithistory.pages.plotted`)."""
    from IPython.core.formatters import BaseFormatter

    class Formatter(BaseFormatter):
        def __call__(self, obj):  # not `for_type`: whoever chooses a format of figures empties that
            return plotted(obj) if isinstance(obj, Figure) else None

    shell.display_formatter.formatters[MIME] = Formatter(parent=shell.display_formatter)


def draw_no_pictures(shell: Any) -> None:
    """Spare the drawing where nobody looks at a picture: outputs lose their images, and nothing else."""
    for kind, formatter in shell.display_formatter.formatters.items():
        if kind.startswith("image/") or kind == "application/pdf":
            formatter.enabled = False


def begin_anew(shell: Any) -> None:
    """Forget figures, their style and how objects are shown, between notebooks that share a kernel."""
    import matplotlib.pyplot as plt

    plt.close("all")
    plt.rcdefaults()
    shell.init_display_formatter()
    load_ipython_extension(shell)


def _loose_texts(figure: Figure) -> list[Text]:
    """What stands outside of the panels: titles and legends of the whole figure."""
    legends = [text for legend in figure.legends for text in legend.get_texts()]
    return [*figure.texts, *legends]


def _marks(axes: Axes) -> Iterator[tuple[str, dict[str, Any]]]:
    """(its name in the panel, {coordinate: numbers or texts}) of the panel's frame and of each mark in it."""
    yield "frame", _frame(axes)
    counts: dict[str, int] = {}
    for artist in axes.get_children():
        kind, coordinates = _mark(artist)
        if artist is axes.patch or artist in axes.spines.values() or not kind:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        # on one line, and without the `: ` that parts a mark from its numbers
        label = " ".join(str(artist.get_label()).replace(":", "").split())
        named = f' "{label}"' if label not in ("", "None") and not label.startswith("_") else ""
        yield f"{kind} {counts[kind]}{named}", coordinates


def _frame(axes: Axes) -> dict[str, Any]:
    ticks = {
        f"names of {name}": axis.get_major_formatter().format_ticks(list(axis.get_major_locator()()))
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis))
        if isinstance(axis.get_major_locator(), FixedLocator)
    }
    legend = axes.get_legend()
    texts = [axes.get_title(where) for where in ("left", "center", "right")]
    texts += [axes.get_xlabel(), axes.get_ylabel()]
    texts += [text.get_text() for text in legend.get_texts()] if legend else []
    limits = {"limits of x": axes.get_xlim(), "limits of y": axes.get_ylim()}
    return (
        {"texts": [t for t in texts if t], "scales": [axes.get_xscale(), axes.get_yscale()]} | limits | ticks
    )


def _mark(artist: Any) -> tuple[str, dict[str, Any]]:
    """The kind of mark an artist is ("" for none) and its data, in the panel's own coordinates."""
    match artist:
        case Line2D():
            return "line", {"x": artist.get_xdata(orig=False), "y": artist.get_ydata(orig=False)}
        case Rectangle():
            return "bar", _corners(*artist.get_bbox().intervalx, *artist.get_bbox().intervaly)
        case Patch():
            corners = artist.get_patch_transform().transform(artist.get_path().vertices)
            return "patch", {"x": corners[:, 0], "y": corners[:, 1]}
        case AxesImage():
            return "image", {**_corners(*artist.get_extent()), "values": artist.get_array()}
        case Collection():
            return "marks", _collection(artist)
        case Text() if artist.get_text() and artist.axes and artist in artist.axes.texts:
            x, y = getattr(artist, "xy", artist.get_position())
            return "text", {"x": x, "y": y, "says": [artist.get_text()]}
    return "", {}


def _corners(left: float, right: float, bottom: float, top: float) -> dict[str, Any]:
    """Where an upright rectangle begins and ends along each axis."""
    return {"x": [left, right], "y": [bottom, top]}


def _collection(marks: Collection) -> dict[str, Any]:
    """Where the marks are (scatter), or the corners of their shapes (bands, error bars), and their values."""
    corners = [np.asarray(path.vertices) for path in marks.get_paths()]
    scattered = isinstance(marks, PathCollection)
    points = np.asarray(marks.get_offsets()) if scattered else np.concatenate([*corners, np.empty((0, 2))])
    values = {} if marks.get_array() is None else {"values": marks.get_array()}
    return {"x": points[:, 0], "y": points[:, 1]} | values


def _line(mark: str, name: str, values: Any) -> str:
    """One line of the text: numbers, or texts in quotation marks; "" where there are none."""
    texts = [value for value in np.ravel(values) if isinstance(value, str)]
    if texts:
        told, of = " ".join(f'"{text}"' for text in texts), ""
    else:
        told, of = _numbers(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel())
    return f"{mark}, {name}{of}: {' '.join(told.split())}" if told else ""


def _numbers(values: np.ndarray) -> tuple[str, str]:
    """Numbers (n,) as text, and a word on how many they are where it tells their means only."""
    shown, word = list(values), ""
    if len(values) > BLOCKS:
        shown = [_mean(stretch) for stretch in np.array_split(values, BLOCKS)]
        counts = {"nan": np.isnan(values).sum(), "infinite": np.isinf(values).sum()}
        odd = "".join(f", {n} {kind}" for kind, n in counts.items() if n)
        word = f" (means of {len(values)} numbers{odd})"
    return " ".join(f"{value + 0.0:.6g}" for value in shown), word


def _mean(stretch: np.ndarray) -> float:
    """The mean of what is finite; nan of nothing, without NumPy's warning."""
    finite = stretch[np.isfinite(stretch)]
    return float(finite.mean()) if len(finite) else np.nan
