"""What the code promises and what its tests tried, from one run of them.

A test counts what it tried, by kind (the fixture `tried` of tests/conftest.py); `benchmarks/promises.py` runs
the tests and publishes the counts of those that passed, and which lines of the code ran.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..study.store import checked_manifest

PROMISED = 92.0  # percent of the lines of the code that run in tests
REPORT = "promises.json"
UNTRIED, RAN = "not in this run", "ran in tests"
_WINGS = {"study": "study", "pages": "pages", "cli.py": "command line", "__main__.py": "command line"}


class Promise(NamedTuple):
    """A row of the page. kind: what its tests count, `unit` for people; file: one that has such tests."""

    part: str
    promise: str
    tested: str
    kind: str
    unit: str
    file: str


PROMISES = (
    Promise(
        "input",
        "What is allowed is answered in numbers.",
        "The functions and methods that are listed in tests/calls.py, each with good arguments.",
        "good calls",
        "functions",
        "tests/test_hostile.py",
    ),
    Promise(
        "input",
        "What is no number is refused in one line.",
        "Text, dates, objects, complex numbers and more, in place of each number or array they take.",
        "disguised values",
        "values",
        "tests/test_hostile.py",
    ),
    Promise(
        "input",
        "An odd number or shape is answered in numbers, never NaN, or refused in one line.",
        "Infinite, empty, huge, tiny and negative values, and shapes that do not fit, in the same places.",
        "odd values",
        "values",
        "tests/test_hostile.py",
    ),
    Promise(
        "input",
        "Anything else is answered or refused in the same way.",
        "Nested lists of whatever a generator makes up, in one of these places drawn by chance.",
        "generated values",
        "values",
        "tests/test_hostile.py",
    ),
    Promise(
        "input",
        "A command line is done, or refused in one printable line with status 2; then nothing is left.",
        "Each option of each command with each of a list of bad values, then lines made up by a generator.",
        "command lines",
        "lines",
        "tests/test_command_lines.py",
    ),
    Promise(
        "broken",
        "Killed while it writes, it leaves the old or the new, whole.",
        "A process is ended at each system call in turn on the files of a save.",
        "kills while writing",
        "kills",
        "tests/study/test_store.py",
    ),
    Promise(
        "broken",
        "A full disk leaves the old or the new, whole, and an error that says where.",
        "Each system call in turn, and all after it, fails for lack of space; files may not grow.",
        "disk full",
        "full disks",
        "tests/study/test_store.py",
    ),
    Promise(
        "broken",
        "An altered, cut or swapped file is found and named, never read.",
        "Bytes of weights and checkpoints changed, manifests broken, folders swapped.",
        "altered files",
        "alterations",
        "tests/study/test_store.py",
    ),
    Promise(
        "broken",
        "Several writers of one place do not disturb each other.",
        "Threads, and two processes, save into one place again and again, and count under one lock.",
        "rival saves",
        "saves",
        "tests/study/test_store.py",
    ),
    Promise(
        "broken",
        "Killed at work, a study or a sweep goes on and ends as it would have.",
        "Processes that train, workers with a job, and a sweep over chapters are killed and go on.",
        "kills at work",
        "kills",
        "tests/study/test_runs.py",
    ),
    Promise(
        "again",
        "The same seed gives the same weights, bit for bit, and another seed does not.",
        "Networks trained twice.",
        "repeated trainings",
        "trainings",
        "tests/test_training.py",
    ),
    Promise(
        "again",
        "A training that goes on from a checkpoint ends with the same bits.",
        "Trainings are stopped, go on, and are compared with those that never stopped.",
        "resumed trainings",
        "trainings",
        "tests/test_training.py",
    ),
    Promise(
        "again",
        "A number, table or figure of the book that changed is caught and named.",
        "Changes planted in formulas, results, tables, figures and pages.",
        "planted changes",
        "changes",
        "tests/pages/test_validation.py",
    ),
)


def read(folder: str | Path) -> dict:
    """The published report, with `manifest`: its command, revision, versions and machine.

    ValueError if a file is missing or altered.
    """
    manifest = checked_manifest(Path(folder))
    return {**json.loads((Path(folder) / REPORT).read_text("utf8")), "manifest": manifest}


def counts(report: Mapping) -> dict[str, int]:
    """How often each kind of thing was tried, over all files."""
    files = report["tried"].values()
    kinds = dict.fromkeys(kind for tried in files for kind in tried)
    return {kind: sum(tried.get(kind, 0) for tried in files) for kind in kinds}


def table(report: Mapping, part: str) -> pd.DataFrame:
    """A row for each promise of a part ("input", "broken", "again"): how often tried, how, in which tests.

    Says so where tests in the file of a row failed.
    """
    rows, tried = [row for row in PROMISES if row.part == part], counts(report)
    if not rows:
        allowed = ", ".join(dict.fromkeys(row.part for row in PROMISES))
        raise ValueError(f"part: given {part!r}, allowed {allowed}")
    found = [f"{tried[row.kind]:,} {row.unit}" if row.kind in tried else UNTRIED for row in rows]
    columns = {
        "tried": [text + _failed(report, row.file) for text, row in zip(found, rows, strict=True)],
        "how it is tested": [row.tested for row in rows],
        "tests": [row.file for row in rows],
    }
    return pd.DataFrame(columns, pd.Index([row.promise for row in rows], name="what we promise"))


def _failed(report: Mapping, file: str) -> str:
    """How many tests of a row's file failed: of these nothing is counted. "" if none did."""
    n = sum(name.startswith(f"{file}::") for name in report["not_passed"])
    return f" ({n} {'test' if n == 1 else 'tests'} in this row's file failed, not counted)" if n else ""


def percent(report: Mapping) -> float | None:
    """Percent of the lines of the code that ran; None if not all tests did, or nobody looked."""
    if not report["whole"] or not report["lines"]:
        return None
    ran, lines = (sum(column) for column in zip(*report["lines"].values(), strict=True))
    return 100 * ran / lines


def coverage(report: Mapping) -> pd.DataFrame:
    """Files, lines of code and percent of them that ran, a row a wing of the house, and all together."""
    rows = [
        {"part": _WINGS.get(name.split("/")[0], "library"), "files": 1, "ran": ran, "lines": lines}
        for name, (ran, lines) in report["lines"].items()
    ]
    found = pd.DataFrame(rows, columns=["part", "files", "ran", "lines"]).groupby("part", sort=False).sum()
    found.loc["together"] = found.sum()
    known = percent(report) is not None
    share = [_share(*row) if known else UNTRIED for row in zip(found["ran"], found["lines"], strict=True)]
    return found[["files", "lines"]].assign(**{RAN: share}).rename_axis(None)


def least_covered(report: Mapping, below: float) -> pd.DataFrame:
    """Files of which less than so many percent of the lines ran, least first; none of a part of the tests."""
    rows = {} if percent(report) is None else report["lines"]
    low = sorted((ran / lines, name) for name, (ran, lines) in rows.items() if 100 * ran < below * lines)
    names = [name for _, name in low]
    columns = {"lines": [rows[name][1] for name in names], RAN: [_share(*rows[name]) for name in names]}
    return pd.DataFrame(columns, pd.Index(names, name="file"))


def _share(ran: int, lines: int) -> str:
    return f"{100 * ran / lines:.1f} %"
