"""Judges of the claims about optimization."""

import numpy as np

from ...policies import generator
from ...recurrence import Recurrence
from ...statistics import clustered_interval
from .judging import EXACT, Context, Judgement, Limits, centred, grows, judge


def _op(context: Context, model: int) -> tuple[float, float]:
    """(centre, half width) of the 95 % interval over histories of a model's Op, in nats."""
    scalars = context.study.scalars(model)
    return centred(scalars["op_low"], scalars["op_high"])


@judge("models-above-generator", "models")
def _models_above_generator(context: Context, limits: Limits) -> Judgement:
    low, high = context.generator.interval("op")
    centre, half = centred(low, high)
    below = {}
    for name, rows in (("finetuned", context.own), ("pretrained", context.pretrained)):
        intervals = [_op(context, model) for model in rows["model"]]
        highest = [c - centre + np.hypot(h, half) for c, h in intervals]
        below[name] = sum(value < limits["least"] for value in highest)
    text = ", ".join(f"{n} {name}" for name, n in below.items())
    text = f"below the generator's {context.generator.op:.4f} nats ({low:.4f} to {high:.4f}): {text}"
    return Judgement(text, not any(below.values()), not below["finetuned"])


@judge("op-grows-with-size", "seeds")
def _op_grows(context: Context, limits: Limits) -> Judgement:
    return grows(context, "op")


@judge("not-a-random-walk", "models")
def _not_a_random_walk(context: Context, limits: Limits) -> Judgement:
    low, high = context.generator.interval("op")
    independent = generator(Recurrence(noise=1.0), 20_000, seed=1)  # every token drawn anew
    own = independent.interval("op")
    text = f"generator {low:.4f} to {high:.4f} nats (95 %)"
    text += f", independent draws within {np.abs(own).max():.1e} of 0"
    return Judgement(text, bool(low > limits["least"] and own[0] <= EXACT and own[1] >= -EXACT))


@judge("run-variation", "seeds")
def _run_variation(context: Context, limits: Limits) -> Judgement:
    table = context.own.assign(half=[_op(context, model)[1] for model in context.own["model"]])
    cells = table.pivot(index="seed", columns=["size", "n_good"], values=["op", "half"]).dropna()
    seeds = list(zip(cells["op"].to_numpy(), cells["half"].to_numpy(), strict=True))

    def ratio(drawn):
        op, half = (np.stack(part) for part in zip(*drawn, strict=True))
        return op.std(0, ddof=1).mean() / half.mean()

    low, _ = clustered_interval(ratio, seeds)  # resampled seeds spread less: it is no bound from above
    text = f"standard deviation over seeds {ratio(seeds):.2f} of the half width (95 %: above {low:.2f})"
    return Judgement(text, low > limits["ratio"])
