"""Of two sources of truth that contradict each other none is believed in silence; nothing is dropped without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.shutil import copy

from sitsfuse.core.loading import read
from sitsfuse.errors import InputError, shortened
from sitsfuse.readers import open_series, read_geotiffs, read_zarr
from sitsfuse.readers.products import read_products
from sitsfuse.readers.products.archive import Archive, verify
from sitsfuse.writers import write_series
from tests.helpers.make_landsat import make_landsat
from tests.helpers.make_muscate import make_muscate
from tests.helpers.make_planet import make_planet
from tests.helpers.make_safe import make_safe

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(500, 5000, (2, 12, 10)).astype(np.int16)
SCALED = {"scales": [1e-4, 1e-4], "offsets": [0.0, 0.0]}


def notes(series):
    return " | ".join(series.attrs.get("notes", ()))


# --- B: companions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}_refl", "{}_mask"),
        ("{}", "{}_cloud_mask"),
        ("S2_{}_B", "S2_{}_mask"),
        ("{}", "masks/{}"),
        ("{}", "masks/{}_mask"),
    ],
)
def test_the_only_mask_of_a_date_is_its_images_and_that_is_said(tmp_path, tif, image, mask):
    cloud = np.zeros((1, 12, 10), np.uint8)
    cloud[0, 2:5, 3:9] = 1
    for day in ("20200101", "20200105"):
        tif(tmp_path / (image.format(day) + ".tif"), IMAGE)
        tif(tmp_path / (mask.format(day) + ".tif"), cloud)
    series = read_geotiffs(tmp_path)
    np.testing.assert_array_equal(series.valid.values, np.broadcast_to(cloud[0] == 0, (2, 12, 10)))
    assert "masks matched by their dates" in notes(series)


def test_a_mask_without_an_image_is_named(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE)
    tif(tmp_path / "20200202_mask.tif", np.zeros((1, 12, 10), np.uint8))
    assert "left out: 20200202_mask.tif: mask without an image" in notes(read_geotiffs(tmp_path))


def test_two_masks_of_one_date_are_refused(tmp_path, tif):
    tif(tmp_path / "a_20200101.tif", IMAGE)
    for name in ("b", "c"):
        tif(tmp_path / f"{name}_20200101_mask.tif", np.zeros((1, 12, 10), np.uint8))
    with pytest.raises(InputError, match=r"c_20200101_mask.tif: and b_20200101_mask.tif are masks of one date"):
        read_geotiffs(tmp_path)


def test_uncertainties_of_some_dates_only_are_named(tmp_path, tif):
    for day in ("20200101", "20200105"):
        tif(tmp_path / f"{day}.tif", IMAGE)
    tif(tmp_path / "20200101_uncertainty.tif", IMAGE)
    assert "uncertainties, which only 1 of 2 dates have" in notes(read_geotiffs(tmp_path))


@pytest.mark.parametrize(
    ("driver", "suffix"), [("JP2OpenJPEG", "jp2"), ("VRT", "vrt"), ("ENVI", "dat"), ("HFA", "img")]
)
def test_dates_in_other_formats_are_read(tmp_path, tif, driver, suffix):
    tif(tmp_path / "20200101.tif", IMAGE, **SCALED)
    source = tif(tmp_path / "aside" / "x.tif", IMAGE + 7, **SCALED)
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if suffix == "jp2" else {}
    copy(source, tmp_path / f"20200105.{suffix}", driver=driver, **options)
    with rasterio.open(tmp_path / f"20200105.{suffix}", "r+" if suffix in ("dat", "img") else "r") as out:
        if suffix in ("dat", "img"):
            out.scales = (1e-4, 1e-4)
    with rasterio.open(tmp_path / f"20200105.{suffix}") as plain:
        truth = plain.read() * np.array(plain.scales)[:, None, None]
    series = read_geotiffs(tmp_path)
    np.testing.assert_allclose(series.reflectance.values[1], truth, rtol=1e-6)
    np.testing.assert_allclose(truth, (IMAGE + 7) * 1e-4, rtol=1e-6)


def test_pages_are_counted(tmp_path, tif):
    one = tif(tmp_path / "aside.tif", IMAGE[:1])
    for k in range(3):
        copy(one, tmp_path / "20200101.tif", driver="GTiff", APPEND_SUBDATASET="YES" if k else "NO")
    one.unlink()
    with pytest.raises(InputError, match=r"20200101.tif: holds 3 rasters"):
        read_geotiffs(tmp_path)


# --- D, E: validity told in other ways; absurd numbers ------------------------------------------------------------


def test_nodata_with_few_digits_and_numbers_beyond_measure(tmp_path, tif):
    raw = (IMAGE * 1e-4).astype(np.float32)
    raw[0, 0, :4] = np.finfo(np.float32).min, 1e30, np.inf, -9999.9
    path = tif(tmp_path / "20200101.tif", raw, nodata=-9999.900390625)
    series = read_geotiffs(tmp_path)
    expected = np.ones((12, 10), bool)
    expected[0, :4] = False
    np.testing.assert_array_equal(series.valid.values[0], expected)
    with rasterio.open(path, "r+") as out:
        out.nodata = -3.40282e38
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0, 0, :4], [False, False, False, True])


def test_in_memory_numbers_beyond_measure_are_not_valid(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE, **SCALED)
    series = read_geotiffs(tmp_path).compute()
    series.reflectance.values[0, 1, 3, 4] = 3e38
    part = read(series, (slice(None), slice(None)))
    assert not part.valid.values[0, 3, 4]
    assert part.valid.values.sum() == 119


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", None), ("uint16", 0), ("float32", None), ("float32", np.nan), ("float32", -9999)]
)
def test_alpha_is_a_mask_whatever_gdal_makes_of_it(tmp_path, tif, dtype, nodata):
    gone = np.zeros((12, 10), bool)
    gone[2:5, 3:9] = True
    alpha = np.where(gone, 0, 1 if dtype == "float32" else 65535)
    path = tif(tmp_path / "20200101.tif", np.concatenate([IMAGE, alpha[None]]).astype(dtype), nodata=nodata)
    with rasterio.open(path, "r+") as out:
        out.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    series = read_geotiffs(tmp_path)
    np.testing.assert_array_equal(series.valid.values[0], ~gone)
    assert series.sizes["band"] == 2


# --- F, L: products ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [make_safe, make_landsat, make_muscate, make_planet])
def test_hidden_files_are_no_part_of_a_product(tmp_path, make):
    make(tmp_path)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    products, problems = read_products(tmp_path)
    assert (len(products), problems) == (1, [])


def test_what_macos_adds_to_an_archive(tmp_path):
    (tmp_path / "src").mkdir()
    product = make_landsat(tmp_path / "src")
    with zipfile.ZipFile(tmp_path / f"{product.name}.zip", "w") as archive:
        for file in sorted(product.rglob("*")):
            archive.write(file, file.relative_to(tmp_path / "src"))
            archive.writestr(f"__MACOSX/{product.name}/._{file.name}", b"Mac OS X")
    products, problems = read_products(tmp_path / f"{product.name}.zip")
    assert (len(products), problems) == (1, [])


def test_a_damaged_member_of_a_zip_is_named_before_it_is_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("good.tif", b"x" * 1000)
        archive.writestr("bad.tif", b"y" * 1000)
    data = bytearray(path.read_bytes())
    data[data.index(b"yyyy") + 500] ^= 1
    path.write_bytes(bytes(data))
    where = Archive.of(path)
    verify(where.gdal("good.tif"), path)
    with pytest.raises(InputError, match=r"a.zip/bad.tif: is damaged \(Bad CRC-32"):
        verify(where.gdal("bad.tif"), path)


# --- G: several products of one day ------------------------------------------------------------------------------


def test_halves_of_a_tile_are_one_image(tmp_path):
    def half(side, second):
        def numbers(name, rows, n):
            out = np.tile(np.arange(n, dtype=np.uint16) * (60 // n) + 2000, (n, 1))[rows]
            out[:, n // 2 :] = 0 if side == "left" else out[:, n // 2 :]
            out[:, : n // 2] = 0 if side == "right" else out[:, : n // 2]
            return out

        scl = np.full((30, 30), 4, np.uint8)
        scl[:, 15:] = 0 if side == "left" else 4
        scl[:, :15] = 0 if side == "right" else 4
        stamp = f"2023-09-06T11:37:{second}.779144Z"
        make_safe(tmp_path, numbers, scl, size=60, time=stamp, start=stamp.replace("11:37", "11:21"))

    half("left", 14)
    half("right", 18)
    series = open_series(tmp_path, bands=["B4"], dilation=0)
    assert series.sizes["time"] == 1
    assert series.valid.values.all()
    np.testing.assert_allclose(
        series.reflectance.values[0, 0], np.tile(np.arange(60) + 1000, (60, 1)) * 1e-4, rtol=1e-5
    )
    assert "of the same day" in notes(series)


# --- H, I, N, O, P: Zarr --------------------------------------------------------------------------------------------


def cube(tmp_path, **encoding):
    values = (IMAGE[None] * 1e-4).astype(np.float32)
    spatial = xr.Variable((), 0, {"crs_wkt": rasterio.crs.CRS.from_epsg(32631).to_wkt()})
    coords = {
        "time": np.array(["2020-01-01"], "datetime64[ns]"),
        "band": ["red", "nir"],
        "x": 500005 + 10.0 * np.arange(10),
        "y": 3999995 - 10.0 * np.arange(12),
        "spatial_ref": spatial,
    }
    return xr.Dataset(
        {
            "reflectance": (("time", "band", "y", "x"), values),
            "valid": (("time", "y", "x"), np.ones((1, 12, 10), bool)),
        },
        coords,
    )


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda c: c, {"reflectance": {"dtype": "int16", "scale_factor": 1e-4, "_FillValue": -32768}}),
        (lambda c: c.assign(reflectance=c.reflectance.astype(np.float64)), {}),
        (lambda c: c.assign(valid=c.valid.astype(np.uint8)), {}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_lossless_types_are_cast(tmp_path, change, encoding):
    change(cube(tmp_path)).to_zarr(tmp_path / "a.zarr", encoding=encoding, consolidated=False)
    series = read_zarr(tmp_path / "a.zarr")
    assert (series.reflectance.dtype, series.valid.dtype) == (np.float32, bool)
    np.testing.assert_allclose(series.reflectance.values[0], IMAGE * 1e-4, rtol=1e-6)
    assert series.valid.values.all()


@pytest.mark.parametrize(("left", "said"), [(500000, False), (500005, True), (499900, False)])
@pytest.mark.filterwarnings("ignore")
def test_coordinates_half_a_pixel_from_their_transform_are_warned_of(tmp_path, left, said):
    data = cube(tmp_path)
    data.spatial_ref.attrs["GeoTransform"] = f"{left} 10 0 4000000 0 -10"
    data.to_zarr(tmp_path / "a.zarr", consolidated=False)
    assert ("x lies -0.50 pixels" in notes(read_zarr(tmp_path / "a.zarr"))) == said


@pytest.fixture
def stored(tmp_path, tif):
    for day in ("20200101", "20200105"):
        tif(tmp_path / "tifs" / f"{day}.tif", IMAGE, **SCALED)
        tif(tmp_path / "tifs" / f"{day}_mask.tif", np.ones((1, 12, 10), np.uint8))
    write_series(open_series(tmp_path / "tifs"), tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("variable", ["reflectance", "valid"])
@pytest.mark.parametrize("damage", ["remove", "empty", "cut", "flip"])
def test_a_chunk_that_is_lost_or_damaged_is_no_fill_value(stored, variable, damage):
    (chunk,) = [p for p in (stored / variable / "c" / "1").rglob("*") if p.is_file()]
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    if damage == "remove":
        chunk.unlink()
    else:
        chunk.write_bytes({"empty": b"", "cut": bytes(data[: len(data) // 2]), "flip": bytes(data)}[damage])
    series = read_zarr(stored)
    series[variable].isel(time=0).load()
    with pytest.raises(InputError, match=f"{variable}: (lacks the chunk|holds a damaged chunk)"):
        series[variable].isel(time=1).load()


def test_absurd_sizes_are_refused_before_they_are_read(stored):
    path = stored / "x" / "zarr.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(meta | {"shape": [10**12]}))
    with pytest.raises(InputError, match=r"a.zarr: is a damaged Zarr store \(x of shape"):
        read_zarr(stored)


def test_a_store_that_changes_is_not_said_to_be_whole(stored):
    assert zarr.open_group(stored, mode="r").attrs["complete"] is True
    assert "complete" not in read_zarr(stored).attrs


# --- J, K, P, U, V --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE)
    os.mkfifo(tmp_path / "20200105.tif")
    with pytest.raises(InputError, match=r"20200105.tif: is a pipe or device, not a file"):
        read_geotiffs(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE)
    (tmp_path / "20200105.tif").symlink_to(tmp_path / "gone.tif")
    with pytest.raises(InputError, match=r"20200105.tif: is a broken link"):
        read_geotiffs(tmp_path)


def test_a_recipe_by_another_name_is_not_followed(tmp_path, tif):
    source = tif(tmp_path / "aside" / "x.tif", IMAGE)
    copy(source, tmp_path / "20200101.tif", driver="VRT")
    with pytest.raises(InputError, match=r"20200101.tif: cannot be read"):
        read_geotiffs(tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/vsicurl/http://127.0.0.1:9/x.tif", "not a raster on this machine"),
        ("http://127.0.0.1:9/x.tif", "not a raster on this machine"),
        ("/etc/hostname", "not a raster on this machine"),
        ("wms.tif", r"its source aside/wms.tif\): cannot be read"),
    ],
)
def test_a_vrt_refers_to_rasters_here_only(tmp_path, tif, source, message):
    tif(tmp_path / "aside" / "x.tif", IMAGE[:1])
    (tmp_path / "aside" / "wms.tif").write_text("<GDAL_WMS><Service name='TMS'/></GDAL_WMS>")

    def recipe(text):
        relative = int("/" not in text)
        (tmp_path / "20200101.vrt").write_text(
            f"""<VRTDataset rasterXSize="10" rasterYSize="12"><SRS>EPSG:32631</SRS>
            <GeoTransform>500000, 10, 0, 4000000, 0, -10</GeoTransform><VRTRasterBand dataType="Int16" band="1">
            <SimpleSource><SourceFilename relativeToVRT="{relative}">{"aside/" * relative}{text}</SourceFilename>
            <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
        )

    recipe("x.tif")
    np.testing.assert_array_equal(read_geotiffs(tmp_path).reflectance.values[0], IMAGE[:1])
    recipe(source)
    with pytest.raises(InputError, match=message):
        read_geotiffs(tmp_path)


def test_raw_bytes_are_not_read_by_a_vrt(tmp_path):
    (tmp_path / "20200101.vrt").write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="1"><VRTRasterBand dataType="Byte" '
        'band="1" subClass="VRTRawRasterBand">'
        "<SourceFilename>/etc/hostname</SourceFilename></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(InputError, match="VRTRawRasterBand, which is not read"):
        read_geotiffs(tmp_path)


def test_the_tilt_of_rounding_is_none(tmp_path, tif):
    tilted = Affine(10, 5e-9, 500000, 5e-9, -10, 4000000)
    tif(tmp_path / "20200101.tif", IMAGE, transform=tilted)
    series = read_geotiffs(tmp_path)
    assert series.odc.geobox.affine == Affine(10, 0, 500000, 0, -10, 4000000)
    tif(tmp_path / "20200101.tif", IMAGE, transform=Affine(10, 0.01, 500000, 0, -10, 4000000))
    with pytest.raises(InputError, match="rotated"):
        read_geotiffs(tmp_path)


def test_what_a_pipe_cannot_show_is_escaped(tmp_path, tif):
    for day in ("20200101", "20200105"):
        tif(tmp_path / "s" / f"{day}.tif", IMAGE, **SCALED)
    code = "import sys; sys.argv = ['sitsfuse', 'info', sys.argv[1]]; from sitsfuse.cli.main import main; main()"
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "s"], capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert b"12 rows \\xd7 10 columns" in done.stdout


def test_messages_are_cut():
    text = str(InputError("file", "x" * 4000, "mend it"))
    assert len(text) < 700
    assert shortened("short") == "short"
