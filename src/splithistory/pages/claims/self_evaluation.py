"""Judges of the claims about what models say of themselves."""

import numpy as np

from ...statistics import median_sizes, page, slopes, t_interval, t_test
from .judging import Context, Judgement, Limits, TooSmall, judge, one_a_seed, over_seeds


@judge("self-op-biased", "self")
def _self_op_biased(context: Context, limits: Limits) -> Judgement:
    each = slopes(context.judged_by_self, "op", "self_op", intercept=True).unstack("n_good").to_numpy()
    mean, half = t_interval(each[:, -1])
    text = f"slopes {', '.join(map(over_seeds, each.T))} for n_good = 2, 4, 6"
    p = page(each)
    return Judgement(text, abs(mean - limits["slope"]) <= half, True, p, p)


@judge("self-imp-worse", "self")
def _self_imp_worse(context: Context, limits: Limits) -> Judgement:
    medians = median_sizes(context.judged_by_self, "imp_off", "op_off")
    imp, op = medians["imp_off"], medians["op_off"]
    text = f"median relative error {over_seeds(imp)} of Imp, {over_seeds(op)} of Op"
    return Judgement(text, True, p=t_test(np.log(imp / op), above=limits["logarithm"]))


def _acted_minus_sampled(context: Context, column: str) -> np.ndarray:
    """One difference a seed: maintenance on the model's own histories minus on the generator's."""
    acted = context.study.on_own_goal("acted")
    if acted.empty:
        raise TooSmall("the arm acted is not published")
    return one_a_seed(context.study.self_estimated(acted), context.judged_by_self, column, "acted")


@judge("self-imp-bias", "self")
def _self_imp_bias(context: Context, limits: Limits) -> Judgement:
    more, zero = -_acted_minus_sampled(context, "imp_off"), limits["difference"]
    p = min(1.0, 2 * min(t_test(more, above=zero), t_test(more, below=zero)))
    text = f"relative error of self-estimated Imp {over_seeds(more)} more with the generator's histories"
    return Judgement(text, True, p=p)


@judge("self-bias-cause", "self")
def _self_bias_cause(context: Context, limits: Limits) -> Judgement:
    more = _acted_minus_sampled(context, "op_off")
    text = f"relative error of self-estimated Op {over_seeds(more)} more with the model's own histories"
    return Judgement(text, True, p=t_test(more, below=limits["difference"]))
