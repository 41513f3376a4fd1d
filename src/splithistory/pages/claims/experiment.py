"""Judges of the claims about the sequence, pretraining and reinforcement."""

from collections.abc import Iterator

import numpy as np

from ...statistics import page, t_test
from ...study import GOALS
from .judging import (
    EXACT,
    FEWEST,
    Context,
    Judgement,
    Limits,
    TooSmall,
    growth_over_seeds,
    judge,
    one_a_seed,
    over_seeds,
)


@judge("sequence-predictable")
def _sequence_predictable(context: Context, limits: Limits) -> Judgement:
    value = float(context.world.table.max(-1).min())
    return Judgement(f"{value:.4f}, exact", 0.975 <= value < 0.9805, abs(value - 0.9825) < EXACT)


@judge("pretraining-beats-chance", "seeds")
def _pretraining_beats_chance(context: Context, limits: Limits) -> Judgement:
    losses = context.by_size(context.pretrained, "test_loss")
    text = ", ".join(over_seeds(column) for column in losses.T)
    p = max(t_test(column, below=1.0) for column in losses.T)
    return Judgement(f"held-out loss {text} nats for {', '.join(context.sizes)}", True, p=p)


@judge("pretraining-overfits", "seeds")
def _pretraining_overfits(context: Context, limits: Limits) -> Judgement:
    rise = _rise(context.by_size(context.pretrained, "test_loss"))
    text = f"rise of the held-out loss at {context.sizes[-1]} {over_seeds(rise)} nats"
    p = t_test(rise, above=0)
    rises = {arm: _rise(losses) for arm, losses in _smaller_training_sets(context)}
    if not rises:
        return Judgement(f"{text}; no smaller training set is published", True, None, p)
    text += "".join(f"; {arm} {over_seeds(values)}" for arm, values in rises.items())
    # the claim may hold at any of them: Bonferroni
    smaller = min(1.0, len(rises) * min(t_test(values, above=0) for values in rises.values()))
    return Judgement(text, True, True, p, smaller)


def _rise(losses: np.ndarray) -> np.ndarray:
    """Loss of the largest size above the best other size's, one value a seed (sizes share its data)."""
    others = losses[:, :-1]
    return losses[:, -1] - others[:, others.mean(0).argmin()]


def _smaller_training_sets(context: Context) -> Iterator[tuple[str, np.ndarray]]:
    if context.ablations is None:
        return
    models = context.ablations.models
    for arm in dict.fromkeys(a for a in models["arm"] if a.startswith("windows ")):
        rows = context.ablations.ended(context.ablations.pretrained(arm), "test_loss")
        sizes = [size for size in context.sizes if size in set(rows["size"])]
        if len(sizes) < 2 or sizes[-1] != context.sizes[-1]:
            continue  # says nothing of the largest size against another
        if len(losses := context.by_size(rows, "test_loss", sizes)) >= FEWEST:
            yield arm, losses


def _against_sampled(context: Context, arm: str, column: str) -> np.ndarray:
    """A curve's end in an ablation minus in the sampled arm, the same models, one value a seed."""
    there = context.ablations.ended(context.ablations.finetuned(arm), column)
    here = context.study.ended(context.study.finetuned(), column)
    return one_a_seed(there, here, column, arm)


@judge("maintenance-needed", "ablations")
def _maintenance_needed(context: Context, limits: Limits) -> Judgement:
    lost = _against_sampled(context, "no maintenance", "even_loss")
    text = f"even-position loss {over_seeds(lost)} nats higher without maintenance"
    return Judgement(text, True, True, t_test(lost, above=0.5), t_test(lost, above=0.1))


@judge("failures-hurt", "ablations")
def _failures_hurt(context: Context, limits: Limits) -> Judgement:
    found = {a for a in context.ablations.models["arm"] if a.startswith("failures ")}
    arms = sorted(found, key=lambda arm: float(arm.split()[1]))
    if not arms:
        raise TooSmall("the arms that train on failures are not published")
    text, p = [], {}
    for arm in (arms[0], arms[-1]):
        changes = [_against_sampled(context, arm, c) for c in ("success_greedy", "even_accuracy")]
        text.append(f"{arm}: success {over_seeds(changes[0])}, even accuracy {over_seeds(changes[1])}")
        p[arm] = max(t_test(change, below=0) for change in changes)
    return Judgement("; ".join(text), True, True, p[arms[0]], p[arms[-1]])


@judge("success-above-chance", "models")
def _success_above_chance(context: Context, limits: Limits) -> Judgement:
    shares = []
    for row in context.own.itertuples():
        low = context.study.scalars(row.model)["s_low"]
        above = context.world.ceiling(GOALS[row.n_good]) - row.p
        shares.append(((row.s - row.p) / above, (low - row.p) / above))
    least, low = np.min(shares, axis=0)
    text = f"at least {least:.2f} of the way from chance to the ceiling (95 %: above {low:.2f})"
    return Judgement(text, bool(low > 0.25), bool(low > 0))


@judge("success-grows-with-size", "seeds")
def _success_grows(context: Context, limits: Limits) -> Judgement:
    by_goal = [context.by_size(rows, "s") for _, rows in context.own.groupby("n_good")]
    changes, sizes = ", ".join(map(growth_over_seeds, by_goal)), context.sizes
    text = f"change by {changes} from {sizes[0]} to {sizes[-1]}"
    together = page(context.by_size(context.own, "s"))
    return Judgement(text, True, True, max(map(page, by_goal)), together)
