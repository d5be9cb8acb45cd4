"""The closed form at HR: the kernel against plain NumPy, bounds, weights and gaps."""

import numpy as np
import pytest

from sitsfuse.core.timeline import temporal_weights
from sitsfuse.methods.ddi.closed import Closed, Coarse, Problem
from sitsfuse.methods.ddi.noise import guide_noise
from sitsfuse.methods.ddi.regression import Penalty, Standard
from sitsfuse.methods.ddi.windows import gap_free
from sitsfuse.methods.kernels.regression import combine
from sitsfuse.methods.shared.gapless import without_gaps

T, B, N = 5, 2, 1500
OFFSETS = np.array([-30.0, -12.0, -2.0, 5.0, 20.0])


@pytest.fixture
def pixels():
    """Guides (T, B, N) and their validity; the first pixel has no valid guide, the second all of them."""
    rng = np.random.default_rng(0)
    valid = rng.random((T, N)) < 0.6
    valid[:, 0], valid[:, 1] = False, True
    guides = rng.uniform(0.05, 0.5, (T, B, N)).astype(np.float32)
    return np.where(valid[:, None], guides, np.float32(np.nan)), valid


def closed(freedom=1.0, least=-9.0, most=9.0, seed=1):
    """A closed form of random coefficients."""
    rng = np.random.default_rng(seed)
    t_b = T * B
    standard = Standard(
        rng.uniform(0.1, 0.3, (T, B)).astype(np.float32),
        np.array([0.1, 0.2], np.float32),
        rng.normal(0, 0.3, (2, t_b)).astype(np.float32),
    )
    beta = rng.normal(0, 0.2, (3 * standard.size, B))
    low, high = np.full(B, least, np.float32), np.full(B, most, np.float32)
    directions = rng.normal(0, 1, (4, standard.size)).astype(np.float32)
    return Closed(standard, beta, Penalty(0.1, freedom), low, high, directions)


def plain(model, guides, valid, offsets=OFFSETS):
    """Image and spread in float64, from the definition."""
    filled, known = without_gaps(guides[:, :, None], valid[:, None], offsets)
    filled, known = filled[:, :, 0].astype(float), known[0]
    z = (filled - model.standard.mean[..., None]) / model.standard.scale[:, None]
    x = np.concatenate([z.reshape(T * B, -1), valid - 0.5, np.ones((1, valid.shape[1]))])
    m = [np.ones(valid.shape[1]), *np.tanh(model.standard.axes @ x[: T * B])]
    parts = model.beta.reshape(3, -1, B)
    used = parts if model.penalty.freedom else parts[:1]
    departure = sum(mk * (p.T @ x) for mk, p in zip(m, used, strict=False))
    departure = np.clip(departure, model.least[:, None], model.most[:, None])
    base = np.einsum("tn,tbn->bn", temporal_weights(valid, offsets), np.where(valid[:, None], guides, 0))
    image = base + model.standard.scale[:, None] * departure
    spread = np.sqrt(((model.directions @ x) ** 2).sum(axis=0))
    return np.where(known, image, 0), np.where(known, spread, 0), np.where(known, base, 0)


@pytest.mark.parametrize("freedom", [0.0, 1.0])
def test_prediction_is_its_definition(pixels, freedom):
    model = closed(freedom)
    image, spread = model.at_hr(*pixels, OFFSETS)
    wanted = plain(model, *pixels)
    np.testing.assert_allclose(image, wanted[0], atol=2e-6)
    np.testing.assert_allclose(spread, wanted[1], rtol=1e-4, atol=1e-5)
    assert not image[:, 0].any()
    half, _ = model.at_hr(*pixels, OFFSETS, 0.5)
    np.testing.assert_allclose(half, (wanted[0] + wanted[2]) / 2, atol=2e-6)


@pytest.mark.parametrize("shift", [-40.0, 0.0, 2.0, 40.0])
def test_the_kernel_interpolates_in_time(pixels, shift):
    offsets = OFFSETS + shift
    coefficients = np.random.default_rng(2).normal(0, 1, (3, T * B + T + 1)).astype(np.float32)
    guides, seen = pixels
    base, out = combine(guides, seen, offsets, coefficients, 100, 900)
    values, valid = guides[..., 100:1000], seen[..., 100:1000]
    filled, known = without_gaps(values[:, :, None], valid[:, None], offsets)
    wanted = np.einsum("tn,tbn->bn", temporal_weights(valid, offsets), np.where(valid[:, None], values, 0))
    np.testing.assert_allclose(base, wanted, atol=1e-6)
    x = np.concatenate([filled.reshape(T * B, -1), valid, known]).astype(float)
    np.testing.assert_allclose(out, coefficients @ x, atol=1e-5)


def test_departures_stay_within_bounds(pixels):
    model = closed(least=-0.2, most=0.1)
    image, _ = model.at_hr(*pixels, OFFSETS)
    base = plain(model, *pixels)[2]
    departure = (image - base) / model.standard.scale[:, None]
    assert departure.min() == pytest.approx(-0.2, abs=1e-5)
    assert departure.max() == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("freedom", [0.0, 1.0])
def test_weights_are_slopes_of_the_image(pixels, freedom):
    model = closed(freedom)
    guides, valid = (a[..., 1:60] for a in pixels)
    weights = model.weights(guides, valid, OFFSETS)
    assert not weights[~np.repeat(valid[:, None], B, axis=1)].any()
    if freedom:
        # Weights that follow the pixel are those at its place: hold the place.
        model = Closed(
            Standard(model.standard.mean, model.standard.scale, 0 * model.standard.axes), model.beta, Penalty(0.1, 0.0),
            model.least, model.most, model.directions,
        )  # fmt: skip
        weights = model.weights(guides, valid, OFFSETS)
    for t in range(T):
        for b in range(B):
            moved = guides.copy()
            moved[t, b] += 0.01
            slope = (plain(model, moved, valid)[0][b] - plain(model, guides, valid)[0][b]) / 0.01
            np.testing.assert_allclose(weights[t, b], np.where(valid[t], slope, 0), atol=1e-3)


def coarse_scene(seed=3, side=24):
    rng = np.random.default_rng(seed)
    parcels = rng.normal(0, 0.05, (T, B, 1, side // 2, side // 2)).repeat(2, 3).repeat(2, 4)
    guides = (0.3 + parcels + rng.normal(0, 0.02, (T, B, 1, side, side))).astype(np.float32)
    return guides, np.ones((T, 1, side, side), bool)


def test_it_learns_a_combination_of_guides():
    guides, valid = coarse_scene()
    target = 0.7 * guides[0] - 0.3 * guides[4] + 0.1
    coarse = Coarse(guides, valid)
    standard = coarse.standard(2)
    chosen = np.ones((1, 24, 24), bool)
    folds = np.arange(24)[None, :, None] // 3 % 4 * np.ones((1, 1, 24), int)
    variance = np.zeros((T, B))
    problem = Problem(coarse, standard, target, chosen, OFFSETS, variance, folds)
    choice = problem.choose(variance)
    assert min(choice.errors) < 1e-3
    model = problem.fit(variance, choice)
    image, _ = model.at_hr(guides, valid, OFFSETS)
    np.testing.assert_allclose(image, target, atol=2e-3)
    held = problem.base + standard.scale[:, None, None, None] * problem.held_out(choice)
    np.testing.assert_allclose(held, target, atol=4e-3)
    weights = model.weights(guides, valid, OFFSETS)
    np.testing.assert_allclose(weights[:, 0].mean(axis=(1, 2, 3)), [0.7, 0, 0, 0, -0.3], atol=0.03)
    # Noise of the same variance in every guide passes by the squares of the weights.
    np.testing.assert_allclose(problem.passed(model.beta, np.full((T, B), 4e-4)), 4e-4 * 0.58, rtol=0.1)


def test_gaps_at_lr_are_closed_in_time():
    guides, valid = coarse_scene()
    valid[1, :, 3:9, 2:7] = False
    times = np.datetime64("2020-05-01") + np.array([0, 10, 30, 40, 50], "timedelta64[D]")
    filled = gap_free(guides, valid, times)
    np.testing.assert_allclose(filled[1][..., 3:9, 2:7], (2 * guides[0] + guides[2])[..., 3:9, 2:7] / 3, rtol=1e-5)
    np.testing.assert_array_equal(filled[2], guides[2])


@pytest.mark.parametrize("texture", [0.0, 0.03])
def test_noise_is_told_from_texture(texture):
    rng = np.random.default_rng(4)
    scene = 0.3 + rng.normal(0, texture, (1, 2, 120, 120))
    sizes = np.array([0.002, 0.004, 0.002, 0.003])[:, None, None, None]
    values = (scene + rng.normal(0, 1, (4, 2, 120, 120)) * sizes).astype(np.float32)
    valid = np.ones((4, 120, 120), bool)
    valid[1, :40] = valid[3] = False
    values[~np.repeat(valid[:, None], 2, axis=1)] = np.nan
    found = guide_noise(values, valid)
    # The noise of the other guides counts as well, where it is they that tell the texture.
    assert (found >= 0.9 * sizes[:, :, 0, 0])[:3].all()
    assert (found <= (1.7 if texture else 1.1) * sizes[:, :, 0, 0])[:3].all()
    assert np.isfinite(found).all()


def test_without_valid_pixels_there_is_no_noise():
    assert not guide_noise(np.zeros((2, 3, 20, 20), np.float32), np.zeros((2, 20, 20), bool)).any()
