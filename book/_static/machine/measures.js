// The measures of the book, in nats: what `measure.py`, `objectives.py` and `histograms.py` compute, in the page.
//
// Futures are {weights (J,), outcome (K,), others (J, K)}: how often each action is played, the outcomes F
// when each answer meets its own history, and the outcomes D_a when an action is forced on all of them.
// A test holds every function to its twin in Python. A classic script: module imports fail over file://.
(function () {
  "use strict";

  const TINY = 2.2250738585072014e-308; // the least positive normal number, in place of ln 0

  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const xlogx = (p) => (p > 0 ? p * Math.log(p) : 0);
  const clipped = (p) => Math.min(1, Math.max(0, p));

  /** Shannon entropy of probabilities (K,), in nats. */
  const entropy = (probs) => -sum(probs.map(xlogx));

  /** One term of a divergence: p ln(p/q), infinite where q lacks what p has. */
  function relative(p, q) {
    if (p <= 0) return 0;
    return q > 0 ? p * Math.log(p / q) : Infinity;
  }

  /** KL(P ‖ Q) of probabilities (K,), in nats. */
  const kl = (probs, reference) => Math.max(0, sum(probs.map((p, k) => relative(p, reference[k]))));

  /** kl(s, q), the divergence of two success rates, in nats. */
  const binaryKl = (s, q) => Math.max(0, relative(s, q) + relative(1 - s, 1 - q));

  /** Futures from counts of answers by class of history, counts[m][a], in a world W[m][a][f]. */
  function futures(counts, world) {
    const n = sum(counts.map(sum));
    const outcome = new Array(world[0][0].length).fill(0);
    const weights = new Array(world[0].length).fill(0);
    const others = weights.map(() => new Array(outcome.length).fill(0));
    counts.forEach((row, m) => {
      const share = sum(row) / n;
      row.forEach((count, a) => {
        weights[a] += count / n;
        world[m][a].forEach((w, f) => {
          outcome[f] += (count / n) * w;
          others[a][f] += share * w;
        });
      });
    });
    return { weights, outcome, others };
  }

  /** Σ_a π̄(a) value(D_a): an action that is never played does not count, even if its value is infinite. */
  const mean = (f, value) => sum(f.others.map((d, a) => (f.weights[a] > 0 ? f.weights[a] * value(d) : 0)));

  /** The comparison future on average, F̄′ = Σ π̄ D_a, (K,). */
  const mixed = (f) => f.outcome.map((_, k) => mean(f, (d) => d[k]));

  const op = (f) => mean(f, entropy) - entropy(f.outcome);
  const imp = (f) =>
    Math.max(
      0,
      mean(f, (d) => kl(f.outcome, d)),
    );
  const delta = (f) => Math.max(0, Math.log(f.outcome.length) - mean(f, entropy));

  const rate = (probs, goal) => clipped(sum(goal.map((k) => probs[k])));
  const even = (n) => new Array(n).fill(1 / n);

  /** kl of a goal's rates in two futures. Failure is summed too: 1 − s has a residue where nothing fails. */
  function goalKl(probs, reference, goal) {
    const parts = [goal, complement(goal, probs.length)];
    return kl(...[probs, reference].map((p) => parts.map((part) => rate(p, part))));
  }

  const success = (f, goal) => rate(f.outcome, goal);
  const otherSuccess = (f, goal) => mean(f, (d) => rate(d, goal));
  const chance = (f, goal) => goal.length / f.outcome.length;
  const impliedOp = (f, goal) => goalKl(f.outcome, even(f.outcome.length), goal);
  const impMin = (f, goal) => goalKl(f.outcome, mixed(f), goal);

  /** P(part) · KL(P given part ‖ Q given part): what unevenness inside a part of the outcomes costs. */
  function within(probs, reference, part) {
    const mass = sum(part.map((k) => probs[k]));
    const otherMass = sum(part.map((k) => reference[k]));
    if (mass === 0 || otherMass === 0) return 0;
    return Math.max(0, mass * sum(part.map((k) => relative(probs[k] / mass, reference[k] / otherMass))));
  }

  const complement = (goal, n) => [...Array(n).keys()].filter((k) => !goal.includes(k));

  /** The terms of Op = success rate + within success + within failure − δ, and of Imp, in nats. */
  function decomposition(f, goal) {
    const flat = even(f.outcome.length);
    const bad = complement(goal, flat.length);
    return {
      op_success_rate: impliedOp(f, goal),
      op_within_success: within(f.outcome, flat, goal),
      op_within_failure: within(f.outcome, flat, bad),
      delta: delta(f),
      imp_success_rate: mean(f, (d) => goalKl(f.outcome, d, goal)),
      imp_within_success: mean(f, (d) => within(f.outcome, d, goal)),
      imp_within_failure: mean(f, (d) => within(f.outcome, d, bad)),
    };
  }

  /** Least and greatest Op, in nats, at a success rate: even within both parts, or one success and one failure.
   *
   * unoptimized: [least, greatest] entropy of the comparison futures; crumb: what the world's noise gives
   * every outcome at least. With crumb 0 and one entropy, ln K − δ, it holds in any world. */
  function opRange(s, nGood, nOutcomes, unoptimized, crumb = 0) {
    const narrow = new Array(nOutcomes).fill(crumb);
    narrow[0] = s - (nGood - 1) * crumb;
    narrow[1] = 1 - s - (nOutcomes - nGood - 1) * crumb;
    const wide = Math.log(nOutcomes) - binaryKl(s, nGood / nOutcomes);
    return [unoptimized[0] - wide, unoptimized[1] - entropy(narrow.map((p) => Math.max(p, crumb)))];
  }

  // --- whose objective? ------------------------------------------------------------------------------

  /** All goals: sets of at least one outcome and not all, small ones first. */
  function everyGoal(nOutcomes) {
    const goals = [];
    for (let mask = 1; mask < 2 ** nOutcomes - 1; mask++) {
      goals.push([...Array(nOutcomes).keys()].filter((k) => (mask >> k) & 1));
    }
    return goals.sort((one, other) => one.length - other.length);
  }

  /** How well a goal explains the futures, by each rule: the highest is the best guess, −∞ is no candidate.
   *
   * Of an infinite Imp a goal explains all if its Imp_min is infinite too, else nothing. */
  function scores(f, goals) {
    const share = (implied, measured) =>
      measured === Infinity ? Number(implied === Infinity) : implied / (measured > 1e-9 ? measured : 1);
    const [measuredOp, measuredImp] = [op(f), imp(f)];
    return goals.map((goal) => {
      const [s, p, other] = [success(f, goal), chance(f, goal), clipped(otherSuccess(f, goal))];
      const byOp = share(impliedOp(f, goal), measuredOp);
      const byImp = share(impMin(f, goal), measuredImp);
      const candidate = (score, holds) => (holds ? score : -Infinity);
      return {
        op: candidate(byOp, s > p),
        imp: candidate(byImp, s > other),
        both: candidate(byOp + byImp, s > p && s > other),
        success: candidate(s, s > other),
        ratio: candidate(leastRatio(f.outcome, goal), s > p),
      };
    });
  }

  const logs = (probs) => probs.map((p) => Math.log(Math.max(p, TINY)));

  /** ln of a goal's rarest outcome over the likeliest of all others: positive if F sets the goal apart. */
  function leastRatio(outcome, goal) {
    const ln = logs(outcome);
    const others = complement(goal, outcome.length);
    return Math.min(...goal.map((k) => ln[k])) - Math.max(...others.map((k) => ln[k]));
  }

  const gaps = (falling) => falling.slice(1).map((value, i) => falling[i] - value);

  /** kl(s, n/K) of the n likeliest outcomes, for each n. */
  function implied(falling) {
    let s = 0;
    return falling.slice(1).map((_, i) => binaryKl(clipped((s += falling[i])), (i + 1) / falling.length));
  }

  /** Sum of squares between the two sides of each cut. */
  function spreads(values) {
    const [k, total] = [values.length, sum(values)];
    let left = 0;
    return values.slice(1).map((_, i) => {
      const n = i + 1;
      left += values[i];
      return ((left - (total * n) / k) ** 2 * k) / (n * (k - n));
    });
  }

  const CUTS = {
    Op: implied,
    "largest ratio": (falling) => gaps(logs(falling)),
    "largest difference": gaps,
    "difference of roots": (falling) => gaps(falling.map(Math.sqrt)),
    "two means": spreads,
    "two means of ln F": (falling) => spreads(logs(falling)),
  };

  const firstMax = (values) => values.indexOf(Math.max(...values));

  /** The outcomes before the best cut of the sorted histogram; those as likely as the last one come too. */
  function cutAt(outcome, merit) {
    const falling = [...outcome].sort((a, b) => b - a);
    const least = falling[firstMax(merit(falling))];
    return outcomesWhere(outcome, (p) => p >= least);
  }

  const outcomesWhere = (outcome, holds) => [...outcome.keys()].filter((k) => holds(outcome[k], k));

  /** The goal with the largest kl(F(G), F̄′(G)): outcomes sorted by F/F̄′, K − 1 cuts tried. */
  function thresholdGoal(f) {
    const reference = mixed(f);
    const ratio = f.outcome.map((p, k) => (p > 0 ? p / reference[k] : 0));
    const order = [...ratio.keys()].sort((a, b) => ratio[b] - ratio[a] || a - b);
    const cuts = gaps(ratio).map((_, i) => order.slice(0, i + 1).sort((a, b) => a - b));
    return cuts[firstMax(cuts.map((cut) => goalKl(f.outcome, reference, cut)))];
  }

  /** {rule: what it takes for the goal}, without a list of goals. */
  function simpleNames(f) {
    const reference = mixed(f);
    const named = Object.entries(CUTS).map(([rule, merit]) => [rule, cutAt(f.outcome, merit)]);
    named.push(["above chance", outcomesWhere(f.outcome, (p) => p > 1 / f.outcome.length)]);
    named.push(["above F'", outcomesWhere(f.outcome, (p, k) => p > reference[k])]);
    named.push(["Imp", thresholdGoal(f)]);
    return Object.fromEntries(named);
  }

  window.splithistory = Object.assign(window.splithistory || {}, {
    sum,
    entropy,
    kl,
    binaryKl,
    futures,
    mixed,
    op,
    imp,
    delta,
    success,
    otherSuccess,
    chance,
    impliedOp,
    impMin,
    decomposition,
    opRange,
    everyGoal,
    scores,
    simpleNames,
    complement,
  });
})();
