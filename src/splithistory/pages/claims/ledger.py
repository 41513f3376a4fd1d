"""From judgements to verdicts: one rule for all claims, corrected for their number, and one line a claim."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ... import study
from ...statistics import holm
from ...study import Store
from . import (  # noqa: F401  each registers its judges
    derivations,
    experiment,
    impact,
    objectives,
    optimization,
    prediction,
    self_evaluation,
)
from .effects import Decision, decide
from .judging import JUDGES, Context, Criterion, Judgement, criteria

VERDICTS = (
    "reproduced",
    "reproduced with a correction",
    "contradicted",
    "undecided",
    "not testable",
    "too small to tell",
)
_LEVEL, _TINY = 0.05, 1e-9
AROUND = {"post": "ablations", "faithful": "recipe"}  # profile: the one whose arms change one setting of it
FURTHER = ("penalised", "explored")  # profiles around `post` that one claim asks for


@dataclass(frozen=True)
class Row:
    """A claim judged.

    p, p_corrected: two-sided, of the decision, by itself and by Holm's procedure; detectable: where a claim
    is undecided, how far beyond its edge an effect had to lie to be seen in 8 studies of 10; figure: a link,
    "" if none.
    """

    id: str
    claim: str
    statistic: str
    p: float | None
    p_corrected: float | None
    verdict: str
    figure: str
    criterion: Criterion
    detectable: float | None = None

    @property
    def found(self) -> str:
        """The statistic with its p value, and what could have been seen."""
        text, p = self.statistic, self.p_corrected
        if p is not None:
            text += f"; p {f'= {p:.2g}' if p > _TINY else f'< {_TINY:g}'} corrected"
        if self.detectable is not None:
            far = f"{self.detectable:.2g} {self.criterion.unit}".strip()
            text += f"; {far} beyond the edge would be seen in 8 studies of 10"
        return text

    def __str__(self) -> str:
        # one line each: for reading in a terminal, and for grep
        return f"{self.id}: {self.verdict}: {self.found}"


def verdicts(context: Context, rows: list[Criterion]) -> Iterator[Row]:
    """Every claim judged, in the order of its criterion; ValueError if one has no judge.

    Holm's family are the decisions in which chance has a part, two-sided: for a claim or against it. A mended
    claim takes the place of its own.
    """
    if unknown := [row.id for row in rows if row.id not in JUDGES]:
        raise ValueError(f"criteria: given {', '.join(unknown)}, allowed are {', '.join(sorted(JUDGES))}")
    found = {row.id: JUDGES[row.id](context, row.limits) for row in rows}
    decided = {name: decide(judgement.claim) for name, judgement in found.items() if judgement.claim}
    family = {name: decision.p for name, decision in decided.items() if decision.tested}
    for row in rows:
        verdict, decision = _verdict(row.id, found[row.id], decided.get(row.id), family)
        p, corrected, seen = None, None, None
        if decision is not None and decision.tested:
            p, corrected = decision.p, _corrected(row.id, decision, family)
        if verdict == "undecided" and decision is not None and decision.weakest.error > 0:
            seen = decision.weakest.detectable(1 - _LEVEL / max(1, len(family)))
        yield Row(row.id, row.claim, found[row.id].statistic, p, corrected, verdict, row.figure, row, seen)


def _corrected(name: str, decision: Decision, family: dict[str, float]) -> float:
    """p of a decision in its claim's place in the family; what is exact needs no correction."""
    return holm(family | {name: decision.p})[name] if decision.tested else decision.p


def _verdict(
    name: str, found: Judgement, claim: Decision | None, family: dict[str, float]
) -> tuple[str, Decision | None]:
    """The verdict, and the decision that it rests on."""
    if not found.testable:
        return "not testable", None
    if claim is None:
        return "too small to tell", None
    sure = _corrected(name, claim, family) < _LEVEL
    if sure and claim.side > 0:
        return "reproduced", claim
    if found.mended:
        mended = decide(found.mended)
        if mended.side > 0 and _corrected(name, mended, family) < _LEVEL:
            return "reproduced with a correction", mended
    elif found.mended is not None:  # what would judge the mended claim is not there
        return "too small to tell", None
    return ("contradicted" if sure else "undecided"), claim


def count(rows: list[Row]) -> dict[str, int]:
    """How many claims got each verdict, in the order of VERDICTS."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in VERDICTS}


def count_by_kind(rows: list[Row]) -> dict[str, dict[str, int]]:
    """`count` of the claims of each kind of criterion: blind, known before, proved, constructed."""
    kinds = ("blind", "known before", "proved", "constructed")
    return {kind: count([row for row in rows if row.criterion.kind == kind]) for kind in kinds}


def ledger(profile: str = "post", *, fresh: bool = False, store: Store | None = None) -> list[Row]:
    """Every claim judged on the study of a profile, published or trained here (see `study.load`).

    Ablations differ from a profile in one setting each (AROUND), so only its published models are compared.
    """
    rows = criteria()
    results = study.load(profile, fresh=fresh, store=store)
    around = AROUND.get(profile)
    ablations = study.published(around) if around and not fresh else None
    also = FURTHER if profile == "post" and not fresh else ()
    further = {name: there for name in also if (there := study.published(name))}
    return list(verdicts(Context(results, ablations, further=further), rows))
