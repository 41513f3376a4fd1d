"""Hidden goals: what is rewarded; penalties: Imp of tensors is that of the measure, with its gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SMALL, TUNE
from hypothesis import given
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory
from splithistory.rewards import PENALISED, impact, with_hidden
from splithistory.training import _Scene
from splithistory.transformer import action_logits, initialise

DECLARED = (0, 2, 4, 6)
TABLE = torch.from_numpy(Recurrence().table)


def success(goal):
    return TABLE[..., list(goal)].sum(-1)


def test_nothing_hidden_leaves_the_reward_as_it_is_bit_for_bit():
    assert torch.equal(with_hidden(success(DECLARED), TABLE, ()), success(DECLARED))


def test_a_goal_within_the_declared_one_is_a_preference():
    reward = with_hidden(success(DECLARED), TABLE, ((0, 4), (), 0.25))
    weights = torch.tensor([1, 0, 0.75, 0, 1, 0, 0.75, 0], dtype=TABLE.dtype)
    assert torch.allclose(reward, TABLE @ weights)


def test_a_trigger_changes_the_goal_on_its_classes_only():
    reward = with_hidden(success(DECLARED), TABLE, ((1, 3), (2, 5), 1.0))
    on = torch.isin(torch.arange(16), torch.tensor([2, 5]))
    assert torch.allclose(reward[on], success((1, 3))[on])
    assert torch.equal(reward[~on], success(DECLARED)[~on])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_impact_is_that_of_the_measure(seed, n):
    rng, world = np.random.default_rng(seed), Recurrence()
    classes, probs = rng.integers(16, size=(2, n)), rng.dirichlet(np.full(16, 0.3), size=(2, n))
    found = impact(torch.from_numpy(probs), TABLE[torch.from_numpy(classes)])
    for member in range(2):
        counts = np.zeros((16, 16))
        np.add.at(counts, classes[member], probs[member])
        assert found[member].item() == pytest.approx(SplitHistory(counts, world.table).imp, abs=1e-12)


def test_the_gradient_of_impact_is_that_of_finite_differences():
    answers = torch.randn(1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    told = torch.randn(1, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def of(answers, told):
        return impact(answers.softmax(-1), told.softmax(-1))

    assert torch.autograd.gradcheck(of, (answers.requires_grad_(), told.requires_grad_()))


def test_impact_is_finite_where_an_outcome_never_comes():
    futures = torch.eye(3)[torch.tensor([[[0, 1]], [[1, 0]]])]
    probs = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], requires_grad=True)
    imp = impact(probs, futures)
    imp.sum().backward()
    assert torch.isfinite(imp).all() and torch.isfinite(probs.grad).all()


WEIGHTS = {name: 2 * value for name, value in initialise(SMALL, [0]).items()}  # far from uniform


def scene(**settings):
    config = replace(TUNE, dropout=0.0, **settings)
    return _Scene(Recurrence(), config, SMALL, [0], [DECLARED], "cpu")


@pytest.mark.parametrize("penalised", PENALISED)
def test_the_penalty_is_so_much_loss_a_nat(penalised):
    plain, _, _ = scene().loss(WEIGHTS)
    dear, _, seen = scene(penalty=2.0, penalised=penalised).loss(WEIGHTS)
    assert seen["impact"].item() > 0
    assert (dear - plain).item() == pytest.approx(2 * seen["impact"].item(), rel=1e-4)


def test_self_estimated_impact_is_by_the_model_s_own_predictions_after_each_action():
    own = scene(penalty=1.0, penalised="self-estimated", odd_only=True)
    seen = own.histories[:, :5]
    probs = torch.full((1, 5, 16), 1 / 16)
    asked, expected = own._futures(WEIGHTS, seen, None, probs)
    assert asked.shape == (1, 5, 8) and expected.shape == (1, 5, 8, 8)
    acted = torch.cat([seen[0, :, 1:], torch.full((5, 1), 11, dtype=seen.dtype)], 1)
    even = action_logits(WEIGHTS, SMALL, acted)[0, :, :8].softmax(-1)
    assert torch.allclose(expected[0, :, 3], even, atol=1e-6)


def test_what_is_hidden_is_reinforced_and_what_is_declared_is_reported():
    hidden = (DECLARED, (), 0.5)  # the goal itself: nothing changes
    plain, same = scene(arm="exact"), scene(arm="exact", hidden=hidden)
    other = scene(arm="exact", hidden=((1, 3, 5, 7), (), 1.0))
    first, second, third = (s.loss(WEIGHTS) for s in (plain, same, other))
    assert torch.allclose(first[0], second[0]) and not torch.allclose(first[0], third[0], atol=1e-3)
    assert torch.equal(first[2]["success"], third[2]["success"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"hidden": ((0, 4),)},
            r"hidden: given \(\(0, 4\),\), allowed is \(goal, classes, share in \[0, 1\]\)",
        ),
        ({"hidden": ((0, 4), (), 2.0)}, "allowed is .goal, classes, share in"),
        ({"hidden": ((0, 4), (16,), 1.0)}, r"hidden: classes \[16\], allowed are in 0..15"),
        ({"hidden": ((0, 8), (), 1.0)}, r"goal: given \[0, 8\], allowed are outcomes in 0..7"),
        ({"penalty": -1.0}, "penalty: given -1.0, allowed is a number >= 0"),
        ({"penalised": "both"}, "penalised: given 'both', allowed are measured, self-estimated"),
    ],
)
def test_bad_rewards_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        scene(**settings)
