"""Correct an HR image by what the LR image shows: degrade, compare, spread the difference."""

from __future__ import annotations

import numpy as np

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import Axis, GridPair
from .matrices import FILL_RADIUS, down_halo, separable, up_halo, up_matrix
from .updown import down, fill

FADE = 0.05
"""Weight of 0 when a residual is carried under clouds (see `degrade.fill`)."""


def residual_halo(ratio: float) -> int:
    """HR pixels that a residual correction reaches: ↓, filling under clouds and ↑."""
    return down_halo(ratio) + up_halo(ratio)


def residual(
    image: FloatArray,
    valid: BoolArray,
    target: FloatArray,
    clear: BoolArray,
    grids: GridPair,
    mtfs: tuple[float, ...],
) -> tuple[FloatArray, BoolArray]:
    """``C_p - P↓`` on the LR pixels where both are valid (0 elsewhere), and where that is."""
    degraded, ok = down(image, valid, grids, mtfs)
    known = ok & clear
    return np.where(known, target - degraded, np.float32(0)), known


def correct(
    image: FloatArray,
    valid: BoolArray,
    target: FloatArray,
    clear: BoolArray,
    grids: GridPair,
    mtfs: tuple[float, ...],
    strength: tuple[float, ...],
    iterations: int,
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Add the residual ``r = C_p - P↓``, several times: ``P + r↑`` does not quite degrade to ``C_p``.

    Parameters
    ----------
    image, valid
        (B, y, x) and (y, x), what to correct on the HR grid.
    target, clear
        (B, y, x) and (y, x), the LR image.
    grids, mtfs
        The grids, and the LR sensor's MTF per band.
    strength
        Share of the residual to add, per band.
    iterations
        How often.

    Returns
    -------
    image, misfit, known
        (B, y, x) the corrected image; (B, y, x) the residual before, and (y, x) where it is known, at LR.
    """
    share = np.array(strength, np.float32)[:, None, None]
    misfit, known = residual(image, valid, target, clear, grids, mtfs)
    left = share * misfit
    for i in range(iterations):
        added = spread_residual(left, known, grids)
        image = image + added
        if i + 1 < iterations:
            # What of the correction is lost when it is seen at LR again.
            left = left - np.where(known, down(added, valid, grids, mtfs)[0], np.float32(0))
    return image, misfit, known


def spread_residual(misfit: FloatArray, known: BoolArray, grids: GridPair) -> FloatArray:
    """``r↑``: bicubic; under clouds and outside the LR image carried in from around, fading to 0."""
    filled = fill(misfit, known, FADE)
    spread = separable(filled, up_matrix(grids.y), up_matrix(grids.x))
    return np.asarray(spread * _reach(grids.y)[:, None] * _reach(grids.x), dtype=np.float32)


def _reach(axis: Axis) -> FloatArray:
    """(n_hr,) 1 in the LR image and half a pixel around it, 0 from `FILL_RADIUS` LR pixels outside on.

    ↑ repeats the edge of the LR image for ever: what is known there says nothing of what lies far away.
    """
    position = (np.arange(axis.n_hr) + 0.5 - axis.offset) / axis.ratio
    outside = np.maximum(-position, position - axis.n_lr)
    return np.asarray(np.clip((FILL_RADIUS - outside) / (FILL_RADIUS - 0.5), 0, 1), np.float32)
