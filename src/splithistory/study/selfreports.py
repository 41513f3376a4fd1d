"""What models say of themselves, beside what is measured and what readers of a few tokens would say.

Tables of models in, tables out; information in nats. Post, section on self-evaluation. What a model *reports*
is its measurement with its own prediction of the next token in the world's place (`Study.self_evaluated`).
"""

from collections import ChainMap
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..measure import Futures, SplitHistory
from ..statistics import Interval, by_seed, paired_by_seed, t_interval
from ..transformer import Architecture, action_logits, choose
from ..trends import levels
from .measuring import odd_only
from .profiles import SIZES
from .results import GOALS, Study

Reader = Callable[[np.ndarray], np.ndarray]

KINDS = ("explored", "control")  # arms by what they saw: interventions, or as many without consequence
_READ = (("", ""), ("self_", ""), ("", "_error"))  # measured, reported, and what lies between
_NUMBERS = ("op", "imp", "h_f", "h_d", "s", "s_prime")


def reported(study: Study, rows: pd.DataFrame, *, restricted: bool = True) -> pd.DataFrame:
    """Rows of models, with a goal or without, with what is measured and what they report of themselves.

    op, imp, h_f = H(F) and h_d = Σ_a π̄(a) H(D_a) in nats, s and s_prime on their own goals (NaN without one);
    each as reported, `self_` before its name, and the difference, `_error` behind it; share, self_op / op.
    """
    found = []
    for row in rows.itertuples():
        real = _numbers(study.measured(row.model), row.n_good)
        told = _numbers(study.self_evaluated(row.model, restricted=restricted), row.n_good)
        each = real | {f"self_{name}": value for name, value in told.items()}
        found.append(each | {f"{name}_error": value - real[name] for name, value in told.items()})
    columns = [before + name + after for before, after in _READ for name in _NUMBERS]
    table = rows.assign(**pd.DataFrame(found, index=rows.index, columns=columns))
    return table.assign(share=table["self_op"] / table["op"])


def _numbers(futures: Futures, n_good: int) -> dict[str, float]:
    h_d = float(np.log(futures.n_outcomes)) - futures.delta
    rates = {"s": np.nan, "s_prime": np.nan}
    if n_good:
        goal = GOALS[n_good]
        rates = {"s": futures.success(goal), "s_prime": futures.counterfactual_success(goal)}
    return {"op": futures.op, "imp": futures.imp, "h_f": h_d - futures.op, "h_d": h_d} | rates


def foretold(study: Study, rows: pd.DataFrame, sets: Sequence, readers: Mapping[str, Reader]) -> pd.DataFrame:
    """What readers, {name: histories (N, T) -> answers (N, A, K)}, say of what models do.

    Of the rows whose weights are at hand, on each of the sets of histories: a row a model, set and reader.
    Columns of rows, then set, reader, told_op and told_imp (nats): the model's own actions, at temperature
    0, of those that it may play, with the reader's answers (`shortcuts.answers`) in the world's place.
    """
    found = []
    answers = [{name: reader(histories) for name, reader in readers.items()} for histories in sets]
    for row in rows[rows["model"].isin(study.weight_files)].to_dict("records"):
        answer = _answering(study, row)
        for number, histories in enumerate(sets):
            played = np.eye(study.world.n_tokens)[choose(answer(histories), 0.0)]
            for name, table in answers[number].items():
                said = SplitHistory(played, table)
                found.append(row | {"set": number, "reader": name, "told_op": said.op, "told_imp": said.imp})
    return pd.DataFrame(found, columns=[*rows, "set", "reader", "told_op", "told_imp"])


def _answering(study: Study, row: Mapping[Hashable, Any]) -> Callable:
    """A model as the policy that it was trained and measured as: histories (N, T) -> logits (N, V)."""
    weights = {name: torch.from_numpy(value[None]) for name, value in study.weights(row["model"]).items()}
    architecture = Architecture(*SIZES[row["size"]])

    def answer(histories):
        return action_logits(weights, architecture, histories)[0]

    return odd_only(answer, study.world) if _plays_odd_only(study, row) else answer


def _plays_odd_only(study: Study, row: Mapping[Hashable, Any]) -> bool:
    """Whether a model may play odd tokens only, by what its profile says of its training."""
    profile = study.manifest.get("profile", {})
    arm = profile.get("arms", {}).get(row["arm"], {}).get("settings", {})
    _, of_size = profile.get("by_size", {}).get(row["size"], ({}, {}))
    given = ChainMap(arm, of_size, profile.get("reinforcement", {}))
    return row["stage"] == "finetuned" and bool(given.get("odd_only", False))


def spread(expected: np.ndarray) -> float:
    """How much of an expectation (A, K) hangs on the action: root mean square about its mean over actions."""
    return float(np.std(expected - expected.mean(0)))


def likeness(study: Study, rows: pd.DataFrame, effects: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Rows of models with the `spread` of what they expect after each odd token, whatever the history.

    And, by the name of each of the effects (A/2, K), how it correlates with that, over tokens and outcomes
    about their mean over tokens.
    """
    found = []
    for model in rows["model"]:
        own = study.self_evaluated(model).counterfactual_probs[study.world.alphabet :]
        each = {name: _correlation(own, effect) for name, effect in effects.items()}
        found.append({"spread": spread(own)} | each)
    return rows.assign(**pd.DataFrame(found, index=rows.index))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = ((each - each.mean(0)).ravel() for each in (one, other))
    return float(np.corrcoef(one, other)[0, 1])


# --- models that saw interventions ------------------------------------------------------------------------


def coverage(study: Study) -> dict[str, dict[str, str]]:
    """{arm: {size: how many seeds of those planned are there with every goal}}, "" where none is planned."""
    profile = study.manifest["profile"]
    found: dict[str, dict[str, str]] = {}
    for name, arm in profile["arms"].items():
        sizes, seeds = (arm.get(key) or profile[key] for key in ("sizes", "seeds"))
        rows = study.finetuned(name)
        whole = rows.groupby(["size", "seed"])["n_good"].nunique() == len(arm["n_good"])
        there = whole.groupby("size").sum()
        cells = {size: f"{int(there.get(size, 0))} of {len(seeds)}" for size in sizes}
        found[name] = {size: cells.get(size, "") for size in profile["sizes"]}
    return found


def explored(study: Study) -> pd.DataFrame:
    """Models of the profile `explored` as `reported`, pretrained ones too, with kind (one of KINDS) and dose.

    dose: share of the tokens at odd positions that were random in training; even_loss and even_accuracy: of
    finetuned models, on windows of the sequence. Pretrained models without a dose are those of every arm
    without one.
    """
    models = study.models[study.models["stage"].isin(["pretrained", "finetuned"])]
    models = models.assign(arm=models["arm"].replace("", f"{KINDS[0]} 0"))
    rows = pd.concat([levels(models, kind).assign(kind=kind) for kind in KINDS])
    rows = reported(study, rows.rename(columns={"level": "dose"}))
    tuned = rows[rows["stage"] == "finetuned"]
    return pd.concat([rows.drop(tuned.index), study.ended(tuned, "even_loss", "even_accuracy")])


def of_dose(table: pd.DataFrame, dose: float, kind: str = KINDS[0]) -> pd.DataFrame:
    """The finetuned models of `explored` with this dose."""
    here = (table["stage"] == "finetuned") & (table["dose"] == dose) & (table["kind"] == kind)
    return table[here]


def by_group(
    table: pd.DataFrame, column: str, groups: Sequence[str], over: str = "seed"
) -> dict[tuple, Interval]:
    """{group: interval of a column over seeds, or over sets of histories}, of groups of at least two."""
    means = table.groupby([*groups, over], sort=False)[column].mean().dropna()
    each = means.groupby(list(groups), sort=False)
    return {group: t_interval(values) for group, values in each if len(values) > 1}


def expectations(table: pd.DataFrame) -> dict[str, Interval]:
    """What was expected of `explored` models before any was trained, as effects that should lie above 0.

    Over seeds, paired where two kinds are compared, mean over the sizes that both have; those that fewer
    than two seeds can tell are left out. Shares are of self_op in op.
    """
    before = table[(table["stage"] == "pretrained") & (table["dose"] == 0.3) & (table["kind"] == KINDS[0])]
    found: dict[str, Interval | None] = {}
    if before["seed"].nunique() > 1:
        found["pretrained at 0.3: reported Op (nats)"] = by_seed(before, "self_op")
    some = of_dose(table, 0.3)
    others = {"without": of_dose(table, 0.0), "in the control": of_dose(table, 0.3, KINDS[1])}
    for n in GOALS:
        for name, other in others.items():
            there, here = (each[each["n_good"] == n] for each in (some, other))
            found[f"n_good = {n}: share at 0.3 − {name}"] = difference(there, here, "share")
    worse = difference(of_dose(table, 1.0), of_dose(table, 0.0), "even_loss")
    found["even loss at 1 − without (nats)"] = worse
    return {name: of for name, of in found.items() if of}


def difference(there: pd.DataFrame, here: pd.DataFrame, column: str) -> Interval | None:
    """How much more of a column models have there than here: over seeds, paired; None of fewer than two."""
    each = paired_by_seed(there, here, column)
    return t_interval(each) if len(each) > 1 else None
