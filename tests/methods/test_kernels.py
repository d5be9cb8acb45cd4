"""The compiled window loops against slow, plain versions of what they compute."""

import numpy as np
import pytest

from sitsfuse.methods.kernels import estarfm, similar, starfm

SHAPE = (23, 31)


def distances(y, x, rows, cols, window):
    """Rows, columns and 1 / D of the pixels in the window around (y, x)."""
    reach = window // 2
    yy, xx = np.mgrid[max(y - reach, 0) : min(y + reach + 1, rows), max(x - reach, 0) : min(x + reach + 1, cols)]
    near = 1 / (1 + np.hypot(yy - y, xx - x) / (window / 2))
    return yy.ravel(), xx.ravel(), near.ravel()


@pytest.fixture(params=[1.0, 0.7, 0.05], ids=["clear", "cloudy", "overcast"])
def valid(request):
    return np.random.default_rng(5).random(SHAPE) < request.param


def smooth(rng, *shape):
    """Images whose pixels have some near neighbours in value."""
    return rng.normal(0.2, 0.05, shape).astype(np.float32)


@pytest.mark.parametrize("window", [3, 7, 11, 101])
def test_starfm_sums(window, valid):
    rng = np.random.default_rng(1)
    fine, spectral, temporal = smooth(rng, *SHAPE), *(np.abs(smooth(rng, 2, *SHAPE)))
    weight = np.where(valid, rng.uniform(0.1, 1, SHAPE), 0).astype(np.float32)
    value = smooth(rng, *SHAPE)
    centre = rng.random(SHAPE) < 0.8
    total, weights = starfm.starfm(fine, spectral, temporal, weight, value, centre, window, 0.04, (0.01, 0.02))
    for y, x in np.argwhere(centre):
        yy, xx, near = distances(y, x, *SHAPE, window)
        use = np.abs(fine[yy, xx] - fine[y, x]) < 0.04
        use &= (spectral[yy, xx] < spectral[y, x] + 0.01) & (temporal[yy, xx] < temporal[y, x] + 0.02)
        w = weight[yy, xx].astype(float) * near * use
        assert weights[y, x] == pytest.approx(w.sum(), rel=1e-5, abs=1e-7)
        assert total[y, x] == pytest.approx((w * value[yy, xx]).sum(), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("levels", [None, 5], ids=["distinct", "ties"])
@pytest.mark.parametrize(("window", "count"), [(3, 1), (9, 6), (9, 500), (51, 20)])
def test_similar_mean(window, count, levels, valid):
    rng = np.random.default_rng(2)
    features, values = smooth(rng, 3, *SHAPE), smooth(rng, 2, *SHAPE)
    if levels:
        features = np.round(features * levels) / np.float32(levels)
    centre = rng.random(SHAPE) < 0.8
    features[:, ~valid], values[:, ~valid] = np.nan, 1e6
    found = similar.similar(features, values, valid, centre, window, count)
    for y, x in np.argwhere(~(centre & valid)):
        assert not found[:, y, x].any()
    for y, x in np.argwhere(centre & valid):
        yy, xx, near = distances(y, x, *SHAPE, window)
        keep = valid[yy, xx]
        yy, xx, near = yy[keep], xx[keep], near[keep]
        apart = ((features[:, yy, xx] - features[:, y, x][:, None]).astype(float) ** 2).sum(axis=0)
        near = near * (apart <= np.sort(apart)[min(count, len(apart)) - 1] * (1 + 1e-6))
        np.testing.assert_allclose(found[:, y, x], (values[:, yy, xx] * near).sum(axis=1) / near.sum(), rtol=1e-5)


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("window", [5, 13, 35])
def test_estarfm_change(window, bands, valid):
    rng = np.random.default_rng(3)
    parcel = rng.integers(0, 3, SHAPE)
    levels = rng.normal(0, 0.1, (2, bands, 3))
    levels[1] = levels[0] + 0.15
    fine = (levels[:, :, parcel] + rng.normal(0, 0.004, (2, bands, *SHAPE))).astype(np.float32)
    coarse = (0.6 * fine + rng.normal(0, 0.01, fine.shape)).astype(np.float32)
    today = smooth(rng, bands, *SHAPE)
    unlike = rng.uniform(0, 1, SHAPE).astype(np.float32)
    like = rng.uniform(0.01, 0.02, (2, bands)).astype(np.float32)
    level = rng.normal(0, 0.1, bands).astype(np.float32)
    critical = np.linspace(0.9, 0.1, 2 * window**2 + 1)
    centre = rng.random(SHAPE) < 0.8
    blank = np.where(valid, np.float32(0), np.float32(np.nan))
    found = estarfm.estarfm(
        fine + blank, coarse + blank, today + blank, level, unlike, valid, centre, window, like, 0.05, critical, 4
    )
    steep = 0
    for y, x in np.argwhere(~(centre & valid)):
        assert not found[..., y, x].any()
    for y, x in np.argwhere(centre & valid):
        yy, xx, near = distances(y, x, *SHAPE, window)
        use = valid[yy, xx]
        for k in range(2):
            for b in range(bands):
                use &= np.abs(fine[k, b, yy, xx] - fine[k, b, y, x]) < like[k, b]
        yy, xx, near = yy[use], xx[use], near[use]
        if len(yy) <= 4:
            np.testing.assert_allclose(found[..., y, x], (today - coarse)[..., y, x], rtol=0, atol=1e-6)
            continue
        w = 1 / (unlike[yy, xx] / near + 1e-7)
        for b in range(bands):
            c, f = (a[:, b, yy, xx].astype(float) for a in (coarse, fine))
            slope = 1.0
            if abs(c[1].mean() - c[0].mean()) >= 0.05:
                line = np.polyfit(c.ravel(), f.ravel(), 1)
                r2 = np.corrcoef(c.ravel(), f.ravel())[0, 1] ** 2
                if r2 >= critical[2 * len(yy)] and 0 < line[0] <= 5:
                    slope = line[0]
                    steep += 1
            for k in range(2):
                change = slope * (w * (today[b, yy, xx] - c[k])).sum() / w.sum()
                assert found[k, b, y, x] == pytest.approx(change, abs=1e-5)
    if valid.all():
        assert steep > 50


def test_nothing_wanted_is_nothing_done():
    none = np.zeros(SHAPE, bool)
    image = np.ones((2, *SHAPE), np.float32)
    assert not similar.similar(image, image, ~none, none, 5, 3).any()
    total, weights = starfm.starfm(image[0], image[0], image[0], image[0], image[0], none, 5, 1.0, (1.0, 1.0))
    assert not total.any()
    assert not weights.any()
