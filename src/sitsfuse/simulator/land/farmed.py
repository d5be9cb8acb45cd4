"""Farmland, mixed land, and farmland with towns: parcels with hedges, woods, roads, a river, ponds and hamlets.

The plane is cut into districts (Voronoi cells about 900 m wide), each with its own direction; a district is cut into
strips and the strips into parcels, at jittered distances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ...core.arrays import AnyFloats, FloatArray
from ..noise import fractal_noise, stream
from .covers import COVER, COVERS
from .features import build_houses, draw_curves, draw_hamlets, draw_ponds, inside
from .landscape import ROWS, Draft, Landscape, finish
from .parcels import REACH_U, REACH_V, bent, draw_districts, nearest_district, parcels_at
from .towns import draw_town

MEADOWS: Mapping[str, float] = {
    "wheat": 0.14, "barley": 0.06, "maize": 0.13, "grass": 0.45, "alfalfa": 0.06, "fallow": 0.07, "woodlot": 0.09,
}  # fmt: skip
"""Shares of the parcels in mixed land."""
WOODS: Mapping[float, float] = {1100: 1, 450: 0.6, 150: 0.25, 50: 0.08}
"""Amplitudes, by cell size in metres, of the noise whose peaks are woods."""


@dataclass(frozen=True)
class Style:
    """How a farmed land is laid out."""

    crops: Mapping[str, float]
    """Shares of the parcels by cover."""
    wooded: float
    """Level of a noise of unit variance above which there is wood: 1.15 takes an eighth of the land."""
    wood_scale: float
    """Size of the woods, relative to farmland."""
    pond_area: float
    """Land per pond, in square metres."""
    pond_radius: tuple[float, float]
    """Least and largest radius of a pond, in metres."""
    town: float
    """Share of the land that is town."""


FARMLAND = Style({c.name: c.share for c in COVERS if c.share}, 1.15, 1.0, 6e6, (20, 90), 0.0)
MIXED = Style(MEADOWS, 0.30, 0.45, 5e5, (25, 130), 0.0)
URBAN = Style(FARMLAND.crops, 1.35, 1.0, 6e6, (20, 90), 0.42)


def build(size: int, pixel: float, seed: int, style: Style = FARMLAND) -> Landscape:
    """Build a land of ``size`` × ``size`` pixels of ``pixel`` metres."""
    extent = size * pixel
    districts = draw_districts(seed, extent)
    numbers, cover = _number(seed, len(districts.centre), style)
    octaves = {style.wood_scale * cell: share for cell, share in WOODS.items()}
    wooded = fractal_noise(stream(seed, "woods"), (size, size), pixel, octaves) > style.wooded
    village, houses = draw_hamlets(seed, extent)
    lanes = draw_curves(seed, "roads", extent, 6000, 60, (7, 11))
    rivers = draw_curves(seed, "rivers", extent, 12000, 220, (18, 45))
    ponds = draw_ponds(seed, extent, style.pond_area, style.pond_radius)
    if style is not FARMLAND:  # whose images stay as they are
        apart = np.hypot(*(ponds[:, None, :2] - village[None, :, :2]).transpose(2, 0, 1))
        ponds = ponds[(apart > ponds[:, None, 2] + village[None, :, 2]).all(axis=1)]
    town = draw_town(seed, size, pixel, districts, style.town, cover.size) if style.town else None
    unit = np.empty((size, size), np.int32)
    tram = np.empty((size, size), np.int8)
    tree = KDTree(districts.centre)
    bends = stream(seed, "bends").uniform(0, 2 * np.pi, 8)
    x0 = ((np.arange(size) + 0.5) * pixel)[None, :]
    for start in range(0, size, ROWS):
        rows = slice(start, min(start + ROWS, size))
        y0 = ((np.arange(rows.start, rows.stop) + 0.5) * pixel)[:, None]
        x, y = bent(x0, y0, bends)
        home, border = nearest_district(tree, districts.centre, x, y)
        block, edge, hedge, tram_wave = parcels_at(districts, home, x, y, pixel)
        # Half a track on each side of the district's border; a paved street in one district of three.
        wide = max(5.0, 1.1 * pixel)
        block = np.where(hedge & (border > wide), numbers.first["hedge"] + home, block)
        block = np.where(wooded[rows], numbers.first["wood"] + home, block)
        block = np.where(inside(village, x, y, pixel), numbers.first["garden"] + home, block)
        street = np.where(home % 3 == 0, numbers.first["street"] + home, numbers.unique["track"])
        block = np.where(border < wide / 2, street, block)
        if town is not None:
            block = np.where(town.built[rows] > 0, town.units(rows, home, border, x, y), block)
        for line in rivers:
            distance = line.distance(x0, y0)
            block = np.where(distance < line.width / 2 + 14, numbers.first["bank"] + home, block)
            block = np.where(distance < line.width / 2, numbers.unique["water"], block)
        block = np.where(inside(ponds, x, y, pixel), numbers.unique["water"], block)
        for line in lanes:
            block = np.where(line.distance(x0, y0) < max(line.width, 1.2 * pixel) / 2, numbers.unique["road"], block)
        unit[rows] = block
        tram[rows] = np.rint(np.where(edge, 0, tram_wave) * 127)
    del wooded
    cover = cover if town is None else np.concatenate([cover, town.cover])
    place = _places(districts.centre, numbers, 0 if town is None else town.cover.size, extent)
    cover, roofs = build_houses(seed, unit, cover, houses, pixel)
    return finish(seed, Draft(unit, cover, np.concatenate([place, roofs]), tram), pixel)


@dataclass(frozen=True)
class _Numbers:
    """Unit numbers: parcels come first, then one of each kind per district, then what is unique."""

    first: dict[str, int]
    """Number of the first district's unit of a kind."""
    unique: dict[str, int]
    """Numbers of the others."""


def _number(seed: int, districts: int, style: Style) -> tuple[_Numbers, npt.NDArray[np.uint8]]:
    """Number the units and draw their covers (indices into COVERS)."""
    rng = stream(seed, "covers")
    parcels = districts * REACH_U * REACH_V
    share = np.array([style.crops.get(c.name, 0.0) for c in COVERS])
    covers = [rng.choice(share.size, parcels, p=share / share.sum())]
    first: dict[str, int] = {}
    unique: dict[str, int] = {}
    for kind, name in {"wood": "", "hedge": "hedge", "garden": "garden", "bank": "hedge", "street": "road"}.items():
        first[kind] = parcels + len(first) * districts
        deciduous = rng.random(districts) < 0.6
        covers.append(
            np.full(districts, COVER[name]) if name else np.where(deciduous, COVER["deciduous"], COVER["evergreen"])
        )
    for name in ("road", "water", "track"):
        unique[name] = parcels + len(first) * districts + len(unique)
        covers.append(np.array([COVER[name]]))
    return _Numbers(first, unique), np.concatenate(covers).astype(np.uint8)


def _places(centre: FloatArray, numbers: _Numbers, town: int, extent: float) -> AnyFloats:
    """(unit, 2) x and y of the units in metres: those of districts, and the middle of the scene for the others."""
    return np.concatenate(
        [
            np.repeat(centre, REACH_U * REACH_V, axis=0),
            np.tile(centre, (len(numbers.first), 1)),
            np.full((len(numbers.unique) + town, 2), extent / 2),
        ]
    )
