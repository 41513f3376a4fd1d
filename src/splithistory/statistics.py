"""Statistics over seeds: intervals, trends, slopes, and what a handful of seeds could have shown.

Floor 1: arrays; and tables (pandas) with the columns seed, size and n_good of models, which are only asked,
never made. Seeds are the independent replications: sizes, goals and arms of a seed share its data.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import bootstrap, mannwhitneyu, nct, page_trend_test, rankdata, ttest_1samp
from scipy.stats import f as f_distribution

from .information import (
    LARGEST,
    as_array,
    as_list,
    as_names,
    as_number,
    as_rate,
    as_reals,
    as_table,
    check_flag,
    check_integer,
    check_level,
    check_memory,
    check_seed,
    shown,
)

Interval = tuple[float, float]  # (mean, half width)
Table = Any  # a pandas.DataFrame, which this room does not import


def t_interval(values, level: float = 0.95) -> Interval:
    """Mean of independent values (one a seed, or one a set of histories) and half width of its t interval."""
    values = _independent(values)
    check_level(level)
    if _constant(values):
        return _agreed(values), 0.0
    low, high = ttest_1samp(values / (unit := _unit(values)), 0.0).confidence_interval(level)
    return float(values.mean()), float(high - low) / 2 * unit


def standard_error(values) -> Interval:
    """Mean of independent values and its standard error, 0 if they all agree."""
    values = _independent(values)
    if _constant(values):
        return _agreed(values), 0.0
    unit = _unit(values)
    return float(values.mean()), float((values / unit).std(ddof=1) / np.sqrt(len(values))) * unit


def pseudovalues(statistic: Callable, clusters: Sequence) -> np.ndarray:
    """Jackknife: what each cluster contributes to statistic(list of clusters), as independent values."""
    n = len(clusters := _clusters(clusters))
    without = np.array([statistic(clusters[:i] + clusters[i + 1 :]) for i in range(n)])
    return n * statistic(clusters) - (n - 1) * without


def told(interval: Interval, number: float = 0.0) -> int:
    """1 if an interval lies above a number, −1 if below, 0 if the two are not told apart."""
    if (ends := as_reals(interval, "interval")).shape != (2,):
        raise ValueError(f"interval: given {shown(interval)}, allowed is (mean, half width)")
    (mean, half), number = ends.tolist(), as_number(number, "number")
    return int(mean - half > number) - int(mean + half < number)


def t_test(values, *, above: float | None = None, below: float | None = None) -> float:
    """p of the one-sided t test over seeds that the mean is above, or below, a number."""
    values = _independent(values)
    if (above is None) == (below is None):
        raise ValueError(f"above, below: given {shown((above, below))}, allowed is one number")
    given, side = (below, "less") if above is None else (above, "greater")
    number = as_number(given, "below" if above is None else "above", -LARGEST, LARGEST)
    if _constant(values):  # seeds that all agree, such as AUCs of 1, leave no doubt on which side they are
        excess = number - _agreed(values) if above is None else _agreed(values) - number
        return float(excess <= 0)
    unit = _unit(np.append(values, number))
    return float(ttest_1samp(values / unit, number / unit, alternative=side).pvalue)


def _independent(values) -> np.ndarray:
    values = as_array(values, "values")
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values: shape {values.shape}, allowed are at least two independent values")
    return _squarable(values)


def _squarable(values: np.ndarray) -> np.ndarray:
    if np.abs(values).max() > LARGEST:
        raise ValueError(f"values: given up to {np.abs(values).max():g}, allowed is up to {LARGEST:g}")
    return values


def _unit(values: np.ndarray) -> float:
    """The power of two at the largest; over it squares neither vanish nor overflow."""
    return float(np.ldexp(1.0, np.frexp(np.abs(values).max())[1]))


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= 1e-15 * np.abs(values).max())


def _agreed(values: np.ndarray) -> float:
    """What all values are; their mean is rounded, and lies beside it."""
    return float(np.median(values))


def page(values, *, falling: bool = False) -> float:
    """p of Page's trend test: seeds (rows) are blocks, treatments (columns) in order, exact distribution.

    Ties have their mean rank, and every order of a block's ranks is equally likely; more than 8 treatments
    with ties are tested as if the ranks had none, which is approximate.
    """
    values = as_reals(values, "values")
    check_flag("falling", falling)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3:
        raise ValueError(
            f"values: shape {values.shape}, allowed are 2 blocks or more of 3 treatments or more"
        )
    values = values[:, ::-1] if falling else values
    ordered = np.sort(values, 1)
    if values.shape[1] <= 8 and not np.isnan(values).any() and (ordered[:, 1:] == ordered[:, :-1]).any():
        return _page_of_ties((2 * rankdata(values, axis=1)).astype(int))
    return float(page_trend_test(values, method="exact").pvalue)


def _page_of_ties(ranks: np.ndarray) -> float:
    """p of blocks (rows) of doubled mean ranks: how often Σ column · rank is as large, over their orders."""
    shares = np.ones(1)  # of each value of the sum, block after block
    for block in np.sort(ranks, 1).tolist():
        shares = np.convolve(shares, _page_shares(tuple(block)))
    found = (ranks @ np.arange(1, ranks.shape[1] + 1)).sum()
    return float(min(1.0, shares[found:].sum()))


@lru_cache(maxsize=64)
def _page_shares(ranks: tuple[int, ...]) -> np.ndarray:
    sums = np.array(list(permutations(ranks))) @ np.arange(1, len(ranks) + 1)
    return np.bincount(sums) / len(sums)


def f_test(values) -> float:
    """p of the F test that the columns have one mean; rows are blocks (seeds).

    Columns may spread unlike: degrees of freedom are multiplied by Greenhouse and Geisser's epsilon.
    """
    values = as_array(values, "values")
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"values: shape {values.shape}, allowed are two or more blocks and columns")
    blocks, columns = values.shape
    apart = _squarable(values) - values[:, :1]  # exactly 0 where columns agree, as a rounded mean is not
    apart = apart / _unit(apart)  # what is tested has no scale
    centred = apart - apart.mean(1, keepdims=True)
    between = blocks * (centred.mean(0) ** 2).sum() / (columns - 1)
    rest = centred - centred.mean(0)
    within = (rest**2).sum() / ((blocks - 1) * (columns - 1))
    if within < np.finfo(float).tiny:  # blocks that all agree leave no doubt
        return float(between == 0)
    rest = rest / _unit(rest)
    covariance = rest.T @ rest
    epsilon = np.trace(covariance) ** 2 / ((columns - 1) * (covariance**2).sum())
    freedom = epsilon * (columns - 1)
    return float(f_distribution.sf(between / within, freedom, (blocks - 1) * freedom))


def holm(family: Mapping[str, float]) -> dict[str, float]:
    """p values corrected by Holm's procedure: reject those at most the level."""
    if not isinstance(family, Mapping) or not family:
        raise ValueError(f"family: given {shown(family)}, allowed is {{name: p}}")
    as_rate(list(family.values()), "family")
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(family, key=family.__getitem__)):
        largest = max(largest, min(1.0, (len(family) - rank) * family[name]))
        corrected[name] = largest
    return corrected


def auc(right, wrong):
    """Probability that a right pair scores higher than a wrong one, ties counting half (Mann and Whitney).

    Along the last axis; a float, or an array where there are others.
    """
    right, wrong = (np.atleast_1d(as_reals(v, name)) for v, name in ((right, "right"), (wrong, "wrong")))
    n_right, n_wrong = right.shape[-1], wrong.shape[-1]
    if np.isnan(right).any() or np.isnan(wrong).any():
        raise ValueError("right, wrong: NaN among the scores, allowed are numbers")
    if not n_right or not n_wrong:
        raise ValueError(f"auc: given {n_right} right and {n_wrong} wrong, allowed is at least one of each")
    with np.errstate(divide="ignore", invalid="ignore"):  # of a p value that is not asked for
        statistic = mannwhitneyu(right, wrong, method="asymptotic", axis=-1).statistic
    found = statistic / (n_right * n_wrong)
    return found if np.ndim(found) else float(found)


def clustered_interval(
    statistic: Callable, clusters: Sequence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a number, statistic(list of clusters), drawn whole.

    With few clusters it is too narrow; it says how far the seeds agree, no more.
    """
    clusters = _clusters(clusters)
    check_level(level)
    check_seed(seed), check_integer("resamples", resamples, 1, 10**7)
    with warnings.catch_warnings():
        # clusters that all agree have a degenerate distribution, and no width
        warnings.simplefilter("ignore")
        found = bootstrap(
            (np.arange(len(clusters)),),
            lambda drawn: _one_number(statistic([clusters[i] for i in drawn])),
            method="percentile",
            vectorized=False,
            confidence_level=level,
            n_resamples=resamples,
            rng=np.random.default_rng(seed),
        )
    return percentiles(found.bootstrap_distribution, level)


def _one_number(found):
    if np.ndim(found):
        raise ValueError(f"statistic: returned shape {np.shape(found)}, allowed is a number")
    return found


def _clusters(clusters) -> list:
    clusters = as_list(clusters)
    if len(clusters) < 2:
        raise ValueError(f"clusters: given {len(clusters)}, allowed are at least 2 independent ones")
    return clusters


def redrawn(values, axes: int = 1, *, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Means (resamples, ...) of `values` with clusters drawn anew, the same draws as of `clustered_interval`.

    values: (..., S), a number of each of S clusters; with axes=2 (..., S, S), of each pair of them.
    """
    values = as_array(values, "values")
    if not values.ndim or not values.size:
        raise ValueError(f"values: shape {values.shape}, allowed is a number of each cluster")
    n = values.shape[-1]
    if check_integer("axes", axes, 1, 2) == 2 and values.shape[-2:] != (n, n):
        raise ValueError(f"values: shape {values.shape}, allowed with axes=2 is (..., S, S)")
    check_memory("resamples", resamples, 9.0 * check_integer("resamples", resamples, 1) * n * n)
    drawn = np.random.default_rng(check_seed(seed)).integers(n, size=(resamples, n))
    weights = (drawn[..., None] == np.arange(n)).mean(1)  # (resamples, S): how often each was drawn
    means = np.moveaxis(values @ weights.T, -1, 0)
    return means if axes == 1 else np.einsum("r...s,rs->r...", means, weights)


def percentiles(draws, level: float = 0.95) -> Interval:
    """(low, high): the middle share `level` of draws."""
    check_level(level)
    draws = as_reals(draws, "draws")
    if not draws.size or np.isnan(draws).any():
        raise ValueError(f"draws: given {shown(draws.tolist())}, allowed are numbers, one or more")
    # between infinite numbers there is no mean
    between: Any = "linear" if np.abs(draws).max() < LARGEST else "nearest"
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method=between)
    return float(low), float(high)


def detectable(half: float, n: int, *, level: float = 0.95, power: float = 0.8) -> float:
    """The true mean that a t interval of n values, of this half width, would put above 0 with this power.

    At the spread that was observed, from the noncentral t distribution; in the unit of `half`. ValueError if
    n is below 2, or if chance alone has this power, (1 − level)/2, at a true mean of 0.
    """
    half = as_number(half, "half", 0)
    check_level(level)
    check_level(power)
    critical = upper = stdtrit(check_integer("n", n, 2) - 1, (1 + level) / 2)

    def missing(shift: float) -> float:  # shift: the true mean in standard errors
        return float(nct.sf(critical, n - 1, shift)) - power

    if missing(0.0) >= 0:
        raise ValueError(f"power: given {power:g}, allowed is above {(1 - level) / 2:g}, (1 - level) / 2")
    while missing(upper := 4 * upper) < 0:
        pass
    return float(half / critical * brentq(missing, 0.0, upper))


# --- tables of models: columns seed, size, n_good and what was measured -----------------------------------


def by_seed(table: Table, column: str) -> Interval:
    """`t_interval` of a column of models, one mean a seed."""
    return t_interval(as_table(table, "seed", column).groupby("seed")[column].mean())


def accuracy(table: Table, column: str) -> tuple[float, tuple[float, float]]:
    """Mean over seeds of each seed's mean of a column, such as whether a guess was right; its 95 % interval.

    A seed counts as one, however many rows it has; for the interval whole seeds are drawn anew.
    """
    means = as_table(table, "seed", column).groupby("seed")[column].mean().to_numpy(dtype=float)
    return float(means.mean()), percentiles(redrawn(means))


def by_goal(table: Table, column: str) -> dict[int, Interval]:
    """{n_good: t_interval} of a column of models, over seeds.

    Sizes of a seed are averaged first: they share its data, so a seed is one replication.
    """
    of_models = as_table(table, "n_good", "seed", column).groupby(["n_good", "seed"])
    values = of_models[column].mean().unstack()
    return {n_good: t_interval(row.dropna()) for n_good, row in values.iterrows()}


def by_level(table: Table, level: str, columns: Sequence[str]) -> dict[float, dict[str, Interval]]:
    """{level: {column: t_interval}} over the rows of each level, one a seed."""
    groups = as_table(table, level, *as_names(columns, "columns")).groupby(level)
    return {at: {column: t_interval(rows[column]) for column in columns} for at, rows in groups}


def lead_over(table: Table, one: str, other: str, *, column: str = "right", level: float = 0.95) -> Interval:
    """Mean of a column of one rule less that of another (column by), a difference a seed, at a level."""
    means = as_table(table, "by", "seed", column).groupby(["by", "seed"])[column].mean()
    rules = means.index.unique("by")
    for rule in (one, other):
        if not isinstance(rule, str) or rule not in rules:
            raise ValueError(f"rule: given {shown(rule)}, allowed are {', '.join(map(str, rules))}")
    return t_interval((means[one] - means[other]).astype(float), level)


def median_sizes(table: Table, *columns: str) -> Table:
    """Median over models of absolute values of columns, a row a seed."""
    return as_table(table, "seed", *columns)[list(columns)].abs().groupby(table["seed"]).median()


def paired(there: Table, here: Table, column: str) -> Table:
    """What is in both tables by size, seed and n_good, with the difference there − here of a column.

    ValueError: `here` has several rows of a size, seed and goal: which of them to compare with, is not said.
    """
    keys = ["size", "seed", "n_good"]
    there, here = (as_table(table, *keys, column)[[*keys, column]] for table in (there, here))
    if twice := here[keys][here.duplicated(keys)].drop_duplicates().values.tolist():
        raise ValueError(f"here: given several rows of {keys} = {twice[0]}, allowed is one row of each")
    both = there.merge(here, on=keys)
    return both[keys].assign(**{column: both[f"{column}_x"] - both[f"{column}_y"]})


def paired_by_seed(there: Table, here: Table, column: str) -> Table:
    """`paired`, one mean over sizes and goals a seed, indexed by seed."""
    return paired(there, here, column).groupby("seed")[column].mean()


def over_seeds(table: Table, columns: Sequence[str], by: Sequence[str]) -> dict:
    """{group of rows: {column: `by_seed`}}; groups of a single seed are left out, they have no interval."""
    return {
        group: {column: by_seed(rows, column) for column in columns}
        for group, rows in _groups(as_table(table, "seed"), columns, by)
        if rows["seed"].nunique() > 1
    }


def _groups(table: Table, columns: Sequence[str], by: Sequence[str]):
    by = as_names(by, "by")
    return as_table(table, *by, *as_names(columns, "columns")).groupby(by, sort=False)


def changes(there: Table, here: Table, columns: Sequence[str], by=("arm", "size")) -> dict:
    """{group of rows: {column: t_interval of its change}} of `there` against `here`, paired by seed.

    Groups with a single pair of seeds, or none, are left out.
    """
    pairs = {
        group: {column: paired_by_seed(rows, here, column) for column in columns}
        for group, rows in _groups(there, columns, by)
    }
    return {
        group: {column: t_interval(values) for column, values in of.items()}
        for group, of in pairs.items()
        if min(map(len, of.values()), default=0) > 1
    }


def imp_ratio(table: Table) -> Table:
    """A table with the column ratio, imp over imp_min: infinite where imp is, NaN where both are 0."""
    ratio = as_table(table, "imp", "imp_min")["imp"] / table["imp_min"]
    return table.assign(ratio=ratio.mask(table["imp"] == np.inf, np.inf))


def over_seeds_and_sets(whole: Table, left_out: Sequence[Table], level: float = 0.95) -> dict[int, Interval]:
    """{n_good: interval of that level} of values indexed by n_good and seed, over two sources of chance.

    Seeds, as in `t_interval`; and sets that all seeds share, by a jackknife: left_out are the same values
    without each of the sets in turn. Both variances add.
    """
    check_level(level)
    found, n = {}, len(left_out := _clusters(left_out))
    for n_good, values in whole.groupby("n_good"):
        mean, error = standard_error(values)
        means = [each[n_good].mean() for each in left_out]
        of_sets = (n - 1) ** 2 / n * np.var(means, ddof=1)
        found[n_good] = (
            mean,
            float(stdtrit(len(values) - 1, (1 + level) / 2) * np.hypot(error, np.sqrt(of_sets))),
        )
    return found
