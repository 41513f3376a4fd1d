"""Whatever is typed: what it says is done, or one printable line says what is allowed, and nothing was done.

What trains, executes or writes is left out; all that is checked before is as it is.
"""

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from conftest import copy_small_book
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from splithistory import cli, study
from splithistory.pages import book, chapters, claims, sweeps

COMMANDS = ["study", "chapter", "book", "claims", "reference", "sweep", "", "nope", "--help", "stud"]
OPTIONS = [
    "--profile",
    "--sizes",
    "--seeds",
    "--arms",
    "--store",
    "--workers",
    "--scheduler",
    "--device",
    "-p",
]
OPTIONS += [
    "--grid",
    "--output",
    "-o",
    "--list",
    "--fresh",
    "--dry-run",
    "--publish",
    "--check",
    "--html",
    "--yes",
]
VALUES = [
    "smoke",
    "quick",
    "post",
    "18k",
    "0",
    "1",
    "-1",
    "1e3",
    "99999999999999999999999",
    "+" * 5000,
    "9" * 5000,
]
VALUES += [
    "index",
    "second",
    "seed",
    "seed=3",
    "steps=1,2",
    "cpu",
    "cuda",
    "toaster",
    "tcp://h:1",
    "tcp://:0",
    ",,",
]
VALUES += [
    "",
    " ",
    "--",
    "-",
    "=",
    "é",
    "\x1b[31m",
    "a\nb",
    "\u2028",
    "\udcff",
    "x" * 5000,
    "None",
    "[" * 300,
    "../..",
    "/",
]
VALUES += [
    "\0",
    "~",
    "nan",
    "inf",
    "0,1",
    "true",
    "sampled",
    "{}",
    "%s",
    "`touch x`",
    "$(x)",
    "/dev/null",
    "/" + "a" * 300,
]
words = st.sampled_from(VALUES) | st.text(max_size=6)
pairs = st.tuples(st.sampled_from(OPTIONS), words).flatmap(
    lambda pair: st.sampled_from([[*pair], ["=".join(pair)], [pair[0]]])
)
lines = st.tuples(
    st.sampled_from(COMMANDS), st.lists(pairs | words.map(lambda word: [word]), max_size=5)
).map(lambda line: [line[0], *(word for part in line[1] for word in part)])


@pytest.fixture(scope="module")
def nothing_runs(tmp_path_factory):
    """A small book to be in, no results, and what takes long left out."""
    place = copy_small_book(tmp_path_factory.mktemp("lines") / "small")
    (place / "results").mkdir()

    def execute(chapter, given, *_, root, **__):
        chapters.check(chapters.parameters(chapters.load(chapter, root)), given, chapter)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("SPLITHISTORY_RESULTS", str(place / "results"))
        patch.setenv("SPLITHISTORY_STORE", str(place / "store"))
        for of, name, instead in (
            (
                study,
                "run",
                lambda *_, **where: study.check_where(**{k: where[k] for k in ("workers", "device")}) or 0,
            ),
            (study, "check", lambda *_: "checked"),
            (chapters, "execute", execute),
            (chapters, "export", lambda *_, **__: []),
            (book, "build", lambda *_, **__: "page"),
            (book, "reference", lambda names: []),
            (claims, "ledger", lambda *_, **__: []),
            (sweeps, "sweep", lambda *_, **__: SimpleNamespace(failures=[], failed="")),
        ):
            patch.setattr(of, name, instead)
        before = sorted(place.rglob("*"))
        yield
        assert sorted(place.rglob("*")) == before  # nothing was left


def said(line: list[str]) -> tuple[int, str]:
    """Exit status and what went to standard error."""
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
        warnings.simplefilter("error")
        try:
            status = cli.main(line)
        except SystemExit as stop:
            status = stop.code or 0
    return status, err.getvalue()


def wrong(line: list[str]) -> str:
    """What is wrong with how a command line is answered, "" if nothing."""
    try:
        status, err = said(line)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if status == 0:
        return f"0, but said {err!r}" if err else ""
    whole = err.startswith("splithistory: error: ") and err[:-1].isprintable() and err.endswith("\n")
    return "" if status == 2 and whole and len(err) < 700 else f"{status}: {err[:300]!r}"


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_with_any_value_is_done_or_refused_in_one_line(command, option, tried):
    for value in VALUES:
        line = [command, option, value]
        assert not wrong(line), f"{line}: {wrong(line)}"
        tried["command lines"] += 1


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_runs")
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(line=lines)
@example(line=["study", "--profile=--"])
def test_any_command_line_is_done_or_refused_in_one_line(tried, line):
    assert not wrong(line)
    tried["command lines"] += 1
