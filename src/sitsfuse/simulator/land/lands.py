"""The kinds of land that can be simulated, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from . import farmed, plains, wild
from .landscape import Landscape


@dataclass(frozen=True)
class Land:
    """A kind of land."""

    build: Callable[[int, float, int], Landscape]
    """Makes the land of a size in pixels, a pixel size in metres and a seed."""
    rains: tuple[float, float] | None = None
    """First and last day of the rainy season; None where it rains all year."""


LANDS: Mapping[str, Land] = {
    "farmland": Land(farmed.build),
    "mountains": Land(wild.mountains),
    "desert": Land(wild.desert, rains=(320, 85)),
    "mixed": Land(partial(farmed.build, style=farmed.MIXED)),
    "urban": Land(partial(farmed.build, style=farmed.URBAN)),
    "agricultural": Land(plains.build),
}
