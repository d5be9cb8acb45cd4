"""Correct a super-resolved image by its LR image."""

from __future__ import annotations

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import GridPair
from ..operators.matrices import FILL_RADIUS
from ..operators.residual import correct
from .card import Card
from .model import Model

ITERATIONS = 2
"""Corrections, one after the other, unless another number is asked for."""


def corrected(
    model: Model,
    values: FloatArray,
    valid: BoolArray,
    grids: GridPair,
    order: tuple[int, ...],
    mtfs: tuple[float, ...],
    iterations: int,
) -> tuple[FloatArray, BoolArray]:
    """The model's HR image of an LR one, with residual corrections.

    Parameters
    ----------
    model
        The model.
    values, valid
        (B, y, x) and (y, x) of the LR image.
    grids
        The two grids.
    order
        Position of each of the network's bands in the image.
    mtfs
        MTF of the LR sensor per band.
    iterations
        Residual corrections.

    Returns
    -------
    image, valid
        (B, y, x) float32, 0 where invalid, and (y, x).
    """
    image, ok = model.predict(values, valid, grids, order)
    return correct(image, ok, values, valid, grids, mtfs, (1.0,) * len(values), iterations)[0], ok


def lr_reach(card: Card) -> int:
    """LR pixels on each side that a model's image and its uncertainty depend on."""
    # Network, filling of invalid pixels before it, and the way from its grid to the HR grid.
    image = card.halo + FILL_RADIUS + 1
    # ↑, filling of invalid pixels, the local deviation and what fills them for it: see `local_deviation`.
    uncertainty = 2 + FILL_RADIUS + 1 + FILL_RADIUS
    return max(image, uncertainty)
