"""EFAST: the details of clear guides near in time, on the target series interpolated in time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from scipy import ndimage

from ..core.arrays import BoolArray, FloatArray, Times
from ..core.dates import days
from ..core.grid import GridPair
from ..core.options import NotNegative, Positive, settle
from ..core.site import SiteLayout
from ..core.timeline import interpolate
from ..operators.matrices import cell_matrix, separable, up_matrix
from ..operators.residual import residual_halo
from ..operators.updown import down, up, up_mask
from .base import Tile, result
from .shared.dates import lr_sources
from .shared.rehearsal import Rehearsed

LEAST_SCORE = 1e-3
"""Score of clear pixels beside a guide's clouds: a guide that is clear around outweighs them a thousand times."""


@dataclass(frozen=True)
class EFAST(Rehearsed):
    """Details of the guides, weighted by time and distance to clouds, added to the target.

    ``P = C_p↑ + sum w_i (F_i - C_i↑) / sum w_i`` with ``w_i = exp(-Δt²/2σ²) clip((d - 1)/ramp, 0, 1)`` for guides
    less than `window` days away, 0 for others. ``C_p`` and ``C_i`` are the target series, linear in time between its
    clear pixels, at the date to predict and at that of the guide; d is the distance to the nearest cloud of the guide.
    A pixel without any weight is invalid.

    Ours: without a clear target pixel within `gap` days of a guide, ``C_i`` is the degraded guide; clear pixels of a
    guide keep a small weight beside its clouds, which counts where no other guide is clear; where the target is never
    clear, the weighted mean of the guides remains.

    References
    ----------
    Senty et al., Fast fusion of Sentinel-2 and Sentinel-3 time series over rangelands, Remote Sensing 16(11), 1833,
    2024. The uncertainty is ours too.
    """

    name: ClassVar[str] = "efast"
    paper: ClassVar[str] = "Senty et al. 2024"
    min_guides: ClassVar[int] = 1

    sigma: Positive = 20.0
    """Standard deviation of the weight in time, in days."""
    window: Positive = 30.0
    """Time from which on guides carry no weight, in days."""
    ramp: Positive = 15.0
    """Distance from a guide's clouds over which its weight grows to its full size, in LR pixels."""

    gap: NotNegative = 1.0
    """Longest time from a guide to a clear LR image, in days, for the LR series to stand for the guide's date; beyond
    it, the degraded guide does. Larger than `window`: always the LR series, as published."""

    def __post_init__(self) -> None:
        settle(self)

    def halo(self, ratio: float) -> int:
        """Clouds further away than the ramp do not matter; ↓ and ↑ reach further."""
        return math.ceil((self.ramp + 2) * ratio) + residual_halo(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> EFASTPlain:
        """Nothing to learn but the dates of the guides and the LR sensor's MTF."""
        layout = SiteLayout.of(site)
        return EFASTPlain(layout.guides, self, layout.mtf)


@dataclass(frozen=True)
class EFASTPlain:
    """Chooses the images around a date."""

    guides: Times
    method: EFAST
    mtf: tuple[float, ...]

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> EFASTPredictor:
        """Nothing to learn."""
        targets, window = target["time"].values, self.method.window
        # A guide at the end of the window needs the target images around it.
        when = np.array([date], targets.dtype)
        near = np.union1d(_around(targets, date, 2 * window), when)
        return EFASTPredictor(_around(self.guides, date, window), near, when[0], self.method, self.mtf)


@dataclass(frozen=True)
class EFASTPredictor:
    """Adds the weighted details of the guides of a tile to its target."""

    guides: Times
    targets: Times
    date: np.datetime64
    method: EFAST
    mtf: tuple[float, ...]

    @property
    def choices(self) -> Mapping[str, Any]:
        """Weights in time of the guides, and what stands for the LR image of each one's date."""
        near = [bool((np.abs(days(self.targets, g)) <= self.method.gap).any()) for g in self.guides]
        return {
            "time_weights": [round(float(w), 4) for w in self._time_weights()],
            **lr_sources(near),
        }

    def _time_weights(self) -> FloatArray:
        gap = days(self.guides, self.date)
        return np.where(np.abs(gap) < self.method.window, np.exp(-((gap / self.method.sigma) ** 2) / 2), 0).astype(
            np.float32
        )

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        values, valid = tile.guide_arrays()
        series, clear = tile.target["reflectance"].values, tile.target["valid"].values
        today, seen = up(*interpolate(series, clear, days(self.targets, self.date)), tile.grids)
        total, square = (np.zeros(seen.shape, np.float32) for _ in range(2))
        detail, energy, change = (np.zeros(today.shape, np.float32) for _ in range(3))
        for image, ok, time, near in zip(values, valid, self.guides, self._time_weights(), strict=True):
            if near == 0:
                continue
            then, known = up(*self._lr_at(time, image, ok, tile), tile.grids)
            weight = near * cloud_score(ok, tile.grids, self.method.ramp)
            total += weight
            square += weight**2
            used, both = weight > 0, known & seen
            for b in range(len(today)):
                # Band by band, so that the temporary arrays stay in the processor's cache.
                lost = np.where(used, image[b], np.float32(0)) - np.where(both, then[b], np.float32(0))
                part = weight * lost
                detail[b] += part
                energy[b] += part * lost
                change[b] += weight * np.where(both, np.abs(today[b] - then[b]), np.float32(0))
        good = total > 0
        scale = 1 / np.where(good, total, np.float32(1))
        detail *= scale
        # Guides disagree on the details, and a single one knows nothing of what the change did to them.
        doubt = np.clip(energy * scale - detail**2, 0, None) + square * scale**2 * (change * scale) ** 2
        here = int(np.flatnonzero(self.targets == self.date)[0])
        return result(
            tile, np.where(seen, today, np.float32(0)) + detail, good, np.sqrt(doubt), ~up_mask(clear[here], tile.grids)
        )

    def _lr_at(self, time: np.datetime64, image: FloatArray, ok: BoolArray, tile: Tile) -> tuple[FloatArray, BoolArray]:
        """The LR image of a guide's date: the target series, and the degraded guide where that is not clear nearby."""
        series, clear = tile.target["reflectance"].values, tile.target["valid"].values
        offsets = days(self.targets, time)
        observed, known = interpolate(series, clear, offsets)
        own, has_own = down(image, ok, tile.grids, self.mtf)
        take = has_own & ~clear[np.abs(offsets) <= self.method.gap].any(axis=0)
        return np.where(take, own, observed), known | take


def cloud_score(valid: BoolArray, grids: GridPair, ramp: float) -> FloatArray:
    """``clip((d - 1) / ramp, LEAST_SCORE, 1)``, (y, x) float32, of a guide; 0 where it is invalid.

    d is the distance from an LR pixel to the nearest one with an invalid HR pixel, in LR pixels; the score is then
    interpolated to HR.
    """
    cloudy = separable((~valid).astype(np.float32), cell_matrix(grids.y), cell_matrix(grids.x)) > 0
    if not cloudy.any():
        return valid.astype(np.float32)
    distance = ndimage.distance_transform_edt(~cloudy)
    score = np.clip((distance - 1) / ramp, 0, 1).astype(np.float32)
    fine = separable(score, up_matrix(grids.y), up_matrix(grids.x))
    return np.asarray(np.clip(fine, LEAST_SCORE, 1) * valid, np.float32)


def _around(times: Times, date: np.datetime64, window: float) -> Times:
    """The times less than a window from a date; the nearest one if there is none."""
    gap = np.abs(days(times, date))
    return np.asarray(times[(gap < window) | (gap == gap.min())])
