"""Images from one grid to another with their displacement, resampled once.

Three ways, by what is asked: pixels are copied where the grids coincide; a shift is a pair of one-dimensional
operators, as in `updown`; a displacement that varies, or another CRS, needs the position of every pixel.
Where pixels grow, the PSF of the coarser sensor is part of the same operator.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import sparse
from scipy.ndimage import map_coordinates, spline_filter

from ..core.arrays import BoolArray, FloatArray
from ..core.displacement import STAY, Displacement
from ..core.grid import Axis, Window, tidy, tidy_ratio
from .matrices import PSF_RADIUS as PSF_CUT
from .matrices import down_matrix, psf_sigma, separable
from .positions import lattice_of, positions_of, ratio_of, rim_of
from .updown import MIN_FOOTPRINT, down_by

COPY = 1e-3
"""Displacements below this part of a pixel are not worth an interpolation."""
GROWN = 1.01
"""Ratio of pixel sizes from which an image is degraded rather than interpolated."""
MARGIN = 14
"""Pixels around what is asked for that are read: splines have no end, but die away by a factor of 3.7 per pixel."""
FILL = 2
"""Pixels on each side of an invalid one whose mean stands for it."""


def source_window(source: GeoBox, box: GeoBox, displacement: Displacement = STAY, mtf: float = 0.3) -> Window:
    """Pixels of the source grid that :func:`resample` needs for the pixels of ``box``.

    Parameters
    ----------
    source, box
        The image's whole grid, and the grid (often a window of a larger one) to resample it to.
    displacement
        Of the image.
    mtf
        Of the sensor of ``box``, where its pixels are larger.

    Returns
    -------
    Window
        Within the source grid; empty where the two do not overlap.
    """
    cols, rows = positions_of(source, rim_of(box), box, displacement)
    ratio = ratio_of(source, box)
    reach = MARGIN + (PSF_CUT * psf_sigma(mtf) * ratio if ratio > GROWN else 0)
    if not displacement.is_shift:
        # Within, it may be larger than along the outline.
        reach += 2 * max(displacement.largest) / min(box.resolution.map(abs).xy) * max(ratio, 1)
    return (
        _clipped(float(rows.min()) - reach, float(rows.max()) + reach, source.shape[0]),
        _clipped(float(cols.min()) - reach, float(cols.max()) + reach, source.shape[1]),
    )


def resample(
    values: FloatArray,
    valid: BoolArray,
    source: GeoBox,
    box: GeoBox,
    displacement: Displacement = STAY,
    mtf: float = 0.3,
) -> tuple[FloatArray, BoolArray]:
    """Resample an image to a grid, and take out its displacement on the way.

    Parameters
    ----------
    values
        (band, y, x) float32 on ``source``; read only where valid.
    valid
        (y, x) bool.
    source
        The grid of ``values``: the part of the image that :func:`source_window` names, or more.
    box
        The grid to resample to.
    displacement
        What belongs at ``p`` is seen in the image at ``p + d(p)``.
    mtf
        MTF at Nyquist of the sensor of ``box``, used where its pixels are larger than those of the image.

    Returns
    -------
    values, valid
        (band, y, x) float32 with NaN where invalid, and (y, x) bool. A pixel is valid if the four pixels around its
        place are (where pixels grow: if 99 % of its PSF falls on valid ones).

    Notes
    -----
    Interpolation is by cubic splines, which keep more of the finest details than bicubic interpolation does.

    References
    ----------
    Unser, M., 1999: Splines: a perfect fit for signal and image processing. IEEE Signal Process. Mag. 16(6), 22–38.
    """
    shape = (values.shape[0], *box.shape)
    if 0 in values.shape:
        return np.full(shape, np.nan, np.float32), np.zeros(box.shape, bool)
    ratio = ratio_of(source, box)
    if _straight(source, box, displacement):
        axes = _axes(source, box, displacement)
        if ratio > GROWN:
            return _degraded(values, valid, axes, mtf)
        if (copied := _copied(values, valid, axes)) is not None:
            return copied
        return _interpolated(values, valid, axes)
    if ratio > GROWN:
        # To small pixels first, exactly where they belong, and from these to the large ones.
        parts = math.ceil(ratio - 1e-6)
        reach = math.ceil(PSF_CUT * psf_sigma(mtf)) + 1
        wide = GeoBox(
            ((box.shape[0] + 2 * reach) * parts, (box.shape[1] + 2 * reach) * parts),
            box.affine * Affine.translation(-reach, -reach) * Affine.scale(1 / parts),
            box.crs,
        )
        fine = _anywhere(values, valid, source, wide, displacement)
        return _degraded(*fine, _axes(wide, box, STAY), mtf)
    return _anywhere(values, valid, source, box, displacement)


def nearest(
    values: npt.NDArray[np.integer], source: GeoBox, box: GeoBox, displacement: Displacement = STAY, outside: int = 0
) -> npt.NDArray[np.integer]:
    """The pixels (y, x) that hold the centres of those of ``box``; ``outside`` beyond the image."""
    rows, cols = values.shape
    if 0 in (*values.shape, *box.shape):
        return np.full(box.shape, outside, values.dtype)
    if _straight(source, box, displacement):
        axes = _axes(source, box, displacement)
        index = [np.floor(a.offset + a.ratio * (np.arange(a.n_lr) + 0.5) + 1e-6).astype(np.intp) for a in axes]
        spans = [
            slice(i[0], i[-1] + 1) if i[0] >= 0 and i[-1] < n and i[-1] - i[0] == i.size - 1 else None
            for i, n in zip(index, values.shape, strict=True)
        ]
        if None not in spans:  # pixels of one size, all within: a copy
            return np.array(values[spans[0], spans[1]])
        i, j = index[0][:, None], index[1][None, :]
    else:
        i, j = np.floor(lattice_of(source, box, displacement) + 1e-6).astype(np.intp)
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < cols)
    found = values[np.clip(i, 0, rows - 1), np.clip(j, 0, cols - 1)]
    return np.where(inside, found, values.dtype.type(outside))


# --- shifts: one operator per axis -----------------------------------------------------------------------------


def _axes(source: GeoBox, box: GeoBox, displacement: Displacement) -> tuple[Axis, Axis]:
    """Rows and columns of ``box`` in pixels of the source, displaced."""
    dx, dy = displacement.mean
    s, b = source.affine, box.affine
    return (
        Axis(tidy_ratio(b.e / s.e), tidy((b.f + dy - s.f) / s.e), source.shape[0], box.shape[0]),
        Axis(tidy_ratio(b.a / s.a), tidy((b.c + dx - s.c) / s.a), source.shape[1], box.shape[1]),
    )


def _copied(values: FloatArray, valid: BoolArray, axes: tuple[Axis, Axis]) -> tuple[FloatArray, BoolArray] | None:
    """The pixels as they are, if those of the two grids coincide; else None."""
    starts = [round(a.offset) for a in axes]
    if any(abs(a.ratio - 1) * a.n_lr > COPY or abs(a.offset - s) > COPY for a, s in zip(axes, starts, strict=True)):
        return None
    shape = tuple(a.n_lr for a in axes)
    out, ok = np.full((values.shape[0], *shape), np.nan, np.float32), np.zeros(shape, bool)
    taken, given = [], []
    for a, s in zip(axes, starts, strict=True):
        first, last = max(s, 0), min(s + a.n_lr, a.n_hr)
        taken.append(slice(first, max(first, last)))
        given.append(slice(first - s, max(first, last) - s))
    ok[tuple(given)] = valid[tuple(taken)]
    out[(slice(None), *given)] = values[(slice(None), *taken)]
    out[:, ~ok] = np.nan
    return out, ok


def _interpolated(values: FloatArray, valid: BoolArray, axes: tuple[Axis, Axis]) -> tuple[FloatArray, BoolArray]:
    ok = valid
    for axis, (first, second, inside) in enumerate(_around(a) for a in axes):
        ok = np.take(ok, first, axis) & np.take(ok, second, axis)
        ok &= inside[:, None] if axis == 0 else inside
    out = np.empty((values.shape[0], *ok.shape), np.float32)
    same = all(a.ratio == 1 for a in axes)
    for band, raw in zip(out, values, strict=True):
        clean = _filled(raw, valid)
        if same:
            band[:] = _shifted(clean, axes)
        else:
            coefficients = spline_filter(clean, 3, np.float32, "mirror")
            band[:] = separable(coefficients, *(_spline_matrix(a) for a in axes))
    for band in out:
        np.copyto(band, np.float32(np.nan), where=~ok)
    return out, ok


def _shifted(image: FloatArray, axes: tuple[Axis, Axis]) -> FloatArray:
    """The spline at places that are all as far from a pixel."""
    from .splines import shifted  # compiled, and not needed for most

    rows, cols = axes
    first = (math.floor(rows.offset), math.floor(cols.offset))
    rest = (rows.offset - first[0], cols.offset - first[1])
    return shifted(image, first, rest, (rows.n_lr, cols.n_lr))


def _filled(band: FloatArray, valid: BoolArray) -> FloatArray:
    """Means of the valid pixels around in place of the invalid ones, lest these spread; 0 far from any."""
    if valid.all():
        return band
    from .splines import filled  # compiled, and not needed for most

    return filled(band, valid, FILL)


def _degraded(
    values: FloatArray, valid: BoolArray, axes: tuple[Axis, Axis], mtf: float
) -> tuple[FloatArray, BoolArray]:
    rows, cols = (down_matrix(a, mtf) for a in axes)
    return down_by({mtf: (rows, cols)}, values, valid, [mtf] * len(values), MIN_FOOTPRINT)


@lru_cache(maxsize=64)
def _spline_matrix(axis: Axis) -> sparse.csr_array:
    """(n_lr, n_hr) weights of the cubic B-spline at the centres of the LR pixels, for spline coefficients."""
    place = axis.offset + axis.ratio * (np.arange(axis.n_lr) + 0.5) - 0.5
    taps = np.floor(place).astype(int)[:, None] + np.arange(-1, 3)
    return _rows(taps, _bspline(np.abs(place[:, None] - taps)), axis)


def _bspline(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The cubic B-spline at distances in pixels."""
    near = 2 / 3 - distance**2 + distance**3 / 2
    return np.where(distance <= 1, near, np.maximum(2 - distance, 0) ** 3 / 6)


def _around(axis: Axis) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], BoolArray]:
    """(n_lr,) the two pixels around each centre (twice the same where it lies on one's), and whether it is inside."""
    place = axis.offset + axis.ratio * (np.arange(axis.n_lr) + 0.5) - 0.5
    base = np.floor(place + COPY).astype(np.intp)
    aside = (place - base > COPY).astype(np.intp)
    # Half a pixel beyond the last centre still lies in the last pixel.
    inside = (place >= -0.5 - 1e-6) & (place <= axis.n_hr - 0.5 + 1e-6)
    last = axis.n_hr - 1
    return np.clip(base, 0, last), np.clip(base + aside, 0, last), np.asarray(inside)


def _rows(index: npt.NDArray[np.intp], weight: npt.NDArray[np.float64], axis: Axis) -> sparse.csr_array:
    rows = np.repeat(np.arange(axis.n_lr), index.shape[1])
    cols = np.clip(index, 0, axis.n_hr - 1).ravel()
    triple = (weight.ravel().astype(np.float32), (rows, cols))
    return sparse.coo_array(triple, shape=(axis.n_lr, axis.n_hr)).tocsr()


def _anywhere(
    values: FloatArray, valid: BoolArray, source: GeoBox, box: GeoBox, displacement: Displacement
) -> tuple[FloatArray, BoolArray]:
    """Interpolate at a position per pixel, by cubic splines."""
    place = lattice_of(source, box, displacement) - 0.5
    limits = np.array(valid.shape, float)[:, None, None] - 0.5
    inside = ((place >= -0.5) & (place <= limits)).all(0)
    share = map_coordinates(valid.astype(np.float32), place, order=1, mode="nearest", prefilter=False)
    ok = inside & (share > 1 - 1e-3)
    out = np.empty((values.shape[0], *box.shape), np.float32)
    for band, raw in zip(out, values, strict=True):
        map_coordinates(_filled(raw, valid), place, output=band, order=3, mode="mirror")
    out[:, ~ok] = np.nan
    return out, ok


def _straight(source: GeoBox, box: GeoBox, moved: Displacement) -> bool:
    """Whether rows and columns of ``box`` are rows and columns of the displaced source."""
    s, b = source.affine, box.affine
    turned = any(a.b != 0 or a.d != 0 for a in (s, b)) or s.a * b.a < 0 or s.e * b.e < 0
    return moved.is_shift and source.crs == box.crs and not turned


def _clipped(first: float, last: float, n: int) -> slice:
    start = min(max(math.floor(first), 0), n)
    return slice(start, max(start, min(math.ceil(last), n)))
