"""An effect and the region in which a claim puts it: on the claim's side, on the other, or undecided.

The one rule of the ledger. A claim names a region, whose edge is the smallest effect that matters. It is
borne out if the effect lies in the region by more than chance allows, contradicted if it lies outside by
more than chance allows, and undecided else. A large p is no refutation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from ...statistics import detectable, standard_error

_CERTAIN = 10**6  # degrees of freedom that are as good as infinitely many


@dataclass(frozen=True)
class Effect:
    """A number, what chance leaves of it, and the region in which a claim puts it.

    estimate, error: the number and its standard error, 0 if it is exact; freedom: degrees of freedom of its t
    distribution; low, high: ends of the region; outside: whether the claim is that the number lies outside of
    it; named: p of the test that the criterion names, for the claim, instead of that of t.
    """

    estimate: float
    error: float = 0.0
    freedom: float = np.inf
    low: float = -np.inf
    high: float = np.inf
    outside: bool = False
    named: float | None = None

    @property
    def tested(self) -> bool:
        """Whether chance has a part in it."""
        return self.error > 0 or self.named is not None

    @property
    def refutable(self) -> bool:
        """Whether data can speak against it, as none can against a number being off one point."""
        return not (self.outside and self.low == self.high)

    @property
    def p_for(self) -> float:
        """p of the test that the number is not where the claim puts it; two-sided if that is off a point."""
        if self.named is not None:
            return self.named
        return self._beyond() if self.outside else self._within()

    @property
    def p_against(self) -> float:
        """p of the test that the number is where the claim puts it, one-sided; 1 where there is none."""
        if not self.refutable:
            return 1.0
        return self._within() if self.outside else self._beyond()

    def _within(self) -> float:
        return max(self._above(self.low), self._below(self.high))

    def _beyond(self) -> float:
        ends = np.isfinite([self.low, self.high])
        p = min(self._below(self.low), self._above(self.high))
        return min(1.0, max(1, int(ends.sum())) * p)  # beyond either of two ends: Bonferroni

    def _above(self, number: float) -> float:
        """p of the test that the mean lies above a number."""
        return self._p(self.estimate - number)

    def _below(self, number: float) -> float:
        return self._p(number - self.estimate)

    def _p(self, excess: float) -> float:
        if np.isnan(excess):  # such as the change of what is infinite: nothing is known of it
            return 1.0
        if not self.error or np.isinf(excess):
            return float(excess <= 0)
        return float(t.sf(excess / self.error, self.freedom))

    def detectable(self, level: float) -> float:
        """How far beyond the edge an effect had to lie to be seen there in 8 studies of 10, at this level."""
        freedom = min(self.freedom, _CERTAIN)
        return detectable(self.error * t.ppf((1 + level) / 2, freedom), int(freedom) + 1, level=level)


def over_seeds(
    values,
    *,
    above: float = -np.inf,
    below: float = np.inf,
    differs: float | None = None,
    named: float | None = None,
) -> Effect:
    """The mean of values, one a seed, which a claim puts above a number, below one, or differs from one."""
    low, high = (above, below) if differs is None else (differs, differs)
    mean, error = standard_error(values)
    return Effect(mean, error, len(values) - 1, low, high, differs is not None, named)


def over_histories(ends: tuple[float, float], *, above: float = -np.inf, below: float = np.inf) -> Effect:
    """A number of which a 95 % interval over the draw of histories is known."""
    low, high = ends
    return Effect((low + high) / 2, (high - low) / 2 / norm.ppf(0.975), low=above, high=below)


def exactly(holds: bool) -> Effect:
    """A statement that is exact, proved or constructed: chance has no part in it."""
    return Effect(float(holds), low=0.5)


@dataclass(frozen=True)
class Decision:
    """Which way effects decide a claim.

    side: 1 for it, −1 against it; p: two-sided, so doubled where effects can be decided against, too; tested:
    whether chance has a part in it; weakest: the effect that is the least certain.
    """

    side: int
    p: float
    tested: bool
    weakest: Effect


def decide(effects: Iterable[Effect]) -> Decision:
    """A claim needs all of its effects: the least certain decides for it, any one against it (Bonferroni)."""
    effects = tuple(effects)
    weakest = max(effects, key=lambda effect: (effect.p_for, effect.error))
    p_for, p_against = weakest.p_for, min(effect.p_against for effect in effects)
    if p_against > 0:
        p_against = min(1.0, p_against * max(1, sum(effect.tested for effect in effects)))
    tested = any(effect.tested for effect in effects)
    side = 1 if p_for <= p_against else -1
    directions = 1 + any(effect.refutable for effect in effects)
    return Decision(side, min(1.0, directions * min(p_for, p_against)), tested, weakest)
