"""Maps of the guides' weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..core.arrays import FloatArray

MAPS = 6
"""Most maps of weights."""


@dataclass(frozen=True)
class Maps:
    """Weights of the guides that weigh most, in order of time."""

    weights: FloatArray
    """(map, y, x)."""
    times: npt.NDArray[np.datetime64]
    count: int
    """Number of guides in all."""
    band: str


def most_used(weights: xr.DataArray, band: str, most: int = MAPS) -> Maps:
    """The guides with the largest mean absolute weights, in a band or else the first."""
    name = ""
    if "band" in weights.dims:
        names = [str(b) for b in weights["band"].values]
        name = band if band in names else names[0]
        weights = weights.isel(band=names.index(name))
    values = weights.transpose("guide_time", "y", "x").values.astype(np.float32)
    share = np.nanmean(np.abs(np.nan_to_num(values)), axis=(1, 2))
    chosen = np.sort(np.argsort(share)[::-1][:most])
    return Maps(values[chosen], weights["guide_time"].values[chosen], len(values), name)
