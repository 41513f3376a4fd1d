"""Whose objective? Every goal's success rates and bounds from one measurement, and which goal fits best.

Floor 3: takes measurements (`measure.SplitHistory`, `measure.Futures`), knows nothing of how they were made.
A goal is a set of outcomes G. A policy trained on G has Op near kl(s, p) and Imp near kl(s, s') for that
G, and for other goals more than they imply: so the goal whose success rates imply the most is
a good guess. The divergence is the same for a goal and its complement, so only goals that succeed
more often than without the policy are candidates. Within a model the guess by Op is made from the outcomes F
alone; rules that cut their histogram (`histograms`) are what it has to be held against.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy.special import logsumexp, rel_entr
from scipy.stats import rankdata

from .histograms import CUTS, cut_at, logs
from .information import (
    as_distribution,
    as_goal,
    as_names,
    as_reals,
    as_table,
    binary_kl,
    check_choice,
    check_integer,
    goal_mask,
    is_listed,
    kl,
    not_negative,
    shown,
    tilt,
)
from .measure import Futures, SplitHistory
from .statistics import Table, auc

CRITERIA = ("op", "imp", "both", "success", "likelihood", "ratio")
_STRONGEST = 1e7  # β times all that there is to gain: beyond it rounding would show
_ANY = 2**31  # outcomes, where only goals are compared
_NOTHING = 1e-9  # nats: what rounding leaves of no evidence
_HALVINGS = 25  # between β and 2β: to 1e-7, and so to 1e-14 what is flat at its maximum


def every_goal(n_outcomes: int) -> list[tuple[int, ...]]:
    """All goals: sets of at least one outcome and not all, 2^K − 2 of them; K at most 20."""
    sizes = range(1, check_integer("n_outcomes", n_outcomes, 1, 20))
    return [goal for size in sizes for goal in combinations(range(n_outcomes), size)]


def cross_evaluate(futures: Futures, goals) -> dict[str, np.ndarray]:
    """A measurement evaluated on many goals, arrays (G,): nothing is measured again.

    p, s, s_prime: rates by chance (the goal's share of the K outcomes), in F and in F'; implied_op = kl(s, p)
    and imp_min = kl(s, s'), in nats, the least Op (less δ) and Imp that go with these rates. Post, section
    "Cross-Objective Evaluation".
    """
    masks, r = _masks(goals, futures.n_outcomes), _reference(futures, None)
    s, s_prime = (_rates(masks, probs) for probs in (futures.outcome_probs, r))
    p = masks.mean(1)
    return {
        "p": p,
        "s": s,
        "s_prime": s_prime,
        "implied_op": binary_kl(s, p),
        "imp_min": _moved(masks, futures.outcome_probs, r),
    }


def _masks(goals, n_outcomes: int) -> np.ndarray:
    """(G, K): which outcomes are in which goal."""
    try:
        return _checked_masks(tuple(map(tuple, goals)) or None, n_outcomes)
    except TypeError:  # no list of lists, or of what cannot be looked up
        raise ValueError(f"goals: given {shown(goals)}, allowed is a list of goals") from None


@lru_cache(maxsize=64)  # the same few lists of goals are asked of every model
def _checked_masks(goals: tuple[tuple[int, ...], ...], n_outcomes: int) -> np.ndarray:
    return np.array([goal_mask(goal, n_outcomes) for goal in goals])


def _rates(masks: np.ndarray, probs: np.ndarray) -> np.ndarray:
    return np.clip(masks @ probs, 0.0, 1.0)  # a sum of all but nothing may be 1 + 1e-16


def _moved(masks: np.ndarray, probs: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """kl(P(G), Q(G)) of each goal (G,), in nats: failures are summed, for 1 − s would lose the smallest."""
    return not_negative(sum(rel_entr(part @ probs, part @ reference) for part in (masks, ~masks)))


def grades(goals, n_outcomes: int) -> np.ndarray:
    """The graded reward that goals make together: how many of them an outcome meets, (K,)."""
    return _masks(goals, n_outcomes).sum(0)


def graded_bounds(futures: Futures, grades) -> dict[str, float]:
    """What a graded reward implies of a measurement, in nats; grades (K,), a number for each outcome.

    Of Imp, with R the mean of F': tilt, by the mean grade alone; threshold, by the best of the tasks "at
    least this grade", and best, how many outcomes that task has; chain, by the distribution of grades, all
    tasks in a row. Of Op: op_tilt, by the mean grade (less δ), and op_rest, what it leaves of Op.
    So tilt, threshold <= chain <= Imp and op_tilt + op_rest = Op. ValueError: all grades are the same.
    """
    f, r = futures.outcome_probs, _reference(futures, None)
    if (grades := as_reals(grades, "grades")).shape != f.shape:
        raise ValueError(f"grades: shape {grades.shape}, allowed is {f.shape}, one for each outcome")
    levels, mean = np.unique(grades), f @ grades
    if len(levels) < 2:
        raise ValueError(f"grades: given {shown(grades.tolist())}, allowed are two levels or more")
    tasks, equal = grades >= levels[1:, None], grades == levels[:, None]
    implied = _moved(tasks, f, r)
    of_op = tilt(np.full(len(f), 1 / len(f)), grades, mean)
    return {
        "tilt": tilt(r, grades, mean).kl,
        "threshold": float(implied.max()),
        "best": int(tasks[implied.argmax()].sum()),
        "chain": float(kl(equal @ f, equal @ r)),
        "op_tilt": of_op.kl - futures.delta,
        "op_rest": float(kl(f, of_op.probs)),
    }


def scores(measured: SplitHistory, goals, by: str = "op") -> np.ndarray:
    """How well each goal explains a measured policy, (G,): the highest is the best guess.

    by "op": implied Op, as a share of the Op measured; "imp": Imp_min, as a share of Imp; "both": the sum of
    the two shares. Three baselines: "success": the success rate; "likelihood": `maxent_goal_directedness`;
    "ratio": `least_ratio`. −inf unless a candidate: a goal that succeeds more often than without the policy,
    s > s' (by "op" and "ratio", which are made from F alone: s > p; by "both": both). Of an infinite Imp a
    goal explains all (1) if its Imp_min is infinite too, else nothing (0).
    """
    check_choice("by", by, CRITERIA)
    rates = cross_evaluate(measured, goals)
    op, imp = _share(rates["implied_op"], measured.op), _share(rates["imp_min"], measured.imp)
    if by == "likelihood":
        score = maxent_goal_directedness(measured, goals)
    elif by == "ratio":
        score = least_ratio(measured, goals)
    else:
        score = {"op": op, "imp": imp, "both": op + imp, "success": rates["s"]}[by]
    above_chance, better = rates["s"] > rates["p"], rates["s"] > rates["s_prime"]
    known = {"op": above_chance, "ratio": above_chance, "both": above_chance & better}
    return np.where(known.get(by, better), score, -np.inf)


def _share(implied: np.ndarray, measured: float) -> np.ndarray:
    if np.isinf(measured):
        return np.isinf(implied) * 1.0
    # a policy without optimization has no share to explain; the order of the goals stays
    return implied / (measured if measured > _NOTHING else 1.0)


def rank_of(goal, goals, score: np.ndarray) -> float:
    """The place of a goal among the candidates, 1 for the best; ties share the mean of their places."""
    score = _scores(score, len(goals := _candidates(goals)))
    return _rank(score, _index(goal, goals))


def _rank(score: np.ndarray, place: int) -> float:
    return float(rankdata(-score, method="average")[place])


def _candidates(goals) -> list:
    """Goals as a list of collections."""
    listed = list(goals) if hasattr(goals, "__iter__") and getattr(goals, "ndim", True) else [None]
    if not all(hasattr(goal, "__iter__") for goal in listed):
        raise ValueError(f"goals: given {shown(goals)}, allowed is a list of goals")
    return listed


def _scores(score, n: int) -> np.ndarray:
    """A score of each of n goals, −inf where one is no candidate."""
    score = as_reals(score, "score")
    if score.shape != (n,) or np.isnan(score).any():
        raise ValueError(f"score: given {shown(score.tolist())}, allowed are {n} numbers, one a goal")
    return score


def _index(goal, goals) -> int:
    places = [as_goal(each, _ANY) for each in goals]
    if (wanted := as_goal(goal, _ANY)) not in places:
        raise ValueError(f"goal: given {shown(wanted)}, allowed is one of the {len(places)} candidates")
    return places.index(wanted)


def named(goal, goals, score: np.ndarray) -> dict:
    """What scores (G,) of goals make of the one that was trained.

    guess: the goal with the highest score; rank: `rank_of` the trained one; right, five: whether it comes
    first, and whether among the first five; margin: its score less that of the best other; auc: the share of
    the other candidates that score lower, ties counting half. If it is no candidate (−inf), none of these.
    """
    goals = _candidates(goals)
    score, place = _scores(score, len(goals)), _index(goal, goals)
    rank, others = _rank(score, place), np.delete(score, place)
    others, candidate = others[np.isfinite(others)], score[place] > -np.inf
    return {
        "guess": goals[int(score.argmax())],
        "rank": rank,
        "right": candidate and rank == 1,
        "five": candidate and rank <= 5,
        "margin": float(score[place]) - float(others.max(initial=-np.inf)) if candidate else -np.inf,
        "auc": candidate * (1 - (rank - 1) / max(1, len(others))),
    }


def relation(guess, goal) -> str:
    """How a set of outcomes stands to a goal: it is the goal, a part of it, around it, or another."""
    guess, goal = (set(as_goal(given, 2**31)) for given in (guess, goal))
    if guess == goal:
        return "goal"
    return "part" if guess < goal else "around" if guess > goal else "other"


# --- without a list of goals ------------------------------------------------------------------------------


def likelihood_ratio(futures: Futures, reference=None) -> np.ndarray:
    """F/R of each outcome, (K,), 0 where F is 0; R as in `threshold_goal`."""
    f, r = futures.outcome_probs, _reference(futures, reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(f > 0, f / r, 0.0)


def _reference(futures: Futures, reference) -> np.ndarray:
    if reference is None:
        return futures.action_probs @ futures.counterfactual_probs
    reference = as_distribution(reference, "reference")
    if reference.shape != futures.outcome_probs.shape:
        raise ValueError(f"reference: shape {reference.shape}, allowed is {futures.outcome_probs.shape}")
    return reference


def cuts(futures: Futures, reference=None) -> list[tuple[int, ...]]:
    """The K − 1 sets that collect the outcomes with the largest F/R, the smallest set first."""
    order = np.argsort(-likelihood_ratio(futures, reference), kind="stable").tolist()
    return [tuple(sorted(order[:n])) for n in range(1, len(order))]


def threshold_goal(futures: Futures, reference=None) -> tuple[tuple[int, ...], float]:
    """The goal with the largest kl(F(G), R(G)) of all, and that divergence in nats, without a list of goals.

    reference R (K,): the mean of F' (for Imp, the default), or the uniform distribution (for Op). The best
    set is one of the `cuts`: the likelihood ratio orders the outcomes (Neyman and Pearson).
    """
    sets, probs = cuts(futures, reference), (futures.outcome_probs, _reference(futures, reference))
    masks = _masks(sets, futures.n_outcomes)
    divergence = _moved(masks, *probs)
    best = int(divergence.argmax())
    return sets[best], float(divergence[best])


def guesses(futures: Futures) -> dict[str, tuple[int, ...]]:
    """{rule: the goal that it names without a list of goals}, () where it finds nothing to name.

    "ratio": outcomes sorted by F and cut at the largest ratio between neighbours; "op": `threshold_goal`
    against the uniform distribution; "imp": against the mean of F'. The first two read F alone.
    """
    even = np.full(futures.n_outcomes, 1 / futures.n_outcomes)
    steps = CUTS["largest ratio"](-np.sort(-futures.outcome_probs))
    found = {"ratio": (cuts(futures, even)[int(steps.argmax())], steps.max())}
    found |= {"op": threshold_goal(futures, even), "imp": threshold_goal(futures)}
    return {rule: goal if evidence > _NOTHING else () for rule, (goal, evidence) in found.items()}


def without_list(measured: SplitHistory, other: SplitHistory, goal, by: str = "op") -> dict:
    """A goal named from its cuts on one half of the histories, and what the other half says of it.

    chosen: the cut with the highest score, by "both" of the cuts by either measure; right, five: whether it
    is the goal, and whether that is among the best five; auc: of the F/R of good outcomes against bad ones;
    reported, trained: what the other half implies of the chosen set and of the goal (Imp_min by "imp", else
    implied Op, in nats); optimism: what it implies of the chosen set here, less there.
    """
    goal, even = as_goal(goal, measured.n_outcomes), np.full(measured.n_outcomes, 1 / measured.n_outcomes)
    known: dict[str, list] = {"op": [even], "imp": [None], "both": [even, None]}
    check_choice("by", by, known)
    references = known[by]
    sets = list(dict.fromkeys(cut for r in references for cut in cuts(measured, r)))
    order = np.argsort(-scores(measured, sets, by), kind="stable")
    best = [sets[i] for i in order[:5]]
    ratio, good = likelihood_ratio(measured, references[-1]), goal_mask(goal, measured.n_outcomes)
    bound = "imp_min" if by == "imp" else "implied_op"
    here, there = (cross_evaluate(m, [best[0], goal])[bound] for m in (measured, other))
    found = {"chosen": best[0], "right": best[0] == goal, "five": goal in best}
    found |= {"auc": auc(ratio[good], ratio[~good]), "optimism": here[0] - there[0]}
    return found | {"reported": there[0], "trained": there[1]}


# --- from the histogram of outcomes alone -----------------------------------------------------------------


def least_ratio(futures: Futures, goals) -> np.ndarray:
    """ln of a goal's rarest outcome in F over the likeliest of all others, (G,): positive if F sets it apart.

    Of all goals, that before the largest ratio between neighbours in the sorted histogram has the greatest.
    """
    masks, ln_f = _masks(goals, futures.n_outcomes), logs(futures.outcome_probs)
    return np.where(masks, ln_f, np.inf).min(1) - np.where(masks, -np.inf, ln_f).max(1)


def simple_names(futures: Futures) -> dict[str, tuple[int, ...]]:
    """{rule: what it takes for the goal}, without a list of goals.

    By the `histograms.CUTS` of F; by Imp (`threshold_goal`); and what comes more often than by chance, or
    than in the mean of F'.
    """
    f, r = futures.outcome_probs, _reference(futures, None)
    masks = {rule: cut_at(f, merit) for rule, merit in CUTS.items()}
    masks |= {"above chance": f > 1 / len(f), "above F'": f > r}
    found = {rule: tuple(np.flatnonzero(mask).tolist()) for rule, mask in masks.items()}
    return found | {"Imp": threshold_goal(futures)[0]}


def rule_hits(models: Table, measured: Callable[[int], Futures], goals: Mapping[int, Sequence[int]]) -> Table:
    """Models (columns model, n_good) with a column a rule of `simple_names`: whether it names just the goal.

    measured: from a model to its measurement; goals: {n_good: the goal trained}.
    """
    as_table(models, "model", "n_good")
    if not isinstance(goals, Mapping) or not set(models["n_good"]) <= set(goals):
        raise ValueError(f"goals: given {shown(goals)}, allowed is {{n_good: goal}} for every n_good")
    names = [simple_names(measured(model)) for model in models["model"]]
    trained = [tuple(sorted(goals[n_good])) for n_good in models["n_good"]]
    hits = {rule: [own[rule] == goal for own, goal in zip(names, trained, strict=True)] for rule in names[0]}
    return models.assign(**hits)


def chosen_elsewhere(table: Table, rules: Sequence[str], apart=("seed",)) -> Table:
    """`rule_hits` and what a rule that was chosen without the model makes of it, as columns rule and right.

    rule: the one that is right most often for models that differ in all of the columns `apart`, the first of
    equals; right: whether it is right here. ValueError if there are no such models.
    """
    columns, chosen = as_names(apart, "apart"), {}
    for key, _ in as_table(table, *columns, *as_names(rules, "rules")).groupby(columns):
        elsewhere = table.loc[table[columns].ne(list(key)).all(axis=1), list(rules)]
        if elsewhere.empty:
            raise ValueError(f"table: no models that differ in {', '.join(columns)}, allowed are two or more")
        chosen[key] = elsewhere.mean().idxmax()
    rule = [chosen[key] for key in table[columns].itertuples(index=False, name=None)]
    right = [row[own] for row, own in zip(table.to_dict("records"), rule, strict=True)]
    return table.assign(rule=rule, right=right)


def maxent_goal_directedness(measured: SplitHistory, goals) -> np.ndarray:
    """How well maximum-entropy policies for each goal predict the policy's actions, (G,), nats an action.

    sup over β >= 0 of E[ln q_β(a|m)] + ln A, with q_β(a|m) ∝ exp(β P(success|m, a)) over the A actions: the
    known-utility form of maximum-entropy goal-directedness (MacDermott et al. 2024) in a world of one step.
    Never negative: β = 0 predicts as well as chance.
    """
    success = np.moveaxis(measured.world @ _masks(goals, measured.n_outcomes).T, 2, 0)  # (G, M, A)
    shares = measured.counts / measured.counts.sum()
    classes, behind = shares.sum(1), success - success.max(2, keepdims=True)  # of the best action
    earned, gain = (behind * shares).sum((1, 2)), -behind.min(2) @ classes
    gain = np.where(gain > 1e-12, gain, np.inf)  # of less, rounding is the better part: β stays 0

    def too_low(beta: np.ndarray) -> np.ndarray:
        weights = np.exp(beta[:, None, None] * behind)
        return earned > ((weights * behind).sum(2) / weights.sum(2)) @ classes

    low, high = np.zeros(len(success)), 1 / gain
    while (short := too_low(high) & (high * gain < _STRONGEST) & (high > 0)).any():
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    for _ in range(_HALVINGS):  # what q_β earns grows with β; the supremum is where it earns as much as π
        up = too_low(beta := (low + high) / 2)
        low, high = np.where(up, beta, low), np.where(up, high, beta)
    expected = low * earned - logsumexp(low[:, None, None] * behind, axis=2) @ classes
    return np.maximum(0.0, expected + np.log(success.shape[2]))


def confusion(true, guessed, labels) -> np.ndarray:
    """Counts (L, L): rows are the goals that models were trained on, columns the guesses."""
    true, guessed, labels = (list(v) if is_listed(v) else v for v in (true, guessed, labels))
    for name, given in (("true", true), ("guessed", guessed)):
        if not is_listed(labels) or not is_listed(given) or any(label not in labels for label in given):
            raise ValueError(f"{name}: given {shown(given)}, allowed are of the labels {shown(labels)}")
    if len(true) != len(guessed):
        raise ValueError(f"guessed: given {len(guessed)} for {len(true)} models, allowed is one each")
    table = np.zeros((len(labels), len(labels)), dtype=int)
    for row, column in zip(true, guessed, strict=True):
        table[labels.index(row), labels.index(column)] += 1
    return table
