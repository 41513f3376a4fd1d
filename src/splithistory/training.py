"""Pretraining and reinforcement of an ensemble of policies: what an update is, and on which data.

Floor 2. Takes a configuration and the members' seeds, hands back plain NumPy weights and curves, and
reports progress through a callback; it draws no bars and writes no files. Each member has random
streams of its own (weights, data, order, dropout, actions), derived from its seed, so that it trains
the same whoever shares the ensemble. How updates follow each other is `engine`'s.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from .data import (
    TEST_SEED,
    Interventions,
    batch,
    check_fits,
    even_windows,
    histories,
    indices,
    of_seeds,
    take,
    training_seeds,
    windows,
)
from .engine import Keep, Learner, Log, Loop, Progress, State, Trained, on_own_stream
from .information import as_goal, as_list, check_choice, check_flag, check_integer, shown
from .products import in_format
from .recurrence import POST, Recurrence, classes_of
from .rewards import PENALISED, check_hidden, impact, with_hidden
from .transformer import Architecture, Dropout, action_logits, check_weights, initialise, logits, stream

PRECISIONS = ("float32", "bfloat16")
ARMS = ("sampled", "exact")
MAINTENANCE = ("generator", "acted", "mixed", "joint", "none")
ASKED = 64  # histories of a batch on which a model is asked what it expects, if that is penalised
LATER = {"later": True}  # of settings that older keys do not name: their default is what was done then
GUARD = {"guard": True}  # of settings that no key names: they change when training is refused, and no number


@dataclass(frozen=True, kw_only=True)
class _Updates:
    """What both trainings set, and alike."""

    batch: int = 256
    weight_decay: float = 0.01
    dropout: float = 0.1
    precision: str = "float32"
    exploration: float = field(default=0.0, metadata=LATER)
    consequence: bool = field(default=True, metadata=LATER)

    @property
    def interventions(self) -> Interventions:
        """Random tokens in what prediction is trained on."""
        return Interventions(self.exploration, self.consequence)


@dataclass(frozen=True)
class Pretraining(_Updates):
    """How a policy learns to predict the sequence (post, section "Pretraining on Sequence Prediction").

    steps: optimiser updates; batch: windows an update; rate: peak AdamW learning rate, reached after
    `warmup` updates and then lowered along a cosine to a tenth; train_size: windows in the finite
    training set (half with an even target position, half odd); test_size: held-out windows;
    evaluations: how often the held-out loss is taken; precision: number format of the matrix products
    while training ("float32" or "bfloat16"; weights, sums and evaluation are float32 in both); exploration:
    probability that a token at an odd position is a random odd one, and consequence: whether the sequence
    goes on from it (`data.Interventions`), in training, not in held-out windows.
    """

    steps: int = 2500
    rate: float = 1e-2
    warmup: int = 100
    train_size: int = 2**18
    test_size: int = 4096
    evaluations: int = 25

    def __post_init__(self):
        _check(self, ("steps", "batch", "train_size", "test_size", "evaluations"), ("rate",))


@dataclass(frozen=True)
class Reinforcement(_Updates):
    """How a pretrained policy is finetuned on a goal (same section of the post).

    updates, batch, rate, warmup, precision: as in Pretraining; arm: "sampled" reinforces the successes among
    `rollouts` actions drawn from each history's logits at temperature 1, "exact" weights every action by
    π(a|h)·P(success|h,a), its expectation; failure_weight: weight of the failures' log-likelihood, subtracted
    (0: ignored, as in the post); maintenance: what keeps prediction at even positions: "generator", an
    optimiser step of its own at the much lower `maintenance_rate` on windows of the sequence; "acted", the
    same on histories that the model acted in; "mixed", half of each; "joint", the loss added with
    `maintenance_weight` to the one step; or "none"; maintenance_falls: whether its rate is a peak, and rises
    and falls with the main one; odd_only: whether the policy may play odd tokens only;
    hidden: a second goal behind the declared one, (goal, classes, share) as in `rewards.with_hidden`;
    penalty: success rate that a nat of Imp costs; penalised: the Imp that the policy has on its batch
    ("measured"), or that it expects ("self-estimated": by its own predictions of even tokens, after each
    action that it may play, on `ASKED` histories); pool: histories in the finite set that the policy acts
    on; evaluations: rows of curves; may_forget: whether a model that loses prediction is handed out, as one
    that was trained to see how little maintenance is enough.
    """

    updates: int = 600
    arm: str = "sampled"
    rollouts: int = 32
    failure_weight: float = 0.0
    rate: float = 3e-3
    warmup: int = 20
    maintenance: str = "generator"
    maintenance_batch: int = 128
    maintenance_rate: float = 1e-3
    maintenance_weight: float = 0.1
    maintenance_falls: bool = field(default=False, metadata=LATER)
    odd_only: bool = field(default=False, metadata=LATER)
    hidden: tuple = field(default=(), metadata=LATER)
    penalty: float = field(default=0.0, metadata=LATER)
    penalised: str = field(default="measured", metadata=LATER)
    may_forget: bool = field(default=False, metadata=GUARD)
    pool: int = 2**17
    test_size: int = 2048
    evaluations: int = 15

    def __post_init__(self):
        _check(
            self,
            ("updates", "batch", "rollouts", "maintenance_batch", "pool", "test_size", "evaluations"),
            ("rate", "maintenance_rate", "maintenance_weight"),
        )
        for name in ("failure_weight", "penalty"):
            _check_number(name, getattr(self, name), "a number >= 0", lambda v: 0 <= v < math.inf)
        check_choice("penalised", self.penalised, PENALISED)
        check_hidden(self.hidden)
        check_choice("arm", self.arm, ARMS)
        check_choice("maintenance", self.maintenance, MAINTENANCE)
        for name in ("maintenance_falls", "odd_only", "may_forget"):
            check_flag(name, getattr(self, name))


@on_own_stream
def pretrain(
    architecture: Architecture,
    config: Pretraining,
    seeds,
    *,
    world: Recurrence = POST,
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
    NaN or explodes. ValueError if the architecture has not the world's tokens.
    """
    check_fits(architecture, world)
    seeds, context = training_seeds(seeds), architecture.context
    data = (config.train_size, context)
    seen = of_seeds(seeds, lambda s: windows(world, *data, s, device, config.interventions))  # (E, N, T + 1)
    held_out = windows(world, config.test_size, context, TEST_SEED, device)
    streams = {name: [stream(s, name, device) for s in seeds] for name in ("order", "dropout")}
    dropout = Dropout(config.dropout, streams["dropout"])
    weights = initialise(architecture, seeds, dtype=dtype)
    learner = Learner(architecture.shapes(), weights, config.rate, config.weight_decay, device)

    def update() -> dict[str, torch.Tensor]:
        own = batch(seen, config.batch, streams["order"])
        loss = prediction_loss(learner.weights(), architecture, own, dropout, config.precision)
        learner.step(loss)
        return {"train_loss": loss.detach()}

    def held_out_row() -> dict[str, np.ndarray]:
        test_loss, test_accuracy = evaluate(learner.weights(), architecture, held_out)
        return {"test_loss": test_loss, "test_accuracy": test_accuracy}

    names = [f"seed {s}" for s in seeds]
    log = Log(config.steps, config.evaluations, names, "pretraining", progress, held_out_row)
    return Loop(config.steps, config.warmup, update, {"adam": learner}, streams, log).run(state, keep)


@on_own_stream
def reinforce(
    architecture: Architecture,
    config: Reinforcement,
    weights: dict[str, np.ndarray],
    seeds,
    goals: Sequence,
    *,
    world: Recurrence = POST,
    progress: Progress | None = None,
    state: State | None = None,
    keep: Keep | None = None,
    device="cpu",
) -> Trained:
    """Finetune pretrained members, weights {name: (E, ...)} of 64 bits, else as 32; a seed and goal a member.

    goals: of each member the outcomes s_{t+1} that count as success.

    At odd t the policy acts, the world answers, and the log-likelihood of its successful actions is
    raised: cross-entropy summed over successes, divided by all draws; failures are ignored (or see
    `Reinforcement`). Maintenance keeps prediction at even t alive. state: as in `pretrain`. Curves: step,
    train_loss, success and wrong_parity (temperature 1, exact over the world's noise, on the training
    batches since the last row, dropout on; success is on the declared goal), impact if it is penalised (nats,
    likewise), maintenance_loss (unless there is none), success_greedy and
    wrong_parity_greedy (temperature 0, held-out histories), even_loss and even_accuracy (held-out windows).
    Raises Diverged, for a loss that is maintained only if it does not come back by the end; one that may be
    lost (see `Reinforcement`) must not become NaN. ValueError if the architecture has not the world's tokens,
    or reads less than the world multiplies.
    """
    check_fits(architecture, world, acting=True)
    seeds = training_seeds(seeds)
    if (members := check_weights(weights, architecture)) != len(seeds):
        raise ValueError(f"weights: {members} members, allowed are as many as seeds: {len(seeds)}")
    goals = _of_members(goals, len(seeds), world)
    scene = _Scene(world, config, architecture, seeds, goals, device)
    start = {name: torch.as_tensor(values) for name, values in weights.items()}
    learner = Learner(architecture.shapes(), start, config.rate, config.weight_decay, device)
    learners, keeper = {"adam": learner}, None
    if config.maintenance in ("generator", "acted", "mixed"):
        keeper = learners["keeper"] = learner.second(config.maintenance_rate)

    def update() -> dict[str, torch.Tensor]:
        loss, seen, values = scene.loss(learner.weights())
        kept = scene.maintenance_loss(learner.weights(), seen) if config.maintenance == "joint" else None
        total = loss if kept is None else loss + config.maintenance_weight * kept
        learner.step(total)
        if keeper:
            kept = scene.maintenance_loss(learner.weights(), seen)
            keeper.step(kept)
        return values | ({} if kept is None else {"maintenance_loss": kept.detach()})

    names = [f"seed {s} of goal {set(goal)}" for s, goal in zip(seeds, goals, strict=True)]
    held_out_row = lambda: scene.evaluate(learner.weights())  # noqa: E731
    log = Log(config.updates, config.evaluations, names, "reinforcement", progress, held_out_row)
    predicting = ("even_loss", "maintenance_loss")  # weak maintenance may lose prediction and regain it
    log.untrained, log.passing = predicting * config.may_forget, predicting
    log.untrained += ("even_loss",) * (config.maintenance == "none")
    falling = tuple(learners) if config.maintenance_falls else ("adam",)
    loop = Loop(config.updates, config.warmup, update, learners, scene.streams, log, falling)
    return loop.run(state, keep)


def _of_members(goals, members: int, world: Recurrence) -> list[tuple[int, ...]]:
    """The goal of each member."""
    goals = as_list(goals)
    if len(goals) != members:
        raise ValueError(f"goals: given {len(goals)}, allowed are as many as seeds: {members}")
    return [as_goal(goal, world.alphabet) for goal in goals]


def prediction_loss(
    weights, architecture: Architecture, windows: torch.Tensor, dropout=None, precision: str = "float32"
) -> torch.Tensor:
    """Cross-entropy of the last token given those before, per member: windows (E, B, T + 1) -> (E,) nats."""
    answer = _logits(weights, architecture, windows[..., :-1], dropout, precision)
    return _cross_entropy(answer, windows[..., -1].long())


def _logits(weights, architecture: Architecture, tokens, dropout, precision: str) -> torch.Tensor:
    """`logits` with matrix products in the precision asked for; handed out in that of the weights."""
    with in_format(precision, tokens.device.type):
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


class _Scene:
    """The histories a policy acts on and the world's answers, as tensors on the device."""

    def __init__(self, world, config: Reinforcement, architecture: Architecture, seeds, goals, device):
        def data(make, *how):
            return of_seeds(seeds, lambda s: make(world, config.pool, architecture.context, s, device, *how))

        def held_out(make):
            return make(world, config.test_size, architecture.context, TEST_SEED, device)

        self.histories = data(histories)  # (E, N, T)
        self.classes = classes_of(world, self.histories)  # (E, N)
        self.even_windows = data(even_windows, config.interventions)  # (E, N, T + 1)
        table = torch.from_numpy(world.table)
        success = [table[:, :, list(goal)].sum(-1) for goal in goals]
        self.outcomes = table.to(device)  # (M, A, K): probability of each outcome
        self.success = torch.stack(success).to(device)  # (E, M, A): probability of success
        self.reward = with_hidden(self.success, self.outcomes, config.hidden)  # (E, M, A): what is reinforced
        self.held_out = held_out(histories)
        self.held_out_classes = classes_of(world, self.held_out)
        self.held_out_even = held_out(even_windows)
        self.streams = {
            name: [stream([s, *goal], name, device) for s, goal in zip(seeds, goals, strict=True)]
            for name in ("order", "dropout", "act", "keep")
        }
        self.dropout = Dropout(config.dropout, self.streams["dropout"])
        self.architecture, self.config, self.n_odd = architecture, config, world.alphabet

    def loss(self, weights):
        """(− Σ over successful draws of ln π(a|h) / number of draws, (E,) nats; windows for maintenance,
        (E, B, T + 1); what the curves record)."""
        index = indices(self.histories.shape[1], self.config.batch, self.streams["order"])
        seen, classes = take(self.histories, index), self.classes.gather(1, index)
        answer = _logits(weights, self.architecture, seen, self.dropout, self.config.precision)
        answer = F.log_softmax(self._allowed(answer), -1)  # (E, B, A)
        with torch.no_grad():
            probs, success = answer.exp(), take(self.success, classes).to(answer.dtype)
            credit = self._credit(probs, take(self.reward, classes).to(answer.dtype))
            kept = self._maintenance_windows(seen, classes, probs)
        loss = -(credit * answer).sum((1, 2)) / self.config.batch
        rates = {
            "success": (probs * success).sum(-1).mean(1),
            "wrong_parity": probs[..., : self.n_odd].sum(-1).mean(1),
        }
        if self.config.penalty:
            imp = impact(*self._futures(weights, seen, classes, answer.exp()))
            loss, rates["impact"] = loss + self.config.penalty * imp, imp.detach()
        return loss, kept, {"train_loss": loss.detach(), **rates}

    def _futures(self, weights, seen, classes, probs) -> tuple[torch.Tensor, torch.Tensor]:
        """(probabilities of actions, outcomes after each), of the world or as the model expects them."""
        if self.config.penalised == "measured":
            return probs, self.outcomes[classes].to(probs.dtype)
        tokens = torch.arange(self.n_odd * self.config.odd_only, probs.shape[-1]).to(seen)
        pasts = seen[:, :ASKED, None, 1:].expand(-1, -1, len(tokens), -1)
        acted = torch.cat([pasts, tokens[:, None].expand(*pasts.shape[:3], 1)], -1)  # (E, N, A, T)
        told = _logits(weights, self.architecture, acted.flatten(1, 2), self.dropout, self.config.precision)
        expected = told[..., : self.n_odd].softmax(-1).unflatten(1, pasts.shape[1:3])
        return probs[:, :ASKED, tokens.long()], expected

    def _allowed(self, answer) -> torch.Tensor:
        """Logits (E, B, A) in which what may not be played is never played, and gets no gradient."""
        if self.config.odd_only:
            never = torch.full_like(answer[..., : self.n_odd], -1e9)
            answer = torch.cat([never, answer[..., self.n_odd :]], -1)
        return answer

    def _credit(self, probs, success) -> torch.Tensor:
        """Weight of each action's log-likelihood, (E, B, A): successes less weighted failures a draw.

        success: mean reward, and so the bias of the coin that says whether a draw is reinforced.
        """
        if self.config.arm == "exact":
            drawn, won = probs, probs * success
        else:
            drawn, won = _draws(probs, success, self.config.rollouts, self.streams["act"])
        failures = self.config.failure_weight
        return won - failures * (drawn - won) if failures else won

    def _maintenance_windows(self, seen, classes, probs) -> torch.Tensor | None:
        """Windows whose last token, at an even position, maintenance predicts; (E, B, T + 1)."""
        n = self.config.maintenance_batch
        if self.config.maintenance == "none":
            return None
        if self.config.maintenance == "mixed":
            sequences = batch(self.even_windows, n - n // 2, self.streams["keep"])
            return torch.cat([sequences, self._acted(n // 2, seen, classes, probs)], 1)
        if self.config.maintenance == "acted":
            return self._acted(n, seen, classes, probs)
        return batch(self.even_windows, n, self.streams["keep"])

    def _acted(self, n: int, seen, classes, probs) -> torch.Tensor:
        """The policy acts, the world answers: what it saw, what it did, what came of it; (E, n, T + 1)."""
        index = indices(seen.shape[1], n, self.streams["keep"])
        action = _choice(take(probs, index), self.streams["keep"])
        outcome = _choice(self.outcomes[classes.gather(1, index), action], self.streams["keep"])
        pasts = take(seen, index)[..., 1:]
        return torch.cat([pasts, action[..., None].to(pasts), outcome[..., None].to(pasts)], -1)

    def maintenance_loss(self, weights, kept) -> torch.Tensor:
        """Cross-entropy of even-position tokens, (E,) nats, dropout on."""
        return prediction_loss(weights, self.architecture, kept, self.dropout, self.config.precision)

    @torch.no_grad()
    def evaluate(self, weights) -> dict[str, np.ndarray]:
        answer = action_logits(weights, self.architecture, self.held_out)
        action = self._allowed(answer).argmax(-1)  # (E, N)
        of_class = take(self.success, self.held_out_classes.expand(action.shape))  # (E, N, A)
        success = of_class.gather(2, action[..., None])
        even_loss, even_accuracy = evaluate(weights, self.architecture, self.held_out_even)
        return {
            "success_greedy": success.double().mean((1, 2)).cpu().numpy(),
            "wrong_parity_greedy": (action < self.n_odd).double().mean(1).cpu().numpy(),
            "even_loss": even_loss,
            "even_accuracy": even_accuracy,
        }


def _uniform(shape: tuple[int, ...], generators) -> torch.Tensor:
    """Uniform draws (E, *shape), each member's from its own stream; never 0, which would draw an action
    of probability 0 if that is the first (one draw of 2^24)."""
    draws = torch.stack([torch.rand(shape, generator=g, device=g.device) for g in generators])
    return draws.clamp_min_(torch.finfo(draws.dtype).tiny)


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


def _check(config, counts: tuple[str, ...], rates: tuple[str, ...]) -> None:
    for name in counts:
        check_integer(name, getattr(config, name), 1)
    check_integer("warmup", config.warmup, 0)
    for name in rates:
        _check_number(name, getattr(config, name), "a positive number", lambda v: 0 < v < math.inf)
    _check_number("weight_decay", config.weight_decay, "a number >= 0", lambda v: 0 <= v < math.inf)
    _check_number("dropout", config.dropout, "a number in [0, 1)", lambda v: 0 <= v < 1)
    _check_number("exploration", config.exploration, "a number in [0, 1]", lambda v: 0 <= v <= 1)
    check_choice("precision", config.precision, PRECISIONS)
    check_flag("consequence", config.consequence)


def _check_number(name: str, value, allowed: str, holds: Callable) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    if not number or not holds(value):
        raise ValueError(f"{name}: given {shown(value)}, allowed is {allowed}")
