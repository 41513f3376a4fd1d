"""What was tried before the rates of the profile `post` were chosen: `python benchmarks/tune.py`.

Trains each trial that results/tuning does not list yet and appends its row (all of them: about 25 minutes
on one core). The smallest and the largest size, one seed that no profile uses; final values of the curves.
"""

import sys
from pathlib import Path

import pandas as pd
import script
import torch

from splithistory.engine import Diverged
from splithistory.study import GOALS, SIZES, results_root, tuning
from splithistory.study.store import provenance, whole_folder, write_manifest
from splithistory.training import Pretraining, Reinforcement, pretrain, reinforce
from splithistory.transformer import Architecture

SEED = 100
BF16 = {"precision": "bfloat16"}
# (size, settings): what differs from the defaults
PRETRAINING = [
    ("18k", {"steps": 4000, "rate": 1e-2, **BF16}),
    ("18k", {"steps": 4000, "rate": 1e-2}),
    ("18k", {"steps": 4000, "rate": 2e-2, **BF16}),
    ("18k", {"steps": 4000, "rate": 5e-3, **BF16}),
    ("18k", {"steps": 4000, "rate": 1e-2, "dropout": 0.0, **BF16}),
    ("402k", {"steps": 3000, "rate": 2e-3, **BF16}),
    ("402k", {"steps": 3000, "rate": 4e-3, **BF16}),
]
START = {"18k": 0, "402k": 5}  # reinforcement begins at this trial of pretraining
# (size, n_good, arm, updates, rollouts, rate, maintenance rate)
REINFORCEMENT = [
    ("18k", n_good, arm, 800, 128, rate, maintenance)
    for n_good in (2, 4)
    for arm in ("sampled", "exact")
    for rate in (3e-3, 6e-3)
    for maintenance in (3e-4, 1e-3)
] + [
    ("402k", 2, "sampled", 600, 128, 1e-3, 3e-4),
    ("402k", 2, "sampled", 600, 128, 2e-3, 5e-4),
    ("402k", 6, "sampled", 600, 128, 2e-3, 5e-4),
    ("402k", 4, "exact", 600, 128, 2e-3, 5e-4),
    ("402k", 2, "sampled", 800, 32, 2e-3, 1e-3),
    ("402k", 2, "exact", 800, 32, 2e-3, 1e-3),
]


def main() -> None:
    torch.set_num_threads(1)
    place, trained = results_root() / "tuning", {}
    rows = tuning().to_dict("records") if place.exists() else []
    done = {(row["stage"], row["trial"]) for row in rows}
    for stage, trials in (("pretraining", PRETRAINING), ("reinforcement", REINFORCEMENT)):
        for trial in range(len(trials)):
            if (stage, trial) not in done:
                rows.append({"stage": stage, "trial": trial, "seed": SEED} | _tried(stage, trial, trained))
                keep(rows, place)
                print(rows[-1], file=sys.stderr)


def keep(rows: list[dict], place: Path) -> None:
    """The trials as a table with its manifest, whole or not at all."""
    with whole_folder(place) as folder:
        pd.DataFrame(rows).to_csv(folder / "trials.csv", index=False)
        write_manifest(folder, {"command": "python benchmarks/tune.py", **provenance()})


def _tried(stage: str, trial: int, trained: dict) -> dict:
    if stage == "pretraining":
        size, settings = PRETRAINING[trial]
        run = _pretrained(trial, trained)
        return {"size": size, **settings} | _last(run)
    size, n_good, arm, updates, rollouts, rate, maintenance_rate = REINFORCEMENT[trial]
    settings = {"arm": arm, "updates": updates, "rollouts": rollouts, "rate": rate}
    settings |= {"maintenance_rate": maintenance_rate, **BF16}
    config = Reinforcement(evaluations=8, **settings)
    start = _pretrained(START[size], trained)
    try:
        run = reinforce(Architecture(*SIZES[size]), config, start.weights, [SEED], [GOALS[n_good]])
    except Diverged as error:
        run = error
    return {"size": size, "n_good": n_good, **settings} | _last(run)


def _pretrained(trial: int, trained: dict):
    if trial not in trained:
        size, settings = PRETRAINING[trial]
        config = Pretraining(evaluations=10, **settings)
        try:
            trained[trial] = pretrain(Architecture(*SIZES[size]), config, [SEED])
        except Diverged as error:
            trained[trial] = error
    return trained[trial]


def _last(run) -> dict:
    """The last value of every curve, or that it diverged."""
    if isinstance(run, Diverged):
        return {"diverged": str(run)}
    return {
        f"final_{name}": round(float(values[0, -1]), 4)
        for name, values in run.curves.items()
        if name != "step"
    }


if __name__ == "__main__":
    script.run(main)
