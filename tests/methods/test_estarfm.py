"""ESTARFM against a slow version of its formula, and what it is said to do."""

import numpy as np
import pytest
from scipy import stats

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import make_method
from sitsfuse.methods.estarfm import critical_r2
from sitsfuse.operators.updown import down, up
from tests.helpers import scenes

DAY = [scenes.day(14)]


def slope(fine, coarse, least):
    """Conversion coefficient from (date, pixel) samples."""
    if abs(coarse[1].mean() - coarse[0].mean()) < least:
        return 1.0
    line = stats.linregress(coarse.ravel(), fine.ravel())
    return line.slope if line.pvalue <= 0.05 and 0 < line.slope <= 5 else 1.0


def pixel(fine, coarse, today, ok, at, window, like, least):
    """(band,) prediction of one pixel from two pairs, (2, band, y, x) each."""
    y, x = at
    reach = window // 2
    near = [
        (j, i)
        for j in range(max(y - reach, 0), min(y + reach + 1, ok.shape[0]))
        for i in range(max(x - reach, 0), min(x + reach + 1, ok.shape[1]))
        if ok[j, i]
    ]
    alike = [p for p in near if (np.abs(fine[:, :, *p] - fine[:, :, y, x]) < like).all()]
    out = []
    for b in range(len(today)):
        change = [today[b, y, x] - coarse[k, b, y, x] for k in range(2)]
        if len(alike) > 5:
            weights = []
            for j, i in alike:
                r = np.corrcoef(fine[:, :, j, i].ravel(), coarse[:, :, j, i].ravel())[0, 1]
                weights.append(1 / ((1 - r) * (1 + np.hypot(j - y, i - x) / (window / 2)) + 1e-7))
            rows, cols = np.transpose(alike)
            v = slope(fine[:, b, rows, cols], coarse[:, b, rows, cols], least)
            change = [
                v * np.average(today[b, rows, cols] - coarse[k, b, rows, cols], weights=weights) for k in range(2)
            ]
        rows, cols = np.transpose(near)
        since = [abs((coarse[k, b, rows, cols] - today[b, rows, cols]).sum()) for k in range(2)]
        share = 1 / np.array(since) / (1 / np.array(since)).sum()
        out.append(sum(s * (fine[k, b, y, x] + c) for s, k, c in zip(share, range(2), change, strict=True)))
    return out


def slow(tree, date, window, classes, least):
    guide, pair = group(tree, "guide"), pair_of(tree)
    target = group(tree, "target").sel(time=date)
    today, seen = up(target["reflectance"].values, target["valid"].values, pair)
    offsets = days(guide["time"].values, date)
    fine, clear = guide["reflectance"].values, guide["valid"].values
    coarse, known = up(*down(fine, clear, pair), pair)
    ok = clear & known & seen
    fine, coarse, today = (np.asarray(a, float) for a in (fine, coarse, today))
    sigma = np.array([f[:, c].std(axis=1) for f, c in zip(fine, clear, strict=True)])
    out = np.full(today.shape, np.nan)
    for y, x in np.argwhere(ok.any(axis=0)):
        free = sorted(np.flatnonzero(ok[:, y, x]), key=lambda k: abs(offsets[k]))
        second = [k for k in free[1:] if (offsets[k] > 0) != (offsets[free[0]] > 0)] + free[1:] + free
        both = [free[0], second[0]]
        like = 2 * sigma[both] / classes
        out[:, y, x] = pixel(fine[both], coarse[both], today, ok[both].all(axis=0), (y, x), window, like, least)
    return out, ok.any(axis=0)


@pytest.mark.parametrize("grid", [{}, {"ratio": 2.5, "offset": (1.3, -0.4)}], ids=["x5", "x2.5 shifted"])
@pytest.mark.parametrize("cloudy", [0.0, 0.5])
@pytest.mark.parametrize("least", [0.0, 0.02])
def test_the_formula(grid, cloudy, least):
    tree = scenes.site(n=25, guides=(0, 10, 20, 30), targets=(14,), cloudy=cloudy, seed=4, **grid)
    wanted, there = slow(tree, DAY[0], 9, 2.0, least)
    options = {"window": 9, "classes": 2.0, "least_change": least}
    out = fuse(tree, method="estarfm", options=options, dates=DAY)
    np.testing.assert_array_equal(out["filled"].values[0], out["valid"].values[0] & ~there)
    assert there.mean() > 0.2
    np.testing.assert_allclose(out["reflectance"].values[0][:, there], wanted[:, there], rtol=0, atol=1e-5)


def with_target(tree, image):
    """The site with a target that is an HR image, degraded, on all dates."""
    low, _ = down(image.astype(np.float32), np.ones(image.shape[1:], bool), pair_of(tree))
    return scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + low))


def test_without_a_change_since_a_guide_it_comes_back():
    tree = scenes.site(guides=(0, 40), targets=(5,), cloudy=0.0)
    guide = group(tree, "guide")["reflectance"].values
    for k in range(2):
        out = fuse(with_target(tree, guide[k]), method="estarfm", dates=[scenes.day(5)])
        np.testing.assert_allclose(out["reflectance"].values[0], guide[k], rtol=0, atol=2e-6)


def test_a_change_uniform_in_space_is_added_to_the_guides():
    tree = scenes.site(guides=(0, 40), targets=(5,), cloudy=0.0)
    guide = group(tree, "guide")["reflectance"].values
    twin = scenes.change(tree, guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + guide[0]))
    out = fuse(with_target(twin, guide[0] + 0.07), method="estarfm", dates=[scenes.day(5)])
    np.testing.assert_allclose(out["reflectance"].values[0], guide[0] + 0.07, rtol=0, atol=3e-6)


def test_the_conversion_coefficient_restores_a_change_that_lr_pixels_dilute():
    # Observed LR images see half of every change: V = 2 restores it.
    tree = scenes.site(n=60, guides=(0, 20), targets=(0, 10, 20), cloudy=0.0)
    base, step = scenes.truth(0), np.float32(0.2)
    guides = np.stack([base, base + step])
    pair = pair_of(tree)
    low, _ = down(guides[0], np.ones((60, 60), bool), pair)
    targets = np.stack([low, low + step / 4, low + step / 2])
    made = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + guides),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + targets),
    )
    flat = scenes.change(
        made,
        guide=lambda s: s.assign(reflectance=s["reflectance"].mean(("y", "x")) + s["reflectance"] * 0),
        target=lambda s: s.assign(reflectance=s["reflectance"].mean(("y", "x")) + s["reflectance"] * 0),
    )
    out = fuse(flat, method="estarfm", options={"classes": 1e-3}, dates=[scenes.day(10)])
    wanted = group(flat, "guide")["reflectance"].values[0] + step / 2
    np.testing.assert_allclose(out["reflectance"].values[0], wanted, rtol=0, atol=1e-5)


def test_critical_values_are_those_of_the_t_test():
    table = critical_r2(60)
    for n in (3, 7, 60):
        t2 = stats.t.ppf(0.975, n - 2) ** 2
        assert table[n] == pytest.approx(t2 / (t2 + n - 2))
    assert np.isinf(table[:3]).all()


@pytest.mark.parametrize("option", ["window=-1", "classes=0", "least_change=-1"])
def test_options_that_make_no_sense_are_refused(option):
    name, value = option.split("=")
    with pytest.raises(InputError, match=f"^options.{name}: .* is not usable; give "):
        make_method("estarfm", {name: value})
