"""STAC beside a folder of predictions: what pystac and odc-stac make of it."""

import shutil

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from sitsfuse.fusion.fuse import fuse
from sitsfuse.readers import open_series
from tests.helpers import scenes

pystac = pytest.importorskip("pystac")
odc_stac = pytest.importorskip("odc.stac")
DATES = [scenes.day(14), scenes.day(20)]


def run(out, dates, **more):
    site = scenes.site(seed=1, n_bands=4)
    site["guide"].attrs["sensor"] = "venus"
    fuse(site, out, method="difference", tile=64, workers=1, dates=dates, **more)
    return pystac.Collection.from_file(str(out / "collection.json"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two predictions, moved after it was written."""
    place = tmp_path_factory.mktemp("stac")
    run(place / "fused", DATES)
    return shutil.move(place / "fused", place / "elsewhere")


@pytest.fixture
def collection(made):
    return pystac.Collection.from_file(str(made / "collection.json"))


def test_items_and_collection_keep_to_the_specification(made, collection):
    pytest.importorskip("jsonschema")
    from pystac.validation.local_validator import LocalValidator

    validator = LocalValidator()
    assert list(validator.collection_validator().iter_errors(collection.to_dict(transform_hrefs=False))) == []
    items = list(collection.get_items())
    assert [i.id for i in items] == ["fused_20200515", "fused_20200521"]
    for item in items:
        document = item.to_dict(transform_hrefs=False)
        assert list(validator.item_validator().iter_errors(document)) == []
        # What is written says the same after pystac has read it.
        assert pystac.Item.from_dict(document).to_dict(transform_hrefs=False) == document
        assert item.get_collection().id == "fused"
        for asset in item.assets.values():
            with rasterio.open(asset.get_absolute_href()) as source:
                assert len(asset.extra_fields["bands"]) == source.count
                assert {asset.extra_fields["data_type"]} == set(source.dtypes)
    start, end = collection.extent.temporal.intervals[0]
    assert (start, end) == (items[0].datetime, items[1].datetime)
    assert [str(i.datetime.date()) for i in items] == ["2020-05-15", "2020-05-21"]


def test_items_tell_grid_bands_and_origin(made, collection):
    item = next(iter(collection.get_items()))
    with rasterio.open(made / "20200515.tif") as source:
        assert item.properties["proj:code"] == str(source.crs)
        assert tuple(item.properties["proj:shape"]) == source.shape
        assert tuple(item.properties["proj:transform"]) == tuple(source.transform)[:6]
        assert item.bbox == pytest.approx(transform_bounds(source.crs, "EPSG:4326", *source.bounds), abs=1e-5)
    ring = np.array(item.geometry["coordinates"][0])
    assert (ring[0] == ring[-1]).all()
    assert np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]) > 0  # counter-clockwise
    bands = item.assets["image"].extra_fields["eo:bands"]
    assert bands[0] == {"name": "red", "common_name": "red", "center_wavelength": 0.666, "full_width_half_max": 0.03}
    assert item.properties["sitsfuse:method"] == "difference"
    assert "2020-05-11" in item.properties["sitsfuse:guides"]
    assert len(item.assets["mask"].extra_fields["classification:classes"]) == 4


def test_odc_stac_loads_it_in_one_line(made, collection):
    loaded = odc_stac.load(collection.get_items(), bands=["red", "nir", "red_uncertainty", "mask"])
    ours = open_series(made)
    for band in ("red", "nir"):
        np.testing.assert_array_equal(loaded[band].values, ours["reflectance"].sel(band=band).values)
    np.testing.assert_array_equal(loaded["red_uncertainty"].values, ours["uncertainty"].sel(band="red").values)
    np.testing.assert_array_equal(loaded["mask"].values == 1, ~ours["valid"].values)
    assert loaded.odc.geobox == ours.odc.geobox


def test_dates_join_the_collection_and_leave_with_the_output(tmp_path):
    out = tmp_path / "fused"
    run(out, DATES[:1], int16=True)
    (out / "20200521.json").write_text("{}")  # a file of someone else, without an image
    assert [i.id for i in run(out, [scenes.day(33)], int16=True).get_items()] == ["fused_20200515", "fused_20200603"]
    (out / "20200515.json").unlink()  # as if the run had been killed before it came to it
    found = list(run(out, DATES[:1], int16=True).get_items())
    assert [i.id for i in found] == ["fused_20200515", "fused_20200603"]
    assert found[0].properties["sitsfuse:valid_share"] == 1
    assert found[0].assets["image"].extra_fields["raster:scale"] == 1e-4
    assert [i.id for i in run(out, DATES[1:], overwrite=True).get_items()] == ["fused_20200521"]
