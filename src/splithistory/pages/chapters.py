"""The chapters of the book: which there are, their parameters, their execution.

A chapter is a MyST notebook (`book/**.md` with a kernelspec in its header) with one cell tagged `parameters`:
one `name = scalar  # help` per line. One executor, papermill, serves all, and it starts only after every
parameter was checked: papermill itself runs unknown names and wrong types without complaint.
"""

import ast
import re
from collections.abc import Iterator, Mapping
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
from ..study.store import write_whole


class BookError(RuntimeError):
    """A chapter or a page failed. The message is one line that names it."""


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's `parameters` cell."""

    name: str
    default: bool | int | float | str
    help: str = ""


# --- which chapters there are ------------------------------------------------------------------


def project_root() -> Path:
    """The folder that holds the book: the working directory, one above it, or this checkout.

    ValueError: none of them has a table of contents.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "_toc.yml").is_file() and (folder / "_config.yml").is_file():
            return folder
    raise ValueError(f"book: given {here}, allowed a folder in a checkout of the book (with a _toc.yml)")


def pages(root: Path) -> list[str]:
    """All pages in the order of the table of contents, without suffix: `book/index`, ..."""

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
    """The chapter called `name`: its path in the book, or the end of it (`sequence`).

    ValueError: no chapter, or more than one, is called so.
    """
    known = chapters(root)
    wanted = name.removesuffix(".md")
    found = [chapter for chapter in known if f"/{chapter}".endswith(f"/{wanted}")]
    if len(found) != 1:
        names = ", ".join(chapter.removeprefix("book/") for chapter in known)
        raise ValueError(f"chapter: given {name}, allowed one of {names}")
    return found[0]


def load(chapter: str, root: Path) -> nbformat.NotebookNode:
    """The source of a chapter (named as in `find_chapter`) as a notebook without outputs."""
    return jupytext.read(root / f"{find_chapter(chapter, root)}.md")


def _has_kernel(page: str, root: Path) -> bool:
    source = root / f"{page}.md"
    if not source.is_file():
        raise ValueError(f"_toc.yml: given {page}, allowed pages with a source ({page}.md is missing)")
    text = source.read_text("utf8")
    return text.startswith("---\n") and "kernelspec" in (yaml.safe_load(text.split("---\n")[1]) or {})


# --- their parameters --------------------------------------------------------------------------


def parameters(notebook: nbformat.NotebookNode) -> dict[str, Parameter]:
    """Names, defaults and help of a notebook's `parameters` cell, read without running it.

    papermill's own inspection does not serve: it passes over what is no assignment, ends a text at a `#` in
    it and leaves values as source. ValueError: a line of the cell is anything but `name = scalar`.
    """
    sources = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return {p.name: p for source in sources for p in _assignments(source)}


def check(
    known: Mapping[str, Parameter], given: Mapping[str, Any], where: str = "chapter"
) -> dict[str, bool | int | float | str]:
    """The given parameters, checked; a text is read as the literal it spells ("3", "true").

    known: the parameters there are, of what the message calls `where`. ValueError, in one line: an unknown
    name, or a value that is not allowed.
    """
    for name in given:
        if name not in known:
            raise ValueError(f"{name}: not a parameter of {where}, allowed {', '.join(known) or 'none'}")
    fields: dict[str, Any] = {name: (_kind(known[name])[0], ...) for name in given}
    model = create_model("Parameters", __config__=ConfigDict(strict=True), **fields)
    try:
        values = {name: _literal(value, known[name].default) for name, value in given.items()}
        return model(**values).model_dump()
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise ValueError(f"{name}: given {given[name]}, allowed {_kind(known[name])[1]}") from None


def _assignments(source: str) -> Iterator[Parameter]:
    for node in ast.parse(source).body:
        match node:
            case ast.Assign([ast.Name(name)], value, end_lineno=int(line), end_col_offset=int(end)) if (
                _is_scalar(value)
            ):
                behind = source.splitlines()[line - 1].encode()[end:].decode()  # columns are counted in bytes
                yield Parameter(name, ast.literal_eval(value), behind.partition("#")[2].strip())
            case _:
                raise ValueError(
                    f"parameters: given {ast.unparse(node)!r}, allowed one `name = scalar` per line"
                )


def _is_scalar(node: ast.expr) -> bool:
    try:
        return isinstance(ast.literal_eval(node), bool | int | float | str)
    except ValueError:
        return False


def _kind(parameter: Parameter) -> tuple[Any, str]:
    """The type a value must have, and the same in words."""
    if parameter.name == "profile":
        known = [
            name for name, profile in PROFILES.items() if "sampled" in profile.arms and not profile.world
        ]
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
    """Execute one chapter from the project's root, with the parameters given that differ from its own.

    chapter: named as in `find_chapter`. output: where the executed notebook goes; it is written only when
    every cell has run. root: the folder that holds the book; found from the working directory if left out.
    ValueError: an unknown chapter or a bad parameter, before a kernel starts. BookError: a cell fails.
    """
    root = root or project_root()
    chapter = find_chapter(chapter, root)
    values = check(parameters(load(chapter, root)), given, chapter)
    if output is not None:  # an unusable place is noticed before the kernel starts
        Path(output).parent.mkdir(parents=True, exist_ok=True)
    executed = run(chapter, values, root)
    if output is not None:
        write(executed, Path(output))
    return executed


def run(
    chapter: str, given: Mapping[str, Any], root: Path, *, extension: str | None = None
) -> nbformat.NotebookNode:
    """The chapter, executed with checked parameters, and with an extension of IPython loaded if one is named.

    BookError, in one line: a cell fails.
    """
    notebook = load(chapter, root)
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
            # what a kernel says of itself is not the chapter's
            extra_arguments=["--log-level=50", *([f"--ext={extension}"] if extension else [])],
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


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all, to a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{nbformat.writes(notebook)}\n".encode())
