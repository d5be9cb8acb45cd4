"""The compiled kernel against SciPy's splines, which it must equal to 1e-4 of the values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates, uniform_filter

from sitsfuse.operators.splines import filled, shifted


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_it_is_the_spline_through_the_pixels_mirrored_at_the_border(size, place, seed):
    image = np.random.default_rng(seed).random(size).astype(np.float32)
    first = tuple(int(np.floor(p)) for p in place)
    found = shifted(image, first, tuple(p - f for p, f in zip(place, first, strict=True)), (25, 30))
    at = np.meshgrid(np.arange(25) + place[0], np.arange(30) + place[1], indexing="ij")
    wanted = map_coordinates(image.astype(np.float64), at, order=3, mode="mirror")
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5


def test_whole_pixels_are_kept():
    image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert shifted(image, (3, 4), (0.0, 0.0), (10, 12)) == pytest.approx(image[3:13, 4:16], abs=1e-6)


def test_invalid_pixels_become_means_of_the_valid_ones_around():
    rng = np.random.default_rng(1)
    image, valid = rng.random((40, 30)).astype(np.float32), rng.random((40, 30)) < 0.3
    valid[10:25, 5:20] = False
    image[~valid] = np.nan
    weight = uniform_filter(valid.astype(np.float64), 5, mode="constant")
    total = uniform_filter(np.where(valid, image, 0).astype(np.float64), 5, mode="constant")
    wanted = np.where(valid, image, np.where(weight > 0.01, total / np.maximum(weight, 0.01), 0))
    assert filled(image, valid, 2) == pytest.approx(wanted, abs=1e-6)
