"""Policies of a known world: optimal and softly optimal ones, learned ones, and how much they earn.

Floor 4. Worlds are `mdp.MDP`. A utility, (S,) by state or (S, A) by state and action, is earned at the steps
0..T−1; `final`, (S,), is that of the state after the last. With a `discount` γ < 1 there is no end: sums
Σ γ^t go on for ever, policies are stationary, (S, A), and nothing is final. Without one they are (T, S, A).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from .information import (
    as_array,
    as_distribution,
    as_integers,
    as_measured,
    as_number,
    as_reals,
    check_integer,
    check_seed,
    is_listed,
    shown,
)
from .mdp import MDP, policy_probs

_TIE = 1e-9  # actions whose values differ by less, relative to the best, are equally good
_ROUNDING = 1e-14  # what rounding may leave of the values of other states, where the best is 0
_SETTLED = 1e-12  # change of the value, relative to it, at which policy iteration ends
_ROUNDS = 200  # of policy iteration, which takes about ten
_DENSE = 0.1  # share of transitions that are possible, from which on full matrices are faster


def kernel(mdp: MDP):
    """The transition in the form that is solved fastest: (A, S, S), or the world's own sparse matrices."""
    possible = sum(matrix.nnz for matrix in mdp.transition)
    return mdp.dense() if possible > _DENSE * mdp.n_actions * mdp.n_states**2 else mdp.transition


def expected(transition, values: np.ndarray) -> np.ndarray:
    """Mean of values (S,) over the next state, by state and action, (S, A)."""
    values = as_measured(values, "values")
    return _expected(_matrices(transition, len(values)), values)


def _expected(transition, values: np.ndarray) -> np.ndarray:
    return np.stack([matrix @ values for matrix in transition], -1)


def _matrices(transition, n_states: int):
    """A transition as it is, or as an array (A, S, S) if it is neither one nor sparse matrices."""
    if isinstance(transition, tuple) and all(map(sparse.issparse, transition)):
        return transition
    array = as_measured(transition, "transition")
    if array.ndim != 3 or array.shape[1:] != (n_states, n_states):
        raise ValueError(f"transition: shape {array.shape}, allowed is (A, {n_states}, {n_states})")
    return array


def closed_loop(transition, policy: np.ndarray):
    """How a policy (S, A) moves the state: Σ_a π(a|s) P_a(s, s'), (S, S), sparse if the transition is."""
    as_distribution(policy, "policy")
    policy = as_array(policy, "policy")
    transition = _matrices(transition, len(policy))
    if policy.shape != (len(policy), len(transition)):
        raise ValueError(f"policy: shape {policy.shape}, allowed is ({len(policy)}, {len(transition)})")
    return _closed_loop(transition, policy)


def _closed_loop(transition, policy: np.ndarray):
    if isinstance(transition, np.ndarray):
        return np.einsum("sa,ast->st", policy, transition)
    return sum(sparse.diags_array(policy[:, a]) @ matrix for a, matrix in enumerate(transition))


def solve(matrix, discount: float, right: np.ndarray) -> np.ndarray:
    """x (S,) of (I − γ M) x = right: what is earned from each state on, if `right` is earned in each."""
    right, discount = as_measured(right, "right"), as_discount(discount)
    if not sparse.issparse(matrix):
        matrix = as_measured(matrix, "matrix")
    if right.ndim != 1 or matrix.shape != (len(right), len(right)):
        raise ValueError(
            f"matrix, right: shapes {matrix.shape} and {right.shape}, allowed are (S, S) and (S,)"
        )
    return _solve(matrix, discount, right)


def _solve(matrix, discount: float, right: np.ndarray) -> np.ndarray:
    if sparse.issparse(matrix):
        return spsolve(sparse.csc_array(sparse.eye_array(len(right)) - discount * matrix), right)
    return np.linalg.solve(np.eye(len(right)) - discount * matrix, right)


def soft_maximum(values: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """(1/β) ln of the mean over actions of e^{βQ}, and π ∝ e^{βQ}; values (..., A) -> (...), (..., A).

    β = 0 gives the mean and an even policy, β = ∞ the maximum and the best actions alike (ties as in
    `greedy`); β < 0 prefers the worst. It is the most that E Q − KL(π ‖ even)/β can be.
    """
    return _soft_maximum(as_measured(values, "values"), _inverse_temperature(beta))


def _soft_maximum(values: np.ndarray, beta: float, rounding: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """`soft_maximum` of values that hold rounding of each other, relative to the middle state's."""
    best = (values if beta >= 0 else -values).max(-1, keepdims=True) * (1 if beta >= 0 else -1)
    if np.isinf(beta):
        close = np.abs(values - best) <= _TIE * np.abs(best) + rounding * _middle(best)
        return best[..., 0], close / close.sum(-1, keepdims=True)
    if beta == 0:
        return values.mean(-1), np.full(values.shape, 1 / values.shape[-1])
    behind = beta * (values - best)
    if not np.isfinite(behind).all():
        raise ValueError(f"beta: given {beta:g} for values up to {np.abs(values).max():g}, allowed is less")
    weights = np.exp(behind)
    above = np.log1p(np.expm1(behind).mean(-1)) / beta  # exact for small β, too
    return best[..., 0] + above, weights / weights.sum(-1, keepdims=True)


def _middle(best: np.ndarray) -> float:
    """How large the best value is in the middle state: one that is forbidden counts no more."""
    return float(np.quantile(np.abs(best), 0.5, method="lower"))


def _inverse_temperature(beta) -> float:
    """β as a float, infinite ones too; ValueError if it is no number."""
    array = as_reals(beta, "beta")
    if array.ndim or np.isnan(array):
        raise ValueError(f"beta: given {shown(beta)}, allowed is a number")
    return float(array)


def soft_value_iteration(mdp: MDP, utility=0.0, *, final=0.0, beta=1.0, discount=None, start=None):
    """The policy that earns most less KL(π ‖ even)/β a step, and its value: maximum entropy, softly optimal.

    Returns (policy, value): (T, S, A) and (T + 1, S), by backward recursion; with a discount (S, A) and (S,),
    by policy iteration, from the value `start` if given. β per unit of utility: 0 is even, ∞ optimal, below 0
    it avoids. Values are measured from the even policy, V = (1/β) ln mean_a e^{βQ}, so they are finite at
    β = 0 and ln π(a|s) + ln A = β (Q(s, a) − V(s)). Ziebart 2010; Haarnoja et al. 2017.
    """
    (utility, final), beta = _utilities(mdp, utility, final), _inverse_temperature(beta)
    if discount is not None:
        return _stationary(kernel(mdp), utility, beta, as_discount(discount), start)
    values, policy = [final], []
    for _ in range(mdp.horizon):
        value, played = _soft_maximum(utility + _expected(mdp.transition, values[-1]), beta, _ROUNDING)
        values.append(value)
        policy.append(played)
    return np.stack(policy[::-1]), np.stack(values[::-1])


def _stationary(transition, utility, beta, discount, start):
    """Newton's method for V = softmax of Q; each step values the policy that the last one gives."""
    n_states = utility.shape[0]
    value = np.zeros(n_states) if start is None else as_measured(start, "start")
    if value.shape != (n_states,):
        raise ValueError(f"start: shape {value.shape}, allowed is ({n_states},)")
    last = np.inf
    for _ in range(_ROUNDS):
        better, policy = _soft_maximum(utility + discount * _expected(transition, value), beta, _ROUNDING)
        rise = better - value
        value = value + _solve(_closed_loop(transition, policy), discount, rise)
        if _settled(np.abs(rise), np.abs(value), last):
            return policy, value
        last = np.abs(rise).max()
    raise ValueError(f"discount: given {discount}, policy iteration did not settle in {_ROUNDS} rounds")


def _settled(rise: np.ndarray, size: np.ndarray, last: float) -> bool:
    """Whether a value is as good as it gets: in each state, or only rounding of the largest is left."""
    stuck = rise.max() > last / 2 and rise.max() <= _SETTLED * size.max()
    return bool(stuck or (rise <= _SETTLED * size).all())


def value_iteration(mdp: MDP, utility=0.0, *, final=0.0, discount=None):
    """The optimal policy and its value, as from `soft_value_iteration`; equally good actions alike.

    Equally good: as in `greedy`, or they differ by less than 1e-14 of the value of the middle state, since
    gains and costs that cancel leave rounding of what they were. The anti-optimal policy is that of −utility.
    """
    return soft_value_iteration(mdp, utility, final=final, beta=np.inf, discount=discount)


def greedy(values) -> np.ndarray:
    """The policy that plays the action of the highest value, (..., S, A) -> (..., S, A); ties alike.

    A tie is a difference of at most 1e-9 of the state's best value, whatever other states are worth: far more
    than a sum rounds, for values are learned or iterated. Where the best is 0, only equal values tie.
    """
    return soft_maximum(values, np.inf)[1]


def epsilon_greedy(policy, epsilon) -> np.ndarray:
    """A policy (..., A) that with probability ε plays any action alike."""
    policy, epsilon = as_distribution(policy, "policy"), as_number(epsilon, "epsilon", 0, 1)
    return (1 - epsilon) * policy + epsilon / policy.shape[-1]


def visits(mdp: MDP, policy, *, discount=None) -> np.ndarray:
    """Where a policy goes: P(S_t = s), (T + 1, S); with a discount Σ_t γ^t P(S_t = s), (S,)."""
    if discount is None:
        return mdp.states(policy)
    return _solve(
        _closed_loop(kernel(mdp), _stationary_probs(mdp, policy)).T, as_discount(discount), mdp.initial
    )


def occupancy(mdp: MDP, policy, *, discount=None) -> np.ndarray:
    """What a policy does where: P(S_t = s, A_t = a), (T, S, A); with a discount Σ_t γ^t of it, (S, A)."""
    states = visits(mdp, policy, discount=discount)
    if discount is None:
        return states[:-1, :, None] * policy_probs(mdp, policy)
    return states[:, None] * _stationary_probs(mdp, policy)


def earned(mdp: MDP, policy, utility=0.0, *, final=0.0, discount=None) -> float:
    """Expected sum of a utility under a policy."""
    utility, final = _utilities(mdp, utility, final)
    total = (occupancy(mdp, policy, discount=discount) * utility).sum()
    return float(total + (visits(mdp, policy)[-1] @ final if discount is None else 0.0))


def q_learning(
    mdp: MDP,
    utility=0.0,
    *,
    final=0.0,
    stages: Sequence[int] = (100, 1000, 10_000),
    seeds: Iterable[int] = (0,),
    epsilon: float = 0.1,
    rate: float = 0.1,
) -> dict[int, np.ndarray]:
    """Tabular Q-learning (Watkins 1989): {episodes so far: Q (E, S, A)}, a learner for each of the E seeds.

    Learners are ε-greedy, ties at random, from Q = 0, and know nothing of the time: Q(s, a) moves by `rate`
    towards utility + max Q(s'), at the last step towards utility + final(s'). `greedy` makes policies of Q.
    A learner's draws are its own, whoever learns beside it.
    """
    utility, final = _utilities(mdp, utility, final)
    epsilon, rate = as_number(epsilon, "epsilon", 0, 1), as_number(rate, "rate", 0, 1)
    stages = as_integers(stages, "stages", 2**31, "E").tolist()
    check_integer("stages", min(stages), 1)
    if not is_listed(seeds) or not (seeds := list(seeds)):
        raise ValueError(f"seeds: given {shown(seeds)}, allowed is a list of integers >= 0")
    rngs = [np.random.default_rng(check_seed(seed)) for seed in seeds]
    utility = np.broadcast_to(utility, (mdp.n_states, mdp.n_actions))
    members, kept = np.arange(len(rngs)), {}
    q = np.zeros((len(rngs), mdp.n_states, mdp.n_actions))
    for episode in range(1, max(stages) + 1):
        start, chance = zip(*(_chance(mdp, rng) for rng in rngs), strict=True)
        state = np.array(start)
        for t, (explore, step, *order) in enumerate(np.stack(chance, -1)):
            own, order = q[members, state], np.stack(order, -1)
            open_ = (own == own.max(-1, keepdims=True)) | (explore < epsilon)[:, None]
            action = np.where(open_, order, -1.0).argmax(-1)
            following = mdp.following(state, action, step)
            ahead = final[following] if t == mdp.horizon - 1 else q[members, following].max(-1)
            q[members, state, action] += rate * (utility[state, action] + ahead - q[members, state, action])
            state = following
        if episode in stages:
            kept[episode] = q.copy()
    return kept


def _chance(mdp: MDP, rng) -> tuple[int, np.ndarray]:
    """All that is drawn for an episode: the first state; uniform numbers (T, 2 + A)."""
    return rng.choice(mdp.n_states, p=mdp.initial), rng.random((mdp.horizon, 2 + mdp.n_actions))


def _utilities(mdp: MDP, utility, final) -> tuple[np.ndarray, np.ndarray]:
    """A utility as (S, A) or (S, 1), and what is final as (S,); ValueError for other shapes."""
    (s, a), utility, final = (
        (mdp.n_states, mdp.n_actions),
        as_measured(np.atleast_1d(as_array(utility, "utility")), "utility"),
        as_measured(np.atleast_1d(as_array(final, "final")), "final"),
    )
    if utility.shape not in ((1,), (s,), (s, a)):
        raise ValueError(f"utility: shape {utility.shape}, allowed is ({s},) or ({s}, {a})")
    if final.shape not in ((1,), (s,)):
        raise ValueError(f"final: shape {final.shape}, allowed is ({s},)")
    utility = utility if utility.ndim == 2 else np.broadcast_to(utility, (s,))[:, None]
    return utility, np.broadcast_to(final, (s,))


def _stationary_probs(mdp: MDP, policy) -> np.ndarray:
    """A policy as probabilities (S, A); ValueError if it changes with time."""
    probs = policy_probs(mdp, policy)
    if (probs != probs[0]).any():
        raise ValueError(f"policy: shape {np.shape(policy)}, allowed with a discount is one for all times")
    return probs[0]


def as_discount(discount) -> float:
    """γ as a float; ValueError unless it is in [0, 1)."""
    if not 0 <= (number := as_number(discount, "discount")) < 1:
        raise ValueError(f"discount: given {shown(discount)}, allowed is a number in [0, 1)")
    return number
