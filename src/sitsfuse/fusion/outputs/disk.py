"""What outputs on disk share: the state of the run, and how a later run resumes it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import xarray as xr

from ...core.grid import Window
from ...errors import InputError
from ...runtime.claims import Kind, check_ours, check_same, claim, read_record
from ...runtime.files import STATE, plain, read_json, write_json, writing
from ...writers import write_region
from ...writers.stac import COLLECTION
from ..inputs import Changes
from .layout import Layout, counts

SOURCES = "sources.json"
"""In the state of a run, what it has read."""
INPUTS = ("inputs", "guides", "targets", "left_out_guides")
"""Keys of the configuration that tell what was read: each date knows itself what it is made of."""


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

    @contextlib.contextmanager
    def claimed(
        self, overwrite: bool, sources: Mapping[str, Mapping[str, Any]] = MappingProxyType({}), renew: bool = False
    ) -> Iterator[None]:
        """Start a run, or resume one of the same configuration; the place is its alone until the end.

        Parameters
        ----------
        overwrite
            Whether to clear what is there.
        sources
            By role, ``path`` and ``options`` of what is read; kept so that `view` finds it.

        Raises
        ------
        InputError
            If the place is taken, see :func:`~sitsfuse.runtime.claims.claim`, or cannot be written.
        """
        inputs = [str(source["path"]) for source in sources.values()]
        with claim(self.path, self._kind(), fixed := self._fixed(), overwrite, inputs) as resumed:
            if resumed:
                if self.changes(renew):
                    write_json(self.state("run.json"), fixed)
                self._sweep()
            else:
                with writing(self.path):
                    self._create(fixed)
            told = self.state(SOURCES)
            if not told.is_file() or read_json(told) != plain(sources):
                write_json(told, plain(sources))
            yield

    def explained(self, renew: bool) -> bool:
        """Whether a run would resume; refuses what that run would refuse, and takes nothing."""
        there = check_ours(self.path, self._kind(), overwrite=False)
        if not there:
            return False
        check_same(self.path, there, self._fixed(), INPUTS)
        self.changes(renew)
        return True

    def changes(self, renew: bool) -> Changes:
        """In what the inputs differ from those of the earlier run.

        Raises
        ------
        InputError
            If one of them was replaced or is gone, and ``renew`` is False.
        """
        changes = Changes.between(read_json(self.state("run.json")).get("inputs", {}), self.layout.inputs)
        if (changes.replaced or changes.gone) and not renew:
            what = f"was made of other inputs: {changes}"
            raise InputError(
                self.path, what, "give `renew` to make anew the dates that this changes, or another output"
            )
        return changes

    def _kind(self) -> Kind:
        return Kind("`sitsfuse fuse`", _configured, clear, shared=self.shares_folder, ignored=INPUTS)

    def done(self, date: int) -> dict[int, dict[str, int]]:
        """Tiles whose marker is there."""
        folder = self.state("tiles", self.day(date))
        markers = {int(p.stem): read_json(p) for p in folder.glob("*.json")} if folder.is_dir() else {}
        # A damaged marker (a power cut) marks nothing: the tile is computed again.
        return {tile: found for tile, found in markers.items() if found}

    def known(self, date: int) -> dict[str, Any]:
        """The date's record."""
        return read_json(self.state("dates", f"{self.day(date)}.json"))

    def note(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the date's record."""
        write_json(self.state("dates", f"{self.day(date)}.json"), record)

    def begin(self, date: int, record: Mapping[str, Any]) -> None:
        """Keep the record for the provenance."""
        self.note(date, record)

    def discard(self, date: int) -> None:
        """Forget the tiles of a date: they will be computed again."""
        if (tiles := self.state("tiles", self.day(date))).is_dir():
            shutil.rmtree(tiles)

    def record(self, date: int) -> dict[str, Any]:
        """What is known of a date: what was chosen, and its shares of valid and filled pixels."""
        found = self.known(date)
        tiles = list(self.done(date).values())
        if tiles:
            total = {k: sum(t[k] for t in tiles) for k in ("pixels", "valid", "filled", "outside")}
            found["valid_share"] = round(total["valid"] / total["pixels"], 6)
            found["filled_share"] = round(total["filled"] / total["pixels"], 6)
            found["outside_share"] = round(total["outside"] / total["pixels"], 6)
        return dict(found)

    def write(self, date: int, tile: int, window: Window, image: xr.Dataset) -> dict[str, int]:
        """Write a tile as whole shards, then its marker."""
        arrays = {str(n): v.values for n, v in image.data_vars.items()}
        store, index = self._store(date)
        write_region(store, arrays, index, *window)
        found = counts(image, self.layout.outside(window))
        write_json(self.state("tiles", self.day(date), f"{tile}.json"), found)
        return found

    def withdraw(self) -> None:
        """Remove the output if no tile is done: nothing is lost, and a run with other options can take the place."""
        if any(self.state("tiles").rglob("*.json")) or any(self.path.glob("*.tif")):
            return
        with contextlib.suppress(OSError):  # an error is on its way to the user already
            clear(self.path)
            self.path.rmdir()

    def _fixed(self) -> dict[str, Any]:
        """The configuration that a later run must share to resume, and what it reads."""
        lay = self.layout
        weights = [str(g)[:19] for g in lay.guides] if lay.weights else False
        return {**lay.config, "tile": lay.tile, "weights": weights, "inputs": lay.inputs}

    @abstractmethod
    def _create(self, fixed: Mapping[str, Any]) -> None:
        """Make the empty output, with the run's configuration."""

    @abstractmethod
    def _sweep(self) -> None:
        """Remove what a killed run has left half-written."""

    @abstractmethod
    def _store(self, date: int) -> tuple[Path, int]:
        """The Zarr series that holds a date, and its place in it."""


def _configured(path: Path) -> Mapping[str, Any] | None:
    return read_record(path / STATE / "run.json")


def clear(path: Path) -> None:
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
    sweep_geotiffs(path)
    state = path / STATE
    for day in (p.stem for p in (state / "dates").glob("*.json")):
        remove_images(path, day)
    if "sitsfuse" in str(read_json(path / COLLECTION).get("description", "")):
        (path / COLLECTION).unlink()
    # The configuration last: without it, what is left could not be told from foreign files.
    for place in (state / "tiles", state / "stores", state / "dates"):
        if place.is_dir():
            shutil.rmtree(place)
    shutil.rmtree(state)


def remove_images(path: Path, day: str) -> None:
    """Remove the GeoTIFFs of a date, the one that tells that it is finished first, and what goes with them."""
    for suffix in ("", "_mask", "_uncertainty", "_weights"):
        image = named(path / day, suffix)
        for file in (image, image.with_suffix(".qml"), image.with_name(f"{image.name}.aux.xml")):
            file.unlink(missing_ok=True)
    (path / f"{day}.json").unlink(missing_ok=True)


def sweep_geotiffs(path: Path) -> None:
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


def named(base: Path, suffix: str) -> Path:
    """The GeoTIFF of a date: its image, or with a suffix what goes with it."""
    return base.with_name(f"{base.name}{suffix}.tif")
