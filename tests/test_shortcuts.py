"""Readers of a few pairs of tokens: Bayes' rule multiplied out, and both ends of what can be known."""

import numpy as np
import pytest

from splithistory import Recurrence, SplitHistory, information, shortcuts

WORLD = Recurrence()
HISTORIES = WORLD.histories(4000, 20, seed=1)


def by_hand(history, pairs, interventions=()):
    """P(x) after one history, products multiplied out modulo 17, all of them equally likely before."""
    random = [*interventions, *4 * [0.0]]
    tells = np.full((17, 8), 0.02 / 8)
    tells[np.arange(17), np.arange(17) % 8] += 0.98
    found = np.zeros(8)
    for product in range(1, 17):  # the one that determines the next token
        earlier, likely = product, 1.0
        for lag in range(1, pairs + 1):
            enters, leaves = int(history[-lag]), int(history[-lag - 16])
            earlier = earlier * (leaves + 1) * pow(enters + 1, -1, 17) % 17
            likely *= (1 - random[lag - 1]) * tells[earlier, enters % 8] + random[lag - 1] / 8
        found += likely * tells[product]
    return found / found.sum()


@pytest.mark.parametrize("interventions", [(), (1.0,), (0.3, 0.0, 0.3)])
@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_a_reader_of_pairs_follows_bayes_rule(pairs, interventions):
    few = HISTORIES[:20]
    found = shortcuts.next_token(WORLD, few, pairs, prior=False, interventions=interventions)
    expected = [by_hand(row, pairs, interventions) for row in few]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


BEST = (
    WORLD.table[:, 8:, [0, 4]].sum(-1).argmax(1)[WORLD.classes(HISTORIES)] + 8
)  # the best odd token for two
TRUTH = SplitHistory(np.eye(16)[BEST], WORLD.table[WORLD.classes(HISTORIES)])


def said(pairs, **known):
    """What a reader says of who plays these."""
    return SplitHistory(np.eye(16)[BEST], shortcuts.answers(WORLD, HISTORIES, pairs, **known))


def test_answers_are_what_is_expected_after_each_action_on_each_history():
    table = shortcuts.answers(WORLD, HISTORIES[:50], 2, interventions=[0.5])
    assert table.shape == (50, 16, 8)
    for a in (3, 11):
        past = np.column_stack([HISTORIES[:50], np.full(50, a)])
        expected = shortcuts.next_token(WORLD, past, 2, prior=False, interventions=[0.5])
        assert np.array_equal(table[:, a], expected)


def test_a_reader_of_one_pair_takes_an_action_for_evidence_and_says_the_policy_widens_the_future():
    assert said(1).op < -0.1 and TRUTH.op > 0.4
    assert said(1, interventions=[1.0]).op == pytest.approx(0, abs=1e-12)  # of a cause alone it knows nothing


@pytest.mark.parametrize("pairs", [2, 3])
def test_who_takes_the_action_for_a_cause_comes_nearer_the_truth(pairs):
    assert said(pairs).op < said(pairs, interventions=[1.0]).op - 0.01 < TRUTH.op


def test_a_reader_of_nothing_knows_the_shares_and_one_of_everything_the_world():
    products = WORLD.next_probs(HISTORIES)[:, 8:]
    nothing = shortcuts.next_token(WORLD, HISTORIES)
    assert nothing == pytest.approx(np.tile(products.mean(0), (len(HISTORIES), 1)), abs=1e-12)
    assert shortcuts.next_token(WORLD, HISTORIES, known=16) == pytest.approx(products, abs=1e-12)
    assert shortcuts.next_token(WORLD, HISTORIES, 2, known=16) == pytest.approx(products, abs=1e-12)


def test_the_more_a_reader_knows_the_less_it_pays_down_to_the_floor():
    windows = WORLD.histories(4000, 21, seed=2)
    floor = float(information.entropy(WORLD.table[0, 8]))
    for known in ([{"pairs": n} for n in range(5)], [{"known": 2**n} for n in range(5)]):
        paid, halves = zip(
            *(shortcuts.cross_entropy(WORLD, [windows], **knows) for knows in known), strict=True
        )
        assert list(paid) == sorted(paid, reverse=True) and abs(paid[-1] - floor) < 2 * halves[-1]


def test_sets_of_windows_count_alike_and_their_errors_are_independent():
    sets = [WORLD.histories(500, 21, seed=3), WORLD.sample(1000, 22, seed=4)]
    (one, e), (two, f) = (shortcuts.cross_entropy(WORLD, [each], 1) for each in sets)
    both = shortcuts.cross_entropy(WORLD, sets, 1)
    assert both == pytest.approx(((one + two) / 2, np.hypot(e, f) / 2))


def test_tokens_that_do_not_hold_the_pairs_are_named():
    with pytest.raises(ValueError, match=r"tokens: shape \(4000, 20\), allowed is \(N, T >= 21\)"):
        shortcuts.next_token(WORLD, HISTORIES, 5)


def test_an_intervention_that_is_no_probability_is_named():
    with pytest.raises(ValueError, match="interventions: "):
        shortcuts.next_token(WORLD, HISTORIES, 1, interventions=[1.2])
