"""What the package costs beside what a user would write: one table, and one file for this machine.

    python benchmarks/bench.py [--device cuda] [--quick]

All rows of a file are measured in one run. `ours` and `other` are medians over rounds in which they take
turns; a ratio says how many times better ours is (more a second, or fewer seconds).
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, median
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory

import directed
import exact
import jacobian
import manysteps
import replaying
import torch
from table import device_name, others, row, shown, write
from throughput import JAX, matrix_peak, precisions, rates, thread_counts, training_flops

from splithistory import study
from splithistory.cli import Parser, complain
from splithistory.engine import devices
from splithistory.study import PROFILES, SIZES
from splithistory.study.grid import default_workers
from splithistory.study.store import Store, provenance
from splithistory.training import PRECISIONS, Pretraining
from splithistory.transformer import Architecture

RESULTS = Path(__file__).parents[1] / "results" / "benchmarks"
MEMBERS_ON_GPU = 15


@dataclass(frozen=True)
class Settings:
    """What is measured and for how long.

    sizes: models that train; rounds: turns that each competitor gets; seconds: length of one turn of
    training; windows: training set; peak_seconds: time for each matrix size; histories: for the exact
    measure; pairs: histories of which all pairs are taken for the post's procedure; widths, depths: of the
    residual blocks whose differential measures are timed; episodes: states, sequences and horizon of a world
    of many steps; states, worlds: of the random worlds in which goal-directedness is; replays: sequences, and
    seeds, of an agent in a simulator; profile: the study that a GPU does whole.
    """

    sizes: tuple[str, ...] = ("18k", "53k", "144k", "402k")
    rounds: int = 5
    seconds: float = 4.0
    windows: int = 2**18
    peak_seconds: float = 0.5
    histories: int = 10**6
    pairs: int = 2000
    widths: tuple[int, ...] = jacobian.WIDTHS
    depths: tuple[int, ...] = jacobian.DEPTHS
    episodes: tuple[int, int, int] = (10_000, 1000, 100)
    states: int = 150
    worlds: int = 100
    replays: int = 200
    profile: str = "post"


QUICK = Settings(
    ("18k",),
    rounds=2,
    seconds=0.2,
    windows=2**10,
    peak_seconds=0.02,
    histories=10**4,
    pairs=50,
    widths=(16, 128, 256),
    depths=(1,),
    episodes=(200, 50, 10),
    states=20,
    worlds=3,
    replays=10,
    profile="smoke",
)


def main(argv=None) -> int:
    """Measure, show the table and, unless it was a quick try, keep it."""
    args = _parser().parse_args(argv)
    try:
        if not args.quick:
            args.results.mkdir(parents=True, exist_ok=True)  # an unusable place is noticed before the work
            others(args.results)
        report = measure(QUICK if args.quick else Settings(), args.device)
        print(shown(report))
        if not args.quick:
            print(f"written: {write(report, args.results)}")
    except (RuntimeError, ValueError, OSError, CalledProcessError) as error:
        return complain(error, 1, "bench")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="bench", description=__doc__.splitlines()[0])
    what = "cpu (default), or cuda: training, and a study from nothing"
    parser.add_argument("--device", type=_device, default="cpu", help=what)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the file (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="try the code in seconds; keeps nothing")
    return parser


def _device(name: str) -> str:
    if name not in devices():
        raise argparse.ArgumentTypeError(f"given {name!r}, allowed on this machine: {', '.join(devices())}")
    return name


def _say(text: str) -> None:
    print(f"bench: {text} ...", file=sys.stderr, flush=True)


def measure(settings: Settings, device: str) -> dict:
    """All rows for one device, and what they were made with."""
    made, cores = provenance(), max(1, default_workers())
    name, config = device_name(device, cores), pretraining(settings)
    rows = _training(settings, config, device, 1 if device == "cuda" else cores)
    jacobians = {}
    if device == "cuda":
        _say(f"study {settings.profile}")
        rows.append(study_row(settings.profile, device))
    else:
        _say("exact measure")
        rows += measure_rows(exact.measured(settings.histories, settings.pairs, settings.rounds), settings)
        _say("many steps")
        rows += episode_rows(manysteps.measured(*settings.episodes, settings.rounds), settings)
        _say("differential measures")
        by_width = jacobian.measured(settings.widths, settings.rounds)
        by_depth = jacobian.measured_depths(settings.depths, settings.rounds)
        rows += jacobian_rows(by_width)
        _say("goal-directedness")
        rows += directed_rows(directed.measured(settings.states, settings.worlds), settings)
        _say("replays in a simulator")
        rows.append(replay_row(*replaying.measured(settings.replays, settings.rounds)))
        jacobians = {"jacobian": _medians(by_width), "jacobian_depth": _medians(by_depth)}
    return {
        "device": name,
        "versions": made["versions"],
        "commit": made["revision"],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {**asdict(settings), "pretraining": asdict(config)},
        "rows": [{**row, "device": name} for row in rows],
        **jacobians,
    }


def pretraining(settings: Settings) -> Pretraining:
    """How the study's profile "post" pretrains."""
    return Pretraining(**{**PROFILES["post"].pretraining, "train_size": settings.windows})


# --- training -------------------------------------------------------------------------------------------


def _training(settings: Settings, config: Pretraining, device: str, processes: int) -> list[dict]:
    _say("matrix peak")
    torch.set_num_threads(1)  # here; processes that train set their own
    peaks = {
        name: matrix_peak(getattr(torch, name), device, seconds=settings.peak_seconds)
        for name in ("float32", "bfloat16")
    }
    found = {size: _rates(size, config, device, processes, settings) for size in settings.sizes}
    formats, on = precisions(config), " on a GPU" if device == "cuda" else ""
    rows = [r for name in formats for r in throughput_rows(name, found, on)] + best_rows(found, on)
    return rows + peak_rows(peaks) + [r for name in formats for r in share_rows(name, found, peaks, on)]


def _rates(size: str, config: Pretraining, device: str, processes: int, settings: Settings) -> dict:
    """Samples a second in each round, of ours by precision, of the other at its best thread count, of JAX."""
    _say(f"training {size}")
    members = MEMBERS_ON_GPU if device == "cuda" else 1
    seeds = [list(range(p * members, (p + 1) * members)) for p in range(processes)]
    threads = thread_counts(processes)
    turns = settings.rounds, settings.seconds
    found = rates(Architecture(*SIZES[size]), config, device, seeds, threads, *turns)
    best = max(threads, key=lambda count: median(found[count]))
    ours = {name: found[name] for name in precisions(config)}
    run = {"threads": best, "processes": processes, "members": members}
    return {**ours, "other": found[best], JAX: found.get(JAX), **run}


def throughput_rows(precision: str, found: dict, on: str = "") -> list[dict]:
    """Training throughput at each size, and its geometric mean (whose range is that of the ranges)."""
    what = {"unit": "samples/s"}
    rows = [
        row(f"training{on} {size}, {precision}", r[precision], r["other"], note=_conditions(r), **what)
        for size, r in found.items()
    ]

    def mean(who):  # of the minima, of the medians, of the maxima: three rounds whose median is the second
        return [geometric_mean([r[column] for r in rows]) for column in (f"{who}_min", who, f"{who}_max")]

    return [*rows, row(f"training{on}, geometric mean, {precision}", mean("ours"), mean("other"), **what)]


def best_rows(found: dict, on: str = "") -> list[dict]:
    """Ours in its faster number format, beside the plain loop and beside JAX, at each size."""
    rows = []
    for size, r in found.items():
        best = max(PRECISIONS, key=lambda name: median(r[name]))
        others = {"plain loop": r["other"], "JAX": r[JAX]}
        rows += [
            row(f"training{on} {size}, beside {who}", r[best], other, unit="samples/s", note=f"ours: {best}")
            for who, other in others.items()
            if other
        ]
    return rows


def _conditions(r: dict) -> str:
    return f"ours: processes × members {r['processes']} × {r['members']}; other: threads {r['threads']}"


def peak_rows(peaks: dict) -> list[dict]:
    """The machine's best matrix product on one thread (or on the GPU), in each number format."""
    f32, bf16 = ([peaks[name] / 1e9] for name in ("float32", "bfloat16"))
    return [
        row("matrix peak, float32", f32, unit="GFLOP/s"),
        row("matrix peak, bfloat16", bf16, f32, unit="GFLOP/s", note="other: float32"),
    ]


def share_rows(precision: str, found: dict, peaks: dict, on: str = "") -> list[dict]:
    """What a training process gets out of the machine at each size; the ratio is its share of the peak."""
    rows = []
    for size, r in found.items():
        flops = training_flops(Architecture(*SIZES[size]))
        achieved = [rate * flops / r["processes"] / 1e9 for rate in r[precision]]
        note = f"a process; {flops:,} operations a sample; other: float32 peak"
        peak = [peaks["float32"] / 1e9]
        rows.append(row(f"arithmetic{on} {size}, {precision}", achieved, peak, unit="GFLOP/s", note=note))
    return rows


def study_row(profile: str, device: str) -> dict:
    """Wall time of a whole study from nothing: data, training, measuring, every run in a store."""
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        runs = study.run(PROFILES[profile], Store(folder), device=device, quiet=True)
        seconds = time.perf_counter() - start
    return row(f"study {profile} on a GPU", [seconds], unit="s", note=f"{runs} runs, trained and measured")


# --- measuring ------------------------------------------------------------------------------------------


def measure_rows(found: dict, settings: Settings) -> list[dict]:
    """Cost of the exact measure, from what its process found (see `exact`)."""
    sizes, seconds = zip(*found["times"], strict=True)
    growth = [exact.growth_exponent(sizes, turn) for turn in zip(*seconds, strict=True)]
    peak, imports = found["peak"] / 1e9, found["imports"] / 1e9
    n = f"{sizes[-1]:,} histories"
    return [
        row("exact measure", seconds[-1], unit="s", note=n),
        row("exact measure, peak memory", [peak], unit="GB", note=f"{n}; the whole process"),
        row("exact measure, memory above imports", [peak - imports], unit="GB", note=n),
        row("exact measure, growth with histories", growth, unit="exponent", note=f"{sizes[0]:,} to {n}"),
        row(
            "exact measure against the post's pairs",
            found["exact"],
            found["pairwise"],
            unit="s",
            less_is_better=True,
            note=f"{settings.pairs:,} histories; other: a loop over one index",
        ),
    ]


def episode_rows(found: dict, settings: Settings) -> list[dict]:
    """Cost of split history in a world of many steps, from what its process found (see `manysteps`)."""
    states, sequences, horizon = settings.episodes
    n = f"{states:,} states, {manysteps.ACTIONS} actions, horizon {horizon}, {sequences:,} sequences"
    rows = [
        row("many steps", found["states"][-1][1], unit="s", note=f"{n}, one thread"),
        row("many steps, peak memory", [found["peak"] / 1e9], unit="GB", note="the whole process"),
    ]
    for what in ("states", "horizon"):
        sizes, seconds = zip(*found[what], strict=True)
        growth = [exact.growth_exponent(sizes, turn) for turn in zip(*seconds, strict=True)]
        note = f"{sizes[0]:,} to {sizes[-1]:,}"
        rows.append(row(f"many steps, growth with {what}", growth, unit="exponent", note=note))
    return rows


def jacobian_rows(by_width: dict[int, list[float]]) -> list[dict]:
    """Cost of the differential measures of one residual block, and how it grows above width 128."""
    widths = [width for width in by_width if width >= 128]
    growth = [
        exact.growth_exponent(widths, turn) for turn in zip(*(by_width[w] for w in widths), strict=True)
    ]
    largest = widths[-1]
    return [
        row("differential measures", by_width[largest], unit="s", note=f"width {largest}, one thread"),
        row("differential measures, growth with width", growth, unit="exponent", note=f"128 to {largest}"),
    ]


def directed_rows(found: dict, settings: Settings) -> list[dict]:
    """Cost of goal-directedness with an unknown utility, and the share of worlds in which it converged."""
    note = f"{settings.worlds} random stochastic worlds of {settings.states} states"
    share = sum(found["converged"]) / len(found["converged"])
    return [
        row("goal-directedness, unknown utility", found["seconds"], unit="s", note=f"{note}; one thread"),
        row("goal-directedness, converged", [share], unit="share", note=note),
    ]


def replay_row(ours: list[float], other: list[float], n: int) -> dict:
    """Cost of a whole measurement in a simulator, beside the same work in a plain loop over `env.step`."""
    note = f"CartPole, {n} sequences × {n} seeds, {replaying.STEPS} steps; other: a loop over env.step"
    return row("replays in a simulator", ours, other, unit="s", less_is_better=True, note=note)


def _medians(seconds: dict[int, list[float]]) -> dict[str, float]:
    return {str(size): median(rounds) for size, rounds in seconds.items()}


if __name__ == "__main__":
    sys.exit(main())
