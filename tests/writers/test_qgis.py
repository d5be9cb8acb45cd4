"""Styles for QGIS: which bands are shown, and how they are stretched."""

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from sitsfuse.writers import qgis

TIME = np.datetime64("2019-03-06T10:30:00", "ns")
RNG = np.random.default_rng(3)


def shown(text):
    """The renderer of a style, and the parts of it by name."""
    root = ElementTree.fromstring(text)
    assert root.findtext("temporal/fixedRange/start") == "2019-03-06T00:00:00Z"
    return root.find("pipe/rasterrenderer")


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (["blue", "green", "red", "nir"], ("3", "2", "1")),
        (["nir", "red", "green"], ("1", "2", "3")),
        (["swir22", "red", "green", "blue"], ("2", "3", "4")),
    ],
)
def test_colours_are_shown_as_such_between_percentiles_of_the_scaled_values(tmp_path, tif, bands, expected):
    raw = RNG.integers(100, 4000, (len(bands), 40, 50)).astype(np.int16)
    raw[:, :5] = -9999
    path = tif(tmp_path / "a.tif", raw, bands, nodata=-9999, scales=[1e-4] * len(bands))
    with rasterio.open(path) as source:
        found = shown(qgis.image_style(source, TIME))
    assert found.get("type") == "multibandcolor"
    assert tuple(found.get(f"{c}Band") for c in ("red", "green", "blue")) == expected
    for colour, band in zip(("red", "green", "blue"), expected, strict=True):
        low, high = np.percentile(raw[int(band) - 1, 5:] * 1e-4, [2, 98])
        part = found.find(f"{colour}ContrastEnhancement")
        assert float(part.findtext("minValue")) == pytest.approx(low, rel=1e-4)
        assert float(part.findtext("maxValue")) == pytest.approx(high, rel=1e-4)


def test_other_bands_are_shown_in_grey(tmp_path, tif):
    values = RNG.random((2, 30, 30)).astype(np.float32)
    with rasterio.open(tif(tmp_path / "a.tif", values, ["ndvi", "lst"])) as source:
        found = shown(qgis.image_style(source, TIME))
    assert (found.get("type"), found.get("grayBand")) == ("singlebandgray", "1")
    assert float(found.findtext("contrastEnhancement/maxValue")) == pytest.approx(np.percentile(values[0], 98))


def test_an_image_without_a_valid_pixel_has_a_style_too(tmp_path, tif):
    with rasterio.open(tif(tmp_path / "a.tif", np.full((1, 8, 8), np.nan, np.float32), ["red"])) as source:
        assert shown(qgis.image_style(source, TIME)).findtext("contrastEnhancement/maxValue") == "1"
        assert shown(qgis.uncertainty_style(source, TIME)).get("classificationMax") == "1"
