"""An output as a folder of cloud-optimised GeoTIFFs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import zarr

from ...core.series import MASK_TAG
from ...runtime.files import replacing, write_json, writing
from ...writers import write_cog
from ...writers.qgis import categories, image_style, mask_style, uncertainty_style
from ...writers.stac import write_collection, write_item
from .catalogue import item_of
from .disk import DiskOutput, named, remove_images, sweep_geotiffs
from .layout import CODES, Layout


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

    def discard(self, date: int) -> None:
        """Remove the date's images and shards."""
        with writing(self.path):
            remove_images(self.path, self.day(date))
            self._forget(date)

    def finish(self, date: int) -> None:
        """Write the date's GeoTIFFs from its shards."""
        store, lay = self._store(date)[0], self.layout
        group = zarr.open_group(store, mode="r", use_consolidated=False)
        record = self.record(date)
        super().begin(date, record)
        version = str(lay.config.get("version", ""))
        tags = {
            "TIFFTAG_SOFTWARE": f"sitsfuse {version}",
            "SITSFUSE": {**{k: v for k, v in lay.config.items() if k != "guides"}, "date": record},
            "SITSFUSE_GUIDES": lay.config.get("guides", []),
            "SITSFUSE_INTERPOLATED": str(lay.interpolated[date]).lower(),
            "SITSFUSE_FILLED_SHARE": str(record.get("filled_share", "")),
        }
        codes = _Codes(group["valid"], group["filled"], lay)
        base, time = self.path / self.day(date), lay.times[date]
        told = ", ".join(f"{code} {what}" for code, what in enumerate(CODES))
        write_cog(
            named(base, "_mask"), codes, lay.box, ["mask"], tags=tags | {MASK_TAG: told}, time=time,
            style=lambda _: mask_style(CODES, time),
        )  # fmt: skip
        with replacing(base.with_name(f"{base.name}_mask.tif.aux.xml")) as beside:
            beside.write_text(categories(CODES), encoding="utf-8")
        write_cog(
            named(base, "_uncertainty"), _Lazy(group["uncertainty"]), lay.box, lay.channels, int16=self.int16,
            tags=tags, time=time, style=lambda source: uncertainty_style(source, time),
        )  # fmt: skip
        if lay.weights:
            write_cog(named(base, "_weights"), _Lazy(group["weight"]), lay.box, lay.weight_bands, tags=tags, time=time)
        write_cog(
            named(base, ""), _Lazy(group["reflectance"]), lay.box, lay.channels, int16=self.int16,
            tags=tags, time=time, coloured=True, style=lambda source: image_style(source, time),
        )  # fmt: skip
        self._catalogue(date)
        write_collection(self.path)
        self._forget(date)

    def _catalogue(self, date: int) -> None:
        """Write the date's STAC item."""
        write_item(self.path, item_of(self.layout, date, self.record(date), int16=self.int16))

    def _forget(self, date: int) -> None:
        """Remove what a finished date no longer needs; the markers first, lest they outlive the shards."""
        for place in (self.state("tiles", self.day(date)), self._store(date)[0]):
            if place.is_dir():
                shutil.rmtree(place)

    def close(self) -> None:
        """Remove what the dates no longer need, and add the STAC items that a killed run has not come to."""
        for date in range(len(self.layout.times)):
            self._forget(date)
            if not (self.path / f"{self.day(date)}.json").is_file():
                self._catalogue(date)
        write_collection(self.path)
        if self.state("stores").is_dir() and not any(self.state("stores").iterdir()):
            self.state("stores").rmdir()

    def _fixed(self) -> dict[str, Any]:
        # Dates stand alone as files: a later run may ask for others.
        return {**{k: v for k, v in super()._fixed().items() if k != "dates"}, "format": "cog", "int16": self.int16}

    def _create(self, fixed: Mapping[str, Any]) -> None:
        write_json(self.state("run.json"), fixed)

    def _sweep(self) -> None:
        sweep_geotiffs(self.path)

    def _store(self, date: int) -> tuple[Path, int]:
        return self.state("stores", f"{self.day(date)}.zarr"), 0


@dataclass(frozen=True)
class _Lazy:
    """The first date of a Zarr array, as (band, y, x) and read where it is sliced."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        middle = self.array.shape[1:-2]
        return (int(np.prod(middle)), *self.array.shape[-2:])

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        block: npt.NDArray[Any] = self.array[(0, ..., *key[1:])]
        return block.reshape(-1, *block.shape[-2:])[key[0]]


@dataclass(frozen=True)
class _Codes:
    """The mask of the first date of a store, as :data:`CODES` say, read where it is sliced."""

    valid: Any
    filled: Any
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, *self.valid.shape[-2:])

    @property
    def dtype(self) -> Any:
        return np.dtype(np.uint8)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        rows, cols = key[1:]
        valid, filled = self.valid[0, rows, cols], self.filled[0, rows, cols]
        lost = np.where(self.layout.outside((rows, cols)), np.uint8(3), np.uint8(2))
        return np.where(valid, np.where(filled, lost, np.uint8(0)), np.uint8(1)).astype(np.uint8)[None]
