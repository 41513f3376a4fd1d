"""What models say of themselves: beside what is measured, beside readers, and by what they saw before."""

import numpy as np
import pandas as pd
import pytest
from test_results import accounts, bare

from splithistory import Recurrence, information, policies, split_history
from splithistory.statistics import t_interval
from splithistory.study import SIZES, selfreports, so_far
from splithistory.transformer import Architecture, as_policy, initialise

WORLD = Recurrence()
PRETRAINED, TUNED = ("pretrained", "", "18k", 0), ("finetuned", "sampled", "53k", 4)


def steers(made, model):
    """The same, with one model that steers to outcome 0."""
    counts = policies.steering(WORLD, np.eye(8)[0]).counts * 10_000
    cells = made.counts[made.counts["model"] == model].assign(count=counts.ravel())
    made.counts = pd.concat([made.counts[made.counts["model"] != model], cells])
    return made


def test_a_report_stands_beside_what_is_measured_with_a_goal_and_without():
    made = steers(accounts(bare(PRETRAINED, TUNED), 2), 1)  # its Op is not 0
    found = selfreports.reported(made, made.models)
    real, told = made.measured(1), made.self_evaluated(1)
    row = found.iloc[1]
    assert (row["op"], row["self_op"]) == (real.op, told.op)
    assert row["op_error"] == told.op - real.op and row["share"] == told.op / real.op
    assert row["self_h_f"] == pytest.approx(information.entropy(told.outcome_probs), abs=1e-12)
    assert row["self_h_d"] - row["self_h_f"] == pytest.approx(told.op, abs=1e-12)
    assert row["op_error"] == pytest.approx(row["h_d_error"] - row["h_f_error"], abs=1e-12)
    assert row["self_s"] == told.success((0, 2, 4, 6))
    assert found.loc[0, ["s", "self_s_prime"]].isna().all() and found["self_imp"].notna().all()


def test_readers_are_told_what_each_model_does_whose_weights_are_at_hand(monkeypatch):
    made = bare(PRETRAINED, TUNED)
    weights = {k: v.numpy()[0] for k, v in initialise(Architecture(*SIZES["53k"]), [0]).items()}
    made.weight_files = {1: None}
    monkeypatch.setattr(made, "weights", lambda model: weights)
    sets = [WORLD.histories(60, seed=[1, i]) for i in range(2)]
    readers = {
        "world": lambda histories: WORLD.table[WORLD.classes(histories)],
        "nothing": lambda histories: np.full((len(histories), 16, 8), 1 / 8),
    }
    found = selfreports.foretold(made, made.models, sets, readers)
    assert found[["model", "set", "reader"]].to_numpy().tolist() == [
        [1, i, name] for i in (0, 1) for name in readers
    ]
    policy = as_policy({k: v[None] for k, v in weights.items()}, Architecture(*SIZES["53k"]))
    own = split_history(sets[1], policy, lambda h, a: WORLD.outcome_probs(h, a), n_actions=16)
    assert found.loc[2, ["told_op", "told_imp"]].tolist() == pytest.approx([own.op, own.imp], abs=1e-9)
    assert found.loc[3, ["told_op", "told_imp"]].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert selfreports.foretold(made, made.models[:1], sets, readers).empty


@pytest.mark.parametrize("where", ["arm", "size", "profile"])
def test_a_model_that_may_play_odd_tokens_only_is_told_of_as_one(where, monkeypatch):
    made, only = bare(PRETRAINED, TUNED), {"odd_only": True}
    arm = {"settings": only if where == "arm" else {}}
    by_size = {"53k": [{}, only]} if where == "size" else {}
    given = only if where == "profile" else {}
    made.manifest = {"profile": {"arms": {"sampled": arm}, "by_size": by_size, "reinforcement": given}}
    weights = {
        size: {k: v.numpy()[0] for k, v in initialise(Architecture(*SIZES[size]), [0]).items()}
        for size in ("18k", "53k")
    }
    made.weight_files = {0: None, 1: None}
    monkeypatch.setattr(made, "weights", lambda model: weights[made.models.loc[model, "size"]])
    histories = WORLD.histories(400, seed=3)
    world = {"world": lambda histories: WORLD.table[WORLD.classes(histories)]}
    found = selfreports.foretold(made, made.models, [histories], world)
    for model, (size, first) in enumerate((("18k", 0), ("53k", 8))):  # what is pretrained plays all tokens
        alone = {k: v[None] for k, v in weights[size].items()}
        probs = as_policy(alone, Architecture(*SIZES[size]), temperature=1.0)(histories)
        assert (probs.argmax(1) < 8).mean() > 0.05  # untrained: it would play even tokens
        played = probs[:, first:].argmax(1) + first
        own = split_history(histories, lambda _, played=played: played, WORLD)
        assert found.loc[model, "told_op"] == pytest.approx(own.op, abs=1e-9)


def test_likeness_knows_an_effect_at_any_amplitude_and_spread_tells_them_apart():
    made = accounts(bare(PRETRAINED), 1)
    effect = np.tensordot(WORLD.class_shares(), WORLD.table[:, 8:], 1)
    columns = [f"r{k}" for k in range(8)]
    half = effect.mean(0) + 0.5 * (effect - effect.mean(0))
    made.self_evaluation.loc[made.self_evaluation["a"] >= 8, columns] = half
    found = selfreports.likeness(made, made.models, {"same": effect, "inverse": -effect}).iloc[0]
    assert found[["same", "inverse"]].tolist() == pytest.approx([1, -1])
    assert found["spread"] == pytest.approx(selfreports.spread(effect) / 2)
    assert selfreports.spread(np.tile(effect[0], (8, 1))) == pytest.approx(0, abs=1e-15)


def dosed(**share):
    """A table of `explored`: three seeds, models of 18k, by arm and what they report of an Op of 1."""
    rows = []
    for arm, value in share.items():
        kind, dose = arm.split("_")
        for seed in range(3):
            each = {"kind": kind, "dose": int(dose) / 10, "seed": seed, "size": "18k"}
            value_of = value + 0.01 * seed
            rows.append(each | {"stage": "pretrained", "n_good": 0, "self_op": value_of})
            for n_good in (2, 4, 6):
                own = {"share": value_of, "even_loss": int(dose) / 10}
                rows.append(each | {"stage": "finetuned", "n_good": n_good} | own)
    return pd.DataFrame(rows)


def test_what_was_expected_is_paired_and_told_as_effects_above_zero():
    table = dosed(explored_0=-0.5, explored_3=0.3, control_3=0.1)
    found = selfreports.expectations(table)
    assert len(found) == 7  # nothing yet of a dose of 1
    first, *others = found.values()
    assert first == pytest.approx(t_interval([0.3, 0.31, 0.32]))
    assert [mean for mean, _ in others] == pytest.approx(3 * [0.8, 0.2])
    assert max(half for _, half in others) < 1e-9  # paired: what seeds share is gone
    worse = selfreports.expectations(dosed(explored_0=0, explored_10=0))
    assert list(worse.values()) == [pytest.approx((1, 0))]


def test_groups_of_a_single_seed_have_no_interval_and_are_left_out():
    table = dosed(explored_0=0, explored_3=0.5)
    some = table[(table["dose"] == 0) | (table["seed"] == 0)]
    found = selfreports.by_group(some[some["stage"] == "finetuned"], "share", ["dose", "n_good"])
    assert found == {(0.0, n): pytest.approx(t_interval([0, 0.01, 0.02])) for n in (2, 4, 6)}
    assert selfreports.by_group(some.assign(set=some["seed"]), "share", ["dose"], over="set").keys() == {(0,)}


ARM = {"n_good": [2, 4]}
PLANNED = {"explored 0": ARM | {"sizes": ["53k"], "seeds": [0]}, "control 0.3": ARM}


def seen_interventions():
    """A study of two arms, one of them half done, with its plan, reports and losses."""
    models = [("finetuned", "control 0.3", "18k", 2), ("finetuned", "explored 0", "53k", 4)]
    models += [PRETRAINED, ("pretrained", "control 0.3", "18k", 0), ("finetuned", "explored 0", "53k", 2)]
    made = accounts(bare(*models), 1)
    made.manifest = {"profile": {"sizes": ["18k", "53k"], "seeds": [0, 1], "arms": PLANNED}}
    losses = [(m, 0, column, 0.1 * m) for m in (0, 1, 4) for column in ("even_loss", "even_accuracy")]
    losses.append((2, 0, "test_loss", 9.0))
    made.curves = pd.DataFrame(losses, columns=["model", "step", "column", "value"])
    return made


def test_coverage_counts_the_seeds_that_have_every_goal():
    assert selfreports.coverage(seen_interventions()) == {
        "explored 0": {"18k": "", "53k": "1 of 1"},
        "control 0.3": {"18k": "0 of 2", "53k": "0 of 2"},
    }


def test_models_that_saw_interventions_come_with_dose_and_kind_and_pretrained_ones_without_are_dose_0():
    found = selfreports.explored(seen_interventions()).set_index("model")
    assert found["dose"].to_dict() == {0: 0.3, 1: 0.0, 2: 0.0, 3: 0.3, 4: 0.0}
    assert found["kind"].to_dict() == {
        0: "control",
        1: "explored",
        2: "explored",
        3: "control",
        4: "explored",
    }
    assert found.loc[[0, 1, 4], "even_loss"].tolist() == pytest.approx([0, 0.1, 0.4])
    assert found.loc[[2, 3], "even_loss"].isna().all() and found["self_op"].notna().all()
    reset = found.reset_index()
    assert selfreports.of_dose(reset, 0.3, "control")["model"].tolist() == [0]
    assert sorted(selfreports.of_dose(reset, 0.0)["model"]) == [1, 4]


def test_where_nothing_is_there_yet_tables_are_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path))
    nothing = so_far("explored")
    table = selfreports.explored(nothing)
    assert table.empty and {"self_op", "share", "dose", "even_loss"} <= set(table)
    assert selfreports.by_group(table, "self_op", ["kind", "dose"]) == {} == selfreports.expectations(table)
    assert selfreports.coverage(nothing)["explored 0.3"]["18k"] == "0 of 5"


def test_a_difference_needs_two_seeds_that_both_have():
    table = dosed(explored_0=0, explored_3=0.5)
    there, here = (selfreports.of_dose(table, dose) for dose in (0.3, 0.0))
    assert selfreports.difference(there, here, "share") == pytest.approx((0.5, 0))
    assert selfreports.difference(there[there["seed"] == 0], here, "share") is None
