"""The study: profiles become runs, runs become the tables that the chapters read.

Each pretrained model, each finetuned model and each measurement is a run of its own in the store, keyed by
its specification, so whatever is finished is never done again, any part can be run by itself, and a
measurement can change without training anything.
"""

import os
import tempfile
from dataclasses import replace
from graphlib import TopologicalSorter
from types import MappingProxyType

import pandas as pd

from . import grid
from .profiles import PROFILES, SIZES, Arm, Profile, measurement, models, profile_named, settings, varied
from .publishing import (
    Weights,
    collect,
    has_results,
    publish,
    published,
    published_weights,
    results_root,
    so_far,
    tuning,
)
from .results import GOALS, GRADES, Study
from .runs import Run, Worker, unfinished
from .store import DEVICE_VARIABLE, Store

__all__ = [
    "GOALS",
    "GRADES",
    "PROFILES",
    "SIZES",
    "Arm",
    "Profile",
    "Study",
    "check",
    "check_where",
    "collect",
    "compare",
    "has_results",
    "jobs",
    "load",
    "models",
    "plan",
    "profile_named",
    "publish",
    "published",
    "published_weights",
    "results_root",
    "run",
    "settings",
    "so_far",
    "to_do",
    "tuning",
    "varied",
]

_ON_GPU = 8  # jobs side by side: the ensembles of four sizes, and measurements of what is trained
_UNASKED = 60  # seconds of training at most that nobody asked for
_CHECK_DEVIATIONS = 3  # set before anything was compared
NOTHING: Weights = MappingProxyType({})


# --- jobs -----------------------------------------------------------------------------------------------


def jobs(profile: Profile) -> list[grid.Job]:
    """Every job of a profile, each after the ones it needs; a job's key and payload are its run's."""
    listed = []
    for model in models(profile):
        runs = [model.run] * model.run.trains + [measurement(profile, model)] * profile.measured
        listed += [_job(run, model.label) for run in runs]
    return listed


def _job(run: Run, label: str) -> grid.Job:
    return grid.Job(run.key, f"{run.kind} {label}", run.seconds, run.after, run)


def to_do(
    profile: Profile, store: Store, known: Study | None = None, weights: Weights = NOTHING
) -> list[grid.Job]:
    """The jobs that are neither in the store nor known, and those that they need.

    known: what is published of the profile; weights: published ones (`published_weights`): a run that has
    them need not be trained again when another needs it.
    """
    return [job for job in _wanted(profile, store, known, weights) if job.key not in weights]


def _wanted(profile: Profile, store: Store, known: Study | None, weights: Weights) -> list[grid.Job]:
    """`to_do`, and the runs that are to be taken from published weights."""
    done = set() if known is None else set(known.runs["key"])
    needed: set[str] = set()
    wanted = []
    for job in reversed(jobs(profile)):  # those that need come before what they need
        unfinished = job.key not in done or job.key in needed
        if unfinished and job.payload.spec not in store:
            wanted.append(job)
            needed.update(() if job.key in weights else job.after)
    return wanted[::-1]


def _restore(job: grid.Job, store: Store, found: Study, model: int) -> None:
    """Put a published run back into the store, as whoever made it left it there."""
    row = found.runs.set_index("key").loc[job.key]
    rows = found.curves[found.curves["model"] == model]
    curves = rows.pivot(index="step", columns="column", values="value")[rows["column"].unique()].reset_index()
    versions = dict(part.rsplit(" ", 1) for part in row["versions"].split(", "))
    made = {"versions": versions, "machine": row["machine"], "revision": row["revision"]}
    tables = {"curves": curves.rename_axis(columns=None)}
    kept = {"weights": found.weights(model), "tables": tables, "seconds": row["seconds"], "made": made}
    store.save(job.payload.spec, **kept)


def plan(profile: Profile, missing: list[grid.Job], store: Store, workers: int) -> str:
    """What a run of the profile would do: jobs by kind, done and to do, estimated time and disk."""
    listed = jobs(profile)
    lines = [f"{job.label:<40} {job.seconds:>6.0f} s" for job in missing]
    lines += ["", "jobs         all   done  to do  minutes on one core"]
    for kind in ("pretrain", "reinforce", "measure"):
        total = sum(job.payload.kind == kind for job in listed)
        left = [job.seconds for job in missing if job.payload.kind == kind]
        lines.append(f"{kind:<10} {total:>5} {total - len(left):>6} {len(left):>6} {sum(left) / 60:>20.1f}")
    minutes = sum(job.seconds for job in missing) / 60 / max(1, workers)
    disk = sum(job.payload.n_bytes for job in missing) / 1e6
    where = f"{workers} workers" if workers else "this process"
    lines.append(f"about {minutes:.1f} minutes (within a factor of two) in {where}")
    lines.append(f"about {disk:.1f} MB in {store.root}")
    return "\n".join(lines)


# --- running --------------------------------------------------------------------------------------------


def run(
    profile: Profile,
    store: Store,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    device: str = "cpu",
    known: Study | None = None,
    weights: Weights = NOTHING,
    quiet: bool = False,
) -> int:
    """Train and measure whatever of the profile is missing; returns how many runs that was.

    workers: 0 for this process, else so many Dask processes; scheduler: address of a Dask cluster whose
    workers see the store's folder; device: "cuda" for this machine's GPU, on which all seeds and goals of a
    size and an arm train as one ensemble, and ensembles side by side; known, weights: as in `to_do`.
    """
    check_where(workers=workers, scheduler=scheduler, device=device)
    wanted = _wanted(profile, store, known, weights)
    if wanted:
        store.root.mkdir(parents=True, exist_ok=True)  # an unusable place is noticed before any training
    for job in wanted:
        if job.key in weights:
            _restore(job, store, *weights[job.key])
    missing = [job for job in wanted if job.key not in weights]
    from ..engine import on_gpu

    if not on_gpu(device):  # on two cores, members side by side in a step gained nothing over processes
        programs, threads = [replace(job, payload=[job.payload]) for job in missing], 1
    else:
        programs, threads = _ensembles(_with_saved(profile, missing, store)), _ON_GPU
    worker = Worker(store.root, device=device)
    grid.run(programs, worker, workers=workers, threads=threads, scheduler=scheduler, quiet=quiet)
    return len(missing)


def check_where(*, workers: int = 0, scheduler: str | None = None, device: str = "cpu") -> None:
    """ValueError unless `run` can do its jobs there; whether a scheduler answers is not asked."""
    grid.check(workers, scheduler)
    if device == "cpu":
        return
    from ..engine import check_device, on_gpu

    check_device(device)
    if on_gpu(device) and (workers or scheduler):
        raise ValueError(f"device: given {device!r} with workers or a scheduler, allowed is one or the other")


def _with_saved(profile: Profile, missing: list[grid.Job], store: Store) -> list[grid.Job]:
    """Missing jobs, and those saved before their ensemble was killed: the rest goes on from a checkpoint."""
    keys = {job.key for job in missing}
    started = [set(members) for members in unfinished(store).values()]
    wanted = keys.union(*(members for members in started if members & keys))
    return [job for job in jobs(profile) if job.key in wanted]


def _ensembles(listed: list[grid.Job]) -> list[grid.Job]:
    """Jobs of all runs that can share a step, each after the ones it needs."""
    groups: dict[str, list[grid.Job]] = {}
    for job in listed:
        groups.setdefault(job.payload.ensemble, []).append(job)
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


# --- reading ----------------------------------------------------------------------------------------------


def load(name: str, *, fresh: bool = False, store: Store | None = None, device: str | None = None) -> Study:
    """The study of a profile: published tables, or trained here.

    With fresh=True, or if nothing is published for the profile, its runs are taken from the store and
    whatever is missing there is trained first, on a device ("cpu" or "cuda"; $SPLITHISTORY_DEVICE if none is
    given, else the processors). ValueError, without fresh, if that would take more than a minute; and if the
    store or the device is none, whether it is needed or not.
    """
    profile = profile_named(name)
    if not isinstance(store, Store | None):
        raise ValueError(f"store: given {store!r}, allowed is a study.store.Store")
    check_where(device="cpu" if device is None else device)
    if not fresh and (found := published(name)):
        return found
    store, device = store or Store(), device or os.environ.get(DEVICE_VARIABLE) or "cpu"
    if not fresh:
        _refuse_long(name, to_do(profile, store))
    run(profile, store, device=device, workers=grid.default_workers() if device == "cpu" else 0)
    return collect(profile, store)


def _refuse_long(name: str, missing: list[grid.Job]) -> None:
    """ValueError if what is missing takes longer than anybody expects who did not ask for it."""
    seconds = sum(job.seconds for job in missing)
    if seconds > _UNASKED:
        given = f"given {name!r}, of which nothing is published in {results_root()}"
        takes = f"fresh=True, which trains {len(missing)} runs, about {seconds / 60:.0f} minutes of one core"
        raise ValueError(f"profile: {given}; allowed is {takes}")


def check(name: str) -> str:
    """Train one pretrained and one finetuned model of a published profile anew, in a new store, and compare.

    Of what is published the smallest size, the first seed and arm, the goal of 4 outcomes. Each number must
    be within three standard deviations between seeds of what is published (another processor sums in another
    order, and training amplifies that to about a change of seed). Returns a line a number; RuntimeError if
    one is off; ValueError if the profile has no such models, or of one seed only, or they are not measured.
    """
    found = published(name)
    if found is None:
        raise ValueError(f"profile: given {name!r}, of which nothing is published in {results_root()}")
    part, arm = _checked_part(name, found)
    with tempfile.TemporaryDirectory() as folder:
        own = Store(folder)
        run(part, own)
        lines, far = compare(collect(part, own), found, arm)
    if far:
        raise RuntimeError("retrained models differ from the published ones: " + "; ".join(far))
    return "\n".join(lines)


def _checked_part(name: str, found: Study) -> tuple[Profile, str]:
    """The part of a profile that `check` trains, and its arm."""
    profile = profile_named(name)
    tuned = found.models[(found.models["stage"] == "finetuned") & (found.models["n_good"] == 4)]
    if tuned.empty or not profile.measured:
        given = f"given {name!r}, whose models are not measured on a goal of 4 outcomes"
        raise ValueError(f"profile: {given}; allowed is one whose models are")
    first = tuned.sort_values(["n_parameters", "seed"], kind="stable").iloc[0]
    arm, size, seed = first[["arm", "size", "seed"]]
    if tuned.loc[(tuned["arm"] == arm) & (tuned["size"] == size), "seed"].nunique() == 1:
        given = f"given {name!r}, of whose {size} models one seed is published, which has no spread"
        raise ValueError(f"profile: {given}; allowed is one with two seeds or more")
    only = {arm: replace(profile.arms[arm], n_good=(4,))}
    return replace(profile, sizes=(size,), seeds=(seed,), arms=only), arm


def compare(retrained: Study, found: Study, arm: str = "sampled") -> tuple[list[str], list[str]]:
    """(a line for each number of the retrained models, those that are further than three SDs off).

    arm: of the finetuned ones.
    """
    lines, far = [], []
    for stage, quantity, values in _numbers(retrained, arm):
        every = next(v for s, q, v in _numbers(found, arm) if (s, q) == (stage, quantity))
        same = every.loc[[index for index in every.index if index[1:] == values.index[0][1:]]]
        now, before, spread = values.iloc[0], every.loc[values.index[0]], same.std(ddof=1)
        allowed = _CHECK_DEVIATIONS * spread
        line = f"{stage} {quantity}: {now:.4f}, published {before:.4f}, allowed ± {allowed:.4f}"
        lines.append(line)
        if not abs(now - before) <= allowed:
            far.append(line)
    return lines, far


def _numbers(found: Study, arm: str) -> list[tuple[str, str, pd.Series]]:
    """Numbers that describe a model: (stage, quantity, series over (seed, size, n_good))."""
    index = ["seed", "size", "n_good"]
    loss = found.ended(found.pretrained(), "test_loss").set_index(index)["test_loss"]
    summary = found.summary(arm).set_index(index)
    return [("pretrained", "test_loss", loss)] + [("finetuned", q, summary[q]) for q in ("s", "op", "imp")]
