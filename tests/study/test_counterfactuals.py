"""Models beside other futures: what s' − p adds up to, what is compared with what, what merging leaves."""

import numpy as np
import pandas as pd
import pytest
from test_results import bare

from splithistory import Recurrence
from splithistory.information import entropy, kl
from splithistory.study import GOALS, counterfactuals

WORLD = Recurrence()
MODELS = [(stage, "", "18k", 0) for stage in ("untrained", "pretrained")]


def playing(**policies):
    """A study of finetuned models (their names tell n_good) that play as told."""
    made = bare(*MODELS, *(("finetuned", "sampled", "18k", int(name[1])) for name in policies))
    counts = made.counts.set_index(["model", "m", "a"])
    for model, probs in enumerate(policies.values(), start=len(MODELS)):
        table = np.outer(80 * np.arange(1, 17), probs)  # of classes that are not alike
        counts.loc[model, "count"] = table.ravel()
    made.counts = counts.reset_index()
    return made


ODD, EVEN, NINE = np.repeat([0, 1 / 8], 8), np.repeat([1 / 8, 0], 8), np.eye(16)[9]


def test_the_parts_of_counterfactual_success_add_up_and_each_has_its_cause():
    made = playing(g2=ODD, h2=EVEN, g6=NINE)
    found = counterfactuals.success_parts(made, made.finetuned())
    pairs = zip(found["model"], found["n_good"], strict=True)
    above = [made.measured(m).counterfactual_success(GOALS[n]) - n / 8 for m, n in pairs]
    assert found[["world", "draw", "parity", "taste"]].sum(axis=1).tolist() == pytest.approx(above, abs=1e-12)
    odd, even, nine = found.to_dict("records")
    assert (odd["parity"], odd["taste"]) == pytest.approx((0, 0), abs=1e-12)
    assert even["taste"] == pytest.approx(0, abs=1e-12) and abs(even["parity"]) > 1e-3
    assert nine["parity"] == 0 and abs(nine["taste"]) > 1e-3
    uniform = WORLD.class_shares() @ WORLD.table[:, 8:].mean(1)
    assert odd["world"] == pytest.approx(uniform[[0, 4]].sum() - 1 / 4)


def test_models_are_compared_with_every_future_and_with_their_own_mixture_if_asked():
    made = playing(g2=ODD, g4=NINE)
    rows = made.finetuned()
    found = counterfactuals.compared(made, rows, mixture=True)
    assert len(found) == 2 * 14 and found["future"].iloc[[0, -1]].tolist() == ["split history", "own mixture"]
    plain = counterfactuals.compared(made, rows)
    pd.testing.assert_frame_equal(plain, found[found["future"] != "own mixture"].reset_index(drop=True))
    of_nine = found[found["n_good"] == 4].set_index("future")
    same = of_nine.loc[["split history", "own mixture", "token 9"], ["op", "imp"]]
    assert np.allclose(same, 0, atol=1e-12)


def test_who_does_nothing_leaves_the_future_to_the_tokens_before():
    made = playing(g2=ODD)
    found = counterfactuals.compared(made, made.finetuned()).set_index("future").loc["do nothing"]
    assert WORLD.logs[0] == 0  # its factor is 1
    shares = np.arange(1, 17) / np.arange(1, 17).sum()  # of the classes in `playing`
    left_alone = shares @ WORLD.table[:, 0]
    reached = made.measured(found["model"]).outcome_probs
    assert found["imp"] == pytest.approx(kl(reached, left_alone), abs=1e-12)
    assert found["op"] == pytest.approx(entropy(left_alone) - entropy(reached), abs=1e-12)


def test_op_is_called_the_evenness_of_outcomes_only_where_the_comparison_does_not_move():
    delta, op = np.full(5, 0.01), np.linspace(0.1, 0.5, 5)
    still = pd.DataFrame({"op": op, "imp": 2 * op, "delta": delta})
    found = counterfactuals.evenness(still)
    assert found["with_even"] == pytest.approx(1) and found["with_imp"] == pytest.approx(1)
    assert (found["n"], found["delta_low"], found["delta_high"]) == (5, 0.01, 0.01)
    assert (found["op_span"], found["imp_apart"]) == pytest.approx((0.4, 0.5))
    moving = counterfactuals.evenness(still.assign(delta=[0.5, 0.0, 0.4, 0.1, 0.0], imp=op[[4, 0, 3, 1, 2]]))
    assert moving["with_even"] < 0.5 and abs(moving["with_imp"]) < 0.5


def test_impact_seen_as_success_or_failure_is_what_the_success_rates_have():
    made = playing(g2=ODD, g6=NINE)
    found = counterfactuals.merged_imp(made, made.finetuned())
    for row in found.to_dict("records"):
        own = made.measured(row["model"])
        assert row["8 outcomes"] == own.imp >= row["4 pairs"] - 1e-12
        middle = own.decomposition(GOALS[row["n_good"]])["imp_success_rate"]
        assert row["success or failure"] == pytest.approx(middle, abs=1e-12)


def test_each_set_is_left_out_once():
    made = bare(*MODELS)
    made.sampled = pd.DataFrame({"model": 0, "repeat": [0, 1, 2], "imp": [1.0, 2.0, 3.0]})
    left = [some.sampled["imp"].tolist() for some in counterfactuals.without_each_set(made)]
    assert left == [[2.0, 3.0], [1.0, 3.0], [1.0, 2.0]] and len(made.sampled) == 3


def test_a_model_that_always_plays_the_sink_narrows_its_future_and_steers_nothing():
    made = playing(g6=np.eye(16)[15])
    made.manifest["profile"] = {"world": {"sinks": [[15, [0, 1]]]}}
    found = counterfactuals.narrowed(made, made.finetuned()).iloc[0]
    assert found["sink"] == 1 and found["s"] == pytest.approx(0.995)
    assert found["narrowing"] == pytest.approx(found["delta"]) and abs(found["op"]) < 1e-12
    assert (found["by_ratio"], found["by_op"], found["by_imp"]) == ((0, 1), (0, 1), ())
