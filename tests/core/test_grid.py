"""Pairs of grids and tiles: positions worked out in map coordinates."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair, coarser, same_grid
from sitsfuse.core.tiling import tiles
from sitsfuse.errors import InputError, missing_extra


def box(shape, size, x0=300_000.0, y0=5_000_000.0, crs="EPSG:32631"):
    return GeoBox(shape, Affine(size, 0, x0, 0, -size, y0), crs)


@st.composite
def pairs(draw):
    """An HR and an LR grid at any ratio and offset that overlap."""
    ratio = draw(st.sampled_from([1.5, 2.0, 2.5, 3.0, 5.0, 8.0, 16.0]) | st.floats(1.2, 9))
    hr = box((draw(st.integers(20, 90)), draw(st.integers(20, 90))), 4.0)
    dx, dy = draw(st.floats(-30, 30)), draw(st.floats(-30, 30))
    n = [max(1, math.ceil(k / ratio) + draw(st.integers(-2, 3))) for k in hr.shape]
    lr = box(tuple(n), 4.0 * ratio, 300_000.0 + dx, 5_000_000.0 + dy)
    try:
        return GridPair(hr, lr)
    except InputError:
        return GridPair(hr, box(tuple(n), 4.0 * ratio))


def test_an_error_is_one_line_with_place_problem_and_mend():
    error = InputError("a.tif", "is empty", "download it again")
    assert str(error) == "a.tif: is empty; download it again"
    assert (error.where, error.problem, error.mend) == ("a.tif", "is empty", "download it again")
    assert "sitsfuse[torch]" in str(missing_extra("torch", "torch"))


@given(pairs())
@settings(max_examples=50)
def test_axes_map_positions_as_the_map_does(pair):
    for axis, k in ((pair.x, 0), (pair.y, 1)):
        for position in (0.0, 3.5):
            world = pair.lr.affine @ (position, position)
            hr = (~pair.hr.affine @ world)[k]
            assert axis.ratio * position + axis.offset == pytest.approx(hr, abs=1e-5 * (1 + position))


def test_ratio():
    assert GridPair(box((10, 10), 10), box((4, 4), 25)).ratio == 2.5


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        (box((5, 5), 20, crs="EPSG:32632"), "32632 differs"),
        (box((10, 10), 10), "not larger"),
        (box((20, 20), 5), "not larger"),
        (box((5, 5), 20, x0=400_000.0), "overlap"),
        (box((5, 5), 20, x0=300_100.0), "overlap"),
        (box((5, 5), 20, x0=299_900.0), "overlap"),
        (box((5, 5), 20, y0=5_000_100.0), "overlap"),
        (GeoBox((5, 5), Affine(20, 0, 300_000, 0, 20, 4_999_900), "EPSG:32631"), "other way"),
        (GeoBox((5, 5), Affine(20, 1, 300_000, 0, -20, 5_000_000), "EPSG:32631"), "rotated"),
    ],
)
def test_grids_that_do_not_fit_are_refused(lr, message):
    with pytest.raises(InputError, match=message):
        GridPair(box((10, 10), 10), lr)


@given(pairs(), st.integers(5, 50), st.integers(0, 20))
@settings(max_examples=50)
def test_tiles_cover_every_pixel_once_with_their_halo(pair, size, halo):
    seen = np.zeros(pair.hr.shape, int)
    index = np.arange(seen.size).reshape(seen.shape)
    for tile in tiles(pair, size, halo):
        seen[tile.core] += 1
        np.testing.assert_array_equal(index[tile.block][tile.inner], index[tile.core])
        for core, block, n in zip(tile.core, tile.block, seen.shape, strict=True):
            assert block.start == max(core.start - halo, 0)
            assert block.stop == min(core.stop + halo, n)
    assert (seen == 1).all()


@given(pairs(), st.integers(5, 50), st.integers(0, 20))
@settings(max_examples=50)
def test_tiles_hold_every_lr_pixel_that_overlaps_their_block(pair, size, halo):
    for tile in tiles(pair, size, halo):
        for axis, block, lr in zip((pair.y, pair.x), tile.block, tile.lr, strict=True):
            edges = axis.ratio * np.arange(axis.n_lr + 1) + axis.offset
            overlaps = np.flatnonzero((edges[1:] > block.start + 1e-3) & (edges[:-1] < block.stop - 1e-3))
            assert set(overlaps) <= set(range(lr.start, lr.stop))


@given(pairs(), st.data())
@settings(max_examples=50)
def test_cropped_axes_agree_with_the_whole(pair, data):
    n = pair.x.n_hr
    start = data.draw(st.integers(0, n - 2))
    hr = slice(start, data.draw(st.integers(start + 1, n)))
    first = data.draw(st.integers(0, pair.x.n_lr - 1))
    lr = slice(first, pair.x.n_lr)
    axis = pair.x.crop(hr, lr)
    assert (axis.n_hr, axis.n_lr) == (hr.stop - hr.start, lr.stop - lr.start)
    assert axis.offset + hr.start == pytest.approx(pair.x.ratio * lr.start + pair.x.offset, abs=2e-6)


@pytest.mark.parametrize("ratio", [2.5, 10 / 3, 5, math.pi])
def test_a_cropped_pair_agrees_with_its_cropped_axes_far_from_the_origin(ratio):
    pair = GridPair(box((20_000, 20_000), 10), box((9000, 9000), 10 * ratio, 299_993.0, 5_000_004.0))
    hr = slice(int(3001 * ratio), int(3001 * ratio) + 50)
    lr = slice(3000, 3020)
    cropped = pair.crop((hr, hr), (lr, lr))
    for ours, theirs in ((cropped.y, pair.y.crop(hr, lr)), (cropped.x, pair.x.crop(hr, lr))):
        assert ours.ratio == theirs.ratio
        assert ours.offset == pytest.approx(theirs.offset, abs=1.1e-6)


def test_a_ratio_is_read_through_the_noise_of_coordinates():
    noisy = GridPair(box((100, 100), 10 + 1e-9), box((30, 30), 25 - 1e-9))
    assert noisy.x.ratio == noisy.y.ratio == 2.5


@pytest.mark.parametrize(("ratio", "shape"), [(5, (204, 200)), (2.5, (409, 400)), (1000, (1, 1))])
def test_a_coarser_grid_holds_whole_pixels_from_the_same_origin(ratio, shape):
    hr = box((1024, 1000), 10)
    lr = coarser(hr, ratio)
    assert tuple(lr.shape) == shape
    assert lr.affine.a == pytest.approx(10 * ratio)
    assert (lr.affine.c, lr.affine.f) == (hr.affine.c, hr.affine.f)
    with pytest.raises(InputError, match="larger than the image"):
        coarser(hr, 1001)


def test_same_grid_tolerates_rounding_only():
    a = box((100, 100), 10)
    assert same_grid(a, box((100, 100), 10, x0=300_000.005))
    assert not same_grid(a, box((100, 100), 10, x0=300_000.02))
    assert not same_grid(a, box((100, 100), 10.0002))
    assert not same_grid(a, box((100, 101), 10))
    assert not same_grid(a, box((100, 100), 10, crs="EPSG:32632"))
