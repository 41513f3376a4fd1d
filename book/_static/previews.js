// What a link of the text leads to, shown beside it: equations, theorems, definitions, citations, figures, claims.
// Words of symbols come from the glossary. Everything lies in previews.data.js of the book: no request elsewhere.
"use strict";
(() => {
  const ROOT = document.documentElement.dataset.content_root || "./";
  const box = document.createElement("div");
  box.className = "preview";
  box.id = "preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let loaded, timer, asked, shownFor;

  // A script, not fetch: the book also opens from a folder.
  const library = () => (loaded ??= new Promise(done => {
    const script = document.createElement("script");
    script.onload = () => done(window.splithistoryPreviews);
    script.onerror = () => done({ places: {}, symbols: {} });
    script.src = `${ROOT}_static/previews.data.js`;
    document.head.append(script);
  }));

  const home = new URL(ROOT, location.href).pathname;
  const place = link => decodeURIComponent(new URL(link.href).pathname.slice(home.length) + link.hash);
  const symbols = new WeakMap();

  async function wanted(target) {
    const { places, symbols: words } = await library();
    if (target.matches("a")) return places[place(target)];
    const symbol = symbols.get(target)?.replace(/\s+/g, "");
    return symbol && Object.hasOwn(words, symbol) ? words[symbol] : null;
  }

  async function show(target) {
    asked = target;
    const html = await wanted(target);
    if (asked !== target || shownFor === target) return;
    hide();
    if (!html) return;
    asked = shownFor = target;
    box.innerHTML = html;
    box.hidden = false;
    target.setAttribute("aria-describedby", box.id);
    await window.MathJax?.typesetPromise?.([box]);
    window.splithistoryFit?.(box);
    const at = target.getBoundingClientRect(), size = box.getBoundingClientRect();
    const over = at.top - 12, under = innerHeight - at.bottom - 12;
    const above = size.height > under && over > under, height = Math.min(size.height, above ? over : under);
    box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8)) + scrollX}px`;
    box.style.top = `${(above ? at.top - height - 6 : at.bottom + 6) + scrollY}px`;
    box.style.maxHeight = `${height}px`;
  }

  function hide() {
    clearTimeout(timer);
    asked = null;
    if (!shownFor) return;
    shownFor.removeAttribute("aria-describedby");
    shownFor = null;
    window.MathJax?.typesetClear?.([box]);
    box.hidden = true;
    box.style.left = box.style.top = "0";
    box.style.maxHeight = "";
  }

  const targetOf = event => event.target.closest?.(".bd-article a.internal[href*='#'], .bd-article mjx-container");
  const soon = (todo, wait) => (clearTimeout(timer), (timer = setTimeout(todo, wait)));

  addEventListener("load", async () => {
    document.querySelector("article")?.append(box);
    await window.MathJax?.startup?.promise;
    for (const item of window.MathJax?.startup?.document?.math ?? []) symbols.set(item.typesetRoot, item.math);
    document.addEventListener("pointerover", event => {
      if (event.pointerType === "touch") return;
      if (box.contains(event.target)) return clearTimeout(timer);
      const target = targetOf(event);
      if (target && target !== shownFor) soon(() => show(target), 250);
      else if (!target) soon(hide, 300);
    });
    document.addEventListener("focusin", event => {
      const target = targetOf(event);
      if (target?.matches(":focus-visible")) show(target);
      else if (!box.contains(event.target)) hide();
    });
    // a finger: a symbol is explained where it is touched, a link is followed
    document.addEventListener("click", event => {
      const target = targetOf(event);
      if (target?.matches("mjx-container")) show(target);
      else if (!box.contains(event.target)) hide();
    });
    document.addEventListener("keydown", event => event.key === "Escape" && hide());
  });
})();
