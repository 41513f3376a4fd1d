"""The repository as a whole: floors, dependencies, the lock, and what no file may say."""

import ast
import importlib
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

# From the ground up, a line a floor; rooms of one floor do not know each other. Three wings: the library,
# the study, the pages; then the command line.
HOUSE = """
information products
recurrence estimators histograms differential statistics engine transformer simulators procedure resampling
measure trends
objectives crossing policies shortcuts blocks data mdp episodes rewards detection
calibration planning
training neighbours gridworlds
worlds
study.store study.grid
study.results
study.counterfactuals
study.measuring
study.runs
study.profiles
study.publishing study.selfreports
study.suspects
study
pages.tables pages.gluing pages.previews
pages.figures pages.findings
pages.warm
pages.kernels
pages.notebooks
pages.agents pages.chapters pages.exact pages.plotted pages.machine
pages.rendering pages.promises
pages.comparison
pages.book pages.printing pages.sweeps pages.validation
pages.claims.effects
pages.claims.judging
pages.claims.derivations pages.claims.experiment pages.claims.impact pages.claims.objectives \
pages.claims.optimization pages.claims.prediction pages.claims.self_evaluation
pages.claims.ledger
pages.claims.page
pages.claims
cli
"""
FLOORS = {room: i for i, line in enumerate(HOUSE.strip().splitlines()) for room in line.split()}
PACKAGE = ROOT / "src/splithistory"
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
MODULES = sorted(set(SOURCES) - {"__init__", "__main__", "pages"})
CONDA_NAMES = {"torch": "pytorch"}


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever in it the import stands."""
    names = set()
    package = ["splithistory", *path.relative_to(PACKAGE).parts[:-1]] if path.is_relative_to(PACKAGE) else []
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_strictly_downward(module):
    rooms = {name.removeprefix("splithistory.") for name in imported(SOURCES[module])} & set(FLOORS)
    own = {module} if SOURCES[module].name == "__init__.py" else set()  # of a wing: what stands in it
    upward = {room for room in rooms - own if FLOORS[room] >= FLOORS[module]}
    # to name a room of a wing is to name the wing: that alone is no step up
    upward -= {wing for wing in upward for room in (*rooms, module) if room.startswith(f"{wing}.")}
    assert not upward, f"{module} (floor {FLOORS[module]}) imports {sorted(upward)}"


def walks() -> list[tuple[int, str]]:
    """(indentation, what is called) for each step of the walks that CONTRIBUTING.md draws."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf8")
    return [(len(indent), name) for indent, name in re.findall(r"^( {4,})([\w.]+)  ", text, flags=re.M)]


def room(name: str) -> str:
    """The room that a dotted name stands in, "" if it is none of the house's."""
    parts = name.split(".")
    return max(
        (r for n in range(len(parts)) if (r := ".".join(parts[: n + 1])) in FLOORS), key=len, default=""
    )


def test_the_walks_through_the_house_never_climb():
    way: list[tuple[int, str]] = []
    for indent, name in walks():
        way = [step for step in way if step[0] < indent]
        if own := room(name):
            found = importlib.import_module(f"splithistory.{own}")
            for part in name.removeprefix(own).split(".")[1:]:
                found = getattr(found, part)
        if way and (above := room(way[-1][1])):
            assert own == above or FLOORS[own] < FLOORS[above], f"{way[-1][1]} calls {name}"
        way.append((indent, name))
    assert len(walks()) > 20


@pytest.mark.parametrize("module", sorted(set(SOURCES) - {"__main__"}))
def test_the_library_needs_numpy_scipy_and_torch_alone(module):
    if "." in module or module in ("study", "pages", "cli"):
        return
    allowed = set(sys.stdlib_module_names) | {"numpy", "scipy", "torch", "splithistory"}
    foreign = {name.split(".")[0] for name in imported(SOURCES[module])} - allowed
    assert not foreign, f"{module} imports {sorted(foreign)}"


def test_every_room_is_on_one_page_of_the_interface_and_in_its_summary():
    pages = "".join(page.read_text("utf8") for page in (ROOT / "book/reference/api").glob("*.md"))
    described = re.findall(r"^\.\. automodule:: splithistory\.(.+)$", pages, flags=re.M)
    summary = (ROOT / "book/reference/api.md").read_text("utf8")
    named = re.findall(r"^   ~splithistory\.(.+)$", summary, flags=re.M)
    judges = {room for room in FLOORS if room.startswith("pages.claims.")}  # one wing, one line
    rooms = set(FLOORS) - judges - {"cli", "pages.validation"}
    assert sorted(rooms) == sorted(named)
    verdicts = {f"pages.claims.{room}" for room in ("effects", "judging", "ledger", "page")}
    assert rooms | verdicts == set(described)
    assert len(described) == len(set(described))


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_property_is_described_with_a_colon_which_the_interface_would_take_for_its_type(module):
    """Napoleon reads the first line of a property's docstring as `type: description`."""
    for node in ast.walk(ast.parse(SOURCES[module].read_text("utf8"))):
        decorated = isinstance(node, ast.FunctionDef) and any(
            "property" in ast.unparse(decorator) for decorator in node.decorator_list
        )
        first = ((ast.get_docstring(node) if decorated else None) or "").split("\n")[0]
        assert ":" not in re.sub("`[^`]*`", "", first), f"{module}.{node.name}"


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_file_is_longer_than_450_lines(module):
    assert len(SOURCES[module].read_text("utf8").splitlines()) <= 450


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_nothing_imports_the_book(module):
    assert not any(name.split(".")[0] == "book" for name in imported(SOURCES[module]))


def test_the_table_of_surprises_names_tests_that_are_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "tests/surprises.md").read_text("utf8")))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf8"), flags=re.M)
    }
    assert len(named) > 30 and named <= there, named - there


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]


@pytest.fixture(scope="module")
def lock():
    lines = (ROOT / "requirements.lock").read_text("utf8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_lock_holds_exact_public_pins(lock):
    for name, pin in lock.items():
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"{pin}: not one exact public version"
        assert pin.url is None and not name.startswith("nvidia")


def test_lock_satisfies_the_project(lock, project):
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    for line in [*project["dependencies"], *extras]:
        wanted = Requirement(line)
        version = str(lock[canonicalize_name(wanted.name)].specifier).removeprefix("==")
        assert wanted.specifier.contains(version), f"{line}: the lock has {version}"


def test_environment_says_what_the_project_says(project):
    *conda, pip = yaml.safe_load((ROOT / "environment.yml").read_text("utf8"))["dependencies"]
    specs = {spec.name.normalized: str(spec.version) for spec in (MatchSpec(c, strict=True) for c in conda)}
    wanted = {"python": project["requires-python"], "pip": "None"}
    for requirement in map(Requirement, project["dependencies"]):
        wanted[CONDA_NAMES.get(requirement.name, requirement.name)] = str(requirement.specifier)
    assert specs == wanted
    (editable,) = pip["pip"]
    extras = Requirement(editable.replace("-e .", project["name"])).extras
    assert extras == set(project["optional-dependencies"])


def test_automation_runs_but_never_writes_references():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "reference" not in script.read_text("utf8")
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text("utf8")


def test_binder_installs_what_is_locked_under_a_python_that_is_allowed(project):
    folder = ROOT / "binder"
    (lock,) = re.findall(r"^-r (.*)$", (folder / "requirements.txt").read_text("utf8"), flags=re.M)
    assert (folder / lock).resolve() == ROOT / "requirements.lock"
    (python,) = re.fullmatch(r"python-([\d.]+)\n", (folder / "runtime.txt").read_text("utf8")).groups()
    assert python in (ROOT / "requirements.lock").read_text("utf8").splitlines()[0]
    assert SpecifierSet(project["requires-python"]).contains(python)
    assert os.access(folder / "postBuild", os.X_OK)


def test_whoever_releases_or_cites_finds_one_version(project):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf8"))
    described = json.loads((ROOT / "codemeta.json").read_text("utf8"))
    archived = json.loads((ROOT / ".zenodo.json").read_text("utf8"))
    page = (ROOT / "book/reference/citing.md").read_text("utf8")
    for version in (cited["version"], described["version"], archived["version"]):
        assert version == project["version"] and f"version = {{{version}}}" in page
    assert cited["title"] == archived["title"] and f"title   = {{{cited['title']}}}" in page
    assert described["name"] == project["name"]


def texts():
    """All files of the repository that people wrote; other hidden folders are caches."""
    skipped = {"_build", "__pycache__", "mathjax", "results", "splithistory.egg-info"}
    written = {".py", ".md", ".yml", ".toml", ".lock", ".cff", ".bib", ".css", ".js", ".mplstyle"}
    written |= {".ipynb", ""}
    for folder, folders, files in os.walk(ROOT):
        hidden = {name for name in folders if name.startswith(".")} - {".ci", ".github"}
        folders[:] = set(folders) - skipped - hidden
        yield from (Path(folder, name) for name in files if Path(name).suffix in written)


def test_the_readme_measures_an_agent_and_a_policy_as_it_says():
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf8"), flags=re.S)
    agent, policy = ({}, {})
    for example, found in zip(examples, (agent, policy), strict=True):
        exec(example, found)  # it prints what its comment says
    measured = agent["measured"]
    said = [round(float(v), 2) for v in (measured.corrected("op"), *measured.interval("op"))]
    assert "{} nats, 95 %: {} to {}".format(*said) in examples[0]
    measured = policy["measured"]
    said = [round(v, 2) for v in (measured.op, measured.imp, measured.success([0]))]
    assert said == [0.46, 0.46, 0.80] and "0.46 nats each, 0.80" in examples[1]


def test_no_file_names_the_place_it_was_written_in():
    # Put together here, so that this file does not name them either.
    places = ["/" + "work/", ".." + "/shared", "/" + "opt/", "file:" + "///", "/" + "root/"]
    for path in texts():
        text = path.read_text("utf8")
        assert not [place for place in places if place in text], path


def test_every_claim_has_its_criterion_written_down():
    claims = yaml.safe_load((ROOT / "src/splithistory/pages/claims/claims.yml").read_text("utf8"))
    assert len({claim["id"] for claim in claims}) == len(claims) == 45
    for claim in claims:
        assert {"claim", "statistic", "test", "threshold", "evidence", "blind"} <= set(claim), claim["id"]
        assert claim["evidence"] in ("measured", "proved", "constructed"), claim["id"]
        assert claim["blind"] or claim["known"], f"{claim['id']}: not blind, and no word on what was known"
