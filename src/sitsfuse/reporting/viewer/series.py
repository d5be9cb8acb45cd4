"""Series of the viewer: values of all images at a regular grid of positions, a byte each, deflated."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import ByteArray, FloatArray
from ...core.series import geobox

INVALID, BELOW, LOWEST, HIGHEST, ABOVE = 0, 1, 2, 254, 255
"""Bytes: no value, too low, the lowest and the highest value that have a byte of their own, too high."""
TAILS, WIDER = (0.1, 99.9), 0.1
"""Percentiles of the observations that the bytes span, and by how much of that more, on either side."""


@dataclass(frozen=True)
class Span:
    """What the bytes of a series stand for."""

    low: FloatArray
    """(band,) value of byte 2."""
    high: FloatArray
    """(band,) value of byte 254."""

    @classmethod
    def of(cls, observed: Sequence[FloatArray]) -> Span:
        """The span of observations (time, band, position), NaN where invalid."""
        pooled = np.concatenate([np.moveaxis(series, 1, 0).reshape(series.shape[1], -1) for series in observed], axis=1)
        known = np.isfinite(pooled).all(axis=0)
        if not known.any():
            return cls(np.zeros(len(pooled), np.float32), np.ones(len(pooled), np.float32))
        low, high = np.percentile(pooled[:, known], TAILS, axis=1)
        more = WIDER * np.maximum(high - low, 1e-3)
        return cls((low - more).astype(np.float32), (high + more).astype(np.float32))

    def __call__(self, values: FloatArray) -> ByteArray:
        """Bytes of (time, band, position), NaN where there is nothing."""
        low, high = (a[:, None].astype(float) for a in (self.low, self.high))
        codes = np.rint(LOWEST + (HIGHEST - LOWEST) * (values - low) / (high - low))
        codes = np.where(np.isfinite(values), np.clip(codes, BELOW, ABOVE), INVALID)
        return codes.astype(np.uint8)


def sigma_codes(values: FloatArray, end: float) -> ByteArray:
    """Bytes of uncertainties, NaN where there is none: 0 for none, 255 for twice ``end``, by their square root."""
    shares = np.sqrt(np.clip(values / (2 * end), 0, 1))
    return np.where(np.isfinite(values), np.clip(np.rint(255 * shares), 1, 255), 0).astype(np.uint8)


def positions(shape: tuple[int, int], side: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of a grid of about ``side`` × ``side`` positions, each in the middle of its cell."""
    rows, cols = (((np.arange(min(side, n)) + 0.5) * n / min(side, n)).astype(np.int64) for n in shape)
    return rows, cols


def take(
    series: xr.Dataset, bands: list[str], like: xr.Dataset, at: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> FloatArray:
    """Values at positions of another grid.

    Parameters
    ----------
    series
        ``reflectance(time, band, y, x)`` and ``valid(time, y, x)``.
    bands
        Those to take.
    like
        An image on the grid that the positions belong to.
    at
        Rows and columns there.

    Returns
    -------
    numpy.ndarray
        (time, band, row × column) values of the pixels in which the middles of the positions lie; NaN where invalid
        or outside.
    """
    to = ~geobox(series).affine @ geobox(like).affine
    rows = np.floor(to.e * (at[0] + 0.5) + to.f + 1e-6).astype(np.int64)
    cols = np.floor(to.a * (at[1] + 0.5) + to.c + 1e-6).astype(np.int64)
    height, width = geobox(series).shape
    inside = ((rows >= 0) & (rows < height))[:, None] & ((cols >= 0) & (cols < width))
    grid = np.ix_(np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1))
    values = series["reflectance"].sel(band=bands).transpose("time", "band", "y", "x").values
    valid = series["valid"].transpose("time", "y", "x").values
    kept = values[:, :, grid[0], grid[1]]
    ok = valid[:, grid[0], grid[1]] & inside & np.isfinite(kept).all(axis=1)
    return np.where(ok[:, None], kept, np.float32(np.nan)).reshape(len(values), len(bands), -1)


def deflate(codes: ByteArray) -> bytes:
    """Bytes (time, band, position) as zlib's stream, which browsers call "deflate"."""
    return zlib.compress(codes.tobytes(), 9)
