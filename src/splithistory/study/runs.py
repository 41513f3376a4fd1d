"""Runs: what is done once and kept; each a type that knows its key, its needs, its cost and how it is done.

A run is told by its specification, a plain dictionary that is its key in the store: kind, architecture, seed
and every setting, the defaults too, and the specification of the run it starts from. What a published key
does not name has the value it had then: the world is named only where it is not the post's. Torch is imported
where models are trained or answer, so that tables can be read without it.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from ..recurrence import POST, Recurrence
from .grid import Report
from .measuring import generator_policies, measure_tables, odd_only, policies_of, self_evaluation_tables
from .store import Checkpoints, Store, key, provenance, write_whole

if TYPE_CHECKING:
    from ..training import Pretraining, Reinforcement
    from ..transformer import Architecture

VERSION = 3  # of training; raise it when a change of code makes other weights from the same specification
_MEMBERS = "members.json"  # beside checkpoints of an ensemble: the keys of its runs
_FIXED_BYTES = 60_000  # of tables and manifest
Results = list[dict[str, Any]]  # of each run: weights {name: array} and tables {name: DataFrame}, as stored


class Run:
    """What all runs share. Fields are settings; two runs are the same if their specifications are.

    spec: what the store keeps it by; label: for people; world, architecture (None of the generator), size
    ("" of the generator) and seed (−1): of the model that it goes back to; parent: the run whose weights it
    starts from or measures; goal: what its model was finetuned on, () for any other; config: of its
    training, if it trains; trains: whether it leaves weights.
    """

    kind: ClassVar[str]
    trains: ClassVar[bool] = False
    spec: dict
    label: str
    world: Recurrence
    architecture: "Architecture | None"
    size: str
    seed: int
    parent: "Run | None"
    goal: tuple[int, ...]
    config: Any

    @cached_property
    def key(self) -> str:
        """What names the run in the store and in published tables."""
        return key(self.spec)

    @property
    def after(self) -> tuple[str, ...]:
        """Keys of the runs that must be done before."""
        return (self.parent.key,) if self.parent is not None and self.parent.trains else ()

    @property
    def n_parameters(self) -> int:
        """Number of weights of the run's model."""
        return self.architecture.n_parameters if self.architecture else 0

    @property
    def samples(self) -> float:
        """Training samples that the run costs; without gradient a sample costs a third."""
        return 0.0

    @property
    def seconds(self) -> float:
        """Estimated seconds on one core; fitted to four sizes on one machine, good to a factor of two."""
        a = self.architecture
        return self.samples * (42e-6 + (0.6e-9 * 8 * a.width**2 * a.layers if a else 0.0))

    @property
    def n_bytes(self) -> int:
        """Size of the run on disk."""
        return _FIXED_BYTES + 4 * self.n_parameters * self.trains

    @property
    def ensemble(self) -> str:
        """The same for runs that can share a step; they differ in seed and goal only, and train."""
        return self.key

    @classmethod
    def do(cls, runs: Sequence[Any], at: "Place") -> Results:
        """Do runs of one ensemble, at a place that has what they start from."""
        raise NotImplementedError


class _OfAModel(Run):
    """A run that goes back to another: what it does not say itself is said there."""

    parent: Run

    @property
    def world(self) -> Recurrence:
        return self.parent.world

    @property
    def architecture(self) -> "Architecture | None":
        return self.parent.architecture

    @property
    def size(self) -> str:
        return self.parent.size

    @property
    def seed(self) -> int:
        return self.parent.seed

    @property
    def label(self) -> str:
        return self.parent.label


@dataclass(frozen=True)
class Generator(Run):
    """The sequence itself as a policy: there is nothing to train."""

    kind = "generator"
    label = "generator"
    world: Recurrence = POST
    architecture, parent, goal = None, None, ()
    size, seed = "", -1

    @cached_property
    def spec(self) -> dict:
        return {"kind": self.kind} | _named(self.world)


@dataclass(frozen=True)
class _Member(Run):
    """A model of a size with a seed. context: None for the usual one, which old keys do not name."""

    parent, goal = None, ()
    size: str
    seed: int
    width: int
    layers: int
    context: int | None = None
    world: Recurrence = POST

    @property
    def shape(self) -> dict:
        """What the specification says of the architecture."""
        named = {"width": self.width, "layers": self.layers}
        return named if self.context is None else named | {"context": self.context}

    @cached_property
    def architecture(self) -> "Architecture":
        from ..transformer import Architecture

        return Architecture(**self.shape)

    @property
    def label(self) -> str:
        return f"{self.size} seed {self.seed}"

    @property
    def _identity(self) -> dict:
        named = {"kind": self.kind, "architecture": self.shape, "size": self.size, "seed": self.seed}
        return named | _named(self.world)


@dataclass(frozen=True)
class Untrained(_Member):
    """A model as it is drawn."""

    kind = "untrained"
    config = None

    @cached_property
    def spec(self) -> dict:
        return self._identity


@dataclass(frozen=True)
class Pretrain(_Member):
    """A model that learns to predict the sequence."""

    kind = "pretrain"
    trains = True
    config: "Pretraining" = field(kw_only=True)

    @cached_property
    def spec(self) -> dict:
        return self._identity | {"engine": VERSION, "config": _settings(self.config)}

    @property
    def samples(self) -> float:
        return self.config.steps * self.config.batch

    @property
    def ensemble(self) -> str:
        return key(self.spec | {"seed": None})

    @classmethod
    def do(cls, runs: Sequence["Pretrain"], at: "Place") -> Results:
        from ..training import pretrain

        first, seeds = runs[0], [run.seed for run in runs]
        return _members(pretrain(first.architecture, first.config, seeds, world=first.world, **at.training))


@dataclass(frozen=True)
class Reinforce(_OfAModel):
    """A pretrained model that is finetuned on a goal."""

    kind = "reinforce"
    trains = True
    parent: Pretrain
    goal: tuple[int, ...]
    config: "Reinforcement"

    @cached_property
    def spec(self) -> dict:
        config = _settings(self.config) | {"goal": list(self.goal)}
        return {"kind": self.kind, "engine": VERSION, "parent": self.parent.spec, "config": config}

    @property
    def samples(self) -> float:
        kept = 0 if self.config.maintenance == "none" else self.config.maintenance_batch
        from ..training import ASKED

        told = ASKED * self.world.alphabet if self.config.penalised == "self-estimated" else 0
        return self.config.updates * (self.config.batch + kept + told)

    @property
    def ensemble(self) -> str:
        parent, config = self.spec["parent"] | {"seed": None}, self.spec["config"] | {"goal": None}
        return key(self.spec | {"parent": parent, "config": config})

    @classmethod
    def do(cls, runs: Sequence["Reinforce"], at: "Place") -> Results:
        from ..training import reinforce

        first, seeds, goals = runs[0], [run.seed for run in runs], [run.goal for run in runs]
        parents = [at.store.weights(run.parent.spec) for run in runs]
        weights = {name: np.stack([own[name] for own in parents]) for name in parents[0]}
        here = {"world": first.world} | at.training
        return _members(reinforce(first.architecture, first.config, weights, seeds, goals, **here))


@dataclass(frozen=True)
class Measure(_OfAModel):
    """The measurement of a model: see `measuring` for its tables.

    n_histories: of the exact measurement; repeats, set_size: the sets of the post's sampled procedure.
    """

    kind = "measure"
    parent: Run
    n_histories: int
    repeats: int
    set_size: int

    @property
    def goal(self) -> tuple[int, ...]:
        return self.parent.goal

    @property
    def _how(self) -> dict[str, int]:
        return {"n_histories": self.n_histories, "repeats": self.repeats, "set_size": self.set_size}

    @cached_property
    def spec(self) -> dict:
        return {"kind": self.kind, "engine": VERSION, "model": self.parent.spec} | self._how

    @property
    def samples(self) -> float:
        futures = 18 if self.architecture else 1  # one forward pass for each action
        return (self.n_histories + futures * self.repeats * self.set_size) / 3

    @classmethod
    def do(cls, runs: Sequence["Measure"], at: "Place") -> Results:
        at.report(0.1, "measuring")
        return [{"tables": run._tables(at)} for run in runs]

    def _tables(self, at: "Place") -> dict[str, pd.DataFrame]:
        if self.architecture is None:
            policies = generator_policies(self.world)
            return measure_tables(policies, self.world, own=(1.0, "all"), **self._how)
        answer = at.answering(self.parent)
        # a policy that may play odd tokens only is one, however it is read
        act = odd_only(answer, self.world) if getattr(self.parent.config, "odd_only", False) else answer
        tables = measure_tables(policies_of(act, self.world), self.world, own=(0.0, "all"), **self._how)
        return tables | self_evaluation_tables(answer, self.world, self.repeats, self.set_size, act=act)


def _settings(config) -> dict:
    """What a specification says of a training: every setting but guards, later ones only where used."""
    given = asdict(config)
    unused = {f.name for f in fields(config) if f.metadata.get("later") and given[f.name] == f.default}
    unused |= {f.name for f in fields(config) if f.metadata.get("guard")}
    return {name: value for name, value in given.items() if name not in unused}


def _named(world: Recurrence) -> dict:
    """What a specification says of the world: nothing of the post's, so that published keys stay."""
    return {} if world.settings == POST.settings else {"world": world.settings}


def _members(trained) -> Results:
    """What each member of a trained ensemble leaves."""
    return [
        {
            "weights": {name: values[e] for name, values in trained.weights.items()},
            "tables": {"curves": pd.DataFrame({name: v[e] for name, v in trained.curves.items()})},
        }
        for e in range(len(trained.curves["step"]))
    ]


# --- where runs are done --------------------------------------------------------------------------------


class Place:
    """Where a run is done: the store with what it needs, the device, how its progress is kept and told."""

    def __init__(self, store: Store, device: str, report: Report, keep: "_Keep"):
        self.store, self.device, self.report, self.keep = store, device, report, keep

    @property
    def training(self) -> dict[str, Any]:
        """Arguments that every training takes."""
        told = {"progress": _progress(self.report), "state": self.keep.state, "keep": self.keep}
        return told | {"device": self.device}

    def answering(self, model: Run) -> Callable:
        """A model as histories (N, T) -> logits (N, V), a tensor."""
        import torch

        from ..transformer import action_logits, initialise

        shape: Any = model.architecture  # the generator, which has none, does not answer so
        if model.trains:
            weights = {k: torch.from_numpy(v[None]) for k, v in self.store.weights(model.spec).items()}
        else:
            weights = initialise(shape, [model.seed])
        weights = {name: weight.to(self.device) for name, weight in weights.items()}
        return lambda histories: action_logits(weights, shape, histories)[0]


class Worker:
    """Does one job, a run or several of one ensemble: from the store and to the store (picklable, for Dask).

    checkpoint_every: seconds between the states that an unfinished training leaves; it goes on from the
    newest good one. device: where models train and answer, "cpu" or "cuda".
    """

    def __init__(self, root: Path, *, checkpoint_every: float = 60.0, device: str = "cpu"):
        self.root, self.checkpoint_every = Path(root), checkpoint_every
        # which of the processors is the system's choice
        self.device = "cpu" if str(device).startswith("cpu:") else device

    def __call__(self, runs: Sequence[Run], report: Report) -> None:
        store = Store(self.root)
        with store.alone((run.spec for run in runs), lambda: report(0.0, "another process is at it")):
            if left := [run for run in runs if run.spec not in store]:  # the others were done before
                self._do(self._whole(store, runs, left), report, store)

    def _whole(self, store: Store, runs: Sequence[Run], left: list[Run]) -> list[Run]:
        """Those that are left, or all that they trained with, if that was killed while it was saved."""
        by_key = {run.key: run for run in runs}
        for folder, members in unfinished(store).items():
            if {run.key for run in left} <= set(members) <= by_key.keys():
                whole = [by_key[member] for member in members]
                if self._checkpoints(store, whole).folder == folder:  # and not of another device
                    return whole
        return left

    def _do(self, runs: Sequence[Run], report: Report, store: Store) -> None:
        import torch

        torch.set_num_threads(1)
        start = time.perf_counter()
        kept = self._checkpoints(store, runs)
        if len(runs) > 1:
            kept.folder.mkdir(parents=True, exist_ok=True)
            write_whole(kept.folder / _MEMBERS, json.dumps([run.key for run in runs]).encode())
        keep = _Keep(kept)
        results = type(runs[0]).do(runs, Place(store, self.device, report, keep))
        seconds, made = (keep.seconds + time.perf_counter() - start) / len(runs), self._made()
        for run, result in zip(runs, results, strict=True):
            if run.spec not in store:
                store.save(run.spec, **result, seconds=round(seconds, 2), made=made)
        kept.clear()

    def _checkpoints(self, store: Store, runs: Sequence[Run]) -> Checkpoints:
        specs = [run.spec for run in runs]
        whole = specs[0] if len(specs) == 1 else {"kind": runs[0].kind, "members": specs}
        if self.device != "cpu":  # another device could not go on with these random streams
            whole = whole | {"device": self._gpu()}
        return store.checkpoints(whole, every=self.checkpoint_every)

    def _made(self) -> dict:
        made = provenance()
        return made if self.device == "cpu" else made | {"machine": f"{made['machine']}, {self._gpu()}"}

    def _gpu(self) -> str:
        import torch

        return torch.cuda.get_device_name(self.device)


def unfinished(store: Store) -> dict[Path, list[str]]:
    """Ensembles that a store has checkpoints of: {folder: keys of the runs that train together}."""
    found = {}
    for file in store.root.glob(f"*.unfinished/{_MEMBERS}"):
        with suppress(FileNotFoundError):  # somebody has finished it
            found[file.parent] = json.loads(file.read_text("utf8"))
    return found


class _Keep:
    """Leaves checkpoints that also know how long the run has taken."""

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints, self.start = checkpoints, time.perf_counter()
        self.state = checkpoints.latest()
        self.seconds = float(self.state.pop("seconds")) if self.state else 0.0

    def __call__(self, take) -> None:
        def timed():
            return take() | {"seconds": np.array(self.seconds + time.perf_counter() - self.start)}

        self.checkpoints(timed)


def _progress(report: Report):
    last = 0.0

    def show(step: int, total: int, loss: np.ndarray) -> None:
        nonlocal last
        if time.perf_counter() - last > 0.5:  # a worker's message costs more than a step
            last = time.perf_counter()
            report(0.999 * step / total, f"loss {loss.mean():.3f}")

    return show
