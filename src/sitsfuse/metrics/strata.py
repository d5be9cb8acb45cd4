"""Classes of pixels by their gradient: low, high, and what lies between."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyFloats, BoolArray
from . import BETWEEN, HIGH, LOW, NONE, Quantiles, cross

Mode = Literal["mean", "norm"]
"""How the gradients of the bands are joined."""

SHARES = (0.50, 0.75)
"""Percentiles below which a magnitude is low, and from which on it is high."""


@dataclass(frozen=True)
class Thresholds:
    """Magnitudes that part the strata, in reflectance per pixel; NaN of an image without any."""

    low: float = math.nan
    """Below it, a pixel is in the stratum low."""
    high: float = math.nan
    """From it on, a pixel is in the stratum high."""

    @classmethod
    def of(cls, magnitudes: Quantiles) -> Thresholds:
        """The thresholds of an image, from all its magnitudes."""
        low, high = magnitudes.at(SHARES)
        return cls(low, high)


def gradient(image: AnyFloats, valid: BoolArray, mode: Mode = "mean") -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Gradient magnitude over all bands.

    Parameters
    ----------
    image
        (band, y, x) reflectance, read only where valid.
    valid
        (y, x) bool.
    mode
        ``"mean"`` of the bands' signed differences, or ``"norm"`` over them.

    Returns
    -------
    magnitude
        (y, x) float64, reflectance per pixel; 0 where unknown.
    known
        (y, x) bool: pixels that are valid and have four valid neighbours.
    """
    known = cross(valid)
    out = np.zeros(valid.shape)
    # Of what is known only: at the border and beside invalid pixels there is none.
    inner = out[1:-1, 1:-1]
    if mode == "norm":
        for band in image:
            inner += _fourfold_square(np.where(valid, band.astype(np.float64), 0))
    else:
        # Differences are linear: the mean of those of the bands is that of the bands' mean.
        total = np.zeros(valid.shape)
        for band in image:
            np.add(total, band, out=total, where=valid)
        inner += _fourfold_square(total / len(image))
    np.sqrt(inner, out=inner)
    out *= 0.5
    out[~known] = 0
    return out, known


def classify(magnitude: npt.NDArray[np.float64], known: BoolArray, thresholds: Thresholds) -> npt.NDArray[np.uint8]:
    """(y, x) uint8 map of the strata: NONE where there is no magnitude, LOW, BETWEEN or HIGH."""
    out = np.where(known, np.uint8(BETWEEN), np.uint8(NONE))
    out[known & (magnitude < thresholds.low)] = LOW
    out[known & (magnitude >= thresholds.high)] = HIGH
    return out


def _fourfold_square(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """4 (gx² + gy²) of an image without its border, (y, x)."""
    along, down = plane[1:-1, 2:] - plane[1:-1, :-2], plane[2:, 1:-1] - plane[:-2, 1:-1]
    along *= along
    down *= down
    along += down
    return along
