"""An output as one Zarr series."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from ...core.series import COMPLETE
from ...runtime.files import STATE, write_json, writing
from ...writers import finish
from .disk import DiskOutput
from .layout import by_date


class ZarrOutput(DiskOutput):
    """One Zarr series that holds all dates."""

    def finished(self, date: int) -> bool:
        """A date is as done as its tiles."""
        return False

    def discard(self, date: int) -> None:
        """Compute its tiles again: until then the store is not whole."""
        with writing(self.path):
            zarr.open_group(self.path, mode="r+", use_consolidated=False).attrs[COMPLETE] = False
            super().discard(date)

    def finish(self, date: int) -> None:
        """Complete the date's record; the shards are the result."""
        super().begin(date, self.record(date))

    def close(self) -> None:
        """Put what was chosen for each date into the provenance."""
        records = {i: self.record(i) for i in range(len(self.layout.times))}
        group = zarr.open_group(self.path, mode="r+", use_consolidated=False)
        group.attrs["provenance"] = json.dumps({**self.layout.config, "dates": by_date(self.layout, records)})
        finish(self.path)

    def _fixed(self) -> dict[str, Any]:
        return {**super()._fixed(), "format": "zarr"}

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
