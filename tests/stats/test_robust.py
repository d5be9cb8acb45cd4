"""Robust fits against plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitsfuse.stats.robust import draw, is_flat, least_median_line, settle, settle_offset, weighted_median


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 4)), min_size=1, max_size=9))
def test_the_weighted_median_halves_the_weight(pairs):
    values, weights = (np.array(a, float) for a in zip(*pairs, strict=True))
    found = weighted_median(values, weights)
    assert values.min() <= found <= values.max()
    # Up to the values that it lies between.
    below, above = values[values <= found].max(), values[values >= found].min()
    assert weights[values < below].sum() <= weights.sum() / 2
    assert weights[values > above].sum() <= weights.sum() / 2


def test_equal_weights_give_the_median():
    for n in (1, 2, 3, 8, 9):
        values = np.random.default_rng(n).random(n)
        assert weighted_median(values, np.full(n, 0.3)) == pytest.approx(np.median(values))


def test_what_is_drawn_is_spread_evenly():
    numbers = np.arange(1_000_000)
    (found,) = draw([numbers], 1000)
    assert found.size == 1000
    assert (found // 1000 == np.arange(1000)).all()
    assert len(set(found % 1000)) > 500, "not every thousandth: images have rows"
    assert (draw([numbers], 1000)[0] == found).all()
    both = draw([np.stack([numbers, -numbers]), numbers], 50)
    assert (both[0] == [both[1], -both[1]]).all()
    assert draw([numbers[:7]], 7)[0].tolist() == list(range(7))


def test_the_start_is_the_line_of_the_majority():
    rng = np.random.default_rng(1)
    x = rng.random(900)
    y = 2 * x + 1 + 0.01 * rng.standard_normal(900)
    y[:400] = 5 - 3 * x[:400]
    slope, intercept = least_median_line(x, y)
    assert (slope, intercept) == pytest.approx((2, 1), abs=0.1)
    assert least_median_line(x, -x) is None


def test_settling_keeps_what_lies_near():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 5000))
    noise = rng.standard_normal(5000)
    y = np.array([1.5, -0.5]) @ x + 3 + noise
    y[:1500] += 20

    def least_squares(kept):
        solution = np.linalg.lstsq(np.column_stack([x[:, kept].T, np.ones(kept.sum())]), y[kept], rcond=None)[0]
        return solution[:2], float(solution[2])

    weights, offset, kept = settle(x, y, (np.array([1.0, 0.0]), 3.0), least_squares)
    assert weights == pytest.approx([1.5, -0.5], abs=0.05)
    assert offset == pytest.approx(3, abs=0.05)
    assert not kept[:1500].any()
    # 3 standard deviations leave 99.7 %.
    assert (kept[1500:] == (np.abs(noise[1500:]) < 3)).mean() > 0.995
    offset, kept = settle_offset(x, y, np.array([1.5, -0.5]))
    assert offset == pytest.approx(3, abs=0.05)
    assert kept[1500:].mean() == pytest.approx(0.997, abs=0.003)


def test_flat_is_what_only_rounding_tells_apart():
    assert is_flat(np.array([]))
    assert is_flat(np.full(5, 0.3, np.float32) + np.array([0, 0, 3e-8, 0, 0]))
    assert not is_flat(np.array([0.3, 0.3001]))
