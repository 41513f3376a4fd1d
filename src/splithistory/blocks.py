"""Differential measures of a trained network: each block, its two halves, and all blocks in a row.

Floor 2. A pre-norm block adds A(P) to the residual stream P at the last position, so it is an agent with
outcome F = P + A, J_g = I and J_h = C = I + ∂A/∂P, the other positions held. So is each half, attention and
feed-forward, and so is the stack of all blocks.

Shapes: B histories, T tokens, D width, V tokens of the alphabet.
"""

import numpy as np
import torch
import torch.nn.functional as F

from . import differential
from .information import as_measured
from .transformer import Architecture, activations, layer_weights

Part = tuple[int, str]  # (block from 1, part); (0, "stack") and what is read out of it are of all blocks


def halves(weights: dict, architecture: Architecture, layer: int, x: torch.Tensor):
    """C of attention and of the feed-forward half of a block, (B, D, D) each, in closed form.

    weights: of one member, without the ensemble's axis; x (B, T, D): what enters the block. The same as
    automatic differentiation of `transformer.branches`, for all histories at once.
    """
    w = layer_weights(weights, layer)
    added, first = _attention(w, architecture.heads, x)
    second = _feed_forward(w, x[:, -1] + added)
    eye = torch.eye(architecture.width, dtype=x.dtype)
    return eye + first, eye + second


def _attention(w: dict, heads: int, x: torch.Tensor):
    """What attention adds to the last position of x (B, T, D), (B, D), and its Jacobian there (B, D, D).

    d out = Σ_t a_t (v_t − out) ds_t + a_T dv_T, scores s_t = q·k_t / √C, of which q, k_T and v_T move.
    """
    fused = F.linear(_normed(w, "norm1", x), w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"])
    query, key, value = fused.unflatten(-1, (3, heads, -1)).unbind(2)  # (B, T, H, C)
    q, root = query[:, -1], query.shape[-1] ** 0.5
    share = torch.softmax(torch.einsum("bhc,bthc->bht", q, key) / root, -1)  # a
    out = torch.einsum("bht,bthc->bhc", share, value)
    apart = share.transpose(1, 2)[..., None] * (value - out[:, None]) / root  # (B, T, H, C)
    by_query = torch.einsum("bthc,bthd->bhcd", apart, key)
    by_key = torch.einsum("bhc,bhd->bhcd", apart[:, -1], q)
    to_query, to_key, to_value = w["self_attn.in_proj_weight"].unflatten(0, (3, heads, -1))  # (H, C, D)
    moved = by_query @ to_query + by_key @ to_key + share[..., -1, None, None] * to_value  # (B, H, C, D)
    outwards = w["self_attn.out_proj.weight"]
    added = F.linear(out.flatten(1), outwards, w["self_attn.out_proj.bias"])
    return added, _through_norm(w, "norm1", x[:, -1], outwards @ moved.flatten(1, 2))


def _feed_forward(w: dict, x: torch.Tensor) -> torch.Tensor:
    """Jacobian (B, D, D) of the feed-forward branch at x (B, D)."""
    hidden = F.linear(_normed(w, "norm2", x), w["linear1.weight"], w["linear1.bias"])
    open_ = (hidden > 0).to(x)[:, None]
    return _through_norm(w, "norm2", x, (w["linear2.weight"] * open_) @ w["linear1.weight"])


def _normed(w: dict, norm: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], w[norm + ".weight"], w[norm + ".bias"])


def _through_norm(w: dict, norm: str, x: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """after @ J of layer norm at x (B, D), (B, D, D): J = gain (I − 11ᵀ/D − uuᵀ/D) / size, u what is kept."""
    unit = F.layer_norm(x, x.shape[-1:])
    size = (x.var(-1, correction=0) + 1e-5).sqrt()[:, None, None]
    after = after * w[norm + ".weight"]
    along = (after @ unit[..., None]) * unit[:, None] / x.shape[-1]
    return (after - after.mean(-1, keepdim=True) - along) / size


def jacobians(weights: dict, architecture: Architecture, tokens: torch.Tensor) -> dict[Part, torch.Tensor]:
    """C of each half, each block and the stack on histories (B, T), {part: (B, D, D)}, by the chain rule."""
    ensemble = {name: w[None] for name, w in weights.items()}
    parts: dict[Part, torch.Tensor] = {}
    stack = torch.eye(architecture.width, dtype=weights["embedding.weight"].dtype)
    for i, x in enumerate(activations(ensemble, architecture, tokens[None])[:-1]):
        first, second = halves(weights, architecture, i, x[0])
        block = second @ first
        parts |= {(i + 1, "attention"): first, (i + 1, "feed-forward"): second, (i + 1, "block"): block}
        stack = block @ stack
    return parts | {(0, "stack"): stack}


def measured(weights: dict, architecture: Architecture, tokens: torch.Tensor) -> dict[Part, dict]:
    """Op and Imp in nats of each part on histories (B, T): {part: {"op", "imp", "reverses": (B,)}}.

    reverses: whether det C < 0. Besides the parts of `jacobians`, those of `read_out`; arguments as in
    `jacobians`.
    """
    parts, found = jacobians(weights, architecture, tokens), {}
    for part, jacobian in parts.items():
        op, imp, sign = differential.residual_and_sign(jacobian.numpy())
        found[part] = {"op": op, "imp": imp, "reverses": sign < 0}
    leaving = activations({name: w[None] for name, w in weights.items()}, architecture, tokens[None])[-1][0]
    answer = (leaving @ weights["readout.weight"].T + weights["readout.bias"]).numpy()
    return found | read_out(weights["readout.weight"].numpy(), answer, parts[0, "stack"].numpy())


def read_out(readout: np.ndarray, answer: np.ndarray, c: np.ndarray) -> dict[Part, dict]:
    """The stack with what is read out of it as the outcome: parts as in `measured`, at logits `answer`.

    answer (B, V); readout W (V, D); c (B, D, D) of the stack. "logits": W P, so that J_g = W and J_h = W C;
    "softmax": what it keeps of them, their differences (V − 1 dimensions; any invertible function of them has
    the same Op and Imp); "direction": their differences without their size (V − 2). For "logits" also three
    terms, in nats: Op = readout − scale + shape, with readout = ½ ln|W Wᵀ|, scale = V ln of the logits' size
    (root of the mean square about their mean), and shape = −½ ln|J_h J_hᵀ| in units of that size.
    """
    readout, answer = as_measured(readout, "readout"), as_measured(answer, "answer")
    c = as_measured(c, "c")
    shapes = readout.shape, answer.shape, c.shape
    if (readout.ndim, answer.ndim, c.ndim) != (2, 2, 3) or shapes[2] != (len(answer), *readout.shape[1:] * 2):
        raise ValueError(f"readout, answer, c: shapes {shapes}, allowed are (V, D), (B, V) and (B, D, D)")
    if answer.shape[1] != len(readout) or len(readout) < 3 or not np.ptp(answer, axis=1).all():
        raise ValueError(f"answer: shape {answer.shape}, allowed are V >= 3 logits, not all alike")
    centred = answer - answer.mean(1, keepdims=True)
    ones, v = np.ones((len(answer), 1, answer.shape[1])), answer.shape[1]
    outcomes = {"logits": np.eye(v), "softmax": _beside(ones)}
    outcomes["direction"] = _beside(np.concatenate([ones, centred[:, None]], 1))
    found: dict[Part, dict] = {}
    for name, basis in outcomes.items():
        seen = basis @ readout, basis @ readout @ c
        both = {"op": differential.op(*seen), "imp": differential.imp(*seen)}
        found[0, name] = both | {"reverses": np.zeros(len(c), bool)}
    scale = v * np.log((centred**2).mean(1)) / 2
    volume = np.full(len(c), np.linalg.slogdet(readout @ readout.T).logabsdet / 2)
    shape = found[0, "logits"]["op"] - volume + scale
    found[0, "logits"] |= {"readout": volume, "scale": scale, "shape": shape}
    return found


def _beside(rows: np.ndarray) -> np.ndarray:
    """Orthonormal basis of what is orthogonal to rows (B, k, V): (B, V − k, V)."""
    return np.linalg.svd(rows)[2][:, rows.shape[1] :]
