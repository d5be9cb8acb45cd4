"""CARN and DDI together: where guides are far in time, the super-resolved target takes part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ..core.arrays import FloatArray, Times
from ..core.dates import days
from ..core.grid import GridPair, Window
from ..core.loading import load
from ..core.series import geobox
from ..core.timeline import effective_gap, temporal_weights
from ..operators.residual import correct
from ..operators.updown import down
from .base import Tile, result
from .carn import CARN, CARNPlain, CARNPredictor
from .ddi import DDI
from .ddi.predictor import DDIPredictor
from .ddi.study import DDIStudy
from .shared.calibrated import Calibration
from .shared.in_time import weighted_sum
from .shared.rehearsal import Rehearsal

WINDOW, WINDOWS = 300, 3
"""Side in HR pixels, and number, of the windows on which the two are rehearsed."""
NEAREST = 6
"""Guides that take part, those next to the date in time."""
CLEAR = 0.3
"""Least share of pixels at which such a guide can be judged."""
SAMPLED = 4000
"""Most pixels per guide and window."""
HALVES = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, math.inf)
"""Gaps in days, among which the one is chosen at which both predictions weigh the same."""
CAUTION = 4.0
"""Factor of that gap on top: difference interpolation reads two guides, DDI all of them, and so lives better with gaps.
Chosen among 1, 2, 4 and 8 on simulated scenes that no figure was reported of."""


@dataclass(frozen=True)
class CARNDDI(DDI):
    """DDI and CARN, weighted by how long the guides leave a pixel alone: ``P = (1 - w) P_DDI + w P_CARN``.

    The target, super-resolved by CARN, is one image more that the prediction is made of. Its weight is
    ``w = gap / (gap + half)``, the gap that of the days between the valid guides before and after, and 1 where no guide
    is valid. ``half`` is rehearsed on guides next to the date: each in turn is left out, degraded, super-resolved and
    compared, at HR, with what the other guides say (difference interpolation; as much as DDI is better than
    interpolation in time on held-out LR pixels, and four times again, `half` is longer).

    References
    ----------
    See `DDI` and `CARN`; that and how they are joined is ours.
    """

    name: ClassVar[str] = "carn+ddi"
    paper: ClassVar[str] = "Michel et al. 2022 (reconstructed), Ahn et al. 2018"
    min_guides: ClassVar[int] = 1

    model: str = ""
    """Folder of CARN's model; empty: the package's own for these bands and this factor."""
    runtime: str = "auto"
    """What runs it: torch, onnx (onnxruntime), or auto: torch where it can."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # An option that CARN refuses is told at once.
        self._carn()

    def halo(self, ratio: float) -> int:
        """The longer reach of the two."""
        return max(self._carn().halo(ratio), super().halo(ratio))

    def study(self, site: xr.DataTree) -> CARNDDIStudy:  # type: ignore[override]
        """Study the site for DDI and for CARN."""
        carn, ddi = self._carn(), super().study(site)
        return CARNDDIStudy(ddi, carn.examine(site, ()), Rehearsal(carn, ddi.guide, ddi.target))

    def _carn(self) -> CARN:
        return CARN(self.model, runtime=self.runtime, device=self.device)


@dataclass(frozen=True)
class CARNDDIStudy:
    """What DDI and CARN know of a site."""

    ddi: DDIStudy
    carn: CARNPlain
    rehearsal: Rehearsal
    """Of CARN."""

    def fit(self, date: np.datetime64) -> CARNDDIPredictor:
        """Train DDI for one date, and find the weight of CARN; see `DDIStudy.fit`."""
        carn, ddi = self.carn.prepare(date, self.ddi.target), self.ddi.fit(date)
        gaps, mine, theirs = compare(self.ddi.guide, self.ddi.target, carn, date, self.ddi.options.seed)
        half = best_half(gaps, mine, theirs) * gain(ddi) * CAUTION
        return CARNDDIPredictor(ddi, carn, half, self.rehearsal.calibrate(date))


@dataclass(frozen=True)
class CARNDDIPredictor:
    """Predicts one date from the guides and the super-resolved target."""

    ddi: DDIPredictor
    carn: CARNPredictor
    half: float
    """Gap between guides, in days, at which both weigh the same."""
    calibration: Calibration | None = None
    """Of CARN's uncertainty."""

    @property
    def guides(self) -> Times:
        """Those of DDI."""
        return self.ddi.guides

    @property
    def targets(self) -> Times:
        """Those of DDI."""
        return self.ddi.targets

    @property
    def choices(self) -> Mapping[str, Any]:
        """Those of DDI, CARN's model, and the gap at which both weigh the same."""
        half = round(self.half, 1) if math.isfinite(self.half) else None
        return {**self.ddi.choices, **self.carn.choices, "half_weight_days": half}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`. Diagnostic ``weight`` of the guides, as of DDI."""
        guided = self.ddi(tile)
        image, ok = self.carn.image(tile)
        valid = tile.guide_arrays()[1]
        share = weight(effective_gap(valid, days(self.guides, self.targets[0])), self.half) * ok
        own = np.nan_to_num(guided["reflectance"].values)
        deviation = np.nan_to_num(guided["uncertainty"].values)
        alone = np.nan_to_num(self.carn.uncertainty(*tile.target_arrays(), tile.grids))
        if self.calibration is not None:
            alone = self.calibration(alone, ~ok, math.inf)
        extra = {"weight": guided["weight"] * (1 - share)} if "weight" in guided else {}
        return result(
            tile,
            own + share * (image - own),
            guided["valid"].values | ok,
            # As if both erred alike: they miss the same changes.
            deviation + share * (alone - deviation),
            guided["filled"].values,
            **extra,
        )


def weight(gap: FloatArray, half: float) -> FloatArray:
    """Weight of CARN, float32: 0 where the guides are dense, 1 where there is none (an infinite gap)."""
    with np.errstate(invalid="ignore"):
        share = gap / (gap + half) if math.isfinite(half) else np.zeros_like(gap)
    return np.where(np.isinf(gap), 1, share).astype(np.float32)


def compare(
    guide: xr.Dataset, target: xr.Dataset, carn: CARNPredictor, date: np.datetime64, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compare CARN with difference interpolation, on guides that are left out, on a few windows.

    Returns
    -------
    gaps, mine, theirs
        (N,) days between the other guides around a pixel; (N,) error of CARN there and (N,) error of difference
        interpolation, all bands in turn, in units of each band's standard deviation.
    """
    times, pair = guide["time"].values, GridPair(geobox(guide), geobox(target))
    nearest = np.argsort(np.abs(days(times, date)))[:NEAREST]
    found: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    rng = np.random.default_rng(seed)
    for hr in _windows(pair, rng):
        lr = pair.lr_window(hr)
        if any(part.stop <= part.start for part in lr):
            continue
        grids, block = pair.crop(hr, lr), load(guide, hr)
        values, valid = block.values, block.valid
        for k in nearest:
            others = np.arange(len(times)) != k
            ok = valid[k] & valid[others].any(axis=0)
            if ok.mean() < CLEAR:
                continue
            low, seen = down(values[k], valid[k], grids, carn.mtf)
            image, known = carn.at_hr(low, seen, grids)
            offsets = days(times[others], times[k])
            prior = weighted_sum(temporal_weights(valid[others], offsets), values[others])
            strength = (1.0,) * len(prior)
            guided, _, _ = correct(
                prior, valid[others].any(axis=0), low, seen, grids, carn.mtf, strength, carn.iterations
            )
            some = np.flatnonzero(ok & known)
            some = rng.choice(some, SAMPLED, replace=False) if len(some) > SAMPLED else some
            truth = values[k].reshape(len(prior), -1)[:, some]
            if not some.size:
                continue
            scale = np.maximum(truth.std(axis=1, keepdims=True), 1e-6)
            gap = effective_gap(valid[others], offsets).ravel()[some]
            mine, theirs = ((a.reshape(len(a), -1)[:, some] - truth) / scale for a in (image, guided))
            found.append((np.tile(gap, len(prior)), mine.ravel(), theirs.ravel()))
    if not found:
        none = np.empty(0, np.float32)
        return none, none, none
    gaps, mine, theirs = (np.concatenate([f[i] for f in found]) for i in range(3))
    return gaps, mine, theirs


def best_half(gaps: FloatArray, mine: FloatArray, theirs: FloatArray) -> float:
    """The gap at which both weigh the same that makes the mean absolute error least; infinite if CARN is of no use.

    The mean of absolute, not of squared, errors: a few harvests and missed clouds should not decide.
    """
    if not gaps.size:
        return math.inf
    errors = [float(np.abs(theirs + weight(gaps, half) * (mine - theirs)).mean()) for half in HALVES]
    return HALVES[int(np.argmin(errors))]


def gain(ddi: DDIPredictor) -> float:
    """How much smaller DDI's variance is than that of interpolation in time, on held-out LR pixels; at least 1."""
    errors = ddi.choices
    if "final_error" not in errors:
        return 1.0
    return max(1.0, float(errors["temporal_error"] / max(errors["final_error"], 1e-9)) ** 2)


def _windows(pair: GridPair, rng: np.random.Generator) -> list[Window]:
    """A few windows of the HR grid, drawn at random; the whole of a small one."""
    starts = [range(0, max(1, n - WINDOW + 1), WINDOW) for n in pair.hr.shape]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    chosen = rng.permutation(len(corners))[:WINDOWS]
    rows, cols = pair.hr.shape
    return [(slice(y, min(y + WINDOW, rows)), slice(x, min(x + WINDOW, cols))) for y, x in (corners[i] for i in chosen)]
