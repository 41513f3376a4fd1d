"""Finishing the rendered pages: what assistive tools, search engines and a phone need, on a small page."""

import matplotlib

matplotlib.use("Agg")
import io
import re

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from docutils import nodes
from docutils.core import publish_doctree
from pybtex.database import parse_file
from pybtex.style.labels.alpha import LabelStyle

from splithistory.pages import figures, rendering

PAGE = """<!DOCTYPE html><html><head><title>Impact</title>
<meta name="viewport" content="a"/><meta name="viewport" content="b"/>
<script src="_static/vendor/fontawesome/js/all.min.js"></script>
<script>document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";</script></head>
<body>
<ul><li class="has-children"><a href="api.html">Interface</a>
<details><summary><span role="presentation"></span></summary><ul></ul></details></li></ul>
<article><section><p>Optimization of \\(F\\) is <em>narrowing</em>. {filler}</p>
<p>It is 95 % of 2 ± 1 nats: <code>5 % 2</code></p>
<details><summary aria-label="Toggle">Show code</summary></details>
<table><thead><tr><th></th><th>Op</th></tr></thead><tbody><tr><th>18k</th><td>0.1</td></tr></tbody></table>
<div role="list"><div role="doc-biblioentry">A book</div></div>
<div class="cell"><details><div class="cell_input"><pre>x = 1</pre></div></details></div>
<div class="cell"><details><div class="cell_input">
<pre>figures.<span>keep</span>(drawn(), "fig-falls")</pre></div></details></div>
<dl class="py class"><dt id="a.World"><span class="descname">World</span></dt><dd><p>A world.</p>
<p>It goes on.</p><dl class="py method"><dt><span class="descname">step</span></dt><dd><p>Once.</p>
<p>Or more.</p></dd></dl></dd></dl>
<dl class="py function"><dt id="a.op"><span class="descname">op</span></dt><dd><p>In nats.</p></dd></dl>
<figure id="fig-falls"><img alt="A &lt; B" src="../_images/a.svg"/>
<figcaption><p>It falls.</p></figcaption></figure></section></article>
<footer><p class="copyright">2026</p></footer></body></html>"""


@pytest.fixture
def drawn():
    """A small figure of the house, as SVG."""
    with plt.rc_context():
        figures.use_house_style()
        fig, ax = plt.subplots(figsize=(7, 2))
        ax.plot([0, 1], [0, 1])
        figures.scatter_model(ax, 0.25, -0.5, n_good=4, size="53k", seed=3)
        ax.set(xlabel="success rate")
        text = io.StringIO()
        fig.savefig(text, format="svg", metadata={"Date": None})
        plt.close(fig)
        return text.getvalue()


@pytest.fixture
def page(tmp_path, drawn):
    """That page, finished and parsed, and its text."""
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images/a.svg").write_text(drawn, "utf8")
    text = PAGE.replace("{filler}", "Words follow. " * 20)
    done = rendering.mended(
        BeautifulSoup(text, "html.parser"), "book/impact.html", tmp_path, title="Split history", site=""
    )
    return BeautifulSoup(done, "html.parser")


def test_the_head_says_what_the_page_is_about_and_loads_no_icons_twice(page):
    head = page.head
    (about,) = head.select("meta[name=description]")
    assert about["content"].startswith("Optimization of is narrowing. Words") and len(about["content"]) < 170
    assert head.select_one("meta[property='og:title']")["content"] == "Impact"
    assert head.select_one("meta[property='og:image']")["content"] == "../_static/card.png"
    assert head.select_one("link[rel=icon]")["href"] == "../_static/favicon.svg"
    assert head.select_one("link[rel=canonical]")["href"] == "impact.html"
    assert len(head.select("meta[name=viewport]")) == 1 and not head.select("script[src]")


def test_links_for_other_sites_are_whole_where_the_address_is_known(tmp_path):
    done = rendering.mended(
        BeautifulSoup(PAGE, "html.parser"),
        "book/impact.html",
        tmp_path,
        title="S",
        site="https://example.org/",
    )
    said = {m["property"]: m["content"] for m in BeautifulSoup(done, "html.parser").select("meta[property]")}
    assert said["og:url"] == "https://example.org/book/impact.html"
    assert said["og:image"] == "https://example.org/_static/card.png"


def test_before_the_theme_is_chosen_the_page_is_as_dark_as_the_system(page):
    assert f'localStorage.getItem("theme") || ({rendering.SCREEN_SCHEME})' in str(page.head)


def test_a_number_and_its_unit_stay_on_one_line_but_code_stays_as_it_is(page):
    assert "95\u00a0% of 2\u00a0±\u00a01\u00a0nats" in page.text and "5 % 2" in page.select_one("code").text


def test_a_formula_and_the_mark_after_it_stay_on_one_line():
    text = r'<article>(as <span class="math">\(K\)</span>), so <span class="math">\(p\)</span> is</article>'
    soup = BeautifulSoup(text, "html.parser")
    rendering._marks(soup)
    assert [kept.get_text() for kept in soup.select(".marked")] == [r"\(K\)),"]
    assert soup.get_text() == BeautifulSoup(text, "html.parser").get_text()


def test_nothing_is_named_by_other_words_than_it_shows_and_no_header_is_empty(page):
    assert not page.select("article summary[aria-label]") and not [t for t in page.select("th") if not t.text]
    assert page.select_one("thead td") is not None and page.select_one("table").parent["class"] == ["scrolls"]
    assert page.select_one("[role=list] > [role=listitem]").text == "A book"


def test_of_an_entry_of_the_interface_only_what_follows_its_first_sentence_is_folded(page):
    (folded,) = page.select("details.entry")
    assert folded.summary.get_text() == "World in full" and not folded.has_attr("open")
    assert folded.find_previous_sibling("p").get_text() == "A world."
    assert [p.get_text() for p in folded.find_all("p")] == ["It goes on.", "Once.", "Or more."]


def test_an_arrow_that_folds_pages_says_whose_they_are(page):
    assert page.select_one("li.has-children summary")["aria-label"] == "Pages of Interface"


def test_a_figure_leads_to_its_drawing_and_to_the_cell_that_made_it(page):
    drawing, code = page.select("figcaption a.source")
    assert (drawing.text, drawing["href"]) == ("SVG", "../_images/a.svg")
    assert (code.text, code["href"]) == ("code", "#cell-fig-falls")
    assert "fig-falls" in page.select_one("#cell-fig-falls").text


def test_a_figure_stands_in_the_page_with_its_words_and_its_name(page):
    svg = page.select_one("figure svg")
    assert svg.title.text == "53k, seed 3: 0.250, −0.500" and page.select_one("a.source")["href"].endswith(
        "svg"
    )
    assert svg["aria-label"] == "A < B" and svg["role"] == "img" and not page.select("figure img")
    assert "success rate" in svg.get_text() and not svg.select("metadata, style")
    wide = float(svg["viewbox"].split()[2])
    shown = float(svg["style"].rsplit("min-width: ")[1].removesuffix("px"))
    sizes = rendering.tick_sizes(str(svg))
    assert len(sizes) >= 9 and min(sizes) * shown / wide >= 9


def test_two_figures_of_a_page_share_no_identifier(drawn):
    found = [BeautifulSoup(rendering.drawing(drawn, "x", prefix), "html.parser") for prefix in ("f0", "f1")]
    ids = [{tag["id"] for tag in soup.select("[id]")} for soup in found]
    assert ids[0] and not ids[0] & ids[1]
    for soup, own in zip(found, ids, strict=True):
        assert {use["xlink:href"].removeprefix("#") for use in soup.select("use")} <= own


def test_a_whole_book_is_finished_with_what_its_links_lead_to(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static/searchtools.js").write_text('of [".headerlink", "script"]')
    for page in ("index.html", rendering.CITING):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(PAGE, "utf8")
    rendering.mend(tmp_path, title="Split history", edition="Version 1.")
    foot = BeautifulSoup((tmp_path / "index.html").read_text("utf8"), "html.parser").footer
    assert "Version 1. How to cite" in foot.text and foot.a["href"] == rendering.CITING
    assert "og:title" in (tmp_path / "index.html").read_text("utf8")
    assert "splithistoryPreviews" in (tmp_path / "_static/previews.data.js").read_text("utf8")
    assert '".math", "pre"' in (tmp_path / "_static/searchtools.js").read_text()


def test_the_index_has_words_and_neither_tex_nor_code():
    indexed = []

    class Builder:
        def index_page(self, name, doctree, title):
            indexed.append(doctree.astext())

    class App:
        builder = Builder()

    rendering._index_words(App)
    doctree = publish_doctree("Goodhart and :math:`\\alpha`\n\n::\n\n    import numpy\n\n.. math:: \\beta\n")
    App.builder.index_page("a", doctree, "A")
    assert "Goodhart" in indexed[0] and not any(word in indexed[0] for word in ("alpha", "numpy", "beta"))
    assert list(doctree.findall(nodes.literal_block)), "the page itself keeps its code"


def test_primes_in_text_are_of_another_font_for_that_of_figures_has_them_on_the_baseline():
    style = (ROOT / "book/_static/splithistory.css").read_text("utf8")
    (family,) = re.findall(r'--pst-font-family-base: "([^"]*)"', style)
    faces = [face for face in re.findall(r"@font-face \{(.*?)\}", style, re.S) if family in face]
    assert len(faces) == 3 and all("unicode-range: U+0-2031, U+2033-10FFFF;" in face for face in faces)


def test_the_labels_of_the_literature_have_no_letters_of_tex_accents():
    entries = parse_file(ROOT / "book/references.bib").entries.values()
    labels = list(LabelStyle().format_labels(list(entries)))
    form = re.compile(r"(([A-Z]|[a-z](?=[A-Z]))+\+?|[A-Z][a-z]{2})\d\d")
    assert [label for label in labels if not form.fullmatch(label)] == [] and "RS23" in labels
