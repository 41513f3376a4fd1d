"""Pretraining and reinforcement of an ensemble of policies: the only optimiser code.

Floor 2. Takes a configuration and the members' seeds, hands back plain NumPy weights and curves, and
reports progress through a callback; it draws no bars and writes no files. Each member has random
streams of its own (weights, data, order, dropout, actions), derived from its seed, so that it trains
the same whoever shares the ensemble.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from .information import as_goal, check_integer, check_seed, goal_mask
from .recurrence import Recurrence
from .transformer import Architecture, Dropout, initialise, logits, stream

TEST_SEED = 2**31  # held-out data is the same for every member; training seeds are below it
_EXPLODED = 50.0  # nats; guessing costs ln 16 = 2.8


class Diverged(RuntimeError):
    """A loss became NaN or exploded; the message names the step and the member."""


@dataclass(frozen=True)
class Pretraining:
    """How a policy learns to predict the sequence (post, section "Pretraining on Sequence Prediction").

    steps: optimiser updates; batch: windows an update; rate: peak AdamW learning rate, reached after
    `warmup` updates and then lowered along a cosine to a tenth; train_size: windows in the finite
    training set (half with an even target position, half odd); test_size: held-out windows;
    evaluations: how often the held-out loss is taken.
    """

    steps: int = 2500
    batch: int = 256
    rate: float = 1e-2
    warmup: int = 100
    weight_decay: float = 0.01
    dropout: float = 0.1
    train_size: int = 2**18
    test_size: int = 4096
    evaluations: int = 25

    def __post_init__(self):
        _check(self, ("steps", "batch", "train_size", "test_size", "evaluations"), ("rate",))


@dataclass(frozen=True)
class Reinforcement:
    """How a pretrained policy is finetuned on a goal (same section of the post).

    goal: the outcomes s_{t+1} that count as success; updates, batch, rate, warmup: as in Pretraining;
    rollouts: actions drawn from each history's logits at temperature 1; maintenance_*: the separate
    optimiser step that keeps next-token prediction at even positions, at a much lower rate (0: none);
    pool: histories in the finite set that the policy acts on; evaluations: rows of the curves.
    """

    goal: tuple[int, ...]
    updates: int = 600
    batch: int = 256
    rollouts: int = 32
    rate: float = 3e-3
    warmup: int = 20
    maintenance_batch: int = 128
    maintenance_rate: float = 3e-4
    weight_decay: float = 0.01
    dropout: float = 0.1
    pool: int = 2**17
    test_size: int = 2048
    evaluations: int = 15

    def __post_init__(self):
        _check(
            self,
            ("updates", "batch", "rollouts", "maintenance_batch", "pool", "test_size", "evaluations"),
            ("rate",),
        )
        _check_number("maintenance_rate", self.maintenance_rate, "a number >= 0", lambda v: 0 <= v < math.inf)
        object.__setattr__(self, "goal", as_goal(self.goal, Recurrence().alphabet))


@dataclass
class Trained:
    """What training leaves: weights {name: (E, ...)} float32, curves {column: (E, evaluations)}."""

    weights: dict[str, np.ndarray]
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def member(self, e: int) -> "Trained":
        """Member e as an ensemble of one."""
        return Trained(
            {k: v[e : e + 1] for k, v in self.weights.items()},
            {k: v[e : e + 1] for k, v in self.curves.items()},
        )


# (updates done, updates in all, loss of each member in nats)
Progress = Callable[[int, int, np.ndarray], None]


def pretrain(
    architecture: Architecture,
    config: Pretraining,
    seeds,
    *,
    progress: Progress | None = None,
    device="cpu",
    dtype=torch.float32,
) -> Trained:
    """Train one member a seed to predict the next token at either parity.

    Curves (per member, before the first update and at each evaluation): step, train_loss (mean since the
    last evaluation, dropout on), test_loss and test_accuracy on held-out windows, in nats and as a share.
    Raises Diverged if a loss is NaN or explodes.
    """
    _check_seeds(seeds)
    windows = _to(
        np.stack([training_windows(config.train_size, architecture.context, s) for s in seeds]), device
    )
    held_out = _to(training_windows(config.test_size, architecture.context, TEST_SEED), device)
    learner = _Learner(
        architecture, initialise(architecture, seeds, dtype=dtype), config, config.steps, device
    )
    order = [stream(s, "order", device) for s in seeds]
    dropout = Dropout(config.dropout, [stream(s, "dropout", device) for s in seeds])

    def held_out_row():
        test_loss, test_accuracy = evaluate(learner.weights, architecture, held_out)
        return {"test_loss": test_loss, "test_accuracy": test_accuracy}

    names = [f"seed {s}" for s in seeds]
    log = _Log(config.steps, config.evaluations, names, "pretraining", progress, held_out_row)
    for step in range(1, config.steps + 1):
        loss = learner.update(
            lambda w: prediction_loss(w, architecture, _batch(windows, config.batch, order), dropout)
        )
        log.record(step, loss)
    return Trained(learner.numpy(), log.curves())


def reinforce(
    architecture: Architecture,
    config: Reinforcement,
    weights: dict[str, np.ndarray],
    seeds,
    *,
    world: Recurrence | None = None,
    progress: Progress | None = None,
    device="cpu",
    dtype=torch.float32,
) -> Trained:
    """Finetune pretrained members (weights {name: (E, ...)}) on one goal; one seed a member.

    At odd t the policy acts, the world answers, and the log-likelihood of its successful actions is
    raised: cross-entropy summed over successes, divided by all draws; failures are ignored. A second
    optimiser keeps prediction at even t alive. Curves: step, train_loss, success (temperature 1, exact
    over the world's noise, on the training batches since the last row, dropout on), success_greedy and
    wrong_parity_greedy (temperature 0, held-out histories), even_loss and even_accuracy (held-out windows).
    Raises Diverged.
    """
    _check_seeds(seeds)
    if len(weights["readout.bias"]) != len(seeds):
        raise ValueError(
            f"weights: {len(weights['readout.bias'])} members, allowed are as many as seeds: {len(seeds)}"
        )
    world = world or Recurrence()
    scene = _Scene(world, config, architecture.context, seeds, device)
    learner = _Learner(architecture, _tensors(weights, dtype), config, config.updates, device)
    keeper = torch.optim.AdamW(
        learner.weights.values(), lr=config.maintenance_rate, weight_decay=0.0, fused=True
    )
    streams = {
        name: [stream([s, *config.goal], name, device) for s in seeds]
        for name in ("order", "dropout", "act", "keep")
    }
    dropout = Dropout(config.dropout, streams["dropout"])

    def held_out_row():
        return scene.evaluate(learner.weights, architecture)

    names = [f"seed {s} of goal {set(config.goal)}" for s in seeds]
    log = _Log(config.updates, config.evaluations, names, "reinforcement", progress, held_out_row)
    for step in range(1, config.updates + 1):
        loss = learner.update(lambda w: scene.loss(w, architecture, streams, dropout))
        if config.maintenance_rate:
            batch = _batch(scene.even_windows, config.maintenance_batch, streams["keep"])
            kept = prediction_loss(learner.weights, architecture, batch, dropout)
            _step(keeper, kept)
            log.check(step, "maintenance loss", kept.detach())
        log.record(step, loss)
    return Trained(learner.numpy(), log.curves())


def training_windows(n: int, context: int, seed: int, *, world: Recurrence | None = None) -> np.ndarray:
    """n independent windows (n, context + 1) of a seed's training set (TEST_SEED's: the held-out one); the
    target, the last token, is at an even position in the first half and at an odd one in the second."""
    sequences = (world or Recurrence()).sample(n, context + 2, seed=_data_seed(seed, "windows"))
    half = n // 2
    return np.concatenate(
        [_ending_at(0, sequences[:half], context), _ending_at(1, sequences[half:], context)]
    )


def _ending_at(parity: int, sequences: np.ndarray, context: int) -> np.ndarray:
    """Windows (n, context + 1) of sequences that begin at an even position; the last token has the parity."""
    start = (context + parity) % 2
    return sequences[:, start : start + context + 1]


def _data_seed(seed: int, purpose: str) -> list[int]:
    """A seed of its own for each data set; letters are not 0, so no two purposes share a stream."""
    return [seed, *purpose.encode()]


def prediction_loss(weights, architecture: Architecture, windows: torch.Tensor, dropout=None) -> torch.Tensor:
    """Cross-entropy of the last token given those before, per member: windows (E, B, T + 1) -> (E,) nats."""
    answer = logits(weights, architecture, windows[..., :-1], dropout)
    return _cross_entropy(answer, windows[..., -1].long())


def _cross_entropy(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of each member's own, logits (E, B, V) and targets (E, B) -> (E,) nats."""
    losses = F.cross_entropy(answer.flatten(0, 1), target.flatten(), reduction="none")
    return losses.view(target.shape).mean(1)


@torch.no_grad()
def evaluate(weights, architecture: Architecture, windows: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Held-out cross-entropy (nats) and accuracy of each member, (E,) each, on windows (N, T + 1)."""
    answer = action_logits(weights, architecture, windows[:, :-1])
    target = windows[:, -1].long().expand(answer.shape[:2])
    loss = _cross_entropy(answer, target)
    return loss.cpu().numpy(), (answer.argmax(-1) == target).double().mean(1).cpu().numpy()


@torch.no_grad()
def action_logits(weights, architecture: Architecture, histories, *, chunk: int = 1024) -> torch.Tensor:
    """Logits (E, N, V) of every member on the same histories (N, T), in chunks that stay in cache."""
    bias = weights["readout.bias"]
    e, parts = len(bias), torch.as_tensor(histories, device=bias.device).split(chunk)
    return torch.cat([logits(weights, architecture, part.expand(e, *part.shape)) for part in parts], 1)


def as_policy(weights: dict, architecture: Architecture, *, member: int = 0, temperature: float = 0.0):
    """A trained member as a policy for `split_history`: histories (N, T) -> what `choose` makes of them.

    Temperature 0 plays the likeliest of all 16 tokens.
    """
    alone = {k: torch.as_tensor(v[member : member + 1]) for k, v in weights.items()}
    return lambda histories: choose(action_logits(alone, architecture, histories)[0], temperature)


def choose(answer: torch.Tensor, temperature: float) -> np.ndarray:
    """What a policy does with its logits (N, V).

    At temperature 0 the likeliest token (N,), else probabilities (N, V).
    """
    if temperature < 0:
        raise ValueError(f"temperature: given {temperature}, allowed are numbers >= 0")
    if temperature == 0:
        return answer.argmax(-1).cpu().numpy()
    return torch.softmax(answer.double() / temperature, -1).cpu().numpy()


class _Scene:
    """The histories a policy acts on and the world's answers, as tensors on the device."""

    def __init__(self, world: Recurrence, config: Reinforcement, context: int, seeds, device):
        def even_windows(n, seed, purpose):
            length = context + 1 + context % 2
            return _ending_at(0, world.sample(n, length, seed=_data_seed(seed, purpose)), context)

        def histories(n, seed, purpose):
            return world.histories(n, context, seed=_data_seed(seed, purpose))

        pools = np.stack([histories(config.pool, s, "act") for s in seeds])
        self.histories = _to(pools, device)  # (E, N, T)
        self.classes = _to(np.stack([world.classes(pool) for pool in pools]), device)  # (E, N)
        # (E, N, T + 1)
        self.even_windows = _to(np.stack([even_windows(config.pool, s, "keep") for s in seeds]), device)
        success = world.table[:, :, goal_mask(config.goal, world.alphabet)].sum(-1)
        self.success = _to(success, device)  # (M, A): probability of success
        self.held_out = histories(config.test_size, TEST_SEED, "act")
        self.held_out_classes = _to(world.classes(self.held_out), device)
        self.held_out_even = _to(even_windows(config.test_size, TEST_SEED, "keep"), device)
        self.config, self.n_odd, self.rates = config, world.alphabet, []

    def loss(self, weights, architecture: Architecture, streams, dropout) -> torch.Tensor:
        """− Σ over successful draws of ln π(a|h) / number of draws, (E,) nats."""
        index = _indices(self.histories.shape[1], self.config.batch, streams["order"])
        histories = _take(self.histories, index)
        answer = F.log_softmax(logits(weights, architecture, histories, dropout), -1)  # (E, B, A)
        success = self.success[self.classes.gather(1, index)].to(answer.dtype)  # (E, B, A)
        with torch.no_grad():
            self.rates.append((answer.exp() * success).sum(-1).mean(1))
            wins = _successful_draws(answer.exp(), success, self.config.rollouts, streams["act"])
        return -(wins * answer).sum((1, 2)) / (self.config.batch * self.config.rollouts)

    @torch.no_grad()
    def evaluate(self, weights, architecture: Architecture) -> dict[str, np.ndarray]:
        action = action_logits(weights, architecture, self.held_out).argmax(-1)  # (E, N)
        success = self.success[self.held_out_classes.expand(action.shape), action]
        even_loss, even_accuracy = evaluate(weights, architecture, self.held_out_even)
        rates = torch.stack(self.rates) if self.rates else torch.full((1, len(action)), torch.nan)
        self.rates = []
        return {
            "success": rates.double().mean(0).cpu().numpy(),
            "success_greedy": success.double().mean(1).cpu().numpy(),
            "wrong_parity_greedy": (action < self.n_odd).double().mean(1).cpu().numpy(),
            "even_loss": even_loss,
            "even_accuracy": even_accuracy,
        }


def _successful_draws(probs, success, rollouts: int, generators) -> torch.Tensor:
    """How often each action was drawn and succeeded, (E, B, A): the world's answer is a coin whose bias
    is the exact probability of success, so the outcome itself need not be drawn."""
    _, b, a = probs.shape
    uniform = torch.stack([torch.rand((b, 2 * rollouts), generator=g, device=g.device) for g in generators])
    draw, coin = uniform.to(probs.dtype).split(rollouts, -1)
    action = torch.searchsorted(probs.cumsum(-1), draw.contiguous()).clamp_(max=a - 1)  # (E, B, R)
    won = (coin < success.gather(2, action)).to(probs.dtype)
    return torch.zeros_like(probs).scatter_add_(2, action, won)


class _Learner:
    """Weights as leaf tensors, their AdamW and its schedule."""

    def __init__(self, architecture, weights, config, updates: int, device):
        self.weights = {k: v.to(device).clone().requires_grad_() for k, v in weights.items()}
        expected = architecture.shapes()
        given = {k: tuple(v.shape[1:]) for k, v in weights.items()}
        if given != expected:
            wrong = sorted(k for k in expected.keys() | given.keys() if expected.get(k) != given.get(k))[0]
            raise ValueError(f"weights: {wrong} is {given.get(wrong)}, allowed is {expected.get(wrong)}")
        self.optimiser = torch.optim.AdamW(
            self.weights.values(), lr=config.rate, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: _schedule(step + 1, updates, config.warmup)
        )

    def update(self, loss: Callable) -> torch.Tensor:
        """One step on loss(weights) -> (E,); returns the losses, detached."""
        losses = loss(self.weights)
        _step(self.optimiser, losses)
        self.schedule.step()
        return losses.detach()

    def numpy(self) -> dict[str, np.ndarray]:
        return {k: v.detach().float().cpu().numpy() for k, v in self.weights.items()}


class _Log:
    """Curves of a run: watches every loss, and adds a row of held-out values when one is due."""

    def __init__(self, total: int, rows: int, names: list[str], stage: str, progress, evaluate: Callable):
        self.total, self.names, self.stage, self.progress = total, names, stage, progress
        self.evaluate = evaluate
        self.due = {round(total * (i + 1) / rows) for i in range(rows)}
        self.losses: list[np.ndarray] = []
        self.rows: list[dict[str, np.ndarray]] = []
        self._row(0)  # before the first update

    def record(self, step: int, loss: torch.Tensor) -> None:
        self.losses.append(self.check(step, "loss", loss))
        if self.progress:
            self.progress(step, self.total, self.losses[-1])
        if step in self.due:
            self._row(step)

    def check(self, step: int, what: str, loss) -> np.ndarray:
        """The losses as an array (E,); raises Diverged at the first one that is NaN or too large."""
        values = torch.as_tensor(loss).double().cpu().numpy()
        bad = ~(values < _EXPLODED)
        if bad.any():
            e = int(bad.argmax())
            where = f"member {e} ({self.names[e]}) is {values[e]:.4g} nats at step {step}"
            raise Diverged(f"{self.stage}: {what} of {where}; try a lower rate")
        return values

    def _row(self, step: int) -> None:
        nothing_yet = np.full(len(self.names), np.nan)
        train_loss = np.mean(self.losses, 0) if self.losses else nothing_yet
        self.losses = []
        held_out = self.evaluate()
        for name in held_out.keys() & {"test_loss", "even_loss"}:
            self.check(step, name, held_out[name])
        steps = np.full(len(self.names), step)
        self.rows.append({"step": steps, "train_loss": train_loss, **held_out})

    def curves(self) -> dict[str, np.ndarray]:
        return {name: np.stack([row[name] for row in self.rows], 1) for name in self.rows[0]}


def _schedule(step: int, updates: int, warmup: int) -> float:
    """Learning rate over its peak: linear warm-up, then a cosine down to a tenth."""
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, updates - warmup))
    return 0.55 + 0.45 * math.cos(math.pi * done)


def _step(optimiser, losses: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    losses.sum().backward()  # members share no weight: the gradient of the sum is each one's own
    optimiser.step()


def _indices(n: int, batch: int, generators) -> torch.Tensor:
    return torch.stack([torch.randint(n, (batch,), generator=g, device=g.device) for g in generators])


def _batch(windows: torch.Tensor, batch: int, generators) -> torch.Tensor:
    """A random batch of each member's own windows, (E, batch, T + 1)."""
    return _take(windows, _indices(windows.shape[1], batch, generators))


def _take(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows (E, N, T) of each member at its own indices (E, B): (E, B, T)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))


def _to(array: np.ndarray, device) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), device=device)


def _tensors(weights: dict[str, np.ndarray], dtype) -> dict[str, torch.Tensor]:
    return {k: torch.as_tensor(v).to(dtype) for k, v in weights.items()}


def _check(config, counts: tuple[str, ...], rates: tuple[str, ...]) -> None:
    for name in counts:
        check_integer(name, getattr(config, name), 1)
    check_integer("warmup", config.warmup, 0)
    for name in rates:
        _check_number(name, getattr(config, name), "a positive number", lambda v: 0 < v < math.inf)
    _check_number("weight_decay", config.weight_decay, "a number >= 0", lambda v: 0 <= v < math.inf)
    _check_number("dropout", config.dropout, "a number in [0, 1)", lambda v: 0 <= v < 1)


def _check_number(name: str, value, allowed: str, holds: Callable) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise ValueError(f"{name}: given {value!r}, allowed is {allowed}")


def _check_seeds(seeds) -> None:
    if not len(seeds):
        raise ValueError("seeds: none given, allowed is at least one integer >= 0")
    for seed in seeds:
        if check_seed(seed) >= TEST_SEED:
            raise ValueError(f"seed: given {seed}, allowed is below {TEST_SEED} (held-out data begins there)")
