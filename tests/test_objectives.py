"""Objectives: rates of every goal, the best one found without a list, identification of planted goals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory, histograms, objectives, policies, statistics
from splithistory.information import binary_kl, succeeding
from splithistory.measure import Futures
from splithistory.objectives import (
    CRITERIA,
    confusion,
    cross_evaluate,
    cuts,
    every_goal,
    graded_bounds,
    grades,
    maxent_goal_directedness,
    named,
    rank_of,
    relation,
    scores,
    threshold_goal,
    without_list,
)

WORLD = Recurrence()
GOALS = {2: (0, 4), 4: (0, 2, 4, 6), 6: (0, 1, 2, 4, 5, 6)}


def success_table(goal):
    return WORLD.table[:, :, list(goal)].sum(-1)


def soft_policy(goal, beta):
    """The maximum-entropy policy of a goal, measured on the world's own classes."""
    weights = np.exp(beta * success_table(goal))
    probs = weights / weights.sum(1, keepdims=True)
    return SplitHistory(10_000 * WORLD.class_shares()[:, None] * probs, WORLD.table)


def random_futures(seed, actions=3, outcomes=6):
    rng = np.random.default_rng(seed)
    return Futures(
        rng.dirichlet(np.ones(actions)),
        rng.dirichlet(np.ones(outcomes)),
        rng.dirichlet(np.ones(outcomes), actions),
    )


def test_there_are_as_many_goals_as_sets_that_are_neither_empty_nor_full():
    goals = every_goal(8)
    assert len(goals) == len(set(goals)) == 2**8 - 2
    assert set(GOALS.values()) <= set(goals)


def test_cross_evaluation_is_what_the_measurement_says_of_each_goal():
    futures, goals = random_futures(0), every_goal(6)
    rates = cross_evaluate(futures, goals)
    for i, goal in enumerate(goals):
        assert rates["s"][i] == pytest.approx(futures.success(goal), abs=1e-12)
        assert rates["s_prime"][i] == pytest.approx(futures.counterfactual_success(goal), abs=1e-12)
        assert rates["implied_op"][i] == pytest.approx(futures.implied_op(goal), abs=1e-12)
        assert rates["imp_min"][i] == pytest.approx(futures.imp_min(goal), abs=1e-12)


def test_a_goal_and_its_complement_have_the_same_divergence_and_one_of_them_is_a_candidate():
    measured, goals = soft_policy((0, 4), 3.0), every_goal(8)
    rates = cross_evaluate(measured, goals)
    complement = [goals.index(tuple(sorted(set(range(8)) - set(g)))) for g in goals]
    assert np.allclose(rates["imp_min"], rates["imp_min"][complement], atol=1e-12)
    for by in ("imp", "success", "likelihood"):
        assert np.isfinite(scores(measured, goals, by)).sum() == 127, by


@pytest.mark.parametrize("n_good", GOALS)
@pytest.mark.parametrize("by", ["op", "imp", "both", "likelihood", "ratio"])
def test_the_goal_of_a_policy_that_plays_for_it_is_found_among_the_three(n_good, by):
    measured = soft_policy(GOALS[n_good], 30.0)
    assert list(GOALS)[scores(measured, GOALS.values(), by).argmax()] == n_good


def test_the_highest_success_rate_is_a_baseline_that_prefers_large_goals():
    measured = soft_policy(GOALS[2], 30.0)
    assert list(GOALS)[scores(measured, GOALS.values(), "success").argmax()] == 6


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.booleans())
def test_no_goal_beats_the_one_found_without_a_list(seed, uniform):
    futures = random_futures(seed)
    mean = futures.action_probs @ futures.counterfactual_probs
    reference = np.full(6, 1 / 6) if uniform else mean
    goal, divergence = threshold_goal(futures, reference if uniform else None)
    every = [binary_kl(futures.outcome_probs[list(g)].sum(), reference[list(g)].sum()) for g in every_goal(6)]
    assert divergence == pytest.approx(max(every), abs=1e-12)
    assert futures.outcome_probs[list(goal)].sum() >= reference[list(goal)].sum()


def test_goal_directedness_of_a_maximum_entropy_policy_is_its_own_negative_entropy():
    measured = soft_policy(GOALS[4], 2.5)
    probs = measured.counts / measured.counts.sum(1, keepdims=True)
    shares = measured.counts / measured.counts.sum()
    expected = np.log(16) + (shares * np.log(probs)).sum()
    right, wrong = maxent_goal_directedness(measured, [GOALS[4], GOALS[2]])
    assert right == pytest.approx(expected, abs=1e-12) and wrong < expected


def test_goal_directedness_of_a_policy_that_plays_against_the_goal_is_zero():
    bad = soft_policy(GOALS[4], -5.0)
    assert maxent_goal_directedness(bad, [GOALS[4]]).tolist() == [0.0]


def test_equal_scores_share_a_place_and_the_best_is_first():
    goals = [(0,), (1,), (2,)]
    assert [rank_of(g, goals, np.array([0.5, 0.9, 0.5])) for g in goals] == [2.5, 1.0, 2.5]
    with pytest.raises(ValueError, match=r"goal: given \(3,\), allowed is one of the 3 candidates"):
        rank_of((3,), goals, np.zeros(3))


def test_nested_goals_make_grades():
    assert grades(GOALS.values(), 8).tolist() == [3, 1, 2, 0, 3, 1, 2, 0]


@given(st.integers(0, 50))
def test_no_bound_of_a_graded_reward_is_passed_and_what_it_leaves_of_op_adds_up(seed):
    futures = random_futures(seed)
    found = graded_bounds(futures, np.array([0, 1, 1, 2, 3, 3]))
    assert max(found["tilt"], found["threshold"]) <= found["chain"] + 1e-12 <= futures.imp + 2e-12
    assert found["op_tilt"] + found["op_rest"] == pytest.approx(futures.op, abs=1e-9)
    assert found["op_rest"] >= 0


def test_a_reward_of_two_grades_is_a_goal():
    futures, goal = random_futures(1), (0, 3)
    found = graded_bounds(futures, grades([goal], 6))
    for bound in ("tilt", "threshold", "chain"):
        assert found[bound] == pytest.approx(futures.imp_min(goal), abs=1e-9)
    assert found["op_tilt"] == pytest.approx(futures.implied_op(goal) - futures.delta, abs=1e-9)
    assert found["best"] == 2


def test_of_tilt_and_thresholds_either_can_be_the_tighter():
    bell = np.array([1, 2, 1]) / 4
    tilted, spread = bell * [1, 2, 4], np.array([3, 2, 3]) / 8
    found = [graded_bounds(Futures([1.0], f / f.sum(), [bell]), np.arange(3)) for f in (tilted, spread)]
    assert found[0]["threshold"] < found[0]["tilt"] == pytest.approx(found[0]["chain"], abs=1e-12)
    assert found[1]["tilt"] < 1e-12 and found[1]["threshold"] > 0.01


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    assert confusion([2, 2, 4], [2, 4, 4], [2, 4]).tolist() == [[1, 1], [0, 1]]


def test_an_unknown_criterion_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"by: given 'luck', allowed are {', '.join(CRITERIA)}"):
        scores(soft_policy((0,), 1.0), [(0,)], "luck")


# --- naming -----------------------------------------------------------------------------------------------


def test_a_name_is_judged_among_the_candidates_only():
    goals, score = [(0,), (1,), (2,), (3,)], np.array([0.5, 0.9, 0.5, -np.inf])
    found = named((0,), goals, score)
    assert found == {
        "guess": (1,),
        "rank": 2.5,
        "right": False,
        "five": True,
        "margin": pytest.approx(-0.4),
        "auc": 0.25,  # one candidate is above, one as high
    }
    best = named((1,), goals, score)
    assert best["right"] and best["auc"] == 1 and best["margin"] == pytest.approx(0.4)
    assert named((3,), goals, score)["auc"] == 0


@given(st.lists(st.integers(0, 3), min_size=3, max_size=8), st.integers(0, 2))
def test_the_auc_of_a_name_is_that_of_mann_and_whitney(score, own):
    goals, score = [(i,) for i in range(len(score))], np.array(score, dtype=float)
    expected = statistics.auc([score[own]], np.delete(score, own))
    assert named((own,), goals, score)["auc"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("guess", "expected"), [((4, 0), "goal"), ((4,), "part"), ((0, 4, 5), "around"), ((0, 5), "other")]
)
def test_a_guess_is_the_goal_a_part_of_it_around_it_or_another(guess, expected):
    assert relation(guess, (0, 4)) == expected


def test_rules_that_read_outcomes_alone_name_a_goal_where_nothing_is_steered():
    peaked = np.array([0.45, 0.45, 0.025, 0.025, 0.025, 0.025])
    blind = objectives.guesses(Futures([1.0], peaked, [peaked]))
    assert blind == {"ratio": (0, 1), "op": (0, 1), "imp": ()}
    steered = objectives.guesses(Futures([1.0], peaked, [np.full(6, 1 / 6)]))
    assert set(steered.values()) == {(0, 1)}


def test_where_outcomes_are_even_only_what_was_uneven_before_tells_a_goal():
    even, before = np.full(4, 0.25), np.array([0.4, 0.3, 0.15, 0.15])
    assert objectives.guesses(Futures([1.0], even, [before])) == {"ratio": (), "op": (), "imp": (2, 3)}


def test_an_outcome_that_never_comes_is_cut_off():
    never = Futures([1.0], [0.6, 0.4, 0, 0], [np.full(4, 0.25)])
    assert objectives.guesses(never)["ratio"] == (0, 1)


def test_cuts_collect_the_outcomes_that_come_most_often_for_their_share():
    futures = Futures([1.0], [0.5, 0.0, 0.3, 0.2], [[0.7, 0.1, 0.1, 0.1]])
    assert cuts(futures) == [(2,), (2, 3), (0, 2, 3)]
    assert cuts(futures, np.full(4, 1 / 4)) == [(0,), (0, 2), (0, 2, 3)]


@pytest.mark.parametrize("by", ["op", "imp", "both"])
def test_without_a_list_two_halves_alike_name_the_goal_and_choosing_adds_nothing(by):
    measured = policies.indifferent(WORLD, GOALS[4])
    found = without_list(measured, measured, GOALS[4], by)
    assert found["chosen"] == GOALS[4] and found["right"] and found["five"]
    assert found["optimism"] == 0 and found["auc"] == 1
    bound = measured.imp_min if by == "imp" else measured.implied_op
    assert found["reported"] == found["trained"] == pytest.approx(bound(GOALS[4]), abs=1e-12)


def test_a_set_chosen_here_is_reported_from_there():
    here, there = policies.indifferent(WORLD, GOALS[2]), policies.indifferent(WORLD, GOALS[6])
    found = without_list(here, there, GOALS[6])
    assert found["chosen"] == GOALS[2] and not found["right"]
    assert found["reported"] == pytest.approx(there.implied_op(GOALS[2]), abs=1e-12)
    assert found["trained"] == pytest.approx(there.implied_op(GOALS[6]), abs=1e-12)
    lost = here.implied_op(GOALS[2]) - there.implied_op(GOALS[2])
    assert found["optimism"] == pytest.approx(lost, abs=1e-12)


# --- from the histogram of outcomes alone -----------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_the_best_goal_by_op_and_by_ratio_is_a_cut_of_the_histogram(seed):
    futures, goals = random_futures(seed), every_goal(6)
    names = objectives.simple_names(futures)
    assert goals[objectives.least_ratio(futures, goals).argmax()] == names["largest ratio"]
    assert threshold_goal(futures, np.full(6, 1 / 6))[0] == names["Op"]
    assert goals[scores(futures, goals, "op").argmax()] == names["Op"]


@given(st.integers(0, 10**6))
def test_the_guess_by_op_sees_no_counterfactual(seed):
    futures, others = random_futures(seed), random_futures(seed + 1)
    swapped = Futures(others.action_probs, futures.outcome_probs, others.counterfactual_probs)
    score, other = (scores(each, every_goal(6), "op") for each in (futures, swapped))
    assert score.argmax() == other.argmax() and (np.isfinite(score) == np.isfinite(other)).all()


def test_the_least_ratio_is_of_the_rarest_inside_to_the_likeliest_outside():
    futures = Futures([1.0], [0.5, 0.3, 0.2, 0.0], [[0.25] * 4])
    found = objectives.least_ratio(futures, [(0,), (1,), (0, 2), (0, 1)])
    assert found == pytest.approx(np.log([5 / 3, 3 / 5, 2 / 3, 3 / 2]))
    assert objectives.least_ratio(futures, [(0, 1, 2)])[0] > 700  # nothing else ever happens


def test_only_two_rules_see_the_future_that_did_not_happen():
    f, r = [0.4, 0.3, 0.2, 0.1], [0.6, 0.2, 0.05, 0.15]
    even, uneven = (objectives.simple_names(Futures([1.0], f, [other])) for other in ([0.25] * 4, r))
    assert {rule for rule in even if even[rule] != uneven[rule]} == {"Imp", "above F'"}
    assert uneven["above F'"] == (1, 2) and uneven["above chance"] == (0, 1)


def test_hits_of_rules_are_columns_and_a_planted_goal_is_hit_by_all():
    models = pd.DataFrame({"model": [7, 8], "n_good": [2, 4]})
    planted = {7: policies.indifferent(WORLD, GOALS[2]), 8: policies.indifferent(WORLD, GOALS[6])}
    found = objectives.rule_hits(models, planted.__getitem__, GOALS)
    rules = found.columns.drop(["model", "n_good"])
    assert set(rules) == {*histograms.CUTS, "Imp", "above chance", "above F'"}
    assert found.loc[0, rules].all() and not found.loc[1, rules].any()


def hits(rows):
    return pd.DataFrame(rows, columns=["seed", "arm", "a", "b"])


def test_a_rule_is_chosen_where_the_model_is_not():
    table = hits([(0, "x", True, False), (1, "x", False, True), (2, "x", False, True)])
    found = objectives.chosen_elsewhere(table, ["a", "b"])
    assert found["rule"].tolist() == ["b", "a", "a"]  # of equals the first
    assert found["right"].tolist() == [False, False, False]


def test_what_shares_any_of_the_columns_is_no_elsewhere():
    table = hits([(0, "x", True, True), (0, "y", False, True), (1, "x", False, True), (1, "y", True, False)])
    found = objectives.chosen_elsewhere(table, ["a", "b"], ["arm", "seed"])
    assert found["rule"].tolist() == ["a", "b", "b", "a"]
    assert found["right"].tolist() == [True, True, True, True]


def test_a_choice_without_another_seed_is_refused():
    with pytest.raises(ValueError, match="table: no models that differ in seed, allowed are two or more"):
        objectives.chosen_elsewhere(hits([(0, "x", True, False), (0, "y", False, True)]), ["a", "b"])


@pytest.mark.parametrize("spelled", [(1, 0), [0, 1], {0, 1}, np.array([0, 1])])
def test_a_goal_is_the_same_however_it_is_spelled(spelled):
    policy = policies.steering(WORLD, succeeding((0, 1), 8, 0.7))
    measured = SplitHistory(policy.counts * 1e4, policy.world)
    assert objectives.without_list(measured, measured, spelled) == objectives.without_list(
        measured, measured, (0, 1)
    )
    assert policies.steered(WORLD, spelled, 0.5) == policies.steered(WORLD, (0, 1), 0.5)
    assert WORLD.ceilings({"a": spelled}) == WORLD.ceilings({"a": (0, 1)})


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1e-3, 1e-6]))
def test_directedness_does_not_depend_on_how_much_there_is_to_gain(seed, scale):
    rng = np.random.default_rng(seed)
    better, counts = rng.uniform(-0.5, 0.5, (3, 2)), rng.integers(1, 9, (3, 2))
    values = []
    for each in (better, scale * better):
        world = np.stack([0.5 + each, 0.5 - each], -1)
        values.append(maxent_goal_directedness(SplitHistory(counts, world), [(0,)]))
    assert values[1] == pytest.approx(values[0], abs=1e-6)


def test_a_policy_that_always_takes_a_slightly_better_action_is_wholly_directed():
    world = [[[0.5 + 1e-3, 0.5 - 1e-3], [0.5, 0.5]]]
    assert maxent_goal_directedness(SplitHistory([[10, 0]], world), [(0,)]) == pytest.approx([np.log(2)])


def test_a_goal_that_is_no_candidate_is_not_named_however_few_there_are():
    for goals, score in (([(0,)], [-np.inf]), ([(0,), (1,), (2,)], [-np.inf, 1.0, -np.inf])):
        found = named((0,), goals, score)
        assert not found["right"] and not found["five"]
        assert found["auc"] == 0 and found["margin"] == -np.inf


def test_of_an_infinite_impact_a_goal_explains_all_or_nothing():
    futures = Futures([1.0], [0.5, 0.5, 0.0], [[0.0, 0.5, 0.5]])
    assert scores(futures, [(0,), (0, 1), (1,)], "imp").tolist() == [1.0, 0.0, -np.inf]


def test_as_many_grades_as_outcomes_and_guesses_as_models():
    with pytest.raises(ValueError, match=r"grades: shape \(3,\), allowed is \(2,\)"):
        graded_bounds(Futures([1.0], [0.5, 0.5], [[0.4, 0.6]]), [1, 2, 3])
    with pytest.raises(ValueError, match="guessed: given 1 for 2 models"):
        confusion(["a", "b"], ["a"], ["a", "b"])


def test_grades_of_one_level_are_no_graded_reward():
    with pytest.raises(ValueError, match=r"grades: given \[1.0, 1.0\], allowed are two levels"):
        graded_bounds(Futures([1.0], [0.5, 0.5], [[0.4, 0.6]]), [1, 1])
