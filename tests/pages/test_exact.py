"""Exact arithmetic: what is equal is found equal, what is not is not, and floating point agrees."""

import numpy as np
import pytest
import sympy as sp

from splithistory import SplitHistory, information
from splithistory.pages import exact

a, b = sp.symbols("a b", positive=True)
THIRD, HALF = sp.Rational(1, 3), sp.Rational(1, 2)


def test_expressions_that_differ_in_form_only_are_the_same():
    assert exact.same(sp.log(a * b**2), sp.log(a) + 2 * sp.log(b))
    assert exact.same(sp.log(a**2 - b**2), sp.log(a - b) + sp.log(a + b))
    assert exact.same((a + b) ** 2, a**2 + 2 * a * b + b**2) and exact.same(1, 1)


def test_expressions_that_differ_are_not_the_same():
    assert not exact.same(sp.log(a), sp.log(b)) and not exact.same(sp.log(a * b), sp.log(a))
    assert not exact.same(a, -a) and not exact.same(1, 2)


@pytest.mark.parametrize("number", [sp.Rational(360, 77), 8, 1, THIRD])
def test_a_logarithm_in_primes_is_the_logarithm(number):
    assert float(exact.ln(number)) == pytest.approx(np.log(float(number)), abs=1e-15)


def test_sums_of_logarithms_compare_by_primes():
    assert sp.expand(exact.ln(12) - 2 * exact.ln(2) - exact.ln(3)) == 0
    assert sp.expand(exact.ln(12) - exact.ln(13)) != 0
    assert exact.ln(a) == sp.log(a)


def test_divergence_and_entropy_are_those_of_the_package():
    p, q = exact.shares(np.array([[0, 2, 5], [1, 3, 3]]))
    expected = information.kl(p.astype(float), q.astype(float))
    assert float(exact.divergence(p, q)) == pytest.approx(expected, abs=1e-15)
    assert float(exact.entropy(p)) == pytest.approx(information.entropy(p.astype(float)), abs=1e-15)
    assert exact.divergence(p, p) == 0
    assert sp.expand(exact.entropy([sp.Rational(1, 8)] * 8) - exact.ln(8)) == 0


@pytest.mark.parametrize("rate", [0, THIRD, 1])
def test_the_divergence_of_two_coins_has_its_ends(rate):
    expected = information.binary_kl(float(rate), 0.5)
    assert float(exact.coins(sp.sympify(rate), HALF)) == pytest.approx(expected, abs=1e-15)


def test_divergences_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        exact.divergence([HALF, HALF], [sp.Integer(1)])


def test_shares_are_rationals_that_sum_to_one():
    table = exact.shares(np.arange(1, 13).reshape(2, 2, 3))
    assert table[0, 0].tolist() == [sp.Rational(1, 6), THIRD, HALF]
    assert (table.sum(-1) == 1).all()


def test_futures_are_those_of_a_measured_policy():
    rng = np.random.default_rng(0)
    table = exact.shares(rng.integers(1, 6, 6)).reshape(3, 2)
    world = exact.shares(rng.integers(1, 6, (3, 2, 4)))
    measured = SplitHistory(table.astype(float), world.astype(float))
    expected = measured.action_probs, measured.outcome_probs, measured.counterfactual_probs
    for found, value in zip(exact.futures(table, world), expected, strict=True):
        assert np.allclose(found.astype(float), value, rtol=0, atol=1e-15)


def test_matrices_of_symbols_and_of_numbers_have_one_determinant_and_inverse():
    symbols = exact.entries("g", 2, 2)
    numbers = np.array([[2.0, 1.0], [0.5, 3.0]])
    values = dict(zip(symbols, numbers.ravel(), strict=True))
    assert float(exact.det(symbols).subs(values)) == pytest.approx(exact.det(numbers), abs=1e-12)
    inverse = np.array(exact.inv(symbols).subs(values), dtype=float)
    assert np.allclose(inverse, exact.inv(numbers), rtol=0, atol=1e-12)
    assert [str(symbol) for symbol in exact.entries("r", 1, 2)] == ["r0", "r1"]
