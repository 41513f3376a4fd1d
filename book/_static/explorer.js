// The explorer: two futures to be shaped, or loaded from the study, and all that the book makes of them.
// The state is {name, goal, outcome, others, weights}; the address of the page holds it after the #.
(function () {
  "use strict";

  const lib = window.splithistory;
  const ADDRESS = document.currentScript.src.replace(/explorer\.js.*$/, "explorer/cases.js");
  const K = 8;
  const FIRST = "the-posts-pictures-prefers-some-successes";
  const RULES = {
    op: "share of Op",
    imp: "share of Imp",
    both: "both shares",
    success: "success rate",
    ratio: "rarest good outcome",
  };
  const CUT_NAMES = {
    Op: "most implied Op",
    Imp: "most implied Imp",
  };
  const GOALS = lib.everyGoal(K);

  // --- what can be loaded, and what an address holds ----------------------------------------------------------

  const slug = (one) =>
    `${one.group} ${one.name}`
      .toLowerCase()
      .replace(/['’]/g, "")
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/-$/, "");

  /** A case as a state: its futures whole. */
  function stateOf(one, data) {
    return {
      slug: slug(one),
      goal: [...one.goal],
      outcome: one.outcome,
      weights: one.weights,
      others: data.others[one.others],
    };
  }

  /** Probabilities in an address: in 100,000ths, made to sum to one again when they are read. */
  const written = (probs) => probs.map((p) => Math.round(1e5 * p)).join("-");

  function readProbs(text) {
    const numbers = text.split("-").map(Number);
    const total = lib.sum(numbers);
    const good = numbers.length === K && numbers.every((n) => n >= 0 && Number.isFinite(n)) && total > 0;
    return good ? numbers.map((n) => n / total) : null;
  }

  function toHash(state) {
    const parts = [`load--${state.slug}`, `goal--${state.goal.join("")}`];
    if (state.moved?.outcome) parts.push(`f--${written(state.outcome)}`);
    if (state.moved?.reference) parts.push(`r--${written(state.others[0])}`);
    return `#${parts.join("__")}`;
  }

  /** Whether what follows the # is a state, and not a place in the page, such as #how-to-read-it. */
  const isState = (hash) => /^#(load|goal|f|r)--/.test(hash);

  /** The state that an address holds; what it lacks or has wrong is as in the first case. */
  function fromHash(hash, data) {
    const given = lib.inHash(hash);
    const named = (name) => data.cases.find((one) => slug(one) === name);
    const state = stateOf(named(given.get("load")) || named(FIRST), data);
    state.goal = lib.readGoal(given.get("goal"), K) || state.goal;
    const [f, r] = ["f", "r"].map((name) => given.has(name) && readProbs(given.get(name)));
    if (f) Object.assign(state, { outcome: f, moved: { ...state.moved, outcome: true } });
    return r ? withReference(state, r) : state;
  }

  /** With one comparison future in place of those of each answer. */
  function withReference(state, probs) {
    return { ...state, weights: [1], others: [probs], moved: { ...state.moved, reference: true } };
  }

  /** One probability set, the others scaled so that all still sum to one. */
  function nudged(probs, k, value) {
    const left = 1 - probs[k];
    const scale = left > 1e-12 ? (1 - value) / left : 0;
    return probs.map((p, i) => (i === k ? value : left > 1e-12 ? p * scale : (1 - value) / (K - 1)));
  }

  /** The element of the page that an address leads to. */
  const placeOf = (hash) => (isState(hash) ? null : document.getElementById(hash.slice(1)));

  Object.assign(lib, { fromHash, toHash, isState, nudged, stateOf });

  // --- what is said of it ---------------------------------------------------------------------------------------

  /** Goals by each rule that scores them all: [rule, first, second, place of the goal]. */
  function ranked(f, goal) {
    const scores = lib.scores(f, GOALS);
    const mine = GOALS.findIndex((one) => one.join() === goal.join());
    return Object.entries(RULES).map(([rule, name]) => {
      const own = scores.map((all) => all[rule]);
      const order = [...own.keys()].filter((i) => own[i] > -Infinity).sort((a, b) => own[b] - own[a]);
      const place = order.filter((i) => own[i] > own[mine] + 1e-12).length + 1;
      const seat = own[mine] > -Infinity ? `${place} of ${order.length}` : "no candidate";
      return [name, GOALS[order[0]], GOALS[order[1]], seat];
    });
  }

  /** Goals that a rule names without a list: [rule, goal, whether it is the one]. */
  function named(f, goal) {
    const names = Object.entries(lib.simpleNames(f));
    return names.map(([rule, found]) => [
      CUT_NAMES[rule] || rule,
      found,
      found.join() === goal.join() ? "yes" : "no",
    ]);
  }

  function sentence(f, goal) {
    const [s, other, p] = [lib.success(f, goal), lib.otherSuccess(f, goal), lib.chance(f, goal)];
    const excess = Math.max(0, lib.op(f) + lib.delta(f) - lib.impliedOp(f, goal));
    const elsewhere = `in ${lib.percent(other)} when the answers are put into other histories`;
    const what = `A good outcome (${lib.inWords(goal)}) comes in ${lib.percent(s)} of cases, and ${elsewhere}.`;
    const implied = `Op is ${lib.nats(lib.op(f))} nats. The success rate implies ${lib.nats(lib.impliedOp(f, goal))}`;
    const rest =
      excess < 0.0005
        ? "there is nothing more"
        : `${lib.nats(excess)} more come from favouring some good outcomes, or some bad ones`;
    const less = lib.delta(f) < 0.0005 ? "" : `; less δ = ${lib.nats(lib.delta(f))}, because F' is not even`;
    const below = s < p ? " (by being worse than chance)" : "";
    return `${what} ${implied}${below}; ${rest}${less}.`;
  }

  // --- the component --------------------------------------------------------------------------------------------

  function explorer(root, data) {
    const find = (selector) => root.querySelector(selector);
    const slot = (name, text) => (find(`[data-slot=${name}]`).textContent = text);
    const noise = data.noise / K;
    let state = fromHash(window.location.hash, data);
    const changed = new Option("", ""); // what the menu shows of a case once it was changed
    let place = placeOf(window.location.hash); // the reader went there, and has shaped nothing since
    let later = 0;

    function build() {
      find("[data-set=case]").append(changed);
      const groups = new Map();
      for (const one of data.cases) groups.set(one.group, [...(groups.get(one.group) || []), one]);
      for (const [group, cases] of groups) {
        const box = document.createElement("optgroup");
        box.label = group;
        cases.forEach((one) => box.append(new Option(one.name, slug(one))));
        find("[data-set=case]").append(box);
      }
      root
        .querySelectorAll("[data-future]")
        .forEach((box) => box.append(...Array.from({ length: K }, (_, k) => row(box.dataset.future, k))));
    }

    /** An outcome's bar: a range input, so that keys, touch and screen readers find what they know. */
    function row(future, k) {
      const made = document.createElement("div");
      made.className = "ex-row";
      const name =
        future === "outcome"
          ? `<button type="button" aria-label="outcome ${k} is good">${k}</button>`
          : `<span>${k}</span>`;
      const label = `outcome ${k}, ${future === "outcome" ? "with the policy" : "in other histories"}`;
      made.innerHTML = `${name}<input type="range" min="0" max="1" step="0.005" aria-label="${label}">
        <output></output>`;
      made
        .querySelector("input")
        .addEventListener("input", (event) => drag(future, k, Number(event.target.value)));
      made.querySelector("button")?.addEventListener("click", () => toggle(k));
      return made;
    }

    function drag(future, k, value) {
      if (future === "reference") return shape(withReference(state, nudged(lib.mixed(state), k, value)));
      shape({
        ...state,
        outcome: nudged(state.outcome, k, value),
        moved: { ...state.moved, outcome: true },
      });
    }

    /** A goal is a set of outcomes, but not none and not all. */
    function toggle(k) {
      const goal = state.goal.includes(k) ? state.goal.filter((f) => f !== k) : [...state.goal, k].sort();
      if (goal.length > 0 && goal.length < K) shape({ ...state, goal });
    }

    /** A case that was changed is not the chosen one any more, so it can be loaded again. */
    function drawMenu() {
      const one = data.cases.find((each) => slug(each) === state.slug);
      const same = toHash(state) === toHash(stateOf(one, data));
      changed.hidden = same;
      changed.text = `${one.name}, changed`;
      find("[data-set=case]").value = same ? state.slug : "";
    }

    function drawFutures() {
      for (const [future, probs] of [
        ["outcome", state.outcome],
        ["reference", lib.mixed(state)],
      ]) {
        root.querySelectorAll(`[data-future=${future}] .ex-row`).forEach((at, k) => {
          const good = state.goal.includes(k);
          const input = at.querySelector("input");
          at.classList.toggle("good", good);
          at.querySelector("button")?.setAttribute("aria-pressed", good);
          if (document.activeElement !== input || Math.abs(input.value - probs[k]) > 0.004)
            input.value = probs[k];
          input.setAttribute("aria-valuetext", `${(100 * probs[k]).toFixed(1)} percent`);
          at.style.setProperty("--p", probs[k]);
          at.querySelector("output").textContent = `${(100 * probs[k]).toFixed(1)}\u00a0%`;
        });
      }
      const n = state.weights.filter((w) => w > 0).length;
      slot(
        "others",
        n > 1
          ? `F' is the mean of ${n} futures, one for each answer; drag it, and it becomes a single one.`
          : "",
      );
    }

    function drawNumbers() {
      const rates = {
        s: lib.success(state, state.goal),
        "s-other": lib.otherSuccess(state, state.goal),
        p: lib.chance(state, state.goal),
      };
      for (const [name, value] of Object.entries(rates)) slot(name, value.toFixed(3));
      slot("delta", lib.nats(lib.delta(state)));
      slot("op", lib.nats(lib.op(state)));
      slot("imp", lib.nats(lib.imp(state)));
      slot("implied", lib.nats(lib.impliedOp(state, state.goal)));
      slot("imp-min", lib.nats(lib.impMin(state, state.goal)));
    }

    function drawCharts() {
      const d = lib.decomposition(state, state.goal);
      const parts = (kind) => [
        ["success rate", d[`${kind}_success_rate`]],
        ["within success", d[`${kind}_within_success`]],
        ["within failure", d[`${kind}_within_failure`]],
      ];
      lib.waterfall(find("[data-chart=op]"), [...parts("op"), ["less δ", -d.delta]], "Op");
      if (Number.isFinite(lib.imp(state))) lib.waterfall(find("[data-chart=imp]"), parts("imp"), "Imp");
      else lib.infinite(find("[data-chart=imp]"), "Infinite: F has an outcome that F' never has.");
      const within = Math.min(...state.outcome) >= noise - 1e-9; // else no policy of the post's world
      lib.region(
        find("[data-chart=region]"),
        state,
        state.goal,
        within && state.slug.startsWith("the-study") ? noise : 0,
      );
    }

    function drawRules() {
      const list = (goal) => (goal && goal.length && goal.length < K ? goal.join("\u2009") : "–");
      const line = (name, ...cells) => `<tr><th scope="row">${name}</th>${cells.join("")}</tr>`;
      const cell = (text, kind = "") => `<td class="${kind}">${text}</td>`;
      const scored = ranked(state, state.goal).map(([name, first, second, seat]) =>
        line(name, cell(list(first)), cell(list(second), "wide"), cell(seat)),
      );
      const cut = named(state, state.goal).map(([name, found, hit]) =>
        line(name, cell(list(found)), cell(hit)),
      );
      find("[data-slot=ranked]").innerHTML = scored.join("");
      find("[data-slot=named]").innerHTML = cut.join("");
      slot("chosen", lib.inWords(state.goal));
    }

    function draw() {
      root.dataset.goal = state.goal.length;
      drawMenu();
      drawFutures();
      drawNumbers();
      drawCharts();
      drawRules();
      find("[data-slot=link]").href = toHash(state);
      window.clearTimeout(later);
      later = window.setTimeout(settle, find("[data-slot=say]").textContent ? 250 : 0);
    }

    /** What must not follow every step of a drag: the sentence, which is read aloud, and the address. */
    function settle() {
      slot("say", sentence(state, state.goal));
      if (!place) window.history.replaceState(null, "", toHash(state));
    }

    function shape(given) {
      state = given;
      place = null;
      draw();
    }

    /** A link led somewhere: to a state, or to a place in the page, which changes nothing here. */
    function follow() {
      const { hash } = window.location;
      if (!isState(hash)) return void (place = placeOf(hash));
      shape(fromHash(hash, data));
      root.scrollIntoView(); // the link was further down
    }

    build();
    find("[data-set=case]").addEventListener("change", (event) => {
      const chosen = data.cases.find((one) => slug(one) === event.target.value);
      shape(stateOf(chosen, data));
    });
    window.addEventListener("hashchange", follow);
    find(".ex-live").hidden = false;
    draw();
    place?.scrollIntoView(); // which all that was drawn above it has moved
    new ResizeObserver(drawCharts).observe(root); // letters keep their size, whatever the width
  }

  const root = document.querySelector("[data-explorer]");
  lib.loaded("cases", ADDRESS).then((data) => explorer(root, data));
})();
