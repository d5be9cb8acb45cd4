"""The operators between two grids: PSF blur with area-aligned sampling (↓) and bicubic interpolation (↑).

Both are separable: a sparse matrix per axis, built from the exact positions of the pixels, so that any ratio and
offset (2.5, half a pixel) stay aligned without striding or resampling twice. Both respect masks: ↓ is a normalised
convolution, ↑ first replaces invalid LR pixels by a normalised convolution of their neighbours; no invalid value
ever enters a sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from scipy import sparse

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import GridPair
from .matrices import FILL_RADIUS, down_matrix, matrix_of, nearest_index, separable, up_matrix

MIN_FOOTPRINT = 0.99
"""Share of an LR pixel's PSF that must fall on valid HR pixels for the degraded pixel to be valid."""
FILL_SIGMA = 1.0
"""Width of the gaussian that carries values into invalid LR pixels, in LR pixels."""


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
    return matrix_of(rows, cols, [np.full(r.size, w) for r, w in zip(rows, weight, strict=True)], (n, n))
