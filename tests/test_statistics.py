"""Statistics over seeds: against their formulas, ties and seeds that all agree."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, page_trend_test, rankdata, t

from splithistory import statistics, trends


def test_t_interval_is_students():
    mean, half = statistics.t_interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    with pytest.raises(
        ValueError, match=r"values: shape \(1,\), allowed are at least two independent values"
    ):
        statistics.t_interval([1.0])


def test_by_goal_averages_the_sizes_of_a_seed_before_it_compares_seeds():
    rows = [(4, 0, "18k", 1.0), (4, 0, "53k", 3.0), (4, 1, "18k", 4.0), (4, 1, "53k", 8.0)]
    table = pd.DataFrame(rows, columns=["n_good", "seed", "size", "x"])
    assert statistics.by_goal(table, "x") == {4: statistics.t_interval([2.0, 6.0])}
    assert trends.growth_by_goal(table, "x") == {4: statistics.t_interval([2.0, 4.0])}
    assert trends.growth_by_goal(table[table["size"] == "18k"], "x") == {}


def test_paired_compares_only_what_both_tables_hold_whatever_their_order():
    columns = ["size", "seed", "n_good", "model", "s"]
    there = pd.DataFrame(
        [("18k", 0, 2, 7, 0.5), ("18k", 1, 2, 8, 0.9), ("53k", 0, 2, 9, 0.1)], columns=columns
    )
    here = pd.DataFrame(
        [("18k", 1, 2, 1, 0.3), ("18k", 0, 2, 0, 0.4), ("18k", 0, 4, 2, 0.2)], columns=columns
    )
    change = statistics.paired(there, here, "s").set_index(["size", "seed", "n_good"])["s"]
    assert change.to_dict() == pytest.approx({("18k", 0, 2): 0.1, ("18k", 1, 2): 0.6})


def test_changes_reduce_the_goals_of_a_seed_to_one_value_before_they_are_compared():
    columns = ["arm", "size", "seed", "n_good", "s"]
    places = [("18k", seed, n_good) for seed in range(2) for n_good in (2, 4)]
    here = pd.DataFrame([("usual", *place, 0.5) for place in places], columns=columns)
    there = pd.concat([here.assign(arm="a", s=[0.6, 0.8, 0.5, 0.7]), here.assign(arm="b", s=0.25)])
    assert statistics.paired_by_seed(there[there["arm"] == "a"], here, "s").tolist() == pytest.approx(
        [0.2, 0.1]
    )
    found = statistics.changes(there, here, ["s"])
    assert found["a", "18k"]["s"] == pytest.approx(statistics.t_interval([0.2, 0.1]))
    assert found["b", "18k"]["s"] == (-0.25, 0.0) and len(found) == 2
    by_goal = statistics.changes(there, here, ["s"], ["arm", "n_good"])
    assert by_goal["a", 4]["s"] == pytest.approx(statistics.t_interval([0.3, 0.2]))


def test_a_group_of_one_seed_has_no_interval_and_is_left_out():
    rows = [("a", 0, 2, 0.5), ("a", 0, 4, 0.7), ("a", 1, 2, 0.2), ("b", 0, 2, 0.9)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "n_good", "s"]).assign(size="18k")
    expected = {("a",): {"s": statistics.t_interval([(0.5 + 0.7) / 2, 0.2])}}
    assert statistics.over_seeds(table, ["s"], ["arm"]) == expected
    one = table[table["arm"] == "a"]
    assert list(statistics.changes(table, one, ["s"])) == [("a", "18k")]
    assert statistics.over_seeds(table[:0], ["s"], ["arm"]) == {} == statistics.changes(table[:0], one, ["s"])


def test_an_interval_is_told_from_a_number_that_it_does_not_hold():
    assert [statistics.told((mean, 0.5)) for mean in (1, 0.2, -1)] == [1, 0, -1]
    assert statistics.told((1, 0.5), 0.5) == 0 and statistics.told((1, 0.5), 2) == -1


@pytest.mark.parametrize("n", [3, 5, 20])
def test_a_detectable_mean_is_found_as_often_as_promised(n):
    rng = np.random.default_rng(n)
    critical = t.ppf(0.975, n - 1)
    mean = statistics.detectable(critical / np.sqrt(n), n)  # of values with standard deviation 1
    values = rng.normal(mean, 1, (40_000, n))
    # given the true spread, as `detectable` assumes: the t statistic is noncentral t
    found = values.mean(1) > critical * values.std(1, ddof=1) / np.sqrt(n)
    assert found.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("n", [2, 10])
@pytest.mark.parametrize("level", [0.01, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("power", [0.55, 0.8, 0.99, 0.99999])
def test_a_mean_is_detectable_with_any_power_above_chance_at_any_level(n, level, power):
    critical = t.ppf((1 + level) / 2, n - 1)
    shift = statistics.detectable(1.0, n, level=level, power=power) * critical
    assert 0 < shift < np.inf and nct.sf(critical, n - 1, shift) == pytest.approx(power, abs=1e-9)


def test_a_power_that_chance_alone_has_needs_no_true_mean_and_is_refused():
    assert 0 < statistics.detectable(1, 2, power=0.0251) < 0.1
    for power in (0.01, 0.025):
        with pytest.raises(ValueError, match=rf"^power: given {power}, allowed is above 0\.025, "):
            statistics.detectable(1, 2, power=power)


def test_nothing_is_detectable_from_one_value():
    with pytest.raises(ValueError, match="n: given 1, allowed is an integer >= 2"):
        statistics.detectable(0.1, 1)


def enumerated_page(values):
    ranks = rankdata(values, axis=1)
    columns = np.arange(1, ranks.shape[1] + 1)
    orders = [[np.dot(order, columns) for order in itertools.permutations(block)] for block in ranks]
    sums = [sum(each) for each in itertools.product(*orders)]
    return np.mean(np.array(sums) >= (ranks @ columns).sum() - 1e-9)


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=4), st.booleans())
def test_pages_test_is_exact_with_ties_as_every_order_of_every_block_tells(blocks, falling):
    expected = enumerated_page([block[::-1] for block in blocks] if falling else blocks)
    assert statistics.page(blocks, falling=falling) == pytest.approx(expected, rel=1e-12)


def test_ties_do_not_make_pages_test_surer_or_less_sure_than_it_is():
    assert statistics.page([[0, 0, 1]] * 3) == pytest.approx(1 / 27)
    assert statistics.page(np.ones((3, 3))) == 1 == statistics.page(np.ones((40, 8)))
    few, many = ([[*range(n - 1), n - 2]] * 2 for n in (8, 9))  # more than 8 are taken for untied
    assert statistics.page(many) == page_trend_test(many, method="exact").pvalue
    assert statistics.page(few) == pytest.approx((2 / 40320) ** 2)


@given(st.integers(0, 2**32 - 1))
def test_pages_test_without_ties_is_scipys(seed):
    values = np.random.default_rng(seed).normal(size=(4, 5))
    assert statistics.page(values) == page_trend_test(values, method="exact").pvalue


def test_auc_counts_pairs_and_half_the_ties():
    pairs = ([2, 3], [1, 1]), ([1], [1]), ([0, 2], [1, 1])
    assert [statistics.auc(*pair) for pair in pairs] == [1.0, 0.5, 0.5]
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(1, 1, 30), rng.normal(0, 1, 40)
    brute = np.mean(right[:, None] > wrong[None])
    assert statistics.auc(right, wrong) == pytest.approx(brute)
    halves = statistics.auc(right.reshape(2, 1, 15), wrong.reshape(1, 4, 10))
    assert halves.shape == (2, 4) and halves.mean() == pytest.approx(brute)
    with pytest.raises(ValueError, match="auc: given 0 right and 1 wrong"):
        statistics.auc([], [1])


def test_clusters_are_drawn_whole():
    low, high = statistics.clustered_interval(lambda seeds: np.mean(np.concatenate(seeds)), [[0, 0], [1, 1]])
    assert (low, high) == (0.0, 1.0)
    same = statistics.clustered_interval(lambda seeds: np.mean(np.concatenate(seeds)), [[0, 1]] * 3)
    assert same == (0.5, 0.5)
    with pytest.raises(ValueError, match="clusters: given 1"):
        statistics.clustered_interval(np.mean, [[1]])


def test_seeds_that_all_agree_have_an_interval_without_width_and_no_doubt_on_their_side():
    assert statistics.t_interval([0.3, 0.3, 0.3]) == (pytest.approx(0.3), 0.0)
    assert statistics.t_test([1.0, 1.0], above=0.5) == 0.0 and statistics.t_test([1.0, 1.0], below=0.5) == 1.0


def test_means_of_clusters_drawn_anew_are_those_of_the_bootstrap():
    values = np.random.default_rng(0).random((3, 5, 5))

    def mean(drawn):
        return values[1][np.ix_(drawn, drawn)].mean()

    found = statistics.redrawn(values, axes=2)
    assert found.shape == (2000, 3)
    expected = statistics.clustered_interval(mean, range(5))
    assert statistics.percentiles(found[:, 1]) == pytest.approx(expected, abs=1e-12)
    singly = statistics.clustered_interval(np.mean, values[0, 0])
    assert statistics.percentiles(statistics.redrawn(values[0, 0])) == pytest.approx(singly, abs=1e-12)


def test_accuracy_is_a_mean_over_seeds_with_the_range_of_seeds_drawn_anew():
    table = pd.DataFrame({"seed": [0, 0, 1, 1], "right": [True, False, True, True]})
    assert statistics.accuracy(table, "right") == (0.75, (0.5, 1.0))
    assert statistics.by_seed(table, "right") == statistics.t_interval([0.5, 1.0])
    more = pd.concat([table, table[:2], table[:2]])  # a seed of many rows counts no more than another
    assert statistics.accuracy(more, "right") == (0.75, (0.5, 1.0))


def test_median_sizes_are_of_absolute_values_seed_by_seed():
    table = pd.DataFrame({"seed": [0, 0, 0, 1], "a": [-3.0, 1.0, 2.0, -5.0], "b": 1.0})
    found = statistics.median_sizes(table, "a", "b")
    assert found["a"].to_dict() == {0: 2.0, 1: 5.0} and found["b"].to_dict() == {0: 1.0, 1: 1.0}


def test_the_ratio_of_impact_to_its_bound_is_infinite_where_impact_is():
    table = pd.DataFrame({"imp": [0.3, np.inf, np.inf], "imp_min": [0.2, 0.2, np.inf]})
    assert statistics.imp_ratio(table)["ratio"].tolist() == [pytest.approx(1.5), np.inf, np.inf]
    assert "ratio" not in table


def test_chance_of_sets_that_all_seeds_share_widens_the_interval_as_their_own_variance_does():
    index = pd.MultiIndex.from_product([[2], range(4)], names=["n_good", "seed"])
    seeds, sets = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.0, 0.5, 2.5])
    whole = pd.Series(seeds + sets.mean(), index)
    left_out = [pd.Series(seeds + np.delete(sets, i).mean(), index) for i in range(3)]
    ((mean, half),) = statistics.over_seeds_and_sets(whole, left_out).values()
    ((_, wider),) = statistics.over_seeds_and_sets(whole, left_out, 0.99).values()
    of_seeds, of_sets = seeds.var(ddof=1) / 4, sets.var(ddof=1) / 3  # the jackknife of a mean
    assert mean == pytest.approx(4.0)
    assert half == pytest.approx(t.ppf(0.975, 3) * np.sqrt(of_seeds + of_sets))
    assert wider == pytest.approx(t.ppf(0.995, 3) * np.sqrt(of_seeds + of_sets))


def test_models_are_not_paired_with_two_others_at_once():
    here = pd.DataFrame({"arm": ["a", "b"], "size": "18k", "seed": 0, "n_good": 2, "op": [1.0, 3.0]})
    assert statistics.paired(here, here[:1], "op")["op"].tolist() == [0.0, 2.0]
    with pytest.raises(ValueError, match=r"^here: given several rows of .*'18k', 0, 2\], allowed is one row"):
        statistics.changes(here, here, ["op"])


def test_one_rule_ahead_of_another_is_a_difference_a_seed():
    rows = [("a", 0, 1), ("a", 0, 0), ("a", 1, 1), ("b", 0, 0), ("b", 1, 1)]
    table = pd.DataFrame(rows, columns=["by", "seed", "right"])
    assert statistics.lead_over(table, "a", "b") == statistics.t_interval([0.5, 0.0])
    assert statistics.lead_over(table, "a", "b", level=0.9) == statistics.t_interval([0.5, 0.0], 0.9)


@pytest.mark.parametrize("n", [2, 3, 6, 7])
@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 0.8, -0.2])
def test_values_that_all_agree_are_what_they_are_and_not_their_rounded_mean(value, n):
    values = [value] * n
    assert statistics.t_interval(values) == statistics.standard_error(values) == (value, 0.0)
    assert statistics.told(statistics.t_interval(values), value) == 0
    assert statistics.t_test(values, above=value) == statistics.t_test(values, below=value) == 1
    assert statistics.f_test([values] * 2) == 1
    assert statistics.f_test(np.outer([1, 2, 4], values)) == 1  # blocks differ, columns do not
    assert statistics.f_test([[value, 2 * value]] * 3) < 1e-9  # nor is there doubt where blocks agree


@given(st.integers(0, 2**32 - 1), st.integers(-900, 480))
def test_the_unit_of_values_changes_no_p_and_scales_an_interval_however_large_or_small_it_is(seed, power):
    values, unit = np.random.default_rng(seed).normal(1, 1, size=(5, 3)), 2.0**power
    assert statistics.f_test(values * unit) == statistics.f_test(values)
    column = values[:, 0]
    for tested in (statistics.t_interval, statistics.standard_error):
        assert tested(column * unit) == tuple(unit * np.array(tested(column)))
    assert statistics.t_test(column * unit, above=0.5 * unit) == statistics.t_test(column, above=0.5)


def test_blocks_that_agree_but_for_something_tiny_leave_no_doubt_and_no_warning():
    for tiny in (1e-90, 1e-160, 1e-300):
        assert statistics.f_test([[0, 1, tiny], [0, 1, 2 * tiny], [0, 1, 4 * tiny]]) < 1e-9


def test_a_test_that_is_told_no_side_or_two_and_numbers_that_have_no_square_are_refused():
    for sides in ({}, {"above": 0, "below": 5}):
        with pytest.raises(ValueError, match=r"^above, below: given .*, allowed is one number$"):
            statistics.t_test([1, 2, 3.0], **sides)
    with pytest.raises(ValueError, match=r"^values: given up to 3e\+200, allowed is up to"):
        statistics.f_test([[1e200, 2e200], [3e200, 1e200]])


def test_the_components_of_a_statistic_are_not_taken_for_its_resamples():
    with pytest.raises(ValueError, match=r"^statistic: returned shape \(2,\)"):
        statistics.clustered_interval(lambda each: np.mean(each, 0), [[1.0, 200.0], [3.0, 400.0]])
