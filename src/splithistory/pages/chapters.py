"""The chapters of the book: which there are, their parameters, their execution.

A chapter is a MyST notebook (`book/**.md` with a kernelspec in its header) with one cell tagged `parameters`:
one `name = scalar  # help` per line. A kernel starts only after every parameter was checked: papermill itself
runs unknown names and wrong types without complaint.
"""

import ast
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jupytext
import nbformat
import yaml
from nbclient.exceptions import CellExecutionError, DeadKernelError
from pydantic import ConfigDict, Field, ValidationError, create_model
from tqdm import tqdm

from ..information import check_memory, shown
from ..study import PROFILES
from ..study.store import write_whole
from . import kernels
from .notebooks import as_page, for_people

_RANGE = re.compile(r"; (-?[\d._]+) to (-?[\d._]+)$")  # what the comment of a number ends with
_LINES = "allowed one `name = scalar` per line"
_SEEDS = 2**31 - 1  # held-out data has those above it


class BookError(RuntimeError):
    """A chapter or a page failed. The message is one line that names it."""


class ChapterError(BookError):
    """A chapter failed; `notebook` has what was executed of it."""

    def __init__(self, message: str, notebook: nbformat.NotebookNode):
        super().__init__(message)
        self.notebook = notebook


@dataclass(frozen=True)
class Parameter:
    """One line of a chapter's `parameters` cell."""

    name: str
    default: bool | int | float | str
    help: str = ""
    ends: tuple[float, float] | None = (
        None  # least and greatest allowed, of a number: what its comment ends with
    )


# --- what people write -------------------------------------------------------------------------


def read_yaml(text: str) -> Any:
    """What YAML says. ValueError: a name is given twice; yaml.YAMLError: it is none."""
    return yaml.load(text, _Once)


class _Once(yaml.SafeLoader):
    """A loader that does not take the last of two values and say nothing."""

    def construct_mapping(self, node, deep=False):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        check_once([name.value for name, _ in pairs if isinstance(name, yaml.ScalarNode)])
        return super().construct_mapping(node, deep)


def check_once(names: Sequence[str], allowed: str = "once") -> None:
    """ValueError: a name is there twice."""
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ValueError(f"{twice[0]}: given twice, allowed {allowed}")


def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Values by their names; ValueError as of `check_once`."""
    check_once([name for name, _ in pairs])
    return dict(pairs)


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

    return list(walk(read_yaml((root / "_toc.yml").read_text("utf8"))))


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
        near = _nearest(wanted, [c.removeprefix("book/") for c in known] + [Path(c).name for c in known])
        raise ValueError(f"chapter: given {name}, {near}allowed one of {names}")
    return found[0]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}? " if near else ""


def load(chapter: str, root: Path) -> nbformat.NotebookNode:
    """The source of a chapter (named as in `find_chapter`) as a notebook without outputs."""
    return jupytext.read(root / f"{find_chapter(chapter, root)}.md")


def _has_kernel(page: str, root: Path) -> bool:
    source = root / f"{page}.md"
    if not source.is_file():
        raise ValueError(f"_toc.yml: given {page}, allowed pages with a source ({page}.md is missing)")
    text = source.read_text("utf8")
    return text.startswith("---\n") and "kernelspec" in (read_yaml(text.split("---\n")[1]) or {})


# --- their parameters --------------------------------------------------------------------------


def parameters(notebook: nbformat.NotebookNode) -> dict[str, Parameter]:
    """Names, defaults, help and ranges of a notebook's `parameters` cell, read without running it.

    A line is `name = scalar  # help`, of a number `name = scalar  # help; least to greatest`.
    papermill's own inspection does not serve: it passes over what is no assignment, ends a text at a `#` in
    it and leaves values as source. ValueError: a line of the cell is anything but `name = scalar`, or there
    are two such cells.
    """
    sources = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(sources) > 1:  # given values are put behind the first, and the second would undo them
        raise ValueError(f"parameters: given {len(sources)} cells of this tag, allowed is one")
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
            names = f"{_nearest(name, known)}allowed {', '.join(known) or 'none'}"
            raise ValueError(f"{name}: not a parameter of {where}, {names}")
    fields: dict[str, Any] = {name: (_kind(known[name])[0], ...) for name in given}
    model = create_model("Parameters", __config__=ConfigDict(strict=True), **fields)
    try:
        values = {name: _literal(value, known[name].default) for name, value in given.items()}
        checked = model(**values).model_dump()
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        text = str(given[name])
        text = text if len(text) <= 60 else f"{text[:60]}…"
        raise ValueError(f"{name}: given {text}, allowed {allowed(known[name])}") from None
    for name, value in checked.items():
        if type(value) is int and name != "seed":  # a size: of histories, of 20 tokens each
            check_memory(name, value, 160.0 * min(value, 2**63))
    return checked


def _assignments(source: str) -> Iterator[Parameter]:
    before = 0  # the line on which the assignment before ends
    for node in _statements(source):
        match node:
            case ast.Assign([ast.Name(name)], value, end_lineno=int(line), end_col_offset=int(end)) if (
                _is_scalar(value) and node.lineno > before
            ):
                before = line
                behind = source.splitlines()[line - 1].encode()[end:].decode()  # columns are counted in bytes
                text, default = behind.partition("#")[2].strip(), ast.literal_eval(value)
                ends = None if isinstance(default, bool | str) else _RANGE.search(text)
                yield Parameter(name, default, text, ends and (float(ends[1]), float(ends[2])))
            case _:
                raise ValueError(f"parameters: given {shown(ast.unparse(node))}, {_LINES}")


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        line = getattr(error, "text", None) or source
        raise ValueError(f"parameters: given {shown(line.strip())}, {_LINES}") from None


def _is_scalar(node: ast.expr) -> bool:
    try:
        return isinstance(ast.literal_eval(node), bool | int | float | str)
    except (ValueError, TypeError):  # the second: a set of lists
        return False


def _kind(parameter: Parameter) -> tuple[Any, str]:
    """The type a value must have, and the same in words."""
    if parameter.name == "profile":
        known = [
            name for name, profile in PROFILES.items() if "sampled" in profile.arms and not profile.world
        ]
        return Literal[tuple(known)], f"one of {', '.join(known)}"
    kind = type(parameter.default)
    if kind in (bool, str):
        return kind, "true or false" if kind is bool else "a text"
    word = "an integer" if kind is int else "a number"
    ends = parameter.ends or ((0, _SEEDS) if parameter.name == "seed" else None)
    if ends is None and kind is int:
        return Annotated[int, Field(gt=0)], "an integer > 0"
    if ends is None:
        return Annotated[float, Field(allow_inf_nan=False)], "a finite number"
    limits = Field(ge=ends[0], le=ends[1], allow_inf_nan=False if kind is float else None)
    return Annotated[kind, limits], f"{word} from {ends[0]:,.15g} to {ends[1]:,.15g}"


def allowed(parameter: Parameter) -> str:
    """What a parameter may be, in words."""
    return _kind(parameter)[1]


def _literal(value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        return ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: of thousands of signs
        return value


# --- one chapter -------------------------------------------------------------------------------


def execute(
    chapter: str,
    given: Mapping[str, Any],
    output: Path | None = None,
    *,
    root: Path | None = None,
    page: bool = False,
    progress: bool = False,
) -> nbformat.NotebookNode:
    """Execute one chapter from the project's root, with the parameters given that differ from its own.

    chapter: named as in `find_chapter`. output: where the executed notebook goes, for a person to open
    (`notebooks.for_people`). If a cell fails, what was executed goes beside it, as `NAME.failed.ipynb`, and
    an earlier output stays. root: the folder that holds the book; found from the working directory if left
    out. page: write `output` with the suffix .html too, a page of its own. progress: show a bar over cells
    on a terminal. ValueError: an unknown chapter or a bad parameter, before a kernel starts. BookError: a
    cell fails.
    """
    root = root or project_root()
    chapter = find_chapter(chapter, root)
    values = check(parameters(load(chapter, root)), given, chapter)
    if output is None:
        return run(chapter, values, root, progress=progress)
    output = Path(output).absolute()
    output.parent.mkdir(parents=True, exist_ok=True)  # an unusable place is noticed before the kernel starts
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    try:
        executed = run(chapter, values, root, progress=progress)
    except ChapterError as error:
        write(for_people(error.notebook), failed)
        raise BookError(f"{error} (what was executed: {failed})") from error
    write(for_people(executed), output)
    if page:
        write_whole(output.with_suffix(".html"), as_page(for_people(executed), root).encode())
    return executed


def run(
    chapter: str,
    given: Mapping[str, Any],
    root: Path,
    *,
    progress: bool = False,
    extension: str | None = None,
) -> nbformat.NotebookNode:
    """The chapter, executed with checked parameters, and with an extension of IPython loaded if one is named.

    ChapterError, in one line: a cell fails.
    """
    notebook = load(chapter, root)
    # Only what differs from the defaults is injected: the page of a plain build shows no second cell.
    known = parameters(notebook)
    _inject(notebook, {name: v for name, v in given.items() if v != known[name].default})
    n_cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    hide = None if progress else True  # None: where there is no terminal
    try:
        with tqdm(total=n_cells, desc=chapter, unit=" cells", leave=False, disable=hide) as bar:
            kernels.execute(notebook, root, bar.update, extension=extension)
    except CellExecutionError as error:
        raise ChapterError(f"{chapter}: {_failure(notebook, error)}", notebook) from error
    except DeadKernelError as error:
        raise ChapterError(f"{chapter}: {_died(notebook)}", notebook) from error
    except (RuntimeError, OSError) as error:  # "Kernel died before replying to kernel_info", no port, ...
        raise ChapterError(
            f"{chapter}: its kernel ({sys.executable}) did not start: {error}", notebook
        ) from error
    return notebook


def export(folder: Path, name: str | None = None, *, root: Path) -> list[Path]:
    """Write a chapter, or all of them, as plain notebooks without outputs; returns their paths.

    JupyterLab, papermill and nbconvert run them as they are, wherever `splithistory` is installed.
    """
    named = chapters(root) if name is None else [find_chapter(name, root)]
    paths = [Path(folder).absolute() / f"{chapter.removeprefix('book/')}.ipynb" for chapter in named]
    for chapter, path in zip(named, paths, strict=True):
        write(for_people(load(chapter, root)), path)
    return paths


def _inject(notebook: nbformat.NotebookNode, values: Mapping[str, Any]) -> None:
    """Put a cell that sets parameters behind the notebook's own, if there are any, as papermill does."""
    if values:
        source = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        cell = nbformat.v4.new_code_cell(
            f"# Parameters\n{source}", metadata={"tags": ["injected-parameters"]}
        )
        tagged = ("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
        notebook.cells.insert(list(tagged).index(True) + 1, cell)


def _failure(notebook: nbformat.NotebookNode, error: CellExecutionError) -> str:
    """Cell, line and error of a failed execution, in one line."""
    trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback)
    line = re.search(r"^-+> \d+ (.*)$", trace, flags=re.MULTILINE)
    at = f" at `{line.group(1).strip()}`" if line else ""
    reason = " ".join(f"{error.ename}: {error.evalue}".split()).rstrip(": ")
    return f"code cell {_last_begun(notebook)}{at}: {reason}"


def _died(notebook: nbformat.NotebookNode) -> str:
    return f"code cell {_last_begun(notebook)}: the kernel died (out of memory?)"


def _last_begun(notebook: nbformat.NotebookNode) -> int:
    return max((cell.get("execution_count") or 0 for cell in notebook.cells), default=0)


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all, to a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{nbformat.writes(notebook)}\n".encode())
