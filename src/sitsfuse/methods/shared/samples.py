"""Statistics of images from some of their windows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import xarray as xr

from ...core.arrays import FloatArray
from ...core.grid import GridPair, Window
from ...core.loading import load, read
from ...core.series import geobox
from ...core.site import group
from ...core.tiling import tile_window
from ...operators.matrices import down_halo
from ..base import Tile
from .dates import Calendar

SAMPLE_BLOCKS, SAMPLE_SIDE = 4, 256
"""Blocks along each side of the image, and their side in HR pixels, from which the scatter of guides is estimated."""


def statistics(guide: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """(time, band) mean and standard deviation of the guides' clear pixels, in reflectance; 0 where a sample has none.

    From all pixels of small images and from evenly spread blocks of large ones: statistics of the site, the same in
    every tile.
    """
    count = np.zeros((guide.sizes["time"], 1))
    total = np.zeros((guide.sizes["time"], guide.sizes["band"]))
    square = np.zeros_like(total)
    for window in sample_windows(geobox(guide).shape):
        part = load(guide, window)
        for k in range(len(part.values)):
            pixels = part.values[k][:, part.valid[k]].astype(np.float64)
            count[k] += pixels.shape[1]
            total[k] += pixels.sum(axis=1)
            square[k] += (pixels**2).sum(axis=1)
    mean = total / np.maximum(count, 1)
    variance = square / np.maximum(count, 1) - mean**2
    return mean.astype(np.float32), np.sqrt(np.clip(variance, 0, None)).astype(np.float32)


def sample_windows(shape: Iterable[int]) -> list[Window]:
    """Windows that stand for an image: all of a small one, evenly spread blocks of a large one."""
    spans = []
    for n in shape:
        if n <= SAMPLE_BLOCKS * SAMPLE_SIDE:
            spans.append([slice(0, n)])
        else:
            # At multiples of their side, so that a block touches no more blocks of a tiled file than it must.
            places = np.linspace(0, n // SAMPLE_SIDE - 1, SAMPLE_BLOCKS).round().astype(int) * SAMPLE_SIDE
            spans.append([slice(int(p), int(p) + SAMPLE_SIDE) for p in places])
    return [(rows, cols) for rows in spans[0] for cols in spans[1]]


def sample_tile(site: xr.DataTree, pair: GridPair, calendar: Calendar, core: Window) -> Tile | None:
    """The LR pixels over a window of the HR image with the guides of their whole footprints; None without LR pixels."""
    lr = pair.lr_window(core)
    if any(part.stop <= part.start for part in lr):
        return None
    block = tile_window(pair, core, down_halo(pair.ratio, min(calendar.mtf)) + math.ceil(pair.ratio)).block
    guide, target = (group(site, name) for name in ("guide", "target"))
    return Tile(read(guide, block, calendar.guides), read(target, lr, calendar.targets), pair.crop(block, lr))
