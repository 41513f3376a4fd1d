// The split-history machine: a trained transformer answers histories in the page, and its answers are put into
// other histories. The markup, with its still state, comes from `machine.py`; this brings it to life.
(function () {
  "use strict";

  const lib = window.splithistory;
  const HERE = document.currentScript.src.replace(/machine\.js.*$/, "machine/models/");
  const OTHERS = 3; // other histories that each answer is put into
  const FULL = 5000; // histories, where a run rests
  const BUDGET = { moving: 10, calm: 150 }; // milliseconds of work between two pictures
  const CALM = window.matchMedia("(prefers-reduced-motion: reduce)");

  const modelNamed = (name) => lib.loaded(name, `${HERE}${name}.js`).then(lib.unpacked);

  // --- what has been counted so far ------------------------------------------------------------------------

  const zeros = (...shape) =>
    Array.from({ length: shape[0] }, () => (shape.length > 1 ? zeros(...shape.slice(1)) : 0));

  function nothing(world) {
    const k = world.alphabet;
    return { n: 0, counts: zeros(world.table.length, 2 * k), own: zeros(k), other: zeros(k), series: [] };
  }

  /** One history answered, and the same answer put into others; all that was drawn, for the picture. */
  function step(world, model, tally, temperature, uniform) {
    const history = world.history(uniform);
    const action = lib.answer(model, history, temperature, uniform);
    const continued = (tokens) => lib.drawn(world.table[world.classOf(tokens)][action], uniform());
    const others = Array.from({ length: OTHERS }, () => world.history(uniform));
    const rows = [history, ...others].map((tokens) => ({ tokens, action, outcome: continued(tokens) }));
    tally.n += 1;
    tally.counts[world.classOf(history)][action] += 1;
    tally.own[rows[0].outcome] += 1;
    for (const row of rows.slice(1)) tally.other[row.outcome] += 1;
    if (tally.n > 1 && tally.n >= 1.03 * (tally.series.at(-1)?.n ?? 0))
      tally.series.push(measured(world, tally));
    return rows;
  }

  function measured(world, tally) {
    const f = lib.futures(tally.counts, world.table);
    return { n: tally.n, op: lib.op(f), imp: lib.imp(f) };
  }

  Object.assign(lib, { nothing, step });

  // --- words and pictures -----------------------------------------------------------------------------------

  const { percent, nats, thousands, inWords, drawnElement } = lib;

  /** What a difference of two success rates says. */
  function conclusion(lead) {
    if (Math.abs(lead) < 0.03) return "So the answers hardly steer towards these outcomes.";
    const way = lead > 0 ? "" : " away from these outcomes";
    return `So the answers steer${way}, but only the history that they were made for.`;
  }

  function drawBars(list, exact, counts, goal, top) {
    const n = lib.sum(counts);
    const shares = n ? counts.map((count) => count / n) : exact;
    list.setAttribute(
      "aria-label",
      `Outcomes 0 to 7, in percent: ${shares.map((p) => (100 * p).toFixed(0)).join(", ")}`,
    );
    [...list.children].forEach((bar, k) => {
      bar.className = goal.includes(k) ? "good" : "";
      bar.style.setProperty("--exact", exact[k] / top);
      bar.style.setProperty("--live", n ? shares[k] / top : 0);
      bar.firstChild.textContent = (100 * shares[k]).toFixed(0);
    });
    list.classList.toggle("live", n > 0);
  }

  function drawStrips(box, rows) {
    const token = (value, kind) => `<span class="${kind}">${value}</span>`;
    const strip = (kind, past, action, outcome) =>
      `<div class="sh-strip ${kind}">${token(past, "past")}${token(action, "action")}${token(outcome, "outcome")}</div>`;
    const parts = rows.map(({ tokens, action, outcome }, i) => {
      const past = tokens.map((value) => token(value, value < 8 ? "even" : "odd")).join("");
      return strip(i ? "" : "own", past, action, outcome);
    });
    const [own, ...others] = parts;
    const heads = [
      strip("head", "a history", "answer", "next"),
      strip("head", "other histories, the same answer", "", ""),
    ];
    box.innerHTML = [heads[0], own, heads[1], ...others].join("");
  }

  /** A measure against histories drawn (log scale), the published value as a line with its 95 % band. */
  function drawChart(svg, series, name, exact, ends) {
    const [width, height, left, right, foot] = [300, 134, 34, 18, 36]; // right: half a label
    const most = 1.6 * Math.max(exact, 0.04);
    const reach = Math.max(FULL, ...series.map((at) => at.n));
    const x = (n) => left + ((width - left - right) * Math.log(n / 10)) / Math.log(reach / 10);
    const y = (value) => (height - foot) * (1 - Math.min(most, Math.max(0, value)) / most);
    const band = {
      x: left,
      y: y(ends[1]),
      width: width - left,
      height: Math.max(1, y(ends[0]) - y(ends[1])),
      class: "band",
    };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren(drawnElement("rect", band));
    const line = (x1, y1, x2, y2, kind) => svg.append(drawnElement("line", { x1, y1, x2, y2, class: kind }));
    line(left, y(exact), width, y(exact), "exact");
    line(left, y(0), width, y(0), "axis");
    for (const n of [10, 100, 1000, FULL]) {
      const at = { x: x(n), y: height - 20, "text-anchor": "middle" };
      svg.append(drawnElement("text", at, thousands(n)));
    }
    const middle = { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" };
    svg.append(drawnElement("text", middle, "histories drawn"));
    for (const value of [0, exact])
      svg.append(
        drawnElement(
          "text",
          { x: left - 5, y: y(value) + 4, "text-anchor": "end" },
          value ? value.toFixed(2) : "0",
        ),
      );
    const points = series
      .filter((at) => at.n >= 10 && at[name] < most)
      .map((at) => `${x(at.n).toFixed(1)},${y(at[name]).toFixed(1)}`);
    if (points.length) svg.append(drawnElement("path", { d: `M${points.join("L")}`, class: "so-far" }));
  }

  // --- the component ------------------------------------------------------------------------------------------

  function machine(root) {
    const world = lib.recurrence();
    const find = (selector) => root.querySelector(selector);
    const slot = (name, text) =>
      root.querySelectorAll(`[data-slot="${name}"]`).forEach((at) => (at.textContent = text));
    const state = {
      model: null,
      exact: null,
      goal: [],
      temperature: 0,
      tally: nothing(world),
      running: 0,
      seed: 1,
    };
    let uniform = lib.stream(state.seed);

    function restart() {
      stop();
      state.tally = nothing(world);
      find(".sh-strips").hidden = true;
      draw();
    }

    function draw(rows) {
      const { tally, exact, goal } = state;
      const shares = [tally.own, tally.other].flatMap((counts) =>
        counts.map((c) => c / (lib.sum(counts) || 1)),
      );
      const top = Math.ceil(Math.max(...exact.outcome, ...shares) * 20 + 0.4) / 20;
      drawBars(find("[data-future=own]"), exact.outcome, tally.own, goal, top);
      drawBars(find("[data-future=other]"), lib.mixed(exact), tally.other, goal, top);
      if (rows) {
        find(".sh-strips").hidden = false;
        drawStrips(find(".sh-strips"), rows);
      }
      for (const name of ["op", "imp"]) {
        drawChart(find(`[data-chart=${name}]`), tally.series, name, lib[name](exact), state.ends[name]);
      }
      say();
    }

    /** The finding is that of the published measurement; below it, what has been drawn here. */
    function say() {
      const { tally, exact, goal } = state;
      const share = (counts, known) =>
        percent(live ? lib.sum(goal.map((k) => counts[k])) / lib.sum(counts) : known);
      const live = tally.n > 0;
      const now = live ? measured(world, tally) : { op: lib.op(exact), imp: lib.imp(exact) };
      const [s, other] = [lib.success(exact, goal), lib.otherSuccess(exact, goal)];
      slot("goal", inWords(goal));
      slot("chance", percent(goal.length / world.alphabet));
      slot("s", percent(s));
      slot("s-other", percent(other));
      slot("so", conclusion(s - other));
      slot("own", share(tally.own, s));
      slot("other", share(tally.other, other));
      const n = thousands(state.n);
      for (const name of ["op", "imp"]) {
        const [low, high] = state.ends[name].map(nats);
        slot(name, nats(now[name]));
        slot(`${name}-known`, `On ${n} histories: ${nats(lib[name](exact))} (95\u00a0%: ${low} to ${high}).`);
      }
      slot(
        "key",
        live
          ? `Bars and numbers: drawn here. Lines: measured on ${n} histories.`
          : `Measured on ${n} histories.`,
      );
      find(".sh-count").setAttribute("aria-live", state.running ? "off" : "polite");
      slot("count", count(tally.n, state.running ? "so far" : "drawn"));
      find(".sh-futures").dataset.goal = goal.length;
    }

    /** Seen while it moves, but read aloud only at rest, where the words are others. */
    const count = (n, how) =>
      n ? `${thousands(n)} ${n === 1 ? "history" : "histories"} ${how}` : "no history drawn yet";

    function advance(rounds) {
      let rows;
      const end = performance.now() + (CALM.matches ? BUDGET.calm : BUDGET.moving);
      for (let i = 0; i < rounds && (performance.now() < end || !rows); i++) {
        rows = step(world, state.model, state.tally, state.temperature, uniform);
      }
      draw(rows);
    }

    /** The first histories one by one, to be looked at; then ever more between two pictures. */
    function run() {
      const { n } = state.tally;
      if (n >= state.rest) return stop();
      const slow = n < 6 && !CALM.matches;
      advance(CALM.matches ? 1000 : slow ? 1 : Math.ceil(n / 30));
      const later = slow ? 450 : CALM.matches ? 250 : 16;
      state.running = window.setTimeout(run, later);
    }

    function stop() {
      window.clearTimeout(state.running);
      state.running = 0;
      find("[data-do=run]").textContent = "Run";
      if (state.exact) say();
    }

    function start() {
      state.rest = state.tally.n < FULL ? FULL : state.tally.n + FULL;
      find("[data-do=run]").textContent = "Pause";
      state.running = 1;
      run();
    }

    const doing = {
      run: () => (state.running ? stop() : start()),
      step: () => (stop(), advance(1)),
      reset: () => ((uniform = lib.stream((state.seed += 1))), restart()),
    };

    /** The published measurement of the model at this temperature. */
    function readExact() {
      const stored = state.model.exact[state.temperature];
      state.exact = lib.futures(stored.counts, world.table);
      state.ends = stored;
      state.n = stored.n;
    }

    const models = [...find("[data-set=model]").options].map((one) => one.value);

    /** What an address holds; what it lacks or has wrong is as the page begins, with the model's own goal. */
    function fromHash(hash) {
      const given = lib.inHash(hash);
      const name = models.includes(given.get("model")) ? given.get("model") : root.dataset.model;
      const temperature = given.get("temperature") === "1" ? 1 : 0;
      return { name, temperature, goal: lib.readGoal(given.get("goal"), world.alphabet) };
    }

    const toHash = () =>
      `#model--${state.name}__temperature--${state.temperature}__goal--${state.goal.join("")}`;

    const keep = () => window.history.replaceState(null, "", toHash());

    /** A link led somewhere: to a state, or to a place in the page, which changes nothing here. */
    function follow() {
      const { hash } = window.location;
      if (hash.startsWith("#model--") && hash !== toHash()) choose(fromHash(hash));
    }

    /** The fields as they are meant: a browser that comes back to the page restores others. */
    function showChoice() {
      find("[data-set=model]").value = state.wanted;
      root.querySelectorAll("[type=radio]").forEach((radio) => {
        radio.checked = Number(radio.value) === state.temperature;
      });
    }

    /** A model, at a temperature, and a goal: its own if none is given. */
    async function choose({ name, temperature = state.temperature, goal }) {
      stop();
      Object.assign(state, { wanted: name, temperature });
      showChoice();
      const model = await modelNamed(name);
      if (state.wanted !== name) return; // another one was chosen meanwhile
      Object.assign(state, { name, model, goal: goal || model.goal });
      slot("about", state.model.about);
      slot("reward", state.model.reward);
      readExact();
      showGoal();
      restart();
    }

    function goalButtons() {
      for (let k = 0; k < world.alphabet; k++) {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", textContent: k });
        button.dataset.outcome = k;
        button.addEventListener("click", () => toggle(k));
        find("[data-set=goal]").append(button);
      }
    }

    /** A goal is a set of outcomes, but not none and not all. */
    function toggle(k) {
      const goal = state.goal.includes(k) ? state.goal.filter((f) => f !== k) : [...state.goal, k].sort();
      if (goal.length === 0 || goal.length === world.alphabet) return;
      state.goal = goal;
      showGoal();
      keep();
      draw();
    }

    function showGoal() {
      for (const button of root.querySelectorAll("[data-outcome]")) {
        button.setAttribute("aria-pressed", state.goal.includes(Number(button.dataset.outcome)));
      }
    }

    function listen() {
      for (const [name, act] of Object.entries(doing))
        find(`[data-do=${name}]`).addEventListener("click", act);
      find("[data-set=model]").addEventListener("change", (event) =>
        choose({ name: event.target.value }).then(keep),
      );
      for (const radio of root.querySelectorAll("[type=radio]")) {
        radio.addEventListener("change", () => {
          state.temperature = Number(radio.value);
          readExact();
          restart();
          keep();
        });
      }
      window.addEventListener("hashchange", follow);
      window.addEventListener("pageshow", showChoice);
    }

    goalButtons();
    listen();
    choose(fromHash(window.location.hash)).then(
      () =>
        root.querySelectorAll(".sh-run, .sh-settings, svg").forEach((part) => part.removeAttribute("hidden")),
      () => root.classList.add("sh-still"), // the models were not built: what it shows without a script stays
    );
  }

  document.querySelectorAll("[data-split-history]").forEach(machine);
})();
