"""`series.sitsfuse` draws the arrays that the series holds, and says what it cannot."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import sitsfuse.drawing.accessor  # noqa: F401  (registers it)
from sitsfuse.drawing.stretch import Stretch
from sitsfuse.errors import InputError

from .test_comparison import image, shown


def series(rows, cols, pixel, **options):
    dates = ("2020-06-15", "2020-07-01")
    return xr.concat([image(rows, cols, pixel, date=d, seed=n, **options) for n, d in enumerate(dates)], "time")


@pytest.fixture
def sharp():
    found = series(20, 24, 10.0)
    found["valid"][:, :4, :4] = False
    return found


def test_plot_draws_the_image_of_the_date(sharp):
    (axes,) = sharp.sitsfuse.plot("2020-07-01").axes
    wanted = sharp.isel(time=1)
    np.testing.assert_allclose(shown(axes), Stretch.of(wanted)(wanted), atol=1e-6)
    assert axes.get_title() == "2020-07-01"


def test_compare_draws_the_error_on_one_grid(sharp):
    other = sharp.assign(reflectance=sharp.reflectance + np.float32(0.03))
    fig = sharp.sitsfuse.compare(other, np.datetime64("2020-06-15"))
    error = shown(fig.axes[2])
    assert np.isnan(error[:4, :4]).all()
    np.testing.assert_allclose(error[4:], 0.03, atol=1e-6)
    assert fig.axes[2].get_title() == "Mean absolute error 0.0300"


def test_compare_shows_an_lr_series_as_it_is(sharp):
    titles = [a.get_title() for a in sharp.sitsfuse.compare(series(4, 5, 50.0), "2020-06-15").axes]
    assert any(t.startswith("Low resolution, 50 m") for t in titles)


def test_weights_are_means_over_bands_and_pixels(sharp):
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 20, 24))
    values[:, :, :, :2] = np.nan
    got = sharp.assign(weight=(("time", "guide_time", "band", "y", "x"), values)).sitsfuse.weights
    np.testing.assert_allclose(got, np.nanmean(np.abs(values), axis=(2, 3, 4)))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: s.sitsfuse.plot(), "date: is needed; choose one of 2020-06-15, 2020-07-01"),
        (lambda s: s.sitsfuse.plot("June"), "'June' is not a date"),
        (lambda s: s.sitsfuse.plot("2020-06-16"), "has no image of 2020-06-16; choose one of 2020-06-15"),
        (lambda s: s.sitsfuse.compare(s.reflectance, "2020-06-15"), "other: is a DataArray, not a series"),
        (lambda s: s.sitsfuse.weights, "holds no weights; fuse with weights=True"),
        (lambda s: xr.Dataset().sitsfuse.plot(), "has no variable 'reflectance'"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(sharp, ask, words):
    with pytest.raises(InputError, match=words):
        ask(sharp)


@pytest.mark.parametrize("code", ["import xarray, sitsfuse", "import sitsfuse, xarray; sitsfuse.open_series"])
def test_it_is_there_after_importing_and_brings_no_matplotlib(code):
    code += "; import sys; assert xarray.Dataset.sitsfuse; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
