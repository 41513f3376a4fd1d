"""The benchmark's rows: made from rounds of measurements, shown as a table, kept in a file."""

import json
import platform
import re
from pathlib import Path
from statistics import median

import torch

from splithistory.study import SIZES
from splithistory.study.store import checked_manifest, whole_folder, write_manifest

# What was asked for: a row's name, the column that is judged, the bound. Other rows only inform.
TARGETS = {
    "training, geometric mean, bfloat16": ("ratio", "at least", 3.0),
    **{f"training {size}, beside plain loop": ("ratio", "at least", 4.5) for size in SIZES},
    **{f"training {size}, beside JAX": ("ratio", "at least", 2.0) for size in SIZES},
    "arithmetic 402k, bfloat16": ("ratio", "at least", 0.55),
    "training on a GPU, geometric mean, bfloat16": ("ratio", "at least", 50.0),
    "study post on a GPU": ("ours", "at most", 60.0),
    "exact measure": ("ours", "at most", 3.0),
    "exact measure, peak memory": ("ours", "at most", 1.0),
    "exact measure, growth with histories": ("ours", "at most", 1.1),
    "exact measure against the post's pairs": ("ratio", "at least", 100.0),
    "many steps": ("ours", "at most", 10.0),
    "many steps, peak memory": ("ours", "at most", 1.0),
    "many steps, growth with states": ("ours", "at most", 1.1),
    "many steps, growth with horizon": ("ours", "at most", 1.1),
    "differential measures, growth with width": ("ours", "at most", 3.3),
    "goal-directedness, unknown utility": ("ours", "at most", 2.0),
    "replays in a simulator": ("ours", "at most", 6.0),
    "goal-directedness, converged": ("ours", "at least", 1.0),
}
_SIGNS = {"at most": "≤", "at least": "≥"}
_HEADS = ("name", "ours", "other", "ratio", "unit", "target", "met", "note")


def row(name: str, ours, other=None, *, unit: str, less_is_better=False, note="") -> dict:
    """One row from the rounds of ours and, if there is one, of the other: medians and ranges.

    ratio: ours over other, or other over ours if less is better.
    """
    cells = {"name": name, **_spread("ours", ours), **_spread("other", other or [None])}
    pair = cells["ours"], cells["other"]
    ratio = None if other is None else pair[1] / pair[0] if less_is_better else pair[0] / pair[1]
    return _judged({**cells, "ratio": ratio, "unit": unit, "note": note})


def _spread(who: str, rounds) -> dict:
    return {who: median(rounds), f"{who}_min": min(rounds), f"{who}_max": max(rounds)}


def _judged(cells: dict) -> dict:
    column, bound, target = TARGETS.get(cells["name"], (None, None, None))
    met = None
    if column is not None:
        met = cells[column] <= target if bound == "at most" else cells[column] >= target
    return {**cells, "target": target, "target_is": column and f"{column} {bound}", "met": met}


def shown(report: dict) -> str:
    """The report as text: a line of where it is from, then a line a row."""
    lines = [_HEADS, *(_texts(row) for row in report["rows"])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    made = f"{report['device']}, commit {report['commit']}, {report['date']}"
    return "\n".join([made, *("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)])


def _texts(row: dict) -> tuple[str, ...]:
    numbers = tuple("" if row[k] is None else f"{row[k]:,.4g}" for k in ("ours", "other", "ratio"))
    target, met = "", {True: "yes", False: "NO", None: ""}[row["met"]]
    if row["target"] is not None:
        column, bound = row["target_is"].split(" ", 1)
        target = f"{column} {_SIGNS[bound]} {row['target']:g}"
    return (row["name"], *numbers, row["unit"], target, met, row["note"])


def write(report: dict, folder: Path) -> Path:
    """Keep the report as <device>.json beside those of other machines, whole or not at all."""
    folder, name = Path(folder), f"{report['device']}.json"
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    kept = {other: (folder / other).read_bytes() for other in others(folder)}
    with whole_folder(folder) as temporary:
        for file, content in (kept | {name: text.encode()}).items():
            (temporary / file).write_bytes(content)
        write_manifest(temporary, {"command": "python benchmarks/bench.py"})
    return folder / name


def others(folder: Path) -> list[str]:
    """Reports that are there already; ValueError if they are not as they were written."""
    return list(checked_manifest(folder)["files"]) if folder.is_dir() and any(folder.iterdir()) else []


def device_name(device: str, cores: int) -> str:
    """Name of the machine at hand, fit for a file: the GPU's own, or cpu-<cores>-<model>."""
    if device == "cuda":
        return _slug(torch.cuda.get_device_name())
    return f"cpu-{cores}-{_slug(_cpu_model())}"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf8") if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
