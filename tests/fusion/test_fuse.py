"""Dates × tiles: what is planned, that it resumes, and that a cluster computes the same."""

import datetime
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from sitsfuse.core import loading
from sitsfuse.core.channels import Channel
from sitsfuse.core.options import parameters
from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.fusion.dates import plan_dates
from sitsfuse.fusion.fuse import fuse
from sitsfuse.fusion.outputs import cog, disk
from sitsfuse.fusion.outputs.layout import Layout
from sitsfuse.fusion.outputs.zarr import ZarrOutput
from sitsfuse.methods import known_methods, make_method, method_names
from sitsfuse.methods.difference import Difference
from sitsfuse.readers import open_series
from sitsfuse.runtime.files import STATE
from sitsfuse.writers import geotiff, write_site
from tests.helpers import scenes

FORMATS = ["cog", "zarr"]
TILE = 32
TILES = 4  # of 60 × 60 px
DATES = [scenes.day(5), scenes.day(14), scenes.day(20)]
AVAILABLE = np.array(["2020-05-06", "2020-05-15", "2020-06-03"], "datetime64[ns]")


@dataclass(frozen=True)
class Counted(Difference):
    """Difference interpolation that notes every fit and tile, and fails where told to."""

    name: ClassVar[str] = "counted"
    studies: ClassVar[list] = []
    fits: ClassVar[list] = []
    calls: ClassVar[list] = []
    fail_at: ClassVar[int | None] = None

    def study(self, site):
        self.studies.append(site)
        return scenes.Watched(super().study(site), self.note)

    def note(self, study, date):
        self.fits.append(str(date)[:10])
        return CountedPredictor(study.fit(date))


class CountedPredictor:
    def __init__(self, inner):
        self.inner, self.guides, self.targets, self.choices = inner, inner.guides, inner.targets, {"kind": "counted"}

    def __call__(self, tile):
        if Counted.fail_at is not None and len(Counted.calls) >= Counted.fail_at:
            raise ArithmeticError("the method fails")
        Counted.calls.append(str(self.targets[0])[:10])
        return self.inner(tile)


@pytest.fixture(autouse=True)
def _count_anew():
    Counted.studies.clear()
    Counted.fits.clear()
    Counted.calls.clear()
    Counted.fail_at = None


@pytest.fixture(scope="module")
def tree():
    return scenes.site(seed=1)


@pytest.fixture(scope="module")
def whole(tree, tmp_path_factory):
    """What uninterrupted runs write, by format."""
    folder = tmp_path_factory.mktemp("whole")
    for fmt in FORMATS:
        run(tree, folder / fmt, fmt)
    return {fmt: (images(folder / fmt, fmt), set(files(folder / fmt))) for fmt in FORMATS}


def run(tree, out, fmt="cog", method=None, **more):
    more = {"tile": TILE, "workers": 1, "dates": DATES, **more}
    return fuse(tree, out, method=method or Counted(), format=fmt, **more)


def files(folder):
    """Content of every file but the state of the run, by name."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if STATE not in p.parts}


def images(out, fmt):
    """What an output holds, as arrays."""
    if fmt == "zarr":
        series = xr.open_zarr(out)
        return {n: series[n].values for n in ("reflectance", "valid", "uncertainty", "filled")}
    series = open_series(out)
    return {n: series[n].values for n in ("reflectance", "valid")}


def assert_same(a, b):
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# --- dates


def test_the_dates_are_those_of_the_target():
    times, interpolated = plan_dates(AVAILABLE)
    np.testing.assert_array_equal(times, AVAILABLE)
    assert interpolated == (False, False, False)


def test_dates_are_sorted_and_unique_and_may_be_missing():
    times, interpolated = plan_dates(AVAILABLE, ["2020-05-20", "20200515", "2020-05-20"])
    assert [str(t)[:10] for t in times] == ["2020-05-15", "2020-05-20"]
    assert interpolated == (False, True)


@pytest.mark.parametrize("given", ["2020-05", "2020", "2020-5"])
def test_a_month_is_not_taken_for_its_first_day(given):
    with pytest.raises(InputError, match="has no day"):
        plan_dates(AVAILABLE, [given])


def test_a_date_keeps_the_time_of_its_image():
    times, interpolated = plan_dates(AVAILABLE + np.timedelta64(11, "h"), ["2020-05-15", "2020-05-16"])
    assert [str(t)[:13] for t in times] == ["2020-05-15T11", "2020-05-16T00"]
    assert interpolated == (False, True)


@pytest.mark.parametrize(("every", "count"), [("1d", 29), ("2d", 15), ("2", 15), (" 28 d", 2), ("40d", 1)])
def test_every_spans_the_target(every, count):
    times, interpolated = plan_dates(AVAILABLE, every=every)
    assert len(times) == count
    assert times[0] == AVAILABLE[0]
    assert (np.diff(times) == np.diff(times)[:1]).all()
    known = set(AVAILABLE)
    assert interpolated == tuple(t not in known for t in times)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"dates": ["2020-05-01"]}, "outside"),
        ({"dates": ["2020-06-04"]}, "outside"),
        ({"dates": ["soon"]}, "'soon' is not a date"),
        ({"dates": [""]}, "is not a date"),
        ({"dates": [None]}, "is not a date"),
        ({"dates": []}, "^dates: is empty"),
        ({"every": "0d"}, "not a number of days"),
        ({"every": "weekly"}, "not a number of days"),
        ({"dates": ["2020-05-15"], "every": "2d"}, "cannot go with"),
    ],
)
def test_dates_that_make_no_sense_are_refused(given, match):
    with pytest.raises(InputError, match=match):
        plan_dates(AVAILABLE, **given)


def test_two_target_images_of_a_day_are_refused():
    with pytest.raises(InputError, match="two images of 2020-05-06"):
        plan_dates(np.sort([*AVAILABLE, AVAILABLE[0] + np.timedelta64(600, "s")]))


def test_a_missing_lr_image_is_interpolated_by_hand(tree):
    clear = scenes.change(tree, target=lambda s: s.assign(valid=s["valid"] | True))
    # What the two sensors differ by is learnt from the whole series, which the second run lacks.
    plain = {"anchor": "guides"}
    out = fuse(clear, method="difference", options=plain, dates=[scenes.day(20)])
    assert out["interpolated"].values.tolist() == [True]
    target = group(clear, "target")
    values = target["reflectance"].values
    share = (20 - 14) / (33 - 14)  # between the images of days 14 and 33
    by_hand = ((1 - share) * values[1] + share * values[2]).astype(np.float32)
    filled = scenes.change(
        clear,
        target=lambda s: s.isel(time=[1]).assign(reflectance=s["reflectance"][[1]] * 0 + by_hand).assign_coords(
            time=np.array([scenes.day(20)], "datetime64[ns]")
        ),
    )  # fmt: skip
    wanted = fuse(filled, method="difference", options=plain)
    assert wanted["interpolated"].values.tolist() == [False]
    np.testing.assert_allclose(out["reflectance"].values, wanted["reflectance"].values, rtol=0, atol=1e-6)


# --- guides


def test_one_guide_is_too_few(tree):
    single = scenes.change(tree, guide=lambda s: s.isel(time=[0]))
    with pytest.raises(InputError, match=r"holds 1 image, and ddi needs at least 2; .*spatial"):
        fuse(single)
    assert fuse(single, method="spatial", dates=DATES)["valid"].values.any()


def test_a_guide_without_a_valid_pixel_is_named(tree):
    blind = scenes.change(tree, guide=lambda s: s.assign(valid=s["valid"] & (s["time"] != s["time"][2])))
    with pytest.raises(InputError, match=r"2020-05-21.* has no valid pixel"):
        fuse(blind, method="temporal")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"format": "jpeg"}, "jpeg"),
        ({"tile": 8}, "too small"),
        (
            {"method": "magic"},
            "choose one of " + re.escape(", ".join(sorted(method_names()))),
        ),
        ({"method": "ddi", "options": {"stepz": 3}}, r"^options\.stepz: .*choose among .*steps"),
        ({"method": "ddi", "options": {"steps": "many"}}, r"^options\.steps: .*many"),
        ({"method": "temporal", "weights": True}, "^weights: the method has no"),
        ({"method": "temporal", "scheduler": "tcp://127.0.0.1:1"}, "^scheduler: .*give out$"),
    ],
)
def test_bad_usage_is_one_line(tree, given, match):
    with pytest.raises(InputError, match=match) as caught:
        fuse(tree, dates=DATES, **given)
    assert "\n" not in str(caught.value)


def test_no_scheduler_answers(tree, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no dask scheduler answers"):
        fuse(tree, tmp_path / "out", method="temporal", scheduler="nonsense://nowhere")
    assert dask.config.get("scheduler", None) is None  # a failed client as dask's default would hang what comes next


# --- the registry


def test_options_are_converted_from_text():
    given = {"steps": "7", "rate": "1e-3", "networks": "never", "hidden": "8|4"}
    method: Any = make_method("ddi", given)
    assert (method.steps, method.rate, method.networks, method.hidden) == (7, 1e-3, "never", (8, 4))


def test_every_parameter_is_documented():
    for name, cls in known_methods().items():
        assert cls.paper, name
        for option in parameters(cls):
            assert len(option.text) > 10, (name, option)


# --- disk hold the same numbers


@pytest.mark.parametrize("name", ["difference", "ddi"])
def test_outputs_on_disk_hold_what_memory_holds(tree, tmp_path, name):
    options = scenes.QUICK.get(name)
    weights = name == "ddi"
    more = {"method": name, "options": options, "dates": DATES[1:], "tile": TILE, "weights": weights}
    memory = fuse(tree, **more)
    fuse(tree, tmp_path / "a.zarr", format="zarr", **more)
    fuse(tree, tmp_path / "cog", **more)
    stored = xr.open_zarr(tmp_path / "a.zarr")
    for variable in memory.data_vars:
        np.testing.assert_array_equal(stored[variable].values, memory[variable].values, err_msg=str(variable))
        assert stored[variable].dims == memory[variable].dims
    np.testing.assert_array_equal(stored["interpolated"].values, [False, True])
    cogs = open_series(tmp_path / "cog")
    np.testing.assert_array_equal(cogs["valid"].values, memory["valid"].values)
    np.testing.assert_array_equal(cogs["reflectance"].values, memory["reflectance"].values)
    assert [str(b) for b in cogs["band"].values] == ["red", "nir"]


def test_the_provenance_tells_how_each_date_was_made(tree, tmp_path):
    for fmt in (None, *FORMATS):
        out = run(tree, None if fmt is None else tmp_path / fmt, fmt or "cog")
        if fmt == "cog":
            found = disk.read_records(tmp_path / fmt)
            config = json.loads((tmp_path / fmt / STATE / "run.json").read_text())
        else:
            series = out if fmt is None else xr.open_zarr(out)
            config = json.loads(series.attrs["provenance"])
            found = config["dates"]
        assert list(found) == DATES, fmt
        assert [r["interpolated"] for r in found.values()] == [False, False, True]
        assert found[DATES[0]]["guides"] == [scenes.day(d) for d in (0, 10, 20, 30, 40)]
        assert found[DATES[0]]["targets"] == [DATES[0]]
        assert found[DATES[0]]["choices"] == {"kind": "counted"}
        assert {"version", "method", "options", "guides", "targets", "ratio", "mtf", "bands", "grids"} <= set(config)
        assert config["method"] == "counted"


# --- resuming


class StoppedError(Exception):
    pass


def stop_after(count):
    """A report callback that stops the run after so many reports."""
    seen = []

    def report(*args):
        seen.append(args)
        if len(seen) > count:
            raise StoppedError

    return report


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("after", [2, 9])
def test_a_stopped_run_resumes_to_the_same_bits(tree, tmp_path, fmt, after, whole):
    part = tmp_path / "part"
    Counted.calls.clear()
    with pytest.raises(StoppedError):
        run(tree, part, fmt, report=stop_after(after))
    first = len(Counted.calls)
    before = {p: p.stat().st_mtime_ns for p in part.glob("*.tif")}
    if fmt == "zarr":
        with pytest.raises(InputError, match=r"is half made: .sitsfuse fuse. has not finished it"):
            open_series(part)
    run(tree, part, fmt)
    # At most the tiles that were in the air are computed twice.
    assert 3 * TILES <= len(Counted.calls) <= 3 * TILES + 2
    assert first >= min(after - 3, 1)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert_same(images(part, fmt), whole[fmt][0])
    assert set(files(part)) == whole[fmt][1]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_finished_run_computes_nothing_again(tree, tmp_path, fmt):
    out = tmp_path / "out"
    run(tree, out, fmt)
    calls, before = len(Counted.calls), files(out)
    reports = []
    run(tree, out, fmt, report=lambda *args: reports.append(args))
    assert len(Counted.calls) == calls
    assert reports[0] == ("fusing", 3 * TILES, 3 * TILES)
    after = files(out)
    assert {n for n in before if before[n] != after.get(n)} <= {"zarr.json"}
    assert set(after) == set(before)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("at", [0, 6])
def test_a_failing_method_leaves_an_output_that_resumes(tree, tmp_path, fmt, at, whole):
    out = tmp_path / "out"
    Counted.calls.clear()
    Counted.fail_at = at
    with pytest.raises(ArithmeticError, match="the method fails"):
        run(tree, out, fmt)
    Counted.fail_at = None
    run(tree, out, fmt)
    assert len(Counted.calls) == 3 * TILES
    assert_same(images(out, fmt), whole[fmt][0])


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_full_disk_is_told_and_resumes(tree, tmp_path, fmt, monkeypatch, whole):
    out = tmp_path / "out"
    Counted.calls.clear()
    real, written = Path.write_text, []

    def full(path, *args, **kwargs):
        if "tiles" in path.parts:
            written.append(path)
            if len(written) > 5:
                raise OSError(28, "No space left on device")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="No space left"):
        run(tree, out, fmt)
    monkeypatch.undo()
    run(tree, out, fmt)
    assert len(Counted.calls) <= 3 * TILES + 2
    assert_same(images(out, fmt), whole[fmt][0])


def test_a_full_disk_while_a_geotiff_is_written_resumes_without_computing(tree, tmp_path, monkeypatch, whole):
    out = tmp_path / "out"
    Counted.calls.clear()
    real, names = geotiff.write_cog, []

    def full(path, *args, **kwargs):
        names.append(path.name)
        if len(names) == 5:
            raise InputError(path, "could not be written completely", "check the free space on the disk")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(cog, "write_cog", full)
    with pytest.raises(InputError, match="free space"):
        run(tree, out, workers=1)
    monkeypatch.undo()
    run(tree, out)
    assert len(Counted.calls) == 3 * TILES
    assert set(files(out)) == whole["cog"][1]
    assert_same(images(out, "cog"), whole["cog"][0])


@pytest.mark.parametrize("fmt", ["cog"])
def test_a_killed_process_resumes_to_the_same_bits(tree, tmp_path, fmt, whole):
    write_site(tree, tmp_path / "site.zarr", shard=64, chunk=32)
    script = textwrap.dedent(f"""
        import sys
        from sitsfuse.fusion.fuse import fuse
        def half(stage, done, total):
            print(done, flush=True)
            if done >= 6:
                sys.stdin.read()  # never ends: here it is killed
        fuse({str(tmp_path / "site.zarr")!r}, sys.argv[1], method="difference", format={fmt!r}, tile={TILE}, workers=2,
             dates={DATES!r}, report=half)
    """)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", script, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 6:  # of 12
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    reports = []
    run(tmp_path / "site.zarr", out, fmt, method="difference", report=lambda *args: reports.append(args))
    assert 6 <= reports[0][1] < 12
    assert_same(images(out, fmt), whole[fmt][0])
    assert set(files(out)) == whole[fmt][1]


# --- many tiles


def test_few_tiles_are_submitted_at_a_time(tree, monkeypatch):
    from sitsfuse.fusion.pool import Threads

    most = []
    real = Threads.wait

    def watched(pool, tasks):
        most.append(len(tasks))
        return real(pool, tasks)

    monkeypatch.setattr(Threads, "wait", watched)
    run(tree, None, tile=16, workers=2)
    assert 2 <= max(most) <= 4


def test_reading_a_tile_reads_no_more_than_the_tile(tmp_path, monkeypatch):
    # What calibrates the uncertainty reads a window of its own, and what screens the guides reads them once.
    monkeypatch.setattr("sitsfuse.methods.shared.rehearsal.Rehearsal.calibrate", lambda *_: None)
    # So do the levels of the series.
    monkeypatch.setattr("sitsfuse.fusion.fuse.check_levels", lambda _: None)
    wide = scenes.site(n=128, ratio=4, cloudy=0.1)
    write_site(wide, tmp_path / "site.zarr", shard=64, chunk=32)
    from sitsfuse.readers import open_site
    from sitsfuse.readers import zarr as reader

    read = []
    real = reader._Stored.__getitem__

    def watched(stored, key):
        found = real(stored, key)
        if "guide" in stored.path.parts and stored.path.name == "reflectance":
            read.append(found.size)
        return found

    reader._Stored.__getitem__ = watched
    try:
        how = {"method": "temporal", "tile": 32, "workers": 1, "keep_all_guides": True}
        fuse(open_site(tmp_path / "site.zarr"), dates=[scenes.day(14)], **how)
    finally:
        reader._Stored.__getitem__ = real
    assert sum(read) == 128 * 128 * 2 * 5


# --- a cluster


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fmt", FORMATS)
def test_a_dask_cluster_computes_the_same(tree, tmp_path, fmt):
    distributed = pytest.importorskip("distributed")
    more = {"method": "ddi", "options": scenes.QUICK["ddi"], "format": fmt, "tile": TILE, "dates": DATES[1:]}
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        fuse(tree, tmp_path / "cluster", scheduler=cluster.scheduler_address, **more)
    fuse(tree, tmp_path / "threads", **more)
    assert_same(images(tmp_path / "cluster", fmt), images(tmp_path / "threads", fmt))


def test_what_travels_to_workers_can_be_pickled(tree, tmp_path):
    run(tree, tmp_path / "out", "cog")
    layout = Layout(
        times=AVAILABLE, interpolated=(False,) * 3, channels=(Channel("red"),), box=scenes.boxes()[0], guides=AVAILABLE,
        weights=False, tile=32, config={"version": "0"},
    )  # fmt: skip
    for output in (ZarrOutput(tmp_path / "a", layout), cog.CogOutput(tmp_path / "b", layout)):
        again = pickle.loads(pickle.dumps(output))
        assert again.path == output.path
        assert again.layout.box == layout.box


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs the set of allowed cores")
def test_the_default_number_of_workers_is_the_allowed_cores():
    from sitsfuse.runtime.threads import default_workers

    assert default_workers() == len(os.sched_getaffinity(0))


def test_the_guides_of_a_tile_are_read_once_for_all_its_dates(tree, monkeypatch):
    from sitsfuse.fusion import run as loop

    monkeypatch.setattr("sitsfuse.methods.shared.rehearsal.Rehearsal.calibrate", lambda *_: None)
    read, guides = [], group(tree, "guide").sizes["time"]
    real = loading.read

    def watched(series, window, times=None):
        if series.sizes["time"] == guides:
            read.append(window)
        return real(series, window, times)

    monkeypatch.setattr(loop, "read", watched)
    run(tree, None, tile=TILE, workers=1)
    assert len(read) == TILES


def test_a_study_is_made_once(tree):
    run(tree, None, tile=TILE, workers=2)
    assert len(Counted.studies) == 1
    assert len(Counted.fits) == len(DATES)


def test_a_run_resumes_with_the_tiles_that_it_began_with(tree, tmp_path):
    """Whatever cores and memory the machine has then."""
    out = tmp_path / "out.zarr"
    run(tree, out, "zarr", dates=DATES[:2], tile=16)
    Counted.calls.clear()
    fuse(tree, out, method=Counted(), format="zarr", dates=DATES[:2])
    assert not Counted.calls


def test_dates_run_beside_each_other(tree):
    """Two workers take two dates at once: neither waits for the other's last tile."""

    @dataclass(frozen=True)
    class Meeting(Difference):
        name: ClassVar[str] = "meeting"
        both: ClassVar[threading.Barrier] = threading.Barrier(2)

        def study(self, site):
            return scenes.Watched(super().study(site), self.meet)

        def meet(self, study, date):
            self.both.wait(timeout=60)  # raises unless the other date comes while this one waits
            return study.fit(date)

    run(tree, None, method=Meeting(), workers=2, tile=64, dates=DATES[:2])


# --- objects and dates, as people give them


def test_a_guide_and_a_target_or_a_site(tmp_path):
    tree = scenes.site()
    guide, target = tree["guide"].to_dataset(), tree["target"].to_dataset()
    whole = fuse(tree, method="difference")
    pair = fuse(guide, target, method="difference")
    np.testing.assert_array_equal(pair["reflectance"].values, whole["reflectance"].values)
    write_site(tree, tmp_path / "s.zarr")
    out = fuse(tmp_path / "s.zarr" / "guide", tmp_path / "s.zarr" / "target", tmp_path / "out", method="difference")
    assert out == tmp_path / "out"
    assert fuse(tmp_path / "s.zarr", tmp_path / "again", method="difference") == tmp_path / "again"
    with pytest.raises(InputError, match="got a site and a target"):
        fuse(tree, target)


@pytest.mark.parametrize(
    ("dates", "count"),
    [
        ("2020-01-15", 1),
        ("2020-01-15, 2020-02-03", 2),
        (slice("2020-01-10", None), 2),
        (slice(None, "2020-01-15"), 2),
        (slice(None), 3),
        (np.datetime64("2020-01-15"), 1),
        (datetime.date(2020, 1, 15), 1),
        (datetime.datetime(2020, 1, 15, 12), 1),
        (pd.DatetimeIndex(["2020-01-15", "2020-02-03"]), 2),
        (xr.DataArray(np.array(["2020-01-15"], "datetime64[ns]"), dims="time"), 1),
    ],
)
def test_dates_in_any_form(dates, count):
    available = np.datetime64("2020-01-01", "ns") + np.array([5, 14, 33], "timedelta64[D]")
    times, interpolated = plan_dates(available, dates)
    assert len(times) == count
    assert not any(interpolated)
