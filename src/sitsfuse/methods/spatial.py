"""Spatial interpolation: the target, bicubic. Uses no guide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import Times
from ..operators.deviation import local_deviation
from ..operators.matrices import FILL_RADIUS, up_halo
from ..operators.updown import up
from .base import Tile, result
from .shared.rehearsal import Rehearsed


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

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> SpatialPlain:
        """Nothing to learn."""
        return SpatialPlain()


@dataclass(frozen=True)
class SpatialPlain:
    """Predicts any date alike."""

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> SpatialPredictor:
        """Nothing to learn."""
        times = target["time"].values
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
