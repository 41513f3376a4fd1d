"""How good the estimators are where the truth is known: `python benchmarks/calibrate.py`.

Writes results/calibration/ (bias.parquet, coverage.parquet, manifest.json). Policies are maximum-entropy
policies of a goal, from one that ignores its input to one that plays the best action, on the world's own
classes, so Op, Imp and both success rates are exact. About ten minutes on one core.
"""

import sys

import numpy as np
import pandas as pd
import script

from splithistory import Recurrence, SplitHistory, split_history
from splithistory.calibration import QUANTITIES, known, quantities
from splithistory.study.store import publish_tables

PLACE = "calibration"
EXACT_SIZES = (200, 2000, 20_000)  # N of the exact measure
SAMPLED_SIZES = (20, 50, 100, 200, 500, 1000, 2000)  # N of the post's procedure


class Classes:
    """The world as its classes: a history is its class and the action the policy will play."""

    def __init__(self, world: Recurrence):
        self.table = world.table

    def classes(self, histories) -> np.ndarray:
        return histories[:, 0]


def coverage(world: Recurrence, repetitions: int, seed: int) -> pd.DataFrame:
    """Share of 95 % intervals of the exact measure that hold the truth, by policy, N and quantity."""
    rows = []
    for i, (strength, policy) in enumerate(known(world).items()):
        table, truth = policy.counts, quantities(policy)
        for n in EXACT_SIZES:
            rng = np.random.default_rng([seed, i, n])
            counts = rng.multinomial(n, table.ravel(), size=repetitions).reshape(-1, *table.shape)
            measured = [SplitHistory(c, world.table) for c in counts]
            values = np.array([quantities(m) for m in measured])
            low, high = np.moveaxis(np.array([m.interval(quantities) for m in measured]), 1, 0)
            held = (low - 1e-12 <= truth) & (truth <= high + 1e-12)
            rows += _coverage_rows(strength, n, truth, values, held, high - low)
            print(rows[-6]["covered"], strength, n, file=sys.stderr)
    return pd.DataFrame(rows)


def _coverage_rows(strength, n, truth, values, held, width) -> list[dict]:
    return [
        {
            "strength": strength,
            "n": n,
            "quantity": name,
            "truth": truth[q],
            "mean": values[:, q].mean(),
            "sd": values[:, q].std(ddof=1),
            "covered": held[:, q].mean(),
            "width": width[:, q].mean(),
            "repetitions": len(values),
        }
        for q, name in enumerate(QUANTITIES)
    ]


def bias(world: Recurrence, repetitions: int, seed: int) -> pd.DataFrame:
    """Op and Imp by the post's procedure (sampled outcomes, plug-in) against the truth, by policy and N."""
    rows, classes = [], Classes(world)
    for i, (strength, truth) in enumerate(known(world).items()):
        for n in SAMPLED_SIZES:
            rng = np.random.default_rng([seed, i, n])
            runs = max(20, repetitions * 200 // max(n, 200))  # the cost grows with n²
            found = [_sampled(truth.counts, classes, n, rng) for _ in range(runs)]
            rows += _bias_rows(strength, n, truth, np.array(found))
    return pd.DataFrame(rows)


def _sampled(table: np.ndarray, classes: Classes, n: int, rng) -> tuple[float, float]:
    cells = rng.choice(table.size, size=n, p=table.ravel())
    histories = np.stack(np.divmod(cells, table.shape[1]), 1)
    seed = int(rng.integers(2**31))
    futures = split_history(histories, lambda h: h[:, 1], classes, method="sampled", seed=seed)
    return futures.op, futures.imp


def _bias_rows(strength: float, n: int, truth, found: np.ndarray) -> list[dict]:
    rows = []
    for name, exact, values in (("op", truth.op, found[:, 0]), ("imp", truth.imp, found[:, 1])):
        finite = values[np.isfinite(values)]
        row = {"strength": strength, "n": n, "quantity": name, "truth": exact, "runs": len(values)}
        enough = len(finite) > 1  # a divergence may be infinite in every run
        row |= {"finite": len(finite), "mean": finite.mean() if enough else np.nan}
        row |= {"sd": finite.std(ddof=1) if enough else np.nan}
        rows.append(row)
    return rows


def main(argv=None) -> None:
    parser = script.parser(__doc__, PLACE)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    place = script.output(args, PLACE)
    world = Recurrence()
    tables = {
        name: f(world, args.repetitions, args.seed) for name, f in (("bias", bias), ("coverage", coverage))
    }
    command = f"python benchmarks/calibrate.py --repetitions {args.repetitions} --seed {args.seed}"
    publish_tables(place, tables, command)


if __name__ == "__main__":
    script.run(main)
