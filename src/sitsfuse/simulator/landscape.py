"""The land: parcels with hedges, woods, roads, a river, ponds and hamlets, as a map of units and three textures.

The plane is cut into districts (Voronoi cells about 900 m wide), each with its own direction; a district is cut into
strips and the strips into parcels, at jittered distances. Everything is a function of the position in metres and of
small tables of random numbers, evaluated on blocks of rows, so that the memory stays at 7 bytes per pixel plus that
of one float image while building.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from .noise import FloatArray, fractal_noise, stream
from .parcels import BEND, REACH_U, REACH_V, Districts, IntArray, bent, draw_districts, nearest_district, parcels_at
from .phenology import COVER, COVERS, CROPS, Units, draw_units

Floats = npt.NDArray[np.floating]
ByteArray = npt.NDArray[np.int8]

ROWS = 128
"""Rows evaluated at a time."""
TEXTURE_SCALE = 31.75
"""Textures are stored as this times their value, in int8: ± 4 standard deviations."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """A map of units with textures; 7 bytes per pixel."""

    unit: IntArray
    """(y, x) unit of each pixel."""
    rough: ByteArray
    """(y, x) roughness: of the soil in the fields, of the canopy under trees."""
    vigour: ByteArray
    """(y, x) where plants are more or less dense than the parcel's mean."""
    delay: ByteArray
    """(y, x) where plants are later or earlier than the parcel's mean."""
    units: Units
    """Properties of the units."""


def build(size: int, pixel: float, seed: int) -> Landscape:
    """Build a landscape of ``size`` × ``size`` pixels of ``pixel`` metres."""
    extent = size * pixel
    districts = draw_districts(seed, extent)
    numbers, cover = _number(seed, len(districts.centre))
    wooded = _woods(seed, size, pixel)
    village, houses = _hamlets(seed, extent)
    lanes, rivers = _curves(seed, "roads", extent, 6000, 60), _curves(seed, "rivers", extent, 12000, 220)
    ponds = _ponds(seed, extent)
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
        block = np.where(_inside(village, x, y, pixel), numbers.first["garden"] + home, block)
        street = np.where(home % 3 == 0, numbers.first["street"] + home, numbers.unique["track"])
        block = np.where(border < wide / 2, street, block)
        for line in rivers:
            distance = line.distance(x0, y0)
            block = np.where(distance < line.width / 2 + 14, numbers.first["bank"] + home, block)
            block = np.where(distance < line.width / 2, numbers.unique["water"], block)
        block = np.where(_inside(ponds, x, y, pixel), numbers.unique["water"], block)
        for line in lanes:
            block = np.where(line.distance(x0, y0) < max(line.width, 1.2 * pixel) / 2, numbers.unique["road"], block)
        unit[rows] = block
        tram[rows] = np.rint(np.where(edge, 0, tram_wave) * 127)
    del wooded
    cover, roofs = _build_houses(seed, unit, cover, houses, pixel)
    unit, cover, place = _compress(unit, cover, districts, numbers, roofs, extent)
    return _with_textures(seed, unit, tram, pixel, draw_units(seed, cover, place))


@dataclass(frozen=True)
class _Numbers:
    """Unit numbers: parcels come first, then one of each kind per district, then what is unique."""

    first: dict[str, int]
    """Number of the first district's unit of a kind."""
    unique: dict[str, int]
    """Numbers of the others."""


def _number(seed: int, districts: int) -> tuple[_Numbers, npt.NDArray[np.uint8]]:
    """Number the units and draw their covers (indices into COVERS)."""
    rng = stream(seed, "covers")
    parcels = districts * REACH_U * REACH_V
    covers = [rng.choice(CROPS.size, parcels, p=CROPS)]
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


def decode(texture: ByteArray) -> FloatArray:
    """Values of a stored texture (standard deviations)."""
    return texture.astype(np.float32) * np.float32(1 / TEXTURE_SCALE)


@dataclass(frozen=True, eq=False)
class _Curve:
    """A winding line across the land: ``v = offset + Σ amplitude sin(u / wave + phase)`` in a rotated frame."""

    angle: float
    """Direction of u."""
    offset: float
    """Distance from the origin, in metres."""
    amplitude: FloatArray
    """Of each bend, in metres."""
    wave: FloatArray
    """Length of each bend over 2π, in metres."""
    phase: FloatArray
    """Of each bend."""
    width: float
    """Width of the line, in metres."""

    def distance(self, x: Floats, y: Floats) -> FloatArray:
        """Distance in metres, to first order."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = (cos * x + sin * y).astype(np.float32), (-sin * x + cos * y).astype(np.float32)
        line = np.full_like(u, self.offset)
        slope = np.zeros_like(u)
        for a, w, p in zip(self.amplitude, self.wave, self.phase, strict=True):
            line += a * np.sin(u / w + p)
            slope += a / w * np.cos(u / w + p)
        return np.asarray(np.abs(v - line) / np.sqrt(1 + slope**2), np.float32)


def _curves(seed: int, name: str, extent: float, spacing: float, swing: float) -> list[_Curve]:
    """Lines that cross the scene, one per ``spacing`` metres of its side and at least one."""
    rng = stream(seed, name)
    curves = []
    for _ in range(max(1, round(extent / spacing))):
        angle = rng.uniform(0, np.pi)
        through = rng.uniform(0.15, 0.85, 2) * extent
        offset = float(-np.sin(angle) * through[0] + np.cos(angle) * through[1])
        wave = np.array([900.0, 380.0, 150.0], np.float32) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
        amplitude = swing * np.array([1.0, 0.35, 0.1], np.float32) * rng.uniform(0.5, 1.2, 3).astype(np.float32)
        width = rng.uniform(18, 45) if name == "rivers" else rng.uniform(7, 11)
        curves.append(_Curve(angle, offset, amplitude, wave, rng.uniform(0, 6.3, 3).astype(np.float32), width))
    return curves


def _woods(seed: int, size: int, pixel: float) -> npt.NDArray[np.bool_]:
    """Where the larger woods are: about an eighth of the land."""
    field = fractal_noise(stream(seed, "woods"), (size, size), pixel, {1100: 1, 450: 0.6, 150: 0.25, 50: 0.08})
    return field > 1.15


def _ponds(seed: int, extent: float) -> Floats:
    """(pond, 3) x, y and radius in metres."""
    rng = stream(seed, "ponds")
    n = 1 + rng.poisson(extent**2 / 6e6)
    return np.column_stack([rng.uniform(0, extent, (n, 2)), rng.uniform(20, 90, n)])


def _hamlets(seed: int, extent: float) -> tuple[Floats, Floats]:
    """(hamlet, 3) x, y and radius, and (house, 2) x and y, in metres."""
    rng = stream(seed, "hamlets")
    n = 1 + rng.poisson(extent**2 / 2.2e6)
    centre, radius = rng.uniform(0, extent, (n, 2)), rng.uniform(45, 150, n)
    counts = np.maximum(3, rng.poisson((radius / 16) ** 1.6))
    owner = np.repeat(np.arange(n), counts)
    r, a = np.sqrt(rng.random(owner.size)) * radius[owner] * 0.95, rng.uniform(0, 2 * np.pi, owner.size)
    houses = centre[owner] + np.column_stack([r * np.cos(a), r * np.sin(a)])
    return np.column_stack([centre, radius]), houses


def _inside(discs: Floats, x: FloatArray, y: FloatArray, pixel: float) -> npt.NDArray[np.bool_]:
    """Whether each position lies in one of the ragged discs; only the pixels around a disc are looked at."""
    out = np.zeros(x.shape, bool)
    top, bottom = y.min(), y.max()
    for cx, cy, radius in discs:
        reach = 1.25 * radius + BEND
        if cy + reach < top or cy - reach > bottom:
            continue
        cols = slice(max(0, int((cx - reach) / pixel)), max(0, int((cx + reach) / pixel) + 1))
        dx, dy = x[:, cols] - cx, y[:, cols] - cy
        angle = np.arctan2(dy, dx)
        ragged = 1 + 0.12 * np.sin(2 * angle + cx) + 0.08 * np.sin(3 * angle + cy) + 0.05 * np.sin(7 * angle + radius)
        out[:, cols] |= dx**2 + dy**2 < (radius * ragged) ** 2
    return out


def _build_houses(
    seed: int, unit: IntArray, cover: npt.NDArray[np.uint8], houses: Floats, pixel: float
) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Paint the roofs into ``unit``; returns the covers with theirs appended, and the houses' positions."""
    rng = stream(seed, "houses")
    kinds = rng.choice([COVER["tile roof"], COVER["grey roof"], COVER["metal roof"]], len(houses), p=[0.72, 0.2, 0.08])
    sides = rng.uniform(9, 19, (len(houses), 2)) * np.where(kinds == COVER["metal roof"], 1.7, 1.0)[:, None]
    angles = rng.uniform(0, np.pi, len(houses))
    size = unit.shape[0]
    for n, ((x, y), (a, b), angle) in enumerate(zip(houses, sides, angles, strict=True)):
        reach = float(np.hypot(a, b)) / 2
        rows = np.arange(max(0, int((y - reach) / pixel)), min(size, int((y + reach) / pixel) + 1))
        cols = np.arange(max(0, int((x - reach) / pixel)), min(size, int((x + reach) / pixel) + 1))
        if not rows.size or not cols.size:
            continue
        dy, dx = (rows[:, None] + 0.5) * pixel - y, (cols[None, :] + 0.5) * pixel - x
        cos, sin = np.cos(angle), np.sin(angle)
        roof = (np.abs(cos * dx + sin * dy) <= a / 2) & (np.abs(-sin * dx + cos * dy) <= b / 2)
        unit[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1][roof] = cover.size + n
    return np.concatenate([cover, kinds.astype(np.uint8)]), houses


def _compress(
    unit: IntArray,
    cover: npt.NDArray[np.uint8],
    districts: Districts,
    numbers: _Numbers,
    houses: Floats,
    extent: float,
) -> tuple[IntArray, npt.NDArray[np.uint8], FloatArray]:
    """Number the units that occur 0, 1, 2 …; also their covers and places in kilometres."""
    centre = districts.centre
    place = np.concatenate(
        [
            np.repeat(centre, REACH_U * REACH_V, axis=0),
            np.tile(centre, (len(numbers.first), 1)),
            np.full((len(numbers.unique), 2), extent / 2),
            houses,
        ]
    )
    used = np.zeros(cover.size, bool)
    for rows in range(0, len(unit), ROWS):
        used[unit[rows : rows + ROWS]] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    for rows in range(0, len(unit), ROWS):
        unit[rows : rows + ROWS] = number[unit[rows : rows + ROWS]]
    return unit, cover[used], (place[used] / 1000).astype(np.float32)


def _with_textures(seed: int, unit: IntArray, tram: ByteArray, pixel: float, units: Units) -> Landscape:
    """Add the textures; under trees the roughness is that of crowns, not of soil."""
    shape = (unit.shape[0], unit.shape[1])
    rough = fractal_noise(stream(seed, "soil"), shape, pixel, {240: 1.0, 80: 0.7, 25: 0.6, 10: 0.5})
    trees = np.array([c.crown > 0.1 for c in COVERS])[units.cover]
    sigma = 4.0 / pixel
    crowns = stream(seed, "crowns").standard_normal(shape, dtype=np.float32)
    if sigma > 0.3:
        crowns = gaussian_filter(crowns, sigma)
        crowns /= np.float32(crowns.std())
    for rows in range(0, len(unit), ROWS):
        part = slice(rows, rows + ROWS)
        rough[part] = np.where(trees[unit[part]], crowns[part], rough[part])
    del crowns
    stored = _encode(rough)
    del rough
    vigour = fractal_noise(stream(seed, "vigour"), shape, pixel, {180: 1.0, 60: 0.8, 20: 0.5})
    vigour -= tram.astype(np.float32) * np.float32(0.9 / 127)
    stored_vigour = _encode(vigour)
    del vigour
    delay = _encode(fractal_noise(stream(seed, "delay"), shape, pixel, {300: 1.0, 100: 0.8, 35: 0.5}))
    return Landscape(unit, stored, stored_vigour, delay, units)


def _encode(texture: FloatArray) -> ByteArray:
    texture *= np.float32(TEXTURE_SCALE)
    return np.clip(np.rint(texture, out=texture), -127, 127, out=texture).astype(np.int8)
