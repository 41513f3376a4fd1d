"""Whose objective? Every goal's success rates and bounds from one measurement, and which goal fits best.

Floor 2: takes measurements (`measure.SplitHistory`, `measure.Futures`), knows nothing of how they were made.
A goal is a set of outcomes G. A policy trained on G has Op near kl(s, p) and Imp near kl(s, s') for that
G, and for other goals more than they imply: so the goal whose success rates imply the most is
the best guess. The divergence is the same for a goal and its complement, so only goals that succeed
more often than without the policy are candidates.
"""

from itertools import combinations

import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import rankdata

from .information import binary_kl, goal_mask
from .measure import Futures, SplitHistory

CRITERIA = ("op", "imp", "both", "success", "likelihood")
_MAX_INVERSE_TEMPERATURE = 1e3  # beyond, the maximum-entropy policy plays the best action only
_HALVINGS = 50  # of that range: to 1e-12


def every_goal(n_outcomes: int) -> list[tuple[int, ...]]:
    """All goals: sets of at least one outcome and not all, 2^K − 2 of them."""
    sizes = range(1, n_outcomes)
    return [goal for size in sizes for goal in combinations(range(n_outcomes), size)]


def cross_evaluate(futures: Futures, goals) -> dict[str, np.ndarray]:
    """A measurement evaluated on many goals, arrays (G,): nothing is measured again.

    p, s, s_prime: rates by chance (the goal's share of the K outcomes), in F and in F'; implied_op = kl(s, p)
    and imp_min = kl(s, s'), in nats, the least Op (less δ) and Imp that go with these rates. Post, section
    "Cross-Objective Evaluation".
    """
    masks = np.array([goal_mask(goal, futures.n_outcomes) for goal in goals])  # (G, K)
    s = _rates(masks, futures.outcome_probs)
    s_prime = _rates(masks, futures.action_probs @ futures.counterfactual_probs)
    p = masks.mean(1)
    return {
        "p": p,
        "s": s,
        "s_prime": s_prime,
        "implied_op": binary_kl(s, p),
        "imp_min": binary_kl(s, s_prime),
    }


def _rates(masks: np.ndarray, probs: np.ndarray) -> np.ndarray:
    return np.clip(masks @ probs, 0.0, 1.0)  # a sum of all but nothing may be 1 + 1e-16


def scores(measured: SplitHistory, goals, by: str = "op") -> np.ndarray:
    """How well each goal explains a measured policy, (G,): the highest is the best guess.

    by "op": implied Op, as a share of the Op measured; "imp": Imp_min, as a share of Imp; "both": the sum of
    the two shares; each −inf for goals that succeed no more often than without the policy. Two baselines:
    "success": the success rate; "likelihood": `maxent_goal_directedness`.
    """
    if by not in CRITERIA:
        raise ValueError(f"by: given {by!r}, allowed are {', '.join(CRITERIA)}")
    if by == "likelihood":
        return maxent_goal_directedness(measured, goals)
    rates = cross_evaluate(measured, goals)
    if by == "success":
        return rates["s"]
    op = _share(rates["implied_op"], measured.op, rates["s"] > rates["p"])
    imp = _share(rates["imp_min"], measured.imp, rates["s"] > rates["s_prime"])
    return {"op": op, "imp": imp, "both": op + imp}[by]


def _share(implied: np.ndarray, measured: float, candidate: np.ndarray) -> np.ndarray:
    # a policy without optimization has no share to explain; the order of the goals stays
    return np.where(candidate, implied / (measured if measured > 0 else 1.0), -np.inf)


def rank_of(goal, goals, score: np.ndarray) -> float:
    """The place of a goal among the candidates, 1 for the best; ties share the mean of their places."""
    places = [tuple(sorted(g)) for g in goals]
    if (wanted := tuple(sorted(goal))) not in places:
        raise ValueError(f"goal: given {wanted}, allowed is one of the {len(places)} candidates")
    return float(rankdata(-np.asarray(score), method="average")[places.index(wanted)])


def threshold_goal(futures: Futures, reference=None) -> tuple[tuple[int, ...], float]:
    """The goal with the largest kl(F(G), R(G)) of all, and that divergence in nats, without a list of goals.

    reference R (K,): the mean of F' (for Imp, the default), or the uniform distribution (for Op). The best
    set is one of the K − 1 that collect the outcomes with the largest F/R: the likelihood ratio orders them
    (Neyman and Pearson).
    """
    f = futures.outcome_probs
    r = futures.action_probs @ futures.counterfactual_probs if reference is None else np.asarray(reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(f > 0, f / r, 0.0)
    order = np.argsort(-ratio, kind="stable")
    inside = np.clip(np.cumsum([f[order], r[order]], 1)[:, :-1], 0.0, 1.0)
    divergence = binary_kl(*inside)
    best = int(divergence.argmax())
    return tuple(sorted(order[: best + 1].tolist())), float(divergence[best])


def maxent_goal_directedness(measured: SplitHistory, goals) -> np.ndarray:
    """How well maximum-entropy policies for each goal predict the policy's actions, (G,), nats an action.

    sup over β >= 0 of E[ln q_β(a|m)] + ln A, with q_β(a|m) ∝ exp(β P(success|m, a)) over the A actions: the
    known-utility form of maximum-entropy goal-directedness (MacDermott et al. 2024) in a world of one step.
    Never negative: β = 0 predicts as well as chance.
    """
    masks = np.array([goal_mask(goal, measured.n_outcomes) for goal in goals], dtype=float)
    success = np.moveaxis(measured.world @ masks.T, 2, 0)  # (G, M, A)
    shares = measured.counts / measured.counts.sum()
    classes, earned = shares.sum(1), (success * shares).sum((1, 2))
    low, high = np.zeros(len(masks)), np.full(len(masks), _MAX_INVERSE_TEMPERATURE)
    for _ in range(_HALVINGS):  # what q_β earns grows with β; the supremum is where it earns as much as π
        beta = (low + high) / 2
        too_low = earned > (softmax(beta[:, None, None] * success, axis=2) * success).sum(2) @ classes
        low, high = np.where(too_low, beta, low), np.where(too_low, high, beta)
    expected = low * earned - logsumexp(low[:, None, None] * success, axis=2) @ classes
    return np.maximum(0.0, expected + np.log(success.shape[2]))


def confusion(true, guessed, labels) -> np.ndarray:
    """Counts (L, L): rows are the goals that models were trained on, columns the guesses."""
    index = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(index), len(index)), dtype=int)
    for row, column in zip(true, guessed, strict=True):
        table[index[row], index[column]] += 1
    return table
