"""Entropies, divergences and the closed forms for success/failure goals and for utilities, in nats.

Floor 0: knows arrays only. Every function broadcasts over leading axes; a distribution
lies along the last axis.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq
from scipy.special import entr, rel_entr, softmax

_MOST = 2**63 - 1  # the largest integer of an array
LARGEST = 1e150  # beyond it a square, or the sum of many, would be infinite
_ATOL = 1e-6  # how far a distribution may be from summing to one: the rounding of a float32 softmax


def to_numpy(values, name: str = "values") -> np.ndarray:
    """`values` (NumPy, torch on any device and with a gradient, list) as a NumPy array of their own type.

    bfloat16, which NumPy lacks, becomes float32. ValueError if they are no array, as rows of unlike length.
    """
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f"{name}: given {shown(values)}, allowed is an array of numbers") from None


def shown(value) -> str:
    """A value as a message shows it: one printable line of at most 60 characters."""
    try:
        text = "".join(c if c.isprintable() else "?" for c in " ".join(repr(value).split()))
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_array(values, name: str) -> np.ndarray:
    """`values` (NumPy, torch, list) as a float64 array: the gate through which numbers come in.

    ValueError if they are no real numbers (complex ones and texts are none), or if one is not finite.
    """
    array = as_reals(values, name)
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}: entry {bad} is {array[tuple(bad)]}, allowed are finite numbers")
    return array


def as_reals(values, name: str) -> np.ndarray:
    """As `as_array`, but infinite numbers and NaN may come in."""
    given = to_numpy(values, name)
    if given.dtype.kind not in "fiub":
        raise ValueError(f"{name}: given {shown(values)} ({given.dtype}), allowed are real numbers")
    return given.astype(np.float64, copy=False)


def as_measured(values, name: str) -> np.ndarray:
    """As `as_array`, of numbers along a last axis, none so large that sums or squares would overflow."""
    array = as_array(values, name)
    if array.ndim == 0 or not array.size or np.abs(array).max() > LARGEST:
        raise ValueError(f"{name}: given {shown(values)}, allowed are numbers up to {LARGEST:g}, (..., K)")
    return array


def as_number(value, name: str, least: float = -np.inf, most: float = np.inf) -> float:
    """`value` as a float, the gate for a single number; ValueError unless it is real and in [least, most]."""
    array = as_array(value, name)
    if array.ndim or not least <= array <= most:
        ends = [f">= {least:g}"] * (least > -np.inf) + [f"<= {most:g}"] * (most < np.inf)
        allowed = " ".join(["a number", " and ".join(ends)]).strip()
        raise ValueError(f"{name}: given {shown(value)}, allowed is {allowed}")
    return float(array)


def as_integers(values, name: str, n: int, shape: str = "") -> np.ndarray:
    """`values` as an array of integers in 0..n−1, such as actions or outcomes; ValueError otherwise.

    shape: how many axes there are, in letters, such as "JT"; any if it is not said.
    """
    given = to_numpy(values, name)
    whole = given.dtype.kind in "iu" and given.size and 0 <= given.min() and given.max() < n
    if not whole or (shape and given.ndim != len(shape)):
        axes = f" ({', '.join(shape)})" if shape else ""
        raise ValueError(f"{name}: given {shown(values)}, allowed are integers in 0..{n - 1}{axes}")
    return given


def as_tables(counts, world) -> tuple[np.ndarray, np.ndarray]:
    """Tables of counts (..., M, A) and a world (M, A, K) as float64; ValueError if they are none."""
    tables, answers = as_array(counts, "counts"), as_array(world, "world")
    as_distribution(answers, "world")
    if answers.ndim != 3 or tables.ndim < 2 or tables.shape[-2:] != answers.shape[:2] or not tables.size:
        shapes = f"shapes {tables.shape} and {answers.shape}"
        raise ValueError(f"counts, world: given {shapes}, allowed are (..., M, A) and (M, A, K)")
    sums = tables.sum((-2, -1)) if np.abs(tables).max() < LARGEST else np.zeros(1)
    if (tables < 0).any() or not (sums > 0).all():
        raise ValueError(f"counts: given {shown(counts)}, allowed are counts >= 0 of at least one history")
    return tables, answers


def as_table(table, *columns):
    """`table` if it is one (pandas) that has all these columns; ValueError names one that it lacks."""
    there = getattr(table, "columns", None)
    if there is None:
        raise ValueError(f"table: given {shown(table)}, allowed is a table (pandas)")
    for column in columns:
        if not isinstance(column, str) or column not in there:
            raise ValueError(f"column: given {shown(column)}, allowed are {', '.join(map(str, there))}")
    return table


def as_names(names, name: str) -> list[str]:
    """`names`, one text or more, as a list; ValueError otherwise."""
    listed = as_list(names)
    if not listed or not all(isinstance(each, str) for each in listed):
        raise ValueError(f"{name}: given {shown(names)}, allowed is a list of texts")
    return listed


def as_distribution(values, name: str) -> np.ndarray:
    """`values` as float64 distributions along the last axis; ValueError names the first bad row.

    Sums are made one in float64, so that float32 probabilities may come in.
    """
    array = as_array(values, name)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name}: shape {array.shape}, allowed is a non-empty last axis of outcomes")
    if (array < 0).any():
        bad = np.argwhere(array < 0)[0].tolist()
        raise ValueError(f"{name}: entry {bad} is {array[tuple(bad)]:.6g}, allowed are probabilities >= 0")
    sums = array.sum(-1)
    off = ~(np.abs(sums - 1) <= _ATOL)  # np.allclose takes many times as long
    if off.any():
        bad = np.argwhere(off)[0].tolist()
        raise ValueError(f"{name}: row {bad} sums to {sums[tuple(bad)]:.9g}, allowed is 1")
    return array / sums[..., None]


def as_rate(values, name: str) -> np.ndarray:
    """`values` as float64 rates in [0, 1] (rounding error of 1e-12 is clipped); ValueError otherwise."""
    array = as_array(values, name)
    if ((array < -1e-12) | (array > 1 + 1e-12)).any():
        raise ValueError(f"{name}: given {array.min():.6g} to {array.max():.6g}, allowed is [0, 1]")
    return np.clip(array, 0, 1)


def as_goal(goal, n_outcomes: int) -> tuple[int, ...]:
    """A goal, any collection of outcomes, as a sorted tuple without repetitions.

    ValueError if an outcome is not an integer in 0..K-1, or if the goal holds none or all of them
    (success would then be certain whatever the policy does).
    """
    check_integer("n_outcomes", n_outcomes, 1)
    if _is_goal(goal, n_outcomes):  # all 127 are looked up for every model
        return goal
    listed = is_listed(goal)
    outcomes = list(to_numpy(goal, "goal") if hasattr(goal, "detach") else goal) if listed else None
    if outcomes is None or not all(_is_integer(o) and 0 <= o < n_outcomes for o in outcomes):
        given = goal if outcomes is None else outcomes
        raise ValueError(f"goal: given {shown(given)}, allowed are outcomes in 0..{n_outcomes - 1}")
    outcomes = sorted({int(o) for o in outcomes})
    if not 0 < len(outcomes) < n_outcomes:
        raise ValueError(
            f"goal: given {len(outcomes)} of {n_outcomes} outcomes, allowed 1 to {n_outcomes - 1}"
        )
    return tuple(outcomes)


def _is_goal(goal, n_outcomes: int) -> bool:
    """Whether a goal is already what `as_goal` makes of it."""
    plain = type(goal) is tuple and 0 < len(goal) < n_outcomes and all(type(o) is int for o in goal)
    return plain and 0 <= goal[0] and goal[-1] < n_outcomes and all(a < b for a, b in pairwise(goal))


def goal_mask(goal, n_outcomes: int) -> np.ndarray:
    """A goal as a boolean mask (K,); errors as in `as_goal`."""
    outcomes = list(as_goal(goal, n_outcomes))
    check_memory("n_outcomes", n_outcomes, 8.0 * n_outcomes)
    mask = np.zeros(n_outcomes, dtype=bool)
    mask[outcomes] = True
    return mask


def is_listed(values) -> bool:
    """Whether values are several, one by one: a collection or an iterator, no text, mapping or number."""
    several = hasattr(values, "__iter__") and not isinstance(values, str | bytes | Mapping)
    return several and getattr(values, "ndim", 1) > 0


def as_list(values) -> list:
    """`values` as a list; empty if they are not several (`is_listed`)."""
    return list(values) if is_listed(values) else []


def check_integer(name: str, value, least: int, most: int = _MOST) -> int:
    """`value` if it is an integer in `least` to `most`; ValueError otherwise (1e3 and True are refused)."""
    if not _is_integer(value) or not least <= value <= most:
        allowed = f"an integer >= {least}" if most == _MOST else f"an integer in {least}..{most}"
        raise ValueError(f"{name}: given {shown(value)}, allowed is {allowed}")
    return int(value)


def check_memory(name: str, value, n_bytes: float) -> None:
    """ValueError if what `value` asks for needs more than half of this machine's memory."""
    if n_bytes > (most := _memory() / 2):
        needs = f"which needs {n_bytes / 2**30:.3g} GiB"
        raise ValueError(f"{name}: given {shown(value)}, {needs}, allowed here are {most / 2**30:.3g} GiB")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _memory() -> int:
    """Bytes of memory of this machine; 8 GiB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**33


def check_seed(seed):
    """`seed`, a non-negative integer or a list of them; ValueError otherwise (1e3 and True are refused)."""
    parts = seed if isinstance(seed, list | tuple) and len(seed) else [seed]
    for part in parts:
        if not _is_integer(part) or part < 0:  # however large
            raise ValueError(f"seed: given {shown(part)}, allowed is an integer >= 0")
    return seed


def check_seeds(seeds) -> list:
    """`seeds`, one or more as in `check_seed`, as a list; ValueError otherwise."""
    if not (listed := as_list(seeds)):
        raise ValueError("seeds: none given, allowed is at least one integer >= 0")
    return [check_seed(seed) for seed in listed]


def check_choice(name: str, value, allowed) -> None:
    """ValueError unless `value` is one of the texts `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name}: given {shown(value)}, allowed are {', '.join(allowed)}")


def chosen(name: str, value, table: Mapping):
    """What a table holds under a key; ValueError with the keys that it has if this is none of them."""
    try:
        return table[value]
    except KeyError:
        raise ValueError(f"{name}: given {shown(value)}, allowed are {shown(list(table))}") from None


def check_flag(name: str, value) -> None:
    """ValueError unless `value` is true or false (1 and 'yes' are refused)."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: given {shown(value)}, allowed are True and False")


def check_level(level: float) -> None:
    """ValueError unless `level` is a confidence level, between 0 and 1."""
    if not 1e-9 <= as_number(level, "level") < 1:  # below, nothing is left to compute with
        raise ValueError(f"level: given {shown(level)}, allowed is between 0 and 1")


def _is_integer(value) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def entropy(probs) -> np.ndarray:
    """Shannon entropy H(P) in nats; `probs` (..., K) -> (...)."""
    return entr(as_distribution(probs, "probs")).sum(-1)


def kl(probs, reference) -> np.ndarray:
    """Kullback-Leibler divergence KL(P ‖ Q) in nats; shapes (..., K) -> (...).

    Infinite where P has mass that Q lacks; never patched.
    """
    probs, reference = as_distribution(probs, "probs"), as_distribution(reference, "reference")
    if probs.shape[-1] != reference.shape[-1]:
        raise ValueError(
            f"reference: {reference.shape[-1]} outcomes, allowed are as many as probs: {probs.shape[-1]}"
        )
    return not_negative(rel_entr(probs, reference).sum(-1))


def not_negative(value):
    """A quantity that is never negative, without what rounding may have left below 0."""
    return np.maximum(value, 0.0)


def whole_and_parts(joint, reference, divergence=kl) -> tuple:
    """Divergence of outcomes that have two parts, and the sum of the two parts' own, in nats.

    joint, reference (I, J). The second is the greater only if the parts depend on each other in the
    reference; if they do not, the first is greater by the mutual information of the joint's.
    divergence: of two distributions (K,); another than `kl` for numbers that are exact.
    ValueError unless both are tables of one shape.
    """
    gate = as_array if divergence is kl else to_numpy  # exact numbers are objects
    joint, reference = gate(joint, "joint"), gate(reference, "reference")
    if joint.ndim != 2 or joint.shape != reference.shape:
        shapes = f"shapes {joint.shape} and {reference.shape}"
        raise ValueError(f"joint, reference: given {shapes}, allowed are two tables of one shape (I, J)")
    parts = [divergence(joint.sum(axis), reference.sum(axis)) for axis in (1, 0)]
    return divergence(joint.ravel(), reference.ravel()), sum(parts)


def binary_kl(s, q) -> np.ndarray:
    """kl(s, q) = s ln(s/q) + (1-s) ln((1-s)/(1-q)), in nats, with 0 ln 0 = 0.

    The divergence between two success rates; infinite if q is 0 or 1 and s is not.
    """
    s, q = as_rate(s, "s"), as_rate(q, "q")
    return not_negative(rel_entr(s, q) + rel_entr(1 - s, 1 - q))


def implied_op(s, p) -> np.ndarray:
    """Optimization implied by a success rate s on a goal that a share p of the outcomes meets, in nats.

    kl(s, p), the post's closed form (section "Optimization vs RL Success Rate"): exact when the
    policy is indifferent within success and within failure and the unoptimized future is uniform.
    """
    return binary_kl(s, p)


def imp_min(s, s_prime) -> np.ndarray:
    """Least impact that moves the success rate from s' to s, in nats: kl(s, s') (post, Appendix A)."""
    return binary_kl(s, s_prime)


def succeeding(
    goal, n_outcomes: int, success: float, among_successes=None, among_failures=None
) -> np.ndarray:
    """Outcomes (K,) that meet a goal at this rate, divided so among successes and failures, else evenly.

    among_successes (number of good outcomes,), among_failures (number of the others,): distributions, in the
    order of the outcomes. The even division is the post's, whose Op is `implied_op` if chance is even.
    """
    mask, s = goal_mask(goal, n_outcomes), as_number(success, "success", 0, 1)
    outcomes = np.zeros(n_outcomes)
    for part, rate, among in ((mask, s, among_successes), (~mask, 1 - s, among_failures)):
        among = np.full(part.sum(), 1 / part.sum()) if among is None else among
        shares = as_distribution(among, "among_successes, among_failures")
        if shares.shape != (part.sum(),):
            allowed = f"({part.sum()},), one for each outcome"
            raise ValueError(f"among_successes, among_failures: shape {shares.shape}, allowed is {allowed}")
        outcomes[part] = rate * shares
    return outcomes


def same_op_rate(s: float, p: float, q: float, *, divergence=binary_kl) -> float:
    """The rate above q that implies as much Op on the curve of q as s does on that of p.

    Post, section "Optimization vs RL Success Rate": is there one curve for all p? divergence: of two rates,
    to try another than kl. ValueError if not even certain success implies as much.
    """
    s, p, q = (as_number(value, name, 0, 1) for value, name in ((s, "s"), (p, "p"), (q, "q")))
    wanted, certain = divergence(s, p), 1 - 1e-12
    if divergence(certain, q) < wanted:
        raise ValueError(f"s: given {s:.6g} for p = {p:.6g}, allowed is what q = {q:.6g} can imply too")
    return brentq(lambda rate: divergence(rate, q) - wanted, q, certain)


def both_orders(s: float, *, divergence=binary_kl) -> tuple[float, float]:
    """Where s > 1/2 comes by the steps at equal Op from p = 1/4 to 1/2 and from 1/2 to 3/4, in either order.

    Were Op = G(φ(s) − φ(p)), each step would add a constant to φ(s), and the two would commute.
    """

    def step(rate: float, p: float, q: float) -> float:
        return same_op_rate(rate, p, q, divergence=divergence)

    return step(step(s, 0.25, 0.5), 0.5, 0.75), step(step(s, 0.5, 0.75), 0.25, 0.5)


@dataclass(frozen=True, eq=False)  # an array has no single truth value to compare by
class Tilted:
    """A prior P tilted until it expects a given utility: what `tilt` returns.

    kl: the least KL(Q ‖ P), in nats; rate: λ, in nats per unit of utility, infinite at the ends of what can
    be reached; probs (K,): the Q ∝ P e^{λu} that reaches it.
    """

    kl: float
    rate: float
    probs: np.ndarray


def tilt(prior, utility, value) -> Tilted:
    """Least impact that reaches an expected utility: min KL(Q ‖ P) over Q with E_Q u = v, in nats.

    prior (K,) P, utility (K,) u, value v. Equal to sup_λ [λv − ln E_P e^{λu}], reached by Q ∝ P e^{λu}
    (Donsker–Varadhan). With u = 1 on a goal and 0 off it this is kl(v, P(goal)), see `imp_min`. At the least
    and greatest u that P can reach, Q is P given that extreme. ValueError if v is beyond them.
    """
    prior, utility = as_distribution(prior, "prior"), as_array(utility, "utility")
    if prior.ndim != 1 or utility.shape != prior.shape:
        raise ValueError(f"prior, utility: shapes {prior.shape}, {utility.shape}, allowed is (K,) for both")
    support = prior > 0
    low, high = utility[support].min(), utility[support].max()
    share, half = _share_of_range(value, low, high), _half_range(low, high)
    unit = (utility[support] / 2 - low / 2) / half  # in [0, 1], so that the search does not depend on units
    rate = _tilt_rate(prior[support], unit, share) if high > low else 0.0
    probs = np.zeros_like(prior)
    probs[support] = _tilted(prior[support], unit, rate)
    return Tilted(max(0.0, float(rel_entr(probs, prior).sum())), float(rate / half / 2), probs)


def _half_range(low: float, high: float) -> float:
    """Half of high − low, which itself may be too large for a float; 1/2 if there is no range."""
    return (high / 2 - low / 2) or 0.5


def _share_of_range(value, low: float, high: float) -> float:
    """Where in [low, high] `value` lies, in [0, 1]; rounding error beyond the ends is clipped."""
    given, half = as_number(value, "value"), _half_range(low, high)
    slack = 1e-12 * half + 2 * np.spacing(max(abs(low), abs(high)))
    if not low / 2 - slack <= given / 2 <= high / 2 + slack:
        raise ValueError(f"value: given {shown(value)}, allowed is a number in [{low:.6g}, {high:.6g}]")
    return float(np.clip((given / 2 - low / 2) / half, 0, 1))


def _tilt_rate(prior: np.ndarray, unit: np.ndarray, share: float) -> float:
    """The λ at which the tilted prior expects `share`, infinite at 0 and 1; the mean increases in λ."""
    if share in (0, 1):
        return np.inf if share else -np.inf

    def excess(rate):
        return _tilted(prior, unit, rate) @ unit - share

    edge = 1.0
    while not excess(-edge) <= 0 <= excess(edge):
        edge *= 2
    return brentq(excess, -edge, edge, xtol=1e-14, rtol=1e-15)


def _tilted(prior: np.ndarray, unit: np.ndarray, rate: float) -> np.ndarray:
    """Q ∝ P e^{λu} for u in [0, 1]; P given the extreme u where λ is infinite."""
    if np.isinf(rate):
        extreme = np.where(unit == (rate > 0), prior, 0)
        return extreme / extreme.sum()
    return softmax(np.log(prior) + rate * unit)
