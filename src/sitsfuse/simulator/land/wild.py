"""Land that is not farmed: mountains with their belts of plants, and desert with dunes and wadis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from ...core.arrays import AnyFloats, FloatArray
from ..noise import fractal_noise, stream
from .covers import COVER
from .features import draw_curves, draw_patches
from .landscape import ROWS, Draft, Landscape, finish
from .parcels import bent
from .relief import Relief

Numbers = npt.NDArray[np.integer]

MOUNTAIN = ("evergreen", "deciduous", "grass", "alpine meadow", "heath", "rock", "scree")
DESERT = ("gravel", "sand", "outcrop", "clay pan", "wadi bed", "thornbush")
"""Covers; there is one unit of each per patch, or per tone of the desert's ground."""
PATCH = 150.0
"""Width of a stand or a meadow, in metres."""
TONES = 12
"""Tones of the desert's ground."""
STEEPNESS = 0.5
"""Median slope of the mountains, in metres per metre."""


def mountains(size: int, pixel: float, seed: int) -> Landscape:
    """Build mountains: meadows in the valley, forest, alpine meadows, rock; all of it in any scene."""
    height = _peaks(seed, size, pixel)
    relief = Relief(height, max(float(height.max()), 1.0), pixel, 43.0, snowy=True)
    ragged = fractal_noise(stream(seed, "belts"), height.shape, pixel, {500: 1, 160: 0.7, 60: 0.5, 25: 0.3})
    glades = fractal_noise(stream(seed, "glades"), height.shape, pixel, {300: 1, 120: 0.7, 50: 0.4})
    centre = draw_patches(seed, "patches", size * pixel, PATCH)
    tree = KDTree(centre)
    conifers = stream(seed, "stands").random(len(centre)) < 0.65
    bends = stream(seed, "bends").uniform(0, 2 * np.pi, 8)

    def kinds(rows: slice, x0: AnyFloats, y0: AnyFloats) -> tuple[Numbers, Numbers]:
        patch = tree.query(np.stack(bent(x0, y0, bends), -1))[1]
        level = height[rows] / np.float32(relief.top) + np.float32(0.03) * ragged[rows]
        north, east = relief.slopes(rows)
        steep = np.hypot(north, east) + np.float32(0.12) * ragged[rows]
        out = np.where(conifers[patch] | (level > 0.38), 0, 1)
        out = np.where(glades[rows] > 1.5, 3, out)
        out = np.where((level < 0.14) & (glades[rows] < 0.9), 2, out)
        out = np.where(level > 0.53, 4, out)
        out = np.where(level > 0.58, np.where(glades[rows] > 1.2, 4, 3), out)
        out = np.where((level > 0.68) & (steep > 0.75), 6, out)
        return np.where((level > 0.82) | ((steep > 1.1) & (level > 0.4)), 5, out), patch

    draft = _draft(size, pixel, MOUNTAIN, centre, kinds)
    return finish(seed, draft, pixel, relief)


def desert(size: int, pixel: float, seed: int) -> Landscape:
    """Build a desert: gravel plains, a field of dunes, wadis with bushes, a clay pan, outcrops."""
    shape, extent = (size, size), size * pixel
    dunes = fractal_noise(stream(seed, "dunes"), shape, pixel, {1500: 1, 500: 0.5, 150: 0.15})
    dunes -= np.quantile(dunes[::4, ::4], 0.62)
    stones = fractal_noise(stream(seed, "stones"), shape, pixel, {700: 1, 250: 0.7, 90: 0.5, 30: 0.3})
    bushes = fractal_noise(stream(seed, "bushes"), shape, pixel, {600: 1, 200: 0.6, 60: 0.5, 20: 0.6})
    tones = fractal_noise(stream(seed, "tones"), shape, pixel, {900: 1, 300: 0.7, 100: 0.4, 30: 0.25})
    height = _dunes(seed, dunes, stones, pixel)
    relief = Relief(height, max(float(height.max()), 1.0), pixel, -25.0, snowy=False)
    wadis = draw_curves(seed, "wadis", extent, 1500, 200, (18, 40))

    def kinds(rows: slice, x0: AnyFloats, y0: AnyFloats) -> tuple[Numbers, Numbers]:
        stone, bush = stones[rows], bushes[rows]
        out = np.where(bush > 1.2, 5, 0)
        out = np.where(stone > 1.5, 2, out)
        out = np.where(dunes[rows] > 0, 1, out)
        out = np.where((stone < -1.6) & (dunes[rows] < -0.1), 3, out)
        for line in wadis:
            distance = line.distance(x0 + 35 * stone, y0 + 35 * tones[rows])
            out = np.where((distance < line.width * (2 + 0.9 * bush)) & (bush > -0.5), 5, out)
            out = np.where(distance < line.width * (0.6 + 0.25 * tones[rows]), 4, out)
        # Ground of a tone lies together without a border that one would see.
        return out, np.clip(np.rint(2 * tones[rows]) + TONES // 2, 0, TONES - 1).astype(int)

    centre = np.full((TONES, 2), extent / 2, np.float32)
    return finish(seed, _draft(size, pixel, DESERT, centre, kinds), pixel, relief)


def _draft(
    size: int,
    pixel: float,
    covers: Sequence[str],
    centre: FloatArray,
    kinds: Callable[[slice, AnyFloats, AnyFloats], tuple[Numbers, Numbers]],
) -> Draft:
    """Map of units from the kind of land (index into ``covers``) and the patch of each pixel of a block of rows."""
    unit = np.empty((size, size), np.int32)
    x0 = ((np.arange(size) + 0.5) * pixel)[None, :]
    for start in range(0, size, ROWS):
        rows = slice(start, min(start + ROWS, size))
        y0 = ((np.arange(rows.start, rows.stop) + 0.5) * pixel)[:, None]
        kind, patch = kinds(rows, x0, y0)
        unit[rows] = kind * len(centre) + patch
    cover = np.repeat([COVER[name] for name in covers], len(centre)).astype(np.uint8)
    return Draft(unit, cover, np.tile(centre, (len(covers), 1)), np.zeros((size, size), np.int8))


def _peaks(seed: int, size: int, pixel: float) -> FloatArray:
    """(y, x) heights of mountains in metres: sharp ridges upon a large slope, with gullies."""
    rng, shape = stream(seed, "peaks"), (size, size)
    height = fractal_noise(rng, shape, pixel, {3000: 1, 1500: 0.5})
    for cell, amplitude in {1100: 0.75, 480: 0.22, 220: 0.09}.items():
        height += np.float32(amplitude) * (0.8 - np.abs(fractal_noise(rng, shape, pixel, {cell: 1})))
    height += np.float32(0.03) * fractal_noise(rng, shape, pixel, {110: 1, 50: 0.5, 24: 0.25})
    height -= height.min()
    step = max(1, size // 400)
    south, east = np.gradient(height[::step, ::step], step * pixel)
    # Pixels coarser than all of the noise see no mountains.
    return height * np.float32(STEEPNESS / max(float(np.median(np.hypot(south, east))), 1e-6))


def _dunes(seed: int, dunes: FloatArray, stones: FloatArray, pixel: float) -> FloatArray:
    """(y, x) heights of a desert in metres: dunes of up to 9 m where ``dunes`` is positive, hillocks elsewhere."""
    rng, (size, _) = stream(seed, "crests"), dunes.shape
    warp = fractal_noise(rng, dunes.shape, pixel, {450: 1, 180: 0.35})
    wind, length = rng.uniform(0, 2 * np.pi), rng.uniform(95, 140)
    steps = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(pixel)
    phase = (np.float32(np.cos(wind)) * steps[None, :] + np.float32(np.sin(wind)) * steps[:, None]) / np.float32(length)
    phase = (phase + np.float32(0.45) * warp) % 1
    # A long slope to windward, a short one to leeward.
    crest = np.where(phase < 0.74, phase / 0.74, (1 - phase) / 0.26)
    crest = crest**2 * (3 - 2 * crest)
    height = np.float32(6.5) * np.clip(1.6 * dunes, 0, 1.4) * crest + np.float32(2.5) * np.maximum(stones, -1.5)
    return np.asarray(height - height.min(), np.float32)
