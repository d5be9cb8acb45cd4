"""What a benchmark leaves out of a site before a date is predicted: the question that it asks.

=============== ===========================================================================================
``standard``    everything is there, but for guides of the predicted day: they would give away the answer
``guide-gap:N`` nor any guide of the N days around the date: a long cloudy spell, or a rare HR sensor
``target-gap:N`` the same of the LR series: its images of the N days around the date, that of the day included
``no-lr``       the LR image of the day is lost, and interpolated in time from its neighbours
``forecast``    only guides before the date and LR images up to it: near-real-time
=============== ===========================================================================================

References
----------
The scenarios (gaps, forecast, no LR) follow the habit of studies of irregular pairs of series, such as Michel and
Inglada, *Temporal Attention Multi-Resolution Fusion of Satellite Image Time-Series* (2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from ..core.arrays import BoolArray, Times
from ..core.dates import days
from ..core.site import group, make_site
from ..errors import InputError

STANDARD = "standard"
FORECAST = "forecast"
NO_LR = "no-lr"
GUIDE_GAP = "guide-gap"
TARGET_GAP = "target-gap"
KNOWN = f"{STANDARD}, {FORECAST}, {NO_LR}, {GUIDE_GAP}:DAYS or {TARGET_GAP}:DAYS"


@dataclass(frozen=True)
class Protocol:
    """What is left out; see the module."""

    kind: str
    """One of those above, without the number of days."""
    gap: float = 0.0
    """Days without images around the date, of the kinds that have a gap."""

    @classmethod
    def parse(cls, text: str) -> Protocol:
        """Read a protocol as it is written on the command line.

        Raises
        ------
        InputError
            If it is unknown, or its gap is not a number of days.
        """
        kind, colon, gap = text.strip().partition(":")
        if kind in (STANDARD, FORECAST, NO_LR) and not colon:
            return cls(kind)
        if kind in (GUIDE_GAP, TARGET_GAP):
            try:
                found = float(gap)
            except ValueError:
                found = -1.0
            if 0 < found < np.inf:
                return cls(kind, found)
            raise InputError("`protocols`", f"{text!r} names no gap", f"give its days, e.g. {kind}:60")
        raise InputError("`protocols`", f"{text!r} is unknown", f"choose among {KNOWN}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.gap:g}" if self.gap else self.kind

    def guides(self, times: Times, date: np.datetime64, answer: np.datetime64) -> BoolArray:
        """Which guides may be used for a date, whose reference is of the day ``answer``: (time,) bool."""
        away = days(times, date)
        keep = ~np.isin(times.astype("datetime64[D]"), np.array([date, answer], "datetime64[D]"))
        if self.kind == FORECAST:
            keep &= away < 0
        if self.kind == GUIDE_GAP:
            keep &= np.abs(away) > self.gap / 2
        return np.asarray(keep)

    def targets(self, times: Times, date: np.datetime64) -> BoolArray:
        """Which LR images may be used for a date: (time,) bool."""
        away = days(times, date)
        if self.kind == FORECAST:
            return np.asarray(away <= 0)
        if self.kind == NO_LR:
            return np.asarray(away != 0)
        if self.kind == TARGET_GAP:
            return np.asarray(np.abs(away) > self.gap / 2)
        return np.ones(len(times), bool)

    def problem(self, guides: Times, targets: Times, date: np.datetime64, answer: np.datetime64) -> str:
        """Why a date cannot be predicted under this protocol; empty if it can."""
        if not self.guides(guides, date, answer).any():
            return "no guide is left"
        left = days(targets[self.targets(targets, date)], date)
        if not left.size or left.min() > 0 or left.max() < 0:
            return "no LR image is left before it or after it"
        return ""


def withhold(site: xr.DataTree, protocol: Protocol, date: np.datetime64, answer: np.datetime64) -> xr.DataTree:
    """The site without what the protocol leaves out for a date and the day of its reference, and without references."""
    guide, target = group(site, "guide"), group(site, "target")
    return make_site(
        guide.isel(time=np.flatnonzero(protocol.guides(guide["time"].values, date, answer))),
        target.isel(time=np.flatnonzero(protocol.targets(target["time"].values, date))),
        **{str(k): v for k, v in site.attrs.items() if k != "ratio"},
    )
