"""What is read from a study's tables (what needs a trained study: test_study.py)."""

import numpy as np
import pandas as pd

from splithistory import measure
from splithistory.study import Study

SIZES = ["18k", "53k"]


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


def bare(*rows) -> Study:
    """A study of models (stage, arm, size, n_good), all of which play each token on ten histories a class."""
    weights = {"18k": 18_000, "53k": 53_000}
    models = pd.DataFrame(rows, columns=["stage", "arm", "size", "n_good"])
    models = models.assign(model=range(len(rows)), seed=0, n_parameters=models["size"].map(weights))
    m, a = np.indices((16, 16)).reshape(2, -1)
    cells = {"half": 0, "temperature": 0.0, "tokens": "all", "m": m, "a": a, "count": 10}
    counts = pd.concat([pd.DataFrame(cells).assign(model=model) for model in models["model"]])
    return Study(models, pd.DataFrame(), counts, *4 * [pd.DataFrame()], manifest={})


def test_sizes_are_in_order_and_arms_are_those_that_were_trained(monkeypatch):
    monkeypatch.setattr(measure, "_RESAMPLES", 50)
    sizes = [("pretrained", "", "53k", 0), ("pretrained", "", "18k", 0)]
    made = bare(*sizes, ("finetuned", "acted", "18k", 2), *(("finetuned", "sampled", s, 4) for s in SIZES))
    assert made.sizes == SIZES
    assert {arm: table["n_good"].tolist() for arm, table in made.arms().items()} == {
        "sampled": [4, 4],
        "acted": [2],
    }
    assert list(made.arms()) == ["sampled", "acted"]
    assert bare(*sizes).arms() == {}
