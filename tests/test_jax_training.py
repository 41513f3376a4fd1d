"""The JAX competitor, in a process of its own: where JAX is imported, a fork is no longer safe."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from conftest import ROOT

from splithistory.study import SIZES
from splithistory.training import Pretraining
from splithistory.transformer import Architecture, initialise, logits

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench  # noqa: F401  (must leave JAX alone)

ARCHITECTURES = [Architecture(16, 1), *(Architecture(*shape) for shape in SIZES.values())]


@pytest.fixture(scope="module")
def apart():
    """A process for JAX: `apart(function, *arguments)` returns what the function returns there."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield lambda *call: pool.submit(*call).result(timeout=300)


def _answers(weights: dict, architecture: Architecture, tokens: list) -> list:
    import jax_training
    import numpy as np

    return jax_training.logits(weights, architecture, np.array(tokens)).tolist()


def _progress(architecture: Architecture, config: Pretraining) -> list:
    import jax_training

    told = []
    jax_training.train(architecture, config, lambda step, loss: told.append((step, float(loss))))
    return told


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_jax_model_is_our_function_of_the_same_weights(architecture, apart):
    weights = initialise(architecture, [0])
    tokens = torch.randint(16, (4, 20), generator=torch.Generator().manual_seed(0))
    theirs = apart(_answers, {k: v[0].numpy() for k, v in weights.items()}, architecture, tokens.tolist())
    ours = logits(weights, architecture, tokens[None])[0]
    torch.testing.assert_close(torch.tensor(theirs), ours, atol=1e-5, rtol=1e-4)


def test_jax_model_learns_and_says_how_many_steps_it_did(apart):
    config = Pretraining(train_size=2048, steps=60, batch=128)
    steps, losses = zip(*apart(_progress, Architecture(16, 1), config), strict=True)
    assert steps == (1, 10, 20, 30, 40, 50, 60)
    assert losses[-1] < losses[0] - 0.3  # nats


def test_no_test_process_has_jax_whose_threads_make_a_fork_unsafe():
    assert "jax" not in sys.modules
