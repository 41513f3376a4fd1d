"""The book and its references: whole or not at all, the same bytes every time."""

import os
import re
import subprocess
import sysconfig
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, check_links

from splithistory.pages import book
from splithistory.pages.chapters import BookError, pages
from splithistory.study.store import DEVICE_VARIABLE, STORE_VARIABLE

BEFORE = set(os.environ)


def printed(notebook):
    return [o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "text" in o]


@pytest.fixture
def handed_over(monkeypatch):
    """What the chapters of a book find in their environment, a (store, device) a book that is built."""
    found = []
    variables = (STORE_VARIABLE, DEVICE_VARIABLE)
    monkeypatch.setattr(book, "_stage", lambda *_: found.append(tuple(map(os.environ.get, variables))))
    monkeypatch.setattr(book, "_render", lambda stage: stage)  # where no page lies
    return found


def test_bad_input_touches_nothing(small_book, tmp_path, handed_over):
    bad = [({"seed": "1e3"}, "cpu", "seed: given 1e3"), ({"nope": 1}, "cpu", "nope: not a parameter")]
    for given, device, message in [*bad, ({}, "tpu", "device: given 'tpu', allowed on this machine: cpu")]:
        with pytest.raises(ValueError, match=message):
            book.build(given, tmp_path / "_build", device=device, root=small_book)
    assert handed_over == [] and not (tmp_path / "_build").exists()


def test_store_and_device_are_handed_to_the_chapters_and_to_nobody_after_them(
    small_book, tmp_path, handed_over, monkeypatch
):
    monkeypatch.setenv(STORE_VARIABLE, "own")
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    for where in ({}, {"store": tmp_path / "runs", "device": "cpu"}):
        with pytest.raises(BookError, match="book/index: in the table of contents, but no page was rendered"):
            book.build({}, tmp_path / "_build", **where, root=small_book)
    assert handed_over == [("own", None), (str(tmp_path / "runs"), "cpu")]
    assert os.environ[STORE_VARIABLE] == "own" and DEVICE_VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({}, "_build"),
        ({"seed": "0", "steps": 2}, "_build"),  # what they are anyway
        ({"steps": "3"}, "_build/with/steps=3"),
        ({"size": 4, "label": "../a b", "seed": 0}, "_build/with/label=.._a_b,size=4"),
    ],
)
def test_a_book_with_other_parameters_has_a_folder_of_its_own(given, folder, small_book, monkeypatch):
    stages = []
    monkeypatch.setattr(book, "_stage", lambda _, stage, root: stages.append(stage))
    monkeypatch.setattr(book, "_render", lambda stage: stage)
    with pytest.raises(BookError, match="no page was rendered"):
        book.build(given, root=small_book)
    assert stages == [small_book / folder / "stage"]


@pytest.mark.slow
def test_book_stays_whole_when_a_later_build_fails(small_book, tmp_path):
    build = tmp_path / "_build"
    index = book.build({"seed": 4}, build, root=small_book)
    assert index == build / "html/index.html" and index.is_file()
    page = (build / "html/book/index.html").read_text()
    assert "total 15" in page and "no store" in page and "injected-parameters" in page

    source = small_book / "book/part/second.md"
    good = source.read_text()
    for bad, message in [
        (good.replace("plt.show()", "raise KeyError('x')"), "book/part/second: code cell 2 at"),
        (good + "\n{ref}`nowhere`\n", "book/part/second.ipynb.*WARNING.*nowhere"),
        (good.replace("plt.show()", "import sys; sys.stderr.write('oh')"), "code cell 2 wrote to stderr: oh"),
    ]:
        source.write_text(bad)
        with pytest.raises(BookError, match=message) as error:
            book.build({}, build, root=small_book)
        assert "\n" not in str(error.value)
        assert (build / "html/book/index.html").read_text() == page


@pytest.mark.slow
def test_fresh_hands_an_empty_store_to_the_chapters(small_book, tmp_path):
    (tmp_path / "_build/store/old").mkdir(parents=True)
    book.build({"fresh": True}, tmp_path / "_build", root=small_book)
    executed = nbformat.read(tmp_path / "_build/stage/book/index.ipynb", as_version=4)
    assert printed(executed) == ["total 3\n", "store\n"]
    assert not (tmp_path / "_build/store/old").exists()


# --- side by side ------------------------------------------------------------------------------


@pytest.fixture
def unlike(monkeypatch):
    """Chapters by their name: how long they take, or the error that they end in; what was begun and done."""
    begun = []

    def run(chapter, given, root, **_):
        begun.append(chapter)
        if "fails" in chapter:
            raise BookError(f"{chapter}: code cell 1")
        time.sleep(float(chapter))
        begun.append("done")
        return nbformat.v4.new_notebook()

    monkeypatch.setattr(book, "run", run)
    monkeypatch.setattr(book, "cores", lambda: 2)
    return begun


def executed(*names, **given):
    return [chapter for chapter, _, _ in book._executed({name: given for name in names}, ROOT)]


def test_side_by_side_chapters_come_in_their_order_however_long_they_take(unlike):
    assert executed("0.3", "0", "0.2", "0.1") == ["0.3", "0", "0.2", "0.1"]
    assert unlike.index("0.2") < 4 and "OMP_NUM_THREADS" not in set(os.environ) - BEFORE


def test_the_first_chapter_in_order_that_fails_is_named_and_what_is_not_begun_is_left(unlike):
    with pytest.raises(BookError, match=r"^fails first: code cell 1$"):
        executed("0.2", "fails first", "fails second", *["0.1"] * 40)
    assert len(unlike) < 40


def test_where_chapters_train_the_first_one_runs_alone(unlike):
    assert executed("0.2", "0", "0.0", fresh=True) == ["0.2", "0", "0.0"]
    assert unlike[:2] == ["0.2", "done"]


# --- references --------------------------------------------------------------------------------


def test_references_are_the_same_bytes_every_time(small_book, tmp_path):
    stale = tmp_path / "reference/part/gone.ipynb"
    stale.parent.mkdir(parents=True)
    stale.touch()
    paths = book.reference(output=tmp_path / "reference", root=small_book)
    first = [path.read_bytes() for path in paths]
    book.reference(output=tmp_path / "reference", root=small_book)
    assert [path.read_bytes() for path in paths] == first
    assert sorted(tmp_path.rglob("*.ipynb")) == sorted(paths) and len(paths) == 2
    paths[1].unlink()
    stale.touch()
    renewed = book.reference(["second"], tmp_path / "reference", root=small_book)
    assert renewed == [paths[1]]  # the others stay
    assert [path.read_bytes() for path in paths] == first and stale.exists()
    with pytest.raises(ValueError, match=r"chapter: given gone,"):
        book.reference(["second", "gone"], tmp_path / "reference", root=small_book)
    figure = nbformat.read(paths[1], as_version=4).cells[-2]
    assert [list(output.data) for output in figure.outputs] == [["text/x-plotted"]]
    assert figure.metadata == {"tolerance": 0.01}


@pytest.mark.slow
def test_jupyter_book_alone_makes_the_same_book_whatever_the_home_says(small_book, tmp_path):
    """What a user of Jupyter Book tries first; at home, figures are to be set by TeX."""
    home = tmp_path / "home"
    (home / ".config/matplotlib").mkdir(parents=True)
    (home / ".config/matplotlib/matplotlibrc").write_text("text.usetex: True\n")
    program = Path(sysconfig.get_path("scripts")) / "jupyter-book"
    command = [program, "build", small_book, "-W", "--keep-going"]
    there = {"env": os.environ | {"HOME": str(home)}, "cwd": home}  # not where the book is
    done = subprocess.run(command, capture_output=True, text=True, **there)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "WARNING" not in done.stdout + done.stderr
    html = small_book / "_build/html"
    page = (html / "book/index.html").read_text("utf8")
    assert re.search("and the published .{0,40}>3<", page) and "It rises to" in page and "<svg" in page
    offered = nbformat.read(html / "_sources/book/index.ipynb", as_version=4)
    assert "and the published 3:" in offered.cells[2].source
    assert [
        list(o.data) for c in offered.cells if c.cell_type == "code" for o in c.outputs if "data" in o
    ] == [["image/png"]]


@pytest.mark.slow
def test_every_chapter_runs_and_is_rendered_on_models_that_the_book_trains_itself(tmp_path):
    page = book.build({"profile": "smoke", "fresh": True}, tmp_path / "_build", root=ROOT)
    check_links(page.parent)
    assert all((page.parent / f"{name}.html").is_file() for name in pages(ROOT))
