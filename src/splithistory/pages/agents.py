"""Agents in CartPole for the chapter that measures them, and how it looks at what they bring about.

Takes what `benchmarks/agent.py` and `benchmarks/lake.py` published, and measurements as rows of tables.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from ..episodes import SplitEpisodes
from ..estimators import success_interval
from ..simulators import Binned
from ..statistics import Interval
from ..study import results_root
from ..study.store import checked_manifest

RARE = 0.01  # of F in outcomes that replays never showed, up to which Imp is given
STEPS = 100  # after which the outcome is read


def steps(observation, info: dict) -> int:
    """How many steps an episode lasted."""
    return info["episode"]["l"]


LASTED = Binned(steps, (20, 40, 60, 80, STEPS))  # the last outcome: still upright


def controller(observation) -> int:
    """By hand: pushes towards the side to which the pole is falling, and a little against drift."""
    place, speed, angle, spin = observation
    return int(angle + 0.3 * spin + 0.05 * place + 0.1 * speed > 0)


class Plan:
    """Left, right, left, right, whatever it sees: a policy that remembers how many steps were done."""

    def __init__(self):
        self.done = 0

    def reset(self) -> None:
        """A new episode begins."""
        self.done = 0

    def __call__(self, observation) -> int:
        self.done += 1
        return self.at(self.done - 1)

    @staticmethod
    def at(step: int) -> int:
        """What is planned for a step, 0 for the first: the plan goes on where an episode ended."""
        return step % 2


def network(weights: Mapping[str, np.ndarray]) -> Callable:
    """The likelier action of a network w0, b0, w1, b1, w2, b2: tanh(w x + b), the last layer without tanh."""

    def policy(observation) -> int:
        hidden = np.tanh(weights["w0"] @ observation + weights["b0"])
        hidden = np.tanh(weights["w1"] @ hidden + weights["b1"])
        return int((weights["w2"] @ hidden + weights["b2"]).argmax())

    return policy


def trained() -> dict[int, Callable]:
    """The published network after so many steps of training, the first of them untrained."""
    folder = results_root() / "worlds/cartpole"
    stages, weights = checked_manifest(folder)["steps"], load_file(folder / "weights.safetensors")
    names = [name.removeprefix("0/") for name in weights if name.startswith("0/")]
    return {stage: network({name: weights[f"{stage}/{name}"] for name in names}) for stage in stages}


def estimates(measured: SplitEpisodes) -> dict[str, Interval]:
    """op and imp, each the centre and the half width of its 95 % interval, in nats."""
    low, high = measured.interval(lambda futures: np.stack([futures.op, futures.imp], -1))
    return {
        name: (float(a + b) / 2, float(b - a) / 2)
        for name, a, b in zip(("op", "imp"), low, high, strict=True)
    }


def upright(measured: SplitEpisodes) -> tuple[float, Interval]:
    """Share of its own episodes that have the last outcome, and the Clopper–Pearson ends."""
    return _share(measured.outcomes == measured.n_outcomes - 1)


def replayed(measured: SplitEpisodes) -> tuple[float, Interval]:
    """The same of the replays, and the ends of its interval; of one reference, of that agent's episodes."""
    last = measured.n_outcomes - 1
    if measured.n_sequences == 1:
        return _share(measured.replays[0] == last)
    low, high = measured.interval(lambda futures: futures.counterfactual_success([last]))
    return measured.counterfactual_success([last]), (max(low, 0.0), min(high, 1.0))


def _share(held: np.ndarray) -> tuple[float, Interval]:
    low, high = success_interval(int(held.sum()), len(held))
    return float(held.mean()), (float(low), float(high))


def cells(measured: SplitEpisodes) -> dict:
    """A row of a table: how often the last outcome comes, closed loop and replayed; Op, Imp, unseen.

    Imp is "not known", and no number, where more than RARE of F is in outcomes that replays never showed.
    """
    found, (share, (low, high)) = estimates(measured), upright(measured)
    imp = found["imp"] if measured.unseen <= RARE else "not known"
    return {
        "upright": f"{share:.2f} ({low:.2f} to {high:.2f})",
        "replayed": replayed(measured),
        "Op": found["op"],
        "Imp": imp,
        "unseen": f"{measured.unseen:.2f}",
    }


def coverage() -> pd.DataFrame:
    """The published trial of intervals on FrozenLake, a row an agent, quantity and n (sequences, and seeds).

    With low, high: Clopper–Pearson ends of the share covered; bias of the centre of the intervals, and
    bias_plug_in of the plug-in value, nan where the truth is infinite.
    """
    folder = results_root() / "worlds/lake"
    checked_manifest(folder)
    table = pd.read_parquet(folder / "coverage.parquet")
    trials = table["repetitions"]
    low, high = success_interval((table["covered"] * trials).round().astype(int), trials)
    finite = np.isfinite(table["truth"])
    off = {"bias": table["mean"] - table["truth"], "bias_plug_in": table["plug_in"] - table["truth"]}
    return table.assign(low=low, high=high, **{name: bias.where(finite) for name, bias in off.items()})
