"""What a reader of the sequence knows that never multiplies sixteen numbers, and what that is worth.

Floor 2: a world is a Recurrence. Let G be the product that determines the next token. One step later a token
has entered its window and one has left, G' = G (s_t + 1) / (s_{t−w} + 1), and s_t tells G but for noise and
the reduction modulo K. A reader of n such pairs of lags (1 and w + 1, ..., n and w + n) knows G from them by
Bayes' rule. All in discrete logarithms, where products are sums.
"""

import numpy as np
from scipy.special import softmax

from .information import check_integer
from .statistics import Interval


def next_token(world, tokens, pairs: int = 0, *, known: int = 1, prior: bool = True) -> np.ndarray:
    """Probabilities (N, K) of the next token mod K, read from pairs; tokens (N, T >= w + pairs).

    known: the reader also knows the logarithm of G modulo this (1: nothing, q − 1: all of it), so G up to a
    subgroup; prior: it knows how often each product comes up in these tokens, else all are alike.
    """
    tokens = np.asarray(tokens)
    if tokens.shape[1] < world.window + check_integer("pairs", pairs, 0):
        raise ValueError(f"tokens: shape {tokens.shape}, allowed is (N, T >= {world.window + pairs})")
    order, tells = world.modulus - 1, world.table[:, 0]  # token 0 multiplies by one: P(x | logarithm of G)
    logs, now = world.logs[tokens].astype(int), np.arange(order)
    belief, earlier = np.zeros((len(tokens), order)), now[None]
    for lag in range(1, pairs + 1):  # `earlier`: what G must have been before these tokens
        earlier = (earlier - (logs[:, -lag] - logs[:, -lag - world.window])[:, None]) % order
        belief += _log(tells[earlier, tokens[:, -lag, None] % world.alphabet])
    end = tokens.shape[1] - pairs
    start = logs[:, end - world.window : end].sum(1) % order
    if prior:
        belief = belief + _log(np.bincount(start, minlength=order) / len(start))[earlier]
    same = (earlier - start[:, None]) % check_integer("known", known, 1) == 0
    return softmax(np.where(same, belief, -np.inf), axis=1) @ tells


def cross_entropy(world, sets, pairs: int = 0, *, known: int = 1) -> Interval:
    """Cross-entropy of `next_token` in nats, mean over sets of windows (N, T + 1) with a prior each.

    The last token is the one to tell. With the half width of a 95 % interval over windows.
    """
    means, errors = [], []
    for windows in sets:
        probs = next_token(world, windows[:, :-1], pairs, known=known)
        losses = -np.log(probs[np.arange(len(probs)), windows[:, -1] % world.alphabet])
        means.append(losses.mean())
        errors.append(losses.std() / np.sqrt(len(losses)))
    return float(np.mean(means)), float(1.96 * np.linalg.norm(errors) / len(errors))


def _log(probs: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # what never happens is worth −inf
        return np.log(probs)
