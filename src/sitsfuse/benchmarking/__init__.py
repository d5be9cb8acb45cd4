"""The benchmark: sites × ratios × protocols × methods × dates in one run that can be killed and resumed.

Every prediction is a unit of its own, made in a process of a pool: a method that raises, or that takes its process
down, is noted and the others go on. What a unit leaves is written whole or not at all; see
:mod:`sitsfuse.benchmarking.results`.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..fusion.fuse import TILE
from ..methods import known_methods as known_methods
from ..methods import method_names
from ..runtime import threads
from ..runtime.files import read_json, write_json
from ..runtime.progress import Progress, silent
from ..simulator.sites import SITES, simulate_site
from ..version import __version__
from ..writers import write_site
from .plan import SIMULATED_SITES, describe, merged, survey, taken
from .pool import finished
from .protocols import STANDARD, Protocol
from .results import Results
from .units import Job, See, run
from .windows import keep_windows

SIMULATED = 240
"""Default side of the simulated sites, in HR pixels."""


def benchmark(
    sites: Sequence[str | Path] = (),
    out: str | Path = "benchmark-output",
    *,
    methods: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    targets: Sequence[str] | None = None,
    protocols: Sequence[str] = (STANDARD,),
    max_dates: int | None = None,
    max_days: float = 1.0,
    size: int = SIMULATED,
    keep: bool = False,
    tile: int = TILE,
    jobs: int | None = None,
    overwrite: bool = False,
    report: Progress = silent,
) -> pd.DataFrame:
    """Predict and judge every date of every site with every method.

    Parameters
    ----------
    sites
        Paths of sites with references. None: six simulated ones, see :mod:`sitsfuse.simulator.sites`.
    out
        Folder of the results. A second run over it does what is missing, and tries again what failed; it may ask for
        more sites, methods or protocols, but for nothing else of those that are there.
    methods
        Names; by default all known ones.
    options
        Their parameters, by method.
    targets
        Names of LR series; by default all that a site holds (``target``, ``target_x5`` …): the ratios.
    protocols
        What to leave out, see :mod:`sitsfuse.benchmarking.protocols`: ``standard``, ``guide-gap:60``, ``forecast`` …
    max_dates
        Predict at most so many dates per site, spread evenly.
    max_days
        Days by which a reference may differ from the LR image that it judges.
    size
        Side of the simulated sites, in HR pixels.
    keep
        Whether to keep the predicted images, as GeoTIFFs.
    tile
        Side of a tile, in HR pixels.
    jobs
        Predictions at a time, each in a process of its own with its share of the cores; by default as many as cores.
        0: one after the other in this process, for debugging. A script that calls this with other values must do so
        under ``if __name__ == "__main__":``, as for any pool of processes.
    overwrite
        Whether to start anew.
    report
        Called as the work proceeds.

    Returns
    -------
    pandas.DataFrame
        The tidy table, also in ``out/metrics.parquet``: the columns of :func:`sitsfuse.evaluate` behind ``site``,
        ``landscape``, ``target``, ``ratio``, ``protocol``, ``method``, ``same_day`` (whether the reference is of the
        predicted day), ``nearest_guide`` (days to the nearest guide used), ``seconds`` (of the fusion, with reading
        and writing), ``cpu_seconds`` (the same on all cores together), ``seconds_evaluation``, ``peak_rss`` (MB of the
        process during the fusion; a process serves one method, but with ``jobs=0``) and ``megapixels`` (of the
        scene). Its ``attrs["failures"]`` counts the predictions without rows.

    Raises
    ------
    InputError
        If a site, method or option is unfit, or ``out`` holds something else. A method that fails raises nothing.
    """
    results = Results(Path(out))
    chosen = {name: describe(name, (options or {}).get(name)) for name in methods or method_names()}
    if strange := set(options or {}) - set(chosen):
        raise InputError(f"option of {min(strange)!r}", "is of no method of this run", f"choose {', '.join(chosen)}")
    asked = [str(Protocol.parse(p)) for p in protocols]
    with taken(results, sites, overwrite):
        paths = [Path(p) for p in sites] or _simulated(results, size, report)
        config = {
            "version": __version__,
            "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "max_days": max_days,
            "tile": tile,
            "sites": survey(paths, targets, asked, max_dates, max_days),
            "methods": chosen,
            "protocols": asked,
        }
        config = merged(results, config)
        results.configure(config)
        keep_windows(results, config, report)
        run_missing(results, config, report, keep=keep, jobs=jobs)
        table = results.collect()
        table.attrs["failures"] = len(results.failures())
        return table


def _simulated(results: Results, size: int, report: Progress) -> list[Path]:
    """The six simulated sites, written where they are not yet."""
    folder = results.path / "sites"
    there = read_json(results.path / SIMULATED_SITES).get("size", size)
    if there != size:
        raise InputError(folder, f"holds sites of {there} pixels", f"give `size={there}`, or `overwrite=True`")
    write_json(results.path / SIMULATED_SITES, {"size": size})
    paths = [folder / f"{name}.zarr" for name in SITES]
    for k, (name, path) in enumerate(zip(SITES, paths, strict=True)):
        report("simulate", k, len(paths))
        if not path.is_dir():
            write_site(simulate_site(name, size=size), path)
    report("simulate", len(paths), len(paths))
    return paths


def run_missing(
    results: Results,
    config: Mapping[str, Any],
    report: Progress,
    *,
    keep: bool = False,
    jobs: int | None = None,
    see: See | None = None,
) -> None:
    """Do what a configuration asks for and is not done yet; see :func:`benchmark` and :class:`Job`."""
    units = list(results.units())
    left = [u for u in units if not results.done(u)]
    count = min(threads.default_workers() if jobs is None else jobs, max(1, len(left)))
    share = max(1, threads.default_workers() // max(1, count))
    work = [
        Job(
            results.path,
            unit,
            config["sites"][unit.site],
            config["methods"][unit.method],
            config["max_days"],
            config["tile"],
            keep,
            share,
            see,
        )
        for unit in left
    ]
    shutil.rmtree(results.path / "work", ignore_errors=True)
    ready = len(units) - len(left)
    report("predict", ready, len(units))
    for k, _ in enumerate(finished(work, count, run), ready + 1):
        report("predict", k, len(units))
    shutil.rmtree(results.path / "work", ignore_errors=True)
