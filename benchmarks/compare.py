"""Policies of every kind in four worlds of many steps, by all measures: `python benchmarks/compare.py`.

Writes results/worlds/many-steps/ (measures.parquet: a row a world and policy; manifest.json). Some minutes on
one core. Needs Gymnasium.
"""

import sys
import time

import gymnasium
import pandas as pd
import script

from splithistory import worlds
from splithistory.neighbours import empowerment
from splithistory.study.store import publish_tables

PLACE = "worlds/many-steps"


def rows(names, sequences: int, seed: int) -> pd.DataFrame:
    """All policies of the worlds of these names, measured; empowerment_seconds are those of the world."""
    found = []
    for name, world in worlds.known(gymnasium.make).items():
        if name not in names:
            continue
        start = time.process_time()
        empowered = empowerment(world.mdp, steps=2)
        spent = {"empowerment_seconds": time.process_time() - start}
        for i, (kind, level, learner, policy) in enumerate(worlds.policies(world)):
            which = {"world": name, "kind": kind, "level": level, "seed": learner}
            own = worlds.measured(world, policy, empowered, n_sequences=sequences, seed=[seed, i])
            found.append(which | own | spent)
            print(which, {m: round(own[m], 3) for m in worlds.MEASURES}, file=sys.stderr, flush=True)
    return pd.DataFrame(found)


def main(argv=None) -> None:
    parser = script.parser(__doc__, PLACE)
    parser.add_argument("--worlds", nargs="+", default=["grid", "frozen lake", "cliff walking", "taxi"])
    parser.add_argument("--sequences", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    place = script.output(args, PLACE)
    table = rows(args.worlds, args.sequences, args.seed)
    command = f"python benchmarks/compare.py --sequences {args.sequences} --seed {args.seed}"
    publish_tables(place, {"measures": table}, command)


if __name__ == "__main__":
    script.run(main)
