"""Noise and grain of images."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.arrays import BoolArray, F64Array, FloatArray

FEWEST = 50
"""Fewest pixels at which something is measured."""
APART = 25.0
"""Days between two images beyond which their difference tells no noise."""
TINY = 1e-20
"""What variances are divided by at least, in reflectance²."""


def white_noise(images: FloatArray, valid: BoolArray) -> F64Array:
    """Standard deviation of the white noise in images, (band,).

    The product of the second differences along rows and columns leaves little but noise of an image that a PSF has
    smoothed; the median of its absolute value does not see the edges.

    Parameters
    ----------
    images
        (band, ..., y, x); read only where valid.
    valid
        (..., y, x) bool. With fewer than `FEWEST` valid windows of 3×3 pixels the noise counts as 0.

    References
    ----------
    Immerkær, Fast noise variance estimation, Computer Vision and Image Understanding 64(2), 1996.
    """
    size = (1,) * (valid.ndim - 2) + (3, 3)
    inside = ndimage.minimum_filter(valid.astype(np.uint8), size, mode="constant") > 0
    if np.count_nonzero(inside) < FEWEST:
        return np.zeros(len(images))
    out = []
    for image in images:
        rough = np.where(valid, image, np.float32(0))
        for axis in (-2, -1):
            rough = ndimage.convolve1d(rough, [1.0, -2.0, 1.0], axis=axis, mode="constant")
        # The weights of the 3×3 window have a norm of 6; the median absolute value of a normal variable is 0.6745.
        out.append(float(np.median(np.abs(rough[inside]))) / (6 * 0.6745))
    return np.array(out)


def grain_and_noise(values: FloatArray, valid: BoolArray) -> tuple[F64Array, F64Array]:
    """Variance of what is white in an image of a series, (B,), and the part of it that is the sensor's noise.

    It is measured on the changes from image to image. Where the images themselves hold no more of it, it is noise;
    where they do, they are sharper than a PSF would leave them, and what changes is structure, displaced or grown.

    Parameters
    ----------
    values, valid
        (T, B, y, x), read only where valid, and (T, y, x).
    """
    changes, images = [], []
    for k in range(len(values) - 1):
        both = valid[k] & valid[k + 1]
        after, before = (np.where(both, values[i], np.float32(0)) for i in (k + 1, k))
        change = white_noise(after - before, both) ** 2 / 2
        if change.any():
            changes.append(change)
            images.append(white_noise(values[k], valid[k]) ** 2)
    if not changes:
        return np.zeros(values.shape[1]), np.zeros(values.shape[1])
    grain, image = np.median(changes, axis=0), np.median(images, axis=0)
    return grain, grain * np.minimum(1, grain / np.maximum(image, TINY))


def series_noise(values: FloatArray, valid: BoolArray, days: F64Array) -> F64Array:
    """Standard deviation of a sensor's white noise, by what cannot be scene in a series of its images, (B,).

    Each image is compared with the one before, and with what the two around it interpolate to. What changes in between
    only adds to the noise; so the least found is nearest to it. White noise comes out 0 to 20 % low.

    Parameters
    ----------
    values, valid
        (S, B, ..., y, x), read only where valid, and (S, ..., y, x).
    days
        (S,) increasing. Images more than `APART` days apart are not compared.
    """
    found = []
    for k in range(1, len(values)):
        for ahead in (False, True):
            if ahead and k + 1 == len(values):
                continue
            others = (k - 1, k + 1) if ahead else (k - 1,)
            if max(abs(days[i] - days[k]) for i in others) > APART:
                continue
            share = (days[k + 1] - days[k]) / (days[k + 1] - days[k - 1]) if ahead else 1.0
            weights = (share, 1 - share)[: len(others)]
            both = valid[k] & np.logical_and.reduce([valid[i] for i in others])
            if np.count_nonzero(both) < 4 * FEWEST:
                continue
            change = values[k] - sum(np.float32(w) * values[i] for w, i in zip(weights, others, strict=True))
            noise = white_noise(np.where(both, change, np.float32(0)), both)
            if noise.any():
                found.append(noise / np.sqrt(1 + sum(w**2 for w in weights)))
    return np.min(found, axis=0) if found else np.zeros(values.shape[1])
