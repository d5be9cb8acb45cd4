"""A Zarr group as a lazy series."""

from __future__ import annotations

import itertools
import json
import math
import uuid
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from dask.array import from_array

from ..core.arrays import LARGEST
from ..core.checks import check
from ..core.series import COMPLETE, CONTENT, UNFINISHED
from ..errors import InputError
from .content import store_marks
from .damage import outside

LONGEST = 10_000_000
"""Entries of a coordinate, and bytes × 1000 of a chunk, beyond which a store is taken for damaged, not for large."""
AGAIN = "write or copy it again"


def is_zarr(path: str | Path) -> bool:
    """Whether a folder is a Zarr group."""
    return (Path(path) / "zarr.json").is_file() or (Path(path) / ".zgroup").is_file()


def read_zarr(path: str | Path, *, unfinished: bool = False) -> xr.Dataset:
    """Open a Zarr group that holds a series.

    Parameters
    ----------
    path
        The group: a store, or a group inside one (``SITE/guide``).
    unfinished
        Whether to read a series that its command has not finished, too: for the command itself.

    Returns
    -------
    xarray.Dataset
        A lazy series. A dask chunk is a whole shard, so that graphs stay small; dask merges the slice of a chunk into
        the read and zarr then reads only the inner chunks that the slice touches, so that a tile with a halo, taken
        in one step (``isel(time=…, y=…, x=…)``) and computed by itself, does not cost nine shards.

    Raises
    ------
    InputError
        If there is no such group, it cannot be read or breaks the conventions of a series.
    """
    path = Path(path)
    group = _group(path)
    if not unfinished:
        check_finished(path, group.attrs)
    with outside(path, "is a damaged Zarr store", AGAIN):
        # cache=False: with it, xarray would keep in memory whatever is computed.
        with warnings.catch_warnings():
            # Hidden folders, such as the state of a run, are not part of a series.
            warnings.filterwarnings("ignore", message=r"Object at \.", category=UserWarning)
            _check_sizes(path, group)
            series = xr.open_dataset(path, engine="zarr", chunks=None, cache=False, consolidated=False)
        if not series.variables:
            raise InputError(path, "is a Zarr group without a series", "give the group of a series")
        labels = {name: c for name, c in series.coords.items() if c.dtype.kind in "UO" and c.dims}
        # One type of strings, whoever wrote the store.
        text = {n: (c.dims, c.values.astype(np.dtypes.StringDType())) for n, c in labels.items()}
        series = series.assign_coords(text)
    whole = series.attrs.pop(COMPLETE, False) is True
    series.attrs.pop(UNFINISHED, None)
    lazy = {
        name: _lazy(path / str(name), v.variable, _dtype(str(name), v.dtype), whole)
        for name, v in series.data_vars.items()
        if v.dims
    }
    if "time" in series.coords and series["time"].ndim == 1:
        series = series.assign_coords({CONTENT: ("time", _marks(path, series))})
    series = series.assign(lazy)
    notes = [*series.attrs.get("notes", ()), *_shifted(series)]
    return check(series.assign_attrs(notes=notes) if notes else series, path)


def _marks(path: Path, series: xr.Dataset) -> npt.NDArray[Any]:
    """(time,) marks of what a store holds of each image."""
    names = [n for n in ("reflectance", "valid") if n in series and series[n].dims[:1] == ("time",)]
    step = max([_stored(series[name].variable)[0] for name in names], default=1)
    marks = store_marks(path, names, series.sizes["time"], step)
    return np.array(marks, dtype=np.dtypes.StringDType())


def _stored(variable: xr.Variable) -> tuple[int, ...]:
    """Shape of what a file of a variable holds: a shard, or a chunk where there are no shards."""
    return tuple(variable.encoding.get("shards") or variable.encoding.get("chunks") or variable.shape)


def check_finished(path: Path, attrs: Mapping[str, Any]) -> None:
    """Raise InputError where a command that was stopped, or still runs, has left a store half made."""
    if made_by := attrs.get(UNFINISHED):
        raise InputError(
            path, f"is half made: `{made_by}` has not finished it", "run that command again, which goes on where it was"
        )


def _check_sizes(path: Path, group: zarr.Group) -> None:
    """Raise InputError where metadata tell of sizes that no series has, before anything of that size is read."""
    for name, array in group.arrays():
        entries = math.prod(array.shape) if array.ndim == 1 else 0
        if entries > LONGEST or math.prod(array.chunks) * array.dtype.itemsize > 1000 * LONGEST:
            what = f"{name[:60]} of shape {array.shape} in chunks {array.chunks}"
            raise InputError(path, f"is a damaged Zarr store ({what})", AGAIN)


def _dtype(name: str, stored: np.dtype[Any]) -> np.dtype[Any]:
    """What a variable is read as: the types of a series, in which nothing that matters of others is lost."""
    if name == "reflectance" and stored.kind in "iuf":
        return np.dtype(np.float32)
    return np.dtype(bool) if name == "valid" and stored.kind in "iuf" else stored


def _shifted(series: xr.Dataset) -> Iterable[str]:
    """What is to say of coordinates that contradict the transform beside them by parts of a pixel.

    Whole pixels tell of a transform that a selection left behind: then the coordinates are right.
    """
    text = str(series["spatial_ref"].attrs.get("GeoTransform", "")) if "spatial_ref" in series.coords else ""
    try:
        left, dx, _, top, _, dy = (float(v) for v in text.split())
    except ValueError:
        return
    for name, origin, step in (("x", left, dx), ("y", top, dy)):
        if name not in series.coords or series.sizes[name] == 0 or not step:
            continue
        apart = (float(series[name].values[0]) - origin) / step - 0.5
        if abs(apart - round(apart)) > 0.05:
            yield (
                f"{name} lies {apart:+.2f} pixels from where GeoTransform places it: were corners written for centres? "
                f"The coordinates are used"
            )


def zarr_attrs(path: str | Path) -> dict[str, Any]:
    """Attributes of a Zarr group.

    Raises
    ------
    InputError
        If there is no readable group.
    """
    return dict(_group(Path(path)).attrs)


def zarr_groups(path: str | Path) -> list[str]:
    """Names of the groups in a Zarr group, damaged ones included: of a site, its series."""
    with outside(path, "cannot be read"):
        return sorted(p.name for p in Path(path).iterdir() if is_zarr(p) and not _is_array(p))


def _is_array(path: Path) -> bool:
    try:
        return bool(json.loads((path / "zarr.json").read_text())["node_type"] == "array")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _group(path: Path) -> zarr.Group:
    if not is_zarr(path):
        what = "is not a Zarr store" if path.exists() else "does not exist"
        raise InputError(path, what, "give a folder that holds zarr.json")
    with outside(path, "is a damaged Zarr group", AGAIN):
        return zarr.open_group(path, mode="r", use_consolidated=False)


@dataclass(frozen=True)
class _Stored:
    """A lazy variable as an array-like that turns a damaged chunk into an InputError."""

    path: Path
    variable: xr.Variable
    dtype: np.dtype[Any]
    """What it is read as."""
    shard: tuple[int, ...]
    """Shape of what a file holds."""
    whole: bool
    """Whether every chunk was written."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def ndim(self) -> int:
        return self.variable.ndim

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        with outside(self.path, "holds a damaged chunk", AGAIN):
            if self.whole:
                self._check_there(key)
            raw = np.asarray(self.variable[key].values)
        if self.dtype.kind == "f":
            out = raw.astype(self.dtype)
            with np.errstate(invalid="ignore"):
                out[np.abs(out) >= LARGEST] = np.nan
            return out
        return raw.astype(self.dtype, copy=False)

    def _check_there(self, key: Any) -> None:
        """Raise InputError if a chunk's file is missing, which zarr takes for one full of the fill value."""
        keys = key if isinstance(key, tuple) else (key,)
        keys = (*keys, *(slice(None),) * (self.ndim - len(keys)))
        places = [
            np.unique(np.atleast_1d(np.arange(n)[k]) // side).tolist()
            for k, n, side in zip(keys, self.shape, self.shard, strict=True)
        ]
        for place in itertools.product(*places):
            file = self.path.joinpath("c", *map(str, place))
            if not file.is_file():
                raise InputError(self.path, f"lacks the chunk {'/'.join(file.parts[-1 - len(place) :])}", AGAIN)


def _lazy(path: Path, variable: xr.Variable, dtype: np.dtype[Any], whole: bool) -> xr.Variable:
    """A variable as a dask array, in chunks that are its shards, or its chunks where it has no shards."""
    stored = _stored(variable)
    chunks = tuple(min(c, n) for c, n in zip(stored, variable.shape, strict=True))
    meta = np.empty((0,) * variable.ndim, dtype)
    # A name of its own at each opening: what a store holds changes while it is filled.
    name = f"zarr-{path.name}-{uuid.uuid4().hex}"
    lazy = _Stored(path, variable, dtype, stored, whole and (path / "c").is_dir())
    array = from_array(lazy, chunks, name=name, meta=meta)  # type: ignore[no-untyped-call]
    return xr.Variable(variable.dims, array, variable.attrs)
