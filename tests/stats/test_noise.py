"""The noise of a series, by what cannot be scene in it."""

import numpy as np
import pytest
from scipy import ndimage

from sitsfuse.stats.noise import series_noise


def series(noise, seed=0):
    """Eight smooth images that change, each a little hazy in its own way, with white noise."""
    rng = np.random.default_rng(seed)
    base, trend = (ndimage.gaussian_filter(rng.normal(0, 1, (2, 60, 60)), (0, 2, 2)) * 0.1 for _ in range(2))
    days = np.array([0.0, 5, 10, 20, 25, 40, 45, 50])
    haze = ndimage.gaussian_filter(rng.normal(0, 1, (8, 1, 60, 60)), (0, 0, 6, 6)) * 0.3
    values = base + trend * days[:, None, None, None] / 50 + haze + rng.normal(0, 1, (8, 2, 60, 60)) * noise
    return values.astype(np.float32), rng.random((8, 60, 60)) > 0.02, days


@pytest.mark.parametrize("noise", [0.002, 0.005, 0.01])
def test_it_is_found_under_a_scene_that_changes(noise):
    values, valid, days = series(noise)
    found = series_noise(np.where(valid[:, None], values, np.float32(np.nan)), valid, days)
    assert (found > 0.75 * noise).all()
    assert (found < 1.1 * noise).all()


def test_without_noise_little_is_found():
    values, valid, days = series(0.0)
    assert (series_noise(values, valid, days) < 0.0005).all()


def test_images_far_apart_or_hardly_clear_tell_nothing():
    values, valid, days = series(0.01)
    assert not series_noise(values, valid, 10 * days + np.arange(8) * 30).any()
    assert not series_noise(values, valid & (np.arange(60) < 2), days).any()
    assert not series_noise(values[:1], valid[:1], days[:1]).any()
