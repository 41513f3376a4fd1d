"""What the tests try, and which lines of the code they run: `python benchmarks/promises.py`.

Runs all tests once, as `make test-full` does (`--fast`: as `make test`; or only the files that are named),
and writes results/promises/ (promises.json, manifest.json). Takes as long as the tests, and a little more,
as lines are counted. Ends with the status of the tests. With --junit, and --coverage, it reads what such a
run left and runs nothing.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import script

from splithistory.pages.promises import REPORT, percent
from splithistory.study.store import provenance, whole_folder, write_manifest

PLACE = "promises"
ROOT = Path(__file__).resolve().parents[1]
FAST = ("-m", "not slow")
JUNIT = ("-o", "junit_family=xunit1")  # the one that has files and properties


def options(processes: str | None = None) -> list[str]:
    """How `make test-full` calls pytest, from the Makefile; processes: in place of its `-n auto`."""
    (line,) = re.findall(r"^PYTEST = .* -m pytest (.*)$", (ROOT / "Makefile").read_text("utf8"), flags=re.M)
    words = shlex.split(line)
    if processes is not None:
        words[words.index("-n") + 1] = processes
    return words


def run_tests(arguments: Iterable[str], folder: Path) -> int:
    """Run pytest under coverage, in all its processes; leaves junit.xml and coverage.json in a folder."""
    # one thread a test process, as in the Makefile; whoever measures this process does not measure those
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {"OMP_NUM_THREADS": "1", "COVERAGE_FILE": str(folder / "coverage")}
    coverage = [sys.executable, "-m", "coverage"]
    junit = [*JUNIT, f"--junitxml={folder / 'junit.xml'}"]
    tests = [*coverage, "run", "-m", "pytest", *arguments, *junit]
    status = subprocess.run(tests, cwd=ROOT, env=environment).returncode
    for words in (["combine", "-q"], ["json", "-q", "-o", str(folder / "coverage.json")]):
        subprocess.run([*coverage, *words], cwd=ROOT, env=environment, check=status in (0, 1))
    return status


def outcome(case: ET.Element) -> str:
    """What became of a test: passed, failed, error or skipped."""
    found = [tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None]
    return {"failure": "failed"}.get(found[0], found[0]) if found else "passed"


def collected(junit: Path, covered: Path | None = None) -> dict:
    """What a run tried, from its JUnit file and the JSON of coverage.

    outcomes {outcome: tests}; cells: of chapters, compared with their references; not_passed: names of tests
    that failed; tried {file: {kind: count}} of tests that passed; lines {file of the code: (ran, all)}.
    """
    cases = [(case, outcome(case)) for case in ET.parse(junit).iter("testcase")]
    tried: dict[str, Counter] = {}
    for case, what in cases:
        for found in case.iter("property") if what == "passed" else ():
            tried.setdefault(case.get("file", ""), Counter())[found.get("name")] += int(found.get("value", 0))
    names = [f"{case.get('file')}::{case.get('name')}" for case, what in cases if what in ("failed", "error")]
    return {
        "outcomes": dict(Counter(what for _, what in cases)),
        "cells": sum(case.get("file", "").endswith(".ipynb") for case, what in cases if what == "passed"),
        "not_passed": sorted(set(names)),
        "tried": {file: dict(sorted(kinds.items())) for file, kinds in sorted(tried.items())},
        "lines": lines(json.loads(covered.read_text("utf8"))) if covered else {},
    }


def lines(found: dict) -> dict[str, tuple[int, int]]:
    """{file in src/splithistory: (lines that ran, lines)} of the JSON of coverage."""
    prefix = "src/splithistory/"
    of = {name.removeprefix(prefix): each["summary"] for name, each in found["files"].items()}
    return {name: (s["covered_lines"], s["num_statements"]) for name, s in sorted(of.items())}


def covers(fast: bool, paths: Iterable[str]) -> str:
    """Which tests a run is of, in words."""
    what = "the fast tests" if fast else "all tests"
    return f"{what} of {', '.join(paths)}" if paths else what


def publish(report: dict, made: dict, output: Path) -> None:
    """Write promises.json and its manifest, whole or not at all."""
    with whole_folder(output) as folder:
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf8")
        write_manifest(folder, made)


def summary(report: dict) -> str:
    """A run in one line, and the name of each test that failed below it."""
    outcomes, ran = report["outcomes"], percent(report)
    line = ", ".join(f"{n} {what}" for what, n in outcomes.items())
    line += "" if ran is None else f"; {ran:.1f} % of the lines of the code ran"
    return "\n".join(
        [f"promises: {report['covers']}: {line}", *(f"FAILED {n}" for n in report["not_passed"])]
    )


def main(argv=None) -> int:
    parser = script.parser(__doc__, PLACE)
    parser.add_argument("paths", nargs="*", help="files of tests (default: all)")
    parser.add_argument("--fast", action="store_true", help="leave out what is marked slow")
    parser.add_argument("--processes", help="in place of one a core: a number, 0 for none but this")
    parser.add_argument("--junit", type=Path, help="read this file of a run, with junit_family=xunit1")
    parser.add_argument("--coverage", type=Path, help="with --junit: what `coverage json` wrote")
    args = parser.parse_args(argv)
    place = script.output(args, PLACE)
    made, status = provenance(), 0
    with TemporaryDirectory() as folder:
        junit, covered = args.junit, args.coverage
        if junit is None:
            junit, covered = Path(folder) / "junit.xml", Path(folder) / "coverage.json"
            how = [*options(args.processes), *(FAST if args.fast else ()), *args.paths]
            status = run_tests(how, Path(folder))
            if status not in (0, 1):  # it did not come to an end
                return status
        found = collected(junit, covered)
    report = {
        "covers": covers(args.fast, args.paths),
        "whole": not args.paths,
        "date": datetime.now(UTC).date().isoformat(),
        **found,
    }
    words = ["--fast"] * args.fast + args.paths
    publish(report, {"command": " ".join(["python benchmarks/promises.py", *words]), **made}, place)
    print(summary(report))
    print(f"written: {place} (revision {made['revision']})")
    return status or bool(report["not_passed"])


if __name__ == "__main__":
    script.run(main)
