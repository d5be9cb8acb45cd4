"""Products of Landsat, Collection 2, Level 2, against the numbers that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.errors import InputError
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.readers.products.landsat import is_product, read_product, read_products
from tests.helpers.make_landsat import BANDS, make_landsat, tarred, zipped

COMMON = {
    8: ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"],
    9: ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"],
    7: ["blue", "green", "red", "nir", "swir16", "swir22"],
    5: ["blue", "green", "red", "nir", "swir16", "swir22"],
}
CLEAR = 21824
IDENTITY = "LC08_L2SP_198026_20200107_20200823_02_T1"


def read(path: Path, names=("red", "nir08"), **options):
    product = read_product(path)
    return product.read(names, product.box(names), **options)


# --- what the metadata say -------------------------------------------------------------------------------------


@pytest.mark.parametrize("satellite", [5, 7, 8, 9])
def test_bands_of_each_satellite(tmp_path, satellite):
    product = read_product(make_landsat(tmp_path, satellite=satellite))
    assert [b.name for b in product.bands] == COMMON[satellite]
    assert [b.native for b in product.bands] == [f"SR_B{n}" for n in BANDS[satellite]]
    assert product.platform == f"LANDSAT_{satellite}"
    assert product.sensor == {5: "landsat5", 7: "landsat7"}.get(satellite, "landsat8-9")
    assert product.format == "landsat"


def test_what_the_metadata_say(tmp_path):
    product = read_product(make_landsat(tmp_path))
    assert product.id == IDENTITY
    assert product.path == tmp_path / IDENTITY
    assert product.time == np.datetime64("2020-01-07T10:28:34.396428900", "ns")
    assert product.cloud == pytest.approx(0.2112)
    assert product.sun == pytest.approx((90 - 57.84396063, 360 - 162.2005908))
    assert product.view is None
    assert product.dilation == 0
    assert product.notes == ()
    for band in product.bands:
        assert (band.scale, band.offset, band.nodata, band.saturated) == (2.75e-5, -0.2, (0.0,), (65535.0,))
        assert band.box == GeoBox((12, 10), Affine(30, 0, 500010, 0, -30, 4000005), "EPSG:32631")


def test_each_form_of_the_metadata_says_the_same(tmp_path):
    products = []
    for form in ("xml", "json", "txt"):
        path = make_landsat(tmp_path / form, forms=[form])
        product = read_product(path)
        bands = [(b.name, b.native, Path(b.path).name, b.scale, b.offset, b.nodata) for b in product.bands]
        masks = [(Path(m.path).name, m.rules) for m in product.masks]
        products.append((product.id, product.time, product.cloud, product.sun, product.platform, bands, masks))
    assert products[0] == products[1] == products[2]


def test_a_zip_is_read_as_its_folder(tmp_path):
    folder = make_landsat(tmp_path)
    archive = zipped(folder)
    assert is_product(archive)
    for one, other in zip(read(folder), read(archive), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [p.path for p in read_products(archive)] == [archive]


def test_cloud_cover_that_was_not_computed(tmp_path):
    path = make_landsat(tmp_path, changes={"IMAGE_ATTRIBUTES": {"CLOUD_COVER": "-1"}})
    assert read_product(path).cloud is None


# --- pixels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "offset"), [(2.75e-5, -0.2), (1e-4, 0.05)])
def test_scale_and_offset_are_those_of_the_metadata(tmp_path, scale, offset):
    red = np.arange(1, 121).reshape(12, 10) * 100
    path = make_landsat(tmp_path, pixels={4: red}, scale=scale, offset=offset)
    values, valid, flags = read(path, ["red"])
    assert valid.all()
    assert (flags == 0).all()
    np.testing.assert_allclose(values[0], red * scale + offset, rtol=1e-6)


@pytest.mark.parametrize("header", [0, None])
def test_fill_and_saturation_of_one_band(tmp_path, header):
    red, nir = np.full((12, 10), 9000), np.full((12, 10), 12000)
    red[0, 0], red[1, 1], nir[2, 2] = 0, 65535, 0
    path = make_landsat(tmp_path, pixels={4: red, 5: nir}, nodata=header)
    values, valid, flags = read(path)
    expected = np.ones((12, 10), bool)
    expected[0, 0] = expected[1, 1] = expected[2, 2] = False
    np.testing.assert_array_equal(valid, expected)
    assert np.isnan(values[:, ~expected]).all()
    assert (flags[0, 0], flags[1, 1], flags[2, 2], flags[3, 3]) == (FLAGS["nodata"], FLAGS["saturated"], 1, 0)
    # The other band alone does not know.
    assert read(path, ["red"])[1][2, 2]


@pytest.mark.parametrize(
    ("bit", "flag", "usable"),
    [
        (0, "nodata", False),
        (1, "cloud", False),
        (2, "cloud", False),
        (3, "cloud", False),
        (4, "cloud_shadow", False),
        (5, "snow", True),
        (6, None, True),  # clear
        (7, "water", True),
        (8, None, True),  # confidences
        (15, None, True),
    ],
)
def test_bits_of_the_pixel_quality(tmp_path, bit, flag, usable):
    quality = np.full((12, 10), CLEAR)
    quality[4, 5] = 1 << bit
    values, valid, flags = read(make_landsat(tmp_path, quality=quality))
    assert flags[4, 5] == (FLAGS[flag] if flag else 0)
    assert valid[4, 5] == usable
    assert np.isnan(values[:, 4, 5]).all() == (not usable)
    assert valid.sum() == 120 - (not usable)
    assert (flags > 0).sum() == (flag is not None)


@pytest.mark.parametrize(
    ("satellite", "bit", "flag"),
    [
        (8, 0, "saturated"),
        (8, 6, "saturated"),
        (8, 8, None),  # the cirrus band
        (8, 11, "nodata"),  # behind a mountain
        (7, 0, "saturated"),
        (7, 5, None),  # the thermal band
        (7, 6, "saturated"),
        (7, 8, None),  # the thermal band again
        (5, 9, "nodata"),  # dropped
    ],
)
def test_bits_of_the_saturation(tmp_path, satellite, bit, flag):
    saturation = np.zeros((12, 10))
    saturation[4, 5] = 1 << bit
    _, valid, flags = read(make_landsat(tmp_path, satellite=satellite, saturation=saturation), ["red"])
    assert flags[4, 5] == (FLAGS[flag] if flag else 0)
    assert valid[4, 5] == (flag is None)
    assert valid.sum() == 120 - (flag is not None)


def test_clouds_are_not_widened_again(tmp_path):
    quality = np.full((12, 10), CLEAR)
    quality[6, 5] = 1 << 3
    path = make_landsat(tmp_path, quality=quality)
    assert read(path)[1].sum() == 119
    assert read(path, dilation=30)[1].sum() == 120 - 5


def test_beyond_the_image_there_is_nothing(tmp_path):
    product = read_product(make_landsat(tmp_path))
    box = GeoBox((5, 5), Affine(30, 0, 700000, 0, -30, 4000005), "EPSG:32631")
    values, valid, flags = product.read(["red"], box)
    assert np.isnan(values).all()
    assert not valid.any()
    assert (flags == FLAGS["nodata"]).all()


# --- what is missing -------------------------------------------------------------------------------------------


def test_masks_that_are_missing_are_told_of(tmp_path):
    product = read_product(make_landsat(tmp_path, leave_out=["QA_PIXEL.TIF", "QA_RADSAT.TIF"]))
    assert product.masks == ()
    assert product.notes == ("no mask QA_PIXEL; clouds are unknown", "no mask QA_RADSAT")


def test_names_of_products(tmp_path):
    folder = make_landsat(tmp_path)
    assert is_product(folder)
    assert is_product(make_landsat(tmp_path, folder="unpacked"))
    for name in (f"{IDENTITY}.tar", f"{IDENTITY}.zip", "LT05_L2SR_087017_20090621_20200827_02_T2.ZIP"):
        (tmp_path / name).touch()
        assert is_product(tmp_path / name)
    for name in ("LC08_L1TP_198026_20200107_20200823_02_T1", "S2A_MSIL2A_20200107T105421.SAFE", "empty"):
        (tmp_path / name).mkdir()
        assert not is_product(tmp_path / name)
    for file in folder.iterdir():
        assert not is_product(file)
    assert not is_product(tmp_path / "nothing")


def test_a_truncated_zip_is_a_product_that_cannot_be_read(tmp_path):
    path = zipped(make_landsat(tmp_path))
    path.write_bytes(path.read_bytes()[:-1000])
    assert is_product(path)
    with pytest.raises(InputError, match="truncated"):
        read_product(path)


@pytest.mark.parametrize("form", ["xml", "json", "txt"])
@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("PRODUCT_CONTENTS", "LANDSAT_PRODUCT_ID"),
        ("IMAGE_ATTRIBUTES", "SPACECRAFT_ID"),
        ("IMAGE_ATTRIBUTES", "DATE_ACQUIRED"),
        ("IMAGE_ATTRIBUTES", "SCENE_CENTER_TIME"),
        ("IMAGE_ATTRIBUTES", "SUN_ELEVATION"),
        ("IMAGE_ATTRIBUTES", "CLOUD_COVER"),
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_MULT_BAND_3"),
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "REFLECTANCE_ADD_BAND_7"),
        ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", "QUANTIZE_CAL_MAX_BAND_1"),
    ],
)
def test_a_missing_value_is_named(tmp_path, form, group, key):
    path = make_landsat(tmp_path, forms=[form], changes={group: {key: None}})
    with pytest.raises(InputError, match=rf"_MTL\.{form}: has no {group}/{key}"):
        read_product(path)


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        ("IMAGE_ATTRIBUTES", {"SUN_ELEVATION": "high"}, "SUN_ELEVATION is 'high', not a number"),
        ("IMAGE_ATTRIBUTES", {"SUN_ELEVATION": "nan"}, "SUN_ELEVATION is 'nan', not a number"),
        ("IMAGE_ATTRIBUTES", {"DATE_ACQUIRED": "yesterday"}, "yesterday 10:28:34.3964289Z is not a time"),
        ("IMAGE_ATTRIBUTES", {"SPACECRAFT_ID": "LANDSAT_1"}, "SPACECRAFT_ID is LANDSAT_1"),
        ("PRODUCT_CONTENTS", {"LANDSAT_PRODUCT_ID": IDENTITY.replace("L2SP", "L1TP")}, "Level-2"),
        ("PRODUCT_CONTENTS", dict.fromkeys([f"FILE_NAME_BAND_{n}" for n in range(1, 8)]), "lists no FILE_NAME_BAND_"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, group, changes, message):
    with pytest.raises(InputError, match=message):
        read_product(make_landsat(tmp_path, changes={group: changes}))


def test_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(InputError, match=r"has no image of band SR_B4 \(.*_SR_B4\.TIF\)"):
        read_product(make_landsat(tmp_path / "band", leave_out=["SR_B4.TIF"]))
    with pytest.raises(InputError, match=r"has no metadata file \(\*_MTL\.xml"):
        read_product(make_landsat(tmp_path / "metadata", forms=[]))
    both = make_landsat(tmp_path / "two", folder="all")
    for file in make_landsat(tmp_path / "other", day="20200123").iterdir():
        file.rename(both / file.name)
    with pytest.raises(InputError, match="holds the files of 2 products"):
        read_product(both)


@pytest.mark.parametrize(
    ("form", "message"),
    [("xml", "is not valid XML"), ("json", "is not valid metadata"), ("txt", "has no IMAGE_ATTRIBUTES/SPACECRAFT_ID")],
)
def test_metadata_cut_short(tmp_path, form, message):
    path = make_landsat(tmp_path, forms=[form])
    file = next(path.glob(f"*_MTL.{form}"))
    file.write_text(file.read_text()[:900])
    with pytest.raises(InputError, match=message):
        read_product(path)
    file.write_text("")
    with pytest.raises(InputError, match=f"_MTL.{form}"):
        read_product(path)


def test_an_image_cut_short(tmp_path):
    path = make_landsat(tmp_path)
    file = next(path.glob("*_SR_B4.TIF"))
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(InputError, match=r"SR_B4\.TIF: cannot be read"):
        read_product(path)


def test_a_tar_is_read_as_its_folder(tmp_path):
    folder = make_landsat(tmp_path)
    archive = tarred(folder)
    assert is_product(archive)
    for one, other in zip(read(folder), read(archive), strict=True):
        np.testing.assert_array_equal(one, other)
    archive.write_bytes(archive.read_bytes()[:20000])
    with pytest.raises(InputError, match="is truncated or no tar file"):
        read_product(archive)
