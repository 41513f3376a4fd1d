"""Four worlds of many steps, policies of every kind in them, and all measures of each beside one another.

Floor 6. The grid is that of the public code of MacDermott et al. 2024; the others are worlds that Gymnasium
publishes. Outcomes are seen through a little noise, as in the post's world, so that no replay lacks one
altogether and Imp is finite. Information in nats; seconds of the processor, one thread.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from .information import (
    as_array,
    as_distribution,
    as_integers,
    as_number,
)
from .mdp import MDP, expected_reward, from_gymnasium, on_grid, policy_probs, split_mdp
from .neighbours import causal_influence, meg, meg_unknown, plasticity
from .planning import epsilon_greedy, greedy, q_learning, soft_value_iteration, value_iteration

NOISE = 0.02  # share of outcomes that are read as any one of the K, each alike
MEASURES = (
    "op",
    "imp",
    "implied_op",
    "meg_known",
    "meg_unknown",
    "empowerment",
    "causal_influence",
    "plasticity",
)
EPSILONS = (0.05, 0.2, 0.5)
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
STAGES = (100, 1000, 10_000)
_UP, _DOWN, _LEFT, _RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)


class World(NamedTuple):
    """An MDP, utility (S,) or (S, A) of a step and (S,) of the end, what outcomes are called, the goal."""

    mdp: MDP
    utility: np.ndarray
    final: np.ndarray
    outcomes: tuple[str, ...]
    goal: tuple[int, ...]


def grid(size: int = 5, *, slip: float = 0.1, horizon: int = 20, noise: float = NOISE) -> World:
    """An empty grid in which a move goes the opposite way with probability `slip`; walls stop it.

    Actions up, down, left, right. It begins in the first cell; the goal is the last, where every step earns
    1, and so does the end. The outcome is the cell.
    """
    slip, sure = as_number(slip, "slip", 0, 1), on_grid(size, (_UP, _DOWN, _LEFT, _RIGHT))
    transition, cells = (1 - slip) * sure + slip * sure[[1, 0, 3, 2]], np.arange(size**2)
    mdp = MDP(transition, cells == 0, seen(cells, noise), horizon=horizon)
    earned = (cells == size**2 - 1) * 1.0
    return World(mdp, earned, earned, tuple(map(str, cells)), (size**2 - 1,))


def frozen_lake(make: Callable, *, horizon: int = 50, noise: float = NOISE) -> World:
    """The small lake, slippery. Every step on the goal, and the end, earns 1; in a hole it costs 1."""
    env = make("FrozenLake-v1")
    cells = env.unwrapped.desc.ravel()
    holes = np.flatnonzero(cells == b"H")
    labels = np.full(len(cells), 1 + len(holes))
    labels[cells == b"G"] = 0
    labels[holes] = 1 + np.arange(len(holes))
    mdp = from_gymnasium(env, seen(labels, noise), horizon=horizon)
    names = ("goal", *(f"hole {i}" for i in range(1, 1 + len(holes))), "on the ice")
    earned = (cells == b"G") * 1.0 - (cells == b"H")
    return World(mdp, earned, earned, names, (0,))


def cliff_walking(make: Callable, *, horizon: int = 50, noise: float = NOISE) -> World:
    """The slippery cliff: a step costs 0.01, a fall 1 and leads back to the start. It ends at the goal."""
    env = make("CliffWalking-v1", is_slippery=True)
    (rows, columns), start = env.unwrapped.shape, env.unwrapped.start_state_index
    labels = 2 + np.tile(np.arange(columns) * 3 // columns, rows)
    labels[start], labels[-1] = 1, 0
    mdp = from_gymnasium(env, seen(labels, noise), horizon=horizon)
    names = ("goal", "start", "left", "middle", "right")
    return World(mdp, expected_reward(env) / 100, np.zeros(len(labels)), names, (0,))


def taxi(make: Callable, *, horizon: int = 30, noise: float = NOISE) -> World:
    """The taxi in the rain: delivery earns 1, a step costs 0.05, an order that cannot be done 0.5."""
    env = make("Taxi-v4", is_rainy=True)
    state = np.arange(len(env.unwrapped.P))
    passenger, destination = state // 4 % 5, state % 4
    labels = np.select([passenger == destination, passenger == 4], (0, 1), 2 + passenger)
    mdp = from_gymnasium(env, seen(labels, noise), horizon=horizon)
    names = ("delivered", "on board", "waits at R", "waits at G", "waits at Y", "waits at B")
    return World(mdp, expected_reward(env) / 20, np.zeros(len(state)), names, (0,))


def known(make: Callable) -> dict[str, World]:
    """All four by name; make: gymnasium.make."""
    gymnasium = {"frozen lake": frozen_lake, "cliff walking": cliff_walking, "taxi": taxi}
    return {"grid": grid()} | {name: world(make) for name, world in gymnasium.items()}


def seen(labels, noise: float) -> np.ndarray:
    """Labels (S,) in 0..K−1 as probabilities (S, K) of what is read: with the noise, any of the K alike."""
    labels = as_integers(labels, "labels", 2**12, "S")
    return epsilon_greedy(np.eye(int(labels.max()) + 1)[labels], noise)


def plan(mdp: MDP, policy) -> np.ndarray:
    """An open-loop plan (T, S): at each step what the policy plays most, as far as one knows unseeing."""
    belief, actions = mdp.initial, []
    for now in policy_probs(mdp, policy):
        actions.append(int((belief @ now).argmax()))
        belief = mdp.step(belief, actions[-1])
    return np.tile(np.array(actions)[:, None], mdp.n_states)


def one_of(policy: np.ndarray) -> np.ndarray:
    """A policy that plays the first of the actions that are played most, (..., S, A) -> (..., S, A)."""
    policy = as_distribution(policy, "policy")
    return np.eye(policy.shape[-1])[policy.argmax(-1)]


def plain(world: World, epsilon: float = 0.2) -> dict[str, np.ndarray]:
    """Four policies that `policies` has: the optimal one, the same ε-greedy, its plan, and even chance."""
    best = one_of(value_iteration(world.mdp, world.utility, final=world.final)[0])
    even = np.full(best.shape[1:], 1 / best.shape[-1])
    found = {"optimal": best, "ε-greedy": epsilon_greedy(best, epsilon), "plan": plan(world.mdp, best)}
    return found | {"uniform": even}


def by_horizon(
    make: Callable, horizons: Iterable[int], *, n_sequences: int = 1000, seed: int = 0
) -> list[dict]:
    """Op, Imp and success of `plain` policies, planned for each horizon, in the world make(horizon=T).

    A row a horizon and kind: horizon, kind and what `Measured.scalars` has, nats.
    """
    rows = []
    for horizon in as_integers(horizons, "horizons", 2**31, "H").tolist():
        world = make(horizon=horizon)
        for kind, policy in plain(world).items():
            futures = split_mdp(world.mdp, policy, n_sequences=n_sequences, seed=[seed, horizon])
            rows.append({"horizon": horizon, "kind": kind} | futures.scalars(world.goal))
    return rows


def policies(world: World, *, stages=STAGES, seeds: Iterable[int] = (0, 1, 2)) -> Iterator[tuple]:
    """(kind, level, seed, policy): uniform, plan, optimal, anti-optimal, ε-greedy, soft, learned.

    level: ε, β, or the episodes that Q-learning had; 0 where there is none; seed: of the learner, else 0.
    The optimal one plays the first of equally good actions; the plan is its own, blind.
    """
    mdp, utility, final = world.mdp, world.utility, world.final
    four = plain(world)
    for kind in ("uniform", "plan", "optimal"):
        yield kind, 0.0, 0, four[kind]
    yield "anti-optimal", 0.0, 0, one_of(value_iteration(mdp, -utility, final=-final)[0])
    for epsilon in EPSILONS:
        yield "ε-greedy", epsilon, 0, epsilon_greedy(four["optimal"], epsilon)
    for beta in BETAS:
        yield "soft", beta, 0, soft_value_iteration(mdp, utility, final=final, beta=beta)[0]
    seeds = tuple(seeds)
    for stage, values in q_learning(mdp, utility, final=final, stages=stages, seeds=seeds).items():
        for seed, learned in zip(seeds, values, strict=True):
            yield "learned", float(stage), seed, greedy(learned)


def measured(
    world: World, policy, empowered: np.ndarray, *, n_sequences: int = 1000, seed=0, rounds: int = 500
) -> dict[str, float]:
    """All MEASURES of a policy, nats; ends of intervals as _low and _high, _seconds of each, and more.

    Of an episode: implied_op from the exact success rate; causal_influence summed over it; empowerment the
    mean over its states of `empowered` (S,), which is the world's own. Also what `Measured.scalars` has;
    op_mixed, imp_mixed: all futures F' mixed before they are compared; reacts: whether it plays more than one
    sequence; gradient, converged: how far the search for the unknown utility came.
    """
    empowered = as_array(empowered, "empowered")
    if empowered.shape != (n := world.mdp.n_states,):
        raise ValueError(f"empowered: shape {empowered.shape}, allowed is ({n},), one of each state")
    mdp, found, seconds = world.mdp, dict[str, float](), dict[str, float]()

    def timed(name: str, function: Callable):
        start = time.process_time()
        value = function()
        seconds[f"{name}_seconds"] = time.process_time() - start
        return value

    def split():
        futures = split_mdp(mdp, policy, n_sequences=n_sequences, seed=seed)
        mixed = futures.mixed()
        more = {"op_mixed": mixed.op, "imp_mixed": mixed.imp, "reacts": futures.counts is not None}
        return futures.scalars(world.goal) | more

    visits = mdp.states(policy)[:-1]
    found |= timed("op", split)
    found["meg_known"] = timed("meg_known", lambda: meg(mdp, policy, world.utility, final=world.final)).value
    unknown = timed("meg_unknown", lambda: meg_unknown(mdp, policy, rounds=rounds))
    found |= {"meg_unknown": unknown.value, "gradient": unknown.gradient, "converged": unknown.converged}
    found["empowerment"] = float((visits @ empowered).mean())
    influence = timed("causal_influence", lambda: causal_influence(mdp, policy))
    found["causal_influence"] = float((visits * influence).sum())
    value, half = timed("plasticity", lambda: plasticity(mdp, policy, n_sequences=n_sequences, seed=seed))
    found |= {"plasticity": value, "plasticity_low": value - half, "plasticity_high": value + half}
    return found | seconds


def rank_correlations(values: Mapping[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """Spearman's of each pair of measures over the same policies; nan where one is constant."""
    ranks = {name: rankdata(np.round(v, 9)) for name, v in values.items()}
    ranks = {name: r - r.mean() for name, r in ranks.items()}
    size = {name: np.sqrt((r**2).sum()) for name, r in ranks.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            (a, b): float(ranks[a] @ ranks[b] / np.float64(size[a] * size[b])) for a in ranks for b in ranks
        }
