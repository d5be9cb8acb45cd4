"""Tie points between two images of one scene: where the content of one lies in the other, window by window.

What is correlated is not the images but the double angle of their gradients: an edge between two fields has the same
direction whichever of them is the brighter one, so that neither the seasons, nor another sensor's radiometry, nor
growth that turns the contrast around hide it. The cross-correlation is not normalised in the spectrum.

A window has cloud edges and a taper. Those are at the same place in both images and pull the estimate towards the
displacement at which the windows were cut. Therefore the image is resampled by the estimate so far, within each
window, and measured again until nothing is left to move: then the pull has nowhere to go.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from ..core.arrays import BoolArray, F64Array, FloatArray
from .correlate import Image, Square, coarse_shift, displaced, edges_of, peak

LARGEST_WINDOW = 96
"""Side of a window, in pixels, where the image is large enough. Error per area of the image does not depend on it."""
SMALLEST_WINDOW = 24
"""Side of a window that smaller images get, but no more than three quarters of their side."""
WINDOWS = 16
"""Most windows along a side of the image."""
SEARCH = 32
"""Largest displacement looked for, in pixels, where the image is large enough: a quarter of its side is the limit."""
ROUNDS = 6
"""Most measurements of a window, each after resampling by the sum of those before."""
NOTHING = 8.0
"""Correlation of the edges, times the side of the window, that chance brings about: water, haze, another landscape."""
SETTLED = 0.005
"""Step below which the measurements of a window have come to rest, in pixels; four times that is tolerated."""


@dataclass(frozen=True, eq=False)
class TiePoints:
    """Displacements measured in windows: ``image[p + d]`` shows what ``reference[p]`` shows. Arrays are (point,)."""

    row: F64Array
    """Rows of the window centres in the reference, in pixel-edge coordinates (the first pixel covers 0–1)."""
    col: F64Array
    """Columns of the window centres."""
    d_row: F64Array
    """Displacement towards higher rows, in pixels."""
    d_col: F64Array
    """Displacement towards higher columns, in pixels."""
    quality: F64Array
    """Correlation of the aligned windows' edges, 0–1."""
    valid: F64Array
    """Share of the window that is valid in both images."""
    band: npt.NDArray[np.intp]
    """Index of the band."""
    shape: tuple[int, int]
    """Rows and columns of the images."""
    search: int
    """Largest displacement looked for, in pixels."""
    reach: int
    """Largest displacement that a window may have off the coarse one, in pixels."""
    window: int
    """Side of the windows, in pixels."""
    measured: int
    """Number of windows and bands measured, with those that gave no tie point."""

    def __len__(self) -> int:
        return self.row.size


def tie_points(
    reference: FloatArray,
    reference_valid: BoolArray,
    image: FloatArray,
    image_valid: BoolArray,
    *,
    window: int | None = None,
    step: int | None = None,
    search: int | None = None,
    min_valid: float = 0.6,
) -> TiePoints:
    """Measure the displacement of an image against a reference in many windows.

    Parameters
    ----------
    reference, image
        (y, x) or (band, y, x) float32 on one grid; read only where valid. They may differ in gain, offset, PSF and
        date.
    reference_valid, image_valid
        (y, x) bool.
    window
        Side of a window, in pixels: by default a quarter of the image's side, from 24 to 96, at most three quarters.
    step
        Distance between windows, in pixels: by default half a window, more where that gives over 16 along a side.
    search
        Largest displacement looked for, in pixels: by default a quarter of the image's side, at most 32.
    min_valid
        Least share of a window that is valid in both images.

    Returns
    -------
    TiePoints
        One for each window and band in which the measurement came to rest and more is alike than by chance.

    Raises
    ------
    ValueError
        If the shapes differ or an option is not positive.

    Notes
    -----
    The displacement of the whole image is found first, in whole pixels, by a masked cross-correlation [1]_ of large
    blocks. Edges enter as ``(g_x + i g_y)**2 / |g|`` of the Sobel gradient g: the double angle [2]_ makes them
    blind to the sign of the contrast, as orientation correlation [3]_ makes them blind to its strength. A window's peak
    is found on the Fourier series of its cross-correlation, to any fraction of a pixel [4]_.

    References
    ----------
    .. [1] D. Padfield, Masked object registration in the Fourier domain, IEEE Trans. Image Processing 21(5), 2012.
    .. [2] G. H. Granlund, H. Knutsson, Signal Processing for Computer Vision, Kluwer, 1995 (double angle).
    .. [3] A. J. Fitch, A. Kadyrov, W. J. Christmas, J. Kittler, Orientation correlation, BMVC 2002.
    .. [4] M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Efficient subpixel image registration algorithms, Optics
       Letters 33(2), 2008.
    """
    reference, image = (a[None] if a.ndim == 2 else a for a in (reference, image))
    if reference.shape != image.shape or {reference_valid.shape, image_valid.shape} != {image.shape[1:]}:
        raise ValueError("images and masks must have the same shape")
    shape = (image.shape[1], image.shape[2])
    shorter = min(shape)
    window = _window(shorter) if window is None else min(window, shorter)
    search = max(min(SEARCH, shorter // 4), 1) if search is None else search
    if min(window, search, 1 if step is None else step) < 1 or not 0 <= min_valid <= 1:
        raise ValueError("window, step and search must be positive and min_valid a share")
    hann = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
    how = _How(
        coarse_shift(reference, reference_valid, image, image_valid, search),
        min(max(window // 8, 2), search),
        min_valid,
        np.outer(hann, hann).astype(np.float32),
    )
    found, measured = [], 0
    rows, cols = (_starts(n, window, step) for n in shape)
    for top, left in itertools.product(rows, cols):
        here = Square(top, left, window)
        if here.cut(reference_valid).mean() < min_valid:
            continue
        for k in range(len(image)):
            point = _measure(here, (reference[k], reference_valid), (image[k], image_valid), how)
            measured += point is not None
            if point is not None and point.settled and point.quality > NOTHING / window:
                place = (top + window / 2, left + window / 2)
                found.append((*place, *point.displacement, point.quality, point.valid, k))
    row, col, d_row, d_col, quality, valid, band = np.array(found, np.float64).reshape(-1, 7).T
    return TiePoints(
        row, col, d_row, d_col, quality, valid, band.astype(np.intp), shape, search, how.reach, window, measured
    )


def correlation(
    reference: FloatArray,
    reference_valid: BoolArray,
    image: FloatArray,
    image_valid: BoolArray,
    where: Callable[[F64Array, F64Array], tuple[F64Array, F64Array]],
) -> float | None:
    """Correlation of the values of two images, with a displacement taken out.

    Parameters
    ----------
    reference, reference_valid, image, image_valid
        As for :func:`tie_points`.
    where
        Gives the displacement (towards rows, towards columns), in pixels, at rows and columns (n,).

    Returns
    -------
    float or None
        Mean over the bands of the correlation in the windows that :func:`tie_points` takes by default; None if there
        is none.
    """
    reference, image = (a[None] if a.ndim == 2 else a for a in (reference, image))
    shape = (image.shape[1], image.shape[2])
    side = _window(min(shape))
    rows, cols = (_starts(n, side, None) for n in shape)
    windows = [Square(row, col, side) for row, col in itertools.product(rows, cols)]
    middle = np.array([(w.row + side / 2, w.col + side / 2) for w in windows])
    displacements = np.stack(where(middle[:, 0], middle[:, 1]), -1)
    found = []
    for a, b in zip(reference, image, strict=True):
        sums = np.zeros((3, 3))
        for window, (d_row, d_col) in zip(windows, displacements, strict=True):
            x, x_ok = displaced((a, reference_valid), window, (0.0, 0.0))
            y, y_ok = displaced((b, image_valid), window, (float(d_row), float(d_col)))
            ok = x_ok & y_ok
            # One more value 1 per pixel: the products of all pairs are then counts, sums and sums of squares.
            z = np.stack([np.ones(ok.sum()), x[ok], y[ok]])
            sums += z @ z.T
        (n, x1, y1), (_, xx, xy), (_, _, yy) = sums / max(sums[0, 0], 1)
        variances = (xx - x1**2) * (yy - y1**2)
        if n > 0 and variances > 1e-12 * xx * yy:
            found.append((xy - x1 * y1) / math.sqrt(variances))
    return float(np.mean(found)) if found else None


def _window(n: int) -> int:
    """Side of the windows of an image with the shorter side ``n``."""
    return min(max(n // 4, SMALLEST_WINDOW), LARGEST_WINDOW, max(3 * n // 4, 1))


def _starts(n: int, window: int, step: int | None) -> list[int]:
    """First pixels of windows spread evenly over ``n`` pixels."""
    if step is None:
        count = min(math.ceil(2 * (n - window) / window) + 1, WINDOWS)
    else:
        count = math.ceil((n - window) / step) + 1
    return sorted({round(s) for s in np.linspace(0, n - window, count)})


@dataclass(frozen=True, eq=False)
class _How:
    """How windows are measured."""

    start: tuple[int, int]
    """Displacement (row, col) to start from, in pixels."""
    reach: int
    """Largest displacement off that one, in pixels."""
    min_valid: float
    """Least share of valid pixels."""
    taper: FloatArray
    """(window, window) weights of the pixels."""


@dataclass(frozen=True)
class _Measurement:
    """What one window tells."""

    settled: bool
    """Whether it came to rest within reach."""
    displacement: tuple[float, float]
    """(row, col), in pixels."""
    quality: float
    """Correlation of the edges as aligned last."""
    valid: float
    """Share of valid pixels."""


def _measure(window: Square, reference: Image, image: Image, how: _How) -> _Measurement | None:
    """Displacement of one window; None if there is nothing to measure."""
    still, still_ok = edges_of(*displaced(reference, window, (0.0, 0.0)))
    at = (float(how.start[0]), float(how.start[1]))
    for _ in range(ROUNDS):
        values, ok = displaced(image, window, at)
        moved, moved_ok = edges_of(values, ok)
        weight = how.taper * (still_ok & moved_ok)
        total = float(weight.sum())
        share = float((window.cut(reference[1]) & ok[1:-1, 1:-1]).mean())
        if share < how.min_valid or total <= 0:
            return None
        a, b = ((z - (weight * z).sum() / total) * weight for z in (still, moved))
        power = math.sqrt(float((np.abs(a) ** 2).sum()) * float((np.abs(b) ** 2).sum()))
        if not power > 0:
            return None
        quality = min(max(float((a.conj() * b).sum().real) / power, 0.0), 1.0)
        step = peak(fft.fft2(a).conj() * fft.fft2(b), how.reach)
        at = (at[0] + step[0], at[1] + step[1])
        within = max(abs(d - s) for d, s in zip(at, how.start, strict=True)) <= how.reach
        if max(map(abs, step)) < SETTLED or not within:
            break
    return _Measurement(within and max(map(abs, step)) <= 4 * SETTLED, at, quality, share)
