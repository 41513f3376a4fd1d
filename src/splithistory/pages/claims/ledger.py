"""From judgements to verdicts: Holm's procedure over all claims, and one line a claim."""

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
from .judging import JUDGES, Context, Criterion, Judgement, criteria

VERDICTS = (
    "reproduced",
    "reproduced with a correction",
    "not reproduced",
    "not testable",
    "too small to tell",
)
_LEVEL = 0.05


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


def verdicts(context: Context, rows: list[Criterion]) -> Iterator[Row]:
    """Every claim judged, in the order of its criterion; ValueError if one has no judge.

    Holm's family are the rows marked so that have a p value: what is missing or too small is not in it.
    """
    if unknown := [row.id for row in rows if row.id not in JUDGES]:
        raise ValueError(f"criteria: given {', '.join(unknown)}, allowed are {', '.join(sorted(JUDGES))}")
    found = {row.id: JUDGES[row.id](context, row.limits) for row in rows}
    tested = ((row.id, found[row.id].p) for row in rows if row.correction == "holm")
    family = {name: p for name, p in tested if p is not None}
    corrected = holm(family)
    for row in rows:
        judgement = found[row.id]
        p, mended = judgement.p, judgement.p_mended
        if row.id in family:
            p = corrected[row.id]
            mended = mended if mended is None else holm(family | {row.id: mended})[row.id]
        verdict, by_mended = _verdict(judgement, p, mended)
        decisive = (judgement.p_mended, mended) if by_mended and mended is not None else (judgement.p, p)
        yield Row(row.id, row.claim, judgement.statistic, *decisive, verdict, row.figure, row)


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
