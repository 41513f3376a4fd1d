"""The book: every chapter executed, the pages rendered, and the references that tests compare with."""

import math
import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import yaml

from .. import study
from ..information import cores
from ..study.store import DEVICE_VARIABLE, STORE_VARIABLE, replace_folder
from . import kernels, plotted
from .chapters import (
    BookError,
    chapters,
    check,
    find_chapter,
    load,
    pages,
    parameters,
    project_root,
    read_yaml,
    run,
    write,
)
from .comparison import comparable

KEPT_OF_CELLS = ("tags", "tolerance")  # what nbval does with a cell, and how closely `validation` compares


def build(
    given: Mapping[str, Any],
    folder: Path | None = None,
    *,
    store: Path | None = None,
    device: str | None = None,
    root: Path | None = None,
) -> Path:
    """Execute every chapter and render the book; an earlier one stays until the new one is whole.

    Returns the path of the book's first page, `folder/html/index.html`.

    given: parameters; each chapter gets those that it knows. folder: to work in, `stage` (executed chapters)
    and `html` (the book); if left out, `_build` beside the table of contents, and with parameters that change
    a chapter `_build/with/name=value`, so that the book as published stays where it is. store: where the
    chapters find and keep runs; with `fresh` and no store of yours they get an empty one, `folder/store`: the
    first chapter trains, the others find its runs. device: where they train, "cpu" or "cuda". root: the
    folder that holds the book; found from the working directory if left out.

    ValueError: a bad parameter or device, before anything is touched. BookError: a cell fails, writes to
    stderr, or a page does not render without a warning.
    """
    root = root or project_root()
    plan = _plan(given, root)
    if device is not None:
        study.check_where(device=device)
    folder = _own_folder(plan, root) if folder is None else Path(folder).absolute()
    if store is None and any(values.get("fresh") for values in plan.values()):
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
    stage = folder / "stage"
    with environment({STORE_VARIABLE: store and Path(store).resolve(), DEVICE_VARIABLE: device}):
        _stage(plan, stage, root)
    html = _render(stage)
    for page in pages(root):
        if not (html / f"{page}.html").is_file():
            raise BookError(f"{page}: in the table of contents, but no page was rendered")
    replace_folder(html, folder / "html")
    return folder / "html" / "index.html"


def _plan(given: Mapping[str, Any], root: Path) -> dict[str, dict[str, Any]]:
    """For each chapter the given parameters that it knows, all checked, where they differ from its own."""
    known = {chapter: parameters(load(chapter, root)) for chapter in chapters(root)}
    everything = {name: parameter for own in known.values() for name, parameter in own.items()}
    check(everything, given, "any chapter")
    checked = {
        chapter: check(own, {name: value for name, value in given.items() if name in own}, chapter)
        for chapter, own in known.items()
    }
    return {
        chapter: {name: value for name, value in values.items() if value != known[chapter][name].default}
        for chapter, values in checked.items()
    }


def _own_folder(plan: Mapping[str, Mapping[str, Any]], root: Path) -> Path:
    """Where a book is built if nobody says: one with other parameters never over the published one."""
    changed = {name: value for values in plan.values() for name, value in values.items()}
    name = ",".join(re.sub(r"[^\w.+=-]", "_", f"{name}={changed[name]}") for name in sorted(changed))
    return root / "_build" / "with" / name if name else root / "_build"


def _stage(plan: Mapping[str, Mapping[str, Any]], stage: Path, root: Path) -> None:
    """Executed chapters, plain pages and configuration side by side, ready to render."""
    shutil.rmtree(stage, ignore_errors=True)
    no_runs = shutil.ignore_patterns("*.ipynb", ".*", "__pycache__")
    shutil.copytree(root / "book", stage / "book", ignore=no_runs)
    if (root / "results").is_dir():  # tables that pages offer for download
        shutil.copytree(root / "results", stage / "results", ignore=shutil.ignore_patterns("weights"))
    shutil.copy2(root / "_toc.yml", stage)
    config = read_yaml((root / "_config.yml").read_text("utf8"))
    config["execute"] = {"execute_notebooks": "off"}  # they come executed
    (stage / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf8")
    for chapter, notebook, seconds in _executed(plan, root):
        write(notebook, stage / f"{chapter}.ipynb")
        (stage / f"{chapter}.md").unlink()
        print(f"{chapter}: executed in {math.ceil(seconds)} s", flush=True)


def _executed(
    plan: Mapping[str, Mapping[str, Any]], root: Path, *, extension: str | None = None
) -> Iterator[tuple[str, nbformat.NotebookNode, float]]:
    """Chapters executed side by side, one thread each, and what each took (s), in the order of the plan.

    The first one runs alone if it trains: the others find its runs. BookError: the first that fails or writes
    to stderr; then none goes on.
    """

    def timed(chapter: str) -> tuple[str, nbformat.NotebookNode, float]:
        start = time.perf_counter()
        notebook = run(chapter, plan[chapter], root, extension=extension)
        _refuse_stderr(notebook, chapter)
        return chapter, notebook, time.perf_counter() - start

    trains = any(values.get("fresh") for values in plan.values())
    alone, beside = (list(plan)[:trains], list(plan)[trains:])
    yield from map(timed, alone)
    one_thread = environment({"OMP_NUM_THREADS": 1})
    with one_thread, kernels.forked(), ThreadPoolExecutor(cores()) as pool:
        try:
            yield from pool.map(timed, beside)
        except BaseException:  # an interrupt too
            pool.shutdown(wait=False, cancel_futures=True)
            kernels.stop_all()
            raise


def _render(stage: Path) -> Path:
    program = Path(sysconfig.get_path("scripts")) / "jupyter-book"
    done = subprocess.run(
        [program, "build", stage, "-W", "--keep-going", "--all"], capture_output=True, text=True, check=False
    )
    log = stage.parent / "jupyter-book.log"
    log.write_text(done.stdout + done.stderr, "utf8")
    if done.returncode:
        lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip().splitlines() or ["no message"]
        located = (line for line in lines if re.search(": (WARNING|ERROR|CRITICAL): ", line))
        complaint = next(located, lines[-1])
        raise BookError(f"{complaint.replace(f'{stage.resolve()}/', '')} (all of it: {log})")
    return stage / "_build" / "html"


@contextmanager
def environment(settings: Mapping[str, Any]) -> Iterator[None]:
    """Hand variables to the kernels started inside; None leaves one as it is."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _refuse_stderr(notebook: nbformat.NotebookNode, chapter: str) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                text = " ".join(output.text.split())[:200]
                raise BookError(f"{chapter}: code cell {cell.execution_count} wrote to stderr: {text}")


# --- the references ----------------------------------------------------------------------------


def reference(
    names: Sequence[str] = (), output: Path | None = None, *, root: Path | None = None
) -> list[Path]:
    """Execute chapters as published and keep what they show but pictures, the same bytes every time.

    names: of chapters, as in `find_chapter`; if none, all of them, and what is in the folder from chapters
    that are gone is removed. output: the folder of the references, `tests/reference` if left out. root: the
    folder that holds the book; found from the working directory if left out.

    ValueError: no chapter is called so. BookError: a cell fails or writes to stderr. Then nothing is written.
    """
    root = root or project_root()
    output = root / "tests" / "reference" if output is None else Path(output).absolute()
    executed = {}
    plan: dict[str, dict] = {find_chapter(name, root): {} for name in names or chapters(root)}
    for chapter, notebook, _ in _executed(plan, root, extension=plotted.__name__):
        executed[output / f"{chapter.removeprefix('book/')}.ipynb"] = _stable(notebook)
    for path, notebook in executed.items():
        write(notebook, path)
    for path in set(() if names else output.rglob("*.ipynb")) - set(executed):
        path.unlink()
    return list(executed)


def _stable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Only what is the same in every run: numbered cells, tags, outputs without pictures."""
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"c{number:03d}"
        cell.metadata = {name: cell.metadata[name] for name in KEPT_OF_CELLS if cell.metadata.get(name)}
        if cell.cell_type == "code":
            ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
            cell.outputs = [] if ignored else [comparable(output) for output in cell.outputs]
    return notebook
