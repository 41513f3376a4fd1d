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
    """Every claim and its verdict; its name leads to where it is seen, what was found is folded below it."""
    return _table(("claim", "verdict"), map(_judged, rows), "claims verdicts")


def criteria_table(rows: Iterable[Row]):
    """Every claim with its test and its threshold, folded under its name."""
    return _html("".join(map(_criterion, rows)))


def moved_table(rows: Iterable[Row]):
    """Claims whose verdict is another than under the rule before this one, and why."""
    moved = (row for row in rows if row.verdict != row.criterion.before)
    lines = ([_moved(row), row.criterion.before, _verdict(row)] for row in moved)
    return _table(("claim", "before", "now"), lines)


def profiles_table(judged: Mapping[str, list[Row]]):
    """Verdicts of the claims that are measured, side by side: {profile: its rows}, folded."""
    each = zip(*judged.values(), strict=True)
    lines = [[own[0].id, *map(_verdict, own)] for own in each if own[0].criterion.evidence == "measured"]
    return _html(_folded(f"{len(lines)} claims, side by side", _rows(("claim", *judged), lines)))


def _moved(row: Row) -> str:
    return row.id + _folded("why", escape(row.criterion.moved))


def _verdict(row: Row) -> str:
    return f'<b style="color:{_COLOUR.get(row.verdict, _OTHERS)}">{row.verdict}</b>'


def _judged(row: Row) -> list[str]:
    name = escape(row.id)
    if row.figure:
        name = f'<a href="../{row.figure}">{name}</a>'
    found = _folded("what was found", _shown(row.found))
    return [f"{name}<br>{escape(row.claim)}{found}", f"{_verdict(row)} · {row.criterion.kind}"]


def _shown(text: str) -> str:
    """Text for a page, with minus signs where a terminal has hyphens."""
    return re.sub(r"(?<![\w-])-(?=[\d.])", "−", escape(text))


def _criterion(row: Row) -> str:
    c = row.criterion
    said = {"statistic and test": f"{c.statistic}; {c.test}", "threshold": c.threshold, "mended": c.mended}
    said |= {"known": c.known, "smallest effect, chosen after the numbers": c.smallest}
    lines = (f"<p><i>{name}</i>: {escape(text)}</p>" for name, text in said.items() if text)
    return _folded(row.id, "".join(lines))


def _folded(name: str, text: str) -> str:
    """A part of a page that opens at its name."""
    return f'<details class="claims"><summary>{escape(name)}</summary>{text}</details>'


def _table(head: Iterable[str], lines: Iterable[list[str]], kind: str = "claims"):
    return _html(_rows(head, lines, kind))


def _html(text: str):
    from IPython.display import HTML  # only where pages are executed

    return HTML(text)


def _rows(head: Iterable[str], lines: Iterable[list[str]], kind: str = "claims") -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(cells, "td") for cells in lines)
    return f'<table class="{kind}">{line(head, "th")}{body}</table>'
