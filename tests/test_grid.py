"""The grid: order respected in both modes, failures raised, progress accounted for."""

import pytest

from splithistory.grid import Job, default_workers, run


def job(key, after=()):
    return Job(key, f"job {key}", 1.0, tuple(after), key)


class Write:
    """Leaves a file a job, and fails where its predecessor has not left one."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, payload, report):
        report(0.5, "half way")
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


def test_default_workers_never_exceed_the_cores():
    import os

    assert 0 <= default_workers() <= os.cpu_count()
