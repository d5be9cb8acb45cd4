"""Optical sensors: their bands, and which band of one goes with which band of another.

Spectral responses are taken as boxcars, from ``wavelength - width / 2`` to ``wavelength + width / 2``.

Notes
-----
Where the figures come from:

- Wavelengths and widths: Venµs and Sentinel-2 (those of 2A; 2B and 2C differ by up to 4 nm, in B12 by 17 nm) as CNES
  and ESA publish them; Landsat from the USGS data users handbooks; PlanetScope from Planet's product specifications
  (instruments PS2, PS2.SD and PSB.SD).
- MTF at Nyquist of Sentinel-2: Lanaras et al. (2017), after ESA's calibration; B10 is not among them.
- MTF at Nyquist of Landsat-5 TM: Schowengerdt et al. (1985) measured an effective instantaneous field of view (half
  the period at which the MTF is 1/2) of 40.8 m and 48.6 m on a bridge. With their mean E and a gaussian MTF this is
  ``2 ** -(E / 30 m) ** 2`` = 0.22 at Nyquist.
- All other MTFs are not published per band: 0.3, the default of the data model, is assumed (Venµs, Landsat-7 to 9,
  PlanetScope, B10 of Sentinel-2).

References
----------
C. Lanaras, J. Bioucas-Dias, E. Baltsavias, K. Schindler, "Super-resolution of multispectral multiresolution images
from a single sensor", CVPR Workshops, 2017.

R. Schowengerdt, C. Archwamety, R. C. Wrigley, "Operational MTF for Landsat Thematic Mapper", Proc. SPIE 0549, 1985.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError

ASSUMED_MTF = 0.3
"""MTF at Nyquist of a band of which none is published."""
SAME_GAIN = 0.02
"""Standard deviation of the logarithm of the gain between two bands that see the same: calibration, atmosphere."""
OTHER_GAIN = 0.1
"""The same between bands that have no wavelength in common, or of which nothing is known."""
SINGLE = 0.5
"""Share of an LR band's width that one HR band must cover to stand for it alone, if several could together."""


@dataclass(frozen=True)
class Band:
    """A spectral band."""

    name: str
    """Name in the products."""
    common: str
    """Name across sensors: blue, green, red, rededge1, nir, nir08, swir16…"""
    wavelength: float
    """Centre, in nm."""
    width: float
    """Width of the boxcar, in nm."""
    gsd: float
    """Pixel size, in metres."""
    mtf: float = ASSUMED_MTF
    """MTF at the Nyquist frequency of its own pixels."""

    @property
    def span(self) -> tuple[float, float]:
        """First and last wavelength, in nm."""
        return self.wavelength - self.width / 2, self.wavelength + self.width / 2

    def overlap(self, other: Band) -> float:
        """Width that two bands share, in nm."""
        (a, b), (c, d) = self.span, other.span
        return max(0.0, min(b, d) - max(a, c))

    def likeness(self, other: Band) -> float:
        """What two bands share over what they span together: 0 where they do not meet, 1 where they are the same."""
        shared = self.overlap(other)
        return shared / (self.width + other.width - shared)


@dataclass(frozen=True)
class Sensor:
    """A sensor and the satellites that carry it."""

    name: str
    """Key in :data:`SENSORS`."""
    platforms: tuple[str, ...]
    """Names of the platforms or instruments in products' metadata; case, blanks, ``-``, ``_`` and ``.`` do not
    matter."""
    bands: tuple[Band, ...]
    """By wavelength."""

    def band(self, name: str) -> Band:
        """The band of that name, native or common.

        Raises
        ------
        InputError
            If there is none.
        """
        for band in self.bands:
            if name in (band.name, band.common):
                return band
        known = ", ".join(f"{b.name} ({b.common})" for b in self.bands)
        raise InputError(self.name, f"has no band {name!r}", f"choose among {known}")


@dataclass(frozen=True)
class BandPair:
    """Bands of two sensors that see the same."""

    common: str
    """Common name of the LR band."""
    hr: tuple[str, ...]
    """Native names of the HR bands; several where only their mean stands for the LR band."""
    lr: str
    """Native name of the LR band."""


def find_sensor(name: str) -> Sensor:
    """The sensor of that name, or that flies on a platform of that name.

    Parameters
    ----------
    name
        A key of :data:`SENSORS` or a platform as products write it ("SENTINEL2A", "Landsat-8", "PSB.SD").

    Raises
    ------
    InputError
        Listing the known sensors, if there is none.
    """
    wanted = _plain(name)
    for sensor in SENSORS.values():
        if wanted in map(_plain, (sensor.name, *sensor.platforms)):
            return sensor
    raise InputError("sensor", f"{name!r} is not known", f"choose among {', '.join(SENSORS)}")


def gain_spread(hr: str, lr: str, common: str) -> float:
    """How much the gain between a band of two sensors may differ from 1, before anything is measured.

    Parameters
    ----------
    hr, lr
        Names of the sensors, or of platforms.
    common
        Common name of the band.

    Returns
    -------
    float
        Standard deviation of the logarithm of the gain: 0.02 for bands of the same wavelengths, up to 0.1 with none
        in common or of sensors that are not known.
    """
    try:
        band = find_sensor(lr).band(common)
        pair = pairing(find_sensor(hr), find_sensor(lr), [common])[0]
    except InputError:
        return OTHER_GAIN
    parts = [find_sensor(hr).band(name) for name in pair.hr]
    shared = sum(p.overlap(band) for p in parts)
    likeness = shared / (sum(p.width for p in parts) + band.width - shared)
    return SAME_GAIN + (OTHER_GAIN - SAME_GAIN) * (1 - likeness)


def pairing(hr: Sensor, lr: Sensor, wanted: Sequence[str] | None = None) -> list[BandPair]:
    """Which HR bands go with which LR band.

    An HR and an LR band are a pair if each is the best match of the other. The best match has the same common name
    and overlaps with half the narrower of the two; else it has the largest overlap over union, then the nearest
    centre. An LR band of which no HR band covers half the width, while several lie within it, goes with all of these
    together: Venµs' B10 and B11 with Sentinel-2's B8.

    Parameters
    ----------
    hr, lr
        The two sensors.
    wanted
        Common names of LR bands, in the order to give them; all pairs by wavelength if None. For a band asked for by
        name, an HR band that another LR band matches better will do, if half the narrower of the two overlaps: the
        one NIR band of PlanetScope goes with Sentinel-2's B8, but on request with B8A.

    Returns
    -------
    list of BandPair

    Raises
    ------
    InputError
        If a band asked for has no counterpart, or nothing pairs at all.
    """
    found = {b.common: BandPair(b.common, names, b.name) for b in lr.bands if (names := _matches(hr, lr, b))}
    where = f"{hr.name} and {lr.name}"
    if wanted is None:
        if not found:
            raise InputError(where, "have no band in common", "choose two sensors that see the same wavelengths")
        return list(found.values())
    known = {b.common: BandPair(b.common, (near.name,), b.name) for b in lr.bands if (near := _near(hr, b))} | found
    for name in wanted:
        if name not in known:
            raise InputError("bands", f"{where} share no {name!r}", f"choose among {', '.join(known) or 'none'}")
    return [known[name] for name in wanted]


def _matches(hr: Sensor, lr: Sensor, band: Band) -> tuple[str, ...]:
    """Native names of the HR bands that pair with an LR band; none if there are none."""
    within = [b for b in hr.bands if b.overlap(band) >= b.width / 2]
    if len(within) > 1 and max(b.overlap(band) for b in within) < SINGLE * band.width:
        return tuple(b.name for b in within)
    best = _best(hr, band)
    return (best.name,) if best is not None and _best(lr, best) is band else ()


def _near(hr: Sensor, band: Band) -> Band | None:
    """The best match among the HR bands, if half the narrower of the two overlaps."""
    best = _best(hr, band)
    return best if best is not None and _half_overlap(best, band) else None


def _best(sensor: Sensor, band: Band) -> Band | None:
    """The band of a sensor that matches another sensor's band best, None if none meets it."""

    def rank(b: Band) -> tuple[bool, float, float]:
        named = b.common == band.common and _half_overlap(b, band)
        return named, b.likeness(band), -abs(b.wavelength - band.wavelength)

    return max((b for b in sensor.bands if b.overlap(band) > 0), key=rank, default=None)


def _half_overlap(a: Band, b: Band) -> bool:
    return a.overlap(b) >= min(a.width, b.width) / 2


def _plain(name: str) -> str:
    # Folding turns the micro sign into the Greek letter.
    return "".join(c for c in name.casefold() if c.isalnum()).replace("\N{GREEK SMALL LETTER MU}", "u")


_VENUS = Sensor(
    "venus",
    ("Venµs", "VENUS-XS", "VM1", "VM5"),
    (
        Band("B1", "violet", 424, 40, 5),
        Band("B2", "coastal", 447, 40, 5),
        Band("B3", "blue", 492, 40, 5),
        Band("B4", "green", 555, 40, 5),
        # Two views of one band from either end of the focal plane, for stereo.
        Band("B5", "orange", 620, 40, 5),
        Band("B6", "orange2", 620, 40, 5),
        Band("B7", "red", 666, 30, 5),
        Band("B8", "rededge1", 702, 24, 5),
        Band("B9", "rededge2", 741, 16, 5),
        Band("B10", "rededge3", 782, 16, 5),
        Band("B11", "nir08", 861, 40, 5),
        Band("B12", "nir09", 909, 20, 5),
    ),
)
_SENTINEL2 = Sensor(
    "sentinel2",
    ("Sentinel-2A", "Sentinel-2B", "Sentinel-2C", "S2A", "S2B", "S2C", "Sentinel-2"),
    (
        Band("B1", "coastal", 442.7, 21, 60, 0.32),
        Band("B2", "blue", 492.4, 66, 10, 0.26),
        Band("B3", "green", 559.8, 36, 10, 0.28),
        Band("B4", "red", 664.6, 31, 10, 0.24),
        Band("B5", "rededge1", 704.1, 15, 20, 0.38),
        Band("B6", "rededge2", 740.5, 15, 20, 0.34),
        Band("B7", "rededge3", 782.8, 20, 20, 0.34),
        Band("B8", "nir", 832.8, 106, 10, 0.26),
        Band("B8A", "nir08", 864.7, 21, 20, 0.33),
        Band("B9", "nir09", 945.1, 20, 60, 0.26),
        Band("B10", "cirrus", 1373.5, 31, 60),
        Band("B11", "swir16", 1613.7, 91, 20, 0.22),
        Band("B12", "swir22", 2202.4, 175, 20, 0.23),
    ),
)
_OLI = Sensor(
    "landsat8-9",
    ("Landsat-8", "Landsat-9", "LC08", "LC09", "OLI", "OLI-2"),
    (
        Band("SR_B1", "coastal", 443, 16, 30),
        Band("SR_B2", "blue", 482, 60, 30),
        Band("SR_B3", "green", 561.5, 57, 30),
        Band("SR_B4", "red", 654.5, 37, 30),
        Band("SR_B5", "nir08", 865, 28, 30),
        Band("SR_B6", "swir16", 1608.5, 85, 30),
        Band("SR_B7", "swir22", 2200.5, 187, 30),
    ),
)
_ETM = Sensor(
    "landsat7",
    ("Landsat-7", "LE07", "ETM+", "ETM"),
    (
        Band("SR_B1", "blue", 477.5, 73, 30),
        Band("SR_B2", "green", 560, 82, 30),
        Band("SR_B3", "red", 661.5, 61, 30),
        Band("SR_B4", "nir", 835, 126, 30),
        Band("SR_B5", "swir16", 1648, 202, 30),
        Band("SR_B7", "swir22", 2204.5, 281, 30),
    ),
)
_TM = Sensor(
    "landsat5",
    ("Landsat-5", "Landsat-4", "LT05", "LT04", "TM"),
    (
        Band("SR_B1", "blue", 485, 70, 30, 0.22),
        Band("SR_B2", "green", 560, 80, 30, 0.22),
        Band("SR_B3", "red", 660, 60, 30, 0.22),
        Band("SR_B4", "nir", 830, 140, 30, 0.22),
        Band("SR_B5", "swir16", 1650, 200, 30, 0.22),
        Band("SR_B7", "swir22", 2215, 270, 30, 0.22),
    ),
)
_DOVE = Sensor(
    "planetscope",
    ("PS2", "Dove", "Dove Classic"),
    (
        Band("blue", "blue", 485, 60, 3),
        Band("green", "green", 545, 90, 3),
        Band("red", "red", 630, 80, 3),
        Band("nir", "nir", 820, 80, 3),
    ),
)
_DOVE_R = Sensor(
    "planetscope-r",
    ("PS2.SD", "Dove-R"),
    (
        Band("blue", "blue", 490.5, 53, 3),
        Band("green", "green", 566, 38, 3),
        Band("red", "red", 666, 32, 3),
        Band("nir", "nir", 867, 42, 3),
    ),
)
_SUPERDOVE = Sensor(
    "superdove",
    ("PSB.SD", "SuperDove", "PlanetScope 8-band"),
    (
        Band("coastal_blue", "coastal", 441.5, 21, 3),
        Band("blue", "blue", 490, 50, 3),
        Band("green_i", "green_i", 531, 36, 3),
        Band("green", "green", 565, 36, 3),
        Band("yellow", "yellow", 610, 20, 3),
        Band("red", "red", 665, 30, 3),
        Band("rededge", "rededge1", 705, 16, 3),
        Band("nir", "nir", 865, 40, 3),
    ),
)

SENSORS: dict[str, Sensor] = {s.name: s for s in (_VENUS, _SENTINEL2, _OLI, _ETM, _TM, _DOVE, _DOVE_R, _SUPERDOVE)}
"""The sensors that are known, by name."""
