"""Tables resampled: what is drawn for many classes has the distribution of what is drawn for few."""

import numpy as np
import pytest

from splithistory import resampling

RNG = np.random.default_rng


def table(n_classes, n_actions=2, n_outcomes=3, seed=0):
    """Counts (M, A), a few of them 0, and a world (M, A, K)."""
    rng = RNG(seed)
    counts = rng.integers(0, 3, (n_classes, n_actions)).astype(float)
    return counts, rng.dirichlet(np.ones(n_outcomes), (n_classes, n_actions))


def stacked(chunks):
    """All resamples' futures: π̄ (R, A), F (R, K), D (R, A, K)."""
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


@pytest.mark.parametrize("uniform", [False, True])
def test_cells_that_were_counted_have_the_moments_of_whole_tables(uniform):
    counts, world = table(40)
    counts = (counts > 0).astype(float) if uniform else counts
    n = int(counts.sum())
    ways = (resampling._tables, resampling._cells)
    found = [stacked(way(counts, world, n, 20_000, RNG(i))) for i, way in enumerate(ways)]
    for one, other in zip(*found, strict=True):
        error = one.std(0) / np.sqrt(len(one))
        assert (np.abs(one.mean(0) - other.mean(0)) < 6 * error).all()
        assert other.std(0) == pytest.approx(one.std(0), rel=0.05)


def test_resamples_of_cells_are_the_futures_of_some_table():
    counts, world = table(80)
    played, outcomes, answers = stacked(resampling.resampled(counts, world, 50, 10, RNG(0)))
    for probs in (played, outcomes, answers):
        assert probs.sum(-1) == pytest.approx(np.ones(probs.shape[:-1]))
    assert answers.shape == (10, 2, 3)
    shares = played * 50  # counts of 50 histories
    assert shares == pytest.approx(shares.round())


def test_classes_that_the_world_answers_alike_become_one_and_lead_to_the_same_futures():
    rows = table(3)[1]
    which = RNG(1).integers(0, 3, 500)
    counts = RNG(2).integers(0, 4, (500, 2)).astype(float)
    merged, world = resampling._alike(counts, rows[which])
    assert len(world) == 3 and merged.sum() == counts.sum()
    for one, other in zip(
        resampling.futures(merged, world), resampling.futures(counts, rows[which]), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-14)


def test_few_classes_are_drawn_as_they_always_were():
    counts, world = table(16)
    n, shares = int(counts.sum()), (counts / counts.sum()).ravel()
    expected = resampling.futures(RNG(3).multinomial(n, shares, size=5).reshape(5, 16, 2), world)
    found = stacked(resampling.resampled(counts, world, n, 5, RNG(3)))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
