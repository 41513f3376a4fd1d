"""Public functions with good arguments, by name: what `test_hostile` spoils one argument at a time."""

from functools import partial

import gymnasium
import numpy as np
import pandas as pd
import torch
from calls_of_models import CALLS as OF_MODELS

from splithistory import (
    Recurrence,
    SplitHistory,
    blocks,
    calibration,
    data,
    detection,
    differential,
    estimators,
    gridworlds,
    histograms,
    information,
    mdp,
    measure,
    neighbours,
    objectives,
    planning,
    policies,
    procedure,
    rewards,
    shortcuts,
    simulators,
    split_history,
    statistics,
    training,
    transformer,
    trends,
    worlds,
)
from splithistory import episodes as split

WORLD = Recurrence()
HISTORIES = WORLD.histories(12, 20, seed=1)
PROBS, OTHER = [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]
COUNTS = [[3, 1], [2, 4]]
TABLE = [[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.5, 0.5]]]
SQUARE = [[2.0, 0.1], [0.3, 1.0]]
FUTURES = measure.Futures([0.5, 0.5], [0.6, 0.3, 0.1], [PROBS, OTHER])
MEASURED = SplitHistory(COUNTS, TABLE)
GOALS = [(0,), (1, 2)]

STAY, MOVE = [[0.7, 0.3], [0.3, 0.7]], [[0.3, 0.7], [0.7, 0.3]]  # of two rooms
ROOMS = mdp.MDP([STAY, MOVE], [0.5, 0.5], [0, 1], horizon=3)
ROOM_POLICY = [[0.8, 0.2], [0.4, 0.6]]
IN_ROOMS = mdp.split_mdp(ROOMS, ROOM_POLICY, n_sequences=20, seed=0)
LAKE = gymnasium.make("FrozenLake-v1")
GRID = worlds.grid(2, horizon=3)
COIN = gridworlds.CoinWorld((1, 3), size=2, horizon=2)
EPISODES = split.SplitEpisodes([0, 1, 1], [[0, 1, 0], [1, 1, 0]], 2)
TABLES = [COUNTS, [[1, 2], [3, 4]], [[4, 1], [1, 4]]]


class Steps:
    """A simulator of three steps: left or right, from where the seed puts one."""

    class action_space:
        shape, dtype = (), np.dtype(int)

        @staticmethod
        def contains(action) -> bool:
            return action in (0, 1)

    def reset(self, seed):
        self.at, self.left = seed % 3, 3
        return self.at, {}

    def step(self, action):
        self.at, self.left = (self.at + 2 * action - 1) % 3, self.left - 1
        return self.at, 0.0, self.left == 0, False, {}

    def close(self):
        pass


PLAYED = {"policy": lambda seen: seen % 2, "outcome": lambda seen, info: seen, "n_outcomes": 3, "horizon": 4}

CALLS = {
    information.entropy: {"probs": PROBS},
    information.kl: {"probs": PROBS, "reference": OTHER},
    information.binary_kl: {"s": 0.3, "q": 0.5},
    information.implied_op: {"s": 0.3, "p": 0.5},
    information.imp_min: {"s": 0.3, "s_prime": 0.5},
    information.tilt: {"prior": PROBS, "utility": [0.0, 1.0, 2.0], "value": 1.2},
    information.succeeding: {
        "goal": (0, 1),
        "n_outcomes": 4,
        "success": 0.7,
        "among_successes": [0.5, 0.5],
        "among_failures": [0.1, 0.9],
    },
    information.goal_mask: {"goal": (0, 1), "n_outcomes": 4},
    information.whole_and_parts: {"joint": [[0.25, 0.25], [0.4, 0.1]], "reference": [[0.25] * 2] * 2},
    information.same_op_rate: {"s": 0.4, "p": 0.25, "q": 0.5},
    information.both_orders: {"s": 0.52},
    estimators.entropy_plugin: {"counts": [3, 1, 2]},
    estimators.entropy_miller_madow: {"counts": [3, 1, 2]},
    estimators.entropy_jackknife: {"counts": [3, 1, 2]},
    estimators.kl_plugin: {"counts": [3, 1, 2], "reference_counts": [2, 2, 3]},
    estimators.kl_corrected: {"counts": [3, 1, 2], "reference_counts": [2, 2, 3]},
    estimators.kl_jackknife: {"counts": [3, 1, 2], "reference_counts": [2, 2, 3]},
    estimators.success_interval: {"successes": 3, "n": 10, "level": 0.9},
    estimators.bias_of_entropy: {"probs": PROBS, "n": 100},
    estimators.bias_of_kl: {"probs": PROBS, "reference": OTHER, "n": 100, "n_reference": 50},
    estimators.bias_corrected: {"value": 0.3, "draws": [0.1, 0.2, 0.4], "level": 0.9},
    estimators.paired_interval: {
        "function": lambda rows: np.full(2, float(len(rows))),
        "samples": [[0.1, 0.5], [0.3, 0.2]],
        "level": 0.9,
        "n_resamples": 20,
        "seed": 0,
    },
    differential.op: {"j_g": SQUARE, "j_h": SQUARE, "noise_floor": 0.1},
    differential.imp: {"j_g": SQUARE, "j_h": SQUARE, "noise_floor": 0.0},
    differential.scalar: {"c": 0.5},
    differential.residual: {"c": SQUARE},
    differential.residual_and_sign: {"c": SQUARE},
    statistics.t_interval: {"values": [0.1, 0.2, 0.4], "level": 0.95},
    statistics.standard_error: {"values": [0.1, 0.2, 0.4]},
    statistics.told: {"interval": (0.3, 0.1), "number": 0.1},
    statistics.t_test: {"values": [0.1, 0.2, 0.4], "above": 0.1},
    statistics.f_test: {"values": [[1.0, 2.0], [0.5, 3.0], [1.0, 1.5]]},
    statistics.auc: {"right": [0.1, 0.9], "wrong": [0.3, 0.2]},
    statistics.redrawn: {"values": [0.1, 0.2, 0.4], "axes": 1, "resamples": 20, "seed": 0},
    statistics.percentiles: {"draws": [0.1, 0.2, 0.4], "level": 0.9},
    statistics.detectable: {"half": 0.1, "n": 5, "level": 0.95, "power": 0.8},
    trends.crossing: {"levels": [0.0, 1.0, 2.0], "values": [[-1.0, -0.5], [0.5, -0.1], [1.0, 1.0]]},
    trends.power_law_exponent: {"x": [1.0, 2.0, 4.0], "y": [2.0, 8.0, 31.0]},
    measure.Futures: {
        "action_probs": [0.5, 0.5],
        "outcome_probs": PROBS,
        "counterfactual_probs": [PROBS, OTHER],
    },
    FUTURES.merged: {"groups": [(0, 1), (2,)]},
    FUTURES.implied_op: {"goal": (0, 1)},
    FUTURES.excess: {"goal": (0, 1)},
    SplitHistory: {"counts": COUNTS, "world": TABLE},
    MEASURED.interval: {"quantity": "op", "level": 0.95, "seed": 0},
    MEASURED.corrected: {"quantity": "imp", "seed": 0},
    MEASURED.success: {"goal": (0,)},
    MEASURED.imp_min: {"goal": (0,)},
    MEASURED.scalars: {"goal": (0,)},
    MEASURED.decomposition: {"goal": (1,)},
    split_history: {
        "histories": HISTORIES,
        "policy": lambda h: np.full(len(h), 9),
        "world": WORLD,
        "n_actions": 16,
        "seed": 3,
    },
    objectives.every_goal: {"n_outcomes": 4},
    objectives.cross_evaluate: {"futures": FUTURES, "goals": GOALS},
    objectives.grades: {"goals": [(0,), (0, 1)], "n_outcomes": 3},
    objectives.graded_bounds: {"futures": FUTURES, "grades": [0.0, 1.0, 2.0]},
    objectives.scores: {"measured": FUTURES, "goals": GOALS},
    objectives.threshold_goal: {"futures": FUTURES, "reference": OTHER},
    objectives.likelihood_ratio: {"futures": FUTURES, "reference": OTHER},
    objectives.cuts: {"futures": FUTURES, "reference": OTHER},
    objectives.rank_of: {"goal": (0,), "goals": [(0,), (1,)], "score": [0.2, 0.1]},
    objectives.named: {"goal": (0,), "goals": [(0,), (1,)], "score": np.array([0.2, 0.1])},
    objectives.relation: {"guess": (0, 1), "goal": (0,)},
    objectives.least_ratio: {"futures": FUTURES, "goals": GOALS},
    objectives.maxent_goal_directedness: {"measured": MEASURED, "goals": [(0,), (1,)]},
    policies.everywhere: {"outcomes": PROBS},
    policies.acting: {"world": WORLD, "probs": np.full((16, 16), 1 / 16)},
    policies.blind: {"world": WORLD, "probs": np.full(16, 1 / 16)},
    policies.always: {"world": WORLD, "action": 9},
    policies.generator: {"world": WORLD, "n": 10, "seed": 0},
    policies.steering: {"world": WORLD, "outcomes": np.full(8, 1 / 8), "actions": list(range(16))},
    policies.mixture: {"first": MEASURED, "second": MEASURED, "share": 0.3},
    policies.extremes: {"world": WORLD, "goal": (0, 4), "success": 0.6},
    policies.maximum_entropy: {"world": WORLD, "goal": (0, 4), "inverse_temperature": 2.0},
    policies.indifferent: {"world": WORLD, "goal": (0, 4), "actions": [8, 9, 10]},
    policies.habitual: {"measured": MEASURED, "goal": (0,), "rounds": 20},
    policies.moved_together: {"agreement": 0.8},
    WORLD.outcome_probs: {"histories": HISTORIES, "actions": np.full(12, 9)},
    WORLD.classes: {"histories": HISTORIES},
    WORLD.next_probs: {"histories": HISTORIES},
    WORLD.noiseless_next: {"tokens": HISTORIES},
    WORLD.sample: {"n": 2, "length": 4, "seed": 0, "burn_in": 2, "explore": 0.1},
    WORLD.histories: {"n": 2, "length": 20, "seed": 0},
    WORLD.ceiling: {"goal": (0, 4)},
    WORLD.success_range: {"goal": (0, 4)},
    WORLD.op_range: {"goal": (0, 4), "success": 0.5},
    Recurrence: {"modulus": 17, "window": 16, "alphabet": 8, "noise": 0.1, "sinks": [[15, [0, 1]]]},
    transformer.Architecture: {"width": 8, "layers": 1},
    transformer.choose: {"answer": torch.zeros(2, 3), "temperature": 1.0},
    training.Pretraining: {"steps": 4, "batch": 8, "rate": 0.1, "train_size": 16, "dropout": 0.1},
    training.Reinforcement: {"updates": 4, "batch": 8, "rate": 0.1, "pool": 16, "maintenance_rate": 0.1},
    data.training_windows: {"n": 3, "context": 20, "seed": 0},
    histograms.cut_at: {"probs": PROBS, "merit": histograms.gaps},
    histograms.implied: {"falling": [0.5, 0.3, 0.2]},
    histograms.gaps: {"falling": [0.5, 0.3, 0.2]},
    histograms.spreads: {"values": [0.5, 0.3, 0.2]},
    histograms.logs: {"probs": PROBS},
    histograms.named_from_few: {
        "probs": PROBS,
        "goal": (2,),
        "rule": "Op",
        "n": 20,
        "seed": 0,
        "repeats": 5,
    },
    detection.by_class: {"counts": COUNTS, "world": TABLE, "goal": (0,)},
    detection.opposed: {"counts": COUNTS, "world": TABLE, "goal": (0,)},
    detection.suspicion: {"counts": COUNTS, "world": TABLE, "goal": (0,), "usual": [0.5, 0.5]},
    detection.suspicions: {
        "tables": TABLES,
        "honest": TABLES[::-1],
        "world": TABLE,
        "goal": (0,),
        "n": 5,
        "draws": 3,
        "seed": 0,
    },
    detection.diluted: {"counts": COUNTS, "world": TABLE, "goal": (1,), "success": 0.515},
    detection.detected: {"hidden": [[0.5, 0.6], [0.2, 0.9]], "honest": [[0.1, 0.2], [0.3, 0.1]]},
    detection.roc: {"hidden": [0.5, 0.6], "honest": [0.1, 0.2]},
    shortcuts.next_token: {
        "world": WORLD,
        "tokens": HISTORIES,
        "pairs": 1,
        "known": 2,
        "interventions": [0.1],
    },
    shortcuts.answers: {"world": WORLD, "histories": HISTORIES, "pairs": 1, "interventions": [0.1]},
    procedure.sampled: {
        "classes": [0, 1, 1],
        "probs": [[0.5, 0.5]] * 3,
        "table": TABLE,
        "condition": "action",
        "seed": 0,
    },
    rewards.check_hidden: {"hidden": ((0,), (1,), 0.5)},
    blocks.read_out: {
        "readout": [[1.0, 0.2, 0.1], [0.3, 1.0, 0.0], [0.1, 0.1, 1.0]],
        "answer": [[0.1, 0.5, 0.9]],
        "c": [np.eye(3) + 0.1],
    },
    calibration.draw: {"truth": MEASURED, "n": 10, "tables": 3, "resamples": 2, "seed": 0},
    calibration.measured: {"truth": policies.always(WORLD, 13), "shares": np.full((2, 256), 1 / 256)},
    calibration.sides: {"error": [0.1, -0.5, 0.2, 0.4, 0.3], "half": [0.2, 0.1, 0.3, 0.1, 0.2]},
    calibration.share: {"held": np.array([True, False])},
    mdp.MDP: {"transition": [STAY, MOVE], "initial": [0.5, 0.5], "outcome": [0, 1], "horizon": 3},
    ROOMS.states: {"policy": ROOM_POLICY},
    ROOMS.episodes: {"policy": ROOM_POLICY, "n": 3, "seed": 0},
    ROOMS.replayed: {"actions": [[0, 1, 0], [1, 1, 0]], "seed": 0},
    mdp.split_mdp: {"mdp": ROOMS, "policy": ROOM_POLICY, "n_sequences": 9, "seed": 0},
    mdp.replay: {"mdp": ROOMS, "sequences": [[0, 1, 0], [1, 1, 0]]},
    mdp.policy_probs: {"mdp": ROOMS, "policy": ROOM_POLICY},
    mdp.on_grid: {"size": 2, "steps": [(0, 1), (1, 0)]},
    IN_ROOMS.interval: {"quantity": "op", "level": 0.9},
    planning.soft_maximum: {"values": [0.1, 0.4], "beta": 1.0},
    planning.soft_value_iteration: {
        "mdp": ROOMS,
        "utility": [0.0, 1.0],
        "beta": 1.0,
        "discount": 0.5,
        "start": [0.0, 0.0],
    },
    planning.value_iteration: {"mdp": ROOMS, "utility": [0.0, 1.0], "final": [1.0, 0.0]},
    planning.greedy: {"values": [[0.1, 0.4], [0.3, 0.1]]},
    planning.epsilon_greedy: {"policy": ROOM_POLICY, "epsilon": 0.1},
    planning.expected: {"transition": [STAY, MOVE], "values": [0.0, 1.0]},
    planning.closed_loop: {"transition": np.array([STAY, MOVE]), "policy": ROOM_POLICY},
    planning.solve: {"matrix": STAY, "discount": 0.5, "right": [0.0, 1.0]},
    planning.visits: {"mdp": ROOMS, "policy": ROOM_POLICY, "discount": 0.5},
    planning.occupancy: {"mdp": ROOMS, "policy": ROOM_POLICY, "discount": 0.5},
    planning.earned: {"mdp": ROOMS, "policy": ROOM_POLICY, "utility": [0.0, 1.0], "final": [1.0, 0.0]},
    planning.q_learning: {
        "mdp": ROOMS,
        "utility": [0.0, 1.0],
        "stages": [2],
        "seeds": [0],
        "epsilon": 0.1,
        "rate": 0.1,
    },
    neighbours.meg: {"mdp": ROOMS, "policy": ROOM_POLICY, "utility": [0.0, 1.0], "final": [1.0, 0.0]},
    neighbours.meg_unknown: {"mdp": ROOMS, "policy": ROOM_POLICY, "rounds": 20},
    neighbours.capacity: {"channel": [STAY, MOVE], "tolerance": 1e-3, "rounds": 1000},
    neighbours.empowerment: {"mdp": ROOMS, "steps": 2},
    neighbours.causal_influence: {"mdp": ROOMS, "policy": ROOM_POLICY},
    neighbours.plasticity: {"mdp": ROOMS, "policy": ROOM_POLICY, "n_sequences": 9, "seed": 0},
    neighbours.starc: {"mdp": ROOMS, "reward": [0.0, 1.0], "other": [0.5, 0.2], "discount": 0.5},
    neighbours.epic: {"mdp": ROOMS, "reward": [0.0, 1.0], "other": [0.5, 0.2], "discount": 0.5},
    gridworlds.moves: {"size": 2, "slip": 0.1},
    gridworlds.grid: {"size": 2, "slip": 0.1, "horizon": 3},
    gridworlds.CoinWorld: {"coins": (1, 3), "size": 2, "slip": 0.1, "horizon": 2},
    gridworlds.reward: {"world": COIN, "policy": np.full((8, 5), 0.2)},
    gridworlds.layouts: {"seed": 0, "n_train": 2, "n_test": 1, "size": 3},
    gridworlds.Learning: {"hidden": 4, "updates": 2, "rate": 0.01, "entropy": 0.01},
    worlds.grid: {"size": 2, "slip": 0.1, "horizon": 3, "noise": 0.1},
    worlds.seen: {"labels": [0, 1, 1], "noise": 0.1},
    worlds.one_of: {"policy": ROOM_POLICY},
    worlds.plan: {"mdp": ROOMS, "policy": ROOM_POLICY},
    split.SplitEpisodes: {"outcomes": [0, 1, 1], "replays": [[0, 1, 0], [1, 1, 0]], "n_outcomes": 2},
    EPISODES.interval: {"quantity": "op", "level": 0.9},
    split.split_episodes: {
        "make_env": Steps,
        **PLAYED,
        "n_sequences": 2,
        "n_seeds": 3,
        "n_episodes": 4,
        "seed": 0,
    },
    split.compare_episodes: {
        "make_env": Steps,
        **PLAYED,
        "reference": lambda seen: 1,
        "n_episodes": 3,
        "seed": 0,
    },
    EPISODES.corrected: {"quantity": "op"},
    estimators.kl_interval: {
        "rates": lambda rows: (np.clip(rows[..., 0], 0.1, 0.9), np.full(rows.shape[:-1], 0.4)),
        "samples": [0.1, 0.5, 0.3],
        "level": 0.9,
        "n_resamples": 20,
        "seed": 0,
    },
    differential.from_function: {
        "agent": lambda p: p**2,
        "environment": lambda a, p: a + p,
        "point": [0.1, 0.2],
    },
    calibration.known: {"world": WORLD},
    calibration.expansion: {
        "function": lambda shares: shares.sum(0),
        "truth": MEASURED,
        "names": ("left", "right"),
    },
    COIN.on: {"place": 0},
    COIN.seen: {"kind": "cells"},
    COIN.mdp: {},
    gridworlds.best_reward: {"world": COIN},
    gridworlds.blind_walk: {"world": COIN},
    gridworlds.lead: {"futures": measure.Futures([1.0], [0.4, 0.3, 0.2, 0.1], [[0.25] * 4])},
    gridworlds.learn: {
        "worlds": [COIN],
        "tests": [COIN],
        "seeds": [0],
        "how": gridworlds.Learning(hidden=4, updates=2),
        "at": [1],
    },
    ROOMS.dense: {},
    mdp.from_gymnasium: {"env": LAKE, "outcome": np.arange(16), "horizon": 5},
    mdp.expected_reward: {"env": LAKE},
    FUTURES.counterfactual_success: {"goal": (0,)},
    FUTURES.mixed: {},
    objectives.guesses: {"futures": FUTURES},
    objectives.simple_names: {"futures": FUTURES},
    objectives.without_list: {"measured": MEASURED, "other": MEASURED, "goal": (0,), "by": "imp"},
    policies.given_history: {"measured": MEASURED},
    statistics.page: {"values": [[1.0, 2.0, 3.0], [0.5, 3.0, 2.0]], "falling": True},
    policies.undone: {"undoes": True},
    policies.two_rooms: {"moves": True},
    policies.steered: {"world": WORLD, "goal": (0, 4), "success": 0.6},
    policies.pictures: {
        "goal": (0, 1),
        "n_outcomes": 4,
        "success": 0.7,
        "leaning": [0.5, 0.5],
        "reaching": [0.1, 0.9],
    },
    planning.as_discount: {"discount": 0.5},
    WORLD.class_shares: {},
    WORLD.independent_shares: {},
    WORLD.marginals: {},
    WORLD.ceilings: {"goals": {"one": (0, 4)}},
    simulators.random_actions: {"space": LAKE.action_space, "seed": 0},
    worlds.frozen_lake: {"make": gymnasium.make, "horizon": 5, "noise": 0.1},
    worlds.cliff_walking: {"make": gymnasium.make, "horizon": 5, "noise": 0.1},
    worlds.taxi: {"make": gymnasium.make, "horizon": 2, "noise": 0.1},
    worlds.plain: {"world": GRID, "epsilon": 0.2},
    worlds.by_horizon: {"make": partial(worlds.grid, 2), "horizons": [2], "n_sequences": 9, "seed": 0},
    worlds.measured: {
        "world": GRID,
        "policy": np.full((4, 4), 0.25),
        "empowered": np.zeros(4),
        "n_sequences": 9,
        "seed": 0,
        "rounds": 5,
    },
    simulators.Binned: {"number": lambda seen, info: 0.5, "edges": [0.1, 0.2]},
    simulators.seeds: {"seed": 0},
} | OF_MODELS
GIVEN_ON = {"clusters", "left_out", "world", "worlds", "tests"}  # to a user's function, or made by ours
# What is not asked, and why: the inside of training, of resampling and of simulation, which is handed what
# other rooms have looked at, millions of times; the gates themselves; a class that only such rooms make.
INSIDE = """
engine products blocks resampling rewards information.as_ information.check_ information.to_numpy
information.shown information.chosen information.cores information.is_listed information.not_negative
information.Tilted data.windows
data.even_windows data.histories data.of_seeds data.indices data.batch data.take data.data_seed
data.training_seeds data.check_fits
transformer.stream transformer.logits transformer.Architecture.shapes transformer.Dropout
transformer.activations transformer.branches transformer.layer_weights transformer.check_weights
training.prediction_loss training.evaluate recurrence.drawn recurrence.classes_of procedure.draw
mdp.MDP.step mdp.MDP.following mdp.SplitMDP measure.Measured measure.Futures.of_tables
measure.Futures.unvalidated measure.Futures.reweighted neighbours.Directedness planning.kernel
simulators.Episode simulators.Simulator simulators.replays calibration.quantities calibration.Expansion
calibration.exact_errors calibration.errors calibration.misses worlds.World worlds.known worlds.policies
worlds.rank_correlations
""".split()


def spoiled(call, name: str) -> bool:
    """Whether an argument is asked: numbers, names and tables, but no functions, worlds and what they get."""
    good = CALLS[call][name]
    kinds = int | float | str | list | tuple | np.ndarray | torch.Tensor | pd.DataFrame
    return isinstance(good, kinds) and name not in GIVEN_ON


CASES = [(call, name) for call, good in CALLS.items() for name in good if spoiled(call, name)]
SIZES = {  # what would only take long
    "burn_in",
    "draws",
    "horizon",
    "length",
    "n",
    "n_episodes",
    "n_outcomes",
    "n_resamples",
    "n_seeds",
    "n_sequences",
    "n_test",
    "n_train",
    "repeats",
    "resamples",
    "rounds",
    "size",
    "stages",
    "steps",
    "tables",
}
