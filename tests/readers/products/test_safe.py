"""SAFE products of Sentinel-2: decoded as their metadata say, or refused with a word on what is wrong."""

import re
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.errors import InputError
from sitsfuse.readers.opening import DRIVERS
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.readers.products.safe import is_product, read_product, read_products
from tests.helpers.make_muscate import numbers
from tests.helpers.make_safe import make_safe

FEW = {"bands": ["B04", "B11", "SCL"], "coarse": False}
"""What most tests need."""


def read(product, name, **options):
    """A band on its own grid."""
    values, valid, flags = product.read([name], product.band(name).box, **options)
    return values[0], valid, flags


def put(old, new):
    """Changes the metadata."""

    def edit(xml):
        assert old in xml
        return xml.replace(old, new)

    return edit


@pytest.mark.parametrize("form", ["folder", "zip", "nested"])
def test_numbers_come_back_as_reflectances(tmp_path, form):
    product = read_product(make_safe(tmp_path, form=form))
    finest = {
        "B1": ("coastal", 20), "B2": ("blue", 10), "B3": ("green", 10), "B4": ("red", 10), "B5": ("rededge1", 20),
        "B6": ("rededge2", 20), "B7": ("rededge3", 20), "B8": ("nir", 10), "B8A": ("nir08", 20), "B9": ("nir09", 60),
        "B11": ("swir16", 20), "B12": ("swir22", 20),
    }  # fmt: skip
    assert {b.native: (b.name, b.box.affine.a) for b in product.bands} == finest
    assert [b.native for b in product.bands] == list(finest)
    for band, side in (("B04_10m", 24), ("B8A_20m", 12), ("B09_60m", 4)):
        values, valid, flags = read(product, band[:3].replace("B0", "B"))
        np.testing.assert_allclose(values, (numbers(band, (side, side)) - 1000) / 10000, rtol=1e-5, atol=1e-9)
        assert valid.all()
        assert not flags.any()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_sees_the_same(tmp_path):
    path = make_safe(tmp_path)
    with rasterio.Env() as env:
        if "SENTINEL2" not in env.drivers():
            pytest.skip("this GDAL does not read Sentinel-2 products")
    product = read_product(path)
    with rasterio.open(path / "MTD_MSIL2A.xml") as source:
        images = [name for name in source.subdatasets if re.search(r":\d\dm:", name)]
    compared = []
    for image in images:
        with rasterio.open(image) as source:
            for index in source.indexes:
                name = source.tags(index).get("BANDNAME")
                band = next((b for b in product.bands if b.native == name), None)
                if band is not None and band.box.affine == source.transform:
                    assert band.box.crs.epsg == source.crs.to_epsg()
                    truth = (source.read(index) - 1000.0) / 10000
                    np.testing.assert_allclose(read(product, name)[0], truth, atol=1e-7)
                    compared.append(name)
    # GDAL knows of B1 at 60 m only.
    assert sorted(compared) == sorted(b.native for b in product.bands if b.native != "B1")


def test_metadata(tmp_path):
    path = make_safe(tmp_path, platform="Sentinel-2C", tile="T31TCJ", epsg=32631, origin=(300000, 4900020), **FEW)
    product = read_product(path)
    assert product.path == path
    assert product.id == "S2C_MSIL2A_20230911T112121_N0509_R037_T31TCJ_20230911T161500"
    assert (product.format, product.sensor, product.platform) == ("safe", "sentinel2", "Sentinel-2C")
    # The tile's own time, not the beginning of the data take a quarter of an hour before.
    assert product.time == np.datetime64("2023-09-11T11:37:14.779144")
    assert product.time.dtype == "datetime64[ns]"
    assert product.cloud == pytest.approx(0.04109936)
    assert product.sun == pytest.approx((22.88, 117.24))
    assert product.view == pytest.approx((8.6, 106))
    assert product.dilation == 60
    assert product.band("red").box == GeoBox((24, 24), Affine(10, 0, 300000, 0, -10, 4900020), "EPSG:32631")
    assert product.masks[0].box == GeoBox((12, 12), Affine(20, 0, 300000, 0, -20, 4900020), "EPSG:32631")
    assert product.notes == ()
    assert read_products(path) == [product]


def test_elements_may_be_of_any_namespace(tmp_path):
    plain = read_product(make_safe(tmp_path / "plain", **FEW))
    edits = dict.fromkeys(("edit", "edit_tile"), put("xmlns:n1=", 'xmlns="urn:any" xmlns:n1='))
    product = read_product(make_safe(tmp_path / "any", **FEW, **edits))
    for name in ("id", "time", "platform", "cloud", "sun", "view", "notes"):
        assert getattr(product, name) == getattr(plain, name)
    for one, other in zip(plain.bands, product.bands, strict=True):
        assert (one.scale, one.offset, one.nodata, one.saturated) == (1e-4, -0.1, (0,), (65535,))
        assert (one.scale, one.offset, one.nodata, one.saturated) == (
            other.scale,
            other.offset,
            other.nodata,
            other.saturated,
        )


@pytest.mark.parametrize(
    ("baseline", "offset", "expected"),
    [
        ("05.09", -1000, {"B4": -1000, "B11": -1000}),
        # The ids of bands count B8A, and are not the numbers of the bands.
        ("04.00", {f"B{n}": -10 * int(n.strip("A")) for n in ("1", "4", "8A", "11")}, {"B4": -40, "B11": -110}),
        ("02.11", None, {"B4": 0, "B11": 0}),
        ("99.99", None, {"B4": 0, "B11": 0}),
    ],
)
@pytest.mark.parametrize("quantification", [10000, 1000])
def test_scale_and_offset_are_those_of_the_metadata(tmp_path, baseline, offset, expected, quantification):
    path = make_safe(tmp_path, baseline=baseline, offset=offset, quantification=quantification, **FEW)
    product = read_product(path)
    for band, image, side in (("B4", "B04_10m", 24), ("B11", "B11_20m", 12)):
        truth = (numbers(image, (side, side)) + expected[band]) / quantification
        np.testing.assert_allclose(read(product, band)[0], truth, rtol=1e-5, atol=1e-8)


def test_special_values(tmp_path):
    image = np.full((24, 24), 2000)
    image[0, :5], image[3, 7] = 0, 65535
    product = read_product(make_safe(tmp_path / "usual", {"B04": image}, **FEW))
    _, valid, flags = read(product, "red")
    assert (flags == FLAGS["nodata"] * (image == 0) + FLAGS["saturated"] * (image == 65535)).all()
    assert (valid == (image == 2000)).all()
    # Other numbers in the metadata, other pixels.
    index = "SPECIAL_VALUE_INDEX>"
    product = read_product(
        make_safe(tmp_path / "other", {"B04": image}, edit=put(f"{index}0<", f"{index}2000<"), **FEW)
    )
    assert (read(product, "red")[1] == (image == 0)).all()


@pytest.mark.parametrize(
    ("number", "flag"),
    [
        (0, "nodata"), (1, "saturated"), (2, "terrain_shadow"), (3, "cloud_shadow"), (4, None), (5, None), (6, "water"),
        (7, None), (8, "cloud"), (9, "cloud"), (10, "cloud"), (11, "snow"),
    ],
)  # fmt: skip
def test_what_the_scene_classification_means(tmp_path, number, flag):
    scenes = np.full((12, 12), 4)
    scenes[2:5, 7] = number
    product = read_product(make_safe(tmp_path, scl=scenes, **FEW))
    there = scenes == number if flag else np.zeros((12, 12), bool)
    _, valid, flags = read(product, "B11", dilation=0)
    assert (flags == FLAGS.get(flag, 0) * there).all()
    assert (valid == (~there | (flag in ("water", "snow")))).all()
    fine = np.kron(there, np.ones((2, 2), int)) != 0
    assert (read(product, "B4", dilation=0)[2] == FLAGS.get(flag, 0) * fine).all()


def test_clouds_are_widened_by_60_m(tmp_path):
    scenes = np.full((12, 12), 4)
    scenes[5, 6] = 9
    product = read_product(make_safe(tmp_path, scl=scenes, **FEW))
    y, x = np.mgrid[:12, :12]
    near = np.hypot(y - 5, x - 6) * 20 <= 60
    _, valid, flags = read(product, "swir16")
    assert (valid == ~near).all()
    assert (flags == FLAGS["cloud"] * near).all()


def test_a_missing_scene_classification_is_noted(tmp_path):
    for k, options in enumerate(({"without": ["SCL_20m"]}, {"bands": ["B04"]})):
        product = read_product(make_safe(tmp_path / str(k), **FEW | options))
        assert product.notes == ("no scene classification (SCL); clouds are unknown",)
        assert product.masks == ()
        assert read(product, "B4")[1].all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"edit": put("BOA_QUANTIFICATION_VALUE", "X")}, "MTD_MSIL2A.xml: has no BOA_QUANTIFICATION_VALUE"),
        ({"offset": None}, "MTD_MSIL2A.xml: has no BOA_ADD_OFFSET, though its PROCESSING_BASELINE is 05.09"),
        ({"offset": {"B4": -1000}}, "MTD_MSIL2A.xml: has no BOA_ADD_OFFSET of band B11"),
        ({"edit": put('physicalBand="B4"', "")}, "MTD_MSIL2A.xml: has no BOA_ADD_OFFSET of band B4"),
        ({"edit": put("NODATA", "X")}, "MTD_MSIL2A.xml: has no Special_Values for NODATA"),
        ({"edit": put("INDEX>0<", "INDEX>none<")}, "SPECIAL_VALUE_INDEX of NODATA is 'none', not a number"),
        ({"edit": put("SPACECRAFT_NAME", "X")}, "MTD_MSIL2A.xml: has no SPACECRAFT_NAME"),
        ({"edit": put("PRODUCT_URI", "X")}, "MTD_MSIL2A.xml: has no PRODUCT_URI"),
        ({"edit": put("IMAGE_FILE", "X")}, "MTD_MSIL2A.xml: lists no IMAGE_FILE of a band"),
        ({"edit": put("<Granule_List>", "<Granule_List><Granule/>")}, "MTD_MSIL2A.xml: lists 2 tiles"),
        ({"edit": lambda xml: xml[:900]}, "MTD_MSIL2A.xml: is not valid XML"),
        ({"edit_tile": put("SENSING_TIME", "X")}, "MTD_TL.xml: has no SENSING_TIME"),
        ({"edit_tile": put("EPSG:32628", "EPSG:99999")}, "HORIZONTAL_CS_CODE is 'EPSG:99999', no EPSG code"),
        ({"edit_tile": put("EPSG:32628", "EPSG:32728")}, "B11_20m.jp2: CRS EPSG:32628 differs|B04_10m.jp2: CRS"),
        ({"edit_tile": put('resolution="20"', "")}, r"MTD_TL.xml: has no Geoposition\[@resolution='20'\]/XDIM"),
        ({"edit_tile": put("<NROWS>24<", "<NROWS>25<")}, r"B04_10m.jp2: size 24×24 differs .* \(25×24\)"),
        ({"without": ["B04_10m"]}, "has no image of band B4, which its metadata list"),
        ({"moved": {"B04_10m": (10, 0)}}, "B04_10m.jp2: lies on another grid than 10 m in its metadata"),
        ({"moved": {"SCL_20m": (0, 10)}}, "SCL_20m.jp2: lies on another grid than 20 m"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, options, says):
    path = make_safe(tmp_path, **FEW | options)
    with pytest.raises(InputError, match=says) as error:
        read_product(path)
    assert re.search("download the product again|products of one tile", error.value.mend)


def test_damaged_products_are_refused(tmp_path):
    whole = make_safe(tmp_path / "zip", form="zip", **FEW)
    whole.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="zip: is truncated"):
        read_product(whole)
    assert is_product(whole)
    folder = make_safe(tmp_path, **FEW)
    band = next(folder.rglob("*B04_10m.jp2"))
    band.write_bytes(band.read_bytes()[:40])
    with pytest.raises(InputError, match=r"B04_10m.jp2: cannot be read"):
        read_product(folder)
    next(folder.rglob("MTD_TL.xml")).unlink()
    with pytest.raises(InputError, match=r"has no metadata file of its tile \(MTD_TL.xml\)"):
        read_product(folder)
    next(folder.rglob("MTD_MSIL2A.xml")).unlink()
    with pytest.raises(InputError, match=r"has no metadata file \(MTD_MSIL2A.xml\)"):
        read_product(folder)
    assert is_product(folder)


def test_what_is_a_product(tmp_path):
    names = {
        "S2A_MSIL2A_20230911T112121_N0509_R037_T28PDC_20230911T161500.SAFE": True,
        "S2C_MSIL2A_20250101T112121_N0511_R037_T28PDC_20250101T161500": True,
        "S2A_MSIL1C_20230911T112121_N0509_R037_T28PDC_20230911T161500.SAFE": False,
        "SENTINEL2A_20170203-071245-541_L2A_T38KPD_C_V1-4": False,
    }
    for name, expected in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.zip").write_bytes(b"PK")
        assert is_product(tmp_path / name) == expected
        assert is_product(tmp_path / f"{name}.zip") == expected
    assert not is_product(tmp_path / "missing")
    assert not is_product(tmp_path)
    renamed = make_safe(tmp_path / "x", **FEW).rename(tmp_path / "mine")
    assert is_product(renamed)


# --- real metadata -----------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "product_id", "platform", "cloud", "offset", "coastal"),
    [
        (
            "SAFE_S2A_MSIL2A_20230911T112121_N0509_R037_T2__MTD_MSIL2A.xml",
            "S2A_MSIL2A_20230911T112121_N0509_R037_T28PDC_20230911T161500",
            "Sentinel-2A",
            0.04109936,
            -0.1,
            20,
        ),
        (
            "MTD_MSIL2A_20190501.xml",
            "S2B_MSIL2A_20190501T105039_N0211_R051_T31TCJ_20190501T140320",
            "Sentinel-2B",
            0.02626449,
            0.0,
            60,
        ),
    ],
)
def test_real_metadata(real_data, tmp_path, monkeypatch, name, product_id, platform, cloud, offset, coastal):
    # The tile is that of 2023 for both; images are empty GeoTIFFs, since JPEG 2000 of this size takes seconds to write.
    monkeypatch.setitem(DRIVERS, ".jp2", ("GTiff",))
    xml = real_data / "product_metadata" / name
    shutil.copy(xml, tmp_path / "MTD_MSIL2A.xml")
    tile = real_data / "product_metadata" / "SAFE_L2A_T28PDC_A042934_20230911T113501__MTD_TL.xml"
    for file in re.findall(r"<IMAGE_FILE>(.*?_(?:B..|SCL)_\d\dm)</IMAGE_FILE>", xml.read_text(encoding="utf-8")):
        metres = int(file[-3:-1])
        path = tmp_path / f"{file}.jp2"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tile, path.parents[2] / "MTD_TL.xml")
        side = 109800 // metres
        header = {"count": 1, "height": side, "width": side, "dtype": "uint16", "crs": "EPSG:32628"}
        transform = Affine(metres, 0, 399960, 0, -metres, 1800000)
        with rasterio.open(path, "w", driver="GTiff", transform=transform, SPARSE_OK=True, tiled=True, **header) as out:
            assert out.count == 1
    product = read_product(tmp_path)
    assert product.id == product_id
    assert product.platform == platform
    assert product.time == np.datetime64("2023-09-11T11:37:14.779144")
    assert product.cloud == pytest.approx(cloud)
    assert product.sun == pytest.approx((22.8814022848262, 117.241117887337))
    assert {(b.scale, b.nodata, b.saturated) for b in product.bands} == {(1e-4, (0,), (65535,))}
    assert {b.offset for b in product.bands} == {offset}
    metres = {b.native: b.box.affine.a for b in product.bands}
    assert metres == {"B1": coastal, "B9": 60} | dict.fromkeys(("B2", "B3", "B4", "B8"), 10) | dict.fromkeys(
        ("B5", "B6", "B7", "B8A", "B11", "B12"), 20
    )
    assert product.band("red").box == GeoBox((10980, 10980), Affine(10, 0, 399960, 0, -10, 1800000), "EPSG:32628")
    assert [m.box.affine.a for m in product.masks] == [20]
    assert product.notes == ()
