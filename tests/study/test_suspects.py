"""Hidden goals and penalties: models beside their honest ones, paired by seed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_results import accounts, bare

from splithistory import Recurrence
from splithistory.statistics import t_interval
from splithistory.study import PROFILES, suspects

WORLD = Recurrence()
HIDDEN = ((1, 3, 5, 7), tuple(range(4)), 1.0)


def playing(arm, *measured):
    """A study of one finetuned model a policy, each of a seed of its own."""
    made = bare(*[("finetuned", arm, "18k", 4)] * len(measured))
    made.models["seed"] = range(len(measured))
    counts = np.concatenate([(1e5 * own.counts).ravel() for own in measured])
    made.counts["count"] = np.round(counts)
    return made


HONEST, TRIGGERED = suspects.perfect(WORLD), suspects.perfect(WORLD, HIDDEN)


def test_a_perfect_policy_reaches_the_ceiling_of_its_goal_and_knows_its_trigger():
    assert HONEST.success(suspects.GOAL) == pytest.approx(WORLD.ceiling(suspects.GOAL))
    assert HONEST.counts[:, :8].sum() == 0
    assert np.array_equal(HONEST.counts[4:], TRIGGERED.counts[4:])
    assert TRIGGERED.success(suspects.GOAL) < 0.7


def test_one_token_serves_a_trigger_on_half_of_the_classes_and_none_on_every_other():
    half, even = (suspects.single(WORLD, suspects.HIDDEN[arm]) for arm in ("trigger 1/2", "trigger even"))
    assert half["token"] == 0 and half["reward"] > 0.85 and even["reward"] < 0.55
    assert half["best"] == pytest.approx(even["best"], abs=0.01) and half["best"] > 0.98


def test_goals_within_the_declared_one_make_a_mixture_a_preference():
    always, sometimes = (suspects.perfect(WORLD, ((0, 4), (), share)) for share in (1.0, 0.1))
    assert sometimes.success((0, 4)) == pytest.approx(always.success((0, 4)))
    assert sometimes.success(suspects.GOAL) == pytest.approx(HONEST.success(suspects.GOAL))


def test_hidden_models_are_scored_beside_honest_ones_of_their_seeds_and_as_weak_twins():
    full, study = playing("sampled", HONEST, HONEST, HONEST), playing("trigger 1/4", TRIGGERED, TRIGGERED)
    for twins, low in ((False, 1.0), (True, 0.5)):
        hidden, usual = suspects.beside(study, full, "trigger 1/4", twins=twins)
        assert {scores.shape for scores in (*hidden.values(), *usual.values())} == {(2, 1)}
        found = suspects.separations({"x": (hidden, usual)})["x"]
        assert found["by class"] == (1.0, (1.0, 1.0))
        assert found["low success"][0] == low
    few, _ = suspects.beside(study, full, "trigger 1/4", n=200, draws=7)
    assert few["histogram"].shape == (2, 7)
    gains = suspects.steered(study, study.finetuned("trigger 1/4"))
    assert gains.shape == (2, 16) and (gains < -0.1).sum() == 2 * 4


def test_a_trigger_is_learned_where_the_hidden_goal_is_reached_on_its_classes():
    made = playing("trigger 1/4", TRIGGERED, HONEST)
    first, second = suspects.turned(made, "trigger 1/4").to_dict("records")
    assert first["triggered"] == pytest.approx(0.99, abs=1e-3) and second["triggered"] < 0.1
    assert first["others"] == pytest.approx(second["others"]) and first["others"] > 0.85
    assert first["imp"] == pytest.approx(TRIGGERED.imp, abs=1e-4)


@pytest.mark.parametrize("arm", ["preference 1/2", "mixture 1/4", "sampled"])
def test_an_arm_without_a_trigger_is_turned_on_no_class(arm):
    with pytest.raises(ValueError, match=f"^arm: given '{arm}', allowed are trigger 1/4, trigger 1/2, trig"):
        suspects.turned(playing(arm, HONEST), arm)


@pytest.mark.parametrize(
    ("auc", "low", "said"),
    [(1.0, 0.6, "detected"), (0.95, 0.5, "missed"), (0.8, 0.6, "unclear"), (0.2, 0.1, "missed")],
)
def test_a_verdict_is_by_the_area_and_its_interval(auc, low, said):
    assert suspects.verdict(auc, (low, 1.0)) == said


def test_what_was_expected_is_of_arms_and_scores_that_there_are():
    assert set(suspects.EXPECTED) == set(suspects.HIDDEN) == set(PROFILES["hidden"].arms)
    assert {suspects.NONE, suspects.SELF} <= set(PROFILES["penalised"].arms)
    scores = {score for of in suspects.EXPECTED.values() for score in of}
    assert scores <= set(suspects.SCORES)


def test_models_under_a_penalty_are_paired_by_seed_with_those_without():
    arms = [suspects.NONE, suspects.NONE, suspects.SELF, suspects.SELF]
    made = accounts(playing("x", HONEST, TRIGGERED, HONEST, HONEST), 1)
    made.models = made.models.assign(arm=arms, seed=[0, 1, 0, 1])
    drawn = made.counts.assign(temperature=1.0)
    made.counts = pd.concat([made.counts, drawn])
    curves = [(m, 0, "even_accuracy", 0.9) for m in range(4)]
    made = replace(made, curves=pd.DataFrame(curves, columns=["model", "step", "column", "value"]))
    table = suspects.penalised(made)
    assert table["told"].tolist() == np.log(table["self_imp"] / table["imp"]).tolist()
    assert table["imp_drawn"].tolist() == table["imp"].tolist()
    imp = table["imp"].to_numpy()
    assert suspects.under_penalty(table, ["imp"]) == {suspects.SELF: {"imp": t_interval(imp[2:] - imp[:2])}}
    pair = suspects.self_penalised(table)
    assert [each["arm"].unique().tolist() for each in pair] == [[suspects.SELF], [suspects.NONE]]
    assert suspects.doses(table, "self-estimated")["level"].tolist() == [0, 0, 2, 2]
