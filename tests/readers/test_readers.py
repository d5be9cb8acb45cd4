"""Readers: what was written with plain rasterio or zarr comes back, lazily; what cannot be used says so."""

from __future__ import annotations

import os
import pickle
import shutil

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.series import CONTENT, geobox, make_series
from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.readers import image as images
from sitsfuse.readers import open_pair, open_series, open_site, raster, read_geotiffs, read_zarr, series_names
from sitsfuse.writers import create_series, write_series, write_site

INT = np.arange(2 * 6 * 8, dtype=np.int16).reshape(2, 6, 8)


# --- values ----------------------------------------------------------------------------------------------------


def test_scale_and_offset_are_per_band(tmp_path, tif):
    tif(tmp_path / "20200101.tif", INT, ["red", "nir"], scales=[1e-4, 0.5], offsets=[-0.1, 2.0])
    series = read_geotiffs(tmp_path)
    assert series.reflectance.dtype == np.float32
    np.testing.assert_allclose(series.reflectance[0, 0], INT[0] * 1e-4 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(series.reflectance[0, 1], INT[1] * 0.5 + 2.0, rtol=1e-6)
    assert series.valid.values.all()


def test_nodata_is_compared_with_raw_values_and_any_band_invalidates(tmp_path, tif):
    raw = INT + np.int16(7)
    raw[0, 1, 1] = -10000
    raw[1, 2, 3] = -10000
    # With the scale 2 and offset 0, raw −5000 becomes −10000: no nodata.
    raw[0, 4, 4] = -5000
    tif(tmp_path / "20200101.tif", raw, ["red", "nir"], nodata=-10000, scales=[2.0, 2.0])
    series = read_geotiffs(tmp_path).compute()
    expected = np.ones((6, 8), bool)
    expected[1, 1] = expected[2, 3] = False
    np.testing.assert_array_equal(series.valid[0], expected)
    assert np.isnan(series.reflectance.values[0, 0, 1, 1])
    assert series.reflectance.values[0, 1, 1, 1] == 2 * raw[1, 1, 1]  # the other band keeps its value
    assert series.reflectance.values[0, 0, 4, 4] == -10000


@pytest.mark.parametrize("nodata", [None, np.nan, -1.7976931348623157e308, -3.4028234663852886e38])
def test_floats_that_are_not_finite_are_invalid(tmp_path, tif, nodata):
    raw = INT.astype(np.float32)
    raw[0, 0, 0], raw[1, 0, 1] = np.nan, np.inf
    if nodata == -3.4028234663852886e38:
        raw[0, 3, 3] = nodata
    tif(tmp_path / "20200101.tif", raw, nodata=None if nodata == -1.7976931348623157e308 else nodata)
    image = raster.missing(raw, nodata)
    assert image[0, 0, 0]
    assert image[1, 0, 1]
    series = read_geotiffs(tmp_path).compute()
    bad = np.zeros((6, 8), bool)
    bad[0, 0] = bad[0, 1] = True
    bad[3, 3] = nodata == -3.4028234663852886e38
    np.testing.assert_array_equal(~series.valid.values[0], bad)
    assert np.isnan(series.reflectance.values[0, 1, 0, 1])


def test_mask_zero_is_clear_all_else_and_nodata_invalid(tmp_path, tif):
    tif(tmp_path / "20200101.tif", INT)
    mask = np.zeros((1, 6, 8), np.uint8)
    mask[0, 0, 0], mask[0, 0, 1], mask[0, 0, 2] = 1, 7, 255
    tif(tmp_path / "20200101_mask.tif", mask, nodata=255)
    series = read_geotiffs(tmp_path).compute()
    np.testing.assert_array_equal(series.valid.values[0], mask[0] == 0)
    # Values under the mask stay.
    np.testing.assert_array_equal(series.reflectance.values[0], INT)


def test_mask_inside_the_file(tmp_path, tif):
    path = tif(tmp_path / "20200101.tif", INT)
    inside = np.full((6, 8), 255, np.uint8)
    inside[2, 5] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as out:
        out.write_mask(inside)
    valid = read_geotiffs(tmp_path).valid.values[0]
    np.testing.assert_array_equal(valid, inside > 0)


def test_alpha_is_no_band(tmp_path, tif):
    raw = np.full((2, 6, 8), 200, np.uint8)
    raw[1, 0, :3] = 0
    tif(tmp_path / "20200101.tif", raw, photometric="minisblack", alpha="yes")
    series = read_geotiffs(tmp_path)
    assert list(series.band.values) == ["band1"]
    np.testing.assert_array_equal(series.valid.values[0], raw[1] > 0)


def test_grid_dates_and_products(tmp_path, tif):
    tif(tmp_path / "S2B_2020-03-05_x.TIF", INT, ["red", "nir"])
    tif(tmp_path / "A_20200101T101010_12345.tiff", INT, ["red", "nir"])
    for end in ("mask", "uncertainty", "weights"):
        tif(tmp_path / f"A_20200101T101010_12345_{end}.tif", INT[:1] * 0)
    series = read_geotiffs(tmp_path)
    assert [str(t)[:10] for t in series.time.values] == ["2020-01-01", "2020-03-05"]
    assert list(series.product.values) == ["A_20200101T101010_12345.tiff", "S2B_2020-03-05_x.TIF"]
    assert series.product.dtype == np.dtypes.StringDType()
    np.testing.assert_array_equal(series.x, 500005 + 10 * np.arange(8))
    np.testing.assert_array_equal(series.y, 3999995 - 10 * np.arange(6))
    assert geobox(series).crs.epsg == 32631


def test_uncertainty_is_read_if_every_date_has_one(tmp_path, tif):
    for day in ("20200101", "20200111"):
        tif(tmp_path / f"{day}.tif", INT, ["red", "nir"], scales=[1e-4] * 2)
        assert "uncertainty" not in read_geotiffs(tmp_path)
        tif(tmp_path / f"{day}_uncertainty.tif", INT // 2, ["red", "nir"], scales=[1e-4] * 2, nodata=0)
    sigma = read_geotiffs(tmp_path)["uncertainty"]
    assert sigma.dims == ("time", "band", "y", "x")
    np.testing.assert_allclose(sigma[1], np.where(INT // 2 == 0, np.nan, INT // 2 * 1e-4), rtol=1e-6)
    tif(tmp_path / "20200111_uncertainty.tif", INT[:, :5], ["red", "nir"])
    with pytest.raises(InputError, match="20200111_uncertainty"):
        read_geotiffs(tmp_path)


@pytest.mark.parametrize(
    ("name", "pattern", "date"),
    [
        ("MOD09_A2020046_h18.tif", "A%Y%j", "2020-02-15"),
        ("x_15-02-20.tif", "%d-%m-%y", "2020-02-15"),
        ("x_15feb2020.tif", "%d%b%Y", "2020-02-15"),
        ("T_20200215T1030.tif", "%Y%m%dT%H%M", "2020-02-15T10:30"),
        ("v2_d15_m02_y2020.tif", r"d(?P<day>\d+)_m(?P<month>\d+)_y(?P<year>\d+)", "2020-02-15"),
        ("20190101_for_20200215.tif", r"for_(?P<date>\d{8})", "2020-02-15"),
        ("for_2020-02-15_at_20190101.tif", r"for_(?P<date>[\d-]+)", "2020-02-15"),
        ("orbit99999999_20200215.tif", None, "2020-02-15"),  # the first that is a date
    ],
)
def test_date_patterns(tmp_path, tif, name, pattern, date):
    tif(tmp_path / name, INT)
    assert read_geotiffs(tmp_path, date_pattern=pattern).time.values[0] == np.datetime64(date, "ns")


@pytest.mark.parametrize(
    ("described", "bands", "names", "order"),
    [
        (None, None, ["band1", "band2"], [0, 1]),
        (["red", None], None, ["red", "band2"], [0, 1]),
        (None, ["red", "nir"], ["red", "nir"], [0, 1]),
        (["B4", "B8"], ["red", "nir"], ["red", "nir"], [0, 1]),
        (["red", "B8"], ["red", "nir"], ["red", "nir"], [0, 1]),
        (["red", "nir"], ["nir"], ["nir"], [1]),
        (["red", "nir"], ["nir", "red"], ["nir", "red"], [1, 0]),
        (["B4", "B8"], {"nir": "B8", "red": 1}, ["nir", "red"], [1, 0]),
        (["B4", "B8"], {"nir": "2"}, ["nir"], [1]),
    ],
)
def test_band_names(tmp_path, tif, described, bands, names, order):
    tif(tmp_path / "20200101.tif", INT, described and [d or "" for d in described])
    series = read_geotiffs(tmp_path, bands=bands)
    assert list(series.band.values) == names
    np.testing.assert_array_equal(series.reflectance.values[0], INT[order])


# --- laziness --------------------------------------------------------------------------------------------------


def _count_reads(monkeypatch) -> list[tuple[str, int]]:
    """File and number of pixels of every read of an image."""
    reads = []
    read = images.Image.read

    def counted(self, window):
        reads.append((self.path.name, window.height * window.width))
        return read(self, window)

    monkeypatch.setattr(images.Image, "read", counted)
    return reads


def test_opening_reads_no_pixels_and_a_window_reads_itself_only(tmp_path, tif, monkeypatch):
    big = np.arange(2 * 64 * 64, dtype=np.float32).reshape(2, 64, 64)
    for day in (1, 2):
        tif(tmp_path / f"2020010{day}.tif", big + day)
    reads = _count_reads(monkeypatch)
    clears = []
    monkeypatch.setattr(images.Image, "clear", lambda self, window: clears.append(1))
    series = read_geotiffs(tmp_path, chunk=32)
    assert series.reflectance.chunks == ((1, 1), (2,), (32, 32), (32, 32))
    assert series.valid.chunks == ((1, 1), (32, 32), (32, 32))
    part = series.reflectance.isel(time=1, y=slice(28, 36), x=slice(3, 9))
    assert not reads
    np.testing.assert_array_equal(part, big[:, 28:36, 3:9] + 2)
    assert sorted(reads) == [("20200102.tif", 4 * 6)] * 2  # two chunks, and of each what is asked for
    assert not clears


def test_without_nodata_valid_needs_no_pixels(tmp_path, tif, monkeypatch):
    tif(tmp_path / "20200101.tif", INT)
    valid = read_geotiffs(tmp_path).valid
    monkeypatch.setattr(images, "opened", lambda path: pytest.fail("reads a file"))
    assert valid.values.all()


@pytest.mark.parametrize(
    "key",
    [
        {"y": slice(None, None, -1)},
        {"y": slice(5, 1, -2), "x": [6, 0, 3]},
        {"time": [1, 0], "y": [0, 2, 5], "x": slice(1, 7, 3)},
        {"band": 1, "x": 4},
        {"time": 0, "band": [1], "y": [3], "x": [2, 5]},
        {"y": slice(2, 2)},
    ],
)
def test_any_index_means_what_it_means_in_numpy(tmp_path, tif, key):
    mask = np.zeros((1, 6, 8), np.uint8)
    mask[0, 2:4, 3:6] = 1
    for day in (1, 2):
        tif(tmp_path / f"2020010{day}.tif", INT * day)
        tif(tmp_path / f"2020010{day}_mask.tif", mask)
    lazy = read_geotiffs(tmp_path, chunk=4)
    xr.testing.assert_equal(lazy.isel(key).compute(), lazy.compute().isel(key))


def test_tasks_hold_paths_and_pickle(site_folder):
    series = open_series(site_folder / "guide")
    sent = pickle.dumps(series)
    assert len(sent) < 20_000
    xr.testing.assert_identical(pickle.loads(sent).compute(), series.compute())


def test_a_replaced_file_has_another_name_in_the_graph(tmp_path, tif):
    path = tif(tmp_path / "20200101.tif", INT)
    before = read_geotiffs(tmp_path).reflectance.data.name
    assert read_geotiffs(tmp_path).reflectance.data.name == before
    tif(path, INT + 1)
    os.utime(path, ns=(1, 1))
    assert read_geotiffs(tmp_path).reflectance.data.name != before


# --- errors ----------------------------------------------------------------------------------------------------


def _fails(match: str):
    return pytest.raises(InputError, match=match)


def test_missing_empty_and_wrong_folders(tmp_path, tif):
    with _fails(r"nowhere: does not exist; "):
        read_geotiffs(tmp_path / "nowhere")
    with _fails(r"nowhere: does not exist; "):
        open_series(tmp_path / "nowhere")
    with _fails(r"holds no GeoTIFF; .*YYYYMMDD"):
        read_geotiffs(tmp_path)
    tif(tmp_path / "20200101_mask.tif", INT)
    with _fails("holds no GeoTIFF"):
        read_geotiffs(tmp_path)
    with _fails(r"20200101_mask\.tif: is not a folder"):
        read_geotiffs(tmp_path / "20200101_mask.tif")
    with _fails("chunk: is 0"):
        read_geotiffs(tmp_path, chunk=0)


def test_dates_missing_or_twice(tmp_path, tif):
    tif(tmp_path / "20200101.tif", INT)
    tif(tmp_path / "x2020-01-01.tif", INT)
    with _fails(r"x2020-01-01\.tif: has the same date as 20200101\.tif \(2020-01-01\); keep one"):
        read_geotiffs(tmp_path)
    (tmp_path / "x2020-01-01.tif").rename(tmp_path / "dem_20201332.tif")
    with _fails(r"dem_20201332\.tif: has no date \(YYYYMMDD or YYYY-MM-DD\) in its name; rename"):
        read_geotiffs(tmp_path)
    with _fails(r"has no date matching 'A%Y%j'"):
        read_geotiffs(tmp_path, date_pattern="A%Y%j")


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        (r"(\d{8", "is not a regular expression"),
        (r"(\d{8})", "has no groups"),
        (r"(?P<year>\d{4})(?P<month>\d\d)", "has no groups"),
        ("%Y%q", "holds %q"),
        ("%Y%m", "gives no full date"),
        ("%m%d", "gives no full date"),
        ("%Y%d", "gives no full date"),
    ],
)
def test_bad_date_pattern(tmp_path, tif, pattern, match):
    tif(tmp_path / "20200101.tif", INT)
    with _fails(f"date_pattern: .*{match}"):
        read_geotiffs(tmp_path, date_pattern=pattern)


@pytest.mark.parametrize(
    ("bands", "match"),
    [
        ({"red": "B99"}, r"20200101\.tif: has no band 'B99' \(for 'red'; it has: B4, B8\); correct"),
        ({"red": 3}, "has no band 3"),
        ({"red": 0}, "has no band 0"),
        (["red"], r"has bands B4, B8, but the bands asked for are red; .*'red'"),
        (["B8", "red"], "asked for are B8, red"),
        (["red", "red"], "names a band twice"),
        ({}, "bands: is {}"),
        ("red,nir", "bands: is 'red,nir'"),
    ],
)
def test_bad_bands(tmp_path, tif, bands, match):
    tif(tmp_path / "20200101.tif", INT, ["B4", "B8"])
    with _fails(match):
        read_geotiffs(tmp_path, bands=bands)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"crs": "EPSG:32632"}, r"CRS EPSG:32632 differs from that of 20200101\.tif \(EPSG:32631\)"),
        ({"pixel": 20.0}, "lies on another grid than 20200101"),
        ({"origin": (500005.0, 4e6)}, r"lies on another grid than 20200101\.tif \(origin 500005 4000000"),
        ({"values": INT[:, :5]}, r"size 5×8 differs from that of 20200101\.tif \(6×8\)"),
        ({"bands": ["red", "blue"]}, r"has bands red, blue, but 20200101\.tif has red, nir"),
        ({"values": INT[:1], "bands": ["red"]}, r"has bands red, but 20200101\.tif has red, nir"),
        ({"bands": ["red", "red"]}, "names a band twice"),
        ({"crs": None}, "has no CRS"),
        ({"transform": Affine.identity()}, "has no geotransform"),
        ({"transform": Affine(10, 1, 5e5, 1, -10, 4e6)}, "has a rotated geotransform"),
        ({"values": INT.astype(np.complex64)}, "complex"),
    ],
)
def test_files_that_do_not_fit(tmp_path, tif, change, match):
    tif(tmp_path / "20200101.tif", INT, ["red", "nir"])
    change = {"values": INT, "bands": ["red", "nir"]} | change
    tif(tmp_path / "20200102.tif", **change)
    with _fails(r"20200102\.tif: .*" + match):
        read_geotiffs(tmp_path)


def test_masks_that_do_not_fit(tmp_path, tif):
    tif(tmp_path / "20200101.tif", INT)
    mask = tif(tmp_path / "20200101_mask.tif", INT[:1, :5] * 0)
    with _fails(r"20200101_mask\.tif: size 5×8 differs .*; resample the mask"):
        read_geotiffs(tmp_path)
    tif(mask, INT[:1] * 0, origin=(500010.0, 4e6))
    with _fails(r"20200101_mask\.tif: lies on another grid than 20200101\.tif"):
        read_geotiffs(tmp_path)
    tif(mask, INT[:1] * 0, nodata=0)
    with _fails("declares 0, which means clear, as nodata; unset"):
        read_geotiffs(tmp_path)
    mask.write_bytes(b"no tiff")
    with _fails(r"20200101_mask\.tif: cannot be read"):
        read_geotiffs(tmp_path)


@pytest.mark.parametrize("size", [0, 3, 100])
def test_unreadable_header(tmp_path, tif, size):
    path = tif(tmp_path / "20200101.tif", INT)
    path.write_bytes(path.read_bytes()[:size])
    with _fails(r"20200101\.tif: cannot be read .*; copy or download it again"):
        read_geotiffs(tmp_path)


def test_truncation_that_would_lose_the_scale(tmp_path, tif):
    # GDAL writes scale and descriptions behind the pixels, and only warns when they are cut off.
    path = tif(tmp_path / "20200101.tif", INT, ["red", "nir"], scales=[1e-4, 1e-4])
    path.write_bytes(path.read_bytes()[:-60])
    with _fails(r"20200101\.tif: cannot be read"):
        read_geotiffs(tmp_path)


def test_truncation_that_shows_only_on_reading(tmp_path, tif):
    noise = np.random.default_rng(0).integers(0, 9999, (1, 256, 256)).astype(np.int16)
    # The header lies in front, as in a download that broke off.
    path = tif(
        tmp_path / "20200101.tif", noise, nodata=-1, compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    series = read_geotiffs(tmp_path)
    np.testing.assert_array_equal(series.reflectance.isel(y=slice(0, 64), x=slice(0, 64))[0], noise[:, :64, :64])
    for name in ("reflectance", "valid"):
        with _fails(r"20200101\.tif: cannot be read"):
            series[name].compute()
        with _fails(r"20200101\.tif: cannot be read"), dask.config.set(scheduler="synchronous"):
            series[name].compute()


# --- Zarr ------------------------------------------------------------------------------------------------------


def test_zarr_chunks_are_shards_and_a_window_reads_inner_chunks(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((2, 2, 128, 128)).astype(np.float32)
    box = GeoBox((128, 128), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32631")
    write_series(
        make_series(values, values[:, 0] > 0.5, ["2020-01-01", "2020-01-02"], ["red", "nir"], box),
        tmp_path / "s.zarr",
        shard=64,
        chunk=16,
    )
    read = 0
    get = zarr.storage.LocalStore.get

    async def counted(self, key, prototype, byte_range=None):
        nonlocal read
        found = await get(self, key, prototype, byte_range)
        read += len(found) if found is not None and "/c/" in key and byte_range is not None else 0
        return found

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    series = read_zarr(tmp_path / "s.zarr")
    assert series.reflectance.chunks == ((1, 1), (2,), (64, 64), (64, 64))
    assert read == 0
    part = series.reflectance.isel(time=1, y=slice(60, 70), x=slice(60, 70))
    np.testing.assert_array_equal(part, values[1, :, 60:70, 60:70])
    inner, index = 2 * 16 * 16 * 4, 16 * 16 + 4
    assert 0 < read < 4 * (1.2 * inner + index)  # one inner chunk of each of four shards; a shard has 16


@pytest.mark.parametrize("damage", ["json", "coords", "no arrays", "no valid"])
def test_damaged_zarr(tmp_path, site_folder, damage):
    path = tmp_path / "s.zarr"
    write_series(open_series(site_folder / "guide"), path)
    if damage == "json":
        (path / "zarr.json").write_text("{")
    elif damage == "coords":
        shutil.rmtree(path / "x" / "c")
        (path / "reflectance" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"')
    else:
        for folder in path.iterdir():
            if folder.is_dir() and (damage == "no arrays" or folder.name == "valid"):
                shutil.rmtree(folder)
    with _fails(r"s\.zarr: (is a damaged Zarr|is a Zarr group without|has no variable 'valid')"):
        open_series(path)


def test_damaged_shard_shows_on_reading(tmp_path, site_folder):
    path = tmp_path / "s.zarr"
    write_series(open_series(site_folder / "guide"), path)
    shard = next(p for p in (path / "reflectance" / "c" / "1").rglob("*") if p.is_file())
    shard.write_bytes(shard.read_bytes()[:50])
    series = open_series(path)
    assert series.reflectance.isel(time=0).notnull().all()
    with _fails(r"s\.zarr/reflectance: holds a damaged chunk .*; write or copy it again"):
        series.compute()


def _assert_equal(found, wanted):
    """Equal but for the marks of the files that they come from."""
    xr.testing.assert_equal(found.drop_vars(CONTENT), wanted.drop_vars(CONTENT))


def test_zarr_series_pickles_and_any_index_works(tmp_path, site_folder):
    guide = open_series(site_folder / "guide").compute()
    write_series(guide, tmp_path / "s.zarr", shard=8, chunk=4)
    lazy = pickle.loads(pickle.dumps(open_series(tmp_path / "s.zarr")))
    for key in ({"time": 1}, {"y": slice(None, None, -3), "x": [7, 1]}, {"band": [1], "time": slice(2, 0, -1)}):
        _assert_equal(lazy.isel(key).compute(), guide.isel(key))


def test_a_store_that_xarray_wrote(tmp_path, site_folder):
    guide = open_series(site_folder / "guide").compute()
    guide.chunk(y=10, x=10).to_zarr(tmp_path / "s.zarr", consolidated=False)
    _assert_equal(open_series(tmp_path / "s.zarr").compute(), guide)


def test_no_zarr(tmp_path):
    with _fails("none: does not exist"):
        read_zarr(tmp_path / "none")
    with _fails("is not a Zarr store"):
        read_zarr(tmp_path)


# --- sites -----------------------------------------------------------------------------------------------------


def test_site_folder(site_folder):
    site = open_site(site_folder)
    assert site.attrs == {"name": "site", "ratio": 5.0}
    assert list(site.children) == ["guide", "target", "reference"]
    assert series_names(site_folder) == ["guide", "target", "reference"]
    assert series_names(site_folder / "guide") == []
    assert not group(site, "guide").valid.values[1, :5].any()
    assert group(site, "guide").reflectance.chunks is not None


def test_site_with_another_target(site_folder):
    (site_folder / "target").rename(site_folder / "target_x5")
    with _fails(r"site: has no target/ \(it holds guide, target_x5, reference\); choose a target: target_x5"):
        open_site(site_folder)
    site = open_site(site_folder, target="target_x5")
    assert set(site.children) == {"guide", "target", "reference"}


def test_site_errors_name_paths(site_folder, tif, tmp_path):
    with _fails(r"site: is a site, not a series \(it holds guide, target, reference\); give .*guide"):
        open_series(site_folder)
    with _fails(r"nowhere: does not exist"):
        open_site(tmp_path / "nowhere")
    target = site_folder / "target"
    with _fails(rf"{site_folder / 'guide'}: pixels \(10\) are not larger than the guide's \(50\); give the sharp"):
        open_pair(target, site_folder / "guide")
    (target / "20200606.tif").write_bytes(b"")
    with _fails(r"target/20200606\.tif: cannot be read"):
        open_site(site_folder)
    shutil.rmtree(target)
    tif(target / "20200601.tif", INT, ["red", "blue"], pixel=50.0)
    with _fails(rf"{target}: has bands red, blue but the guide has red, nir"):
        open_site(site_folder)
    tif(target / "20200601.tif", INT, ["red", "nir"], pixel=50.0, origin=(9e5, 4e6))
    with _fails(rf"{target}: does not overlap the guide"):
        open_site(site_folder)
    shutil.rmtree(site_folder / "guide")
    with _fails(r"site: has no guide/ \(it holds target, reference\); add .*guide"):
        open_site(site_folder)


def test_zarr_site(site_folder, tmp_path):
    site = open_site(site_folder)
    site.attrs["landscape"] = "crops"
    write_site(site, tmp_path / "made.zarr")
    again = open_site(tmp_path / "made.zarr")
    assert again.attrs == {"name": "site", "landscape": "crops", "ratio": 5.0}
    for name in site.children:
        _assert_equal(group(again, name).compute(), group(site, name).compute())
        _assert_equal(open_series(tmp_path / "made.zarr" / name).compute(), group(site, name).compute())
    with _fails("is a site"):
        open_series(tmp_path / "made.zarr")
    with _fails(r"has no target_x2/ \(it holds guide, target, reference\); choose a target: target"):
        open_site(tmp_path / "made.zarr", target="target_x2")


def test_open_series_passes_a_checked_series_through(site_folder):
    series = open_series(site_folder / "guide")
    assert open_series(series) is series
    with _fails("has no variable 'valid'"):
        open_series(series.drop_vars("valid"))
    site = open_pair(series, site_folder / "target")
    assert site.attrs["ratio"] == 5
    with _fails(r"^target: pixels"):
        open_pair(series, series)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "target", "ratio"),
    [
        ("s2_portugal_1", "target_x2.5", 2.5),
        ("s2_l8_belgium", "target", 1.5),
        ("l8_modis_ndvi", "target", 8),
        ("l7_modis_boreas", "target", 8),
    ],
)
def test_real_sites(real_data, name, target, ratio):
    site = open_site(real_data / name, target)
    assert site.attrs["ratio"] == pytest.approx(ratio)
    guide = group(site, "guide").isel(time=0).compute()
    path = real_data / name / "guide" / str(guide["product"].values)
    with rasterio.open(path) as source:
        raw = source.read()
    mask = path.with_name(path.stem + "_mask.tif")
    clear = rasterio.open(mask).read(1) == 0 if mask.exists() else True
    np.testing.assert_array_equal(guide.valid, (raw != -32768).all(axis=0) & clear)
    np.testing.assert_allclose(guide.reflectance, np.where(raw == -32768, np.nan, raw * 1e-4), atol=1e-7)


def test_created_but_empty_series_reads_as_invalid(tmp_path, site_folder):
    guide = open_series(site_folder / "guide")
    create_series(tmp_path / "e", times=guide.time.values, bands=["red", "nir"], geobox=geobox(guide))
    empty = open_series(tmp_path / "e").compute()
    assert not empty.valid.values.any()
    assert np.isnan(empty.reflectance.values).all()
