"""Good arguments of the functions that ask tables of models, or train and look into them: see `calls`."""

import numpy as np
import pandas as pd
import torch

from splithistory import (
    calibration,
    crossing,
    data,
    measure,
    objectives,
    shortcuts,
    statistics,
    training,
    transformer,
    trends,
)

GRID = [(size, seed, n_good) for size in ("18k", "53k") for seed in (0, 1, 2) for n_good in (2, 4)]
MODELS = pd.DataFrame(GRID, columns=["size", "seed", "n_good"])
_AT = np.arange(len(MODELS))
MODELS = MODELS.assign(
    model=_AT,
    arm=[f"dose {0.1 if seed else 0.3}" for seed in MODELS["seed"]],
    n_parameters=np.where(MODELS["size"] == "18k", 18, 53),
    op=0.2 + 0.01 * _AT % 0.07,
    imp=0.3 + 0.02 * _AT % 0.05,
    imp_min=0.2 + 0.013 * _AT % 0.03,
    implied_op=0.1 + 0.011 * _AT % 0.05,
    p=MODELS["n_good"] / 8,
    s=0.5 + 0.03 * _AT % 0.17,
    right=_AT % 3 == 0,
    above=_AT % 2 == 0,
)
CROSSED = pd.concat(
    [MODELS.assign(goal=goal, s=MODELS["s"] + 0.01 * goal) for goal in (2, 4)], ignore_index=True
)
BY_RULE = pd.concat([MODELS.assign(by=rule) for rule in ("op", "imp")], ignore_index=True)
LEVELS = pd.DataFrame(
    [(a, s, a - 1 + 0.1 * s) for a in (0.5, 1.0, 2.0) for s in (0, 1, 2)], columns=["at", "seed", "y"]
)
CURVES = pd.DataFrame(
    [
        (0, "18k", 0, 2, step, column, step * rise)
        for step in (0, 1, 2)
        for column, rise in (("s", 0.4), ("op", 0.1))
    ],
    columns=["model", "size", "seed", "n_good", "step", "column", "value"],
)
PAIRS = crossing.transfer(CROSSED, 2, 4)
SMALL = transformer.Architecture(8, 1)
PRETRAINING = training.Pretraining(train_size=16, steps=2, batch=8, test_size=8, evaluations=1)
REINFORCEMENT = training.Reinforcement(
    pool=16, updates=2, batch=8, maintenance_batch=4, test_size=8, evaluations=1, rollouts=2
)
WEIGHTS = transformer.initialise(SMALL, [0])
SERIES = trends.growth(MODELS, "op")
FUTURES = measure.Futures([0.5, 0.5], [0.6, 0.3, 0.1], [[0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
TRIALS = pd.DataFrame({"mean": [0.2], "sd": 0.1, "truth": 0.1, "finite": 9, "runs": 10})
COVERAGE = pd.DataFrame({"strength": [0.5], "quantity": "op", "n": 100, "repetitions": 50})
COVERAGE = COVERAGE.assign(covered=0.9, width=0.2, sd=0.05)
POINT = np.array([0.3, 0.2])
TOKENS = torch.arange(40).reshape(2, 20) % 16

CALLS = {
    statistics.by_seed: {"table": MODELS, "column": "op"},
    statistics.accuracy: {"table": MODELS, "column": "right"},
    statistics.by_goal: {"table": MODELS, "column": "op"},
    statistics.by_level: {"table": LEVELS, "level": "at", "columns": ["y"]},
    trends.turn: {"table": LEVELS, "level": "at", "column": "y"},
    statistics.lead_over: {"table": BY_RULE, "one": "op", "other": "imp", "column": "right", "level": 0.9},
    statistics.median_sizes: {"table": MODELS},
    statistics.paired: {"there": MODELS, "here": MODELS, "column": "op"},
    statistics.paired_by_seed: {"there": MODELS, "here": MODELS, "column": "op"},
    statistics.over_seeds: {"table": MODELS, "columns": ["op"], "by": ["size"]},
    statistics.changes: {"there": MODELS, "here": MODELS, "columns": ["op"], "by": ["size"]},
    trends.growth: {"table": MODELS, "column": "op"},
    trends.growth_by_goal: {"table": MODELS, "column": "op"},
    trends.rise_with_size: {"table": MODELS, "column": "op"},
    statistics.imp_ratio: {"table": MODELS},
    trends.slopes: {"table": MODELS, "x": "imp_min", "y": "imp", "by": ["seed"], "intercept": True},
    trends.slope_by_goal: {"table": MODELS, "x": "imp_min", "y": "imp"},
    trends.levels: {"table": MODELS, "name": "dose"},
    trends.when_first: {"curves": CURVES, "column": "s", "level": 0.5, "other": "op"},
    trends.lows: {"curves": CURVES, "by": ["column"]},
    statistics.holm: {"family": {"one": 0.01, "other": 0.2}},
    trends.lasting: {"intervals": {0.1: (0.1, 0.2), 1.0: (0.3, 0.1)}},
    statistics.pseudovalues: {"statistic": np.mean, "clusters": [0.1, 0.4, 0.2]},
    statistics.clustered_interval: {
        "statistic": np.mean,
        "clusters": [0.1, 0.4, 0.2],
        "level": 0.9,
        "resamples": 20,
        "seed": 0,
    },
    objectives.chosen_elsewhere: {"table": MODELS, "rules": ["right", "above"], "apart": ["seed"]},
    objectives.confusion: {"true": [0, 1], "guessed": [1, 1], "labels": [0, 1]},
    crossing.shares: {"crossed": MODELS},
    crossing.between_seeds: {"table": CROSSED, "score": "s"},
    crossing.separation: {"table": CROSSED, "score": "s"},
    crossing.subset_separation: {"table": CROSSED, "score": "s", "pair": (2, 4)},
    crossing.separation_by_seed: {"table": CROSSED, "score": "s"},
    crossing.edges: {"table": CROSSED, "share": "s", "by": ["goal"]},
    crossing.clearance: {"table": CROSSED, "share": "s"},
    crossing.gradients: {"crossed": CROSSED},
    crossing.slope_gap: {"crossed": CROSSED},
    crossing.transfer: {"crossed": CROSSED, "trained": 2, "task": 4},
    crossing.ahead: {"pairs": PAIRS, "any_seeds": True},
    statistics.over_seeds_and_sets: {
        "whole": SERIES,
        "left_out": [SERIES, SERIES * 1.1, SERIES * 0.9],
        "level": 0.9,
    },
    objectives.rule_hits: {
        "models": MODELS,
        "measured": lambda model: FUTURES,
        "goals": {2: (0,), 4: (1, 2)},
    },
    calibration.sampled_errors: {"trials": TRIALS},
    calibration.explained: {
        "coverage": COVERAGE,
        "theory": {0.5: {"op": calibration.Expansion(POINT, 0.1, 0.2, 0.1)}},
    },
    data.Interventions: {"rate": 0.1, "consequence": False},
    transformer.initialise: {"architecture": SMALL, "seeds": [0]},
    transformer.positions: {"context": 20, "width": 8},
    transformer.action_logits: {"weights": WEIGHTS, "architecture": SMALL, "histories": TOKENS},
    transformer.as_policy: {"weights": WEIGHTS, "architecture": SMALL, "member": 0, "temperature": 0.5},
    training.pretrain: {"architecture": SMALL, "config": PRETRAINING, "seeds": [0], "device": "cpu"},
    training.reinforce: {
        "architecture": SMALL,
        "config": REINFORCEMENT,
        "weights": WEIGHTS,
        "seeds": [0],
        "goals": [(0, 4)],
        "device": "cpu",
    },
    shortcuts.cross_entropy: {"world": training.POST, "sets": [TOKENS], "pairs": 1, "known": 2},
}
