"""The grid: order respected wherever it runs, failures raised, killed workers survived, progress counted."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import CancelledError

import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from splithistory.study import grid
from splithistory.study.grid import Job, _Bar, _chains, run


def job(key, after=(), seconds=1.0):
    return Job(key, f"job {key}", seconds, tuple(after), key)


class Write:
    """Leaves a file a job, and fails where its predecessor has not left one."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, payload, report):
        report(0.5, "half way")
        if payload == "a":
            time.sleep(0.5)  # whoever does not wait for it finds nothing
        if payload == "bad":
            raise RuntimeError("bad: cannot be done")
        if payload == "b":
            (self.folder / "a").read_text()
        (self.folder / payload).write_text("")


class Starts:
    """Notes each start of a job, in order and with its process; then does what the job is named for."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, payload, report):
        report(0.5, "half way")
        with (self.folder / "log").open("a") as log:
            log.write(f"{payload} {os.getpid()}\n")
        if payload == "sleeps once" and len(self.pids(payload)) == 1:
            time.sleep(60)
        if payload == "kills the sleeper":
            while not (pids := self.pids("sleeps once")):
                time.sleep(0.01)
            os.kill(pids[0], signal.SIGKILL)
        if payload == "dies" or (payload == "dies once" and len(self.pids(payload)) == 1):
            os.kill(os.getpid(), signal.SIGKILL)

    def lines(self):
        log = self.folder / "log"
        return [line.rsplit(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []

    def by_time(self):
        return [payload for payload, _ in self.lines()]

    def pids(self, payload):
        return [int(pid) for started, pid in self.lines() if started == payload]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_job_waits_for_the_ones_it_needs(tmp_path, workers):
    run([job("a"), job("b", after=["a"]), job("c")], Write(tmp_path), workers=workers, quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_job_is_raised_with_its_own_error(tmp_path, workers):
    with pytest.raises(RuntimeError, match="bad: cannot be done"):
        run([job("a"), job("bad")], Write(tmp_path), workers=workers, quiet=True)


def test_no_jobs_need_no_workers(tmp_path):
    run([], Write(tmp_path), workers=2)


def test_without_workers_and_scheduler_jobs_are_done_here_as_listed(tmp_path):
    run([job("short"), job("long", seconds=9.0)], Starts(tmp_path), quiet=True)
    assert Starts(tmp_path).by_time() == ["short", "long"]
    assert Starts(tmp_path).pids("short") == [os.getpid()]


MEETING = threading.Barrier(2, timeout=30)


class Meets(Write):
    """As Write; jobs x and y end only if both run at a time, in this process."""

    def __call__(self, payload, report):
        if payload in "xy":
            MEETING.wait()
        super().__call__(payload, report)


def test_jobs_in_threads_run_side_by_side_in_this_process_each_after_what_it_needs(tmp_path):
    run([job("a"), job("b", "a"), job("x"), job("y")], Meets(tmp_path), threads=2, quiet=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "x", "y"]


class GoesOn(Write):
    """As Write; job `endless` reports until it is stopped, and leaves a note of that."""

    def __call__(self, payload, report):
        if payload == "endless":
            try:
                for _ in range(1200):
                    report(0.5, "on and on")
                    time.sleep(0.05)
            except CancelledError:
                payload = "stopped"
        super().__call__(payload, lambda *_: None)


def test_jobs_in_threads_stop_when_another_fails(tmp_path):
    with pytest.raises(RuntimeError, match="bad: cannot be done"):
        run([job("endless"), job("bad")], GoesOn(tmp_path), threads=2, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["stopped"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"workers": -1}, "workers: given -1, allowed is an integer >= 0"),
        ({"threads": 0}, "threads: given 0, allowed is an integer >= 1"),
    ],
)
def test_a_number_of_workers_or_threads_that_cannot_be_is_refused(tmp_path, wanted, message):
    with pytest.raises(ValueError, match=message):
        run([job("a"), job("c")], Write(tmp_path), **wanted)
    assert not list(tmp_path.iterdir())


def test_a_job_that_fails_on_a_worker_prints_no_traceback_of_its_own(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="bad: cannot be done"):
        run([job("bad"), job("c")], Write(tmp_path), workers=2, quiet=True)
    assert "Traceback" not in capfd.readouterr().err


# --- order ------------------------------------------------------------------------------------------


@st.composite
def grids(draw):
    """Jobs of whole seconds, each after some of those listed before it."""
    jobs = []
    for k in range(draw(st.integers(1, 8))):
        after = draw(st.sets(st.sampled_from([j.key for j in jobs]))) if jobs else ()
        jobs.append(job(str(k), after, seconds=draw(st.integers(1, 100))))
    return jobs


@given(grids())
def test_a_job_comes_before_all_that_wait_for_it_by_at_least_its_own_seconds(jobs):
    chains = _chains(jobs)
    for waiting in jobs:
        for needed in (j for j in jobs if j.key in waiting.after):
            assert chains[needed.key] >= needed.seconds + chains[waiting.key]


def test_a_chain_is_as_long_as_the_longest_way_through_the_jobs_that_wait():
    jobs = [job("a", seconds=1), job("b", "a", 5), job("c", "a", 2), job("d", "bc", 3), job("e", "c", 7)]
    assert _chains(jobs) == {"a": 10, "b": 8, "c": 9, "d": 3, "e": 7}


def test_the_longest_chain_is_started_first_and_the_shortest_job_last(tmp_path):
    jobs = [
        job("short"),
        job("middle", seconds=2),
        job("first"),
        job("then", ["first"], 4),
        job("long", (), 3),
    ]
    run(jobs, Starts(tmp_path), workers=1, quiet=True)
    started = Starts(tmp_path).by_time()
    assert started[0] == "first"
    assert [key for key in started if key in ("short", "middle", "long")] == ["long", "middle", "short"]


# --- killed workers ---------------------------------------------------------------------------------


def test_a_job_whose_worker_is_killed_meanwhile_is_done_again_and_the_grid_goes_on(tmp_path, tried):
    jobs = [job("sleeps once"), job("kills the sleeper"), job("later", ["sleeps once"]), job("other")]
    run(jobs, Starts(tmp_path), workers=2, quiet=True)
    started = Starts(tmp_path)
    assert sorted(started.by_time()) == sorted([j.key for j in jobs] + ["sleeps once"])
    assert len(set(started.pids("sleeps once"))) == 2
    tried["kills at work"] += 1


def test_a_done_job_is_not_done_again_when_its_worker_is_killed_later(tmp_path, tried):
    run([job("done"), job("dies once", ["done"])], Starts(tmp_path), workers=1, quiet=True)
    assert Starts(tmp_path).by_time() == ["done", "dies once", "dies once"]
    tried["kills at work"] += 1


def test_a_job_that_kills_every_worker_ends_the_grid_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(grid.SETTINGS, "distributed.scheduler.allowed-failures", 1)
    with pytest.raises(RuntimeError, match=r"^job dies: its worker died again and again"):
        run([job("dies")], Starts(tmp_path), workers=1, quiet=True)
    assert Starts(tmp_path).by_time() == ["dies", "dies"]


# --- a cluster of the user's ------------------------------------------------------------------------


@pytest.fixture
def cluster(request):
    shape = {"n_workers": request.param, "threads_per_worker": 2}
    with LocalCluster(**shape, dashboard_address="127.0.0.1:0", silence_logs="CRITICAL") as cluster:
        yield cluster


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_running_cluster_does_every_job_of_every_run_and_reports_to_the_bar(tmp_path, cluster, monkeypatch):
    shown = []
    monkeypatch.setattr(_Bar, "show", lambda self, *args: shown.append(args))
    for _ in range(2):  # the same keys again are other jobs, and the cluster outlives a run
        jobs = [job("a"), job("b", "a"), job("c")]
        run(jobs, Starts(tmp_path), scheduler=cluster.scheduler_address, quiet=True)
    assert sorted(Starts(tmp_path).by_time()) == list("aabbcc")
    assert os.getpid() not in Starts(tmp_path).pids("a")
    assert sorted(shown) == sorted(
        [(k, 0.5, "half way") for k in "abcabc"] + [(k, 1.0, "done") for k in "abcabc"]
    )


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_failure_on_a_running_cluster_is_raised_with_its_own_error(tmp_path, cluster):
    with pytest.raises(RuntimeError, match="bad: cannot be done"):
        run([job("bad")], Write(tmp_path), scheduler=cluster.scheduler_address, quiet=True)


@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_cluster_without_workers_is_refused_rather_than_waited_for(tmp_path, cluster):
    with pytest.raises(RuntimeError, match=f"{cluster.scheduler_address} has no workers"):
        run([job("a")], Write(tmp_path), scheduler=cluster.scheduler_address, quiet=True)


@pytest.mark.parametrize("cluster", [1], indirect=True)
@pytest.mark.parametrize("where", ["scheduler", "workers"])
@pytest.mark.parametrize(("version", "theirs"), [("0.0.9", "0.0.9"), (None, "missing")])
def test_a_cluster_with_another_version_or_none_is_refused(
    tmp_path, cluster, monkeypatch, where, version, theirs
):
    versions = _versions("0.1.0")
    versions[where] = _versions(version)[where]
    monkeypatch.setattr("distributed.Client.get_versions", lambda *_, **__: versions)
    address = cluster.scheduler_address if where == "scheduler" else "tcp://w:1"
    with pytest.raises(RuntimeError, match=f"{address} has splithistory {theirs}, here it is 0.1.0"):
        run([job("a")], Write(tmp_path), scheduler=cluster.scheduler_address, quiet=True)


def _versions(version):
    found = {"packages": {"splithistory": version}}
    return {"client": found, "scheduler": found, "workers": {"tcp://w:1": found}}


def test_workers_and_a_scheduler_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match="given 'tcp://h:1' and 2 workers, allowed is one of the two"):
        run([], Write(tmp_path), workers=2, scheduler="tcp://h:1")


@pytest.mark.parametrize(
    "address",
    ["", "host", "tcp://host", "tcp://host:many", "tcp://host:99999", "http://host:8786", "tcp://:1", 8786],
)
def test_a_malformed_address_is_refused_before_anything_else(tmp_path, address):
    with pytest.raises(ValueError, match=f"scheduler: given {address!r}, allowed is an address such as tcp"):
        run([], Write(tmp_path), scheduler=address)


@pytest.mark.parametrize("listens", [False, True])
def test_an_address_where_nobody_or_no_scheduler_answers_is_given_up_on(tmp_path, monkeypatch, listens):
    monkeypatch.setattr(grid, "_PATIENCE", 0.5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:  # and says nothing, as a web server would on being spoken to in this way
            server.listen()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {address}"):
            run([job("a")], Write(tmp_path), scheduler=address, quiet=True)


# --- progress ---------------------------------------------------------------------------------------


def test_the_bar_counts_each_job_once_by_its_cost_whatever_is_reported(monkeypatch):
    monkeypatch.setattr("splithistory.study.grid.tqdm", lambda **kwargs: tqdm(**{**kwargs, "disable": False}))
    bar = _Bar([job("a"), Job("b", "job b", 3.0, (), "b")], quiet=False)
    for key, share in (("a", 0.5), ("b", 0.5), ("a", 0.2), ("a", 1.0), ("a", 1.0)):
        bar.show(key, share, "loss 0.5")
    assert bar.bar.n == 1.0 + 1.5
    assert "1/2 job a: loss 0.5" in bar.bar.desc
    bar.show("b", 1.0, "done")
    assert bar.bar.n == 4.0 and "2/2 job b: done" in bar.bar.desc
    bar.bar.close()
