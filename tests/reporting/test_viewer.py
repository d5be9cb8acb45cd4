"""What the viewer of the report puts into the page: pictures and series that decode to the samples, in its budget."""

import base64
import io
import itertools
import json
import zlib

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from PIL import Image

from sitsfuse.benchmarking.protocols import STANDARD
from sitsfuse.benchmarking.results import Unit
from sitsfuse.core.series import make_series
from sitsfuse.reporting.viewer import ranked, viewer
from sitsfuse.reporting.viewer.entries import composites, evenly
from sitsfuse.reporting.viewer.pictures import Blobs, Code, Sheet, decode_difference, encode_difference, fill, halve
from sitsfuse.reporting.viewer.scales import round_up
from sitsfuse.reporting.viewer.series import Span, positions, take
from sitsfuse.reporting.viewer.site import neighbours, place_of, stored_bands
from tests.helpers.make_results import make_results

METHODS = ("temporal", "carn", "ddi")
SHOWN = 3
SIZE = 44
"""No multiple of the codec's blocks."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"), sites=1, methods=METHODS, shown=SHOWN, size=SIZE)


@pytest.fixture(scope="module")
def made(results):
    return viewer(results, results.table())


def only_site(made):
    return made["data"]["sites"][0]


def pixels(made, place, site=0):
    """A picture of the page as (y, x, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(made["blobs"][site][place]))).convert("RGB"))


def mask(made, entry):
    shape = only_site(made)["shape"]
    return np.ones(shape, bool) if entry["m"] is None else pixels(made, entry["m"])[..., 0] > 127


def panels(picture, shape, grey=False):
    """Red, green, blue of the first panel and one channel of each further one; panels begin at multiples of 16 rows."""
    rows = -(-shape[0] // 16) * 16
    parts = [picture[k : k + shape[0]] for k in range(0, len(picture), rows)]
    first = [] if grey else list(np.moveaxis(parts.pop(0), -1, 0))
    return np.stack([*first, *(p[..., 1] for p in parts if p.shape == (*shape, 3))]).astype(float)


def reflectance(site, codes):
    low, high = (np.array(v)[:, None, None] for v in site["code"])
    return low + (high - low) * (codes / 255) ** 2


def expected(sample, bands):
    return sample["reflectance"].sel(band=bands).values.astype(float)


# --- the whole -------------------------------------------------------------------------------------------------


def test_predictions_are_the_base_plus_their_difference(results, made):
    site = only_site(made)
    bands = site["bands"]
    assert bands == ["red", "green", "blue", "nir"]
    for target, (k, date) in itertools.product(site["targets"], enumerate(site["dates"])):
        base = reflectance(site, panels(pixels(made, site["bases"][k]["s"]), site["shape"])[:4])
        truth = expected(results.sample("arm", "reference").sel(time=date), bands)
        for method in METHODS:
            entry = target["predictions"][method][k]
            sample = results.prediction(Unit("arm", target["name"], date, STANDARD, method))
            sheet = panels(pixels(made, entry["s"]), site["shape"])[:4]
            error = (sheet - 128) / 127 * np.array(site["scale"])[:, None, None]
            known = mask(made, entry)
            np.testing.assert_array_equal(known, sample["valid"].values)
            both = known & mask(made, site["known"][k])
            real = expected(sample, bands) - truth
            real, off = real[:, both], (error - real)[:, both]
            # The samples' errors are white noise, of each band its own: the worst case for a codec. Of the map of
            # errors, which is of their mean, it must leave the most.
            assert np.std(off) < 0.8 * np.std(real)
            assert np.std(off.mean(axis=0)) < 0.55 * np.std(real.mean(axis=0))
            shown = base + error
            assert np.sqrt(np.mean((shown - expected(sample, bands))[:, known] ** 2)) < 0.02
            assert ("u" in entry) == ("uncertainty" in sample)


def test_uncertainty_is_the_last_panel_at_half_the_resolution(results, made):
    site = only_site(made)
    for target, method in itertools.product(site["targets"], METHODS):
        entry = target["predictions"][method][0]
        sample = results.prediction(Unit("arm", target["name"], site["dates"][0], STANDARD, method))
        sigma = float(sample["uncertainty"].max())
        sheet = pixels(made, entry["s"])
        rows = -(-SIZE // 16) * 16
        half = sheet[2 * rows :][: SIZE // 2, : SIZE // 2]
        # The samples' uncertainty is the same everywhere; bytes go by its square root.
        np.testing.assert_allclose((half / 255) ** 2 * site["sigma"], min(sigma, site["sigma"]), rtol=0.05)


def test_lr_images_keep_their_pixels_and_their_place(results, made):
    site = only_site(made)
    hr = results.sample("arm", "reference")
    for target in site["targets"]:
        lr = results.sample("arm", target["name"], "target")
        left, top, width, height = target["place"]
        step = {axis: float(abs(hr[axis][1] - hr[axis][0])) for axis in "xy"}
        coarse = {axis: float(abs(lr[axis][1] - lr[axis][0])) for axis in "xy"}
        # Distances of the centres of the first pixels, less half a pixel of each grid.
        assert left * SIZE * step["x"] == pytest.approx(
            float(lr.x[0] - hr.x[0]) - (coarse["x"] - step["x"]) / 2, abs=0.1
        )
        assert top * SIZE * step["y"] == pytest.approx(
            float(hr.y[0] - lr.y[0]) - (coarse["y"] - step["y"]) / 2, abs=0.1
        )
        assert width * SIZE * step["x"] == pytest.approx(coarse["x"] * lr.sizes["x"], rel=1e-5)
        assert height * SIZE * step["y"] == pytest.approx(coarse["y"] * lr.sizes["y"], rel=1e-5)
        assert target["shape"] == (lr.sizes["y"], lr.sizes["x"])
        for entry, date in zip(target["lr"], site["dates"], strict=True):
            assert entry["date"] == date
            shown = reflectance(site, panels(pixels(made, entry["s"]), target["shape"], grey=True))
            known = lr["valid"].sel(time=date).values
            off = (shown - expected(lr.sel(time=date), site["bands"]))[:, known]
            assert np.sqrt(np.mean(off**2)) < 0.012


def test_series_decode_to_the_samples(results, made):
    site = only_site(made)
    series, bands = site["series"], site["bands"]
    rows, cols = np.array(series["rows"]), np.array(series["cols"])
    low, high = (np.array(v)[:, None] for v in series["span"])
    step = (high - low) / 252

    def codes(place, times):
        found = np.frombuffer(zlib.decompress(base64.b64decode(made["blobs"][0][place])), np.uint8)
        return found.reshape(-1, len(bands), len(rows) * len(cols))[: times or None]

    seen = []

    def check(found, values, valid):
        """Codes (band, position) against images (band, y, x)."""
        image = np.where(valid, values, np.nan)[:, rows[:, None], cols].reshape(len(bands), -1)
        assert ((found == 0) == np.isnan(image)).all()
        inside = (found > 1) & (found < 255)
        off = np.abs(low + (found - 2.0) * step - image) / step
        assert off[inside].max(initial=0) < 0.51
        seen.append(inside.mean())
        assert (image[found == 255] > np.broadcast_to(high, image.shape)[found == 255] - 1e-6).all()
        assert (image[found == 1] < np.broadcast_to(low, image.shape)[found == 1] + 1e-6).all()

    observed = codes(series["blob"], 0)
    guide, reference = results.sample("arm", "guide"), results.sample("arm", "reference")
    assert len(observed) == guide.sizes["time"] + len(site["dates"])
    assert series["guides"] == [str(t)[:10] for t in guide["time"].values]
    for k in range(guide.sizes["time"]):
        check(observed[k], expected(guide.isel(time=k), bands), guide["valid"].values[k])
    for k, date in enumerate(series["references"]):
        truth = reference.sel(time=date)
        check(observed[guide.sizes["time"] + k], expected(truth, bands), truth["valid"].values)
    for target in site["targets"]:
        own = codes(target["series"]["blob"], 0)
        start = len(target["series"]["dates"])
        unsure = target["series"]["unsure"]
        assert set(unsure) == set(target["series"]["methods"])
        assert len(own) == start + 2 * len(METHODS) * SHOWN
        for (m, method), (k, date) in itertools.product(enumerate(unsure), enumerate(site["dates"])):
            sample = results.prediction(Unit("arm", target["name"], date, STANDARD, method))
            found = own[start + (len(METHODS) + m) * SHOWN + k]
            sigma = np.stack([sample["uncertainty"].sel(band=b).values[rows[:, None], cols] for b in bands])
            told = (found / 255.0) ** 2 * 2 * site["sigma"]
            known = found > 0
            assert known.any()
            np.testing.assert_allclose(told[known], sigma.reshape(len(bands), -1)[known], rtol=0.02)
        for (m, method), (k, date) in itertools.product(
            enumerate(target["series"]["methods"]), enumerate(site["dates"])
        ):
            sample = results.prediction(Unit("arm", target["name"], date, STANDARD, method))
            check(own[start + m * SHOWN + k], expected(sample, bands), sample["valid"].values)
    assert np.mean(seen) > 0.7


def test_guides_are_the_nearest_ones_and_never_of_the_day(results, made):
    site = only_site(made)
    for (before, after), date in zip(site["near"], site["dates"], strict=True):
        assert before < date < after
        assert not [g for g in site["guide_dates"] if before < g < after and g != date]
        assert {before, after} <= set(site["guides"])
    guide = results.sample("arm", "guide")
    for date, entry in site["guides"].items():
        np.testing.assert_array_equal(mask(made, entry), guide["valid"].sel(time=date).values)


def test_best_method_comes_first(results, made):
    assert made["data"]["methods"] == ["ddi", "carn", "temporal"]
    assert "prediction by ddi" in made["still"]["about"]
    picture = Image.open(io.BytesIO(base64.b64decode(made["still"]["source"].partition(",")[2])))
    assert picture.size == (3 * SIZE + 2 * 2, SIZE)


def test_the_viewer_leads_with_the_ratio_of_the_page(tmp_path):
    results = make_results(tmp_path, sites=1, ratios=(2.5, 5.0), methods=("temporal",), shown=1, size=40)
    made = viewer(results, results.table())
    assert [t["ratio"] for t in made["data"]["sites"][0]["targets"]] == [5.0, 2.5]


def test_few_pictures_lose_nothing(results, made):
    """Where there is room, decoded pictures are the bytes that went in: differences and their clipped ends."""
    site = only_site(made)
    target, method = site["targets"][0], METHODS[0]
    entry = target["predictions"][method][0]
    sheet = panels(pixels(made, entry["s"]), site["shape"])[:4]
    sample = results.prediction(Unit("arm", target["name"], site["dates"][0], STANDARD, method))
    truth = results.sample("arm", "reference").sel(time=site["dates"][0])
    known = sample["valid"].values & truth["valid"].values
    scale = np.array(site["scale"])[:, None, None]
    real = np.clip(expected(sample, site["bands"]) - expected(truth, site["bands"]), -scale, scale)
    off = (sheet - 128) / 127 * scale - real
    assert (np.abs(off) <= scale / 127 * 0.51)[:, known].all()
    assert f"at most {scale.max() / 254:.4f}" in made["notes"][0]


def test_positions_are_told_on_the_map(results, made):
    site = only_site(made)
    image = results.sample("arm", "reference")
    a, b, c, d, e, f = site["map"]
    assert (a * 0.5 + b * 0.5 + c, d * 0.5 + e * 0.5 + f) == pytest.approx((float(image["x"][0]), float(image["y"][0])))
    assert site["crs"].startswith("EPSG:")


def test_notes_tell_what_compression_does(results):
    made = viewer(results, results.table(), 200_000)
    site = only_site(made)
    said = float(made["notes"][0].split("and one of ")[1].split()[0])
    squares = []
    for target, (k, date), method in itertools.product(site["targets"], enumerate(site["dates"]), METHODS):
        entry = target["predictions"][method][k]
        sample = results.prediction(Unit("arm", target["name"], date, STANDARD, method))
        sheet = panels(pixels(made, entry["s"]), site["shape"])[:4]
        error = (sheet - 128) / 127 * np.array(site["scale"])[:, None, None]
        truth = results.sample("arm", "reference").sel(time=date)
        known = sample["valid"].values & truth["valid"].values
        real = expected(sample, site["bands"]) - expected(truth, site["bands"])
        squares.append((error - real).mean(axis=0)[known] ** 2)
    assert said == pytest.approx(np.sqrt(np.mean(np.concatenate(squares))), rel=0.25)


@pytest.mark.parametrize("budget", [40_000, 100_000, 200_000])
def test_budget_is_kept(results, made, budget):
    small = viewer(results, results.table(), budget)
    assert small is not None
    size = sum(len(text) + 1 for texts in small["blobs"] for text in texts) + len(json.dumps(small["data"]))
    assert size + len(small["still"]["source"]) <= budget
    left_out = " ".join(small["notes"])
    dates, methods = len(only_site(small)["dates"]), small["data"]["methods"]
    # Dates go before methods, and what goes is told.
    assert (dates < SHOWN) == (f"{dates} date" in left_out)
    assert (len(methods) < len(METHODS)) == ("of 3 methods" in left_out)
    assert methods == made["data"]["methods"][: len(methods)]
    assert len(methods) == len(METHODS) or dates == 1
    assert set(only_site(small)["dates"]) <= set(only_site(made)["dates"])


def test_nothing_is_shown_where_there_is_nothing(tmp_path, results):
    assert viewer(results, results.table(), 1000) is None
    bare = make_results(tmp_path, sites=1, methods=("ddi",), samples=False)
    assert viewer(bare, bare.table()) is None


def test_missing_samples_are_done_without(tmp_path):
    results = make_results(tmp_path, sites=2, methods=("ddi", "carn"), ratios=(5.0,), shown=2, size=30)
    samples = tmp_path / "samples" / "arm"
    for name in ("guide.npz", "reference.npz", "target_x5/target.npz"):
        (samples / name).unlink()
    lost = Unit("arm", "target_x5", only_site(viewer(results, results.table()))["dates"][1], STANDARD, "carn")
    (tmp_path / "samples" / lost.place.with_name(f"{lost.place.name}.npz")).unlink()
    made = viewer(results, results.table())
    site = only_site(made)
    target = site["targets"][0]
    assert site["near"] == [(None, None)] * 2
    assert site["known"] == [None, None]
    assert target["lr"] == [None, None]
    assert target["predictions"]["carn"][1] is None
    assert target["predictions"]["carn"][0] is not None
    # Without a reference predictions are told from their mean.
    sample = results.prediction(Unit("arm", "target_x5", site["dates"][0], STANDARD, "ddi"))
    base = reflectance(site, panels(pixels(made, site["bases"][0]["s"]), site["shape"])[:4])
    sheet = panels(pixels(made, target["predictions"]["ddi"][0]["s"]), site["shape"])[:4]
    shown = base + (sheet - 128) / 127 * np.array(site["scale"])[:, None, None]
    assert np.sqrt(np.mean((shown - expected(sample, site["bands"])) ** 2)) < 0.02
    (samples.parent / "sudoe-4").rename(samples.parent / "elsewhere")
    assert len(viewer(results, results.table())["data"]["sites"]) == 1


# --- pieces ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 40), st.integers(2, 20), st.booleans(), st.integers(0, 2**31))
def test_sheets_hold_every_band_in_its_panel(count, rows, cols, grey, seed):
    rng = np.random.default_rng(seed)
    bands = rng.integers(0, 256, (count, rows, cols), np.uint8)
    half = rng.integers(0, 256, (-(-rows // 2), -(-cols // 2)), np.uint8)
    sheet = Sheet(bands, np.ones((rows, cols), bool), half, grey).pixels
    sheet = sheet if sheet.ndim == 3 else np.stack([sheet] * 3, axis=-1)
    high = -(-rows // 16) * 16
    shared = 3 if count >= 3 and not grey else 0
    for k, band in enumerate(bands):
        top = 0 if k < shared else (k - shared + bool(shared)) * high
        np.testing.assert_array_equal(sheet[top : top + rows, :, k if k < shared else 1], band)
    top = (count - shared + bool(shared)) * high
    np.testing.assert_array_equal(sheet[top : top + len(half), : half.shape[1], 1], half)
    assert len(sheet) == top + -(-len(half) // 16) * 16


def test_bytes_of_images_are_fine_where_it_is_dark():
    code = Code(np.float32([0.0]), np.float32([0.5]))
    values = np.linspace(0, 0.5, 2001, dtype=np.float32)[None, None]
    back = code.decode(code(values))
    # d value = 2 sqrt(value · 0.5) d code / 255, half a code at most.
    bound = np.sqrt(values * 0.5) / 255 + 0.5 / 255**2 / 4 + 1e-6
    assert (np.abs(back - values) <= bound).all()
    assert code(np.float32([[[-1.0, 9.0]]])).tolist() == [[[0, 255]]]


def test_bytes_of_differences():
    scale = np.float32([0.1, 0.2])
    values = np.float32([[[0.0, 0.1, -0.1, 5.0, 0.05]], [[0.0, 0.1, -0.2, -9.0, 0.2]]])
    codes = encode_difference(values, scale)
    assert codes.tolist() == [[[128, 255, 1, 255, 192]], [[128, 192, 1, 1, 255]]]
    clipped = np.clip(values, -scale[:, None, None], scale[:, None, None])
    assert np.abs(decode_difference(codes, scale) - clipped).max() <= 0.2 / 254 + 1e-6


def test_span_of_series():
    rng = np.random.default_rng(0)
    observed = rng.uniform(0.1, 0.4, (50, 1, 100)).astype(np.float32)
    observed[0, 0, 0] = np.nan
    observed[1, 0, 0] = 30  # one glint must not take the precision of all others
    span = Span.of([observed[:20], observed[20:]])
    assert 0.05 < span.low[0] < 0.1
    assert 0.4 < span.high[0] < 0.45
    low, high = float(span.low[0]), float(span.high[0])
    values = np.float32([[[np.nan, low - 1, high + 1, low, high, (low + high) / 2]]])
    assert span(values).tolist() == [[[0, 1, 255, 2, 254, 128]]]
    nothing = Span.of([np.full((2, 3, 4), np.nan, np.float32)])
    assert (nothing(np.zeros((1, 3, 1), np.float32)) > 1).all()


def test_positions_lie_in_the_middles_of_their_cells():
    rows, cols = positions((8, 3), 4)
    assert rows.tolist() == [1, 3, 5, 7]
    assert cols.tolist() == [0, 1, 2]


@given(st.sampled_from([1.5, 2.5, 5.0]), st.integers(-9, 3), st.integers(-9, 3), st.integers(0, 99))
def test_values_are_those_of_the_pixel_in_which_a_position_lies(ratio, dx, dy, seed):
    rng = np.random.default_rng(seed)
    dx, dy = dx / 10 + 0.03, dy / 10 + 0.03  # middles lie on no border
    hr = GeoBox((20, 24), Affine(10, 0, 5000, 0, -10, 8000), "EPSG:32631")
    lr = GeoBox((7, 8), hr.affine @ Affine.translation(dx, dy) @ Affine.scale(ratio), hr.crs)
    like = make_series(np.zeros((1, 1, 20, 24), np.float32), np.ones((1, 20, 24), bool), ["2020-01-01"], ["red"], hr)
    values = rng.uniform(size=(2, 2, 7, 8)).astype(np.float32)
    valid = rng.uniform(size=(2, 7, 8)) < 0.8
    series = make_series(values, valid, ["2020-01-01", "2020-01-02"], ["nir", "red"], lr)
    at = positions((20, 24), 5)
    found = take(series, ["red"], like, at)
    for k, (row, col) in enumerate(itertools.product(*at)):
        y, x = int((row + 0.5 - dy) // ratio), int((col + 0.5 - dx) // ratio)
        inside = 0 <= y < 7 and 0 <= x < 8
        for t in range(2):
            truth = values[t, 1, y, x] if inside and valid[t, y, x] else np.nan
            np.testing.assert_equal(found[t, 0, k], truth)


def test_place_of_an_lr_window():
    hr = GeoBox((20, 40), Affine(10, 0, 0, 0, -10, 0), "EPSG:32631")
    lr = GeoBox((4, 9), hr.affine @ Affine.translation(-2, 1) @ Affine.scale(5), hr.crs)
    low, high = (xr.Dataset(coords=make_series(
        np.zeros((1, 1, *b.shape), np.float32), np.ones((1, *b.shape), bool), ["2020-01-01"], ["red"], b).coords)
        for b in (lr, hr))  # fmt: skip
    assert place_of(low, high) == pytest.approx((-0.05, 0.05, 45 / 40, 1.0))


def test_halves_are_means_of_what_is_valid():
    values = np.float32([[1, 3, 10], [5, 99, 20], [2, 4, 8]])
    valid = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    found = halve(values, valid)
    assert found.shape == (2, 2)
    assert found[0].tolist() == [3, 15]
    assert found[1, 0] == 3
    assert found[1, 1] in (3, 15)  # of a neighbour


def test_fill_takes_the_nearest():
    values = np.float32([[[1, 7, 7, 4]]])
    assert fill(values, np.array([[1, 0, 0, 1]], bool)).tolist() == [[[1, 1, 4, 4]]]
    assert (fill(values, np.zeros((1, 4), bool)) == 0).all()


def test_the_same_bytes_are_kept_once():
    blobs = Blobs()
    assert [blobs.add(b"one"), blobs.add(b"two"), blobs.add(b"one")] == [0, 1, 0]
    assert [base64.b64decode(text) for text in blobs.texts] == [b"one", b"two"]
    assert blobs.mask(np.ones((3, 4), bool)) is None
    checks = np.indices((5, 9)).sum(axis=0) % 2 == 0
    image = Image.open(io.BytesIO(base64.b64decode(blobs.texts[blobs.mask(checks)])))
    np.testing.assert_array_equal(np.asarray(image), checks)


@pytest.mark.parametrize(
    ("bands", "stored", "kinds"),
    [
        (["blue", "green", "red", "nir"], ["red", "green", "blue", "nir"], ["colour", "infrared", "ndvi"]),
        (["green", "red", "nir"], ["nir", "red", "green"], ["infrared", "ndvi"]),
        (["red", "nir"], ["red", "nir"], ["ndvi"]),
        (["red", "nir", "swir16"], ["swir16", "nir", "red"], ["ndvi", "other"]),
        (["blue", "green", "red"], ["red", "green", "blue"], ["colour"]),
        (["ndvi"], ["ndvi"], ["band"]),
        (["a", "b", "c", "d", "e"], ["a", "b", "c", "d"], ["band"] * 4),
    ],
)
def test_bands_decide_how_images_are_coloured(bands, stored, kinds):
    assert stored_bands(bands) == stored
    found = composites(stored)
    assert [way["kind"] for way in found] == kinds
    if kinds[0] == "colour":
        assert [stored[k] for k in found[0]["bands"]] == ["red", "green", "blue"]


def test_small_things():
    assert neighbours("2020-02-01", ["2020-01-01", "2020-02-01", "2020-03-01"]) == ("2020-01-01", "2020-03-01")
    assert neighbours("2020-02-01", []) == (None, None)
    assert [round_up(v) for v in (0.011, 0.03, 0.0301, 0.9, 8.0)] == [0.015, 0.03, 0.05, 1.0, 10.0]
    assert evenly(6, 3) == [0, 2, 5]
    assert evenly(2, 9) == [0, 1]
    assert evenly(5, 1) == [0]


def test_rank_is_by_the_pooled_error_of_the_standard_protocol():
    row = {"protocol": "standard", "band": "all", "stratum": "all", "metric": "rmse"}
    rows = [{"method": "a", "value": 0.02, **row}, {"method": "b", "value": 0.01, **row}]
    rows += [{"method": "a", "value": 0.0, **row, key: "other"} for key in row for _ in range(9)]
    assert ranked(pd.DataFrame(rows), ["never", "a", "b"]) == ["b", "a", "never"]
