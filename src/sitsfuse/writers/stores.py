"""Whole series and sites into Zarr stores, shard by shard."""

from __future__ import annotations

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xarray as xr
import zarr
from dask.base import compute

from ..core.checks import check
from ..core.series import CONTENT, geobox
from ..runtime.files import jsonable, writing
from .places import replacing
from .zarr import check_sizes, consolidate, create_series, finish, write_region


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
    check_sizes(shard, chunk)
    with replacing(Path(path), overwrite) as place:
        _write_series(check(series), place, shard, chunk)


def write_site(
    site: xr.DataTree, path: str | Path, *, shard: int = 1024, chunk: int = 256, overwrite: bool = False
) -> None:
    """Write a site to one Zarr store, with a group per series; parameters as for :func:`write_series`."""
    check_sizes(shard, chunk)
    with replacing(Path(path), overwrite) as place:
        with writing(place):
            zarr.create_group(place, attributes=jsonable(site.attrs), zarr_format=3)
        for name, node in site.children.items():
            _write_series(check(node.to_dataset(), name), place / name, shard, chunk)
        consolidate(place)


def _write_series(series: xr.Dataset, path: Path, shard: int, chunk: int) -> None:
    """Create the group and fill it, several regions at a time."""
    extra = {str(n): (tuple(map(str, v.dims)), v.dtype, v.attrs) for n, v in series.data_vars.items()}
    known = {"time", "band", "y", "x", "spatial_ref", CONTENT}
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
    finish(path)


def _spans(series: xr.Dataset, dim: str, step: int) -> list[slice]:
    """Slices along a dimension: whole shards, and no fewer than a chunk of the series, lest it be computed twice."""
    # Of the variables alone: a DataArray counts its coordinates in, which may be cut another way.
    cuts = [v.variable.chunksizes for v in series.data_vars.values()]
    largest = max((max(c[dim]) for c in cuts if dim in c), default=1)
    n = series.sizes[dim]
    step *= math.ceil(min(largest, n) / step)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
