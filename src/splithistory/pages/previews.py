"""What a link or a symbol of the book leads to, as pieces of HTML that a script shows beside it."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping

from bs4 import BeautifulSoup, Tag

LONGEST = 2500  # letters of HTML; longer pieces are left to those who follow the link


def script(pages: Mapping[str, BeautifulSoup], glossary: str) -> str:
    """JavaScript that defines `splithistoryPreviews`: {places: {page#target: HTML}, symbols: {TeX: HTML}}.

    pages: {path in the book: page}. glossary: the path of the page whose tables and lists define symbols, if
    there is one.
    """
    linked = {target for path, page in pages.items() for target in _targets(page, path)}
    places = {}
    for path, page in pages.items():
        named = {str(element["id"]): element for element in reversed(page.find_all(id=True))}
        for target in sorted(link for link in linked if link.startswith(f"{path}#")):
            found = named.get(target.partition("#")[2])
            piece = _piece(found) if found is not None else ""
            if 0 < len(piece) <= LONGEST:
                places[target] = piece
    known = {"places": places, "symbols": _symbols(pages[glossary]) if glossary in pages else {}}
    return f"window.splithistoryPreviews = {json.dumps(known, ensure_ascii=False, sort_keys=True)};\n"


def _targets(page: BeautifulSoup, path: str) -> Iterator[str]:
    for link in page.article.find_all("a", class_="internal", href=re.compile("#")) if page.article else ():
        where, _, name = str(link["href"]).partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), where)) if where else path
        yield f"{there}#{name}"


def _piece(element: Tag) -> str:
    """What is shown of a target: a statement whole, of a figure its caption, of a section its beginning."""
    kinds = set(element.get("class") or ())
    if element.name == "figure":
        shown = [element.figcaption]
    elif element.name == "section":
        shown = [element.find(re.compile("h[1-6]")), element.find("p", recursive=False)]
    elif element.name == "dt":
        shown = [element, element.find_next_sibling("dd")]
    elif kinds & {"math", "proof", "citation"} or element.name in ("p", "li", "tr"):
        shown = [element]
    else:
        shown = []
    return "".join(_plain(part) for part in shown if isinstance(part, Tag))


def _plain(element: Tag) -> str:
    """HTML of an element that stands anywhere: no identifier, no link, no link to itself."""
    (copy,) = BeautifulSoup(str(element), "html.parser").contents[:1]
    assert isinstance(copy, Tag)
    for link in copy.select(".headerlink, .backrefs, .label"):
        link.decompose()
    for link in copy.select("a"):
        link.unwrap()
    for tag in [copy, *copy.find_all(True)]:
        for name in ("id", "role", "href", "aria-level"):
            tag.attrs.pop(name, None)
    if copy.name in ("tr", "dt", "dd", "li", "h1", "h2", "h3", "h4", "figcaption"):
        copy.name = "div"
    return str(copy)


def _symbols(glossary: BeautifulSoup) -> dict[str, str]:
    """{TeX without spaces: HTML} of what a glossary's tables (symbol, name, meaning) and lists define."""
    entries = [(row.td, _row(row)) for row in glossary.select("article table tbody tr") if row.td]
    entries += [(term, _piece(term)) for term in glossary.select("article dl dt")]
    symbols: dict[str, str] = {}
    for cell, piece in entries:
        for tex in re.findall(r"\\\((.*?)\\\)", cell.get_text(), re.S):
            name = re.split(r"=|\\ge\b", re.sub(r"\s+", "", tex))[0]
            bare = re.sub(r"\([^()]*\)$", "", name) if not name.startswith("\\mathrm") else name
            for key in (name, bare):
                symbols.setdefault(key, piece)
    return symbols


def _row(row: Tag) -> str:
    cells = [_plain(cell).removeprefix("<td>").removesuffix("</td>") for cell in row.find_all("td")]
    return "<div>{} <b>{}</b>: {}</div>".format(*cells) if len(cells) == 3 else ""
