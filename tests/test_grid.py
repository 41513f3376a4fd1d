"""The grid: order respected in both modes, failures raised, progress accounted for."""

import time

import pytest
from tqdm import tqdm

from splithistory.grid import Job, _Bar, run


def job(key, after=()):
    return Job(key, f"job {key}", 1.0, tuple(after), key)


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


def test_a_negative_number_of_workers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="workers: given -1, allowed is an integer >= 0"):
        run([job("a"), job("c")], Write(tmp_path), workers=-1)


def test_a_job_that_fails_on_a_worker_prints_no_traceback_of_its_own(tmp_path, capfd):
    with pytest.raises(RuntimeError, match="bad: cannot be done"):
        run([job("bad"), job("c")], Write(tmp_path), workers=2, quiet=True)
    assert "Traceback" not in capfd.readouterr().err


def test_the_bar_counts_each_job_once_by_its_cost_whatever_is_reported(monkeypatch):
    monkeypatch.setattr("splithistory.grid.tqdm", lambda **kwargs: tqdm(**{**kwargs, "disable": False}))
    bar = _Bar([job("a"), Job("b", "job b", 3.0, (), "b")], quiet=False)
    for key, share in (("a", 0.5), ("b", 0.5), ("a", 0.2), ("a", 1.0), ("a", 1.0)):
        bar.show(key, share, "loss 0.5")
    assert bar.bar.n == 1.0 + 1.5
    assert "1/2 job a: loss 0.5" in bar.bar.desc
    bar.show("b", 1.0, "done")
    assert bar.bar.n == 4.0 and "2/2 job b: done" in bar.bar.desc
    bar.bar.close()
