"""What a page says of its numbers: findings asserted, numbers that prose quotes, tables of intervals.

Takes results and intervals, computes no statistic of its own.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..information import shown
from ..statistics import Interval, detectable, told
from ..study.store import checked_manifest
from .gluing import glued_name, glued_value, hand_over
from .tables import typeset

_SAID = {None: "too small to tell", True: "yes", False: "no"}
_VERDICT = re.compile(rf"^(.*): ({'|'.join(_SAID.values())})$", flags=re.M)
_SINGLE = re.compile(r"[+−-]?\d+(,\d{3})*(\.\d+)?(e[+−-]?\d+)?(\u00a0%)?")  # a text that is one number


def found(statement: str, holds: bool | None, *, asserted: bool) -> None:
    """Say whether a finding holds (None: too small to tell); where it is asserted, it must."""
    print(f"{statement}: {_SAID[None if holds is None else bool(holds)]}")
    if asserted and not holds:
        raise AssertionError(f"it no longer shows that {statement}")


def quote(**texts: str) -> None:
    """Glue numbers, already rounded to text, for the prose to quote (`{glue:text}`).

    In Jupyter each stands beneath the cell by its name.
    """
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(
                f"{name}: given {text!r}, allowed is text (round it: the prose shows it as it is)"
            )
        text = typeset(text)
        hand_over(name, text, {"text/html": f"<code>{name}</code> = {html.escape(text)}"})


def record(**numbers: float) -> None:
    """Keep numbers with the executed chapter, for a sweep to put into its table: six digits, twelve places.

    A name that the chapter quotes is taken: choose another.
    """
    for name, number in numbers.items():
        if np.ndim(number) or np.asarray(number).dtype.kind not in "fiu":
            raise ValueError(f"{name}: given {shown(number)}, allowed is a number")
        hand_over(name, round(float(f"{number:.6g}"), 12), {})


def recorded(notebook) -> list[dict]:
    """What an executed chapter recorded, in its order, a row {kind, name, value, text} each.

    kind: "number" (`record`), "text" (`quote`; its value is the number that the text is, nan if it is none)
    or "finding" (`found`; 1 if it holds, 0 if not, nan if too small to tell).
    """
    rows = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and "findings.found(" in cell.source:
                rows += [_verdict(*line) for line in _VERDICT.findall(output.text)]
            elif (name := glued_name(output)) and (value := glued_value(output)) is not None:
                rows.append(_row(name, value))
    return rows


def _row(name: str, glued: str | float) -> dict:
    if isinstance(glued, float):
        return {"kind": "number", "name": name, "value": glued, "text": ""}
    single = _SINGLE.fullmatch(glued)
    value = float(re.sub(r"[,\u00a0%]", "", glued).replace("−", "-")) if single else np.nan
    return {"kind": "text", "name": name, "value": value, "text": glued}


def _verdict(statement: str, said: str) -> dict:
    value = {"yes": 1.0, "no": 0.0}.get(said, np.nan)
    return {"kind": "finding", "name": statement, "value": value, "text": said}


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


def percent(share: float, ends: Sequence[float] | None = None, digits: int = 0) -> str:
    """A share in percent as text, with the ends of its interval if given."""
    interval = (
        "" if ends is None else " ({:.{d}f} to {:.{d}f})".format(*(100 * end for end in ends), d=digits)
    )
    return f"{100 * share:.{digits}f} %{interval}"


def span(values, digits: int = 3) -> str:
    """Least to greatest of values as text."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def word(interval: Interval, below: str, unclear: str, above: str) -> str:
    """Which of three words an interval (mean, half width) allows: all of it below 0, neither, or above."""
    return (unclear, above, below)[told(interval)]


def could_see(intervals: Iterable[Interval], n: int, unit: str = "") -> str:
    """What trends over n seeds, (mean, half width) each, could have shown, as a clause of a sentence."""
    each = ", ".join(f"{detectable(half, n):.2g}" for _, half in intervals)
    return f"true changes of {f'{each} {unit}'.strip()} would be found clear with probability 0.8"


def benchmarks(folder: Path) -> list[dict]:
    """The benchmark's reports, a machine each; ValueError if they are not as `make bench` left them."""
    files = checked_manifest(folder)["files"]
    return [json.loads((Path(folder) / name).read_text("utf8")) for name in sorted(files)]


def benchmarked(folder: Path, name: str) -> dict[str, np.ndarray]:
    """{device: sizes and seconds (2, n)} of what `benchmarks` hold by a name, medians of rounds."""
    of = {report["device"]: report[name] for report in benchmarks(folder) if report.get(name)}
    return {device: np.array([(int(n), np.median(s)) for n, s in of[device].items()]).T for device in of}


def maker(device: str) -> str:
    """Who made a machine, from the name of its benchmark: "AMD" for cpu-2-amd-epyc."""
    word = next((w for w in device.split("-") if w != "cpu" and not w.isdigit()), device)
    return word.upper() if len(word) < 4 else word.capitalize()


def table(rows: Mapping, *, digits: int = 3, index: str | list[str] | None = None) -> pd.DataFrame:
    """{row: {column: cell}} as a table of texts: (mean, half width) as `mean ± half`, others as `between`.

    Another cell, such as text, stays as it is; a missing one is empty.
    """
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    shown = pd.DataFrame(cells, pd.Index(list(rows)), pd.Index(columns), dtype=object)
    shown = shown.map(lambda cell: _cell(cell, digits))
    return shown.rename_axis(index) if index and rows else shown


def _cell(cell, digits: int):
    if isinstance(cell, tuple):
        mean, of = cell
        return between(mean, of, digits) if isinstance(of, tuple) else one(cell, digits)
    return cell


def laid_out(cells: Mapping[tuple, Any], index: list[str], *, digits: int = 3) -> pd.DataFrame:
    """`table` of `{(*row, column): cell}`, such as one for each group; index: names of the parts of a row."""
    rows: dict[tuple, dict] = {}
    for (*row, column), cell in cells.items():
        rows.setdefault(tuple(row), {})[column] = cell
    return table(rows, digits=digits, index=index)


def by_arm(cells: Mapping, digits: int = 3) -> str:
    """{arm: what a cell of `table` may be} as one text, each with the name of its arm in its brackets."""
    texts = {arm: _cell(cell, digits) for arm, cell in cells.items()}
    opened = {arm: f"{text[:-1]}; " if text.endswith(")") else f"{text} (" for arm, text in texts.items()}
    return "; ".join(f"{text}{arm} arm)" for arm, text in opened.items())


def with_errors(rows: pd.DataFrame, *columns: str, digits: int = 3) -> pd.DataFrame:
    """Columns x of a table, each with its error x_error, as a `table`."""
    cells = {key: {c: (row[c], row[f"{c}_error"]) for c in columns} for key, row in rows.iterrows()}
    return table(cells, digits=digits, index=list(rows.index.names))
