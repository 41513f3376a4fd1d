"""The references belong to the chapters as they are now; what changes behind them is caught and named."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, copy_small_book, validate

from splithistory.pages import chapters

CHAPTERS = chapters.chapters(ROOT)
FOLDER = "tests/reference"
# Cheap chapters that read published results, draw, and run networks.
PLAIN = ("experiment/sequence", "experiment/pretraining", "derivations/a5-activations")


def sources(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.source, cell.metadata.get("tags", []), cell.metadata.get("tolerance")) for cell in cells]


def reference(chapter, root=ROOT):
    return root / FOLDER / f"{chapter.removeprefix('book/')}.ipynb"


def shown(chapter):
    notebook = nbformat.read(reference(chapter), as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def current(chapter, root=ROOT) -> bool:
    """Whether a chapter's reference was made of its cells as they are."""
    return sources(nbformat.read(reference(chapter, root), as_version=4)) == sources(
        chapters.load(chapter, root)
    )


def left_over(root=ROOT) -> set:
    """References that no chapter has."""
    return set((root / FOLDER).rglob("*.ipynb")) - {
        reference(chapter, root) for chapter in chapters.chapters(root)
    }


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_references_are_up_to_date(chapter):
    assert reference(chapter).is_file(), "run `make reference`"
    assert current(chapter), "the chapter changed after its reference: run `make reference`"


def test_no_reference_is_left_from_a_chapter_that_is_gone():
    assert left_over() == set()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_figure_goes_uncompared(chapter):
    """A figure without its data is kept as nothing but its name."""
    outputs = [o.data for o in shown(chapter) if "data" in o]
    texts = [text for data in outputs for kind, text in data.items() if kind.endswith("text/plain")]
    assert not [text for text in texts if text.startswith("<Figure")], "run `make reference`"


@pytest.fixture
def small(tmp_path):
    """A small book with references that were never run: for what is checked without running them."""
    root = copy_small_book(tmp_path / "small")
    for chapter in chapters.chapters(root):
        chapters.write(chapters.load(chapter, root), reference(chapter, root))
    return root


def test_a_reference_of_cells_that_changed_is_caught(small, tried):
    first, second = chapters.chapters(small)
    page = small / f"{second}.md"
    assert current(first, small) and current(second, small)
    page.write_text(page.read_text("utf8").replace("seed + 1", "seed + 2"), "utf8")
    assert current(first, small) and not current(second, small)
    tried["planted changes"] += 1


def test_a_page_that_is_deleted_is_caught(small, tried):
    _, second = chapters.chapters(small)
    assert left_over(small) == set()
    (small / f"{second}.md").unlink()
    with pytest.raises(ValueError, match=rf"_toc.yml: given {second}, allowed pages with a source"):
        chapters.chapters(small)
    toc = small / "_toc.yml"
    toc.write_text(re.sub(rf".*{second}\n", "", toc.read_text("utf8")), "utf8")
    assert left_over(small) == {reference(second, small)}
    tried["planted changes"] += 1


def test_at_most_a_fifth_of_the_cells_is_not_compared():
    cells = [cell for chapter in CHAPTERS for cell in sources(chapters.load(chapter, ROOT))]
    ignored = [source for source, tags, _ in cells if {"nbval-ignore-output", "nbval-skip"} & set(tags)]
    ignored += [source for source, _, _ in cells if "# NBVAL_" in source]
    assert len(ignored) <= len(cells) / 5


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_published_parameters_are_allowed(chapter):
    known = chapters.parameters(chapters.load(chapter, ROOT))
    assert known, "a chapter has a cell tagged parameters"
    chapters.check(known, {name: parameter.default for name, parameter in known.items()})
    numbers = [p for p in known.values() if not isinstance(p.default, bool | str) and p.name != "seed"]
    assert all(p.ends for p in numbers), "the comment of a number ends with its range, `; 1 to 100`"


# --- planted in a copy of the code and of the results, found by running a reference ---------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What a chapter's reference says where a formula, a published number and a point of a curve moved."""
    root, chapter = tmp_path_factory.mktemp("planted"), reference("experiment/pretraining")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    results = root / "results"
    shutil.copytree(ROOT / "results", results, copy_function=lambda file, to: Path(to).symlink_to(file))
    replaced(root / "src/splithistory/recurrence.py", "float(entropy(self._outcome_table[0]))", " + 0.001")
    replaced(results / "tuning/trials.csv", ",0.9143,0.33", "99")
    vouch(results / "tuning", "trials.csv")
    move_a_point(results / "post")
    return validate(chapter.parent, chapter.name, PYTHONPATH=str(root / "src"))


def replaced(path, text, more):
    """A copy of a file in its place, with something behind a text that stands there once."""
    whole = path.read_text("utf8")
    assert whole.count(text) == 1, path
    path.unlink()
    path.write_text(whole.replace(text, text + more), "utf8")


def move_a_point(folder):
    """The last held-out loss of one published model, a nat higher; the manifest says so too."""
    curves = pd.read_parquet(folder / "curves.parquet")
    last = curves.index[(curves["column"] == "test_loss") & (curves["model"] == curves["model"].min())][-3]
    curves.loc[last, "value"] += 1.0
    (folder / "curves.parquet").unlink()
    curves.to_parquet(folder / "curves.parquet")
    vouch(folder, "curves.parquet")


def vouch(folder, name):
    """The manifest says of a file what is there now."""
    manifest = json.loads((folder / "manifest.json").read_text("utf8"))
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("a formula", r"\(floor\).*: 0\.122 -> 0\.123, moved by \+0\.001 \(allowed: 0\)"),
        ("a number in results/", r"row '18k', column 'held-out loss': 0\.338 -> 0\.340, moved by \+0\.002"),
        (
            "a point of a figure",
            r"display 1 \(fig-[\w-]+\), panel \d+, line \d+.*, y.*\[\d+\]: .* moved by \+",
        ),
    ],
)
def test_a_planted_change_is_named_with_what_moved(planted, said, report, tried):
    assert re.search(said, report), f"{planted}\n{report}"
    tried["planted changes"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("chapter", PLAIN)
def test_references_hold_on_a_processor_without_wide_instructions(chapter):
    path = reference(chapter)
    said = validate(path.parent, path.name, ATEN_CPU_CAPABILITY="default", OMP_NUM_THREADS="1")
    assert re.search(r"=+ \d+ passed[^\n]* in ", said), said
