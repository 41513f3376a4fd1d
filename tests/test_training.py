"""Training: learning happens, members are independent, seeds are obeyed, divergence is loud."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from splithistory import Recurrence, split_history
from splithistory.training import (
    TEST_SEED,
    Diverged,
    Pretraining,
    Reinforcement,
    _data_seed,
    _Log,
    _Scene,
    _schedule,
    _successful_draws,
    action_logits,
    as_policy,
    choose,
    evaluate,
    pretrain,
    reinforce,
    training_windows,
)
from splithistory.transformer import Architecture, initialise, stream

SMALL = Architecture(width=16, layers=2)
SHORT = Pretraining(steps=20, batch=32, train_size=256, test_size=128, evaluations=2, warmup=5)
TUNE = Reinforcement(
    goal=(0, 4), updates=20, batch=32, pool=256, test_size=128, evaluations=2, maintenance_batch=16
)


def starting_weights(seeds):
    return {k: v.numpy() for k, v in initialise(SMALL, seeds).items()}


def assert_close(a, b, tolerance):
    for name in a:
        assert np.abs(a[name] - b[name]).max() <= tolerance, name


def test_a_member_pretrains_the_same_whoever_shares_the_ensemble():
    together = pretrain(SMALL, SHORT, [0, 1, 2], dtype=torch.float64)
    alone = pretrain(SMALL, SHORT, [1], dtype=torch.float64)
    assert_close(together.member(1).weights, alone.weights, 1e-7)  # handed out in float32
    assert np.abs(together.curves["test_loss"][1] - alone.curves["test_loss"][0]).max() < 1e-9


def test_a_member_is_reinforced_the_same_whoever_shares_the_ensemble():
    together = reinforce(SMALL, TUNE, starting_weights([0, 1, 2]), [0, 1, 2], dtype=torch.float64)
    alone = reinforce(SMALL, TUNE, starting_weights([1]), [1], dtype=torch.float64)
    assert_close(together.member(1).weights, alone.weights, 1e-7)
    assert np.abs(together.curves["even_loss"][1] - alone.curves["even_loss"][0]).max() < 1e-9


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_does_not():
    first, second, other = (pretrain(SMALL, SHORT, [seed]) for seed in (0, 0, 1))
    assert all(np.array_equal(first.weights[k], second.weights[k]) for k in first.weights)
    assert not np.array_equal(first.weights["readout.weight"], other.weights["readout.weight"])


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
    config = Reinforcement(goal=(0, 4), updates=100, pool=2**13, test_size=512, evaluations=4, rate=3e-3)
    curves = reinforce(architecture, config, pretrained.weights, [0]).curves
    assert curves["success_greedy"][0, -1] > curves["success_greedy"][0, 0] + 0.02


def test_reported_success_is_what_the_measure_finds_on_the_same_histories():
    world = Recurrence()
    trained = reinforce(SMALL, TUNE, starting_weights([0]), [0], world=world)
    held_out = world.histories(TUNE.test_size, 20, seed=_data_seed(TEST_SEED, "act"))
    measured = split_history(held_out, as_policy(trained.weights, SMALL), world)
    assert measured.success(TUNE.goal) == pytest.approx(trained.curves["success_greedy"][0, -1], abs=1e-6)


def test_success_counts_only_successful_draws_and_is_unbiased():
    probs = torch.tensor([[[0.5, 0.3, 0.2]]])
    success = torch.tensor([[[0.9, 0.1, 0.0]]])
    draws = [_successful_draws(probs, success, 50, [stream(k, "x")]) for k in range(200)]
    mean = torch.stack(draws).mean(0)[0, 0] / 50
    assert mean.tolist() == pytest.approx([0.45, 0.03, 0.0], abs=0.02)
    assert mean[2] == 0


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
    with pytest.raises(Diverged, match=r"pretraining: loss of member [01] \(seed [89]\) is .* at step \d+"):
        pretrain(
            SMALL,
            Pretraining(steps=50, batch=32, rate=1e6, warmup=1, train_size=64, test_size=32, evaluations=1),
            [8, 9],
        )


def test_a_nan_in_one_member_is_laid_to_that_member():
    weights = starting_weights([0, 1])
    weights["readout.bias"][1] = np.nan
    with pytest.raises(Diverged, match=r"member 1 \(seed 1 of goal \{0, 4\}\) is nan nats at step 0"):
        reinforce(SMALL, TUNE, weights, [0, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Reinforcement(goal=(0, 9)),
            r"goal: given \(0, 9\)|goal: given \[0, 9\], allowed are outcomes in 0..7",
        ),
        (lambda: Pretraining(steps=0), "steps: given 0, allowed is an integer >= 1"),
        (lambda: Pretraining(batch=1e3), "batch: given 1000.0, allowed is an integer >= 1"),
        (lambda: Pretraining(rate=-1.0), "rate: given -1.0, allowed is a positive number"),
        (lambda: pretrain(SMALL, SHORT, [-1]), "seed: given -1, allowed is an integer >= 0"),
        (lambda: pretrain(SMALL, SHORT, []), "seeds: none given"),
        (
            lambda: reinforce(Architecture(32, 2), TUNE, starting_weights([0]), [0]),
            "weights: embedding.weight is",
        ),
        (lambda: choose(torch.zeros(1, 16), -1), "temperature: given -1"),
    ],
)
def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_curves_begin_before_the_first_update():
    curves = pretrain(SMALL, SHORT, [0, 1]).curves
    assert curves["step"].tolist() == [[0, 10, 20]] * 2
    assert np.isnan(curves["train_loss"][:, 0]).all() and np.isfinite(curves["train_loss"][:, 1:]).all()
    assert np.isfinite(curves["test_loss"]).all()


def changed(config, name):
    value = getattr(config, name)
    return replace(config, **{name: (0, 2, 4, 6) if name == "goal" else value * 2 if value else 0.5})


@pytest.mark.parametrize(
    "name", ["steps", "batch", "rate", "warmup", "weight_decay", "dropout", "train_size"]
)
def test_no_setting_of_pretraining_is_ignored(name):
    first, second = (pretrain(SMALL, config, [0]).weights for config in (SHORT, changed(SHORT, name)))
    assert any(not np.array_equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize(
    "name",
    [field.name for field in fields(TUNE) if field.name not in ("test_size", "evaluations")],
)
def test_no_setting_of_reinforcement_is_ignored(name):
    start = starting_weights([0])
    first, second = (reinforce(SMALL, c, start, [0]).weights for c in (TUNE, changed(TUNE, name)))
    assert any(not np.array_equal(first[k], second[k]) for k in first)


def test_the_rate_warms_up_to_its_peak_and_falls_along_a_cosine_to_a_tenth():
    rates = [_schedule(step, 100, 10) for step in range(1, 101)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[54] == pytest.approx(0.55, abs=0.02) and (np.diff(rates[9:]) <= 0).all()


def test_the_reinforcement_loss_is_unbiased_for_its_expectation():
    world, config = Recurrence(), replace(TUNE, batch=256, rollouts=400, dropout=0.0)
    scene = _Scene(world, config, 20, [0], "cpu")
    weights = {k: 2 * v for k, v in initialise(SMALL, [0]).items()}  # far from uniform
    streams = {name: [stream(0, name)] for name in ("order", "act")}
    loss = scene.loss(weights, SMALL, streams, None).item()
    index = torch.randint(config.pool, (config.batch,), generator=stream(0, "order"))
    histories = scene.histories[0][index].numpy()
    probs = as_policy(weights, SMALL, temperature=1.0)(histories)
    success = world.table[world.classes(histories)][:, :, list(config.goal)].sum(-1)
    assert loss == pytest.approx(-(probs * success * np.log(probs)).sum(1).mean(), rel=0.02)


def test_maintenance_trains_on_even_positions_and_keeps_their_loss_lower():
    scene = _Scene(Recurrence(), TUNE, 20, [0], "cpu")
    assert scene.even_windows[..., -1].max() < 8
    config = replace(TUNE, updates=60, pool=2**12, maintenance_batch=256, maintenance_rate=3e-3)
    kept, lost = (
        reinforce(SMALL, c, starting_weights([0]), [0]).curves["even_loss"][0, -1]
        for c in (config, replace(config, maintenance_rate=0.0))
    )
    assert kept < lost - 0.1


def test_curves_of_reinforcement_are_those_of_the_measure():
    world, weights = Recurrence(), starting_weights([0])
    curves = reinforce(SMALL, replace(TUNE, rate=1e-9, maintenance_rate=0.0), weights, [0]).curves
    measured = split_history(world.histories(20_000, 20, seed=5), as_policy(weights, SMALL), world)
    assert curves["wrong_parity_greedy"][0, -1] == pytest.approx(measured.action_probs[:8].sum(), abs=0.15)
    warm = as_policy(weights, SMALL, temperature=1.0)
    expected = split_history(world.histories(20_000, 20, seed=5), warm, world).success(TUNE.goal)
    assert curves["success"][0, -1] == pytest.approx(expected, abs=0.05)
    assert curves["success_greedy"][0, 0] == pytest.approx(measured.success(TUNE.goal), abs=0.15)


def test_a_row_averages_the_losses_since_the_row_before():
    log = _Log(4, 2, ["seed 0"], "stage", None, dict)
    for step, loss in enumerate([1.0, 3.0, 5.0, 7.0], start=1):
        log.record(step, torch.tensor([loss]))
    curves = log.curves()
    assert curves["step"].tolist() == [[0, 2, 4]]
    assert curves["train_loss"][0, 1:].tolist() == [2.0, 6.0]


@pytest.mark.parametrize("settings", [{"rate": 0.3}, {"maintenance_rate": 10.0}])
def test_a_collapse_behind_a_falling_loss_is_divergence_too(settings):
    config = replace(TUNE, updates=60, **settings)
    weights = {k: 5 * v for k, v in starting_weights([0]).items()}
    with pytest.raises(Diverged, match=r"reinforcement: (maintenance loss|even_loss|loss) of member 0"):
        reinforce(SMALL, config, weights, [0])


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
    assert _Scene(Recurrence(), TUNE, context, [0], "cpu").even_windows[..., -1].max() < 8


def test_training_acting_and_held_out_data_come_from_streams_of_their_own():
    seeds = [_data_seed(seed, name) for seed in (0, 1, TEST_SEED) for name in ("windows", "act", "keep")]
    draws = {tuple(np.random.default_rng(seed).integers(2**62, size=2)) for seed in [*seeds, 0, [0, 1]]}
    assert len(draws) == len(seeds) + 2


def test_seeds_give_reinforcement_streams_of_their_own():
    start = {k: v.repeat(2, 0) for k, v in starting_weights([0]).items()}
    weights = reinforce(SMALL, TUNE, start, [0, 1]).weights
    assert not np.array_equal(weights["readout.weight"][0], weights["readout.weight"][1])


def test_logits_are_computed_where_the_weights_are():
    weights = {k: torch.as_tensor(v).to("meta") for k, v in starting_weights([0]).items()}
    assert action_logits(weights, SMALL, np.zeros((3, 20), int)).device.type == "meta"
