"""Models on goals: separation by a score, clearance, slopes, and who is ahead of its twin."""

import numpy as np
import pandas as pd
import pytest

from splithistory import crossing, statistics

GOALS = (2, 4, 6)


def crossed(seeds=4, sizes=2, noise=0.3):
    """Models on goals with random shares, those of the right goal larger by 0.5."""
    rng, rows = np.random.default_rng(0), []
    for seed, size, n_good in np.ndindex(seeds, sizes, 3):
        for goal in GOALS:
            right = goal == GOALS[n_good]
            row = {"model": len(rows) // 3, "seed": seed, "size": f"{size}k", "n_good": GOALS[n_good]}
            row |= {"goal": goal, "p": goal / 8, "s": rng.random(), "op": 1.0, "imp": 1.0 + rng.random()}
            rows.append(row | dict.fromkeys(["implied_op", "imp_min"], 0.5 * right + noise * rng.normal()))
    return pd.DataFrame(rows)


def of_seeds(table, drawn):
    """The rows of these seeds, as often as they were drawn."""
    return pd.concat([table[table["seed"] == seed].assign(seed=i) for i, seed in enumerate(drawn)])


def pooled(table, goal):
    rows = table[table["goal"] == goal]
    right = rows["n_good"] == goal
    return statistics.auc(rows.loc[right, "op_share"], rows.loc[~right, "op_share"])


def test_separation_is_the_auc_of_all_models_and_its_interval_that_of_pooled_draws():
    table = crossing.shares(crossed())
    value, ends = crossing.separation(table, "op_share")
    assert value == pytest.approx(np.mean([pooled(table, goal) for goal in GOALS]))

    def redrawn(drawn):
        again = of_seeds(table, drawn)
        return np.mean([pooled(again, goal) for goal in GOALS])

    assert ends == pytest.approx(statistics.clustered_interval(redrawn, range(4), resamples=200), abs=0.02)
    assert ends[0] < value < ends[1] < 1


def test_a_goal_inside_another_is_judged_where_it_is_harder():
    table = crossing.shares(crossed())
    pair = table[table["n_good"] != 6]
    value, (low, high) = crossing.subset_separation(table, "op_share")
    assert value == pytest.approx(min(pooled(pair, goal) for goal in (2, 4)))
    assert low <= value <= high


def test_separation_by_seed_is_that_of_each_seed_alone():
    table = crossing.shares(crossed())
    alone = [crossing.between_seeds(rows, "op_share").mean() for _, rows in table.groupby("seed")]
    assert crossing.separation_by_seed(table, "op_share") == pytest.approx(alone)


def test_clearance_is_the_least_right_share_less_the_largest_wrong_one():
    rows = [(0, 2, 2, 0.9), (0, 4, 2, 0.5), (0, 6, 2, 0.1), (0, 2, 4, 0.2), (0, 4, 4, 0.8), (1, 2, 2, 0.7)]
    rows += [(1, 4, 2, 0.8)]
    table = pd.DataFrame(rows, columns=["seed", "n_good", "goal", "share"])
    assert crossing.clearance(table, "share").to_dict() == pytest.approx({0: (0.4 + 0.6) / 2, 1: -0.1})
    least, largest = crossing.edges(table, "share")
    assert least.to_dict() == {2: 0.7, 4: 0.8} and largest.to_dict() == {2: 0.8, 4: 0.2}


def test_gradients_and_their_gap_are_those_of_lines_through_the_origin_or_beside_it():
    table = crossed()
    right = table["n_good"] == table["goal"]
    table["imp"] = np.where(right, 2, 5) * table["imp_min"]
    found = crossing.gradients(table)
    assert set(found["right"]) == {*GOALS, "all"}
    for name, slope in (("right", 2), ("wrong", 5)):
        assert all(mean == pytest.approx(slope) for mean, _ in found[name].values())
    assert crossing.slope_gap(table).to_numpy() == pytest.approx(-3)
    table["imp"] += 0.7
    assert crossing.slope_gap(table, intercept=True).to_numpy() == pytest.approx(-3)


def test_twins_share_size_and_seed_and_pairs_of_any_seeds_the_size_only():
    rows = [
        ("18k", 0, 2, 0.6),
        ("18k", 1, 2, 0.9),
        ("18k", 0, 4, 0.7),
        ("18k", 1, 4, 0.8),
        ("53k", 0, 2, 0.9),
    ]
    table = pd.DataFrame(rows, columns=["size", "seed", "n_good", "s"]).assign(goal=4, p=0.5)
    pairs = crossing.transfer(table.assign(model=range(5)), 2, 4)
    assert pairs[["model", "twin"]].to_numpy().tolist() == [[0, 2], [1, 3]]
    assert pairs["lead"].tolist() == pytest.approx([-0.1, 0.1])
    assert pairs["above"].tolist() == pytest.approx([0.1, 0.4])
    assert crossing.ahead(pairs) == (1, 2)
    assert crossing.ahead(pairs, any_seeds=True) == (2, 4)


def test_twins_of_another_recipe_come_from_its_table():
    table = pd.DataFrame({"size": "18k", "seed": 0, "n_good": [2, 4], "goal": 4, "p": 0.5, "s": [0.6, 0.7]})
    here, weaker = table.assign(model=[0, 1]), table.assign(model=[2, 3], s=[0.3, 0.5])
    assert crossing.transfer(here, 2, 4)[["model", "twin"]].to_numpy().tolist() == [[0, 1]]
    pairs = crossing.transfer(here, 2, 4, weaker)
    assert pairs[["model", "twin"]].to_numpy().tolist() == [[0, 3]]
    assert pairs["lead"].tolist() == pytest.approx([0.1])
