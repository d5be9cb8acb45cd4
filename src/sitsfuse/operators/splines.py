"""Cubic splines at places that are all as far from a pixel: one compiled kernel per axis, prefilter included.

The spline through the pixels is a sum of cardinal splines, which die away by a factor of 3.7 per pixel; cut off after
ten pixels, what is left out is below 1e-5 of the contrast around. Both axes are done row by row, so that what is in
between never leaves the cache. Invalid pixels are filled before, as a spline has no end.

References
----------
M. Unser, A. Aldroubi, M. Eden, "B-spline signal processing: part I", IEEE Trans. Signal Processing 41(2), 1993.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, FloatArray
from ..runtime.compiled import njit

REACH = 10
"""Pixels on each side that the kernel takes in."""
POLE = 3**0.5 - 2
"""Of the recursive filter that turns pixels into spline coefficients."""


def shifted(
    image: FloatArray, first: tuple[int, int], fraction: tuple[float, float], shape: tuple[int, int]
) -> FloatArray:
    """The cubic spline through an image, read on a grid of the same pixel size.

    Parameters
    ----------
    image
        (y, x) float32, finite; mirrored around its outermost pixels.
    first, fraction
        Row and column of the image at which the first pixel of the result lies: whole part, and the rest (0–1).
    shape
        Rows and columns of the result.

    Returns
    -------
    values
        (y, x) float32.
    """
    down, along = (_taps(f) for f in fraction)
    rows, cols = (
        _mirrored(start - REACH, count + down.size - 1, n)
        for start, count, n in zip(first, shape, image.shape, strict=True)
    )
    out = np.empty(shape, np.float32)
    _filter(np.ascontiguousarray(image), rows, cols, down, along, out)
    return out


def filled(image: FloatArray, valid: BoolArray, reach: int) -> FloatArray:
    """Means of the valid pixels around in place of the invalid ones, lest these spread.

    Parameters
    ----------
    image
        (y, x) float32, read only where valid.
    valid
        (y, x) bool.
    reach
        Pixels on each side that a mean takes in.

    Returns
    -------
    filled
        (y, x) float32, unchanged where valid; 0 of an invalid pixel without a valid one in reach.
    """
    out = np.empty(image.shape, np.float32)
    _fill(np.ascontiguousarray(image), np.ascontiguousarray(valid), reach, out)
    return out


def _taps(fraction: float) -> FloatArray:
    """Weights of the pixels from ``REACH`` before to ``REACH + 1`` after, ``fraction`` of a pixel past one of them."""
    distance = fraction - np.arange(-REACH, REACH + 2)[:, None] - np.arange(-40, 41)
    size = np.abs(distance)
    spline = np.where(size <= 1, 2 / 3 - size**2 + size**3 / 2, np.maximum(2 - size, 0) ** 3 / 6)
    weights = spline @ (3**0.5 * POLE ** np.abs(np.arange(-40, 41)))
    return np.asarray(weights / weights.sum(), np.float32)


def _mirrored(first: int, count: int, n: int) -> npt.NDArray[np.int64]:
    """Pixels of an axis of ``n``, mirrored around the outermost ones."""
    if n == 1:
        return np.zeros(count, np.int64)
    place = np.arange(first, first + count) % (2 * (n - 1))
    return np.minimum(place, 2 * (n - 1) - place)


@njit("void(f4[:, ::1], i8[::1], i8[::1], f4[::1], f4[::1], f4[:, ::1])", fastmath=True, nogil=True, cache=True)
def _filter(
    image: FloatArray,
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    down: FloatArray,
    along: FloatArray,
    out: FloatArray,
) -> None:
    width = out.shape[1]
    column = np.empty(image.shape[1], np.float32)
    line = np.empty(cols.size, np.float32)
    for y in range(out.shape[0]):
        column[:] = 0
        for k in range(down.size):
            weight, source = down[k], image[rows[y + k]]
            for x in range(column.size):
                column[x] += weight * source[x]
        for x in range(line.size):
            line[x] = column[cols[x]]
        result = out[y]
        result[:] = 0
        for k in range(along.size):
            weight, source = along[k], line[k:]
            for x in range(width):
                result[x] += weight * source[x]


@njit("void(f4[:, ::1], b1[:, ::1], i8, f4[:, ::1])", nogil=True, cache=True)
def _fill(image: FloatArray, valid: BoolArray, reach: int, out: FloatArray) -> None:
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            if valid[y, x]:
                out[y, x] = image[y, x]
                continue
            total, count = 0.0, 0
            for v in range(max(y - reach, 0), min(y + reach + 1, height)):
                for u in range(max(x - reach, 0), min(x + reach + 1, width)):
                    if valid[v, u]:
                        total += image[v, u]
                        count += 1
            out[y, x] = total / count if count else 0.0
