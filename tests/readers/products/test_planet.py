"""Scenes of PlanetScope against the numbers that were written."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.errors import InputError
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.readers.products.planet import is_product, read_product, read_products
from tests.helpers.make_planet import NAMES, make_planet

SCENE = "20210709_175710_72_105e"


def read(path, names=("red", "nir"), **options):
    product = read_product(path)
    return product.read(names, product.box(names), **options)


# --- what the metadata say -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "sensor", "bands"),
    [
        ("PS2", "planetscope", 4),
        ("PS2.SD", "planetscope-r", 4),
        ("PSB.SD", "superdove", 8),
        ("PSB.SD", "superdove", 4),
    ],
)
@pytest.mark.parametrize("described", [True, False])
def test_bands_of_each_instrument(tmp_path, instrument, sensor, bands, described):
    path = make_planet(tmp_path, instrument=instrument, bands=bands, descriptions=None if described else [])
    product = read_product(path)
    common = ["coastal", "blue", "green_i", "green", "yellow", "red", "rededge1", "nir"] if bands == 8 else NAMES[4]
    assert product.sensor == sensor
    assert [b.name for b in product.bands] == list(common)
    assert [b.native for b in product.bands] == list(NAMES[bands])
    assert [b.index for b in product.bands] == list(range(1, bands + 1))


def test_descriptions_tell_another_order(tmp_path):
    path = make_planet(tmp_path, pixels={"blue": np.full((12, 10), 3000)}, descriptions=["NIR", "Red", "Green", "Blue"])
    values, valid, _ = read(path, ["nir"])
    assert valid.all()
    np.testing.assert_allclose(values, 0.3, rtol=1e-6)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_what_the_metadata_say(tmp_path, form):
    path = make_planet(tmp_path, forms=[form])
    product = read_product(path)
    assert product.id == f"{SCENE}_3B_AnalyticMS_SR"
    assert product.path == path
    assert product.format == "planet"
    assert product.platform == "PlanetScope-105e"
    assert product.time == np.datetime64("2021-07-09T17:57:10.722684", "ns")
    assert product.time.dtype == np.dtype("datetime64[ns]")
    assert product.cloud == pytest.approx(0.07)
    assert product.sun == pytest.approx((43.1, 176.4))
    assert product.view == pytest.approx((3.1, 285.7))
    assert product.dilation == 30
    assert product.notes == ()
    assert len(product.masks) == 6
    for band in product.bands:
        assert (band.scale, band.offset, band.nodata) == (1e-4, 0, (0.0,))
        assert band.box == GeoBox((12, 10), Affine(3, 0, 500010, 0, -3, 4000005), "EPSG:32631")


@pytest.mark.parametrize(
    ("changes", "cloud"),
    [({"cloud_cover": None}, 0.08), ({"cloud_cover": None, "cloud_percent": None}, None), ({"cloud_cover": 0}, 0)],
)
def test_cloud_cover(tmp_path, changes, cloud):
    assert read_product(make_planet(tmp_path, changes=changes)).cloud == cloud


def test_angles_are_put_to_rights_or_left_out(tmp_path):
    changes = {"view_angle": -2.5, "satellite_azimuth": -90, "sun_azimuth": None}
    product = read_product(make_planet(tmp_path, changes=changes))
    assert product.view == (2.5, 270)
    assert product.sun is None


def test_times_of_other_zones_become_utc(tmp_path):
    path = make_planet(tmp_path, changes={"acquired": "2021-07-09T19:57:10.5+02:00"})
    assert read_product(path).time == np.datetime64("2021-07-09T17:57:10.500", "ns")


# --- pixels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodata", [0, None])
def test_reflectance_and_black_fill(tmp_path, nodata):
    red = np.arange(120).reshape(12, 10) * 40  # the first pixel is 0
    values, valid, flags = read(make_planet(tmp_path, pixels={"red": red}, nodata=nodata), ["red"], dilation=0)
    expected = np.ones((12, 10), bool)
    expected[0, 0] = False
    np.testing.assert_array_equal(valid, expected)
    assert flags[0, 0] == FLAGS["nodata"]
    np.testing.assert_allclose(values[0][expected], red[expected] / 10000, rtol=1e-6)


def test_a_scale_in_the_image_prevails(tmp_path):
    red = np.full((12, 10), 500)
    path = make_planet(tmp_path, pixels={"red": red}, scales=[2e-4] * 4, offsets=[0.01] * 4)
    np.testing.assert_allclose(read(path, ["red"])[0], 0.11, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "number", "flag", "usable"),
    [
        ("snow", 1, "snow", True),
        ("shadow", 1, "cloud_shadow", False),
        ("haze_light", 1, "cloud", False),
        ("haze_heavy", 1, "cloud", False),
        ("cloud", 1, "cloud", False),
        ("confidence", 3, None, True),
        ("clear", 0, None, True),
        ("udm1", 1, "nodata", False),
        ("udm1", 2, None, True),  # the older map of clouds
        ("udm1", 4, "nodata", False),
        ("udm1", 128, "nodata", False),
    ],
)
def test_layers_of_the_mask(tmp_path, layer, number, flag, usable):
    values = np.full((12, 10), {"clear": 1, "confidence": 90}.get(layer, 0))
    values[5, 4] = number
    path = make_planet(tmp_path, mask={layer: values})
    image, valid, flags = read(path, dilation=0)
    assert flags[5, 4] == (FLAGS[flag] if flag else 0)
    assert valid[5, 4] == usable
    assert np.isnan(image[:, 5, 4]).all() == (not usable)
    assert valid.sum() == 120 - (not usable)
    assert (flags > 0).sum() == (flag is not None)


def test_clouds_are_widened(tmp_path):
    cloud = np.zeros((40, 40))
    cloud[20, 20] = 1
    path = make_planet(tmp_path, shape=(40, 40), mask={"cloud": cloud})
    rows, cols = np.mgrid[:40, :40]
    distance = 3 * np.hypot(rows - 20, cols - 20)
    np.testing.assert_array_equal(~read(path)[1], distance <= 30)
    np.testing.assert_array_equal(~read(path, dilation=9)[1], distance <= 9)


# --- the files of a scene --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [4, 8])
@pytest.mark.parametrize("tools", ["", "_clip", "_harmonized", "_harmonized_clip", "_harmonized_clip_reproject"])
@pytest.mark.parametrize("forms", [["json"], ["xml"]])
def test_names_of_the_files(tmp_path, bands, tools, forms):
    path = make_planet(tmp_path, bands=bands, tools=tools, forms=forms, instrument="PSB.SD")
    assert is_product(path)
    product = read_product(path)
    assert product.notes == ()
    assert product.masks[0].path == str(tmp_path / f"{SCENE}_3B_udm2{tools.replace('_harmonized', '')}.tif")


def test_a_mask_of_the_whole_scene_serves_a_clip(tmp_path):
    cloud = np.zeros((17, 13))
    cloud[5 + 2, 3 + 1] = 1
    path = make_planet(tmp_path, tools="_clip", mask_tools="", mask_shift=(5, 3), mask={"cloud": cloud})
    _, valid, _ = read(path, dilation=0)
    assert not valid[2, 1]
    assert valid.sum() == 119


def test_of_two_masks_the_one_that_was_treated_alike(tmp_path):
    path = make_planet(tmp_path, tools="_clip")
    make_planet(tmp_path, shape=(30, 30))
    assert read_product(path).masks[0].box.shape == (12, 10)


def test_several_scenes_in_a_folder(tmp_path):
    paths = [make_planet(tmp_path, scene=f"20210709_1757{s}_72_105e") for s in (10, 12, 14)]
    assert not is_product(tmp_path)
    assert [p for p in sorted(tmp_path.iterdir()) if is_product(p)] == paths
    assert [p.path for path in paths for p in read_products(path)] == paths
    with pytest.raises(InputError, match="holds 3 images"):
        read_product(tmp_path)


def test_the_files_of_other_scenes_do_not_serve(tmp_path):
    make_planet(tmp_path, forms=["xml"])
    product = read_product(make_planet(tmp_path, scene="20210709_175712_72_105e", with_mask=False))
    assert product.masks == ()
    bare = make_planet(tmp_path, scene="20210709_175714_72_105e", forms=[])
    with pytest.raises(InputError, match="has no metadata beside it"):
        read_product(bare)


def test_a_folder_of_one_scene(tmp_path):
    path = make_planet(tmp_path / "one", forms=["json", "xml"])
    assert is_product(tmp_path / "one")
    assert read_product(tmp_path / "one").path == path


def test_what_is_no_product(tmp_path):
    for name in (f"{SCENE}_3B_AnalyticMS.tif", f"{SCENE}_3B_udm2.tif", f"{SCENE}_metadata.json", "20210709.tif"):
        (tmp_path / name).touch()
        assert not is_product(tmp_path / name)
    assert not is_product(tmp_path)
    assert not is_product(tmp_path / "nothing")
    with pytest.raises(InputError, match="is not an image of surface reflectance"):
        read_product(tmp_path / f"{SCENE}_3B_AnalyticMS.tif")
    with pytest.raises(InputError, match="holds 0 images"):
        read_product(tmp_path)


# --- what is missing -------------------------------------------------------------------------------------------


def test_a_mask_that_is_missing_is_told_of(tmp_path):
    product = read_product(make_planet(tmp_path, with_mask=False))
    assert product.masks == ()
    assert product.notes == ("no mask UDM2; clouds are unknown",)


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("acquired", "acquisitionDateTime"),
        ("instrument", "Instrument/shortName"),
        ("satellite_id", "Platform/serialIdentifier"),
    ],
)
def test_a_missing_value_is_named(tmp_path, form, name, element):
    path = make_planet(tmp_path, forms=[form], changes={name: None}, instrument="PS2" if name != "instrument" else None)
    shown = name if form == "json" else element
    with pytest.raises(InputError, match=rf"metadata\.{form}: has no {shown}"):
        read_product(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changes": {"acquired": "noon"}}, "acquired is 'noon', not a time"),
        ({"changes": {"sun_elevation": "high"}}, "sun_elevation is 'high', not a number"),
        ({"instrument": "RE"}, r"_metadata\.json: 'RE' is not known"),
        ({"forms": []}, r"has no metadata beside it \(20210709_175710_72_105e_metadata\.json"),
        ({"dtype": "float32"}, "holds float32, not uint16"),
        ({"mask_layers": 1}, r"udm2\.tif: has 1 layers, not the 8"),
        ({"bands": 8, "instrument": "PS2"}, "has 8 bands, which are none that planetscope delivers"),
    ],
)
def test_a_wrong_scene_is_told_of(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        read_product(make_planet(tmp_path, **options))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"properties": 3}', '{"id": "x"}'])
def test_metadata_that_are_damaged(tmp_path, text):
    path = make_planet(tmp_path)
    (tmp_path / f"{SCENE}_metadata.json").write_text(text)
    with pytest.raises(InputError, match=r"_metadata\.json: is not valid metadata"):
        read_product(path)


def test_an_image_cut_short(tmp_path):
    path = make_planet(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    assert is_product(path)
    with pytest.raises(InputError, match=r"AnalyticMS_SR\.tif: cannot be read"):
        read_product(path)
