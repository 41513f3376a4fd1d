"""Cost of the differential measures of residual blocks, in a fresh process of one thread.

Timed is all of it: both Jacobians by automatic differentiation, Op and Imp, at one point, in float64.
`python benchmarks/jacobian.py ROUNDS WIDTH,DEPTH ...` is that process; it prints what it measured as JSON.
"""

import json
import os
import subprocess
import sys
import timeit
from functools import partial

import torch

from splithistory import differential
from splithistory.transformer import Architecture, activations, branches, initialise

WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
DEPTHS = (1, 2, 3, 4)
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def measured(widths=WIDTHS, rounds: int = 5) -> dict[int, list[float]]:
    """{width: [seconds of each round]} of one residual block as the agent."""
    return dict(zip(widths, _in_fresh_process([(width, 1) for width in widths], rounds), strict=True))


def measured_depths(depths=DEPTHS, rounds: int = 5, width: int = 256) -> dict[int, list[float]]:
    """{depth: [seconds of each round]} of that many blocks of one width, one after another, as one agent."""
    return dict(zip(depths, _in_fresh_process([(width, depth) for depth in depths], rounds), strict=True))


def stacked_blocks(width: int, depth: int):
    """(agent, point): what `depth` fresh blocks add to the last position of a history, and what enters it."""
    a = Architecture(width, depth)
    weights = initialise(a, [0], dtype=torch.float64)
    tokens = torch.arange(a.context)[None, None] % a.n_tokens
    entering = activations(weights, a, tokens)[:-1]
    member = {name: w[0] for name, w in weights.items()}
    halves = [half for i, x in enumerate(entering) for half in branches(member, a, i, x[0, 0])]

    def agent(p):
        out = p
        for half in halves:
            out = out + half(out)
        return out - p

    return agent, entering[0][0, 0, -1]


def measures(agent, point) -> tuple[float, float]:
    """Op and Imp, in nats, of F = P + A at a point (D,)."""
    jacobians = differential.from_function(agent, lambda a, p: p + a, point)
    return float(differential.op(*jacobians)), float(differential.imp(*jacobians))


def _in_fresh_process(shapes, rounds: int) -> list[list[float]]:
    command = [sys.executable, __file__, str(rounds), *(f"{width},{depth}" for width, depth in shapes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | _ONE_THREAD)
    return json.loads(done.stdout)


def _measurements(rounds: int, shapes) -> list[list[float]]:
    """Seconds of each round, for each (width, depth); short ones are repeated within a round."""
    torch.set_num_threads(1)
    timers = [timeit.Timer(partial(measures, *stacked_blocks(*shape))) for shape in shapes]
    numbers = [timer.autorange()[0] for timer in timers]
    turns = [[t.timeit(n) / n for t, n in zip(timers, numbers, strict=True)] for _ in range(rounds)]
    return [list(seconds) for seconds in zip(*turns, strict=True)]


if __name__ == "__main__":
    print(json.dumps(_measurements(int(sys.argv[1]), [tuple(map(int, s.split(","))) for s in sys.argv[2:]])))
