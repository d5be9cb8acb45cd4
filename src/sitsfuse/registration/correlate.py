"""Cross-correlation of two images: edges that do not tell the season, resampling, peaks, and the coarse search."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from ..core.arrays import BoolArray, F64Array, FloatArray

BLOCK = 512
"""Side of a block of the coarse search, in pixels."""
BLOCKS = 8
"""Most blocks of the coarse search."""
OVERLAP = 0.25
"""Share of a block's valid pixels that must be valid in the displaced image too, for a displacement to be judged."""
PRECISION = 0.0005
"""Last step of the search for a peak, in pixels."""
LOBES = 3
"""Half width of the Lanczos kernel, in pixels."""

Complex = npt.NDArray[np.complex64]
Image = tuple[FloatArray, BoolArray]
"""(y, x) values, read only where valid, and the mask."""


@dataclass(frozen=True)
class Square:
    """A square of the reference."""

    row: int
    col: int
    side: int

    def cut(self, mask: BoolArray) -> BoolArray:
        """The window of a mask."""
        return mask[self.row : self.row + self.side, self.col : self.col + self.side]


def displaced(image: Image, window: Square, d: tuple[float, float]) -> Image:
    """``image[p + d]`` in a window with one more pixel on each side, and where all that it is made of is valid."""
    values, valid = image
    operators: list[FloatArray] = []
    places = []
    for start, shift in zip((window.row, window.col), d, strict=True):
        whole = math.floor(shift)
        taps, weights = _lanczos(shift - whole)
        operator = np.zeros((window.side + 2, window.side + 2 + taps[-1] - taps[0]), np.float32)
        for k, weight in enumerate(weights):
            np.fill_diagonal(operator[:, k:], weight)
        operators.append(operator)
        places.append(np.arange(operator.shape[1]) + start - 1 + whole + taps[0])
    inside = [(p >= 0) & (p < n) for p, n in zip(places, valid.shape, strict=True)]
    rows, cols = (np.clip(p, 0, n - 1) for p, n in zip(places, valid.shape, strict=True))
    ok = valid[rows[:, None], cols] & np.outer(*inside)
    part = values[rows[:, None], cols]
    y, x = operators
    out_ok: BoolArray = np.ones((window.side + 2, window.side + 2), bool)
    if not ok.all():
        part[~ok] = part[ok].mean() if ok.any() else 0
        invalid = (y != 0).astype(np.float32) @ (~ok).astype(np.float32) @ (x != 0).astype(np.float32).T
        out_ok = invalid < 0.5
    return np.asarray(y @ part @ x.T, np.float32), out_ok


def _lanczos(fraction: float) -> tuple[list[int], list[float]]:
    """Taps (relative to the pixel) and weights that read a fraction of a pixel further on."""
    if fraction == 0:
        return [0], [1.0]
    taps = list(range(1 - LOBES, LOBES + 1))
    weights = np.sinc(np.array(taps) - fraction) * np.sinc((np.array(taps) - fraction) / LOBES)
    return taps, [float(w) for w in weights / weights.sum()]


def edges_of(values: FloatArray, valid: BoolArray) -> tuple[Complex, BoolArray]:
    """Double angle of the Sobel gradient, ``(g_x + i g_y)**2 / |g|``; one pixel less on each side.

    Parameters
    ----------
    values
        (y, x) float32, finite everywhere.
    valid
        (y, x) bool.

    Returns
    -------
    edges, ok
        complex64 (0 where not ok) and bool, (y - 2, x - 2).
    """
    down = values[:-2] + 2 * values[1:-1] + values[2:]
    along = values[:, :-2] + 2 * values[:, 1:-1] + values[:, 2:]
    gradient = (down[:, 2:] - down[:, :-2]) + np.complex64(1j) * (along[2:] - along[:-2])
    ok = valid[:-2] & valid[1:-1] & valid[2:]
    ok = ok[:, :-2] & ok[:, 1:-1] & ok[:, 2:]
    size = np.abs(gradient)
    usable = ok & (size > 0)
    return np.where(usable, gradient**2 / np.where(usable, size, 1), np.complex64(0)), ok


def peak(spectrum: Complex, reach: int) -> tuple[float, float]:
    """Place of the maximum of a cross-correlation, given as its spectrum, at most ``reach`` pixels from 0.

    The maximum among whole pixels is refined by Newton steps on the Fourier series itself.
    """
    n = spectrum.shape[0]
    surface = fft.ifft2(spectrum).real
    lags = np.arange(-reach, reach + 1)
    near = surface[lags[:, None], lags]
    row, col = np.unravel_index(int(near.argmax()), near.shape)
    place = np.array([lags[row], lags[col]], np.float64)
    frequency = 2 * np.pi * fft.fftfreq(n)
    for _ in range(3):
        turned = np.exp(1j * frequency * place[0])[:, None] * spectrum * np.exp(1j * frequency * place[1])
        slope = -np.array([turned.imag.sum(1) @ frequency, turned.imag.sum(0) @ frequency])
        yy, xx = turned.real.sum(1) @ frequency**2, turned.real.sum(0) @ frequency**2
        yx = frequency @ turned.real @ frequency
        determinant = yy * xx - yx**2
        if yy <= 0 or determinant <= 0:
            break
        step = np.array([xx * slope[0] - yx * slope[1], yy * slope[1] - yx * slope[0]]) / determinant
        place += np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < PRECISION:
            break
    return float(place[0]), float(place[1])


def coarse_shift(
    reference: FloatArray, reference_valid: BoolArray, image: FloatArray, image_valid: BoolArray, search: int
) -> tuple[int, int]:
    """Displacement of the whole image in whole pixels, at most ``search``: the blocks' correlations added up.

    A block's correlation at a displacement is that of the edges valid in both images there, so that masks cannot
    draw it. The edges of all bands are added; strong ones are capped, lest a cloud that the masks miss speak for all.
    """
    surface = np.zeros((2 * search + 1,) * 2)
    for rows, cols in _blocks(reference_valid, image_valid):
        a, a_ok = _all_edges(reference, reference_valid, rows, cols)
        margin = [slice(s.start - search, s.stop + search) for s in (rows, cols)]
        b, b_ok = _all_edges(image, image_valid, *margin)
        size = [fft.next_fast_len(n) for n in b.shape]

        def correlate(f: npt.NDArray[np.generic], g: npt.NDArray[np.generic], size: list[int] = size) -> F64Array:
            product = fft.fft2(f, size).conj() * fft.fft2(g, size)
            out: F64Array = fft.ifft2(product).real[: 2 * search + 1, : 2 * search + 1]
            return out

        overlap = correlate(a_ok, b_ok)
        energy = correlate(np.abs(a) ** 2, b_ok) * correlate(a_ok, np.abs(b) ** 2)
        usable = (overlap > OVERLAP * max(a_ok.sum(), 1)) & (energy > 1e-6 * max(energy.max(), 1e-30))
        correlation = correlate(a, b) / np.sqrt(np.where(usable, energy, 1))
        surface += np.where(usable, correlation, 0) * a_ok.sum()
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    return (int(row) - search, int(col) - search) if surface.max() > 0 else (0, 0)


def _blocks(reference_valid: BoolArray, image_valid: BoolArray) -> list[tuple[slice, slice]]:
    """The clearest blocks of the images, all over them where many are alike."""
    starts = []
    for n in reference_valid.shape:
        side = min(BLOCK, n)
        starts.append([slice(round(s), round(s) + side) for s in np.linspace(0, n - side, math.ceil(n / side))])
    blocks = list(itertools.product(*starts))
    clear = [round(float((reference_valid[b] & image_valid[b]).mean()), 1) for b in blocks]
    mixed = np.random.default_rng(0).permutation(len(blocks))
    return [blocks[k] for k in sorted(mixed, key=lambda k: -clear[k])[:BLOCKS]]


def _all_edges(
    image: FloatArray, valid: BoolArray, rows: slice, cols: slice
) -> tuple[Complex, npt.NDArray[np.float32]]:
    """Edges of all bands added, each capped at its mean size, and 1 where they are valid; 0 outside the image."""
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    # One pixel more on each side, for the gradient.
    wide = [(s.start - 1, s.stop + 1) for s in (rows, cols)]
    inner = [slice(max(a, 0), min(b, n)) for (a, b), n in zip(wide, valid.shape, strict=True)]
    place = tuple(slice(i.start - a, i.stop - a) for i, (a, _) in zip(inner, wide, strict=True))
    ok = np.zeros((shape[0] + 2, shape[1] + 2), bool)
    ok[place] = valid[inner[0], inner[1]]
    total = np.zeros(shape, np.complex64)
    for band in image:
        part = np.zeros(ok.shape, np.float32)
        part[place] = band[inner[0], inner[1]]
        edges, usable = edges_of(np.where(ok, part, np.float32(0)), ok)
        size = np.abs(edges)
        cap = size[usable].mean() if usable.any() else 0
        if cap > 0:
            total += edges / np.maximum(size, cap)
    return total, usable.astype(np.float32)
