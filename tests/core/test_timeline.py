"""Interpolation in time against a slow loop over pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.core.dates import days
from sitsfuse.core.timeline import effective_gap, interpolate, temporal_weights


@st.composite
def stacks(draw):
    """Masks of a few pixels and increasing offsets, day 0 among them or not."""
    offsets = sorted(draw(st.sets(st.integers(-40, 40), min_size=1, max_size=7)))
    n = draw(st.integers(1, 6))
    bits = draw(st.lists(st.booleans(), min_size=n * len(offsets), max_size=n * len(offsets)))
    return np.array(bits).reshape(len(offsets), 1, n), np.array(offsets, float)


def slow_weights(valid, offsets):
    """Weights of one pixel, straight from the definition."""
    out = np.zeros(len(offsets))
    before = [i for i in range(len(offsets)) if valid[i] and offsets[i] <= 0]
    after = [i for i in range(len(offsets)) if valid[i] and offsets[i] > 0]
    if before and after:
        b, a = before[-1], after[0]
        span = offsets[a] - offsets[b]
        out[b], out[a] = offsets[a] / span, -offsets[b] / span
    elif before:
        out[before[-1]] = 1
    elif after:
        out[after[0]] = 1
    return out


@given(stacks())
@settings(max_examples=100)
def test_weights_equal_the_slow_loop(stack):
    valid, offsets = stack
    weights = temporal_weights(valid, offsets)
    assert weights.dtype == np.float32
    for x in range(valid.shape[2]):
        np.testing.assert_allclose(weights[:, 0, x], slow_weights(valid[:, 0, x], offsets), atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=0), valid.any(axis=0), atol=1e-6)


@given(stacks(), st.sampled_from([np.nan, 1e6]))
@settings(max_examples=50)
def test_interpolation_is_the_weighted_mean_of_valid_values(stack, poison):
    valid, offsets = stack
    rng = np.random.default_rng(0)
    values = rng.random((len(offsets), 3, *valid.shape[1:])).astype(np.float32)
    poisoned = np.where(valid[:, None], values, np.float32(poison))
    image, ok = interpolate(poisoned, valid, offsets)
    np.testing.assert_array_equal(ok, valid.any(axis=0))
    for x in range(valid.shape[2]):
        if ok[0, x]:
            want = slow_weights(valid[:, 0, x], offsets) @ values[:, :, 0, x]
            np.testing.assert_allclose(image[:, 0, x], want, atol=1e-6)
        else:
            assert np.isnan(image[:, 0, x]).all()


def test_a_linear_trend_is_met_exactly():
    offsets = np.array([-20.0, -5.0, 10.0])
    values = (0.3 + 0.01 * offsets).astype(np.float32)[:, None, None, None] * np.ones((1, 2, 3, 3), np.float32)
    image, _ = interpolate(values, np.ones((3, 3, 3), bool), offsets)
    np.testing.assert_allclose(image, 0.3, rtol=1e-6)


def test_the_image_of_the_day_is_taken_as_it_is():
    values = np.float32([0.1, 0.7, 0.3])[:, None, None, None]
    image, _ = interpolate(values, np.ones((3, 1, 1), bool), np.array([-3.0, 0.0, 3.0]))
    assert image.item() == np.float32(0.7)


def test_days_are_signed_and_count_hours():
    times = np.array(["2020-02-28", "2020-03-01T12:00", "2020-03-02"], "datetime64[ns]")
    assert days(times, np.datetime64("2020-03-01")) == pytest.approx([-2, 0.5, 1])


@given(stacks())
def test_the_effective_gap_is_that_of_the_nearest_valid_images(stack):
    valid, offsets = stack
    gap = effective_gap(valid, offsets)
    assert gap.dtype == np.float32
    for i in range(valid.shape[2]):
        before = [-o for o, ok in zip(offsets, valid[:, 0, i], strict=True) if ok and o <= 0]
        after = [o for o, ok in zip(offsets, valid[:, 0, i], strict=True) if ok and o > 0]
        a, b = min(before, default=np.inf), min(after, default=np.inf)
        if not np.isfinite(min(a, b)):
            want = np.inf
        elif a == 0:
            want = 0
        else:
            want = 4 / (1 / a + 1 / b)
        assert gap[0, i] == pytest.approx(want, rel=1e-6)


def test_in_the_middle_the_effective_gap_is_the_gap():
    assert effective_gap(np.ones((2, 1), bool), np.array([-30.0, 30.0])).tolist() == [60]
