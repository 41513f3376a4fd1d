"""Kernels are this interpreter's, and know nothing of what a user has set up for himself."""

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import nbformat
import pytest
from conftest import REACHED
from nbclient.exceptions import DeadKernelError

from splithistory.pages import kernels


def test_a_kernel_hears_nothing_of_a_users_taste_and_all_that_concerns_us(monkeypatch, tmp_path):
    theirs = {"MPLBACKEND": "TkAgg", "MATPLOTLIBRC": "x", "PYTHONSTARTUP": "x", "PYTHONOPTIMIZE": "1"}
    theirs |= {"PYTHONWARNINGS": "ignore", "LC_NUMERIC": "de_DE", "LANG": "tr_TR", "COLUMNS": "20"}
    theirs |= {"JUPYTER_PATH": "x", "IPYTHONDIR": "x", "MPLCONFIGDIR": "x", "TERM": "dumb"}
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", "here")
    monkeypatch.setenv("SPLITHISTORY_STORE", "runs")
    monkeypatch.setenv("SPLITHISTORY_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    found = kernels.environment()
    assert not [name for name, value in theirs.items() if found.get(name) == value]
    assert found["PYTHONPATH"] == "here" and found["SPLITHISTORY_DEVICE"] == "cpu"
    assert found["SPLITHISTORY_STORE"] == str(tmp_path / "runs")  # wherever the kernel works
    for name in ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        assert Path(found[name]).is_dir() and Path.home() not in Path(found[name]).parents


STARTUP = "hostile = 1\nimport pandas\npandas.set_option('display.max_rows', 2)\n"
OTHER = '{"argv": ["false"], "display_name": "x", "language": "python"}'
HOSTILE = """\
import locale, os, sys
import matplotlib, pandas as pd
from splithistory.pages import figures
figures.use_house_style()
assert os.path.samefile(sys.executable, {python!r}) and "hostile" not in globals()
assert not matplotlib.rcParams["text.usetex"]
assert pd.get_option("display.max_rows") == 60
print("settled", f"{{0.5:n}}", sys.stdout.encoding.lower(), sys.flags.optimize)
"""


def test_a_hostile_home_changes_nothing(monkeypatch, tmp_path):
    """Settings at home and in the working folder, start-up files, a kernel of that name, nowhere to write."""
    home = tmp_path / "home"
    files = {
        ".config/matplotlib/matplotlibrc": "text.usetex: True\n",
        ".ipython/profile_default/startup/00.py": STARTUP,
        ".local/share/jupyter/kernels/python3/kernel.json": OTHER,
        "work/matplotlibrc": "text.usetex: True\n",
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    before = sorted(path for path in home.rglob("*"))
    cell = nbformat.v4.new_code_cell(HOSTILE.format(python=sys.executable))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    kernels.execute(notebook, home / "work")
    assert [output.text for output in cell.outputs] == ["settled 0.5 utf-8 0\n"]
    assert sorted(path for path in home.rglob("*")) == before  # so it need not be writable


def test_a_kernel_that_does_not_start_or_dies_is_an_error_of_one_sentence(monkeypatch, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import os; os._exit(1)")])
    with pytest.raises(DeadKernelError):
        kernels.execute(notebook, tmp_path)
    assert kernels._running == set()
    monkeypatch.setattr(kernels.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="Kernel died before replying"):
        kernels.execute(notebook, tmp_path)
    assert kernels._running == set() and os.path.isdir(kernels._folder().name)


def test_chapters_that_nobody_waits_for_any_more_are_ended(tmp_path):
    """As after an interrupt: kernels are not in the group of processes that a terminal interrupts."""
    cell = nbformat.v4.new_code_cell("import time; open('begun', 'w'); time.sleep(600)")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(kernels.execute, nbformat.v4.new_notebook(cells=[cell]), tmp_path)
        while not (tmp_path / "begun").exists() and not waiting.done():
            time.sleep(0.1)
        kernels.stop_all()
        with pytest.raises(DeadKernelError):
            waiting.result(timeout=60)


def test_a_notebook_can_be_executed_from_a_notebook(tmp_path):
    """Where an event loop runs, as in Jupyter."""
    cell = nbformat.v4.new_code_cell("1 + 1")

    async def in_jupyter():
        kernels.execute(nbformat.v4.new_notebook(cells=[cell]), tmp_path)

    asyncio.run(in_jupyter())
    assert cell.outputs[0].data["text/plain"] == "2"


@pytest.mark.parametrize(("name", "expected"), [("f", "ipc"), (100 * "f", "tcp")])
@pytest.mark.skipif(os.name != "posix", reason="sockets have names where there is POSIX")
def test_kernels_that_start_at_once_contend_for_no_port(name, expected, monkeypatch, tmp_path):
    """Unless a socket's path would be longer than any may be."""
    monkeypatch.setattr(kernels, "environment", lambda: dict(os.environ))
    cell = nbformat.v4.new_code_cell(REACHED)
    with TemporaryDirectory(prefix=name) as place:
        monkeypatch.setattr(kernels, "_folder", lambda: SimpleNamespace(name=place))
        kernels.execute(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
        left = {path.suffix for path in Path(place).iterdir()}
    assert cell.outputs[0].text.strip() == expected
    assert left <= {".json"}  # sockets go with their kernel
