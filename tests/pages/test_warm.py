"""Kernels forked from a warm process are like others: apart, in their folder, gone when told to go."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from conftest import REACHED
from nbclient.exceptions import DeadKernelError

from splithistory.pages import kernels

pytestmark = pytest.mark.skipif(not kernels.CAN_FORK, reason="kernels are forked on Linux only")


@pytest.fixture(scope="module")
def warm():
    """The process that kernels of this file are forked from."""
    with kernels.forked():
        yield kernels._warm[-1]


def executed(code: str, folder) -> str:
    """What a notebook of one cell prints."""
    cell = nbformat.v4.new_code_cell(code)
    kernels.execute(nbformat.v4.new_notebook(cells=[cell]), folder)
    return "".join(output.text for output in cell.outputs).strip()


def alive(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process lives after some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


def test_a_forked_kernel_stands_in_its_folder_with_everything_imported(warm, tmp_path):
    code = "import os, sys; print(os.getppid(), os.getcwd(), 'torch' in sys.modules)"
    assert executed(code, tmp_path) == f"{warm.process.pid} {tmp_path} True"


def test_what_one_kernel_does_no_other_sees(warm, tmp_path):
    imports = "import numpy, os; from matplotlib import rcParams; "
    executed(imports + "rcParams['font.size'] = 99; os.environ['X'] = numpy.x = '1'", tmp_path)
    found = executed(imports + "print(rcParams['font.size'], os.getenv('X'), hasattr(numpy, 'x'))", tmp_path)
    assert found == "10.0 None False"


def test_a_figure_that_a_cell_shows_is_its_output(warm, tmp_path):
    cell = nbformat.v4.new_code_cell("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()")
    kernels.execute(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    assert "image/png" in cell.outputs[-1].data


def test_variables_of_the_moment_reach_the_kernel(warm, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLITHISTORY_DEVICE", "cpu")
    assert executed("import os; print(os.environ['SPLITHISTORY_DEVICE'])", tmp_path) == "cpu"


def test_kernels_forked_at_once_contend_for_no_port(warm, tmp_path):
    assert executed(REACHED, tmp_path) == "ipc"


def test_a_kernels_own_processes_end_with_their_status(warm, tmp_path):
    code = "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'exit(3)']).returncode)"
    assert executed(code, tmp_path) == "3"


def test_kernels_draw_different_numbers(warm, tmp_path):
    code = "import random, uuid; print(random.random(), uuid.uuid4())"
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: executed(code, tmp_path), range(2))
    assert not set(first.split()) & set(second.split())


def test_a_kernel_that_dies_is_noticed_and_the_next_one_lives(warm, tmp_path):
    with pytest.raises(DeadKernelError):
        executed("import os; os._exit(1)", tmp_path)
    assert executed("print(1)", tmp_path) == "1"


def test_kernels_end_when_nobody_waits_for_them_any_more(warm, tmp_path):
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(executed, code, tmp_path)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        kernels.stop_all()
        with pytest.raises(DeadKernelError):
            waiting.result(timeout=60)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_without_the_process_there_is_an_error_of_one_line_and_afterwards_kernels_start_cold(tmp_path):
    with kernels.forked():
        process = kernels._warm[-1].process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(RuntimeError, match=r"^the process that starts kernels has ended$"):
            executed("print(1)", tmp_path)
    assert not alive(process.pid)


BEGINS = """
import sys
from pathlib import Path
import nbformat
from splithistory.pages import kernels
code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
with kernels.forked():
    print(kernels._warm[-1].process.pid, flush=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    kernels.execute(notebook, Path(sys.argv[1]))
"""


def test_the_process_and_its_kernels_end_with_the_one_that_began_them_however_that_ends(tmp_path):
    command = [sys.executable, "-c", BEGINS, tmp_path]
    began = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process, pid = int(began.stdout.readline()), tmp_path / "pid"
    while not pid.exists() or not pid.read_text():
        assert began.poll() is None
        time.sleep(0.05)
    began.kill()
    began.communicate()
    assert not alive(process, seconds=20) and not alive(int(pid.read_text()), seconds=20)
