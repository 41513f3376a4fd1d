"""Sweeps: a bad grid touches nothing, a failure stops nobody else, and a killed one ends in the same table"""

import os
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_profile

from splithistory import cli, study
from splithistory.pages import sweeps
from splithistory.pages.chapters import BookError
from splithistory.study import store
from splithistory.study.store import checked_manifest

CHAPTER = """---
jupytext: {{text_representation: {{extension: .md, format_name: myst}}}}
kernelspec: {{display_name: Python 3, language: python, name: python3}}
---

# Swept

```{{code-cell}} ipython3
:tags: [parameters]

n = 1  # an integer
rate = 0.5
label = "a"
```

```{{code-cell}} ipython3
from splithistory.pages import findings

assert (n, rate) != {fails}, "by design"
findings.record(share=rate / n, count=n)
findings.quote(half=f"-{{rate / 2:.2f}}", many="1,500", both=f"{{n}} to 7")
findings.found("the rate is high", rate > 0.5, asserted=False)
findings.found("nobody knows", None, asserted=False)
```
"""


@pytest.fixture
def book(small_book):
    """A book with a chapter to sweep, which fails at one point."""
    (small_book / "book/part/second.md").write_text(CHAPTER.format(fails=(2, 0.5)))
    return small_book


@pytest.fixture
def executed(monkeypatch):
    """The points that are executed, without a kernel; those of which n is 3 fail."""
    points = []

    def run(chapter, values, root):
        points.append(values)
        if values["n"] == 3:
            raise BookError(f"{chapter}: code cell 2: ValueError: three\nis too many")
        glued = {"application/papermill.record/text/plain": f"{values['n'] / 7}"}
        scrap = {"scrapbook": {"name": "share", "mime_prefix": "application/papermill.record/"}}
        output = nbformat.v4.new_output("display_data", data=glued, metadata=scrap)
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])

    monkeypatch.setattr(sweeps, "run", run)
    return points


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({}, "grid: given no parameter, allowed n, rate, label, with values"),
        ({"m": [1]}, "m: not a parameter of book/part/second"),
        ({"n": []}, "n: given no value, allowed one or more"),
        ({"n": ["1", "x"]}, "n: given x, allowed an integer"),
        ({"n": ["1", 2, 1]}, "n: given 1 twice, allowed are different values"),
        ({"n": range(1, 102), "rate": range(100)}, r"grid: given 10100 executions, allowed 10000 \(--yes"),
    ],
)
def test_a_bad_grid_is_one_line_and_touches_nothing(grid, message, book, tmp_path):
    with pytest.raises(ValueError, match=f"^{message}"):
        sweeps.sweep(sweeps.executions("second", grid, book), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_parameter_that_is_called_as_a_column_is_refused(book):
    path = book / "book/part/second.md"
    path.write_text(path.read_text().replace("label =", "text ="))
    with pytest.raises(ValueError, match=r"^grid: given the parameter text, which is a column"):
        sweeps.executions("second", {"text": ["b"]}, book)


def test_the_table_has_every_value_in_the_order_of_the_grid_and_failures_their_reason(
    book, tmp_path, executed
):
    found = sweeps.sweep(
        sweeps.executions("second", {"n": ["3", "2"], "rate": [1, 0.25]}, book), tmp_path / "out"
    )
    assert [list(point.values()) for point in executed] == [[3, 1.0], [3, 0.25], [2, 1.0], [2, 0.25]]
    assert found.values.to_dict("list") == {
        "n": [2, 2],
        "rate": [1.0, 0.25],
        "kind": ["number"] * 2,
        "name": ["share"] * 2,
        "value": [2 / 7] * 2,
        "text": [""] * 2,
    }
    reason = "book/part/second: code cell 2: ValueError: three is too many"
    assert found.failures.to_dict("list") == {"n": [3, 3], "rate": [1.0, 0.25], "reason": [reason] * 2}
    for name, table in found._asdict().items():
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"out/table/{name}.parquet"), table)
    assert set(checked_manifest(tmp_path / "out/table")["files"]) == {"values.parquet", "failures.parquet"}


def test_numbers_are_read_as_a_row_an_execution(book, tmp_path, executed):
    line, grid = "splithistory sweep second -p n=2,1", {"n": [2, 1], "label": ["b"]}
    sweeps.sweep(sweeps.executions("second", grid, book), tmp_path / "out", command=line)
    read = sweeps.numbers(tmp_path / "out/table")
    assert read.to_dict("list") == {"n": [1, 2], "label": ["b", "b"], "share": [1 / 7, 2 / 7]}
    assert read.attrs["command"] == line
    (tmp_path / "out/table/values.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"values.parquet is missing or altered"):
        sweeps.numbers(tmp_path / "out/table")


def test_only_what_is_missing_or_failed_is_done_again(book, tmp_path, executed):
    sweeps.sweep(sweeps.executions("second", {"n": [1, 3]}, book), tmp_path / "out")
    before = len(executed)
    again = sweeps.sweep(sweeps.executions("second", {"n": [1, 3, 4]}, book), tmp_path / "out")
    assert [point["n"] for point in executed[before:]] == [3, 4] and again.values["n"].tolist() == [1, 4]
    path = book / "book/part/second.md"
    path.write_text(path.read_text() + "\nMore.\n")  # another chapter, as far as anybody can tell
    sweeps.sweep(sweeps.executions("second", {"n": [1]}, book), tmp_path / "out")
    assert executed[-1] == {"n": 1}


def test_a_table_says_who_made_its_points_and_not_who_collects_them(book, tmp_path, executed, monkeypatch):
    def table(revision, n):
        made = {"versions": {"numpy": "2.4", "torch": revision}, "machine": "a", "revision": revision}
        monkeypatch.setattr(store, "provenance", lambda: made)
        monkeypatch.setattr(sweeps, "provenance", lambda: made)
        sweeps.sweep(sweeps.executions("second", {"n": n}, book), tmp_path / "out")
        return checked_manifest(tmp_path / "out/table")

    assert table("old", [1])["revision"] == table("new", [1])["revision"] == "old"
    both = table("new", [1, 2])
    assert (both["revision"], both["machine"]) == ("new, old", "a")
    assert both["versions"] == {"numpy": "2.4", "torch": "new, old"}
    assert table("third", [1, 3])["revision"] == "old, third"  # that 3 fails is found out anew
    assert table("fourth", [3])["revision"] == "fourth"


def raising(n, error):
    """What executes a chapter, but for a point at which it raises an error."""
    run = sweeps.run

    def failing(chapter, values, root):
        if values["n"] == n:
            raise error
        return run(chapter, values, root)

    return failing


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "x"), MemoryError(), ValueError()])
def test_a_point_that_fails_for_whatever_reason_does_not_stop_the_others(
    error, book, tmp_path, executed, monkeypatch
):
    monkeypatch.setattr(sweeps, "run", raising(1, error))
    found = sweeps.sweep(sweeps.executions("second", {"n": [1, 2]}, book), tmp_path / "out")
    assert found.values["n"].tolist() == [2]
    assert found.failures["reason"].tolist() == [str(error) or type(error).__name__]


def test_a_sweep_of_no_points_is_refused_and_touches_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"^points: none given, allowed is one or more$"):
        sweeps.sweep([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_that_cannot_be_touch_nothing(book, tmp_path):
    points = sweeps.executions("second", {"n": [1]}, book)
    for where in ({"workers": -1}, {"workers": 1, "scheduler": "tcp://here:8786"}, {"scheduler": "here"}):
        with pytest.raises(ValueError, match=r"^(workers|scheduler): given"):
            sweeps.sweep(points, tmp_path / "out", **where)
    assert not (tmp_path / "out").exists()


def test_an_interrupted_sweep_leaves_no_table_and_keeps_what_is_done(book, tmp_path, executed, monkeypatch):
    run = sweeps.run
    monkeypatch.setattr(sweeps, "run", raising(2, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep(sweeps.executions("second", {"n": [1, 2]}, book), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["points"]
    monkeypatch.setattr(sweeps, "run", run)
    sweeps.sweep(sweeps.executions("second", {"n": [1, 2]}, book), tmp_path / "out")
    assert [point["n"] for point in executed] == [1, 2]


def test_a_chapter_records_numbers_texts_and_findings(book, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(book)
    assert cli.main(["sweep", "second", "-p", "n=3,2", "-p", "rate=0.5", "-o", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out.endswith("values.parquet\n")
    assert err.startswith(
        "splithistory: error: 1 point of the grid failed: n=2 rate=0.5: book/part/second: code cell"
    )
    assert err.endswith("AssertionError: by design\n") and err.count("\n") == 1
    table = pd.read_parquet(tmp_path / "out/table/values.parquet").drop(columns=["n", "rate"])
    assert table.fillna(-1.0).to_numpy().tolist() == [
        ["number", "share", 0.166667, ""],
        ["number", "count", 3.0, ""],
        ["text", "half", -0.25, "−0.25"],
        ["text", "many", 1500.0, "1,500"],
        ["text", "both", -1.0, "3 to 7"],
        ["finding", "the rate is high", 0.0, "no"],
        ["finding", "nobody knows", -1.0, "too small to tell"],
    ]
    command = checked_manifest(tmp_path / "out/table")["command"]
    assert command == "splithistory sweep part/second -p n=3,2 -p rate=0.5"


# --- the study ---------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    """The smallest study under the name of smoke, without results of its own."""
    monkeypatch.setitem(study.PROFILES, "smoke", tiny_profile(2, 1, n_histories=200, repeats=2, set_size=50))


def test_the_study_is_swept_over_its_settings(tiny, tmp_path):
    grid = {"pretraining_rate": ["1e-3", "1e30"], "reinforcement_rate": ["1e-3"]}  # the second diverges
    points = sweeps.trainings("smoke", grid, tmp_path / "store")
    found = sweeps.sweep(points, tmp_path / "out", quiet=True)
    assert found.failures["pretraining_rate"].tolist() == [1e30]
    assert "try a lower rate" in found.failures["reason"][0]
    rows = found.values[found.values["name"] == "op"]
    assert set(rows["pretraining_rate"]) == {1e-3} and set(rows["reinforcement_rate"]) == {1e-3}
    assert rows.groupby("stage").size().to_dict() == {
        "finetuned": 3,
        "generator": 1,
        "pretrained": 1,
        "untrained": 1,
    }
    assert np.isfinite(found.values["value"]).all()


def test_points_wait_for_the_first_that_pretrains_what_they_share(tiny, tmp_path):
    one, other, third = sweeps.trainings(
        "smoke", {"noise": [0.1], "reinforcement_rate": [1e-3, 2e-3, 3e-3]}, tmp_path
    )
    (elsewhere,) = sweeps.trainings("smoke", {"noise": [0.2]}, tmp_path)
    assert one.shares == other.shares == third.shares != elsewhere.shares
    assert len({point.source for point in (one, other, third)}) == 3


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"nose": [1]}, "nose: not a parameter of smoke"),
        ({"modulus": [15]}, "modulus: given 15, allowed is an odd prime"),
        ({"noise": [2.0]}, "noise: given 2.0, allowed"),
        ({"window": [16, 24]}, "window: given 24, allowed is an integer in 2..20"),  # models see 20 tokens
        ({"rate": ["x"]}, "rate: given x, allowed a finite number"),
        ({"batch": [0]}, "batch: given 0, allowed an integer > 0"),
    ],
)
def test_settings_that_no_model_can_have_are_refused_before_training(grid, message, tmp_path):
    with pytest.raises(ValueError, match=f"^{message}"):
        sweeps.trainings("smoke", grid, tmp_path)


# --- a grid as people write it -----------------------------------------------------------------


def test_a_grid_is_spelled_on_the_command_line_or_in_a_file(tmp_path):
    assert sweeps.spelled(["n=1, 2", "rate=", "label=x"]) == {"n": ["1", "2"], "rate": [], "label": ["x"]}
    path = tmp_path / "grid.yml"
    path.write_text("chapter: second\ngrid:\n  n: [1, 2]\n  label: a, b\n")
    assert sweeps.read_grid(path) == ({"chapter": "second"}, {"n": [1, 2], "label": ["a, b"]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["n"], "grid: given 'n', allowed name=value,value"),
        (["=1"], "grid: given '=1', allowed name=value,value"),
        (["n=1", "n=2"], "n: given twice, allowed once, with all its values"),
    ],
)
def test_a_grid_that_is_spelled_badly_is_refused(given, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sweeps.spelled(given)


@pytest.mark.parametrize(
    "text", ["", "n: [1]", "grid: [1]", "grid: {", "grid: {n: 1}\nseeds: 3", "\x00", "grid: !!map x"]
)
def test_a_file_that_is_no_grid_is_refused_in_one_line(text, book, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(book)
    (tmp_path / "grid.yml").write_text(text)
    for path in (tmp_path / "grid.yml", tmp_path / "none.yml", tmp_path):
        assert cli.main(["sweep", "second", "--grid", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("splithistory: error: grid: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("grid:\n  n: [1]\n  n: [2]", "n"),
        ("grid: {n: 1}\ngrid: {n: 2}", "grid"),
        ("grid: {1: 2, '1': 3}", "1"),
    ],
)
def test_of_two_values_of_a_name_in_a_file_none_is_taken_silently(text, name, tmp_path):
    (tmp_path / "grid.yml").write_text(text)
    with pytest.raises(ValueError, match=f"^{name}: given twice, allowed once$"):
        sweeps.read_grid(tmp_path / "grid.yml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("second -p n=2", "n: given twice, allowed once, with all its values"),
        (
            "index -p rate=1",
            "sweep: given chapter index and chapter second, allowed is one of chapter and profile",
        ),
        (
            "--profile smoke",
            "sweep: given profile smoke and chapter second, allowed is one of chapter and profile",
        ),
    ],
)
def test_what_a_file_and_the_command_line_both_say_is_refused(
    line, message, book, executed, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(book)
    (tmp_path / "grid.yml").write_text("chapter: second\ngrid: {n: [1]}")
    assert cli.main(["sweep", "--grid", str(tmp_path / "grid.yml"), *line.split()]) == 2
    assert capsys.readouterr().err == f"splithistory: error: {message}\n" and not executed


def test_a_file_and_the_command_line_make_one_grid(book, executed, tmp_path, monkeypatch):
    monkeypatch.chdir(book)
    (tmp_path / "grid.yml").write_text("chapter: second\ngrid: {n: [1]}")
    line = ["--grid", str(tmp_path / "grid.yml"), "-p", "rate=1,2", "-o", str(tmp_path / "out")]
    assert cli.main(["sweep", "second", *line]) == 0
    assert executed == [{"n": 1, "rate": 1.0}, {"n": 1, "rate": 2.0}]


# --- killed ------------------------------------------------------------------------------------


def started(book, folder) -> subprocess.Popen:
    """A sweep of 24 executions on two workers, one of which fails, in a process group of its own."""
    code = "from splithistory.cli import main; raise SystemExit(main())"
    grid = ["-p", "n=1,2,3,4", "-p", "rate=0.5,0.6,0.7,0.8,0.9,1.0", "-o", str(folder), "--workers", "2"]
    line = [sys.executable, "-c", code, "sweep", "second", *grid]
    return subprocess.Popen(line, cwd=book, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_sweep_that_was_killed_ends_in_the_same_table(book, tmp_path, tried):
    assert started(book, tmp_path / "whole").wait() == 1  # one failed, by design
    killed = started(book, tmp_path / "killed")
    while len(list((tmp_path / "killed/points").glob("execution-*/manifest.json"))) < 6:
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed/table").exists()
    assert started(book, tmp_path / "killed").wait() == 1
    for name, n in (("values", 23 * 7), ("failures", 1)):
        whole, resumed = (
            pd.read_parquet(tmp_path / f"{f}/table/{name}.parquet") for f in ("whole", "killed")
        )
        pd.testing.assert_frame_equal(whole, resumed, check_exact=True)
        assert len(whole) == n
    tried["kills at work"] += 1
