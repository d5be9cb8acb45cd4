"""How far DDI is off: its linear cousin, left-out guides, and the models put together from what is measured."""

import dataclasses

import numpy as np
import pytest

from sitsfuse.core.grid import GridPair
from sitsfuse.methods.ddi import uncertainty
from sitsfuse.operators.updown import down
from sitsfuse.stats.ridge import RIDGE, Linear
from tests.helpers import scenes

# --- the linear cousin


@pytest.fixture
def pixels():
    """Guides (T, B, N) with gaps, their validity and a target that mixes them."""
    rng = np.random.default_rng(0)
    guides = rng.normal(0.2, 0.05, (3, 2, 80)).astype(np.float32)
    valid = rng.random((3, 80)) < 0.8
    valid[0] |= ~valid.any(axis=0)
    target = (0.6 * guides[0] + 0.4 * guides[2] * valid[2] + rng.normal(0, 0.01, (2, 80))).astype(np.float32)
    return guides, valid, target


def plain_ridge(guides, valid, target, keep):
    """Predictions of all pixels by a ridge regression on the kept ones, with explicit, centred regressors."""
    t, b, _ = guides.shape
    columns = []
    for k in range(t):
        for band in range(b):
            known = guides[:, band][valid]
            columns.append(np.where(valid[k], (guides[k, band] - known.mean()) / known.std(), 0))
    columns += list(valid.astype(float))
    x = np.stack(columns, axis=1).astype(float)
    mean, level = x[keep].mean(axis=0), target[:, keep].astype(float).mean(axis=1)
    x -= mean
    square = x[keep].T @ x[keep]
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    return level[:, None] + (x @ np.linalg.solve(square, x[keep].T @ (target[:, keep].T - level))).T


def test_it_is_a_ridge_regression(pixels):
    guides, valid, target = pixels
    found = Linear.fit(guides, valid, target)
    wanted = plain_ridge(guides, valid, target, np.ones(80, bool))
    np.testing.assert_allclose(found.fitted, wanted, atol=1e-6)
    poisoned = np.where(valid[:, None], guides, np.float32(np.nan))
    np.testing.assert_allclose(found(list(poisoned), list(valid)), wanted, atol=1e-6)


def test_held_out_pixels_are_predicted_as_if_they_had_not_been_there(pixels):
    guides, valid, target = pixels
    found = Linear.fit(guides, valid, target)
    for i in (3, 40, 77):
        wanted = plain_ridge(guides, valid, target, np.arange(80) != i)[:, i]
        # But for the statistics that standardise and the ridge, of which one pixel in eighty changes little.
        np.testing.assert_allclose(found.held_out[:, i], wanted, atol=1e-3)
        assert (np.abs(found.held_out[:, i] - found.fitted[:, i]) > 2e-4).any()


def test_noise_passes_as_the_squares_of_the_weights(pixels):
    guides, valid, target = pixels
    found = Linear.fit(guides, valid, target)
    many = guides[:, :, :1].repeat(40_000, axis=2)
    noise = np.random.default_rng(1).normal(0, 1, many.shape) * np.array([0.01, 0.02])[:, None]
    seen = np.ones((3, 40_000), bool)
    scatter = found((many + noise).astype(np.float32), seen).var(axis=1)
    np.testing.assert_allclose(found.passed(np.array([0.01, 0.02]) ** 2), scatter, rtol=0.05)


# --- left-out guides


def guides_of(change, noise, n=120, ratio=5.0, seed=0):
    """Smooth guides that differ by white changes (of the scene, then seen through a PSF) and by white noise."""
    rng = np.random.default_rng(seed)
    hr, lr = scenes.boxes(n, ratio)
    pair = GridPair(hr, lr)
    scene = rng.normal(0, 1, (5, 2, n, n)).astype(np.float32) * np.float32(change)
    values = (0.3 + scene + rng.normal(0, 1, scene.shape) * noise).astype(np.float32)
    valid = np.ones((5, n, n), bool)
    return values, valid, *down(values, valid, pair, 0.3), pair


def test_white_changes_are_grain_and_let_nothing_grow():
    values, valid, coarse, seen, pair = guides_of(0.02, 0.0)
    found = uncertainty.window_details(values, valid, coarse, seen, pair, [0.3, 0.3], np.arange(5) - 2.2)
    np.testing.assert_allclose(np.sqrt(found.grain), 0.02, rtol=0.1)
    np.testing.assert_allclose(np.sqrt(found.noise), 0.02, rtol=0.1)
    assert len(found.growth) == uncertainty.LEFT_OUT
    # Degraded, they are 0.02 times the root of 1/20 or so; what is left at HR is 0.02 again, all of it known as grain.
    assert np.median(found.growth, axis=0).max() < 1


def test_details_grow_by_what_left_out_guides_say():
    rng = np.random.default_rng(3)
    n, (hr, lr) = 150, scenes.boxes(150, 5.0)
    pair = GridPair(hr, lr)
    # Parcels of 6 pixels, narrower than two LR pixels, change at random; every guide of its own.
    parcels = rng.normal(0.2, 0.04, (5, 2, 25, 25)).repeat(6, 2).repeat(6, 3).astype(np.float32)
    valid = np.ones((5, n, n), bool)
    coarse, seen = down(parcels, valid, pair, 0.3)
    found = uncertainty.window_details(parcels, valid, coarse, seen, pair, [0.3, 0.3], np.arange(5) - 2.2)
    growth = np.sqrt(np.median(found.growth, axis=0))
    assert ((growth > 1) & (growth < 4)).all()
    # No guide foretells another: prediction is the mean, corrected by bicubic interpolation of what is missing at LR.
    assert uncertainty.Details.of([found, found]).growth == pytest.approx(growth**2)


def test_too_few_pixels_say_nothing():
    values, valid, coarse, seen, pair = guides_of(0.02, 0.0, n=40)
    found = uncertainty.window_details(values, valid, coarse, seen, pair, [0.3, 0.3], np.arange(5.0))
    assert found.growth == ()
    np.testing.assert_array_equal(uncertainty.Details.of([found]).growth, 1)


def test_invalid_pixels_say_nothing():
    values, valid, coarse, seen, pair = guides_of(0.01, 0.002, seed=4)
    valid[1, :50, :60] = valid[3, 70:, 20:] = False
    clean = np.where(valid[:, None], values, np.float32(0))
    wild = np.where(valid[:, None], values, np.float32(np.nan))
    results = []
    for images in (clean, wild):
        coarse, seen = down(images, valid, pair, 0.3)
        found = uncertainty.window_details(images, valid, coarse, seen, pair, [0.3, 0.3], np.arange(5) - 1.4)
        results.append((*found.growth, found.grain, found.noise))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


# --- models


def evidence(**changes):
    """Held-out errors that are normal, white and of one size: 0.01 in both bands."""
    rng = np.random.default_rng(5)
    usable = np.ones((1, 100, 100), bool)
    left = rng.normal(0, 0.01, (2, 10_000)).astype(np.float32)
    zero, one = np.zeros(2), np.ones(2)
    start = uncertainty.Evidence(
        usable, left, left, np.zeros_like(left), np.zeros((2, 50), np.float32), zero, one.astype(np.float32), zero,
        uncertainty.Details(one, zero, zero),
    )  # fmt: skip
    return dataclasses.replace(start, **changes)


def smooth_errors(usable, size=0.01):
    """Errors without white noise: parcels of 4 × 4 pixels."""
    rng = np.random.default_rng(6)
    parcels = rng.normal(0, size, (2, 25, 25)).repeat(4, 1).repeat(4, 2)
    return parcels[:, usable[0]].astype(np.float32)


def test_white_errors_are_the_noise_of_the_lr_image():
    # A correction of full strength brings the noise in; one of strength 0 leaves it out.
    clear, cloudy = uncertainty.error_models(evidence())
    np.testing.assert_allclose(np.sqrt(clear[:, 1] * 0.01**2 + clear[:, 2]), 0.01, rtol=0.2)
    weak, _ = uncertainty.error_models(evidence(strength=np.zeros(2, np.float32)))
    assert (np.sqrt(weak[:, 1] * 0.01**2 + weak[:, 2]) < 0.006).all()
    assert (np.sqrt(cloudy[:, 2]) < 0.006).all()


def test_what_is_not_noise_is_error():
    start = evidence()
    left = smooth_errors(start.usable)
    plain, cloudy = uncertainty.error_models(dataclasses.replace(start, left=left, linear_left=left))
    total = (np.abs(left) <= 1.6449 * np.sqrt(cloudy[:, 2, None])).mean()
    assert 0.88 < total < 0.97
    assert (np.sqrt(plain[:, 2]) < 0.01).all()
    details = uncertainty.Details(np.full(2, 9.0), np.zeros(2), np.zeros(2))
    grown, _ = uncertainty.error_models(dataclasses.replace(start, left=left, linear_left=left, details=details))
    np.testing.assert_allclose(grown[:, 1], 9 * plain[:, 1], rtol=1e-5)


def test_grain_and_what_lasts_are_added_to_everything():
    base = uncertainty.error_models(evidence())
    details = uncertainty.Details(np.ones(2), np.full(2, 4e-4), np.full(2, 1e-4))
    changes = {"details": details, "weights": np.array([0.5, 1.0]), "lasting": np.array([0.0, -0.02])}
    for before, after in zip(base, uncertainty.error_models(evidence(**changes)), strict=True):
        added = 4e-4 * np.array([1.5, 2.0]) - 1e-4 + np.array([0, 4e-4])
        np.testing.assert_allclose(after[:, 2] - before[:, 2], added, rtol=1e-4)
        np.testing.assert_array_equal(after[:, :2], before[:, :2])


def test_a_spread_that_ranks_errors_is_used_and_tamed_at_hr():
    rng = np.random.default_rng(7)
    usable = np.ones((1, 200, 200), bool)
    small = rng.uniform(0.002, 0.03, (2, 50, 50)).astype(np.float32)
    size, error = (a.repeat(4, 1).repeat(4, 2)[:, usable[0]] for a in (small, small * rng.standard_normal(small.shape)))
    left = error.astype(np.float32)
    found = evidence(usable=usable, left=left, linear_left=left, spread=size, fine_spread=size)
    _, cloudy = uncertainty.error_models(found)
    assert (cloudy[:, 0] > 0.5).all()
    _, tamed = uncertainty.error_models(dataclasses.replace(found, fine_spread=2 * size))
    np.testing.assert_allclose(tamed[:, 0], cloudy[:, 0] / 4, rtol=1e-4)


def test_where_the_linear_cousin_errs_more_clouds_hide_more():
    start = evidence()
    left = smooth_errors(start.usable)
    _, near = uncertainty.error_models(dataclasses.replace(start, left=left, linear_left=left))
    _, far = uncertainty.error_models(dataclasses.replace(start, left=left, linear_left=4 * left))
    _, same = uncertainty.error_models(dataclasses.replace(start, left=left, linear_left=0.5 * left))
    np.testing.assert_array_equal(same, near)
    assert ((far[:, 2] / near[:, 2] > 2) & (far[:, 2] / near[:, 2] <= 4.001)).all()
