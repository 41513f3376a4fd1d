"""Split history of many steps: brute force over episodes, closed-form zeros, intervals, failures."""

import doctest
import itertools
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.special import rel_entr

from splithistory import information, mdp
from splithistory.mdp import MDP, SplitMDP, expected_reward, from_gymnasium, policy_probs, replay, split_mdp
from splithistory.measure import QUANTITIES, SplitHistory

seeds = st.integers(0, 2**32 - 1)


def random_case(seed, *, n_states=4, n_actions=3, n_outcomes=3, horizon=3, share=0.7):
    """A random MDP and a random policy (T, S, A), in both of which some entries are zero."""
    rng = np.random.default_rng(seed)

    def some(*shape):
        found = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]) * (rng.random(shape) < share)
        found[..., 0] += found.sum(-1) == 0
        return found / found.sum(-1, keepdims=True)

    transition, initial = some(n_actions, n_states, n_states), some(n_states)
    world = MDP(transition, initial, some(n_states, n_outcomes), horizon=horizon)
    return world, some(horizon, n_states, n_actions)


def runs(world):
    """Every course of states and every sequence of actions, with the world's share of its probability."""
    p = world.dense()
    for states in itertools.product(range(world.n_states), repeat=world.horizon + 1):
        for actions in itertools.product(range(world.n_actions), repeat=world.horizon):
            weight = world.initial[states[0]]
            for t, a in enumerate(actions):
                weight *= p[a, states[t], states[t + 1]]
            if weight > 0:
                yield states, actions, weight


def brute_force(world, policy):
    """Op and Imp in nats by a double loop: runs that the policy answers, and runs that replay its answer."""
    optimized, played, replayed = np.zeros(world.n_outcomes), {}, {}
    for states, actions, weight in runs(world):
        answer = weight * np.prod([policy[t, states[t], a] for t, a in enumerate(actions)])
        optimized += answer * world.outcome[states[-1]]
        played[actions] = played.get(actions, 0.0) + answer
        replayed[actions] = replayed.get(actions, 0.0) + weight * world.outcome[states[-1]]
    op, imp = sum(f * np.log(f) for f in optimized if f > 0), 0.0
    for actions, weight in played.items():
        if weight > 0:
            op -= weight * sum(d * np.log(d) for d in replayed[actions] if d > 0)
            imp += weight * rel_entr(optimized, replayed[actions]).sum()
    return op, imp


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_enumeration_equals_a_double_loop_over_runs(seed):
    sizes = np.random.default_rng([seed, 0]).integers([2, 1, 2, 1], [4, 4, 4, 4])
    names = ("n_states", "n_actions", "n_outcomes", "horizon")
    world, policy = random_case(seed, **dict(zip(names, sizes.tolist(), strict=True)))
    measured = split_mdp(world, policy, method="exact")
    assert (measured.op, measured.imp) == pytest.approx(brute_force(world, policy), abs=1e-12)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_one_step_is_split_history(seed):
    world, policy = random_case(seed, horizon=1)
    table = np.stack([matrix @ world.outcome for matrix in world.transition], 1)
    one = SplitHistory(world.initial[:, None] * policy[0], table)
    many = split_mdp(world, policy, method="exact")
    for quantity in ("op", "imp", "delta"):
        assert getattr(many, quantity) == pytest.approx(getattr(one, quantity), abs=1e-12)
    assert many.decomposition([0]) == pytest.approx(one.decomposition([0]), abs=1e-12)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_both_identities_hold_for_every_goal(seed):
    world, policy = random_case(seed, share=1)
    measured = split_mdp(world, policy, n_sequences=20, seed=seed)
    for goal in ([0], [1, 2]):
        terms = measured.decomposition(goal)
        imp = sum(value for name, value in terms.items() if name.startswith("imp"))
        op = sum(value for name, value in terms.items() if name.startswith("op")) - terms["delta"]
        assert (op, imp) == pytest.approx((measured.op, measured.imp), abs=1e-12)
        assert measured.excess(goal) > -1e-12 and measured.imp > measured.imp_min(goal) - 1e-12


@pytest.mark.parametrize("method", ["sampled", "exact"])
@pytest.mark.parametrize("n_states", [20, mdp._TOGETHER + 1])
def test_a_plan_has_exactly_no_optimization_and_no_impact(n_states, method):
    world, _ = random_case(0, n_states=n_states, horizon=6)
    plan = np.random.default_rng(1).integers(world.n_actions, size=(6, 1))
    measured = split_mdp(world, np.tile(plan, n_states), method=method, seed=0)
    assert (measured.op, measured.imp) == (0, 0)
    assert measured.sequences.tolist() == plan.T.tolist()


@pytest.mark.parametrize("method", ["sampled", "exact"])
def test_a_world_without_randomness_gives_a_policy_nothing_to_react_to(method):
    rng = np.random.default_rng(0)
    moves = np.eye(9)[rng.integers(9, size=(3, 9))]
    world = MDP(moves, np.eye(9)[4], np.arange(9) % 3, horizon=7)
    measured = split_mdp(world, rng.integers(3, size=9), method=method, seed=0)
    assert (measured.op, measured.imp) == (0, 0)


def test_a_policy_that_steers_between_two_rooms_has_the_value_of_the_closed_form():
    stay = np.array([[0.7, 0.3], [0.3, 0.7]])
    world = MDP([stay, stay[::-1]], [0.5, 0.5], np.arange(2), horizon=5)
    measured = split_mdp(world, np.array([0, 1]), seed=0)  # whatever is replayed ends in either room alike
    gained = float(information.binary_kl(0.7, 0.5))
    assert (measured.op, measured.imp, measured.delta) == pytest.approx((gained, gained, 0), abs=1e-12)


def test_plain_chance_in_the_policy_costs_what_the_actions_tell_of_the_outcome():
    world, policy = random_case(3, share=1)
    blind = np.broadcast_to(policy[:, :1], policy.shape)  # the same chances in every state
    measured = split_mdp(world, blind, method="exact")
    mixed = measured.mixed()
    assert (mixed.op, mixed.imp) == pytest.approx((0, 0), abs=1e-12)
    assert measured.op < 0 < measured.imp


@pytest.mark.parametrize("case", range(5))
def test_beliefs_are_the_same_one_by_one_and_as_columns(case):
    world, _ = random_case(case, n_states=30, horizon=8)
    sequences = np.unique(np.random.default_rng(case).integers(3, size=(200, 8)), axis=0)
    together = replay(world, sequences)
    assert together == pytest.approx(mdp._one_by_one(world, sequences), abs=1e-15)
    assert replay(world, sequences[::-1]) == pytest.approx(together[::-1], abs=1e-15)


def test_replayed_episodes_end_as_often_as_the_exact_outcomes_say():
    world, _ = random_case(11)
    sequence = np.array([0, 2, 1])
    states = world.replayed(np.tile(sequence, (50_000, 1)), seed=0)
    assert states.shape == (50_000, 4) and set(states[:, 0]) <= set(np.flatnonzero(world.initial))
    assert world.outcome[states[:, -1]].mean(0) == pytest.approx(replay(world, sequence[None])[0], abs=0.01)


def test_sampled_sequences_are_as_frequent_as_they_are_probable():
    world, policy = random_case(5)
    exact = split_mdp(world, policy, method="exact")
    sampled = split_mdp(world, policy, n_sequences=100_000, seed=1)
    drawn = dict(zip(map(tuple, sampled.sequences), sampled.action_probs, strict=True))
    assert set(drawn) <= set(map(tuple, exact.sequences))
    for sequence, probability in zip(exact.sequences, exact.action_probs, strict=True):
        error = np.sqrt(probability * (1 - probability) / 100_000)
        assert abs(drawn.get(tuple(sequence), 0.0) - probability) < 5 * error + 1e-9


def test_the_sampled_estimate_is_unbiased_and_its_intervals_cover_the_exact_value():
    def both(futures):
        return np.stack([futures.op, futures.imp], -1)

    rng = np.random.default_rng(0)
    transition, initial = rng.dirichlet(np.full(5, 0.3), (3, 5)), rng.dirichlet(np.ones(5))
    world = MDP(transition, initial, rng.dirichlet(np.full(3, 0.3), 5), horizon=4)
    policy = rng.dirichlet(np.full(3, 0.3), 5)
    truth = both(split_mdp(world, policy, method="exact"))
    found = [split_mdp(world, policy, n_sequences=100, seed=seed) for seed in range(1000)]
    values, ends = np.array([both(f) for f in found]), np.array([f.interval(both) for f in found])
    assert (np.abs(values.mean(0) - truth) < 4 * values.std(0) / np.sqrt(1000)).all()
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean(0)
    assert (covered > 0.93).all() and (covered < 0.97).all()


def test_the_interval_of_a_mean_is_its_t_interval():
    from scipy.stats import ttest_1samp

    world, policy = random_case(6, share=1)
    measured = split_mdp(world, policy, n_sequences=50, seed=0)
    each = np.repeat(information.kl(measured.outcome_probs, measured.counterfactual_probs), measured.counts)
    expected = ttest_1samp(each, 0).confidence_interval(0.9)
    assert measured.interval("imp", 0.9) == pytest.approx(tuple(expected), abs=1e-12)
    scalars = measured.scalars([0])
    assert scalars["op_low"] < scalars["op"] < scalars["op_high"]
    assert scalars["s_low"] == pytest.approx(scalars["s_high"], abs=1e-12)  # F is exact


def test_an_interval_over_all_sequences_has_no_width_and_that_of_an_infinite_impact_is_infinite():
    world, policy = random_case(7, share=1)
    exact = split_mdp(world, policy, method="exact")
    assert exact.interval("op") == (exact.op, exact.op)
    stay = np.eye(2)  # the first state is seen, and one replay in two never reaches the other room
    world = MDP([stay, stay[::-1]], [0.5, 0.5], np.arange(2), horizon=1)
    rare = MDP([np.array([[1.0, 0], [1, 0]]), stay], [0.5, 0.5], np.arange(2), horizon=1)
    assert split_mdp(world, np.array([0, 0]), seed=0).imp == 0
    measured = split_mdp(rare, np.array([0, 1]), seed=0)
    assert measured.imp == np.inf and measured.interval("imp") == (np.inf, np.inf)
    assert np.isfinite(measured.interval("op")).all()


@pytest.mark.parametrize("horizon", [1, 5])  # with one step there are two sequences, as many as quantities
def test_a_quantity_with_its_leading_axis_elsewhere_has_no_interval(horizon):
    world = MDP([[[0.9, 0.1], [0.2, 0.8]], [[0.4, 0.6], [0.7, 0.3]]], [0.3, 0.7], [0, 1], horizon=horizon)
    measured = split_mdp(world, np.array([0, 1]), seed=0, n_sequences=100)
    low, high = measured.interval(lambda f: np.stack([f.op, f.imp], -1))
    assert [(low[i], high[i]) for i in range(2)] == [
        pytest.approx(measured.interval(q)) for q in ("op", "imp")
    ]
    for wrong in (lambda f: np.stack([f.op, f.imp]), lambda f: np.sum(f.op), lambda f: 3.0):
        with pytest.raises(ValueError, match=r"quantity: returned shape .* behind a leading axis"):
            measured.interval(wrong)


def test_every_quantity_that_has_a_name_has_an_interval():
    measured = split_mdp(*random_case(6, share=1), n_sequences=50, seed=0)
    for name in QUANTITIES:
        low, high = measured.interval(name)
        assert low <= getattr(measured, name) <= high
    assert measured.interval("narrowing") == pytest.approx((measured.narrowing,) * 2)  # F is exact


def test_a_quantity_that_one_draw_keeps_finite_has_an_infinite_upper_end():
    shares = np.array([[0.5, 0.5], [0.0, 1.0]])
    measured = SplitMDP(np.array([[0], [1]]), np.array([1, 9]), [0.1, 0.9], [0.5, 0.5], shares)
    low, high = measured.interval(lambda f: f.imp_min([0]))
    assert low < measured.imp_min([0]) < high == np.inf


def test_a_seed_is_obeyed():
    world, policy = random_case(8)
    one, same, other = (split_mdp(world, policy, n_sequences=100, seed=s) for s in (0, 0, 1))
    assert one.sequences.tolist() == same.sequences.tolist() and one.op == same.op
    assert one.sequences.tolist() != other.sequences.tolist()


def test_policies_come_as_probabilities_or_actions_with_time_or_without():
    world, _ = random_case(9)
    actions = np.array([0, 2, 1, 1])
    expected = policy_probs(world, np.eye(3)[actions])
    assert expected.shape == (3, 4, 3)
    for same in (
        actions,
        np.tile(actions, (3, 1)),
        torch.eye(3)[actions],
        expected,
        np.eye(3, dtype=int)[actions],
    ):
        assert (policy_probs(world, same) == expected).all()


def test_a_world_may_be_dense_or_sparse():
    world, policy = random_case(10)
    again = MDP([sparse.coo_array(p) for p in world.dense()], world.initial, world.outcome, horizon=3)
    one, other = (split_mdp(w, policy, method="exact") for w in (world, again))
    assert (one.op, one.imp) == (other.op, other.imp)
    assert (world.states(policy).sum(1) == pytest.approx(1)) and world.states(policy).shape == (4, 4)


GYMNASIUM = {"FrozenLake-v1": {}, "CliffWalking-v1": {"is_slippery": True}, "Taxi-v4": {"is_rainy": True}}


@pytest.mark.parametrize("name, options", GYMNASIUM.items())
def test_worlds_of_gymnasium_move_as_they_publish_and_rest_where_an_episode_ends(name, options):
    env = gymnasium.make(name, **options)
    table = env.unwrapped.P
    world = from_gymnasium(env, np.arange(len(table)) % 3, horizon=5)
    assert (world.n_states, world.n_actions) == (len(table), env.action_space.n)
    dense = world.dense()
    ended = {int(new) for s in table for a in table[s] for _, new, _, end in table[s][a] if end}
    for s in table:
        for a in table[s]:
            expected = np.zeros(len(table))
            for p, new, *_ in [(1.0, s)] if s in ended else table[s][a]:
                expected[new] += p
            assert np.abs(dense[a, s] - expected).max() < 1e-12
    assert ended and (world.initial[list(ended)] == 0).all()


def test_episodes_of_frozen_lake_end_as_often_as_it_says():
    env = gymnasium.make("FrozenLake-v1")
    labels = np.array([{b"H": 0, b"G": 1}.get(cell, 2) for cell in env.unwrapped.desc.ravel()])
    world = from_gymnasium(env, labels, horizon=100)
    best = np.array([0, 3, 3, 3, 0, 0, 0, 0, 3, 1, 0, 0, 0, 2, 1, 0])
    success = split_mdp(world, best, n_sequences=2, seed=0).success([1])
    assert success == pytest.approx(0.74, abs=0.01)  # what is known of 100 steps on this map


def test_expected_rewards_are_means_over_what_may_happen_and_nothing_once_it_is_over():
    env = gymnasium.make("FrozenLake-v1")
    reward = expected_reward(env)
    assert reward.shape == (16, 4) and reward[14, 1] == pytest.approx(1 / 3)  # down, slips right to the goal
    assert (reward[[5, 7, 11, 12, 15]] == 0).all() and reward.sum() == pytest.approx(1)
    cliff = expected_reward(gymnasium.make("CliffWalking-v1", is_slippery=True))
    assert cliff[36, 1] == pytest.approx(-(100 + 1 + 1) / 3) and (cliff[47] == 0).all()


class Worlds:
    """What an environment may publish: transitions of two states and one action."""

    def __init__(self, *moves):
        self.unwrapped = self
        self.P, self.initial_state_distrib = (
            {s: {0: move} for s, move in enumerate(moves)},
            np.array([1.0, 0]),
        )


def test_expected_rewards_stand_by_state_and_action_in_whatever_order_they_are_published():
    table = {
        1: {0: [(1.0, 1, 5.0, False)], 1: [(1.0, 0, 7.0, False)]},
        0: {1: [(1.0, 1, 1.0, False)], 0: [(1.0, 0, 2.0, False)]},
    }
    published = SimpleNamespace(P=table, initial_state_distrib=np.array([1.0, 0]))
    assert expected_reward(published).tolist() == [[2, 1], [5, 7]]


BAD = {
    "transition: row [1, 0] sums to 0.5": lambda: MDP([np.eye(2), np.eye(2) / 2], [1, 0], [0, 1], horizon=1),
    "transition: action 0 has entry -1": lambda: MDP([[[2, -1], [0, 1]]], [1, 0], [0, 1], horizon=1),
    "transition: entry [0, 0, 0] is nan": lambda: MDP(np.full((1, 2, 2), np.nan), [1, 0], [0, 1], horizon=1),
    "transition: shapes [(2, 3)]": lambda: MDP(np.ones((1, 2, 3)) / 3, [1, 0], [0, 1], horizon=1),
    "transition: shape (2, 2), allowed is (A, S, S)": lambda: MDP(np.eye(2), [1, 0], [0, 1], horizon=1),
    "transition: given [array(": lambda: MDP([np.eye(2), np.eye(3)], [1, 0], [0, 1], horizon=1),
    "initial: shape (3,)": lambda: MDP([np.eye(2)], [1, 0, 0], [0, 1], horizon=1),
    "initial: row [] sums to 0.5": lambda: MDP([np.eye(2)], [0.5, 0], [0, 1], horizon=1),
    "outcome: shape (3,) of int64": lambda: MDP([np.eye(2)], [1, 0], [0, 1, 2], horizon=1),
    "outcome: shape (2,) of float64": lambda: MDP([np.eye(2)], [1, 0], [0.5, 1], horizon=1),
    "outcome: row [1] sums to 0": lambda: MDP([np.eye(2)], [1, 0], [[1, 0], [0, 0]], horizon=1),
    "horizon: given 0": lambda: MDP([np.eye(2)], [1, 0], [0, 1], horizon=0),
    "method: given 'all'": lambda: split_mdp(*random_case(0), method="all"),
    "seed: none given": lambda: split_mdp(*random_case(0)),
    "seed: given 1.5": lambda: split_mdp(*random_case(0), seed=1.5),
    "n_sequences: given 1,": lambda: split_mdp(*random_case(0), n_sequences=1, seed=0),
    "policy: actions 0 to 3": lambda: split_mdp(random_case(0)[0], np.arange(4)),
    "policy: shape (4,) of float64": lambda: split_mdp(random_case(0)[0], np.ones(4)),
    "policy: shape (5, 3) of float64": lambda: split_mdp(random_case(0)[0], np.ones((5, 3)) / 3),
    "policy: row [0] sums to 3": lambda: split_mdp(random_case(0)[0], np.ones((4, 3))),
    "horizon: given up to 200**4": lambda: split_mdp(
        *random_case(0, n_states=3, n_actions=200, horizon=4), method="exact"
    ),
    "level: given 95": lambda: split_mdp(*random_case(0), seed=0).interval("op", 95),
    "quantity: given 'power'": lambda: split_mdp(*random_case(0), seed=0).interval("power"),
    "has no P and initial_state_distrib": lambda: from_gymnasium(
        gymnasium.make("CartPole-v1"), [0], horizon=1
    ),
    "end in state 1 or go on there": lambda: from_gymnasium(
        Worlds([(0.5, 1, 0, True), (0.5, 1, 0, False)], [(1.0, 0, 0, False)]), [0, 1], horizon=1
    ),
}


@pytest.mark.parametrize("said, fault", BAD.items())
def test_bad_input_is_one_line_that_says_what_is_allowed(said, fault):
    with pytest.raises(ValueError) as error:
        fault()
    assert said in str(error.value) and "allowed" in str(error.value) and "\n" not in str(error.value)


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(mdp).failed == 0
