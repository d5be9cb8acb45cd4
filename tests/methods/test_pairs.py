"""Which guide and which LR image each pixel gets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitsfuse.core.dates import days
from sitsfuse.core.site import group, pair_of
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import Tile
from sitsfuse.methods.shared.dates import Calendar
from sitsfuse.methods.shared.pairs import NONE, Pairs, choose, doubt, odd_window
from sitsfuse.methods.shared.samples import sample_windows, statistics
from sitsfuse.operators.updown import down
from tests.helpers import scenes


@settings(max_examples=60)
@given(
    st.lists(st.integers(-30, 30), min_size=1, max_size=7, unique=True).map(sorted),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_choice_per_pixel(offsets, count, seed):
    offsets = np.array(offsets, float)
    valid = np.random.default_rng(seed).random((len(offsets), 3, 4)) < 0.6
    index = choose(valid, offsets, count)
    assert index.shape == (count, 3, 4)
    for y, x in np.ndindex(3, 4):
        free = sorted(np.flatnonzero(valid[:, y, x]), key=lambda k: (abs(offsets[k]), offsets[k]))
        wanted = free[:1]
        if free:
            beyond = [k for k in free[1:] if (offsets[k] > 0) != (offsets[free[0]] > 0)]
            rest = beyond[:1] + [k for k in free[1:] if k not in beyond[:1]]
            wanted += rest
        wanted = (wanted + [NONE] * count)[:count]
        assert index[:, y, x].tolist() == wanted


def tile_of(tree, dates):
    guide, target = group(tree, "guide"), group(tree, "target")
    return Tile(guide, target.sel(time=dates.targets), pair_of(tree))


@pytest.mark.parametrize("ratio", [5.0, 2.5])
def test_an_observed_lr_image_within_a_day_is_preferred(ratio):
    tree = scenes.site(ratio=ratio, guides=(0, 10, 21, 40), targets=(0, 11, 14, 22, 33), cloudy=0.5)
    date = group(tree, "target")["time"].values[2]
    dates = Calendar.of(tree).on(date)
    # The date itself, and the images within a day of a guide.
    wanted = [scenes.START + np.timedelta64(d, "D") for d in (0, 11, 14, 22)]
    np.testing.assert_array_equal(dates.targets, np.array(wanted, dates.targets.dtype))
    assert [text.startswith("target") for text in dates.record["lr_at_guides"]] == [True, True, True, False]
    values, valid = dates.lr_images(tile_of(tree, dates))
    guide, target = group(tree, "guide"), group(tree, "target")
    own, has_own = down(guide["reflectance"].values, guide["valid"].values, pair_of(tree))
    for k, day in enumerate((0, 11, 22, None)):
        clear, image = np.zeros_like(has_own[k]), own[k]
        if day is not None:
            there = target.sel(time=scenes.START + np.timedelta64(day, "D"))
            clear, image = there["valid"].values, there["reflectance"].values
            assert clear.any()
            assert not clear.all()
        np.testing.assert_array_equal(valid[k], clear | has_own[k])
        np.testing.assert_array_equal(values[k][:, clear], image[:, clear])
        rest = has_own[k] & ~clear
        np.testing.assert_array_equal(values[k][:, rest], own[k][:, rest])


def test_what_is_interpolated_in_time_was_not_observed():
    tree = scenes.site(guides=(0, 10, 20), targets=(5, 15), cloudy=0.0)
    dates = Calendar.of(tree).on(np.datetime64(scenes.day(10)))
    assert dates.record["lr_at_guides"] == ["degraded guide"] * 3
    out = fuse(tree, method="starfm", dates=[scenes.day(10)])
    assert out["interpolated"].values.all()
    # The guide of the day itself is near, but the target of the day is only a guess.
    assert not np.array_equal(out["reflectance"].values[0], group(tree, "guide")["reflectance"].values[1])


def test_a_cloudy_guide_pixel_falls_back_to_the_next():
    tree = scenes.site(guides=(0, 10, 20, 30), targets=(14,), cloudy=0.4, seed=3)
    dates = Calendar.of(tree).on(np.datetime64(scenes.day(14)))
    pairs = Pairs.of(tile_of(tree, dates), dates, 2)
    clear = group(tree, "guide")["valid"].values
    assert set(np.unique(pairs.index)) >= {0, 1, 2, 3}
    for index in pairs.index:
        for k in pairs.used():
            assert clear[k][index == k].all()
            assert pairs.valid[k][index == k].all()
    nearest = pairs.index[0]
    offsets = days(dates.guides, dates.date)
    for k in range(4):
        nearer = np.abs(offsets) < abs(offsets[k])
        assert not pairs.valid[nearer][:, nearest == k].any()


def test_two_pairs_disagree_or_one_does_not_know():
    images = np.array([0.1, 0.3], np.float32).reshape(2, 1, 1, 1)
    none = np.zeros_like(images)
    half = np.full_like(images, 0.5)
    assert doubt(images, half, none)[0, 0, 0] == pytest.approx(0.1)
    alone = np.array([1.0, 0.0], np.float32).reshape(2, 1, 1, 1)
    change = np.full_like(images, 0.04)
    assert doubt(images, alone, change)[0, 0, 0] == pytest.approx(0.04)
    assert doubt(images[:1].repeat(2, 0), half, change)[0, 0, 0] == pytest.approx(0.04 / np.sqrt(2))


def test_windows_scale_with_the_ratio():
    assert [odd_window(0, 10, r) for r in (2.5, 5, 8, 16)] == [25, 51, 51, 51]
    assert odd_window(0, 10, 40) == 81  # the LR pixels beside the one in the middle
    assert odd_window(31, 10, 5) == odd_window(30, 10, 5) == 31
    assert all(odd_window(0, 8, r) % 2 for r in np.linspace(1.1, 20, 50))


def test_statistics_are_of_clear_pixels_only():
    tree = scenes.change(scenes.site(cloudy=0.5), guide=lambda s: scenes.poison(s, 1e6))
    mean, std = statistics(group(tree, "guide"))
    guide = group(tree, "guide")
    for k in range(guide.sizes["time"]):
        pixels = guide["reflectance"].values[k][:, guide["valid"].values[k]].astype(float)
        np.testing.assert_allclose(mean[k], pixels.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(std[k], pixels.std(axis=1), rtol=1e-4)


def test_samples_lie_within_a_large_image_and_do_not_overlap():
    assert sample_windows((700, 1024)) == [(slice(0, 700), slice(0, 1024))]
    shape = (1025, 5000)
    seen = np.zeros(shape, int)
    for rows, cols in sample_windows(shape):
        assert rows.stop <= shape[0]
        assert cols.stop <= shape[1]
        seen[rows, cols] += 1
    assert seen.max() == 1
    assert seen[:256, :256].all()
    assert seen[-600:, -600:].any()
