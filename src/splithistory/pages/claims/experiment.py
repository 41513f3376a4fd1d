"""Judges of the claims about the sequence, pretraining and reinforcement."""

import numpy as np
import pandas as pd

from ...statistics import growth_by_goal, levels, page, rise_with_size, t_test
from ...study import GOALS
from ..findings import plus_minus
from .judging import EXACT, FEWEST, Context, Judgement, Limits, TooSmall, judge, one_a_seed, over_seeds


@judge("sequence-predictable")
def _sequence_predictable(context: Context, limits: Limits) -> Judgement:
    value = float(context.world.table.max(-1).min())
    holds = limits["least"] <= value < limits["below"]
    return Judgement(f"{value:.4f}, exact", holds, abs(value - limits["mended"]) < EXACT)


@judge("pretraining-beats-chance", "seeds")
def _pretraining_beats_chance(context: Context, limits: Limits) -> Judgement:
    losses = context.by_size(context.pretrained, "test_loss")
    text = ", ".join(over_seeds(column) for column in losses.T)
    p = max(t_test(column, below=limits["loss"]) for column in losses.T)
    return Judgement(f"held-out loss {text} nats for {', '.join(context.sizes)}", True, p=p)


@judge("pretraining-overfits", "seeds")
def _pretraining_overfits(context: Context, limits: Limits) -> Judgement:
    rise = rise_with_size(context.pretrained, "test_loss")
    text = f"rise of the held-out loss at {context.sizes[-1]} {over_seeds(rise)} nats"
    p = t_test(rise, above=limits["rise"])
    rises = _rises_of_smaller_sets(context)
    if not rises:
        return Judgement(f"{text}; no smaller training set is published", True, None, p)
    text += "".join(f"; {arm} {over_seeds(values)}" for arm, values in rises.items())
    # the claim may hold at any of them: Bonferroni
    smaller = min(t_test(values, above=limits["rise"]) for values in rises.values())
    return Judgement(text, True, True, p, min(1.0, len(rises) * smaller))


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
    text = f"even-position loss {over_seeds(lost)} nats higher without maintenance"
    p, p_mended = (t_test(lost, above=limits[name]) for name in ("above", "mended"))
    return Judgement(text, True, True, p, p_mended)


@judge("failures-hurt", "ablations")
def _failures_hurt(context: Context, limits: Limits) -> Judgement:
    arms = levels(context.ablations.models, "failures")["arm"].unique()
    if not len(arms):
        raise TooSmall("the arms that train on failures are not published")
    text, p = [], {}
    for arm in (arms[0], arms[-1]):
        changes = [_against_sampled(context, arm, c) for c in ("success_greedy", "even_accuracy")]
        text.append(f"{arm}: success {over_seeds(changes[0])}, even accuracy {over_seeds(changes[1])}")
        p[arm] = max(t_test(change, below=limits["change"]) for change in changes)
    return Judgement("; ".join(text), True, True, p[arms[0]], p[arms[-1]])


@judge("success-above-chance", "models")
def _success_above_chance(context: Context, limits: Limits) -> Judgement:
    rows = context.study.summary()
    ends = rows["n_good"].map(context.world.ceilings(GOALS)).apply(pd.Series)
    above = ends["odd tokens"] - ends["chance"]
    least, low = (((rows[name] - ends["chance"]) / above).min() for name in ("s", "s_low"))
    text = f"at least {least:.2f} of the way from chance to the ceiling (95 %: above {low:.2f})"
    return Judgement(text, bool(low > limits["share"]), bool(low > limits["mended"]))


@judge("success-grows-with-size", "seeds")
def _success_grows(context: Context, limits: Limits) -> Judgement:
    changes, sizes = plus_minus(growth_by_goal(context.own, "s").values()), context.sizes
    text = f"change by {changes} from {sizes[0]} to {sizes[-1]}"
    each = [page(context.by_size(rows, "s")) for _, rows in context.own.groupby("n_good")]
    return Judgement(text, True, True, max(each), page(context.by_size(context.own, "s")))
