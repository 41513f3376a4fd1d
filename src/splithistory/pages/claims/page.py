"""The ledger as its page shows it: verdicts by kind, what was found, by which criterion, and what moved."""

import re
from collections.abc import Iterable, Mapping
from html import escape

from .ledger import VERDICTS, Row, count_by_kind

_COLOUR = {
    "reproduced": "#009e73",
    "reproduced with a correction": "#0072b2",
    "contradicted": "#d55e00",
}
_OTHERS = "#6b6b6b"


def kinds_table(rows: list[Row]):
    """How many claims got each verdict, a row for each kind of criterion."""
    counted = count_by_kind(rows)
    shown = [verdict for verdict in VERDICTS if any(of[verdict] for of in counted.values())]
    lines = [[kind, *(str(of[verdict] or "") for verdict in shown)] for kind, of in counted.items()]
    return _table(("criterion", *shown), lines)


def verdict_table(rows: Iterable[Row]):
    """Every claim with what was found and its verdict; its name leads to where it is seen."""
    return _table(("claim", "found", "verdict"), map(_judged, rows), "claims verdicts")


def criteria_table(rows: Iterable[Row]):
    """Every claim with its test and its threshold."""
    return _table(("claim", "statistic and test", "threshold"), map(_criterion, rows))


def moved_table(rows: Iterable[Row]):
    """Claims whose verdict is another than under the rule before this one, and why."""
    moved = (row for row in rows if row.verdict != row.criterion.before)
    lines = ([row.id, row.criterion.before, _verdict(row), escape(row.criterion.moved)] for row in moved)
    return _table(("claim", "before", "now", "why"), lines)


def profiles_table(judged: Mapping[str, list[Row]]):
    """Verdicts of the claims that are measured, side by side: {profile: its rows}."""
    each = zip(*judged.values(), strict=True)
    lines = ([own[0].id, *map(_verdict, own)] for own in each if own[0].criterion.evidence == "measured")
    return _table(("claim", *judged), lines)


def _verdict(row: Row) -> str:
    return f'<b style="color:{_COLOUR.get(row.verdict, _OTHERS)}">{row.verdict}</b>'


def _judged(row: Row) -> list[str]:
    name = escape(row.id)
    if row.figure:
        name = f'<a href="../{row.figure}">{name}</a>'
    return [f"{name}<br>{escape(row.claim)}", _shown(row.found), f"{_verdict(row)}<br>{row.criterion.kind}"]


def _shown(text: str) -> str:
    """Text for a page, with minus signs where a terminal has hyphens."""
    return re.sub(r"(?<![\w-])-(?=[\d.])", "−", escape(text))


def _criterion(row: Row) -> list[str]:
    c = row.criterion
    more = {"mended": c.mended, "known": c.known, "smallest effect, chosen after the numbers": c.smallest}
    added = (f"<br>{name}: {escape(text)}" for name, text in more.items() if text)
    return [row.id, escape(f"{c.statistic}; {c.test}"), escape(c.threshold) + "".join(added)]


def _table(head: Iterable[str], lines: Iterable[list[str]], kind: str = "claims"):
    from IPython.display import HTML  # only where pages are executed

    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(cells, "td") for cells in lines)
    return HTML(f'<table class="{kind}">{line(head, "th")}{body}</table>')
