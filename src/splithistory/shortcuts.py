"""What a reader of the sequence knows that never multiplies sixteen numbers, and what that is worth.

Floor 2: a world is a Recurrence. Let G be the product that determines the next token. One step later a token
has entered its window and one has left, G' = G (s_t + 1) / (s_{t−w} + 1), and s_t tells G but for noise and
the reduction modulo K. A reader of n such pairs of lags (1 and w + 1, ..., n and w + n) knows G from them by
Bayes' rule. All in discrete logarithms, where products are sums. A reader of the sequence takes the last
token for evidence of G; one that knows it for an intervention takes it for a cause alone.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from .information import as_integers, as_list, as_rate, check_integer
from .statistics import Interval


def next_token(
    world,
    tokens,
    pairs: int = 0,
    *,
    known: int = 1,
    prior: bool = True,
    interventions: Sequence[float] = (),
) -> np.ndarray:
    """Probabilities (N, K) of the next token mod K, read from pairs; tokens (N, T >= w + pairs).

    known: the reader also knows the logarithm of G modulo this (1: nothing, q − 1: all of it), so G up to a
    subgroup; prior: it knows how often each product comes up in these tokens, else all are alike;
    interventions: how likely each token, from the last one back, is not the sequence's but uniformly random,
    which tells nothing of G (those further back: never).
    """
    tokens, rates = (
        as_integers(tokens, "tokens", world.n_tokens, "NT"),
        as_rate(interventions, "interventions"),
    )
    if rates.ndim != 1:
        raise ValueError(f"interventions: shape {rates.shape}, allowed is a list of rates")
    if tokens.shape[1] < world.window + check_integer("pairs", pairs, 0):
        raise ValueError(f"tokens: shape {tokens.shape}, allowed is (N, T >= {world.window + pairs})")
    order, tells = world.modulus - 1, world.table[:, 0]  # token 0 multiplies by one: P(x | logarithm of G)
    logs, now = world.logs[tokens], np.arange(order)
    belief, earlier = np.zeros((len(tokens), order)), now[None]
    random = dict(enumerate(rates, 1))  # by lag
    for lag in range(1, pairs + 1):  # `earlier`: what G must have been before these tokens
        earlier = (earlier - (logs[:, -lag] - logs[:, -lag - world.window])[:, None]) % order
        likely = tells[earlier, tokens[:, -lag, None] % world.alphabet]
        belief += _log(likely + random.get(lag, 0.0) * (1 / world.alphabet - likely))
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
    if not (sets := as_list(sets)):
        raise ValueError("sets: none given, allowed is at least one array of windows (N, T + 1)")
    for windows in sets:
        windows = as_integers(windows, "sets", world.n_tokens, "NT")
        probs = next_token(world, windows[:, :-1], pairs, known=known)
        losses = -np.log(probs[np.arange(len(probs)), windows[:, -1] % world.alphabet])
        means.append(losses.mean())
        errors.append(losses.std() / np.sqrt(len(losses)))
    return float(np.mean(means)), float(1.96 * np.linalg.norm(errors) / len(errors))


def answers(world, histories, pairs: int, *, interventions: Sequence[float] = ()) -> np.ndarray:
    """What a reader of pairs expects after each action on each of histories (N, T): (N, A, K).

    It stands where the world's answers do: SplitHistory(np.eye(A)[actions], answers) is what the reader says
    of a policy. interventions: as in `next_token`, the action first.
    """
    histories = as_integers(histories, "histories", world.n_tokens, "NT")
    actions = range(world.table.shape[1])
    pasts = [np.column_stack([histories, np.full(len(histories), a)]) for a in actions]
    told = [next_token(world, past, pairs, prior=False, interventions=interventions) for past in pasts]
    return np.stack(told, 1)


def _log(probs: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # what never happens is worth −inf
        return np.log(probs)
