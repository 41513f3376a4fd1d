"""Instruments tried where the answer is known: policies measured exactly, drawn again and again, and theory.

Floor 4. A draw of N histories turns a policy's true shares T of classes and actions into T̂, and a smooth
function of them is off by g·(T̂−T) + ½ (T̂−T)·H(T̂−T) up to second order: `expansion`. Tables (pandas) are
asked and added to, never made.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import ndtr

from .estimators import bias_corrected, success_interval
from .information import (
    as_measured,
    as_names,
    as_table,
    as_tables,
    check_integer,
    check_memory,
    check_seed,
    imp_min,
    implied_op,
    shown,
)
from .measure import Futures, SplitHistory
from .policies import always, maximum_entropy

GOAL = (0, 4)
STRENGTHS = (0.0, 0.5, 2.0, 5.0, 50.0)  # β of the policy exp(β P(success|m, a)); 0 ignores its input
QUANTITIES = ("op", "imp", "s", "s_prime", "imp_min", "gap")
_NORMAL = 1.96
Table = Any  # a pandas.DataFrame, which this room does not import


def known(world) -> dict[float, SplitHistory]:
    """Policies by their strength, measured exactly; at strength 0 one that always plays 13."""
    return {b: maximum_entropy(world, GOAL, b) if b else always(world, 13) for b in STRENGTHS}


def quantities(futures: Futures) -> np.ndarray:
    """Values of QUANTITIES, information in nats, behind any leading axes."""
    s, s_prime = futures.success(GOAL), futures.counterfactual_success(GOAL)
    gap = futures.op - implied_op(s, len(GOAL) / futures.n_outcomes)
    return np.stack([futures.op, futures.imp, s, s_prime, imp_min(s, s_prime), gap], -1)


class Expansion(NamedTuple):
    """A quantity's error to second order in the draw of N histories; Σ = diag(T) − T Tᵀ.

    gradient: g (M·A,); bias: N times the bias, tr(CΣ)/2; first, second: the variance is first/N + second/N²,
    gᵀΣg and tr(CΣCΣ)/2; C: the second derivatives.
    """

    gradient: np.ndarray
    bias: float
    first: float
    second: float

    def sd(self, n):
        """Standard deviation over draws of n histories."""
        return np.sqrt(self.first / n + self.second / n**2)

    def width(self, n):
        """Width of the bootstrap's intervals over the true one: it counts the second order three times."""
        return np.sqrt((n * self.first + 3 * self.second) / (n * self.first + self.second))


def expansion(function: Callable, truth: SplitHistory, names=QUANTITIES) -> dict[str, Expansion]:
    """The errors of a function of the shares, torch (M, A) -> (Q,), by the name of each of its values."""
    names, shares = as_names(names, "names"), torch.tensor(truth.counts / truth.counts.sum())
    flat, size = shares.ravel(), shares.numel()
    g = torch.func.jacrev(function)(shares).reshape(-1, size)
    h = torch.func.jacrev(torch.func.jacrev(function))(shares).reshape(-1, size, size)
    if len(g) != len(names):
        raise ValueError(f"names: given {shown(names)}, allowed are {len(g)}, one a value of the function")
    sigma = torch.diag(flat) - torch.outer(flat, flat)
    h_sigma = h @ sigma
    first = torch.einsum("qi,ij,qj->q", g, sigma, g).clamp(min=0)
    terms = torch.einsum("qii->q", h_sigma) / 2, first, torch.einsum("qij,qji->q", h_sigma, h_sigma) / 2
    return {name: Expansion(g[q].numpy(), *(np.float64(t[q]) for t in terms)) for q, name in enumerate(names)}


def errors(tried: Mapping[str, Callable], truth: float, *samples: Mapping[int, np.ndarray]) -> list[dict]:
    """How far estimators are off: a row for each N of the samples {N: (R, K)} and each estimator.

    bias, sd and se (of the bias) over the `runs` of R in which every estimator is finite; infinite: the share
    of the others.
    """
    rows = []
    for n in samples[0]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of infinite divergences, which are counted
            found = np.array([estimate(*(sample[n] for sample in samples)) for estimate in tried.values()])
        finite = np.isfinite(found).all(0)
        for name, off in zip(tried, found[:, finite] - truth, strict=True):
            spread = {"sd": off.std(ddof=1), "se": off.std(ddof=1) / np.sqrt(len(off)), "runs": len(off)}
            row = {"estimator": name, "n": n, "bias": off.mean(), "infinite": 1 - finite.mean()}
            rows.append(row | spread)
    return rows


def draw(truth: SplitHistory, n: int, tables: int, resamples: int, seed) -> tuple[np.ndarray, np.ndarray]:
    """Shares (R, M·A) of tables of n histories drawn from a policy; and of each drawn again, (B, R, M·A)."""
    for name, value in (("n", n), ("tables", tables), ("resamples", resamples)):
        check_integer(name, value, 1)
    check_memory(
        "tables, resamples", (tables, resamples), 16.0 * tables * (resamples + 1) * truth.counts.size
    )
    rng, shares = np.random.default_rng(check_seed(seed)), truth.counts.ravel() / truth.counts.sum()
    once = rng.multinomial(n, shares, tables) / n
    return once, rng.multinomial(n, once, (resamples, tables)) / n


def measured(truth: SplitHistory, shares: np.ndarray) -> np.ndarray:
    """QUANTITIES (..., 6) of shares (..., M·A) in a policy's world."""
    shares = as_measured(shares, "shares")
    if shares.shape[-1] != truth.counts.size:
        raise ValueError(f"shares: shape {shares.shape}, allowed is (..., {truth.counts.size})")
    tables = shares.reshape(*shares.shape[:-1], *truth.counts.shape)
    return quantities(Futures.of_tables(*as_tables(tables, truth.world)))


def exact_errors(truth: SplitHistory, theory: Mapping[str, Expansion], n: int, **how) -> list[dict]:
    """Errors of the exact measure of n histories, over drawn tables: a row for Op, one for Imp; nats.

    how: of `draw`. bias, corrected by resampling, and sd, each with its 95 % error. The first order of the
    error has mean 0: it is taken out before means are formed.
    """
    (once, again), shares = draw(truth, n, **how), truth.counts.ravel() / truth.counts.sum()
    found, resampled, rows = measured(truth, once), measured(truth, again), []
    for q, name in enumerate(QUANTITIES[:2]):
        true, g = quantities(truth)[q], theory[name].gradient
        raw = found[:, q] - true - (once - shares) @ g
        mended = 2 * raw - (resampled[..., q] - true - (again - shares) @ g).mean(0)
        off = found[:, q] - found[:, q].mean()
        sd = off.std(ddof=1)
        of_sd = np.sqrt(np.mean(off**4) - sd**4) / (2 * sd)
        row = {"bias": raw.mean(), "corrected": mended.mean(), "sd": sd}
        spread = zip(row, (raw.std(ddof=1), mended.std(ddof=1), of_sd), strict=True)
        ends = {f"{c}_error": _NORMAL * s / np.sqrt(len(once)) for c, s in spread}
        rows.append({"quantity": name, "n": n} | row | ends)
    return rows


def sampled_errors(trials: Table) -> Table:
    """Trials of the post's procedure with bias and sd, each with its 95 % error (of sd as for normal values).

    share: of the runs, those in which the quantity is finite; the others do not enter.
    """
    as_table(trials, "mean", "sd", "truth", "finite", "runs")
    error = _NORMAL * trials["sd"] / np.sqrt(trials["finite"])
    ends = {"bias_error": error, "sd_error": error / np.sqrt(2)}
    bias, share = trials["mean"] - trials["truth"], trials["finite"] / trials["runs"]
    return trials.assign(bias=bias, share=share, **ends)


def explained(coverage: Table, theory: Mapping[float, Mapping[str, Expansion]]) -> Table:
    """The coverage of 95 % intervals and what explains it; inside, above, below: 93 % to 97 %, or certain.

    certain: no draw changes the value; low, high: Clopper–Pearson interval of the share covered; ratio: mean
    width over that of a normal interval of the true sd, and as theory has it; by_width: what normal values
    would be covered by that width.
    """
    as_table(coverage, "strength", "quantity", "n", "repetitions", "covered", "width", "sd")
    if not isinstance(theory, Mapping) or not set(coverage["strength"]) <= set(theory):
        raise ValueError(f"theory: given {shown(theory)}, allowed is {{strength: expansions}} for each")
    trials, covered = coverage["repetitions"], coverage["covered"]
    low, high = success_interval((covered * trials).round().astype(int), trials)
    certain = (coverage["sd"] < 1e-9) & (covered == 1)
    ratio = (coverage["width"] / (2 * _NORMAL * coverage["sd"])).mask(certain)
    cells = zip(coverage["strength"], coverage["quantity"], coverage["n"], strict=True)
    with np.errstate(invalid="ignore"):  # 0/0 of what is certain
        expected = [theory[b][name].width(n) for b, name, n in cells]
    sides = {"inside": covered.between(0.93, 0.97), "certain": certain}
    sides |= {"above": (covered > 0.97) & ~certain, "below": covered < 0.93}
    why = {"ratio": ratio, "theory": expected, "by_width": 2 * ndtr(_NORMAL * ratio) - 1}
    return coverage.assign(low=low, high=high, **sides, **why)


def misses(truth: SplitHistory, once: np.ndarray, again: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error and half width (R, 6) of the 95 % interval of each table that `draw` gives."""
    low, high = bias_corrected(measured(truth, once), measured(truth, again))
    return (low + high) / 2 - quantities(truth), (high - low) / 2


def sides(error: np.ndarray, half: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """On which side intervals (R,) miss: value, low and high of two shares and a correlation (95 %).

    missed: of all intervals; too_high: of those that miss; linked: error with half width (Fisher's z).
    """
    error, half = as_measured(error, "error"), as_measured(half, "half")
    if error.ndim != 1 or error.shape != half.shape or len(error) < 4 or not (np.ptp(error) and np.ptp(half)):
        shapes = f"shapes {error.shape} and {half.shape}"
        raise ValueError(f"error, half: given {shapes}, allowed are (R >= 4,), not all alike")
    missed = np.abs(error) > half
    linked = np.corrcoef(error, half)[0, 1]
    ends = np.tanh(np.arctanh(linked) + _NORMAL / np.sqrt(len(error) - 3) * np.array([-1, 1]))
    return {"missed": share(missed), "too_high": share(error[missed] > 0), "linked": (linked, *ends)}


def share(held: np.ndarray) -> tuple[float, float, float]:
    """Share of trials that hold, with the ends of its 95 % Clopper–Pearson interval."""
    held = as_measured(held, "held")
    if held.ndim != 1 or not np.isin(held, (0, 1)).all():
        raise ValueError(f"held: shape {held.shape}, allowed are truth values (R,)")
    low, high = success_interval(int(held.sum()), len(held))
    return float(held.mean()), float(low), float(high)
