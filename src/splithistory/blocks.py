"""Differential measures of a trained network: each block, its two halves, and all blocks in a row.

Floor 2. A pre-norm block adds A(P) to the residual stream P at the last position, so it is an agent with
outcome F = P + A, J_g = I and J_h = C = I + ∂A/∂P, the other positions held. So is each half, attention and
feed-forward, and so is the stack of all blocks.

Shapes: B histories, T tokens, D width, V tokens of the alphabet.
"""

import numpy as np
import torch
from torch.func import jacrev, vmap

from . import differential
from .transformer import Architecture, activations, branches

_CHUNK = 8  # histories differentiated at once
Part = tuple[int, str]  # (block from 1, part); (0, "stack") and (0, "logits") are of all blocks


def halves(weights: dict, architecture: Architecture, layer: int, x: torch.Tensor):
    """C of attention and of the feed-forward half of a block, (B, D, D) each.

    weights: of one member, without the ensemble's axis; x (B, T, D): what enters the block.
    """

    def jacobians(x):
        attention, feed_forward = branches(weights, architecture, layer, x)
        p = x[-1]
        return jacrev(attention)(p), jacrev(feed_forward)(p + attention(p))

    eye = torch.eye(architecture.width, dtype=x.dtype)
    return tuple(eye + m for m in vmap(jacobians, chunk_size=_CHUNK)(x))


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

    reverses: whether det C < 0. Besides the parts of `jacobians`, "logits": the stack with the V logits as
    its outcome, W P, so that J_g = W and J_h = W C; arguments as in `jacobians`.
    """
    found: dict[Part, dict] = {}
    for part, jacobian in jacobians(weights, architecture, tokens).items():
        c = jacobian.numpy()
        op, imp = differential.residual(c)
        found[part] = {"op": op, "imp": imp, "reverses": np.linalg.slogdet(c).sign < 0}
    readout = weights["readout.weight"].numpy()
    seen = readout, readout @ c
    both = {"op": differential.op(*seen), "imp": differential.imp(*seen)}
    found[0, "logits"] = both | {"reverses": np.zeros(len(c), bool)}
    return found
