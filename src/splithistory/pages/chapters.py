"""The chapters of the book: their parameters, their execution, the rendered book, the references.

A chapter is a MyST notebook (``book/**.md`` with a kernelspec in its header) with one cell tagged
``parameters``: one ``name = scalar  # help`` per line. One executor, papermill, serves everything
here, and it starts only after every parameter was checked: papermill itself runs unknown names and
wrong types without complaint.
"""

import ast
import io
import math
import os
import re
import shutil
import subprocess
import sysconfig
import time
import tokenize
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jupytext
import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from pydantic import ConfigDict, Field, ValidationError, create_model

from ..study import PROFILES
from ..study.store import STORE_VARIABLE, replace_folder

GLUE = "application/papermill.record/"
# What a reference run does not keep, and what a comparison with it therefore skips.
UNCOMPARED = tuple(
    prefix + kind
    for prefix in ("", GLUE)
    for kind in ("image/png", "image/jpeg", "image/svg+xml", "application/pdf", "text/html")
)


class BookError(RuntimeError):
    """A chapter or a page failed. The message is one line that names it."""


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's ``parameters`` cell."""

    name: str
    default: bool | int | float | str
    help: str = ""


# --- which chapters there are ------------------------------------------------------------------


def project_root() -> Path:
    """The folder that holds the book: the working directory, one above it, or this checkout.

    Raises:
        ValueError: if none of them has a table of contents.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "_toc.yml").is_file() and (folder / "_config.yml").is_file():
            return folder
    raise ValueError(f"book: given {here}, allowed a folder in a checkout of the book (with a _toc.yml)")


def pages(root: Path) -> list[str]:
    """All pages in the order of the table of contents, without suffix: ``book/index``, ..."""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from walk(item)
        elif isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            yield from (page for value in node.values() for page in walk(value))

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text("utf8"))))


def chapters(root: Path) -> list[str]:
    """The pages that are executed: those whose header names a kernel."""
    return [page for page in pages(root) if _has_kernel(page, root)]


def find_chapter(name: str, root: Path) -> str:
    """The chapter called ``name``: its path in the book, or the end of it (``sequence``).

    Raises:
        ValueError: if no chapter, or more than one, is called so.
    """
    known = chapters(root)
    wanted = name.removesuffix(".md")
    found = [chapter for chapter in known if f"/{chapter}".endswith(f"/{wanted}")]
    if len(found) != 1:
        names = ", ".join(chapter.removeprefix("book/") for chapter in known)
        raise ValueError(f"chapter: given {name}, allowed one of {names}")
    return found[0]


def load(chapter: str, root: Path) -> nbformat.NotebookNode:
    """The source of a chapter (see :func:`find_chapter`) as a notebook without outputs."""
    return jupytext.read(root / f"{find_chapter(chapter, root)}.md")


def _has_kernel(page: str, root: Path) -> bool:
    source = root / f"{page}.md"
    if not source.is_file():
        raise ValueError(f"_toc.yml: given {page}, allowed pages with a source ({page}.md is missing)")
    text = source.read_text("utf8")
    return text.startswith("---\n") and "kernelspec" in (yaml.safe_load(text.split("---\n")[1]) or {})


# --- their parameters --------------------------------------------------------------------------


def parameters(notebook: nbformat.NotebookNode) -> dict[str, Parameter]:
    """Names, defaults and help of a notebook's ``parameters`` cell, read without running it.

    Raises:
        ValueError: if a line of the cell is anything but ``name = scalar``.
    """
    sources = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return {p.name: p for source in sources for p in _assignments(source)}


def check(
    known: Mapping[str, Parameter], given: Mapping[str, Any], where: str = "chapter"
) -> dict[str, bool | int | float | str]:
    """The given parameters, checked; a text is read as the literal it spells (``"3"``, ``"true"``).

    Args:
        known: the parameters there are.
        given: names and values asked for.
        where: what is being parametrised, for the message.

    Raises:
        ValueError: for an unknown name or a value that is not allowed, in one line.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: not a parameter of {where}, allowed {', '.join(known) or 'none'}")
    fields = {name: (_kind(known[name])[0], ...) for name in given}
    model = create_model("Parameters", __config__=ConfigDict(strict=True), **fields)
    try:
        values = {name: _literal(value, known[name].default) for name, value in given.items()}
        return model(**values).model_dump()
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise ValueError(f"{name}: given {given[name]}, allowed {_kind(known[name])[1]}") from None


def _assignments(source: str) -> Iterator[Parameter]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    for node in ast.parse(source).body:
        try:
            (target,) = node.targets
            value = ast.literal_eval(node.value)
            name = target.id
        except (AttributeError, ValueError):
            value = None
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"parameters: given {ast.unparse(node)!r}, allowed one `name = scalar` per line")
        yield Parameter(name, value, comments.get(node.lineno, ""))


def _kind(parameter: Parameter) -> tuple[Any, str]:
    """The type a value must have, and the same in words."""
    if parameter.name == "profile":
        known = [name for name, profile in PROFILES.items() if "sampled" in profile.arms]
        return Literal[tuple(known)], f"one of {', '.join(known)}"
    if parameter.name == "seed":
        return Annotated[int, Field(ge=0)], "an integer >= 0"
    return {
        bool: (bool, "true or false"),
        int: (Annotated[int, Field(gt=0)], "an integer > 0"),
        float: (Annotated[float, Field(allow_inf_nan=False)], "a finite number"),
        str: (str, "a text"),
    }[type(parameter.default)]


def _literal(value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        return ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError):
        return value


# --- one chapter -------------------------------------------------------------------------------


def execute(
    chapter: str, given: Mapping[str, Any], output: Path | None = None, *, root: Path | None = None
) -> nbformat.NotebookNode:
    """Execute one chapter with the given parameters, from the project's root.

    Args:
        chapter: its name (see :func:`find_chapter`).
        given: parameters that differ from the chapter's own; texts are read as literals.
        output: where the executed notebook goes; it is written only when every cell has run.
        root: the folder that holds the book; found from the working directory when left out.

    Raises:
        ValueError: for an unknown chapter or a bad parameter, before a kernel starts.
        BookError: if a cell fails.
    """
    root = root or project_root()
    chapter = find_chapter(chapter, root)
    notebook = load(chapter, root)
    values = check(parameters(notebook), given, chapter)
    if output is not None:  # an unusable place is noticed before the kernel starts
        Path(output).parent.mkdir(parents=True, exist_ok=True)
    executed = _run(notebook, values, chapter, root)
    if output is not None:
        _write(executed, Path(output))
    return executed


def _run(
    notebook: nbformat.NotebookNode, given: Mapping[str, Any], chapter: str, root: Path
) -> nbformat.NotebookNode:
    # Only what differs from the defaults is injected: the page of a plain build shows no second cell.
    known = parameters(notebook)
    changed = {name: value for name, value in given.items() if value != known[name].default}
    try:
        executed = papermill.execute_notebook(
            notebook,
            None,
            parameters=changed,
            kernel_name="python3",
            language="python",
            cwd=root,
            progress_bar=False,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=50"],  # what a kernel says of itself is not the chapter's
        )
    except PapermillExecutionError as error:
        raise BookError(f"{chapter}: {_failure(error)}") from error
    except DeadKernelError as error:
        raise BookError(f"{chapter}: the kernel died (out of memory?)") from error
    return _without_papermill(executed)


def _failure(error: PapermillExecutionError) -> str:
    """Cell, line and error of a failed execution, in one line."""
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    line = re.search(r"^-+> \d+ (.*)$", trace, flags=re.MULTILINE)
    at = f" at `{line.group(1).strip()}`" if line else ""
    reason = " ".join(f"{error.ename}: {error.evalue}".split()).rstrip(": ")
    return f"code cell {error.exec_count}{at}: {reason}"


def _without_papermill(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop the time stamps, paths and empty tags that papermill leaves in the metadata."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
    return notebook


def _refuse_stderr(notebook: nbformat.NotebookNode, chapter: str) -> None:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                text = " ".join(output.text.split())[:200]
                raise BookError(f"{chapter}: code cell {cell.execution_count} wrote to stderr: {text}")


def _write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(nbformat.writes(notebook) + "\n", "utf8")
    part.replace(path)


# --- the book ----------------------------------------------------------------------------------


def book(
    given: Mapping[str, Any],
    build: Path | None = None,
    store: Path | None = None,
    *,
    root: Path | None = None,
) -> Path:
    """Execute every chapter and render the book; an earlier one stays until the new one is whole.

    Args:
        given: parameters; each chapter gets those that it knows.
        build: the folder to work in: ``stage`` (executed chapters), ``html`` (the book); ``_build`` beside
            the table of contents when left out.
        store: where the chapters find and keep runs. With ``fresh`` and no store of yours they get
            an empty one, ``build/store``: the first chapter trains, the others find its runs.
        root: the folder that holds the book; found from the working directory when left out.

    Returns:
        The path of the book's first page, ``build/html/index.html``.

    Raises:
        ValueError: for a bad parameter, before anything is touched.
        BookError: if a cell fails, writes to stderr, or a page does not render without a warning.
    """
    root = root or project_root()
    build = root / "_build" if build is None else Path(build)
    plan = _plan(given, root)
    if store is None and any(values.get("fresh") for values in plan.values()):
        store = build / "store"
        shutil.rmtree(store, ignore_errors=True)
    stage = build / "stage"
    with _environment(store):
        _stage(plan, stage, root)
    html = _render(stage)
    for page in pages(root):
        if not (html / f"{page}.html").is_file():
            raise BookError(f"{page}: in the table of contents, but no page was rendered")
    replace_folder(html, build / "html")
    return build / "html" / "index.html"


def _plan(given: Mapping[str, Any], root: Path) -> dict[str, dict[str, Any]]:
    """For each chapter the given parameters that it knows, all checked."""
    known = {chapter: parameters(load(chapter, root)) for chapter in chapters(root)}
    everything = {name: parameter for own in known.values() for name, parameter in own.items()}
    check(everything, given, "any chapter")
    return {
        chapter: check(own, {name: value for name, value in given.items() if name in own}, chapter)
        for chapter, own in known.items()
    }


def _stage(plan: Mapping[str, Mapping[str, Any]], stage: Path, root: Path) -> None:
    """Executed chapters, plain pages and configuration side by side, ready to render."""
    shutil.rmtree(stage, ignore_errors=True)
    no_runs = shutil.ignore_patterns("*.ipynb", ".*", "__pycache__")
    shutil.copytree(root / "book", stage / "book", ignore=no_runs)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(root / name, stage)
    for chapter, given in plan.items():
        start = time.perf_counter()
        notebook = _run(load(chapter, root), given, chapter, root)
        _refuse_stderr(notebook, chapter)
        _write(notebook, stage / f"{chapter}.ipynb")
        (stage / f"{chapter}.md").unlink()
        print(f"{chapter}: executed in {math.ceil(time.perf_counter() - start)} s", flush=True)


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
def _environment(store: Path | None) -> Iterator[None]:
    """Hand a store to the kernels started inside."""
    before = os.environ.get(STORE_VARIABLE)
    if store is not None:
        os.environ[STORE_VARIABLE] = str(Path(store).resolve())
    try:
        yield
    finally:
        os.environ.pop(STORE_VARIABLE, None)
        if before is not None:
            os.environ[STORE_VARIABLE] = before


# --- the references ----------------------------------------------------------------------------


def reference(output: Path | None = None, *, root: Path | None = None) -> list[Path]:
    """Execute every chapter as published and keep its text outputs, the same bytes every time.

    Args:
        output: the folder of the references, ``tests/reference`` when left out. What is in it
            from chapters that are gone is removed.
        root: the folder that holds the book; found from the working directory when left out.

    Raises:
        BookError: if a cell fails or writes to stderr; then nothing is written.
    """
    root = root or project_root()
    output = root / "tests" / "reference" if output is None else Path(output)
    executed = {}
    for chapter in chapters(root):
        notebook = _run(load(chapter, root), {}, chapter, root)
        _refuse_stderr(notebook, chapter)
        executed[output / f"{chapter.removeprefix('book/')}.ipynb"] = _stable(notebook)
    for path, notebook in executed.items():
        _write(notebook, path)
    for path in set(output.rglob("*.ipynb")) - set(executed):
        path.unlink()
    return list(executed)


def _stable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Only what is the same in every run: numbered cells, tags, text outputs."""
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        tags = cell.metadata.get("tags", [])
        cell.id = f"c{number:03d}"
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [] if "nbval-ignore-output" in tags else [_text_only(o) for o in cell.outputs]
    return notebook


def _text_only(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    if "data" in output:
        output.data = {kind: data for kind, data in output.data.items() if kind not in UNCOMPARED}
        output.metadata = {}
    return output
