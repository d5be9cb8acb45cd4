"""One controlled disturbance of a site at a time: pure functions from a site, a level and a seed to a site.

Whatever is random is drawn of the variant and the seed alone: levels of one seed differ in size, not in pattern. At
its base level a variant returns the site as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..core.dates import days
from ..core.site import group
from ..errors import InputError
from .fields import CLOUD, cloudy, shifted, smooth_field

Change = Callable[[xr.DataTree, float, np.random.Generator], dict[str, xr.Dataset]]
"""From a site, a level and random numbers to the series that change, by name."""


@dataclass(frozen=True)
class Variant:
    """A way to disturb a site."""

    study: str
    about: str
    """What is disturbed, in words."""
    unit: str
    """Of its levels."""
    levels: tuple[float, ...]
    """Those that are tried by default, the base first."""
    change: Change

    @property
    def base(self) -> float:
        """The level without disturbance."""
        return self.levels[0]


@dataclass(frozen=True)
class Disturbance:
    """A variant at a level, with the seed of what is random in it."""

    variant: str
    level: float
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Disturbance:
        """Read what ``str`` has written: ``between:0.3#1``."""
        variant, _, rest = text.partition(":")
        level, _, seed = rest.partition("#")
        if variant not in VARIANTS:
            raise InputError("disturbance", f"{variant!r} is unknown", f"choose among {', '.join(VARIANTS)}")
        return cls(variant, float(level), int(seed or 0))

    def __str__(self) -> str:
        return f"{self.variant}:{self.level:g}#{self.seed}"

    def __call__(self, site: xr.DataTree) -> xr.DataTree:
        """The disturbed site; its references stay as they are."""
        variant = VARIANTS[self.variant]
        if self.level == variant.base:
            return site
        rng = np.random.default_rng([zlib.crc32(self.variant.encode()), self.seed])
        changed = variant.change(site, self.level, rng)
        groups = {str(name): group(site, str(name)) for name in site.children} | changed
        tree = xr.DataTree.from_dict(groups)
        tree.attrs.update(site.attrs)
        return tree


# --- revisit ---------------------------------------------------------------------------------------------------


def every(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Guides about every ``level`` days, from a random day on."""
    guide = group(site, "guide")
    since = days(guide["time"].values, guide["time"].values.min())
    wished = np.arange(rng.uniform(0, 1) * level, since.max() + level / 2, level)
    chosen = sorted({int(np.abs(since - day).argmin()) for day in wished})
    return {"guide": guide.isel(time=chosen)}


def at_random(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """As many guides as a revisit of ``level`` days has, on random days."""
    guide = group(site, "guide")
    since = days(guide["time"].values, guide["time"].values.min())
    count = max(2, min(len(since), round(float(since.max()) / level) + 1))
    order = rng.permutation(len(since))
    return {"guide": guide.isel(time=sorted(order[:count].tolist()))}


def season(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """No guide for ``level`` days around a random day of the middle of the period."""
    guide = group(site, "guide")
    since = days(guide["time"].values, guide["time"].values.min())
    middle = rng.uniform(0.3, 0.7) * float(since.max())
    kept = np.flatnonzero(np.abs(since - middle) > level / 2)
    return {"guide": guide.isel(time=kept)}


# --- registration ----------------------------------------------------------------------------------------------


def between(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """All LR images displaced alike, by ``level`` LR pixels in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    target = group(site, "target")
    move = np.tile([level * np.sin(angle), level * np.cos(angle)], (target.sizes["time"], 1))
    return {"target": _moved(target, move)}


def between_dates(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Every LR image displaced by ``level`` LR pixels in a direction of its own."""
    return {"target": _moved(group(site, "target"), _anywhere(group(site, "target"), level, rng))}


def within(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Every guide displaced by ``level`` HR pixels in a direction of its own."""
    return {"guide": _moved(group(site, "guide"), _anywhere(group(site, "guide"), level, rng))}


def _anywhere(series: xr.Dataset, level: float, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, series.sizes["time"])
    return level * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _moved(series: xr.Dataset, move: np.ndarray) -> xr.Dataset:
    """Images displaced by (time, 2) rows and columns."""
    values, valid = _arrays(series)
    for k, (rows, cols) in enumerate(move):
        values[k], valid[k] = shifted(values[k], valid[k], float(rows), float(cols))
    return _with(series, values, valid)


# --- radiometry, clouds, noise ---------------------------------------------------------------------------------


def gain(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """The LR series ``level`` too bright or, of every other seed, too dark, relative."""
    values, valid = _arrays(group(site, "target"))
    return {"target": _with(group(site, "target"), values * np.float32(1 + _sign(rng) * level), valid)}


def offset(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """``level`` added to the LR series or taken from it."""
    values, valid = _arrays(group(site, "target"))
    return {"target": _with(group(site, "target"), values + np.float32(_sign(rng) * level), valid)}


def bias_field(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """A smooth field of standard deviation ``level`` added to the LR series, the same on every date."""
    values, valid = _arrays(group(site, "target"))
    field = level * smooth_field(values.shape[2:], rng)
    return {"target": _with(group(site, "target"), (values + field).astype(np.float32), valid)}


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.uniform() < 0.5 else -1.0


def masked_guides(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Clouds that a mask tells over a share ``level`` of every guide."""
    return {"guide": _clouded(group(site, "guide"), level, rng, told=True)}


def masked_targets(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Clouds that a mask tells over a share ``level`` of every LR image."""
    return {"target": _clouded(group(site, "target"), level, rng, told=True)}


def missed_guides(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """Clouds that no mask tells over a share ``level`` of every guide."""
    return {"guide": _clouded(group(site, "guide"), level, rng, told=False)}


def _clouded(series: xr.Dataset, share: float, rng: np.random.Generator, *, told: bool) -> xr.Dataset:
    values, valid = _arrays(series)
    for k in range(len(values)):
        cloud = cloudy(values.shape[2:], share, rng)
        if told:
            valid[k] &= ~cloud
            values[k][:, cloud] = np.nan
        else:
            values[k][:, cloud] = rng.normal(*CLOUD, int(cloud.sum())).astype(np.float32)
    return _with(series, values, valid)


def noisy_targets(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """White noise of standard deviation ``level`` in the LR series."""
    values, valid = _arrays(group(site, "target"))
    return {"target": _with(group(site, "target"), values + _noise(values, level, rng), valid)}


def noisy_guides(site: xr.DataTree, level: float, rng: np.random.Generator) -> dict[str, xr.Dataset]:
    """White noise of standard deviation ``level`` in the guides."""
    values, valid = _arrays(group(site, "guide"))
    return {"guide": _with(group(site, "guide"), values + _noise(values, level, rng), valid)}


def _noise(values: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    return np.float32(level) * rng.standard_normal(values.shape, np.float32)


def _arrays(series: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Own copies of (time, band, y, x) values and (time, y, x) mask."""
    values = series["reflectance"].transpose("time", "band", "y", "x").values
    return np.array(values, np.float32), np.array(series["valid"].transpose("time", "y", "x").values, bool)


def _with(series: xr.Dataset, values: np.ndarray, valid: np.ndarray) -> xr.Dataset:
    """The series with other images, all in memory."""
    return series.assign(
        reflectance=(("time", "band", "y", "x"), values, series["reflectance"].attrs),
        valid=(("time", "y", "x"), valid, series["valid"].attrs),
    )


VARIANTS: Mapping[str, Variant] = {
    "regular": Variant("revisit", "time between guides", "days", (5, 10, 15, 20, 30, 40, 60), every),
    "random": Variant("revisit", "mean time between guides on random days", "days", (5, 10, 20, 30, 60), at_random),
    "season": Variant("revisit", "time without guides, once", "days", (0, 45, 90), season),
    "between": Variant(
        "registration", "LR series against HR series, constant", "LR pixels", (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1), between
    ),
    "between-dates": Variant(
        "registration", "LR images, each its own way", "LR pixels", (0, 0.05, 0.1, 0.2, 0.3, 0.5, 1), between_dates
    ),
    "within": Variant("registration", "guides, each its own way", "HR pixels", (0, 0.1, 0.2, 0.3, 0.5, 1, 2), within),
    "gain": Variant("radiometry", "gain of the LR series", "relative", (0, 0.01, 0.02, 0.05, 0.1), gain),
    "offset": Variant("radiometry", "offset of the LR series", "reflectance", (0, 0.002, 0.005, 0.01), offset),
    "field": Variant("radiometry", "bias that varies in space", "reflectance", (0, 0.002, 0.005, 0.01), bias_field),
    "masked-guides": Variant("clouds", "clouds over guides, masked", "share", (0, 0.2, 0.4, 0.6, 0.8), masked_guides),
    "masked-targets": Variant(
        "clouds", "clouds over LR images, masked", "share", (0, 0.2, 0.4, 0.6, 0.8), masked_targets
    ),
    "missed-guides": Variant("clouds", "clouds over guides, missed", "share", (0, 0.02, 0.05, 0.1, 0.2), missed_guides),
    "noise-targets": Variant(
        "noise", "noise of LR images", "reflectance", (0, 0.002, 0.005, 0.01, 0.02), noisy_targets
    ),
    "noise-guides": Variant("noise", "noise of guides", "reflectance", (0, 0.002, 0.005, 0.01, 0.02), noisy_guides),
}
"""By name, in the order of the studies."""
