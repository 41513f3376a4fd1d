"""The benchmarks: what they count, compare and write; how fast anything is, is not tested."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from conftest import ROOT
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from splithistory import Recurrence, split_history, study
from splithistory.episodes import split_episodes
from splithistory.pages import findings
from splithistory.simulators import seeds
from splithistory.study import SIZES
from splithistory.transformer import Architecture, initialise, logits

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench
import exact
import lake
import replaying
import script
import table
from plain_measure import pairwise
from plain_training import PlainTransformer
from throughput import Gate, forward_flops, precisions, thread_counts

ARCHITECTURES = [Architecture(16, 1), *(Architecture(*shape) for shape in SIZES.values())]


def counted(architecture, batch):
    """Operations that PyTorch sees in our forward pass."""
    weights = initialise(architecture, [0])
    tokens = torch.zeros(1, batch, architecture.context, dtype=torch.long)
    # the fused kernel of one query is not counted, its parts are
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logits(weights, architecture, tokens)
    return counter.get_total_flops()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_operations_are_those_that_pytorch_counts(architecture):
    a = architecture
    # one sample more: what is done once a batch drops out
    assert counted(a, 3) - counted(a, 2) == forward_flops(a)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_model_is_our_function_of_as_many_weights(architecture):
    plain = PlainTransformer(architecture, dropout=0.1).eval()
    assert sum(p.numel() for p in plain.parameters()) == architecture.n_parameters
    weights = initialise(architecture, [0])
    names = {k: f"encoder.{k}" if k.startswith("layers") else k for k in weights}
    plain.load_state_dict({"code": plain.code} | {names[k]: v[0] for k, v in weights.items()})
    tokens = torch.randint(16, (4, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            plain(tokens), logits(weights, architecture, tokens[None])[0], atol=1e-5, rtol=1e-4
        )


def test_the_faster_number_format_stands_beside_each_competitor():
    found = {"18k": {"float32": [9.0], "bfloat16": [8.0], "other": [2.0], "jax": [3.0]}}
    rows = bench.best_rows(found)
    told = [(row["name"], row["ratio"], row["met"]) for row in rows]
    assert told == [("training 18k, beside plain loop", 4.5, True), ("training 18k, beside JAX", 3.0, True)]
    assert {row["note"] for row in rows} == {"ours: float32"}
    on_a_gpu = bench.best_rows({"18k": {**found["18k"], "jax": None}}, " on a GPU")
    assert [row["name"] for row in on_a_gpu] == ["training on a GPU 18k, beside plain loop"]


def test_pairwise_loop_measures_what_we_measure():
    world = Recurrence()
    histories = world.histories(600, seed=0)
    actions = world.noiseless_next(histories) + 8
    ours = split_history(histories, lambda _: actions, world)
    op, imp = pairwise(histories, actions, world, seed=1)
    assert (op, imp) == pytest.approx((ours.op, ours.imp), abs=0.02)  # plug-in bias: about K / 2N = 0.007


def test_the_loop_over_env_step_does_what_we_do():
    sizes = {"n_outcomes": 6, "horizon": replaying.STEPS, "n_sequences": 3, "n_seeds": 3, "n_episodes": 4}
    ours = split_episodes(
        lambda: gymnasium.make("CartPole-v1"), replaying.controller, replaying.LASTED, **sizes, seed=1, idle=0
    )
    own, replays = replaying.plain(3, 4, seed=1)
    bins = np.vectorize(lambda steps: replaying.LASTED(None, {"episode": {"l": steps}}))
    assert np.array_equal(bins(own), ours.outcomes) and np.array_equal(bins(replays), ours.replays)


def test_the_fast_lake_is_gymnasium_s_own():
    fast = lake.Lake("fell, on the way, arrived", epsilon=0.0)
    fast.policy = np.eye(4)[fast.policy.argmax(-1)]  # of equally good actions the first
    own, recorded, under = seeds(3, 6, 4, 5)
    groups = [
        np.array([np.random.default_rng(s).random(lake.HORIZON + 1)[1:] for s in g])
        for g in (own, recorded, under)
    ]
    outcomes, _ = fast.closed_loop(groups[0], np.random.default_rng(0))
    _, sequences = fast.closed_loop(groups[1], np.random.default_rng(0))

    class Best:  # the policy differs from step to step
        def reset(self):
            self.step = -1

        def __call__(self, state):
            self.step += 1
            return int(fast.policy[self.step, state].argmax())

    measured = split_episodes(
        lambda: gymnasium.make("FrozenLake-v1"),
        Best(),
        lambda state, info: fast.labels[state],
        **{"n_outcomes": 3, "horizon": lake.HORIZON, "n_episodes": 6, "n_sequences": 4, "n_seeds": 5},
        idle=lake.IDLE,
        seed=3,
    )
    assert np.array_equal(measured.outcomes, outcomes)
    assert np.array_equal(measured.replays, fast.replays(sequences, groups[2]))
    assert len(np.unique(outcomes)) > 1


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_growth_exponent_of_a_power_law(exponent):
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    assert exact.growth_exponent(sizes, 3e-7 * sizes**exponent) == pytest.approx(exponent)


def test_peak_memory_is_the_process_s_own():
    code = "import exact; print(exact.peak_bytes())"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, check=True
    )
    assert 10e6 < int(child.stdout) < exact.peak_bytes()  # no torch there; ru_maxrss would be inherited


class Orders:
    """A pipe on which turns that end at once are ordered, and what was answered."""

    def __init__(self):
        self.answers = []
        self.send, self.recv = self.answers.append, lambda: (torch.get_num_threads(), 0.0)

    wait = staticmethod(lambda: None)  # the barrier of a process alone


def test_gate_counts_steps_whenever_it_is_called(monkeypatch):
    clock = iter([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0])  # three looks at each call
    monkeypatch.setattr("throughput.time.perf_counter", lambda: next(clock))
    orders = Orders()
    gate = Gate(orders, orders, "cpu")
    for step in (10, 20, 50):
        gate(step, None)
    assert orders.answers == [0, 10, 15]  # ready; 10 steps in 1 s; 30 in 2 s


def test_precisions_are_all_that_training_offers():
    offered = precisions(bench.pretraining(bench.QUICK))
    assert next(iter(offered)) == "float32"
    assert {c.train_size for c in offered.values()} == {bench.QUICK.windows}


def test_thread_counts():
    assert [thread_counts(n) for n in (1, 2, 3, 6, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_row_says_how_many_times_better_ours_is():
    more = table.row("throughput", [30, 10, 20], [5], unit="1/s")
    assert (more["ours"], more["ours_min"], more["ours_max"], more["ratio"]) == (20, 10, 30, 4)
    assert (more["target"], more["met"]) == (None, None)
    assert table.row("time", [2], [10], unit="s", less_is_better=True)["ratio"] == 5


@pytest.mark.parametrize("name", table.TARGETS)
def test_targets_are_met_at_the_bound_and_missed_beyond(name):
    column, bound, target = table.TARGETS[name]
    beyond = target * (1.01 if bound == "at most" else 0.99)
    met = [table.row(name, [v], [1] if column == "ratio" else None, unit="")["met"] for v in (target, beyond)]
    assert met == [True, False]


ON_A_GPU = {name for name in table.TARGETS if "GPU" in name}


def test_rows_of_a_gpu_have_names_and_targets_of_their_own(report, monkeypatch):
    found = {"18k": {"other": [1.0], "threads": 1, "processes": 1, "members": 15, "bfloat16": [60.0]}}
    rows = bench.throughput_rows("bfloat16", found, " on a GPU")
    rows += bench.share_rows("bfloat16", found, {"float32": 2e9}, " on a GPU")
    assert not {row["name"] for row in rows} & {row["name"] for row in report["rows"]}
    assert [(row["name"], row["met"]) for row in rows if row["target"]] == [
        ("training on a GPU, geometric mean, bfloat16", True)
    ]
    tiny = {"steps": 2, "batch": 8, "train_size": 16, "test_size": 8, "evaluations": 1}
    profile = study.Profile(("18k",), (0,), arms={}, pretraining=tiny, measured=False)
    monkeypatch.setitem(bench.PROFILES, "post", profile)
    took = bench.study_row("post", "cpu")
    assert took["name"] in ON_A_GPU and 0 < took["ours"] and took["note"].startswith("1 runs")


@pytest.fixture
def report():
    """A report of made-up measurements."""
    rounds = {"other": [1.0], "threads": 1, "processes": 2, "members": 1}
    found = {
        "18k": {**rounds, "float32": [8.0, 2.0, 4.0], "bfloat16": [2.0]},
        "402k": {**rounds, "float32": [16.0], "bfloat16": [32.0]},
    }
    peaks = {"float32": 2e9, "bfloat16": 4e9}
    times = [[1000, [1.0, 1.0]], [10_000, [10.0, 10.0]]]
    measured = {"times": times, "exact": [1.0], "pairwise": [200.0], "peak": 2e8, "imports": 5e7}
    rows = bench.peak_rows(peaks) + bench.measure_rows(measured, bench.Settings())
    steps = {"states": [[100, [1.0]], [400, [4.0]]], "horizon": [[10, [1.0]], [40, [8.0]]]}
    rows += bench.episode_rows({**steps, "peak": 2e8, "imports": 5e7}, bench.Settings())
    rows += bench.jacobian_rows({64: [9.0], 128: [1.0], 256: [8.0], 512: [64.0]})
    rows.append(bench.replay_row([7.0], [70.0], 200))
    rows += bench.best_rows({size: {**found["18k"], "jax": [2.0]} for size in SIZES})
    rows += bench.directed_rows({"seconds": [1.0, 3.0], "converged": [True, False]}, bench.Settings())
    for precision in ("float32", "bfloat16"):
        rows += bench.throughput_rows(precision, found) + bench.share_rows(precision, found, peaks)
    return {"device": "a-machine", "commit": "abc", "date": "today", "versions": {}, "rows": rows}


def test_rows_from_measurements(report):
    rows = {row["name"]: row for row in report["rows"]}
    assert len(rows) == len(report["rows"]) and set(table.TARGETS) - ON_A_GPU <= set(rows)
    assert rows["training, geometric mean, float32"]["ratio"] == pytest.approx(8)  # of 4 and 16
    assert rows["training, geometric mean, bfloat16"]["ratio"] == pytest.approx(8)  # of 2 and 32
    assert rows["matrix peak, bfloat16"]["ratio"] == 2
    assert rows["exact measure, growth with histories"]["ours"] == pytest.approx(1)
    assert rows["exact measure against the post's pairs"]["ratio"] == 200
    assert rows["exact measure"]["met"] is False  # 10 s
    assert rows["many steps"]["ours"] == 4 and rows["many steps"]["met"]
    assert rows["many steps, growth with states"]["ours"] == pytest.approx(1)
    assert rows["many steps, growth with horizon"]["ours"] == pytest.approx(1.5)
    assert rows["differential measures, growth with width"]["ours"] == pytest.approx(3)  # 64 does not count
    assert rows["goal-directedness, unknown utility"]["ours"] == 2  # the median world
    assert rows["replays in a simulator"]["met"] is False and rows["replays in a simulator"]["ratio"] == 10
    assert rows["goal-directedness, converged"]["met"] is False  # half of them


def test_report_is_written_whole_with_all_columns(report, tmp_path):
    place = table.write(report, tmp_path / "results")
    assert place == tmp_path / "results/a-machine.json"
    assert json.loads(place.read_text("utf8")) == report
    for row in report["rows"]:
        assert {"name", "ours", "other", "ratio", "unit", "target", "met"} <= set(row)


def test_reports_of_other_machines_are_kept_and_refused_if_altered(report, tmp_path):
    first = table.write(report, tmp_path)
    table.write({**report, "device": "another"}, tmp_path)
    assert [r["device"] for r in findings.benchmarks(tmp_path)] == ["a-machine", "another"]
    first.write_text(first.read_text("utf8").replace("1", "2"), "utf8")
    with pytest.raises(ValueError, match=r"a-machine.json is missing or altered; restore it with git"):
        table.write({**report, "device": "third"}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-machine.json",
        "another.json",
        "manifest.json",
    ]


def test_a_failed_write_leaves_the_old_report(report, tmp_path, monkeypatch):
    place = table.write(report, tmp_path / "results")
    before = place.read_text("utf8")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="disk full"):
        table.write({**report, "date": "tomorrow"}, tmp_path / "results")
    assert {path.name for path in tmp_path.rglob("*")} == {"results", place.name, "manifest.json"}
    assert place.read_text("utf8") == before


def test_table_has_a_line_a_row(report):
    lines = table.shown(report).splitlines()
    assert len(lines) == 2 + len(report["rows"])
    (line,) = (line for line in lines if line.startswith("exact measure  "))
    assert "ours ≤ 3" in line and "NO" in line


def test_device_name_is_fit_for_a_file():
    assert table.device_name("cpu", 2) == f"cpu-2-{table._slug(table._cpu_model())}"
    assert table._slug("AMD EPYC(TM) 9J14 @ 2.6 GHz ") == "amd-epyc-tm-9j14-2-6-ghz"


@pytest.mark.parametrize("given", [["--device", "tpu"], ["--device", "cuda"], ["--fast"]])
def test_bad_input_is_one_line(given, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        bench.main(given)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and given[-1] in said


@pytest.mark.slow
def test_quick_run_measures_everything_and_keeps_nothing(monkeypatch, capsys):
    monkeypatch.setattr(bench, "write", lambda *_: pytest.fail("a quick try was kept"))
    assert bench.main(["--quick"]) == 0
    said = capsys.readouterr().out
    _, *larger = SIZES  # a quick try trains the smallest size only
    rows = {"training 18k, float32", "arithmetic 18k", *table.TARGETS} - ON_A_GPU
    asked = [name for name in rows if not any(size in name for size in larger)]
    assert [name for name in asked if name not in said] == []


@pytest.mark.parametrize(
    "name", ["agent", "calibrate", "compare", "lake", "misgeneralise", "promises", "tune"]
)
def test_a_script_without_results_to_write_below_says_so_in_one_line(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "mistyped"))
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py"])
    with pytest.raises(SystemExit) as stop:
        script.run(importlib.import_module(name).main)
    said = capsys.readouterr().err
    assert stop.value.code == 1 and said.startswith(f"{name}: error: results: given ")
    assert said.count("\n") == 1 and "mistyped" in said and list(tmp_path.iterdir()) == []
