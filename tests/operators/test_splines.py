"""The compiled kernel against SciPy's splines, which it must equal to 1e-4 of the values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from sitsfuse.operators.splines import shifted


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
