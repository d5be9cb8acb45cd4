"""Windows of the sites' series, kept to be looked at."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ..core.grid import Window
from ..core.loading import read
from ..core.site import group, pair_of
from ..core.tiling import middle
from ..evaluation.strata import stratify
from ..readers import open_site
from ..runtime.progress import Progress
from .configuration import Configuration, PlannedSite
from .results import Results

WINDOW = 200
"""Side of the window that is kept to be looked at, in HR pixels."""
CACHED = 4
"""Sites that a process keeps open."""


@functools.lru_cache(CACHED)
def opened(path: str, target: str, reading: str = "{}", target_reading: str = "{}") -> xr.DataTree:
    """A site, opened once per process; how it is read as JSON, see :class:`PlannedSite`."""
    return open_site(path, target, json.loads(target_reading), **json.loads(reading))


def opened_as(site: PlannedSite, target: str) -> xr.DataTree:
    """A site as it was planned, opened once per process."""
    return opened(site.path, target, json.dumps(dict(site.reading)), json.dumps(dict(site.target_reading)))


def keep_windows(results: Results, config: Configuration, tell: Progress) -> None:
    """Keep a window of the sites' series, to be looked at."""
    done, total = 0, sum(len(site.targets) for site in config.sites.values())
    for name, about in config.sites.items():
        for target, entry in about.targets.items():
            tell("windows", done, total)
            done += 1
            site = opened_as(about, target)
            pair = pair_of(site)
            window = middle(pair.hr, WINDOW)
            if results.sample(name, target, "target") is None:
                results.write_sample(read(group(site, "target"), pair.lr_window(window)), name, target, "target")
            if results.sample(name, "guide") is None:
                results.write_sample(read(group(site, "guide"), window), name, "guide")
            if results.sample(name, "reference") is None:
                days_shown = [entry.references.get(d) for d in about.shown]
                results.write_sample(_reference(group(site, "reference"), days_shown, window), name, "reference")
    tell("windows", total, total)


def _reference(series: xr.Dataset, wanted: Sequence[str | None], window: Window) -> xr.Dataset:
    """A window of some references, with the strata that the whole image defines."""
    have = [str(t)[:10] for t in series["time"].values]
    index = sorted({have.index(d) for d in wanted if d is not None})
    chosen = series.isel(time=index)
    part = read(chosen, window)
    maps = [stratify(chosen.isel(time=k), window) for k in range(len(index))]
    return part.assign(stratum=(("time", "y", "x"), np.stack(maps)))
