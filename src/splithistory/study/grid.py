"""Runs a grid of jobs, each after the ones it needs: in this process or on Dask workers.

Floor 3: knows nothing of what a job does. On processors one job trains on one thread (small ensembles gain
more from processes side by side than from threads, and a fixed thread count keeps results the same
everywhere). Jobs that share a GPU run in threads of this process: kernels of two processes take turns.
"""

import asyncio
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from graphlib import TopologicalSorter
from multiprocessing import resource_tracker
from typing import Any

from tqdm import tqdm

from ..information import check_integer, check_memory, cores, shown

_GIVEN_UP: set[str] = set()  # topics of grids that ended early: their jobs in threads of this process stop
_PACKAGE = __package__.split(".")[0]
_WORKER = 2.0**28  # bytes of a process that has imported torch
_PATIENCE = 10  # seconds in which a scheduler must answer
SETTINGS = {  # of Dask, for workers of our own
    # Dask would have the allocator hand freed pages back at once: training then spends half its time in
    # page faults. Both thresholds, for setting either one freezes the other at its small default. One
    # thread a worker.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 2**31 - 1,
        "MALLOC_MMAP_THRESHOLD_": 2**30,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
    },
    "distributed.worker.preload": [__name__],
    # no job queues at a worker while another is free for it, or is blamed for that worker's death
    "distributed.scheduler.worker-saturation": 1.0,
    # A job whose worker is killed is done again, going on from its last checkpoint: cheap, so give up late.
    # Not never: a job that needs more memory than there is would kill its workers for ever.
    "distributed.scheduler.allowed-failures": 5,
    # a job's own error is raised here, in one line; the worker need not print its traceback as well
    "logging": {"distributed": "critical"},
}


@dataclass(frozen=True)
class Job:
    """One job of a grid.

    key: unique name; label: for people; seconds: estimated cost; after: keys of the jobs it needs;
    payload: what the work is told.
    """

    key: str
    label: str
    seconds: float
    after: tuple[str, ...]
    payload: Any


Report = Callable[[float, str], None]  # (share of the job done, a short text such as its loss)


def default_workers() -> int:
    """One worker a CPU core that this process may use; 0, in this process, if there is only one."""
    return n if (n := cores()) > 1 else 0


def run(
    jobs: Sequence[Job],
    work: Callable[[Any, Report], None],
    *,
    workers: int = 0,
    threads: int = 1,
    scheduler: str | None = None,
    quiet: bool = False,
) -> None:
    """Do every job (given in an order that respects `after`); the first failure stops the grid and is raised.

    work(payload, report) does one job. A job whose worker dies is done again from the start, on any
    worker: what it had done by then is for `work` to find, and its result must not depend on where it runs.

    workers: 0 for this process, else so many single-threaded Dask processes on this machine.
    threads: of this process, if there are no workers: so many jobs run side by side.
    scheduler: instead, address of a Dask cluster that is already running (tcp://host:8786). Scheduler and
    workers need this package in this version, and workers the files that `work` reads and writes. They may
    come and go during a run; those that come later are not asked for their version. A job takes one of a
    worker's threads, so start each worker with ``--nthreads 1``, and with MALLOC_TRIM_THRESHOLD_=2147483647
    and MALLOC_MMAP_THRESHOLD_=1073741824 in its environment: without both, training takes up to twice as
    long. After an interrupt, the jobs that run there run on to their end.

    ValueError: both are given, or one is not allowed. ConnectionError: no scheduler answers within 10 s, or
    it is lost later. RuntimeError: it has no workers or another version, or a job's workers keep dying.
    """
    check(workers, scheduler)
    check_integer("threads", threads, 1)
    if not jobs:
        return
    with _cluster(min(workers, len(jobs)), threads, scheduler) as client, _Bar(jobs, quiet) as bar:
        if client:
            _on_dask(jobs, work, client, bar)
        else:
            _in_this_process(jobs, work, bar)


def check(workers: int, scheduler: str | None) -> None:
    """ValueError if `run` can have neither so many workers nor this scheduler."""
    check_integer("workers", workers, 0)
    check_memory("workers", workers, _WORKER * workers)
    if scheduler is not None:
        _check_scheduler(scheduler, workers)


def _in_this_process(jobs, work, bar: "_Bar") -> None:
    for job in jobs:
        work(job.payload, lambda share, text, job=job: bar.show(job.key, share, text))
        bar.show(job.key, 1.0, "done")


# --- Dask -------------------------------------------------------------------------------------------


def _check_scheduler(address: str, workers: int) -> None:
    from distributed.comm import get_address_host_port

    if workers:
        raise ValueError(
            f"scheduler: given {shown(address)} and {workers} workers, allowed is one of the two"
        )
    try:
        host, port = get_address_host_port(address)
    except (TypeError, ValueError):
        host, port = "", 0
    if not (host and 0 < port < 2**16):
        raise ValueError(f"scheduler: given {shown(address)}, allowed is an address such as tcp://host:8786")


def _cluster(workers: int, threads: int, scheduler: str | None):
    """Context of a client of the cluster to use, or of None for one job at a time in this process."""
    if scheduler is not None:
        return _their_cluster(scheduler)
    if workers:
        return _own_cluster(SETTINGS, n_workers=workers, threads_per_worker=1)
    if threads == 1:
        return nullcontext()
    here = {"processes": False, "n_workers": 1, "threads_per_worker": threads, "memory_limit": None}
    return _own_cluster(SETTINGS | {"distributed.worker.preload": []}, **here)


@contextmanager
def _own_cluster(settings: dict, **shape) -> Iterator:
    import dask
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": "CRITICAL"}
    stack = ExitStack()
    try:
        with _interrupted_later():
            stack.enter_context(dask.config.set(settings))
            cluster = stack.enter_context(LocalCluster(**shape, **quiet))
            client = stack.enter_context(Client(cluster))
        yield client
    finally:
        with _interrupted_later():
            stack.close()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """An interrupt in the block is raised at its end, a second one at once; processes begun in it hear none.

    Half-started workers cannot be closed, and what is interrupted at its imports prints tracebacks.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # begun in the block, it would let the signal through again
    waiting: list[int] = []

    def note(number: int, frame) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    before = signal.signal(signal.SIGINT, note)  # another thread may get it
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # threads and processes inherit this
    try:
        yield
    finally:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)  # what waited is noted here
        finally:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)
    if waiting:
        raise KeyboardInterrupt


@contextmanager
def _their_cluster(address: str) -> Iterator:
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    with silence_logging_cmgr("CRITICAL"):  # what goes wrong is raised here, in one line
        try:
            with ThreadPoolExecutor(1) as thread:  # a notebook has a loop running in this one
                thread.submit(asyncio.run, asyncio.wait_for(_greet(address), _PATIENCE)).result()
        except Exception as error:
            waited = f"within {_PATIENCE} s ({error!r})"
            raise ConnectionError(f"scheduler: no Dask scheduler answers at {address} {waited}") from None
        with Client(address) as client:
            _check_workers(client, address)
            yield client


async def _greet(address: str) -> None:
    """Returns when a scheduler answers; a client's own patience is without end where another server does."""
    from distributed import Client

    client = Client(address, asynchronous=True, timeout=_PATIENCE)
    try:
        await client
    finally:
        await client.close()  # one that is only forgotten may lock up the next, when it is collected


def _check_workers(client, address: str) -> None:
    versions = client.get_versions(packages=[_PACKAGE])
    own = versions["client"]["packages"][_PACKAGE]
    if not versions["workers"]:
        raise RuntimeError(f"scheduler: {address} has no workers (dask worker {address} --nthreads 1)")
    for place, found in {address: versions["scheduler"], **versions["workers"]}.items():
        theirs = found["packages"][_PACKAGE]
        if theirs != own:  # the scheduler, too, takes jobs apart
            raise RuntimeError(f"scheduler: {place} has {_PACKAGE} {theirs or 'missing'}, here it is {own}")


def _on_dask(jobs, work, client, bar: "_Bar") -> None:
    """Does the jobs on the client's workers, those that begin the longest chains first.

    Dask gets a job once those it needs are done, and need not know of them. Handed the whole graph it would
    keep every job's result, though it is None, on the worker that did it: when that worker dies, it would do
    the finished jobs again before the one that was cut off.
    """
    from distributed import as_completed

    topic = f"progress of {client.id}"  # others may use the cluster at the same time
    client.subscribe_topic(topic, lambda event: bar.show(*event[1]))
    chains, running, keys = _chains(jobs), as_completed(), {}
    order = TopologicalSorter({job.key: bar.jobs.keys() & job.after for job in jobs})
    order.prepare()
    try:
        while order.is_active():
            for key in sorted(order.get_ready(), key=chains.__getitem__, reverse=True):
                told = (work, topic, key, bar.jobs[key].payload)
                future = client.submit(_task, *told, priority=chains[key], pure=False)
                keys[future.key] = key
                running.add(future)
            key = _next_done(running, keys, bar)
            bar.show(key, 1.0, "done")
            order.done(key)
    except BaseException:
        _GIVEN_UP.add(topic)
        raise


def _chains(jobs: Sequence[Job]) -> dict[str, float]:
    """Seconds from the start of each job to the end of the longest chain of jobs that it begins.

    The longest chains are started first: the grid cannot end before they do, and short jobs fill the gaps.
    """
    chains: dict[str, float] = defaultdict(float)
    for job in reversed(jobs):  # what waits for a job comes after it, so its chain is known by now
        chains[job.key] += job.seconds
        for needed in job.after:
            chains[needed] = max(chains[needed], chains[job.key])
    return chains


def _next_done(running, keys: dict[str, str], bar: "_Bar") -> str:
    """Key of the next job to be done; waits for it, and raises its error if it failed."""
    from distributed import CancelledError, KilledWorker

    future = next(running)
    label = bar.jobs[keys[future.key]].label
    try:
        future.result()
    except KilledWorker:
        raise RuntimeError(f"{label}: its worker died again and again (out of memory?)") from None
    except CancelledError:
        raise ConnectionError(f"{label}: lost the connection to the scheduler") from None
    return keys[future.key]


def dask_setup(_worker) -> None:
    """Dask calls this in each new worker: an interrupt is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _task(work, topic: str, key: str, payload) -> None:
    """One job on a worker, in any of its threads."""
    from distributed import get_worker

    worker = get_worker()

    def report(share: float, text: str) -> None:
        if topic in _GIVEN_UP:
            raise CancelledError
        worker.log_event(topic, (key, share, text))

    work(payload, report)


class _Bar:
    """One bar for the whole grid, in estimated seconds, with the newest job's text and an ETA."""

    def __init__(self, jobs, quiet: bool):
        self.jobs = {job.key: job for job in jobs}
        self.done = dict.fromkeys(self.jobs, 0.0)
        total = sum(job.seconds for job in jobs)
        shape = "{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}  {desc}"
        # None: silent unless standard error is a terminal
        self.bar = tqdm(total=total, bar_format=shape, disable=True if quiet else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def show(self, key: str, share: float, text: str) -> None:
        before, self.done[key] = self.done[key], max(share, self.done[key])
        finished = sum(value == 1 for value in self.done.values())
        now = f"{finished}/{len(self.jobs)} {self.jobs[key].label}: {text}"
        self.bar.set_description_str(now, refresh=False)
        self.bar.update((self.done[key] - before) * self.jobs[key].seconds)
