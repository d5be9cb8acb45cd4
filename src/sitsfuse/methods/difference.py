"""Difference interpolation: the guides interpolated in time, corrected by what the target shows at LR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..degrade import FILL_RADIUS, down, down_halo, fill, separable, up_halo, up_mask, up_matrix
from ..grid import Axis, GridPair
from ..series import group, mtf
from ..timeline import days, temporal_weights
from .base import BoolArray, FloatArray, Tile, Times, result
from .rehearsal import Rehearsed
from .temporal import temporal_spread, weighted_sum

FADE = 0.05
"""Weight of 0 when a residual is carried under clouds (see `degrade.fill`)."""


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

    def prepare(self, site: xr.DataTree, date: np.datetime64) -> DifferencePredictor:
        """Nothing to learn."""
        guide, target = group(site, "guide"), group(site, "target")
        times = guide["time"].values
        return DifferencePredictor(times, np.array([date], times.dtype), tuple(mtf(target)))


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


def residual_halo(ratio: float) -> int:
    """HR pixels that a residual correction reaches: ↓, filling under clouds and ↑."""
    return down_halo(ratio) + up_halo(ratio)


def residual(
    image: FloatArray,
    valid: BoolArray,
    target: FloatArray,
    clear: BoolArray,
    grids: GridPair,
    mtfs: tuple[float, ...],
) -> tuple[FloatArray, BoolArray]:
    """``C_p - P↓`` on the LR pixels where both are valid (0 elsewhere), and where that is."""
    degraded, ok = down(image, valid, grids, mtfs)
    known = ok & clear
    return np.where(known, target - degraded, np.float32(0)), known


def correct(
    image: FloatArray,
    valid: BoolArray,
    target: FloatArray,
    clear: BoolArray,
    grids: GridPair,
    mtfs: tuple[float, ...],
    strength: tuple[float, ...],
    iterations: int,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Add the residual ``r = C_p - P↓``, several times: ``P + r↑`` does not quite degrade to ``C_p``.

    Parameters
    ----------
    image, valid
        (B, y, x) and (y, x), what to correct on the HR grid.
    target, clear
        (B, y, x) and (y, x), the LR image.
    grids, mtfs
        The grids, and the LR sensor's MTF per band.
    strength
        Share of the residual to add, per band.
    iterations
        How often.

    Returns
    -------
    image, misfit, known
        (B, y, x) the corrected image; (B, y, x) the residual before, and (y, x) where it is known, at LR.
    """
    share = np.array(strength, np.float32)[:, None, None]
    misfit, known = residual(image, valid, target, clear, grids, mtfs)
    left = share * misfit
    for i in range(iterations):
        added = spread_residual(left, known, grids)
        image = image + added
        if i + 1 < iterations:
            # What of the correction is lost when it is seen at LR again.
            left = left - np.where(known, down(added, valid, grids, mtfs)[0], np.float32(0))
    return image, misfit, known


def spread_residual(misfit: FloatArray, known: BoolArray, grids: GridPair) -> FloatArray:
    """``r↑``: bicubic; under clouds and outside the LR image carried in from around, fading to 0."""
    filled = fill(misfit, known, FADE)
    spread = separable(filled, up_matrix(grids.y), up_matrix(grids.x))
    return np.asarray(spread * _reach(grids.y)[:, None] * _reach(grids.x), dtype=np.float32)


def _reach(axis: Axis) -> FloatArray:
    """(n_hr,) 1 in the LR image and half a pixel around it, 0 from `FILL_RADIUS` LR pixels outside on.

    ↑ repeats the edge of the LR image for ever: what is known there says nothing of what lies far away.
    """
    position = (np.arange(axis.n_hr) + 0.5 - axis.offset) / axis.ratio
    outside = np.maximum(-position, position - axis.n_lr)
    return np.asarray(np.clip((FILL_RADIUS - outside) / (FILL_RADIUS - 0.5), 0, 1), np.float32)
