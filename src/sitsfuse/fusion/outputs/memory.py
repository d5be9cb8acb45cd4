"""An output that stays in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from ...core.grid import Window
from ...core.series import make_series
from .layout import Layout, by_date, counts


@dataclass
class MemoryOutput:
    """Keeps the images in memory; `series` is the result."""

    layout: Layout
    series: xr.Dataset = field(init=False)

    def __post_init__(self) -> None:
        lay = self.layout
        shape = (len(lay.times), len(lay.bands), *lay.box.shape)
        values = np.full(shape, np.nan, np.float32)
        attrs = {"provenance": json.dumps(lay.config)}
        made = make_series(values, np.zeros((shape[0], *shape[2:]), bool), lay.times, lay.bands, lay.box, attrs)
        made["uncertainty"] = made["reflectance"].dims, np.full(shape, np.nan, np.float32)
        made["filled"] = made["valid"].dims, np.zeros((shape[0], *shape[2:]), bool)
        made = made.assign_coords(interpolated=("time", np.array(lay.interpolated)))
        if lay.weights:
            made = made.assign_coords(guide_time=lay.guides)
            made["weight"] = (
                ("time", "guide_time", "band", "y", "x"),
                np.full((shape[0], len(lay.guides), *shape[1:]), np.nan, np.float32),
            )
        self.series = made
        self._records: dict[int, Mapping[str, Any]] = {}

    def done(self, date: int) -> dict[int, dict[str, int]]:
        """Nothing is there before the run."""
        return {}

    def finished(self, date: int) -> bool:
        """Nothing is there before the run."""
        return False

    def known(self, date: int) -> dict[str, Any]:
        """Nothing is there before the run."""
        return {}

    def note(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the record for the provenance."""
        self._records[date] = record

    def discard(self, date: int) -> None:
        """Nothing is there before the run."""

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the record for the provenance."""
        self.note(date, record)

    def write(self, date: int, tile: int, window: Window, image: xr.Dataset) -> dict[str, int]:
        """Copy a tile into the arrays."""
        for name in self.series.data_vars:
            if name in image:
                self.series[name].values[(date, ..., *window)] = image[name].values
        return counts(image, self.layout.outside(window))

    def finish(self, date: int) -> None:
        """Nothing to do."""

    def withdraw(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Put the records into the provenance."""
        self.series.attrs["provenance"] = json.dumps(
            {**self.layout.config, "dates": by_date(self.layout, self._records)}
        )
