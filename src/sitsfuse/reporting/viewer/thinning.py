"""Images small enough for a page: a window of a series, each pixel the mean of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import Window
from ...core.loading import load_image
from ...core.series import geobox, make_series

STRIP = 1024
"""Rows that are read at a time, as many as a chunk has: the memory does not grow with the image."""


def step_for(window: Window, most: int) -> int:
    """How many pixels along a side become one, so that no side has more than ``most``."""
    longest: int = max(part.stop - part.start for part in window)
    return max(1, math.ceil(longest / most))


def thinned(
    series: xr.Dataset, bands: Sequence[str], window: Window, step: int, told: Callable[[], None] = lambda: None
) -> xr.Dataset:
    """A window of a series in memory, each pixel the mean of the valid ones of ``step`` × ``step``.

    Parameters
    ----------
    series
        A series, lazy or not, with or without ``uncertainty``.
    bands
        Those to keep.
    window
        Rows and columns; what does not make up a whole pixel is cut off.
    step
        How many pixels along a side become one; a pixel is valid if half of them are.
    told
        Called after each image.
    """
    shape = tuple(max((part.stop - part.start) // step, 1) for part in window)
    count = series.sizes["time"]
    unsure = "uncertainty" in series
    values = np.full((count, len(bands), *shape), np.nan, np.float32)
    sigmas, valid = np.full_like(values, np.nan), np.zeros((count, *shape), bool)
    for k in range(count):
        image = series.isel(time=k)
        values[k], valid[k] = _means(image, bands, window, step, shape)
        if unsure:
            also = image[["uncertainty", "valid"]].rename(uncertainty="reflectance")
            sigmas[k], _ = _means(also, bands, window, step, shape)
        told()
    small = GeoBox(shape, geobox(series)[window].affine @ Affine.scale(step), geobox(series).crs)
    made = make_series(values, valid, series["time"].values, bands, small)
    return made.assign(uncertainty=(made["reflectance"].dims, sigmas)) if unsure else made


def _means(
    image: xr.Dataset, bands: Sequence[str], window: Window, step: int, shape: tuple[int, ...]
) -> tuple[FloatArray, BoolArray]:
    """Means of the valid ones of step × step pixels, NaN without any, and where half of them are valid."""
    # What does not make up a whole pixel is cut off, unless there is nothing else.
    rows, cols = (
        slice(part.start, min(part.start + n * step, part.stop)) for part, n in zip(window, shape, strict=True)
    )
    total, number = np.zeros((len(bands), *shape), np.float32), np.zeros(shape, np.float32)
    # In strips that begin where chunks do, lest these be read twice; a strip may end within a pixel of the page.
    for top in range(rows.start - rows.start % STRIP, rows.stop, STRIP):
        strip = slice(max(top, rows.start), min(top + STRIP, rows.stop))
        values, ok = load_image(image, (strip, cols), bands)
        to = (np.arange(strip.start, strip.stop) - rows.start) // step
        starts = np.flatnonzero(np.diff(to, prepend=-1))
        across = np.arange(0, values.shape[-1], step)
        for array, into in ((np.where(ok, values, np.float32(0)), total), (ok.astype(np.float32), number)):
            sums = np.add.reduceat(np.add.reduceat(array, across, axis=-1), starts, axis=-2)
            into[..., to[starts], :] += sums
    mean = np.where(number > 0, total / np.maximum(number, 1), np.float32(np.nan))
    return mean.astype(np.float32), np.asarray(number >= step**2 / 2)
