"""Cost of goal-directedness with an unknown utility in random stochastic worlds, in a process of one thread.

`python benchmarks/directed.py STATES WORLDS` is that process; it prints seconds and gradients as JSON.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

from splithistory.mdp import MDP
from splithistory.neighbours import meg_unknown

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
N_ACTIONS, DISCOUNT = 4, 0.9


def measured(n_states: int, worlds: int) -> dict[str, list]:
    """seconds of each world, and whether each converged."""
    command = [sys.executable, __file__, str(n_states), str(worlds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | _ONE_THREAD)
    return json.loads(done.stdout)


def case(n_states: int, seed: int) -> tuple[MDP, np.ndarray]:
    """A world in which every action may lead anywhere, and a random policy, all drawn evenly."""
    rng = np.random.default_rng([n_states, seed])
    moves = rng.dirichlet(np.ones(n_states), (N_ACTIONS, n_states))
    world = MDP(moves, np.full(n_states, 1 / n_states), np.zeros(n_states, dtype=int), horizon=1)
    return world, rng.dirichlet(np.ones(N_ACTIONS), n_states)


def _measurements(n_states: int, worlds: int) -> dict[str, list]:
    found: dict[str, list] = {"seconds": [], "converged": []}
    for seed in range(worlds):
        world, policy = case(n_states, seed)
        start = time.perf_counter()
        directed = meg_unknown(world, policy, discount=DISCOUNT)
        found["seconds"].append(time.perf_counter() - start)
        found["converged"].append(directed.converged)
    return found


if __name__ == "__main__":
    print(json.dumps(_measurements(int(sys.argv[1]), int(sys.argv[2]))))
