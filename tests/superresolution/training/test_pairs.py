"""Pairs of patches: each checked against the operators of `updown` on the whole image at the same place.

The first bands of the images hold the row and the column of each pixel, so that a patch tells where it lies and how it
was turned.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import GridPair
from sitsfuse.errors import InputError
from sitsfuse.operators.updown import down, up
from sitsfuse.superresolution.card import Normalisation
from sitsfuse.superresolution.training.pairs import MTF_LEVELS, SHIFT_STEP, Degradation, Image, Pairs, patch_side

FACTORS = (5.0, 2.5, 2.0, 7.72)
"""Two that are usual, one whose patches are always whole, one that never meets the HR grid."""
SIZE = 100
SCALE = (1.0, 1.0, 0.2)
NORM = Normalisation(scale=SCALE, context=2)


def coded(size=SIZE, seed=0, valid=None):
    """An image (row, column, noise)."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    values = np.stack([rows, cols, rng.uniform(0, 1, (size, size)).astype(np.float32)])
    return Image(values, np.ones((size, size), bool) if valid is None else valid)


def make(image, factor, patch=8, mtf=(0.3, 0.3), noise=0.0, shift=0.0, seed=0, norm=NORM):
    return Pairs([image], Degradation(factor, mtf, noise, shift), patch, norm, seed)


TURNS = [(quarter, mirror) for quarter in range(4) for mirror in (False, True)]


def turn(a, quarter, mirror):
    a = np.rot90(a, quarter, (-2, -1))
    return a[..., ::-1] if mirror else a


class Where(NamedTuple):
    y: int
    x: int
    turn: tuple


def locate(hr):
    """Upper left corner of an HR patch that is clear, and its turn."""
    side = hr.shape[-1]
    y, x = int(hr[0].min()), int(hr[1].min())
    plain = np.mgrid[y : y + side, x : x + side]
    (found,) = (t for t in TURNS if np.array_equal(turn(plain, *t), hr[:2]))
    return Where(y, x, found)


def grids(factor, patch, where, shift=(0.0, 0.0), size=SIZE):
    """The grids of a whole image and of the LR patch, which shares its centre with the HR patch."""
    edge = (round(patch * factor) - patch * factor) / 2
    box = GeoBox((size, size), Affine(1, 0, 0, 0, -1, 0), None)
    top, left = (c + edge + s * factor for c, s in zip((where.y, where.x), shift, strict=True))
    lr = GeoBox((patch, patch), Affine(factor, 0, left, 0, -factor, -top), None)
    return GridPair(box, lr)


# --- degraded pairs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", FACTORS)
def test_a_degraded_patch_is_that_of_the_whole_image(factor):
    image = coded()
    batch = make(image, factor).draw(range(24))
    assert batch.valid.all()
    turns = set()
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        where = locate(hr)
        turns.add(where.turn)
        whole, ok = down(image.values, image.valid, grids(factor, 8, where), 0.3)
        assert ok.all()
        np.testing.assert_allclose(lr, turn(whole, *where.turn), rtol=2e-5, atol=2e-5)
    assert len(turns) > 5  # flips and turns of both alike, and of every kind


@pytest.mark.parametrize("factor", [5.0, 7.72])
def test_every_flip_and_turn_and_every_place_comes(factor):
    found = [locate(hr) for hr in make(coded(), factor).draw(range(300)).hr]
    assert {w.turn for w in found} == set(TURNS)
    last = SIZE - round(8 * factor)
    for corner in ({w.y for w in found}, {w.x for w in found}):
        assert min(corner) <= 2
        assert max(corner) >= last - 2
        assert max(corner) <= last


@pytest.mark.parametrize("factor", FACTORS)
def test_a_displaced_patch_is_that_of_a_displaced_image(factor):
    """By whole steps, not further than four standard deviations, along each axis of its own."""
    image, sigma = coded(), 0.1
    batch = make(image, factor, shift=sigma).draw(range(40))
    shifts = []
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        where = locate(hr)
        plain, _ = down(image.values, image.valid, grids(factor, 8, where), 0.3)
        quarter, mirror = where.turn
        back = np.rot90(lr[..., ::-1] if mirror else lr, -quarter, (-2, -1))
        # The middle pixel's row and column are off by the displacement.
        shift = (back - plain)[:2, 4, 4] / factor
        np.testing.assert_allclose(shift, np.rint(shift / SHIFT_STEP) * SHIFT_STEP, atol=1e-3)
        shift = np.rint(shift / SHIFT_STEP) * SHIFT_STEP
        shifts.append(shift)
        displaced, ok = down(image.values, image.valid, grids(factor, 8, where, shift), 0.3)
        np.testing.assert_allclose(back[:, ok], displaced[:, ok], rtol=2e-5, atol=2e-5)
    moved = np.array(shifts)
    assert np.abs(moved).max() <= 4 * sigma + 1e-9
    assert 0.6 * sigma < moved.std() < 1.4 * sigma
    assert (moved[:, 0] != moved[:, 1]).any()


def test_the_mtf_is_drawn_between_its_bounds():
    image, bounds = coded(), (0.2, 0.5)
    levels = np.linspace(*bounds, MTF_LEVELS)
    batch = make(image, 5.0, mtf=bounds).draw(range(60))
    drawn = []
    for lr, hr in zip(batch.lr, batch.hr, strict=True):
        where = locate(hr)
        pair = grids(5.0, 8, where)
        misfit = [
            np.abs(turn(down(image.values, image.valid, pair, float(m))[0], *where.turn) - lr)[2].max() for m in levels
        ]
        assert min(misfit) < 1e-5
        assert sorted(misfit)[1] > 1e-4
        drawn.append(int(np.argmin(misfit)))
    assert len(set(drawn)) > 8
    assert {min(drawn), max(drawn)} == {0, MTF_LEVELS - 1}


@pytest.mark.parametrize("factor", FACTORS)
def test_the_bicubic_patch_is_the_lr_patch_interpolated(factor):
    batch = make(coded(), factor, shift=0.1, noise=0.3).draw(range(6))
    side = round(8 * factor)
    pair = grids(factor, 8, Where(0, 0, None), size=side)
    for lr, bicubic in zip(batch.lr, batch.bicubic, strict=True):
        image, ok = up(lr, np.ones((8, 8), bool), pair)
        assert ok.all()
        np.testing.assert_allclose(bicubic, image, rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(factor=st.floats(1.2, 9.0), seed=st.integers(0, 999))
def test_hr_lr_and_bicubic_lie_on_each_other(factor, seed):
    """What is linear in space stays so at LR and bicubic, in its place, whatever the factor and the turn."""
    batch = make(coded(120), factor, seed=seed, patch=8).draw(range(3))
    inner = slice(round(3 * factor), -round(3 * factor))
    for hr, bicubic in zip(batch.hr, batch.bicubic, strict=True):
        where = locate(hr)
        room = min(where.y, where.x, *(120 - c - hr.shape[-1] for c in where[:2]))
        if room > 2.5 * factor:  # elsewhere the degraded image holds reflections
            np.testing.assert_allclose(bicubic[:2, inner, inner], hr[:2, inner, inner], atol=2e-3 * factor)


@pytest.mark.parametrize("factor", FACTORS)
def test_the_operator_of_the_consistency_is_the_one_applied(factor):
    """↓ of an HR patch alone is ↓ of the whole image, but for the patch's border; and no turn changes it."""
    batch = make(coded(), factor).draw(range(4))
    again = batch.down[:, None] @ batch.hr @ batch.down[:, None].transpose(0, 1, 3, 2)
    np.testing.assert_allclose(again[:, :, 2:-2, 2:-2], batch.lr[:, :, 2:-2, 2:-2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(batch.down, batch.down[:, ::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(batch.down.sum(axis=-1), 1, atol=1e-5)


def test_noise_is_that_of_the_band_and_of_the_patch():
    flat = Image(np.full((2, SIZE, SIZE), 0.3, np.float32), np.ones((SIZE, SIZE), bool))
    norm = Normalisation(scale=(0.1, 0.4), context=2)
    batch = make(flat, 5.0, noise=0.5, patch=16, norm=norm).draw(range(80))
    deviation = (batch.lr - 0.3).std(axis=(-2, -1))
    np.testing.assert_allclose(deviation[:, 1] / deviation[:, 0], 4, rtol=0.4)
    level = deviation / norm.scale  # uniform between 0 and 0.5
    assert 0.21 < level.mean() < 0.29
    assert level.max() < 0.6
    assert level.min() < 0.05
    # White, independent from band to band, around 0.
    assert abs(np.corrcoef(batch.lr[:, 0].ravel(), batch.lr[:, 1].ravel())[0, 1]) < 0.03
    assert abs(float((batch.lr[:, 0] - 0.3).mean())) < 0.001
    np.testing.assert_allclose(make(flat, 5.0, noise=0.0, norm=norm).draw([0]).lr, 0.3, rtol=1e-6)


def test_what_the_network_sees_is_the_lr_patch_normalised():
    batch = make(coded(), 2.5, noise=0.1).draw(range(3))
    for lr, seen in zip(batch.lr, batch.seen, strict=True):
        for y, x in ((0, 0), (3, 4), (7, 2)):
            around = lr[:, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
            np.testing.assert_allclose(seen[:, y, x], (lr[:, y, x] - around.mean(axis=(1, 2))) / SCALE, atol=2e-4)


# --- the same patch, whenever it is drawn --------------------------------------------------------------------------


def arrays(batch):
    return [getattr(batch, f.name) for f in dataclasses.fields(batch)]


def test_a_number_stands_for_a_patch():
    pairs = make(coded(), 2.5, mtf=(0.2, 0.5), noise=0.1, shift=0.1)
    whole, alone, other = pairs.draw([5, 6, 7]), pairs.draw([6]), pairs.draw([7, 6])
    for a, b, c in zip(arrays(whole), arrays(alone), arrays(other), strict=True):
        np.testing.assert_array_equal(a[1], b[0])
        np.testing.assert_array_equal(a[1], c[1])
        assert a.flags.c_contiguous
    assert not np.array_equal(whole.hr[0], whole.hr[1])
    assert not np.array_equal(dataclasses.replace(pairs, seed=1).draw([6]).hr, alone.hr)


def test_shapes_and_types():
    batch = make(coded(), 2.5, patch=12).draw(range(3))
    shapes = [a.shape for a in arrays(batch)]
    assert shapes == [(3, 3, 12, 12)] * 2 + [(3, 3, 30, 30)] * 2 + [(3, 30, 30), (3, 12, 30)]
    assert [a.dtype.name for a in arrays(batch)] == ["float32"] * 4 + ["bool", "float32"]


# --- masks ---------------------------------------------------------------------------------------------------------


def cloudy(seed=0):
    """A mask of blocks."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.random((10, 10)) > 0.1, np.ones((10, 10))).astype(bool)


@pytest.mark.parametrize("poison", [np.nan, 1e6, np.inf])
def test_no_invalid_value_leaks(poison):
    valid = cloudy()
    clean = coded(valid=valid)
    poisoned = Image(np.where(valid, clean.values, np.float32(poison)), valid)
    how = {"mtf": (0.2, 0.5), "noise": 0.1, "shift": 0.2}
    a, b = (make(image, 2.5, **how).draw(range(12)) for image in (clean, poisoned))
    assert not a.valid.all()
    for one, other in zip(arrays(a), arrays(b), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("factor", [2.5, 5.0])
def test_a_pixel_is_valid_where_both_images_are(factor):
    valid = cloudy(3)
    image = coded(valid=valid)
    side = round(8 * factor)
    batch = make(image, factor).draw(range(20))
    checked = 0
    for k, hr in enumerate(batch.hr):
        # The corner, from the clear pixels of every possible turn.
        for t in TURNS:
            at = np.stack([np.where(batch.valid[k], v, -1) for v in hr[:2]])
            inside = turn(np.mgrid[:side, :side], *t)
            corner = (at - inside)[:, batch.valid[k]]
            if (corner == corner[:, :1]).all():
                break
        y, x = corner[:, 0].astype(int)
        _, seen = down(image.values, valid, grids(factor, 8, Where(y, x, t)), 0.3)
        pixels = ((np.arange(side) + 0.5) // factor).astype(int)
        expected = valid[y : y + side, x : x + side] & seen[np.ix_(pixels, pixels)]
        np.testing.assert_array_equal(batch.valid[k], turn(expected, *t))
        assert (hr[:, ~batch.valid[k]] == 0).all()
        checked += not expected.all()
    assert checked > 5


def test_patches_are_mostly_clear_where_that_can_be():
    valid = np.ones((SIZE, SIZE), bool)
    valid[:, :50] = False
    batch = make(coded(valid=valid), 2.5).draw(range(40))
    assert (batch.valid.mean(axis=(1, 2)) > 0.4).all()
    # An image that has none gives what it has, without an endless search.
    assert not make(coded(valid=np.zeros((SIZE, SIZE), bool)), 2.5).draw([0]).valid.any()


# --- real pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2.0, 2.5, 4.0])
def test_real_pairs_are_cut_at_the_same_place(factor):
    size, side = 80, round(8 * factor)
    image = coded(size)
    n = round(size / factor)
    # An LR image that holds its own pixels' centres in HR pixels, and a number of its own.
    rows, cols = (np.mgrid[:n, :n] + 0.5) * factor - 0.5
    lr = np.stack([rows, cols, np.random.default_rng(5).random((n, n))]).astype(np.float32)
    batch = make(dataclasses.replace(image, lr=lr), factor, noise=9.0, shift=9.0).draw(range(40))
    corners = set()
    for hr, got in zip(batch.hr, batch.lr, strict=True):
        where = locate(hr)
        corners.add(where[:2])
        top, left = where.y / factor, where.x / factor
        assert top == int(top)
        assert left == int(left)
        expected = lr[:, int(top) : int(top) + 8, int(left) : int(left) + 8]
        # As it is: no noise and no displacement are added to a real image.
        np.testing.assert_array_equal(got, turn(expected, *where.turn))
        np.testing.assert_allclose(got[:2].mean(axis=(1, 2)), hr[:2].mean(axis=(1, 2)), atol=1e-3)
    assert len(corners) > 10
    assert max(corners)[0] == size - side


def test_holes_of_a_real_lr_image_are_left_out():
    lr = np.ones((3, 40, 40), np.float32)
    lr[1, 10:14, 12:20] = np.nan
    image = dataclasses.replace(coded(80), lr=lr)
    batch = make(image, 2.0).draw(range(60))
    for k, hr in enumerate(batch.hr):
        # HR pixels of the hole are 0 and so left out of the coordinates.
        rows, cols = hr[:, batch.valid[k]][:2]
        assert not ((rows >= 20) & (rows < 28) & (cols >= 24) & (cols < 40)).any()
    assert not batch.valid.all()
    assert all(np.isfinite(a).all() for a in arrays(batch))
    np.testing.assert_allclose(batch.lr, 1)


# --- sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("smallest", "factor", "wanted", "side"),
    [
        (500, 5.0, 24, 24),
        (100, 5.0, 24, 20),
        (40, 5.0, 24, 8),
        (500, 2.5, 24, 24),
        (500, 2.5, 23, 22),  # so that the HR side is a whole number
        (21, 2.5, 24, 8),
        (500, 3.2, 24, 20),
        (28, 3.2, 24, 8),  # no multiple of 5 is large enough
        (500, 7.72, 24, 24),
    ],
)
def test_the_side_of_patches(smallest, factor, wanted, side):
    images = [coded(smallest), coded(600)]
    assert patch_side(images, factor, wanted) == side
    assert round(side * factor) <= smallest


def test_images_too_small_for_a_patch():
    with pytest.raises(InputError, match="39 HR pixels a side holds 7 LR pixels; give images of at least 8 LR pixels"):
        patch_side([coded(39)], 5.0, 24)
