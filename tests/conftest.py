"""What several tests share: a small book, small networks, the cells of the derivations."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import jupytext
import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import settings

from splithistory.study.profiles import Profile
from splithistory.training import Pretraining, Reinforcement
from splithistory.transformer import Architecture, initialise

ROOT = Path(__file__).resolve().parents[1]

# How fast anything is, is not tested. CI tries the same cases each time: what fails there has been changed.
# Everywhere else each run tries new ones, `make promises` too.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")

SMALL = Architecture(width=16, layers=2)
SHORT = Pretraining(steps=20, batch=32, train_size=256, test_size=128, evaluations=2, warmup=5)
GOAL = (0, 4)
TUNE = Reinforcement(updates=20, batch=32, pool=256, test_size=128, evaluations=2, maintenance_batch=16)


def starting_weights(seeds) -> dict:
    """Fresh weights of the small network as arrays {name: (E, ...)}."""
    return {k: v.numpy() for k, v in initialise(SMALL, seeds).items()}


def double(seeds):
    """`starting_weights` in 64 bits: training keeps their precision."""
    return {k: v.astype("float64") for k, v in starting_weights(seeds).items()}


def tiny_profile(steps: int, evaluations: int, **fields) -> Profile:
    """One seed of the smallest size, trained for so many updates of a few histories."""
    small = {"batch": 16, "test_size": 32, "evaluations": evaluations}
    return Profile(
        ("18k",),
        (0,),
        pretraining={"steps": steps, "train_size": 64, **small},
        reinforcement={"updates": steps, "pool": 64, "maintenance_batch": 16, **small},
        **fields,
    )


# What takes minutes goes first: begun last, it would leave every other core idle. The references come next.
LONG = (
    "test_book.py",
    "test_rendered.py",
    "test_pythons.py",
    "test_runs.py",
    "test_training.py",
    "test_derivations_differential.py",
    "test_grid.py",
    "test_claims.py",
    "test_study.py",
)


def pytest_collection_modifyitems(items):
    """The files that take longest first (`make test` hands out whole files in this order)."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG) + (item.path.suffix != ".ipynb")))


def copy_small_book(target: Path) -> Path:
    """The pages of tests/data/book under the real book's configuration, style and literature."""
    shutil.copytree(ROOT / "tests/data/book", target)
    shutil.copy(ROOT / "_config.yml", target)
    shutil.copy(ROOT / "book/references.bib", target / "book")
    shutil.copytree(ROOT / "book/_static", target / "book/_static")
    return target


def validate(folder: Path, *paths, **environment) -> str:
    """What pytest prints of notebooks in a folder, compared by `pages.validation` in a process of its own."""
    plugin = ["-p", "splithistory.pages.validation", "--nbval-tolerant", "--nbval-current-env"]
    options = ["-p", "no:cacheprovider", "-n0", "--color=no", "-rfE", "--rootdir", folder, "-c", os.devnull]
    command = [sys.executable, "-m", "pytest", *plugin, *options, *paths]
    environment = os.environ | environment
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


# A cell that prints how its kernel is reached.
REACHED = "import json\nfrom ipykernel.connect import get_connection_info\n"
REACHED += "print(json.loads(get_connection_info())['transport'])"


def cells(chapter: str) -> list[str]:
    """Code of each cell of a chapter of the derivations."""
    notebook = jupytext.read(ROOT / f"book/derivations/{chapter}.md")
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def planted(chapter: str, text: str, slip: str) -> tuple[list[str], int]:
    """A chapter's cells with one text, which must stand there once, replaced; and the number of its cell."""
    sources = cells(chapter)
    assert sum(source.count(text) for source in sources) == 1, f"{chapter}: not once: {text}"
    (where,) = (number for number, source in enumerate(sources) if text in source)
    return [source.replace(text, slip) for source in sources], where


class CaughtAt(AssertionError):
    """An assertion of a chapter failed, in the cell of that number."""


def execute(sources: list[str], **parameters) -> dict:
    """Run cells in one namespace, with the parameters set after the first; stop at a failed assertion."""
    matplotlib.use("Agg")
    namespace = {"__name__": "chapter"}
    for number, source in enumerate(sources):
        run_cell(number, source, namespace, parameters)
    return namespace


def run_cell(number: int, source: str, namespace: dict, parameters: dict) -> None:
    """One cell of a chapter; CaughtAt its number if an assertion fails."""
    try:
        exec(compile(source, f"cell {number}", "exec"), namespace)
    except AssertionError as error:
        raise CaughtAt(number) from error
    if number == 0:
        namespace |= parameters


class Rehearsed:
    """A chapter that was run once, each of whose cells can be run again, changed, on what stood before it.

    The namespace stays the same object: functions of earlier cells look their names up in it. Generators of
    random numbers are copied, since cells draw from them; that nothing else is changed in place, a test of
    every cell run again has to show.
    """

    def __init__(self, chapter: str, **parameters):
        matplotlib.use("Agg")
        self.sources, self.parameters = cells(chapter), parameters
        self.namespace: dict = {"__name__": "chapter"}
        self.before: list[dict] = []  # what stood in the namespace before each cell
        for number, source in enumerate(self.sources):
            self.before.append(self._copied(self.namespace))
            run_cell(number, source, self.namespace, parameters)

    def again(self, sources: list[str], first: int, last: int | None = None) -> None:
        """Run these cells from the first of them on, as if those before it had just been run."""
        self.namespace.clear()
        self.namespace |= self._copied(self.before[first])
        for number, source in list(enumerate(sources))[first:last]:
            run_cell(number, source, self.namespace, self.parameters)

    def each_again(self) -> None:
        """Run every cell again, last first: none may find what another one left behind."""
        for number in reversed(range(len(self.sources))):
            self.again(self.sources, number, number + 1)

    @staticmethod
    def _copied(namespace: dict) -> dict:
        draws = {k: deepcopy(v) for k, v in namespace.items() if isinstance(v, np.random.Generator)}
        return namespace | draws


def perturbed(weights: dict) -> dict:
    """Weights whose layer-norm gains and biases are not the trivial ones."""
    generator = torch.Generator().manual_seed(7)
    return {k: v + 0.1 * torch.randn(v.shape, generator=generator).to(v.dtype) for k, v in weights.items()}


def member(weights: dict, e: int) -> dict:
    """The weights of one member, without the ensemble's axis."""
    return {name: w[e] for name, w in weights.items()}


def check_links(html) -> None:
    for page in [html / "index.html", *html.glob("book/**/*.html")]:
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(html)} -> {target}"


@pytest.fixture(scope="session")
def network():
    """(architecture, ensemble of two in float64, tokens (2, B, T))"""
    architecture = Architecture(width=16, layers=3)
    tokens = torch.randint(16, (2, 5, 20), generator=torch.Generator().manual_seed(0))
    return architecture, perturbed(initialise(architecture, [0, 1], dtype=torch.float64)), tokens


@pytest.fixture
def tried(record_property):
    """What a test tries, {kind: count}, kept with its outcome (see `splithistory.pages.promises`)."""
    counts: Counter = Counter()
    yield counts
    for kind, count in counts.items():
        record_property(kind, count)


@pytest.fixture
def small_book(tmp_path):
    return copy_small_book(tmp_path / "small")
