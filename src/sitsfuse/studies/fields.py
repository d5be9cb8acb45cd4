"""What disturbs images, as arrays: displacements, smooth fields and clouds."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..operators.updown import fill

SMOOTH = 0.15
"""Standard deviation of the Gaussian that makes a field smooth, as a share of the image's side."""
CLOUD = (0.62, 0.05)
"""Mean and standard deviation of the reflectance of a cloud."""


def shifted(values: FloatArray, valid: BoolArray, rows: float, cols: float) -> tuple[FloatArray, BoolArray]:
    """An image whose content lies some pixels further down and to the right, by cubic splines.

    Parameters
    ----------
    values
        (band, y, x), read only where valid.
    valid
        (y, x).
    rows, cols
        Displacement, in pixels. Beyond the image the nearest pixel goes on, so that nothing is lost at its edges.

    Returns
    -------
    values, valid
        Of the same shapes; a pixel is valid if those that it is made of are.
    """
    if not rows and not cols:
        return values, valid
    whole = fill(values, valid)
    moved = np.stack([ndimage.shift(band, (rows, cols), order=3, mode="nearest") for band in whole])
    clear = ndimage.shift(valid.astype(np.float32), (rows, cols), order=1, mode="nearest") > 0.99
    return np.where(clear, moved, np.float32(np.nan)).astype(np.float32), np.asarray(clear, bool)


def smooth_field(shape: tuple[int, int], rng: np.random.Generator) -> F64Array:
    """(y, x) a smooth random field of mean 0 and standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), [max(SMOOTH * n, 0.5) for n in shape], mode="wrap")
    spread = float(noise.std())
    return np.asarray((noise - noise.mean()) / (spread or 1.0))


def cloudy(shape: tuple[int, int], share: float, rng: np.random.Generator) -> BoolArray:
    """(y, x) the highest parts of a smooth field: so large a share of the pixels."""
    field = smooth_field(shape, rng)
    order = np.empty(field.size, np.int64)
    order[np.argsort(-field, axis=None, kind="stable")] = np.arange(field.size)
    return np.asarray((order < round(share * field.size)).reshape(shape))
