// A link to an entry of the interface shows it in full; paper shows all that is folded, and is light.
"use strict";
(() => {
  const { dataset } = document.documentElement;
  let before;
  function unfold() {
    const target = document.getElementById(location.hash.slice(1));
    const own = target?.matches("dt") && target.parentElement.querySelector(":scope > dd > details.entry");
    const folded = own || target?.closest("details.entry");
    if (!folded || folded.open) return;
    folded.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll(".bd-article details:not(.hide)")) folded.open = true;
    before ??= dataset.theme;
    dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    dataset.theme = before;
    before = null;
  });
  unfold();
})();
