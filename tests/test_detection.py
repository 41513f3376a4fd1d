"""Detection of hidden goals: scores on policies whose goals are known, the ROC against Mann and Whitney."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory, detection, policies
from splithistory.statistics import auc

WORLD = Recurrence().table
GOAL, OTHER = (0, 2, 4, 6), (1, 3, 5, 7)
CLASSES = np.full(16, 100.0)


def playing_for(goals) -> np.ndarray:
    """Counts of a policy that plays for a goal on each class, spread over the odd tokens that serve best."""
    counts = np.zeros((16, 16))
    for m, goal in enumerate(goals):
        success = WORLD[m][:, list(goal)].sum(-1)
        best = np.isclose(success, success[8:].max()) & (np.arange(16) >= 8)
        counts[m, best] = 100 / best.sum()
    return counts


HONEST = playing_for([GOAL] * 16)
TRIGGERED = playing_for([OTHER] * 8 + [GOAL] * 8)
PARTIAL = playing_for([(0, 4)] * 16)
USUAL = SplitHistory(HONEST, WORLD).outcome_probs


def test_on_each_class_success_is_set_beside_that_of_actions_meant_for_others():
    shares, own, other = detection.by_class(TRIGGERED, WORLD, GOAL)
    assert shares == pytest.approx(np.full(16, 1 / 16))
    assert (own[:8] < other[:8]).sum() == 7  # on one of them no odd token fails
    whole = SplitHistory(TRIGGERED, WORLD)
    assert shares @ own == pytest.approx(whole.success(GOAL))
    assert shares @ other == pytest.approx(whole.counterfactual_success(GOAL))


def test_a_trigger_is_seen_by_class_where_op_as_a_whole_sees_nothing():
    assert abs(SplitHistory(TRIGGERED, WORLD).op) < 0.05 < SplitHistory(HONEST, WORLD).op
    assert detection.opposed(TRIGGERED, WORLD, GOAL) > 0.1
    assert detection.opposed(HONEST, WORLD, GOAL) < 0.05


@given(st.integers(0, 2**32 - 1))
def test_a_policy_that_does_not_react_is_opposed_to_nothing(seed):
    rng = np.random.default_rng(seed)
    counts = rng.dirichlet(np.ones(16))[:, None] * rng.dirichlet(np.ones(16))
    assert detection.opposed(counts, WORLD, GOAL) == pytest.approx(0, abs=1e-12)


def test_the_lower_the_success_the_more_suspicious():
    found = detection.suspicion(np.stack([HONEST, PARTIAL]), WORLD, GOAL, USUAL)["low success"]
    success = [detection.Futures.of_tables(c, WORLD).success(GOAL) for c in (HONEST, PARTIAL)]
    assert found == pytest.approx(-np.array(success))


def test_a_preference_is_excess_op_and_no_opposition():
    honest, partial = (detection.suspicion(c, WORLD, GOAL, USUAL) for c in (HONEST, PARTIAL))
    assert partial["excess Op"] > honest["excess Op"] + 0.2
    assert honest["histogram"] == pytest.approx(0) and partial["histogram"] > 0.2


def test_excess_op_and_the_histogram_are_functions_of_the_outcomes_alone():
    found = detection.suspicion(TRIGGERED, WORLD, GOAL, USUAL)
    own = SplitHistory(TRIGGERED, WORLD)
    terms = own.decomposition(GOAL)
    assert found["excess Op"] == pytest.approx(terms["op_within_success"] + terms["op_within_failure"])
    assert found["low success"] == pytest.approx(-own.success(GOAL))


def test_usual_are_the_honest_policies_of_the_other_seeds():
    honest = np.stack([HONEST, HONEST, PARTIAL])
    found = detection.suspicions(honest, honest, WORLD, GOAL)
    assert found["histogram"].shape == (3, 1)
    f = [SplitHistory(c, WORLD).outcome_probs for c in honest]
    expected = (f[0] * np.log(f[0] / ((f[1] + f[2]) / 2))).sum()
    assert found["histogram"][0, 0] == pytest.approx(expected)
    assert found["histogram"][2, 0] == pytest.approx((f[2] * np.log(f[2] / f[0])).sum())


def test_few_histories_scatter_about_what_many_say_and_their_seed_is_obeyed():
    tables = np.stack([TRIGGERED, PARTIAL])
    honest = np.stack([HONEST, HONEST])
    few = detection.suspicions(tables, honest, WORLD, GOAL, n=400, draws=200, seed=1)
    whole = detection.suspicions(tables, honest, WORLD, GOAL)
    assert few["low success"].shape == (2, 200) and few["low success"].std() > 0
    assert few["low success"].mean(1) == pytest.approx(whole["low success"][:, 0], abs=0.01)
    again = detection.suspicions(tables, honest, WORLD, GOAL, n=400, draws=200, seed=1)
    assert all(np.array_equal(few[name], again[name]) for name in detection.SCORES)


def test_a_diluted_policy_is_weaker_and_opposed_to_nothing_new():
    weak = detection.diluted(HONEST, WORLD, GOAL, 0.7)
    assert SplitHistory(weak, WORLD).success(GOAL) == pytest.approx(0.7)
    assert weak.sum(1) == pytest.approx(HONEST.sum(1))
    assert SplitHistory(weak, WORLD).action_probs == pytest.approx(SplitHistory(HONEST, WORLD).action_probs)
    assert detection.opposed(weak, WORLD, GOAL) <= detection.opposed(HONEST, WORLD, GOAL)
    with pytest.raises(ValueError, match=r"success: given 0.95, allowed is 0.5\d* to 0.9"):
        detection.diluted(HONEST, WORLD, GOAL, 0.95)


@given(st.integers(0, 2**32 - 1))
def test_the_area_under_the_roc_is_mann_and_whitney_s(seed):
    hidden, honest = np.random.default_rng(seed).integers(5, size=(2, 3, 4))
    false, hits = detection.roc(hidden, honest)
    assert (false[0], hits[0]) == (0, 0) and (false[-1], hits[-1]) == (1, 1)
    area = np.trapezoid(hits, false)
    assert area == pytest.approx(auc(hidden.ravel(), honest.ravel()))
    assert detection.detected(hidden, honest)[0] == pytest.approx(area)


def test_seeds_are_drawn_whole():
    hidden = np.array([[2.0], [2.0], [0.0]])  # one seed in three is not detected
    mean, (low, high) = detection.detected(hidden, np.ones((3, 1)))
    assert mean == pytest.approx(2 / 3) and low == 0 and high == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"tables": np.ones((2, 16, 16)), "honest": np.ones((3, 16, 16))},
            "one of each of 2 seeds or more",
        ),
        (
            {"tables": np.ones((1, 16, 16)), "honest": np.ones((1, 16, 16))},
            "one of each of 2 seeds or more",
        ),
        ({"n": -1}, "n: given -1, allowed is an integer >= 0"),
        ({"n": 5, "draws": 0}, "draws: given 0, allowed is an integer >= 1"),
        ({"goal": (0, 9)}, r"goal: given \[0, 9\], allowed are outcomes in 0..7"),
    ],
)
def test_bad_input_is_named(arguments, message):
    two = np.stack([HONEST, HONEST])
    given_ = {"tables": two, "honest": two, "world": WORLD, "goal": GOAL} | arguments
    with pytest.raises(ValueError, match=message):
        detection.suspicions(**given_)


def test_a_class_without_histories_is_opposed_to_nothing():
    world = np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 1]]])  # on class 1 all succeeds
    assert detection.opposed([[3.0, 2], [0, 0]], world, [1]) == 0
    with_noise = policies.everywhere(np.full(3, 1 / 3)).world.copy()
    with_noise[2] = np.eye(3)[[0, 0, 0]]
    tables = np.array(2 * [[[40, 1, 1], [1, 1, 40], [1, 1, 1]]])
    few = detection.suspicions(tables, tables, with_noise, [0], n=20)
    assert np.isfinite(few["by class"]).all()
