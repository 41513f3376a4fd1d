"""The engine: the rate's course, the log, updates recorded for a GPU, and where an update's tensors lie."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOAL, SHORT, SMALL, TUNE, double

from splithistory import engine
from splithistory.engine import Diverged, Log, Recorded, schedule
from splithistory.training import pretrain, reinforce


def test_the_rate_warms_up_to_its_peak_and_falls_along_a_cosine_to_a_tenth():
    rates = [schedule(step, 100, 10) for step in range(1, 101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[54] == pytest.approx(0.55, abs=0.02) and (np.diff(rates[9:]) <= 0).all()


def test_a_row_averages_the_losses_since_the_row_before():
    log = Log(4, 2, ["seed 0"], "stage", None, dict)
    log.begin()
    for step, loss in enumerate([1.0, 3.0, 5.0, 7.0], start=1):
        log.record(step, {"train_loss": torch.tensor([loss])})
    curves = log.curves()
    assert curves["step"].tolist() == [[0, 2, 4]]
    assert curves["train_loss"][0, 1:].tolist() == [2.0, 6.0]


def test_a_loss_that_nothing_trains_may_grow_but_not_be_nan():
    log = Log(2, 1, ["seed 0"], "stage", None, dict)
    log.untrained = ("even_loss",)
    assert log._checked(1, "even_loss", [60.0]) == [60.0]
    for what, value in (("even_loss", float("nan")), ("train_loss", 60.0)):
        with pytest.raises(Diverged, match=what):
            log._checked(1, what, [value])


# --- the path of a GPU, as far as it goes without one -------------------------------------------------


class Tape:
    """What CUDA does with a recorded update: recording makes none, each launch makes one, in one place."""

    def __init__(self):
        self.streams, self.launches = [], 0

    def record(self, update, generators):
        self.streams.append(generators)
        left = {}

        def launch():
            self.launches += 1
            for name, value in update().items():
                left.setdefault(name, torch.empty_like(value)).copy_(value)

        return launch, left


@pytest.fixture
def gpu(monkeypatch):
    """Training believes that its tensors lie on a GPU; updates are recorded on the tape that this is."""
    tape = Tape()
    here = contextmanager(lambda *_: (yield))
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, here)
    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(engine, "on_gpu", lambda device: True)
    monkeypatch.setattr(engine, "devices", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(engine, "record", tape.record)
    return tape


def trainings():
    start = double([0, 1])
    yield lambda: pretrain(SMALL, SHORT, [0, 1], dtype=torch.float64)
    for maintenance in ("generator", "acted", "joint"):
        config = replace(TUNE, maintenance=maintenance)
        yield lambda config=config: reinforce(SMALL, config, start, [0, 1], [GOAL, (0, 1, 2)])


@pytest.mark.parametrize("number", range(4))
def test_recorded_updates_train_as_updates_one_by_one_do(number, request):
    train = list(trainings())[number]
    plain = train()
    tape = request.getfixturevalue("gpu")
    recorded = train()
    assert tape.launches == 20 - engine._WARM_UP and len(tape.streams) == 1
    for name, weight in plain.weights.items():  # the rate is a float32 number on the device
        assert np.abs(weight - recorded.weights[name]).max() < 1e-5, name
    for name, values in plain.curves.items():
        assert np.allclose(values, recorded.curves[name], atol=1e-5, equal_nan=True), name


def test_two_trainings_at_a_time_have_two_streams_and_the_next_has_one_of_them(gpu):
    engine._STREAMS.clear()
    train = engine.on_own_stream(lambda meanwhile, *, device: meanwhile())
    train(lambda: train(int, device="cuda"), device="cuda")
    streams = set(map(id, engine._STREAMS))
    train(int, device="cuda")
    assert len(streams) == 2 and set(map(id, engine._STREAMS)) == streams


@pytest.mark.parametrize(("number", "purposes"), [(0, 2), (1, 4)])
def test_every_stream_that_an_update_draws_from_is_known_to_the_recording(number, purposes, gpu):
    list(trainings())[number]()
    assert len(set(map(id, gpu.streams[0]))) == 2 * purposes  # two members


def test_what_a_recorded_update_reports_is_not_overwritten_by_the_next(monkeypatch):
    tape, count = Tape(), iter(range(100))
    monkeypatch.setattr(engine, "record", tape.record)
    update = Recorded(lambda: {"train_loss": torch.tensor([float(next(count))])}, [])
    reports = [update()["train_loss"] for _ in range(8)]
    assert [r.item() for r in reports] == list(range(8))


@pytest.fixture(scope="module")
def pretended():
    """What `pretended_device.py` found, in a process of its own: a device is made known once and for good."""
    script = Path(__file__).with_name("pretended_device.py")
    found = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_no_update_of_reinforcement_waits_for_the_device_or_leaves_it(pretended):
    assert pretended["crossings"] == []
    assert set(pretended["reported"]) == {"pretended"}


def test_data_of_a_gpu_are_kept_there(pretended):
    assert set(pretended["data"]) == {"pretended"}


def test_a_value_that_the_host_must_read_would_be_seen(pretended):
    assert "local_scalar_dense" in pretended["error"]
    assert pretended["crossings_of_a_copy"] == ["aten._to_copy.default"]
