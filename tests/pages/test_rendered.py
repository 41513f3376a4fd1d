"""The rendered pages in a real browser with the network cut off: a small book, and the real one
on models that it trains itself."""

import http.server
import re
import shutil
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from conftest import ROOT, copy_small_book

from splithistory.pages import book, chapters

pytestmark = pytest.mark.slow

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A freshly built small book, under the configuration of the real one."""
    folder = tmp_path_factory.mktemp("small")
    return book.build({}, folder / "_build", root=copy_small_book(folder / "small")).parent


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real book, every chapter executed with the smallest profile from an empty store."""
    given = {"profile": "smoke", "fresh": True}
    return book.build(given, tmp_path_factory.mktemp("real") / "_build", root=ROOT).parent


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def served(html):
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


def watch(page, site: str) -> list[str]:
    """A list that fills with everything that should not happen; requests elsewhere are cut off."""
    complaints = []

    def inside_only(route):
        if route.request.url.startswith((site, "data:")):
            route.continue_()
        else:
            complaints.append(f"request to {route.request.url}")
            route.abort()

    page.route("**/*", inside_only)
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.status} for {r.url}"))
    return complaints


def check_page(browser, site: str, name: str) -> None:
    page = browser.new_page()
    complaints = watch(page, site)
    page.goto(f"{site}/{name}.html", wait_until="networkidle")
    assert complaints == [], name
    assert page.locator("mjx-merror").count() == 0, name
    assert page.locator(".output.stderr, .output.traceback").count() == 0, name
    assert all(image.get_attribute("alt") for image in page.locator("article img").all()), name
    page.evaluate("document.querySelectorAll('pre, code, .sig').forEach(e => e.remove())")
    raw = re.search(r".*(\\[a-zA-Z(\[]|\$.+\$).*", page.inner_text("article"))
    assert raw is None, f"{name}: raw TeX in {raw[0]!r}"
    page.close()


def check_links(html) -> None:
    for page in [html / "index.html", *html.glob("book/**/*.html")]:
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(html)} -> {target}"


def test_pages_are_clean_with_the_network_cut_off(small, browser):
    with served(small) as site:
        for name in ["index", "book/index", "book/part/second", "book/part/plain"]:
            check_page(browser, site, name)


def test_mathematics_figures_and_downloads(small, browser):
    with served(small) as site:
        page = browser.new_page()
        page.goto(f"{site}/book/part/second.html", wait_until="networkidle")
        assert page.locator("article mjx-container svg").count() == 1
        assert "Fig. 1.1 shows a line." in page.inner_text("article")
        assert page.locator("a[href$='.ipynb']").count() == 1
        assert page.locator(".btn-launch-thebe, .dropdown-launch-buttons").count() == 0
        page.close()


def test_links_inside_the_small_book_lead_somewhere(small):
    check_links(small)


@pytest.mark.parametrize(
    ("chapter", "given"),
    [("sequence", {"seed": 3, "n_histories": 5000}), ("optimization", {"seed": 5, "n_histories": 1000})],
)
def test_a_chapter_runs_with_parameters_of_ones_own(chapter, given, tmp_path):
    executed = chapters.execute(chapter, given, tmp_path / "own.ipynb", root=ROOT)
    assert any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells)


def test_every_chapter_runs_on_models_that_the_book_trains_itself(real):
    check_links(real)
    assert all((real / f"{page}.html").is_file() for page in chapters.pages(ROOT))


def test_the_real_pages_are_clean_with_the_network_cut_off(real, browser):
    with served(real) as site:
        for name in chapters.pages(ROOT):
            check_page(browser, site, name)
