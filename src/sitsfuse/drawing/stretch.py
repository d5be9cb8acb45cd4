"""Reflectance to colours, the same for all images that are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from ..core.arrays import FloatArray
from ..core.grid import Window
from ..core.loading import load_image

COLOURS = (("red", "green", "blue"), ("nir", "red", "green"), ("swir16", "nir", "red"))
"""Bands that make a colour image, the first that are there."""
STRETCH = (1.0, 99.0)
"""Percentiles of the truth (or the prediction) that become the darkest and the brightest value."""
GAMMA = 0.8
"""Exponent of the stretch: below 1 brightens what is dark."""
ZOOM = 0.22
"""Side of the zoom, as a share of the image's shorter side."""
INVALID = "0.75"
"""Grey of invalid pixels."""


@dataclass(frozen=True)
class Stretch:
    """From reflectances to colours, the same for every image that it is applied to."""

    bands: tuple[int, ...]
    """Positions of the bands that are shown: three, or one."""
    low: FloatArray
    """(channel,) what becomes black."""
    high: FloatArray
    """(channel,) what becomes white."""

    @classmethod
    def of(cls, image: xr.Dataset) -> Stretch:
        """The stretch that fits an image ``reflectance(band, y, x)``, ``valid(y, x)``."""
        names = [str(b) for b in image["band"].values]
        chosen = next((c for c in COLOURS if set(c) <= set(names)), names[:1])
        bands = tuple(names.index(c) for c in chosen)
        values, valid = load_image(image)
        seen = values[np.array(bands)][:, valid]
        if not seen.size:
            return cls(bands, np.zeros(len(bands), np.float32), np.ones(len(bands), np.float32))
        low, high = np.percentile(seen, STRETCH, axis=1).astype(np.float32)
        return cls(bands, low, np.maximum(high, low + np.float32(1e-6)))

    def __call__(self, image: xr.Dataset) -> FloatArray:
        """(y, x, 4) red, green, blue and opacity, 0–1; invalid pixels are transparent."""
        values, valid = load_image(image)
        low, high = (a[:, None, None] for a in (self.low, self.high))
        scaled = np.clip((values[np.array(self.bands)] - low) / (high - low), 0, 1) ** np.float32(GAMMA)
        channels = np.broadcast_to(np.where(valid, scaled, 0), (3, *valid.shape))
        return np.concatenate([channels, valid[None]]).transpose(1, 2, 0).astype(np.float32)


def absolute_error(prediction: xr.Dataset, truth: xr.Dataset) -> FloatArray:
    """(y, x) mean over the bands of abs(prediction - truth); NaN where either is invalid."""
    (ours, ok), (theirs, known) = load_image(prediction), load_image(truth)
    error = np.abs(ours - theirs).mean(axis=0)
    return np.where(ok & known, error, np.float32(np.nan)).astype(np.float32)


def busiest(image: xr.Dataset, share: float = ZOOM) -> Window:
    """The square window with the strongest edges, in units of each band's deviation.

    Parameters
    ----------
    image
        ``reflectance(band, y, x)`` and ``valid(y, x)``.
    share
        Side of the window as a share of the image's shorter side.
    """
    values, valid = load_image(image)
    rows, cols = valid.shape
    side = max(2, round(share * min(rows, cols)))
    edges = np.zeros(valid.shape, np.float32)
    for band in values:
        clean = np.where(valid, band, band[valid].mean() if valid.any() else 0)
        size = max(float(clean.std()), 1e-9)
        edges += np.hypot(ndimage.sobel(clean, 0), ndimage.sobel(clean, 1)) / size
    # The root, because a few glaring roofs are not many edges.
    total = ndimage.uniform_filter(np.where(valid, np.sqrt(edges), 0), side, mode="constant")
    y, x = np.unravel_index(int(np.argmax(total)), total.shape)
    top = min(max(int(y) - side // 2, 0), rows - side)
    left = min(max(int(x) - side // 2, 0), cols - side)
    return slice(top, top + side), slice(left, left + side)
