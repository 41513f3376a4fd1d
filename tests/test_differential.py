"""Differential measures: the formulas with inverses, Gaussian divergences, autodiff, and the post's slips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

from splithistory import differential

seeds = st.integers(0, 2**32 - 1)


def jacobians(seed, rows, columns, batch=()):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, rows, columns)), rng.normal(size=(*batch, rows, columns))


def gaussian_imp(j_g, j_h):
    """E over p'' of KL(N(0, J_h J_hᵀ) ‖ N((J_h − J_g) p'', J_g J_gᵀ)), written out with inverses.

    With 50 digits: J_g J_gᵀ squares the condition number of J_g, which costs the inverse more digits than
    doubles have where an agent is nearly blind in a direction.
    """
    with mp.workdps(50):
        h, g = mp.matrix(j_h.tolist()), mp.matrix(j_g.tolist())
        s1, s2, d = h * h.T, g * g.T, h - g
        inverse, logs = s2**-1, mp.log(mp.det(s2) / mp.det(s1))
        sums = (inverse * s1, d.T * inverse * d)
        traces = sum(m[i, i] for m in sums for i in range(m.rows))
        return float((logs - s1.rows + traces) / 2)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (5, 5), (3, 7), (1, 4)])
@given(seed=seeds)
def test_imp_is_the_mean_divergence_of_the_two_gaussian_futures(shape, seed):
    j_g, j_h = jacobians(seed, *shape)
    expected = gaussian_imp(j_g, j_h)
    assert differential.imp(j_g, j_h) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@given(seeds)
def test_op_is_minus_ln_det_c_for_square_jacobians(seed):
    j_g, j_h = jacobians(seed, 4, 4)
    c = np.linalg.solve(j_g, j_h)
    assert differential.op(j_g, j_h) == pytest.approx(-np.linalg.slogdet(c)[1], abs=1e-9)


def test_the_posts_sign_slip_in_the_trace_would_be_noticed():
    j_g, j_h = jacobians(0, 3, 3)
    c = np.linalg.solve(j_g, j_h)
    right = -np.linalg.slogdet(c)[1] + np.trace(c @ c.T) - np.trace(c)
    assert differential.imp(j_g, j_h) == pytest.approx(right, rel=1e-9)
    assert abs(differential.imp(j_g, j_h) - (right + 2 * np.trace(c))) > 0.1  # "+ Tr" as the post prints
    assert abs(differential.imp(j_h, j_g) - right) > 0.1  # the two names swapped, as in its Appendix A


@given(st.floats(-3, 3).filter(lambda c: abs(c) > 0.05))
def test_scalar_forms_are_minus_ln_c_and_minus_ln_c_plus_c_times_c_minus_one(c):
    one, agent = np.eye(1), np.array([[c]])
    assert differential.op(one, agent) == pytest.approx(-np.log(abs(c)), abs=1e-12)
    assert differential.imp(one, agent) == pytest.approx(-np.log(abs(c)) + c * (c - 1), abs=1e-12)
    measured = differential.op(one, agent), differential.imp(one, agent)
    assert differential.scalar(c) == pytest.approx(measured, abs=1e-12)
    assert differential.scalar([c, -c])[1].shape == (2,)


def test_an_agent_that_leaves_no_variation_has_infinite_measures():
    assert differential.scalar(0.0) == (np.inf, np.inf)


def test_an_agent_that_changes_nothing_has_neither():
    j, _ = jacobians(1, 3, 6)
    assert (differential.op(j, j), differential.imp(j, j)) == pytest.approx((0, 0), abs=1e-12)


@given(seeds)
def test_imp_is_never_negative(seed):
    assert differential.imp(*jacobians(seed, 3, 5)) >= -1e-12


@given(seeds)
def test_diagonal_jacobians_add_up_over_variables(seed):
    g, h = np.random.default_rng(seed).uniform(0.2, 3, size=(2, 6))
    for measure in (differential.op, differential.imp):
        parts = sum(measure(np.array([[a]]), np.array([[b]])) for a, b in zip(g, h, strict=True))
        assert measure(np.diag(g), np.diag(h)) == pytest.approx(parts, abs=1e-10)
    of_whole = differential.op(np.diag(g), np.diag(h)), differential.imp(np.diag(g), np.diag(h))
    assert np.allclose(np.sum(differential.scalar(h / g), axis=1), of_whole, rtol=0, atol=1e-10)


def test_a_batch_is_measured_as_its_members_are():
    j_g, j_h = jacobians(2, 3, 4, batch=(5, 2))
    together = differential.imp(j_g, j_h)
    assert together.shape == (5, 2)
    assert together[3, 1] == pytest.approx(differential.imp(j_g[3, 1], j_h[3, 1]), abs=1e-12)


def test_another_covariance_is_the_same_as_another_basis():
    (j_g, j_h), root = jacobians(3, 4, 4), np.random.default_rng(4).normal(size=(4, 4))
    c = np.linalg.inv(root) @ np.linalg.solve(j_g, j_h) @ root
    expected = -np.linalg.slogdet(c)[1] + np.trace(c @ c.T) - np.trace(c)
    assert differential.imp(j_g @ root, j_h @ root) == pytest.approx(expected, rel=1e-8)


def test_a_noise_floor_is_noise_on_every_outcome():
    j_g, j_h = jacobians(5, 3, 4)
    noisy = [np.concatenate([j, 0.3 * np.eye(3)], 1) for j in (j_g, j_h)]
    s1, s2, d = noisy[1] @ noisy[1].T, noisy[0] @ noisy[0].T, j_h - j_g
    inverse = np.linalg.inv(s2)
    logs = np.linalg.slogdet(s2)[1] - np.linalg.slogdet(s1)[1]
    expected = 0.5 * (logs - 3 + np.trace(inverse @ s1) + np.trace(d.T @ inverse @ d))
    assert differential.imp(j_g, j_h, noise_floor=0.3) == pytest.approx(expected, rel=1e-10)
    singular = np.diag([1.0, 1.0, 0.0])
    assert np.isfinite(differential.op(np.eye(3), singular, noise_floor=0.1))


def test_a_split_history_of_samples_agrees_with_the_formulas():
    # F' given p'' of a linear system, its moments from samples, against op and imp
    j_g, j_h = np.array([[1.0, 0.2], [0.0, 0.8]]), np.array([[0.5, 0.1], [0.1, 0.4]])
    p = np.random.default_rng(6).normal(size=(400_000, 2))
    future, shifts = p @ j_h.T, p @ (j_h - j_g).T
    s1, s2 = np.cov(future.T), np.cov((p @ j_g.T).T)
    op = 0.5 * (np.linalg.slogdet(s2)[1] - np.linalg.slogdet(s1)[1])
    distance = np.einsum("ni,ij,nj->n", shifts, np.linalg.inv(s2), shifts).mean()
    imp = op + 0.5 * (np.trace(np.linalg.solve(s2, s1)) - 2 + distance)
    assert differential.op(j_g, j_h) == pytest.approx(op, abs=0.01)
    assert differential.imp(j_g, j_h) == pytest.approx(imp, abs=0.01)


@pytest.mark.parametrize("rows", [3, 5])
def test_from_function_agrees_with_jacobians_by_hand(rows):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    w, u, v = (torch.as_tensor(rng.normal(size=s)) for s in ((4, 5), (rows, 4), (rows, 5)))
    point = torch.as_tensor(rng.normal(size=5))
    j_g, j_h = differential.from_function(lambda p: torch.tanh(w @ p), lambda a, p: u @ a + v @ p**2, point)
    by_hand = v * (2 * point)
    slope = 1 - torch.tanh(w @ point) ** 2
    assert np.abs(j_g - by_hand.numpy()).max() < 1e-10
    assert np.abs(j_h - (by_hand + (u * slope) @ w).numpy()).max() < 1e-10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: differential.op(np.eye(3), np.diag([1.0, 1, 0])),
            r"j_h: rank 2 of 3 outcome dimensions.*noise_floor",
        ),
        (lambda: differential.imp(np.zeros((2, 2)), np.eye(2)), "j_g: rank 0 of 2 outcome dimensions"),
        (lambda: differential.op(np.eye(3), np.eye(2)), r"j_g, j_h: shapes \(3, 3\) and \(2, 2\)"),
        (lambda: differential.op(np.ones((3, 2)), np.ones((3, 2))), "dim F <= dim P"),
        (lambda: differential.op(np.ones((0, 2)), np.ones((0, 2))), "1 <= dim F <= dim P"),
        (lambda: differential.op([[np.nan]], [[1.0]]), r"j_g: entry \[0, 0\] is nan"),
        (lambda: differential.op([[1.0]], [[1.0]], noise_floor=-1), "noise_floor: given -1"),
        (
            lambda: differential.from_function(lambda p: p, lambda a, p: p, np.eye(2)),
            r"point: shape \(2, 2\)",
        ),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_residual_agent_needs_no_factor():
    rng = np.random.default_rng(0)
    c = np.eye(5) + 0.5 * rng.normal(size=(7, 5, 5))
    op, imp = differential.residual(c)
    eye = np.broadcast_to(np.eye(5), c.shape)
    assert np.allclose(op, differential.op(eye, c)) and np.allclose(imp, differential.imp(eye, c))
    with pytest.raises(ValueError, match=r"c: shape \(2, 3\), allowed is \(..., D, D\)"):
        differential.residual(np.ones((2, 3)))


def test_the_sign_of_a_residual_agent_is_that_of_its_determinant_and_none_where_it_is_singular():
    c = np.stack([np.diag([2.0, 3.0]), np.diag([-2.0, 3.0]), np.diag([0.0, 3.0])])
    op, imp, sign = differential.residual_and_sign(c)
    assert list(sign) == [1, -1, 0] and op[0] == op[1] == -np.log(6) and op[2] == imp[2] == np.inf


@given(seed=seeds, batch=st.sampled_from([(1,), (64,), (1, 1), (3, 1), (1, 100), (0,), (0, 2)]))
def test_measures_do_not_depend_on_the_shape_of_the_batch(seed, batch):
    j_g, full = jacobians(seed, 2, 2)
    thin = np.array([[1, 1], [1, 1 + 1e-13]])  # of full rank, by a hundred roundings of a 2 × 2 matrix
    for j_h in (thin, full):
        several = [np.broadcast_to(j, (*batch, 2, 2)) for j in (j_g, j_h)]
        for measure in (differential.op, differential.imp):
            assert np.array_equal(measure(*several), np.full(batch, measure(j_g, j_h)))


@pytest.mark.parametrize("batch", [(), (1,), (1, 1), (5, 1, 1)])
def test_a_jacobian_of_lower_rank_is_refused_in_a_batch_of_any_shape(batch):
    rng, eye = np.random.default_rng(0), np.eye(64)
    j = rng.normal(size=(64, 64))
    j[63] = j[:62].T @ rng.normal(size=62)
    with pytest.raises(ValueError, match="j_h: rank 63 of 64 outcome dimensions"):
        differential.op(*(np.broadcast_to(each, (*batch, 64, 64)) for each in (eye, j)))


@given(seeds, st.integers(2, 5), st.booleans())
def test_rank_is_judged_alike_by_all_and_does_not_depend_on_the_units_of_outcomes(seed, size, repeats):
    rng, eye = np.random.default_rng(seed), np.eye(size)
    c = rng.normal(size=(size, size))
    c[-1] = c[0] if repeats else c[-1]
    c = 2.0 ** rng.integers(-90, 90, size=(size, 1)) * c
    op, imp, sign = differential.residual_and_sign(c)
    if repeats:
        assert (op, imp, sign) == (np.inf, np.inf, 0)
        with pytest.raises(ValueError, match=f"^j_h: rank {size - 1} of {size} outcome dimensions"):
            differential.op(eye, c)
    else:
        assert sign != 0 and op == pytest.approx(differential.op(eye, c), abs=1e-6)
        assert imp == pytest.approx(differential.imp(eye, c), rel=1e-6, abs=1e-6)


def test_a_tiny_outcome_is_measured_and_a_dependent_one_is_not_told_from_rounding():
    tiny = np.diag([1, 1e-17])
    expected = differential.scalar(1e-17)[0]
    assert differential.op(np.eye(2), tiny) == differential.residual(tiny)[0] == pytest.approx(expected)
    outer = np.outer([1 / 3, 0.7, 1.1], [0.2, 0.9, 1 / 7])
    assert differential.residual(outer) == (np.inf, np.inf)


def test_a_residual_agent_beyond_floats_has_infinite_impact_as_by_its_jacobians():
    for c in (np.diag([1e308, 1e308]), np.diag([1e308, 1e308, -1e308])):
        op, imp = differential.residual(c)
        assert op == pytest.approx(differential.op(np.eye(len(c)), c)) and imp == np.inf
        assert differential.imp(np.eye(len(c)), c) == np.inf
