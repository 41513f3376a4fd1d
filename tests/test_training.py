"""Training: learning happens, members are independent, seeds are obeyed, divergence is loud."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conftest import GOAL, SHORT, SMALL, TUNE, double, starting_weights

from splithistory import Recurrence, engine, split_history
from splithistory.data import TEST_SEED, Interventions, data_seed, training_windows, windows
from splithistory.engine import Diverged
from splithistory.recurrence import drawn
from splithistory.training import (
    MAINTENANCE,
    Pretraining,
    Reinforcement,
    _choice,
    _draws,
    _Scene,
    evaluate,
    pretrain,
    reinforce,
)
from splithistory.transformer import Architecture, action_logits, as_policy, choose, initialise, stream


def assert_close(a, b, tolerance):
    for name in a:
        assert np.abs(a[name] - b[name]).max() <= tolerance, name


def test_a_member_pretrains_the_same_whoever_shares_the_ensemble():
    together = pretrain(SMALL, SHORT, [0, 1, 2], dtype=torch.float64)
    alone = pretrain(SMALL, SHORT, [1], dtype=torch.float64)
    assert_close(together.member(1).weights, alone.weights, 1e-7)  # handed out in float32
    assert np.abs(together.curves["test_loss"][1] - alone.curves["test_loss"][0]).max() < 1e-9


def test_a_member_is_reinforced_the_same_whoever_shares_the_ensemble():
    together = reinforce(SMALL, TUNE, double([0, 1, 2]), [0, 1, 2], 3 * [GOAL])
    alone = reinforce(SMALL, TUNE, double([1]), [1], [GOAL])
    assert_close(together.member(1).weights, alone.weights, 1e-7)
    assert np.abs(together.curves["even_loss"][1] - alone.curves["even_loss"][0]).max() < 1e-9


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_does_not(tried):
    first, second, other = (pretrain(SMALL, SHORT, [seed]) for seed in (0, 0, 1))
    assert all(np.array_equal(first.weights[k], second.weights[k]) for k in first.weights)
    assert not np.array_equal(first.weights["readout.weight"], other.weights["readout.weight"])
    tried["repeated trainings"] += 3


def test_pretraining_beats_knowing_the_parity_alone():
    config = Pretraining(steps=400, train_size=2**15, test_size=1024, evaluations=4, dropout=0.0)
    curves = pretrain(Architecture(32, 2), config, [0]).curves
    assert curves["test_loss"][0, -1] < 1.2  # parity alone leaves 2.05
    assert (np.diff(curves["test_loss"][0]) < 0.1).all()


def test_reinforcement_raises_success_above_the_policy_it_started_from():
    architecture = Architecture(32, 1)
    pretrained = pretrain(
        architecture, Pretraining(steps=100, train_size=2**13, test_size=256, evaluations=1), [0]
    )
    config = Reinforcement(updates=100, pool=2**13, test_size=512, evaluations=4, rate=3e-3)
    curves = reinforce(architecture, config, pretrained.weights, [0], [GOAL]).curves
    assert curves["success_greedy"][0, -1] > curves["success_greedy"][0, 0] + 0.02


def test_each_member_is_reinforced_on_its_own_goal_as_it_would_be_alone():
    goals, start = [GOAL, (0, 1, 2)], double([0, 1])
    together = reinforce(SMALL, TUNE, start, [0, 1], goals)
    for e, goal in enumerate(goals):
        own = {k: v[e : e + 1] for k, v in start.items()}
        alone = reinforce(SMALL, TUNE, own, [e], [goal])
        assert_close(together.member(e).weights, alone.weights, 1e-7)
        assert np.abs(together.curves["success"][e, 1:] - alone.curves["success"][0, 1:]).max() < 1e-9


def test_sequences_drawn_for_a_gpu_follow_the_recurrence_as_those_of_the_world_do():
    world = Recurrence()
    tokens = drawn(world, 40_000, 40, stream(0, "windows"))
    assert tokens.shape == (40_000, 40) and tokens.dtype == torch.uint8
    tokens = tokens.numpy()
    assert (tokens[:, ::2] < 8).all() and (tokens[:, 1::2] >= 8).all()
    follows = world.noiseless_next(tokens[:, :-1]) == tokens[:, -1] % 8
    assert follows.mean() == pytest.approx(world.predictability, abs=0.004)  # six standard errors
    shares = np.bincount(world.classes(tokens[:, :37]), minlength=16) / len(tokens)
    assert np.abs(shares - world.class_shares()).max() < 0.008
    wrong = tokens[:, -1][~follows] % 8  # noise is uniform, and hits the right value one time in eight
    assert np.abs(np.bincount(wrong, minlength=8) / len(wrong) - 1 / 8).max() < 0.08


def follows(world, tokens):
    """Share of windows whose last token is what the recurrence makes of those before."""
    return (world.noiseless_next(tokens[:, :-1]) == tokens[:, -1] % 8).mean()


def test_interventions_are_played_at_odd_positions_and_the_sequence_goes_on_from_them_or_does_not():
    world, n = Recurrence(noise=0.0), 4000
    plain, answered, ignored = (
        windows(world, n, 20, 0, "cpu", told).numpy()
        for told in (Interventions(), Interventions(0.5), Interventions(0.5, consequence=False))
    )
    for tokens, expected in ((plain, 1.0), (answered, 1.0), (ignored, 1 / 8)):
        even, odd = tokens[: n // 2], tokens[n // 2 :]  # by the position of the last token
        assert (even[:, -1] < 8).all() and (odd[:, -1] >= 8).all()
        assert follows(world, even) == pytest.approx(expected, abs=0.06)
    # an intervention is the sequence's own token one time in eight
    assert follows(world, answered[n // 2 :]) == pytest.approx(0.5 + 0.5 / 8, abs=0.04)


def test_a_policy_of_odd_tokens_plays_no_other():
    trained = reinforce(SMALL, replace(TUNE, odd_only=True), starting_weights([0]), [0], [GOAL])
    assert (trained.curves["wrong_parity"][0, 1:] == 0).all()
    assert (trained.curves["wrong_parity_greedy"] == 0).all()
    assert np.isfinite(trained.curves["even_loss"]).all()


def test_mixed_maintenance_is_half_of_the_sequence_and_half_of_what_the_model_did():
    config = replace(TUNE, maintenance="mixed", maintenance_batch=9)
    scene = _Scene(Recurrence(), config, SMALL, [0], [GOAL], "cpu")
    weights = {k: torch.from_numpy(v) for k, v in starting_weights([0]).items()}
    _, kept, _ = scene.loss(weights)
    own = {tuple(row) for row in scene.even_windows[0].tolist()}
    assert [tuple(row) in own for row in kept[0].tolist()] == 5 * [True] + 4 * [False]


def test_reported_success_is_what_the_measure_finds_on_the_same_histories():
    world = Recurrence()
    trained = reinforce(SMALL, TUNE, starting_weights([0]), [0], [GOAL], world=world)
    held_out = world.histories(TUNE.test_size, 20, seed=data_seed(TEST_SEED, "act"))
    measured = split_history(held_out, as_policy(trained.weights, SMALL), world)
    assert measured.success(GOAL) == pytest.approx(trained.curves["success_greedy"][0, -1], abs=1e-6)


def test_success_counts_only_successful_draws_and_is_unbiased():
    probs = torch.tensor([[[0.5, 0.3, 0.2]]])
    success = torch.tensor([[[0.9, 0.1, 0.0]]])
    draws = [torch.stack(_draws(probs, success, 50, [stream(k, "x")])) for k in range(200)]
    drawn, won = torch.stack(draws).mean(0)[:, 0, 0]
    assert drawn.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.02)
    assert won.tolist() == pytest.approx([0.45, 0.03, 0.0], abs=0.02)
    assert won[2] == 0


def test_what_has_probability_0_is_not_drawn_even_where_a_uniform_draw_is_0(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    probs, success = torch.tensor([[[0.0, 0.4, 0.6]]]), torch.ones(1, 1, 3)
    drawn, won = _draws(probs, success, 5, [stream(0, "x")])
    assert drawn.tolist() == won.tolist() == [[[0, pytest.approx(1), 0]]]
    assert _choice(probs, [stream(0, "x")]).tolist() == [[1]]


def test_half_of_the_windows_predict_even_positions_and_half_odd_ones():
    windows = training_windows(100, 20, 1)
    assert (windows[:50, -1] < 8).all() and (windows[50:, -1] >= 8).all()


def test_policy_at_temperature_1_is_the_softmax_whose_largest_entry_temperature_0_plays():
    weights, histories = starting_weights([0, 1]), Recurrence().histories(30, 20, seed=1)
    probs = as_policy(weights, SMALL, member=1, temperature=1.0)(histories)
    assert probs.sum(1) == pytest.approx(np.ones(30))
    assert (probs.argmax(1) == as_policy(weights, SMALL, member=1)(histories)).all()


def test_evaluation_of_guessing_weights_is_ln_16():
    weights = {k: torch.zeros_like(v) for k, v in initialise(SMALL, [0]).items()}
    loss, _ = evaluate(weights, SMALL, torch.as_tensor(training_windows(64, 20, 1)))
    assert loss[0] == pytest.approx(np.log(16), abs=1e-6)


def test_divergence_names_the_step_and_the_member():
    with pytest.raises(
        Diverged, match=r"pretraining: train_loss of member [01] \(seed [89]\) is .* at step \d+"
    ):
        pretrain(
            SMALL,
            Pretraining(steps=50, batch=32, rate=1e6, warmup=1, train_size=64, test_size=32, evaluations=1),
            [8, 9],
        )


def test_a_nan_in_one_member_is_laid_to_that_member():
    weights = starting_weights([0, 1])
    weights["readout.bias"][1] = np.nan
    with pytest.raises(Diverged, match=r"member 1 \(seed 1 of goal \{0, 4\}\) is nan nats at step 0"):
        reinforce(SMALL, TUNE, weights, [0, 1], 2 * [GOAL])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reinforce(SMALL, TUNE, starting_weights([0]), [0], [(0, 9)]),
            r"goal: given \[0, 9\], allowed are outcomes in 0..7",
        ),
        (lambda: Pretraining(steps=0), "steps: given 0, allowed is an integer >= 1"),
        (lambda: Pretraining(batch=1e3), "batch: given 1000.0, allowed is an integer >= 1"),
        (
            lambda: Reinforcement(arm="best"),
            "arm: given 'best', allowed are sampled, exact",
        ),
        (
            lambda: Pretraining(precision="float16"),
            "precision: given 'float16', allowed are float32, bfloat16",
        ),
        (lambda: Pretraining(rate=-1.0), "rate: given -1.0, allowed is a positive number"),
        (lambda: pretrain(SMALL, SHORT, [-1]), "seed: given -1, allowed is an integer >= 0"),
        (lambda: pretrain(SMALL, SHORT, []), "seeds: none given"),
        (
            lambda: reinforce(Architecture(32, 2), TUNE, starting_weights([0]), [0], [GOAL]),
            "weights: embedding.weight is",
        ),
        (
            lambda: reinforce(SMALL, TUNE, starting_weights([0, 1]), [0, 1], [GOAL]),
            "goals: given 1, allowed are as many as seeds: 2",
        ),
        (lambda: choose(torch.zeros(1, 16), -1), "temperature: given -1"),
        (lambda: Reinforcement(odd_only="no"), "odd_only: given 'no', allowed are True and False"),
        (lambda: Reinforcement(odd_only=2), "odd_only: given 2, allowed are True and False"),
        (lambda: Reinforcement(may_forget="no"), "may_forget: given 'no', allowed are True and False"),
        (lambda: Reinforcement(maintenance_falls=3), "maintenance_falls: given 3, allowed are True and"),
        (lambda: Pretraining(consequence="no"), "consequence: given 'no', allowed are True and False"),
        (lambda: Reinforcement(consequence="no"), "consequence: given 'no', allowed are True and False"),
        (
            lambda: pretrain(SMALL, SHORT, [0], world=Recurrence(modulus=37, alphabet=16)),
            "n_tokens: given 16, allowed are the world's 32",
        ),
        (
            lambda: reinforce(
                SMALL, TUNE, starting_weights([0]), [0], [(0, 2)], world=Recurrence(alphabet=4)
            ),
            "n_tokens: given 16, allowed are the world's 8",
        ),
        (
            lambda: reinforce(SMALL, TUNE, starting_weights([0]), [0], [GOAL], world=Recurrence(window=22)),
            "window: given 22, allowed is an integer in 2..21",
        ),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_who_acts_sees_all_that_the_world_multiplies_but_the_token_that_is_played():
    widest = Recurrence(window=21)
    scene = _Scene(widest, TUNE, SMALL, [0], [GOAL], "cpu")
    own = widest.logs[scene.histories[0].numpy()].sum(1) % 16  # of all 20 tokens
    assert np.array_equal(scene.classes[0].numpy(), own)
    one = replace(TUNE, updates=1, evaluations=1)
    assert reinforce(SMALL, one, starting_weights([0]), [0], [GOAL], world=widest).curves["success"].shape
    # what only predicts may see too little: that is an ablation
    one = replace(SHORT, steps=1, evaluations=1)
    assert pretrain(SMALL, one, [0], world=Recurrence(window=24)).curves["step"].tolist() == [[0, 1]]


def test_seeds_may_come_from_an_iterator_as_they_may_where_weights_are_drawn():
    config = replace(SHORT, steps=2, evaluations=1)
    listed, drawn_one_by_one = (pretrain(SMALL, config, seeds) for seeds in ([0, 1], iter([0, 1])))
    assert not differ(listed.weights, drawn_one_by_one.weights)
    tune, start = replace(TUNE, updates=2, evaluations=1), starting_weights([0, 1])
    seeds = [np.array([0, 1]), iter([0, 1])]
    first, second = (reinforce(SMALL, tune, start, s, 2 * [GOAL]).weights for s in seeds)
    assert not differ(first, second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_finetuned_in_float32(dtype):
    half = {k: torch.as_tensor(v).to(dtype) for k, v in starting_weights([0]).items()}
    whole = {k: v.float() for k, v in half.items()}
    first, second = (reinforce(SMALL, TUNE, start, [0], [GOAL]).weights for start in (half, whole))
    assert not differ(first, second)


def test_curves_begin_before_the_first_update():
    curves = pretrain(SMALL, SHORT, [0, 1]).curves
    assert curves["step"].tolist() == [[0, 10, 20]] * 2
    assert np.isnan(curves["train_loss"][:, 0]).all() and np.isfinite(curves["train_loss"][:, 1:]).all()
    assert np.isfinite(curves["test_loss"]).all()


OTHER = {"odd_only": True, "consequence": False, "arm": "exact", "maintenance": "none"}
OTHER |= {"precision": "bfloat16", "hidden": ((1, 5), (), 0.5), "penalised": "self-estimated"}
OTHER |= {"maintenance_falls": True}


MEASURING = ("test_size", "evaluations")


def changed(config, name):
    value = getattr(config, name)
    return replace(config, **{name: OTHER.get(name, value * 2 if value else 0.5)})


def differ(first, second):
    return any(not np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(
    "name",
    ["steps", "batch", "rate", "warmup", "weight_decay", "dropout", "train_size", "precision", "exploration"],
)
def test_no_setting_of_pretraining_is_ignored(name):
    first, second = (pretrain(SMALL, config, [0]).weights for config in (SHORT, changed(SHORT, name)))
    assert differ(first, second)


@pytest.mark.parametrize(
    "name",
    [
        f.name
        for f in fields(TUNE)
        if f.name not in ("test_size", "evaluations") and "guard" not in f.metadata
    ],
)
def test_no_setting_of_reinforcement_is_ignored(name):
    start = starting_weights([0])
    needed = {"maintenance_weight": {"maintenance": "joint"}, "consequence": {"exploration": 0.5}}
    needed["penalised"] = {"penalty": 1.0}
    config = replace(TUNE, **needed.get(name, {}))
    first, second = (reinforce(SMALL, c, start, [0], [GOAL]).weights for c in (config, changed(config, name)))
    assert differ(first, second)


def test_a_guard_changes_no_weight():
    start, config = starting_weights([0]), replace(TUNE, may_forget=True)
    first, second = (reinforce(SMALL, c, start, [0], [GOAL]).weights for c in (TUNE, config))
    assert not differ(first, second)


def test_the_goal_is_not_ignored():
    start = starting_weights([0])
    first, second = (reinforce(SMALL, TUNE, start, [0], [goal]).weights for goal in (GOAL, (0, 2, 4, 6)))
    assert differ(first, second)


@pytest.mark.parametrize("first", MAINTENANCE)
@pytest.mark.parametrize("second", MAINTENANCE)
def test_every_kind_of_maintenance_trains_in_its_own_way(first, second):
    if first < second:
        trained = (
            reinforce(SMALL, config, starting_weights([0]), [0], [GOAL]).weights
            for config in (replace(TUNE, updates=3, maintenance=kind) for kind in (first, second))
        )
        assert differ(*trained)


def test_the_reinforcement_loss_is_unbiased_for_its_expectation():
    world, config = Recurrence(), replace(TUNE, batch=256, rollouts=400, dropout=0.0)
    scene = _Scene(world, config, SMALL, [0], [GOAL], "cpu")
    weights = {k: 2 * v for k, v in initialise(SMALL, [0]).items()}  # far from uniform
    loss = scene.loss(weights)[0].item()
    index = torch.randint(config.pool, (config.batch,), generator=stream([0, *GOAL], "order"))
    histories = scene.histories[0][index].numpy()
    probs = as_policy(weights, SMALL, temperature=1.0)(histories)
    success = world.table[world.classes(histories)][:, :, list(GOAL)].sum(-1)
    expected = -(probs * success * np.log(probs)).sum(1).mean()
    assert loss == pytest.approx(expected, rel=0.02)
    exact = _Scene(world, replace(config, arm="exact"), SMALL, [0], [GOAL], "cpu")
    assert exact.loss(weights)[0].item() == pytest.approx(expected, rel=1e-5)
    punished = _Scene(world, replace(config, arm="exact", failure_weight=0.5), SMALL, [0], [GOAL], "cpu")
    expected += 0.5 * (probs * (1 - success) * np.log(probs)).sum(1).mean()
    assert punished.loss(weights)[0].item() == pytest.approx(expected, rel=1e-4)


def test_windows_of_acted_histories_show_the_past_the_action_and_an_outcome_of_the_world():
    world = Recurrence()
    config = replace(TUNE, maintenance="acted", maintenance_batch=4000, batch=4000, pool=4000)
    scene = _Scene(world, config, SMALL, [0], [GOAL], "cpu")
    weights = {k: 2 * v for k, v in initialise(SMALL, [0]).items()}
    windows = scene.loss(weights)[1][0].numpy()
    known = {
        tuple(h[1:]): m for h, m in zip(scene.histories[0].tolist(), scene.classes[0].tolist(), strict=True)
    }
    classes = [known[tuple(w[:19])] for w in windows]
    action, outcome = windows[:, -2], windows[:, -1]
    assert (world.table[classes, action, outcome] > 0).all() and (outcome < 8).all()
    assert len(set(action)) == 16  # an untrained policy plays wrong-parity tokens too
    # the outcome is the world's draw: its noiseless answer 98.25 % of the time
    assert (outcome == world.table[classes, action].argmax(-1)).mean() == pytest.approx(0.9825, abs=0.01)


def test_maintenance_trains_on_even_positions_and_keeps_their_loss_lower():
    scene = _Scene(Recurrence(), TUNE, SMALL, [0], [GOAL], "cpu")
    assert scene.even_windows[..., -1].max() < 8
    config = replace(TUNE, updates=60, pool=2**12, maintenance_batch=256, maintenance_rate=3e-3)
    kept, lost = (
        reinforce(SMALL, c, starting_weights([0]), [0], [GOAL]).curves["even_loss"][0, -1]
        for c in (config, replace(config, maintenance="none"))
    )
    assert kept < lost - 0.1


def test_curves_of_reinforcement_are_those_of_the_measure():
    world, weights = Recurrence(), starting_weights([0])
    curves = reinforce(SMALL, replace(TUNE, rate=1e-9, maintenance="none"), weights, [0], [GOAL]).curves
    measured = split_history(world.histories(20_000, 20, seed=5), as_policy(weights, SMALL), world)
    assert curves["wrong_parity_greedy"][0, -1] == pytest.approx(measured.action_probs[:8].sum(), abs=0.15)
    warm = as_policy(weights, SMALL, temperature=1.0)
    expected = split_history(world.histories(20_000, 20, seed=5), warm, world).success(GOAL)
    assert curves["success"][0, -1] == pytest.approx(expected, abs=0.05)
    warm_parity = split_history(world.histories(20_000, 20, seed=5), warm, world).action_probs[:8].sum()
    assert curves["wrong_parity"][0, -1] == pytest.approx(warm_parity, abs=0.05)
    assert curves["success_greedy"][0, 0] == pytest.approx(measured.success(GOAL), abs=0.15)


@pytest.mark.parametrize("settings", [{"rate": 0.3}, {"maintenance_rate": 10.0}])
def test_a_collapse_behind_a_falling_loss_is_divergence_too(settings):
    config = replace(TUNE, updates=60, **settings)
    weights = {k: 5 * v for k, v in starting_weights([0]).items()}
    with pytest.raises(Diverged, match=r"reinforcement: (maintenance_loss|even_loss|train_loss) of member 0"):
        reinforce(SMALL, config, weights, [0], [GOAL])


def test_an_unmaintained_loss_is_allowed_to_grow_and_only_that():
    weights = {
        k: 8 * v for k, v in starting_weights([0]).items()
    }  # so sure of itself that it errs by 50 nats
    config = replace(TUNE, updates=2, rate=1e-6, maintenance_rate=1e-6)
    alone = reinforce(SMALL, replace(config, maintenance="none"), weights, [0], [GOAL])
    assert alone.curves["even_loss"].max() > 50
    with pytest.raises(Diverged, match=r"(maintenance|even)_loss .* at step 2;"):
        reinforce(SMALL, config, weights, [0], [GOAL])


def test_a_model_that_may_forget_is_handed_out_with_its_loss_but_not_with_nan():
    config = replace(TUNE, updates=2, rate=1e-6, maintenance_rate=1e-6, may_forget=True)
    weights = {k: 8 * v for k, v in starting_weights([0]).items()}
    assert reinforce(SMALL, config, weights, [0], [GOAL]).curves["even_loss"][0, -1] > 50
    weights["readout.bias"][0] = np.nan
    with pytest.raises(Diverged, match="is nan nats at step 0"):
        reinforce(SMALL, config, weights, [0], [GOAL])


def test_a_maintained_loss_may_grow_for_a_while_if_it_comes_back():
    weights = {k: 4 * v for k, v in starting_weights([0]).items()}
    config = replace(TUNE, updates=200, rate=1e-6, maintenance_rate=3e-2)
    losses = reinforce(SMALL, config, weights, [0], [GOAL]).curves["even_loss"][0]
    assert losses[0] > 50 > losses[-1]


def test_a_policy_that_is_ruined_by_its_last_update_is_not_handed_out():
    config = replace(SHORT, steps=1, rate=1e38, warmup=1, evaluations=1)
    with pytest.raises(
        Diverged, match=r"pretraining: test_loss of member 0 \(seed 0\) is nan nats at step 1"
    ):
        pretrain(SMALL, config, [0])


@pytest.mark.parametrize("context", [19, 20])
def test_targets_are_at_the_parity_that_is_asked_for_whatever_the_context(context):
    windows = training_windows(100, context, 1)
    assert windows.shape == (100, context + 1)
    assert (windows[:50, -1] < 8).all() and (windows[50:, -1] >= 8).all()
    scene = _Scene(Recurrence(), TUNE, replace(SMALL, context=context), [0], [GOAL], "cpu")
    assert scene.even_windows[..., -1].max() < 8


def test_training_acting_and_held_out_data_come_from_streams_of_their_own():
    seeds = [data_seed(seed, name) for seed in (0, 1, TEST_SEED) for name in ("windows", "act", "keep")]
    draws = {tuple(np.random.default_rng(seed).integers(2**62, size=2)) for seed in [*seeds, 0, [0, 1]]}
    assert len(draws) == len(seeds) + 2


def test_seeds_give_reinforcement_streams_of_their_own():
    start = {k: v.repeat(2, 0) for k, v in starting_weights([0]).items()}
    weights = reinforce(SMALL, TUNE, start, [0, 1], 2 * [GOAL]).weights
    assert not np.array_equal(weights["readout.weight"][0], weights["readout.weight"][1])


def test_logits_are_computed_where_the_weights_are():
    weights = {k: torch.as_tensor(v).to("meta") for k, v in starting_weights([0]).items()}
    assert action_logits(weights, SMALL, np.zeros((3, 20), int)).device.type == "meta"


class Kept:
    """Takes the state after one update, as a checkpoint would."""

    def __init__(self, at):
        self.at, self.calls, self.state = at, 0, None

    def __call__(self, take):
        self.calls += 1
        if self.calls == self.at:
            self.state = take()


@pytest.mark.parametrize("at", [1, 7, 10, 20])
def test_pretraining_that_goes_on_from_a_state_ends_bit_identical(at, tried):
    kept = Kept(at)
    whole = pretrain(SMALL, SHORT, [0, 3], keep=kept)
    resumed = pretrain(SMALL, SHORT, [0, 3], state=kept.state)
    assert not differ(whole.weights, resumed.weights)
    for name, values in whole.curves.items():
        assert np.array_equal(values, resumed.curves[name], equal_nan=True), name
    tried["resumed trainings"] += 1


@pytest.mark.parametrize("arm", ["sampled", "exact"])
@pytest.mark.parametrize("maintenance", MAINTENANCE)
@pytest.mark.parametrize("at", [3, 10])
def test_reinforcement_that_goes_on_from_a_state_ends_bit_identical(arm, maintenance, at, tried):
    config, kept = replace(TUNE, arm=arm, maintenance=maintenance), Kept(at)
    whole = reinforce(SMALL, config, starting_weights([0, 1]), [0, 1], 2 * [GOAL], keep=kept)
    resumed = reinforce(SMALL, config, starting_weights([0, 1]), [0, 1], 2 * [GOAL], state=kept.state)
    assert not differ(whole.weights, resumed.weights)
    for name, values in whole.curves.items():
        assert np.array_equal(values, resumed.curves[name], equal_nan=True), name
    tried["resumed trainings"] += 1


def test_taking_the_state_does_not_change_what_is_trained():
    plain = pretrain(SMALL, SHORT, [0])
    watched = pretrain(SMALL, SHORT, [0], keep=lambda take: take())
    assert not differ(plain.weights, watched.weights)
    assert np.array_equal(plain.curves["train_loss"], watched.curves["train_loss"], equal_nan=True)


def test_bfloat16_products_learn_as_float32_ones_do():
    config = Pretraining(steps=300, train_size=2**14, test_size=1024, evaluations=1, dropout=0.0)
    losses = [
        pretrain(Architecture(32, 2), replace(config, precision=p), [0]).curves["test_loss"][0, -1]
        for p in ("float32", "bfloat16")
    ]
    assert losses[1] < 1.5 and losses[0] < 1.5  # parity alone leaves 2.05


def test_maintenance_falls_with_the_main_rate_only_if_it_is_to():
    rates = {}
    for falls in (False, True):
        config = replace(TUNE, maintenance_falls=falls, updates=4, warmup=1, evaluations=1)
        seen = rates[falls] = []
        plain = engine.Learner.step

        def noted(learner, losses, seen=seen, plain=plain):
            seen.append(learner.adam.param_groups[0]["lr"] / learner.rate)
            plain(learner, losses)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Learner, "step", noted)
            reinforce(SMALL, config, starting_weights([0]), [0], [GOAL])
    shares = [engine.schedule(step, 4, 1) for step in range(1, 5)]
    main, kept = (slice(of, None, 2) for of in (0, 1))
    assert rates[False][main] == rates[True][main] == pytest.approx(shares)
    assert rates[True][kept] == pytest.approx(shares) and rates[False][kept] == [1.0] * 4
