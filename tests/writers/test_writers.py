"""Writers: what is written is what plain zarr, xarray and rasterio read; nothing half-written keeps a final name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio._env import get_gdal_config
from rio_cogeo.cogeo import cog_validate

from sitsfuse.core.series import CONTENT, geobox, make_series
from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.operators.series import degrade
from sitsfuse.readers import open_series, open_site, read_geotiffs
from sitsfuse.writers import create_series, write_cog, write_geotiffs, write_region, write_series, write_site
from tests.helpers import scenes


def assert_same(found: xr.Dataset, wanted: xr.Dataset) -> None:
    """Equal but for the marks of the files that they come from."""
    without = [s.drop_vars(CONTENT, errors="ignore") for s in (found, wanted)]
    xr.testing.assert_equal(*without)


def _box(rows: int, cols: int) -> GeoBox:
    return GeoBox((rows, cols), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32631")


def _series(times: int = 2, rows: int = 12, cols: int = 10, chunks: tuple[int, ...] | None = None) -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = rng.random((times, 2, rows, cols)).astype(np.float32)
    values[0, 0, :2] = np.nan
    valid = rng.random((times, rows, cols)) > 0.3
    if chunks:
        values, valid = da.from_array(values, chunks), da.from_array(valid, (chunks[0], *chunks[2:]))
    dates = np.datetime64("2020-01-01") + 5 * np.arange(times)
    return make_series(values, valid, dates, ["red", "nir"], _box(rows, cols))


def _left_overs(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


# --- Zarr ------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    rows=st.integers(1, 20),
    cols=st.integers(1, 20),
    times=st.integers(1, 3),
    chunk=st.sampled_from([3, 8, 16]),
    factor=st.integers(1, 4),
    chunks=st.sampled_from([None, (1, 2, 7, 5), (2, 1, 64, 64)]),
)
def test_series_comes_back(tmp_path_factory, rows, cols, times, chunk, factor, chunks):
    path = tmp_path_factory.mktemp("z") / "s.zarr"
    series = _series(times, rows, cols, chunks)
    write_series(series, path, shard=chunk * factor, chunk=chunk)
    assert_same(open_series(path).compute(), series.compute())


@settings(max_examples=15)
@given(
    rows=st.integers(1, 17),
    cols=st.integers(1, 17),
    chunk=st.integers(2, 6),
    factor=st.integers(1, 3),
    tile=st.integers(1, 3),
    data=st.data(),
)
def test_regions_equal_plain_assignment(tmp_path_factory, rows, cols, chunk, factor, tile, data):
    path = tmp_path_factory.mktemp("z") / "s.zarr"
    shard = chunk * factor
    create_series(
        path,
        times=["2020-01-01", "2020-01-02"],
        bands=["red", "nir"],
        geobox=_box(rows, cols),
        shard=shard,
        chunk=chunk,
    )
    truth = np.full((2, 2, rows, cols), np.nan, np.float32)
    clear = np.zeros((2, rows, cols), bool)
    side = shard * tile
    regions = [(t, y, x) for t in range(2) for y in range(0, rows, side) for x in range(0, cols, side)]
    for t, top, left in data.draw(st.lists(st.sampled_from(regions), unique=True, max_size=6)):
        y, x = slice(top, min(top + side, rows)), slice(left, min(left + side, cols))
        values = np.random.default_rng(top + left).random((2, y.stop - y.start, x.stop - x.start), np.float32)
        truth[t, :, y, x], clear[t, y, x] = values, values[0] > 0.5
        write_region(path, {"reflectance": values, "valid": values[0] > 0.5}, t, y, x)
    series = open_series(path).compute()
    np.testing.assert_array_equal(series.reflectance, truth)
    np.testing.assert_array_equal(series.valid, clear)


def test_regions_must_be_whole_shards(tmp_path):
    create_series(tmp_path / "s", times=["2020-01-01"], bands=["b"], geobox=_box(20, 20), shard=8, chunk=4)
    values = np.zeros((1, 8, 8), np.float32)
    for y, x in ((slice(4, 12), slice(0, 8)), (slice(0, 8), slice(8, 12)), (slice(0, 8), slice(1, 20))):
        with pytest.raises(ValueError, match="cuts shards of 8"):
            write_region(tmp_path / "s", {"reflectance": values}, 0, y, x)
    write_region(tmp_path / "s", {"reflectance": values[:, :4, :4]}, 0, slice(16, 20), slice(16, 20))
    with pytest.raises(InputError, match=r"nowhere: cannot be written"):
        write_region(tmp_path / "nowhere", {"reflectance": values}, 0, slice(0, 8), slice(0, 8))


def test_many_threads_write_one_store(tmp_path):
    path = tmp_path / "s.zarr"
    create_series(path, times=["2020-01-01", "2020-01-02"], bands=["b"], geobox=_box(64, 64), shard=16, chunk=8)
    truth = np.random.default_rng(0).random((2, 1, 64, 64)).astype(np.float32)

    def write(region):
        t, y, x = region
        y, x = slice(y, y + 16), slice(x, x + 16)
        write_region(path, {"reflectance": truth[t][:, y, x]}, t, y, x)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [(t, y, x) for t in range(2) for y in range(0, 64, 16) for x in range(0, 64, 16)]))
    np.testing.assert_array_equal(open_series(path).reflectance, truth)


def test_extra_variables_with_their_own_dimension(tmp_path):
    guides = np.array(["2020-01-01", "2020-02-01"], "datetime64[ns]")
    weight = ("time", "guide_time", "band", "y", "x")
    create_series(
        tmp_path / "s",
        times=["2020-01-11"],
        bands=["red", "nir"],
        geobox=_box(20, 20),
        variables={
            "uncertainty": (("time", "band", "y", "x"), np.float32, {"long_name": "1 sigma"}),
            "weight": (weight, np.float32),
            "done": (("time",), np.int16),
        },
        coords={"guide_time": (("guide_time",), guides), "product": (("time",), ["a.tif"])},
        attrs={"provenance": {"seed": np.int64(1), "n": np.nan, "at": guides[0]}, "mtf": np.float32([0.25, 0.5])},
        shard=8,
        chunk=4,
    )
    values = np.random.default_rng(0).random((2, 2, 8, 4)).astype(np.float32)
    write_region(tmp_path / "s", {"weight": values, "done": 3}, 0, slice(8, 16), slice(16, 20))
    series = open_series(tmp_path / "s").compute()
    np.testing.assert_array_equal(series.weight[0, :, :, 8:16, 16:20], values)
    assert series.weight.dims == weight
    assert np.isnan(series.weight[0, :, :, :8]).all()
    np.testing.assert_array_equal(series.guide_time, guides)
    assert list(series.product.values) == ["a.tif"]
    assert series.done.values == [3]
    assert series.uncertainty.attrs["long_name"] == "1 sigma"
    assert series.attrs["provenance"] == {"seed": 1, "n": "nan", "at": "2020-01-01T00:00:00.000000000"}
    assert series.attrs["mtf"] == [0.25, 0.5]
    with pytest.raises(ValueError, match="'lag'"):
        create_series(
            tmp_path / "t", times=guides, bands=["b"], geobox=_box(2, 2), variables={"w": (("lag",), np.float32)}
        )
    with pytest.raises(InputError, match="cannot hold w, which is datetime64"):
        create_series(
            tmp_path / "t", times=guides, bands=["b"], geobox=_box(2, 2), variables={"w": (("time",), "datetime64[ns]")}
        )


def test_extras_and_coordinates_of_a_series_ride_along(tmp_path):
    series = _series(chunks=(1, 2, 5, 5))
    series["uncertainty"] = (series.reflectance * 0.1).assign_attrs(units="1")
    series["gain"] = (("time", "band"), np.ones((2, 2)))
    series["seed"] = ((), np.int64(4))
    series = series.assign_coords(shift_x=("time", [0.5, -1.0]), platform=("time", np.array(["S2A", "S2B"])))
    write_series(series, tmp_path / "s.zarr")
    again = open_series(tmp_path / "s.zarr").compute()
    assert_same(again.drop_vars("platform"), series.compute().drop_vars("platform"))
    assert list(again.platform.values) == ["S2A", "S2B"]
    assert again.uncertainty.attrs["units"] == "1"


def test_layout_and_that_other_tools_read_it_without_a_warning(tmp_path):
    write_series(_series(1, 300, 70), tmp_path / "s.zarr", shard=128, chunk=64)
    array = zarr.open_array(tmp_path / "s.zarr" / "reflectance", mode="r")
    assert array.metadata.zarr_format == 3
    assert array.chunks == (1, 2, 64, 64)
    assert array.shards == (1, 2, 128, 128)
    small = zarr.open_array(tmp_path / "s.zarr" / "valid", mode="r")
    assert small.dtype == bool
    write_series(_series(1, 12, 10), tmp_path / "t.zarr")
    assert zarr.open_array(tmp_path / "t.zarr" / "reflectance", mode="r").chunks == (1, 2, 12, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # of odc-geo with affine 3
        series = xr.open_zarr(tmp_path / "s.zarr")
        assert series.odc.geobox == geobox(_series(1, 300, 70))
        assert series.reflectance.odc.crs.epsg == 32631
        assert series.spatial_ref.attrs["crs_wkt"]


def test_site_as_one_store(tmp_path, site_folder):
    site = open_site(site_folder)
    write_site(site, tmp_path / "s.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        for name in ("guide", "target", "reference"):
            assert_same(xr.open_zarr(tmp_path / "s.zarr", group=name).compute(), group(site, name).compute())
    tree = xr.open_datatree(tmp_path / "s.zarr", engine="zarr")
    assert tree.attrs == {"name": "site", "ratio": 5.0}


def test_a_site_that_is_degraded_lazily(tmp_path):
    raw = _series(times=3).assign_coords(gain=(("time", "band"), np.arange(6.0).reshape(3, 2)))
    write_series(raw, tmp_path / "raw.zarr")
    lazy = open_series(tmp_path / "raw.zarr")
    coarse = GeoBox((6, 5), geobox(raw).affine * Affine.scale(2), "EPSG:32631")
    low = degrade(lazy, coarse)
    # A user's chunks of a coordinate need not be those of the images.
    mixed = low.assign_coords(gain=low["gain"].chunk(time=2))
    write_site(xr.DataTree.from_dict({"a": low, "b": mixed}), tmp_path / "low.zarr")
    for name in ("a", "b"):
        back = open_series(tmp_path / "low.zarr" / name).compute()
        np.testing.assert_array_equal(back["reflectance"], low["reflectance"])
        np.testing.assert_array_equal(back["gain"], raw["gain"])


def test_overwriting_only_if_asked(tmp_path):
    path = tmp_path / "s.zarr"
    write_series(_series(), path)
    for call in (
        lambda: write_series(_series(3), path),
        lambda: write_site(xr.DataTree.from_dict({"guide": _series()}), path),
        lambda: create_series(path, times=["2020-01-01"], bands=["b"], geobox=_box(2, 2)),
    ):
        with pytest.raises(InputError, match=r"s\.zarr: exists; choose another place or overwrite=True"):
            call()
    # Even with a lazy reading of the very same place.
    longer = open_series(path)
    longer["reflectance"] = longer.reflectance * 2
    expected = longer.compute()
    write_series(longer, path, overwrite=True)
    assert_same(open_series(path).compute(), expected)
    create_series(path, times=["2021-01-01"], bands=["b"], geobox=_box(2, 2), overwrite=True)
    assert open_series(path).sizes["time"] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    for call in (
        lambda: write_series(_series(), tmp_path / "mine", overwrite=True),
        lambda: create_series(tmp_path / "mine", times=["2020"], bands=["b"], geobox=_box(2, 2), overwrite=True),
    ):
        with pytest.raises(InputError, match="is not a Zarr store and is not deleted"):
            call()
    assert (tmp_path / "mine" / "precious.txt").exists()
    # Nor what else lies in a store.
    for foreign in ("notes.txt", ".sitsfuse/run.json", "fused/zarr.json"):
        (path / foreign).parent.mkdir(exist_ok=True)
        (path / foreign).write_text('{"node_type": "group"}')
        with pytest.raises(InputError, match=rf"holds {foreign.partition('/')[0]}, which is not of a series or a site"):
            write_series(_series(), path, overwrite=True)
        assert (path / foreign).read_text() == '{"node_type": "group"}'
        shutil.rmtree(path / foreign.partition("/")[0]) if "/" in foreign else (path / foreign).unlink()
    assert not _left_overs(tmp_path)


def test_a_failure_leaves_nothing_and_keeps_the_old(tmp_path, site_folder):
    write_series(_series(), tmp_path / "s.zarr")
    guide = open_series(site_folder / "guide")
    (site_folder / "guide" / "20200621.tif").write_bytes(b"")
    for path in (tmp_path / "s.zarr", tmp_path / "new.zarr"):
        with pytest.raises(InputError, match=r"20200621\.tif: cannot be read"):
            write_series(guide, path, overwrite=True)
    assert_same(open_series(tmp_path / "s.zarr").compute(), _series())
    assert not (tmp_path / "new.zarr").exists()
    assert not _left_overs(tmp_path)


def test_bad_places_and_sizes(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "s.zarr", Path("/proc/nowhere/s.zarr")):
        with pytest.raises(InputError, match=r"s\.zarr: cannot be written"):
            write_series(_series(), path)
        with pytest.raises(InputError, match=r"s\.zarr: cannot be written"):
            create_series(path, times=["2020-01-01"], bands=["b"], geobox=_box(2, 2))
        with pytest.raises(InputError, match=r"a\.tif: cannot be written"):
            write_cog(path.with_name("a.tif"), np.zeros((1, 2, 2), np.float32), _box(2, 2), ["b"])
    for shard, chunk in ((100, 64), (0, 1), (64, 0)):
        with pytest.raises(InputError, match="is not a multiple of chunk"):
            write_series(_series(), tmp_path / "s.zarr", shard=shard, chunk=chunk)


def test_each_source_chunk_is_computed_once(tmp_path):
    seen = []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        seen.append(where)
        return np.zeros([b - a for a, b in where], np.float32)

    chunks = ((2, 2), (2,), (20, 12), (20, 12))
    series = _series(4, 32, 32)
    lazy = da.map_blocks(block, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
    series["reflectance"] = (series.reflectance.dims, lazy)
    write_series(series, tmp_path / "s.zarr", shard=20, chunk=4)
    assert len(seen) == len(np.unique(np.array(seen).reshape(len(seen), -1), axis=0)) == 8


# --- GeoTIFF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", ["numpy", "dask", "xarray", "zarr"])
@pytest.mark.parametrize("size", [(7, 5), (700, 530)])
def test_cog_is_valid_and_holds_the_values(tmp_path, lazy, size):
    values = np.random.default_rng(0).normal(0.2, 0.1, (2, *size)).astype(np.float32)
    values[0, :3] = np.nan
    given_as = {
        "numpy": lambda: values,
        "dask": lambda: da.from_array(values, (1, 100, 100)),
        "xarray": lambda: xr.DataArray(values, dims=("band", "y", "x")),
        "zarr": lambda: zarr.array(values, chunks=(1, 100, 100)),
    }[lazy]()
    path = tmp_path / "new" / "a.tif"
    write_cog(path, given_as, _box(*size), ["red", "nir"], tags={"version": "1", "guides": ["a", "b"]}, block=512)
    assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(source.read(), values)
        assert source.descriptions == ("red", "nir")
        assert np.isnan(source.nodata)
        assert source.crs.to_epsg() == 32631
        assert source.transform == Affine(10, 0, 5e5, 0, -10, 4e6)
        assert source.tags()["version"] == "1"
        assert source.tags()["guides"] == '["a", "b"]'
        assert source.compression.value == "ZSTD"
    assert not _left_overs(path.parent)


def test_gdal_keeps_blocks_while_a_cog_is_written(tmp_path):
    """rasterio takes bytes: 256, meant as megabytes, had every block decoded again for each row that was read."""
    seen = []

    def look(_source):
        seen.append(get_gdal_config("GDAL_CACHEMAX"))
        return ""

    write_cog(tmp_path / "a.tif", np.ones((1, 20, 20), np.float32), _box(20, 20), ["red"], style=look)
    assert 64 * 2**20 <= seen[0] <= 512 * 2**20


def test_cog_int16(tmp_path):
    values = np.random.default_rng(0).normal(0.2, 0.1, (1, 60, 50)).astype(np.float32)
    values[0, 0, :4] = np.nan, 4.0, -9.0, 3.2767
    write_cog(tmp_path / "a.tif", values, _box(60, 50), ["red"], int16=True)
    assert cog_validate(tmp_path / "a.tif", strict=True, quiet=True)[0]
    with rasterio.open(tmp_path / "a.tif") as source:
        raw = source.read(1)
        assert (source.scales, source.nodata, source.dtypes) == ((1e-4,), -32768, ("int16",))
    assert list(raw[0, :4]) == [-32768, 32767, -32767, 32767]
    np.testing.assert_array_equal(raw[1:], np.rint(values[0, 1:].astype(np.float64) * 1e4))
    with pytest.raises(InputError, match=r"b\.tif: 100 % of the values do not fit int16 × 1e-4; write float32"):
        write_cog(tmp_path / "b.tif", values[:, 1:] + 290, _box(59, 50), ["kelvin"], int16=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif"]


def test_cog_of_integers_that_were_int16_is_exact(tmp_path):
    raw = np.arange(-32767, 32768, dtype=np.int32)
    values = (raw * 1e-4).astype(np.float32).reshape(1, 5, -1)
    write_cog(tmp_path / "a.tif", values, _box(*values.shape[1:]), ["red"], int16=True)
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(1).ravel(), raw)


def test_cog_mask_and_other_nodata(tmp_path):
    mask = np.random.default_rng(0).random((1, 600, 600)) > 0.5
    write_cog(tmp_path / "m.tif", mask, _box(600, 600), ["mask"])
    with rasterio.open(tmp_path / "m.tif") as source:
        assert source.dtypes == ("uint8",)
        assert source.nodata is None
        np.testing.assert_array_equal(source.read(), mask)
        assert set(np.unique(source.read(out_shape=(1, 300, 300)))) <= {0, 1}
    values = np.array([[[1.5, np.nan]]], np.float32)
    write_cog(tmp_path / "n.tif", values, _box(1, 2), ["b"], nodata=-9999)
    with rasterio.open(tmp_path / "n.tif") as source:
        assert source.nodata == -9999
        assert source.read().tolist() == [[[1.5, -9999]]]
    with pytest.raises(ValueError, match="2 bands"):
        write_cog(tmp_path / "n.tif", values, _box(1, 2), ["a", "b"])


def test_cog_reads_a_lazy_image_block_by_block(tmp_path):
    sizes = []

    class Image:
        shape, dtype = (2, 300, 200), np.dtype(np.float32)

        def __getitem__(self, key):
            _, y, x = key
            part = np.broadcast_to(np.arange(*y.indices(300)[:2])[:, None], (2, y.stop - y.start, x.stop - x.start))
            sizes.append(part.size)
            return part.astype(np.float32)

    write_cog(tmp_path / "a.tif", Image(), _box(300, 200), ["a", "b"], block=128)
    assert max(sizes) == 2 * 128 * 128
    with rasterio.open(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read(2), np.broadcast_to(np.arange(300)[:, None], (300, 200)))


def test_full_disk(tmp_path):
    """A limit on the size of a file stands for the full disk; whatever gets lost, no file must keep its final name."""
    script = textwrap.dedent("""
        import resource, sys, numpy as np
        from affine import Affine
        from odc.geo.geobox import GeoBox
        from sitsfuse.errors import InputError
        from sitsfuse.core.series import make_series
        from sitsfuse.writers import write_cog, write_series

        n, folder = 300, sys.argv[1]
        box = GeoBox((n, n), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32631")
        values = np.random.default_rng(0).random((1, n, n)).astype(np.float32)
        series = make_series(values[None], values > 0.5, ["2020-01-01"], ["red"], box)
        for limit in (300, 20_000, 300_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            for write in (lambda: write_cog(folder + "/a.tif", values, box, ["red"]),
                          lambda: write_series(series, folder + "/s.zarr")):
                try:
                    write()
                except InputError as error:
                    print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "written" in line]
    assert len(lines) == 6, done.stdout
    assert all(": c" in line and "free space" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("int16", [True, False])
def test_geotiffs_come_back(tmp_path, int16):
    series = _series(chunks=(1, 2, 6, 6))
    write_geotiffs(series, tmp_path / "s", int16=int16)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "20200101.tif", "20200101_mask.tif", "20200106.tif", "20200106_mask.tif",
    ]  # fmt: skip
    again = read_geotiffs(tmp_path / "s").compute()
    there = np.isfinite(series.reflectance).all("band")
    np.testing.assert_array_equal(again.valid, series.valid & there)
    np.testing.assert_allclose(again.reflectance, series.reflectance, atol=5.1e-5 if int16 else 0)
    assert geobox(again) == geobox(series)
    assert list(again.band.values) == ["red", "nir"]
    with rasterio.open(tmp_path / "s" / "20200106_mask.tif") as source:
        np.testing.assert_array_equal(source.read(1), ~series.valid.values[1])
    with pytest.raises(InputError, match=r"20200101\.tif: exists"):
        write_geotiffs(series, tmp_path / "s")
    write_geotiffs(series, tmp_path / "s", overwrite=True)


def test_two_images_of_one_day_have_no_two_names(tmp_path):
    series = _series()
    series["time"] = np.array(["2020-01-01T10:00", "2020-01-01T18:00"], "datetime64[ns]")
    with pytest.raises(InputError, match="cannot hold two images of 20200101"):
        write_geotiffs(series, tmp_path / "s")


@pytest.mark.filterwarnings("ignore")
def test_a_store_opens_in_chunks_and_says_what_it_holds(tmp_path):
    tree = scenes.site()
    series = tree["guide"].to_dataset().assign_coords(product=("time", ["a", "b", "c", "d", "e"]))
    series["gain"] = (("time", "band"), np.ones((5, 2), np.float32))
    write_series(series.set_coords("gain"), tmp_path / "a.zarr")
    opened = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    assert opened.chunks["time"] == (1,) * 5
    assert opened.attrs["Conventions"].startswith("CF-")
    assert opened["reflectance"].attrs["units"] == "1"
    assert opened["reflectance"].encoding.get("grid_mapping", opened["reflectance"].attrs.get("grid_mapping"))
    np.testing.assert_array_equal(opened["reflectance"].values, series["reflectance"].values)
