"""Strata: pixels of low and of high gradient of a reference, where fusion is easy and where it is hard.

The gradient is that of central differences, ``gx = (f[y, x + 1] - f[y, x - 1]) / 2``, ``gy`` alike. Over the bands,
``mode="mean"`` takes the mean of the signed differences, so that opposite edges of two bands cancel out; ``"norm"``
takes the root of the sum of their squares. The magnitude is ``sqrt(gx² + gy²)``. A pixel is in the stratum low below
the median of the image's magnitudes, and in high at or above their 75th percentile; a pixel that is not valid, or that
one of its four neighbours is not, has no magnitude and is in no stratum but the whole image.

References
----------
The strata are those of J. Michel et al., Sentinel-HR Phase 0 Report, CNES and CESBIO, 2022 (hal-03643411).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from .errors import InputError
from .grid import Window, grown
from .metrics import BETWEEN, HIGH, LOW, NONE, Quantiles, cross
from .series import finite_image
from .streaming import Block, stream, within

Mode = Literal["mean", "norm"]
"""How the gradients of the bands are joined."""
FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]

SHARES = (0.50, 0.75)
"""Percentiles below which a magnitude is low, and from which on it is high."""
BLOCK = 1024
"""Side of the blocks in which an image is read, in pixels."""


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


def gradient(image: FloatArray, valid: BoolArray, mode: Mode = "mean") -> tuple[npt.NDArray[np.float64], BoolArray]:
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


def stratify(
    image: xr.Dataset, window: Window | None = None, mode: Mode = "mean", *, workers: int = 1
) -> npt.NDArray[np.uint8]:
    """The strata of an image.

    Parameters
    ----------
    image
        One image of a series: ``reflectance(band, y, x)`` and ``valid(y, x)``, lazy or not.
    window
        Rows and columns to map; the percentiles are those of the whole image.
    mode
        How the gradients of the bands are joined, ``"mean"`` or ``"norm"``.
    workers
        Threads that read the image.

    Returns
    -------
    strata
        (y, x) uint8: 0 without a gradient, 1 low, 2 between, 3 high.
    """
    check_mode(mode)
    shape = image.sizes["y"], image.sizes["x"]
    magnitudes = Quantiles()

    def collect(block: Block) -> None:
        values, valid = block.arrays
        magnitude, known = gradient(values, valid, mode)
        own = block.inner(block.core)
        magnitudes.add(magnitude[own][known[own]])

    for _ in stream(lambda w: finite_image(image, w), collect, shape, side=BLOCK, reach=1, workers=workers):
        pass
    window = window or (slice(0, shape[0]), slice(0, shape[1]))
    outer = grown(window, 1, shape)
    steep, known = gradient(*finite_image(image, outer), mode)
    return classify(steep, known, Thresholds.of(magnitudes))[within(window, outer)]


def check_mode(mode: str) -> None:
    """Raise :class:`InputError` if there is no such way to join the gradients of bands."""
    if mode not in get_args(Mode):
        raise InputError("mode", f"{mode!r} is unknown", f"choose {' or '.join(get_args(Mode))}")


def _fourfold_square(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """4 (gx² + gy²) of an image without its border, (y, x)."""
    along, down = plane[1:-1, 2:] - plane[1:-1, :-2], plane[2:, 1:-1] - plane[:-2, 1:-1]
    along *= along
    down *= down
    along += down
    return along
