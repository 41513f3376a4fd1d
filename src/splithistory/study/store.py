"""What a finished run leaves on disk: weights, tables and a manifest, whole or not at all.

A run is keyed by the hash of its specification. It is written to a temporary folder beside its place
and renamed, so a folder with its proper name is complete. Weights are safetensors, tables Parquet,
the manifest JSON with the SHA-256 of each file; nothing is ever unpickled. A run that is not finished has
checkpoints beside its place. Floor 1: no torch.
"""

import errno
import glob
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load, load_file, save

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

STORE_VARIABLE = "SPLITHISTORY_STORE"
DEVICE_VARIABLE = "SPLITHISTORY_DEVICE"  # where the models of a chapter train: cpu or cuda
_MANIFEST = "manifest.json"
_WEIGHTS = "weights.safetensors"
_OLD, _STALE = ".old.", 3600  # in the name of what was taken away; seconds
_LOCK, _PATIENCE = ".lock", 0.5  # end of a lock's name; seconds between two tries to get it
_NAMED = ("seconds", "versions", "machine", "revision")  # in every run's manifest
_VERSIONS = ("splithistory", "numpy", "torch", "scipy")


def key(spec: Mapping) -> str:
    """Hash of a run's specification (JSON, keys sorted): 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def default_root() -> Path:
    """Where runs are kept: `$SPLITHISTORY_STORE`, else `splithistory/` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(STORE_VARIABLE) or Path(cache) / "splithistory")


class Store:
    """A folder of finished runs."""

    def __init__(self, root: str | Path | None = None):
        self.root = (Path(root) if root is not None else default_root()).absolute()  # workers start elsewhere
        try:
            usable = self.root.is_dir() or not self.root.exists()
        except OSError:  # a name that is too long
            usable = False
        if not usable:
            given = f"given {self.root}, which is a file or cannot be a folder"
            raise ValueError(f"store: {given}; allowed is a folder or a new path")

    def __contains__(self, spec: Mapping) -> bool:
        if not (folder := self.folder(spec)).exists():
            recover(folder)
        return (folder / _MANIFEST).is_file()

    def folder(self, spec: Mapping) -> Path:
        """Where the run of this specification lies, or will."""
        return self.root / f"{spec['kind']}-{key(spec)}"

    def checkpoints(self, spec: Mapping, *, every: float = 60.0) -> "Checkpoints":
        """The states that an unfinished run of this specification left, and will leave."""
        return Checkpoints(self.folder(spec).with_suffix(".unfinished"), every=every)

    def save(
        self, spec: Mapping, *, weights=None, tables=None, seconds: float | None = None, made=None
    ) -> None:
        """Keep a finished run: weights {name: array}, tables {name: DataFrame}, seconds it took.

        made: the `provenance` of a run that was made elsewhere.
        """
        with whole_folder(self.folder(spec)) as folder:
            if weights is not None:
                content = save({k: np.ascontiguousarray(v) for k, v in weights.items()})
                (folder / _WEIGHTS).write_bytes(content)  # save_file's own errors are no OSError
            for name, table in (tables or {}).items():
                table.to_parquet(folder / f"{name}.parquet", index=False)
            write_manifest(folder, {"spec": dict(spec), "seconds": seconds, **(made or provenance())})

    @contextmanager
    def alone(self, specs: Iterable[Mapping], waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Be the only one who does these runs, in any process that sees the store; see `locked`."""
        with ExitStack() as stack:
            # one order for all, so that nobody waits in a ring
            for folder in sorted({self.folder(spec) for spec in specs}):
                stack.enter_context(locked(folder, waiting))
            yield

    def manifest(self, spec: Mapping) -> dict:
        """The run's manifest, after checking that it is this run's and every file is what was written."""
        folder = self.folder(spec)
        if spec not in self:
            raise ValueError(f"store: {folder / _MANIFEST} is missing; the run is not there, train it again")
        manifest = checked_manifest(folder, f"delete {folder} and train it again")
        if manifest.get("spec") != json.loads(json.dumps(dict(spec))):  # a folder's name is no proof
            raise ValueError(
                f"store: {folder} holds another run than its name says; delete it and train again"
            )
        if missing := [name for name in _NAMED if name not in manifest]:
            raise ValueError(f"store: {folder / _MANIFEST} lacks {', '.join(missing)}; delete {folder}")
        return manifest

    def weights(self, spec: Mapping) -> dict[str, np.ndarray]:
        """The run's weights {name: array}."""
        self.manifest(spec)
        return load_file(self.weights_file(spec))

    def weights_file(self, spec: Mapping) -> Path:
        """Where the run's weights lie, or will."""
        return self.folder(spec) / _WEIGHTS

    def table(self, spec: Mapping, name: str) -> pd.DataFrame:
        """One of the run's tables."""
        if f"{name}.parquet" not in (files := self.manifest(spec)["files"]):
            raise ValueError(
                f"store: {self.folder(spec)} has no table {name!r}, allowed are {', '.join(files)}"
            )
        return pd.read_parquet(self.folder(spec) / f"{name}.parquet")


class Checkpoints:
    """The last two states of an unfinished run, each a safetensors file that bears its SHA-256 in its name.

    A state is written to a temporary file, synced to the disk and renamed: a process killed at any moment
    leaves whole files. Two are kept, so that one that went bad on the disk is not the end of the run.
    Call the object after each update, with a function that returns the state: it takes one every so many
    seconds.
    """

    def __init__(self, folder: Path, *, every: float = 60.0):
        self.folder, self.every, self.last = Path(folder), every, time.monotonic()

    def __call__(self, take) -> None:
        if time.monotonic() - self.last >= self.every:
            self.keep(take())
            self.last = time.monotonic()

    def keep(self, state: Mapping[str, np.ndarray]) -> None:
        """Write a state {name: array}; all but the newest two are deleted."""
        content = save({name: np.asarray(array, order="C") for name, array in state.items()})
        self.folder.mkdir(parents=True, exist_ok=True)
        newest = self._files()[:1]
        number = int(newest[0].name.split(".")[0]) + 1 if newest else 0
        place = self.folder / f"{number:08d}.{hashlib.sha256(content).hexdigest()}.safetensors"
        write_whole(place, content)
        for old in self._files()[2:]:
            old.unlink(missing_ok=True)

    def latest(self) -> dict[str, np.ndarray] | None:
        """The newest state that is what was written, None if there is none; a bad one is reported."""
        for path in self._files():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == path.name.split(".")[1]:
                return load(content)
            warnings.warn(f"store: {path} is truncated or altered; the one before it is used", stacklevel=2)
            path.unlink()
        return None

    def clear(self) -> None:
        """Delete them all: the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"), reverse=True)


def write_whole(place: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all."""
    _sweep(place)
    temporary = _beside(place)
    try:
        with _naming(place):
            temporary.write_bytes(content)
            _to_disk(temporary)
            temporary.rename(place)
            _to_disk(place.parent)  # the new name too
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _naming(place: Path) -> Iterator[None]:
    """A full disk is noticed by whoever writes, and does not say where: the error gets the place."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextmanager
def locked(place: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only one, of all processes and threads, who makes what belongs in a place.

    waiting: called again and again while another is at it. The lock is the operating system's, on a file
    beside the place: it ends with its process, however that ends, so a dead process never holds one.
    """
    file = place.with_name(f".{place.name}{_LOCK}")
    file.parent.mkdir(parents=True, exist_ok=True)
    while (held := _try(file)) is None:
        waiting()
        time.sleep(_PATIENCE)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: whoever has it open will find out
        os.close(held)


def _try(file: Path) -> int | None:
    """A descriptor that holds the lock on a file; None if another holds it, or has just taken it away."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(opened), os.stat(file)):
            return opened
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system that has no locks
            return opened
        os.close(opened)
        raise
    os.close(opened)
    return None


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """A temporary folder that takes its place when the block ends, and vanishes if the block fails.

    After a crash the place holds all of the new folder or all of the old one (after `recover`).
    """
    place = Path(place)
    _sweep(place)
    temporary = _beside(place)
    temporary.mkdir(parents=True)
    try:
        with _naming(place):
            yield temporary
            _to_disk(*temporary.rglob("*"), temporary)
            replace_folder(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, place: Path) -> None:
    """Put a whole folder in its place; the old one is gone only when the new one is there.

    After a crash between the two renames `recover` finds the old one. Of several writers the last one wins.
    """
    aside = []
    try:
        while new.exists():
            aside.append(place.with_name(f".{place.name}{_OLD}{uuid.uuid4().hex[:8]}"))
            with suppress(FileNotFoundError):
                place.rename(aside[-1])
            try:
                new.rename(place)
            except OSError as error:  # another writer's folder has come there meanwhile
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        _to_disk(place.parent)  # before the old one goes
    except BaseException:
        recover(place)
        raise
    for old in aside:
        shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Put back what was in a place, if a process died between taking it away and putting in the new one."""
    for old in [] if place.exists() else sorted(_olds(place), key=_age):
        with _lost_race():
            if not place.exists():
                old.rename(place)


def _olds(place: Path) -> list[Path]:
    """What was taken away from a place and is still there."""
    return list(place.parent.glob(f".{glob.escape(place.name)}{_OLD}*"))


def _age(path: Path) -> float:
    """Seconds since a folder changed; of what another process has just removed, for ever."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return math.inf


@contextmanager
def _lost_race() -> Iterator[None]:
    """Another process has put something in a place first, or has taken away what was to go there."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")


def _sweep(place: Path) -> None:
    """Remove what processes that are gone left beside a place; what is young may be another machine's."""
    olds = _olds(place)
    for old in olds if place.exists() else ():  # nobody will put those back
        shutil.rmtree(old, ignore_errors=True)
    for left in place.parent.glob(f".{glob.escape(place.name)}.[0-9]*.*"):
        with suppress(OSError, ValueError):
            if time.time() - left.stat().st_mtime > _STALE and not _alive(int(left.name.split(".")[-2])):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _to_disk(*paths: Path) -> None:
    """Wait until the disk has what was written to these files, and the names in these folders."""
    for path in paths:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def write_table(table, path: Path) -> None:
    """A DataFrame as Parquet, small: of fractions, such as models answer, no two are alike."""
    fractions = [name for name in table if table[name].dtype.kind == "f"]
    others = [name for name in table if name not in fractions]
    how = {"use_dictionary": others, "use_byte_stream_split": fractions}
    table.to_parquet(path, index=False, compression="zstd", compression_level=12, **how)


def write_manifest(folder: Path, content: dict) -> None:
    """manifest.json of a folder: `content` and the SHA-256 of every file in it."""
    files = {p.relative_to(folder).as_posix(): _sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    text = json.dumps({**content, "files": files}, indent=1, sort_keys=True)
    (folder / _MANIFEST).write_text(text + "\n")


def publish_tables(
    folder: Path, tables: Mapping[str, pd.DataFrame], command: str, made: Mapping | None = None
) -> None:
    """Write tables {name: DataFrame} that a command made, and a manifest; whole or not at all.

    made: the `provenance` of tables that were made elsewhere or before.
    """
    with whole_folder(folder) as temporary:
        for name, table in tables.items():
            write_table(table, temporary / f"{name}.parquet")
        write_manifest(temporary, {"command": command, **(made or provenance())})


def checked_manifest(folder: Path, advice: str = "restore it with git") -> dict:
    """The manifest of a folder, what is in it otherwise does not matter (a desktop leaves its own files).

    advice: what to do if something is wrong with it, for the message. ValueError if it is missing or
    unreadable, names a file elsewhere, or a file is not as it says.
    """
    path = Path(folder) / _MANIFEST
    if not path.is_file():
        raise ValueError(f"store: {path} is missing; {advice}")
    try:
        manifest = json.loads(path.read_text("utf8"))
        files = dict(manifest["files"])
        inside = all(_inside(name) for name in files)
    except (ValueError, KeyError, TypeError):
        inside = False
    if not inside:
        raise ValueError(f"store: {path} is not a manifest; {advice}")
    for name, content in sorted(files.items()):
        file = path.parent / name
        if not file.is_file() or _sha256(file) != content:
            raise ValueError(f"store: {file} is missing or altered; {advice}")
    return manifest


def _inside(name: str) -> bool:
    """Whether a name is that of a file in a folder or below, and not elsewhere."""
    place = Path(name)
    return not place.is_absolute() and ".." not in place.parts


def provenance() -> dict:
    """Versions, machine and code revision that a result was made with."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _VERSIONS},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {platform.system()}",
        "revision": _revision(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"


def _revision() -> str:
    """The commit of the code, marked when the tree differs from it; "unknown" outside a checkout of ours.

    An environment may lie in a repository of its user's, whose commits say nothing of this code.
    """
    here = Path(__file__).resolve()
    try:
        ours = Path(_git(here.parent, "rev-parse", "--show-toplevel")).resolve() == here.parents[3]
        describe = ("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
        return _git(here.parent, *describe) if ours else "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
