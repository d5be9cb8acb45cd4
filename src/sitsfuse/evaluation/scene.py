"""What is compared on a date, and what is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..core.grid import Window
from ..metrics import ndvi
from ..metrics.strata import Mode, Thresholds
from .coarse import Coarse

NDVI = "ndvi"
"""Name of the row of the vegetation index."""
UNCERTAINTY = "uncertainty"
"""Name of the standard deviation that a prediction may state."""


@dataclass(frozen=True)
class Scene:
    """What is compared on a date, and how."""

    image: xr.Dataset
    """The prediction: ``reflectance(band, y, x)``, ``valid(y, x)`` and, if known, ``uncertainty(band, y, x)``."""
    truth: xr.Dataset
    """The reference."""
    coarse: Coarse | None
    """The LR image on the HR grid."""
    bands: tuple[str, ...]
    """Names of the bands, the same in all."""
    mode: Mode
    """How the gradients of the bands are joined."""
    side: int
    """Side of a block, in pixels."""
    workers: int
    """Threads."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.truth.sizes["y"], self.truth.sizes["x"]

    @property
    def names(self) -> tuple[str, ...]:
        """The bands, and the index where they allow it; a series may hold the index itself, as a band."""
        more = {"red", "nir"} <= set(self.bands) and NDVI not in self.bands
        return (*self.bands, NDVI) if more else self.bands

    def clear(self, window: Window) -> BoolArray:
        """(y, x) where pixels may be compared at all: under a clear LR pixel, if there is an LR image."""
        if self.coarse is None:
            return np.ones([s.stop - s.start for s in window], bool)
        return self.coarse.clear(window)

    def planes(self, image: FloatArray, valid: BoolArray) -> Iterator[tuple[npt.NDArray[np.floating[Any]], BoolArray]]:
        """Values and mask of each band and of the index, (y, x)."""
        yield from ((band, valid) for band in image)
        if len(self.names) > len(self.bands):
            red, nir = (image[self.bands.index(name)] for name in ("red", "nir"))
            index = ndvi(red, nir, valid)
            yield index, np.isfinite(index)


@dataclass(frozen=True)
class Ground:
    """What the reference alone tells: of its pixels that may be compared."""

    thresholds: Thresholds
    """Of the strata."""
    levels: F64Array
    """(name,) mean."""
    constants: F64Array
    """(name,) constant of the structure term, in squared reflectance."""


@dataclass(frozen=True)
class Found:
    """Sums over the blocks of a date."""

    reference: F64Array
    """(3,) pixels valid in the reference, per stratum."""
    sums: F64Array
    """(name, 3, columns) see :func:`sitsfuse.metrics.measure`."""
    angles: F64Array
    """(3, 2) number and sum of the spectral angles."""
    consistency: F64Array
    """(2 + band,) see :meth:`Coarse.consistency`."""
    spectra: F64Array
    """(3, band, y, x // 2 + 1) amplitudes of the reference, the prediction and the interpolated LR image."""
    spectral: F64Array
    """(1,) parts of the image that these are of."""

    def __add__(self, other: Found) -> Found:
        fields = (f.name for f in dataclasses.fields(self))
        return Found(*(getattr(self, name) + getattr(other, name) for name in fields))
