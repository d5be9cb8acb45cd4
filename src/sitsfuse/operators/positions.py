"""Where the pixels of one grid lie in another."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio.warp import transform as transform_points
from scipy.ndimage import map_coordinates

from ..core.displacement import STAY, Displacement

LATTICE = 32
"""Pixels between the places where the general way computes exact positions."""


def positions_of(
    source: GeoBox, points: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], box: GeoBox, moved: Displacement
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Columns and rows (edge coordinates) of the source where map points, in the CRS of ``box``, are seen."""
    x, y = np.broadcast_arrays(*points)
    dx, dy = moved.at(x, y)
    x, y = x + dx, y + dy
    if source.crs != box.crs:
        flat = transform_points(str(box.crs), str(source.crs), x.ravel(), y.ravel())
        x, y = (np.asarray(f).reshape(x.shape) for f in flat)
    a = ~source.affine
    return a.a * x + a.b * y + a.c, a.d * x + a.e * y + a.f


def lattice_of(source: GeoBox, box: GeoBox, moved: Displacement) -> npt.NDArray[np.float64]:
    """(2, y, x) rows and columns of the source for the centres of ``box``.

    Displacements are exact. Positions in another CRS are so every few pixels and linear between: maps into each other
    are smooth, and exact ones slow.
    """
    x, y = _map(box, np.arange(box.shape[1])[None, :] + 0.5, np.arange(box.shape[0])[:, None] + 0.5)
    dx, dy = moved.at(x, y)
    if source.crs == box.crs:
        a = ~source.affine
        x, y = x + dx, y + dy
        return np.stack([a.d * x + a.e * y + a.f, a.a * x + a.b * y + a.c])
    b = ~box.affine
    # In pixels of the box, where what belongs there is seen.
    cols = np.arange(box.shape[1])[None, :] + b.a * dx + b.b * dy
    rows = np.arange(box.shape[0])[:, None] + b.d * dx + b.e * dy
    steps, place = [], []
    for at in (rows, cols):
        first, last = math.floor(at.min()), math.ceil(at.max())
        steps.append(np.arange(first // LATTICE, last // LATTICE + 2) * LATTICE)
        place.append(at / LATTICE - first // LATTICE)
    there = positions_of(source, _map(box, steps[1][None, :] + 0.5, steps[0][:, None] + 0.5), box, STAY)
    return np.stack([map_coordinates(v, place, order=1, prefilter=False) for v in (there[1], there[0])])


def _map(
    box: GeoBox, cols: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Map coordinates of positions (edge coordinates) in a grid."""
    a = box.affine
    return np.asarray(a.a * cols + a.b * rows + a.c), np.asarray(a.d * cols + a.e * rows + a.f)


def rim_of(box: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Map coordinates of points along the outline of a grid."""
    rows, cols = box.shape
    along = np.linspace(0, 1, 9)
    side = np.concatenate([along, along, np.zeros(9), np.ones(9)])
    other = np.concatenate([np.zeros(9), np.ones(9), along, along])
    return _map(box, side * cols, other * rows)


def ratio_of(source: GeoBox, box: GeoBox) -> float:
    """Pixel size of ``box`` over that of the source."""
    if source.crs == box.crs:
        return math.sqrt(abs(box.affine.determinant / source.affine.determinant))
    middle = _map(box, np.array([0, 1, 0]) + box.shape[1] / 2, np.array([0, 0, 1]) + box.shape[0] / 2)
    cols, rows = positions_of(source, middle, box, STAY)
    right, down = (np.array([cols[k] - cols[0], rows[k] - rows[0]]) for k in (1, 2))
    return math.sqrt(abs(right[0] * down[1] - right[1] * down[0]))
