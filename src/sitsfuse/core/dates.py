"""Days and dates: as numbers, in an index, and nearest to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr


def calendar_days(a: Any, b: Any) -> Any:
    """Whole days from ``b`` to ``a``, whatever the hours."""
    return (np.asarray(a).astype("datetime64[D]") - np.asarray(b).astype("datetime64[D]")).astype(int)


def nearest(series: xr.Dataset, date: np.datetime64) -> int:
    """Position of the image of the nearest calendar day."""
    return int(np.argmin(np.abs(calendar_days(series["time"].values, date))))


def index_of(series: xr.Dataset, date: np.datetime64) -> int | None:
    """Position of the image of that day, or None."""
    days_of = series["time"].values.astype("datetime64[D]")
    found = np.flatnonzero(days_of == np.datetime64(date, "D"))  # type: ignore[call-overload]
    return int(found[0]) if found.size else None


def days(times: npt.ArrayLike, date: np.datetime64) -> npt.NDArray[np.float64]:
    """Signed days from ``date`` to each of ``times``."""
    delta = np.asarray(times, dtype="datetime64[s]") - np.datetime64(date, "s")  # type: ignore[call-overload]
    return np.asarray(delta / np.timedelta64(1, "D"), dtype=np.float64)
