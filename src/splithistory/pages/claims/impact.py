"""Judges of the claims about impact."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.stats import spearmanr

from ... import policies
from ...statistics import f_test, imp_ratio, page, slopes, t_interval, t_test
from ...study.counterfactuals import compared, success_parts
from .judging import EXACT, Context, Judgement, Limits, TooSmall, grows, growth_over_seeds, judge, over_seeds


@judge("imp-bounded", "models")
def _imp_bounded(context: Context, limits: Limits) -> Judgement:
    least = float((context.crossed["imp"] - context.crossed["imp_min"]).min())
    n = len(context.crossed)
    text = f"Imp - Imp_min at least {least:.4f} nats over {n} pairs of model and goal, exact"
    return Judgement(text, least >= -EXACT)


@judge("imp-grows-with-size", "seeds")
def _imp_grows(context: Context, limits: Limits) -> Judgement:
    return grows(context, "imp")


@judge("imp-min-low", "seeds")
def _imp_min_low(context: Context, limits: Limits) -> Judgement:
    table = imp_ratio(context.own)
    found = {
        column: [spearmanr(rows["ratio"], rows[column]).statistic for _, rows in table.groupby("seed")]
        for column in ("s_prime", "imp")
    }
    difference = np.abs(found["s_prime"]) - np.abs(found["imp"])
    text = f"rank correlation of Imp / Imp_min with s' {over_seeds(found['s_prime'])}"
    return Judgement(f"{text}, with Imp {over_seeds(found['imp'])}", True, p=t_test(difference, above=0))


@judge("imp-ratio-falls", "seeds")
def _imp_ratio_falls(context: Context, limits: Limits) -> Judgement:
    text, p = [], []
    for name, table in (("at N = 200", context.plugin), ("exactly", context.own)):
        ratio = context.by_size(imp_ratio(table), "ratio")
        # where a plug-in divergence is infinite the rank is the highest, and there is no mean change
        text.append(f"{name} {growth_over_seeds(ratio) if np.isfinite(ratio).all() else 'infinite for some'}")
        p.append(page(ratio, falling=True))
    return Judgement(f"change of Imp / Imp_min {', '.join(text)}", True, True, max(p), p[0])


@judge("imp-three-lines", "seeds")
def _imp_three_lines(context: Context, limits: Limits) -> Judgement:
    found = slopes(context.own, "imp_min", "imp", intercept=True).unstack("n_good").to_numpy()
    ends = sorted((mean - half, mean + half) for mean, half in map(t_interval, found.T))
    apart = all(high < low for (_, high), (low, _) in pairwise(ends))
    p = f_test(found)
    return Judgement(f"slopes {', '.join(map(over_seeds, found.T))}", apart, True, p, p)


@judge("s-prime-flat", "seeds")
def _s_prime_flat(context: Context, limits: Limits) -> Judgement:
    goals = {n: context.by_size(rows, "s_prime") for n, rows in context.own.groupby("n_good")}
    changes = {n: t_interval(values[:, -1] - values[:, 0], 0.9) for n, values in goals.items()}
    trends = [min(1.0, 2 * min(page(v), page(v, falling=True))) for v in goals.values()]
    change = limits["change"]
    flat = all(-change <= mean - half and mean + half <= change for mean, half in changes.values())
    above = float((context.own["s_prime"] - context.own["p"]).mean())
    text = ", ".join(f"{mean:+.4f} ± {half:.4f}" for mean, half in changes.values())
    text = f"change of s' {text} (90 %; two-sided trends p = {', '.join(f'{p:.2g}' for p in trends)})"
    holds, mended = above > limits["above"], above <= limits["mended_above"]
    return Judgement(f"{text}, mean s' - p {above:+.4f}", flat and holds, flat and mended)


@judge("s-prime-artefact", "seeds")
def _s_prime_artefact(context: Context, limits: Limits) -> Judgement:
    own = success_parts(context.study, context.own)
    world, above = own["world"] + own["draw"], own["s_prime"] - own["p"]
    shares = (world / above).abs().groupby(own["seed"]).mean()
    mean, half = t_interval(shares)
    opposite = float((world * (above - world) < 0).mean())
    text = f"the world's share of |s' - p| {mean:.2f} ± {half:.2f}, parts of opposite sign in {opposite:.0%}"
    mended = abs(mean - limits["share"]) <= half or opposite > limits["opposite"]
    return Judgement(text, mean - half > limits["share"], bool(mended))


@judge("bias-invisible")
def _bias_invisible(context: Context, limits: Limits, blind: Callable = policies.blind) -> Judgement:
    n = context.world.n_tokens
    mixed = np.random.default_rng(0).dirichlet(np.ones(n), 20)
    one_action, several = ([blind(context.world, probs) for probs in rows] for rows in (np.eye(n), mixed))
    none = one_action + [policies.given_history(f) for f in one_action + several]
    largest = max(abs(value) for f in none for value in (f.op, f.imp))
    signs = all(f.op < 0 < f.imp for f in several)
    text = f"largest |Op| or |Imp| {largest:.1e} nats, exact; given the action mixed policies have Op"
    return Judgement(f"{text} {'<' if signs else 'not <'} 0 < Imp", largest < EXACT, signs)


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
    return Judgement(text, finite)


@judge("only-what-f-captures", "models")
def _only_what_f_captures(context: Context, limits: Limits) -> Judgement:
    masks = (np.arange(1, 128)[:, None] >> np.arange(8)) & 1  # all partitions in two: outcome 7 in the second
    parts = [(np.flatnonzero(mask), np.flatnonzero(mask == 0)) for mask in masks]
    models = context.measured.values()
    highest = float(max(own.merged(groups).imp - own.imp for own in models for groups in parts))
    text = f"merging changes Imp by at most {highest:+.4f} nats, {len(models)} models"
    return Judgement(f"{text}, {len(masks)} partitions, exact", highest <= EXACT)
