"""Where a residual is anchored between two sensors, and how much of it is scene: learnt once per site.

``C_p - P↓`` writes into the image whatever the LR sensor lastingly sees otherwise. Where the two sensors show other
details at every guide's date, that bias is learnt from the LR series against the degraded guides and taken off: per
band, per LR pixel, or per LR pixel and date. A level per band is believed where dates that are left out bear it out
(`level`). Which of the others is best is tried at HR: guides are left out and predicted from the others with each. What
differs without lasting is noise to the residual correction (`residual.scene_part`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray, F64Array, FloatArray, Times
from ...core.dates import days
from ...core.grid import Window
from ...core.loading import load
from ...core.site import SiteLayout, group
from ...core.timeline import temporal_weights
from ...operators.coarse import Coarse, hr_window, lr_windows, sampled
from ...operators.residual import correct
from ...operators.updown import up_mask
from .disagreement import FAR, KINDS, SHRINK, Disagreement, biases, level_of
from .in_time import weighted_sum
from .level import believed_level

SIDE = 64
"""Side of a window of the sample, in LR pixels."""
SAMPLED = 4
"""Windows of the sample."""
BETTER = 0.02
"""Relative error at HR that another anchor must save to be chosen."""
FEWEST_GUIDES = 3
"""Guides that must have been left out to choose."""
FEWEST_PIXELS = 200
"""HR pixels of a left-out guide below which it does not count."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """What to take off an LR image before its residual is added, and the noise of what remains."""

    kinds: tuple[str, ...]
    """(B,) anchor of each band, of `KINDS`."""
    noise: FloatArray
    """(2, B) power of what is not scene, in the smooth part of a residual and in its details, in reflectance²."""
    differ: bool = False
    """Whether the two sensors show other details: then a second correction would sharpen what is no scene."""
    errors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Error at HR on left-out guides per anchor and band, where tried: relative to that of the degraded guides, or of a
    level that is believed."""
    level: FloatArray | None = None
    """(B,) bias of each band, in reflectance; None where no band needs one."""
    mean: FloatArray | None = None
    """(B, y, x) that of each LR pixel; None where no band needs it."""
    excess: FloatArray | None = None
    """(T, B, y, x) that of each guide, NaN where unknown; None where no band needs it."""
    times: Times | None = None
    """(T,) dates of the guides."""
    box: GeoBox | None = None
    """The LR grid."""

    @classmethod
    def plain(cls, bands: int) -> Anchor:
        """Nothing is taken off, and everything that remains is scene."""
        return cls(("guides",) * bands, np.zeros((2, bands), np.float32))

    @property
    def choices(self) -> dict[str, Any]:
        """For the record of a run, JSON-safe: anchors, their errors and the noise as a standard deviation."""
        told: dict[str, Any] = {"noise": [round(float(n), 5) for n in np.sqrt(self.noise.sum(axis=0))]}
        if self.errors:
            told["anchor"] = list(self.kinds)
            told["anchor_error"] = {k: [round(e, 4) for e in v] for k, v in self.errors.items()}
        return told

    def bias(self, date: np.datetime64, box: GeoBox) -> FloatArray:
        """What to take off the LR image of a date.

        Parameters
        ----------
        date
            Its date.
        box
            A window of the LR grid; 0 outside of the LR image.

        Returns
        -------
        numpy.ndarray
            (B, y, x) float32, in reflectance.
        """
        out = np.zeros((len(self.kinds), *box.shape), np.float32)
        if self.level is None:
            return out
        out[:] = self.level[:, None, None]
        if self.mean is not None and self.box is not None:
            here, there = _overlap(box, self.box)
            out[:, *here] = self.mean[:, *there]
            if self.excess is not None and self.times is not None:
                excess = self.excess[:, :, *there]
                weights = temporal_weights(np.isfinite(excess[:, 0]), days(self.times, date))
                own = np.einsum("tyx,tbyx->byx", weights, np.nan_to_num(excess))
                of_date = (np.array(self.kinds) == "series")[:, None, None] & (weights.sum(axis=0) > 0)
                out[:, *here] = np.where(of_date, own, out[:, *here])
        for band, kind in enumerate(self.kinds):
            if kind == "guides":
                out[band] = 0
            elif kind == "mean":
                out[band] = self.level[band]
        return out


def learn(site: xr.DataTree) -> Anchor:
    """Learn the anchor of a site from its guides and its LR series.

    Parameters
    ----------
    site
        A site with guides, lazy or not. At most `SAMPLED` windows are read; the whole where a bias per LR pixel pays.
    """
    layout = SiteLayout.of(site)
    pair, bands = layout.grids, len(layout.bands)
    windows = lr_windows(pair, SIDE)
    sample = [windows[i] for i in sampled(windows, SAMPLED)]
    parts = [Coarse.read(site, layout, w) for w in sample]
    found = Disagreement.of(_stacked(parts))
    kinds: tuple[str, ...] = ("guides",) * bands
    errors: dict[str, F64Array] = {}
    differ = bool(found.differ.any())
    believed = believed_level(parts) if differ else None
    noise = found.noise(believed)
    if differ:
        tried = _tried(site, layout, sample, parts, noise, believed)
        kinds, errors = _choose(tried, found.differ, "guides" if believed is None else "mean")
    level = np.stack([noise[kind][:, b] for b, kind in enumerate(kinds)], axis=1).astype(np.float32)
    told = {kind: tuple(float(v) for v in values) for kind, values in errors.items()}
    if set(kinds) == {"guides"}:
        return Anchor(kinds, level, differ, told)
    flat = level_of(found.excess) if believed is None else believed
    if not {"field", "series"} & set(kinds):
        return Anchor(kinds, level, differ, told, flat)
    mean = np.repeat(np.repeat(flat[:, None, None], pair.lr.shape[0], 1), pair.lr.shape[1], 2)
    times = layout.guides
    per_date = np.full((len(times), bands, *pair.lr.shape), np.nan, np.float32) if "series" in kinds else None
    for rows, cols in windows:
        excess = Coarse.read(site, layout, (rows, cols)).excess(FAR)
        count = np.isfinite(excess[:, 0]).sum(axis=0)
        total = np.nan_to_num(excess).sum(axis=0) - count * flat[:, None, None]
        mean[:, rows, cols] += total / (count + np.float32(SHRINK))
        if per_date is not None:
            per_date[:, :, rows, cols] = excess
    return Anchor(kinds, level, differ, told, flat, mean, per_date, times, pair.lr)


def _tried(
    site: xr.DataTree,
    layout: SiteLayout,
    windows: list[Window],
    parts: list[Coarse],
    noise: Mapping[str, F64Array],
    level: FloatArray | None,
) -> dict[str, F64Array]:
    """(K, B) mean squared error of left-out guides at HR, per anchor, by a residual added to their interpolation."""
    guide, mtfs, times, bands = group(site, "guide"), layout.mtf, layout.guides, len(layout.bands)
    square = {kind: np.zeros((len(times), bands)) for kind in KINDS}
    count = np.zeros(len(times))
    for window, part in zip(windows, parts, strict=True):
        hr = hr_window(layout.grids, window, 0)
        block, grids = load(guide, hr), layout.grids.crop(hr, window)
        values, valid = block.values, block.valid
        found = Disagreement.of(part)
        # The first and the last guide would be extrapolated, as few dates are.
        for k in (k for k in found.guides if 0 < k < len(times) - 1):
            others = np.arange(len(times)) != k
            excess, weights = found.without(k)
            if not np.isfinite(excess).any():
                continue
            prior = weighted_sum(temporal_weights(valid[others], found.days[others] - found.days[k]), values[others])
            there = np.asarray(valid[others].any(axis=0))
            image, seen = part.at_guide(k)
            use = up_mask(seen & part.valid[k], grids) & valid[k] & there
            if np.count_nonzero(use) < FEWEST_PIXELS:
                continue
            count[k] += np.count_nonzero(use)
            for kind, bias in biases(excess, weights, level).items():
                freed = np.where(seen, image - bias, np.float32(0)).astype(np.float32)
                full = (1.0,) * bands
                made = correct(prior, there, freed, seen, grids, mtfs, full, 1, noise[kind].astype(np.float32))[0]
                square[kind][k] += ((made - values[k])[:, use] ** 2).sum(axis=1)
    told = count > 0
    return {kind: total[told] / count[told, None] for kind, total in square.items()}


def _choose(
    errors: Mapping[str, F64Array], differ: BoolArray, usual: str
) -> tuple[tuple[str, ...], dict[str, F64Array]]:
    """The anchor of each band, and the error of each relative to that of the usual one."""
    first = errors[usual]
    kinds = [usual if d else KINDS[0] for d in differ]
    if len(first) < FEWEST_GUIDES:
        return tuple(kinds), {}
    ratios = {kind: 0.5 * np.log(np.maximum(e, 1e-20) / np.maximum(first, 1e-20)) for kind, e in errors.items()}
    means = {kind: r.mean(axis=0) for kind, r in ratios.items()}
    sure = {kind: r.std(axis=0, ddof=1) / np.sqrt(len(r)) for kind, r in ratios.items()}
    for band in np.flatnonzero(differ):
        more = KINDS[KINDS.index(usual) + 1 :]
        able = [k for k in more if means[k][band] <= -BETTER and means[k][band] + sure[k][band] < 0]
        kinds[band] = min(able, key=lambda k: float(means[k][band]), default=usual)
    return tuple(kinds), {kind: np.exp(mean) for kind, mean in means.items()}


def _stacked(parts: list[Coarse]) -> Coarse:
    """Windows along a new axis before y, padded as invalid."""
    rows, cols = (max(p.valid.shape[axis] for p in parts) for axis in (-2, -1))

    def padded(arrays: list[Any]) -> Any:
        out = np.zeros((*arrays[0].shape[:-2], len(arrays), rows, cols), arrays[0].dtype)
        for i, a in enumerate(arrays):
            out[..., i, : a.shape[-2], : a.shape[-1]] = a
        return out

    return Coarse(
        padded([p.guide for p in parts]),
        padded([p.valid for p in parts]),
        padded([p.series for p in parts]),
        padded([p.clear for p in parts]),
        parts[0].times,
        parts[0].dates,
    )


def _overlap(box: GeoBox, whole: GeoBox) -> tuple[Window, Window]:
    """Rows and columns that a window of a grid shares with the grid: in the window, and in the grid."""
    to = ~whole.affine @ box.affine
    here, there = [], []
    for start, size, most in ((round(to.f), box.shape[0], whole.shape[0]), (round(to.c), box.shape[1], whole.shape[1])):
        low, high = min(max(start, 0), most), max(min(start + size, most), 0)
        high = max(high, low)
        there.append(slice(low, high))
        here.append(slice(low - start, high - start) if high > low else slice(0, 0))
    return (here[0], here[1]), (there[0], there[1])
