"""What is read from a study's tables (what needs a trained study: test_study.py)."""

import inspect

import numpy as np
import pandas as pd
import pytest

from splithistory import measure, objectives
from splithistory.objectives import graded_bounds
from splithistory.statistics import t_interval
from splithistory.study import GOALS, GRADES, Study

SIZES = ["18k", "53k"]
PRETRAINED = ("pretrained", "", "18k", 0)


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


def test_curves_come_with_what_the_rows_of_their_models_say():
    curves = [(7, 10 * i, "loss", v) for i, v in enumerate([3.0, 1.0])] + [(7, 0, "other", 9.0)]
    curves = pd.DataFrame([*curves, (8, 0, "loss", 9.0)], columns=["model", "step", "column", "value"])
    models = pd.DataFrame({"model": [7], "size": ["18k"]})
    found = Study(models, curves, *5 * [pd.DataFrame()], manifest={}).curves_of(models, "loss")
    assert found[["step", "value", "size"]].to_numpy().tolist() == [[0, 3.0, "18k"], [10, 1.0, "18k"]]


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


def accounts(made: Study, repeats: int) -> Study:
    """The same, with models that expect outcome 0 after their own actions, in later sets less often."""
    rows = []
    for model, repeat in np.ndindex(len(made.models), repeats):
        own = np.full(8, 0.05) + 0.6 * np.eye(8)[0] - 0.01 * repeat * (np.eye(8)[0] - np.eye(8)[1])
        for a in range(-1, 16):
            named = {f"r{k}": share for k, share in enumerate(own if a < 0 else np.full(8, 1 / 8))}
            rows.append({"model": model, "repeat": repeat, "a": a, "plays": 1.0} | named)
    made.self_evaluation = pd.DataFrame(rows)
    return made


def test_self_estimates_come_with_their_errors_and_an_interval_over_sets():
    made = accounts(bare(("finetuned", "sampled", "18k", 2), ("finetuned", "sampled", "53k", 4)), 3)
    own = made.on_own_goal().assign(op=0.5, imp=0.5)
    told = made.self_estimated_by_set(made.self_estimated(own))
    futures = made.self_evaluated(0)
    assert told["self_op"].tolist() == [futures.op] * 2
    assert told["op_error"].tolist() == [futures.op - 0.5] * 2
    assert told["op_off"].tolist() == [2 * (futures.op - 0.5)] * 2
    assert told["self_s"].tolist() == [futures.success(GOALS[2]), made.self_evaluated(1).success(GOALS[4])]
    each = [made.self_evaluated(0, repeat=r).op for r in range(3)]
    mean, half = t_interval(each)
    assert told["op_bias"].tolist() == [mean - futures.op] * 2
    assert told["self_op_low"].tolist() == [futures.op - half] * 2
    assert told["self_op_high"].tolist() == [futures.op + half] * 2


def test_calibration_is_weighted_by_predictions_within_what_it_is_told_by():
    made = bare(("finetuned", "sampled", "18k", 2), ("finetuned", "sampled", "53k", 2))
    rows = [(0, "own", 30, 0.9, 0.5, 2.0), (1, "own", 10, 0.5, 0.1, 1.0), (1, "generator", 10, 1.0, 1.0, 0.1)]
    names = ["model", "after", "weight", "confidence", "accuracy", "cross_entropy"]
    made.calibration = pd.DataFrame(rows, columns=names)
    found = made.calibrated(made.models, "after")
    assert found.loc["own"].to_dict() == pytest.approx(
        {"confidence": 0.8, "accuracy": 0.4, "cross_entropy": 1.75, "weight": 40}
    )
    assert made.calibrated(made.models.iloc[:1], "size", "after").index.tolist() == [("18k", "own")]
    assert made.calibration["confidence"].tolist() == [0.9, 0.5, 1.0]


def test_the_generator_is_read_by_its_likeliest_token_or_by_its_own_draw():
    made = bare(("generator", "", "", 0), ("pretrained", "", "18k", 0))
    noisy = made.counts[made.counts["model"] == 0].assign(temperature=1.0, count=20)
    made.counts = pd.concat([made.counts, noisy])
    assert [made.generator(temperature=t).n_histories for t in (0.0, 1.0)] == [2560, 5120]


def test_a_model_that_has_no_goal_is_measured_on_each_and_one_that_has_is_not(monkeypatch):
    monkeypatch.setattr(measure, "_RESAMPLES", 50)
    made = bare(("generator", "", "", 0), ("pretrained", "", "18k", 0), ("finetuned", "sampled", "18k", 2))
    found = made.without_goal()
    assert found[["model", "n_good"]].to_numpy().tolist() == [[m, g] for m in (0, 1) for g in GOALS]
    of_four = made.measured(1).implied_op(GOALS[4])
    assert (
        found.loc[4, "gap"] == found.loc[4, "op"] - of_four and found.loc[4, "gap_low"] < found.loc[4, "gap"]
    )


def test_gaps_and_errors_hold_the_posts_procedure_against_the_exact_value():
    made = bare(*(("finetuned", "sampled", "18k", n_good) for n_good in GOALS))
    even = {f"{f}{k}": 1 / 8 for f in ("f", "f_prime") for k in range(8)}
    sets = [
        {"model": m, "repeat": r, "op": m + 0.1 * r, "imp": 1.0, **even} for m in range(3) for r in (0, 2)
    ]
    made.sampled = pd.DataFrame(sets)
    rows = made.models.assign(op=[0.5, 1.0, 2.0], implied_op=0.25)
    gaps = made.gaps(rows)
    assert gaps["gap"].tolist() == [0.25, 0.75, 1.75]
    assert gaps["sampled_gap"].tolist() == pytest.approx([0.1, 1.1, 2.1])  # chance: nothing is implied
    errors = made.sampled_errors(rows.iloc[[2, 0]], "op")
    assert errors.columns.tolist() == [2, 0] and errors.index.tolist() == [0, 2]
    assert errors.to_numpy() == pytest.approx(np.array([[0.0, -0.5], [0.2, -0.3]]))


def test_the_graded_reward_bounds_every_model_and_its_rows_stay():
    made = bare(("finetuned", "sampled", "53k", 2), ("finetuned", "sampled", "18k", 4))
    models = made.finetuned().sort_values("size")
    graded = made.graded(models)
    assert graded["model"].tolist() == [1, 0] and graded["size"].tolist() == SIZES
    for row in graded.itertuples():
        assert graded_bounds(made.measured(row.model), GRADES)["chain"] == row.chain
    assert GRADES.tolist() == [3, 1, 2, 0, 3, 1, 2, 0]


def halved(made: Study) -> Study:
    """The same, with both halves of the histories alike."""
    made.counts = pd.concat([made.counts, made.counts.assign(half=1)])
    return made


def test_names_of_models_are_judged_one_a_model_and_criterion_with_a_list_and_without():
    made = halved(bare(*(("finetuned", arm, "18k", 4) for arm in ("sampled", "exact"))))
    goals = list(GOALS.values())
    found = made.guesses(goals, ("sampled", "exact"), ("op", "success"))
    assert found[["arm", "by"]].to_numpy().tolist() == [
        [arm, by] for arm in ("sampled", "exact") for by in ("op", "success")
    ]
    score = objectives.scores(made.measured(1), goals, "op")
    assert np.array_equal(found["score"].iloc[2], score)
    assert found["rank"].iloc[2] == objectives.rank_of(GOALS[4], goals, score)
    free = made.guesses_without_list(("exact",))
    assert free[["by", "half"]].to_numpy().tolist() == [[b, h] for b in ("op", "imp", "both") for h in (0, 1)]
    assert (free["optimism"] == 0).all() and free.groupby("by")["chosen"].nunique().eq(1).all()


def test_a_policy_that_has_nothing_but_habits_is_its_own_habit():
    found = bare(("finetuned", "sampled", "18k", 4)).habits().iloc[0]
    assert np.allclose(found["f"], found["f_habit"], rtol=0, atol=1e-12)
    assert abs(found["within"] - found["within_habit"]) < 1e-12


def test_only_what_is_published_with_three_seeds_and_sizes_is_conclusive():
    sizes = [("pretrained", "", size, 0) for size in SIZES]
    made = bare(*sizes, *3 * [("finetuned", "sampled", "18k", 2)])
    made.models["seed"] = [0, 0, 0, 1, 2]
    made.published = True
    assert not made.conclusive
    made.models.loc[0, "size"] = "144k"
    made.models = pd.concat([made.models, made.models.iloc[:1].assign(size="18k")])
    assert made.conclusive
    made.published = False
    assert not made.conclusive


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"half": -1}, "half: given -1, allowed is an integer in 0..1"),
        ({"half": 2}, "half: given 2, allowed is an integer in 0..1"),
        ({"half": True}, "half: given True, allowed is an integer in 0..1"),
        (
            {"temperature": 0.5},
            r"model, temperature, tokens: given \(0, 0.5, 'all'\), allowed are \[0\] and \(0.0, 'all'\)",
        ),
        ({"tokens": "even"}, r"model, temperature, tokens: given \(0, 0.0, 'even'\), allowed are"),
        ({"model": 999}, r"model, temperature, tokens: given \(999, 0.0, 'all'\), allowed are \[0\]"),
    ],
)
def test_a_measurement_that_is_not_there_is_refused_and_no_other_is_handed_out(asked, message):
    made = halved(bare(PRETRAINED))
    with pytest.raises(ValueError, match=f"^{message}"):
        made.measured(**({"model": 0} | asked))
    if asked.keys() & {"model", "temperature"}:
        with pytest.raises(ValueError, match=f"^{message}"):
            made.scalars(**({"model": 0} | asked))


@pytest.mark.parametrize("own", [True, False])
def test_the_future_before_finetuning_is_that_of_the_model_it_started_from(own):
    pretrained = [("pretrained", arm, "18k", 0) for arm in ("", "explored 1")]
    made = bare(*pretrained, ("finetuned", "explored 1", "18k", 4))
    for model in (0, 1):  # each plays one token, its own
        mine = (made.counts["model"] == model) & (made.counts["a"] != 9 + model)
        made.counts.loc[mine, "count"] = 0
    made.manifest = {
        "profile": {"arms": {"explored 1": {"pretraining": {"exploration": 1.0}} if own else {}}}
    }
    found = made.comparison_futures(2)["pretrained"].counterfactual_probs[0]
    assert np.array_equal(found, made.measured(int(own)).outcome_probs)
    assert not np.array_equal(found, made.measured(1 - own).outcome_probs)


OF_A_MODEL = {name: f for name, f in vars(Study).items() if "model" in getattr(f, "__annotations__", {})}


@pytest.mark.parametrize("method", OF_A_MODEL)
@pytest.mark.parametrize("model", [9, -1, "0", None])
def test_a_model_that_is_not_there_is_an_error_of_one_line_whatever_is_asked_of_it(method, model):
    made = accounts(bare(PRETRAINED, ("finetuned", "sampled", "18k", 2)), 2)
    made.sampled = pd.DataFrame({"model": [0, 1], "repeat": 0, "op": 0.1, "imp": 0.2})
    others = [p for p in inspect.signature(OF_A_MODEL[method]).parameters.values() if p.default is p.empty]
    with pytest.raises(ValueError, match=r"^model[^\n]*: given [^\n]*, allowed are [^\n]*$"):
        getattr(made, method)(model, *[GOALS[2]] * (len(others) - 2))  # less self and the model


def test_a_set_of_histories_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ValueError, match=r"^repeat: given 2, allowed are \[None, 0, 1\]$"):
        accounts(bare(PRETRAINED), 2).self_evaluated(0, repeat=2)


def test_a_column_that_no_curve_has_is_named_with_those_that_are():
    made = bare(PRETRAINED)
    made.curves = pd.DataFrame({"model": [0], "step": 0, "column": "test_loss", "value": 1.0})
    for read in (made.curves_of, made.ended):
        with pytest.raises(ValueError, match=r"^column: given 'loss', allowed are test_loss$"):
            read(made.models, "test_loss", "loss")


def test_a_goal_of_the_posts_procedure_is_a_goal_and_what_is_told_of_a_model_is_a_copy():
    made = bare(PRETRAINED)
    shares = {f"{f}{k}": 1 / 8 for f in ("f", "f_prime") for k in range(8)}
    made.sampled = pd.DataFrame([{"model": 0, "repeat": 0, "op": 0.1, "imp": 0.2, **shares}])
    for goal in ((0, 4), [4, 0], (0, 0, 4)):
        assert made.sampled_measures(0, goal)["s"] == pytest.approx(0.25)
    for goal in (range(8), (), (99,), "04"):
        with pytest.raises(ValueError, match=r"^goal: "):
            made.sampled_measures(0, goal)
    made.scalars(0)["delta"] = 9.0
    assert made.scalars(0)["delta"] < 1


def test_models_without_a_curve_of_the_columns_are_named():
    made = bare(PRETRAINED, PRETRAINED)
    made.curves = pd.DataFrame({"model": [0], "step": 0, "column": "test_loss", "value": 1.0})
    with pytest.raises(ValueError, match=r"^rows: models \[1\] have no curve of test_loss$"):
        made.ended(made.models, "test_loss")
