"""The study: profiles become jobs, jobs become runs, runs become the tables that the chapters read.

Floor 4. A profile names sizes, seeds and settings. Each pretrained model, each finetuned model and
each measurement is a run of its own in the store, keyed by its specification, so whatever is finished
is never done again and a measurement can change without training anything.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from . import grid
from .information import check_seed
from .measure import SplitHistory, split_history
from .recurrence import Recurrence
from .store import Store, checked_manifest, key, whole_folder, write_manifest

ENGINE = 2  # raise when a change of code makes other weights from the same specification
GOALS = {2: (0, 4), 4: (0, 2, 4, 6), 6: (0, 1, 2, 4, 5, 6)}  # the post's goals by n_good, outcomes s_{t+1}
SIZES = {"18k": (32, 2), "53k": (56, 2), "144k": (76, 3), "402k": (128, 3)}  # name: (width, layers)
# how a model's logits are read when it is measured: (temperature, tokens it may play)
READINGS = ((0.0, "all"), (1.0, "all"), (0.0, "odd"))
_GENERATOR = {"kind": "generator"}
_HISTORY_SEED = 2**31 + 1  # histories that models are measured on: no study seed reaches it


@dataclass(frozen=True)
class Profile:
    """What a study trains and how it measures.

    sizes: names in SIZES; seeds: one independent replication each; pretraining, reinforcement:
    settings of training.Pretraining and training.Reinforcement that differ from their defaults;
    n_histories: histories of the exact measurement, in two halves; repeats, set_size: the post's
    sampled procedure, 10 sets of 200.
    """

    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    pretraining: dict = field(default_factory=dict)
    reinforcement: dict = field(default_factory=dict)
    n_histories: int = 40_000
    repeats: int = 10
    set_size: int = 200


PROFILES = {
    "smoke": Profile(("18k",), (0, 1), {"steps": 1200}, {"updates": 250}, n_histories=20_000),
    "quick": Profile(("18k", "53k"), (0, 1, 2)),
}


def profile_named(name: str) -> Profile:
    """The profile of that name; ValueError lists the allowed ones."""
    if name not in PROFILES:
        raise ValueError(f"profile: given {name!r}, allowed are {', '.join(PROFILES)}")
    return PROFILES[name]


# --- jobs -------------------------------------------------------------------------------------------


def jobs(profile: Profile) -> list[grid.Job]:
    """Every job of a profile, each after the ones it needs; a job's key is its run's."""
    listed = [_job(_measure_spec(profile, _GENERATOR))]
    for size in profile.sizes:
        for seed in profile.seeds:
            pretrained = _pretrain_spec(profile, size, check_seed(seed))
            finetuned = [_reinforce_spec(profile, pretrained, goal) for goal in GOALS.values()]
            for spec in (pretrained, *finetuned):
                listed += [_job(spec), _job(_measure_spec(profile, spec))]
    return listed


def _pretrain_spec(profile: Profile, size: str, seed: int) -> dict:
    from .training import Pretraining

    width, layers = SIZES[size]
    spec = {"kind": "pretrain", "engine": ENGINE, "size": size, "seed": seed}
    # every setting is in the key, the defaults too: a changed default is another run
    config = asdict(Pretraining(**profile.pretraining))
    return {**spec, "architecture": {"width": width, "layers": layers}, "config": config}


def _reinforce_spec(profile: Profile, pretrained: dict, goal: tuple[int, ...]) -> dict:
    from .training import Reinforcement

    config = asdict(Reinforcement(goal=goal, **profile.reinforcement)) | {"goal": list(goal)}
    return {"kind": "reinforce", "engine": ENGINE, "arm": "sampled", "parent": pretrained, "config": config}


def _measure_spec(profile: Profile, model: dict) -> dict:
    settings = {name: getattr(profile, name) for name in ("n_histories", "repeats", "set_size")}
    return {"kind": "measure", "engine": ENGINE, "model": model, **settings}


def _job(spec: dict) -> grid.Job:
    parent = spec.get("parent") or spec.get("model")
    after = (key(parent),) if parent and parent != _GENERATOR else ()
    return grid.Job(key(spec), _label(spec), _seconds(spec), after, spec)


def _origin(spec: dict) -> dict:
    """The pretrained model, or the generator, that a run goes back to."""
    while parent := spec.get("parent") or spec.get("model"):
        spec = parent
    return spec


def _goal(spec: dict) -> tuple[int, ...]:
    """The goal that a run's model was finetuned on; () for any other."""
    model = spec.get("model", spec)
    return tuple(model.get("config", {}).get("goal", ()))


def _label(spec: dict) -> str:
    origin, goal = _origin(spec), _goal(spec)
    if origin == _GENERATOR:
        return "measure generator"
    return f"{spec['kind']} {origin['size']} seed {origin['seed']}" + (f" n_good {len(goal)}" if goal else "")


def _weights(spec: dict) -> int:
    """Number of weights of a run's model, without making one (biases left out)."""
    width, layers = SIZES.get(_origin(spec).get("size"), (0, 0))
    return 8 * width * width * layers + 32 * width


def _seconds(spec: dict) -> float:
    """Estimated seconds on one core; fitted to the four sizes on one machine, good to a factor of two."""
    return _samples(spec) * (35e-6 + 1.5e-9 * _weights(spec))


def _samples(spec: dict) -> float:
    """Training samples that a run costs; without gradient a sample costs a third."""
    if spec["kind"] == "measure":
        return (spec["n_histories"] + spec["repeats"] * spec["set_size"]) / 3
    config = spec["config"]
    if spec["kind"] == "pretrain":
        return config["steps"] * config["batch"]
    return config["updates"] * (
        config["batch"] + config["maintenance_batch"] * (config["maintenance_rate"] > 0)
    )


def _settings(spec: dict) -> dict:
    config = dict(spec["config"])
    return config | {"goal": tuple(config["goal"])} if "goal" in config else config


# --- work -------------------------------------------------------------------------------------------


class Worker:
    """Does one job: reads what it needs from the store and leaves its run there (picklable, for Dask)."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def __call__(self, spec: dict, report: grid.Report) -> None:
        import torch

        torch.set_num_threads(1)
        start = time.perf_counter()
        done = {"pretrain": self._pretrain, "reinforce": self._reinforce, "measure": self._measure}[
            spec["kind"]
        ](spec, report)
        Store(self.root).save(spec, **done, seconds=round(time.perf_counter() - start, 2))

    def _pretrain(self, spec: dict, report) -> dict:
        from . import training

        trained = training.pretrain(
            _architecture(spec),
            training.Pretraining(**_settings(spec)),
            [spec["seed"]],
            progress=_progress(report),
        )
        return _kept(trained)

    def _reinforce(self, spec: dict, report) -> dict:
        from . import training

        origin = spec["parent"]
        weights = {k: v[None] for k, v in Store(self.root).weights(origin).items()}
        trained = training.reinforce(
            _architecture(spec),
            training.Reinforcement(**_settings(spec)),
            weights,
            [origin["seed"]],
            progress=_progress(report),
        )
        return _kept(trained)

    def _measure(self, spec: dict, report) -> dict:
        report(0.1, "measuring")
        settings = spec["n_histories"], spec["repeats"], spec["set_size"]
        if spec["model"] == _GENERATOR:
            return {"tables": measure_tables(_generator_policies, *settings, own=(1.0, "all"))}
        return {"tables": measure_tables(self._policies(spec), *settings, own=(0.0, "all"))}

    def _policies(self, spec: dict):
        import torch

        from .training import action_logits, choose

        weights = {k: torch.from_numpy(v[None]) for k, v in Store(self.root).weights(spec["model"]).items()}
        n_odd = Recurrence().alphabet

        def policies(histories):  # one forward pass serves every reading
            answer = action_logits(weights, _architecture(spec), histories)[0]
            odd = answer.clone()
            odd[:, :n_odd] = -torch.inf
            return {(t, tokens): choose({"all": answer, "odd": odd}[tokens], t) for t, tokens in READINGS}

        return policies


def _generator_policies(histories):
    """The recurrence as a policy: its likeliest token, and its own noisy draw."""
    probs = Recurrence().next_probs(histories)
    return {(t, tokens): probs if t else probs.argmax(1) for t, tokens in READINGS}


def measure_tables(
    policies, n_histories: int, repeats: int, set_size: int, *, own
) -> dict[str, pd.DataFrame]:
    """A model's whole measurement; policies(histories) -> {reading: actions or probabilities}.

    counts: half, temperature, tokens, m, a, count over n_histories drawn histories (exact, noise
    marginalised); sampled: repeat, op, imp and both futures' outcome shares by the post's procedure, for
    the reading `own`.
    """
    world = Recurrence()
    counts = []
    for half in range(2):
        histories = world.histories(n_histories // 2, seed=[_HISTORY_SEED, *b"half", half + 1])
        for (temperature, tokens), answer in policies(histories).items():
            table = split_history(histories, lambda _, answer=answer: answer, world).counts
            m, a = np.nonzero(table)
            rows = {"half": half, "temperature": temperature, "tokens": tokens, "m": m, "a": a}
            counts.append(pd.DataFrame(rows | {"count": table[m, a]}))
    sampled = [_sampled_row(lambda h: policies(h)[own], world, repeat, set_size) for repeat in range(repeats)]
    return {"counts": pd.concat(counts, ignore_index=True), "sampled": pd.DataFrame(sampled)}


def _sampled_row(policy, world: Recurrence, repeat: int, set_size: int) -> dict:
    histories = world.histories(set_size, seed=[_HISTORY_SEED, *b"set", repeat + 1])
    futures = split_history(
        histories, policy, world, method="sampled", seed=[_HISTORY_SEED, *b"draw", repeat + 1]
    )
    row = {"repeat": repeat, "op": futures.op, "imp": futures.imp}
    row |= {f"f{k}": share for k, share in enumerate(futures.outcome_probs)}
    mean = futures.action_probs @ futures.counterfactual_probs
    return row | {f"f_prime{k}": share for k, share in enumerate(mean)}


def _architecture(spec: dict):
    from .transformer import Architecture

    return Architecture(**_origin(spec)["architecture"])


def _progress(report: grid.Report):
    last = 0.0

    def show(step: int, total: int, loss: np.ndarray) -> None:
        nonlocal last
        if time.perf_counter() - last > 0.5:  # a worker's message costs more than a step
            last = time.perf_counter()
            report(0.999 * step / total, f"loss {loss.mean():.3f}")

    return show


def _kept(trained) -> dict:
    """A trained ensemble of one as the store keeps it."""
    curves = pd.DataFrame({name: values[0] for name, values in trained.curves.items()})
    return {"weights": {k: v[0] for k, v in trained.weights.items()}, "tables": {"curves": curves}}


# --- running and publishing --------------------------------------------------------------------------


def plan(profile: Profile, store: Store, workers: int) -> str:
    """What a run of the profile would do: jobs by kind, done and to do, estimated time and disk."""
    listed = jobs(profile)
    missing = [job for job in listed if job.payload not in store]
    lines = [f"{job.label:<32} {job.seconds:>6.0f} s" for job in missing]
    lines += ["", "jobs         all   done  to do  minutes on one core"]
    for kind in ("pretrain", "reinforce", "measure"):
        total = sum(job.payload["kind"] == kind for job in listed)
        to_do = [job.seconds for job in missing if job.payload["kind"] == kind]
        lines.append(
            f"{kind:<10} {total:>5} {total - len(to_do):>6} {len(to_do):>6} {sum(to_do) / 60:>20.1f}"
        )
    minutes = sum(job.seconds for job in missing) / 60 / max(1, workers)
    disk = sum(_bytes(job.payload) for job in missing) / 1e6
    lines.append(f"about {minutes:.1f} minutes (within a factor of two) with {workers or 'no'} workers")
    lines.append(f"about {disk:.1f} MB in {store.root}")
    return "\n".join(lines)


def _bytes(spec: dict) -> int:
    return 20_000 + (0 if spec["kind"] == "measure" else 4 * _weights(spec))


def run(profile: Profile, store: Store, *, workers: int | None = None, quiet: bool = False) -> int:
    """Train and measure whatever of the profile the store lacks; returns how many jobs that was."""
    missing = [job for job in jobs(profile) if job.payload not in store]
    workers = grid.default_workers() if workers is None else workers
    if missing:
        store.root.mkdir(parents=True, exist_ok=True)  # an unusable place is noticed before any training
    grid.run(missing, Worker(store.root), workers=workers, quiet=quiet)
    return len(missing)


def collect(profile: Profile, store: Store) -> "Study":
    """The tables of a profile whose runs are all in the store."""
    specs = [job.payload for job in jobs(profile)]
    measures = [spec for spec in specs if spec["kind"] == "measure"]
    parts = [_model_tables(model, measure, store) for model, measure in enumerate(measures)]
    tables = {n: pd.concat([p[n] for p in parts if n in p], ignore_index=True) for n in Study._TABLES}
    manifest = {"profile": _plain(profile), "goals": {str(k): g for k, g in GOALS.items()}}
    return Study(**tables, manifest=manifest | _made_by([store.manifest(spec) for spec in specs]))


def _model_tables(model: int, measure: dict, store: Store) -> dict[str, pd.DataFrame]:
    """What the store holds of one model, each table with the model's number; the generator has no curves."""
    spec = measure["model"]
    tables = {"models": pd.DataFrame([_model_row(spec)])}
    tables |= {name: store.table(measure, name) for name in ("counts", "sampled")}
    if spec != _GENERATOR:
        tables["curves"] = store.table(spec, "curves").melt("step", var_name="column")
    return {name: table.assign(model=model) for name, table in tables.items()}


def _made_by(manifests: list[dict]) -> dict:
    """Who made the runs: what their own manifests say, not whoever collects them."""

    def each(values) -> str:
        return ", ".join(sorted(set(values)))

    names = sorted({name for m in manifests for name in m["versions"]})
    return {
        "versions": {name: each(m["versions"][name] for m in manifests) for name in names},
        "machine": each(m["machine"] for m in manifests),
        "revision": each(m["revision"] for m in manifests),
        "core_seconds": round(sum(m["seconds"] for m in manifests), 1),
    }


def _plain(profile: Profile) -> dict:
    return json.loads(json.dumps(profile.__dict__))


def _model_row(spec: dict) -> dict:
    origin, goal = _origin(spec), _goal(spec)
    if origin == _GENERATOR:
        return {
            "run": "",
            "stage": "generator",
            "arm": "",
            "size": "",
            "n_parameters": 0,
            "seed": -1,
            "n_good": 0,
        }
    return {
        "run": key(spec),
        "stage": "finetuned" if goal else "pretrained",
        "arm": spec.get("arm", ""),
        "size": origin["size"],
        "n_parameters": _architecture(spec).n_parameters,
        "seed": origin["seed"],
        "n_good": len(goal),
    }


@dataclass
class Study:
    """What the chapters read.

    models: a row a model, and the generator first (stage, arm, size, n_parameters, seed, n_good);
    curves: model, step, column, value (losses in nats);
    counts: model, half, temperature, tokens, m, a, count;
    sampled: model, repeat, op, imp and outcome shares by the post's procedure, in nats;
    manifest: how it was made.
    """

    models: pd.DataFrame
    curves: pd.DataFrame
    counts: pd.DataFrame
    sampled: pd.DataFrame
    manifest: dict
    published: bool = False

    _TABLES = ("models", "curves", "counts", "sampled")

    def measured(
        self, model: int, *, temperature: float = 0.0, tokens: str = "all", half: int | None = None
    ) -> SplitHistory:
        """The exact measurement of a model: its table of counts in the world, both halves or one.

        temperature, tokens: one of READINGS; tokens "odd" lets it play odd-position tokens only.
        """
        world = Recurrence()
        rows = self._counts.get_group((model, temperature, tokens))
        rows = rows if half is None else rows[rows["half"] == half]
        counts = np.zeros(world.table.shape[:2])
        np.add.at(counts, (rows["m"], rows["a"]), rows["count"])
        return SplitHistory(counts, world.table)

    def summary(self, *, temperature: float = 0.0) -> pd.DataFrame:
        """The finetuned models measured, each on its own goal: a row a model, information in nats.

        Columns of `models`, then s, op, imp and gap = op − implied_op (each with _low and _high, a 95 %
        interval over the draw of histories), implied_op, delta, s_prime, imp_min and wrong_parity,
        the rate of even tokens played at odd positions.
        """
        rows = []
        for row in self.models[self.models["n_good"] > 0].itertuples(index=False):
            measured = self.measured(row.model, temperature=temperature)
            rows.append({**row._asdict(), **_scalars(measured, GOALS[row.n_good])})
        return pd.DataFrame(rows)

    def decompositions(self) -> pd.DataFrame:
        """Op and Imp split into their terms (SplitHistory.decomposition), at temperature 0, in nats.

        A row for each finetuned model on its own goal, and for each pretrained one on every goal.
        """
        rows = []
        for row in self.models[self.models["stage"] != "generator"].itertuples(index=False):
            measured = self.measured(row.model)
            for n_good in [row.n_good] if row.n_good else GOALS:
                scalars = {"n_good": n_good, "op": measured.op, "imp": measured.imp}
                rows.append({**row._asdict(), **scalars, **measured.decomposition(GOALS[n_good])})
        return pd.DataFrame(rows)

    def sampled_op(self) -> pd.DataFrame:
        """Op by the post's procedure: mean and half (95 % t interval over the sets), nats, by model."""
        by_model = self.sampled.groupby("model")["op"]
        return pd.DataFrame({m: t_interval(op) for m, op in by_model}, index=["mean", "half"]).T

    def found(self, statement: str, holds: bool | None) -> None:
        """Print whether a finding holds (None: too small to tell); on published results it must."""
        print(f"{statement}: {'too small to tell' if holds is None else 'yes' if holds else 'no'}")
        if self.published and not holds:
            raise AssertionError(f"published results no longer show that {statement}")

    def curve(self, model: int, column: str) -> tuple[np.ndarray, np.ndarray]:
        """(step, value) of one column of a model's curves."""
        rows = self.curves[(self.curves["model"] == model) & (self.curves["column"] == column)]
        return rows["step"].to_numpy(), rows["value"].to_numpy()

    @cached_property
    def _counts(self):
        return self.counts.groupby(["model", "temperature", "tokens"])

    def publish(self, folder: Path, command: str) -> None:
        """Write tables and manifest to `folder`, whole or not at all."""
        with whole_folder(Path(folder)) as temporary:
            for name in self._TABLES:
                getattr(self, name).to_parquet(temporary / f"{name}.parquet", index=False, compression="zstd")
            write_manifest(temporary, {**self.manifest, "command": command})


def _scalars(measured: SplitHistory, goal) -> dict[str, float]:
    def quantities(futures):
        gap = futures.op - futures.implied_op(goal)
        return np.array([futures.success(goal), futures.op, futures.imp, gap])

    low, high = measured.interval(quantities)
    scalars = {}
    for name, *values in zip(("s", "op", "imp", "gap"), quantities(measured), low, high, strict=True):
        scalars |= zip((name, f"{name}_low", f"{name}_high"), values, strict=True)
    world = Recurrence()
    return scalars | {
        "implied_op": measured.implied_op(goal),
        "delta": measured.delta,
        "s_prime": measured.counterfactual_success(goal),
        "imp_min": measured.imp_min(goal),
        "wrong_parity": float(measured.action_probs[: world.alphabet].sum()),
    }


def t_interval(values, level: float = 0.95) -> tuple[float, float]:
    """Mean of independent values (one a seed, or one a set of histories) and half width of its t interval."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values: shape {values.shape}, allowed are at least two independent values")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(stdtrit(len(values) - 1, (1 + level) / 2) * error)


def by_goal(table: pd.DataFrame, column: str) -> dict[int, tuple[float, float]]:
    """{n_good: t_interval} of a column of `summary` or `decompositions`, over seeds.

    Sizes of a seed are averaged first: they share its data, so a seed is one replication.
    """
    values = table.groupby(["n_good", "seed"])[column].mean().unstack()
    return {n_good: t_interval(row) for n_good, row in values.iterrows()}


def growth_by_goal(table: pd.DataFrame, column: str) -> dict[int, tuple[float, float]]:
    """`by_goal` of a column's change from the first size to the last; empty if there is only one."""
    sizes = list(dict.fromkeys(table["size"]))
    if len(sizes) < 2:
        return {}
    wide = table.pivot(index=["n_good", "seed"], columns="size", values=column)
    change = wide[sizes[-1]] - wide[sizes[0]]
    return by_goal(change.rename(column).reset_index(), column)


def results_root() -> Path:
    """Where published results lie: `$SPLITHISTORY_RESULTS`, else `results/` of the checkout."""
    return Path(os.environ.get("SPLITHISTORY_RESULTS") or Path(__file__).resolve().parents[2] / "results")


def load(name: str, *, fresh: bool = False, store: Store | None = None) -> Study:
    """The study of a profile: published tables, or trained here.

    With fresh=True, or if nothing is published for the profile, its runs are taken from the store and
    whatever is missing there is trained first (quick: minutes).
    """
    profile = profile_named(name)
    folder = results_root() / name
    if not fresh and folder.is_dir():
        manifest = checked_manifest(folder)
        tables = (pd.read_parquet(folder / f"{table}.parquet") for table in Study._TABLES)
        return Study(*tables, manifest, published=True)
    store = store or Store()
    run(profile, store)
    return collect(profile, store)
