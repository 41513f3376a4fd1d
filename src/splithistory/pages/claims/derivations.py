"""Judges of the claims that are derived: bounds, utilities, sums, differential measures and their cost."""

import json

import numpy as np

from ... import differential
from ...information import binary_kl, goal_mask, kl, tilt
from ...measure import Futures, SplitHistory
from ...policies import everywhere
from ...statistics import power_law_exponent, t_interval
from ...study import GOALS
from .judging import EXACT, Context, Judgement, Limits, judge


@judge("op-signed-imp-positive")
def _op_signed(context: Context, limits: Limits, undoes: bool = True) -> Judgement:
    """The first policy steers every history to outcome 0, the second, which knows the history, back again."""
    n, each = 8, np.eye(8)
    first = everywhere(each[0])
    second = SplitHistory(each if undoes else np.outer(np.ones(n), each[0]), np.tile(each, (n, 1, 1)))
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(context.world.n_tokens, 0.2), (200, 16))
    least = min(SplitHistory(table, context.world.table).imp for table in tables)
    text = f"Op {first.op:.3f} and {second.op:.3f} nats, Imp of random policies at least {least:.3f}"
    return Judgement(
        f"{text}, exact", bool(second.op < 0 and abs(first.op + second.op) < EXACT and least >= 0)
    )


@judge("imp-adds")
def _imp_adds(context: Context, limits: Limits, counterexample=(0.45, 0.05, 0.05, 0.45)) -> Judgement:
    rng = np.random.default_rng(0)
    joint, bits = rng.dirichlet(np.ones(4), 1000), rng.dirichlet([1, 1], (1000, 2))
    least = min(_more_than_parts(f, np.outer(*ab).ravel()) for f, ab in zip(joint, bits, strict=True))
    other = _more_than_parts(np.array([0.8, 0.05, 0.05, 0.1]), np.array(counterexample))
    text = f"joint minus parts at least {least:.4f} nats over 1000 product F', {other:.4f} for another"
    return Judgement(f"{text}, exact", min(least, other) >= -EXACT, least >= -EXACT and other < 0)


def _more_than_parts(joint: np.ndarray, reference: np.ndarray) -> float:
    """KL of two bits minus the sum of their own KLs."""
    f, r = joint.reshape(2, 2), reference.reshape(2, 2)
    return float(kl(joint, reference) - sum(kl(f.sum(axis), r.sum(axis)) for axis in (0, 1)))


@judge("binary-future")
def _binary_future(context: Context, limits: Limits, n_outcomes: int = 2) -> Judgement:
    rng = np.random.default_rng(0)
    worlds, counts = rng.dirichlet(np.ones(n_outcomes), (200, 5, 4)), rng.random((200, 5, 4))
    futures = [SplitHistory(*pair) for pair in zip(counts, worlds, strict=True)]
    excess = max(abs(f.imp - f.decomposition([0])["imp_success_rate"]) for f in futures)
    by_mean = min(f.imp - f.imp_min([0]) for f in futures)
    text = (
        f"largest excess {excess:.1e}, over kl(s, mean s') at least {by_mean:.1e} nats, 200 random policies"
    )
    return Judgement(f"{text}, exact", excess < EXACT, by_mean > 0)


# a graded reward that the goals make, since each holds the one before: how many of them an outcome meets
_GRADES = np.sum([goal_mask(goal, 8) for goal in GOALS.values()], axis=0).astype(float)


@judge("no-general-op", "models")
def _no_general_op(context: Context, limits: Limits) -> Judgement:
    uniform = np.full(len(_GRADES), 1 / len(_GRADES))
    measured = context.measured.values()
    gaps = [m.op + m.delta - tilt(uniform, _GRADES, m.outcome_probs @ _GRADES).kl for m in measured]
    least = min(gaps)
    text = f"Op is at least {least:.4f} nats above the bound of a graded utility ({len(gaps)} models), exact"
    return Judgement(text, least < -1e-9)


@judge("utility-by-thresholds", "seeds")
def _utility_by_thresholds(context: Context, limits: Limits) -> Judgement:
    share = context.own["model"].map({m: _best_threshold(f) for m, f in context.measured.items()})
    mean, half = t_interval(share.groupby(context.own["seed"]).mean())
    text = f"best threshold task has {mean:.3f} ± {half:.3f} of the bound of a graded reward"
    return Judgement(text, mean - half > 0.9, mean - half > 0.5)


def _best_threshold(futures: Futures) -> float:
    """Largest kl of 'at least this grade' in F from the mean F', over the tilt bound of the grades."""
    f, reference = futures.outcome_probs, futures.action_probs @ futures.counterfactual_probs
    tasks = [_GRADES >= grade for grade in range(1, len(GOALS) + 1)]
    best = max(float(binary_kl(f[task].sum(), reference[task].sum())) for task in tasks)
    return best / tilt(reference, _GRADES, f @ _GRADES).kl


@judge("differential-minimum")
def _differential_minimum(context: Context, limits: Limits, linear: float = 1.0) -> Judgement:
    """C Imp'(C) = 2 C² − C − 1 vanishes at stationary points; Imp'' = 1/C² + 2 > 0 makes them minima."""
    low, high = sorted(np.roots([2, -linear, -1]))

    def value(c):
        return -np.log(abs(c)) + c * (c - linear)

    grid = np.array([0.25, 0.5, 1.0, 2.0])
    measured = [differential.imp([[1.0]], [[c]]) for c in grid]
    agrees = np.allclose(measured, value(grid), rtol=0, atol=EXACT)
    text = f"minima {abs(value(high)):.3f} nats at C = {high:g}, {value(low):.3f} at {low:g}, exact"
    return Judgement(text, bool(agrees and abs(high - 1) < EXACT and abs(value(high)) < EXACT))


@judge("diagonal-sum")
def _diagonal_sum(context: Context, limits: Limits, coupling: float = 0.0) -> Judgement:
    """With diagonal Jacobians determinants are products and traces sums; here in numbers."""
    rng, largest = np.random.default_rng(0), 0.0
    for width in range(1, 9):
        j_g, j_h = rng.uniform(0.5, 2, (2, width))
        whole = np.diag(j_g), np.diag(j_h) + coupling * (1 - np.eye(width))
        parts = j_g[:, None, None], j_h[:, None, None]
        for measure in (differential.op, differential.imp):
            largest = max(largest, abs(float(measure(*whole) - measure(*parts).sum())))
    return Judgement(f"largest difference {largest:.1e} nats, widths 1 to 8, exact", largest < EXACT)


@judge("jacobian-cost")
def _jacobian_cost(context: Context, limits: Limits) -> Judgement:
    """Reads `jacobian`, {width: seconds}, of the benchmark's files."""
    reports = [json.loads(path.read_text("utf8")) for path in sorted(context.benchmarks.glob("*.json"))]
    timed = [report["jacobian"] for report in reports if report.get("jacobian")]
    if not timed:
        return Judgement("not measured: no benchmark file has it", None)
    exponents = [_exponent({int(width): s for width, s in times.items()}) for times in timed]
    text = f"exponent {', '.join(f'{e:.2f}' for e in exponents)} for widths 128 to 1024"
    return Judgement(text, all(4 <= e <= 6 for e in exponents), max(exponents) <= 3.3)


def _exponent(seconds: dict[int, float]) -> float:
    widths = [width for width in seconds if 128 <= width <= 1024]
    return power_law_exponent(widths, [seconds[width] for width in widths])


@judge("impact-regularisation")
def _impact_regularisation(context: Context, limits: Limits) -> Judgement:
    text = (
        "it needs models trained under an impact penalty, estimated by themselves and by a world model; "
        "the post trains none and names no statistic that would decide it, and no published table holds one"
    )
    return Judgement(text, None, testable=False)


@judge("unlike-aup")
def _unlike_aup(context: Context, limits: Limits, moves: bool = True) -> Judgement:
    """Two rooms and ash, half of the histories in each room: one policy burns, one goes to the first room."""
    act = np.array([[0, 1, 2], [1, 0, 2]])  # of room and action: stay, switch, burn
    burn, go = np.array([[0, 0, 0.5], [0, 0, 0.5]]), np.array([[0.5, 0, 0], [0, 0.5, 0]])
    # attainable: which of being in either room can be had afterwards; from a room both, if one can move
    attainable = np.array([[1, moves], [moves, 1], [0, 0]], dtype=float)
    lost = np.abs(attainable[act] - attainable[act[:, :1]]).mean(-1)
    penalty = [float((policy * lost).sum()) for policy in (burn, go)]
    imp = [SplitHistory(policy, np.eye(3)[act]).imp for policy in (burn, go)]
    text = f"Imp {imp[0]:.3f}, penalty {penalty[0]:.2f} of burning, {imp[1]:.3f}, {penalty[1]:.2f} of moving"
    return Judgement(f"{text}, exact", bool((imp[0] - imp[1]) * (penalty[0] - penalty[1]) < 0))
