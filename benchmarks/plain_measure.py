"""The comparison in measuring: the post's procedure as a user would write it, pair after pair.

Without torch, so that the process whose memory is measured stays free of it.
"""

import numpy as np
from scipy.special import entr, rel_entr


def pairwise(histories, actions, world, seed: int) -> tuple[float, float]:
    """(Op, Imp) in nats: for each j, every other history i is answered by history j's action and one
    outcome is drawn; the entropies and divergences of these outcomes are averaged over j."""
    rng, n = np.random.default_rng(seed), len(histories)
    optimized = _shares(world.outcome_probs(histories, actions), rng)
    entropy, divergence = 0.0, 0.0
    for j in range(n):
        others = np.delete(histories, j, axis=0)
        counterfactual = _shares(world.outcome_probs(others, np.full(n - 1, actions[j])), rng)
        entropy += entr(counterfactual).sum() / n
        divergence += rel_entr(optimized, counterfactual).sum() / n
    return entropy - entr(optimized).sum(), divergence


def _shares(probs, rng) -> np.ndarray:
    """Share of each outcome when one is drawn from every row of probabilities (N, K)."""
    drawn = (rng.random((len(probs), 1)) > probs.cumsum(1)).sum(1).clip(max=probs.shape[1] - 1)
    return np.bincount(drawn, minlength=probs.shape[1]) / len(probs)
