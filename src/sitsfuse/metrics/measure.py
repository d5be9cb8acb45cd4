"""From a block of two images to sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyFloats, BoolArray, ByteArray, F64Array
from ..stats.quantiles import Quantiles
from . import _kernels as k
from .sums import BOUNDS, COLUMNS, PARTS

STRATA = ("all", "low", "high")
"""Strata by the gradient of the reference, in the order of the sums' rows."""
MAPPED = 4
"""Kinds of pixels that a map of strata tells apart."""
REACH = k.DISC // 2
"""Pixels that the largest window reaches beyond its centre."""


@dataclass(frozen=True)
class Masks:
    """The pixels of a block that count, alone and as centres of windows; each (y, x) bool."""

    valid: BoolArray
    """Pixels to be compared."""
    pixel: BoolArray
    """Those that the block owns."""
    cross: BoolArray
    """Those whose four neighbours are valid too."""
    square: BoolArray
    """Centres of valid windows of UIQI."""
    disc: BoolArray
    """Centres of valid windows of `structural`."""

    @classmethod
    def of(cls, valid: BoolArray, core: BoolArray) -> Masks:
        """The masks of a block.

        Parameters
        ----------
        valid
            (y, x) bool: the pixels to be compared.
        core
            (y, x) bool: the pixels that the block owns; the others are there for the windows.
        """
        valid = np.ascontiguousarray(valid)
        windows = []
        for before, side in ((k.BEFORE_SQUARE, k.SQUARE), (REACH, k.DISC)):
            found = np.empty_like(valid)
            k.whole(valid, before, side, found)
            windows.append(found & core)
        return cls(valid, valid & core, cross(valid) & core, *windows)


def cross(valid: BoolArray) -> BoolArray:
    """(y, x) pixels that are valid and whose four neighbours are within the image and valid."""
    out = np.zeros_like(valid)
    out[1:-1, 1:-1] = (
        valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    )  # fmt: skip
    return out


def measure(
    prediction: AnyFloats,
    reference: AnyFloats,
    masks: Masks,
    strata: ByteArray,
    sizes: Sequence[Quantiles],
    *,
    level: float = 0.0,
    c: float = 0.0,
    sigma: AnyFloats | None = None,
) -> F64Array:
    """Sum up one band of a block.

    Parameters
    ----------
    prediction, reference
        (y, x), read only where valid.
    masks
        Which pixels and windows count.
    strata
        (y, x) map of the strata, see :mod:`sitsfuse.evaluation.strata`.
    sizes
        For each of the :data:`MAPPED` kinds of pixels, where its absolute errors go.
    level
        About the mean of the reference: taken off first, lest variances drown in rounding.
    c
        The constant of the structure term, in squared reflectance.
    sigma
        (y, x) standard deviation that the prediction states; does not count where NaN or negative.

    Returns
    -------
    sums
        (3, columns) for the strata all, low and high; see :data:`sitsfuse.metrics.sums.COLUMNS`.
    """
    p, r = (_filled(image, masks.valid, level) for image in (prediction, reference))
    sums = np.zeros((len(STRATA), len(COLUMNS)))
    parts = {name: sums[:, columns] for name, columns in PARTS.items()}
    found = np.empty((MAPPED, p.size + 1))
    filled = np.zeros(MAPPED, np.int64)
    k.errors(p, r, masks.pixel, strata, parts["errors"], found, filled)
    for quantiles, values, n in zip(sizes, found, filled, strict=True):
        quantiles.add(values[:n])
    sums[:, COLUMNS.index("reference")] += level * sums[:, COLUMNS.index("pixels")]
    k.gradients(p, r, masks.cross, strata, parts["gradients"])
    k.uiqi(p, r, masks.square, strata, level, parts["uiqi"])
    k.structural(p, r, masks.disc, strata, level, c, k.gaussian(), parts["structural"])
    if sigma is not None:
        known = masks.pixel & np.isfinite(sigma) & (sigma >= 0)
        k.coverages(p, r, _filled(sigma, known), known, strata, BOUNDS, parts["coverages"])
    return sums


def spectral_angles(
    prediction: npt.NDArray[np.float32], reference: npt.NDArray[np.float32], masks: Masks, strata: ByteArray
) -> F64Array:
    """Number of angles between the spectra of two images, (band, y, x) float32, and their sum in radians: (3, 2)."""
    sums = np.zeros((len(STRATA), 2))
    k.angles(np.ascontiguousarray(prediction), np.ascontiguousarray(reference), masks.pixel, strata, sums)
    return sums


def ndvi(red: AnyFloats, nir: AnyFloats, valid: BoolArray | None = None) -> F64Array:
    """Normalised difference vegetation index, (nir - red) / (nir + red).

    Parameters
    ----------
    red, nir
        Reflectances of one shape.
    valid
        Where they are valid; they are read nowhere else. Everywhere by default.

    Returns
    -------
    ndvi
        float64, held within [-1, 1] where a reflectance is negative; NaN where invalid or nir + red is not positive.
    """
    r, n = (_filled(band, np.ones(np.shape(band), bool) if valid is None else valid) for band in (red, nir))
    total = n + r
    ratio = np.divide(n - r, total, out=np.full_like(total, np.nan), where=total > 0)
    return np.clip(ratio, -1, 1)


def _filled(image: AnyFloats, valid: BoolArray, level: float = 0.0) -> F64Array:
    """The image less a level, in float64; 0 where invalid."""
    out = np.zeros(np.shape(image))
    return np.subtract(image, level, out=out, where=valid, dtype=np.float64)
