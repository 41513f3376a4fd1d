"""Agents of the chapter on simulators: the network acts as trained, tables say what replays can show."""

import gymnasium
import numpy as np
import pytest
from conftest import ROOT

from splithistory.episodes import SplitEpisodes
from splithistory.pages import agents


def steps_of(policy, seed: int) -> int:
    """How long the pole stands."""
    env = gymnasium.make("CartPole-v1")
    seen, _ = env.reset(seed=seed)
    for step in range(agents.STEPS):
        seen, _, fell, _, _ = env.step(policy(seen))
        if fell:
            return step + 1
    return agents.STEPS


def test_the_controller_and_the_trained_network_balance_and_an_untrained_one_does_not():
    network = agents.trained()
    assert next(iter(network)) == 0
    balancing = agents.controller, list(network.values())[-1]
    assert {steps_of(policy, seed) for policy in balancing for seed in range(5)} == {agents.STEPS}
    assert max(steps_of(network[0], seed) for seed in range(5)) < agents.STEPS


@pytest.mark.slow  # the import of stable-baselines3
def test_the_published_network_is_what_stable_baselines_would_play(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import agent
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [16, 16]})
    policy = agents.network(agent.actor(model.policy))
    seen = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    played = [policy(s) for s in seen]
    assert np.array_equal(played, model.predict(seen, deterministic=True)[0])
    assert set(played) == {0, 1}


def test_a_plan_begins_afresh_and_goes_on():
    plan = agents.Plan()
    assert [plan(None) for _ in range(3)] == [agents.Plan.at(step) for step in range(3)] == [0, 1, 0]
    plan.reset()
    assert plan(None) == 0


def test_an_imp_that_replays_cannot_tell_is_no_number():
    given = agents.cells(SplitEpisodes([0, 1, 1], [[0, 1, 1], [1, 0, 0]], 2))
    withheld = agents.cells(SplitEpisodes([0, 1, 1], [[0, 0, 0], [1, 0, 0]], 2))
    assert given["Imp"] == pytest.approx(
        agents.estimates(SplitEpisodes([0, 1, 1], [[0, 1, 1], [1, 0, 0]], 2))["imp"]
    )
    assert (withheld["Imp"], withheld["unseen"]) == ("not known", "0.33")
    assert withheld["upright"] == "0.67 (0.09 to 0.99)"  # 2 of 3, Clopper–Pearson


def test_what_is_replayed_has_an_interval_and_a_reference_that_of_its_own_episodes():
    share, (low, high) = agents.replayed(SplitEpisodes([0, 1, 1], [[0, 1, 1], [1, 0, 0]], 2))
    assert share == 0.5 and 0 <= low < share < high
    share, (low, high) = agents.replayed(SplitEpisodes([1, 1], [[0, 0, 0]], 2))
    assert share == low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 3))  # none of three


def test_the_interval_of_a_share_ends_where_shares_end():
    ends = []
    for last in (0, 1):
        futures = [last] * 5 + [1 - last]
        _, interval = agents.replayed(SplitEpisodes([0, 1, 1], [futures] * 3, 2))
        ends += interval
    assert 0 <= min(ends) and max(ends) <= 1


def test_the_published_trial_has_its_intervals():
    trial = agents.coverage()
    assert (trial["low"] <= trial["covered"]).all() and (trial["covered"] <= trial["high"]).all()
    assert (trial["repetitions"] >= 1000).all()
    assert np.array_equal(trial["bias"].isna(), np.isinf(trial["truth"]))
