"""What is finished of a profile becomes tables, merged with what was published before, and is published."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from .profiles import PROFILES, Model, Profile, measurement, models, profile_named
from .results import GOALS, Study
from .runs import Run
from .store import Store, checked_manifest, locked, recover

RESULTS_VARIABLE = "SPLITHISTORY_RESULTS"
_IN_CHECKOUT = Path(__file__).resolve().parents[3] / "results"

Weights = Mapping[str, tuple[Study, int]]  # published ones, by a run's key: where, and the model's number


def collect(profile: Profile, store: Store, known: Study | None = None, part: Profile | None = None) -> Study:
    """The tables of whatever is finished of a profile: in the store (of `part` only), or published before.

    A model's number is its place in the profile, so that pieces that are finished at different times and
    places fit together.
    """
    parts, wanted, files = [], {model.run.key for model in models(part or profile)}, {}
    before = known.weight_files if known else {}
    for number, model in enumerate(models(profile)):
        own = _from_store(profile, model, store) if model.run.key in wanted else None
        if found := own or _from_published(profile, model, known):
            # of the training that the tables are of
            file = _weights_file(model, store) if own else before.get(found["models"]["model"].iloc[0])
            if file:
                files[number] = file
            numbered = {n: table.assign(model=number) for n, table in found.items() if n != "runs"}
            parts.append(numbered | {"runs": found["runs"]})
    if not parts:
        raise ValueError(f"store: {store.root} holds no finished model of the profile")
    tables = {
        name: pd.concat([p[name] for p in parts if name in p] or [pd.DataFrame()], ignore_index=True)
        for name in Study.TABLES
    }
    tables["runs"] = tables["runs"].drop_duplicates("key", ignore_index=True)
    manifest = {"profile": _plain(profile), "goals": {str(k): g for k, g in GOALS.items()}}
    manifest |= {"models_in_profile": len(models(profile))} | _made_by(tables["runs"])
    return Study(**tables, manifest=manifest, weight_files=files)


def _made_by(runs: pd.DataFrame) -> dict:
    """Who made the runs: what their own manifests say, not whoever collects them."""
    makers = {name: ", ".join(sorted(set(runs[name]))) for name in ("versions", "machine", "revision")}
    return makers | {"core_seconds": round(float(runs["seconds"].sum()), 1)}


def _weights_file(model: Model, store: Store) -> Path | None:
    return store.weights_file(model.run.spec) if model.run.trains else None


def _from_store(profile: Profile, model: Model, store: Store) -> dict | None:
    """The tables of one model, or None if it is not finished here."""
    runs = [model.run] * model.run.trains + [measurement(profile, model)] * profile.measured
    if not runs or not all(run.spec in store for run in runs):
        return None
    tables = {"models": pd.DataFrame([_model_row(profile, model)])}
    if model.run.trains:
        tables["curves"] = store.table(model.run.spec, "curves").melt("step", var_name="column")
    if profile.measured:
        names = ("counts", "sampled", "self_evaluation", "calibration")
        there = store.manifest(runs[-1].spec)["files"]
        tables |= {name: store.table(runs[-1].spec, name) for name in names if f"{name}.parquet" in there}
        if "self_evaluation" in tables:  # float32 is what the models answer, and half the size
            expected = tables["self_evaluation"].filter(regex=r"^[qr]\d").columns
            tables["self_evaluation"] = tables["self_evaluation"].astype(dict.fromkeys(expected, "float32"))
    return tables | {"runs": pd.DataFrame([_run_row(run, store.manifest(run.spec)) for run in runs])}


def _from_published(profile: Profile, model: Model, known: Study | None) -> dict | None:
    if known is None:
        return None
    row = _model_row(profile, model)
    found = known.models.merge(pd.DataFrame([row])[["run", "measurement"]])
    if found.empty:
        return None
    number = found["model"].iloc[0]
    tables = {name: getattr(known, name) for name in Study.TABLES if name != "runs"}
    tables = {name: table[table["model"] == number] for name, table in tables.items() if len(table)}
    runs = known.runs[known.runs["key"].isin([row["run"], row["measurement"]])]
    return tables | {"runs": runs}


def _run_row(run: Run, manifest: dict) -> dict:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest["versions"].items()))
    row = {"key": run.key, "kind": run.kind, "seconds": manifest["seconds"]}
    return row | {"revision": manifest["revision"], "machine": manifest["machine"], "versions": versions}


def _model_row(profile: Profile, model: Model) -> dict:
    run = model.run
    return {
        "run": run.key,
        "measurement": measurement(profile, model).key if profile.measured else "",
        "stage": model.stage,
        "arm": model.arm,
        "size": run.size,
        "n_parameters": run.n_parameters,
        "seed": run.seed,
        "n_good": len(run.goal),
    }


def _plain(profile: Profile) -> dict:
    """A profile as manifests have it: `publish_weights` is "weights", and the post's world is not named."""
    plain = json.loads(json.dumps(asdict(profile), default=lambda number: number.item()))  # NumPy's
    for arm in plain["arms"].values():  # what arms could not say when others were published
        for later in ("pretraining", "seeds"):
            if not arm[later]:
                del arm[later]
    plain["weights"] = plain.pop("publish_weights")
    if not profile.weight_sizes:  # nor could profiles say this
        del plain["weight_sizes"]
    return plain if profile.world else {name: value for name, value in plain.items() if name != "world"}


def results_root() -> Path:
    """Where published results lie: `$SPLITHISTORY_RESULTS`, else `results/` of the checkout.

    ValueError if there is no such folder: an installed package has none, and the variable may be mistyped.
    """
    root = Path(os.environ.get(RESULTS_VARIABLE) or _IN_CHECKOUT)
    if not root.is_dir():
        allowed = f"the folder results of a clone of the repository (${RESULTS_VARIABLE}), or fresh to train"
        raise ValueError(f"results: given {root}, which is no folder; allowed is {allowed}")
    return root


def has_results() -> bool:
    """Whether there should be results: an installed package has none unless a variable says where."""
    return bool(os.environ.get(RESULTS_VARIABLE)) or _IN_CHECKOUT.is_dir()


def tuning() -> pd.DataFrame:
    """The trials from which the study's rates were chosen; ValueError if they are not as published."""
    checked_manifest(results_root() / "tuning")
    return pd.read_csv(results_root() / "tuning" / "trials.csv")


def published(name: str) -> Study | None:
    """The published study of a profile, None if there is none; ValueError as of `results_root`."""
    folder = results_root() / name
    recover(folder)
    return Study.read(folder) if folder.is_dir() else None


def so_far(name: str) -> Study:
    """What is published of a profile: a study without models if nothing is. Never trains."""
    profile = profile_named(name)
    if found := published(name):
        return found
    models_columns = _model_row(profile, models(profile)[0])
    tables = {table: pd.DataFrame() for table in Study.TABLES}
    tables["models"] = pd.DataFrame(columns=["model", *models_columns])
    tables["curves"] = pd.DataFrame(columns=["model", "step", "column", "value"])
    return Study(**tables, manifest={"profile": _plain(profile)})


def published_weights(names: Iterable[str] = PROFILES) -> Weights:
    """All weights that are published, of whatever profile, or of some."""
    studies = [found for name in names if (found := published(name))]
    return {
        row.run: (found, row.model)
        for found in studies
        for row in found.models.itertuples()
        if row.model in found.weight_files
    }


def publish(name: str, store: Store, part: Profile | None = None) -> Path:
    """Merge what the store holds of a profile, or of a part, with what is published, and publish that."""
    profile, folder = profile_named(name), results_root() / name
    with locked(folder):  # two that publish at once would each lose what the other merged
        _merge(profile, folder, store, part)
    return folder


def _merge(profile: Profile, folder: Path, store: Store, part: Profile | None) -> None:
    name = folder.name
    merged = collect(profile, store, published(name), part)
    rows = merged.models
    shared = (rows["seed"] == profile.seeds[0]) | ((rows["stage"] == "pretrained") & (rows["arm"] == ""))
    # what another profile publishes need not lie there twice
    shared &= ~rows["run"].isin(published_weights(other for other in PROFILES if other != name).keys())
    shared &= rows["size"].isin(profile.weight_sizes or profile.sizes)
    weights = rows.loc[shared, "model"] if profile.publish_weights else ()
    merged.publish(folder, f"splithistory study --profile {name} --publish", weights=weights)
