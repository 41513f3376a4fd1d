// What a reader would stumble over on the page that stands open: one object of lists and numbers.
() => {
  const article = document.querySelector("article") || document.body;
  const shown = e => e.checkVisibility({ checkVisibilityCSS: true });
  const name = e => (e.id || e.textContent).trim().replace(/\s+/g, " ").slice(0, 60);
  // the box that an element scrolls in, or is cut by
  const box = e => { while (e !== article && getComputedStyle(e).overflowX === "visible") e = e.parentElement; return e; };
  const over = e => e.scrollWidth > e.clientWidth + 1;
  // a sign: it can be reached by keyboard, says its name, and shows that there is more
  const sign = e => e.tabIndex === 0 && e.hasAttribute("aria-label") && e.classList.contains("more");
  const all = query => [...article.querySelectorAll(query)].filter(shown);

  const equations = all("mjx-container").filter(e => {
    if (!e.hasAttribute("display") && e.closest(".more")) return false; // in a table that scrolls
    const svg = e.querySelector("svg").getBoundingClientRect(), around = box(e).getBoundingClientRect();
    return svg.right > around.right + 1 || svg.left < around.left - 1;
  });
  const tables = all("table").filter(e => over(box(e)) && !sign(box(e)));
  const code = all("pre").filter(e => over(box(e)) && !sign(box(e)));
  const visible = all("div.cell_input pre").reduce((sum, e) => sum + e.getBoundingClientRect().height, 0);
  const figure = all("figure, .machine, .explorer")[0];
  const head = ["meta[name=description]", "meta[property='og:title']", "meta[property='og:image']",
    "link[rel=icon]", "link[rel=canonical]"].filter(query => !document.head.querySelector(query));
  return {
    equations: equations.map(name), tables: tables.map(name), code: code.map(name), head,
    wide: over(document.documentElement),
    code_share: visible / article.getBoundingClientRect().height,
    first_figure: figure ? figure.getBoundingClientRect().top + scrollY : null,
    screens: document.documentElement.scrollHeight / innerHeight,
    drawings: all("figure svg:not(mjx-container svg)").map(e => [e.outerHTML, e.getBoundingClientRect().width]),
  };
}
