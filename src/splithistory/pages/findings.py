"""What a page says of its numbers: findings asserted, numbers that prose quotes, tables of intervals.

Takes results and intervals, computes no statistic of its own.
"""

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from ..statistics import Interval, detectable


def found(statement: str, holds: bool | None, *, asserted: bool) -> None:
    """Say whether a finding holds (None: too small to tell); where it is asserted, it must."""
    print(f"{statement}: {'too small to tell' if holds is None else 'yes' if holds else 'no'}")
    if asserted and not holds:
        raise AssertionError(f"it no longer shows that {statement}")


def quote(**texts: str) -> None:
    """Glue numbers, already rounded to text, for the prose to quote (`{glue:text}`)."""
    from myst_nb import glue

    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(
                f"{name}: given {text!r}, allowed is text (round it: the prose shows it as it is)"
            )
        # typographic minus, but no hyphen made one; and no line break inside a number
        text = re.sub(r"(?<!\w)-(?=[\d.])", "−", text)
        glue(name, text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%"), display=False)


def plus_minus(intervals: Iterable[Interval], digits: int = 3) -> str:
    """(mean, half width) pairs as text, so many digits after the point."""
    return ", ".join(f"{mean:.{digits}f} ± {half:.{digits}f}" for mean, half in intervals)


def one(interval: Interval, digits: int = 3) -> str:
    """`plus_minus` of one (mean, half width)."""
    return plus_minus([interval], digits)


def between(value: float, ends: tuple[float, float], digits: int = 3) -> str:
    """A value and the ends of its interval as text."""
    low, high = ends
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def span(values, digits: int = 3) -> str:
    """Least to greatest of values as text."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def word(interval: Interval, below: str, unclear: str, above: str) -> str:
    """Which of three words an interval (mean, half width) allows: all of it below 0, neither, or above."""
    mean, half = interval
    return above if mean > half else below if mean < -half else unclear


def could_see(intervals: Iterable[Interval], n: int) -> str:
    """What trends over n seeds, (mean, half width) each, could have shown, as a clause of a sentence."""
    each = ", ".join(f"{detectable(half, n):.3f}" for _, half in intervals)
    return f"true changes of {each} would be told from none in 8 studies of 10"


def table(rows: Mapping, *, digits: int = 3, index: str | list[str] | None = None) -> pd.DataFrame:
    """{row: {column: (mean, half width)}} as a table of texts `mean ± half`.

    A cell may be a text already; a missing one is empty.
    """
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    shown = pd.DataFrame(cells, pd.Index(list(rows)), pd.Index(columns), dtype=object)
    shown = shown.map(lambda cell: one(cell, digits) if isinstance(cell, tuple) else cell)
    return shown.rename_axis(index) if index else shown
