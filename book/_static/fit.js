// What is wider than its box: equations break at their signs, then shrink; the rest scrolls and says so.
"use strict";
(() => {
  const BOXES = ".bd-article pre, .bd-article .scrolls, .bd-article mjx-container[display=true]";
  const LEAST = 0.6; // an equation does not get smaller than this; what is wider still scrolls
  const named = box => (box.matches("pre") ? "Code" : box.querySelector("table") ? "Table" :
    box.querySelector("figure, svg, img") && !box.matches("mjx-container") ? "Figure" : "Equation");

  // Only a box that scrolls is a stop of the keyboard.
  function sign(box) {
    const over = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("more", over);
    if (over === box.hasAttribute("data-over")) return;
    if (over) {
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", `${named(box)}, scrolls sideways`);
    }
    else for (const name of ["role", "aria-label"]) box.removeAttribute(name);
    box.toggleAttribute("data-over", over);
    box.tabIndex = over ? 0 : -1;
  }

  // TeX in parts, each but the first beginning with a sign that stands in no bracket (loose: only in no brace).
  function parts(tex, loose) {
    if (loose) tex = tex.replace(/\\left(?![a-z])/g, "\\bigl").replace(/\\right(?![a-z])/g, "\\bigr");
    const found = [""];
    let depth = 0;
    for (const token of tex.split(/(\\(?:[a-zA-Z]+|.)|[{}()[\]=+]|(?<![\^_{(=]\s*)-)/)) {
      if (loose ? /^(\{|\\begin)$/.test(token) : /^(\\?[{([]|\\left|\\begin|\\lvert|\\lfloor)$/.test(token)) depth++;
      if (loose ? /^(\}|\\end)$/.test(token) : /^(\\?[})\]]|\\right|\\end|\\rvert|\\rfloor)$/.test(token)) depth--;
      const sign = /^([=+-]|\\(le|leq|ge|geq|approx|to|mapsto|Rightarrow|propto|qquad|cdot))$/.test(token);
      if (sign && depth === 0 && found.at(-1).trim()) found.push("");
      found[found.length - 1] += token;
    }
    return found;
  }

  const drawn = (tex, display) => MathJax.tex2svg(tex, { display }).querySelector("svg");
  const wide = svg => svg.getBoundingClientRect().width;

  // The rows of an aligned equation, without the marks of its columns, and what \qquad sets apart.
  function rows(tex) {
    const inside = tex.trim().match(/^\\begin\{(split|aligned|align\*?)\}(.*)\\end\{\1\}$/s);
    const found = [""], deeper = { "\\begin": 1, "{": 1, "\\end": -1, "}": -1 };
    let depth = 0;
    for (const token of (inside?.[2] ?? tex).split(/(\\begin|\\end|\\\\|\\qquad|\\[{}]|[{}&])/)) {
      depth += deeper[token] ?? 0;
      if (depth === 0 && (token === "\\\\" || token === "\\qquad")) found.push("");
      else if (depth > 0 || token !== "&" || !inside) found[found.length - 1] += token;
    }
    return inside || found.length > 1 ? found.flatMap(rows) : found;
  }

  // The same equation in lines of so many pixels, as many parts in each as it takes.
  function inLines(tex, room, put, loose) {
    const lines = [];
    for (const row of rows(tex).map(row => row.trim()).filter(Boolean)) {
      let line = /^([=+-]|\\(le|ge|approx|to)\b)/.test(row) ? "\\quad " : "";
      for (const [number, part] of parts(row, loose).entries()) {
        if (number && wide(put(drawn(line + part, true))) > room) {
          lines.push(line);
          line = "\\quad ";
        }
        line += part;
      }
      lines.push(line);
    }
    const svg = drawn(`\\begin{aligned}&${lines.join("\\\\&")}\\end{aligned}`, true);
    return svg.querySelector("[data-mml-node=merror]") ? null : svg;
  }

  const tex = new WeakMap(), whole = new WeakMap();
  function fit(box) {
    if (!whole.has(box)) whole.set(box, box.querySelector("svg"));
    const put = svg => (box.querySelector("svg").replaceWith(svg), svg);
    box.style.fontSize = "";
    put(whole.get(box));
    const room = box.hasAttribute("display") ? box.clientWidth : block(box).clientWidth;
    const source = tex.get(box);
    for (const loose of source ? [false, true] : [])
      if (wide(box.querySelector("svg")) > room) put(inLines(source, room, put, loose) ?? whole.get(box));
    const over = wide(box.querySelector("svg"));
    if (over > room) box.style.fontSize = `${Math.max(LEAST, (0.99 * room) / over) * 100}%`;
  }
  function block(box) {
    do box = box.parentElement; while (getComputedStyle(box).display.startsWith("inline"));
    return box;
  }

  // For what comes later, such as previews.
  window.splithistoryFit = root => {
    for (const item of MathJax.startup.document.getMathItemsWithin([root])) {
      tex.set(item.typesetRoot, item.math);
      if (item.typesetRoot.hasAttribute("display")) fit(item.typesetRoot);
    }
  };

  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    for (const item of window.MathJax?.startup?.document?.math ?? []) tex.set(item.typesetRoot, item.math);
    const widths = new WeakMap();
    const watch = new ResizeObserver(entries => entries.forEach(({ target }) => {
      if (widths.get(target) === target.clientWidth) return;
      widths.set(target, target.clientWidth);
      if (target.matches("mjx-container")) fit(target);
      sign(target);
    }));
    document.querySelectorAll(BOXES).forEach(box => watch.observe(box));
    const inside = ".bd-article mjx-container:not([display]):not(.scrolls *)";
    const all = () => document.querySelectorAll(inside).forEach(box => {
      const room = block(box).clientWidth;
      if (whole.has(box) || box.offsetWidth > room) fit(box);
    });
    const article = document.querySelector("article");
    let before = 0;
    if (article) new ResizeObserver(([{ target }]) => {
      if (target.clientWidth !== before) all();
      before = target.clientWidth;
    }).observe(article);
    document.documentElement.dataset.fitted = "yes";
  });
})();
