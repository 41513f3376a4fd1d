"""Calibration: the expansion against closed forms and the estimators' own theory, trials, coverage."""

import numpy as np
import pandas as pd
import pytest
import torch

from splithistory import Recurrence, SplitHistory, calibration, estimators, information
from splithistory.policies import always

WORLD = Recurrence()
FLAT = SplitHistory(np.array([[0.2, 0.5], [0.3, 0.0]]), np.full((2, 2, 2), 0.5))  # only its shares matter


def entropy(shares):
    return torch.special.entr(shares).sum()[None]


def test_known_policies_reach_from_none_to_more_than_any_model():
    known = calibration.known(WORLD)
    assert list(known) == list(calibration.STRENGTHS)
    assert np.array_equal(known[0.0].counts, always(WORLD, 13).counts)
    op = [truth.op for truth in known.values()]
    assert op == sorted(op) and op[0] == pytest.approx(0, abs=1e-12) and op[-1] > 1.2


def test_quantities_are_those_that_the_measurement_names():
    truth, goal = calibration.known(WORLD)[2.0], calibration.GOAL
    named = [truth.op, truth.imp, truth.success(goal), truth.counterfactual_success(goal)]
    named += [truth.imp_min(goal), truth.op - truth.implied_op(goal)]
    assert calibration.quantities(truth) == pytest.approx(named, abs=1e-15)
    shares = np.stack([truth.counts.ravel()] * 3)[None]
    assert calibration.measured(truth, shares)[0] == pytest.approx(np.array([named] * 3), abs=1e-12)


def test_the_expansion_of_an_entropy_has_the_plug_in_bias_and_the_variance_of_information():
    truth = SplitHistory(np.array([[0.2, 0.5], [0.2, 0.1]]), FLAT.world)
    found = calibration.expansion(entropy, truth, ["entropy"])["entropy"]
    probs = truth.counts.ravel()
    assert found.bias == pytest.approx(estimators.bias_of_entropy(probs, 1))
    surprise = -np.log(probs)
    assert found.first == pytest.approx(probs @ surprise**2 - (probs @ surprise) ** 2)
    # H = diag(−1/p), and tr(HΣHΣ) is then the number of cells less one
    assert found.second == pytest.approx(3 / 2)


def test_the_expansion_of_a_square_is_exact():
    found = calibration.expansion(lambda t: t[0, 0][None] ** 2, FLAT, ["square"])["square"]
    p = 0.2
    assert found.bias == pytest.approx(p * (1 - p))
    assert found.first == pytest.approx(4 * p**2 * p * (1 - p))
    assert found.second == pytest.approx(2 * (p * (1 - p)) ** 2)
    assert found.sd(10) == pytest.approx(np.sqrt(found.first / 10 + found.second / 100))


def test_where_only_the_second_order_counts_intervals_are_too_wide_by_the_root_of_three():
    assert calibration.Expansion(np.zeros(4), 0.0, 0.0, 2.0).width(7) == pytest.approx(np.sqrt(3))
    assert calibration.Expansion(np.zeros(4), 0.0, 2.0, 0.0).width(7) == pytest.approx(1)


def test_errors_leave_out_what_is_infinite_for_any_estimator_and_say_how_much():
    tried = {"plug-in": estimators.kl_plugin, "jackknife": estimators.kl_jackknife}
    first, second = np.array([[3, 3], [2, 4], [3, 3]]), np.array([[3, 3], [6, 0], [2, 4]])
    rows = calibration.errors(tried, 0.1, {6: first}, {6: second})
    kept = [information.kl(first[i] / 6, second[i] / 6) - 0.1 for i in (0, 2)]
    assert [row["estimator"] for row in rows] == list(tried)
    assert rows[0]["bias"] == pytest.approx(np.mean(kept)) and rows[0]["runs"] == 2
    assert rows[0]["infinite"] == pytest.approx(1 / 3)
    assert rows[0]["se"] == pytest.approx(np.std(kept, ddof=1) / np.sqrt(2))


def test_errors_of_the_exact_measure_are_those_of_theory_and_resampling_takes_the_bias_out():
    truth = calibration.known(WORLD)[0.5]
    goal, table = list(calibration.GOAL), torch.tensor(WORLD.table)

    def op_and_imp(shares):
        f = torch.einsum("ma,mak->k", shares, table)
        d = torch.einsum("m,mak->ak", shares.sum(-1), table)
        op = shares.sum(0) @ torch.special.entr(d).sum(-1) - torch.special.entr(f).sum()
        return torch.stack([op, shares.sum(0) @ (f * (f / d).log()).sum(-1)])

    theory = calibration.expansion(op_and_imp, truth, ["op", "imp"])
    op, imp = calibration.exact_errors(truth, theory, 200, tables=100, resamples=4, seed=[0])
    assert (op["quantity"], imp["quantity"], imp["n"]) == ("op", "imp", 200) and goal == [0, 4]
    assert imp["bias"] == pytest.approx(theory["imp"].bias / 200, abs=2 * imp["bias_error"])
    assert abs(imp["corrected"]) < 2 * imp["corrected_error"] < imp["bias"]
    assert imp["sd"] == pytest.approx(theory["imp"].sd(200), abs=2 * imp["sd_error"])


def test_errors_of_the_posts_procedure_are_formed_over_the_finite_runs():
    row = {"truth": 0.5, "runs": 8, "finite": 4, "mean": 0.6, "sd": 0.1}
    (found,) = calibration.sampled_errors(pd.DataFrame([row])).to_dict("records")
    assert found["bias"] == pytest.approx(0.1) and found["share"] == 0.5
    assert found["bias_error"] == pytest.approx(0.098)
    assert found["sd_error"] == pytest.approx(0.098 / np.sqrt(2))


def test_coverage_is_inside_above_below_or_certain_and_explained_by_width():
    rows = [("op", 0.95, 0.1), ("imp", 0.99, 0.2), ("s", 0.9, 0.08), ("gap", 1.0, 0.0)]
    coverage = pd.DataFrame(rows, columns=["quantity", "covered", "width"])
    coverage = coverage.assign(strength=2.0, n=200, repetitions=100, sd=0.1 / 3.92)
    coverage.loc[3, "sd"] = 0.0
    theory = {2.0: {q: calibration.Expansion(np.zeros(1), 0.0, 1.0, 0.0) for q, *_ in rows}}
    found = calibration.explained(coverage, theory).set_index("quantity")
    sides = {c: list(found.index[found[c]]) for c in ("inside", "above", "below", "certain")}
    assert sides == {"inside": ["op"], "above": ["imp"], "below": ["s"], "certain": ["gap"]}
    assert found["ratio"].tolist() == pytest.approx([1, 2, 0.8, np.nan], nan_ok=True)
    assert found.loc["op", "by_width"] == pytest.approx(0.95, abs=1e-4)
    low, high = estimators.success_interval(90, 100)
    assert found.loc["s", ["low", "high"]].tolist() == pytest.approx([float(low), float(high)])


def test_intervals_that_miss_are_sorted_by_their_side():
    error, half = np.array([3.0, 3.0, -3.0, 0.5, 0.1]), np.array([1.0, 1.1, 2.0, 1.5, 1.4])
    found = calibration.sides(error, half)
    assert found["missed"][0] == 0.6 and found["too_high"][0] == pytest.approx(2 / 3)
    value, low, high = found["linked"]
    assert low < value < high and value == pytest.approx(np.corrcoef(error, half)[0, 1])


def test_misses_are_the_errors_and_widths_of_bias_corrected_intervals():
    truth = calibration.known(WORLD)[5.0]
    once, again = calibration.draw(truth, 200, 3, 5, seed=1)
    assert once.shape == (3, 256) and again.shape == (5, 3, 256)
    error, half = calibration.misses(truth, once, again)
    low, high = estimators.bias_corrected(
        calibration.measured(truth, once[0]), calibration.measured(truth, again[:, 0])
    )
    assert error[0] + half[0] == pytest.approx(high - calibration.quantities(truth))
    assert error[0] - half[0] == pytest.approx(low - calibration.quantities(truth))
