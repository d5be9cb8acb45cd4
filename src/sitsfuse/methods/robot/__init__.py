"""ROBOT: non-negative weights of all guides per patch, which explain the target and keep a near guide's details."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine

from ...core.arrays import F64Array, FloatArray
from ...core.grid import Axis as Axis
from ...core.options import Natural, NotNegative, need, settle
from ...core.site import pair_of
from ...operators.residual import residual_halo
from ...stats.nonnegative import solve
from ..base import Tile
from ..shared.dates import Calendar, DatedPredictor
from ..shared.gapless import Gapless, prior_of, weighted
from ..shared.moments import FLAT, Moments
from ..shared.rehearsal import Rehearsed
from .patches import Patches, cells, hr_sums, lr_sums, over

MOST = 2.0
"""Largest sum of the weights of a patch."""
BALANCED = (0.98, 1.02)
"""Sums of weights between which a patch explains the target without a residual."""
RESIDUALS = ("auto", "always", "never")


@dataclass(frozen=True)
class ROBOT(Rehearsed):
    """Weights per patch: ``P = sum a_i F_i + r↑``, a ≥ 0, ``sum a <= 2``.

    On every patch, all bands together, they minimise

    ``mean (C_p - sum a_i C_i)² + β² mean (F_near - sum a_i F_i)² + λ sum (a_i - w_i)²``

    over the clear LR pixels and over the HR pixels; F_near is the guide nearest in time, whose details the second term
    keeps. Patches overlap by a third, and where they do, their predictions are averaged. The residual
    ``r = C_p - sum a_i C_i`` is added on patches where the sum of a leaves [0.98, 1.02], or on all or none.

    Ours: the last term, which draws the weights towards those of interpolation in time (w), that remain where the
    target is never clear. The first term is taken at LR. Gaps in guides are interpolated in time; under the target's
    clouds r is carried in from around, fading to 0. C_i is the LR image observed within a day of the guide, else the
    degraded guide.

    References
    ----------
    Chen, Wang, Gong, ROBOT: a spatiotemporal fusion model toward seamless data cube for global remote sensing
    applications, Remote Sensing of Environment 294, 2023. The solver and the uncertainty are ours, too.
    """

    name: ClassVar[str] = "robot"
    paper: ClassVar[str] = "Chen et al. 2023"
    min_guides: ClassVar[int] = 1

    patch: Natural = 0
    """Side of a patch, in HR pixels, rounded to a multiple of three; 0: six LR pixels."""
    beta: NotNegative = 0.1
    """β: how much an HR pixel of the nearest guide counts beside an LR pixel of the target."""
    ridge: NotNegative = 1.0
    """How many LR pixels the weights of interpolation in time count for, on each patch."""
    residual: str = "auto"
    """Where the residual is added: "auto" (where weights are out of balance, as published), "always" or "never". It
    brings what no weights explain, and the noise of the LR sensor."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.residual in RESIDUALS, self, "residual", f"choose among {', '.join(RESIDUALS)}")

    def cell(self, ratio: float) -> int:
        """A third of a patch's side, in HR pixels."""
        return max(1, round((self.patch or 6 * ratio) / 3))

    def halo(self, ratio: float) -> int:
        """The reach of a residual, from LR pixels that patches cover, with the LR pixels under those."""
        return residual_halo(ratio) + 3 * self.cell(ratio) + 2 * math.ceil(ratio)

    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> ROBOTPlain:
        """Lay out the patches, and measure what LR residuals tell of HR; the weights are found tile by tile."""
        pair = pair_of(site)
        cell = self.cell(pair.ratio)
        shape = pair.hr.shape
        calendar = Calendar.of(site)
        patches = Patches.over(shape[0], cell), Patches.over(shape[1], cell)
        return ROBOTPlain(calendar, pair.hr.affine, patches, Moments.of(site, calendar).detail(), self)


@dataclass(frozen=True)
class ROBOTPlain:
    """Where the patches lie, and what LR residuals tell of HR."""

    calendar: Calendar
    origin: Affine
    """Of the whole image's HR grid."""
    patches: tuple[Patches, Patches]
    """Along the rows and columns of the whole image."""
    detail: FloatArray
    """(band,) see `Moments.detail`."""
    method: ROBOT

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> ROBOTPredictor:
        """Nothing to learn."""
        return ROBOTPredictor(self.calendar.on(date), self.origin, self.patches, self.detail, self.method)


@dataclass(frozen=True)
class ROBOTPredictor(DatedPredictor):
    """Finds the weights of the patches of a tile and adds up its guides."""

    origin: Affine
    """Of the whole image's HR grid."""
    patches: tuple[Patches, Patches]
    """Along the rows and columns of the whole image."""
    detail: FloatArray
    """(band,) see `Moments.detail`."""
    method: ROBOT

    @property
    def near(self) -> int:
        """Number of the guide that is nearest in time."""
        return int(np.argmin(np.abs(self.dates.offsets)))

    @property
    def choices(self) -> Mapping[str, Any]:
        """What stands for the LR images of the guides' dates, the guide whose details are kept, the patches' side."""
        return {
            **self.dates.record,
            "nearest_guide": str(self.guides[self.near])[:10],
            "patch": 3 * self.patches[0].cell,
        }

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        guides = Gapless.of(tile, self.dates)
        corner = ~self.origin @ (tile.grids.hr.affine.c, tile.grids.hr.affine.f)
        rows, cols = (
            p.within(round(at), n) for p, at, n in zip(self.patches, corner[::-1], tile.grids.hr.shape, strict=True)
        )
        weights = self._weights(guides, rows, cols)
        shares = rows.share(tile.grids.y.n_hr), cols.share(tile.grids.x.n_hr)
        image = weighted(over(weights, *shares)[:, None], guides.fine)
        at_lr = cells(tile.grids.y) @ shares[0], cells(tile.grids.x) @ shares[1]
        unexplained = unexplained_by(guides, weights, np.ones(weights.shape[1:]), at_lr)
        if self.method.residual == "always":
            image += guides.spread(unexplained)
        elif self.method.residual == "auto":
            total = weights.sum(axis=0)
            unbalanced = (total < BALANCED[0]) | (total > BALANCED[1])
            image += guides.spread(unexplained_by(guides, weights, unbalanced, at_lr))
        return guides.result(image, unexplained, self.detail)

    def _weights(self, guides: Gapless, rows: Patches, cols: Patches) -> F64Array:
        """(time, patch along y, patch along x) weights of the guides."""
        prior, n = prior_of(self.dates), len(self.guides)
        square, product, count = lr_sums(guides, rows, cols, prior)
        # What the guides differ by from interpolation in time, per pixel: the scale of the ridge.
        mixed = square @ prior
        change = np.trace(square, axis1=-2, axis2=-1) - 2 * mixed.sum(axis=-1) + n * (mixed @ prior)
        here = np.maximum(count, 1e-9)
        ridge = (self.method.ridge * np.clip(change, 0, None) / here + FLAT * np.trace(square, axis1=-2, axis2=-1)) / n
        if self.method.beta:
            detail, pixels = guides.tile.once("robot", lambda: hr_sums(guides, rows, cols))
            # As many equations as LR pixels: the two terms are means.
            detail = detail * (self.method.beta**2 * count / np.maximum(pixels, 1))[..., None, None]
            square += detail
            product += detail[..., self.near] - detail @ prior
        square[..., range(n), range(n)] += np.where(ridge > 0, ridge, 1)[..., None]
        found = solve(square.reshape(-1, n, n), product.reshape(-1, n), prior, MOST)
        return np.moveaxis(found.reshape(*count.shape, n), -1, 0)


def unexplained_by(
    guides: Gapless, weights: F64Array, chosen: npt.NDArray[Any], shares: tuple[F64Array, F64Array]
) -> FloatArray:
    """(band, y, x) ``C_p - sum a_i C_i`` of the chosen patches, averaged over all that cover an LR pixel."""
    explained = weighted(over(weights * chosen, *shares)[:, None], guides.coarse)
    left = over(chosen.astype(np.float64), *shares) * guides.target - explained
    return np.where(guides.known, left, np.float32(0))
