"""Entropies and divergences: known values, dit as an oracle, failures."""

import dit
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp

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


@st.composite
def tilts(draw, size=5):
    """(prior, utility, value, range of the utility); the value is between the ends, not at them."""
    utility = np.array(draw(st.lists(st.integers(-50, 50), min_size=size, max_size=size, unique=True))) / 10
    prior, share = draw(distributions(size)), draw(st.floats(1e-6, 1 - 1e-6))
    return prior, utility, utility.min() + share * np.ptp(utility), np.ptp(utility)


@given(distributions(6), st.integers(1, 5), rates)
def test_tilting_towards_a_goal_costs_the_binary_kl_of_the_success_rates(prior, size, s):
    tilted = information.tilt(prior, np.arange(6) < size, s)
    assert tilted.kl == pytest.approx(information.imp_min(s, prior[:size].sum()), rel=1e-9, abs=1e-9)


@given(tilts())
def test_tilted_distribution_reaches_the_value_at_the_divergence_stated(case):
    prior, utility, value, scale = case
    tilted = information.tilt(prior, utility, value)
    assert abs(tilted.probs @ utility - value) <= 1e-9 * scale
    assert information.kl(tilted.probs, prior) == pytest.approx(tilted.kl, abs=1e-12)


@given(tilts())
def test_tilted_divergence_is_the_supremum_of_its_dual(case):
    prior, utility, value, _ = case
    tilted = information.tilt(prior, utility, value)
    for rate in tilted.rate + np.array([-1, -0.01, 0, 0.01, 1]):
        dual = rate * value - logsumexp(rate * utility, b=prior)
        assert dual <= tilted.kl + 1e-9
        if rate == tilted.rate:
            assert dual == pytest.approx(tilted.kl, abs=1e-9)


@given(tilts(), st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_no_other_distribution_of_the_same_value_is_nearer_than_the_tilted_one(case, direction, share):
    prior, utility, value, _ = case
    tilted = information.tilt(prior, utility, value)
    basis, _ = np.linalg.qr(np.stack([np.ones(5), utility], 1))
    step = np.array(direction) - basis @ (basis.T @ direction)  # keeps the sum and the value
    falling = step < 0
    if falling.any():
        other = tilted.probs + share * (tilted.probs[falling] / -step[falling]).min() * step
        assert information.kl(np.clip(other, 0, None), prior) >= tilted.kl - 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_a_general_optimiser_finds_the_tilted_distribution(seed):
    rng = np.random.default_rng(seed)
    prior, utility = rng.dirichlet(np.ones(6)), rng.normal(size=6)
    value = rng.dirichlet(np.ones(6)) @ utility
    conditions = [
        {"type": "eq", "fun": lambda q: q.sum() - 1},
        {"type": "eq", "fun": lambda q: q @ utility - value},
    ]
    found = minimize(
        lambda q: (q * np.log(q / prior)).sum(),
        np.full(6, 1 / 6),
        method="SLSQP",
        bounds=[(1e-12, 1)] * 6,
        constraints=conditions,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    tilted = information.tilt(prior, utility, value)
    assert found.fun == pytest.approx(tilted.kl, abs=1e-8)
    assert found.x == pytest.approx(tilted.probs, abs=1e-4)


@given(tilts(), st.floats(0, 1), st.floats(0, 1))
def test_tilted_divergence_is_convex_in_the_value(case, share, weight):
    prior, utility, value, scale = case
    other = utility.min() + share * scale
    ends = [information.tilt(prior, utility, v).kl for v in (value, other)]
    between = information.tilt(prior, utility, weight * value + (1 - weight) * other).kl
    assert between <= weight * ends[0] + (1 - weight) * ends[1] + 1e-9


@given(tilts(), st.floats(1e-3, 1e3), st.floats(-10, 10), st.booleans())
def test_tilting_does_not_depend_on_the_units_or_sign_of_the_utility(case, factor, offset, flipped):
    prior, utility, value, _ = case
    factor = -factor if flipped else factor
    one, other = (
        information.tilt(prior, u, v)
        for u, v in ((utility, value), (factor * utility + offset, factor * value + offset))
    )
    assert other.kl == pytest.approx(one.kl, abs=1e-7)  # λ times the rounding of the value
    assert other.probs == pytest.approx(one.probs, abs=1e-9 + 1e-11 / abs(factor))
    assert np.sign(other.rate * factor) == np.sign(one.rate) or abs(one.rate) < 1e-9


def test_tilting_to_an_end_leaves_the_prior_given_the_best_or_worst_outcomes_it_has():
    prior, utility = [0.1, 0.3, 0.2, 0.4, 0.0], [0, 2, 2, 1, 9]
    best, worst = information.tilt(prior, utility, 2), information.tilt(prior, utility, 0)
    assert (best.rate, worst.rate) == (np.inf, -np.inf)
    assert best.probs == pytest.approx([0, 0.6, 0.4, 0, 0])
    assert (best.kl, worst.kl) == (pytest.approx(-np.log(0.5)), pytest.approx(-np.log(0.1)))


@pytest.mark.parametrize("gap", [1e-3, 1e-9, 1e-14])
def test_tilting_stays_finite_and_right_close_to_an_end(gap):
    tilted = information.tilt([0.5, 0.25, 0.25], [0.0, 1.0, 1.0 - 1e-9], 1 - gap)
    assert np.isfinite([tilted.kl, tilted.rate]).all() and tilted.rate > 0
    assert tilted.probs @ [0.0, 1.0, 1.0 - 1e-9] == pytest.approx(1 - gap, abs=1e-15)


def test_tilting_to_what_the_prior_expects_costs_nothing():
    prior, utility = np.array([0.2, 0.3, 0.5]), np.array([1.0, 4.0, -2.0])
    tilted = information.tilt(prior, utility, prior @ utility)
    assert (tilted.kl, tilted.rate) == (pytest.approx(0, abs=1e-15), pytest.approx(0, abs=1e-14))


def test_a_constant_utility_is_reached_for_nothing_and_no_other_value_ever():
    prior = [0.25, 0.75]
    tilted = information.tilt(prior, [0.3, 0.3], np.dot(prior, [0.3, 0.3]))
    assert (tilted.rate, tilted.probs) == (0, pytest.approx(prior))
    assert tilted.kl == pytest.approx(0, abs=1e-15)
    with pytest.raises(ValueError, match=r"value: given 0.4, allowed is a number in \[0.3, 0.3\]"):
        information.tilt(prior, [0.3, 0.3], 0.4)


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
        (lambda: information.tilt([0.5, 0.5, 0], [0, 1, 2], 1.5), r"value: given 1.5, .* in \[0, 1\]"),
        (lambda: information.tilt([0.5, 0.5], [0, 1], -0.5), r"value: given -0.5, .* in \[0, 1\]"),
        (lambda: information.tilt([0.5, 0.5], [0, 1], [0.5]), r"value: given \[0.5\], allowed is a number"),
        (lambda: information.tilt([0.5, 0.5], [0, 1], np.nan), "value: entry .* is nan"),
        (lambda: information.tilt([0.5, 0.5], [0], 0), r"shapes \(2,\), \(1,\), allowed is \(K,\) for both"),
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


def test_outcomes_that_succeed_at_a_rate_are_even_unless_they_are_divided():
    assert information.succeeding((1, 3), 5, 0.6) == pytest.approx([0.4 / 3, 0.3, 0.4 / 3, 0.3, 0.4 / 3])
    found = information.succeeding((3, 1), 5, 0.6, among_successes=[0.75, 0.25], among_failures=[0, 1, 0])
    assert found == pytest.approx([0, 0.45, 0.4, 0.15, 0])
    with pytest.raises(ValueError, match=r"success: given 1.2, allowed is"):
        information.succeeding((1, 3), 5, 1.2)


@given(st.floats(0.51, 0.7))
def test_the_same_op_on_another_curve_is_the_same_and_leads_back(s):
    there = information.same_op_rate(s, 0.25, 0.5)
    assert information.implied_op(there, 0.5) == pytest.approx(information.implied_op(s, 0.25), abs=1e-9)
    assert information.same_op_rate(there, 0.5, 0.25) == pytest.approx(s, abs=1e-9)


def test_an_op_that_another_curve_cannot_imply_is_refused():
    with pytest.raises(ValueError, match=r"s: given 0.9 for p = 0.25, allowed is what q = 0.75 can imply"):
        information.same_op_rate(0.9, 0.25, 0.75)


def test_steps_at_equal_op_commute_for_a_shift_of_log_odds_and_not_for_kl():
    def shift(s, q):
        return (np.log(s / (1 - s)) - np.log(q / (1 - q))) ** 2

    one, other = information.both_orders(0.54, divergence=shift)
    assert one == pytest.approx(other, abs=1e-9)
    one, other = information.both_orders(0.54)
    assert abs(one - other) > 1e-3


@given(distributions(6), distributions(2), distributions(3))
def test_parts_that_are_independent_in_the_reference_leave_mutual_information_over(joint, first, second):
    joint = joint.reshape(2, 3)
    whole, parts = information.whole_and_parts(joint, np.outer(first, second))
    mutual = information.kl(joint.ravel(), np.outer(joint.sum(1), joint.sum(0)).ravel())
    assert whole - parts == pytest.approx(mutual, abs=1e-12)


def test_another_divergence_may_be_given_for_the_whole_and_its_parts():
    counted = information.whole_and_parts(np.eye(2), np.eye(2), lambda p, q: len(p))
    assert counted == (4, 4)


@given(st.lists(st.integers(-2, 9), max_size=6))
def test_a_goal_is_the_same_however_its_outcomes_are_written(outcomes):
    def made(goal):
        try:
            return information.as_goal(goal, 8)
        except ValueError as error:
            return str(error)

    ways = [tuple(outcomes), outcomes, np.array(outcomes, int), iter(outcomes), tuple(sorted(set(outcomes)))]
    first, *others = map(made, ways)
    if isinstance(first, tuple):
        assert others == 4 * [first] and first == tuple(sorted(set(outcomes)))
    else:
        assert all(isinstance(other, str) for other in others)
    assert isinstance(made((True, *outcomes)), str)  # no number, wherever it stands
