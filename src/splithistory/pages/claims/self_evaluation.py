"""Judges of the claims about what models say of themselves."""

import numpy as np

from ...statistics import median_sizes, page
from ...study import selfreports, suspects
from ...trends import slopes
from .effects import over_seeds
from .judging import Context, Judgement, Limits, TooSmall, change, judge, one_a_seed, seeds


@judge("self-op-biased", "self")
def _self_op_biased(context: Context, limits: Limits) -> Judgement:
    each = slopes(context.judged_by_self, "op", "self_op", intercept=True).unstack("n_good").to_numpy()
    text = f"slopes (with an intercept) {', '.join(map(seeds, each.T))} for n_good = 2, 4, 6 (restricted)"
    six = context.judged_by_self.query("n_good == 6")
    off = six["self_op"] - six["op"]
    level = seeds(off.groupby(six["seed"]).mean())
    text += f"; the level for 6: self-estimated less measured Op {level} nats, "
    text += f"below y = x in {(off < 0).sum()} of {len(off)} models"
    on_line = over_seeds(each[:, -1], above=limits["least"], below=limits["most"])
    trend = over_seeds(change(each), above=limits["trend"], named=page(each))
    return Judgement(text, [on_line, trend], [trend])


@judge("self-imp-worse", "self")
def _self_imp_worse(context: Context, limits: Limits) -> Judgement:
    medians = median_sizes(context.judged_by_self, "imp_off", "op_off")
    imp, op = medians["imp_off"], medians["op_off"]
    text = f"restricted self-evaluation: median relative error {seeds(imp)} of Imp, {seeds(op)} of Op"
    return Judgement(text, [over_seeds(np.log(imp / op), above=limits["logarithm"])])


def _acted_minus_sampled(context: Context, column: str) -> np.ndarray:
    """One difference a seed: maintenance on the model's own histories minus on the generator's."""
    acted = context.study.on_own_goal("acted")
    if acted.empty:
        raise TooSmall("the arm acted is not published")
    return one_a_seed(context.study.self_estimated(acted), context.judged_by_self, column, "acted")


@judge("self-imp-bias", "self")
def _self_imp_bias(context: Context, limits: Limits) -> Judgement:
    more = -_acted_minus_sampled(context, "imp_off")
    text = f"signed relative error of self-estimated Imp changes by {seeds(-more)} with the model's own "
    text += "histories in place of the generator's (below 0: it is reported lower); whether for the "
    text += "reason that is named for Op is not tested"
    return Judgement(text, [over_seeds(more, differs=limits["difference"])])


@judge("self-bias-cause", "self")
def _self_bias_cause(context: Context, limits: Limits) -> Judgement:
    more = _acted_minus_sampled(context, "op_off")
    expects = _acted_minus_sampled(context, "s_prime_error")
    text = (
        f"signed relative error of self-estimated Op changes by {seeds(more)} with the model's own histories "
    )
    text += f"(above 0: less is missing); success expected in F' changes by {seeds(expects)}"
    claim = over_seeds(more, below=limits["difference"])
    return Judgement(text, [claim])


@judge("impact-regularisation")
def _impact_regularisation(context: Context, limits: Limits) -> Judgement:
    """Reads the profiles `penalised` (a penalty on reported Imp) and `explored` (interventions seen)."""
    penalised = suspects.penalised(context.of("penalised"))
    explored = selfreports.explored(context.of("explored"))
    dosed, without = (selfreports.of_dose(explored, dose) for dose in (0.3, 0.0))
    told = one_a_seed(*suspects.self_penalised(penalised), "told", suspects.SELF)
    share = one_a_seed(dosed, without, "share", "explored 0.3")
    text = f"ln of reported over measured Imp changes by {seeds(told)} under a penalty on what is reported; "
    text += f"the share of Op that is reported by {seeds(share)} where tokens were interventions"
    return Judgement(
        text, [over_seeds(told, below=-limits["logarithm"]), over_seeds(share, above=limits["share"])]
    )
