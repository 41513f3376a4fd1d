"""The policy: PyTorch's own encoder as the oracle, independence of members, streams."""

import numpy as np
import pytest
import torch
from conftest import member, perturbed
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from splithistory.transformer import (
    Architecture,
    Dropout,
    activations,
    branches,
    choose,
    initialise,
    logits,
    positions,
    stream,
)

SMALL = Architecture(width=16, layers=2)


def torch_encoder(architecture, weights, member):
    """nn.TransformerEncoder with one member's weights: logits from histories (B, T)."""
    a = architecture
    layer = nn.TransformerEncoderLayer(
        a.width, a.heads, a.width * a.expansion, dropout=0.0, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, a.layers, enable_nested_tensor=False)
    own = {k: v[member] for k, v in weights.items()}
    encoder.load_state_dict({k: v for k, v in own.items() if k.startswith("layers")})
    encoder.to(own["readout.bias"].dtype)

    def forward(tokens):
        x = own["embedding.weight"][tokens] + positions(a.context, a.width)
        return encoder(x)[:, -1] @ own["readout.weight"].T + own["readout.bias"]

    return forward


def tokens(e, b, seed=0):
    return torch.randint(16, (e, b, 20), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_logits_equal_those_of_pytorchs_own_encoder_with_the_same_weights(layers):
    architecture = Architecture(width=32, layers=layers)
    weights = perturbed(initialise(architecture, [3]))
    batch = tokens(1, 50)
    ours = logits(weights, architecture, batch)[0]
    assert torch.allclose(ours, torch_encoder(architecture, weights, 0)(batch[0]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_each_member_of_an_ensemble_answers_as_it_does_alone():
    weights = perturbed(initialise(SMALL, [0, 1, 2], dtype=torch.float64))
    batch = tokens(3, 8)
    together = logits(weights, SMALL, batch)
    for e in range(3):
        alone = logits({k: v[e : e + 1] for k, v in weights.items()}, SMALL, batch[e : e + 1])
        assert torch.allclose(together[e], alone[0], atol=1e-12, rtol=0)


def test_the_posts_sizes_have_the_posts_parameter_counts():
    assert Architecture(32, 2).n_parameters == 18_128
    assert Architecture(128, 3).n_parameters == 401_552
    assert [round(Architecture(*shape).n_parameters / 1000) for shape in ((56, 2), (76, 3))] == [53, 144]


def test_initial_weights_depend_on_the_seed_and_not_on_who_shares_the_ensemble():
    pair, alone = initialise(SMALL, [4, 5]), initialise(SMALL, [5])
    assert all(torch.equal(pair[k][1], alone[k][0]) for k in alone)
    assert not torch.equal(pair["embedding.weight"][0], pair["embedding.weight"][1])


def test_initial_weights_have_the_spread_of_pytorchs_own_layers():
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(64, 4, 128).state_dict()
    ours = initialise(Architecture(64, 1), [0])
    for name, weight in theirs.items():
        assert ours["layers.0." + name][0].std().item() == pytest.approx(weight.std().item(), rel=0.15), name


def test_streams_of_other_purposes_or_seeds_are_others():
    first = [
        torch.rand(4, generator=stream(*args)).tolist()
        for args in ((1, "a"), (1, "b"), (2, "a"), ([1, 2], "a"))
    ]
    assert len({tuple(draw) for draw in first}) == 4
    assert torch.rand(4, generator=stream(1, "a")).tolist() == first[0]


def test_dropout_silences_its_share_of_neurons_and_keeps_the_mean():
    mask = Dropout(0.1, [stream(0, "d")]).masks([(1000, 300)], torch.float32)[0]
    assert (mask == 0).double().mean().item() == pytest.approx(0.1, abs=0.003)
    assert mask.double().mean().item() == pytest.approx(1.0, abs=0.005)


def test_dropout_masks_of_one_member_are_the_same_whoever_is_beside_it():
    pair = Dropout(0.1, [stream(s, "d") for s in (0, 1)]).masks([(7, 5), (3, 2)], torch.float32)
    alone = Dropout(0.1, [stream(1, "d")]).masks([(7, 5), (3, 2)], torch.float32)
    assert all(torch.equal(p[1], a[0]) for p, a in zip(pair, alone, strict=True))


def test_dropout_changes_the_logits_of_every_layer_count():
    for layers in (1, 2):
        architecture = Architecture(16, layers)
        weights = initialise(architecture, [0])
        dropped = logits(weights, architecture, tokens(1, 4), Dropout(0.5, [stream(0, "d")]))
        assert not torch.allclose(dropped, logits(weights, architecture, tokens(1, 4)))


def test_position_codes_tell_every_position_apart():
    distances = torch.cdist(positions(20, 32), positions(20, 32)) + 10 * torch.eye(20)
    assert distances.min() > 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Architecture(30, 2), "width: given 30, allowed are multiples of heads = 4"),
        (lambda: Architecture(32, 0), "allowed is an integer >= 1"),
        (lambda: Dropout(1.0, []), r"dropout: given 1.0, allowed is \[0, 1\)"),
        (
            lambda: logits(initialise(SMALL, [0]), SMALL, torch.zeros(1, 2, 19, dtype=int)),
            "tokens: 19 a history",
        ),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("which", range(6))
@torch.no_grad()
def test_every_mask_of_every_block_silences_something(which):
    class One(Dropout):
        def masks(self, sizes, dtype):
            assert len(sizes) == 6
            return [torch.full((1, *size), float(i != which), dtype=dtype) for i, size in enumerate(sizes)]

    weights = perturbed(initialise(SMALL, [0]))
    whole = logits(weights, SMALL, tokens(1, 4))
    assert not torch.allclose(logits(weights, SMALL, tokens(1, 4), One(0.5, [])), whole)


def test_blocks_made_of_their_branches_are_the_network(network):
    architecture, weights, tokens = network
    *entering, leaving = activations(weights, architecture, tokens)
    assert [tuple(x.shape) for x in entering] == [(2, 5, 20, 16)] * 3
    for e in range(2):
        p = entering[0][e, 3, -1]
        for i, x in enumerate(entering):
            assert torch.allclose(p, x[e, 3, -1], rtol=0, atol=1e-12)
            attention, feed_forward = branches(member(weights, e), architecture, i, x[e, 3])
            p = p + attention(p)
            p = p + feed_forward(p)
        assert torch.allclose(p, leaving[e, 3], rtol=0, atol=1e-12)
        read = weights["readout.weight"][e] @ p + weights["readout.bias"][e]
        assert torch.allclose(read, logits(weights, architecture, tokens)[e, 3], rtol=0, atol=1e-12)


def test_a_branch_sees_the_other_positions_as_they_are_and_not_the_last(network):
    architecture, weights, tokens = network
    x = activations(weights, architecture, tokens)[1][0, 0]
    elsewhere = torch.cat([x[:-1], x[:1]])
    moved = torch.cat([x[1:2], x[1:]])
    first, same, other = (
        branches(member(weights, 0), architecture, 1, y)[0](x[-1]) for y in (x, elsewhere, moved)
    )
    assert torch.equal(first, same) and not torch.allclose(first, other)


@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(5e-324, 1e308), scale=st.floats(1, 1e30))
def test_at_any_temperature_tokens_have_probabilities_and_the_coldest_is_the_likeliest(
    seed, temperature, scale
):
    answer = scale * torch.randn(4, 16, generator=torch.Generator().manual_seed(seed))
    answer[:, :3] = -torch.inf  # not to be played
    probs = choose(answer, temperature)
    assert probs.sum(1) == pytest.approx(np.ones(4)) and (probs[:, :3] == 0).all()
    assert np.array_equal(choose(answer, 5e-324), np.eye(16)[choose(answer, 0.0)])
