"""Runs a grid of jobs, each after the ones it needs: in this process or on Dask workers.

Floor 3: knows nothing of what a job does. One job trains on one thread (small ensembles gain more from
processes side by side than from threads, and a fixed thread count keeps results the same everywhere).
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from .information import check_integer

_TOPIC = "splithistory-progress"
# Dask would have the allocator hand freed pages back at once: training then spends half its time in
# page faults. One thread a worker.
_SETTINGS = {
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 2**31 - 1,
        "MALLOC_MMAP_THRESHOLD_": 2**30,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
    },
    "distributed.worker.preload": [__name__],
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0


def run(
    jobs: Sequence[Job], work: Callable[[Any, Report], None], *, workers: int, quiet: bool = False
) -> None:
    """Do every job (given in an order that respects `after`); the first failure stops the grid and is raised.

    work(payload, report) does one job; workers: 0 for this process, else that many Dask processes.
    """
    check_integer("workers", workers, 0)
    if not jobs:
        return
    with _Bar(jobs, quiet) as bar:
        if workers and len(jobs) > 1:
            _on_dask(jobs, work, min(workers, len(jobs)), bar)
        else:
            for job in jobs:
                work(job.payload, lambda share, text, job=job: bar.show(job.key, share, text))
                bar.show(job.key, 1.0, "done")


def _on_dask(jobs, work, workers: int, bar: "_Bar") -> None:
    import dask
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.subscribe_topic(_TOPIC, lambda event: bar.show(*event[1]))
        futures = {}
        for job in jobs:
            needs = [futures[k] for k in job.after if k in futures]
            futures[job.key] = client.submit(
                _task, work, job.key, job.payload, needs, key=job.key, pure=False
            )
        for done in as_completed(futures.values()):
            try:
                done.result()
            except KilledWorker:
                label = bar.jobs[done.key].label
                raise RuntimeError(f"{label}: its worker died again and again (out of memory?)") from None
            bar.show(done.key, 1.0, "done")


def dask_setup(_worker) -> None:
    """Dask calls this in each new worker: an interrupt is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _task(work, key: str, payload, needs) -> None:
    """One job on a worker; `needs` only makes Dask wait for the jobs before it."""
    from distributed import get_worker

    worker = get_worker()
    work(payload, lambda share, text: worker.log_event(_TOPIC, (key, share, text)))


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
