"""Split-history measures of a policy: optimization (Op) and impact (Imp), in nats.

Floor 2: knows arrays and callables, nothing of sequences or transformers. A *history* h is what
the policy sees, an *action* a what it does, an *outcome* f in 0..K-1 what the world makes of both.
History is split in two: the policy answers one past while the world continues another.
"""

from collections.abc import Callable
from typing import Literal, Self, overload

import numpy as np
from scipy.special import entr, rel_entr

from .estimators import bias_corrected
from .information import (
    as_array,
    as_distribution,
    as_goal,
    binary_kl,
    check_choice,
    check_integer,
    check_level,
    check_seed,
    goal_mask,
    not_negative,
    shown,
    to_numpy,
)
from .procedure import CONDITIONS, sampled
from .resampling import FEW, futures, resampled

QUANTITIES = ("op", "imp", "delta", "narrowing")  # what a measurement is asked for by name
_RESAMPLES = 2000


class Futures:
    """An optimized future F and the counterfactual futures F' it is compared with.

    action_probs (J,): weight of each counterfactual, here the rate π̄(a) at which its action is played.
    outcome_probs (K,): F, the outcomes when the policy answers the history that the world continues.
    counterfactual_probs (J, K): D_a, the outcomes when the action is a whatever the history.
    Everything else (Op, Imp, success rates, bounds) follows from these three. Made by `of_tables` or
    `reweighted` they have leading axes, and so has everything that follows.
    """

    def __init__(self, action_probs, outcome_probs, counterfactual_probs):
        self.action_probs = as_distribution(action_probs, "action_probs")
        self.outcome_probs = as_distribution(outcome_probs, "outcome_probs")
        self.counterfactual_probs = as_distribution(counterfactual_probs, "counterfactual_probs")
        expected = (len(self.action_probs), len(self.outcome_probs))
        one = self.action_probs.ndim == self.outcome_probs.ndim == 1
        if not one or self.counterfactual_probs.shape != expected:
            raise ValueError(
                f"counterfactual_probs: shape {self.counterfactual_probs.shape}, allowed is {expected}"
            )

    @classmethod
    def of_tables(cls, counts: np.ndarray, world: np.ndarray) -> "Futures":
        """Of many tables (..., M, A) in one world (M, A, K) at once, without validation."""
        return cls.unvalidated(*futures(counts, world))

    @classmethod
    def unvalidated(cls, action_probs, outcome_probs, counterfactual_probs) -> Self:
        """Of distributions by construction, which may have leading axes, as they are."""
        made = cls.__new__(cls)
        made.action_probs, made.outcome_probs = action_probs, outcome_probs
        made.counterfactual_probs = counterfactual_probs
        return made

    def reweighted(self, action_probs: np.ndarray) -> "Futures":
        """The same futures with other weights (..., J) of the counterfactuals, many at once, unvalidated."""
        return Futures.unvalidated(action_probs, self.outcome_probs, self.counterfactual_probs)

    @property
    def n_outcomes(self) -> int:
        """K, the number of outcomes."""
        return self.outcome_probs.shape[-1]

    @property
    def op(self) -> float:
        """Optimization Σ_a π̄(a) H(D_a) − H(F), in nats, by the mean of the entropies given the action."""
        return self._mean(entr(self.counterfactual_probs).sum(-1)) - _scalar(entr(self.outcome_probs).sum(-1))

    @property
    def imp(self) -> float:
        """Impact Σ_a π̄(a) KL(F ‖ D_a), in nats; infinite where F has an outcome that a D_a lacks."""
        each = rel_entr(self.outcome_probs[..., None, :], self.counterfactual_probs).sum(-1)
        return _scalar(not_negative(self._mean(each)))

    @property
    def delta(self) -> float:
        """δ = ln K − Σ_a π̄(a) H(D_a) >= 0, in nats, how far the unoptimized future is from uniform."""
        mean = self._mean(entr(self.counterfactual_probs).sum(-1))
        return _scalar(not_negative(np.log(self.n_outcomes) - mean))

    @property
    def narrowing(self) -> float:
        """ln K − H(F) = Op + δ >= 0, in nats, how far the future is from uniform, whoever made it so."""
        return self._each(not_negative(np.log(self.n_outcomes) - entr(self.outcome_probs).sum(-1)))

    def success(self, goal) -> float:
        """s, the probability in F of an outcome in `goal`."""
        return self._each(self.outcome_probs[..., goal_mask(goal, self.n_outcomes)].sum(-1))

    def counterfactual_success(self, goal) -> float:
        """s', the mean probability in F' of an outcome in `goal`."""
        return self._mean(self._rates(goal)[1][..., 0])

    def implied_op(self, goal) -> float:
        """kl(s, p) in nats, with p the goal's share of the K outcomes (see `information.implied_op`)."""
        goal = as_goal(goal, self.n_outcomes)
        return _scalar(binary_kl(self.success(goal), len(goal) / self.n_outcomes))

    def excess(self, goal) -> float:
        """Op + δ − kl(s, p) >= 0, in nats: what unevenness within success and within failure adds to Op."""
        return _scalar(not_negative(self.op + self.delta - self.implied_op(goal)))

    def imp_min(self, goal) -> float:
        """kl(s, s'), in nats, the least impact that explains the two success rates (post, Appendix A)."""
        rates, by_action = self._rates(goal)
        mixed = np.stack([self._mean(by_action[..., i]) for i in (0, 1)], -1)
        return _scalar(not_negative(rel_entr(rates, mixed).sum(-1)))

    def decomposition(self, goal) -> dict[str, float]:
        """The terms of both identities, in nats.

        Op  = op_success_rate + op_within_success + op_within_failure − delta
        Imp = imp_success_rate + imp_within_success + imp_within_failure
        with kl(s, p) and Σ_a π̄(a) kl(s, s'_a) as the success-rate terms; the others are the cost of
        preferring some successes, or some failures, over others.
        """
        goal = as_goal(goal, self.n_outcomes)
        mask, (rates, by_action) = goal_mask(goal, self.n_outcomes), self._rates(goal)
        uniform = np.full(self.n_outcomes, 1 / self.n_outcomes)
        terms = {"op_success_rate": self.implied_op(goal)}
        terms["op_within_success"] = self._each(_within(self.outcome_probs, uniform, mask))
        terms["op_within_failure"] = self._each(_within(self.outcome_probs, uniform, ~mask))
        terms["delta"] = self.delta
        terms["imp_success_rate"] = self._mean(not_negative(rel_entr(rates[..., None, :], by_action).sum(-1)))
        for name, part in (("success", mask), ("failure", ~mask)):
            within = _within(self.outcome_probs[..., None, :], self.counterfactual_probs, part)
            terms[f"imp_within_{name}"] = self._mean(within)
        return terms

    def merged(self, groups) -> "Futures":
        """The same, seen less sharply: groups of outcomes, which partition them, as the only outcomes."""

        def seen(probs):
            return np.stack([probs[..., list(group)].sum(-1) for group in groups], -1)

        try:
            listed = sorted(int(o) for group in groups for o in as_goal(group, self.n_outcomes))
        except TypeError:
            listed = []
        if listed != list(range(self.n_outcomes)):
            allowed = f"a partition of 0..{self.n_outcomes - 1}"
            raise ValueError(f"groups: given {shown(groups)}, allowed is {allowed}")
        return Futures.unvalidated(
            self.action_probs, *map(seen, (self.outcome_probs, self.counterfactual_probs))
        )

    def mixed(self) -> "Futures":
        """The counterfactual futures mixed before they are compared with F: Op = H(F') − H(F)."""
        mixture = self.action_probs[..., None, :] @ self.counterfactual_probs
        return Futures.unvalidated(np.ones((*mixture.shape[:-2], 1)), self.outcome_probs, mixture)

    def _rates(self, goal) -> tuple[np.ndarray, np.ndarray]:
        # of success and failure (..., 2), in F and by action; 1 − s would lose a failure of 1e-17
        mask = goal_mask(goal, self.n_outcomes)
        both = self.outcome_probs, self.counterfactual_probs
        of_f, by_action = (np.stack([p[..., mask].sum(-1), p[..., ~mask].sum(-1)], -1) for p in both)
        return of_f, by_action

    def _each(self, of_future: np.ndarray) -> float:
        # what follows from F alone is the same for all weights
        return _scalar(np.broadcast_to(of_future, self.action_probs.shape[:-1]))

    def _mean(self, by_action: np.ndarray) -> float:
        # an action that is never played does not count, even if its divergence is infinite
        by_action = np.where(self.action_probs > 0, by_action, 0.0)
        return _scalar((self.action_probs * by_action).sum(-1))


class Measured(Futures):
    """Futures of a policy that was measured, so that every number has an interval over what was drawn."""

    def interval(self, quantity, level: float = 0.95) -> tuple:
        """(low, high) for `quantity`: a property's name, or a function of Futures with a leading axis."""
        raise NotImplementedError

    def scalars(self, goal=None) -> dict[str, float]:
        """The measurement in numbers, information in nats, ends of its intervals as _low and _high.

        delta, op and imp with intervals; given a goal also s and gap = op − implied_op with intervals,
        implied_op, s_prime and imp_min.
        """
        quantities = {"op": lambda f: f.op, "imp": lambda f: f.imp}
        if goal is not None:
            quantities |= {"s": lambda f: f.success(goal), "gap": lambda f: f.op - f.implied_op(goal)}
        scalars = {"delta": self.delta}
        ends = self.interval(lambda f: np.stack([of(f) for of in quantities.values()], -1))
        for (name, of), low, high in zip(quantities.items(), *ends, strict=True):
            scalars |= {name: of(self), f"{name}_low": low, f"{name}_high": high}
        if goal is not None:  # last, so that columns stand alike with a goal and without
            scalars["implied_op"] = self.implied_op(goal)
            scalars["s_prime"] = self.counterfactual_success(goal)
            scalars["imp_min"] = self.imp_min(goal)
        return scalars

    def _function(self, quantity) -> Callable:
        if callable(quantity):
            return quantity
        if not isinstance(quantity, str) or quantity not in QUANTITIES:
            names = ", ".join(QUANTITIES)
            raise ValueError(f"quantity: given {shown(quantity)}, allowed are a function, {names}")
        return lambda measured: getattr(measured, quantity)

    @staticmethod
    def _ends(value: np.ndarray, low, high, least, most) -> tuple:
        """An interval (low, high) around a value that reaches `least` to `most` with a case left out.

        Both ends are infinite where the value is; one is where only a case left out makes it so.
        """
        ends = np.where(np.isinf(least), least, low), np.where(np.isinf(most), most, high)
        low, high = (np.where(np.isinf(value), value, end)[()] for end in ends)
        return low, high

    @staticmethod
    def _many(found, n: int, value: np.ndarray) -> np.ndarray:
        """A quantity (n, ...) of n Futures at once; ValueError unless each has the shape of `value`."""
        found = np.asarray(found)
        if found.shape != (n, *value.shape):
            given = f"{found.shape} for {n} at once and {value.shape} for one"
            raise ValueError(f"quantity: returned shape {given}, allowed is the same behind a leading axis")
        return found


class SplitHistory(Measured):
    """A policy measured in a world: the one table that every split-history measure needs.

    counts (M, A): how many histories of class m were answered by action a (fractional for a
    stochastic policy); world (M, A, K): W(m, a, f), the world's answer. The world's noise is
    marginalised, so no estimate here suffers from empty outcome cells; what is left is the draw
    of the histories, and `interval` tells how much it matters.
    """

    def __init__(self, counts, world):
        self.counts = as_array(counts, "counts")
        self.world = as_distribution(world, "world")
        if self.counts.ndim != 2 or self.world.shape[:-1] != self.counts.shape:
            raise ValueError(
                f"counts, world: shapes {self.counts.shape}, {self.world.shape}, allowed (M, A) and (M, A, K)"
            )
        if (self.counts < 0).any() or self.counts.sum() <= 0:
            raise ValueError("counts: negative or all zero, allowed is a table of counts with a positive sum")
        super().__init__(*futures(self.counts, self.world))

    @property
    def n_histories(self) -> int:
        """N, the number of histories in the table."""
        return round(float(self.counts.sum()))

    def __add__(self, other: "SplitHistory") -> "SplitHistory":
        """The measurement on both sets of histories together (two halves make a whole)."""
        if not np.array_equal(self.world, other.world):
            raise ValueError(
                "world: the two measurements were made in different worlds, allowed is the same table"
            )
        return SplitHistory(self.counts + other.counts, self.world)

    def interval(self, quantity, level: float = 0.95, *, seed: int = 0) -> tuple:
        """Bias-corrected bootstrap interval for `quantity`, over the draw of histories.

        quantity: a property's name ("op", "imp", "delta") or a function of the Futures. The function is given
        many resampled Futures at once, whose properties have a leading axis, and must keep that axis
        first; what it returns may have further axes, and so have the two ends then.
        The table is resampled as a multinomial; the bootstrap's bias is subtracted and its standard
        error gives a normal interval. Meant for deterministic policies: the cells of a stochastic one are
        resampled as if its actions had been drawn, which widens the interval; and for a policy whose
        Imp is near zero it is only approximate.
        """
        check_level(level)
        value, draws = self._bootstrap(quantity, seed)
        return bias_corrected(value, draws, level)

    def corrected(self, quantity, *, seed: int = 0):
        """`quantity` less the bootstrap's estimate of its bias: the centre of every `interval`.

        As it is where it is infinite, or is on a resampled table: there the bias has no estimate.
        """
        value, draws = self._bootstrap(quantity, seed)
        with np.errstate(invalid="ignore"):
            return np.where(np.isfinite(draws).all(0), 2 * value - draws.mean(0), value)[()]

    def _bootstrap(self, quantity, seed) -> tuple:
        """(value, values on resampled tables); in chunks, so that large tables fit in memory."""
        function = self._function(quantity)
        if self.n_histories < 2 or abs(self.counts.sum() - self.n_histories) > 1e-6 * self.n_histories:
            raise ValueError(
                f"counts: sum {self.counts.sum():.6g}, allowed here are counts of 2 histories or more"
            )
        rng, n = np.random.default_rng(check_seed(seed)), self.n_histories
        chunks = [Futures.unvalidated(*f) for f in resampled(self.counts, self.world, n, _RESAMPLES, rng)]
        value = np.asarray(function(self))
        draws = [self._many(function(chunk), len(chunk.outcome_probs), value) for chunk in chunks]
        return value[()], np.concatenate(draws)


@overload
def split_history(
    histories,
    policy,
    world,
    *,
    n_actions=None,
    method: Literal["exact"] = "exact",
    condition="action",
    seed=None,
) -> SplitHistory: ...
@overload
def split_history(
    histories, policy, world, *, n_actions=None, method: str, condition="action", seed=None
) -> Futures: ...
def split_history(
    histories, policy, world, *, n_actions=None, method="exact", condition="action", seed=None
) -> Futures:
    """Measure `policy` in `world` on a set of histories.

    histories (N, T), handed on as NumPy; policy(histories) -> (N,) integer actions or (N, A)
    probabilities; world(histories, actions) -> (N, K) probabilities, or an object that also has
    `classes(histories)` -> (N,) and `table` (M, A, K), which makes 10⁶ histories cheap.

    method "exact" averages over every pair (history of the world, history of the policy) and over
    the world's noise, and returns a SplitHistory; "sampled" is the post's procedure: actions and
    outcomes are drawn (from `seed`), pairs of a history with itself are left out, entropies are plug-in,
    and Imp is infinite, with a UserWarning, where a counterfactual future lacks an outcome that F has.
    condition "action": F' given the action, the post's algorithm; "history": F' given the history
    that the policy saw, which differs only for a stochastic policy and costs memory M·N·K.

    ValueError if an argument has the wrong shape, or a policy or world does not return probabilities.

    >>> import numpy as np
    >>> from splithistory import split_history
    >>> histories = np.random.default_rng(0).integers(0, 3, size=(1000, 1))  # what is seen: 0, 1 or 2
    >>> table = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])  # P(action | history)
    >>> def policy(histories):
    ...     return table[histories[:, 0]]
    >>> def world(histories, actions):  # the outcome is 0 where the action meets the history
    ...     return np.eye(3)[(histories[:, 0] - actions) % 3]
    >>> measured = split_history(histories, policy, world)
    >>> print(f"Op {measured.op:.2f}, Imp {measured.imp:.2f} nats, success {measured.success([0]):.2f}")
    Op 0.46, Imp 0.46 nats, success 0.80
    """
    check_choice("method", method, ("exact", "sampled"))
    check_choice("condition", condition, CONDITIONS)
    if seed is not None:  # whether it is used or not
        check_seed(seed)
    histories = _histories(histories)
    n_actions = _n_actions(world, n_actions)
    probs = _policy_probs(policy(histories.copy()), len(histories), n_actions)  # a copy: it may be written to
    classes, table = _tabulate(histories, world, probs.shape[1])
    if method == "sampled":
        return Futures(*sampled(classes, probs, table, condition, seed))
    if condition == "action":
        return SplitHistory(_counts(classes, probs, len(table)), table)
    # each history's mixed action becomes an action of its own
    counts = np.zeros((len(table), len(histories)))
    counts[classes, np.arange(len(histories))] = 1
    return SplitHistory(counts, np.einsum("na,mak->mnk", probs, table))


def _counts(classes: np.ndarray, probs: np.ndarray, n_classes: int) -> np.ndarray:
    """(M, A): the policy's probabilities summed over the histories of each class."""
    counts = np.zeros((n_classes, probs.shape[1]))
    if n_classes > FEW:
        np.add.at(counts, classes, probs)
    else:  # few classes: a masked sum each beats a scattered add
        for m in range(n_classes):
            counts[m] = probs[classes == m].sum(0)
    return counts


def _within(probs: np.ndarray, reference: np.ndarray, part: np.ndarray) -> np.ndarray:
    """P(part) · KL(P given part ‖ Q given part), in nats.

    Zero if P never lands in the part, and if Q never does: the success-rate term is infinite then.
    """
    probs, reference = probs[..., part], reference[..., part]
    mass, reference_mass = probs.sum(-1, keepdims=True), reference.sum(-1, keepdims=True)
    apart = (mass == 0) | (reference_mass == 0)
    within = rel_entr(probs / np.where(apart, 1, mass), reference / np.where(apart, 1, reference_mass))
    return not_negative(np.where(apart, 0.0, mass * within).sum(-1))


def _scalar(value):
    """A float, or the array of a batch as it is."""
    return float(value) if np.ndim(value) == 0 else value


def _histories(histories) -> np.ndarray:
    histories = to_numpy(histories, "histories")
    if histories.ndim != 2 or len(histories) == 0:
        raise ValueError(f"histories: shape {histories.shape}, allowed is (N, T) with N >= 1")
    return histories


def _n_actions(world, n_actions) -> int | None:
    """How many actions there are: what the world's table says, what the caller says, or None."""
    if n_actions is not None:
        check_integer("n_actions", n_actions, 1)
    if not hasattr(world, "table"):
        return n_actions
    shape = np.shape(world.table)
    if len(shape) != 3 or n_actions not in (None, shape[1]):
        raise ValueError(
            f"n_actions: given {n_actions} with a table of shape {shape}, allowed is (M, n_actions, K)"
        )
    return shape[1]


def _policy_probs(answer, n: int, n_actions: int | None) -> np.ndarray:
    """What a policy returned, as probabilities (N, A)."""
    answer = to_numpy(answer, "policy")
    if answer.ndim == 2 and len(answer) == n and n_actions in (None, answer.shape[1]):
        return as_distribution(answer, "policy")
    if answer.shape != (n,) or not np.issubdtype(answer.dtype, np.integer):
        expected = f"({n},) integers or ({n}, {n_actions or 'A'}) probabilities"
        raise ValueError(f"policy: returned shape {answer.shape} of {answer.dtype}, allowed is {expected}")
    n_actions = n_actions or int(answer.max()) + 1
    if answer.min() < 0 or answer.max() >= n_actions:
        raise ValueError(f"policy: actions {answer.min()} to {answer.max()}, allowed is 0..{n_actions - 1}")
    return np.eye(n_actions)[answer]


def _tabulate(histories, world, n_actions: int):
    """(classes (N,), table (M, A, K)); without structure each history is its own class."""
    if hasattr(world, "table"):
        classes, table = to_numpy(world.classes(histories), "world"), as_distribution(world.table, "world")
        integers = classes.shape == (len(histories),) and np.issubdtype(classes.dtype, np.integer)
        if not integers or classes.min() < 0 or classes.max() >= len(table):
            allowed = f"{len(histories)} integers in 0..{len(table) - 1}"
            raise ValueError(f"world: classes {classes.shape} of {classes.dtype}, allowed are {allowed}")
        return classes, table
    n, answers = len(histories), []
    for a in range(n_actions):  # copies, for either side may use its arrays again
        answers.append(np.array(to_numpy(world(histories.copy(), np.full(n, a)), "world")))
        if answers[a].ndim != 2 or len(answers[a]) != n or answers[a].shape != answers[0].shape:
            said = f"world: returned shape {answers[a].shape} for action {a}"
            raise ValueError(f"{said}, allowed is ({n}, K) probabilities, with the same K for every action")
    return np.arange(n), as_distribution(np.stack(answers, 1), "world")
