"""Linear interpolation in time between the nearest valid images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .arrays import BoolArray, FloatArray


def temporal_weights(valid: BoolArray, offsets: npt.NDArray[np.float64]) -> FloatArray:
    """Weight of each image when interpolating to day 0, per pixel.

    Linear in time between the nearest valid image before and the nearest valid one after; where one side has none,
    the nearest of the other is held.

    Parameters
    ----------
    valid
        (time, ...) bool.
    offsets
        (time,) signed days from the date to predict to each image, increasing.

    Returns
    -------
    weights
        (time, ...) float32, ≥ 0; they sum to 1 where any image is valid and to 0 elsewhere.
    """
    n = len(offsets)
    shape = valid.shape[1:]
    before = np.full(shape, -1, np.int32)
    after = np.full(shape, -1, np.int32)
    for i in np.flatnonzero(offsets <= 0):
        before[valid[i]] = i
    for i in np.flatnonzero(offsets > 0)[::-1]:
        after[valid[i]] = i
    distance = np.abs(offsets)
    gap_before = np.where(before >= 0, distance[before], np.inf)
    gap_after = np.where(after >= 0, distance[after], np.inf)
    with np.errstate(invalid="ignore"):
        # One-sided: the other gap is infinite, and the share of the near side is 1.
        share_before = np.where(
            np.isinf(gap_after), 1.0, np.where(np.isinf(gap_before), 0.0, gap_after / (gap_before + gap_after))
        )
    weights = np.zeros((n, *shape), np.float32)
    for weight, k in zip(weights, range(n), strict=True):
        weight[before == k] = share_before[before == k]
        weight[after == k] = (1.0 - share_before)[after == k]
    return weights


def effective_gap(valid: BoolArray, offsets: npt.NDArray[np.float64]) -> FloatArray:
    """How badly the valid images around day 0 serve to interpolate to it, as the length of a gap, per pixel.

    ``4 a b / (a + b)`` days, a and b the days to the nearest valid image before and after: the gap itself in its
    middle, less near its ends, 0 on the day of an image. With images on one side only it is the limit, ``4 a``.

    Parameters
    ----------
    valid
        (time, ...) bool.
    offsets
        (time,) signed days from day 0 to each image.

    Returns
    -------
    gap
        (...) float32; infinite where no image is valid.
    """
    shape = (-1,) + (1,) * (valid.ndim - 1)
    distance = np.abs(offsets).reshape(shape)
    before, after = (
        np.where(valid & side.reshape(shape), distance, np.inf).min(axis=0) for side in (offsets <= 0, offsets > 0)
    )
    near, far = np.minimum(before, after), np.maximum(before, after)
    # 0 on the day of an image, and without any there is no share of one side in the other.
    share = np.divide(near, far, out=np.zeros_like(near), where=(far > 0) & np.isfinite(near))
    return np.asarray(4 * near / (1 + share), np.float32)


def bridge(offsets: npt.NDArray[np.float64]) -> float:
    """Days that a linear interpolation to day 0 amounts to: ``a b / (a + b)``, as the variance of a Brownian bridge.

    ``offsets`` are the days to the images; with images on one side only it is the days to the nearest.
    """
    before, after = -offsets[offsets <= 0], offsets[offsets >= 0]
    a, b = (float(side.min()) if side.size else np.inf for side in (before, after))
    if min(a, b) == 0:
        return 0.0
    return min(a, b) if np.isinf(max(a, b)) else a * b / (a + b)


def interpolate(values: FloatArray, valid: BoolArray, offsets: npt.NDArray[np.float64]) -> tuple[FloatArray, BoolArray]:
    """Interpolate images to day 0.

    Parameters
    ----------
    values
        (time, band, y, x) float32.
    valid
        (time, y, x) bool.
    offsets
        (time,) signed days, increasing.

    Returns
    -------
    values, valid
        (band, y, x) float32, NaN where no image is valid; (y, x) bool.
    """
    weights = temporal_weights(valid, offsets)
    out: FloatArray = np.zeros(values.shape[1:], np.float32)
    for image, weight in zip(values, weights, strict=True):
        out += np.where(weight > 0, image, 0) * weight
    any_valid: BoolArray = np.asarray(valid.any(axis=0), dtype=bool)
    out[:, ~any_valid] = np.nan
    return out, any_valid
