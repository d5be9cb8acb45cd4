"""Pairs of grids (HR and LR) and tiles with halo.

Positions are pixel-edge coordinates: pixel ``i`` covers ``[i, i + 1)`` and its centre is ``i + 0.5``. An
:class:`Axis` maps LR positions to HR positions along one dimension, so that every operator between two grids is a
pair of one-dimensional ones, at any ratio and any sub-pixel offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from affine import Affine
from odc.geo.geobox import GeoBox

from ..errors import InputError

Window = tuple[slice, slice]
"""Rows and columns of a rectangle of pixels."""


@dataclass(frozen=True)
class Axis:
    """One dimension of a pair of grids: ``hr position = ratio * (lr position) + offset``."""

    ratio: float
    """LR pixel size over HR pixel size."""
    offset: float
    """HR position of the LR grid's origin, in HR pixels."""
    n_hr: int
    """Number of HR pixels."""
    n_lr: int
    """Number of LR pixels."""

    def crop(self, hr: slice, lr: slice) -> Axis:
        """The same relation seen from windows of the two grids."""
        offset = self.ratio * lr.start + self.offset - hr.start
        return Axis(self.ratio, tidy(offset), hr.stop - hr.start, lr.stop - lr.start)

    def lr_overlapping(self, start: float, stop: float) -> slice:
        """LR pixels that overlap the HR positions [start, stop), clipped to the LR grid."""
        first = math.floor((start - self.offset) / self.ratio + 1e-6)
        last = math.ceil((stop - self.offset) / self.ratio - 1e-6)
        first = min(max(first, 0), self.n_lr)
        return slice(first, max(first, min(last, self.n_lr)))


@dataclass(frozen=True)
class GridPair:
    """An HR and an LR grid that share a CRS and an orientation.

    Parameters
    ----------
    hr, lr
        The two grids. They need not be aligned and need not have the same extent.

    Raises
    ------
    InputError
        If a grid is rotated or sheared, the CRSs differ, the LR pixels are not larger than the HR ones, or the
        extents do not overlap.
    """

    hr: GeoBox
    lr: GeoBox

    def __post_init__(self) -> None:
        for name, box in (("guide", self.hr), ("target", self.lr)):
            check_unrotated(box, name)
        if self.hr.crs != self.lr.crs:
            raise InputError(
                "target",
                f"CRS {crs_name(self.lr)} differs from the guide's {crs_name(self.hr)}",
                "reproject one of them",
            )
        if min(self.y.ratio, self.x.ratio) <= 0:
            raise InputError("target", "runs the other way (north-up and south-up)", "flip it, e.g. with gdalwarp")
        if min(self.y.ratio, self.x.ratio) <= 1 + 1e-6:
            raise InputError(
                "target",
                f"pixels ({abs(self.lr.affine.a):g}) are not larger than the guide's ({abs(self.hr.affine.a):g})",
                "give the sharp series as guide and the frequent, coarser one as target",
            )
        for axis in (self.y, self.x):
            if not (-axis.ratio * axis.n_lr < axis.offset < axis.n_hr):
                raise InputError(
                    "target", "does not overlap the guide", "check the extents of both with `sitsfuse info`"
                )

    @property
    def y(self) -> Axis:
        """The relation along rows."""
        h, g = self.hr.affine, self.lr.affine
        return Axis(tidy_ratio(g.e / h.e), tidy((g.f - h.f) / h.e), self.hr.shape[0], self.lr.shape[0])

    @property
    def x(self) -> Axis:
        """The relation along columns."""
        h, g = self.hr.affine, self.lr.affine
        return Axis(tidy_ratio(g.a / h.a), tidy((g.c - h.c) / h.a), self.hr.shape[1], self.lr.shape[1])

    @property
    def ratio(self) -> float:
        """LR pixel size over HR pixel size (geometric mean of the two axes)."""
        return math.sqrt(self.y.ratio * self.x.ratio)

    @property
    def inside(self) -> Window:
        """HR pixels whose middle lies on the LR image."""
        spans = []
        for axis in (self.y, self.x):
            ends = (math.ceil(tidy(edge) - 0.5) for edge in (axis.offset, axis.offset + axis.ratio * axis.n_lr))
            start, stop = (min(max(end, 0), axis.n_hr) for end in ends)
            spans.append(slice(start, stop))
        return spans[0], spans[1]

    def lr_window(self, hr: Window, margin: int = 0) -> Window:
        """LR pixels that overlap an HR window grown by ``margin`` HR pixels.

        The window may grow past the HR image: LR pixels out there help to interpolate at its border.
        """
        rows, cols = hr
        return (
            self.y.lr_overlapping(rows.start - margin, rows.stop + margin),
            self.x.lr_overlapping(cols.start - margin, cols.stop + margin),
        )

    def crop(self, hr: Window, lr: Window) -> GridPair:
        """The pair of grids of two windows."""
        return GridPair(self.hr[hr], self.lr[lr])


def coarser(box: GeoBox, ratio: float) -> GeoBox:
    """The grid of ``ratio`` times larger pixels with the same origin, whole LR pixels only."""
    rows, cols = (int((n + 1e-6) // ratio) for n in box.shape)
    if min(rows, cols) < 1:
        raise InputError("ratio", f"{ratio:g} is larger than the image", "choose a smaller ratio")
    return GeoBox((rows, cols), box.affine * Affine.scale(ratio), box.crs)


def place_in(box: GeoBox, like: GeoBox) -> tuple[float, float, float, float]:
    """Where a grid lies in another: left, top, width and height in the other's pixels."""
    to = ~like.affine @ box.affine
    return to.c, to.f, to.a * box.shape[1], to.e * box.shape[0]


TOLERANCE = 1e-3
"""Pixels by which grids may differ, over the whole image, and be the same: the rounding of coordinates."""


def check_unrotated(box: GeoBox, where: object) -> None:
    """Raise :class:`InputError` if the grid is rotated or sheared by more than rounding."""
    a = box.affine
    if max(abs(a.b * box.shape[0] / a.a), abs(a.d * box.shape[1] / a.e)) > TOLERANCE:
        raise InputError(where, "has a rotated geotransform", "resample it to a north-up grid, e.g. with gdalwarp")


def straightened(box: GeoBox, where: object) -> GeoBox:
    """A grid without the tilt of rounding.

    Raises
    ------
    InputError
        If it is rotated or sheared by more than that.
    """
    a = box.affine
    if a.a == 0 or a.e == 0:
        raise InputError(where, "has a rotated geotransform", "resample it to a north-up grid, e.g. with gdalwarp")
    check_unrotated(box, where)
    return GeoBox(box.shape, Affine(a.a, 0, a.c, 0, a.e, a.f), box.crs)


def same_grid(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids are the same, to a thousandth of a pixel over the whole image."""
    if a.crs != b.crs or tuple(a.shape) != tuple(b.shape):
        return False
    tolerance = TOLERANCE * abs(a.affine.a)
    shift = max(abs(a.affine.c - b.affine.c), abs(a.affine.f - b.affine.f))
    growth = max(abs(a.affine.a - b.affine.a) * a.shape[1], abs(a.affine.e - b.affine.e) * a.shape[0])
    return bool(shift <= tolerance and growth <= tolerance)


def tidy(value: float) -> float:
    """Round away the noise of coordinate arithmetic (a billionth of a pixel)."""
    return round(value, 9)


def tidy_ratio(value: float) -> float:
    """The simple fraction that a ratio is meant to be, in full precision: its error grows with every LR pixel."""
    simple = Fraction(value).limit_denominator(1000)
    return float(simple) if abs(float(simple) - value) < 1e-7 else value


def crs_name(box: GeoBox) -> str:
    """The CRS as a user knows it."""
    return "(none)" if box.crs is None else f"EPSG:{box.crs.epsg}" if box.crs.epsg else "(custom)"
