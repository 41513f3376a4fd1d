"""What would have come otherwise: models of a study beside other futures than the split-history one.

Tables of models in, tables out; Op and Imp in nats. Post, section on impact.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ..measure import Futures
from ..objectives import guesses
from .results import GOALS, Study


def compared(study: Study, rows: pd.DataFrame, *, mixture: bool = False) -> pd.DataFrame:
    """Op and Imp of models against each of `Study.comparison_futures`: a row a model and future.

    And against "do nothing": token 0, which the sequence never has at an odd position and whose factor in
    the product is 1. mixture: also against "own mixture", where the futures of the model's own actions are
    mixed before they are compared.
    """
    found = []
    for row in rows[["model", "n_good", "seed", "size"]].to_dict("records"):
        futures = study.comparison_futures(row["model"])
        own = futures["split history"]
        futures["do nothing"] = Futures([1.0], own.outcome_probs, own.counterfactual_probs[:1])
        if mixture:
            futures["own mixture"] = own.mixed()
        found += [row | {"future": name, "op": f.op, "imp": f.imp} for name, f in futures.items()]
    return pd.DataFrame(found)


def evenness(rows: pd.DataFrame) -> dict[str, float]:
    """How much of Op the outcomes F alone tell, over rows of measured models (op, imp, delta in nats).

    By the definition of δ, Op = ln K − H(F) − δ: delta_low and delta_high are its ends over the models,
    op_span the range of Op; with_even, with_imp: correlation of Op with ln K − H(F), which needs no
    counterfactual, and with Imp; imp_apart: the greatest distance of Op and Imp.
    """
    op, imp, delta = (rows[name].to_numpy(float) for name in ("op", "imp", "delta"))
    return {
        "n": len(rows),
        "delta_low": delta.min(),
        "delta_high": delta.max(),
        "op_span": np.ptp(op),
        "with_even": np.corrcoef(op, op + delta)[0, 1],
        "with_imp": np.corrcoef(op, imp)[0, 1],
        "imp_apart": np.abs(op - imp).max(),
    }


def success_parts(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of models with what s' − p is made of, on their own goals: four columns that add up to it.

    world: odd tokens drawn alike, on all classes (of both parities alike s' = p); draw: the histories that
    were drawn; parity: the even tokens that the model plays; taste: its taste in single tokens of a parity.
    """
    n, found = study.world.alphabet, []
    uniform = study.world.class_shares() @ study.world.table[:, n:].mean(1)
    for row in rows.itertuples():
        own, good = study.measured(row.model), list(GOALS[row.n_good])
        even, odd = own.counterfactual_probs[:n].mean(0), own.counterfactual_probs[n:].mean(0)
        parity = own.action_probs[:n].sum() * (even - odd)[good].sum()
        parts = {"world": uniform[good].sum() - len(good) / n, "draw": (odd - uniform)[good].sum()}
        taste = own.counterfactual_success(good) - odd[good].sum() - parity
        found.append(parts | {"parity": parity, "taste": taste})
    return rows.assign(**pd.DataFrame(found, index=rows.index))


def merged_imp(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Imp of models when outcomes are merged: 8 outcomes, 4 pairs, and success or failure on their own goals.

    Merging never adds impact (data processing); seen as success or failure it is the mean of kl(s, s'_a).
    """
    found = []
    for row in rows.itertuples():
        own, good = study.measured(row.model), GOALS[row.n_good]
        outcomes = np.arange(own.n_outcomes)
        two = own.merged([good, np.setdiff1d(outcomes, good)])
        pairs = own.merged(outcomes.reshape(-1, 2))
        found.append({"8 outcomes": own.imp, "4 pairs": pairs.imp, "success or failure": two.imp})
    return rows.assign(**pd.DataFrame(found, index=rows.index))


def narrowed(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of models with who narrowed their futures, and the goal that each of `objectives.guesses` names.

    s, op, imp, delta, narrowing = ln K − H(F) = op + delta (nats, exact for their histories); sink: how often
    they play a token after which the history does not matter; by_ratio, by_op, by_imp: the goals named.
    """
    found, sinks = [], list(study.world.sinks)
    for row in rows.itertuples():
        own = study.measured(row.model)
        each = {name: getattr(own, name) for name in ("op", "imp", "delta", "narrowing")}
        each |= {"s": own.success(GOALS[row.n_good]), "sink": float(own.action_probs[sinks].sum())}
        found.append(each | {f"by_{rule}": goal for rule, goal in guesses(own).items()})
    return rows.assign(**pd.DataFrame(found, index=rows.index))


def without_each_set(study: Study) -> list[Study]:
    """The study without each in turn of the sets of histories of the post's procedure."""
    sampled = study.sampled
    return [replace(study, sampled=sampled[sampled["repeat"] != r]) for r in sampled["repeat"].unique()]
