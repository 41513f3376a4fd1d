"""Parameters are refused before a kernel starts; what comes out is whole or not there."""

import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT

from splithistory.pages import chapters
from splithistory.pages.chapters import BookError, Parameter

SEEDS = "an integer from 0 to 2,147,483,647"
SHOWN = ["smoke", "quick", "post", "faithful"]

KNOWN = {
    p.name: p
    for p in (
        Parameter("seed", 0),
        Parameter("profile", "quick"),
        Parameter("fresh", False),
        Parameter("steps", 100),
        Parameter("rate", 0.5),
        Parameter("label", "plain"),
        Parameter("share", 0.75, "", (0.5, 1.0)),
        Parameter("size", 20, "", (3, 1000)),
    )
}


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(chapters.kernels, "execute", refuse)


def notebook(*sources, tags=("parameters",)):
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
    return nbformat.v4.new_notebook(cells=cells)


def printed(notebook):
    return [o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "text" in o]


# --- what people write -------------------------------------------------------------------------


def test_a_name_given_twice_in_a_list_of_contents_is_refused_and_not_half_read(small_book):
    toc = small_book / "_toc.yml"
    toc.write_text(toc.read_text() + "root: book/part/second\n")
    with pytest.raises(ValueError, match=r"^root: given twice, allowed once$"):
        chapters.pages(small_book)


def test_what_is_merged_into_a_mapping_is_not_given_twice():
    assert chapters.read_yaml("a: &a {n: 1, m: 2}\nb: {<<: *a, n: 3}")["b"] == {"n": 3, "m": 2}


# --- parameters --------------------------------------------------------------------------------


def test_parameters_are_read_with_their_help():
    known = chapters.parameters(notebook('seed = 0  # its help\nrate = -1e-3\nlabel = "a # b"\nfresh = True'))
    assert list(known.values()) == [
        Parameter("seed", 0, "its help"),
        Parameter("rate", -1e-3),
        Parameter("label", "a # b"),
        Parameter("fresh", True),
    ]


def test_the_comment_of_a_number_ends_with_its_range():
    known = chapters.parameters(
        notebook('n = 20  # so many; 3 to 1_000\nx = 0.5  # a rate; -0.5 to 1\ns = "a"  # b; 1 to 2')
    )
    assert [parameter.ends for parameter in known.values()] == [(3, 1000), (-0.5, 1), None]
    assert chapters.allowed(known["n"]) == "an integer from 3 to 1,000"


@pytest.mark.parametrize("line", ["sizes = [1, 2]", "a = b = 1", "seed = int(3)", "print(1)", "x[0] = 1"])
def test_only_scalars_are_parameters(line):
    with pytest.raises(ValueError, match="allowed one `name = scalar` per line"):
        chapters.parameters(notebook(line))


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("n = 1\na = 1 2", "'a = 1 2'"),
        ("%matplotlib inline", "'%matplotlib inline'"),
        ("n = {[1]}", "'n = {[1]}'"),
        ("a = 1; b = 2  # two; 1 to 5", "'b = 2'"),
        ("a = \0", "'a = ?0'".replace("?0", "\\x00")),
    ],
)
def test_what_is_no_python_or_shares_a_line_is_refused_in_one_line(source, given):
    with pytest.raises(ValueError) as error:
        chapters.parameters(notebook(source))
    assert str(error.value) == f"parameters: given {given}, allowed one `name = scalar` per line"


def test_a_second_cell_of_parameters_is_refused_for_it_would_undo_what_is_given():
    with pytest.raises(ValueError, match=r"^parameters: given 2 cells of this tag, allowed is one$"):
        chapters.parameters(notebook("n = 1", "m = 2"))


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("seed", "1e3", SEEDS),
        ("seed", 1e3, SEEDS),
        ("seed", "-1", SEEDS),
        ("seed", True, SEEDS),
        ("seed", "three", SEEDS),
        ("seed", str(2**31), SEEDS),
        ("share", "0", "a number from 0.5 to 1"),
        ("share", "nan", "a number from 0.5 to 1"),
        ("size", "2", "an integer from 3 to 1,000"),
        ("size", "1001", "an integer from 3 to 1,000"),
        ("size", "+" * 59 + "1", "an integer from 3 to 1,000"),
        ("steps", "0", "an integer > 0"),
        ("steps", "[1]", "an integer > 0"),
        ("rate", "nan", "a finite number"),
        ("rate", "1e999", "a finite number"),
        ("fresh", "1", "true or false"),
        ("fresh", "yes", "true or false"),
        ("label", 3, "a text"),
        ("profile", "nope", f"one of {', '.join(SHOWN)}"),
    ],
)
def test_bad_values_are_refused_in_one_line(name, given, allowed):
    with pytest.raises(ValueError) as error:
        chapters.check(KNOWN, {name: given})
    assert str(error.value) == f"{name}: given {given}, allowed {allowed}"


def test_unknown_names_are_refused():
    message = r"^sede: not a parameter of book/index, did you mean seed\? allowed seed, .*size$"
    with pytest.raises(ValueError, match=message):
        chapters.check(KNOWN, {"sede": 3}, "book/index")


@pytest.mark.parametrize("given", ["+" * 5000 + "3", "9" * 5000, "(" * 5000])
def test_endless_values_are_refused_in_a_short_line(given):
    with pytest.raises(ValueError) as error:
        chapters.check(KNOWN, {"seed": given})
    assert len(str(error.value)) < 150


def test_texts_are_read_as_the_literals_they_spell():
    texts = {"seed": "3", "profile": "smoke", "fresh": "true", "steps": "7", "rate": "1e-3", "label": "7"}
    values = {"seed": 3, "profile": "smoke", "fresh": True, "steps": 7, "rate": 1e-3, "label": "7"}
    assert chapters.check(KNOWN, texts) == chapters.check(KNOWN, values) == values


# --- chapters ----------------------------------------------------------------------------------


def test_pages_and_chapters_follow_the_table_of_contents(small_book):
    assert chapters.pages(small_book) == ["book/index", "book/part/second", "book/part/plain"]
    assert chapters.chapters(small_book) == ["book/index", "book/part/second"]


@pytest.mark.parametrize("name", ["second", "part/second", "book/part/second", "book/part/second.md"])
def test_a_chapter_is_found_by_the_end_of_its_path(small_book, name):
    assert chapters.find_chapter(name, small_book) == "book/part/second"


@pytest.mark.parametrize("name", ["third", "econd", "plain", ""])
def test_an_unknown_chapter_is_refused(small_book, name):
    near = {"econd": r"did you mean second\? "}.get(name, "")
    with pytest.raises(ValueError, match=f"^chapter: given {name}, {near}allowed one of index, part/second$"):
        chapters.find_chapter(name, small_book)


def test_a_page_without_a_source_is_refused(small_book):
    (small_book / "book/part/plain.md").unlink()
    with pytest.raises(ValueError, match=r"_toc.yml: .*book/part/plain"):
        chapters.chapters(small_book)


def test_the_book_is_found_from_inside_it_and_from_elsewhere(small_book, tmp_path, monkeypatch):
    monkeypatch.chdir(small_book / "book/part")
    assert chapters.project_root() == small_book
    monkeypatch.chdir(tmp_path)
    assert chapters.project_root() == ROOT


def test_bad_input_starts_no_kernel_and_leaves_nothing(small_book, tmp_path, no_kernel):
    for given in ({"seed": "1e3"}, {"nope": 1}):
        with pytest.raises(ValueError):
            chapters.execute("index", given, tmp_path / "out.ipynb", root=small_book)
    assert not (tmp_path / "out.ipynb").exists()


def test_execute_injects_only_what_differs(small_book, tmp_path):
    given = {"seed": "2", "size": "3"}
    executed = chapters.execute("index", given, tmp_path / "a/out.ipynb", root=small_book)
    injected = [c.source for c in executed.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert injected == ["# Parameters\nseed = 2\n"]
    written = nbformat.read(tmp_path / "a/out.ipynb", as_version=4)
    assert printed(written) == ["total 9\n", "no store\n"]
    assert "papermill" not in str(written.metadata) + str([c.metadata for c in written.cells])


def test_a_failing_cell_is_named_and_what_ran_is_kept_beside_an_earlier_output(small_book, tmp_path):
    page = small_book / "book/part/second.md"
    page.write_text(page.read_text().replace("plt.subplots()", "1 / 0"))
    (tmp_path / "out.ipynb").write_text("earlier")
    with pytest.raises(BookError) as error:
        chapters.execute("second", {"steps": 3}, tmp_path / "out.ipynb", root=small_book)
    kept = tmp_path / "out.failed.ipynb"
    assert str(error.value) == (
        "book/part/second: code cell 3 at `_, axes = 1 / 0`: ZeroDivisionError: division by zero"
        f" (what was executed: {kept})"
    )
    outputs = [o for c in nbformat.read(kept, as_version=4).cells for o in c.get("outputs", [])]
    assert [output.ename for output in outputs] == ["ZeroDivisionError"]
    assert (tmp_path / "out.ipynb").read_text() == "earlier"


def test_a_kernel_that_dies_or_does_not_start_is_an_error_of_its_chapter(small_book, tmp_path, monkeypatch):
    page = small_book / "book/part/second.md"
    page.write_text(page.read_text().replace("plt.subplots()", "__import__('os')._exit(1)"))
    with pytest.raises(
        BookError, match=r"^book/part/second: code cell 2: the kernel died \(out of memory\?\)"
    ):
        chapters.execute("second", {}, root=small_book)
    monkeypatch.setattr(chapters.sys, "executable", "/bin/false")
    with pytest.raises(
        BookError, match=r"^book/index: its kernel .* did not start: Kernel died before"
    ) as error:
        chapters.execute("index", {}, root=small_book)
    assert "\n" not in str(error.value)


def test_an_executed_chapter_is_for_people_and_a_page_if_wanted(small_book, tmp_path):
    executed = chapters.execute("index", {}, tmp_path / "out.ipynb", root=small_book, page=True)
    assert "{glue:text}`total`" in "".join(cell.source for cell in executed.cells)  # for the book
    assert "and the published 3:" in (tmp_path / "out.ipynb").read_text("utf8")
    assert "and the published 3:" in (tmp_path / "out.html").read_text("utf8")


def test_chapters_are_exported_as_plain_notebooks(small_book, tmp_path):
    paths = chapters.export(tmp_path, root=small_book)
    assert paths == [tmp_path / "index.ipynb", tmp_path / "part/second.ipynb"]
    assert chapters.export(tmp_path, "second", root=small_book) == paths[1:]
    for path in paths:
        plain = nbformat.read(path, as_version=4)
        nbformat.validate(plain)
        assert plain.metadata.kernelspec.name == "python3" and "{glue:text}" not in str(plain.cells)


@pytest.mark.slow
def test_papermill_and_nbconvert_run_an_exported_chapter_as_it_is(small_book, tmp_path):
    """With parameters of one's own and without, from another folder than the book's."""
    exported, *_ = chapters.export(tmp_path / "notebooks", "index", root=small_book)
    done = tmp_path / "papermill.ipynb"
    module = [sys.executable, "-m"]
    for command in (
        [*module, "papermill", exported, done, "-p", "seed", "2", "--no-progress-bar"],
        [*module, "nbconvert", "--to", "html", "--execute", exported, "--output-dir", tmp_path],
    ):
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    outputs = [o for c in nbformat.read(done, as_version=4).cells for o in c.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "<code>total</code> = 9" in str(outputs)
    page = (tmp_path / "index.html").read_text("utf8")
    assert (
        "<code>total</code> = 3" in page and "data:image/png" in page and "application/papermill" not in page
    )
