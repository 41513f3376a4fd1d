"""Neighbours: closed values of goal-directedness, capacities, directed information, reward distances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, objectives, policies
from splithistory.information import entropy
from splithistory.mdp import MDP, split_mdp
from splithistory.neighbours import (
    capacity,
    causal_influence,
    empowerment,
    epic,
    meg,
    meg_unknown,
    plasticity,
    starc,
)
from splithistory.planning import earned, occupancy, soft_value_iteration, value_iteration


def random_world(seed, n_states=5, n_actions=3, horizon=4, n_outcomes=3):
    rng = np.random.default_rng(seed)
    moves = rng.dirichlet(np.ones(n_states), (n_actions, n_states))
    outcome = rng.dirichlet(np.ones(n_outcomes), n_states)
    return MDP(moves, rng.dirichlet(np.ones(n_states)), outcome, horizon=horizon)


def random_policy(world, seed, *leading):
    return np.random.default_rng(seed).dirichlet(np.ones(world.n_actions), (*leading, world.n_states))


def noiseless(horizon=1):
    """Three states; each of three actions leads to one of them, from anywhere."""
    return MDP(np.eye(3)[:, None].repeat(3, 1), np.eye(3)[0], np.arange(3), horizon=horizon)


# --- goal-directedness ------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.05, 20), st.sampled_from([None, 0.9]))
def test_a_soft_optimal_policy_has_its_closed_value(seed, beta, discount):
    world, utility = random_world(seed), np.random.default_rng(seed).normal(size=5)
    final = utility if discount is None else 0.0
    policy, _ = soft_value_iteration(world, utility, final=final, beta=beta, discount=discount)
    done = occupancy(world, policy, discount=discount)
    closed = np.where(done > 0, done * np.log(np.maximum(policy, 1e-300) * 3), 0).sum()
    known = meg(world, policy, utility, final=final, discount=discount)
    assert known.value == pytest.approx(closed, abs=1e-6)
    assert known.beta == pytest.approx(beta, rel=1e-4)
    assert meg_unknown(world, policy, discount=discount).value == pytest.approx(closed, abs=1e-6)


def test_one_step_is_the_goal_directedness_of_the_other_chapters():
    world, goal = Recurrence(), (0, 4)
    policy = policies.maximum_entropy(world, (0, 2), 3.0)
    measured = objectives.maxent_goal_directedness(policy, [goal, (0, 2), (1, 3)])
    moves = np.zeros((16, 24, 24))  # 16 classes, then 8 outcomes
    moves[:, :16, 16:], moves[:, 16:, 16:] = world.table.swapaxes(0, 1), np.eye(8)
    start = np.append(world.class_shares(), np.zeros(8))
    outcome = np.append(np.zeros(16, dtype=int), np.arange(8))
    one = MDP(moves, start, outcome, horizon=1)
    played = np.vstack([policy.counts / policy.counts.sum(1, keepdims=True), np.full((8, 16), 1 / 16)])
    for of, value in zip([goal, (0, 2), (1, 3)], measured, strict=True):
        final = np.append(np.zeros(16), np.isin(np.arange(8), of))
        assert meg(one, played, final=final).value == pytest.approx(value, abs=1e-9)


def test_chance_is_not_directed_and_the_only_best_plan_is_all_that_there_is():
    world = noiseless(horizon=4)
    even, always = np.full((3, 3), 1 / 3), np.eye(3)[[1, 1, 1]]
    for found in (meg(world, even, np.arange(3.0)), meg_unknown(world, even)):
        assert found.value == pytest.approx(0, abs=1e-12) and found.converged
    assert meg(world, always, final=[0, 1, 0], utility=[0, 1, 0]).value == pytest.approx(4 * np.log(3))
    assert meg_unknown(world, always).value == pytest.approx(4 * np.log(3), abs=1e-5)
    assert meg_unknown(world, always, last=True).value == pytest.approx(np.log(3), abs=1e-5)


def test_what_avoids_a_utility_counts_only_when_asked():
    world, utility = random_world(3), np.random.default_rng(0).normal(size=5)
    policy, _ = soft_value_iteration(world, utility, beta=-2.0)
    assert meg(world, policy, utility).value == 0
    both = meg(world, policy, utility, both_signs=True)
    assert both.beta == pytest.approx(-2.0, abs=1e-6)
    assert both.value == pytest.approx(meg(world, policy, -utility).value, abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([None, 0.8]))
def test_no_utility_explains_more_than_the_one_found(seed, discount):
    world = random_world(seed)
    policy = random_policy(world, seed)
    found, rng = meg_unknown(world, policy, discount=discount), np.random.default_rng(seed)
    assert found.converged
    for utility in rng.normal(size=(3, 5)):
        final = utility if discount is None else 0.0
        assert meg(world, policy, utility, final=final, discount=discount).value <= found.value + 1e-9


@pytest.mark.parametrize("discount", [None, 0.9, 0.99])
@pytest.mark.parametrize("size", [-1000.0, 3.0, 100.0])
def test_a_utility_that_no_policy_can_change_shows_no_direction_whatever_its_size(size, discount):
    for seed in (23, 24):
        world = random_world(seed, n_states=8, horizon=20)
        for policy in (random_policy(world, seed), np.arange(8) % 3):
            found = meg(world, policy, size, discount=discount, both_signs=True)
            assert found.value == 0 and found.beta == 0 and found.converged


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(-300, 300), st.sampled_from([None, 0.9]))
def test_the_unit_of_a_utility_is_no_goal_directedness(seed, power, discount):
    world, utility = random_world(seed), np.random.default_rng(seed).normal(size=5)
    policy = random_policy(world, seed)
    one, other = (
        meg(world, policy, u, discount=discount, both_signs=True) for u in (utility, utility * 2.0**power)
    )
    assert other.value == pytest.approx(one.value, rel=1e-9, abs=1e-12)
    assert other.beta * 2.0**power == pytest.approx(one.beta, rel=1e-6)


def test_a_penalty_that_is_never_met_hides_no_goal_directedness():
    leads = np.zeros((2, 4, 4))
    leads[0, :, 0], leads[1, :, 1], leads[:, 3] = 1, 1, np.eye(4)[3]  # no way into the last
    world = MDP(leads, np.eye(4)[2], np.arange(4), horizon=1)
    final, policy = np.array([0, 1, 0, -1e14]), np.array([[0.2, 0.8]] * 4)
    assert meg(world, policy, final=final).value == pytest.approx(np.log(2) - entropy([0.2, 0.8]), abs=1e-9)


def test_what_is_found_of_a_goal_in_the_end_names_it():
    world = random_world(8, n_states=6, n_outcomes=4)
    policy, _ = soft_value_iteration(world, final=world.outcome @ [0, 0, 1.0, 0], beta=20.0)
    found = meg_unknown(world, policy, last=True)
    assert found.converged and int(found.utility.argmax()) == 2
    assert np.allclose(found.utility - found.utility[0], [0, 0, 20, 0], atol=1e-3)


@pytest.mark.parametrize("kind", ["random", "never draws", "optimal"])
def test_unknown_utility_converges_in_stochastic_worlds_of_150_states(kind):
    for seed in range(2):
        world, rng = random_world(seed, n_states=150, n_actions=4), np.random.default_rng(seed)
        best = value_iteration(world, rng.normal(size=150), discount=0.9)[0]
        policy = {"random": random_policy(world, seed), "never draws": np.eye(4)[rng.integers(4, size=150)]}
        found = meg_unknown(world, policy.get(kind, best), discount=0.9)
        assert found.converged and found.gradient < 1e-6
        if kind == "optimal":  # all that there is
            assert found.value == pytest.approx(np.log(4) / (1 - 0.9), abs=1e-4)


def test_it_says_when_it_did_not_converge():
    world = random_world(0)
    found = meg_unknown(world, random_policy(world, 0), rounds=1)
    assert not found.converged and found.gradient > 1e-6
    with pytest.raises(ValueError, match=r"last: given with discount 0\.9, allowed is one of the two"):
        meg_unknown(world, random_policy(world, 0), last=True, discount=0.9)


# --- what actions can do ----------------------------------------------------------------------------------


def test_known_capacities():
    flip = 0.1
    symmetric = [[1 - flip, flip], [flip, 1 - flip]]
    erasure = [[0.7, 0.3, 0], [0, 0.3, 0.7]]
    z = [[1, 0], [0.5, 0.5]]
    assert capacity(np.eye(5)) == pytest.approx(np.log(5), abs=1e-12)
    assert capacity(symmetric) == pytest.approx(np.log(2) - entropy([flip, 1 - flip]), abs=1e-12)
    assert capacity(erasure) == pytest.approx(0.7 * np.log(2), abs=1e-12)
    assert capacity(z) == pytest.approx(np.log(5 / 4), abs=1e-6)
    assert capacity([[0.2, 0.8], [0.2, 0.8]]) == 0
    with pytest.raises(RuntimeError, match="nats apart after 2 rounds"):
        capacity(z, rounds=2)


def test_a_noiseless_channel_has_the_empowerment_of_its_actions():
    assert empowerment(noiseless()) == pytest.approx(np.full(3, np.log(3)), abs=1e-12)
    assert empowerment(noiseless(), steps=3) == pytest.approx(np.full(3, np.log(3)), abs=1e-6)


def test_empowerment_counts_what_can_be_reached_in_a_corridor_with_an_end():
    to = [np.maximum(np.arange(5) - 1, 0), np.minimum(np.arange(5) + 1, 4), np.arange(5)]
    world = MDP(np.eye(5)[np.stack(to)], np.eye(5)[2], np.arange(5), horizon=2)
    assert np.exp(empowerment(world)) == pytest.approx([2, 3, 3, 3, 2], abs=1e-5)
    assert np.exp(empowerment(world, steps=2)) == pytest.approx([3, 4, 5, 4, 3], abs=1e-4)
    with pytest.raises(
        ValueError, match=r"steps: given 20, 3,486,784,401 plans, allowed are at most 800,000"
    ):
        empowerment(world, steps=20)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_causal_influence_is_information_that_empowerment_bounds(seed):
    world = random_world(seed)
    policy, p = random_policy(world, seed), world.dense()
    found = causal_influence(world, policy)
    for s in range(5):
        joint = policy[s][:, None] * p[:, s]
        mutual = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
        assert found[:, s] == pytest.approx(np.full(4, mutual), abs=1e-10)
    assert (found <= empowerment(world) + 2e-6).all()


def test_a_policy_that_does_not_draw_has_no_causal_influence():
    assert (causal_influence(random_world(0), np.array([0, 1, 2, 0, 1])) < 1e-12).all()


# --- plasticity -------------------------------------------------------------------------------------------


def directed_information(world, policy):
    """Σ_t I(S_0..S_t; A_t | A_0..A_{t-1}) by going through all runs."""
    p, total = world.dense(), 0.0
    joint = {((s,), ()): w for s, w in enumerate(world.initial)}
    for t in range(world.horizon):
        acted = {
            (states, (*acts, a)): w * policy[t, states[-1], a]
            for (states, acts), w in joint.items()
            for a in range(world.n_actions)
        }
        past = list(joint.values())
        played = {}
        for (_, acts), w in acted.items():
            played[acts] = played.get(acts, 0) + w
        before = {}
        for (_, acts), w in joint.items():
            before[acts] = before.get(acts, 0) + w
        h = {k: entropy(list(v)) for k, v in (("acts", played.values()), ("before", before.values()))}
        both = entropy(list(acted.values())) - entropy(past)  # H(A_t | all that was seen and done)
        total += h["acts"] - h["before"] - both
        joint = {
            ((*states, s), acts): w * p[acts[-1], states[-1], s]
            for (states, acts), w in acted.items()
            for s in range(world.n_states)
        }
    return total


def test_plasticity_is_the_directed_information_of_all_runs():
    world = random_world(1, n_states=3, n_actions=2, horizon=3)
    policy = random_policy(world, 2, 3)
    expected = directed_information(world, policy)
    assert plasticity(world, policy, method="exact") == (pytest.approx(expected, abs=1e-12), 0.0)
    mean, half = plasticity(world, policy, n_sequences=4000, seed=0)
    assert abs(mean - expected) < 1.5 * half and half < 0.02


def test_an_open_loop_policy_has_no_plasticity():
    world = random_world(2)
    plan = np.eye(3)[[0, 2, 1, 1]][:, None].repeat(5, 1)
    dice = np.random.default_rng(0).dirichlet(np.ones(3), 4)[:, None].repeat(5, 1)
    for policy in (plan, dice):
        assert plasticity(world, policy, method="exact")[0] == pytest.approx(0, abs=1e-12)
        assert plasticity(world, policy, n_sequences=50, seed=0)[0] == pytest.approx(0, abs=1e-12)
    assert split_mdp(world, plan, method="exact").imp == 0


def test_without_chance_what_is_seen_tells_nothing_that_was_not_done():
    policy = random_policy(noiseless(), 0)
    assert plasticity(noiseless(horizon=4), policy, method="exact")[0] == pytest.approx(0, abs=1e-12)


def test_plasticity_of_a_policy_that_does_not_draw_is_the_entropy_of_its_actions():
    world, policy = random_world(4), np.random.default_rng(0).integers(3, size=(4, 5))
    sequences = split_mdp(world, policy, method="exact").action_probs
    assert plasticity(world, policy, method="exact")[0] == pytest.approx(entropy(sequences), abs=1e-10)


def test_too_many_sequences_or_no_seed_is_one_line():
    world = random_world(0, horizon=30)
    with pytest.raises(
        ValueError, match=r"horizon: [\d,]+ sequences, allowed for method='exact' are at most"
    ):
        plasticity(world, random_policy(world, 0), method="exact")
    with pytest.raises(ValueError, match="method: given 'guess', allowed are sampled, exact"):
        plasticity(world, random_policy(world, 0), method="guess")
    with pytest.raises(ValueError, match="seed: given None"):
        plasticity(world, random_policy(world, 0))


# --- distances between rewards ----------------------------------------------------------------------------


def shaped(reward, potential, discount):
    """(S, A, S): a reward with γΦ(s') − Φ(s) added."""
    return reward[:, :, None] + discount * potential - potential[:, None, None]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_shaping_and_scale_are_no_distance_and_the_opposite_is_all_of_it(seed, scale):
    world, rng = random_world(seed), np.random.default_rng(seed)
    reward = rng.normal(size=(5, 3))
    other = scale * shaped(reward, rng.normal(size=5), 0.9)
    for distance, most in ((starc, 2), (epic, 1)):
        assert distance(world, reward, other, discount=0.9) == pytest.approx(0, abs=1e-6)
        assert distance(world, -reward, other, discount=0.9) == pytest.approx(most, abs=1e-12)
        assert distance(world, reward, rng.normal(size=(5, 3)), discount=0.9) > 0.01


def test_rewards_at_no_distance_order_all_policies_alike_whatever_the_next_state_was():
    world, rng = random_world(1), np.random.default_rng(0)
    reward, noise = rng.normal(size=(5, 3, 5)), rng.normal(size=(5, 3, 5))
    noise -= np.einsum("sat,ast->sa", noise, world.dense())[..., None]  # nothing on average
    assert starc(world, reward, reward + noise, discount=0.9) == pytest.approx(0, abs=1e-9)
    assert epic(world, reward, reward + noise, discount=0.9) > 0.1  # EPIC does not know the world
    mean = np.einsum("sat,ast->sa", reward, world.dense())
    plans = [np.array(p) for p in itertools.product(range(3), repeat=5)][:40]
    order = [
        np.argsort([earned(world, p, r, discount=0.9) for p in plans]).tolist() for r in (mean, 2 * mean)
    ]
    assert order[0] == order[1]


def test_known_distances():
    world = noiseless()
    one, two = np.eye(3)[:2]  # for what action 0, and 1, leads to; unit vectors at 120 degrees
    assert starc(world, one[None].repeat(3, 0), two[None].repeat(3, 0), discount=0.5) == pytest.approx(3**0.5)
    assert epic(world, one[None].repeat(3, 0), two[None].repeat(3, 0), discount=0.5) == pytest.approx(
        0.75**0.5
    )


def test_a_reward_that_no_policy_changes_has_no_direction():
    world = random_world(0)
    flat, reward = np.ones(5), np.random.default_rng(0).normal(size=5)
    assert starc(world, flat, flat, discount=0.9) == 0
    assert starc(world, flat, reward, discount=0.9) == pytest.approx(1)
    with pytest.raises(ValueError, match="reward: constant up to shaping"):
        epic(world, flat, reward, discount=0.9)
    with pytest.raises(ValueError, match=r"reward: shape \(4,\), allowed are \(5,\), \(5, 3\) and"):
        starc(world, np.ones(4), reward, discount=0.9)


@pytest.mark.parametrize("discount", [0.9, 0.99, 0.9999])
@pytest.mark.parametrize("size", [1e-200, 1e-13, 1, 10, 1000])
def test_a_reward_that_no_policy_changes_has_no_direction_whatever_its_size(size, discount):
    world, rng = random_world(0), np.random.default_rng(0)
    flat, reward = np.full(5, 1.0 * size), rng.normal(size=(5, 3))
    noise = rng.normal(size=(5, 3, 5)) * size
    noise -= np.einsum("sat,ast->sa", noise, world.dense())[..., None]  # nothing on average
    shaping = shaped(np.zeros((5, 3)), size * rng.normal(size=5), discount)
    for nothing in (flat, noise, shaping):
        assert starc(world, nothing, -nothing, discount=discount) == 0
        assert starc(world, nothing, reward, discount=discount) == pytest.approx(1)
    for nothing in (flat, shaping):
        with pytest.raises(ValueError, match="reward: constant up to shaping, allowed is one that tells"):
            epic(world, nothing, reward, discount=discount)
        with pytest.raises(ValueError, match="other: constant up to shaping, allowed is one that tells"):
            epic(world, reward, nothing, discount=discount)


@pytest.mark.parametrize("scale", [1e-200, 1e-24, 1e-13, 1e100])
def test_a_small_reward_keeps_its_direction(scale):
    world, reward = random_world(0), np.random.default_rng(0).normal(size=(5, 3))
    for distance, most in ((starc, 2), (epic, 1)):
        assert distance(world, reward, scale * reward, discount=0.9) == pytest.approx(0, abs=1e-7)
        assert distance(world, -reward, scale * reward, discount=0.9) == pytest.approx(most, abs=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-2, 1e-4, 1e-6, 0.0]))
def test_capacity_is_found_where_inputs_are_nearly_alike(seed, apart):
    """Between the two bounds of Arimoto, of which the upper one holds for any distribution of outputs."""
    rng = np.random.default_rng(seed)
    channel = rng.dirichlet(np.ones(3), 4)
    channel[1] = (1 - apart) * channel[0] + apart * channel[1]
    found = capacity(channel)
    assert found == pytest.approx(capacity(np.delete(channel, 1, 0)), abs=2e-6 + apart)
    assert capacity(channel, tolerance=1e-9) == pytest.approx(found, abs=1.001e-6)


def test_capacity_of_an_unused_input_that_is_nearly_as_good_as_a_used_one():
    assert capacity([[0.76, 0.24], [0.37, 0.63], [0.7599, 0.2401]]) == pytest.approx(0.0796835, abs=1e-6)
