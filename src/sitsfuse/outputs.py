"""Where a fusion goes: memory, a Zarr series or a folder of cloud-optimised GeoTIFFs; and what is already there.

On disk a tile is written as a whole Zarr shard, then a marker says that it is done; a date's GeoTIFFs are made from
its shards when all are there, the image itself last. Whatever has its final name is complete, so that a killed run
loses the tiles that it was working on and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox

from .errors import InputError
from .grid import Window
from .series import make_series
from .writers import consolidate, create_series, read_json, write_cog, write_json, write_region

STATE = ".sitsfuse"
"""Folder in the output that holds what a later run needs to resume."""


@dataclass(frozen=True)
class Layout:
    """What an output holds."""

    times: npt.NDArray[np.datetime64]
    """(date,) predicted dates."""
    interpolated: tuple[bool, ...]
    """Per date, whether the LR image was interpolated in time."""
    bands: tuple[str, ...]
    box: GeoBox
    guides: npt.NDArray[np.datetime64]
    """(guide_time,) dates of the guides."""
    weights: bool
    """Whether the guides' weights are kept."""
    tile: int
    """Side of a tile and a shard, in HR pixels."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the result depends on (JSON-safe)."""

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


def counts(image: xr.Dataset) -> dict[str, int]:
    """How many pixels a tile has, how many are valid and how many are filled."""
    valid = image["valid"].values
    return {"pixels": valid.size, "valid": int(valid.sum()), "filled": int(image["filled"].values.sum())}


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

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the record for the provenance."""
        self._records[date] = record

    def write(self, date: int, tile: int, window: Window, image: xr.Dataset) -> dict[str, int]:
        """Copy a tile into the arrays."""
        for name in self.series.data_vars:
            if name in image:
                self.series[name].values[(date, ..., *window)] = image[name].values
        return counts(image)

    def finish(self, date: int) -> None:
        """Nothing to do."""

    def withdraw(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Put the records into the provenance."""
        self.series.attrs["provenance"] = json.dumps(
            {**self.layout.config, "dates": _by_date(self.layout, self._records)}
        )


@dataclass(frozen=True)
class DiskOutput(ABC):
    """What Zarr and GeoTIFF outputs share: the state of the run."""

    shares_folder: ClassVar[bool] = False
    """Whether other files may lie in the output's folder."""

    path: Path
    layout: Layout

    def state(self, *parts: str) -> Path:
        """A place in the folder of the run's state."""
        return self.path.joinpath(STATE, *parts)

    def day(self, date: int) -> str:
        """The date as it stands in file names."""
        return str(self.layout.times[date])[:10].replace("-", "")

    def open(self, overwrite: bool) -> None:
        """Start a run, or resume one of the same configuration.

        Raises
        ------
        InputError
            If the place is taken by something else or by a run of another configuration, or cannot be written.
        """
        same = self._fixed()
        known = self.state("run.json")
        try:
            cleared = overwrite and known.is_file()
            if cleared:
                _clear(self.path)
            elif known.is_file():
                self._check_same(json.loads(known.read_text()), same)
                self._sweep()
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The folder of the state alone: a run that was killed before it had written its configuration.
            taken = self.path.exists() and (not self.path.is_dir() or any(p.name != STATE for p in self.path.iterdir()))
            if taken and not (cleared and self.shares_folder):
                raise InputError(self.path, "exists and is no output of `sitsfuse fuse`", "choose another output")
            self._create(same)
        except OSError as error:
            raise InputError(
                self.path, f"cannot be written ({error.strerror or error})", "choose another output"
            ) from error
        except ValueError as error:
            raise InputError(known, "is damaged", "start anew with --overwrite") from error

    def done(self, date: int) -> dict[int, dict[str, int]]:
        """Tiles whose marker is there."""
        folder = self.state("tiles", self.day(date))
        markers = {int(p.stem): read_json(p) for p in folder.glob("*.json")} if folder.is_dir() else {}
        # A damaged marker (a power cut) marks nothing: the tile is computed again.
        return {tile: found for tile, found in markers.items() if found}

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the record for the provenance."""
        write_json(self.state("dates", f"{self.day(date)}.json"), record)

    def record(self, date: int) -> dict[str, Any]:
        """What is known of a date: what was chosen, and its shares of valid and filled pixels."""
        place = self.state("dates", f"{self.day(date)}.json")
        found = read_json(place)
        tiles = list(self.done(date).values())
        if tiles:
            total = {k: sum(t[k] for t in tiles) for k in ("pixels", "valid", "filled")}
            found["valid_share"] = round(total["valid"] / total["pixels"], 6)
            found["filled_share"] = round(total["filled"] / total["pixels"], 6)
        return dict(found)

    def write(self, date: int, tile: int, window: Window, image: xr.Dataset) -> dict[str, int]:
        """Write a tile as whole shards, then its marker."""
        arrays = {str(n): v.values for n, v in image.data_vars.items()}
        store, index = self._store(date)
        write_region(store, arrays, index, *window)
        found = counts(image)
        write_json(self.state("tiles", self.day(date), f"{tile}.json"), found)
        return found

    def withdraw(self) -> None:
        """Remove the output if no tile is done: nothing is lost, and a run with other options can take the place."""
        if any(self.state("tiles").rglob("*.json")) or any(self.path.glob("*.tif")):
            return
        with contextlib.suppress(OSError):  # an error is on its way to the user already
            _clear(self.path)
            self.path.rmdir()

    @abstractmethod
    def _fixed(self) -> dict[str, Any]:
        """The configuration that a later run must share to resume."""

    @abstractmethod
    def _create(self, fixed: Mapping[str, Any]) -> None:
        """Make the empty output, with the run's configuration."""

    @abstractmethod
    def _sweep(self) -> None:
        """Remove what a killed run has left half-written."""

    @abstractmethod
    def _store(self, date: int) -> tuple[Path, int]:
        """The Zarr series that holds a date, and its place in it."""

    def _check_same(self, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(wanted))
        for key in sorted({*there, *wanted}):
            if there.get(key) != wanted.get(key):
                raise InputError(
                    self.path,
                    f"holds the output of another configuration ({key} is {_short(there.get(key))} there "
                    f"and {_short(wanted.get(key))} here)",
                    "choose another output or --overwrite",
                )


class ZarrOutput(DiskOutput):
    """One Zarr series that holds all dates."""

    def finished(self, date: int) -> bool:
        """A date is as done as its tiles."""
        return False

    def finish(self, date: int) -> None:
        """Complete the date's record; the shards are the result."""
        super().begin(date, self.record(date))

    def close(self) -> None:
        """Put what was chosen for each date into the provenance."""
        records = {i: self.record(i) for i in range(len(self.layout.times))}
        group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        group.attrs["provenance"] = json.dumps({**self.layout.config, "dates": _by_date(self.layout, records)})
        consolidate(self.path)

    def _fixed(self) -> dict[str, Any]:
        return {**self.layout.config, "format": "zarr", "tile": self.layout.tile, "weights": self.layout.weights}

    def _create(self, fixed: Mapping[str, Any]) -> None:
        # Under another name first: an output without the run's configuration could not be resumed.
        draft = self.path.with_name(f".{self.path.name}.part")
        if draft.is_dir():
            shutil.rmtree(draft)
        self.layout.create(draft)
        write_json(draft / STATE / "run.json", fixed)
        if self.state().is_dir():
            shutil.rmtree(self.state())
        if self.path.is_dir():
            self.path.rmdir()
        draft.rename(self.path)

    def _sweep(self) -> None:
        for file in self.path.rglob("*.partial"):
            file.unlink(missing_ok=True)

    def _store(self, date: int) -> tuple[Path, int]:
        return self.path, date


@dataclass(frozen=True)
class CogOutput(DiskOutput):
    """A folder of cloud-optimised GeoTIFFs; each date's shards are kept until its images are there."""

    shares_folder: ClassVar[bool] = True

    int16: bool = False

    def finished(self, date: int) -> bool:
        """The image is written last."""
        return (self.path / f"{self.day(date)}.tif").is_file()

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Make place for the shards, unless some are there already."""
        super().begin(date, record)
        if not self.done(date):
            shutil.rmtree(self._store(date)[0], ignore_errors=True)
            self.layout.create(self._store(date)[0], slice(date, date + 1))

    def finish(self, date: int) -> None:
        """Write the date's GeoTIFFs from its shards."""
        store, lay = self._store(date)[0], self.layout
        group = zarr.open_group(store, mode="r", use_consolidated=False)
        record = self.record(date)
        super().begin(date, record)
        tags = {
            "SITSFUSE": {**{k: v for k, v in lay.config.items() if k != "guides"}, "date": record},
            "SITSFUSE_GUIDES": lay.config.get("guides", []),
            "SITSFUSE_INTERPOLATED": str(lay.interpolated[date]).lower(),
            "SITSFUSE_FILLED_SHARE": str(record.get("filled_share", "")),
        }
        base = self.path / self.day(date)
        write_cog(_named(base, "_mask"), _Lazy(group["valid"], invert=True), lay.box, ["mask"], tags=tags)
        write_cog(
            _named(base, "_uncertainty"), _Lazy(group["uncertainty"]), lay.box, lay.bands, int16=self.int16, tags=tags
        )
        if lay.weights:
            names = [f"{str(g)[:10]} {b}" for g in lay.guides for b in lay.bands]
            write_cog(_named(base, "_weights"), _Lazy(group["weight"]), lay.box, names, tags=tags)
        write_cog(_named(base, ""), _Lazy(group["reflectance"]), lay.box, lay.bands, int16=self.int16, tags=tags)
        self._forget(date)

    def _forget(self, date: int) -> None:
        """Remove what a finished date no longer needs; the markers first, lest they outlive the shards."""
        for place in (self.state("tiles", self.day(date)), self._store(date)[0]):
            if place.is_dir():
                shutil.rmtree(place)

    def close(self) -> None:
        """Remove what the dates no longer need."""
        for date in range(len(self.layout.times)):
            self._forget(date)
        if self.state("stores").is_dir() and not any(self.state("stores").iterdir()):
            self.state("stores").rmdir()

    def _fixed(self) -> dict[str, Any]:
        # Dates stand alone as files: a later run may ask for others.
        own = {k: v for k, v in self.layout.config.items() if k != "dates"}
        return {**own, "format": "cog", "tile": self.layout.tile, "weights": self.layout.weights, "int16": self.int16}

    def _create(self, fixed: Mapping[str, Any]) -> None:
        write_json(self.state("run.json"), fixed)

    def _sweep(self) -> None:
        _sweep_geotiffs(self.path)

    def _store(self, date: int) -> tuple[Path, int]:
        return self.state("stores", f"{self.day(date)}.zarr"), 0


@dataclass(frozen=True)
class _Lazy:
    """The first date of a Zarr array, as (band, y, x) and read where it is sliced."""

    array: Any
    invert: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        middle = self.array.shape[1:-2]
        return (int(np.prod(middle)), *self.array.shape[-2:])

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        block: npt.NDArray[Any] = self.array[(0, ..., *key[1:])]
        block = block.reshape(-1, *block.shape[-2:])[key[0]]
        return ~block if self.invert else block


def _clear(path: Path) -> None:
    """Remove an output of either kind, and nothing that is not of it."""
    if (path / "zarr.json").is_file():
        for child in path.iterdir():
            if child.name not in ("zarr.json", STATE) and not (child / "zarr.json").is_file():
                raise InputError(path, f"holds {child.name}, which is not of the output", "move it elsewhere")
        # Renamed first: a run that is killed while it clears must leave nothing that looks like an output.
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
        path.rename(old)
        shutil.rmtree(old)
        return
    _sweep_geotiffs(path)
    state = path / STATE
    for day in (p.stem for p in (state / "dates").glob("*.json")):
        for suffix in ("", "_mask", "_uncertainty", "_weights"):
            _named(path / day, suffix).unlink(missing_ok=True)
    # The configuration last: without it, what is left could not be told from foreign files.
    for place in (state / "tiles", state / "stores", state / "dates"):
        if place.is_dir():
            shutil.rmtree(place)
    shutil.rmtree(state)


def _sweep_geotiffs(path: Path) -> None:
    """Remove the drafts of GeoTIFFs that a killed run has left."""
    for file in path.glob(".*.tif"):
        if re.fullmatch(r"\.\d{8}(_[a-z]+)?\.tif\.[0-9a-f]{8}\.(draft|cog)\.tif", file.name):
            file.unlink(missing_ok=True)


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of each date of an output on disk, by date: what was chosen and its share of filled pixels."""
    folder = path / STATE / "dates"
    return {
        f"{p.stem[:4]}-{p.stem[4:6]}-{p.stem[6:]}": json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))
    }


def _named(base: Path, suffix: str) -> Path:
    return base.with_name(f"{base.name}{suffix}.tif")


def _by_date(layout: Layout, records: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    return {str(layout.times[i])[:10]: records[i] for i in sorted(records)}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
