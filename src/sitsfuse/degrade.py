"""The operators between two grids: PSF blur with area-aligned sampling (↓) and bicubic interpolation (↑).

Both are separable: a sparse matrix per axis, built from the exact positions of the pixels, so that any ratio and
offset (2.5, half a pixel) stay aligned without striding or resampling twice. Both respect masks: ↓ is a normalised
convolution, ↑ first replaces invalid LR pixels by a normalised convolution of their neighbours; no invalid value
ever enters a sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from .grid import Axis, GridPair

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

MIN_FOOTPRINT = 0.99
"""Share of an LR pixel's PSF that must fall on valid HR pixels for the degraded pixel to be valid."""
PSF_RADIUS = 3.0
"""Where the PSF is cut, in standard deviations."""
FILL_SIGMA = 1.0
"""Width of the gaussian that carries values into invalid LR pixels, in LR pixels."""
FILL_RADIUS = 3
"""Where that gaussian is cut, in LR pixels: further than this from valid pixels, nothing is filled."""


def psf_sigma(mtf: float) -> float:
    """Standard deviation of the gaussian PSF with a given MTF at the Nyquist frequency, in LR pixels.

    ``sigma = sqrt(-2 ln MTF) / pi``.
    """
    if not 0 < mtf < 1:
        raise ValueError(f"MTF at Nyquist must lie in (0, 1), not {mtf}")
    return math.sqrt(-2 * math.log(mtf)) / math.pi


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
    return _matrix(rows, cols, weights, (axis.n_lr, axis.n_hr))


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
    return _matrix(rows, cols, weights, (axis.n_hr, axis.n_lr))


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


def down(
    values: FloatArray,
    valid: BoolArray,
    pair: GridPair,
    mtf: float | Sequence[float] = 0.3,
    min_footprint: float = MIN_FOOTPRINT,
) -> tuple[FloatArray, BoolArray]:
    """Degrade HR images to the LR grid (↓).

    Parameters
    ----------
    values
        (..., band, y, x) float32 on the HR grid; read only where valid.
    valid
        (..., y, x) bool.
    pair
        The two grids.
    mtf
        MTF of the LR sensor at its Nyquist frequency, one for all bands or one each.
    min_footprint
        Share of the PSF that must be valid.

    Returns
    -------
    values, valid
        On the LR grid; NaN where invalid. A pixel is valid if it is valid in every band's footprint.
    """
    mtfs = [float(mtf)] * values.shape[-3] if np.isscalar(mtf) else [float(m) for m in mtf]  # type: ignore
    return down_by(
        {m: (down_matrix(pair.y, m), down_matrix(pair.x, m)) for m in mtfs}, values, valid, mtfs, min_footprint
    )


def down_by(
    operators: Mapping[float, tuple[sparse.csr_array, sparse.csr_array]],
    values: FloatArray,
    valid: BoolArray,
    mtfs: Sequence[float],
    min_footprint: float,
) -> tuple[FloatArray, BoolArray]:
    """:func:`down` with given matrices: those of a pair of grids, or windows cut out of them.

    Parameters
    ----------
    operators
        Matrices along rows and columns, for each MTF.
    values, valid, min_footprint
        As for :func:`down`.
    mtfs
        MTF of each band.
    """
    rows, cols = next(iter(operators.values()))
    shape = (rows.shape[0], cols.shape[0])
    out = np.full((*values.shape[:-2], *shape), np.nan, np.float32)
    ok = np.ones((*valid.shape[:-2], *shape), bool)
    for m, (rows, cols) in operators.items():
        weight = separable(valid.astype(np.float32), rows, cols)
        usable = weight >= min_footprint - 1e-6
        safe = np.where(usable, weight, 1)
        for k in (k for k, other in enumerate(mtfs) if other == m):
            total = separable(np.where(valid, values[..., k, :, :], np.float32(0)), rows, cols)
            out[..., k, :, :] = total / safe
        ok &= usable
    out[~np.broadcast_to(ok[..., None, :, :], out.shape)] = np.nan
    return out, ok


def up(values: FloatArray, valid: BoolArray, pair: GridPair) -> tuple[FloatArray, BoolArray]:
    """Interpolate LR images to the HR grid (↑): bicubic, half-pixel centres.

    Parameters
    ----------
    values
        (..., band, y, x) float32 on the LR grid; read only where valid.
    valid
        (..., y, x) bool.
    pair
        The two grids.

    Returns
    -------
    values, valid
        On the HR grid. A pixel is valid if the LR pixel that holds it is; NaN elsewhere.
    """
    filled = fill(values, valid)
    out = separable(filled, up_matrix(pair.y), up_matrix(pair.x)).astype(np.float32, copy=False)
    ok = up_mask(valid, pair)
    out[~np.broadcast_to(ok[..., None, :, :], out.shape)] = np.nan
    return out, ok


def up_mask(valid: BoolArray, pair: GridPair) -> BoolArray:
    """Carry an LR mask to the HR grid; False outside the LR grid."""
    iy, ix = nearest_index(pair.y), nearest_index(pair.x)
    out = valid[..., iy[:, None], ix[None, :]]
    return np.asarray(out & (iy >= 0)[:, None] & (ix >= 0)[None, :], dtype=bool)


def fill(values: FloatArray, valid: BoolArray, fade: float = 0.0) -> FloatArray:
    """Replace invalid LR pixels by a gaussian mean of the valid ones around them.

    Parameters
    ----------
    values
        (..., band, y, x) float32; read only where valid.
    valid
        (..., y, x) bool.
    fade
        Weight of an extra value 0 in every mean: with a positive one, what is carried fades to 0 away from the valid
        pixels. Pixels without a valid one in reach become 0.

    Returns
    -------
    filled
        Like ``values``, finite everywhere, unchanged where valid.
    """
    if valid.all():
        return np.array(values, np.float32, copy=True)
    kernel = [_fill_matrix(n) for n in valid.shape[-2:]]
    clean = np.where(valid[..., None, :, :], values, np.float32(0)).astype(np.float32, copy=False)
    weight = separable(valid.astype(np.float32), *kernel)[..., None, :, :] + np.float32(fade)
    total = separable(clean, *kernel)
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-6)
    return np.where(valid[..., None, :, :], clean, mean)


@lru_cache(maxsize=64)
def _fill_matrix(n: int) -> sparse.csr_array:
    steps = range(-FILL_RADIUS, FILL_RADIUS + 1)
    weight = np.exp(-0.5 * (np.array(steps) / FILL_SIGMA) ** 2)
    keep = [(max(0, -s), min(n, n - s)) for s in steps]
    rows = [np.arange(a, b) for a, b in keep]
    cols = [r + s for r, s in zip(rows, steps, strict=True)]
    return _matrix(rows, cols, [np.full(r.size, w) for r, w in zip(rows, weight, strict=True)], (n, n))


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _reflect(index: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    """Reflect indices at the image's edges (d c b a | a b c d | d c b a)."""
    index = np.mod(index, 2 * n)
    return np.where(index < n, index, 2 * n - 1 - index)


def _matrix(
    rows: list[npt.NDArray[np.intp]],
    cols: list[npt.NDArray[np.intp]],
    weights: list[npt.NDArray[np.float64]],
    shape: tuple[int, int],
) -> sparse.csr_array:
    if not rows:
        return sparse.csr_array(shape, dtype=np.float32)
    triple = (np.concatenate(weights).astype(np.float32), (np.concatenate(rows), np.concatenate(cols)))
    return sparse.coo_array(triple, shape=shape).tocsr()
