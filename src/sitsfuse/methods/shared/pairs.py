"""Pairs of a guide and the LR image of its date, chosen per pixel: what the window methods start from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from ...core.arrays import BoolArray, FloatArray
from ...operators.matrices import separable, up_matrix
from ...operators.updown import fill, up, up_mask
from ..base import Tile, result
from ..difference import DifferencePredictor
from .anchor import Anchor
from .dates import Calendar, Dates

WIDEST = 5.0
"""Ratio up to which windows grow with it."""
ALL = slice(None)
"""All bands."""
NONE = -1
"""Instead of the number of a guide, where there is none."""

IndexArray = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Pairs:
    """The pairs of a tile, and which of them each pixel uses."""

    guide: FloatArray
    """(time, band, y, x) reflectance of the guides."""
    lr: FloatArray
    """(time, band, y, x) LR images of the guides' dates, filled where invalid."""
    known: BoolArray
    """(time, y, x) whether an LR pixel of them is valid."""
    valid: BoolArray
    """(time, y, x) whether an HR pixel has guide, LR image and target."""
    target: FloatArray
    """(band, y, x) the target at HR (``C_p↑``), 0 where it is cloudy."""
    index: IndexArray
    """(rank, y, x) number of the guide that is a pixel's first, second … choice, or `NONE`; `NONE` outside the core."""
    tile: Tile
    dates: Dates

    @classmethod
    def of(cls, tile: Tile, dates: Dates, count: int) -> Pairs:
        """Up to ``count`` pairs per pixel."""
        guide, _ = tile.guide_arrays()
        today, seen = up(*dates.target(tile), tile.grids)
        lr, known, usable = tile.once("pairs", lambda: _paired(tile, dates))
        valid = usable & seen
        chosen = choose(valid & tile.wanted, dates.offsets, count)
        return cls(guide, lr, known, valid, np.where(seen, today, np.float32(0)), chosen, tile, dates)

    def coarse(self, k: int, bands: slice = ALL) -> FloatArray:
        """(band, y, x) ``C_k↑``: the LR image of a guide's date at HR, 0 where the pair is invalid."""
        fine = separable(self.lr[k, bands], up_matrix(self.tile.grids.y), up_matrix(self.tile.grids.x))
        return np.where(self.valid[k], fine, np.float32(0)).astype(np.float32, copy=False)

    def fine(self, k: int, bands: slice = ALL) -> FloatArray:
        """(band, y, x) a guide, 0 where the pair is invalid."""
        return np.where(self.valid[k], self.guide[k, bands], np.float32(0))

    def used(self) -> list[int]:
        """Numbers of the guides that some pixel uses."""
        return [int(k) for k in np.unique(self.index) if k != NONE]

    def result(self, image: FloatArray, uncertainty: FloatArray) -> xr.Dataset:
        """The answer for the tile; pixels without a pair come from difference interpolation and count as filled."""
        found = self.index[0] != NONE
        valid = np.asarray(self.tile.guide_arrays()[1].any(axis=0), bool)
        if not found[self.tile.core].all():
            today = self.tile.target.isel(time=[self.dates.today])
            rest = Tile(self.tile.guide, today, self.tile.grids)
            plain = Anchor.plain(len(self.dates.mtf))
            other = DifferencePredictor(self.dates.guides, today["time"].values, self.dates.mtf, plain)(rest)
            image = np.where(found, image, other["reflectance"].values)
            uncertainty = np.where(found, uncertainty, other["uncertainty"].values)
        return result(self.tile, image, valid, uncertainty, ~found)


def _paired(tile: Tile, calendar: Calendar) -> tuple[FloatArray, BoolArray, BoolArray]:
    """The LR images of the guides' dates, filled where invalid, where they are known, and the HR pixels with both."""
    lr, known = calendar.lr_images(tile)
    return fill(lr, known), known, tile.guide_arrays()[1] & up_mask(known, tile.grids)


def choose(valid: BoolArray, offsets: npt.NDArray[np.float64], count: int) -> IndexArray:
    """Choose the guides of every pixel: nearest in time first, then the nearest of the other side.

    Where the other side has none, or more than two are asked for, the next nearest of any side follow.

    Parameters
    ----------
    valid
        (time, y, x) bool, where a guide can be used.
    offsets
        (time,) signed days from the date to predict.
    count
        Guides per pixel.

    Returns
    -------
    index
        (count, y, x) int16, number of the guide or `NONE`.
    """
    order = np.argsort(np.abs(offsets), kind="stable")
    out = np.full((count, *valid.shape[1:]), NONE, np.int16)
    for rank in range(count):
        free = out[rank] == NONE
        if rank == 1:
            # A pixel's second guide lies on the other side of the date than its first.
            after = np.where(out[0] == NONE, 0.0, np.where(offsets[out[0]] > 0, 1.0, -1.0))
            for k in order:
                side = 1.0 if offsets[k] > 0 else -1.0
                take = free & valid[k] & (after == -side)
                out[rank][take] = k
                free &= ~take
        for k in order:
            take = free & valid[k] & ~(out[:rank] == k).any(axis=0)
            out[rank][take] = k
            free &= ~take
    return out


def doubt(images: FloatArray, shares: FloatArray, changes: FloatArray) -> FloatArray:
    """Uncertainty of a weighted mean of predictions, each from one pair: (band, y, x) float32, in reflectance.

    Their disagreement, and, as one guide knows nothing of what the change did to its details, the change.

    Parameters
    ----------
    images
        (rank, band, y, x) prediction from each pair.
    shares
        (rank, band, y, x) weight of each in the mean; they sum to 1.
    changes
        (rank, band, y, x) size of the LR change since each guide, ``|C_p - C_k|``.
    """
    mean = (shares * images).sum(axis=0)
    spread = (shares * (images - mean) ** 2).sum(axis=0)
    return np.asarray(np.sqrt(spread + ((shares * changes) ** 2).sum(axis=0)), np.float32)


def window_sum(image: npt.NDArray[Any], window: int) -> npt.NDArray[np.float64]:
    """(..., y, x) sum over a window of odd side around each pixel, with nothing beyond the image."""
    out = image.astype(np.float64)
    for axis in (-2, -1):
        out = ndimage.uniform_filter1d(out, window, axis=axis, mode="constant") * window
    return out


def odd_window(window: int, lr_pixels: float, ratio: float) -> int:
    """Side of a window in HR pixels, odd.

    Parameters
    ----------
    window
        As given; 0: by the ratio.
    lr_pixels
        Side in LR pixels, by the ratio. From a ratio of `WIDEST` on it grows no more: work grows with its square.
    ratio
        LR pixel size over HR pixel size. By the ratio, a window holds the LR pixels beside the one in its middle.
    """
    if window:
        return window | 1
    return max(2 * round(lr_pixels * min(ratio, WIDEST) / 2) + 1, 2 * math.ceil(ratio) + 1)
