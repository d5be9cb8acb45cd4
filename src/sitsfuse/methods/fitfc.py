"""Fit-FC: the target's local regression on the guide's LR image, applied to the guide, smoothed by similar pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray, FloatArray
from ..core.options import Count, Natural, Positive, settle
from ..core.site import group
from ..errors import InputError
from ..operators.matrices import nearest_index, separable, up_matrix
from ..operators.residual import residual_halo
from ..operators.updown import fill
from .base import Tile
from .shared.dates import Calendar, DatedPredictor
from .shared.pairs import Pairs, odd_window, window_sum
from .shared.rehearsal import Rehearsed

ALL = ("all",)
"""Instead of the names of bands."""


@dataclass(frozen=True)
class FitFC(Rehearsed):
    """``Z = a F + b + r↑``, smoothed over the pixels that are most similar.

    Per band and LR pixel, a and b are the regression of ``C_p`` on ``C_1`` over the LR pixels around it and r what it
    leaves; a and b hold for all HR pixels of the LR pixel. Then each pixel becomes the mean of the `similar` pixels in
    a window that are most like it in F, with weights ``1 / D``, ``D = 1 + d / (window / 2)``.

    Per pixel, the pair (F, C_1) is that of the nearest clear guide in time. C_1 is the LR image observed within a day
    of the guide, else the degraded guide.

    References
    ----------
    Wang, Atkinson, Spatio-temporal fusion for daily Sentinel-2 images, Remote Sensing of Environment 204, 2018. Ours:
    the slope is drawn towards 1 where the LR image is flat, ``a = (cov + flat²) / (var + flat²)``, so that the guide's
    details remain there; all bands tell what is similar, not red and NIR alone; pixels as similar as the last one
    count too; the choice of the pair per pixel; the uncertainty.
    """

    name: ClassVar[str] = "fitfc"
    paper: ClassVar[str] = "Wang & Atkinson 2018"
    min_guides: ClassVar[int] = 1

    reach: Count = 1
    """Half the regression's window, in LR pixels: 1 for 3×3."""
    flat: Positive = 0.002
    """Scatter of the LR image within the regression's window, in reflectance, below which it hardly counts."""
    window: Natural = 0
    """Side of the window of similar pixels, in HR pixels; 0: eight LR pixels, from a ratio of 5 on 41."""
    similar: Count = 20
    """Number of similar pixels, the pixel itself among them."""
    bands: tuple[str, ...] = ALL
    """Bands that tell which pixels are similar, or `all`; the paper's: `red,nir`."""

    def __post_init__(self) -> None:
        settle(self)

    def halo(self, ratio: float) -> int:
        """Half a window, the LR pixels of the regression, and the reach of ↓ and ↑."""
        return odd_window(self.window, 8, ratio) // 2 + math.ceil((self.reach + 1) * ratio) + residual_halo(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> FitFCPlain:
        """Nothing is global but the dates and the bands that tell which pixels are similar.

        Raises
        ------
        InputError
            If the option names a band that the guide lacks.
        """
        known = [str(b) for b in group(site, "guide")["band"].values]
        wanted = known if self.bands == ALL else self.bands
        lacking = [b for b in wanted if b not in known]
        if lacking:
            raise InputError("`options.bands`", f"names {lacking[0]}", f"the guide's bands are: {', '.join(known)}")
        use = tuple(known.index(b) for b in wanted)
        return FitFCPlain(Calendar.of(site), use, self)


@dataclass(frozen=True)
class FitFCPlain:
    """Predicts any date alike."""

    calendar: Calendar
    features: tuple[int, ...]
    """Numbers of the bands that tell which pixels are similar."""
    method: FitFC

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> FitFCPredictor:
        """Nothing to learn."""
        return FitFCPredictor(self.calendar.on(date), self.features, self.method)


@dataclass(frozen=True)
class FitFCPredictor(DatedPredictor):
    """Predicts tiles from the nearest pair of each pixel."""

    features: tuple[int, ...]
    method: FitFC

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        from .kernels import similar as kernel  # numba is slow to import

        method, pairs = self.method, Pairs.of(tile, self.dates, 1)
        window = odd_window(method.window, 8, tile.grids.ratio)
        image, change = (np.zeros(pairs.target.shape, np.float32) for _ in range(2))
        for k in pairs.used():
            here = pairs.index[0] == k
            fine = pairs.fine(k)
            plain = self._regressed(pairs, k, fine)
            features = fine[list(self.features)]
            image[:, here] = kernel.similar(features, plain, pairs.valid[k], here, window, method.similar)[:, here]
            # One guide knows nothing of what the change did to its details.
            change[:, here] = np.abs(pairs.target - pairs.coarse(k))[:, here]
        return pairs.result(image, change)

    def _regressed(self, pairs: Pairs, k: int, fine: FloatArray) -> FloatArray:
        """(band, y, x) ``a F + b + r↑`` of a guide, before it is smoothed."""
        grids = pairs.tile.grids
        target, clear = self.dates.target(pairs.tile)
        known = clear & pairs.known[k]
        slope, offset = local_regression(pairs.lr[k], target, known, self.method.reach, self.method.flat)
        rest = np.where(known, target - slope * pairs.lr[k] - offset, np.float32(0))
        spread = separable(fill(rest, known), up_matrix(grids.y), up_matrix(grids.x))
        rows, cols = nearest_index(grids.y), nearest_index(grids.x)
        at = np.clip(rows, 0, None)[:, None], np.clip(cols, 0, None)
        return np.asarray(slope[:, *at] * fine + offset[:, *at] + spread, np.float32)


def local_regression(
    before: FloatArray, after: FloatArray, known: BoolArray, reach: int, flat: float
) -> tuple[FloatArray, FloatArray]:
    """Slope and offset of ``after = slope * before + offset`` in a window around each pixel.

    Parameters
    ----------
    before, after
        (band, y, x) float32, read only where known.
    known
        (y, x) bool.
    reach
        Half the window's side.
    flat
        Standard deviation of `before` at which the slope lies halfway between the regression's and 1.

    Returns
    -------
    slope, offset
        (band, y, x) float32; 1 and 0 where no pixel of the window is known.
    """
    side = 2 * reach + 1
    x, y = (np.where(known, a, 0).astype(np.float64) for a in (before, after))
    n = np.maximum(window_sum(known, side), 1)
    mean_x, mean_y = window_sum(x, side) / n, window_sum(y, side) / n
    cov = window_sum(x * y, side) / n - mean_x * mean_y
    var = np.clip(window_sum(x * x, side) / n - mean_x**2, 0, None)
    slope = (cov + flat**2) / (var + flat**2)
    return slope.astype(np.float32), (mean_y - slope * mean_x).astype(np.float32)
