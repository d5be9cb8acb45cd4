"""Types of arrays, by the kind of their numbers. Shapes stand in the docstrings that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""Images: reflectance and what is computed from it."""
F64Array = npt.NDArray[np.float64]
"""Statistics and positions."""
AnyFloats = npt.NDArray[np.floating[Any]]
"""Where single and double precision both serve."""
BoolArray = npt.NDArray[np.bool_]
"""Masks: true where valid."""
ByteArray = npt.NDArray[np.uint8]
"""Codes and pixels of pictures."""
IntArray = npt.NDArray[np.intp]
"""Indices."""
Times = npt.NDArray[np.datetime64]
"""Dates."""
LARGEST = 1e18
"""Magnitude from which on a number is none: its square does not fit in float32, and no quantity is as large."""
