"""ESTARFM: changes since two guides, carried to HR by the pixels that are alike in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import special

from ..core.arrays import BoolArray, FloatArray
from ..core.options import Natural, NotNegative, Positive, settle
from ..operators.residual import residual_halo
from .base import Tile
from .shared.dates import Calendar, DatedPredictor
from .shared.pairs import NONE, Pairs, doubt, odd_window, window_sum
from .shared.rehearsal import Rehearsed
from .shared.samples import statistics

SIGNIFICANCE = 0.05
"""Probability of a slope as steep as the one found where fine and coarse images have nothing to do with each other."""
FEWEST = 5
"""Up to so many similar pixels, the centre stands alone."""


@dataclass(frozen=True)
class ESTARFM(Rehearsed):
    """``F_k + V sum w (C_p - C_k) / sum w`` from two guides, weighted by how little the LR image changed since each.

    Similar pixels are those in the window with ``|F - F_c| < 2 σ_F / classes`` in all bands of both guides. They weigh
    ``w = 1 / ((1 - r) D + 1e-7)``, r the correlation of a pixel's fine and coarse spectra over bands and dates,
    ``D = 1 + d / (window / 2)``. V is the slope of the regression of F on C over the similar pixels of both dates; 1
    where the LR images differ by less than `least_change` on average, the slope is not significant (F-test,
    p > 0.05) or not in (0, 5]. With 5 similar pixels or fewer the centre stands alone, with V = 1. The predictions
    from the two guides weigh ``1 / |sum over the window of (C_k - C_p)|``.

    Per pixel, the guides are the nearest clear ones before and after the date. C is the LR image observed within a day
    of the guide, else the degraded guide, both interpolated to HR.

    References
    ----------
    Zhu, Chen, Gao, Chen, Masek, An enhanced spatial and temporal adaptive reflectance fusion model for complex
    heterogeneous regions, Remote Sensing of Environment 114(11), 2010. σ_F is here that of the whole guide. The choice
    of pairs per pixel and the uncertainty are ours; so is using one guide twice where no other is clear.
    """

    name: ClassVar[str] = "estarfm"
    paper: ClassVar[str] = "Zhu et al. 2010"
    min_guides: ClassVar[int] = 1

    window: Natural = 0
    """Side of the window, in HR pixels; 0: ten LR pixels, from a ratio of 5 on 51."""
    classes: Positive = 4.0
    """Number of classes in the scene: the larger, the more alike similar pixels must be."""
    least_change: NotNegative = 0.05
    """Mean change of the LR image between the two guides below which V is 1, in reflectance."""

    def __post_init__(self) -> None:
        settle(self)

    def halo(self, ratio: float) -> int:
        """Half a window, and the reach of ↓ and ↑."""
        return odd_window(self.window, 10, ratio) // 2 + residual_halo(ratio)

    def describe(self, guide: xr.Dataset) -> Sequence[tuple[FloatArray, FloatArray]]:
        """(band,) level and (band,) scatter of each guide."""
        return list(zip(*statistics(guide), strict=True))

    def examine(self, site: xr.DataTree, found: Sequence[tuple[FloatArray, FloatArray]]) -> ESTARFMPlain:
        """Nothing is global but level and scatter of the guides."""
        return ESTARFMPlain(Calendar.of(site), np.array([m for m, _ in found]), np.array([s for _, s in found]), self)


@dataclass(frozen=True)
class ESTARFMPlain:
    """Predicts any date alike."""

    calendar: Calendar
    mean: FloatArray
    sigma: FloatArray
    """(time, band) each, level and scatter of the guides, in reflectance."""
    method: ESTARFM

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> ESTARFMPredictor:
        """Nothing to learn."""
        return ESTARFMPredictor(self.calendar.on(date), self.mean, self.sigma, self.method)


@dataclass(frozen=True)
class ESTARFMPredictor(DatedPredictor):
    """Predicts tiles from the two pairs of each pixel."""

    mean: FloatArray
    sigma: FloatArray
    method: ESTARFM

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        pairs = Pairs.of(tile, self.dates, 2)
        first, second = pairs.index
        second = np.where(second == NONE, first, second)
        image, unsure = (np.zeros(pairs.target.shape, np.float32) for _ in range(2))
        count = len(self.guides)
        codes = first.astype(int) * count + second
        for code in np.unique(codes[first != NONE]).tolist():
            a, b = divmod(code, count)
            here = (first == a) & (second == b)
            one, other = self._predict(pairs, (a, b), here)
            image[:, here], unsure[:, here] = one[:, here], other[:, here]
        return pairs.result(image, unsure)

    def _predict(self, pairs: Pairs, both: tuple[int, int], centre: BoolArray) -> tuple[FloatArray, FloatArray]:
        """The prediction from two guides and its uncertainty, (band, y, x) each, where wanted."""
        from .kernels import estarfm as kernel  # numba is slow to import

        method = self.method
        window = odd_window(method.window, 10, pairs.tile.grids.ratio)
        valid = pairs.valid[both[0]] & pairs.valid[both[1]]
        fine, coarse = (np.stack([image(k) for k in both]) for image in (pairs.fine, pairs.coarse))
        change = kernel.estarfm(
            fine,
            coarse,
            pairs.target,
            self.mean[list(both)].mean(axis=0),
            decorrelation(fine, coarse),
            valid,
            centre,
            window,
            2 * self.sigma[list(both)] / np.float32(method.classes),
            method.least_change,
            critical_r2(2 * window**2),
            FEWEST,
        )
        image, unsure = np.empty_like(pairs.target), np.empty_like(pairs.target)
        for b in range(len(image)):  # band by band: the temporary arrays are then small
            since = np.where(valid, pairs.target[b] - coarse[:, b], np.float32(0))
            total = np.abs(window_sum(since, window)) + 1e-9
            shares = (total[::-1] / total.sum(axis=0)).astype(np.float32)
            images = fine[:, b] + change[:, b]
            image[b], unsure[b] = (shares * images).sum(axis=0), doubt(images, shares, np.abs(since))
        return image, unsure


def decorrelation(fine: FloatArray, coarse: FloatArray) -> FloatArray:
    """(y, x) ``1 - r``, r the correlation of a pixel's spectra (2, band, y, x) over dates and bands; 1 if constant.

    In double precision: r is often so near to 1 that float32 would leave nothing of the difference.
    """
    planes = [a.reshape(-1, *a.shape[-2:]) for a in (fine, coarse)]
    means = [a.mean(axis=0, dtype=np.float64) for a in planes]
    ff, cc, fc = (np.zeros(fine.shape[-2:]) for _ in range(3))
    for f, c in zip(*planes, strict=True):
        df, dc = f - means[0], c - means[1]
        ff += df**2
        cc += dc**2
        fc += df * dc
    size = np.sqrt(ff * cc)
    return np.asarray(np.clip(1 - fc / np.where(size > 0, size, 1), 0, 2), np.float32)


@lru_cache(maxsize=8)
def critical_r2(samples: int) -> npt.NDArray[np.float64]:
    """(samples + 1,) least r² of a regression line that the F-test calls significant, by number of samples."""
    free = np.arange(samples + 1) - 2.0
    free[:3] = 1
    ratio = special.fdtri(1, free, 1 - SIGNIFICANCE)
    r2 = ratio / (ratio + free)
    r2[:3] = np.inf
    return np.asarray(r2, np.float64)
