"""Parcels: districts (Voronoi cells), cut into strips, cut into parcels, with hedges along some borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ...core.arrays import FloatArray
from ..noise import stream

IntArray = npt.NDArray[np.int32]

DISTRICT = 900.0
"""Mean distance between districts' centres, in metres."""
BEND = 21.0
"""Metres by which borders are bent, at most."""
REACH_U, REACH_V = 32, 16
"""Strips per district and parcels per strip, at most."""


@dataclass(frozen=True, eq=False)
class Districts:
    """Tables of random numbers behind the parcels; D districts."""

    centre: FloatArray
    """(D, 2) x and y in metres."""
    angle: FloatArray
    """(D,) direction of the strips."""
    width: FloatArray
    """(D,) mean width of a strip in metres."""
    length: FloatArray
    """(D,) mean length of a parcel in metres."""
    cut_u: FloatArray
    """(D, REACH_U + 1) jitter of the strips' borders, in widths."""
    cut_v: FloatArray
    """(D, REACH_U, REACH_V + 1) jitter of the parcels' borders, in lengths."""
    joined: npt.NDArray[np.bool_]
    """(D, REACH_U, REACH_V) parcels joined to the one before."""
    hedged: FloatArray
    """(D,) share of the borders that bear a hedge."""
    luck: FloatArray
    """(D, REACH_U + 1) a number per border: below ``hedged``, a hedge."""


def draw_districts(seed: int, extent: float) -> Districts:
    """Draw the districts of a square of ``extent`` metres, with a margin around it."""
    rng = stream(seed, "districts")
    n = int(np.ceil(extent / DISTRICT)) + 3
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) - 1.0
    centre = (grid + rng.uniform(-0.42, 0.42, grid.shape)) * DISTRICT
    count = len(centre)
    return Districts(
        centre=centre.astype(np.float32),
        angle=(rng.uniform(0, np.pi) + rng.normal(0, 0.5, count)).astype(np.float32),
        width=np.exp(rng.uniform(np.log(75), np.log(170), count)).astype(np.float32),
        length=np.exp(rng.uniform(np.log(170), np.log(420), count)).astype(np.float32),
        cut_u=rng.uniform(-0.33, 0.33, (count, REACH_U + 1)).astype(np.float32),
        cut_v=rng.uniform(-0.33, 0.33, (count, REACH_U, REACH_V + 1)).astype(np.float32),
        joined=rng.random((count, REACH_U, REACH_V)) < 0.15,
        hedged=rng.choice([0.03, 0.15, 0.5], count).astype(np.float32),
        luck=rng.random((count, REACH_U + 1)).astype(np.float32),
    )


def bent(
    x: npt.NDArray[np.floating], y: npt.NDArray[np.floating], phase: npt.NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Positions displaced by a few metres, so that no border is quite straight."""
    dx = 16 * np.sin(y / 210 + phase[0]) * np.sin(x / 390 + phase[1]) + 5 * np.sin(y / 71 + phase[2])
    dy = 16 * np.sin(x / 230 + phase[3]) * np.sin(y / 370 + phase[4]) + 5 * np.sin(x / 83 + phase[5])
    return (x + dx).astype(np.float32), (y + dy).astype(np.float32)


def nearest_district(tree: KDTree, centre: FloatArray, x: FloatArray, y: FloatArray) -> tuple[IntArray, FloatArray]:
    """District of each position, and the distance in metres to the district's border."""
    distance, index = tree.query(np.stack([x, y], -1).reshape(-1, 2), k=2)
    apart = np.linalg.norm(centre[index[:, 0]] - centre[index[:, 1]], axis=1)
    border = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart)
    return index[:, 0].reshape(x.shape).astype(np.int32), border.reshape(x.shape).astype(np.float32)


def parcels_at(
    d: Districts, home: IntArray, x: FloatArray, y: FloatArray, pixel: float
) -> tuple[IntArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_], FloatArray]:
    """Parcel of each position, whether it lies on the parcel's edge or on a hedge, and the tramlines' wave."""
    cos, sin = np.cos(d.angle)[home], np.sin(d.angle)[home]
    dx, dy = x - d.centre[home, 0], y - d.centre[home, 1]
    u, v = cos * dx + sin * dy, -sin * dx + cos * dy
    width, length = d.width[home], d.length[home]
    i, nearest_u, gap_u = _cut(u / width + REACH_U / 2, d.cut_u, home, REACH_U)
    strip = home * REACH_U + i
    j, _, gap_v = _cut(v / length + REACH_V / 2, d.cut_v.reshape(-1, REACH_V + 1), strip, REACH_V)
    cell = strip * REACH_V + j
    parcel = cell - d.joined.reshape(-1)[cell] * (j > 0)
    gap_u, gap_v = gap_u * width, gap_v * length
    hedge_width = max(7.0, 1.3 * pixel)
    hedged = d.hedged[home]
    hedge = (gap_u < hedge_width / 2) & (d.luck[home, nearest_u] < hedged)
    hedge |= (gap_v < hedge_width / 2) & (d.luck[home, (i + j) % (REACH_U + 1)] < 0.6 * hedged)
    # Tramlines every 27 m along the strip.
    wave = np.cos(u * np.float32(2 * np.pi / 27)) ** 4 if pixel <= 12 else np.zeros_like(u)
    return parcel, (gap_u < 8) | (gap_v < 8), hedge, wave


def _cut(position: FloatArray, jitter: FloatArray, row: IntArray, reach: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Interval of jittered borders that holds each position, the nearest border, and the distance to it."""
    i = np.clip(np.floor(position), 0, reach - 1).astype(np.int32)
    i -= position < i + jitter[row, i]
    np.clip(i, 0, reach - 1, out=i)
    i += position >= i + 1 + jitter[row, i + 1]
    np.clip(i, 0, reach - 1, out=i)
    below, above = position - (i + jitter[row, i]), (i + 1 + jitter[row, i + 1]) - position
    return i, np.where(below < above, i, i + 1), np.minimum(np.abs(below), np.abs(above))
