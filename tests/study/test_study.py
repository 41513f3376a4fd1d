"""The study: jobs keyed and ordered, published tables whole, measurements those of the models."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, tiny_profile

from splithistory import Recurrence, SplitHistory, engine, split_history, statistics, study
from splithistory.information import entropy, kl
from splithistory.study import publishing
from splithistory.study.measuring import HISTORY_SEED
from splithistory.study.profiles import ACTED, EXACT, SAMPLED, Arm, Profile
from splithistory.study.publishing import _plain
from splithistory.study.runs import VERSION, Pretrain, Worker
from splithistory.study.store import Store, key, provenance

TINY = tiny_profile(3, 1, n_histories=400, repeats=2, set_size=50)
BOTH = replace(TINY, seeds=(0, 1), arms={"sampled": SAMPLED, "exact": EXACT})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    assert study.run(TINY, store, quiet=True) == 10
    return store, study.collect(TINY, store)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A store in which every run of BOTH is finished: to read, not to write into."""
    store = Store(tmp_path_factory.mktemp("both"))
    study.run(BOTH, store, quiet=True)
    return store


def test_quick_lists_every_model_and_its_measurement_after_what_it_needs():
    jobs = study.jobs(study.PROFILES["quick"])
    kinds = [job.payload.kind for job in jobs]
    assert [kinds.count(kind) for kind in ("pretrain", "reinforce", "measure")] == [6, 18, 31]
    seen = set()
    for job in jobs:
        assert set(job.after) <= seen
        seen.add(job.key)
    assert len(seen) == len(jobs)


def test_a_setting_is_of_every_size_and_what_an_arm_sets_stays():
    given = {"noise": 0.1, "rate": 5e-4, "pretraining_rate": 0.02}
    runs = [model.run for model in study.models(study.varied(study.PROFILES["post"], given))]
    assert {run.world.noise for run in runs} == {0.1}
    rates = {(run.kind, run.config.rate) for run in runs if run.trains}
    assert rates == {("pretrain", 0.02), ("reinforce", 5e-4)}
    arms = study.models(study.varied(study.PROFILES["ablations"], {"batch": 64}))
    batches = {model.arm: model.run.config.batch for model in arms if model.stage == "finetuned"}
    assert (batches["batch 32"], batches["updates 1600"]) == (32, 64)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match=r"^settings: given alphabet, allowed are modulus, window, noise,"):
        study.varied(TINY, {"alphabet": 4})


PREDICTING = replace(TINY, arms={}, measured=False)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Profile(("19k",), (0,)), "sizes: given '19k', allowed are 18k, 53k, 144k, 402k"),
        (lambda: Profile("18k", (0,)), "sizes: given '18k', allowed are 18k, 53k, 144k, 402k"),
        (lambda: Profile(("18k",), (0.5,)), "seed: given 0.5, allowed is an integer >= 0"),
        (lambda: Profile(("18k",), "01"), "seed: given '01', allowed is an integer >= 0"),
        (lambda: replace(TINY, n_histories=1), "n_histories: given 1, allowed is an integer >= 2"),
        (lambda: replace(TINY, measured="no"), "measured: given 'no', allowed are True and False"),
        (lambda: Arm(n_good=(3,)), "n_good: given 3, allowed are 2, 4, 6"),
        (lambda: Arm("tuned"), "stage: given 'tuned', allowed are finetuned, pretrained"),
        (lambda: Arm(sizes=("19k",)), "sizes: given '19k', allowed are 18k"),
        (lambda: Arm(context=16), "context: given 16, allowed of what acts is 20"),
        (
            lambda: replace(TINY, arms={"a": Arm("pretrained", context=16)}),
            "context: given 16, allowed of what is measured is 20",
        ),
        (
            lambda: replace(TINY, arms={"a": Arm(settings={"ratee": 1})}),
            "settings: given 'ratee', allowed are",
        ),
        (lambda: replace(TINY, pretraining={"updates": 1}), "settings: given 'updates', allowed are batch"),
        (
            lambda: replace(TINY, world={"windo": 3}),
            "world: given 'windo', allowed are modulus, window, alph",
        ),
        (lambda: replace(TINY, world={"alphabet": 4}), "alphabet: given 4, allowed is 8, that of the goals"),
        (lambda: study.varied(TINY, {"window": 21}), "window: given 21, allowed is an integer in 2..20"),
        (
            lambda: study.varied(replace(TINY, measured=False), {"window": 22}),
            "window: given 22, allowed is an integer in 2..21",
        ),
        (
            lambda: study.varied(TINY, {"reinforcement_odd_only": "no"}),
            "odd_only: given 'no', allowed are True and False",
        ),
    ],
)
def test_a_profile_that_cannot_be_trained_or_measured_is_refused_before_it_is(made, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        study.jobs(made())


def test_what_only_predicts_may_see_less_than_its_world_multiplies():
    assert len(study.jobs(study.varied(PREDICTING, {"window": 24}))) == 1
    assert len(study.jobs(study.varied(TINY, {"window": 20}))) == len(study.jobs(TINY))
    assert len(study.jobs(study.varied(replace(TINY, measured=False), {"window": 21}))) == 4


def test_numbers_of_numpy_name_the_same_runs_as_pythons_own():
    given = {"batch": 32, "noise": 0.1, "window": 8, "reinforcement_odd_only": True}
    same = {name: np.array(value)[()] for name, value in given.items()}
    numpy_profile = replace(TINY, seeds=tuple(np.arange(1)), n_histories=np.int64(TINY.n_histories))
    profiles = study.varied(TINY, given), study.varied(numpy_profile, same)
    own, numpys = ([job.key for job in study.jobs(profile)] for profile in profiles)
    assert own == numpys and _plain(profiles[0]) == _plain(profiles[1])


def test_a_key_changes_with_everything_that_changes_the_weights():
    base = next(job.payload for job in study.jobs(TINY) if isinstance(job.payload, Pretrain))
    assert base.spec["config"]["dropout"] == 0.1  # defaults are in the key
    for name, value in (("engine", VERSION + 1), ("seed", 1), ("size", "53k"), ("config", {"steps": 4})):
        assert key({**base.spec, name: value}) != base.key


def test_another_world_is_another_run_and_the_posts_is_not_named():
    posts, noisy = (study.jobs(replace(TINY, world=world)) for world in ({}, {"noise": 0.1}))
    assert not {job.key for job in posts} & {job.key for job in noisy}
    assert all("world" not in str(job.payload.spec) for job in posts)
    assert {job.payload.world.noise for job in noisy} == {0.1}
    assert study.jobs(replace(TINY, world={"noise": 0.02}))[1].key == posts[1].key  # the post's, spelled out


def test_models_are_trained_and_measured_in_the_world_that_the_profile_names(tmp_path):
    noisy, store = replace(TINY, world={"noise": 1.0}, arms={}), Store(tmp_path)
    study.run(noisy, store, quiet=True)
    collected = study.collect(noisy, store)
    assert collected.world == Recurrence(noise=1.0)
    assert collected.manifest["profile"]["world"] == {"noise": 1.0}
    assert collected.measured(0).op == pytest.approx(0, abs=1e-12)  # outcomes are drawn, whatever is played


def test_a_second_run_finds_everything_done(tiny):
    assert study.run(TINY, tiny[0]) == 0


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("tpu", 0, "device: given 'tpu', allowed on this machine: cpu, cuda"),
        ("cuda", 2, "device: given 'cuda' with workers or a scheduler, allowed is one or the other"),
        ("cuda:0", 2, "device: given 'cuda:0' with workers or a scheduler, allowed is one or the other"),
    ],
)
def test_a_device_that_is_not_there_or_not_alone_is_refused(device, workers, message, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "devices", lambda: ["cpu", "cuda"])
    with pytest.raises(ValueError, match=message):
        study.run(TINY, Store(tmp_path / "new"), device=device, workers=workers)
    assert not (tmp_path / "new").exists()


def test_a_processor_by_its_number_is_a_processor(tmp_path):
    store = Store(tmp_path)
    study.check_where(device="cpu:0", workers=2)
    assert study.run(PREDICTING, store, device="cpu:0", quiet=True) == 1
    made = store.manifest(study.jobs(PREDICTING)[0].payload.spec)["machine"]
    assert made == provenance()["machine"]


TAKEN = []


class OnCpu(Worker):
    """This machine has no GPU: what is planned for one is done without."""

    def __init__(self, root, device):
        assert device == "cuda"
        super().__init__(root)

    def __call__(self, runs, report):
        TAKEN.append((runs[0].kind, len(runs)))
        super().__call__(runs, report)


def test_on_a_gpu_all_members_of_a_size_and_arm_train_at_once_and_every_run_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "devices", lambda: ["cpu", "cuda"])
    # A build of torch for CUDA, without a driver: only what is told that there is a GPU would ask for it.
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_current_stream_capturing", lambda: pytest.fail("the driver was asked")
    )
    monkeypatch.setattr(study, "Worker", OnCpu)
    store = Store(tmp_path)
    n_runs = study.run(BOTH, store, device="cuda", quiet=True)
    assert n_runs == len(study.jobs(BOTH)) and all(job.payload.spec in store for job in study.jobs(BOTH))
    assert sorted(t for t in TAKEN if t[0] != "measure") == [("pretrain", 2)] + [("reinforce", 6)] * 2
    assert len(study.collect(BOTH, store).models) == len(study.models(BOTH))


def test_a_run_on_a_gpu_says_on_which(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a {device} device")
    assert Worker(tmp_path, device="cuda")._made()["machine"].endswith(", a cuda device")
    assert "a cuda device" not in Worker(tmp_path)._made()["machine"]


def test_a_gpu_does_not_go_on_where_a_processor_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a {device} device")
    runs, store = [study.jobs(TINY)[0].payload], Store(tmp_path)
    workers = [Worker(tmp_path, device=device) for device in ("cpu", "cuda")]
    folders = {worker._checkpoints(store, runs).folder for worker in workers}
    assert len(folders) == 2


def test_the_plan_counts_what_is_done_and_what_is_not(tiny, tmp_path):
    for store, line in (
        (tiny[0], "reinforce      3      3      0"),
        (Store(tmp_path), "reinforce      3      0      3"),
    ):
        assert line in study.plan(TINY, study.to_do(TINY, store), store, 2)


def test_a_measurement_is_that_of_the_stored_weights(tiny):
    store, collected = tiny
    from splithistory.transformer import Architecture, as_policy

    row = collected.models[collected.models["n_good"] == 4].iloc[0]
    spec = next(job.payload.spec for job in study.jobs(TINY) if job.key == row["run"])
    weights = {k: v[None] for k, v in store.weights(spec).items()}
    histories = Recurrence().histories(200, seed=[HISTORY_SEED, *b"half", 2])
    for temperature in (0.0, 1.0):
        policy = as_policy(weights, Architecture(32, 2), temperature=temperature)
        expected = split_history(histories, policy, Recurrence())
        found = collected.measured(row["model"], temperature=temperature, half=1)
        assert np.allclose(found.counts, expected.counts, atol=1e-9)
        assert collected.measured(row["model"], temperature=temperature).n_histories == 400


def test_a_model_held_to_odd_tokens_plays_no_other(tiny):
    for model in tiny[1].models["model"]:
        held = tiny[1].measured(model, tokens="odd")
        assert held.n_histories == 400 and held.action_probs[:8].sum() == 0


def test_the_generator_is_measured_on_the_same_histories(tiny):
    assert tiny[1].models["stage"].tolist() == ["generator", "untrained", "pretrained"] + 3 * ["finetuned"]
    histories = Recurrence().histories(200, seed=[HISTORY_SEED, *b"half", 1])
    expected = split_history(histories, Recurrence().next_probs, Recurrence())
    found = tiny[1].measured(0, temperature=1.0, half=0)
    assert np.allclose(found.counts, expected.counts, atol=1e-9)


def test_published_tables_are_read_back_as_they_were(tiny, tmp_path, monkeypatch):
    tiny[1].publish(tmp_path / "quick", "the command")
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path))
    read = study.load("quick")
    for name in study.Study.TABLES:
        assert getattr(read, name).equals(getattr(tiny[1], name)), name
    assert read.manifest["command"] == "the command"
    expected = {*study.Study.TABLES, "measures"}
    assert set(read.manifest["files"]) == {f"{name}.parquet" for name in expected}


def test_published_tables_that_were_altered_are_refused(tiny, tmp_path, monkeypatch, tried):
    tiny[1].publish(tmp_path / "quick", "the command")
    (tmp_path / "quick" / "counts.parquet").write_bytes(b"")
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path))
    with pytest.raises(ValueError, match=r"counts.parquet is missing or altered"):
        study.load("quick")
    tried["altered files"] += 1


def test_an_unknown_profile_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"profile: given 'nope', allowed are smoke, quick, post"):
        study.load("nope")


def test_what_is_published_is_what_the_profile_asks_for():
    published, profile = study.published("post"), study.PROFILES["post"]
    assert published.manifest["profile"] == _plain(profile)
    assert set(published.runs["key"]) <= {job.key for job in study.jobs(profile)}
    whole = 3 * len(profile.sizes) * len(profile.seeds)
    assert len(published.finetuned("sampled")) == whole
    assert len(published.finetuned("exact")) in (0, whole)  # an arm is published when it is finished


@pytest.mark.parametrize(
    "reads",
    [
        lambda: study.load("smoke"),
        lambda: study.published("post"),
        lambda: study.so_far("post"),
        study.published_weights,
        study.results_root,
        lambda: study.check("post"),
    ],
)
@pytest.mark.parametrize("installed", [True, False])
def test_where_there_are_no_results_a_line_says_where_they_come_from(reads, installed, tmp_path, monkeypatch):
    monkeypatch.setattr(publishing, "_IN_CHECKOUT", tmp_path / "results")  # as beside an installed package
    monkeypatch.delenv("SPLITHISTORY_RESULTS", raising=False)
    if not installed:
        monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))  # mistyped
    monkeypatch.setattr(study, "run", None)  # nothing trains
    assert study.has_results() is not installed
    with pytest.raises(
        ValueError, match=r"^results: given .*results, which is no folder; allowed is the .*\)"
    ):
        reads()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["halved column", "missing", "another root"])
def test_trials_that_are_not_as_published_are_refused_in_a_line(what, tmp_path, monkeypatch):
    assert len(study.tuning()) == 29
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path))
    if what != "another root":
        shutil.copytree(ROOT / "results/tuning", tmp_path / "tuning")
        trials = pd.read_csv(tmp_path / "tuning/trials.csv")
        trials.assign(rate=trials["rate"] / 2).to_csv(tmp_path / "tuning/trials.csv", index=False)
    if what == "missing":
        (tmp_path / "tuning/trials.csv").unlink()
    with pytest.raises(ValueError, match=r"^store: \S+ is missing( or altered)?; restore it with git$"):
        study.tuning()


def test_of_a_profile_of_which_nothing_is_published_there_is_a_study_without_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path))
    found = study.so_far("sinks")
    assert found.models.empty and found.sizes == [] and found.world == Recurrence(sinks=[[15, [0, 1]]])
    ended = found.ended(found.finetuned("exact"), "success_greedy")
    assert ended.empty and "success_greedy" in ended
    with pytest.raises(ValueError, match="profile: given 'sink'"):
        study.so_far("sink")


def test_the_summary_measures_each_model_on_its_own_goal(tiny):
    summary = tiny[1].summary()
    assert summary["n_good"].tolist() == [2, 4, 6]
    row = summary.iloc[1]
    measured = tiny[1].measured(row["model"])
    assert row["s"] == pytest.approx(measured.success((0, 2, 4, 6)))
    assert row["op"] == pytest.approx(measured.op) and row["op_low"] < row["op"] < row["op_high"]
    assert row["gap"] == pytest.approx(row["op"] - row["implied_op"])


def test_comparison_futures_are_those_of_whoever_acts_instead(tiny):
    model = tiny[1].models.query("n_good == 4")["model"].item()
    own = tiny[1].measured(model)
    futures = tiny[1].comparison_futures(model)
    assert list(futures) == [
        "split history",
        *(f"token {a}" for a in range(8, 16)),
        "random token",
        "untrained",
        "pretrained",
    ]
    always = np.zeros_like(own.counts)
    always[:, 11] = own.counts.sum(1)
    assert np.allclose(
        futures["token 11"].counterfactual_probs, SplitHistory(always, own.world).outcome_probs
    )
    before = tiny[1].measured(tiny[1].models.query("stage == 'pretrained'")["model"].item())
    expected = entropy(before.outcome_probs) - entropy(own.outcome_probs)
    assert futures["pretrained"].op == pytest.approx(expected, abs=1e-12)
    assert futures["pretrained"].imp == pytest.approx(kl(own.outcome_probs, before.outcome_probs), abs=1e-12)
    mean = np.mean([futures[f"token {a}"].counterfactual_probs for a in range(8, 16)], 0)
    assert np.allclose(futures["random token"].counterfactual_probs, mean)


def test_a_model_is_measured_by_its_own_expectations_on_one_set_or_all(tiny):
    model = tiny[1].models.query("n_good == 2")["model"].item()
    table = tiny[1].self_evaluation.query("model == @model")
    first = tiny[1].self_evaluated(model, repeat=0)
    rows = table.query("repeat == 0").set_index("a")
    assert np.allclose(first.action_probs, rows.loc[range(16), "plays"] / TINY.set_size)
    assert np.allclose(first.outcome_probs, rows.loc[-1].filter(regex=r"^r\d"))
    # the optimized future is the mean of what it expects after each action it chose
    assert tiny[1].self_evaluated(model).n_outcomes == 8
    everything = tiny[1].self_evaluated(model, restricted=False)
    assert everything.n_outcomes == 16
    means = table.query("a == 9").filter(regex=r"^q\d").mean()
    assert np.allclose(everything.counterfactual_probs[9], means)


def test_decompositions_add_up_for_finetuned_models_and_for_pretrained_ones_on_every_goal(tiny):
    terms = tiny[1].decompositions()
    assert terms["stage"].tolist() == 3 * ["pretrained"] + 3 * ["finetuned"]
    parts = ["op_success_rate", "op_within_success", "op_within_failure"]
    assert np.allclose(terms[parts].sum(axis=1) - terms["delta"], terms["op"], atol=1e-12)


def test_a_finetuned_model_starts_from_its_own_pretrained_one_and_seeds_differ(tmp_path):
    profile = replace(TINY, seeds=(0, 1))
    store = Store(tmp_path)
    study.run(profile, store, quiet=True)
    runs = [job.payload for job in study.jobs(profile)]
    pretrained = {run.seed: store.weights(run.spec) for run in runs if run.kind == "pretrain"}
    finetuned = [run for run in runs if run.kind == "reinforce"]

    def distance(a, b):
        return max(np.abs(a[k] - b[k]).max() for k in a)

    assert distance(pretrained[0], pretrained[1]) > 0.5
    for run in finetuned:  # three updates of at most a rate each, and three of maintenance
        own = run.seed
        weights = store.weights(run.spec)
        assert 0 < distance(weights, pretrained[own]) < 0.02 < distance(weights, pretrained[1 - own])


def test_halves_and_repeats_are_drawn_apart(tiny):
    first, second = (tiny[1].measured(0, half=half).counts for half in (0, 1))
    assert first.sum() == second.sum() == 200 and not np.array_equal(first, second)
    futures = tiny[1].sampled[tiny[1].sampled["model"] == 3].filter(regex="^f").to_numpy()
    assert len(futures) == TINY.repeats and not np.array_equal(futures[0], futures[1])


def test_the_summary_holds_what_the_measure_says(tiny):
    for row in tiny[1].summary().itertuples():
        measured, goal = tiny[1].measured(row.model), study.GOALS[row.n_good]
        assert row.imp_min == measured.imp_min(goal) and row.delta == measured.delta
        assert row.s_prime == measured.counterfactual_success(goal)
        assert row.wrong_parity == pytest.approx(measured.action_probs[:8].sum())
        low, high = measured.interval("imp")
        assert (row.imp_low, row.imp_high) == pytest.approx((low, high))


def test_published_measures_are_those_that_the_tables_of_counts_give(tiny, tmp_path):
    tiny[1].publish(tmp_path / "published", "command")
    published = study.Study.read(tmp_path / "published")
    assert published.measures_file is not None
    for temperature in (0.0, 1.0):
        assert published.summary(temperature=temperature).equals(tiny[1].summary(temperature=temperature))
    assert set(published.measures["model"]) == set(tiny[1].models["model"])  # the generator, too
    assert published.measures[["op_low", "op_high", "imp_low", "imp_high"]].notna().all(axis=None)


def test_the_posts_procedure_has_its_own_interval_over_its_sets_and_no_other(tiny):
    row = tiny[1].by_procedure(tiny[1].summary()).iloc[0]
    mean, half = statistics.t_interval(tiny[1].sampled.groupby("model")["op"].get_group(row["model"]))
    assert row[["op", "op_low", "op_high"]].tolist() == pytest.approx([mean, mean - half, mean + half])
    assert [name for name in row.index if name.endswith("_low")] == ["op_low"]


def test_pieces_that_are_finished_apart_make_the_same_tables_as_the_whole(both, tmp_path, monkeypatch):
    monkeypatch.setitem(study.PROFILES, "both", BOTH)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    expected = study.collect(BOTH, both)
    for number, piece in enumerate(({"seeds": [1]}, {"seeds": [0], "arms": ["exact"]}, {})):
        store = Store(tmp_path / f"store{number}")
        assert study.run(BOTH.part(**piece), store, known=study.published("both"), quiet=True) > 0
        study.publish("both", store)
    merged = study.published("both")
    for name in set(study.Study.TABLES) - {"runs"}:
        assert getattr(merged, name).equals(getattr(expected, name)), name
    assert set(merged.runs["key"]) == set(expected.runs["key"])
    assert study.run(BOTH, Store(tmp_path / "empty"), known=merged, quiet=True) == 0


def test_only_the_part_that_was_asked_for_is_published(both, tmp_path, monkeypatch):
    monkeypatch.setitem(study.PROFILES, "both", BOTH)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    study.publish("both", both, BOTH.part(arms=["sampled"]))
    assert set(study.published("both").models["arm"]) == {"", "sampled"}
    study.publish("both", both, BOTH.part(seeds=[1]))
    assert len(study.published("both").finetuned("exact")) == 3


def test_what_a_missing_piece_needs_is_trained_again_only_if_its_weights_are_gone(tmp_path, monkeypatch):
    monkeypatch.setitem(study.PROFILES, "both", BOTH)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    store = Store(tmp_path / "store")
    study.run(BOTH.part(arms=["sampled"]), store, quiet=True)
    study.publish("both", store)
    left = {job.payload.kind for job in study.to_do(BOTH, store, study.published("both"))}
    assert left == {"reinforce", "measure"}
    anew = study.to_do(BOTH, Store(tmp_path / "empty"), study.published("both"))
    kinds = [job.payload.kind for job in anew]
    assert [kinds.count(kind) for kind in ("pretrain", "reinforce", "measure")] == [2, 6, 6]


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        ({"sizes": ["1k"]}, "sizes: given '1k', allowed are 18k"),
        ({"seeds": [7]}, "seeds: given 7, allowed are 0"),
        ({"arms": ["best"]}, "arms: given 'best', allowed are sampled"),
    ],
)
def test_a_piece_that_the_profile_does_not_have_is_refused(piece, message):
    with pytest.raises(ValueError, match=message):
        TINY.part(**piece)


def test_arms_differ_in_what_they_say_and_share_the_pretrained_model():
    listed = study.models(BOTH.part(seeds=[0]))
    finetuned = {name: [m.run for m in listed if m.arm == name] for name in ("sampled", "exact")}
    assert [run.config.arm for run in finetuned["exact"]] == 3 * ["exact"]
    parents = {run.parent.key for runs in finetuned.values() for run in runs}
    assert parents == {m.run.key for m in listed if m.stage == "pretrained"}


def test_whatever_starts_from_published_weights_does_not_train_them_again(both, tmp_path, monkeypatch):
    more = replace(BOTH, seeds=(0,), measured=False, arms={"acted": ACTED})
    monkeypatch.setitem(study.PROFILES, "both", replace(BOTH, publish_weights=True))
    monkeypatch.setitem(study.PROFILES, "more", more)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    first, second = both, Store(tmp_path / "second")
    study.publish("both", first)
    weights = study.published_weights()
    assert {job.payload.kind for job in study.to_do(more, second, weights=weights)} == {"reinforce"}
    assert study.run(more, second, weights=weights, quiet=True) == 3
    base = next(model.run.spec for model in study.models(more))
    assert second.weights_file(base).read_bytes() == first.weights_file(base).read_bytes()
    assert second.table(base, "curves").equals(first.table(base, "curves"))
    made = [{k: s.manifest(base)[k] for k in ("seconds", "versions", "revision")} for s in (first, second)]
    assert made[0] == made[1]
    assert len(study.collect(more, second).models) == 4
    assert len(study.to_do(more, Store(tmp_path / "third"))) == 4  # without them it trains all


def test_published_weights_are_pretrained_ones_and_the_first_seed_s_and_come_back(
    both, tmp_path, monkeypatch
):
    monkeypatch.setitem(study.PROFILES, "both", replace(BOTH, publish_weights=True, measured=False))
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    study.publish("both", both)
    found = study.published("both")
    trained = found.models[found.models["stage"].isin(["pretrained", "finetuned"])]
    shared = (trained["seed"] == 0) | (trained["stage"] == "pretrained")
    assert set(found.weight_files) == set(trained[shared]["model"])
    model = trained[trained["seed"] == 0].iloc[-1]
    spec = study.models(study.PROFILES["both"])[model["model"]].run.spec
    assert all(np.array_equal(v, both.weights(spec)[k]) for k, v in found.weights(model["model"]).items())
    with pytest.raises(ValueError, match=r"model: given 99, allowed are \["):
        found.weights(99)
    elsewhere = replace(study.PROFILES["both"], weight_sizes=("53k",))
    monkeypatch.setitem(study.PROFILES, "both", elsewhere)
    study.publish("both", both)
    found = study.published("both")
    assert not found.weight_files and found.manifest["profile"]["weight_sizes"] == ["53k"]


def test_retrained_models_are_compared_with_the_spread_between_seeds(tiny, both):
    everything = study.collect(replace(TINY, seeds=(0, 1)), both)
    _, retrained = tiny
    retrained = replace(retrained, curves=retrained.curves.copy())
    lines, far = study.compare(retrained, everything)
    assert len(lines) == 4 and far == []
    wrong = retrained.curves["column"] == "test_loss"
    retrained.curves.loc[wrong, "value"] += 1.0
    assert study.compare(retrained, everything)[1] == [
        next(x for x in study.compare(retrained, everything)[0])
    ]


PUBLISHED = ["post", "faithful", "recipe", "explored", "sinks", "hidden", "penalised"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_any_published_profile_that_is_measured_can_be_checked(name, monkeypatch):
    found, trained = study.published(name), []
    monkeypatch.setattr(study, "run", lambda part, store: trained.append(part))
    monkeypatch.setattr(study, "collect", lambda part, store: found)
    lines = study.check(name).splitlines()
    assert [line.split(":")[0] for line in lines][1:] == ["finetuned s", "finetuned op", "finetuned imp"]
    tuned = [model for model in study.models(trained[0]) if model.stage == "finetuned"]
    golden = found.models.set_index("run")
    assert [golden.loc[model.run.key, "n_good"] for model in tuned] == [4]
    row = golden.loc[tuned[0].run.key]
    arm = next(iter(study.PROFILES[name].arms))
    assert (row["size"], row["seed"], row["arm"]) == ("18k", 0, arm)


def test_a_profile_that_is_not_measured_is_not_trained_to_be_checked(monkeypatch):
    monkeypatch.setattr(study, "run", lambda *_: pytest.fail("trains"))
    with pytest.raises(ValueError, match=r"^profile: given 'ablations', whose models are not measured on"):
        study.check("ablations")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"device": "quantum"}, "device: given 'quantum', allowed on this machine: cpu"),
        ({"device": ""}, "device: given '', allowed on this machine: cpu"),
        ({"store": 3}, "store: given 3, allowed is a study.store.Store"),
    ],
)
def test_a_device_or_store_that_is_none_is_refused_though_nothing_is_to_be_trained(given, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        study.load("post", **given)


def test_weights_are_of_the_training_that_the_tables_are_of(tiny, tmp_path):
    store, collected = tiny
    collected.publish(tmp_path / "published", "command", weights=collected.models["model"])
    known, elsewhere = study.Study.read(tmp_path / "published"), Store(tmp_path / "elsewhere")
    run = study.models(TINY)[-1].run  # trained anew, and not yet measured
    weights = {name: values + 1 for name, values in store.weights(run.spec).items()}
    elsewhere.save(run.spec, weights=weights, tables={"curves": store.table(run.spec, "curves")}, seconds=1.0)
    merged = study.collect(TINY, elsewhere, known)
    assert merged.weight_files == known.weight_files
    # of a model outside the part that is asked for, the published ones, though the store has all
    outside = study.collect(TINY, store, known, replace(TINY, arms={}))
    theirs = [model for model, file in outside.weight_files.items() if file == known.weight_files[model]]
    assert theirs == collected.finetuned()["model"].tolist()
    assert len(outside.weight_files) == len(theirs) + 1


def test_a_key_of_no_run_moves():
    # published runs are found by their keys: a key that moves is a model that is trained again
    golden = json.loads((ROOT / "tests/keys.json").read_text("utf8"))
    found = {name: {job.label: job.key for job in study.jobs(p)} for name, p in study.PROFILES.items()}
    assert found == golden


def test_every_published_run_is_one_of_the_golden_keys():
    golden = json.loads((ROOT / "tests/keys.json").read_text("utf8"))
    for name in ("post", "ablations"):
        keys = set(study.published(name).runs["key"])
        assert keys and keys <= set().union(*(runs.values() for runs in golden.values()))
