"""Printing the book: every page in one, its links and drawings inside it, or one line that says why not."""

import sys

import pytest
from bs4 import BeautifulSoup

from splithistory.pages import printing
from splithistory.pages.chapters import BookError

FIRST = """<html><head><link rel="stylesheet" href="../_static/a.css"/></head><body><nav>menu</nav><article>
<h1 id="top">One<a class="headerlink" href="#top">#</a></h1><a href="part/two.html#end">end</a>
<a href="part/two.html">two</a> <a href="https://example.org/">out</a> <a href="#top">up</a>
<script>alert(1)</script></article></body></html>"""
SECOND = """<html><head></head><body><article>
<h1 id="top">Two</h1><p id="end"><img src="../../_images/a.png"/></p>
<svg><defs><path id="f0-m"></path></defs><use xlink:href="#f0-m"></use><g clip-path="url(#f0-p)"></g></svg>
<svg><marker id="a"></marker>
<path class="line end" marker-end="url(#a)" style="fill: url(#b); stroke: red"></path>
<filter id="b"></filter></svg>
</article></body></html>"""


@pytest.fixture
def whole(tmp_path):
    (tmp_path / "book/part").mkdir(parents=True)
    (tmp_path / "book/one.html").write_text(FIRST, "utf8")
    (tmp_path / "book/part/two.html").write_text(SECOND, "utf8")
    return BeautifulSoup(printing.joined(tmp_path, ["book/one.html", "book/part/two.html"]), "html.parser")


def test_links_lead_inside_the_joined_page_and_those_outside_stay(whole):
    links = [a["href"] for a in whole.select("a")]
    assert links == ["#book-part-two-end", "#book-part-two", "https://example.org/", "#book-one-top"]
    assert all(whole.find(id=link[1:]) for link in links if link.startswith("#"))


def test_pages_share_no_identifier_and_drawings_find_their_own(whole):
    ids = [tag["id"] for tag in whole.select("[id]")]
    assert len(set(ids)) == len(ids)
    assert whole.find("use")["xlink:href"] == "#book-part-two-f0-m"
    assert whole.select_one("[clip-path]")["clip-path"] == "url(#book-part-two-f0-p)"


def test_arrowheads_and_what_a_style_refers_to_are_found_on_the_joined_page(whole):
    arrow = whole.select_one("[marker-end]")
    assert (
        arrow["marker-end"] == "url(#book-part-two-a)" and whole.find(id="book-part-two-a").name == "marker"
    )
    assert arrow["style"] == "fill: url(#book-part-two-b); stroke: red" and arrow["class"] == ["line", "end"]


def test_files_are_found_from_the_joined_page_and_menus_and_scripts_are_left_out(whole):
    assert whole.find("link")["href"] == "_static/a.css" and whole.find("img")["src"] == "_images/a.png"
    assert not whole.body.select("nav, script, .headerlink")


def test_without_a_rendered_book_one_line_says_what_makes_it(small_book, tmp_path):
    with pytest.raises(BookError, match=r"no rendered page in .*`splithistory book` makes it"):
        printing.pdf(tmp_path / "none", root=small_book)
    assert not (tmp_path / "none").exists()


def test_without_a_browser_one_line_says_how_to_get_one(small_book, tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "BROWSER", None)
    rendered(small_book, tmp_path)
    with pytest.raises(BookError, match="apt-get install chromium"):
        printing.pdf(tmp_path, root=small_book)


def test_without_playwright_one_line_says_how_to_get_it(small_book, tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "BROWSER", "chromium")
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    rendered(small_book, tmp_path)
    with pytest.raises(BookError, match=r"^no playwright here: `pip install playwright` brings it$"):
        printing.pdf(tmp_path, root=small_book)
    assert not (tmp_path / "html" / printing.JOINED).exists()


def rendered(small_book, tmp_path):
    for page in printing.pages(small_book):
        (tmp_path / f"html/{page}.html").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"html/{page}.html").write_text(FIRST, "utf8")
