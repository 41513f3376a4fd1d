"""The post's own procedure: actions and outcomes are drawn, pair by pair, and counted.

Floor 1: arrays. What `split_history(..., method="sampled")` does; the exact measurement needs none of it.
"""

import warnings

import numpy as np

from .information import (
    as_array,
    as_distribution,
    as_integers,
    check_choice,
    check_seed,
)

CONDITIONS = ("action", "history")  # what F' is given: the action, as in the post, or the history


def sampled(classes, probs, table, condition: str, seed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One drawn action a history, one drawn outcome a pair i ≠ j.

    classes (N,) of the histories; probs (N, A); table (M, A, K); condition "action" or "history", as in
    `split_history`. Returns weights (N,), F (K,) and F' (N, K), a row for each history that was answered.
    A UserWarning where Imp is infinite. ValueError if there are fewer than two histories, or no seed.
    """
    check_choice("condition", condition, CONDITIONS)
    as_distribution(probs, "probs"), as_distribution(table, "table")
    probs, table = as_array(probs, "probs"), as_array(table, "table")  # as they are, not made one anew
    classes = as_integers(classes, "classes", len(table), "N")
    n, n_outcomes = len(classes), table.shape[-1]
    if table.ndim != 3 or probs.shape != (n, table.shape[1]):
        shapes = f"shapes {probs.shape} and {table.shape}"
        raise ValueError(f"probs, table: given {shapes}, allowed are (N, A) and (M, A, K)")
    if n < 2:
        raise ValueError(f"histories: given {n}, allowed are at least 2 for method='sampled'")
    if seed is None:
        raise ValueError("seed: none given, allowed is an integer >= 0 (method='sampled' draws outcomes)")
    rng = np.random.default_rng(check_seed(seed))
    actions = draw(probs, rng)
    outcomes = draw(table[classes, actions], rng)
    counterfactual = np.empty((n, n_outcomes))
    for j, action in enumerate(actions):
        others = np.delete(classes, j)
        if condition == "history":  # p'' is fixed, its answer is drawn anew for each pair
            action = draw(np.tile(probs[j], (n - 1, 1)), rng)
        counterfactual[j] = np.bincount(draw(table[others, action], rng), minlength=n_outcomes) / (n - 1)
    outcome_probs = np.bincount(outcomes, minlength=n_outcomes) / n
    lacking = int(((counterfactual == 0) & (outcome_probs > 0)).any(1).sum())
    if lacking:
        warnings.warn(
            f"imp: infinite, for {lacking} of {n} counterfactual futures lack an outcome that F has "
            "(more histories help, or method='exact')",
            UserWarning,
            stacklevel=3,
        )
    return np.full(n, 1 / n), outcome_probs, counterfactual


def draw(probs: np.ndarray, rng) -> np.ndarray:
    """One index (N,) for each row of probabilities (N, A), by inverting the cumulative distribution."""
    edges = probs.cumsum(-1)
    return np.minimum((rng.random((len(probs), 1)) * edges[:, -1:] >= edges).sum(-1), probs.shape[1] - 1)
