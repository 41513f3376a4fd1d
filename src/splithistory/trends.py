"""Trends: what changes with a level, with the size of models, or along a curve.

Floor 2: arrays; and tables (pandas) of models, as in `statistics`. Seeds are the independent replications.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from .information import (
    as_array,
    as_measured,
    as_names,
    as_number,
    as_table,
    check_flag,
    check_integer,
    shown,
)
from .statistics import Interval, Table, by_goal, redrawn, t_interval, told


def lasting(intervals: Mapping[float, Interval]) -> float | None:
    """The least level from which on every interval (mean, half width) lies above 0; None if there is none."""
    if not isinstance(intervals, Mapping):
        raise ValueError(f"intervals: given {shown(intervals)}, allowed is {{level: (mean, half width)}}")
    found = None
    for level in sorted(intervals, reverse=True):
        if told(intervals[level]) < 1:
            break
        found = level
    return found


def crossing(levels: Sequence[float], values) -> tuple[float, Interval]:
    """Where the mean over S replications of values (L, S) at ascending levels comes above 0 for good.

    Interpolated between two levels; the first level if it is above 0 everywhere, infinite if not at the last.
    With its 95 % percentile interval, replications drawn anew.
    """
    values, at = as_measured(values, "values"), as_measured(levels, "levels")
    if values.ndim != 2 or at.shape != values.shape[:1] or (np.diff(at) <= 0).any():
        raise ValueError(f"levels: given {shown(at.tolist())}, allowed are ascending, one a row of values")
    drawn = np.sort([_crossed(at, means) for means in redrawn(values)])  # some may be infinite
    low, high = drawn[[round(share * (len(drawn) - 1)) for share in (0.025, 0.975)]]
    return _crossed(at, values.mean(1)), (float(low), float(high))


def _crossed(levels: np.ndarray, means: np.ndarray) -> float:
    below = np.flatnonzero(means <= 0)
    if not len(below):
        return float(levels[0])
    if (last := int(below[-1])) == len(levels) - 1:
        return float("inf")
    (low, high), (x, y) = means[last : last + 2], levels[last : last + 2]
    return float(x - low * (y - x) / (high - low))


def turn(table: Table, level: str, column: str) -> tuple[float | None, tuple[float, Interval]]:
    """`lasting` and `crossing` of a column with a row for each level and seed."""
    known = as_table(table, level, "seed", column)
    wide = known.pivot(index=level, columns="seed", values=column).sort_index()
    found = lasting({at: t_interval(values) for at, values in wide.iterrows()})
    return found, crossing(wide.index.to_numpy(dtype=float), wide)


def levels(table: Table, name: str) -> Table:
    """Rows of the arms called "name value", with the value as a column `level`, ascending."""
    if not isinstance(name, str):
        raise ValueError(f"name: given {shown(name)}, allowed is a text")
    rows = table[as_table(table, "arm")["arm"].str.startswith(f"{name} ")]
    values = rows["arm"].str.removeprefix(f"{name} ").astype(float)
    return rows.assign(level=values).sort_values("level", kind="stable")


def power_law_exponent(x, y) -> float:
    """The k of y ∝ x^k, least squares on logarithms of positive numbers."""
    x, y = as_array(x, "x"), as_array(y, "y")
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or min(x.min(), y.min(), np.ptp(x)) <= 0:
        raise ValueError(
            f"x, y: shapes {x.shape}, {y.shape}, allowed are as many positive numbers, two values of x"
        )
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def slopes(table: Table, x: str, y: str, by=("n_good", "seed"), *, intercept: bool = False) -> Table:
    """Least-squares slope of y on x in each group of rows, indexed by `by`.

    Through the origin, unless there is to be an intercept. Rows in which either is NaN are left out; NaN
    where no line is told from others: x is constant, or 0 for a line through the origin.
    """
    check_flag("intercept", intercept)
    table = as_table(table, x, y, *as_names(by, "by")).dropna(subset=[x, y]).astype({x: float, y: float})
    if intercept:
        rows = table.groupby(list(by))[[x, y]]
        at = rows.transform("mean").where(rows.transform("nunique") > 1, table)  # a rounded mean lies beside
        table = table.assign(**{x: table[x] - at[x], y: table[y] - at[y]})
    products = table.assign(xy=table[x] * table[y], xx=table[x] ** 2)
    sums = products.groupby(list(by))[["xy", "xx"]].sum()
    return sums["xy"] / sums["xx"]


def slope_by_goal(table: Table, x: str, y: str, *, intercept: bool = False) -> dict[int, Interval]:
    """{n_good: t_interval} of `slopes`, one a seed."""
    return by_goal(slopes(table, x, y, intercept=intercept).rename("slope").reset_index(), "slope")


def growth(table: Table, column: str) -> Table:
    """A column's change from the smallest size to the largest, indexed by n_good and seed, where both are.

    Sizes ascend by n_parameters; in a table without it they must stand in ascending order.
    """
    table = as_table(table, "n_good", "seed", "size", column)
    ascending = table.sort_values("n_parameters") if "n_parameters" in table else table
    sizes = list(dict.fromkeys(ascending["size"]))
    wide = table.pivot(index=["n_good", "seed"], columns="size", values=column)
    return (wide[sizes[-1]] - wide[sizes[0]]).dropna().rename(column)


def growth_by_goal(table: Table, column: str) -> dict[int, Interval]:
    """`by_goal` of `growth`; empty if there is only one size."""
    if as_table(table, "size")["size"].nunique() < 2:
        return {}
    return by_goal(growth(table, column).reset_index(), column)


def rise_with_size(table: Table, column: str) -> Table:
    """A column at the largest size minus that at the best other one (least mean over seeds), by seed.

    One value a seed, because sizes share its data; named after the other size; seeds without every size are
    left out. ValueError if there is only one size.
    """
    ascending = as_table(table, "n_parameters", "size", "seed", column).sort_values("n_parameters")
    sizes = list(dict.fromkeys(ascending["size"]))
    check_integer("number of sizes", len(sizes), 2)
    wide = table.pivot_table(index="seed", columns="size", values=column)[sizes].dropna()
    best = wide[sizes[:-1]].mean().idxmin()
    return (wide[sizes[-1]] - wide[best]).rename(best)


def when_first(curves: Table, column: str, level: float, other: str) -> Table:
    """What another curve is where a curve is first at least so high: a row a model that gets there.

    curves: model, size, seed, n_good, step, column and value, as `Study.curves_of` gives them. The other
    curve's value is named after it.
    """
    keys = ["model", "size", "seed", "n_good", "step"]
    wide = as_table(curves, *keys, "column", "value").pivot(index=keys, columns="column", values="value")
    as_table(wide, column, other)
    there = wide[wide[column] >= as_number(level, "level")].reset_index()
    return there.drop_duplicates("model")[[*keys, other]].reset_index(drop=True)


def lows(curves: Table, by: Sequence[str]) -> Table:
    """Where each curve (step, value; a group of rows each) is lowest and how it goes on, a row a curve.

    Columns `by`, then steps (of the whole curve), lowest, at (step of the lowest), end, rise = end − lowest.
    """
    ordered = as_table(curves, "step", "value", *as_names(by, "by")).sort_values("step", kind="stable")
    ordered = ordered.reset_index(drop=True)
    low = ordered.loc[ordered.groupby(list(by), sort=False)["value"].idxmin()].set_index(list(by))
    last = ordered.drop_duplicates(list(by), keep="last").set_index(list(by)).loc[low.index]  # NaN, too
    found = last.assign(steps=last["step"], lowest=low["value"], at=low["step"], end=last["value"])
    found["rise"] = found["end"] - found["lowest"]
    return found[["steps", "lowest", "at", "end", "rise"]].reset_index()
