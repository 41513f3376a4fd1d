"""Entropies and divergences: known values, dit as an oracle, failures."""

import dit
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splithistory import information

rates = st.floats(1e-6, 1 - 1e-6)


def distributions(size):
    weights = st.lists(st.floats(1e-3, 1), min_size=size, max_size=size)
    return weights.map(lambda w: np.array(w) / np.sum(w))


def test_entropy_of_a_uniform_distribution_is_ln_k_in_nats():
    assert information.entropy(np.full(8, 1 / 8)) == pytest.approx(np.log(8), abs=1e-15)


def test_entropy_counts_an_impossible_outcome_as_zero():
    assert information.entropy([1.0, 0.0]) == 0


@given(distributions(5))
def test_entropy_agrees_with_dit_after_bits_become_nats(p):
    expected = dit.shannon.entropy(dit.Distribution([str(k) for k in range(5)], p)) * np.log(2)
    assert information.entropy(p) == pytest.approx(expected, abs=1e-12)


@given(distributions(5), distributions(5))
def test_kl_agrees_with_dit_after_bits_become_nats(p, q):
    names = [str(k) for k in range(5)]
    expected = dit.divergences.kullback_leibler_divergence(
        dit.Distribution(names, p), dit.Distribution(names, q)
    )
    assert information.kl(p, q) == pytest.approx(float(expected) * np.log(2), abs=1e-12)


def test_kl_is_infinite_where_the_reference_lacks_an_outcome():
    assert information.kl([0.5, 0.5], [1.0, 0.0]) == np.inf


@given(rates, rates)
def test_binary_kl_is_the_kl_of_two_coins(s, q):
    assert information.binary_kl(s, q) == pytest.approx(information.kl([s, 1 - s], [q, 1 - q]), abs=1e-12)


@given(rates, rates)
def test_binary_kl_does_not_tell_a_goal_from_its_complement(s, q):
    assert information.binary_kl(s, q) == pytest.approx(information.binary_kl(1 - s, 1 - q), abs=1e-9)


def test_implied_op_of_certain_success_is_minus_ln_p():
    assert information.implied_op(1.0, [0.25, 0.5]) == pytest.approx(-np.log([0.25, 0.5]), abs=1e-15)


def test_implied_op_of_the_posts_85_15_example():
    assert information.implied_op(0.85, 0.75) == pytest.approx(0.0298, abs=5e-5)
    shares = np.zeros(8)
    shares[[2, 3]] = 0.85, 0.15
    assert np.log(8) - information.entropy(shares) == pytest.approx(1.657, abs=5e-4)


def test_imp_min_is_infinite_only_when_the_counterfactual_rate_is_certain():
    assert information.imp_min(0.2, 0.9) > 0
    assert information.imp_min(0.5, 0.0) == np.inf


def test_torch_tensors_are_taken_as_arrays():
    torch = pytest.importorskip("torch")
    assert information.entropy(torch.tensor([0.5, 0.5])) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information.entropy([0.5, 0.4]), r"probs: row \[\] sums to 0.9, allowed is 1"),
        (lambda: information.entropy([[0.5, 0.5], [1.5, -0.5]]), r"probs: entry \[1, 1\] is -0.5"),
        (lambda: information.kl([1.0], [np.nan]), r"reference: entry \[0\] is nan"),
        (lambda: information.binary_kl(1.2, 0.5), r"s: given 1.2 to 1.2, allowed is \[0, 1\]"),
        (lambda: information.goal_mask((0, 9), 8), r"goal: given \[0, 9\], allowed are outcomes in 0..7"),
        (lambda: information.goal_mask((0.5,), 8), r"goal: given \[0.5\], allowed are outcomes in 0..7"),
        (lambda: information.goal_mask(3, 8), "goal: given 3, allowed are outcomes in 0..7"),
        (lambda: information.goal_mask((0, "a"), 8), r"goal: given \[0, 'a'\]"),
        (lambda: information.kl([1.0], [0.5, 0.5]), "reference: 2 outcomes, allowed are as many as probs: 1"),
        (lambda: information.goal_mask((), 8), "goal: given 0 of 8 outcomes"),
        (lambda: information.goal_mask(range(8), 8), "goal: given 8 of 8 outcomes"),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_goal_is_the_same_in_any_order_and_any_container():
    expected = information.goal_mask((0, 4), 8)
    for goal in ([4, 0], {0, 4}, (0, 4, 4), np.array([0, 4]), iter((0, 4))):
        assert np.array_equal(information.goal_mask(goal, 8), expected)


def test_float32_probabilities_are_accepted_and_made_to_sum_to_one():
    probs = np.random.default_rng(0).dirichlet(np.ones(16), size=100).astype(np.float32)
    assert np.abs(information.as_distribution(probs, "p").sum(-1) - 1).max() < 1e-15
