"""The claims ledger: what the post claims, by which criterion it is judged, and what the results say.

The criteria are data (`claims.yml` beside this file), committed before the study ran; a file of judges a
chapter computes the statistic that each names, and `ledger` turns all of them into verdicts. No verdict is
written by hand: other results, other verdicts.

One rule for all (`effects`): a claim puts an effect into a region, whose edge is the smallest effect that
matters. It is reproduced if the effect lies there by more than chance allows, contradicted if it lies
elsewhere by more than chance allows, undecided else; both corrected for the number of claims.

Readings where a criterion leaves room: a slope is that of least squares with an intercept; one value a seed
is a mean over the models of that seed; what needs several effects needs each, and is contradicted by any.
"""

from .judging import CRITERIA, JUDGES, Context, Criterion, Judgement, criteria
from .ledger import VERDICTS, Row, count, count_by_kind, ledger, verdicts
from .page import criteria_table, kinds_table, moved_table, profiles_table, verdict_table

__all__ = [
    "CRITERIA",
    "JUDGES",
    "VERDICTS",
    "Context",
    "Criterion",
    "Judgement",
    "Row",
    "count",
    "count_by_kind",
    "criteria",
    "criteria_table",
    "kinds_table",
    "ledger",
    "moved_table",
    "profiles_table",
    "verdict_table",
    "verdicts",
]
