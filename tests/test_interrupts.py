"""Ctrl-C at any moment: one line, status 130, and no process is left."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

LINE = "splithistory: error: interrupted; finished runs are kept\n"
AT_IMPORT = """
import signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it
sys.meta_path.insert(0, Interrupt())
from splithistory.cli import main
sys.exit(main(sys.argv[2:]))
"""
pytestmark = pytest.mark.slow


def interruptible():
    """As a shell starts a command in the foreground; one in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def study(store):
    return ["study", "--profile", "smoke", "--fresh", "--workers", "2", "--store", str(store)]


@pytest.mark.parametrize(
    "module", ["numpy", "scipy.stats", "pandas", "splithistory.study.runs", "distributed"]
)
def test_an_interrupted_import_is_one_line(module, tmp_path):
    command = [sys.executable, "-c", AT_IMPORT, module, *study(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", LINE)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.8, 2.0])  # seconds from the first process of its own
def test_an_interrupt_while_workers_start_or_train_is_one_line_and_leaves_nothing(after, tmp_path):
    command = [sys.executable, "-m", "splithistory", *study(tmp_path / "store")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, start_new_session=True, preexec_fn=interruptible)
    until = time.monotonic() + 40
    while not (begun := psutil.Process(process.pid).children(recursive=True)):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    time.sleep(after)
    begun = {*begun, *psutil.Process(process.pid).children(recursive=True)}
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    out, err = process.communicate(timeout=40)
    assert (process.returncode, out, err) == (130, "", LINE)
    assert not psutil.wait_procs(begun, timeout=5)[1]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
