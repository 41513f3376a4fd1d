"""Small grids, and agents that learn there to stand on a coin, shown only a few places for it.

Floor 5. Cells are numbered row by row from the top left. An agent moves up, down, left or right or stays; at
a wall it stays; with probability `slip` the move is one of the five, drawn evenly. The corner: the top right.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import sparse

from .information import (
    as_integers,
    as_list,
    as_number,
    check_choice,
    check_integer,
    check_memory,
    check_seed,
    check_seeds,
    is_listed,
    shown,
)
from .mdp import MDP, on_grid
from .measure import Futures
from .planning import earned, value_iteration

ACTIONS = ("up", "down", "left", "right", "stay")
PLACES = ("coin", "corner", "other corner", "elsewhere")  # where an agent ends, in this order of precedence
COIN, CORNER = 0, 1
NAMED = {(COIN,): "coin", (CORNER,): "corner", (COIN, CORNER): "both"}  # other sets of places are "other"


def moves(size: int, slip: float) -> np.ndarray:
    """P(next cell | cell, action), (5, size², size²)."""
    slip, sure = as_number(slip, "slip", 0, 1), on_grid(size, [(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)])
    return (1 - slip) * sure + slip * sure.mean(0)


def grid(size: int = 3, *, slip: float = 0.1, horizon: int = 6) -> MDP:
    """An empty grid; an episode starts anywhere, and the outcome is the cell in which it ends."""
    leads, n = moves(size, slip), size**2
    return MDP(leads, np.full(n, 1 / n), np.arange(n), horizon=horizon)


@dataclass(frozen=True)
class CoinWorld:
    """A grid with a coin, which lies in one of the `coins` (cells) and stays there; it can be stood on.

    A state is a place of the coin and a cell of the agent, both anywhere at first: number of the coin times
    size² plus the cell. The outcome is one of PLACES: where the agent is in the end.
    """

    coins: tuple[int, ...]
    size: int = 5
    slip: float = 0.1
    horizon: int = 10

    def __post_init__(self):
        check_integer("size", self.size, 2), check_integer("horizon", self.horizon, 1)
        as_integers(self.coins, "coins", self.size**2, "C"), as_number(self.slip, "slip", 0, 1)
        check_memory("size", self.size, 40.0 * self.size**4)

    @property
    def corner(self) -> int:
        """The cell at the top right."""
        return self.size - 1

    def on(self, place: int) -> np.ndarray:
        """Whether the agent is in a place, COIN or CORNER, (S,)."""
        check_integer("place", place, COIN, CORNER)
        cells, coins = np.tile(np.arange(self.size**2), len(self.coins)), np.repeat(self.coins, self.size**2)
        return cells == (coins if place == COIN else self.corner)

    def mdp(self) -> MDP:
        """The world as a process that can be measured."""
        one, n = moves(self.size, self.slip), len(self.coins) * self.size**2
        cells = np.tile(np.arange(self.size**2), len(self.coins))
        others = np.isin(cells, (0, self.size**2 - self.size, self.size**2 - 1))
        outcome = np.select([self.on(COIN), self.on(CORNER), others], (0, 1, 2), 3)
        copies = [[sparse.coo_array(matrix)] * len(self.coins) for matrix in one]
        full = [sparse.block_diag(matrices, format="csr") for matrices in copies]
        return MDP(full, np.full(n, 1 / n), outcome, horizon=self.horizon)

    def seen(self, kind: str = "coordinates") -> np.ndarray:
        """What a learner sees of each state, (S, D).

        "coordinates": row and column of the agent and of the coin, −1 to 1; "cells": an input for each cell
        that the agent, and one for each that the coin can be in, 1 for the one that it is in.
        """
        check_choice("kind", kind, ("coordinates", "cells"))
        cells, coins = np.tile(np.arange(self.size**2), len(self.coins)), np.repeat(self.coins, self.size**2)
        if kind == "cells":
            return np.hstack([np.eye(self.size**2)[cells], np.eye(self.size**2)[coins]])
        places = np.stack([*np.divmod(cells, self.size), *np.divmod(coins, self.size)], -1)
        return 2 * places / (self.size - 1) - 1


def reward(world: CoinWorld, policy: np.ndarray) -> float:
    """Expected share of the steps after which an agent stands on the coin."""
    mdp, onto = world.mdp(), world.on(COIN).astype(float)
    first = float(mdp.initial @ onto)  # before the first step, which does not count
    return (earned(mdp, policy, onto, final=onto) - first) / mdp.horizon


def best_reward(world: CoinWorld) -> float:
    """The largest `reward` that there is."""
    onto = world.on(COIN).astype(float)
    best, _ = value_iteration(world.mdp(), onto, final=onto)
    return reward(world, best)


def blind_walk(world: CoinWorld) -> np.ndarray:
    """The plan (T, S) of going up and right in turns, whatever is seen; walls lead it to the corner."""
    return np.tile(np.resize([0, 3], world.horizon)[:, None], len(world.coins) * world.size**2)


def lead(futures: Futures):
    """Imp_min of the coin less that of the corner, nats: above 0 the coin is the better name for the goal.

    A place that is reached no more often than with the actions of another episode, s <= s', counts as 0.
    """
    shown = []
    for place in ((COIN,), (CORNER,)):
        better = futures.success(place) > futures.counterfactual_success(place)
        shown.append(np.where(better, futures.imp_min(place), 0.0))
    return (shown[0] - shown[1])[()]


def layouts(seed, n_train: int, n_test: int, size: int = 5) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places for the coin: the corner and n_train − 1 others to learn on, n_test others to be tested on.

    Of one seed the tested places are the same, and fewer places to learn on are the first of more.
    """
    check_memory("size", size, 16.0 * check_integer("size", size, 2) ** 2)
    check_integer("n_train", n_train, 1), check_integer("n_test", n_test, 0, size**2 - 1)
    rng, corner = np.random.default_rng(check_seed(seed)), size - 1
    others = rng.permutation(np.delete(np.arange(size**2), corner)).tolist()
    if not 1 <= n_train <= len(others) + 1 - n_test:
        raise ValueError(f"n_train: given {n_train}, allowed is 1 to {len(others) + 1 - n_test}")
    return (corner, *others[n_test : n_test + n_train - 1]), tuple(others[:n_test])


@dataclass(frozen=True)
class Learning:
    """How agents learn: a network of two hidden layers, by the exact gradient of what they earn.

    hidden: width; updates: steps of Adam; rate: its learning rate; entropy: what a nat of entropy of the
    policy, mean over states, earns beside; sees: what of a state, as `CoinWorld.seen` has it.
    """

    hidden: int = 32
    updates: int = 400
    rate: float = 5e-3
    entropy: float = 0.01
    sees: str = "coordinates"

    def __post_init__(self):
        for name in ("hidden", "updates"):
            check_memory(name, value := getattr(self, name), 8.0 * check_integer(name, value, 1))
        as_number(self.rate, "rate", 0, 1e6), as_number(self.entropy, "entropy", 0, 1e6)


def learn(
    worlds: Sequence[CoinWorld],
    tests: Sequence[CoinWorld],
    seeds: Iterable,
    how: Learning,
    *,
    at: Sequence[int] = (),
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Agents that learn to stand on the coin: {updates so far: policies (E, S, A) in worlds and in tests}.

    An agent for each of E worlds (with equally many places) and seeds. It earns the share of the steps after
    which it stands on the coin, and climbs the gradient of the expectation, taken over all episodes: the
    policy gradient without its noise. Nothing is seen of the tests. at: updates to look at, the last beside.
    ValueError unless there are as many worlds, tests and seeds, and worlds differ only in where coins are.
    """
    seeds, looked_at = check_seeds(seeds), {how.updates, *_looked_at(at, how.updates)}
    worlds = _alike(worlds, "worlds", len(seeds), ("size", "slip", "horizon"))
    tests = _alike(tests, "tests", len(seeds), ("size",))
    if how.sees == "cells" and tests[0].size != worlds[0].size:
        raise ValueError(f"tests: given size {tests[0].size}, allowed is that of worlds: {worlds[0].size}")
    seen, unseen = (
        torch.tensor(np.stack([w.seen(how.sees) for w in each]), dtype=torch.float32)
        for each in (worlds, tests)
    )
    onto = torch.tensor(np.stack([w.on(COIN) for w in worlds]), dtype=torch.float32)
    step = (
        torch.tensor(moves(worlds[0].size, worlds[0].slip), dtype=torch.float32)
        .permute(1, 0, 2)
        .flatten(0, 1)
    )
    weights = _initial(seeds, [seen.shape[-1], how.hidden, how.hidden, len(ACTIONS)])
    optimizer, kept = torch.optim.Adam(weights, how.rate), {}
    for update in range(how.updates + 1):
        logs = _logs(weights, seen)
        policy = logs.exp()
        if update in looked_at:
            with torch.no_grad():
                kept[update] = policy.double().numpy(), _logs(weights, unseen).exp().double().numpy()
        disorder = -(policy * logs).sum(-1).mean(-1)
        gain = _earned(policy, step, onto, worlds[0].horizon) + how.entropy * disorder
        optimizer.zero_grad()
        (-gain.sum()).backward()  # members share nothing: the sum trains each by itself
        optimizer.step()
    return kept


def _looked_at(at, updates: int) -> list[int]:
    """Updates to look at, as a list, which may be empty."""
    if is_listed(at) and not (at := list(at)):
        return []
    return as_integers(at, "at", updates + 1, "U").tolist()


def _alike(worlds, name: str, n: int, parts: tuple[str, ...]) -> list[CoinWorld]:
    """n worlds that have these parts in common, and how many coins; ValueError otherwise."""
    listed = as_list(worlds)
    if len(listed) != n or not all(isinstance(world, CoinWorld) for world in listed):
        raise ValueError(f"{name}: given {shown(worlds)}, allowed are {n} CoinWorlds, one for each seed")
    kinds = {(len(world.coins), *(getattr(world, part) for part in parts)) for world in listed}
    if len(kinds) > 1:
        given = " and ".join(map(str, sorted(kinds)[:2]))
        what = ", ".join(("number of coins", *parts))
        raise ValueError(f"{name}: given {given}, allowed is the same for all ({what})")
    return listed


def _initial(seeds: Iterable, widths: Sequence[int]) -> list[torch.Tensor]:
    """Weights and biases of each layer, (E, in, out) and (E, 1, out), each member's from its own seed."""
    members = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])  # other draws than those of `layouts`
        members.append([rng.normal(size=shape) / np.sqrt(shape[0]) for shape in pairwise(widths)])
    layers = [torch.tensor(np.stack(layer), dtype=torch.float32) for layer in zip(*members, strict=True)]
    layers[-1] *= 0.1  # nearly even at first
    each = [(w, torch.zeros(len(w), 1, w.shape[-1])) for w in layers]
    return [tensor.requires_grad_() for pair in each for tensor in pair]


def _logs(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Logarithms of a policy (E, S, A) from what is seen, (E, S, D)."""
    for i in range(0, len(weights), 2):
        x = x @ weights[i] + weights[i + 1]
        if i < len(weights) - 2:
            x = torch.relu(x)
    return x.log_softmax(-1)


def _earned(policy, step, onto, horizon: int) -> torch.Tensor:
    """Expected share of the steps after which the agent is on the coin, (E,)."""
    members, states, n_actions = policy.shape
    cells = step.shape[1]
    acts = policy.reshape(members, -1, cells, n_actions)  # (E, coins, cells, A)
    where, total = torch.full(acts.shape[:3], 1 / states), torch.zeros(members)
    for _ in range(horizon):
        where = (where[..., None] * acts).flatten(2) @ step
        total = total + (where.flatten(1) * onto).sum(-1)
    return total / horizon
