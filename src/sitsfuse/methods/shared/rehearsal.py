"""Uncertainties calibrated by rehearsal: guides that are left out are predicted, and compared with.

A method's own rule tells where errors are larger, seldom how large. So a few guides near the date are left out, one at
a time; degraded, each stands for the LR image of its date, with the clouds of the date to predict, the noise of the
target series and what that lastingly differs from the guides. The method predicts them on a window, and the squares of
its errors are fitted by ``a σ² + c`` per band, where the target is clear and where it is not. The other guides lie
further from the one left out than from the date, which is on the safe side.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days, index_of
from ...core.grid import GridPair, Window
from ...core.loading import read
from ...core.series import make_series, mtf
from ...core.site import group, make_site, pair_of
from ...core.timeline import effective_gap
from ...operators.updown import down
from ...stats.noise import FEWEST, grain_and_noise
from ..base import Predictor, Tile
from .calibration import LEAST, deviation, lasting_difference, variance_model

LEFT_OUT = 3
"""Guides that are left out, those next to the date."""
SIDE, LR_SIDE = 150, 24
"""Side of the window in HR pixels, and at least in LR pixels."""
CLOUDY = (0.1, 0.9)
"""Share of clouds in the window's LR image outside which its upper quarter is taken for cloudy instead."""
SAME_DAY = 1.0
"""Days around a guide within which other LR images take no part: the degraded guide stands for them."""
SOON = 0.1
"""Gap between guides, as a share of the rehearsed ones, below which the constant shrinks: it is 0 at a guide's date."""
ROWS = 64
"""Rows of a tile of which the gaps are found at a time."""

Prepare = Callable[[xr.DataTree, np.datetime64], Predictor]


class Rehearsed(ABC):
    """A method whose `fit` prepares the prediction and calibrates its uncertainty by rehearsal."""

    @abstractmethod
    def prepare(self, site: xr.DataTree, date: np.datetime64) -> Predictor:
        """Prepare the prediction of one date, its uncertainty by the method's own rule."""

    def fit(self, site: xr.DataTree, date: np.datetime64) -> Predictor:
        """Prepare the prediction of one date, and rehearse it on a window of the site."""
        return Calibrated(self.prepare(site, date), date, rehearse(self.prepare, site, date))


@dataclass(frozen=True)
class Calibration:
    """Variance ``a σ² + c`` of the error: such that 90 % of the errors lie within 1.645 of its square roots."""

    clear: F64Array
    """(B, 2) a and c, in reflectance², where the target is clear."""
    filled: F64Array
    """(B, 2) the same where it is not."""
    gap: float
    """Effective gap between the guides (`effective_gap`), in days, for which c holds; 0: for any."""

    def __call__(self, uncertainty: FloatArray, filled: BoolArray, gap: FloatArray | float) -> FloatArray:
        """Calibrate the (B, y, x) uncertainty of pixels that are filled or not, (y, x), in a gap between guides."""
        clear, cloudy = (model.astype(np.float32)[..., None, None] for model in (self.clear, self.filled))
        known = np.clip(np.asarray(gap, np.float32) / (SOON * self.gap), 0, 1) if self.gap else np.float32(1)
        scale = np.where(filled, cloudy[:, 0], clear[:, 0])
        constant = np.where(filled, cloudy[:, 1], clear[:, 1]) * known**2
        return np.asarray(np.sqrt(scale * uncertainty**2 + constant), np.float32)


@dataclass(frozen=True)
class Calibrated:
    """A predictor whose uncertainty is calibrated."""

    predictor: Predictor
    date: np.datetime64
    calibration: Calibration | None
    """None where nothing could be rehearsed: then the method's own rule stands."""

    @property
    def guides(self) -> Times:
        """Those of the predictor."""
        return self.predictor.guides

    @property
    def targets(self) -> Times:
        """Those of the predictor."""
        return self.predictor.targets

    @property
    def choices(self) -> Mapping[str, Any]:
        """Those of the predictor."""
        return self.predictor.choices

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        out = self.predictor(tile)
        if self.calibration is None:
            return out
        gap: FloatArray | float = math.inf
        offsets = days(self.guides, self.date)
        # An effective gap is at least twice the time to the nearest guide.
        if len(offsets) and 2 * np.abs(offsets).min() < SOON * self.calibration.gap:
            valid = tile.guide["valid"].values
            rows = [effective_gap(valid[:, i : i + ROWS], offsets) for i in range(0, valid.shape[1], ROWS)]
            gap = np.concatenate(rows)
        told = self.calibration(out["uncertainty"].values, out["filled"].values, gap)
        return out.assign(uncertainty=(out["uncertainty"].dims, told))


def rehearse(prepare: Prepare, site: xr.DataTree, date: np.datetime64) -> Calibration | None:
    """Leave guides out, predict them on a window, and calibrate.

    Parameters
    ----------
    prepare
        Prepares the prediction of a date from a site.
    site, date
        The site, and the date that is going to be predicted.

    Returns
    -------
    Calibration or None
        None if no guide can be left out and predicted.
    """
    if group(site, "guide").sizes["time"] < 2:
        return None
    for window in _windows(pair_of(site)):
        found = list(_predicted(prepare, site, date, window))
        if sum(f.error.shape[1] for f in found) >= FEWEST:
            break
    else:
        return None
    kinds = {}
    for filled in (False, True):
        some = [(f.error[:, k], f.told[:, k]) for f in found if (k := f.filled == filled).any()]
        error, told = (np.concatenate([s[i] for s in some], axis=1) if some else None for i in range(2))
        if error is not None and told is not None and error.shape[1] >= FEWEST:
            noise = np.median([f.noise for f in found], axis=0)
            kinds[filled] = _fitted(error, told, noise)
    if not kinds:
        return None
    gaps = np.concatenate([f.gap for f in found])
    known = gaps[np.isfinite(gaps)]
    either = next(iter(kinds.values()))
    return Calibration(
        kinds.get(False, either), kinds.get(True, either), float(np.median(known)) if known.size else 0.0
    )


@dataclass(frozen=True)
class _Rehearsal:
    """A guide that was left out, at the N pixels where it could be predicted."""

    error: FloatArray
    """(B, N)."""
    told: FloatArray
    """(B, N) uncertainty by the method's own rule."""
    filled: BoolArray
    """(N,)."""
    gap: FloatArray
    """(N,) effective gap between the other guides."""
    noise: F64Array
    """(B,) variance of the sensor's noise in a guide: the errors hold it, and the prediction is not to blame."""


def _fitted(error: FloatArray, told: FloatArray, noise: F64Array) -> F64Array:
    """(B, 2) a and c."""
    out = []
    for e, s, n in zip(error, told, noise, strict=True):
        out.append(variance_model((s**2,), e, min(float(n), (1 - LEAST) * float(deviation(e)) ** 2)))
    return np.array(out)


def _predicted(prepare: Prepare, site: xr.DataTree, date: np.datetime64, window: Window) -> Iterator[_Rehearsal]:
    """Predict the guides next to the date on a window, each from the others."""
    lr = pair_of(site).lr_window(window)
    if any(part.stop <= part.start for part in lr):
        return
    guide, target = read(group(site, "guide"), window), read(group(site, "target"), lr)
    grids = pair_of(site).crop(window, lr)
    values, valid, times = guide["reflectance"].values, guide["valid"].values, guide["time"].values
    mtfs = mtf(group(site, "target"))
    coarse, known = down(values, valid, grids, mtfs)
    coarse = np.where(known[:, None], coarse, np.float32(0))
    series = target["reflectance"].values, target["valid"].values
    _, guide_noise = grain_and_noise(values, valid)
    grain, _ = grain_and_noise(*series)
    lasting = lasting_difference(coarse, known, times, *series, target["time"].values)
    clear = _clear(target, date)
    for k in np.argsort(np.abs(days(times, date)), kind="stable")[:LEFT_OUT].tolist():
        others = np.arange(len(times)) != k
        seen = coarse[k] + lasting.astype(np.float32)[:, None, None]
        for image, band, size in zip(seen, target["band"].values, np.sqrt(grain), strict=True):
            # The same whatever the order of the bands.
            rng = np.random.default_rng([k, *str(band).encode()])
            image += np.float32(size) * rng.standard_normal(image.shape, dtype=np.float32)
        small = make_site(guide.isel(time=others), _with_image(target, times[k], seen, known[k] & clear))
        if not group(small, "guide")["valid"].values.any():
            continue
        out = _whole(prepare(small, times[k]), small, grids)
        use = out["valid"].values & valid[k]
        yield _Rehearsal(
            (out["reflectance"].values - values[k])[:, use],
            out["uncertainty"].values[:, use],
            out["filled"].values[use],
            effective_gap(valid[others], days(times[others], times[k]))[use],
            guide_noise,
        )


def _with_image(target: xr.Dataset, time: np.datetime64, image: FloatArray, valid: BoolArray) -> xr.Dataset:
    """The target series with an image of one date, instead of its own of about that date."""
    rest = target.isel(time=np.abs(days(target["time"].values, time)) > SAME_DAY)
    dates = np.append(rest["time"].values, time)
    order = np.argsort(dates)
    return make_series(
        np.concatenate([rest["reflectance"].values, image[None]])[order],
        np.concatenate([rest["valid"].values, valid[None]])[order],
        dates[order],
        [str(b) for b in target["band"].values],
        target.odc.geobox,
        target.attrs,
    )


def _clear(target: xr.Dataset, date: np.datetime64) -> BoolArray:
    """(y, x) where the LR image of a date is clear; if that is nearly everywhere or nowhere, all but a quarter."""
    at = index_of(target, date)
    clear = np.ones(target["valid"].shape[1:], bool) if at is None else target["valid"].values[at]
    if CLOUDY[0] <= 1 - clear.mean() <= CLOUDY[1]:
        return np.asarray(clear)
    rows = np.arange(clear.shape[0])[:, None]
    return np.broadcast_to(rows >= len(rows) // 4, clear.shape)


def _whole(predictor: Predictor, site: xr.DataTree, grids: GridPair) -> xr.Dataset:
    """Predict all of a small site as one tile."""
    every = slice(None), slice(None)
    guide = read(group(site, "guide"), every, predictor.guides)
    return predictor(Tile(guide, read(group(site, "target"), every, predictor.targets), grids))


def _windows(pair: GridPair) -> Iterator[Window]:
    """The middle of the HR image, then those of its quarters: for where the middle holds nothing."""
    side = math.ceil(max(SIDE, LR_SIDE * pair.ratio))
    for fy, fx in ((2, 2), (1, 1), (1, 3), (3, 1), (3, 3)):
        middles = (pair.hr.shape[0] * fy // 4, pair.hr.shape[1] * fx // 4)
        spans = [
            slice(start := max(0, min(middle - side // 2, n - side)), start + min(side, n))
            for middle, n in zip(middles, pair.hr.shape, strict=True)
        ]
        yield spans[0], spans[1]
