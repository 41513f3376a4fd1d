"""Statistics over seeds, and what is read from tables (what needs a trained study: test_study.py)."""

import numpy as np
import pandas as pd
import pytest

from splithistory import tables


def test_t_interval_is_students():
    mean, half = tables.t_interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    with pytest.raises(
        ValueError, match=r"values: shape \(1,\), allowed are at least two independent values"
    ):
        tables.t_interval([1.0])


def test_by_goal_averages_the_sizes_of_a_seed_before_it_compares_seeds():
    rows = [(4, 0, "18k", 1.0), (4, 0, "53k", 3.0), (4, 1, "18k", 4.0), (4, 1, "53k", 8.0)]
    table = pd.DataFrame(rows, columns=["n_good", "seed", "size", "x"])
    assert tables.by_goal(table, "x") == {4: tables.t_interval([2.0, 6.0])}
    assert tables.growth_by_goal(table, "x") == {4: tables.t_interval([2.0, 4.0])}
    assert tables.growth_by_goal(table[table["size"] == "18k"], "x") == {}


def test_slopes_are_those_of_least_squares_through_the_origin_group_by_group():
    table = pd.DataFrame(
        {"n_good": [2, 2, 4, 4], "seed": 0, "x": [1.0, 2.0, 1.0, 3.0], "y": [2.0, 4.0, 1.0, 5.0]}
    )
    found = tables.slopes(table, "x", "y")
    assert found.loc[(2, 0)] == pytest.approx(2)
    assert found.loc[(4, 0)] == pytest.approx(np.linalg.lstsq([[1.0], [3.0]], [1.0, 5.0])[0].item())


def test_paired_compares_only_what_both_tables_hold_whatever_their_order():
    columns = ["size", "seed", "n_good", "model", "s"]
    there = pd.DataFrame(
        [("18k", 0, 2, 7, 0.5), ("18k", 1, 2, 8, 0.9), ("53k", 0, 2, 9, 0.1)], columns=columns
    )
    here = pd.DataFrame(
        [("18k", 1, 2, 1, 0.3), ("18k", 0, 2, 0, 0.4), ("18k", 0, 4, 2, 0.2)], columns=columns
    )
    change = tables.paired(there, here, "s").set_index(["size", "seed", "n_good"])["s"]
    assert change.to_dict() == pytest.approx({("18k", 0, 2): 0.1, ("18k", 1, 2): 0.6})


def test_ended_takes_the_last_value_of_each_curve_and_keeps_the_rows():
    curves = [
        (0, 0, "loss", 3.0),
        (0, 9, "loss", 1.0),
        (1, 0, "loss", 4.0),
        (1, 9, "loss", 2.0),
        (1, 9, "other", 5.0),
    ]
    curves = pd.DataFrame(curves, columns=["model", "step", "column", "value"])
    models = pd.DataFrame({"model": [1, 0], "size": ["53k", "18k"]})
    study = tables.Study(models, curves, *5 * [pd.DataFrame()], manifest={})
    ended = study.ended(models, "loss")
    assert ended["loss"].tolist() == [2.0, 1.0] and ended["size"].tolist() == ["53k", "18k"]
    assert "loss" not in study.models
