// What both interactive pages share: data that comes by scripts, numbers in words, elements of pictures.
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  // --- data: each file is a script that hands it over, for file:// lets nothing be fetched -----------------

  const waiting = {};
  const received = {};

  function receive(name, data) {
    received[name] = data;
    if (waiting[name]) waiting[name](data);
  }

  /** What a script hands over by a name, once it is there. */
  function loaded(name, address) {
    if (received[name]) return Promise.resolve(received[name]);
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      waiting[name] = resolve;
      script.onerror = () => reject(new Error(`${address} is not there`));
      script.src = address;
      document.head.append(script);
    });
  }

  // --- a state in the address, #load--name__goal--0246: the theme takes it for a selector, so no = and & ----

  const inHash = (hash) =>
    new Map(
      hash
        .slice(1)
        .split("__")
        .map((part) => part.split("--")),
    );

  /** A goal as an address holds it; null unless it has some of the outcomes, but not all. */
  function readGoal(text, nOutcomes) {
    const goal = [...new Set(text || "")]
      .map(Number)
      .filter((k) => k >= 0 && k < nOutcomes)
      .sort();
    return goal.length > 0 && goal.length < nOutcomes ? goal : null;
  }

  // --- words -------------------------------------------------------------------------------------------------

  const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;
  const thousands = (n) => n.toLocaleString("en");
  const inWords = (goal) =>
    goal.length > 1 ? `${goal.slice(0, -1).join(", ")} or ${goal[goal.length - 1]}` : `${goal[0]}`;

  /** A number of nats, with a true minus, never as −0.000. */
  function nats(value) {
    if (!Number.isFinite(value)) return "\u221e";
    const text = value.toFixed(3);
    return Number(text) === 0 ? "0.000" : text.replace("-", "\u2212");
  }

  /** An element of a picture, with attributes and text. */
  function drawnElement(name, attributes = {}, text = "") {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  window.splithistory = Object.assign(window.splithistory || {}, {
    receive,
    loaded,
    inHash,
    readGoal,
    percent,
    thousands,
    inWords,
    nats,
    drawnElement,
  });
})();
