"""Matrix products in the number format that training asks for, whatever the processor multiplies itself.

Floor 0. "bfloat16" means: factors and results are rounded to 8 significant bits, sums are float32. Processors
that multiply such numbers do so under `torch.autocast`. On others PyTorch takes several times as long as in
float32; so there the products are float32's, and the rounding, forward and backward, is ours.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
import torch.nn.functional as F

_ROUNDING = ContextVar("rounding", default=False)  # trainings may share a process, in threads


@lru_cache
def multiplies_bfloat16(device: str) -> bool:
    """Whether this kind of device ("cpu", "cuda") has instructions for such products."""
    if device != "cpu":
        return True
    flags = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, flag, bool)() for flag in flags)


@contextmanager
def in_format(precision: str, device: str):
    """Make this module's products on a kind of device "float32" or "bfloat16" while in the context."""
    low = precision == "bfloat16"
    native = multiplies_bfloat16(device)
    token = _ROUNDING.set(low and not native)
    try:
        with torch.autocast(device, torch.bfloat16, enabled=low and native):
            yield
    finally:
        _ROUNDING.reset(token)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(E, N, D) to (E, N, O), by weight (E, O, D) and bias (E, O)."""
    if _ROUNDING.get():
        return _Linear.apply(x, weight, bias)
    return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left @ right, of equal leading axes."""
    return _Product.apply(left, right) if _ROUNDING.get() else left @ right


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What queries (N, H, Q, C) attend to, keys and values (N, H, T, C), as (N, H, Q, C).

    For one query PyTorch's fused kernel is faster, for as many as keys it is not.
    """
    if query.shape[2] > 1:
        scores = product(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
        return product(torch.softmax(scores, -1), value)
    if not _ROUNDING.get():
        return F.scaled_dot_product_attention(query, key, value)
    attended = F.scaled_dot_product_attention(*map(_Round.apply, (query, key, value)))
    return _Round.apply(attended)


def rounded(x: torch.Tensor) -> torch.Tensor:
    """To the nearest number of 8 significant bits, in the format that x has."""
    return x.to(torch.bfloat16).to(x.dtype)


class _Round(torch.autograd.Function):
    """`rounded`, and so is its gradient."""

    @staticmethod
    def forward(_, x):
        return rounded(x)

    @staticmethod
    def backward(_, gradient):
        return rounded(gradient)


class _Product(torch.autograd.Function):
    """left @ right of rounded factors, it and its gradients rounded."""

    @staticmethod
    def forward(ctx, left, right):
        left, right = rounded(left), rounded(right)
        ctx.save_for_backward(left, right)
        return rounded(left @ right)

    @staticmethod
    def backward(ctx, gradient):
        left, right = ctx.saved_tensors
        gradient = rounded(gradient)
        products = gradient @ right.transpose(-1, -2), left.transpose(-1, -2) @ gradient
        return tuple(map(rounded, products))


class _Linear(torch.autograd.Function):
    """The same for x (E, N, D) by weight (E, O, D), and a bias (E, O) added before the rounding."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        x, weight = rounded(x), rounded(weight)
        ctx.save_for_backward(x, weight)
        return rounded(torch.baddbmm(rounded(bias)[:, None], x, weight.transpose(1, 2)))

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        gradient = rounded(gradient)
        products = gradient @ weight, gradient.transpose(1, 2) @ x
        return *map(rounded, products), gradient.sum(1)
