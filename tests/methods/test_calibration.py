"""Standard deviations of errors that are not normal, the noise of images, and what two sensors lastingly differ by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sitsfuse.methods.shared import calibration
from sitsfuse.operators.matrices import psf_sigma
from sitsfuse.stats import noise as noises

START = np.datetime64("2020-05-01", "ns")


def dates(*days):
    return START + np.array(days) * np.timedelta64(1, "D")


def image(seed, shape=(2, 120, 120)):
    """Parcels, as a sensor with an MTF of 0.3 sees them."""
    rng = np.random.default_rng(seed)
    parcels = rng.uniform(0.05, 0.4, (shape[0], shape[1] // 12, shape[2] // 12)).repeat(12, 1).repeat(12, 2)
    return ndimage.gaussian_filter(parcels, (0, psf_sigma(0.3), psf_sigma(0.3))).astype(np.float32)


def noise(seed, shape, size):
    return (size * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# --- deviations


@settings(max_examples=30)
@given(st.integers(20, 400), st.integers(0, 99), st.floats(1e-3, 10))
def test_the_interval_of_a_deviation_holds_nine_tenths(n, seed, size):
    errors = size * np.random.default_rng(seed).standard_t(2, (3, n))
    sigma = calibration.deviation(errors)
    share = (np.abs(errors) <= 1.6449 * sigma[:, None]).mean(axis=1)
    np.testing.assert_allclose(share, 0.9, atol=1 / n + 1e-9)


def test_of_normal_errors_it_is_the_standard_deviation():
    assert calibration.deviation(noise(0, (1, 10**6), 0.02))[0] == pytest.approx(0.02, rel=0.01)
    np.testing.assert_array_equal(calibration.deviation(np.empty((2, 0))), 0)


# --- models


def test_a_variance_model_finds_what_errors_are_made_of():
    rng = np.random.default_rng(1)
    spread, n = rng.uniform(0.002, 0.03, 100_000), 100_000
    error = rng.standard_normal(n) * np.sqrt(2 * spread**2 + 0.01**2 + 0.015**2)
    found = calibration.variance_model((spread**2,), error, 0.015**2)
    assert found[0] == pytest.approx(2, rel=0.1)
    assert found[1] == pytest.approx(0.01**2, rel=0.15)


@settings(max_examples=30)
@given(st.integers(0, 99), st.floats(0.1, 3), st.floats(1.5, 20))
def test_a_variance_model_holds_nine_tenths_whatever_the_tails(seed, factor, freedom):
    rng = np.random.default_rng(seed)
    told = rng.lognormal(-5, 0.7, 2000)
    error = factor * told * rng.standard_t(freedom, 2000)
    found = calibration.variance_model((told**2,), error, 0.0)
    sigma = np.sqrt(found[0] * told**2 + found[1])
    assert (found >= 0).all()
    assert (np.abs(error) <= 1.6449 * sigma).mean() == pytest.approx(0.9, abs=0.002)


def test_without_errors_nothing_is_uncertain():
    np.testing.assert_array_equal(calibration.variance_model((np.ones(60),), np.zeros(60), 0.0), 0)


# --- noise


@pytest.mark.parametrize("size", [0.001, 0.005, 0.02])
def test_the_noise_of_an_image_is_found_beside_its_edges(size):
    seen = image(2) + noise(3, (2, 120, 120), size)
    valid = np.random.default_rng(4).random((120, 120)) < 0.97
    found = noises.white_noise(np.where(valid, seen, np.float32(np.nan)), valid)
    np.testing.assert_allclose(found, size, rtol=0.15)


def test_windows_are_images_of_their_own_and_too_few_pixels_have_no_noise():
    seen = noise(5, (1, 3, 30, 30), 0.01) + np.array([0, 1, 5], np.float32)[:, None, None]
    valid = np.ones((3, 30, 30), bool)
    np.testing.assert_allclose(noises.white_noise(seen, valid), 0.01, rtol=0.1)
    valid[:, 8:] = False
    valid[1:] = False
    valid[0, :, 9:] = False
    np.testing.assert_array_equal(noises.white_noise(seen, valid), 0)


def test_what_changes_in_smooth_images_is_noise():
    series = np.stack([image(6) + noise(7 + k, (2, 120, 120), 0.004) for k in range(4)])
    grain, sensor = noises.grain_and_noise(series, np.ones((4, 120, 120), bool))
    np.testing.assert_allclose(np.sqrt(grain), 0.004, rtol=0.1)
    assert (sensor > 0.8 * grain).all()


def test_what_changes_in_sharp_images_is_structure():
    sharp = np.random.default_rng(8).normal(0.2, 0.02, (2, 121, 121)).astype(np.float32)
    shifts = [(0, 0), (0.15, 0), (0, 0.2), (0.1, 0.1)]
    series = np.stack([ndimage.shift(sharp, (0, *s), order=1, mode="nearest") for s in shifts])
    grain, sensor = noises.grain_and_noise(series, np.ones((4, 121, 121), bool))
    assert (np.sqrt(grain) > 0.001).all()
    assert (sensor < 0.3 * grain).all()


def test_a_single_image_has_no_grain():
    for found in noises.grain_and_noise(image(9)[None], np.ones((1, 120, 120), bool)):
        np.testing.assert_array_equal(found, 0)


# --- sensors


def pair_of_series(offset, jumps=(0.0,) * 9):
    rng = np.random.default_rng(10)
    scene = rng.normal(0.2, 0.05, (2, 15, 15)).astype(np.float32)
    guides = np.stack([scene + 0.001 * d for d in (0, 20, 40, 60, 80)]).astype(np.float32)
    series = np.stack([scene + 0.001 * d for d in range(0, 90, 10)]) + np.array(offset)[:, None, None]
    series += np.array(jumps)[:, None, None, None]
    return guides, dates(0, 20, 40, 60, 80), series.astype(np.float32), dates(*range(0, 90, 10))


def difference(guides, times, series, days):
    ok, seen = (np.ones((len(a), 15, 15), bool) for a in (guides, series))
    return calibration.lasting_difference(guides, ok, times, series, seen, days)


def test_a_lasting_difference_is_found_with_its_sign():
    np.testing.assert_allclose(difference(*pair_of_series((0.01, -0.02))), (0.01, -0.02), atol=1e-4)
    np.testing.assert_allclose(difference(*pair_of_series((0.0, 0.0))), 0, atol=1e-5)


def test_what_scatters_from_date_to_date_does_not_last():
    jumps = (0.03, 0, -0.03, 0, 0.02, 0, -0.02, 0, 0)
    np.testing.assert_array_equal(difference(*pair_of_series((0.01, -0.01), jumps)), 0)


def test_no_target_near_or_too_few_dates_tell_no_difference():
    guides, times, series, days = pair_of_series((0.01, 0.01))
    np.testing.assert_array_equal(difference(guides, times, series, days + np.timedelta64(300, "D")), 0)
    np.testing.assert_array_equal(difference(guides[:2], times[:2], series, days), 0)


# --- LR errors


def test_high_pass_removes_what_is_smooth():
    usable = np.ones((1, 20, 20), bool)
    y, x = np.mgrid[:20, :20]
    plane = (0.3 + 0.01 * x - 0.02 * y).astype(np.float32)[None]
    passed = calibration.high_pass(plane.reshape(1, -1), usable).reshape(20, 20)
    np.testing.assert_allclose(passed[1:-1, 1:-1], 0, atol=1e-6)
    board = ((-1.0) ** (x + y)).astype(np.float32)
    passed = calibration.high_pass(board.reshape(1, -1), usable).reshape(20, 20)
    np.testing.assert_allclose(passed[1:-1, 1:-1], board[1:-1, 1:-1], atol=1e-6)


def test_the_high_pass_leaves_a_known_share_of_white_noise():
    usable = np.ones((1, 300, 300), bool)
    passed = calibration.high_pass(noise(11, (1, 90_000), 1.0), usable)
    assert passed.var() == pytest.approx(0.64, rel=0.02)
