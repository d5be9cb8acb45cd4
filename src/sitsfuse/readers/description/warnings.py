"""What looks wrong with a series or a site."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.grid import GridPair
from ...core.levels import check_levels, levels
from ...core.site import make_site
from ...errors import InputError

GAP_DAYS = 60.0
"""Days between two images that are worth a warning."""
TWIN_HOURS = 12.0
"""Hours within which two images count as twice the same date."""
NOT_REFLECTANCE = 2.0
"""Percentile of values beyond which they do not look like a reflectance (or an index)."""

UNEVEN = 1.5
"""Factor between the medians of a band in two series that is worth a warning."""


def date_warnings(times: npt.NDArray[Any], dates: list[str], shares: list[float], longest: float) -> Iterator[str]:
    """All-invalid dates, long gaps between the others, and dates that come twice."""
    empty = [d for d, s in zip(dates, shares, strict=True) if s == 0]
    if empty:
        yield f"no valid pixel on {', '.join(empty)}"
    usable = [i for i, s in enumerate(shares) if s > 0]
    steps = np.diff(times[usable]) / np.timedelta64(1, "D")
    for step, i, j in zip(steps, usable[:-1], usable[1:], strict=True):
        if step > longest:
            yield f"no valid image for {step:.0f} days, {dates[i]} to {dates[j]}"
    hours = np.diff(times) / np.timedelta64(1, "h")
    for date, gap in zip(dates, hours, strict=False):
        if gap < TWIN_HOURS:
            yield f"two images within {gap:.0f} h of each other on {date}: keep one"


def twin_warnings(dates: list[str], samples: list[npt.NDArray[np.float32]]) -> Iterator[str]:
    """Neighbouring dates with the same image."""
    for i, (a, b) in enumerate(itertools.pairwise(samples)):
        if a.shape != b.shape:
            continue
        both = np.isfinite(a) & np.isfinite(b)
        # A constant image (a test scene, a filled one) is not evidence.
        if both.any() and np.ptp(a[both]) > 0 and np.mean(a[both] == b[both]) > 0.99:
            yield f"{dates[i]} and {dates[i + 1]} hold the same image: one may be a copy"


def value_warnings(bands: tuple[str, ...], values: npt.NDArray[np.float32]) -> Iterator[str]:
    """Values that do not look like a reflectance: one warning for all bands of a kind."""
    whole: dict[str, float] = {}
    others: dict[str, float] = {}
    for band, row in zip(bands, values, strict=True):
        high = max((abs(v) for v in percentiles(row)), default=math.nan)
        if high > NOT_REFLECTANCE:
            known = row[np.isfinite(row)]
            (whole if np.all(known == np.rint(known)) else others)[band] = high
    if whole:
        yield (
            f"{', '.join(whole)}: whole numbers up to {max(whole.values()):.0f} look like unscaled integers; "
            "give `scale=0.0001`, or set it in the files, e.g. gdal_edit.py -scale 0.0001"
        )
    if others:
        high = max(others.values())
        yield (
            f"{', '.join(others)}: values up to {high:.4g} are not reflectance; if they should not be, say so with "
            "`quantity`"
        )


def band_warnings(guide: xr.Dataset, other: xr.Dataset, name: str) -> Iterator[str]:
    """Bands that one of two series lacks."""
    mine, theirs = ([str(b) for b in s["band"].values] for s in (guide, other))
    missing = [b for b in mine if b not in theirs]
    if missing:
        yield (
            f"{name}: has no band {', '.join(missing)} of the guide's (it has {', '.join(theirs)}); "
            "map the bands, or name both alike"
        )


def alignment_warnings(pair: GridPair, name: str) -> Iterator[str]:
    """Where the LR grid's origin lies, if not on a corner of an HR pixel."""
    offsets = (pair.x.offset + 0.0, pair.y.offset + 0.0)  # no -0
    if any(abs(o - round(o)) > 1e-3 for o in offsets):
        yield f"{name}: grids are not aligned: its origin lies at x {offsets[0]:g}, y {offsets[1]:g} guide pixels"


def outside_warnings(guide: xr.Dataset, target: xr.Dataset, name: str) -> Iterator[str]:
    """Target dates before the first or after the last guide."""
    first, last = guide["time"].values[[0, -1]]
    times = target["time"].values
    count = int(np.sum((times < first) | (times > last)))
    if count:
        yield f"{name}: {count} of {times.size} dates lie before the first or after the last guide"


def unit_warnings(guide: xr.Dataset, target: xr.Dataset) -> Iterator[str]:
    """Two series in different units, as `sitsfuse fuse` refuses them."""
    bands = common_bands(guide, target)
    try:
        if bands:
            check_levels(make_site(*(s.sel(band=bands) for s in (guide, target))))
    except InputError as error:
        yield f"{error.where}: {error.problem}; {error.mend}"


def fit_notes(guide: xr.Dataset, target: xr.Dataset, pair: GridPair, name: str) -> Iterator[str]:
    """How much of the guides an LR series covers, and bands that are brighter or darker in it."""
    covered = 1.0
    for axis in (pair.y, pair.x):
        inside = min(axis.n_hr, axis.offset + axis.ratio * axis.n_lr) - max(0.0, axis.offset)
        covered *= max(inside, 0.0) / axis.n_hr
    if covered < 0.999:
        yield f"{name}: covers {covered:.0%} of the guides' area".replace("%", " %")
    bands = common_bands(guide, target)
    try:
        (_, first), (_, second) = (levels(s.sel(band=bands)) for s in (guide, target))
    except InputError:
        return  # an image that cannot be read is named with its series
    for band, a, b in zip(bands, first.T, second.T, strict=True):
        known = a[np.isfinite(a)], b[np.isfinite(b)]
        ratio = float(np.median(known[1]) / np.median(known[0])) if all(k.size and np.median(k) for k in known) else 1.0
        if not 1 / UNEVEN < ratio < UNEVEN:
            yield f"{name}: {band} is {ratio:.2g} times as bright as in the guides; `sitsfuse prepare` harmonises them"


def common_bands(guide: xr.Dataset, target: xr.Dataset) -> list[str]:
    """The bands that both series have, in the order of the guide's."""
    other = {str(b) for b in target["band"].values}
    return [str(b) for b in guide["band"].values if str(b) in other]


def percentiles(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """The 1st and the 99th percentile of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    if not known.size:
        return (math.nan, math.nan)
    low, high = np.percentile(known, (1, 99))
    return (float(low), float(high))
