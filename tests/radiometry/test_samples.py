"""What two sensors saw of the same day, against slow NumPy and a simulated random walk."""

import numpy as np
import pytest

from sitsfuse.radiometry.samples import Means, between, bridge_days, together, window_means

DAY = np.datetime64("2019-06-01")


def test_means_are_those_of_valid_windows():
    rng = np.random.default_rng(9)
    lr, hr = rng.random((2, 3, 12, 9)).astype(np.float32)
    valid = rng.random((2, 12, 9)) > 0.1
    for image, ok in zip((lr, hr), valid, strict=True):
        image[:, ~ok] = rng.choice([np.nan, 1e6], (~ok).sum())
    lr[1, 3, 3] = np.nan  # says valid, is not
    valid[:, 3, 3] = True
    hr[:, 0, :2], valid[1, 0, :2] = (np.inf, -np.inf), False
    found = together(DAY, window_means(lr, valid[0]), window_means(hr, valid[1]))
    rows = []
    for y in range(1, 11):
        for x in range(1, 8):
            window = np.s_[y - 1 : y + 2, x - 1 : x + 2]
            if valid[(slice(None), *window)].all() and np.isfinite(lr[(slice(None), *window)]).all():
                rows.append([a[(slice(None), *window)].mean(axis=(1, 2)) for a in (lr, hr)])
    assert len(rows) > 5
    assert np.abs(found.lr.T - [r[0] for r in rows]).max() < 1e-6
    assert np.abs(found.hr.T - [r[1] for r in rows]).max() < 1e-6
    few = [window_means(image[:, :2], ok[:2]) for image, ok in zip((lr, hr), valid, strict=True)]
    assert together(DAY, *few).lr.shape == (3, 0)


def test_of_large_images_the_same_windows_are_drawn():
    rng = np.random.default_rng(10)
    image = rng.random((1, 90, 80)).astype(np.float32)
    valid = np.ones((90, 80), bool)
    a, b = window_means(image, valid, largest=50), window_means(2 * image, valid, largest=50)
    assert a.values.shape == (1, 50)
    assert b.values == pytest.approx(2 * a.values)


def test_between_two_guides_even_growth_drops_out_and_the_doubt_is_that_of_a_random_walk():
    rng = np.random.default_rng(11)
    walk = np.cumsum(0.01 * rng.standard_normal((21, 40_000)), axis=0).astype(np.float32)
    growth = 0.02 * np.arange(21, dtype=np.float32)[:, None]
    whole = np.ones(walk.shape[1], bool)

    def at(day, values):
        return DAY + day, Means(values[day][None], whole)

    even = between(DAY + 5, at(5, growth + 0 * walk)[1], at(0, growth + 0 * walk), at(20, growth + 0 * walk))
    assert even.hr == pytest.approx(np.full_like(even.hr, 0.1), abs=1e-6)
    found = between(DAY + 5, at(5, walk)[1], at(0, walk), at(20, walk))
    missed = float(np.sqrt(np.mean((found.hr - found.lr) ** 2)))
    assert missed == pytest.approx(0.01 * np.sqrt(bridge_days(DAY + 5, DAY, DAY + 20)), rel=0.02)
    assert float(np.sqrt(np.mean(found.doubt**2))) == pytest.approx(missed, rel=0.02)
    assert found.part == between(DAY + 7, at(7, walk)[1], at(0, walk), at(20, walk)).part
    assert bridge_days(DAY, DAY, DAY) == 0
