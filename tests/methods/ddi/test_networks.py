"""DDI's networks: against slow plain NumPy, what training starts from, and what it learns."""

from itertools import pairwise

import numpy as np
import pytest

from sitsfuse.core.timeline import temporal_weights
from sitsfuse.methods.ddi import training
from sitsfuse.methods.ddi.closed import Coarse, Problem
from sitsfuse.methods.ddi.hyper import Training
from sitsfuse.methods.ddi.network import Ensemble
from sitsfuse.methods.ddi.training import Task, neighbours, train
from sitsfuse.methods.ddi.trial import gain, try_networks

T, B, K = 4, 3, 2


@pytest.fixture
def pixels():
    """Guides of 40 pixels and their validity; the first pixel has no valid guide, the second all, the others some."""
    rng = np.random.default_rng(0)
    valid = rng.random((T, 40)) < 0.6
    valid[:, 0], valid[:, 1] = False, True
    return np.where(valid[:, None], rng.uniform(0.05, 0.5, (T, B, 40)), np.nan).astype(np.float32), valid


@pytest.fixture
def ensemble():
    """Random networks of two hidden layers."""
    rng = np.random.default_rng(1)
    layers = tuple(
        (rng.normal(0, 0.6, (K, n_out, n_in)).astype(np.float32), rng.normal(0, 0.3, (K, n_out)).astype(np.float32))
        for n_in, n_out in pairwise((T * B + T, 7, 5, T * B + B))
    )
    mean = rng.uniform(0.1, 0.3, (T, B)).astype(np.float32)
    return Ensemble(mean, np.array([0.05, 0.1, 0.2], np.float32), layers)


def slow_forward(ensemble, guides, valid):
    """Weights (K, T, B, N) and departures (K, B, N) in reflectance, pixel by pixel in float64, from the definition."""
    n = guides.shape[-1]
    weights, images = np.zeros((K, T, B, n)), np.zeros((K, B, n))
    for k in range(K):
        for i in range(n):
            ok = valid[:, i]
            off = np.where(ok[:, None], guides[:, :, i].astype(float) - ensemble.mean, 0)
            x = np.concatenate([(off / ensemble.scale).ravel(), ok - 0.5])
            for weight, offset in ensemble.layers[:-1]:
                x = np.maximum(weight[k].astype(float) @ x + offset[k], 0)
            x = ensemble.layers[-1][0][k].astype(float) @ x + ensemble.layers[-1][1][k]
            weights[k, :, :, i] = np.where(ok[:, None], x[: T * B].reshape(T, B), 0)
            if ok.any():
                images[k, :, i] = (weights[k, :, :, i] * off).sum(axis=0) + x[T * B :] * ensemble.scale
    return weights, images


def test_inference_is_the_plain_forward_pass(ensemble, pixels):
    loaded = ensemble.to("cpu")
    weights, images = slow_forward(ensemble, *pixels)
    guides, valid = (a.reshape(*a.shape[:-1], 5, 8) for a in pixels)
    mean, spread = loaded.departure(guides, valid)
    np.testing.assert_allclose(mean.reshape(B, -1), images.mean(axis=0), rtol=0, atol=2e-6)
    np.testing.assert_allclose(spread.reshape(B, -1), images.std(axis=0), rtol=0, atol=2e-6)
    np.testing.assert_allclose(loaded.weights(guides, valid).reshape(T, B, -1), weights.mean(axis=0), atol=5e-6)
    assert weights.std() > 0.1


def two_guides(n, target, folds, windows=None, variance=0.0, seed=4):
    """A task on n pixels of two guides of one band, valid everywhere; ``target`` makes it from the guides."""
    guides = np.random.default_rng(seed).uniform(0.1, 0.4, (2, 1, n)).astype(np.float32)
    valid = np.ones((2, n), bool)
    prior = temporal_weights(valid, np.array([-5.0, 5.0]))
    left = (target(guides) - (prior[:, None] * guides).sum(axis=0)) / 0.1
    windows = np.arange(n)[:, None] if windows is None else windows
    return Task(
        guides, valid, np.full((2, 1), 0.25, np.float32), np.array([0.1], np.float32), left.astype(np.float32),
        prior[:, None].astype(np.float32), np.full((2, 1), variance), folds, windows,
    )  # fmt: skip


def how(steps, rate=1e-2, decay=0.0, hidden=(8,)):
    return Training(hidden, steps, rate, decay, 0, "cpu")


def test_training_starts_at_temporal_interpolation():
    task = two_guides(40, lambda g: g[0] + 0.5, np.arange(40) % 2)
    untrained = train(task, how(3, rate=0.0)).to("cpu")
    assert not untrained.images(task.guides, task.valid).any()
    assert not untrained.weights(task.guides, task.valid).any()


def test_training_learns_a_linear_combination():
    n = 2000
    task = two_guides(n, lambda g: 0.9 * g[0] - 0.2 * g[1] + 0.05, np.arange(n) // 4 % 2, np.arange(n).reshape(-1, 4))
    trained = train(task, how(300, hidden=(32,))).to("cpu")
    images = trained.images(task.guides, task.valid)
    error = images - task.left
    error -= error.mean(axis=-1, keepdims=True)  # the level hardly counts
    assert np.sqrt((error**2).mean()) < 0.08 * task.left.std()


def test_each_network_ignores_the_fold_it_leaves_out(monkeypatch):
    n = 600
    folds, windows = np.arange(n) % 2, np.arange(n).reshape(-1, 2)
    # One check after one step: the state kept is the one after it, whatever the fold says.
    monkeypatch.setattr(training, "_keep_best", keep_last)
    made = []
    for extra in (0.0, 0.3):
        task = two_guides(n, lambda g, e=extra: g[0] + e * (folds == 0), folds, windows)
        made.append(train(task, how(1)).layers[-1][0])
    np.testing.assert_array_equal(made[0][0], made[1][0])
    assert np.abs(made[0][1] - made[1][1]).max() > 0


def keep_last(layers, rows, held, best, kept):
    """Keep the present state in any case."""
    for old, new in zip(kept, (p for layer in layers for p in layer), strict=True):
        old[...] = new.detach()
    return best


def test_what_the_residual_correction_brings_is_not_learnt(monkeypatch):
    monkeypatch.setattr(training, "LEVEL", 0.0)
    n = 400
    windows, folds = np.arange(n).reshape(-1, 4), (np.arange(n) // 4) % 2
    level = np.random.default_rng(5).normal(0, 0.1, n // 4).repeat(4)
    made = [
        train(two_guides(n, lambda g, a=add: g[0] + a, folds, windows), how(30)).layers[-1][0] for add in (0.0, level)
    ]
    np.testing.assert_allclose(made[0], made[1], atol=1e-4)
    assert np.abs(made[0]).max() > 1e-2


def test_noise_spreads_the_weights():
    n = 800
    folds, windows = np.arange(n) // 4 % 2, np.arange(n).reshape(-1, 4)
    made = []
    for variance in (0.0, 3.0):
        task = two_guides(n, lambda g: g[0], folds, windows, variance)
        trained = train(task, how(200, hidden=(16,))).to("cpu")
        made.append(0.5 + trained.weights(task.guides, task.valid).mean(axis=2)[:, 0])
    assert (made[1] ** 2).sum() < 0.9 * (made[0] ** 2).sum()


def test_neighbours_are_all_windows_of_four():
    usable = np.random.default_rng(3).random((2, 5, 6)) < 0.5
    number = {tuple(at): i for i, at in enumerate(np.argwhere(usable))}
    wanted = set()
    for w in range(2):
        for y in range(-1, 5):
            for x in range(-1, 6):
                four = tuple(number.get((w, y + dy, x + dx), -1) for dy in (0, 1) for dx in (0, 1))
                wanted |= {four} if max(four) >= 0 else set()
    found = neighbours(usable)
    assert len(found) >= len(wanted)
    assert set(map(tuple, found.tolist())) == wanted


def crossing(seed, noise):
    """A date whose weights turn with the first guide: what no linear regression follows."""
    rng = np.random.default_rng(seed)
    guides = rng.normal(0.3, 0.1, (2, 1, 1, 36, 36)).astype(np.float32)
    valid = np.ones((2, 1, 36, 36), bool)
    target = np.where(guides[0] > 0.3, guides[1], 0.6 - guides[1]) + rng.normal(0, noise, (1, 1, 36, 36))
    coarse = Coarse(guides, valid)
    folds = np.arange(36)[None, :, None] // 3 % 4 * np.ones((1, 1, 36), int)
    variance = np.zeros((2, 1))
    chosen = np.ones((1, 36, 36), bool)
    offsets = np.array([-5.0, 5.0])
    return coarse, Problem(coarse, coarse.standard(0), target.astype(np.float32), chosen, offsets, variance, folds)


def test_held_out_pixels_judge_networks():
    coarse, problem = crossing(6, 0.0)
    none = np.zeros((2, 1))
    choice = problem.choose(none)
    trial = try_networks(coarse, problem, none, how(300, hidden=(32, 32)))
    assert gain(problem, choice, trial, 0.5) > 0.2
    closed = problem.held_out(choice)
    np.testing.assert_allclose(trial.held_out(closed, 0.25), 0.75 * closed + 0.25 * trial.departure, atol=1e-6)
    assert gain(problem, choice, trial, 0.0) == pytest.approx(0, abs=1e-6)
    # Networks that know nothing of a noisy image but noise.
    coarse, noisy = crossing(7, 10.0)
    wild = try_networks(coarse, noisy, none, how(60, rate=0.05, hidden=(32, 32)))
    assert gain(noisy, noisy.choose(none), wild, 0.5) < 0.05
