"""Theia/MUSCATE products: decoded as their metadata say, or refused with a word on what is wrong."""

import re
import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.errors import InputError
from sitsfuse.readers.products.flags import FLAGS
from sitsfuse.readers.products.muscate import is_product, read_product, read_products
from tests.helpers.make_muscate import make_muscate, numbers

VENUS = {"platform": "VENUS", "time": "2018-02-02T10:55:54.000", "shape": (10, 12), "kinds": ["FRE"]}
RED = VENUS | {"bands": ["B7"]}
"""What most tests need."""
FEW = {"bands": ["B2", "B3", "B5"], "kinds": ["FRE"]}


def read(product, name):
    """A band on its own grid."""
    values, valid, flags = product.read([name], product.band(name).box)
    return values[0], valid, flags


def drop(element):
    """Takes an element out of the metadata."""
    return lambda xml: re.sub(
        rf"<{element}(?=[\s/>])[^>]*?(/>|>.*?</{element.split(' ')[0]}>)", "", xml, flags=re.DOTALL
    )


def put(old, new):
    """Changes the metadata."""

    def edit(xml):
        assert old in xml
        return xml.replace(old, new)

    return edit


@pytest.mark.parametrize("form", ["folder", "zip", "nested"])
@pytest.mark.parametrize("letters", ["CC", "DC", "DD"])
def test_numbers_come_back_as_reflectances(tmp_path, form, letters):
    product = read_product(make_muscate(tmp_path, form=form, letters=tuple(letters)))
    assert [(b.native, b.name) for b in product.bands] == [
        ("B2", "blue"), ("B3", "green"), ("B4", "red"), ("B5", "rededge1"), ("B6", "rededge2"), ("B7", "rededge3"),
        ("B8", "nir"), ("B8A", "nir08"), ("B11", "swir16"), ("B12", "swir22"),
    ]  # fmt: skip
    for band, shape in (("B4", (24, 20)), ("B11", (12, 10))):
        values, valid, flags = read(product, band)
        np.testing.assert_allclose(values, numbers(f"FRE_{band}", shape) / 10000, rtol=1e-6)
        assert valid.all()
        assert not flags.any()
    assert product.notes == ()


def test_metadata_of_sentinel_2(tmp_path):
    path = make_muscate(tmp_path, letters=("D", "C"), origin=(300000, 4800000), epsg=32632, platform="SENTINEL2C")
    product = read_product(path)
    assert product.path == path
    assert product.id == "SENTINEL2C_20170203-071245-541_L2A_T31TCJ_D_V1-4"
    assert (product.format, product.sensor, product.platform) == ("muscate", "sentinel2", "SENTINEL2C")
    assert product.time == np.datetime64("2017-02-03T07:12:45.541")
    assert product.time.dtype == "datetime64[ns]"
    assert product.cloud == pytest.approx(0.24)
    assert product.sun == pytest.approx((26.99, 88.08))
    # Azimuths 359, 359.5 … 3.5: a plain mean of them would point to the south.
    assert product.view == pytest.approx((6.45, 1.25))
    assert product.dilation == 0
    assert product.band("red").box == GeoBox((24, 20), Affine(10, 0, 300000, 0, -10, 4800000), "EPSG:32632")
    assert product.band("swir16").box == GeoBox((12, 10), Affine(20, 0, 300000, 0, -20, 4800000), "EPSG:32632")
    assert read_products(path) == [product]


@pytest.mark.parametrize("platform", ["VENUS", "VM1", "VM5"])
def test_metadata_of_venus(tmp_path, platform):
    # The grid is a multiple of 5 m, and the time comes without a Z.
    product = read_product(make_muscate(tmp_path, **VENUS | {"platform": platform}, origin=(253615, 5167735)))
    assert (product.sensor, product.platform) == ("venus", platform)
    assert product.time == np.datetime64("2018-02-02T10:55:54")
    assert [b.native for b in product.bands] == [f"B{n}" for n in range(1, 13)]
    assert {b.native: b.name for b in product.bands}["B11"] == "nir08"
    assert product.band("B3").name == "blue"
    assert {b.box for b in product.bands} == {GeoBox((10, 12), Affine(5, 0, 253615, 0, -5, 5167735), "EPSG:32631")}
    assert {m.box for m in product.masks} == {product.bands[0].box}


@pytest.mark.parametrize("quantification", [1000, 10000])
@pytest.mark.parametrize("nodata", [-10000, -1000])
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_scale_and_nodata_are_those_of_the_metadata(tmp_path, quantification, nodata, dtype):
    image = np.arange(120).reshape(10, 12) + 2
    image[0, :3] = nodata
    path = make_muscate(tmp_path, {"B7": image}, **RED, quantification=quantification, nodata=nodata, dtype=dtype)
    values, valid, flags = read(read_product(path), "red")
    assert not valid[0, :3].any()
    assert valid[image > 0].all()
    assert (flags == np.where(image == nodata, FLAGS["nodata"], 0)).all()
    np.testing.assert_allclose(values[valid], image[valid] / quantification, rtol=1e-6)


def test_negative_reflectances_are_valid(tmp_path):
    image = np.full((10, 12), -37)
    values, valid, _ = read(read_product(make_muscate(tmp_path, {"B7": image}, **RED)), "B7")
    assert valid.all()
    np.testing.assert_allclose(values, -0.0037, rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "number", "flags"),
    [
        ("EDG", 1, {"nodata"}),
        ("CLM", 1, {"cloud"}),
        # All clouds but not in bit 0, as some versions write shadows alone.
        ("CLM", 64, {"cloud"}),
        ("CLM", 255, {"cloud"}),
        ("SAT", 1, {"saturated"}),
        ("SAT", 2048, {"saturated"}),
        ("MG2", 1, {"water"}),
        ("MG2", 2, {"cloud"}),
        ("MG2", 4, {"snow"}),
        ("MG2", 8, {"cloud_shadow"}),
        ("MG2", 16, {"terrain_shadow"}),
        ("MG2", 32, {"terrain_shadow"}),
        ("MG2", 64, {"poor_illumination"}),
        ("MG2", 128, {"poor_illumination"}),
        ("MG2", 1 + 4, {"water", "snow"}),
        ("MG2", 2 + 8 + 128, {"cloud", "cloud_shadow", "poor_illumination"}),
    ],
)
def test_what_masks_mean(tmp_path, mask, number, flags):
    there = np.zeros((10, 12), int)
    there[2:5, 3:9] = number
    product = read_product(make_muscate(tmp_path, masks={mask: there}, **RED))
    _, valid, found = read(product, "B7")
    assert (found == np.where(there != 0, sum(FLAGS[f] for f in flags), 0)).all()
    assert (valid == ((there == 0) | (flags <= {"water", "snow"}))).all()


def test_masks_of_two_resolutions(tmp_path):
    fine = np.zeros((24, 20), np.uint8)
    fine[4:8, 6:10] = 1
    coarse = np.zeros((12, 10), np.uint8)
    coarse[9, 3] = 8
    # CLM_R2 is not what CLM_R1 is: the finest one is asked. Saturation is told by band, in one mask for each group.
    masks = {"CLM_R1": fine, "CLM_R2": coarse, "SAT_R2": coarse}
    product = read_product(make_muscate(tmp_path, masks=masks, bands=["B4", "B5"], kinds=["FRE"]))
    assert product.notes == ()
    _, _, flags = read(product, "B4")
    saturated = np.kron(coarse, np.ones((2, 2), int)) != 0
    assert (flags == FLAGS["cloud"] * fine + FLAGS["saturated"] * saturated).all()
    assert (read(product, "B5")[2] == FLAGS["cloud"] * fine[::2, ::2] + FLAGS["saturated"] * (coarse != 0)).all()


@pytest.mark.parametrize(
    ("without", "note", "kinds"),
    [
        (["CLM_R1"], None, {"EDG_R1", "CLM_R2", "SAT_R1", "SAT_R2", "MG2_R1"}),
        (["CLM_R1", "CLM_R2"], "no mask CLM", {"EDG_R1", "SAT_R1", "SAT_R2", "MG2_R1"}),
        (["SAT_R2"], "no mask SAT_R2", {"EDG_R1", "CLM_R1", "SAT_R1", "MG2_R1"}),
        (
            [f"{m}_{r}" for m in ("CLM", "MG2", "SAT") for r in ("R1", "R2")],
            "no mask CLM, SAT_R1, SAT_R2, MG2; clouds are unknown",
            {"EDG_R1"},
        ),
    ],
)
def test_missing_masks_are_noted(tmp_path, without, note, kinds):
    clouds = np.zeros((24, 20), np.uint8)
    clouds[:4] = 2
    product = read_product(
        make_muscate(tmp_path, masks={"MG2": clouds}, without=without, bands=["B4", "B5"], kinds=["FRE"])
    )
    assert product.notes == ((note,) if note else ())
    assert {re.search(r"_(\w{3}_R\d)\.tif$", m.path)[1] for m in product.masks} == kinds
    # The clouds of MG2 do for those of CLM.
    cloudy = read(product, "B4")[2] == FLAGS["cloud"]
    assert (cloudy == (clouds != 0)).all() if "MG2_R1" in kinds else not cloudy.any()


def test_reflectance_with_and_without_correction_of_slopes(tmp_path):
    path = make_muscate(tmp_path / "both", bands=["B4"])
    for product, kind in ((read_product(path), "FRE"), (read_product(path, "SRE"), "SRE")):
        np.testing.assert_allclose(read(product, "red")[0], numbers(f"{kind}_B4", (24, 20)) / 10000, rtol=1e-6)
        assert product.notes == ()
    for there, other in (("SRE", "FRE"), ("FRE", "SRE")):
        for name, options in (("listed", {"without": [f"{other}_B4"]}), ("unlisted", {"kinds": [there]})):
            path = make_muscate(tmp_path / there / name, bands=["B4"], **options)
            product = read_product(path, other)
            np.testing.assert_allclose(read(product, "B4")[0], numbers(f"{there}_B4", (24, 20)) / 10000, rtol=1e-6)
            assert len(product.notes) == 1
            assert re.match(f"no {other} images: {there} .* is read", product.notes[0])
    with pytest.raises(InputError, match="FRE, SRE"):
        read_product(path, "TOA")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (drop("REFLECTANCE_QUANTIFICATION_VALUE"), "has no REFLECTANCE_QUANTIFICATION_VALUE"),
        (put("VALUE>10000<", "VALUE>0<"), "REFLECTANCE_QUANTIFICATION_VALUE is 0"),
        (put("VALUE>10000<", "VALUE>many<"), "REFLECTANCE_QUANTIFICATION_VALUE is 'many', not a number"),
        (put("VALUE>10000<", "VALUE>nan<"), "REFLECTANCE_QUANTIFICATION_VALUE is 'nan', not a number"),
        (drop('SPECIAL_VALUE name="nodata"'), r"has no SPECIAL_VALUE\[@name='nodata'\]"),
        (put("2017-02-03T07:12:45.541Z</ACQ", "</ACQ"), "has no Product_Characteristics/ACQUISITION_DATE"),
        (put("2017-02-03T07:12:45.541Z</ACQ", "today</ACQ"), "ACQUISITION_DATE is 'today', not a time"),
        (put("2017-02-03T07:12:45.541Z</ACQ", "2017-02-30T07:12:45.541Z</ACQ"), "ACQUISITION_DATE is .*, not a time"),
        (drop("PLATFORM"), "has no PLATFORM"),
        (put("<PLATFORM>SENTINEL2A", "<PLATFORM>LANDSAT8"), "PLATFORM is LANDSAT8"),
        (put("<PLATFORM>SENTINEL2A", "<PLATFORM>SPOT9"), "PLATFORM is SPOT9"),
        (drop("HORIZONTAL_CS_CODE"), "has no HORIZONTAL_CS_CODE"),
        (drop("XDIM"), r"has no Group_Geopositioning\[@group_id='R1'\]/XDIM"),
        (put('"CloudPercent">24', '"CloudPercent">some'), "CloudPercent.* is 'some', not a number"),
        (drop("Band_Group_List"), "Band_Group_List has no band B2"),
        (drop("PRODUCT_ID"), "has no PRODUCT_ID"),
        (lambda xml: xml[:2000], "is not valid XML"),
    ],
)
def test_faulty_metadata_are_named(tmp_path, edit, says):
    path = make_muscate(tmp_path, edit=edit, **FEW)
    with pytest.raises(InputError, match=says) as error:
        read_product(path)
    assert "V1-4_MTD_ALL.xml: " in str(error.value)
    assert error.value.mend


def test_what_is_not_needed_may_be_missing(tmp_path):
    path = make_muscate(tmp_path, edit=lambda xml: drop("QUALITY_INDEX")(drop("Mean_Value_List")(xml)), **FEW)
    product = read_product(path)
    assert (product.cloud, product.sun, product.view) == (None, None, None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"without": ["FRE_B5"]}, r"has no image of band B5, which its metadata list \(\*_FRE_B5.tif\)"),
        ({"without": ["FRE_B4"], "bands": ["B4"]}, "has no images of reflectance"),
        ({"moved": {"FRE_B3": (10, 0)}}, "FRE_B3.tif: lies on another grid than group R1 of its metadata"),
        ({"moved": {"MG2_R1": (0, -10)}}, "MG2_R1.tif: lies on another grid than group R1"),
        ({"edit": put("<XDIM>10<", "<XDIM>11<")}, "FRE_B2.tif: lies on another grid than group R1"),
        ({"edit": put("CODE>32631", "CODE>32731")}, "FRE_B2.tif: CRS EPSG:32631 differs"),
        ({"edit": put("<NROWS>12<", "<NROWS>13<")}, r"FRE_B5.tif: size 12×10 differs .* group R2 .* \(13×10\)"),
    ],
)
def test_faulty_files_are_named(tmp_path, options, says):
    path = make_muscate(tmp_path, **FEW | options)
    with pytest.raises(InputError, match=says) as error:
        read_product(path)
    assert error.value.mend == "download the product again" or "again" in error.value.mend


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = make_muscate(tmp_path, **RED)
    mask = next(path.glob("MASKS/*CLM_XS.tif"))
    with rasterio.open(mask) as source:
        profile = source.profile | {"width": 11}
    with rasterio.open(mask, "w", **profile) as out:
        out.write(np.zeros((1, 10, 11), np.uint8))
    with pytest.raises(InputError, match=r"CLM_XS.tif: size 10×11 differs from that of group XS .* \(10×12\)"):
        read_product(path)


def test_half_a_pixel_is_a_matter_of_convention(tmp_path):
    path = make_muscate(tmp_path, **RED, moved={"FRE_B7": (2.5, -2.5)})
    product = read_product(path)
    assert product.band("B7").box.affine.c == 600002.5
    assert len(product.notes) == 1
    assert "half a pixel" in product.notes[0]


def test_damaged_products_are_refused(tmp_path):
    whole = make_muscate(tmp_path / "zip", form="zip", bands=["B4"])
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(InputError, match="zip: is truncated"):
        read_product(whole)
    assert is_product(whole)
    folder = make_muscate(tmp_path / "folder", bands=["B4"])
    band = next(folder.glob("*FRE_B4.tif"))
    band.write_bytes(band.read_bytes()[:60])
    with pytest.raises(InputError, match=r"FRE_B4.tif: cannot be read"):
        read_product(folder)
    next(folder.glob("*.xml")).unlink()
    with pytest.raises(InputError, match=r"has no metadata file \(\*_MTD_ALL.xml\)"):
        read_product(folder)
    assert is_product(folder)


def test_what_is_a_product(tmp_path):
    names = {
        "SENTINEL2A_20170203-071245-541_L2A_T38KPD_C_V1-4": True,
        "VENUS-XS_20200923-105325-000_L2A_SUDOUE-1_C_V3-1": True,
        "SENTINEL2A_20170203-071245-541_L1C_T38KPD_C_V1-4": False,
        "S2A_MSIL2A_20230911T112121_N0509_R037_T28PDC_20230911T161500.SAFE": False,
        "guide": False,
    }
    for name, expected in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.zip").write_bytes(b"PK")
        assert is_product(tmp_path / name) == expected
        assert is_product(tmp_path / f"{name}.zip") == expected
    assert not is_product(tmp_path / "missing")
    assert not is_product(tmp_path)
    file = tmp_path / "SENTINEL2A_20170203-071245-541_L2A_T38KPD_C_V1-4_FRE_B2.tif"
    file.write_bytes(b"")
    assert not is_product(file)
    # A folder of another name is known by its metadata file.
    renamed = make_muscate(tmp_path / "x", bands=["B4"]).rename(tmp_path / "mine")
    assert is_product(renamed)
    assert read_product(renamed).path == renamed


# --- real metadata -----------------------------------------------------------------------------------------------


def empty(path, shape, pixel, origin, epsg, dtype="int16"):
    """A large raster without any data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
    header = {"count": 1, "height": shape[0], "width": shape[1], "dtype": dtype, "crs": f"EPSG:{epsg}"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, SPARSE_OK=True, tiled=True, **header) as out:
        assert out.count == 1


def around(xml, folder, groups, origin, epsg):
    """A product of empty files around real metadata."""
    stem = xml.name.removesuffix("_MTD_ALL.xml")
    folder = folder / stem
    folder.mkdir()
    shutil.copy(xml, folder)
    for group, (side, pixel, bands) in groups.items():
        for ending in [f"FRE_{b}" for b in bands] + [f"MASKS/{m}_{group}" for m in ("CLM", "EDG", "MG2", "SAT")]:
            *inner, name = ending.split("/")
            kind = "uint8" if inner else "int16"
            empty(folder.joinpath(*inner, f"{stem}_{name}.tif"), (side, side), pixel, origin, epsg, kind)
    return folder


R1, R2 = ("B2", "B3", "B4", "B8"), ("B5", "B6", "B7", "B8A", "B11", "B12")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "product_id", "time", "epsg", "origin", "cloud", "sun", "view_of_b2"),
    [
        (
            "SENTINEL2A_20170203-071245-541_L2A_T38KPD_C_V1-0",
            "SENTINEL2A_20170203-071245-541_L2A_T38KPD_D_V1-4",
            "2017-02-03T07:12:45.541",
            32738,
            (600000, 7900000),
            0.24,
            (26.9929467990548, 88.0848960670415),
            (6.34279501659039, 285.807239893696),
        ),
        (
            "SENTINEL2A_20160928-105637-665_L2A_T31UDS_C_V1-0",
            "SENTINEL2A_20160928-105637-665_L2A_T31UDS_C_V1-0",
            "2016-09-28T10:56:37.665",
            32631,
            (399960, 5700000),
            0.54,
            None,
            None,
        ),
    ],
)
def test_real_metadata_of_sentinel_2(real_data, tmp_path, name, product_id, time, epsg, origin, cloud, sun, view_of_b2):
    xml = real_data / "product_metadata" / f"{name}_MTD_ALL.xml"
    product = read_product(around(xml, tmp_path, {"R1": (10980, 10, R1), "R2": (5490, 20, R2)}, origin, epsg))
    assert product.id == product_id
    assert (product.sensor, product.platform) == ("sentinel2", "SENTINEL2A")
    assert product.time == np.datetime64(time)
    assert product.cloud == pytest.approx(cloud)
    assert product.sun == (pytest.approx(sun) if sun else product.sun)
    assert len(product.bands) == 10
    assert {(b.scale, b.offset) for b in product.bands} == {(1e-4, 0.0)}
    assert {b.nodata for b in product.bands} == {(-10000, 55536)}
    assert product.band("nir").box == GeoBox(
        (10980, 10980), Affine(10, 0, origin[0], 0, -10, origin[1]), f"EPSG:{epsg}"
    )
    assert product.band("swir22").box.shape == (5490, 5490)
    assert len(product.masks) == 5
    assert product.notes == ()
    if view_of_b2:
        assert product.view == pytest.approx(view_of_b2, abs=0.5)


@pytest.mark.real
def test_real_template_of_venus(real_data, tmp_path):
    # The producer's template: its values are those of some other product, its elements those of Venµs.
    text = (real_data / "product_metadata" / "MAJA_template_VENUS_MTD_ALL.xml").read_text(encoding="utf-8")
    text = text.replace("NOT_INITIALIZED</ZENITH", "10</ZENITH").replace("NOT_INITIALIZED</AZI", "100</AZI")
    text = text.replace("NOT_INITIALIZED LANDSAT5</PLATFORM>", "VENUS</PLATFORM>").replace("NOT_INITIALIZED ", "")
    stem = "VENUS-XS_20120101-105148-000_L2A_CAMARGUE_C_V1-0"
    xml = tmp_path / f"{stem}_MTD_ALL.xml"
    xml.write_text(text, encoding="utf-8")
    bands = [f"B{n}" for n in range(1, 13)]
    product = read_product(around(xml, tmp_path, {"XS": (10980, 10, bands)}, (600000, 4900020), 32631))
    assert product.sensor == "venus"
    assert product.time == np.datetime64("2010-01-18T10:30:00")
    assert [b.native for b in product.bands] == bands
    assert {b.scale for b in product.bands} == {1e-3}
    assert (product.cloud, product.sun, product.view) == (0, (10, pytest.approx(100)), (10, pytest.approx(100)))
    assert len(product.masks) == 4
    assert product.notes == ()
