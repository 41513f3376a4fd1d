"""Trends: with a level, with size, along a curve."""

import numpy as np
import pandas as pd
import pytest

from splithistory import statistics, trends


def test_slopes_are_those_of_least_squares_through_the_origin_group_by_group():
    table = pd.DataFrame(
        {"n_good": [2, 2, 4, 4], "seed": 0, "x": [1.0, 2.0, 1.0, 3.0], "y": [2.0, 4.0, 1.0, 5.0]}
    )
    found = trends.slopes(table, "x", "y")
    assert found.loc[(2, 0)] == pytest.approx(2)
    assert found.loc[(4, 0)] == pytest.approx(np.linalg.lstsq([[1.0], [3.0]], [1.0, 5.0])[0].item())


def test_a_curve_is_read_where_another_first_gets_somewhere():
    values = {"even": [0.0, 0.2, 0.1, 0.3], "success": [0.3, 0.5, 0.6, 0.7]}
    rows = [(7, c, step, v) for c, of in values.items() for step, v in enumerate(of)]
    rows += [(8, c, 0, 0.0) for c in values]  # never gets there
    curves = pd.DataFrame(rows, columns=["model", "column", "step", "value"])
    found = trends.when_first(curves.assign(size="18k", seed=0, n_good=2), "even", 0.15, "success")
    assert found[["model", "step", "success"]].to_numpy().tolist() == [[7, 1, 0.5]]


def test_growth_is_that_of_the_seeds_that_have_both_sizes():
    rows = [(size, seed, 2, s) for size in ("a", "b") for seed, s in enumerate([0.1, 0.2, 0.4])]
    table = pd.DataFrame(rows, columns=["size", "seed", "n_good", "s"])
    table.loc[table["size"] == "b", "s"] += 0.25
    assert trends.growth_by_goal(table[:-1], "s")[2] == pytest.approx((0.25, 0.0))


def test_a_rise_with_size_is_that_above_the_best_of_the_other_sizes():
    rows = [
        (s, n, k, v)
        for s, n, *of in [("c", 3, 2, 3), ("a", 1, 1, 0), ("b", 2, 4, 5)]
        for k, v in enumerate(of)
    ]
    table = pd.DataFrame(rows, columns=["size", "n_parameters", "seed", "loss"])
    rise = trends.rise_with_size(pd.concat([table, table.iloc[:1].assign(seed=9)]), "loss")
    assert rise.name == "a" and rise.to_dict() == {0: 1, 1: 3}
    with pytest.raises(ValueError, match="number of sizes: given 1, allowed is an integer >= 2"):
        trends.rise_with_size(table[:2], "loss")


def test_a_slope_with_an_intercept_is_the_least_squares_line_of_each_group():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"seed": np.repeat([0, 1], 9), "n_good": np.tile([2, 4, 6], 6), "x": rng.random(18)})
    table["y"] = 2 * table["x"] + rng.random(18)
    for seed, slope in trends.slopes(table, "x", "y", ["seed"], intercept=True).items():
        rows = table[table["seed"] == seed]
        assert slope == pytest.approx(np.polyfit(rows["x"], rows["y"], 1)[0], abs=1e-12)


def test_the_exponent_of_a_power_law_is_read_off_its_values():
    x = np.array([128, 256, 1024])
    assert trends.power_law_exponent(x, 3e-9 * x**2.5) == pytest.approx(2.5)


def test_a_curve_is_lowest_somewhere_and_rises_from_there():
    curves = [
        (m, 10 * i, v) for m, values in ((7, [3.0, 1.0, 2.0]), (4, [2.0, 1.5])) for i, v in enumerate(values)
    ]
    found = trends.lows(pd.DataFrame(curves, columns=["model", "step", "value"]), ["model"])
    assert found.set_index("model").loc[7].to_dict() == {
        "steps": 20,
        "lowest": 1.0,
        "at": 10,
        "end": 2.0,
        "rise": 1.0,
    }
    assert found["model"].tolist() == [7, 4] and found["rise"].tolist() == [1.0, 0.0]


def test_levels_are_the_arms_of_one_setting_in_order():
    models = pd.DataFrame({"arm": ["batch 1024", "", "batches", "batch 32", "no batch 1", "batch 1024"]})
    found = trends.levels(models, "batch")
    assert found["level"].tolist() == [32, 1024, 1024] and found.index.tolist() == [3, 0, 5]
    assert trends.levels(models, "rollouts").empty


def test_a_finding_lasts_from_the_least_level_from_which_on_all_are_above_zero():
    assert trends.lasting({1: (1, 0.5), 2: (0.1, 0.2), 4: (1, 0.5), 8: (2, 0.5)}) == 4
    assert trends.lasting({1: (1, 0.5), 2: (1, 0.5)}) == 1
    assert trends.lasting({1: (1, 0.5), 2: (-1, 0.5)}) is None


def test_a_crossing_is_interpolated_where_the_mean_comes_above_zero_for_good():
    values = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [3.0, 3.0]])
    assert trends.crossing([1, 2, 4, 8], values) == (3.0, (3.0, 3.0))
    assert trends.crossing([1, 2], values[2:]) == (1.0, (1.0, 1.0))
    assert trends.crossing([1, 2], values[:2])[0] == np.inf
    place, (low, high) = trends.crossing([0, 1], [[-1.0, -3.0, -1.0], [1.0, 1.0, 3.0]])
    assert place == pytest.approx(1 / 2) and low < place < high


def test_a_column_by_level_and_where_it_turns():
    rows = [(1, 0, -1.0), (1, 1, -3.0), (4, 0, 1.0), (4, 1, 1.0), (2, 0, -1.0), (2, 1, 1.0)]
    table = pd.DataFrame(rows, columns=["level", "seed", "x"])
    assert statistics.by_level(table, "level", ["x"])[1] == {"x": statistics.t_interval([-1.0, -3.0])}
    last, (place, (low, high)) = trends.turn(table, "level", "x")
    assert (last, place) == (4, 2) and low <= 2 <= high  # at 2 the mean is 0: it comes above 0 right after


def test_what_is_not_a_number_is_left_out_of_a_slope_whole_and_ends_a_curve():
    table = pd.DataFrame({"n_good": 1, "seed": 0, "x": [1, 2, 3], "y": [2.0, 4.0, np.nan]})
    for intercept in (False, True):
        assert trends.slopes(table, "x", "y", intercept=intercept).tolist() == pytest.approx([2])
    large = table.assign(x=np.array([100, 120, 90], "int8"), y=np.array([100, 120, 90], "int8"))
    assert trends.slopes(large, "x", "y").tolist() == pytest.approx([1])  # squares leave their type
    curve = pd.DataFrame({"m": 0, "step": [0, 1, 2], "value": [1.0, 0.5, np.nan]})
    (low,) = trends.lows(curve, ["m"]).to_dict("records")
    assert (low["steps"], low["lowest"]) == (2, 0.5) and np.isnan(low["end"]) and np.isnan(low["rise"])


def test_a_curve_that_has_no_value_where_another_gets_somewhere_has_none_from_later():
    rows = [("a", 0, 0.0), ("a", 10, 1.0), ("a", 20, 1.0), ("b", 0, 5.0), ("b", 20, 9.0)]
    curves = pd.DataFrame(rows, columns=["column", "step", "value"])
    curves = curves.assign(model=0, size="18k", seed=0, n_good=2)
    found = trends.when_first(curves, "a", 0.5, "b")
    assert found["step"].tolist() == [10] and found["b"].isna().all()


def test_growth_is_from_the_smallest_size_whatever_the_order_of_rows():
    sizes = {"43k": 43, "160k": 160, "402k": 402}
    rows = [(1, s, name, n, n + s * n / 100) for name, n in sizes.items() for s in range(3)]
    table = pd.DataFrame(rows, columns=["n_good", "seed", "size", "n_parameters", "op"])
    expected = trends.growth_by_goal(table, "op")
    assert expected[1][0] > 0
    assert trends.growth_by_goal(table.sort_values("size"), "op") == expected


def test_a_crossing_does_not_depend_on_the_type_of_the_levels():
    values = [[-1.0, -1.0], [1.0, 1.0]]
    assert trends.crossing(np.array([-100, 100], "int8"), values) == trends.crossing([-100, 100], values)


@pytest.mark.parametrize("x", [[0.3] * 3, [0.1] * 3, [0.7] * 6, [123.456] * 5])
def test_where_x_is_constant_there_is_no_slope_and_not_one_out_of_its_rounded_mean(x):
    table = pd.DataFrame({"seed": 0, "x": x, "y": np.arange(len(x)) ** 2.0})
    assert trends.slopes(table, "x", "y", ["seed"], intercept=True).isna().all()
