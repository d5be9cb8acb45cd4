"""The sparse matrices behind the operators between two grids, one per axis."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..core.grid import Axis

PSF_RADIUS = 3.0
"""Where the PSF is cut, in standard deviations."""
FILL_RADIUS = 3
"""Where that gaussian is cut, in LR pixels: further than this from valid pixels, nothing is filled."""


def psf_sigma(mtf: float) -> float:
    """Standard deviation of the gaussian PSF with a given MTF at the Nyquist frequency, in LR pixels.

    ``sigma = sqrt(-2 ln MTF) / pi``.
    """
    if not 0 < mtf < 1:
        raise ValueError(f"MTF at Nyquist must lie in (0, 1), not {mtf}")
    return math.sqrt(-2 * math.log(mtf)) / math.pi


def psf_mtf(sigma: float) -> float:
    """MTF at the Nyquist frequency of a gaussian PSF with a given standard deviation, in LR pixels.

    The inverse of :func:`psf_sigma`.
    """
    return math.exp(-((math.pi * sigma) ** 2) / 2)


def down_halo(ratio: float, mtf: float = 0.3) -> int:
    """HR pixels that ↓ reaches beyond an LR pixel's centre."""
    return math.ceil(PSF_RADIUS * psf_sigma(mtf) * ratio) + 1


def up_halo(ratio: float) -> int:
    """HR pixels that ↑ reaches: bicubic taps plus the filling of invalid LR pixels."""
    return math.ceil((2 + FILL_RADIUS) * ratio) + 1


@lru_cache(maxsize=256)
def down_matrix(axis: Axis, mtf: float) -> sparse.csr_array:
    """Weights (n_lr, n_hr) of ↓ along one axis; rows sum to 1.

    The PSF is a gaussian centred on the LR pixel, integrated over each HR pixel, cut at 3 sigma. Beyond the HR
    image it is reflected. Rows of LR pixels of which less than half lies in the HR image are empty.
    """
    sigma = psf_sigma(mtf) * axis.ratio
    lo = axis.ratio * np.arange(axis.n_lr) + axis.offset
    centre = lo + axis.ratio / 2
    inside = np.minimum(lo + axis.ratio, axis.n_hr) - np.maximum(lo, 0)
    rows, cols, weights = [], [], []
    for i in np.flatnonzero(inside >= 0.5 * axis.ratio - 1e-6):
        first = math.floor(centre[i] - PSF_RADIUS * sigma)
        last = math.ceil(centre[i] + PSF_RADIUS * sigma)
        # Cut within a pixel, not at its edge: an uneven cut would shift the image.
        edges = np.clip((np.arange(first, last + 1) - centre[i]) / sigma, -PSF_RADIUS, PSF_RADIUS)
        cumulative = np.array([math.erf(e / math.sqrt(2)) for e in edges])
        weight = np.diff(cumulative)
        rows.append(np.full(weight.size, i))
        cols.append(_reflect(np.arange(first, last), axis.n_hr))
        weights.append(weight / weight.sum())
    return matrix_of(rows, cols, weights, (axis.n_lr, axis.n_hr))


@lru_cache(maxsize=256)
def up_matrix(axis: Axis) -> sparse.csr_array:
    """Weights (n_hr, n_lr) of ↑ along one axis: cubic convolution (Keys 1981, a = -1/2), half-pixel centres.

    Beyond the LR image its edge pixel is repeated. Rows sum to 1.
    """
    position = (np.arange(axis.n_hr) + 0.5 - axis.offset) / axis.ratio - 0.5
    base = np.floor(position).astype(int)
    rows, cols, weights = [], [], []
    for tap in range(-1, 3):
        rows.append(np.arange(axis.n_hr))
        cols.append(np.clip(base + tap, 0, axis.n_lr - 1))
        weights.append(_keys(position - (base + tap)))
    return matrix_of(rows, cols, weights, (axis.n_hr, axis.n_lr))


@lru_cache(maxsize=256)
def nearest_index(axis: Axis) -> npt.NDArray[np.intp]:
    """(n_hr,) LR pixel that holds the centre of each HR pixel; -1 outside the LR grid."""
    # A centre on an LR edge belongs to the next pixel, in a tile as in the whole: offsets are rounded to 1e-6.
    index = np.floor((np.arange(axis.n_hr) + 0.5 - axis.offset) / axis.ratio + 1e-6).astype(np.intp)
    inside = (index >= 0) & (index < axis.n_lr)
    return np.where(inside, index, np.intp(-1))


@lru_cache(maxsize=256)
def cell_matrix(axis: Axis) -> sparse.csr_array:
    """(n_lr, n_hr): 1 where an LR pixel holds the centre of an HR pixel."""
    index = nearest_index(axis)
    inside = np.flatnonzero(index >= 0)
    ones = np.ones(inside.size, np.float32)
    return sparse.csr_array((ones, (index[inside], inside)), shape=(axis.n_lr, axis.n_hr))


def separable(
    image: npt.NDArray[np.floating], rows: sparse.csr_array, cols: sparse.csr_array
) -> npt.NDArray[np.floating]:
    """Apply a matrix along y and one along x to the last two axes of ``image``."""
    flat = image.reshape(-1, *image.shape[-2:])
    out = np.empty((flat.shape[0], rows.shape[0], cols.shape[0]), image.dtype)
    for i, plane in enumerate(flat):
        out[i] = (cols @ (rows @ plane).T).T
    return out.reshape(*image.shape[:-2], *out.shape[-2:])


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _reflect(index: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    """Reflect indices at the image's edges (d c b a | a b c d | d c b a)."""
    index = np.mod(index, 2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)


def matrix_of(
    rows: list[npt.NDArray[np.intp]],
    cols: list[npt.NDArray[np.intp]],
    weights: list[npt.NDArray[np.float64]],
    shape: tuple[int, int],
) -> sparse.csr_array:
    """A sparse matrix (float32) from lists of rows, columns and weights; entries of one place add up."""
    if not rows:
        return sparse.csr_array(shape, dtype=np.float32)
    triple = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(cols)))
    return sparse.coo_array(triple, shape=shape).tocsr()
