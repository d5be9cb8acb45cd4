"""What a guide may show, by the LR images and the other guides around its date: arrays in, distances out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.arrays import BoolArray, F64Array, FloatArray, IntArray
from ..core.dates import days
from ..core.timeline import bridge
from ..operators.coarse import Coarse

NEAR = 10.0
"""Days within which an LR image tells how a guide usually differs from the LR series."""
REACH = 25.0
"""Days within which LR images tell what a guide may show."""
EACH = 2
"""Clear LR images that are looked at before and after a guide, the nearest."""
CHANGE = 4.0
"""The spread of what a guide may show counts as this part of a usual difference: where the land changes fast it may
have been elsewhere in between."""
ONE_SIDED = 2.0
"""What a distance is divided by where LR images are known on one side only."""
FEWEST_GUIDES = 3
"""Guides with an LR image near in time below which nothing is judged."""
FEWEST_PIXELS = 50
"""LR pixels below which a guide is not judged."""
SHRINK = 2.0
"""Guides that a pixel needs for its own lasting difference to count as much as that of the image."""


@dataclass(frozen=True, eq=False)
class Usual:
    """What is usual between the LR series and the degraded guides."""

    excess: FloatArray
    """(B,) what the LR series shows more than the guides do, in reflectance."""
    scatter: FloatArray
    """(B,) robust standard deviation of that over pixels, in reflectance: of the guides, the middle one's."""
    drift: FloatArray
    """(B,) variance per day of what the LR series changes, in reflectance²: of neighbours, the middle pair's."""
    lag: float
    """Days that the LR series is interpolated over at a guide's date (`bridge`): of the guides, the middle one's."""

    @classmethod
    def of(cls, windows: list[Coarse]) -> Usual | None:
        """From some windows; None where fewer than three guides tell."""
        flat = np.concatenate([e.reshape(*e.shape[:2], -1) for e in (w.excess(NEAR) for w in windows)], axis=-1)
        at = days(windows[0].dates, windows[0].dates[0])
        middles, scatters, lags = [], [], []
        for time, image in zip(windows[0].times, flat, strict=True):
            some = image[:, np.isfinite(image).all(axis=0)]
            if some.shape[1] >= FEWEST_PIXELS:
                middles.append(middle := np.median(some, axis=1))
                scatters.append(1.4826 * np.median(np.abs(some - middle[:, None]), axis=1))
                lags.append(bridge(days(windows[0].dates, time)))
        if len(middles) < FEWEST_GUIDES:
            return None
        scatter = np.maximum(np.median(scatters, axis=0), 1e-6)
        drifts = []
        for j, gap in enumerate(np.diff(at)):
            both = [w.clear[j] & w.clear[j + 1] for w in windows]
            pairs = zip(windows, both, strict=True)
            change = np.concatenate([(w.series[j + 1] - w.series[j])[:, b] for w, b in pairs], axis=1)
            if change.shape[1] >= FEWEST_PIXELS:
                drifts.append((1.4826 * np.median(np.abs(change), axis=1)) ** 2 / gap)
        drift = np.median(drifts, axis=0) if drifts else np.zeros_like(scatter)
        excess = np.median(middles, axis=0).astype(np.float32)
        return cls(excess, scatter.astype(np.float32), drift.astype(np.float32), float(np.median(lags)))

    def at(self, offsets: F64Array) -> FloatArray:
        """(B,) usual difference at a date from which the LR images are ``offsets`` days away."""
        more = max(bridge(offsets) - self.lag, 0.0)
        return np.asarray(np.sqrt(self.scatter**2 + np.float32(more) * self.drift), np.float32)


def distances(part: Coarse, usual: Usual) -> tuple[FloatArray, BoolArray]:
    """How far guides lie outside of what the LR series and the other guides allow.

    A guide may show anything between the least and the largest of: the two nearest clear LR images before and after
    it, plus what guides usually show more, and the nearest valid guides before and after it.

    Parameters
    ----------
    part
        The images at LR.
    usual
        What is usual.

    Returns
    -------
    distance, judged
        (T, y, x) float32, the largest over the bands, in usual differences, 0 where not judged; and where there is
        evidence: LR images on both sides (or two on one side, one of them near), and another guide.
    """
    bias = -_lasting(part.excess(NEAR), usual.excess)
    distance, judged = np.zeros(part.valid.shape, np.float32), np.zeros(part.valid.shape, bool)
    for k, near in enumerate(part.near(NEAR)):
        offsets = days(part.dates, part.times[k])
        low, high, sides = _allowed(part, offsets, bias)
        both = sides.min(axis=0) > 0
        # A single image on one side may itself be cloudy.
        seen = (both | (near & (sides.max(axis=0) >= EACH))) & part.valid[k]
        low, high, others = _with_guides(part, k, low, high)
        judged[k] = seen & others
        with np.errstate(invalid="ignore"):  # inf - inf where nothing is known
            outside = np.maximum(np.maximum(low - part.guide[k], part.guide[k] - high), 0)
            far = (outside / (usual.at(offsets)[:, None, None] + (high - low) / np.float32(CHANGE))).max(axis=0)
        distance[k] = np.where(judged[k], np.where(both, far, far / np.float32(ONE_SIDED)), np.float32(0))
    return distance, judged


def _lasting(excess: FloatArray, usual: FloatArray) -> FloatArray:
    """(B, y, x) what the LR series lastingly shows more: a pixel's own median, drawn to the image's where few tell."""
    count = np.isfinite(excess[:, 0]).sum(axis=0)
    out = np.broadcast_to(usual[:, None, None], excess.shape[1:]).copy()
    some = count > 0
    if some.any():
        own = np.nanmedian(excess[:, :, some], axis=0)
        out[:, some] += (own - usual[:, None]) * (count[some] / (count[some] + SHRINK)).astype(np.float32)
    return out


def _allowed(part: Coarse, offsets: F64Array, bias: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Least and largest of the LR images around a date, (B, y, x), and how many are before and after, (2, y, x)."""
    low = np.full(part.guide.shape[1:], np.inf, np.float32)
    high, sides = -low, np.zeros((2, *part.valid.shape[1:]), np.intp)
    for side, ahead in enumerate((-offsets, offsets)):
        for i in np.argsort(ahead, kind="stable"):
            if not 0 <= ahead[i] <= REACH:
                continue
            use = part.clear[i] & (sides[side] < EACH)
            sides[side] += use
            low, high = _widened(low, high, part.series[i] + bias, use)
    return low, high, sides


def _with_guides(part: Coarse, k: int, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Widen the bounds by the nearest valid guides before and after; and where there is one, (y, x)."""
    found = np.zeros(part.valid.shape[1:], bool)
    for order in (range(k - 1, -1, -1), range(k + 1, len(part.valid))):
        missing = part.valid[k].copy()
        for i in order:
            use = part.valid[i] & missing
            low, high = _widened(low, high, part.guide[i], use)
            missing &= ~use
            found |= use
            if not missing.any():
                break
    return low, high, found


def _widened(low: FloatArray, high: FloatArray, image: FloatArray, use: BoolArray) -> tuple[FloatArray, FloatArray]:
    return np.where(use, np.minimum(low, image), low), np.where(use, np.maximum(high, image), high)
