// The post's sequence, as `recurrence.py` has it: s_t = (∏ of the last 16 tokens + 1, mod 17) mod 8, with noise;
// even positions hold 0..7, odd ones 8..15. In discrete logarithms the product is a sum modulo 16.
(function () {
  "use strict";

  const POST = { modulus: 17, window: 16, alphabet: 8, noise: 0.02 };

  /** Powers g⁰, g¹, … of the smallest primitive root. */
  function powersOf(modulus) {
    for (let root = 2; ; root++) {
      const powers = [1];
      while (powers.length < modulus - 1) powers.push((powers[powers.length - 1] * root) % modulus);
      if (new Set(powers).size === modulus - 1) return powers;
    }
  }

  /** A stream of uniform numbers in [0, 1) from a seed (mulberry32): enough for drawing histories. */
  function stream(seed) {
    let state = seed >>> 0;
    return function () {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** The index that probabilities choose for a uniform number. */
  function drawn(probs, uniform) {
    let left = uniform;
    for (let k = 0; k < probs.length - 1; k++) {
      left -= probs[k];
      if (left < 0) return k;
    }
    return probs.length - 1;
  }

  /** The world: its table W[m][a][f], classes of histories, and histories drawn from it. */
  function recurrence({ modulus, window: reach, alphabet, noise } = POST) {
    const order = modulus - 1;
    const powers = powersOf(modulus);
    const logs = Array.from({ length: 2 * alphabet }, (_, token) => powers.indexOf(token + 1));
    const residues = powers.map((unit) => unit % alphabet);

    const logProduct = (tokens) => tokens.reduce((total, token) => total + logs[token], 0) % order;

    /** Probabilities of the next value when the logarithm of the product is known. */
    const next = (log) =>
      Array.from({ length: alphabet }, (_, f) => noise / alphabet + (f === residues[log] ? 1 - noise : 0));

    const table = powers.map((_, m) => logs.map((log) => next((m + log) % order)));

    /** All that the world sees of a history: the product of its last tokens, as a logarithm. */
    const classOf = (history) => logProduct(history.slice(1 - reach));

    /** The value that would come next without noise. */
    const noiselessNext = (tokens) => residues[logProduct(tokens.slice(-reach))];

    /** A history that ends at an even position: the policy acts next. burnIn tokens are drawn and dropped. */
    function history(uniform, length = 20, burnIn = 200) {
      const tokens = Array.from(
        { length: reach },
        (_, i) => Math.floor(uniform() * alphabet) + alphabet * (i % 2),
      );
      const n = burnIn + length + ((length + 1) % 2);
      for (let t = 0; t < n; t++) {
        const noisy = uniform() < noise;
        const value = noisy ? Math.floor(uniform() * alphabet) : noiselessNext(tokens);
        tokens.push(value + alphabet * (t % 2));
      }
      return tokens.slice(-length);
    }

    return { alphabet, table, classOf, noiselessNext, history };
  }

  window.splithistory = Object.assign(window.splithistory || {}, { recurrence, stream, drawn });
})();
