"""Every check of the conventions of a series."""

from __future__ import annotations

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr

from ..errors import InputError
from .grid import check_unrotated, same_grid
from .series import DEFAULT_MTF, geobox, mtf


def check(series: xr.Dataset, where: object = "series") -> xr.Dataset:
    """Check a series against the conventions.

    Parameters
    ----------
    series
        The Dataset to check.
    where
        What to call it in an error: a path, or the series' role.

    Returns
    -------
    xarray.Dataset
        The series itself.

    Raises
    ------
    InputError
        Naming the first thing that is wrong.
    """
    if not isinstance(series, xr.Dataset):
        raise InputError(where, f"is a {type(series).__name__}, not a series", "make one with sitsfuse.series(…)")
    for name, dims in (("reflectance", ("time", "band", "y", "x")), ("valid", ("time", "y", "x"))):
        if name not in series:
            raise InputError(where, f"has no variable {name!r}", "make a series with sitsfuse.series(…)")
        if series[name].dims != dims:
            raise InputError(where, f"{name} has dimensions {series[name].dims}", f"transpose to {dims}")
    if series["reflectance"].dtype != np.float32 or series["valid"].dtype != bool:
        raise InputError(
            where,
            f"reflectance is {series['reflectance'].dtype} and valid {series['valid'].dtype}",
            "convert them to float32 and bool",
        )
    for name in ("time", "band", "y", "x"):
        if name not in series.coords:
            raise InputError(where, f"has no coordinate {name!r}", f"add {name}")
        if series.sizes[name] == 0:
            raise InputError(where, f"has no {name}", "give at least one image with at least one band")
    times = series["time"].values
    if times.dtype.kind != "M":
        raise InputError(where, f"has times of the type {times.dtype}", "give dates (datetime64)")
    if np.any(np.diff(times) <= np.timedelta64(0)):
        repeated = [str(t)[:10] for t in times[1:][np.diff(times) == np.timedelta64(0)]]
        if repeated:
            raise InputError(where, f"has two images of {repeated[0]}", "keep one image per date")
        raise InputError(where, "is not sorted by time", "use sortby('time')")
    names = [str(b) for b in series["band"].values]
    if len(set(names)) < len(names):
        raise InputError(where, f"names a band twice ({', '.join(names)})", "give every band its own name")
    given = series.attrs.get("mtf", DEFAULT_MTF)
    if not np.isscalar(given) and len(given) != len(names):
        raise InputError(where, f"has {len(given)} MTF values for {len(names)} bands", "give one per band")
    if not all(0 < m < 1 for m in mtf(series)):
        raise InputError(where, f"has an MTF outside (0, 1): {given}", "give the MTF at the Nyquist frequency")
    box = geobox(series)
    check_unrotated(box, where)
    for name, step in (("y", box.affine.e), ("x", box.affine.a)):
        # A tenth of a pixel is the noise of float32 coordinates; a missing row is a whole one.
        if np.any(np.abs(np.diff(series[name].values) - step) > 0.1 * abs(step)):
            raise InputError(where, f"has no regular grid: {name} is not evenly spaced", "resample it to one")
    return series


def match_bands(series: xr.Dataset, like: xr.Dataset, where: object = "target") -> xr.Dataset:
    """The bands of ``like``, in its order.

    Raises
    ------
    InputError
        If ``series`` lacks one of them.
    """
    wanted = [str(b) for b in like["band"].values]
    have = [str(b) for b in series["band"].values]
    if wanted == have:
        return series
    missing = [b for b in wanted if b not in have]
    if missing:
        raise InputError(
            where,
            f"has bands {', '.join(have)} but the guide has {', '.join(wanted)}",
            "name the bands of both alike, or map them with `bands`",
        )
    index = [have.index(b) for b in wanted]
    out = series.isel(band=index)
    if not np.isscalar(given := series.attrs.get("mtf", DEFAULT_MTF)):
        out = out.assign_attrs(mtf=[given[i] for i in index])
    return out


def check_same_grid(a: xr.Dataset, b: xr.Dataset, where: object) -> None:
    """Raise :class:`InputError` if two series do not lie on one grid."""
    if not same_grid(geobox(a), geobox(b)):
        raise InputError(where, "lies on another grid", "resample one of them")
