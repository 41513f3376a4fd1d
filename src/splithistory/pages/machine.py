"""What the two interactive pages are given: models that run in the page, and futures to explore.

Written beside the pages when the book is rendered, from the published results, so nothing of it can be out of
date. A page that was opened from a disk may not fetch files, so each is a script that hands its data over.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template

import numpy as np

from .. import policies, study
from ..information import as_goal, succeeding
from ..measure import Futures
from ..recurrence import Recurrence
from ..study.results import ARMS
from ..study.store import write_whole
from ..transformer import Architecture, positions

SIZES = {"18k": ARMS, "53k": ("sampled",)}  # what runs in the page: arms by size, of the first seed
FIRST = "18k-sampled-4"  # the model that the page shows before any click
_DIGITS = 12  # of probabilities in text: measures agree to 1e-9
_ABOUT = {
    "": "It learned to predict the sequence and was rewarded for nothing.",
    "sampled": "Rewarded when the token that it drew led to a good outcome, as in the post.",
    "exact": "Rewarded for every token by its exact chance of a good outcome.",
    "acted": "Rewarded as in the sampled arm; all else that it learns comes after its own answers.",
}


def write(folder: Path) -> list[Path]:
    """Write all that the pages load into a folder of static files; returns the paths, a manifest last.

    `machine/models/*.js`, `machine/machine.html`, `explorer/cases.js` and `machine/manifest.json`, which has
    the SHA-256 of each and of the results that they come from. ValueError if no study `post` is published.
    """
    results = study.published("post")
    if results is None:
        raise ValueError("results: given none of the study post, allowed is a published one")
    models = {row["name"]: model(results, row) for row in shown(results)}
    contents = {f"machine/models/{name}.js": script(name, stored) for name, stored in models.items()}
    contents["machine/machine.html"] = fragment(models)
    contents["explorer/cases.js"] = script("cases", cases(results))
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in contents.items()}
    sources = {stored["source"]: stored["sha256"] for stored in models.values()}
    manifest = {"revision": results.manifest["revision"], "files": hashes, "sources": sources}
    contents["machine/manifest.json"] = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, text.encode())
    return [folder / name for name in contents]


def setup(app) -> dict:
    """Sphinx calls this: a book that has the pages gets what they load before it reads them."""
    source = Path(app.srcdir)
    if (source / "book/machine.md").is_file():
        app.connect("builder-inited", lambda _: write(source / "book/_static"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def script(name: str, data) -> str:
    """A script that hands data over by a name: pages opened from a disk may load no other file."""
    return f"splithistory.receive({json.dumps(name)}, {json.dumps(data, separators=(',', ':'))});\n"


# --- the machine ----------------------------------------------------------------------------------------


def shown(results: study.Study) -> Iterator[dict]:
    """Rows of `models` that run in the page, each with its name there, such as 18k-sampled-4."""
    for row in results.models.query("seed == 0").to_dict("records"):
        arms = {"pretrained": ("",), "finetuned": SIZES.get(row["size"], ())}.get(row["stage"], ())
        if row["size"] in SIZES and row["arm"] in arms:
            trained = f"{row['arm']}-{row['n_good']}" if row["n_good"] else "pretrained"
            yield row | {"name": f"{row['size']}-{trained}"}


def model(results: study.Study, row: dict) -> dict:
    """A model as the page runs it: its weights exactly, and its published measurement.

    numbers: weights and position code in the order of shapes, base64 of float32;
    exact: for each temperature the table of counts (M, A) and the intervals of op and imp, in nats.
    """
    weights, source = results.weights(row["model"]), results.weight_files[row["model"]]
    width, layers = study.SIZES[row["size"]]
    architecture = Architecture(width, layers)
    shapes = architecture.shapes() | {"positions": (architecture.context, width)}
    weights |= {"positions": positions(architecture.context, width).numpy()[None]}
    numbers = np.concatenate([weights[name].ravel() for name in shapes])
    known = {name: getattr(architecture, name) for name in ("width", "layers", "heads", "context")}
    return {
        "label": label(row),
        "about": _ABOUT[row["arm"]],
        "reward": reward(row),
        "group": f"{row['size']} parameters",
        "goal": list(study.GOALS.get(row["n_good"], study.GOALS[4])),
        "architecture": known,
        "shapes": [[name, list(shape)] for name, shape in shapes.items()],
        "numbers": base64.b64encode(numbers.astype("<f4").tobytes()).decode(),
        "source": f"results/post/weights/{source.name}",
        "sha256": results.manifest["files"][f"weights/{source.name}"],
        "exact": {f"{t:g}": _exact(results, row["model"], t) for t in (0.0, 1.0)},
    }


def label(row: dict) -> str:
    """A model's size, goal and arm, as a list to choose from shows it."""
    goal = f"for {in_words(study.GOALS[row['n_good']])}, {row['arm']}" if row["n_good"] else "pretrained only"
    return f"{row['size']}, {goal}"


def reward(row: dict) -> str:
    """What a model was rewarded for, as a sentence."""
    rewarded = (
        f"rewarded when {in_words(study.GOALS[row['n_good']])} came next"
        if row["n_good"]
        else "never rewarded"
    )
    return f"It was {rewarded}."


def in_words(goal: Iterable[int]) -> str:
    """Outcomes as a sentence lists them: 0, 2, 4 or 6."""
    *first, last = map(str, as_goal(goal, 8))
    return f"{', '.join(first)} or {last}" if first else last


def _exact(results: study.Study, number: int, temperature: float) -> dict:
    scalars = results.scalars(number, temperature=temperature)
    measured = results.measured(number, temperature=temperature)
    ends = {name: [scalars[f"{name}_low"], scalars[f"{name}_high"]] for name in ("op", "imp")}
    return {"counts": measured.counts.tolist(), "n": measured.n_histories} | ends


def fragment(models: dict[str, dict]) -> str:
    """The machine as a piece of a page, in the still state that any reader sees: its finding and picture."""
    first = models[FIRST]
    measured = policies.SplitHistory(first["exact"]["0"]["counts"], Recurrence().table)
    goal, most = tuple(first["goal"]), _top(measured)
    futures = (measured.outcome_probs, measured.action_probs @ measured.counterfactual_probs)
    bars = [bars_of(f, goal, most) for f in futures]
    rates = [f"{100 * r:.0f}\u00a0%" for r in (measured.success(goal), measured.counterfactual_success(goal))]
    texts = {"goal": in_words(goal), "chance": f"{100 * len(goal) / 8:.0f}\u00a0%", "first": FIRST}
    texts |= dict(zip(("bars_f", "bars_other", "s", "s_other"), [*bars, *rates], strict=True))
    texts |= dict(zip(("bars_f_said", "bars_other_said"), map(said, futures), strict=True))
    for name in ("op", "imp"):
        value, (low, high) = getattr(measured, name), first["exact"]["0"][name]
        known = f"On {measured.n_histories:,} histories: {value:.3f} (95\u00a0%: {low:.3f} to {high:.3f})."
        texts |= {name: f"{value:.3f}", f"{name}_known": known}
    texts |= {"options": _options(models), "reward": first["reward"]}
    texts |= {"n": f"{measured.n_histories:,}", "n_good": str(len(goal))}
    page = Path(__file__).with_name("machine.html").read_text("utf8")
    return Template(page).substitute(texts)


def _top(futures: Futures) -> float:
    """Where the scale of both histograms ends: the next twentieth above the highest bar."""
    return float(np.ceil(futures.outcome_probs.max() * 20 + 0.4) / 20)


def bars_of(probs, goal, most: float) -> str:
    """A histogram's bars: how high each is, whether the outcome is good, and its percentage."""
    return "".join(
        f'<span{" class=good" if k in goal else ""} style="--exact:{p / most:.4f}">'
        f"<b>{100 * p:.0f}</b><i>{k}</i></span>"
        for k, p in enumerate(probs)
    )


def said(probs) -> str:
    """A histogram as a screen reader says it."""
    return f"Outcomes 0 to 7, in percent: {', '.join(f'{100 * p:.0f}' for p in probs)}"


def _options(models: dict[str, dict]) -> str:
    groups: dict[str, list[str]] = {}
    for name, stored in models.items():
        chosen = " selected" if name == FIRST else ""
        option = f'<option value="{name}"{chosen}>{stored["label"]}</option>'
        groups.setdefault(stored["group"], []).append(option)
    return "".join(f'<optgroup label="{g}">{"".join(own)}</optgroup>' for g, own in groups.items())


# --- the explorer ---------------------------------------------------------------------------------------


def cases(results: study.Study) -> dict:
    """Futures to load: the models of the study, the post's pictures, and policies of the second world.

    cases: name, group, goal, outcome (K,), weights (J,) and others, which of the tables of comparison
    futures (J, K) is theirs; others: these tables, and reach, the least probability that the noise leaves.
    """
    second = study.so_far("sinks")
    listed = [*_pictures(), *_constructed(second.world), *_models(results, "the study")]
    listed += _models(second, "second world")
    tables: dict[str, int] = {}
    return {
        "cases": [_case(one, tables) for one in listed],
        "others": [json.loads(table) for table in tables],
        "noise": results.world.noise,
    }


def _case(one: dict, tables: dict[str, int]) -> dict:
    futures = one.pop("futures")
    table = json.dumps(_rounded(futures.counterfactual_probs))
    probs = {"outcome": _rounded(futures.outcome_probs), "weights": _rounded(futures.action_probs)}
    return one | probs | {"others": tables.setdefault(table, len(tables))}


def _rounded(probs) -> list:
    return np.round(probs, _DIGITS).tolist()


def _pictures() -> Iterator[dict]:
    """The post's four ways to be right three times in four, and its example of 85 to 15."""
    four, six = study.GOALS[4], study.GOALS[6]
    for name, outcome in policies.pictures(four, 8, 0.75, policies.LEANING, policies.REACHING).items():
        yield {"group": "the post's pictures", "name": name, "goal": four, "futures": _over_even(outcome)}
    split = succeeding(six, 8, 0.85, [0, 0, 1, 0, 0, 0], [1, 0])
    yield {
        "group": "the post's pictures",
        "name": "2 and 3, 85 to 15",
        "goal": six,
        "futures": _over_even(split),
    }


def _over_even(outcome) -> Futures:
    return Futures([1.0], outcome, [np.full(len(outcome), 1 / len(outcome))])


def _constructed(world: Recurrence) -> Iterator[dict]:
    """One histogram with all, half or nothing of it steered, and a coin, in the world with a sink."""
    (sink, ends), goal = next(iter(world.sinks.items())), study.GOALS[6]
    others = [a for a in range(world.n_tokens) if a != sink]
    blind = policies.always(world, sink)
    target = np.isin(range(world.alphabet), ends) / len(ends)
    steered = policies.steering(world, target, others)
    built = {
        f"always answers {sink}": blind,
        f"steers to {in_words(ends)}": steered,
        "half the one, half the other": policies.mixture(blind, steered, 0.5),
        f"a coin: 8 or {sink}": policies.blind(world, np.isin(range(world.n_tokens), (8, sink)) / 2),
    }
    for name, futures in built.items():
        yield {"group": "second world, constructed", "name": name, "goal": goal, "futures": futures}


def _models(results: study.Study, where: str) -> Iterator[dict]:
    """Every model of a study, measured at temperature 0; those without a goal on that of four outcomes."""
    for row in results.models.to_dict("records"):
        size = f", {row['size']}" if row["size"] else ""
        arm = f", {row['arm']}" if row["stage"] == "finetuned" else ""
        goal = study.GOALS.get(row["n_good"], study.GOALS[4])
        seed = f"seed {row['seed']}" if row["seed"] >= 0 else "its own next token"
        name = f"{in_words(goal)}, {seed}" if row["n_good"] else seed
        group = f"{where}{size}: {row['stage']}{arm}"
        yield {"group": group, "name": name, "goal": goal, "futures": results.measured(row["model"])}
