"""How a script that publishes is run: its parser, and its complaints as one line each."""

import sys
from collections.abc import Callable
from pathlib import Path

from splithistory.cli import Parser, complain
from splithistory.study import results_root


def parser(description: str, place: str) -> Parser:
    """A parser with the option --output, below the published results if it is not given."""
    made = Parser(prog=Path(sys.argv[0]).stem, description=description.splitlines()[0])
    made.add_argument("--output", type=Path, help=f"folder to write (default: {place} of the results)")
    return made


def output(args, place: str) -> Path:
    """Where to write; ValueError if there are no results to write below."""
    return args.output or results_root() / place


def run(main: Callable[[], int | None]) -> None:
    """Run it and end with its status: 1, and one line, if its input or the results there are none."""
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(complain(error, 1, Path(sys.argv[0]).stem))
