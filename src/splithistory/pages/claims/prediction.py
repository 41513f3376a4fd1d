"""Judges of the claims that predict optimization from success."""

from collections.abc import Callable

import numpy as np

from ...information import binary_kl, both_orders
from ...policies import LEANING, REACHING, always, everywhere, pictures
from ...study import GOALS
from ...trends import slopes
from .effects import Effect, exactly, over_seeds
from .judging import EXACT, Context, Judgement, Limits, judge, seeds


@judge("op-predicted", "seeds")
def _op_predicted(context: Context, limits: Limits) -> Judgement:
    slope = slopes(context.own, "implied_op", "op", ["seed"], intercept=True).to_numpy()
    off = context.own.assign(off=(context.own["op"] - context.own["implied_op"]).abs() / context.own["op"])
    errors = off.groupby(["n_good", "seed"])["off"].median().unstack().to_numpy()
    text = f"slope (with an intercept) {seeds(slope)}"
    text += f", median relative error {', '.join(map(seeds, errors))} for n_good = 2, 4, 6"

    def within(name: str) -> list[Effect]:
        least, most, largest = (limits[f"{name}{end}"] for end in ("least", "most", "error"))
        return [over_seeds(slope, above=least, below=most)] + [over_seeds(e, below=largest) for e in errors]

    return Judgement(text, within(""), within("mended_"))


@judge("some-below-line", "models")
def _some_below_line(context: Context, limits: Limits) -> Judgement:
    table = context.study.gaps(context.own)
    sampled, below = (int((table[name] < 0).sum()) for name in ("sampled_gap", "gap"))
    least = float((table["gap"] + table["delta"]).min())
    blind = always(context.world, 13)  # no Op, yet not the success of chance
    refuted = bool(abs(blind.op) < EXACT and blind.implied_op(GOALS[6]) > limits["refuted"])
    under = blind.implied_op(GOALS[6]) - blind.op
    text = f"a policy that always plays 13 is {under:.4f} nats below the line; of the models "
    text += f"{sampled} of {len(table)} are by the post's procedure, {below} exactly"
    text += f"; with delta added at least {least:.4f} nats above it, exact"
    some = Effect(sampled, low=limits["below"])  # that none is seen is no refutation
    in_theory, mended = exactly(not below and not refuted), exactly(refuted and least >= -EXACT)
    return Judgement(text, [in_theory, some], [mended, some])


@judge("few-far-above", "seeds")
def _few_far_above(context: Context, limits: Limits) -> Judgement:
    terms = context.study.decompositions()
    terms = terms[terms["stage"] == "finetuned"]
    near = terms.assign(near=terms["excess"] / terms["op"] < limits["excess"])
    shares = near.groupby(["n_good", "seed"])["near"].mean().unstack().to_numpy()
    text = f"less than a quarter of Op within success and failure in {seeds(shares.mean(0))} of the models"
    text += f", {', '.join(map(seeds, shares))} for n_good = 2, 4, 6"
    each, pooled = ([over_seeds(v, above=limits["share"]) for v in of] for of in (shares, [shares.mean(0)]))
    return Judgement(text, each, pooled)


@judge("example-85-15")
def _example(context: Context, limits: Limits, share: float = 0.85) -> Judgement:
    policy = everywhere([0, 0, share, 1 - share, 0, 0, 0, 0])
    implied, op = policy.implied_op(GOALS[6]), policy.op
    text = f"implied {implied:.4f}, actual {op:.4f} nats, exact"
    found = (round(implied, 2), round(op, 2)) == (limits["implied"], limits["actual"])
    return Judgement(text, [exactly(found)])


@judge("four-pictures")
def _four_pictures(context: Context, limits: Limits, lean: float = 1.0) -> Judgement:
    goal, leaning = GOALS[4], lean * np.array(LEANING) + (1 - lean) / 4
    policies = [everywhere(outcome) for outcome in pictures(goal, 8, 0.75, leaning, REACHING).values()]
    excess = [policy.excess(goal) for policy in policies]
    text = f"excess {', '.join(f'{abs(e):.3f}' for e in excess)} nats at s = "
    text += f"{policies[0].success(goal):.2f}, exact, without the world's noise; "
    text += "the figure has the same four with it, and so a little less"
    return Judgement(text, [exactly(abs(excess[0]) < EXACT and min(excess[1:]) > limits["excess"])])


@judge("no-collapse")
def _no_collapse(context: Context, limits: Limits, divergence: Callable = binary_kl) -> Judgement:
    orders = [both_orders(s, divergence=divergence) for s in np.linspace(0.505, 0.55, 10)]
    largest = max(abs(one - other) for one, other in orders)
    s, p = np.linspace(0.01, 0.99, 99), np.array([[0.25], [0.5], [0.75]])
    root = np.sign(s - p) * np.sqrt(2 * divergence(s, p))
    trivial = np.allclose(root**2 / 2, divergence(s, p), rtol=0, atol=EXACT)
    text = f"composed maps differ by {largest:.4f} in s, exact"
    return Judgement(text, [exactly(largest > limits["mismatch"])], [exactly(trivial)])
