"""The command line: ``splithistory study | chapter | book | pdf | sweep | claims | reference``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, like every other complaint of its program."""

    def parse_known_args(self, args=None, namespace=None):
        """As argparse has it, but ``--name=--`` is no value: Python up to 3.12 makes an empty list of it."""
        found, left = super().parse_known_args(args, namespace)
        for action in self._actions:
            value: Any = getattr(found, action.dest, None)
            listed = isinstance(action.default, list)  # an option that may be repeated
            if action.nargs is None and ([] in (value or []) if listed else isinstance(value, list)):
                self.error(f"argument {'/'.join(action.option_strings)}: given '--', allowed is a value")
        return found, left

    def error(self, message: str) -> NoReturn:
        program = self.prog.split()[0]  # not the command
        self.exit(2, f"{program}: error: {_line(message)} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done; 1: a chapter, a page or a training failed; 2: bad input, nothing was changed; 130: interrupted.
    """
    args = argparse.Namespace()
    try:
        _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv), args)
        for name in ("SPLITHISTORY_STORE", "SPLITHISTORY_RESULTS"):
            if os.environ.get(name):
                os.environ[name] = os.path.abspath(os.environ[name])
        args.run(args)
    except ValueError as error:
        return complain(error, 2)
    except (RuntimeError, OSError, MemoryError) as error:
        return complain(error, 1)
    except ModuleNotFoundError as error:
        return complain(_lacks(error, args.command), 2)
    except KeyboardInterrupt:
        return complain(RuntimeError("interrupted; finished runs are kept"), 130)
    return 0


def complain(error: Exception, status: int, program: str = "splithistory") -> int:
    """Say in one line what went wrong, and return the exit status."""
    print(f"{program}: error: {_line(str(error) or type(error).__name__)}", file=sys.stderr)
    return status


def _lacks(error: ModuleNotFoundError, command: str) -> ValueError:
    """What to install, where an installation lacks what a command needs; a module of ours is our mistake."""
    module = (error.name or "splithistory").partition(".")[0]
    if module == "splithistory":
        raise error
    return ValueError(f'{command}: needs {module}: pip install "splithistory[book]"')


def _line(text: str, most: int = 500) -> str:
    """A text as one printable line: what was given may hold anything, and be of any length."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= most else f"{line[:most]}..."


def _folder(text: str) -> Path:
    """A folder that was given, wherever a worker of ours may look for it from."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed is the path of a folder")
    path = Path(text).absolute()
    if path.suffix in (".ipynb", ".html", ".pdf") and not path.is_dir():
        raise argparse.ArgumentTypeError(f"given {text!r}, a file, allowed is the path of a folder")
    return path


def _output(text: str) -> Path:
    """A folder to write in, which no file is in the way of."""
    path = _folder(text)
    if max(len(part.encode("utf8", "surrogatepass")) for part in path.parts) > 255:
        raise argparse.ArgumentTypeError(f"given {text!r}, a name that is too long, allowed are 255 bytes")
    if file := next(filter(os.path.isfile, (path, *path.parents)), None):
        raise argparse.ArgumentTypeError(f"given {text!r}, but {file} is a file, allowed is a folder")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="splithistory", description="Measure learned optimization in small transformers.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    _add_study(commands)
    _add_chapter(commands)
    _add_book(commands)
    _add_pdf(commands)
    _add_sweep(commands)
    _add_claims(commands)
    _add_reference(commands)
    return parser


# --- study -------------------------------------------------------------------------------------


def _add_study(commands: Any) -> None:
    text = (
        "Train and measure the models of a profile, or a part of it; what is in the store or published is "
        "not trained again, and an interrupted training goes on where it was. With --publish nothing is "
        "trained: what is finished is published."
    )
    command = commands.add_parser("study", help="train and measure models", description=text)
    which = "which models and settings: smoke, quick, post, ..."
    command.add_argument("--profile", required=True, help=which)
    for name, example in (("sizes", "18k,402k"), ("seeds", "0,1"), ("arms", "sampled")):
        command.add_argument(f"--{name}", metavar="LIST", help=f"only these, e.g. {example}")
    where = "folder of finished runs (default: $SPLITHISTORY_STORE, else in the user's cache)"
    command.add_argument("--store", type=_folder, metavar="DIR", help=where)
    _add_workers(command)
    command.add_argument("--device", default="cpu", help="cpu (default), or cuda: this machine's GPU")
    command.add_argument("--fresh", action="store_true", help="train what is published, too")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only list the jobs, their time and disk")
    only = "only write what is finished for the book to read (results/)"
    what.add_argument("--publish", action="store_true", help=only)
    again = "retrain two models, compare with what is published"
    what.add_argument("--check", action="store_true", help=again)
    command.set_defaults(run=_study)


def _study(args: argparse.Namespace) -> None:
    from splithistory import study
    from splithistory.study.store import Store

    profile, store = study.profile_named(args.profile), Store(args.store)
    sizes, arms = _list("sizes", args.sizes), _list("arms", args.arms)
    part = profile.part(sizes=sizes, seeds=_seeds(args.seeds), arms=arms)
    where = {"workers": args.workers, "scheduler": args.scheduler, "device": args.device}
    study.check_where(**where)
    if args.check or args.publish:
        _refuse_ignored(args)
    if args.check:
        print(study.check(args.profile))
        return
    there: dict[str, Any] = {}
    if not args.fresh and study.has_results():
        there = {"known": study.published(args.profile), "weights": study.published_weights()}
    if args.dry_run:
        print(study.plan(part, study.to_do(part, store, **there), store, args.workers))
    elif args.publish:
        _publish(args.profile, part, store, study.to_do(part, store, **there))
    else:
        done = study.run(part, store, **where, **there)
        print(f"{done} jobs done; finished runs lie in {store.root}")


def _refuse_ignored(args: argparse.Namespace) -> None:
    """--check trains two models of its own choice in a store that it deletes; --publish trains none."""
    unused: dict[str, Any] = {"scheduler": None, "workers": 0, "device": "cpu", "fresh": False}
    what, allowed = "--publish", "a training without it"
    if args.check:
        unused |= dict.fromkeys(("sizes", "seeds", "arms", "store"))
        what, allowed = "--check", "--profile alone"
    for name, default in unused.items():
        if (given := getattr(args, name)) != default:
            raise ValueError(f"{name}: given {str(given)!r} with {what}, allowed is {allowed}")


def _publish(name: str, part: Any, store: Any, missing: list) -> None:
    from splithistory import study

    print(study.publish(name, store, part))
    if missing:
        minutes = sum(job.seconds for job in missing) / 60
        print(
            f"not finished, so not published: {len(missing)} of {len(study.jobs(part))} runs "
            f"(splithistory study without --publish trains them: about {minutes:.0f} minutes of one core)"
        )


def _add_workers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=int, default=0, help="processes to work in (default: 0, this one)")
    command.add_argument("--scheduler", metavar="ADDRESS", help="work on a Dask cluster, tcp://host:port")


def _list(name: str, text: str | None) -> list[str]:
    """The words of a list; none if it is not given, for all. ValueError if it is given and has none."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    if text is not None and not words:
        raise ValueError(f"{name}: given {text!r}, allowed is one or more, separated by commas")
    return words


def _seeds(text: str | None) -> list[int]:
    words = _list("seeds", text)
    try:
        return [int(word) for word in words]
    except ValueError:
        raise ValueError(f"seeds: given {text!r}, allowed are integers separated by commas") from None


# --- chapter -----------------------------------------------------------------------------------


def _add_chapter(commands: Any) -> None:
    text = (
        "Execute one chapter with parameters of your own and keep the executed notebook. Without a name: "
        "list the chapters. With a name and --help: what the chapter's parameters are, too."
    )
    command = commands.add_parser("chapter", help="execute one chapter", description=text, add_help=False)
    command.add_argument("-h", "--help", action="store_true", help="show this, and a chapter's parameters")
    command.add_argument("name", nargs="?", help="a chapter, e.g. sequence or measures/optimization")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show the chapter's parameters and stop")
    where = "folder of the executed notebook (default: _build/chapters of the book)"
    command.add_argument("-o", "--output", type=_output, metavar="DIR", help=where)
    what.add_argument("--html", action="store_true", help="write it as a page of its own, too")
    plain = "write the chapter, or all chapters, as notebooks without outputs that need no book; run nothing"
    what.add_argument("--plain", action="store_true", help=plain)
    _add_parameters(command)
    command.set_defaults(run=lambda args: _help(command, args) if args.help else _chapter(args))


def _help(command: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    command.print_help()
    if args.name is not None:
        print(f"\nparameters of {args.name}:")
        _list_parameters(args.name)
    command.exit()


def _list_parameters(name: str) -> None:
    from splithistory.pages import chapters

    for parameter in chapters.parameters(chapters.load(name, chapters.project_root())).values():
        allowed = f"({chapters.allowed(parameter)})"
        print(f"  {parameter.name:<14} {parameter.default!s:<10} {parameter.help} {allowed}")


def _chapter(args: argparse.Namespace) -> None:
    from splithistory.pages import chapters

    _refuse_unused(args)
    root = chapters.project_root()
    if args.plain:
        for path in chapters.export(args.output or root / "_build" / "notebooks", args.name, root=root):
            print(path)
    elif args.name is None:
        print("\n".join(chapter.removeprefix("book/") for chapter in chapters.chapters(root)))
    elif args.list:
        _list_parameters(args.name)
    else:
        chapter = chapters.find_chapter(args.name, root)
        output = args.output or root / "_build" / "chapters"
        path = output / f"{chapter.removeprefix('book/')}.ipynb"
        chapters.execute(
            chapter, chapters.once(args.parameters), path, root=root, page=args.html, progress=True
        )
        print("\n".join(map(os.path.relpath, [path, *[path.with_suffix(".html")] * args.html])))


def _refuse_unused(args: argparse.Namespace) -> None:
    """ValueError if an option is given that is for executing a chapter, and none is executed."""
    if args.name is not None and not (args.list or args.plain):
        return
    options = {"-p": args.parameters, "--html": args.html, "--output": args.output and not args.plain}
    if given := [option for option, there in options.items() if there]:
        raise ValueError(f"chapter: given {', '.join(given)}, allowed is that with a chapter to execute")


def _add_parameters(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-p",
        dest="parameters",
        type=_assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the chapter's parameters cell; may be repeated",
    )


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed NAME=VALUE")
    return name, value


def _joined(words: Sequence[str]) -> list[str]:
    """The words of a command line with `-p NAME VALUE` as `-pNAME=VALUE`, which no sign confuses."""
    joined, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word == "-p" and rest:
            word += rest.pop(0)
            if "=" not in word and rest and not rest[0].startswith("--"):
                word += f"={rest.pop(0)}"
        joined.append(word)
    return joined


# --- book --------------------------------------------------------------------------------------


def _add_book(commands: Any) -> None:
    text = (
        "Execute every chapter with the parameters it knows, and render the book to _build/html, or with "
        "parameters that change a chapter to _build/with/NAME=VALUE/html."
    )
    command = commands.add_parser("book", help="execute and render the whole book", description=text)
    _add_parameters(command)
    command.add_argument("--profile", help="short for -p profile PROFILE")
    command.add_argument("--fresh", action="store_true", help="short for -p fresh true: train anew")
    where = "folder to build in (default: _build of the book, or one of its own in it)"
    command.add_argument("-o", "--output", type=_output, metavar="DIR", help=where)
    command.add_argument("--store", type=_folder, metavar="DIR", help="folder of the chapters' runs")
    where = "where chapters train: cpu, or cuda (default: $SPLITHISTORY_DEVICE)"
    command.add_argument("--device", help=where)
    command.set_defaults(run=_book)


def _book(args: argparse.Namespace) -> None:
    from splithistory.pages import book, chapters

    short = [("profile", args.profile)] * (args.profile is not None) + [("fresh", True)] * args.fresh
    given = chapters.once([*args.parameters, *short])
    page = book.build(given, args.output, store=args.store, device=args.device)
    print(os.path.relpath(page))


# --- pdf ---------------------------------------------------------------------------------------


def _add_pdf(commands: Any) -> None:
    text = "Print the rendered book, all pages in one, to split-history.pdf, by Chromium."
    command = commands.add_parser("pdf", help="print the rendered book", description=text)
    command.add_argument("-o", "--output", type=_output, metavar="DIR", help="what the book was built in")
    command.set_defaults(run=_pdf)


def _pdf(args: argparse.Namespace) -> None:
    from splithistory.pages import printing

    print(printing.pdf(args.output))


# --- claims ------------------------------------------------------------------------------------


def _add_claims(commands: Any) -> None:
    text = (
        "Judge every claim of the post on the results of a profile, by criteria committed before the study "
        "ran: a line a claim, with its id, verdict and statistic."
    )
    command = commands.add_parser("claims", help="judge the post's claims", description=text)
    which = "which study: smoke, quick, post, ... (default: post)"
    command.add_argument("--profile", default="post", help=which)
    command.add_argument("--fresh", action="store_true", help="train it here, even if it is published")
    command.add_argument("--store", type=_folder, metavar="DIR", help="folder of finished runs")
    command.set_defaults(run=_claims)


def _claims(args: argparse.Namespace) -> None:
    from splithistory.pages import claims
    from splithistory.study.store import Store

    for row in claims.ledger(args.profile, fresh=args.fresh, store=Store(args.store)):
        print(row)


# --- reference ---------------------------------------------------------------------------------


def _add_reference(commands: Any) -> None:
    text = "Execute chapters as published and write their text outputs to tests/reference."
    command = commands.add_parser("reference", help="renew the runs the tests compare with", description=text)
    command.add_argument("names", nargs="*", metavar="CHAPTER", help="such as `sequence` (default: all)")
    command.set_defaults(run=_reference)


def _reference(args: argparse.Namespace) -> None:
    from splithistory.pages import book

    for path in book.reference(args.names):
        print(path)


# --- sweep -------------------------------------------------------------------------------------


def _add_sweep(commands: Any) -> None:
    text = (
        "Execute a chapter, or train a profile of the study, at every point of a grid, and put what came of "
        "it into one table: numbers, quoted texts and findings, or each number of each model. Started "
        "again, it goes on where it was; what failed is listed, and done again."
    )
    command = commands.add_parser("sweep", help="a chapter, or the study, over a grid", description=text)
    command.add_argument("name", nargs="?", help="a chapter, e.g. measures/optimization")
    command.add_argument("--profile", help="instead, a profile of the study: smoke, quick, ...")
    command.add_argument(
        "-p",
        dest="grid",
        action="append",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="values of a parameter of the chapter, or of a setting: noise, window, modulus, batch, rate, "
        "pretraining_steps, ...; may be repeated: every combination is done",
    )
    what = "more of it as YAML: chapter: NAME (or profile: NAME), and below grid: NAME: [VALUE, VALUE]"
    command.add_argument("--grid", dest="file", type=Path, metavar="FILE", help=what)
    where = "folder of the sweep (default: one of its name in _build/sweeps of the book)"
    command.add_argument("-o", "--output", type=_output, metavar="DIR", help=where)
    command.add_argument("--store", type=_folder, metavar="DIR", help="folder of trained models, as of study")
    _add_workers(command)
    command.add_argument("--yes", action="store_true", help="allow more than 10,000 points")
    command.set_defaults(run=_sweep)


def _sweep(args: argparse.Namespace) -> None:
    from splithistory.pages import book, chapters, sweeps
    from splithistory.study.store import STORE_VARIABLE, Store

    there, grid = sweeps.read_grid(args.file) if args.file else ({}, {})
    here = {what: name for what, name in (("chapter", args.name), ("profile", args.profile)) if name}
    grid, named = sweeps.spelled(args.grid, grid), list(dict.fromkeys([*here.items(), *there.items()]))
    if len(named) != 1:
        given = " and ".join(map(" ".join, named)) or "none"
        raise ValueError(f"sweep: given {given}, allowed is one of chapter and profile")
    of = dict(named)
    root, most = chapters.project_root(), sys.maxsize if args.yes else sweeps.MOST
    store = Store(args.store)
    if "profile" in of:
        name, what = of["profile"], f"--profile {of['profile']}"
        points = sweeps.trainings(name, grid, store.root, most)
    else:
        if args.store and args.scheduler:  # which has an environment of its own
            raise ValueError(f"store: given {args.store} and a scheduler, allowed is one of the two")
        name = what = chapters.find_chapter(of["chapter"], root).removeprefix("book/")
        points = sweeps.executions(name, grid, root, most)
    folder = args.output or root / "_build" / "sweeps" / name
    where = {"workers": args.workers, "scheduler": args.scheduler}
    own = args.store and store.root  # where chapters, and workers that are started here, find and keep runs
    with book.environment({STORE_VARIABLE: own}):
        done = sweeps.sweep(points, folder, **where, command=sweeps.command(what, grid))
    print(os.path.relpath(folder / "table" / "values.parquet"))
    if len(done.failures):
        raise RuntimeError(done.failed)
