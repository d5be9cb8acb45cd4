"""What calibrates uncertainties: standard deviations of errors that are not normal, and the noise of images.

A σ is calibrated if the interval ``|e| <= 1.645 σ`` holds 90 % of the errors. Errors of fusion have heavier tails than
a normal distribution (harvests, clouds that masks miss), so that their root mean square would say more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, stats

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days
from ...core.timeline import interpolate
from ...stats.noise import FEWEST, TINY

LEVEL = 0.9
"""Share of the errors that an interval of `Z` standard deviations to both sides holds."""
Z = float(stats.norm.ppf((1 + LEVEL) / 2))
"""1.645."""
FAR = 10.0
"""Longest gap, in days, between a guide and the nearest target image for the two to be compared."""
LEAST_DATES = 3
"""Fewest dates that tell a lasting difference."""
LEAST = 0.1
"""Least share of a variance that is taken for scene, however much noise there is."""


def deviation(errors: npt.NDArray[np.floating]) -> F64Array:
    """The σ of which 90 % of the errors, (..., n), lie within 1.645: (...) float64; 0 without errors."""
    if not errors.shape[-1]:
        return np.zeros(errors.shape[:-1])
    return np.asarray(np.quantile(np.abs(errors), LEVEL, axis=-1) / Z, np.float64)


def lasting_difference(
    images: FloatArray, valid: BoolArray, times: Times, series: FloatArray, series_valid: BoolArray, dates: Times
) -> F64Array:
    """What the target series lastingly shows more than the guides do, (B,), in reflectance.

    At the guides' dates, the median over the pixels of target minus guide; of these, the median over the dates. It is
    drawn to 0 by as much as it is uncertain, and is 0 with fewer than `LEAST_DATES` dates. What harmonisation has left
    of it, no residual correction takes away.

    Parameters
    ----------
    images, valid, times
        (T, B, ...), (T, ...) and (T,): the guides at LR.
    series, series_valid, dates
        The same of the target series; it is interpolated in time.
    """
    found = []
    for image, ok, time in zip(images, valid, times, strict=True):
        offsets = days(dates, time)
        if np.abs(offsets).min() > FAR:
            continue
        target, seen = interpolate(series, series_valid, offsets)
        both = ok & seen
        if np.count_nonzero(both) >= FEWEST:
            found.append(np.median(target[:, both] - image[:, both], axis=1).astype(np.float64))
    if len(found) < LEAST_DATES:
        return np.zeros(images.shape[1])
    centre = np.median(found, axis=0)
    scatter = 1.4826 * np.median(np.abs(found - centre), axis=0)
    # The variance of a median is pi / 2 times that of a mean.
    sure = np.maximum(centre**2 - np.pi / 2 * scatter**2 / len(found), 0)
    return np.asarray(np.sign(centre) * np.sqrt(sure))


def variance_model(columns: Sequence[FloatArray], error: npt.NDArray[np.floating], noise: float) -> F64Array:
    """Non-negative coefficients of squared error on some quantities and 1, calibrated to hold 90 % of the errors.

    Parameters
    ----------
    columns
        (N,) each, in reflectance².
    error
        (N,) in reflectance.
    noise
        Variance in it that is not to be explained: it is known, and no error of the prediction.

    Returns
    -------
    coefficients
        One per column, and the constant last.
    """
    mean = float((error**2).mean())
    table = np.stack([*columns, np.full(error.shape, mean)], axis=1).astype(np.float64)
    size = np.maximum(np.sqrt((table**2).mean(axis=0)), TINY)
    # Weighted by the inverse of a first guess: squared errors scatter in proportion to their size.
    wish = error.astype(np.float64) ** 2 - noise
    trust = 1 / np.maximum(table.sum(axis=1), TINY)
    scale = max(float(trust.max()), TINY)
    found = optimize.nnls(table / size * (trust / scale)[:, None], wish * trust / scale)[0] / size
    told = np.sqrt(table @ found + noise)
    found[-1] *= mean
    return np.asarray(found * deviation(error / np.maximum(told, TINY)) ** 2)


def high_pass(error: npt.NDArray[np.floating], usable: BoolArray) -> FloatArray:
    """Remove from (B, N) errors what 2×2 LR pixels show: the mean over 3×3 with weights 1 2 1."""
    weight = _smooth(usable.astype(np.float32))
    out = np.empty_like(error, np.float32)
    for b, plane in enumerate(error):
        image = on(usable, plane)
        out[b] = (image - _smooth(image) / np.maximum(weight, 1e-6))[usable]
    return out


def local_square(misfit: FloatArray, known: BoolArray) -> FloatArray:
    """Mean of the squared residual over 3×3 LR pixels with weights 1 2 1; (B, ..., y, x)."""
    weight = np.maximum(_smooth(known.astype(np.float32)), 1e-6)
    return np.stack([_smooth(np.where(known, plane**2, 0).astype(np.float32)) / weight for plane in misfit])


def on(usable: BoolArray, values: npt.NDArray[np.floating]) -> FloatArray:
    """(W, y, x) float32: the values (N,) of the usable pixels, 0 elsewhere."""
    image = np.zeros(usable.shape, np.float32)
    image[usable] = values
    return image


def _smooth(image: FloatArray) -> FloatArray:
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    for axis in (-2, -1):
        image = ndimage.convolve1d(image, kernel, axis=axis, mode="constant")
    return image
