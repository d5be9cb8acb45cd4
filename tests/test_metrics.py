"""Errors of blocks against plain NumPy on whole arrays."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sitsfuse import metrics
from sitsfuse.metrics import METRICS, Errors, ndvi

errors = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=2, max_side=40),
    elements=st.floats(-2, 2, width=16),
)


def expected(e, value_range=1.0):
    e = e.ravel()
    mse = np.mean(e**2)
    return {
        "rmse": np.sqrt(mse),
        "mae": np.mean(np.abs(e)),
        "bias": np.mean(e),
        "ce90": np.quantile(np.abs(e), 0.9),
        "ce99": np.quantile(np.abs(e), 0.99),
        "psnr": 10 * np.log10(value_range**2 / mse) if mse > 0 else np.inf,
    }


@given(errors, st.sampled_from([1.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_agrees_with_numpy(e, value_range):
    got = {name: f(Errors.of(e), value_range) for name, f in METRICS.items()}
    assert got == pytest.approx(expected(e, value_range), rel=1e-9, abs=1e-12)


@given(errors, st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_blocks_add_up_in_any_order(e, pieces):
    blocks = [Errors.of(b) for b in np.array_split(e.ravel(), pieces)]
    for order in (blocks, blocks[::-1]):
        total = functools.reduce(Errors.__add__, order, Errors())
        assert total.n == e.size
        got = {name: f(total, 1.0) for name, f in METRICS.items()}
        assert got == pytest.approx(expected(e), rel=1e-9, abs=1e-12)


def test_known_numbers():
    e = Errors.of([3.0, -4.0])
    assert (e.rmse, e.mae, e.bias) == (pytest.approx(math.sqrt(12.5)), 3.5, -0.5)
    assert e.ce(0.5) == pytest.approx(3.5)
    assert Errors.of(np.full(7, 0.1)).psnr() == pytest.approx(20)
    assert Errors.of(np.full(7, 0.1)).psnr(2) == pytest.approx(20 + 20 * math.log10(2))
    assert Errors.of(np.zeros(3)).psnr() == math.inf


def test_without_pixels_everything_is_nan():
    assert all(math.isnan(f(Errors(), 1.0)) for f in METRICS.values())
    assert all(math.isnan(f(Errors.of([]), 1.0)) for f in METRICS.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_invalid_error_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Errors.of([0.0, bad])


@pytest.fixture
def few(monkeypatch):
    """Histograms from the 101st error on."""
    monkeypatch.setattr(metrics, "EXACT", 100)


@pytest.mark.parametrize(
    "draw",
    [
        lambda r, n: r.normal(0, 0.02, n),
        lambda r, n: r.exponential(1e-3, n),
        lambda r, n: r.uniform(-1, 1, n),
        lambda r, n: 10 ** r.uniform(-6.5, 3, n),
        lambda r, n: np.where(r.random(n) < 0.95, 0.01, 0.7),
    ],
    ids=["normal", "exponential", "uniform", "decades", "two values"],
)
@pytest.mark.usefixtures("few")
def test_quantiles_of_many_errors_keep_the_stated_bound(draw):
    e = draw(np.random.default_rng(1), 50_000)
    total = functools.reduce(Errors.__add__, (Errors.of(b) for b in np.array_split(e, 700)))
    assert total.counts is not None
    for q in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0):
        assert total.ce(q) == pytest.approx(np.quantile(np.abs(e), q), rel=2**-13, abs=6e-8)
    assert total.rmse == pytest.approx(np.sqrt(np.mean(e**2)), rel=1e-12)


@pytest.mark.usefixtures("few")
def test_one_large_block_and_many_small_ones_agree():
    e = np.random.default_rng(2).normal(0, 0.05, 5000)
    whole = Errors.of(e)
    parts = functools.reduce(Errors.__add__, (Errors.of(b) for b in np.array_split(e, 90)))
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert whole.ce(0.9) == parts.ce(0.9)


@pytest.mark.usefixtures("few")
def test_memory_is_bounded():
    block = Errors.of(np.zeros(60))
    total = functools.reduce(Errors.__add__, [block] * 50)
    assert total.samples == ()
    assert total.counts.sum() == 3000
    assert total.ce(0.9) == 0


@pytest.mark.usefixtures("few")
def test_huge_and_tiny_errors_stay_in_the_histogram():
    e = np.concatenate([np.full(100, 1e-300), np.full(101, 1e9)])
    total = Errors.of(e)
    assert total.counts.sum() == 201
    assert total.ce(0.1) == 0
    assert total.ce(0.9) > 60000


def test_ndvi():
    red, nir = np.float32([0.1, 0.0, 0.3]), np.float32([0.3, 0.2, 0.1])
    np.testing.assert_allclose(ndvi(red, nir), [0.5, 1, -0.5], rtol=1e-6)
    assert ndvi(red, nir).dtype == np.float64


def test_ndvi_is_undefined_without_light_and_bounded_elsewhere():
    index = ndvi(np.float32([0, -0.1, -0.1, 0.2]), np.float32([0, 0.05, 0.2, -0.1]))
    np.testing.assert_array_equal(index, [np.nan, np.nan, 1, -1])
