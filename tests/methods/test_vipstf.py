"""VIPSTF-SW against a slow version of its formula, what it is said to do, and guides without gaps."""

import numpy as np
import pytest

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import Tile
from sitsfuse.methods.shared import rehearsal, samples
from sitsfuse.methods.shared.dates import Calendar
from sitsfuse.methods.shared.gapless import Gapless, prior_of, without_gaps
from sitsfuse.methods.shared.moments import WEAK
from sitsfuse.methods.vipstf import VIPSTF
from sitsfuse.operators.residual import spread_residual
from sitsfuse.operators.updown import down, up_mask
from tests.helpers import scenes

pytestmark = pytest.mark.filterwarnings("error", "ignore::PendingDeprecationWarning")

DAY = [scenes.day(14)]
GRIDS = {
    "x5": {"n": 45},
    "x2.5 shifted": {"ratio": 2.5, "offset": (1.2, -0.7), "n": 36},
    "x4 on a part": {"ratio": 4.0, "offset": (0.0, 21.0), "n": 44},
}


def in_time(values, valid, offsets):
    """(..., ) at day 0: linear between the nearest valid days before and after; None if there is none."""
    before = [i for i in np.flatnonzero(valid) if offsets[i] <= 0]
    after = [i for i in np.flatnonzero(valid) if offsets[i] > 0]
    if not before and not after:
        return None
    if not before or not after:
        return np.asarray(values[before[-1] if before else after[0]], float)
    i, j = before[-1], after[0]
    share = -offsets[i] / (offsets[j] - offsets[i])
    return (1 - share) * np.asarray(values[i], float) + share * np.asarray(values[j], float)


def slow_gapless(tree, date):
    """Guides without gaps, where there are any, their LR images, the target, where it is known, and the prior."""
    guide, target, pair = group(tree, "guide"), group(tree, "target"), pair_of(tree)
    values, valid = guide["reflectance"].values, guide["valid"].values
    times = days(guide["time"].values, date)
    fine, some = np.zeros(values.shape, np.float32), valid.any(axis=0)
    for y, x in np.argwhere(some):
        for k in range(len(times)):
            fine[k, :, y, x] = in_time(values[:, :, y, x], valid[:, y, x], times - times[k])
    coarse, ok = np.empty((len(times), values.shape[1], *pair.lr.shape), np.float32), None
    for k, time in enumerate(guide["time"].values):
        coarse[k], ok = down(fine[k], some, pair)
        away = np.abs(days(target["time"].values, time))
        _, footprint = down(values[k], valid[k], pair)
        for y, x in np.argwhere(footprint):
            seen = [i for i in np.argsort(away) if away[i] <= 1 and target["valid"].values[i, y, x]]
            if seen:
                coarse[k, :, y, x] = target["reflectance"].values[seen[0], :, y, x]
    here = target.sel(time=date)
    prior = np.array([float(in_time(row, np.ones(len(times), bool), times)) for row in np.eye(len(times))])
    return fine, some, coarse, ok, here["reflectance"].values, ok & here["valid"].values, prior


def ridge_regression(x, y, prior, penalty):
    """(n, k) x, (n,) y: weights and level; ``penalty`` weighs the squared distance to the prior."""
    rows = np.vstack([np.c_[x, np.ones(len(x))], np.c_[np.sqrt(penalty) * np.eye(len(prior)), np.zeros(len(prior))]])
    found = np.linalg.lstsq(rows, np.r_[y, np.sqrt(penalty) * prior], rcond=None)[0]
    return found[:-1], found[-1]


def slow_similar(features, values, valid, window, count):
    """Mean of the most similar pixels, weighing 1 / D, by sorting every window."""
    out = np.zeros(values.shape)
    reach = window // 2
    rows, cols = np.indices(valid.shape)
    for y, x in np.argwhere(valid):
        near = np.s_[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        ok = valid[near]
        far = ((features[:, *near] - features[:, y, x][:, None, None]) ** 2).sum(axis=0)[ok]
        weight = 1 / (1 + np.hypot(rows[near] - y, cols[near] - x)[ok] / (window / 2))
        close = far <= np.sort(far)[:count][-1]
        out[:, y, x] = (weight[close] * values[:, *near][:, ok][:, close]).sum(axis=1) / weight[close].sum()
    return out


def slow(tree, date, similar, window, ridge):
    fine, some, coarse, _, target, known, prior = slow_gapless(tree, date)
    pair = pair_of(tree)
    virtual, left = np.empty(fine.shape[1:]), np.zeros(target.shape)
    for b in range(len(target)):
        x, y = coarse[:, b][:, known].T.astype(float), target[b][known].astype(float)
        weights, level = ridge_regression(x, y, prior, ridge * x.var(axis=0).mean() if len(x) else 1)
        virtual[b] = np.tensordot(weights, fine[:, b], 1) + level
        left[b][known] = y - x @ weights - level
    change = spread_residual(left.astype(np.float32), known, pair)
    change = slow_similar(virtual, change, some, window, similar)
    return np.where(some, virtual + change, np.nan), left, known


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    "options",
    [
        {"similar": 30, "window": 11, "ridge": 10.0},
        {"similar": 6, "window": 7, "ridge": 0.0},
    ],
)
def test_it_is_the_formula(options, grid):
    # An LR image on a guide's day: noise tells it from the degraded guide.
    tree = scenes.site(seed=7, cloudy=0.5, noise=0.01, targets=(0, 14, 21, 33), **GRIDS[grid])
    out = fuse(tree, method=VIPSTF(**options), dates=DAY).isel(time=0)
    wanted, _, known = slow(tree, np.datetime64(DAY[0]), **options)
    assert 0 < known.mean() < 1
    np.testing.assert_array_equal(out["valid"].values, np.isfinite(wanted).all(axis=0))
    np.testing.assert_allclose(out["reflectance"].values, wanted, rtol=0, atol=1e-5)


def test_by_default_the_window_is_13_lr_pixels():
    tree = scenes.site(ratio=2.5, seed=7, cloudy=0.3)
    given, default = (fuse(tree, method=m, dates=DAY) for m in (VIPSTF(window=33), VIPSTF()))
    assert given.equals(default)


def test_the_uncertainty_is_the_local_residual_times_what_it_leaves_at_hr(monkeypatch):
    # Before it is calibrated.
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    tree = scenes.site(seed=7, cloudy=0.5, noise=0.01)
    pair = pair_of(tree)
    fine, some, coarse, ok, _, _, _ = slow_gapless(tree, np.datetime64(DAY[0]))
    options = {"similar": 1, "window": 1, "ridge": 10.0}
    _, left, known = slow(tree, np.datetime64(DAY[0]), **options)
    out = fuse(tree, method=VIPSTF(**options), dates=DAY).isel(time=0)
    for b in range(2):
        ratios = []
        for k in range(len(fine)):
            rest = np.arange(len(fine)) != k
            x, y = coarse[rest, b][:, ok].T.astype(float), coarse[k, b][ok].astype(float)
            prior = np.full(len(fine) - 1, 1 / (len(fine) - 1))
            weights, _ = ridge_regression(x, y, prior, WEAK * len(x) * x.var(axis=0).mean())
            errors = np.tensordot(np.insert(-weights, k, 1), fine[:, b][:, some], 1)
            ratios.append(np.sqrt(max(errors.var() / (y - x @ weights).var() - 1, 0)))
        detail = max(np.median(ratios), 1)
        rms = np.zeros(left.shape[1:], np.float32)
        for y, x in np.argwhere(known):
            around = [
                ((2 - abs(dy)) * (2 - abs(dx)), left[b, y + dy, x + dx])
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if 0 <= y + dy < rms.shape[0] and 0 <= x + dx < rms.shape[1] and known[y + dy, x + dx]
            ]
            rms[y, x] = np.sqrt(sum(w * r**2 for w, r in around) / sum(w for w, _ in around))
        wanted = detail * np.abs(spread_residual(rms[None], known, pair)[0])
        seen = up_mask(known, pair) & some
        assert seen.any()
        np.testing.assert_allclose(out["uncertainty"].values[b][seen], wanted[seen], rtol=1e-4, atol=1e-6)


def test_a_target_that_shows_a_guide_brings_it_back():
    tree = scenes.site(seed=8, cloudy=0.0)
    shown, _ = down(group(tree, "guide")["reflectance"].values[3], np.ones((60, 60), bool), pair_of(tree))
    again = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + shown))
    out = fuse(again, method=VIPSTF(ridge=0.0), dates=DAY)
    np.testing.assert_allclose(
        out["reflectance"].values[0], group(tree, "guide")["reflectance"].values[3], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("gain", "shift", "ridge"), [(1.0, 0.0, 10.0), (1.0, 0.05, 10.0), (1.3, -0.02, 0.0)])
def test_what_changes_alike_everywhere_is_carried_over(gain, shift, ridge):
    tree = scenes.change(scenes.site(seed=8, cloudy=0.0), guide=lambda s: s.isel(time=[1]))
    before = group(tree, "guide")["reflectance"].values[0]
    shown, _ = down(before, np.ones((60, 60), bool), pair_of(tree))
    moved = scenes.change(
        tree,
        target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + np.float32(gain) * shown + np.float32(shift)),
    )
    out = fuse(moved, method=VIPSTF(ridge=ridge), dates=DAY)
    np.testing.assert_allclose(out["reflectance"].values[0], gain * before + shift, rtol=0, atol=1e-5)


def test_tiles_are_the_whole_on_a_wide_image():
    tree = scenes.site(n=110, ratio=2.5, seed=2)
    whole, tiled = (fuse(tree, method=VIPSTF(window=9), dates=DAY, tile=side) for side in (4096, 30))
    for name in ("reflectance", "uncertainty"):
        np.testing.assert_allclose(tiled[name].values, whole[name].values, rtol=0, atol=1e-6)


def test_the_weights_come_from_the_sample_windows(monkeypatch):
    tree = scenes.site(n=80, seed=3, cloudy=0.0)
    guide = group(tree, "guide")["reflectance"].values
    mixed = 0.4 * guide[1] + 0.9 * guide[3] + np.float32(0.02)
    shown, _ = down(mixed.astype(np.float32), np.ones((80, 80), bool), pair_of(tree))
    wild = shown.copy()
    wild[:, 5:11, 5:11] = 1  # between the blocks
    mix = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + wild))
    monkeypatch.setattr(samples, "SAMPLE_BLOCKS", 2)
    monkeypatch.setattr(samples, "SAMPLE_SIDE", 20)
    predictor = scenes.prepared(VIPSTF(ridge=0.0), mix, np.datetime64(DAY[0]))
    virtual = np.einsum("tb,tbyx->byx", predictor.weights, guide) + predictor.level[:, None, None]
    np.testing.assert_allclose(virtual, mixed, rtol=0, atol=1e-4)


def test_many_guides_and_few_pixels_lean_on_time():
    tree = scenes.site(seed=4, cloudy=0.0)
    one = np.zeros((12, 12), bool)
    one[4, 5] = True
    rare = scenes.change(tree, target=lambda s: s.assign(valid=s["valid"] & one))
    prior = prior_of(Calendar.of(rare).on(np.datetime64(DAY[0])))
    np.testing.assert_allclose(prior, [0, 0.6, 0.4, 0, 0], atol=1e-6)
    # One pixel tells the level and nothing of the weights.
    predictor = scenes.prepared(VIPSTF(), rare, np.datetime64(DAY[0]))
    np.testing.assert_allclose(predictor.weights, np.repeat(prior[:, None], 2, axis=1), atol=1e-6)
    strong = scenes.prepared(VIPSTF(ridge=1e9), tree, np.datetime64(DAY[0]))
    np.testing.assert_allclose(strong.weights, np.repeat(prior[:, None], 2, axis=1), atol=1e-5)


def test_gaps_are_interpolated_between_valid_images():
    rng = np.random.default_rng(0)
    times = np.array([0.0, 3.0, 10.0, 11.0])
    values, valid = rng.normal(size=(4, 2, 9, 8)).astype(np.float32), rng.random((4, 9, 8)) < 0.5
    wild = np.where(valid[:, None], values, np.float32(np.nan))
    fine, some = without_gaps(wild, valid, times)
    np.testing.assert_array_equal(some, valid.any(axis=0))
    for k, y, x in np.ndindex(4, 9, 8):
        wanted = in_time(values[:, :, y, x], valid[:, y, x], times - times[k])
        np.testing.assert_allclose(fine[k, :, y, x], 0 if wanted is None else wanted, atol=1e-6)
    assert without_gaps(values, np.ones_like(valid), times)[0] is values


def test_an_observed_image_stands_for_a_guide_only_where_that_has_no_gap():
    tree = scenes.site(seed=5, guides=(0, 14), targets=(0, 7), cloudy=0.3)
    dates = Calendar.of(tree).on(np.datetime64(scenes.day(7)))
    bright = scenes.change(tree, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + np.float32(9)))
    target = group(bright, "target")
    tile = Tile(group(bright, "guide"), target.sel(time=dates.targets), pair_of(bright))
    guides = Gapless.of(tile, dates)
    clear = target["valid"].values[0]
    first = group(bright, "guide").isel(time=0)
    _, footprint = down(first["reflectance"].values, first["valid"].values, pair_of(bright))
    assert 0 < (clear & footprint).sum() < clear.sum()
    np.testing.assert_array_equal((guides.coarse[0] == 9).all(axis=0), clear & footprint)
    assert (guides.coarse[1] < 1).all()


def test_the_choices_name_the_weights():
    tree = scenes.site(seed=1, guides=(0, 20, 60), targets=(0, 10))
    choices = scenes.prepared(VIPSTF(), tree, np.datetime64(scenes.day(10))).choices
    assert choices["lr_at_guides"] == ["target, degraded guide in its gaps", "degraded guide", "degraded guide"]
    assert np.shape(choices["weights"]) == (3, 2)
    assert np.shape(choices["level"]) == (2,)


@pytest.mark.parametrize("options", [{"similar": 0}, {"window": -1}, {"ridge": -0.1}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=f"^{next(iter(options))}: "):
        VIPSTF(**options)
