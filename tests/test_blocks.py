"""Blocks as agents: the chain rule against automatic differentiation of the whole, and what adds up."""

import numpy as np
import pytest
import torch
from conftest import member

from splithistory import blocks, differential
from splithistory.transformer import activations, branches


@pytest.fixture
def one(network):
    """(weights of one member, architecture, its tokens (B, T), what enters each block)"""
    architecture, weights, tokens = network
    entering = activations(weights, architecture, tokens)[:-1]
    return member(weights, 1), architecture, tokens[1], [x[1] for x in entering]


def test_a_block_by_the_chain_rule_is_the_block_differentiated_as_a_whole(one):
    weights, architecture, tokens, entering = one
    found = blocks.jacobians(weights, architecture, tokens)
    for i, x in enumerate(entering):
        for history in (0, 4):
            attention, feed_forward = branches(weights, architecture, i, x[history])
            added = lambda p: attention(p) + feed_forward(p + attention(p))  # noqa: B023, E731
            j_g, j_h = differential.from_function(added, lambda a, p: p + a, x[history, -1])
            assert np.array_equal(j_g, np.eye(16))
            assert np.abs(found[i + 1, "block"][history].numpy() - j_h).max() < 1e-10


def test_halves_are_of_both_halves_where_each_acts(one):
    weights, architecture, _, entering = one
    x, step = entering[1], 1e-5
    attention, feed_forward = branches(weights, architecture, 1, x[2])
    p = x[2, -1]
    found = blocks.halves(weights, architecture, 1, x)
    for c, half, at in zip(found, (attention, feed_forward), (p, p + attention(p)), strict=True):
        nudge = step * torch.eye(16, dtype=torch.float64)
        slopes = [(half(at + e) - half(at - e)) / (2 * step) for e in nudge]
        assert torch.allclose(c[2], torch.eye(16, dtype=torch.float64) + torch.stack(slopes, 1), atol=1e-6)


def test_op_of_halves_adds_up_to_that_of_the_stack_and_imp_is_never_negative(one):
    weights, architecture, tokens, _ = one
    found = blocks.measured(weights, architecture, tokens)
    names = {part for _, part in found}
    assert names == {"attention", "feed-forward", "block", "stack", "logits"} and len(found) == 3 * 3 + 2
    of_halves = sum(of["op"] for (_, part), of in found.items() if part in ("attention", "feed-forward"))
    assert np.allclose(of_halves, found[0, "stack"]["op"], rtol=0, atol=1e-10)
    assert min(of["imp"].min() for of in found.values()) >= 0
    stack = blocks.jacobians(weights, architecture, tokens)[0, "stack"]
    assert found[0, "stack"]["reverses"].tolist() == (torch.linalg.det(stack) < 0).tolist()


def test_logits_are_the_outcome_that_the_readout_makes_of_the_stack(one):
    weights, architecture, tokens, _ = one
    narrow = weights | {"readout.weight": weights["readout.weight"][:3]}
    stack = blocks.jacobians(weights, architecture, tokens)[0, "stack"].numpy()
    readout = narrow["readout.weight"].numpy()
    found = blocks.measured(narrow, architecture, tokens)[0, "logits"]
    assert found["op"] == pytest.approx(differential.op(readout, readout @ stack))
    assert found["imp"] == pytest.approx(differential.imp(readout, readout @ stack))
