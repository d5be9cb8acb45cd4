"""The displacements of a series together, against simulated series."""

import numpy as np
import pytest

from sitsfuse.registration.series import agree, worthwhile


def series(rng, count, scatter, error, centre=(0.5, -0.3)):
    """True and measured displacements."""
    true = np.array(centre) + scatter * rng.standard_normal((count, 2))
    return true, true + error * rng.standard_normal((count, 2)), np.full(count, error)


def test_the_centre_is_the_robust_mean_and_known_to_its_error():
    rng = np.random.default_rng(0)
    off = []
    for _ in range(200):
        _, measured, errors = series(rng, 9, 0.2, 0.02)
        measured[0] += 5  # one outlier
        found = agree(measured, errors)
        off.append(np.abs(found.centre - (0.5, -0.3)) / found.centre_error)
    assert np.mean(np.array(off) < 2) > 0.85


def test_what_is_measured_badly_leans_on_the_others_and_what_is_measured_well_does_not():
    rng = np.random.default_rng(1)
    better = []
    for _ in range(100):
        true, measured, errors = series(rng, 12, 0.05, 0.15)
        better.append(np.mean((agree(measured, errors).shifts - true) ** 2) / np.mean((measured - true) ** 2))
    assert np.mean(better) < 0.5
    true, measured, errors = series(rng, 12, 0.2, 0.01)
    assert agree(measured, errors).shifts == pytest.approx(measured, abs=0.01)
    measured[3] = (8, 0)
    assert agree(measured, errors).shifts[3] == pytest.approx((8, 0), abs=0.1), "far off, but sure"


def test_an_image_that_could_not_be_measured_takes_what_its_group_has_in_common():
    rng = np.random.default_rng(2)
    first, second = (series(rng, 5, 0.02, 0.02, c)[1] for c in ((0.5, 0.5), (-0.5, 0.0)))
    measured = np.concatenate([first, second, np.full((2, 2), np.nan)])
    errors = np.full(12, 0.02)
    found = agree(measured, errors, [*"AAAAABBBBB", "A", "B"])
    assert not found.own[10:].any()
    assert found.shifts[10] == pytest.approx((0.5, 0.5), abs=0.05)
    assert found.shifts[11] == pytest.approx((-0.5, 0.0), abs=0.05)
    assert worthwhile(found, np.zeros(2))[[0, 10, 11]].all()
    # Two images are no series.
    few = agree(np.array([[0.5, 0.5], [0.4, 0.4], [np.nan, np.nan]]), np.full(3, 0.02))
    assert few.shifts[2] == pytest.approx((0, 0))
    assert not np.isfinite(few.centre_error)


def test_only_what_lies_off_beyond_its_uncertainty_is_moved():
    shifts = np.array([[0.0, 0.0], [0.04, 0.0], [0.2, 0.0], [0.2, 0.0], [0.0, 0.06]])
    errors = np.array([0.01, 0.01, 0.01, 0.1, 0.01])
    found = agree(shifts, errors)
    assert list(worthwhile(found, np.zeros(2))) == [False, False, True, False, True]
