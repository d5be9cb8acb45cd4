"""What the readers of raster files share: lazy stacks of images, nodata, scale, grids."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dask.array import from_array
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from ..core.arrays import LARGEST
from ..core.grid import crs_name, same_grid
from ..errors import InputError


@dataclass(frozen=True)
class Stack:
    """The images of all dates as one array-like (time, …, y, x), read by windows.

    It holds nothing but paths and numbers, so that dask can send it to any worker. Dask merges the slice of a chunk
    into the read, hence a tile with a halo costs its own pixels and not those of nine chunks (as long as it is taken
    in one step, ``isel(time=…, y=…, x=…)``, and computed by itself).
    """

    images: tuple[Any, ...]
    """One per date."""
    method: str
    """Name of the images' method that reads a :class:`rasterio.windows.Window` as an array (…, y, x)."""
    dtype: np.dtype[Any]
    """What that method returns."""
    inner: tuple[int, ...]
    """Shape of one image: (band, y, x) or (y, x)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(time, …, y, x)."""
        return (len(self.images), *self.inner)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.inner) + 1

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Read what an index of integers, slices and lists refers to; every dimension is indexed by itself."""
        times, *bands, rows, cols = key
        window, inner = _window((rows, cols), self.inner[-2:])
        chosen = np.atleast_1d(np.arange(len(self.images))[times])
        found = [
            getattr(self.images[i], self.method)(window)[(*bands, *((...,) if bands else ()), *inner)] for i in chosen
        ]
        if not found:
            return np.asarray(np.broadcast_to(self.dtype.type(0), self.shape)[key])
        return found[0] if isinstance(times, int | np.integer) else np.stack(found)

    def token(self, *more: Any) -> str:
        """A name for what is read, from the images' contents; paths may be of any bytes."""
        return str(tokenize(pickle.dumps(self), *more))

    def lazy(self, chunk: int, name: str) -> Any:
        """A dask array in chunks of one date and ``chunk`` × ``chunk`` pixels, made without reading."""
        size = tuple(min(chunk, n) for n in self.inner[-2:])
        meta = np.empty((0,) * self.ndim, self.dtype)
        return from_array(self, (1, *self.inner[:-2], *size), name=name, meta=meta)  # type: ignore[no-untyped-call]


def _window(key: tuple[Any, Any], shape: Sequence[int]) -> tuple[Window, tuple[Any, Any]]:
    """The window that covers an index of rows and columns, and the index within it."""
    starts, sizes, inner = [], [], []
    for index, n in zip(key, shape, strict=True):
        places = np.arange(n)[index]
        low = int(places.min()) if places.size else 0
        starts.append(low)
        sizes.append(int(places.max()) + 1 - low if places.size else 1)
        if isinstance(index, slice) and places.size and (index.step or 1) == 1:
            inner.append(slice(None))
        else:
            inner.append(places - low)
    if all(isinstance(i, np.ndarray) and i.ndim == 1 for i in inner):
        inner = list(np.ix_(*inner))  # dask's keys are orthogonal, NumPy's are not
    return Window(starts[1], starts[0], sizes[1], sizes[0]), (inner[0], inner[1])


def missing(raw: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Where a band holds nodata, NaN, infinity or a number beyond all measure.

    Floats are compared with nodata to two units in the last place of float32, as GDAL does: text in a header has few
    digits.
    """
    floats = raw.dtype.kind == "f"
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 nodata of a float32 file
        found = ~(np.abs(raw) < LARGEST) if floats else np.zeros(raw.shape, bool)
        if nodata is not None and np.isfinite(nodata):
            found |= raw == nodata
            if floats:
                found |= np.abs(raw - raw.dtype.type(nodata)) <= 4 * np.finfo(np.float32).eps * abs(nodata)
    return found


def scaled(raw: npt.NDArray[Any], scale: float, offset: float) -> npt.NDArray[np.float64]:
    """``raw * scale + offset`` in float64, of which the nearest float32 is what another reader finds."""
    return np.asarray(raw * np.float64(scale) + offset)


def check_grid(path: Path | str, box: GeoBox, other: str, expected: GeoBox, mend: str) -> None:
    """Raise InputError that says in what the grids of two files differ."""
    if same_grid(box, expected):
        return
    if box.crs != expected.crs:
        what = f"CRS {crs_name(box)} differs from that of {other} ({crs_name(expected)})"
    elif tuple(box.shape) != tuple(expected.shape):
        what = "size {}×{} differs from that of {} ({}×{})".format(*box.shape, other, *expected.shape)
    else:
        what = f"lies on another grid than {other} (origin {_origin(box)}, not {_origin(expected)})"
    raise InputError(path, what, mend)


def _origin(box: GeoBox) -> str:
    return f"{box.affine.c:.10g} {box.affine.f:.10g}, pixel {box.affine.a:.10g} {box.affine.e:.10g}"
