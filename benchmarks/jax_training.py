"""A second comparison in training: the same function in JAX, compiled, with the last layer's one query.

One model at a time, on the core that the process is given; AdamW is optax's, dropout draws with JAX's fastest
generator.
"""

import os
from functools import partial

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"  # one thread a process, as ours

import jax
import jax.numpy as jnp
import optax

from splithistory.data import training_windows
from splithistory.training import Pretraining
from splithistory.transformer import Architecture, initialise, positions

_WAIT = 10  # steps that may be on their way before one is waited for, as in ours
jax.config.update("jax_default_prng_impl", "rbg")


def logits(weights: dict, a: Architecture, tokens, key=None, rate: float = 0.0):
    """Next-token logits (B, V) of histories (B, T): the same function of the same weights as ours."""
    keys = iter([None] * 3 * a.layers if key is None else jax.random.split(key, 3 * a.layers))

    def dropped(x):
        key = next(keys)
        return x if key is None else x * jax.random.bernoulli(key, 1 - rate, x.shape) / (1 - rate)

    x = weights["embedding.weight"][tokens] + jnp.asarray(positions(a.context, a.width).numpy())
    for i in range(a.layers):
        w = {n.removeprefix(f"layers.{i}."): v for n, v in weights.items() if n.startswith(f"layers.{i}.")}
        queries = slice(-1, None) if i == a.layers - 1 else slice(None)
        x = x[:, queries] + dropped(_attention(_normed(x, w, "norm1"), queries, w, a.heads))
        hidden = _affine(_normed(x, w, "norm2"), w["linear1.weight"], w["linear1.bias"])
        x = x + dropped(_affine(dropped(jax.nn.relu(hidden)), w["linear2.weight"], w["linear2.bias"]))
    return _affine(x[:, -1], weights["readout.weight"], weights["readout.bias"])


def _affine(x, weight, bias):
    return x @ weight.T + bias


def _normed(x, w, norm: str):
    centred = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred * scale * w[norm + ".weight"] + w[norm + ".bias"]


def _attention(x, queries, w, heads: int):
    weight = w["self_attn.in_proj_weight"].reshape(3, heads, -1, x.shape[-1])
    bias = w["self_attn.in_proj_bias"].reshape(3, heads, -1)

    def projected(part: int, rows):  # (B, R, D) -> (B, R, H, C)
        return jnp.einsum("brd,hcd->brhc", rows, weight[part]) + bias[part]

    query, key, value = projected(0, x[:, queries]), projected(1, x), projected(2, x)
    scores = jnp.einsum("bqhc,bthc->bhqt", query, key) * query.shape[-1] ** -0.5
    out = jnp.einsum("bhqt,bthc->bqhc", jax.nn.softmax(scores), value)
    out = out.reshape(*out.shape[:2], -1)
    return _affine(out, w["self_attn.out_proj.weight"], w["self_attn.out_proj.bias"])


def train(architecture: Architecture, config: Pretraining, progress) -> None:
    """Train one model, and every few steps call `progress` with the number of steps done and the loss."""
    windows = jnp.asarray(training_windows(config.train_size, architecture.context, 0).astype("int32"))
    weights = {n: jnp.asarray(v[0].numpy()) for n, v in initialise(architecture, [0]).items()}
    adam = optax.adamw(config.rate, weight_decay=config.weight_decay)

    def loss(weights, batch, key):
        answer = logits(weights, architecture, batch[:, :-1], key, config.dropout)
        return optax.softmax_cross_entropy_with_integer_labels(answer, batch[:, -1]).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(weights, state, windows, key):
        order, dropout = jax.random.split(key)
        batch = windows[jax.random.randint(order, (config.batch,), 0, len(windows))]
        found, gradient = jax.value_and_grad(loss)(weights, batch, dropout)
        change, state = adam.update(gradient, state, weights)
        return optax.apply_updates(weights, change), state, found

    state, key = adam.init(weights), jax.random.key(0)
    for step in range(1, config.steps + 1):
        weights, state, found = update(weights, state, windows, jax.random.fold_in(key, step))
        if step == 1 or step % _WAIT == 0:
            progress(step, float(found))
