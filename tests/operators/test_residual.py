"""What of a residual is scene, against plain loops and filters known from theory."""

import numpy as np
import pytest

from sitsfuse.operators.residual import SPLIT, correct, scene_part, split
from tests.helpers import scenes


def slow_smooth(image, known):
    """Mean over 3×3 pixels with weights 1 2 1, of the known ones."""
    out = np.zeros_like(image)
    for y, x in np.argwhere(known):
        total = weight = 0.0
        for dy, dx in np.ndindex(3, 3):
            i, j = y + dy - 1, x + dx - 1
            if 0 <= i < known.shape[0] and 0 <= j < known.shape[1] and known[i, j]:
                w = (1, 2, 1)[dy] * (1, 2, 1)[dx]
                total, weight = total + w * image[i, j], weight + w
        out[y, x] = total / weight
    return out


def test_the_parts_are_a_mean_of_the_neighbours_and_the_rest():
    rng = np.random.default_rng(0)
    known = rng.random((9, 11)) > 0.3
    image = rng.normal(0, 1, (2, 9, 11)).astype(np.float32)
    smooth, detail = split(np.where(known, image, np.float32(1e6)), known)
    for band in range(2):
        np.testing.assert_allclose(smooth[band], np.where(known, slow_smooth(image[band], known), 0), atol=1e-6)
    np.testing.assert_allclose(smooth + detail, np.where(known, image, 0), atol=1e-6)


def test_white_noise_falls_to_the_parts_as_said():
    image = np.random.default_rng(1).normal(0, 1, (1, 400, 400)).astype(np.float32)
    parts = split(image, np.ones((400, 400), bool))
    np.testing.assert_allclose([p.var() for p in parts], SPLIT, rtol=0.02)


def test_without_noise_all_of_it_is_scene():
    misfit = np.random.default_rng(2).normal(0, 0.01, (2, 8, 8)).astype(np.float32)
    known = np.ones((8, 8), bool)
    assert scene_part(misfit, known, np.zeros((2, 2), np.float32)) is misfit


def test_what_is_noise_alone_is_nearly_taken_away_and_what_towers_over_it_is_kept():
    rng = np.random.default_rng(3)
    known = rng.random((120, 120)) > 0.1
    noise = rng.normal(0, 0.01, (1, 120, 120)).astype(np.float32)
    level = np.array(SPLIT, np.float32)[:, None] * np.float32(0.01**2)
    left = scene_part(np.where(known, noise, 0), known, level)
    assert np.sqrt((left[:, known] ** 2).mean()) < 0.003
    scene = np.where(known, noise, 0).copy()
    scene[:, 40:80, 40:80] += 0.2
    kept = scene_part(np.where(known, scene, np.float32(0)), known, level)
    inside = known.copy()
    inside[:44], inside[76:], inside[:, :44], inside[:, 76:] = False, False, False, False
    assert abs(kept[0][inside].mean() - 0.2) < 0.001
    # Better than any constant share of the residual, for the mean squared error.
    truth = np.zeros_like(scene)
    truth[:, 40:80, 40:80] = 0.02
    seen = np.where(known, truth + noise, np.float32(0))
    constant = min(((c * seen - truth)[:, known] ** 2).mean() for c in np.linspace(0, 1, 51))
    assert ((scene_part(seen, known, level) - truth)[:, known] ** 2).mean() < 0.5 * constant


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_unknown_pixels_never_leak(value):
    rng = np.random.default_rng(4)
    known = rng.random((20, 20)) > 0.3
    misfit = rng.normal(0, 0.01, (2, 20, 20)).astype(np.float32)
    level = np.full((2, 2), 1e-5, np.float32)
    poisoned = np.where(known, misfit, np.float32(value))
    found = scene_part(poisoned, known, level)
    np.testing.assert_array_equal(found, scene_part(np.where(known, misfit, np.float32(0)), known, level))
    assert not found[:, ~known].any()


def test_the_correction_shrinks_what_is_not_scene():
    tree = scenes.site(n=60, cloudy=0.0)
    from sitsfuse.core.site import pair_of

    grids = pair_of(tree)
    flat, there = np.full((1, 60, 60), 0.2, np.float32), np.ones((60, 60), bool)
    rng = np.random.default_rng(5)
    noisy = 0.2 + rng.normal(0, 0.01, (1, 12, 12)).astype(np.float32)
    clear = np.ones((12, 12), bool)
    level = np.array(SPLIT, np.float32)[:, None] * np.float32(0.01**2)
    plain, shrunk = (correct(flat, there, noisy, clear, grids, (0.3,), (1.0,), 2, n)[0] for n in (None, level))
    assert (shrunk - flat).std() < 0.4 * (plain - flat).std()
