"""The library on newer Pythons, with torch as pip takes it there: a CUDA build, mostly without a driver."""

import os
import subprocess

import pytest
from conftest import ROOT

# of the rest, the pages need nothing that depends on the version, and their references are of the pinned one
OTHERS = ("test_benchmarks.py", "test_project.py", "test_pythons.py", "test_wheel.py")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_library_on_another_python(version):
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment of Python {version}: `make pythons` makes it")
    tests = sorted(p for p in (ROOT / "tests").glob("test_*.py") if p.name not in OTHERS)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
