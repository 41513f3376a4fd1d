"""The command line: one line for a mistake, help everywhere, and a quick start."""

import os
import subprocess
import sys

import pytest

from splithistory import cli, information, study
from splithistory.pages import book, sweeps
from splithistory.pages.chapters import BookError
from splithistory.study import grid
from splithistory.study.store import STORE_VARIABLE

TO_EXECUTE = "allowed is that with a chapter to execute"
LISTED = "allowed is one or more, separated by commas"
SEEDS = "allowed an integer from 0 to 2,147,483,647"


@pytest.mark.parametrize(
    "command", [[], ["study"], ["chapter"], ["book"], ["pdf"], ["sweep"], ["claims"], ["reference"]]
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: splithistory")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nope",
        "book --nope",
        "study",
        "chapter x -p seed",
        "chapter x -p seed --html",
        "chapter x --list --plain",
        "chapter x --plain --html",
        "chapter x -p =3",
        "study --workers x",
        "study --profile smoke --check --publish",
        "sweep x --workers y",
    ],
)
def test_bad_usage_is_one_line(line, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and not out
    assert err.startswith("splithistory: error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chapter nope", "chapter: given nope, allowed one of index, part/second"),
        ("chapter index -p seed 1e3", f"seed: given 1e3, {SEEDS}"),
        ("chapter index -p seed -1", f"seed: given -1, {SEEDS}"),
        ("chapter index -p seed=-1", f"seed: given -1, {SEEDS}"),
        ("chapter index -pseed=-1e-3", f"seed: given -1e-3, {SEEDS}"),
        ("chapter -p noise=nan index", "noise: given nan, allowed a finite number"),
        (
            "chapter index -p sede=3",
            "sede: not a parameter of book/index, did you mean seed? allowed seed, size, noise, fresh, label",
        ),
        ("chapter second -p size 3", "size: not a parameter of book/part/second, allowed seed, steps"),
        ("sweep second -p size=3", "size: not a parameter of book/part/second, allowed seed, steps"),
        ("sweep", "sweep: given none, allowed is one of chapter and profile"),
        (
            "sweep second --profile smoke",
            "sweep: given chapter second and profile smoke, allowed is one of chapter and profile",
        ),
        ("book -p n 3", "n: not a parameter of any chapter, allowed seed, size, noise, fresh, label, steps"),
        (
            "chapter second -p steps 99999999999999999999999999",
            "steps: given 99999999999999999999999999, which needs 1.37e+12 GiB, allowed here are 8 GiB",
        ),
        ("book -p steps 0", "steps: given 0, allowed an integer > 0"),
        ("chapter second -p steps=1 -p steps=2", "steps: given twice, allowed once"),
        ("book -p seed=1 -p seed=1", "seed: given twice, allowed once"),
        ("book -p fresh=false --fresh", "fresh: given twice, allowed once"),
        ("book -p profile=quick --profile smoke", "profile: given twice, allowed once"),
        ("chapter second --plain -p n=1", f"chapter: given -p, {TO_EXECUTE}"),
        ("chapter second --list -p n=1", f"chapter: given -p, {TO_EXECUTE}"),
        ("chapter second --list -o out", f"chapter: given --output, {TO_EXECUTE}"),
        ("chapter -p n=1 --html -o out", f"chapter: given -p, --html, --output, {TO_EXECUTE}"),
        ("study --profile smoke --dry-run --sizes ,", f"sizes: given ',', {LISTED}"),
        ("study --profile smoke --dry-run --seeds=", f"seeds: given '', {LISTED}"),
        ("study --profile smoke --dry-run --arms ,,", f"arms: given ',,', {LISTED}"),
    ],
)
def test_bad_values_are_one_line_and_leave_nothing(line, message, small_book, monkeypatch, capsys):
    monkeypatch.setattr(information, "_memory", lambda: 2**34)
    monkeypatch.chdir(small_book)
    assert cli.main(line.split()) == 2
    assert capsys.readouterr().err == f"splithistory: error: {message}\n"
    assert not (small_book / "_build").exists()


def test_a_file_is_no_folder_to_write_in(small_book, monkeypatch, capsys):
    monkeypatch.chdir(small_book)
    for line in ("chapter index -o out.ipynb", "book -o a/b.html", "sweep index -p seed=1 -o s.ipynb"):
        with pytest.raises(SystemExit) as stop:
            cli.main(line.split())
        said = capsys.readouterr().err
        assert (
            stop.value.code == 2
            and said.count("\n") == 1
            and "a file, allowed is the path of a folder" in said
        )
    assert not [*small_book.glob("out*"), *small_book.glob("a"), *small_book.glob("s.*")]


@pytest.mark.parametrize("line", ["chapter index", "chapter --plain", "book", "pdf", "sweep index -p seed=1"])
def test_a_file_in_the_way_of_what_is_written_is_one_line_before_anything_runs(
    line, small_book, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(small_book)
    (tmp_path / "file").write_text("kept")
    for given in (tmp_path / "file", tmp_path / "file/inner"):
        with pytest.raises(SystemExit) as stop:
            cli.main([*line.split(), "-o", str(given)])
        said = (
            f"argument -o/--output: given '{given}', but {tmp_path / 'file'} is a file, allowed is a folder"
        )
        err = capsys.readouterr().err
        assert stop.value.code == 2 and err.count("\n") == 1 and said in err
    assert (tmp_path / "file").read_text() == "kept"


def test_chapter_executes_lists_and_explains(small_book, monkeypatch, capsys):
    monkeypatch.chdir(small_book)
    assert cli.main(["chapter"]) == 0
    assert capsys.readouterr().out.split() == ["index", "part/second"]
    assert cli.main(["chapter", "second", "--list"]) == 0
    allowed = "(an integer from 0 to 2,147,483,647)"
    said = f"seed 0 the random seed {allowed} steps 2 (an integer > 0)"
    assert capsys.readouterr().out.split() == said.split()
    with pytest.raises(SystemExit) as stop:
        cli.main(["chapter", "second", "--help"])
    assert stop.value.code == 0
    assert "".join(capsys.readouterr().out.split()).endswith("".join(said.split()))
    assert cli.main("chapter second -p steps=3 --output out".split()) == 0
    assert capsys.readouterr().out == "out/part/second.ipynb\n"
    assert "steps = 3" in (small_book / "out/part/second.ipynb").read_text()


def test_book_passes_its_options_on(monkeypatch, capsys, tmp_path):
    calls = []
    monkeypatch.setattr(book, "build", lambda *given, **where: calls.append((*given, where)) or "page")
    options = ["-p", "seed", "3", "--profile", "smoke", "--fresh", "--store", str(tmp_path)]
    assert cli.main(["book", *options, "--device", "cuda"]) == 0
    assert cli.main(["book", "-o", str(tmp_path / "out")]) == 0
    assert calls == [
        ({"seed": "3", "profile": "smoke", "fresh": True}, None, {"store": tmp_path, "device": "cuda"}),
        ({}, tmp_path / "out", {"store": None, "device": None}),
    ]
    assert capsys.readouterr().out == "page\npage\n"


def test_a_failed_chapter_is_one_line_and_status_one(monkeypatch, capsys):
    def fail(*_, **__):
        raise BookError("book/index: code cell 2: KeyError: 'x'")

    monkeypatch.setattr(book, "build", fail)
    assert cli.main(["book"]) == 1
    assert capsys.readouterr().err == "splithistory: error: book/index: code cell 2: KeyError: 'x'\n"


@pytest.mark.parametrize("command", ["chapter", "book", "claims", "sweep x -p seed=1", "pdf", "reference"])
def test_without_the_extra_of_the_book_one_line_says_what_to_install(command):
    missing = ("jupytext", "nbformat", "nbclient", "bs4")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\nfrom splithistory import cli\n"
    code += f"sys.exit(cli.main({command.split()}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"splithistory: error: {command.split()[0]}: needs ")
    assert done.stderr.endswith(': pip install "splithistory[book]"\n')


def test_a_missing_module_of_our_own_is_not_put_down_to_the_installation(monkeypatch):
    monkeypatch.setitem(sys.modules, "splithistory.pages.book", None)
    monkeypatch.delattr(sys.modules["splithistory.pages"], "book")
    with pytest.raises(ModuleNotFoundError, match=r"splithistory\.pages\.book"):
        cli.main(["book"])


def test_a_sweep_of_a_chapter_hands_its_store_to_the_chapter_and_to_nobody_after_it(
    small_book, tmp_path, monkeypatch, capsys
):
    found = []

    def run(chapter, values, root):
        found.append(os.environ.get(STORE_VARIABLE))
        raise BookError("enough")

    monkeypatch.setattr(sweeps, "run", run)
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "own"))
    monkeypatch.chdir(small_book)
    line = [
        "sweep",
        "second",
        "-p",
        "steps=3",
        "-o",
        str(tmp_path / "out"),
        "--store",
        str(tmp_path / "runs"),
    ]
    assert cli.main(line) == 1
    assert found == [str(tmp_path / "runs")] and os.environ[STORE_VARIABLE] == str(tmp_path / "own")
    assert cli.main([*line, "--scheduler", "tcp://far:8786"]) == 2  # its workers have their own environment
    assert "and a scheduler, allowed is one of the two" in capsys.readouterr().err and len(found) == 1
    (tmp_path / "file").write_text("")
    assert cli.main([*line[:-1], str(tmp_path / "file")]) == 2 and len(found) == 1
    assert "file, which is a file or cannot be a folder" in capsys.readouterr().err


def test_starting_up_does_not_import_torch():
    code = "import sys, splithistory.pages.book, splithistory.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "splithistory", "book", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: splithistory book")


@pytest.fixture
def tiny_study(tmp_path, monkeypatch):
    """The smallest study under the name of smoke, with a store and results of its own."""
    training = {"batch": 16, "test_size": 32, "evaluations": 1}
    profile = study.Profile(
        ("18k",),
        (0, 1),
        pretraining={**training, "steps": 2, "train_size": 64},
        reinforcement={**training, "updates": 2, "pool": 64, "maintenance_batch": 16},
        n_histories=200,
        repeats=2,
        set_size=50,
    )
    monkeypatch.setitem(study.PROFILES, "smoke", profile)
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("SPLITHISTORY_RESULTS", str(tmp_path / "results"))
    return ["study", "--profile", "smoke", "--store", str(tmp_path / "store")]


def test_a_dry_run_lists_jobs_and_touches_nothing(tiny_study, tmp_path, capsys):
    assert cli.main([*tiny_study, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "reinforce 18k seed 0 sampled n_good 4" in out and "MB in" in out and "minutes" in out
    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


def test_a_study_is_run_once_and_published_whole(tiny_study, tmp_path, capsys):
    assert cli.main(tiny_study) == 0
    assert capsys.readouterr().out.startswith("19 jobs done")
    assert cli.main(tiny_study) == 0
    assert capsys.readouterr().out.startswith("0 jobs done")
    assert cli.main([*tiny_study, "--publish"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'results/smoke'}\n"
    assert study.load("smoke").manifest["command"] == "splithistory study --profile smoke --publish"


def test_a_study_can_be_run_and_published_in_pieces(tiny_study, tmp_path, capsys):
    assert cli.main([*tiny_study, "--seeds", "1"]) == 0
    assert capsys.readouterr().out.startswith("10 jobs done")
    assert cli.main([*tiny_study, "--publish"]) == 0
    assert "not finished, so not published: 9 of 19 runs (splith" in capsys.readouterr().out
    assert set(study.load("smoke").models["seed"]) == {-1, 1}
    elsewhere = [*tiny_study[:-1], str(tmp_path / "elsewhere")]
    part = [*elsewhere, "--sizes", "18k", "--arms", "sampled"]
    assert cli.main(part) == 0
    assert capsys.readouterr().out.startswith("9 jobs done")
    assert cli.main([*part, "--publish"]) == 0
    capsys.readouterr()
    assert set(study.load("smoke").models["seed"]) == {-1, 0, 1}
    assert cli.main([*elsewhere, "--fresh"]) == 0  # what was published is trained here too
    assert capsys.readouterr().out.startswith("10 jobs done")


def test_a_published_study_is_checked_by_training_two_of_its_models_again(tiny_study, capsys, monkeypatch):
    assert cli.main(tiny_study) == cli.main([*tiny_study, "--publish"]) == 0
    capsys.readouterr()
    assert cli.main([*tiny_study[:3], "--check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "pretrained test_loss",
        "finetuned s",
        "finetuned op",
        "finetuned imp",
    ]
    monkeypatch.setattr(study, "_CHECK_DEVIATIONS", -1)
    assert cli.main([*tiny_study[:3], "--check"]) == 1
    assert "retrained models differ from the published ones: pretrained test_loss" in capsys.readouterr().err


def test_a_study_of_one_seed_has_no_spread_to_be_checked_against(tiny_study, capsys, monkeypatch):
    one = [*tiny_study, "--seeds", "0", "--arms", "sampled"]
    assert cli.main(one) == cli.main([*one, "--publish"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(study, "run", lambda *_, **__: pytest.fail("trains"))
    assert cli.main([*tiny_study[:3], "--check"]) == 2
    given = "given 'smoke', of whose 18k models one seed is published, which has no spread"
    allowed = "allowed is one with two seeds or more"
    assert capsys.readouterr().err == f"splithistory: error: profile: {given}; {allowed}\n"


def test_publishing_never_trains(tiny_study, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grid, "run", lambda *_, **__: pytest.fail("a job was started"))
    assert cli.main([*tiny_study, "--publish"]) == 2
    assert "store holds no finished model of the profile" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


@pytest.mark.parametrize("what", ["--dry-run", "--publish", "--check"])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("--device toaster", "device: given 'toaster', allowed on this machine: cpu"),
        ("--scheduler nonsense", "scheduler: given 'nonsense', allowed is an address such as tcp://"),
        ("--workers -1", "workers: given -1, allowed is an integer >= 0"),
        ("--workers 1000000", "workers: given 1000000, which needs 2.5e+05 GiB, allowed here are "),
        ("--workers 2 --scheduler tcp://h:1", "scheduler: given 'tcp://h:1' and 2 workers, allowed is"),
        ("--seeds 77", "seeds: given 77, allowed are 0, 1"),
    ],
)
def test_what_cannot_be_is_refused_whatever_is_done_with_it(
    what, where, message, tiny_study, tmp_path, capsys
):
    assert cli.main([*tiny_study, what, *where.split()]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


UNUSED = (
    "--sizes=18k --seeds=0 --arms=sampled --store=x --workers=2 --device=cpu:0 --scheduler=tcp://h:1 --fresh"
)


@pytest.mark.parametrize("given", UNUSED.split())
def test_what_would_do_nothing_beside_check_is_refused(given, tiny_study, monkeypatch, capsys):
    monkeypatch.setattr(study, "check", lambda *_: pytest.fail("was ignored"))
    assert cli.main([*tiny_study[:3], "--check", given]) == 2
    name, err = given.partition("=")[0].removeprefix("--"), capsys.readouterr().err
    assert err.startswith(f"splithistory: error: {name}: given ") and err.count("\n") == 1
    assert err.endswith("with --check, allowed is --profile alone\n")


@pytest.mark.parametrize("given", UNUSED.split()[4:])
def test_what_trains_is_refused_beside_publish_which_trains_nothing(given, tiny_study, monkeypatch, capsys):
    monkeypatch.setattr(study, "publish", lambda *_: pytest.fail("was ignored"))
    assert cli.main([*tiny_study, "--publish", given]) == 2
    name, err = given.partition("=")[0].removeprefix("--"), capsys.readouterr().err
    assert err.startswith(f"splithistory: error: {name}: given ") and err.count("\n") == 1
    assert err.endswith("with --publish, allowed is a training without it\n")


@pytest.mark.parametrize("given", ["--profile=--", "--store=--", "--sizes=--", "--device=--", "--store="])
def test_an_option_without_a_value_is_one_line(given, capsys, monkeypatch):
    monkeypatch.setattr(study, "run", lambda *_, **__: pytest.fail("trains"))
    if given == "--store=--" and sys.version_info >= (3, 13):
        pytest.skip("this Python takes -- for a value, and a folder may have that name")
    try:
        status = cli.main(["study", "--profile", "smoke", given, "--dry-run"])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2 and not out
    assert err.count("\n") == 1 and given.partition("=")[0].removeprefix("--") in err


@pytest.mark.parametrize("given", ["a\x1b[31mb\x07", "x" * 5000, "a\nb\u2028c", "\udcff"])
@pytest.mark.parametrize("line", [["study", "--profile"], ["chapter"], ["claims", "--profile"], []])
def test_a_complaint_is_printable_and_of_one_line_whatever_was_given(line, given, capsys):
    try:
        assert cli.main([*line, given]) == 2
    except SystemExit as stop:
        assert stop.code == 2
    err = capsys.readouterr().err
    assert err.endswith("\n") and err[:-1].isprintable() and len(err) < 600


def test_checking_what_is_not_published_is_refused(tiny_study, capsys):
    assert cli.main([*tiny_study[:3], "--check"]) == 2
    assert "profile: given 'smoke', of which nothing is published in" in capsys.readouterr().err


def test_a_negative_number_of_workers_is_refused_and_leaves_nothing(tiny_study, tmp_path, capsys):
    assert cli.main([*tiny_study, "--workers", "-1"]) == 2
    assert capsys.readouterr().err == "splithistory: error: workers: given -1, allowed is an integer >= 0\n"
    assert list(tmp_path.rglob("*")) == [tmp_path / "results"]


def test_an_unusable_store_is_noticed_before_any_training(tiny_study, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([*tiny_study[:-1], str(tmp_path / "file" / "store")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("splithistory: error: ") and err.count("\n") == 1


def test_an_unknown_profile_is_one_line_on_the_command_line(capsys):
    assert cli.main(["study", "--profile", "nope"]) == 2
    expected = "splithistory: error: profile: given 'nope', allowed are " + ", ".join(study.PROFILES) + "\n"
    assert capsys.readouterr().err == expected


def test_claims_are_judged_on_a_study_trained_from_scratch_a_line_each(
    tiny_study, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(grid, "default_workers", lambda: 0)  # starting others takes longer than the training
    assert cli.main(["claims", *tiny_study[1:], "--fresh"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 45 and lines[0].startswith("sequence-predictable: reproduced")
    assert "op-grows-with-size: too small to tell: fewer than 3 seeds or 3 sizes" in lines
    assert (tmp_path / "store").is_dir() and not list((tmp_path / "results").iterdir())


def test_claims_refuse_an_unknown_profile_before_anything_runs(tmp_path, capsys):
    assert cli.main(["claims", "--profile", "nope", "--store", str(tmp_path / "store")]) == 2
    assert "profile: given 'nope', allowed are " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
