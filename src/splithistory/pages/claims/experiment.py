"""Judges of the claims about the sequence, pretraining and reinforcement."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ...study import GOALS
from ...trends import growth_by_goal, levels, rise_with_size
from ..findings import plus_minus
from .effects import Effect, exactly, over_histories, over_seeds
from .judging import EXACT, FEWEST, Context, Judgement, Limits, TooSmall, judge, one_a_seed, rises, seeds


@judge("sequence-predictable")
def _sequence_predictable(context: Context, limits: Limits) -> Judgement:
    value = float(context.world.table.max(-1).min())
    holds = limits["least"] <= value < limits["below"]
    mended = abs(value - limits["mended"]) < EXACT
    return Judgement(f"{value:.4f}, exact", [exactly(holds)], [exactly(mended)])


@judge("pretraining-beats-chance", "seeds")
def _pretraining_beats_chance(context: Context, limits: Limits) -> Judgement:
    losses = context.by_size(context.pretrained, "test_loss")
    text = f"held-out loss {', '.join(map(seeds, losses.T))} nats for {', '.join(context.sizes)}"
    return Judgement(text, [over_seeds(column, below=limits["loss"]) for column in losses.T])


@judge("pretraining-overfits", "seeds")
def _pretraining_overfits(context: Context, limits: Limits) -> Judgement:
    rise = rise_with_size(context.pretrained, "test_loss")
    text = (
        f"held-out loss at the end, {context.sizes[-1]} less {rise.name}, the best other: {seeds(rise)} nats"
    )
    claim = [over_seeds(rise, above=limits["rise"])]
    smaller = _rises_of_smaller_sets(context)
    if not smaller:
        return Judgement(f"{text}; no smaller training set is published", claim, [])
    text += " (the p is of this); with fewer windows, less the smallest: "
    text += "; ".join(f"{arm.removeprefix('windows ')} {seeds(values)}" for arm, values in smaller.items())
    return Judgement(text, claim, [_any([over_seeds(v, above=limits["rise"]) for v in smaller.values()])])


def _any(effects: list[Effect]) -> Effect:
    """The clearest of effects, any of which is enough (Bonferroni)."""
    clearest = min(effects, key=lambda effect: effect.p_for)
    return replace(clearest, named=min(1.0, len(effects) * clearest.p_for))


def _rises_of_smaller_sets(context: Context) -> dict[str, pd.Series]:
    """`rise_with_size` of each smaller training set that says something of the largest size."""
    if context.ablations is None:
        return {}
    rows = context.ablations.ended(levels(context.ablations.models, "windows"), "test_loss")
    sets = [own for _, own in rows.groupby("arm", sort=False) if own["size"].nunique() > 1]
    sets = [own for own in sets if context.sizes[-1] in set(own["size"])]
    rises = {own["arm"].iloc[0]: rise_with_size(own, "test_loss") for own in sets}
    return {arm: rise for arm, rise in rises.items() if len(rise) >= FEWEST}


def _against_sampled(context: Context, arm: str, column: str) -> np.ndarray:
    """A curve's end in an ablation minus in the sampled arm, the same models, one value a seed."""
    there = context.ablations.ended(context.ablations.finetuned(arm), column)
    here = context.study.ended(context.study.finetuned(), column)
    return one_a_seed(there, here, column, arm)


@judge("maintenance-needed", "ablations")
def _maintenance_needed(context: Context, limits: Limits) -> Judgement:
    lost = _against_sampled(context, "no maintenance", "even_loss")
    text = f"even-position loss {seeds(lost)} nats higher without maintenance"
    claim, mended = ([over_seeds(lost, above=limits[name])] for name in ("above", "mended"))
    return Judgement(text, claim, mended)


@judge("failures-hurt", "ablations")
def _failures_hurt(context: Context, limits: Limits) -> Judgement:
    arms = levels(context.ablations.models, "failures")["arm"].unique()
    if not len(arms):
        raise TooSmall("the arms that train on failures are not published")
    text, found = [], {}
    for arm in (arms[0], arms[-1]):
        lost = [_against_sampled(context, arm, c) for c in ("success_greedy", "even_accuracy")]
        text.append(f"{arm}: success {seeds(lost[0])}, even accuracy {seeds(lost[1])}")
        found[arm] = [over_seeds(values, below=limits["change"]) for values in lost]
    return Judgement("; ".join(text), found[arms[0]], found[arms[-1]])


@judge("success-above-chance", "models")
def _success_above_chance(context: Context, limits: Limits) -> Judgement:
    rows = context.study.summary()
    ends = rows["n_good"].map(context.world.ceilings(GOALS)).apply(pd.Series)
    way = ends["odd tokens"] - ends["chance"]
    s, low, high = ((rows[name] - ends["chance"]) / way for name in ("s", "s_low", "s_high"))
    text = f"at least {s.min():.2f} of the way from chance to the ceiling (95 %: above {low.min():.2f})"
    each = list(zip(low, high, strict=True))
    claim, mended = ([over_histories(e, above=limits[n]) for e in each] for n in ("share", "mended"))
    return Judgement(text, claim, mended)


@judge("success-grows-with-size", "seeds")
def _success_grows(context: Context, limits: Limits) -> Judgement:
    changes, sizes = plus_minus(growth_by_goal(context.own, "s").values()), context.sizes
    goals = [rows for _, rows in context.own.groupby("n_good")]
    each = [rises(context.by_size(own, "s"), limits["change"]) for own in goals]
    mean = rises(context.by_size(context.own, "s"), limits["change"])
    return Judgement(f"change by {changes} from {sizes[0]} to {sizes[-1]}", each, [mean])
