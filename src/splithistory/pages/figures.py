"""House style, and the figures that several chapters share.

Takes arrays, tables and Matplotlib axes, never the study. One colour a goal and one marker a
size everywhere, both readable without the other (colours after Okabe and Ito).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from ..information import implied_op
from .gluing import hand_over
from .tables import use_house_tables

GOAL_COLOUR = {0: "#6b6b6b", 2: "#0072b2", 4: "#d55e00", 6: "#009e73"}  # by n_good; 0: pretrained only
SIZE_MARKER = {"18k": "o", "53k": "s", "144k": "^", "402k": "D"}
STAGE_MARKER = {"finetuned": "o", "pretrained": "s", "untrained": "^", "generator": "D"}
POINT = "point of "  # how the identifier of a point in an SVG begins; what follows names it
INK, FAINT = "#333333", "#9a9a9a"
VERDICT_COLOUR = {
    "reproduced": "#009e73",
    "reproduced with a correction": "#0072b2",
    "contradicted": "#d55e00",
    "undecided": "#6b6b6b",
    "not testable": "#b8b8b8",
    "too small to tell": "#dddddd",
}
_SHADE = {"op_success_rate": 1, "op_within_success": 0.6, "op_within_failure": 0.3, "delta": 0.45, "op": 1}


def use_house_style() -> None:
    """Apply the style file; in a notebook, figures become SVG (the same bytes every time), tables ours."""
    here = Path(__file__).parent
    for font in sorted(here.glob("fonts/*.ttf")):
        font_manager.fontManager.addfont(font)
    plt.style.use(["default", here / "house.mplstyle"])  # over a user's own settings
    use_house_tables()
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
    except (ImportError, AttributeError):
        pass  # outside a notebook there is no inline backend to set


def goal_name(n_good: int) -> str:
    """How a goal is called in legends."""
    return f"$n_{{\\mathrm{{good}}}} = {n_good}$" if n_good else "pretrained"


def panels(rows: int, columns: int, width: float, height: float, **settings):
    """A figure of rows × columns panels, each so wide and high (inches), and the axes as one list."""
    fig, axes = plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), squeeze=False, **settings
    )
    return fig, list(axes.flat)


def handle(label: str, **style) -> Line2D:
    """A legend's line or marker of this style."""
    return Line2D([], [], label=label, **{"color": INK, **style})


def mark(label: str, marker: str, **style) -> Line2D:
    """A legend's marker without a line."""
    return handle(label, marker=marker, linestyle="none", **style)


def goal_handles(n_goods: Iterable[int]) -> list[Line2D]:
    """A thick line of each goal's colour."""
    return [handle(goal_name(g), color=GOAL_COLOUR[g], linewidth=3) for g in n_goods]


def size_handles(sizes: Iterable[str]) -> list[Line2D]:
    """An open marker for each size."""
    return [mark(size, SIZE_MARKER[size], markerfacecolor="white") for size in sizes]


BESIDE = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # a legend to the right of its panel


def key_to_models(ax, n_goods, sizes, *, extra=(), **where) -> None:
    """One legend for colour (goal) and marker (size), and for any `extra` handles."""
    ax.legend(handles=[*goal_handles(n_goods), *size_handles(sizes), *extra], **where)


def legend_above(fig, handles, columns: int = 3) -> None:
    """One legend for all panels, above them."""
    fig.legend(handles=list(handles), ncols=columns, loc="outside upper center")


def stacked_terms(ax, means) -> None:
    """Op as a bar a row, from the top: terms in shades of the goal's colour, less δ (open box); Op a line.

    means: rows of n_good and the names in WATERFALL, in nats.
    """
    y, left = np.arange(len(means)), np.zeros(len(means))
    colour = means["n_good"].map(GOAL_COLOUR)
    for name in list(WATERFALL)[:3]:
        ax.barh(y, means[name], left=left, color=colour, alpha=_SHADE[name], height=0.72)
        left = left + means[name].to_numpy()
    ax.barh(y, -means["delta"], left=left, height=0.72, color="none", edgecolor=INK, linewidth=0.7)
    ax.vlines(means["op"], y - 0.46, y + 0.46, color=INK, linewidth=1.6)
    ax.set(ylim=(len(means) - 0.3, -0.7), xlabel="Op and its terms (nats)")  # first row on top
    ax.grid(axis="y", visible=False)


def term_handles() -> list[Line2D]:
    """The key of `stacked_terms`: a shade a term, δ as an open box, Op as a line."""
    names = dict(zip(WATERFALL, ("success rate, kl(s, p)", "within success", "within failure"), strict=False))
    terms = [handle(name, linewidth=6, alpha=_SHADE[term]) for term, name in names.items()]
    return [*terms, mark("δ, subtracted", "s", markerfacecolor="none"), mark("Op", "|", markersize=10)]


def counted_bars(ax, counts, colours) -> None:
    """A bar for each row of counts {row: {part: n}}, from the top, its parts in colours, with their n."""
    for y, parts in enumerate(counts.values()):
        left = 0
        for part, n in parts.items():
            ax.barh(y, n, left=left, color=colours[part], edgecolor="white", height=0.75)
            if n:
                ink = "white" if sum(to_rgb(colours[part])) < 1.9 else INK
                ax.text(left + n / 2, y, str(n), ha="center", va="center", color=ink)
            left += n
    ax.set_yticks(range(len(counts)), counts)
    ax.invert_yaxis()
    ax.grid(False)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


def stage_look(stage: str, colour: str = INK) -> dict:
    """How models of a stage are drawn: a marker of their own, open unless they were reinforced."""
    face = colour if stage == "finetuned" else "white"
    return {"color": colour, "marker": STAGE_MARKER[stage], "markerfacecolor": face, "linestyle": "none"}


def scatter_model(ax, x, y, *, n_good: int, size: str, interval=None, seed=None, **style) -> None:
    """One model as a point that the book names on hover, with a vertical interval (low, high) if given."""
    look = {"color": GOAL_COLOUR[n_good], "markeredgecolor": "white"} | style
    if interval is not None:
        ax.plot([x, x], interval, color=look["color"], linewidth=1, alpha=0.8)
    name = f"{size}{'' if seed is None else f', seed {seed}'}: {x:.3f}, {y:.3f}".replace("-", "−")
    ax.plot(x, y, marker=SIZE_MARKER[size], linestyle="none", gid=f"{POINT}{name}", **look)


def scatter_models(ax, table, x: str, y: str, *, shift=None, **style) -> None:
    """Every row of a table of models as a point, with the interval y_low to y_high where the table has it.

    shift: {n_good: factor} on x, so that points of one size do not hide each other.
    """
    ends = (f"{y}_low", f"{y}_high")
    for row in table.to_dict("records"):
        interval = (row[ends[0]], row[ends[1]]) if ends[0] in row else None
        at = row[x] * (shift or {}).get(row["n_good"], 1.0)
        named = {key: row[key] for key in ("n_good", "size", "seed") if key in row}
        scatter_model(ax, at, row[y], interval=interval, **named | style)


def diagonal(ax, reach: float, least: float = 0.0) -> None:
    """The dashed line of equality."""
    ax.plot([least, reach], [least, reach], color=INK, linewidth=1, linestyle="--")


def on_each_goal(table, x: str, y: str, label: str, *, width=2.93, height=3.0):
    """Models (n_good: their own goal) on every goal, y against x, a panel each: figure and axes."""
    goals = dict(list(table.groupby("goal")))
    fig, axes = panels(1, len(goals), width, height, sharey=True)
    for ax, (goal, rows) in zip(axes, goals.items(), strict=True):
        scatter_models(ax, rows, x, y)
        reach = 1.08 * rows[x].max()
        ax.set(title=f"task {goal_name(goal)}", xlabel=label, xlim=(-0.02 * reach, reach))
        ax.set_ylim(-0.01, 1.1 * table[y].max())
    return fig, axes


def means(ax, table, x: str, column: str, **style) -> None:
    """Mean and standard error over seeds of a column, against another column, a line a goal."""
    for n_good, rows in table.groupby("n_good"):
        values = rows.groupby(x)[column].apply(np.array)
        look = {"color": GOAL_COLOUR[n_good], "marker": "o", "label": goal_name(n_good)}
        mean_and_se(ax, values.index, values.tolist(), **look | style)


def means_by_size(ax, table, column: str, **style) -> None:
    """`means` against the number of weights."""
    means(ax, table, "n_parameters", column, **style)


def curves(ax, table, *, by: str = "model", **style) -> None:
    """A line for each model of a table of curves (step, value), or for each seed: mean over its goals."""
    for _, rows in table.groupby(by):
        line = rows.groupby("step")["value"].mean()
        look = {"color": GOAL_COLOUR[rows["n_good"].iloc[0]], "linewidth": 1.1}
        ax.plot(line.index, line, **look | style)


def curve_panels(table, looks, by, columns: int, *, ylim) -> plt.Figure:
    """A panel for each group of a table of curves, so many in a row, a line a model and column of curves.

    looks: {column of curves: style of its line}; by: what groups have in common, named above each panel.
    """
    groups = list(table.groupby(list(by), sort=False))
    fig, axes = panels(-(-len(groups) // columns), columns, 5.25 / columns, 1.5, sharey=True)
    for ax, (place, rows) in zip(axes, groups, strict=False):
        for column, look in looks.items():
            curves(ax, rows[rows["column"] == column], **{"linewidth": 0.8} | look)
        names = [goal_name(v) if key == "n_good" else str(v) for key, v in zip(by, place, strict=True)]
        ax.set_title(", ".join(names), fontsize=9)
    axes[0].set_ylim(*ylim)
    for ax in axes[len(groups) :]:
        ax.axis("off")
    for ax in axes[-columns:]:
        ax.set_xlabel("updates")
    return fig


def estimates(ax, positions, intervals, *, vertical: bool = True, **style) -> None:
    """(mean, half width) pairs as points with bars."""
    means, halves = np.transpose(list(intervals))
    look = {"marker": "o", "linestyle": "none"} | style
    if vertical:
        ax.errorbar(positions, means, yerr=halves, **look)
    else:
        ax.errorbar(means, positions, xerr=halves, **look)


def size_axis(ax, n_parameters, sizes) -> None:
    """A logarithmic axis of numbers of weights, with a tick at each size by its name."""
    log_ticks(ax.xaxis, n_parameters, sizes)
    ax.set(xlabel="weights", xlim=(n_parameters[0] / 1.5, n_parameters[-1] * 1.5))


def log_ticks(axis, ticks, names=None) -> None:
    """A logarithmic axis (ax.xaxis or ax.yaxis) with these ticks only, by names or by their numbers."""
    set_scale = {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]
    set_scale("log")
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks] if names is None else names)
    axis.set_ticks([], minor=True)


def mean_and_se(ax, x, values, **style) -> None:
    """Mean of each of `values`, points of seeds, with its standard error; seeds may be unlike many."""
    points = [np.asarray(seeds, dtype=float) for seeds in values]
    error = [seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0.0 for seeds in points]
    ax.errorbar(x, [seeds.mean() for seeds in points], yerr=error if any(error) else None, **style)


def implied_op_curve(ax, p: float, **style) -> None:
    """kl(s, p) in nats against s in [0, 1]."""
    s = np.linspace(0, 1, 401)
    ax.plot(s, implied_op(s, p), **style)


def op_and_success(ax, n_good: int, n_outcomes: int, success, least, greatest) -> None:
    """Op against success rate: what a world can reach, least to greatest, and the implied Op as a curve."""
    ax.fill_between(success, least, greatest, color=FAINT, alpha=0.2, linewidth=0)
    implied_op_curve(ax, n_good / n_outcomes, color=GOAL_COLOUR[n_good], linewidth=1.3)
    ax.set(xlim=(0, 1), ylim=(-0.08, 1.05 * np.max(greatest)), xlabel="success rate $s$")


WATERFALL = {
    "op_success_rate": "$\\mathrm{kl}(s, p)$",
    "op_within_success": "within\nsuccess",
    "op_within_failure": "within\nfailure",
    "delta": "− δ",
    "op": "Op",
}


def waterfall(ax, terms: dict[str, tuple[float, float]], *, colour: str) -> None:
    """How the terms of Op add up: {name in WATERFALL: (mean, half width of its interval)}, in nats."""
    reached = 0.0
    for x, name in enumerate(WATERFALL):
        mean, half = terms[name]
        step = -mean if name == "delta" else mean
        start = 0.0 if name == "op" else reached
        ends = sorted((start, start + step))
        ax.bar(x, ends[1] - ends[0], bottom=ends[0], color=colour, width=0.7, alpha=_SHADE[name])
        if half:
            ax.errorbar(x, start + step, yerr=half, color=INK, linewidth=1, capsize=2)
        text = f"{round(step, 3) + 0.0:.3f}".replace("-", "−")  # no −0.000
        top = max(ends[1], start + step + half)
        ax.annotate(text, (x, top), (0, 3), textcoords="offset points", ha="center", fontsize=8)
        reached = start + step
    ax.set_xticks(range(len(WATERFALL)), WATERFALL.values(), fontsize=8)
    ax.set_ylim(0, 1.2 * (terms["op"][0] + terms["op"][1]))
    ax.grid(axis="x", visible=False)


def nothing(why: str) -> plt.Figure:
    """In place of a figure that a profile cannot have."""
    fig, ax = plt.subplots(figsize=(5, 0.5))
    ax.text(0.5, 0.5, why, ha="center")
    ax.axis("off")
    return fig


def keep(fig: plt.Figure, name: str, *, cut_off: bool = False) -> None:
    """Glue a figure for the page to place with its caption (`{glue:figure}`), and close it.

    The page has the SVG; a notebook shows a PNG beneath the cell: Jupyter draws no SVG that it does not
    trust, such as one of a notebook that was downloaded. ValueError if a point lies outside of its panel:
    limits that fitted other numbers would hide it without a word. cut_off: the caption says that some do.
    """
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.pylabtools import retina_figure

    for number, panel in enumerate(fig.axes, start=1):
        if not cut_off and (hidden := sum(map(len, _outside(panel)))):
            limits = f"{panel.get_xlim()} and {panel.get_ylim()}"
            raise ValueError(f"{name}: panel {number} hides {hidden} points, allowed are those in {limits}")
    shell, shown, about = InteractiveShell.instance(), {}, {}
    if shell.display_formatter is None or shell.display_formatter.formatters["image/png"].enabled:
        fig.draw_without_rendering()
        fig.set_layout_engine("none")  # laid out by now, once for both kinds of picture
        shown["image/png"], about["image/png"] = retina_figure(fig, base64=True)
    hand_over(name, fig, shown, about)
    plt.close(fig)


def _outside(panel: Axes) -> Iterator[np.ndarray]:
    """Points of clouds, and markers of lines, that lie outside of a panel by more than a two-hundredth."""
    _ = panel.viewLim  # limits that fit the data are computed when they are first asked for
    clouds = [c for c in panel.collections if isinstance(c, PathCollection)]
    points: list[tuple] = [(c.get_offset_transform(), np.ma.filled(c.get_offsets(), np.nan)) for c in clouds]
    marked = [line for line in panel.lines if line.get_marker() not in ("None", "", " ", None)]
    points += [(line.get_transform(), line.get_xydata()) for line in marked]
    for transform, at in points:
        if transform == panel.transData:
            there = panel.transAxes.inverted().transform(transform.transform(np.asarray(at, float)))
            finite = there[np.isfinite(there).all(1)]
            yield finite[(np.abs(finite - 0.5) > 0.505).any(1)]
