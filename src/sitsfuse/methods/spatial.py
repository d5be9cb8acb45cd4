"""Spatial interpolation: the target, bicubic. Uses no guide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from scipy import ndimage

from ..degrade import FILL_RADIUS, fill, up, up_halo
from ..series import group
from .base import BoolArray, FloatArray, Tile, Times, result
from .rehearsal import Rehearsed


@dataclass(frozen=True)
class Spatial(Rehearsed):
    """Bicubic interpolation of the target with half-pixel centres.

    References
    ----------
    Keys, Cubic convolution interpolation for digital image processing, IEEE TASSP 29(6), 1981.
    """

    name: ClassVar[str] = "spatial"
    paper: ClassVar[str] = "Keys 1981 (baseline)"
    min_guides: ClassVar[int] = 0

    def halo(self, ratio: float) -> int:
        """The reach of the interpolation of the local deviation, which fills invalid pixels once more."""
        return up_halo(ratio) + math.ceil((1 + FILL_RADIUS) * ratio)

    def prepare(self, site: xr.DataTree, date: np.datetime64) -> SpatialPredictor:
        """Nothing to learn."""
        times = group(site, "guide")["time"].values
        return SpatialPredictor(np.empty(0, times.dtype), np.array([date], times.dtype))


@dataclass(frozen=True)
class SpatialPredictor:
    """Interpolates the target of a tile."""

    guides: Times
    targets: Times

    @property
    def choices(self) -> Mapping[str, Any]:
        """Nothing was chosen."""
        return {}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        values, valid = tile.target_arrays()
        image, ok = up(values, valid, tile.grids)
        spread, _ = up(local_deviation(values, valid), valid, tile.grids)
        return result(tile, image, ok, np.maximum(spread, 0))


def local_deviation(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Standard deviation over 3×3 LR pixels, (band, y, x): what bicubic interpolation cannot know is of that size."""
    clean = fill(values, valid).astype(np.float64)
    size = (0, 3, 3)
    mean = ndimage.uniform_filter(clean, size[1:], axes=(-2, -1), mode="nearest")
    square = ndimage.uniform_filter(clean**2, size[1:], axes=(-2, -1), mode="nearest")
    return np.asarray(np.sqrt(np.clip(square - mean**2, 0, None)), np.float32)
