"""How a chapter's tables are shown: what pandas makes of them, with one header row, true signs and scopes."""

import re

import pandas as pd
from bs4 import BeautifulSoup, Tag

_NUMBER = re.compile(r"[<>≤≥≈+−]?\s*[+−]?(\d|∞)")
_MISSING = "–"


def use_house_tables() -> None:
    """In a notebook, show tables by `render`; elsewhere nothing happens."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    if shell := get_ipython():
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, render)


def render(frame: pd.DataFrame) -> str:
    """A table as HTML: names of the index beside those of the columns, numbers marked as such.

    The digits are pandas' own. A column is of numbers if each of its cells begins with one. Signs are true
    minus signs, no line breaks inside `a ± b` or `95 %`, each header says whether it heads rows or columns.
    """
    with pd.option_context("display.max_colwidth", None):  # a text is never cut
        soup = BeautifulSoup(frame.to_html(border=0, na_rep=_MISSING), "html.parser")
    table = soup.table
    assert table and table.thead and table.tbody  # what pandas always writes
    if not frame.empty:
        _one_header(soup, table.thead, frame)
    for text in table.find_all(string=True):
        text.replace_with(typeset(str(text)))
    _scopes(table)
    _mark_numbers(table, frame.shape[1])
    return str(soup)


def typeset(text: str) -> str:
    """A text with true minus signs, and without line breaks inside `a ± b` or `95 %`."""
    text = re.sub(r"(?<!\w)-(?=[\d.])", "−", text)
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def without_empty_headers(table: Tag) -> None:
    """A corner above names of rows is no header: make it a plain cell."""
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True) and not cell.find("img"):
            cell.name = "td"


def _one_header(soup: BeautifulSoup, head: Tag, frame: pd.DataFrame) -> None:
    """Put the names of the index, which pandas writes into a row of their own, beside the columns'."""
    rows, levels = head.find_all("tr"), frame.index.nlevels
    columns = rows[frame.columns.nlevels - 1]
    group = frame.columns.name if frame.columns.nlevels == 1 else None
    for cell, name in zip(columns.find_all("th"), frame.index.names, strict=False):
        cell.string = str(name) if name is not None else ""
    for row in rows[frame.columns.nlevels :]:
        row.decompose()
    if group is not None:
        above = soup.new_tag("tr")
        above.extend(soup.new_tag("td") for _ in range(levels))
        over = soup.new_tag("th", attrs={"colspan": str(frame.shape[1])}, string=str(group))
        above.append(over)
        columns.insert_before(above)


def _scopes(table: Tag) -> None:
    """Headers say what they head; an empty one is none."""
    without_empty_headers(table)
    for part, of in ((table.thead, "col"), (table.tbody, "row")):
        for cell in part.find_all("th") if part else ():
            cell["scope"] = of + "group" if cell.get(f"{of}span", "1") != "1" else of
    for row in table.find_all("tr"):
        row.attrs.pop("style", None)


def _mark_numbers(table: Tag, n_columns: int) -> None:
    """Class `number` for the cells, and the header, of each column of numbers."""
    rows = [row.find_all(["th", "td"])[-n_columns:] for row in table.find_all("tr")]
    heads = len(table.thead.find_all("tr")) if table.thead else 0
    body, head = rows[heads:], rows[heads - 1]
    for column in range(n_columns if body else 0):
        cells = [row[column] for row in body]
        texts = [text for cell in cells if (text := cell.get_text(strip=True)) not in ("", _MISSING)]
        if texts and all(_NUMBER.match(text) for text in texts):
            for cell in [head[column], *cells]:
                cell["class"] = "number"
