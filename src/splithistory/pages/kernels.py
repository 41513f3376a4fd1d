"""The kernels that chapters run in: this interpreter's, and none of its user's settings."""

import asyncio
import atexit
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from .warm import CAN_FORK, Warm

# What a shell, a terminal or a start-up file says of Matplotlib, IPython, Jupyter, Python or a language.
_OF_THE_USER = (
    "MPL", "MATPLOTLIB", "IPYTHON", "IPY_", "JUPYTER", "JPY_", "LC_", "LANG", "PYTHON",
    "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "TERM",
)  # fmt: skip
_KEPT = {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
_PATHS = ("SPLITHISTORY_STORE", "SPLITHISTORY_RESULTS")  # relative to where the command was given

_LONGEST = 96  # a socket's path has 103 bytes at most, of them "-ipc-5" at the end
_QUIET = "get_config().Application.log_level = 50\n"  # what a kernel says of itself is not the chapter's

_running: set[asyncio.Task] = set()
_register = threading.Lock()
_warm: list[Warm] = []  # the process that kernels are forked from, if there is one


def environment() -> dict[str, str]:
    """What a kernel finds in its environment: ours without the user's taste, its settings in a new folder."""
    own = {k: v for k, v in os.environ.items() if k in _KEPT or not k.startswith(_OF_THE_USER)}
    own |= {name: os.path.abspath(own[name]) for name in _PATHS if own.get(name)}
    with _register:  # of kernels that start at once, one makes the folders
        places = _settings()
    return own | places | {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder as long as this process."""
    return tempfile.TemporaryDirectory(prefix="splithistory-", ignore_cleanup_errors=True)


@cache
def _settings() -> dict[str, str]:
    """Where Matplotlib, IPython and Jupyter look for settings and keep caches: empty folders."""
    names = ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    places = {name: str(Path(_folder().name) / name.lower()) for name in names}
    for place in places.values():
        Path(place).mkdir()
    profile = Path(places["IPYTHONDIR"]) / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(_QUIET)
    # Fonts are listed once, here: listing them in a kernel, Matplotlib says so on stderr if it takes long.
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, env=os.environ | places, capture_output=True, check=False)
    return places


def reached(name: str) -> dict[str, str]:
    """How the kernel of this name is reached: settings of a manager of kernels.

    By Unix sockets where there are any. A port that a manager found free is now and then another process's
    when the kernel comes to take it, a second later.
    """
    file = Path(_folder().name) / f"{name}.json"
    by_socket = os.name == "posix" and len(os.fsencode(file)) < _LONGEST
    return {"connection_file": str(file)} | ({"transport": "ipc"} if by_socket else {})


class _Kernel(AsyncKernelManager):
    """IPython under this interpreter, whatever kernels are installed under the name of Python."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **settings: Any) -> None:
        if not _warm:
            return await super()._async_launch_kernel(kernel_cmd, **settings)
        # after the interpreter, -m and the module
        process = _warm[-1].start(kernel_cmd[3:], settings["env"], settings.get("cwd", "."))
        provisioner: Any = self.provisioner
        provisioner.process, provisioner.pid, provisioner.pgid = process, process.pid, process.pid
        self._reconcile_connection_info(provisioner.connection_info)

    _launch_kernel = _async_launch_kernel


@contextmanager
def forked() -> Iterator[None]:
    """Let kernels that start in the context share what is slow to import, where a process can be forked."""
    if not CAN_FORK:
        yield
        return
    with Warm(environment()) as process:
        _warm.append(process)
        try:
            yield
        finally:
            _warm.remove(process)


def execute(
    notebook: nbformat.NotebookNode,
    folder: Path,
    done: Callable[[], object] = lambda: None,
    *,
    extension: str | None = None,
) -> None:
    """Run all cells of a notebook, in the folder, and put their outputs in; `done` is called after each cell.

    extension: of IPython, to load first.

    CellExecutionError: a cell fails; DeadKernelError: the kernel dies; RuntimeError: it does not start. What
    ran before has its outputs.
    """
    arguments = [f"--ext={extension}"] if extension else []
    with ThreadPoolExecutor(1) as pool:  # where no event loop runs, as one does in Jupyter
        running = pool.submit(lambda: asyncio.run(_execute(notebook, folder, done, arguments)))
        try:
            running.result()
        except KeyboardInterrupt:
            stop_all()
            raise


async def _execute(
    notebook: nbformat.NotebookNode, folder: Path, done: Callable[[], object], arguments: list[str]
) -> None:
    async def after(**_) -> None:
        done()

    environ = environment()
    kernel = _Kernel(**reached(str(id(notebook))))
    task = asyncio.current_task()
    assert task is not None
    with _register:
        _running.add(task)
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=None,
        record_timing=False,
        shutdown_kernel="immediate",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=arguments,
        on_cell_executed=after,
    )
    try:
        await client.async_execute(env=environ, cleanup_kc=True)
    finally:
        atexit.unregister(client._cleanup_kernel)  # left behind by nbclient where a kernel does not start
        with _register:
            _running.discard(task)
        if kernel.has_kernel:
            await kernel.shutdown_kernel(now=True)


def stop_all() -> None:
    """End every execution and its kernel, such as those of chapters nobody waits for any more."""
    with _register:
        for task in _running:
            task.get_loop().call_soon_threadsafe(task.cancel)
