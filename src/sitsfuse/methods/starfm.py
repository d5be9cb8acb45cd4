"""STARFM: changes seen at LR, carried to HR by similar pixels in a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import FloatArray
from ..core.options import Natural, NotNegative, Positive, need, settle
from ..operators.residual import residual_halo
from .base import Tile
from .shared.dates import Calendar, DatedPredictor
from .shared.pairs import NONE, Pairs, doubt, odd_window
from .shared.rehearsal import Rehearsed
from .shared.samples import statistics

SURE = np.float32(1e18)
"""Weight of a pixel that is known exactly: no sum of weights comes near it."""


@dataclass(frozen=True)
class STARFM(Rehearsed):
    """Weighted mean of ``C_p + F - C`` over the pixels in a window that are spectrally like the centre.

    Per band and pair (F, C): candidates are the pixels with ``|F - F_c| < 2 σ_F / classes`` that are no worse than the
    centre in ``S = |F - C|`` and ``T = |C - C_p|``, each up to an uncertainty. They weigh
    ``1 / ((S + ε) (T + ε) D)``, ``D = 1 + d / (window / 2)``, or, logarithmic, ``1 / (ln(2 + S/ε) ln(2 + T/ε) D)``.
    Two pairs pool their candidates. Where the LR image did not change (T = 0) the guide is kept, where the guide says
    no more than it (S = 0) the target is; without candidates the centre stands alone.

    Per pixel, the pairs are those of the nearest clear guides before and after the date. C is the LR image observed
    within a day of the guide, else the degraded guide, both interpolated to HR.

    References
    ----------
    Gao, Masek, Schwaller, Hall, On the blending of the Landsat and MODIS surface reflectance: predicting daily Landsat
    surface reflectance, IEEE TGRS 44(8), 2006. σ_F is here that of the whole guide. The choice of pairs per pixel, ε
    and the uncertainty are ours.
    """

    name: ClassVar[str] = "starfm"
    paper: ClassVar[str] = "Gao et al. 2006"
    min_guides: ClassVar[int] = 1

    pairs: int = 2
    """Pairs per pixel, 1 or 2: the nearest clear guide, or the nearest ones before and after."""
    window: Natural = 0
    """Side of the window, in HR pixels; 0: ten LR pixels, from a ratio of 5 on 51."""
    classes: Positive = 16.0
    """Number of classes in the scene: the larger, the more alike candidates must be; the paper's is 4."""
    fine_uncertainty: NotNegative = 0.005
    """How much worse than the centre's a candidate's S may be, in reflectance."""
    change_uncertainty: NotNegative = 0.005
    """How much worse than the centre's a candidate's T may be, in reflectance."""
    epsilon: Positive = 0.01
    """Difference in reflectance below which S and T no longer count."""
    logarithmic: bool = False
    """Whether weights fall with the logarithm of S and T."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.pairs in (1, 2), self, "pairs", "give 1 or 2")

    def halo(self, ratio: float) -> int:
        """Half a window, and the reach of ↓ and ↑."""
        return odd_window(self.window, 10, ratio) // 2 + residual_halo(ratio)

    def describe(self, guide: xr.Dataset) -> Sequence[FloatArray]:
        """(band,) scatter of each guide."""
        return list(statistics(guide)[1])

    def examine(self, site: xr.DataTree, found: Sequence[FloatArray]) -> STARFMPlain:
        """Nothing is global but the scatter of the guides."""
        return STARFMPlain(Calendar.of(site), np.array(found), self)


@dataclass(frozen=True)
class STARFMPlain:
    """Predicts any date alike."""

    calendar: Calendar
    sigma: FloatArray
    """(time, band) scatter of the guides, in reflectance."""
    method: STARFM

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> STARFMPredictor:
        """Nothing to learn."""
        return STARFMPredictor(self.calendar.on(date), self.sigma, self.method)


@dataclass(frozen=True)
class STARFMPredictor(DatedPredictor):
    """Predicts tiles from the pairs of each pixel."""

    sigma: FloatArray
    method: STARFM

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        pairs = Pairs.of(tile, self.dates, self.method.pairs)
        image, unsure = (np.zeros(pairs.target.shape, np.float32) for _ in range(2))
        for b in range(len(image)):
            image[b], unsure[b] = self._band(pairs, b)
        return pairs.result(image, unsure)

    def _band(self, pairs: Pairs, b: int) -> tuple[FloatArray, FloatArray]:
        """Prediction of a band from all pairs of each pixel, and its uncertainty, (y, x)."""
        means, weights, changes = (np.zeros(pairs.index.shape, np.float32) for _ in range(3))
        for k in pairs.used():
            found = self._one(pairs, k, b)
            for rank, index in enumerate(pairs.index):
                here = index == k
                for out, part in zip((means, weights, changes), found, strict=True):
                    out[rank][here] = part[here]
        total = np.where(pairs.index[0] != NONE, weights.sum(axis=0), np.float32(1))
        shares = np.asarray(weights / total, np.float32)
        return (shares * means).sum(axis=0), doubt(means, shares, changes)

    def _one(self, pairs: Pairs, k: int, b: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean of the candidates of one pair, the sum of their weights, and T, (y, x) each."""
        from .kernels import starfm as kernel  # numba is slow to import

        method, target = self.method, pairs.target[b]
        window = odd_window(method.window, 10, pairs.tile.grids.ratio)
        fine, coarse = pairs.fine(k, slice(b, b + 1))[0], pairs.coarse(k, slice(b, b + 1))[0]
        spectral, temporal = np.abs(fine - coarse), np.abs(coarse - target)
        value, own = target + fine - coarse, self._weight(spectral, temporal)
        total, weights = kernel.starfm(
            fine,
            spectral,
            temporal,
            np.where(pairs.valid[k], own, np.float32(0)),
            value,
            (pairs.index == k).any(axis=0),
            window,
            2 * float(self.sigma[k, b]) / method.classes,
            (method.fine_uncertainty, method.change_uncertainty),
        )
        sure = (spectral == 0) | (temporal == 0)
        alone = sure | (weights == 0)
        mean = np.where(alone, value, total / np.where(alone, np.float32(1), weights))
        return mean, np.where(sure, SURE, np.where(alone, own, weights)), temporal

    def _weight(self, spectral: FloatArray, temporal: FloatArray) -> FloatArray:
        """Weight at distance 0, in units that keep a sum of many within float32."""
        eps = np.float32(self.method.epsilon)
        s, t = spectral / eps, temporal / eps
        product = np.log(s + 2) * np.log(t + 2) if self.method.logarithmic else (s + 1) * (t + 1)
        return np.asarray(1 / product, np.float32)
