"""A plugin of pytest, on top of nbval: notebooks run again, and what they show compared within tolerances.

    pytest -p splithistory.pages.validation --nbval-tolerant --nbval-current-env notebooks/

Each `.ipynb` is a reference. Its cells run, and their outputs are held against those that it keeps: printed
numbers as numbers, HTML tables cell by cell, Matplotlib figures by what they plot (where the reference was
executed with `%load_ext splithistory.pages.plotted`). A failure names each number that moved, and by how
much. A cell's metadata may say `tolerance: 0.01`, or `tolerance: {absolute: 0.01, relative: 0.05}`; the tags
and options of nbval hold as well.
"""

import uuid
from collections.abc import Iterator
from functools import partial
from unittest import mock

import pytest
from nbval.kernel import KernelManager, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from .comparison import Tolerance, differences
from .kernels import reached

SHOWN = 20  # so many differences of a cell are told
KERNEL: pytest.StashKey[RunningKernel] = pytest.StashKey()
PREPARE = """
from splithistory.pages import plotted as _plotted
_plotted.load_ipython_extension(get_ipython())
_plotted.draw_no_pictures(get_ipython())
"""
RENEW = """
get_ipython().run_line_magic("reset", "-f")
import os as _os
from splithistory.pages import plotted as _plotted
_plotted.begin_anew(get_ipython())
_plotted.draw_no_pictures(get_ipython())
_os.chdir({folder!r})
"""


def pytest_addoption(parser):
    nbval = parser.getgroup("nbval")
    nbval.addoption(
        "--nbval-tolerant", action="store_true", help="run notebooks, comparing numbers within tolerances"
    )
    nbval.addoption(
        "--nbval-one-kernel",
        action="store_true",
        help="run the notebooks of a process in one kernel, emptied in between: modules are imported once",
    )


def pytest_configure(config):
    if config.option.nbval_tolerant and (config.option.nbval or config.option.nbval_lax):
        raise pytest.UsageError("--nbval-tolerant stands in place of --nbval and --nbval-lax")


def pytest_collect_file(file_path, parent):
    if parent.config.option.nbval_tolerant and file_path.suffix == ".ipynb":
        return Notebook.from_parent(parent, path=file_path)


def pytest_sessionfinish(session):
    kernel = session.config.stash.get(KERNEL, None)
    if kernel is not None and kernel.is_alive():
        kernel.stop()


class Notebook(IPyNbFile):
    """A reference; its kernel draws no pictures, for nobody looks at them."""

    def setup(self) -> None:
        kept = self.config.stash.get(KERNEL, None)
        if kept is not None and kept.is_alive():
            self.kernel = kept
            self.setup_sanitize_files()
            self._execute(RENEW.format(folder=str(self.path.parent)))
        else:
            self._start()
            self._execute(PREPARE)

    def _start(self) -> None:
        if not self.config.option.nbval_current_env:
            return super().setup()  # who knows what that kernel can be reached by
        manager = partial(KernelManager, **reached(uuid.uuid4().hex))
        with mock.patch("nbval.kernel.KernelManager", manager):  # nbval has no setting for it
            super().setup()

    def _execute(self, code: str) -> None:
        message = self.kernel.execute_cell_input(code, allow_stdin=False)
        self.kernel.await_reply(message, timeout=60)
        self.kernel.await_idle(message, timeout=60)

    def teardown(self) -> None:
        if self.config.option.nbval_one_kernel and not self.timed_out:
            self.config.stash[KERNEL] = self.kernel
        else:
            super().teardown()

    def collect(self) -> Iterator["Cell"]:
        for cell in super().collect():
            yield Cell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )


class Cell(IPyNbCell):
    """A cell; its outputs are compared within the tolerance of its metadata."""

    def compare_outputs(self, test, ref, skip_compare=None) -> bool:
        tolerance = Tolerance.read(self.cell.metadata.get("tolerance", 0.0))
        lines = differences(self.sanitize_outputs(ref), self.sanitize_outputs(test), tolerance)
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        self.comparison_traceback = [f"  {line}" for line in [*lines[:SHOWN], *more]]
        return not lines
