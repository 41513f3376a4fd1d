"""What a link or a symbol leads to: the statement, the caption, the definition, without links of its own."""

import json

import pytest
from bs4 import BeautifulSoup

from splithistory.pages import previews

CHAPTER = r"""<article>
<a class="internal" href="#eq">(1)</a> <a class="internal" href="../ref/words.html#term">goal</a>
<a class="internal" href="#fig">Fig. 1</a> <a class="internal" href="#long">long</a>
<a class="internal" href="#gone">gone</a> <a class="internal" href="#part">there</a>
<div class="math" id="eq">\[a = b\]<a class="headerlink" href="#eq">#</a></div>
<div class="math" id="unlinked">\[c\]</div>
<figure id="fig"><svg></svg><figcaption><p id="x">It <a href="y">falls</a>.</p></figcaption></figure>
<p id="long">FILLER</p>
<section id="part"><h2>Part</h2><p>First.</p><p>Second.</p></section></article>"""
GLOSSARY = r"""<article><dl><dt id="term">\(D_a(f) = \sum\)</dt><dd><p>Outcomes.</p></dd></dl>
<table><tbody><tr><td>\(h\)</td><td>history</td><td>what is seen</td></tr></tbody></table></article>"""


@pytest.fixture
def found():
    pages = {
        "a/b.html": CHAPTER.replace("FILLER", "x" * previews.LONGEST),
        "ref/words.html": GLOSSARY,
    }
    soups = {path: BeautifulSoup(text, "html.parser") for path, text in pages.items()}
    text = previews.script(soups, "ref/words.html")
    return json.loads(text.removeprefix("window.splithistoryPreviews = ").removesuffix(";\n"))


def test_only_what_is_linked_and_short_is_kept(found):
    assert set(found["places"]) == {"a/b.html#eq", "a/b.html#fig", "a/b.html#part", "ref/words.html#term"}


def test_pieces_have_no_identifier_and_no_link(found):
    assert found["places"]["a/b.html#eq"] == r'<div class="math">\[a = b\]</div>'
    assert found["places"]["a/b.html#fig"] == "<div><p>It falls.</p></div>"


def test_a_section_is_shown_by_its_beginning_and_a_term_with_its_definition(found):
    assert found["places"]["a/b.html#part"] == "<div>Part</div><p>First.</p>"
    assert (
        found["places"]["ref/words.html#term"] == r"<div>\(D_a(f) = \sum\)</div><div><p>Outcomes.</p></div>"
    )


def test_symbols_are_found_by_their_name_with_and_without_arguments(found):
    symbols = found["symbols"]
    assert symbols["D_a(f)"] == symbols["D_a"] and "Outcomes" in symbols["D_a"]
    assert symbols["h"] == r"<div>\(h\) <b>history</b>: what is seen</div>"


def test_a_book_without_a_glossary_has_no_symbols():
    assert '"symbols": {}' in previews.script({}, "none.html")
