"""Layouts as people have them: a band per file, a folder per date, several images of a day."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.shutil import copy

from sitsfuse.errors import InputError
from sitsfuse.readers import read_geotiffs

RNG = np.random.default_rng(9)
SCALED = {"scales": [1e-4], "offsets": [0.0]}


def bands(day):
    rng = np.random.default_rng(int(day))
    return {name: rng.integers(500, 5000, (1, 12, 8)).astype(np.int16) for name in ("B02", "B03", "B8A")}


DAYS = ("20200101", "20200105")


@pytest.mark.parametrize("layout", ["T31_{day}_{band}.tif", "{day}/{band}.tif", "x-{day}/T31_{band}_10m.tif"])
def test_a_band_per_file_by_what_differs_in_the_names(tmp_path, tif, layout):
    for day in DAYS:
        for name, values in bands(day).items():
            tif(tmp_path / layout.format(day=day, band=name), values, **SCALED)
    series = read_geotiffs(tmp_path)
    assert [str(b) for b in series.band.values] == ["B02", "B03", "B8A"]
    for k, day in enumerate(DAYS):
        truth = np.concatenate(list(bands(day).values())) * 1e-4
        np.testing.assert_allclose(series.reflectance.values[k], truth, rtol=1e-6)
    chosen = read_geotiffs(tmp_path, bands={"nir": "B8A", "blue": "B02"})
    assert [str(b) for b in chosen.band.values] == ["nir", "blue"]
    np.testing.assert_allclose(chosen.reflectance.values[1, 0], bands(DAYS[1])["B8A"][0] * 1e-4, rtol=1e-6)


@pytest.mark.parametrize("pattern", ["*_{band}_10m", "*_{band}_10m.tif", r"_(?P<band>B\d\w)_10m"])
def test_a_pattern_tells_the_band(tmp_path, tif, pattern):
    for day in DAYS:
        for name, values in bands(day).items():
            tif(tmp_path / f"T31_{day}_{name}_10m.tif", values)
        tif(tmp_path / f"T31_{day}_TCI_60m.tif", np.zeros((3, 2, 2), np.uint8))
    series = read_geotiffs(tmp_path, band_pattern=pattern)
    assert [str(b) for b in series.band.values] == ["B02", "B03", "B8A"]
    assert "2 files whose names do not match" in " ".join(series.attrs["notes"])


def test_masks_beside_bands(tmp_path, tif):
    cloud = RNG.integers(0, 2, (1, 12, 8)).astype(np.uint8)
    for day in DAYS:
        for name, values in bands(day).items():
            tif(tmp_path / f"T31_{day}_{name}.tif", values)
        tif(tmp_path / f"T31_{day}_SCL.tif", cloud * 9 + (1 - cloud) * 4)
    series = read_geotiffs(tmp_path)
    assert series.sizes["band"] == 3
    np.testing.assert_array_equal(series.valid.values[1], cloud[0] == 0)


def test_a_band_that_a_date_lacks_is_named(tmp_path, tif):
    for day in DAYS:
        for name, values in bands(day).items():
            tif(tmp_path / f"T31_{day}_{name}.tif", values)
    (tmp_path / "T31_20200105_B03.tif").unlink()
    with pytest.raises(InputError, match=r"has no file of band B03.* on 2020-01-05"):
        read_geotiffs(tmp_path, band_pattern="*_{band}")


def test_bands_of_two_resolutions_are_told_apart(tmp_path, tif):
    for day in DAYS:
        tif(tmp_path / f"{day}_B02.tif", bands(day)["B02"])
        tif(tmp_path / f"{day}_B11.tif", bands(day)["B02"][:, :6, :4], pixel=20.0)
    with pytest.raises(InputError, match=r"B11.tif: size .*files of one resolution, or leave it out"):
        read_geotiffs(tmp_path)
    assert read_geotiffs(tmp_path, bands={"blue": "B02"}).sizes["band"] == 1


def test_nodata_of_any_band_file_counts(tmp_path, tif):
    for day in DAYS:
        for name, values in bands(day).items():
            values[0, 3, 4] = -1 if name == "B03" else values[0, 3, 4]
            tif(tmp_path / f"T31_{day}_{name}.tif", values, nodata=-1)
    valid = read_geotiffs(tmp_path).valid.values
    assert not valid[:, 3, 4].any()
    assert valid.sum() == 2 * (12 * 8 - 1)


@pytest.mark.parametrize("suffix", ["vrt", "jp2"])
def test_products_unpacked_as_other_formats(tmp_path, tif, suffix):
    for day in DAYS:
        for name, values in bands(day).items():
            source = tif(tmp_path / "aside" / f"{day}_{name}.tif", values)
            (tmp_path / day).mkdir(exist_ok=True)
            options = {"QUALITY": "100", "REVERSIBLE": "YES"} if suffix == "jp2" else {}
            driver = {"vrt": "VRT", "jp2": "JP2OpenJPEG"}[suffix]
            copy(source, tmp_path / day / f"{name}_10m.{suffix}", driver=driver, **options)
    (tmp_path / "aside").rename(tmp_path / ".aside" if suffix == "jp2" else tmp_path.parent / f"{tmp_path.name}_aside")
    if suffix == "vrt":
        for path in tmp_path.rglob("*.vrt"):
            path.write_text(path.read_text().replace("aside/", f"../{tmp_path.name}_aside/"))
    series = read_geotiffs(tmp_path, scale=1e-4)
    truth = np.concatenate(list(bands(DAYS[1]).values())) * 1e-4
    np.testing.assert_allclose(series.reflectance.values[1], truth, rtol=1e-6)


# --- several images of a day -------------------------------------------------------------------------------------


@pytest.fixture
def halves(tmp_path, tif):
    """The whole scene on one day; on another two parts that overlap by two columns, the second cloudy there."""
    whole = RNG.integers(500, 5000, (2, 12, 20)).astype(np.int16)
    tif(tmp_path / "a_20200101.tif", whole)
    tif(tmp_path / "a_20200105.tif", whole[:, :, :11] + np.int16(1))
    tif(tmp_path / "b_20200105.tif", whole[:, :, 9:] + np.int16(2), origin=(500090.0, 4000000.0))
    cloud = np.zeros((1, 12, 11), np.uint8)
    cloud[0, :, 9] = 1
    tif(tmp_path / "a_20200105_mask.tif", cloud)
    return tmp_path, whole


def test_several_images_of_a_day_need_a_word(halves):
    with pytest.raises(InputError, match=r"b_20200105.tif: has the same date as a_20200105.tif.*same_day=mosaic"):
        read_geotiffs(halves[0])


def test_a_mosaic_is_the_first_clear_pixel(halves):
    folder, whole = halves
    series = read_geotiffs(folder, same_day="mosaic")
    assert series.odc.geobox.shape == (12, 20)
    truth = whole.astype(np.float32)
    truth[:, :, :11] += 1
    truth[:, :, 11:] += 2
    truth[:, :, 9] = whole[:, :, 9] + 2  # cloudy in the first
    np.testing.assert_array_equal(series.reflectance.values[1], truth)
    assert series.valid.values.all()
    part = series.reflectance.isel(time=1, y=slice(2, 7), x=slice(8, 13)).values
    np.testing.assert_array_equal(part, truth[:, 2:7, 8:13])


def test_parts_between_each_others_pixels_are_refused(halves, tif):
    folder, whole = halves
    tif(folder / "b_20200105.tif", whole[:, :, 9:], origin=(500095.0, 4000000.0))
    with pytest.raises(InputError, match=r"b_20200105.tif: lies on another grid"):
        read_geotiffs(folder, same_day="mosaic")


def test_the_clearest_of_a_day(tmp_path, tif):
    values = RNG.integers(500, 5000, (2, 12, 20)).astype(np.int16)
    for name, share in (("a", 0.5), ("b", 0.1), ("c", 0.9)):
        tif(tmp_path / f"{name}_20200101.tif", values + np.int16(ord(name)))
        cloud = (RNG.random((1, 12, 20)) < share).astype(np.uint8)
        tif(tmp_path / f"{name}_20200101_mask.tif", cloud)
    series = read_geotiffs(tmp_path, same_day="clearest")
    np.testing.assert_array_equal(series.reflectance.values[0], values + ord("b"))
    np.testing.assert_array_equal(series.valid.values[0], read_mask(tmp_path / "b_20200101_mask.tif") == 0)


def read_mask(path):
    import rasterio

    with rasterio.open(path) as source:
        return source.read(1)
