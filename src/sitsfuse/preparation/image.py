"""One image of a product or of a series, with its pixels on any grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.arrays import BoolArray, FloatArray
from ..core.displacement import Displacement
from ..core.loading import load_image
from ..core.series import geobox
from ..operators.warp import nearest, resample, source_window
from ..readers.products.flags import FLAGS
from ..readers.products.product import Product

Pixels = tuple[FloatArray, BoolArray, npt.NDArray[np.uint8]]
"""(band, y, x) reflectance, (y, x) valid, (y, x) CF flags."""


class Image(Protocol):
    """One image of a source."""

    @property
    def id(self) -> str:
        """Its producer's or its file's name."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def time(self) -> np.datetime64:
        """When it was taken (UTC)."""

    @property
    def platform(self) -> str:
        """The satellite, as far as known."""

    def box(self, bands: Sequence[str]) -> GeoBox:
        """Its own grid."""

    def read(self, bands: Sequence[str], box: GeoBox, moved: Displacement, mtf: Sequence[float]) -> Pixels:
        """Pixels on a grid, without the displacement."""

    def overview(self, bands: Sequence[str], box: GeoBox) -> tuple[BoolArray, BoolArray]:
        """(y, x) whether there are data and whether they are valid, by nearest neighbours on a coarse grid."""


@dataclass(frozen=True)
class ProductImage:
    """An image that is a product."""

    product: Product
    usable: tuple[str, ...]
    dilation: float | None

    @property
    def id(self) -> str:
        """The product's name."""
        return self.product.id

    @property
    def path(self) -> Path:
        """The product's folder or file."""
        return self.product.path

    @property
    def time(self) -> np.datetime64:
        """When it was taken (UTC)."""
        return self.product.time

    @property
    def platform(self) -> str:
        """The satellite."""
        return self.product.platform

    def box(self, bands: Sequence[str]) -> GeoBox:
        """The grid of the finest of the bands."""
        return self.product.box(bands)

    def read(self, bands: Sequence[str], box: GeoBox, moved: Displacement, mtf: Sequence[float]) -> Pixels:
        """Read from the product's files."""
        return self.product.read(bands, box, moved, usable=self.usable, dilation=self.dilation, mtf=mtf)

    def overview(self, bands: Sequence[str], box: GeoBox) -> tuple[BoolArray, BoolArray]:
        """From the masks and the first band, read with as few pixels as will do."""
        return self.product.overview(bands[0], box, usable=self.usable)


@dataclass(frozen=True)
class SeriesImage:
    """An image of a series."""

    series: xr.Dataset
    index: int
    path: Path

    @property
    def id(self) -> str:
        """The file's name, or the date."""
        label = self.series["product"].values[self.index] if "product" in self.series else str(self.time)[:10]
        return str(label)

    @property
    def time(self) -> np.datetime64:
        """Its date."""
        time: np.datetime64 = self.series["time"].values[self.index]
        return time

    @property
    def platform(self) -> str:
        """As the series has it."""
        return str(self.series["platform"].values[self.index]) if "platform" in self.series else ""

    def box(self, bands: Sequence[str]) -> GeoBox:
        """The grid of the series."""
        return geobox(self.series)

    def read(self, bands: Sequence[str], box: GeoBox, moved: Displacement, mtf: Sequence[float]) -> Pixels:
        """Compute the window that is needed and resample it."""
        whole = geobox(self.series)
        rows, cols = source_window(whole, box, moved, min(mtf))
        values, valid = load_image(self.series.isel(time=self.index), (rows, cols), bands)
        out = np.empty((len(bands), *box.shape), np.float32)
        ok = np.ones(box.shape, bool)
        for m in dict.fromkeys(mtf):
            same = [k for k, other in enumerate(mtf) if other == m]
            out[same], there = resample(values[same], valid, whole[rows, cols], box, moved, m)
            ok &= there
        out[:, ~ok] = np.nan
        raw = np.where(valid, np.uint8(0), np.uint8(FLAGS["nodata"]))
        return out, ok, np.asarray(nearest(raw, whole[rows, cols], box, moved, FLAGS["nodata"]), np.uint8)

    def overview(self, bands: Sequence[str], box: GeoBox) -> tuple[BoolArray, BoolArray]:
        """From the mask; the whole grid counts as there, as a series does not tell why a pixel is invalid."""
        whole = geobox(self.series)
        rows, cols = source_window(whole, box)
        step = max(1, math.floor(min(abs(box.affine.a / whole.affine.a), abs(box.affine.e / whole.affine.e)) / 2))
        part = self.series["valid"].isel(time=self.index, y=rows, x=cols).values[::step, ::step]
        coarse = GeoBox(part.shape, whole[rows, cols].affine * Affine.scale(step), whole.crs)
        there = np.asarray(nearest(np.ones_like(part, np.uint8), coarse, box), bool)
        return there, np.asarray(nearest(part.astype(np.uint8), coarse, box), bool)
