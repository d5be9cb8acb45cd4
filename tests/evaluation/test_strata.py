"""Strata of a reference, by hand and against plain NumPy."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sitsfuse.core.series import make_series
from sitsfuse.errors import InputError
from sitsfuse.evaluation import strata
from sitsfuse.evaluation.strata import stratify
from sitsfuse.metrics import Quantiles
from sitsfuse.metrics.strata import Thresholds, classify, gradient
from sitsfuse.stats import quantiles
from tests.helpers.plain_metrics import magnitude, plain_strata

MODES = ("mean", "norm")


def noise(shape=(3, 40, 37), seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.05, 0.4, shape).astype(np.float32)
    valid = np.ones(shape[1:], bool)
    valid[5:12, 8:20] = False
    valid[30, 30] = False
    return values, valid


def image(values, valid):
    box = GeoBox(valid.shape, Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32631")
    bands = [f"band{k}" for k in range(len(values))]
    return make_series(values[None], valid[None], ["2021-03-01"], bands, box).isel(time=0)


@pytest.mark.parametrize("mode", MODES)
def test_a_plane_has_one_gradient(mode):
    y, x = np.mgrid[:9, :8]
    band = 0.03 * x + 0.04 * y
    steep, known = gradient(np.stack([band, band]), np.ones(band.shape, bool), mode)
    assert known[1:-1, 1:-1].all()
    assert known.sum() == 7 * 6
    # The same in both bands: their mean is one, their norm the root of two.
    np.testing.assert_allclose(steep[known], 0.05 * {"mean": 1, "norm": np.sqrt(2)}[mode])


def test_opposite_edges_cancel_out_in_the_mean_only():
    step = np.where(np.arange(12) < 6, 0.1, 0.3) * np.ones((7, 1))
    both = np.stack([step, 0.4 - step])
    valid = np.ones(step.shape, bool)
    np.testing.assert_allclose(gradient(both, valid, "mean")[0], 0, atol=1e-15)
    steep, known = gradient(both, valid, "norm")
    np.testing.assert_allclose(steep[3, 4:8], [0, 0.1 * np.sqrt(2), 0.1 * np.sqrt(2), 0], atol=1e-15)
    assert known[3, 5]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e6])
def test_agrees_with_plain_numpy_and_reads_no_invalid_pixel(mode, poison):
    values, valid = noise()
    steep, known = gradient(np.where(valid, values, np.float32(poison)), valid, mode)
    plain = magnitude(values, valid, mode)
    np.testing.assert_array_equal(known, np.isfinite(plain))
    np.testing.assert_allclose(steep[known], plain[known], rtol=1e-12)
    assert (steep[~known] == 0).all()
    np.testing.assert_array_equal(stratify(image(values, valid), mode=mode), plain_strata(values, valid, valid, mode))


def test_shares_of_the_strata():
    values, valid = noise()
    found = stratify(image(values, valid))
    known = found > 0
    assert not known[~valid].any()
    # Nor beside a hole, nor at the border.
    assert not known[5:12, 7].any()
    assert not known[0].any()
    counts = np.bincount(found[known], minlength=4) / known.sum()
    np.testing.assert_allclose(counts[1:], [0.5, 0.25, 0.25], atol=2e-3)


@pytest.mark.parametrize("chunks", [None, 13])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_windows_give_what_the_whole_gives(monkeypatch, chunks, workers):
    values, valid = noise()
    monkeypatch.setattr(strata, "BLOCK", 9)
    lazy = image(values, valid)
    lazy = lazy if chunks is None else lazy.chunk(y=chunks, x=chunks)
    whole = plain_strata(values, valid, valid)
    np.testing.assert_array_equal(stratify(lazy, workers=workers), whole)
    for window in ((slice(0, 6), slice(30, 37)), (slice(11, 30), slice(4, 5)), (slice(39, 40), slice(0, 37))):
        np.testing.assert_array_equal(stratify(lazy, window), whole[window])


def test_many_pixels(monkeypatch):
    """Thresholds from the histogram are as good as it says."""
    values, valid = noise((2, 60, 70))
    exact = plain_strata(values, valid, valid)
    monkeypatch.setattr(quantiles, "EXACT", 500)
    found = stratify(image(values, valid))
    assert (found != exact).mean() < 2e-3


def test_values_at_a_threshold():
    steep = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])
    found = classify(steep, np.array([[True, True, True, True, False]]), Thresholds(0.2, 0.4))
    assert found.tolist() == [[1, 2, 2, 3, 0]]


def test_an_image_without_a_gradient():
    flat = np.full((2, 6, 6), 0.2, np.float32)
    known = np.zeros((6, 6), np.uint8)
    known[1:-1, 1:-1] = 3  # nothing lies below the median, all at the 75th percentile
    np.testing.assert_array_equal(stratify(image(flat, np.ones((6, 6), bool))), known)
    assert not stratify(image(flat, np.zeros((6, 6), bool))).any()
    assert np.isnan(Thresholds.of(Quantiles()).low)


def test_an_unknown_mode():
    values, valid = noise()
    with pytest.raises(InputError, match=r"'sum' is unknown.*mean or norm"):
        stratify(image(values, valid), mode="sum")
