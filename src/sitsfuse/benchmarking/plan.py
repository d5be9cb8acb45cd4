"""What a benchmark is asked to do: sites with their dates, methods with their options, and earlier runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.dates import calendar_days, nearest
from ..core.site import group, pair_of
from ..errors import InputError
from ..methods.registry import make_method
from ..readers import open_site, series_names
from ..runtime.files import read_json
from .protocols import Protocol
from .results import Results

SIMULATED_SITES = "sites/sites.json"
"""What tells that a folder ``sites`` was simulated for the benchmark."""
SHOWN = 6
"""Most dates per site of which that window is kept."""


def claim(results: Results, foreign: bool, overwrite: bool) -> None:
    """Make sure that the folder is ours, or empty; empty it on request, of simulated sites too unless others are given.

    Raises
    ------
    InputError
        If it holds something else.
    """
    path = results.path
    if path.exists() and not path.is_dir():
        raise InputError(path, "is not a folder", "choose another name")
    if not path.exists() or not any(path.iterdir()):
        return
    made = (path / SIMULATED_SITES).is_file()
    if not made and not {"sites", "methods", "protocols"} <= {*read_json(path / "benchmark.json")}:
        raise InputError(path, "exists and holds no benchmark", "choose another folder")
    if overwrite:
        # The configuration last: without it, what is left could not be told from foreign files.
        for name in ("parts", "samples", "predictions", "work", *(("sites",) if made and not foreign else ())):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in ("metrics.parquet", "benchmark.json"):
            (path / name).unlink(missing_ok=True)


def describe(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """All options of a method as JSON can hold them."""
    method = make_method(name, options)
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(method)))  # type: ignore[call-overload]
    return found


def survey(
    paths: Sequence[Path],
    targets: Sequence[str] | None,
    protocols: Sequence[str],
    max_dates: int | None,
    max_days: float,
) -> dict[str, Any]:
    """What the sites hold, by name."""
    sites: dict[str, Any] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".zarr")
        if name in sites:
            raise InputError(path, f"has the name of another site, {sites[name]['path']}", "rename one of them")
        held = [n for n in series_names(path) if n.startswith("target")] if path.is_dir() else []
        wanted = [n for n in held if targets is None or n in targets] or list(targets or ["target"])
        trees = {target: open_site(path, target) for target in wanted}
        first = next(iter(trees.values()))
        if "reference" not in first.children:
            raise InputError(path, "has no reference/", "add reference images: HR images at dates of the target")
        guide = group(first, "guide")
        entries = {t: _dates(tree, protocols, max_dates, max_days, path / t) for t, tree in trees.items()}
        sites[name] = {
            "path": str(path.resolve()),
            "title": str(first.attrs.get("name", name)),
            "landscape": str(first.attrs.get("landscape", "")),
            "location": str(first.attrs.get("location", "")),
            "bands": [str(b) for b in guide["band"].values],
            "shape": [guide.sizes["y"], guide.sizes["x"]],
            "guides": [str(t)[:10] for t in guide["time"].values],
            "shown": spread(sorted({d for e in entries.values() for d in e["dates"]}), SHOWN),
            "targets": entries,
        }
    return sites


def _dates(
    tree: xr.DataTree, protocols: Sequence[str], max_dates: int | None, max_days: float, where: Path
) -> dict[str, Any]:
    """The LR dates that a reference judges, and that protocols make impossible."""
    target, reference = group(tree, "target")["time"].values, group(tree, "reference")
    times, pairs = {str(t)[:10]: t for t in target}, {}
    for day, time in times.items():
        answer = reference["time"].values[nearest(reference, time)]
        if abs(calendar_days(answer, time)) <= max_days:
            pairs[day] = str(answer)[:10]
    if not pairs:
        raise InputError(where, f"has no image within {max_days:g} days of a reference", "set `max_days` higher")
    dates = spread(list(pairs), max_dates)
    guides = group(tree, "guide")["time"].values
    impossible: dict[str, dict[str, str]] = {}
    for text in protocols:
        for date in dates:
            if why := Protocol.parse(text).problem(guides, target, times[date], np.datetime64(pairs[date])):
                impossible.setdefault(text, {})[date] = why
    return {
        "ratio": pair_of(tree).ratio,
        "dates": dates,
        "references": {d: pairs[d] for d in dates},
        "lr_dates": [str(t)[:10] for t in target],
        "impossible": impossible,
    }


def spread(dates: Sequence[str], most: int | None) -> list[str]:
    """At most so many of the dates: the middle ones of equal parts of them."""
    if most is None or len(dates) <= most:
        return list(dates)
    return [dates[int((k + 0.5) * len(dates) / most)] for k in range(most)]


def merged(results: Results, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration together with that of earlier runs over the same folder.

    Raises
    ------
    InputError
        If they disagree on something that both hold.
    """
    if not (results.path / "benchmark.json").is_file():
        return dict(config)
    old = results.config
    for key in ("version", "max_days", "tile"):
        _check_same(results.path, key, old.get(key), config[key])
    for kind in ("sites", "methods"):
        for name, value in config[kind].items():
            if name in old[kind]:
                _check_same(results.path, name, _lasting(old[kind][name]), _lasting(value))
    sites = {**old["sites"], **config["sites"]}
    for name, site in sites.items():
        before = old["sites"].get(name, {}).get("targets", {})
        site["targets"] = {**before, **site["targets"]}
        for target, entry in site["targets"].items():
            entry["impossible"] = {**before.get(target, {}).get("impossible", {}), **entry["impossible"]}
    protocols = list(dict.fromkeys([*old["protocols"], *config["protocols"]]))
    return {
        **config,
        "made": old["made"],
        "sites": sites,
        "methods": {**old["methods"], **config["methods"]},
        "protocols": protocols,
    }


def _lasting(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What of a site or method may not change between two runs."""
    return {k: v for k, v in entry.items() if k not in ("path", "targets", "shown")} | {
        f"dates of {t}": e["dates"] for t, e in entry.get("targets", {}).items()
    }


def _check_same(path: Path, what: str, there: Any, wanted: Any) -> None:
    if isinstance(there, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*there} & {*wanted}):
            _check_same(path, f"{key} of {what}", there[key], wanted[key])
    elif there != wanted:
        raise InputError(
            path,
            f"holds another benchmark ({what} is {there} there, {wanted} here)",
            "choose another folder or `overwrite=True`",
        )
