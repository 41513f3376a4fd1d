"""Split-history measures against brute force, their identities, and their failures."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory, information, measure, objectives, split_history
from splithistory.measure import Futures

seeds = st.integers(0, 2**32 - 1)


def random_world(seed, *, n=12, n_actions=4, n_outcomes=5, stochastic=True):
    """N histories (their own numbers), a tabular policy and a tabular world with no empty cell."""
    rng = np.random.default_rng(seed)
    world = rng.dirichlet(np.ones(n_outcomes), size=(n, n_actions))
    policy = rng.dirichlet(np.full(n_actions, 0.5), size=n)
    if not stochastic:
        policy = np.eye(n_actions)[policy.argmax(1)]
    histories = np.arange(n)[:, None]
    return histories, policy, lambda h, a: world[h[:, 0], a]


def brute_force(histories, policy, world, condition):
    """The definition as a double loop over histories: Op and Imp in nats."""
    n, n_actions = policy.shape
    outcome = [[world(histories[i : i + 1], np.array([a]))[0] for a in range(n_actions)] for i in range(n)]
    f = sum(policy[i, a] * outcome[i][a] for i in range(n) for a in range(n_actions)) / n
    op = imp = 0.0
    for j in range(n):
        given_action = [sum(outcome[i][a] for i in range(n)) / n for a in range(n_actions)]
        if condition == "history":
            futures = [(1.0, sum(policy[j, a] * given_action[a] for a in range(n_actions)))]
        else:
            futures = [(policy[j, a], given_action[a]) for a in range(n_actions)]
        for weight, d in futures:
            op += weight * -(d * np.log(d)).sum() / n
            imp += weight * (f * np.log(f / d)).sum() / n
    return op + (f * np.log(f)).sum(), imp


@pytest.mark.parametrize("condition", ["action", "history"])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_exact_measure_equals_the_double_loop_over_histories(seed, stochastic, condition):
    histories, policy, world = random_world(seed, stochastic=stochastic)
    measured = split_history(histories, lambda h: policy[h[:, 0]], world, condition=condition)
    assert (measured.op, measured.imp) == pytest.approx(
        brute_force(histories, policy, world, condition), abs=1e-12
    )


def test_the_two_readings_of_the_condition_differ_for_a_stochastic_policy_and_only_there():
    for stochastic in (False, True):
        histories, policy, world = random_world(0, stochastic=stochastic)
        by = {
            c: split_history(histories, lambda h, p=policy: p[h[:, 0]], world, condition=c).op
            for c in ("action", "history")
        }
        assert (abs(by["action"] - by["history"]) > 1e-3) == stochastic


def test_a_world_with_classes_gives_the_same_as_the_world_as_a_plain_function():
    world = Recurrence()
    histories = world.histories(300, 20, seed=1)
    by_class = split_history(histories, world.next_probs, world)
    by_call = split_history(histories, world.next_probs, lambda h, a: world.outcome_probs(h, a), n_actions=16)
    assert by_class.counts.shape == (16, 16) and by_call.counts.shape == (300, 16)
    assert (by_class.op, by_class.imp) == pytest.approx((by_call.op, by_call.imp), abs=1e-12)


def test_the_sampled_procedure_converges_to_the_exact_measure():
    world = Recurrence()
    histories = world.histories(4000, 20, seed=2)
    policy = np.random.default_rng(0).dirichlet(np.full(16, 0.3), size=16)
    exact = split_history(histories, lambda h: policy[world.classes(h)], world)
    sampled = split_history(histories, lambda h: policy[world.classes(h)], world, method="sampled", seed=3)
    # plug-in bias (K-1)/2N of each entropy and about sqrt(K)/sqrt(N) of noise
    assert sampled.op == pytest.approx(exact.op, abs=0.02)
    assert sampled.imp == pytest.approx(exact.imp, abs=0.02)
    assert sampled.success((0, 4)) == pytest.approx(exact.success((0, 4)), abs=0.03)


def test_the_sampled_procedure_is_biased_upward_in_impact_at_200_histories():
    world = Recurrence()
    truth = split_history(world.histories(200_000, 20, seed=8), world.next_probs, world).imp
    imps = [
        split_history(
            world.histories(200, 20, seed=[9, k]), world.next_probs, world, method="sampled", seed=k
        ).imp
        for k in range(60)
    ]
    # plug-in KL between two samples of 200 over 8 outcomes: of the order of (K-1)/N = 0.035 too much
    assert np.mean(imps) - truth == pytest.approx(7 / 200, rel=0.5)


@settings(max_examples=200)
@given(seeds, st.sampled_from([(0,), (1, 3), (0, 1, 2, 4)]))
def test_both_decompositions_add_up(seed, goal):
    histories, policy, world = random_world(seed)
    measured = split_history(histories, lambda h: policy[h[:, 0]], world)
    t = measured.decomposition(goal)
    op = t["op_success_rate"] + t["op_within_success"] + t["op_within_failure"] - t["delta"]
    imp = t["imp_success_rate"] + t["imp_within_success"] + t["imp_within_failure"]
    assert measured.op == pytest.approx(op, abs=1e-12)
    assert measured.imp == pytest.approx(imp, abs=1e-12)
    within = t["op_within_success"] + t["op_within_failure"]
    assert measured.excess(goal) == pytest.approx(within, abs=1e-12)


@pytest.mark.parametrize("goal", [(0,), (1, 3), (0, 1, 2, 4)])
def test_identities_and_bounds_hold_for_ten_thousand_random_policies(goal):
    rng = np.random.default_rng(len(goal))
    world = rng.dirichlet(np.full(5, 0.5), size=(6, 4))
    tables = rng.dirichlet(np.full(24, 0.2), size=10_000).reshape(-1, 6, 4)
    many = Futures.of_tables(tables, world)
    t = many.decomposition(goal)
    op = t["op_success_rate"] + t["op_within_success"] + t["op_within_failure"] - t["delta"]
    imp = t["imp_success_rate"] + t["imp_within_success"] + t["imp_within_failure"]
    assert op.shape == (10_000,) and np.abs(many.op - op).max() < 1e-12
    assert np.abs(many.imp - imp).max() < 1e-12
    assert (many.delta >= -1e-12).all() and (many.op >= many.implied_op(goal) - many.delta - 1e-12).all()
    assert (many.imp >= t["imp_success_rate"] - 1e-12).all()
    assert (t["imp_success_rate"] >= many.imp_min(goal) - 1e-12).all()
    others = [k for k in range(5) if k not in goal]  # a goal and its complement have the same kl
    assert np.abs(many.imp_min(goal) - many.imp_min(others)).max() < 1e-12


@settings(max_examples=200)
@given(seeds, st.sampled_from([(0,), (1, 3), (0, 1, 2, 4)]))
def test_bounds_hold_for_every_policy(seed, goal):
    histories, policy, world = random_world(seed)
    measured = split_history(histories, lambda h: policy[h[:, 0]], world)
    assert measured.delta >= -1e-12
    assert measured.op >= measured.implied_op(goal) - measured.delta - 1e-12
    uniform = np.full(measured.n_outcomes, 1 / measured.n_outcomes)
    assert measured.narrowing == pytest.approx(information.kl(measured.outcome_probs, uniform), abs=1e-12)
    assert measured.narrowing == pytest.approx(measured.op + measured.delta, abs=1e-12)
    assert measured.imp >= measured.decomposition(goal)["imp_success_rate"] - 1e-12
    assert measured.decomposition(goal)["imp_success_rate"] >= measured.imp_min(goal) - 1e-12


@given(seeds)
def test_a_policy_that_always_plays_one_action_has_neither_op_nor_imp(seed):
    histories, _, world = random_world(seed, stochastic=False)
    measured = split_history(histories, lambda h: np.full(len(h), 2), world, n_actions=4)
    assert measured.op == pytest.approx(0, abs=1e-12)
    assert measured.imp == pytest.approx(0, abs=1e-12)


@given(seeds)
def test_dice_thrown_blindly_have_no_op_given_the_history_and_a_negative_one_given_the_action(seed):
    histories, _, world = random_world(seed)
    dice = np.tile([0.4, 0.3, 0.2, 0.1], (len(histories), 1))
    given_history = split_history(histories, lambda h: dice, world, condition="history")
    assert (given_history.op, given_history.imp) == pytest.approx((0, 0), abs=1e-12)
    given_action = split_history(histories, lambda h: dice, world)
    assert given_action.op < 0 < given_action.imp


@given(seeds)
def test_impact_with_only_success_and_failure_as_outcomes_is_its_lower_bound_given_the_action(seed):
    histories, policy, world = random_world(seed, n_outcomes=2)
    measured = split_history(histories, lambda h: policy[h[:, 0]], world)
    assert measured.imp == pytest.approx(measured.decomposition((0,))["imp_success_rate"], abs=1e-12)


def test_an_action_that_is_never_played_does_not_make_impact_infinite():
    futures = Futures([1.0, 0.0], [0.5, 0.5], [[0.5, 0.5], [1.0, 0.0]])
    assert futures.imp == 0


def test_impact_is_infinite_where_a_counterfactual_lacks_an_outcome():
    assert Futures([0.5, 0.5], [0.5, 0.5], [[0.5, 0.5], [1.0, 0.0]]).imp == np.inf


def test_two_halves_add_up_to_the_whole():
    world = Recurrence()
    histories = world.histories(400, 20, seed=3)
    whole = split_history(histories, world.next_probs, world)
    halves = split_history(histories[:200], world.next_probs, world) + split_history(
        histories[200:], world.next_probs, world
    )
    assert halves.n_histories == 400
    assert halves.imp == pytest.approx(whole.imp, abs=1e-12)


def test_interval_of_a_strong_policy_covers_the_truth_about_as_often_as_it_says():
    world = Recurrence()
    best = world.table[:, :, [0, 4]].sum(-1).argmax(1)
    rng = np.random.default_rng(0)
    truth = SplitHistory(np.eye(16)[best] * world.class_shares()[:, None], world.table).op
    covered = 0
    for _ in range(200):
        counts = np.eye(16)[best] * rng.multinomial(2000, world.class_shares())[:, None]
        low, high = SplitHistory(counts, world.table).interval("op")
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_interval_takes_a_function_of_the_measurement():
    world = Recurrence()
    measured = split_history(world.histories(500, 20, seed=4), world.next_probs, world)
    low, high = measured.interval(lambda m: m.success((0, 4)))
    assert low < measured.success((0, 4)) < high


HISTORIES = np.zeros((3, 20), int)
WORLD = Recurrence()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_history(HISTORIES[:0], WORLD.next_probs, WORLD), r"histories: shape \(0, 20\)"),
        (
            lambda: split_history(HISTORIES, lambda h: np.zeros(2, int), WORLD),
            r"policy: returned shape \(2,\) of int64",
        ),
        (
            lambda: split_history(HISTORIES, lambda h: np.zeros(3), WORLD),
            r"policy: returned shape \(3,\) of float64",
        ),
        (
            lambda: split_history(HISTORIES, lambda h: np.full(3, 16), WORLD),
            "policy: actions 16 to 16, allowed is 0..15",
        ),
        (
            lambda: split_history(HISTORIES, lambda h: np.full((3, 16), 0.1), WORLD),
            r"policy: row \[0\] sums to 1.6",
        ),
        (lambda: split_history(HISTORIES, lambda h: np.full((3, 16), np.nan), WORLD), "policy: entry"),
        (
            lambda: split_history(HISTORIES, lambda h: np.zeros(3, int), lambda h, a: a),
            "world: returned shape",
        ),
        (
            lambda: split_history(HISTORIES, WORLD.next_probs, WORLD, n_actions=4),
            "n_actions: given 4 with a table",
        ),
        (
            lambda: split_history(HISTORIES, WORLD.next_probs, WORLD, method="sampled", seed=-1),
            "seed: given -1, allowed is an integer >= 0",
        ),
        (lambda: split_history(HISTORIES, WORLD.next_probs, WORLD).interval("opp"), "quantity: given 'opp'"),
        (lambda: SplitHistory(np.full((1, 1), 0.4), np.ones((1, 1, 1))).interval("op"), "counts: sum 0.4"),
        (
            lambda: Futures([1.0], [1.0], [[0.5, 0.5]]),
            r"counterfactual_probs: shape \(1, 2\), allowed is \(1, 1\)",
        ),
        (lambda: split_history(HISTORIES, WORLD.next_probs, WORLD, method="guess"), "method: given 'guess'"),
        (lambda: split_history(HISTORIES, WORLD.next_probs, WORLD, condition="x"), "condition: given 'x'"),
        (lambda: split_history(HISTORIES, WORLD.next_probs, WORLD, method="sampled"), "seed: none given"),
        (lambda: SplitHistory(np.zeros((2, 2)), np.full((2, 2, 3), 1 / 3)), "counts: negative or all zero"),
        (lambda: SplitHistory(np.ones((2, 3)), np.full((2, 2, 3), 1 / 3)), r"counts, world: shapes \(2, 3\)"),
        (lambda: SplitHistory(np.ones((2, 2)), np.full((2, 2, 3), 0.4)), "world: row"),
        (
            lambda: split_history(HISTORIES, WORLD.next_probs, WORLD).success(range(8)),
            "goal: given 8 of 8 outcomes",
        ),
        (lambda: split_history(HISTORIES, WORLD.next_probs, WORLD).interval("op", level=2), "level: given 2"),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_implied_op_and_imp_min_are_the_closed_forms_of_the_success_rates():
    measured = split_history(WORLD.histories(500, 20, seed=5), WORLD.next_probs, WORLD)
    s, s_prime = measured.success((0, 4)), measured.counterfactual_success((0, 4))
    assert measured.implied_op((0, 4)) == information.implied_op(s, 0.25)
    assert measured.imp_min((0, 4)) == pytest.approx(information.imp_min(s, s_prime), rel=1e-12)


@pytest.mark.filterwarnings("ignore:imp. infinite")
def test_the_sampled_procedure_never_pairs_a_history_with_itself():
    # two histories, a world that tells them apart for certain: each meets only the other's outcome
    def world(histories, actions):
        return np.eye(2)[histories[:, 0]]

    futures = split_history(np.array([[0], [1]]), lambda h: np.zeros(2, int), world, method="sampled", seed=0)
    assert futures.counterfactual_probs.tolist() == [[0, 1], [1, 0]]


def test_the_sampled_procedure_draws_actions_and_outcomes_as_often_as_they_are_probable():
    def world(histories, actions):
        return np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])[actions]

    histories = np.zeros((3000, 1), int)
    policy = np.tile([0.25, 0.75], (3000, 1))
    sampled = split_history(histories, lambda h: policy, world, method="sampled", seed=1)
    assert sampled.outcome_probs == pytest.approx([0.25, 0.125, 0.625], abs=0.03)
    mean = sampled.action_probs @ sampled.counterfactual_probs
    assert mean == pytest.approx([0.25, 0.125, 0.625], abs=0.03)


def test_the_centre_of_the_interval_is_nearer_the_truth_than_the_biased_value():
    world, rng = Recurrence(), np.random.default_rng(1)
    histories = world.histories(400_000, 20, seed=1)
    large = split_history(histories, lambda h: world.next_probs(h).argmax(1), world)
    shares = large.counts.ravel() / large.counts.sum()
    tables = [SplitHistory(rng.multinomial(200, shares).reshape(16, 16), world.table) for _ in range(60)]
    value = np.mean([table.imp for table in tables])
    centre = np.mean([np.mean(table.interval("imp")) for table in tables])
    assert value - large.imp > 0.02  # plug-in Imp of 200 histories: about (K-1)/N too much
    assert abs(centre - large.imp) < 0.5 * (value - large.imp)


def test_the_corrected_value_is_the_centre_of_every_interval():
    measured = SplitHistory([[8.0, 2.0], [1.0, 9.0]], np.eye(2)[[[0, 1], [1, 0]]] * 0.8 + 0.1)
    for level in (0.5, 0.95):
        assert measured.corrected("imp") == pytest.approx(np.mean(measured.interval("imp", level)))
    assert 0 < measured.corrected("imp") < measured.imp


def test_a_sampled_imp_that_is_infinite_says_so_and_how_many_futures_lack_an_outcome():
    histories = np.arange(4)[:, None]
    with pytest.warns(UserWarning, match="imp: infinite, for 4 of 4 counterfactual futures lack an outcome"):
        measured = split_history(
            histories, lambda h: h[:, 0], lambda h, a: np.eye(4)[a], n_actions=4, method="sampled", seed=0
        )
    assert np.isinf(measured.imp)


def test_the_example_in_the_docstring_prints_what_it_says():
    assert doctest.testmod(measure) == (0, len(doctest.DocTestFinder().find(split_history)[0].examples))


def test_measurements_in_different_worlds_do_not_add_up():
    measured = split_history(WORLD.histories(50, 20, seed=1), WORLD.next_probs, WORLD)
    other = SplitHistory(measured.counts, np.roll(measured.world, 1, axis=0))
    with pytest.raises(ValueError, match="made in different worlds"):
        measured + other


@pytest.mark.filterwarnings("ignore:imp. infinite")
@pytest.mark.parametrize(("condition", "op"), [("action", -np.log(2)), ("history", 0.0)])
def test_the_sampled_procedure_takes_the_condition_too(condition, op):
    # a coin is thrown and the world shows it: known once the action is, open when the history is
    histories, coin = np.zeros((800, 1), int), np.full((800, 2), 0.5)
    for method in ("exact", "sampled"):
        measured = split_history(
            histories, lambda h: coin, lambda h, a: np.eye(2)[a], condition=condition, method=method, seed=1
        )
        assert measured.op == pytest.approx(op, abs=0.01)


def test_a_float32_softmax_policy_is_measured():
    torch = pytest.importorskip("torch")
    logits = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    world = Recurrence()
    measured = split_history(world.histories(500, 20, seed=1), lambda h: torch.softmax(logits, -1), world)
    assert measured.counts.sum() == pytest.approx(500, abs=1e-9)


@pytest.mark.filterwarnings("error")
def test_decomposition_holds_where_a_counterfactual_never_succeeds():
    measured = SplitHistory(np.ones((2, 2)), np.tile([[1.0, 0, 0], [0, 0.5, 0.5]], (2, 1, 1)))
    terms = measured.decomposition((0,))
    assert measured.imp == np.inf == terms["imp_success_rate"]
    assert terms["imp_within_success"] == 0 and np.isfinite(terms["imp_within_failure"])


class Labelled:
    """A world with a table, and whatever classes it is told."""

    table = np.full((2, 3, 4), 0.25)

    def __init__(self, classes):
        self.given = classes

    def classes(self, histories):
        return np.asarray(self.given)


@pytest.mark.parametrize("classes", [[0, 1, 2], [-1, 0, 1], [0.5, 0, 1], [0, 1]])
def test_classes_that_are_not_in_the_table_are_refused(classes):
    with pytest.raises(ValueError, match=r"world: classes \(\d,\) of .*, allowed are 3 integers in 0..1"):
        split_history(np.zeros((3, 1), int), lambda h: np.zeros(3, int), Labelled(classes))


def test_an_interval_of_several_quantities_at_once_is_that_of_each_alone():
    measured, goal = split_history(HISTORIES, WORLD.next_probs, WORLD), (0, 4)
    low, high = measured.interval(lambda m: np.stack([m.op, m.success(goal), m.imp_min(goal)], -1))
    for i, alone in enumerate(("op", lambda m: m.success(goal), lambda m: m.imp_min(goal))):
        assert (low[i], high[i]) == pytest.approx(measured.interval(alone), abs=1e-12)
    terms = measured.interval(lambda m: np.stack(list(m.decomposition(goal).values()), -1))
    assert np.shape(terms) == (2, 7) and np.isfinite(terms).all()


def test_a_quantity_that_loses_the_axis_of_resamples_is_refused():
    measured = split_history(HISTORIES, WORLD.next_probs, WORLD)
    with pytest.raises(ValueError, match=r"quantity: returned shape \(2, 2000\) for 2000 at once and \(2,\)"):
        measured.interval(lambda m: np.array([m.op, m.imp]))


def test_a_measurement_in_numbers_has_what_its_goal_implies_only_if_there_is_one():
    histories, policy, world = random_world(0, stochastic=False)
    measured = split_history(histories, lambda h: policy[h[:, 0]], world)
    numbers = measured.scalars((1, 3))
    assert (
        numbers["gap"] == measured.op - measured.implied_op((1, 3)) == numbers["op"] - numbers["implied_op"]
    )
    assert (numbers["imp_low"], numbers["imp_high"]) == pytest.approx(measured.interval("imp"), abs=1e-12)
    assert list(measured.scalars()) == [
        "delta",
        *(f"{q}{e}" for q in ("op", "imp") for e in ("", "_low", "_high")),
    ]


def test_merging_outcomes_never_adds_impact_and_leaves_success_and_failure_as_they_are():
    rng = np.random.default_rng(4)
    measured = SplitHistory(rng.integers(1, 9, (5, 3)), rng.dirichlet(np.ones(4), (5, 3)))
    merged = measured.merged([[0, 2], [1, 3]])
    assert merged.outcome_probs[0] == pytest.approx(measured.success([0, 2]), abs=1e-15)
    assert merged.imp == pytest.approx(measured.decomposition([0, 2])["imp_success_rate"], abs=1e-12)
    assert merged.imp < measured.imp == pytest.approx(measured.merged([[k] for k in range(4)]).imp)


def test_mixing_the_counterfactual_futures_before_comparing_lowers_impact_and_raises_op():
    rng = np.random.default_rng(5)
    measured = SplitHistory(rng.integers(1, 9, (5, 3)), rng.dirichlet(np.ones(4), (5, 3)))
    mixed = measured.mixed()
    assert mixed.counterfactual_success([1]) == pytest.approx(measured.counterfactual_success([1]))
    assert mixed.imp < measured.imp and mixed.op > measured.op


@pytest.mark.parametrize("name", ["success", "counts", "nothing", "interval", 3, None, "Op"])
def test_only_quantities_are_asked_for_by_name(name):
    table = np.tile(np.eye(2) / 2 + 0.25, (2, 1, 1))
    measured = SplitHistory([[3, 1], [1, 3]], table)
    for ask in (measured.interval, measured.corrected):
        with pytest.raises(ValueError, match=r"quantity: given .*, allowed are a function, op, imp, delta, "):
            ask(name)


def test_an_infinite_impact_has_an_infinite_interval_and_no_warning():
    # a world without noise, in which the policy reaches an outcome that a fixed action never does
    measured = SplitHistory([[20, 0], [0, 20]], [[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]]])
    assert measured.imp == np.inf
    assert measured.interval("imp") == (np.inf, np.inf) and measured.corrected("imp") == np.inf
    assert np.isfinite(measured.interval("op")).all()


def test_a_world_of_tensors_with_gradients_and_half_precision_policies_are_measured():
    histories, table = np.arange(6)[:, None], torch.full((6, 2, 2), 0.5, requires_grad=True)
    policy = torch.full((6, 2), 0.5, dtype=torch.bfloat16)
    measured = split_history(histories, lambda h: policy, lambda h, a: table[h[:, 0], a])
    assert measured.op == measured.imp == 0.0


def test_a_large_set_of_histories_without_classes_has_the_interval_of_the_same_with_classes():
    rng = np.random.default_rng(0)
    histories = rng.integers(0, 3, (3000, 1))

    class Classes:
        table = rng.dirichlet(np.ones(3), (3, 3))

        def classes(self, histories):
            return histories[:, 0]

        def __call__(self, histories, actions):
            return self.table[histories[:, 0], actions]

    world = Classes()
    apart = split_history(histories, lambda h: h[:, 0], lambda h, a: world(h, a), n_actions=3)
    together = split_history(histories, lambda h: h[:, 0], world)
    assert apart.counts.shape == (3000, 3) and together.counts.shape == (3, 3)
    for one, other in zip(apart.interval("op"), together.interval("op"), strict=True):
        assert one == pytest.approx(other, abs=2e-3)


def test_where_a_resampled_impact_is_infinite_the_corrected_one_is_that_measured():
    world = np.array([[[1.0, 0], [0, 1]], [[0, 1], [1, 0]]])
    measured = SplitHistory([[30, 2], [1, 3]], world)
    assert measured.corrected("imp") == measured.imp and np.isinf(measured.interval("imp")[1])
    assert measured.corrected("op") != measured.op


def test_outcomes_are_not_taken_for_resamples_where_the_axis_of_these_is_lost():
    measured = split_history(HISTORIES, WORLD.next_probs, WORLD)
    with pytest.raises(ValueError, match=r"quantity: returned shape \(8,\) for 2000 at once"):
        measured.interval(lambda m: m.outcome_probs[0])


def test_a_policy_and_a_world_may_use_their_arrays_again():
    given = np.random.default_rng(0).integers(0, 9, (200, 1))
    answer, histories = np.empty((len(given), 3)), given.copy()

    def world(histories, actions):
        answer[:] = np.eye(3)[(histories[:, 0] + actions) % 3] * 0.7 + 0.1
        return answer

    def policy(histories):
        histories %= 3
        return -histories[:, 0] % 3

    measured = split_history(histories, policy, world)
    expected = split_history(given, lambda h: -h[:, 0] % 3, lambda h, a: world(h, a).copy())
    assert np.array_equal(histories, given) and expected.op > 0.1
    assert (measured.op, measured.imp) == (expected.op, expected.imp)


def test_a_world_has_the_same_outcomes_for_every_action():
    def world(histories, actions):
        return np.full((len(histories), 2 + actions[0]), 1 / (2 + actions[0]))

    with pytest.raises(ValueError, match=r"world: returned shape \(9, 3\) for action 1, allowed .* same K"):
        split_history(np.zeros((9, 1)), lambda h: np.arange(len(h)) % 2, world)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_many_futures_at_once_are_mixed_and_merged_as_each_by_itself(seed):
    rng = np.random.default_rng(seed)
    world, tables = rng.dirichlet(np.ones(4), (3, 2)), rng.integers(1, 9, (5, 3, 2))
    many, each = Futures.of_tables(tables, world), [SplitHistory(table, world) for table in tables]
    groups = [(0, 2), (1,), (3,)]
    for seen in (lambda f: f.mixed(), lambda f: f.merged(groups), lambda f: f.merged(groups).mixed()):
        for name in ("op", "imp"):
            assert getattr(seen(many), name) == pytest.approx(
                [getattr(seen(f), name) for f in each], abs=1e-12
            )
    assert np.shape(each[0].interval(lambda f: f.mixed().op)) == (2,)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1e-12, 1e-17, 1e-40]))
def test_a_goal_and_its_complement_imply_the_same_however_rare_failure_is(seed, rare):
    rng = np.random.default_rng(seed)
    f, d = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4), 2)
    d[:, 3] = rare
    d[:, :3] *= (1 - rare) / d[:, :3].sum(-1, keepdims=True)
    futures, goal, other = Futures([0.4, 0.6], f, d), (0, 1, 2), (3,)
    assert futures.imp_min(goal) == pytest.approx(futures.imp_min(other), rel=1e-9)
    assert futures.imp_min(goal) <= futures.imp * (1 + 1e-9)
    for each in (goal, other):
        terms = futures.decomposition(each)
        parts = sum(terms[f"imp_{term}"] for term in ("success_rate", "within_success", "within_failure"))
        assert parts == pytest.approx(futures.imp, rel=1e-9)
    found = objectives.cross_evaluate(futures, [goal, other])["imp_min"]
    assert found == pytest.approx([futures.imp_min(goal)] * 2, rel=1e-9)
    bounds = objectives.graded_bounds(futures, [1, 1, 1, 0])
    assert bounds["threshold"] == pytest.approx(bounds["chain"], rel=1e-9)
