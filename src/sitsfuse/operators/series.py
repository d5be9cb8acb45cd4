"""Whole series degraded to another grid: ↓ of `updown`, eager on NumPy and lazy on dask.

A lazy result is cut into chunks; each is computed from the window of the input that its rows of the operators'
matrices refer to. Those matrices are cut out of the whole grids' ones, never made anew, so that lazy and eager
results are the same numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from odc.geo.geobox import GeoBox
from scipy import sparse

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import GridPair
from ..core.series import DEFAULT_MTF, geobox, make_series
from ..errors import InputError
from .matrices import down_matrix
from .updown import MIN_FOOTPRINT, down_by

CHUNK = 1024
"""Largest side of a chunk of a lazy result, in HR pixels."""

Operators = dict[float, tuple[sparse.csr_array, sparse.csr_array]]


def degrade(
    series: xr.Dataset,
    box: GeoBox,
    mtf: float | Sequence[float] | None = None,
    min_footprint: float = MIN_FOOTPRINT,
) -> xr.Dataset:
    """Degrade an HR series to an LR grid (↓).

    Parameters
    ----------
    series
        The HR series, lazy or not.
    box
        The LR grid.
    mtf
        MTF at Nyquist of the LR sensor, one for all bands or one each; 0.3 by default.
    min_footprint
        Share of the PSF that must fall on valid pixels.

    Returns
    -------
    xarray.Dataset
        ``reflectance`` and ``valid`` on the LR grid, lazy if ``series`` is; its attribute ``mtf`` is the one given.
        Other variables on the HR grid are left behind.

    Raises
    ------
    InputError
        If the two grids do not fit together, or there is not one MTF per band.
    """
    pair = GridPair(geobox(series), box)
    bands = series.sizes["band"]
    given = DEFAULT_MTF if mtf is None else mtf
    mtfs = [float(given)] * bands if np.isscalar(given) else [float(m) for m in given]  # type: ignore[arg-type, union-attr]
    if len(mtfs) != bands:
        raise InputError("`mtf`", f"has {len(mtfs)} values for {bands} bands", "give one for all bands or one each")
    operators = {m: (down_matrix(pair.y, m), down_matrix(pair.x, m)) for m in mtfs}
    result = _Degrade(operators, tuple(mtfs), min_footprint)
    if not is_dask_collection(series):
        values, valid = result(series["reflectance"].values, series["valid"].values)
        return _rebuilt(series, values, valid, box, mtf=mtfs)

    def part(rows: slice, cols: slice) -> tuple[_Degrade, slice, slice]:
        cut = {m: (y[rows], x[cols]) for m, (y, x) in operators.items()}
        y0, x0 = (_used([pair_of[k] for pair_of in cut.values()]) for k in (0, 1))
        inner: Operators = {m: (y[:, y0], x[:, x0]) for m, (y, x) in cut.items()}
        return _Degrade(inner, tuple(mtfs), min_footprint), y0, x0

    series = _one_chunk_of_bands(series)
    return _rebuilt(series, *_lazy(series, box, part, max(1, int(CHUNK / pair.ratio))), box, mtf=mtfs)


@dataclass(frozen=True)
class _Degrade:
    """↓ of one window."""

    operators: Operators
    mtfs: tuple[float, ...]
    min_footprint: float

    def __call__(self, values: FloatArray, valid: BoolArray) -> tuple[FloatArray, BoolArray]:
        return down_by(self.operators, values, valid, self.mtfs, self.min_footprint)


def _lazy(
    series: xr.Dataset, box: GeoBox, part: Callable[[slice, slice], tuple[_Degrade, slice, slice]], side: int
) -> tuple[Any, Any]:
    """Values and mask as dask arrays: one task per ``side`` x ``side`` pixels of the result and time chunk."""
    values, valid = series["reflectance"].data, series["valid"].data
    packed: list[list[Any]] = []
    for rows in _spans(box.shape[0], side):
        packed.append([])
        for cols in _spans(box.shape[1], side):
            window, y0, x0 = part(rows, cols)
            inputs = [a[..., y0, x0].rechunk({a.ndim - 2: -1, a.ndim - 1: -1}) for a in (values, valid)]
            shape = (rows.stop - rows.start, cols.stop - cols.start)
            packed[-1].append(_mapped(window, inputs[0], inputs[1], shape))
    joined = da.block(packed)  # type: ignore[no-untyped-call]
    return joined[:, :-1], joined[:, -1] > 0


def _one_chunk_of_bands(series: xr.Dataset) -> xr.Dataset:
    """All of the series on dask, its variables cut alike: they may come from files that are not."""
    lazy = series.copy() if series["reflectance"].chunks else series.assign(reflectance=series["reflectance"].chunk())
    if not lazy["valid"].chunks:
        lazy = lazy.assign(valid=lazy["valid"].chunk())
    return lazy.unify_chunks().chunk(band=-1)


def _mapped(window: _Degrade, values: Any, valid: Any, shape: tuple[int, int]) -> Any:
    bands = values.shape[1] + 1
    return da.map_blocks(  # type: ignore[no-untyped-call]
        _pack,
        values,
        # Along with the values, chunk by chunk in time.
        valid[:, None],
        window=window,
        dtype=np.float32,
        chunks=(values.chunks[0], (bands,), (shape[0],), (shape[1],)),
        meta=np.empty((0, 0, 0, 0), np.float32),
    )


def _pack(values: FloatArray, valid: BoolArray, window: _Degrade) -> FloatArray:
    """Both results of a window in one array, the mask as its last band: dask maps to one array, and one pass does."""
    image, ok = window(values, valid[:, 0])
    return np.concatenate([image, ok[:, None].astype(np.float32)], axis=1)


def _spans(n: int, side: int) -> list[slice]:
    edges = [*range(0, n, side), n]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _used(matrices: Sequence[sparse.csr_array]) -> slice:
    """The columns that any of the matrices refers to, as one slice; one column where there is none."""
    columns = np.concatenate([m.indices for m in matrices])
    if columns.size == 0:
        return slice(0, 1)
    return slice(int(columns.min()), int(columns.max()) + 1)


def _rebuilt(series: xr.Dataset, values: Any, valid: Any, box: GeoBox, **attrs: Any) -> xr.Dataset:
    """A series on another grid with the coordinates along time and band and the attributes of the first one.

    Coordinates are small, and kept in memory: where they are cut unlike the images, xarray refuses to tell the chunks
    of the dataset.
    """
    out = make_series(values, valid, series["time"].values, series["band"].values.tolist(), box, series.attrs)
    along = {
        n: c.variable.compute()
        for n, c in series.coords.items()
        if n not in out.coords and set(c.dims) <= {"time", "band"}
    }
    return out.assign_coords(along).assign_attrs(attrs)
