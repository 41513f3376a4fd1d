"""Cost of the exact measure: seconds, peak memory and growth, in a fresh process that does nothing else.

`python benchmarks/exact.py HISTORIES PAIRS ROUNDS` is that process; it prints what it measured as JSON.
"""

import json
import resource
import subprocess
import sys
import time
import timeit
from pathlib import Path

import numpy as np
from plain_measure import pairwise

from splithistory import Recurrence, split_history

SMALLEST = 1000  # histories at which the growth begins


def measured(histories: int, pairs: int, rounds: int) -> dict:
    """What the fresh process found, see `_measurements`."""
    command = [sys.executable, __file__, str(histories), str(pairs), str(rounds)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def growth_exponent(sizes, seconds) -> float:
    """Slope of log seconds over log size, least squares: 1 if the cost is proportional to the size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def peak_bytes() -> int:
    """Most memory this process has held so far, in bytes.

    On Linux ru_maxrss begins at the parent's peak, which a child inherits; the mark used here does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _measurements(histories: int, pairs: int, rounds: int) -> dict:
    """imports, peak: bytes before and after the first measure; times: [size, [seconds of each round]];
    exact, pairwise: seconds of each round on `pairs` histories, in turn."""
    imports = peak_bytes()
    world = Recurrence()
    past = world.histories(histories, seed=0)
    actions = world.noiseless_next(past) + world.alphabet  # a policy's forward pass is not ours to time
    split_history(past, lambda _: actions, world)
    peak = peak_bytes()
    sizes = [SMALLEST * 10**k for k in range(9) if SMALLEST * 10**k <= histories]
    times = [[n, _seconds(past[:n], actions[:n], world, rounds)] for n in sizes]
    turns = [_turn(past[:pairs], actions[:pairs], world, seed) for seed in range(rounds)]
    exact, others = zip(*turns, strict=True)
    return {"imports": imports, "peak": peak, "times": times, "exact": exact, "pairwise": others}


def _seconds(histories, actions, world, rounds: int) -> list[float]:
    """Seconds of one exact measure, in each round; short ones are repeated within a round."""
    timer = timeit.Timer(lambda: split_history(histories, lambda _: actions, world))
    number, _ = timer.autorange()
    return [seconds / number for seconds in timer.repeat(rounds, number)]


def _turn(histories, actions, world, seed: int) -> tuple[float, float]:
    """Seconds of the exact measure and of the post's procedure, one after the other."""
    (ours,) = _seconds(histories, actions, world, 1)
    start = time.perf_counter()
    pairwise(histories, actions, world, seed)
    return ours, time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(_measurements(*map(int, sys.argv[1:]))))
