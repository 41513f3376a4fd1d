"""House style, and the figures that several chapters share.

Floor 2: takes arrays, tables and Matplotlib axes, never the study. One colour a goal and one marker a
size everywhere, both readable without the other (colours after Okabe and Ito).
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from .information import implied_op

GOAL_COLOUR = {0: "#6b6b6b", 2: "#0072b2", 4: "#d55e00", 6: "#009e73"}  # by n_good; 0: pretrained only
SIZE_MARKER = {"18k": "o", "53k": "s", "144k": "^", "402k": "D"}
GENERATOR = {
    "color": "#111111",
    "marker": "*",
    "markersize": 10,
    "linestyle": "none",
    "markeredgecolor": "white",
}
INK, FAINT = "#333333", "#9a9a9a"


def use_house_style() -> None:
    """Apply the style file; in a notebook, figures become SVG (the same bytes every time)."""
    plt.style.use(Path(__file__).with_name("house.mplstyle"))
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
    except (ImportError, AttributeError):
        pass  # outside a notebook there is no inline backend to set


def goal_name(n_good: int) -> str:
    """How a goal is called in legends."""
    return f"$n_{{\\mathrm{{good}}}} = {n_good}$" if n_good else "pretrained"


def key_to_models(ax, n_goods, sizes, *, extra=(), **where) -> None:
    """One legend for colour (goal) and marker (size), and for any `extra` handles."""
    handles = [Line2D([], [], color=GOAL_COLOUR[g], linewidth=3, label=goal_name(g)) for g in n_goods]
    marker = {"color": INK, "linestyle": "none", "markerfacecolor": "white"}
    handles += [Line2D([], [], marker=SIZE_MARKER[size], label=size, **marker) for size in sizes]
    ax.legend(handles=[*handles, *extra], **where)


def scatter_model(ax, x, y, *, n_good: int, size: str, interval=None, **style) -> None:
    """One model as a point, with a vertical interval (low, high) if given."""
    colour = GOAL_COLOUR[n_good]
    if interval is not None:
        ax.plot([x, x], interval, color=colour, linewidth=1, alpha=0.8)
    ax.plot(x, y, marker=SIZE_MARKER[size], color=colour, markeredgecolor="white", linestyle="none", **style)


def mean_and_se(ax, x, values, **style) -> None:
    """Mean over the last axis of `values` (points, seeds) with its standard error."""
    values = np.asarray(values, dtype=float)
    error = values.std(-1, ddof=1) / np.sqrt(values.shape[-1]) if values.shape[-1] > 1 else None
    ax.errorbar(x, values.mean(-1), yerr=error, **style)


def implied_op_curve(ax, p: float, **style) -> None:
    """kl(s, p) in nats against s in [0, 1]."""
    s = np.linspace(0, 1, 401)
    ax.plot(s, implied_op(s, p), **style)
