"""Sweeps: a chapter executed at every point of a grid of its parameters, and one table of what it recorded.

Each execution is kept as a run in a store of the sweep's own, whole or not at all, so a sweep that was killed
goes on where it was. An execution that fails is listed with its reason, does not stop the others, and is done
again the next time. The tables are written when every execution has ended.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from ..study import grid as jobs
from ..study.store import Store, key, publish_tables, write_whole
from .chapters import check, find_chapter, load, parameters, project_root, run
from .findings import recorded

MOST = 10_000  # executions, unless one says so
_SECONDS = 10.0  # of an execution, for the progress bar alone
_COLUMNS = ("kind", "name", "value", "text")


class Tables(NamedTuple):
    """What came of a sweep: values and failures, each with a column for each parameter of the grid.

    values: a row for each thing that an execution recorded, with the columns of `findings.recorded`;
    failures: a row for each execution that failed, with the reason (chapter, cell and error).
    """

    values: pd.DataFrame
    failures: pd.DataFrame

    @property
    def failed(self) -> str:
        """How many executions failed, which, and why: one line."""
        rows = self.failures.to_dict("records")
        each = [f"{_point(row)}: {reason}" for row in rows if (reason := row.pop("reason"))]
        return f"{len(each)} execution{'s' * (len(each) > 1)} failed: {'; '.join(each)}"


@dataclass(frozen=True)
class Execution:
    """A chapter with the parameters of one point of a grid; source: SHA-256 of its page."""

    chapter: str
    source: str
    values: dict[str, Any]
    root: Path

    @property
    def spec(self) -> dict:
        """What names it in the store; a chapter that was edited is another."""
        return {
            "kind": "execution",
            "chapter": self.chapter,
            "source": self.source,
            "parameters": self.values,
        }

    @property
    def label(self) -> str:
        """For people: the point of the grid."""
        return _point(self.values)

    def done(self) -> list[dict]:
        """Execute it; what it recorded. RuntimeError, in one line: it failed."""
        return recorded(run(self.chapter, self.values, self.root))


def _point(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def sweep(
    chapter: str,
    grid: Mapping[str, Sequence],
    folder: Path,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    command: str = "",
    most: int = MOST,
    root: Path | None = None,
    quiet: bool = False,
) -> Tables:
    """Execute a chapter at every point of a grid {parameter: values}; the last parameter varies fastest.

    folder: of the sweep. `executions` in it holds what has ended, and an execution found there is not done
    again; `table` holds values.parquet, failures.parquet and a manifest that names the `command`, whole or
    not at all. workers, scheduler: as in `study.grid.run`; workers must see the folder and the book.
    most: executions at most. root: the folder that holds the book. ValueError, before anything is touched: an
    unknown chapter or parameter, a value that is not allowed or is given twice, an empty or too large grid.
    """
    root = root or project_root()
    planned = plan(chapter, grid, root, most)
    store = Store(Path(folder).resolve() / "executions")
    missing = [execution for execution in planned if execution.spec not in store]
    for execution in missing:
        _failure(execution, store).unlink(missing_ok=True)
    todo = [jobs.Job(key(e.spec), e.label, _SECONDS, (), (e, store.root)) for e in missing]
    jobs.run(todo, _execute, workers=workers, scheduler=scheduler, quiet=quiet)
    tables = collect(planned, store)
    publish_tables(Path(folder) / "table", tables._asdict(), command)
    return tables


def plan(chapter: str, grid: Mapping[str, Sequence], root: Path, most: int = MOST) -> list[Execution]:
    """The executions that a grid comes to, all checked; errors as of `sweep`."""
    chapter = find_chapter(chapter, root)
    known = parameters(load(chapter, root))
    if not grid:
        raise ValueError(f"grid: given no parameter, allowed {', '.join(known) or 'none'}, with values")
    if reserved := known.keys() & set(_COLUMNS):
        raise ValueError(f"{chapter}: has a parameter {min(reserved)}, which is a column of the table")
    checked = {name: _distinct(known, name, values, chapter) for name, values in grid.items()}
    if (n := math.prod(map(len, checked.values()))) > most:
        raise ValueError(f"grid: given {n} executions, allowed {most} (--yes allows any number)")
    source = hashlib.sha256((root / f"{chapter}.md").read_bytes()).hexdigest()
    points = itertools.product(*checked.values())
    return [Execution(chapter, source, dict(zip(checked, point, strict=True)), root) for point in points]


def _distinct(known: Mapping, name: str, given, chapter: str) -> list:
    """Values of one parameter, each checked as for a single execution."""
    values = [check(known, {name: value}, chapter)[name] for value in given]
    if not values:
        raise ValueError(f"{name}: given no value, allowed one or more")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise ValueError(f"{name}: given {twice[0]} twice, allowed are different values")
    return values


def _execute(payload: tuple[Execution, Path], report: jobs.Report) -> None:
    """Do one execution, here or on a worker, and keep what it recorded, or why it failed."""
    execution, folder = payload
    store = Store(folder)
    report(0.0, "executing")
    try:
        rows = execution.done()
    except RuntimeError as error:
        reason = json.dumps({"reason": " ".join(str(error).split())})
        write_whole(_failure(execution, store), reason.encode())
    else:
        store.save(execution.spec, tables={"values": _tidy(rows)})


def _failure(execution: Execution, store: Store) -> Path:
    """Where it is written why an execution failed, beside where the execution would lie."""
    folder = store.folder(execution.spec)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_suffix(".failed.json")


def collect(planned: Sequence[Execution], store: Store) -> Tables:
    """The tables of executions that have all ended, in the order of the plan."""
    values, failures = [], []
    for execution in planned:
        if execution.spec in store:
            table = store.table(execution.spec, "values")
            values += [execution.values | row for row in table.to_dict("records")]
        else:
            failures.append(execution.values | json.loads(_failure(execution, store).read_text("utf8")))
    names = list(planned[0].values)
    return Tables(_tidy(values, names), pd.DataFrame(failures, columns=[*names, "reason"]))


def _tidy(rows: list[dict], names: Sequence[str] = ()) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*names, *_COLUMNS]).astype({"value": float})


def command(chapter: str, grid: Mapping[str, Sequence]) -> str:
    """The command line that does a sweep."""
    given = (f"-p {name}={','.join(map(str, values))}" for name, values in grid.items())
    return " ".join(["splithistory sweep", chapter.removeprefix("book/"), *given])


# --- a grid as people write it -----------------------------------------------------------------


def read_grid(path: Path) -> tuple[str | None, dict[str, list]]:
    """(chapter, if it says one, and grid) of a YAML file: `chapter: name` and `grid: {parameter: values}`.

    ValueError, in one line, if it is anything else.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"grid: cannot read {path}: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("grid"), dict):
        raise ValueError(f"grid: given {path}, allowed a YAML file with `grid:` and below it name: [values]")
    if unknown := set(content) - {"chapter", "grid"}:
        raise ValueError(f"grid: given {unknown.pop()!r} in {path}, allowed chapter, grid")
    return content.get("chapter"), {str(name): list(_listed(v)) for name, v in content["grid"].items()}


def _listed(values) -> Iterator:
    yield from values if isinstance(values, list) else [values]


def spelled(texts: Sequence[str]) -> dict[str, list[str]]:
    """A grid as the command line has it: `name=value,value` each. ValueError: a name is missing or twice."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals):
            raise ValueError(f"grid: given {text!r}, allowed name=value,value")
        if name in grid:
            raise ValueError(f"{name}: given twice, allowed once, with all its values")
        grid[name] = [value.strip() for value in values.split(",")] if values.strip() else []
    return grid
