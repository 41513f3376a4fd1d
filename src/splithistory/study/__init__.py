"""The study: profiles become jobs, jobs become runs, runs become the tables that the chapters read.

Floor 4. A profile names sizes, seeds, arms and settings. Each pretrained model, each finetuned model and
each measurement is a run of its own in the store, keyed by its specification, so whatever is finished
is never done again, any part can be run by itself, and a measurement can change without training anything.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from graphlib import TopologicalSorter
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from ..information import check_integer, check_seed
from . import grid
from .results import GOALS, Study
from .store import Store, key
from .worker import GENERATOR, Worker, architecture, goal, origin

_ON_GPU = 8  # jobs side by side: the ensembles of four sizes, and measurements of what is trained
_CHECK_DEVIATIONS = 3  # set before anything was compared
ENGINE = 3  # raise when a change of code makes other weights from the same specification
SIZES = {"18k": (32, 2), "53k": (56, 2), "144k": (76, 3), "402k": (128, 3)}  # name: (width, layers)


@dataclass(frozen=True)
class Arm:
    """One way to train: settings that differ from the profile's, and what is trained that way.

    stage: "finetuned" (each goal of `n_good`, from the profile's pretrained models) or "pretrained";
    settings: of training.Reinforcement or training.Pretraining; context: tokens read; sizes: () for all
    of the profile's.
    """

    stage: str = "finetuned"
    settings: dict = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    n_good: tuple[int, ...] = tuple(GOALS)
    context: int = 20


SAMPLED = Arm()  # the reproduction: successes among sampled actions
EXACT = Arm(settings={"arm": "exact"})  # the extension: every action by its probability of success
# as SAMPLED, but maintenance sees what came of the model's own actions
ACTED = Arm(settings={"maintenance": "acted"}, sizes=("18k", "402k"))


def _ablations() -> dict[str, Arm]:
    """What else the post tried or mentions, each differing in one setting from the profile `post`."""

    ends = ("18k", "402k")

    def tuned(sizes=("18k",), **settings):
        return Arm(settings=settings, sizes=sizes)

    def predicting(context=20, sizes=ends, **settings):
        return Arm("pretrained", settings, sizes, (), context)

    arms = {"no maintenance": tuned(ends, maintenance="none")}
    arms |= {f"failures {w:g}": tuned(failure_weight=w) for w in (0.01, 0.1, 0.3, 1.0)}
    arms |= {f"joint {w:g}": tuned(maintenance="joint", maintenance_weight=w) for w in (0.1, 1.0)}
    arms |= {f"rollouts {n}": tuned(rollouts=n) for n in (1, 8, 128)}
    arms |= {
        "batch 32": tuned(batch=32),
        "batch 1024": tuned(ends, batch=1024),
        "batch 4096": tuned(batch=4096),
    }
    arms |= {"updates 1600": tuned(updates=1600)}
    arms |= {f"windows {n}": predicting(train_size=n) for n in (2**12, 2**14, 2**16)}
    arms |= {f"context {n}": predicting(n, ("53k",)) for n in (16, 17, 18)}
    arms |= {"dropout 0": predicting(dropout=0.0), "float32": predicting(precision="float32")}
    return arms


@dataclass(frozen=True)
class Profile:
    """What a study trains and how it measures.

    sizes: names in SIZES; seeds: one independent replication each; arms: by name; pretraining,
    reinforcement: settings of training.Pretraining and training.Reinforcement that differ from their
    defaults; by_size: further ones of a size, (of pretraining, of reinforcement); measured: whether models
    are measured, or only their curves kept; n_histories: histories of the exact measurement, in two halves;
    repeats, set_size: the post's sampled procedure, 10 sets of 200; weights: whether weights are
    published: of all pretrained models, so that more can be trained from them, and of all of the first seed.
    """

    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    arms: dict[str, Arm] = field(default_factory=lambda: {"sampled": SAMPLED})
    pretraining: dict = field(default_factory=dict)
    reinforcement: dict = field(default_factory=dict)
    by_size: dict[str, tuple[dict, dict]] = field(default_factory=dict)
    measured: bool = True
    n_histories: int = 40_000
    repeats: int = 10
    set_size: int = 200
    weights: bool = False

    def part(self, *, sizes: Sequence = (), seeds: Sequence = (), arms: Sequence = ()) -> "Profile":
        """The same profile with only some of its sizes, seeds and arms; () keeps all."""
        for name, given in (("sizes", sizes), ("seeds", seeds), ("arms", arms)):
            allowed = list(getattr(self, name))
            for value in given:
                if value not in allowed:
                    raise ValueError(f"{name}: given {value!r}, allowed are {', '.join(map(str, allowed))}")
        kept = {name: arm for name, arm in self.arms.items() if not arms or name in arms}
        return replace(
            self,
            sizes=tuple(s for s in self.sizes if not sizes or s in sizes),
            seeds=tuple(s for s in self.seeds if not seeds or s in seeds),
            arms=kept,
        )


PROFILES = {
    "smoke": Profile(
        ("18k",),
        (0, 1),
        {"sampled": SAMPLED, "exact": EXACT},
        pretraining={"steps": 1200},
        reinforcement={"updates": 250},
        n_histories=20_000,
    ),
    "quick": Profile(("18k", "53k"), (0, 1, 2)),
    # rates were tuned at the smallest and the largest size, on seeds that no profile uses
    "post": Profile(
        tuple(SIZES),
        (0, 1, 2, 3, 4),
        {"sampled": SAMPLED, "exact": EXACT, "acted": ACTED},
        pretraining={"steps": 4000, "precision": "bfloat16"},
        reinforcement={"updates": 800, "maintenance_rate": 1e-3, "precision": "bfloat16"},
        by_size={
            "18k": ({"rate": 1e-2}, {"rate": 3e-3}),
            "53k": ({"rate": 1e-2}, {"rate": 2.5e-3}),
            "144k": ({"rate": 5e-3}, {"rate": 2.5e-3}),
            "402k": ({"rate": 2e-3}, {"rate": 2e-3}),
        },
        weights=True,
    ),
}
PROFILES["ablations"] = replace(
    PROFILES["post"], seeds=(0, 1, 2), arms=_ablations(), measured=False, weights=False
)
# The post's own recipe where it gives one: one rollout a history, maintenance at a tenth of the main rate and
# falling with it, one rate for all sizes (the median of those in `post`; nothing was tuned for it).
_ONE_RATE = 2.5e-3
PROFILES["faithful"] = replace(
    PROFILES["post"],
    arms={"sampled": SAMPLED},
    reinforcement=PROFILES["post"].reinforcement
    | {"rollouts": 1, "rate": _ONE_RATE, "maintenance_rate": _ONE_RATE / 10},
    by_size={size: (pretraining, {}) for size, (pretraining, _) in PROFILES["post"].by_size.items()},
)


def _around_faithful() -> dict[str, Arm]:
    """Each differs in one setting from the profile `faithful`, at the ends of the sizes."""

    def changed(**settings):
        return Arm(settings=settings, sizes=("18k", "402k"))

    arms = {f"maintenance 1/{n}": changed(maintenance_rate=_ONE_RATE / n) for n in (3, 30, 100)}
    arms |= {f"failures {w:g}": changed(failure_weight=w) for w in (0.01, 1.0)}
    return arms | {"acted": changed(maintenance="acted")}


PROFILES["recipe"] = replace(PROFILES["faithful"], seeds=(0, 1, 2), arms=_around_faithful(), weights=False)


def profile_named(name: str) -> Profile:
    """The profile of that name; ValueError lists the allowed ones."""
    if name not in PROFILES:
        raise ValueError(f"profile: given {name!r}, allowed are {', '.join(PROFILES)}")
    return PROFILES[name]


# --- jobs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """One model of a profile: its stage, the arm it belongs to, and the specification of its run."""

    stage: str
    arm: str
    spec: dict


def models(profile: Profile) -> list[Model]:
    """Every model of a profile, the generator first; each after the one it starts from.

    What is not trained (the generator, untrained models) is there only to be measured.
    """
    listed = [Model("generator", "", GENERATOR)] if profile.measured else []
    for size in profile.sizes:
        for seed in profile.seeds:
            base = _pretrain_spec(profile, size, check_seed(seed))
            untrained = {name: base[name] for name in ("architecture", "size", "seed")}
            untrained["kind"] = "untrained"
            listed += [Model("untrained", "", untrained)] if profile.measured else []
            listed.append(Model("pretrained", "", base))
            for name, arm in profile.arms.items():
                if not arm.sizes or size in arm.sizes:
                    listed += _of_arm(profile, name, arm, base)
    return listed


def _of_arm(profile: Profile, name: str, arm: Arm, base: dict) -> list[Model]:
    if arm.stage == "pretrained":
        spec = _pretrain_spec(profile, base["size"], base["seed"], arm)
        return [Model("pretrained", name, spec)]
    return [Model("finetuned", name, _reinforce_spec(profile, base, arm, GOALS[n])) for n in arm.n_good]


def jobs(profile: Profile) -> list[grid.Job]:
    """Every job of a profile, each after the ones it needs; a job's key is its run's."""
    listed = []
    for model in models(profile):
        if model.spec["kind"] in ("pretrain", "reinforce"):
            listed.append(_job(model, model.spec))
        if profile.measured:
            listed.append(_job(model, _measure_spec(profile, model.spec)))
    return listed


def _pretrain_spec(profile: Profile, size: str, seed: int, arm: Arm | None = None) -> dict:
    from ..training import Pretraining

    width, layers = SIZES[size]
    spec = {"kind": "pretrain", "engine": ENGINE, "size": size, "seed": seed}
    given = profile.pretraining | _of_size(profile, size, 0) | (arm.settings if arm else {})
    shape = {"width": width, "layers": layers} | ({"context": arm.context} if arm else {})
    # every setting is in the key, the defaults too: a changed default is another run
    return {**spec, "architecture": shape, "config": asdict(Pretraining(**given))}


def _reinforce_spec(profile: Profile, pretrained: dict, arm: Arm, goal: tuple[int, ...]) -> dict:
    from ..training import Reinforcement

    given = profile.reinforcement | _of_size(profile, pretrained["size"], 1) | arm.settings
    config = asdict(Reinforcement(goal=goal, **given)) | {"goal": list(goal)}
    return {"kind": "reinforce", "engine": ENGINE, "parent": pretrained, "config": config}


def _of_size(profile: Profile, size: str, stage: int) -> dict:
    return profile.by_size[size][stage] if size in profile.by_size else {}


def _measure_spec(profile: Profile, model: dict) -> dict:
    how = {name: getattr(profile, name) for name in ("n_histories", "repeats", "set_size")}
    return {"kind": "measure", "engine": ENGINE, "model": model, **how}


def _job(model: Model, spec: dict) -> grid.Job:
    parent = spec.get("parent") or spec.get("model")
    after = (key(parent),) if parent and parent["kind"] in ("pretrain", "reinforce") else ()
    return grid.Job(key(spec), f"{spec['kind']} {_label(model)}", _seconds(spec), after, spec)


def _label(model: Model) -> str:
    if model.stage == "generator":
        return "generator"
    first = origin(model.spec)
    words = [first["size"], f"seed {first['seed']}", model.arm or model.stage]
    return " ".join(words + ([f"n_good {len(goal(model.spec))}"] if goal(model.spec) else []))


def _seconds(spec: dict) -> float:
    """Estimated seconds on one core; fitted to the four sizes on one machine, good to a factor of two."""
    width, layers = SIZES.get(origin(spec).get("size"), (0, 0))
    return _samples(spec) * (42e-6 + 0.6e-9 * 8 * width * width * layers)


def _samples(spec: dict) -> float:
    """Training samples that a run costs; without gradient a sample costs a third."""
    if spec["kind"] == "measure":
        futures = 1 if spec["model"] == GENERATOR else 18  # one forward pass for each action
        return (spec["n_histories"] + futures * spec["repeats"] * spec["set_size"]) / 3
    config = spec["config"]
    if spec["kind"] == "pretrain":
        return config["steps"] * config["batch"]
    kept = 0 if config["maintenance"] == "none" else config["maintenance_batch"]
    return config["updates"] * (config["batch"] + kept)


# --- running ------------------------------------------------------------------------------------------


Weights = Mapping[str, "tuple[Study, int]"]  # published ones, by a run's key: where, and the model's number


def to_do(
    profile: Profile, store: Store, published: "Study | None" = None, weights: Weights = MappingProxyType({})
) -> list[grid.Job]:
    """The jobs that are neither in the store nor published, and those that they need.

    A run whose weights are published need not be trained again when another needs it.
    """
    return [job for job in _wanted(profile, store, published, weights) if job.key not in weights]


def _wanted(profile: Profile, store: Store, published, weights: Weights) -> list[grid.Job]:
    """`to_do`, and the runs that are to be taken from published weights."""
    done = set() if published is None else set(published.runs["key"])
    needed: set[str] = set()
    wanted = []
    for job in reversed(jobs(profile)):  # those that need come before what they need
        unfinished = job.key not in done or job.key in needed
        if unfinished and job.payload not in store:
            wanted.append(job)
            needed.update(() if job.key in weights else job.after)
    return wanted[::-1]


def published_weights() -> Weights:
    """All weights that are published, of whatever profile."""
    studies = [found for name in PROFILES if (found := published(name))]
    return {
        row.run: (found, row.model)
        for found in studies
        for row in found.models.itertuples()
        if row.model in found.weight_files
    }


def _restore(job: grid.Job, store: Store, found: "Study", model: int) -> None:
    """Put a published run back into the store, as whoever made it left it there."""
    row = found.runs.set_index("key").loc[job.key]
    rows = found.curves[found.curves["model"] == model]
    curves = rows.pivot(index="step", columns="column", values="value")[rows["column"].unique()].reset_index()
    versions = dict(part.rsplit(" ", 1) for part in row["versions"].split(", "))
    made = {"versions": versions, "machine": row["machine"], "revision": row["revision"]}
    tables = {"curves": curves.rename_axis(columns=None)}
    store.save(job.payload, weights=found.weights(model), tables=tables, seconds=row["seconds"], made=made)


def plan(profile: Profile, missing: list[grid.Job], store: Store, workers: int) -> str:
    """What a run of the profile would do: jobs by kind, done and to do, estimated time and disk."""
    listed = jobs(profile)
    lines = [f"{job.label:<40} {job.seconds:>6.0f} s" for job in missing]
    lines += ["", "jobs         all   done  to do  minutes on one core"]
    for kind in ("pretrain", "reinforce", "measure"):
        total = sum(job.payload["kind"] == kind for job in listed)
        left = [job.seconds for job in missing if job.payload["kind"] == kind]
        lines.append(f"{kind:<10} {total:>5} {total - len(left):>6} {len(left):>6} {sum(left) / 60:>20.1f}")
    minutes = sum(job.seconds for job in missing) / 60 / max(1, workers)
    disk = sum(_bytes(job.payload) for job in missing) / 1e6
    where = f"{workers} workers" if workers else "this process"
    lines.append(f"about {minutes:.1f} minutes (within a factor of two) in {where}")
    lines.append(f"about {disk:.1f} MB in {store.root}")
    return "\n".join(lines)


def _bytes(spec: dict) -> int:
    return 60_000 + (0 if spec["kind"] == "measure" else 4 * architecture(spec).n_parameters)


def run(
    profile: Profile,
    store: Store,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    device: str = "cpu",
    published: "Study | None" = None,
    weights: Weights = MappingProxyType({}),
    quiet: bool = False,
) -> int:
    """Train and measure whatever of the profile is missing; returns how many runs that was.

    workers: 0 for this process, else so many Dask processes; scheduler: address of a Dask cluster whose
    workers see the store's folder; device: "cuda" for this machine's GPU, on which all seeds and goals of a
    size and an arm train as one ensemble, and ensembles side by side; published: what need not be done
    again; weights: of runs that others may start from without training them again (`published_weights`).
    """
    check_integer("workers", workers, 0)
    _check_device(device, workers, scheduler)
    wanted = _wanted(profile, store, published, weights)
    if wanted:
        store.root.mkdir(parents=True, exist_ok=True)  # an unusable place is noticed before any training
    for job in wanted:
        if job.key in weights:
            _restore(job, store, *weights[job.key])
    missing = [job for job in wanted if job.key not in weights]
    if device == "cpu":  # on two cores, members side by side in a step gained nothing over processes
        programs, threads = [replace(job, payload=[job.payload]) for job in missing], 1
    else:
        programs, threads = _ensembles(missing), _ON_GPU
    worker, where = Worker(store.root, device=device), {"workers": workers, "scheduler": scheduler}
    grid.run(programs, worker, threads=threads, quiet=quiet, **where)
    return len(missing)


def _check_device(device: str, workers: int, scheduler: str | None) -> None:
    if device == "cpu":
        return
    from ..engine import devices

    if device not in devices():
        raise ValueError(f"device: given {device!r}, allowed on this machine: {', '.join(devices())}")
    if workers or scheduler:
        raise ValueError(f"device: given {device!r} with workers or a scheduler, allowed is one or the other")


def _ensembles(listed: list[grid.Job]) -> list[grid.Job]:
    """Jobs of all runs that can share a step, each after the ones it needs."""
    groups: dict[str, list[grid.Job]] = {}
    for job in listed:
        groups.setdefault(_alike(job.payload), []).append(job)
    group_of = {job.key: name for name, group in groups.items() for job in group}
    after = {
        name: {group_of[needed] for job in group for needed in job.after if needed in group_of}
        for name, group in groups.items()
    }
    order = TopologicalSorter(after).static_order()
    return [_ensemble(name, groups[name], tuple(sorted(after[name]))) for name in order]


def _ensemble(name: str, group: list[grid.Job], after: tuple[str, ...]) -> grid.Job:
    label = group[0].label + (f" and {len(group) - 1} like it" if len(group) > 1 else "")
    return grid.Job(name, label, sum(job.seconds for job in group), after, [job.payload for job in group])


def _alike(spec: dict) -> str:
    """The same for runs that differ in seed and goal only, if they train."""
    if spec["kind"] == "pretrain":
        return key(spec | {"seed": None})
    if spec["kind"] == "reinforce":
        return key(
            spec | {"parent": spec["parent"] | {"seed": None}, "config": spec["config"] | {"goal": None}}
        )
    return key(spec)


# --- publishing ---------------------------------------------------------------------------------------


def collect(
    profile: Profile, store: Store, published: "Study | None" = None, part: Profile | None = None
) -> Study:
    """The tables of whatever is finished of a profile: in the store (of `part` only), or published before.

    A model's number is its place in the profile, so that pieces that are finished at different times and
    places fit together.
    """
    parts, wanted = [], {key(model.spec) for model in models(part or profile)}
    for number, model in enumerate(models(profile)):
        found = _from_store(profile, model, store) if key(model.spec) in wanted else None
        if found := found or _from_published(profile, model, published):
            numbered = {n: table.assign(model=number) for n, table in found.items() if n != "runs"}
            parts.append(numbered | {"runs": found["runs"]})
    if not parts:
        raise ValueError(f"store: {store.root} holds no finished model of the profile")
    tables = {
        name: pd.concat([p[name] for p in parts if name in p] or [pd.DataFrame()], ignore_index=True)
        for name in Study._TABLES
    }
    tables["runs"] = tables["runs"].drop_duplicates("key", ignore_index=True)
    manifest = {"profile": _plain(profile), "goals": {str(k): g for k, g in GOALS.items()}}
    manifest |= {"models_in_profile": len(models(profile))} | _made_by(tables["runs"])
    return Study(**tables, manifest=manifest, weight_files=_weight_files(profile, store, published))


def _made_by(runs: pd.DataFrame) -> dict:
    """Who made the runs: what their own manifests say, not whoever collects them."""
    makers = {name: ", ".join(sorted(set(runs[name]))) for name in ("versions", "machine", "revision")}
    return makers | {"core_seconds": round(float(runs["seconds"].sum()), 1)}


def _weight_files(profile: Profile, store: Store, published: "Study | None") -> dict[int, Path]:
    files = {}
    before = {} if published is None else published.models.set_index("run")["model"].to_dict()
    for number, model in enumerate(models(profile)):
        if model.spec["kind"] in ("pretrain", "reinforce") and model.spec in store:
            files[number] = store.weights_file(model.spec)
        elif before.get(key(model.spec)) in (published.weight_files if published else {}):
            files[number] = published.weight_files[before[key(model.spec)]]
    return files


def _from_store(profile: Profile, model: Model, store: Store) -> dict | None:
    """The tables of one model, or None if it is not finished here."""
    trains = model.spec["kind"] in ("pretrain", "reinforce")
    specs = [model.spec] * trains + [_measure_spec(profile, model.spec)] * profile.measured
    if not specs or not all(spec in store for spec in specs):
        return None
    tables = {"models": pd.DataFrame([_model_row(profile, model)])}
    if trains:
        tables["curves"] = store.table(model.spec, "curves").melt("step", var_name="column")
    if profile.measured:
        names = ("counts", "sampled", "self_evaluation", "calibration")
        there = store.manifest(specs[-1])["files"]
        tables |= {name: store.table(specs[-1], name) for name in names if f"{name}.parquet" in there}
        if "self_evaluation" in tables:  # float32 is what the models answer, and half the size
            expected = tables["self_evaluation"].filter(regex=r"^[qr]\d").columns
            tables["self_evaluation"] = tables["self_evaluation"].astype(dict.fromkeys(expected, "float32"))
    return tables | {"runs": pd.DataFrame([_run_row(spec, store.manifest(spec)) for spec in specs])}


def _from_published(profile: Profile, model: Model, published: "Study | None") -> dict | None:
    if published is None:
        return None
    row = _model_row(profile, model)
    found = published.models.merge(pd.DataFrame([row])[["run", "measurement"]])
    if found.empty:
        return None
    number = found["model"].iloc[0]
    tables = {name: getattr(published, name) for name in Study._TABLES if name != "runs"}
    tables = {name: table[table["model"] == number] for name, table in tables.items() if len(table)}
    runs = published.runs[published.runs["key"].isin([row["run"], row["measurement"]])]
    return tables | {"runs": runs}


def _run_row(spec: dict, manifest: dict) -> dict:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest["versions"].items()))
    row = {"key": key(spec), "kind": spec["kind"], "seconds": manifest["seconds"]}
    return row | {"revision": manifest["revision"], "machine": manifest["machine"], "versions": versions}


def _model_row(profile: Profile, model: Model) -> dict:
    first = origin(model.spec)
    generator = model.stage == "generator"
    return {
        "run": key(model.spec),
        "measurement": key(_measure_spec(profile, model.spec)) if profile.measured else "",
        "stage": model.stage,
        "arm": model.arm,
        "size": "" if generator else first["size"],
        "n_parameters": 0 if generator else architecture(model.spec).n_parameters,
        "seed": -1 if generator else first["seed"],
        "n_good": len(goal(model.spec)),
    }


def _plain(profile: Profile) -> dict:
    return json.loads(json.dumps(asdict(profile)))


def results_root() -> Path:
    """Where published results lie: `$SPLITHISTORY_RESULTS`, else `results/` of the checkout."""
    return Path(os.environ.get("SPLITHISTORY_RESULTS") or Path(__file__).resolve().parents[3] / "results")


def published(name: str) -> Study | None:
    """The published study of a profile, None if there is none."""
    folder = results_root() / name
    return Study.read(folder) if folder.is_dir() else None


def publish(name: str, store: Store, part: Profile | None = None) -> Path:
    """Merge what the store holds of a profile, or of a part, with what is published, and publish that."""
    profile, folder = profile_named(name), results_root() / name
    merged = collect(profile, store, published(name), part)
    rows = merged.models
    shared = (rows["seed"] == profile.seeds[0]) | ((rows["stage"] == "pretrained") & (rows["arm"] == ""))
    weights = rows.loc[shared, "model"] if profile.weights else ()
    merged.publish(folder, f"splithistory study --profile {name} --publish", weights=weights)
    return folder


def check(name: str, store: Store) -> str:
    """Train one pretrained and one finetuned model of a published profile anew and compare.

    The smallest size, the first seed, the goal of 4 outcomes. Each number must be within three standard
    deviations between seeds of what is published (another processor sums in another order, and training
    amplifies that to about a change of seed). Returns a line a number; RuntimeError if one is off.
    """
    found = published(name)
    if found is None:
        raise ValueError(f"profile: given {name!r}, of which nothing is published in {results_root()}")
    profile = profile_named(name)
    arm = replace(next(a for a in profile.arms.values() if a.stage == "finetuned"), n_good=(4,))
    part = replace(profile, sizes=profile.sizes[:1], seeds=profile.seeds[:1], arms={"sampled": arm})
    with tempfile.TemporaryDirectory() as folder:
        own = Store(folder)
        run(part, own)
        lines, far = compare(collect(part, own), found)
    if far:
        raise RuntimeError("retrained models differ from the published ones: " + "; ".join(far))
    return "\n".join(lines)


def compare(retrained: Study, found: Study) -> tuple[list[str], list[str]]:
    """(a line for each number of the retrained models, those that are further than three SDs off)."""
    lines, far = [], []
    for stage, quantity, values in _numbers(retrained):
        every = next(v for s, q, v in _numbers(found) if (s, q) == (stage, quantity))
        same = every.loc[[index for index in every.index if index[1:] == values.index[0][1:]]]
        now, before, spread = values.iloc[0], every.loc[values.index[0]], same.std(ddof=1)
        allowed = _CHECK_DEVIATIONS * spread
        line = f"{stage} {quantity}: {now:.4f}, published {before:.4f}, allowed ± {allowed:.4f}"
        lines.append(line)
        if not abs(now - before) <= allowed:
            far.append(line)
    return lines, far


def _numbers(found: Study) -> list[tuple[str, str, pd.Series]]:
    """Numbers that describe a model: (stage, quantity, series over (seed, size, n_good))."""
    index = ["seed", "size", "n_good"]
    loss = found.ended(found.pretrained(), "test_loss").set_index(index)["test_loss"]
    summary = found.summary().set_index(index)
    return [("pretrained", "test_loss", loss)] + [("finetuned", q, summary[q]) for q in ("s", "op", "imp")]


def load(name: str, *, fresh: bool = False, store: Store | None = None) -> Study:
    """The study of a profile: published tables, or trained here.

    With fresh=True, or if nothing is published for the profile, its runs are taken from the store and
    whatever is missing there is trained first (quick: minutes).
    """
    profile = profile_named(name)
    if not fresh and (found := published(name)):
        return found
    store = store or Store()
    run(profile, store, workers=grid.default_workers())
    return collect(profile, store)
