"""The page of one's own fusion: what it is made of, and that it decodes to what was fused."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from sitsfuse.core.series import geobox
from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.readers import open_series, open_site
from sitsfuse.reporting.view import view
from sitsfuse.reporting.viewer.thinning import step_for, thinned
from sitsfuse.writers import write_site
from tests.helpers import scenes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A site on disk and what was fused of it."""
    folder = tmp_path_factory.mktemp("view")
    write_site(scenes.site(seed=1, n_bands=4, cloudy=0.2), folder / "site.zarr")
    fuse(open_site(folder / "site.zarr"), folder / "fused", method="difference", tile=64, workers=1)
    return folder


def contents(page):
    """What the script of a page reads: data, and the pictures and series in them."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org)", text.split("</style>")[-1].split("viewer-data")[0])
    data = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, re.DOTALL)[1])
    (blobs,) = re.findall(r'id="viewer-blobs-\d">(.*?)</script>', text, re.DOTALL)
    return data["sites"][0], [base64.b64decode(part) for part in blobs.split()]


def picture(blobs, entry):
    return np.asarray(Image.open(io.BytesIO(blobs[entry["s"]])).convert("RGB"))


def test_a_fusion_is_shown_with_what_it_was_made_of(place):
    page = view(place / "fused")
    assert page == place / "fused.html"
    site, blobs = contents(page)
    fused = open_series(place / "fused")
    assert site["dates"] == [str(t)[:10] for t in fused["time"].values]
    assert site["guide_dates"]
    (target,) = site["targets"]
    assert target["ratio"] == 5
    assert [entry["date"] for entry in target["lr"]] == site["dates"]
    (method,) = target["predictions"]
    assert method == "difference"
    # The site's references are known, too: a picture is the reference and a difference from it.
    low, high = (np.array(v)[:3] for v in site["code"])
    for k, entry in enumerate(target["predictions"][method]):
        assert entry["u"]
        base = low + (high - low) * (picture(blobs, site["bases"][k])[:60] / 255) ** 2
        off = (picture(blobs, entry)[:60] / 1.0 - 128) / 127 * np.array(site["scale"])[:3]
        image = fused.isel(time=k).sel(band=site["bands"][:3])
        shown, real = (base + off)[image["valid"].values], np.moveaxis(image["reflectance"].values, 0, -1)
        # The largest differences, two in a thousand, are cut off.
        assert np.quantile(np.abs(shown - real[image["valid"].values]), 0.99) < 2e-3


def test_without_its_sources_a_series_is_shown_alone(place, tmp_path):
    fused = open_series(place / "fused").load()
    site, _ = contents(view(fused, out=tmp_path / "alone.html"))
    assert site["targets"][0]["lr"] == [None] * 3
    assert site["known"] == [None] * 3
    # The colours are stretched by what was predicted.
    values = fused["reflectance"].sel(band="red").values[fused["valid"].values]
    np.testing.assert_allclose(site["stretch"][0], np.percentile(values, [2, 98]), atol=0.01)
    assert site["near"] == [[None, None]] * 3


def test_a_part_some_dates_and_a_reference_can_be_chosen(place, tmp_path):
    fused = open_series(place / "fused").load()
    site, _ = contents(
        view(
            fused, place / "site.zarr" / "reference", tmp_path / "part.html", target=place / "site.zarr" / "target",
            window=(10, 25, 20, 30), dates="2020-05-15",
        )
    )  # fmt: skip
    assert (site["shape"], site["dates"]) == ([20, 30], ["2020-05-15"])
    x, y = geobox(fused).affine * (25, 10)
    assert (site["map"][2], site["map"][5]) == (x, y)
    assert site["known"][0] is not None
    # The LR window covers the part: columns 25 to 55 are five to eleven LR pixels.
    assert site["targets"][0]["shape"] == [4, 6]
    assert site["targets"][0]["place"] == [0, 0, 1, 1]


def test_pixels_are_means_of_the_valid_ones():
    rng = np.random.default_rng(2)
    series = group(scenes.site(seed=1), "guide").load()
    series["uncertainty"] = series["reflectance"] * 0.1
    found = thinned(series, ["nir"], (slice(3, 60), slice(0, 57)), 4)
    assert dict(found.sizes) == {"time": 5, "band": 1, "y": 14, "x": 14}
    assert geobox(found).affine * (0, 0) == geobox(series).affine * (0, 3)
    for k, i, j in zip(rng.integers(0, 5, 20), rng.integers(0, 14, 20), rng.integers(0, 14, 20), strict=True):
        block = series.isel(time=k, y=slice(3 + 4 * i, 7 + 4 * i), x=slice(4 * j, 4 * j + 4)).sel(band="nir")
        ok = block["valid"].values
        assert bool(found["valid"][k, i, j]) == (ok.sum() >= 8)
        if ok.any():
            mean = float(found["reflectance"][k, 0, i, j])
            assert mean == pytest.approx(block["reflectance"].values[ok].mean(), rel=1e-5)
            assert float(found["uncertainty"][k, 0, i, j]) == pytest.approx(0.1 * mean, rel=1e-5)
    assert step_for((slice(0, 5400), slice(0, 100)), 800) == 7
    assert step_for((slice(0, 700), slice(0, 800)), 800) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"window": (1000, 0, 10)}, "`window`: lies outside the image of 60 × 60 pixels"),
        ({"window": (1, 2)}, "is not a window"),
        ({"dates": "2020-05-16"}, "was not predicted"),
        ({"guide": "site.zarr/target"}, "another grid"),
    ],
)
def test_what_cannot_be_shown_is_a_line(place, tmp_path, more, words):
    if "guide" in more:
        more = {"guide": place / more["guide"]}
    with pytest.raises(InputError) as error:
        view(place / "fused", out=tmp_path / "a.html", **more)
    assert words.replace("`", "") in str(error.value)


def test_on_the_command_line(place, tmp_path, cli):
    done = cli("view", place / "fused", "--window", "0,0,16", "-o", tmp_path / "a.html", "-q")
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "a.html"))
    assert contents(tmp_path / "a.html")[0]["shape"] == [16, 16]
