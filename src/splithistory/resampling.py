"""Tables of histories resampled: what else could have been drawn, and the futures that it would have led to.

Floor 1: arrays. A table counts histories by class and action, (M, A); a world W (M, A, K) answers them.
"""

from collections.abc import Iterator

import numpy as np

Three = tuple[np.ndarray, np.ndarray, np.ndarray]  # π̄ (..., A), F (..., K), D (..., A, K)
FEW = 64  # classes, below which whole tables are drawn at once
_NUMBERS = 2_000_000  # drawn at a time, so that they fit in memory


def futures(counts: np.ndarray, world: np.ndarray) -> Three:
    """(π̄, F, D) from tables (..., M, A): π̄(a) = Σ_m T, F = Σ T·W, D_a = Σ_m c(m) W(m, a, ·)."""
    shares = counts / counts.sum((-2, -1), keepdims=True)
    outcomes = shares.reshape(*shares.shape[:-2], -1) @ world.reshape(-1, world.shape[-1])
    counterfactual = shares.sum(-1) @ world.reshape(len(world), -1)
    return shares.sum(-2), outcomes, counterfactual.reshape(*shares.shape[:-2], *world.shape[1:])


def resampled(counts: np.ndarray, world: np.ndarray, n: int, size: int, rng) -> Iterator[Three]:
    """`futures` of `size` tables, each of n histories drawn from the shares of `counts`; in chunks.

    A world without structure has a class for each history: those that it answers alike are put together, and
    only cells that were counted are drawn, in time and memory N and not N·A·K. The same in distribution.
    """
    if len(world) > FEW:
        counts, world = _alike(counts, world)
    draw = _tables if len(world) <= FEW else _cells
    return draw(counts, world, n, size, rng)


def _alike(counts: np.ndarray, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with classes that the world answers alike as one."""
    rows, index = np.unique(world.reshape(len(world), -1), axis=0, return_inverse=True)
    merged = np.zeros((len(rows), counts.shape[1]))
    np.add.at(merged, index.ravel(), counts)
    return merged, rows.reshape(-1, *world.shape[1:])


def _sizes(size: int, each: int) -> Iterator[int]:
    """`size` in chunks that hold about so many numbers, each of which needs this many."""
    chunk = max(1, _NUMBERS // each)
    return (min(chunk, size - start) for start in range(0, size, chunk))


def _tables(counts, world, n: int, size: int, rng) -> Iterator[Three]:
    shares = (counts / counts.sum()).ravel()
    for chunk in _sizes(size, shares.size):
        yield futures(rng.multinomial(n, shares, size=chunk).reshape(-1, *counts.shape), world)


def _cells(counts, world, n: int, size: int, rng) -> Iterator[Three]:
    """As `_tables`, of the cells that were counted only."""
    m, a = np.nonzero(counts)
    shares = counts[m, a] / counts.sum()
    played, outcome = np.eye(counts.shape[1])[a], world[m, a]
    answers = world.reshape(len(world), -1)[m]  # of a cell's class, whatever the action
    for chunk in _sizes(size, max(n, len(shares))):
        drawn = _counted(shares, n, chunk, rng) / n  # (chunk, cells)
        yield drawn @ played, drawn @ outcome, (drawn @ answers).reshape(chunk, *world.shape[1:])


def _counted(shares: np.ndarray, n: int, size: int, rng) -> np.ndarray:
    """Multinomial counts (size, cells); where all cells are alike, by far faster."""
    if shares.max() - shares.min() > 1e-12 * shares.max():
        return rng.multinomial(n, shares, size=size)
    cells = len(shares)
    drawn = rng.integers(cells, size=(size, n)) + cells * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * cells).reshape(size, cells)
