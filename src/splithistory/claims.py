"""The claims ledger: what the post claims, by which criterion it is judged, and what the results say.

Floor 5. The criteria are data (`book/reference/claims.yml`), committed before the study ran; here is one
judge a claim, which computes the statistic that its criterion names, and the procedure that turns all of them
into verdicts. No verdict is written by hand: other results, other verdicts.

A judge of a claim about models reads a Context. A judge of a claim that is exact, proved or constructed
computes the check; what its keyword arguments hold is what makes the claim true, so that tests can make it
false.

Readings where a criterion leaves room: a slope is that of least squares with an intercept; one value a seed
is a mean over the models of that seed; a difference of two models' measurements has an interval as if their
histories were drawn apart; the generator acts by its own noisy draw; where a criterion has a second, mended
p value, that takes the first one's place in the family before it is corrected.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import f as f_distribution
from scipy.stats import page_trend_test, spearmanr

from . import differential, study
from .information import binary_kl, entropy, goal_mask, kl, tilt
from .measure import Futures, SplitHistory, split_history
from .objectives import auc, clustered_interval, cross_evaluate
from .recurrence import Recurrence
from .store import Store
from .tables import GOALS, Study, paired, t_interval

VERDICTS = (
    "reproduced",
    "reproduced with a correction",
    "not reproduced",
    "not testable",
    "too small to tell",
)
FIGURES = {  # where a claim is seen, in the rendered book
    "sequence-predictable": "experiment/sequence.html#fig-world",
    "pretraining-beats-chance": "experiment/pretraining.html#fig-curves",
    "pretraining-overfits": "experiment/pretraining.html#fig-size",
    "success-above-chance": "experiment/reinforcement.html#fig-success-size",
    "success-grows-with-size": "experiment/reinforcement.html#fig-success-size",
    "models-above-generator": "measures/optimization.html#fig-op-size",
    "op-grows-with-size": "measures/optimization.html#fig-op-size",
    "not-a-random-walk": "measures/optimization.html#fig-op-size",
    "run-variation": "measures/optimization.html#fig-op-size",
    "op-predicted": "measures/prediction.html#fig-implied",
    "some-below-line": "measures/prediction.html#fig-implied",
    "few-far-above": "measures/prediction.html#fig-terms",
    "imp-bounded": "measures/impact.html#fig-imp",
    "imp-grows-with-size": "measures/impact.html#fig-imp-size",
    "imp-min-low": "measures/impact.html#fig-imp",
    "imp-ratio-falls": "measures/impact.html#fig-ratio",
    "imp-three-lines": "measures/impact.html#fig-imp",
    "s-prime-flat": "measures/impact.html#fig-imp-size",
    "s-prime-artefact": "measures/impact.html#fig-imp-size",
    "alternative-baselines": "measures/impact.html#fig-futures",
    "subset-transfer": "measures/objectives.html#fig-transfer",
    "objective-identified": "measures/objectives.html#fig-cross-op",
    "imp-splits-objectives": "measures/objectives.html#fig-cross-imp",
    "ngood6-missing": "measures/objectives.html#fig-cross-imp",
    "self-op-biased": "measures/self-evaluation.html#fig-self-op",
    "self-imp-worse": "measures/self-evaluation.html#fig-self-imp",
    "self-imp-bias": "measures/self-evaluation.html#fig-self-arms",
    "self-bias-cause": "measures/self-evaluation.html#fig-self-arms",
    "op-signed-imp-positive": "measures/impact.html#fig-two-ways",
    "four-pictures": "measures/prediction.html#fig-pictures",
    "no-general-op": "derivations/a1-optimization.html#fig-op-band",
    "utility-by-thresholds": "derivations/a3-utilities.html#fig-tilt",
    "differential-minimum": "derivations/a4-differential.html#fig-differential-c",
    "jacobian-cost": "derivations/a5-activations.html#fig-jacobian-cost",
}
_CHECKOUT = Path(__file__).resolve().parents[2]
CRITERIA = _CHECKOUT / "book" / "reference" / "claims.yml"
BENCHMARKS = _CHECKOUT / "benchmarks" / "results"
_LEVEL, _EXACT, _FEWEST = 0.05, 1e-12, 3
# a graded reward that the goals make, since each holds the one before: how many of them an outcome meets
_GRADES = np.sum([goal_mask(goal, 8) for goal in GOALS.values()], axis=0).astype(float)


class Criterion(BaseModel):
    """A row of the criteria: see the head of the file that holds them."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    id: str
    claim: str
    statistic: str
    test: str
    threshold: str
    mended: str = ""
    correction: Literal["holm", "none"]
    blind: bool
    known: str = ""


@dataclass(frozen=True)
class Judgement:
    """What a judge found.

    statistic: the number with its interval, or the word exact; holds: whether the threshold is met, apart
    from the p value (None: too small to tell); mended: the same of the mended claim; p, p_mended: uncorrected
    p values of the two, None where there is no test; testable: False with the argument as the statistic.
    """

    statistic: str
    holds: bool | None
    mended: bool | None = False
    p: float | None = None
    p_mended: float | None = None
    testable: bool = True


@dataclass(frozen=True)
class Row:
    """A claim judged: p that decided it, uncorrected and by Holm's procedure; figure: a link, "" if none."""

    id: str
    claim: str
    statistic: str
    p: float | None
    p_corrected: float | None
    verdict: str
    figure: str
    criterion: Criterion

    def __str__(self) -> str:
        # one line each: for reading in a terminal, and for grep
        corrected = "" if self.p_corrected is None else f"; p = {self.p_corrected:.2g} corrected"
        return f"{self.id}: {self.verdict}: {self.statistic}{corrected}"


class Context:
    """What the judges read, computed once: the study, the ablations if there are any, and the world.

    benchmarks: folder of the benchmark's files, one a machine.
    """

    def __init__(
        self,
        results: Study,
        ablations: Study | None = None,
        *,
        world: Recurrence | None = None,
        benchmarks: Path = BENCHMARKS,
    ):
        self.study, self.ablations, self.benchmarks = results, ablations, Path(benchmarks)
        self.world = world or Recurrence()

    @cached_property
    def sizes(self) -> list[str]:
        """Names of the sizes of the pretrained models, the smallest first."""
        rows = self.study.models[self.study.models["stage"] == "pretrained"]
        return list(dict.fromkeys(rows.sort_values("n_parameters")["size"]))

    @cached_property
    def generator(self) -> SplitHistory:
        """The sequence measured on itself: its own noisy draw."""
        rows = self.study.models[self.study.models["stage"] == "generator"]
        return self.study.measured(int(rows["model"].iloc[0]), temperature=1.0)

    @cached_property
    def pretrained(self) -> pd.DataFrame:
        """The models that finetuning starts from, with their final held-out loss (nats)."""
        return self.study.ended(self.study.pretrained(), "test_loss")

    @cached_property
    def measured(self) -> dict[int, SplitHistory]:
        """The exact measurement of each finetuned model of the sampled arm, at temperature 0."""
        return {m: self.study.measured(m) for m in self.study.finetuned()["model"]}

    @cached_property
    def crossed(self) -> pd.DataFrame:
        """Each finetuned model on each goal: op, imp, delta, and the rates and bounds of `cross_evaluate`."""
        return pd.concat([self._on_every_goal(r) for r in self.study.finetuned().to_dict("records")])

    @cached_property
    def own(self) -> pd.DataFrame:
        """Each finetuned model on its own goal."""
        return self.crossed[self.crossed["n_good"] == self.crossed["goal"]].reset_index(drop=True)

    @cached_property
    def plugin(self) -> pd.DataFrame:
        """As `own`, by the post's procedure: means of its sets, plug-in entropies and divergences."""
        rows = self.own.to_dict("records")
        return pd.DataFrame(
            [row | self.study.sampled_measures(row["model"], GOALS[row["n_good"]]) for row in rows]
        )

    @cached_property
    def judged_by_self(self) -> pd.DataFrame:
        """`own` with self_op and self_imp, restricted self-evaluation."""
        return _with_self_evaluation(self.study, self.own)

    @cached_property
    def complete(self) -> "Context":
        """The same with only the seeds that have every model; what tests over seeds read."""
        finetuned = self.own["seed"].value_counts() == len(self.sizes) * len(GOALS)
        pretrained = self.pretrained["seed"].value_counts() == len(self.sizes)
        seeds = set(finetuned[finetuned].index) & set(pretrained[pretrained].index)
        if seeds == set(self.own["seed"]):
            return self
        kept = self.study.models[self.study.models["seed"].isin([-1, *seeds])]  # the generator has −1
        return Context(replace(self.study, models=kept), self.ablations, world=self.world)

    @property
    def enough(self) -> bool:
        """Whether there are three seeds and three sizes."""
        seeds = self.study.finetuned()["seed"].nunique()
        return min(seeds, len(self.sizes)) >= _FEWEST

    def by_size(self, table: pd.DataFrame, column: str, sizes: list[str] | None = None) -> np.ndarray:
        """(seeds, sizes): a column of a table of models, mean over goals; only seeds that have every size."""
        wide = table.pivot_table(index="seed", columns="size", values=column)
        return wide.reindex(columns=sizes or self.sizes).dropna().to_numpy()

    def op_interval(self, model: int) -> tuple[float, float]:
        """(centre, half width) of the 95 % interval over histories of a model's Op, in nats."""
        scalars = self.study.scalars(model)
        return _centred(scalars["op_low"], scalars["op_high"])

    def _on_every_goal(self, row: dict) -> pd.DataFrame:
        measured = self.measured[row["model"]]
        scalars = {"op": measured.op, "imp": measured.imp, "delta": measured.delta}
        return pd.DataFrame({**cross_evaluate(measured, GOALS.values()), "goal": list(GOALS)}).assign(
            **row, **scalars
        )


def _with_self_evaluation(results: Study, rows: pd.DataFrame) -> pd.DataFrame:
    futures = [results.self_evaluated(model) for model in rows["model"]]
    return rows.assign(self_op=[f.op for f in futures], self_imp=[f.imp for f in futures])


# --- statistics ---------------------------------------------------------------------------------------


def page(values: np.ndarray, *, falling: bool = False) -> float:
    """p of Page's trend test: seeds (rows) are blocks, treatments (columns) in order, exact distribution."""
    values = np.asarray(values)
    return float(page_trend_test(values[:, ::-1] if falling else values, method="exact").pvalue)


def t_test(values, *, above: float | None = None, below: float | None = None) -> float:
    """p of the one-sided t test over seeds that the mean is above, or below, a number."""
    values = np.asarray(values, dtype=float)
    excess = below - values.mean() if above is None else values.mean() - above
    error = values.std(ddof=1) / np.sqrt(len(values))
    # seeds that all agree, such as AUCs of 1, leave no doubt on which side they are
    return float(stdtr(len(values) - 1, -excess / error)) if error > 0 else float(excess <= 0)


def f_test(values: np.ndarray) -> float:
    """p of the F test that the columns have one mean; rows are blocks (seeds).

    Columns may spread unlike: degrees of freedom are multiplied by Greenhouse and Geisser's epsilon.
    """
    blocks, columns = values.shape
    centred = values - values.mean(1, keepdims=True)
    between = blocks * (centred.mean(0) ** 2).sum() / (columns - 1)
    rest = centred - centred.mean(0)
    within = (rest**2).sum() / ((blocks - 1) * (columns - 1))
    covariance = rest.T @ rest
    epsilon = np.trace(covariance) ** 2 / ((columns - 1) * (covariance**2).sum())
    freedom = epsilon * (columns - 1)
    return float(f_distribution.sf(between / within, freedom, (blocks - 1) * freedom))


def holm(family: dict[str, float]) -> dict[str, float]:
    """p values corrected by Holm's procedure: reject those at most the level."""
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(family, key=family.__getitem__)):
        largest = max(largest, min(1.0, (len(family) - rank) * family[name]))
        corrected[name] = largest
    return corrected


def _slope(table: pd.DataFrame, x: str, y: str) -> float:
    return float(np.polyfit(table[x], table[y], 1)[0])


def _slopes(table: pd.DataFrame, x: str, y: str) -> np.ndarray:
    """Least-squares slopes of y on x with an intercept, one a seed."""
    return np.array([_slope(rows, x, y) for _, rows in table.groupby("seed")])


def _slopes_by_goal(table: pd.DataFrame, x: str, y: str) -> np.ndarray:
    """(seeds, goals)."""
    return np.stack([_slopes(table[table["n_good"] == n], x, y) for n in GOALS], 1)


def _centred(low: float, high: float) -> tuple[float, float]:
    """(centre, half width) of an interval."""
    return (low + high) / 2, (high - low) / 2


def _text(values) -> str:
    return "{:.3f} ± {:.3f}".format(*t_interval(values))


def _growth(values: np.ndarray) -> str:
    """The change from the smallest size to the largest."""
    return _text(values[:, -1] - values[:, 0])


# --- verdicts -----------------------------------------------------------------------------------------

JUDGES: dict[str, Callable[..., Judgement]] = {}
Needs = Literal["nothing", "models", "seeds", "ablations", "self"]


class _TooSmall(Exception):
    """What a judge needs is not there."""


def judge(claim: str, needs: Needs = "nothing") -> Callable:
    """Register the judge of a claim; without what it needs, the claim is too small to tell."""

    def register(function: Callable[..., Judgement]) -> Callable[..., Judgement]:
        def judged(context: Context, **given) -> Judgement:
            try:
                return function(_provided(context, needs), **given)
            except _TooSmall as missing:
                return Judgement(str(missing), None)

        JUDGES[claim] = judged
        return judged

    return register


def _provided(context: Context, needs: Needs) -> Context:
    """What a judge reads; _TooSmall if the context does not have what it needs."""
    if needs == "nothing":
        return context
    stages = set(context.study.models["stage"])
    if not {"generator", "pretrained"} <= stages or context.study.finetuned().empty:
        raise _TooSmall("the sampled arm is not published")
    if needs == "models":
        return context
    context = context.complete
    if not context.enough:
        raise _TooSmall(f"fewer than {_FEWEST} seeds or {_FEWEST} sizes")
    if needs == "self" and context.study.self_evaluation.empty:
        raise _TooSmall("self-evaluation is not published")
    if needs == "ablations" and context.ablations is None:
        raise _TooSmall("the ablations are not published")
    return context


def criteria(path: Path = CRITERIA) -> list[Criterion]:
    """The rows of the criteria; ValueError if there is no such file or a row is not one."""
    if not Path(path).is_file():
        raise ValueError(f"criteria: given {path}, allowed is the book's reference/claims.yml")
    return [Criterion(**row) for row in yaml.safe_load(Path(path).read_text("utf8"))]


def verdicts(context: Context, rows: list[Criterion]) -> Iterator[Row]:
    """Every claim judged, in the order of its criterion; ValueError if one has no judge.

    Holm's family are the rows marked so that have a p value: what is missing or too small is not in it.
    """
    if unknown := [row.id for row in rows if row.id not in JUDGES]:
        raise ValueError(f"criteria: given {', '.join(unknown)}, allowed are {', '.join(JUDGES)}")
    found = {row.id: JUDGES[row.id](context) for row in rows}
    family = {r.id: found[r.id].p for r in rows if r.correction == "holm" and found[r.id].p is not None}
    corrected = holm(family)
    for row in rows:
        judgement, figure = found[row.id], FIGURES.get(row.id, "")
        p, mended = judgement.p, judgement.p_mended
        if row.id in family:
            p = corrected[row.id]
            mended = mended if mended is None else holm(family | {row.id: mended})[row.id]
        verdict, by_mended = _verdict(judgement, p, mended)
        decisive = (judgement.p_mended, mended) if by_mended and mended is not None else (judgement.p, p)
        yield Row(row.id, row.claim, judgement.statistic, *decisive, verdict, figure, row)


def _verdict(found: Judgement, p: float | None, mended: float | None) -> tuple[str, bool]:
    """(verdict, whether the mended claim decided it), from corrected p values."""
    if not found.testable:
        return "not testable", False
    if found.holds is None:
        return "too small to tell", False
    if found.holds and (p is None or p < _LEVEL):
        return "reproduced", False
    if found.mended is None:
        return "too small to tell", False
    if found.mended and (mended is None or mended < _LEVEL):
        return "reproduced with a correction", True
    return "not reproduced", False


def count(rows: list[Row]) -> dict[str, int]:
    """How many claims got each verdict, in the order of VERDICTS."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in VERDICTS}


def ledger(profile: str = "post", *, fresh: bool = False, store: Store | None = None) -> list[Row]:
    """Every claim judged on the study of a profile, published or trained here (see `study.load`).

    The ablations differ from the profile `post` in one setting each, so only its published models are
    compared with them.
    """
    rows = criteria()
    results = study.load(profile, fresh=fresh, store=store)
    ablations = study.published("ablations") if profile == "post" and not fresh else None
    return list(verdicts(Context(results, ablations), rows))


# --- the world and pretraining ------------------------------------------------------------------------


@judge("sequence-predictable")
def _sequence_predictable(context: Context) -> Judgement:
    value = float(context.world.table.max(-1).min())
    return Judgement(f"{value:.4f}, exact", 0.975 <= value < 0.9805, abs(value - 0.9825) < _EXACT)


@judge("pretraining-beats-chance", "seeds")
def _pretraining_beats_chance(context: Context) -> Judgement:
    losses = context.by_size(context.pretrained, "test_loss")
    text = ", ".join(_text(column) for column in losses.T)
    p = max(t_test(column, below=1.0) for column in losses.T)
    return Judgement(f"held-out loss {text} nats for {', '.join(context.sizes)}", True, p=p)


@judge("pretraining-overfits", "seeds")
def _pretraining_overfits(context: Context) -> Judgement:
    rise = _rise(context.by_size(context.pretrained, "test_loss"))
    text = f"rise of the held-out loss at {context.sizes[-1]} {_text(rise)} nats"
    p = t_test(rise, above=0)
    rises = {arm: _rise(losses) for arm, losses in _smaller_training_sets(context)}
    if not rises:
        return Judgement(f"{text}; no smaller training set is published", True, None, p)
    text += "".join(f"; {arm} {_text(values)}" for arm, values in rises.items())
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
        if len(losses := context.by_size(rows, "test_loss", sizes)) >= _FEWEST:
            yield arm, losses


# --- reinforcement ------------------------------------------------------------------------------------


def _against_sampled(context: Context, arm: str, column: str) -> np.ndarray:
    """A curve's end in an ablation minus in the sampled arm, the same models, one value a seed."""
    there = context.ablations.ended(context.ablations.finetuned(arm), column)
    here = context.study.ended(context.study.finetuned(), column)
    return _paired(there, here, column, arm)


def _paired(there: pd.DataFrame, here: pd.DataFrame, column: str, arm: str) -> np.ndarray:
    """Difference of the models that two arms share, one mean a seed."""
    change = paired(there, here, column)
    if change["seed"].nunique() < _FEWEST:
        raise _TooSmall(f"the arm {arm} is not published")
    return change.groupby("seed")[column].mean().to_numpy()


@judge("maintenance-needed", "ablations")
def _maintenance_needed(context: Context) -> Judgement:
    lost = _against_sampled(context, "no maintenance", "even_loss")
    text = f"even-position loss {_text(lost)} nats higher without maintenance"
    return Judgement(text, True, True, t_test(lost, above=0.5), t_test(lost, above=0.1))


@judge("failures-hurt", "ablations")
def _failures_hurt(context: Context) -> Judgement:
    arms = {a for a in context.ablations.models["arm"] if a.startswith("failures ")}
    arms = sorted(arms, key=lambda arm: float(arm.split()[1]))
    if not arms:
        raise _TooSmall("the arms that train on failures are not published")
    text, p = [], {}
    for arm in (arms[0], arms[-1]):
        changes = [_against_sampled(context, arm, c) for c in ("success_greedy", "even_accuracy")]
        text.append(f"{arm}: success {_text(changes[0])}, even accuracy {_text(changes[1])}")
        p[arm] = max(t_test(change, below=0) for change in changes)
    return Judgement("; ".join(text), True, True, p[arms[0]], p[arms[-1]])


@judge("success-above-chance", "models")
def _success_above_chance(context: Context) -> Judgement:
    shares = []
    for row in context.own.itertuples():
        low = context.study.scalars(row.model)["s_low"]
        above = context.world.ceiling(GOALS[row.n_good]) - row.p
        shares.append(((row.s - row.p) / above, (low - row.p) / above))
    least, low = np.min(shares, axis=0)
    text = f"at least {least:.2f} of the way from chance to the ceiling (95 %: above {low:.2f})"
    return Judgement(text, bool(low > 0.25), bool(low > 0))


@judge("success-grows-with-size", "seeds")
def _success_grows(context: Context) -> Judgement:
    by_goal = [context.by_size(rows, "s") for _, rows in context.own.groupby("n_good")]
    text = f"change by {', '.join(map(_growth, by_goal))} from {context.sizes[0]} to {context.sizes[-1]}"
    together = page(context.by_size(context.own, "s"))
    return Judgement(text, True, True, max(map(page, by_goal)), together)


# --- optimization -------------------------------------------------------------------------------------


@judge("models-above-generator", "models")
def _models_above_generator(context: Context) -> Judgement:
    low, high = context.generator.interval("op")
    centre, half = _centred(low, high)
    below = {}
    for name, rows in (("finetuned", context.own), ("pretrained", context.pretrained)):
        intervals = [context.op_interval(model) for model in rows["model"]]
        highest = [c - centre + np.hypot(h, half) for c, h in intervals]
        below[name] = sum(value < 0 for value in highest)
    text = ", ".join(f"{n} {name}" for name, n in below.items())
    text = f"below the generator's {context.generator.op:.4f} nats ({low:.4f} to {high:.4f}): {text}"
    return Judgement(text, not any(below.values()), not below["finetuned"])


@judge("op-grows-with-size", "seeds")
def _op_grows(context: Context) -> Judgement:
    op = context.by_size(context.own, "op")
    return Judgement(f"change by {_growth(op)} nats", True, p=page(op))


@judge("op-predicted", "seeds")
def _op_predicted(context: Context) -> Judgement:
    mean, half = t_interval(_slopes(context.own, "implied_op", "op"))
    error = float(((context.own["op"] - context.own["implied_op"]).abs() / context.own["op"]).median())
    text = f"slope {mean:.3f} ± {half:.3f}, median relative error {error:.3f}"

    def within(least, most, largest_error):
        return bool(least <= mean - half and mean + half <= most and error < largest_error)

    return Judgement(text, within(0.8, 1.2, 0.2), within(0.67, 1.5, 0.35))


@judge("some-below-line", "models")
def _some_below_line(context: Context) -> Judgement:
    sampled = int((context.plugin["op"] < context.plugin["implied_op"]).sum())
    gap = context.own["op"] - context.own["implied_op"]
    least = float((gap + context.own["delta"]).min())
    blind = _blind(context.world, np.eye(context.world.n_tokens)[-3])  # no Op, yet not the success of chance
    refuted = bool(abs(blind.op) < _EXACT and blind.implied_op(GOALS[6]) > 1e-3)
    below = int((gap < 0).sum())
    text = f"{sampled} of {len(gap)} below the line by the post's procedure, {below} exactly"
    text += f"; with delta added at least {least:.4f} nats above it, exact"
    return Judgement(text, sampled > 0 == below, refuted and least >= -_EXACT)


def _blind(world: Recurrence, probs: np.ndarray) -> SplitHistory:
    """A policy that ignores its input."""
    return SplitHistory(np.outer(world.class_shares(), probs), world.table)


@judge("few-far-above", "models")
def _few_far_above(context: Context) -> Judgement:
    excess = (context.own["op"] + context.own["delta"] - context.own["implied_op"]) / context.own["op"]
    share = float((excess < 0.25).mean())
    text = (
        f"less than a quarter of Op within success and failure in {share:.0%} of {len(excess)} models, exact"
    )
    return Judgement(text, share > 0.5)


@judge("example-85-15")
def _example(context: Context, share: float = 0.85) -> Judgement:
    implied = float(binary_kl(share, 0.75))
    op = float(np.log(8) - entropy([share, 1 - share]))
    text = f"implied {implied:.4f}, actual {op:.4f} nats, exact"
    return Judgement(text, (round(implied, 2), round(op, 2)) == (0.03, 1.66))


@judge("four-pictures")
def _four_pictures(context: Context, lean: float = 0.5) -> Judgement:
    """Indifferent; leaning towards half of the successes; of the failures; of both."""
    level, leaning = np.ones(4), 1 + lean * np.array([1, 1, -1, -1])
    pictures = [(level, level), (leaning, level), (level, leaning), (leaning, leaning)]
    policies = [_steering(np.concatenate([0.2 * good, 0.05 * bad])) for good, bad in pictures]
    excess = [policy.op - policy.implied_op(range(4)) for policy in policies]
    text = f"excess {', '.join(f'{abs(e):.3f}' for e in excess)} nats at s = 0.8, exact"
    return Judgement(text, abs(excess[0]) < _EXACT and min(excess[1:]) > 0.01)


def _steering(outcomes: np.ndarray) -> SplitHistory:
    """A policy with these outcomes, where any action can lead anywhere and a blind one leads to chance."""
    n = len(outcomes)
    result = np.add.outer(np.arange(n), np.arange(n)) % n  # of class and action
    return SplitHistory(outcomes[result] / n, np.eye(n)[result])


@judge("not-a-random-walk", "models")
def _not_a_random_walk(context: Context, independent: Recurrence | None = None) -> Judgement:
    walk = independent or Recurrence(noise=1.0)  # every token drawn anew
    histories = walk.histories(20_000, seed=1)
    low, high = context.generator.interval("op")
    own = split_history(histories, walk.next_probs, walk).interval("op")
    text = f"generator {low:.4f} to {high:.4f} nats (95 %)"
    text += f", independent draws within {np.abs(own).max():.1e} of 0"
    return Judgement(text, bool(low > 0 and own[0] <= _EXACT and own[1] >= -_EXACT))


@judge("run-variation", "seeds")
def _run_variation(context: Context) -> Judgement:
    table = context.own.assign(half=[context.op_interval(model)[1] for model in context.own["model"]])
    cells = table.pivot(index="seed", columns=["size", "n_good"], values=["op", "half"]).dropna()
    seeds = list(zip(cells["op"].to_numpy(), cells["half"].to_numpy(), strict=True))

    def ratio(drawn):
        op, half = (np.stack(part) for part in zip(*drawn, strict=True))
        return op.std(0, ddof=1).mean() / half.mean()

    low, _ = clustered_interval(ratio, seeds)  # resampled seeds spread less: it is no bound from above
    text = f"standard deviation over seeds {ratio(seeds):.2f} of the half width (95 %: above {low:.2f})"
    return Judgement(text, low > 1)


# --- whose objective ----------------------------------------------------------------------------------


@judge("subset-transfer", "seeds")
def _subset_transfer(context: Context) -> Judgement:
    on_four = context.crossed[context.crossed["goal"] == 4]
    two, four = (on_four[on_four["n_good"] == n] for n in (2, 4))
    above = two.groupby("seed")["s"].mean().to_numpy() - 0.5
    pairs = two.merge(four, on=["size", "seed"])
    ahead = pairs[pairs["s_x"] > pairs["s_y"]]
    clear = sum(_clearly_ahead(context, *models) for models in zip(ahead.model_x, ahead.model_y, strict=True))
    text = f"{_text(above)} above chance; ahead in {len(ahead)} of {len(pairs)} pairs, in {clear} clearly"
    return Judgement(text, clear > 0, True, t_test(above, above=0), t_test(above, above=0))


def _clearly_ahead(context: Context, *models: int) -> bool:
    """Whether the first of two models succeeds more often on n_good = 4, by 95 % over histories."""
    ends = [np.array(context.measured[m].interval(lambda f: f.success(GOALS[4]))) for m in models]
    centre, half = ends[0].mean() - ends[1].mean(), np.hypot(*(np.ptp(e) / 2 for e in ends))
    return bool(centre > half)


def _by_seed(crossed: pd.DataFrame, bound: str, measure: str) -> list[np.ndarray]:
    """Of each seed the pairs of model and goal: (goal, goal of the model, share of the measure explained)."""
    table = crossed.assign(share=crossed[bound] / crossed[measure])
    return [rows[["goal", "n_good", "share"]].to_numpy() for _, rows in table.groupby("seed")]


def _auc_on(goal: int, rows: np.ndarray) -> float:
    """AUC on a goal of the models trained on it against the others."""
    rows = rows[rows[:, 0] == goal]
    right = rows[:, 1] == goal
    return auc(rows[right, 2], rows[~right, 2])


def _separation(seeds: list[np.ndarray]) -> float:
    """Mean over goals."""
    return float(np.mean([_auc_on(goal, np.concatenate(seeds)) for goal in GOALS]))


def _subset_separation(seeds: list[np.ndarray]) -> float:
    """Models trained on the goal of 2 or on that of 4, which holds it: on the goal where it is harder."""
    rows = np.concatenate(seeds)
    two_or_four = rows[rows[:, 1] != 6]
    return min(_auc_on(goal, two_or_four) for goal in (2, 4))


@judge("objective-identified", "seeds")
def _objective_identified(context: Context) -> Judgement:
    seeds = _by_seed(context.crossed, "implied_op", "op")
    low, high = clustered_interval(_separation, seeds)
    low_2, high_2 = clustered_interval(_subset_separation, seeds)
    text = f"AUC {_separation(seeds):.3f} ({low:.3f} to {high:.3f}), "
    text += f"n_good = 2 against 4 {_subset_separation(seeds):.3f} ({low_2:.3f} to {high_2:.3f})"
    return Judgement(text, low > 0.9 and low_2 > 0.75, low > 0.75)


@judge("imp-splits-objectives", "seeds")
def _imp_splits_objectives(context: Context) -> Judgement:
    right = context.crossed["n_good"] == context.crossed["goal"]
    steeper = _slopes(context.crossed[right], "imp_min", "imp")
    steeper = steeper - _slopes(context.crossed[~right], "imp_min", "imp")
    by_imp, by_op = (
        np.array([_separation([seed]) for seed in _by_seed(context.crossed, *columns)])
        for columns in (("imp_min", "imp"), ("implied_op", "op"))
    )
    text = (
        f"right goal minus wrong ones: slope {_text(steeper)}; AUC by Imp minus by Op {_text(by_imp - by_op)}"
    )
    p = t_test(steeper, below=0)
    return Judgement(text, True, True, max(p, t_test(by_imp - by_op, below=0)), p)


@judge("no-collapse")
def _no_collapse(context: Context, divergence: Callable = binary_kl) -> Judgement:
    """Were Op = G(φ(s) − φ(p)), changing curves at equal Op would shift φ(s), and shifts commute."""

    def shift(s: float, p: float, q: float) -> float:
        return brentq(lambda x: divergence(x, q) - divergence(s, p), q, 1 - 1e-12)

    def mismatch(s: float) -> float:
        return abs(shift(shift(s, 0.25, 0.5), 0.5, 0.75) - shift(shift(s, 0.5, 0.75), 0.25, 0.5))

    largest = max(map(mismatch, np.linspace(0.505, 0.55, 10)))
    s, p = np.linspace(0.01, 0.99, 99), np.array([[0.25], [0.5], [0.75]])
    root = np.sign(s - p) * np.sqrt(2 * divergence(s, p))
    trivial = np.allclose(root**2 / 2, divergence(s, p), rtol=0, atol=_EXACT)
    return Judgement(f"composed maps differ by {largest:.4f} in s, exact", bool(largest > 1e-3), trivial)


@judge("ngood6-missing", "models")
def _ngood6_missing(context: Context) -> Judgement:
    rows = context.crossed[(context.crossed["n_good"] == 6) & (context.crossed["goal"] != 6)]
    infinite = int(np.isinf(rows["imp_min"]).sum())
    text = f"Imp_min infinite in {infinite} of {len(rows)} cases"
    return Judgement(f"{text}, largest {rows['imp_min'].max():.3f} nats, exact", infinite == len(rows))


# --- impact -------------------------------------------------------------------------------------------


@judge("imp-bounded", "models")
def _imp_bounded(context: Context) -> Judgement:
    least = float((context.crossed["imp"] - context.crossed["imp_min"]).min())
    n = len(context.crossed)
    text = f"Imp - Imp_min at least {least:.4f} nats over {n} pairs of model and goal, exact"
    return Judgement(text, least >= -_EXACT)


@judge("imp-grows-with-size", "seeds")
def _imp_grows(context: Context) -> Judgement:
    imp = context.by_size(context.own, "imp")
    return Judgement(f"change by {_growth(imp)} nats", True, p=page(imp))


@judge("imp-min-low", "seeds")
def _imp_min_low(context: Context) -> Judgement:
    table = context.own.assign(ratio=context.own["imp"] / context.own["imp_min"])
    found = {
        column: [spearmanr(rows["ratio"], rows[column]).statistic for _, rows in table.groupby("seed")]
        for column in ("s_prime", "imp")
    }
    difference = np.abs(found["s_prime"]) - np.abs(found["imp"])
    text = f"rank correlation of Imp / Imp_min with s' {_text(found['s_prime'])}"
    return Judgement(f"{text}, with Imp {_text(found['imp'])}", True, p=t_test(difference, above=0))


@judge("imp-ratio-falls", "seeds")
def _imp_ratio_falls(context: Context) -> Judgement:
    text, p = [], []
    for name, table in (("at N = 200", context.plugin), ("exactly", context.own)):
        ratio = context.by_size(table.assign(ratio=table["imp"] / table["imp_min"]), "ratio")
        # where a plug-in divergence is infinite the rank is the highest, and there is no mean change
        text.append(f"{name} {_growth(ratio) if np.isfinite(ratio).all() else 'infinite for some'}")
        p.append(page(ratio, falling=True))
    return Judgement(f"change of Imp / Imp_min {', '.join(text)}", True, True, max(p), p[0])


@judge("imp-three-lines", "seeds")
def _imp_three_lines(context: Context) -> Judgement:
    slopes = _slopes_by_goal(context.own, "imp_min", "imp")
    ends = sorted((mean - half, mean + half) for mean, half in map(t_interval, slopes.T))
    apart = all(high < low for (_, high), (low, _) in pairwise(ends))
    p = f_test(slopes)
    return Judgement(f"slopes {', '.join(map(_text, slopes.T))}", apart, True, p, p)


@judge("s-prime-flat", "seeds")
def _s_prime_flat(context: Context) -> Judgement:
    goals = {n: context.by_size(rows, "s_prime") for n, rows in context.own.groupby("n_good")}
    changes = {n: t_interval(values[:, -1] - values[:, 0], 0.9) for n, values in goals.items()}
    trends = [min(1.0, 2 * min(page(v), page(v, falling=True))) for v in goals.values()]
    flat = all(-0.05 <= mean - half and mean + half <= 0.05 for mean, half in changes.values())
    above = float((context.own["s_prime"] - context.own["p"]).mean())
    text = ", ".join(f"{mean:+.4f} ± {half:.4f}" for mean, half in changes.values())
    text = f"change of s' {text} (90 %; two-sided trends p = {', '.join(f'{p:.2g}' for p in trends)})"
    return Judgement(f"{text}, mean s' - p {above:+.4f}", flat and above > 0, flat and above <= 0.02)


@judge("s-prime-artefact", "seeds")
def _s_prime_artefact(context: Context) -> Judgement:
    n_odd = context.world.alphabet
    random = {m: measured.counterfactual_probs[n_odd:].mean(0) for m, measured in context.measured.items()}
    own = context.own
    world = np.array([random[r.model][list(GOALS[r.n_good])].sum() - r.p for r in own.itertuples()])
    above = (own["s_prime"] - own["p"]).to_numpy()
    shares = pd.Series(np.abs(world / above)).groupby(own["seed"]).mean()
    mean, half = t_interval(shares)
    opposite = float((world * (above - world) < 0).mean())
    text = f"the world's share of |s' - p| {mean:.2f} ± {half:.2f}, parts of opposite sign in {opposite:.0%}"
    holds = mean - half > 0.5
    return Judgement(text, holds, bool(abs(mean - 0.5) <= half or opposite > 0.5))


@judge("bias-invisible")
def _bias_invisible(context: Context, blind: Callable = np.outer) -> Judgement:
    shares, n = context.world.class_shares(), context.world.n_tokens
    mixed = np.random.default_rng(0).dirichlet(np.ones(n), 20)
    tables = [blind(shares, probs) for probs in [*np.eye(n), *mixed]]
    given_action = [SplitHistory(table, context.world.table) for table in tables]
    given_history = [_given_history(table, context.world) for table in tables]
    largest = max(abs(value) for f in given_action[:n] + given_history for value in (f.op, f.imp))
    signs = all(f.op < 0 < f.imp for f in given_action[n:])
    text = f"largest |Op| or |Imp| {largest:.1e} nats, exact; given the action mixed policies have Op"
    return Judgement(f"{text} {'<' if signs else 'not <'} 0 < Imp", largest < _EXACT, signs)


def _given_history(counts: np.ndarray, world: Recurrence) -> SplitHistory:
    """The reading in which F' is given the history: each class's mixed action is an action of its own."""
    shares = counts.sum(1)
    return SplitHistory(np.diag(shares), np.einsum("na,mak->mnk", counts / shares[:, None], world.table))


@judge("alternative-baselines", "models")
def _alternative_baselines(context: Context) -> Judgement:
    rows = []
    for model in context.own["model"]:
        futures = context.study.comparison_futures(model)
        rows += [{"future": name, "op": f.op, "imp": f.imp, "model": model} for name, f in futures.items()]
    table = pd.DataFrame(rows).pivot(index="model", columns="future", values=["op", "imp"])
    if not {"untrained", "pretrained"} <= set(table["op"].columns) or table.isna().any(axis=None):
        raise _TooSmall("an untrained or a pretrained model is not published")
    finite = bool(np.isfinite(table.to_numpy(float)).all())
    # ranks of the models by the split history and by another future; one model has none
    agree = [table[m].rank().corr()["split history"].drop("split history").min() for m in ("op", "imp")]
    text = f"Op and Imp {'' if finite else 'not '}finite for {table['op'].shape[1]} futures, exact"
    text += f"; lowest rank correlation with the split history {agree[0]:.2f} (Op), {agree[1]:.2f} (Imp)"
    return Judgement(text, finite)


@judge("only-what-f-captures", "models")
def _only_what_f_captures(context: Context) -> Judgement:
    masks = (np.arange(1, 128)[:, None] >> np.arange(8)) & 1  # all partitions in two: outcome 7 in the second
    rises = []
    for measured in context.measured.values():
        s, by_action = masks @ measured.outcome_probs, measured.counterfactual_probs @ masks.T
        merged = measured.action_probs @ binary_kl(s, by_action)
        rises.append((merged - measured.imp).max())
    highest = float(np.max(rises))
    text = f"merging changes Imp by at most {highest:+.4f} nats, {len(rises)} models, {len(masks)} partitions"
    return Judgement(f"{text}, exact", highest <= _EXACT)


@judge("op-signed-imp-positive")
def _op_signed(context: Context, undoes: bool = True) -> Judgement:
    """The first policy steers every history to outcome 0, the second, which knows the history, back again."""
    n, each = 8, np.eye(8)
    first = _steering(each[0])
    second = SplitHistory(each if undoes else np.outer(np.ones(n), each[0]), np.tile(each, (n, 1, 1)))
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(context.world.n_tokens, 0.2), (200, 16))
    least = min(SplitHistory(table, context.world.table).imp for table in tables)
    text = f"Op {first.op:.3f} and {second.op:.3f} nats, Imp of random policies at least {least:.3f}"
    return Judgement(
        f"{text}, exact", bool(second.op < 0 and abs(first.op + second.op) < _EXACT and least >= 0)
    )


@judge("imp-adds")
def _imp_adds(context: Context, counterexample=(0.45, 0.05, 0.05, 0.45)) -> Judgement:
    rng = np.random.default_rng(0)
    joint, bits = rng.dirichlet(np.ones(4), 1000), rng.dirichlet([1, 1], (1000, 2))
    least = min(_more_than_parts(f, np.outer(*ab).ravel()) for f, ab in zip(joint, bits, strict=True))
    other = _more_than_parts(np.array([0.8, 0.05, 0.05, 0.1]), np.array(counterexample))
    text = f"joint minus parts at least {least:.4f} nats over 1000 product F', {other:.4f} for another"
    return Judgement(f"{text}, exact", min(least, other) >= -_EXACT, least >= -_EXACT and other < 0)


def _more_than_parts(joint: np.ndarray, reference: np.ndarray) -> float:
    """KL of two bits minus the sum of their own KLs."""
    f, r = joint.reshape(2, 2), reference.reshape(2, 2)
    return float(kl(joint, reference) - sum(kl(f.sum(axis), r.sum(axis)) for axis in (0, 1)))


@judge("binary-future")
def _binary_future(context: Context, n_outcomes: int = 2) -> Judgement:
    rng = np.random.default_rng(0)
    worlds, counts = rng.dirichlet(np.ones(n_outcomes), (200, 5, 4)), rng.random((200, 5, 4))
    futures = [SplitHistory(*pair) for pair in zip(counts, worlds, strict=True)]
    excess = max(abs(f.imp - f.decomposition([0])["imp_success_rate"]) for f in futures)
    by_mean = min(f.imp - f.imp_min([0]) for f in futures)
    text = (
        f"largest excess {excess:.1e}, over kl(s, mean s') at least {by_mean:.1e} nats, 200 random policies"
    )
    return Judgement(f"{text}, exact", excess < _EXACT, by_mean > 0)


# --- utility ------------------------------------------------------------------------------------------


@judge("no-general-op", "models")
def _no_general_op(context: Context) -> Judgement:
    uniform = np.full(len(_GRADES), 1 / len(_GRADES))
    measured = context.measured.values()
    gaps = [m.op + m.delta - tilt(uniform, _GRADES, m.outcome_probs @ _GRADES).kl for m in measured]
    least = min(gaps)
    text = f"Op is at least {least:.4f} nats above the bound of a graded utility ({len(gaps)} models), exact"
    return Judgement(text, least < -1e-9)


@judge("utility-by-thresholds", "seeds")
def _utility_by_thresholds(context: Context) -> Judgement:
    share = context.own["model"].map({m: _best_threshold(f) for m, f in context.measured.items()})
    mean, half = t_interval(share.groupby(context.own["seed"]).mean())
    text = f"best threshold task has {mean:.3f} ± {half:.3f} of the bound of a graded reward"
    return Judgement(text, mean - half > 0.9, mean - half > 0.5)


def _best_threshold(futures: Futures) -> float:
    """Largest kl of 'at least this grade' in F from the mean F', over the tilt bound of the grades."""
    f, reference = futures.outcome_probs, futures.action_probs @ futures.counterfactual_probs
    tasks = [_GRADES >= grade for grade in range(1, len(GOALS) + 1)]
    best = max(float(binary_kl(f[task].sum(), reference[task].sum())) for task in tasks)
    return best / tilt(reference, _GRADES, f @ _GRADES).kl


# --- self-evaluation ----------------------------------------------------------------------------------


@judge("self-op-biased", "self")
def _self_op_biased(context: Context) -> Judgement:
    slopes = _slopes_by_goal(context.judged_by_self, "op", "self_op")
    mean, half = t_interval(slopes[:, -1])
    text = f"slopes {', '.join(map(_text, slopes.T))} for n_good = 2, 4, 6"
    p = page(slopes)
    return Judgement(text, abs(mean - 1) <= half, True, p, p)


@judge("self-imp-worse", "self")
def _self_imp_worse(context: Context) -> Judgement:
    table = context.judged_by_self
    errors = pd.DataFrame({m: ((table[f"self_{m}"] - table[m]) / table[m]).abs() for m in ("imp", "op")})
    medians = errors.groupby(table["seed"]).median()
    ratio = np.log(medians["imp"] / medians["op"])
    text = f"median relative error {_text(medians['imp'])} of Imp, {_text(medians['op'])} of Op"
    return Judgement(text, True, p=t_test(ratio, above=0))


def _bias_by_maintenance(context: Context, measure: str) -> np.ndarray:
    """Relative error of the self-estimate, maintenance on the model's own histories minus the generator's."""
    acted = context.study.finetuned("acted")
    measured = [context.study.measured(m) for m in acted["model"]]
    acted = acted.assign(op=[m.op for m in measured], imp=[m.imp for m in measured])
    arms = []
    for table in (_with_self_evaluation(context.study, acted), context.judged_by_self):
        arms.append(table.assign(error=(table[f"self_{measure}"] - table[measure]) / table[measure]))
    return _paired(*arms, "error", "acted")


@judge("self-imp-bias", "self")
def _self_imp_bias(context: Context) -> Judgement:
    less = -_bias_by_maintenance(context, "imp")
    p = min(1.0, 2 * min(t_test(less, above=0), t_test(less, below=0)))
    text = f"relative error of self-estimated Imp {_text(less)} more with the generator's histories"
    return Judgement(text, True, p=p)


@judge("self-bias-cause", "self")
def _self_bias_cause(context: Context) -> Judgement:
    more = _bias_by_maintenance(context, "op")
    text = f"relative error of self-estimated Op {_text(more)} more with the model's own histories"
    return Judgement(text, True, p=t_test(more, below=0))


# --- differential measures, cost, related work --------------------------------------------------------


@judge("differential-minimum")
def _differential_minimum(context: Context, linear: float = 1.0) -> Judgement:
    """C Imp'(C) = 2 C² − C − 1 vanishes at stationary points; Imp'' = 1/C² + 2 > 0 makes them minima."""
    low, high = sorted(np.roots([2, -linear, -1]))

    def value(c):
        return -np.log(abs(c)) + c * (c - linear)

    grid = np.array([0.25, 0.5, 1.0, 2.0])
    measured = [differential.imp([[1.0]], [[c]]) for c in grid]
    agrees = np.allclose(measured, value(grid), rtol=0, atol=_EXACT)
    text = f"minima {abs(value(high)):.3f} nats at C = {high:g}, {value(low):.3f} at {low:g}, exact"
    return Judgement(text, bool(agrees and abs(high - 1) < _EXACT and abs(value(high)) < _EXACT))


@judge("diagonal-sum")
def _diagonal_sum(context: Context, coupling: float = 0.0) -> Judgement:
    """With diagonal Jacobians determinants are products and traces sums; here in numbers."""
    rng, largest = np.random.default_rng(0), 0.0
    for width in range(1, 9):
        j_g, j_h = rng.uniform(0.5, 2, (2, width))
        whole = np.diag(j_g), np.diag(j_h) + coupling * (1 - np.eye(width))
        parts = j_g[:, None, None], j_h[:, None, None]
        for measure in (differential.op, differential.imp):
            largest = max(largest, abs(float(measure(*whole) - measure(*parts).sum())))
    return Judgement(f"largest difference {largest:.1e} nats, widths 1 to 8, exact", largest < _EXACT)


@judge("jacobian-cost")
def _jacobian_cost(context: Context) -> Judgement:
    """Reads `jacobian`, {width: seconds}, of the benchmark's files."""
    reports = [json.loads(path.read_text("utf8")) for path in sorted(context.benchmarks.glob("*.json"))]
    timed = [report["jacobian"] for report in reports if report.get("jacobian")]
    if not timed:
        return Judgement("not measured: no benchmark file has it", None)
    exponents = [_exponent({int(width): s for width, s in times.items()}) for times in timed]
    text = f"exponent {', '.join(f'{e:.2f}' for e in exponents)} for widths 128 to 1024"
    return Judgement(text, all(4 <= e <= 6 for e in exponents), max(exponents) <= 3.3)


def _exponent(seconds: dict[int, float]) -> float:
    widths = [width for width in seconds if 128 <= width <= 1024]
    return float(np.polyfit(np.log(widths), np.log([seconds[w] for w in widths]), 1)[0])


@judge("impact-regularisation")
def _impact_regularisation(context: Context) -> Judgement:
    text = (
        "it needs models trained under an impact penalty, estimated by themselves and by a world model; "
        "the post trains none and names no statistic that would decide it, and no published table holds one"
    )
    return Judgement(text, None, testable=False)


@judge("unlike-aup")
def _unlike_aup(context: Context, moves: bool = True) -> Judgement:
    """Two rooms and ash, half of the histories in each room: one policy burns, one goes to the first room."""
    act = np.array([[0, 1, 2], [1, 0, 2]])  # of room and action: stay, switch, burn
    burn, go = np.array([[0, 0, 0.5], [0, 0, 0.5]]), np.array([[0.5, 0, 0], [0, 0.5, 0]])
    # attainable: which of being in either room can be had afterwards; from a room both, if one can move
    attainable = np.array([[1, moves], [moves, 1], [0, 0]], dtype=float)
    lost = np.abs(attainable[act] - attainable[act[:, :1]]).mean(-1)
    penalty = [float((policy * lost).sum()) for policy in (burn, go)]
    imp = [SplitHistory(policy, np.eye(3)[act]).imp for policy in (burn, go)]
    text = f"Imp {imp[0]:.3f}, penalty {penalty[0]:.2f} of burning, {imp[1]:.3f}, {penalty[1]:.2f} of moving"
    return Judgement(f"{text}, exact", bool((imp[0] - imp[1]) * (penalty[0] - penalty[1]) < 0))
