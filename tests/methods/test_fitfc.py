"""Fit-FC against a slow version of its formula, and what it is said to do."""

import numpy as np
import pytest

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import make_method
from sitsfuse.methods.fitfc import local_regression
from sitsfuse.operators.matrices import nearest_index
from sitsfuse.operators.updown import down, up
from tests.helpers import scenes

DAY = [scenes.day(14)]


def regression(before, after, known, at, reach, flat):
    """Slope and offset from the known pixels around one LR pixel, by the sums of the textbook."""
    y, x = at
    near = (slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1))
    p, q = before[near][known[near]].astype(float), after[near][known[near]].astype(float)
    if not p.size:
        return 1.0, 0.0
    slope = (((p - p.mean()) * (q - q.mean())).mean() + flat**2) / (p.var() + flat**2)
    return slope, q.mean() - slope * p.mean()


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("reach", [1, 3])
def test_local_regression(reach, share):
    rng = np.random.default_rng(1)
    before = rng.normal(0.3, 0.02, (2, 12, 9)).astype(np.float32)
    after = (0.7 * before + rng.normal(0, 0.01, before.shape)).astype(np.float32)
    known = rng.random((12, 9)) < share
    before[:, ~known] = np.nan
    slope, offset = local_regression(before, after, known, reach, 0.004)
    for b, y, x in np.ndindex(*before.shape):
        a, c = regression(before[b], after[b], known, (y, x), reach, 0.004)
        assert slope[b, y, x] == pytest.approx(a, rel=1e-5)
        assert offset[b, y, x] == pytest.approx(c, abs=1e-6)


def slow(tree, date, reach, flat, window, similar):
    guide, pair = group(tree, "guide"), pair_of(tree)
    target = group(tree, "target").sel(time=date)
    after, clear = target["reflectance"].values, target["valid"].values
    offsets = days(guide["time"].values, date)
    iy, ix = nearest_index(pair.y), nearest_index(pair.x)
    fines, masks = guide["reflectance"].values, guide["valid"].values
    plain, usable = [], []
    for fine, mask in zip(fines, masks, strict=True):
        before, has = down(fine, mask, pair)
        known = has & clear
        rest, ok = np.zeros_like(after), np.zeros_like(mask)
        z = np.zeros_like(fine)
        for b in range(len(fine)):
            for at in np.argwhere(known):
                a, c = regression(before[b], after[b], known, at, reach, flat)
                rest[b][*at] = after[b][*at] - a * before[b][*at] - c
                here = np.ix_(iy == at[0], ix == at[1])
                z[b][here] = a * fine[b][here] + c
                ok[here] = mask[here]
        spread, _ = up(rest, known, pair)
        plain.append(z + np.where(ok, spread, 0))
        usable.append(ok)
    where = np.array(usable)
    out = np.full(fines.shape[1:], np.nan)
    half = window // 2
    for y, x in np.argwhere(where.any(axis=0)):
        k = min(np.flatnonzero(where[:, y, x]), key=lambda i: abs(offsets[i]))
        near = np.zeros_like(where[k])
        near[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1] = True
        rows, cols = np.nonzero(near & where[k])
        apart = ((fines[k][:, rows, cols] - fines[k][:, y, x][:, None]).astype(float) ** 2).sum(axis=0)
        best = apart <= np.sort(apart)[min(similar, len(apart)) - 1] * (1 + 1e-6)
        weight = best / (1 + np.hypot(rows - y, cols - x) / (window / 2))
        out[:, y, x] = (plain[k][:, rows, cols] * weight).sum(axis=1) / weight.sum()
    return out, where.any(axis=0)


@pytest.mark.parametrize("grid", [{}, {"ratio": 2.5, "offset": (1.3, -0.4)}], ids=["x5", "x2.5 shifted"])
@pytest.mark.parametrize("cloudy", [0.0, 0.5])
def test_the_formula(grid, cloudy):
    tree = scenes.site(n=30, guides=(0, 10, 20, 30), targets=(14,), cloudy=cloudy, seed=4, **grid)
    wanted, there = slow(tree, DAY[0], 1, 0.004, 9, 7)
    out = fuse(tree, method="fitfc", options={"flat": 0.004, "window": 9, "similar": 7}, dates=DAY)
    np.testing.assert_array_equal(out["filled"].values[0], out["valid"].values[0] & ~there)
    assert there.mean() > 0.2
    np.testing.assert_allclose(out["reflectance"].values[0][:, there], wanted[:, there], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("gain", "change"), [(1.0, 0.0), (1.0, 0.07), (1.3, -0.05)])
def test_a_change_that_a_line_explains_is_followed(gain, change):
    # Nothing, a constant, a new gain: without smoothing the guide comes back as it changed.
    tree = scenes.site(guides=(0,), targets=(5,), cloudy=0.0)
    guide = group(tree, "guide")["reflectance"].values[0]
    low, _ = down(guide, np.ones(guide.shape[1:], bool), pair_of(tree))
    made = scenes.change(
        tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + np.float32(gain) * low + np.float32(change))
    )
    out = fuse(made, method="fitfc", options={"similar": 1, "flat": 1e-6}, dates=[scenes.day(5)])
    np.testing.assert_allclose(
        out["reflectance"].values[0], gain * guide + change, rtol=0, atol=2e-4 * (gain != 1) + 3e-6
    )


def test_details_remain_where_the_lr_image_is_flat():
    # Stripes that LR pixels do not see: the slope cannot be told from them, and is 1.
    tree = scenes.site(guides=(0,), targets=(5,), cloudy=0.0)
    stripes = (0.3 + 0.05 * (np.arange(60) % 5 == 2)).astype(np.float32)
    low, _ = down(np.broadcast_to(stripes, (2, 60, 60)).copy(), np.ones((60, 60), bool), pair_of(tree))
    made = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + stripes),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + low + np.float32(0.1)),
    )
    out = fuse(made, method="fitfc", dates=[scenes.day(5)])
    np.testing.assert_allclose(out["reflectance"].values[0], np.broadcast_to(stripes + 0.1, (2, 60, 60)), atol=1e-5)


def test_the_bands_given_tell_what_is_similar():
    # Red and NIR know two fields, blue is noise: 20 similar pixels are those of the field, and blue becomes their mean.
    tree = scenes.site(n=60, guides=(0,), targets=(5,), cloudy=0.0, n_bands=4)
    rng = np.random.default_rng(0)
    field = np.where(np.arange(60) < 30, 0.2, 0.4)
    guide = np.empty((4, 60, 60), np.float32)
    guide[:2] = field
    guide[2:] = 0.3 + rng.normal(0, 0.02, (2, 60, 60))
    low, _ = down(guide, np.ones((60, 60), bool), pair_of(tree))
    made = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + guide),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + low),
    )
    options = {"bands": ("red", "nir")}
    out = fuse(made, method="fitfc", options=options, dates=[scenes.day(5)])["reflectance"].values[0]
    np.testing.assert_allclose(out[:2], guide[:2], atol=1e-4)
    assert out[2:].std() < 0.2 * guide[2:].std()


@pytest.mark.parametrize("option", ["reach=0", "window=-1", "similar=0", "flat=0"])
def test_options_that_make_no_sense_are_refused(option):
    name, value = option.split("=")
    with pytest.raises(InputError, match=f"^options.{name}: .* is not usable; give "):
        make_method("fitfc", {name: value})


def test_a_band_that_the_guide_lacks_is_refused():
    tree = scenes.site(guides=(0,), targets=(5,))
    with pytest.raises(InputError, match=r"swir16.*red, nir"):
        fuse(tree, method="fitfc", options={"bands": "red,swir16"}, dates=[scenes.day(5)])
