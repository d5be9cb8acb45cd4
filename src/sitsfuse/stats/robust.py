"""Linear fits that outliers do not break: arrays in, numbers out.

A robust start, then the fit again and again to the samples that lie near it. What "the fit" is (orthogonal
distances, ridge, weights that may not be negative…) is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, F64Array

Fit = tuple[F64Array, float]
"""Weights (k,) of the inputs and an offset: ``y = weights @ x + offset``."""

FEWEST = 30
"""Samples below which nothing is fitted."""
OUTLIER = 3.0
"""Distance from the fit beyond which a sample is an outlier, in robust standard deviations."""
STARTS = 1000
"""Pairs of samples whose lines are tried as a start, and samples that judge them."""
ROUNDS = 50
"""Times that a fit is done again at most; about ten are common."""


def settle(
    x: F64Array, y: F64Array, start: Fit, solve: Callable[[BoolArray], Fit]
) -> tuple[F64Array, float, BoolArray]:
    """Fit again and again to the samples near the fit, until these stay the same.

    Samples further than 3 robust standard deviations (1.4826 times the median absolute residual of those kept) are
    left out.

    Parameters
    ----------
    x, y
        (k, n) and (n,) samples, finite.
    start
        What holds for most of the samples.
    solve
        Fits the samples of a mask (n,).

    Returns
    -------
    weights, offset, kept
        The fit, and the mask (n,) of the samples it is fitted to.
    """
    weights, offset = start
    residual = np.abs(y - weights @ x - offset)
    spread = 1.4826 * float(np.median(residual))
    # What rounding moves is not an outlier.
    floor = 1e-5 * float(np.std(y))
    kept = np.zeros(y.size, bool)
    for _ in range(ROUNDS):
        before, kept = kept, residual <= max(OUTLIER * spread, floor)
        if kept.sum() < FEWEST or (before == kept).all():
            break
        weights, offset = solve(kept)
        residual = np.abs(y - weights @ x - offset)
        spread = 1.4826 * float(np.median(residual[kept]))
    return weights, offset, kept


def settle_offset(x: F64Array, y: F64Array, weights: F64Array) -> tuple[float, BoolArray]:
    """The offset for given weights, and the samples kept."""
    rest = y - weights @ x
    return settle(x, y, (weights, float(np.median(rest))), lambda kept: (weights, float(rest[kept].mean())))[1:]


def least_median_line(x: F64Array, y: F64Array) -> tuple[float, float] | None:
    """Slope and intercept of the rising line through two samples that has the least median of distances.

    It holds as long as more than half of the samples lie along one line, wherever the others are.

    Parameters
    ----------
    x, y
        (n,) samples, finite; x is not constant.

    Returns
    -------
    slope, intercept
        Or None if no line rises.

    References
    ----------
    P. J. Rousseeuw, "Least median of squares regression", Journal of the American Statistical Association 79, 1984.
    """
    u, v = draw([x, y], STARTS)
    i, j = np.random.default_rng(0).integers(0, u.size, (2, STARTS))
    # Between near samples the noise tells the slope: drop the nearest quarter of the pairs.
    apart = np.abs(u[i] - u[j])
    far = apart > np.quantile(apart, 0.25)
    i, j = i[far], j[far]
    slope = (v[i] - v[j]) / (u[i] - u[j])
    i, slope = i[slope > 0], slope[slope > 0]
    if not slope.size:
        return None
    intercept = v[i] - slope * u[i]
    residual = np.abs(v - slope[:, None] * u - intercept[:, None])
    # Distances in x and in y, each in units of its spread, count alike: that is, over the root of the slope.
    best = int(np.argmin(np.median(residual, axis=1) / np.sqrt(slope)))
    return float(slope[best]), float(intercept[best])


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Where the weights below and above are equal, linear between the values."""
    order = np.argsort(values)
    v, w = np.asarray(values)[order], np.asarray(weights)[order]
    return float(np.interp(w.sum() / 2, np.cumsum(w) - w / 2, v))


def draw(arrays: Sequence[npt.NDArray[Any]], most: int) -> list[npt.NDArray[Any]]:
    """At most ``most`` along the last axis, one at random from each of as many equal stretches; always the same."""
    n = arrays[0].shape[-1]
    if n <= most:
        return list(arrays)
    index = ((np.arange(most) + np.random.default_rng(0).random(most)) * (n / most)).astype(np.intp)
    return [a[..., np.minimum(index, n - 1)] for a in arrays]


def is_flat(x: F64Array) -> bool:
    """Whether values differ by no more than rounding."""
    return x.size == 0 or float(np.ptp(x)) <= 1e-6 * float(np.abs(x).max())
