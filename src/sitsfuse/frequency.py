"""How much of an image's spectrum a prediction brings back: restoration, overshoot and undershoot rates.

Profiles are radial means of the amplitude spectrum in dB, relative to the lowest frequency but one. With T that of the
truth, P that of the prediction and I that of the bicubic interpolation of the LR image, all of them below 0 dB, sums
over the frequencies, and ``base = Σ min(T, I)``:

========= ===================================================================================================
FRR       100 (Σ max(min(P, T), min(I, T)) - base) / (Σ T - base): 0 for the interpolation, 100 for the truth
FRO       100 (Σ T - Σ max(P, T)) / Σ T: above 0 where there is more than in the truth, which is made up
FRU       100 Σ (I - min(P, I)) / Σ I: below 0 where there is less than in the interpolation
========= ===================================================================================================

References
----------
The rates are those of CESBIO's work on the super-resolution of Sentinel-2; the Hann window is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
FLOOR = 1e-12
"""Least amplitude, so that a spectrum without energy has a logarithm."""


@dataclass(frozen=True)
class Rates:
    """Frequency restoration, overshoot and undershoot, in percent."""

    frr: float
    fro: float
    fru: float


def radial_profile(image: FloatArray) -> npt.NDArray[np.float64]:
    """Mean amplitude per spatial frequency, in dB relative to that of frequency 1.

    Parameters
    ----------
    image
        (y, x), finite.

    Returns
    -------
    profile
        (n // 2,) for frequencies 1 to n // 2, in cycles per n pixels, n the shorter side.
    """
    rows, cols = image.shape
    n = min(rows, cols)
    window = np.hanning(rows + 2)[1:-1, None] * np.hanning(cols + 2)[1:-1]
    values = np.asarray(image, np.float64)
    # Taken off under the window, lest its transform fill the lowest frequencies.
    values = (values - np.average(values, weights=window)) * window
    amplitude = np.abs(np.fft.rfft2(values))
    radius = np.rint(np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)) * n).astype(int).ravel()
    count = np.bincount(radius, minlength=n // 2 + 1)[: n // 2 + 1]
    total = np.bincount(radius, amplitude.ravel(), minlength=n // 2 + 1)[: n // 2 + 1]
    mean = np.maximum(total / np.maximum(count, 1), FLOOR)
    return np.asarray(20 * np.log10(mean[1:] / mean[1]))


def rates(truth: FloatArray, prediction: FloatArray, interpolated: FloatArray) -> Rates:
    """Compare spectra; see the module.

    Parameters
    ----------
    truth, prediction, interpolated
        (y, x) of one band, finite: the HR image, the prediction, and the LR image interpolated to the HR grid.
    """
    t, p, i = (radial_profile(a) for a in (truth, prediction, interpolated))
    base = np.minimum(t, i).sum()
    restored = np.maximum(np.minimum(p, t), np.minimum(i, t)).sum()
    return Rates(
        float(100 * (restored - base) / (t.sum() - base)),
        float(100 * (t.sum() - np.maximum(p, t).sum()) / t.sum()),
        float(100 * (i - np.minimum(p, i)).sum() / i.sum()),
    )
