"""Several products of one day as one: halves of a tile, neighbours of a path, scenes of a strip."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray, FloatArray
from ...core.displacement import STAY, Displacement
from ...core.grid import same_grid
from .flags import FLAGS, USABLE
from .product import Product


@dataclass(frozen=True)
class Parts(Product):
    """Products of one day and one sensor: of several that are valid at a pixel the latest counts."""

    products: tuple[Product, ...] = ()
    """The latest first."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Those of all products."""
        return tuple(path for product in self.products for path in product.paths)

    def read(
        self,
        names: Sequence[str],
        box: GeoBox,
        displacement: Displacement = STAY,
        *,
        usable: Sequence[str] = USABLE,
        dilation: float | None = None,
        mtf: float | Sequence[float] = 0.3,
    ) -> tuple[FloatArray, BoolArray, npt.NDArray[np.uint8]]:
        """Pixels on any grid: see :meth:`Product.read`."""
        values, valid = np.full((len(names), *box.shape), np.nan, np.float32), np.zeros(box.shape, bool)
        flags = np.full(box.shape, FLAGS["nodata"], np.uint8)
        for product in self.products:
            image, ok, found = product.read(names, box, displacement, usable=usable, dilation=dilation, mtf=mtf)
            # What is there and cloudy tells more than what is not there.
            new = (ok & ~valid) | (~valid & ((flags & FLAGS["nodata"]) != 0))
            values[:, ok & ~valid] = image[:, ok & ~valid]
            flags[new] = found[new]
            valid |= ok
        return values, valid, flags

    def overview(self, name: str, box: GeoBox, *, usable: Sequence[str] = USABLE) -> tuple[BoolArray, BoolArray]:
        """Where there are data and where they are valid: see :meth:`Product.overview`."""
        there, valid = np.zeros(box.shape, bool), np.zeros(box.shape, bool)
        for product in self.products:
            some, ok = product.overview(name, box, usable=usable)
            there, valid = there | some, valid | ok
        return there, valid


def merged(products: Sequence[Product]) -> list[Product]:
    """Products by time, those of one day and sensor joined where their pixels coincide."""
    days: dict[tuple[str, str, str], list[Product]] = {}
    for product in products:
        days.setdefault((str(product.time.astype("datetime64[D]")), product.format, product.sensor), []).append(product)
    return [p for group in days.values() for p in ([_joined(group)] if _fit(group) else group)]


def _fit(group: Sequence[Product]) -> bool:
    """Whether several products are of one platform, and have the same bands on grids of coinciding pixels."""
    first = group[0]
    names = [b.native for b in first.bands]
    if len(group) == 1 or any(p.platform != first.platform or [b.native for b in p.bands] != names for p in group):
        return len(group) > 1 and first.format == "planet" and _same_pixels(group)
    return _same_pixels(group)


def _same_pixels(group: Sequence[Product]) -> bool:
    first = group[0]
    if any([b.native for b in p.bands] != [b.native for b in first.bands] for p in group):
        return False
    return all(_placed(band.box, first.bands[k].box) is not None for p in group for k, band in enumerate(p.bands))


def _placed(box: GeoBox, like: GeoBox) -> tuple[int, int] | None:
    """Columns and rows by which a grid lies aside of another; None where their pixels do not coincide."""
    if box.crs != like.crs:
        return None
    left, top = (round(v) for v in ~like.affine @ (box.affine.c, box.affine.f))
    moved = GeoBox(box.shape, like.affine @ Affine.translation(left, top), like.crs)
    return (left, top) if same_grid(box, moved) else None


def _joined(group: Sequence[Product]) -> Parts:
    """Products of a day as one, on grids that cover all of them."""
    latest = sorted(group, key=lambda p: p.time, reverse=True)
    first = group[0]
    bands = tuple(
        dataclasses.replace(b, box=_cover([p.bands[k].box for p in group])) for k, b in enumerate(first.bands)
    )
    clouds = [p.cloud for p in group if p.cloud is not None]
    fields = {f.name: getattr(first, f.name) for f in dataclasses.fields(Product)}
    return Parts(
        **fields
        | {
            "bands": bands,
            "cloud": sum(clouds) / len(clouds) if clouds else None,
            "notes": (*_distinct(n for p in group for n in p.notes), _said(latest)),
        },
        products=tuple(latest),
    )


def _said(latest: Sequence[Product]) -> str:
    return f"joined with {', '.join(p.id for p in latest[:-1])} of the same day, of which the latest counts"


def _distinct(notes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(notes))


def _cover(boxes: Sequence[GeoBox]) -> GeoBox:
    """The grid that covers several whose pixels coincide."""
    a = boxes[0].affine
    places = [(*(round(v) for v in ~a @ (b.affine.c, b.affine.f)), *b.shape) for b in boxes]
    x0, y0 = min(p[0] for p in places), min(p[1] for p in places)
    x1, y1 = max(p[0] + p[3] for p in places), max(p[1] + p[2] for p in places)
    return GeoBox((y1 - y0, x1 - x0), a @ Affine.translation(x0, y0), boxes[0].crs)
