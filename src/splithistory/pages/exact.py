"""Exact arithmetic for derivations: expressions compared in symbols, measures of rational numbers.

Takes and returns SymPy expressions, and arrays of its rationals; SymPy comes with the book.
"""

from functools import cache

import numpy as np
import sympy as sp


def same(left, right) -> bool:
    """Whether two expressions are equal. Logarithms are split: they must be of positive quantities."""
    gap = sp.sympify(left - right)
    factored = gap.replace(sp.log, lambda a: sp.log(sp.factor(a)))  # splits sums too, where the first cannot
    return any(sp.simplify(sp.expand_log(form, force=True)) == 0 for form in (gap, factored))


@cache
def ln(number) -> sp.Expr:
    """ln of a rational, in logarithms of primes; of any other expression as it is.

    Sums of such logarithms with rational factors are equal if and only if `sympy.expand` of their
    difference is 0: primes have independent logarithms.
    """
    if not sp.sympify(number).is_Rational:
        return sp.log(number)
    return sum(power * sp.log(prime) for prime, power in sp.factorrat(sp.sympify(number)).items())


def divergence(probs, reference) -> sp.Expr:
    """KL(P ‖ Q) = Σ p ln(p/q) in nats, of expressions or rationals (K,) each, with 0 ln 0 = 0."""
    return sum(p * ln(p / q) for p, q in zip(probs, reference, strict=True) if p != 0)


def coins(s, p) -> sp.Expr:
    """kl(s, p), the `divergence` of two coins."""
    return divergence([s, 1 - s], [p, 1 - p])


def entropy(probs) -> sp.Expr:
    """H(P) = −Σ p ln p in nats, of rationals (K,)."""
    return -divergence(probs, [sp.Integer(1)] * len(probs))


def shares(counts) -> np.ndarray:
    """Whole numbers (..., K) as exact shares of their sums along the last axis."""
    whole = np.broadcast_to(counts.sum(-1, keepdims=True), counts.shape)
    exact = [sp.Rational(int(n), int(total)) for n, total in zip(counts.flat, whole.flat, strict=True)]
    return np.array(exact, dtype=object).reshape(counts.shape)


def futures(table, world) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(π̄ (A,), F (K,), D (A, K)), as in `measure.Futures`, of shares T (M, A) in a world W (M, A, K)."""
    return table.sum(0), np.tensordot(table, world, 2), np.tensordot(table.sum(1), world, 1)


def entries(name: str, rows: int, columns: int) -> sp.Matrix:
    """A matrix of real symbols, name0, name1, …"""
    return sp.Matrix(rows, columns, sp.symbols(f"{name}0:{rows * columns}", real=True))


def det(matrix):
    """The determinant of a matrix of symbols or of numbers."""
    return np.linalg.det(matrix) if isinstance(matrix, np.ndarray) else matrix.det()


def inv(matrix):
    """The inverse of a matrix of symbols or of numbers."""
    return np.linalg.inv(matrix) if isinstance(matrix, np.ndarray) else matrix.inv()
