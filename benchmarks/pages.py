"""How the rendered book looks and behaves in a real browser with the network cut off, as a table.

    python benchmarks/pages.py [folder of the pages, _build/html if left out]

The tests of the rendered pages hold what this measures.
"""

import argparse
import re
import time
from importlib.resources import files
from pathlib import Path
from statistics import median
from urllib.parse import urlparse

from tqdm import tqdm

from splithistory.pages import rendering
from splithistory.pages.printing import BROWSER, NO_BROWSER, served, started

FORMS = {
    "desk, light": ("light", 1280, 900),
    "desk, dark": ("dark", 1280, 900),
    "phone, light": ("light", 390, 844),
    "phone, dark": ("dark", 390, 844),
}
CORE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf8")
LOOK = Path(__file__).with_suffix(".js").read_text("utf8")
# axe is many times as fast without what teaches it nothing: what is drawn inside a picture (it has its words
# beside it, and axe cannot tell colours there), and words of code that look as others did: their text stays.
# Of its rules only COLOURS see another scheme than the rest did.
COLOURS = ["color-contrast", "link-in-text-block"]
AXE = """async rules => {
    document.querySelectorAll("svg:is([aria-hidden=true], [role=img]) > :not(title, desc)")
        .forEach(e => e.remove());
    const seen = {}, styles = ["color", "backgroundColor", "fontSize", "fontWeight", "opacity"];
    const kind = e => [e.className, e.getAttribute("style"), ...[e, e.closest("pre, .sig")].flatMap(
        of => styles.map(name => getComputedStyle(of)[name]))].join();
    const stay = new Set(), again = e => {
        const few = stay.has(e) || (seen[kind(e)] = (seen[kind(e)] || 0) + 1) <= 3;
        if (few) stay.add(e);
        return !few;
    };
    for (let depth = 0; depth < 5; depth++)
        [...document.querySelectorAll(":is(pre, .sig) :is(span, em):not([id], :has(*))")].filter(again)
            .forEach(e => e.replaceWith(...e.childNodes));
    const only = rules ? {runOnly: {type: "rule", values: rules}} : {};
    return (await axe.run(document, {resultTypes: ["violations"], ...only}))
    .violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target.join(" ")}`));
}"""


def opened(browser, address: str, form: str, complaints: list[str] | None = None):
    """A page in one of FORMS, at rest: mathematics set, everything loaded, nothing from elsewhere.

    complaints: gets a line for everything that should not happen while the page is open.
    """
    scheme, width, height = FORMS[form]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    watch(page, urlparse(address).netloc, [] if complaints is None else complaints)
    page.goto(address, wait_until="load")
    page.wait_for_function("document.documentElement.dataset.fitted")  # mathematics is set
    page.evaluate("document.fonts.ready")
    _at_rest(page)
    return page


def watch(page, host: str, complaints: list[str]) -> None:
    """Cut off requests to other hosts, and note them, errors and warnings in a list."""

    def inside_only(route):
        if urlparse(route.request.url).netloc in (host, ""):
            route.continue_()
        else:
            complaints.append(f"request to {route.request.url}")
            route.abort()

    page.route("**/*", inside_only)
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.status} for {r.url}"))


def turn(page, scheme: str) -> None:
    """Show an open page in the other colours, as when the reader's system turns "light" or "dark"."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
    _at_rest(page)


def _at_rest(page) -> None:
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")  # equations fit


def violations(page, rules: list[str] | None = None) -> list[str]:
    """What axe-core objects to on an open page, a line a node; by some of its rules, or by all."""
    if page.evaluate("typeof axe") != "object":
        page.evaluate(CORE)
    return page.evaluate(AXE, rules)


def look(page) -> dict:
    """What pages.js sees on an open page."""
    return page.evaluate(LOOK)


def tick_sizes(drawing: str, width: float) -> list[float]:
    """Heights in pixels of the numbers at the ticks of a Matplotlib figure that is shown so wide."""
    scale = width / float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
    return [scale * size for size in rendering.tick_sizes(drawing)]


def weigh(browser, address: str) -> tuple[float, float]:
    """(megabytes that a page loads beside MathJax, seconds until it has loaded) over loopback."""
    page, sizes = browser.new_page(), []

    def count(response):
        if "mathjax" not in response.url:
            sizes.append(len(response.body()))

    page.on("response", count)
    start = time.perf_counter()
    page.goto(address, wait_until="load")
    seconds = time.perf_counter() - start
    page.wait_for_load_state("networkidle")
    page.close()
    return sum(sizes) / 1e6, seconds


def measure(html: Path, forms=FORMS, axe: bool = True) -> list[dict]:
    """A row for each page in each form."""
    rows = []
    names = sorted(str(p.relative_to(html).with_suffix("")) for p in html.glob("book/**/*.html"))
    with served(html) as site, started() as browser:
        for name in tqdm(names, disable=None):
            megabytes, seconds = weigh(browser, f"{site}/{name}.html")
            for form in forms:
                page = opened(browser, f"{site}/{name}.html", form)
                row = look(page) | {"page": name, "form": form, "megabytes": megabytes, "seconds": seconds}
                row["ticks"] = [size for shown in row.pop("drawings") for size in tick_sizes(*shown)]
                row["axe"] = violations(page) if axe else []
                rows.append(row)
                page.close()
    return rows


def report(rows: list[dict], details: bool) -> None:
    """The table, and with details each thing that was found."""
    forms = list(dict.fromkeys(row["form"] for row in rows))
    lines = {
        "display equations cut": lambda of: sum(len(r["equations"]) for r in of),
        "tables cut without a sign": lambda of: sum(len(r["tables"]) for r in of),
        "code cut without a sign": lambda of: sum(len(r["code"]) for r in of),
        "pages wider than the screen": lambda of: sum(r["wide"] for r in of),
        "axe violations": lambda of: sum(len(r["axe"]) for r in of),
        "least tick text, px": lambda of: round(min((t for r in of for t in r["ticks"]), default=0), 1),
        "median tick text, px": lambda of: round(median([t for r in of for t in r["ticks"]] or [0]), 1),
        "longest page, screens": lambda of: round(max(r["screens"] for r in of), 1),
        "greatest share of code": lambda of: f"{max(r['code_share'] for r in of):.0%}",
        "furthest first figure, px": lambda of: round(max(r["first_figure"] or 0 for r in of)),
        "head lacks": lambda of: sum(len(r["head"]) for r in of),
        "median weight, MB": lambda of: round(median(r["megabytes"] for r in of), 2),
        "median load, s": lambda of: round(median(r["seconds"] for r in of), 2),
    }
    print(f"{'':30}" + "".join(f"{form:>15}" for form in forms))
    for line, value in lines.items():
        print(f"{line:30}" + "".join(f"{value([r for r in rows if r['form'] == f])!s:>15}" for f in forms))
    for row in rows if details else ():
        for kind in ("equations", "tables", "code", "head", "axe"):
            for what in row[kind]:
                print(f"{row['page']}, {row['form']}: {kind}: {what}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The rendered book in a real browser, as a table.")
    parser.add_argument("html", nargs="?", default="_build/html", type=Path, help="folder of the pages")
    parser.add_argument("--form", action="append", choices=FORMS, help="only this form (can be repeated)")
    parser.add_argument("--no-axe", action="store_true", help="leave axe-core out")
    parser.add_argument("--details", action="store_true", help="name each thing that was found")
    given = parser.parse_args()
    if BROWSER is None:
        parser.exit(2, NO_BROWSER + "\n")
    report(measure(given.html, given.form or FORMS, not given.no_axe), given.details)
