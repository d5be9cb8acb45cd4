"""How much of an image's spectrum a prediction brings back: restoration, overshoot and undershoot rates.

Amplitudes of the spectrum are averaged over blocks of :data:`SIDE` pixels (Welch's method), each less its mean and
under a Hann window, and over rings of equal frequency. Their profile in dB, relative to frequency 1 (one cycle per
block), is T for the truth, P for the prediction and I for the bicubic interpolation of the LR image. All of them lie
below 0 dB; with sums over the frequencies from 1 on, and ``base = Σ min(T, I)``:

========= ===================================================================================================
FRR       100 (Σ max(min(P, T), min(I, T)) - base) / (Σ T - base): 0 for the interpolation, 100 for the truth
FRO       100 (Σ T - Σ max(P, T)) / Σ T: above 0 where there is more than in the truth, which is made up
FRU       100 Σ (I - min(P, I)) / Σ I: below 0 where there is less than in the interpolation
========= ===================================================================================================

References
----------
The rates are those of CESBIO's work on the super-resolution of Sentinel-2; blocks and window are ours, after P. D.
Welch, The use of fast Fourier transform for the estimation of power spectra, IEEE Transactions on Audio and
Electroacoustics 15(2), 1967.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from ..core.arrays import AnyFloats, F64Array

SIDE = 128
"""Side of a block, in pixels; a smaller image is one block."""
ENOUGH = 0.75
"""Least share of a block's pixels that must be valid for it to count."""
FLOOR = 1e-12
"""Least amplitude, so that a spectrum without energy has a logarithm."""


@dataclass(frozen=True)
class Rates:
    """Frequency restoration, overshoot and undershoot, in percent; NaN of images without any energy."""

    frr: float = math.nan
    fro: float = math.nan
    fru: float = math.nan

    @classmethod
    def of(cls, truth: F64Array, prediction: F64Array, interpolated: F64Array) -> Rates:
        """Compare three profiles, in dB."""
        t, p, i = truth, prediction, interpolated
        base = np.minimum(t, i).sum()
        restored = np.maximum(np.minimum(p, t), np.minimum(i, t)).sum()
        return cls(
            _percent(restored - base, t.sum() - base),
            _percent(t.sum() - np.maximum(p, t).sum(), t.sum()),
            _percent((i - np.minimum(p, i)).sum(), i.sum()),
        )


def cuts(n: int) -> list[slice]:
    """An axis of n pixels in blocks: from its start one beside the other, the last one up to its end."""
    if n <= SIDE:
        return [slice(0, n)]
    return [slice(s, s + SIDE) for s in (*range(0, n - SIDE, SIDE), n - SIDE)]


def amplitudes(images: AnyFloats) -> F64Array:
    """Amplitude spectra under a Hann window.

    Parameters
    ----------
    images
        (..., y, x), finite.

    Returns
    -------
    amplitudes
        (..., y, x // 2 + 1), as :func:`scipy.fft.rfft2` orders them.
    """
    window = _hann(*images.shape[-2:])
    values = images.astype(np.float64)
    # Taken off under the window, lest its transform fill the lowest frequencies.
    values -= np.einsum("...yx,yx->...", values, window)[..., None, None] / window.sum()
    return np.asarray(np.abs(fft.rfft2(values * window)))


def profile(amplitude: F64Array, shape: tuple[int, int]) -> F64Array:
    """Mean amplitude per spatial frequency, in dB relative to that of frequency 1.

    Parameters
    ----------
    amplitude
        (y, x // 2 + 1) amplitudes of a block, or sums over several.
    shape
        Rows and columns of a block.

    Returns
    -------
    profile
        (n // 2,) for frequencies 1 to n // 2, in cycles per n pixels, n the shorter side; none of a block of less
        than two pixels.
    """
    n = min(shape)
    rings = n // 2 + 1
    radius = np.rint(np.hypot(fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])) * n).astype(int).ravel()
    count = np.bincount(radius, minlength=rings)[:rings]
    total = np.bincount(radius, amplitude.ravel(), minlength=rings)[:rings]
    mean = np.maximum(total / np.maximum(count, 1), FLOOR)
    return np.asarray(20 * np.log10(mean[1:] / mean[1:2]))


def rates(truth: AnyFloats, prediction: AnyFloats, interpolated: AnyFloats) -> Rates:
    """Compare the spectra of images taken whole, as one block; see the module.

    Parameters
    ----------
    truth, prediction, interpolated
        (y, x) of one band, finite: the HR image, the prediction, and the LR image interpolated to the HR grid.
    """
    t, p, i = (profile(amplitudes(a), (a.shape[0], a.shape[1])) for a in (truth, prediction, interpolated))
    return Rates.of(t, p, i)


@lru_cache(maxsize=8)
def _hann(rows: int, cols: int) -> F64Array:
    return np.asarray(np.hanning(rows + 2)[1:-1, None] * np.hanning(cols + 2)[1:-1])


def _percent(part: float, whole: float) -> float:
    return float(100 * part / whole) if whole else math.nan
