"""A window of a site at LR: its guides degraded, beside the LR images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray, FloatArray, Times
from ..core.dates import days
from ..core.grid import GridPair, Window
from ..core.loading import load
from ..core.site import SiteLayout, group
from ..core.tiling import blocks
from ..core.timeline import interpolate
from .matrices import down_halo
from .updown import down


@dataclass(frozen=True, eq=False)
class Coarse:
    """T degraded guides and S LR images of B bands on a window of the LR grid."""

    guide: FloatArray
    """(T, B, y, x), 0 where invalid."""
    valid: BoolArray
    """(T, y, x)."""
    series: FloatArray
    """(S, B, y, x), 0 where invalid."""
    clear: BoolArray
    """(S, y, x)."""
    times: Times
    """(T,) dates of the guides."""
    dates: Times
    """(S,) dates of the LR images."""

    @classmethod
    def read(cls, site: xr.DataTree, layout: SiteLayout, lr: Window) -> Coarse:
        """Read a window of the LR grid, and the HR pixels that it is degraded from.

        Parameters
        ----------
        site, layout
            The site.
        lr
            The window.
        """
        pair = layout.grids
        window = hr_window(pair, lr, down_halo(pair.ratio, min(layout.mtf)))
        block, images = load(group(site, "guide"), window), load(group(site, "target"), lr)
        values, valid = down(block.values, block.valid, pair.crop(window, lr), layout.mtf)
        values = np.where(valid[:, None], values, np.float32(0))
        return cls(values, valid, images.known, images.valid, block.times, images.times)

    def near(self, most: float) -> list[bool]:
        """Whether each guide has an LR image within ``most`` days."""
        return near(self.times, self.dates, most)

    def at_guide(self, k: int) -> tuple[FloatArray, BoolArray]:
        """(B, y, x) the LR series at the date of guide ``k``, interpolated in time, and (y, x) where that is known."""
        return interpolate(self.series, self.clear, days(self.dates, self.times[k]))

    def excess(self, most: float) -> FloatArray:
        """What the LR series shows more than the guides do, at their dates.

        Parameters
        ----------
        most
            Days to the nearest LR image beyond which a guide is not compared.

        Returns
        -------
        numpy.ndarray
            (T, B, y, x) float32, in reflectance; NaN where either is invalid.
        """
        out = np.full(self.guide.shape, np.nan, np.float32)
        for k in np.flatnonzero(self.near(most)):
            image, seen = self.at_guide(int(k))
            out[k] = np.where(seen & self.valid[k], image - self.guide[k], np.float32(np.nan))
        return out


def near(times: Times, dates: Times, most: float) -> list[bool]:
    """Whether each of ``times`` has one of ``dates`` within ``most`` days."""
    return [bool(np.abs(days(dates, t)).min() <= most) for t in times]


def lr_windows(pair: GridPair, side: int) -> list[Window]:
    """The LR pixels that overlap the HR image, cut into windows of ``side`` × ``side``, the last perhaps smaller."""
    rows, cols = pair.lr_window((slice(0, pair.hr.shape[0]), slice(0, pair.hr.shape[1])))
    return [
        (slice(y.start + rows.start, y.stop + rows.start), slice(x.start + cols.start, x.stop + cols.start))
        for y, x in blocks((rows.stop - rows.start, cols.stop - cols.start), side)
    ]


def hr_window(pair: GridPair, lr: Window, halo: int) -> Window:
    """HR pixels under an LR window, and ``halo`` pixels around them."""
    return _hr_span(pair, 0, lr[0], halo), _hr_span(pair, 1, lr[1], halo)


def _hr_span(pair: GridPair, dimension: int, lr: slice, halo: int) -> slice:
    axis = (pair.y, pair.x)[dimension]
    start, stop = (axis.ratio * position + axis.offset for position in (lr.start, lr.stop))
    return slice(max(math.floor(start) - halo, 0), min(math.ceil(stop) + halo, axis.n_hr))


def sampled(items: list[Window], most: int) -> Iterator[int]:
    """Numbers of at most ``most`` evenly spread windows."""
    yield from range(0, len(items), max(1, math.ceil(len(items) / most)))
