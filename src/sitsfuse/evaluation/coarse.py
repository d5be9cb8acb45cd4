"""The LR image of a comparison, seen from blocks of the HR image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import Axis, GridPair, Window
from ..core.loading import load_image
from ..core.series import geobox, mtf
from ..operators.matrices import down_halo, down_matrix, separable, up_halo, up_matrix
from ..operators.updown import MIN_FOOTPRINT, down_by, fill, up_mask
from ..runtime.streaming import Block

HELD = 1 << 25
"""LR images of up to so many values are held in memory, larger ones read by windows."""
FADE = 0.01
"""How fast what fills invalid LR pixels fades to the image's mean, see :func:`sitsfuse.operators.updown.fill`."""


@dataclass(frozen=True)
class Coarse:
    """An LR image and its place on the HR grid."""

    image: xr.Dataset
    """``reflectance(band, y, x)`` and ``valid(y, x)``."""
    pair: GridPair
    """The two grids."""

    @classmethod
    def of(cls, image: xr.Dataset, box: GeoBox) -> Coarse:
        """An LR image seen from an HR grid."""
        if image["reflectance"].size <= HELD:
            image = image.compute(scheduler="synchronous")
        return cls(image, GridPair(box, geobox(image)))

    @cached_property
    def mtfs(self) -> list[float]:
        """MTF per band."""
        return mtf(self.image)

    @property
    def reach(self) -> int:
        """HR pixels around the one that holds an LR pixel's centre that ↓ needs."""
        return max(down_halo(axis.ratio, m) for axis in (self.pair.y, self.pair.x) for m in self.mtfs)

    def clear(self, window: Window) -> BoolArray:
        """(y, x) where the LR image is valid, on a window of the HR grid."""
        lr = self.pair.lr_window(window)
        if any(s.stop <= s.start for s in lr):
            return np.zeros([s.stop - s.start for s in window], bool)
        valid = self.image["valid"].isel(y=lr[0], x=lr[1]).compute(scheduler="synchronous").values
        return up_mask(valid, self.pair.crop(window, lr))

    def interpolated(self, window: Window, level: npt.NDArray[np.float64]) -> FloatArray:
        """(band, y, x) bicubic interpolation, on a window of the HR grid, finite everywhere.

        Invalid LR pixels are filled from those around them; further away, with a level per band.
        """
        lr = self.pair.lr_window(window, up_halo(self.pair.ratio))
        middle = level.astype(np.float32)[:, None, None]
        if any(s.stop <= s.start for s in lr):
            return np.broadcast_to(middle, (len(level), *(s.stop - s.start for s in window)))
        values, valid = load_image(self.image, lr)
        filled = fill(np.where(valid, values - middle, np.float32(0)), valid, FADE)
        operators = (up_matrix(axis.crop(w, s)) for axis, w, s in zip(self._axes, window, lr, strict=True))
        return (separable(filled, *operators) + middle).astype(np.float32, copy=False)

    def consistency(self, block: Block, values: FloatArray, valid: BoolArray) -> npt.NDArray[np.float64]:
        """Compare the degraded prediction with the LR pixels whose centres the block owns.

        Parameters
        ----------
        block
            A block of the HR image with at least :attr:`reach` pixels around those that it owns.
        values, valid
            (band, y, x) and (y, x) of the prediction on the block's window.

        Returns
        -------
        sums
            (2 + band,) number of LR pixels compared, number of those valid in the LR image, and per band the sum of
            the squared differences.
        """
        bands = values.shape[0]
        lr = tuple(self._owned(axis, own) for axis, own in zip(self._axes, block.core, strict=True))
        if any(s.stop <= s.start for s in lr):
            return np.zeros(2 + bands)
        operators = {
            m: tuple(down_matrix(axis, m)[s][:, w] for axis, s, w in zip(self._axes, lr, block.window, strict=True))
            for m in set(self.mtfs)
        }
        degraded, ok = down_by(operators, values, valid, self.mtfs, MIN_FOOTPRINT)
        truth, there = load_image(self.image, lr)  # type: ignore[arg-type]
        ok &= there
        errors = degraded[:, ok].astype(np.float64) - truth[:, ok]
        return np.array([ok.sum(), there.sum(), *np.square(errors).sum(axis=1)], np.float64)

    @property
    def _axes(self) -> tuple[Axis, Axis]:
        return self.pair.y, self.pair.x

    def _owned(self, axis: Axis, own: slice) -> slice:
        """LR pixels that lie in the image at least by half and have their centres among some HR pixels."""
        inside = np.diff(down_matrix(axis, self.mtfs[0]).indptr) > 0
        centre = axis.ratio * (np.arange(axis.n_lr) + 0.5) + axis.offset
        # A centre on the image's end belongs to its last pixel.
        at = np.clip(np.floor(centre), 0, axis.n_hr - 1)
        found = np.flatnonzero(inside & (at >= own.start) & (at < own.stop))
        return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)
