"""Entropies and divergences estimated from samples, in nats, and intervals for what is estimated.

Floor 1: knows counts only. `counts` (..., K) tells how often each of K outcomes was drawn. K is known: an
outcome that was never drawn was still possible. The corrections are for N well above K, where a plug-in
estimate is biased by about (K−1)/2N; none of them helps where N is below K.
"""

import warnings

import numpy as np
from scipy.special import ndtri, rel_entr, xlog1py
from scipy.stats import binomtest

from .information import (
    LARGEST,
    as_array,
    as_distribution,
    as_reals,
    binary_kl,
    check_integer,
    check_level,
    check_seed,
    entropy,
    kl,
    shown,
    to_numpy,
)

_INFINITE = "infinite: the reference lacks an outcome that was drawn"
_UNDEFINED = "undefined: the reference has only one draw of an outcome that was drawn"


def entropy_plugin(counts) -> np.ndarray:
    """Entropy of the observed shares, in nats; counts (..., K) -> (...). Too low: see `bias_of_entropy`.

    ValueError if counts are not integers >= 0 or a row is empty; the same holds for every function here.
    """
    return entropy(_shares(_as_counts(counts, "counts")))


def entropy_miller_madow(counts) -> np.ndarray:
    """Plug-in entropy plus (K−1)/2N, in nats; counts (..., K) -> (...). Miller (1955).

    All K cells count, also the empty ones: K is known here. Where it is not, only the cells seen can count.
    """
    counts = _as_counts(counts, "counts")
    return entropy_plugin(counts) + (counts.shape[-1] - 1) / (2 * counts.sum(-1))


def entropy_jackknife(counts) -> np.ndarray:
    """Delete-one jackknife of the plug-in entropy, in nats; counts (..., K) -> (...). Zahl (1977).

    N H − (N−1) mean_i H_{−i} in closed form. ValueError if a row has fewer than 2 draws.
    """
    counts = _as_counts(counts, "counts", least=2)
    return _log_deleted(counts.sum(-1)) - (_shares(counts) * _log_deleted(counts)).sum(-1)


def kl_plugin(counts, reference_counts) -> np.ndarray:
    """KL(p̂ ‖ q̂) of two independent samples' shares, in nats; shapes (..., K) -> (...).

    Infinite, with a UserWarning, where the first sample has an outcome that the second lacks. Too high:
    see `bias_of_kl`.
    """
    value = rel_entr(*map(_shares, _as_pair(counts, reference_counts))).sum(-1)
    _warn(np.isinf(value), _INFINITE)
    return value


def kl_corrected(counts, reference_counts) -> np.ndarray:
    """Plug-in KL minus its first-order bias, in nats; shapes (..., K) -> (...).

    The bias is that of `bias_of_kl`, with the observed shares put in and all K cells counted. May be
    negative where the true divergence is small (cutting it off at 0 would bring a bias back). Infinite,
    with a UserWarning, where `kl_plugin` is.
    """
    counts, reference = _as_pair(counts, reference_counts)
    shares = _shares(counts), _shares(reference)
    bias = _kl_bias(*shares, counts.shape[-1], counts.sum(-1), reference.sum(-1))
    value = rel_entr(*shares).sum(-1) - bias
    _warn(np.isinf(value), _INFINITE)
    return value


def kl_jackknife(counts, reference_counts) -> np.ndarray:
    """Plug-in KL minus the jackknife's bias, one draw deleted from either sample; nats, (..., K) -> (...).

    In closed form: KL is Σ p̂_k (ln p̂_k − ln q̂_k), and each logarithm has its own jackknife.
    Infinite where `kl_plugin` is, and nan where deleting the only draw of an outcome from the second sample
    makes it infinite: each with a UserWarning. ValueError if a sample has fewer than 2 draws.
    """
    counts, reference = _as_pair(counts, reference_counts, least=2)
    drawn, n, m = counts > 0, counts.sum(-1, keepdims=True), reference.sum(-1, keepdims=True)
    logs = _log_deleted(counts) - _log_deleted(n) - _log_reference_deleted(reference, m) + _log_deleted(m)
    infinite, undefined = (((reference == cell) & drawn).any(-1) for cell in (0, 1))
    _warn(infinite, _INFINITE)
    _warn(undefined & ~infinite, _UNDEFINED)
    value = (_shares(counts) * np.where(reference > 1, logs, 0)).sum(-1)
    return np.where(infinite, np.inf, np.where(undefined, np.nan, value))[()]


def bias_of_entropy(probs, n) -> np.ndarray:
    """First-order bias −(K−1)/2n of the plug-in entropy of n draws, in nats; probs (..., K) -> (...).

    K counts the outcomes of positive probability; n broadcasts with the leading axes.
    """
    cells = (as_distribution(probs, "probs") > 0).sum(-1)
    return -(cells - 1) / (2 * _sizes(n, "n"))


def bias_of_kl(probs, reference, n, n_reference) -> np.ndarray:
    """First-order bias (K−1)/2n + (Σ_k p_k/q_k − 1)/2m of the plug-in KL, in nats; (..., K) -> (...).

    n, m: draws from P (probs) and, independently, from Q (reference). K as in `bias_of_entropy`. Given that
    the sample of Q has all outcomes of P; otherwise the plug-in is infinite. For P = Q and n = m: (K−1)/n.
    ValueError if KL(P ‖ Q) itself is infinite.
    """
    if np.isinf(kl(probs, reference)).any():
        raise ValueError("reference: lacks an outcome of probs, allowed are references that have them all")
    probs, reference = as_distribution(probs, "probs"), as_distribution(reference, "reference")
    sizes = _sizes(n, "n"), _sizes(n_reference, "n_reference")
    return _kl_bias(probs, reference, (probs > 0).sum(-1), *sizes)


def success_interval(successes, n, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Clopper–Pearson interval (low, high) for a success rate, from `successes` in n independent trials.

    Chosen over Wilson's because it covers at every rate, near 1 too, where good policies are.
    Only for a binomial s: one drawn outcome a history. Not for s', whose pairs share histories, nor for a
    rate averaged over the world's noise: `paired_interval` is for these. Arrays broadcast.
    """
    check_level(level)
    successes, n = to_numpy(successes, "successes"), to_numpy(n, "n")
    as_array(successes, "successes"), as_array(n, "n")

    def ends(k, trials):
        trials = check_integer("n", trials, 1)
        if check_integer("successes", k, 0) > trials:
            raise ValueError(f"successes: given {k}, allowed are 0 to n = {trials}")
        return tuple(binomtest(k, trials).proportion_ci(level, "exact"))

    return np.vectorize(ends, otypes=[float, float])(successes, n)


def paired_interval(function, samples, *, level: float = 0.95, n_resamples: int = 2000, seed: int = 0):
    """Bootstrap interval (low, high) of function(samples), rows of samples (N, ...) drawn whole.

    function((N, ...) rows) -> an array of any one shape, which the ends have too. The bootstrap's bias is
    subtracted and its standard error gives a normal interval (`bias_corrected`).
    A row must hold all that its history contributes, as what it asks of the world and what the policy
    answers: s' has to be computed anew from the pairs of the rows drawn. Success rates per action, computed
    once, would hold the histories of the world fixed and give too narrow an interval.
    ValueError if there are fewer than 2 rows, or if a resample's value is not finite.
    """
    check_level(level)
    check_integer("n_resamples", n_resamples, 2)
    samples, rng = to_numpy(samples, "samples"), np.random.default_rng(check_seed(seed))
    _bounded(samples, "samples")
    if samples.ndim == 0 or len(samples) < 2 or not samples.size:
        raise ValueError(f"samples: shape {samples.shape}, allowed is (N, ...) with N >= 2")
    value = np.asarray(function(samples), dtype=np.float64)
    drawn = (rng.integers(len(samples), size=len(samples)) for _ in range(n_resamples))
    draws = np.stack([np.asarray(function(samples[rows]), dtype=np.float64) for rows in drawn])
    bad = n_resamples - np.isfinite(draws + value).reshape(n_resamples, -1).all(-1).sum()
    if bad:
        raise ValueError(f"function: not finite for {bad} of {n_resamples} resamples, allowed is finite")
    return bias_corrected(value, draws, level)


def bias_corrected(value, draws: np.ndarray, level: float = 0.95) -> tuple:
    """Normal interval (low, high) of a bootstrap: its bias subtracted, its standard error for the width.

    value (...): of the sample; draws (R, ...): of R resamples. Where the value is infinite both ends are;
    where only a resample is, the upper end is, and the lower one is the draws' quantile.
    """
    check_level(level)
    value, draws = _bounded(value, "value"), _bounded(draws, "draws")
    if draws.shape[1:] != value.shape or draws.ndim != value.ndim + 1 or len(draws) < 2:
        shapes = f"shapes {draws.shape} and {value.shape}"
        raise ValueError(f"draws, value: given {shapes}, allowed are (R >= 2, ...) and (...)")
    endless = ~np.isfinite(draws).all(0) | ~np.isfinite(value)
    with np.errstate(invalid="ignore"):
        half, centre = ndtri((1 + level) / 2) * draws.std(0, ddof=1), 2 * value - draws.mean(0)
    if not endless.any():
        return centre - half, centre + half
    least = np.quantile(draws, (1 - level) / 2, axis=0, method="lower")
    low = np.where(np.isinf(value), value, np.where(endless, least, centre - half))
    return low[()], np.where(endless, np.inf, centre + half)[()]


def kl_interval(rates, samples, *, level: float = 0.95, n_resamples: int = 2000, seed: int = 0):
    """Joint bootstrap interval (low, high) of kl(s, s'), in nats, from rates((N, ...) rows) -> (s, s').

    By way of the signed root z = sgn(s−s')·√(2 kl(s, s')): where s and s' are close kl is quadratic in their
    difference and a plain bootstrap of it does not cover, while z is linear. The interval for z is mapped
    to z²/2, and starts at 0 where z can have either sign. Otherwise as `paired_interval`.
    """

    def signed_root(rows):
        s, s_prime = rates(rows)
        return np.sign(np.subtract(s, s_prime)) * np.sqrt(
            2 * np.maximum(binary_kl(s, s_prime), 0)
        )  # no −1e-17

    ends = paired_interval(signed_root, samples, level=level, n_resamples=n_resamples, seed=seed)
    both_signs = (ends[0] < 0) & (ends[1] > 0)
    low, high = np.sort(np.square(ends) / 2, axis=0)
    return np.where(both_signs, 0.0, low)[()], high


def _bounded(values, name: str) -> np.ndarray:
    """Real numbers, infinite ones too, but none whose square would overflow; ValueError otherwise."""
    array = as_reals(values, name)
    if np.isnan(array).any() or (np.abs(array[np.isfinite(array)]) > LARGEST).any():
        raise ValueError(f"{name}: given {shown(values)}, allowed are numbers up to 1e150")
    return array


def _as_counts(values, name: str, least: int = 1) -> np.ndarray:
    """`values` as float64 counts (..., K) of at least `least` draws a row; ValueError otherwise."""
    counts = as_array(values, name)
    if counts.ndim == 0 or counts.shape[-1] == 0:
        raise ValueError(f"{name}: shape {counts.shape}, allowed is a non-empty last axis of outcomes")
    wrong = (counts < 0) | (counts != np.round(counts))
    if wrong.any():
        bad = np.argwhere(wrong)[0].tolist()
        raise ValueError(f"{name}: entry {bad} is {counts[tuple(bad)]:.6g}, allowed are integers >= 0")
    if (counts.sum(-1) < least).any():
        bad = np.argwhere(counts.sum(-1) < least)[0].tolist()
        raise ValueError(f"{name}: row {bad} sums to {counts[tuple(bad)].sum():.0f}, allowed is >= {least}")
    return counts


def _as_pair(counts, reference_counts, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    counts = _as_counts(counts, "counts", least)
    reference = _as_counts(reference_counts, "reference_counts", least)
    if counts.shape[-1] != reference.shape[-1]:
        given, allowed = reference.shape[-1], counts.shape[-1]
        raise ValueError(f"reference_counts: {given} outcomes, allowed are as many as counts: {allowed}")
    return counts, reference


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(-1, keepdims=True)


def _sizes(n, name: str) -> np.ndarray:
    n = as_array(n, name)
    if (n < 1).any():
        raise ValueError(f"{name}: given {n.min():.6g}, allowed are numbers of draws >= 1")
    if (n > 1e18).any():
        raise ValueError(f"{name}: given {n.max():.6g}, allowed are numbers of draws <= 1e18")
    return n


def _kl_bias(probs, reference, n_cells, n, m):
    """(K−1)/2n + (Σ p/q − 1)/2m, by the delta method, cells without mass in q left out.

    p̂ and q̂ are independent, so E[Σ p̂ ln p̂] adds (K−1)/2n as it does to the entropy, and E[−ln q̂_k] is
    −ln q_k + Var(q̂_k)/2q_k² = −ln q_k + (1−q_k)/(2m q_k), which weighted by p_k adds (Σ p/q − 1)/2m.
    """
    mass = reference > 0
    ratios = np.where(mass, probs, 0) / np.where(mass, reference, 1)
    return (n_cells - 1) / (2 * n) + (ratios.sum(-1) - 1) / (2 * m)


def _log_deleted(x):
    """x ln x − (x−1) ln(x−1): what the jackknife of the entropy puts in place of ln x (0 for x = 0)."""
    x = np.maximum(x, 1)
    return np.log(x) - xlog1py(x - 1, -1 / x)


def _log_reference_deleted(x, m):
    """ln x + (1 − 1/m) x ln(x/(x−1)): the jackknife's ln x for a cell of the reference, for x > 1 of m draws.

    m ln x − (m−1)/m · [x ln(x−1) + (m−x) ln x]: the deleted draw is one of this cell x times in m.
    """
    x = np.maximum(x, 2)
    return np.log(x) - (1 - 1 / m) * xlog1py(x, -1 / x)


def _warn(cases: np.ndarray, what: str) -> None:
    if cases.any():
        warnings.warn(f"KL estimate: {cases.sum()} of {cases.size} are {what}", UserWarning, stacklevel=3)
