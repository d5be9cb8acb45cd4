"""What a benchmark leaves on disk: its configuration, a table per prediction, failures, and samples to look at.

=================================================== ==========================================================
``benchmark.json``                                  sites, methods with all their options, protocols
``metrics.parquet``                                 the tidy table of all predictions
``parts/SITE/TARGET/PROTOCOL/METHOD/DATE.parquet``  its rows of one prediction, or ``DATE.json``: why there are none
``samples/SITE/guide.npz``, ``reference.npz``       a window of the series, to be looked at
``samples/SITE/TARGET/target.npz``                  the same of an LR series
``samples/SITE/TARGET/PROTOCOL/METHOD/DATE.npz``    the same of a prediction
``predictions/SITE/TARGET/PROTOCOL/METHOD``         the predicted images, on request
=================================================== ==========================================================
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..errors import InputError
from ..evaluation import write_table
from ..runtime.files import beside, jsonable, read_json, write_json, writing
from .configuration import Configuration

CONFIGURATION = "benchmark.json"
"""What was asked for, within the folder."""


@dataclass(frozen=True, order=True)
class Unit:
    """One prediction of a benchmark."""

    site: str
    """Name of the site."""
    target: str
    """Name of the LR series, e.g. ``target_x5``."""
    date: str
    """Predicted date, YYYY-MM-DD."""
    protocol: str
    method: str

    @property
    def place(self) -> Path:
        """Where its files lie, without suffix, relative to the folder of their kind."""
        # Colons are not part of file names everywhere.
        return Path(self.site, self.target, self.protocol.replace(":", "-"), self.method, self.date.replace("-", ""))


@dataclass(frozen=True)
class Results:
    """A folder of results."""

    path: Path

    # --- configuration ---

    @property
    def config(self) -> Configuration:
        """What was asked for.

        Raises
        ------
        InputError
            If the folder holds no benchmark, or what it was asked for is damaged.
        """
        found = self.earlier()
        if found is None:
            problem = "holds no benchmark" if self.path.is_dir() else "is not a folder"
            raise InputError(self.path, problem, "give the output of `sitsfuse benchmark`")
        return found

    def earlier(self) -> Configuration | None:
        """What earlier runs were asked for; None if there were none."""
        path = self.path / CONFIGURATION
        found = read_json(path)
        try:
            return Configuration.from_json(found) if found else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(path, "is damaged", "run the benchmark anew, with `overwrite=True`") from error

    def configure(self, config: Configuration) -> None:
        """Note what is asked for."""
        write_json(self.path / CONFIGURATION, config.to_json())

    def units(self) -> Iterator[Unit]:
        """All predictions that were asked for, but for those that a protocol makes impossible."""
        config = self.config
        for name, site in config.sites.items():
            for series, target in site.targets.items():
                for date in target.dates:
                    for protocol in config.protocols:
                        if target.allows(protocol, date):
                            for method in config.methods:
                                yield Unit(name, series, date, protocol, method)

    # --- the table ---

    def done(self, unit: Unit) -> bool:
        """Whether the rows of a prediction are there."""
        return self._part(unit).is_file()

    def write_rows(self, unit: Unit, rows: pd.DataFrame) -> None:
        """Keep the rows of a prediction; they are there whole or not at all."""
        path = self._part(unit)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_table(rows, path)
        path.with_suffix(".json").unlink(missing_ok=True)

    def write_failure(self, unit: Unit, error: str, detail: str = "") -> None:
        """Note why there are no rows: a line, and what a developer wants to read."""
        # File names that are not UTF-8 come as halves of characters, which no table holds.
        texts = {"error": error, "detail": detail}
        plain = {key: text.encode("utf-8", "replace").decode() for key, text in texts.items()}
        write_json(self._part(unit).with_suffix(".json"), plain)

    def collect(self) -> pd.DataFrame:
        """The rows of all predictions that are there, in the order of :meth:`units`; also written as one table."""
        parts = [pd.read_parquet(self._part(unit)) for unit in self.units() if self.done(unit)]
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        path = self.path / "metrics.parquet"
        with writing(path):
            write_table(table, path)
        return table

    def table(self) -> pd.DataFrame:
        """The tidy table, as :meth:`collect` left it.

        Raises
        ------
        InputError
            If it is not there or holds nothing.
        """
        path = self.path / "metrics.parquet"
        table = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
        if table.empty:
            methods = ", ".join(self.config.methods)
            raise InputError(self.path, f"holds no result of {methods} yet", "let `sitsfuse benchmark` finish")
        return table

    def failures(self) -> pd.DataFrame:
        """A row per prediction that failed: those of :class:`Unit`, ``error`` and ``detail``."""
        rows = []
        for unit in self.units():
            if not self.done(unit) and (why := read_json(self._part(unit).with_suffix(".json"))):
                rows.append({**vars(unit), "error": why.get("error", ""), "detail": why.get("detail", "")})
        return pd.DataFrame(rows, columns=["site", "target", "date", "protocol", "method", "error", "detail"])

    def _part(self, unit: Unit) -> Path:
        place = self.path / "parts" / unit.place
        return place.with_name(f"{place.name}.parquet")

    # --- samples ---

    def write_sample(self, series: xr.Dataset, *place: str) -> None:
        """Keep a small series, in memory, under ``samples``: e.g. of (site, ``"guide"``).

        Floats are kept as float16: enough for the eye.
        """
        path = self._sample(place)
        attrs = {"": series.attrs} | {str(name): variable.attrs for name, variable in series.variables.items()}
        arrays: dict[str, Any] = {"_attrs": json.dumps(jsonable(attrs))}
        for name, variable in series.variables.items():
            values = variable.values
            if variable.dtype.kind in "OUT":
                values = np.array(values.tolist(), str)
            elif variable.dtype.kind == "f" and name in series.data_vars:
                values = values.astype(np.float16)
            arrays[f"{name}|{','.join(str(d) for d in variable.dims)}|{int(name in series.coords)}"] = values
        draft = beside(path, "npz")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(draft, **arrays)
            draft.replace(path)

    def sample(self, *place: str) -> xr.Dataset | None:
        """What :meth:`write_sample` kept; None if nothing is there, or it is damaged."""
        path = self._sample(place)
        try:
            with np.load(path, allow_pickle=False) as found:
                arrays = {key: found[key] for key in found.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
        attrs = json.loads(str(arrays.pop("_attrs")))
        variables: dict[str, Any] = {}
        coords: dict[str, Any] = {}
        for key, values in arrays.items():
            name, dims, is_coord = key.split("|")
            whole = values.astype(np.float32) if values.dtype == np.float16 else values
            part = tuple(d for d in dims.split(",") if d), whole, attrs.get(name, {})
            (coords if is_coord == "1" else variables)[name] = part
        return xr.Dataset(variables, coords, attrs[""])

    def prediction(self, unit: Unit) -> xr.Dataset | None:
        """The sample of a prediction: ``reflectance``, ``valid``, ``uncertainty`` and, of some methods, ``weight``."""
        return self.sample(*unit.place.parts)

    def _sample(self, place: Sequence[str]) -> Path:
        path = self.path.joinpath("samples", *place)
        return path.with_name(f"{path.name}.npz")
