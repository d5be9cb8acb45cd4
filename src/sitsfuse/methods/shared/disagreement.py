"""What an LR series shows otherwise than the guides do: lasting differences, and the power of those that do not last.

The LR series is interpolated to the guides' dates and compared with the degraded guides. What differs there is partly
the other sensor (or noise), partly the days between: the latter is told from the LR series itself, whose every image
can be compared with what its neighbours interpolate to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...core.dates import days
from ...core.timeline import bridge, temporal_weights
from ...operators.coarse import Coarse
from ...operators.residual import SPLIT, split
from ...stats.noise import series_noise, white_noise

FAR = 10.0
"""Days to the nearest LR image beyond which a guide is not compared."""
APART = 45.0
"""Days between LR images beyond which they tell no drift."""
FEWEST = 100
"""LR pixels below which two images are not compared."""
FEWEST_GUIDES = 3
"""Guides that must be compared to tell what always differs."""
SHRINK = 2.0
"""Guides that a pixel needs for its own lasting difference to count as much as the image's."""
ALIKE = 0.7
"""Share of the power of an LR image's details that the degraded guide nearest to it explains from which on the sensors
agree, at the upper quartile of the guides. (Of one sensor it is .86 and more even five days apart; of two, .54 and
less.)"""
ALWAYS = 4.0
"""Power of what differs in details, over what noise and the days between explain, from which on sensors differ."""
MOSTLY = 0.25
"""Quantile of the guides at which that must be; and which tells the noise between sensors that differ. Of sensors that
agree, the least tells it."""

KINDS = ("guides", "mean", "field", "series")
"""Anchors of a residual: the degraded guides; these and a bias per band, per LR pixel, or per LR pixel and date (the LR
series at its own guides' dates)."""


@dataclass(frozen=True, eq=False)
class Disagreement:
    """The LR series against T guides on a sample of LR pixels."""

    excess: FloatArray
    """(T, B, ...) LR series minus degraded guides at their dates, in reflectance; NaN where unknown."""
    valid: BoolArray
    """(T, ...) where the degraded guides are valid."""
    days: F64Array
    """(T,) dates of the guides, from the first one on."""
    explained: F64Array
    """(T, 2, B) power of the smooth part and of the details that the days between explain."""
    white: F64Array
    """(2, B) power of the LR series' white noise in the two parts."""
    alike: F64Array
    """(K, B) share of the power of details that an LR image near a guide shares with it, noise apart, for K guides."""

    @classmethod
    def of(cls, part: Coarse) -> Disagreement:
        """Compare the images of a window, or of several that are stacked."""
        excess = part.excess(FAR)
        enough = np.isfinite(excess[:, 0]).reshape(len(excess), -1).sum(axis=1) >= FEWEST
        excess[~enough] = np.nan
        first = part.times[0] if len(part.times) else part.dates[0]
        at, seen = days(part.times, first), days(part.dates, first)
        drift = drift_of(part, seen)
        lags = np.array([bridge(seen - t) for t in at])
        noise = lr_noise(part, excess, seen, at)
        white = np.array(SPLIT)[:, None] * noise**2
        return cls(excess, part.valid, at, lags[:, None, None] * drift, white, likeness(part, white[1]))

    @property
    def guides(self) -> list[int]:
        """The guides that can be compared."""
        return [k for k, image in enumerate(self.excess) if np.isfinite(image).any()]

    @property
    def differ(self) -> BoolArray:
        """(B,) whether the LR series shows other details than the guides do.

        Either even at the guides where they are most alike, or at nearly every guide by far more than noise and the
        days between explain.
        """
        if len(self.alike) < FEWEST_GUIDES:
            return np.zeros(self.excess.shape[1], bool)
        ratios = [
            powers(self.excess[k])[1] / np.maximum(self.explained[k, 1] + self.white[1], 1e-20) for k in self.guides
        ]
        always = np.quantile(ratios, MOSTLY, axis=0) > ALWAYS if ratios else False
        return np.asarray((np.quantile(self.alike, 1 - MOSTLY, axis=0) < ALIKE) | always)

    def without(self, k: int) -> tuple[FloatArray, FloatArray]:
        """The other guides' excess, and their weights for the date of guide ``k``."""
        others = np.arange(len(self.excess)) != k
        known = np.isfinite(self.excess[others][:, 0])
        return self.excess[others], temporal_weights(known, self.days[others] - self.days[k])

    def noise(self, level: FloatArray | None = None) -> Mapping[str, F64Array]:
        """(2, B) power of what is not scene in a residual, per anchor, in reflectance²; ``level`` as in `biases`.

        It is the least over the guides (of sensors that differ, the lower quartile), each judged by the others: what
        always differs is the sensor; what differs at some dates only is haze, a harvest, the days between.
        """
        found: dict[str, list[F64Array]] = {kind: [] for kind in KINDS}
        for k in self.guides:
            if len(self.excess) < 2:
                continue
            others, weights = self.without(k)
            if not np.isfinite(others).any():
                continue
            for kind, bias in biases(others, weights, level).items():
                found[kind].append(np.maximum(powers(self.excess[k] - bias) - self.explained[k], 0))
        out = {}
        for kind, p in found.items():
            least = np.where(self.differ, np.quantile(p, MOSTLY, axis=0), np.min(p, axis=0)) if p else self.white
            out[kind] = np.maximum(least, self.white) if len(p) >= FEWEST_GUIDES else self.white
        return out


def biases(excess: FloatArray, weights: FloatArray, level: FloatArray | None = None) -> dict[str, FloatArray]:
    """What to take off an LR image before the residual, per anchor, (B, ...).

    Parameters
    ----------
    excess
        (T, B, ...) LR series minus degraded guides, NaN where unknown.
    weights
        (T, ...) weights of the guides in time, among those whose excess is known.
    level
        (B,) lasting difference of the bands, where more than the excess tells it.
    """
    level = level_of(excess) if level is None else level
    shape = (len(level),) + (1,) * (excess.ndim - 2)
    field = field_of(excess, level)
    known = weights.sum(axis=0) > 0
    own = np.einsum("t...,tb...->b...", weights, np.nan_to_num(excess))
    flat = np.broadcast_to(level.reshape(shape), field.shape)
    return {"guides": np.zeros_like(field), "mean": flat, "field": field, "series": np.where(known, own, field)}


def lr_noise(part: Coarse, excess: FloatArray, seen: F64Array, at: F64Array) -> F64Array:
    """Standard deviation of the LR series' white noise, (B,).

    The least that its images show against each other (`series_noise`), where they are near in time, and against the
    degraded guides, whose own noise ↓ averages away.

    Parameters
    ----------
    part, excess
        The images at LR, and what the LR series shows more than the guides do, (T, B, ...), NaN where unknown.
    seen, at
        (S,) and (T,) days of the LR images and of the guides.
    """
    found = [series_noise(part.series, part.clear, seen)]
    for image, day in zip(excess, at, strict=True):
        known = np.isfinite(image[0])
        if known.any():
            # An interpolation of images is less noisy than they are.
            kept = np.mean((temporal_weights(part.clear, seen - day) ** 2).sum(axis=0)[known])
            found.append(white_noise(np.where(known, image, np.float32(0)), known) / np.sqrt(kept))
    told = [noise for noise in found if noise.any()]
    return np.min(told, axis=0) if told else found[0]


def level_of(excess: FloatArray) -> FloatArray:
    """(B,) mean over the guides of the median excess over their pixels."""
    flat = excess.reshape(*excess.shape[:2], -1)
    middles = [np.nanmedian(image, axis=1) for image in flat if np.isfinite(image).any()]
    return np.asarray(np.mean(middles, axis=0), np.float32) if middles else np.zeros(excess.shape[1], np.float32)


def field_of(excess: FloatArray, level: FloatArray) -> FloatArray:
    """(B, ...) mean excess of each pixel over the guides, drawn to the level where few of them tell."""
    known = np.isfinite(excess[:, 0])
    count = known.sum(axis=0)
    shape = (len(level),) + (1,) * (excess.ndim - 2)
    total = np.nan_to_num(excess).sum(axis=0) - count * level.reshape(shape)
    return np.asarray(level.reshape(shape) + total / (count + SHRINK), np.float32)


def powers(image: FloatArray) -> F64Array:
    """(2, B) mean square of the smooth part and of the details of (B, ..., y, x), over the pixels that are finite."""
    known = np.isfinite(image[0])
    parts = split(image, known)
    return np.array([[np.mean(plane[known].astype(np.float64) ** 2) for plane in part] for part in parts])


def likeness(part: Coarse, noise: F64Array) -> F64Array:
    """Share of the power of details that LR images have in common with the degraded guides nearest to them.

    Parameters
    ----------
    part
        The images at LR.
    noise
        (B,) power of the LR series' white noise in details: it is no difference.

    Returns
    -------
    numpy.ndarray
        (K, B) squared correlation of the details, without the noise, at most 1: of the K guides with an LR image near.
    """
    found = []
    for k, gaps in enumerate(np.abs(days(part.dates, t)) for t in part.times):
        j = int(np.argmin(gaps))
        both = part.valid[k] & part.clear[j]
        inner = ndimage.minimum_filter(both.view(np.uint8), (1,) * (both.ndim - 2) + (3, 3), mode="constant") > 0
        if gaps[j] > FAR or np.count_nonzero(inner) < FEWEST:
            continue
        lr, guide = (split(image, both)[1][:, inner].astype(np.float64) for image in (part.series[j], part.guide[k]))
        common = (lr * guide).sum(axis=1) ** 2 / np.maximum((guide**2).sum(axis=1), 1e-20)
        power = (lr**2).sum(axis=1)
        # The noise may come out 20 % low: where it could explain all that differs, the sensors agree.
        scene = np.maximum(power - 1.6 * lr.shape[1] * noise, 0.1 * power)
        found.append(np.minimum(common / np.maximum(scene, 1e-20), 1))
    return np.array(found).reshape(len(found), part.series.shape[1])


def drift_of(part: Coarse, at: F64Array) -> F64Array:
    """(2, B) power per day that an interpolation of the LR series errs by: the median over its images.

    Parameters
    ----------
    part
        The images at LR.
    at
        (S,) days of the LR images.
    """
    found = []
    for j in range(1, len(at) - 1):
        a, b = at[j] - at[j - 1], at[j + 1] - at[j]
        both = part.clear[j - 1] & part.clear[j] & part.clear[j + 1]
        if max(a, b) > APART or np.count_nonzero(both) < FEWEST:
            continue
        share = np.float32(b / (a + b))
        error = part.series[j] - share * part.series[j - 1] - (1 - share) * part.series[j + 1]
        found.append(powers(np.where(both, error, np.float32(np.nan))) * (a + b) / (a * b))
    return np.median(found, axis=0) if found else np.zeros((2, part.series.shape[1]))
