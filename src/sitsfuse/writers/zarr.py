"""Series as Zarr v3 with shards: their form, and regions of their pixels.

The unit of work is a shard (one date × all bands × a square): whole shards are written, each by one task, so that any
number of threads and processes can write to one store.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.codecs
from odc.geo.geobox import GeoBox

from ..core.series import COMPLETE, UNFINISHED, make_series
from ..errors import InputError
from ..runtime.files import jsonable, writing
from .places import check_place, clear_place

# Once for the process: `warnings.catch_warnings` is not safe where several threads create series.
warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
# The state of a run lies in its output and is not part of the series.
warnings.filterwarnings("ignore", message=r"Object at \.", category=UserWarning)

CF: dict[str, dict[str, Any]] = {
    "reflectance": {"long_name": "surface reflectance", "units": "1"},
    "uncertainty": {"long_name": "one standard deviation of the error", "units": "1"},
    "valid": {"long_name": "whether all bands of a pixel may be used"},
}
"""What variables are, as the CF conventions have it; what a series says of its own wins."""
Dims = tuple[str, ...]
Spec = tuple[Dims, npt.DTypeLike] | tuple[Dims, npt.DTypeLike, Mapping[str, Any]]


def create_series(
    path: str | Path,
    *,
    times: npt.ArrayLike,
    bands: Sequence[str],
    geobox: GeoBox,
    variables: Mapping[str, Spec] | None = None,
    coords: Mapping[str, tuple[Dims, npt.ArrayLike]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    shard: int = 1024,
    chunk: int = 256,
    overwrite: bool = False,
    made_by: str | None = None,
) -> None:
    """Create a Zarr group for a series: coordinates and metadata, but no pixels.

    Parameters
    ----------
    path
        The group to create: a new store or a place inside one.
    times, bands, geobox
        Dates, band names and grid.
    variables
        {name: (dimensions, dtype)} or {name: (dimensions, dtype, attributes)} beside ``reflectance`` and ``valid``.
        Dimensions other than time, band, y, x need a coordinate in ``coords``. Where nothing is written, floats read
        as NaN, booleans as False, integers as 0.
    coords
        {name: (dimensions, values)}, such as ``guide_time`` or ``product``.
    attrs
        Attributes of the series.
    shard, chunk
        Sides of a shard and of its inner chunks, in pixels; both shrink with small images.
    overwrite
        Whether to replace what is there.
    made_by
        The command that fills it: readers refuse the series and name this command until :func:`finish` is called.

    Raises
    ------
    InputError
        If something is there and ``overwrite`` is false, or the store cannot be written.
    """
    path = Path(path)
    check_sizes(shard, chunk)
    specs: dict[str, Spec] = {
        "reflectance": (("time", "band", "y", "x"), np.float32),
        "valid": (("time", "y", "x"), bool),
        **(variables or {}),
    }
    # A series without variables: xarray writes the coordinates, with their encoding of dates and grid mapping.
    times = np.asarray(times)
    nothing = np.broadcast_to(np.float32(np.nan), (len(times), len(bands), *geobox.shape))
    frame = make_series(nothing, nothing[:, 0], times, bands, geobox, attrs).drop_vars(["reflectance", "valid"])
    frame = frame.assign_coords({name: (dims, _labels(values)) for name, (dims, values) in (coords or {}).items()})
    # What was said of another store is not true of this one.
    frame.attrs = jsonable({k: v for k, v in frame.attrs.items() if k not in (COMPLETE, UNFINISHED, "notes")})
    if made_by is not None:
        frame.attrs[UNFINISHED] = made_by
    sizes = {str(name): n for name, n in frame.sizes.items()}
    for name, (dims, dtype, *_) in specs.items():
        unknown = [d for d in dims if d not in sizes]
        if unknown:
            raise ValueError(f"variable {name!r} has the dimension {unknown[0]!r}, which has no coordinate")
        if np.dtype(dtype).kind not in "biuf":
            raise InputError(path, f"cannot hold {name}, which is {np.dtype(dtype)}", "make it a coordinate or drop it")
    check_place(path, overwrite)
    clear_place(path)
    frame.attrs = {"Conventions": "CF-1.11"} | frame.attrs
    # One date per chunk, as the images have: dask takes no dataset whose chunks differ along a dimension.
    dated = {n: c for n, c in frame.coords.items() if "time" in c.dims and n != "time"}
    chunks = {n: {"chunks": tuple(1 if d == "time" else c.sizes[d] for d in c.dims)} for n, c in dated.items()}
    with writing(path):
        frame.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=chunks)
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        for name, (dims, dtype, *rest) in specs.items():
            array = _create_array(group, name, dims, np.dtype(dtype), sizes, shard, chunk)
            array.attrs.update(CF.get(name, {}) | jsonable(rest[0] if rest else {}))
        consolidate(path)


def write_region(
    path: str | Path,
    variables: Mapping[str, npt.ArrayLike],
    time: int | slice,
    y: slice,
    x: slice,
) -> None:
    """Write whole shards of one date (or a run of dates) into a series made by :func:`create_series`.

    Safe to call from several threads and processes, as long as no two of them write the same region.

    Parameters
    ----------
    path
        The series.
    variables
        {name: array}; each array has its variable's dimensions, without time if ``time`` is an integer. A variable
        without y and x is written whole for these dates.
    time, y, x
        The region; ``y`` and ``x`` start at multiples of the shard's side and end there or at the image's edge.

    Raises
    ------
    ValueError
        If the region cuts a shard: two tasks that share one could each undo the other's work.
    InputError
        If the store cannot be written.
    """
    path = Path(path)
    with writing(path):
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        where: dict[str, int | slice] = {"time": time, "y": y, "x": x}
        for name, values in variables.items():
            array = group[name]
            if not isinstance(array, zarr.Array):
                raise TypeError(f"{name!r} is not an array")
            dims = tuple(str(d) for d in array.metadata.dimension_names or ())  # type: ignore[union-attr]
            for dim, step, n in zip(dims, array.shards or array.chunks, array.shape, strict=True):
                span = where.get(dim)
                if isinstance(span, slice) and (span.start % step or (span.stop % step and span.stop != n)):
                    raise ValueError(f"{dim} {span.start}:{span.stop} cuts shards of {step} ({path}, {name})")
            # Chunks that hold nothing but the fill value, too: else a chunk that was lost would read as one.
            array = array.with_config({"write_empty_chunks": True})
            array[tuple(where.get(d, slice(None)) for d in dims)] = np.asarray(values, dtype=array.dtype)


def _create_array(
    group: zarr.Group, name: str, dims: Dims, dtype: np.dtype[Any], sizes: Mapping[str, int], shard: int, chunk: int
) -> zarr.Array[Any]:
    """Create one variable of a series, empty."""
    inner, outer = [], []
    for dim in dims:
        n = sizes[dim]
        side = 1 if dim == "time" else min(chunk, n) if dim in ("y", "x") else n
        inner.append(side)
        outer.append(min(shard, math.ceil(n / side) * side) if dim in ("y", "x") else side)
    attributes = {"grid_mapping": "spatial_ref"} if {"y", "x"} <= set(dims) else {}
    return group.create_array(
        name,
        shape=tuple(sizes[d] for d in dims),
        dtype=dtype,
        chunks=tuple(inner),
        shards=tuple(outer) if inner != outer else None,
        # The checksum tells a damaged chunk from a whole one, which many a damage leaves readable.
        compressors=(zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), zarr.codecs.Crc32cCodec()),
        fill_value=np.nan if dtype.kind == "f" else dtype.type(0),
        dimension_names=dims,
        attributes=attributes,  # type: ignore[arg-type]
    )


def consolidate(path: Path) -> None:
    """Gather the metadata of a group in one file, without which xarray warns whoever opens the group.

    The specification of Zarr v3 does not describe this yet, of which zarr warns; readers that do not know it read
    the metadata one by one.
    """
    zarr.consolidate_metadata(path)


def finish(path: Path) -> None:
    """Record of a series that every chunk was written: a missing one is damage from now on."""
    with writing(path):
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        group.attrs[COMPLETE] = True
        if UNFINISHED in group.attrs:
            del group.attrs[UNFINISHED]
        consolidate(path)


def check_sizes(shard: int, chunk: int) -> None:
    """Raise :class:`InputError` if shards are not made of whole chunks."""
    if chunk < 1 or shard < 1 or shard % chunk:
        raise InputError("shard", f"{shard} is not a multiple of chunk {chunk}", "give e.g. shard=1024, chunk=256")


def _labels(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Strings of any kind as variable-length ones, the only ones with a type in Zarr v3; others as they are."""
    array = np.asarray(values)
    return array.astype(np.dtypes.StringDType()) if array.dtype.kind in "UO" else array
