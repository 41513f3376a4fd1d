"""Sweeps: a chapter executed, or a profile trained, at every point of a grid; one table of what came of it.

What came of a point is kept as a run in a store of the sweep's own, whole or not at all, so a sweep that was
killed goes on where it was. A point that fails is listed with its reason, does not stop the others, and is
done again the next time. The tables are written when every point has ended.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import pandas as pd
import yaml

from .. import study
from ..study import grid
from ..study.store import Store, checked_manifest, key, provenance, publish_tables, write_whole
from .chapters import Parameter, check, check_once, find_chapter, load, parameters, read_yaml, run
from .findings import recorded

MOST = 10_000  # executions, unless one says so
_SECONDS = 10.0  # of a point, for the progress bar alone


class Tables(NamedTuple):
    """What came of a sweep: values and failures, each with a column for each parameter of the grid.

    values: a row for each thing that a chapter recorded, with the columns of `findings.recorded`, or for each
    number of each model; failures: a row for each point that failed, with the reason (chapter, cell, error).
    """

    values: pd.DataFrame
    failures: pd.DataFrame

    @property
    def failed(self) -> str:
        """How many executions failed, which, and why, in one line."""
        rows = self.failures.to_dict("records")
        each = [f"{_label(row)}: {reason}" for row in rows if (reason := row.pop("reason"))]
        return f"{len(each)} point{'s' * (len(each) > 1)} of the grid failed: {'; '.join(each)}"


@dataclass(frozen=True)
class Point:
    """What is done at one point of a grid.

    name: of the chapter, or profile; source: hash of what it is besides the values, so that a chapter that
    was edited is another; place: the folder that holds the book, or the study's store.
    """

    name: str
    source: str
    values: dict[str, Any]
    place: Path

    kind: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @property
    def spec(self) -> dict:
        """What names it in the store of the sweep."""
        return {"kind": self.kind, "name": self.name, "source": self.source, "parameters": self.values}

    @property
    def label(self) -> str:
        """The point of the grid, for people."""
        return _label(self.values)

    @property
    def shares(self) -> str:
        """Names what points do in common, if anything; they wait for the first of them."""
        return key(self.spec)

    def done(self) -> list[dict]:
        """Do it: rows of `columns`. RuntimeError, in one line: it failed."""
        raise NotImplementedError


class Execution(Point):
    """A chapter to be executed: what it records."""

    kind = "execution"
    columns = ("kind", "name", "value", "text")

    def done(self) -> list[dict]:
        """As `findings.recorded` reads it."""
        return recorded(run(self.name, self.values, self.place))


class Training(Point):
    """A profile of the study to be trained and measured: each number of each model."""

    kind = "training"
    columns = ("stage", "arm", "size", "seed", "n_good", "name", "value")

    @property
    def profile(self) -> study.Profile:
        """With the settings of this point."""
        return study.varied(study.profile_named(self.name), self.values)

    @property
    def shares(self) -> str:
        """Models that are only pretrained are the same where these settings are."""
        return str([job.key for job in study.jobs(self.profile) if job.payload.kind == "pretrain"])

    def done(self) -> list[dict]:
        """As `study.Study.scalars` has them; what is in the study's store is not trained again."""
        store = Store(self.place)
        study.run(self.profile, store, quiet=True)
        found = study.collect(self.profile, store)
        *model, name, value = self.columns
        rows = found.summarised(found.models)
        numbers = [column for column in rows if column not in found.models]
        return rows.melt(model, numbers, name, value).dropna(subset=[value]).to_dict("records")


def _label(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


# --- a grid, planned and done ------------------------------------------------------------------


def executions(chapter: str, grid: Mapping[str, Sequence], root: Path, most: int = MOST) -> list[Point]:
    """A chapter at every point of a grid {parameter: values}; the last parameter varies fastest.

    root: the folder that holds the book; most: points at most. ValueError: an unknown chapter or parameter, a
    value that is not allowed or is given twice, an empty or too large grid.
    """
    chapter = find_chapter(chapter, root)
    points = _points(parameters(load(chapter, root)), grid, chapter, Execution.columns, most)
    source = hashlib.sha256((root / f"{chapter}.md").read_bytes()).hexdigest()
    return [Execution(chapter, source, values, root) for values in points]


def trainings(profile: str, grid: Mapping[str, Sequence], store: Path, most: int = MOST) -> list[Point]:
    """A profile of the study at every point of a grid {setting: values} of `study.settings`; as `executions`.

    store: where finished runs are kept. ValueError, too: no model can have such settings.
    """
    known = {name: Parameter(name, default) for name, default in study.settings().items()}
    base, points = study.profile_named(profile), _points(known, grid, profile, Training.columns, most)
    sources = [key({"runs": [job.key for job in study.jobs(study.varied(base, p))]}) for p in points]
    return [Training(profile, *point, store) for point in zip(sources, points, strict=True)]


def _points(known: Mapping, grid: Mapping[str, Sequence], where: str, columns, most: int) -> list[dict]:
    """The points of a grid, all checked."""
    if not grid:
        raise ValueError(f"grid: given no parameter, allowed {', '.join(known) or 'none'}, with values")
    if reserved := grid.keys() & set(columns):
        raise ValueError(f"grid: given the parameter {min(reserved)}, which is a column of the table")
    checked = {name: _distinct(known, name, values, where) for name, values in grid.items()}
    if (n := math.prod(map(len, checked.values()))) > most:
        raise ValueError(f"grid: given {n} executions, allowed {most} (--yes allows any number)")
    return [dict(zip(checked, point, strict=True)) for point in itertools.product(*checked.values())]


def _distinct(known: Mapping, name: str, given: Sequence, where: str) -> list:
    """Values of one parameter, each checked as for a single execution."""
    values = [check(known, {name: value}, where)[name] for value in given]
    if not values:
        raise ValueError(f"{name}: given no value, allowed one or more")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{name}: given {twice[0]} twice, allowed are different values")
    return values


def sweep(
    points: Sequence[Point],
    folder: Path,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    command: str = "",
    quiet: bool = False,
) -> Tables:
    """Do every point of a grid, of `executions` or `trainings`.

    folder: of the sweep. `points` in it holds what has ended, and a point found there is not done again;
    `table` holds values.parquet, failures.parquet and a manifest that names the `command` and what made the
    points, whole or not at all. workers, scheduler: as in `study.grid.run`; workers must see the folder and
    the points' places. ValueError, before anything is touched: no points; workers or scheduler not allowed.
    """
    if not points:
        raise ValueError("points: none given, allowed is one or more")
    grid.check(workers, scheduler)
    store, first = Store(Path(folder).resolve() / "points"), dict[str, str]()
    missing = {key(point.spec): point for point in points if point.spec not in store}
    todo = []
    for name, point in missing.items():
        _failure(point, store).unlink(missing_ok=True)
        after = tuple({first.setdefault(point.shares, name)} - {name})
        todo.append(grid.Job(name, point.label, _SECONDS, after, (point, store.root)))
    grid.run(todo, _do, workers=workers, scheduler=scheduler, quiet=quiet)
    tables = collect(points, store)
    publish_tables(Path(folder) / "table", tables._asdict(), command, _made_by(points, store))
    return tables


def _made_by(points: Sequence[Point], store: Store) -> dict:
    """The `provenance` of points: what their own manifests say, not whoever collects them.

    What failed has no manifest, and is done again each time.
    """
    made = [store.manifest(point.spec) for point in points if point.spec in store]
    made += [provenance()] * (len(made) < len(points))
    names = dict.fromkeys(name for each in made for name in each["versions"])
    versions = {name: _each(m["versions"].get(name, "unknown") for m in made) for name in names}
    return {name: _each(m[name] for m in made) for name in ("machine", "revision")} | {"versions": versions}


def _each(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


def _do(payload: tuple[Point, Path], report: grid.Report) -> None:
    """Do one point, here or on a worker, and keep what came of it, or why it failed."""
    point, folder = payload
    store = Store(folder)
    report(0.0, "begun")
    try:
        rows = point.done()
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        store.root.mkdir(parents=True, exist_ok=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        write_whole(_failure(point, store), json.dumps({"reason": reason}).encode())
    else:
        store.save(point.spec, tables={"values": _table(rows, point.columns)})


def _failure(point: Point, store: Store) -> Path:
    """Where it is written why a point failed, beside where what came of it would lie."""
    return store.folder(point.spec).with_suffix(".failed.json")


def collect(points: Sequence[Point], store: Store) -> Tables:
    """The tables of points that have all ended, in their order."""
    values, failures = [], []
    for point in points:
        if point.spec in store:
            rows = store.table(point.spec, "values").to_dict("records")
            values += [point.values | row for row in rows]
        else:
            failures.append(point.values | json.loads(_failure(point, store).read_text("utf8")))
    names = list(points[0].values)
    return Tables(_table(values, [*names, *points[0].columns]), _table(failures, [*names, "reason"]))


def _table(rows: list[dict], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({"value": float}) if "value" in table else table


def numbers(folder: Path) -> pd.DataFrame:
    """The numbers of a finished sweep, a row an execution: its parameters, then a column a number.

    folder: with the table, such as a published one; what made it is in `attrs["command"]`. ValueError if it
    is not what its manifest says.
    """
    command = checked_manifest(folder)["command"]
    table = pd.read_parquet(Path(folder) / "values.parquet").query("kind == 'number'")
    names = [name for name in table if name not in Execution.columns]
    wide = table.pivot(index=names, columns="name", values="value")
    rows = wide[table["name"].unique()].rename_axis(columns=None).reset_index()
    rows.attrs["command"] = command
    return rows


def command(of: str, given: Mapping[str, Sequence]) -> str:
    """The command line that does a sweep of a chapter, or of `--profile name`."""
    values = (f"-p {name}={','.join(map(str, each))}" for name, each in given.items())
    return " ".join(["splithistory sweep", of, *values])


# --- a grid as people write it -----------------------------------------------------------------


def read_grid(path: Path) -> tuple[dict[str, str], dict[str, list]]:
    """({"chapter" or "profile": name}, if it says so, and grid) of a YAML file, with `grid: {name: values}`.

    ValueError, in one line, if it is anything else, or a name is in it twice.
    """
    try:
        content = read_yaml(Path(path).read_text("utf8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"grid: cannot read {path}: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("grid"), dict):
        raise ValueError(f"grid: given {path}, allowed a YAML file with `grid:` and below it name: [values]")
    if unknown := set(content) - {"chapter", "profile", "grid"}:
        raise ValueError(f"grid: given {min(map(str, unknown))} in {path}, allowed chapter, profile, grid")
    of = {name: str(value) for name, value in content.items() if name != "grid"}
    return of, {str(name): list(_listed(v)) for name, v in content["grid"].items()}


def _listed(values) -> Iterator:
    yield from values if isinstance(values, list) else [values]


def spelled(texts: Sequence[str], known: Mapping[str, list] = MappingProxyType({})) -> dict[str, list]:
    """A grid as the command line has it, `name=value,value` each, after what is known of it from a file.

    ValueError: a name is missing or twice.
    """
    found = dict(known)
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals):
            raise ValueError(f"grid: given {text!r}, allowed name=value,value")
        check_once([*found, name], "once, with all its values")
        found[name] = [value.strip() for value in values.split(",")] if values.strip() else []
    return found
