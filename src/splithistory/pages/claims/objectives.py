"""Judges of the claims about whose objective a model has."""

import numpy as np
import pandas as pd

from ...statistics import auc, clustered_interval, slopes, t_test
from ...study import GOALS
from .judging import Context, Judgement, Limits, judge, over_seeds


@judge("subset-transfer", "seeds")
def _subset_transfer(context: Context, limits: Limits) -> Judgement:
    on_four = context.crossed[context.crossed["goal"] == 4]
    two, four = (on_four[on_four["n_good"] == n] for n in (2, 4))
    above = two.groupby("seed")["s"].mean().to_numpy() - 0.5
    pairs = two.merge(four, on=["size", "seed"])
    ahead = pairs[pairs["s_x"] > pairs["s_y"]]
    clear = sum(_clearly_ahead(context, *models) for models in zip(ahead.model_x, ahead.model_y, strict=True))
    text = (
        f"{over_seeds(above)} above chance; ahead in {len(ahead)} of {len(pairs)} pairs, in {clear} clearly"
    )
    return Judgement(text, clear > 0, True, t_test(above, above=0), t_test(above, above=0))


def _clearly_ahead(context: Context, *models: int) -> bool:
    """Whether the first of two models succeeds more often on n_good = 4, by 95 % over histories."""
    ends = [np.array(context.measured[m].interval(lambda f: f.success(GOALS[4]))) for m in models]
    centre, half = ends[0].mean() - ends[1].mean(), np.hypot(*(np.ptp(e) / 2 for e in ends))
    return bool(centre > half)


def _by_seed(crossed: pd.DataFrame, bound: str, measure: str) -> list[np.ndarray]:
    """Of each seed the pairs of model and goal: (goal, goal of the model, share of the measure explained)."""
    table = crossed.assign(share=crossed[bound] / crossed[measure])
    return [rows[["goal", "n_good", "share"]].to_numpy() for _, rows in table.groupby("seed")]


def _auc_on(goal: int, rows: np.ndarray) -> float:
    """AUC on a goal of the models trained on it against the others."""
    rows = rows[rows[:, 0] == goal]
    right = rows[:, 1] == goal
    return auc(rows[right, 2], rows[~right, 2])


def _separation(seeds: list[np.ndarray]) -> float:
    """Mean over goals."""
    return float(np.mean([_auc_on(goal, np.concatenate(seeds)) for goal in GOALS]))


def _subset_separation(seeds: list[np.ndarray]) -> float:
    """Models trained on the goal of 2 or on that of 4, which holds it: on the goal where it is harder."""
    rows = np.concatenate(seeds)
    two_or_four = rows[rows[:, 1] != 6]
    return min(_auc_on(goal, two_or_four) for goal in (2, 4))


@judge("objective-identified", "seeds")
def _objective_identified(context: Context, limits: Limits) -> Judgement:
    seeds = _by_seed(context.crossed, "implied_op", "op")
    low, high = clustered_interval(_separation, seeds)
    low_2, high_2 = clustered_interval(_subset_separation, seeds)
    text = f"AUC {_separation(seeds):.3f} ({low:.3f} to {high:.3f}), "
    text += f"n_good = 2 against 4 {_subset_separation(seeds):.3f} ({low_2:.3f} to {high_2:.3f})"
    return Judgement(text, low > 0.9 and low_2 > 0.75, low > 0.75)


@judge("imp-splits-objectives", "seeds")
def _imp_splits_objectives(context: Context, limits: Limits) -> Judgement:
    right = context.crossed["n_good"] == context.crossed["goal"]
    steeper = slopes(context.crossed[right], "imp_min", "imp", ["seed"], intercept=True).to_numpy()
    steeper = steeper - slopes(context.crossed[~right], "imp_min", "imp", ["seed"], intercept=True).to_numpy()
    by_imp, by_op = (
        np.array([_separation([seed]) for seed in _by_seed(context.crossed, *columns)])
        for columns in (("imp_min", "imp"), ("implied_op", "op"))
    )
    text = f"right goal minus wrong ones: slope {over_seeds(steeper)}"
    text += f"; AUC by Imp minus by Op {over_seeds(by_imp - by_op)}"
    p = t_test(steeper, below=0)
    return Judgement(text, True, True, max(p, t_test(by_imp - by_op, below=0)), p)


@judge("ngood6-missing", "models")
def _ngood6_missing(context: Context, limits: Limits) -> Judgement:
    rows = context.crossed[(context.crossed["n_good"] == 6) & (context.crossed["goal"] != 6)]
    infinite = int(np.isinf(rows["imp_min"]).sum())
    text = f"Imp_min infinite in {infinite} of {len(rows)} cases"
    return Judgement(f"{text}, largest {rows['imp_min'].max():.3f} nats, exact", infinite == len(rows))
