"""Models on goals, their own and others': who is ahead, and how well a score tells right pairs from wrong.

Floor 3: tables (pandas), a row a pair of a model and a goal, with the columns model, size, seed, n_good (its
own goal), goal, and what was measured; they are asked and added to, never made.
"""

from collections.abc import Callable

import numpy as np

from .information import (
    as_integers,
    as_names,
    as_table,
    check_flag,
    check_integer,
)
from .statistics import Table, auc, percentiles, redrawn, t_interval
from .trends import slope_by_goal, slopes


def shares(crossed: Table) -> Table:
    """With op_share and imp_share: how much of the measured Op a goal implies, and of Imp its bound."""
    of = as_table(crossed, "op", "imp", "implied_op", "imp_min")
    return of.assign(op_share=of["implied_op"] / of["op"], imp_share=of["imp_min"] / of["imp"])


def between_seeds(table: Table, score: str) -> np.ndarray:
    """AUC (G, S, S) on each goal: models of one seed that were trained on it, against the others of another.

    Each seed has equally many models. All pairs of a right and a wrong model are pairs of seeds, so the mean
    over seeds, or over seeds drawn anew, is the AUC of all of them together.
    """
    areas = []
    for goal, rows in as_table(table, "goal", "n_good", "seed", score).groupby("goal"):
        right = rows["n_good"] == goal
        own, others = (
            np.array(part.groupby("seed")[score].apply(list).tolist(), dtype=float)
            for part in (rows[right], rows[~right])
        )
        areas.append(auc(own[:, None], others[None]))
    return np.array(areas)


def separation(table: Table, score: str, over: Callable = np.mean) -> tuple[float, tuple[float, float]]:
    """AUC of a score, right models against wrong ones, and its 95 % interval: whole seeds drawn anew.

    over: how the goals are put together, np.mean or np.min.
    """
    areas = between_seeds(table, score)
    ends = percentiles(over(redrawn(areas, axes=2), axis=-1))
    return float(over(areas.mean((1, 2)))), ends


def subset_separation(table: Table, score: str, pair=(2, 4)) -> tuple[float, tuple[float, float]]:
    """`separation` of the models of two goals, one of which holds the other, on that where it is harder."""
    pair = as_integers(pair, "pair", 2**31, "P")
    of_pair = as_table(table, "n_good", "goal")["n_good"].isin(pair) & table["goal"].isin(pair)
    return separation(table[of_pair], score, np.min)


def separation_by_seed(table: Table, score: str) -> np.ndarray:
    """AUC of each seed's models among themselves, (S,), mean over the goals."""
    return between_seeds(table, score).diagonal(axis1=1, axis2=2).mean(0)


def edges(table: Table, share: str, by=("goal",)) -> tuple[Table, Table]:
    """In each group the least share of a right model and the largest of a wrong one."""
    right, wrong = _right_and_wrong(table, share, *as_names(by, "by"))
    return right.groupby(list(by))[share].min(), wrong.groupby(list(by))[share].max()


def _right_and_wrong(table: Table, *columns) -> tuple[Table, Table]:
    """Models on their own goal, and on the others."""
    right = as_table(table, "n_good", "goal", *columns)["n_good"] == table["goal"]
    return table[right], table[~right]


def clearance(table: Table, share: str) -> Table:
    """By seed: the least share of a right model minus the largest of a wrong one, mean over the goals."""
    least, largest = edges(table, share, ("seed", "goal"))
    return (least - largest).groupby("seed").mean()


def gradients(crossed: Table) -> dict[str, dict]:
    """{right or wrong: {goal: slope}} of Imp on Imp_min through the origin, all goals together as "all"."""
    found: dict[str, dict] = {}
    for name, rows in zip(("right", "wrong"), _right_and_wrong(crossed), strict=True):
        found[name] = slope_by_goal(rows.assign(n_good=rows["goal"]), "imp_min", "imp")
        found[name]["all"] = t_interval(slopes(rows, "imp_min", "imp", ["seed"]))
    return found


def slope_gap(crossed: Table, *, intercept: bool = False) -> Table:
    """By seed: slope of Imp on Imp_min over all goals, right models minus wrong ones."""
    right, wrong = (
        slopes(rows, "imp_min", "imp", ["seed"], intercept=intercept) for rows in _right_and_wrong(crossed)
    )
    return right - wrong


def transfer(crossed: Table, trained: int, task: int, twins_of: Table | None = None) -> Table:
    """Models trained on one goal, set on the task of another, beside their twins that were trained for it.

    twins_of: where the twins come from, another recipe; the same one if None.
    A row a pair of one size and seed: size, seed, model, twin; s, s_twin: success rates on the task; above: s
    less chance; lead: s − s_twin.
    """
    for name, goal in (("trained", trained), ("task", task)):
        check_integer(name, goal, 0)
    columns = ["size", "seed", "model", "s", "p", "goal", "n_good"]
    sources = ((crossed, trained), (crossed if twins_of is None else twins_of, task))
    one, other = (as_table(t, *columns)[(t["goal"] == task) & (t["n_good"] == n)] for t, n in sources)
    twins = other[columns[:4]].rename(columns={"model": "twin", "s": "s_twin"})
    pairs = one[columns[:5]].merge(twins, on=["size", "seed"])
    return pairs.assign(above=pairs["s"] - pairs["p"], lead=pairs["s"] - pairs["s_twin"])


def ahead(pairs: Table, *, any_seeds: bool = False) -> tuple[int, int]:
    """How many models of `transfer` are ahead of their twin, and of how many.

    any_seeds: ahead of a model of the twin's goal and their size, whatever the two seeds.
    """
    check_flag("any_seeds", any_seeds)
    if not any_seeds:
        return int((as_table(pairs, "lead")["lead"] > 0).sum()), len(pairs)
    of_size = [rows for _, rows in as_table(pairs, "size", "s", "s_twin").groupby("size")]
    won = [np.greater.outer(rows["s"].to_numpy(), rows["s_twin"].to_numpy()) for rows in of_size]
    return sum(int(w.sum()) for w in won), sum(w.size for w in won)
