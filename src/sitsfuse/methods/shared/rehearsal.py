"""Uncertainties calibrated by rehearsal: guides that are left out are predicted, and compared with.

A method's own rule tells where errors are larger, seldom how large. So a few guides near the date are left out, one at
a time; degraded, each stands for the LR image of its date, with the clouds of the date to predict, the noise of the
target series and what that lastingly differs from the guides. The method predicts them on a window, and the squares of
its errors are fitted by ``a σ² + c`` per band, where the target is clear and where it is not. The other guides lie
further from the one left out than from the date, which is on the safe side.

Of all this a date changes the clouds and the choice of guides; the rest is made once per site (`Stage`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...core.dates import days, index_of
from ...core.grid import GridPair, Window
from ...core.loading import read
from ...core.series import geobox, make_series, mtf
from ...core.site import group, make_site
from ...core.timeline import effective_gap
from ...operators.updown import down
from ...runtime.memo import Memo
from ...stats.noise import FEWEST, grain_and_noise
from ..base import Predictor, Tile
from .calibrated import Calibrated, Calibration
from .calibration import LEAST, deviation, lasting_difference, variance_model

LEFT_OUT = 3
"""Guides that are left out, those next to the date."""
SIDE, LR_SIDE = 150, 24
"""Side of the window in HR pixels, and at least in LR pixels."""
CLOUDY = (0.1, 0.9)
"""Share of clouds in the window's LR image outside which its upper quarter is taken for cloudy instead."""
SAME_DAY = 1.0
"""Days around a guide within which other LR images take no part: the degraded guide stands for them."""


class Plain(Protocol):
    """What a rehearsed method knows of a site before it knows the date; see `base.Study`."""

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> Predictor:
        """Prepare the prediction of one date, its uncertainty by the method's own rule.

        Parameters
        ----------
        date
            The date to predict.
        target
            The LR series, as it was when the site was examined but for the image of that date: in a rehearsal, that is
            a degraded guide.
        """
        ...


class Rehearsed(ABC):
    """A method whose uncertainty is calibrated by rehearsal: it defines `examine`, and `describe` if that saves work.

    A rehearsal examines the site without the guide that is left out. What `describe` found in the other guides is not
    sought again.
    """

    def describe(self, guide: xr.Dataset) -> Sequence[Any]:
        """What the method finds in each guide by itself, (time,); by default nothing."""
        return [None] * guide.sizes["time"]

    @abstractmethod
    def examine(self, site: xr.DataTree, found: Sequence[Any]) -> Plain:
        """Learn of a site what no date changes, but for the calibration.

        Parameters
        ----------
        site
            The site.
        found
            What `describe` has found in its guides.
        """

    def study(self, site: xr.DataTree) -> RehearsedStudy:
        """Learn what no date changes; see `base.Method`."""
        guide, target = group(site, "guide"), group(site, "target")
        return RehearsedStudy(self.examine(site, self.describe(guide)), Rehearsal(self, guide, target))


@dataclass(frozen=True)
class RehearsedStudy:
    """What is known of a site, and how the method does on guides that are left out."""

    plain: Plain
    rehearsal: Rehearsal

    def fit(self, date: np.datetime64) -> Calibrated:
        """Prepare the prediction of one date, and rehearse it on a window of the site."""
        return Calibrated(self.plain.prepare(date, self.rehearsal.target), date, self.rehearsal.calibrate(date))


@dataclass(frozen=True)
class Rehearsal:
    """Leaves guides out of a site and predicts them, to calibrate a method's uncertainty."""

    method: Rehearsed
    guide: xr.Dataset
    target: xr.Dataset
    memo: Memo = field(default_factory=Memo, compare=False)
    """Stages by number, made when a date first needs them; and guides that were left out under the standing clouds."""

    def calibrate(self, date: np.datetime64) -> Calibration | None:
        """Calibrate the prediction of a date; None if no guide can be left out and predicted."""
        if self.guide.sizes["time"] < 2:
            return None
        for number, window in enumerate(_windows(GridPair(geobox(self.guide), geobox(self.target)))):
            stage = self.memo(number, partial(Stage.of, self.method, self.guide, self.target, window))
            found = [] if stage is None else list(self._left_out(number, stage, date))
            if sum(f.error.shape[1] for f in found) >= FEWEST:
                return _calibration(found)
        return None

    def _left_out(self, number: int, stage: Stage, date: np.datetime64) -> Iterator[LeftOut]:
        """The guides next to the date, each predicted from the others."""
        standing, clear = _clear(stage.target, date)
        for k in np.argsort(np.abs(days(stage.guide["time"].values, date)), kind="stable")[:LEFT_OUT].tolist():
            make = partial(stage.leave_out, k, clear)
            found = self.memo((number, k), make) if standing else make()
            if found is not None:
                yield found


@dataclass(frozen=True)
class Stage:
    """A window of a site, and what of a rehearsal on it no date changes."""

    method: Rehearsed
    guide: xr.Dataset
    """The guides there."""
    target: xr.Dataset
    """The LR series there."""
    grids: GridPair
    seen: FloatArray
    """(time, band, y, x) each guide as the LR sensor would show it: degraded, with its noise and lasting difference."""
    known: BoolArray
    """(time, y, x) where."""
    noise: F64Array
    """(band,) variance of the sensor's noise in a guide: the errors hold it, and the prediction is not to blame."""
    found: Sequence[Any]
    """(time,) what the method finds in each guide."""
    memo: Memo = field(default_factory=Memo, compare=False)
    """What the method knows of the window without a guide."""

    @classmethod
    def of(cls, method: Rehearsed, guide: xr.Dataset, target: xr.Dataset, window: Window) -> Stage | None:
        """Read a window of a site; None without LR pixels there."""
        pair = GridPair(geobox(guide), geobox(target))
        lr = pair.lr_window(window)
        if any(part.stop <= part.start for part in lr):
            return None
        guide, mtfs, target = read(guide, window), mtf(target), read(target, lr)
        grids = pair.crop(window, lr)
        values, valid = guide["reflectance"].values, guide["valid"].values
        coarse, known = down(values, valid, grids, mtfs)
        coarse = np.where(known[:, None], coarse, np.float32(0))
        series = target["reflectance"].values, target["valid"].values
        _, noise = grain_and_noise(values, valid)
        grain, _ = grain_and_noise(*series)
        lasting = lasting_difference(coarse, known, guide["time"].values, *series, target["time"].values)
        seen = coarse + lasting.astype(np.float32)[:, None, None]
        for k, images in enumerate(seen):
            for image, band, size in zip(images, target["band"].values, np.sqrt(grain), strict=True):
                # The same whatever the order of the bands.
                rng = np.random.default_rng([k, *str(band).encode()])
                image += np.float32(size) * rng.standard_normal(image.shape, dtype=np.float32)
        return cls(method, guide, target, grids, seen, known, noise, method.describe(guide))

    def leave_out(self, k: int, clear: BoolArray) -> LeftOut | None:
        """Predict a guide from the others, the LR image being clear where it is said to be, (y, x).

        None if there is nothing to predict it from.
        """
        values, valid, times = (self.guide[name].values for name in ("reflectance", "valid", "time"))
        others = np.arange(len(times)) != k
        guide = self.guide.isel(time=others)
        if not guide["valid"].values.any():
            return None
        plain = self.memo(k, partial(self._examined, guide, k))
        target = self._with_image(k, self.known[k] & clear)
        predictor = plain.prepare(times[k], target)
        every = slice(None), slice(None)
        images = read(guide, every, predictor.guides), read(target, every, predictor.targets)
        out = predictor(Tile(*images, self.grids))
        use = out["valid"].values & valid[k]
        return LeftOut(
            (out["reflectance"].values - values[k])[:, use],
            out["uncertainty"].values[:, use],
            out["filled"].values[use],
            effective_gap(valid[others], days(times[others], times[k]))[use],
            self.noise,
        )

    def _examined(self, guide: xr.Dataset, k: int) -> Plain:
        """What the method knows without a guide, and without the LR image of its date, which it is to see later."""
        blind = self._with_image(k, np.zeros_like(self.known[k]))
        return self.method.examine(make_site(guide, blind), [f for i, f in enumerate(self.found) if i != k])

    def _with_image(self, k: int, valid: BoolArray) -> xr.Dataset:
        """The target series with what it would show of a guide, instead of its own images of about that date."""
        time, target = self.guide["time"].values[k], self.target
        rest = target.isel(time=np.abs(days(target["time"].values, time)) > SAME_DAY)
        dates = np.append(rest["time"].values, time)
        order = np.argsort(dates)
        return make_series(
            np.concatenate([rest["reflectance"].values, self.seen[k][None]])[order],
            np.concatenate([rest["valid"].values, valid[None]])[order],
            dates[order],
            [str(b) for b in target["band"].values],
            geobox(target),
            target.attrs,
        )


@dataclass(frozen=True)
class LeftOut:
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
    """(B,) variance of the sensor's noise in it."""


def _calibration(found: Sequence[LeftOut]) -> Calibration | None:
    """What makes the uncertainty of the guides that were left out hold; None if they are too few."""
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


def _fitted(error: FloatArray, told: FloatArray, noise: F64Array) -> F64Array:
    """(B, 2) a and c."""
    out = []
    for e, s, n in zip(error, told, noise, strict=True):
        out.append(variance_model((s**2,), e, min(float(n), (1 - LEAST) * float(deviation(e)) ** 2)))
    return np.array(out)


def _clear(target: xr.Dataset, date: np.datetime64) -> tuple[bool, BoolArray]:
    """(y, x) where the LR image of a date is clear; if that is nearly everywhere or nowhere, all but a quarter.

    And whether it is the latter: these clouds stand, whatever the date.
    """
    at = index_of(target, date)
    clear = np.ones(target["valid"].shape[1:], bool) if at is None else target["valid"].values[at]
    if CLOUDY[0] <= 1 - clear.mean() <= CLOUDY[1]:
        return False, np.asarray(clear)
    rows = np.arange(clear.shape[0])[:, None]
    return True, np.broadcast_to(rows >= len(rows) // 4, clear.shape)


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
