"""The claims ledger: what the post claims, by which criterion it is judged, and what the results say.

Floor 5. The criteria are data (`book/reference/claims.yml`), committed before the study ran; here is one
judge a claim, which computes the statistic that its criterion names, and the procedure that turns all of them
into verdicts. No verdict is written by hand: other results, other verdicts.

A judge of a claim about models reads a Context. A judge of a claim that is exact, proved or constructed computes
the check; what its keyword arguments hold is what makes the claim true, so that tests can make it false.

Readings where a criterion leaves room: a slope is that of least squares with an intercept; one value a seed is a mean
over the models of that seed; a difference of two models' measurements has an interval as if their histories were
drawn apart; the generator acts by its own noisy draw; where a criterion has a second, mended p value, that
takes the first one's place in the family before it is corrected.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp
from scipy.stats import f as f_distribution
from scipy.stats import page_trend_test, spearmanr, ttest_1samp

from . import differential, study
from .information import binary_kl, entropy, goal_mask, kl
from .measure import Futures, SplitHistory, split_history
from .objectives import auc, clustered_interval, cross_evaluate
from .recurrence import Recurrence
from .store import Store
from .tables import GOALS, Study, t_interval

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
    "op-signed-imp-positive": "measures/impact.html#fig-two-ways",
}
_CHECKOUT = Path(__file__).resolve().parents[2]
CRITERIA = _CHECKOUT / "book" / "reference" / "claims.yml"
BENCHMARKS = _CHECKOUT / "benchmarks" / "results"
_LEVEL, _EXACT, _FEWEST = 0.05, 1e-12, 3
# a graded reward that the three goals make, since each holds the one before: how many of them an outcome meets
_GRADES = np.sum([goal_mask(goal, 8) for goal in GOALS.values()], axis=0).astype(float)


class Criterion(BaseModel):
    """A row of the criteria: see the head of the file that holds them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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

    statistic: the number with its interval, or the word exact; holds: whether the threshold is met, apart from the p
    value (None: too small to tell); mended: whether the mended claim's is (None: only if `holds` decides);
    p, p_mended: uncorrected p values of the two, None where there is no test; testable: False with the argument as
    the statistic.
    """

    statistic: str
    holds: bool | None
    mended: bool | None = False
    p: float | None = None
    p_mended: float | None = None
    testable: bool = True


@dataclass(frozen=True)
class Row:
    """A claim judged: p is uncorrected, p_corrected by Holm's procedure; figure: a link, "" if there is none."""

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
        self._intervals: dict[int, tuple] = {}

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
        rows = self.study.models[self.study.models["stage"] == "pretrained"]
        return _final(self.study, rows[rows["arm"] == ""], "test_loss")

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
        return pd.DataFrame([self._by_the_post(row) for row in self.own.to_dict("records")])

    @cached_property
    def judged_by_self(self) -> pd.DataFrame:
        """`own` with self_op and self_imp, restricted self-evaluation."""
        return _with_self_evaluation(self.study, self.own)

    @cached_property
    def enough(self) -> bool:
        """Whether there are three complete seeds and three sizes."""
        whole = self.own.pivot(index="seed", columns=["size", "n_good"], values="s").dropna()
        return min(len(whole), len(self.sizes)) >= _FEWEST

    def by_size(self, table: pd.DataFrame, column: str) -> np.ndarray:
        """(seeds, sizes): a column of a table of models, mean over goals; seeds that miss a size are left out."""
        wide = table.pivot_table(index="seed", columns="size", values=column)
        return wide[self.sizes].dropna().to_numpy()

    def interval(self, model: int) -> tuple[np.ndarray, np.ndarray]:
        """(centre, half width) of the 95 % intervals over histories of (s on its own goal, op) of a model."""
        if model not in self._intervals:
            n_good = int(self.study.models.set_index("model").loc[model, "n_good"])
            goal = GOALS[n_good or 4]  # a pretrained model has no goal: only its op is read
            measured = self.measured[model] if n_good else self.study.measured(model)
            low, high = measured.interval(lambda f: np.stack([f.success(goal), f.op], -1))
            self._intervals[model] = (low + high) / 2, (high - low) / 2
        return self._intervals[model]

    def _on_every_goal(self, row: dict) -> pd.DataFrame:
        measured = self.measured[row["model"]]
        scalars = {"op": measured.op, "imp": measured.imp, "delta": measured.delta}
        return pd.DataFrame({**cross_evaluate(measured, GOALS.values()), "goal": list(GOALS)}).assign(
            **row, **scalars
        )

    def _by_the_post(self, row: dict) -> dict:
        sets = self.study.sampled[self.study.sampled["model"] == row["model"]]
        good = list(GOALS[row["n_good"]])
        s, s_prime = (sets[[f"{f}{k}" for k in good]].sum(axis=1).mean() for f in ("f", "f_prime"))
        scalars = {"op": sets["op"].mean(), "imp": sets["imp"].mean()}
        bounds = {"implied_op": float(binary_kl(s, row["p"])), "imp_min": float(binary_kl(s, s_prime))}
        return {**row, **scalars, "s": s, "s_prime": s_prime, **bounds}


def _final(results: Study, rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Models with the last value of a column of their curves."""
    return rows.assign(value=[float(results.curve(model, column)[1][-1]) for model in rows["model"]])


def _with_self_evaluation(results: Study, rows: pd.DataFrame) -> pd.DataFrame:
    futures = [results.self_evaluated(model) for model in rows["model"]]
    return rows.assign(self_op=[f.op for f in futures], self_imp=[f.imp for f in futures])


# --- statistics ---------------------------------------------------------------------------------------


def page(values: np.ndarray, *, falling: bool = False) -> float:
    """p of Page's trend test: seeds (rows) as blocks, treatments (columns) in order, exact null distribution."""
    values = np.asarray(values)
    return float(page_trend_test(values[:, ::-1] if falling else values, method="exact").pvalue)


def t_test(values, *, above: float | None = None, below: float | None = None) -> float:
    """p of the one-sided t test over seeds that the mean is above, or below, a number."""
    at, side = (below, "less") if above is None else (above, "greater")
    return float(ttest_1samp(np.asarray(values, dtype=float), at, alternative=side).pvalue)


def f_test(values: np.ndarray) -> float:
    """p of the F test that the columns have one mean; rows are blocks (seeds)."""
    blocks, columns = values.shape
    centred = values - values.mean(1, keepdims=True)
    between = blocks * (centred.mean(0) ** 2).sum() / (columns - 1)
    rest = (centred - centred.mean(0)) ** 2
    within = rest.sum() / ((blocks - 1) * (columns - 1))
    return float(f_distribution.sf(between / within, columns - 1, (blocks - 1) * (columns - 1)))


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


def _text(values) -> str:
    return "{:.3f} ± {:.3f}".format(*t_interval(values))


def _growth(values: np.ndarray) -> str:
    """The change from the smallest size to the largest."""
    return _text(values[:, -1] - values[:, 0])


# --- verdicts -----------------------------------------------------------------------------------------

JUDGES: dict[str, Callable[..., Judgement]] = {}
Needs = Literal["nothing", "pretrained", "models", "seeds", "ablations", "self"]


def judge(claim: str, needs: Needs = "nothing") -> Callable:
    """Register the judge of a claim; without what it needs, the claim is too small to tell."""

    def register(function: Callable[..., Judgement]) -> Callable[..., Judgement]:
        def judged(context: Context, **given) -> Judgement:
            missing = _missing(context, needs)
            return Judgement(missing, None) if missing else function(context, **given)

        JUDGES[claim] = judged
        return judged

    return register


def _missing(context: Context, needs: Needs) -> str:
    """What a judge needs and the context does not have, "" if nothing is missing."""
    if needs == "nothing":
        return ""
    if not (set(context.study.models["stage"]) >= {"generator", "pretrained"} and len(context.study.finetuned())):
        return "the sampled arm is not published"
    if needs == "ablations" and context.ablations is None:
        return "the ablations are not published"
    if needs == "self" and not len(context.study.self_evaluation):
        return "the self-evaluation is not published"
    small = needs != "models" and not context.enough
    return f"fewer than {_FEWEST} seeds or {_FEWEST} sizes" if small else ""


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
    for row in rows:
        judgement = found[row.id]
        p = holm(family).get(row.id, judgement.p)
        mended = judgement.p_mended
        if row.id in family and mended is not None:
            mended = holm(family | {row.id: mended})[row.id]
        verdict, decisive = _verdict(judgement, p, mended)
        figure = FIGURES.get(row.id, "")
        yield Row(row.id, row.claim, judgement.statistic, judgement.p, decisive, verdict, figure, row)


def _verdict(found: Judgement, p: float | None, mended: float | None) -> tuple[str, float | None]:
    """(verdict, the corrected p value that decided it)."""
    if not found.testable:
        return "not testable", None
    if found.holds is None:
        return "too small to tell", None
    if found.holds and (p is None or p < _LEVEL):
        return "reproduced", p
    if found.mended is None:
        return "too small to tell", p
    if found.mended and (mended is None or mended < _LEVEL):
        return "reproduced with a correction", p if mended is None else mended
    return "not reproduced", p


def count(rows: list[Row]) -> dict[str, int]:
    """How many claims got each verdict, in the order of VERDICTS."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in VERDICTS}


def ledger(profile: str = "post", *, fresh: bool = False, store: Store | None = None) -> list[Row]:
    """Every claim judged on the study of a profile, published or trained here (see `study.load`).

    The ablations differ from the profile `post` in one setting each, so only its published models are compared
    with them.
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
    losses = context.by_size(context.pretrained, "value")
    text = ", ".join(_text(column) for column in losses.T)
    p = max(t_test(column, below=1.0) for column in losses.T)
    return Judgement(f"held-out loss {text} nats for {', '.join(context.sizes)}", True, p=p)


@judge("pretraining-overfits", "seeds")
def _pretraining_overfits(context: Context) -> Judgement:
    rise = _rise(context.by_size(context.pretrained, "value"))
    text = f"rise of the held-out loss at {context.sizes[-1]} {_text(rise)} nats"
    p = t_test(rise, above=0)
    if context.ablations is None:
        return Judgement(f"{text}; the ablations are not published", True, None, p)
    rises = {arm: _rise(losses) for arm, losses in _smaller_training_sets(context)}
    text += "".join(f"; {arm} {_text(values)}" for arm, values in rises.items())
    smaller = min(t_test(values, above=0) for values in rises.values())
    return Judgement(text, True, True, p, smaller)


def _rise(losses: np.ndarray) -> np.ndarray:
    """Loss of the largest size above the smallest of the sizes' means, one value a seed."""
    return losses[:, -1] - losses.mean(0).min()


def _smaller_training_sets(context: Context) -> Iterator[tuple[str, np.ndarray]]:
    models = context.ablations.models
    for arm in dict.fromkeys(a for a in models["arm"] if a.startswith("windows ")):
        rows = _final(context.ablations, models[models["arm"] == arm], "test_loss")
        yield arm, context.by_size(rows, "value")


# --- reinforcement ------------------------------------------------------------------------------------


def _against_sampled(context: Context, arm: str, column: str) -> np.ndarray:
    """A curve's end in an ablation minus in the sampled arm, the same models, one value a seed."""
    there = _final(context.ablations, context.ablations.finetuned(arm), column)
    here = _final(context.study, context.study.finetuned(), column)
    both = there.merge(here, on=["size", "seed", "n_good"])
    return (both["value_x"] - both["value_y"]).groupby(both["seed"]).mean().to_numpy()


@judge("maintenance-needed", "ablations")
def _maintenance_needed(context: Context) -> Judgement:
    lost = _against_sampled(context, "no maintenance", "even_loss")
    text = f"even-position loss {_text(lost)} nats higher without maintenance"
    return Judgement(text, True, True, t_test(lost, above=0.5), t_test(lost, above=0.1))


@judge("failures-hurt", "ablations")
def _failures_hurt(context: Context) -> Judgement:
    arms = {a for a in context.ablations.models["arm"] if a.startswith("failures ")}
    arms = sorted(arms, key=lambda arm: float(arm.split()[1]))
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
        centre, half = context.interval(row.model)
        above = context.world.ceiling(GOALS[row.n_good]) - row.p
        shares.append(((row.s - row.p) / above, (centre[0] - half[0] - row.p) / above))
    least, low = np.min(shares, axis=0)
    text = f"at least {least:.2f} of the way from chance to the ceiling (95 %: above {low:.2f})"
    return Judgement(text, bool(low > 0.25), bool(low > 0))


@judge("success-grows-with-size", "seeds")
def _success_grows(context: Context) -> Judgement:
    by_goal = [context.by_size(rows, "s") for _, rows in context.own.groupby("n_good")]
    text = f"change by {', '.join(map(_growth, by_goal))} from {context.sizes[0]} to {context.sizes[-1]}"
    together = page(context.by_size(context.own, "s"))
    return Judgement(text, True, True, max(map(page, by_goal)), together)


@judge("success-above-chance", "models")
def _again(context: Context) -> Judgement:  # placeholder, removed below
    raise NotImplementedError
