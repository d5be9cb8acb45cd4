"""STAC items: the rasters that they describe are read as the readers of the formats read them."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from sitsfuse.errors import InputError
from sitsfuse.readers.products import landsat, planet
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.readers.products.stac import is_product, read_products
from tests.helpers.make_landsat import BANDS, make_landsat
from tests.helpers.make_planet import NAMES, make_planet

pytest.importorskip("odc.stac")

EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
]
SCALED = {"nodata": 0, "scale": 1e-4, "offset": -0.1}
PLACE = "EPSG:32631"


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """An item as catalogues give it."""
    given = {
        "datetime": "2021-07-09T10:57:10.722684Z",
        "platform": "sentinel-2a",
        "instruments": ["msi"],
        "constellation": "sentinel-2",
        "eo:cloud_cover": 12.5,
        "view:sun_elevation": 50.0,
        "view:sun_azimuth": -170.0,
        "proj:epsg": 32631,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": EXTENSIONS,
        "id": "S2A_31TCJ_20210709_0_L2A",
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "bbox": [0, 0, 0, 0],
        "properties": {k: v for k, v in (given | properties).items() if v is not None},
        "links": [{"rel": "self", "href": "https://example.com/elsewhere/item.json"}],
        "assets": assets,
    }


def asset(
    href: str, shape: tuple[int, int] | None = None, pixel: float = 10, bands: Any = (), **said: Any
) -> dict[str, Any]:
    """An asset, with its grid if a shape is given."""
    place = {"proj:shape": list(shape), "proj:transform": [pixel, 0, 500000, 0, -pixel, 4000000]} if shape else {}
    kind = "image/jp2" if href.endswith("jp2") else "image/tiff; application=geotiff; profile=cloud-optimized"
    found = {"href": href, "type": kind, "roles": ["data"], **place}
    return found | ({"eo:bands": list(bands)} if bands else {}) | said


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def sentinel2(tmp_path, tif):
    """Writes an item of Sentinel-2 with B4 and B8 at 10 m, B5 and SCL at 20 m; returns its path and the numbers."""

    def make(changes: dict[str, Any] | None = None, scl: Any = None, folder: Path = tmp_path, **properties: Any):
        rng = np.random.default_rng(0)
        numbers = {n: rng.integers(1100, 6000, (s, s)).astype(np.uint16) for n, s in SIZES.items()}
        numbers["SCL"] = (np.full((10, 10), 4) if scl is None else np.asarray(scl)).astype(np.uint8)
        for name, values in numbers.items():
            tif(folder / f"{name}.tif", values[None], pixel=200 / values.shape[0])
        assets = {
            "red": asset(
                "./B04.tif", (20, 20), 10, [{"name": "B04", "common_name": "red"}], **{"raster:bands": [SCALED]}
            ),
            "rededge1": asset("B05.tif", (10, 10), 20, [{"name": "B05"}], **{"raster:bands": [SCALED]}),
            "nir": asset(
                "B08.tif", (20, 20), 10, [{"name": "nir", "common_name": "nir"}], **{"raster:bands": [SCALED]}
            ),
            "aot": asset("AOT.tif", (10, 10), 20, **{"raster:bands": [{"scale": 0.001}]}),
            "visual": asset("TCI.tif", (40, 40), 5, [{"name": "B04", "common_name": "red"}] * 3, roles=["visual"]),
            "scl": asset("SCL.tif", (10, 10), 20),
        }
        for key, change in (changes or {}).items():
            if change is None:
                del assets[key]
            else:
                assets[key] = assets.get(key, {}) | change
        return write(folder / "item.json", item(assets, **properties)), numbers

    return make


SIZES = {"B04": 20, "B05": 10, "B08": 20}


# --- what the items say ----------------------------------------------------------------------------------------


def test_an_item_of_sentinel2(sentinel2):
    path, _ = sentinel2()
    (product,) = read_products(path)
    assert product.id == "S2A_31TCJ_20210709_0_L2A"
    assert product.format == "stac"
    assert product.path == path
    assert (product.sensor, product.platform) == ("sentinel2", "sentinel-2a")
    assert product.time == np.datetime64("2021-07-09T10:57:10.722684", "ns")
    assert product.time.dtype == np.dtype("datetime64[ns]")
    assert product.cloud == 0.125
    assert product.sun == (40, 190)
    assert product.view is None
    assert product.notes == ()
    assert [(b.name, b.native) for b in product.bands] == [("red", "B4"), ("rededge1", "B5"), ("nir", "B8")]
    assert [Path(b.path).name for b in product.bands] == ["B04.tif", "B05.tif", "B08.tif"]
    for band in product.bands:
        assert (band.scale, band.offset, band.nodata, band.index) == (1e-4, -0.1, (0.0,), 1)
    assert product.bands[1].box == GeoBox.from_bbox((500000, 3999800, 500200, 4000000), PLACE, resolution=20)


def test_pixels_and_scene_classes(sentinel2):
    scl = np.full((10, 10), 4)
    scl[0, 0], scl[2, 3], scl[5, 5], scl[7, 7], scl[9, 9] = 0, 9, 3, 6, 11
    path, numbers = sentinel2(scl=scl)
    (product,) = read_products(path)
    values, valid, flags = product.read(["red", "nir"], product.box(["red"]), dilation=0)
    fine = np.repeat(np.repeat(scl, 2, 0), 2, 1)
    np.testing.assert_array_equal(valid, np.isin(fine, [4, 6, 11]))
    for number, flag in {0: "nodata", 9: "cloud", 3: "cloud_shadow", 6: "water", 11: "snow"}.items():
        assert (flags[fine == number] == FLAGS[flag]).all()
    for k, name in enumerate(("B04", "B08")):
        np.testing.assert_allclose(values[k][valid], numbers[name][valid] * 1e-4 - 0.1, rtol=1e-5)
    assert product.dilation == 60


@pytest.mark.parametrize("name", ["earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"])
def test_an_offset_that_the_numbers_have_already_is_not_added(sentinel2, name):
    path, _ = sentinel2(**{name: True})
    assert [b.offset for b in read_products(path)[0].bands] == [0, 0, 0]
    path, _ = sentinel2(**{name: False})
    assert [b.offset for b in read_products(path)[0].bands] == [-0.1] * 3


def test_an_item_of_stac_1_1(sentinel2):
    """Bands, scales and codes of the projection as the Copernicus Data Space gives them."""
    said = {"raster:scale": 2e-4, "raster:offset": -0.05, "nodata": 7, "proj:code": PLACE}

    def bands(name: str, common: str | None) -> dict[str, Any]:
        return {"eo:bands": None, "raster:bands": None, "bands": [{"name": name, "eo:common_name": common}], **said}

    changes = {"red": bands("B04", "red"), "nir": bands("B08", "nir"), "rededge1": bands("B05", "rededge071")}
    changes |= {"scl": said | {"raster:scale": None}, "aot": None, "visual": None}
    path, numbers = sentinel2(changes, **{"proj:epsg": None})
    document = json.loads(path.read_text())
    document["stac_version"] = "1.1.0"
    document["stac_extensions"] = [
        "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
        "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
        "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    ]
    for entry in document["assets"].values():
        for key in [k for k, v in entry.items() if v is None]:
            del entry[key]
    (product,) = read_products(write(path, document))
    assert [b.native for b in product.bands] == ["B4", "B5", "B8"]
    document["properties"] |= {"platform": "gaofen-1", "instruments": [], "constellation": "gaofen"}
    assert [b.name for b in read_products(write(path, document))[0].bands] == ["red", "rededge071", "nir"]
    assert {(b.scale, b.offset, b.nodata) for b in product.bands} == {(2e-4, -0.05, (7.0,))}
    values, _, _ = product.read(["red"], product.box(["red"]))
    np.testing.assert_allclose(values[0], numbers["B04"] * 2e-4 - 0.05, rtol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        asset("B04_20m.tif", (10, 10), 20),
        asset("B04.jp2", (20, 20), 10),
        asset("B04_large.jp2", (40, 40), 5),
        asset("B04_fine.tif", (40, 40), 5, roles=["data", "visual"]),
        asset("TCI.tif", (40, 40), 5, [{"name": "B04"}, {"name": "B03"}, {"name": "B02"}]),
        asset("composite.tif", (20, 20), 10, [{"name": "B04"}, {"name": "B08"}]),
    ],
)
def test_of_several_rasters_of_a_band_the_finest_geotiff_of_its_own(sentinel2, tmp_path, other):
    path, _ = sentinel2()
    document = json.loads(path.read_text())
    with rasterio.open(tmp_path / "B04.tif") as source:
        profile = source.profile | {"count": len(other.get("eo:bands", "1"))}
    with rasterio.open(tmp_path / other["href"], "w", **profile):
        pass
    one = {"eo:bands": [{"name": "B04"}], "raster:bands": [SCALED] * len(other.get("eo:bands", "1"))} | other
    for assets in ({"other": one} | document["assets"], document["assets"] | {"other": one}):
        (product,) = read_products(write(path, document | {"assets": assets}))
        assert Path(product.band("red").path).name == "B04.tif"


def test_of_two_scene_classifications_the_finer(sentinel2, tmp_path):
    path, _ = sentinel2()
    document = json.loads(path.read_text())
    (tmp_path / "SCL_60m.tif").touch()
    for key in ("SCL_60m", "scl_60m"):
        assets = {key: asset("SCL_60m.tif", (4, 4), 50)} | document["assets"]
        (product,) = read_products(write(path, document | {"assets": assets}))
        assert [Path(m.path).name for m in product.masks] == ["SCL.tif"]


@pytest.mark.parametrize(
    ("platform", "key", "name", "native"),
    [
        ("sentinel-2b", "B02", None, "B2"),
        ("sentinel-2b", "B8A_20m", None, "B8A"),
        ("sentinel-2b", "b12", None, "B12"),
        ("sentinel-2b", "any", "B11", "B11"),
        ("sentinel-2b", "any", "rededge3", "B7"),
        ("Landsat-8", "SR_B2.TIF", None, "SR_B2"),
        ("Landsat-8", "B05", None, "SR_B5"),
        ("LANDSAT_7", "nir08", "B4", "SR_B4"),
        ("landsat-5", "nir", "SR_B4", "SR_B4"),
    ],
)
def test_names_of_bands(tmp_path, tif, platform, key, name, native):
    tif(tmp_path / "a.tif", np.ones((1, 20, 20), np.uint16))
    entry = asset("a.tif", (20, 20), 10, [{"name": name}] if name else (), **{"raster:bands": [SCALED]})
    path = write(tmp_path / "item.json", item({key: entry}, platform=platform, instruments=None, constellation=None))
    assert [b.native for b in read_products(path)[0].bands] == [native]


@pytest.mark.parametrize("key", ["AOT_10m", "SCL", "ST_B10", "B99", "WVP", "visual", "visual_10m"])
def test_what_is_no_band(sentinel2, key):
    entry = asset("B04.tif", (20, 20), 10, [{"name": "B02"}] if "visual" in key else (), **{"raster:bands": [SCALED]})
    path, _ = sentinel2({key: entry})
    assert [b.native for b in read_products(path)[0].bands] == ["B4", "B5", "B8"]


def test_bands_are_in_the_order_of_the_sensor(sentinel2):
    path, _ = sentinel2()
    document = json.loads(path.read_text())
    document["assets"] = dict(reversed(document["assets"].items()))
    assert [b.native for b in read_products(write(path, document))[0].bands] == ["B4", "B5", "B8"]


@pytest.mark.parametrize("start", ["", "./", "file://"])
def test_places_of_files(sentinel2, tmp_path, start):
    href = f"{start}{tmp_path}/B04.tif" if start == "file://" else f"{start}B04.tif"
    path, numbers = sentinel2({"red": {"href": href}})
    (product,) = read_products(path)
    values, valid, _ = product.read(["red"], product.box(["red"]))
    np.testing.assert_allclose(values[0][valid], numbers["B04"][valid] * 1e-4 - 0.1, rtol=1e-5)


def test_rasters_on_the_web_are_not_opened(sentinel2):
    changes = {key: {"href": f"https://example.com/{key}.tif"} for key in ("red", "nir", "rededge1", "scl")}
    path, _ = sentinel2(changes)
    (product,) = read_products(path)
    assert [b.path for b in product.bands] == [f"https://example.com/{key}.tif" for key in ("red", "rededge1", "nir")]


def test_times_of_other_zones_become_utc(sentinel2):
    path, _ = sentinel2(datetime="2021-07-09T12:57:10.5+02:00")
    assert read_products(path)[0].time == np.datetime64("2021-07-09T10:57:10.500", "ns")
    path, _ = sentinel2(datetime=None, start_datetime="2021-07-09T10:57:10Z", end_datetime="2021-07-09T10:58:00Z")
    document = json.loads(path.read_text())
    document["properties"]["datetime"] = None
    assert read_products(write(path, document))[0].time == np.datetime64("2021-07-09T10:57:10", "ns")


@pytest.mark.parametrize("satellite", [5, 7, 8, 9])
def test_an_item_of_landsat_is_read_as_its_product(tmp_path, satellite):
    quality = np.full((12, 10), 21824)
    quality[3, 4], quality[5, 5], quality[6, 6] = 1 << 3, 1 << 4, 1 << 5
    saturation = np.zeros((12, 10))
    saturation[8, 8], saturation[9, 9] = 1 << 3, 1 << 5 if satellite < 8 else 1 << 8
    folder = make_landsat(tmp_path, satellite=satellite, quality=quality, saturation=saturation)
    place = {"proj:shape": [12, 10], "proj:transform": [30, 0, 500010, 0, -30, 4000005]}
    files = {f"SR_B{n}": f"B{n}" for n in BANDS[satellite]} | {"QA_PIXEL": None, "QA_RADSAT": None}
    thermal = {"ST_B10": asset("ST.tif", (12, 10), 30, [{"name": "ST_B10", "common_name": "lwir11"}])}
    assets = {
        key: asset(f"./{folder.name}_{key}.TIF", bands=[{"name": name}] if name else ())
        | place
        | ({"raster:bands": [{"nodata": 0, "scale": 2.75e-5, "offset": -0.2}]} if name else {})
        for key, name in files.items()
    }
    said = {"platform": f"landsat-{satellite}", "instruments": None, "constellation": None}
    path = write(folder / "item.json", item(thermal | assets, **said))
    expected, (product,) = landsat.read_product(folder), read_products(path)
    assert product.sensor == expected.sensor
    assert product.dilation == 0
    assert [(b.name, b.native) for b in product.bands] == [(b.name, b.native) for b in expected.bands]
    names = ["red", "swir16"]
    for one, other in zip(
        product.read(names, product.box(names)), expected.read(names, expected.box(names)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bands", [4, 8])
def test_an_item_of_planet_is_read_as_its_scene(tmp_path, bands):
    cloud = np.zeros((12, 10))
    cloud[3, 4] = 1
    path = make_planet(tmp_path / "scene", bands=bands, instrument="PSB.SD", mask={"cloud": cloud, "udm1": cloud * 4})
    place = {"proj:shape": [12, 10], "proj:transform": [3, 0, 500010, 0, -3, 4000005]}
    layers = [{"nodata": 0, "scale": 1e-4}] * bands
    described = [{"name": n.replace("_", " ").title()} for n in NAMES[bands]]
    assets = {
        "ortho_analytic_sr": asset(str(path), bands=described, **{"raster:bands": layers}) | place,
        "ortho_udm2": asset(str(next(path.parent.glob("*udm2*")))) | place,
        "ortho_visual": asset("visual.tif", bands=[{"name": n} for n in ("red", "green", "blue")], roles=["visual"]),
    }
    said = {"platform": "105e", "instruments": ["PSB.SD"], "constellation": "planetscope"}
    expected, (product,) = planet.read_product(path), read_products(write(tmp_path / "item.json", item(assets, **said)))
    assert (product.sensor, product.platform, product.dilation) == ("superdove", "105e", 30)
    assert [(b.name, b.native) for b in product.bands] == [(b.name, b.native) for b in expected.bands]
    for one, other in zip(
        product.read(["red", "nir"], product.box(["red"]), dilation=3),
        expected.read(["red", "nir"], expected.box(["red"]), dilation=3),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_a_sensor_that_is_not_known(tmp_path, tif):
    numbers = np.arange(1, 401, dtype=np.uint16).reshape(1, 20, 20)
    tif(tmp_path / "a.tif", numbers)
    assets = {
        "MS_1": asset("a.tif", (20, 20), 10, [{"name": "MS1", "common_name": "red"}], **{"raster:bands": [SCALED]}),
        "pan": asset("a.tif", (20, 20), 10, [{"name": "PAN"}], **{"raster:bands": [SCALED]}),
        "valid": asset("a.tif", (20, 20), 10, roles=["data-mask"]),
    }
    path = write(tmp_path / "item.json", item(assets, platform="gaofen-1", instruments=None, constellation=None))
    (product,) = read_products(path)
    assert (product.sensor, product.platform) == ("gaofen-1", "gaofen-1")
    assert [(b.name, b.native) for b in product.bands] == [("red", "MS1")]
    assert product.notes == ("no mask SCL, QA_PIXEL or UDM2 (valid is not understood); clouds are unknown",)
    assert product.dilation == 0
    values, valid, _ = product.read(["red"], product.box(["red"]))
    assert valid.all()
    np.testing.assert_allclose(values[0], numbers[0] * 1e-4 - 0.1, rtol=1e-4, atol=1e-7)


# --- where the item is silent, the raster tells ----------------------------------------------------------------


def test_what_the_item_does_not_tell_is_in_the_header(tmp_path, tif):
    numbers = np.arange(400, dtype=np.uint16).reshape(1, 20, 20)
    tif(tmp_path / "B04.tif", numbers, scales=[5e-4], offsets=[0.02], nodata=3)
    document = item({"red": asset("B04.tif", bands=[{"name": "B04", "common_name": "red"}])})
    document["stac_extensions"] = EXTENSIONS[:1]
    (product,) = read_products(write(tmp_path / "item.json", document))
    band = product.band("red")
    assert (band.scale, band.offset, band.nodata) == (5e-4, 0.02, (3.0,))
    assert band.box == GeoBox.from_bbox((500000, 3999800, 500200, 4000000), PLACE, resolution=10)


def test_nodata_that_only_the_header_tells(sentinel2, tmp_path, tif):
    path, numbers = sentinel2({"red": {"raster:bands": [{"scale": 1e-4}]}})
    tif(tmp_path / "B04.tif", numbers["B04"][None], nodata=5)
    band = read_products(path)[0].band("red")
    assert (band.scale, band.offset, band.nodata) == (1e-4, 0, (5.0,))


def test_numbers_that_are_reflectances_need_no_scale(tmp_path, tif):
    tif(tmp_path / "B04.tif", np.full((1, 20, 20), 0.25, np.float32))
    path = write(tmp_path / "item.json", item({"red": asset("B04.tif", (20, 20), 10, [{"name": "B04"}])}))
    assert (read_products(path)[0].read(["red"], read_products(path)[0].box(["red"]))[0] == 0.25).all()


def test_a_scale_that_nobody_tells_is_not_guessed(sentinel2):
    path, _ = sentinel2({"red": {"raster:bands": [{"nodata": 0}]}})
    with pytest.raises(InputError, match=r"item\.json: item S2A_31TCJ_20210709_0_L2A: tells no scale of asset red"):
        read_products(path)


# --- files -----------------------------------------------------------------------------------------------------


def test_collections_and_folders_of_items(sentinel2, tmp_path):
    path, _ = sentinel2(folder=tmp_path / "a")
    one = json.loads(path.read_text())
    two = one | {"id": "second"}
    both = write(tmp_path / "a" / "both.json", {"type": "FeatureCollection", "features": [one, two]})
    assert is_product(path)
    assert is_product(both)
    assert [p.id for p in read_products(both)] == [one["id"], "second"]
    assert is_product(tmp_path / "a")
    assert [p.id for p in read_products(tmp_path / "a")] == [one["id"], "second", one["id"]]
    assert [p.path.name for p in read_products(tmp_path / "a")] == ["both.json", "both.json", "item.json"]
    # Beside other folders and archives, the items are looked at one by one.
    (tmp_path / "a" / "other.zip").touch()
    assert not is_product(tmp_path / "a")
    (tmp_path / "a" / "other.zip").unlink()
    (tmp_path / "a" / "other").mkdir()
    assert not is_product(tmp_path / "a")
    assert not is_product(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{}"),
        ("a.json", '{"type": "Feature", "id": "a"}'),
        ("a.json", '{"type": "Collection", "stac_version": "1.0.0"}'),
        ("a.geojson", '{"type": "Feature", "stac_version": "1.0.0"}'),
        ("a.txt", '{"type": "Feature", "stac_version": "1.0.0"}'),
    ],
)
def test_what_is_no_item(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert not is_product(tmp_path / name)
    assert not is_product(tmp_path)


def test_items_beside_scenes_of_planet_are_not_read_twice(sentinel2, tmp_path):
    image = make_planet(tmp_path / "flat")
    path, _ = sentinel2()
    beside = write(image.parent / "20210709_175710_72_105e.json", json.loads(path.read_text()))
    assert not is_product(beside)
    assert not is_product(image.parent / "20210709_175710_72_105e_metadata.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        ('{"type": "Feature", "stac_version": "1.0.0", "id"', "is not valid JSON"),
        ("[]", "holds no STAC item"),
        ('{"type": "FeatureCollection", "features": []}', "holds no STAC item"),
        ('{"type": "FeatureCollection", "features": [3]}', "holds what is not a STAC item"),
        ('{"type": "Feature", "stac_version": "1.0.0", "id": "a"}', "holds what is not a STAC item"),
    ],
)
def test_damaged_items(tmp_path, text, message):
    path = tmp_path / "item.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"item\.json: {message}"):
        read_products(path)


@pytest.mark.parametrize(
    ("changes", "properties", "message"),
    [
        ({"red": {"href": "B99.tif"}}, {}, r"asset red \(.*B99\.tif\) does not exist"),
        ({"red": {"href": "file:///nowhere/B99.tif"}}, {}, r"asset red \(/nowhere/B99\.tif\) does not exist"),
        ({"scl": {"href": "B99.tif"}}, {}, r"asset scl \(.*B99\.tif\) does not exist"),
        ({"red": {"raster:bands": [{"scale": "small", "nodata": 0}]}}, {}, "scale is 'small', not a number"),
        ({}, {"eo:cloud_cover": "few"}, "eo:cloud_cover is 'few', not a number"),
        ({}, {"platform": None, "instruments": None, "constellation": None}, "tells no platform"),
        ({}, {"datetime": "noon"}, "holds what is not a STAC item"),
        ({"red": None, "nir": None, "rededge1": None}, {}, "has no band of sentinel2"),
    ],
)
def test_items_that_cannot_be_used(sentinel2, changes, properties, message):
    path, _ = sentinel2(changes, **properties)
    with pytest.raises(InputError, match=message):
        read_products(path)


def test_a_raster_that_cannot_be_read(sentinel2, tmp_path):
    path, _ = sentinel2()
    (tmp_path / "B04.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"B04\.tif: cannot be read"):
        read_products(path)


def test_without_the_extra(sentinel2, monkeypatch):
    path, _ = sentinel2()
    find = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("odc.stac"):
            raise ImportError(name)
        return find(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert is_product(path)
    with pytest.raises(
        InputError, match=r'odc-stac: is not installed; install it with: pip install "sitsfuse\[stac\]"'
    ):
        read_products(path)
