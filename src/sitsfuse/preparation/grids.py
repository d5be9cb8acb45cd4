"""The grids of a prepared site."""

from __future__ import annotations

import math
from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from ..core.grid import GridPair, check_unrotated, coarser
from ..errors import InputError
from .config import PrepareConfig
from .sources import Source


def grids(config: PrepareConfig, hr: Source, lr: Source, bands: Sequence[str]) -> tuple[GeoBox, GeoBox, GeoBox]:
    """The HR and the LR grid of the site, and the one on which the sensors are compared.

    The HR grid is that of the guides, within the bounds asked for and where the target reaches. The LR grid is that
    of the target around it, or, if it is to be degraded or has another CRS, one with the HR grid's corner. The
    sensors are compared before the images are degraded further, if theirs is the coarser grid by then.

    Raises
    ------
    InputError
        If they do not overlap, or an image grid is rotated.
    """
    fine, coarse = hr.grid(bands), lr.grid(bands)
    check_unrotated(fine, hr.where)
    if config.grid.bounds is not None:
        fine = _within(fine, config.grid.bounds, "grid.bounds")
    if fine.crs is None or coarse.crs is None:
        raise InputError(hr.where if fine.crs is None else lr.where, "has no CRS", "georeference the images")
    around = coarse.extent.to_crs(fine.crs) if coarse.crs != fine.crs else coarse.extent
    pixel, own = abs(fine.affine.a), abs(coarse.affine.a)
    # Grids that are meant to cover the same may end an LR pixel apart: then that of the guides is kept.
    fine = _within(fine, tuple(around.boundingbox.buffered(own if coarse.crs == fine.crs else 0)), lr.where)
    if config.target.degrade is not None:
        if config.target.degrade < own * (1 - 1e-6) and coarse.crs == fine.crs:
            raise InputError(
                "`target.degrade`",
                f"{config.target.degrade:g} m is finer than the images' {own:g} m",
                "give a larger one",
            )
        lr_box = coarser(fine, config.target.degrade / pixel)
        comparable = coarse.crs == fine.crs and own > pixel * (1 + 1e-6) and not _turned(coarse)
        return fine, lr_box, _around(coarse, fine) if comparable else lr_box
    if coarse.crs != fine.crs:
        if around.crs is None or fine.extent.crs is None or around.crs.geographic != coarse.crs.geographic:
            raise InputError(lr.where, "has degrees for units and the guides metres, or the reverse", "reproject one")
        lr_box = coarser(fine, own / pixel)
        return fine, lr_box, lr_box
    check_unrotated(coarse, lr.where)
    lr_box = _around(coarse, fine)
    return fine, lr_box, lr_box


def _turned(box: GeoBox) -> bool:
    return bool(box.affine.b != 0 or box.affine.d != 0)


def _within(box: GeoBox, bounds: Sequence[float], where: object) -> GeoBox:
    """The pixels of a grid that lie within bounds."""
    left, bottom, right, top = bounds
    (c0, r0), (c1, r1) = (~box.affine * p for p in ((left, top), (right, bottom)))
    rows, cols = sorted((r0, r1)), sorted((c0, c1))
    cut = [
        (max(0, math.ceil(a - 1e-6)), min(n, math.floor(b + 1e-6)))
        for (a, b), n in zip((rows, cols), box.shape, strict=True)
    ]
    if any(b <= a for a, b in cut):
        raise InputError(where, "does not overlap the guides", "check the extents with `sitsfuse info`")
    (y0, y1), (x0, x1) = cut
    return box[y0:y1, x0:x1]


def _around(box: GeoBox, inner: GeoBox) -> GeoBox:
    """The pixels of a grid that touch another one, and one more on each side."""
    pair = GridPair(inner, box)
    rows, cols = pair.lr_window((slice(0, inner.shape[0]), slice(0, inner.shape[1])))
    y0, x0 = max(rows.start - 1, 0), max(cols.start - 1, 0)
    return box[y0 : min(rows.stop + 1, box.shape[0]), x0 : min(cols.stop + 1, box.shape[1])]
