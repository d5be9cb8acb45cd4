"""The options of a training, and their checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ...core.options import MTF, Count, NotNegative, Positive, Seed, need, settle

SMALLEST_PATCH = 8
"""Least side of a patch, in LR pixels."""
CYCLES = 3
"""Cosine cycles, each twice as long as the one before; the learning rate starts anew with each."""


@dataclass(frozen=True)
class TrainingConfig:
    """Options of a training.

    Raises
    ------
    InputError
        Naming the first option that makes no sense.
    """

    steps: Count = 3000
    """Mini-batches in all; training ends earlier where a whole cycle brings nothing."""
    batch: Count = 16
    """Patches in a mini-batch."""
    patch: Annotated[int, Field(ge=SMALLEST_PATCH)] = 24
    """Side of a patch, in LR pixels; smaller where the images are."""
    rate: Positive = 1e-3
    """Largest learning rate; it falls to 0 along a cosine, three times over."""
    features: Annotated[int, Field(ge=4)] = 64
    """Channels of the network."""
    groups: Count = 4
    """Groups of its convolutions."""
    tail: Count = 16
    """Its channels at HR."""
    context: Count = 4
    """LR pixels on each side whose mean is taken off what the network sees."""
    mtf: tuple[MTF, MTF] = (0.2, 0.5)
    """Bounds of the MTF at Nyquist with which HR images are degraded, drawn anew for each patch."""
    noise: NotNegative = 0.02
    """Largest noise of the degraded images, in standard deviations of the band."""
    shift: NotNegative = 0.05
    """Standard deviation of the degraded images' displacement, in LR pixels."""
    consistency: NotNegative = 0.0
    """Weight of a second term in the loss: the prediction, degraded, should be the LR image."""
    pixels: Positive = 40.0
    """Most HR pixels to keep in memory, in millions; of larger images windows are drawn."""
    seed: Seed = 0
    """Seed of weights and patches."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if torch sees one."""

    def __post_init__(self) -> None:
        settle(self)
        for name in ("features", "tail"):
            need(getattr(self, name) % self.groups == 0, self, name, f"give a multiple of groups ({self.groups})")
        need(self.mtf[0] <= self.mtf[1], self, "mtf", "give the lower bound first, e.g. 0.2,0.5")

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
