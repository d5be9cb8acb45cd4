"""STARFM against a slow version of its formula, and what it is said to do."""

import numpy as np
import pytest

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import make_method
from sitsfuse.operators.updown import down, up
from tests.helpers import scenes

DAY = [scenes.day(14)]


def pixel(fine, coarse, today, ok, at, window, like, options):
    """Sums of weights and weighted values of one pair and band around a pixel, and the centre's own value."""
    y, x = at
    s, t = np.abs(fine - coarse), np.abs(coarse - today)
    eps = options["epsilon"]

    def weight(p):
        if options["logarithmic"]:
            return 1 / (np.log(s[p] / eps + 2) * np.log(t[p] / eps + 2))
        return 1 / ((s[p] / eps + 1) * (t[p] / eps + 1))

    value = today + fine - coarse
    if s[at] == 0 or t[at] == 0:
        return 1e18, 1e18 * value[at]
    total = weights = 0.0
    reach = window // 2
    for j in range(max(y - reach, 0), min(y + reach + 1, fine.shape[0])):
        for i in range(max(x - reach, 0), min(x + reach + 1, fine.shape[1])):
            p = j, i
            alike = abs(fine[p] - fine[at]) < like
            better = s[p] < s[at] + options["fine_uncertainty"] and t[p] < t[at] + options["change_uncertainty"]
            if ok[p] and alike and better:
                w = weight(p) / (1 + np.hypot(j - y, i - x) / (window / 2))
                weights += w
                total += w * value[p]
    return (weights, total) if weights else (weight(at), weight(at) * value[at])


def slow(tree, date, options):
    """(band, y, x) prediction and (y, x) where there is one, pixel by pixel."""
    guide, pair = group(tree, "guide"), pair_of(tree)
    target = group(tree, "target").sel(time=date)
    today, seen = up(target["reflectance"].values, target["valid"].values, pair)
    offsets = days(guide["time"].values, date)
    fine, clear = guide["reflectance"].values, guide["valid"].values
    coarse, known = up(*down(fine, clear, pair), pair)
    ok = clear & known & seen
    fine, coarse, today = (np.asarray(a, float) for a in (fine, coarse, today))
    out = np.full(today.shape, np.nan)
    for y, x in np.argwhere(ok.any(axis=0)):
        free = sorted(np.flatnonzero(ok[:, y, x]), key=lambda k: abs(offsets[k]))
        second = [k for k in free[1:] if (offsets[k] > 0) != (offsets[free[0]] > 0)] + free[1:]
        for b in range(len(out)):
            weights = total = 0.0
            for k in (free[:1] + second[:1])[: options["pairs"]]:
                like = 2 * fine[k][b][clear[k]].std() / options["classes"]
                w, v = pixel(fine[k, b], coarse[k, b], today[b], ok[k], (y, x), options["window"], like, options)
                weights, total = weights + w, total + v
            out[b, y, x] = total / weights
    return out, ok.any(axis=0)


DEFAULTS = {
    "pairs": 2, "window": 9, "classes": 4.0, "fine_uncertainty": 0.002, "change_uncertainty": 0.004, "epsilon": 1e-3,
    "logarithmic": False,
}  # fmt: skip


@pytest.mark.parametrize("grid", [{}, {"ratio": 2.5, "offset": (1.3, -0.4)}], ids=["x5", "x2.5 shifted"])
@pytest.mark.parametrize("cloudy", [0.0, 0.5])
@pytest.mark.parametrize("options", [{}, {"pairs": 1}, {"logarithmic": True, "classes": 12.0}], ids=str)
def test_the_formula(grid, cloudy, options):
    tree = scenes.site(n=30, guides=(0, 10, 20, 30), targets=(14,), cloudy=cloudy, seed=4, **grid)
    options = {**DEFAULTS, **options}
    wanted, there = slow(tree, DAY[0], options)
    out = fuse(tree, method="starfm", options=options, dates=DAY)
    np.testing.assert_array_equal(out["filled"].values[0], out["valid"].values[0] & ~there)
    assert there.mean() > 0.2
    np.testing.assert_allclose(out["reflectance"].values[0][:, there], wanted[:, there], rtol=0, atol=1e-5)


def changed_by(tree, change):
    """The site with a target that is the first guide's degraded image plus a change."""
    pair = pair_of(tree)
    fine = group(tree, "guide")["reflectance"].values[0]
    low, _ = down(fine, np.ones(fine.shape[1:], bool), pair)
    return scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + low + np.float32(change)))


@pytest.mark.parametrize(("pairs", "change"), [(1, 0.0), (1, 0.07), (2, 0.0)])
def test_a_change_uniform_in_space_is_added_to_the_guide(pairs, change):
    # The second pair's own change is larger; where nothing changed since the first, that one rules alone.
    tree = changed_by(scenes.site(guides=(0, 40), targets=(5,), cloudy=0.0), change)
    guide = group(tree, "guide")["reflectance"].values[0]
    out = fuse(tree, method="starfm", options={"pairs": pairs, "classes": 1e6}, dates=[scenes.day(5)])
    np.testing.assert_allclose(out["reflectance"].values[0], guide + np.float32(change), rtol=0, atol=2e-6)


def test_a_guide_no_sharper_than_its_lr_image_gives_the_target():
    # Even in space: S = 0, and the target is copied.
    tree = scenes.site(guides=(0, 40), targets=(5,), cloudy=0.0)
    even = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + np.float32(0.25)),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + np.float32(0.4)),
    )
    out = fuse(even, method="starfm", dates=[scenes.day(5)])
    np.testing.assert_allclose(out["reflectance"].values, 0.4, rtol=0, atol=1e-6)


def test_similar_pixels_carry_a_change_that_their_lr_pixels_show():
    # Two classes; one changes. Where LR pixels are pure the change is plain, and mixed pixels learn it from there.
    tree = scenes.site(n=60, guides=(0,), targets=(5,), cloudy=0.0)
    crop = np.zeros((60, 60), bool)
    crop[10:42, 7:38] = True
    before = np.where(crop, 0.2, 0.4).astype(np.float32)[None].repeat(2, 0)
    after = np.where(crop, 0.3, 0.4).astype(np.float32)[None].repeat(2, 0)
    low, _ = down(after, np.ones((60, 60), bool), pair_of(tree))
    made = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + before),
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + low),
    )

    def rmse(**options):
        out = fuse(made, method="starfm", options={"pairs": 1, **options}, dates=[scenes.day(5)])
        return float(np.sqrt(((out["reflectance"].values[0] - after)[:, 5:55, 5:55] ** 2).mean()))

    alone, together = rmse(window=1), rmse()
    assert alone > 0.005
    assert together < 0.8 * alone


@pytest.mark.parametrize("option", ["pairs=3", "window=-1", "classes=0", "epsilon=0", "fine_uncertainty=-1"])
def test_options_that_make_no_sense_are_refused(option):
    name, value = option.split("=")
    with pytest.raises(InputError, match=f"^options.{name}: .* is not usable; give "):
        make_method("starfm", {name: value})
