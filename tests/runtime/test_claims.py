"""Output folders: taken if free or ours, by one run at a time, and never an input."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import pytest

import sitsfuse
from sitsfuse import InputError
from sitsfuse.preparation import make_config, prepare
from sitsfuse.runtime import locks
from sitsfuse.runtime.claims import Kind, claim, difference, read_record
from sitsfuse.runtime.files import STATE, write_json
from sitsfuse.runtime.locks import lock_of
from sitsfuse.writers import write_site


def clear(path):
    for name in ("result.txt", "ours.json"):
        (path / name).unlink(missing_ok=True)


OURS = Kind("`sitsfuse ours`", lambda path: read_record(path / "ours.json"), clear, shared=True)


def make(folder, record, overwrite=False, kind=OURS, **more):
    """A run of the kind: returns whether it resumed."""
    with claim(folder, kind, record, overwrite, **more) as resumed:
        write_json(folder / "ours.json", record)
        (folder / "result.txt").write_text(str(record))
    return resumed


def test_a_free_place_is_taken_and_an_equal_run_resumed(tmp_path):
    record = {"steps": 3, "shape": (1, 2)}
    assert make(tmp_path / "new" / "out", record) is False
    assert make(tmp_path / "new" / "out", record) is True
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "empty", record) is False
    assert not list(tmp_path.rglob("*.lock"))


def test_another_configuration_is_named_by_its_first_key(tmp_path):
    make(tmp_path, {"version": 1, "simulation": {"size": 3, "seed": 1}})
    with pytest.raises(InputError, match=r"\(simulation\.seed is 1 there and 2 here\); choose another output or ov"):
        make(tmp_path, {"version": 1, "simulation": {"size": 3, "seed": 2}, "new": 1})
    assert make(tmp_path, {"version": 2}, overwrite=True) is False
    assert json.loads((tmp_path / "ours.json").read_text()) == {"version": 2}


def test_overwriting_removes_only_what_is_ours(tmp_path):
    make(tmp_path, {"a": 1})
    (tmp_path / "notes.txt").write_text("mine")
    make(tmp_path, {"a": 2}, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    alone = Kind(OURS.made_by, OURS.recorded, OURS.clear)
    with pytest.raises(InputError, match=r"holds notes\.txt, which is not of the output"):
        make(tmp_path, {"a": 3}, overwrite=True, kind=alone)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_ours_stays(tmp_path, overwrite):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    for place, what in (("folder", "holds notes.txt"), ("folder/notes.txt", "is a file")):
        with pytest.raises(InputError, match=f"{what} and is not an output of `sitsfuse ours`"):
            make(tmp_path / place, {}, overwrite)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "notes.txt"]


def test_a_damaged_record_is_told_and_overwritten(tmp_path):
    make(tmp_path, {"a": 1})
    (tmp_path / "ours.json").write_bytes(b'{"a": \xff')
    with pytest.raises(InputError, match="damaged"):
        make(tmp_path, {"a": 1})
    assert make(tmp_path, {"a": 1}, overwrite=True) is False


def test_keys_that_only_one_has_count_but_ignored_ones_do_not():
    assert difference({"a": 1}, {"a": 1, "b": 2}) == ("b", None, 2)
    assert difference({"a": 1, "c": {"d": 1}}, {"a": 1}) == ("c", {"d": 1}, None)
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["b"]) is None


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_an_output(tmp_path, overwrite):
    make(tmp_path / "a", {})
    (tmp_path / "a" / "series").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for one in (tmp_path / "a", tmp_path / "link", tmp_path / "a" / "series", tmp_path / "link" / "series"):
        with pytest.raises(InputError, match=r"an? input of this run"):
            make(tmp_path / "a", {}, overwrite, inputs=[one])
    make(tmp_path / "a" / "series" / "fused", {}, inputs=[tmp_path / "a" / "series"])


# --- two runs --------------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_in_one_line_and_harms_nothing(tmp_path):
    out = tmp_path / "out"
    with claim(out, OURS, {}, False):
        for overwrite in (False, True):
            with pytest.raises(InputError) as caught:
                make(out, {"other": 1}, overwrite)
        text = str(caught.value)
        assert re.search(rf"being written by another run \(process {os.getpid()} on \S+, since 20\d\d-\d\d-\d\d ", text)
        assert len(text.splitlines()) == 1
        assert not out.exists()
    assert make(out, {"other": 1}) is False


def test_of_many_runs_at_the_same_moment_one_writes_at_a_time(tmp_path):
    inside, most, refused = [], [], []
    barrier = threading.Barrier(8)

    def run():
        barrier.wait()
        try:
            with claim(tmp_path / "out", OURS, {}, False):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
        except InputError:
            refused.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 8


def test_the_lock_of_a_killed_process_does_not_count(tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from sitsfuse.runtime.locks import locked
        with locked(Path(sys.argv[1])):
            print("mine", flush=True)
            sys.stdin.read()
    """)
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", script, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "mine\n"
        with pytest.raises(InputError, match=rf"\(process {process.pid} on "):
            make(out, {})
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert lock_of(out).is_file()
        assert make(out, {}) is False
    assert not lock_of(out).exists()


OWNERS = {
    "another host": ({"host": "elsewhere", "machine": "other", "pid": 1}, False),
    "this host before its last start": ({"host": socket.gethostname(), "machine": "other", "pid": 1}, True),
    "a container on this machine": ({"host": "elsewhere", "machine": locks._machine(), "pid": 1}, True),
    "nobody": ({}, True),
}


@pytest.mark.parametrize("case", OWNERS)
def test_a_lock_that_is_left_behind(tmp_path, case):
    owner, free = OWNERS[case]
    lock_of(tmp_path / "out").write_text(json.dumps(owner))
    if free:
        assert make(tmp_path / "out", {}) is False
        return
    with pytest.raises(InputError, match=rf"process 1 on elsewhere.*; .*remove {lock_of(tmp_path / 'out')}"):
        make(tmp_path / "out", {})


def test_where_the_system_knows_no_locks_the_process_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    me = {"host": socket.gethostname(), "machine": locks._machine()}
    lock_of(tmp_path / "out").write_text(json.dumps(me | {"pid": os.getpid()}))
    with pytest.raises(InputError, match="another run"):
        make(tmp_path / "out", {})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lock_of(tmp_path / "out").write_text(json.dumps(me | {"pid": gone.pid}))
    assert make(tmp_path / "out", {}) is False


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("claims") / "s.zarr"
    write_site(sitsfuse.simulate(size=60, guides=4, targets=3, cloud_cover=0.0), path)
    return path


@pytest.fixture
def own(stored, tmp_path):
    shutil.copytree(stored, tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def everything(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_preparation_does_not_replace_its_input(own, cli):
    before = everything(own)
    for overwrite in ([], ["--overwrite"]):
        done = cli("prepare", own / "guide", own / "target", "-o", own, *overwrite)
        assert done.code == 2
        assert "s.zarr/guide, an input of this run; choose another output" in done.err
    assert everything(own) == before


def test_a_preparation_replaces_only_its_own(own, tmp_path):
    config = make_config(
        {
            "guide": {"path": own / "guide"},
            "target": {"path": own / "target"},
            "registration": {"model": "none"},
            "harmonization": {"mode": "none"},
        }
    )
    foreign = tmp_path / "foreign.zarr"
    shutil.copytree(own, foreign)
    with pytest.raises(InputError, match="is not an output of `sitsfuse prepare`"):
        prepare(config, foreign, overwrite=True)
    out = tmp_path / "site.zarr"
    prepare(config, out)
    (out / "notes.txt").write_text("mine")
    other = config.model_copy(update={"name": "other"})
    with pytest.raises(InputError, match=r"\(name is null there and .other. here\)"):
        prepare(other, out)
    prepare(other, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert sitsfuse.open_site(out).attrs["name"] == "other"


@pytest.mark.parametrize("fmt", ["cog", "zarr"])
def test_a_fusion_into_an_output_that_is_being_written(own, tmp_path, fmt):
    out = tmp_path / "out"
    seen = []

    def report(*_):
        if not seen:
            seen.append(1)
            for method in ("difference", "temporal"):  # the same, and another configuration
                with pytest.raises(InputError, match="being written by another run"):
                    sitsfuse.fuse(own, out, method=method, format=fmt)

    sitsfuse.fuse(own, out, method="difference", format=fmt, report=report)
    assert seen
    assert (out / STATE / "run.json").is_file()
    assert sitsfuse.open_series(out).sizes["time"] == 3


@pytest.mark.parametrize("role", ["guide", "target"])
def test_a_fusion_does_not_write_into_its_inputs(own, role):
    before = everything(own)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is an input of this run"):
            sitsfuse.fuse(own, own / role, method="difference", format="zarr", overwrite=overwrite)
    assert everything(own) == before
