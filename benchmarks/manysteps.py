"""Cost of split history in worlds of many steps, in a fresh process that does nothing else.

`python benchmarks/manysteps.py STATES SEQUENCES HORIZON ROUNDS` is that process; it prints what it measured
as JSON. The world is hard for a cache: each action of each state leads to five states anywhere.
"""

import json
import subprocess
import sys
import time

import numpy as np
from exact import peak_bytes
from scipy import sparse

from splithistory.mdp import MDP, split_mdp

ACTIONS = SUCCESSORS = 5
SHARES = (0.1, 0.32, 1)  # of the states, at one horizon: where the growth is measured
MULTIPLES = (1, 2, 4)  # of the horizon, at the fewest states: episodes so long that few share a beginning


def measured(states: int, sequences: int, horizon: int, rounds: int) -> dict:
    """What the fresh process found, see `_measurements`."""
    command = [sys.executable, __file__, *map(str, (states, sequences, horizon, rounds))]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def scattered(states: int, horizon: int) -> MDP:
    """A sparse world in which every action leads to five random states; it begins in the first."""
    rng, shape = np.random.default_rng(0), (states, SUCCESSORS)
    starts = np.arange(0, states * SUCCESSORS + 1, SUCCESSORS)
    rows = [
        (rng.dirichlet(np.ones(SUCCESSORS), states), rng.integers(states, size=shape)) for _ in range(ACTIONS)
    ]
    matrices = [sparse.csr_array((p.ravel(), to.ravel(), starts), shape=(states, states)) for p, to in rows]
    return MDP(matrices, np.arange(states) == 0, np.arange(states) % 8, horizon=horizon)


def _measurements(states: int, sequences: int, horizon: int, rounds: int) -> dict:
    """imports, peak: bytes before and after the first measure; states, horizon: [size, [seconds a round]]."""
    imports = peak_bytes()
    _seconds(states, horizon, sequences)
    peak = peak_bytes()
    sizes = [(max(2, round(share * states)), horizon) for share in SHARES]
    spans = [(sizes[0][0], multiple * horizon) for multiple in MULTIPLES]
    found = {at: [_seconds(*at, sequences) for _ in range(rounds)] for at in {*sizes, *spans}}
    by_states, by_horizon = [[n, found[n, t]] for n, t in sizes], [[t, found[n, t]] for n, t in spans]
    return {"imports": imports, "peak": peak, "states": by_states, "horizon": by_horizon}


def _seconds(states: int, horizon: int, sequences: int) -> float:
    """Seconds that a uniformly random policy takes to be measured, with the intervals of Op and Imp."""
    world, policy = scattered(states, horizon), np.full((states, ACTIONS), 1 / ACTIONS)
    start = time.perf_counter()
    futures = split_mdp(world, policy, n_sequences=sequences, seed=0)
    futures.interval(lambda f: np.stack([f.op, f.imp], -1))
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(_measurements(*map(int, sys.argv[1:]))))
