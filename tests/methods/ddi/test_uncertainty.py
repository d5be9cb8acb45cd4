"""How far DDI is off: the models put together from what is measured."""

import dataclasses

import numpy as np

from sitsfuse.methods.ddi import uncertainty
from sitsfuse.methods.shared.calibration import deviation


def evidence(**changes):
    """Held-out errors that are normal, white and of one size: 0.01 in both bands."""
    rng = np.random.default_rng(5)
    usable = np.ones((1, 100, 100), bool)
    left = rng.normal(0, 0.01, (2, 10_000)).astype(np.float32)
    zero, one = np.zeros(2), np.ones(2)
    start = uncertainty.Evidence(
        usable, left, np.zeros_like(left), np.zeros((2, 50), np.float32), one.astype(np.float32),
        zero.astype(np.float32), zero, zero, one, zero,
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
    plain, cloudy = uncertainty.error_models(dataclasses.replace(start, left=left))
    total = (np.abs(left) <= 1.6449 * np.sqrt(cloudy[:, 2, None])).mean()
    assert 0.88 < total < 0.97
    assert (np.sqrt(plain[:, 2]) < 0.01).all()
    grown, _ = uncertainty.error_models(dataclasses.replace(start, left=left, growth=np.full(2, 9.0)))
    np.testing.assert_allclose(grown[:, 1], 9 * plain[:, 1], rtol=1e-5)


def test_grain_and_what_lasts_are_added_to_everything():
    base = uncertainty.error_models(evidence())
    changes = {"white": np.array([5e-4, 7e-4]), "lasting": np.array([0.0, -0.02])}
    for before, after in zip(base, uncertainty.error_models(evidence(**changes)), strict=True):
        added = np.array([5e-4, 7e-4]) + np.array([0, 4e-4])
        np.testing.assert_allclose(after[:, 2] - before[:, 2], added, rtol=1e-4)
        np.testing.assert_array_equal(after[:, :2], before[:, :2])


def test_a_spread_that_ranks_errors_is_used_and_tamed_at_hr():
    rng = np.random.default_rng(7)
    usable = np.ones((1, 200, 200), bool)
    small = rng.uniform(0.002, 0.03, (2, 50, 50)).astype(np.float32)
    size, error = (a.repeat(4, 1).repeat(4, 2)[:, usable[0]] for a in (small, small * rng.standard_normal(small.shape)))
    left = error.astype(np.float32)
    found = evidence(usable=usable, left=left, spread=size, fine_spread=size)
    _, cloudy = uncertainty.error_models(found)
    assert (cloudy[:, 0] > 0.5).all()
    _, tamed = uncertainty.error_models(dataclasses.replace(found, fine_spread=2 * size))
    np.testing.assert_allclose(tamed[:, 0], cloudy[:, 0] / 4, rtol=1e-4)


def test_what_another_sensor_shows_counts_as_far_as_it_is_followed():
    start = evidence()
    start = dataclasses.replace(start, left=smooth_errors(start.usable))
    seen = np.array([4e-4, 9e-4])
    whole = np.array([float(deviation(e)) ** 2 for e in start.left])
    assert (seen > whole).all()  # the correction takes all that is left for what is no scene
    agree, _ = uncertainty.error_models(dataclasses.replace(start, noise=seen))
    for share in (0.5, 1.0):
        differ, _ = uncertainty.error_models(dataclasses.replace(start, noise=seen, followed=np.full(2, share)))
        np.testing.assert_allclose(differ[:, 2] - agree[:, 2], share**2 * seen, rtol=0.01)
        np.testing.assert_array_equal(differ[:, :2], agree[:, :2])
