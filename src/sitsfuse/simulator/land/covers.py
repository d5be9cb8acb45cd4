"""Covers of the land and their spectra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDS = ("blue", "green", "red", "nir")
Spectrum = tuple[float, float, float, float]
"""Surface reflectance of blue, green, red and nir."""

SOIL: Spectrum = (0.075, 0.108, 0.145, 0.225)
LITTER: Spectrum = (0.040, 0.055, 0.065, 0.150)
STUBBLE: Spectrum = (0.090, 0.135, 0.185, 0.300)
FLOWER: Spectrum = (0.000, 0.060, 0.075, 0.020)
NEVER = 1e6


@dataclass(frozen=True)
class Cover:
    """A kind of land cover. Days are days of the year."""

    name: str
    """Name."""
    share: float = 0.0
    """Share of the parcels."""
    ground: Spectrum = SOIL
    """Spectrum of the background."""
    leaf: Spectrum = (0.025, 0.058, 0.030, 0.440)
    """Spectrum under full green cover."""
    floor: float = 0.0
    """Green share out of season."""
    peak: float = 0.0
    """Green share at the height of the season."""
    up: float = 100.0
    """Day of half green-up."""
    up_width: float = 10.0
    """Pace of the green-up in days."""
    down: float = 300.0
    """Day of half senescence."""
    down_width: float = 10.0
    """Pace of the senescence in days."""
    harvest: float = NEVER
    """Mean day of the harvest."""
    flower: float = NEVER
    """Day of full flower (of yellow flowers)."""
    mowings: int = 0
    """Largest number of cuts in a year."""
    drought: float = 0.0
    """Share of the green that a dry summer takes."""
    rain: float = 0.0
    """Green share that comes up after rains, for the plants of deserts."""
    spread: float = 8.0
    """Standard deviation of all dates between units, in days."""
    wet: float = -0.35
    """Relative change of the ground's brightness when it is wet."""
    bright: float = 0.18
    """Standard deviation of the logarithm of the ground's brightness between units."""
    grain: float = 0.09
    """Relative roughness of the ground within a unit."""
    crown: float = 0.0
    """Relative roughness of the canopy (crowns and their shadows) within a unit."""


COVERS: tuple[Cover, ...] = (
    Cover("wheat", 0.27, floor=0.22, peak=0.93, up=85, up_width=12, down=172, down_width=8, harvest=196),
    Cover("barley", 0.08, floor=0.25, peak=0.88, up=76, up_width=12, down=155, down_width=8, harvest=178),
    Cover("rapeseed", 0.09, leaf=(0.028, 0.066, 0.033, 0.49), floor=0.40, peak=0.95, up=68, down=163, down_width=9,
          harvest=187, flower=104),
    Cover("maize", 0.16, leaf=(0.024, 0.055, 0.028, 0.46), peak=0.95, up=166, up_width=8, down=258, down_width=9,
          harvest=274),
    Cover("sunflower", 0.10, leaf=(0.03, 0.065, 0.036, 0.50), peak=0.90, up=163, up_width=7, down=231, down_width=8,
          harvest=258, flower=200),
    Cover("soya", 0.04, leaf=(0.025, 0.062, 0.028, 0.53), peak=0.93, up=176, up_width=8, down=255, down_width=7,
          harvest=281),
    Cover("grass", 0.13, leaf=(0.03, 0.072, 0.04, 0.40), floor=0.42, peak=0.86, up=78, up_width=14, down=318,
          down_width=18, mowings=3, drought=0.55),
    Cover("alfalfa", 0.04, leaf=(0.025, 0.066, 0.03, 0.50), floor=0.30, peak=0.94, up=80, down=312, down_width=12,
          mowings=5, drought=0.1),
    Cover("vineyard", 0.03, leaf=(0.03, 0.06, 0.04, 0.36), floor=0.08, peak=0.50, up=128, down=290, crown=0.05),
    Cover("fallow", 0.03, floor=0.15, peak=0.45, up=100, up_width=15, down=190, down_width=20, drought=0.4),
    Cover("woodlot", 0.03, LITTER, (0.022, 0.047, 0.024, 0.36), floor=0.12, peak=0.93, up=106, up_width=6, down=306,
          down_width=8, spread=4, wet=-0.1, crown=0.20),
    Cover("deciduous", 0, LITTER, (0.020, 0.044, 0.022, 0.34), floor=0.12, peak=0.95, up=107, up_width=6, down=304,
          down_width=8, spread=4, wet=-0.1, crown=0.20),
    Cover("evergreen", 0, LITTER, (0.017, 0.034, 0.020, 0.22), floor=0.88, peak=0.96, up=130, up_width=20, down=300,
          down_width=25, spread=6, wet=-0.1, crown=0.26),
    Cover("hedge", 0, LITTER, (0.021, 0.046, 0.025, 0.33), floor=0.25, peak=0.92, up=100, up_width=8, down=308,
          spread=6, wet=-0.1, crown=0.16),
    Cover("garden", 0, leaf=(0.03, 0.066, 0.038, 0.36), floor=0.45, peak=0.75, up=85, up_width=12, down=310,
          down_width=15, drought=0.25, crown=0.24),
    Cover("road", 0, (0.095, 0.108, 0.118, 0.150), wet=-0.15, bright=0.1, grain=0.04),
    Cover("track", 0, (0.120, 0.160, 0.195, 0.270), floor=0.2, peak=0.35, up=90, down=200, drought=0.5, bright=0.12),
    Cover("tile roof", 0, (0.080, 0.112, 0.205, 0.280), wet=-0.08, bright=0.2, grain=0.0),
    Cover("grey roof", 0, (0.150, 0.165, 0.175, 0.210), wet=-0.08, bright=0.3, grain=0.0),
    Cover("metal roof", 0, (0.360, 0.385, 0.395, 0.420), wet=-0.05, bright=0.2, grain=0.0),
    Cover("water", 0, (0.036, 0.046, 0.030, 0.013), wet=0.45, bright=0.1, grain=0.03),
    # Of the landscapes other than farmland.
    Cover("alpine meadow", 0, (0.065, 0.085, 0.100, 0.170), (0.030, 0.072, 0.046, 0.36), floor=0.28, peak=0.85, up=150,
          up_width=12, down=268, down_width=16, drought=0.1, grain=0.12),
    Cover("heath", 0, (0.050, 0.062, 0.075, 0.150), (0.026, 0.046, 0.036, 0.27), floor=0.50, peak=0.85, up=148,
          down=282, down_width=14, wet=-0.15, crown=0.14),
    Cover("rock", 0, (0.135, 0.150, 0.165, 0.200), wet=-0.2, bright=0.15, grain=0.16),
    Cover("scree", 0, (0.180, 0.197, 0.212, 0.250), wet=-0.2, bright=0.10, grain=0.10),
    Cover("sand", 0, (0.130, 0.190, 0.270, 0.350), (0.045, 0.080, 0.065, 0.30), rain=0.07, wet=-0.25, bright=0.05,
          grain=0.03),
    Cover("gravel", 0, (0.105, 0.145, 0.190, 0.245), (0.045, 0.080, 0.065, 0.30), rain=0.14, wet=-0.25, bright=0.08,
          grain=0.07),
    Cover("outcrop", 0, (0.085, 0.107, 0.132, 0.170), wet=-0.15, bright=0.12, grain=0.14),
    Cover("clay pan", 0, (0.200, 0.262, 0.325, 0.385), wet=-0.45, bright=0.05, grain=0.02),
    Cover("wadi bed", 0, (0.155, 0.215, 0.285, 0.355), (0.045, 0.080, 0.065, 0.30), rain=0.15, wet=-0.35, bright=0.06,
          grain=0.07),
    Cover("thornbush", 0, (0.110, 0.155, 0.210, 0.275), (0.038, 0.070, 0.052, 0.30), floor=0.14, peak=0.14, rain=0.5,
          wet=-0.25, bright=0.08, crown=0.16),
    Cover("lawn", 0, leaf=(0.030, 0.074, 0.040, 0.40), floor=0.55, peak=0.88, up=75, up_width=14, down=320,
          down_width=18, drought=0.35),
    Cover("flat roof", 0, (0.300, 0.318, 0.330, 0.355), wet=-0.06, bright=0.22, grain=0.0),
    Cover("dark roof", 0, (0.060, 0.063, 0.068, 0.085), wet=-0.08, bright=0.20, grain=0.0),
    Cover("paved", 0, (0.150, 0.170, 0.186, 0.225), wet=-0.15, bright=0.14, grain=0.05),
)  # fmt: skip
COVER = {cover.name: i for i, cover in enumerate(COVERS)}
CROPS = np.array([c.share for c in COVERS]) / sum(c.share for c in COVERS)
