"""The references that nbval compares with belong to the chapters as they are now."""

import nbformat
import pytest
from conftest import ROOT

from splithistory.pages import chapters

CHAPTERS = chapters.chapters(ROOT)


def sources(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.source, cell.metadata.get("tags", [])) for cell in cells]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_references_are_up_to_date(chapter):
    path = ROOT / f"tests/reference/{chapter.removeprefix('book/')}.ipynb"
    assert path.is_file(), "run `make reference`"
    assert sources(nbformat.read(path, as_version=4)) == sources(chapters.load(chapter, ROOT)), (
        "the chapter changed after its reference: run `make reference`"
    )


def test_no_reference_is_left_from_a_chapter_that_is_gone():
    folder = ROOT / "tests/reference"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.ipynb")}
    assert found == {f"{chapter.removeprefix('book/')}.ipynb" for chapter in CHAPTERS}


def test_at_most_a_fifth_of_the_cells_is_not_compared():
    cells = [cell for chapter in CHAPTERS for cell in sources(chapters.load(chapter, ROOT))]
    ignored = [source for source, tags in cells if {"nbval-ignore-output", "nbval-skip"} & set(tags)]
    ignored += [source for source, _ in cells if "# NBVAL_" in source]
    assert len(ignored) <= len(cells) / 5


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_published_parameters_are_allowed(chapter):
    known = chapters.parameters(chapters.load(chapter, ROOT))
    assert known, "a chapter has a cell tagged parameters"
    chapters.check(known, {name: parameter.default for name, parameter in known.items()})
    numbers = [p for p in known.values() if not isinstance(p.default, bool | str) and p.name != "seed"]
    assert all(p.ends for p in numbers), "the comment of a number ends with its range, `; 1 to 100`"
