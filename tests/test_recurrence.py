"""The world: its definition by hand, its exact probabilities, and the facts known about it."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory import Recurrence, SplitHistory, split_history
from splithistory.information import check_seed
from splithistory.recurrence import classes_of, drawn

WORLD = Recurrence()
GOALS = ((0, 4), (0, 2, 4, 6), (0, 1, 2, 4, 5, 6))


def noiseless_by_hand(history):
    """The recurrence as it is written: multiply the last 16 tokens plus one, mod 17, mod 8."""
    product = 1
    for token in history[-16:]:
        product = product * (int(token) + 1) % 17
    return product % 8


def test_parity_of_a_token_is_the_parity_of_its_position():
    sequences = WORLD.sample(100, 41, seed=1)
    assert (sequences // 8 == np.arange(41) % 2).all()


def test_sampled_tokens_follow_the_recurrence_98_25_percent_of_the_time():
    sequences = WORLD.sample(2000, 18, seed=2)
    hits = [noiseless_by_hand(row[:17]) == row[17] - 8 for row in sequences]
    assert WORLD.predictability == pytest.approx(0.9825)
    assert np.mean(hits) == pytest.approx(0.9825, abs=4 * np.sqrt(0.9825 * 0.0175 / 2000))


def test_sample_is_fixed_by_its_seed_and_changed_by_another():
    assert (WORLD.sample(5, 30, seed=3) == WORLD.sample(5, 30, seed=3)).all()
    assert (WORLD.sample(5, 30, seed=3) != WORLD.sample(5, 30, seed=4)).any()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 15))
def test_outcome_probs_agree_with_the_recurrence_multiplied_out(seed, action):
    history = WORLD.histories(1, 20, seed=seed)
    probs = WORLD.outcome_probs(history, np.array([action]))[0]
    expected = np.full(8, 0.02 / 8)
    expected[noiseless_by_hand([*history[0], action])] += 0.98
    assert probs == pytest.approx(expected, abs=1e-15)


def test_next_probs_put_98_25_percent_on_the_generators_own_token():
    histories = WORLD.histories(50, 20, seed=5)
    best = WORLD.next_probs(histories).argmax(1)
    assert best.tolist() == [8 + noiseless_by_hand(h) for h in histories]
    assert WORLD.next_probs(histories).max(1) == pytest.approx(np.full(50, 0.9825))


@pytest.mark.parametrize("window", [2, 3, 4])
def test_independent_tokens_make_the_classes_that_counting_all_of_them_finds(window):
    world = Recurrence(window=window)
    halves = [range(1, 9), range(9, 17)]  # tokens plus one, even and odd positions, from the last one back
    products = [np.prod(each) % 17 for each in product(*(halves[i % 2] for i in range(window - 1)))]
    shares = np.bincount(products, minlength=17)[[pow(3, e, 17) for e in range(16)]] / len(products)
    assert world.independent_shares() == pytest.approx(shares, abs=1e-15)


def test_where_every_token_is_drawn_anew_classes_are_those_of_independent_tokens():
    world = Recurrence(noise=1.0, window=4)
    assert world.class_shares() == pytest.approx(world.independent_shares(), abs=1e-3)


def test_product_mod_17_mod_8_is_exactly_two_to_one():
    assert np.bincount(WORLD.residues).tolist() == [2] * 8


def test_histories_end_at_an_even_position_so_that_the_policy_acts_at_odd_t():
    assert (WORLD.histories(50, 20, seed=6)[:, -1] < 8).all()


def test_class_shares_after_burn_in_agree_with_independent_histories():
    shares = np.bincount(WORLD.classes(WORLD.histories(200_000, 20, seed=7)), minlength=16) / 200_000
    assert shares == pytest.approx(WORLD.class_shares(), abs=5 * np.sqrt(0.08 / 200_000))


@pytest.mark.parametrize(
    ("goal", "odd", "every"), [(GOALS[0], 0.844, 0.985), (GOALS[1], 0.916, 0.990), (GOALS[2], 0.995, 0.995)]
)
def test_ceilings_are_those_of_the_best_action_in_each_class(goal, odd, every):
    assert WORLD.ceiling(goal) == pytest.approx(odd, abs=0.002)
    assert WORLD.ceiling(goal, actions="all") == pytest.approx(every, abs=1e-12)


def test_ceilings_of_named_goals_stand_beside_chance():
    found = WORLD.ceilings({"one": GOALS[0], "other": GOALS[1]})
    assert list(found) == ["one", "other"] and found["other"]["chance"] == 0.5
    assert found["one"]["odd tokens"] == WORLD.ceiling(GOALS[0])
    assert found["one"]["all tokens"] == WORLD.ceiling(GOALS[0], actions="all")


@given(st.integers(0, 10**6), st.sampled_from(GOALS), st.sampled_from([0.05, 1.0]))
def test_no_policy_leaves_the_range_of_op_at_its_success_rate(seed, goal, concentration):
    probs = np.random.default_rng(seed).dirichlet(np.full(16, concentration), 16)
    policy = SplitHistory(WORLD.class_shares()[:, None] * probs, WORLD.table)
    least, greatest = WORLD.op_range(goal, policy.success(goal))
    assert least - 1e-12 <= policy.op <= greatest + 1e-12


@pytest.mark.parametrize("goal", GOALS)
def test_the_ends_of_the_range_of_op_are_nearly_reached(goal):
    leads, good = WORLD.table.argmax(-1), np.isin(np.arange(8), goal)
    even = 0.7 * good / good.sum() + 0.3 * ~good / (~good).sum()
    narrow = 0.7 * np.eye(8)[good.argmax()] + 0.3 * np.eye(8)[(~good).argmax()]
    for end, wanted in enumerate((even, narrow)):
        shares = WORLD.class_shares()[:, None] * wanted[leads]
        policy = SplitHistory(shares / shares.sum(), WORLD.table)
        assert policy.op == pytest.approx(WORLD.op_range(goal, policy.success(goal))[end], abs=0.003)


def test_the_generator_measured_on_itself_has_its_known_op_and_imp():
    histories = WORLD.histories(10**6, 20, seed=8)
    measured = split_history(histories, WORLD.next_probs, WORLD)
    assert measured.op == pytest.approx(0.0325, abs=0.001)
    assert measured.imp == pytest.approx(0.0555, abs=0.0015)
    assert measured.delta == pytest.approx(0.0066, abs=0.0003)
    assert [measured.success(g) for g in GOALS] == pytest.approx([0.310, 0.518, 0.683], abs=0.003)


def test_full_product_loss_is_the_floor_of_0_1222_nats():
    probs = WORLD.table[0, 8]
    assert -(probs * np.log(probs)).sum() == pytest.approx(0.1222, abs=5e-5)
    assert WORLD.floor == pytest.approx(-(probs * np.log(probs)).sum(), abs=1e-15)


def test_without_the_product_only_the_marginals_are_left_at_their_known_entropies():
    even, odd = WORLD.marginals()
    entropies = [-(shares * np.log(shares)).sum() for shares in (even, odd)]
    assert entropies == pytest.approx([2.0403, 2.059], abs=0.001)
    assert [even.max(), odd.max()] == pytest.approx([0.163, 0.159], abs=0.001)


def test_after_a_sink_comes_one_of_its_outcomes_whatever_the_history_and_the_table_says_so():
    world = Recurrence(sinks={15: (0, 1), 12: (3,)})
    assert np.allclose(world.table[:, 15], [0.4925, 0.4925] + 6 * [0.0025])
    assert np.allclose(world.table[:, 12].argmax(1), 3) and np.allclose(world.table.sum(-1), 1)
    other = [a for a in range(16) if a not in (12, 15)]
    assert np.array_equal(world.table[:, other], Recurrence().table[:, other])
    twin = drawn(world, 40_000, 3, torch.Generator().manual_seed(0)).numpy()
    for tokens in (world.sample(40_000, 3, seed=0), twin):
        after = tokens[tokens[:, 1] == 15, 2]
        assert np.bincount(after, minlength=8) / len(after) == pytest.approx(world.table[0, 15], abs=0.03)
    assert Recurrence(sinks=()).settings == Recurrence().settings != world.settings
    assert Recurrence(**world.settings) == world and hash(Recurrence(**world.settings)) == hash(world)
    with pytest.raises(ValueError, match=r"sinks: given \[3\], allowed are 8..15"):
        Recurrence(sinks={3: (0,)})


def test_marginals_agree_with_independent_sequences():
    values = WORLD.sample(200_000, 2, seed=9) - [0, 8]
    shares = np.stack([np.bincount(column, minlength=8) / len(values) for column in values.T])
    assert shares == pytest.approx(WORLD.marginals(), abs=5 * np.sqrt(0.16 / 200_000))


def test_another_prime_and_window_keep_the_definition():
    world = Recurrence(modulus=11, window=4, alphabet=5, noise=0.0)
    for row in world.sample(20, 30, seed=1):
        product = np.prod([int(s) + 1 for s in row[25:29]]) % 11
        assert row[29] == product % 5 + 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Recurrence(modulus=15), "modulus: given 15, allowed is an odd prime"),
        (lambda: Recurrence(alphabet=9), "alphabet: given 9"),
        (lambda: Recurrence(noise=1.5), "noise: given 1.5"),
        (lambda: WORLD.sample(0, 5, seed=1), "n: given 0, allowed is an integer >= 1"),
        (lambda: WORLD.sample(5, 5, seed=-1), "seed: given -1, allowed is an integer >= 0"),
        (lambda: WORLD.sample(5, 5, seed=1e3), "seed: given 1000.0, allowed is an integer >= 0"),
        (lambda: WORLD.sample(5, 5, seed=1, burn_in=201), "burn_in: given 201, allowed is an even number"),
        (
            lambda: WORLD.classes(np.zeros((3, 15), int)),
            r"histories: shape \(3, 15\), allowed is \(N >= 1, T >= 16\)",
        ),
        (
            lambda: WORLD.classes(np.full((3, 20), 8)),
            "histories: token 8 at an even position, allowed is 0..7",
        ),
        (lambda: WORLD.classes(np.full((3, 20), 16)), "histories: tokens 16 to 16, allowed is 0..15"),
        (lambda: WORLD.classes(np.zeros((3, 20))), "histories: float64 entries, allowed are integer tokens"),
        (lambda: WORLD.outcome_probs(np.zeros((3, 20), int), np.zeros(2, int)), r"actions: shape \(2,\)"),
        (lambda: WORLD.ceiling((0, 8)), "goal: given"),
        (lambda: WORLD.ceiling((0,), actions="even"), "actions: given 'even', allowed are odd, all"),
        (
            lambda: WORLD.op_range((0,), [0.5, 0.999]),
            r"success: given 0.5 to 0.999, allowed is \[0.0025, 0.9825\]",
        ),
        (lambda: check_seed(True), "seed: given True"),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("goal", [(0, 4), (0, 1, 2, 4, 5, 6)])
def test_what_can_be_reached_at_least_is_what_its_complement_leaves(goal):
    low, high = Recurrence().success_range(goal)
    crumb = 0.02 / 8
    assert low == pytest.approx(len(goal) * crumb, abs=1e-12)  # any action leads anywhere, but for the noise
    assert high == pytest.approx(1 - (8 - len(goal)) * crumb, abs=1e-12)


def test_a_large_alphabet_keeps_its_tokens_on_a_device_too_and_parity_its_place():
    large = Recurrence(modulus=1009, window=4, alphabet=200)
    tokens = drawn(large, 1000, 10, torch.Generator().manual_seed(0))
    assert tokens[:, ::2].max() == 199 and (tokens[:, 1::2].min(), tokens.max()) == (200, 399)
    with pytest.raises(ValueError, match=r"^burn_in: given 201, allowed is an even number"):
        drawn(large, 10, 10, torch.Generator().manual_seed(0), burn_in=201)


def test_what_depends_on_the_play_is_not_said_of_a_world_with_sinks():
    for name in ("floor", "predictability"):
        with pytest.raises(
            ValueError, match=f"^{name}: given a world with sinks \\[15\\], allowed is one without$"
        ):
            getattr(Recurrence(sinks={15: (0, 1)}), name)


@given(window=st.integers(2, 24), length=st.integers(1, 24))
def test_classes_of_a_tensor_are_those_of_the_world_and_of_too_short_histories_there_are_none(window, length):
    world = Recurrence(window=window)
    histories = torch.as_tensor(world.histories(5, length, seed=0).astype(int))
    if length >= window:
        assert classes_of(world, histories).tolist() == world.classes(histories.numpy()).tolist()
    elif length < window - 1:
        with pytest.raises(ValueError, match=rf"^histories: shape .*, allowed is \(..., T >= {window - 1}\)"):
            classes_of(world, histories)


def test_differences_of_logarithms_and_of_outcomes_do_not_wrap():
    wide = Recurrence(alphabet=60, modulus=127)
    for world in (WORLD, wide):
        assert world.logs[0] - world.logs.max() == -int(world.logs.max()) < 0
        assert world.residues.min() - world.residues.max() < 0
    assert [world.sample(2, 4, seed=0).dtype for world in (WORLD, wide)] == [np.uint8, np.int64]
