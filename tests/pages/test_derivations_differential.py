"""Chapters a4 and a5: every slip of the post is caught, simulated systems and real blocks agree."""

import json
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, CaughtAt, Rehearsed, cells, execute, member, perturbed, planted
from safetensors.torch import save_file

from splithistory import blocks, differential, study
from splithistory.study import GOALS, Study
from splithistory.study.store import write_manifest
from splithistory.transformer import Architecture, activations, branches, initialise

sys.path.insert(0, str(ROOT / "benchmarks"))
import jacobian

# --- a4: the post's slips ---------------------------------------------------------------------------

SLIPS = {
    "J_g and J_h swapped": ("j_h / j_g - k)", "j_g / j_h - k)"),
    "the standard deviation taken for the variance": ("z), (k * sigma) ** 2)", "z), k * sigma)"),
    "ln k": ("claimed = -sp.log(k)", "claimed = sp.log(k)"),
    "a comma between the means": ("(m1 - m2) ** 2", "(m1 * m2) ** 2"),
    "the means added": ("(m1 - m2) ** 2", "(m1 + m2) ** 2"),
    "the factor (1 - k)^2 lost": ("(mean_square, (1 - k) ** 2 * sigma**2", "(mean_square, sigma**2"),
    "the half lost": ("-sp.log(k) + half * (k**2 + 1", "-sp.log(k) + (k**2 + 1"),
    "C without its absolute value": ("op, imp = -sp.log(sp.Abs(c)),", "op, imp = -sp.log(c),"),
    "no second minimum": ("{1, -sp.Rational(1, 2)}", "{1}"),
    "another value at the second minimum": ("sp.log(2) + sp.S(3) / 4", "sp.log(2) + sp.S(1) / 4"),
    "J_h - J_g with the other sign": (
        "(moments(split)[0], (j_h - j_g) * z2)",
        "(moments(split)[0], (j_g - j_h) * z2)",
    ),
    "the trace of the quadratic form lost": (" + (m * root * root.T).trace()\n", "\n"),
    "plus in an expanded term": ("fourth += -tr(g.T @ b @ h)", "fourth += tr(g.T @ b @ h)"),
    "the dimension not cancelled": (
        "return (second + fourth) / 2",
        "return (second + fourth - g.shape[0]) / 2",
    ),
    "plus in the line before last": (
        "return tr(inv(g) @ h @ h.T @ inv(g.T)) - tr(inv(g) @ h)",
        "return tr(inv(g) @ h @ h.T @ inv(g.T)) + tr(inv(g) @ h)",
    ),
    "C turned upside down": (
        "    c = inv(g) @ h\n    return tr(c @ c.T)",
        "    c = inv(h) @ g\n    return tr(c @ c.T)",
    ),
    "the determinant not squared": ("1 / det(inv(g) @ h) ** 2", "1 / det(inv(g) @ h)"),
    "-ln(C^2) + C^2 - C": ("sum(-sp.log(x) + x**2 - x for", "sum(-sp.log(x**2) + x**2 - x for"),
    "plus in the rectangular form": (
        "tr(h @ h.T @ s) - tr(g @ h.T @ s)\n\n",
        "tr(h @ h.T @ s) + tr(g @ h.T @ s)\n\n",
    ),
    "R turned the other way": (
        "c = inv(spread(g)) @ inv(g) @ h @ spread(g)",
        "c = spread(g) @ inv(g) @ h @ inv(spread(g))",
    ),
}


@cache
def rehearsed() -> Rehearsed:
    return Rehearsed("a4-differential", seed=1, n_samples=20_000)


def test_the_chapter_as_it_stands_is_caught_nowhere(capsys):
    rehearsed().each_again()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("slip", SLIPS)
def test_a_planted_slip_is_caught_in_its_own_cell(slip, tried):
    sources, where = planted("a4-differential", *SLIPS[slip])
    with pytest.raises(CaughtAt) as caught:
        rehearsed().again(sources, where)
    assert caught.value.args == (where,)
    tried["planted changes"] += 1


def test_a_wrong_formula_disagrees_with_the_simulations():
    wrong = "formula = differential.imp(g @ root, h @ root) + 0.1"
    sources, where = planted("a4-differential", "formula = differential.imp(g @ root, h @ root)", wrong)
    with pytest.raises(CaughtAt) as caught:
        rehearsed().again(sources, where)
    assert caught.value.args == (where,)


# --- simulated systems ------------------------------------------------------------------------------

SHAPES = [(1, 1), (2, 2), (3, 3), (5, 5), (1, 3), (2, 4), (4, 5)]
EACH, DRAWS = 35, 4000


def systems(rows, columns):
    """Random J_g and J_h, neither nearly singular, determinants of both signs: (EACH, rows, columns) each."""
    rng = np.random.default_rng([rows, columns])
    noise = rng.uniform(-0.5, 0.5, size=(2, EACH, rows, columns)) / rows**0.5
    j_g, j_h = np.eye(rows, columns) + noise
    return j_g, j_h * rng.choice([-1.2, 0.4, 1.0], size=(EACH, rows, 1))


def log_density(x, root):
    """Log density of N(0, root rootᵀ) at x (S, N, n), up to the constant that all share."""
    factor = np.linalg.cholesky(root @ np.swapaxes(root, -1, -2))
    whitened = np.linalg.solve(factor, np.swapaxes(x, -1, -2))
    return -np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)[:, None] - (whitened**2).sum(-2) / 2


def simulated(j_g, j_h):
    """Mean and standard error, over draws, of what Op and Imp are the expectations of: (2, S) each."""
    rng = np.random.default_rng([7, *j_g.shape])
    turned = [np.swapaxes(j, -1, -2) for j in (j_g, j_h, j_h - j_g)]
    past, other, third = rng.normal(size=(3, len(j_g), DRAWS, j_g.shape[-1]))
    future, split, carried = past @ turned[1], third @ turned[0], other @ turned[2]
    surprise = log_density(future, j_h)
    draws = np.stack([surprise - log_density(split, j_g), surprise - log_density(future - carried, j_g)])
    return draws.mean(-1), draws.std(-1, ddof=1) / DRAWS**0.5


@pytest.fixture(scope="module")
def deviations():
    """Simulation minus formula in standard errors, Op and Imp of 245 systems, and Tr C in the same units."""
    found = []
    for shape in SHAPES:
        j_g, j_h = systems(*shape)
        mean, error = simulated(j_g, j_h)
        formula = np.stack([differential.op(j_g, j_h), differential.imp(j_g, j_h)])
        trace = np.trace(j_h @ np.linalg.pinv(j_g), axis1=-2, axis2=-1)
        found.append(np.concatenate([(mean - formula) / error, [trace / error[1]]]))
    return np.concatenate(found, -1)


@pytest.mark.parametrize("measure", [0, 1])
def test_formulas_agree_with_simulated_systems_within_their_standard_errors(deviations, measure):
    z = deviations[measure]
    assert len(z) == EACH * len(SHAPES) >= 200
    assert np.abs(z).max() < 4.5
    assert abs((z**2).mean() - 1) < 4 * (2 / len(z)) ** 0.5  # the mean of as many squares of normal variables
    assert abs(z.mean()) < 4 / len(z) ** 0.5


def test_the_posts_plus_before_the_last_trace_disagrees_with_nearly_all_of_them(deviations):
    assert (np.abs(deviations[1] + 2 * deviations[2]) > 4.5).mean() > 0.9


# --- blocks -----------------------------------------------------------------------------------------


def hand_written_jacobian_of_layer_norm(p, gain):
    d, spread = len(p), np.sqrt(p.var() + 1e-5)
    unit = (p - p.mean()) / spread
    return gain[:, None] * (np.eye(d) - 1 / d - np.outer(unit, unit) / d) / spread


def test_from_function_agrees_with_a_feed_forward_half_differentiated_by_hand(network):
    architecture, weights, tokens = network
    x, own = activations(weights, architecture, tokens)[2][1, 4], member(weights, 1)
    _, feed_forward = branches(own, architecture, 2, x)
    j_g, j_h = differential.from_function(feed_forward, lambda a, p: p + a, x[-1])
    w = {name.removeprefix("layers.2."): value.numpy() for name, value in own.items()}
    p = x[-1].numpy()
    normed = (p - p.mean()) / np.sqrt(p.var() + 1e-5) * w["norm2.weight"] + w["norm2.bias"]
    fires = w["linear1.weight"] @ normed + w["linear1.bias"] > 0
    by_hand = (w["linear2.weight"] * fires) @ w["linear1.weight"]
    by_hand = by_hand @ hand_written_jacobian_of_layer_norm(p, w["norm2.weight"])
    assert np.array_equal(j_g, np.eye(16))
    assert np.abs(j_h - np.eye(16) - by_hand).max() < 1e-10


def test_from_function_agrees_with_an_attention_half_differentiated_by_hand(network):
    architecture, weights, tokens = network
    x, own = activations(weights, architecture, tokens)[1][0, 2], member(weights, 0)
    attention, _ = branches(own, architecture, 1, x)
    _, j_h = differential.from_function(attention, lambda a, p: p + a, x[-1])
    w = {name.removeprefix("layers.1."): value.numpy() for name, value in own.items()}
    x = x.numpy()
    normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    normed = normed * w["norm1.weight"] + w["norm1.bias"]
    fused, bias = w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"]
    q, k, v = ((normed @ fused[s].T + bias[s]) for s in (slice(0, 16), slice(16, 32), slice(32, 48)))
    heads = []
    for rows in (slice(4 * h, 4 * h + 4) for h in range(4)):
        share = np.exp(k[:, rows] @ q[-1, rows] / 2)
        share /= share.sum()
        slope_q, slope_k, slope_v = (fused[16 * n : 16 * n + 16][rows] for n in range(3))
        scores = k[:, rows] @ slope_q / 2  # d score_t / d normed; the last key moves, too
        scores[-1] += q[-1, rows] @ slope_k / 2
        d_share = share[:, None] * (scores - share @ scores)
        heads.append(v[:, rows].T @ d_share + share[-1] * slope_v)
    by_hand = w["self_attn.out_proj.weight"] @ np.concatenate(heads)
    by_hand = by_hand @ hand_written_jacobian_of_layer_norm(x[-1], w["norm1.weight"])
    assert np.abs(j_h - np.eye(16) - by_hand).max() < 1e-10


# --- a5 on models of its own ------------------------------------------------------------------------


def small_study(folder, sizes, arms, seeds=(0,), runs="run"):
    """A study of untrained weights, called pretrained and finetuned; measurements are not needed."""
    folder.mkdir(exist_ok=True)
    rows, files = [], {}
    for size in sizes:
        for seed in seeds:
            stages = [("untrained", "", 0), ("pretrained", "", 0)]
            stages += [("finetuned", arm, n_good) for arm in arms for n_good in GOALS]
            for stage, arm, n_good in stages:
                model = len(rows)
                row = {
                    "model": model,
                    "stage": stage,
                    "arm": arm,
                    "size": size,
                    "seed": seed,
                    "n_good": n_good,
                    "run": f"{runs} {model}",
                }
                rows.append(row)
                if stage != "untrained":
                    start = initialise(Architecture(*study.SIZES[size]), [model], dtype=torch.float64)
                    own = member(perturbed(start), 0)
                    files[model] = folder / f"{model}.safetensors"
                    save_file({k: v.float().contiguous() for k, v in own.items()}, files[model])
    empty = pd.DataFrame()
    return Study(pd.DataFrame(rows), *[empty] * 6, manifest={}, weight_files=files)


@pytest.fixture
def execute_a5(tmp_path, monkeypatch):
    """Run the chapter on a small study, with the files of a benchmark beside the results."""

    def run(sources, *what, benchmarks=(), faithful_runs="another", **how):
        def load(profile, fresh=False):
            runs = faithful_runs if profile == "faithful" else "run"
            return small_study(tmp_path / profile, *what, runs=runs, **how)

        monkeypatch.setattr(study, "load", load)
        monkeypatch.setattr(study, "so_far", load)
        monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
        place = tmp_path / "results/benchmarks"
        place.mkdir(parents=True)
        for number, report in enumerate(benchmarks):
            (place / f"{number}.json").write_text(json.dumps(report))
        write_manifest(place, {})
        return execute(sources, n_histories=4)

    return run


@pytest.mark.parametrize(
    ("sizes", "arms", "seeds"),
    [(["18k"], ["sampled"], [0]), (["18k", "53k"], ["sampled", "exact"], [0]), (["18k"], ["exact"], [3, 4])],
)
def test_a5_runs_on_any_sizes_arms_and_seeds(execute_a5, sizes, arms, seeds, capsys):
    namespace = execute_a5(cells("a5-activations"), sizes, arms, seeds)
    models = namespace["models"]
    assert len(models) == len(sizes) * (2 + 3 * len(arms)) and set(models["seed"]) == {seeds[0]}
    assert namespace["cost"] == "not measured" and capsys.readouterr().err == ""


def test_a5_takes_in_the_faithful_arm_where_it_started_from_the_same_models(execute_a5):
    namespace = execute_a5(cells("a5-activations"), ["18k"], ["sampled"], faithful_runs="run")
    assert list(namespace["models"]["arm"]) == ["", "", *["sampled"] * 3, *["faithful"] * 3]
    assert namespace["told"]["op"][2] == 6


def test_a5_reads_the_exponent_off_the_benchmarks_file(execute_a5):
    seconds = {str(w): [1e-9 * w**2.5] * 3 for w in (16, 128, 256, 1024)}
    report = {"device": "cpu", "jacobian": seconds, "jacobian_depth": {"1": [1.0], "2": [1.5]}}
    sources, reports = cells("a5-activations"), [report, {"device": "gpu"}]
    namespace = execute_a5(sources, ["18k"], ["sampled"], benchmarks=reports)
    assert namespace["cost"] == "width to the power 2.50 (CPU)"
    assert namespace["longer"] == ["2 blocks take 1.5 times as long as one (CPU)"]


def test_a5_without_weights_says_so(execute_a5):
    sources, _ = planted("a5-activations", "list(results.weight_files)", "[]")
    with pytest.raises(CaughtAt) as caught:
        execute_a5(sources, ["18k"], ["sampled"])
    assert "no weights are at hand" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(second @ first)[0]", "(first @ second)[0]"),
        ("(imp, op + np.trace(m)", "(imp, op - np.trace(m)"),
        ("p = p + feed(p)\nread", "p = p + feed(x[0, 0, -1])\nread"),
    ],
)
def test_a5_catches_a_wrong_block(execute_a5, right, wrong):
    sources, _ = planted("a5-activations", right, wrong)
    with pytest.raises(CaughtAt):
        execute_a5(sources, ["18k"], ["sampled"])


def test_a5_catches_halves_that_are_differentiated_where_they_do_not_act(execute_a5, monkeypatch):
    def halves(weights, architecture, layer, x):
        eye = torch.eye(architecture.width, dtype=x.dtype)
        each = [branches(weights, architecture, layer, history) for history in x]
        at = [history[-1] for history in x]  # the feed-forward half acts after attention has
        jacobians = [
            [torch.func.jacrev(half[i])(p) for half, p in zip(each, at, strict=True)] for i in (0, 1)
        ]
        return tuple(eye + torch.stack(of) for of in jacobians)

    monkeypatch.setattr(blocks, "halves", halves)
    with pytest.raises(CaughtAt):
        execute_a5(cells("a5-activations"), ["18k"], ["sampled"])


# --- the benchmark ----------------------------------------------------------------------------------


def test_the_benchmark_measures_the_blocks_that_the_chapter_measures():
    agent, point = jacobian.stacked_blocks(16, 2)
    _, j_h = differential.from_function(agent, lambda a, p: p + a, point)
    a = Architecture(16, 2)
    weights = initialise(a, [0], dtype=torch.float64)
    entering = activations(weights, a, torch.arange(20)[None, None] % 16)
    c = np.eye(16)
    for i, x in enumerate(entering[:-1]):
        for half in range(2):
            p = x[0, 0, -1]
            halves = branches(member(weights, 0), a, i, x[0, 0])
            at = p + halves[0](p) if half else p
            c = (np.eye(16) + torch.func.jacrev(halves[half])(at).numpy()) @ c
    assert np.abs(j_h - c).max() < 1e-10
    expected = differential.op(np.eye(16), c), differential.imp(np.eye(16), c)
    assert jacobian.measures(agent, point) == pytest.approx(expected, abs=1e-9)


def test_the_benchmark_times_every_depth_in_each_round():
    times = jacobian.measured_depths([1, 2], 3, width=16)
    assert {depth: len(rounds) for depth, rounds in times.items()} == {1: 3, 2: 3}
    assert min(times[1] + times[2]) > 0
