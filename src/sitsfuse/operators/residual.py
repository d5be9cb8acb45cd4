"""Correct an HR image by what the LR image shows: degrade, compare, spread the difference."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import Axis, GridPair
from .matrices import FILL_RADIUS, down_halo, separable, up_halo, up_matrix
from .updown import down, fill

FADE = 0.05
"""Weight of 0 when a residual is carried under clouds (see `degrade.fill`)."""


SMOOTHINGS = 3
"""Times that squares are smoothed by 1 2 1 to tell the local power of a residual."""
SPLIT = (0.1406, 0.6406)
"""Shares of a white noise's power that fall to the smooth part of an image and to its details."""


def residual_halo(ratio: float) -> int:
    """HR pixels that a residual correction reaches: ↓, filling under clouds and ↑."""
    return down_halo(ratio) + up_halo(ratio)


def scene_halo(ratio: float) -> int:
    """HR pixels that :func:`scene_part` reaches beyond."""
    return math.ceil((1 + SMOOTHINGS) * ratio)


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
    noise: FloatArray | None = None,
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
    noise
        (2, B) what of the residual's power, in its smooth part and in its details, is not scene (:func:`scene_part`);
        None: nothing.

    Returns
    -------
    image, misfit, known
        (B, y, x) the corrected image; (B, y, x) the residual before, and (y, x) where it is known, at LR.
    """
    share = np.array(strength, np.float32)[:, None, None]
    misfit, known = residual(image, valid, target, clear, grids, mtfs)
    left = share * (misfit if noise is None else scene_part(misfit, known, noise))
    for i in range(iterations):
        added = spread_residual(left, known, grids)
        image = image + added
        if i + 1 < iterations:
            # What of the correction is lost when it is seen at LR again.
            left = left - np.where(known, down(added, valid, grids, mtfs)[0], np.float32(0))
    return image, misfit, known


def scene_part(misfit: FloatArray, known: BoolArray, noise: FloatArray) -> FloatArray:
    """What of a residual is scene: far above the noise all of it, of the noise's size nothing.

    The smooth part and the details of the residual are each multiplied by the gain of a Wiener filter,
    ``max(0, 1 - noise / power)``, with the power of that part around the pixel.

    Parameters
    ----------
    misfit, known
        (B, y, x) the residual, and (y, x) where it is known.
    noise
        (2, B) power of what is not scene, in reflectance²: in the smooth part and in the details.

    Returns
    -------
    numpy.ndarray
        (B, y, x) float32, 0 where the residual is not known.

    References
    ----------
    J. S. Lee, Digital image enhancement and noise filtering by use of local statistics, IEEE Transactions on Pattern
    Analysis and Machine Intelligence 2, 1980: the local gain. That it is one per scale is ours.
    """
    if not noise.any():
        return misfit
    parts = split(misfit, known)
    out = np.zeros_like(misfit)
    weight = known.astype(np.float32)
    for _ in range(SMOOTHINGS):
        weight = _smoothed(weight)
    for part, level in zip(parts, noise, strict=True):
        power = part**2
        for _ in range(SMOOTHINGS):
            power = _smoothed(power)
        power /= np.maximum(weight, np.float32(1e-6))
        out += part * np.maximum(1 - level[:, None, None] / np.maximum(power, np.float32(1e-20)), 0).astype(np.float32)
    return out


def split(image: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray]:
    """The smooth part of an LR image (mean over 3×3 pixels with weights 1 2 1, of the known ones) and its details.

    Parameters
    ----------
    image, known
        (B, ..., y, x), read only where known, and (..., y, x).

    Returns
    -------
    smooth, detail
        Like ``image``; they sum to it, and are 0 where it is not known.
    """
    clean = np.where(known, image, np.float32(0))
    mean = _smoothed(clean) / np.maximum(_smoothed(known.astype(np.float32)), np.float32(1e-6))
    smooth = np.where(known, mean, np.float32(0)).astype(np.float32)
    return smooth, clean - smooth


def _smoothed(image: FloatArray) -> FloatArray:
    for axis in (-2, -1):
        image = ndimage.convolve1d(image, np.array([0.25, 0.5, 0.25], np.float32), axis=axis, mode="constant")
    return image


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
