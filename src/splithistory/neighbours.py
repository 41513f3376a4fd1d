"""Neighbours of Op and Imp in a known world: what else has been proposed to measure agents by, in nats.

Floor 5. Worlds are `mdp.MDP`, policies what `split_mdp` takes, utilities as in `planning`. All is computed
from the world's own probabilities; only `plasticity` may draw.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import entr, rel_entr

from .information import (
    as_array,
    as_distribution,
    as_measured,
    as_number,
    check_choice,
    check_integer,
    check_memory,
    check_seed,
    shown,
)
from .mdp import MDP, policy_probs
from .planning import as_discount, closed_loop, earned, expected, kernel, soft_value_iteration, solve, visits
from .procedure import draw
from .statistics import Interval, t_interval

_STRONGEST = 1e7  # β times all that there is to gain: beyond it rounding would show
_ROUNDING = 1e-12  # of what a reward is made of: if no more is left of it, nothing is
_GRADIENT = 1e-6  # a utility whose gradient has no larger entry is as good as it gets
_TARGET = 1e-8  # where the search stops
_CELLS = 4_000_000  # numbers held at once


# --- goal-directedness ------------------------------------------------------------------------------------


class Directedness(NamedTuple):
    """Maximum-entropy goal-directedness of a policy, and the softly optimal policy that predicts it best.

    value: nats an episode, from 0 to ln A a step; beta: its inverse temperature, per unit of utility;
    utility: the one found, None if it was given; gradient: largest entry of what is left of it; converged:
    whether that is as small as it has to be.
    """

    value: float
    beta: float
    utility: np.ndarray | None
    gradient: float
    converged: bool


def meg(mdp: MDP, policy, utility=0.0, *, final=0.0, discount=None, both_signs: bool = False) -> Directedness:
    """How much better than chance the pursuit of a known utility predicts what a policy does.

    sup over β >= 0 of Σ_t γ^t E_π[ln π_β(A_t|S_t) + ln A], with π_β from `soft_value_iteration`; equal to
    β (E_π U − E V_β), so concave, with derivative E_π U − E_{π_β} U. both_signs: β < 0 too, so that to avoid
    a utility counts as well. MacDermott et al. 2024 (arXiv 2412.04758); in a world of one step it is
    `objectives.maxent_goal_directedness`. The unit of the utility changes nothing; one that no policy can
    change shows no direction: 0.
    """
    earn = {"utility": utility, "final": final, "discount": discount}
    own = earned(mdp, policy, **earn)

    def soft(beta: float) -> tuple[np.ndarray, float]:
        played, value = soft_value_iteration(mdp, beta=beta, **earn)
        return played, _at_start(mdp, value)

    def slope(beta: float) -> float:
        return own - earned(mdp, soft(beta)[0], **earn)

    gain = soft(np.inf)[1] - soft(-np.inf)[1]
    if gain <= 10 * _ROUNDING * _largest_sum(mdp, **earn):  # rounding: no policy can change this utility
        return Directedness(0.0, 0.0, None, 0.0, True)
    beta = _root(slope, gain)
    if not beta and both_signs:
        beta = -_root(lambda b: -slope(-b), gain)
    value = beta * (own - soft(beta)[1])
    return Directedness(max(0.0, float(value)), beta, None, abs(slope(beta)) if beta else 0.0, True)


def _largest_sum(mdp: MDP, utility, final, discount) -> float:
    """The most that absolute utilities can add up to: what is gained is a difference of such sums."""
    sizes = {name: np.abs(as_array(each, name)) for name, each in (("utility", utility), ("final", final))}
    return _at_start(mdp, soft_value_iteration(mdp, beta=np.inf, discount=discount, **sizes)[1])


def _root(slope, gain: float) -> float:
    """The β >= 0 at which a falling slope vanishes, 0 or the largest if it has no root between them."""
    if slope(0.0) <= 0:
        return 0.0
    edge = 1 / gain
    while slope(edge) > 0:
        if edge * gain > _STRONGEST:
            return edge
        edge *= 2
    return float(brentq(slope, 0.0, edge, xtol=1e-13 / gain))


def meg_unknown(mdp: MDP, policy, *, last: bool = False, discount=None, rounds: int = 2000) -> Directedness:
    """How much better than chance the pursuit of some utility predicts what a policy does.

    The most that `meg` can be over all utilities U of states (S,), earned in every state that is visited, or
    of outcomes (K,), of the last state only (last): max over U of ⟨d_π, U⟩ − E V(U) at β = 1, which is
    concave, with gradient d_π − d_{π_U}, the visits that U does not explain. By L-BFGS from U = 0; it has
    converged if no entry of the gradient is above 10⁻⁶. A policy that never draws is explained best at
    infinity: its value is then approached from below. U is found up to what no policy can change.
    MacDermott et al. 2024 take plain gradient steps.
    """
    if last and discount is not None:
        raise ValueError(f"last: given with discount {discount}, allowed is one of the two: it has no end")
    check_integer("rounds", rounds, 1, 2**30)
    parts = mdp.outcome if last else np.eye(mdp.n_states)
    seen, start = _counted(mdp, policy, parts, last, discount), None

    def missing(utility: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal start
        each = parts @ utility
        earn = {"utility": 0.0 if last else each, "final": each if discount is None else 0.0}
        played, value = soft_value_iteration(mdp, **earn, discount=discount, start=start)
        start = value if discount is not None else None  # the next utility is close by
        counted = _counted(mdp, played, parts, last, discount)
        return _at_start(mdp, value) - seen @ utility, counted - seen

    search = {"gtol": _TARGET, "ftol": 0.0, "maxcor": 30, "maxiter": rounds, "maxfun": 2 * rounds}
    found = minimize(missing, np.zeros(parts.shape[1]), jac=True, method="L-BFGS-B", options=search)
    left = float(np.abs(found.jac).max())
    if left > _GRADIENT:  # a search that rounding broke off may go on from where it is
        found = minimize(missing, found.x, jac=True, method="L-BFGS-B", options=search)
        left = float(np.abs(found.jac).max())
    return Directedness(max(0.0, -float(found.fun)), 1.0, found.x, left, left <= _GRADIENT)


def _counted(mdp: MDP, policy, parts, last: bool, discount) -> np.ndarray:
    """Expected visits of each part (K,) of the states, in all or only in the last."""
    states = visits(mdp, policy, discount=discount)
    return (states if discount is not None else states[-1] if last else states.sum(0)) @ parts


def _at_start(mdp: MDP, value: np.ndarray) -> float:
    return float(mdp.initial @ (value if value.ndim == 1 else value[0]))


# --- what actions can do, and what they do ----------------------------------------------------------------


def capacity(channel, *, tolerance: float = 1e-6, rounds: int = 20_000) -> np.ndarray:
    """Capacity max_p I(A; F) of channels (..., A, K), nats, by the algorithm of Blahut and Arimoto (1972).

    Between Σ p KL(P_a ‖ q) and max_a KL(P_a ‖ q), the two bounds that it stops on when they are within
    `tolerance`; the lower one is returned. Inputs that are nearly alike hold it up: now and then it goes on
    from where sequential quadratic programming leads. RuntimeError if it does not stop in so many rounds.
    """
    channel, tolerance = as_distribution(channel, "channel"), as_number(tolerance, "tolerance", 1e-12)
    check_integer("rounds", rounds, 1)
    if channel.ndim < 2:
        raise ValueError(f"channel: shape {channel.shape}, allowed is (..., A, K)")
    shape = channel.shape[:-2]
    channel = channel.reshape(-1, *channel.shape[-2:])
    inputs = np.full(channel.shape[:-1], 1 / channel.shape[-2])
    found, left = np.zeros(len(channel)), np.arange(len(channel))
    for turn in range(rounds):
        gain = _gains(channel, inputs)
        most, low = gain.max(-1), (inputs * gain).sum(-1)
        if (done := most - low <= tolerance).any():
            found[left[done]] = low[done]
            left, channel, inputs, gain = (each[~done] for each in (left, channel, inputs, gain))
            if not len(left):
                return np.maximum(0.0, found).reshape(shape)
        inputs = inputs * np.exp(gain - gain.max(-1, keepdims=True))
        inputs /= inputs.sum(-1, keepdims=True)
        if turn % 1000 == 500:
            inputs = np.stack([_advanced(*each) for each in zip(channel, inputs, strict=True)])
    raise RuntimeError(f"capacity: bounds {(most - low).max():.2g} nats apart after {rounds} rounds")


def _gains(channel: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """KL(P_a ‖ q) of each input (..., A), nats; q: the outputs of channels (..., A, K) under the inputs."""
    return rel_entr(channel, (inputs[..., None, :] @ channel)).sum(-1)


def _advanced(channel: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Inputs (A,) of one channel (A, K) that are better than these, among those that gain most."""
    few = np.argsort(-_gains(channel, inputs))[: 4 * channel.shape[1]]

    def lost(p: np.ndarray) -> tuple[float, np.ndarray]:
        gain = _gains(channel[few], p := np.maximum(p, 1e-300))
        return -float(p @ gain), 1 - gain

    whole = {"type": "eq", "fun": lambda p: p.sum() - 1, "jac": np.ones_like}
    search = {"bounds": [(0, 1)] * len(few), "options": {"ftol": 1e-16, "maxiter": 200}}
    start = inputs[few] / inputs[few].sum()
    found = minimize(lost, start, jac=True, constraints=whole, method="SLSQP", **search)
    better = np.full_like(inputs, 1e-12)  # none is lost to the algorithm
    better[few] += np.maximum(found.x, 0)
    return better / better.sum()


def empowerment(mdp: MDP, *, steps: int = 1) -> np.ndarray:
    """How much could be steered from each state, (S,), nats: the capacity from plans to where they lead.

    Plans are all A^steps sequences of actions, played blindly: n-step empowerment, Salge et al. 2013 (arXiv
    1310.1863), with the state as what is sensed. A property of the world: no policy enters. ValueError if
    there are too many plans.
    """
    n_states, n_plans = mdp.n_states, mdp.n_actions ** min(64, check_integer("steps", steps, 1))
    if n_plans * n_states > _CELLS:
        raise ValueError(
            f"steps: given {shown(steps)}, {n_plans:,} plans, allowed are at most {_CELLS // n_states:,}"
        )
    block = max(1, _CELLS // (n_plans * n_states))
    return np.concatenate(
        [_empowered(mdp, i, min(i + block, n_states), steps) for i in range(0, n_states, block)]
    )


def _empowered(mdp: MDP, first: int, end: int, steps: int) -> np.ndarray:
    """Of the states first..end−1."""
    where = np.eye(mdp.n_states)[:, first:end]  # (S, plans so far × states)
    for _ in range(steps):
        where = np.hstack([mdp.step(where, a) for a in range(mdp.n_actions)])
    channel = where.T.reshape(-1, end - first, mdp.n_states).swapaxes(0, 1)
    reached = channel.max(1)  # states that no plan reaches are left out
    width = max(1, int((reached > 0).sum(1).max()))
    columns = np.argsort(-reached, axis=1, kind="stable")[:, None, :width]
    return capacity(np.take_along_axis(channel, columns, 2))


def causal_influence(mdp: MDP, policy) -> np.ndarray:
    """I(S'; A | S = s) at each step in each state, (T, S), nats: how much the next state tells of the action.

    Actions are drawn from the policy; an even one makes it a property of the world. Seitzer et al. 2021
    (arXiv 2106.03443). A policy that does not draw has none. Summed over `mdp.states(policy)[:-1]`, it is
    nats an episode.
    """
    probs = policy_probs(mdp, policy)
    steps = probs[:1] if (probs == probs[0]).all() else probs
    noise = np.stack([_entropies(matrix) for matrix in mdp.transition], -1)  # (S, A)
    mixed = np.stack([_entropies(closed_loop(mdp.transition, played)) for played in steps])
    return np.broadcast_to(np.maximum(0.0, mixed - (steps * noise).sum(-1)), probs.shape[:2])


def _entropies(matrix) -> np.ndarray:
    """Entropy of each row of a sparse matrix, nats."""
    each = matrix.tocsr(copy=True)
    each.data = entr(each.data)
    return np.asarray(each.sum(1)).ravel()


# --- plasticity -------------------------------------------------------------------------------------------


def plasticity(mdp: MDP, policy, *, method="sampled", n_sequences: int = 1000, seed=None) -> Interval:
    """How much what is seen tells of what is done: `Σ_t I(S_0..S_t; A_t | A_0..A_{t−1})`, nats an episode.

    The directed information from observations, here the states, to actions, over the whole episode and for
    this policy in this world; nothing is maximised. It is what the generalised directed information of Abel
    et al. 2025 (arXiv 2505.10361) becomes for two whole sequences (Massey 1990); and since the policy sees no
    more than the state, it is `H(A_0..A_{T−1}) − Σ_t E H(π(·|S_t))`. A plan has none, and so has any policy
    that does not draw where nothing is random: the actions alone tell the state.

    (mean, half width). "sampled": sequences of actions are drawn, and given each the belief about the state,
    so each term, is exact: an unbiased mean, 95 % t interval. "exact": over all sequences, half width 0;
    ValueError if there are too many.
    """
    check_choice("method", method, ("sampled", "exact"))
    probs = policy_probs(mdp, policy)
    if method == "exact":
        return _plasticity_exact(mdp, probs), 0.0
    rng = np.random.default_rng(check_seed(seed))
    check_memory(
        "n_sequences", n_sequences, 32.0 * check_integer("n_sequences", n_sequences, 2) * mdp.n_states
    )
    belief = np.tile(mdp.initial[:, None], check_integer("n_sequences", n_sequences, 2))
    total = np.zeros(n_sequences)
    for played in probs:
        predicted, told = _told(belief, played)
        total += told
        belief = _believed(mdp, belief, played, draw(predicted, rng))
    return t_interval(total)


def _plasticity_exact(mdp: MDP, probs: np.ndarray) -> float:
    belief, weight, total = mdp.initial[:, None], np.ones(1), 0.0
    for played in probs:
        predicted, told = _told(belief, played)
        total += float(weight @ told)
        sequence, action = np.nonzero(predicted)
        if len(sequence) * mdp.n_states > _CELLS:
            allowed = f"at most {_CELLS // mdp.n_states:,}, or method='sampled'"
            raise ValueError(
                f"horizon: {len(sequence):,} sequences, allowed for method='exact' are {allowed}"
            )
        weight = weight[sequence] * predicted[sequence, action]
        belief = _believed(mdp, belief[:, sequence], played, action)
    return total


def _told(belief: np.ndarray, played: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Given the actions so far, P(a) (N, A) and I(S_t; A_t) (N,); belief (S, N), played (S, A)."""
    predicted = belief.T @ played
    return predicted, np.maximum(0.0, entr(predicted).sum(-1) - entr(played).sum(-1) @ belief)


def _believed(mdp: MDP, belief: np.ndarray, played: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The belief about the next state (S, N), given actions (N,) as well."""
    weighed, moved = belief * played[:, action], np.empty_like(belief)
    for a in range(mdp.n_actions):
        moved[:, action == a] = mdp.step(weighed[:, action == a], a)
    return moved / moved.sum(0)


# --- distances between rewards ----------------------------------------------------------------------------


def starc(mdp: MDP, reward, other, *, discount: float) -> float:
    """How far two rewards are apart, from 0 to 2: 0 if they order all policies alike, 2 if oppositely.

    Euclidean distance of their advantages under the even policy, R(s,a) − V(s) + γ E V(S'), each of length
    one: the value-adjusted levelling of Skalse et al. 2024 (arXiv 2309.15257). Rewards (S,), (S, A) or
    (S, A, S), by the next state too; potential shaping and scale change nothing. A reward that no policy can
    change has no direction: its distance from another is 1, from its like 0.
    """
    discount = as_discount(discount)
    one, two = (_advantage(mdp, _reward(mdp, r), discount) for r in (reward, other))
    return float(np.linalg.norm(_unit(one) - _unit(two)))


def _advantage(mdp: MDP, reward: np.ndarray, discount: float) -> np.ndarray:
    """(S, A), of rewards (S, A, S) under the even policy; 0 where only rounding is left of them."""
    mean, size = (
        np.stack([matrix.multiply(r[:, a]).sum(1) for a, matrix in enumerate(mdp.transition)], -1)
        for r in (reward, np.abs(reward))
    )
    even = closed_loop(kernel(mdp), np.full(mean.shape, 1 / mdp.n_actions))
    value = solve(even, discount, mean.mean(-1))
    found = mean - value[:, None] + discount * expected(mdp.transition, value)
    least = _ROUNDING * max(size.max(), np.abs(value).max())
    return found if np.abs(found).max() > least else np.zeros_like(found)


def _unit(values: np.ndarray) -> np.ndarray:
    """Of length one, however small; zeros as they are."""
    scaled = _scaled(values)
    return scaled / np.linalg.norm(scaled) if scaled.any() else scaled


def _scaled(values: np.ndarray) -> np.ndarray:
    """Divided by the largest, so that squares of small ones are not 0; zeros as they are."""
    most = np.abs(values).max()
    return values / most if most else values


def epic(mdp: MDP, reward, other, *, discount: float) -> float:
    """How far two rewards are apart, from 0 to 1, after Gleave et al. 2021 (arXiv 2006.13900).

    √((1 − ρ)/2) of the correlation ρ between R(s,a,s') + E[γR(s',A,S') − R(s,A,S') − γR(S,A,S')], with S, A
    and S' drawn evenly and apart; the correlation is over even (s, a) and the world's own s'. Rewards as in
    `starc`; potential shaping by the next state, scale and constants change nothing. ValueError if one is
    constant after that: it has no correlation.
    """
    discount = as_discount(discount)
    canonical = [_canonical(_scaled(_reward(mdp, r)), discount) for r in (reward, other)]
    weight = mdp.dense().swapaxes(0, 1) / (mdp.n_states * mdp.n_actions)  # (S, A, S)
    one, two = (c - (weight * c).sum() for c in canonical)
    spreads = [np.sqrt((weight * c**2).sum()) for c in (one, two)]
    for name, spread in zip(("reward", "other"), spreads, strict=True):
        if spread <= _ROUNDING:
            raise ValueError(f"{name}: constant up to shaping, allowed is one that tells transitions apart")
    correlation = np.clip((weight * one * two).sum() / np.prod(spreads), -1, 1)
    return float(np.sqrt((1 - correlation) / 2))


def _canonical(reward: np.ndarray, discount: float) -> np.ndarray:
    mean = reward.mean((1, 2))  # (S,): of a state, over even actions and next states
    return reward + discount * mean - mean[:, None, None] - discount * mean.mean()


def _reward(mdp: MDP, reward) -> np.ndarray:
    """A reward (S,), (S, A) or (S, A, S) as (S, A, S)."""
    reward, shape = as_measured(reward, "reward"), (len(mdp.initial), len(mdp.transition), len(mdp.initial))
    if reward.shape not in (shape[:1], shape[:2], shape):
        raise ValueError(f"reward: shape {reward.shape}, allowed are {shape[:1]}, {shape[:2]} and {shape}")
    return np.broadcast_to(reward.reshape(reward.shape + (1,) * (3 - reward.ndim)), shape)
