"""Grids: moves and places, what is tested is not trained, agents that earn the best, the lead of the coin."""

import numpy as np
import pytest

from splithistory.gridworlds import (
    COIN,
    CORNER,
    PLACES,
    CoinWorld,
    Learning,
    best_reward,
    blind_walk,
    grid,
    layouts,
    lead,
    learn,
    moves,
)
from splithistory.mdp import split_mdp
from splithistory.measure import Futures
from splithistory.planning import earned


def test_moves_go_where_they_say_and_walls_hold():
    up, down, left, right, stay = moves(3, 0.0).argmax(-1)
    assert [up[4], down[4], left[4], right[4], stay[4]] == [1, 7, 3, 5, 4]
    assert [up[2], right[2], down[6], left[6]] == [2, 2, 6, 6]  # top right, bottom left
    slipping = moves(3, 0.5)
    assert slipping[0, 4, 1] == pytest.approx(0.6) and np.allclose(slipping.sum(-1), 1)
    assert grid().n_outcomes == 9


def test_the_coin_stays_and_comes_before_the_corner():
    world = CoinWorld((4, 0, 12))
    outcome, mdp = world.mdp().outcome.argmax(1).reshape(3, 25), world.mdp()
    assert outcome[:, 4].tolist() == [COIN, CORNER, CORNER]  # the corner of a grid of five is cell 4
    assert outcome[1, [0, 20, 24, 7]].tolist() == [COIN, 2, 2, 3]
    assert np.allclose(mdp.dense().reshape(5, 3, 25, 3, 25).sum((2, 4)), 25 * np.eye(3))
    assert np.array_equal(world.seen()[[0, 25, 74]], [[-1, -1, -1, 1], [-1, -1, -1, -1], [1, 1, 0, 0]])
    assert [np.flatnonzero(row).tolist() for row in world.seen("cells")[[0, 25, 74]]] == [
        [0, 29],
        [0, 25],
        [24, 37],
    ]
    with pytest.raises(ValueError, match="kind: given 'pixels', allowed are coordinates, cells"):
        world.seen("pixels")


def test_no_place_that_is_tested_was_trained_on():
    few, many = layouts(3, 4, 8), layouts(3, 17, 8)
    assert few[0] == many[0][:4] and few[1] == many[1] and few[0][0] == 4
    assert len(set(many[0]) | set(many[1])) == 25
    assert layouts(4, 4, 8) != few
    with pytest.raises(ValueError, match="n_train: given 18, allowed is 1 to 17"):
        layouts(3, 18, 8)


def test_an_agent_learns_to_stand_on_the_coin_and_the_same_whoever_learns_beside_it():
    worlds = [CoinWorld(layouts(seed, 1, 3, size=3)[0], size=3, horizon=4) for seed in (0, 1)]
    tests = [CoinWorld(layouts(seed, 1, 3, size=3)[1], size=3, horizon=4) for seed in (0, 1)]
    how = Learning(updates=100)
    both = learn(worlds, tests, (0, 1), how, at=(0,))
    assert set(both) == {0, 100} and both[100][1].shape == (2, 27, 5)
    for i, world in enumerate(worlds):
        onto = world.on(COIN).astype(float)
        got = earned(world.mdp(), both[100][0][i], onto, final=onto) - 1 / 9  # which it has before it moves
        assert got / 4 == pytest.approx(best_reward(world), rel=0.03)
    alone = learn(worlds[1:], tests[1:], (1,), how)
    assert np.allclose(alone[100][1][0], both[100][1][1], atol=1e-2)


def small(*coins, **changed):
    return CoinWorld(coins, **{"size": 3, "horizon": 4} | changed)


@pytest.mark.parametrize(
    ("worlds", "tests", "seeds", "error"),
    [
        ([small(0), small(4), small(8)], [small(2)] * 3, (0,), "worlds: given .* allowed are 1 CoinWorlds"),
        ([small(0), small(4)], [small(2)] * 2, (0, 1, 2), "worlds: given .* allowed are 3 CoinWorlds"),
        ([], [], (0,), r"worlds: given \[\], allowed are 1 CoinWorlds"),
        ([small(0)], [small(0), small(1)], (0,), "tests: given .* allowed are 1 CoinWorlds"),
        (small(0), [small(0)], (0,), "worlds: given CoinWorld.* allowed are 1 CoinWorlds"),
        ([small(0), small(0, slip=0.9)], [small(2)] * 2, (0, 0), "worlds: given .* allowed is the same for"),
        ([small(0), small(0, horizon=1)], [small(2)] * 2, (0, 0), "worlds: given .* allowed is the same for"),
        ([small(0), small(0, 1)], [small(2)] * 2, (0, 0), "worlds: given .* allowed is the same for all"),
        ([small(0)] * 2, [small(2), small(2, size=4)], (0, 0), "tests: given .* allowed is the same for all"),
        ([small(0)], [small(2, size=4)], (0,), "tests: given size 4, allowed is that of worlds: 3"),
    ],
)
def test_no_network_learns_in_a_world_that_is_not_its_own(worlds, tests, seeds, error):
    with pytest.raises(ValueError, match=error) as refused:
        learn(worlds, tests, seeds, Learning(hidden=2, updates=1, sees="cells"))
    assert "\n" not in str(refused.value)


def test_updates_to_look_at_are_any_list_of_them():
    how, seen = Learning(hidden=2, updates=3), ([], (), [1, 2], np.array([1, 2]), np.array([1]), range(2))
    tested = small(2, size=4, slip=0.3)  # coordinates are seen in a grid of any size
    found = [set(learn([small(0)], [tested], (0,), how, at=at)) for at in seen]
    assert found == [{3}, {3}, {1, 2, 3}, {1, 2, 3}, {1, 3}, {0, 1, 3}]
    with pytest.raises(ValueError, match=r"at: given \[4\], allowed are integers in 0..3"):
        learn([small(0)], [tested], (0,), how, at=[4])


def test_the_lead_is_of_what_is_reached_more_often_than_without_the_policy():
    even = np.full(4, 1 / 4)
    seeker = Futures([1.0], [0.7, 0.1, 0.1, 0.1], [even])
    assert lead(seeker) == pytest.approx(seeker.imp_min([0])) and len(PLACES) == 4
    other = Futures([1.0], [0.1, 0.7, 0.1, 0.1], [even])
    assert lead(other) == pytest.approx(-lead(seeker))
    assert lead(Futures([1.0], [0.1, 0.1, 0.4, 0.4], [even])) == 0


def test_a_corner_is_reached_by_walking_blindly_into_walls():
    world = CoinWorld((12, 3), slip=0.0)
    measured = split_mdp(world.mdp(), blind_walk(world), method="exact")
    assert measured.success([CORNER]) == pytest.approx(1) and measured.op == measured.imp == 0
    # cells at distance 0 to 4 of the middle: 1, 4, 8, 8, 4, on it after 4, 4, 3, 2, 1 of the steps
    assert best_reward(CoinWorld((12,), slip=0.0, horizon=4)) == pytest.approx(64 / 100)
