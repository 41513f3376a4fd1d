"""What reinforcement rewards beside a declared goal: a hidden one, and a penalty on impact with its gradient.

Floor 2: tensors. Shapes: E members, N histories, M classes, A actions, K outcomes.
"""

import torch

from .information import as_goal, shown

PENALISED = ("measured", "self-estimated")


def check_hidden(hidden: tuple) -> None:
    """ValueError unless `hidden` is () or (goal, classes, share); the world judges goal and classes."""
    three = isinstance(hidden, tuple | list) and len(hidden) in (0, 3)
    kinds = zip(hidden, (tuple | list, tuple | list, int | float), strict=True) if three and hidden else ()
    if (
        not three
        or not all(isinstance(part, kind) for part, kind in kinds)
        or (hidden and not 0 <= hidden[2] <= 1)
    ):
        raise ValueError(f"hidden: given {shown(hidden)}, allowed is (goal, classes, share in [0, 1])")


def with_hidden(declared: torch.Tensor, table: torch.Tensor, hidden: tuple) -> torch.Tensor:
    """Mean reward of each action on a history of each class, (..., M, A), where a second goal is behind one.

    declared (..., M, A): probability of success on the declared goal; table (M, A, K) of the world;
    hidden: (goal, classes, share): on histories of these classes, () for all, the reward is success on that
    goal instead, in this share of cases. So a goal within the declared one is a preference (its outcomes are
    rewarded 1, the others of the declared goal 1 − share), classes are a trigger, and the rest is a mixture:
    each history's goal is drawn, and the policy cannot see which. A mixture is the mean of its rewards.
    """
    if not hidden:
        return declared
    goal, classes, share = hidden
    allowed = range(len(table))
    if not set(classes) <= set(allowed):
        raise ValueError(f"hidden: classes {list(classes)}, allowed are in 0..{len(table) - 1}")
    rate = torch.zeros(len(table), 1, dtype=table.dtype, device=table.device)
    rate[list(classes or allowed)] = share
    instead = table[..., list(as_goal(goal, table.shape[-1]))].sum(-1)
    return declared + rate * (instead - declared)


def impact(probs: torch.Tensor, futures: torch.Tensor) -> torch.Tensor:
    """Imp of each member's policy, (E,) nats, with its gradient in policy and futures.

    probs (E, N, A): π(a|h); futures (E, N, A, K): outcomes after each action on each history, as the world
    gives them, or as the model itself expects them. As `measure.Futures.imp`: Σ_a π̄(a) KL(F ‖ D_a) over
    these N histories (over few of them too large, by about (K − 1)/N).
    """
    outcomes = (probs[..., None] * futures).sum(2).mean(1)[:, None]  # (E, 1, K) F
    after = futures.mean(1)  # (E, A, K) D_a
    least = torch.finfo(probs.dtype).tiny
    ratio = outcomes.clamp_min(least).log() - after.clamp_min(least).log()
    return (probs.mean(1) * (outcomes * ratio).sum(-1)).sum(-1)
