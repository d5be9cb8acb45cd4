"""The command line as a user meets it: exit codes, one line per error, results on stdout, progress on stderr."""

import json
import math
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine

import sitsfuse
from sitsfuse.core.options import parameters
from sitsfuse.methods import known_methods
from sitsfuse.readers import open_series
from sitsfuse.writers import write_series
from tests.helpers.running import Done

INT = {"nodata": -32768, "scales": [1e-4] * 2}
CLOUDY_ALL = np.ones((1, 20, 20), np.uint8)
TINY = ("--size", "60", "--guides", "4", "--targets", "2", "--set", "cloud_cover=0.1")


def spawn(*arguments, **options):
    """Runs the command line in a process of its own."""
    command = [sys.executable, "-m", "sitsfuse", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    return Done(done.returncode, done.stdout, done.stderr)


def assert_one_line(done, *parts, code=2):
    """An error is one line that says where, what and the mend."""
    assert done.code == code, done
    assert done.out == ""
    assert done.err.endswith("\n")
    (line,) = done.err.splitlines()
    assert line.startswith("sitsfuse: ")
    assert "Traceback" not in line
    for part in parts:
        assert str(part) in line, line
    assert code == 1 or "; " in line, f"no mend: {line}"


def image(n, seed=0):
    return np.random.default_rng(seed).integers(100, 4000, (2, n, n)).astype(np.int16)


def cut(path, tif, **where):
    """Rewrites a file so that its header is whole and the end of its pixels is missing."""
    n = 20 if where.get("pixel", 10.0) == 10 else 4
    tif(path, image(n), ["red", "nir"], compress="deflate", **INT, **where)
    path.write_bytes(path.read_bytes()[:-300])


# --- errors: what a user can mend ------------------------------------------------------------------------------


def _rename(site, tif):
    (site / "guide/20200621.tif").rename(site / "guide/june.tif")


def _twice(site, tif):
    shutil.copy(site / "guide/20200621.tif", site / "guide/other_2020-06-21.tif")


def _other_crs(site, tif):
    tif(site / "guide/20200621.tif", image(20), ["red", "nir"], crs="EPSG:32632", **INT)


def _targets(site, tif, **where):
    for path in (site / "target").glob("*.tif"):
        tif(path, image(4), where.pop("bands", None) or ["red", "nir"], **({"pixel": 50.0} | where), **INT)


def _short_header(site, tif):
    path = site / "guide/20200611.tif"
    path.write_bytes(path.read_bytes()[:60])


def _all_invalid(site, tif):
    tif(site / "guide/20200611_mask.tif", CLOUDY_ALL)


def _single(site, tif):
    for day in ("11", "21"):
        for path in (site / "guide").glob(f"202006{day}*.tif"):
            path.unlink()


def _rotated(site, tif):
    turned = Affine.translation(5e5, 4e6) @ Affine.rotation(10) @ Affine.scale(10, -10)
    tif(site / "guide/20200601.tif", image(20), ["red", "nir"], transform=turned, **INT)


def _empty(site, tif):
    shutil.rmtree(site / "guide")
    (site / "guide").mkdir()


FAULTS = {
    "missing folder": (lambda site, _: shutil.rmtree(site / "guide"), ("guide", "does not exist", "check the path")),
    "empty folder": (_empty, ("guide", "no GeoTIFF")),
    "no date": (_rename, ("june.tif", "no date", "rename it")),
    "date twice": (_twice, ("other_2020-06-21.tif", "same date as 20200621.tif", "keep one")),
    "CRS in a folder": (_other_crs, ("20200621.tif", "EPSG:32632", "EPSG:32631")),
    "CRS of the target": (
        lambda site, tif: _targets(site, tif, crs="EPSG:32632"),
        ("target: ", "EPSG:32632 differs", "reproject"),
    ),
    "no overlap": (
        lambda site, tif: _targets(site, tif, origin=(9e5, 4e6)),
        ("target: ", "does not overlap", "sitsfuse info"),
    ),
    "ratio 1": (lambda site, tif: _targets(site, tif, pixel=10.0), ("target: ", "not larger than the guide's")),
    "no georeference": (
        lambda site, tif: tif(site / "guide/20200601.tif", image(20), ["red", "nir"], crs=None, **INT),
        ("20200601.tif", "no CRS", "georeference"),
    ),
    "truncated header": (_short_header, ("20200611.tif", "truncated", "again")),
    "truncated data": (
        lambda site, tif: cut(site / "guide/20200611.tif", tif),
        ("20200611.tif", "truncated", "again"),
    ),
    "truncated target": (
        lambda site, tif: cut(site / "target/20200611.tif", tif, pixel=50.0),
        ("20200611.tif", "truncated", "again"),
    ),
    "all invalid": (_all_invalid, ("guide/20200611.tif", "no valid pixel", "remove it")),
    "single guide": (_single, ("guide: ", "1 image,", "at least 2", "add guides")),
    "rotated": (_rotated, ("20200601.tif", "rotated", "gdalwarp")),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "parts"), FAULTS.values(), ids=FAULTS)
def test_faults_of_the_input(cli, site_folder, tif, tmp_path, damage, parts):
    damage(site_folder, tif)
    out = tmp_path / "out"
    pair = site_folder / "guide", site_folder / "target"
    assert_one_line(cli("fuse", *pair, "-o", out, "--method", "difference"), *parts)
    assert not out.exists()


def test_different_bands(cli, site_folder, tif, tmp_path):
    for path in (site_folder / "target").glob("*.tif"):
        tif(path, image(4), ["red", "swir16"], pixel=50.0, **INT)
    done = cli("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference")
    assert_one_line(done, site_folder / "target", "red, swir16", "red, nir", "--bands")


USAGE = {
    "no path": (["fuse", "-o", "OUT"], ["SITE | GUIDE TARGET", "fuse --help"]),
    "three paths": (["fuse", "a", "b", "c", "-o", "OUT"], ["got 3 paths", "a guide and a target"]),
    "no output": (["fuse", "SITE"], ["--out", "fuse --help"]),
    "command": (["fuze"], ["fuze", "--help"]),
    "switch": (["fuse", "SITE", "-o", "OUT", "--nonsense"], ["--nonsense", "fuse --help"]),
    "method": (["fuse", "SITE", "-o", "OUT", "--method", "magic"], ["'magic'", "ddi, difference"]),
    "option": (["fuse", "SITE", "-o", "OUT", "--set", "speed=3"], ["--set speed: ", "steps"]),
    "option without value": (["fuse", "SITE", "-o", "OUT", "--set", "steps"], ["--set", "name=value"]),
    "value": (["fuse", "SITE", "-o", "OUT", "--set", "steps=many"], ["--set steps: ", "'many'"]),
    "format": (["fuse", "SITE", "-o", "OUT", "--format", "jpeg"], ["format", "'jpeg'", "cog or zarr"]),
    "date": (["fuse", "SITE", "-o", "OUT", "--dates", "soon"], ["--dates", "'soon'", "2019-05-01"]),
    "no date": (["fuse", "SITE", "-o", "OUT", "--dates", ","], ["--dates: ", "is empty"]),
    "date outside": (["fuse", "SITE", "-o", "OUT", "--dates", "2021-01-01"], ["2021-01-01", "2020-06-21"]),
    "every": (["fuse", "SITE", "-o", "OUT", "--every", "0d"], ["--every", "2d"]),
    "both": (["fuse", "SITE", "-o", "OUT", "--every", "2d", "--dates", "2020-06-11"], ["--every", "--dates"]),
    "mtf": (["fuse", "SITE", "-o", "OUT", "--mtf", "sharp"], ["--mtf", "'sharp'", "0.3"]),
    "mtf range": (["fuse", "SITE", "-o", "OUT", "--mtf", "1.5"], ["--mtf", "(0, 1)"]),
    "mtf per band": (["fuse", "SITE", "-o", "OUT", "--mtf", "0.3,0.3,0.3"], ["--mtf", "3 MTF values for 2 bands"]),
    "tile": (["fuse", "SITE", "-o", "OUT", "--tile", "8"], ["--tile", "16"]),
    "tile text": (["fuse", "SITE", "-o", "OUT", "--tile", "big"], ["--tile", "fuse --help"]),
    "workers": (["fuse", "SITE", "-o", "OUT", "--workers", "-1"], ["--workers"]),
    "weights": (["fuse", "SITE", "-o", "OUT", "--method", "difference", "--weights"], ["--weights", "ddi"]),
    "target": (["fuse", "SITE", "-o", "OUT", "--target", "target_x3"], ["no target_x3/", "choose a target: target"]),
    "target of a pair": (["fuse", "SITE/guide", "SITE/target", "-o", "OUT", "--target", "x"], ["--target", "drop it"]),
    "series for site": (["fuse", "SITE/guide", "-o", "OUT"], ["SITE/guide", "has no guide/"]),
    "bands": (["fuse", "SITE", "-o", "OUT", "--bands", "red"], ["--bands", "name=value"]),
    "target bands": (["fuse", "SITE", "-o", "OUT", "--target-bands", "red=7"], ["target/20200601.tif", "no band 7"]),
    "pattern": (["fuse", "SITE", "-o", "OUT", "--date-pattern", "%Y"], ["--date-pattern", "%Y and %j"]),
    "info": (["info", "SITE/nowhere"], ["SITE/nowhere", "does not exist"]),
    "prediction": (["evaluate", "SITE/nowhere", "SITE/reference"], ["SITE/nowhere", "does not exist"]),
    "table": (["evaluate", "SITE/guide", "SITE/reference", "-o", "OUT.txt"], ["OUT.txt", ".csv nor .parquet"]),
    "table's folder": (["evaluate", "SITE/guide", "SITE/reference", "-o", "OUT/m.csv"], ["OUT", "create it"]),
    "grid": (["evaluate", "SITE/target", "SITE/reference"], ["SITE/target", "another grid"]),
    "far dates": (["evaluate", "SITE/guide", "SITE/reference"], ["SITE/guide", "within 1 days", "--max-days"]),
    "site for series": (["evaluate", "SITE", "SITE/reference"], ["SITE", "is a site", "SITE/guide"]),
    "no site": (["prepare", "SITE/guide", "SITE/target"], ["--out", "prepare --help"]),
    "one path": (["prepare", "SITE/guide", "-o", "OUT"], ["got 1 path", "CONFIG.toml"]),
    "no configuration": (["prepare", "SITE/no.toml", "-o", "OUT"], ["SITE/no.toml", "cannot be read"]),
    "no guides": (["prepare", "SITE/nowhere", "SITE/target", "-o", "OUT"], ["SITE/nowhere", "does not exist"]),
    "a site for guides": (["prepare", "SITE", "SITE/target", "-o", "OUT"], ["SITE", "is a site", "SITE/guide"]),
    "swapped": (["prepare", "SITE/target", "SITE/guide", "-o", "OUT"], ["not larger", "sharp series as guide"]),
    "finer": (["prepare", "SITE/guide", "SITE/target", "-o", "OUT", "--degrade", "20"], ["--degrade: ", "20 m"]),
    "model": (["prepare", "SITE/guide", "SITE/target", "-o", "OUT", "--register", "warp"], ["--register: ", "shift"]),
    "lacking band": (["prepare", "SITE/guide", "SITE/target", "-o", "OUT", "--bands", "tir"], ["no band tir"]),
    "nothing to search": (["search", "SITE/no.toml"], ["SITE/no.toml", "cannot be read"]),
    "simulator": (["simulate", "-o", "OUT", "--set", "wind=3"], ["--set wind: ", "cloud_cover"]),
    "simulator's value": (["simulate", "-o", "OUT", "--set", "cloud_cover=much"], ["--set cloud_cover: ", "'much'"]),
    "simulator's format": (["simulate", "-o", "OUT", "--format", "cog"], ["--format", "zarr or geotiff"]),
    "too few guides": (["simulate", "-o", "OUT", "--guides", "1"], ["guides", "at least 2"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "parts"), USAGE.values(), ids=USAGE)
def test_faults_of_usage(cli, site_folder, tmp_path, arguments, parts):
    def place(text):
        return text.replace("SITE/", f"{site_folder}/").replace("OUT", str(tmp_path / "out"))

    given = [str(site_folder) if a == "SITE" else place(a) for a in arguments]
    shown = [p if p.startswith("SITE |") else str(site_folder) if p == "SITE" else place(p) for p in parts]
    assert_one_line(cli(*given), *shown)
    assert not (tmp_path / "out").exists()


def test_prepare_plans_and_makes_a_site(cli, site_folder, tmp_path):
    pair, site = (site_folder / "guide", site_folder / "target"), tmp_path / "made.zarr"
    planned = cli("prepare", *pair, "-o", site, "--dry-run", "-q")
    assert planned.code == 0, planned
    assert planned.out.splitlines()[0].split()[:3] == ["date", "role", "series"]
    assert planned.out.splitlines()[-1] == str(tmp_path / "made_plan.png")
    assert (tmp_path / "made_plan.png").stat().st_size > 5000
    assert not site.exists()
    made = cli("prepare", *pair, "-o", site, "-q", "--harmonize", "none")
    assert made.code == 0, made
    assert made.out.splitlines()[-2:] == [str(site / "prepare.html"), str(site)]
    assert_one_line(cli("prepare", *pair, "-o", site, "-q"), site, "harmonization.mode is", "--overwrite")
    fused = cli("fuse", site, "-o", tmp_path / "out", "--method", "difference", "-q")
    assert fused.code == 0, fused


def test_search_lists_what_a_configuration_asks_for(cli, tmp_path, monkeypatch):
    text = (
        '[guide]\npath = "a"\n[target]\npath = "b"\n[target.search]\nprovider = "geodes"\ncollection = "X"\n'
        'start = "2019-01-01"\nend = "2019-02-01"\ntile = "ARM"\n'
    )
    (tmp_path / "site.toml").write_text(text)
    asked = []
    monkeypatch.setattr(
        "sitsfuse.catalogue.search.search", lambda query, catalogue: asked.append((query, catalogue)) or []
    )
    done = cli("search", tmp_path / "site.toml", "--catalogue", "http://127.0.0.1:9")
    assert done.code == 0, done
    assert "target: 0 products of X" in done.out
    ((query, catalogue),) = asked
    assert (query.tile, catalogue) == ("ARM", "http://127.0.0.1:9")
    (tmp_path / "site.toml").write_text(text + "colour = 3\n")
    assert_one_line(cli("search", tmp_path / "site.toml"), "target.search", "'colour'", "collection")


def test_a_site_lists_its_targets(cli, site_folder, tmp_path):
    (site_folder / "target").rename(site_folder / "target_x5")
    done = cli("fuse", site_folder, "-o", tmp_path / "out")
    assert_one_line(done, site_folder, "has no target/", "choose a target: target_x5")
    assert cli("fuse", site_folder, "-o", tmp_path / "out", "--target", "target_x5", "--method", "spatial").code == 0


def test_a_target_alone_is_interpolated(cli, site_folder, tmp_path):
    alone = site_folder / "target"
    done = cli("fuse", alone, "-o", tmp_path / "out", "--method", "spatial")
    assert_one_line(done, alone, "has no guide/", "--factor")
    assert cli("fuse", alone, "-o", tmp_path / "out", "--method", "spatial", "--factor", 5).code == 0
    both = cli("fuse", site_folder, "-o", tmp_path / "both", "--method", "spatial")
    assert both.code == 0
    with rasterio.open(tmp_path / "out/20200601.tif") as a, rasterio.open(tmp_path / "both/20200601.tif") as b:
        assert a.transform == b.transform
        np.testing.assert_array_equal(a.read(), b.read())
    done = cli("fuse", alone, "-o", tmp_path / "more", "--method", "difference", "--factor", 5)
    assert_one_line(done, "holds 0 images", "difference needs at least 2")


def test_an_output_of_another_configuration(cli, site_folder, tmp_path):
    out = tmp_path / "out"
    assert cli("fuse", site_folder, "-o", out, "--method", "difference").code == 0
    before = (out / "20200601.tif").read_bytes()
    done = cli("fuse", site_folder, "-o", out, "--method", "temporal")
    assert_one_line(done, out, "method is", "difference", "temporal", "--overwrite")
    assert (out / "20200601.tif").read_bytes() == before
    assert cli("fuse", site_folder, "-o", out, "--method", "temporal", "--overwrite").code == 0
    assert (out / "20200601.tif").read_bytes() != before


def test_a_foreign_folder_is_left_alone(cli, site_folder, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for more in ([], ["--overwrite"]):
        done = cli("fuse", site_folder, "-o", out, "--method", "difference", *more)
        assert_one_line(done, out, "not an output of `sitsfuse fuse`", "choose another")
    assert [p.name for p in out.iterdir()] == ["thesis.txt"]


def test_an_output_that_cannot_be_written(cli, site_folder, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert_one_line(cli("fuse", site_folder, "-o", out, "--method", "difference"), out, "cannot be written")
    assert_one_line(cli("simulate", "-o", out, *TINY), tmp_path / "file", "cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(cli, site_folder, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    out = tmp_path / "locked" / "out"
    assert_one_line(cli("fuse", site_folder, "-o", out, "--method", "difference"), out, "cannot be written")


def test_an_error_leaves_the_place_to_other_options(cli, site_folder, tmp_path):
    out = tmp_path / "out"
    for kind in ("cog", "zarr"):
        usual = ("fuse", site_folder, "-o", out / kind, "--method", "difference", "--format", kind)
        assert_one_line(cli(*usual, "--weights"), "--weights")
        assert cli(*usual).code == 0


@pytest.mark.parametrize("bar", ["off", "on", "terminal"])
@pytest.mark.parametrize("part", ["header", "data"])
def test_a_truncated_file_is_one_line_whatever_shows_progress(site_folder, tif, tmp_path, bar, part):
    # In a process of its own: there GDAL, logging and the bar write to the real stderr.
    path = site_folder / "guide/20200611.tif"
    if part == "header":
        path.write_bytes(path.read_bytes()[:60])
    else:
        cut(path, tif)
    arguments = ("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference", *(["-q"] * (bar == "off")))
    done = on_terminal(*arguments) if bar == "terminal" else spawn(*arguments)
    if bar == "terminal":
        # What stands on the screen is what follows the last control sequence: the bar has been erased.
        left = re.split(r"\x1b\[[0-9;?]*[A-Za-z]", done.err)[-1]
        done = done._replace(err=left.replace("\r", ""))
    assert_one_line(done, path, "cannot be read (truncated", "again")


def on_terminal(*arguments):
    """Runs the command line with a terminal as stderr."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sitsfuse", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
        out = process.stdout.read()
        code = process.wait(60)
    os.close(ours)
    return Done(code, out, seen.decode())


# --- what is not an error ------------------------------------------------------------------------------------------


def test_a_pixel_without_a_valid_guide_is_nodata(cli, site_folder, tif, tmp_path):
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, :4, :5] = 1
    for day in ("01", "11", "21"):
        tif(site_folder / f"guide/202006{day}_mask.tif", mask)
    done = cli("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference", "-q")
    assert done.code == 0
    assert "2020-06-06  5.0 % nodata" in done.out.splitlines()[1]
    with (
        rasterio.open(tmp_path / "out/20200606.tif") as values,
        rasterio.open(tmp_path / "out/20200606_mask.tif") as seen,
    ):
        assert np.array_equal(np.isnan(values.read()).all(0), mask[0] == 1)
        assert np.array_equal(seen.read(1) == 1, mask[0] == 1)


def test_a_wholly_cloudy_target_is_filled_and_told(cli, site_folder, tif, tmp_path):
    tif(site_folder / "target/20200611_mask.tif", np.ones((1, 4, 4), np.uint8), pixel=50.0)
    done = cli("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference", "-q")
    assert done.code == 0
    lines = dict(line.split("  ", 1) for line in done.out.splitlines()[:-1])
    assert lines["2020-06-11"] == "a guide of this day was used; no clear LR pixel, all from the guides"
    assert lines["2020-06-06"] == "done"
    fused = open_series(tmp_path / "out")
    assert fused["valid"].sel(time="2020-06-11").all()


def test_dates_outside_the_guides_are_told(cli, site_folder, tmp_path):
    for day, other in (("01", "07"), ("21", "10")):
        (site_folder / f"guide/202006{day}.tif").rename(site_folder / f"guide/202006{other}.tif")
    lines = cli("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference").out.splitlines()
    assert lines[0] == "2020-06-01  before the first guide"
    assert lines[2:4] == ["2020-06-11  a guide of this day was used", "2020-06-16  after the last guide"]


def test_dates_between_those_of_the_target(cli, site_folder, tmp_path):
    out = tmp_path / "out"
    done = cli("fuse", site_folder, "-o", out, "--method", "difference", "--every", "7d")
    assert done.code == 0
    assert done.out.splitlines() == [
        "2020-06-01  a guide of this day was used",
        "2020-06-08  LR interpolated in time",
        "2020-06-15  LR interpolated in time",
        str(out),
    ]
    for day, interpolated in (("01", "false"), ("08", "true"), ("15", "true")):
        with rasterio.open(out / f"202006{day}.tif") as source:
            assert source.tags()["SITSFUSE_INTERPOLATED"] == interpolated
    # Another run over the same folder may add dates, and tells of its own only.
    done = cli("fuse", site_folder, "-o", out, "--method", "difference", "--dates", "2020-06-16, 20200606")
    assert [line[:10] for line in done.out.splitlines()[:-1]] == ["2020-06-06", "2020-06-16"]
    assert len(open_series(out)["time"]) == 5


def test_a_second_run_resumes(cli, site_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sitsfuse.cli.progress.EVERY", math.inf)  # a slow machine would say how far it is
    command = ("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference")
    assert cli(*command).err == ""
    (tmp_path / "out/20200611.tif").unlink()
    again = cli(*command)
    assert again.code == 0
    assert again.err == "sitsfuse: resuming, 4 of 5 tiles are there already\n"
    assert (tmp_path / "out/20200611.tif").is_file()
    assert cli(*command, "-q").err == ""


def test_foreign_files(cli, tif, tmp_path):
    for k, day in enumerate((153, 163, 173)):  # 1, 11 and 21 June
        tif(tmp_path / f"sharp/L8.A2020{day}.sr.tif", image(20, k), ["B4", "B8"], **INT)
    for k, day in enumerate((1, 11)):
        tif(tmp_path / f"often/v{day:02}-06-2020x99.tif", image(4, k), pixel=50.0, **INT)
    pair = tmp_path / "sharp", tmp_path / "often"
    guide = ("--date-pattern", "A%Y%j", "--bands", "nir=B8,red=B4")
    pattern = r"v(?P<day>\d\d)-(?P<month>\d\d)-(?P<year>\d{4})"
    target = ("--target-date-pattern", pattern, "--target-bands", "red=1,nir=2")
    done = cli("fuse", *pair, "-o", tmp_path / "out", "--method", "spatial", *guide, *target)
    assert done.code == 0, done.err
    fused = open_series(tmp_path / "out")
    assert [str(t)[:10] for t in fused["time"].values] == ["2020-06-01", "2020-06-11"]
    assert list(fused["band"].values) == ["nir", "red"]
    # Band 2 of the target is nir, and comes first: its mean is kept by interpolation, but at the border.
    middle = fused["reflectance"][0, 0, 5:15, 5:15].values
    assert abs(middle.mean() - image(4, 0)[1, 1:3, 1:3].mean() * 1e-4) < 0.02
    scored = cli("evaluate", tmp_path / "out", pair[0], "--target", pair[1], *guide, *target)
    assert scored.code == 0, scored.err
    assert "mean over 2 dates; 1 reference without a prediction" in scored.out
    assert "173" not in cli("info", pair[0], *guide).out
    assert_one_line(cli("info", pair[0]), "L8.A2020153.sr.tif", "--date-pattern")


# --- the whole way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["zarr", "geotiff"])
def test_simulate_info_fuse_evaluate(cli, tmp_path, kind):
    site, out = tmp_path / "site", tmp_path / "out"
    assert cli("simulate", "-o", site, *TINY, "--format", kind) == Done(0, f"{site}\n", "")
    assert_one_line(cli("simulate", "-o", site, *TINY, "--format", kind), site, "exists")
    assert cli("simulate", "-o", site, *TINY, "--format", kind, "--overwrite").code == 0
    whole = cli("info", site)
    assert whole.code == 0
    assert "5 (target)" in whole.out
    assert "60 rows × 60 columns" in whole.out
    assert "4, 2019-03-01 to 2019-04-30" in cli("info", site / "guide").out
    form = {"zarr": "zarr", "geotiff": "cog"}[kind]
    done = cli("fuse", site, "-o", out, "--method", "difference", "--format", form, "--mtf", "0.25", "-q")
    assert (done.code, done.err) == (0, "")
    *lines, last = done.out.splitlines()
    assert [line[:10] for line in lines] == ["2019-03-06", "2019-04-25"]
    assert last == str(out)
    for name in ("metrics.csv", "metrics.parquet"):
        scored = cli("evaluate", out, site / "reference", "--target", site / "target", "-o", tmp_path / name)
        assert (scored.code, scored.err) == (0, "")
    assert "mean over 2 dates" in scored.out
    assert "without a prediction" not in scored.out
    table = pd.read_csv(tmp_path / "metrics.csv", parse_dates=["date", "predicted"])
    same = pd.read_parquet(tmp_path / "metrics.parquet")
    pd.testing.assert_frame_equal(table, same, check_dtype=False)
    # The table of the output against plain NumPy.
    fused, truth, target = (open_series(p).compute() for p in (out, site / "reference", site / "target"))
    clear = target["valid"].values.repeat(5, 1).repeat(5, 2)[:, :60, :60]
    keep = fused["valid"].values & truth["valid"].values
    error = (fused["reflectance"].values - truth["reflectance"].values)[0, 1][keep[0] & clear[0]]
    rows = table[(table["band"] == "green") & (table["metric"] == "rmse") & (table["stratum"] == "all")]
    row = rows[rows["date"] == pd.Timestamp("2019-03-06")]
    assert row["value"].item() == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
    assert row["n_valid"].item() == error.size


def test_a_guide_of_the_day_is_told_and_can_be_left_out(cli, tmp_path):
    """Of a reference that stands among the guides, a prediction is a copy: its error says so."""
    site = sitsfuse.simulate(size=60, guides=4, targets=2, seed=1, cloud_cover=0.0)
    series = {g: site[g].to_dataset()[["reflectance", "valid"]] for g in ("guide", "target", "reference")}
    series = {g: s.drop_vars(set(s.coords) & {"shift_x", "shift_y", "gain", "offset"}) for g, s in series.items()}
    reference = series["reference"]
    both = xr.concat([series["guide"], reference.isel(time=[0])], "time").sortby("time")
    for role, made in (series | {"guide": both.assign_attrs(series["guide"].attrs)}).items():
        write_series(made, tmp_path / "site" / role)
    day = str(reference["time"].values[0])[:10]
    errors = {}
    for name, more in (("with", []), ("without", ["--leave-out-same-day"])):
        out = tmp_path / name
        done = cli("fuse", tmp_path / "site", "-o", out, "--method", "temporal", "-q", *more)
        assert done.code == 0, done
        scored = cli("evaluate", out, tmp_path / "site" / "reference", "-o", tmp_path / "m.csv")
        told = f"{day}  a guide of this day was used" in done.out, f"predicted day was used on {day}" in scored.out
        assert told == ((True, True) if name == "with" else (False, False))
        rows = pd.read_csv(tmp_path / "m.csv").query("band == 'all' and metric == 'rmse' and stratum == 'all'")
        errors[name] = float(rows[rows["date"] == day]["value"].iloc[0])
    assert errors["with"] < 1e-6 < 1e-3 < errors["without"]


def test_ddi_with_weights(cli, site_folder, tmp_path):
    out = tmp_path / "out"
    options = [part for text in ("steps=20", "hidden=8,8", "folds=2", "networks=always") for part in ("--set", text)]
    command = ("fuse", site_folder, "-o", out, "--dates", "2020-06-11", *options, "--device", "cpu", "--weights")
    done = cli(*command)
    assert done.code == 0, done.err
    assert done.out.startswith("2020-06-11  ")
    with rasterio.open(out / "20200611.tif") as source:
        record = json.loads(source.tags()["SITSFUSE"])
    assert record["options"] | {"steps": 20, "hidden": [8, 8], "networks": "always"} == record["options"]
    with rasterio.open(out / "20200611_weights.tif") as source:
        assert source.descriptions[:2] == ("2020-06-01 red", "2020-06-01 nir")
        weights = source.read().reshape(3, 2, 20, 20)
    with rasterio.open(out / "20200611_mask.tif") as source:
        valid = source.read(1) == 0
    assert np.allclose(weights.sum(0)[:, valid], 1, atol=1e-4)


def test_methods_are_listed_with_their_options(cli):
    done = cli("methods")
    assert done.code == 0
    for name, cls in known_methods().items():
        assert re.search(rf"^{re.escape(name)}: \S", done.out, re.MULTILINE)
        assert cls.paper in done.out
        for option in parameters(cls):
            assert re.search(rf"^    {option.name}=\S.*{re.escape(option.text)}$", done.out, re.MULTILINE)
    assert "hidden=64,64" in done.out


def test_demo(cli, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("sitsfuse.demonstration.demo", lambda *a, **k: seen.append((a, k)) or "a table")
    assert cli("demo", "-o", tmp_path, "--overwrite").out == "a table\n"
    assert cli("demo").code == 0
    assert [(a[0].name, k["overwrite"]) for a, k in seen] == [(tmp_path.name, True), ("demo-output", False)]


# --- streams, exit codes, speed --------------------------------------------------------------------------------


def test_progress_goes_to_stderr_only(cli, site_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sitsfuse.cli.progress.EVERY", 0.0)
    loud = cli("fuse", site_folder, "-o", tmp_path / "a", "--method", "difference")
    assert loud.err.splitlines()[-1] == "sitsfuse: fusing 5/5 tiles"
    quiet = cli("fuse", site_folder, "-o", tmp_path / "b", "--method", "difference", "--quiet")
    assert quiet.err == ""
    assert quiet.out.splitlines()[:-1] == loud.out.splitlines()[:-1]


def test_a_bar_on_a_terminal(site_folder, tmp_path):
    done = on_terminal("fuse", site_folder, "-o", tmp_path / "out", "--method", "difference")
    assert done.code == 0
    assert "5/5 tiles" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.err)
    assert len(done.out.splitlines()) == 6
    assert "\x1b" not in done.out


def _raise(kind, *arguments):
    def function(*_, **__):
        raise kind(*arguments)

    return function


def test_an_unexpected_error_is_one_line_and_1(cli, site_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sitsfuse.fusion.fuse.fuse", _raise(RuntimeError, "the moon\nis blue"))
    command = ("fuse", site_folder, "-o", tmp_path / "out")
    assert_one_line(cli(*command), "RuntimeError: the moon is blue", "--debug", code=1)
    done = cli("--debug", *command)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "raise kind(" in done.err
    assert cli(*command, "--debug") == done  # wherever it stands


def test_debug_shows_where_an_input_error_comes_from(cli, tmp_path):
    done = cli("info", tmp_path / "nowhere", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith(f"sitsfuse: {tmp_path / 'nowhere'}: does not exist")


def test_an_interrupt_says_how_to_go_on(cli, site_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sitsfuse.fusion.fuse.fuse", _raise(KeyboardInterrupt))
    assert_one_line(cli("fuse", site_folder, "-o", tmp_path / "out"), "interrupted", "again", code=130)


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom sitsfuse.cli.main import main\n"
        "for command in ([], ['demo'], ['simulate'], ['info'], ['fuse'], ['evaluate'], ['prepare'],"
        "['search'], ['methods'], ['benchmark'], ['report']):\n"
        "    sys.argv = ['sitsfuse', *command, '--help']\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert not stop.code\n"
        "heavy = {'numpy', 'pandas', 'xarray', 'dask', 'rasterio', 'scipy', 'torch', 'zarr', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
    for word in ("Usage: sitsfuse fuse", "--every", "--max-days", "--seed"):
        assert word in done.stdout


def test_version_help_and_a_reader_that_leaves():
    assert spawn("--version") == Done(0, f"{version('sitsfuse')}\n", "")
    bare = spawn()
    assert (bare.code, bare.err) == (0, "")
    assert "Usage" in bare.out
    # `sitsfuse methods | true`
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sitsfuse", "methods"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
