"""What models are trained on: windows of the sequence and histories to act on, a data set a seed and purpose.

Sequences are drawn by NumPy, or on a GPU where training needs them; held-out data are the same for all
members and devices. Shapes: E members, N windows or histories, T tokens, B of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .engine import on_gpu
from .information import as_number, check_flag, check_integer, check_seeds
from .recurrence import POST, Recurrence, drawn
from .transformer import Architecture, stream


@dataclass(frozen=True)
class Interventions:
    """Random odd tokens in place of the sequence's own, at odd positions.

    rate: how often; consequence: whether the sequence answers what was played, or goes on as if its own
    token had been.
    """

    rate: float = 0.0
    consequence: bool = True

    def __post_init__(self):
        as_number(self.rate, "rate", 0, 1)
        check_flag("consequence", self.consequence)


NONE = Interventions()
TEST_SEED = 2**31  # held-out data is the same for every member; training seeds are below it


def training_seeds(seeds) -> list[int]:
    """Seeds of members, one or more, which may come from an iterator, as a list; ValueError otherwise."""
    listed = [check_integer("seed", seed, 0) for seed in check_seeds(seeds)]
    if (most := max(listed)) >= TEST_SEED:
        raise ValueError(f"seed: given {most}, allowed is below {TEST_SEED} (held-out data begins there)")
    return listed


def check_fits(architecture: Architecture, world: Recurrence, *, acting: bool = False) -> None:
    """ValueError unless a model has the world's tokens and, if it acts, reads all that the world multiplies.

    The world multiplies `window` tokens, the last of which is the one that is played.
    """
    if architecture.n_tokens != world.n_tokens:
        raise ValueError(f"n_tokens: given {architecture.n_tokens}, allowed are the world's {world.n_tokens}")
    if acting and world.window > (most := architecture.context + 1):
        allowed = f"an integer in 2..{most} (the context and the token that is played)"
        raise ValueError(f"window: given {world.window}, allowed is {allowed}")


def training_windows(n: int, context: int, seed: int, *, world: Recurrence = POST) -> np.ndarray:
    """n independent windows (n, context + 1) of a seed's training set (TEST_SEED's: the held-out one); the
    target, the last token, is at an even position in the first half and at an odd one in the second."""
    check_integer("context", context, 1)
    return windows(world, n, context, seed, "cpu").numpy()


def windows(
    world: Recurrence, n: int, context: int, seed: int, device, interventions: Interventions = NONE
) -> torch.Tensor:
    """`training_windows` as a tensor on the device."""
    sequences = _sequences(world, n, context + 2, seed, "windows", device, interventions)
    half = n // 2
    parts = [_ending_at(0, sequences[:half], context), _ending_at(1, sequences[half:], context)]
    return torch.cat(parts)


def even_windows(
    world: Recurrence, n: int, context: int, seed: int, device, interventions: Interventions = NONE
) -> torch.Tensor:
    """Windows (n, context + 1) whose last token is at an even position, for maintenance."""
    length = context + 1 + context % 2
    return _ending_at(0, _sequences(world, n, length, seed, "keep", device, interventions), context)


def histories(world: Recurrence, n: int, context: int, seed: int, device) -> torch.Tensor:
    """Histories (n, context) that end at an even position: the policy acts next."""
    skip = (context + 1) % 2
    return _sequences(world, n, context + skip, seed, "act", device, NONE)[:, skip:]


def of_seeds(seeds, make: Callable[[int], torch.Tensor]) -> torch.Tensor:
    """What make(seed) returns, one a member, (E, ...): made once for members that share a seed."""
    made = {seed: make(seed) for seed in dict.fromkeys(seeds)}
    return torch.stack([made[seed] for seed in seeds])


def indices(n: int, batch: int, generators) -> torch.Tensor:
    """Random indices below n, each member's from its own stream, (E, B)."""
    return torch.stack([torch.randint(n, (batch,), generator=g, device=g.device) for g in generators])


def batch(rows: torch.Tensor, size: int, generators) -> torch.Tensor:
    """A random batch of each member's own rows (E, N, T): (E, B, T)."""
    return take(rows, indices(rows.shape[1], size, generators))


def take(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows (E, N, T) of each member at its own indices (E, B): (E, B, T)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))


def _ending_at(parity: int, sequences: torch.Tensor, context: int) -> torch.Tensor:
    """Windows (n, context + 1) of sequences that begin at an even position; the last token has the parity."""
    start = (context + parity) % 2
    return sequences[:, start : start + context + 1]


def _sequences(
    world: Recurrence, n: int, length: int, seed: int, purpose: str, device, interventions: Interventions
) -> torch.Tensor:
    """n sequences (n, length) of a seed's data set, which begin at an even position.

    A GPU draws training data where it needs them, from a stream of the same name.
    """
    explore = interventions.rate * interventions.consequence
    if on_gpu(device) and seed != TEST_SEED:
        sample = drawn(world, n, length, stream(seed, purpose, device), explore=explore)
    else:
        tokens = world.sample(n, length, seed=data_seed(seed, purpose), explore=explore)
        sample = torch.as_tensor(np.ascontiguousarray(tokens), device=device)
    if interventions.rate and not interventions.consequence:
        _replace(sample, world, interventions.rate, stream(seed, purpose + " replaced", device))
    return sample


def _replace(sequences: torch.Tensor, world: Recurrence, rate: float, generator: torch.Generator) -> None:
    """Put uniform odd tokens at odd positions, in place, so often."""
    odd = sequences[:, 1::2]
    there = generator.device
    random = torch.randint(world.alphabet, odd.shape, generator=generator, device=there) + world.alphabet
    replaced = torch.rand(odd.shape, generator=generator, device=there) < rate
    sequences[:, 1::2] = torch.where(replaced, random.to(odd.dtype), odd)


def data_seed(seed: int, purpose: str) -> list[int]:
    """A seed of its own for each data set; letters are not 0, so no two purposes share a stream."""
    return [seed, *purpose.encode()]
