"""How an ensemble is trained: an optimiser over all its weights, a loop that can be taken up again, its log.

Floor 1. Knows neither sequences nor goals: it is told how to make one update. Its whole state can be taken
as plain arrays after any update; training that goes on from it ends, on a CPU, with the same weights bit for
bit. On a GPU a training works on a stream of its own, and an update is recorded once as a CUDA graph and
then launched whole: the host does nothing between its kernels and waits for none of them.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps

import numpy as np
import torch

from .information import shown

_EXPLODED = 50.0  # nats; guessing costs ln 16 = 2.8
_DRAIN = 10  # updates whose losses wait on the device before they are looked at
_WARM_UP = 3  # updates that CUDA wants to see before it records one
_STREAMS: list = []  # of a GPU, that no training works on
_RECORDING = threading.Lock()  # to begin recording waits for the whole device: one training at a time


class Diverged(RuntimeError):
    """A loss became NaN or exploded; the message names the step and the member."""


@dataclass
class Trained:
    """What training leaves: weights {name: (E, ...)} float32, curves {column: (E, rows)}.

    Rows: one before the first update, then one an evaluation (or an update, if those are fewer).
    """

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
Values = dict[str, torch.Tensor]  # what an update reports of each member, (E,) each


def on_gpu(device) -> bool:
    """Whether this is a CUDA device."""
    return torch.device(device).type == "cuda"


def devices() -> list[str]:
    """Where models can be trained on this machine."""
    return ["cpu"] + ["cuda"] * torch.cuda.is_available()


def check_device(device) -> None:
    """ValueError unless models can be trained there."""
    try:
        kind = torch.device(device).type
    except (TypeError, RuntimeError):
        kind = None
    if kind not in devices():
        allowed = f"allowed on this machine: {', '.join(devices())}"
        raise ValueError(f"device: given {shown(device)}, {allowed}")


def on_own_stream(train: Callable) -> Callable:
    """Make a function with a keyword `device` work on a stream of its own there, if it is a GPU.

    Trainings in threads side by side then share the GPU; nothing but the call itself waits for its work.
    Streams are used again: CUDA has 32, and hands out the first once more after the last.
    """

    @wraps(train)
    def streamed(*args, device="cpu", **settings):
        check_device(device)
        if not on_gpu(device):
            return train(*args, device=device, **settings)
        with torch.cuda.device(device):
            own = _STREAMS.pop() if _STREAMS else torch.cuda.Stream()
            try:
                with torch.cuda.stream(own):
                    return train(*args, device=device, **settings)
            finally:
                _STREAMS.append(own)

    return streamed


class Learner:
    """Every weight of an ensemble in one tensor (E, P), and AdamW on it: one update is one kernel.

    shapes: of one member's weights by name; weights: {name: (E, ...)} to begin with, which train in 64 bits
    if they come so, else in 32; rate: the peak.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], weights, rate: float, weight_decay: float, device):
        self.shapes = shapes
        flat = torch.cat([weights[name].flatten(1) for name in shapes], 1)
        if flat.dtype != torch.float64:
            flat = flat.float()  # 16 bits would lose small updates, and AdamW's squares
        self.flat = flat.to(device).clone().requires_grad_()
        self._make_adam(rate, weight_decay)

    def second(self, rate: float) -> "Learner":
        """Another optimiser of the same weights, with moments of its own and no weight decay."""
        other = object.__new__(Learner)
        other.shapes, other.flat = self.shapes, self.flat
        other._make_adam(rate, 0.0)
        return other

    def _make_adam(self, rate: float, weight_decay: float) -> None:
        self.rate, there = rate, self.flat.device
        self.adam = torch.optim.AdamW(
            [self.flat], lr=rate, weight_decay=weight_decay, fused=True, capturable=on_gpu(there)
        )
        if on_gpu(there):  # a recorded update reads the rate there, and `set_rate` changes it there
            self.adam.param_groups[0]["lr"] = torch.full((), rate, device=there)

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, (E, ...) each: views of the one tensor."""
        parts = self.flat.split([math.prod(shape) for shape in self.shapes.values()], 1)
        return {
            name: part.view(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def set_rate(self, share: float) -> None:
        """The learning rate of the next updates, as a share of the peak."""
        group = self.adam.param_groups[0]
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(self.rate * share)
        else:
            group["lr"] = self.rate * share

    def step(self, losses: torch.Tensor) -> None:
        """One update on losses (E,)."""
        self.flat.grad = None
        losses.sum().backward()  # members share no weight: the gradient of the sum is each one's own
        self.adam.step()

    def numpy(self) -> dict[str, np.ndarray]:
        """The weights as float32 arrays."""
        return {k: v.detach().float().cpu().numpy().copy() for k, v in self.weights().items()}

    def state(self) -> State:
        """Weights and moments."""
        moments = {name: value.cpu().numpy().copy() for name, value in self.adam.state[self.flat].items()}
        return {"flat": self.flat.detach().cpu().numpy().copy(), **moments}

    def restore(self, state: State) -> None:
        """Go back to a state."""
        tensors = {name: torch.tensor(value, device=self.flat.device) for name, value in state.items()}
        with torch.no_grad():
            self.flat.copy_(tensors.pop("flat"))
        self.adam.state[self.flat] = tensors


class Loop:
    """Updates one after another, from the first or from a state that an earlier run handed out.

    total: updates; warmup: how many of them raise the rate to its peak, of the learners that are scheduled;
    update() makes one and returns what it reports; streams: {name: a generator for each member} that it draws
    from.
    """

    def __init__(
        self,
        total: int,
        warmup: int,
        update,
        learners: dict[str, Learner],
        streams,
        log: "Log",
        scheduled: tuple[str, ...] = ("adam",),
    ):
        self.total, self.warmup, self.update = total, warmup, update
        self.learners, self.streams, self.log, self.scheduled = learners, streams, log, scheduled
        self.done = 0

    def run(self, state: State | None, keep: Keep | None) -> Trained:
        """Train to the end."""
        if state is None:
            self.log.begin()
        else:
            self._restore(state)
        learner = self.learners["adam"]
        update = self._recorded() if on_gpu(learner.flat.device) else self.update
        while self.done < self.total:
            self.done += 1
            for name in self.scheduled:
                self.learners[name].set_rate(schedule(self.done, self.total, self.warmup))
            self.log.record(self.done, update())
            if keep:
                keep(self._state)
        return Trained(learner.numpy(), self.log.curves())

    def _recorded(self) -> "Recorded":
        return Recorded(self.update, [g for generators in self.streams.values() for g in generators])

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


class Recorded:
    """An update that, after a few calls, is recorded as a CUDA graph and from then on launched whole."""

    def __init__(self, update: Callable[[], Values], generators: list[torch.Generator]):
        self.update, self.generators = update, generators
        self.to_warm_up = _WARM_UP
        self.replay: Callable[[], None] | None = None

    def __call__(self) -> Values:
        if self.to_warm_up:
            self.to_warm_up -= 1
            return self.update()
        if self.replay is None:
            self.replay, self.values = record(self.update, self.generators)
        self.replay()
        return {name: value.clone() for name, value in self.values.items()}  # the next launch overwrites them


def record(update: Callable[[], Values], generators: list[torch.Generator]) -> tuple[Callable, Values]:
    """(function that makes the update, what it then leaves each time): recording itself makes none."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:  # or each launch would draw the same numbers
        graph.register_generator_state(generator)
    # this stream, not the one that all recordings of a process share; other threads may go on meanwhile
    own = torch.cuda.current_stream()
    with _RECORDING, torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):
        values = update()
    return graph.replay, values


class Log:
    """Curves of a run: watches every loss, and adds a row of held-out values when one is due.

    What an update reports waits on the device and is looked at every few updates: an accelerator must not
    stop for it.
    """

    def __init__(self, total: int, rows: int, names: list[str], stage: str, progress, evaluate: Callable):
        self.total, self.names, self.stage, self.progress = total, names, stage, progress
        self.evaluate = evaluate
        self.due = {round(total * (i + 1) / rows) for i in range(rows)}
        self.untrained: tuple[str, ...] = ()  # losses that may grow without end, and training be sound
        self.passing: tuple[str, ...] = ()  # losses that may grow for a while, if they come back by the end
        self.waiting: list[tuple[int, Values]] = []
        self.seen: dict[str, list[np.ndarray]] = {}  # since the last row
        self.rows: list[dict[str, np.ndarray]] = []

    def begin(self) -> None:
        """The row before the first update."""
        self._row(0)

    def record(self, step: int, values: Values) -> None:
        """Take what an update reports."""
        self.waiting.append((step, values))
        if len(self.waiting) == _DRAIN or step in self.due:
            self._drain()
        if step in self.due:
            self._row(step)

    def _drain(self) -> None:
        if not self.waiting:
            return
        steps, values = zip(*self.waiting, strict=True)
        self.waiting = []
        for name in values[0]:
            arrays = _array(torch.stack([each[name] for each in values]))  # one transfer for all of them
            for step, array in zip(steps, arrays, strict=True):
                self.seen.setdefault(name, []).append(self._checked(step, name, array))
        if self.progress:
            self.progress(steps[-1], self.total, self.seen["train_loss"][-1])

    def _checked(self, step: int, what: str, value) -> np.ndarray:
        """The value as an array (E,); raises Diverged at the first loss that is NaN or too large."""
        values = _array(value)
        grows = what in self.untrained or (what in self.passing and step < self.total)
        limit = np.inf if grows else _EXPLODED
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
        """All rows, and what has been seen since the last."""
        self._drain()
        seen = {f"seen.{name}": np.stack(values) for name, values in self.seen.items()}
        return seen | {f"row.{i}.{k}": v for i, row in enumerate(self.rows) for k, v in row.items()}

    def restore(self, state: State) -> None:
        """Go back to a state."""
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "seen":
                self.seen[rest] = list(value)
                continue
            row, _, column = rest.partition(".")
            self.rows += [{} for _ in range(int(row) + 1 - len(self.rows))]
            self.rows[int(row)][column] = value


def schedule(step: int, updates: int, warmup: int) -> float:
    """Learning rate over its peak: linear warm-up, then a cosine down to a tenth."""
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, updates - warmup))
    return 0.55 + 0.45 * math.cos(math.pi * done)


def _array(value) -> np.ndarray:
    return torch.as_tensor(value).double().cpu().numpy()
