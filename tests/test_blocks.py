"""Blocks as agents: the chain rule against automatic differentiation of the whole, and what adds up."""

import numpy as np
import pytest
import torch
from conftest import member

from splithistory import blocks, differential
from splithistory.transformer import activations, branches, logits


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
    read = {"logits", "softmax", "direction"}
    assert names == {"attention", "feed-forward", "block", "stack"} | read and len(found) == 3 * 3 + 4
    of_halves = sum(of["op"] for (_, part), of in found.items() if part in ("attention", "feed-forward"))
    assert np.allclose(of_halves, found[0, "stack"]["op"], rtol=0, atol=1e-10)
    assert min(of["imp"].min() for of in found.values()) >= 0
    stack = blocks.jacobians(weights, architecture, tokens)[0, "stack"]
    assert found[0, "stack"]["reverses"].tolist() == (torch.linalg.det(stack) < 0).tolist()


def test_logits_are_the_outcome_that_the_readout_makes_of_the_stack(one):
    weights, architecture, tokens, _ = one
    narrow = weights | {name: weights[name][:3] for name in ("readout.weight", "readout.bias")}
    stack = blocks.jacobians(weights, architecture, tokens)[0, "stack"].numpy()
    readout = narrow["readout.weight"].numpy()
    found = blocks.measured(narrow, architecture, tokens)[0, "logits"]
    assert found["op"] == pytest.approx(differential.op(readout, readout @ stack))
    assert found["imp"] == pytest.approx(differential.imp(readout, readout @ stack))
    whole = logits({name: w[None] for name, w in narrow.items()}, architecture, tokens[None])[0].numpy()
    assert np.exp(found["scale"] / 3) == pytest.approx(whole.std(1))


@pytest.fixture
def read():
    """(readout, logits, C): three points, a stream of seven coordinates, five tokens."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 7)), rng.normal(size=(3, 5)), rng.normal(size=(3, 7, 7))


def test_any_invertible_function_of_the_differences_of_logits_has_the_op_and_imp_of_the_softmax(read):
    readout, answer, c = read
    found = blocks.read_out(*read)[0, "softmax"]
    for temperature in (0.5, 3.0):
        for i, row in enumerate(answer):
            probs = torch.softmax(torch.from_numpy(row / temperature), 0).numpy()
            slopes = ((np.diag(probs) - np.outer(probs, probs)) / temperature)[:-1] @ readout
            seen = slopes, slopes @ c[i]
            assert differential.op(*seen) == pytest.approx(found["op"][i], abs=1e-9)
            assert differential.imp(*seen) == pytest.approx(found["imp"][i], abs=1e-8)


def test_the_direction_of_logits_is_differentiated_as_it_is(read):
    readout, answer, c = read
    found = blocks.read_out(*read)[0, "direction"]

    def direction(z):
        z = z - z.mean()
        return (z / z.norm())[:-2]  # two coordinates follow from the others

    for i, row in enumerate(torch.from_numpy(answer)):
        slopes = torch.func.jacrev(direction)(row).numpy() @ readout
        assert differential.op(slopes, slopes @ c[i]) == pytest.approx(found["op"][i], abs=1e-9)


def test_scale_and_shape_part_what_the_blocks_do_from_how_large_they_make_it(read):
    readout, answer, c = read
    usual = blocks.read_out(*read)[0, "logits"]
    assert usual["op"] == pytest.approx(usual["readout"] - usual["scale"] + usual["shape"])
    larger = blocks.read_out(readout, 2 * answer, 2 * c)[0, "logits"]  # the blocks write twice as much
    assert larger["op"] == pytest.approx(usual["op"] - 5 * np.log(2))
    assert larger["scale"] == pytest.approx(usual["scale"] + 5 * np.log(2))
    colder = blocks.read_out(2 * readout, 2 * answer, c)[0, "logits"]  # the readout does, or a temperature
    assert colder["op"] == pytest.approx(usual["op"])
    same = blocks.read_out(readout / 2, answer, 2 * c)[0, "logits"]  # of the same logits: divided otherwise
    assert same["op"] == pytest.approx(usual["op"] - 5 * np.log(2))
    for other in (larger, colder, same):
        assert other["shape"] == pytest.approx(usual["shape"])
    assert same["scale"] == pytest.approx(usual["scale"])
