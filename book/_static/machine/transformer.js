// The policy: the small transformer of `transformer.py`, one history at a time, in plain numbers.
//
// Pre-norm blocks; every token sees every other; only the last position is read out. A matrix of weights is
// flat, row by row, (outputs, inputs); activations are rows of `width` numbers. Sums are made in 64 bits.
(function () {
  "use strict";

  const EPSILON = 1e-5; // of the layer norm, PyTorch's

  /** Rows (n, inputs) times a matrix (outputs, inputs), plus a bias: (n, outputs). */
  function linear(x, weight, bias) {
    const outputs = bias.length;
    const inputs = weight.length / outputs;
    const rows = x.length / inputs;
    const y = new Float64Array(rows * outputs);
    for (let r = 0, at = 0; r < rows; r++) {
      const from = r * inputs;
      for (let o = 0, w = 0; o < outputs; o++) {
        let total = bias[o];
        for (let i = 0; i < inputs; i++, w++) total += x[from + i] * weight[w];
        y[at++] = total;
      }
    }
    return y;
  }

  /** Layer norm of each row, with gain and shift. */
  function normalised(x, gain, shift) {
    const d = gain.length;
    const y = new Float64Array(x.length);
    for (let start = 0; start < x.length; start += d) {
      let [mean, variance] = [0, 0];
      for (let i = 0; i < d; i++) mean += x[start + i] / d;
      for (let i = 0; i < d; i++) variance += (x[start + i] - mean) ** 2 / d;
      const scale = 1 / Math.sqrt(variance + EPSILON);
      for (let i = 0; i < d; i++) y[start + i] = (x[start + i] - mean) * scale * gain[i] + shift[i];
    }
    return y;
  }

  /** Probabilities ∝ exp(score / temperature). */
  function softmax(scores, temperature = 1) {
    const most = Math.max(...scores);
    const powers = Array.from(scores, (score) => Math.exp((score - most) / temperature));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / total);
  }

  /** What one query gathers from all positions, head by head: (D,). */
  function gathered(query, keys, values, heads) {
    const d = query.length;
    const size = d / heads;
    const out = new Float64Array(d);
    for (let from = 0; from < d; from += size) {
      const scores = [];
      for (let t = 0; t < keys.length; t += d) {
        let score = 0;
        for (let i = from; i < from + size; i++) score += query[i] * keys[t + i];
        scores.push(score / Math.sqrt(size));
      }
      softmax(scores).forEach((share, t) => {
        for (let i = from; i < from + size; i++) out[i] += share * values[t * d + i];
      });
    }
    return out;
  }

  /** What attention adds at the queried rows (the last one only, in the last block). */
  function attention(x, layer, heads, queried) {
    const d = layer["norm1.weight"].length;
    const [weight, bias] = [layer["self_attn.in_proj_weight"], layer["self_attn.in_proj_bias"]];
    const part = (rows, i) =>
      linear(rows, weight.subarray(i * d * d, (i + 1) * d * d), bias.subarray(i * d, (i + 1) * d));
    const normed = normalised(x, layer["norm1.weight"], layer["norm1.bias"]);
    const queries = part(normed.subarray(normed.length - queried * d), 0);
    const [keys, values] = [part(normed, 1), part(normed, 2)];
    const out = new Float64Array(queried * d);
    for (let q = 0; q < queried; q++)
      out.set(gathered(queries.subarray(q * d, (q + 1) * d), keys, values, heads), q * d);
    return linear(out, layer["self_attn.out_proj.weight"], layer["self_attn.out_proj.bias"]);
  }

  const added = (x, branch) => x.map((value, i) => value + branch[i]);

  /** One block: (T, D) to (queried, D). */
  function block(x, layer, heads, queried) {
    const d = layer["norm1.weight"].length;
    const middle = added(x.subarray(x.length - queried * d), attention(x, layer, heads, queried));
    const normed = normalised(middle, layer["norm2.weight"], layer["norm2.bias"]);
    const hidden = linear(normed, layer["linear1.weight"], layer["linear1.bias"]).map((value) =>
      Math.max(0, value),
    );
    return added(middle, linear(hidden, layer["linear2.weight"], layer["linear2.bias"]));
  }

  /** Each token's embedding plus the code of its position, (T, D); the code comes as PyTorch has it. */
  function embedded(model, tokens) {
    const d = model.architecture.width;
    const { positions, "embedding.weight": embedding } = model.weights;
    const x = new Float64Array(tokens.length * d);
    tokens.forEach((token, t) => {
      for (let i = 0; i < d; i++) x[t * d + i] = embedding[token * d + i] + positions[t * d + i];
    });
    return x;
  }

  /** Logits of the next token, (V,), after a history of `context` tokens. */
  function logits(model, tokens) {
    const { layers, heads } = model.architecture;
    let x = embedded(model, tokens);
    model.layers.forEach((layer, i) => {
      x = block(x, layer, heads, i === layers - 1 ? 1 : tokens.length);
    });
    return Array.from(linear(x, model.weights["readout.weight"], model.weights["readout.bias"]));
  }

  /** What the model plays: its likeliest token at temperature 0, else one drawn from the softmax. */
  function answer(model, tokens, temperature, uniform) {
    const scores = logits(model, tokens);
    if (temperature === 0) return scores.indexOf(Math.max(...scores));
    return window.splithistory.drawn(softmax(scores, temperature), uniform());
  }

  /** Numbers from base64 text. */
  function decoded(text, Numbers) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Numbers(bytes.buffer);
  }

  /** A model as it is stored (shapes and float32 numbers in one row) with its weights by name and by layer. */
  function unpacked(stored) {
    const numbers = new Float64Array(decoded(stored.numbers, Float32Array)); // the same numbers, faster to sum
    const weights = {};
    let start = 0;
    for (const [name, shape] of stored.shapes) {
      const size = shape.reduce((a, b) => a * b, 1);
      weights[name] = numbers.subarray(start, (start += size));
    }
    const layers = Array.from({ length: stored.architecture.layers }, (_, i) => {
      const own = Object.entries(weights).filter(([name]) => name.startsWith(`layers.${i}.`));
      return Object.fromEntries(own.map(([name, values]) => [name.replace(`layers.${i}.`, ""), values]));
    });
    return { ...stored, weights, layers };
  }

  window.splithistory = Object.assign(window.splithistory || {}, {
    logits,
    softmax,
    answer,
    decoded,
    unpacked,
  });
})();
