"""What a benchmark is asked to do: sites with their dates, methods with their options, and earlier runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.dates import calendar_days, nearest
from ..core.levels import check_levels
from ..core.site import SiteLayout, group
from ..errors import InputError
from ..methods.registry import make_method
from ..readers import open_site, series_names
from ..runtime.claims import Kind, check_same, claim
from ..runtime.files import jsonable, read_json, write_json
from ..runtime.progress import Progress
from ..writers import write_site
from .configuration import Configuration, PlannedSite, PlannedTarget
from .protocols import Protocol
from .results import CONFIGURATION, Results

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
    if not overwrite and (held := results.earlier()):
        before = held.study.kind if held.study else ""
        if before != study:
            what = f"a study of the {before}" if before else "a benchmark"
            raise InputError(results.path, f"holds {what}", "choose another folder or `overwrite=True`")
    foreign = bool(sites)
    # Sites that a benchmark has simulated may be given to another one.
    apart = [s for s in sites if Path(s).resolve().parent != (results.path / "sites").resolve()]
    kind = Kind("`sitsfuse benchmark`", _recorded, lambda path: _clear(path, foreign), shared=True)
    return claim(results.path, kind, {}, overwrite, apart)


def _recorded(path: Path) -> dict[str, Any] | None:
    """Nothing to compare yet: a later run may add to an earlier one, which :func:`merged` judges."""
    ours = (path / SIMULATED_SITES).is_file() or {"sites", "methods", "protocols"} <= {*read_json(path / CONFIGURATION)}
    return {} if ours else None


def _clear(path: Path, foreign: bool) -> None:
    """Remove the results; the configuration last: without it, what is left could not be told from foreign files."""
    simulated = (path / SIMULATED_SITES).is_file() and not foreign
    for name in ("parts", "derived", "samples", "predictions", "work", *(("sites",) if simulated else ())):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in ("metrics.parquet", CONFIGURATION):
        (path / name).unlink(missing_ok=True)


def chosen(names: Iterable[str], options: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Methods with all their options, as JSON can hold them.

    Raises
    ------
    InputError
        If a method or an option is unknown, or options are given for a method that is not to run.
    """
    methods = {name: _described(name, (options or {}).get(name)) for name in names}
    if strange := set(options or {}) - set(methods):
        raise InputError(f"option of {min(strange)!r}", "is of no method of this run", f"choose {', '.join(methods)}")
    return methods


def _described(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    method = make_method(name, options)
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(method)))  # type: ignore[call-overload]
    return found


def simulated(
    folder: Path, names: Iterable[str], size: int, make: Callable[[str], xr.DataTree], report: Progress
) -> list[Path]:
    """Simulated sites in a folder of results, written where they are not yet.

    Parameters
    ----------
    folder
        The results.
    names
        Of the sites.
    size
        Their side, in HR pixels.
    make
        From a name to the site.
    report
        Called as the work proceeds.

    Raises
    ------
    InputError
        If the folder holds sites of another size.
    """
    marker = folder / SIMULATED_SITES
    there = read_json(marker).get("size", size)
    if there != size:
        raise InputError(marker.parent, f"holds sites of {there} pixels", f"give `size={there}`, or `overwrite=True`")
    write_json(marker, {"size": size})
    paths = {name: marker.parent / f"{name}.zarr" for name in names}
    for k, (name, path) in enumerate(paths.items()):
        report("simulate", k, len(paths))
        if not path.is_dir():
            write_site(make(name), path)
    report("simulate", len(paths), len(paths))
    return list(paths.values())


def survey(
    paths: Sequence[Path],
    targets: Sequence[str] | None,
    protocols: Sequence[str],
    max_dates: int | None,
    max_days: float,
    reading: Mapping[str, Any] | None = None,
    target_reading: Mapping[str, Any] | None = None,
) -> dict[str, PlannedSite]:
    """What the sites hold, by name."""
    how, own = jsonable(reading or {}), jsonable(target_reading or {})
    sites: dict[str, PlannedSite] = {}
    for path in paths:
        name = path.resolve().name.removesuffix(".zarr")
        if name in sites:
            raise InputError(path, f"has the name of another site, {sites[name].path}", "rename one of them")
        held = [n for n in series_names(path) if n.startswith("target")] if path.is_dir() else []
        wanted = [n for n in held if targets is None or n in targets] or list(targets or ["target"])
        trees = {target: open_site(path, target, own, **how) for target in wanted}
        first = next(iter(trees.values()))
        if "reference" not in first.children:
            raise InputError(path, "has no reference/", "add reference images: HR images at dates of the target")
        for tree in trees.values():
            check_levels(tree)
        known = SiteLayout.of(first)
        entries = {t: _dates(tree, protocols, max_dates, max_days, path / t) for t, tree in trees.items()}
        sites[name] = PlannedSite(
            path=str(path.resolve()),
            title=str(first.attrs.get("name", name)),
            landscape=str(first.attrs.get("landscape", "")),
            location=str(first.attrs.get("location", "")),
            bands=known.bands,
            shape=(known.grids.hr.shape[0], known.grids.hr.shape[1]),
            guides=tuple(str(t)[:10] for t in known.guides),
            shown=thinned(sorted({d for e in entries.values() for d in e.dates}), SHOWN),
            targets=entries,
            reading=how,
            target_reading=own,
        )
    return sites


def _dates(
    tree: xr.DataTree, protocols: Sequence[str], max_dates: int | None, max_days: float, where: Path
) -> PlannedTarget:
    """The LR dates that a reference judges, and that protocols make impossible."""
    known, reference = SiteLayout.of(tree), group(tree, "reference")
    guides, target = known.guides, known.targets
    times, pairs = {str(t)[:10]: t for t in target}, {}
    for day, time in times.items():
        answer = reference["time"].values[nearest(reference, time)]
        if abs(calendar_days(answer, time)) <= max_days:
            pairs[day] = str(answer)[:10]
    if not pairs:
        raise InputError(where, f"has no image within {max_days:g} days of a reference", "set `max_days` higher")
    dates = thinned(list(pairs), max_dates)
    impossible: dict[str, dict[str, str]] = {}
    for text in protocols:
        for date in dates:
            if why := Protocol.parse(text).problem(guides, target, times[date], np.datetime64(pairs[date])):
                impossible.setdefault(text, {})[date] = why
    return PlannedTarget(
        ratio=known.ratio,
        dates=dates,
        references={d: pairs[d] for d in dates},
        lr_dates=tuple(str(t)[:10] for t in target),
        impossible=impossible,
    )


def thinned(dates: Sequence[str], most: int | None) -> tuple[str, ...]:
    """At most so many of the dates: the middle ones of equal parts of them."""
    if most is None or len(dates) <= most:
        return tuple(dates)
    return tuple(dates[int((k + 0.5) * len(dates) / most)] for k in range(most))


def merged(results: Results, config: Configuration) -> Configuration:
    """The configuration together with that of earlier runs over the same folder.

    Raises
    ------
    InputError
        If they disagree on something that both hold.
    """
    old = results.earlier()
    if old is None:
        return config
    there, wanted = _lasting(old), _lasting(config)
    for kind in ("sites", "methods"):
        both = there[kind].keys() & wanted[kind].keys()
        there[kind], wanted[kind] = ({n: c[kind][n] for n in both} for c in (there, wanted))
    check_same(results.path, there, wanted)
    return replace(
        config,
        made=old.made,
        sites={**old.sites, **{n: _joined(old.site(n), site) for n, site in config.sites.items()}},
        methods={**old.methods, **config.methods},
        protocols=tuple(dict.fromkeys([*old.protocols, *config.protocols])),
    )


def _joined(before: PlannedSite, now: PlannedSite) -> PlannedSite:
    """A site with the LR series, and what was impossible, of earlier runs."""
    known = {name: target.impossible for name, target in before.targets.items()}
    again = {n: replace(t, impossible={**known.get(n, {}), **t.impossible}) for n, t in now.targets.items()}
    return replace(now, targets={**before.targets, **again})


def _lasting(config: Configuration) -> dict[str, Any]:
    """What may not change between two runs over one folder, of what both hold, as JSON."""
    held = config.to_json()
    sites = {}
    for name, site in held["sites"].items():
        own = {k: v for k, v in site.items() if k not in ("path", "targets", "shown")}
        sites[name] = own | {"dates": {t: list(target.dates) for t, target in config.sites[name].targets.items()}}
    return {key: held[key] for key in ("version", "max_days", "tile")} | {"sites": sites, "methods": held["methods"]}
