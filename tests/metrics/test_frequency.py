"""Rates of restored, made-up and lost frequencies."""

import numpy as np
import pytest
from scipy import ndimage

from sitsfuse.metrics.frequency import SIDE, Rates, amplitudes, cuts, profile, rates


def scene(shape=(96, 128), seed=0):
    """A rough image: its spectrum falls with the frequency."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.0, mode="wrap") + 3 * ndimage.gaussian_filter(noise, 6.0, mode="wrap")


def radial_profile(image):
    return profile(amplitudes(image), image.shape)


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


def test_blocks_are_averaged_before_the_logarithm():
    blocks = np.stack([scene((32, 32), seed) for seed in range(3)])
    together = profile(amplitudes(blocks).mean(axis=0), (32, 32))
    absolute = []
    for b in blocks:
        window = np.outer(np.hanning(34)[1:-1], np.hanning(34)[1:-1])
        spectrum = np.abs(np.fft.rfft2((b - (b * window).sum() / window.sum()) * window))
        radius = np.rint(np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)) * 32)
        absolute.append([spectrum[radius == k].mean() for k in range(1, 17)])
    mean = np.mean(absolute, axis=0)
    np.testing.assert_allclose(together, 20 * np.log10(mean / mean[0]), rtol=1e-9)


@pytest.mark.parametrize(("n", "starts"), [(50, [0]), (128, [0]), (129, [0, 1]), (300, [0, 128, 172]), (256, [0, 128])])
def test_blocks_cover_an_axis(n, starts):
    found = cuts(n)
    assert [c.start for c in found] == starts
    assert all(c.stop - c.start == min(n, SIDE) for c in found)
    assert found[-1].stop == n


def test_images_without_energy_have_no_rates():
    flat = np.full((16, 16), 0.3)
    assert all(np.isnan([r.frr, r.fro, r.fru]).all() for r in (rates(flat, flat, flat), Rates()))
    dot = np.ones((1, 1))
    assert np.isnan(rates(dot, dot, dot).frr)
