"""The data model: a series of images is an ``xarray.Dataset``, a site is an ``xarray.DataTree`` of series.

A series holds ``reflectance(time, band, y, x)`` float32, read only where ``valid(time, y, x)`` is true, on a grid
described by ``x``, ``y`` and ``spatial_ref``. Every check of these conventions lives here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from affine import Affine
from dask.base import is_dask_collection
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from .errors import InputError
from .grid import GridPair, Window, check_unrotated, same_grid
from .timeline import days, interpolate

DEFAULT_MTF = 0.3
"""MTF at Nyquist of a sensor of which nothing is known."""


def make_series(
    reflectance: Any,
    valid: Any,
    times: npt.ArrayLike,
    bands: Sequence[str],
    geobox: GeoBox,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Build a series from arrays (NumPy or dask).

    Parameters
    ----------
    reflectance
        (time, band, y, x) float32.
    valid
        (time, y, x) bool.
    times
        (time,) dates.
    bands
        Band names.
    geobox
        The grid.
    attrs
        Attributes (sensor, mtf, history, provenance).

    Returns
    -------
    xarray.Dataset
    """
    coords: dict[Hashable, Any] = dict(xr_coords(geobox, dims=("y", "x")))
    coords["time"] = ("time", np.asarray(times, dtype="datetime64[ns]"))
    coords["band"] = ("band", band_labels(bands))
    reflectance = xr.Variable(("time", "band", "y", "x"), reflectance, {"grid_mapping": "spatial_ref"})
    mask = xr.Variable(("time", "y", "x"), valid, {"grid_mapping": "spatial_ref"})
    return xr.Dataset({"reflectance": reflectance, "valid": mask}, coords=coords, attrs=dict(attrs or {}))


def make_site(
    guide: xr.Dataset,
    target: xr.Dataset,
    reference: xr.Dataset | None = None,
    **attrs: Any,
) -> xr.DataTree:
    """Join series to a site and check that they fit together.

    Parameters
    ----------
    guide
        The HR series.
    target
        The LR series, with the guide's bands in any order; it is put in the guide's order.
    reference
        HR images to compare with.
    **attrs
        Attributes of the site (name, landscape, location).

    Returns
    -------
    xarray.DataTree
        With the groups ``guide``, ``target`` and, if given, ``reference``; attribute ``ratio``.

    Raises
    ------
    InputError
        If a series breaks the conventions, bands differ or the grids do not fit.
    """
    guide, target = check(guide, "guide"), check(target, "target")
    target = match_bands(target, guide, "target")
    pair = GridPair(geobox(guide), geobox(target))
    groups = {"guide": guide, "target": target}
    if reference is not None:
        reference = match_bands(check(reference, "reference"), guide, "reference")
        groups["reference"] = reference
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(attrs, ratio=pair.ratio)
    return tree


def target_alone(target: xr.Dataset, factor: float, **attrs: Any) -> xr.DataTree:
    """A site without guides: its HR grid is that of the target, with pixels divided by ``factor``.

    Parameters
    ----------
    target
        The LR series.
    factor
        LR pixel size over HR pixel size.
    **attrs
        Attributes of the site (name, landscape, location).

    Returns
    -------
    xarray.DataTree
        Its series ``guide`` has a grid and bands, but no image.

    Raises
    ------
    InputError
        If the series breaks the conventions or the factor is not above 1.
    """
    target = check(target, "target")
    if not 1 < factor < np.inf:
        raise InputError("factor", f"{factor:g} is not above 1", "give the LR over the HR pixel size, e.g. 2.5")
    low, bands = geobox(target), [str(b) for b in target["band"].values]
    rows, cols = (int(n * factor + 1e-6) for n in low.shape)
    box = GeoBox((rows, cols), low.affine @ Affine.scale(1 / factor), low.crs)
    none = np.empty((0, len(bands), rows, cols), np.float32), np.empty((0, rows, cols), bool)
    tree = xr.DataTree.from_dict({"guide": make_series(*none, [], bands, box), "target": target})
    tree.attrs.update(attrs, ratio=GridPair(box, low).ratio)
    return tree


def group(site: xr.DataTree, name: str) -> xr.Dataset:
    """A series of a site, as a Dataset."""
    if name not in site.children:
        known = ", ".join(site.children) or "none"
        raise InputError(site.name or "site", f"has no series {name!r} (it has: {known})", f"add {name}/")
    return site[name].to_dataset()


def pair_of(site: xr.DataTree) -> GridPair:
    """The grids of a site's guide and target."""
    return GridPair(geobox(group(site, "guide")), geobox(group(site, "target")))


def finite_image(
    image: xr.Dataset, window: Window | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values (band, y, x) of one date and where all of its bands are valid and finite (y, x), perhaps of a window."""
    part = image[["reflectance", "valid"]]
    if window is not None:
        part = part.isel(y=window[0], x=window[1])
    loaded = part.compute(scheduler="synchronous") if is_dask_collection(part) else part.compute()
    values, valid = loaded["reflectance"].values, loaded["valid"].values
    return values, valid & np.isfinite(values).all(axis=0)


def geobox(series: xr.Dataset) -> GeoBox:
    """The grid of a series.

    Raises
    ------
    InputError
        If the series has no regular grid.
    """
    box = series.odc.geobox
    if not isinstance(box, GeoBox):
        raise InputError("series", "has no regular grid", "give it evenly spaced x and y coordinates")
    return box


def mtf(series: xr.Dataset) -> list[float]:
    """MTF at Nyquist per band, from the attribute ``mtf`` (a number or a list), else 0.3."""
    value = series.attrs.get("mtf", DEFAULT_MTF)
    bands = series.sizes["band"]
    return [float(v) for v in np.broadcast_to(value, bands)]


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
    for name, dims in (("reflectance", ("time", "band", "y", "x")), ("valid", ("time", "y", "x"))):
        if name not in series:
            raise InputError(where, f"has no variable {name!r}", "see the data model in the documentation")
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
            "name the bands of both alike, or map them with --bands",
        )
    index = [have.index(b) for b in wanted]
    out = series.isel(band=index)
    if not np.isscalar(given := series.attrs.get("mtf", DEFAULT_MTF)):
        out = out.assign_attrs(mtf=[given[i] for i in index])
    return out


def with_date(series: xr.Dataset, date: np.datetime64) -> xr.Dataset:
    """The series with an image at ``date``, interpolated in time where it has none of that day.

    Parameters
    ----------
    series
        A series, lazy or not.
    date
        The date to be there.

    Returns
    -------
    xarray.Dataset
        The series itself if it has an image of that day, else one image longer.
    """
    if index_of(series, date) is not None:
        return series
    date = np.datetime64(date, "ns")  # type: ignore[call-overload]
    offsets = days(series["time"].values, date)
    values, valid = xr.apply_ufunc(
        _interpolate_last_axes,
        series["reflectance"].chunk(time=-1, band=-1) if series["reflectance"].chunks else series["reflectance"],
        series["valid"].chunk(time=-1) if series["valid"].chunks else series["valid"],
        kwargs={"offsets": offsets},
        input_core_dims=[["time", "band"], ["time"]],
        output_core_dims=[["band"], []],
        vectorize=False,
        dask="parallelized",
        output_dtypes=[np.float32, bool],
    )
    extra = xr.Dataset({"reflectance": values.transpose("band", "y", "x"), "valid": valid})
    extra = extra.expand_dims(time=[date])
    keep = series[["reflectance", "valid"]].drop_vars(
        [n for n, c in series.coords.items() if "time" in c.dims and n != "time"]
    )
    joined = xr.concat([keep, extra], "time", coords="minimal", compat="override", join="override")
    return joined.sortby("time").assign_attrs(series.attrs)


def _interpolate_last_axes(
    values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], offsets: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """`interpolate` for (y, x, time, band), the order in which xarray hands over core dimensions."""
    image, ok = interpolate(np.moveaxis(values, (-2, -1), (0, 1)), np.moveaxis(valid, -1, 0), offsets)
    return np.moveaxis(image, 0, -1), ok


def index_of(series: xr.Dataset, date: np.datetime64) -> int | None:
    """Position of the image of that day, or None."""
    days_of = series["time"].values.astype("datetime64[D]")
    found = np.flatnonzero(days_of == np.datetime64(date, "D"))  # type: ignore[call-overload]
    return int(found[0]) if found.size else None


def check_same_grid(a: xr.Dataset, b: xr.Dataset, where: object) -> None:
    """Raise :class:`InputError` if two series do not lie on one grid."""
    if not same_grid(geobox(a), geobox(b)):
        raise InputError(where, "lies on another grid", "resample one of them")


def band_labels(bands: Sequence[str]) -> npt.NDArray[Any]:
    """Band names as an array of variable-length strings (fixed-length ones have no Zarr v3 type)."""
    return np.array([str(b) for b in bands], dtype=np.dtypes.StringDType())
