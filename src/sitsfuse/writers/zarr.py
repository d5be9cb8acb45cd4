"""Series and sites as Zarr v3 with shards.

The unit of work is a shard (one date × all bands × a square): whole shards are written, each by one task, so that any
number of threads and processes can write to one store.
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
import zarr.codecs
from dask.base import compute
from odc.geo.geobox import GeoBox

from ..core.checks import check
from ..core.series import COMPLETE, geobox, make_series
from ..errors import InputError
from ..runtime.files import beside, jsonable, read_json, writing

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

    Raises
    ------
    InputError
        If something is there and ``overwrite`` is false, or the store cannot be written.
    """
    path = Path(path)
    _check_sizes(shard, chunk)
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
    frame.attrs = jsonable({k: v for k, v in frame.attrs.items() if k not in (COMPLETE, "notes")})
    sizes = {str(name): n for name, n in frame.sizes.items()}
    for name, (dims, dtype, *_) in specs.items():
        unknown = [d for d in dims if d not in sizes]
        if unknown:
            raise ValueError(f"variable {name!r} has the dimension {unknown[0]!r}, which has no coordinate")
        if np.dtype(dtype).kind not in "biuf":
            raise InputError(path, f"cannot hold {name}, which is {np.dtype(dtype)}", "make it a coordinate or drop it")
    _check_place(path, overwrite)
    _clear_place(path)
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


def write_series(
    series: xr.Dataset, path: str | Path, *, shard: int = 1024, chunk: int = 256, overwrite: bool = False
) -> None:
    """Write a series to a Zarr group, shard by shard.

    Memory holds a few shards (a few of the series' own chunks, where these are larger), whatever the series' size.

    Parameters
    ----------
    series
        A series, lazy or not.
    path
        The group to write.
    shard, chunk
        Sides of a shard and of its inner chunks, in pixels.
    overwrite
        Whether to replace what is there. The series may then be a lazy reading of ``path`` itself.

    Raises
    ------
    InputError
        If something is there and ``overwrite`` is false, or the store cannot be written or the series not read.
    """
    _check_sizes(shard, chunk)
    with _replacing(Path(path), overwrite) as place:
        _write_series(check(series), place, shard, chunk)


def write_site(
    site: xr.DataTree, path: str | Path, *, shard: int = 1024, chunk: int = 256, overwrite: bool = False
) -> None:
    """Write a site to one Zarr store, with a group per series; parameters as for :func:`write_series`."""
    _check_sizes(shard, chunk)
    with _replacing(Path(path), overwrite) as place:
        with writing(place):
            zarr.create_group(place, attributes=jsonable(site.attrs), zarr_format=3)
        for name, node in site.children.items():
            _write_series(check(node.to_dataset(), name), place / name, shard, chunk)
        consolidate(place)


def _write_series(series: xr.Dataset, path: Path, shard: int, chunk: int) -> None:
    """Create the group and fill it, several regions at a time."""
    extra = {str(n): (tuple(map(str, v.dims)), v.dtype, v.attrs) for n, v in series.data_vars.items()}
    known = {"time", "band", "y", "x", "spatial_ref"}
    create_series(
        path,
        times=series["time"].values,
        bands=[str(b) for b in series["band"].values],
        geobox=geobox(series),
        variables=extra,
        coords={str(n): (tuple(map(str, c.dims)), c.values) for n, c in series.coords.items() if n not in known},
        attrs=series.attrs,
        shard=shard,
        chunk=chunk,
    )
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    fixed = [n for n, v in series.data_vars.items() if "time" not in v.dims]
    for name in fixed:
        with writing(path):
            fixed_array = group[str(name)].with_config({"write_empty_chunks": True})  # type: ignore[union-attr]
            fixed_array[...] = series[name].values
    moving = series.drop_vars(fixed)
    spans = [_spans(moving, dim, shard if dim != "time" else 1) for dim in ("time", "y", "x")]

    def write(region: tuple[slice, slice, slice]) -> None:
        time, y, x = region
        # One computation for all variables: they share what has to be read.
        (part,) = compute(moving.isel(time=time, y=y, x=x))  # type: ignore[no-untyped-call]
        write_region(path, {str(n): v.values for n, v in part.data_vars.items()}, time, y, x)

    # Threads overlap reading, compression and writing; few, as each holds a region in memory.
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        for _ in pool.map(write, itertools.product(*spans)):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, the rest is not wanted
    with writing(path):
        group.attrs[COMPLETE] = True
        consolidate(path)


def _spans(series: xr.Dataset, dim: str, step: int) -> list[slice]:
    """Slices along a dimension: whole shards, and no fewer than a chunk of the series, lest it be computed twice."""
    largest = max((max(v.chunksizes[dim]) for v in series.data_vars.values() if dim in v.chunksizes), default=1)
    n = series.sizes[dim]
    step *= math.ceil(min(largest, n) / step)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


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


def _check_sizes(shard: int, chunk: int) -> None:
    if chunk < 1 or shard < 1 or shard % chunk:
        raise InputError("shard", f"{shard} is not a multiple of chunk {chunk}", "give e.g. shard=1024, chunk=256")


def _labels(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Strings of any kind as variable-length ones, the only ones with a type in Zarr v3; others as they are."""
    array = np.asarray(values)
    return array.astype(np.dtypes.StringDType()) if array.dtype.kind in "UO" else array


def _check_place(path: Path, overwrite: bool) -> None:
    """Make sure that a place is free or may be cleared: only what is empty or a Zarr store is ever deleted."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise InputError(path, "exists", "choose another place or `overwrite=True`")
    if not (path / "zarr.json").is_file():
        raise InputError(path, "is not a Zarr store and is not deleted", "choose another place or remove it yourself")
    with writing(path):
        foreign = sorted(p.name for p in path.iterdir() if not _is_ours(p))
    if foreign:
        what = f"holds {foreign[0]}, which is not of a series or a site, and is not deleted"
        raise InputError(path, what, "choose another place, or move it elsewhere")


def _is_ours(place: Path) -> bool:
    """Whether something in a store is what is written here: metadata, an array, or a series of a site."""
    if place.name == "zarr.json":
        return True
    role = place.name in ("guide", "reference") or place.name.startswith("target")
    return (place / "zarr.json").is_file() and (role or read_json(place / "zarr.json").get("node_type") == "array")


def _clear_place(path: Path) -> None:
    """Delete what is at a place that has passed :func:`_check_place`."""
    if path.exists():
        with writing(path):
            shutil.rmtree(path)


@contextmanager
def _replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary place that takes the place of ``path`` when all is written, and vanishes otherwise."""
    _check_place(path, overwrite)
    draft = beside(path, "draft")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        _clear_place(path)
        with writing(path):
            draft.replace(path)
    except InputError as error:
        if str(error.where).startswith(str(draft)):
            where = str(error.where).replace(str(draft), str(path), 1)
            raise InputError(where, error.problem, error.mend) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
