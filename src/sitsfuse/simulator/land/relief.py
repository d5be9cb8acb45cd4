"""Relief: how the sun lights a slope over the year, and where snow lies.

References
----------
P. I. Cooper, "The absorption of radiation in solar stills", Solar Energy 12 (1969): the sun's declination.
P. M. Teillet, B. Guindon, D. G. Goodenough, "On the slope-aspect correction of multispectral scanner data", Canadian
Journal of Remote Sensing 8 (1982): the C-correction, turned round here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import FloatArray
from .phenology import YEAR, Weather

SKY = (0.50, 0.40, 0.34, 0.27)
"""C of the C-correction, blue to nir: the light of the sky, in which slopes in the shade stay visible."""
SNOW = (0.79, 0.79, 0.78, 0.72)
"""Reflectance of snow, blue to nir."""
HOUR_ANGLE = math.radians(-22.5)
"""Of the sun at half past ten, when both sensors pass."""


@dataclass(frozen=True, eq=False)
class Relief:
    """Heights of the land."""

    height: FloatArray
    """(y, x) metres above the lowest point."""
    top: float
    """Height of the highest point, in metres."""
    pixel: float
    """Pixel size in metres."""
    latitude: float
    """Degrees north, for the sun."""
    snowy: bool
    """Whether snow falls in the cold season."""

    def slopes(self, rows: slice) -> tuple[FloatArray, FloatArray]:
        """(y, x) rise towards north and towards east of a block of rows, in metres per metre."""
        # A row more on each side, so that blocks have the slopes of the whole.
        first, last = max(rows.start - 1, 0), min(rows.stop + 1, len(self.height))
        south, east = (np.asarray(g) for g in np.gradient(self.height[first:last], np.float32(self.pixel)))
        inner = slice(rows.start - first, rows.start - first + min(rows.stop, len(self.height)) - rows.start)
        return -south[inner], east[inner]

    def dress(
        self,
        image: FloatArray,
        rows: slice,
        weather: Weather,
        day: float,
        rough: FloatArray,
        trees: npt.NDArray[np.bool_],
    ) -> None:
        """Light a (band, y, x) block of rows of flat land as its slopes ask, and snow on it, in place.

        Parameters
        ----------
        image
            Reflectance of the land as if it were flat.
        rows
            Which rows these are.
        weather
            The rains, which in the cold are snow on the heights.
        day
            Days since the first of January of the first year.
        rough
            (y, x) roughness: snow is deeper here and there.
        trees
            (y, x) where trees stand, which hide the snow under them.
        """
        north, east = self.slopes(rows)
        sun = sun_direction(day, self.latitude)
        steep = np.hypot(north, east)
        cosine = np.maximum((sun[2] - sun[0] * east - sun[1] * north) / np.sqrt(1 + steep**2), 0)
        light = [(cosine + np.float32(c)) / np.float32(sun[2] + c) for c in SKY]
        for band, factor in zip(image, light, strict=True):
            band *= factor
        if not self.snowy:
            return
        level = self.height[rows] / np.float32(self.top)
        # Snow melts earlier on sunny slopes, and does not stay on steep ones.
        depth = level - snow_line(weather, day) - np.float32(0.1) * np.clip(north, -0.8, 0.8)
        depth += np.float32(0.02) * rough
        share = 1 / (1 + np.exp(-np.clip(depth / 0.03, -30, 30)))
        share *= np.clip(1.8 - steep, 0.15, 1) * np.where(trees, np.float32(0.28), 1)
        for band, white, factor in zip(image, SNOW, light, strict=True):
            band *= 1 - share
            # Snow lights its own shadows.
            band += share * np.float32(white) * np.clip(0.45 + 0.55 * factor, 0, 1.2)


def sun_direction(day: float, latitude: float) -> tuple[float, float, float]:
    """Unit vector (east, north, up) towards the sun at half past ten on a day of the year (first of January = 0)."""
    declination = math.radians(23.45) * math.sin(2 * math.pi * (285 + day) / YEAR)
    lat = math.radians(latitude)
    east = -math.cos(declination) * math.sin(HOUR_ANGLE)
    toward = math.cos(declination) * math.cos(HOUR_ANGLE)
    north = math.cos(lat) * math.sin(declination) - math.sin(lat) * toward
    return east, north, math.sin(lat) * math.sin(declination) + math.cos(lat) * toward


def snow_line(weather: Weather, day: float) -> float:
    """Height above which snow lies, 0 = valley floor, 1 = highest top: lowest in February, lower after each fall."""
    since = day - weather.day
    fresh = float((weather.depth * np.exp(-np.maximum(since, 0) / 5))[since >= 0].sum())
    cold = 0.5 + 0.5 * math.cos(2 * math.pi * (day - 25) / YEAR)
    return 0.62 - 0.60 * math.cos(2 * math.pi * (day - 40) / YEAR) - 0.22 * cold * min(fresh, 1.2)
