"""The form of the chapters: short cells, more prose than code, no statistics where nobody looks."""

import ast
import pkgutil
import re
import symtable
from statistics import median

import pytest
from conftest import ROOT

import splithistory
from splithistory.pages import chapters

CHAPTERS = chapters.chapters(ROOT)
FOLDED, HIDDEN = {"hide-input", "hide-cell"}, {"remove-input", "remove-cell"}
LONGEST, MEDIAN, SET_UP, WORDS = 20, 6, 8, 8
# Where statistics come from: a hidden cell neither asks these rooms and libraries nor does it by itself.
ROOMS = {"differential", "estimators", "histograms", "information", "objectives", "policies", "shortcuts"}
ROOMS |= {"detection", "episodes", "gridworlds", "mdp", "neighbours", "planning", "statistics", "worlds"}
LIBRARIES = {"np", "pd", "scipy", "torch"}
# Of these it may have what only compares, puts tables together or is elementary.
INNOCENT = {"abs", "allclose", "array_equal", "concat", "DataFrame", "exp", "isclose", "isfinite", "isna"}
INNOCENT |= {"log", "sqrt", "told"}
METHODS = {"agg", "apply", "groupby", "mean", "merge", "pivot", "pivot_table", "std", "var"}


def lines(cell) -> int:
    """Lines of code, blank ones aside."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def tagged(cells, tags: set[str]) -> list:
    """The cells that have one of the tags."""
    return [cell for cell in cells if tags & set(cell.metadata.get("tags", []))]


def words(cells) -> int:
    """Words of prose, without blocks and mathematics."""
    prose = (re.sub(r"```.*?```|\$[^$]*\$", "", c.source, flags=re.S) for c in cells)
    return sum(len(re.findall(r"[A-Za-z]\w*(?:['’-]\w+)*", text)) for text in prose)


def computed(source: str) -> set[str]:
    """Calls in a cell that compute a statistic."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of, name = node.func.value, node.func.attr
            asked = isinstance(of, ast.Name) and of.id in ROOMS | LIBRARIES and name not in INNOCENT
            if asked or name in METHODS:
                found.add(ast.unparse(node.func))
    return found


def start(cell) -> str:
    """Its first line, to find it by."""
    return f"`{cell.source.strip().splitlines()[0]}`"


def imports(cell) -> bool:
    """Whether a cell imports, functions in it aside."""
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(cell.source).body)


def offences(notebook) -> dict[str, str]:
    """{rule: what breaks it} of a chapter."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    folded, hidden = tagged(code, FOLDED), tagged(code, HIDDEN)
    visible = [cell for cell in code if cell not in [*folded, *hidden]]
    shown = [lines(cell) for cell in visible] or [0]  # a page may fold all of its code
    prose = words(c for c in notebook.cells if c.cell_type == "markdown")
    broken = {
        "long cells": [f"{start(c)} has {lines(c)} lines" for c in code if lines(c) > LONGEST],
        "median": [f"of visible cells: {n:g} lines" for n in [median(shown)] if n > MEDIAN],
        "prose": [f"{prose} words for {sum(shown)} visible lines"] * (prose < WORDS * sum(shown)),
        "set-up": _set_up([cell for cell in code if imports(cell)], [*folded, *hidden]),
        "hidden": [f"{start(c)} calls {', '.join(sorted(f))}" for c in hidden if (f := computed(c.source))],
    }
    return {rule: "; ".join(found) for rule, found in broken.items() if found}


def _set_up(importing: list, unseen: list) -> list[str]:
    """The first cell that imports; others may import what a section is about, where a reader sees it."""
    if not importing:
        return []
    first, *others = importing
    found = [f"{start(c)} imports, unseen" for c in others if c in unseen]
    found += ["it is not folded"] * (first not in unseen)
    return found + [f"it has {lines(first)} lines"] * (lines(first) > SET_UP)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_prose_with_short_cells(chapter):
    broken = offences(chapters.load(chapter, ROOT))
    assert not broken, "\n".join(f"{chapter}: {rule}: {found}" for rule, found in broken.items())


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_tables_and_figures_of_the_house(chapter):
    code = [cell.source for cell in chapters.load(chapter, ROOT).cells if cell.cell_type == "code"]
    assert any("figures.use_house_style()" in source for source in code)


def named(source: str) -> set[str]:
    """Names that a cell sets, imports or defines; not those of a function or comprehension in it."""
    symbols = symtable.symtable(source, "cell", "exec").get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def overwritten(notebook) -> set[str]:
    """Parameters that a later cell sets anew, so that what is given would not be what is used."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    given = tagged(code, {"parameters"})
    later = set().union(*(named(cell.source) for cell in code if cell not in given))
    return later & set().union(*(named(cell.source) for cell in given))


def two_targets(text: str) -> set[str]:
    """Links without a path that are the name of a page and of something in the interface."""
    public = {module.name for module in pkgutil.iter_modules(splithistory.__path__)} | {*splithistory.__all__}
    return set(re.findall(r"\]\(([\w-]+)(?:\.md)?\)", text)) & public


@pytest.mark.parametrize("page", chapters.pages(ROOT))
def test_no_link_could_lead_to_the_interface_as_well_as_to_a_page(page):
    assert two_targets((ROOT / f"{page}.md").read_text("utf8")) == set()


@pytest.mark.parametrize("page", chapters.pages(ROOT))
def test_the_number_of_an_equation_has_no_second_pair_of_parentheses(page):
    assert not re.findall(r"\(\{eq\}`[^`]*`\)", (ROOT / f"{page}.md").read_text("utf8"))


def test_a_link_with_two_targets_is_noticed():
    text = "[a](calibration), [b](calibration.md), [c](../measures/calibration), [d](naming)"
    assert two_targets(text) == {"calibration"}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_later_cell_sets_a_parameter(chapter):
    assert overwritten(chapters.load(chapter, ROOT)) == set()


def idle(notebook) -> set[str]:
    """Names that a chapter imports twice or never uses; lines of magic aside."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    nodes = list(ast.walk(ast.parse(re.sub(r"(?m)^%.*$", "", code))))
    imported = [n for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for n in node.names]
    names = [(n.asname or n.name).split(".")[0] for n in imported]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return {name for name in names if names.count(name) > 1 or name not in used}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_imports_what_it_uses_and_once(chapter):
    assert idle(chapters.load(chapter, ROOT)) == set()


def test_an_import_that_is_idle_or_a_second_one_is_noticed():
    cells = ([], "from a import b, c"), ([], "from a import c, d\nb + c + d"), ([], "import e.f\ne.f.g")
    assert idle(page(*cells, ([], "import unused as u"))) == {"c", "u"}


@pytest.mark.parametrize(
    "source", ["n = 2", "for n in x: pass", "import numpy as n", "def n(): pass", "with x as n: pass"]
)
def test_a_parameter_that_is_set_again_is_noticed(source):
    again = page((["parameters"], "n = 1  # so many"), ([], source))
    assert overwritten(again) == {"n"}
    assert overwritten(page((["parameters"], "n = 1"), ([], "y = [n for n in x]\ndef f(n): n = 2"))) == set()


def page(*cells):
    """A notebook of (tags, source) with a visible cell and much prose."""
    prose = chapters.nbformat.v4.new_markdown_cell("word " * 100)
    codes = [chapters.nbformat.v4.new_code_cell(s, metadata={"tags": t}) for t, s in [([], "x = 1"), *cells]]
    return chapters.nbformat.v4.new_notebook(cells=[prose, *codes])


SET = (["hide-input"], "import numpy as np")
TAG = ["remove-cell"]


@pytest.mark.parametrize(
    ("cells", "broken"),
    [
        ([SET, (TAG, "findings.quote(op=findings.plus_minus(mean, half))")], {}),
        ([([], "\n\n".join(["x = 1"] * 21))], {"long cells", "median", "prose"}),
        ([([], "import numpy")], {"set-up"}),
        ([SET, SET], {"set-up"}),
        ([(["hide-input"], "import numpy\n" + "x = 1\n" * 8)], {"set-up"}),
        ([(TAG, "findings.found('x', np.mean(rows) > 0)")], {"hidden"}),
        ([(TAG, "mean = table.groupby('seed')['op'].mean()")], {"hidden"}),
        ([(TAG, "mean, half = statistics.t_interval(values)")], {"hidden"}),
    ],
)
def test_each_rule_is_noticed_when_it_is_broken(cells, broken):
    assert set(offences(page(*cells))) == set(broken)


def test_a_page_may_fold_all_of_its_code():
    notebook = page(SET)
    notebook.cells = [cell for cell in notebook.cells if cell.source != "x = 1"]
    assert not offences(notebook)
