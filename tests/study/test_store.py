"""The store: whole or not at all, altered files detected, keys stable."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from splithistory.study import store as store_module
from splithistory.study.store import (
    Store,
    checked_manifest,
    key,
    locked,
    whole_folder,
    write_manifest,
    write_table,
    write_whole,
)

SPEC = {"kind": "pretrain", "seed": 1}


def saved(tmp_path):
    store = Store(tmp_path / "store")
    store.save(
        SPEC, weights={"w": np.arange(3.0)}, tables={"curves": pd.DataFrame({"step": [1]})}, seconds=1.5
    )
    return store


def test_a_saved_run_comes_back_as_it_was(tmp_path):
    store = saved(tmp_path)
    assert SPEC in store and {**SPEC, "seed": 2} not in store
    assert store.weights(SPEC)["w"].tolist() == [0, 1, 2]
    assert store.table(SPEC, "curves")["step"].tolist() == [1]
    assert store.manifest(SPEC)["spec"] == SPEC and store.manifest(SPEC)["seconds"] == 1.5


def test_the_key_does_not_depend_on_the_order_of_the_specification():
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1}) != key({"a": 1, "b": 3})


def test_an_altered_file_is_found_by_its_hash(tmp_path, tried):
    store = saved(tmp_path)
    file = store.folder(SPEC) / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing or altered; delete"):
        store.weights(SPEC)
    tried["altered files"] += 1


def test_a_block_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "run") as folder:
        (folder / "half").write_text("written")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_leaves_the_earlier_folder_alone(tmp_path):
    for text in ("old", None):
        try:
            with whole_folder(tmp_path / "run") as folder:
                (folder / "file").write_text(text)
        except TypeError:
            pass
    assert (tmp_path / "run" / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_manifest_lists_the_hash_of_every_file(tmp_path):
    (tmp_path / "a.txt").write_text("")
    write_manifest(tmp_path, {"x": 1})
    manifest = checked_manifest(tmp_path)
    assert manifest["files"] == {"a.txt": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    assert json.loads((tmp_path / "manifest.json").read_text())["x"] == 1


def test_the_store_is_found_through_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLITHISTORY_STORE", str(tmp_path / "here"))
    assert Store().root == tmp_path / "here"


def test_bad_input_is_named_with_what_was_given_and_what_is_allowed(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="which is a file or cannot be a folder; allowed is a folder"):
        Store(tmp_path / "file")
    with pytest.raises(ValueError, match=r"manifest.json is missing; the run is not there"):
        Store(tmp_path).weights(SPEC)


def test_saving_a_run_again_replaces_the_whole_of_it(tmp_path):
    store = saved(tmp_path)
    store.save(SPEC, tables={"other": pd.DataFrame({"x": [1]})})
    assert sorted(p.name for p in store.folder(SPEC).iterdir()) == ["manifest.json", "other.parquet"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null", '{"files": 3}'])
def test_a_broken_manifest_is_named(tmp_path, text, tried):
    store = saved(tmp_path)
    (store.folder(SPEC) / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest.json is not a manifest; delete .* and train it again"):
        store.weights(SPEC)
    tried["altered files"] += 1


@pytest.mark.parametrize("name", [".DS_Store", ".ipynb_checkpoints/x.ipynb", "more.parquet", "Thumbs.db"])
def test_files_that_a_desktop_leaves_do_not_matter(tmp_path, name):
    store = saved(tmp_path)
    (store.folder(SPEC) / name).parent.mkdir(exist_ok=True)
    (store.folder(SPEC) / name).write_text("")
    assert store.manifest(SPEC)["spec"] == SPEC


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/manifest.json", "a/../../b"])
def test_a_manifest_that_names_a_file_elsewhere_is_none(tmp_path, name, tried):
    store = saved(tmp_path)
    place = store.folder(SPEC) / "manifest.json"
    manifest = json.loads(place.read_text())
    place.write_text(json.dumps(manifest | {"files": {name: "0" * 64}}))
    with pytest.raises(ValueError, match="is not a manifest"):
        store.manifest(SPEC)
    tried["altered files"] += 1


def test_two_runs_whose_folders_were_swapped_are_found_out(tmp_path, tried):
    store, other = saved(tmp_path), SPEC | {"seed": 99}
    store.save(other, tables={"curves": pd.DataFrame({"step": [2]})})
    one, two = store.folder(SPEC), store.folder(other)
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    for spec in (SPEC, other):
        with pytest.raises(ValueError, match="holds another run than its name says"):
            store.table(spec, "curves")
        tried["altered files"] += 1


def test_the_commit_of_a_repository_in_which_we_are_only_installed_is_not_ours(tmp_path, monkeypatch):
    commit = [
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=x",
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "x",
    ]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    subprocess.run(commit, cwd=tmp_path, check=True)
    installed = tmp_path / ".venv/lib/python3/site-packages/splithistory/study/store.py"
    checkout = tmp_path / "src/splithistory/study/store.py"
    for place in (installed, checkout):
        place.parent.mkdir(parents=True)
        monkeypatch.setattr(store_module, "__file__", str(place))
        known = store_module.provenance()["revision"] != "unknown"
        assert known == (place == checkout)


@pytest.mark.parametrize("name", ["seconds", "versions", "machine", "revision"])
def test_a_manifest_that_lacks_what_every_run_has_says_so(tmp_path, name, tried):
    store = saved(tmp_path)
    place = store.folder(SPEC) / "manifest.json"
    manifest = json.loads(place.read_text())
    place.write_text(json.dumps({key: value for key, value in manifest.items() if key != name}))
    with pytest.raises(ValueError, match=f"manifest.json lacks {name}; delete"):
        store.manifest(SPEC)
    tried["altered files"] += 1


def folder_of(path: Path, text: str) -> Path:
    """A new folder with one file."""
    path.mkdir()
    (path / "what").write_text(text)
    return path


WATCHED = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def came_through(call: int, how: str, work, watched: Path) -> bool:
    """Whether work is done by a child in which a system call on these files, and all after it, goes wrong.

    how: "killed" (the child ends there, nothing is cleaned up) or "full" (they all fail).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads; the child needs none
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    made, fsync = 0, os.fsync

    def count(event: str, args) -> None:
        nonlocal made
        if event == "fsync" or (event in WATCHED and str(watched) in str(args[0])):
            made += 1
            if made >= call:
                if how == "killed":
                    os._exit(9)
                raise OSError(28, "No space left on device")

    try:
        signal.alarm(60)
        os.fsync = lambda opened: count("fsync", ()) or fsync(opened)
        sys.addaudithook(count)
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("how", ["killed", "full"])
@pytest.mark.parametrize("what", ["save", "publish"])
def test_whatever_system_call_goes_wrong_the_old_or_the_new_is_there_whole(
    tmp_path, monkeypatch, what, how, tried
):
    monkeypatch.setattr(
        store_module, "provenance", dict.fromkeys(("versions", "machine", "revision"), "").copy
    )
    store, place, came = Store(tmp_path / "store"), tmp_path / "published", []

    def put(step: int) -> None:
        tables = {"curves": pd.DataFrame({"step": [step]})}
        if what == "save":
            store.save(SPEC, weights={"w": np.full(3, float(step))}, tables=tables, seconds=1.0)
        else:
            store_module.publish_tables(place, tables, "the command")

    def there() -> int:
        if what == "save":
            assert SPEC in store
            assert store.weights(SPEC)["w"][0] == store.table(SPEC, "curves")["step"][0]
            return store.table(SPEC, "curves")["step"][0]
        store_module.recover(place)  # as `published` does
        checked_manifest(place)
        return pd.read_parquet(place / "curves.parquet")["step"][0]

    for call in range(1, 100):
        put(1)
        came.append(came_through(call, how, lambda: put(2), tmp_path))
        assert there() == 2 if came[-1] else there() in (1, 2), call
        if came[-1]:
            break
        tried["kills while writing" if how == "killed" else "disk full"] += 1
    assert came[-1] and len(came) > 12  # so many calls there were, and the last child did them all
    put(3)
    left = {path.name for path in (store.root if what == "save" else tmp_path).iterdir()}
    assert not [
        name for name in left if store_module._OLD in name
    ]  # what was taken away is not kept for ever


def test_a_full_disk_is_an_error_that_says_where_and_leaves_nothing(tmp_path, tried):
    store, (soft, hard) = saved(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted(store.root.rglob("*"))
    for content in ({"weights": {"w": np.zeros(9999)}}, {"tables": {"t": pd.DataFrame({"x": range(9999)})}}):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match=store.folder(SPEC).name):
                store.save(SPEC, **content)
            with pytest.raises(OSError, match=r"chapter\.ipynb"):
                write_whole(store.root / "chapter.ipynb", bytes(9999))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        tried["disk full"] += 2
    assert sorted(store.root.rglob("*")) == before


HOLDS = """
import sys, time
from pathlib import Path
from splithistory.study.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_others_out_and_ends_with_its_process_however_that_ends(tmp_path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert store_module._try(tmp_path / ".run.lock") is None
        holder.kill()
    with locked(tmp_path / "run", waiting=lambda: pytest.fail("a dead process holds a lock")):
        assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_made_under_a_lock_is_made_by_one_at_a_time(tmp_path, monkeypatch, tried):
    monkeypatch.setattr(store_module, "_PATIENCE", 1e-4)
    (tmp_path / "count").write_text("0")

    def count(_) -> None:
        for _ in range(25):
            with locked(tmp_path / "count"):
                number = int((tmp_path / "count").read_text())
                (tmp_path / "count").write_text(str(number + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert (tmp_path / "count").read_text() == "100"
    tried["rival saves"] += 100


def test_a_file_system_without_locks_is_worked_on_without(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store_module.fcntl, "flock", none)
    with locked(tmp_path / "run"), locked(tmp_path / "run"):
        pass


WRITES = """
import sys
import numpy as np
from splithistory.study import store
store.provenance = dict.fromkeys(("versions", "machine", "revision"), "").copy
for i in range(400):
    store.Store(sys.argv[1]).save({"kind": "pretrain"}, weights={"w": np.full(9, i)}, seconds=1.0)
"""


@pytest.mark.slow
def test_two_processes_that_write_one_run_800_times_never_fail(tmp_path, tried):
    command = [sys.executable, "-c", WRITES, str(tmp_path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert Store(tmp_path).weights({"kind": "pretrain"})["w"][0] == 399
    assert len(list(tmp_path.iterdir())) == 1
    tried["rival saves"] += 800


def test_a_process_that_died_between_the_two_renames_loses_nothing(tmp_path):
    folder_of(tmp_path / ".run.old.12345678", "old")
    store_module.recover(tmp_path / "run")
    assert (tmp_path / "run/what").read_text() == "old"
    folder_of(tmp_path / ".run.old.87654321", "older")
    store_module.recover(tmp_path / "run")  # what is there stays
    assert (tmp_path / "run/what").read_text() == "old"


@pytest.mark.parametrize("name", ["runs[1]", "*", "a?", "[!a]"])
def test_a_place_of_any_name_is_recovered_and_swept_and_no_other(name, tmp_path):
    folder_of(tmp_path / f".{name}.old.12345678", "old")
    folder_of(tmp_path / ".ab.old.12345678", "another's"), folder_of(tmp_path / ".runs1.old.12345678", "")
    store_module.recover(tmp_path / name)
    assert (tmp_path / name / "what").read_text() == "old"
    folder_of(tmp_path / f".{name}.old.12345678", "older")
    with whole_folder(tmp_path / name):
        pass
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name, ".ab.old.12345678", ".runs1.old.12345678"}


@pytest.mark.parametrize("swept", [True, False])
@pytest.mark.parametrize("looks", [1, 2])
def test_a_reader_does_not_fail_because_somebody_publishes(looks, swept, tmp_path, monkeypatch):
    place, old = tmp_path / "run", folder_of(tmp_path / ".run.old.12345678", "old")
    plain, seen = Path.exists, []

    def published_meanwhile(path):
        there = plain(path)
        if path == place and not there:
            seen.append(path)
            if len(seen) == looks:
                folder_of(place, "new")
                shutil.rmtree(old) if swept else None
        return there

    monkeypatch.setattr(Path, "exists", published_meanwhile)
    store_module.recover(place)
    assert len(seen) == looks and (place / "what").read_text() == "new"


def test_a_folder_that_is_gone_when_it_is_looked_at_is_no_reason_to_fail(tmp_path, monkeypatch):
    folder_of(tmp_path / ".run.old.12345678", "old")
    gone = tmp_path / ".run.old.87654321"
    plain = store_module._olds
    monkeypatch.setattr(store_module, "_olds", lambda place: [gone, *plain(place)])
    store_module.recover(tmp_path / "run")
    assert (tmp_path / "run/what").read_text() == "old"


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {f".run.{dead.pid}.aaaaaaaa": False, f".run.{os.getpid()}.bbbbbbbb": True}
    for name in names:
        os.utime(folder_of(tmp_path / name, ""), (0, 0))
    young = folder_of(tmp_path / f".run.{dead.pid}.cccccccc", "")  # perhaps of another machine
    with whole_folder(tmp_path / "run"):
        pass
    assert {name: (tmp_path / name).exists() for name in names} == names and young.exists()


def test_two_writers_of_one_place_never_fail(tmp_path, tried):
    def write(number: int) -> None:
        for i in range(100):
            with whole_folder(tmp_path / "run") as folder:
                (folder / "what").write_text(f"{number} {i}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))  # 400 saves; any error is raised here
    assert (tmp_path / "run/what").read_text().endswith(" 99")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    tried["rival saves"] += 400


def test_a_table_of_answers_comes_back_as_it_was_and_takes_no_more_room_than_its_numbers(tmp_path):
    answers = np.random.default_rng(0).random((20_000, 2), dtype=np.float32)
    table = pd.DataFrame(answers, columns=["q0", "q1"]).assign(model=3, arm="exact", weight=0.5)
    write_table(table, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
    assert (tmp_path / "t.parquet").stat().st_size < answers.nbytes


def test_a_table_that_a_run_does_not_have_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no table 'counts', allowed are curves.parquet"):
        saved(tmp_path).table(SPEC, "counts")


def test_an_interrupt_while_replacing_leaves_the_old_folder_in_place(tmp_path, monkeypatch):
    with whole_folder(tmp_path / "run") as folder:
        (folder / "file").write_text("old")
    rename = Path.rename

    def interrupted(self, target):
        if (self / "file").is_file() and (self / "file").read_text() == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "run") as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "run" / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def synced(monkeypatch):
    """What is asked of the disk, in order: ("fsync", name of a file or folder), ("rename", the new name)."""
    done, fsync, rename = [], os.fsync, Path.rename
    name = lambda opened: Path(os.readlink(f"/proc/self/fd/{opened}")).name  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda opened: done.append(("fsync", name(opened))) or fsync(opened))
    monkeypatch.setattr(Path, "rename", lambda p, to: rename(p, to) and done.append(("rename", to.name)))
    return done


def test_a_folder_and_all_in_it_are_on_the_disk_before_it_is_renamed_and_its_name_after_that(
    tmp_path, synced
):
    with whole_folder(tmp_path / "run") as folder:
        (folder / "part").mkdir()
        for name in ("a", "part/b"):
            (folder / name).write_text("")
    *before, renamed, last = synced
    assert sorted(before) == [("fsync", name) for name in sorted([folder.name, "a", "part", "b"])]
    assert [renamed, last] == [("rename", "run"), ("fsync", tmp_path.name)]


def test_the_old_folder_goes_only_when_the_new_ones_name_is_on_the_disk(tmp_path, synced, monkeypatch):
    with whole_folder(tmp_path / "run") as folder:
        (folder / "old").write_text("")
    removed = []
    monkeypatch.setattr("splithistory.study.store.shutil.rmtree", lambda *_, **__: removed.append(synced[-1]))
    with whole_folder(tmp_path / "run"):
        pass
    assert removed[0] == ("fsync", tmp_path.name)


def test_a_file_is_on_the_disk_before_it_is_renamed_and_its_name_after_that(tmp_path, synced):
    write_whole(tmp_path / "file", b"content")
    (_, written), renamed, last = synced
    assert written.startswith(".file.")
    assert [renamed, last] == [("rename", "file"), ("fsync", tmp_path.name)]


STATE = {
    "done": np.array(7),
    "flat": np.arange(6, dtype=np.float32).reshape(2, 3),
    "rng": np.arange(9, dtype=np.uint8),
}


def kept(tmp_path, n):
    checkpoints = Store(tmp_path).checkpoints(SPEC, every=0)
    for i in range(n):
        checkpoints.keep({**STATE, "done": np.array(i)})
    return checkpoints


def test_the_newest_state_comes_back_with_its_types_and_shapes(tmp_path):
    state = kept(tmp_path, 3).latest()
    assert state["done"] == 2 and state["done"].shape == ()
    for name in ("flat", "rng"):
        assert state[name].dtype == STATE[name].dtype and np.array_equal(state[name], STATE[name])


def test_two_states_are_kept_and_none_after_the_run_is_finished(tmp_path):
    checkpoints = kept(tmp_path, 5)
    assert len(list(checkpoints.folder.iterdir())) == 2
    checkpoints.clear()
    assert checkpoints.latest() is None and not checkpoints.folder.exists()


@pytest.mark.parametrize("spoil", [lambda b: b[:-3], lambda b: b[:100] + b"x" + b[101:], lambda b: b""])
def test_a_bad_checkpoint_is_reported_and_the_one_before_it_is_used(tmp_path, spoil, tried):
    checkpoints = kept(tmp_path, 3)
    newest = max(checkpoints.folder.iterdir())
    newest.write_bytes(spoil(newest.read_bytes()))
    with pytest.warns(
        UserWarning, match=r"00000002\..*\.safetensors is truncated or altered; the one before"
    ):
        assert checkpoints.latest()["done"] == 1
    tried["altered files"] += 1


def test_with_no_good_checkpoint_left_training_begins_anew_and_says_so(tmp_path, tried):
    checkpoints = kept(tmp_path, 2)
    for file in checkpoints.folder.iterdir():
        file.write_bytes(b"")
    with pytest.warns(UserWarning, match="truncated or altered"):
        assert checkpoints.latest() is None
    tried["altered files"] += 2


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    checkpoints = kept(tmp_path, 1)
    failing = lambda _: (_ for _ in ()).throw(OSError("disk full"))  # noqa: E731
    monkeypatch.setattr("splithistory.study.store.os.fsync", failing)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.keep(STATE)
    assert len(list(checkpoints.folder.iterdir())) == 1 and checkpoints.latest()["done"] == 0


def test_a_state_is_taken_only_when_it_is_due(tmp_path):
    taken = []
    often, rarely = (Store(tmp_path).checkpoints(SPEC, every=every) for every in (0, 3600))
    for _ in range(3):
        rarely(lambda: taken.append("rarely"))
        often(lambda: taken.append("often") or STATE)
    assert taken == ["often"] * 3
