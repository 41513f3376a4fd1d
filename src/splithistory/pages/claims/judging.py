"""What a judge reads and what it hands back: the study in tables, and a statistic held against its criterion.

A judge of a claim about models reads a Context. A judge of a claim that is exact, proved or constructed
computes the check; what its keyword arguments hold is what makes the claim true, so that tests can make it
false. Every number that a judge compares with stands in the criteria (`limits`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict

from ...measure import SplitHistory
from ...recurrence import Recurrence
from ...statistics import page, paired_by_seed, t_interval
from ...study import GOALS, Study, has_results, results_root
from ..chapters import read_yaml
from .effects import Effect, over_seeds

CRITERIA = Path(__file__).with_name("claims.yml")
EXACT, FEWEST = 1e-12, 3


JUDGES: dict[str, Callable[..., "Judgement"]] = {}
Needs = Literal["nothing", "models", "seeds", "ablations", "self"]
Limits = Mapping[str, float]


class Criterion(BaseModel):
    """A row of the criteria: see the head of the file that holds them.

    figure: where the claim is seen, a link into the rendered book, "" if nowhere; limits: every number that
    the judge compares with, by name; smallest: where the smallest effect that matters comes from, if it was
    chosen after the numbers; unit: of the effect, "" if it has none; before: the verdict on the profile
    `post` under the rule before this one; moved: why it is another now.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    id: str
    claim: str
    statistic: str
    test: str
    threshold: str
    mended: str = ""
    evidence: Literal["measured", "proved", "constructed"]
    blind: bool
    known: str = ""
    figure: str = ""
    limits: dict[str, float] = {}
    smallest: str = ""
    unit: str = ""
    before: str = ""
    moved: str = ""

    @property
    def kind(self) -> str:
        """How much the criterion could have known ("blind", "known before", "proved" or "constructed")."""
        if self.evidence != "measured":
            return self.evidence
        return "blind" if self.blind else "known before"


@dataclass(frozen=True)
class Judgement:
    """What a judge found.

    statistic: the number with its interval, or the word exact; claim: the effects that the claim needs, all
    of them (none: too small to tell); mended: those of the mended claim (None: there is no such claim; none:
    what it needs is not published); testable: False with the argument as the statistic.
    """

    statistic: str
    claim: Sequence[Effect]
    mended: Sequence[Effect] | None = None
    testable: bool = True


def criteria(path: Path = CRITERIA) -> list[Criterion]:
    """The rows of the criteria; ValueError, in one line, if there is no such file or a row is not one."""
    if not Path(path).is_file():
        raise ValueError(f"criteria: given {path}, allowed is a file such as {CRITERIA}")
    try:
        return [Criterion(**row) for row in read_yaml(Path(path).read_text("utf8"))]
    except (TypeError, ValueError, yaml.YAMLError) as error:  # no list, no row, fields that are none
        why = " ".join(str(error).split())
        raise ValueError(f"criteria: given {path}, allowed are rows as in {CRITERIA} ({why})") from None


@cache
def _limits() -> dict[str, dict[str, float]]:
    return {row.id: row.limits for row in criteria()}


class TooSmall(Exception):
    """What a judge needs is not there."""


class Context:
    """What the judges read, computed once: the study, the ablations if there are any, and the world.

    world: the study's own if left out; further: studies of other profiles, by name; benchmarks: folder of the
    benchmark's files (default: the published ones, if there are results).
    """

    def __init__(
        self,
        results: Study,
        ablations: Study | None = None,
        *,
        further: Mapping[str, Study] | None = None,
        world: Recurrence | None = None,
        benchmarks: Path | None = None,
    ):
        self.study = results
        self.benchmarks = benchmarks or (results_root() / "benchmarks" if has_results() else None)
        self.ablations: Any = ablations  # a Study, for every judge that says it needs one
        self.further = dict(further or {})
        self.world = world or results.world

    @property
    def sizes(self) -> list[str]:
        """`Study.sizes`."""
        return self.study.sizes

    def of(self, profile: str) -> Study:
        """The study of another profile; TooSmall if it is not read beside this one."""
        if profile not in self.further:
            raise TooSmall(f"the profile {profile} is read beside post alone, where both are published")
        return self.further[profile]

    @cached_property
    def generator(self) -> SplitHistory:
        """The sequence measured on itself, by its own noisy draw."""
        return self.study.generator(temperature=1.0)

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
        """Each finetuned model of the sampled arm on each goal (`Study.crossed`)."""
        return self.study.crossed()

    @cached_property
    def own(self) -> pd.DataFrame:
        """Each finetuned model on its own goal."""
        return self.study.on_own_goal()

    @cached_property
    def plugin(self) -> pd.DataFrame:
        """As `own`, by the post's procedure (`Study.by_procedure`)."""
        return self.study.by_procedure(self.own)

    @cached_property
    def judged_by_self(self) -> pd.DataFrame:
        """`own` with what the models say of themselves (`Study.self_estimated`)."""
        return self.study.self_estimated(self.own)

    @cached_property
    def complete(self) -> "Context":
        """The same with only the seeds that have every model; what tests over seeds read."""
        finetuned = self.own["seed"].value_counts() == len(self.sizes) * len(GOALS)
        pretrained = self.pretrained["seed"].value_counts() == len(self.sizes)
        seeds = set(finetuned[finetuned].index) & set(pretrained[pretrained].index)
        if seeds == set(self.own["seed"]):
            return self
        kept = self.study.models[self.study.models["seed"].isin([-1, *seeds])]  # the generator has −1
        return Context(
            replace(self.study, models=kept),
            self.ablations,
            further=self.further,
            world=self.world,
            benchmarks=self.benchmarks,
        )

    @property
    def enough(self) -> bool:
        """Whether there are three seeds and three sizes."""
        seeds = self.study.finetuned()["seed"].nunique()
        return min(seeds, len(self.sizes)) >= FEWEST

    def by_size(self, table: pd.DataFrame, column: str, sizes: list[str] | None = None) -> np.ndarray:
        """(seeds, sizes): a column of a table of models, mean over goals; only seeds that have every size."""
        wide = table.pivot_table(index="seed", columns="size", values=column)
        return wide.reindex(columns=sizes or self.sizes).dropna().to_numpy()


def seeds(values) -> str:
    """Mean and half width over seeds."""
    return "{:.3f} ± {:.3f}".format(*t_interval(values))


def change(values: np.ndarray) -> np.ndarray:
    """From the smallest size to the largest, of (seeds, sizes)."""
    return values[:, -1] - values[:, 0]


def rises(values: np.ndarray, above: float) -> Effect:
    """The change with size of (seeds, sizes), held for a rise by Page's trend test."""
    return over_seeds(change(values), above=above, named=page(values))


def grows(context: Context, column: str, limits: Limits) -> Judgement:
    """Whether a column of nats, on each model's own goal, rises with size."""
    values = context.by_size(context.own, column)
    return Judgement(f"change by {seeds(change(values))} nats", [rises(values, limits["change"])])


def one_a_seed(there: pd.DataFrame, here: pd.DataFrame, column: str, arm: str) -> np.ndarray:
    """Difference of the models that two arms share, one mean a seed."""
    differences = paired_by_seed(there, here, column)
    if len(differences) < FEWEST:
        raise TooSmall(f"the arm {arm} is not published")
    return differences.to_numpy()


def judge(claim: str, needs: Needs = "nothing") -> Callable:
    """Register the judge of a claim; without what it needs, the claim is too small to tell.

    Limits that are not given are those committed.
    """

    def register(function: Callable[..., Judgement]) -> Callable[..., Judgement]:
        def judged(context: Context, limits: Limits | None = None, **given) -> Judgement:
            try:
                return function(
                    _provided(context, needs), _limits()[claim] if limits is None else limits, **given
                )
            except TooSmall as missing:
                return Judgement(str(missing), [])

        JUDGES[claim] = judged
        return judged

    return register


def _provided(context: Context, needs: Needs) -> Context:
    """What a judge reads; TooSmall if the context does not have what it needs."""
    if needs == "nothing":
        return context
    stages = set(context.study.models["stage"])
    if not {"generator", "pretrained"} <= stages or context.study.finetuned().empty:
        raise TooSmall("the sampled arm is not published")
    if needs == "models":
        return context
    context = context.complete
    if not context.enough:
        raise TooSmall(f"fewer than {FEWEST} seeds or {FEWEST} sizes")
    if needs == "self" and context.study.self_evaluation.empty:
        raise TooSmall("self-evaluation is not published")
    if needs == "ablations" and context.ablations is None:
        raise TooSmall("no ablations of this study are published")
    return context
