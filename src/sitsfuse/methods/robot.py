"""ROBOT: non-negative weights of all guides per patch, which explain the target and keep a near guide's details."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine

from ..grid import Axis
from ..series import pair_of
from .base import FloatArray, Tile
from .difference import residual_halo
from .gapless import FLAT, AllDates, Gapless, Moments, weighted
from .pairs import DatedPredictor
from .rehearsal import Rehearsed

MOST = 2.0
"""Largest sum of the weights of a patch."""
BALANCED = (0.98, 1.02)
"""Sums of weights between which a patch explains the target without a residual."""
BISECTIONS = 60
"""Halvings of the interval in which the multiplier of the bound lies."""
PATIENCE, ROUNDS = 3, 20
"""Rounds without progress after which pivots are swapped one by one, and the most rounds per weight."""
ROUNDING = 1e-12
"""Relative size below which a weight or a gradient is rounding."""
RESIDUALS = ("auto", "always", "never")

Array = npt.NDArray[np.float64]


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

    patch: int = 0
    """Side of a patch, in HR pixels, rounded to a multiple of three; 0: six LR pixels."""
    beta: float = 0.1
    """β: how much an HR pixel of the nearest guide counts beside an LR pixel of the target."""
    ridge: float = 1.0
    """How many LR pixels the weights of interpolation in time count for, on each patch."""
    residual: str = "auto"
    """Where the residual is added: "auto" (where weights are out of balance, as published), "always" or "never". It
    brings what no weights explain, and the noise of the LR sensor."""

    def __post_init__(self) -> None:
        if self.patch < 0 or self.beta < 0 or self.ridge < 0:
            raise ValueError("patch, beta and ridge must be ≥ 0")
        if self.residual not in RESIDUALS:
            raise ValueError(f"residual must be one of {', '.join(RESIDUALS)}, not {self.residual!r}")

    def cell(self, ratio: float) -> int:
        """A third of a patch's side, in HR pixels."""
        return max(1, round((self.patch or 6 * ratio) / 3))

    def halo(self, ratio: float) -> int:
        """The reach of a residual, from LR pixels that patches cover, with the LR pixels under those."""
        return residual_halo(ratio) + 3 * self.cell(ratio) + 2 * math.ceil(ratio)

    def prepare(self, site: xr.DataTree, date: np.datetime64) -> ROBOTPredictor:
        """Lay out the patches, and measure what LR residuals tell of HR; the weights are found tile by tile."""
        pair = pair_of(site)
        cell = self.cell(pair.ratio)
        shape = pair.hr.shape
        dates = AllDates.of(site, date)
        patches = Patches.over(shape[0], cell), Patches.over(shape[1], cell)
        return ROBOTPredictor(dates, pair.hr.affine, patches, Moments.of(site, dates).detail(), self)


@dataclass(frozen=True)
class Patches:
    """Patches along one dimension: patch p covers three cells from cell 2 p on."""

    cell: int
    """Side of a cell, in HR pixels."""
    start: int
    """Where the first patch begins, in HR pixels of the image or tile."""
    count: int

    @classmethod
    def over(cls, n: int, cell: int) -> Patches:
        """The patches of an image of n pixels; the first and the last hang over its edges by the same length."""
        count = max(1, math.ceil((n - cell) / (2 * cell)))
        return cls(cell, -(((2 * count + 1) * cell - n) // 2), count)

    def within(self, start: int, n: int) -> Patches:
        """Those of them that overlap a tile of n pixels that begins at pixel ``start``."""
        step = 2 * self.cell
        first = max((start - self.start - self.cell) // step, 0)
        last = min((start + n - 1 - self.start) // step, self.count - 1)
        return Patches(self.cell, self.start + 2 * first * self.cell - start, last - first + 1)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return 2 * self.count + 1

    def overlap(self, axis: Axis) -> Array:
        """(patch, lr) length of an LR pixel that lies in a patch, in LR pixels."""
        edge = (self.start + 2 * self.cell * np.arange(self.count))[:, None]
        left = axis.ratio * np.arange(axis.n_lr) + axis.offset
        inside = np.minimum(left + axis.ratio, edge + 3 * self.cell) - np.maximum(left, edge)
        return np.asarray(np.clip(inside / axis.ratio, 0, None))

    def share(self, n: int) -> Array:
        """(hr, patch) weight of each patch in the mean over those that cover a pixel."""
        position = np.arange(n)[:, None] - self.start - 2 * self.cell * np.arange(self.count)
        covers = ((position >= 0) & (position < 3 * self.cell)).astype(np.float64)
        return np.asarray(covers / covers.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class ROBOTPredictor(DatedPredictor):
    """Finds the weights of the patches of a tile and adds up its guides."""

    dates: AllDates
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
        guides = self.dates.gapless(tile)
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

    def _weights(self, guides: Gapless, rows: Patches, cols: Patches) -> Array:
        """(time, patch along y, patch along x) weights of the guides."""
        prior, n = self.dates.prior, len(self.guides)
        square, product, count = lr_sums(guides, rows, cols, prior)
        # What the guides differ by from interpolation in time, per pixel: the scale of the ridge.
        mixed = square @ prior
        change = np.trace(square, axis1=-2, axis2=-1) - 2 * mixed.sum(axis=-1) + n * (mixed @ prior)
        here = np.maximum(count, 1e-9)
        ridge = (self.method.ridge * np.clip(change, 0, None) / here + FLAT * np.trace(square, axis1=-2, axis2=-1)) / n
        if self.method.beta:
            detail, pixels = hr_sums(guides, rows, cols)
            # As many equations as LR pixels: the two terms are means.
            detail *= (self.method.beta**2 * count / np.maximum(pixels, 1))[..., None, None]
            square += detail
            product += detail[..., self.near] - detail @ prior
        square[..., range(n), range(n)] += np.where(ridge > 0, ridge, 1)[..., None]
        found = solve(square.reshape(-1, n, n), product.reshape(-1, n), prior, MOST)
        return np.moveaxis(found.reshape(*count.shape, n), -1, 0)


def unexplained_by(
    guides: Gapless, weights: Array, chosen: npt.NDArray[Any], shares: tuple[Array, Array]
) -> FloatArray:
    """(band, y, x) ``C_p - sum a_i C_i`` of the chosen patches, averaged over all that cover an LR pixel."""
    explained = weighted(over(weights * chosen, *shares)[:, None], guides.coarse)
    left = over(chosen.astype(np.float64), *shares) * guides.target - explained
    return np.where(guides.known, left, np.float32(0))


def lr_sums(guides: Gapless, rows: Patches, cols: Patches, prior: Array) -> tuple[Array, Array, Array]:
    """Sums over the known LR pixels of each patch, all bands together; a pixel counts by its share in the patch.

    Returns
    -------
    square
        (patch y, patch x, time, time) of ``C_i C_j``.
    product
        (patch y, patch x, time) of ``C_i (C_p - sum w_j C_j)``, w being ``prior``.
    count
        (patch y, patch x) number of LR pixels.
    """
    along_y, along_x = rows.overlap(guides.tile.grids.y), cols.overlap(guides.tile.grids.x).T
    lr = np.where(guides.known, guides.coarse, 0).astype(np.float64)
    left = np.where(guides.known, guides.target - np.tensordot(prior, lr, 1), 0)
    n = len(lr)
    square, product = np.empty((rows.count, cols.count, n, n)), np.empty((rows.count, cols.count, n))
    for i in range(n):
        product[..., i] = along_y @ np.einsum("byx,byx->yx", lr[i], left) @ along_x
        for j in range(i + 1):
            square[..., i, j] = along_y @ np.einsum("byx,byx->yx", lr[i], lr[j]) @ along_x
            square[..., j, i] = square[..., i, j]
    return square, product, along_y @ guides.known.astype(np.float64) @ along_x


def hr_sums(guides: Gapless, rows: Patches, cols: Patches) -> tuple[Array, Array]:
    """Sums over the valid HR pixels of each patch, all bands together.

    Returns
    -------
    square
        (patch y, patch x, time, time) float64 of ``F_i F_j``.
    count
        (patch y, patch x) number of HR pixels.
    """
    n, bands, height, width = guides.fine.shape
    side = rows.cell
    square, count = np.empty((rows.cells, cols.cells, n, n)), np.empty((rows.cells, cols.cells))
    strip = np.empty((n + 1, bands, side, cols.cells * side))
    for k in range(rows.cells):
        # One row of cells at a time; what hangs over the image is 0.
        strip[:] = 0
        top = rows.start + k * side
        part = slice(max(top, 0), max(min(top + side, height), 0))
        here = strip[..., : max(part.stop - part.start, 0), -cols.start : width - cols.start]
        here[:n], here[n] = guides.fine[..., part, :], guides.valid[part]
        blocks = strip.reshape(n + 1, bands, side, cols.cells, side).transpose(3, 0, 1, 2, 4)
        blocks = blocks.reshape(cols.cells, n + 1, -1)
        square[k] = blocks[:, :n] @ blocks[:, :n].transpose(0, 2, 1)
        count[k] = blocks[:, n].sum(axis=-1) / bands
    return by_patch(square), by_patch(count)


def by_patch(sums: Array) -> Array:
    """Sums by patch from sums by cell, along the first two axes."""
    rows = sums[:-2:2] + sums[1:-1:2] + sums[2::2]
    return np.asarray(rows[:, :-2:2] + rows[:, 1:-1:2] + rows[:, 2::2])


def cells(axis: Axis) -> Array:
    """(lr, hr) share of each HR pixel in the part of an LR pixel that lies in the HR image."""
    left = (axis.ratio * np.arange(axis.n_lr) + axis.offset)[:, None]
    pixel = np.arange(axis.n_hr)
    inside = np.clip(np.minimum(left + axis.ratio, pixel + 1) - np.maximum(left, pixel), 0, None)
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-9))


def over(weights: Array, along_y: Array, along_x: Array) -> FloatArray:
    """Mean of (..., patch y, patch x) over the patches that cover a pixel: (..., y, x) float32."""
    return np.asarray(along_y @ weights @ along_x.T, np.float32)


def solve(square: Array, product: Array, prior: Array, most: float) -> Array:
    """Minimise ``a·S a / 2 - a·(p + S w)`` with ``a >= 0`` and ``sum a <= most``, for many small problems at once.

    That is least squares around the prior w, with S the sums of squares and p those of the regressors and what the
    prior leaves.

    Parameters
    ----------
    square, product
        (problem, time, time), positive definite, and (problem, time).
    prior
        (time,) ≥ 0, with a sum below ``most``.
    most
        Largest sum of the weights.

    Returns
    -------
    weights
        (problem, time).
    """
    found = non_negative(square, product, prior)
    over_it = np.flatnonzero(found.sum(axis=1) > most)
    if over_it.size:
        found[over_it] = bounded(square[over_it], product[over_it], prior, most)
    return found


def bounded(square: Array, product: Array, prior: Array, most: float) -> Array:
    """`solve` where the bound on the sum is reached: its multiplier μ, which lowers every product, by bisection."""
    low, high = np.zeros(len(product)), np.abs(product + square @ prior).max(axis=1)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = non_negative(square, product - middle[:, None], prior).sum(axis=1) > most
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return non_negative(square, product - high[:, None], prior)


def non_negative(square: Array, product: Array, prior: Array) -> Array:
    """`solve` without a bound on the sum, by block principal pivoting.

    Each round solves for the weights that are not held at 0 and swaps all that break a condition: negative weights and
    held ones with a gradient that would raise them. Where their number does not fall for some rounds, only the last of
    them is swapped, which cannot go on for ever (Kim and Park, SIAM Journal on Scientific Computing 33, 2011).
    """
    n = product.shape[1]
    scale = np.sqrt(square[:, range(n), range(n)])
    free = np.ones(product.shape, bool)
    found = np.empty(product.shape)
    fewest, patience = np.full(len(product), n + 1), np.full(len(product), PATIENCE)
    left = np.arange(len(product))
    for _ in range(ROUNDS * n):
        s, f = square[left], free[left]
        # The change from the prior is sought: that is small, and nothing is lost in rounding.
        held = np.where(f, 0, -prior)
        both = f[:, :, None] & f[:, None, :]
        matrix = np.where(both, s, 0)
        matrix[:, range(n), range(n)] += ~f
        known = product[left] - np.einsum("pij,pj->pi", s, held)
        change = np.where(f, np.linalg.solve(matrix, np.where(f, known, 0)[..., None])[..., 0], held)
        weights = np.where(f, prior + change, 0)
        gradient = product[left] - np.einsum("pij,pj->pi", s, change)
        slack = ROUNDING * scale[left]
        wrong = np.where(f, weights < -ROUNDING, gradient > slack * scale[left].max(axis=1, keepdims=True))
        found[left] = np.maximum(weights, 0)
        number = wrong.sum(axis=1)
        better = number < fewest[left]
        fewest[left] = np.where(better, number, fewest[left])
        patience[left] = np.where(better, PATIENCE, patience[left] - 1)
        last = np.arange(n) == (n - 1 - np.argmax(wrong[:, ::-1], axis=1))[:, None]
        free[left] = f ^ (wrong & ((patience[left] >= 0)[:, None] | last))
        left = left[number > 0]
        if not left.size:
            break
    return found
