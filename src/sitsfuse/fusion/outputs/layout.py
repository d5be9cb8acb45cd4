"""What every output holds, and what it must be able to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray
from ...core.channels import Channel
from ...core.grid import Window
from ...writers import create_series

CODES = ("valid", "invalid", "filled without a clear LR pixel of the date", "filled outside the LR image")
"""What the numbers of a mask mean, from 0."""


@dataclass(frozen=True)
class Layout:
    """What an output holds."""

    times: npt.NDArray[np.datetime64]
    """(date,) predicted dates."""
    interpolated: tuple[bool, ...]
    """Per date, whether the LR image was interpolated in time."""
    channels: tuple[Channel, ...]
    """The bands and what is known of them."""
    box: GeoBox
    guides: npt.NDArray[np.datetime64]
    """(guide_time,) dates of the guides."""
    weights: bool
    """Whether the guides' weights are kept."""
    tile: int
    """Side of a tile and a shard, in HR pixels."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the result depends on (JSON-safe)."""
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Marks of all that is read, see :mod:`~sitsfuse.fusion.inputs`."""
    inside: Window = (slice(None), slice(None))
    """Rows and columns whose pixels lie on the LR image."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(channel.name for channel in self.channels)

    @property
    def weight_bands(self) -> tuple[str, ...]:
        """Names of the bands of a date's weights."""
        return tuple(f"{str(g)[:10]} {b}" for g in self.guides for b in self.bands)

    def outside(self, window: Window) -> BoolArray:
        """(y, x), which pixels of a window do not lie on the LR image."""
        there = [np.zeros(n, bool) for n in self.box.shape]
        for axis, span in zip(there, self.inside, strict=True):
            axis[span] = True
        return ~np.logical_and.outer(there[0][window[0]], there[1][window[1]])

    def create(self, path: Path, dates: slice = slice(None)) -> None:
        """Create the empty Zarr series of some of the dates."""
        image = ("time", "band", "y", "x")
        variables: dict[str, Any] = {
            "uncertainty": (image, np.float32, {"long_name": "one standard deviation of the error"}),
            "filled": (("time", "y", "x"), bool, {"long_name": "valid without a clear LR pixel of the date"}),
        }
        coords: dict[str, Any] = {"interpolated": (("time",), np.array(self.interpolated)[dates])}
        if self.weights:
            variables["weight"] = (("time", "guide_time", "band", "y", "x"), np.float32)
            coords["guide_time"] = (("guide_time",), self.guides.astype("datetime64[ns]"))
        create_series(
            path,
            times=self.times[dates],
            bands=self.bands,
            geobox=self.box,
            variables=variables,
            coords=coords,
            attrs={"provenance": json.dumps(self.config), "history": f"sitsfuse {self.config.get('version', '')} fuse"},
            shard=self.tile,
            chunk=256 if self.tile % 256 == 0 else self.tile,
            overwrite=True,
            made_by="sitsfuse fuse",
        )


class Output(Protocol):
    """A place that tiles are written to; pickleable where workers may be other processes."""

    @property
    def layout(self) -> Layout:
        """What it holds."""
        ...

    def done(self, date: int) -> dict[int, dict[str, int]]:
        """Tiles of a date that need not be computed, with their counts of pixels."""
        ...

    def finished(self, date: int) -> bool:
        """Whether nothing is left to do for a date."""
        ...

    def known(self, date: int) -> dict[str, Any]:
        """What was noted of a date by an earlier run, empty if nothing."""
        ...

    def note(self, date: int, record: Mapping[str, Any]) -> None:
        """Note more of a date, whatever there is of it."""
        ...

    def discard(self, date: int) -> None:
        """Forget what an earlier run has made of a date."""
        ...

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Note what was chosen for a date, before its tiles are written."""
        ...

    def write(self, date: int, tile: int, window: Window, image: xr.Dataset) -> dict[str, int]:
        """Keep a tile; returns its counts of pixels."""
        ...

    def finish(self, date: int) -> None:
        """All tiles of a date are there."""
        ...

    def close(self) -> None:
        """All dates are there."""
        ...

    def withdraw(self) -> None:
        """The run ends early: leave no claim on the place if there is no result in it."""
        ...


def counts(image: xr.Dataset, outside: BoolArray) -> dict[str, int]:
    """How many pixels a tile has, are valid, are filled, and are filled outside the LR image."""
    valid, filled = image["valid"].values, image["filled"].values
    lost = int((filled & outside).sum())
    return {"pixels": valid.size, "valid": int(valid.sum()), "filled": int(filled.sum()), "outside": lost}


def by_date(layout: Layout, records: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Records by date instead of by place in the layout."""
    return {str(layout.times[i])[:10]: records[i] for i in sorted(records)}
