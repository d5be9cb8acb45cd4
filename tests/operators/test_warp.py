"""Resampling with displacements: band-limited functions, known everywhere, are the truth."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from sitsfuse.core.displacement import STAY, Displacement
from sitsfuse.core.grid import GridPair
from sitsfuse.operators.matrices import psf_sigma
from sitsfuse.operators.updown import down
from sitsfuse.operators.warp import nearest, resample, source_window

CRS = "EPSG:32631"
X0, Y0 = 500_000.0, 4_000_000.0
PIXEL = 5.0
_RNG = np.random.default_rng(5)
# Up to 0.12 cycles per pixel and axis: a shift by a hundredth of a pixel changes the sum by 2e-4.
WAVES = _RNG.uniform(-0.12, 0.12, (30, 2)) * 2 * np.pi / PIXEL
PHASES = _RNG.uniform(0, 2 * np.pi, 30)
Array = npt.NDArray[np.floating]


def truth(x: Array, y: Array) -> Array:
    """A band-limited landscape at map coordinates."""
    phase = WAVES[:, 0, None, None] * (x - X0) + WAVES[:, 1, None, None] * (y - Y0) + PHASES[:, None, None]
    return 0.3 + 0.01 * np.cos(phase).sum(0)


def grid(rows: int, cols: int, *, pixel: float = PIXEL, east: float = 0, south: float = 0, crs: str = CRS) -> GeoBox:
    return GeoBox((rows, cols), Affine(pixel, 0, X0 + east, 0, -pixel, Y0 - south), crs)


def centres(box: GeoBox) -> tuple[Array, Array]:
    a = box.affine
    cols, rows = np.meshgrid(np.arange(box.shape[1]) + 0.5, np.arange(box.shape[0]) + 0.5)
    return a.a * cols + a.b * rows + a.c, a.d * cols + a.e * rows + a.f


def seen(box: GeoBox, moved: Displacement = STAY) -> npt.NDArray[np.float32]:
    """(1, y, x) the landscape as an image with that displacement has it: at q lies what belongs at p, q = p + d(p)."""
    x, y = centres(box)
    px, py = x, y
    for _ in range(30):
        dx, dy = moved.at(px, py)
        px, py = x - dx, y - dy
    return truth(px, py)[None].astype(np.float32)


def valid(box: GeoBox) -> npt.NDArray[np.bool_]:
    return np.ones(tuple(box.shape), bool)


SOURCE = grid(100, 110)
AFFINE = Displacement(((3.0, -4.0), (1.0, 2.0)), ((-2.0, 0.5), (2.5, 1.0)), (X0, Y0 - 500, X0 + 550, Y0))
_NODES = np.random.default_rng(2).normal(0, 0.3, (2, 3, 3)) + 2
# Nodes on every 32nd pixel of the grids below, so that the lattice of exact positions has them, too.
LOCAL = Displacement(
    tuple(map(tuple, _NODES[0].tolist())),
    tuple(map(tuple, _NODES[1].tolist())),
    (X0 + 102.5, Y0 - 422.5, X0 + 422.5, Y0 - 102.5),
)
_TOOTH = tuple(120.0 * (k == 8) for k in range(25))
# Large between places where the outline of an image is looked at.
BUMP = Displacement(((0.0,) * 25,) * 2, (_TOOTH,) * 2, (X0 + 50, Y0 - 500, X0 + 530, Y0))


def varying(moved: Displacement) -> Displacement:
    """A shift that the code cannot tell from a displacement that varies."""
    dx, dy = moved.mean
    return Displacement(((dx, dx), (dx, dx + 1e-9)), ((dy, dy), (dy, dy)), (X0, Y0 - 500, X0 + 550, Y0))


# --- exactness -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [lambda d: d, varying], ids=["shift", "general"])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (7.3, -2.2), (-1.1, 3.9), (2.5, 2.5), (10.0, -5.0)])
@pytest.mark.parametrize("east", [0.0, 2.5], ids=["aligned", "half a pixel"])
@pytest.mark.parametrize("pixel", [5.0, 3.0, 2.5])
def test_shifts(way: Callable[[Displacement], Displacement], shift: tuple[float, float], east: float, pixel: float):
    moved = Displacement.shift(*shift)
    box = grid(60, 65, pixel=pixel, east=100 + east, south=100 + east)
    out, ok = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box, way(moved))
    assert ok.all()
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[0], truth(*centres(box)), rtol=0, atol=1.2e-4)


@pytest.mark.parametrize("moved", [AFFINE, LOCAL], ids=["affine", "local"])
@pytest.mark.parametrize("pixel", [5.0, 2.5])
def test_displacements_that_vary(moved: Displacement, pixel: float):
    n = round(320 / pixel) + 1
    box = grid(n, n, pixel=pixel, east=102.5 - pixel / 2, south=102.5 - pixel / 2)
    out, ok = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box, moved)
    unmoved, _ = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box)
    assert ok.all()
    assert np.abs(unmoved[0] - truth(*centres(box))).max() > 0.01
    np.testing.assert_allclose(out[0], truth(*centres(box)), rtol=0, atol=1.2e-4)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.7, -1.2)])
def test_another_crs(shift: tuple[float, float]):
    to_other = Transformer.from_crs(CRS, "EPSG:32632", always_xy=True)
    to_source = Transformer.from_crs("EPSG:32632", CRS, always_xy=True)
    east, north = to_other.transform(X0 + 275, Y0 - 250)
    box = GeoBox((40, 50), Affine(5, 0, round(east) - 125.0, 0, -5, round(north) + 100.0), "EPSG:32632")
    # A displacement is one in the CRS of the box.
    x, y = to_other.transform(*centres(SOURCE))
    image = truth(*to_source.transform(x - shift[0], y - shift[1]))[None].astype(np.float32)
    out, ok = resample(image, valid(SOURCE), SOURCE, box, Displacement.shift(*shift))
    assert ok.all()
    np.testing.assert_allclose(out[0], truth(*to_source.transform(*centres(box))), rtol=0, atol=1.2e-4)


def test_a_turned_grid():
    turned = GeoBox((30, 30), Affine.translation(X0 + 250, Y0 - 120) @ Affine.rotation(-30) @ Affine.scale(5, -5), CRS)
    out, ok = resample(seen(SOURCE), valid(SOURCE), SOURCE, turned)
    assert ok.all()
    np.testing.assert_allclose(out[0], truth(*centres(turned)), rtol=0, atol=1.2e-4)


def test_the_way_that_pixels_are_copied_is_bit_for_bit():
    image = np.random.default_rng(0).random((3, *SOURCE.shape)).astype(np.float32)
    ok = np.random.default_rng(1).random(tuple(SOURCE.shape)) > 0.4
    out, good = resample(image, ok, SOURCE, SOURCE[10:50, 20:90])
    np.testing.assert_array_equal(good, ok[10:50, 20:90])
    np.testing.assert_array_equal(out, np.where(good, image[:, 10:50, 20:90], np.nan))
    # Two pixels to the right and one upwards, and beyond the image.
    beyond = grid(100, 110, east=300)
    out, good = resample(image, ok, SOURCE, beyond, Displacement.shift(10, 5))
    expected = np.full((3, 100, 110), np.nan, np.float32)
    expected[:, 1:, :48] = np.where(ok[:-1, 62:], image[:, :-1, 62:], np.nan)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(good, np.isfinite(expected[0]))


# --- where pixels grow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [lambda d: d, varying], ids=["shift", "general"])
@pytest.mark.parametrize(("pixel", "mtf"), [(10.0, 0.3), (15.0, 0.2), (12.5, 0.1)])
def test_growing_pixels_have_the_attenuation_of_the_psf(
    way: Callable[[Displacement], Displacement], pixel: float, mtf: float
):
    moved = Displacement.shift(3.3, -1.7)
    box = grid(18, 18, pixel=pixel, east=120, south=125)
    # Gaussian PSF of the large pixels, averaged over the small ones that sample it: each wave loses by both.
    sigma = psf_sigma(mtf) * pixel
    loss = np.exp(-(WAVES**2).sum(1) * sigma**2 / 2)
    x, y = centres(box)
    phase = WAVES[:, 0, None, None] * (x - X0) + WAVES[:, 1, None, None] * (y - Y0) + PHASES[:, None, None]
    parts = [PIXEL] if way is not varying else [pixel / np.ceil(pixel / PIXEL)]
    for side in parts:
        loss = loss * np.sinc(WAVES[:, 0] * side / 2 / np.pi) * np.sinc(WAVES[:, 1] * side / 2 / np.pi)
    expected = 0.3 + 0.01 * (loss[:, None, None] * np.cos(phase)).sum(0)
    out, ok = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box, way(moved), mtf)
    assert ok.all()
    # The PSF is cut at three standard deviations.
    np.testing.assert_allclose(out[0], expected, rtol=0, atol=1e-3)
    assert np.abs(truth(x, y) - expected).max() > 8e-3


@pytest.mark.parametrize("east", [0.0, 2.5, 1.3])
@pytest.mark.parametrize("pixel", [10.0, 12.5, 25.0])
def test_growing_pixels_are_degraded_as_series_are(east: float, pixel: float):
    rng = np.random.default_rng(3)
    image = rng.random((2, *SOURCE.shape)).astype(np.float32)
    good = rng.random(tuple(SOURCE.shape)) > 0.001
    box = grid(int(450 / pixel), int(450 / pixel), pixel=pixel, east=east, south=5)
    expected, ok = down(image, good, GridPair(SOURCE, box), 0.3)
    for moved in (Displacement.shift(5.0, -10.0), STAY):
        rolled = np.roll(image, (round(-moved.mean[1] / 5), round(moved.mean[0] / 5)), (1, 2))
        shifted = np.roll(good, (round(-moved.mean[1] / 5), round(moved.mean[0] / 5)), (0, 1))
        out, got = resample(rolled, shifted, SOURCE, box, moved, 0.3)
        inner = (slice(3, -3), slice(3, -3))
        np.testing.assert_array_equal(got[inner], ok[inner])
        np.testing.assert_allclose(out[(slice(None), *inner)], expected[(slice(None), *inner)], atol=1e-6)


# --- masks -----------------------------------------------------------------------------------------------------


def _cases() -> list[tuple[Displacement, GeoBox]]:
    return [
        (STAY, SOURCE[5:95, 5:105]),
        (Displacement.shift(2.2, 1.1), SOURCE[5:95, 5:105]),
        (varying(Displacement.shift(2.2, 1.1)), SOURCE[5:95, 5:105]),
        (Displacement.shift(2.2, 1.1), grid(40, 40, pixel=10, east=50, south=50)),
        (varying(Displacement.shift(2.2, 1.1)), grid(40, 40, pixel=10, east=50, south=50)),
        (STAY, grid(130, 130, pixel=2.5, east=51, south=50)),
        (LOCAL, grid(65, 65, east=100, south=100)),
    ]


@pytest.mark.parametrize("case", range(7))
@pytest.mark.parametrize("poison", [np.nan, 1e6, np.inf])
def test_what_is_invalid_never_leaks(case: int, poison: float):
    moved, box = _cases()[case]
    good = np.random.default_rng(case).random(tuple(SOURCE.shape)) > 0.02
    image = seen(SOURCE, moved)
    clean = np.where(good, image, np.float32(0.3)).astype(np.float32)
    poisoned = np.where(good, image, np.float32(poison)).astype(np.float32)
    out, ok = resample(poisoned, good, SOURCE, box, moved, 0.3)
    other, ok_other = resample(clean, good, SOURCE, box, moved, 0.3)
    assert 0 < ok.mean() < 1
    np.testing.assert_array_equal(ok, ok_other)
    np.testing.assert_array_equal(out, other)
    np.testing.assert_array_equal(np.isfinite(out[0]), ok)
    if box.affine.a <= PIXEL:
        # Splines reach past the pixels around, where values were only filled in.
        assert np.abs(out[0] - truth(*centres(box)))[ok].max() < 0.03


@pytest.mark.parametrize("shift", [(2.2, 1.1), (0.0, 2.5), (-4.9, 0.0), (3.5, 1.5), (1.5, 3.5)])
@pytest.mark.parametrize("way", [lambda d: d, varying], ids=["shift", "general"])
def test_a_pixel_is_valid_if_those_around_its_place_are(
    way: Callable[[Displacement], Displacement], shift: tuple[float, float]
):
    good = np.random.default_rng(4).random(tuple(SOURCE.shape)) > 0.1
    box = grid(30, 110, east=-20, south=80)
    _, ok = resample(seen(SOURCE), good, SOURCE, box, way(Displacement.shift(*shift)))
    expected = np.zeros((30, 110), bool)
    for i in range(30):
        for j in range(110):
            row = (80 + 5 * (i + 0.5) - shift[1]) / 5 - 0.5
            col = (-20 + 5 * (j + 0.5) + shift[0]) / 5 - 0.5
            if not (-0.5 <= row <= 99.5 and -0.5 <= col <= 109.5):
                continue
            rows = {min(max(int(np.floor(row + 1e-6)), 0), 99), min(max(int(np.ceil(row - 1e-6)), 0), 99)}
            cols = {min(max(int(np.floor(col + 1e-6)), 0), 109), min(max(int(np.ceil(col - 1e-6)), 0), 109)}
            expected[i, j] = all(good[r, c] for r in rows for c in cols)
    np.testing.assert_array_equal(ok, expected)


def test_all_invalid_stays_so():
    for moved, box in _cases():
        out, ok = resample(np.full((2, *SOURCE.shape), np.nan, np.float32), ~valid(SOURCE), SOURCE, box, moved)
        assert not ok.any()
        assert np.isnan(out).all()


# --- windows ---------------------------------------------------------------------------------------------------


@settings(max_examples=80)
@example(rows=(40, 50), cols=(10, 96), shift=(0.0, 0.0), pixel=5.0, kind="bump", mtf=0.3)
@example(rows=(30, 2), cols=(30, 2), shift=(1.0, 0.0), pixel=60.0, kind="shift", mtf=0.05)
@given(
    rows=st.tuples(st.integers(-30, 90), st.integers(1, 40)),
    cols=st.tuples(st.integers(-30, 90), st.integers(1, 40)),
    shift=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    pixel=st.sampled_from([2.5, 5.0, 7.5, 10.0, 60.0]),
    kind=st.sampled_from(["shift", "varying", "local", "bump"]),
    mtf=st.sampled_from([0.05, 0.3]),
)
def test_a_window_of_the_source_gives_what_the_whole_gives(rows, cols, shift, pixel, kind, mtf):
    kinds = {"shift": Displacement.shift(*shift), "varying": varying(Displacement.shift(*shift))}
    moved = (kinds | {"local": LOCAL, "bump": BUMP})[kind]
    box = grid(rows[1], cols[1], pixel=pixel, east=cols[0] * 5.0, south=rows[0] * 5.0)
    rng = np.random.default_rng(7)
    image = rng.random((2, *SOURCE.shape)).astype(np.float32)
    good = valid(SOURCE)
    good[:, 90:] = rng.random((100, 20)) > 0.05
    window = source_window(SOURCE, box, moved, mtf)
    out, ok = resample(image[:, *window], good[window], SOURCE[window], box, moved, mtf)
    whole, ok_whole = resample(image, good, SOURCE, box, moved, mtf)
    np.testing.assert_array_equal(ok, ok_whole)
    np.testing.assert_allclose(out, whole, rtol=0, atol=1e-5)
    marks = np.arange(good.size, dtype=np.int32).reshape(good.shape)
    np.testing.assert_array_equal(
        nearest(marks[window], SOURCE[window], box, moved, -1), nearest(marks, SOURCE, box, moved, -1)
    )


@pytest.mark.parametrize("moved", [STAY, Displacement.shift(2.2, 1.1), AFFINE], ids=["stay", "shift", "affine"])
@pytest.mark.parametrize("pixel", [5.0, 10.0, 2.5])
def test_tiles_give_what_the_whole_gives(moved: Displacement, pixel: float):
    n = round(300 / pixel)
    box = grid(n, n, pixel=pixel, east=100, south=100)
    image = np.random.default_rng(8).random((1, *SOURCE.shape)).astype(np.float32)
    whole, _ = resample(image, valid(SOURCE), SOURCE, box, moved)
    cut = n // 3
    for rows in (slice(0, cut), slice(cut, n)):
        for cols in (slice(0, cut + 1), slice(cut + 1, n)):
            part = box[rows, cols]
            window = source_window(SOURCE, part, moved)
            out, _ = resample(image[:, *window], valid(SOURCE)[window], SOURCE[window], part, moved)
            np.testing.assert_allclose(out, whole[:, rows, cols], rtol=0, atol=1e-5)


def test_the_window_is_small():
    big = grid(10_000, 10_000)
    rows, cols = source_window(big, big[5000:5100, 300:400], Displacement.shift(20, 10))
    assert 5000 - 20 <= rows.start + 2 <= 5000
    assert 5100 <= rows.stop + 2 <= 5100 + 20
    assert 300 - 20 <= cols.start - 4 <= 300
    assert 400 <= cols.stop - 4 <= 400 + 20


@pytest.mark.parametrize("far", [(5000, 0), (-5000, 0), (0, 5000), (0, -5000)])
@pytest.mark.parametrize("moved", [Displacement.shift(1.2, 0), AFFINE], ids=["shift", "affine"])
@pytest.mark.parametrize("pixel", [2.5, 5.0, 10.0])
def test_no_overlap_is_all_invalid(far: tuple[float, float], moved: Displacement, pixel: float):
    box = grid(12, 13, pixel=pixel, east=far[0], south=far[1])
    window = source_window(SOURCE, box, moved)
    assert 0 in (window[0].stop - window[0].start, window[1].stop - window[1].start)
    for part in (window, (slice(0, 100), slice(0, 110))):
        image, good = seen(SOURCE)[:, *part], valid(SOURCE)[part]
        out, ok = resample(image, good, SOURCE[part], box, moved)
        assert out.shape == (1, 12, 13)
        assert np.isnan(out).all()
        assert not ok.any()
        found = nearest(good.astype(np.uint8), SOURCE[part], box, moved, 7)
        assert (found == 7).all()
        assert found.dtype == np.uint8


# --- nearest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moved", "pixel"), [(STAY, 5.0), (Displacement.shift(3.3, -8.1), 2.5), (LOCAL, 5.0), (STAY, 17.0), (AFFINE, 10.0)]
)
def test_nearest_is_the_pixel_that_holds_the_centre(moved: Displacement, pixel: float):
    n = round(320 / pixel) + 1
    box = grid(n, n, pixel=pixel, east=102.5 - pixel / 2, south=-40.0)
    if moved is LOCAL:
        box = grid(n, n, pixel=pixel, east=100, south=100)
    marks = np.random.default_rng(0).integers(0, 255, tuple(SOURCE.shape)).astype(np.uint8)
    found = nearest(marks, SOURCE, box, moved, 255)
    x, y = centres(box)
    wrong = 0
    for i in range(n):
        for j in range(n):
            dx, dy = moved.at(x[i, j], y[i, j])
            col, row = (x[i, j] + dx - X0) / 5, (Y0 - y[i, j] - dy) / 5
            if min(abs(col - round(col)), abs(row - round(row))) < 2e-3:
                continue  # on an edge, both are right
            inside = 0 <= row < 100 and 0 <= col < 110
            wrong += found[i, j] != (marks[int(row), int(col)] if inside else 255)
    assert wrong == 0
    assert found.dtype == np.uint8


def test_nearest_in_another_crs():
    there = Transformer.from_crs("EPSG:32632", CRS, always_xy=True)
    east, north = there.transform(X0 + 275, Y0 - 250, direction="INVERSE")
    box = GeoBox((70, 30), Affine(11, 0, round(east) - 150.0, 0, -11, round(north) + 400.0), "EPSG:32632")
    marks = np.random.default_rng(0).integers(1, 9999, tuple(SOURCE.shape)).astype(np.int32)
    found = nearest(marks, SOURCE, box)
    x, y = there.transform(*centres(box))
    col, row = (x - X0) / 5, (Y0 - y) / 5
    inside = (row >= 0) & (row < 100) & (col >= 0) & (col < 110)
    expected = np.where(inside, marks[np.clip(row.astype(int), 0, 99), np.clip(col.astype(int), 0, 109)], 0)
    edge = np.minimum(np.abs(col - np.round(col)), np.abs(row - np.round(row))) < 2e-3
    np.testing.assert_array_equal(found[~edge], expected[~edge])
    assert 0.3 < inside.mean() < 1


# --- displacements ---------------------------------------------------------------------------------------------


def test_a_displacement_between_its_nodes():
    assert AFFINE.is_shift is False
    assert STAY.is_shift
    assert Displacement.shift(1, 2).at(123.0, 456.0) == (1, 2)
    for (x, y), expected in {
        (X0, Y0): (3, -2),
        (X0 + 550, Y0): (-4, 0.5),
        (X0, Y0 - 500): (1, 2.5),
        (X0 + 550, Y0 - 500): (2, 1),
        (X0 + 275, Y0 - 250): (0.5, 0.5),
        (X0 - 550, Y0): (10, -4.5),  # linear beyond
        (X0 + 1100, Y0): (-11, 3),
        (X0, Y0 - 1000): (-1, 7),
    }.items():
        np.testing.assert_allclose(AFFINE.at(x, y), expected, atol=1e-9)
    assert AFFINE.largest == (4, 2.5)
    assert AFFINE.mean == (0.5, 0.5)
    dx, dy = LOCAL.at(np.array([[X0 + 102.5, X0 + 422.5]]), np.array([[Y0 - 102.5], [Y0 - 422.5]]))
    np.testing.assert_allclose(dx, _NODES[0][::2, ::2])
    np.testing.assert_allclose(dy, _NODES[1][::2, ::2])


@pytest.mark.parametrize("moved", [STAY, AFFINE, LOCAL])
def test_a_displacement_survives_being_written_down(moved: Displacement):
    assert Displacement.from_mapping(json.loads(json.dumps(moved.to_mapping()))) == moved


@pytest.mark.parametrize(("x", "y"), [(((1.0,),), ((1.0, 2.0),)), ((), ()), (((1.0, 2.0), (1.0, 2.0)), ((1.0, 2.0),))])
def test_nodes_must_be_alike(x, y):
    with pytest.raises(ValueError, match="rectangles"):
        Displacement(x, y)


@pytest.mark.parametrize("spacing", [160.0, 320.0])
def test_nodes_may_lie_anywhere(spacing: float):
    count = int(550 // spacing) + 2
    nodes = np.random.default_rng(0).normal(0, 1, (2, count, count)).tolist()
    span = (count - 1) * spacing
    x_nodes, y_nodes = (tuple(map(tuple, n)) for n in nodes)
    moved = Displacement(x_nodes, y_nodes, (X0 - 7, Y0 + 11 - span, X0 - 7 + span, Y0 + 11))
    box = grid(64, 64, east=103, south=98)
    out, ok = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box, moved)
    assert ok.all()
    np.testing.assert_allclose(out[0], truth(*centres(box)), rtol=0, atol=1.2e-4)
    part = (slice(9, 50), slice(13, 60))
    tile, _ = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box[part], moved)
    np.testing.assert_allclose(tile[0], out[0][part], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pixel", [2.5, 5.0, 10.0])
def test_an_image_that_runs_the_other_way(pixel: float):
    flipped = GeoBox(SOURCE.shape, Affine(PIXEL, 0, X0, 0, PIXEL, Y0 - 500), CRS)
    box = grid(30, 30, pixel=pixel, east=103, south=98)
    moved = Displacement.shift(1.0, -2.0)
    expected, _ = resample(seen(SOURCE, moved), valid(SOURCE), SOURCE, box, moved)
    out, ok = resample(seen(flipped, moved), valid(SOURCE), flipped, box, moved)
    assert ok.all()
    np.testing.assert_allclose(out, expected, rtol=0, atol=0.01 if pixel > PIXEL else 1e-5)
