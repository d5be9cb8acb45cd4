"""Rates of restored, made-up and lost frequencies."""

import numpy as np
import pytest
from scipy import ndimage

from sitsfuse.frequency import radial_profile, rates


def scene(shape=(96, 128), seed=0):
    """A rough image: its spectrum falls with the frequency."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.0, mode="wrap") + 3 * ndimage.gaussian_filter(noise, 6.0, mode="wrap")


def plain_profile(image):
    """The same, ring by ring."""
    rows, cols = image.shape
    n = min(rows, cols)
    wy = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, rows + 1) / (rows + 1))
    wx = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, cols + 1) / (cols + 1))
    w = np.outer(wy, wx)
    spectrum = np.abs(np.fft.rfft2((image - (image * w).sum() / w.sum()) * w))
    rings = {}
    for y in range(rows):
        for x in range(cols // 2 + 1):
            fy = (y if y <= rows // 2 else y - rows) / rows
            rings.setdefault(int(np.rint(np.hypot(fy, x / cols) * n)), []).append(spectrum[y, x])
    mean = [np.mean(rings[r]) for r in range(1, n // 2 + 1)]
    return 20 * np.log10(np.array(mean) / mean[0])


def test_the_profile_is_that_of_the_rings():
    image = scene((24, 32))
    np.testing.assert_allclose(radial_profile(image), plain_profile(image), rtol=1e-9)


def test_level_and_contrast_do_not_count():
    image = scene()
    np.testing.assert_allclose(radial_profile(5 * image + 3), radial_profile(image), atol=1e-9)


def test_a_wave_stands_out_at_its_frequency():
    x = np.arange(64)
    wave = np.sin(2 * np.pi * 13 * x / 64)[None] * np.ones((64, 1)) + 0.01 * scene((64, 64))
    assert np.argmax(radial_profile(wave)) + 1 == 13


def test_truth_restores_all_and_interpolation_nothing():
    truth = scene()
    smooth = ndimage.gaussian_filter(truth, 3, mode="wrap")
    perfect, none = rates(truth, truth, smooth), rates(truth, smooth, smooth)
    assert perfect.frr == pytest.approx(100)
    assert perfect.fro == pytest.approx(0)
    assert none.frr == pytest.approx(0)
    assert none.fro == pytest.approx(0)
    assert none.fru == pytest.approx(0)


def test_half_the_blur_restores_some_and_noise_overshoots():
    truth = scene()
    smooth = ndimage.gaussian_filter(truth, 3, mode="wrap")
    better = rates(truth, ndimage.gaussian_filter(truth, 1.5, mode="wrap"), smooth)
    assert 20 < better.frr < 95
    assert better.fro == pytest.approx(0, abs=0.5)
    noisy = rates(truth, truth + 0.3 * np.random.default_rng(1).normal(size=truth.shape), smooth)
    assert noisy.frr > 95
    assert noisy.fro > 5
    lost = rates(truth, ndimage.gaussian_filter(truth, 6, mode="wrap"), smooth)
    assert lost.frr == pytest.approx(0, abs=0.5)
    assert lost.fru < -5
