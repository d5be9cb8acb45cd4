"""Lines against known gains: samples with outliers and noise in both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.radiometry.lines import combine_weights, fit_line
from tests.helpers.radiometry import land, seen

CHANGES = {
    "missed clouds": lambda x, rng: x + rng.uniform(0.05, 0.4, x.size),
    "bright clouds": lambda x, rng: 0.5 + 0.05 * rng.standard_normal(x.size),
    "haze": lambda x, rng: x + 0.03,
    "shadows": lambda x, rng: x * rng.uniform(0.4, 0.8, x.size),
    "harvested fields": lambda x, rng: 0.6 * x + 0.02,
    "other fields": lambda x, rng: rng.permutation(x),
    "saturated": lambda x, rng: np.full(x.size, 0.3),
}


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_pixels_do_not_matter(change, share):
    rng = np.random.default_rng(3)
    truth = land(5000, rng)[0]
    x, y = seen(truth, 1.06, 0.008, rng), truth + 0.002 * rng.standard_normal(truth.size)
    changed = rng.random(truth.size) < share
    x[changed] = CHANGES[change](x[changed], rng)
    line = fit_line(x, y)
    assert line.ok
    assert line.gain == pytest.approx(1.06, rel=0.01)
    assert line.offset == pytest.approx(0.008, abs=0.002)
    assert 0.9 * (1 - share) < line.used < 1.02 - 0.5 * share
    # Clouds in the HR image are none the better.
    assert fit_line(y, x).gain == pytest.approx(1 / 1.06, rel=0.01)


def test_noise_of_the_same_share_on_both_sides_does_not_bias():
    rng = np.random.default_rng(4)
    truth = 0.1 + 0.03 * rng.standard_normal(50000)
    x = truth + 0.012 * rng.standard_normal(truth.size)
    y = 1.5 * truth - 0.02 + 1.5 * 0.012 * rng.standard_normal(truth.size)
    assert np.polyfit(x, y, 1)[0] < 1.35, "least squares along y would not do"
    line = fit_line(x, y)
    assert line.gain == pytest.approx(1.5, rel=0.01)
    assert line.offset == pytest.approx(-0.02, abs=0.002)


def test_figures_are_those_of_the_samples():
    rng = np.random.default_rng(5)
    x = land(2000, rng)[0]
    y = 1.1 * x - 0.01 + rng.uniform(-0.003, 0.003, x.size)  # no tails: nothing is dropped
    line = fit_line(x, y)
    assert (line.count, line.used) == (2000, 1)
    assert line.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert line.bias_before == pytest.approx(np.mean(x - y))
    assert line.rmse_before == pytest.approx(np.sqrt(np.mean((x - y) ** 2)))
    assert line.rmse_after == pytest.approx(np.sqrt(np.mean((line.gain * x + line.offset - y) ** 2)))
    # The orthogonal line after scaling to unit variance, from the first principal component.
    scaled = np.stack([x / x.std(), y / y.std()])
    slope = np.divide(*np.linalg.eigh(np.cov(scaled))[1][::-1, -1])
    assert line.gain == pytest.approx(slope * y.std() / x.std())


@given(st.floats(0.2, 5), st.floats(-0.2, 0.2), st.floats(1e-4, 1e4))
@settings(max_examples=30, deadline=None)
def test_units_and_sides_do_not_matter(gain, offset, unit):
    rng = np.random.default_rng(6)
    x = land(400, rng)[0]
    y = gain * x + offset
    exact = fit_line(unit * x, y)
    assert exact.used == 1
    assert (exact.gain * unit, exact.offset) == pytest.approx((gain, offset), rel=1e-6, abs=1e-6)
    y += 0.05 * np.std(y) * rng.standard_normal(x.size)
    ahead, back, other = fit_line(x, y), fit_line(y, x), fit_line(unit * x, y)
    assert (ahead.gain, ahead.offset) == pytest.approx((1 / back.gain, -back.offset / back.gain), rel=1e-6, abs=1e-6)
    assert (ahead.gain, ahead.offset) == pytest.approx((other.gain * unit, other.offset), rel=1e-6, abs=1e-6)


def test_of_many_samples_some_are_looked_at():
    rng = np.random.default_rng(7)
    truth = land(1_000_000, rng)[0]
    # The last tenth of the rows is cloudy.
    x = seen(truth, 0.93, -0.004, rng).astype(np.float32)
    x[900_000:] += 0.2
    first, second = fit_line(x, truth), fit_line(x, truth)
    assert first == second
    assert first.count == 1_000_000
    assert first.used == pytest.approx(0.9, abs=0.01)
    assert first.gain == pytest.approx(0.93, rel=0.002)


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.arange(29.0), np.arange(29.0), "only 29 samples"),
        ([], [], "only 0 samples"),
        (np.full(99, 0.2), np.linspace(0, 1, 99), "the samples do not vary"),
        (np.linspace(0, 1, 99), np.full(99, 0.2), "the samples do not vary"),
        (np.linspace(0, 1, 99), -np.linspace(0, 1, 99), "one does not rise with the other"),
        (*np.random.default_rng(8).random((2, 500)), "the correlation is only"),
        (np.full(99, np.nan), np.linspace(0, 1, 99), "only 0 samples"),
    ],
)
def test_without_a_line_nothing_is_changed(x, y, reason):
    line = fit_line(x, y)
    assert (line.ok, line.gain, line.offset) == (False, 1, 0)
    assert reason in line.reason


@pytest.mark.parametrize("weights", [(0.3, 0.7), (0.0, 1.0), (0.5, 0.5)])
def test_weights_of_combined_bands(weights):
    rng = np.random.default_rng(20)
    parts = land(4000, rng, 2) + 0.001 * rng.standard_normal((2, 4000))
    whole = 1.08 * (weights @ parts) + 0.01 + 0.002 * rng.standard_normal(4000)
    whole[:800] += rng.uniform(0.05, 0.4, 800)
    parts[0, 800:900] = np.nan
    found = combine_weights(parts, whole)
    assert found.sum() == pytest.approx(1)
    assert found == pytest.approx(weights, abs=0.02)


def test_weights_are_equal_where_nothing_tells():
    rng = np.random.default_rng(21)
    band = land(500, rng)[0]
    assert combine_weights([band, band, band], 0.9 * band + 0.01) == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert combine_weights(rng.random((2, 20)), rng.random(20)) == pytest.approx([0.5, 0.5])
    assert combine_weights(rng.random((2, 500)), rng.random(500)) == pytest.approx([0.5, 0.5])
