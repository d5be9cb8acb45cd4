"""The dates of a site's images, and which LR image stands for a guide: what the methods start from that pair them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import BoolArray, FloatArray, Times
from ...core.dates import days
from ...core.site import SiteLayout
from ...operators.updown import down
from ..base import Tile

NEAR = 1.0
"""Longest time from a guide to an LR image, in days, for that image to be the one of the guide's date."""


@dataclass(frozen=True)
class Calendar:
    """The dates of a site's images, and what makes an LR image of a guide: the same for every date to predict."""

    guides: Times
    """Dates of all guides: any of them may be the nearest clear one somewhere."""
    targets: Times
    """Dates of the LR images that a tile must hold: those within a day of a guide."""
    series: Times
    """Dates of all LR images."""
    mtf: tuple[float, ...]
    """MTF of the LR sensor at its Nyquist frequency, per band."""

    @classmethod
    def of(cls, site: xr.DataTree) -> Calendar:
        """The dates of a site."""
        layout = SiteLayout.of(site)
        near = np.array([(np.abs(days(layout.guides, t)) <= NEAR).any() for t in layout.targets], bool)
        return cls(layout.guides, layout.targets[near], layout.targets, layout.mtf)

    def on(self, date: np.datetime64) -> Dates:
        """The dates for the prediction of one."""
        when = np.array([date], self.series.dtype)
        seen = (self.series.astype("datetime64[D]") == when.astype("datetime64[D]")).any()
        targets = np.union1d(self.targets, when)
        return Dates(self.guides, targets, self.series, self.mtf, when[0], not seen)

    @property
    def record(self) -> Mapping[str, Any]:
        """What stands for the LR image of each guide's date, for the provenance."""
        return lr_sources(bool(self.observed(g)) for g in self.guides)

    def observed(self, guide: np.datetime64) -> list[int]:
        """Positions of the LR images within a day of a guide, the nearest first."""
        away = self.away(guide)
        return [int(i) for i in np.argsort(away, kind="stable") if away[i] <= NEAR]

    def away(self, guide: np.datetime64) -> npt.NDArray[np.float64]:
        """(target,) days between a guide and the LR images."""
        return np.abs(days(self.targets, guide))

    def lr_images(self, tile: Tile) -> tuple[FloatArray, BoolArray]:
        """(time, band, y, x) the LR images of the guides' dates, NaN where invalid, and (time, y, x) valid.

        A clear pixel that was observed within a day of the guide is preferred, the nearest in time; else it is that
        of the degraded guide.
        """
        values, valid = tile.guide_arrays()
        out, ok = down(values, valid, tile.grids, self.mtf)
        for k, guide in enumerate(self.guides):
            for i in self.observed(guide)[::-1]:  # the nearest last: it replaces the others
                image, clear = tile.target_arrays(i)
                out[k][:, clear] = image[:, clear]
                ok[k] |= clear
        return out, ok


@dataclass(frozen=True)
class Dates(Calendar):
    """The dates that the prediction of one needs: a tile also holds the LR image of that date."""

    date: np.datetime64
    """The date to predict."""
    interpolated: bool
    """Whether the target series lacks the date to predict: what is interpolated in time was not observed."""

    @property
    def offsets(self) -> npt.NDArray[np.float64]:
        """(time,) signed days from the date to predict to each guide."""
        return days(self.guides, self.date)

    @property
    def today(self) -> int:
        """Position of the date to predict among the LR images."""
        return int(np.flatnonzero(self.targets == self.date)[0])

    def target(self, tile: Tile) -> tuple[FloatArray, BoolArray]:
        """(band, y, x) the LR image of the date to predict, and (y, x) where it is clear."""
        return tile.target_arrays(self.today)

    def away(self, guide: np.datetime64) -> npt.NDArray[np.float64]:
        """(target,) days between a guide and the LR images; what is interpolated in time is far from all."""
        away = super().away(guide)
        away[self.interpolated & (self.targets == self.date)] = np.inf
        return away


@dataclass(frozen=True)
class DatedPredictor:
    """What all predictors have in common that start from guides and the LR images of their dates."""

    dates: Dates

    @property
    def guides(self) -> Times:
        """All guides."""
        return self.dates.guides

    @property
    def targets(self) -> Times:
        """The date to predict and the LR images of guides' dates."""
        return self.dates.targets

    @property
    def choices(self) -> Mapping[str, Any]:
        """What stands for the LR images of the guides' dates."""
        return self.dates.record


def lr_sources(observed: Iterable[bool]) -> dict[str, list[str]]:
    """The record of what stands for the LR image of each guide's date: whether any was observed near it."""
    return {"lr_at_guides": ["target, degraded guide in its gaps" if o else "degraded guide" for o in observed]}
