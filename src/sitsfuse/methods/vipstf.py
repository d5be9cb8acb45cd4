"""VIPSTF-SW: one weight per guide and band for the whole image, and a residual spread over similar pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import FloatArray
from ..core.options import Count, Natural, NotNegative, settle
from ..operators.residual import residual_halo
from .base import Tile
from .shared.dates import Calendar, DatedPredictor
from .shared.gapless import Gapless, prior_of, weighted
from .shared.moments import Moments, weights_of
from .shared.pairs import odd_window
from .shared.rehearsal import Rehearsed


@dataclass(frozen=True)
class VIPSTF(Rehearsed):
    """A virtual image pair from all guides, made to resemble the target: ``P = sum a_i F_i + b + R``.

    Per band, a and b are those of the regression ``C_p = sum a_i C_i + b + r`` over all clear LR pixels. R is the mean
    of ``r↑`` over the pixels of a window that are most similar in ``sum a_i F_i + b``, all bands together, weighing
    ``1 / D``, ``D = 1 + d / (window / 2)``.

    Ours: a ridge draws the weights towards those of interpolation in time, which remain where the target is never
    clear. Gaps in guides are interpolated in time; under the target's clouds r is carried in from around, fading to 0.
    C_i is the LR image observed within a day of the guide, else the degraded guide. The regression is over all of a
    small image, over evenly spread blocks of a large one.

    References
    ----------
    Wang, Tang, Tong, Atkinson, Virtual image pair-based spatio-temporal fusion, Remote Sensing of Environment 249,
    2020: the version with spatial weighting (VIPSTF-SW). The uncertainty is ours, too.
    """

    name: ClassVar[str] = "vipstf"
    paper: ClassVar[str] = "Wang et al. 2020 (VIPSTF-SW)"
    min_guides: ClassVar[int] = 1

    similar: Count = 30
    """Similar pixels over which the residual is averaged; 1: not averaged."""
    window: Natural = 0
    """Side of the window in which they are sought, in HR pixels; 0: 13 LR pixels, from a ratio of 5 on 65."""
    ridge: NotNegative = 10.0
    """How many LR pixels the weights of interpolation in time count for; 0: none, as published."""

    def __post_init__(self) -> None:
        settle(self)

    def halo(self, ratio: float) -> int:
        """Half a window, and the reach of a residual, which an LR pixel more may feed."""
        return odd_window(self.window, 13, ratio) // 2 + residual_halo(ratio) + math.ceil(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> VIPSTFPlain:
        """Degrade the guides of the sample windows, and measure what LR residuals tell of HR."""
        calendar = Calendar.of(site)
        moments = Moments.of(site, calendar, keep=True)
        return VIPSTFPlain(calendar, moments, moments.detail(), self)


@dataclass(frozen=True)
class VIPSTFPlain:
    """The guides as the LR sensor sees them."""

    calendar: Calendar
    moments: Moments
    detail: FloatArray
    """(band,) see `Moments.detail`."""
    method: VIPSTF

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> VIPSTFPredictor:
        """Find the weights of the guides."""
        dates = self.calendar.on(date)
        weights = weights_of(*self.moments.target(date, target), prior_of(dates), self.method.ridge)
        return VIPSTFPredictor(dates, *weights, self.detail, self.method)


@dataclass(frozen=True)
class VIPSTFPredictor(DatedPredictor):
    """Adds up the guides of a tile and spreads what they leave of its target."""

    weights: FloatArray
    """(time, band)."""
    level: FloatArray
    """(band,) b, in reflectance."""
    detail: FloatArray
    """(band,) see `Moments.detail`."""
    method: VIPSTF

    @property
    def choices(self) -> Mapping[str, Any]:
        """What stands for the LR images of the guides' dates; weights per guide and band, and b per band."""
        weights = [[round(float(w), 4) for w in row] for row in self.weights]
        return {**self.dates.record, "weights": weights, "level": [round(float(b), 4) for b in self.level]}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        guides = Gapless.of(tile, self.dates)
        level = self.level[:, None, None]
        virtual = weighted(self.weights, guides.fine) + level
        left = guides.target - weighted(self.weights, guides.coarse) - level
        residual = np.where(guides.known, left, np.float32(0))
        change = guides.spread(residual)
        if self.method.similar > 1:
            from .kernels import similar as kernel  # numba is slow to import

            window = odd_window(self.method.window, 13, tile.grids.ratio)
            wanted = guides.valid & tile.wanted
            change = kernel.similar(virtual, change, guides.valid, wanted, window, self.method.similar)
        return guides.result(virtual + change, residual, self.detail)
