"""Chapters as plain notebooks, for people to open anywhere: what only the book can place is put in.

A chapter's prose says in the words of MyST where the book puts numbers, figures, theorems and references.
Here these become plain Markdown. Also an extension of Sphinx: notebooks that pages offer are such.
"""

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path

import nbformat

from .gluing import PREFIX, glued_name, glued_value
from .kernels import environment

_BLOCK = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<kind>[\w:-]+)\} *(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence) *$",
    flags=re.MULTILINE | re.DOTALL,
)
_OPTIONS = re.compile(r"\A(?::[\w-]+:[^\n]*\n)+")
_LABEL = re.compile(r"^:(?:name|label): *(\S+)", flags=re.MULTILINE)
_EQUATION = re.compile(r"^\$\$ *\(([\w-]+)\) *$", flags=re.MULTILINE)
_ROLE = re.compile(r"\{([\w:-]+)\}`([^`]*)`")
_SECTION = re.compile(r"^\(([\w-]+)\)=\n", flags=re.MULTILINE)
_TO_LABEL = re.compile(r"\[([^\]]*)\]\(([\w-]+)\)")
_LINK = re.compile(r"\]\((?!\w+:)([\w./-]*/)?([\w-]+)(#[\w-]*)?\)")
_ONLY_PAGES = {"eval-rst", "raw", "bibliography", "toctree", "tableofcontents"}  # nothing for a notebook
_NAMED = "*Numbers have names in the text, such as `n_seeds`: the cell that computes one prints it.*"
_FROM = "*The numbers in the text are those of this execution; another one prints its own beneath the cells.*"


def for_people(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter as a notebook that needs no book: numbers in the prose, figures beneath their cells.

    notebook: executed, or not: then the prose has the names of numbers. It stays as it is.
    """
    plain = deepcopy(notebook)
    values, prose = _values(plain), [cell for cell in plain.cells if cell.cell_type == "markdown"]
    quotes = any("{glue:text}" in cell.source for cell in prose)
    places = _places(cell.source for cell in prose)
    sections = {label for cell in prose for label in _SECTION.findall(cell.source)}
    for cell in prose:
        cell.source = _plain(cell.source, values, places, sections)
    for cell in plain.cells:
        if cell.cell_type == "code":
            cell.outputs = [shown for output in cell.outputs if (shown := _shown(output))]
    if quotes:
        prose[0].source += f"\n\n{_FROM if values else _NAMED}"
    return plain


def _values(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The glued texts by their names."""
    found = {}
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        name, value = glued_name(output), glued_value(output)
        if name and isinstance(value, str):
            found[name] = value
    return found


def _shown(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """What an output shows in Jupyter, None if that stands in the prose already."""
    if glued_name(output) is None:
        return output
    data = {kind: data for kind, data in output.data.items() if not kind.startswith(PREFIX)}
    if not any(kind.startswith("image/") for kind in data):
        return None
    about = {kind: output.metadata[kind] for kind in data if kind in output.metadata}
    return nbformat.v4.new_output("display_data", data=data, metadata=about)


def _places(sources: Iterator[str]) -> dict[str, str]:
    """How the prose refers to what has a label: `Figure 1`, `(1)`, `Theorem 1`; each kind is counted."""
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for source in sources:
        labels = [("math", match[1], match.start()) for match in _EQUATION.finditer(source)]
        for block in _BLOCK.finditer(source):
            if label := _LABEL.search(_options(block["body"])):
                labels.append((block["kind"], label[1], block.start()))
        for kind, name, _ in sorted(labels, key=lambda found: found[2]):
            what = kind.removeprefix("glue:")  # figures have one count, whoever draws them
            counts[what] = counts.get(what, 0) + 1
            found[name] = _called(what, counts[what])
    return found


def _called(kind: str, number: int) -> str:
    if kind == "math":
        return f"({number})"
    return f"{kind.removeprefix('prf:').capitalize()} {number}"  # figure, prf:theorem, ...


def _options(body: str) -> str:
    found = _OPTIONS.match(body)
    return found[0] if found else ""


def _plain(source: str, values: Mapping[str, str], places: Mapping[str, str], sections: set[str]) -> str:
    """Prose in MyST as plain Markdown."""

    def block(match: re.Match) -> str:
        options = _options(match["body"])
        label = _LABEL.search(options)
        name = places.get(label[1], "") if label else ""
        body = _BLOCK.sub(block, match["body"][len(options) :]).strip()
        return _block(match["kind"], match["title"], name, body)

    def role(match: re.Match) -> str:
        return _inline(match[1], match[2], values, places)

    source = _BLOCK.sub(block, source)
    source = _EQUATION.sub(lambda match: f"\\tag{{{places[match[1]].strip('()')}}}\n$$", source)
    source = _SECTION.sub("", source)
    # what leads to a section of the same page: its label is no file
    source = _TO_LABEL.sub(lambda match: match[1] if match[2] in sections else match[0], source)
    source = _LINK.sub(lambda m: f"]({m[1] or ''}{m[2]}.ipynb{m[3] or ''})", source)
    return _ROLE.sub(role, source)


def _block(kind: str, title: str, name: str, body: str) -> str:
    """A directive in plain Markdown."""
    if kind == "math":
        tag = f"\n\\tag{{{name.strip('()')}}}" if name else ""
        return f"$$\n{body}{tag}\n$$"
    if kind in ("figure", "glue:figure"):
        return f"**{name or 'Figure'}.** {body}"
    if kind in _ONLY_PAGES:
        return ""
    head = title or kind.capitalize()  # of a box: admonition, dropdown, note, ...
    if kind.startswith("prf:"):
        head = (name or kind.partition(":")[2].capitalize()) + (f" ({title})" if title else "")
    return f"<blockquote>\n\n**{head}.** {body}\n\n</blockquote>"


def _inline(role: str, text: str, values: Mapping[str, str], places: Mapping[str, str]) -> str:
    """A role in plain Markdown."""
    if role == "glue:text":
        return html.escape(values[text], quote=False) if text in values else f"`{text}`"
    if role in ("eq", "numref", "prf:ref", "ref"):
        return places.get(text, f"`{text}`")  # of another chapter: by its label
    if role.startswith("cite"):
        return f"[{text}]"
    return f"`{text}`"


# --- on the road -------------------------------------------------------------------------------


def as_page(notebook: nbformat.NotebookNode, root: Path) -> str:
    """A plain notebook as one page of HTML that needs nothing else, mathematics set by the book's MathJax.

    root: the folder that holds the book.
    """
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    tags = {"remove_cell_tags": ["remove-cell"], "remove_input_tags": ["remove-input"], "enabled": True}
    page, _ = HTMLExporter(config=Config(TagRemovePreprocessor=tags)).from_notebook_node(notebook)
    page = re.sub(r'<script src="https:[^>]*>\s*</script>', "", page)  # nothing from elsewhere
    page = re.sub(r"<script[^>]*>\s*init_mathjax.*?</script>", "", page, flags=re.DOTALL)
    config = "MathJax = {tex: {inlineMath: [['$', '$'], ['\\\\(', '\\\\)']], tags: 'none'}};"
    mathjax = (root / "book/_static/mathjax/tex-svg-full.js").read_text("utf8")
    style = ".jp-RenderedHTMLCommon, .jp-Cell-inputWrapper * {overflow-y: visible}"
    head = f"<style>{style}</style><script>{config}</script><script>{mathjax}</script></head>"
    return page.replace("</head>", head, 1)


def offer_executed(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """For each page that Sphinx executed itself: beside the source, the theme offers the notebook."""
    executed = Path(app.outdir).parent / "jupyter_execute" / f"{pagename}.ipynb"
    if str(context.get("page_source_suffix", "")).endswith(".md") and executed.is_file():
        offered = Path(app.outdir, "_sources", f"{pagename}.ipynb")
        offered.parent.mkdir(parents=True, exist_ok=True)
        offered.write_text(nbformat.writes(_with_glued(executed)), "utf8")
        context["ipynb_source"] = f"{pagename}.ipynb"


def _with_glued(executed: Path) -> nbformat.NotebookNode:
    """A notebook that MyST-NB executed, with what it took out: glued values, by the names in their cells."""
    notebook, taken = nbformat.read(executed, as_version=4), executed.with_suffix(".glue.json")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    glued = json.loads(taken.read_text("utf8")) if taken.is_file() else {}
    for name, output in glued.items():
        shown = "image/png" if "image/svg+xml" in output["data"] else "text/html"  # what the page passed over
        data = {PREFIX + kind if kind else shown: data for kind, data in output["data"].items()}
        cell = next((cell for cell in code if f'"{name}"' in cell.source), code[-1])
        cell.outputs.append(nbformat.v4.new_output("display_data", data=data, metadata=output["metadata"]))
    return notebook


def offer_plain(app, exception) -> None:
    """When Sphinx is done: the notebooks that the pages offer for download become plain ones."""
    for path in sorted(Path(app.outdir, "_sources").rglob("*.ipynb")) if exception is None else ():
        plain = for_people(nbformat.read(path, as_version=4))
        path.write_text(f"{nbformat.writes(plain)}\n", "utf8")


def shelter(app) -> None:
    """Before Sphinx executes chapters itself: its kernels, too, hear nothing of a user's settings."""
    if app.config.nb_execution_mode != "off":
        own = environment()
        for name in set(os.environ) - set(own):
            del os.environ[name]
        os.environ.update(own)


def setup(app) -> dict:
    """Sphinx calls this."""
    app.connect("builder-inited", shelter)
    app.connect("html-page-context", offer_executed)
    app.connect("build-finished", offer_plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
