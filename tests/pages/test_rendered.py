"""The rendered pages in a real browser with the network cut off: a small book, and the real one."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse

import nbformat
import pytest
from conftest import ROOT, check_links, copy_small_book
from nbconvert import HTMLExporter

from splithistory.pages import book, chapters, printing

sys.path.insert(0, str(ROOT / "benchmarks"))
import pages

pytestmark = pytest.mark.slow

WIDTHS = ("desk", "phone")  # of pages.FORMS


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A freshly built small book, under the configuration of the real one."""
    folder = tmp_path_factory.mktemp("small")
    return book.build({}, folder / "_build", root=copy_small_book(folder / "small")).parent


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The book as published: the one that `make book` left, if nothing that it is made of is newer."""
    begun, pages = ROOT / "_build/stage/_config.yml", ROOT / "_build/html"
    folders = (ROOT / name for name in ("book", "results", "src/splithistory"))
    made_of = [ROOT / "_config.yml", ROOT / "_toc.yml", *(p for folder in folders for p in folder.rglob("*"))]
    newest = max(p.stat().st_mtime for p in made_of if p.is_file() and "__pycache__" not in p.parts)
    if (pages / "index.html").is_file() and begun.is_file():
        # of a build that failed the stage is newer than the pages, which are of an earlier one
        if newest < begun.stat().st_mtime < (pages / "index.html").stat().st_mtime:
            return pages
    return book.build({}, tmp_path_factory.mktemp("real") / "_build", root=ROOT).parent


@pytest.fixture(scope="module")
def browser():
    if pages.BROWSER is None:
        pytest.skip(pages.NO_BROWSER)
    with pages.started() as chromium:
        yield chromium


def check_page(page, name: str) -> None:
    assert page.locator("mjx-merror").count() == 0, name
    assert page.locator(".output.stderr, .output.traceback").count() == 0, name
    assert all(image.get_attribute("alt") for image in page.locator("article img").all()), name
    text = page.evaluate("""() => {
        const copy = document.querySelector("article").cloneNode(true);
        copy.querySelectorAll("pre, code, .sig, script, style").forEach(e => e.remove());
        return copy.textContent;
    }""")
    raw = re.search(r"\\[a-zA-Z(\[].{0,40}|\$[^$]*\$", text)
    assert raw is None, f"{name}: raw TeX in {raw[0]!r}"


def check_look(page, name: str) -> dict:
    """Nothing is cut without a sign, and every number at a tick can be read; what was seen."""
    seen = pages.look(page)
    wrong = [*seen["equations"], *seen["tables"], *seen["code"], *seen["head"]]
    wrong += [size for drawing in seen["drawings"] for size in pages.tick_sizes(*drawing) if size < 9]
    assert not wrong and not seen["wide"], f"{name}: {wrong or 'wider than the screen'}"
    return seen


def check_length(seen: dict, name: str, width: str) -> None:
    """No page is longer than 20 screens of a phone, and little of it is code."""
    assert seen["screens"] <= 20 or width != "phone", f"{name}: {seen['screens']:.1f} screens long"
    checks = any(part in name for part in ("derivations", "errata", "related"))
    most = 0.3 if checks else 0.15  # where code is the check, it is shown
    assert seen["code_share"] <= most, f"{name}, {width}: {seen['code_share']:.0%} of the page is code"


def check_forms(browser, site: str, name: str, width: str) -> dict:
    """A page is clean with the network cut off, light and dark, and axe-core objects to nothing; its look."""
    complaints: list[str] = []
    page = pages.opened(browser, f"{site}/{name}.html", f"{width}, dark", complaints)
    check_page(page, f"{name}, {width}")
    check_look(page, f"{name}, {width}, dark")
    pages.turn(page, "light")
    seen = check_look(page, f"{name}, {width}, light")
    page.wait_for_load_state("networkidle")  # what is late is asked for by now
    assert not complaints, f"{name}, {width}: {complaints}"  # axe itself asks for style sheets that are not
    page.evaluate("document.querySelectorAll('details.entry').forEach(e => e.open = true)")
    wrong = pages.violations(page)
    pages.turn(page, "dark")
    wrong += pages.violations(page, pages.COLOURS)
    assert not wrong, f"{name}, {width}: {wrong}"
    page.close()
    return seen


def test_an_index_that_leads_elsewhere_is_clean_with_the_network_cut_off(small, browser):
    complaints: list[str] = []
    with pages.served(small) as site:
        page = browser.new_page()
        pages.watch(page, urlparse(site).netloc, complaints)
        page.goto(f"{site}/index.html", wait_until="networkidle")
        assert complaints == [] and "/book/index.html" in page.url
        page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_small_pages_are_clean_and_can_be_read_in_every_form(small, browser, width):
    with pages.served(small) as site:
        for name in ["book/index", "book/part/second", "book/part/plain"]:
            check_forms(browser, site, name, width)


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


def test_a_colour_that_fails_in_the_dark_alone_is_objected_to_after_the_page_was_turned(small, browser):
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/part/second.html", "desk, light")
        page.evaluate("document.querySelector('article p').style.color = '#333'")
        assert pages.violations(page) == []
        pages.turn(page, "dark")
        assert [line.split(":")[0] for line in pages.violations(page, pages.COLOURS)] == ["color-contrast"]
        page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_real_pages_are_clean_and_can_be_read_in_every_form(real, browser, width):
    with pages.served(real) as site:
        for name in chapters.pages(ROOT):
            check_length(check_forms(browser, site, name, width), name, width)


def test_a_link_to_an_entry_of_the_interface_or_to_a_member_of_it_shows_it_in_full(real, browser):
    with pages.served(real) as site:
        for entry in (
            "splithistory.measure.split_history",
            "splithistory.measure.Futures.decomposition",
        ):
            page = pages.opened(browser, f"{site}/book/reference/api/measures.html#{entry}", "phone, light")
            assert page.locator("details.entry[open]").count() == 1
            top = page.locator(f"dt[id='{entry}']").evaluate("e => e.getBoundingClientRect().top")
            assert 0 <= top < 422, f"{entry} stands {top} pixels down"
            page.close()


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
        complaints: list[str] = []
        pages.watch(page, urlparse(site).netloc, complaints)
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


def explained(browser, site: str, words: str):
    """The plain page on a phone, with these words as the meaning of its symbol p, and the formula p."""
    page = pages.opened(browser, f"{site}/book/part/plain.html", "phone, light")
    known = f"window.splithistoryPreviews = {{places: {{}}, symbols: {{p: `{words}`}}}}"
    page.route("**/previews.data.js", lambda route: route.fulfill(body=known, content_type="text/javascript"))
    page.keyboard.press("Tab")  # then a focus is shown as a keyboard's
    return page, page.locator("article mjx-container").first


def test_a_formula_says_on_focus_what_it_means_until_escape_or_a_formula_that_means_nothing_known(
    small, browser
):
    with pages.served(small) as site:
        page, formula = explained(browser, site, "a share")
        preview = page.locator(".preview")
        for leave in (
            lambda: page.keyboard.press("Escape"),
            lambda: page.locator("article mjx-container").nth(1).focus(),
        ):
            page.locator("article a.internal").first.focus()
            formula.focus()
            preview.wait_for(state="visible")
            assert preview.inner_text() == "a share"
            leave()
            preview.wait_for(state="hidden")
        page.close()


@pytest.mark.parametrize("down", [0, 300, 500])
def test_a_preview_longer_than_the_room_at_its_formula_stays_on_a_phones_screen_and_off_the_formula(
    small, browser, down
):
    with pages.served(small) as site:
        page, formula = explained(browser, site, "<p>a share</p>" * 40)
        page.locator("article").evaluate("(e, down) => e.style.paddingTop = `${down}px`", down)
        formula.focus()
        page.wait_for_function("document.querySelector('.preview').style.maxHeight")
        box, at = page.locator(".preview").bounding_box(), formula.bounding_box()
        assert 0 <= box["y"] and box["y"] + box["height"] <= 844 and 0 <= box["x"]
        assert box["y"] >= at["y"] + at["height"] or box["y"] + box["height"] <= at["y"]
        page.close()


def test_paper_is_light_when_the_screen_is_dark_and_the_screen_is_dark_again_afterwards(small, browser):
    seen = """() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector("article mjx-container")).color]"""
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/index.html", "desk, light")
        light = page.evaluate(seen)
        pages.turn(page, "dark")
        dark = page.evaluate(seen)
        page.evaluate(f"addEventListener('beforeprint', () => window.printed = ({seen})())")
        page.pdf()
        assert page.evaluate("printed") == light and page.evaluate(seen) == dark != light
        page.close()


def test_what_is_searched_for_begins_beside_the_magnifier(small, browser):
    starts = """form => [form.querySelector("i").getBoundingClientRect().right,
        form.querySelector("input").getBoundingClientRect().left +
        parseFloat(getComputedStyle(form.querySelector("input")).paddingLeft)]"""
    with pages.served(small) as site:
        for width in WIDTHS:
            page = pages.opened(browser, f"{site}/search.html", f"{width}, light")
            page.keyboard.press("Control+k")
            forms = [form.evaluate(starts) for form in page.locator("form.bd-search:visible").all()]
            assert forms and all(icon < text for icon, text in forms), width
            page.close()


def test_the_search_has_the_glossary_before_pages_that_use_a_word_and_the_interface_after_them(
    small, browser
):
    found = """() => ["api/measures", "glossary", "running"]
        .map(page => [Scorer.score([`book/reference/${page}`, "", "", "", Scorer.term, ""]), page])
        .sort((a, b) => b[0] - a[0]).map(([, page]) => page)"""
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/search.html", "desk, light")
        assert page.evaluate(found) == ["glossary", "running", "api/measures"]
        page.close()


def test_a_mark_never_begins_a_line_after_a_formula(small, browser):
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/part/plain.html", "phone, light")
        together = page.evaluate("""() => {
            const box = document.querySelector("article").appendChild(document.createElement("p"));
            const formula = document.querySelector("article mjx-container").outerHTML;
            box.innerHTML = `word <span class="marked">${formula}<i>,</i></span>`;
            return [...Array(200).keys()].map(width => {
                box.style.width = `${width}px`;
                const [a, b] = ["mjx-container", "i"].map(e => box.querySelector(e).getBoundingClientRect());
                return b.left >= a.left;
            });
        }""")
        assert all(together)
        page.close()


def test_bars_of_the_machine_are_printed_though_backgrounds_are_not(small, browser):
    with pages.served(small) as site:
        page = pages.opened(browser, f"{site}/book/part/plain.html", "desk, light")
        page.emulate_media(media="print")
        page.evaluate("document.querySelector('article').innerHTML = '<p class=split-history><b>bar</b></p>'")
        kept = "getComputedStyle(document.querySelector('article b'), '::before').printColorAdjust"
        assert page.evaluate(kept) == "exact"
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


def test_links_inside_the_real_book_lead_somewhere(real):
    check_links(real)


def test_the_search_finds_words_and_neither_tex_nor_code(real, browser):
    with pages.served(real) as site:
        page = browser.new_page()
        for word, found in (("Goodhart", True), ("mathrm", False), ("set_ylabel", False)):
            page.goto(f"{site}/search.html?q={word}", wait_until="networkidle")
            page.wait_for_selector(".search-summary:not(:empty)")
            assert bool(page.locator("ul.search li").count()) == found, word
        page.close()
