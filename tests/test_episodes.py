"""Agents in simulators: against exact truth, against the plain loop, the jackknife, and failures."""

import functools
from concurrent.futures import ThreadPoolExecutor

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from splithistory.episodes import Binned, SplitEpisodes, compare_episodes, random_actions, split_episodes
from splithistory.mdp import from_gymnasium, split_mdp
from splithistory.measure import Futures, SplitHistory


class Guessing(gymnasium.Env):
    """A number in 0..2 is shown and has to be met for `length` steps; a miss ends the episode if it may."""

    observation_space, action_space = spaces.Discrete(3), spaces.Discrete(3)

    def __init__(self, length=1, noise=0.0, ends=False, forgetful=False):
        self.length, self.noise, self.ends, self.forgetful = length, noise, ends, forgetful

    def _draw(self):
        rng = np.random.default_rng() if self.forgetful else self.np_random
        self.number = int(rng.integers(3))
        return self.number

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.met = 0
        return self._draw(), {}

    def step(self, action):
        hit = action == self.number and self.np_random.random() >= self.noise
        self.met += hit
        return self._draw(), float(hit), self.ends and not hit, False, {"met": self.met}


def met(observation, info):
    return info["met"]


def meets(observation):
    return observation


guessing = {"n_outcomes": 2, "horizon": 1, "n_sequences": 60, "n_seeds": 60, "seed": 0}


def length(observation, info):
    return info["episode"]["l"]


CART = {
    "n_outcomes": 3,
    "horizon": 50,
    "n_sequences": 6,
    "n_seeds": 5,
    "n_episodes": 20,
    "seed": 0,
    "idle": 0,
}
fallen = Binned(length, (15, 40))


def upright(observation):
    return int(observation[2] + 0.3 * observation[3] > 0)


# --- the measure ------------------------------------------------------------------------------------------


def test_one_step_agrees_with_split_history_of_the_same_world():
    measured = split_episodes(functools.partial(Guessing, noise=0.2), meets, met, **guessing)
    world = np.eye(3)[:, :, None] * [-0.8, 0.8] + [1.0, 0.0]
    truth = SplitHistory(np.eye(3), world)
    for quantity in ("op", "imp", "delta", lambda f: f.success([1]), lambda f: f.imp_min([1])):
        low, high = measured.interval(quantity, 0.999)
        assert low < (getattr(truth, quantity) if isinstance(quantity, str) else quantity(truth)) < high
        assert high - low < 0.6


def on_lake(observation, info):
    return 0 if observation in (5, 7, 11, 12) else 2 if observation == 15 else 1


def test_many_steps_agree_with_the_exact_measure_of_the_same_world():
    lake = functools.partial(gymnasium.make, "FrozenLake-v1", is_slippery=True, success_rate=0.8)
    plan = np.array([1, 2, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0])  # what is played in each cell
    labels = np.array([on_lake(state, {}) for state in range(16)])
    truth = split_mdp(from_gymnasium(lake(), labels, horizon=12), plan, seed=0, n_sequences=3000)
    measured = split_episodes(
        lake, plan.__getitem__, on_lake, n_outcomes=3, horizon=12, n_sequences=60, n_seeds=60, seed=1, idle=0
    )
    low, high = measured.interval("op", 0.999)
    assert low < truth.op < high and high - low < 0.6
    np.testing.assert_allclose(measured.outcome_probs, truth.outcome_probs, atol=0.12)


def test_a_world_without_randomness_has_no_op_and_no_imp_whatever_is_played():
    lake = functools.partial(gymnasium.make, "FrozenLake-v1", is_slippery=False)
    policy = np.array([1, 2, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0]).__getitem__
    sizes = {"n_outcomes": 3, "horizon": 8, "n_sequences": 5, "n_seeds": 4}
    measured = split_episodes(lake, policy, on_lake, **sizes, seed=0)
    assert (measured.op, measured.imp, measured.unseen) == (0, 0, 0)
    assert measured.interval("op") == measured.interval("imp") == (0, 0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_jackknife_leaves_out_each_episode_sequence_and_seed(seed):
    rng = np.random.default_rng(seed)
    own, replays = rng.integers(0, 3, 12), rng.integers(0, 3, (5, 7))
    measured = SplitEpisodes(own, replays, 3)

    def futures(own, replays, half=0.0):
        counts = np.array([np.bincount(row, minlength=3) for row in replays])
        shares = (counts + half * measured._together) / (replays.shape[1] + half)
        return Futures(
            np.full(len(shares), 1 / len(shares)), np.bincount(own, minlength=3) / len(own), shares
        )

    left = [
        [(np.delete(own, e), replays) for e in range(12)],
        [(own, np.delete(replays, i, 0)) for i in range(5)],
        [(own, np.delete(replays, j, 1)) for j in range(7)],
    ]
    for half, quantity in ((0, lambda f: f.op), (0.5, lambda f: f.imp), (0, lambda f: f.imp_min([0]))):
        whole = quantity(futures(own, replays, half))
        values = [np.array([quantity(futures(*pair, half)) for pair in draw]) for draw in left]
        bias = sum((len(v) - 1) * (v.mean() - whole) for v in values)
        variance = sum((len(v) - 1) * v.var() for v in values)
        assert quantity(measured) == pytest.approx(whole, abs=1e-12)
        assert measured.corrected(quantity) == pytest.approx(whole - bias, abs=1e-10)
        low, high = measured.interval(quantity)
        assert high - low == pytest.approx(2 * 2.776445 * variance**0.5, rel=1e-5)  # t of 4 degrees


def crossed(n_worlds, n=100):
    """Measurements of one policy in a world of one step that is known, and the truth."""
    rng, world = np.random.default_rng(0), np.random.default_rng(1).dirichlet(np.ones(3), size=(4, 4))
    truth = SplitHistory(np.eye(4), world)
    for _ in range(n_worlds):
        own, sequences, states = rng.integers(4, size=5 * n), rng.integers(4, size=n), rng.integers(4, size=n)
        edges = rng.random(n)[:, None]  # the noise is fixed by the seed, whatever is played
        replays = [(edges > world[states, a].cumsum(-1)).sum(-1) for a in sequences]
        outcomes = (rng.random((5 * n, 1)) > world[own, own].cumsum(-1)).sum(-1)
        yield SplitEpisodes(outcomes, replays, 3), truth


def test_intervals_cover_and_the_bias_is_gone():
    found = [(m.interval("op"), m.interval("imp"), m.imp, m.corrected("imp"), t) for m, t in crossed(120)]
    for q, name in enumerate(("op", "imp")):
        covered = np.mean([ends[q][0] <= getattr(ends[-1], name) <= ends[q][1] for ends in found])
        assert 0.9 <= covered <= 0.99, name
    raw, corrected = (np.mean([f[i] - f[-1].imp for f in found]) for i in (2, 3))
    assert raw > 0.01 > 2 * abs(corrected)


def test_an_outcome_that_replays_never_showed_is_told_of():
    measured = SplitEpisodes([0, 1, 1, 1], [[0, 0, 0], [0, 1, 0]], 2)
    assert measured.unseen == pytest.approx(0.75 / 2)
    assert np.isfinite(measured.imp)


def never_met():
    """Of 100 own episodes 30 end in what no replay ever did."""
    return SplitEpisodes(np.repeat([0, 1], [30, 70]), np.ones((50, 20), int), 2)


def test_what_is_made_of_futures_keeps_an_impact_without_accidental_infinities():
    measured = never_met()
    assert np.isfinite(measured.imp)
    for same in (measured.merged([[0], [1]]), measured.mixed(), measured.reweighted(measured.action_probs)):
        assert same.imp == pytest.approx(measured.imp, abs=1e-12)
        assert same.op == pytest.approx(measured.op, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_outcomes_seen_less_sharply_never_raise_the_impact_of_an_agent_in_a_simulator(seed):
    rng = np.random.default_rng(seed)
    rare = rng.integers(1, 3, (20, 5)) * (rng.random((20, 5)) > 0.02)
    measured = SplitEpisodes(rng.integers(0, 3, 50), rare, 3)
    coarse = measured.merged([[0], [1, 2]])
    assert coarse.imp <= measured.imp + 1e-12 and coarse.mixed().imp <= coarse.imp + 1e-12
    assert coarse.success([0]) == pytest.approx(measured.success([0]), abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_infinite_quantity_has_infinite_ends_and_no_warning():
    measured = never_met()

    def several(futures):
        return np.stack([futures.imp_min([0]), -futures.imp_min([0]), futures.imp], -1)

    low, high = measured.interval(several)
    assert low[:2].tolist() == high[:2].tolist() == [np.inf, -np.inf]
    assert (low[2], high[2]) == pytest.approx(measured.interval("imp"))
    assert measured.interval(lambda f: f.imp_min([0])) == (np.inf, np.inf)
    assert measured.corrected(several)[:2].tolist() == [np.inf, -np.inf]


@pytest.mark.filterwarnings("error")
def test_a_quantity_that_one_replay_keeps_finite_has_an_infinite_upper_end():
    replays = np.ones((5, 4), int)
    replays[0, 0] = 0  # without its seed, or its sequence, the goal is never met
    measured = SplitEpisodes([0, 0, 1, 1], replays, 2)
    low, high = measured.interval(lambda f: f.imp_min([0]))
    assert low < measured.imp_min([0]) < high == np.inf
    assert measured.corrected(lambda f: f.imp_min([0])) == measured.imp_min([0])
    low, high = measured.interval(lambda f: -f.imp_min([0]))
    assert low == -np.inf and np.isfinite(high)


def test_two_identities_hold():
    measured = next(iter(crossed(1)))[0]
    terms = measured.decomposition([0])
    parts = (
        terms["op_success_rate"] + terms["op_within_success"] + terms["op_within_failure"] - terms["delta"]
    )
    assert measured.op == pytest.approx(parts, abs=1e-12)
    assert measured.imp == pytest.approx(sum(v for k, v in terms.items() if k.startswith("imp")), abs=1e-12)
    assert {"op_low", "imp_high", "s_low", "imp_min"} <= set(measured.scalars([0]))


# --- playing ----------------------------------------------------------------------------------------------


def test_the_vectorised_form_measures_what_the_loop_measures():
    sizes = CART | {"n_sequences": 30, "n_seeds": 40}
    many = split_episodes("CartPole-v1", upright, fallen, **sizes)
    loop = split_episodes(functools.partial(gymnasium.make, "CartPole-v1"), upright, fallen, **sizes)
    np.testing.assert_array_equal(many.outcomes, loop.outcomes)  # closed loops are played in the same way
    assert not np.array_equal(many.replays, loop.replays)
    shares = [np.bincount(m.replays.ravel(), minlength=3) / m.replays.size for m in (many, loop)]
    np.testing.assert_allclose(*shares, atol=0.1)


def test_an_ended_episode_rests_and_the_whole_trajectory_can_be_looked_at():
    def path(observations, info):
        assert len(observations) == info["episode"]["l"] + 1
        return int(max(abs(o[2]) for o in observations[:-1]) <= 0.2095 < abs(observations[-1][2]))

    for make in ("CartPole-v1", functools.partial(gymnasium.make, "CartPole-v1")):
        measured = split_episodes(make, lambda _: 1, path, **CART | {"n_outcomes": 2}, trajectory=True)
        assert measured.replays.all() and measured.outcomes.all()  # pushed one way, all fall, and once


def test_the_same_seed_gives_the_same_and_another_another():
    found = [split_episodes("CartPole-v1", upright, fallen, **CART | {"seed": s}) for s in (0, 0, 1)]
    assert np.array_equal(found[0].replays, found[1].replays)
    assert not np.array_equal(found[0].replays, found[2].replays)


class Counting:
    """A policy with a memory: a plan, which counts its steps."""

    def __init__(self, plan):
        self.plan, self.step, self.resets = plan, 0, 0

    def reset(self):
        self.step, self.resets = 0, self.resets + 1

    def __call__(self, observation):
        self.step += 1
        return self.plan[self.step - 1]


def test_a_policy_with_a_memory_begins_each_episode_afresh():
    policy = Counting([0, 1, 2, 0])
    sizes = {"n_outcomes": 5, "horizon": 4, "n_sequences": 3, "n_seeds": 4, "n_episodes": 6, "seed": 0}
    measured = split_episodes(functools.partial(Guessing, length=4), policy, met, **sizes)
    assert policy.resets == 9
    assert (measured.replays == measured.replays[0]).all()  # the same actions, the same episodes


def test_a_plan_goes_on_where_its_own_episode_ended():
    plan, asked = [0, 1, 2, 0], []

    def goes_on(step):
        asked.append(step)
        return plan[step]

    sizes = {"n_outcomes": 5, "horizon": 4, "n_sequences": 8, "n_seeds": 9, "n_episodes": 6, "seed": 0}
    ending = functools.partial(Guessing, length=4, ends=True)
    measured = split_episodes(ending, Counting(plan), met, **sizes, idle=goes_on)
    assert (measured.replays == measured.replays[0]).all() and set(asked) <= {1, 2, 3} and asked


class Point(gymnasium.Env):
    """A point that is pushed: continuous actions."""

    observation_space = spaces.Box(-9, 9, (1,), dtype=np.float32)
    action_space = spaces.Box(-1, 1, (1,), dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=1)
        return self.x.copy(), {}

    def step(self, action):
        assert action.dtype == np.float32
        self.x = self.x + action
        return self.x.copy(), 0.0, False, False, {}


def test_continuous_actions_and_binned_outcomes():
    place = Binned(lambda observation, info: observation[0], [-0.5, 0.5])
    action = np.zeros(1)

    def pulls(observation):
        action[:] = np.clip(-observation, -1, 1)  # one array, used again and again
        return action

    sizes = {"n_outcomes": place.n_outcomes, "horizon": 2, "n_sequences": 30, "n_seeds": 30, "seed": 0}
    measured = split_episodes(Point, pulls, place, **sizes)
    assert measured.outcome_probs[1] > 0.95 > 0.6 > measured.mixed().counterfactual_probs[0, 1]
    assert measured.interval("op")[0] > 0.3


def test_another_agent_as_the_comparison():
    sizes = {"n_outcomes": 2, "horizon": 1, "n_episodes": 400, "seed": 0}
    chance = random_actions(Guessing.action_space, seed=1)
    measured = compare_episodes(functools.partial(Guessing, noise=0.2), meets, chance, met, **sizes)
    f, r = np.array([0.2, 0.8]), np.array([1 - 0.8 / 3, 0.8 / 3])
    for quantity, truth in (
        ("op", (f * np.log(f)).sum() - (r * np.log(r)).sum()),
        ("imp", f @ np.log(f / r)),
    ):
        low, high = measured.interval(quantity, 0.999)
        assert low < truth < high and high - low < 0.5
    same = compare_episodes(Guessing, meets, meets, met, **sizes)
    never = compare_episodes(Guessing, meets, lambda number: (number + 1) % 3, met, **sizes)
    assert never.interval("op") == (0, 0) and never.unseen == 1
    assert same.interval("op") == same.interval("imp") == (0, 0)


# --- sharing out ------------------------------------------------------------------------------------------


def test_workers_find_the_same_in_the_same_order():
    here = split_episodes("CartPole-v1", upright, fallen, **CART)
    with ThreadPoolExecutor(2) as executor:
        threads = split_episodes("CartPole-v1", upright, fallen, **CART, workers=executor)
    done = []
    there = split_episodes(
        "CartPole-v1", upright, fallen, **CART, workers=1, progress=lambda *now: done.append(now)
    )
    assert np.array_equal(here.replays, threads.replays) and np.array_equal(here.replays, there.replays)
    assert [d[0] for d in done] == [2, 4, 5, 6] and {d[1] for d in done} == {6}


def test_progress_is_told_after_each_sequence():
    done = []
    split_episodes("CartPole-v1", upright, fallen, **CART, progress=lambda *now: done.append(now))
    assert done == [(n, 6) for n in range(1, 7)]


# --- failures ---------------------------------------------------------------------------------------------


def refused(match, make_env=Guessing, policy=meets, outcome=met, **changes):
    with pytest.raises(ValueError, match=match) as error:
        split_episodes(make_env, policy, outcome, **guessing | {"n_sequences": 5, "n_seeds": 4} | changes)
    assert "\n" not in str(error.value)


def test_an_environment_that_its_seed_does_not_fix():
    refused(
        "the seed must fix the environment",
        functools.partial(Guessing, forgetful=True, noise=0.5),
        n_sequences=30,
    )


def test_a_recorded_sequence_that_is_too_short_and_no_idle_action():
    ends = functools.partial(Guessing, length=3, ends=True)
    refused(
        "idle: none given, and an episode goes on after the",
        ends,
        lambda _: 0,
        horizon=3,
        n_outcomes=4,
        n_sequences=20,
    )


@pytest.mark.parametrize("found", [2, -1, 0.5, np.nan, None, "1", np.zeros(2)])
def test_an_outcome_that_is_none(found):
    refused("outcome: returned .* allowed is an integer in 0..1", outcome=lambda observation, info: found)


@pytest.mark.parametrize("found", [True, np.True_, np.int8(1), 1.0])
def test_an_outcome_may_be_any_number_that_is_one(found):
    measured = split_episodes(
        Guessing, meets, lambda observation, info: found, **guessing | {"n_sequences": 2}
    )
    assert measured.outcomes.all()


@pytest.mark.parametrize("action", [3, -1, 0.5, "left", np.zeros(2)])
def test_an_action_outside_the_space(action):
    refused("policy: action .* allowed is one of Discrete", policy=lambda observation: action)


def test_an_idle_action_outside_the_space():
    ends = functools.partial(Guessing, length=3, ends=True)
    wrong = {"horizon": 3, "n_outcomes": 4, "n_sequences": 20, "idle": 7}
    refused("idle: action 7, allowed is one of Discrete", ends, lambda _: 0, **wrong)


def test_an_idle_action_outside_the_space_that_no_episode_comes_to_need():
    refused("idle: action 7, allowed is one of Discrete", idle=7)


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": 0},
        {"n_sequences": 0},
        {"n_sequences": 1},  # one alone does not tell how much the draw of sequences matters
        {"n_seeds": 1},
        {"n_episodes": 1},
        {"n_outcomes": 1},
        {"seed": -1},
        {"workers": -1},
        {"workers": 0.5},
    ],
)
def test_sizes_that_are_not_allowed(wrong):
    refused(f"{next(iter(wrong))}: given {next(iter(wrong.values()))}, allowed", **wrong)


def test_outcomes_that_no_bin_holds_would_only_dilute_what_is_measured():
    binned = Binned(lambda observation, info: 0.0, [1, 2, 3])
    message = "^n_outcomes: given 40, allowed is 4, that of the bins$"
    refused(message, outcome=binned, n_outcomes=40)
    with pytest.raises(ValueError, match=message):
        compare_episodes(Guessing, meets, meets, binned, n_outcomes=40, horizon=1, seed=0)


def test_workers_cannot_be_handed_what_has_no_name():
    refused("workers: .* allowed are an environment and an outcome", outcome=lambda o, i: 0, workers=1)


@pytest.mark.parametrize(
    ("outcomes", "replays", "message"),
    [
        ([0], [[0, 1]], "outcomes: shape"),
        ([0, 1], [0, 1], "replays: shape"),
        ([0, 1], [[0]], "replays: shape"),
        ([0, 2], [[0, 1]], "outcomes: given 0 to 2"),
        ([0, 1], [[0.0, 1.0]], "replays: given .* of float64"),
    ],
)
def test_tables_that_are_none(outcomes, replays, message):
    with pytest.raises(ValueError, match=message):
        SplitEpisodes(outcomes, replays, 2)


def test_a_quantity_that_loses_the_leading_axis():
    with pytest.raises(ValueError, match="quantity: returned shape"):
        next(iter(crossed(1)))[0].interval(lambda futures: np.sum(futures.op))
