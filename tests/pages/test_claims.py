"""The ledger: each judge on results in which its claim is true and on others in which it is not, verdicts.

The studies are planted: policies that prefer successful actions more or less, in tables as a study has them.
"""

import json
import re
from dataclasses import replace
from functools import cache, partial

import hypothesis
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import strategies as st
from scipy import stats

from splithistory import Recurrence, SplitHistory, measure, policies, statistics, study
from splithistory.information import goal_mask
from splithistory.measure import Futures
from splithistory.pages import claims
from splithistory.pages.claims import impact
from splithistory.pages.claims.effects import Effect, decide, exactly, over_seeds
from splithistory.pages.claims.experiment import _rises_of_smaller_sets
from splithistory.study import GOALS
from splithistory.study.store import write_manifest

SIZES = {"18k": 18_000, "53k": 53_000, "402k": 402_000}
SEEDS = range(4)
WORLD = Recurrence()
CRITERIA = {row.id: row for row in claims.criteria()}
YES, MENDED, NO, OPEN = "reproduced", "reproduced with a correction", "contradicted", "undecided"
SMALL = "too small to tell"


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(measure, "_RESAMPLES", 200)


# --- planted studies ------------------------------------------------------------------------------------


def jitter(*place) -> float:
    """A number around 0, another for every place."""
    return float(np.random.default_rng(list(place)).normal())


def pursuing(goal, strength: float) -> np.ndarray:
    """Shares (M, A) of a maximum-entropy policy for a goal."""
    success = WORLD.table[:, :, goal_mask(goal, 8)].sum(-1)
    preference = np.exp(strength * success)
    return WORLD.class_shares()[:, None] * preference / preference.sum(1, keepdims=True)


def blind(action=None) -> np.ndarray:
    """One token always, or odd ones at random."""
    probs = np.repeat([0, 1 / 8], 8) if action is None else np.eye(16)[action]
    return np.outer(WORLD.class_shares(), probs)


def growing(size: int, seed: int, n_good: int) -> np.ndarray:
    return pursuing(GOALS[n_good], 2.0 + size + 0.1 * jitter(size, seed, n_good))


def shrinking(size, seed, n_good):
    return growing(2 - size, seed, n_good)


def waning(size, seed, n_good):
    return pursuing(GOALS[n_good], 3.0 - 0.1 * size + 0.01 * jitter(size, seed, n_good))


def faithful(futures, size, seed, n_good, arm):
    """A self-evaluation that is the truth, but for a little."""
    return narrowed(futures, 1 + 0.01 * jitter(size, seed, n_good, len(arm)))


def narrowed(futures, weight):
    """A self-evaluation that moves the optimized future towards the one it is compared with."""
    mean = futures.action_probs @ futures.counterfactual_probs
    own = np.clip(weight * futures.outcome_probs + (1 - weight) * mean, 1e-9, None)
    return own / own.sum(), futures.counterfactual_probs


def planted(
    policy=growing,
    pretrained=lambda size, seed: pursuing(GOALS[4], 3.0),
    generator=lambda: pursuing(GOALS[4], 1.0),
    loss=lambda size, seed: 0.4 + 0.01 * jitter(size, seed),
    believes=faithful,
    seeds=SEEDS,
    kind=study.Study,
):
    """A study of three sizes with these policies, losses and self-evaluations."""
    rows, readings, curves, sampled, selves = [], [], [], [], []

    def model(stage, arm, size, seed, n_good, table, temperature=0.0):
        number = len(rows)
        shape = {"size": list(SIZES)[size], "n_parameters": list(SIZES.values())[size]}
        rows.append({"model": number, "stage": stage, "arm": arm, "seed": seed, "n_good": n_good, **shape})
        readings.append((number, temperature, table))
        return number

    own = generator()
    for temperature in (0.0, 1.0):
        model("generator", "", 0, -1, 0, own, temperature)
    rows.pop()  # one model, read in two ways
    readings[-1] = 0, *readings[-1][1:]
    for size, seed in np.ndindex(len(SIZES), len(seeds)):
        model("untrained", "", size, seed, 0, blind())
        before = model("pretrained", "", size, seed, 0, pretrained(size, seed))
        curves.append({"model": before, "step": 1, "column": "test_loss", "value": loss(size, seed)})
        for arm, n_good in [(arm, n) for arm in ("sampled", "acted") for n in GOALS]:
            table = policy(size, seed, n_good)
            number = model("finetuned", arm, size, seed, n_good, table)
            futures = SplitHistory(table, WORLD.table)
            sampled += [plugin_row(number, futures) | {"repeat": repeat} for repeat in (0, 1)]
            selves += self_rows(number, futures.action_probs, *believes(futures, size, seed, n_good, arm))
            ends = {"success_greedy": 0.8, "even_accuracy": 0.9, "even_loss": 0.3}
            curves += [{"model": number, "step": 1, "column": c, "value": v} for c, v in ends.items()]
    tables = [pd.DataFrame(of) for of in (rows, curves, counted(readings), sampled, selves)]
    return kind(*tables, *2 * [pd.DataFrame()], manifest={})


def counted(readings):
    """Columns of `counts` of (model, temperature, table of shares), each of 20,000 histories."""
    numbers, temperatures, tables = zip(*readings, strict=True)
    each = tables[0].size
    m, a = np.indices(tables[0].shape).reshape(2, -1)
    own = {"model": np.repeat(numbers, each), "temperature": np.repeat(temperatures, each)}
    cells = {"m": np.tile(m, len(tables)), "a": np.tile(a, len(tables))}
    return own | cells | {"half": 0, "tokens": "all", "count": 20_000 * np.concatenate(tables).ravel()}


def plugin_row(number, futures):
    row = {"model": number, "op": futures.op, "imp": futures.imp}
    mean = futures.action_probs @ futures.counterfactual_probs
    row |= {f"f{k}": share for k, share in enumerate(futures.outcome_probs)}
    return row | {f"f_prime{k}": share for k, share in enumerate(mean)}


def self_rows(number, plays, outcomes, counterfactual):
    def row(a, share, probs):
        named = {f"r{f}": value for f, value in enumerate(probs)}
        return {"model": number, "repeat": 0, "a": a, "plays": share, **named}

    after = [row(a, plays[a], probs) for a, probs in enumerate(counterfactual)]
    return [row(-1, 1.0, outcomes), *after]


def ablated(**changes):
    """Ablations: arm with underscores -> what it changes in the ends of its curves."""
    rows, curves = [], []
    for arm, ends in changes.items():
        stage = "pretrained" if arm.startswith("windows") else "finetuned"
        for size, seed, n_good in np.ndindex(len(SIZES), 3, 1 if stage == "pretrained" else 3):
            if size not in (0, len(SIZES) - 1):  # as in the profile: smallest and largest only
                continue
            number = len(rows)
            shape = {"size": list(SIZES)[size], "n_parameters": list(SIZES.values())[size], "seed": seed}
            goal = 0 if stage == "pretrained" else list(GOALS)[n_good]
            name = arm.replace("__", ".").replace("_", " ")
            rows.append({"model": number, "stage": stage, "arm": name, "n_good": goal, **shape})
            for column, value in ends.items():
                end = (value(size) if callable(value) else value) + 0.01 * jitter(number, len(column))
                curves.append({"model": number, "step": 1, "column": column, "value": end})
    none = pd.DataFrame()
    return study.Study(pd.DataFrame(rows), pd.DataFrame(curves), *5 * [none], manifest={})


@cache
def once(*knobs):
    """A planted study that tests share, with what was computed of it: none may change it."""
    return planted(**dict(knobs))


def context(ablations=None, **knobs):
    return claims.Context(once(*knobs.items()), ablations)


def with_own(change, **knobs):
    """A planted context with columns of each model's own measurement set: rows -> {column: values}."""
    made = context(**knobs)
    made.own = made.own.assign(**change(made.own))
    return made


def rising(value):
    """A loss that rises with size, by so much."""
    return lambda size, seed=0: 0.3 + value * size + 0.01 * jitter(size, seed)


class Understated(SplitHistory):
    """A measurement gone wrong: no theorem holds for it."""

    imp = property(lambda self: 0.3 * super().imp)
    op = property(lambda self: 0.3 * super().op)


class WrongStudy(study.Study):
    def measured(self, model, **reading):
        right = super().measured(model, **reading)
        return Understated(right.counts, right.world)


class OpenStudy(study.Study):
    """One of whose other futures lacks an outcome."""

    def comparison_futures(self, model):
        futures = super().comparison_futures(model)
        never = measure.Futures([1.0], futures["untrained"].outcome_probs, np.eye(8)[:1])
        return futures | {"token 8": never}


def only(outcomes, strength=6.0):
    """Every model steers to the same outcomes, whatever its goal."""
    return lambda size, seed, n_good: pursuing(outcomes, strength + 0.1 * jitter(size, seed, n_good))


def alike(size, seed, n_good):
    """A policy for the goal of 4, nearly the same for every model."""
    return pursuing(GOALS[4], 3.0 + 0.001 * jitter(size, seed, n_good))


def half(outcomes, strength):
    """A half of the goal of 4: models of either half are not told apart on it, only on the goal of 2."""
    return lambda size, seed, n_good: pursuing(outcomes, strength + size + 0.001 * jitter(size, seed))


def favouring(size, seed, n_good):
    """Some of its successes over others."""
    return pursuing(GOALS[n_good][: n_good // 2], 6.0 + 0.1 * jitter(size, seed, n_good))


def graded(size, seed, n_good):
    """The more of the three goals are met, the better."""
    return np.mean([pursuing(goal, 0.4) for goal in GOALS.values()], axis=0)


def by_grade(size, seed, n_good):
    """Maximum entropy for the graded reward: its bound is nearly all there is."""
    grade = sum(goal_mask(goal, 8) for goal in GOALS.values())
    preference = np.exp((1.0 + 0.01 * jitter(size, seed, n_good)) * (WORLD.table @ grade))
    return WORLD.class_shares()[:, None] * preference / preference.sum(1, keepdims=True)


def of_goal(**by_goal):
    """Another policy for each goal, g2, g4 and g6."""
    return lambda size, seed, n_good: by_goal[f"g{n_good}"](size, seed, n_good)


def weights(by_goal, acted=0.0):
    """A self-evaluation narrowed by goal, and by how much more in the arm `acted`."""

    def believes(futures, size, seed, n_good, arm):
        less = acted * (arm == "acted")
        return narrowed(futures, by_goal[n_good] - less + 0.01 * jitter(size, seed, n_good, len(arm)))

    return believes


def noisy(table, *place, scale=0.01):
    return scale * np.random.default_rng(place or 0).normal(size=len(table))


def ratio(falls):
    """Imp over its bound by size, for `own` or `plugin`."""

    def change(table):
        size = table["n_parameters"].map({n: i for i, n in enumerate(SIZES.values())})
        return {"imp": table["imp_min"] * (2 - falls * size + noisy(table))}

    return change


def two_ratios(plugin, exact):
    made = with_own(ratio(exact))
    made.plugin = made.own.assign(**ratio(plugin)(made.own))
    return made


def lines(slopes, scale=0.002):
    def change(table):
        imp_min = np.linspace(0.1, 0.5, len(table))
        return {"imp_min": imp_min, "imp": table["n_good"].map(slopes) * imp_min + noisy(table, scale=scale)}

    return lambda: with_own(change)


def flat(level, growth):
    def change(table):
        size = table["n_parameters"].map({n: i for i, n in enumerate(SIZES.values())})
        return {"s_prime": table["p"] + level + growth * size + noisy(table, scale=0.001)}

    return lambda: with_own(change)


def far_above(table):
    """Op with the right slope on implied Op, but a constant too large."""
    implied = np.linspace(0.2, 0.4, len(table))
    return {"implied_op": implied, "op": implied + 0.12 + noisy(table, scale=0.001)}


def imp_explained_by(column):
    """A ratio of Imp to its bound that goes with s' or with Imp, while the other is noise."""

    def change(table):
        cause = np.linspace(0.2, 0.8, len(table))
        other = 0.3 + 0.1 * np.random.default_rng(3).random(len(table))
        s_prime, imp = (cause, other) if column == "s_prime" else (other, cause)
        return {"s_prime": s_prime, "imp": imp, "imp_min": imp / (2 - cause)}

    return lambda: with_own(change)


def split(right, wrong, aside):
    """Impact on lines of these slopes for the right goal and the wrong ones, the right ones moved aside."""

    def build():
        made = context()
        table = made.crossed.reset_index(drop=True)
        own = table["n_good"] == table["goal"]
        table["imp_min"] = np.linspace(0.1, 0.5, len(table))
        table["imp"] = np.where(own, right, wrong) * table["imp_min"] + aside * own + noisy(table)
        table["implied_op"], table["op"] = np.where(own, 0.9, 0.1) + noisy(table, 1, scale=0.02), 1.0
        made.crossed = table
        return made

    return build


def no_bound():
    made = context()
    made.crossed = made.crossed.assign(imp_min=np.inf)
    return made


def errors(op, imp):
    """Self-estimates off by these shares."""

    def build():
        made = context()
        own = made.own
        made.judged_by_self = own.assign(op_off=op + noisy(own), imp_off=imp + noisy(own, 1))
        return made

    return build


def in_world(policy=growing, **settings):
    return lambda: claims.Context(planted(policy), world=Recurrence(**settings))


def smaller_sets(growth):
    return ablated(windows_4096={"test_loss": rising(growth)}, windows_65536={"test_loss": rising(-0.05)})


def test_a_training_set_of_one_size_alone_does_not_enter_the_claim_on_overfitting():
    whole = smaller_sets(0.2)
    only_small = whole.models[(whole.models["arm"] != "windows 65536") | (whole.models["size"] == "18k")]
    context = claims.Context(planted(), replace(whole, models=only_small))
    assert list(_rises_of_smaller_sets(context)) == ["windows 4096"]


def failures(smallest, largest, accuracy=1.0):
    """What success loses at two weights, and accuracy as a share of that."""

    def ends(lost):
        return {"success_greedy": 0.8 - lost, "even_accuracy": 0.9 - accuracy * lost}

    return ablated(failures_0__01=ends(smallest), failures_1=ends(largest))


def unmaintained(lost):
    return ablated(no_maintenance={"even_loss": 0.3 + lost})


def below_by_the_post(made):
    sampled = made.study.sampled
    lower = replace(made.study, sampled=sampled.assign(op=sampled["op"] - 1.0))
    return claims.Context(lower, world=made.world)


def p(build=context, /, **given):
    """A case: how to build its context, and what the judge is given."""
    return build, given


def plain(**knobs):
    return partial(context, **knobs), {}


CASES = {
    "sequence-predictable": {YES: p(in_world(noise=0.025)), MENDED: p(), NO: p(in_world(noise=0.1))},
    "pretraining-beats-chance": {YES: p(), NO: plain(loss=rising(0.5))},
    "pretraining-overfits": {
        YES: plain(loss=rising(0.1)),
        MENDED: plain(loss=rising(-0.05), ablations=smaller_sets(0.1)),
        NO: plain(loss=rising(-0.05), ablations=smaller_sets(-0.1)),
        SMALL: plain(loss=rising(-0.05)),
    },
    "maintenance-needed": {
        YES: plain(ablations=unmaintained(0.8)),
        MENDED: plain(ablations=unmaintained(0.3)),
        NO: plain(ablations=unmaintained(0.0)),
        SMALL: p(),
    },
    "failures-hurt": {
        YES: plain(ablations=failures(0.1, 0.2)),
        MENDED: plain(ablations=failures(0.0, 0.2)),
        NO: plain(ablations=failures(0.1, 0.2, accuracy=0.0)),
        SMALL: p(),
    },
    "success-above-chance": {
        YES: p(),
        MENDED: plain(policy=lambda *place: pursuing(GOALS[place[2]], 0.7)),
        NO: plain(policy=lambda *place: blind()),
    },
    "success-grows-with-size": {
        YES: p(),
        MENDED: plain(policy=of_goal(g2=growing, g4=growing, g6=waning)),
        NO: plain(policy=shrinking),
    },
    "models-above-generator": {
        YES: p(),
        MENDED: plain(pretrained=lambda size, seed: blind()),
        NO: plain(policy=lambda *place: blind()),
    },
    "op-grows-with-size": {YES: p(), NO: plain(policy=shrinking)},
    "op-predicted": {YES: p(), MENDED: p(lambda: with_own(far_above)), NO: plain(policy=only([0]))},
    "some-below-line": {
        # a world that no policy steers
        YES: p(lambda: below_by_the_post(in_world(favouring, noise=1.0)())),
        MENDED: p(lambda: below_by_the_post(context(policy=favouring))),
        NO: plain(policy=favouring),
        OPEN: p(in_world(favouring, noise=1.0)),
    },
    "few-far-above": {YES: p(), NO: plain(policy=only([0]))},
    "example-85-15": {YES: p(), NO: p(share=0.6)},
    "four-pictures": {YES: p(), NO: p(lean=0.0)},
    "subset-transfer": {
        YES: plain(policy=of_goal(g2=only(GOALS[2]), g4=only(GOALS[4], 1.0), g6=growing)),
        MENDED: plain(policy=of_goal(g2=alike, g4=alike, g6=growing)),  # ahead, but not clearly
        NO: plain(policy=only((1, 3))),
    },
    "objective-identified": {
        YES: p(),
        MENDED: plain(policy=of_goal(g2=half((0, 4), 4.0), g4=half((2, 6), 4.5), g6=only(GOALS[6]))),
        NO: plain(policy=only(GOALS[4])),
    },
    "no-collapse": {
        YES: p(),
        MENDED: p(divergence=lambda s, q: (np.log(s / (1 - s)) - np.log(q / (1 - q))) ** 2),
    },
    "imp-bounded": {YES: p(), NO: plain(kind=WrongStudy)},
    "imp-grows-with-size": {YES: p(), NO: plain(policy=shrinking)},
    "imp-min-low": {YES: p(imp_explained_by("s_prime")), NO: p(imp_explained_by("imp"))},
    "imp-ratio-falls": {
        YES: p(lambda: two_ratios(0.1, 0.1)),
        MENDED: p(lambda: two_ratios(0.1, 0.0)),
        NO: p(lambda: two_ratios(-0.1, 0.1)),
    },
    "imp-three-lines": {
        YES: p(lines({2: 1.0, 4: 1.5, 6: 2.0})),
        MENDED: p(lines({2: 1.0, 4: 1.001, 6: 2.0}, 0.02)),
        OPEN: p(lines({2: 1.0, 4: 1.0, 6: 1.0})),
    },
    "s-prime-flat": {
        YES: p(flat(0.05, 0.0)),
        MENDED: p(flat(0.01, 0.0)),
        NO: p(flat(0.05, 0.1)),
        OPEN: p(flat(0.02, 0.0)),
    },
    "bias-invisible": {
        YES: p(in_world(noise=1.0)),  # no action has a consequence, drawn or not
        MENDED: p(),
        NO: p(blind=lambda world, probs: policies.acting(world, [np.roll(probs, m) for m in range(16)])),
    },
    "s-prime-artefact": {
        YES: plain(policy=lambda *place: blind()),
        NO: plain(policy=lambda *place: blind(12)),
    },
    "alternative-baselines": {YES: p(), NO: plain(kind=OpenStudy)},
    "imp-splits-objectives": {
        YES: p(split(1.0, 2.0, 0.4)),
        MENDED: p(split(1.0, 2.0, 0.0)),
        NO: p(split(2.0, 1.0, 0.0)),
    },
    "ngood6-missing": {YES: p(no_bound), NO: p()},
    "self-op-biased": {
        YES: plain(believes=weights({2: 0.6, 4: 0.8, 6: 1.0})),
        MENDED: plain(believes=weights({2: 0.5, 4: 0.6, 6: 0.8})),
        NO: plain(believes=weights({2: 1.0, 4: 0.9, 6: 0.8})),
    },
    "self-imp-worse": {YES: p(errors(0.1, 0.3)), NO: p(errors(0.3, 0.1))},
    "self-imp-bias": {
        YES: plain(believes=weights({2: 0.8, 4: 0.8, 6: 0.8}, -0.2)),
        OPEN: p(),
    },
    "self-bias-cause": {
        YES: plain(believes=weights({2: 1.0, 4: 1.0, 6: 1.0}, 0.2)),
        NO: plain(believes=weights({2: 0.8, 4: 0.8, 6: 0.8}, -0.2)),
    },
    "op-signed-imp-positive": {YES: p(), NO: p(undoes=False)},
    "imp-adds": {YES: p(agreement=0.5), MENDED: p()},
    "only-what-f-captures": {YES: p(), NO: plain(kind=WrongStudy)},
    "run-variation": {
        YES: plain(policy=lambda i, k, n: pursuing(GOALS[n], 3 + 0.5 * jitter(i, k, n))),
        NO: plain(policy=lambda i, k, n: pursuing(GOALS[n], 3 + 0.001 * jitter(i, k, n))),
    },
    "not-a-random-walk": {YES: p(), NO: plain(generator=blind)},
    "no-general-op": {YES: plain(kind=WrongStudy), MENDED: p(), NO: plain(policy=by_grade)},
    "utility-by-thresholds": {YES: plain(policy=only(GOALS[4])), MENDED: plain(policy=graded)},
    "binary-future": {YES: p(n_actions=1), MENDED: p(), NO: p(n_outcomes=3)},
    "differential-minimum": {YES: p(), NO: p(linear=2.0)},
    "diagonal-sum": {YES: p(), NO: p(coupling=0.1)},
    "unlike-aup": {YES: p(), NO: p(moves=False)},
}


def verdict(claim, made):
    (row,) = claims.verdicts(made, [CRITERIA[claim]])
    return row.verdict


@pytest.mark.parametrize(("claim", "expected"), [(c, v) for c, cases in CASES.items() for v in cases])
def test_a_judge_tells_results_in_which_its_claim_is_true_from_others(claim, expected, monkeypatch):
    build, given = CASES[claim][expected]
    monkeypatch.setitem(claims.JUDGES, claim, partial(claims.JUDGES[claim], **given))
    assert verdict(claim, build()) == expected


# claim, a verdict of CASES, what is changed in its limits, the verdict then
MOVED = [
    ("sequence-predictable", MENDED, {"below": 0.99}, YES),
    ("sequence-predictable", YES, {"least": 0.98}, NO),
    ("sequence-predictable", MENDED, {"mended": 0.98}, NO),
    ("pretraining-beats-chance", YES, {"loss": 0.1}, NO),
    ("pretraining-overfits", YES, {"rise": 1.0}, SMALL),
    ("pretraining-overfits", MENDED, {"rise": 1.0}, NO),
    ("maintenance-needed", YES, {"above": 1.0}, MENDED),
    ("maintenance-needed", MENDED, {"mended": 0.5}, NO),
    ("failures-hurt", YES, {"change": -1.0}, NO),
    ("failures-hurt", MENDED, {"change": 0.1}, YES),
    ("success-above-chance", YES, {"share": 0.99}, MENDED),
    ("success-above-chance", MENDED, {"share": 0.9, "mended": 0.9}, NO),
    ("models-above-generator", YES, {"least": 9.0}, NO),
    ("op-predicted", YES, {"error": 0.0}, MENDED),
    ("op-predicted", YES, {"least": 1.2, "mended_least": 1.2}, NO),
    ("op-predicted", MENDED, {"mended_most": 0.67}, NO),
    ("some-below-line", YES, {"below": 99}, NO),
    ("some-below-line", MENDED, {"refuted": 0.1}, YES),
    ("few-far-above", YES, {"excess": -1.0}, NO),
    ("few-far-above", YES, {"share": 2.0}, NO),
    ("example-85-15", YES, {"implied": 0.04}, NO),
    ("example-85-15", YES, {"actual": 1.6}, NO),
    ("four-pictures", YES, {"excess": 1.0}, NO),
    ("no-collapse", YES, {"mismatch": 1.0}, MENDED),
    ("subset-transfer", YES, {"above_chance": 0.6}, NO),
    ("subset-transfer", YES, {"pairs_clearly_ahead": 99}, MENDED),
    ("objective-identified", YES, {"mean": 1.0}, MENDED),
    ("objective-identified", YES, {"subset": 1.0}, MENDED),
    ("objective-identified", MENDED, {"mended": 1.0}, NO),
    ("imp-splits-objectives", YES, {"slope": -9.0}, NO),
    ("imp-splits-objectives", YES, {"auc": -1.0}, MENDED),
    ("ngood6-missing", NO, {"share_infinite": 0.0}, YES),
    ("s-prime-flat", YES, {"change": 0.0001}, OPEN),
    ("s-prime-flat", YES, {"above": 0.5}, MENDED),
    ("s-prime-flat", MENDED, {"above": -0.5}, YES),
    ("self-op-biased", YES, {"most": 0.9}, MENDED),
    ("self-op-biased", MENDED, {"trend": 9.0}, NO),
    ("self-imp-worse", YES, {"logarithm": 9.0}, NO),
    ("self-imp-bias", YES, {"difference": -0.4}, OPEN),
    ("self-bias-cause", YES, {"difference": -2.0}, NO),
    ("self-bias-cause", NO, {"difference": 2.0}, YES),
    ("imp-three-lines", YES, {"difference": -0.5}, MENDED),
    ("op-grows-with-size", NO, {"change": -9.0}, OPEN),
    ("no-general-op", MENDED, {"error": 0.99}, NO),
    ("s-prime-artefact", YES, {"share": 2.0, "opposite": 1.0}, NO),
    ("s-prime-artefact", NO, {"opposite": -1.0}, MENDED),
    ("run-variation", YES, {"ratio": 1e9}, NO),
    ("not-a-random-walk", YES, {"least": 9.0}, NO),
    ("utility-by-thresholds", YES, {"above": 9.0}, MENDED),
    ("utility-by-thresholds", MENDED, {"mended_above": 9.0}, NO),
]


@pytest.mark.parametrize(("claim", "before", "changed", "after"), MOVED)
def test_a_judge_compares_with_what_its_criterion_says(claim, before, changed, after, monkeypatch):
    build, given = CASES[claim][before]
    row = CRITERIA[claim]
    assert set(changed) <= set(row.limits)
    monkeypatch.setitem(claims.JUDGES, claim, partial(claims.JUDGES[claim], **given))
    moved = row.model_copy(update={"limits": row.limits | changed})
    made = build()
    found = [next(claims.verdicts(made, [criterion])).verdict for criterion in (row, moved)]
    assert found == [before, after]


def test_every_claim_is_judged_on_results_for_it_and_on_others_against_it():
    elsewhere = {"jacobian-cost", "impact-regularisation"}
    assert set(CASES) | elsewhere == set(CRITERIA) == set(claims.JUDGES)
    assert all(YES in cases and len(cases) > 1 for cases in CASES.values())


# --- what is not in the study ---------------------------------------------------------------------------


@pytest.mark.parametrize(("exponent", "expected"), [(5.0, YES), (3.0, MENDED), (3.7, NO), (None, SMALL)])
def test_the_cost_is_read_from_the_benchmark_if_it_was_run(exponent, expected, tmp_path):
    report = {"device": "cpu"}
    if exponent is not None:
        # small widths are not fitted
        seconds = {width: 1e-9 * width**exponent for width in (128, 256, 512, 1024)} | {16: 1.0}
        report["jacobian"] = seconds
    (tmp_path / "cpu.json").write_text(json.dumps(report))
    write_manifest(tmp_path, {})
    made = claims.Context(planted(seeds=(0,)), benchmarks=tmp_path)
    assert verdict("jacobian-cost", made) == expected


@pytest.mark.parametrize(
    ("exponent", "changed", "expected"),
    [
        (5.0, {"most": 4.5}, NO),
        (5.0, {"least": 5.5}, NO),
        (3.0, {"mended_most": 2.9}, NO),
        (3.0, {"least": 2.0}, YES),
    ],
)
def test_the_cost_is_held_against_the_exponents_of_its_criterion(exponent, changed, expected, tmp_path):
    seconds = {width: 1e-9 * width**exponent for width in (128, 256, 512, 1024)}
    (tmp_path / "cpu.json").write_text(json.dumps({"device": "cpu", "jacobian": seconds}))
    write_manifest(tmp_path, {})
    made = claims.Context(planted(seeds=(0,)), benchmarks=tmp_path)
    row = CRITERIA["jacobian-cost"]
    moved = row.model_copy(update={"limits": row.limits | changed})
    assert next(claims.verdicts(made, [moved])).verdict == expected


def reporting(arms, weights, **how):
    """A study of these two arms, whose models report futures narrowed by these weights."""
    of = dict(zip(("sampled", "acted"), weights, strict=True))
    made = planted(
        believes=lambda futures, *place: narrowed(futures, of[place[-1]] + 0.01 * jitter(*place[:3])), **how
    )
    named = made.models["arm"].map(dict(zip(("sampled", "acted"), arms, strict=True)))
    tuned = made.models["stage"] == "finetuned"
    drawn = made.counts[made.counts["temperature"] == 0].assign(temperature=1.0)
    counts = pd.concat([made.counts[made.counts["temperature"] == 0], drawn])
    return replace(made, models=made.models.assign(arm=named)[tuned], counts=counts)


PENALTY, DOSE = ("no penalty", "self-estimated 2"), ("explored 0", "explored 0.3")


def regularised(penalised=(1.0, 1.0), explored=(1.0, 1.0), **how):
    """What the two profiles report: without and with a penalty, without and with interventions."""
    profiles = {"penalised": (PENALTY, penalised), "explored": (DOSE, explored)}
    further = {name: reporting(*of, **how) for name, of in profiles.items()}
    return claims.Context(planted(seeds=(0,)), further=further)


@pytest.mark.parametrize(
    ("penalised", "explored", "changed", "expected"),
    [
        ((1.0, 0.6), (0.4, 0.8), {}, YES),
        ((1.0, 0.6), (0.8, 0.4), {}, NO),  # interventions make it worse
        ((0.6, 1.0), (0.4, 0.8), {}, NO),  # a penalty makes it better
        ((1.0, 0.6), (0.4, 0.8), {"logarithm": 9.0}, NO),
        ((1.0, 0.6), (0.4, 0.8), {"share": 9.0}, NO),
    ],
)
def test_a_penalty_is_judged_by_what_models_tell_of_their_impact(penalised, explored, changed, expected):
    row = CRITERIA["impact-regularisation"]
    row = row.model_copy(update={"limits": row.limits | changed})
    assert next(claims.verdicts(regularised(penalised, explored), [row])).verdict == expected


@pytest.mark.parametrize("missing", ["penalised", "explored", "seeds"])
def test_a_penalty_is_too_small_to_tell_where_a_profile_or_seeds_are_missing(missing):
    made = regularised((1.0, 0.6), (0.4, 0.8), **({"seeds": range(2)} if missing == "seeds" else {}))
    made.further.pop(missing, None)
    assert verdict("impact-regularisation", made) == SMALL


# measured, but not over seeds: counted exactly, or with intervals over histories
ON_MODELS = {
    "success-above-chance",
    "some-below-line",
    "alternative-baselines",
    "ngood6-missing",
    "not-a-random-walk",
    "jacobian-cost",
    "impact-regularisation",  # of other profiles
}
TESTED = {c for c, row in CRITERIA.items() if row.evidence == "measured"} - ON_MODELS


def too_small(made) -> set[str]:
    return {row.id for row in claims.verdicts(made, list(CRITERIA.values())) if row.verdict == SMALL}


def test_two_seeds_are_too_small_for_every_tested_claim_and_for_no_other(tmp_path):
    made = claims.Context(planted(seeds=range(2)), ablated(), benchmarks=tmp_path)
    assert too_small(made) == TESTED | {"jacobian-cost", "impact-regularisation"}


@pytest.mark.parametrize(
    "missing", ["self_evaluation", "acted", "sampled", "generator", "untrained", "402k", "ablations"]
)
def test_a_study_that_is_not_whole_is_too_small_and_never_a_crash(missing, tmp_path):
    whole, ablations = planted(), ablated(no_maintenance={"even_loss": 1.0})
    models = whole.models
    if missing == "self_evaluation":
        whole.self_evaluation = whole.self_evaluation.iloc[:0]
    whole.models = models[(models[["stage", "arm", "size"]] != missing).all(axis=1)]
    found = too_small(
        claims.Context(whole, None if missing == "ablations" else ablations, benchmarks=tmp_path)
    )
    expected = {
        "self_evaluation": {"self-op-biased", "self-imp-worse", "self-imp-bias", "self-bias-cause"},
        "acted": {"self-imp-bias", "self-bias-cause"},
        "sampled": TESTED | {"imp-bounded"},
        "generator": TESTED | {"not-a-random-walk"},
        "untrained": {"alternative-baselines"},
        "402k": TESTED,
        "ablations": {"maintenance-needed", "failures-hurt"},
    }[missing]
    assert expected <= found
    assert "four-pictures" not in found


def test_a_study_is_judged_in_the_world_that_it_was_made_in():
    sinks = Recurrence(sinks={8: (0, 1)})
    made = replace(planted(seeds=(0,)), manifest={"profile": {"world": sinks.settings}})
    assert np.array_equal(claims.Context(made).world.table, sinks.table)
    assert "1.0000" not in claims.JUDGES["sequence-predictable"](claims.Context(made)).statistic
    assert claims.Context(made, world=WORLD).world is WORLD


def test_what_is_not_read_for_a_profile_is_not_called_unpublished():
    judge = claims.JUDGES["impact-regularisation"]
    said = "the profile penalised is read beside post alone, where both are published"
    assert judge(claims.Context(planted(seeds=(0,)))).statistic == said


def test_a_context_of_whole_seeds_reads_the_same_benchmark(tmp_path):
    models = planted().models
    lost = (models["seed"] == 3) & (models["size"] == "53k")
    made = claims.Context(replace(planted(), models=models[~lost]), benchmarks=tmp_path)
    assert made.complete is not made and made.complete.benchmarks == tmp_path


def test_tests_over_seeds_leave_out_a_seed_that_is_not_whole():
    whole = context()
    rows = whole.study.models
    lost = (rows["seed"] == 3) & (rows["size"] == "53k") & (rows["n_good"] == 2)
    fewer = claims.Context(replace(whole.study, models=rows[~lost]))
    three = whole.study.models[whole.study.models["seed"] != 3]
    without = claims.Context(replace(whole.study, models=three))
    for claim in ("op-grows-with-size", "imp-three-lines", "self-op-biased", "pretraining-beats-chance"):
        judge = claims.JUDGES[claim]
        assert judge(fewer) == judge(without) != judge(whole), claim
    assert "over 105 pairs" in claims.JUDGES["imp-bounded"](fewer).statistic  # the others keep its models


# --- verdicts -------------------------------------------------------------------------------------------


def judged(monkeypatch, **found):
    """Verdicts by id (with underscores) of these judgements."""
    names = {name.replace("_", "-"): judgement for name, judgement in found.items()}
    for name, judgement in names.items():
        monkeypatch.setitem(claims.JUDGES, name, lambda *_, judgement=judgement: judgement)
    return {row.id: row for row in claims.verdicts(None, [CRITERIA[name] for name in names])}


def of_p(p, **more):
    """An effect that its named test bears out with this p, one-sided."""
    return Effect(1.0, 1.0, low=0.0, named=p, **more)


def test_p_values_are_two_sided_and_corrected_within_the_family_of_what_chance_has_a_part_in(monkeypatch):
    found = judged(
        monkeypatch,
        op_grows_with_size=claims.Judgement("", [of_p(0.02)]),
        imp_grows_with_size=claims.Judgement("", [of_p(0.001)]),
        subset_transfer=claims.Judgement("", []),
        imp_bounded=claims.Judgement("", [exactly(True)]),
    )
    assert found["op-grows-with-size"].p_corrected == pytest.approx(0.04)  # the last of two, two-sided
    assert found["imp-grows-with-size"].p_corrected == pytest.approx(0.004)
    assert found["subset-transfer"].p_corrected is found["imp-bounded"].p_corrected is None
    assert [row.verdict for row in found.values()] == [YES, YES, SMALL, YES]


VALUES = st.lists(st.integers(-100, 100).map(lambda n: n / 64), min_size=3, max_size=8)


@hypothesis.given(VALUES.filter(lambda values: np.std(values) > 1e-2), st.sampled_from([-0.5, 0.0, 0.25]))
def test_a_claim_that_a_number_differs_has_the_p_of_the_two_sided_t_test(values, at):
    decision = decide([over_seeds(values, differs=at)])
    assert decision.p == pytest.approx(stats.ttest_1samp(values, at).pvalue) and decision.side == 1


def test_slopes_that_differ_have_the_p_of_their_f_test_and_a_claim_with_a_side_is_doubled():
    found = claims.JUDGES["imp-three-lines"](context())
    (f_test,) = found.mended
    assert decide(found.mended).p == f_test.named < 1
    assert decide([f_test, of_p(0.01)]).p == max(2 * f_test.named, 0.02)


def test_a_claim_that_its_correction_costs_the_level_is_undecided_and_says_what_could_be_seen(monkeypatch):
    weak = claims.Judgement("", [of_p(0.02)])
    found = judged(monkeypatch, op_grows_with_size=weak, imp_grows_with_size=weak)
    assert {row.verdict for row in found.values()} == {OPEN}
    row = found["op-grows-with-size"]
    assert row.p_corrected == pytest.approx(0.08)
    # a normal estimate with standard error 1 at level 1 - 0.05 / 2, power 0.8
    assert row.detectable == pytest.approx(stats.norm.ppf(0.9875) + stats.norm.ppf(0.8), abs=1e-3)
    assert "3.1 nats beyond the edge would be seen in 8 studies of 10" in str(row)


def test_a_mended_claim_takes_its_claims_place_in_the_family(monkeypatch):
    weak = claims.Judgement("", [of_p(0.02)])
    mended = claims.Judgement("", [of_p(0.5)], [of_p(0.01)])
    found = judged(monkeypatch, op_grows_with_size=weak, success_grows_with_size=mended)
    row = found["success-grows-with-size"]
    assert (row.verdict, row.p, row.p_corrected) == (MENDED, 0.02, pytest.approx(0.04))
    assert found["op-grows-with-size"].p_corrected == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("claim", "mended", "expected"),
    [
        (-9.0, None, NO),
        (-9.0, 9.0, MENDED),
        (-9.0, 0.1, NO),  # that the mended claim is open does not save the claim
        (0.1, None, OPEN),
        (0.1, 9.0, MENDED),
        (0.1, -9.0, OPEN),
        (9.0, -9.0, YES),
    ],
)
def test_the_one_rule(claim, mended, expected, monkeypatch):
    effects = [None if at is None else [Effect(at, 1.0, low=0.0)] for at in (claim, mended)]
    found = judged(monkeypatch, op_predicted=claims.Judgement("", *effects))
    assert found["op-predicted"].verdict == expected


def test_what_is_exact_is_not_saved_by_a_small_p_and_needs_no_correction(monkeypatch):
    both = claims.Judgement("", [of_p(1e-9), exactly(False)])
    found = judged(monkeypatch, imp_three_lines=both, imp_bounded=claims.Judgement("", [exactly(False)]))
    assert {row.verdict for row in found.values()} == {NO}


def test_claims_are_counted_apart_by_what_their_criteria_could_have_known():
    rows = list(claims.verdicts(context(seeds=(0,)), list(CRITERIA.values())))
    by_kind = claims.count_by_kind(rows)
    assert sum(sum(of.values()) for of in by_kind.values()) == len(rows)
    assert sum(by_kind["constructed"].values()) == sum(r.evidence == "constructed" for r in CRITERIA.values())
    blind = [row for row in CRITERIA.values() if row.blind and row.evidence == "measured"]
    assert sum(by_kind["blind"].values()) == len(blind)


def test_no_criterion_is_called_blind_whose_edge_or_mended_claim_was_chosen_after_the_number():
    late = {row.id for row in CRITERIA.values() if "after it" in row.known}
    edges = {"failures-hurt", "self-op-biased"}
    assert late == edges | {"subset-transfer", "objective-identified", "imp-three-lines"}
    assert not [row.id for row in CRITERIA.values() if row.blind and (row.smallest or row.known)]


def test_a_verdict_that_moved_says_why_and_none_else_does():
    now = {row.id: row.verdict for row in claims.ledger("post")}
    for row in CRITERIA.values():
        assert row.before and (now[row.id] != row.before) == bool(row.moved), row.id


def test_holm_multiplies_the_smallest_by_the_most_and_never_falls():
    assert statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )


def test_pages_null_distribution_is_exact_and_one_sided():
    rising = np.tile([1.0, 2.0, 3.0, 4.0], (5, 1))
    assert statistics.page(rising) == pytest.approx(24.0**-5, rel=1e-9)
    assert statistics.page(rising, falling=True) == pytest.approx(1.0)


def test_t_tests_are_students_and_one_sided():
    values = np.array([0.1, 0.4, 0.3, 0.25])
    for side, given in (("greater", {"above": 0.2}), ("less", {"below": 0.2})):
        expected = stats.ttest_1samp(values, 0.2, alternative=side).pvalue
        assert statistics.t_test(values, **given) == pytest.approx(expected)
    assert statistics.t_test([0.0, 0.0, 0.0], below=0) == 1.0  # seeds that agree on no difference


def test_the_f_test_of_two_columns_is_the_paired_t_test():
    values = np.random.default_rng(0).normal(size=(5, 2))
    assert statistics.f_test(values) == pytest.approx(stats.ttest_rel(*values.T).pvalue)


def test_the_f_test_does_not_count_columns_that_hardly_vary_as_evidence_that_all_agree():
    value = np.random.default_rng(0).normal(size=6)
    columns = np.stack([value, 0 * value, 0 * value], 1)  # one column varies: no more than a t test
    assert statistics.f_test(columns) == pytest.approx(stats.ttest_1samp(value, 0).pvalue)


# --- the page and the terminal --------------------------------------------------------------------------


def test_every_figure_that_a_claim_points_to_is_in_the_book():
    for row in CRITERIA.values():
        if row.figure:
            page, anchor = row.figure.split("#")
            text = (ROOT / "book" / page.replace(".html", ".md")).read_text("utf8")
            assert f":name: {anchor}\n" in text, (row.id, row.figure)


def test_a_row_is_one_line_with_the_id_first_and_its_number_in_it():
    rows = list(claims.verdicts(context(), list(CRITERIA.values())))
    for row in rows:
        line = str(row)
        assert line.startswith(f"{row.id}: {row.verdict}: ") and not re.search(r"\n|\bnan\b", line), line
        assert row.verdict in claims.VERDICTS and row.criterion == CRITERIA[row.id]
    assert sum(claims.count(rows).values()) == len(rows) and list(claims.count(rows)) == list(claims.VERDICTS)


def test_tables_of_the_page_escape_what_people_wrote_link_figures_and_colour_verdicts():
    criterion = CRITERIA["imp-adds"].model_copy(
        update={
            "statistic": "a < b",
            "test": "proof",
            "threshold": "a & b",
            "mended": "or c",
            "known": "",
            "blind": False,
        }
    )
    row = claims.Row("x", "a claim", "1 > 0", 0.01, 0.0234, YES, "page.html#fig", criterion)
    below = claims.verdict_table([replace(row, statistic="-0.5, p-value 1e-09, a-b")]).data
    assert "</summary>−0.5, p-value 1e-09, a-b; p = 0.023 corrected</details>" in below
    other = replace(row, p_corrected=None, verdict="not testable", figure="")
    shown = claims.verdict_table([row, other]).data
    link = '<a href="../page.html#fig">x</a>'
    assert f"<td>{link}<br>a claim<details" in shown and "1 &gt; 0; p = 0.023 corrected</details>" in shown
    assert '<td><b style="color:#009e73">reproduced</b> · proved</td></tr>' in shown
    assert (
        "<tr><td>x<br>a claim<details" in shown and '<td><b style="color:#6b6b6b">not testable</b>' in shown
    )
    criteria = claims.criteria_table([row]).data
    assert criteria.startswith('<details class="claims"><summary>x</summary>')
    assert "</i>: a &lt; b; proof</p>" in criteria and "<p><i>threshold</i>: a &amp; b</p>" in criteria
    assert "<p><i>mended</i>: or c</p>" in criteria and "<i>known</i>" not in criteria


def test_tables_of_the_page_show_what_moved_and_set_studies_side_by_side():
    measured, proved = CRITERIA["imp-three-lines"], CRITERIA["imp-bounded"]
    rows = [claims.Row(c.id, "", "", None, None, v, "", c) for c, v in ((measured, OPEN), (proved, YES))]
    other = [replace(rows[0], verdict=NO), rows[1]]
    moved = claims.moved_table(rows).data
    assert (
        f"<td>{measured.id}<details" in moved
        and f"{measured.moved}</details></td><td>{measured.before}" in moved
    )
    assert proved.id not in moved  # its verdict is what it was
    beside = claims.profiles_table({"one": rows, "other": other}).data
    assert "<th>one</th><th>other</th>" in beside and proved.id not in beside
    assert re.search(rf"{measured.id}</td><td><b[^>]*>undecided</b></td><td><b[^>]*>contradicted</b>", beside)
    kinds = claims.kinds_table(rows).data
    assert "<tr><td>proved</td><td>1</td><td></td></tr>" in kinds and "<th>contradicted</th>" not in kinds


def test_only_the_published_reproduction_is_compared_with_other_profiles(monkeypatch):
    seen = []
    monkeypatch.setattr(study, "load", lambda name, **how: planted(seeds=(0,)))
    monkeypatch.setattr(study, "published", lambda name: seen.append(name))
    for given in ({}, {"fresh": True}, {"profile": "smoke"}):
        assert len(claims.ledger(**given)) == len(CRITERIA)
    assert seen == ["ablations", "penalised", "explored"]


def test_criteria_that_are_missing_or_malformed_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"criteria: given .*nothing.yml, allowed is a file such as .*claims.yml"
    ):
        claims.criteria(tmp_path / "nothing.yml")
    (tmp_path / "claims.yml").write_text("- {id: x, verdict: reproduced}")
    with pytest.raises(ValueError, match=r"verdict\s+Extra inputs are not permitted"):
        claims.criteria(tmp_path / "claims.yml")
    for text in ("- just text", "", "a: [", "3", "- {1: 2}"):
        (tmp_path / "claims.yml").write_text(text)
        with pytest.raises(
            ValueError, match=r"^criteria: given .*claims.yml, allowed are rows as in [^\n]*$"
        ):
            claims.criteria(tmp_path / "claims.yml")
    (tmp_path / "claims.yml").write_text("- {id: x, limits: {a: 1, a: 2}}")
    with pytest.raises(ValueError, match=r"^criteria: given .* \(a: given twice, allowed once\)$"):
        claims.criteria(tmp_path / "claims.yml")
    unknown = CRITERIA["imp-adds"].model_copy(update={"id": "imp-subtracts"})
    with pytest.raises(ValueError, match="criteria: given imp-subtracts, allowed are alternative-baselines"):
        list(claims.verdicts(None, [unknown]))


def test_many_partitions_at_once_merge_as_each_alone():
    rng = np.random.default_rng(0)
    own = Futures(rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4), 3))
    groups = [((0,), (1, 2, 3)), ((0, 2), (1, 3))]
    parts = np.array([[[outcome in group for group in pair] for outcome in range(4)] for pair in groups])
    each = [own.merged(pair).imp for pair in groups]
    assert impact._merged(own, parts.astype(int)).imp == pytest.approx(each, abs=1e-14)
