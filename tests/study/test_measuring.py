"""Measurements: what a model expects is what it predicts, and the halves hold all histories."""

import numpy as np
import pytest
import torch

from splithistory import Recurrence
from splithistory.study.measuring import measure_tables, self_evaluation_tables

WORLD = Recurrence()


def test_guessing_weights_expect_every_token_alike():
    tables = self_evaluation_tables(lambda h: torch.zeros(len(h), 16), WORLD, 2, 50)
    expected = tables["self_evaluation"]
    assert len(expected) == 2 * 17
    assert np.allclose(expected.filter(regex=r"^q\d"), 1 / 16)
    assert np.allclose(expected.filter(regex=r"^r\d"), 1 / 8)
    assert set(expected[expected["a"] == 0]["plays"]) == {50}
    assert np.allclose(tables["calibration"]["cross_entropy"], np.log(8))


def test_whoever_knows_the_world_expects_what_comes_and_is_calibrated():
    def knows(histories):
        acts_next = histories[0, -2] >= 8  # else the last token is an action, and an outcome comes
        if acts_next:
            return torch.from_numpy(WORLD.next_probs(histories))
        pasts = np.concatenate([histories[:, :1] * 0 + 8, histories[:, :-1]], 1)
        outcomes = WORLD.outcome_probs(pasts, histories[:, -1])
        return torch.from_numpy(np.log(np.concatenate([outcomes, np.full_like(outcomes, 1e-300)], 1)))

    tables = self_evaluation_tables(knows, WORLD, 1, 200)
    chosen = tables["self_evaluation"].query("a == -1").filter(regex=r"^r\d").to_numpy()[0]
    histories = WORLD.histories(200, seed=[2**31 + 1, *b"set", 1])
    actions = WORLD.next_probs(histories).argmax(1)
    assert np.allclose(chosen, WORLD.outcome_probs(histories, actions).mean(0), atol=1e-12)
    fixed = tables["self_evaluation"].query("a == 3").filter(regex=r"^r\d").to_numpy()[0]
    assert np.allclose(fixed, WORLD.outcome_probs(histories, np.full(200, 3)).mean(0), atol=1e-12)
    assert np.allclose(tables["calibration"]["accuracy"], tables["calibration"]["confidence"])
    assert tables["calibration"].groupby("after")["weight"].sum().to_dict() == {"own": 200, "generator": 200}


def test_the_model_expects_after_what_it_played_and_no_one_else():
    """A model that answers its history's last token + 1 is asked again with that token at the end."""

    def next_number(histories):
        answer = torch.full((len(histories), 16), -20.0)
        answer[torch.arange(len(histories)), torch.as_tensor((histories[:, -1] + 1) % 16).long()] = 20.0
        return answer

    table = self_evaluation_tables(next_number, WORLD, 1, 100)["self_evaluation"].set_index("a")
    histories = WORLD.histories(100, seed=[2**31 + 1, *b"set", 1])
    plays = np.bincount((histories[:, -1] + 1) % 16, minlength=16)
    assert table.loc[range(16), "plays"].tolist() == plays.tolist()
    shares = np.roll(plays, 1) / 100
    assert np.allclose(table.loc[-1, [f"q{k}" for k in range(16)]].astype(float), shares, atol=1e-6)
    for a in range(16):
        assert table.loc[a, f"q{(a + 1) % 16}"] == pytest.approx(1.0, abs=1e-6)


def test_the_two_halves_of_a_measurement_hold_all_histories():
    uniform = {(0.0, "all"): 0}
    always = lambda h: {reading: np.full(len(h), 9) for reading in uniform}  # noqa: E731
    sets = {"n_histories": 300, "repeats": 2, "set_size": 50}
    tables = measure_tables(always, WORLD, **sets, own=(0.0, "all"))
    assert tables["counts"].groupby("half")["count"].sum().tolist() == [150, 150]
    assert set(tables["counts"]["a"]) == {9} and len(tables["sampled"]) == 2
