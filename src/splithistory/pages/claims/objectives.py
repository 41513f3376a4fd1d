"""Judges of the claims about whose objective a model has."""

import numpy as np

from ...objectives import (
    ahead,
    separation,
    separation_by_seed,
    shares,
    slope_gap,
    subset_separation,
    transfer,
)
from ...statistics import t_test
from ...study import GOALS
from .judging import Context, Judgement, Limits, judge, over_seeds


@judge("subset-transfer", "seeds")
def _subset_transfer(context: Context, limits: Limits) -> Judgement:
    pairs = transfer(context.crossed, 2, 4)
    above = pairs.groupby("seed")["above"].mean().to_numpy()
    leading = pairs.loc[pairs["lead"] > 0, ["model", "twin"]]
    clear = sum(_clearly_ahead(context, *models) for models in leading.itertuples(index=False))
    won, of = ahead(pairs)
    text = f"{over_seeds(above)} above chance; ahead in {won} of {of} pairs, in {clear} clearly"
    p = t_test(above, above=limits["above_chance"])
    return Judgement(text, clear >= limits["pairs_clearly_ahead"], True, p, p)


def _clearly_ahead(context: Context, *models: int) -> bool:
    """Whether the first of two models succeeds more often on n_good = 4, by 95 % over histories."""
    ends = [np.array(context.measured[m].interval(lambda f: f.success(GOALS[4]))) for m in models]
    centre, half = ends[0].mean() - ends[1].mean(), np.hypot(*(np.ptp(e) / 2 for e in ends))
    return bool(centre > half)


@judge("objective-identified", "seeds")
def _objective_identified(context: Context, limits: Limits) -> Judgement:
    table = shares(context.crossed)
    (mean, (low, high)), (pair, (low_2, high_2)) = (
        separated(table, "op_share") for separated in (separation, subset_separation)
    )
    text = f"AUC {mean:.3f} ({low:.3f} to {high:.3f}), "
    text += f"n_good = 2 against 4 {pair:.3f} ({low_2:.3f} to {high_2:.3f})"
    return Judgement(text, low > limits["mean"] and low_2 > limits["subset"], low > limits["mended"])


@judge("imp-splits-objectives", "seeds")
def _imp_splits_objectives(context: Context, limits: Limits) -> Judgement:
    table = shares(context.crossed)
    steeper = slope_gap(table, intercept=True).to_numpy()
    clearer = separation_by_seed(table, "imp_share") - separation_by_seed(table, "op_share")
    text = f"right goal minus wrong ones: slope {over_seeds(steeper)}"
    text += f"; AUC by Imp minus by Op {over_seeds(clearer)}"
    p = t_test(steeper, below=limits["slope"])
    return Judgement(text, True, True, max(p, t_test(clearer, below=limits["auc"])), p)


@judge("ngood6-missing", "models")
def _ngood6_missing(context: Context, limits: Limits) -> Judgement:
    rows = context.crossed[(context.crossed["n_good"] == 6) & (context.crossed["goal"] != 6)]
    infinite = np.isinf(rows["imp_min"])
    text = f"Imp_min infinite in {infinite.sum()} of {len(rows)} cases"
    text += f", largest {rows['imp_min'].max():.3f} nats, exact"
    return Judgement(text, bool(infinite.mean() >= limits["share_infinite"]))
