"""What FSDAF reads of a site: pixels to find classes from, and LR pixels as mixtures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import Window
from ...core.loading import load
from ...core.series import geobox
from ...operators.updown import down
from ..base import Tile
from ..shared.dates import Calendar
from ..shared.samples import sample_windows
from .classes import Classes

SAMPLE = 20000
"""Most pixels of a guide that its classes are found from."""


@dataclass(frozen=True)
class Mixture:
    """The LR pixels of a window as mixtures of the guides' classes."""

    window: Window
    """LR pixels."""
    shares: tuple[FloatArray, ...]
    """For each guide, (class, y, x) share of its classes."""
    then: FloatArray
    """(time, band, y, x) LR images of the guides' dates."""
    usable: BoolArray
    """(time, y, x) where both are known."""

    @classmethod
    def of(cls, tile: Tile, window: Window, calendar: Calendar, classes: Sequence[Classes]) -> Mixture:
        """Degrade the classes of the guides of a tile to the LR pixels of a window."""
        then, usable = calendar.lr_images(tile)
        shares = []
        for k, (values, valid) in enumerate(zip(*tile.guide_arrays(), strict=True)):
            member = classes[k](values, valid)
            masks = np.stack([member == c for c in range(len(classes[k].centres))]).astype(np.float32)
            share, ok = down(masks, valid, tile.grids, float(np.mean(calendar.mtf)))
            shares.append(share)
            usable[k] &= ok
        return cls(window, tuple(shares), then, usable)

    def changes(self, date: np.datetime64, target: xr.Dataset) -> list[tuple[FloatArray, FloatArray]]:
        """Of the LR pixels clear at a date, (n, class) share of each class and (n, band) change, for each guide."""
        image = load(target, self.window, np.array([date], target["time"].dtype))
        today, clear = image.values[0], image.valid[0]
        out = []
        for share, then, usable in zip(self.shares, self.then, self.usable, strict=True):
            use = usable & clear
            out.append((share[:, use].T, (today - then)[:, use].T))
        return out


def sample_pixels(guide: xr.Dataset) -> list[FloatArray]:
    """(n, band) clear pixels of each guide, evenly spread over windows that stand for the image."""
    windows = sample_windows(geobox(guide).shape)
    most = SAMPLE // len(windows)
    found: list[list[FloatArray]] = [[] for _ in range(guide.sizes["time"])]
    for window in windows:
        part = load(guide, window)
        for k, pixels in enumerate(found):
            clear = np.flatnonzero(part.valid[k])
            clear = np.random.default_rng(0).choice(clear, most, replace=False) if clear.size > most else clear
            pixels.append(part.values[k].reshape(len(part.values[k]), -1)[:, clear].T)
    return [np.concatenate(pixels) for pixels in found]
