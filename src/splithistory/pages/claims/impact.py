"""Judges of the claims about impact."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.stats import spearmanr

from ... import policies
from ...measure import Futures
from ...statistics import f_test, imp_ratio, page, t_interval
from ...study.counterfactuals import compared, success_parts
from ...trends import slopes
from .effects import Effect, exactly, over_seeds
from .judging import EXACT, Context, Judgement, Limits, TooSmall, change, grows, judge, seeds


@judge("imp-bounded", "models")
def _imp_bounded(context: Context, limits: Limits) -> Judgement:
    least = float((context.crossed["imp"] - context.crossed["imp_min"]).min())
    n = len(context.crossed)
    text = f"Imp - Imp_min at least {least:.4f} nats over {n} pairs of model and goal, exact"
    return Judgement(text, [exactly(least >= -EXACT)])


@judge("imp-grows-with-size", "seeds")
def _imp_grows(context: Context, limits: Limits) -> Judgement:
    return grows(context, "imp", limits)


@judge("imp-min-low", "seeds")
def _imp_min_low(context: Context, limits: Limits) -> Judgement:
    table = imp_ratio(context.own)
    found = {
        column: [spearmanr(rows["ratio"], rows[column]).statistic for _, rows in table.groupby("seed")]
        for column in ("s_prime", "imp")
    }
    difference = np.abs(found["s_prime"]) - np.abs(found["imp"])
    text = f"rank correlation of Imp / Imp_min with s' {seeds(found['s_prime'])}"
    claim = [over_seeds(difference, above=limits["difference"])]
    text += f", with Imp {seeds(found['imp'])}; difference of their sizes {seeds(difference)}"
    return Judgement(text, claim)


@judge("imp-ratio-falls", "seeds")
def _imp_ratio_falls(context: Context, limits: Limits) -> Judgement:
    text, found = [], []
    for name, table in (("at N = 200", context.plugin), ("exactly", context.own)):
        ratio = context.by_size(imp_ratio(table), "ratio")
        p = page(ratio, falling=True)
        if np.isfinite(ratio).all():
            text.append(f"{name} {seeds(change(ratio))}")
            found.append(over_seeds(change(ratio), below=limits["change"], named=p))
        else:  # where a plug-in divergence is infinite the rank is the highest, and there is no mean change
            text.append(f"{name} infinite for some")
            found.append(Effect(np.nan, named=p))
    return Judgement(f"change of Imp / Imp_min {', '.join(text)}", found, found[:1])


@judge("imp-three-lines", "seeds")
def _imp_three_lines(context: Context, limits: Limits) -> Judgement:
    found = slopes(context.own, "imp_min", "imp", intercept=True).unstack("n_good").to_numpy()
    not_one = Effect(np.nan, low=0, high=0, outside=True, named=f_test(found))  # what spreads has no sign
    apart = [over_seeds(a - b, differs=limits["difference"]) for a, b in combinations(found.T, 2)]
    text = f"slopes (of lines with an intercept) {', '.join(map(seeds, found.T))}"
    return Judgement(text, [not_one, *apart], [not_one])


@judge("s-prime-flat", "seeds")
def _s_prime_flat(context: Context, limits: Limits) -> Judgement:
    changes = [change(context.by_size(rows, "s_prime")) for _, rows in context.own.groupby("n_good")]
    flat = [over_seeds(c, above=-limits["change"], below=limits["change"]) for c in changes]
    own = context.own.assign(excess=context.own["s_prime"] - context.own["p"])
    excess = own.groupby("seed")["excess"].mean().to_numpy()
    text = ", ".join("{:+.4f} ± {:.4f}".format(*t_interval(c)) for c in changes)
    text = f"change of s' {text}, mean s' - p {'{:+.4f} ± {:.4f}'.format(*t_interval(excess))}"
    high, low = over_seeds(excess, above=limits["above"]), over_seeds(excess, below=limits["above"])
    return Judgement(text, [*flat, high], [*flat, low])


@judge("s-prime-artefact", "seeds")
def _s_prime_artefact(context: Context, limits: Limits) -> Judgement:
    own = success_parts(context.study, context.own)
    world, above = own["world"] + own["draw"], own["s_prime"] - own["p"]
    bias = above - world
    shares = own.assign(share=world.abs() / (world.abs() + bias.abs()), opposite=world * bias < 0)
    share, opposite = shares.groupby("seed")[["share", "opposite"]].mean().to_numpy().T
    text = f"the world's part {seeds(share)} of both, of opposite signs in {seeds(opposite)} of the models"
    claim = [over_seeds(share, above=limits["share"])]
    return Judgement(text, claim, [over_seeds(opposite, above=limits["opposite"])])


@judge("bias-invisible")
def _bias_invisible(context: Context, limits: Limits, blind: Callable = policies.blind) -> Judgement:
    n = context.world.n_tokens
    mixed = np.random.default_rng(0).dirichlet(np.ones(n), 20)
    one_action, several = ([blind(context.world, probs) for probs in rows] for rows in (np.eye(n), mixed))
    none = one_action + [policies.given_history(f) for f in one_action + several]
    largest, drawn = (max(abs(value) for f in of for value in (f.op, f.imp)) for of in (none, several))
    highest, least = max(f.op for f in several), min(f.imp for f in several)
    text = f"given the action, policies that draw have Op of {highest:.3f} nats or less and Imp of "
    text += f"{least:.3f} or more; those that do not draw and, given the history, those that do have none: "
    text += f"largest |Op| or |Imp| {largest:.1e}, exact"
    mended = [exactly(largest < EXACT), exactly(highest < 0 < least)]
    return Judgement(text, [exactly(max(largest, drawn) < EXACT)], mended)


@judge("alternative-baselines", "models")
def _alternative_baselines(context: Context, limits: Limits) -> Judgement:
    table = compared(context.study, context.own)
    table = table.pivot(index="model", columns="future", values=["op", "imp"])
    if not {"untrained", "pretrained"} <= set(table["op"].columns) or table.isna().any(axis=None):
        raise TooSmall("an untrained or a pretrained model is not published")
    finite = bool(np.isfinite(table.to_numpy(float)).all())
    # ranks of the models by the split history and by another future; one model has none
    agree = [table[m].rank().corr()["split history"].drop("split history").min() for m in ("op", "imp")]
    text = f"Op and Imp {'' if finite else 'not '}finite for {table['op'].shape[1]} futures, exact"
    text += f"; lowest rank correlation with the split history {agree[0]:.2f} (Op), {agree[1]:.2f} (Imp)"
    return Judgement(text, [exactly(finite)])


def _merged(own: Futures, parts: np.ndarray) -> Futures:
    """`Futures.merged` for partitions (P, K, 2) at once."""
    return Futures.unvalidated(own.action_probs, own.outcome_probs @ parts, own.counterfactual_probs @ parts)


@judge("only-what-f-captures", "models")
def _only_what_f_captures(context: Context, limits: Limits) -> Judgement:
    masks = (np.arange(1, 128)[:, None] >> np.arange(8)) & 1  # all partitions in two: outcome 7 in the second
    parts = np.stack([masks, 1 - masks], -1)  # (partitions, outcomes, 2)
    models = context.measured.values()
    highest = max(float(np.max(_merged(own, parts).imp)) - own.imp for own in models)
    text = f"the greatest change of Imp by merging is {highest:+.4f} nats, {len(models)} models"
    return Judgement(f"{text}, {len(masks)} partitions, exact", [exactly(highest <= EXACT)])
