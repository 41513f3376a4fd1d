"""Kernels forked from a process that has imported what chapters import: each is there at once.

`python -m splithistory.pages.warm` is that process. It reads one order a line, answers with the process that
it made, and ends when its input does; its kernels notice, as they would if any other parent of theirs ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

INLINE = "module://matplotlib_inline.backend_inline"
CAN_FORK = sys.platform == "linux"  # elsewhere libraries may have threads by then, or there is no fork


class Forked:
    """A kernel's process, as far as `jupyter_client` asks of one that it had started itself."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int):
        self.pid = pid

    def poll(self) -> int | None:
        """None while it lives; what it ended with, nobody knows."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1
        return None

    def wait(self) -> int:
        """Until it has ended."""
        while (ended := self.poll()) is None:
            time.sleep(0.01)
        return ended

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Warm:
    """The process that forks kernels, in an environment that is theirs, too; a context that ends it."""

    def __init__(self, environment: Mapping[str, str]):
        command = [sys.executable, "-P", "-m", __name__]
        environment = {**environment, "MPLBACKEND": INLINE}  # as kernels have it, before pyplot is imported
        self.process = subprocess.Popen(
            command,
            env=environment,
            text=True,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin and self.process.stdout
        self.orders, self.answers = self.process.stdin, self.process.stdout
        self.turn = threading.Lock()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> Forked:
        """A kernel with these arguments of ipykernel; RuntimeError if the process is gone."""
        order = json.dumps([list(arguments), dict(environment), str(folder)])
        with self.turn:
            try:
                print(order, file=self.orders, flush=True)
                return Forked(int(self.answers.readline()))
            except (OSError, ValueError) as error:
                raise RuntimeError("the process that starts kernels has ended") from error

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


def main() -> None:
    """Import, then fork a kernel for each order."""
    import ipykernel.kernelapp
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import torch  # noqa: F401

    from . import figures, findings  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a kernel
    for line in sys.stdin:
        arguments, environment, folder = json.loads(line)
        pid = os.fork()
        if not pid:
            break
        print(pid, flush=True)
    else:
        return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what it was is how we answer
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # an argument: ipykernel read the variable for it when it was imported
    ipykernel.kernelapp.launch_new_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])


if __name__ == "__main__":
    main()
