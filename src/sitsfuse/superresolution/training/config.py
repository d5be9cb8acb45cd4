"""The options of a training, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from ...errors import InputError

CYCLES = 3
"""Cosine cycles, each twice as long as the one before; the learning rate starts anew with each."""
SMALLEST_PATCH = 8
"""Least side of a patch, in LR pixels."""
LARGEST_SEED = 2**63 - 1
"""Torch takes no larger one."""


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a training.

    Raises
    ------
    InputError
        Naming the first option that makes no sense.
    """

    steps: int = 3000
    """Mini-batches in all; training ends earlier where a whole cycle brings nothing."""
    batch: int = 16
    """Patches in a mini-batch."""
    patch: int = 24
    """Side of a patch, in LR pixels; smaller where the images are."""
    rate: float = 1e-3
    """Largest learning rate; it falls to 0 along a cosine, three times over."""
    features: int = 64
    """Channels of the network."""
    groups: int = 4
    """Groups of its convolutions."""
    tail: int = 16
    """Its channels at HR."""
    context: int = 4
    """LR pixels on each side whose mean is taken off what the network sees."""
    mtf: tuple[float, float] = (0.2, 0.5)
    """Bounds of the MTF at Nyquist with which HR images are degraded, drawn anew for each patch."""
    noise: float = 0.02
    """Largest noise of the degraded images, in standard deviations of the band."""
    shift: float = 0.05
    """Standard deviation of the degraded images' displacement, in LR pixels."""
    consistency: float = 0.0
    """Weight of a second term in the loss: the prediction, degraded, should be the LR image."""
    pixels: float = 40.0
    """Most HR pixels to keep in memory, in millions; of larger images windows are drawn."""
    seed: int = 0
    """Seed of weights and patches."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if torch sees one."""

    def __post_init__(self) -> None:
        def need(good: bool, option: str, mend: str) -> None:
            if not good:
                raise InputError(f"option {option!r}", f"{getattr(self, option)!r} is not usable", mend)

        for name in ("steps", "batch", "patch", "features", "groups", "tail", "context", "seed"):
            need(isinstance(getattr(self, name), Integral), name, "give a whole number")
        for name in ("steps", "batch", "groups", "tail", "context"):
            need(getattr(self, name) >= 1, name, "give at least 1")
        need(self.features >= 4, "features", "give at least 4")
        for name in ("features", "tail"):
            need(getattr(self, name) % self.groups == 0, name, f"give a multiple of groups ({self.groups})")
        need(self.patch >= SMALLEST_PATCH, "patch", f"give at least {SMALLEST_PATCH} LR pixels")
        need(len(self.mtf) == 2 and 0 < self.mtf[0] <= self.mtf[1] < 1, "mtf", "give two bounds, e.g. 0.2,0.5")
        need(0 <= self.seed <= LARGEST_SEED, "seed", "give a whole number, 0 or more")
        for name, example in (("rate", "1e-3"), ("pixels", "40")):
            need(0 < getattr(self, name) < math.inf, name, f"give a number above 0, e.g. {example}")
        for name in ("noise", "shift", "consistency"):
            need(0 <= getattr(self, name) < math.inf, name, "give 0 or more")

    @property
    def restarts(self) -> list[int]:
        """Steps at which the cycles begin, and the end."""
        first = self.steps / (2**CYCLES - 1)
        return [round(first * (2**i - 1)) for i in range(CYCLES + 1)]

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0.

        ``rate · (1 + cos(π · t)) / 2``, where t runs from 0 to 1 within each cycle.

        References
        ----------
        Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017.
        """
        edges = self.restarts
        cycle = max(i for i in range(CYCLES) if edges[i] <= step)
        share = (step - edges[cycle]) / max(1, edges[cycle + 1] - edges[cycle])
        return self.rate * 0.5 * (1 + math.cos(math.pi * share))


def changed(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what an earlier training had otherwise, from the records of both: options, or else the images.

    The device does not count: elsewhere a training may go on, if not to the last bit.
    """
    other = [name for name in now if name != "device" and there.get(name) != now[name]]
    # Some options decide on the images, too.
    return [name for name in other if not name.startswith("images")] or ["images"] * bool(other)
