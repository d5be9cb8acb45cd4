"""Which dates a run predicts."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .choices import Step


def plan_dates(
    available: npt.NDArray[np.datetime64], dates: Any = None, every: Step | None = None
) -> tuple[npt.NDArray[np.datetime64], tuple[bool, ...]]:
    """The dates to predict, and which of them the target series lacks.

    Parameters
    ----------
    available
        (time,) dates of the target series.
    dates, every
        As in :func:`fuse`; at most one of them.

    Raises
    ------
    InputError
        If a date or a step cannot be understood, or a date lies outside the target series.
    """
    if dates is not None and every is not None:
        raise InputError("`every`", "cannot go with `dates`", "give one of them")
    have = dict(zip(available.astype("datetime64[D]").tolist(), available, strict=True))
    if len(have) < len(available):
        twice = available[1:][np.diff(available.astype("datetime64[D]")) == np.timedelta64(0, "D")]
        raise InputError("target", f"has two images of {str(twice[0])[:10]}", "keep one image per day")
    first, last = available[0].astype("datetime64[D]"), available[-1].astype("datetime64[D]")
    if every is not None:
        wanted = np.arange(first, last + 1, _days(every))
    elif dates is not None:
        dates = _listed(dates, available)
        if not len(dates):
            raise InputError("`dates`", "is empty", "give e.g. 2019-05-01,2019-05-06")
        wanted = np.unique([_as_day(d) for d in dates])
        outside = wanted[(wanted < first) | (wanted > last)]
        if outside.size:
            raise InputError(
                "`dates`", f"{outside[0]} lies outside the target series ({first} to {last})", "choose a date within"
            )
    else:
        wanted = available.astype("datetime64[D]")
    times = np.array([have.get(d, np.datetime64(d)) for d in wanted.tolist()], "datetime64[ns]")
    return times, tuple(d not in have for d in wanted.tolist())


def _days(every: Any) -> int:
    """A step as a number of days."""
    days: float = 0
    if isinstance(every, str):
        found = re.fullmatch(r"\s*(\d+)\s*(?:d|days?)?\s*", every, re.IGNORECASE)
        days = int(found[1]) if found else 0
    elif isinstance(every, datetime.timedelta | np.timedelta64):
        days = every / type(every)(1, "D") if isinstance(every, np.timedelta64) else every / datetime.timedelta(days=1)
    elif isinstance(every, int | np.integer) and not isinstance(every, bool):
        days = int(every)
    if not (days >= 1 and days == int(days)):
        raise InputError("`every`", f"{every!r} is not a number of days", "give whole days, e.g. 2d")
    return int(days)


def _listed(dates: Any, available: npt.NDArray[np.datetime64]) -> Sequence[Any]:
    """Dates one by one: a text or a date is one (or several with commas), a slice those of the target within it."""
    if isinstance(dates, str):
        return [part for part in dates.split(",") if part.strip()]
    if isinstance(dates, slice):
        days = available.astype("datetime64[D]")
        inside = np.ones(len(days), bool)
        for end, keep in ((dates.start, np.greater_equal), (dates.stop, np.less_equal)):
            if end is not None:
                inside &= keep(days, _as_day(end))
        return list(days[inside])
    values = getattr(dates, "values", dates)
    if np.ndim(values) == 0:
        return [values[()] if isinstance(values, np.ndarray) else values]
    return list(values)


def _as_day(value: Any) -> np.datetime64:
    if isinstance(value, str):  # NumPy would take 20190501 for a year
        value = re.sub(r"^\s*(\d{4})(\d\d)(\d\d)\s*$", r"\1-\2-\3", value)
        if re.fullmatch(r"\s*\d{4}(-\d\d?)?\s*", value):  # and 2019-05 for its first day
            raise InputError("`dates`", f"{value.strip()!r} has no day", "write dates as 2019-05-01")
    try:
        day = np.datetime64(value, "D")
    except (ValueError, TypeError) as error:
        raise InputError("`dates`", f"{value!r} is not a date", "write dates as 2019-05-01") from error
    if np.isnat(day):
        raise InputError("`dates`", f"{value!r} is not a date", "write dates as 2019-05-01")
    return day
