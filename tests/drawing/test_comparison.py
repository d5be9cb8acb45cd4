"""The comparison shows the arrays that it is given, at their place, and says what they are."""

import itertools
import sys

import matplotlib.image
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from odc.geo.geobox import GeoBox
from rasterio import Affine

from sitsfuse.core.series import make_series
from sitsfuse.drawing import furniture
from sitsfuse.drawing.comparison import comparison, draw_comparison
from sitsfuse.drawing.stretch import Stretch, absolute_error, busiest
from sitsfuse.errors import InputError

BANDS = ["blue", "green", "red", "nir"]


def image(rows, cols, pixel, *, bands=BANDS, seed=0, date="2020-06-15", crs="EPSG:32631"):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.02, 0.4, (1, len(bands), rows, cols)).astype(np.float32)
    box = GeoBox((rows, cols), Affine(pixel, 0, 500000, 0, -pixel, 4000000), crs)
    return make_series(values, np.ones((1, rows, cols), bool), [np.datetime64(date)], bands, box).isel(time=0)


@pytest.fixture
def scene():
    """LR, prediction and truth with an invalid corner, and the weights of nine guides."""
    lr, prediction, truth = image(8, 12, 50.0), image(40, 60, 10.0, seed=1), image(40, 60, 10.0, seed=2)
    lr["valid"][:2, :2] = False
    lr["reflectance"][:, :2, :2] = np.nan
    prediction["valid"][:5, :5] = False
    weights = np.random.default_rng(3).uniform(0, 0.1, (9, 4, 40, 60)).astype(np.float32)
    weights[[0, 3, 4, 8]] += 0.4
    times = np.datetime64("2020-04-01", "ns") + np.arange(9) * np.timedelta64(20, "D")
    coords = {"guide_time": times, "band": BANDS}
    return lr, prediction, truth, xr.DataArray(weights, dims=("guide_time", "band", "y", "x"), coords=coords)


def titles(fig):
    return [axes.get_title() for axes in fig.axes if axes.get_title()]


def by_title(fig, start):
    return next(axes for axes in fig.axes if axes.get_title().startswith(start))


def shown(axes):
    (drawn,) = axes.get_images()
    return np.ma.filled(np.ma.asarray(drawn.get_array(), dtype=float), np.nan)


def test_the_panels_say_what_they_show(scene):
    fig = comparison(*scene, method="DDI", title="a place")
    assert titles(fig)[:4] == ["Low resolution, 50 m", "Predicted: DDI, 10 m", "Truth, 10 m", "Absolute error"]
    heading = fig.texts[0].get_text()
    assert "2020-06-15" in heading
    assert "a place" in heading
    assert "green" in fig.texts[1].get_text()
    assert "6 of 9" in fig.texts[1].get_text()
    assert [a.get_ylabel() for a in fig.axes if "reflectance" in a.get_ylabel()] == [
        "abs. error [reflectance], mean of 4 bands"
    ]


def test_all_images_share_the_stretch_of_the_truth(scene):
    lr, prediction, truth, _ = scene
    fig = comparison(lr, prediction, truth)
    colours = truth["reflectance"].values[[2, 1, 0]]
    low, high = np.percentile(colours.reshape(3, -1), (1, 99), axis=1)
    for name, given_ in (("Low", lr), ("Predicted", prediction), ("Truth", truth)):
        drawn = shown(by_title(fig, name))
        ok = given_["valid"].values
        values = np.moveaxis(given_["reflectance"].values[[2, 1, 0]], 0, -1)[ok]
        expected = np.clip((values - low) / (high - low), 0, 1) ** 0.8
        np.testing.assert_allclose(drawn[..., :3][ok], expected, atol=1e-4)
        np.testing.assert_array_equal(drawn[..., 3] > 0, ok)


def test_lr_pixels_stay_pixels_and_lie_where_they_belong(scene):
    fig = comparison(*scene)
    (lr,) = by_title(fig, "Low").get_images()
    assert lr.get_array().shape[:2] == (8, 12)
    assert lr.get_interpolation() == "nearest"
    assert lr.get_extent() == [500000, 500600, 4000000 - 400, 4000000]
    for name in ("Low", "Predicted", "Truth", "Absolute"):
        axes = by_title(fig, name)
        assert axes.get_xlim() == (500000, 500600)
        assert axes.get_ylim() == (4000000 - 400, 4000000)


def test_the_second_row_enlarges_the_same_window(scene):
    fig = comparison(*scene, zoom=(slice(10, 20), slice(30, 40)))
    left, top = 500000 + 300, 4000000 - 100
    enlarged = [a for a in fig.axes if a.get_xlim() == (left, left + 100) and a.get_ylim() == (top - 100, top)]
    assert len(enlarged) == 4
    assert all(a.get_images()[0].get_interpolation() == "nearest" for a in enlarged)


def test_the_error_is_that_of_the_valid_pixels(scene):
    _, prediction, truth, _ = scene
    fig = comparison(*scene)
    expected = np.abs(prediction["reflectance"].values - truth["reflectance"].values).mean(0)
    expected[:5, :5] = np.nan
    np.testing.assert_allclose(shown(by_title(fig, "Absolute")), expected, rtol=1e-5)
    np.testing.assert_allclose(absolute_error(prediction, truth), expected, rtol=1e-5)


def test_the_guides_that_weigh_most_in_order_of_time(scene):
    weights = scene[3].copy()
    weights[5, 1] -= 0.3  # negative weights count by their size
    weights[7, 2] += 5  # another band
    fig = comparison(*scene[:3], weights, weight_band="green")
    mean = np.abs(weights.values[:, 1]).mean((1, 2))
    expected = sorted(np.argsort(mean)[-6:])
    assert {0, 3, 4, 5, 8} <= set(expected)
    assert 7 not in expected or mean[7] > 0.05
    for k in expected:
        day = str(weights["guide_time"].values[k])[:10]
        offset = (np.datetime64(day) - np.datetime64("2020-06-15")).astype(int)
        axes = by_title(fig, day)
        assert axes.get_title() == f"{day} ({'+' if offset > 0 else '−'}{abs(offset)})"
        np.testing.assert_array_equal(shown(axes), weights.values[k, 1].astype(float))
    days = [t[:10] for t in titles(fig)[4:]]
    assert days == sorted(days)
    assert len(days) == 6


def test_weights_without_bands_and_of_few_guides(scene):
    fig = comparison(*scene[:3], scene[3].isel(band=0, guide_time=[1, 2]))
    assert [t[:10] for t in titles(fig)[4:]] == ["2020-04-21", "2020-05-11"]


def test_without_truth_or_weights_there_are_fewer_panels(scene):
    fig = comparison(*scene[:2])
    assert titles(fig) == ["Low resolution, 50 m", "Predicted: prediction, 10 m"]
    assert len(fig.axes) == 4


def test_one_band_is_grey():
    lr, hr, truth = (image(n, n, p, bands=["ndvi"], seed=n) for n, p in ((5, 50.0), (25, 10.0), (25, 10.0)))
    drawn = shown(by_title(comparison(lr, hr, truth), "Predicted"))
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 1])
    assert np.ptp(drawn[..., 0]) > 0.9


def test_false_colour_where_blue_is_missing():
    hr = image(20, 20, 10.0, bands=["green", "red", "nir"])
    assert Stretch.of(hr).bands == (2, 1, 0)


def test_an_image_without_valid_pixel_is_drawn_empty(tmp_path):
    lr, hr, truth = image(5, 5, 50.0), image(25, 25, 10.0), image(25, 25, 10.0)
    hr["valid"][:] = False
    fig = comparison(lr, hr, truth)
    assert not shown(by_title(fig, "Predicted"))[..., 3].any()
    draw_comparison(lr, hr, path=tmp_path / "a.png", dpi=40)


def test_the_file_is_written_whole_or_not_at_all(scene, tmp_path):
    path = draw_comparison(*scene, path=tmp_path / "new" / "a.png", dpi=50)
    assert matplotlib.image.imread(path).shape[1] == 550
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(InputError, match="png"):
        draw_comparison(*scene, path=tmp_path / "new" / "a.txt")
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_a_missing_matplotlib_names_the_extra(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"sitsfuse\[report\]"):
        comparison(*scene)


def test_unfit_images_are_refused(scene):
    lr, prediction = scene[:2]
    with pytest.raises(InputError, match="one date"):
        comparison(lr.expand_dims("time"), prediction)
    with pytest.raises(InputError, match="CRS"):
        comparison(image(8, 12, 50.0, crs="EPSG:32632"), prediction)
    with pytest.raises(InputError, match="grid"):
        comparison(lr, prediction, image(40, 60, 9.0))
    with pytest.raises(InputError, match="bands"):
        comparison(image(8, 12, 50.0, bands=["red"]), prediction)


def test_busiest_finds_the_pattern():
    hr = image(60, 80, 10.0)
    hr["reflectance"][:] = 0.2
    hr["reflectance"][:, 30:42, 50:62] = np.where(np.indices((12, 12)).sum(0) // 3 % 2, 0.4, 0.1)
    rows, cols = busiest(hr, share=0.2)
    assert (rows.stop - rows.start, cols.stop - cols.start) == (12, 12)
    assert abs(rows.start - 30) <= 2
    assert abs(cols.start - 50) <= 2


@given(st.floats(1e-3, 1e6))
def test_scale_bars_are_round(length):
    found = furniture.round_length(length)
    assert found <= length * (1 + 1e-6) < found * 2.6
    assert f"{found:e}"[0] in "125"


@pytest.mark.parametrize(
    ("rows", "cols", "with_truth", "guides"),
    [(40, 40, True, 8), (60, 25, True, 6), (25, 60, True, 2), (40, 40, False, 1), (30, 50, True, 0)],
)
def test_nothing_overlaps(rows, cols, with_truth, guides):
    lr, hr = image(5, 5, 100.0), image(rows, cols, 10.0)
    times = np.datetime64("2020-01-01", "ns") + np.arange(guides) * np.timedelta64(20, "D")
    shape = ("guide_time", "y", "x")
    weights = xr.DataArray(np.ones((guides, rows, cols), np.float32), dims=shape, coords={"guide_time": times})
    fig = comparison(lr, hr, hr if with_truth else None, weights if guides else None, method="difference")
    renderer = FigureCanvasAgg(fig).get_renderer()
    fig.draw(renderer)
    boxes = [a.get_window_extent(renderer) for a in fig.axes]
    boxes += [a.title.get_window_extent(renderer) for a in fig.axes if a.get_title()]
    boxes += [t.get_window_extent(renderer) for t in fig.texts]
    for a, b in itertools.combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 1 or along < 1
    wide, high = fig.get_size_inches() * fig.dpi
    assert all(b.x0 >= 0 and b.x1 <= wide and b.y0 >= 0 and b.y1 <= high for b in boxes)
