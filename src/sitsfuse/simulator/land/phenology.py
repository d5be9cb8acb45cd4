"""What every unit of the land (parcel, wood, road, roof …) looks like on a day.

A unit is a mixture of ground, green and dry matter. Green matter follows a double logistic (Beck et al. 2006)
shifted and scaled per unit, cut short by harvests, ploughing and mowing; the ground darkens after rain. Inside a unit
the reflectance is linear in three textures, with coefficients that change with the day::

    reflectance = base + green * (slope * delay + vigour_share * vigour) + rough * roughness

References
----------
P. S. A. Beck et al., "Improved monitoring of vegetation dynamics at very high latitudes: a new method using MODIS
NDVI", Remote Sensing of Environment 100 (2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import FloatArray
from ..noise import stream
from .covers import BANDS, COVERS, FLOWER, NEVER, STUBBLE

YEAR = 365.0
LAST_PLOUGHING = 312.0
"""Day of the year by which every stubble is ploughed."""


@dataclass(frozen=True, eq=False)
class Units:
    """Properties of every unit, each (unit,) unless said otherwise."""

    cover: npt.NDArray[np.uint8]
    """Index into COVERS."""
    shift: FloatArray
    """Days by which the unit's season is late."""
    vigour: FloatArray
    """Factor of the green share in season."""
    bright: FloatArray
    """Factor of the ground's reflectance."""
    tint: FloatArray
    """(unit, 2) relative change of the spectra: from blue to nir, and of the leaves' nir."""
    harvest: FloatArray
    """Day of the year of the harvest."""
    plough: FloatArray
    """Day of the year of the ploughing."""
    regrowth: FloatArray
    """Green share of weeds or a catch crop after the harvest."""
    mown: FloatArray
    """(unit, cut) days of the year of the cuts, in order."""
    drainage: FloatArray
    """Factor of the effect of rain."""
    place: FloatArray
    """(unit, 2) position in kilometres, for the rain."""

    @property
    def trees(self) -> npt.NDArray[np.bool_]:
        """(unit,) whether trees or shrubs with crowns of their own stand there."""
        return np.array([c.crown > 0.1 for c in COVERS])[self.cover]


@dataclass(frozen=True, eq=False)
class Weather:
    """The rain that fell: the same for a seed whatever the dates asked."""

    day: FloatArray
    """(event,) day of each rain."""
    depth: FloatArray
    """(event,) how far it wets the ground, 1 = soaked."""
    wave: FloatArray
    """(event, 3) wave vector (per km) and phase of its pattern over the region."""


@dataclass(frozen=True, eq=False)
class Appearance:
    """Coefficients of the reflectance on one day."""

    base: FloatArray
    """(band, unit) reflectance."""
    green: FloatArray
    """(band, unit) change of reflectance from bare to fully green."""
    rough: FloatArray
    """(band, unit) change of reflectance per unit of roughness."""
    slope: FloatArray
    """(unit,) change of the green share per unit of delay."""
    vigour: FloatArray
    """(unit,) change of the green share per unit of vigour."""


def draw_units(seed: int, cover: npt.NDArray[np.uint8], place: FloatArray) -> Units:
    """Draw the properties of units of the given covers and places."""
    rng = stream(seed, "units")
    n = cover.size

    def normal(std: npt.ArrayLike = 1.0, columns: int | None = None) -> FloatArray:
        shape = n if columns is None else (n, columns)
        return np.asarray(rng.standard_normal(shape, dtype=np.float32) * np.asarray(std, np.float32), np.float32)

    spread = _of("spread")[cover]
    harvest = _of("harvest")[cover] + normal(spread)
    # A quarter is cut while still green, as silage or fodder: the abrupt changes of a series.
    harvest -= np.where(rng.random(n) < 0.25, rng.uniform(15, 45, n), 0)
    # A third of the stubbles is ploughed within days, the rest weeks or months later.
    wait = np.where(rng.random(n) < 0.35, rng.uniform(1, 12, n), rng.uniform(15, 110, n))
    regrowth = np.where(rng.random(n) < 0.3, rng.uniform(0.35, 0.8, n), rng.uniform(0.02, 0.3, n))
    return Units(
        cover=cover,
        shift=normal(spread),
        vigour=np.clip(1 + normal(0.09), 0.6, 1.06),
        bright=np.exp(normal(_of("bright")[cover])),
        tint=normal((0.06, 0.07), 2),
        harvest=harvest.astype(np.float32),
        plough=np.maximum(np.minimum(harvest + wait, LAST_PLOUGHING), harvest + 1).astype(np.float32),
        regrowth=regrowth.astype(np.float32),
        mown=_cuts(rng, cover),
        drainage=np.clip(1 + normal(0.2), 0.3, 1.6),
        place=place,
    )


def draw_weather(seed: int, last: float, season: tuple[float, float] | None = None) -> Weather:
    """Draw rains every eight days on average, from two months before the year to day ``last``.

    Out of ``season`` (its first and last day of the year), if it is given, it hardly ever rains.
    """
    rng = stream(seed, "rain")
    rows = []
    day = -60.0
    while day < last:
        day += rng.exponential(8.0)
        angle, wavelength = rng.uniform(0, 2 * np.pi), rng.uniform(6, 30)
        wave = 2 * np.pi / wavelength
        rows.append((day, rng.uniform(0.2, 1.2), wave * np.cos(angle), wave * np.sin(angle), rng.uniform(0, 2 * np.pi)))
    table = np.array(rows, np.float32)
    if season is not None:
        wet = (table[:, 0] - season[0]) % YEAR <= (season[1] - season[0]) % YEAR
        table = table[wet | (stream(seed, "odd rain").random(len(table)) < 0.06)]
    return Weather(table[:, 0], table[:, 1], table[:, 2:])


def moisture(weather: Weather, place: FloatArray, day: float) -> FloatArray:
    """(place,) wetness of the ground in [0, 1): soaked by each rain, dried within days."""
    recent = np.flatnonzero((weather.day <= day) & (weather.day > day - 30))
    total = np.zeros(len(place), np.float32)
    for i in recent:
        total += weather.depth[i] * np.exp(-(day - weather.day[i]) / 4.0) * _pattern(weather, place, i)
    return np.asarray(1 - np.exp(-1.5 * total), np.float32)


def greening(weather: Weather, place: FloatArray, day: float) -> FloatArray:
    """(place,) how green the rains have made the desert, in [0, 1): most three weeks after a rain."""
    since = (day - weather.day) / 20
    total = np.zeros(len(place), np.float32)
    for i in np.flatnonzero((since > 0) & (since < 8)):
        total += weather.depth[i] * since[i] * np.exp(1 - since[i]) * _pattern(weather, place, i)
    return np.asarray(1 - np.exp(-0.35 * total), np.float32)


def _pattern(weather: Weather, place: FloatArray, event: np.intp) -> FloatArray:
    """(place,) how much of a rain falls where."""
    wave = weather.wave[event]
    return np.asarray(0.6 + 0.4 * np.cos(place @ wave[:2] + wave[2]), np.float32)


def growth(units: Units, day: float) -> tuple[FloatArray, FloatArray]:
    """(unit,) shares of green and of ripe, dry matter as if nothing were ever harvested or mown."""
    c = units.cover
    t = np.float32(day % YEAR) - units.shift
    rise = _logistic((t - _of("up")[c]) / _of("up_width")[c])
    fall = _logistic((_of("down")[c] - t) / _of("down_width")[c])
    floor, peak = _of("floor")[c], _of("peak")[c]
    green = floor + (peak - floor) * rise * fall
    # Crops die off whole; other plants go back to their floor.
    crop = _of("harvest")[c] < NEVER / 2
    green = np.where(crop & (t > _of("harvest")[c] - 60), green * fall, green)
    green = green * units.vigour * (1 - _of("drought")[c] * _dry_season(t))
    ripe = np.where(crop, 0.9 * peak * units.vigour * rise * (1 - fall), 0)
    return np.clip(green, 0, 1).astype(np.float32), ripe.astype(np.float32)


def appear(units: Units, weather: Weather, day: float) -> Appearance:
    """Coefficients of every unit's reflectance on a day.

    Parameters
    ----------
    units
        The units.
    weather
        The rains.
    day
        Days since the first of January of the first year.
    """
    c = units.cover
    today = float(day % YEAR)
    since = today - units.harvest
    standing = since < 0
    ploughed = today >= units.plough
    growing, ripe = growth(units, day)
    if _of("rain")[c].any():
        growing = np.minimum(growing + _of("rain")[c] * units.vigour * greening(weather, units.place, day), 1)
    frost = _logistic((330 - today) / 10)
    weeds = units.regrowth * _logistic((since - 32) / 8) * frost
    weeds_after = units.regrowth * _logistic((today - units.plough - 38) / 8) * frost
    # Winter crops come up again in November.
    crop = _of("harvest")[c] < NEVER / 2
    sown = crop * _of("floor")[c] * units.vigour * _logistic((today - 318) / 8)
    left, hay = _after_cut(units.mown, today)
    green = np.where(
        standing, growing * left, np.where(ploughed, np.maximum(weeds_after, sown), np.maximum(weeds, 0.03))
    )
    # Dry matter: ripe crops before the harvest, stubble after it, hay after a cut, parched grass.
    parched = 0.8 * _of("drought")[c] * _dry_season(today) * (1 - green)
    stubble = np.where(ploughed, 0.06, 0.75 * np.exp(-np.maximum(since, 0) / 70.0))
    dry = np.where(standing, np.maximum(ripe + hay, parched), stubble * crop)
    dry = np.clip(dry, 0, 1 - green).astype(np.float32)
    bare = 1 - green - dry

    wetness = np.clip(moisture(weather, units.place, day) * units.drainage, 0, 1)
    fresh = np.where(ploughed, 1 - 0.15 * np.exp(-np.maximum(today - units.plough, 0) / 25.0), 1)
    light = (units.bright * (1 + _of("wet")[c] * wetness) * fresh).astype(np.float32)
    bloom = np.exp(-(((today - units.shift - _of("flower")[c]) / 10) ** 2)) * green
    # Shadows of crowns are longer under the low sun of winter.
    sun = 1 + 0.35 * np.cos(2 * np.pi * (day - 355) / YEAR)
    base = np.empty((len(BANDS), c.size), np.float32)
    contrast, rough = np.empty_like(base), np.empty_like(base)
    for k in range(len(BANDS)):
        slant = 1 + units.tint[:, 0] * (k / 1.5 - 1)
        leaf = _spectrum("leaf", k)[c] * (1 + units.tint[:, 1] * (1.0 if k == 3 else -0.5))
        ground = _spectrum("ground", k)[c] * light * slant
        straw = np.float32(STUBBLE[k]) * slant * (1 - 0.12 * wetness)
        base[k] = green * leaf + dry * straw + bare * ground + FLOWER[k] * bloom
        contrast[k] = leaf + FLOWER[k] * bloom - np.where(dry > bare, straw, ground)
        grain = bare * ground * (1 + wetness) + 0.7 * dry * straw
        rough[k] = _of("grain")[c] * grain + _of("crown")[c] * sun * (0.5 + 0.5 * green) * base[k]
    ahead, behind = growth(units, day + 2)[0], growth(units, day - 2)[0]
    # The delay texture stands for two days and a half of growth; nothing is left of it once the crop is off.
    slope = np.where(standing, -(ahead - behind) / 4 * 2.5 * left, 0)
    vigour = 0.05 * green + 0.25 * green * np.clip(1 - green, 0, 1)
    return Appearance(base, contrast, rough, slope.astype(np.float32), vigour.astype(np.float32))


def _dry_season(day: npt.ArrayLike) -> FloatArray:
    """How dry the season is, 1 in early August."""
    return np.asarray(np.exp(-(((np.asarray(day, np.float32) - 215) / 38) ** 2)), np.float32)


def _after_cut(mown: FloatArray, today: float) -> tuple[FloatArray, FloatArray]:
    """(unit,) share of the green that the last cut has left or that has grown since, and hay on the ground."""
    since = today - mown
    since = np.where(since < 0, np.float32(NEVER), since).min(axis=1)
    left = 1 - 0.72 * np.exp(-since / 16)
    return left.astype(np.float32), (0.3 * np.exp(-since / 5)).astype(np.float32)


def _cuts(rng: np.random.Generator, cover: npt.NDArray[np.uint8]) -> FloatArray:
    """(unit, cut) days of the cuts; NEVER where there is none."""
    most = max(c.mowings for c in COVERS)
    first = rng.uniform(118, 165, cover.size)
    gaps = rng.uniform(28, 62, (cover.size, most))
    gaps[:, 0] = 0
    days = first[:, None] + np.cumsum(gaps, axis=1)
    count = np.ceil(rng.random(cover.size) * _of("mowings")[cover])
    days[(np.arange(most) >= count[:, None]) | (days > 300)] = NEVER
    return days.astype(np.float32)


def _of(name: str) -> FloatArray:
    return np.array([getattr(c, name) for c in COVERS], np.float32)


def _spectrum(name: str, band: int) -> FloatArray:
    return np.array([getattr(c, name)[band] for c in COVERS], np.float32)


def _logistic(x: npt.ArrayLike) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(x, np.float32), -40, 40))), np.float32)
