"""The ledger as its page shows it: what was found, and by which criterion, as tables of HTML."""

from collections.abc import Iterable
from html import escape

from .ledger import Row

_COLOUR = {
    "reproduced": "#009e73",
    "reproduced with a correction": "#0072b2",
    "not reproduced": "#d55e00",
}
_OTHERS = "#6b6b6b"


def verdict_table(rows: Iterable[Row]):
    """Every claim with its statistic and its verdict; its name leads to where it is seen."""
    return _table(("claim", "statistic", "verdict"), map(_judged, rows))


def criteria_table(rows: Iterable[Row]):
    """Every claim with its test and its threshold."""
    return _table(("claim", "statistic and test", "threshold"), map(_criterion, rows))


def _judged(row: Row) -> list[str]:
    name = escape(row.id)
    if row.figure:
        name = f'<a href="../{row.figure}">{name}</a>'
    p = "" if row.p_corrected is None else f"; p = {row.p_corrected:.2g}"
    verdict = f'<b style="color:{_COLOUR.get(row.verdict, _OTHERS)}">{row.verdict}</b>'
    blind = "" if row.criterion.blind else "<br>not blind"
    return [f"{name}<br>{escape(row.claim)}", escape(row.statistic + p), verdict + blind]


def _criterion(row: Row) -> list[str]:
    c = row.criterion
    added = (
        f"<br>{name}: {escape(text)}" for name, text in (("mended", c.mended), ("known", c.known)) if text
    )
    return [row.id, escape(f"{c.statistic}; {c.test}"), escape(c.threshold) + "".join(added)]


def _table(head: Iterable[str], lines: Iterable[list[str]]):
    from IPython.display import HTML  # only where pages are executed

    def line(cells: Iterable[str], kind: str) -> str:
        return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in cells) + "</tr>"

    body = "".join(line(cells, "td") for cells in lines)
    return HTML(f'<table class="claims">{line(head, "th")}{body}</table>')
