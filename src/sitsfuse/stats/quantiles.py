"""Quantiles of more numbers than fit in memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..core.arrays import AnyFloats
from .histogram import BINS, FINENESS, LOWEST, tally

EXACT = 1 << 20
"""Up to this many numbers are kept as they are; beyond it, quantiles come from a histogram."""


class Quantiles:
    """Numbers of either sign that come in pieces, in any order and from any thread, for their quantiles.

    Memory stays bounded: up to :data:`EXACT` numbers are kept as they are, then all are counted in a histogram with
    ``2 ** FINENESS`` bins per octave and sign.
    """

    def __init__(self) -> None:
        self.n = 0
        self._samples: list[npt.NDArray[np.float64]] = []
        self._counts: npt.NDArray[np.int64] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Quantiles(n={self.n}, exact={self.exact})"

    @property
    def exact(self) -> bool:
        """Whether the numbers themselves are still there."""
        return self._counts is None

    def add(self, values: AnyFloats) -> None:
        """Add numbers of any shape, all of them finite.

        Raises
        ------
        ValueError
            If one is NaN or infinite: an invalid pixel has got in.
        """
        v = np.array(values, np.float64).ravel()
        if not np.isfinite(v).all():
            raise ValueError("values must be finite: leave invalid pixels out")
        with self._lock:
            self.n += v.size
            if self._counts is None:
                self._samples.append(v)
                if self.n > EXACT:
                    self._counts, self._samples = _histogram(self._samples), []
            else:
                tally(v, self._counts)

    @classmethod
    def merged(cls, parts: Iterable[Quantiles]) -> Quantiles:
        """The quantiles of all numbers of several, which stay as they are."""
        parts = list(parts)
        out = cls()
        out.n = sum(p.n for p in parts)
        samples = [s for p in parts for s in p._samples]
        if out.n <= EXACT:
            out._samples = samples
        else:
            out._counts = _histogram(samples)
            for p in parts:
                if p._counts is not None:
                    out._counts += p._counts
        return out

    def at(self, shares: Sequence[float]) -> list[float]:
        """The quantiles at some shares in [0, 1], linear between neighbouring values as :func:`numpy.quantile` does.

        Exact for up to :data:`EXACT` numbers. Beyond, each is rounded to the middle of its bin: the relative error is
        at most 2⁻¹³ (0.012 %) for quantiles of a size between 6e-8 and 65536, the absolute one 6e-8 below. NaN of no
        number.
        """
        if not self.n:
            return [math.nan] * len(shares)
        if self._counts is None:
            return [float(q) for q in np.quantile(np.concatenate(self._samples), list(shares))]
        cumulative = np.cumsum(self._counts)
        found = []
        for share in shares:
            position = share * (self.n - 1)
            below = math.floor(position)
            rank = np.array([below, min(below + 1, self.n - 1)])
            low, high = _middle(np.searchsorted(cumulative, rank, side="right"))
            found.append(float(low + (position - below) * (high - low)))
        return found


def _histogram(samples: Iterable[npt.NDArray[np.float64]]) -> npt.NDArray[np.int64]:
    counts = np.zeros(2 * BINS, np.int64)
    for s in samples:
        tally(s, counts)
    return counts


def _middle(index: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Middle of each bin; 0 of the two around 0, which hold what is too small to be told apart."""
    negative = index < BINS
    size = np.where(negative, BINS - 1 - index, index - BINS)
    octave, step = np.divmod(size, 1 << FINENESS)
    middle = np.ldexp(1 + (step + 0.5) / (1 << FINENESS), octave + LOWEST)
    return np.where(size == 0, 0.0, np.where(negative, -middle, middle))
