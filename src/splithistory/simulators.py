"""Episodes in simulators: closed loop, and the actions of one replayed in others.

Floor 1: knows environments as Gymnasium defines them, and needs the package only to make one by its id.
"""

import importlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pickle import PicklingError, dumps
from typing import Any, NamedTuple

import numpy as np

from .information import as_measured, check_integer, check_seed, shown, to_numpy

_PORTABLE = "allowed are an environment and an outcome that are functions of a module, or workers=0"


def random_actions(space, *, seed: int) -> Callable:
    """A policy that draws from an action space and looks at nothing; the space itself is left as it is."""
    space = deepcopy(space)
    space.seed(check_integer("seed", seed, 0))
    return lambda observation: space.sample()


@dataclass(frozen=True)
class Binned:
    """An outcome for `episodes.split_episodes` from a number: in which of K = len(edges) + 1 bins it falls.

    number(observation, info) -> float; bin k holds edges[k-1] <= number < edges[k].
    """

    number: Callable[[Any, dict], float]
    edges: Sequence[float]

    def __post_init__(self):
        edges = as_measured(self.edges, "edges")
        if edges.ndim != 1 or not edges.size or (np.diff(edges) <= 0).any():
            raise ValueError(f"edges: given {shown(self.edges)}, allowed are ascending numbers, at least one")

    def __call__(self, observation, info: dict) -> int:
        if np.isnan(value := float(self.number(observation, info))):
            raise ValueError("number: returned nan, allowed are numbers")
        return bisect_right(self.edges, value)

    @property
    def n_outcomes(self) -> int:
        """K, the number of bins."""
        return len(self.edges) + 1


# --- playing ----------------------------------------------------------------------------------------------


class Episode(NamedTuple):
    """What was done in an episode and what came of it; end: (steps, sum of rewards, whether it ended so)."""

    actions: list
    outcome: int
    end: tuple[int, float, bool]


@dataclass(frozen=True)
class Simulator:
    """What an episode is played in and how it is looked at; as in `episodes.split_episodes`."""

    make_env: Any
    outcome: Callable
    n_outcomes: int
    horizon: int
    idle: Any
    trajectory: bool

    def make(self):
        """An environment that plays one episode at a time."""
        return _gymnasium().make(self.make_env) if isinstance(self.make_env, str) else self.make_env()

    def make_many(self, n: int):
        """The environment's own form for n episodes at once, or None.

        By the id alone: what was wrapped around an environment, or changed in it, is not known there. It
        must show the last observation of an episode before it starts the next.
        """
        if not isinstance(self.make_env, str):
            return None
        gymnasium = _gymnasium()
        if gymnasium.spec(self.make_env).vector_entry_point is None:
            return None
        env = gymnasium.make_vec(self.make_env, num_envs=n, vectorization_mode="vector_entry_point")
        shows_ends = env.metadata.get("autoreset_mode") == gymnasium.vector.AutoresetMode.NEXT_STEP
        if shows_ends and env.single_action_space.shape is not None:
            return env
        return env.close()

    def closed_loop(self, env, policy, seed: int) -> Episode:
        """The policy answers what it sees."""
        getattr(policy, "reset", lambda: None)()
        return self._play(env, seed, lambda seen: _action(policy(seen), env.action_space, "policy"))

    def recorded(self, env, policy, seed: int) -> list:
        """The actions of an episode, which lead to the same end again under its own seed."""
        if self.idle is not None and not callable(self.idle):
            _action(self.idle, env.action_space, "idle")  # whether or not an episode comes to need it
        first = self.closed_loop(env, policy, seed)
        actions = iter(first.actions)
        again = replace(self, horizon=len(first.actions))._play(env, seed, lambda seen: next(actions))
        if (first.outcome, first.end) != (again.outcome, again.end):
            given = f"outcomes {first.outcome} and {again.outcome} of the same actions under seed {seed}"
            raise ValueError(f"make_env: {given}, but the seed must fix the environment")
        return first.actions

    def replayed(self, sequences: Sequence[list], seeds: Sequence[int]) -> Iterator[list[int]]:
        """Outcomes under each seed, a list a sequence."""
        many = self.make_many(len(seeds))
        with closing(many if many is not None else self.make()) as env:
            for sequence in sequences:
                if many is not None:
                    yield self._play_many(env, seeds[0], self._continued(sequence, env.single_action_space))
                else:
                    yield [self._replay(env, sequence, seed) for seed in seeds]

    def _replay(self, env, sequence: list, seed: int) -> int:
        actions = self._continued(sequence, env.action_space)
        return self._play(env, seed, lambda seen: next(actions)).outcome

    def _continued(self, sequence: list, space) -> Iterator:
        """A sequence of actions, and what continues it: asked for only in an episode that still runs."""
        yield from sequence
        for done in range(len(sequence), self.horizon):
            if self.idle is None:
                given = f"none given, and an episode goes on after the {len(sequence)} actions of another"
                raise ValueError(f"idle: {given}, allowed is an action that continues it")
            yield _action(self.idle(done) if callable(self.idle) else self.idle, space, "idle")

    def _play(self, env, seed: int, act: Callable) -> Episode:
        """One episode under a seed, up to the horizon; act(observation) -> action."""
        observation, info = env.reset(seed=seed)
        # copies where all are kept: an environment may write the next into the same array
        seen, rewards, ended = [deepcopy(observation) if self.trajectory else observation], 0.0, False
        actions: list = []
        while len(actions) < self.horizon and not ended:
            actions.append(act(observation))
            observation, reward, terminated, truncated, info = env.step(actions[-1])
            seen.append(deepcopy(observation) if self.trajectory else observation)
            rewards, ended = rewards + float(reward), bool(terminated or truncated)
        end = len(actions), rewards, ended
        return Episode(actions, self._look(seen, info, *end[:2]), end)

    def _play_many(self, env, seed: int, actions: Iterator) -> list[int]:
        """As many episodes as the environment has, with the same actions; one that ended is not looked at."""
        frames, infos = ([deepcopy(first)] for first in env.reset(seed=seed))
        n = env.num_envs
        running, steps, rewards = np.ones(n, dtype=bool), np.zeros(n, dtype=int), np.zeros(n)
        while len(frames) <= self.horizon and running.any():
            action = np.asarray(next(actions))
            batch = np.broadcast_to(action, (n, *action.shape))
            observations, gained, terminated, truncated, info = env.step(batch)
            frames.append(deepcopy(observations))  # each episode is looked at as it ended, after all have
            infos.append(info)
            steps, rewards = steps + running, rewards + np.where(running, gained, 0.0)
            running = running & ~(terminated | truncated)
        ends = zip(steps.tolist(), rewards.tolist(), strict=True)
        first = 0 if self.trajectory else self.horizon  # of the frames that are looked at
        return [
            self._look([frame[j] for frame in frames[min(first, t) : t + 1]], _own(infos[t], j), t, r)
            for j, (t, r) in enumerate(ends)
        ]

    def _look(self, seen: list, info: dict, steps: int, rewards: float) -> int:
        """The outcome of an episode."""
        info = {**info, "episode": {"r": rewards, "l": steps}}
        found = self.outcome(seen if self.trajectory else seen[-1], info)
        if type(found) is int and 0 <= found < self.n_outcomes:
            return found
        if np.ndim(found) or found not in range(self.n_outcomes):
            said = f"outcome: returned {found!r}, allowed is an integer in 0..{self.n_outcomes - 1}"
            raise ValueError(" ".join(said.split()))
        return int(found)


def _own(info: dict, j: int) -> dict:
    """What the information of many episodes says of one."""
    return {key: values[j] for key, values in info.items() if not key.startswith("_") and np.ndim(values)}


def _gymnasium():
    try:
        return importlib.import_module("gymnasium")
    except ImportError:
        raise ImportError(
            'make_env: an id needs Gymnasium, which pip install "splithistory[worlds]" installs'
        ) from None


def _action(action, space, name: str):
    """An action as its space has it; ValueError if it is none of them."""
    if space.shape is None:
        action = deepcopy(action)  # a policy may use its own again
    elif not isinstance(action, int):
        array = np.array(to_numpy(action))  # a copy, too
        if np.can_cast(array.dtype, space.dtype, "same_kind"):
            array = array.astype(space.dtype)
        action = array if array.ndim or array.dtype.kind == "f" else array.item()
    if not space.contains(action):
        said = " ".join(f"{name}: action {action}, allowed is one of {space}".split())
        raise ValueError(said)
    return action


def seeds(seed: int, *sizes: int) -> list[list[int]]:
    """Groups of seeds of these sizes, all different; the same `seed` gives the same ones."""
    rng = np.random.default_rng(check_seed(seed))
    if sum(check_integer("sizes", size, 0) for size in sizes) > 2**28:
        raise ValueError(f"sizes: given {sum(sizes)} episodes, allowed are at most {2**28}")
    drawn = rng.choice(2**31, size=sum(sizes), replace=False)
    return [group.tolist() for group in np.split(drawn, np.cumsum(sizes)[:-1])]


# --- sharing out ------------------------------------------------------------------------------------------


def replays(simulator: Simulator, sequences: list[list], seeds: list[int], workers) -> Iterator[list]:
    """Outcomes of sequences under seeds, rows of M; some sequences at a time, in their order.

    workers as in `episodes.split_episodes`.
    """
    if isinstance(workers, Executor):
        return _shared_out(simulator, sequences, seeds, nullcontext(workers), 32)
    if check_integer("workers", workers, 0) == 0:
        return ([row] for row in simulator.replayed(sequences, seeds))
    try:
        dumps(simulator)
    except (PicklingError, AttributeError) as error:
        raise ValueError(f"workers: {error}, {_PORTABLE}") from None
    # a forked process may hang in a library that has threads: a fresh one each
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    return _shared_out(simulator, sequences, seeds, pool, 4 * workers)


def _shared_out(simulator: Simulator, sequences, seeds, pool, n: int) -> Iterator[list]:
    parts = np.array_split(np.arange(len(sequences)), min(n, len(sequences)))
    with pool as executor:
        try:
            yield from executor.map(_Part(simulator, seeds), [[sequences[i] for i in part] for part in parts])
        except BrokenExecutor as error:
            raise ValueError(f"workers: {error} {_PORTABLE}") from None


@dataclass(frozen=True)
class _Part:
    simulator: Simulator
    seeds: list[int]

    def __call__(self, sequences: list[list]) -> list[list[int]]:
        return list(self.simulator.replayed(sequences, self.seeds))
