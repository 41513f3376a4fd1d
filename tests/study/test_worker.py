"""Jobs: an interrupted one goes on to the same bits, and a model's expectations are what it predicts."""

import hashlib
import os
import random
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from splithistory import Recurrence, study
from splithistory.study.store import Checkpoints, Store
from splithistory.study.worker import Worker, _histories, measure_tables, self_evaluation_tables

WORLD = Recurrence()
TINY = study.Profile(
    ("18k",),
    (0,),
    pretraining={"steps": 30, "batch": 16, "train_size": 64, "test_size": 32, "evaluations": 3},
    reinforcement={
        "updates": 30,
        "batch": 16,
        "pool": 64,
        "test_size": 32,
        "evaluations": 3,
        "maintenance_batch": 16,
    },
    arms={"sampled": replace(study.SAMPLED, n_good=(2,)), "exact": replace(study.EXACT, n_good=(2,))},
    measured=False,
)


def silent(share, text):
    pass


def weights_hash(store, spec):
    return hashlib.sha256(store.weights_file(spec).read_bytes()).hexdigest()


def test_guessing_weights_expect_every_token_alike():
    tables = self_evaluation_tables(lambda h: torch.zeros(len(h), 16), 2, 50)
    expected = tables["self_evaluation"]
    assert len(expected) == 2 * 17
    assert np.allclose(expected.filter(regex=r"^q\d"), 1 / 16)
    assert np.allclose(expected.filter(regex=r"^r\d"), 1 / 8)
    assert set(expected[expected["a"] == 0]["plays"]) == {50}
    assert np.allclose(tables["calibration"]["cross_entropy"], np.log(8))


def test_whoever_knows_the_world_expects_what_comes_and_is_calibrated():
    def knows(histories):
        acts_next = histories[0, -2] >= 8  # else the last token is an action, and an outcome comes
        if acts_next:
            return torch.from_numpy(WORLD.next_probs(histories))
        pasts = np.concatenate([histories[:, :1] * 0 + 8, histories[:, :-1]], 1)
        outcomes = WORLD.outcome_probs(pasts, histories[:, -1])
        return torch.from_numpy(np.log(np.concatenate([outcomes, np.full_like(outcomes, 1e-300)], 1)))

    tables = self_evaluation_tables(knows, 1, 200)
    chosen = tables["self_evaluation"].query("a == -1").filter(regex=r"^r\d").to_numpy()[0]
    histories = WORLD.histories(200, seed=[2**31 + 1, *b"set", 1])
    actions = WORLD.next_probs(histories).argmax(1)
    assert np.allclose(chosen, WORLD.outcome_probs(histories, actions).mean(0), atol=1e-12)
    fixed = tables["self_evaluation"].query("a == 3").filter(regex=r"^r\d").to_numpy()[0]
    assert np.allclose(fixed, WORLD.outcome_probs(histories, np.full(200, 3)).mean(0), atol=1e-12)
    assert np.allclose(tables["calibration"]["accuracy"], tables["calibration"]["confidence"])
    assert tables["calibration"].groupby("after")["weight"].sum().to_dict() == {"own": 200, "generator": 200}


def test_the_model_expects_after_what_it_played_and_no_one_else():
    """A model that answers its history's last token + 1 is asked again with that token at the end."""

    def next_number(histories):
        answer = torch.full((len(histories), 16), -20.0)
        answer[torch.arange(len(histories)), torch.as_tensor((histories[:, -1] + 1) % 16).long()] = 20.0
        return answer

    table = self_evaluation_tables(next_number, 1, 100)["self_evaluation"].set_index("a")
    histories = WORLD.histories(100, seed=[2**31 + 1, *b"set", 1])
    plays = np.bincount((histories[:, -1] + 1) % 16, minlength=16)
    assert table.loc[range(16), "plays"].tolist() == plays.tolist()
    shares = np.roll(plays, 1) / 100
    assert np.allclose(table.loc[-1, [f"q{k}" for k in range(16)]].astype(float), shares, atol=1e-6)
    for a in range(16):
        assert table.loc[a, f"q{(a + 1) % 16}"] == pytest.approx(1.0, abs=1e-6)


def test_the_two_halves_of_a_measurement_hold_all_histories():
    uniform = {(0.0, "all"): 0}
    tables = measure_tables(
        lambda h: {reading: np.full(len(h), 9) for reading in uniform}, 300, 2, 50, own=(0.0, "all")
    )
    assert tables["counts"].groupby("half")["count"].sum().tolist() == [150, 150]
    assert set(tables["counts"]["a"]) == {9} and len(tables["sampled"]) == 2


class Stopped(Exception):
    pass


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path):
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    study.run(TINY, whole, quiet=True)
    seen = []

    def stop_at_20(spec, take):
        seen.append(spec["kind"])
        if len(seen) % 20 == 0:
            raise Stopped

    for job in study.jobs(TINY):
        for _ in range(5):
            worker = _Interrupted(broken.root, job.payload, stop_at_20)
            try:
                worker([job.payload], silent)
                break
            except Stopped:
                assert list(broken.root.glob("*.unfinished/*.safetensors"))
        assert weights_hash(broken, job.payload) == weights_hash(whole, job.payload)
        assert broken.table(job.payload, "curves").equals(whole.table(job.payload, "curves"))
    assert len(seen) < 3 * 30 + 8  # went on, did not begin anew
    assert not list(broken.root.glob("*.unfinished"))


class _Interrupted(Worker):
    """A worker that leaves a checkpoint after every update and asks whether to stop."""

    def __init__(self, root, spec, ask):
        super().__init__(root, checkpoint_every=0)
        self.ask = ask

    def _checkpoints(self, specs):
        ask, kept = self.ask, super()._checkpoints(specs)

        class Asking(Checkpoints):
            def __call__(self, take):
                super().__call__(take)
                ask(specs[0], take)

        return Asking(kept.folder, every=kept.every)


def test_a_job_that_was_handed_out_twice_is_done_once(tmp_path):
    store, job = Store(tmp_path), study.jobs(TINY)[0]
    worker = Worker(store.root)
    worker([job.payload], silent)
    before = store.weights_file(job.payload).stat().st_mtime_ns
    worker([job.payload], silent)
    assert store.weights_file(job.payload).stat().st_mtime_ns == before


SEVERAL = replace(
    TINY,
    seeds=(0, 1),
    pretraining=TINY.pretraining | {"precision": "float32"},
    arms={"sampled": replace(study.SAMPLED, n_good=(2, 4))},
)


def test_runs_that_differ_in_seed_and_goal_train_in_one_program_as_they_would_alone(tmp_path):
    together, alone = Store(tmp_path / "together"), Store(tmp_path / "alone")
    for job in study.jobs(SEVERAL):
        Worker(alone.root)([job.payload], silent)
    programs = study._ensembles(study.jobs(SEVERAL))
    assert [len(program.payload) for program in programs] == [2, 4]
    assert programs[1].after == (programs[0].key,) and programs[1].label.endswith("and 3 like it")
    for program in programs:
        Worker(together.root)(program.payload, silent)
    for job in study.jobs(SEVERAL):
        # in float32 two orders of summation part slowly; another seed or goal is 100 times as far
        for name, weight in alone.weights(job.payload).items():
            assert np.abs(weight - together.weights(job.payload)[name]).max() < 0.01, (job.label, name)
        ours, theirs = (store.table(job.payload, "curves") for store in (together, alone))
        smooth = [name for name in theirs if not name.endswith(("greedy", "accuracy"))]
        assert list(ours) == list(theirs)
        assert np.allclose(ours[smooth], theirs[smooth], atol=1e-3, equal_nan=True), job.label
    assert not list(together.root.glob("*.unfinished"))


def test_an_ensemble_that_was_stopped_goes_on_and_what_is_done_is_not_done_again(tmp_path):
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    specs = study._ensembles(study.jobs(SEVERAL))[0].payload
    Worker(whole.root)(specs, silent)
    updates = []

    def stop_at_20(spec, take):
        updates.append(spec)
        if len(updates) == 20:
            raise Stopped

    with pytest.raises(Stopped):
        _Interrupted(broken.root, specs, stop_at_20)(specs, silent)
    _Interrupted(broken.root, specs, stop_at_20)(specs, silent)
    assert len(updates) == 30
    assert all(weights_hash(broken, spec) == weights_hash(whole, spec) for spec in specs)
    Worker(broken.root)(specs, lambda *_: pytest.fail("trained again"))


def test_an_ensemble_waits_for_all_that_any_of_its_runs_needs_whatever_is_done_already():
    listed = study.jobs(SEVERAL)
    left = [job for job in listed if job.key != listed[0].key]  # the first pretrained model is there
    assert left[0].payload["kind"] == "reinforce"
    first, second = study._ensembles(left)
    assert [spec["kind"] for spec in first.payload] == ["pretrain"] and second.after == (first.key,)


def test_histories_that_models_are_measured_on_are_drawn_once():
    assert _histories(50, b"half", 0) is _histories(50, b"half", 0)
    drawn = [_histories(50, purpose, number) for purpose in (b"half", b"set") for number in range(2)]
    assert len({histories.tobytes() for histories in drawn}) == 4


CHILD = """
import json, sys
from splithistory.study.worker import Worker
for spec in json.loads(sys.argv[2]):
    Worker(sys.argv[1], checkpoint_every=0.05)([spec], lambda share, text: None)
"""


@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    import json

    settings = {"batch": 32, "test_size": 128, "evaluations": 4}
    profile = replace(
        TINY,
        pretraining={"steps": 400, "train_size": 2048, **settings},
        reinforcement={"updates": 300, "pool": 2048, "maintenance_batch": 16, **settings},
    )
    specs = [job.payload for job in study.jobs(profile)]
    arguments = [sys.executable, "-c", CHILD, "STORE", json.dumps(specs)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def start(root):
        command = [str(root) if a == "STORE" else a for a in arguments]
        return subprocess.Popen(command, env=environment)

    assert start(tmp_path / "whole").wait() == 0
    store, moments, hits = Store(tmp_path / "killed"), random.Random(0), []
    for _ in range(20):
        child = start(store.root)
        _wait_until_training(child, store)
        time.sleep(moments.uniform(0.0, 0.5))
        running = child.poll() is None
        child.kill()
        child.wait()
        hits.append(running and not all(spec in store for spec in specs))
    assert sum(hits) >= 15, hits
    assert start(store.root).wait() == 0
    for spec in specs:
        assert weights_hash(store, spec) == weights_hash(Store(tmp_path / "whole"), spec)
    leftovers = [p.name for p in store.root.iterdir() if p.suffix == ".unfinished"]
    assert leftovers == []


def _wait_until_training(child, store):
    """Until a new checkpoint or a finished run shows that the child is at work (or it has ended)."""

    def seen():
        return {(p.name, p.stat().st_mtime_ns) for p in store.root.glob("*/*") if p.exists()}

    before, deadline = seen(), time.monotonic() + 60
    while child.poll() is None and seen() == before and time.monotonic() < deadline:
        time.sleep(0.01)
