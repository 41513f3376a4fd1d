"""The plugin as pytest runs it: planted changes fail and are named, and what is within tolerance passes."""

import os
import re

import nbformat
import pytest
from conftest import REACHED, validate
from nbformat.v4 import new_code_cell, new_notebook, new_output

from splithistory.pages.plotted import MIME

DRAW = """import matplotlib.pyplot as plt
fig, ax = plt.subplots()
ax.plot([0, 1], [0.25, 0.75], label="Op")
_ = ax.set(xlim=(0, 1), ylim=(0, 1))"""
TABLE = "import pandas as pd; pd.DataFrame({'op': [0.5]}, index=['18k'])"


def cell(source: str, output, **metadata):
    return new_code_cell(source, outputs=[output], execution_count=1, metadata=metadata)


def text(shown: str):
    return new_output("stream", name="stdout", text=shown)


def table(value: float):
    html = f"<table><tr><th></th><th>op</th></tr><tr><th>18k</th><td>{value}</td></tr></table>"
    return new_output("display_data", data={"text/html": html})


def figure(y: float):
    lines = ['frame, scales: "linear" "linear"', "frame, limits of x: 0 1", "frame, limits of y: 0 1"]
    lines += ['line 1 "Op", x: 0 1', f'line 1 "Op", y: 0.25 {y}']
    return new_output("display_data", data={MIME: "\n".join(f"panel 1, {line}" for line in lines)})


CELLS = {
    "a number that did not move": (cell("print('Op 0.41')", text("Op 0.41")), ""),
    "a number that moved": (cell("print('Op 0.41')", text("Op 0.43")), "0.43 -> 0.41, moved by -0.02"),
    "one within the tolerance": (cell("print('Op 0.41')", text("Op 0.43"), tolerance=0.02), ""),
    "one beyond it": (cell("print('Op 0.41')", text("Op 0.45"), tolerance=0.02), "0.45 -> 0.41"),
    "a tolerance without a meaning": (cell("print(1)", text("1"), tolerance="little"), "given 'little'"),
    "a cell of a table that moved": (cell(TABLE, table(0.6)), "row '18k', column 'op': 0.6 -> 0.5"),
    "a table that did not change": (cell(TABLE, table(0.5)), ""),
    "a point that moved": (cell(DRAW, figure(0.8)), 'panel 1, line 1 "Op", y[1]: 0.8 -> 0.75'),
    "a figure that did not change": (cell(DRAW, figure(0.75)), ""),
    "what is not compared": (cell("print(1)", text("2"), tags=["nbval-ignore-output"]), ""),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """{number of the cell that failed: what the plugin said of it}"""
    folder = tmp_path_factory.mktemp("notebooks")
    nbformat.write(new_notebook(cells=[planted for planted, _ in CELLS.values()]), folder / "planted.ipynb")
    said = validate(folder, "planted.ipynb")
    assert f"{len(CELLS)} passed" not in said and "passed in" in said, said
    parts = re.split(r"_+ [^\n]*::Cell (\d+) _+\n", said.partition("short test summary")[0])
    return dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))


@pytest.mark.parametrize("kind", CELLS)
def test_planted_changes_fail_and_are_named_and_nothing_else_does(kind, report, tried):
    _, message = CELLS[kind]
    said = report.get(list(CELLS).index(kind), "")
    assert message in said and bool(message) == bool(said)
    tried["planted changes"] += bool(message)


def test_notebooks_of_one_kernel_do_not_see_each_other(tmp_path):
    first = new_code_cell(
        "import os, sys, matplotlib\nleft = sys.left = os.getpid()\nmatplotlib.rc('lines', linewidth=9)"
    )
    second = [
        cell("import os, sys\nprint('left' in globals(), sys.left == os.getpid())", text("False True")),
        cell("print(os.path.basename(os.getcwd()))", text("second")),
        cell("import matplotlib\nprint(matplotlib.rcParams['lines.linewidth'])", text("1.5")),
        cell(DRAW, figure(0.75)),
    ]
    for name, cells in (("first", [first]), ("second", second)):
        (tmp_path / name).mkdir()
        nbformat.write(new_notebook(cells=cells), tmp_path / name / f"{name}.ipynb")
    said = validate(tmp_path, "--nbval-one-kernel", "first/first.ipynb", "second/second.ipynb")
    assert "5 passed" in said, said


@pytest.mark.skipif(os.name != "posix", reason="sockets have names where there is POSIX")
def test_notebooks_that_run_at_once_contend_for_no_port(tmp_path):
    nbformat.write(new_notebook(cells=[cell(REACHED, text("ipc"))]), tmp_path / "reached.ipynb")
    assert "1 passed" in validate(tmp_path, "reached.ipynb")


def test_it_does_not_stand_beside_what_it_replaces(tmp_path):
    assert "stands in place of --nbval" in validate(tmp_path, "--nbval")
