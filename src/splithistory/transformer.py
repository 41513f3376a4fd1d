"""The policy: an ensemble of small encoder-only transformers that reads 20 tokens and answers with one.

Every weight carries a leading axis of independent members, so that a row of the study's grid trains
as one batched program; a single model is an ensemble of one. Names and orientation of the weights
are those of `torch.nn.TransformerEncoder(norm_first=True)`, and so are the logits (a test holds them
together). Only the last position is read out, so the last layer computes a single query.

Shapes: E members, B histories, T tokens, D width, H heads, V tokens of the alphabet; in the attention Q
queries a history, T or, in the last layer, 1; in the feed-forward branch F hidden neurons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from .information import as_array, as_integers, as_number, check_integer, check_memory, check_seeds, shown
from .products import attention, linear

_LAYER = "layers.{}."


@dataclass(frozen=True)
class Architecture:
    """Shape of one member.

    width: residual stream D; layers: pre-norm blocks; heads: attention heads (width must divide by
    them); context: tokens read; n_tokens: V, input and output alphabet; expansion: feed-forward width over D.
    """

    width: int
    layers: int
    heads: int = 4
    context: int = 20
    n_tokens: int = 16
    expansion: int = 2

    def __post_init__(self):
        for name in ("width", "layers", "heads", "context", "n_tokens", "expansion"):
            check_integer(name, getattr(self, name), 1)
        per_layer = 4.0 * self.width**2 * (4 + 2 * self.expansion)
        check_memory("width, layers", (self.width, self.layers), per_layer * self.layers)
        if self.width % self.heads:
            raise ValueError(f"width: given {self.width}, allowed are multiples of heads = {self.heads}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight of one member, by name."""
        d, hidden = self.width, self.width * self.expansion
        layer: dict[str, tuple[int, ...]] = {
            "self_attn.in_proj_weight": (3 * d, d),
            "self_attn.in_proj_bias": (3 * d,),
            "self_attn.out_proj.weight": (d, d),
            "self_attn.out_proj.bias": (d,),
            "linear1.weight": (hidden, d),
            "linear1.bias": (hidden,),
            "linear2.weight": (d, hidden),
            "linear2.bias": (d,),
            "norm1.weight": (d,),
            "norm1.bias": (d,),
            "norm2.weight": (d,),
            "norm2.bias": (d,),
        }
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (self.n_tokens, d)}
        for i in range(self.layers):
            shapes |= {_LAYER.format(i) + name: shape for name, shape in layer.items()}
        return shapes | {"readout.weight": (self.n_tokens, d), "readout.bias": (self.n_tokens,)}

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters of one member."""
        return sum(math.prod(shape) for shape in self.shapes().values())


def stream(seed, purpose: str, device="cpu") -> torch.Generator:
    """A random stream of its own for each (seed, purpose); seed: an integer >= 0, or several."""
    entropy = [*np.atleast_1d(seed).tolist(), *purpose.encode()]
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def initialise(architecture: Architecture, seeds, *, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """Fresh weights {name: (E, ...)}, one member a seed, drawn as PyTorch's own layers draw theirs."""
    members = [_initial_member(architecture, stream(seed, "init")) for seed in check_seeds(seeds)]
    return {name: torch.stack([m[name] for m in members]).to(dtype) for name in members[0]}


def _initial_member(architecture: Architecture, generator: torch.Generator) -> dict[str, torch.Tensor]:
    weights = {}
    for name, shape in architecture.shapes().items():
        if name.startswith("embedding"):
            weights[name] = torch.randn(shape, generator=generator)
        elif "norm" in name or "_proj.bias" in name or "_proj_bias" in name:
            weights[name] = torch.full(shape, float("norm" in name and name.endswith("weight")))
        else:
            # Xavier for the fused query-key-value projection, 1/sqrt(inputs) for the rest
            inputs = architecture.width * (architecture.expansion if "linear2" in name else 1)
            bound = math.sqrt(6 / sum(shape)) if "in_proj" in name else 1 / math.sqrt(inputs)
            weights[name] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    return weights


def positions(context: int, width: int) -> torch.Tensor:
    """Fixed sinusoidal position code (T, D)."""
    check_integer("context", context, 1), check_integer("width", width, 1)
    check_memory("context, width", (context, width), 24.0 * context * width)
    angle = torch.arange(context)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10_000) / width)
    )
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(context, -1)[:, :width]


@lru_cache(maxsize=64)
def _positions(context: int, width: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """`positions`, made once and kept where they are added: a GPU must not wait for them in every step."""
    return positions(context, width).to(device, dtype)


class Dropout:
    """Inverted dropout whose masks come from one random stream a member (so members do not interfere)."""

    def __init__(self, rate: float, generators: list[torch.Generator]):
        if not 0 <= rate < 1:
            raise ValueError(f"dropout: given {rate}, allowed is [0, 1)")
        self.rate, self.generators = rate, generators

    def masks(self, sizes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> list[torch.Tensor] | list[None]:
        """One mask `(E, *size)` for each size, entries 0 or 1/(1 − rate)."""
        if self.rate == 0:
            return [None] * len(sizes)
        counts = [math.prod(size) for size in sizes]
        words = -(-sum(counts) // 4)
        # four 16-bit draws a 64-bit word: the rate is resolved to 2^-16
        raw = torch.stack([self._words(words, g) for g in self.generators]).view(torch.int16)
        threshold = round(self.rate * 2**16) - 2**15
        # compared as floats: that is vectorised, making floats of booleans is not
        flat = raw.to(dtype).ge_(threshold).mul_(1 / (1 - self.rate))
        parts = flat[:, : sum(counts)].split(counts, dim=1)
        return [part.reshape(-1, *size) for part, size in zip(parts, sizes, strict=True)]

    @staticmethod
    def _words(n: int, generator: torch.Generator) -> torch.Tensor:
        words = torch.empty(n, dtype=torch.int64, device=generator.device)
        return words.random_(-(2**63), None, generator=generator)


def logits(weights: dict, architecture: Architecture, tokens: torch.Tensor, dropout: Dropout | None = None):
    """Next-token logits (E, B, V) of each member for its own histories, tokens (E, B, T)."""
    *_, x = _stream(weights, architecture, tokens, dropout)  # (E, B, D)
    return linear(x, weights["readout.weight"], weights["readout.bias"])  # (E, B, V)


@torch.no_grad()
def action_logits(weights, architecture: Architecture, histories, *, chunk: int = 1024) -> torch.Tensor:
    """Logits (E, N, V) of every member on the same histories (N, T), in chunks that stay in cache."""
    e, there = check_weights(weights, architecture), weights["readout.bias"].device
    if str(getattr(histories, "device", "cpu")) == "cpu":  # a look at those on a GPU would wait for it
        histories = as_integers(histories, "histories", architecture.n_tokens, "NT")
    parts = torch.as_tensor(histories, device=there).split(check_integer("chunk", chunk, 1))
    return torch.cat([logits(weights, architecture, part.expand(e, *part.shape)) for part in parts], 1)


def as_policy(weights: dict, architecture: Architecture, *, member: int = 0, temperature: float = 0.0):
    """A trained member as a policy for `split_history`: histories (N, T) -> what `choose` makes of them.

    Temperature 0 plays the likeliest of all 16 tokens.
    """
    check_integer("member", member, 0, check_weights(weights, architecture) - 1)
    as_number(temperature, "temperature", 0)
    alone = {k: torch.as_tensor(v[member : member + 1]) for k, v in weights.items()}
    return lambda histories: choose(action_logits(alone, architecture, histories)[0], temperature)


def check_weights(weights, architecture: Architecture) -> int:
    """Number E of members in weights {name: (E, ...)}; ValueError unless they are of this architecture."""
    given = weights if isinstance(weights, dict) else {}
    shapes: dict = {name: tuple(getattr(values, "shape", ())) for name, values in given.items()}
    expected = architecture.shapes()
    for name in [*expected, *map(str, shapes.keys() - expected)]:
        if shapes.get(name, ())[1:] != expected.get(name):
            allowed = f"(E, {', '.join(map(str, expected[name]))})" if name in expected else "no such name"
            raise ValueError(f"weights: {shown(name)[1:-1]} is {shapes.get(name)}, allowed is {allowed}")
    if len(members := {shape[0] for shape in shapes.values()}) > 1 or not all(members):
        raise ValueError(f"weights: of {sorted(members)} members, allowed are as many of each, one or more")
    return members.pop()


def choose(answer: torch.Tensor, temperature: float) -> np.ndarray:
    """What a policy does with its logits (N, V).

    At temperature 0 the likeliest token (N,), else probabilities (N, V).
    """
    temperature = as_number(temperature, "temperature", 0)
    answer = answer if torch.is_tensor(answer) else torch.as_tensor(as_array(answer, "answer"))
    whole = answer.ndim == 2 and answer.shape[1] > 0
    if not whole or not (answer.max(-1).values.abs() < torch.inf).all():  # −inf: never to be played
        shape = tuple(answer.shape)
        raise ValueError(f"answer: logits of shape {shape}, allowed are (N, V) without NaN; are the weights?")
    if temperature == 0:
        return answer.argmax(-1).cpu().numpy()
    behind = answer.double() - answer.double().amax(-1, keepdim=True)  # ≤ 0: no quotient overflows to ∞
    return torch.softmax(behind / temperature, -1).cpu().numpy()


def activations(weights: dict, architecture: Architecture, tokens: torch.Tensor) -> list[torch.Tensor]:
    """What enters each block, (E, B, T, D), and last what leaves them at the last position, (E, B, D)."""
    *entering, left = _stream(weights, architecture, tokens)
    return [*(x.reshape(*tokens.shape, architecture.width) for x in entering), left]


def branches(weights: dict, architecture: Architecture, layer: int, x: torch.Tensor):
    """The two residual branches of a block as functions of its last position, for differentiation.

    weights: of one member, without the ensemble's axis; x (T, D): what enters the block. Returns
    (attention, feed_forward), each (D,) -> (D,): from p at the last position, the others staying as they
    are in x (their keys and values are constants), the block makes q = p + attention(p), then
    q + feed_forward(q). No dropout.
    """
    a, w = architecture, layer_weights(weights, layer)

    def normed(y, norm: str):
        return F.layer_norm(y, (a.width,), w[norm + ".weight"], w[norm + ".bias"])

    def projected(y):  # (..., D) -> query, key and value (..., H, D/H)
        fused = F.linear(normed(y, "norm1"), w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"])
        return fused.unflatten(-1, (3, a.heads, -1)).unbind(-3)

    _, keys, values = projected(x[:-1])  # (T - 1, H, D/H)

    def attention(p):
        query, key, value = projected(p)  # (H, D/H)
        others = torch.einsum("hd,thd->ht", query, keys)  # (H, T - 1)
        own = (query * key).sum(-1, keepdim=True)  # (H, 1)
        share = torch.softmax(torch.cat([others, own], -1) * query.shape[-1] ** -0.5, -1)  # (H, T)
        out = torch.einsum("ht,thd->hd", share[:, :-1], values) + share[:, -1:] * value  # (H, D/H)
        return F.linear(out.flatten(), w["self_attn.out_proj.weight"], w["self_attn.out_proj.bias"])

    def feed_forward(q):
        hidden = torch.relu(F.linear(normed(q, "norm2"), w["linear1.weight"], w["linear1.bias"]))  # (F,)
        return F.linear(hidden, w["linear2.weight"], w["linear2.bias"])

    return attention, feed_forward


def _stream(weights: dict, a: Architecture, tokens: torch.Tensor, dropout: Dropout | None = None):
    """The residual stream as it enters each block, (E, B·T, D), and as the last one leaves it, (E, B, D)."""
    if tokens.shape[2] != a.context:
        raise ValueError(f"tokens: {tokens.shape[2]} a history, allowed is the context of {a.context}")
    x, projected = _first(weights, a, tokens)
    masks = iter(dropout.masks(_mask_sizes(a, tokens.shape[1]), x.dtype) if dropout else _no_masks(a))
    for i in range(a.layers):
        yield x
        layer, last = layer_weights(weights, i), i == a.layers - 1
        if i:
            projected = _project(x, layer, a.context if last else 1)
        x = _block(x, projected, layer, a, tokens.shape, masks, last=last)
    yield x


def _first(weights: dict, a: Architecture, tokens: torch.Tensor):
    """What enters the first block, (E, B·T, D), and what `_project` makes of it there, looked up.

    There are only T·V different rows: a token and where it stands.
    """
    e, b, t = tokens.shape
    embedding = weights["embedding.weight"]  # (E, V, D)
    code = _positions(t, a.width, embedding.device, embedding.dtype)  # (T, D)
    table = (embedding[:, None] + code[:, None]).flatten(1, 2)  # (E, T·V, D)
    rows = torch.cat([table, *_project(table, layer_weights(weights, 0))], -1).to(table)  # (E, T·V, 4D)
    index = tokens.long() + _starts(e, t, a.n_tokens, tokens.device)
    x, *projected = F.embedding(index.reshape(e, b * t), rows.flatten(0, 1)).chunk(4, -1)
    return x, projected


@lru_cache(maxsize=64)
def _starts(members: int, context: int, n_tokens: int, device: torch.device) -> torch.Tensor:
    """The first row of each position of each member, (E, 1, T), in a table that holds those of all."""
    return torch.arange(members * context, device=device).view(members, 1, context) * n_tokens


def layer_weights(weights: dict, i: int) -> dict:
    """The weights of block i by their own names."""
    prefix = _LAYER.format(i)
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def _no_masks(a: Architecture):
    return [None] * 3 * a.layers


def _mask_sizes(a: Architecture, batch: int) -> list[tuple[int, int]]:
    """Sizes of the three masks of each block: attention branch, hidden neurons, feed-forward branch."""
    sizes = []
    for i in range(a.layers):
        rows = batch if i == a.layers - 1 else batch * a.context
        sizes += [(rows, a.width), (rows, a.width * a.expansion), (rows, a.width)]
    return sizes


def _block(x, projected, layer, a: Architecture, shape, masks, *, last: bool):
    """One pre-norm block: (E, B·T, D) -> the same, or (E, B, D) for the last, which answers one query.

    projected: queries, keys and values, (E, B·T, D) each, the queries of the last (E, B, D) or all.
    """
    e, b, t = shape
    by_head = [y.reshape(e * b, -1, a.heads, a.width // a.heads).transpose(1, 2) for y in projected]
    query, key, value = by_head  # (E·B, H, T, D/H)
    if last:  # only what is read out
        query, x = query[:, :, -1:], x.reshape(e, b, t, a.width)[:, :, -1]
    attended = attention(query, key, value).transpose(1, 2).reshape(x.shape)  # (E, B·Q, D)
    attended = linear(attended, layer["self_attn.out_proj.weight"], layer["self_attn.out_proj.bias"])
    x = _residual(x, attended, next(masks))
    hidden = torch.relu(linear(*_normalise(x, layer, "norm2", "linear1.weight", "linear1.bias")))
    mask = next(masks)
    hidden = hidden if mask is None else hidden * mask  # (E, B·Q, F)
    return _residual(x, linear(hidden, layer["linear2.weight"], layer["linear2.bias"]), next(masks))


def _project(x, layer, every: int = 1):
    """Queries of each `every`-th row of x (E, N, D), keys and values of all, of width D each."""
    y, weight, bias = _normalise(x, layer, "norm1", "self_attn.in_proj_weight", "self_attn.in_proj_bias")
    if every == 1:
        return linear(y, weight, bias).chunk(3, -1)
    d = x.shape[-1]
    query = linear(y[:, every - 1 :: every], weight[:, :d], bias[:, :d])
    return query, *linear(y, weight[:, d:], bias[:, d:]).chunk(2, -1)


def _normalise(x, layer, norm: str, weight: str, bias: str):
    """Layer norm before a projection to O outputs, its gain and shift folded into the (small) projection."""
    gain, shift = layer[norm + ".weight"], layer[norm + ".bias"]  # (E, D)
    folded = layer[weight] * gain[:, None]  # (E, O, D)
    offset = layer[bias] + (layer[weight] * shift[:, None]).sum(-1)  # (E, O)
    return F.layer_norm(x, x.shape[-1:]), folded, offset


def _residual(x, branch, mask):
    """x + branch, all (E, N, D), the branch dropped where the mask, if there is one, is 0."""
    return x + branch if mask is None else torch.addcmul(x, branch, mask)
