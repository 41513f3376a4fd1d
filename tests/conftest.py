"""What several tests share: a small book, and what nbval compares."""

import shutil
from pathlib import Path

import pytest

from splithistory.chapters import UNCOMPARED

ROOT = Path(__file__).resolve().parents[1]


def pytest_collectstart(collector):
    """References keep no pictures, so nbval must not miss them; all text is still compared."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += UNCOMPARED


def copy_small_book(target: Path) -> Path:
    """The pages of tests/data/book under the real book's configuration, style and literature."""
    shutil.copytree(ROOT / "tests/data/book", target)
    shutil.copy(ROOT / "_config.yml", target)
    shutil.copy(ROOT / "book/references.bib", target / "book")
    shutil.copytree(ROOT / "book/_static", target / "book/_static")
    return target


@pytest.fixture
def small_book(tmp_path):
    return copy_small_book(tmp_path / "small")
