"""Guides weighted in time, and how far they lie apart there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, FloatArray


def weighted_sum(weights: FloatArray, values: FloatArray) -> FloatArray:
    """``sum over time of w F``: (time, y, x), (time, band, y, x) → (band, y, x). Images of weight 0 are not read."""
    out = np.zeros(values.shape[1:], np.float32)
    for weight, image in zip(weights, values, strict=True):
        if weight.any():
            out += np.where(weight > 0, image, np.float32(0)) * weight
    return out


def temporal_spread(
    values: FloatArray, valid: BoolArray, weights: FloatArray, offsets: npt.NDArray[np.float64]
) -> FloatArray:
    """Uncertainty of a value interpolated in time, (band, y, x) float32, in reflectance.

    The standard deviation of the pixel's valid guides, in full where the nearest guide is held, and times
    ``2 sqrt(w (1 - w))`` between two guides: nothing at a guide's date, most in the middle. ``offsets`` are the days to
    each guide.
    """
    count = np.maximum(valid.sum(axis=0), 1).astype(np.float32)
    clean: npt.NDArray[np.float32] = np.where(valid[:, None], values, np.float32(0))
    mean = clean.sum(axis=0) / count
    square = np.zeros_like(mean)
    for image, ok in zip(clean, valid, strict=True):
        square += np.where(ok, (image - mean) ** 2, np.float32(0))
    largest = weights.max(axis=0)
    today = (valid & (offsets == 0).reshape(-1, *(1,) * (valid.ndim - 1))).any(axis=0)
    held = np.where(today, np.float32(0), np.float32(1))
    share = np.where(largest >= 1, held, 2 * np.sqrt(np.clip(largest * (1 - largest), 0, None)))
    return np.asarray(np.sqrt(square / count) * share, dtype=np.float32)
