"""Error metrics of images too large for memory: arrays in, numbers out.

An :class:`Errors` sums up the errors of one block of pixels; blocks add up to a scene, in any order.

========== ==========================================================
metric     definition, with e = prediction - reference
========== ==========================================================
rmse       sqrt(mean e²)
mae        mean abs(e)
bias       mean e
ce90, ce99 90th and 99th percentile of abs(e)
psnr       10 log10(R² / mean e²) in dB; R = 1 for reflectance, 2 for NDVI
========== ==========================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

EXACT = 1 << 20
"""Up to this many errors are kept as they are; beyond it, quantiles come from a histogram."""
FINENESS = 12
"""Bins per octave of that histogram, as a power of 2."""
_LOWEST, _HIGHEST = -24, 16  # octaves of abs(e) that the histogram tells apart
_BINS = (_HIGHEST - _LOWEST) << FINENESS


@dataclass(frozen=True)
class Errors:
    """Sums over the errors of some pixels, in float64.

    Add two of them (``a + b``) for the errors of both sets of pixels. Memory stays bounded: the absolute errors
    themselves are kept up to :data:`EXACT` of them, then counted in a logarithmic histogram.
    """

    n: int = 0
    """Number of errors."""
    total: float = 0.0
    """Sum of e."""
    absolute: float = 0.0
    """Sum of abs(e)."""
    squared: float = 0.0
    """Sum of e²."""
    samples: tuple[npt.NDArray[np.float64], ...] = ()
    """The absolute errors, in pieces, as long as they are few."""
    counts: npt.NDArray[np.int64] | None = None
    """The histogram, once they are many."""

    @classmethod
    def of(cls, error: npt.ArrayLike) -> Errors:
        """Sum up an array of errors of any shape, all of them finite.

        Raises
        ------
        ValueError
            If an error is NaN or infinite: an invalid pixel has got in.
        """
        e = np.asarray(error, np.float64).ravel()
        if not np.isfinite(e).all():
            raise ValueError("errors must be finite: leave invalid pixels out")
        size = np.abs(e)
        few = e.size <= EXACT
        return cls(
            e.size,
            float(e.sum()),
            float(size.sum()),
            float(np.square(e).sum()),
            (size,) if few and e.size else (),
            None if few else _count(size),
        )

    def __add__(self, other: Errors) -> Errors:
        n = self.n + other.n
        few = n <= EXACT
        return Errors(
            n,
            self.total + other.total,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.samples + other.samples if few else (),
            None if few else self._histogram() + other._histogram(),
        )

    @property
    def mse(self) -> float:
        """Mean of e²; NaN of no pixel."""
        return self.squared / self.n if self.n else math.nan

    @property
    def rmse(self) -> float:
        """Square root of the mean of e²."""
        return math.sqrt(self.mse)

    @property
    def mae(self) -> float:
        """Mean of abs(e)."""
        return self.absolute / self.n if self.n else math.nan

    @property
    def bias(self) -> float:
        """Mean of e."""
        return self.total / self.n if self.n else math.nan

    def psnr(self, value_range: float = 1.0) -> float:
        """Peak signal-to-noise ratio in dB for values that span ``value_range``; infinite without error."""
        if self.squared == 0:
            return math.inf if self.n else math.nan
        return 10 * math.log10(value_range**2 / self.mse)

    def ce(self, quantile: float) -> float:
        """Quantile of abs(e), linear between neighbouring values as :func:`numpy.quantile` does.

        Exact for up to :data:`EXACT` errors. Beyond, every value is rounded to the middle of its bin: the relative
        error is at most 2⁻¹³ (0.012 %) for quantiles between 6e-8 and 65536, the absolute one 6e-8 below.
        """
        if not self.n:
            return math.nan
        if self.counts is None:
            return float(np.quantile(np.concatenate(self.samples), quantile))
        position = quantile * (self.n - 1)
        below = math.floor(position)
        rank = np.array([below, min(below + 1, self.n - 1)])
        low, high = _middle(np.searchsorted(np.cumsum(self.counts), rank, side="right"))
        return float(low + (position - below) * (high - low))

    def _histogram(self) -> npt.NDArray[np.int64]:
        if self.counts is not None:
            return self.counts
        return sum((_count(s) for s in self.samples), np.zeros(_BINS, np.int64))


METRICS: Mapping[str, Callable[[Errors, float], float]] = {
    "rmse": lambda errors, _: errors.rmse,
    "mae": lambda errors, _: errors.mae,
    "bias": lambda errors, _: errors.bias,
    "ce90": lambda errors, _: errors.ce(0.90),
    "ce99": lambda errors, _: errors.ce(0.99),
    "psnr": lambda errors, value_range: errors.psnr(value_range),
}
"""What is told of errors on values that span a range, by name."""


def ndvi(red: FloatArray, nir: FloatArray) -> npt.NDArray[np.float64]:
    """Normalised difference vegetation index, (nir - red) / (nir + red).

    Parameters
    ----------
    red, nir
        Reflectances of one shape.

    Returns
    -------
    ndvi
        float64, held within [-1, 1] where a reflectance is negative; NaN where nir + red is not positive.
    """
    r, n = np.asarray(red, np.float64), np.asarray(nir, np.float64)
    total = n + r
    ratio = np.divide(n - r, total, out=np.full_like(total, np.nan), where=total > 0)
    return np.clip(ratio, -1, 1)


def _count(size: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Histogram of positive numbers, (_BINS,).

    The exponent and the first bits of the mantissa of a float64, read as an integer, grow with the number: bins of
    equal width within an octave, without a logarithm.
    """
    key = (size.view(np.int64) >> (52 - FINENESS)) - ((1023 + _LOWEST) << FINENESS)
    return np.bincount(np.clip(key, 0, _BINS - 1), minlength=_BINS).astype(np.int64, copy=False)


def _middle(index: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Middle of each bin; 0 of the lowest one, which holds what is too small to be told apart."""
    octave, step = np.divmod(index, 1 << FINENESS)
    middle = np.ldexp(1 + (step + 0.5) / (1 << FINENESS), octave + _LOWEST)
    return np.where(index == 0, 0.0, middle)
