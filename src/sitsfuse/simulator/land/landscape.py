"""The land as a map of units with three textures, finished from a draft that holds the map alone.

Everything is a function of the position in metres and of small tables of random numbers, evaluated on blocks of rows,
so that the memory stays at 7 bytes per pixel (11 with a relief) plus that of a few float images while building.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ...core.arrays import FloatArray
from ..noise import fractal_noise, stream
from .parcels import IntArray
from .phenology import Units, draw_units
from .relief import Relief

ByteArray = npt.NDArray[np.int8]

ROWS = 128
"""Rows evaluated at a time."""
TEXTURE_SCALE = 31.75
"""Textures are stored as this times their value, in int8: ± 4 standard deviations."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """A map of units with textures; 7 bytes per pixel, and 4 for a relief."""

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
    relief: Relief | None = None
    """Heights, where the land is not flat."""


@dataclass(frozen=True, eq=False)
class Draft:
    """A map of units before the textures; units may be numbered that do not occur."""

    unit: IntArray
    """(y, x) unit of each pixel."""
    cover: npt.NDArray[np.uint8]
    """(unit,) index into COVERS."""
    place: npt.NDArray[np.floating]
    """(unit, 2) x and y in metres."""
    tram: ByteArray
    """(y, x) wave of the tramlines, 127 on a line."""


def finish(seed: int, draft: Draft, pixel: float, relief: Relief | None = None) -> Landscape:
    """Number the units that occur 0, 1, 2 …, draw their properties and add the textures."""
    unit = draft.unit
    used = np.zeros(draft.cover.size, bool)
    for rows in range(0, len(unit), ROWS):
        used[unit[rows : rows + ROWS]] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    for rows in range(0, len(unit), ROWS):
        unit[rows : rows + ROWS] = number[unit[rows : rows + ROWS]]
    units = draw_units(seed, draft.cover[used], (draft.place[used] / 1000).astype(np.float32))
    rough, vigour, delay = _textures(seed, unit, draft.tram, pixel, units)
    return Landscape(unit, rough, vigour, delay, units, relief)


def decode(texture: ByteArray) -> FloatArray:
    """Values of a stored texture (standard deviations)."""
    return texture.astype(np.float32) * np.float32(1 / TEXTURE_SCALE)


def _textures(
    seed: int, unit: IntArray, tram: ByteArray, pixel: float, units: Units
) -> tuple[ByteArray, ByteArray, ByteArray]:
    """Roughness, vigour and delay; under trees the roughness is that of crowns, not of soil."""
    shape = (unit.shape[0], unit.shape[1])
    rough = fractal_noise(stream(seed, "soil"), shape, pixel, {240: 1.0, 80: 0.7, 25: 0.6, 10: 0.5})
    sigma = 4.0 / pixel
    crowns = stream(seed, "crowns").standard_normal(shape, dtype=np.float32)
    if sigma > 0.3:
        crowns = gaussian_filter(crowns, sigma)
        crowns /= np.float32(crowns.std())
    for rows in range(0, len(unit), ROWS):
        part = slice(rows, rows + ROWS)
        rough[part] = np.where(units.trees[unit[part]], crowns[part], rough[part])
    del crowns
    stored = _encode(rough)
    del rough
    vigour = fractal_noise(stream(seed, "vigour"), shape, pixel, {180: 1.0, 60: 0.8, 20: 0.5})
    vigour -= tram.astype(np.float32) * np.float32(0.9 / 127)
    stored_vigour = _encode(vigour)
    del vigour
    delay = _encode(fractal_noise(stream(seed, "delay"), shape, pixel, {300: 1.0, 100: 0.8, 35: 0.5}))
    return stored, stored_vigour, delay


def _encode(texture: FloatArray) -> ByteArray:
    texture *= np.float32(TEXTURE_SCALE)
    return np.clip(np.rint(texture, out=texture), -127, 127, out=texture).astype(np.int8)
