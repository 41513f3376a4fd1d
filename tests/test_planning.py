"""Planning: optima against every policy, soft optima against closed forms, learners, failures."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory.mdp import MDP, on_grid
from splithistory.planning import (
    earned,
    epsilon_greedy,
    greedy,
    kernel,
    occupancy,
    q_learning,
    soft_maximum,
    soft_value_iteration,
    value_iteration,
    visits,
)


def random_world(seed, n_states=4, n_actions=3, horizon=3):
    rng = np.random.default_rng(seed)
    moves = rng.dirichlet(np.ones(n_states), (n_actions, n_states))
    return MDP(moves, rng.dirichlet(np.ones(n_states)), np.arange(n_states) % 2, horizon=horizon)


def corridor(length=5, horizon=6, n_idle=0):
    """States in a row, actions left and right, no chance; idle states, so that few moves are possible."""
    to = [np.maximum(np.arange(length) - 1, 0), np.minimum(np.arange(length) + 1, length - 1)]
    size = length + n_idle
    moves = [np.eye(size)[np.append(t, np.arange(length, size))] for t in to]
    return MDP(np.stack(moves), np.eye(size)[length // 2], np.arange(size) % 2, horizon=horizon)


def test_no_policy_earns_more_than_the_optimal_one():
    world, rng = random_world(0, n_states=2, n_actions=2, horizon=2), np.random.default_rng(1)
    utility, final = rng.normal(size=(2, 2)), rng.normal(size=2)
    every = [np.reshape(p, (2, 2)) for p in itertools.product(range(2), repeat=4)]
    most = max(earned(world, policy, utility, final=final) for policy in every)
    best, value = value_iteration(world, utility, final=final)
    assert earned(world, best, utility, final=final) == pytest.approx(most, abs=1e-12)
    assert world.initial @ value[0] == pytest.approx(most, abs=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([-3.0, 0.0, 0.5, 4.0, np.inf]))
def test_with_a_discount_it_is_a_very_long_episode(seed, beta):
    world, long = random_world(seed), random_world(seed, horizon=150)
    utility = np.random.default_rng(seed).normal(size=4)
    policy, value = soft_value_iteration(world, utility, beta=beta, discount=0.8)
    # γ as a chance to go on: the value of a long episode in which it ends with probability 1 − γ
    going = [np.block([[0.8 * p, np.full((4, 1), 0.2)], [np.zeros((1, 4)), 1]]) for p in long.dense()]
    ends = MDP(np.stack(going), np.append(long.initial, 0), np.zeros(5, dtype=int), horizon=150)
    other, of = soft_value_iteration(ends, np.append(utility, 0), beta=beta)
    assert np.allclose(value, of[0, :4], atol=1e-9) and np.allclose(policy, other[0, :4], atol=1e-8)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.01, 20), st.sampled_from([None, 0.9]))
def test_a_soft_optimum_is_what_no_policy_beats_when_preference_has_its_price(seed, beta, discount):
    world, rng = random_world(seed), np.random.default_rng(seed)
    utility = rng.normal(size=(4, 3))

    def worth(policy):
        even = np.broadcast_to(np.log(policy * 3), occupancy(world, policy, discount=discount).shape)
        price = (occupancy(world, policy, discount=discount) * even).sum()
        return earned(world, policy, utility, discount=discount) - price / beta

    policy, value = soft_value_iteration(world, utility, beta=beta, discount=discount)
    start = world.initial @ (value[0] if discount is None else value)
    assert worth(policy) == pytest.approx(start, abs=1e-9)
    for _ in range(3):
        assert worth(0.9 * policy + 0.1 * rng.dirichlet(np.ones(3), 4)) < start


def forbidding(penalty, scale=1.0):
    """A grid of 3 × 3 whose last cell earns and in which one cell is forbidden, and utilities (9,)."""
    utility = np.eye(9)[8]
    utility[6] = penalty
    moves = on_grid(3, [(0, 1), (0, -1), (1, 0), (-1, 0)])
    return MDP(moves, np.eye(9)[0], np.arange(9), horizon=6), scale * utility


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e-100])
@pytest.mark.parametrize("penalty", [0, -1e9, -1e10, -1e12, -1e30])
def test_the_optimal_policy_earns_the_optimum_however_small_utilities_are_and_whatever_is_forbidden(
    penalty, scale
):
    world, utility = forbidding(penalty, scale)
    best, value = value_iteration(world, utility, final=utility)
    assert value[0, 0] / scale == pytest.approx(3, rel=1e-12)
    assert earned(world, best, utility, final=utility) / scale == pytest.approx(3, rel=1e-12)
    best, value = value_iteration(world, utility, discount=0.9)
    assert value[0] / scale == pytest.approx(6.561, rel=1e-12)
    assert earned(world, best, utility, discount=0.9) / scale == pytest.approx(6.561, rel=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(-400, 400), st.sampled_from([None, 0.9]))
def test_the_unit_of_a_utility_changes_no_optimal_policy(seed, power, discount):
    world, utility = random_world(seed), np.random.default_rng(seed).normal(size=(4, 3))
    one, other = (value_iteration(world, u, discount=discount) for u in (utility, utility * 2.0**power))
    assert np.array_equal(one[0], other[0])
    assert np.allclose(one[1] * 2.0**power, other[1], rtol=1e-9, atol=0)


def test_equally_good_actions_are_played_alike_where_gains_and_costs_cancel():
    moves = np.eye(7)[None].repeat(8, 0)
    moves[:, 0, 1:] = np.random.default_rng(0).dirichlet(np.ones(6), 8)  # all lead to where 1 is earned
    moves[:, 0, 0] = 0
    world = MDP(moves, np.eye(7)[0], np.arange(7), horizon=1)
    best, value = value_iteration(world, -np.eye(7)[0], final=1.0)
    assert 0 < abs(value[0, 0]) < 1e-14 and np.array_equal(best, np.full((1, 7, 8), 1 / 8))


def test_greedy_tells_small_values_apart_and_large_ones_beside_them_do_not_matter():
    assert greedy([[1e-10, 2e-10]]).tolist() == [[0, 1]]
    assert greedy([[1.0, 2.0, -1e30], [2.0, 2.0, -1e30], [-1e30, -1e30, -1e30]]).tolist() == [
        [0, 1, 0],
        [0.5, 0.5, 0],
        [pytest.approx(1 / 3)] * 3,
    ]


@given(st.integers(0, 2**32 - 1), st.integers(-300, 300))
def test_what_ties_in_a_state_does_not_depend_on_what_other_states_are_worth(seed, power):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(5, 3)) * (1 + rng.choice([0, 1e-8], size=(5, 3)))
    together = greedy(rows * 2.0 ** rng.integers(-abs(power), abs(power) + 1, size=(5, 1)))
    assert together.tolist() == [greedy(row).tolist() for row in rows]


def test_greedy_plays_a_small_advantage_beside_large_ones_and_takes_a_billionth_for_a_tie():
    assert greedy([[1e-9, 0], [1e6, 0], [1e6, 0]]).tolist() == [[1, 0]] * 3
    assert greedy([[1e9 + 1, 1e9], [1e9 + 2, 1e9]]).tolist() == [[0.5, 0.5], [1, 0]]
    assert greedy([0.0, -1e-300]).tolist() == [1, 0]


def test_the_soft_maximum_goes_from_worst_over_mean_to_best():
    values = np.array([1.0, 2.0, 2.0])
    expected = {-np.inf: 1, 0: 5 / 3, np.inf: 2, 2.0: np.log((np.e**2 + 2 * np.e**4) / 3) / 2}
    for beta, value in expected.items():
        assert soft_maximum(values, beta)[0] == pytest.approx(value, abs=1e-12)
    assert soft_maximum(values, np.inf)[1].tolist() == [0, 0.5, 0.5]
    assert soft_maximum(values, -np.inf)[1].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("beta", "limit"), [(1e-9, 0), (-1e-9, 0), (5e-4, 0), (1e7, np.inf), (-1e7, -np.inf)]
)
def test_policy_iteration_settles_however_weak_or_strong_the_preference_is(beta, limit):
    world, utility = random_world(7), np.random.default_rng(7).normal(size=4)
    found, _ = soft_value_iteration(world, utility, beta=beta, discount=0.95)
    assert np.allclose(found, soft_value_iteration(world, utility, beta=limit, discount=0.95)[0], atol=1e-3)


def test_sparse_and_full_transitions_give_the_same_policy():
    few, utility = corridor(n_idle=60), np.arange(65.0) % 7
    assert isinstance(kernel(few), tuple) and isinstance(kernel(random_world(0)), np.ndarray)
    policy, value = soft_value_iteration(few, utility, beta=2.0, discount=0.9)
    small, full = soft_value_iteration(corridor(), utility[:5], beta=2.0, discount=0.9)
    assert np.allclose(value[:5], full, atol=1e-12) and np.allclose(policy[:5], small, atol=1e-12)
    assert np.allclose(visits(few, policy, discount=0.9)[:5], visits(corridor(), small, discount=0.9))


def test_the_anti_optimal_policy_is_that_of_the_opposite_utility():
    world, utility = random_world(3), np.random.default_rng(0).normal(size=4)
    least, _ = value_iteration(world, -utility)
    avoiding, value = soft_value_iteration(world, utility, beta=-np.inf)
    assert np.array_equal(least, avoiding)
    assert world.initial @ value[0] == pytest.approx(earned(world, least, utility), abs=1e-12)


def test_occupancy_adds_up_and_is_where_episodes_are():
    world = random_world(4)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), (3, 4))
    found = occupancy(world, policy)
    states, actions = world.episodes(policy, 20_000, seed=0)
    assert np.allclose(found.sum((1, 2)), 1, atol=1e-12)
    seen = np.bincount(states[:, 2] * 3 + actions[:, 2], minlength=12).reshape(4, 3) / 20_000
    assert np.abs(seen - found[2]).max() < 0.015
    assert occupancy(world, policy[0], discount=0.75).sum() == pytest.approx(4, abs=1e-12)


def test_epsilon_greedy_plays_every_action():
    assert epsilon_greedy(np.eye(4)[[1]], 0.2).tolist() == [pytest.approx([0.05, 0.85, 0.05, 0.05])]


def test_a_learner_comes_to_the_optimal_policy_and_was_not_there_at_first():
    world, final = corridor(), np.arange(5.0) == 4
    stages = q_learning(world, final=final, stages=(1, 300), seeds=range(5), epsilon=0.3)
    best = earned(world, value_iteration(world, final=final)[0], final=final)
    early, late = ([earned(world, p, final=final) for p in greedy(stages[n])] for n in (1, 300))
    assert late == [pytest.approx(best, abs=1e-12)] * 5 and max(early) < best


def test_a_learner_learns_the_same_whoever_learns_beside_it():
    world, utility = random_world(5, horizon=8), np.random.default_rng(0).normal(size=4)
    both = q_learning(world, utility, stages=(50,), seeds=(3, 7))[50]
    assert np.array_equal(q_learning(world, utility, stages=(50,), seeds=(7,))[50][0], both[1])
    assert not np.array_equal(both[0], both[1])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda w: value_iteration(w, np.ones(3)), r"utility: shape \(3,\), allowed is \(4,\) or \(4, 3\)"),
        (lambda w: value_iteration(w, final=np.ones((4, 3))), r"final: shape \(4, 3\), allowed is \(4,\)"),
        (lambda w: value_iteration(w, discount=1.0), r"discount: given 1.0, allowed is a number in \[0, 1\)"),
        (
            lambda w: visits(w, value_iteration(w, np.arange(4.0))[0] * [1, 1, 1], discount=0.9),
            r"policy: shape \(3, 4, 3\), allowed with a discount is one for all times",
        ),
        (lambda w: epsilon_greedy(np.eye(3), 2), r"epsilon: given 2, allowed is a number >= 0 and <= 1"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_allowed(call, error):
    with pytest.raises(ValueError, match=error):
        call(random_world(6))
