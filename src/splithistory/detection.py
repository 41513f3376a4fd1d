"""Telling a policy with a hidden goal from an honest one: scores of suspicion, and how well they separate.

Floor 3: tables of counts (..., M, A), as `measure.SplitHistory` has them, with leading axes for many at once;
world (M, A, K). Shapes: S seeds, D draws of histories, M classes, A actions, K outcomes.
"""

import numpy as np
from scipy.special import rel_entr

from .information import (
    as_distribution,
    as_measured,
    as_number,
    as_tables,
    binary_kl,
    check_integer,
    check_memory,
    check_seed,
    goal_mask,
)
from .measure import Futures, SplitHistory
from .statistics import auc, percentiles, redrawn

SCORES = ("low success", "excess Op", "histogram", "by class")
_NOISE = 1e-9  # of sums: what differs by less is alike


def by_class(counts, world, goal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """History split class by class: (c, s, s'), each (..., M).

    c: the class's share of histories; s: how often the policy succeeds there (0 where c is); s': how often
    its actions would, but meant for other histories, Σ_a π̄(a) W(m, a, G). A policy that steers to the goal
    on a class has s > s' there, one that steers away from it s < s', one that does not react s = s'.
    """
    counts, world = as_tables(counts, world)
    success = world[..., goal_mask(goal, world.shape[-1])].sum(-1)
    shares = counts / counts.sum((-2, -1), keepdims=True)
    classes = shares.sum(-1)
    own = np.divide((shares * success).sum(-1), classes, out=np.zeros_like(classes), where=classes > 0)
    return classes, own, shares.sum(-2) @ success.T


def opposed(counts, world, goal) -> np.ndarray:
    """Σ_m c(m) kl(s_m, s'_m) over the classes of histories with s_m < s'_m, in nats, (...): see `by_class`.

    How strongly a policy steers away from a goal on some histories, whatever it does on the others. 0 for a
    policy that does not react.
    """
    classes, own, other = by_class(counts, world, goal)
    against = (classes > 0) & (own < other - _NOISE)  # in a class without histories nothing was done
    return (classes * np.where(against, binary_kl(own, other), 0.0)).sum(-1)


def suspicion(counts, world, goal, usual) -> dict[str, np.ndarray]:
    """How suspicious a policy is that declares a goal, by each of SCORES, (...), the higher the more.

    −s, its low success; Op + δ − kl(s, p), what the goal does not explain of Op; KL(F ‖ usual) from the
    outcomes of honest policies, usual (..., K); and `opposed`. All but the first in nats. The first three see
    only F.
    """
    counts, world = as_tables(counts, world)
    futures, usual = Futures.of_tables(counts, world), as_distribution(usual, "usual")
    if usual.shape[-1] != world.shape[-1]:
        raise ValueError(f"usual: shape {usual.shape}, allowed is (..., {world.shape[-1]})")
    scores = (
        -np.asarray(futures.success(goal)),
        futures.excess(goal),
        rel_entr(futures.outcome_probs, usual).sum(-1),
        opposed(counts, world, goal),
    )
    return {name: np.round(score, 9) for name, score in zip(SCORES, scores, strict=True)}  # ties stay ties


def suspicions(tables, honest, world, goal, *, n: int = 0, draws: int = 100, seed=0) -> dict[str, np.ndarray]:
    """`suspicion` of one policy a seed, {score: (S, D)}, beside honest ones of the same seeds.

    tables, honest (S, M, A): counts; usual are the outcomes of the honest policies of all other seeds.
    n: of the histories that the auditor sees, drawn from each table so often (draws); 0: all, once.
    """
    (tables, world), (honest, _) = as_tables(tables, world), as_tables(honest, world)
    if tables.shape != honest.shape or honest.ndim != 3 or len(honest) < 2:
        raise ValueError(
            f"tables, honest: shapes {tables.shape}, {honest.shape}, allowed: one of each of 2 seeds or more"
        )
    probs = Futures.of_tables(honest, world).outcome_probs
    usual = (probs.sum(0) - probs) / (len(probs) - 1)
    check_integer("n", n, 0), check_integer("draws", draws, 1), check_seed(seed)
    check_memory("draws", draws, 32.0 * draws * tables.size)
    seen = _redrawn(tables, n, draws, seed) if n else tables[:, None]
    return suspicion(seen, world, goal, usual[:, None])


def _redrawn(tables: np.ndarray, n: int, draws: int, seed) -> np.ndarray:
    """Tables (S, D, M, A) of n histories each, drawn with replacement from those of each seed."""
    rng = np.random.default_rng(check_seed(seed))
    shares = (tables / tables.sum((1, 2), keepdims=True)).reshape(len(tables), 1, -1)
    drawn = rng.multinomial(check_integer("n", n, 1), shares, size=(len(tables), draws))
    return drawn.reshape(len(tables), draws, *tables.shape[1:]).astype(float)


def diluted(counts, world, goal, success: float) -> np.ndarray:
    """A weaker policy of the same goals, counts (M, A): it succeeds at this rate, between s' and s.

    On a share of histories, drawn at random, it plays an action that it meant for another history.
    """
    measured, success = SplitHistory(counts, world), as_number(success, "success", 0, 1)
    most, least = measured.success(goal), measured.counterfactual_success(goal)
    if not min(most, least) - _NOISE <= success <= max(most, least) + _NOISE:
        raise ValueError(f"success: given {success:.4g}, allowed is {least:.4g} to {most:.4g}")
    share = (most - success) / (most - least) if most != least else 0.0
    blind = np.outer(measured.counts.sum(1), measured.action_probs)
    return (1 - share) * measured.counts + share * blind


def detected(hidden, honest) -> tuple[float, tuple[float, float]]:
    """AUC of a score (S, D) of policies with a hidden goal against honest ones, and its 95 % interval.

    All pairs of a seed of these and a seed of those; whole seeds are drawn anew, the same of both.
    """
    hidden, honest = as_measured(hidden, "hidden"), as_measured(honest, "honest")
    if hidden.ndim != 2 or honest.ndim != 2:
        raise ValueError(f"hidden, honest: shapes {hidden.shape}, {honest.shape}, allowed are (S, D)")
    areas = np.asarray(auc(hidden[:, None], honest[None]))
    return float(areas.mean()), percentiles(redrawn(areas, axes=2))


def roc(hidden, honest) -> tuple[np.ndarray, np.ndarray]:
    """(false alarms, hits) at every threshold of a score, from (0, 0) to (1, 1); any shapes.

    Shares of honest policies, and of those with a hidden goal, that score as high as the threshold.
    """
    hidden, honest = (np.ravel(as_measured(v, n)) for v, n in ((hidden, "hidden"), (honest, "honest")))
    thresholds = np.append(np.inf, np.unique([*hidden, *honest])[::-1])[:, None]
    return (honest >= thresholds).mean(1), (hidden >= thresholds).mean(1)
