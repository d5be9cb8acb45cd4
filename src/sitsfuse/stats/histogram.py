"""Counts on a scale fine enough for quantiles, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.compiled import njit

FINENESS = 12
"""Bins per octave of histograms, as a power of 2."""
LOWEST, HIGHEST = -24, 16
"""Octaves that histograms tell apart."""
BINS = (HIGHEST - LOWEST) << FINENESS
"""Bins of a histogram for each sign."""

STRICT: dict[str, Any] = {"nogil": True, "cache": True}


@njit("void(f8[::1], i8[::1])", **STRICT)
def tally(values, counts):  # type: ignore[no-untyped-def]
    """Count numbers in a histogram of 2 · BINS bins, those below 0 in the first half, from -∞ upwards.

    The exponent and the first bits of the mantissa of a float64, read as an integer, grow with the number's size:
    bins of equal width within an octave, without a logarithm.
    """
    bits = values.view(np.int64)
    base = (1023 + LOWEST) << FINENESS
    for i in range(bits.size):
        size = ((bits[i] & 0x7FFFFFFFFFFFFFFF) >> (52 - FINENESS)) - base
        size = min(max(size, 0), BINS - 1)
        counts[BINS - 1 - size if bits[i] < 0 else BINS + size] += 1
