"""Load a window of a series into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from dask.base import is_dask_collection

from .arrays import LARGEST, BoolArray, FloatArray, Times
from .dates import index_of
from .grid import Window
from .series import with_date


@dataclass(frozen=True, eq=False)
class Stack:
    """The images of a window, in memory."""

    values: FloatArray
    """(time, band, y, x) float32, read only where valid."""
    valid: BoolArray
    """(time, y, x) bool, finite in all bands."""
    times: Times
    """(time,)."""

    @property
    def known(self) -> FloatArray:
        """The values, 0 where invalid."""
        return np.where(self.valid[:, None], self.values, np.float32(0))


def load(series: xr.Dataset, window: Window, times: Times | None = None) -> Stack:
    """Load a window of a series as arrays; parameters as of :func:`read`."""
    part = read(series, window, times)
    return Stack(part["reflectance"].values, part["valid"].values, part["time"].values)


def read(series: xr.Dataset, window: Window, times: Times | None = None) -> xr.Dataset:
    """Load a window of a series, on the calling thread: tiles and dates are what runs in parallel.

    Parameters
    ----------
    series
        A series, lazy or not.
    window
        Rows and columns.
    times
        Dates to load, by default all; a date that the series lacks is interpolated in time.
    """
    index = range(series.sizes["time"]) if times is None else [_position(series, t) for t in times]
    known = [i for i in index if i is not None]
    if times is not None and len(known) < len(times):
        whole = read(series, window)
        for time in times:
            whole = with_date(whole, time)
        return read(whole, (slice(None), slice(None)), times)
    # One indexing for all dimensions, with a slice in time: so a lazy series reads no more than the window.
    in_a_row = known and known == list(range(known[0], known[-1] + 1))
    when = slice(known[0], known[-1] + 1) if in_a_row else known
    part = series[["reflectance", "valid"]].isel(time=when, y=window[0], x=window[1])
    part = _in_memory(part)
    # Whatever a mask says, what is not a number, or beyond all measure, is not valid.
    finite = (np.abs(part["reflectance"].values) < LARGEST).all(axis=1)
    return part if finite[part["valid"].values].all() else part.assign(valid=part["valid"] & finite)


def _in_memory(part: xr.Dataset) -> xr.Dataset:
    # Computed, not loaded: what shares variables with the series would fill the series itself.
    return part.compute(scheduler="synchronous") if is_dask_collection(part) else part.compute()


def _position(series: xr.Dataset, time: np.datetime64) -> int | None:
    """Position of the image of that time, else of that day: guides may have two images of a day."""
    exact = np.flatnonzero(series["time"].values == time)
    return int(exact[0]) if exact.size else index_of(series, time)


def load_image(
    image: xr.Dataset, window: Window | None = None, bands: Sequence[str] | None = None
) -> tuple[FloatArray, BoolArray]:
    """Load the image of one date, on the calling thread.

    Parameters
    ----------
    image
        A series at one date, lazy or not.
    window
        Rows and columns; by default all.
    bands
        Bands, in that order; by default all.

    Returns
    -------
    values
        (band, y, x) float32.
    valid
        (y, x) bool, where all of these bands are valid and finite.
    """
    part = image[["reflectance", "valid"]]
    if window is not None:
        part = part.isel(y=window[0], x=window[1])
    if bands is not None:
        have = [str(b) for b in part["band"].values]
        part = part.isel(band=[have.index(b) for b in bands])
    part = part.transpose(..., "y", "x")
    loaded = _in_memory(part)
    values, valid = loaded["reflectance"].transpose("band", "y", "x").values, loaded["valid"].values
    return values, valid & (np.abs(values) < LARGEST).all(axis=0)
