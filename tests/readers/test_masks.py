"""Masks as people have them: which files, which numbers, which bands; the right pixels against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

from sitsfuse.errors import InputError
from sitsfuse.readers import read_geotiffs

RNG = np.random.default_rng(8)
IMAGE = RNG.integers(500, 5000, (2, 12, 8)).astype(np.int16)
CLASSES = RNG.integers(0, 12, (1, 12, 8)).astype(np.uint8)
CLASSES[0, 0] = [4, 5, 6, 7, 8, 9, 10, 11]
BITS = RNG.choice([21824, 21888, 22280, 23888, 55052, 1], (1, 12, 8)).astype(np.uint16)
BITS[0, 0, 0] = 21824


def notes(series):
    return " | ".join(series.attrs.get("notes", ()))


@pytest.mark.parametrize(
    ("options", "clear"),
    [
        ({"clear": (4, 5, 6, 7)}, np.isin(CLASSES[0], (4, 5, 6, 7))),
        ({"clear": 4}, CLASSES[0] == 4),
        ({"cloudy": [3, 8, 9, 10]}, ~np.isin(CLASSES[0], (3, 8, 9, 10))),
        ({"mask_bits": (1, 3)}, (CLASSES[0] & 0b1010) == 0),
        ({"clear": (0,)}, CLASSES[0] == 0),
    ],
)
@pytest.mark.parametrize("name", ["20200101_mask", "X_20200101_SCL", "clouds/20200101_fmask"])
def test_numbers_mean_what_the_user_says(tmp_path, tif, options, clear, name):
    tif(tmp_path / "20200101.tif", IMAGE)
    tif((tmp_path / name).with_suffix(".tif"), CLASSES)
    if "/" in name:
        (tmp_path / "clouds").rename(tmp_path / "masks")
    np.testing.assert_array_equal(read_geotiffs(tmp_path, **options).valid.values[0], clear)


def test_a_pattern_tells_masks_from_images(tmp_path, tif):
    for day in ("20200101", "20200105"):
        tif(tmp_path / f"S2_{day}_refl.tif", IMAGE)
        tif(tmp_path / f"S2_{day}_cloud.tif", CLASSES)
    series = read_geotiffs(tmp_path, mask_pattern="*_cloud.tif", clear=(4, 5))
    assert [str(p) for p in series["product"].values] == ["S2_20200101_refl.tif", "S2_20200105_refl.tif"]
    np.testing.assert_array_equal(series.valid.values[1], np.isin(CLASSES[0], (4, 5)))
    (tmp_path / "S2_20200105_cloud.tif").unlink()
    series = read_geotiffs(tmp_path, mask_pattern="*_cloud.tif", clear=(4, 5))
    assert "without a mask: 2020-01-05" in notes(series)
    assert series.valid.values[1].all()


def test_a_scene_classification_is_known_by_its_name_and_larger_pixels(tmp_path, tif):
    tif(tmp_path / "T31_20200101_BGRN.tif", IMAGE)
    coarse = CLASSES[:, ::2, ::2]
    tif(tmp_path / "T31_20200101_SCL.tif", coarse, pixel=20.0)
    series = read_geotiffs(tmp_path)
    expected = np.isin(coarse[0], (4, 5, 6, 7, 11)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(series.valid.values[0], expected)
    part = series.valid.isel(time=0, y=slice(3, 8), x=slice(1, 6)).values
    np.testing.assert_array_equal(part, expected[3:8, 1:6])
    assert "masks are read as a scene classification of Sentinel-2 (SCL)" in notes(series)


def test_a_mask_may_reach_beyond_its_image(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE)
    wide = RNG.integers(0, 2, (1, 10, 8)).astype(np.uint8)
    tif(tmp_path / "20200101_mask.tif", wide, pixel=20.0, origin=(499980.0, 4000040.0))
    expected = (wide[0] == 0).repeat(2, 0).repeat(2, 1)[4:16, 2:10]
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0], expected)


@pytest.mark.parametrize(("pixel", "origin"), [(20.0, (500010.0, 4000000.0)), (15.0, (500000.0, 4000000.0))])
def test_a_mask_whose_pixels_cut_those_of_the_image_is_refused(tmp_path, tif, pixel, origin):
    tif(tmp_path / "20200101.tif", IMAGE)
    tif(tmp_path / "20200101_mask.tif", CLASSES * 0, pixel=pixel, origin=origin)
    with pytest.raises(InputError, match=r"20200101_mask.tif: .*resample the mask"):
        read_geotiffs(tmp_path)


def test_pixel_quality_is_known(tmp_path, tif):
    tif(tmp_path / "LC08_20200101_SR.tif", IMAGE)
    tif(tmp_path / "LC08_20200101_QA_PIXEL.tif", BITS)
    clear = (BITS[0] & 0b11111) == 0
    # Snow (bit 5) and water (bit 7) are usable; fill, clouds, cirrus and shadow (bits 0 to 4) are not.
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0], clear)


def test_a_usable_data_mask_is_known(tmp_path, tif):
    tif(tmp_path / "20200101_SR.tif", IMAGE)
    layers = RNG.integers(0, 2, (8, 12, 8)).astype(np.uint8)
    layers[6] = RNG.integers(0, 100, (12, 8))
    layers[7] = RNG.choice([0, 2, 64], (12, 8))
    tif(tmp_path / "20200101_udm2.tif", layers)
    clear = ~layers[2:6].any(axis=0) & ((layers[7] & 0b11111101) == 0)
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0], clear)
    one = read_geotiffs(tmp_path, mask_band=1, clear=1)
    np.testing.assert_array_equal(one.valid.values[0], layers[0] == 1)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.array([4, 9]), r"holds 4, 9: looks like a scene classification.*give clear=4,5,6,7,11"),
        (np.array([0, 4, 5, 11]), "looks like a scene classification"),
        (np.array([21824, 22280]), "looks like a pixel quality of Landsat.*mask_bits=0,1,2,3,4"),
        (np.array([1, 2]), "holds 1, 2 and no 0, which means clear; say what does"),
    ],
)
def test_a_mask_that_looks_like_something_else_is_not_guessed(tmp_path, tif, mask, message):
    tif(tmp_path / "20200101.tif", IMAGE)
    tif(tmp_path / "20200101_mask.tif", np.resize(mask, (1, 12, 8)).astype(np.uint16))
    with pytest.raises(InputError, match=message):
        read_geotiffs(tmp_path)


@pytest.mark.parametrize("mask", [[0, 1], [0, 255], [0], [1], [0, 1, 2, 3, 4], [0, 2, 16]])
def test_plain_masks_are_left_alone(tmp_path, tif, mask):
    tif(tmp_path / "20200101.tif", IMAGE)
    numbers = np.resize(np.array(mask), (1, 12, 8)).astype(np.uint8)
    tif(tmp_path / "20200101_mask.tif", numbers)
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0], numbers[0] == 0)


def test_a_name_that_lies_is_refused(tmp_path, tif):
    tif(tmp_path / "20200101.tif", IMAGE)
    tif(tmp_path / "20200101_SCL.tif", BITS)
    with pytest.raises(InputError, match=r"named like a scene classification.*but its numbers are not"):
        read_geotiffs(tmp_path)


@pytest.mark.parametrize("band", ["quality", 3])
def test_a_band_of_the_image_is_its_mask(tmp_path, tif, band):
    quality = CLASSES.astype(np.int16)
    tif(tmp_path / "20200101.tif", np.concatenate([IMAGE, quality]), ["red", "nir", "quality"])
    series = read_geotiffs(tmp_path, mask_band=band, cloudy=(8, 9))
    assert [str(b) for b in series.band.values] == ["red", "nir"]
    np.testing.assert_array_equal(series.valid.values[0], ~np.isin(CLASSES[0], (8, 9)))
    with pytest.raises(InputError, match="nothing says what is clear"):
        read_geotiffs(tmp_path, mask_band=band)


@pytest.mark.parametrize("inside", [True, False])
def test_gdals_own_mask(tmp_path, tif, inside):
    gone = np.zeros((12, 8), bool)
    gone[2:4, 1:5] = True
    path = tif(tmp_path / "20200101.tif", IMAGE)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as out:
        out.write_mask(~gone)
    assert (tmp_path / "20200101.tif.msk").exists() != inside
    np.testing.assert_array_equal(read_geotiffs(tmp_path).valid.values[0], ~gone)
