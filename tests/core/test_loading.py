"""One way to load the image of a date: what is not a number is not valid, whatever the mask says."""

import numpy as np
import pytest

from sitsfuse.core.displacement import STAY
from sitsfuse.core.loading import load, load_image
from sitsfuse.core.series import geobox
from sitsfuse.preparation.image import SeriesImage
from sitsfuse.readers.products.flags import FLAGS
from tests.helpers import scenes


@pytest.fixture
def series():
    found = scenes.site(seed=3)["guide"].to_dataset().load()
    found["reflectance"][1, 0, 5, 7] = np.nan
    found["reflectance"][1, 1, 6, 2] = np.inf
    found["valid"][1, 8, 8] = False
    return found


def expected(series):
    values = series["reflectance"].values[1]
    valid = series["valid"].values[1].copy()
    valid[5, 7] = valid[6, 2] = False
    return values, valid


def test_an_image_as_it_is(series):
    values, valid = load_image(series.isel(time=1))
    np.testing.assert_array_equal(values, expected(series)[0])
    np.testing.assert_array_equal(valid, expected(series)[1])
    assert values.dtype == np.float32


@pytest.mark.parametrize("lazy", [False, True])
def test_a_window_of_some_bands_in_another_order_of_dimensions(series, lazy):
    image = series.isel(time=1).transpose("x", "y", "band")
    rows, cols = slice(4, 9), slice(1, 8)
    names = [str(b) for b in series["band"].values]
    values, valid = load_image(image.chunk(x=5) if lazy else image, (rows, cols), names[::-1])
    whole, known = expected(series)
    np.testing.assert_array_equal(values, whole[::-1, rows, cols])
    np.testing.assert_array_equal(valid, known[rows, cols])
    # A band that is not asked for does not count.
    assert load_image(image, (rows, cols), names[:1])[1][2, 1]


def test_a_preparation_takes_no_nan_for_a_valid_pixel(series):
    bands = [str(b) for b in series["band"].values]
    image = SeriesImage(series, 1, None)
    values, valid, flags = image.read(bands, geobox(series), STAY, [0.3] * len(bands))
    assert not valid[5, 7]
    assert flags[5, 7] == FLAGS["nodata"]
    assert np.isfinite(values[:, valid]).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_stack_is_a_window_of_some_dates(series, lazy):
    """As NumPy cuts it out; a date that is not there lies between its neighbours; and the series stays as lazy."""
    rows, cols = slice(4, 9), slice(1, 8)
    given = series.chunk(time=1, y=7) if lazy else series
    times = series["time"].values
    stack = load(given, (rows, cols), times[[2, 1]])
    np.testing.assert_array_equal(stack.times, times[[2, 1]])
    np.testing.assert_array_equal(stack.values, series["reflectance"].values[[2, 1], :, rows, cols])
    np.testing.assert_array_equal(stack.valid[1], expected(series)[1][rows, cols])
    assert np.isfinite(stack.known).all()
    np.testing.assert_array_equal(stack.known != 0, np.broadcast_to(stack.valid[:, None], stack.values.shape))
    assert bool(given["reflectance"].chunks) == lazy
    day = np.timedelta64(1, "D")
    (between,) = load(given, (rows, cols), times[[1]] + day).values
    part = (times[2] - times[1]) / day
    both = expected(series)[1][rows, cols] & series["valid"].values[2, rows, cols]
    start, end = series["reflectance"].values[1:3, :, rows, cols].astype(float)[..., both]
    np.testing.assert_allclose(between[:, both], start + (end - start) / part, atol=1e-6)
