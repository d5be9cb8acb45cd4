"""Sums of blocks against plain NumPy on whole arrays, and cases that can be worked out by hand."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from sitsfuse.metrics import (
    CALIBRATION,
    HIGH,
    LOW,
    MAPPED,
    METRICS,
    STRATA,
    Masks,
    Quantiles,
    Sums,
    ergas,
    measure,
    ndvi,
    spectral_angles,
)
from sitsfuse.stats import quantiles
from tests.helpers.plain_metrics import plain_structural, plain_table, plain_uiqi

SHAPE = (24, 27)


def sums_of(p, r, valid=None, strata=None, sigma=None, level=0.2, c=1e-5):
    """Sums of one band in one block, per stratum."""
    valid = np.ones(p.shape, bool) if valid is None else valid
    strata = np.zeros(p.shape, np.uint8) if strata is None else strata
    sizes = [Quantiles() for _ in range(MAPPED)]
    masks = Masks.of(valid, np.ones_like(valid))
    found = measure(p, r, masks, strata, sizes, level=level, c=c, sigma=sigma)
    kinds = (range(MAPPED), (LOW,), (HIGH,))
    return [
        Sums(row, Quantiles.merged(sizes[kind] for kind in kind_of)) for row, kind_of in zip(found, kinds, strict=True)
    ]


def values_of(*args, value_range=1.0, **kwargs):
    """Metrics of the whole image."""
    sums = sums_of(*args, **kwargs)[0]
    rules = METRICS | (CALIBRATION if kwargs.get("sigma") is not None else {})
    return {name: rule.of(sums, value_range) for name, rule in rules.items()}


def pair(seed=0, shape=SHAPE, noise=0.02):
    rng = np.random.default_rng(seed)
    r = (0.2 + 0.05 * rng.normal(size=shape)).astype(np.float32)
    return (r + noise * rng.normal(size=shape)).astype(np.float32), r


# --- all of it -------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1), holes=st.floats(0, 0.02), shape=st.tuples(st.integers(1, 26), st.integers(1, 26))
)
@settings(max_examples=15)
def test_agrees_with_plain_numpy(seed, holes, shape):
    rng = np.random.default_rng(seed)
    p, r = pair(seed, shape)
    valid = rng.random(shape) >= holes
    strata = rng.integers(0, 4, shape).astype(np.uint8)
    sigma = rng.uniform(-0.01, 0.05, shape).astype(np.float32)
    sigma[rng.random(shape) < 0.1] = np.nan
    own = rng.random(shape) < 0.9
    for image in (p, r):
        image[~valid] = rng.choice([np.nan, 1e6, np.inf])
    sizes = [Quantiles() for _ in range(MAPPED)]
    found = measure(p, r, Masks.of(valid, own), strata, sizes, level=0.21, c=1e-5, sigma=sigma)
    windows = {"uiqi": plain_uiqi(p, r, valid), "structural": plain_structural(p, r, valid, 1e-5)}
    for k, where in enumerate((own, own & (strata == LOW), own & (strata == HIGH))):
        sums = Sums(found[k], sizes[0])
        e = p[valid & where].astype(np.float64) - r[valid & where]
        expected = {"pixels": e.size, "error": e.sum(), "size": np.abs(e).sum(), "square": (e**2).sum()}
        expected["reference"] = r[valid & where].sum(dtype=np.float64)
        for name, image in windows.items():
            some = image[where & np.isfinite(image)]
            expected |= {{"uiqi": "squares", "structural": "discs"}[name]: some.size, name: some.sum()}
        known = valid & where & (sigma >= 0)
        expected |= {"deviations": known.sum(), "sigma": sigma[known].sum(dtype=np.float64)}
        e = p[known].astype(np.float64) - r[known]
        expected["within50"] = (np.abs(e) <= stats.norm.ppf(0.75) * sigma[known]).sum()
        assert {name: sums[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)
    kept = np.concatenate([np.concatenate(q._samples) for q in sizes])
    everywhere = p[valid & own].astype(np.float64) - r[valid & own]
    np.testing.assert_allclose(np.sort(kept), np.sort(np.abs(everywhere)), rtol=0, atol=1e-12)


def test_a_constant_error():
    _, r = pair()
    got = values_of(r + np.float32(0.1), r)
    assert got["psnr"] == pytest.approx(20, rel=1e-6)
    assert [got[name] for name in ("rmse", "mae", "bias", "ce90", "ce99")] == pytest.approx([0.1] * 5, rel=1e-6)
    assert got["structural"] == pytest.approx(1)
    assert got["gradient_correlation"] == pytest.approx(1)
    assert values_of(r + np.float32(0.1), r, value_range=2)["psnr"] == pytest.approx(20 + 20 * math.log10(2), rel=1e-6)


def test_a_perfect_prediction():
    _, r = pair()
    got = values_of(r, r, sigma=np.full(SHAPE, 0.01, np.float32))
    assert [got[name] for name in ("rmse", "mae", "bias", "ce90", "ce99")] == [0] * 5
    assert got["psnr"] == math.inf
    assert [got[n] for n in ("uiqi", "structural", "gradient_correlation")] == pytest.approx([1, 1, 1], rel=1e-12)
    assert got["coverage10"] == 1


def test_contrast_and_light():
    """p = 2 r: correlated, with twice the mean and twice the contrast, so that Q = (4/5)²."""
    _, r = pair()
    got = values_of(2 * r, r)
    assert got["uiqi"] == pytest.approx(0.64)
    assert got["structural"] == pytest.approx(1, abs=1e-3)
    assert got["gradient_correlation"] == pytest.approx(1)


def test_a_negative_is_the_opposite():
    _, r = pair()
    got = values_of(np.float32(0.4) - r, r, c=0.0)
    assert got["structural"] == pytest.approx(-1)
    assert got["uiqi"] < 0
    assert got["gradient_correlation"] == pytest.approx(1)


def test_a_mirrored_ramp_has_gradients_that_are_all_alike():
    ramp = np.tile(np.linspace(0.1, 0.3, SHAPE[1]), (SHAPE[0], 1))
    p, _ = pair()
    assert math.isnan(values_of(p, ramp)["gradient_correlation"])
    assert math.isnan(values_of(ramp, p)["gradient_correlation"])


@pytest.mark.parametrize("c", [0.0, 1e-5])
def test_constant_windows(c):
    flat, zero = np.full(SHAPE, 0.3, np.float32), np.zeros(SHAPE, np.float32)
    p, _ = pair()
    both = values_of(0.5 * flat, flat, c=c, level=0.3)
    assert both["uiqi"] == pytest.approx(0.8)  # 2·1·2 / (1 + 4)
    assert both["structural"] == pytest.approx(1)
    one = values_of(flat, p, c=c)
    assert one["uiqi"] == 0
    assert one["structural"] == pytest.approx(1 if c else 0)
    assert values_of(zero, zero, c=c, level=0.0)["uiqi"] == 1
    assert values_of(zero, flat, c=c)["uiqi"] == 0


def test_rounding_is_no_texture():
    """float32 noise upon a large constant does not pass for structure."""
    rng = np.random.default_rng(0)
    flat = np.full(SHAPE, 300.0)
    got = values_of(flat + 1e-7 * rng.normal(size=SHAPE), flat + 1e-7 * rng.normal(size=SHAPE), c=0.0, level=300.0)
    assert got["uiqi"] == pytest.approx(1)
    assert got["structural"] == 1


def test_an_extreme_value_spoils_its_own_windows_only():
    p, r = pair()
    wild = p.copy()
    wild[0, 0] = 1e8
    near = plain_uiqi(wild, r, np.ones(SHAPE, bool))
    assert values_of(wild, r)["uiqi"] == pytest.approx(np.nanmean(near), rel=1e-9)


def test_stated_uncertainty():
    rng = np.random.default_rng(1)
    r = np.full((400, 400), 0.2)
    sigma = rng.uniform(0.01, 0.03, r.shape)
    p = r + sigma * rng.normal(size=r.shape)
    got = values_of(p, r, sigma=sigma)
    for level in (10, 50, 90, 95, 99):
        assert got[f"coverage{level}"] == pytest.approx(level / 100, abs=0.004)
    assert got["sharpness"] == pytest.approx(2 * 1.6448536 * 0.02, rel=2e-3)
    half = values_of(p, r, sigma=sigma / 2)
    assert half["coverage90"] == pytest.approx(2 * stats.norm.cdf(1.6448536 / 2) - 1, abs=0.004)


def test_without_pixels_everything_is_nan():
    p, r = pair()
    nothing = np.full(SHAPE, np.nan, np.float32)
    got = values_of(nothing, r, valid=np.zeros(SHAPE, bool), sigma=nothing)
    assert all(math.isnan(v) for v in got.values())
    assert math.isnan(ergas(sums_of(p, r, np.zeros(SHAPE, bool))[:1], 5))


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 9), (2, 2), (10, 40), (8, 8)])
def test_images_smaller_than_a_window(shape):
    p, r = pair(shape=shape)
    sums = sums_of(p, r)[0]
    assert sums["pixels"] == p.size
    assert sums["discs"] == 0
    assert sums["squares"] == (max(shape[0] - 7, 0) * max(shape[1] - 7, 0))
    assert sums["gradients"] == max(shape[0] - 2, 0) * max(shape[1] - 2, 0)


# --- spectra ---------------------------------------------------------------------------------------------------


def test_spectral_angle():
    turned = np.radians([0, 1, 30, 90])
    r = np.array([np.ones(4), np.zeros(4)], np.float32)[:, None]
    p = np.array([np.cos(turned), np.sin(turned)], np.float32)[:, None]
    valid = np.ones((1, 4), bool)
    strata = np.array([[LOW, LOW, HIGH, 2]], np.uint8)
    masks = Masks.of(valid, valid)
    count, total = spectral_angles(p, r, masks, strata).T
    assert count.tolist() == [4, 2, 1]
    np.testing.assert_allclose(np.degrees(total), [121, 1, 30], rtol=1e-6)
    np.testing.assert_array_equal(spectral_angles(3 * r, r, masks, strata)[:, 1], 0)


def test_a_spectrum_of_zeros_has_no_angle():
    r = np.zeros((2, 1, 3), np.float32)
    p = np.ones((2, 1, 3), np.float32)
    r[:, 0, 0] = np.nan
    r[:, 0, 2] = [1, 0]
    valid = np.array([[False, True, True]])
    count, total = spectral_angles(p, r, Masks.of(valid, valid), np.zeros((1, 3), np.uint8)).T
    assert count.tolist() == [1, 0, 0]
    assert math.degrees(total[0]) == pytest.approx(45)


def test_ergas():
    """Two bands with errors of 10 % and 20 % of their means, at ratio 4."""
    r = np.full(SHAPE, 0.2)
    bands = [sums_of(factor * r, r)[0] for factor in (1.1, 1.2)]
    assert ergas(bands, 4) == pytest.approx(100 / 4 * math.sqrt((0.01 + 0.04) / 2))
    assert math.isnan(ergas([sums_of(r, 0 * r, level=0.0)[0]], 4))


def test_pooled_bands():
    a, b = (sums_of(*pair(seed))[0] for seed in (1, 2))
    both = Sums.pooled([a, b])
    (p1, r1), (p2, r2) = pair(1), pair(2)
    e = np.concatenate([(p1 - r1.astype(np.float64)).ravel(), (p2 - r2.astype(np.float64)).ravel()])
    assert METRICS["rmse"].of(both, 1) == pytest.approx(np.sqrt(np.mean(e**2)))
    assert METRICS["ce90"].of(both, 1) == pytest.approx(np.quantile(np.abs(e), 0.9))
    assert METRICS["uiqi"].of(both, 1) == pytest.approx((METRICS["uiqi"].of(a, 1) + METRICS["uiqi"].of(b, 1)) / 2)


def test_the_plain_version_tells_every_metric():
    p, r = (np.stack([image, image]) for image in pair())
    ok = np.ones(SHAPE, bool)
    told = plain_table(p, r, ok, ok, ok, ["red", "nir"], sigma=p, ratio=5.0)
    assert {m for _, _, m in told} == {*METRICS, *CALIBRATION, "sam", "ergas"}
    assert {s for _, s, _ in told} == set(STRATA)


# --- quantiles -------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """Histograms from the 101st number on."""
    monkeypatch.setattr(quantiles, "EXACT", 100)


def collected(parts):
    out = Quantiles()
    for part in parts:
        out.add(part)
    return out


@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-2, 2, width=16)), st.integers(1, 9))
@settings(max_examples=40)
def test_few_numbers_are_exact(values, pieces):
    shares = [0.0, 0.5, 0.9, 1.0]
    want = pytest.approx(np.quantile(values, shares), rel=1e-12, abs=1e-15)
    parts = np.array_split(values, pieces)
    assert collected(parts).at(shares) == want
    assert collected(parts[::-1]).at(shares) == want
    assert Quantiles.merged(collected([p]) for p in parts).at(shares) == want


DRAWS = {
    "normal": lambda r, n: r.normal(0, 0.02, n),
    "exponential": lambda r, n: r.exponential(1e-3, n),
    "shifted": lambda r, n: r.uniform(-1, 0.3, n),
    "decades": lambda r, n: r.choice([-1, 1], n) * 10 ** r.uniform(-6.5, 3, n),
    "two values": lambda r, n: np.where(r.random(n) < 0.95, 0.01, -0.7),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.usefixtures("few")
def test_quantiles_of_many_numbers_keep_the_stated_bound(draw):
    values = draw(np.random.default_rng(1), 50_000)
    found = collected(np.array_split(values, 700))
    assert not found.exact
    shares = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
    for share, got in zip(shares, found.at(shares), strict=True):
        # Of two neighbours: what lies between them has the bound of the larger.
        ends = np.quantile(values, share, method="lower"), np.quantile(values, share, method="higher")
        bound = max(np.abs(ends)) * 2**-13 + 6e-8
        assert got == pytest.approx(np.quantile(values, share), rel=0, abs=bound)


@pytest.mark.usefixtures("few")
def test_large_and_small_pieces_agree():
    values = np.random.default_rng(2).normal(0, 0.05, 5000)
    shares = (0.01, 0.5, 0.99)
    whole = collected([values]).at(shares)
    assert collected(np.array_split(values, 90)).at(shares) == whole
    assert Quantiles.merged([collected([values[:60]]), collected([values[60:]])]).at(shares) == whole
    assert Quantiles.merged(collected([v]) for v in np.array_split(values, 90)).at(shares) == whole


@pytest.mark.usefixtures("few")
def test_memory_is_bounded():
    found = collected([np.zeros(60)] * 50)
    assert found._samples == []
    assert found._counts.sum() == found.n == 3000
    assert found.at([0.9]) == [0]


@pytest.mark.usefixtures("few")
def test_huge_and_tiny_numbers_stay_in_the_histogram():
    found = collected([np.full(100, 1e-300), np.full(101, 1e9), np.full(100, -1e9)])
    low, middle, high = found.at([0.1, 0.5, 0.9])
    assert low < -60000
    assert middle == 0
    assert high > 60000


@pytest.mark.usefixtures("few")
def test_threads_may_add_at_once():
    values = np.random.default_rng(3).normal(size=(8, 40))
    found = Quantiles()
    threads = [threading.Thread(target=lambda v=v: [found.add(x[None]) for x in v]) for v in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.n == values.size
    assert found.at([0.3]) == collected([values]).at([0.3])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_invalid_number_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        Quantiles().add(np.array([0.0, bad]))


# --- index -----------------------------------------------------------------------------------------------------


def test_ndvi():
    red, nir = np.float32([0.1, 0.0, 0.3]), np.float32([0.3, 0.2, 0.1])
    np.testing.assert_allclose(ndvi(red, nir), [0.5, 1, -0.5], rtol=1e-6)
    assert ndvi(red, nir).dtype == np.float64


def test_ndvi_is_undefined_without_light_and_bounded_elsewhere():
    index = ndvi(np.float32([0, -0.1, -0.1, 0.2]), np.float32([0, 0.05, 0.2, -0.1]))
    np.testing.assert_array_equal(index, [np.nan, np.nan, 1, -1])


def test_ndvi_never_reads_invalid_pixels():
    red, nir = np.float32([np.inf, 0.1]), np.float32([-np.inf, 0.3])
    np.testing.assert_allclose(ndvi(red, nir, np.array([False, True])), [np.nan, 0.5], rtol=1e-6)
