"""Objects of other libraries as series: xarray's of rioxarray and odc-stac, and NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from odc.geo.geobox import GeoBox

from ..core.arrays import LARGEST
from ..core.checks import check
from ..core.series import make_series
from ..errors import InputError
from .meanings import Meaning
from .reading import Reading

NAMES = {
    "time": ("time", "t", "date", "datetime"),
    "band": ("band", "bands", "wavelength", "variable", "channel"),
    "y": ("y", "latitude", "lat"),
    "x": ("x", "longitude", "lon"),
}
"""What dimensions are called elsewhere."""


def series(
    data: Any,
    valid: Any = None,
    *,
    times: Any = None,
    bands: Sequence[str] | None = None,
    geobox: GeoBox | None = None,
    attrs: Mapping[str, Any] | None = None,
    **options: Any,
) -> xr.Dataset:
    """Make a series of an object, and check it.

    Parameters
    ----------
    data
        A DataArray with the dimensions y, x and, in any order, time and band (names of other libraries are known); a
        Dataset with a variable per band, as odc-stac loads it, or a series; or an array (time, band, y, x), with
        ``geobox``. Any type of numbers; dask arrays stay lazy. ``scale_factor``, ``add_offset`` and nodata in its
        attributes are applied.
    valid
        (time, y, x), where pixels are valid: booleans; or the numbers of a mask, or the name of a variable of ``data``
        that holds them, with ``clear``, ``cloudy`` or ``mask_bits``. By default where no band is NaN or nodata.
    times
        Dates, where ``data`` has none; one for a single image.
    bands
        Names of the bands, or which variables to take.
    geobox
        The grid, where ``data`` has none.
    attrs
        Attributes such as ``mtf`` and ``sensor``.
    **options
        ``clear``, ``cloudy``, ``mask_bits``, ``scale``, ``offset`` and ``quantity`` of
        :class:`~sitsfuse.readers.reading.Reading`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InputError
        If the object is not a series of images, or lacks dates or a grid.
    """
    reading = Reading.of(options)
    if isinstance(data, xr.Dataset) and "reflectance" in data and valid is None:
        array, ok = data["reflectance"], data.get("valid")
    else:
        ok = valid
        if isinstance(data, xr.Dataset):
            if isinstance(valid, str):
                if valid not in data:
                    raise InputError("valid", f"{valid!r} is not a variable of the data", f"choose {_listed(data)}")
                ok = data[valid]
            array = _stacked(data.drop_vars(valid) if isinstance(valid, str) else data, bands)
            bands = None
        elif isinstance(data, xr.DataArray):
            array = data
        else:
            array = _from_numbers(data, times, bands, geobox)
    array = _arranged(array, times, bands)
    box = geobox if geobox is not None else array.odc.geobox
    if not isinstance(box, GeoBox) or box.crs is None:
        raise InputError("data", "has no grid with a CRS", "assign one (.rio.write_crs) or give geobox")
    values, there = _decoded(array, reading)
    if ok is not None:
        there = there & _clear(ok, array, reading)
    made = make_series(
        values.data, there.data, array["time"].values, [str(b) for b in array["band"].values], box, dict(attrs or {})
    )
    if isinstance(data, xr.Dataset) and "reflectance" in data:
        made = made.assign_attrs({**data.attrs, **made.attrs})
    if "quantity" in reading.given():
        made = made.assign_attrs(quantity=reading.quantity)
    return check(made.sortby("time"), "data")


def _listed(data: xr.Dataset) -> str:
    return ", ".join(str(v) for v in data.data_vars) or "nothing"


def _stacked(data: xr.Dataset, bands: Sequence[str] | None) -> xr.DataArray:
    """The variables of a Dataset that have y and x, as bands."""
    spatial = [str(n) for n, v in data.data_vars.items() if {_kind(str(d)) for d in v.dims} >= {"y", "x"}]
    chosen = [str(b) for b in bands] if bands is not None else spatial
    missing = [b for b in chosen if b not in spatial]
    if missing or not chosen:
        what = f"has no variable {missing[0]!r} with y and x" if missing else "has no variable with y and x"
        raise InputError("data", what, f"choose among {', '.join(spatial)}" if spatial else "give images")
    if len(chosen) == 1 and any(_kind(str(d)) == "band" for d in data[chosen[0]].dims):
        return data[chosen[0]]
    scaled = [data[name] for name in chosen]
    same = {tuple(_packing(v).items()) for v in scaled}
    if len(same) > 1:
        scaled = [_unpacked(v) for v in scaled]
    stack = xr.concat(scaled, "band", coords="minimal", compat="override", join="override", combine_attrs="override")
    return stack.assign_coords(band=chosen)


def _from_numbers(data: Any, times: Any, bands: Sequence[str] | None, geobox: GeoBox | None) -> xr.DataArray:
    shape = getattr(data, "shape", None)
    kind = getattr(getattr(data, "dtype", None), "kind", "")
    if shape is None or len(shape) != 4 or kind not in "iufb":
        what = f"is a {type(data).__name__}" + (f" of shape {shape}" if shape is not None else "")
        raise InputError("data", f"{what}, not images", "give a DataArray, a Dataset or an array (time, band, y, x)")
    if geobox is None or times is None:
        raise InputError("data", "is an array without dates and grid", "give times and geobox")
    if tuple(geobox.shape) != tuple(shape[2:]):
        raise InputError("geobox", f"has {geobox.shape} pixels, the data {shape[2:]}", "give that of the data")
    names = [f"band{i + 1}" for i in range(shape[1])] if bands is None else [str(b) for b in bands]
    if len(names) != shape[1]:
        raise InputError("bands", f"are {len(names)} names for {shape[1]} bands", "give one each")
    return xr.DataArray(data, dims=("time", "band", "y", "x"), coords={"band": names})


def _kind(name: str) -> str:
    """Our name of a dimension of any name; its own where it is not known."""
    return next((ours for ours, theirs in NAMES.items() if name.lower() in theirs), name)


def _arranged(array: xr.DataArray, times: Any, bands: Sequence[str] | None) -> xr.DataArray:
    """An array (time, band, y, x) with names of bands and dates."""
    renamed = {d: _kind(str(d)) for d in array.dims if _kind(str(d)) != d}
    box = array.odc.geobox
    array = array.rename(renamed)
    if isinstance(box, GeoBox) and array.odc.geobox is None:
        array = array.odc.assign_crs(box.crs)
    for dim in ("y", "x"):
        if dim not in array.dims:
            raise InputError("data", f"has dimensions {', '.join(map(str, array.dims))} and no {dim}", "give images")
    extra = [str(d) for d in array.dims if d not in NAMES]
    if extra:
        raise InputError("data", f"has the dimension {extra[0]}, which is none of a series", "select along it")
    if "band" not in array.dims:
        name = array.name if array.name is not None else "band1"
        array = array.drop_vars("band", errors="ignore").expand_dims(band=[str(name)])
    if "time" not in array.dims:
        own = array.coords["time"].values if "time" in array.coords else None
        array = array.drop_vars("time", errors="ignore").expand_dims("time")
        times = own if times is None else times
    if times is not None:
        array = array.assign_coords(time=("time", _dates(times, array.sizes["time"])))
    elif "time" not in array.coords or array["time"].dtype.kind != "M":
        raise InputError("data", "has no dates", "give times")
    if bands is not None or "band" not in array.coords:
        names = [f"band{i + 1}" for i in range(array.sizes["band"])] if bands is None else [str(b) for b in bands]
        if len(names) != array.sizes["band"]:
            have = [str(b) for b in array["band"].values] if "band" in array.coords else []
            if not set(names) <= set(have):
                what = f"has {array.sizes['band']} bands, not {len(names)}"
                raise InputError("data", what, f"give a name for each{': ' if have else ''}{', '.join(have)}")
            array = array.isel(band=[have.index(n) for n in names])
        array = array.assign_coords(band=names)
    elif array["band"].dtype.kind in "iu":
        long = array.attrs.get("long_name")
        described = (
            [str(v) for v in long] if isinstance(long, tuple | list) and len(long) == array.sizes["band"] else []
        )
        array = array.assign_coords(band=described or [f"band{b}" for b in array["band"].values])
    return array.transpose("time", "band", "y", "x")


def _dates(times: Any, count: int) -> npt.NDArray[Any]:
    try:
        found = np.atleast_1d(np.asarray(times, "datetime64[ns]"))
    except (ValueError, TypeError) as error:
        raise InputError("times", f"{times!r:.80} are not dates", "give e.g. ['2019-05-01', …]") from error
    if found.shape != (count,):
        raise InputError("times", f"are {found.size} for {count} images", "give one per image")
    return found


def _packing(array: xr.DataArray) -> dict[str, float]:
    """Scale, offset and nodata that an array's attributes tell."""
    attrs = array.attrs
    told: dict[str, Any] = {"scale": attrs.get("scale_factor", 1), "offset": attrs.get("add_offset", 0)}
    for name in ("_FillValue", "nodata", "missing_value"):
        if attrs.get(name) is not None:
            told["nodata"] = attrs[name]
            break
    try:
        return {name: float(value) for name, value in told.items()}
    except (TypeError, ValueError):
        raise InputError("data", f"has attributes {told} that are not numbers", "correct or remove them") from None


def _unpacked(array: xr.DataArray) -> xr.DataArray:
    values, _ = _decoded(array, Reading())
    values.attrs = {}
    return values


def _decoded(array: xr.DataArray, reading: Reading) -> tuple[xr.DataArray, xr.DataArray]:
    """Values as float32, NaN where there are none, and where all bands are there."""
    if array.dtype.kind not in "iufb":
        raise InputError("data", f"is {array.dtype}, not numbers", "give reflectances, as integers or floats")
    told = _packing(array)
    scale = told["scale"] if reading.scale is None else reading.scale
    offset = told["offset"] if reading.offset is None else reading.offset
    there = abs(array) < LARGEST if array.dtype.kind == "f" else xr.ones_like(array, bool)
    if "nodata" in told and np.isfinite(told["nodata"]):
        there = there & (array != told["nodata"])
    values = array if (scale, offset) == (1, 0) else array * np.float64(scale) + offset
    values = values.astype(np.float32).where(there)
    return values, there.all("band") if "band" in there.dims else there


def _clear(valid: Any, array: xr.DataArray, reading: Reading) -> xr.DataArray:
    """Where a mask is clear, as (time, y, x)."""
    if isinstance(valid, xr.DataArray):
        mask = valid.rename({d: _kind(str(d)) for d in valid.dims if _kind(str(d)) != d})
        mask = mask.squeeze("band", drop=True) if mask.sizes.get("band") == 1 else mask
        mask = mask if "time" in mask.dims else mask.expand_dims("time")
    else:
        numbers = valid if hasattr(valid, "shape") else np.asarray(valid)
        if len(numbers.shape) != 3:
            raise InputError("valid", f"has the shape {numbers.shape}", "give (time, y, x)")
        mask = xr.DataArray(numbers, dims=("time", "y", "x"))
    try:
        mask = mask.transpose("time", "y", "x")
    except ValueError:
        raise InputError("valid", f"has dimensions {', '.join(map(str, mask.dims))}", "give (time, y, x)") from None
    shape = tuple(array.sizes[d] for d in ("time", "y", "x"))
    if mask.shape != shape:
        raise InputError("valid", f"has the shape {mask.shape}, the data {shape}", "give one per image and pixel")
    told = reading.clear is not None or reading.cloudy is not None or reading.mask_bits is not None
    if mask.dtype != bool and not told:
        what = f"is {mask.dtype}, of which nothing says what is clear"
        raise InputError("valid", what, "give booleans, or clear, cloudy or mask_bits")
    if mask.dtype != bool:
        bits = sum(1 << b for b in set(reading.mask_bits or ()))
        meaning = Meaning(clear=reading.clear, cloudy=reading.cloudy or (), bits=bits)
        mask = xr.apply_ufunc(lambda raw: meaning.ok(raw, 1), mask, dask="parallelized", output_dtypes=[bool])
    return xr.DataArray(mask.data, dims=("time", "y", "x"))
