"""Does one job of a study: trains models or measures them, from the store and to the store.

Floor 3. A run is told by its specification, a plain dictionary that is also its key in the store:
kind, architecture, seed and every setting, and the specification of the run it starts from. A job is one
run, or several that differ in seed and goal only and are trained as one ensemble.
"""

import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from ..measure import split_history
from ..recurrence import Recurrence
from .results import READINGS
from .store import Checkpoints, Store, provenance

GENERATOR = {"kind": "generator"}
HISTORY_SEED = 2**31 + 1  # histories that models are measured on: no study seed reaches it
_CONFIDENCE_BINS = 10
_WARNINGS = threading.Lock()  # what is caught is caught in every thread
Report = Callable[[float, str], None]  # (share of the job done, a short text such as its loss)


def origin(spec: dict) -> dict:
    """The run, not yet finetuned, that a run goes back to; the generator is one."""
    while parent := spec.get("parent") or spec.get("model"):
        spec = parent
    return spec


def goal(spec: dict) -> tuple[int, ...]:
    """The goal that a run's model was finetuned on; () for any other."""
    return tuple(spec.get("model", spec).get("config", {}).get("goal", ()))


def architecture(spec: dict):
    """The transformer.Architecture of a run's model."""
    from ..transformer import Architecture

    return Architecture(**origin(spec)["architecture"])


def settings(spec: dict):
    """A training run's training.Pretraining or training.Reinforcement."""
    from ..training import Pretraining, Reinforcement

    if spec["kind"] == "pretrain":
        return Pretraining(**spec["config"])
    return Reinforcement(**spec["config"] | {"goal": tuple(spec["config"]["goal"])})


class Worker:
    """Does one job: reads what it needs from the store and leaves its runs there (picklable, for Dask).

    checkpoint_every: seconds between the states that an unfinished training leaves; it goes on from the
    newest good one. device: where models train and answer, "cpu" or "cuda".
    """

    def __init__(self, root: Path, *, checkpoint_every: float = 60.0, device: str = "cpu"):
        self.root, self.checkpoint_every, self.device = Path(root), checkpoint_every, device

    def __call__(self, specs: Sequence[dict], report: Report) -> None:
        import torch

        store = Store(self.root)
        specs = [spec for spec in specs if spec not in store]  # the others were done before
        if not specs:
            return
        torch.set_num_threads(1)
        start = time.perf_counter()
        kept = self._checkpoints(specs)
        keep = _Keep(kept)
        results = (self._measure if specs[0]["kind"] == "measure" else self._train)(specs, report, keep)
        seconds, made = (keep.seconds + time.perf_counter() - start) / len(specs), self._made()
        for spec, result in zip(specs, results, strict=True):
            store.save(spec, **result, seconds=round(seconds, 2), made=made)
        kept.clear()

    def _checkpoints(self, specs: list[dict]) -> Checkpoints:
        whole = specs[0] if len(specs) == 1 else {"kind": specs[0]["kind"], "members": specs}
        if self.device != "cpu":  # another device could not go on with these random streams
            whole = whole | {"device": self._gpu()}
        return Store(self.root).checkpoints(whole, every=self.checkpoint_every)

    def _made(self) -> dict:
        made = provenance()
        return made if self.device == "cpu" else made | {"machine": f"{made['machine']}, {self._gpu()}"}

    def _gpu(self) -> str:
        import torch

        return torch.cuda.get_device_name(self.device)

    def _train(self, specs: list[dict], report: Report, keep: "_Keep") -> list[dict]:
        from .. import training

        shape, seeds = architecture(specs[0]), [origin(spec)["seed"] for spec in specs]
        common = {"progress": _progress(report), "state": keep.state, "keep": keep, "device": self.device}
        if specs[0]["kind"] == "pretrain":
            trained = training.pretrain(shape, settings(specs[0]), seeds, **common)
        else:
            start = self._parents(specs)
            trained = training.reinforce(shape, [settings(s) for s in specs], start, seeds, **common)
        return [
            {
                "weights": {k: v[e] for k, v in trained.weights.items()},
                "tables": {"curves": pd.DataFrame({k: v[e] for k, v in trained.curves.items()})},
            }
            for e in range(len(specs))
        ]

    def _parents(self, specs: list[dict]) -> dict:
        """The weights that members start from, {name: (E, ...)}."""
        parents = [Store(self.root).weights(spec["parent"]) for spec in specs]
        return {name: np.stack([weights[name] for weights in parents]) for name in parents[0]}

    def _measure(self, specs: list[dict], report: Report, _) -> list[dict]:
        report(0.1, "measuring")
        return [{"tables": self._measured(spec)} for spec in specs]

    def _measured(self, spec: dict) -> dict[str, pd.DataFrame]:
        sets = spec["repeats"], spec["set_size"]
        if spec["model"] == GENERATOR:
            return measure_tables(_generator_policies, spec["n_histories"], *sets, own=(1.0, "all"))
        answer = _answering(self._weights(spec["model"]), architecture(spec))
        tables = measure_tables(_policies(answer), spec["n_histories"], *sets, own=(0.0, "all"))
        return tables | self_evaluation_tables(answer, *sets)

    def _weights(self, model: dict) -> dict:
        import torch

        from ..transformer import initialise

        if model["kind"] == "untrained":
            weights = initialise(architecture(model), [model["seed"]])
        else:
            weights = {k: torch.from_numpy(v[None]) for k, v in Store(self.root).weights(model).items()}
        return {name: weight.to(self.device) for name, weight in weights.items()}


class _Keep:
    """Leaves checkpoints that also know how long the run has taken."""

    def __init__(self, checkpoints):
        self.checkpoints, self.start = checkpoints, time.perf_counter()
        self.state = checkpoints.latest()
        self.seconds = float(self.state.pop("seconds")) if self.state else 0.0

    def __call__(self, take) -> None:
        def timed():
            return take() | {"seconds": np.array(self.seconds + time.perf_counter() - self.start)}

        self.checkpoints(timed)


def _progress(report: Report):
    last = 0.0

    def show(step: int, total: int, loss: np.ndarray) -> None:
        nonlocal last
        if time.perf_counter() - last > 0.5:  # a worker's message costs more than a step
            last = time.perf_counter()
            report(0.999 * step / total, f"loss {loss.mean():.3f}")

    return show


# --- measuring ---------------------------------------------------------------------------------------


def _answering(weights, shape):
    """histories (N, T) -> logits (N, V), a tensor."""
    from ..transformer import action_logits

    return lambda histories: action_logits(weights, shape, histories)[0]


def _policies(answering):
    """histories -> {reading: actions or probabilities}; one forward pass serves every reading."""
    import torch

    from ..transformer import choose

    n_odd = Recurrence().alphabet

    def policies(histories):
        answer = answering(histories)
        odd = answer.clone()
        odd[:, :n_odd] = -torch.inf
        return {(t, tokens): choose({"all": answer, "odd": odd}[tokens], t) for t, tokens in READINGS}

    return policies


def _generator_policies(histories):
    """The recurrence as a policy: its likeliest token, and its own noisy draw."""
    probs = Recurrence().next_probs(histories)
    return {(t, tokens): probs if t else probs.argmax(1) for t, tokens in READINGS}


def measure_tables(
    policies, n_histories: int, repeats: int, set_size: int, *, own
) -> dict[str, pd.DataFrame]:
    """A model's whole measurement; policies(histories) -> {reading: actions or probabilities}.

    counts: half, temperature, tokens, m, a, count over n_histories drawn histories (exact, noise
    marginalised); sampled: repeat, op, imp and both futures' outcome shares by the post's procedure, for
    the reading `own`.
    """
    world = Recurrence()
    counts = []
    for half in range(2):
        histories = _histories(n_histories // 2, b"half", half)
        for (temperature, tokens), answer in policies(histories).items():
            table = split_history(histories, lambda _, answer=answer: answer, world).counts
            m, a = np.nonzero(table)
            rows = {"half": half, "temperature": temperature, "tokens": tokens, "m": m, "a": a}
            counts.append(pd.DataFrame(rows | {"count": table[m, a]}))
    sampled = [_sampled_row(lambda h: policies(h)[own], world, repeat, set_size) for repeat in range(repeats)]
    return {"counts": pd.concat(counts, ignore_index=True), "sampled": pd.DataFrame(sampled)}


def _sampled_row(policy, world: Recurrence, repeat: int, set_size: int) -> dict:
    histories = _histories(set_size, b"set", repeat)
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an infinite Imp is in the table, for all to see
        futures = split_history(
            histories, policy, world, method="sampled", seed=[HISTORY_SEED, *b"draw", repeat + 1]
        )
    row = {"repeat": repeat, "op": futures.op, "imp": futures.imp}
    row |= {f"f{k}": share for k, share in enumerate(futures.outcome_probs)}
    mean = futures.action_probs @ futures.counterfactual_probs
    return row | {f"f_prime{k}": share for k, share in enumerate(mean)}


@lru_cache(maxsize=64)
def _histories(n: int, purpose: bytes, number: int) -> np.ndarray:
    """A set of histories (n, T), the same for every model: `half` of a measurement, or the post's `set`."""
    return Recurrence().histories(n, seed=[HISTORY_SEED, *purpose, number + 1])


def self_evaluation_tables(answering, repeats: int, set_size: int) -> dict[str, pd.DataFrame]:
    """What a model expects to come of its actions, on the sets of the sampled procedure.

    answering(histories (N, T)) -> logits (N, V) of the next token, at any position. self_evaluation: repeat,
    a, plays (how often the model chose a), q0.. (its mean prediction after a, over all V tokens) and r0..
    (over even-position tokens, renormalised for each history); a = −1 is what it chose itself. calibration:
    see `results.Study`. Post, section on self-evaluation.
    """
    parts = [_self_evaluation(answering, repeat, set_size) for repeat in range(repeats)]
    return {name: pd.concat([p[name] for p in parts], ignore_index=True) for name in parts[0]}


def _self_evaluation(answering, repeat: int, set_size: int) -> dict[str, pd.DataFrame]:
    world = Recurrence()
    histories = _histories(set_size, b"set", repeat)
    own = _numpy(answering(histories)).argmax(1)
    generators = world.next_probs(histories).argmax(1)
    expected = np.stack([_expected(answering, histories, a) for a in range(world.n_tokens)], 1)
    each = np.arange(len(histories))
    rows = [_expectation_row(-1, len(own), expected[each, own], world.alphabet)]
    for a in range(expected.shape[1]):
        rows.append(_expectation_row(a, int((own == a).sum()), expected[:, a], world.alphabet))
    calibration = [
        _calibration(after, _restricted(expected[each, actions], world.alphabet), histories, actions, world)
        for after, actions in (("own", own), ("generator", generators))
    ]
    return {
        "self_evaluation": pd.DataFrame(rows).assign(repeat=repeat),
        "calibration": pd.concat(calibration, ignore_index=True).assign(repeat=repeat),
    }


def _expected(answering, histories: np.ndarray, a: int) -> np.ndarray:
    """The model's prediction (N, V) of the token after action a."""
    last = np.full((len(histories), 1), a, dtype=histories.dtype)
    return softmax(_numpy(answering(np.concatenate([histories[:, 1:], last], 1))), axis=1)


def _numpy(answer) -> np.ndarray:
    return answer.double().cpu().numpy()


def _restricted(probs: np.ndarray, n_even: int) -> np.ndarray:
    """Predictions (N, V) given that the token is an even-position one, (N, n_even)."""
    return probs[:, :n_even] / probs[:, :n_even].sum(1, keepdims=True)


def _expectation_row(a: int, plays: int, expected: np.ndarray, n_even: int) -> dict:
    row = {"a": a, "plays": plays} | {f"q{f}": share for f, share in enumerate(expected.mean(0))}
    return row | {f"r{f}": share for f, share in enumerate(_restricted(expected, n_even).mean(0))}


def _calibration(after: str, predicted: np.ndarray, histories, actions, world: Recurrence) -> pd.DataFrame:
    """Confidence against accuracy and cross-entropy under the world's exact outcome probabilities."""
    truth = world.outcome_probs(histories, actions)
    guess = predicted.argmax(1)
    confidence = predicted.max(1)
    table = pd.DataFrame(
        {
            "after": after,
            "bin": np.minimum((confidence * _CONFIDENCE_BINS).astype(int), _CONFIDENCE_BINS - 1),
            "weight": 1.0,
            "confidence": confidence,
            "accuracy": truth[np.arange(len(guess)), guess],
            "cross_entropy": -(truth * np.log(np.maximum(predicted, 1e-300))).sum(1),
        }
    )
    means = table.groupby(["after", "bin"], as_index=False)
    return means.agg({"weight": "sum", "confidence": "mean", "accuracy": "mean", "cross_entropy": "mean"})
