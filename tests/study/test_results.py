"""What is read from a study's tables (what needs a trained study: test_study.py)."""

import pandas as pd

from splithistory.study import Study


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
    found = Study(models, curves, *5 * [pd.DataFrame()], manifest={})
    ended = found.ended(models, "loss")
    assert ended["loss"].tolist() == [2.0, 1.0] and ended["size"].tolist() == ["53k", "18k"]
    assert "loss" not in found.models
