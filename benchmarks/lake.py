"""Whether intervals for an agent in a simulator hold the truth: `python benchmarks/lake.py`.

FrozenLake publishes its transitions, so that what `split_mdp` finds there is the truth, and what
`split_episodes` would find an estimate. Writes results/worlds/lake/ (coverage.parquet, manifest.json). About
ten minutes on one core.
"""

import sys
import time

import gymnasium
import numpy as np
import pandas as pd
import script

from splithistory.episodes import SplitEpisodes
from splithistory.mdp import MDP, from_gymnasium, split_mdp
from splithistory.measure import Futures
from splithistory.planning import epsilon_greedy, value_iteration
from splithistory.procedure import draw
from splithistory.study.store import publish_tables

PLACE = "worlds/lake"
HORIZON, IDLE = 20, 2  # an episode that ended is continued by a step to the right
OUTCOMES = {"fell": {"H": 0}, "fell, on the way, arrived": {"H": 0, "G": 2}}  # others are 1
AGENTS = {"strong": 0.0, "weak": 0.5, "random": 1.0}  # ε: how often any action is played alike
SIZES = (50, 100, 200)  # sequences, and seeds
QUANTITIES = ("op", "imp", "imp_min")
TRUE_SEQUENCES = 100_000


class Lake:
    """FrozenLake-v1 with an agent, many episodes at a time, driven by numbers in [0, 1) as in Gymnasium."""

    def __init__(self, outcomes: str, epsilon: float):
        self.env = gymnasium.make("FrozenLake-v1").unwrapped
        letters = [cell.decode() for cell in self.env.desc.ravel()]
        self.labels = np.array([OUTCOMES[outcomes].get(letter, 1) for letter in letters])
        self.n_outcomes = self.labels.max() + 1
        self.world: MDP = from_gymnasium(self.env, self.labels, horizon=HORIZON)
        best, _ = value_iteration(self.world, final=np.array([letter == "G" for letter in letters], float))
        self.policy = epsilon_greedy(best, epsilon)
        ends = [i for i, letter in enumerate(letters) if letter in "HG"]
        self.policy[:, ends] = np.eye(4)[IDLE]
        moves = [[(self.env.P[s][a] * 3)[:3] for a in range(4)] for s in range(len(letters))]
        self.following = np.array([[[move[1] for move in some] for some in row] for row in moves])
        self.rungs = np.cumsum([move[0] for move in self.env.P[0][0]])[:-1]

    def step(self, states, actions, chance):
        """The states after a step."""
        return self.following[states, actions, (chance[..., None] >= self.rungs).sum(-1)]

    def closed_loop(self, chance: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes (n,) and actions (n, T) of episodes; chance (n, T) is the world's, rng the agent's."""
        states, actions = np.zeros(len(chance), dtype=int), np.empty(chance.shape, dtype=int)
        for t in range(HORIZON):
            actions[:, t] = draw(self.policy[t, states], rng)
            states = self.step(states, actions[:, t], chance[:, t])
        return self.labels[states], actions

    def replays(self, sequences: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Outcomes (N, M) of sequences (N, T) of actions in episodes (M, T)."""
        states = np.zeros((len(sequences), len(chance)), dtype=int)
        for now, luck in zip(sequences.T, chance.T, strict=True):
            states = self.step(states, now[:, None], luck)
        return self.labels[states]

    def measured(self, n: int, rng) -> SplitEpisodes:
        """What `split_episodes` finds with n sequences, n seeds and 5 n episodes of its own."""
        outcomes, _ = self.closed_loop(rng.random((5 * n, HORIZON)), rng)
        _, sequences = self.closed_loop(rng.random((n, HORIZON)), rng)
        return SplitEpisodes(outcomes, self.replays(sequences, rng.random((n, HORIZON))), self.n_outcomes)


def quantities(futures: Futures) -> np.ndarray:
    """Values of QUANTITIES, in nats, behind any leading axes; the goal is not to fall."""
    goal = range(1, futures.n_outcomes)
    return np.stack([futures.op, futures.imp, futures.imp_min(goal)], -1)


def rows(outcomes: str, agent: str, repetitions: int, seed: int) -> list[dict]:
    """A row for each size and quantity."""
    lake, found = Lake(outcomes, AGENTS[agent]), []
    exact = split_mdp(lake.world, lake.policy, n_sequences=TRUE_SEQUENCES, seed=seed)
    truth = quantities(exact)
    for n in SIZES:
        rng, start = np.random.default_rng([seed, n]), time.perf_counter()
        measured = [lake.measured(n, rng) for _ in range(repetitions)]
        ends = np.array([m.interval(quantities) for m in measured])  # (R, 2, Q)
        held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        raw, centre, width = (
            np.array([quantities(m) for m in measured]),
            ends.mean(1),
            ends[:, 1] - ends[:, 0],
        )
        shared = {"outcomes": outcomes, "agent": agent, "n": n, "repetitions": repetitions}
        shared |= {"unseen": np.mean([m.unseen for m in measured])}
        for q, name in enumerate(QUANTITIES):
            values = {"truth": truth[q], "plug_in": raw[:, q].mean(), "mean": centre[:, q].mean()}
            values |= {"sd": centre[:, q].std(ddof=1), "covered": held[:, q].mean()}
            found.append(shared | {"quantity": name} | values | {"width": width[:, q].mean()})
        seconds = time.perf_counter() - start
        print(outcomes, agent, n, held.mean(0), f"{seconds:.0f} s", file=sys.stderr, flush=True)
    return found


def main(argv=None) -> None:
    parser = script.parser(__doc__, PLACE)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    place = script.output(args, PLACE)
    found = [row for o in OUTCOMES for a in AGENTS for row in rows(o, a, args.repetitions, args.seed)]
    command = f"python benchmarks/lake.py --repetitions {args.repetitions} --seed {args.seed}"
    publish_tables(place, {"coverage": pd.DataFrame(found)}, command)


if __name__ == "__main__":
    script.run(main)
