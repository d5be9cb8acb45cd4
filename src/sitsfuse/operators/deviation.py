"""How much an image varies around each pixel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..core.arrays import BoolArray, FloatArray
from .updown import fill


def local_deviation(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Standard deviation over 3×3 LR pixels, (band, y, x): what bicubic interpolation cannot know is of that size."""
    clean = fill(values, valid).astype(np.float64)
    size = (0, 3, 3)
    mean = ndimage.uniform_filter(clean, size[1:], axes=(-2, -1), mode="nearest")
    square = ndimage.uniform_filter(clean**2, size[1:], axes=(-2, -1), mode="nearest")
    return np.asarray(np.sqrt(np.clip(square - mean**2, 0, None)), np.float32)
