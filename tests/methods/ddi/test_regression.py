"""The regression on details against its definition: sums over windows in plain loops, and general least squares."""

import numpy as np
import pytest

from sitsfuse.methods.ddi.details import trust, weighted_details, whole_windows
from sitsfuse.methods.ddi.regression import LEVEL, Penalty, Pixels, Standard, choose, posterior, solve

T, B = 3, 2
SIDE = 7


def windows(chosen):
    """All windows of 2×2 pixels, as lists of the chosen pixels in them."""
    count, rows, cols = chosen.shape
    for w in range(count):
        for y in range(-1, rows):
            for x in range(-1, cols):
                four = [(w, y + dy, x + dx) for dy in (0, 1) for dx in (0, 1)]
                inside = [p for p in four if 0 <= p[1] < rows and 0 <= p[2] < cols and chosen[p]]
                yield (w, y + 1, x + 1), inside


@pytest.fixture
def problem():
    """Two windows of guides without gaps, which of them were clear, a target, pixels to use, and weights."""
    rng = np.random.default_rng(0)
    guides = rng.normal(0.3, 0.1, (T, B, 2, SIDE, SIDE)).astype(np.float32)
    valid = rng.random((T, 2, SIDE, SIDE)) < 0.7
    chosen = rng.random((2, SIDE, SIDE)) < 0.8
    standard = Standard.of(guides[:, :, chosen], 2)
    x = standard.regressors(guides, valid) * chosen
    prior = rng.dirichlet(np.ones(T), (2, SIDE, SIDE)).transpose(3, 0, 1, 2).astype(np.float32)
    y = (rng.normal(0, 1, (B, 2, SIDE, SIDE)) * chosen).astype(np.float32)
    pixels = Pixels(x, standard.modulations(x) * chosen, y, prior * chosen, chosen)
    weights = rng.random((2, SIDE + 1, SIDE + 1)), rng.random((2, SIDE, SIDE))
    q = tuple(w.astype(np.float32) for w in (weights[0] * whole_windows(chosen), weights[1] * chosen))
    return standard, pixels, q


def objective(pixels, q, beta, noise, penalty):
    """The sum that is to be least, per band, by its definition; beta (K, D, B)."""
    fitted = np.einsum("kdb,kwyx,dwyx->bwyx", beta, pixels.m.astype(float), pixels.x.astype(float))
    error = pixels.y - fitted
    total = np.zeros(B)
    for at, inside in windows(pixels.chosen):
        if len(inside) > 1:
            e = np.array([error[(slice(None), *p)] for p in inside])
            total += q[0][at] * ((e - e.mean(axis=0)) ** 2).sum(axis=0)
    total += LEVEL * (q[1] * error**2).sum(axis=(1, 2, 3))
    for p in np.argwhere(pixels.chosen):
        at = (slice(None), *p)
        w = np.einsum("k,kdb->db", pixels.m[at].astype(float), beta)[: T * B].reshape(T, B, B)
        for b in range(B):
            w[:, b, b] += pixels.prior[at]
        total += np.einsum("ti,tib->b", noise, w**2)
    count = np.count_nonzero(pixels.chosen)
    total += (
        penalty.ridge * count * ((beta[0] ** 2).sum(axis=0) + (beta[1:] ** 2).sum(axis=(0, 1)) / penalty.freedom**2)
    )
    return total


def test_regressors_are_what_they_say(problem):
    standard, pixels, _ = problem
    known = pixels.x[:, pixels.chosen]
    np.testing.assert_allclose(known[: T * B].mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose((known[: T * B].reshape(T, B, -1) ** 2).mean(axis=(0, 2)), 1, rtol=1e-5)
    assert set(np.unique(known[T * B : -1])) == {-0.5, 0.5}
    assert (known[-1] == 1).all()
    scores = standard.axes @ known[: T * B]
    np.testing.assert_allclose((scores**2).mean(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose((scores[0] * scores[1]).mean(), 0, atol=1e-4)
    np.testing.assert_allclose(pixels.m[1:, pixels.chosen], np.tanh(scores), atol=1e-5)


def test_weighted_details_are_sums_over_windows(problem):
    _, pixels, q = problem
    found = weighted_details(pixels.y, pixels.chosen, q[0])
    a, b = np.random.default_rng(1).normal(0, 1, (2, B, 2, SIDE, SIDE)) * pixels.chosen
    wanted = 0.0
    for at, inside in windows(pixels.chosen):
        if len(inside) > 1:
            one, two = (np.array([image[(slice(None), *p)] for p in inside]) for image in (a, pixels.y))
            wanted += q[0][at] * ((one - one.mean(axis=0)) * (two - two.mean(axis=0))).sum()
    assert (a * found).sum() == pytest.approx(wanted, rel=1e-4)
    assert not found[:, ~pixels.chosen].any()
    assert not np.allclose(b, a)


def test_the_solution_is_the_least_of_the_definition(problem):
    _, pixels, q = problem
    noise, penalty = np.random.default_rng(2).uniform(0.1, 0.5, (T, B)), Penalty(0.02, 0.5)
    gram = pixels.gram(q)
    beta = solve(gram, noise, penalty).reshape(3, -1, B)
    least = objective(pixels, q, beta, noise, penalty)
    rng = np.random.default_rng(3)
    for size in (1e-1, 1e-2):
        for _ in range(20):
            step = size * rng.normal(0, 1, beta.shape)
            here, there = (objective(pixels, q, beta + sign * step, noise, penalty) for sign in (-1, 1))
            assert (here > least).all()
            assert (there > least).all()
            # A quadratic form with its least value here is as large on both sides.
            np.testing.assert_allclose(here - least, there - least, rtol=2e-2)


def test_a_ridge_without_bounds_leaves_temporal_interpolation(problem):
    _, pixels, q = problem
    beta = solve(pixels.gram(q), np.zeros((T, B)), Penalty(1e6, 1.0))
    assert np.abs(beta).max() < 1e-4


def test_without_freedom_weights_do_not_follow_the_pixel(problem):
    _, pixels, q = problem
    noise = np.full((T, B), 0.2)
    beta = solve(pixels.gram(q), noise, Penalty(0.01, 0.0))
    d = len(pixels.x)
    assert not beta[d:].any()
    np.testing.assert_allclose(beta[:d], solve(pixels.gram(q, k=1), noise, Penalty(0.01, 0.0)), atol=1e-6)


def test_noise_spreads_the_weights():
    # Two guides that show the same scene, the second one with noise that LR pixels do not see.
    rng = np.random.default_rng(4)
    scene = rng.normal(0.3, 0.1, (1, 20, 20)).astype(np.float32)
    guides = np.stack([scene, scene])[:, None]
    valid, chosen = np.ones((2, 1, 20, 20), bool), np.ones((1, 20, 20), bool)
    standard = Standard.of(guides.reshape(2, 1, -1), 0)
    prior = np.stack([np.zeros_like(scene), np.ones_like(scene)])
    y = np.zeros((1, 1, 20, 20), np.float32)
    x = standard.regressors(guides, valid)
    pixels = Pixels(x, standard.modulations(x), y, prior, chosen)
    q = whole_windows(chosen), chosen.astype(np.float32)
    for noise, wanted in (([0.1, 0.1], 0.5), ([0.1, 0.3], 0.25)):
        beta = solve(pixels.gram(q), np.array(noise)[:, None], Penalty(1e-6, 0.0))
        assert 1 + beta[1, 0] == pytest.approx(wanted, abs=0.02)
        assert beta[0, 0] == pytest.approx(1 - wanted, abs=0.02)


def test_grams_add_up_and_tell_errors(problem):
    _, pixels, q = problem
    folds = np.arange(SIDE)[None, :, None] // 4 * np.ones((2, 1, SIDE), int)
    parts = [pixels.gram(q, folds == k) for k in (0, 1)]
    beta = np.random.default_rng(5).normal(0, 0.3, (parts[0].square.shape[0], B))
    wanted = np.zeros(B)
    shape = beta.reshape(3, -1, B)
    none, loose = np.zeros((T, B)), Penalty(0.0, 1.0)
    for k in (0, 1):
        mine = pixels.chosen & (folds == k)
        inside = Pixels(pixels.x * mine, pixels.m * mine, pixels.y * mine, pixels.prior * mine, mine)
        wanted += objective(inside, (q[0], q[1] * mine), shape, none, loose)
    np.testing.assert_allclose((parts[0] + parts[1]).error(beta), wanted, rtol=1e-4)
    np.testing.assert_allclose((parts[0] + parts[1] - parts[1]).square, parts[0].square, atol=1e-9)


def test_grams_tell_the_noise_that_is_passed(problem):
    _, pixels, q = problem
    gram = pixels.gram(q)
    beta = np.random.default_rng(5).normal(0, 0.3, (gram.square.shape[0], B))
    noise = np.random.default_rng(6).uniform(0.1, 1, (T, B))
    shape, loose = beta.reshape(3, -1, B), Penalty(0.0, 1.0)

    def passed(some):
        return objective(pixels, q, some, noise, loose) - objective(pixels, q, some, 0 * noise, loose)

    np.testing.assert_allclose(gram.noise(beta, noise), passed(shape) - passed(0 * shape), rtol=1e-4)
    beta[len(beta) // 3 :] = 0
    np.testing.assert_allclose(gram.noise(beta, noise), passed(shape) - passed(0 * shape), rtol=1e-4)


def test_noise_at_hr_is_judged_with_the_error_at_lr(problem):
    _, pixels, q = problem
    # What temporal interpolation passes of a very noisy guide is worth an error at LR.
    parts = [pixels.gram(q, np.arange(SIDE)[None, :, None] // 3 % 2 * np.ones((2, 1, SIDE), int) == k) for k in (0, 1)]
    penalties = [Penalty(1e3, 0.0), Penalty(1e-2, 0.0)]
    assert choose(parts, np.zeros((T, B)), penalties).penalty == penalties[0]
    assert choose(parts, np.full((T, B), 20.0), penalties).penalty == penalties[1]


def test_held_out_pixels_choose(problem):
    _, pixels, q = problem
    rng = np.random.default_rng(6)
    folds = rng.integers(0, 3, (2, SIDE, SIDE))
    noise = np.full((T, B), 0.01)
    penalties = [Penalty(1e3, 0.0), Penalty(0.1, 0.0), Penalty(1e-3, 1.0)]
    parts = [pixels.gram(q, folds == k) for k in range(3)]
    choice = choose(parts, noise, penalties)
    # y is noise, which no regression foretells.
    assert choice.penalty == penalties[0]
    assert choice.errors[0] == pytest.approx(1, abs=0.01)
    assert choice.errors[2] > choice.errors[1] > 1
    learnable = Pixels(pixels.x, pixels.m, pixels.x[:B] - pixels.x[B : 2 * B], pixels.prior, pixels.chosen)
    choice = choose([learnable.gram(q, folds == k) for k in range(3)], 0 * noise, penalties)
    assert choice.penalty != penalties[0]
    assert min(choice.errors) < 0.1
    for k, beta in enumerate(choice.parts):
        alone = sum(
            (learnable.gram(q, folds == j) for j in range(3) if j not in {k, (k + 1) % 3}),
            learnable.gram(q, folds == (k + 1) % 3),
        )
        np.testing.assert_allclose(beta, solve(alone, 0 * noise, choice.penalty), rtol=1e-6, atol=1e-9)


def test_the_posterior_is_the_variance_of_the_prediction(problem):
    _, pixels, q = problem
    noise, penalty = np.full((T, B), 0.2), Penalty(0.05, 0.0)
    gram = pixels.gram(q, k=1)
    d = len(pixels.x)
    found = posterior(gram, noise, penalty, d)
    variance = np.zeros(d)
    variance[: T * B] = noise.ravel() * gram.pixels
    inverse = np.linalg.inv(gram.square + np.diag(variance + penalty.ridge * gram.pixels))
    x = pixels.x[:, pixels.chosen].astype(float)
    wanted = np.einsum("dn,de,en->n", x, inverse, x)
    np.testing.assert_allclose(((found @ x) ** 2).sum(axis=0), wanted, rtol=1e-3)
    # The first directions are those along which predictions of details vary most.
    few = posterior(gram, noise, penalty, 3)
    assert (((few @ x) ** 2).sum(axis=0) <= wanted * (1 + 1e-5)).all()
    kept = np.trace(few.T.astype(float) @ few @ gram.square)
    most = np.sort(np.linalg.eigvals(inverse @ gram.square).real)[-3:].sum()
    assert kept == pytest.approx(most, rel=1e-3)


def test_what_is_far_off_is_not_trusted():
    chosen = np.ones((1, 12, 12), bool)
    chosen[0, 0, :3] = False
    residual = np.random.default_rng(7).normal(0, 0.1, (B, 1, 12, 12)).astype(np.float32) * chosen
    residual[:, 0, 6, 6] = 3
    windows_of, pixels_of = trust(residual, chosen)
    assert windows_of[0, 6:8, 6:8].max() < 0.15
    assert pixels_of[0, 6, 6] < 0.15
    assert np.median(windows_of[0, 1:5, 5:10]) == 1
    assert not pixels_of[~chosen].any()
    assert not windows_of[0, 0, 0]
