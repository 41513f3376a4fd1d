"""Objectives: rates of every goal, the best one found without a list, identification of planted goals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory
from splithistory.information import binary_kl
from splithistory.measure import Futures
from splithistory.objectives import (
    CRITERIA,
    confusion,
    cross_evaluate,
    every_goal,
    maxent_goal_directedness,
    rank_of,
    scores,
    threshold_goal,
)

WORLD = Recurrence()
GOALS = {2: (0, 4), 4: (0, 2, 4, 6), 6: (0, 1, 2, 4, 5, 6)}


def success_table(goal):
    return WORLD.table[:, :, list(goal)].sum(-1)


def soft_policy(goal, beta):
    """The maximum-entropy policy of a goal, measured on the world's own classes."""
    weights = np.exp(beta * success_table(goal))
    probs = weights / weights.sum(1, keepdims=True)
    return SplitHistory(10_000 * WORLD.class_shares()[:, None] * probs, WORLD.table)


def random_futures(seed, actions=3, outcomes=6):
    rng = np.random.default_rng(seed)
    return Futures(
        rng.dirichlet(np.ones(actions)),
        rng.dirichlet(np.ones(outcomes)),
        rng.dirichlet(np.ones(outcomes), actions),
    )


def test_there_are_as_many_goals_as_sets_that_are_neither_empty_nor_full():
    goals = every_goal(8)
    assert len(goals) == len(set(goals)) == 2**8 - 2
    assert set(GOALS.values()) <= set(goals)


def test_cross_evaluation_is_what_the_measurement_says_of_each_goal():
    futures, goals = random_futures(0), every_goal(6)
    rates = cross_evaluate(futures, goals)
    for i, goal in enumerate(goals):
        assert rates["s"][i] == pytest.approx(futures.success(goal), abs=1e-12)
        assert rates["s_prime"][i] == pytest.approx(futures.counterfactual_success(goal), abs=1e-12)
        assert rates["implied_op"][i] == pytest.approx(futures.implied_op(goal), abs=1e-12)
        assert rates["imp_min"][i] == pytest.approx(futures.imp_min(goal), abs=1e-12)


def test_a_goal_and_its_complement_have_the_same_divergence_and_one_of_them_is_a_candidate():
    measured, goals = soft_policy((0, 4), 3.0), every_goal(8)
    rates = cross_evaluate(measured, goals)
    complement = [goals.index(tuple(sorted(set(range(8)) - set(g)))) for g in goals]
    assert np.allclose(rates["imp_min"], rates["imp_min"][complement], atol=1e-12)
    assert np.isfinite(scores(measured, goals, "imp")).sum() == 127


@pytest.mark.parametrize("n_good", GOALS)
@pytest.mark.parametrize("by", ["op", "imp", "both", "likelihood"])
def test_the_goal_of_a_policy_that_plays_for_it_is_found_among_the_three(n_good, by):
    measured = soft_policy(GOALS[n_good], 30.0)
    assert list(GOALS)[scores(measured, GOALS.values(), by).argmax()] == n_good


def test_the_highest_success_rate_is_a_baseline_that_prefers_large_goals():
    measured = soft_policy(GOALS[2], 30.0)
    assert list(GOALS)[scores(measured, GOALS.values(), "success").argmax()] == 6


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.booleans())
def test_no_goal_beats_the_one_found_without_a_list(seed, uniform):
    futures = random_futures(seed)
    mean = futures.action_probs @ futures.counterfactual_probs
    reference = np.full(6, 1 / 6) if uniform else mean
    goal, divergence = threshold_goal(futures, reference if uniform else None)
    every = [binary_kl(futures.outcome_probs[list(g)].sum(), reference[list(g)].sum()) for g in every_goal(6)]
    assert divergence == pytest.approx(max(every), abs=1e-12)
    assert futures.outcome_probs[list(goal)].sum() >= reference[list(goal)].sum()


def test_goal_directedness_of_a_maximum_entropy_policy_is_its_own_negative_entropy():
    measured = soft_policy(GOALS[4], 2.5)
    probs = measured.counts / measured.counts.sum(1, keepdims=True)
    shares = measured.counts / measured.counts.sum()
    expected = np.log(16) + (shares * np.log(probs)).sum()
    right, wrong = maxent_goal_directedness(measured, [GOALS[4], GOALS[2]])
    assert right == pytest.approx(expected, abs=1e-12) and wrong < expected


def test_goal_directedness_of_a_policy_that_plays_against_the_goal_is_zero():
    bad = soft_policy(GOALS[4], -5.0)
    assert maxent_goal_directedness(bad, [GOALS[4]]).tolist() == [0.0]


def test_equal_scores_share_a_place_and_the_best_is_first():
    goals = [(0,), (1,), (2,)]
    assert [rank_of(g, goals, np.array([0.5, 0.9, 0.5])) for g in goals] == [2.5, 1.0, 2.5]
    with pytest.raises(ValueError, match=r"goal: given \(3,\), allowed is one of the 3 candidates"):
        rank_of((3,), goals, np.zeros(3))


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    assert confusion([2, 2, 4], [2, 4, 4], [2, 4]).tolist() == [[1, 1], [0, 1]]


def test_an_unknown_criterion_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"by: given 'luck', allowed are {', '.join(CRITERIA)}"):
        scores(soft_policy((0,), 1.0), [(0,)], "luck")
