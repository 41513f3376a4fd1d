"""Judges of the claims about what models say of themselves."""

import numpy as np
import pandas as pd

from ...statistics import page, slopes, t_interval, t_test
from .judging import Context, Judgement, Limits, judge, one_a_seed, over_seeds


@judge("self-op-biased", "self")
def _self_op_biased(context: Context, limits: Limits) -> Judgement:
    found = (
        slopes(context.judged_by_self, "op", "self_op", intercept=True)
        .unstack("n_good")
        .to_numpy()
    )
    mean, half = t_interval(found[:, -1])
    text = f"slopes {', '.join(map(over_seeds, found.T))} for n_good = 2, 4, 6"
    p = page(found)
    return Judgement(text, abs(mean - 1) <= half, True, p, p)


@judge("self-imp-worse", "self")
def _self_imp_worse(context: Context, limits: Limits) -> Judgement:
    table = context.judged_by_self
    errors = pd.DataFrame({m: ((table[f"self_{m}"] - table[m]) / table[m]).abs() for m in ("imp", "op")})
    medians = errors.groupby(table["seed"]).median()
    ratio = np.log(medians["imp"] / medians["op"])
    text = f"median relative error {over_seeds(medians['imp'])} of Imp, {over_seeds(medians['op'])} of Op"
    return Judgement(text, True, p=t_test(ratio, above=0))


def _bias_by_maintenance(context: Context, measure: str) -> np.ndarray:
    """Relative error of the self-estimate, maintenance on the model's own histories minus the generator's."""
    acted = context.study.self_estimated(context.study.on_own_goal("acted"))
    arms = (
        table.assign(error=(table[f"self_{measure}"] - table[measure]) / table[measure])
        for table in (acted, context.judged_by_self)
    )
    return one_a_seed(*arms, "error", "acted")


@judge("self-imp-bias", "self")
def _self_imp_bias(context: Context, limits: Limits) -> Judgement:
    less = -_bias_by_maintenance(context, "imp")
    p = min(1.0, 2 * min(t_test(less, above=0), t_test(less, below=0)))
    text = f"relative error of self-estimated Imp {over_seeds(less)} more with the generator's histories"
    return Judgement(text, True, p=p)


@judge("self-bias-cause", "self")
def _self_bias_cause(context: Context, limits: Limits) -> Judgement:
    more = _bias_by_maintenance(context, "op")
    text = f"relative error of self-estimated Op {over_seeds(more)} more with the model's own histories"
    return Judgement(text, True, p=t_test(more, below=0))
