"""What the theme leaves undone on the rendered pages: a Sphinx extension that finishes each of them.

Names for assistive tools, boxes for what may be wider than a phone, figures whose text is text, words for
search engines, an index of words instead of TeX and code.
"""

import posixpath
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, NavigableString

from ..information import cores
from . import previews
from .figures import POINT
from .tables import without_empty_headers
from .warm import CAN_FORK

UNIT = re.compile(r"(?<=\d) (?=%|nats?\b)| (?=± ?\d)|(?<=±) (?=\d)")
MARK = re.compile(r"[.,;:!?)\]’”]+")
CITING = "book/reference/citing.html"
GLOSSARY = "book/reference/glossary.html"
NOT_INDEXED = ("literal_block", "math", "math_block", "raw")
SCREEN_SCHEME = 'matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"'


def setup(app) -> dict[str, Any]:
    """Sphinx calls this: pages are finished when all are written."""
    app.connect("config-inited", _find_scorer)
    app.connect("builder-inited", _index_words)
    app.connect("env-updated", _write_side_by_side)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _find_scorer(app, config) -> None:
    """What scores the hits of a search lies in the book, wherever that is built from."""
    if config.html_search_scorer:
        config.html_search_scorer = str(Path(app.srcdir, config.html_search_scorer))


def _write_side_by_side(app, _) -> None:
    """Pages are written by as many processes as there are cores; reading them, extensions object to."""
    app.parallel = cores() if CAN_FORK else 1


def _index_words(app) -> None:
    """The search finds words: TeX and code are left out of its index."""
    index_page = getattr(app.builder, "index_page", None)
    if index_page is None:
        return

    def index_words(name, doctree, title) -> None:
        words = doctree.deepcopy()
        for node in [n for n in words.findall() if n.tagname in NOT_INDEXED]:
            node.parent.remove(node)
        index_page(name, words, title)

    app.builder.index_page = index_words


def _finish(app, error) -> None:
    from sphinx.util.i18n import format_date

    if error is None and app.builder.format == "html":
        # as Sphinx dates pages: by SOURCE_DATE_EPOCH where it is set
        edition = f"Version {version('splithistory')}, built on {format_date('%d %B %Y', language='en')}."
        mend(
            Path(app.outdir),
            title=app.config.project,
            site=app.config.html_baseurl,
            edition=edition,
            processes=app.parallel,
        )


def mend(html: Path, *, title: str, site: str = "", edition: str = "", processes: int = 1) -> None:
    """Finish every page in a folder of rendered ones.

    title: of the book. site: the address that it is published at, for links that must be whole.
    edition: a sentence that names it, at the foot of each page. processes: that are forked for it.
    """
    from sphinx.util.parallel import ParallelTasks, SerialTasks, make_chunks

    paths = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    pages = {p.relative_to(html).as_posix(): BeautifulSoup(p.read_text("utf8"), "html.parser") for p in paths}
    (html / "_static/previews.data.js").write_text(previews.script(pages, GLOSSARY), "utf8")

    def write(some: list[str]) -> None:
        for page in some:
            citing = posixpath.relpath(CITING, posixpath.dirname(page) or ".") if CITING in pages else ""
            _foot(pages[page], citing, edition)
            (html / page).write_text(mended(pages[page], page, html, title=title, site=site), "utf8")

    tasks = ParallelTasks(processes) if processes > 1 else SerialTasks()
    for some in make_chunks(list(pages), processes):
        tasks.add_task(write, some)
    tasks.join()
    search = html / "_static/searchtools.js"
    if search.is_file():  # what it shows of a page: words, too
        text = search.read_text("utf8")
        search.write_text(text.replace('".headerlink",', '".headerlink", ".math", "pre", "summary",'), "utf8")


def mended(soup: BeautifulSoup, page: str, html: Path, *, title: str, site: str) -> str:
    """The text of one page, finished. page: its path in the folder html."""
    _head(soup, page, title, site)
    _names(soup)
    _spaces(soup)
    _marks(soup)
    _tables(soup)
    _entries(soup)
    drawings = _figures(soup, html / page)
    done = str(soup)
    for mark, drawing in drawings.items():
        done = done.replace(mark, drawing)
    return done


def _head(soup: BeautifulSoup, page: str, title: str, site: str) -> None:
    """What search engines and other sites show of a page; no script or preload that it can do without."""
    head = soup.head
    if head is None or head.title is None:
        return
    for twice in head.find_all("meta", {"name": "viewport"})[1:]:
        twice.decompose()
    # it draws what the style sheet draws already, and weighs more than all else together
    for unused in head.find_all("script", src=re.compile("fontawesome")):
        unused.decompose()
    for unused in head.find_all("link", href=re.compile(r"fa-(brands|regular)")):
        unused.decompose()
    for script in head.find_all("script", string=re.compile("dataset.theme")):
        scheme = f'localStorage.getItem("theme") || ({SCREEN_SCHEME})'
        script.string = re.sub(r'localStorage.getItem\("theme"\) \|\| "\w*"', scheme, str(script.string))
    up = "../" * page.count("/")
    about = _about(soup) or title
    said = {
        "og:type": "article",
        "og:site_name": title,
        "og:title": head.title.get_text().strip(),
        "og:description": about,
        "og:image": (site or up) + "_static/card.png",
        "og:url": site + page if site else "",
    }
    head.append(soup.new_tag("meta", attrs={"name": "description", "content": about}))
    head.append(soup.new_tag("meta", attrs={"name": "twitter:card", "content": "summary_large_image"}))
    for name, content in said.items():
        if content:
            head.append(soup.new_tag("meta", attrs={"property": name, "content": content}))
    if not head.find("link", rel="canonical"):
        head.append(soup.new_tag("link", attrs={"rel": "canonical", "href": page.rsplit("/", 1)[-1]}))
    if not head.find("link", rel=re.compile("icon")):
        icon = {"rel": "icon", "type": "image/svg+xml", "href": f"{up}_static/favicon.svg"}
        head.append(soup.new_tag("link", attrs=icon))


def _about(soup: BeautifulSoup) -> str:
    """The first sentences of a page, about 160 letters of them."""
    first = soup.select_one("article section > p")
    words = " ".join(re.sub(r"\\\(.*?\\\)", "", first.get_text()).split()) if first else ""
    return words if len(words) <= 170 else words[:160].rsplit(" ", 1)[0] + " …"


def _names(soup: BeautifulSoup) -> None:
    """Roles and names as those who hear a page need them."""
    for folded in soup.find_all("details"):
        for summary in folded.find_all("summary", recursive=False):
            del summary["aria-label"]  # it named something else than can be read there
            if (entry := folded.find_parent("li", class_="has-children")) and (link := entry.find("a")):
                summary["aria-label"] = f"Pages of {link.get_text(strip=True)}"  # shows an arrow alone
    for sidebar in soup.find_all("div", class_="bd-sidebar-primary"):
        sidebar["role"], sidebar["aria-label"] = "complementary", "The book"
    for nest in soup.find_all(role=True):
        if nest["role"] == "doc-biblioentry":
            nest["role"] = "listitem"
        elif nest["role"] == "doc-bibliography" or "citation-list" in nest.get_attribute_list("class"):
            nest["role"] = "list"
    for button in soup.find_all("button", title=True):
        if not button.has_attr("aria-label") and not button.get_text(strip=True):
            button["aria-label"] = button["title"]


def _spaces(soup: BeautifulSoup) -> None:
    """No line breaks between a number and its unit."""
    for text in soup.article.find_all(string=UNIT) if soup.article else ():
        if text.find_parent(["pre", "code", "script", "style"]) is None:
            text.replace_with(UNIT.sub("\u00a0", text))


def _marks(soup: BeautifulSoup) -> None:
    """No line breaks between a formula and the mark that follows it, which browsers allow."""
    for formula in soup.select("article span.math"):
        after = formula.next_sibling
        if isinstance(after, NavigableString) and (mark := MARK.match(after)):
            after.replace_with(str(after)[mark.end() :])
            formula.wrap(soup.new_tag("span", attrs={"class": "marked"})).append(mark[0])


def _foot(soup: BeautifulSoup, citing: str, edition: str) -> None:
    """Which edition a page is of, and how to cite it."""
    for note in soup.find_all("p", class_="copyright") if edition else ():
        line = soup.new_tag("p", attrs={"class": "edition"}, string=f"{edition} ")
        if citing:
            line.append(soup.new_tag("a", attrs={"href": citing}, string="How to cite"))
        note.insert_after(line)


def _tables(soup: BeautifulSoup) -> None:
    """Tables in boxes that scroll; a corner above names of rows is no header."""
    for table in soup.article.find_all("table") if soup.article else ():
        without_empty_headers(table)
        if table.find_parent(class_="scrolls") is None:
            table.wrap(soup.new_tag("div", attrs={"class": "scrolls"}))


def _entries(soup: BeautifulSoup) -> None:
    """Of each entry of the interface its page shows what it is; shapes, errors and members unfold."""
    for entry in soup.select("article dl.py"):
        body, name = entry.find("dd", recursive=False), entry.select_one("dt .descname")
        first = body.find("p", recursive=False) if body else None
        if entry.find_parent("dl", class_="py") or name is None or first is None:
            continue
        if rest := list(first.find_next_siblings()):
            folded = soup.new_tag("details", attrs={"class": "entry"})
            folded.append(soup.new_tag("summary", string=f"{name.get_text()} in full"))
            folded.extend(rest)
            first.insert_after(folded)


def _figures(soup: BeautifulSoup, path: Path) -> dict[str, str]:
    """SVG figures become part of their page: their words can be found and have its font. {mark: drawing}"""
    drawings = {}
    for number, image in enumerate(soup.select("article img[src$='.svg']")):
        source = (path.parent / str(image["src"])).resolve()
        figure = image.find_parent("figure")
        if figure is None or not source.is_file():
            continue
        mark = f"<!--figure {number}-->"
        drawings[mark] = drawing(source.read_text("utf8"), str(image.get("alt", "")), f"f{number}")
        box = soup.new_tag("div", attrs={"class": "scrolls drawing"})
        box.append(BeautifulSoup(mark, "html.parser"))
        link = soup.new_tag("a", attrs={"class": "source", "href": str(image["src"])}, string="SVG")
        for caption in figure.select("figcaption p:last-of-type"):
            caption.append(link)
            if cell := _cell_of(soup, str(figure.get("id", ""))):
                to_cell = {"class": "source", "href": f"#{cell}"}
                caption.append(soup.new_tag("a", attrs=to_cell, string="code"))
        image.replace_with(box)
    return drawings


def _cell_of(soup: BeautifulSoup, figure: str) -> str:
    """The identifier of the cell that keeps a figure, given to it here; "" if the page does not show it."""
    for cell in soup.select("div.cell") if figure else ():
        code = cell.select_one(".cell_input pre")
        if code and re.search(rf"""keep\([^"']*["']{re.escape(figure)}["']""", code.get_text()):
            cell["id"] = cell.get("id") or f"cell-{figure}"
            return str(cell["id"])
    return ""


LEAST_TICK = 9.2  # pixels; on a phone, figures scroll rather than show smaller numbers


def drawing(svg: str, alt: str, prefix: str) -> str:
    """A Matplotlib figure as an element of a page, with a name, as wide as its numbers can be read.

    alt: what it shows, in words. prefix: for its identifiers, which must be the only ones of the page.
    """
    body = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    body = re.sub(rf'<g id="{POINT}([^"]*)">', r"<g><title>\1</title>", body)
    body = re.sub(r'\bid="([A-Za-z]+\w*?)_\d+"', r'class="\1"', body)  # matplotlib numbers all groups alike
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", body)
    (box,) = re.findall(r'viewBox="([^"]*)"', body)[:1]
    wide = float(box.split()[2])
    least = min(tick_sizes(body), default=LEAST_TICK)
    named = BeautifulSoup("", "html.parser").new_tag("svg", attrs={
        "role": "img", "aria-label": alt, "viewBox": box,
        "style": f"width: {wide * 4 / 3:.0f}px; min-width: {LEAST_TICK / least * wide:.0f}px",
        "xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink",
    })  # fmt: skip
    return re.sub(r"<svg\b[^>]*>", lambda _: str(named).removesuffix("</svg>"), body, count=1)


def tick_sizes(svg: str) -> list[float]:
    """Sizes of the text at the ticks of a Matplotlib figure, in its own units."""
    sizes = []
    for tick in re.findall(
        r'="[xy]tick(?:_\d+)?">(.*?)(?=<g (?:id|class)="(?:[xy]tick|matplotlib|patch))', svg, re.S
    ):
        found = re.search(r"font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px|scale\(([\d.]+) -", tick)
        if found:
            sizes.append(float(found[1]) if found[1] else 100 * float(found[2]))
    return sizes
