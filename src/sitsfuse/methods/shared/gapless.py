"""Guides without gaps, and LR images to match: what the methods start from that weigh all guides at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import BoolArray, FloatArray
from ...core.dates import days
from ...core.timeline import temporal_weights
from ...operators.residual import spread_residual
from ...operators.updown import down, up_mask
from ..base import Tile, result
from .calibration import local_square
from .dates import Calendar, Dates
from .in_time import temporal_spread


@dataclass(frozen=True)
class Closed:
    """The guides of a tile with their gaps closed, and the LR images of their dates: the same for all dates."""

    fine: FloatArray
    """(time, band, y, x) guides; a pixel that is invalid in one is interpolated in time. 0 where none is valid."""
    valid: BoolArray
    """(y, x) whether any guide is valid."""
    coarse: FloatArray
    """(time, band, y, x) LR images of the guides' dates, 0 where a footprint has no guides."""
    covered: BoolArray
    """(y, x) LR pixels whose footprint has guides."""

    @classmethod
    def of(cls, tile: Tile, calendar: Calendar) -> Closed:
        """Close the gaps of a tile's guides.

        The LR image of a guide's date is what was observed within a day of it where that is clear and so is the whole
        footprint of the guide, else the degraded guide: what stands in a gap at HR must stand there at LR, too.
        """
        values, clear = tile.guide_arrays()
        fine, valid = without_gaps(values, clear, days(calendar.guides, calendar.guides[0]))
        coarse, ok = down(fine, np.broadcast_to(valid, clear.shape), tile.grids, calendar.mtf)
        for k, guide in enumerate(calendar.guides):
            near = calendar.observed(guide)
            if not near:
                continue
            _, footprint = down(values[k], clear[k], tile.grids, calendar.mtf)
            for i in near[::-1]:  # the nearest last: it replaces the others
                image, seen = tile.target_arrays(i)
                take = seen & footprint
                coarse[k][:, take] = image[:, take]
        return cls(fine, valid, np.where(ok[0], coarse, np.float32(0)), ok[0])


@dataclass(frozen=True)
class Gapless:
    """The guides of a tile with their gaps closed, and its target where it is of use."""

    closed: Closed
    target: FloatArray
    """(band, y, x) the LR image of the date to predict, 0 where it is not known."""
    known: BoolArray
    """(y, x) LR pixels whose footprint has guides and where the target is clear."""
    tile: Tile
    offsets: npt.NDArray[np.float64]
    """(time,) signed days from the date to predict to each guide."""

    @classmethod
    def of(cls, tile: Tile, dates: Dates) -> Gapless:
        """Close the gaps of a tile's guides, and take what is of use of its target."""
        closed = tile.once("gapless", lambda: Closed.of(tile, dates))
        target, seen = dates.target(tile)
        known = closed.covered & seen
        return cls(closed, np.where(known, target, np.float32(0)), known, tile, dates.offsets)

    @property
    def fine(self) -> FloatArray:
        """(time, band, y, x) the guides, see `Closed`."""
        return self.closed.fine

    @property
    def valid(self) -> BoolArray:
        """(y, x) whether any guide is valid."""
        return self.closed.valid

    @property
    def coarse(self) -> FloatArray:
        """(time, band, y, x) the LR images of their dates."""
        return self.closed.coarse

    def spread(self, residual: FloatArray) -> FloatArray:
        """(band, y, x) at HR of an LR residual; under clouds carried in from around, fading to 0."""
        return spread_residual(residual, self.known, self.tile.grids)

    def result(self, image: FloatArray, residual: FloatArray, detail: FloatArray) -> xr.Dataset:
        """The answer for the tile. A pixel without a clear LR pixel counts as filled.

        The uncertainty is what the weighted guides leave unexplained at LR, its root mean square over 3×3 LR pixels,
        times what that leaves at HR (see `Moments.detail`). Where the target shows nothing it is that of interpolation
        in time.
        """
        seen = up_mask(self.known, self.tile.grids)
        size = np.sqrt(local_square(residual, self.known))
        uncertainty = detail[:, None, None] * np.abs(self.spread(np.where(self.known, size, np.float32(0))))
        if not seen.all():
            values, clear = self.tile.guide_arrays()
            here = ~seen
            weights = temporal_weights(clear[:, here], self.offsets)
            uncertainty[:, here] = temporal_spread(values[:, :, here], clear[:, here], weights, self.offsets)
        return result(self.tile, image, self.valid, uncertainty, ~seen)


def prior_of(dates: Dates) -> npt.NDArray[np.float64]:
    """(time,) weights of interpolation in time between guides without gaps."""
    return temporal_weights(np.ones((len(dates.guides), 1), bool), dates.offsets)[:, 0].astype(np.float64)


def without_gaps(values: FloatArray, valid: BoolArray, times: npt.NDArray[np.float64]) -> tuple[FloatArray, BoolArray]:
    """Interpolate the invalid pixels of every image in time.

    Linear between the pixel's nearest valid images before and after; where one side has none, the nearest of the other
    is held. So interpolating the result in time is interpolating the valid images.

    Parameters
    ----------
    values
        (time, band, y, x) float32, read only where valid.
    valid
        (time, y, x) bool.
    times
        (time,) days, increasing.

    Returns
    -------
    values, valid
        (time, band, y, x) float32, the images themselves where valid, 0 where none is; (y, x) bool, whether any is.
        Images without invalid pixels are not copied.
    """
    if valid.all():
        return values, np.ones(valid.shape[1:], bool)
    any_valid = np.asarray(valid.any(axis=0), bool)
    out = np.where(valid[:, None], values, np.float32(0))
    flat, known = out.reshape(*out.shape[:2], -1), valid.reshape(len(valid), -1)
    clean = values.reshape(flat.shape)
    for k, image in enumerate(flat):
        gap = np.flatnonzero(any_valid.ravel() & ~known[k])
        if not gap.size:
            continue
        weights = temporal_weights(known[:, gap], times - times[k])
        for weight, other in zip(weights, clean, strict=True):
            used = np.flatnonzero(weight)
            if used.size:
                image[:, gap[used]] += weight[used] * other[:, gap[used]]
    return out, any_valid


def weighted(weights: npt.NDArray[np.floating], images: FloatArray) -> FloatArray:
    """``sum over time of w F``: weights (time, band) or, per pixel, (time, 1, y, x), images (time, band, y, x).

    Returns (band, y, x) float32.
    """
    out = np.zeros(images.shape[1:], np.float32)
    for weight, image in zip(weights.astype(np.float32), images, strict=True):
        for b, plane in enumerate(out):
            # Band by band, so that the temporary arrays stay in the processor's cache.
            plane += weight[b % len(weight)] * image[b]
    return out
