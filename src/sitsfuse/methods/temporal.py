"""Temporal interpolation: linear in time between the nearest valid guides, per pixel. Uses no target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import Times
from ..core.dates import days
from ..core.site import group
from ..core.timeline import temporal_weights
from .base import Tile, result
from .shared.in_time import temporal_spread, weighted_sum
from .shared.rehearsal import Rehearsed


@dataclass(frozen=True)
class Temporal(Rehearsed):
    """Linear in time between the nearest valid guides before and after; one-sided, the nearest is held.

    References
    ----------
    The floor of the benchmark in Michel et al., Sentinel-HR phase 0 report, CNES/CESBIO 2022 (hal-03643411).
    """

    name: ClassVar[str] = "temporal"
    paper: ClassVar[str] = "Michel et al. 2022 (baseline)"
    min_guides: ClassVar[int] = 2

    def halo(self, ratio: float) -> int:
        """No context: every pixel stands alone."""
        return 0

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> TemporalPlain:
        """Nothing to learn but the dates of the guides."""
        return TemporalPlain(group(site, "guide")["time"].values)


@dataclass(frozen=True)
class TemporalPlain:
    """Predicts any date alike."""

    guides: Times

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> TemporalPredictor:
        """Nothing to learn."""
        return TemporalPredictor(self.guides, np.empty(0, self.guides.dtype), date)


@dataclass(frozen=True)
class TemporalPredictor:
    """Interpolates the guides of a tile to a date."""

    guides: Times
    targets: Times
    date: np.datetime64

    @property
    def choices(self) -> Mapping[str, Any]:
        """Nothing was chosen."""
        return {}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        values, valid = tile.guide_arrays()
        offsets = days(self.guides, self.date)
        weights = temporal_weights(valid, offsets)
        any_valid = np.asarray(valid.any(axis=0), bool)
        image = weighted_sum(weights, values)
        return result(tile, image, any_valid, temporal_spread(values, valid, weights, offsets), any_valid)
