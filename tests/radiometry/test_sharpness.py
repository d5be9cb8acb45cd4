"""The width of a PSF, told by details that LR images and guides share, against a planted one."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from sitsfuse.core.grid import GridPair
from sitsfuse.operators.matrices import psf_mtf, psf_sigma
from sitsfuse.operators.updown import down
from sitsfuse.radiometry.sharpness import WIDTHS, learn_widths, read_details

SIDE, RATIO = 160, 4
PAIR = GridPair(
    GeoBox((SIDE, SIDE), Affine(10, 0, 0, 0, -10, 0), 32631),
    GeoBox((SIDE // RATIO, SIDE // RATIO), Affine(10 * RATIO, 0, 0, 0, -10 * RATIO, 0), 32631),
)
SENSOR = psf_sigma(0.3)
CLEAR = np.ones((SIDE, SIDE), bool)


def field(rng):
    """Blocks of all sizes, as land has them."""
    out = np.zeros((SIDE, SIDE))
    for size in (5, 10, 20, 40):
        out += 0.03 * np.kron(rng.standard_normal((SIDE // size,) * 2), np.ones((size, size)))
    return out[None].astype(np.float32) + np.float32(0.2)


def dates(width, rng, count=5, noise=0.0, change=0.3, cloud=False):
    """LR images of land that changes, and what the guides before and after say of them."""
    found = []
    land = field(rng)
    for k in range(count):
        grown = land + change * (field(rng) - 0.2)
        now = (land + grown) / 2
        guides = []
        for image in (land, grown):
            noisy = image + noise * gaussian_filter(rng.standard_normal(image.shape), (0, 1, 1)).astype(np.float32)
            guides.append([down(noisy, CLEAR, PAIR, psf_mtf(w))[0] for w in WIDTHS])
        lr = 1.2 * down(now, CLEAR, PAIR, psf_mtf(width))[0] - 0.03
        lr = lr + 0.003 * rng.standard_normal(lr.shape).astype(np.float32)
        valid = np.ones(lr.shape[1:], bool)
        if cloud:
            valid[5:15, 5 : 15 + k] = False
            lr[:, ~valid] = 9
        details = read_details(str(k), (lr, valid), (guides[0], guides[1]), np.ones_like(valid))
        assert details is not None
        found.append(details)
    return found


@pytest.mark.parametrize(("width", "cloud"), [(0.8, False), (1.3, True)])
def test_a_wider_psf_is_found_whatever_gain_offset_and_clouds(width, cloud):
    learnt = learn_widths(dates(width, np.random.default_rng(0), cloud=cloud), [SENSOR])
    assert learnt.verdict.state == "applied"
    assert learnt.verdict.gained > 0.05
    assert learnt.widths[0] == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_sensors_own_stays_even_where_noise_of_the_guides_looks_like_blur(noise):
    seen = dates(SENSOR, np.random.default_rng(1), noise=noise)
    learnt = learn_widths(seen, [SENSOR])
    assert learnt.verdict.state == "not applied"
    assert learnt.widths == (SENSOR,)
    assert learnt.found[0] == pytest.approx(SENSOR, abs=0.06)
    if noise:
        # What a regression would choose: the wider, the less of the noise.
        assert np.sqrt(np.square(WIDTHS)[np.argmin(np.mean([d.missed[:, 0] for d in seen], axis=0))]) > 1.2 * SENSOR


def test_two_images_are_too_few():
    learnt = learn_widths(dates(1.3, np.random.default_rng(2), count=2), [SENSOR])
    assert learnt.verdict.reason == "only 2 LR images tell of it"
    assert learnt.widths == (SENSOR,)
    assert learn_widths([], [SENSOR]).verdict.state == "not applied"


def test_an_image_under_clouds_or_of_nothing_tells_nothing():
    flat = np.full((1, SIDE // RATIO, SIDE // RATIO), 0.2, np.float32)
    guides = ([flat] * len(WIDTHS), [flat] * len(WIDTHS))
    known = np.ones(flat.shape[1:], bool)
    assert read_details("a", (flat, ~known), guides, known) is None
    told = read_details("a", (flat, known), guides, known)
    assert told is not None
    assert np.isnan(told.squares).all()
    assert learn_widths([told] * 3, [SENSOR]).widths == (SENSOR,)


def test_widths_and_mtfs_are_each_others_inverse():
    for width in WIDTHS:
        assert psf_sigma(psf_mtf(width)) == pytest.approx(width)
