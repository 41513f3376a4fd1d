"""What two executions of a notebook show, compared: numbers as numbers, tables by cells, figures by data.

A printed number stands for all that are printed so. With a tolerance t, two numbers agree if what they were
rounded from can be t apart: within t and one unit of their last digit. Counts have nothing to round, and
without a tolerance a number must stay the same. Pictures are not compared, but what they plot is (`plotted`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
from itertools import zip_longest
from typing import Any

import numpy as np

from .gluing import PREFIX, glued_name
from .plotted import MIME

RICH = {MIME, "text/html"}
PICTURES = ("image/", "application/pdf", "application/javascript", "application/vnd.jupyter.widget")
NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+−]?\d+)?")
_ALONG = re.compile(r'(panel \d+), ([^"]*)(?:".*")?, (?:limits of )?([xy])(?: \([^"]*\))?')  # a mark's line
UNSEEN = 1e-4  # of what a list of plotted numbers spans, by its axis: far less than a pixel
PRINTED = 1e-5  # of a plotted number: it is told in six digits


@dataclass(frozen=True)
class Tolerance:
    """By how much a number may move: absolute + relative × its size, both >= 0."""

    absolute: float = 0.0
    relative: float = 0.0

    @classmethod
    def read(cls, given: Any) -> "Tolerance":
        """A cell's `tolerance`: an absolute one, or {absolute: …, relative: …}. ValueError: anything else."""
        fields = given if isinstance(given, Mapping) else {"absolute": given}
        numbers = all(
            isinstance(v, int | float) and not isinstance(v, bool) and v >= 0 for v in fields.values()
        )
        if not numbers or not set(fields) <= {"absolute", "relative"}:
            raise ValueError(
                f"tolerance: given {given!r}, allowed a number >= 0, or such numbers as absolute and relative"
            )
        return cls(**fields)

    def of(self, value: float) -> float:
        """What this value may move by: what is not finite, by nothing."""
        return self.absolute + self.relative * abs(value) if np.isfinite(value) else 0.0


EXACT = Tolerance()


def differences(
    reference: Sequence[Mapping], found: Sequence[Mapping], tolerance: Tolerance = EXACT
) -> list[str]:
    """What a cell shows now and did not in its reference, a line each; none if they agree.

    reference, found: outputs of a cell as nbformat has them. Streams are compared by name, errors by what
    they say, and displays in their order, in plain text only where both have neither HTML nor plotted data.
    """
    lines: list[str] = []
    for name in dict.fromkeys([*_printed(reference), *_printed(found)]):
        before, after = (_printed(outputs).get(name, "") for outputs in (reference, found))
        lines += _texts(name, before, after, tolerance)
    shown, now = ([o for o in outputs if "data" in o] for outputs in (reference, found))
    if len(shown) != len(now):
        lines.append(f"displays: {len(shown)} -> {len(now)}")
    for number, (old, new) in enumerate(zip(shown, now, strict=False), start=1):
        lines += _displays(_name(new, number), _plain(old["data"]), _plain(new["data"]), tolerance)
    return lines


def comparable(output: Any) -> Any:
    """An output of a notebook (nbformat's) with nothing but what is compared, glued or not.

    Without pictures, and without plain text where there is HTML or plotted data.
    """
    if "data" in output:
        data = {kind.removeprefix(PREFIX): value for kind, value in output.data.items()}
        output.data = {kind: value for kind, value in data.items() if _counts(kind, bool(RICH & set(data)))}
        output.metadata = {}
    return output


def _counts(kind: str, rich: bool) -> bool:
    return not kind.startswith(PICTURES) and not (rich and kind == "text/plain")


def _printed(outputs: Sequence[Mapping]) -> dict[str, str]:
    """{stream, or "error": its text} of outputs."""
    texts: dict[str, str] = {}
    for output in outputs:
        if "text" in output:
            texts[output["name"]] = texts.get(output["name"], "") + _joined(output["text"])
        elif "evalue" in output:
            texts["error"] = f"{output['ename']}: {output['evalue']}"
    return texts


def _name(output: Mapping, number: int) -> str:
    glued = glued_name(output)
    return f"display {number} ({glued})" if glued else f"display {number}"


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Forms of a display, glued or not, without pictures."""
    forms = {kind.removeprefix(PREFIX): _joined(value) for kind, value in data.items()}
    return {kind: value for kind, value in forms.items() if _counts(kind, False)}


def _joined(text: Any) -> Any:
    return "".join(text) if isinstance(text, list) and all(isinstance(t, str) for t in text) else text


def _displays(where: str, old: Mapping, new: Mapping, tolerance: Tolerance) -> Iterator[str]:
    rich = bool(RICH & set(old) & set(new))  # then plain text says the same again, cut to a terminal's width
    for kind in old:
        if kind not in new:
            yield f"{where}: no {kind} any more"
        elif _counts(kind, rich):
            how = {MIME: _figures, "text/html": _pages}.get(kind, _texts)
            yield from how(where, old[kind], new[kind], tolerance)


# --- text --------------------------------------------------------------------------------------


def _texts(where: str, old: Any, new: Any, tolerance: Tolerance) -> Iterator[str]:
    """Line by line: the words the same, the numbers within the tolerance; width of blanks is no matter."""
    pairs = zip_longest(
        *([" ".join(t.split()) for t in str(text).strip().split("\n")] for text in (old, new))
    )
    for number, (before, after) in enumerate(pairs, start=1):
        at = f"{where}, line {number}"
        if before is None or after is None or NUMBER.split(before) != NUMBER.split(after):
            yield f"{at}: {before!r} -> {after!r}"
        else:
            for a, b in zip(NUMBER.finditer(before), NUMBER.finditer(after), strict=True):
                if moved := _moved(a, b, tolerance):
                    yield f"{at}: {moved}" + (f", in {after!r}" if after != b.group() else "")


def _moved(a: re.Match, b: re.Match, tolerance: Tolerance) -> str:
    """By how much a printed number moved, if by more than it may; else ""."""
    old, new = (Decimal(re.sub("[,+]", "", m.group().replace("−", "-"))) for m in (a, b))
    rounding = max(_unit(a, old), _unit(b, new)) if tolerance != EXACT else 0
    allowed = Decimal(tolerance.of(float(old))) + rounding
    return "" if abs(new - old) <= allowed else _told(a.group(), b.group(), new - old, allowed)


def _unit(printed: re.Match, value: Decimal) -> Decimal:
    """One of the last digit of a rounded number; a count is not rounded."""
    exponent = int(value.as_tuple().exponent)
    percent = printed.string[printed.end() :].lstrip("\xa0 ").startswith("%")
    return Decimal(1).scaleb(exponent) if exponent or percent else Decimal(0)


def _told(old: Any, new: Any, by: Any, allowed: Any) -> str:
    return f"{old} -> {new}, moved by {float(by):+.4g} (allowed: {float(allowed):.4g})"


# --- HTML --------------------------------------------------------------------------------------


class _Page(HTMLParser):
    """The tables of a piece of HTML as rows of (is a heading, text), and the text outside of them."""

    def __init__(self, html: str):
        super().__init__()
        self.tables: list[list[list[tuple[bool, str]]]] = []
        self.text = ""
        self._hidden = self._in_table = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._hidden = self._hidden or tag in ("style", "script")
        if tag == "table":
            self._in_table = True
            self.tables.append([])
        elif tag == "tr" and self._in_table:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self._in_table and self.tables[-1]:
            self.tables[-1][-1].append((tag == "th", ""))

    def handle_endtag(self, tag):
        self._hidden = self._hidden and tag not in ("style", "script")
        self._in_table = self._in_table and tag != "table"

    def handle_data(self, data):
        if self._hidden:
            return
        if self._in_table and self.tables[-1] and self.tables[-1][-1]:
            heading, text = self.tables[-1][-1].pop()
            self.tables[-1][-1].append((heading, text + data))
        elif not self._in_table:
            self.text += data


def _pages(where: str, old: str, new: str, tolerance: Tolerance) -> Iterator[str]:
    before, after = _Page(old), _Page(new)
    yield from _texts(f"{where}, text", before.text, after.text, tolerance)
    if len(before.tables) != len(after.tables):
        yield f"{where}: {len(before.tables)} -> {len(after.tables)} tables"
    for tables in zip(before.tables, after.tables, strict=False):
        yield from _tables(where, *tables, tolerance)


def _tables(where: str, old: list, new: list, tolerance: Tolerance) -> Iterator[str]:
    shapes = [[len(row) for row in table] for table in (old, new)]
    if shapes[0] != shapes[1]:
        widths = [max(shape, default=0) for shape in shapes]
        yield f"{where}: a table of {len(old)} × {widths[0]} cells -> {len(new)} × {widths[1]}"
        return
    columns = [text.strip() for _, text in old[0]] if old else []
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        headings = " ".join(text.strip() for heading, text in before if heading) or f"{number}"
        for column, ((_, a), (_, b)) in enumerate(zip(before, after, strict=True)):
            # spanned cells are left out of a row, so that columns are counted from its end
            name = columns[column - len(before)] if len(before) <= len(columns) else f"{column}"
            at = f"{where}, row {headings!r}, column {name!r}"
            yield from (line.replace(", line 1:", ":") for line in _texts(at, a, b, tolerance))


# --- figures -----------------------------------------------------------------------------------


def _figures(where: str, old: str, new: str, tolerance: Tolerance) -> Iterator[str]:
    """The lines that `plotted` writes: the same marks, each number where it was, to the eye."""
    before, after = (dict(line.partition(": ")[::2] for line in t.splitlines()) for t in (old, new))
    for mark in dict.fromkeys([*before, *after]):
        numbers = before.get(mark, ""), after.get(mark, "")
        yield from _mark(f"{where}, {mark}", *numbers, tolerance, *_axis(mark, before))


def _axis(mark: str, lines: Mapping[str, str]) -> tuple[bool, str]:
    """Whether a mark lies along a logarithmic axis, and the ends of the axis if the mark spans none of it."""
    if not (along := _ALONG.fullmatch(mark)):
        return False, ""
    panel, kind, axis = along.groups()
    scales = lines.get(f"{panel}, frame, scales", "").split()
    ends = lines.get(f"{panel}, frame, limits of {axis}", "") if kind.startswith("text") else ""
    return len(scales) == 2 and scales["xy".index(axis)] == '"log"', ends


def _mark(
    where: str, before: str, after: str, tolerance: Tolerance, logarithmic: bool, ends: str
) -> Iterator[str]:
    try:
        a, b = (np.array(text.split(), dtype=float) for text in (before, after))
    except ValueError:  # its texts
        yield from (line.replace(", line 1:", ":") for line in _texts(where, before, after, tolerance))
        return
    if len(a) != len(b):
        yield f"{where}: {len(a)} -> {len(b)} numbers"
        return
    for i, (x, y, unseen) in enumerate(zip(a, b, _unseen(a, logarithmic, ends), strict=True)):
        allowed = max(tolerance.of(x), unseen)
        if not (x == y or abs(x - y) <= allowed or (np.isnan(x) and np.isnan(y))):
            yield f"{where}[{i}]: {_told(f'{x:g}', f'{y:g}', y - x, allowed)}"


def _unseen(plotted: np.ndarray, logarithmic: bool, ends: str) -> np.ndarray:
    """By how much each of these numbers may move before an eye could tell; a share of it along a log axis.

    ends: of the axis, if its length counts and not what the numbers span of it.
    """
    finite = np.where(np.isfinite(plotted), plotted, 0)
    spanned = np.array(ends.split(), dtype=float) if ends else plotted[np.isfinite(plotted)]
    heights = np.log(spanned[spanned > 0]) if logarithmic else spanned
    span = UNSEEN * (np.ptp(heights) if len(heights) else 0.0)
    if logarithmic:
        return np.abs(finite) * max(span, PRINTED)
    return np.full(len(plotted), max(span, PRINTED * np.abs(finite).max(initial=0.0)))
