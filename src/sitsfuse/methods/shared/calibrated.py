"""A predictor whose uncertainty is calibrated: variance ``a σ² + c`` instead of the method's own σ²."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days
from ...core.timeline import effective_gap
from ..base import Predictor, Tile

SOON = 0.1
"""Gap between guides, as a share of the rehearsed ones, below which the constant shrinks: it is 0 at a guide's date."""
ROWS = 64
"""Rows of a tile of which the gaps are found at a time."""


@dataclass(frozen=True)
class Calibration:
    """Variance ``a σ² + c`` of the error: such that 90 % of the errors lie within 1.645 of its square roots."""

    clear: F64Array
    """(B, 2) a and c, in reflectance², where the target is clear."""
    filled: F64Array
    """(B, 2) the same where it is not."""
    gap: float
    """Effective gap between the guides (`effective_gap`), in days, for which c holds; 0: for any."""

    def __call__(self, uncertainty: FloatArray, filled: BoolArray, gap: FloatArray | float) -> FloatArray:
        """Calibrate the (B, y, x) uncertainty of pixels that are filled or not, (y, x), in a gap between guides."""
        clear, cloudy = (model.astype(np.float32)[..., None, None] for model in (self.clear, self.filled))
        known = np.clip(np.asarray(gap, np.float32) / (SOON * self.gap), 0, 1) if self.gap else np.float32(1)
        scale = np.where(filled, cloudy[:, 0], clear[:, 0])
        constant = np.where(filled, cloudy[:, 1], clear[:, 1]) * known**2
        return np.asarray(np.sqrt(scale * uncertainty**2 + constant), np.float32)


@dataclass(frozen=True)
class Calibrated:
    """A predictor whose uncertainty is calibrated."""

    predictor: Predictor
    date: np.datetime64
    calibration: Calibration | None
    """None where nothing could be rehearsed: then the method's own rule stands."""

    @property
    def guides(self) -> Times:
        """Those of the predictor."""
        return self.predictor.guides

    @property
    def targets(self) -> Times:
        """Those of the predictor."""
        return self.predictor.targets

    @property
    def choices(self) -> Mapping[str, Any]:
        """Those of the predictor."""
        return self.predictor.choices

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        out = self.predictor(tile)
        if self.calibration is None:
            return out
        gap: FloatArray | float = math.inf
        offsets = days(self.guides, self.date)
        # An effective gap is at least twice the time to the nearest guide.
        if len(offsets) and 2 * np.abs(offsets).min() < SOON * self.calibration.gap:
            valid = tile.guide["valid"].values
            rows = [effective_gap(valid[:, i : i + ROWS], offsets) for i in range(0, valid.shape[1], ROWS)]
            gap = np.concatenate(rows)
        told = self.calibration(out["uncertainty"].values, out["filled"].values, gap)
        return out.assign(uncertainty=(out["uncertainty"].dims, told))
