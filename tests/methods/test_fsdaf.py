"""FSDAF against a slow version of its formula, and what it is said to do."""

import numpy as np
import pytest

from sitsfuse.core.dates import days
from sitsfuse.core.grid import GridPair
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import Tile
from sitsfuse.methods.fsdaf import FSDAF, homogeneity, mixtures, share_out
from sitsfuse.methods.fsdaf.classes import NONE, class_changes, find_classes, purest
from sitsfuse.methods.shared import rehearsal, samples
from sitsfuse.operators.thin_plate import thin_plate
from sitsfuse.operators.updown import down, fill
from tests.helpers import scenes

DAY = np.datetime64(scenes.day(14), "ns")
GRIDS = {
    "x5": {"n": 40},
    "x2.5 shifted": {"n": 30, "ratio": 2.5, "offset": (0.7, -0.4)},
    "x4 on a part": {"n": 40, "ratio": 4.0, "offset": (0.0, 13.0)},
}


def run(tree, **options):
    return fuse(tree, method=FSDAF(**options), dates=[scenes.day(14)]).isel(time=0)


def owner(axis, i):
    """LR pixel that holds the centre of HR pixel i, or None."""
    found = int(np.floor((i + 0.5 - axis.offset) / axis.ratio))
    return found if 0 <= found < axis.n_lr else None


def around(at, side, shape):
    """The pixels in a window."""
    y, x = at
    r = side // 2
    return [
        (i, j)
        for i in range(max(y - r, 0), min(y + r + 1, shape[0]))
        for j in range(max(x - r, 0), min(x + r + 1, shape[1]))
    ]


def slow_pair(tree, date):
    """For each guide its LR image, where that is known, and (y, x) which guide a pixel uses, -1 for none."""
    guide, target, pair = group(tree, "guide"), group(tree, "target"), pair_of(tree)
    lr, known = down(guide["reflectance"].values, guide["valid"].values, pair)
    for k, time in enumerate(guide["time"].values):
        for i in np.flatnonzero(np.abs(days(target["time"].values, time)) <= 1):
            clear = target["valid"].values[i]
            lr[k][:, clear] = target["reflectance"].values[i][:, clear]
            known[k] |= clear
    valid, seen = guide["valid"].values, target.sel(time=date)["valid"].values
    index, usable = np.full(valid.shape[1:], -1), np.zeros(valid.shape, bool)
    for y, x in np.ndindex(*index.shape):
        cell = owner(pair.y, y), owner(pair.x, x)
        if None in cell or not seen[cell]:
            continue
        usable[:, y, x] = valid[:, y, x] & known[:, cell[0], cell[1]]
        for k in np.argsort(np.abs(days(guide["time"].values, date)), kind="stable")[::-1]:
            index[y, x] = k if usable[k, y, x] else index[y, x]
    return lr, usable, index


def slow(tree, method, date=DAY):
    """The formula, pixel by pixel, with the classes and their changes as fitted: image, variance, and where."""
    guide, target, pair = group(tree, "guide"), group(tree, "target"), pair_of(tree)
    predictor = scenes.prepared(method, tree, date)
    lr, usable, index = slow_pair(tree, date)
    today, seen = (target.sel(time=date)[name].values for name in ("reflectance", "valid"))
    spline = thin_plate(fill(today, seen), pair).astype(float)
    image, variance = (np.full(spline.shape, np.nan) for _ in range(2))
    shape = index.shape
    for k in np.unique(index[index >= 0]):
        fine, ok, of = guide["reflectance"].values[k].astype(float), usable[k], predictor.classes[k]
        features = (fine - of.mean[:, None, None]) / of.scale[:, None, None]
        label = np.full(shape, -1)
        change = np.zeros(fine.shape)
        for at in np.argwhere(ok):
            y, x = at
            label[y, x] = np.argmin(((features[:, y, x] - of.centres) ** 2).sum(axis=1))
            change[:, y, x] = predictor.changes[k][label[y, x]]
        share = np.zeros(shape)
        side = {5.0: 5, 2.5: 3, 4.0: 5}[pair.ratio]
        for at in np.argwhere(ok):
            near = [label[p] for p in around(at, side, shape) if ok[p]]
            share[tuple(at)] = np.mean(np.array(near) == label[tuple(at)])
        explained, _ = down(change.astype(np.float32), ok, pair, min_footprint=1e-5)
        total = change.copy()
        for cell in np.argwhere(seen):
            here = [
                p for p in np.ndindex(*shape) if ok[p] and (owner(pair.y, p[0]), owner(pair.x, p[1])) == tuple(cell)
            ]
            for b in range(len(fine)):
                r = today[b][tuple(cell)] - lr[k][b][tuple(cell)] - explained[b][tuple(cell)]
                weights = []
                for p in here:
                    e = spline[b][p] - (fine[b][p] + change[b][p])
                    weights.append(share[p] * abs(e) * (e * r > 0) + abs(r) * max(1 - share[p], 0.05))
                for p, w in zip(here, weights, strict=True):
                    total[b][p] += r * w / np.mean(weights) if np.isfinite(r) and r else 0
        side = method.window or {5.0: 13, 2.5: 9, 4.0: 11}[pair.ratio]
        for at in np.argwhere(index == k):
            near = [p for p in around(at, side, shape) if ok[p]]
            far = np.array(
                [np.sqrt(((features[(slice(None), *p)] - features[(slice(None), *at)]) ** 2).sum()) for p in near]
            )
            last = np.sort(far)[: method.similar][-1]
            near = [p for p, d in zip(near, far, strict=True) if d <= last * (1 + 1e-6)]
            w = np.array([1 / (1 + np.hypot(*(np.array(p) - at)) / (side / 2)) for p in near])
            values = np.stack([total[(slice(None), *p)] for p in near])
            mean = (w[:, None] * values).sum(axis=0) / w.sum()
            spot = (slice(None), *at)
            image[spot] = fine[spot] + mean
            variance[spot] = (w[:, None] * (values - mean) ** 2).sum(axis=0) / w.sum()
    return image, variance, index >= 0


@pytest.mark.parametrize("cloudy", [0.0, 0.4])
@pytest.mark.parametrize("grid", GRIDS)
def test_it_is_the_formula(grid, cloudy, monkeypatch):
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    # The guide of day 5 has an LR image of its date, the other ones do not.
    tree = scenes.site(seed=3, guides=(5, 20, 40), cloudy=cloudy, **GRIDS[grid])
    options = {"classes": 4, "pure": 20} if cloudy else {"classes": 3, "similar": 7, "window": 7}
    image, variance, found = slow(tree, FSDAF(**options))
    out = run(tree, **options)
    assert found.mean() > 0.3
    np.testing.assert_array_equal(out["filled"].values, out["valid"].values & ~found)
    np.testing.assert_allclose(out["reflectance"].values[:, found], image[:, found], rtol=0, atol=1e-5)
    assert (out["uncertainty"].values[:, found] ** 2 > variance[:, found] - 1e-6).all()


def still(tree, add=0.0):
    """The first guide, without clouds, and a target that shows it at all dates, plus a change."""
    first = scenes.change(tree, guide=lambda s: s.isel(time=[0]))
    guide = group(first, "guide")
    low, _ = down(guide["reflectance"].values[0], guide["valid"].values[0], pair_of(first))
    return scenes.change(first, target=lambda s: s.assign(reflectance=s["reflectance"] * 0 + (low + add)))


@pytest.mark.parametrize("grid", GRIDS)
def test_without_change_the_guide_comes_back(grid):
    tree = still(scenes.site(cloudy=0.0, seed=1, **GRIDS[grid]))
    out, wanted = run(tree), group(tree, "guide")["reflectance"].values[0]
    found = ~out["filled"].values
    assert found.mean() > 0.5
    np.testing.assert_allclose(out["reflectance"].values[:, found], wanted[:, found], rtol=0, atol=1e-6)
    assert (out["uncertainty"].values[:, found] < 1e-6).all()


@pytest.mark.parametrize("bands", [1, 3])
def test_a_change_that_is_the_same_everywhere_is_added(bands):
    change = np.array([0.07, -0.02, 0.0], np.float32)[:bands, None, None]
    tree = still(scenes.site(cloudy=0.0, seed=1, n_bands=bands), change)
    wanted = group(tree, "guide")["reflectance"].values[0] + change
    np.testing.assert_allclose(run(tree)["reflectance"].values, wanted, rtol=0, atol=2e-6)


def test_rounding_of_positions_does_not_show_in_tiles():
    # Centres of LR and HR pixels coincide, up to the rounding of the offset of a tile: 5/3 is not a float.
    tree = scenes.site(n=90, ratio=5 / 3, seed=3)
    whole, tiled = (
        fuse(tree, method=FSDAF(similar=1), dates=[scenes.day(14)], tile=t).isel(time=0)["reflectance"].values
        for t in (4096, 32)
    )
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6)


def kinds(n=100, seed=0):
    """(y, x) three kinds of parcels and (2, 3) their reflectance."""
    kind = np.random.default_rng(seed).integers(0, 3, (n // 10 + 1, n // 10 + 1)).repeat(10, 0).repeat(10, 1)[:n, :n]
    return kind, np.array([[0.1, 0.2, 0.35], [0.3, 0.15, 0.2]], np.float32)


def test_kinds_of_parcels_that_change_each_in_their_way_are_told_apart():
    kind, levels = kinds()
    change = np.array([[0.1, -0.05, 0.02], [0.0, 0.08, -0.03]], np.float32)
    before, after = levels[:, kind], (levels + change)[:, kind]
    tree = scenes.site(n=100, cloudy=0.0, guides=(0,), targets=(0, 14))
    low = np.stack([down(i, np.ones(kind.shape, bool), pair_of(tree))[0] for i in (before, after)])
    moving = scenes.change(
        tree,
        guide=lambda s: s.assign(reflectance=s["reflectance"] * 0 + before),
        target=lambda s: s.copy().assign(reflectance=(s["reflectance"].dims, low)),
    )
    predictor = scenes.prepared(FSDAF(classes=3), moving, DAY)
    own = predictor.classes[0]
    order = [int(np.argmin(np.abs(levels[0] - v))) for v in own.centres[:, 0] * own.scale[0] + own.mean[0]]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(predictor.changes[0], change.T[order], rtol=0, atol=2e-3)
    error = np.abs(run(moving, classes=3)["reflectance"].values - after)
    assert error.mean() < 5e-4
    assert error.max() < 0.02
    # A single class leaves it to the residual.
    assert np.abs(run(moving, classes=1)["reflectance"].values - after).mean() > 5 * error.mean()


def test_the_class_changes_are_those_of_mixed_pixels():
    rng = np.random.default_rng(0)
    fractions = rng.dirichlet([0.3] * 4, 2000).astype(np.float32)
    truth = np.array([[0.1, -20.0], [0.0, 5.0], [-0.05, 30.0], [0.02, 0.0]])
    seen = fractions @ truth
    seen[::50] += 7 * seen.std(axis=0)  # land cover that changed
    found = class_changes(fractions, seen.astype(np.float32), 150)
    assert (np.abs(found - truth) < 0.02 * np.ptp(truth, axis=0)).all(), found
    assert (found >= seen.min(axis=0)).all()
    assert (found <= seen.max(axis=0)).all()


def test_class_changes_of_few_pixels():
    nothing = class_changes(np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32), 10)
    np.testing.assert_array_equal(nothing, np.zeros((3, 2)))
    one = class_changes(np.array([[0.2, 0.3, 0.5]], np.float32), np.array([[0.1, -1.0]], np.float32), 10)
    np.testing.assert_allclose(one, np.tile([0.1, -1.0], (3, 1)), rtol=0, atol=1e-7)
    # A class that is nowhere follows the mean.
    fractions = np.tile(np.array([[1, 0, 0], [0, 1, 0]], np.float32), (50, 1))
    change = np.tile(np.array([[0.0], [0.2]], np.float32), (50, 1))
    np.testing.assert_allclose(class_changes(fractions, change, 50)[:, 0], [0, 0.2, 0.1], rtol=0, atol=0.01)


def test_the_purest_pixels_are_those_of_the_largest_fractions():
    fractions = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.0, 1.0]], np.float32)
    assert [list(rows) for rows in purest(fractions, 2)] == [[0, 2], [3, 1]]
    assert [len(rows) for rows in purest(fractions, 9)] == [4, 4]


def test_classes_are_clusters():
    rng = np.random.default_rng(1)
    levels = np.array([[0.1, 300.0], [0.1, 310.0], [0.5, 300.0]])
    kind = rng.integers(0, 3, 3000)
    pixels = (levels[kind] + rng.normal(0, [0.01, 0.3], (3000, 2))).astype(np.float32)
    classes = find_classes(pixels, 3)
    got = classes(pixels.T[:, None], np.ones((1, 3000), bool))[0]
    assert all(len(set(got[kind == k])) == 1 for k in range(3))
    assert len(set(got)) == 3
    assert classes(pixels.T[:, None] * np.nan, np.zeros((1, 3000), bool)).max() == NONE
    for few in (np.zeros((0, 2)), np.full((1, 2), 0.3), np.full((50, 2), 0.3)):
        assert len(find_classes(few.astype(np.float32), 5).centres) == 1


def test_homogeneity_counts_the_own_class():
    classes = np.random.default_rng(3).integers(-1, 3, (9, 11)).astype(np.int8)
    share = homogeneity(classes, 5)
    for at in np.argwhere(classes >= 0):
        near = np.array([classes[p] for p in around(at, 5, classes.shape) if classes[p] >= 0])
        assert share[tuple(at)] == pytest.approx((near == classes[tuple(at)]).mean())


def test_what_is_shared_out_is_the_residual():
    grids = GridPair(*scenes.boxes(31, 2.5, (-0.6, 1.2)))
    rng = np.random.default_rng(4)
    valid, share = rng.random((31, 31)) > 0.4, rng.random((31, 31)).astype(np.float32)
    share[:10] = 1  # homogeneous, and the spline disagrees in places
    residual = rng.normal(0, 0.1, (2, *grids.lr.shape)).astype(np.float32)
    residual[:, 3] = 0
    parts = share_out(residual, rng.normal(0, 0.1, (2, 31, 31)).astype(np.float32), share, valid, grids)
    assert (parts[:, ~valid] == 0).all()
    for cell in np.ndindex(*grids.lr.shape):
        here = [p for p in np.argwhere(valid) if (owner(grids.y, p[0]), owner(grids.x, p[1])) == cell]
        if here:
            mine = np.stack([parts[:, y, x] for y, x in here])
            np.testing.assert_allclose(mine.mean(axis=0), residual[(slice(None), *cell)], rtol=0, atol=1e-6)
            assert (mine * residual[(slice(None), *cell)] >= 0).all()


def test_blocks_stand_for_a_large_image(monkeypatch):
    tree = scenes.site(n=96, guides=(0, 20), ratio=4.0, offset=(0.0, 50.0), seed=5)
    whole = scenes.prepared(FSDAF(classes=3, pure=10**6), tree, DAY)
    monkeypatch.setattr(samples, "SAMPLE_BLOCKS", 3)
    monkeypatch.setattr(samples, "SAMPLE_SIDE", 16)
    monkeypatch.setattr(mixtures, "SAMPLE", 900)
    blocks = scenes.prepared(FSDAF(classes=3, pure=10**6), tree, DAY)
    assert 0 < blocks.counts[1] < whole.counts[1]
    np.testing.assert_allclose(blocks.classes[1].mean, whole.classes[1].mean, rtol=0, atol=0.05)
    guide, target = group(tree, "guide"), group(tree, "target").sel(time=blocks.targets)
    assert not blocks(Tile(guide, target, pair_of(tree)))["filled"].values.all()
    # The same numbers of LR pixels as counted by hand: no block's edge enters.
    target_clear = group(tree, "target").sel(time=DAY)["valid"].values
    _, known = down(guide["reflectance"].values, guide["valid"].values, pair_of(tree))
    assert whole.counts[1] == (target_clear & known[1]).sum()


def test_the_choices_tell_what_the_classes_come_from():
    tree = scenes.site(seed=1, guides=(0, 5), cloudy=0.0, n=40)
    gone = scenes.change(tree, target=lambda s: s.assign(valid=s["valid"] & (s["time"] != DAY)))
    chosen = scenes.prepared(FSDAF(classes=2), tree, DAY).choices
    assert chosen["lr_at_guides"] == ["degraded guide", "target, degraded guide in its gaps"]
    assert chosen["class_changes"] == ["2 classes, from 64 LR pixels"] * 2
    assert scenes.prepared(FSDAF(), gone, DAY).choices["class_changes"] == ["none: no clear LR pixel"] * 2


@pytest.mark.parametrize("options", [{"classes": 0}, {"classes": 101}, {"pure": 0}, {"similar": 0}, {"window": -1}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=f"^{next(iter(options))}: "):
        FSDAF(**options)
