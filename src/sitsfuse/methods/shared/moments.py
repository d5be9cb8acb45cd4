"""Means and covariances of series, in one pass, and regressions from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import Window
from ...core.loading import load
from ...core.site import group, pair_of
from .dates import Calendar
from .gapless import Closed
from .samples import sample_tile, sample_windows

FLAT = 1e-10
"""Share of the guides' mean square below which their scatter is the rounding of float32, not scene."""
WEAK = 1e-4
"""Ridge of a regression that only measures what is left, as a share of the guides' variance."""


@dataclass(frozen=True)
class Sample:
    """The guides of a window at LR."""

    window: Window
    """LR pixels."""
    coarse: FloatArray
    """(time, band, y, x), 0 where not covered."""
    covered: BoolArray
    """(y, x)."""


@dataclass(frozen=True)
class Moments:
    """Means of products over a site's sample windows, from which the regressions between its guides follow."""

    lr: npt.NDArray[np.float64]
    """(band, time + 1, time + 1) products of ``C_1, C_2, …, 1`` over all LR pixels under guides."""
    hr: npt.NDArray[np.float64]
    """(band, time + 1, time + 1) products of ``F_1, F_2, …, 1`` over all valid HR pixels."""
    samples: tuple[Sample, ...] = ()
    """The windows at LR, if they are kept: a regression on a target starts from them."""

    @classmethod
    def of(cls, site: xr.DataTree, calendar: Calendar, keep: bool = False) -> Moments:
        """Read the windows one by one."""
        guide, pair = group(site, "guide"), pair_of(site)
        n, bands = len(calendar.guides), guide.sizes["band"]
        lr, hr = (np.zeros((bands, n + 1, n + 1)) for _ in range(2))
        samples = []
        for core in sample_windows(pair.hr.shape):
            tile = sample_tile(site, pair, calendar, core)
            if tile is None:
                continue
            guides = Closed.of(tile, calendar)
            lr += products(guides.coarse, guides.covered)
            hr += products(guides.fine, guides.valid)
            if keep:
                samples.append(Sample(pair.lr_window(core), guides.coarse, guides.covered))
        means = [total / np.maximum(total[:, -1:, -1:], 1) for total in (lr, hr)]
        return cls(means[0], means[1], tuple(samples))

    def target(self, date: np.datetime64, target: xr.Dataset) -> tuple[npt.NDArray[np.float64], float]:
        """Means of products with the LR image of a date, over the pixels of the kept windows where it is clear.

        Returns
        -------
        products
            (band, time + 2, time + 2) of ``C_1, C_2, …, C_p, 1``.
        count
            Number of the pixels.
        """
        bands, n = self.lr.shape[0], self.lr.shape[1] - 1
        total = np.zeros((bands, n + 2, n + 2))
        for sample in self.samples:
            image = load(target, sample.window, np.array([date], target["time"].dtype))
            known = sample.covered & image.valid[0]
            clean = np.where(known, image.values, np.float32(0))
            total += products(np.concatenate([sample.coarse, clean]), known)
        return total / np.maximum(total[:, -1:, -1:], 1), float(total[0, -1, -1])

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


def weights_of(
    target: npt.NDArray[np.float64], count: float, prior: npt.NDArray[np.float64], ridge: float
) -> tuple[FloatArray, FloatArray]:
    """Weights (time, band) and level (band,) of the guides that make up a target: see `regression`.

    Parameters
    ----------
    target, count
        As `Moments.target` gives them.
    prior
        (time,) weights that remain without any clear LR pixel.
    ridge
        How many LR pixels they count for.
    """
    n = len(prior)
    found = [regression(gram, np.arange(n), n, prior, ridge / max(count, 1)) for gram in target]
    return np.array([w for w, _ in found], np.float32).T, np.array([b for _, b in found], np.float32)


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
