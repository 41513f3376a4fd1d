"""Judges of the claims that predict optimization from success."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from ...information import binary_kl, entropy
from ...policies import always, everywhere
from ...statistics import slopes, t_interval
from ...study import GOALS
from .judging import EXACT, Context, Judgement, Limits, judge


@judge("op-predicted", "seeds")
def _op_predicted(context: Context, limits: Limits) -> Judgement:
    mean, half = t_interval(slopes(context.own, "implied_op", "op", ["seed"], intercept=True).to_numpy())
    error = float(((context.own["op"] - context.own["implied_op"]).abs() / context.own["op"]).median())
    text = f"slope {mean:.3f} ± {half:.3f}, median relative error {error:.3f}"

    def within(least, most, largest_error):
        return bool(least <= mean - half and mean + half <= most and error < largest_error)

    return Judgement(text, within(0.8, 1.2, 0.2), within(0.67, 1.5, 0.35))


@judge("some-below-line", "models")
def _some_below_line(context: Context, limits: Limits) -> Judgement:
    sampled = int(
        (
            context.plugin["op"]
            < context.plugin["implied_op"]
        ).sum()
    )
    gap = context.own["op"] - context.own["implied_op"]
    least = float((gap + context.own["delta"]).min())
    blind = always(context.world, 13)  # no Op, yet not the success of chance
    refuted = bool(abs(blind.op) < EXACT and blind.implied_op(GOALS[6]) > 1e-3)
    below = int((gap < 0).sum())
    text = f"{sampled} of {len(gap)} below the line by the post's procedure, {below} exactly"
    text += f"; with delta added at least {least:.4f} nats above it, exact"
    return Judgement(text, sampled > 0 == below, refuted and least >= -EXACT)


@judge("few-far-above", "models")
def _few_far_above(context: Context, limits: Limits) -> Judgement:
    excess = (context.own["op"] + context.own["delta"] - context.own["implied_op"]) / context.own["op"]
    share = float((excess < 0.25).mean())
    text = (
        f"less than a quarter of Op within success and failure in {share:.0%} of {len(excess)} models, exact"
    )
    return Judgement(text, share > 0.5)


@judge("example-85-15")
def _example(context: Context, limits: Limits, share: float = 0.85) -> Judgement:
    implied = float(binary_kl(share, 0.75))
    op = float(np.log(8) - entropy([share, 1 - share]))
    text = f"implied {implied:.4f}, actual {op:.4f} nats, exact"
    return Judgement(text, (round(implied, 2), round(op, 2)) == (0.03, 1.66))


@judge("four-pictures")
def _four_pictures(context: Context, limits: Limits, lean: float = 0.5) -> Judgement:
    """Indifferent; leaning towards half of the successes; of the failures; of both."""
    level, leaning = np.ones(4), 1 + lean * np.array([1, 1, -1, -1])
    pictures = [(level, level), (leaning, level), (level, leaning), (leaning, leaning)]
    policies = [everywhere(np.concatenate([0.2 * good, 0.05 * bad])) for good, bad in pictures]
    excess = [policy.op - policy.implied_op(range(4)) for policy in policies]
    text = f"excess {', '.join(f'{abs(e):.3f}' for e in excess)} nats at s = 0.8, exact"
    return Judgement(text, abs(excess[0]) < EXACT and min(excess[1:]) > 0.01)


@judge("no-collapse")
def _no_collapse(context: Context, limits: Limits, divergence: Callable = binary_kl) -> Judgement:
    """Were Op = G(φ(s) − φ(p)), changing curves at equal Op would shift φ(s), and shifts commute."""

    def shift(s: float, p: float, q: float) -> float:
        return brentq(lambda x: divergence(x, q) - divergence(s, p), q, 1 - 1e-12)

    def mismatch(s: float) -> float:
        return abs(shift(shift(s, 0.25, 0.5), 0.5, 0.75) - shift(shift(s, 0.5, 0.75), 0.25, 0.5))

    largest = max(map(mismatch, np.linspace(0.505, 0.55, 10)))
    s, p = np.linspace(0.01, 0.99, 99), np.array([[0.25], [0.5], [0.75]])
    root = np.sign(s - p) * np.sqrt(2 * divergence(s, p))
    trivial = np.allclose(root**2 / 2, divergence(s, p), rtol=0, atol=EXACT)
    return Judgement(f"composed maps differ by {largest:.4f} in s, exact", bool(largest > 1e-3), trivial)
