"""What the compiled loops share: padding, nearness, and how they are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.arrays import BoolArray, FloatArray

UNROLLED = 3
"""Offsets at a time: the sums of a pixel are then loaded and stored a third as often."""
LANES = 32
"""Elements that a compiled loop takes at a time: it is slow on what remains."""

COMPILED: dict[str, Any] = {"fastmath": True, "nogil": True, "cache": True}


def nearness(window: int) -> FloatArray:
    """(window, window + padding) weights ``1 / D``, ``D = 1 + d / (window / 2)``, of offsets at distance d.

    The columns are padded with 0 to a multiple of what the loops take at a time.
    """
    reach = window // 2
    steps = np.arange(-reach, reach + 1)
    weight = 1 / (1 + np.hypot(steps[:, None], steps) / (window / 2))
    return np.ascontiguousarray(np.pad(weight, ((0, 0), (0, -window % UNROLLED))), np.float32)


def padded(
    image: FloatArray, window: int, valid: BoolArray | bool = True, value: float = 0.0, level: FloatArray | float = 0.0
) -> FloatArray:
    """(..., y, x) with the reach of a window around, and room for the elements that loops take too many.

    There and where the image is invalid it holds ``value``, elsewhere the image less a level that broadcasts with it.
    """
    reach, (rows, cols) = window // 2, image.shape[-2:]
    room = 2 * reach + LANES
    out = np.full((*image.shape[:-2], rows + room, cols + room), value, np.float32)
    np.subtract(image, level, out=out[..., reach : reach + rows, reach : reach + cols], where=valid, dtype=np.float32)
    return out


def around(centre: BoolArray, window: int) -> tuple[slice, slice]:
    """The smallest rectangle that holds the windows of all pixels wanted."""
    spans = []
    for axis, n in enumerate(centre.shape):
        wanted = np.flatnonzero(centre.any(axis=1 - axis))
        first, last = (int(wanted[0]), int(wanted[-1]) + 1) if wanted.size else (0, 0)
        spans.append(slice(max(first - window // 2, 0), min(last + window // 2, n)))
    return spans[0], spans[1]


FAR = 1e10
"""Feature of an invalid pixel: its square is still a float32."""
