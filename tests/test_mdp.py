"""Split history of many steps: brute force over episodes, closed-form zeros, intervals, failures."""

import itertools

import gymnasium
import numpy as np
import pytest

from splithistory.mdp import MDP, from_gymnasium, split_mdp
from splithistory.measure import SplitHistory


def random_mdp(seed, *, n_states=4, n_actions=3, n_outcomes=3, horizon=3, share=0.7):
    """A random MDP and a random policy (T, S, A), in both of which some entries are zero."""
    rng = np.random.default_rng(seed)

    def some(*shape):
        found = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1]) * (rng.random(shape) < share)
        found[..., 0] += found.sum(-1) == 0
        return found / found.sum(-1, keepdims=True)

    world = MDP(
        some(n_actions, n_states, n_states), some(n_states), some(n_states, n_outcomes), horizon=horizon
    )
    return world, some(horizon, n_states, n_actions)


def episodes(world, policy):
    """Every run of the closed loop: its actions, its outcome and how probable it is."""
    p = world.dense()
    for states in itertools.product(range(world.n_states), repeat=world.horizon + 1):
        for actions in itertools.product(range(world.n_actions), repeat=world.horizon):
            weight = world.initial[states[0]]
            for t, a in enumerate(actions):
                weight *= policy[t, states[t], a] * p[a, states[t], states[t + 1]]
            if weight > 0:
                for outcome in range(world.n_outcomes):
                    yield actions, outcome, weight * world.outcome[states[-1], outcome]


def replayed(world, actions):
    """Outcomes when these actions are played whatever happens: the sum over all runs of states."""
    p, found = world.dense(), np.zeros(world.n_outcomes)
    for states in itertools.product(range(world.n_states), repeat=world.horizon + 1):
        weight = world.initial[states[0]]
        for t, a in enumerate(actions):
            weight *= p[a, states[t], states[t + 1]]
        found += weight * world.outcome[states[-1]]
    return found


def brute_force(world, policy):
    """Op and Imp in nats by a double loop: runs that the policy answers, and runs that replay its answer."""
    optimized, played = np.zeros(world.n_outcomes), dict.fromkeys([], 0.0)
    for actions, outcome, weight in episodes(world, policy):
        optimized[outcome] += weight
        played[actions] = played.get(actions, 0.0) + weight
    op, imp = sum(f * np.log(f) for f in optimized if f > 0), 0.0
    for actions, weight in played.items():
        other = replayed(world, actions)
        op -= weight * sum(d * np.log(d) for d in other if d > 0)
        imp += weight * sum(
            f * (np.log(f / d) if d > 0 else np.inf) for f, d in zip(optimized, other, strict=True) if f > 0
        )
    return op, imp


@pytest.mark.parametrize("seed", range(20))
def test_enumeration_equals_a_double_loop_over_runs(seed):
    world, policy = random_mdp(seed, n_states=3, n_actions=2, horizon=3)
    measured = split_mdp(world, policy, method="exact")
    assert (measured.op, measured.imp) == pytest.approx(brute_force(world, policy), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_one_step_is_split_history(seed):
    world, policy = random_mdp(seed, horizon=1)
    one = SplitHistory(
        world.initial[:, None] * policy[0], np.stack([p @ world.outcome for p in world.transition], 1)
    )
    many = split_mdp(world, policy, method="exact")
    for quantity in ("op", "imp", "delta"):
        assert getattr(many, quantity) == pytest.approx(getattr(one, quantity), abs=1e-12)
    assert many.decomposition([0]) == pytest.approx(one.decomposition([0]), abs=1e-12)


@pytest.mark.parametrize("method", ["sampled", "exact"])
@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_exactly_none(seed, method):
    world, _ = random_mdp(seed, n_states=20, horizon=6)
    plan = np.random.default_rng(seed).integers(world.n_actions, size=(6, 1))
    measured = split_mdp(world, np.tile(plan, 20), method=method, seed=0)
    assert (measured.op, measured.imp) == (0, 0)


@pytest.mark.parametrize(
    "name, options",
    [("FrozenLake-v1", {}), ("CliffWalking-v1", {"is_slippery": True}), ("Taxi-v4", {"is_rainy": True})],
)
def test_gymnasium_worlds_have_transitions_and_rest_where_an_episode_ends(name, options):
    env = gymnasium.make(name, **options)
    n = len(env.unwrapped.P)
    world = from_gymnasium(env, np.arange(n) % 3, horizon=5)
    assert world.n_states == n and world.n_actions == env.action_space.n
