"""How DDI's networks are trained; known without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """Hyperparameters."""

    hidden: tuple[int, ...]
    """Units per hidden layer."""
    steps: int
    rate: float
    """Largest learning rate of the one-cycle schedule."""
    decay: float
    """Weight decay."""
    seed: int
    device: str
