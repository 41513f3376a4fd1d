"""Judges of the claims about optimization."""

import numpy as np

from ...policies import generator
from ...recurrence import Recurrence
from ...statistics import clustered_interval, pseudovalues, t_interval
from .effects import exactly, over_histories, over_seeds
from .judging import EXACT, Context, Judgement, Limits, grows, judge


@judge("models-above-generator", "seeds")
def _models_above_generator(context: Context, limits: Limits) -> Judgement:
    """All are measured on the same histories, greedily: so is the generator, and differences are paired."""
    text, found, own = [], [], context.study.generator().op
    for name, rows in (("finetuned", context.own), ("pretrained", context.pretrained)):
        op = [context.study.scalars(model)["op"] for model in rows["model"]]
        least = rows.assign(over=np.array(op) - own).groupby("seed")["over"].min().to_numpy()
        text.append(f"{name} {least.mean():+.4f} ± {t_interval(least)[1]:.4f}")
        found.append(over_seeds(least, above=limits["least"]))
    each = f"the least Op of a seed's models less the generator's {own:.4f}: {', '.join(text)} nats"
    return Judgement(each, found, found[:1])


@judge("op-grows-with-size", "seeds")
def _op_grows(context: Context, limits: Limits) -> Judgement:
    return grows(context, "op", limits)


@judge("not-a-random-walk", "models")
def _not_a_random_walk(context: Context, limits: Limits) -> Judgement:
    low, high = context.generator.interval("op")
    independent = generator(Recurrence(noise=1.0), 20_000, seed=1)  # every token drawn anew
    own = independent.interval("op")
    text = f"generator {low:.4f} to {high:.4f} nats (95 %)"
    text += f", independent draws within {np.abs(own).max():.1e} of 0"
    none = exactly(bool(own[0] <= EXACT and own[1] >= -EXACT))
    return Judgement(text, [over_histories((low, high), above=limits["least"]), none])


@judge("run-variation", "seeds")
def _run_variation(context: Context, limits: Limits) -> Judgement:
    ends = [context.study.scalars(model) for model in context.own["model"]]
    table = context.own.assign(half=[(end["op_high"] - end["op_low"]) / 2 for end in ends])
    cells = table.pivot(index="seed", columns=["size", "n_good"], values=["op", "half"]).dropna()
    each = list(zip(cells["op"].to_numpy(), cells["half"].to_numpy(), strict=True))

    def ratio(drawn):
        op, half = (np.stack(part) for part in zip(*drawn, strict=True))
        return op.std(0, ddof=1).mean() / half.mean()

    low, _ = clustered_interval(ratio, each)  # resampled seeds spread less: it is no bound from above
    text = f"standard deviation over seeds {ratio(each):.2f} times the half width (95 %: above {low:.2f})"
    logs = pseudovalues(lambda of: np.log(ratio(of)), each)
    return Judgement(text, [over_seeds(logs, above=np.log(limits["ratio"]))])
