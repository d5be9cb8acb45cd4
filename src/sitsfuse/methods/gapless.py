"""Guides without gaps, and LR images to match: what the methods start from that weigh all guides at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..degrade import down, up_mask
from ..series import geobox, group
from ..timeline import temporal_weights
from ._calibration import local_square
from .base import BoolArray, FloatArray, Tile, result
from .difference import spread_residual
from .pairs import Dates, sample_tile, sample_windows
from .temporal import temporal_spread

FLAT = 1e-10
"""Share of the guides' mean square below which their scatter is the rounding of float32, not scene."""
WEAK = 1e-4
"""Ridge of a regression that only measures what is left, as a share of the guides' variance."""


@dataclass(frozen=True)
class Gapless:
    """The guides of a tile with their gaps closed, the LR images of their dates, and the target where it is of use."""

    fine: FloatArray
    """(time, band, y, x) guides; a pixel that is invalid in one is interpolated in time. 0 where none is valid."""
    valid: BoolArray
    """(y, x) whether any guide is valid."""
    coarse: FloatArray
    """(time, band, y, x) LR images of the guides' dates, 0 where a footprint has no guides."""
    target: FloatArray
    """(band, y, x) the LR image of the date to predict, 0 where it is not known."""
    covered: BoolArray
    """(y, x) LR pixels whose footprint has guides."""
    known: BoolArray
    """(y, x) those of them where the target is clear."""
    tile: Tile
    offsets: npt.NDArray[np.float64]
    """(time,) signed days from the date to predict to each guide."""

    def spread(self, residual: FloatArray) -> FloatArray:
        """(band, y, x) at HR of an LR residual; under clouds carried in from around, fading to 0."""
        return spread_residual(residual, self.known, self.tile.grids)

    def result(self, image: FloatArray, residual: FloatArray, detail: FloatArray) -> xr.Dataset:
        """The answer for the tile. A pixel without a clear LR pixel counts as filled.

        The uncertainty is what the weighted guides leave unexplained at LR, its root mean square over 3×3 LR pixels,
        times what that leaves at HR (see `Moments.detail`). Where the target shows nothing it is that of interpolation
        in time.
        """
        seen = up_mask(self.known, self.tile.grids)
        size = np.sqrt(local_square(residual, self.known))
        uncertainty = detail[:, None, None] * np.abs(self.spread(np.where(self.known, size, np.float32(0))))
        if not seen.all():
            values, clear = self.tile.guide_arrays()
            here = ~seen
            weights = temporal_weights(clear[:, here], self.offsets)
            uncertainty[:, here] = temporal_spread(values[:, :, here], clear[:, here], weights, self.offsets)
        return result(self.tile, image, self.valid, uncertainty, ~seen)


@dataclass(frozen=True)
class AllDates(Dates):
    """The dates of a prediction from all guides at once."""

    @property
    def prior(self) -> npt.NDArray[np.float64]:
        """(time,) weights of interpolation in time between guides without gaps."""
        return temporal_weights(np.ones((len(self.guides), 1), bool), self.offsets)[:, 0].astype(np.float64)

    def gapless(self, tile: Tile) -> Gapless:
        """Close the gaps of a tile's guides.

        The LR image of a guide's date is what was observed within a day of it where that is clear and so is the whole
        footprint of the guide, else the degraded guide: what stands in a gap at HR must stand there at LR, too.
        """
        values, clear = tile.guide_arrays()
        fine, valid = without_gaps(values, clear, self.offsets)
        coarse, ok = down(fine, np.broadcast_to(valid, clear.shape), tile.grids, self.mtf)
        for k, guide in enumerate(self.guides):
            near = self.observed(guide)
            if not near:
                continue
            _, footprint = down(values[k], clear[k], tile.grids, self.mtf)
            for i in near[::-1]:  # the nearest last: it replaces the others
                image, seen = tile.target_arrays(i)
                take = seen & footprint
                coarse[k][:, take] = image[:, take]
        target, seen = self.target(tile)
        covered = ok[0]
        known = covered & seen
        clean = np.where(covered, coarse, np.float32(0)), np.where(known, target, np.float32(0))
        return Gapless(fine, valid, *clean, covered, known, tile, self.offsets)


def without_gaps(values: FloatArray, valid: BoolArray, times: npt.NDArray[np.float64]) -> tuple[FloatArray, BoolArray]:
    """Interpolate the invalid pixels of every image in time.

    Linear between the pixel's nearest valid images before and after; where one side has none, the nearest of the other
    is held. So interpolating the result in time is interpolating the valid images.

    Parameters
    ----------
    values
        (time, band, y, x) float32, read only where valid.
    valid
        (time, y, x) bool.
    times
        (time,) days, increasing.

    Returns
    -------
    values, valid
        (time, band, y, x) float32, the images themselves where valid, 0 where none is; (y, x) bool, whether any is.
        Images without invalid pixels are not copied.
    """
    if valid.all():
        return values, np.ones(valid.shape[1:], bool)
    any_valid = np.asarray(valid.any(axis=0), bool)
    out = np.where(valid[:, None], values, np.float32(0))
    flat, known = out.reshape(*out.shape[:2], -1), valid.reshape(len(valid), -1)
    clean = values.reshape(flat.shape)
    for k, image in enumerate(flat):
        gap = np.flatnonzero(any_valid.ravel() & ~known[k])
        if not gap.size:
            continue
        weights = temporal_weights(known[:, gap], times - times[k])
        for weight, other in zip(weights, clean, strict=True):
            used = np.flatnonzero(weight)
            if used.size:
                image[:, gap[used]] += weight[used] * other[:, gap[used]]
    return out, any_valid


def weighted(weights: npt.NDArray[np.floating], images: FloatArray) -> FloatArray:
    """``sum over time of w F``: weights (time, band) or, per pixel, (time, 1, y, x), images (time, band, y, x).

    Returns (band, y, x) float32.
    """
    out = np.zeros(images.shape[1:], np.float32)
    for weight, image in zip(weights.astype(np.float32), images, strict=True):
        for b, plane in enumerate(out):
            # Band by band, so that the temporary arrays stay in the processor's cache.
            plane += weight[b % len(weight)] * image[b]
    return out


@dataclass(frozen=True)
class Moments:
    """Means of products over a site's sample windows, from which the regressions between its images follow."""

    target: npt.NDArray[np.float64]
    """(band, time + 2, time + 2) products of ``C_1, C_2, …, C_p, 1`` over the LR pixels where the target is known."""
    clear: float
    """Number of those pixels."""
    lr: npt.NDArray[np.float64]
    """(band, time + 1, time + 1) products of ``C_1, C_2, …, 1`` over all LR pixels under guides."""
    hr: npt.NDArray[np.float64]
    """(band, time + 1, time + 1) products of ``F_1, F_2, …, 1`` over all valid HR pixels."""

    @classmethod
    def of(cls, site: xr.DataTree, dates: AllDates) -> Moments:
        """Read the windows one by one."""
        guide = group(site, "guide")
        n, bands = len(dates.guides), guide.sizes["band"]
        sums = [np.zeros((bands, m, m)) for m in (n + 2, n + 1, n + 1)]
        for core in sample_windows(geobox(guide).shape):
            tile = sample_tile(site, dates, core)
            if tile is None:
                continue
            guides = dates.gapless(tile)
            sums[0] += products(np.concatenate([guides.coarse, guides.target[None]]), guides.known)
            sums[1] += products(guides.coarse, guides.covered)
            sums[2] += products(guides.fine, guides.valid)
        means = [total / np.maximum(total[:, -1:, -1:], 1) for total in sums]
        return cls(means[0], float(sums[0][0, -1, -1]), means[1], means[2])

    def weights(self, prior: npt.NDArray[np.float64], ridge: float) -> tuple[FloatArray, FloatArray]:
        """Weights (time, band) and level (band,) of the guides that make up the target: see `regression`.

        Parameters
        ----------
        prior
            (time,) weights that remain without any clear LR pixel.
        ridge
            How many LR pixels they count for.
        """
        n = len(prior)
        found = [regression(gram, np.arange(n), n, prior, ridge / max(self.clear, 1)) for gram in self.target]
        return np.array([w for w, _ in found], np.float32).T, np.array([b for _, b in found], np.float32)

    def detail(self) -> FloatArray:
        """(band,) how much a residual correction leaves at HR, in standard deviations, per size of the LR residual.

        Every guide is explained by the others, by a regression at LR. Of the variance that this leaves at HR, what it
        leaves at LR is what the correction brings. The median over guides; at least 1.
        """
        n = self.lr.shape[-1] - 1
        ratios = np.ones((n, len(self.lr)))
        for k in range(n):
            others = np.flatnonzero(np.arange(n) != k)
            prior = np.full(n - 1, 1 / max(n - 1, 1))
            for b, (low, high) in enumerate(zip(self.lr, self.hr, strict=True)):
                weights, _ = regression(low, others, k, prior, WEAK)
                error = np.zeros(n)
                error[k], error[others] = 1, -weights
                at_lr, at_hr = (float(error @ covariance(gram)[:n, :n] @ error) for gram in (low, high))
                if at_lr > FLAT * low[k, k]:
                    ratios[k, b] = np.sqrt(max(at_hr / at_lr - 1, 0))
        return np.asarray(np.clip(np.median(ratios, axis=0), 1, None), np.float32)


def products(images: FloatArray, chosen: BoolArray) -> npt.NDArray[np.float64]:
    """(band, time + 1, time + 1) sums over the chosen pixels of the products of (time, band, y, x) images and 1."""
    n, bands = images.shape[:2]
    out = np.empty((bands, n + 1, n + 1))
    pixels = np.ones((n + 1, int(chosen.sum())))
    for b in range(bands):
        pixels[:n] = images[:, b][:, chosen]
        out[b] = pixels @ pixels.T
    return out


def covariance(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of variables from the means of their products, the last of which is 1."""
    return np.asarray(gram - np.outer(gram[-1], gram[-1]))


def regression(
    gram: npt.NDArray[np.float64], x: npt.NDArray[np.intp], y: int, prior: npt.NDArray[np.float64], ridge: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Weights a and level b that minimise ``mean (y - sum a_i x_i - b)² + λ sum (a_i - w_i)²``.

    Parameters
    ----------
    gram
        Means of the products of the variables, the last of which is 1; all 0 if there are no data.
    x, y
        Numbers of the regressors and of the variable to explain.
    prior
        (regressor,) w.
    ridge
        λ, as a multiple of the mean variance of the regressors.
    """
    n = max(len(x), 1)
    # Around the means b drops out; of the weights only what differs from the prior is sought.
    cov = covariance(gram)
    square = cov[np.ix_(x, x)]
    left = cov[x, y] - square @ prior
    square.flat[:: len(x) + 1] += ridge * np.trace(square) / n + FLAT * gram[x, x].sum() / n + np.finfo(float).tiny
    weights = prior + np.linalg.solve(square, left)
    return weights, float(gram[-1, y] - gram[-1, x] @ weights)
