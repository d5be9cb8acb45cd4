"""The options of a simulation, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from ..core.options import MTF, Count, NotNegative, Positive, Seed, need, settle
from .land.lands import LANDS

SMALLEST = 16
"""Least size of a scene, in HR pixels."""
FEWEST_LR = 4
"""Least number of LR pixels along a side."""


@dataclass(frozen=True)
class SimulationConfig:
    """Options of a simulated site.

    Raises
    ------
    InputError
        Naming the first option that makes no sense.
    """

    size: Annotated[int, Field(ge=SMALLEST)] = 600
    """Side of the square scene, in HR pixels."""
    ratio: Annotated[float, Field(ge=1.01, allow_inf_nan=False)] = 5.0
    """LR pixel size over HR pixel size, > 1."""
    landscape: str = "farmland"
    """Kind of land: farmland, mountains, desert, mixed, urban or agricultural. Scenes that differ in their ratio alone
    lie under the same clouds, but for farmland, whose LR clouds are drawn on the LR grid."""
    seed: Seed = 0
    """Seed of all that is random. The land and its seasons depend on landscape, seed, size, pixel and start only."""
    pixel: Positive = 5.0
    """HR pixel size, in metres."""
    start: str = "2019-03-01"
    """Date of the first guide, YYYY-MM-DD."""
    guides: Annotated[int, Field(ge=2)] = 13
    """Number of guides."""
    guide_revisit: Count = 20
    """Days between guides."""
    targets: Count = 12
    """Number of LR images, spread evenly over the guides' period and never on a guide's day."""
    target_revisit: Count = 5
    """LR images lie on multiples of this number of days after the start."""
    cloud_cover: Annotated[float, Field(ge=0, le=0.75)] = 0.3
    """Mean share of an image that is masked (clouds, shadows and a buffer); single images range from 0 to 0.9.
    Where the LR clouds are drawn on the HR grid, the LR sensor's PSF takes a few percent more."""
    missed_clouds: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Share of the cloudy pixels that the mask misses, in thin clouds and edges."""
    guide_mtf: MTF = 0.3
    """MTF of the HR sensor at its Nyquist frequency; also that of the reference."""
    target_mtf: MTF = 0.3
    """MTF of the LR sensor at its Nyquist frequency, relative to the reference."""
    guide_noise: NotNegative = 0.002
    """Standard deviation of the HR noise in the dark, in reflectance; √2 times that at a reflectance of 0.2."""
    target_noise: NotNegative = 0.002
    """Standard deviation of the LR noise in the dark, in reflectance; √2 times that at a reflectance of 0.2."""
    gain: NotNegative = 0.01
    """Standard deviation of the LR sensor's gain error per band, relative; half as much again from date to date."""
    offset: NotNegative = 0.001
    """Standard deviation of the LR sensor's offset per band, in reflectance; half as much again from date to date."""
    guide_shift: NotNegative = 0.1
    """Standard deviation of the guides' misregistration along each axis, in HR pixels."""
    target_shift: NotNegative = 0.05
    """Standard deviation of the LR images' misregistration along each axis, in LR pixels."""
    grid_offset: tuple[float, float] = (0.0, 0.0)
    """Position (y, x) of the LR grid's upper left corner in the HR grid, in HR pixels."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.landscape in LANDS, self, "landscape", f"choose among {', '.join(LANDS)}")
        need(_is_date(self.start), self, "start", "give a date as YYYY-MM-DD")
        for o in self.grid_offset:
            outside = "start the LR grid at most half an LR pixel outside"
            need(-self.ratio / 2 <= o < np.inf, self, "grid_offset", outside)
            few = f"give a scene of {FEWEST_LR} LR pixels or more"
            need((self.size - o) / self.ratio >= FEWEST_LR, self, "ratio", few)
        free = len(self.possible_target_days)
        fewer = f"only {free} dates are free: give fewer, or a shorter target_revisit"
        need(self.targets <= free, self, "targets", fewer)

    @property
    def guide_days(self) -> list[int]:
        """Days from the start to each guide."""
        return [i * self.guide_revisit for i in range(self.guides)]

    @property
    def possible_target_days(self) -> list[int]:
        """Days from the start on which an LR image can lie."""
        taken = set(self.guide_days)
        return [d for d in range(0, self.guide_days[-1], self.target_revisit) if d not in taken]

    @property
    def target_days(self) -> list[int]:
        """Days from the start to each LR image."""
        possible = self.possible_target_days
        if self.targets == 1:
            return [possible[len(possible) // 2]]
        chosen = np.rint(np.linspace(0, len(possible) - 1, self.targets)).astype(int)
        return [possible[i] for i in chosen]


def _is_date(text: str) -> bool:
    try:
        return not np.isnat(np.datetime64(text, "D"))
    except ValueError:
        return False
