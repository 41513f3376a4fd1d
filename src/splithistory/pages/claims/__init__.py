"""The claims ledger: what the post claims, by which criterion it is judged, and what the results say.

The criteria are data (`book/reference/claims.yml`), committed before the study ran; a file of judges a
chapter computes the statistic that each names, and `ledger` turns all of them into verdicts. No verdict is
written by hand: other results, other verdicts.

Readings where a criterion leaves room: a slope is that of least squares with an intercept; one value a seed
is a mean over the models of that seed; a difference of two models' measurements has an interval as if their
histories were drawn apart; the generator acts by its own noisy draw; where a criterion has a second, mended
p value, that takes the first one's place in the family before it is corrected.
"""

from .judging import BENCHMARKS, CRITERIA, JUDGES, Context, Criterion, Judgement, criteria
from .ledger import VERDICTS, Row, count, ledger, verdicts
from .page import criteria_table, verdict_table

__all__ = [
    "BENCHMARKS",
    "CRITERIA",
    "JUDGES",
    "VERDICTS",
    "Context",
    "Criterion",
    "Judgement",
    "Row",
    "count",
    "criteria",
    "criteria_table",
    "ledger",
    "verdict_table",
    "verdicts",
]
