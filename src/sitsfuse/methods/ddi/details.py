"""Details: what an image shows within 2×2 LR pixels, beyond their mean.

A residual correction will bring the mean over an LR pixel, and the details below it must be right. One scale up that
is the deviation of LR pixels from the mean of the windows of 2×2 of them; all windows count, so that each pixel lies in
four. Images here are (..., y, x); a pixel that is not chosen takes no part.
"""

from __future__ import annotations

import numpy as np

from ...core.arrays import AnyFloats, BoolArray, FloatArray

TINY = 1e-9
"""What residuals are divided by at least, in standard deviations."""
TYPICAL = 2.0
"""Residual, in medians, beyond which a window or a pixel loses weight."""


def over_windows(images: AnyFloats) -> AnyFloats:
    """Sum over all windows of 2×2 pixels, those at the edge too: (..., y, x) → (..., y + 1, x + 1)."""
    p = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)])
    rows = p[..., :-1, :] + p[..., 1:, :]
    return np.asarray(rows[..., :-1] + rows[..., 1:])


def over_pixels(windows: AnyFloats) -> AnyFloats:
    """Sum over the four windows of each pixel: (..., y + 1, x + 1) → (..., y, x)."""
    rows = windows[..., :-1, :] + windows[..., 1:, :]
    return np.asarray(rows[..., :-1] + rows[..., 1:])


def whole_windows(chosen: BoolArray) -> FloatArray:
    """(..., y + 1, x + 1) 1 for windows that hold two chosen pixels or more: fewer have no details; else 0."""
    return (over_windows(chosen.astype(np.float32)) > 1).astype(np.float32)


def weighted_details(images: FloatArray, chosen: BoolArray, weights: FloatArray) -> FloatArray:
    """``L a``, so that ``b · L a`` is the sum over windows of ``weight · (b - mean b) (a - mean a)``.

    Parameters
    ----------
    images
        (M, ..., y, x), 0 where not chosen.
    chosen
        (..., y, x).
    weights
        (..., y + 1, x + 1) of the windows.

    Returns
    -------
    FloatArray
        (M, ..., y, x), 0 where not chosen.
    """
    share = weights / np.maximum(over_windows(chosen.astype(np.float32)), 1)
    out = images * over_pixels(weights)
    for plane, image in zip(out, images, strict=True):
        plane -= over_pixels(share * over_windows(image))
    return np.asarray(out * chosen, np.float32)


def trust(residual: FloatArray, chosen: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Weights of windows and of pixels: 1, and less where the residual is more than twice its median.

    Clouds that masks miss and harvests then weigh about as their neighbours do.

    Parameters
    ----------
    residual
        (B, ..., y, x) in standard deviations, 0 where not chosen.
    chosen
        (..., y, x).

    Returns
    -------
    windows, pixels
        (..., y + 1, x + 1) and (..., y, x), in [0, 1]; 0 where there is nothing.
    """
    some = whole_windows(chosen) > 0
    count = np.maximum(over_windows(chosen.astype(np.float32)), 1)
    within = sum(over_windows(r**2) - over_windows(r) ** 2 / count for r in residual)
    return _weight(np.sqrt(np.maximum(within, 0)), some), _weight(np.sqrt((residual**2).sum(axis=0)), chosen)


def _weight(size: AnyFloats, some: BoolArray) -> FloatArray:
    if not some.any():
        return np.zeros(size.shape, np.float32)
    typical = max(float(np.median(size[some])), TINY)
    return np.where(some, np.minimum(1, TYPICAL * typical / np.maximum(size, TINY)), 0).astype(np.float32)
