"""Temporal interpolation: linear in time between the nearest valid guides, per pixel. Uses no target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..series import group
from ..timeline import days, temporal_weights
from .base import BoolArray, FloatArray, Tile, Times, result
from .rehearsal import Rehearsed


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

    def prepare(self, site: xr.DataTree, date: np.datetime64) -> TemporalPredictor:
        """Nothing to learn."""
        times = group(site, "guide")["time"].values
        return TemporalPredictor(times, np.empty(0, times.dtype), date)


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


def weighted_sum(weights: FloatArray, values: FloatArray) -> FloatArray:
    """``sum over time of w F``: (time, y, x), (time, band, y, x) → (band, y, x). Images of weight 0 are not read."""
    out = np.zeros(values.shape[1:], np.float32)
    for weight, image in zip(weights, values, strict=True):
        if weight.any():
            out += np.where(weight > 0, image, np.float32(0)) * weight
    return out


def temporal_spread(
    values: FloatArray, valid: BoolArray, weights: FloatArray, offsets: npt.NDArray[np.float64]
) -> FloatArray:
    """Uncertainty of a value interpolated in time, (band, y, x) float32, in reflectance.

    The standard deviation of the pixel's valid guides, in full where the nearest guide is held, and times
    ``2 sqrt(w (1 - w))`` between two guides: nothing at a guide's date, most in the middle. ``offsets`` are the days to
    each guide.
    """
    count = np.maximum(valid.sum(axis=0), 1).astype(np.float32)
    clean: npt.NDArray[np.float32] = np.where(valid[:, None], values, np.float32(0))
    mean = clean.sum(axis=0) / count
    square = np.zeros_like(mean)
    for image, ok in zip(clean, valid, strict=True):
        square += np.where(ok, (image - mean) ** 2, np.float32(0))
    largest = weights.max(axis=0)
    today = (valid & (offsets == 0).reshape(-1, *(1,) * (valid.ndim - 1))).any(axis=0)
    held = np.where(today, np.float32(0), np.float32(1))
    share = np.where(largest >= 1, held, 2 * np.sqrt(np.clip(largest * (1 - largest), 0, None)))
    return np.asarray(np.sqrt(square / count) * share, dtype=np.float32)
