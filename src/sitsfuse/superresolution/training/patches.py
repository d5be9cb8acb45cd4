"""Patches of SEN2VENµS: the pixels of pairs of files, of both versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import FloatArray
from ...errors import InputError, missing_extra
from ...readers.opening import opened
from ...readers.raster import missing

if TYPE_CHECKING:
    import torch


SCALE = 10000
"""Stored numbers per unit of reflectance."""
NODATA = -10000
"""What Theia's products hold where there is no observation."""
AGAIN = "download or unpack it again"


@dataclass(frozen=True)
class Patches:
    """Same-day HR and LR patches of one site, tile and date."""

    site: str
    """Name of the Venµs site."""
    tile: str
    """Sentinel-2 tile, such as 31TCJ."""
    date: np.datetime64
    """Day of both acquisitions."""
    bands: tuple[str, ...]
    """Common names."""
    hr_pixel: float
    """Metres."""
    lr_pixel: float
    """Metres."""
    count: int
    """Number of patches."""
    size: tuple[int, int]
    """Rows and columns of an LR patch."""
    hr: tuple[str, ...] = field(repr=False)
    """Files of Venµs: one .pt, or one GeoTIFF per patch."""
    lr: tuple[str, ...] = field(repr=False)
    """Files of Sentinel-2."""

    @property
    def ratio(self) -> float:
        """LR pixel over HR pixel."""
        return self.lr_pixel / self.hr_pixel

    def read(self, index: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Read some patches, and no more than these.

        Parameters
        ----------
        index
            n numbers below :attr:`count`, in any order.

        Returns
        -------
        tuple of numpy.ndarray
            HR and LR reflectance (n, band, y, x), float32, 0–1; NaN where there is none.

        Raises
        ------
        InputError
            If a file cannot be read.
        """
        y, x = self.size
        fine = round(y * self.ratio), round(x * self.ratio)
        return _read(self.hr, index, (len(self.bands), *fine)), _read(self.lr, index, (len(self.bands), y, x))


def shape_of(files: tuple[str, ...]) -> tuple[int, ...]:
    """(patch, band, y, x), as a tensor or the first of several images tells."""
    if files[0].endswith(".pt"):
        return tuple(_load(files[0]).shape)
    with opened(files[0], where=label(files[0])) as source:
        return len(files), source.count, source.height, source.width


def _read(files: tuple[str, ...], index: Sequence[int], shape: tuple[int, ...]) -> FloatArray:
    """Reflectance of some patches, each of a shape (band, y, x)."""
    if files[0].endswith(".pt"):
        return _reflectance(_load(files[0])[list(index)].numpy(), None)
    values = np.empty((len(index), *shape), np.float32)
    for k, i in enumerate(index):
        where = label(files[i])
        with opened(files[i], where=where) as source:
            if (source.count, *source.shape) != shape or any(np.dtype(d).kind not in "iu" for d in source.dtypes):
                what = f"(band, y, x) {(source.count, *source.shape)} of {source.dtypes[0]}"
                raise InputError(where, f"holds {what}, not {shape} of whole numbers", AGAIN)
            values[k] = _reflectance(source.read(), source.nodata)
    return values


def _load(path: str) -> torch.Tensor:
    """The tensor of a .pt file, (patch, band, y, x) of int16, mapped rather than read; nothing in the file is run."""
    try:
        import torch
    except ImportError as error:
        raise missing_extra("torch", "PyTorch (needed to read .pt files)") from error
    try:
        found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # damaged files fail in as many ways as a pickle has instructions
        raise InputError(path, "is truncated, damaged or more than a tensor", AGAIN) from error
    if not isinstance(found, torch.Tensor) or found.dtype != torch.int16 or found.ndim != 4:
        what = f"{found.dtype} of {found.ndim} dimensions" if isinstance(found, torch.Tensor) else type(found).__name__
        raise InputError(path, f"holds {what}, not torch.int16 of 4 (patch, band, y, x)", AGAIN)
    return found


def label(path: str) -> str:
    """A file as a user finds it."""
    return path.removeprefix("/vsizip/{").replace(".zip}/", ".zip/")


def _reflectance(raw: npt.NDArray[Any], nodata: float | None) -> FloatArray:
    """Stored numbers as reflectance, NaN where there is none."""
    values = np.asarray(raw / np.float32(SCALE), np.float32)  # rounded once, unlike a product with 1e-4
    values[missing(raw, NODATA) | missing(raw, nodata)] = np.nan
    return values
