"""The rendered pages in a real browser with the network cut off: a small book, and the real one
on models that it trains itself."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from conftest import ROOT, copy_small_book
from nbconvert import HTMLExporter

from splithistory.pages import book, chapters, printing

sys.path.insert(0, str(ROOT / "benchmarks"))
import pages

pytestmark = pytest.mark.slow


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
    if pages.BROWSER is None:
        pytest.skip(pages.NO_BROWSER)
    with pages.started() as chromium:
        yield chromium


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


def check_form(browser, site: str, name: str, form: str) -> None:
    """Nothing is cut without a sign, every number at a tick can be read, axe-core objects to nothing."""
    page = pages.opened(browser, f"{site}/{name}.html", form)
    seen = pages.look(page)
    wrong = [*seen["equations"], *seen["tables"], *seen["code"], *seen["head"], *pages.violations(page)]
    wrong += [size for drawing in seen["drawings"] for size in pages.tick_sizes(*drawing) if size < 9]
    assert not wrong and not seen["wide"], f"{name}, {form}: {wrong or 'wider than the screen'}"
    page.close()


def check_links(html) -> None:
    for page in [html / "index.html", *html.glob("book/**/*.html")]:
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(html)} -> {target}"


def test_pages_are_clean_with_the_network_cut_off(small, browser):
    with pages.served(small) as site:
        for name in ["index", "book/index", "book/part/second", "book/part/plain"]:
            check_page(browser, site, name)


@pytest.mark.parametrize("form", pages.FORMS)
def test_small_pages_can_be_read_in_every_form(small, browser, form):
    with pages.served(small) as site:
        for name in ["book/index", "book/part/second", "book/part/plain"]:
            check_form(browser, site, name, form)


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        ("document.querySelectorAll('pre span').forEach(e => e.style.color = '#ddd')", "color-contrast"),
        ("document.querySelector('article p').style.color = '#ddd'", "color-contrast"),
        ("document.querySelector('figure svg').removeAttribute('aria-label')", "svg-img-alt"),
        ("document.querySelector('article p a[href]').textContent = ''", "link-name"),
    ],
)
def test_a_fault_that_is_planted_in_a_page_is_objected_to(small, browser, planted, rule):
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/part/second.html", "desk, light")
        page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        page.evaluate(planted)
        assert any(each.startswith(f"{rule}: ") for each in pages.violations(page))
        page.close()


@pytest.mark.parametrize("form", pages.FORMS)
def test_real_pages_can_be_read_in_every_form(real, browser, form):
    with pages.served(real) as site:
        for name in chapters.pages(ROOT):
            check_form(browser, site, name, form)


def test_mathematics_figures_and_downloads(small, browser):
    with pages.served(small) as site:
        page = browser.new_page()
        page.goto(f"{site}/book/part/second.html", wait_until="networkidle")
        assert page.locator("article mjx-container svg").count() == 1
        assert "Fig. 1.1 shows a line." in page.inner_text("article")
        assert page.locator("a[href$='.ipynb']").count() == 1
        assert page.locator(".btn-launch-thebe, .dropdown-launch-buttons").count() == 0
        page.close()


def test_a_downloaded_notebook_shows_its_figures_in_jupyters_own_view(real, browser, tmp_path):
    view, page = tmp_path / "view.html", browser.new_page()
    page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(("file:", "data:")) else r.abort())
    for chapter in chapters.chapters(ROOT):
        notebook = nbformat.read(real / "_sources" / f"{chapter}.ipynb", as_version=4)
        view.write_text(HTMLExporter().from_notebook_node(notebook)[0], "utf8")
        page.goto(view.as_uri())
        images = page.locator(".jp-OutputArea-output img").all()
        figures = len(re.findall(r"glue:figure} ", (ROOT / f"{chapter}.md").read_text("utf8")))
        assert len(images) == figures, chapter
        assert all(image.evaluate("i => i.complete && i.naturalWidth > 300") for image in images), chapter
        assert "glue:" not in page.inner_text("main"), chapter
    page.close()


def test_a_link_says_on_hover_and_on_focus_what_it_leads_to(small, browser):
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/part/second.html", "desk, light")
        complaints = watch(page, site)
        link, preview = page.locator("article p a.internal[href*='#']").first, page.locator(".preview")
        link.hover()
        preview.wait_for(state="visible")
        assert preview.inner_text().strip()
        page.keyboard.press("Escape")
        preview.wait_for(state="hidden")
        page.mouse.move(0, 0)
        page.keyboard.press("Tab")  # then a focus is shown as a keyboard's
        link.focus()
        preview.wait_for(state="visible")
        assert complaints == []
        page.close()


def test_the_book_is_printed_tagged_with_bookmarks_and_its_pages_stay_as_they_were(small, browser, tmp_path):
    before = {path for path in small.rglob("*") if path.is_file()}
    with ThreadPoolExecutor(1) as apart:  # a thread has one browser, and this one has its own
        printed = apart.submit(printing.pdf, small.parent, root=small.parents[1] / "small").result()
    content = printed.read_bytes()
    assert printed == small.parent / "split-history.pdf" and content.startswith(b"%PDF")
    assert b"/StructTreeRoot" in content and b"/Outlines" in content and b"/Dest" in content
    assert {path for path in small.rglob("*") if path.is_file()} == before


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


def test_the_search_finds_words_and_neither_tex_nor_code(real, browser):
    with pages.served(real) as site:
        page = browser.new_page()
        for word, found in (("Goodhart", True), ("mathrm", False), ("set_ylabel", False)):
            page.goto(f"{site}/search.html?q={word}", wait_until="networkidle")
            page.wait_for_selector(".search-summary:not(:empty)")
            assert bool(page.locator("ul.search li").count()) == found, word
        page.close()


def test_the_real_pages_are_clean_with_the_network_cut_off(real, browser):
    with pages.served(real) as site:
        for name in chapters.pages(ROOT):
            check_page(browser, site, name)
