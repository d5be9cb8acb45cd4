"""Difference interpolation: the guides interpolated in time, corrected by what the target shows at LR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import Times
from ..core.dates import days
from ..core.series import mtf
from ..core.site import group
from ..core.timeline import temporal_weights
from ..operators.residual import correct, residual_halo, spread_residual
from ..operators.updown import up_mask
from .base import Tile, result
from .shared.in_time import temporal_spread, weighted_sum
from .shared.rehearsal import Rehearsed


@dataclass(frozen=True)
class Difference(Rehearsed):
    """Guides, linear in time, corrected by what the target shows: ``P = sum w F + (C - sum w F↓)↑``.

    Interpolating ``F_k - C_k↑`` linearly in time and adding ``C_p↑`` is the same, because ↑ is linear; written this
    way it also holds where guides have clouds, whose weights then differ from pixel to pixel. Where the target is
    cloudy the correction is carried in from around and fades to 0.

    References
    ----------
    Luo, Guan, Peng, STAIR: a generic and fully-automated method to fuse multiple sources of optical satellite data,
    Remote Sensing of Environment 214, 2018.
    """

    name: ClassVar[str] = "difference"
    paper: ClassVar[str] = "Luo et al. 2018 (STAIR-like)"
    min_guides: ClassVar[int] = 2

    def halo(self, ratio: float) -> int:
        """The reach of a residual correction."""
        return residual_halo(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> DifferencePlain:
        """Nothing to learn but the dates of the guides and the LR sensor's MTF."""
        return DifferencePlain(group(site, "guide")["time"].values, tuple(mtf(group(site, "target"))))


@dataclass(frozen=True)
class DifferencePlain:
    """Predicts any date alike."""

    guides: Times
    mtf: tuple[float, ...]

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> DifferencePredictor:
        """Nothing to learn."""
        return DifferencePredictor(self.guides, np.array([date], self.guides.dtype), self.mtf)


@dataclass(frozen=True)
class DifferencePredictor:
    """Interpolates the guides of a tile and corrects them by the target."""

    guides: Times
    targets: Times
    mtf: tuple[float, ...]

    @property
    def choices(self) -> Mapping[str, Any]:
        """Nothing was chosen."""
        return {}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        values, valid = tile.guide_arrays()
        target, clear = tile.target_arrays()
        offsets = days(self.guides, self.targets[0])
        weights = temporal_weights(valid, offsets)
        any_valid = np.asarray(valid.any(axis=0), bool)
        prior = weighted_sum(weights, values)
        whole = (1.0,) * len(prior)
        image, misfit, known = correct(prior, any_valid, target, clear, tile.grids, self.mtf, whole, iterations=1)
        unknown = temporal_spread(values, valid, weights, offsets)
        seen = up_mask(known, tile.grids)
        size = spread_residual(np.abs(misfit), known, tile.grids)
        return result(tile, image, any_valid, np.where(seen, np.abs(size), unknown), ~seen)
