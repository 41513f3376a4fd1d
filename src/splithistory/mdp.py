"""Worlds of many steps: finite Markov decision processes, and split history of what a policy plays there.

Floor 3. An episode is driven by the initial state and every draw of the dynamics. The policy answers it with
a whole sequence of actions A = (a_0 .. a_{T-1}); the outcome F is read from the state after T steps. History
is split as in `measure`: the same sequence is replayed in another episode, which gives F' | A. With one step
this is `split_history` itself. A plan, which plays one sequence in every episode, has Op = Imp = 0 exactly.
"""

from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import stdtrit

from .information import (
    as_array,
    as_distribution,
    as_integers,
    check_choice,
    check_integer,
    check_level,
    check_memory,
    check_seed,
    shown,
    to_numpy,
)
from .measure import Measured
from .procedure import draw

_ATOL = 1e-6  # how far a row of the transition may be from summing to one, as in `information`
_TOGETHER = 500  # states up to which beliefs are columns of one matrix; more, and one a time fits caches
_ENTRIES = 2**22  # of a matrix of beliefs
_EXACT = 2**24  # states times sequences that may be enumerated


class MDP:
    """A finite world of `horizon` steps, S states and A actions.

    transition: P(s' | s, a) as an array (A, S, S) or A scipy sparse matrices (S, S); rows sum to one.
    initial (S,): the distribution of the first state. outcome: what is looked at in the end, of the state
    after `horizon` steps: labels (S,), integers 0..K-1, or probabilities (S, K) of what is seen of it.
    An episode that ends early is a state that every action leaves as it is. Kept as: transition, a tuple
    of A scipy csr_array (S, S); initial (S,); outcome (S, K) probabilities; horizon.
    ValueError if a shape is wrong or a row is no distribution.
    """

    def __init__(self, transition, initial, outcome, *, horizon: int):
        self.horizon = check_integer("horizon", horizon, 1)
        self.transition = _transition(transition)
        check_memory("horizon", horizon, 8.0 * horizon * self.n_states)  # states at each step
        self._onward = [matrix.T for matrix in self.transition]  # columns compressed: faster than rows
        self.initial = as_distribution(initial, "initial")
        if self.initial.shape != (self.n_states,):
            raise ValueError(f"initial: shape {self.initial.shape}, allowed is ({self.n_states},)")
        self.outcome = _outcome(outcome, self.n_states)

    @property
    def n_states(self) -> int:
        """S, the number of states."""
        return self.transition[0].shape[0]

    @property
    def n_actions(self) -> int:
        """A, the number of actions."""
        return len(self.transition)

    @property
    def n_outcomes(self) -> int:
        """K, the number of outcomes."""
        return self.outcome.shape[1]

    def dense(self) -> np.ndarray:
        """P(s' | s, a) as an array (A, S, S)."""
        return np.stack([matrix.toarray() for matrix in self.transition])

    def step(self, beliefs: np.ndarray, action) -> np.ndarray:
        """Distributions over states, (S,) or columns (S, N), one step on if `action` is played everywhere."""
        return self._onward[action] @ beliefs

    def states(self, policy) -> np.ndarray:
        """(T+1, S): how probable each state is before every step, and after the last, if `policy` acts."""
        probs, states = policy_probs(self, policy), [self.initial]
        for now in probs:
            acted = states[-1][:, None] * now
            played = np.flatnonzero(acted.any(0))  # one sum less where one action is played: a plan
            states.append(np.sum([self.step(acted[:, a], a) for a in played], axis=0))
        return np.stack(states)

    def episodes(self, policy, n: int, *, seed) -> tuple[np.ndarray, np.ndarray]:
        """States (n, T+1) and actions (n, T) of n episodes in which `policy` acts."""
        rng, probs = np.random.default_rng(check_seed(seed)), policy_probs(self, policy)
        check_memory("n", n, 8.0 * check_integer("n", n, 1) * (self.horizon + 1))
        states = np.empty((n, self.horizon + 1), dtype=np.int32)
        actions = np.empty((n, self.horizon), dtype=np.int32)
        states[:, 0] = rng.choice(self.n_states, size=n, p=self.initial)
        for t, now in enumerate(probs):
            actions[:, t] = draw(now[states[:, t]], rng)
            states[:, t + 1] = self.following(states[:, t], actions[:, t], rng.random(n))
        return states, actions

    def replayed(self, actions: np.ndarray, *, seed) -> np.ndarray:
        """States (n, T+1) of n other episodes in which these actions (n, T) are played, whatever happens."""
        rng = np.random.default_rng(check_seed(seed))
        actions = as_integers(actions, "actions", self.n_actions, "NT")
        states = [rng.choice(self.n_states, size=len(actions), p=self.initial)]
        for now in actions.T:
            states.append(self.following(states[-1], now, rng.random(len(now))))
        return np.stack(states, 1)

    def following(self, states: np.ndarray, actions: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """Next states (N,) of states and actions (N,), given chance (N,), uniform draws in [0, 1)."""
        starts, following, rungs = self._rungs
        row = actions.astype(np.int64) * self.n_states + states
        found = np.searchsorted(rungs, row + chance, side="right")
        return following[np.clip(found, starts[row], starts[row + 1] - 1)]

    @cached_property
    def _rungs(self) -> tuple:
        """Row starts, next states and, for each of them, row number + cumulative probability in its row."""
        rows = sparse.vstack(self.transition, format="csr")
        before = np.concatenate([[0.0], rows.data.cumsum()])
        of_row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        rungs = before[1:] - before[rows.indptr[of_row]] + of_row
        rungs[rows.indptr[1:] - 1] = np.arange(1, rows.shape[0] + 1)
        return rows.indptr, rows.indices, rungs


class SplitMDP(Measured):
    """A policy measured in an MDP: what `split_mdp` returns. All that `Futures` has follows, for every goal.

    sequences (J, T): the action sequences that were replayed; action_probs (J,) their weights;
    counterfactual_probs (J, K): F' | A, exact for each. counts (J,): how often each was drawn, or None
    if all were enumerated, with their probabilities. outcome_probs (K,): F, exact.
    """

    def __init__(self, sequences, counts, action_probs, outcome_probs, counterfactual_probs):
        super().__init__(action_probs, outcome_probs, counterfactual_probs)
        self.sequences, self.counts = sequences, counts

    def interval(self, quantity, level: float = 0.95) -> tuple:
        """t interval for `quantity` over the draw of action sequences, by the jackknife; no width if exact.

        quantity: a property's name ("op", "imp", "delta") or a function of the Futures, given many
        at once, whose properties have a leading axis that it must keep first. Op, Imp, δ and s' are means of
        independent draws, and this is their t interval. Infinite ends where the quantity is infinite: a
        sequence that makes Imp infinite was drawn, so it has positive probability. One infinite end where
        it is only with a draw left out.
        """
        check_level(level)
        function = self._function(quantity)
        value = np.asarray(function(self), dtype=float)
        if self.counts is None:
            return value[()], value[()]
        n = self.counts.sum()
        with np.errstate(invalid="ignore"):  # of what is infinite
            found = self._left_out(function, value)
            left = np.where(np.isinf(found), value, found)  # such a draw counts as if it changed nothing
            off = left - np.tensordot(self.counts / n, left, 1)
            error = np.sqrt((n - 1) / n * np.tensordot(self.counts, off**2, 1))
            half = stdtrit(n - 1, (1 + level) / 2) * error
        return self._ends(value, value - half, value + half, found.min(0), found.max(0))

    def _left_out(self, function, value: np.ndarray) -> np.ndarray:
        """The quantity (J, ...) with one draw of each sequence left out."""
        n, size = self.counts.sum(), len(self.counts)
        chunk, found = max(1, _ENTRIES // size), []
        for start in range(0, size, chunk):
            drawn = np.arange(start, end := min(size, start + chunk))
            if len(drawn) in value.shape:  # one case more, or axes that are swapped would not show
                drawn = np.append(drawn, drawn[-1])
            left = np.tile(self.counts.astype(float), (len(drawn), 1))
            left[np.arange(len(drawn)), drawn] -= 1
            values = self._many(function(self.reweighted(left / (n - 1))), len(drawn), value)
            found.append(values[: end - start])
        return np.concatenate(found)


def split_mdp(mdp: MDP, policy, *, method: str = "sampled", n_sequences: int = 1000, seed=None) -> SplitMDP:
    """Split-history measures of a policy that acts `horizon` times in an MDP, in nats.

    policy: probabilities (S, A) or (T, S, A), or actions (S,) or (T, S), integers; what it plays in states
    where an episode has ended goes on in the sequence that is replayed.
    method "sampled": n_sequences episodes are drawn (from `seed`), and for each of their action sequences
    F' | A is exact, by T sparse products. So Op and Imp are means of independent draws (a Rao–Blackwell
    estimate), unbiased, with a t interval; a sequence that was not drawn does not count, even if it would
    make Imp infinite. "exact": all sequences that the policy can play, with their probabilities.
    A policy that plays one sequence, whatever happens, has Op = Imp = 0 exactly by either method.

    ValueError if the policy has the wrong shape or there are too many sequences to enumerate.

    >>> import numpy as np
    >>> from splithistory.mdp import MDP, split_mdp
    >>> stay, move = np.array([[0.7, 0.3], [0.3, 0.7]]), np.array([[0.3, 0.7], [0.7, 0.3]])  # of two rooms
    >>> world = MDP([stay, move], initial=[0.5, 0.5], outcome=np.arange(2), horizon=5)
    >>> policy = np.array([0, 1])  # in room 0 it stays, from room 1 it moves
    >>> measured = split_mdp(world, policy, seed=0)
    >>> print(f"Op {measured.op:.3f}, Imp {measured.imp:.3f} nats, success {measured.success([0]):.2f}")
    Op 0.082, Imp 0.082 nats, success 0.70
    """
    check_choice("method", method, ("sampled", "exact"))
    probs = policy_probs(mdp, policy)
    check_integer("n_sequences", n_sequences, 2)
    check_memory("n_sequences", n_sequences, 16.0 * n_sequences * mdp.horizon)
    states = mdp.states(policy)
    plan = _plan(states, probs)
    counts = None
    if plan is not None:
        sequences, weights = plan[None], np.ones(1)
    elif method == "exact":
        sequences, weights = _enumerated(mdp, probs)
    else:
        if seed is None:
            raise ValueError("seed: none given, allowed is an integer >= 0 (method='sampled' draws episodes)")
        _, actions = mdp.episodes(policy, n_sequences, seed=seed)
        sequences, counts = np.unique(actions, axis=0, return_counts=True)
        weights = counts / n_sequences
    replayed = replay(mdp, sequences)
    outcomes = replayed[0] if plan is not None else states[-1] @ mdp.outcome
    return SplitMDP(sequences, counts, weights, outcomes, replayed)


def replay(mdp: MDP, sequences: np.ndarray) -> np.ndarray:
    """F' | A: outcomes (J, K) of sequences of actions (J, T) that are played whatever happens, exact.

    Beginnings that neighbours share are computed once: sorted sequences are quickest.
    """
    sequences = as_integers(sequences, "sequences", mdp.n_actions, "JT")
    if mdp.n_states > _TOGETHER:
        return _one_by_one(mdp, sequences)
    chunk = max(1, _ENTRIES // mdp.n_states)
    parts = range(0, len(sequences), chunk)
    return np.concatenate([_as_columns(mdp, sequences[i : i + chunk]) for i in parts])


def _as_columns(mdp: MDP, sequences: np.ndarray) -> np.ndarray:
    """Step by step, a column of beliefs for each distinct beginning of a sequence."""
    beliefs, column = mdp.initial[:, None], np.zeros(len(sequences), dtype=int)
    fresh = np.arange(len(sequences)) == 0  # unlike the sequence before, up to this step
    for now in sequences.T:
        fresh[1:] |= now[1:] != now[:-1]
        actions, before = now[fresh], beliefs[:, column[fresh]]
        beliefs = np.empty_like(before)
        for a in np.unique(actions):
            beliefs[:, actions == a] = mdp.step(before[:, actions == a], a)
        column = fresh.cumsum() - 1
    return beliefs.T @ mdp.outcome


def _one_by_one(mdp: MDP, sequences: np.ndarray) -> np.ndarray:
    """Sequence by sequence, from where it leaves the one before; only what the next one shares is kept."""
    shared = (sequences[1:] != sequences[:-1]).argmax(1).tolist()  # steps, with the next sequence
    beliefs, found = [mdp.initial], []
    for sequence, start, kept in zip(sequences, [0, *shared], [*shared, 0], strict=True):
        del beliefs[start + 1 :]
        belief = beliefs[start]
        for depth, action in enumerate(sequence[start:], start + 1):
            belief = mdp.step(belief, action)
            if depth <= kept:
                beliefs.append(belief)
        found.append(belief @ mdp.outcome)
    return np.stack(found)


def _plan(states: np.ndarray, probs: np.ndarray) -> np.ndarray | None:
    """The sequence (T,) that is played in every episode, if there is one."""
    played = np.einsum("ts,tsa->ta", states[:-1], probs) > 0
    return played.argmax(1) if (played.sum(1) == 1).all() else None


def _enumerated(mdp: MDP, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All sequences (J, T) that are played, sorted, and how probable each is (J,)."""
    sequences, joint = np.zeros((1, 0), dtype=np.int32), mdp.initial[:, None]
    for now in probs:
        if joint.size * mdp.n_actions > _EXACT:
            given = f"up to {mdp.n_actions}**{mdp.horizon} sequences in {mdp.n_states} states"
            allowed = f"for method='exact' are states times sequences up to {_EXACT:,}"
            raise ValueError(f"horizon: given {given}, allowed {allowed}")
        acted = joint[:, :, None] * now[:, None, :]  # (S, J, A)
        which, actions = np.nonzero(acted.any(0))
        joint = np.empty((mdp.n_states, len(which)))
        for a in range(mdp.n_actions):
            joint[:, actions == a] = mdp.step(acted[:, which[actions == a], a], a)
        sequences = np.hstack([sequences[which], actions[:, None].astype(np.int32)])
    return sequences, joint.sum(0)


def policy_probs(mdp: MDP, policy) -> np.ndarray:
    """A policy as probabilities (T, S, A), from (S, A) or (T, S, A), or from actions (S,) or (T, S).

    Actions are integers; integers of shape (T, S) are actions. ValueError if the shape is another.
    """
    policy = to_numpy(policy, "policy")
    t, s, a = mdp.horizon, mdp.n_states, mdp.n_actions
    if np.issubdtype(policy.dtype, np.integer) and policy.shape in ((s,), (t, s)):
        if policy.min() < 0 or policy.max() >= a:
            raise ValueError(f"policy: actions {policy.min()} to {policy.max()}, allowed is 0..{a - 1}")
        policy = np.eye(a)[policy]
    if policy.shape not in ((s, a), (t, s, a)):
        allowed = f"({s}, {a}) or ({t}, {s}, {a}) probabilities, ({s},) or ({t}, {s}) integers"
        raise ValueError(f"policy: shape {policy.shape} of {policy.dtype}, allowed is {allowed}")
    return np.broadcast_to(as_distribution(policy, "policy"), (t, s, a))


def from_gymnasium(env, outcome, *, horizon: int) -> MDP:
    """The MDP of a Gymnasium environment that publishes its transitions: FrozenLake, CliffWalking, Taxi.

    Reads env.unwrapped.P and env.unwrapped.initial_state_distrib; where an episode ends, it stays. A limit
    on steps that a wrapper sets does not count: `horizon` does. outcome: as in `MDP`.
    ValueError if the environment does not publish them, or if a state ends an episode only sometimes.
    """
    table, initial = _published(env)
    size, n_actions = len(table), len(table[0])
    ended, alive = _ends(table, initial)
    if both := sorted(ended & alive):
        raise ValueError(f"env: episodes end in state {both[0]} or go on there, allowed is one of the two")
    found = []
    for a in range(n_actions):
        moves = [(s, s, 1.0) for s in ended]
        moves += [(s, new, p) for s in range(size) if s not in ended for p, new, *_ in table[s][a]]
        rows, columns, probs = zip(*moves, strict=True)
        found.append(sparse.coo_array((probs, (rows, columns)), shape=(size, size)))
    return MDP(found, initial, outcome, horizon=horizon)


def on_grid(size: int, steps) -> np.ndarray:
    """Where moves lead on a square grid whose walls stop them: P(next cell | cell), (A, size², size²).

    steps: (down, right) of each of the A moves, in cells; cells are numbered row by row from the top left.
    """
    moves = to_numpy(steps, "steps")
    if moves.dtype.kind not in "iu" or moves.ndim != 2 or moves.shape[1] != 2 or not len(moves):
        raise ValueError(f"steps: given {shown(steps)}, allowed are pairs (down, right) of integers")
    check_memory("size", size, 8.0 * len(moves) * check_integer("size", size, 2) ** 4)
    steps = np.clip(moves, -size, size).tolist()  # a wall stops them
    row, column = np.divmod(np.arange(size**2), size)
    to = [np.clip(row + r, 0, size - 1) * size + np.clip(column + c, 0, size - 1) for r, c in steps]
    return np.eye(size**2)[np.stack(to)]


def expected_reward(env) -> np.ndarray:
    """Mean reward (S, A) of actions in a Gymnasium environment, 0 in states where an episode has ended."""
    table, initial = _published(env)
    ended, _ = _ends(table, initial)
    states, actions = range(len(table)), range(len(table[0]))  # in this order, whatever that of the keys is
    means = [[sum(p * r for p, _, r, _ in table[s][a]) for a in actions] for s in states]
    return np.where(np.isin(np.arange(len(table)), list(ended))[:, None], 0.0, means)


def _published(env) -> tuple:
    core = getattr(env, "unwrapped", env)
    if not (hasattr(core, "P") and hasattr(core, "initial_state_distrib")):
        allowed = "allowed are environments that have both, such as FrozenLake, CliffWalking and Taxi"
        raise ValueError(f"env: {core} has no P and initial_state_distrib, {allowed}")
    return core.P, core.initial_state_distrib


def _ends(table, initial) -> tuple[set, set]:
    """States in which an episode has ended, and those that one can come to and go on."""
    ended = {int(new) for s in table for a in table[s] for p, new, _, end in table[s][a] if end and p > 0}
    alive = {int(s) for s in np.flatnonzero(initial)}
    fresh = list(alive)
    while fresh:
        state = fresh.pop()
        moves = (move for a in table[state] for move in table[state][a])
        new = {int(s) for p, s, _, end in moves if p > 0 and not end} - alive
        alive |= new
        fresh += new
    return ended, alive


def _transition(transition) -> tuple:
    """A csr_array (S, S) of probabilities for each action."""
    if not (isinstance(transition, list | tuple) and any(map(sparse.issparse, transition))):
        transition = as_array(transition, "transition")
        if transition.ndim != 3 or not transition.size:
            raise ValueError(f"transition: shape {transition.shape}, allowed is (A, S, S)")
    matrices = [sparse.csr_array(matrix, dtype=np.float64) for matrix in transition]
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) != 1 or len(min(shapes)) != 2 or len(set(*shapes)) != 1:
        raise ValueError(f"transition: shapes {sorted(shapes)}, allowed is (A, S, S), or A matrices (S, S)")
    return tuple(_stochastic(matrix, a) for a, matrix in enumerate(matrices))


def _stochastic(matrix, action: int):
    """A matrix whose rows are distributions, their sums made one, indices small."""
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        worst = matrix.data.min()
        raise ValueError(f"transition: action {action} has entry {worst:.6g}, allowed are probabilities")
    sums = matrix.sum(1)
    if (bad := np.abs(sums - 1) > _ATOL).any():
        row = int(bad.argmax())
        raise ValueError(f"transition: row [{action}, {row}] sums to {sums[row]:.9g}, allowed is 1")
    matrix = sparse.csr_array(matrix / sums[:, None])
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    small = (part.astype(np.int32) for part in (matrix.indices, matrix.indptr))
    return sparse.csr_array((matrix.data, *small), shape=matrix.shape)


def _outcome(outcome, n_states: int) -> np.ndarray:
    outcome = to_numpy(outcome, "outcome")
    if outcome.ndim == 2 and len(outcome) == n_states:
        return as_distribution(outcome, "outcome")
    if outcome.shape != (n_states,) or not np.issubdtype(outcome.dtype, np.integer) or outcome.min() < 0:
        allowed = f"({n_states},) integers >= 0 or ({n_states}, K) probabilities"
        raise ValueError(f"outcome: shape {outcome.shape} of {outcome.dtype}, allowed is {allowed}")
    check_memory("outcome", outcome.max(), 8.0 * (int(outcome.max()) + 1) ** 2)
    return np.eye(int(outcome.max()) + 1)[outcome]
