"""Error metrics of images too large for memory: arrays in, sums and numbers out.

With p the prediction, r the reference and e = p - r, over the pixels of a stratum that are valid in both:

==================== ==================================================================================================
metric               definition
==================== ==================================================================================================
rmse                 sqrt(mean e²)
mae                  mean abs(e)
bias                 mean e
ce90, ce99           90th and 99th percentile of abs(e)
psnr                 10 log10(R² / mean e²) in dB; R = 1 for reflectance, 2 for NDVI
uiqi                 mean over sliding windows of 8×8 pixels of 4 σ_pr µ_p µ_r / ((σ_p² + σ_r²) (µ_p² + µ_r²)) [1]_;
                     2 µ_p µ_r / (µ_p² + µ_r²) where both windows are constant, 1 where both are 0
structural           mean over gaussian windows of 11×11 pixels (σ = 1.5) of (σ_pr + c) / (σ_p σ_r + c) [2]_, with
                     c = (0.03 range)² / 2 and the range that from the 1st to the 99th percentile of the reference's
                     band: SSIM's own range, 1, would drown the texture of reflectances. Without c (a constant
                     reference), 1 where both windows are constant and 0 where one is
gradient_correlation Pearson's correlation of the gradient magnitudes of p and r, from central differences; NaN where
                     those of one image are all alike
sam                  mean of acos(⟨p, r⟩ / (‖p‖ ‖r‖)) over the spectra, in degrees [3]_; pixels where one of them is 0
                     have no angle and do not count, nor is there one of a single band
ergas                100 / s sqrt(mean over bands (rmse² / µ²)), s = LR over HR pixel size, µ the mean of r [4]_
coverage10, …        share of the errors with abs(e) <= z σ, where σ is the uncertainty that the prediction states and
                     z bounds the central 10 % (…) of a gaussian
sharpness            mean width of the 90 % interval, 2 · 1.645 σ
==================== ==================================================================================================

A window counts if all its pixels are valid; the four neighbours and the pixel itself are the window of a gradient. It
belongs to the stratum of its centre, which is pixel 5 of 8 and 6 of 11 along both axes. Variances are those of the
window (not of a sample from it); one below 1e-12 of the squared mean is rounding, and counts as 0. Bands are pooled by
adding up their sums: the correlation of pooled gradients is one over all bands' pixels.

References
----------
.. [1] Z. Wang and A. C. Bovik, A universal image quality index, IEEE Signal Processing Letters 9(3), 2002.
.. [2] Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, Image quality assessment: from error visibility to
   structural similarity, IEEE Transactions on Image Processing 13(4), 2004.
.. [3] F. A. Kruse et al., The spectral image processing system (SIPS), Remote Sensing of Environment 44, 1993.
.. [4] L. Wald, Data fusion: definitions and architectures, Presses de l'École des Mines, Paris, 2002.
"""

from __future__ import annotations

from ..stats.quantiles import EXACT, Quantiles
from ._kernels import BETWEEN, HIGH, LOW, NONE
from .measure import MAPPED, REACH, STRATA, Masks, cross, measure, ndvi, spectral_angles
from .sums import CALIBRATION, LEVELS, METRICS, Metric, Sums, ergas

__all__ = [
    "BETWEEN",
    "CALIBRATION",
    "EXACT",
    "HIGH",
    "LEVELS",
    "LOW",
    "MAPPED",
    "METRICS",
    "NONE",
    "REACH",
    "STRATA",
    "Masks",
    "Metric",
    "Quantiles",
    "Sums",
    "cross",
    "ergas",
    "measure",
    "ndvi",
    "spectral_angles",
]
