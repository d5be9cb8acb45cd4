"""Several images of one day as one: side by side, or the clearest of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import same_grid
from .image import Image
from .raster import check_grid

THUMB = 256
"""Side of the blocks by which the clearest image is found, in pixels."""


def union(boxes: Sequence[GeoBox], labels: Sequence[Path | str]) -> GeoBox:
    """The grid that covers several, whose pixels must coincide.

    Raises
    ------
    InputError
        If they differ in CRS or size of the pixels, or lie between each other.
    """
    first = boxes[0]
    a = first.affine
    corners = []
    for box, label in zip(boxes, labels, strict=True):
        left, top = ~a @ (box.affine.c, box.affine.f)
        moved = GeoBox(box.shape, Affine(a.a, 0, a.c + a.a * round(left), 0, a.e, a.f + a.e * round(top)), first.crs)
        if not same_grid(box, moved):
            check_grid(str(label), box, str(labels[0]), moved, "resample the images of a day to one grid")
        corners.append((round(left), round(top), round(left) + box.shape[1], round(top) + box.shape[0]))
    x0, y0 = min(c[0] for c in corners), min(c[1] for c in corners)
    x1, y1 = max(c[2] for c in corners), max(c[3] for c in corners)
    return GeoBox((y1 - y0, x1 - x0), a @ Affine.translation(x0, y0), first.crs)


@dataclass(frozen=True)
class Mosaic:
    """Images on one grid: of several that are clear at a pixel the first counts."""

    parts: tuple[Image, ...]
    box: GeoBox

    @property
    def path(self) -> Path:
        """The first file."""
        return self.parts[0].path

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [p for part in self.parts for p in part.files]

    @property
    def names(self) -> tuple[str, ...]:
        """The bands."""
        return self.parts[0].names

    def decode(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Values (band, y, x), NaN where there are none, and where they are clear (y, x)."""
        shape = int(window.height), int(window.width)
        values, ok = np.full((len(self.names), *shape), np.nan, np.float32), np.zeros(shape, bool)
        for part in self.parts:
            left, top = (round(v) for v in ~self.box.affine @ (part.box.affine.c, part.box.affine.f))
            y0, x0 = max(int(window.row_off), top), max(int(window.col_off), left)
            y1 = min(int(window.row_off) + shape[0], top + part.box.shape[0])
            x1 = min(int(window.col_off) + shape[1], left + part.box.shape[1])
            if y0 >= y1 or x0 >= x1:
                continue
            here = (
                np.s_[y0 - int(window.row_off) : y1 - int(window.row_off)],
                np.s_[x0 - int(window.col_off) : x1 - int(window.col_off)],
            )
            image, clear = part.decode(Window(x0 - left, y0 - top, x1 - x0, y1 - y0))
            # What is clear wins; what is not fills only what is empty, under a mask that says so.
            better = (clear & ~ok[here]) | (~ok[here] & np.isnan(values[(slice(None), *here)]).any(axis=0))
            values[(slice(None), *here)] = np.where(better, image, values[(slice(None), *here)])
            ok[here] |= clear
        return values, ok

    def read(self, window: Window) -> FloatArray:
        """Values alone (band, y, x)."""
        return self.decode(window)[0]

    def clear(self, window: Window) -> BoolArray:
        """Where they are clear (y, x)."""
        return self.decode(window)[1]


def clearest(images: Sequence[Image]) -> Image:
    """The image with the most clear pixels, judged on blocks spread evenly over it; the first of equals."""

    def share(image: Image) -> int:
        rows, cols = image.box.shape
        starts = [sorted({int(v) for v in np.linspace(0, max(n - THUMB, 0), 4)}) for n in (rows, cols)]
        size = [min(n, THUMB) for n in (rows, cols)]
        clear = [image.clear(Window(x, y, size[1], size[0])).mean() for y in starts[0] for x in starts[1]]
        return math.floor(float(np.mean(clear)) * rows * cols)

    return max(images, key=share)
