"""Split history for an agent in a simulator: the actions of one episode, replayed in others; in nats.

Floor 3; how episodes are played is for `simulators`. An *episode* is driven by the randomness ω that
`reset(seed=...)` fixes. Closed loop, the policy answers the episode that the world continues: F = f(ω, π(ω)).
Split, an episode gets the actions of another: F' = f(ω', π(ω'')). ω' and ω'' must be independent, so the
seeds of the episodes whose actions are replayed are other ones than those that they are replayed under: no
sequence meets its own episode again.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing

import numpy as np
from scipy.special import stdtrit

from .information import check_integer, check_level, check_memory, shown, to_numpy
from .measure import Futures, Measured
from .simulators import Binned, Simulator, random_actions, replays, seeds

__all__ = ["Binned", "SplitEpisodes", "compare_episodes", "random_actions", "split_episodes"]

Progress = Callable[[int, int], None]  # (sequences replayed, sequences in all)
_HALF = 0.5  # so ln q has no bias of first order, where q is known from enough replays
_CELLS = 2_000_000  # of a batch of tables


class _Possible(Futures):
    """Futures whose Imp is taken against others, in which nothing is impossible that did happen."""

    possible: Futures

    @property
    def imp(self) -> float:
        """Impact, in nats, by the mean of KL(F ‖ F' | A); never infinite, see `SplitEpisodes`."""
        return self.possible.imp

    def decomposition(self, goal) -> dict[str, float]:
        """The terms of both identities, in nats, as in `measure.Futures`."""
        of_imp = self.possible.decomposition(goal)
        return super().decomposition(goal) | {k: v for k, v in of_imp.items() if k.startswith("imp")}

    def merged(self, groups) -> "_Possible":
        """The same, seen less sharply, as in `measure.Futures`; Imp against what is possible there."""
        return _Possible._beside(super().merged(groups), self.possible.merged(groups))

    def mixed(self) -> "_Possible":
        """The counterfactual futures mixed, as in `measure.Futures`; Imp against what is possible there."""
        return _Possible._beside(super().mixed(), self.possible.mixed())

    def reweighted(self, action_probs: np.ndarray) -> "_Possible":
        """Other weights (..., J) of the counterfactuals, as in `measure.Futures`, unvalidated."""
        return _Possible._beside(super().reweighted(action_probs), self.possible.reweighted(action_probs))

    @staticmethod
    def _beside(seen: Futures, possible: Futures) -> "_Possible":
        """What was seen, with the futures that its Imp is taken against."""
        made = _Possible.unvalidated(seen.action_probs, seen.outcome_probs, seen.counterfactual_probs)
        made.possible = possible
        return made


class SplitEpisodes(_Possible, Measured):
    """An agent measured in a simulator: outcomes of its own episodes, and of sequences × seeds replayed.

    outcomes (E,): of its own episodes, closed loop; replays (N, M): of sequence i under seed j; integers in
    0..K-1. F is the share of each outcome in its own episodes, and each sequence is a counterfactual
    future of its own, of weight 1/N: its shares over the M seeds. For Imp alone half a replay is added to a
    sequence, shared out as all outcomes together are: what did happen is then never impossible, which would
    make Imp infinite by chance. See `unseen`. Imp_min is kl(s, s') of the shares as they are: infinite where
    the goal was met, but in no replay (or missed, but in none), and then larger than this Imp.

    The properties (op, imp, ...) are those of these shares, and so biased by about (K-1)/2M: `corrected` and
    `interval` are the estimates.
    """

    def __init__(self, outcomes, replays, n_outcomes: int):
        check_integer("n_outcomes", n_outcomes, 2)
        self.outcomes = _as_outcomes(outcomes, "outcomes", n_outcomes, (2,))
        self.replays = _as_outcomes(replays, "replays", n_outcomes, (1, 2))
        check_memory("n_outcomes", n_outcomes, 8.0 * n_outcomes * self.replays.size)
        self._own = np.bincount(self.outcomes, minlength=n_outcomes)
        self._counts = _one_hot(self.replays, n_outcomes).sum(1)  # (N, K)
        own, shares = self._own / self.n_episodes, self._counts / self.n_seeds
        super().__init__(np.full(self.n_sequences, 1 / self.n_sequences), own, shares)
        self._together = (own + shares.mean(0)) / 2
        with_half = self._with_half(shares, self.n_seeds)
        self.possible = Futures.unvalidated(self.action_probs, own, with_half)

    @property
    def n_episodes(self) -> int:
        """E, the number of episodes of its own."""
        return len(self.outcomes)

    @property
    def n_sequences(self) -> int:
        """N, the number of sequences of actions that were replayed."""
        return len(self.replays)

    @property
    def n_seeds(self) -> int:
        """M, the number of seeds that each was replayed under."""
        return self.replays.shape[1]

    @property
    def unseen(self) -> float:
        """How much of F is in outcomes that a sequence's replays never showed, mean over the sequences.

        Where it is not near 0, Imp depends on what is rarer than 1/M and is not told by M seeds: it may be
        anything from what is estimated up to infinite. Op does not depend on it.
        """
        return float((self.outcome_probs * (self._counts == 0)).sum(1).mean())

    def corrected(self, quantity):
        """`quantity` less the jackknife's estimate of its bias: the centre of every `interval`.

        As it is where it is infinite, or is with a case left out: there the bias has no estimate. What half a
        replay is shared out by, for Imp, stays that of all episodes and replays while cases are left out.
        """
        value, bias, _, (low, high) = self._jackknife(quantity)
        with np.errstate(invalid="ignore"):
            return _plain(np.where(np.isinf(low) | np.isinf(high), value, value - bias))

    def interval(self, quantity, level: float = 0.95) -> tuple:
        """Bias-corrected jackknife interval (low, high) for `quantity`.

        quantity: a property's name ("op", "imp", "delta") or a function of the Futures, which is given many
        at once and must keep their leading axis first. Episodes, sequences and seeds are three independent
        draws, each left out one by one: biases and variances add (sequences and seeds are crossed, what
        is due to both together counts twice, which widens the interval a little). A t interval, with
        the degrees of freedom of the smallest of the three. For a quantity that cannot be negative and is
        near zero (Imp of an agent that hardly reacts) it is only approximate. Infinite ends where the
        quantity is infinite; one infinite end where it is only with a case left out.
        """
        check_level(level)
        value, bias, variance, reach = self._jackknife(quantity)
        least = min(n for n in (self.n_episodes, self.n_sequences, self.n_seeds) if n > 1)
        half = stdtrit(least - 1, (1 + level) / 2) * np.sqrt(variance)
        with np.errstate(invalid="ignore"):  # of what is infinite
            ends = value - bias - half, value - bias + half
        low, high = self._ends(value, *ends, *reach)
        return _plain(low), _plain(high)

    def _with_half(self, shares: np.ndarray, n: int) -> np.ndarray:
        """Shares (..., K) of n replays, and half a replay more that went as all went together."""
        return (n * shares + _HALF * self._together) / (n + _HALF)

    def _jackknife(self, quantity) -> tuple:
        """(value, bias, variance, (least, most)) of a quantity over all three draws; how far it reaches.

        A case without which it is infinite counts as if it changed nothing.
        """
        function = self._function(quantity)
        value = np.asarray(function(self), dtype=np.float64)
        bias, variance, low, high = np.zeros_like(value), np.zeros_like(value), value, value
        for n, shares, batches in self._left_out():
            found = [self._many(function(b), len(b.action_probs), value) for b in batches]
            values = np.concatenate(found)
            low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
            values = np.where(np.isinf(values), value, values)
            with np.errstate(invalid="ignore"):  # of a value that is infinite itself
                mean = np.tensordot(shares, values, 1)
                bias += (n - 1) * (mean - value)
                variance += (n - 1) * np.tensordot(shares, (values - mean) ** 2, 1)
        return value, bias, variance, (low, high)

    def _left_out(self) -> Iterator[tuple[int, np.ndarray, Iterator[Futures]]]:
        """Of each draw: its size, how often each case occurs (a share), and the Futures of each case."""
        kinds = np.flatnonzero(self._own)  # all own episodes of one outcome are one case
        without = (self._own - np.eye(self.n_outcomes)[kinds]) / (self.n_episodes - 1)
        yield self.n_episodes, self._own[kinds] / self.n_episodes, iter([self._batch(outcomes=without)])
        for n, batches in ((self.n_sequences, self._without_sequence), (self.n_seeds, self._without_seed)):
            if n > 1:  # another agent's future is a single one
                yield n, np.full(n, 1 / n), batches()

    def _without_sequence(self) -> Iterator[Futures]:
        for i in self._chunks(self.n_sequences):
            others = np.arange(self.n_sequences) != i[:, None]
            yield self._batch(weights=others / (self.n_sequences - 1))

    def _without_seed(self) -> Iterator[Futures]:
        for j in self._chunks(self.n_seeds):
            counts = self._counts - _one_hot(self.replays[:, j].T, self.n_outcomes)
            yield self._batch(shares=counts / (self.n_seeds - 1), n=self.n_seeds - 1)

    def _chunks(self, n: int) -> Iterator[np.ndarray]:
        size = max(1, _CELLS // self._counts.size)
        return (np.arange(start, min(n, start + size)) for start in range(0, n, size))

    def _batch(self, weights=None, outcomes=None, shares=None, n: int | None = None) -> Futures:
        """Many Futures at once: one of the three has a leading axis, the others are as they are."""
        given = weights, outcomes, shares
        size = next(len(part) for part in given if part is not None)
        own = self.action_probs, self.outcome_probs, self.counterfactual_probs
        weights, outcomes, shares = (
            np.broadcast_to(whole, (size, *whole.shape)) if part is None else part
            for part, whole in zip(given, own, strict=True)
        )
        with_half = self._with_half(shares, n or self.n_seeds)
        seen, possible = (Futures.unvalidated(weights, outcomes, each) for each in (shares, with_half))
        return _Possible._beside(seen, possible)


def _plain(value: np.ndarray):
    """A float, or an array as it is."""
    return value if value.ndim else float(value)


def split_episodes(
    make_env,
    policy,
    outcome,
    *,
    n_outcomes: int,
    horizon: int,
    n_sequences: int = 200,
    n_seeds: int = 200,
    n_episodes: int | None = None,
    seed: int,
    idle=None,
    trajectory: bool = False,
    workers: int | Executor = 0,
    progress: Progress | None = None,
) -> SplitEpisodes:
    """Measure `policy` in a simulator: N sequences of its actions, each replayed under M seeds.

    make_env: () -> gymnasium.Env, or an id such as "CartPole-v1". By its id an environment that registers a
    vectorised form replays a sequence under all seeds at once; that form is reset with the first seed alone,
    so the replays are not those of `lambda: gymnasium.make(id)` under the same `seed`, though equally random.
    policy(observation) -> action; a policy with a memory has `reset()`, called before each episode. It may
    draw: what it did is recorded.
    outcome(observation, info) -> 0..K-1, of the last observation; trajectory=True: of the list of all. info
    is that of the last step, with "episode" added: "r", the sum of its rewards, "l", its number of steps, as
    `gymnasium.wrappers.RecordEpisodeStatistics` has it. See `Binned` for numbers.
    horizon: steps after which the outcome is read; an episode that ended before rests where it ended.
    n_sequences, n_seeds: N and M, 2 or more: from one alone no interval could tell how much the draw matters.
    n_episodes: of its own, closed loop, for F; 5 M if None. They cost little beside the N·M replays.
    idle: the action that continues a recorded sequence whose own episode ended before the one it is replayed
    in; or a function of the number of steps done, for a plan that would have gone on.
    workers: 0 for this process; so many processes of this machine (the environment and the outcome must
    then be functions of a module, and a script needs its ``if __name__ == "__main__"``); or any
    `concurrent.futures.Executor`, such as that of a Dask cluster, `Client(address).get_executor()`. The
    result is the same. The policy stays in this process.
    progress(done, total): called after each sequence (with workers, after each batch of them).

    ValueError: an argument or an action is not allowed, `idle` is needed and not given, or the seed does not
    fix the environment: every recorded sequence is first replayed under its own seed, where it must lead to
    the same end.

    Split history: post, section "Measuring optimization"; of crossed samples: Owen (2007), arXiv 0712.1111.
    """
    check_integer("horizon", horizon, 1)
    for name, value in (("n_sequences", n_sequences), ("n_seeds", n_seeds)):
        check_integer(name, value, 2)
    n_episodes = check_integer("n_episodes", 5 * n_seeds if n_episodes is None else n_episodes, 2)
    simulator = Simulator(make_env, outcome, _checked_number(n_outcomes, outcome), horizon, idle, trajectory)
    own, recorded, under = seeds(seed, n_episodes, n_sequences, n_seeds)
    with closing(simulator.make()) as env:
        outcomes = [simulator.closed_loop(env, policy, s).outcome for s in own]
        sequences = [simulator.recorded(env, policy, s) for s in recorded]
    rows: list[list[int]] = []
    for some in replays(simulator, sequences, under, workers):
        rows += some
        if progress is not None:
            progress(len(rows), n_sequences)
    return SplitEpisodes(outcomes, rows, n_outcomes)


def compare_episodes(
    make_env,
    policy,
    reference,
    outcome,
    *,
    n_outcomes: int,
    horizon: int,
    n_episodes: int = 1000,
    seed: int,
    trajectory: bool = False,
) -> SplitEpisodes:
    """Measure `policy` against the future of another: Op = H(F_ref) − H(F), Imp = KL(F ‖ F_ref), in nats.

    reference(observation) -> action, closed loop under seeds of its own: one that does nothing, as
    `lambda observation: 0`, `random_actions`, or another agent. So nothing is replayed, and the only
    counterfactual future is the reference's. The other arguments, and errors, as in `split_episodes`.
    """
    check_integer("n_episodes", n_episodes, 2)
    check_integer("horizon", horizon, 1)
    simulator = Simulator(make_env, outcome, _checked_number(n_outcomes, outcome), horizon, None, trajectory)
    drawn = seeds(seed, n_episodes, n_episodes)
    with closing(simulator.make()) as env:
        own, other = (
            [simulator.closed_loop(env, agent, s).outcome for s in under]
            for agent, under in zip((policy, reference), drawn, strict=True)
        )
    return SplitEpisodes(own, [other], n_outcomes)


def _checked_number(n_outcomes: int, outcome) -> int:
    """n_outcomes; ValueError: too few, or not as many as the outcome has bins."""
    n_outcomes = check_integer("n_outcomes", n_outcomes, 2)
    if isinstance(outcome, Binned) and n_outcomes != outcome.n_outcomes:
        raise ValueError(f"n_outcomes: given {n_outcomes}, allowed is {outcome.n_outcomes}, that of the bins")
    return n_outcomes


def _as_outcomes(values, name: str, n_outcomes: int, least: tuple[int, ...]) -> np.ndarray:
    values = to_numpy(values, name)
    shape = values.shape
    if len(shape) != len(least) or any(n < m for n, m in zip(shape, least, strict=True)):
        allowed = " × ".join(f">= {n}" for n in least)
        raise ValueError(f"{name}: shape {shape}, allowed is {allowed}")
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= n_outcomes:
        numbers = values.size and values.dtype.kind in "fiub"
        given = f"{values.min()} to {values.max()} of {values.dtype}" if numbers else shown(values.tolist())
        raise ValueError(f"{name}: given {given}, allowed are integers in 0..{n_outcomes - 1}")
    return values


def _one_hot(outcomes: np.ndarray, n_outcomes: int) -> np.ndarray:
    return outcomes[..., None] == np.arange(n_outcomes)
