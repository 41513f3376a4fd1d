"""Jobs: an interrupted one goes on to the same bits, and a model's expectations are what it predicts."""

import hashlib
import os
import pickle
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny_profile

from splithistory import Recurrence, study
from splithistory.study import store as store_module
from splithistory.study.measuring import _histories
from splithistory.study.profiles import EXACT, SAMPLED
from splithistory.study.runs import Worker
from splithistory.study.store import Checkpoints, Store

TINY = tiny_profile(
    30,
    3,
    arms={"sampled": replace(SAMPLED, n_good=(2,)), "exact": replace(EXACT, n_good=(2,))},
    measured=False,
)


def silent(share, text):
    pass


def weights_hash(store, run):
    return hashlib.sha256(store.weights_file(run.spec).read_bytes()).hexdigest()


class Stopped(Exception):
    pass


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint_to_the_same_bits(tmp_path, tried):
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    study.run(TINY, whole, quiet=True)
    seen = []

    def stop_at_20(run, take):
        seen.append(run.kind)
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
        assert broken.table(job.payload.spec, "curves").equals(whole.table(job.payload.spec, "curves"))
        tried["resumed trainings"] += 1
    assert len(seen) < 3 * 30 + 8  # went on, did not begin anew
    assert not list(broken.root.glob("*.unfinished"))


class _Interrupted(Worker):
    """A worker that leaves a checkpoint after every update and asks whether to stop."""

    def __init__(self, root, _, ask):
        super().__init__(root, checkpoint_every=0)
        self.ask = ask

    def _checkpoints(self, store, runs):
        ask, kept = self.ask, super()._checkpoints(store, runs)

        class Asking(Checkpoints):
            def __call__(self, take):
                super().__call__(take)
                ask(runs[0], take)

        return Asking(kept.folder, every=kept.every)


def test_a_job_that_was_handed_out_twice_is_done_once(tmp_path):
    store, job = Store(tmp_path), study.jobs(TINY)[0]
    worker = Worker(store.root)
    worker([job.payload], silent)
    before = store.weights_file(job.payload.spec).stat().st_mtime_ns
    worker([job.payload], silent)
    assert store.weights_file(job.payload.spec).stat().st_mtime_ns == before


SEVERAL = replace(
    TINY,
    seeds=(0, 1),
    pretraining=TINY.pretraining | {"precision": "float32"},
    arms={"sampled": replace(SAMPLED, n_good=(2, 4))},
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
        for name, weight in alone.weights(job.payload.spec).items():
            assert np.abs(weight - together.weights(job.payload.spec)[name]).max() < 0.01, (job.label, name)
        ours, theirs = (store.table(job.payload.spec, "curves") for store in (together, alone))
        smooth = [name for name in theirs if not name.endswith(("greedy", "accuracy"))]
        assert list(ours) == list(theirs)
        assert np.allclose(ours[smooth], theirs[smooth], atol=1e-3, equal_nan=True), job.label
    assert not list(together.root.glob("*.unfinished"))


def test_an_ensemble_that_was_stopped_goes_on_and_what_is_done_is_not_done_again(tmp_path):
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    runs = study._ensembles(study.jobs(SEVERAL))[0].payload
    Worker(whole.root)(runs, silent)
    updates = []

    def stop_at_20(run, take):
        updates.append(run)
        if len(updates) == 20:
            raise Stopped

    with pytest.raises(Stopped):
        _Interrupted(broken.root, runs, stop_at_20)(runs, silent)
    _Interrupted(broken.root, runs, stop_at_20)(runs, silent)
    assert len(updates) == 30
    assert all(weights_hash(broken, run) == weights_hash(whole, run) for run in runs)
    Worker(broken.root)(runs, lambda *_: pytest.fail("trained again"))


def test_an_ensemble_killed_while_it_is_saved_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    whole, broken, save = Store(tmp_path / "whole"), Store(tmp_path / "broken"), Store.save
    runs = study._ensembles(study.jobs(SEVERAL))[0].payload
    Worker(whole.root)(runs, silent)

    def second(store, spec, **kept):
        if spec == runs[1].spec:
            raise Stopped
        save(store, spec, **kept)

    updates = []
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Store, "save", second)
        _Interrupted(broken.root, runs, lambda *_: updates.append(1))(runs, silent)
    assert [run.spec in broken for run in runs] == [True, False] and len(updates) == 30
    saved = broken.weights_file(runs[0].spec).stat().st_mtime_ns
    missing = study.to_do(SEVERAL, broken)
    (again,) = (
        p.payload for p in study._ensembles(study._with_saved(SEVERAL, missing, broken)) if not p.after
    )
    assert again == runs
    _Interrupted(broken.root, runs, lambda *_: updates.append(1))(again, silent)
    assert len(updates) == 30  # the last checkpoint is of the end
    assert weights_hash(broken, runs[1]) == weights_hash(whole, runs[1])
    assert broken.weights_file(runs[0].spec).stat().st_mtime_ns == saved
    assert not list(broken.root.glob("*.unfinished"))


def test_of_an_ensemble_of_which_some_are_done_the_others_train_without_them(tmp_path):
    runs, steps = study._ensembles(study.jobs(SEVERAL))[0].payload, []
    Worker(tmp_path)(runs[:1], silent)
    _Interrupted(tmp_path, runs, lambda run, take: steps.append(take()["adam.flat"].shape[0]))(runs, silent)
    assert set(steps) == {1} and runs[1].spec in Store(tmp_path)
    assert study._with_saved(SEVERAL, study.to_do(SEVERAL, Store(tmp_path)), Store(tmp_path)) == study.to_do(
        SEVERAL, Store(tmp_path)
    )


def test_an_ensemble_waits_for_all_that_any_of_its_runs_needs_whatever_is_done_already():
    listed = study.jobs(SEVERAL)
    left = [job for job in listed if job.key != listed[0].key]  # the first pretrained model is there
    assert left[0].payload.kind == "reinforce"
    first, second = study._ensembles(left)
    assert [run.kind for run in first.payload] == ["pretrain"] and second.after == (first.key,)


def test_histories_that_models_are_measured_on_are_drawn_once():
    same = [_histories(Recurrence(), 50, b"half", 0) for _ in range(2)]
    assert same[0] is same[1]
    drawn = [
        _histories(Recurrence(), 50, purpose, number) for purpose in (b"half", b"set") for number in range(2)
    ]
    assert len({histories.tobytes() for histories in drawn}) == 4


CHILD = """
import pickle, sys
from splithistory.study.runs import Worker
for run in pickle.loads(bytes.fromhex(sys.argv[2])):
    Worker(sys.argv[1], checkpoint_every=0.05)([run], lambda share, text: None)
"""


@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_with_the_same_weights(tmp_path, tried):
    settings = {"batch": 32, "test_size": 128, "evaluations": 4}
    profile = replace(
        TINY,
        pretraining={"steps": 400, "train_size": 2048, **settings},
        reinforcement={"updates": 300, "pool": 2048, "maintenance_batch": 16, **settings},
    )
    runs = [job.payload for job in study.jobs(profile)]
    arguments = [sys.executable, "-c", CHILD, "STORE", pickle.dumps(runs).hex()]
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
        hits.append(running and not all(run.spec in store for run in runs))
    assert sum(hits) >= 15, hits
    assert start(store.root).wait() == 0
    for run in runs:
        assert weights_hash(store, run) == weights_hash(Store(tmp_path / "whole"), run)
    leftovers = [p.name for p in store.root.iterdir() if p.suffix == ".unfinished"]
    assert leftovers == []
    tried["kills at work"] += sum(hits)


def _wait_until_training(child, store):
    """Until a new checkpoint or a finished run shows that the child is at work (or it has ended)."""

    def seen():
        return {(p.name, p.stat().st_mtime_ns) for p in store.root.glob("*/*") if p.exists()}

    before, deadline = seen(), time.monotonic() + 60
    while child.poll() is None and seen() == before and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_run_says_what_its_origin_says_and_needs_only_what_trains():
    runs = [job.payload for job in study.jobs(replace(TINY, measured=True))]
    kinds = ("pretrain", "reinforce", "measure")
    of_kind = {kind: [run for run in runs if run.kind == kind] for kind in kinds}
    (base,) = of_kind["pretrain"]
    assert base.after == () and base.goal == () and base.n_parameters == 18_128
    for run in of_kind["reinforce"]:
        assert (run.after, run.seed, run.size, run.goal) == ((base.key,), 0, "18k", (0, 4))
        assert run.n_bytes == base.n_bytes and run.label == base.label
    generator, untrained, *measured = of_kind["measure"]
    assert generator.after == untrained.after == () and generator.architecture is None
    assert (generator.size, generator.seed, generator.n_parameters) == ("", -1, 0)
    assert [run.after for run in measured] == [(run.key,) for run in (base, *of_kind["reinforce"])]


def test_runs_share_an_ensemble_if_they_differ_in_seed_and_goal_only():
    runs = [job.payload for job in study.jobs(SEVERAL)]
    assert len({run.ensemble for run in runs}) == 2 and len(runs) == 6
    other = study.jobs(replace(SEVERAL, arms={"exact": replace(EXACT, n_good=(2,))}))
    apart = {job.payload.ensemble for job in other if job.payload.kind == "reinforce"}
    assert not {run.ensemble for run in runs} & apart


def test_two_studies_on_one_store_do_each_run_once(tmp_path, monkeypatch):
    done = []

    def do(self, runs, report, store):
        for run in runs:
            done.append(run.key)
            time.sleep(0.01)
            store.save(run.spec, seconds=1.0)

    monkeypatch.setattr(Worker, "_do", do)
    monkeypatch.setattr(store_module, "_PATIENCE", 1e-3)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: study.run(TINY, Store(tmp_path), quiet=True), range(2)))
    assert sorted(done) == sorted(job.key for job in study.jobs(TINY))
    assert not list(tmp_path.glob("*.lock")) and not list(tmp_path.glob(".*"))


def test_a_run_that_another_process_is_at_is_waited_for_and_not_done_again(tmp_path, monkeypatch):
    store, run, told = Store(tmp_path), study.jobs(TINY)[0].payload, []

    def finished(share, text):
        told.append(text)
        store.save(run.spec, seconds=1.0)  # by the other process
        stack.close()

    monkeypatch.setattr(store_module, "_PATIENCE", 1e-3)
    monkeypatch.setattr(type(run), "do", lambda *_: pytest.fail("done twice"))
    with ExitStack() as stack:
        stack.enter_context(store.alone([run.spec]))
        Worker(tmp_path)([run], finished)
    assert told == ["another process is at it"]
