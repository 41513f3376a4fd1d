"""Profiles: which models a study trains and how it measures them, and the runs that this comes to.

A profile names sizes, seeds, arms and settings. Each of its models is a run, and so is each measurement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..information import check_choice, check_flag, check_integer, is_listed, shown
from ..recurrence import POST, Recurrence
from .results import GOALS
from .runs import Generator, Measure, Pretrain, Reinforce, Run, Untrained

_CONTEXT = 20  # tokens of the histories that models act on and are measured on
SIZES = {"18k": (32, 2), "53k": (56, 2), "144k": (76, 3), "402k": (128, 3)}  # name: (width, layers)


def _check_each(name: str, given: Iterable, allowed: Iterable) -> None:
    """ValueError unless several are given, or none, and each is allowed."""
    for each in given if is_listed(given) else [given]:
        if each not in list(allowed) or not is_listed(given):
            raise ValueError(f"{name}: given {shown(each)}, allowed are {', '.join(map(str, allowed))}")


def _seeds(given: Iterable) -> tuple[int, ...]:
    return tuple(check_integer("seed", s, 0) for s in (given if is_listed(given) else [given]))


@dataclass(frozen=True)
class Arm:
    """One way to train: settings that differ from the profile's, and what is trained that way.

    stage: "finetuned" (each goal of `n_good`, from the profile's pretrained models) or "pretrained";
    settings: of training.Reinforcement or training.Pretraining; context: tokens read; pretraining: settings
    of a pretrained model of the arm's own, {} for the profile's; sizes, seeds: () for all of the profile's.
    ValueError for what no arm can be, or what it would ignore.
    """

    stage: str = "finetuned"
    settings: dict = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    n_good: tuple[int, ...] = tuple(GOALS)
    context: int = _CONTEXT
    pretraining: dict = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    def __post_init__(self):
        check_choice("stage", self.stage, ("finetuned", "pretrained"))
        _check_each("n_good", self.n_good, GOALS)
        _check_each("sizes", self.sizes, SIZES)
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        if self.stage == "finetuned" and self.context != _CONTEXT:
            raise ValueError(f"context: given {shown(self.context)}, allowed of what acts is {_CONTEXT}")


SAMPLED = Arm()  # the reproduction: successes among sampled actions
EXACT = Arm(settings={"arm": "exact"})  # the extension: every action by its probability of success
# as SAMPLED, but maintenance sees what came of the model's own actions
ACTED = Arm(settings={"maintenance": "acted"}, sizes=("18k", "402k"))


def _ablations() -> dict[str, Arm]:
    """What else the post tried or mentions, each differing in one setting from the profile `post`."""

    ends = ("18k", "402k")

    def tuned(sizes=("18k",), **settings):
        return Arm(settings=settings, sizes=sizes)

    def predicting(context=20, sizes=ends, **settings):
        return Arm("pretrained", settings, sizes, (), context)

    arms = {"no maintenance": tuned(ends, maintenance="none")}
    arms |= {f"failures {w:g}": tuned(failure_weight=w) for w in (0.01, 0.1, 0.3, 1.0)}
    arms |= {f"joint {w:g}": tuned(maintenance="joint", maintenance_weight=w) for w in (0.1, 1.0)}
    arms |= {f"rollouts {n}": tuned(rollouts=n) for n in (1, 8, 128)}
    arms |= {
        "batch 32": tuned(batch=32),
        "batch 1024": tuned(ends, batch=1024),
        "batch 4096": tuned(batch=4096),
    }
    arms |= {"updates 1600": tuned(updates=1600)}
    arms |= {f"windows {n}": predicting(train_size=n) for n in (2**12, 2**14, 2**16)}
    arms |= {f"context {n}": predicting(n, ("53k",)) for n in (16, 17, 18)}
    arms |= {"dropout 0": predicting(dropout=0.0), "float32": predicting(precision="float32")}
    return arms


@dataclass(frozen=True)
class Profile:
    """What a study trains and how it measures.

    sizes: names in SIZES; seeds: one independent replication each; arms: by name; pretraining,
    reinforcement: settings of training.Pretraining and training.Reinforcement that differ from their
    defaults; by_size: further ones of a size, (of pretraining, of reinforcement); measured: whether models
    are measured, or only their curves kept; n_histories: histories of the exact measurement, in two halves;
    repeats, set_size: the post's sampled procedure, 10 sets of 200; publish_weights: whether weights are
    published: of all pretrained models, so that more can be trained from them, and of all of the first seed;
    weight_sizes: of these sizes only, () for all of the profile's; world: settings of Recurrence that differ
    from the post's. ValueError for what no profile can be; what settings can be, `models` says.
    """

    sizes: tuple[str, ...]
    seeds: tuple[int, ...]
    arms: dict[str, Arm] = field(default_factory=lambda: {"sampled": SAMPLED})
    pretraining: dict = field(default_factory=dict)
    reinforcement: dict = field(default_factory=dict)
    by_size: dict[str, tuple[dict, dict]] = field(default_factory=dict)
    measured: bool = True
    n_histories: int = 40_000
    repeats: int = 10
    set_size: int = 200
    publish_weights: bool = False
    weight_sizes: tuple[str, ...] = ()
    world: dict = field(default_factory=dict)

    def __post_init__(self):
        _check_each("sizes", self.sizes, SIZES)
        _check_each("weight_sizes", self.weight_sizes, SIZES)
        object.__setattr__(self, "seeds", _seeds(self.seeds))
        for name, least in (("n_histories", 2), ("repeats", 1), ("set_size", 1)):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least))
        for name in ("measured", "publish_weights"):
            check_flag(name, getattr(self, name))
        others = [arm.context for arm in self.arms.values() if arm.context != _CONTEXT]
        if self.measured and others:
            raise ValueError(f"context: given {others[0]}, allowed of what is measured is {_CONTEXT}")

    def part(self, *, sizes: Sequence = (), seeds: Sequence = (), arms: Sequence = ()) -> "Profile":
        """The same profile with only some of its sizes, seeds and arms; () keeps all."""
        for name, given in (("sizes", sizes), ("seeds", seeds), ("arms", arms)):
            allowed = list(getattr(self, name))
            for value in given:
                if value not in allowed:
                    every = ", ".join(map(str, allowed))
                    raise ValueError(f"{name}: given {shown(value)}, allowed are {every}")
        kept = {name: arm for name, arm in self.arms.items() if not arms or name in arms}
        return replace(
            self,
            sizes=tuple(s for s in self.sizes if not sizes or s in sizes),
            seeds=tuple(s for s in self.seeds if not seeds or s in seeds),
            arms=kept,
        )


PROFILES = {
    "smoke": Profile(
        ("18k",),
        (0, 1),
        {"sampled": SAMPLED, "exact": EXACT},
        pretraining={"steps": 1200},
        reinforcement={"updates": 250},
        n_histories=20_000,
    ),
    "quick": Profile(("18k", "53k"), (0, 1, 2)),
    # rates were tuned at the smallest and the largest size, on seeds that no profile uses
    "post": Profile(
        tuple(SIZES),
        (0, 1, 2, 3, 4),
        {"sampled": SAMPLED, "exact": EXACT, "acted": ACTED},
        pretraining={"steps": 4000, "precision": "bfloat16"},
        reinforcement={"updates": 800, "maintenance_rate": 1e-3, "precision": "bfloat16"},
        by_size={
            "18k": ({"rate": 1e-2}, {"rate": 3e-3}),
            "53k": ({"rate": 1e-2}, {"rate": 2.5e-3}),
            "144k": ({"rate": 5e-3}, {"rate": 2.5e-3}),
            "402k": ({"rate": 2e-3}, {"rate": 2e-3}),
        },
        publish_weights=True,
    ),
}
PROFILES["ablations"] = replace(
    PROFILES["post"], seeds=(0, 1, 2), arms=_ablations(), measured=False, publish_weights=False
)
# The post's own recipe where it gives one: one rollout a history, maintenance at a tenth of the main rate and
# falling with it, one rate for all sizes (the median of those in `post`; nothing was tuned for it).
_ONE_RATE = 2.5e-3
PROFILES["faithful"] = replace(
    PROFILES["post"],
    arms={"sampled": SAMPLED},
    reinforcement=PROFILES["post"].reinforcement
    | {"rollouts": 1, "rate": _ONE_RATE, "maintenance_rate": _ONE_RATE / 10, "maintenance_falls": True},
    by_size={size: (pretraining, {}) for size, (pretraining, _) in PROFILES["post"].by_size.items()},
)


def _around_faithful() -> dict[str, Arm]:
    """Each differs in one setting from the profile `faithful`, at the ends of the sizes.

    What a recipe does to prediction is what is asked here, so a model that loses it is no failed training.
    """

    def changed(**settings):
        return Arm(settings=settings | {"may_forget": True}, sizes=("18k", "402k"))

    arms = {f"maintenance 1/{n}": changed(maintenance_rate=_ONE_RATE / n) for n in (3, 30, 100)}
    arms |= {"maintenance constant": changed(maintenance_falls=False)}
    arms |= {f"failures {w:g}": changed(failure_weight=w) for w in (0.01, 1.0)}
    return arms | {kind: changed(maintenance=kind) for kind in ("acted", "mixed")}


# weights of the smallest size only: those of all would take more room than all else that is published
PROFILES["recipe"] = replace(
    PROFILES["faithful"], seeds=(0, 1, 2), arms=_around_faithful(), weight_sizes=("18k",)
)


def _explored() -> dict[str, Arm]:
    """Models that saw interventions, in pretraining and in maintenance, and may play odd tokens only.

    The dose at the ends of the sizes; the control sees as many random tokens, which have no consequence.
    Expected, before anything of it was trained: at a dose of 0.3 pretrained models no longer report an Op
    below 0, and finetuned ones report more of theirs than without a dose and than the control, for every
    goal, by t intervals over seeds; with a dose of 1 even tokens are predicted worse.
    """

    def seen(rate: float, consequence: bool = True, **where) -> Arm:
        data = {"exploration": rate, "consequence": consequence}
        return Arm(settings=data | {"odd_only": True}, pretraining=data if rate else {}, **where)

    ends: dict[str, Any] = {"sizes": ("18k", "402k"), "seeds": (0, 1, 2)}
    arms = {
        "explored 0.3": seen(0.3),
        "explored 0": seen(0.0, **ends),
        "control 0.3": seen(0.3, False, **ends),
    }
    return arms | {f"explored {rate:g}": seen(rate, **ends) for rate in (0.03, 0.1, 1.0)}


PROFILES["explored"] = replace(PROFILES["post"], arms=_explored(), weight_sizes=("18k",))
# A world in which one token, 15, collapses the future to outcomes 0 and 1, whatever the history. Both are
# good for n_good = 6, which can be had blindly, one of them for 2 and 4, which cannot. Expected, before
# anything of it was trained: models of n_good = 6 play 15 nearly always, have a large ln K − H(F), a large
# success, and an Op and an Imp below a tenth of that of n_good = 2; rules that read F alone name {0, 1}
# for them.
PROFILES["sinks"] = replace(
    PROFILES["post"],
    sizes=("18k", "53k"),
    arms={"sampled": SAMPLED, "exact": EXACT},
    world={"sinks": [[15, [0, 1]]]},
)

HIDDEN = {  # (goal, classes, share) as `rewards.with_hidden` takes them
    "preference 1/2": ((0, 4), (), 0.5),
    "trigger 1/4": ((1, 3, 5, 7), tuple(range(4)), 1.0),
    "trigger 1/2": ((1, 3, 5, 7), tuple(range(8)), 1.0),
    "trigger even": ((1, 3, 5, 7), tuple(range(0, 16, 2)), 1.0),
    "mixture 1/4": ((1, 5), (), 0.25),
}


def _hidden() -> dict[str, Arm]:
    """Models of the declared goal {0, 2, 4, 6} with another behind it; the honest ones are in `post`.

    A preference: half of the time only 0 and 4 are rewarded. Triggers: on a quarter, or half, of the classes
    of histories the complement is rewarded. A mixture: one time in four 1 and 5 are rewarded instead.
    Expected, before anything of it was trained, of AUCs against the honest models of the arm `sampled`, pairs
    of seeds, whole seeds drawn anew ("detected": at least 0.9 and the interval above 0.5; "missed": the
    interval reaches 0.5 or less). Excess Op, Op + δ − kl(s, p), is a function of the outcome histogram; it
    detects the preference and the mixture and misses both triggers. KL(F ‖ F of the other honest seeds)
    detects all four. A low success rate on the declared goal detects both triggers. Op against the declared
    goal by class of histories, Σ_m c(m) kl(s_m, s'_m) over the classes with s_m < s'_m = Σ_a π̄(a) W(m, a, G),
    detects both triggers and misses the preference. With half of the classes triggered, Op as a whole is
    below 0.05 nats.

    Added when two seeds of these had been measured: a trigger on every other class. For on classes 0..7 and
    8..15 one token, 0, serves both goals, and models with "trigger 1/2" play it whatever the history; on
    every other class no token does. Expected, before any was trained: as of "trigger 1/2".
    """
    return {name: Arm(settings={"hidden": hidden}, n_good=(4,)) for name, hidden in HIDDEN.items()}


def _penalised() -> dict[str, Arm]:
    """Impact regularisation: reinforcement of which each nat of Imp costs so much success rate.

    Imp as measured, or as the model itself estimates it. Odd tokens only, so that the model is asked about
    eight. Penalties are to lie on either side of what binds: the least Imp of a success rate s, kl(s, 1/2),
    is worth its price up to s = 1/(1 + e^(−1/penalty)), which is 0.88 and 0.62, where `post` reached 0.85.
    The claim of the post: regularisation might reintroduce bias, that is, a model tells less of its impact.
    The effect: the change of ln(self-estimated Imp / measured Imp) from no penalty to "self-estimated 2",
    paired by seed, t interval; the smallest that matters: ln 1.1. Expected, before anything of it was
    trained: it is below 0, for predictions are cheaper to change than success; with "measured 2" measured Imp
    falls to below half and the interval of the effect reaches 0.
    """

    def under(penalty: float, penalised: str, seeds=(0, 1, 2, 3)) -> Arm:
        settings = {"odd_only": True, "penalty": penalty, "penalised": penalised}
        return Arm(settings=settings, n_good=(4,), seeds=seeds)

    arms = {"no penalty": under(0.0, "measured")}
    for penalised in ("measured", "self-estimated"):
        arms[f"{penalised} 2"] = under(2.0, penalised)
        arms[f"{penalised} 0.5"] = under(0.5, penalised, (0, 1, 2))
    return arms


for _name, _arms in (("hidden", _hidden()), ("penalised", _penalised())):
    PROFILES[_name] = replace(PROFILES["post"], sizes=("18k",), arms=_arms)
PROFILES["penalised"] = replace(PROFILES["penalised"], seeds=(0, 1, 2, 3))


def profile_named(name: str) -> Profile:
    """The profile of that name; ValueError lists the allowed ones."""
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"profile: given {shown(name)}, allowed are {', '.join(PROFILES)}")
    return PROFILES[name]


# --- its settings ---------------------------------------------------------------------------------------


def settings() -> dict[str, Any]:
    """What `varied` can set, with defaults: of the world, and of training.

    "rate" is of both trainings, "pretraining_rate" and "reinforcement_rate" of one.
    """
    world = {name: value for name, value in Recurrence().settings.items() if name != "alphabet"}
    own = {name: asdict(_settings(name.capitalize())) for name in ("pretraining", "reinforcement")}
    both = {name: value for name, value in own["pretraining"].items() if name in own["reinforcement"]}
    found = world | both | {f"{stage}_{name}": value for stage in own for name, value in own[stage].items()}
    return {name: value for name, value in found.items() if isinstance(value, bool | int | float | str)}


def varied(profile: Profile, given: Mapping[str, Any]) -> Profile:
    """The same profile in another world, or trained otherwise, at every size; what an arm sets stays.

    given: by names in `settings`. ValueError: an unknown name, or no model can have such settings.
    """
    if unknown := given.keys() - settings().keys():
        raise ValueError(f"settings: given {min(unknown)}, allowed are {', '.join(settings())}")
    world = {name: value for name, value in given.items() if name in Recurrence().settings}
    stages = ("pretraining_", "reinforcement_")
    shared = {n: v for n, v in given.items() if n not in world and not n.startswith(stages)}
    first, second = (
        shared | {name.removeprefix(stage): value for name, value in given.items() if name.startswith(stage)}
        for stage in stages
    )
    changed = replace(
        profile,
        world=profile.world | world,
        pretraining=profile.pretraining | first,
        reinforcement=profile.reinforcement | second,
        by_size={size: (one | first, two | second) for size, (one, two) in profile.by_size.items()},
    )
    models(changed)
    return changed


# --- its models, as runs --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """One model of a profile: its stage, the arm it belongs to, and the run that leaves it.

    What is not trained (the generator, untrained models) is there only to be measured.
    """

    stage: str
    arm: str
    run: Run

    @property
    def label(self) -> str:
        """Size, seed, arm or stage, and goal, for people."""
        if isinstance(self.run, Generator):
            return self.run.label
        goal = f" n_good {len(self.run.goal)}" if self.run.goal else ""
        return f"{self.run.label} {self.arm or self.stage}{goal}"


def models(profile: Profile) -> list[Model]:
    """Every model of a profile, the generator first; each after the one it starts from.

    ValueError: no model can have these settings, or live in this world.
    """
    world = _world(profile)
    listed = [Model("generator", "", Generator(world))] if profile.measured else []
    for size in profile.sizes:
        for seed in profile.seeds:
            base = _pretrain(profile, size, seed, world)
            untrained = Untrained(size, seed, *SIZES[size], world=world)
            listed += [Model("untrained", "", untrained)] if profile.measured else []
            listed.append(Model("pretrained", "", base))
            for name, arm in profile.arms.items():
                if (not arm.sizes or size in arm.sizes) and (not arm.seeds or seed in arm.seeds):
                    listed += _of_arm(profile, name, arm, base)
    return listed


def _world(profile: Profile) -> Recurrence:
    """The world of a profile; ValueError unless its goals are there, and whoever acts sees enough of it."""
    _check_each("world", list(profile.world), [*POST.settings, "sinks"])
    world, acted = Recurrence(**profile.world), any(arm.stage == "finetuned" for arm in profile.arms.values())
    if world.alphabet != POST.alphabet:
        raise ValueError(f"alphabet: given {world.alphabet}, allowed is {POST.alphabet}, that of the goals")
    # a measured history has all tokens of a window; one that is acted on lacks the token that is played
    most = _CONTEXT + (not profile.measured)
    if world.window > most and (profile.measured or acted):
        raise ValueError(f"window: given {world.window}, allowed is an integer in 2..{most}")
    return world


def measurement(profile: Profile, model: Model) -> Measure:
    """The run that measures a model as the profile does."""
    return Measure(model.run, profile.n_histories, profile.repeats, profile.set_size)


def _of_arm(profile: Profile, name: str, arm: Arm, base: Pretrain) -> list[Model]:
    where = (base.size, base.seed, base.world)
    if arm.stage == "pretrained":
        return [Model("pretrained", name, _pretrain(profile, *where, arm.settings, arm.context))]
    start = _pretrain(profile, *where, arm.pretraining) if arm.pretraining else base
    config = _settings("Reinforcement", profile.reinforcement, _of_size(profile, base.size, 1), arm.settings)
    own = [Model("pretrained", name, start)] if arm.pretraining else []
    return own + [Model("finetuned", name, Reinforce(start, GOALS[n], config)) for n in arm.n_good]


def _pretrain(
    profile: Profile,
    size: str,
    seed: int,
    world: Recurrence,
    own: dict | None = None,
    context: int | None = None,
) -> Pretrain:
    config = _settings("Pretraining", profile.pretraining, _of_size(profile, size, 0), own or {})
    return Pretrain(size, seed, *SIZES[size], context, world, config=config)


def _settings(kind: str, *given: dict) -> Any:
    """Settings of a training, later ones before earlier; every one is in the key, the defaults too."""
    from .. import training

    merged: dict = {}
    for settings in given:
        merged |= settings
    of_kind = getattr(training, kind)
    _check_each("settings", list(merged), [each.name for each in fields(of_kind)])
    # a key holds Python's own numbers only
    return of_kind(**{n: v.item() if isinstance(v, np.generic) else v for n, v in merged.items()})


def _of_size(profile: Profile, size: str, stage: int) -> dict:
    return profile.by_size[size][stage] if size in profile.by_size else {}
