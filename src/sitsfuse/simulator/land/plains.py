"""Large fields of the plains: square sections with pivots, roads on the section lines, little wood."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core.arrays import AnyFloats, FloatArray
from ..noise import stream
from .covers import COVER
from .features import build_houses, draw_hamlets, draw_ponds, inside
from .landscape import ROWS, Draft, Landscape, finish

QUARTER = 804.7
"""Side of a quarter section (half a mile), in metres."""
CROPS = {"wheat": 0.36, "maize": 0.22, "soya": 0.12, "alfalfa": 0.12, "fallow": 0.06, "grass": 0.12}
"""Shares of the fields."""
CORNERS = {"grass": 0.5, "fallow": 0.3, "wheat": 0.2}
"""Shares of the land around the pivots."""
LAYOUTS = {"pivot": 0.40, "small pivots": 0.20, "halves": 0.15, "quarters": 0.15, "whole": 0.10}
"""Shares of the quarter sections: one circle, four circles, two or four fields, one field."""
FIELDS = 5
"""Fields of a quarter section, at most: four, and the land around the pivots."""


def build(size: int, pixel: float, seed: int) -> Landscape:
    """Build plains of ``size`` × ``size`` pixels of ``pixel`` metres."""
    extent = size * pixel
    rng = stream(seed, "sections")
    n = int(np.ceil(1.15 * extent / QUARTER)) + 3
    layout = rng.choice(len(LAYOUTS), (n, n), p=list(LAYOUTS.values()))
    split = rng.random((n, n))
    # All of the scene lies within the table, turned by up to three degrees.
    angle, origin = rng.uniform(-0.05, 0.05), rng.uniform(-1.6, -1.1, 2) * QUARTER - 0.06 * extent

    def frame(x: AnyFloats, y: AnyFloats) -> tuple[AnyFloats, AnyFloats]:
        """Position in quarter sections along the section lines."""
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        return (u - origin[0]) / QUARTER, (v - origin[1]) / QUARTER

    crops = _covers(rng, CROPS, n * n * FIELDS)
    crops[FIELDS - 1 :: FIELDS] = _covers(rng, CORNERS, n * n)
    first = crops.size
    cover = np.concatenate([crops, [COVER[name] for name in ("track", "road", "hedge", "water", "garden")]])
    track, road, bank, water, garden = range(first, first + 5)
    middle = (np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) + 0.5) * QUARTER + origin
    place = np.concatenate([np.repeat(middle, FIELDS, axis=0), np.full((5, 2), extent / 2)])

    def dry(points: AnyFloats) -> AnyFloats:
        """Those of some points that do not lie under a pivot."""
        i, j = (np.clip(p, 0, n - 1).astype(int) for p in frame(points[:, 0], points[:, 1]))
        return np.asarray(points[layout[j, i] >= list(LAYOUTS).index("halves")])

    ponds, farms, houses = (dry(a) for a in (draw_ponds(seed, extent, 6e5, (12, 35)), *draw_hamlets(seed, extent)))
    unit = np.empty((size, size), np.int32)
    tram = np.empty((size, size), np.int8)
    x = ((np.arange(size) + 0.5) * pixel)[None, :]
    for start in range(0, size, ROWS):
        rows = slice(start, min(start + ROWS, size))
        y = ((np.arange(rows.start, rows.stop) + 0.5) * pixel)[:, None]
        u, v = frame(x, y)
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        field, wave = _field(layout[j, i], split[j, i], (u - i - 0.5) * QUARTER, (v - j - 0.5) * QUARTER)
        block = (j * n + i) * FIELDS + field
        # Gravel roads every mile, a paved one every other; tracks and grass between the quarters.
        for line in (u, v):
            number = np.rint(line).astype(int)
            gap = np.abs(line - number) * QUARTER
            wide = np.where(number % 2 == 0, max(9.0, 1.2 * pixel), max(4.0, 0.8 * pixel))
            block = np.where(gap < wide / 2, np.where(number % 4 == 0, road, track), block)
        here = x + 0 * y, y + 0 * x
        block = np.where(inside(ponds * (1, 1, 1.6), *here, pixel), bank, block)
        block = np.where(inside(ponds, *here, pixel), water, block)
        block = np.where(inside(farms * (1, 1, 0.5), *here, pixel), garden, block)
        unit[rows] = block
        tram[rows] = np.rint(wave * 127)
    cover, roofs = build_houses(seed, unit, cover.astype(np.uint8), houses, pixel)
    return finish(seed, Draft(unit, cover, np.concatenate([place, roofs]), tram), pixel)


def _field(
    layout: npt.NDArray[np.int_], split: FloatArray, u: FloatArray, v: FloatArray
) -> tuple[npt.NDArray[np.int_], FloatArray]:
    """Field within the quarter section, and the wave of the tramlines or of the pivot's wheel tracks."""
    east, south = (u > 0).astype(int), (v > 0).astype(int)
    corner = east + 2 * south
    r, small = np.hypot(u, v), np.hypot(np.abs(u) - QUARTER / 4, np.abs(v) - QUARTER / 4)
    # One crop under a pivot, two halves, or a half and two quarters.
    sector = np.where(split < 0.5, 0, np.where(split < 0.8, east, np.where(east == 1, 1 + 2 * south, 0)))
    fields = [
        np.where(r < 0.49 * QUARTER, sector, FIELDS - 1),
        np.where(small < 0.24 * QUARTER, corner, FIELDS - 1),
        np.where(split < 0.5, east, south),
        corner,
        np.zeros_like(corner),
    ]
    lines = np.cos(u * (2 * np.pi / 36)) ** 6
    waves = [np.cos(r * (2 * np.pi / 52)) ** 8, np.cos(small * (2 * np.pi / 48)) ** 8, lines, lines, lines]
    field = np.choose(layout, fields)
    return field, np.where(field == FIELDS - 1, 0, np.choose(layout, waves))


def _covers(rng: np.random.Generator, shares: dict[str, float], count: int) -> npt.NDArray[np.intp]:
    """Covers (indices into COVERS) drawn by their shares."""
    return rng.choice([COVER[name] for name in shares], count, p=list(shares.values()))
