"""The page of promises: what tests tried is counted, once and only if they passed; nothing is made up."""

import json
import re
import sys

import pytest
from conftest import ROOT

from splithistory.pages import promises

sys.path.insert(0, str(ROOT / "benchmarks"))
import promises as script

REPORT = {
    "covers": "all tests",
    "whole": True,
    "not_passed": [],
    "tried": {"tests/a.py": {"odd values": 1500, "disk full": 2}, "tests/b.py": {"odd values": 500}},
    "lines": {"measure.py": [90, 100], "study/store.py": [50, 50], "cli.py": [5, 10], "empty.py": [0, 0]},
}
JUNIT = """<testsuites><testsuite>
<testcase file="tests/a.py" name="test_x[1]">
<properties><property name="odd values" value="3"/></properties></testcase>
<testcase file="tests/a.py" name="test_x[2]">
<properties><property name="odd values" value="4"/></properties></testcase>
<testcase file="tests/a.py" name="test_y"><properties><property name="disk full" value="9"/></properties>
<failure message="no">no</failure></testcase>
<testcase file="tests/a.py" name="test_z"><skipped message="no"/></testcase>
<testcase file="tests/b.ipynb" name="Cell 0"/><testcase file="tests/b.ipynb" name="Cell 1"><error/></testcase>
</testsuite></testsuites>"""
COVERAGE = {
    "files": {
        f"src/splithistory/{name}": {
            "summary": {"covered_lines": ran, "num_statements": n, "excluded_lines": 0}
        }
        for name, ran, n in (("study/store.py", 4, 5), ("cli.py", 1, 2))
    }
}


@pytest.fixture
def left(tmp_path):
    """The files that a run of tests left: JUnit's and those of coverage."""
    (tmp_path / "junit.xml").write_text(JUNIT)
    (tmp_path / "coverage.json").write_text(json.dumps(COVERAGE))
    return tmp_path


def test_only_what_passed_counts_and_what_failed_is_named(left):
    found = script.collected(left / "junit.xml", left / "coverage.json")
    assert found["tried"] == {"tests/a.py": {"odd values": 7}}
    assert found["outcomes"] == {"passed": 3, "failed": 1, "skipped": 1, "error": 1} and found["cells"] == 1
    assert found["not_passed"] == ["tests/a.py::test_y", "tests/b.ipynb::Cell 1"]
    assert found["lines"] == {"cli.py": (1, 2), "study/store.py": (4, 5)}


def test_what_a_run_left_is_published_whole_and_its_failures_are_the_status(left, capsys):
    given = ["--junit", str(left / "junit.xml"), "--coverage", str(left / "coverage.json")]
    assert script.main([*given, "--output", str(left / "out")]) == 1
    said = capsys.readouterr().out
    assert "71.4 % of the lines" in said and "\nFAILED tests/a.py::test_y\n" in said
    report = promises.read(left / "out")
    assert report["covers"] == "all tests" and promises.counts(report) == {"odd values": 7}
    assert report["manifest"]["command"] == "python benchmarks/promises.py"
    (left / "out" / promises.REPORT).write_text("{}")
    with pytest.raises(ValueError, match=r"promises.json is missing or altered"):
        promises.read(left / "out")


def test_tests_are_run_as_make_runs_them():
    makefile = (ROOT / "Makefile").read_text("utf8")
    assert f"-m pytest {' '.join(script.options())}\n" in makefile and f'-m "{script.FAST[1]}"' in makefile
    ours, theirs = script.options("3"), script.options()
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == [("3", "auto")]


@pytest.mark.parametrize(
    ("fast", "paths", "words"),
    [(False, [], "all tests"), (True, [], "the fast tests"), (True, ["a", "b"], "the fast tests of a, b")],
)
def test_a_run_says_which_tests_it_is_of(fast, paths, words):
    assert script.covers(fast, paths) == words


@pytest.mark.slow
def test_a_run_counts_what_tests_try_and_the_lines_that_run(tmp_path):
    output = tmp_path / "out"
    paths = ["tests/study/test_grid.py"]  # workers are killed in it
    assert script.main(["--processes", "0", "--output", str(output), *paths]) == 0
    report = promises.read(output)
    assert report["tried"] == {paths[0]: {"kills at work": 2}} and not report["not_passed"]
    ran, lines = report["lines"]["study/grid.py"]
    assert 0.8 < ran / lines <= 1 and report["lines"]["worlds.py"][0] == 0
    assert promises.percent(report) is None  # of a part of the tests there is no share


def counted() -> dict[str, set[str]]:
    """{kind: files of tests that count it}, as the tests are written."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for subscript in re.findall(r"\btried\[(.*?)\] \+=", path.read_text("utf8")):
            for kind in re.findall(r'"([a-z ]{7,})"', subscript):
                found.setdefault(kind, set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_every_promise_is_counted_in_the_file_it_names_and_every_count_is_a_promise():
    found = counted()
    assert set(found) == {row.kind for row in promises.PROMISES}
    assert len({row.kind for row in promises.PROMISES}) == len(promises.PROMISES)
    for row in promises.PROMISES:
        assert row.file in found[row.kind], row.promise


def test_a_row_sums_over_files_and_says_what_was_not_tried():
    rows = promises.table(REPORT, "input")["tried"].to_list()
    assert rows == [*2 * ["not in this run"], "2,000 values", *2 * ["not in this run"]]
    with pytest.raises(ValueError, match=r"^part: given 'x', allowed input, broken, again$"):
        promises.table(REPORT, "x")


@pytest.mark.parametrize(("n", "words"), [(1, "1 test in"), (2, "2 tests in")])
def test_a_row_says_that_tests_in_its_file_failed(n, words):
    failed = [f"tests/test_hostile.py::test_{i}" for i in range(n)]
    failed.append("tests/test_command_lines_of.py::test_x")
    rows = promises.table(REPORT | {"not_passed": failed}, "input")["tried"].to_list()
    said = f" ({words} this row's file failed, not counted)"
    assert rows[:4] == [f"{tried}{said}" for tried in promises.table(REPORT, "input")["tried"][:4]]
    assert rows[2] == f"2,000 values{said}" and rows[4] == "not in this run"


def test_every_promise_has_its_row_on_the_page():
    page = (ROOT / "book/reference/promises.md").read_text("utf8")
    asked = re.findall(r'promises\.table\(report, "(\w+)"\)', page)
    assert asked == list(dict.fromkeys(row.part for row in promises.PROMISES))
    assert all(len(promises.table(REPORT, part)) <= 12 for part in asked)


def test_lines_are_summed_by_wing_and_together():
    found = promises.coverage(REPORT)
    assert found["ran in tests"].to_dict() == {
        "library": "90.0 %",
        "study": "100.0 %",
        "command line": "50.0 %",
        "together": "90.6 %",
    }
    assert found.loc["together", ["files", "lines"]].to_list() == [4, 160]
    assert promises.percent(REPORT) == pytest.approx(100 * 145 / 160)


def test_files_of_which_little_ran_are_listed_the_least_first():
    assert promises.least_covered(REPORT, 95).index.to_list() == ["cli.py", "measure.py"]
    assert promises.least_covered(REPORT, 50).empty


def test_a_part_of_the_tests_has_no_share_of_lines():
    part = REPORT | {"whole": False}
    assert promises.percent(part) is None and promises.least_covered(part, 100).empty
    assert set(promises.coverage(part)["ran in tests"]) == {"not in this run"}
