"""Estimators: every sample enumerated, dit and naive deletion as oracles, coverage of the intervals."""

import itertools
import warnings

import dit
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, multinomial

from splithistory import estimators, information

PROBS, REFERENCE = np.array([0.2, 0.5, 0.3]), np.array([0.3, 0.3, 0.4])


def tables(size, least=0):
    cells = st.lists(st.integers(least, 30), min_size=size, max_size=size)
    return cells.map(np.array).filter(lambda n: n.sum() >= 2)


def every_sample(n, probs):
    """All (counts (S, K), their probabilities (S,)) of n draws."""
    bars = itertools.combinations(range(n + len(probs) - 1), len(probs) - 1)
    edges = np.array([(-1, *bar, n + len(probs) - 1) for bar in bars])
    counts = np.diff(edges) - 1
    return counts, multinomial.pmf(counts, n, probs)


def expected_entropy(estimator, n, probs=PROBS):
    counts, weights = every_sample(n, probs)
    return weights @ estimator(counts)


def expected_kl(estimator, n, n_reference, probs=PROBS, reference=REFERENCE, least=1):
    """Expectation, given that the reference has each outcome at least `least` times."""
    (counts, weights), (others, other_weights) = every_sample(n, probs), every_sample(n_reference, reference)
    full = (others >= least).all(-1)
    values = estimator(counts[:, None], others[full])
    return weights @ values @ other_weights[full] / other_weights[full].sum()


def names(size):
    return [str(k) for k in range(size)]


def test_enumerated_samples_are_all_there_are():
    counts, weights = every_sample(6, PROBS)
    assert len(counts) == 28 and (counts.sum(-1) == 6).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights @ counts == pytest.approx(6 * PROBS, abs=1e-12)


@given(tables(5))
def test_plugin_entropy_agrees_with_dit_after_bits_become_nats(counts):
    expected = dit.shannon.entropy(dit.Distribution(names(5), counts / counts.sum())) * np.log(2)
    assert estimators.entropy_plugin(counts) == pytest.approx(expected, abs=1e-12)


@given(tables(4), tables(4, least=1))
def test_plugin_kl_agrees_with_dit_after_bits_become_nats(counts, reference):
    samples = (dit.Distribution(names(4), n / n.sum()) for n in (counts, reference))
    expected = float(dit.divergences.kullback_leibler_divergence(*samples)) * np.log(2)
    assert estimators.kl_plugin(counts, reference) == pytest.approx(expected, abs=1e-12)


def test_plugin_entropy_of_two_draws_expects_ln_2_times_the_chance_that_they_differ():
    expected = np.log(2) * (1 - (PROBS**2).sum())
    assert expected_entropy(estimators.entropy_plugin, 2) == pytest.approx(expected, abs=1e-14)


def test_miller_madow_counts_the_empty_cells_of_a_known_alphabet():
    counts = [3, 5, 0, 0]
    correction = estimators.entropy_miller_madow(counts) - estimators.entropy_plugin(counts)
    assert correction == pytest.approx(3 / 16, abs=1e-15)


@given(tables(5))
def test_entropy_jackknife_is_what_deleting_every_draw_in_turn_gives(counts):
    n, deleted = counts.sum(), counts - np.eye(5)
    kept = counts > 0
    entropies = information.entropy(deleted[kept] / (n - 1))
    expected = n * estimators.entropy_plugin(counts) - (n - 1) / n * counts[kept] @ entropies
    assert estimators.entropy_jackknife(counts) == pytest.approx(expected, abs=1e-10)


@given(tables(4), tables(4, least=2))
def test_kl_jackknife_is_what_deleting_every_draw_of_either_sample_in_turn_gives(counts, reference):
    n, m, kept, whole = counts.sum(), reference.sum(), counts > 0, estimators.kl_plugin(counts, reference)
    first = estimators.kl_plugin((counts - np.eye(4))[kept], reference)
    second = estimators.kl_plugin(counts, reference - np.eye(4))
    biases = (n - 1) * (counts[kept] @ first / n - whole), (m - 1) * (reference @ second / m - whole)
    assert estimators.kl_jackknife(counts, reference) == pytest.approx(whole - sum(biases), abs=1e-9)


def test_jackknife_keeps_its_precision_when_counts_are_large():
    counts = np.array([10**9, 2 * 10**9, 5 * 10**9])
    gained = estimators.entropy_jackknife(counts) - estimators.entropy_plugin(counts)
    assert gained == pytest.approx(2 / (2 * counts.sum()), abs=1e-14)


@pytest.mark.parametrize("probs", [PROBS, np.array([0.9, 0.1]), np.full(4, 1 / 4), np.array([0.6, 0.4, 0.0])])
def test_bias_of_plugin_entropy_is_its_formula_up_to_second_order(probs):
    n, truth = 40, information.entropy(probs)
    errors = [
        expected_entropy(estimators.entropy_plugin, size, probs)
        - truth
        - estimators.bias_of_entropy(probs, size)
        for size in (n, 2 * n)
    ]
    assert abs(errors[0]) < 0.1 * abs(estimators.bias_of_entropy(probs, n))
    assert errors[1] / errors[0] == pytest.approx(1 / 4, abs=0.06)  # what is left falls like 1/n²


@pytest.mark.parametrize("sizes", [(40, 40), (10, 40), (40, 30)])
def test_bias_of_plugin_kl_is_its_formula_up_to_second_order(sizes):
    bias = expected_kl(estimators.kl_plugin, *sizes) - information.kl(PROBS, REFERENCE)
    assert bias == pytest.approx(estimators.bias_of_kl(PROBS, REFERENCE, *sizes), rel=0.15)


def test_what_the_bias_formula_of_kl_leaves_falls_like_one_over_n_squared():
    probs, reference = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    errors = [
        expected_kl(estimators.kl_plugin, n, n, probs, reference)
        - information.kl(probs, reference)
        - estimators.bias_of_kl(probs, reference, n, n)
        for n in (60, 120)
    ]
    assert errors[1] / errors[0] == pytest.approx(1 / 4, abs=0.03)


def test_bias_of_kl_of_equal_samples_of_one_distribution_is_k_minus_one_over_n():
    uniform = np.full(8, 1 / 8)
    assert estimators.bias_of_kl(uniform, uniform, 200, 200) == pytest.approx(7 / 200, abs=1e-15)
    assert estimators.bias_of_entropy(uniform, 200) == pytest.approx(-7 / 400, abs=1e-15)


@pytest.mark.parametrize("estimator", [estimators.entropy_miller_madow, estimators.entropy_jackknife])
def test_corrected_entropy_is_biased_to_second_order_only(estimator):
    truth = information.entropy(PROBS)
    errors = [expected_entropy(estimator, n) - truth for n in (20, 40, 80)]
    assert abs(errors[1]) < 0.1 * abs(estimators.bias_of_entropy(PROBS, 40))
    assert abs(errors[2]) < abs(errors[1]) / 3 < abs(errors[0]) / 9


@pytest.mark.parametrize("estimator", [estimators.kl_corrected, estimators.kl_jackknife])
def test_corrected_kl_is_biased_to_second_order_only(estimator):
    probs, reference = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    truth = information.kl(probs, reference)
    errors = [expected_kl(estimator, n, n, probs, reference, least=2) - truth for n in (50, 100)]
    assert abs(errors[0]) < 0.1 * estimators.bias_of_kl(probs, reference, 50, 50)
    assert abs(errors[1]) < abs(errors[0]) / 3


def test_corrected_kl_of_samples_from_one_distribution_is_zero_on_average_not_cut_off_there():
    counts, reference = np.random.default_rng(0).multinomial(200, np.full(8, 1 / 8), size=(2, 4000))
    for estimator in (estimators.kl_corrected, estimators.kl_jackknife):
        values = estimator(counts, reference)
        assert abs(values.mean()) < 4 * values.std() / np.sqrt(4000)
        assert (values < 0).mean() > 0.3
    assert estimators.kl_plugin(counts, reference).mean() == pytest.approx(0.035, rel=0.1)


PAIR = np.array([[4, 3, 2], [4, 4, 1]]), np.array([[5, 0, 3], [6, 2, 2]])


@pytest.mark.parametrize(
    "estimator", [estimators.kl_plugin, estimators.kl_corrected, estimators.kl_jackknife]
)
def test_an_outcome_that_the_reference_lacks_makes_kl_infinite_and_says_so(estimator):
    with pytest.warns(UserWarning, match=r"KL estimate: 1 of 2 are infinite: the reference lacks an outcome"):
        values = estimator(*PAIR)
    assert values[0] == np.inf and np.isfinite(values[1])


def test_kl_jackknife_is_undefined_where_one_deletion_empties_a_cell_and_says_so():
    with pytest.warns(UserWarning, match="1 of 1 are undefined: the reference has only one draw"):
        assert np.isnan(estimators.kl_jackknife([4, 4, 1], [6, 2, 1]))


def test_a_cell_that_the_first_sample_lacks_may_be_empty_in_the_reference():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for estimator in (estimators.kl_plugin, estimators.kl_corrected, estimators.kl_jackknife):
            assert np.isfinite(estimator([5, 5, 0, 0], [3, 4, 1, 0]))


def test_estimates_of_a_batch_are_those_of_its_rows():
    rng = np.random.default_rng(1)
    counts, reference = rng.integers(2, 20, size=(2, 4, 5, 3))
    for estimator in (
        estimators.entropy_plugin,
        estimators.entropy_miller_madow,
        estimators.entropy_jackknife,
    ):
        assert estimator(counts)[1, 2] == estimator(counts[1, 2])
    for estimator in (estimators.kl_plugin, estimators.kl_corrected, estimators.kl_jackknife):
        assert estimator(counts, reference[0, 0])[1, 2] == estimator(counts[1, 2], reference[0, 0])
    sizes = np.array([10, 100])
    assert estimators.bias_of_kl(PROBS, REFERENCE, sizes, sizes)[1] == estimators.bias_of_kl(
        PROBS, REFERENCE, 100, 100
    )


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.844, 0.995])
def test_success_interval_covers_at_every_rate_also_near_one(rate):
    low, high = estimators.success_interval(np.arange(31), 30, 0.9)
    assert binom.pmf(np.arange(31), 30, rate) @ ((low <= rate) & (rate <= high)) >= 0.9


def test_success_interval_has_the_quantiles_of_beta_distributions_as_its_ends():
    low, high = estimators.success_interval([0, 12, 20], 20)
    assert low[1:] == pytest.approx(beta.ppf(0.025, [12, 20], [9, 1]), abs=1e-9)
    assert high[:2] == pytest.approx(beta.ppf(0.975, [1, 13], [20, 8]), abs=1e-9)
    assert (low[0], high[2]) == (0, 1)


N_CLASSES, N_ACTIONS = 8, 4
ANSWERS = np.random.default_rng(1).uniform(0.1, 0.9, size=(N_CLASSES, N_ACTIONS))  # rate of success (M, A)


def histories(skill, n, rng):
    """n rows (success, class, action): the best action with probability `skill`, else a random one."""
    classes, actions = rng.integers(N_CLASSES, size=n), rng.integers(N_ACTIONS, size=n)
    actions = np.where(rng.random(n) < skill, ANSWERS.argmax(1)[classes], actions)
    return np.stack([rng.random(n) < ANSWERS[classes, actions], classes, actions], 1)


def success_rates(rows):
    """(s, s') of rows (success, class, action); s' pairs every row's class with every row's action."""
    classes = np.bincount(rows[:, 1], minlength=N_CLASSES) / len(rows)
    actions = np.bincount(rows[:, 2], minlength=N_ACTIONS) / len(rows)
    return np.array([rows[:, 0].mean(), classes @ ANSWERS @ actions])


def true_rates(skill):
    table = np.full((N_CLASSES, N_ACTIONS), (1 - skill) / N_ACTIONS)
    table[np.arange(N_CLASSES), ANSWERS.argmax(1)] += skill
    table /= N_CLASSES
    return np.array([(table * ANSWERS).sum(), table.sum(1) @ ANSWERS @ table.sum(0)])


@pytest.mark.slow
@pytest.mark.parametrize("skill", [0, 0.3, 1])
def test_joint_intervals_cover_both_success_rates_and_their_kl(skill):
    rng, repetitions, covered = np.random.default_rng(2), 300, np.zeros(3)
    truth = true_rates(skill)
    least = information.imp_min(*truth)
    for seed in range(repetitions):
        rows, keywords = histories(skill, 200, rng), {"n_resamples": 200, "seed": seed}
        low, high = estimators.paired_interval(success_rates, rows, **keywords)
        covered[:2] += (low <= truth) & (truth <= high)
        low, high = estimators.kl_interval(success_rates, rows, **keywords)
        covered[2] += low <= least <= high
    error = np.sqrt(0.95 * 0.05 / repetitions)
    assert np.abs(covered / repetitions - 0.95).max() < 3 * error


def test_rates_computed_once_per_action_would_give_s_prime_too_narrow_an_interval():
    rng = np.random.default_rng(3)
    repeated = np.std([success_rates(histories(1, 200, rng))[1] for _ in range(1000)])
    rows = histories(1, 200, rng)
    classes = np.bincount(rows[:, 1], minlength=N_CLASSES) / len(rows)
    by_action = (classes @ ANSWERS)[rows[:, 2]]
    whole = estimators.paired_interval(lambda r: success_rates(r)[1], rows)
    fixed = estimators.paired_interval(np.mean, by_action)
    assert np.diff(whole)[0] == pytest.approx(2 * 1.96 * repeated, rel=0.2)
    assert np.diff(fixed)[0] < 0.8 * np.diff(whole)[0]


def test_paired_interval_of_a_mean_is_the_normal_one_and_keeps_the_shape():
    samples = np.random.default_rng(4).normal(size=(400, 2, 3))
    low, high = estimators.paired_interval(lambda rows: rows.mean(0), samples, n_resamples=4000)
    half = 1.96 * samples.std(0) / 20
    assert low.shape == high.shape == (2, 3)
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert (high + low) / 2 == pytest.approx(samples.mean(0), abs=0.005)


def test_paired_interval_subtracts_the_bias_of_a_curved_function():
    rng = np.random.default_rng(5)
    centres = []
    for seed in range(200):
        draws = rng.normal(size=50)
        ends = estimators.paired_interval(lambda r: r.mean() ** 2, draws, n_resamples=200, seed=seed)
        centres.append(np.mean(ends))
    standard_error = np.std(centres) / np.sqrt(200)
    assert abs(np.mean(centres)) < 3 * standard_error  # the uncorrected mean is 1/50
    assert 1 / 50 > 5 * standard_error


def test_kl_interval_starts_at_zero_when_the_two_rates_cannot_be_told_apart():
    coins = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (25, 1))
    low, high = estimators.kl_interval(lambda rows: rows.mean(0), coins)
    # s − s' has the standard deviation 1/√200 and kl is 2 (s − s')² at ½
    assert low == 0 < high == pytest.approx(2 * 1.96**2 / 200, rel=0.15)


def test_kl_interval_does_not_care_which_of_the_two_rates_is_higher():
    rows = histories(1, 200, np.random.default_rng(7))
    one = estimators.kl_interval(success_rates, rows, n_resamples=200)
    other = estimators.kl_interval(lambda r: 1 - success_rates(r), rows, n_resamples=200)
    assert one[0] > 0 and one == pytest.approx(other)


def test_an_interval_is_obeyed_by_its_seed():
    samples = np.random.default_rng(8).normal(size=30)
    ends = [estimators.paired_interval(np.mean, samples, n_resamples=50, seed=seed) for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimators.entropy_plugin(3), r"counts: shape \(\), allowed is a non-empty last axis"),
        (
            lambda: estimators.entropy_plugin([[1, 2], [0, 0]]),
            r"counts: row \[1\] sums to 0, allowed is >= 1",
        ),
        (lambda: estimators.entropy_plugin([0.5, 0.5]), r"counts: entry \[0\] is 0.5, allowed are integers"),
        (lambda: estimators.entropy_plugin([3, -1]), r"counts: entry \[1\] is -1, allowed are integers >= 0"),
        (lambda: estimators.entropy_jackknife([1, 0]), r"counts: row \[\] sums to 1, allowed is >= 2"),
        (lambda: estimators.kl_plugin([1, 2], [1, 2, 3]), "reference_counts: 3 outcomes, .* as counts: 2"),
        (lambda: estimators.kl_jackknife([1, 2], [1, 0]), r"reference_counts: row \[\] sums to 1"),
        (lambda: estimators.bias_of_entropy([0.5, 0.5], 0), "n: given 0, allowed are numbers of draws >= 1"),
        (lambda: estimators.bias_of_kl([0.5, 0.5], [1, 0], 9, 9), "reference: lacks an outcome of probs"),
        (lambda: estimators.success_interval(4, 3), "successes: given 4, allowed are 0 to n = 3"),
        (
            lambda: estimators.success_interval(0.5, 3),
            r"successes: given .*0.5.*, allowed is an integer >= 0",
        ),
        (lambda: estimators.success_interval(1, 3, 95), "level: given 95, allowed is between 0 and 1"),
        (lambda: estimators.paired_interval(np.mean, [1.0]), r"samples: shape \(1,\), .* with N >= 2"),
        (lambda: estimators.paired_interval(np.mean, [1, 2], n_resamples=1), "n_resamples: given 1"),
        (lambda: estimators.paired_interval(np.mean, [1, 2], level=0), "level: given 0, allowed"),
        (lambda: estimators.paired_interval(np.mean, [1, np.inf]), "function: not finite for 2000 of 2000"),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
