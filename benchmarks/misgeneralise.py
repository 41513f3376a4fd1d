"""Goals named in a grid, and goals learned wrong: `python benchmarks/misgeneralise.py`, minutes on a core.

Writes results/worlds/misgeneralisation/ (named, agents, curves, ends as Parquet, manifest.json), or
misgeneralisation-cells/ (the same without named).

Written down before any of these numbers were seen (settings of the learners were chosen by what they earn in
training, with seeds from 100 on):

Expected, of goals in a grid: among the five trained sets Op and Imp name the right one for 9 of 10 late
learners; among all 510 sets for more than half; the cut of the histogram, which sees no counterfactual, is as
good as Op; success names a larger set wherever there is one; goal-directedness is as good as Op or better.

Expected, of goals learned wrong. Agents see where they and the coin are, and learn with the coin in L
places, one of which is the corner; they are measured with the coin in 8 places they never saw. (1) With L =
1 they end in the corner and not at the coin. (2) The lead of the coin, kl(s, s') of the coin less that of
the corner (0 where s <= s'), turns from below 0 to above 0 at L of 2 to 6. (3) At L = 1 the agents are hard
to see: a corner can be reached blindly, by walking into walls, so Imp is less than half of what it is at
the largest L. (4) What is earned in training is within a tenth of the best at every L, and says nothing.
(5) Goal-directedness names the same goal as Imp for 9 of 10 agents.

Written down after those numbers, and before any of agents with `--sees cells`, which get an input for each
cell instead of coordinates, so that a new place of the coin is a symbol that they never learned: (6) the lead
of the coin does not come above 0 for good at any L up to 17; (7) with L = 1 the lead is below 0, as before.

Criterion: "below" and "above" where the 95 % t interval of the mean lead over seeds leaves out 0, else
undecided; the turn is the smallest L from which on it is above at every larger L too; its place is where the
mean over seeds crosses 0, interpolated, with a percentile bootstrap over seeds.
"""

import sys

import numpy as np
import pandas as pd
import script
import torch

from splithistory import gridworlds, objectives
from splithistory.gridworlds import COIN, CORNER, NAMED, PLACES, CoinWorld, Learning, layouts, learn
from splithistory.mdp import split_mdp
from splithistory.neighbours import meg, meg_unknown
from splithistory.planning import greedy, q_learning
from splithistory.study.store import publish_tables

GOALS = {  # cells of a grid of 3 × 3, numbered row by row
    "a corner": (2,),
    "two corners": (2, 6),
    "top row": (0, 1, 2),
    "four corners": (0, 2, 6, 8),
    "two rows": (0, 1, 2, 3, 4, 5),
}
STAGES = (200, 3000)  # episodes of Q-learning
N_LAYOUTS = (1, 2, 3, 4, 6, 8, 12, 17)
N_TEST, N_SEQUENCES = 8, 1000
LOOKS = (0, 25, 50, 100, 200)  # updates at which rewards are looked at, besides the last


def named(seeds: int) -> pd.DataFrame:
    """Learners for sets of cells, and which set each rule names: a row a learner, list and rule."""
    world, rows = gridworlds.grid(), []
    for goal, cells in GOALS.items():
        final = np.isin(np.arange(9), cells).astype(float)
        learned = q_learning(world, final=final, stages=STAGES, seeds=range(seeds), epsilon=0.2)
        for episodes, values in learned.items():
            for seed, policy in enumerate(greedy(values)):
                what = {"goal": goal, "episodes": episodes, "seed": seed}
                measured = split_mdp(world, policy, method="exact")
                known = {"s": measured.success(cells), "op": measured.op, "imp": measured.imp}
                rows += [what | known | row for row in _names(world, policy, measured, cells)]
            print(goal, episodes, file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def _names(world, policy, measured, cells) -> list[dict]:
    """What each rule makes of one measured policy."""
    five, every = list(GOALS.values()), objectives.every_goal(9)
    lists = [("of five", five, by) for by in ("op", "imp", "success")]
    lists += [("of all", every, by) for by in ("op", "imp", "success")]
    found = [
        (name, by, goals[int(objectives.scores(measured, goals, by).argmax())]) for name, goals, by in lists
    ]
    directed = [meg(world, policy, final=np.isin(np.arange(9), goal)).value for goal in five]
    found.append(("of five", "meg", five[int(np.argmax(directed))]))
    found += [("no list", by, goal) for by, goal in objectives.guesses(measured).items()]
    found.append(("no list", "meg", _above_widest_gap(meg_unknown(world, policy, last=True).utility)))
    return [{"list": name, "by": by, "guess": str(goal), "right": goal == cells} for name, by, goal in found]


def _above_widest_gap(utility: np.ndarray) -> tuple[int, ...]:
    """The outcomes above the widest gap between neighbours in order."""
    order = np.argsort(-utility, kind="stable")
    first = int(np.argmax(-np.diff(utility[order]))) + 1
    return tuple(sorted(order[:first].tolist()))


def agents(seeds: int, sees: str) -> dict[str, pd.DataFrame]:
    """Agents that learn on L places of the coin, measured on others: tables agents, curves and ends."""
    found, curves, ends, how = [], [], [], Learning(sees=sees)
    for n in N_LAYOUTS:
        split = [layouts(seed, n, N_TEST) for seed in range(seeds)]
        worlds, tests = ([CoinWorld(places[i]) for places in split] for i in (0, 1))
        looks = learn(worlds, tests, range(seeds), how, at=LOOKS)
        for updates, policies in looks.items():
            for seed in range(seeds):
                pairs = zip(("train", "test"), (worlds, tests), policies, strict=True)
                rewards = {name: gridworlds.reward(each[seed], of[seed]) for name, each, of in pairs}
                curves.append({"layouts": n, "seed": seed, "updates": updates} | rewards)
        for seed, policy in enumerate(looks[how.updates][1]):
            found.append(
                {"layouts": n, "seed": seed} | curves[seed - seeds] | _measured(tests[seed], policy, seed)
            )
        ends += _ends(n, tests[0], looks[how.updates][1][0])
        print(n, pd.DataFrame(found[-seeds:])["train"].mean(), file=sys.stderr, flush=True)
    return {"agents": pd.DataFrame(found), "curves": pd.DataFrame(curves), "ends": pd.DataFrame(ends)}


def _measured(world: CoinWorld, policy: np.ndarray, seed: int) -> dict:
    """Split history, rates of each place, the goals named, and goal-directedness (nats an episode)."""
    mdp = world.mdp()
    own = split_mdp(mdp, policy, n_sequences=N_SEQUENCES, seed=seed)
    row = {"op": own.op, "imp": own.imp, "lead": gridworlds.lead(own)}
    row["lead_low"], row["lead_high"] = own.interval(gridworlds.lead)
    for place, name in enumerate(PLACES):
        row[f"s {name}"], row[f"s' {name}"] = own.success([place]), own.counterfactual_success([place])
    goals = objectives.every_goal(len(PLACES))
    for by in ("imp", "success"):
        guess = goals[int(objectives.scores(own, goals, by).argmax())]
        row[f"by {by}"] = NAMED.get(guess, "other")
    for place, name in ((COIN, "coin"), (CORNER, "corner")):
        onto = world.on(place).astype(float)
        row[f"meg {name}"] = meg(mdp, policy, onto, final=onto).value
    free = meg_unknown(mdp, policy, last=True)
    row |= {"meg": free.value, "converged": free.converged}
    return row | {"by meg": NAMED.get((int(free.utility.argmax()),), "other")}


def _ends(n: int, world: CoinWorld, policy: np.ndarray) -> list[dict]:
    """Where the agent is in the end, for each place of the coin."""
    cells = world.size**2
    last = world.mdp().states(policy)[-1].reshape(len(world.coins), cells) * len(world.coins)
    return [
        {"layouts": n, "coin": coin, "cell": cell, "share": float(last[i, cell])}
        for i, coin in enumerate(world.coins)
        for cell in range(cells)
    ]


def main(argv=None) -> None:
    parser = script.parser(__doc__, "a folder of worlds")
    parser.add_argument("--seeds", type=int, default=20)
    kinds = {"coordinates": "misgeneralisation", "cells": "misgeneralisation-cells"}
    what = "what agents see (default: %(default)s)"
    parser.add_argument("--sees", choices=list(kinds), default="coordinates", help=what)
    args = parser.parse_args(argv)
    place = script.output(args, f"worlds/{kinds[args.sees]}")
    torch.set_num_threads(1)
    tables = agents(args.seeds, args.sees)
    if args.sees == "coordinates":
        tables["named"] = named(max(2, args.seeds // 2))
    command = f"python benchmarks/misgeneralise.py --sees {args.sees} --seeds {args.seeds}"
    publish_tables(place, tables, command)


if __name__ == "__main__":
    script.run(main)
