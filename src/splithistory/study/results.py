"""What a study leaves and how it is read: tables of curves and counts, and each model measured from them.

Reads tables, trains nothing. Every estimate comes with its interval.
"""

import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from ..information import as_goal, check_choice, check_integer, chosen, imp_min, implied_op, shown
from ..measure import Futures, SplitHistory
from ..objectives import (
    CRITERIA,
    cross_evaluate,
    graded_bounds,
    grades,
    named,
    scores,
    threshold_goal,
    without_list,
)
from ..policies import habitual
from ..recurrence import Recurrence
from ..statistics import t_interval
from .store import checked_manifest, whole_folder, write_manifest, write_table

ARMS = ("sampled", "exact", "acted")  # of reinforcement, in the order in which they are shown
GOALS = {2: (0, 4), 4: (0, 2, 4, 6), 6: (0, 1, 2, 4, 5, 6)}  # the post's goals by n_good, outcomes s_{t+1}
GRADES = grades(GOALS.values(), 8)  # the graded reward that they make, each holding the one before
_HALVES = 2  # of the histories that a model is measured on
READINGS = ((0.0, "all"), (1.0, "all"), (0.0, "odd"))  # of logits: (temperature, tokens a model may play)


@dataclass
class Study:
    """What the chapters read.

    models: a row a model, and the generator first (stage: generator, untrained, pretrained or finetuned;
    arm, size, n_parameters, seed, n_good; run: its key in the store, measurement: that of its measurement);
    curves: model, step, column, value (losses: nats); counts: model, half, temperature, tokens, m, a, count;
    sampled: model, repeat, op, imp and outcome shares by the post's procedure, in nats;
    self_evaluation: model, repeat, a, plays and the model's own mean prediction of the next token after
    action a (columns q0..q15 over all tokens, r0..r7 restricted to even ones and renormalised); a = −1: after
    the action it chose;
    calibration: model, repeat, after (its own or the generator's action), bin of confidence, weight,
    confidence, accuracy, cross_entropy (nats) of the restricted predictions;
    runs: key, kind, seconds, revision, machine and versions of each run; manifest: how it was made.
    """

    models: pd.DataFrame
    curves: pd.DataFrame
    counts: pd.DataFrame
    sampled: pd.DataFrame
    self_evaluation: pd.DataFrame
    calibration: pd.DataFrame
    runs: pd.DataFrame
    manifest: dict
    published: bool = False
    weight_files: dict[int, Path] = field(default_factory=dict)  # of the models whose weights are at hand
    measures_file: Path | None = None  # of published `measures`

    TABLES = ("models", "curves", "counts", "sampled", "self_evaluation", "calibration", "runs")

    @classmethod
    def read(cls, folder: Path) -> "Study":
        """The published study in a folder, after checking every file's hash."""
        manifest = checked_manifest(folder)
        tables = {table: pd.read_parquet(folder / f"{table}.parquet") for table in cls.TABLES}
        study = cls(**tables, manifest=manifest, published=True)
        if "measures.parquet" in manifest["files"]:
            study.measures_file = folder / "measures.parquet"
        for row in study.models.itertuples():
            if f"weights/{row.run}.safetensors" in manifest["files"]:
                study.weight_files[row.model] = folder / "weights" / f"{row.run}.safetensors"
        return study

    @cached_property
    def world(self) -> Recurrence:
        """The world that the models were trained and measured in; old manifests do not name the post's."""
        return Recurrence(**self.manifest.get("profile", {}).get("world", {}))

    def weights(self, model: int) -> dict[str, np.ndarray]:
        """A model's weights {name: array}; ValueError if only its measurements are at hand."""
        return load_file(chosen("model", model, self.weight_files))

    def measured(
        self, model: int, *, temperature: float = 0.0, tokens: str = "all", half: int | None = None
    ) -> SplitHistory:
        """The exact measurement of a model: its table of counts in the world, both halves or one.

        temperature, tokens: one of READINGS; tokens "odd" lets it play odd-position tokens only.
        half: 0 or 1. ValueError: no such reading or half, or the model is not measured.
        """
        if (halves := self._counts.get((model, temperature, tokens))) is None:
            given, models = shown((model, temperature, tokens)), sorted({int(m) for m, *_ in self._counts})
            allowed = f"{shown(models)} and {', '.join(map(str, READINGS))}"
            raise ValueError(f"model, temperature, tokens: given {given}, allowed are {allowed}")
        counts = halves.sum(0) if half is None else halves[check_integer("half", half, 0, _HALVES - 1)]
        return SplitHistory(counts, self.world.table)

    @property
    def sizes(self) -> list[str]:
        """Names of the sizes of the pretrained models, the smallest first."""
        return list(self.models.query("stage == 'pretrained'").sort_values("n_parameters")["size"].unique())

    def generator(self, *, temperature: float = 0.0) -> SplitHistory:
        """The sequence measured on itself, by its likeliest token, or its own noisy draw at temperature 1."""
        model = self.models.loc[self.models["stage"] == "generator", "model"].iloc[0]
        return self.measured(int(model), temperature=temperature)

    @property
    def conclusive(self) -> bool:
        """Whether what was found must hold, being published with three seeds and three sizes or more."""
        return self.published and min(self.finetuned()["seed"].nunique(), len(self.sizes)) >= 3

    def finetuned(self, arm: str = "sampled") -> pd.DataFrame:
        """The rows of `models` that an arm of reinforcement trained; none if it was not trained."""
        return self.models[(self.models["stage"] == "finetuned") & (self.models["arm"] == arm)]

    def pretrained(self, arm: str = "") -> pd.DataFrame:
        """The rows of `models` that were pretrained: those that finetuning starts from, or an ablation."""
        return self.models[(self.models["stage"] == "pretrained") & (self.models["arm"] == arm)]

    def summary(self, arm: str = "sampled", *, temperature: float = 0.0) -> pd.DataFrame:
        """An arm's finetuned models measured, each on its own goal: a row a model, information in nats.

        Columns of `models`, then those of `measures`.
        """
        return self.summarised(self.finetuned(arm), temperature=temperature)

    def summarised(self, rows: pd.DataFrame, *, temperature: float = 0.0) -> pd.DataFrame:
        """Rows of `models` with their `scalars`; nothing if there are none."""
        if rows.empty:
            return pd.DataFrame()
        measures = [{"model": m} | self.scalars(m, temperature=temperature) for m in rows["model"]]
        return rows.merge(pd.DataFrame(measures), on="model")

    def arms(self) -> dict[str, pd.DataFrame]:
        """{arm: its `summary`, at temperature 0} of the ARMS that were trained."""
        return {arm: table for arm in ARMS if len(table := self.summary(arm))}

    @property
    def measures(self) -> pd.DataFrame:
        """Every model measured, at temperature 0 and 1, a row each of model, temperature and `scalars`."""
        pairs = [(m, t) for m in self.models["model"] for t in (0.0, 1.0)]
        rows = [{"model": m, "temperature": t} | self.scalars(m, temperature=t) for m, t in pairs]
        return pd.DataFrame(rows)

    def scalars(self, model: int, *, temperature: float = 0.0) -> dict[str, float]:
        """A model's measurement in numbers, information in nats: as published, else computed once.

        op and imp (each with _low and _high, a 95 % interval over the draw of histories), delta, wrong_parity
        (the rate of even tokens played at odd positions); for finetuned models, on their own goal, also s and
        gap = op − implied_op with intervals, implied_op, s_prime and imp_min.
        """
        if (model, temperature) not in self._known:
            measured = self.measured(model, temperature=temperature)
            n_good = self.models.set_index("model").loc[model, "n_good"]
            wrong_parity = float(measured.action_probs[: measured.n_outcomes].sum())
            scalars = measured.scalars(GOALS[n_good] if n_good else None)
            first = {"delta": scalars["delta"], "wrong_parity": wrong_parity}
            self._known[model, temperature] = first | scalars
        return dict(self._known[model, temperature])

    @cached_property
    def _known(self) -> dict[tuple[int, float], dict[str, float]]:
        """The `scalars` that are published, and then those computed."""
        if self.measures_file is None:
            return {}
        table = pd.read_parquet(self.measures_file).set_index(["model", "temperature"])
        return {pair: row.dropna().to_dict() for pair, row in table.iterrows()}

    def decompositions(self, arm: str = "sampled") -> pd.DataFrame:
        """Op and Imp split into their terms (SplitHistory.decomposition), at temperature 0, in nats.

        A row for each pretrained model on every goal, and for each finetuned one of the arm on its own;
        excess: what the two terms within success and within failure come to.
        """
        rows = []
        pretrained = self.models[self.models["stage"] == "pretrained"]
        for row in pd.concat([pretrained, self.finetuned(arm)]).itertuples(index=False):
            measured = self.measured(row.model)
            for n_good in [row.n_good] if row.n_good else GOALS:
                whole = {"n_good": n_good, "op": measured.op, "imp": measured.imp}
                parts = {"excess": measured.excess(GOALS[n_good])} | measured.decomposition(GOALS[n_good])
                rows.append(row._asdict() | whole | parts)
        return pd.DataFrame(rows)

    def without_goal(self) -> pd.DataFrame:
        """Every model that was given no goal, on each, n_good: a row a pair, exact, at temperature 0, nats.

        Columns of `models`, op, delta, the rates and bounds of `objectives.cross_evaluate`, and
        gap = op − implied_op with its 95 % interval over the draw of histories.
        """

        def gaps(futures: Futures) -> np.ndarray:
            return np.stack([futures.op - futures.implied_op(goal) for goal in GOALS.values()], -1)

        found = []
        for row in self.models[self.models["stage"] != "finetuned"].to_dict("records"):
            own = self.measured(row["model"])
            ends = dict(zip(("gap_low", "gap_high"), own.interval(gaps), strict=True))
            row |= {"n_good": list(GOALS), "op": own.op, "delta": own.delta, "gap": gaps(own), **ends}
            found.append(pd.DataFrame(row | cross_evaluate(own, GOALS.values())))
        return pd.concat(found, ignore_index=True)

    def gaps(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows measured on a goal, with op − implied_op (nats): `gap` exactly, `sampled_gap` by procedure."""
        sampled = self.by_procedure(rows)
        gap, sampled_gap = (table["op"] - table["implied_op"] for table in (rows, sampled))
        return rows.assign(gap=gap, sampled_gap=sampled_gap)

    def sampled_errors(self, rows: pd.DataFrame, column: str) -> pd.DataFrame:
        """The post's procedure minus the exact value of a column (op or imp, nats), (sets, models).

        All models share the sets of histories: sets are the independent replications.
        """
        sets = self.sampled.pivot(index="repeat", columns="model", values=column)
        return sets[rows["model"]] - rows.set_index("model")[column]

    def sampled_measures(self, model: int, goal) -> dict[str, float]:
        """A model on a goal by the post's procedure: means over its sets, information in nats.

        op, imp (infinite if it is in any set), s, s_prime, and implied_op = kl(s, p), imp_min = kl(s, s') of
        these means. ValueError: the model is not measured so.
        """
        mean, goal = chosen("model", model, self._sampled_means), as_goal(goal, self.world.alphabet)
        s, s_prime = (sum(mean[f"{f}{k}"] for k in goal) for f in ("f", "f_prime"))
        by_chance = len(goal) / self.world.alphabet
        bounds = {"implied_op": implied_op(s, by_chance), "imp_min": imp_min(s, s_prime)}
        rates = {"op": mean["op"], "imp": mean["imp"], "s": s, "s_prime": s_prime}
        return rates | {name: float(bound) for name, bound in bounds.items()}

    def by_procedure(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of models measured by the post's procedure (`sampled_measures`).

        Each on its own goal or, in rows of `crossed`, on that of the row. op_low, op_high: 95 % t interval
        over the sets; the exact values' intervals, over the draw of histories, are left out.
        """
        goals = rows.get("goal", rows["n_good"])
        pairs = zip(rows["model"], goals, strict=True)
        found = pd.DataFrame([self.sampled_measures(m, GOALS[goal]) for m, goal in pairs], index=rows.index)
        sets = self.sampled.pivot(index="repeat", columns="model", values="op")
        mean, half = np.transpose([t_interval(sets[m]) for m in rows["model"]])
        kept = rows.loc[:, ~rows.columns.str.endswith(("_low", "_high"))]
        return kept.assign(**found, op_low=mean - half, op_high=mean + half)

    def crossed(self, arm: str = "sampled") -> pd.DataFrame:
        """Each finetuned model of an arm on each of the goals, a row a pair of model and goal.

        Columns of `models`, goal, op, imp, delta (nats), and the rates and bounds of
        `objectives.cross_evaluate`; exact for each model's histories, without intervals (`summary` has them).
        """
        rows = []
        for row in self.finetuned(arm).to_dict("records"):
            measured = self.measured(row["model"])
            scalars = {"op": measured.op, "imp": measured.imp, "delta": measured.delta}
            rates = cross_evaluate(measured, GOALS.values())
            for goal, *values in zip(GOALS, *rates.values(), strict=True):
                rows.append(dict(zip(rates, values, strict=True)) | {"goal": goal} | row | scalars)
        return pd.DataFrame(rows)

    def on_own_goal(self, arm: str = "sampled") -> pd.DataFrame:
        """The rows of `crossed` in which the goal is the model's own."""
        rows = self.crossed(arm)
        return rows if rows.empty else rows[rows["n_good"] == rows["goal"]].reset_index(drop=True)

    def guesses(self, goals, arms=("sampled",), criteria=CRITERIA) -> pd.DataFrame:
        """Which of these goals each finetuned model seems to have: a row a model and criterion.

        Columns of `models`, by (the criterion), score (G,), and those of `objectives.named`.
        """
        rows = []
        for row in pd.concat(map(self.finetuned, arms)).to_dict("records"):
            measured = self.measured(row["model"])
            for by in criteria:
                score = scores(measured, goals, by)
                rows.append(row | {"by": by, "score": score} | named(GOALS[row["n_good"]], goals, score))
        return pd.DataFrame(rows)

    def guesses_without_list(self, arms=("sampled",), criteria=("op", "imp", "both")) -> pd.DataFrame:
        """The same named from half of the histories: a row a model, criterion and half (the one chosen on).

        Columns of `models`, by, half, and those of `objectives.without_list`.
        """
        rows = []
        for row in pd.concat(map(self.finetuned, arms)).to_dict("records"):
            halves = [self.measured(row["model"], half=half) for half in (0, 1)]
            for by, half in product(criteria, (0, 1)):
                found = without_list(halves[half], halves[1 - half], GOALS[row["n_good"]], by)
                rows.append(row | {"by": by, "half": half} | found)
        return pd.DataFrame(rows)

    def habits(self, arms=("sampled",)) -> pd.DataFrame:
        """Each finetuned model beside the policy that has only its habits (`policies.habitual`).

        Columns of `models`; f and f_habit (K,): the outcomes of both; within and within_habit: nats of Op in
        the preference among successes; habit_named: whether its goal is named right by Op, without a list.
        """
        rows = []
        for row in pd.concat(map(self.finetuned, arms)).to_dict("records"):
            own, goal = self.measured(row["model"]), GOALS[row["n_good"]]
            habit = habitual(own, goal)
            for name, policy in (("", own), ("_habit", habit)):
                row[f"f{name}"] = policy.outcome_probs
                row[f"within{name}"] = policy.decomposition(goal)["op_within_success"]
            even = np.full(own.n_outcomes, 1 / own.n_outcomes)
            rows.append(row | {"habit_named": threshold_goal(habit, even)[0] == goal})
        return pd.DataFrame(rows)

    def graded(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of models with what the graded reward GRADES implies of them (`objectives.graded_bounds`)."""
        found = [graded_bounds(self.measured(m), GRADES) for m in rows["model"]]
        return rows.assign(**pd.DataFrame(found, index=rows.index))

    def self_estimated(self, rows: pd.DataFrame, *, restricted: bool = True) -> pd.DataFrame:
        """Models measured on their own goals (`on_own_goal`) with what they say of themselves.

        self_op, self_imp, self_delta (nats), self_s, self_s_prime; each less what is measured as _error; and
        the relative errors of Op and Imp, signed, as op_off and imp_off.
        """
        found = []
        for row in rows.itertuples():
            own, goal = self.self_evaluated(row.model, restricted=restricted), GOALS[row.n_good]
            rates = {"s": own.success(goal), "s_prime": own.counterfactual_success(goal)}
            told = {"op": own.op, "imp": own.imp, "delta": own.delta} | rates
            each = {f"self_{name}": value for name, value in told.items()}
            each |= {f"{name}_error": value - getattr(row, name) for name, value in told.items()}
            found.append(each | {f"{m}_off": each[f"{m}_error"] / getattr(row, m) for m in ("op", "imp")})
        return rows.assign(**pd.DataFrame(found, index=rows.index))

    def self_estimated_by_set(self, told: pd.DataFrame, *, restricted: bool = True) -> pd.DataFrame:
        """A table of `self_estimated` with what single sets of histories say of Op and Imp, in nats.

        self_op_low, self_op_high: 95 % t interval over the sets, around the estimate of all; op_bias: by how
        much the mean of the sets exceeds it; the same of Imp.
        """
        found, repeats = [], sorted(set(self.self_evaluation["repeat"]))
        for row in told.itertuples():
            sets = [self.self_evaluated(row.model, restricted=restricted, repeat=r) for r in repeats]
            each: dict[str, float] = {}
            for name in ("op", "imp"):
                joint = getattr(row, f"self_{name}")
                mean, half = t_interval([getattr(futures, name) for futures in sets])
                each |= {f"self_{name}_low": joint - half, f"self_{name}_high": joint + half}
                each[f"{name}_bias"] = mean - joint
            found.append(each)
        return told.assign(**pd.DataFrame(found, index=told.index))

    def calibrated(self, rows: pd.DataFrame, *by: str) -> pd.DataFrame:
        """Weighted means of `calibration` over models, a row for each of `by` (columns of either table).

        confidence, accuracy, cross_entropy (nats), and weight, the number of predictions.
        """
        names = ["confidence", "accuracy", "cross_entropy"]
        table = self.calibration.merge(rows, on="model")
        table[names] = table[names].mul(table["weight"], axis=0)
        sums = table.groupby(list(by))[[*names, "weight"]].sum()
        return sums[names].div(sums["weight"], axis=0).assign(weight=sums["weight"])

    def comparison_futures(self, model: int) -> dict[str, Futures]:
        """A model's future at temperature 0 beside other futures than the split-history one.

        "split history" as `measured`; "token a" for each odd-position token a always played, "random token"
        for one drawn uniformly, "untrained" and "pretrained" for the model's own predecessors acting on the
        same histories: Op = H(F_ref) − H(F), Imp = KL(F ‖ F_ref), in nats. Post, section on impact.
        """
        own, n_odd = self.measured(model), self.world.alphabet
        tokens = own.counterfactual_probs[n_odd:]
        references = {f"token {n_odd + i}": probs for i, probs in enumerate(tokens)}
        references["random token"] = tokens.mean(0)
        row = self.models.set_index("model").loc[model]
        same = (self.models["size"] == row["size"]) & (self.models["seed"] == row["seed"])
        arm = self.manifest.get("profile", {}).get("arms", {}).get(row["arm"], {})
        before = row["arm"] if arm.get("pretraining") else ""  # some arms start from a model of their own
        for stage, of in (("untrained", ""), ("pretrained", before)):
            found = self.models[same & (self.models["stage"] == stage) & (self.models["arm"] == of)]
            if len(found):
                references[stage] = self.measured(found["model"].iloc[0]).outcome_probs
        others = {n: Futures([1.0], own.outcome_probs, probs[None]) for n, probs in references.items()}
        return {"split history": own} | others

    def self_evaluated(self, model: int, *, restricted: bool = True, repeat: int | None = None) -> Futures:
        """A model measured by its own expectations of s_{t+1} in place of the world's answer.

        restricted: over the even-position tokens, renormalised for each history, else over all; repeat:
        on one of the sets of histories, None for all of them together. Post, section on self-evaluation.
        ValueError: no such set, or the model was not asked.
        """
        rows = chosen("repeat", repeat, chosen("model", model, self._told))
        name, n = ("r", self.world.alphabet) if restricted else ("q", self.world.n_tokens)
        expected = rows[[f"{name}{f}" for f in range(n)]].to_numpy()
        plays = rows["plays"].to_numpy()[1:]  # the first row is of no action: of each history's own
        return Futures(plays / plays.sum(), expected[0], expected[1:])

    def curves_of(self, rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """Columns of the curves of these rows of `models`: step, column, value, and what the rows say."""
        for column in columns if len(rows) else ():
            check_choice("column", column, sorted(self.curves["column"].unique()))
        return self.curves[self.curves["column"].isin(columns)].merge(rows, on="model")

    def ended(self, rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """Rows of `models` with the last value of columns of their curves (losses in nats)."""
        curves = self.curves_of(rows[["model"]], *columns)
        last = curves.pivot_table("value", "model", "column", aggfunc="last")
        if missing := sorted({*rows["model"]} - {*last.index}):
            raise ValueError(f"rows: models {shown(missing)} have no curve of {', '.join(columns)}")
        return rows.assign(**last.reindex(columns=columns).loc[rows["model"]].set_index(rows.index))

    @cached_property
    def _told(self) -> dict[int, dict[int | None, pd.DataFrame]]:
        """What each model says, a row an action, by model and then set of histories, None for all of them."""
        by = self.self_evaluation.groupby(["model", "a"])
        joint = by.mean().assign(plays=by["plays"].sum()).reset_index()  # sets are equally large
        told: dict = {model: {None: rows} for model, rows in joint.groupby("model")}
        for (model, repeat), rows in self.self_evaluation.sort_values("a").groupby(["model", "repeat"]):
            told[model][repeat] = rows
        return told

    @cached_property
    def _sampled_means(self) -> dict[int, dict[str, float]]:
        return self.sampled.groupby("model").mean().to_dict("index")

    @cached_property
    def _counts(self) -> dict[tuple[int, float, str], np.ndarray]:
        """Each reading's counts (halves, M, A), made at once, as each is asked for often."""
        readings = self.counts.groupby(["model", "temperature", "tokens"])
        cells = (readings.ngroup(), *(self.counts[name] for name in ("half", "m", "a")))
        tables = np.zeros((len(readings), _HALVES, *self.world.table.shape[:2]))
        np.add.at(tables, cells, self.counts["count"])
        return dict(zip(readings.groups, tables, strict=True))

    def publish(self, folder: Path, command: str, *, weights: Collection[int] = ()) -> None:
        """Write tables and manifest to `folder`, whole or not at all; and weights of models, if at hand."""
        with whole_folder(Path(folder)) as temporary:
            for name in self.TABLES:
                write_table(getattr(self, name), temporary / f"{name}.parquet")
            if len(self.counts):  # a profile may keep the curves only
                write_table(self.measures, temporary / "measures.parquet")
            for row in self.models[self.models["model"].isin({*weights} & {*self.weight_files})].itertuples():
                (place := temporary / "weights").mkdir(exist_ok=True)
                shutil.copy(self.weight_files[row.model], place / f"{row.run}.safetensors")
            write_manifest(temporary, {**self.manifest, "command": command})
