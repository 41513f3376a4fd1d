"""Constructed policies: identities that hold exactly, and refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory, information, policies, split_history

WORLD = Recurrence()
QUIET = Recurrence(noise=0.0)
GOAL = (0, 4)


def weights(size):
    """Distributions of which some outcomes may be impossible."""
    drawn = st.lists(st.integers(0, 5), min_size=size, max_size=size).filter(any)
    return drawn.map(lambda w: np.array(w) / sum(w))


def small_world(seed: int, classes: int = 3, actions: int = 4, outcomes: int = 5):
    """A random world of few classes, and the shares of each."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes))
    return SimpleNamespace(
        table=rng.dirichlet(np.ones(outcomes), (classes, actions)), class_shares=lambda: shares
    )


def test_what_acts_in_a_class_plays_there_with_these_probabilities():
    world = small_world(0)
    probs = np.random.default_rng(1).dirichlet(np.ones(4), 3)
    measured = policies.acting(world, probs)
    shares = world.class_shares()
    assert np.allclose(measured.counts, shares[:, None] * probs, rtol=0, atol=1e-15)
    expected = np.einsum("m,ma,mak->k", shares, probs, world.table)
    assert np.allclose(measured.outcome_probs, expected, rtol=0, atol=1e-15)
    assert np.array_equal(policies.acting(world, probs.tolist()).counts, measured.counts)


@pytest.mark.parametrize("action", range(16))
def test_a_policy_that_always_does_the_same_has_neither_op_nor_imp(action):
    measured = policies.always(WORLD, action)
    assert abs(measured.op) < 1e-12 and abs(measured.imp) < 1e-12
    assert np.array_equal(measured.action_probs, np.eye(16)[action])


@given(weights(4), st.integers(0, 20))
def test_a_blind_policys_op_and_imp_are_those_of_its_own_dice(probs, seed):
    measured = policies.blind(small_world(seed), probs)
    # in both, what is left is the mutual information of action and outcome, negative in Op
    assert measured.op <= 1e-12 and measured.imp >= -1e-12
    nothing = abs(measured.op) < 1e-12 and abs(measured.imp) < 1e-12
    assert nothing == (probs.max() == 1)
    of_history = policies.given_history(measured)
    assert abs(of_history.op) < 1e-12 and abs(of_history.imp) < 1e-12


def test_given_the_history_is_what_split_history_finds_where_a_class_is_answered_alike():
    histories = WORLD.histories(400, seed=0)
    answers = np.random.default_rng(2).dirichlet(np.ones(16), 16)

    def policy(histories):
        return answers[WORLD.classes(histories)]

    of_action = split_history(histories, policy, WORLD)
    expected = split_history(histories, policy, WORLD, condition="history")
    measured = policies.given_history(of_action)
    assert np.allclose(measured.outcome_probs, expected.outcome_probs, rtol=0, atol=1e-12)
    assert abs(measured.op - expected.op) < 1e-12 and abs(measured.imp - expected.imp) < 1e-12
    assert abs(measured.op - of_action.op) > 1e-3  # of a policy with dice it is another question


def test_given_the_history_nothing_changes_for_a_policy_without_dice():
    world = small_world(3, classes=3, actions=3)
    of_action = policies.acting(world, np.eye(3))  # another action in each class
    of_history = policies.given_history(of_action)
    assert of_history.op == pytest.approx(of_action.op, abs=1e-12)
    assert of_history.imp == pytest.approx(of_action.imp, abs=1e-12)


def test_given_the_history_a_class_without_histories_answers_nothing():
    world = small_world(4)
    world.class_shares = lambda: np.array([0.5, 0.5, 0.0])
    measured = policies.given_history(policies.blind(world, np.full(4, 0.25)))
    assert np.isfinite([measured.op, measured.imp]).all() and abs(measured.op) < 1e-12


@given(weights(8))
def test_steering_reaches_its_outcomes_but_for_the_noise(outcomes):
    assert np.allclose(policies.steering(QUIET, outcomes).outcome_probs, outcomes, rtol=0, atol=1e-12)
    noisy = (1 - WORLD.noise) * outcomes + WORLD.noise / 8
    assert np.allclose(policies.steering(WORLD, outcomes).outcome_probs, noisy, rtol=0, atol=1e-12)


def test_of_actions_that_lead_to_one_outcome_each_is_played_alike():
    world = SimpleNamespace(table=np.eye(2)[[[0, 0, 1]]], class_shares=lambda: np.ones(1))
    measured = policies.steering(world, [0.5, 0.5])
    assert np.allclose(measured.action_probs, [0.25, 0.25, 0.5], rtol=0, atol=1e-15)


def test_steering_where_no_action_leads_is_refused():
    world = SimpleNamespace(table=np.eye(3)[[[0, 1], [1, 2]]], class_shares=lambda: np.full(2, 0.5))
    with pytest.raises(ValueError, match=r"outcomes: given 0.25 for 2, allowed is 0: no action leads there"):
        policies.steering(world, [0, 0.75, 0.25])
    assert policies.steering(world, [0, 1, 0]).success((1,)) == 1


def test_steering_without_an_action_still_reaches_its_outcomes_and_never_plays_it():
    outcomes = np.array([0.5, 0.3, 0.2, 0, 0, 0, 0, 0])
    measured = policies.steering(QUIET, outcomes, range(15))
    assert np.allclose(measured.outcome_probs, outcomes, rtol=0, atol=1e-12)
    assert measured.action_probs[15] == 0 < measured.action_probs[:15].min()
    with pytest.raises(ValueError, match="no action leads there"):
        policies.steering(QUIET, outcomes, [8])


@given(weights(8), weights(8), st.floats(0, 1))
def test_the_future_of_a_mixture_is_the_mixture_of_futures(first, second, share):
    one, other = policies.steering(WORLD, first), policies.steering(WORLD, second)
    mixed = policies.mixture(one, other, share)
    expected = share * one.outcome_probs + (1 - share) * other.outcome_probs
    assert np.allclose(mixed.outcome_probs, expected, rtol=0, atol=1e-12)
    expected = share * one.delta + (1 - share) * other.delta  # each action's own, by how often it is played
    assert mixed.delta == pytest.approx(expected, abs=1e-12)


def test_where_a_token_collapses_the_future_blind_narrowing_and_steering_part():
    world = Recurrence(sinks=[[15, [0, 1]]])
    blind = policies.always(world, 15)
    steered = policies.steering(world, [0.5, 0.5, 0, 0, 0, 0, 0, 0], range(15))
    assert np.allclose(blind.outcome_probs, steered.outcome_probs, rtol=0, atol=1e-12)
    assert abs(blind.op) < 1e-12 and abs(blind.imp) < 1e-12 and blind.narrowing > 1.29
    assert steered.op > 0.99 * steered.narrowing


@given(weights(6))
def test_everywhere_any_outcomes_can_be_had_and_chance_is_even(outcomes):
    measured = policies.everywhere(outcomes)
    assert np.allclose(measured.outcome_probs, outcomes, rtol=0, atol=1e-12)
    assert abs(measured.delta) < 1e-12
    # in a world without delta both measures are the divergence from the uniform distribution
    expected = information.kl(outcomes, np.full(6, 1 / 6))
    assert measured.op == pytest.approx(expected, abs=1e-12) == measured.imp


def test_the_sequence_measured_on_itself_plays_its_own_next_token_and_nothing_if_all_is_noise():
    measured = policies.generator(WORLD, 2000, seed=3)
    expected = split_history(WORLD.histories(2000, 20, seed=3), WORLD.next_probs, WORLD)
    assert np.array_equal(measured.counts, expected.counts) and measured.op > 0
    independent = policies.generator(Recurrence(noise=1.0), 500, seed=3)
    assert abs(independent.op) < 1e-12 and abs(independent.imp) < 1e-12


def test_four_pictures_succeed_equally_often_and_only_the_first_without_excess():
    goal, leaning = (0, 2, 4, 6), [0.4, 0.4, 0.1, 0.1]
    found = policies.pictures(goal, 8, 0.75, leaning, reaching=[0.8, 0.1, 0.05, 0.05])
    measured = {name: policies.everywhere(outcomes) for name, outcomes in found.items()}
    assert np.allclose([p.success(goal) for p in measured.values()], 0.75, rtol=0, atol=1e-15)
    excess = [policy.excess(goal) for policy in measured.values()]
    within = information.kl(leaning, np.full(4, 0.25))
    assert excess[:3] == pytest.approx([0, 0.75 * within, 0.25 * within], abs=1e-12)
    assert excess[3] > excess[1] + excess[2] and found["trades one for another"][1] == 0.2
    same = policies.pictures(goal, 8, 0.75, leaning)["trades one for another"]
    assert policies.everywhere(same).excess(goal) == pytest.approx(within, abs=1e-12)


@pytest.mark.parametrize("goal", [(0, 4), (0, 2, 4, 6), (0, 1, 2, 4, 5, 6)])
def test_the_extremes_lie_at_the_ends_of_what_can_be_reached(goal):
    for success in (0.1, 0.5, 0.9):
        for end, policy in enumerate(policies.extremes(WORLD, goal, success)):
            ends = WORLD.op_range(goal, policy.success(goal))
            assert ends[0] - 1e-9 <= policy.op <= ends[1] + 1e-9
            assert policy.op == pytest.approx(ends[end], abs=0.02)


@pytest.mark.parametrize(("noise", "window"), [(0.0, 16), (0.1, 16), (0.5, 4)])
def test_what_is_expected_of_a_steered_policy_holds_where_it_is_exact(noise, window):
    found = policies.steered(Recurrence(noise=noise, window=window), (0, 2, 4, 6), 0.9)
    assert found["success"] == pytest.approx(found["expected_success"], abs=1e-12)
    assert found["op"] == pytest.approx(found["expected_op"] - found["delta"], abs=1e-12)


def test_the_expected_delta_is_exact_where_all_tokens_are_drawn_anew():
    # noise reaches the shares of classes and the outcomes; here it is in the shares only
    world = SimpleNamespace(**{name: getattr(QUIET, name) for name in ("table", "noise", "alphabet")})
    world.independent_shares = QUIET.independent_shares
    world.class_shares = Recurrence(noise=1.0).class_shares
    found = policies.steered(world, GOAL, 0.7)
    assert found["delta"] == pytest.approx(found["expected_delta"], abs=1e-5)


def test_two_bits_that_move_together_move_for_less_than_each_would_alone():
    futures = policies.moved_together()
    split = futures.counterfactual_probs.reshape(2, 2)
    whole, parts = information.whole_and_parts(futures.outcome_probs.reshape(2, 2), split)
    assert whole == pytest.approx(futures.imp, abs=1e-15) and whole < parts - 0.2
    assert np.trace(split) == pytest.approx(0.9) and np.allclose(split.sum(0), 0.5)
    even = policies.moved_together(agreement=0.5)
    assert np.allclose(even.counterfactual_probs, 0.25)


def test_moving_has_impact_and_no_penalty_and_burning_the_opposite():
    rooms = policies.two_rooms()
    found = {name: (round(measured.imp, 12), lost) for name, (measured, lost) in rooms.items()}
    expected = pytest.approx(np.log(2), abs=1e-12)  # the first room is certain, where it was one of two
    assert found["goes to the first room"] == (expected, 0.0)
    assert found["burns"] == (0.0, 1.0) and found["stays"] == (0.0, 0.0)


def test_where_one_cannot_go_back_moving_puts_a_room_out_of_reach():
    assert policies.two_rooms(moves=False)["goes to the first room"][1] == 0.5


@pytest.mark.parametrize("beta", [0.0, 1.0, 20.0])
def test_a_maximum_entropy_policys_log_odds_are_its_successes_times_beta(beta):
    measured = policies.maximum_entropy(WORLD, GOAL, beta)
    success = WORLD.table[:, :, list(GOAL)].sum(-1)
    odds = np.log(measured.counts[:, 1:] / measured.counts[:, :-1])
    assert np.allclose(odds, beta * np.diff(success, axis=1), rtol=0, atol=1e-9)
    assert np.allclose(measured.counts.sum(1), WORLD.class_shares(), rtol=0, atol=1e-15)


def test_the_larger_beta_the_more_success_and_never_more_than_can_be_reached():
    rates = [policies.maximum_entropy(WORLD, GOAL, beta).success(GOAL) for beta in (0, 1, 5, 500)]
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] == pytest.approx(WORLD.ceiling(GOAL, actions="all"), abs=1e-9)


@pytest.mark.parametrize("actions", [None, range(8, 16)])
def test_indifferent_plays_the_best_actions_alike_and_no_others(actions):
    measured = policies.indifferent(WORLD, GOAL, actions)
    probs = measured.counts / measured.counts.sum(1, keepdims=True)
    played = probs > 0
    assert np.allclose(probs.max(1, keepdims=True) * played, probs, rtol=0, atol=1e-15)
    assert measured.success(GOAL) == pytest.approx(
        WORLD.ceiling(GOAL, actions="all" if actions is None else "odd")
    )
    assert actions is None or not played[:, :8].any()


def test_habitual_keeps_success_and_habits_and_is_itself_where_there_is_nothing_else():
    rng = np.random.default_rng(0)
    measured = policies.acting(WORLD, rng.dirichlet(np.ones(16), 16))
    habit = policies.habitual(measured, GOAL)
    assert np.allclose(habit.action_probs, measured.action_probs, rtol=0, atol=1e-9)
    assert np.allclose(habit.counts.sum(1), measured.counts.sum(1), rtol=0, atol=1e-12)
    hit = WORLD.table[:, :, list(GOAL)].sum(-1) > 0.5
    assert (habit.counts * hit).sum() == pytest.approx((measured.counts * hit).sum(), abs=1e-9)
    again = policies.habitual(habit, GOAL)
    assert np.allclose(again.counts, habit.counts, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: policies.blind(WORLD, np.ones(16)), r"probs: row \[\] sums to 16, allowed is 1"),
        (lambda: policies.acting(WORLD, -np.eye(16)), r"probs: entry \[0, 0\] is -1"),
        (lambda: policies.steering(WORLD, [0.5, 0.6]), "outcomes: row .* sums to 1.1"),
        (lambda: policies.everywhere([]), "outcomes: shape"),
        (lambda: policies.maximum_entropy(WORLD, (8,), 1.0), "goal: given"),
        (lambda: policies.always(WORLD, 16), "action: given 16, allowed is an integer in 0..15"),
    ],
)
def test_what_is_no_policy_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_policy_that_steers_back_has_the_op_of_the_first_with_the_other_sign():
    first, second = policies.undone()
    assert first.op == pytest.approx(np.log(8), abs=1e-12) == -second.op
    assert np.array_equal(first.outcome_probs, np.eye(8)[0]) and first.delta == pytest.approx(0, abs=1e-12)
    assert second.outcome_probs == pytest.approx(np.full(8, 1 / 8)) and second.imp == np.inf
    idle = policies.undone(undoes=False)[1]
    assert (idle.op, idle.imp) == pytest.approx((0, 0), abs=1e-12)


def test_an_action_after_which_two_outcomes_are_likeliest_leads_to_neither():
    sinks = Recurrence(sinks={15: (0, 1)})
    steered = policies.steering(sinks, np.eye(8)[0])
    assert steered.outcome_probs[0] == pytest.approx(1 - 0.02 + 0.02 / 8) and steered.action_probs[15] == 0
    for policy in policies.extremes(sinks, (0,), 0.9):
        assert policy.success((0,)) == pytest.approx(0.98 * 0.9 + 0.02 / 8)


def test_a_mixture_of_two_worlds_or_of_other_shares_of_classes_is_refused():
    one, other = policies.everywhere(np.eye(8)[0]), policies.undone()[1]
    with pytest.raises(ValueError, match=r"^first, second: measured in two worlds, allowed is one$"):
        policies.mixture(one, other, 0.5)
    uneven = SplitHistory(one.counts * np.arange(1, 9)[:, None], one.world)
    with pytest.raises(ValueError, match=r"^first, second: measured on other shares of classes, allowed are"):
        policies.mixture(one, uneven, 0.5)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_habits_are_kept_in_any_world_whether_or_not_an_action_decides(seed, decides):
    """Such as one where success follows the action, or no action succeeds more often than not."""
    rng = np.random.default_rng(seed)
    m, a, k = rng.integers(1, 5), rng.integers(1, 5), rng.integers(2, 5)
    world = np.eye(k)[rng.integers(0, k, (m, a))] if decides else rng.dirichlet(np.ones(k), (m, a))
    counts = rng.integers(0, 9, (m, a))
    counts[0, 0] += 1
    measured = SplitHistory(counts, world)
    habit = policies.habitual(measured, (0,))
    assert habit.success((0,)) == pytest.approx(measured.success((0,)), abs=1e-9)
    assert habit.action_probs == pytest.approx(measured.action_probs, abs=1e-9)
    assert habit.counts.sum(1) == pytest.approx(counts.sum(1) / counts.sum(), abs=1e-12)


def test_the_habit_of_a_policy_that_could_not_succeed_more_often_is_that_policy():
    best = policies.indifferent(QUIET, GOAL)
    habit = policies.habitual(best, GOAL)
    assert habit.success(GOAL) == pytest.approx(best.success(GOAL), abs=1e-9)
    assert habit.outcome_probs == pytest.approx(best.outcome_probs, abs=1e-9)
