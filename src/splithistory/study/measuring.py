"""A model measured: its table of counts, the post's sampled procedure, and what it says of itself.

Knows policies and worlds, no runs and no files. Histories are the same for every model of a world.
"""

import threading
import warnings
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import softmax

from ..measure import split_history
from ..recurrence import Recurrence
from .results import READINGS

HISTORY_SEED = 2**31 + 1  # histories that models are measured on: no study seed reaches it
_CONFIDENCE_BINS = 10
_WARNINGS = threading.Lock()  # what is caught is caught in every thread


def policies_of(answering, world: Recurrence):
    """histories -> {reading: actions or probabilities}; one forward pass serves every reading."""
    from ..transformer import choose

    def policies(histories):
        answer = answering(histories)
        read = {"all": answer, "odd": odd_only(lambda _: answer, world)(histories)}
        return {(t, tokens): choose(read[tokens], t) for t, tokens in READINGS}

    return policies


def odd_only(answering, world: Recurrence):
    """As a model answers, without the tokens of even positions: histories -> logits (N, V)."""

    def answer(histories):
        logits = answering(histories).clone()
        logits[:, : world.alphabet] = -np.inf
        return logits

    return answer


def generator_policies(world: Recurrence):
    """The recurrence as a policy: its likeliest token, and its own noisy draw."""

    def policies(histories):
        probs = world.next_probs(histories)
        return {(t, tokens): probs if t else probs.argmax(1) for t, tokens in READINGS}

    return policies


def measure_tables(
    policies, world: Recurrence, *, n_histories: int, repeats: int, set_size: int, own
) -> dict[str, pd.DataFrame]:
    """A model's whole measurement; policies(histories) -> {reading: actions or probabilities}.

    counts: half, temperature, tokens, m, a, count over n_histories drawn histories (exact, noise
    marginalised); sampled: repeat, op, imp and both futures' outcome shares by the post's procedure, for
    the reading `own`.
    """
    counts = []
    for half in range(2):
        histories = _histories(world, n_histories // 2, b"half", half)
        for (temperature, tokens), answer in policies(histories).items():
            table = split_history(histories, lambda _, answer=answer: answer, world).counts
            m, a = np.nonzero(table)
            rows = {"half": half, "temperature": temperature, "tokens": tokens, "m": m, "a": a}
            counts.append(pd.DataFrame(rows | {"count": table[m, a]}))
    sampled = [_sampled_row(lambda h: policies(h)[own], world, repeat, set_size) for repeat in range(repeats)]
    return {"counts": pd.concat(counts, ignore_index=True), "sampled": pd.DataFrame(sampled)}


def _sampled_row(policy, world: Recurrence, repeat: int, set_size: int) -> dict:
    histories = _histories(world, set_size, b"set", repeat)
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
def _histories(world: Recurrence, n: int, purpose: bytes, number: int) -> np.ndarray:
    """A set of histories (n, T), the same for every model: `half` of a measurement, or the post's `set`."""
    return world.histories(n, seed=[HISTORY_SEED, *purpose, number + 1])


def self_evaluation_tables(
    answering, world: Recurrence, repeats: int, set_size: int, act=None
) -> dict[str, pd.DataFrame]:
    """What a model expects to come of its actions, on the sets of the sampled procedure.

    answering(histories (N, T)) -> logits (N, V) of the next token, at any position; act: the same of the
    policy, if it may not play every token. self_evaluation: repeat, a, plays (how often the model chose a),
    q0.. (its mean prediction after a, over all V tokens) and r0.. (over even-position tokens, renormalised
    for each history); a = −1 is what it chose itself. calibration: see `results.Study`. Post, section on
    self-evaluation.
    """
    act = act or answering
    parts = [_self_evaluation(answering, act, world, repeat, set_size) for repeat in range(repeats)]
    return {name: pd.concat([p[name] for p in parts], ignore_index=True) for name in parts[0]}


def _self_evaluation(
    answering, act, world: Recurrence, repeat: int, set_size: int
) -> dict[str, pd.DataFrame]:
    histories = _histories(world, set_size, b"set", repeat)
    own = _numpy(act(histories)).argmax(1)
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
