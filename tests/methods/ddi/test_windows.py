"""What DDI learns from held-out LR pixels."""

import dask.array as da
import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import make_series
from sitsfuse.core.site import group, pair_of
from sitsfuse.methods.ddi import windows as reading
from sitsfuse.methods.ddi.folds import block_folds
from sitsfuse.methods.shared.anchor import Anchor
from sitsfuse.operators.updown import down
from tests.helpers import scenes


def windows_of(tree, most=40_000, seed=0):
    return reading.read_windows(group(tree, "guide"), group(tree, "target"), pair_of(tree), most, seed)


# --- folds


@settings(max_examples=60)
@given(
    rows=st.integers(3, 25), cols=st.integers(3, 25), count=st.integers(1, 3), k=st.integers(2, 5),
    block=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_folds_are_whole_blocks_and_balanced(rows, cols, count, k, block, seed):
    usable = np.random.default_rng(seed).random((count, rows, cols)) < 0.6
    folds = block_folds(usable, k, block, seed)
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
    assert set(np.unique(block_folds(usable, 4, 50, 0))) == {0, 1, 2, 3}


# --- reading


def test_small_scenes_are_read_whole():
    tree = scenes.site(seed=1)
    found = windows_of(tree)
    guide, target = group(tree, "guide"), group(tree, "target")
    values, valid = down(guide["reflectance"].values, guide["valid"].values, pair_of(tree), 0.3)
    assert found.coarse.guides.shape == (5, 2, 1, 12, 12)
    np.testing.assert_array_equal(found.coarse.valid[:, 0], valid)
    clear = np.broadcast_to(valid[:, None], values.shape)
    np.testing.assert_allclose(found.coarse.guides[:, :, 0][clear], values[clear], atol=1e-6)
    assert np.isfinite(found.coarse.guides).all()
    image, seen = found.read(target, np.datetime64("2020-05-15"), Anchor.plain(2))
    np.testing.assert_array_equal(image[:, 0], target["reflectance"].values[1])
    np.testing.assert_array_equal(seen[0], target["valid"].values[1])


def test_windows_of_a_large_scene_are_those_of_the_whole():
    # 140 × 140 LR pixels are cut into 3 × 3 windows.
    tree = scenes.site(n=280, ratio=2, guides=(0, 20), targets=(0, 14, 20), seed=2)
    found = windows_of(tree)
    guide, target = group(tree, "guide"), group(tree, "target")
    values, valid = down(guide["reflectance"].values, guide["valid"].values, pair_of(tree), 0.3)
    assert found.coarse.guides.shape[2] == len(found.places) == 9
    assert int(found.coarse.valid.sum()) == int(valid.sum())
    image, seen = found.read(target, np.datetime64("2020-05-15"), Anchor.plain(2))
    assert int(seen.sum()) == int(target["valid"].values[1].sum())
    np.testing.assert_allclose(
        image.sum(where=seen[None], dtype=float),
        target["reflectance"].values[1].sum(where=target["valid"].values[1][None], dtype=float),
        rtol=1e-5,
    )
    clear = found.coarse.valid[:, None]
    total = found.coarse.guides.sum(where=clear, dtype=float)
    np.testing.assert_allclose(total, values[np.isfinite(values)].sum(dtype=float), rtol=1e-5)


def test_samples_hold_both_scales():
    tree = scenes.site(n=280, ratio=2, guides=(0, 20), targets=(0, 14, 20), seed=2)
    pair = pair_of(tree)
    places = windows_of(tree).places
    samples = reading.read_samples(group(tree, "guide"), group(tree, "target"), pair, places)
    assert len(samples) == reading.SAMPLES
    for sample in samples:
        values, valid = down(sample.values, sample.valid, sample.grids, 0.3)
        np.testing.assert_array_equal(sample.coarse_valid, valid)
        np.testing.assert_array_equal(sample.coarse, np.where(valid[:, None], values, 0))
        assert sample.series.shape[2:] == sample.grids.lr.shape


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
    args = guide, target, GridPair(hr, lr), 10_000
    found = reading.read_windows(*args, 0)
    assert 10_000 <= found.coarse.covered.sum() < 10_000 + reading.WINDOW**2
    # A window and its halo of each guide, not a whole chunk, let alone the scene.
    windows = len(found.places)
    assert sources[(3, 1, n, n)].read < windows * 3 * (5 * reading.WINDOW + 40) ** 2
    again, other = reading.read_windows(*args, 0), reading.read_windows(*args, 1)
    np.testing.assert_array_equal(found.coarse.guides, again.coarse.guides)
    assert found.places != other.places


def test_guides_without_a_clear_pixel_give_no_windows():
    tree = scenes.change(scenes.site(), guide=lambda s: s.assign(valid=s["valid"] & False))
    assert windows_of(tree) is None


def test_a_missing_date_is_interpolated_in_time():
    tree = scenes.site(seed=3, targets=(5, 15), cloudy=0.0)
    target = group(tree, "target")
    image, _ = windows_of(tree).read(target, np.datetime64(scenes.day(12)), Anchor.plain(2))
    values = target["reflectance"].values
    np.testing.assert_allclose(image[:, 0], 0.3 * values[0] + 0.7 * values[1], atol=1e-6)
