"""Constructed policies, measured exactly: blind ones, one that always does the same, ones that steer at will.

Floor 3. A world is a table W (M, A, K) with the share of each class of histories (M,): an object with
`table` and `class_shares()`, as Recurrence is. Every policy here comes back measured, a SplitHistory
over these shares, so nothing about it is estimated; but for `generator`, which sees more than the class.
"""

from types import SimpleNamespace

import numpy as np
from scipy.special import softmax

from .information import (
    LARGEST,
    as_distribution,
    as_goal,
    as_integers,
    as_number,
    check_flag,
    check_integer,
    goal_mask,
    implied_op,
    succeeding,
)
from .measure import Futures, SplitHistory, split_history

LEANING, REACHING = (0.4, 0.4, 0.1, 0.1), (0.8, 0.1, 0.05, 0.05)  # of `pictures` where this book draws them


def acting(world, probs) -> SplitHistory:
    """The policy that plays action a on histories of class m with probability probs (M, A)."""
    return SplitHistory(world.class_shares()[:, None] * as_distribution(probs, "probs"), world.table)


def blind(world, probs) -> SplitHistory:
    """A policy that ignores what it sees: action a with probability probs (A,), whatever the history."""
    return acting(world, np.tile(as_distribution(probs, "probs"), (len(world.table), 1)))


def always(world, action: int) -> SplitHistory:
    """The blind policy that plays one action."""
    n = world.table.shape[1]
    return blind(world, np.eye(n)[check_integer("action", action, 0, n - 1)])


def generator(world, n: int, *, seed) -> SplitHistory:
    """The sequence as a policy: its own next token, measured on n histories of 20 tokens drawn from it."""
    return split_history(world.histories(n, 20, seed=seed), world.next_probs, world)


def given_history(measured: SplitHistory) -> SplitHistory:
    """A measurement read with F' given the history, not the action: each class's mixed action is one action.

    What `split_history(..., condition="history")` finds, where histories of a class are answered alike.
    """
    seen = measured.counts.sum(1) > 0  # a class without histories answers nothing
    counts, world = measured.counts[seen], measured.world[seen]
    shares = counts.sum(1)
    return SplitHistory(np.diag(shares), np.einsum("na,mak->mnk", counts / shares[:, None], world))


def steering(world, outcomes, actions=None) -> SplitHistory:
    """A policy whose outcomes are `outcomes` (K,), but for the world's noise: it plays what leads there.

    An action leads to the one outcome that is likeliest after it; of several that lead to an outcome each is
    played alike; ValueError if none does. actions: those that it may play, all if None.
    """
    outcomes, leads = as_distribution(outcomes, "outcomes"), world.table.argmax(-1)  # (K,), (M, A)
    others, likeliest = np.partition(world.table, -2)[..., -2:].transpose(2, 0, 1)
    leads = np.where(likeliest > others, leads, -1)  # where two are, it leads to neither
    if outcomes.shape != (n := world.table.shape[-1:]):
        raise ValueError(f"outcomes: shape {outcomes.shape}, allowed is {n}")
    leads = np.where(_allowed(actions, leads.shape[1]), leads, -1)
    ways = np.stack([(leads == k).sum(1) for k in range(len(outcomes))], 1)  # (M, K)
    if ((ways == 0) & (outcomes > 0)).any():
        k = int(((ways == 0) & (outcomes > 0)).any(0).argmax())
        raise ValueError(f"outcomes: given {outcomes[k]:.6g} for {k}, allowed is 0: no action leads there")
    probs = np.take_along_axis(outcomes / np.maximum(ways, 1), leads, 1)
    return acting(world, np.where(leads < 0, 0.0, probs))


def mixture(first: SplitHistory, second: SplitHistory, share: float) -> SplitHistory:
    """Acts as the first on this share of the histories of each class, else as the second.

    ValueError unless both were measured in one world, on the same shares of its classes.
    """
    share = as_number(share, "share", 0, 1)
    own, others = (measured.counts / measured.counts.sum() for measured in (first, second))
    if not np.array_equal(first.world, second.world):
        raise ValueError("first, second: measured in two worlds, allowed is one")
    if not np.allclose(own.sum(1), others.sum(1), rtol=0, atol=1e-12):
        raise ValueError("first, second: measured on other shares of classes, allowed are the same")
    return SplitHistory(share * own + (1 - share) * others, first.world)


def everywhere(outcomes) -> SplitHistory:
    """The policy with these outcomes (K,) in the smallest world in which any action can lead anywhere.

    K classes, K actions, outcome (class + action) mod K: what a blind policy meets there is chance, so δ = 0.
    """
    outcomes = as_distribution(outcomes, "outcomes")
    n = len(outcomes)
    result = np.add.outer(np.arange(n), np.arange(n)) % n  # of class and action
    return SplitHistory(outcomes[result] / n, np.eye(n)[result])


def undone(undoes: bool = True) -> tuple[SplitHistory, SplitHistory]:
    """A policy that steers every history to outcome 0, and one after it that steers back, with −Op.

    The second acts in the world that the first leaves: at outcome 0, whatever the history, which the second
    knows; its action a leads to outcome a. undoes: whether it restores the history's own outcome, or leaves
    things as they are.
    """
    check_flag("undoes", undoes)
    n, each = 8, np.eye(8)
    acts = each if undoes else np.tile(each[0], (n, 1))
    return everywhere(each[0]), SplitHistory(acts, np.tile(each, (n, 1, 1)))


def pictures(goal, n_outcomes: int, success: float, leaning, reaching=None) -> dict[str, np.ndarray]:
    """Four ways to succeed equally often, as outcomes (K,): the post's pictures, for as many good as bad.

    leaning: how successes, or failures, are divided where they are not alike; reaching: how failures are
    where neither is, as `leaning` if not given. Post, section on inner misalignment.
    """
    leaning = as_distribution(leaning, "leaning")
    among = {
        "indifferent": (None, None),
        "prefers some successes": (leaning, None),
        "avoids some failures": (None, leaning),
        "trades one for another": (leaning, leaning if reaching is None else reaching),
    }
    return {name: succeeding(goal, n_outcomes, success, *parts) for name, parts in among.items()}


def extremes(world, goal, success: float) -> tuple[SplitHistory, SplitHistory]:
    """The policies that steer to this success rate by the most even outcomes, and by the least even ones.

    Even among successes and among failures: least Op; one success and one failure only: greatest Op. But for
    what the world's noise leaves, and unless actions differ in how even their outcomes are, as sinks do: the
    ends of Op are then `Recurrence.op_range`.
    """
    n_outcomes = world.table.shape[-1]
    n_good = int(goal_mask(goal, n_outcomes).sum())
    alone = np.eye(n_good)[0], np.eye(n_outcomes - n_good)[0]
    ends = succeeding(goal, n_outcomes, success), succeeding(goal, n_outcomes, success, *alone)
    return steering(world, ends[0]), steering(world, ends[1])


def steered(world, goal, success: float) -> dict[str, float]:
    """The policy of least Op in `extremes`, measured, and what can be said of it without measuring; nats.

    world: a Recurrence. success, op, delta: of the policy, exact over the world's class shares.
    expected_success: the noise turns a rate s into (1 − noise) s + noise p; expected_op: kl of that and p,
    which Op is but for δ; expected_delta: δ if the tokens of a history were independent.
    """
    goal = as_goal(goal, world.alphabet)
    apart = SimpleNamespace(table=world.table, class_shares=world.independent_shares)
    measured, independent = (extremes(of, goal, success)[0] for of in (world, apart))
    share = len(goal) / world.alphabet
    rate = (1 - world.noise) * success + world.noise * share
    found = {"success": measured.success(goal), "op": measured.op, "delta": measured.delta}
    found |= {"expected_success": rate, "expected_op": float(implied_op(rate, share))}
    return found | {"expected_delta": independent.delta}


def maximum_entropy(world, goal, inverse_temperature: float) -> SplitHistory:
    """The policy q(a|m) ∝ exp(β P(success|m, a)): as much for the goal as β says, and otherwise even."""
    beta = as_number(inverse_temperature, "inverse_temperature", -LARGEST, LARGEST)
    return acting(world, softmax(beta * _success(world.table, goal), axis=1))


def indifferent(world, goal, actions=None) -> SplitHistory:
    """The policy that plays alike the actions that are best for the goal, whatever else comes of them.

    actions: those that it may play, all if None.
    """
    success = _success(world.table, goal)
    allowed = _allowed(actions, success.shape[1])
    most = success.max(1, where=allowed, initial=0.0, keepdims=True)
    best = allowed & (success >= most - 1e-9)
    return acting(world, best / best.sum(1, keepdims=True))


def habitual(measured: SplitHistory, goal, *, rounds: int = 300) -> SplitHistory:
    """As often successful as a measured policy, each action played as often, and otherwise indifferent.

    q(a|m) ∝ w_a exp(β P(success|m, a)), of which there is one: what is left of a policy when only its success
    rate and its habits of actions are known. Where only the best is so successful β grows without an end, and
    q comes as close as these rounds of Newton's method let it.
    """
    played = measured.counts / measured.counts.sum()
    used, classes = played.sum(0) > 0, played.sum(1)
    success = _success(measured.world, goal)[:, used]
    habits = np.broadcast_to(np.eye(used.sum()), (*success.shape, used.sum()))
    known = np.concatenate([habits, success[..., None]], -1)
    wanted, q = np.einsum("ma,maf->f", played[:, used], known), np.zeros_like(played)
    q[:, used] = _evenest(known, classes, wanted, check_integer("rounds", rounds, 1, 10**6))
    return SplitHistory(classes[:, None] * q, measured.world)


def _evenest(known: np.ndarray, classes: np.ndarray, wanted: np.ndarray, rounds: int) -> np.ndarray:
    """q(a|m) (M, A) ∝ exp(λ · known(m, a)), whose means of what is known (M, A, F) are those wanted (F,)."""
    rates = np.zeros(len(wanted))
    for _ in range(rounds):
        q = softmax(known @ rates, axis=1)
        means = np.einsum("ma,maf->mf", q, known)
        spread = np.einsum("m,ma,maf,mag->fg", classes, q, known, known, optimize=True)
        spread -= np.einsum("m,mf,mg->fg", classes, means, means)
        missing = wanted - classes @ means
        step = np.linalg.lstsq(spread, missing, rcond=1e-12)[0]  # some directions change nothing
        for size in 0.5 ** np.arange(40):  # the whole step may be too long where little is spread
            tried = np.einsum("m,ma,maf->f", classes, softmax(known @ (rates + size * step), axis=1), known)
            if np.linalg.norm(wanted - tried) < np.linalg.norm(missing):
                rates = rates + size * step
                break
        else:  # what is missing is rounding
            return q
    return q


def _allowed(actions, n_actions: int) -> np.ndarray:
    """(A,): which actions may be played, all if None."""
    allowed = np.zeros(n_actions, dtype=bool)
    allowed[slice(None) if actions is None else as_integers(actions, "actions", n_actions, "A")] = True
    return allowed


def _success(table: np.ndarray, goal) -> np.ndarray:
    """(M, A): how often each action on each class leads into the goal."""
    return table[..., goal_mask(goal, table.shape[-1])].sum(-1)


def moved_together(agreement: float = 0.9) -> Futures:
    """Two bits, in the order 00, 01, 10, 11: in F' they agree so often, in F at 0.9, but mostly as 00.

    Where they depend on each other in F', both can move for less than the sum of what each would take.
    """
    agreement = as_number(agreement, "agreement", 0, 1)
    split = np.array([agreement, 1 - agreement, 1 - agreement, agreement]) / 2
    return Futures([1.0], [0.8, 0.05, 0.05, 0.1], [split])


def two_rooms(moves: bool = True) -> dict[str, tuple[SplitHistory, float]]:
    """Policies in a house of two rooms, {name: (measured, penalty)}; half of the histories are in each room.

    One can stay, go to the other room, or burn the house down, after which there is ash, outcome 2. penalty:
    how much is put out of reach, as attainable utility preservation counts it (Turner et al. 2020): the mean
    change, against staying, in which of the rooms can be reached. moves: whether one can go back.
    """
    check_flag("moves", moves)
    leads = np.array([[0, 1, 2], [1, 0, 2]])  # of room and action
    attainable = np.array([[1, moves], [moves, 1], [0, 0]], dtype=float)  # of outcome and room
    lost = np.abs(attainable[leads] - attainable[leads[:, :1]]).mean(-1)
    actions = {"stays": [0, 0], "goes to the first room": [0, 1], "burns": [2, 2]}
    shares = {name: np.eye(3)[action] / 2 for name, action in actions.items()}
    return {name: (SplitHistory(t, np.eye(3)[leads]), float((t * lost).sum())) for name, t in shares.items()}
