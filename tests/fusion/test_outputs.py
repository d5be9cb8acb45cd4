"""Outputs on disk: what they hold, what they refuse, and what they delete."""

import json
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair
from sitsfuse.core.site import group, make_site
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.fusion.outputs import disk
from sitsfuse.readers import open_series, read_zarr
from sitsfuse.runtime.files import STATE, write_json
from sitsfuse.writers import write_site
from tests.helpers import scenes

FORMATS = ["cog", "zarr"]
DATES = [scenes.day(14), scenes.day(20)]


@pytest.fixture(scope="module")
def tree():
    return scenes.site(seed=1)


def run(tree, out, fmt="cog", **more):
    return fuse(
        tree, out, **{"method": "difference", "format": fmt, "tile": 32, "workers": 1, "dates": DATES[:1], **more}
    )


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# --- what is written


def test_geotiffs_are_cloud_optimised_and_described(tree, tmp_path):
    from rio_cogeo.cogeo import cog_validate

    out = tmp_path / "out"
    options = scenes.QUICK["ddi"]
    assert run(tree, out, method="ddi", options=options, weights=True, dates=DATES) == out
    names = {f"{d}{s}.tif" for d in ("20200515", "20200521") for s in ("", "_mask", "_uncertainty", "_weights")}
    assert {p.name for p in out.glob("*.tif")} == names
    for name in names:
        ok, errors, _ = cog_validate(out / name)
        assert ok, (name, errors)
    memory = fuse(tree, method="ddi", options=options, tile=32, dates=DATES, weights=True).isel(time=1)
    with rasterio.open(out / "20200521.tif") as source:
        assert source.descriptions == ("red", "nir")
        assert source.dtypes == ("float32", "float32")
        assert source.crs == "EPSG:32631"
        assert source.transform == scenes.boxes()[0].affine
        np.testing.assert_array_equal(source.read(), memory["reflectance"].values)
        tags = source.tags()
    assert tags["SITSFUSE_INTERPOLATED"] == "true"
    assert json.loads(tags["SITSFUSE"])["date"]["choices"]["head"]
    assert json.loads(tags["SITSFUSE"])["options"]["steps"] == options["steps"]
    assert len(json.loads(tags["SITSFUSE_GUIDES"])) == 5
    assert float(tags["SITSFUSE_FILLED_SHARE"]) == pytest.approx(memory["filled"].values.mean(), abs=1e-5)
    with rasterio.open(out / "20200521_mask.tif") as source:
        filled = np.where(memory["filled"].values, 2, 0)
        np.testing.assert_array_equal(source.read(1), np.where(memory["valid"].values, filled, 1))
    with rasterio.open(out / "20200521_uncertainty.tif") as source:
        np.testing.assert_array_equal(source.read(), memory["uncertainty"].values)
    with rasterio.open(out / "20200521_weights.tif") as source:
        assert source.descriptions[:3] == ("2020-05-01 red", "2020-05-01 nir", "2020-05-11 red")
        np.testing.assert_array_equal(source.read(), memory["weight"].values.reshape(10, 60, 60))


def test_geotiffs_tell_gdal_and_qgis_what_they_are(tmp_path):
    site = scenes.site(seed=1, n_bands=4)
    site["guide"].attrs["sensor"] = "venus"
    run(site, tmp_path)
    with rasterio.open(tmp_path / "20200515.tif") as source:
        assert [c.name for c in source.colorinterp] == ["red", "undefined", "green", "blue"]
        assert source.units == ("1",) * 4
        assert source.tags(ns="IMAGERY")["ACQUISITIONDATETIME"] == "2020-05-15 00:00:00"
        assert source.tags()["TIFFTAG_DATETIME"] == "2020:05:15 00:00:00"
        assert source.tags()["TIFFTAG_SOFTWARE"].startswith("sitsfuse ")
        # Venµs' B7, B4 and B3, in µm; it has no band called nir.
        assert [source.tags(i, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for i in (1, 2, 3, 4)] == [
            "0.666", None, "0.555", "0.492",
        ]  # fmt: skip
    with rasterio.open(tmp_path / "20200515_uncertainty.tif") as source:
        assert "blue" not in [c.name for c in source.colorinterp]
    style = ElementTree.parse(tmp_path / "20200515.qml").find("pipe/rasterrenderer")
    assert [style.get(f"{c}Band") for c in ("red", "green", "blue")] == ["1", "3", "4"]
    named = [c.text for c in ElementTree.parse(tmp_path / "20200515_mask.tif.aux.xml").iter("Category")]
    entries = ElementTree.parse(tmp_path / "20200515_mask.qml").iter("paletteEntry")
    assert named == [e.get("label") for e in entries]
    assert [name.split()[0] for name in named] == ["valid", "invalid", "filled", "filled"]
    # All of it is the command's own: `overwrite` leaves nothing of it.
    run(site, tmp_path, dates=DATES[1:], overwrite=True)
    assert not list(tmp_path.glob("20200515*"))


def test_integers_hold_ten_thousandths(tree, tmp_path):
    run(tree, tmp_path / "out", int16=True)
    memory = run(tree, None)
    with rasterio.open(tmp_path / "out" / "20200515.tif") as source:
        assert set(source.dtypes) == {"int16"}
        assert source.scales == (1e-4, 1e-4)
    found = open_series(tmp_path / "out")["reflectance"].values
    np.testing.assert_allclose(found, memory["reflectance"].values, atol=0.51e-4)


def test_a_zarr_output_opens_without_a_warning(tree, tmp_path):
    run(tree, tmp_path / "out", "zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        by_xarray = xr.open_zarr(tmp_path / "out").load()
        by_reader = open_series(tmp_path / "out").load()
    np.testing.assert_array_equal(by_xarray["reflectance"].values, by_reader["reflectance"].values)
    assert set(by_xarray.data_vars) == {"reflectance", "valid", "uncertainty", "filled"}


@pytest.mark.parametrize("fmt", FORMATS)
def test_nothing_half_written_stays(tree, tmp_path, fmt):
    run(tree, tmp_path / "out", fmt)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    leftovers = [
        n for n in listing(tmp_path / "out") if ".part" in n or "draft" in n or n.startswith(f"{STATE}/stores")
    ]
    assert leftovers == []


def test_dates_are_added_to_a_folder_of_geotiffs(tree, tmp_path):
    run(tree, tmp_path / "out")
    before = (tmp_path / "out" / "20200515.tif").stat().st_mtime_ns
    run(tree, tmp_path / "out", dates=[scenes.day(33), DATES[0]])
    assert (tmp_path / "out" / "20200515.tif").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "20200603.tif").is_file()
    assert set(disk.read_records(tmp_path / "out")) == {"2020-05-15", "2020-06-03"}


# --- what is refused


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize(
    "other", [{"method": "temporal"}, {"tile": 16}, {"weights": True, "method": "ddi"}, {"format": None}]
)
def test_another_configuration_is_refused(tree, tmp_path, fmt, other):
    run(tree, tmp_path / "out", fmt)
    before = listing(tmp_path)
    if "format" in other:
        other = {"format": {"cog": "zarr", "zarr": "cog"}[fmt]}
    with pytest.raises(InputError, match=r"another configuration .*overwrite=True"):
        run(tree, tmp_path / "out", **{"fmt": fmt, **other} if "format" not in other else {"fmt": other["format"]})
    assert listing(tmp_path) == before


@pytest.mark.parametrize("fmt", FORMATS)
def test_another_site_is_refused(tmp_path, fmt):
    run(scenes.site(seed=1), tmp_path / "out", fmt)
    for other in (
        scenes.site(n=62),
        scenes.site(offset=(1.0, 0.0)),
        scenes.site(mtf=0.2),
        scenes.site(guides=(0, 10, 20)),
    ):
        with pytest.raises(InputError, match=r"another configuration|other inputs"):
            run(other, tmp_path / "out", fmt)


def test_other_dates_need_another_zarr(tree, tmp_path):
    run(tree, tmp_path / "out", "zarr")
    with pytest.raises(InputError, match="dates is"):
        run(tree, tmp_path / "out", "zarr", dates=DATES)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("fmt", FORMATS)
def test_foreign_places_are_refused_and_left_alone(tree, tmp_path, fmt, overwrite):
    folder, file = tmp_path / "photos", tmp_path / "notes.txt"
    folder.mkdir()
    (folder / "20200515.tif").write_text("mine")
    file.write_text("mine")
    for place in (folder, file):
        with pytest.raises(InputError, match="is not an output of"):
            run(tree, place, fmt, overwrite=overwrite)
    assert (folder / "20200515.tif").read_text() == file.read_text() == "mine"
    assert len(list(tmp_path.rglob("*"))) == 3


@pytest.mark.parametrize("fmt", FORMATS)
def test_an_empty_folder_is_taken(tree, tmp_path, fmt):
    (tmp_path / "out").mkdir()
    run(tree, tmp_path / "out", fmt)
    assert len(open_series(tmp_path / "out")["time"]) == 1


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_place_that_cannot_be_written_is_told(tree, tmp_path, fmt):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written") as caught:
        run(tree, tmp_path / "file" / "out", fmt)
    assert str(caught.value.where) == str(tmp_path / "file" / "out")


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_damaged_configuration_is_told_and_overwritten(tree, tmp_path, fmt):
    out = tmp_path / "out"
    run(tree, out, fmt)
    (out / STATE / "run.json").write_bytes(b'{"method": \xff')
    with pytest.raises(InputError, match=r"holds a damaged configuration; .*overwrite=True"):
        run(tree, out, fmt)
    run(tree, out, fmt, overwrite=True)
    assert len(open_series(out)["time"]) == 1


# --- what is deleted


def test_overwriting_geotiffs_removes_only_what_is_of_the_run(tree, tmp_path):
    out = tmp_path / "out"
    run(tree, out, dates=DATES)
    mine = ["notes.txt", "20190101.tif", "20200515_mine.tif", "more/20200515.tif"]
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine")
    run(tree, out, method="temporal", overwrite=True)
    assert all((out / name).read_text() == "mine" for name in mine)
    assert (out / "20200515.tif").is_file()
    assert not list(out.glob("20200521*"))
    assert list(disk.read_records(out)) == ["2020-05-15"]
    np.testing.assert_array_equal(
        open_series_of(out / "20200515.tif"), run(tree, None, method="temporal")["reflectance"].values[0]
    )


def open_series_of(file):
    with rasterio.open(file) as source:
        return source.read()


def test_overwriting_zarr_refuses_to_delete_foreign_files(tree, tmp_path):
    out = tmp_path / "out"
    run(tree, out, "zarr")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt, which is not of the output"):
        run(tree, out, "zarr", method="temporal", overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "reflectance" / "zarr.json").is_file()
    (out / "notes.txt").unlink()
    run(tree, out, "zarr", method="temporal", overwrite=True)
    assert json.loads(xr.open_zarr(out).attrs["provenance"])["method"] == "temporal"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(("first", "then"), [("cog", "zarr"), ("zarr", "cog")])
def test_overwriting_with_the_other_format(tree, tmp_path, first, then):
    out = tmp_path / "out"
    run(tree, out, first)
    run(tree, out, then, overwrite=True)
    np.testing.assert_array_equal(open_series(out)["reflectance"].values, run(tree, None)["reflectance"].values)
    assert bool(list(out.glob("*.tif"))) == (then == "cog")
    assert (out / "zarr.json").is_file() == (then == "zarr")


# --- half-written disk


def test_what_a_killed_run_leaves_is_swept(tree, tmp_path):
    out = tmp_path / "out"
    run(tree, out)
    drafts = [out / ".20200515.tif.0123abcd.draft.tif", out / ".20200515_mask.tif.0123abcd.cog.tif"]
    for draft in drafts:
        draft.write_text("half")
    (out / ".mine.tif").write_text("mine")
    run(tree, out)
    assert not any(d.exists() for d in drafts)
    assert (out / ".mine.tif").read_text() == "mine"


def test_a_draft_of_a_zarr_output_is_replaced(tree, tmp_path):
    draft = tmp_path / ".out.part"
    (draft / "reflectance").mkdir(parents=True)
    (draft / "reflectance" / "zarr.json.partial").write_text("half")
    run(tree, tmp_path / "out", "zarr")
    assert not draft.exists()


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_run_killed_before_it_was_configured_can_be_run_again(tree, tmp_path, fmt):
    (tmp_path / "out" / STATE).mkdir(parents=True)
    (tmp_path / "out" / STATE / "run.json.part").write_text("{")
    run(tree, tmp_path / "out", fmt)
    assert len(open_series(tmp_path / "out")["time"]) == 1


@pytest.mark.parametrize("damage", [b"", b'{"pixels": 10', b"[]", b"\xff\xfe"])
def test_a_damaged_marker_marks_nothing(tree, tmp_path, damage):
    out = tmp_path / "out"
    run(tree, out, "zarr")
    wanted = xr.open_zarr(out).load()
    folder = out / STATE / "tiles" / "20200515"
    (folder / "2.json").write_bytes(damage)
    reports = []
    run(tree, out, "zarr", report=lambda *args: reports.append(args))
    assert reports[0] == ("fusing", 3, 4)
    assert xr.open_zarr(out).load().identical(wanted)


def test_a_deleted_image_is_made_again(tree, tmp_path):
    out = tmp_path / "out"
    run(tree, out)
    wanted = (out / "20200515.tif").read_bytes()
    (out / "20200515.tif").unlink()
    run(tree, out)
    assert open_series(out).sizes["time"] == 1
    assert len((out / "20200515.tif").read_bytes()) == len(wanted)


def test_tiles_that_never_were_written_are_written_after_a_crash(tree, tmp_path):
    # Markers without their shards must not pass for tiles: the markers go before the shards do.
    out = tmp_path / "out"
    run(tree, out)
    assert not (out / STATE / "tiles" / "20200515").exists()


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    place = tmp_path / "a" / "x.json"
    write_json(place, {"n": 1})
    with pytest.raises(TypeError):
        write_json(place, {"n": object()})
    assert json.loads(place.read_text()) == {"n": 1}
    monkeypatch.setattr(type(place), "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match=r"x\.json: cannot be written \(No space left\)"):
        write_json(place, {"n": 2})
    assert json.loads(place.read_text()) == {"n": 1}


def test_a_mask_tells_what_is_filled_and_what_lies_outside_the_lr_image(tmp_path):
    tree = scenes.site(n=60, targets=(5, 14), cloudy=0.2)
    target = group(tree, "target").isel(x=slice(2, None)).copy(deep=True)
    target.valid.values[:, :3, :3] = False
    tree = make_site(group(tree, "guide"), target)
    series = fuse(tree, method="difference")
    assert isinstance(series, xr.Dataset)
    out = fuse(tree, out=tmp_path / "out", method="difference", tile=32)
    valid, filled = series["valid"].values[0], series["filled"].values[0]
    expected = np.where(valid, np.where(filled, 2, 0), 1)
    # The LR image begins at the second LR pixel of five HR pixels each.
    expected[:, :10] = np.where(valid, 3, 1)[:, :10]
    day = str(series["time"].values[0])[:10]
    with rasterio.open(out / f"{day.replace('-', '')}_mask.tif") as source:
        np.testing.assert_array_equal(source.read(1), expected)
        assert source.tags()["SITSFUSE_MASK"].startswith("0 valid, 1 invalid, 2 filled")
    assert {0, 2, 3} <= set(np.unique(expected))
    record = disk.read_records(out)[day]
    assert record["outside_share"] == pytest.approx((expected == 3).mean(), abs=1e-6)
    assert record["filled_share"] == pytest.approx(np.isin(expected, (2, 3)).mean(), abs=1e-6)
    # Read again, what is filled is valid: it has a value.
    np.testing.assert_array_equal(open_series(out).valid.values[0], valid)


@pytest.mark.parametrize("corner", [(0.0, 0.0), (7.3, -12.6), (-3.5, 2.5)])
def test_pixels_inside_the_lr_image_are_those_whose_middle_is(corner):
    hr = GeoBox((40, 50), Affine(10, 0, 1000, 0, -10, 2000), "EPSG:32631")
    lr = GeoBox((6, 7), Affine(25, 0, 1000 + 10 * corner[0], 0, -25, 2000 - 10 * corner[1]), "EPSG:32631")
    rows, cols = GridPair(hr, lr).inside
    box = lr.boundingbox
    x, y = 1000 + 10 * (np.arange(50) + 0.5), 2000 - 10 * (np.arange(40) + 0.5)
    np.testing.assert_array_equal(np.arange(50)[cols], np.flatnonzero((x >= box.left) & (x < box.right)))
    np.testing.assert_array_equal(np.arange(40)[rows], np.flatnonzero((y > box.bottom) & (y <= box.top)))


def test_names_do_not_lie(tree, tmp_path):
    out = fuse(tree, out=tmp_path / "a.zarr", method="temporal")
    assert (out / "zarr.json").is_file()
    assert read_zarr(out)["reflectance"].shape[0] == len(group(tree, "target")["time"])
    for name, options, message in (
        ("a.tif", {}, "is named like a file"),
        ("b.zarr", {"format": "cog"}, "is named like a Zarr store"),
        ("c", {"format": "netcdf"}, "'netcdf' is unknown"),
    ):
        with pytest.raises(InputError, match=message):
            fuse(tree, out=tmp_path / name, method="temporal", **options)
    with pytest.raises(InputError, match="is an address"):
        fuse(tree, out="s3://bucket/out", method="temporal")


def test_what_is_read_is_never_an_output(tree, tmp_path):
    write_site(tree, tmp_path / "s.zarr")
    for place in ("s.zarr", "s.zarr/guide"):
        with pytest.raises(InputError, match="an input of this run"):
            fuse(tmp_path / "s.zarr", out=tmp_path / place, method="temporal", overwrite=True)
