"""The whole book as one tagged PDF: the rendered pages joined into one, printed by Chromium."""

import http.server
import posixpath
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag

from .chapters import BookError, pages, project_root

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_PLAYWRIGHT = "no playwright here: `pip install playwright` brings it"
NO_BROWSER = "no Chromium here: `apt-get install chromium` (or Google Chrome) brings one"
JOINED = "whole.html"
_NOT_PRINTED = ".headerlink, .source, script, button, .preview, .prev-next-area, details.hide"
_PAPER = {"format": "A4", "margin": {side: "18mm" for side in ("top", "bottom", "left", "right")}}


def pdf(folder: Path | None = None, *, root: Path | None = None) -> Path:
    """Print the rendered book (`html` in the folder) to `split-history.pdf` beside it, and return its path.

    folder: what a build worked in, `_build` beside the table of contents if left out. root: the folder that
    holds the book; found from the working directory if left out.

    BookError: there is no rendered book, no browser, or no playwright to print with.
    """
    root = root or project_root()
    folder = root / "_build" if folder is None else Path(folder)
    html, output = folder / "html", folder / "split-history.pdf"
    missing = [page for page in pages(root) if not (html / f"{page}.html").is_file()]
    if missing:
        raise BookError(f"{missing[0]}: no rendered page in {html}; `splithistory book` makes it")
    if BROWSER is None:
        raise BookError(NO_BROWSER)
    whole = html / JOINED
    whole.write_text(joined(html, [f"{page}.html" for page in pages(root)]), "utf8")
    try:
        with served(html) as site, started() as browser:
            page = browser.new_page(color_scheme="light")
            page.goto(f"{site}/{JOINED}", wait_until="networkidle", timeout=300_000)
            page.wait_for_function("document.documentElement.dataset.fitted", timeout=300_000)
            part = output.with_suffix(".part")
            page.pdf(path=part, tagged=True, outline=True, print_background=True, **_PAPER)
    finally:
        whole.unlink()
    part.replace(output)
    return output


def joined(html: Path, names: Sequence[str]) -> str:
    """The articles of pages, in this order, as one page, links between them inside it.

    names: paths of the pages in the folder html; the first gives the head.
    """
    soups = [BeautifulSoup((html / name).read_text("utf8"), "html.parser") for name in names]
    articles = [_article(soup, name, set(names)) for soup, name in zip(soups, names, strict=True)]
    head = soups[0].head
    assert head is not None  # every rendered page has one
    _lead(head, names[0], set())
    body = "\n".join(map(str, articles))
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light" data-content_root="./">'
        f'{head}<body class="whole"><main>{body}</main></body></html>'
    )


def _article(soup: BeautifulSoup, name: str, names: set[str]) -> Tag:
    article = soup.article
    if article is None:
        raise BookError(f"{name}: no article on this page")
    for unwanted in article.select(_NOT_PRINTED):
        unwanted.decompose()
    for folded in article.find_all("details"):
        folded["open"] = ""  # paper unfolds nothing
    _lead(article, name, names)
    for tag in article.find_all(id=True):
        tag["id"] = f"{_slug(name)}-{tag['id']}"
    for tag in article.find_all(lambda tag: "url(#" in str(tag.attrs)):  # clips, arrowheads, gradients
        tag.attrs = {key: _own(value, _slug(name)) for key, value in tag.attrs.items()}
    article["id"] = _slug(name)
    return article


def _own(value: Any, prefix: str) -> Any:
    """A value of an attribute whose drawing's parts are named as on the joined page."""
    return value.replace("url(#", f"url(#{prefix}-") if isinstance(value, str) else value


def _lead(element: Tag, name: str, names: set[str]) -> None:
    """Point the links of a page, written for its place, at the same things from the joined page."""
    for attribute in ("href", "src", "xlink:href"):
        for tag in element.find_all(lambda tag, name=attribute: tag.has_attr(name)):
            address = str(tag[attribute])
            if re.match(r"[a-z]+:", address):
                continue
            path, _, target = address.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if there in names:
                tag[attribute] = f"#{_slug(there)}" + (f"-{target}" if target else "")
            elif path:
                tag[attribute] = there


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.removesuffix(".html"))


@contextmanager
def served(html: Path) -> Iterator[str]:
    """The address of a folder of pages: over file:// browsers refuse fonts."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=html)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def started():
    """Chromium, ended afterwards. BookError: no playwright, which comes with the tools of development."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise BookError(NO_PLAYWRIGHT) from None
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()
