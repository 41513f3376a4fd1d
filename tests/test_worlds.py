"""Four worlds, policies of every kind, all measures: what is known of each, side by side."""

import gymnasium
import numpy as np
import pytest
from scipy.stats import spearmanr

from splithistory import worlds
from splithistory.mdp import policy_probs
from splithistory.neighbours import empowerment
from splithistory.planning import earned

SMALL = worlds.grid(3, horizon=5)


@pytest.fixture(scope="module")
def known():
    return worlds.known(gymnasium.make)


def test_a_move_in_the_grid_goes_the_opposite_way_with_the_probability_of_slipping():
    moved = worlds.grid(5, slip=0.1).mdp.dense()
    up, down, left, right = range(4)
    assert (moved[right, 12, 13], moved[right, 12, 11]) == pytest.approx((0.9, 0.1))
    assert (moved[up, 12, 7], moved[up, 12, 17]) == pytest.approx((0.9, 0.1))
    assert (moved[left, 0, 0], moved[left, 0, 1]) == pytest.approx((0.9, 0.1))  # at the wall
    assert moved[down, 0, 5] == pytest.approx(0.9)


def test_outcomes_have_names_and_are_seen_through_a_little_noise(known):
    for world in known.values():
        k = len(world.outcomes)
        assert world.mdp.n_outcomes == k and world.mdp.outcome.min() == pytest.approx(worlds.NOISE / k)
        assert world.mdp.outcome.max(1) == pytest.approx(1 - worlds.NOISE + worlds.NOISE / k)


def test_what_counts_as_the_goal_is_where_an_episode_ends_well(known):
    at_goal = {name: set(np.flatnonzero(w.mdp.outcome[:, w.goal[0]] > 0.5)) for name, w in known.items()}
    assert (at_goal["grid"], at_goal["frozen lake"], at_goal["cliff walking"]) == ({24}, {15}, {47})
    taxi = gymnasium.make("Taxi-v4", is_rainy=True).unwrapped
    ended = {new for s in taxi.P for a in taxi.P[s] for _, new, _, end in taxi.P[s][a] if end}
    assert ended < at_goal["taxi"] and not at_goal["taxi"] & set(np.flatnonzero(known["taxi"].mdp.initial))


def test_the_lake_and_the_cliff_are_labelled_as_they_lie(known):
    lake = known["frozen lake"].mdp.outcome.argmax(1)
    assert lake[[5, 7, 11, 12]].tolist() == [1, 2, 3, 4] and (np.delete(lake, [5, 7, 11, 12, 15]) == 5).all()
    cliff = known["cliff walking"].mdp.outcome.argmax(1)
    assert cliff[[36, 0, 3, 4, 8, 11, 47]].tolist() == [1, 2, 2, 3, 4, 4, 0]


def test_policies_earn_as_their_names_say():
    def earns(policy):
        return earned(SMALL.mdp, policy, SMALL.utility, final=SMALL.final)

    found = {(kind, level): earns(policy) for kind, level, _, policy in worlds.policies(SMALL, stages=(500,))}
    best, worst, even = (found[kind, 0.0] for kind in ("optimal", "anti-optimal", "uniform"))
    assert worst < even < found["soft", 0.3] < found["soft", 3.0] < best
    assert even < found["ε-greedy", 0.5] < found["ε-greedy", 0.05] < best
    assert worst <= found["learned", 500.0] <= best and found["plan", 0.0] < best


def test_a_plan_is_what_the_policy_plays_most_where_one_cannot_see():
    best = next(p for kind, *_, p in worlds.policies(SMALL, stages=(1,)) if kind == "optimal")
    plan = worlds.plan(SMALL.mdp, best)
    assert plan.shape == (5, 9) and (plan == plan[:, :1]).all()
    assert plan[0, 0] == best[0, 0].argmax()
    assert worlds.one_of(np.array([[0.5, 0.5, 0.0]])).tolist() == [[1, 0, 0]]


def test_a_policy_has_the_more_to_react_to_the_longer_an_episode_is():
    rows = worlds.by_horizon(lambda horizon: worlds.grid(3, horizon=horizon), (1, 8), n_sequences=50)
    op = {(row["kind"], row["horizon"]): row["op"] for row in rows}
    assert op["optimal", 1] == op["plan", 1] == op["plan", 8] == 0 < op["optimal", 8]
    assert list(worlds.plain(SMALL)) == ["optimal", "ε-greedy", "plan", "uniform"] and len(rows) == 8


@pytest.fixture(scope="module")
def measured():
    empowered = empowerment(SMALL.mdp, steps=2)
    cases = list(worlds.policies(SMALL, stages=(10,), seeds=(0,)))
    return {c[:2]: worlds.measured(SMALL, c[3], empowered, n_sequences=100) for c in cases}, cases


def test_a_plan_has_no_optimization_impact_or_plasticity_but_is_directed(measured):
    plan = measured[0]["plan", 0.0]
    assert (plan["op"], plan["imp"], plan["plasticity"], plan["causal_influence"]) == (0, 0, 0, 0)
    assert plan["meg_known"] > 1 and plan["meg_unknown"] > 1 and not plan["reacts"]


def test_even_chance_is_not_directed_and_optimizes_nothing_once_futures_are_mixed(measured):
    even = measured[0]["uniform", 0.0]
    assert max(even[name] for name in ("meg_known", "meg_unknown", "plasticity")) < 1e-12
    assert even["op"] < 0 < even["imp"] and abs(even["op_mixed"]) < 0.1
    assert even["causal_influence"] > measured[0]["ε-greedy", 0.05]["causal_influence"] > 0


def test_every_measure_has_a_value_and_what_it_cost(measured):
    for found in measured[0].values():
        assert set(worlds.MEASURES) <= set(found) and found["converged"] in (True, False)
        assert found["op_low"] <= found["op"] <= found["op_high"]
        times = [value for name, value in found.items() if name.endswith("_seconds")]
        assert len(times) == 5 and min(times) >= 0


def test_softly_optimal_policies_are_as_directed_as_their_temperature_says(measured):
    found, cases = measured
    for kind, beta, _, policy in cases:
        if kind == "soft":
            probs = policy_probs(SMALL.mdp, policy)
            visits = SMALL.mdp.states(policy)[:-1]
            expected = (visits[..., None] * probs * np.log(4 * probs)).sum()
            assert found[kind, beta]["meg_known"] == pytest.approx(expected, abs=1e-6)


def test_rank_correlations_are_spearman_s_and_undefined_of_a_constant():
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=20), "b": rng.integers(4, size=20).astype(float), "c": np.ones(20)}
    found = worlds.rank_correlations(values)
    assert found["a", "b"] == pytest.approx(spearmanr(values["a"], values["b"]).statistic, abs=1e-12)
    assert found["a", "a"] == pytest.approx(1) and np.isnan(found["a", "c"])
