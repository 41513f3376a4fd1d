"""Histograms: each rule on values worked out by hand, symmetries, planted goals, draws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory.histograms import CUTS, cut_at, gaps, implied, named_from_few, spreads
from splithistory.information import goal_mask, succeeding
from splithistory.objectives import every_goal

UNEVEN = np.array([0.16, 0.04, 0.4, 0.16, 0.2, 0.04])  # in falling order 0.4, 0.2, 0.16, 0.16, 0.04, 0.04
HISTOGRAMS = st.lists(st.integers(0, 30), min_size=3, max_size=8).filter(lambda counts: sum(counts) > 0)


def cut(probs, rule):
    return tuple(np.flatnonzero(cut_at(probs, CUTS[rule])).tolist())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("largest ratio", (0, 2, 3, 4)),  # 0.16 is four times 0.04
        ("largest difference", (2,)),  # 0.4 is 0.2 above the next
        ("difference of roots", (0, 2, 3, 4)),  # 0.4 − 0.2, of 0.16 and 0.04; 0.632 − 0.447 before
        ("two means", (2,)),
        ("two means of ln F", (0, 2, 3, 4)),
        ("Op", (0, 2, 3, 4)),  # kl(0.92, 4/6) = 0.182; the next best is kl(0.6, 2/6) = 0.148
    ],
)
def test_each_rule_cuts_where_it_should(rule, expected):
    assert cut(UNEVEN, rule) == expected


def test_merits_are_those_worked_out_by_hand():
    falling = np.array([0.6, 0.3, 0.1])
    assert gaps(falling) == pytest.approx([0.3, 0.2])
    assert spreads(falling) == pytest.approx([2 / 3 * 0.4**2, 2 / 3 * 0.35**2])
    assert implied(falling) == pytest.approx(
        [0.6 * np.log(1.8) + 0.4 * np.log(0.6), 0.9 * np.log(1.35) + 0.1 * np.log(0.3)]
    )


@pytest.mark.parametrize("rule", CUTS)
@settings(max_examples=50)
@given(HISTOGRAMS, st.randoms(use_true_random=False))
def test_how_outcomes_are_numbered_does_not_matter_and_equals_are_not_parted(rule, counts, random):
    probs = np.array(counts) / sum(counts)
    order = list(range(len(counts)))
    random.shuffle(order)
    taken = cut_at(probs, CUTS[rule])
    assert (cut_at(probs[order], CUTS[rule]) == taken[order]).all()
    assert taken.all() or probs[taken].min() > probs[~taken].max()


@pytest.mark.parametrize("rule", CUTS)
@pytest.mark.parametrize("counts", [[1, 2, 4, 8, 8, 15], [6, 9, 13, 19, 22, 28], [1, 2, 3, 4, 5]])
def test_where_two_cuts_are_as_good_the_numbering_does_not_decide(rule, counts):
    probs = np.array(counts) / sum(counts)
    taken = cut_at(probs, CUTS[rule])
    orders = np.array(list(itertools.permutations(range(len(counts)))))
    assert (cut_at(probs[orders], CUTS[rule]) == taken[orders]).all()


@pytest.mark.parametrize("rule", CUTS)
def test_every_goal_that_is_served_evenly_is_found(rule):
    goals = every_goal(8)
    planted = [succeeding(goal, 8, 0.3 + 0.7 * len(goal) / 8) for goal in goals]
    assert (cut_at(planted, CUTS[rule]) == [goal_mask(goal, 8) for goal in goals]).all()


@given(HISTOGRAMS)
def test_two_means_leave_the_least_squares_of_all_cuts(counts):
    falling = np.sort(np.array(counts) / sum(counts))[::-1]

    def left(n):
        return sum(part.var() * len(part) for part in (falling[:n], falling[n:]))

    least = min(left(n) for n in range(1, len(falling)))
    assert left(1 + spreads(falling).argmax()) == pytest.approx(least, abs=1e-12)


def test_what_never_happens_is_the_farthest_from_what_does_and_gives_no_warning():
    assert cut([0.5, 0.0, 0.3, 0.2, 0.0], "largest ratio") == (0, 2, 3)
    assert cut([0.5, 0.0, 0.3, 0.2, 0.0], "two means of ln F") == (0, 2, 3)


@pytest.mark.parametrize("rule", CUTS)
def test_an_even_histogram_is_taken_whole_so_it_names_no_goal(rule):
    assert cut_at(np.full(8, 1 / 8), CUTS[rule]).all()


@pytest.mark.parametrize("rule", CUTS)
def test_many_histograms_are_cut_as_one_by_one(rule):
    many = np.random.default_rng(0).dirichlet(np.ones(8), size=(3, 4))
    each = [[cut_at(probs, CUTS[rule]) for probs in row] for row in many]
    assert (cut_at(many, CUTS[rule]) == each).all()


def test_few_draws_name_a_goal_less_often_than_many_and_the_same_seed_draws_the_same():
    probs, goal = succeeding((0, 4), 8, 0.5), (0, 4)
    few, many = (named_from_few(probs, goal, "largest ratio", n, seed=0) for n in (30, 3000))
    assert few < 0.5 < many == 1
    assert few == named_from_few(probs, goal, "largest ratio", 30, seed=0)


def test_one_draw_names_the_outcome_that_was_drawn():
    share = named_from_few([0.25, 0.75], (1,), "Op", 1, seed=0, repeats=4000)
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.25 * 0.75 / 4000))


def test_bad_input_is_refused_in_one_line():
    with pytest.raises(ValueError, match=f"rule: given 'luck', allowed are {', '.join(CUTS)}"):
        named_from_few([0.5, 0.5], (0,), "luck", 10, seed=0)
    with pytest.raises(ValueError, match="n: given 0, allowed is an integer >= 1"):
        named_from_few([0.5, 0.5], (0,), "Op", 0, seed=0)
    with pytest.raises(ValueError, match=r"probs: row \[\] sums to 0.9, allowed is 1"):
        cut_at([0.5, 0.4], gaps)
