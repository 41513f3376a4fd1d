"""Judges of the claims that are derived: bounds, utilities, sums, differential measures and their cost."""

import numpy as np

from ... import differential
from ...information import whole_and_parts
from ...measure import SplitHistory
from ...policies import moved_together, two_rooms, undone
from ...trends import power_law_exponent
from ..findings import benchmarked
from .effects import Effect, exactly, over_seeds
from .judging import EXACT, Context, Judgement, Limits, judge, seeds


@judge("op-signed-imp-positive")
def _op_signed(context: Context, limits: Limits, undoes: bool = True) -> Judgement:
    first, second = undone(undoes)
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(context.world.n_tokens, 0.2), (200, 16))
    least = min(SplitHistory(table, context.world.table).imp for table in tables)
    text = f"Op {first.op:.3f} and {second.op:.3f} nats, Imp of random policies at least {least:.3f}"
    cancel = second.op < 0 and abs(first.op + second.op) < EXACT
    return Judgement(f"{text}, exact", [exactly(cancel and least >= 0)])


@judge("imp-adds")
def _imp_adds(context: Context, limits: Limits, agreement: float = 0.9) -> Judgement:
    rng = np.random.default_rng(0)
    joint, bits = rng.dirichlet(np.ones(4), 1000), rng.dirichlet([1, 1], (1000, 2))
    least = min(_more_than_parts(f, np.outer(*ab)) for f, ab in zip(joint, bits, strict=True))
    example = moved_together(agreement)
    other = _more_than_parts(example.outcome_probs, example.counterfactual_probs)
    text = f"joint minus parts at least {least:.4f} nats over 1000 product F', {other:.4f} for another"
    always, product_only = min(least, other) >= -EXACT, least >= -EXACT and other < 0
    return Judgement(f"{text}, exact", [exactly(always)], [exactly(product_only)])


def _more_than_parts(joint: np.ndarray, reference: np.ndarray) -> float:
    whole, parts = whole_and_parts(joint.reshape(2, 2), reference.reshape(2, 2))
    return float(whole - parts)


@judge("binary-future")
def _binary_future(context: Context, limits: Limits, n_outcomes: int = 2, n_actions: int = 4) -> Judgement:
    rng, shape = np.random.default_rng(0), (200, 5, n_actions)
    worlds, counts = rng.dirichlet(np.ones(n_outcomes), shape), rng.random(shape)
    futures = [SplitHistory(*pair) for pair in zip(counts, worlds, strict=True)]
    by_mean = [f.imp - f.imp_min([0]) for f in futures]
    by_each = max(abs(f.imp - f.decomposition([0])["imp_success_rate"]) for f in futures)
    text = f"Imp less kl(s, mean s') at least {min(by_mean):.1e} nats, less the mean of kl(s, s'_a) at most "
    text += f"{by_each:.1e}, 200 random policies, exact"
    return Judgement(text, [exactly(max(np.abs(by_mean)) < EXACT)], [exactly(by_each < EXACT)])


@judge("no-general-op", "seeds")
def _no_general_op(context: Context, limits: Limits) -> Judgement:
    models = context.study.graded(context.own)
    least = (models["op"] - models["op_tilt"]).min()
    off = models.assign(off=(models["op"] - models["op_tilt"]).abs() / models["op"])
    errors = off.groupby("seed")["off"].median().to_numpy()
    text = f"Op is at least {least:.4f} nats above the bound of a graded utility, exact"
    text += f"; as a prediction its median relative error is {seeds(errors)}"
    return Judgement(text, [exactly(least < -1e-9)], [over_seeds(errors, above=limits["error"])])


@judge("utility-by-thresholds", "seeds")
def _utility_by_thresholds(context: Context, limits: Limits) -> Judgement:
    models = context.study.graded(context.own)
    share = models["threshold"] / models["tilt"]
    share = share.groupby(models["seed"]).mean().to_numpy()
    text = f"best threshold task has {seeds(share)} of the bound of a graded reward"
    claim, mended = ([over_seeds(share, above=limits[name])] for name in ("above", "mended_above"))
    return Judgement(text, claim, mended)


@judge("differential-minimum")
def _differential_minimum(context: Context, limits: Limits, linear: float = 1.0) -> Judgement:
    """C Imp'(C) = 2 C² − C − 1 vanishes at stationary points; Imp'' = 1/C² + 2 > 0 makes them minima."""
    low, high = sorted(np.roots([2, -linear, -1]))
    at_low, at_high = differential.scalar([low, high])[1]
    text = f"minima {abs(at_high):.3f} nats at C = {high:g}, {at_low:.3f} at {low:g}, exact"
    return Judgement(text, [exactly(abs(high - 1) < EXACT and abs(at_high) < EXACT)])


@judge("diagonal-sum")
def _diagonal_sum(context: Context, limits: Limits, coupling: float = 0.0) -> Judgement:
    """With diagonal Jacobians determinants are products and traces sums; here in numbers."""
    rng, largest = np.random.default_rng(0), 0.0
    for width in range(1, 9):
        j_g, j_h = rng.uniform(0.5, 2, (2, width))
        whole = np.diag(j_g), np.diag(j_h) + coupling * (1 - np.eye(width))
        measured = np.array([differential.op(*whole), differential.imp(*whole)])
        summed = np.sum(differential.scalar(j_h / j_g), axis=1)
        largest = max(largest, float(np.abs(measured - summed).max()))
    text = f"largest difference {largest:.1e} nats, widths 1 to 8, exact"
    return Judgement(text, [exactly(largest < EXACT)])


@judge("jacobian-cost")
def _jacobian_cost(context: Context, limits: Limits) -> Judgement:
    """Reads `jacobian`, seconds by width, of the benchmark's files."""
    folder = context.benchmarks
    timed = benchmarked(folder, "jacobian").values() if folder and any(folder.glob("*")) else ()
    if not timed:
        return Judgement("not measured: no benchmark file has it", [])
    exponents = [power_law_exponent(*of[:, (of[0] >= 128) & (of[0] <= 1024)]) for of in timed]
    text = f"exponent {', '.join(f'{e:.2f}' for e in exponents)} for widths 128 to 1024"
    claim = [Effect(e, low=limits["least"], high=limits["most"]) for e in exponents]
    return Judgement(text, claim, [Effect(e, high=limits["mended_most"]) for e in exponents])


@judge("unlike-aup")
def _unlike_aup(context: Context, limits: Limits, moves: bool = True) -> Judgement:
    rooms = two_rooms(moves)
    pair = [rooms[name] for name in ("burns", "goes to the first room")]
    imp, penalty = [measured.imp for measured, _ in pair], [lost for _, lost in pair]
    of = [f"Imp {i:.3f}, penalty {lost:.2f}" for i, lost in zip(imp, penalty, strict=True)]
    text = f"burning: {of[0]}; moving: {of[1]}"
    return Judgement(f"{text}, exact", [exactly((imp[0] - imp[1]) * (penalty[0] - penalty[1]) < 0)])
