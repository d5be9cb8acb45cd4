"""Co-registration, against images whose values are known at any position."""

import dataclasses

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter, sobel

from sitsfuse.core.displacement import Displacement
from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import geobox
from sitsfuse.core.site import group
from sitsfuse.operators.updown import down
from sitsfuse.readers import open_series
from sitsfuse.registration.correlate import coarse_shift
from sitsfuse.registration.field import Basis
from sitsfuse.registration.register import SYSTEMATIC, Registration, register, register_images, vote
from sitsfuse.registration.tiepoints import TiePoints, correlation, tie_points
from sitsfuse.simulator import simulate


class Land:
    """A landscape as a sum of waves: its value is known everywhere, and it holds nothing finer than 4 pixels."""

    def __init__(self, seed=0, waves=50, turn=np.pi):
        rng = np.random.default_rng(seed)
        frequency, angle = rng.uniform(0.02, 0.25, waves), rng.uniform(-turn, turn, waves)
        self.down, self.along = (2 * np.pi * frequency * f(angle) for f in (np.sin, np.cos))
        self.phase = rng.uniform(0, 2 * np.pi, waves)
        self.size = 0.1 * frequency**-0.7 / np.sum(frequency**-0.7)

    def at(self, row, col):
        """Values at positions (y, x), in pixels."""
        out = np.full(np.broadcast(row, col).shape, 0.2)
        for k in range(self.size.size):
            out += self.size[k] * 4 * np.cos(self.down[k] * row + self.along[k] * col + self.phase[k])
        return out

    def seen(self, n, d=(0.0, 0.0)):
        """(n, n) float32 image in which what belongs at p is seen at p + d; d is a pair or a function of places."""
        row, col = np.mgrid[:n, :n] + 0.5
        field = d if callable(d) else lambda r, c: d
        at = (row, col)
        for _ in range(15 if callable(d) else 1):
            move = field(*at)
            at = (row - move[0], col - move[1])
        return self.at(*at).astype(np.float32)


def clear(n):
    return np.ones((n, n), bool)


def box_of(n, pixel=10.0, south_up=False):
    up = 1 if south_up else -1
    return GeoBox((n, n), Affine(pixel, 0, 500000, 0, up * pixel, 4000000), "EPSG:32631")


def shift_of(reference, reference_valid, image, image_valid, **options):
    found = vote(tie_points(reference, reference_valid, image, image_valid, **options))
    return np.array([found.shift_row, found.shift_col]), found


def make_points(d, row=None, col=None, quality=0.8, shape=(400, 400), **changes):
    """Tie points with displacements (n, 2), by default on a square lattice of windows of 40 pixels."""
    d = np.asarray(d, float)
    if row is None:
        side = round(len(d) ** 0.5)
        row, col = (g.ravel() for g in np.meshgrid(*2 * [np.linspace(20, 380, side)], indexing="ij"))
    n = len(d)
    values = {"search": 20, "reach": 6, "window": 40, "measured": n} | changes
    return TiePoints(
        np.asarray(row, float), np.asarray(col, float), d[:, 0], d[:, 1], np.broadcast_to(quality, n).astype(float),
        np.ones(n), np.zeros(n, np.intp), shape, **values,
    )  # fmt: skip


# Measuring


@pytest.mark.parametrize("d", [(0, 0), (0.5, -0.5), (0.13, 0.77), (-2.4, 3.3), (17.25, -11.6)])
def test_finds_a_known_shift(d):
    land = Land()
    found, registration = shift_of(land.seen(200), clear(200), land.seen(200, d), clear(200))
    assert found == pytest.approx(d, abs=0.01)
    assert registration.quality == "good"
    assert registration.spread < 0.03


def test_gain_offset_blur_and_noise_do_not_matter():
    land, d = Land(), (0.4, -1.3)
    rng = np.random.default_rng(0)
    image = 0.1 + 2.5 * gaussian_filter(land.seen(200, d), 1.2) + rng.normal(0, 0.004, (200, 200))
    found, registration = shift_of(land.seen(200), clear(200), image.astype(np.float32), clear(200))
    assert found == pytest.approx(d, abs=0.03)
    assert registration.quality == "good"


@pytest.mark.parametrize("poison", [np.nan, 1e6, np.inf])
def test_invalid_pixels_are_not_read(poison):
    land, n = Land(), 160
    rng = np.random.default_rng(1)
    masks = [gaussian_filter(rng.normal(size=(n, n)), 8) < 0.02 for _ in range(2)]
    clean = [land.seen(n), land.seen(n, (1.4, -0.7))]
    poisoned = [np.where(m, i, np.float32(poison)) for i, m in zip(clean, masks, strict=True)]
    a, b = (tie_points(images[0], masks[0], images[1], masks[1], min_valid=0.3) for images in (clean, poisoned))
    assert len(a) > 10
    for name in ("row", "col", "d_row", "d_col", "quality", "valid"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    before = [correlation(i[0], masks[0], i[1], masks[1], lambda r, c: (0 * r, 0 * c)) for i in (clean, poisoned)]
    assert before[0] == before[1]


def test_masks_that_lie_alike_in_both_images_do_not_draw_the_estimate():
    # A third of the pixels is hidden by bars at the same places, which on their own say: no displacement.
    land, n = Land(), 240
    mask = clear(n)
    mask[(np.arange(n) % 30) < 10] = False
    d = (0.45, 0.3)
    found, registration = shift_of(land.seen(n), mask, land.seen(n, d), mask, min_valid=0.3)
    assert found == pytest.approx(d, abs=0.02)
    assert registration.quality == "good"


def test_masks_do_not_draw_the_coarse_shift_of_a_ploughed_plain():
    # All edges run much the same way, so that something is alike at any displacement.
    land, n = Land(turn=0.4), 200
    mask = gaussian_filter(np.random.default_rng(0).normal(size=(n, n)), 5) > 0.01
    images = np.stack([land.seen(n), land.seen(n, (9, -13))])
    assert coarse_shift(images[:1], mask, images[1:], mask, 25) == (9, -13)
    # Without masks the taper alone could draw a window.
    found, _ = shift_of(images[0], clear(n), land.seen(n, (9.4, -13.3)), clear(n))
    assert found == pytest.approx((9.4, -13.3), abs=0.03)


def test_clouds_that_the_masks_miss_do_not_draw_the_shift():
    land, n, d = Land(), 200, (2.3, 1.6)
    images = [land.seen(n), land.seen(n, d)]
    for image, (row, col) in zip(images, ((60, 90), (74, 80)), strict=True):
        image[row : row + 20, col : col + 30] = 0.9
    assert coarse_shift(images[0][None], clear(n), images[1][None], clear(n), 25) == (2, 2)
    assert shift_of(images[0], clear(n), images[1], clear(n))[0] == pytest.approx(d, abs=0.03)


@pytest.mark.parametrize("part", ["third", "blocks", "all"])
def test_where_contrast_has_turned_around(part):
    land, n, d = Land(), 200, (-0.6, 1.2)

    def turned(row, col):
        if part == "third":
            return row < n / 3
        return (row // 50 + col // 50) % 2 == 0 if part == "blocks" else row > -99

    row, col = np.mgrid[:n, :n] + 0.5
    image = land.seen(n, d)
    image = np.where(turned(row - d[0], col - d[1]), 0.4 - image, image).astype(np.float32)
    found, registration = shift_of(land.seen(n), clear(n), image, clear(n))
    assert found == pytest.approx(d, abs=0.02)
    assert registration.quality == "good"


def test_bands_are_pooled_and_one_that_has_changed_does_no_harm():
    land, n, d = Land(), 160, (0.3, 0.8)
    reference = np.stack([land.seen(n), land.seen(n), Land(5).seen(n)])
    image = np.stack([land.seen(n, d), 1 - land.seen(n, d), Land(6).seen(n, d)])
    points = tie_points(reference, clear(n), image, clear(n))
    assert set(points.band) >= {0, 1}
    found = vote(points)
    assert (found.shift_row, found.shift_col) == pytest.approx(d, abs=0.02)
    assert found.tie_points > 0.9 * np.sum(points.band < 2)


def test_there_and_back_cancel():
    land, n = Land(3), 160
    a, b = land.seen(n), land.seen(n, (0.37, -0.82))
    there, back = shift_of(a, clear(n), b, clear(n))[0], shift_of(b, clear(n), a, clear(n))[0]
    assert there == pytest.approx(-back, abs=0.005)


@pytest.mark.parametrize("n", [22, 30, 51])
def test_windows_adapt_to_small_images(n):
    bands, d = (Land(2), Land(7)), (0.6, -0.3)
    reference, image = (np.stack([land.seen(n, shift) for land in bands]) for shift in ((0, 0), d))
    points = tie_points(reference, clear(n), image, clear(n))
    assert points.window < n
    found = vote(points)
    assert found.quality == "good"
    assert (found.shift_row, found.shift_col) == pytest.approx(d, abs=0.05)


def test_tie_points_say_where_and_how_well():
    land, n, d = Land(), 128, (0.25, 0.5)
    mask = clear(n)
    mask[:, :20] = False
    points = tie_points(land.seen(n), clear(n), land.seen(n, d), mask, window=32, step=32)
    # Without the first column of windows, of which a third is valid.
    assert set(points.row) == {16, 48, 80, 112}
    assert set(points.col) == {48, 80, 112}
    assert (points.quality > 0.98).all()
    assert (points.valid > 0.8).all()
    np.testing.assert_allclose(points.d_row, d[0], atol=0.03)
    np.testing.assert_allclose(points.d_col, d[1], atol=0.03)


def test_quality_is_the_correlation_of_the_edges():
    # Of a plain most of whose edges run one way: their mean alone would be alike.
    n, rng = 100, np.random.default_rng(0)
    land = Land(turn=0.4).seen(n)
    images = [land + rng.normal(0, 0.008, (n, n)).astype(np.float32) for _ in range(2)]
    points = tie_points(images[0], clear(n), images[1], clear(n), window=40, step=30)
    middle = int(np.flatnonzero((points.row == 50) & (points.col == 50))[0])
    assert abs(points.d_row[middle]) < 0.2
    weight = np.outer(*2 * [np.sin(np.pi * (np.arange(40) + 0.5) / 40) ** 2])
    edges = []
    for image in images:
        gradient = (sobel(image, 1) + 1j * sobel(image, 0))[30:70, 30:70]
        edge = gradient**2 / np.abs(gradient)
        edges.append((edge - np.average(edge, weights=weight)) * weight)
    expected = np.vdot(*edges).real / np.sqrt(np.prod([np.vdot(e, e).real for e in edges]))
    assert 0.3 < expected < 0.9
    assert points.quality[middle] == pytest.approx(expected, abs=0.02)


# Where there is nothing to find


@pytest.mark.parametrize("n", [1, 3, 7, 22, 60])
@pytest.mark.parametrize("kind", ["cloudy", "one cloudy", "constant", "not finite"])
def test_bad_images_fail_without_an_error(n, kind):
    rng = np.random.default_rng(0)
    image = rng.normal(0.2, 0.02, (2, n, n)).astype(np.float32)
    masks = [clear(n), clear(n)]
    if "cloudy" in kind:
        masks[0][:] = kind == "one cloudy"
        masks[1][:] = False
    elif kind == "constant":
        image[:] = 0.2
    else:
        image[:] = np.nan
    displacement, found = register_images(image, masks[0], image[::-1].copy(), masks[1], box_of(n), "local")
    assert found.quality == "failed"
    assert displacement == Displacement()
    assert (found.shift_row, found.shift_col) == (0, 0)


@pytest.mark.parametrize("n", [40, 120, 220])
def test_another_landscape_fails(n):
    rng = np.random.default_rng(n)
    for seed in range(3):
        images = [Land(seed + k).seen(n) + rng.normal(0, 0.002, (n, n)).astype(np.float32) for k in (10, 20)]
        _, found = register_images(images[0], clear(n), images[1], clear(n), box_of(n))
        assert found.quality == "failed"


def test_another_ploughed_plain_fails():
    images = [Land(seed, turn=0.3).seen(200) for seed in (1, 2)]
    assert shift_of(images[0], clear(200), images[1], clear(200))[1].quality == "failed"


def test_noise_fails():
    a, b = np.random.default_rng(0).normal(0.2, 0.02, (2, 200, 200)).astype(np.float32)
    assert shift_of(a, clear(200), b, clear(200))[1].quality == "failed"


def test_a_shift_beyond_the_search_fails():
    land, n = Land(), 200
    images = land.seen(n), clear(n), land.seen(n, (9.0, 0.0)), clear(n)
    assert shift_of(*images, search=12)[1].quality == "good"
    found, registration = shift_of(*images, search=5)
    assert registration.quality == "failed"
    assert (found == 0).all()


def test_windows_do_not_leave_their_reach():
    found = 0
    for seed in range(0, 8, 2):
        images = [Land(seed + k).seen(120) for k in (0, 1)]
        points = tie_points(images[0], clear(120), images[1], clear(120), window=16)
        found += len(points)
        for d in (points.d_row, points.d_col):
            assert np.ptp(d) <= 2 * points.reach
            assert np.abs(d).max() <= points.search + points.reach
    assert found > 5


def test_half_of_the_land_may_be_water():
    land, n, d = Land(), 300, (0.7, -0.2)
    rng = np.random.default_rng(0)
    images = [land.seen(n), land.seen(n, d)]
    for image in images:
        image[:, : n // 2] = 0.02
        image += rng.normal(0, 0.001, image.shape).astype(np.float32)
    found, registration = shift_of(images[0], clear(n), images[1], clear(n))
    assert registration.quality == "good"
    assert found == pytest.approx(d, abs=0.03)


@pytest.mark.parametrize(
    "change",
    [{"window": 0}, {"step": 0}, {"search": 0}, {"min_valid": 1.5}],
)
def test_options_without_sense_raise(change):
    with pytest.raises(ValueError, match="positive"):
        tie_points(*2 * (Land().seen(30), clear(30)), **change)


def test_shapes_must_fit():
    image = Land().seen(30)
    with pytest.raises(ValueError, match="shape"):
        tie_points(image, clear(30), image[:20], clear(30))
    with pytest.raises(ValueError, match="shape"):
        tie_points(image, clear(30), image, clear(29))
    with pytest.raises(ValueError, match="grid"):
        register_images(image, clear(30), image, clear(30), box_of(31))
    with pytest.raises(ValueError, match="spline"):
        register_images(image, clear(30), image, clear(30), box_of(30), "spline")


# The vote


@settings(max_examples=40)
@given(
    shift=st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
    wrong=st.floats(0, 0.4),
    seed=st.integers(0, 1000),
)
def test_the_vote_holds_against_outliers(shift, wrong, seed):
    rng = np.random.default_rng(seed)
    d = np.array(shift) + rng.normal(0, 0.05, (100, 2))
    outliers = rng.permutation(100) < 100 * wrong
    d[outliers] = np.array(shift) + rng.uniform(-6, 6, (outliers.sum(), 2))
    found = vote(make_points(d))
    assert (found.shift_row, found.shift_col) == pytest.approx(shift, abs=0.04)
    assert found.quality != "failed"
    assert abs(found.tie_points - (~outliers).sum()) <= 6


def test_a_minority_in_agreement_fails():
    rng = np.random.default_rng(0)
    d = rng.uniform(-6, 6, (100, 2))
    d[:40] = 1.5
    assert vote(make_points(d)).quality == "failed"
    d[40:70] = 1.5
    assert vote(make_points(d)).quality == "good"
    d[40:60] = 1.5
    d[55:] = rng.uniform(-6, 6, (45, 2))
    assert vote(make_points(d)).quality == "doubtful"


def test_few_tie_points_among_many_windows_fail():
    d = np.full((9, 2), 1.5)
    assert vote(make_points(d, measured=80)).quality == "good"
    assert vote(make_points(d, measured=100)).quality == "failed"
    place = np.linspace(40, 300, 5)
    assert vote(make_points(d[:5], place, place)).quality == "doubtful"
    assert vote(make_points(d[:2], place[:2], place[:2])).quality == "failed"


def test_a_shift_at_the_end_of_the_search_fails():
    assert vote(make_points(np.full((100, 2), (3.0, -19.5)))).quality == "good"
    assert vote(make_points(np.full((100, 2), (3.0, -20.5)))).quality == "failed"


def test_the_standard_error_counts_windows_not_bands():
    rng = np.random.default_rng(0)
    d = rng.normal(0, 0.1, (100, 2))
    one = vote(make_points(d, window=60))
    assert one.error == pytest.approx(np.hypot(0.1 / 10, SYSTEMATIC), rel=0.2)
    place = make_points(d)
    bands = make_points(np.tile(d, (4, 1)), np.tile(place.row, 4), np.tile(place.col, 4), window=60)
    assert vote(bands).error == pytest.approx(one.error, rel=0.05)
    # Windows that overlap by more than half tell little new.
    assert vote(make_points(d, window=200)).error > 2 * one.error


def test_few_and_spread_tie_points_are_doubtful():
    rng = np.random.default_rng(0)
    assert vote(make_points(rng.normal(0, 0.4, (9, 2)))).quality == "doubtful"
    assert vote(make_points(rng.normal(0, 0.02, (9, 2)))).quality == "good"


def test_better_windows_count_more():
    d = np.repeat([[0.0, 0.0], [0.1, 0.1]], 50, axis=0)
    quality = np.repeat([0.2, 0.9], 50)
    assert vote(make_points(d, quality=quality)).shift_row > 0.08


def test_no_tie_points_fail():
    found = vote(make_points(np.zeros((0, 2))))
    assert found == Registration("shift", "failed", 0.0, 0.0, 0, 0, None, None)
    # It goes into a report as it is.
    assert dataclasses.asdict(found)["tie_points"] == 0


# Models


def tilted(row, col):
    return 0.3 + 0.004 * (row - 150) - 0.002 * col, -1 + 0.003 * col


def wavy(row, col):
    return 0.3 + 0.5 * np.sin(col / 70) * np.cos(row / 140), -1 + 0.6 * np.exp(
        -((row - 120) ** 2 + (col - 200) ** 2) / 9800
    )


def at_pixels(displacement, box, row, col):
    """The displacement at pixel positions, in pixels."""
    a = box.affine
    dx, dy = displacement.at(a.c + a.a * col, a.f + a.e * row)
    return dy / a.e, dx / a.a


@pytest.mark.parametrize(
    ("field", "model", "limit"), [(tilted, "affine", 0.01), (tilted, "local", 0.01), (wavy, "local", 0.1)]
)
@pytest.mark.parametrize("south_up", [False, True])
def test_fields_are_found(field, model, limit, south_up):
    land, n = Land(), 300
    box = box_of(n, south_up=south_up)
    displacement, found = register_images(land.seen(n), clear(n), land.seen(n, field), clear(n), box, model)
    row, col = np.mgrid[40:270:20, 40:270:20].astype(float)
    error = np.array(at_pixels(displacement, box, row, col)) - np.array(field(row, col))
    assert np.abs(error).max() < 2 * limit
    assert np.sqrt((error**2).mean()) < limit / 2
    assert found.quality == "good"
    assert found.model == ("affine" if field is tilted else "local")
    assert (found.shift_row, found.shift_col) == pytest.approx(field(150.0, 150.0), abs=2 * limit)
    # The nodes span the image.
    assert displacement.bounds == tuple(box.boundingbox)


def test_a_model_that_does_not_foretell_is_not_taken():
    rng = np.random.default_rng(0)
    for model in ("affine", "local"):
        displacement, found = register(make_points(1 + rng.normal(0, 0.1, (100, 2))), model, box_of(400))
        assert found.model == "shift"
        assert displacement.is_shift
        assert displacement.mean == pytest.approx((10, -10), abs=0.4)


def test_too_few_or_close_windows_give_a_shift():
    place = np.arange(9.0)
    few = make_points(np.stack([0.1 * place, 0 * place], 1))
    assert register(few, "affine", box_of(400))[1].model == "shift"
    row, col = np.meshgrid(np.linspace(20, 380, 10), np.linspace(20, 60, 4))
    close = make_points(np.stack([col.ravel() / 100, 0 * col.ravel()], 1), row.ravel(), col.ravel())
    assert register(close, "local", box_of(400))[1].model == "shift"


def test_a_local_field_needs_more_windows_than_an_affine_one():
    place = make_points(np.zeros((25, 2)))
    d = np.stack([0.01 * place.row, 0.3 * np.cos(place.col / 60)], 1)
    assert register(make_points(d), "local", box_of(400))[1].model == "affine"


def test_the_stiffness_weighs_second_derivatives():
    basis = Basis("local", (6, 11), 0.5)
    v, u = basis.places()
    for values, bend in ((3 - v + 2 * u, 0), (3 * u * v, 2 * 9), (u**2, 4 * 9 / 10), (v**2, 4 * 4 / 5)):
        # Mean of f_vv² + 2 f_vu² + f_uu²; of the nodes, only inner ones tell of second derivatives along an axis.
        assert values @ basis.penalty() @ values == pytest.approx(0.5 * bend, abs=1e-9)


def test_outliers_do_not_bend_a_field():
    rng = np.random.default_rng(0)
    place = make_points(np.zeros((144, 2)))
    d = np.stack(wavy(place.row, place.col), 1) + rng.normal(0, 0.02, (144, 2))
    d[rng.permutation(144)[:40]] += rng.uniform(-6, 6, (40, 2))
    displacement, found = register(make_points(d), "local", box_of(400))
    assert found.model == "local"
    row, col = np.mgrid[40:370:20, 40:370:20].astype(float)
    error = np.array(at_pixels(displacement, box_of(400), row, col)) - np.array(wavy(row, col))
    assert np.sqrt((error**2).mean()) < 0.06
    assert found.tie_points < 115
    # What the field follows of the noise is not taken for a small spread.
    assert found.spread == pytest.approx(0.02, rel=0.3)


def test_correlation_before_and_after():
    land, n, d = Land(), 160, (1.0, 2.0)
    a, b = land.seen(n), 3 * land.seen(n, d) - 0.1
    displacement, found = register_images(a, clear(n), b, clear(n), box_of(n))
    assert displacement.mean == pytest.approx((20, -10), abs=0.2)
    assert found.correlation_before == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=0.03)
    assert found.correlation_after == pytest.approx(1, abs=1e-3)


def test_correlation_is_the_mean_over_bands_that_have_one():
    land, n = Land(), 100
    a = np.stack([land.seen(n), land.seen(n), np.full((n, n), 0.3, np.float32)])
    b = np.stack([land.seen(n), 1 - land.seen(n), land.seen(n)])

    def nowhere(row, col):
        return 0 * row, 0 * col

    assert correlation(a, clear(n), b, clear(n), nowhere) == pytest.approx(0, abs=1e-6)
    assert correlation(a[:1], clear(n), b[:1], clear(n), nowhere) == pytest.approx(1)
    assert correlation(a[2], clear(n), b[2], clear(n), nowhere) is None
    assert correlation(a[0], ~clear(n), b[0], clear(n), nowhere) is None


# Scenes


@pytest.fixture(scope="module")
def scene():
    return simulate(
        size=200, ratio=2.5, seed=4, guides=5, targets=4, guide_shift=1.0, target_shift=0.3, cloud_cover=0.2, gain=0.05,
        offset=0.01, target_mtf=0.25,
    )  # fmt: skip


def clearest(series):
    return int(series["valid"].values.mean((1, 2)).argmax())


def test_guides_of_other_months(scene):
    guide = group(scene, "guide")
    values, valid = guide["reflectance"].values[:, 2:], guide["valid"].values
    first, errors = clearest(guide), []
    for k in range(5):
        if k == first or valid[k].mean() < 0.3:
            continue
        displacement, found = register_images(values[first], valid[first], values[k], valid[k], geobox(guide))
        assert found.quality == "good"
        assert found.correlation_after > found.correlation_before
        truth = [float((guide[name][k] - guide[name][first]).values) for name in ("shift_x", "shift_y")]
        errors.append(np.abs(np.array(displacement.mean) - truth).max() / 5.0)
    assert len(errors) >= 3
    assert np.median(errors) < 0.03
    assert max(errors) < 0.06


def test_targets_against_the_degraded_truth(scene):
    target, reference = group(scene, "target"), group(scene, "reference")
    pair = GridPair(geobox(reference), geobox(target))
    sharp, sharp_ok = down(reference["reflectance"].values, reference["valid"].values, pair, 0.3)
    values, valid = target["reflectance"].values, target["valid"].values
    errors = []
    for k in range(4):
        if valid[k].mean() < 0.3:
            continue
        displacement, found = register_images(sharp[k], sharp_ok[k], values[k], valid[k], geobox(target))
        assert found.quality == "good"
        truth = [float(target[name][k].values) for name in ("shift_x", "shift_y")]
        errors.append(np.abs(np.array(displacement.mean) - truth).max() / 12.5)
    assert len(errors) >= 2
    assert np.median(errors) < 0.02
    assert max(errors) < 0.05


@pytest.mark.real
@pytest.mark.parametrize("date", [0, 1, 2])
def test_finds_the_displacement_of_modis_against_landsat(real_data, date):
    guide, target = (open_series(real_data / "l7_modis_boreas" / name) for name in ("guide", "target"))
    # The blur that fits best is a Gaussian of 12 HR pixels: nothing is left of it at the LR Nyquist frequency.
    mtf = float(np.exp(-((1.5 * np.pi) ** 2) / 2))
    values, valid = guide["reflectance"].values[date], guide["valid"].values[date]
    blurred, ok = down(values, valid, GridPair(geobox(guide), geobox(target)), mtf, 0.5)
    seen, seen_ok = target["reflectance"].values[date], target["valid"].values[date]
    displacement, found = register_images(blurred, ok, seen, seen_ok, geobox(target))
    dx, dy = (d / 30 for d in displacement.mean)
    # About one LR pixel, known to a tenth of one: the second date lies just beyond the error that counts as doubtful.
    assert found.quality in ("good", "doubtful")
    assert found.error < 0.12
    assert dx == pytest.approx(-16, abs=2.1)
    assert dy == pytest.approx(6, abs=4)
    assert found.correlation_before < 0.86
    assert found.correlation_after > 0.9


@pytest.mark.real
def test_real_guides_agree_around_a_triangle(real_data):
    guide = open_series(real_data / "s2_portugal_2" / "guide")
    values, valid = guide["reflectance"].values[:, 2:], guide["valid"].values

    def shift(i, j):
        _, found = register_images(values[i], valid[i], values[j], valid[j], geobox(guide))
        assert found.quality == "good"
        return np.array([found.shift_row, found.shift_col])

    gap = shift(0, 3) + shift(3, 6) - shift(0, 6)
    assert np.abs(gap).max() < 0.05
