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
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from ..errors import InputError
from .dates import days, index_of
from .timeline import interpolate

DEFAULT_MTF = 0.3
"""MTF at Nyquist of a sensor of which nothing is known."""
MASK_TAG = "SITSFUSE_MASK"
"""Tag of the masks of a prediction, of which 1 alone is invalid: it tells what their numbers mean."""
CONTENT = "content"
"""Coordinate (time) of a series that was opened from files: a mark of what they hold; it stays with the files."""
COMPLETE = "complete"
"""Attribute of a stored series of which every chunk was written: to its readers, a missing one is damage."""
UNFINISHED = "unfinished"
"""Attribute of a stored series or site that a command has begun and not finished: which command."""


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


def band_labels(bands: Sequence[str]) -> npt.NDArray[Any]:
    """Band names as an array of variable-length strings (fixed-length ones have no Zarr v3 type)."""
    return np.array([str(b) for b in bands], dtype=np.dtypes.StringDType())
