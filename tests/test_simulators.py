"""Episodes in simulators: many at once against one by one, seeds, bins, and what to install."""

import sys
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from splithistory.simulators import Binned, Simulator, _action, random_actions, seeds


def length(observation, info):
    return info["episode"]["l"]


def test_many_at_once_are_the_same_episodes_as_one_by_one():
    world = Simulator("CartPole-v1", length, 60, 59, 1, False)
    sequence, seeds = [0, 1, 1, 0, 1, 0, 0], [7] * 20
    (found,) = world.replayed([sequence], seeds)
    many = world.make_many(len(seeds))
    many.reset(seed=7)
    one = world.make()
    for outcome, state in zip(found, many.state.T, strict=True):
        one.reset()
        one.unwrapped.state = state
        actions = iter(sequence + [1] * 60)
        for steps in range(1, 60):  # noqa: B007
            if one.step(next(actions))[2]:
                break
        assert outcome == steps
    assert len(set(found)) > 3


def test_no_sequence_is_replayed_under_the_seed_of_an_episode():
    groups = seeds(3, 500, 200, 200)
    assert [len(group) for group in groups] == [500, 200, 200]
    assert len({s for group in groups for s in group}) == 900


def test_random_actions_are_those_of_their_seed_and_leave_the_space_alone():
    space = spaces.Discrete(5, seed=3)
    state = space.np_random.bit_generator.state
    one, same, other = (
        [policy(None) for _ in range(20)] for policy in (random_actions(space, seed=s) for s in (1, 1, 2))
    )
    assert one == same != other
    assert space.np_random.bit_generator.state == state


def test_bins_hold_their_lower_edge():
    binned = Binned(lambda observation, info: observation, (0, 2))
    assert [binned(x, {}) for x in (-1, 0, 1, 2, np.inf)] == [0, 1, 1, 2, 2] and binned.n_outcomes == 3


@pytest.mark.parametrize("edges", [[], [1, 1], [2, 1], [np.nan]])
def test_edges_that_do_not_ascend(edges):
    with pytest.raises(ValueError, match="edges: "):
        Binned(length, edges)


def test_a_number_that_is_none_falls_in_no_bin():
    with pytest.raises(ValueError, match="number: returned nan"):
        Binned(lambda observation, info: np.nan, [0])(0, {})


def test_without_gymnasium_an_id_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r'pip install "splithistory\[worlds\]"'):
        Simulator("CartPole-v1", length, 2, 1, None, False).make()


class Doors(gym.Env):
    """A door opens at each step, and the next one is seen; both the action and what is seen have parts."""

    observation_space, action_space = (
        spaces.Dict(door=spaces.Discrete(4)),
        spaces.Dict(door=spaces.Discrete(4)),
    )

    def __init__(self):
        self.seen = {"door": 0}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.doors, self.steps, self.hits = [*self.np_random.permutation(4).tolist(), 0], 0, 0
        return self._look(), {}

    def _look(self):
        self.seen["door"] = self.doors[self.steps]  # the same object each time
        return self.seen

    def step(self, action):
        self.hits += action["door"] == self.doors[self.steps]
        self.steps += 1
        return self._look(), 0.0, False, self.steps == 4, {"hits": self.hits}


@pytest.mark.parametrize("trajectory", [False, True])
def test_an_agent_and_an_environment_may_use_their_objects_again(trajectory):
    own = {}

    def reused(seen):
        own["door"] = seen["door"]
        return own

    def outcome(seen, info):
        return len({each["door"] for each in seen}) if trajectory else info["hits"]

    world = Simulator(Doors, outcome, 5, 4, 0, trajectory)
    with closing(world.make()) as env:
        episode = world._play(env, 3, lambda seen: _action(reused(seen), env.action_space, "policy"))
    assert sorted(action["door"] for action in episode.actions) == [0, 1, 2, 3]
    assert episode.outcome == 4
