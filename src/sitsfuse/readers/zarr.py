"""A Zarr group as a lazy series."""

from __future__ import annotations

import json
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
import zarr.errors
from dask.array import from_array

from ..core.checks import check
from ..errors import InputError

_DAMAGE = (OSError, KeyError, ValueError, TypeError, RuntimeError, zarr.errors.BaseZarrError)
"""What zarr and xarray raise on stores that are missing, cut short or foreign."""


def is_zarr(path: str | Path) -> bool:
    """Whether a folder is a Zarr group."""
    return (Path(path) / "zarr.json").is_file() or (Path(path) / ".zgroup").is_file()


def read_zarr(path: str | Path) -> xr.Dataset:
    """Open a Zarr group that holds a series.

    Parameters
    ----------
    path
        The group: a store, or a group inside one (``SITE/guide``).

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
    _group(path)
    try:
        # cache=False: with it, xarray would keep in memory whatever is computed.
        with warnings.catch_warnings():
            # Hidden folders, such as the state of a run, are not part of a series.
            warnings.filterwarnings("ignore", message=r"Object at \.", category=UserWarning)
            series = xr.open_dataset(path, engine="zarr", chunks=None, cache=False, consolidated=False)
    except _DAMAGE as error:
        raise InputError(path, f"is a damaged Zarr store ({_first_line(error)})", "write or copy it again") from error
    if not series.variables:
        raise InputError(path, "is a Zarr group without a series", "give the group of a series")
    labels = {name: c for name, c in series.coords.items() if c.dtype.kind in "UO" and c.dims}
    # One type of strings, whoever wrote the store.
    series = series.assign_coords({n: (c.dims, c.values.astype(np.dtypes.StringDType())) for n, c in labels.items()})
    lazy = {name: _lazy(path / str(name), v.variable) for name, v in series.data_vars.items() if v.dims}
    return check(series.assign(lazy), path)


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
    return sorted(p.name for p in Path(path).iterdir() if is_zarr(p) and not _is_array(p))


def _is_array(path: Path) -> bool:
    try:
        return bool(json.loads((path / "zarr.json").read_text())["node_type"] == "array")
    except _DAMAGE:
        return False


def _group(path: Path) -> zarr.Group:
    if not is_zarr(path):
        what = "is not a Zarr store" if path.exists() else "does not exist"
        raise InputError(path, what, "give a folder that holds zarr.json")
    try:
        return zarr.open_group(path, mode="r", use_consolidated=False)
    except _DAMAGE as error:
        raise InputError(path, f"is a damaged Zarr group ({_first_line(error)})", "write or copy it again") from error


@dataclass(frozen=True)
class _Stored:
    """A lazy variable as an array-like that turns a damaged chunk into an InputError."""

    path: Path
    variable: xr.Variable

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def ndim(self) -> int:
        return self.variable.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.variable.dtype
        return dtype

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        try:
            return np.asarray(self.variable[key].values)
        except _DAMAGE as error:
            raise InputError(
                self.path, f"holds a damaged chunk ({_first_line(error)})", "write or copy it again"
            ) from error


def _lazy(path: Path, variable: xr.Variable) -> xr.Variable:
    """A variable as a dask array, in chunks that are its shards, or its chunks where it has no shards."""
    stored = variable.encoding.get("shards") or variable.encoding.get("chunks") or variable.shape
    chunks = tuple(min(c, n) for c, n in zip(stored, variable.shape, strict=True))
    meta = np.empty((0,) * variable.ndim, variable.dtype)
    # A name of its own at each opening: what a store holds changes while it is filled.
    name = f"zarr-{path.name}-{uuid.uuid4().hex}"
    array = from_array(_Stored(path, variable), chunks, name=name, meta=meta)  # type: ignore[no-untyped-call]
    return xr.Variable(variable.dims, array, variable.attrs)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
