"""The package as pip installs it, in an environment of its own, far from any checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest
from conftest import ROOT

NEEDS = "results: given [^ ]+, which is no folder; allowed is the folder results of a clone"
BUILD = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w"]
pytestmark = pytest.mark.slow


def pip(*words, cwd):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    subprocess.run(command, cwd=cwd, check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs words of a command, such as `python -c ...`, where the wheel is installed, in an empty folder."""
    place = tmp_path_factory.mktemp("wheel")
    copied, environment, empty = place / "source", place / "environment", place / "empty"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", copied / "src", ignore=skipped)  # a build leaves its folders there
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copied)
    pip("wheel", copied, *BUILD, place, cwd=place)
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    pip("--python", environment, "install", "-q", "--no-deps", "--no-index", wheel, cwd=place)
    (own,) = environment.glob("lib/*/site-packages")
    (own / "others.pth").write_text(sysconfig.get_path("purelib"))  # what it depends on
    empty.mkdir()

    def run(*words, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPLITHISTORY_")}
        kept.pop("PYTHONPATH", None)
        command = [environment / "bin" / words[0], *words[1:]]
        how = {"cwd": empty, "env": kept | variables, "capture_output": True, "text": True, "timeout": 60}
        done = subprocess.run(command, **how)
        assert list(empty.iterdir()) == []  # nothing trains, nothing is left
        return done

    return run


def test_the_installed_package_is_the_wheels_and_measures_as_the_readme_says(installed):
    done = installed("python", "-c", "import splithistory; print(splithistory.__file__)")
    assert "environment" in done.stdout and str(ROOT) not in done.stdout
    for example in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf8"), flags=re.S):
        done = installed("python", "-W", "error", "-c", example)
        assert (done.returncode, done.stderr) == (0, "")


def test_every_command_of_an_installed_package_has_its_help(installed):
    done = installed("splithistory", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage:") and done.stderr == ""
    program = "import sys\nfrom splithistory.cli import main\nmain([sys.argv[1], '--help'])"
    for command in ("study", "chapter", "sweep"):
        done = installed("python", "-c", program, command)
        assert done.returncode == 0 and done.stdout.startswith("usage:") and done.stderr == ""


def test_without_results_an_installed_package_says_in_a_line_where_they_come_from(installed, tmp_path):
    for variables in ({}, {"SPLITHISTORY_RESULTS": str(tmp_path / "reslts")}):
        done = installed("splithistory", "claims", **variables)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(f"splithistory: error: {NEEDS}.*\n", done.stderr), done.stderr


def test_whatever_needs_results_or_the_book_says_so_in_a_line(installed):
    calls = ("load('post')", "load('smoke')", "published('post')", "so_far('post')", "published_weights()")
    program = f"""
from splithistory import study
from splithistory.cli import main
for call in {calls}:
    try:
        eval("study." + call)
    except ValueError as error:
        print(error)
for words in ("study --profile post --publish", "chapter", "book", "pdf", "sweep sequence -p seed=0"):
    print(main(words.split()))
"""
    done = installed("python", "-c", program)
    said, refused = done.stdout.splitlines(), done.stderr.splitlines()
    assert said[:5] == 5 * said[:1] and re.match(NEEDS, said[0]) and said[5:] == 5 * ["2"], done
    assert re.match(f"splithistory: error: {NEEDS}", refused[0]) and len(refused) == 5, refused
    assert all("allowed a folder in a checkout of the book" in line for line in refused[1:]), refused


def test_what_would_be_trained_can_be_listed_without_results(installed, tmp_path):
    done = installed("splithistory", "study", "--profile", "smoke", "--dry-run", "--store", str(tmp_path))
    assert done.returncode == 0 and "pretrain 18k seed 0" in done.stdout and done.stderr == ""


def test_an_installed_package_judges_the_claims_on_the_results_of_a_clone(installed):
    done = installed("splithistory", "claims", SPLITHISTORY_RESULTS=str(ROOT / "results"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 45 and done.stdout.count(": reproduced") > 20
