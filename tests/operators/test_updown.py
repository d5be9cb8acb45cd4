"""↓ and ↑ against slow direct sums and analytic images."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sitsfuse.core.grid import Axis, GridPair
from sitsfuse.core.tiling import tiles
from sitsfuse.operators.matrices import FILL_RADIUS, down_halo, psf_sigma, up_halo
from sitsfuse.operators.updown import FILL_SIGMA, down, fill, up, up_mask

ratios = st.sampled_from([1.5, 2.0, 2.5, 3.0, 10 / 3, 5.0, 8.0])
offsets = st.sampled_from([0.0, 0.5, -0.25, 1 / 3, 2.7, -3.1])


def grids(shape, ratio, dy=0.0, dx=0.0, extra=0):
    """An HR grid of ``shape`` and an LR one moved by (dy, dx) HR pixels that covers it, more or less."""
    hr = GeoBox(shape, Affine(1, 0, 0, 0, -1, 0), "EPSG:32631")
    n = [math.ceil(k / ratio) + extra for k in shape]
    return GridPair(hr, GeoBox(tuple(n), Affine(ratio, 0, dx, 0, -ratio, -dy), "EPSG:32631"))


def centres(axis: Axis):
    """HR positions of the LR pixels' centres."""
    return axis.ratio * (np.arange(axis.n_lr) + 0.5) + axis.offset


def rng_image(shape, bands=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 2, (bands, *shape)).astype(np.float32)


def clouds(shape, seed=0, n=4, size=6):
    """A mask with a few rectangular holes, some of them single pixels."""
    rng = np.random.default_rng(seed)
    valid = np.ones(shape, bool)
    for k in range(n):
        y, x = (int(rng.integers(0, m)) for m in shape)
        valid[y : y + 1 + k * size // n, x : x + 1 + k * size // n] = False
    return valid


def slow_down(values, valid, pair, mtf):
    """2-D normalised convolution, pixel by pixel, with the PSF integrated numerically, and the share that is valid."""
    sigma = psf_sigma(mtf)
    out = np.full((values.shape[0], *pair.lr.shape), np.nan)
    share = np.zeros(pair.lr.shape)

    def taps(axis, i):
        centre = axis.ratio * (i + 0.5) + axis.offset
        s = sigma * axis.ratio
        where = np.arange(math.floor(centre - 3 * s), math.ceil(centre + 3 * s))
        away = (where[:, None] + (np.arange(1000) + 0.5) / 1000 - centre) / s
        weight = np.where(np.abs(away) < 3, np.exp(-0.5 * away**2), 0).mean(axis=1)
        low, high = max(centre - axis.ratio / 2, 0), min(centre + axis.ratio / 2, axis.n_hr)
        mirrored = np.pad(np.arange(axis.n_hr), 500, mode="symmetric")[where + 500]
        return mirrored, weight / weight.sum(), high - low >= axis.ratio / 2 - 1e-6

    rows = [taps(pair.y, i) for i in range(pair.lr.shape[0])]
    cols = [taps(pair.x, j) for j in range(pair.lr.shape[1])]
    for i, (ys, wy, in_y) in enumerate(rows):
        for j, (xs, wx, in_x) in enumerate(cols):
            weight = wy[:, None] * wx * valid[ys][:, xs]
            if in_y and in_x and weight.sum() > 0:
                share[i, j] = weight.sum()
                for b in range(values.shape[0]):
                    out[b, i, j] = (weight * np.where(valid, values[b], 0)[ys][:, xs]).sum() / weight.sum()
    return out, share


@given(ratios, offsets, offsets, st.sampled_from([0.1, 0.3, 0.5]), st.sampled_from([0.99, 0.5]), st.integers(0, 3))
@settings(max_examples=15)
def test_down_equals_a_slow_direct_convolution(ratio, dy, dx, mtf, footprint, seed):
    pair = grids((31, 26), ratio, dy, dx)
    values, valid = rng_image((31, 26), seed=seed), clouds((31, 26), seed)
    got, ok = down(values, valid, pair, mtf, footprint)
    want, share = slow_down(values, valid, pair, mtf)
    sure = np.abs(share - footprint) > 1e-4  # closer to the threshold, rounding decides
    np.testing.assert_array_equal(ok[sure], share[sure] > footprint)
    np.testing.assert_allclose(got[:, ok], want[:, ok], atol=5e-5)
    assert np.isnan(got[:, ~ok]).all()
    assert got.dtype == np.float32


@given(ratios, offsets, offsets)
@settings(max_examples=25)
def test_a_constant_stays_constant_both_ways(ratio, dy, dx):
    pair = grids((40, 37), ratio, dy, dx)
    valid = clouds((40, 37))
    low, ok = down(np.where(valid, np.float32(0.37), np.nan)[None], valid, pair)
    np.testing.assert_allclose(low[0][ok], 0.37, rtol=1e-6)
    assert np.isnan(low[0][~ok]).all()
    high, ok = up(low, ok, pair)
    np.testing.assert_allclose(high[0][ok], 0.37, rtol=2e-6)
    assert np.isnan(high[0][~ok]).all()


@given(ratios, offsets, offsets)
@settings(max_examples=25)
def test_a_ramp_stays_in_place_both_ways(ratio, dy, dx):
    """The value of an LR pixel is that of the scene at its centre: ↓ and ↑ shift nothing, at any ratio and offset."""
    pair = grids((120, 120), ratio, dy, dx)
    scene = lambda y, x: 0.01 * y[:, None] - 0.02 * x[None, :]  # noqa: E731
    pixels = np.arange(120) + 0.5
    low, ok = down(scene(pixels, pixels).astype(np.float32)[None], np.ones((120, 120), bool), pair)
    want = scene(centres(pair.y), centres(pair.x))
    reach = down_halo(ratio)
    inner = [(c > reach) & (c < 120 - reach) for c in (centres(pair.y), centres(pair.x))]
    inside = inner[0][:, None] & inner[1]
    assert inside.any()
    # Within a thousandth of an HR pixel: what the cut of the PSF leaves.
    np.testing.assert_allclose(low[0][inside], want[inside], atol=0.001 * 0.03)
    high, ok = up(want.astype(np.float32)[None], np.ones(pair.lr.shape, bool), pair)
    reach = up_halo(ratio)
    core = slice(reach, -reach)
    assert ok[core, core].all()
    np.testing.assert_allclose(high[0][core, core], scene(pixels, pixels)[core, core], atol=3e-6)


def test_up_is_keys_cubic_convolution():
    """A single lit LR pixel shows the kernel (Keys 1981, a = -1/2) at ratio 4."""
    pair = grids((36, 36), 4)
    lit = np.zeros((1, 9, 9), np.float32)
    lit[0, 4, 4] = 1
    high, _ = up(lit, np.ones((9, 9), bool), pair)
    d = np.abs((np.arange(36) + 0.5) / 4 - 4.5)
    kernel = np.where(d < 1, 1.5 * d**3 - 2.5 * d**2 + 1, np.where(d < 2, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2, 0))
    np.testing.assert_allclose(high[0], kernel[:, None] * kernel, atol=1e-6)


@pytest.mark.parametrize("mtf", [0.1, 0.2, 0.3, 0.45])
@pytest.mark.parametrize("ratio", [2.5, 5, 8])
def test_a_wave_at_the_nyquist_frequency_is_damped_by_the_mtf(mtf, ratio):
    n = int(60 * ratio)
    pair = grids((n, n), ratio)
    # Crests at the LR pixels' centres: one LR pixel is half a wavelength.
    wave = np.cos(np.pi * ((np.arange(n) + 0.5) / ratio - 0.5))
    pixel = np.sinc(0.5 / ratio)  # the HR pixels' own aperture, which integrating over them adds
    low, _ = down(np.broadcast_to(wave, (1, n, n)).astype(np.float32), np.ones((n, n), bool), pair, mtf)
    response = np.abs(low[0, 30, 10:-10])
    # The PSF is cut at 3 sigma: 0.3 % of it, less here than 0.01 of the response.
    np.testing.assert_allclose(response, mtf * pixel, atol=0.01)


def test_psf_sigma_is_the_inverse_of_the_gaussian_mtf():
    for mtf in (0.05, 0.3, 0.9):
        assert math.exp(-2 * (math.pi * psf_sigma(mtf) * 0.5) ** 2) == pytest.approx(mtf)
    for bad in (0, 1, -0.1, 1.2):
        with pytest.raises(ValueError, match="MTF"):
            psf_sigma(bad)


def test_an_mtf_per_band_equals_each_band_alone():
    pair = grids((40, 40), 2.5, 0.3, -0.4)
    values, valid = rng_image((40, 40), bands=3), clouds((40, 40))
    together, ok = down(values, valid, pair, [0.2, 0.4, 0.2])
    alone = [down(values[[k]], valid, pair, m) for k, m in enumerate([0.2, 0.4, 0.2])]
    np.testing.assert_array_equal(ok, alone[0][1] & alone[1][1])
    for k in range(3):
        np.testing.assert_array_equal(together[k][ok], alone[k][0][0][ok])


def test_leading_axes_are_independent_images():
    pair = grids((40, 30), 2.5, 0.3, -0.4)
    values = np.stack([rng_image((40, 30), seed=k) for k in range(3)])
    valid = np.stack([clouds((40, 30), seed=k) for k in range(3)])
    low, ok = down(values, valid, pair)
    high, high_ok = up(low, ok, pair)
    for k in range(3):
        np.testing.assert_array_equal(low[k], down(values[k], valid[k], pair)[0])
        np.testing.assert_array_equal(high[k], up(low[k], ok[k], pair)[0])
        np.testing.assert_array_equal(high_ok[k], up_mask(ok[k], pair))


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e6])
def test_invalid_pixels_never_leak(poison):
    pair = grids((40, 37), 2.5, 0.3, -0.4)
    values, valid = rng_image((40, 37)), clouds((40, 37))
    poisoned = np.where(valid, values, np.float32(poison))
    np.testing.assert_array_equal(down(poisoned, valid, pair)[0], down(values, valid, pair)[0])
    low = rng_image(pair.lr.shape)
    low_valid = clouds(pair.lr.shape)
    dirty = np.where(low_valid, low, np.float32(poison))
    np.testing.assert_array_equal(up(dirty, low_valid, pair)[0], up(low, low_valid, pair)[0])
    np.testing.assert_array_equal(fill(dirty, low_valid), fill(low, low_valid))


def test_nothing_valid_gives_nothing_valid_without_a_warning():
    pair = grids((40, 37), 2.5)
    nothing = np.full((2, 40, 37), np.nan, np.float32)
    low, ok = down(nothing, np.zeros((40, 37), bool), pair)
    assert np.isnan(low).all()
    assert not ok.any()
    high, ok = up(low, ok, pair)
    assert np.isnan(high).all()
    assert not ok.any()


@given(ratios, offsets, offsets, st.integers(9, 33), st.integers(0, 3))
@example(10 / 3, 0.0, 0.5, 15, 0)  # HR centres that lie on LR edges
@settings(max_examples=25)
def test_tiled_equals_whole_up(ratio, dy, dx, size, seed):
    pair = grids((61, 57), ratio, dy, dx)
    low, valid = rng_image(pair.lr.shape, seed=seed), clouds(pair.lr.shape, seed)
    whole, whole_ok = up(low, valid, pair)
    for tile in tiles(pair, size, up_halo(ratio)):
        part, ok = up(low[(..., *tile.lr)], valid[tile.lr], pair.crop(tile.block, tile.lr))
        np.testing.assert_array_equal(ok[tile.inner], whole_ok[tile.core])
        np.testing.assert_allclose(part[(..., *tile.inner)], whole[(..., *tile.core)], atol=5e-6)


@given(ratios, offsets, offsets, st.integers(9, 33), st.integers(0, 3), st.sampled_from([0.1, 0.3]))
@settings(max_examples=25)
def test_tiled_equals_whole_down(ratio, dy, dx, size, seed, mtf):
    pair = grids((61, 57), ratio, dy, dx)
    values, valid = rng_image((61, 57), seed=seed), clouds((61, 57), seed)
    whole, whole_ok = down(values, valid, pair, mtf)
    seen = np.zeros(whole_ok.shape, bool)
    for tile in tiles(pair, size, down_halo(ratio, mtf)):
        part, ok = down(values[(..., *tile.block)], valid[tile.block], pair.crop(tile.block, tile.lr), mtf)
        # The tile owns the LR pixels whose centres lie in its core; a centre on the image's last edge is the last's.
        owned = [
            np.flatnonzero((c >= core.start - 1e-6) & (c < core.stop - 1e-6 + (core.stop == axis.n_hr) * 2e-6))
            for c, core, axis in zip((centres(pair.y), centres(pair.x)), tile.core, (pair.y, pair.x), strict=True)
        ]
        here = np.ix_(*owned)
        there = np.ix_(*(o - lr.start for o, lr in zip(owned, tile.lr, strict=True)))
        np.testing.assert_array_equal(ok[there], whole_ok[here])
        np.testing.assert_allclose(part[:, *there], whole[:, *here], atol=5e-6)
        seen[here] = True
    assert not (whole_ok & ~seen).any()


def test_up_mask_takes_the_lr_pixel_that_holds_the_centre():
    pair = grids((23, 21), 2.5, 1.3, -0.6)
    valid = clouds(pair.lr.shape, n=8)
    got = up_mask(valid, pair)
    for y in range(23):
        for x in range(21):
            i, j = math.floor((y + 0.5 - 1.3) / 2.5), math.floor((x + 0.5 + 0.6) / 2.5)
            inside = 0 <= i < valid.shape[0] and 0 <= j < valid.shape[1]
            assert got[y, x] == (inside and valid[i, j])


def slow_fill(values, valid, fade=0.0):
    out = np.where(valid, values, 0).astype(float)
    for y, x in np.argwhere(~valid):
        total, weight = 0.0, fade
        for dy in range(-FILL_RADIUS, FILL_RADIUS + 1):
            for dx in range(-FILL_RADIUS, FILL_RADIUS + 1):
                i, j = y + dy, x + dx
                if 0 <= i < valid.shape[0] and 0 <= j < valid.shape[1] and valid[i, j]:
                    w = math.exp(-0.5 * (dy**2 + dx**2) / FILL_SIGMA**2)
                    total, weight = total + w * values[i, j], weight + w
        out[y, x] = total / weight if weight > 0 else 0
    return out


@pytest.mark.parametrize("fade", [0.0, 0.1])
def test_fill_equals_the_slow_loop(fade):
    values, valid = rng_image((15, 17), bands=1), clouds((15, 17), n=5, size=12)
    assert not valid[4:8].all()
    np.testing.assert_allclose(fill(values, valid, fade)[0], slow_fill(values[0], valid, fade), atol=1e-5)


def test_fill_leaves_its_input_alone():
    values = rng_image((5, 5))
    filled = fill(values, np.ones((5, 5), bool))
    filled[:] = 9
    assert values.max() < 3
