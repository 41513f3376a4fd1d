"""Pretraining and reinforcement of an ensemble of policies: the only optimiser code.

Floor 2. Takes a configuration and the members' seeds, hands back plain NumPy weights and curves, and
reports progress through a callback; it draws no bars and writes no files. Each member has random
streams of its own (weights, data, order, dropout, actions), derived from its seed, so that it trains
the same whoever shares the ensemble. Its whole state can be taken as plain arrays after any update, and
training that goes on from it ends, on a CPU, with the same weights bit for bit.
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
PRECISIONS = ("float32", "bfloat16")
ARMS = ("sampled", "exact")
MAINTENANCE = ("generator", "acted", "joint", "none")
_EXPLODED = 50.0  # nats; guessing costs ln 16 = 2.8
_DRAIN = 10  # updates whose losses wait on the device before they are looked at


class Diverged(RuntimeError):
    """A loss became NaN or exploded; the message names the step and the member."""


@dataclass(frozen=True)
class Pretraining:
    """How a policy learns to predict the sequence (post, section "Pretraining on Sequence Prediction").

    steps: optimiser updates; batch: windows an update; rate: peak AdamW learning rate, reached after
    `warmup` updates and then lowered along a cosine to a tenth; train_size: windows in the finite
    training set (half with an even target position, half odd); test_size: held-out windows;
    evaluations: how often the held-out loss is taken; precision: number format of the matrix products
    while training ("float32" or "bfloat16"; weights, sums and evaluation are float32 in both).
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
    precision: str = "float32"

    def __post_init__(self):
        _check(self, ("steps", "batch", "train_size", "test_size", "evaluations"), ("rate",))


@dataclass(frozen=True)
class Reinforcement:
    """How a pretrained policy is finetuned on a goal (same section of the post).

    goal: the outcomes s_{t+1} that count as success; updates, batch, rate, warmup, precision: as in
    Pretraining; arm: "sampled" reinforces the successes among `rollouts` actions drawn from each history's
    logits at temperature 1, "exact" weights every action by π(a|h)·P(success|h,a), its expectation;
    failure_weight: weight of the failures' log-likelihood, subtracted (0: ignored, as in the post);
    maintenance: what keeps next-token prediction at even positions: "generator", an optimiser step of its
    own at the much lower `maintenance_rate` on windows of the sequence; "acted", the same on histories
    that the model acted in; "joint", the loss added with `maintenance_weight` to the one step; or "none";
    pool: histories in the finite set that the policy acts on; evaluations: rows of the curves.
    """

    goal: tuple[int, ...]
    updates: int = 600
    batch: int = 256
    arm: str = "sampled"
    rollouts: int = 32
    failure_weight: float = 0.0
    rate: float = 3e-3
    warmup: int = 20
    maintenance: str = "generator"
    maintenance_batch: int = 128
    maintenance_rate: float = 1e-3
    maintenance_weight: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    pool: int = 2**17
    test_size: int = 2048
    evaluations: int = 15
    precision: str = "float32"

    def __post_init__(self):
        _check(
            self,
            ("updates", "batch", "rollouts", "maintenance_batch", "pool", "test_size", "evaluations"),
            ("rate", "maintenance_rate", "maintenance_weight"),
        )
        _check_number("failure_weight", self.failure_weight, "a number >= 0", lambda v: 0 <= v < math.inf)
        _check_choice("arm", self.arm, ARMS)
        _check_choice("maintenance", self.maintenance, MAINTENANCE)
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


# (updates done, updates in all, newest loss of each member in nats), every few updates
Progress = Callable[[int, int, np.ndarray], None]
State = dict[str, np.ndarray]  # all that training needs to go on from an update
Keep = Callable[[Callable[[], State]], None]  # called after each update; takes the state when it wants to


def pretrain(
    architecture: Architecture,
    config: Pretraining,
    seeds,
    *,
    progress: Progress | None = None,
    state: State | None = None,
    keep: Keep | None = None,
    device="cpu",
    dtype=torch.float32,
) -> Trained:
    """Train one member a seed to predict the next token at either parity.

    state: go on from here, as `keep` took it from a run with the same arguments. Curves (per member, before
    the first update and at each evaluation): step, train_loss (mean since the last evaluation, dropout on),
    test_loss and test_accuracy on held-out windows, in nats and as a share. Raises Diverged if a loss is
    NaN or explodes.
    """
    _check_seeds(seeds)
    windows = _to(
        np.stack([training_windows(config.train_size, architecture.context, s) for s in seeds]), device
    )
    held_out = _to(training_windows(config.test_size, architecture.context, TEST_SEED), device)
    streams = {name: [stream(s, name, device) for s in seeds] for name in ("order", "dropout")}
    dropout = Dropout(config.dropout, streams["dropout"])
    learner = _Learner(architecture, initialise(architecture, seeds, dtype=dtype), config, device)

    def update(step: int) -> dict[str, torch.Tensor]:
        batch = _batch(windows, config.batch, streams["order"])
        loss = prediction_loss(learner.weights(), architecture, batch, dropout, config.precision)
        learner.step(loss, _schedule(step, config.steps, config.warmup))
        return {"train_loss": loss.detach()}

    def held_out_row() -> dict[str, np.ndarray]:
        test_loss, test_accuracy = evaluate(learner.weights(), architecture, held_out)
        return {"test_loss": test_loss, "test_accuracy": test_accuracy}

    names = [f"seed {s}" for s in seeds]
    log = _Log(config.steps, config.evaluations, names, "pretraining", progress, held_out_row)
    return _Loop(config.steps, update, {"adam": learner}, streams, log).run(state, keep)


def reinforce(
    architecture: Architecture,
    config: Reinforcement,
    weights: dict[str, np.ndarray],
    seeds,
    *,
    world: Recurrence | None = None,
    progress: Progress | None = None,
    state: State | None = None,
    keep: Keep | None = None,
    device="cpu",
    dtype=torch.float32,
) -> Trained:
    """Finetune pretrained members (weights {name: (E, ...)}) on one goal; one seed a member.

    At odd t the policy acts, the world answers, and the log-likelihood of its successful actions is
    raised: cross-entropy summed over successes, divided by all draws; failures are ignored (or see
    `Reinforcement`). Maintenance keeps prediction at even t alive. state: as in `pretrain`. Curves: step,
    train_loss, success and wrong_parity (temperature 1, exact over the world's noise, on the training
    batches since the last row, dropout on), maintenance_loss (unless there is none), success_greedy and
    wrong_parity_greedy (temperature 0, held-out histories), even_loss and even_accuracy (held-out windows).
    Raises Diverged.
    """
    _check_seeds(seeds)
    if len(weights["readout.bias"]) != len(seeds):
        raise ValueError(
            f"weights: {len(weights['readout.bias'])} members, allowed are as many as seeds: {len(seeds)}"
        )
    scene = _Scene(world or Recurrence(), config, architecture, seeds, device)
    learner = _Learner(architecture, _tensors(weights, dtype), config, device)
    learners, keeper = {"adam": learner}, None
    if config.maintenance in ("generator", "acted"):
        keeper = learners["keeper"] = learner.second(config.maintenance_rate)

    def update(step: int) -> dict[str, torch.Tensor]:
        loss, windows, values = scene.loss(learner.weights())
        kept = scene.maintenance_loss(learner.weights(), windows) if config.maintenance == "joint" else None
        total = loss if kept is None else loss + config.maintenance_weight * kept
        learner.step(total, _schedule(step, config.updates, config.warmup))
        if keeper:
            kept = scene.maintenance_loss(learner.weights(), windows)
            keeper.step(kept)
        return values | ({} if kept is None else {"maintenance_loss": kept.detach()})

    names = [f"seed {s} of goal {set(config.goal)}" for s in seeds]
    held_out_row = lambda: scene.evaluate(learner.weights())  # noqa: E731
    log = _Log(config.updates, config.evaluations, names, "reinforcement", progress, held_out_row)
    log.untrained = ("even_loss",) if config.maintenance == "none" else ()
    return _Loop(config.updates, update, learners, scene.streams, log).run(state, keep)


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


def prediction_loss(
    weights, architecture: Architecture, windows: torch.Tensor, dropout=None, precision: str = "float32"
) -> torch.Tensor:
    """Cross-entropy of the last token given those before, per member: windows (E, B, T + 1) -> (E,) nats."""
    answer = _logits(weights, architecture, windows[..., :-1], dropout, precision)
    return _cross_entropy(answer, windows[..., -1].long())


def _logits(weights, architecture: Architecture, tokens, dropout, precision: str) -> torch.Tensor:
    """`logits` with matrix products in the precision asked for; handed out in that of the weights."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        answer = logits(weights, architecture, tokens, dropout)
    return answer.to(weights["readout.bias"].dtype)


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

    def __init__(self, world: Recurrence, config: Reinforcement, architecture: Architecture, seeds, device):
        context = architecture.context

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
        self.outcomes = _to(world.table, device)  # (M, A, K): probability of each outcome
        # (M, A): probability of success
        self.success = self.outcomes[:, :, _to(goal_mask(config.goal, world.alphabet), device)].sum(-1)
        self.held_out = histories(config.test_size, TEST_SEED, "act")
        self.held_out_classes = _to(world.classes(self.held_out), device)
        self.held_out_even = _to(even_windows(config.test_size, TEST_SEED, "keep"), device)
        self.streams = {
            name: [stream([s, *config.goal], name, device) for s in seeds]
            for name in ("order", "dropout", "act", "keep")
        }
        self.dropout = Dropout(config.dropout, self.streams["dropout"])
        self.architecture, self.config, self.n_odd = architecture, config, world.alphabet

    def loss(self, weights):
        """(− Σ over successful draws of ln π(a|h) / number of draws, (E,) nats; windows for maintenance,
        (E, B, T + 1); what the curves record)."""
        index = _indices(self.histories.shape[1], self.config.batch, self.streams["order"])
        histories, classes = _take(self.histories, index), self.classes.gather(1, index)
        answer = _logits(weights, self.architecture, histories, self.dropout, self.config.precision)
        answer = F.log_softmax(answer, -1)  # (E, B, A)
        with torch.no_grad():
            probs, success = answer.exp(), self.success[classes].to(answer.dtype)
            credit = self._credit(probs, success)
            windows = self._maintenance_windows(histories, classes, probs)
        loss = -(credit * answer).sum((1, 2)) / self.config.batch
        rates = {
            "success": (probs * success).sum(-1).mean(1),
            "wrong_parity": probs[..., : self.n_odd].sum(-1).mean(1),
        }
        return loss, windows, {"train_loss": loss.detach(), **rates}

    def _credit(self, probs, success) -> torch.Tensor:
        """Weight of each action's log-likelihood, (E, B, A): successes less weighted failures a draw."""
        if self.config.arm == "exact":
            drawn, won = probs, probs * success
        else:
            drawn, won = _draws(probs, success, self.config.rollouts, self.streams["act"])
        failures = self.config.failure_weight
        return won - failures * (drawn - won) if failures else won

    def _maintenance_windows(self, histories, classes, probs) -> torch.Tensor | None:
        """Windows whose last token, at an even position, maintenance predicts; (E, B, T + 1)."""
        n = self.config.maintenance_batch
        if self.config.maintenance == "none":
            return None
        if self.config.maintenance != "acted":
            return _batch(self.even_windows, n, self.streams["keep"])
        # the policy acts, the world answers: what it saw, what it did, what came of it
        index = _indices(histories.shape[1], n, self.streams["keep"])
        action = _choice(_take(probs, index), self.streams["keep"])
        outcome = _choice(self.outcomes[classes.gather(1, index), action], self.streams["keep"])
        pasts = _take(histories, index)[..., 1:]
        return torch.cat([pasts, action[..., None].to(pasts), outcome[..., None].to(pasts)], -1)

    def maintenance_loss(self, weights, windows) -> torch.Tensor:
        """Cross-entropy of even-position tokens, (E,) nats, dropout on."""
        return prediction_loss(weights, self.architecture, windows, self.dropout, self.config.precision)

    @torch.no_grad()
    def evaluate(self, weights) -> dict[str, np.ndarray]:
        action = action_logits(weights, self.architecture, self.held_out).argmax(-1)  # (E, N)
        success = self.success[self.held_out_classes.expand(action.shape), action]
        even_loss, even_accuracy = evaluate(weights, self.architecture, self.held_out_even)
        return {
            "success_greedy": success.double().mean(1).cpu().numpy(),
            "wrong_parity_greedy": (action < self.n_odd).double().mean(1).cpu().numpy(),
            "even_loss": even_loss,
            "even_accuracy": even_accuracy,
        }


def _uniform(shape: tuple[int, ...], generators) -> torch.Tensor:
    """Uniform draws (E, *shape), each member's from its own stream."""
    return torch.stack([torch.rand(shape, generator=g, device=g.device) for g in generators])


def _choice(probs: torch.Tensor, generators) -> torch.Tensor:
    """One draw from each distribution: probs (E, B, A) -> (E, B) integers."""
    draw = _uniform((probs.shape[1], 1), generators).to(probs.dtype)
    return torch.searchsorted(probs.cumsum(-1), draw)[..., 0].clamp_(max=probs.shape[-1] - 1)


def _draws(probs, success, rollouts: int, generators) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of draws in which each action was played, and was played and succeeded; both (E, B, A).

    The world's answer is a coin whose bias is the exact probability of success, so the outcome itself
    need not be drawn.
    """
    _, b, a = probs.shape
    draw, coin = _uniform((b, 2 * rollouts), generators).to(probs.dtype).split(rollouts, -1)
    action = torch.searchsorted(probs.cumsum(-1), draw.contiguous()).clamp_(max=a - 1)  # (E, B, R)
    share = torch.full_like(draw, 1 / rollouts)
    drawn = torch.zeros_like(probs).scatter_add_(2, action, share)
    won = torch.zeros_like(probs).scatter_add_(2, action, share * (coin < success.gather(2, action)))
    return drawn, won


class _Learner:
    """Every weight of the ensemble in one tensor (E, P), and AdamW on it: one update is one kernel."""

    def __init__(self, architecture: Architecture, weights, config, device):
        self.shapes = architecture.shapes()
        _check_weights(weights, self.shapes)
        flat = torch.cat([weights[name].flatten(1) for name in self.shapes], 1)
        self.flat = flat.to(device).clone().requires_grad_()
        self._make_adam(config.rate, config.weight_decay)

    def second(self, rate: float) -> "_Learner":
        """Another optimiser of the same weights, with moments of its own and no weight decay."""
        other = object.__new__(_Learner)
        other.shapes, other.flat = self.shapes, self.flat
        other._make_adam(rate, 0.0)
        return other

    def _make_adam(self, rate: float, weight_decay: float) -> None:
        self.rate = rate
        self.adam = torch.optim.AdamW([self.flat], lr=rate, weight_decay=weight_decay, fused=True)

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, (E, ...) each: views of the one tensor."""
        parts = self.flat.split([math.prod(shape) for shape in self.shapes.values()], 1)
        return {
            name: part.view(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def step(self, losses: torch.Tensor, share_of_rate: float = 1.0) -> None:
        """One update on losses (E,)."""
        self.adam.param_groups[0]["lr"] = self.rate * share_of_rate
        self.flat.grad = None
        losses.sum().backward()  # members share no weight: the gradient of the sum is each one's own
        self.adam.step()

    def numpy(self) -> dict[str, np.ndarray]:
        return {k: v.detach().float().cpu().numpy().copy() for k, v in self.weights().items()}

    def state(self) -> State:
        moments = {name: value.cpu().numpy().copy() for name, value in self.adam.state[self.flat].items()}
        return {"flat": self.flat.detach().cpu().numpy().copy(), **moments}

    def restore(self, state: State) -> None:
        tensors = {name: torch.tensor(value, device=self.flat.device) for name, value in state.items()}
        with torch.no_grad():
            self.flat.copy_(tensors.pop("flat"))
        self.adam.state[self.flat] = tensors


class _Loop:
    """Updates one after another, from the first or from a state that an earlier run handed out."""

    def __init__(self, total: int, update: Callable, learners: dict[str, _Learner], streams, log: "_Log"):
        self.total, self.update, self.learners, self.streams, self.log = total, update, learners, streams, log
        self.done = 0

    def run(self, state: State | None, keep: Keep | None) -> Trained:
        if state is None:
            self.log.begin()
        else:
            self._restore(state)
        while self.done < self.total:
            self.done += 1
            self.log.record(self.done, self.update(self.done))
            if keep:
                keep(self._state)
        return Trained(self.learners["adam"].numpy(), self.log.curves())

    def _state(self) -> State:
        state = {"done": np.array(self.done)}
        for name, learner in self.learners.items():
            state |= {f"{name}.{k}": v for k, v in learner.state().items()}
        for name, generators in self.streams.items():
            state[f"stream.{name}"] = np.stack([g.get_state().numpy() for g in generators])
        return state | {f"log.{k}": v for k, v in self.log.state().items()}

    def _restore(self, state: State) -> None:
        def part(name: str) -> State:
            return {k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")}

        self.done = int(state["done"])
        for name, learner in self.learners.items():
            learner.restore(part(name))
        for name, generators in self.streams.items():
            for generator, saved in zip(generators, state[f"stream.{name}"], strict=True):
                generator.set_state(torch.tensor(saved))
        self.log.restore(part("log"))


class _Log:
    """Curves of a run: watches every loss, and adds a row of held-out values when one is due.

    What an update reports waits on the device and is looked at every few updates: an accelerator must not
    stop for it.
    """

    def __init__(self, total: int, rows: int, names: list[str], stage: str, progress, evaluate: Callable):
        self.total, self.names, self.stage, self.progress = total, names, stage, progress
        self.evaluate = evaluate
        self.due = {round(total * (i + 1) / rows) for i in range(rows)}
        self.untrained: tuple[str, ...] = ()  # losses that may grow without end, and training be sound
        self.waiting: list[tuple[int, dict[str, torch.Tensor]]] = []
        self.seen: dict[str, list[np.ndarray]] = {}  # since the last row
        self.rows: list[dict[str, np.ndarray]] = []

    def begin(self) -> None:
        """The row before the first update."""
        self._row(0)

    def record(self, step: int, values: dict[str, torch.Tensor]) -> None:
        self.waiting.append((step, values))
        if len(self.waiting) == _DRAIN or step in self.due:
            self._drain()
        if step in self.due:
            self._row(step)

    def _drain(self) -> None:
        for step, values in self.waiting:
            for name, value in values.items():
                self.seen.setdefault(name, []).append(self._checked(step, name, value))
        if self.waiting and self.progress:
            self.progress(step, self.total, self.seen["train_loss"][-1])
        self.waiting = []

    def _checked(self, step: int, what: str, value) -> np.ndarray:
        """The value as an array (E,); raises Diverged at the first loss that is NaN or too large."""
        values = torch.as_tensor(value).double().cpu().numpy()
        limit = np.inf if what in self.untrained else _EXPLODED
        bad = ~(np.abs(values) < limit) & what.endswith("loss")
        if bad.any():
            e = int(bad.argmax())
            where = f"member {e} ({self.names[e]}) is {values[e]:.4g} nats at step {step}"
            raise Diverged(f"{self.stage}: {what} of {where}; try a lower rate")
        return values

    def _row(self, step: int) -> None:
        held_out = {name: self._checked(step, name, value) for name, value in self.evaluate().items()}
        means = {name: np.mean(values, 0) for name, values in self.seen.items()}
        self.seen = {}
        self.rows.append({"step": np.full(len(self.names), step), **means, **held_out})

    def curves(self) -> dict[str, np.ndarray]:
        """{column: (E, rows)}; a mean over updates is NaN before the first one."""
        nothing = np.full(len(self.names), np.nan)
        names = ["step", *sorted(self.rows[-1].keys() - {"step"})]
        return {name: np.stack([row.get(name, nothing) for row in self.rows], 1) for name in names}

    def state(self) -> State:
        self._drain()
        seen = {f"seen.{name}": np.stack(values) for name, values in self.seen.items()}
        return seen | {f"row.{i}.{k}": v for i, row in enumerate(self.rows) for k, v in row.items()}

    def restore(self, state: State) -> None:
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "seen":
                self.seen[rest] = list(value)
                continue
            row, _, column = rest.partition(".")
            self.rows += [{} for _ in range(int(row) + 1 - len(self.rows))]
            self.rows[int(row)][column] = value


def _schedule(step: int, updates: int, warmup: int) -> float:
    """Learning rate over its peak: linear warm-up, then a cosine down to a tenth."""
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, updates - warmup))
    return 0.55 + 0.45 * math.cos(math.pi * done)


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


def _check_weights(weights: dict, expected: dict[str, tuple[int, ...]]) -> None:
    given = {k: tuple(v.shape[1:]) for k, v in weights.items()}
    if given != expected:
        wrong = sorted(k for k in expected.keys() | given.keys() if expected.get(k) != given.get(k))[0]
        raise ValueError(f"weights: {wrong} is {given.get(wrong)}, allowed is {expected.get(wrong)}")


def _check(config, counts: tuple[str, ...], rates: tuple[str, ...]) -> None:
    for name in counts:
        check_integer(name, getattr(config, name), 1)
    check_integer("warmup", config.warmup, 0)
    for name in rates:
        _check_number(name, getattr(config, name), "a positive number", lambda v: 0 < v < math.inf)
    _check_number("weight_decay", config.weight_decay, "a number >= 0", lambda v: 0 <= v < math.inf)
    _check_number("dropout", config.dropout, "a number in [0, 1)", lambda v: 0 <= v < 1)
    _check_choice("precision", config.precision, PRECISIONS)


def _check_choice(name: str, value, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: given {value!r}, allowed are {', '.join(allowed)}")


def _check_number(name: str, value, allowed: str, holds: Callable) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise ValueError(f"{name}: given {value!r}, allowed is {allowed}")


def _check_seeds(seeds) -> None:
    if not len(seeds):
        raise ValueError("seeds: none given, allowed is at least one integer >= 0")
    for seed in seeds:
        if check_seed(seed) >= TEST_SEED:
            raise ValueError(f"seed: given {seed}, allowed is below {TEST_SEED} (held-out data begins there)")
