"""What DDI learns from held-out LR pixels."""

import dataclasses

import dask.array as da
import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import make_series
from sitsfuse.core.site import group, pair_of
from sitsfuse.methods.ddi import choice as select
from sitsfuse.methods.ddi import windows as reading
from sitsfuse.operators.updown import down
from tests.helpers import scenes


def windows_of(tree, date="2020-05-15", most=40_000, seed=0):
    return reading.read_windows(
        group(tree, "guide"), group(tree, "target"), np.datetime64(date), pair_of(tree), most, seed
    )


# --- folds


@settings(max_examples=60)
@given(
    rows=st.integers(3, 25), cols=st.integers(3, 25), count=st.integers(1, 3), k=st.integers(2, 5),
    block=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_folds_are_whole_blocks_and_balanced(rows, cols, count, k, block, seed):
    usable = np.random.default_rng(seed).random((count, rows, cols)) < 0.6
    folds = select.block_folds(usable, k, block, seed)
    assert folds.shape == usable.shape
    blocks = {}
    for w, y, x in np.argwhere(usable):
        blocks.setdefault((w, y // block, x // block), set()).add(int(folds[w, y, x]))
    if len(blocks) < k:
        return  # blocks must shrink then
    assert all(len(found) == 1 for found in blocks.values())
    sizes = np.bincount([next(iter(f)) for f in blocks.values()], minlength=k)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_a_block_larger_than_the_scene_is_cut():
    usable = np.ones((1, 12, 12), bool)
    assert set(np.unique(select.block_folds(usable, 4, 50, 0))) == {0, 1, 2, 3}


def test_neighbours_are_all_windows_of_four():
    usable = np.random.default_rng(3).random((2, 5, 6)) < 0.5
    number = {tuple(at): i for i, at in enumerate(np.argwhere(usable))}
    wanted = set()
    for w in range(2):
        for y in range(-1, 5):
            for x in range(-1, 6):
                four = tuple(number.get((w, y + dy, x + dx), -1) for dy in (0, 1) for dx in (0, 1))
                wanted |= {four} if max(four) >= 0 else set()
    found = select.neighbours(usable)
    assert len(found) >= len(wanted)
    assert set(map(tuple, found.tolist())) == wanted


# --- reading


def test_small_scenes_are_read_whole():
    tree = scenes.site(seed=1)
    found = windows_of(tree)
    guide, target = group(tree, "guide"), group(tree, "target")
    values, valid = down(guide["reflectance"].values, guide["valid"].values, pair_of(tree), 0.3)
    assert found.guide.shape == (5, 2, 1, 12, 12)
    np.testing.assert_array_equal(found.guide_valid[:, 0], valid)
    np.testing.assert_allclose(found.guide[:, :, 0], np.where(valid[:, None], values, 0), atol=1e-6)
    np.testing.assert_array_equal(found.target[:, 0], target["reflectance"].values[1])
    np.testing.assert_array_equal(found.usable[0], target["valid"].values[1] & valid.any(axis=0))
    np.testing.assert_array_equal(found.times, target["time"].values)


def test_windows_of_a_large_scene_are_those_of_the_whole():
    # 140 × 140 LR pixels are cut into 3 × 3 windows.
    tree = scenes.site(n=280, ratio=2, guides=(0, 20), targets=(0, 14, 20), seed=2)
    found = windows_of(tree)
    values, valid = down(
        group(tree, "guide")["reflectance"].values, group(tree, "guide")["valid"].values, pair_of(tree), 0.3
    )
    assert found.guide.shape[2] == 9
    assert int(found.guide_valid.sum()) == int(valid.sum())
    assert found.usable.sum() == (group(tree, "target")["valid"].values[1] & valid.any(axis=0)).sum()
    np.testing.assert_allclose(found.guide.sum(dtype=float), values[np.isfinite(values)].sum(dtype=float), rtol=1e-5)


class Counting:
    """An array of smooth values that counts what is read of it."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.ndim, self.read = shape, np.dtype(dtype), len(shape), 0

    def __getitem__(self, key):
        grids = np.meshgrid(*(np.arange(*s.indices(n)) for s, n in zip(key, self.shape, strict=True)), indexing="ij")
        self.read += grids[0].size
        if self.dtype == bool:
            return np.ones(grids[0].shape, bool)
        return (0.2 + 0.1 * np.sin(grids[-1] / 50 + grids[0]) * np.cos(grids[-2] / 70)).astype(np.float32)


def test_large_scenes_are_sampled():
    n = 20_000
    hr = GeoBox((n, n), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32631")
    lr = GeoBox((n // 5, n // 5), hr.affine @ Affine.scale(5), hr.crs)
    sources = {}

    def lazy(shape, dtype, chunks):
        source = Counting(shape, dtype)
        sources[shape] = source
        return da.from_array(source, chunks, meta=np.empty((0,) * len(shape), dtype))

    def series(side, days, box):
        t = len(days)
        return make_series(
            lazy((t, 1, side, side), "f4", (1, 1, 1024, 1024)),
            lazy((t, side, side), bool, (1, 1024, 1024)),
            scenes.START + np.array(days, "timedelta64[D]"),
            ["red"],
            box,
        )

    guide, target = series(n, (0, 10, 20), hr), series(n // 5, (5, 15), lr)
    args = guide, target, np.datetime64(scenes.day(5)), GridPair(hr, lr), 10_000
    found = reading.read_windows(*args, 0)
    assert 10_000 <= found.usable.sum() < 10_000 + reading.WINDOW**2
    # A window and its halo of each guide, not a whole chunk, let alone the scene.
    windows = found.usable.shape[0]
    assert sources[(3, 1, n, n)].read < windows * 3 * (5 * reading.WINDOW + 40) ** 2
    again, other = reading.read_windows(*args, 0), reading.read_windows(*args, 1)
    np.testing.assert_array_equal(found.guide, again.guide)
    assert not np.array_equal(found.guide, other.guide)


def test_a_target_without_a_clear_pixel_gives_no_windows():
    tree = scenes.change(scenes.site(), target=lambda s: s.assign(valid=s["valid"] & False))
    assert windows_of(tree) is None


def test_a_missing_date_is_interpolated_in_time():
    tree = scenes.site(seed=3, targets=(5, 15), cloudy=0.0)
    found = windows_of(tree, scenes.day(12))
    values = group(tree, "target")["reflectance"].values
    np.testing.assert_allclose(found.target[:, 0], 0.3 * values[0] + 0.7 * values[1], atol=1e-6)
    assert len(found.times) == 3


# --- judging


@pytest.fixture
def judged():
    """Usable pixels, a target, temporal interpolation and the spread of networks."""
    rng = np.random.default_rng(5)
    usable = rng.random((1, 30, 30)) < 0.9
    n = int(usable.sum())
    target = rng.normal(0.2, 0.05, (2, n)).astype(np.float32)
    base = (target + rng.normal(0, 0.03, (2, n))).astype(np.float32)
    return usable, target, base, np.full((2, n), 0.01, np.float32)


def test_networks_that_are_right_are_trusted(judged):
    usable, target, base, spread = judged
    trial = select.judge(usable, target, base, target.copy(), np.zeros_like(target), spread)
    assert trial.alpha == pytest.approx(1, abs=1e-4)
    assert trial.error < 1e-3 < 0.1 < trial.base_error


def test_networks_that_are_half_way_off_are_half_trusted(judged):
    usable, target, base, spread = judged
    held = base + 2 * (target - base)
    trial = select.judge(usable, target, base, held, np.zeros_like(held), spread)
    assert trial.alpha == pytest.approx(0.5, abs=1e-4)
    assert trial.error < 1e-3


@pytest.mark.parametrize("kind", ["same", "opposite", "noise"])
def test_useless_networks_are_not_trusted(judged, kind):
    usable, target, base, spread = judged
    noise = np.random.default_rng(6).normal(0, 0.05, base.shape).astype(np.float32)
    held = {"same": base, "opposite": 2 * base - target, "noise": base + noise}[kind]
    trial = select.judge(usable, target, base, held, np.zeros_like(held), spread)
    assert trial.alpha < 0.05
    assert trial.error == pytest.approx(trial.base_error, rel=0.01)


def test_what_is_left_is_the_error_of_the_blend(judged):
    usable, target, base, spread = judged
    held = base + 2 * (target - base)
    trial = select.judge(usable, target, base, held, np.zeros_like(held), spread)
    np.testing.assert_allclose(trial.left, target - (base + 0.5 * (held - base)), atol=1e-5)
    np.testing.assert_allclose(trial.spread, 0.5 * spread, rtol=1e-4)


def test_the_scatter_of_a_single_network_is_taken_off(judged):
    # The mean of the networks is right, each of them scatters about it: held-out pixels alone would say less than 1.
    usable, target, base, spread = judged
    scatter = np.random.default_rng(9).normal(0, 0.03, target.shape).astype(np.float32)
    again = np.random.default_rng(10).normal(0, 0.03, target.shape).astype(np.float32)
    alone = select.judge(usable, target, base, target + scatter, np.zeros_like(scatter), spread)
    together = select.judge(usable, target, base, target + scatter, again, spread)
    assert alone.alpha < 0.7
    assert together.alpha == pytest.approx(1, abs=0.06)


def test_two_heads_that_are_about_as_good_go_together():
    heads = ["linear", "linear", "softmax", "softmax"]
    assert select.pick([1.0, 0.9, 0.95, 0.97], heads) == (1, 2)
    assert select.pick([1.0, 0.9, 1.2, 1.3], heads) == (1, None)
    assert select.pick([1.0, 0.9], ["linear", "linear"]) == (1, None)


# --- rehearsing


def rehearsal(noise, seed=8, bias=0.0, shift=0):
    """Guides and target images of the same days; the target sees what the guide sees, and noise."""
    rng = np.random.default_rng(seed)
    days = np.arange(0, 60, 10)
    # Changes that no other date foretells.
    scene = rng.normal(0.25, 0.05, (6, 2, 1, 25, 25)).astype(np.float32)
    seen = scene + rng.normal(0, 1, scene.shape).astype(np.float32) * np.float32(noise) + np.float32(bias)
    valid = np.ones((6, 1, 25, 25), bool)
    times = scenes.START + days.astype("timedelta64[D]")
    fields = {
        "guide": scene, "guide_valid": valid, "target": seen[2], "usable": valid[2], "series": seen,
        "series_valid": valid, "times": times.astype("datetime64[ns]") + np.timedelta64(shift, "D"),
    }  # fmt: skip
    rest = {f.name: np.ones(2, np.float32) for f in dataclasses.fields(reading.Windows) if f.name not in fields}
    return reading.Windows(**fields, **rest), times.astype("datetime64[ns]")


def test_a_noiseless_residual_is_confirmed():
    np.testing.assert_allclose(select.confirmed(*rehearsal(0.0)), 1, atol=0.02)


def test_noise_is_not_confirmed():
    assert (select.confirmed(*rehearsal(0.5)) < 0.1).all()


def test_noise_as_large_as_the_change_is_half_confirmed():
    np.testing.assert_allclose(select.confirmed(*rehearsal(0.05)), 0.5, atol=0.15)


def test_clouds_that_no_mask_shows_are_not_taken_for_noise():
    windows, times = rehearsal(0.0)
    cloudy = windows.series.copy()
    cloudy[..., :5, :5] += 0.5
    np.testing.assert_allclose(select.confirmed(dataclasses.replace(windows, series=cloudy), times), 1, atol=0.1)


def test_haze_is_not_taken_for_noise():
    windows, times = rehearsal(0.0)
    haze = np.linspace(0, 0.3, 25, dtype=np.float32)
    np.testing.assert_allclose(
        select.confirmed(dataclasses.replace(windows, series=windows.series + haze), times), 1, atol=0.1
    )


def test_a_constant_bias_does_not_count_as_noise():
    np.testing.assert_allclose(select.confirmed(*rehearsal(0.0, bias=0.05)), 1, atol=0.02)


def test_without_a_target_near_a_guide_the_residual_counts_in_full():
    np.testing.assert_array_equal(select.confirmed(*rehearsal(0.5, shift=400)), [1, 1])
