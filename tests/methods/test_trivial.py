"""Temporal, spatial and difference interpolation against slow plain NumPy."""

import numpy as np
import pytest

from sitsfuse.core.site import group, pair_of
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods.shared import rehearsal
from sitsfuse.operators.updown import down
from tests.helpers import scenes


def arrays(tree, name):
    series = group(tree, name)
    return series["reflectance"].values, series["valid"].values


def keys(d):
    """Cubic convolution with a = -1/2, as Keys 1981 writes it."""
    d = abs(d)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    if d < 2:
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return 0.0


def slow_up(image, shape, ratio, offset):
    """(y, x) LR image at the centres of HR pixels: 16 neighbours each, the edge repeated."""
    out = np.zeros(shape)
    rows, cols = image.shape
    for i in range(shape[0]):
        for j in range(shape[1]):
            y, x = (i + 0.5 - offset[0]) / ratio - 0.5, (j + 0.5 - offset[1]) / ratio - 0.5
            total = 0.0
            for a in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for b in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    value = image[min(max(a, 0), rows - 1), min(max(b, 0), cols - 1)]
                    total += value * keys(y - a) * keys(x - b)
            out[i, j] = total
    return out


@pytest.mark.parametrize("day", [0, 3, 14, 20, 33, 40])
def test_temporal_is_numpy_interp_over_the_valid_guides(day):
    tree = scenes.site(n=30, ratio=3, guides=(2, 10, 20, 31), targets=(0, 40), cloudy=0.7, seed=1)
    days = np.array([2, 10, 20, 31])
    values, valid = arrays(tree, "guide")
    out = fuse(tree, method="temporal", dates=[scenes.day(day)])
    for i in range(30):
        for j in range(30):
            ok = valid[:, i, j]
            assert out["valid"].values[0, i, j] == ok.any()
            for band in range(2):
                got = out["reflectance"].values[0, band, i, j]
                if ok.any():  # numpy.interp holds the first and the last value, as the method does
                    assert got == pytest.approx(np.interp(day, days[ok], values[ok, band, i, j]), abs=1e-6)
                else:
                    assert np.isnan(got)
    np.testing.assert_array_equal(out["filled"].values, out["valid"].values)


def test_temporal_needs_no_uncertainty_on_the_day_of_a_guide(monkeypatch):
    tree = scenes.site(n=30, ratio=3, guides=(0, 10, 20), targets=(0, 5, 10), cloudy=0.0)
    out = fuse(tree, method="temporal", dates=[scenes.day(5), scenes.day(10)])
    np.testing.assert_array_equal(out["reflectance"].values[1], arrays(tree, "guide")[0][1])
    np.testing.assert_array_equal(out["uncertainty"].values[1], 0)
    assert (out["uncertainty"].values[0] > 0).all()
    # Before it is calibrated, it is the scatter of the guides.
    monkeypatch.setattr(rehearsal.Rehearsal, "calibrate", lambda *_: None)
    out = fuse(tree, method="temporal", dates=[scenes.day(5), scenes.day(10)])
    spread = arrays(tree, "guide")[0].std(axis=0)
    np.testing.assert_allclose(out["uncertainty"].values[0], spread, atol=1e-6)


@pytest.mark.parametrize(("ratio", "offset"), [(3.0, (0.0, 0.0)), (2.5, (0.0, 0.0)), (4.0, (-1.5, 0.7))])
def test_spatial_is_cubic_convolution(ratio, offset):
    tree = scenes.site(n=24, ratio=ratio, offset=offset, targets=(5, 14), cloudy=0.0, seed=2)
    out = fuse(tree, method="spatial", dates=[scenes.day(14)], tile=16)
    values, clear = arrays(tree, "target")
    assert clear.all()
    for band in range(2):
        wanted = slow_up(values[1, band], (24, 24), ratio, offset)
        ok = out["valid"].values[0]
        assert ok.mean() > 0.75
        np.testing.assert_allclose(out["reflectance"].values[0, band][ok], wanted[ok], rtol=0, atol=2e-6)


def test_spatial_is_valid_where_the_target_is():
    tree = scenes.site(n=30, ratio=3, cloudy=0.5, seed=3)
    out = fuse(tree, method="spatial", dates=[scenes.day(14)])
    clear = arrays(tree, "target")[1][1].repeat(3, 0).repeat(3, 1)
    assert not clear.all()
    np.testing.assert_array_equal(out["valid"].values[0], clear)


@pytest.mark.parametrize(("ratio", "offset", "day"), [(3.0, (0, 0), 14), (2.5, (0, 0), 5), (3.0, (-1.2, 0.6), 33)])
def test_difference_interpolates_differences_in_time(ratio, offset, day):
    tree = scenes.site(n=30, ratio=ratio, offset=offset, guides=(2, 10, 20, 30), cloudy=0.0, seed=4)
    plain = {"anchor": "guides", "iterations": 1}
    out = fuse(tree, method="difference", options=plain, dates=[scenes.day(day)], tile=16)
    guides, valid = arrays(tree, "guide")
    target = arrays(tree, "target")[0][[5, 14, 33].index(day)]
    coarse, ok = down(guides, valid, pair_of(tree))
    assert ok.all()
    # The LR image covers all HR pixels but for less than a pixel at the border.
    inner = slice(2, 27)
    for band in range(2):
        detail = np.stack([guides[k, band] - slow_up(coarse[k, band], (30, 30), ratio, offset) for k in range(4)])
        between = np.apply_along_axis(lambda line: np.interp(day, [2, 10, 20, 30], line), 0, detail)
        wanted = between + slow_up(target[band], (30, 30), ratio, offset)
        got = out["reflectance"].values[0, band]
        np.testing.assert_allclose(got[inner, inner], wanted[inner, inner], rtol=0, atol=5e-6)


def test_difference_fades_to_the_guides_far_from_what_the_target_shows():
    # The target covers the left third and is too bright by 0.05 there.
    tree = scenes.site(n=90, ratio=5, cloudy=0.0, guides=(0, 20), targets=(0, 20))
    part = scenes.change(
        tree, target=lambda s: s.isel(x=slice(0, 6)).assign(reflectance=s["reflectance"][..., :6] + np.float32(0.05))
    )
    plain = fuse(tree, method="temporal", dates=[scenes.day(20)])["reflectance"].values[0]
    for tile in (16, 1024):
        out = fuse(part, method="difference", dates=[scenes.day(20)], tile=tile)
        added = out["reflectance"].values[0] - plain
        np.testing.assert_allclose(added[..., 5:25], 0.05, atol=0.005)
        np.testing.assert_allclose(added[..., 46:], 0, atol=1e-7)
        middle = added[0, 45, 30:46]
        assert (np.diff(middle) < 1e-6).all(), middle
        np.testing.assert_array_equal(out["filled"].values[0], np.arange(90)[None].repeat(90, 0) >= 30)


def test_difference_under_a_cloud_carries_the_residual_in_and_fades():
    tree = scenes.site(n=150, ratio=5, cloudy=0.0, guides=(0, 20), targets=(0, 20))
    cloud = np.zeros((30, 30), bool)
    cloud[5:25, 5:25] = True
    veiled = scenes.change(
        tree,
        target=lambda s: scenes.poison(
            s.assign(reflectance=s["reflectance"] + np.float32(0.05), valid=s["valid"] & ~cloud), 1e6
        ),
    )
    plain = fuse(tree, method="temporal", dates=[scenes.day(20)])["reflectance"].values[0]
    out = fuse(veiled, method="difference", dates=[scenes.day(20)])
    added = out["reflectance"].values[0] - plain
    np.testing.assert_array_equal(out["filled"].values[0], cloud.repeat(5, 0).repeat(5, 1))
    np.testing.assert_allclose(added[:, 75, :20], 0.05, atol=0.005)
    np.testing.assert_allclose(added[:, 75, 60:90], 0, atol=1e-7)
    assert 0.005 < added[0, 75, 33] < 0.05


def test_the_uncertainty_of_spatial_interpolation_is_the_same_in_tiles():
    # Few valid LR pixels: what fills the others is filled again for their local deviation.
    tree = scenes.site(n=200, ratio=5, seed=3)
    keep = np.random.default_rng(0).random(group(tree, "target")["valid"].shape) < 0.2
    sparse = scenes.change(tree, target=lambda s: s.assign(valid=s["valid"] & keep))
    whole, tiled = (fuse(sparse, method="spatial", tile=tile) for tile in (4096, 16))
    np.testing.assert_array_equal(whole["uncertainty"].values, tiled["uncertainty"].values)
