"""Which outcomes stand out of a histogram: simple rules that sort it and cut it once.

Floor 1: knows arrays only, no future but the one that happened. What such rules can name is no merit of a
measure that compares futures; they are the baseline of `objectives`.
"""

from collections.abc import Callable

import numpy as np

from .information import (
    as_array,
    as_distribution,
    as_measured,
    binary_kl,
    check_choice,
    check_integer,
    check_memory,
    check_seed,
    goal_mask,
)


def cut_at(probs, merit: Callable) -> np.ndarray:
    """The outcomes before the best cut of a sorted histogram, masks (..., K); probs (..., K).

    merit: one of `CUTS`, or another function from probabilities in falling order (..., K) to the merit of a
    cut after each but the last, (..., K − 1); the first of equals counts. Outcomes as likely as the last one
    taken are taken too, so their numbering does not matter, and of an even histogram all are.
    """
    probs = as_array(probs, "probs")
    as_distribution(probs, "probs")  # what is wrong is said of where it was given
    falling = -np.sort(-probs, axis=-1)
    # Made to sum to one when they are sorted: rounding, which decides between equals, knows no numbering.
    best = np.asarray(merit(as_distribution(falling, "probs"))).argmax(-1)[..., None]
    return probs >= np.take_along_axis(falling, best, -1)


def implied(falling: np.ndarray) -> np.ndarray:
    """kl(s, p) of the n likeliest outcomes, p = n/K, in nats: the goal that implies the most Op of all."""
    falling = as_measured(falling, "falling")
    k = falling.shape[-1]
    return binary_kl(np.clip(falling.cumsum(-1)[..., :-1], 0, 1), np.arange(1, k) / k)


def gaps(falling: np.ndarray) -> np.ndarray:
    """Each value less the next one; of logarithms, the ratio of neighbours."""
    return -np.diff(as_measured(falling, "falling"))


def spreads(values: np.ndarray) -> np.ndarray:
    """Sum of squares between the two sides of each cut: the best one leaves two means (Otsu 1979)."""
    values = as_measured(values, "values")
    k = values.shape[-1]
    n, total = np.arange(1, k), values.sum(-1, keepdims=True)
    return (values.cumsum(-1)[..., :-1] - total * n / k) ** 2 * k / (n * (k - n))


def logs(probs: np.ndarray) -> np.ndarray:
    """ln of probabilities, with the least positive number in place of 0."""
    return np.log(np.maximum(as_measured(probs, "probs"), np.finfo(float).tiny))


CUTS: dict[str, Callable] = {  # Op first; on square roots the noise of counts is alike
    "Op": implied,
    "largest ratio": lambda falling: gaps(logs(falling)),
    "largest difference": gaps,
    "difference of roots": lambda falling: gaps(np.sqrt(falling)),
    "two means": spreads,
    "two means of ln F": lambda falling: spreads(logs(falling)),
}


def named_from_few(probs, goal, rule: str, n: int, *, seed, repeats: int = 200) -> float:
    """Share of histograms of n outcomes, drawn from probs (K,), whose cut by one of the CUTS is the goal."""
    check_choice("rule", rule, CUTS)
    size, rng = check_integer("n", n, 1), np.random.default_rng(check_seed(seed))
    probs, times = as_distribution(probs, "probs"), check_integer("repeats", repeats, 1)
    if probs.ndim != 1:
        raise ValueError(f"probs: shape {probs.shape}, allowed is (K,)")
    check_memory("repeats", repeats, 32.0 * times * len(probs))
    drawn = rng.multinomial(size, probs, size=times) / size
    return float((cut_at(drawn, CUTS[rule]) == goal_mask(goal, drawn.shape[-1])).all(-1).mean())
