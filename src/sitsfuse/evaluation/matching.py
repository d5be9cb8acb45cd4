"""Which dates of a prediction, a reference and a target belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..core.dates import calendar_days, nearest
from ..errors import InputError


@dataclass(frozen=True)
class Match:
    """Positions along time of images that are compared."""

    reference: int
    """Of the reference."""
    prediction: int
    """Of the prediction."""
    target: int | None
    """Of the target, if there is one."""


def matches(prediction: xr.Dataset, reference: xr.Dataset, target: xr.Dataset | None, max_days: float) -> list[Match]:
    """The partners of each reference date, those without one left out.

    Raises
    ------
    InputError
        If no date is left; it tells which are closest.
    """
    found = []
    for k, date in enumerate(reference["time"].values):
        near = nearest(prediction, date)
        if abs(calendar_days(prediction["time"].values[near], date)) > max_days:
            continue
        clear = None
        if target is not None:
            when = prediction["time"].values[near]
            clear = nearest(target, when)
            if abs(calendar_days(target["time"].values[clear], when)) > max_days:
                continue
        found.append(Match(k, near, clear))
    if not found:
        _raise_closest(prediction, reference, target, max_days)
    return found


def _raise_closest(prediction: xr.Dataset, reference: xr.Dataset, target: xr.Dataset | None, max_days: float) -> None:
    """Raise :class:`InputError` with the closest pair of dates that are still too far apart."""
    for name, a, b in (("reference", reference, prediction), ("target", target, prediction)):
        if a is None:
            continue
        gaps = np.abs(calendar_days(a["time"].values[:, None], b["time"].values[None, :]))
        i, j = np.unravel_index(np.argmin(gaps), gaps.shape)
        if gaps[i, j] > max_days:
            ours, theirs = _day(a["time"].values[i]), _day(b["time"].values[j])
            raise InputError(
                "prediction",
                f"has no date within {max_days:g} days of the {name} (closest: {theirs}, {name} {ours})",
                f"predict at the dates of the {name}, or set `max_days` to {gaps[i, j]} or more",
            )
    raise InputError(
        "prediction",
        f"has no date within {max_days:g} days of both a reference and a target image",
        "predict at the dates of the reference, or set `max_days` higher",
    )


def _day(time: np.datetime64) -> str:
    return str(time)[:10]
