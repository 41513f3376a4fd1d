"""Judges of the claims about whose objective a model has."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from ...crossing import (
    ahead,
    between_seeds,
    separation,
    separation_by_seed,
    shares,
    slope_gap,
    subset_separation,
    transfer,
)
from ...statistics import pseudovalues
from ...study import GOALS
from .effects import Effect, exactly, over_seeds
from .judging import Context, Judgement, Limits, judge, seeds


@judge("subset-transfer", "seeds")
def _subset_transfer(context: Context, limits: Limits) -> Judgement:
    pairs = transfer(context.crossed, 2, 4)
    above = pairs.groupby("seed")["above"].mean().to_numpy()
    leading = pairs.loc[pairs["lead"] > 0, ["model", "twin"]]
    clear = sum(_clearly_ahead(context, *models) for models in leading.itertuples(index=False))
    won, of = ahead(pairs)
    text = f"{seeds(above)} above chance; ahead in {won} of {of} pairs, in {clear} clearly"
    scores = over_seeds(above, above=limits["above_chance"])
    # "sometimes": a pair that is ahead shows it, none leaves it open
    return Judgement(text, [scores, Effect(clear, low=limits["pairs_clearly_ahead"] - 1)], [scores])


def _clearly_ahead(context: Context, *models: int) -> bool:
    """Whether the first of two models succeeds more often on n_good = 4, by 95 % over histories."""
    ends = [np.array(context.measured[m].interval(lambda f: f.success(GOALS[4]))) for m in models]
    centre, half = ends[0].mean() - ends[1].mean(), np.hypot(*(np.ptp(e) / 2 for e in ends))
    return bool(centre > half)


@judge("objective-identified", "seeds")
def _objective_identified(context: Context, limits: Limits) -> Judgement:
    table = shares(context.crossed)
    (mean, (low, high)), (hard, (low_2, high_2)) = (
        separated(table, "op_share") for separated in (separation, subset_separation)
    )
    text = f"AUC {mean:.3f} ({low:.3f} to {high:.3f}), "
    text += f"n_good = 2 against 4 {hard:.3f} ({low_2:.3f} to {high_2:.3f})"
    pair = table[table["n_good"].isin((2, 4)) & table["goal"].isin((2, 4))]
    every, hardest = _separated(table, np.mean), _separated(pair, np.min)
    claim = [over_seeds(every, above=limits["mean"]), over_seeds(hardest, above=limits["subset"])]
    return Judgement(text, claim, [over_seeds(every, above=limits["mended"])])


def _separated(table: pd.DataFrame, over: Callable) -> np.ndarray:
    """What each seed contributes to the AUC of right models against wrong ones, by the share of Op."""
    areas = between_seeds(table, "op_share")
    return pseudovalues(lambda s: over(areas[:, s][:, :, s].mean((1, 2))), list(range(areas.shape[-1])))


@judge("imp-splits-objectives", "seeds")
def _imp_splits_objectives(context: Context, limits: Limits) -> Judgement:
    table = shares(context.crossed)
    steeper = slope_gap(table, intercept=True).to_numpy()
    clearer = separation_by_seed(table, "imp_share") - separation_by_seed(table, "op_share")
    text = f"right goal minus wrong ones: slope (with an intercept) {seeds(steeper)}"
    text += f"; AUC by Imp minus by Op {seeds(clearer)}"
    slope = over_seeds(steeper, below=limits["slope"])
    return Judgement(text, [slope, over_seeds(clearer, below=limits["auc"])], [slope])


@judge("ngood6-missing", "models")
def _ngood6_missing(context: Context, limits: Limits) -> Judgement:
    rows = context.crossed[(context.crossed["n_good"] == 6) & (context.crossed["goal"] != 6)]
    infinite = np.isinf(rows["imp_min"])
    text = f"Imp_min infinite in {infinite.sum()} of {len(rows)} cases"
    text += f", largest {rows['imp_min'].max():.3f} nats, exact"
    return Judgement(text, [exactly(infinite.mean() >= limits["share_infinite"])])
