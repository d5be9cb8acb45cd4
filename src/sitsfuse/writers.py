"""Series to disk: Zarr v3 with shards, cloud-optimised GeoTIFFs, and folders of GeoTIFFs.

The unit of work of a Zarr series is a shard (one date × all bands × a square): whole shards are written, each by one
task, so that any number of threads and processes can write to one store. Everything else is written beside its place
under a temporary name and then renamed, so that what has its final name is complete.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
import xarray as xr
import zarr
import zarr.codecs
import zarr.errors
from dask.base import compute
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from .errors import InputError
from .series import check, geobox, make_series

INT16_SCALE = 1e-4
INT16_NODATA = -32768
CLIPPED_SHARE = 0.01
"""Share of values beyond ±3.2767 above which they are no reflectances, and int16 × 1e-4 would destroy them."""

CACHE_MB = 256
"""GDAL's block cache while an image is written: by default it grows to 5 % of the machine's memory."""

# Once for the process: `warnings.catch_warnings` is not safe where several threads create series.
warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
# The state of a run lies in its output and is no part of the series.
warnings.filterwarnings("ignore", message=r"Object at \.", category=UserWarning)

Dims = tuple[str, ...]
Spec = tuple[Dims, npt.DTypeLike] | tuple[Dims, npt.DTypeLike, Mapping[str, Any]]


# --- Zarr ------------------------------------------------------------------------------------------------------


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
    frame.attrs = _jsonable(frame.attrs)
    sizes = {str(name): n for name, n in frame.sizes.items()}
    for name, (dims, dtype, *_) in specs.items():
        unknown = [d for d in dims if d not in sizes]
        if unknown:
            raise ValueError(f"variable {name!r} has the dimension {unknown[0]!r}, which has no coordinate")
        if np.dtype(dtype).kind not in "biuf":
            raise InputError(path, f"cannot hold {name}, which is {np.dtype(dtype)}", "make it a coordinate or drop it")
    _check_place(path, overwrite)
    _clear_place(path)
    with _writing(path):
        frame.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        for name, (dims, dtype, *rest) in specs.items():
            array = _create_array(group, name, dims, np.dtype(dtype), sizes, shard, chunk)
            array.attrs.update(_jsonable(rest[0] if rest else {}))
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
    with _writing(path):
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        where: dict[str, int | slice] = {"time": time, "y": y, "x": x}
        for name, values in variables.items():
            array = group[name]
            if not isinstance(array, zarr.Array):
                raise TypeError(f"{name!r} is no array")
            dims = tuple(str(d) for d in array.metadata.dimension_names or ())  # type: ignore[union-attr]
            for dim, step, n in zip(dims, array.shards or array.chunks, array.shape, strict=True):
                span = where.get(dim)
                if isinstance(span, slice) and (span.start % step or (span.stop % step and span.stop != n)):
                    raise ValueError(f"{dim} {span.start}:{span.stop} cuts shards of {step} ({path}, {name})")
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
        with _writing(place):
            zarr.create_group(place, attributes=_jsonable(site.attrs), zarr_format=3)
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
        with _writing(path):
            group[str(name)][...] = series[name].values  # type: ignore[index]
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
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
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
        raise InputError("shard", f"{shard} is no multiple of chunk {chunk}", "give e.g. shard=1024, chunk=256")


def _labels(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Strings of any kind as variable-length ones, the only ones with a type in Zarr v3; others as they are."""
    array = np.asarray(values)
    return array.astype(np.dtypes.StringDType()) if array.dtype.kind in "UO" else array


def _jsonable(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON can hold them."""
    return {str(k): _plain(v) for k, v in attrs.items()}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: NumPy values as Python's; dates, paths and NaN as text."""
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return _jsonable(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


# --- GeoTIFF ---------------------------------------------------------------------------------------------------


def write_cog(
    path: str | Path,
    values: Any,
    geobox: GeoBox,
    bands: Sequence[str],
    *,
    nodata: float = math.nan,
    int16: bool = False,
    tags: Mapping[str, Any] | None = None,
    block: int = 1024,
) -> None:
    """Write a cloud-optimised GeoTIFF.

    Parameters
    ----------
    path
        The file; folders are made.
    values
        (band, y, x): an array, or anything lazy that is sliced like one (dask, zarr, xarray) and is then read block
        by block. Floats become float32; booleans and bytes stay bytes without nodata (a mask).
    geobox
        The grid.
    bands
        Band descriptions.
    nodata
        What NaN is written as, in a float file.
    int16
        Whether to write integers × 1e-4, nodata −32768; values beyond ±3.2767 are clipped.
    tags
        Metadata of the file; what is not text is written as JSON.
    block
        Side of the blocks to read and write, in pixels.

    Raises
    ------
    InputError
        If the file cannot be written, or ``int16`` would clip more than 1 % of the values.
    """
    path = Path(path)
    if tuple(values.shape) != (len(bands), *geobox.shape):
        raise ValueError(f"values are {tuple(values.shape)} for {len(bands)} bands on a grid of {tuple(geobox.shape)}")
    is_mask = np.dtype(values.dtype).kind in "bu"
    encode: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    fill: float | None
    if is_mask:
        dtype, fill, predictor, resampling = "uint8", None, "NO", Resampling.nearest
        encode = _as_bytes
    elif int16:
        dtype, fill, predictor, resampling = "int16", INT16_NODATA, "YES", Resampling.average
        encode = _Int16(path)
    else:
        dtype, fill, predictor, resampling = "float32", nodata, "YES", Resampling.average
        encode = _Float32(nodata)
    rows, cols = geobox.shape
    draft, final = _beside(path, "draft.tif"), _beside(path, "cog.tif")
    profile = {
        "driver": "GTiff", "count": len(bands), "height": rows, "width": cols, "dtype": dtype, "nodata": fill,
        "transform": geobox.affine, "crs": None if geobox.crs is None else geobox.crs.to_wkt(),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd", "zstd_level": 1,
        "bigtiff": "if_safer", "num_threads": "all_cpus",
    }  # fmt: skip
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB), _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(draft, "w", **profile) as out:
                for index, band in enumerate(bands, 1):
                    out.set_band_description(index, str(band))
                out.update_tags(
                    **{k: v if isinstance(v, str) else json.dumps(_plain(v)) for k, v in (tags or {}).items()}
                )
                if dtype == "int16":
                    out.scales = (INT16_SCALE,) * len(bands)
                for top, left in itertools.product(range(0, rows, block), range(0, cols, block)):
                    part = values[:, top : min(top + block, rows), left : min(left + block, cols)]
                    part = encode(np.asarray(part))
                    out.write(part, window=Window(left, top, part.shape[2], part.shape[1]))
            if isinstance(encode, _Int16):
                encode.check()
            _to_cog(draft, final, path, predictor, resampling)
            final.replace(path)
    finally:
        for left_over in (draft, final):
            if left_over.exists():
                left_over.unlink()


def write_geotiffs(series: xr.Dataset, folder: str | Path, *, int16: bool = True, overwrite: bool = False) -> None:
    """Write a series as a folder of cloud-optimised GeoTIFFs, ``YYYYMMDD.tif`` and ``YYYYMMDD_mask.tif``.

    Parameters
    ----------
    series
        A series, lazy or not; one date at a time is computed.
    folder
        Where to.
    int16
        Whether to write integers × 1e-4 rather than float32.
    overwrite
        Whether to replace files of the same name.

    Raises
    ------
    InputError
        If a file is there and ``overwrite`` is false, two images are of one day, or a file cannot be written.
    """
    folder = Path(folder)
    check(series)
    box, bands = geobox(series), [str(b) for b in series["band"].values]
    names = [str(t)[:10].replace("-", "") for t in series["time"].values]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(folder, f"cannot hold two images of {name}", "keep one image per day")
        if not overwrite and (folder / f"{name}.tif").exists():
            raise InputError(folder / f"{name}.tif", "exists", "choose another folder or overwrite")
    for i, name in enumerate(names):
        image = series[["reflectance", "valid"]].isel(time=i)
        # The mask first: an image is never there without its mask.
        write_cog(folder / f"{name}_mask.tif", ~image["valid"].data[None], box, ["mask"])
        write_cog(folder / f"{name}.tif", image["reflectance"].data, box, bands, int16=int16)


class _Int16:
    """Encodes reflectances as integers, and counts what does not fit."""

    def __init__(self, path: Path) -> None:
        self.path, self.clipped, self.finite = path, 0, 0

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
        finite = np.isfinite(values)
        scaled = np.rint(np.where(finite, values, 0) * np.float32(1 / INT16_SCALE))
        limit = -INT16_NODATA - 1
        self.finite += int(finite.sum())
        self.clipped += int((np.abs(scaled) > limit).sum())
        return np.where(finite, np.clip(scaled, -limit, limit), INT16_NODATA).astype(np.int16)

    def check(self) -> None:
        """Raise InputError if this is no reflectance."""
        if self.clipped > CLIPPED_SHARE * self.finite:
            share = 100 * self.clipped / self.finite
            raise InputError(self.path, f"{share:.0f} % of the values do not fit int16 × 1e-4", "write float32")


class _Float32:
    """Encodes NaN as nodata."""

    def __init__(self, nodata: float) -> None:
        self.nodata = nodata

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        values = values.astype(np.float32, copy=False)
        if math.isnan(self.nodata):
            return values
        return np.where(np.isnan(values), np.float32(self.nodata), values)


def _as_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return values.astype(np.uint8)


def _to_cog(draft: Path, final: Path, path: Path, predictor: str, resampling: Resampling) -> None:
    """Copy a GeoTIFF to a cloud-optimised one, with overviews, and make sure that it is complete."""
    try:
        rasterio.shutil.copy(
            draft,
            final,
            driver="COG",
            compress="deflate",
            predictor=predictor,
            bigtiff="if_safer",
            overview_resampling=resampling.name,
            num_threads="all_cpus",
        )
        # GDAL may lose the last blocks on a full disk without a word: they must be there to be read.
        with rasterio.open(final) as source:
            for corner in (Window(0, 0, 1, 1), Window(source.width - 1, source.height - 1, 1, 1)):
                source.read(window=corner)
    except Exception as error:  # GDAL's own errors have no public base class in rasterio
        raise InputError(path, "could not be written completely", "check the free space on the disk") from error


# --- places ----------------------------------------------------------------------------------------------------


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an InputError that names the path."""
    try:
        yield
    except (OSError, RasterioError, zarr.errors.BaseZarrError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or ["?"])[0][:160]
        raise InputError(
            path, f"cannot be written ({reason})", "check the path, its permissions and the free space"
        ) from error


def _beside(path: Path, suffix: str) -> Path:
    """A hidden temporary name in the same folder, hence on the same disk."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.{suffix}")


def _check_place(path: Path, overwrite: bool) -> None:
    """Make sure that a place is free or may be cleared: only what is empty or a Zarr store is ever deleted."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise InputError(path, "exists", "choose another place or overwrite")
    if not (path / "zarr.json").is_file():
        raise InputError(path, "is no Zarr store and is not deleted", "choose another place or remove it yourself")


def _clear_place(path: Path) -> None:
    """Delete what is at a place that has passed :func:`_check_place`."""
    if path.exists():
        with _writing(path):
            shutil.rmtree(path)


@contextmanager
def _replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary place that takes the place of ``path`` when all is written, and vanishes otherwise."""
    _check_place(path, overwrite)
    draft = _beside(path, "draft")
    try:
        with _writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        _clear_place(path)
        with _writing(path):
            draft.replace(path)
    except InputError as error:
        if str(error.where).startswith(str(draft)):
            where = str(error.where).replace(str(draft), str(path), 1)
            raise InputError(where, error.problem, error.mend) from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
