"""Cost of measuring an agent in CartPole, and of the same work as a plain loop over `env.step`."""

import time

import gymnasium

from splithistory.episodes import split_episodes
from splithistory.pages.agents import LASTED, STEPS, controller
from splithistory.simulators import seeds


def measured(n: int, rounds: int) -> tuple[list[float], list[float], int]:
    """Seconds of ours in each round; of the other, once; and n, how many sequences and how many seeds."""
    sizes = {"n_outcomes": LASTED.n_outcomes, "horizon": STEPS, "n_sequences": n, "n_seeds": n, "idle": 0}
    ours = []
    for seed in range(rounds):
        start = time.perf_counter()
        split_episodes("CartPole-v1", controller, LASTED, **sizes, seed=seed)
        ours.append(time.perf_counter() - start)
    start = time.perf_counter()
    plain(n, 5 * n, seed=0)
    return ours, [time.perf_counter() - start], n


def plain(n: int, n_episodes: int, seed: int) -> tuple[list[int], list[list[int]]]:
    """Steps that n_episodes last, and each of n sequences of actions under n seeds; nothing is checked."""
    env = gymnasium.make("CartPole-v1")
    own, recorded, under = seeds(seed, n_episodes, n, n)

    def play(seed: int, actions) -> list[int]:
        observation, _ = env.reset(seed=seed)
        played = []
        for step in range(STEPS):
            known = actions is not None and step < len(actions)
            played.append(actions[step] if known else 0 if actions is not None else controller(observation))
            observation, _, terminated, truncated, _ = env.step(played[-1])
            if terminated or truncated:
                break
        return played

    outcomes = [len(play(s, None)) for s in own]
    return outcomes, [[len(play(s, actions)) for s in under] for actions in [play(s, None) for s in recorded]]
