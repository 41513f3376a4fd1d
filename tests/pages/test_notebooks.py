"""A notebook that a person opens has its numbers in the prose and its figures beneath the cells."""

from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT

from splithistory.pages import chapters, notebooks

GLUED = "application/papermill.record/"
PROSE = """# A chapter

The rate {glue:text}`rate` of {cite}`bostock2024`, see {eq}`eq-op`, {numref}`fig-line`, [here](../a/b#c)
or [there](https://x.org/y), {prf:ref}`thm-bound`, {prf:ref}`thm-elsewhere`, {func}`kl`.

$$
x
$$ (eq-op)

```{math}
:label: eq-imp
y
```

(of-boxes)=
## Boxes

:::{admonition} The post says
:class: post
A sentence with {glue:text}`rate`.

```{math}
z
```
:::

:::{prf:theorem} A bound
:label: thm-bound
It holds.
:::

```{figure} _static/boxes.svg
:name: fig-boxes
:alt: boxes

Boxes, drawn by hand, [above](of-boxes).
```

```{glue:figure} fig-line
:name: fig-line
:alt: a line

A line, {eq}`eq-imp`.
```

:::{dropdown} More
All.
:::
"""
PLAIN = r"""# A chapter

The rate {rate} of [bostock2024], see (1), Figure 2, [here](../a/b.ipynb#c)
or [there](https://x.org/y), Theorem 1, `thm-elsewhere`, `kl`.

$$
x
\tag{{1}}
$$

$$
y
\tag{{2}}
$$

## Boxes

<blockquote>

**The post says.** A sentence with {rate}.

$$
z
$$

</blockquote>

<blockquote>

**Theorem 1 (A bound).** It holds.

</blockquote>

**Figure 1.** Boxes, drawn by hand, above.

**Figure 2.** A line, (2).

<blockquote>

**More.** All.

</blockquote>
"""


def displayed(name, data):
    metadata = {"scrapbook": {"name": name, "mime_prefix": GLUED}, "image/png": {"width": 3}}
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata)


@pytest.fixture
def executed():
    """A chapter with a figure and a number, glued and shown."""
    figure = displayed("fig-line", {f"{GLUED}text/plain": "<Figure>", f"{GLUED}image/svg+xml": "<svg>"})
    figure.data["image/png"] = "iVBO"
    number = displayed("rate", {f"{GLUED}text/plain": "'−0.5 < 1'", "text/html": "<code>rate</code> = −0.5"})
    printed = nbformat.v4.new_output("stream", name="stdout", text="yes\n")
    code = nbformat.v4.new_code_cell("keep(fig)", outputs=[figure, printed, number])
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(PROSE), code])


def test_numbers_stand_in_the_prose_and_figures_beneath_their_cells(executed):
    before = nbformat.writes(executed)
    plain = notebooks.for_people(executed)
    said = (
        "*The numbers in the text are those of this execution; another one prints its own beneath the cells.*"
    )
    assert plain.cells[0].source == PLAIN.format(rate="−0.5 &lt; 1").rstrip("\n") + f"\n\n\n{said}"
    assert [list(output.get("data", {})) for output in plain.cells[1].outputs] == [["image/png"], []]
    assert plain.cells[1].outputs[0].metadata == {"image/png": {"width": 3}}
    assert nbformat.writes(executed) == before
    nbformat.validate(plain)


def test_before_it_is_executed_the_prose_names_its_numbers(executed):
    executed.cells[1].outputs = []
    source = notebooks.for_people(executed).cells[0].source
    assert source.startswith(PLAIN.format(rate="`rate`").rstrip("\n")) and "Numbers have names" in source


@pytest.mark.parametrize("chapter", chapters.chapters(ROOT))
def test_no_chapter_has_words_of_the_book_left(chapter):
    source = chapters.load(chapter, ROOT)
    for cell in notebooks.for_people(source).cells:
        if cell.cell_type == "markdown":
            assert "`{" not in cell.source and "{`" not in cell.source and "}`" not in cell.source, (
                cell.source
            )
            assert "```{" not in cell.source and ":::" not in cell.source, cell.source


def test_the_page_asks_nobody_for_anything(executed):
    page = notebooks.as_page(notebooks.for_people(executed), ROOT)
    assert "iVBO" in page and "−0.5 &lt; 1" in page and "keep" in page
    assert not [
        part for part in ('src="http', "import(", "<link") if part in page.split("</style>")[-1][:2000]
    ]
    assert 'src="http' not in page and "<link" not in page


def test_a_page_offers_the_plain_notebook(executed, tmp_path):
    offered = tmp_path / "_sources/part/page.ipynb"
    offered.parent.mkdir(parents=True)
    for failed, glued in [(OSError(), True), (None, False)]:
        nbformat.write(executed, offered)
        notebooks.offer_plain(SimpleNamespace(outdir=tmp_path), failed)
        assert (GLUED in offered.read_text("utf8")) == glued
