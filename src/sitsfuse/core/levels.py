"""How large the numbers of series are: two that are not in the same unit, or an image without its scale, stand out."""

from __future__ import annotations

import logging
import math

import numpy as np
import xarray as xr

from ..errors import InputError
from .arrays import F64Array
from .grid import Window
from .loading import read
from .site import group

APART = 10.0
"""Factor between the levels of two series from which on they are not in the same unit."""
STRANGE = 100.0
"""Factor between the level of an image and those of its series: snow is 40 times as bright as dark water."""
HIGHEST = 2.0
"""Level beyond which numbers are not a reflectance, whatever is seen."""
SIDE = 48
"""Side of the windows that are looked at, in pixels."""
MOST = 40
"""Images of a series that are looked at, spread evenly."""


def levels(series: xr.Dataset, most: int = MOST) -> tuple[list[int], F64Array]:
    """Positions of images, and the median of the magnitudes of their valid pixels, per image and band.

    Three windows of each image are read. NaN where they hold no valid pixel.
    """
    count, shape = series.sizes["time"], (series.sizes["y"], series.sizes["x"])
    chosen = sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []
    # All images at once where all are looked at: reading a few costs as much as reading many.
    rows = []
    for block in [chosen] if 0 < len(chosen) == count else [[i] for i in chosen]:
        images = series.isel(time=slice(block[0], block[-1] + 1))
        parts = [read(images, window) for window in _windows(shape)]
        for k in range(len(block)):
            values = np.abs(
                np.concatenate([p["reflectance"].values[k][:, p["valid"].values[k]] for p in parts], axis=1)
            )
            rows.append(np.median(values, axis=1) if values.shape[1] else np.full(len(values), np.nan))
    return chosen, np.reshape(rows, (len(chosen), series.sizes["band"])).astype(float)


def _windows(shape: tuple[int, int]) -> list[Window]:
    """Three windows of an image, on its diagonal; all of it where they would cover most of it."""
    if max(shape) <= 2 * SIDE:
        return [(slice(0, shape[0]), slice(0, shape[1]))]
    starts = [[max(0, min(int(n * share) - SIDE // 2, n - SIDE)) for n in shape] for share in (0.2, 0.5, 0.8)]
    return [(slice(y, y + SIDE), slice(x, x + SIDE)) for y, x in starts]


def check_levels(site: xr.DataTree) -> None:
    """Compare the levels of a site's series, and of the images of each.

    Raises
    ------
    InputError
        If guide and target differ by more than a factor of :data:`APART`, or an image differs from its series by more
        than :data:`STRANGE`: their unit or scale cannot be the same.
    """
    found = {}
    for role in ("guide", "target"):
        series = group(site, role)
        if series.sizes["time"]:
            found[role] = _own_level(series, role)
    if len(found) < 2:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = found["target"] / found["guide"]
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    factor = float(np.exp(np.median(np.log(known)))) if known.size else 1.0
    if not 1 / APART <= factor <= APART:
        larger, smaller = ("target", "guide") if factor > 1 else ("guide", "target")
        times = max(factor, 1 / factor)
        what = (
            f"has numbers {times:.0f} times as large as those of the {smaller} (medians of magnitudes: {_pair(found)})"
        )
        option = "`target_options.scale=0.0001`" if larger == "target" else "`scale=0.0001`"
        raise InputError(_where(group(site, larger), larger), what, f"tell its scale, e.g. {option}")


def _own_level(series: xr.Dataset, role: str) -> F64Array:
    """The level of a series, per band; an image that stands out is an error, one that is no reflectance a word."""
    chosen, level = levels(series)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.asarray(_median(level))
        apart = _median((level / whole).T)
    for k, factor in zip(chosen, apart, strict=True):
        if factor > STRANGE or 0 < factor < 1 / STRANGE:
            name = series["product"].values[k] if "product" in series.coords else str(series["time"].values[k])[:10]
            size = f"{factor:.0f} times as large" if factor > 1 else f"{1 / factor:.0f} times as small"
            what = f"holds numbers {size} as those of the other images: it lacks its scale, or they do"
            raise InputError(f"{_where(series, role)}: {name}", what, "set it, e.g. gdal_edit.py -scale 0.0001")
    highest = float(np.nanmax(whole)) if np.isfinite(whole).any() else 0.0
    if str(series.attrs.get("quantity", "reflectance")) == "reflectance" and highest > HIGHEST:
        logging.getLogger("sitsfuse").warning(
            "%s: numbers around %.4g are not reflectance; give `scale`, or say with `quantity` what they are",
            _where(series, role),
            highest,
        )
    return whole


def _median(level: F64Array) -> F64Array:
    """Medians along the first axis of what is known; NaN where nothing is."""
    out = np.full(level.shape[1], np.nan)
    known = np.isfinite(level).any(axis=0)
    if known.any():
        out[known] = np.nanmedian(np.where(np.isfinite(level), level, np.nan)[:, known], axis=0)
    return out


def _where(series: xr.Dataset, role: str) -> str:
    return str(series.attrs.get("source", role))


def _pair(found: dict[str, F64Array]) -> str:
    def middle(values: F64Array) -> str:
        known = values[np.isfinite(values)]
        return f"{float(np.median(known)):.4g}" if known.size else str(math.nan)

    return f"{middle(found['target'])} and {middle(found['guide'])}"
