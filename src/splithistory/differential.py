"""Differential optimization and impact: Op and Imp of a smooth agent, from Jacobians, in nats.

Floor 1: arrays and callables. With P the input, A = f(P) the agent's action and F = g(A, P) the outcome::

    J_g = ∂F/∂P with A held constant,   J_h = dF/dP with A varying.

They are the measures of split_history for P ~ N(p, σ²I) in the limit of small σ, where everything is
linear (post, Appendix A "Differential Impact" and Appendix B; its vector paragraph swaps the two names).
With C = J_g⁻¹ J_h they are Op = −ln|det C| and Imp = −ln|det C| + Tr(C Cᵀ) − Tr(C); outcomes may have
fewer dimensions than inputs. Everything is float64, by QR; no inverse is formed.
For P ~ N(p, R Rᵀ) pass J R for each J.

Rank is decided alike everywhere: a Jacobian has not full row rank if a row (an outcome) lies within
rounding, relative to its own size, of the span of the rows before it. The unit of an outcome does not matter.
"""

import warnings

import numpy as np

from .information import as_array, as_number, not_negative


def op(j_g, j_h, *, noise_floor: float = 0.0) -> np.ndarray:
    """Differential optimization ½ ln|J_g J_gᵀ| − ½ ln|J_h J_hᵀ|, in nats.

    j_g, j_h (..., dim F, dim P) with dim F <= dim P -> (...). noise_floor: standard deviation of
    independent noise on each outcome, in units of P's; makes Jacobians of lower rank measurable.
    ValueError if a Jacobian has not full row rank and there is no noise floor.
    """
    (_, r_g), (_, r_h) = _factors(j_g, j_h, noise_floor)[1:]
    return _log_volume(r_g) - _log_volume(r_h)


def imp(j_g, j_h, *, noise_floor: float = 0.0) -> np.ndarray:
    """Differential impact Op + Tr(J_h J_hᵀ (J_g J_gᵀ)⁻¹) − Tr(J_g J_hᵀ (J_g J_gᵀ)⁻¹), in nats.

    Arguments and errors as in `op`. Never negative; 0 where the agent changes nothing.
    """
    j_h, (q_g, r_g), (_, r_h) = _factors(j_g, j_h, noise_floor)
    with np.errstate(over="ignore", invalid="ignore"):
        whitened = np.linalg.solve(np.swapaxes(r_g, -1, -2), j_h)  # R⁻ᵀ J_h: C in an orthonormal basis
        traces = (whitened**2).sum((-2, -1)) - (whitened * np.swapaxes(q_g, -1, -2)).sum((-2, -1))
    return not_negative(_log_volume(r_g) - _log_volume(r_h) + _square_prevails(traces))


def scalar(c) -> tuple[np.ndarray, np.ndarray]:
    """(Op, Imp) of one variable, −ln|C| and −ln|C| + C(C − 1), in nats; C (...) = J_g⁻¹ J_h, infinite at 0.

    Over variables that do not mix, whose Jacobians are diagonal, they sum to the measures of the whole.
    """
    c = as_array(c, "c")
    with np.errstate(divide="ignore", over="ignore"):
        op = -np.log(np.abs(c))
        return op, not_negative(op + c * (c - 1))


def residual(c) -> tuple[np.ndarray, np.ndarray]:
    """(Op, Imp) in nats of a residual agent F = P + A(P), from C = I + ∂A/∂P (..., D, D) -> (...).

    With J_g = I no factor is needed: Op = −ln|det C|, Imp = Op + ‖C‖² − Tr(C). Infinite where C is singular,
    that is where `op` would refuse it.
    """
    return residual_and_sign(c)[:2]


def residual_and_sign(c) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `residual` returns, and the sign of det C (0 where C is singular)."""
    c = as_array(c, "c")
    if c.ndim < 2 or c.shape[-1] != c.shape[-2]:
        raise ValueError(f"c: shape {c.shape}, allowed is (..., D, D)")
    sign, volume = np.linalg.slogdet(c)
    singular = _dependent(np.linalg.qr(np.swapaxes(c, -1, -2), mode="r"))
    sign, op = np.where(singular, 0.0, sign), np.where(singular, np.inf, -volume)
    with np.errstate(over="ignore", invalid="ignore"):
        imp = op + (c**2).sum((-2, -1)) - np.trace(c, axis1=-2, axis2=-1)
    return op, not_negative(_square_prevails(imp)), sign


def from_function(agent, environment, point) -> tuple[np.ndarray, np.ndarray]:
    """(J_g, J_h) at `point` (dim P,) by automatic differentiation, (dim F, dim P) float64 each.

    agent(p) -> a and environment(a, p) -> f (dim F,) take and return torch tensors, of float64: a network is
    handed over as `network.double()`. Forward mode is used if the outcome has at least as many dimensions as
    the input, else reverse mode.
    """
    import torch

    point = torch.as_tensor(as_array(point, "point"))
    if point.ndim != 1:
        raise ValueError(f"point: shape {tuple(point.shape)}, allowed is (dim P,)")
    action = agent(point)
    outcome = environment(action, point)
    if outcome.ndim != 1:
        raise ValueError(f"environment: returned shape {tuple(outcome.shape)}, allowed is (dim F,)")
    jacobian = torch.func.jacfwd if len(outcome) >= len(point) else torch.func.jacrev
    with warnings.catch_warnings():
        # PyTorch's forward mode sets itself up with its own deprecated torch.jit.script
        warnings.simplefilter("ignore", DeprecationWarning)
        j_g = jacobian(lambda p: environment(action.detach(), p))(point)
        j_h = jacobian(lambda p: environment(agent(p), p))(point)
    return as_array(j_g, "agent, environment: ∂F/∂P"), as_array(j_h, "agent, environment: dF/dP")


def _square_prevails(traces: np.ndarray) -> np.ndarray:
    """‖C‖² − Tr(C), infinite where C is beyond floats and it came to ∞ − ∞."""
    return np.where(np.isnan(traces), np.inf, traces)


def _factors(j_g, j_h, noise_floor: float):
    """(J_h, QR of J_gᵀ, QR of J_hᵀ), after adding the noise floor as more inputs: J becomes [J, σI]."""
    j_g, j_h = as_array(j_g, "j_g"), as_array(j_h, "j_h")
    if j_g.ndim < 2 or j_g.shape[-2:] != j_h.shape[-2:] or not 0 < j_g.shape[-2] <= j_g.shape[-1]:
        allowed = "equal (..., dim F, dim P), 1 <= dim F <= dim P"
        raise ValueError(f"j_g, j_h: shapes {j_g.shape} and {j_h.shape}, allowed are {allowed}")
    if noise_floor := as_number(noise_floor, "noise_floor", 0.0):
        j_g, j_h = _with_noise(j_g, noise_floor), _with_noise(j_h, noise_floor)
    return j_h, _full_rank_qr(j_g, "j_g"), _full_rank_qr(j_h, "j_h")


def _with_noise(j: np.ndarray, noise_floor: float) -> np.ndarray:
    noise = np.broadcast_to(noise_floor * np.eye(j.shape[-2]), (*j.shape[:-1], j.shape[-2]))
    return np.concatenate([j, noise], -1)


def _full_rank_qr(j: np.ndarray, name: str):
    q, r = np.linalg.qr(np.swapaxes(j, -1, -2))
    if _dependent(r).any():
        size = np.abs(j).max(-1, keepdims=True)
        rank = int(np.linalg.matrix_rank(j / np.where(size, size, 1.0), rtol=_rounding(j.shape[-2])).min())
        raise ValueError(
            f"{name}: rank {rank} of {j.shape[-2]} outcome dimensions, allowed is full row rank"
            " (project the outcome on fewer dimensions, or give a noise_floor)"
        )
    return q, r


def _dependent(r) -> np.ndarray:
    """Whether a row lies in the span of those before it, for Jᵀ = Q R; R (..., dim F, dim F) -> (...)."""
    left = np.abs(np.diagonal(r, axis1=-2, axis2=-1))  # of each row, beside the rows before it
    return (left <= _rounding(r.shape[-1]) * np.abs(r).max(-2, initial=0.0)).any(-1)


def _rounding(n: int) -> float:
    """What rounding may leave of a row that repeats another of n, relative to it: 4 eps were seen."""
    return (n + 3) * np.finfo(float).eps


def _log_volume(r: np.ndarray) -> np.ndarray:
    """½ ln|J Jᵀ| = Σ ln|r_ii| for Jᵀ = Q R."""
    return np.log(np.abs(np.diagonal(r, axis1=-2, axis2=-1))).sum(-1)
