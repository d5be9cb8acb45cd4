"""The options of a simulation, and their checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
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

    size: int = 600
    """Side of the square scene, in HR pixels."""
    ratio: float = 5.0
    """LR pixel size over HR pixel size, > 1."""
    landscape: str = "farmland"
    """Kind of land: farmland, mountains, desert, mixed, urban or agricultural. Scenes that differ in their ratio alone
    lie under the same clouds, but for farmland, whose LR clouds are drawn on the LR grid."""
    seed: int = 0
    """Seed of all that is random. The land and its seasons depend on landscape, seed, size, pixel and start only."""
    pixel: float = 5.0
    """HR pixel size, in metres."""
    start: str = "2019-03-01"
    """Date of the first guide, YYYY-MM-DD."""
    guides: int = 13
    """Number of guides."""
    guide_revisit: int = 20
    """Days between guides."""
    targets: int = 12
    """Number of LR images, spread evenly over the guides' period and never on a guide's day."""
    target_revisit: int = 5
    """LR images lie on multiples of this number of days after the start."""
    cloud_cover: float = 0.3
    """Mean share of an image that is masked (clouds, shadows and a buffer); single images range from 0 to 0.9.
    Where the LR clouds are drawn on the HR grid, the LR sensor's PSF takes a few percent more."""
    missed_clouds: float = 0.02
    """Share of the cloudy pixels that the mask misses, in thin clouds and edges."""
    guide_mtf: float = 0.3
    """MTF of the HR sensor at its Nyquist frequency; also that of the reference."""
    target_mtf: float = 0.3
    """MTF of the LR sensor at its Nyquist frequency, relative to the reference."""
    guide_noise: float = 0.002
    """Standard deviation of the HR noise in the dark, in reflectance; √2 times that at a reflectance of 0.2."""
    target_noise: float = 0.002
    """Standard deviation of the LR noise in the dark, in reflectance; √2 times that at a reflectance of 0.2."""
    gain: float = 0.01
    """Standard deviation of the LR sensor's gain error per band, relative; half as much again from date to date."""
    offset: float = 0.001
    """Standard deviation of the LR sensor's offset per band, in reflectance; half as much again from date to date."""
    guide_shift: float = 0.1
    """Standard deviation of the guides' misregistration along each axis, in HR pixels."""
    target_shift: float = 0.05
    """Standard deviation of the LR images' misregistration along each axis, in LR pixels."""
    grid_offset: tuple[float, float] = (0.0, 0.0)
    """Position (y, x) of the LR grid's upper left corner in the HR grid, in HR pixels."""

    def __post_init__(self) -> None:
        def need(good: bool, option: str, mend: str) -> None:
            if not good:
                raise InputError(option, f"{getattr(self, option)!r} is not usable", mend)

        need(self.size >= SMALLEST, "size", f"give at least {SMALLEST} pixels")
        need(1.01 <= self.ratio < np.inf, "ratio", "give the LR over the HR pixel size, more than 1")
        need(self.landscape in LANDS, "landscape", f"choose among {', '.join(LANDS)}")
        need(self.seed >= 0, "seed", "give a whole number, 0 or more")
        need(0 < self.pixel < np.inf, "pixel", "give the HR pixel size in metres")
        try:
            np.datetime64(self.start, "D")
        except ValueError:
            need(False, "start", "give a date as YYYY-MM-DD")
        need(str(np.datetime64(self.start, "D")) != "NaT", "start", "give a date as YYYY-MM-DD")
        need(self.guides >= 2, "guides", "give at least 2")
        for name in ("guide_revisit", "target_revisit", "targets"):
            need(getattr(self, name) >= 1, name, "give at least 1")
        need(0 <= self.cloud_cover <= 0.75, "cloud_cover", "give a share between 0 and 0.75")
        need(0 <= self.missed_clouds <= 0.5, "missed_clouds", "give a share between 0 and 0.5")
        for name in ("guide_mtf", "target_mtf"):
            need(0 < getattr(self, name) < 1, name, "give the MTF at the Nyquist frequency, between 0 and 1")
        for name in ("guide_noise", "target_noise", "gain", "offset", "guide_shift", "target_shift"):
            need(0 <= getattr(self, name) < np.inf, name, "give a standard deviation, 0 or more")
        need(len(self.grid_offset) == 2, "grid_offset", "give two numbers, y and x")
        # A list, as read from a file, would not be hashable.
        object.__setattr__(self, "grid_offset", tuple(float(o) for o in self.grid_offset))
        for o in self.grid_offset:
            need(-self.ratio / 2 <= o, "grid_offset", "start the LR grid at most half an LR pixel outside")
            need((self.size - o) / self.ratio >= FEWEST_LR, "ratio", f"give a scene of {FEWEST_LR} LR pixels or more")
        free = len(self.possible_target_days)
        need(self.targets <= free, "targets", f"only {free} dates are free: give fewer, or a shorter target_revisit")

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


def changed(config: SimulationConfig, changes: Mapping[str, Any]) -> SimulationConfig:
    """The options with some of them changed, by name; an unknown one is an InputError that lists the known."""
    known = {field.name for field in dataclasses.fields(SimulationConfig)}
    for name in changes:
        if name not in known:
            raise InputError(name, "is not an option of the simulation", f"choose among {', '.join(sorted(known))}")
    return dataclasses.replace(config, **changes)
