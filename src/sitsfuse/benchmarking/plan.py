"""What a benchmark is asked to do: sites with their dates, methods with their options, and earlier runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.dates import calendar_days, nearest
from ..core.levels import check_levels
from ..core.site import group, pair_of
from ..errors import InputError
from ..methods.registry import make_method
from ..readers import open_site, series_names
from ..runtime.claims import Kind, check_same, claim
from ..runtime.files import read_json
from .protocols import Protocol
from .results import Results

SIMULATED_SITES = "sites/sites.json"
"""What tells that a folder ``sites`` was simulated for the benchmark."""
SHOWN = 6
"""Most dates per site of which that window is kept."""


def taken(
    results: Results, sites: Sequence[str | Path], overwrite: bool, study: str = ""
) -> AbstractContextManager[bool]:
    """Keep the folder to this run: one of ours, or empty; emptied on request, of simulated sites too unless others are
    given. See :func:`~sitsfuse.runtime.claims.claim`.

    Parameters
    ----------
    study
        The study that is to be run over it; empty for a benchmark.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    held = read_json(results.path / "benchmark.json")
    before = (held.get("study") or {}).get("kind", "")
    if held and before != study and not overwrite:
        what = f"a study of the {before}" if before else "a benchmark"
        raise InputError(results.path, f"holds {what}", "choose another folder or `overwrite=True`")
    foreign = bool(sites)
    # Sites that a benchmark has simulated may be given to another one.
    apart = [s for s in sites if Path(s).resolve().parent != (results.path / "sites").resolve()]
    kind = Kind("`sitsfuse benchmark`", _recorded, lambda path: _clear(path, foreign), shared=True)
    return claim(results.path, kind, {}, overwrite, apart)


def _recorded(path: Path) -> dict[str, Any] | None:
    """Nothing to compare yet: a later run may add to an earlier one, which :func:`merged` judges."""
    ours = (path / SIMULATED_SITES).is_file() or {"sites", "methods", "protocols"} <= {
        *read_json(path / "benchmark.json")
    }
    return {} if ours else None


def _clear(path: Path, foreign: bool) -> None:
    """Remove the results; the configuration last: without it, what is left could not be told from foreign files."""
    simulated = (path / SIMULATED_SITES).is_file() and not foreign
    for name in ("parts", "derived", "samples", "predictions", "work", *(("sites",) if simulated else ())):
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
        for tree in trees.values():
            check_levels(tree)
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
    there, wanted = _lasting(old), _lasting(config)
    for kind in ("sites", "methods"):
        both = there[kind].keys() & wanted[kind].keys()
        there[kind], wanted[kind] = ({n: c[kind][n] for n in both} for c in (there, wanted))
    check_same(results.path, there, wanted)
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


def _lasting(config: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change between two runs over one folder, of what both hold."""
    fixed = {key: config.get(key) for key in ("version", "max_days", "tile")}
    return {**fixed, "sites": {n: _site(s) for n, s in config["sites"].items()}, "methods": dict(config["methods"])}


def _site(site: Mapping[str, Any]) -> dict[str, Any]:
    own = {k: v for k, v in site.items() if k not in ("path", "targets", "shown")}
    return own | {"dates": {t: e["dates"] for t, e in site["targets"].items()}}
