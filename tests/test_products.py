"""Products in a number format: ours where the processor has none, and what PyTorch makes of the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from splithistory import products
from splithistory.products import attention, in_format, linear, product, rounded
from splithistory.training import prediction_loss
from splithistory.transformer import Architecture, initialise

NATIVE, EMULATED = True, False
FLOATS = arrays("float32", (7,), elements=st.floats(-(2.0**60), 2.0**60, width=32))


@pytest.fixture(params=[NATIVE, EMULATED], ids=["native", "emulated"])
def processor(request, monkeypatch):
    """A machine that multiplies bfloat16 itself (PyTorch does it here too, slowly), and one that does not."""
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: request.param)


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_()


CALLS = {
    "linear": (linear, [(2, 30, 24), (2, 8, 24), (2, 8)]),
    "product": (product, [(5, 2, 20, 8), (5, 2, 8, 20)]),
    "attention": (attention, [(5, 2, 20, 8)] * 3),
    "attention of one query": (attention, [(5, 2, 1, 8), (5, 2, 20, 8), (5, 2, 20, 8)]),
}


@given(FLOATS)
def test_rounding_keeps_eight_bits_and_is_done_once(values):
    x = torch.from_numpy(values)
    error = (rounded(x) - x).abs()
    assert (error <= x.abs() * 2.0**-8 + 2.0**-134).all()
    assert (rounded(rounded(x)) == rounded(x)).all()


@pytest.mark.parametrize("name", CALLS)
def test_float32_products_are_not_rounded(name, processor):
    call, shapes = CALLS[name]
    factors = [drawn(*shape) for shape in shapes]
    plain = call(*factors)
    with in_format("float32", "cpu"):
        assert (call(*factors) == plain).all()


@pytest.mark.parametrize("name", CALLS)
def test_bfloat16_products_and_their_gradients_are_within_its_rounding_of_the_exact_ones(name, processor):
    call, shapes = CALLS[name]
    factors = [drawn(*shape) for shape in shapes]
    exact = call(*(x.double() for x in factors))
    weights = torch.linspace(-1, 1, exact.numel()).view(exact.shape)
    expected = [exact, *torch.autograd.grad((exact * weights).sum(), factors)]
    with in_format("bfloat16", "cpu"):
        low = call(*factors)
    found = [low, *torch.autograd.grad((low.float() * weights).sum(), factors)]
    for ours, truth in zip(found, expected, strict=True):
        error = (ours - truth).abs().max() / truth.abs().max()
        assert 0 < error < 2.0**-6  # 8 bits, a few roundings


@pytest.mark.parametrize("name", CALLS)
def test_every_number_that_bfloat16_products_hand_out_has_eight_bits(name, processor):
    call, shapes = CALLS[name]
    factors = [drawn(*shape) for shape in shapes]
    with in_format("bfloat16", "cpu"):
        low = call(*factors).float()
    assert (rounded(low) == low).all()


def gradients_of_a_loss(native: bool, monkeypatch) -> torch.Tensor:
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: native)
    architecture = Architecture(32, 3)
    weights = {name: w.requires_grad_() for name, w in initialise(architecture, [0, 1]).items()}
    windows = torch.randint(16, (2, 64, 21), generator=torch.Generator().manual_seed(1))
    loss = prediction_loss(weights, architecture, windows, None, "bfloat16")
    found = torch.autograd.grad(loss.sum(), list(weights.values()))
    return torch.cat([g.flatten() for g in found])


def test_a_models_gradient_is_the_same_on_both_kinds_of_processor_but_for_rounding(monkeypatch):
    native, ours = (gradients_of_a_loss(kind, monkeypatch) for kind in (NATIVE, EMULATED))
    monkeypatch.undo()
    architecture = Architecture(32, 3)
    weights = {name: w.requires_grad_() for name, w in initialise(architecture, [0, 1]).items()}
    windows = torch.randint(16, (2, 64, 21), generator=torch.Generator().manual_seed(1))
    loss = prediction_loss(weights, architecture, windows)
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss.sum(), list(weights.values()))])
    error = [float((g - exact).norm() / exact.norm()) for g in (native, ours)]
    assert 0 < error[0] < 0.02 and 0 < error[1] < 0.02
    assert 0.5 < error[0] / error[1] < 2


@settings(max_examples=20)
@given(st.booleans())
def test_a_format_ends_with_its_context_even_after_an_error(fails):
    factors = drawn(1, 4, 8), drawn(1, 2, 8), drawn(1, 2)
    before = linear(*factors)
    try:
        with in_format("bfloat16", "cpu"):
            assert (linear(*factors).float() != before).any()
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert (linear(*factors) == before).all()
