"""The benchmark: sites × ratios × protocols × methods × dates in one run that can be killed and resumed.

Every prediction is a unit of its own, made in a process of a pool: a method that raises, or that takes its process
down, is noted and the others go on. What a unit leaves is written whole or not at all; see
:mod:`sitsfuse.benchmarking.results`.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..fusion.fuse import TILE
from ..methods import known_methods as known_methods
from ..methods import method_names
from ..runtime import threads
from ..runtime.progress import Progress, silent
from ..simulator.sites import SITES, simulate_site
from .configuration import Configuration
from .plan import chosen, merged, simulated, survey, taken
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
    reading: Mapping[str, Any] | None = None,
    target_reading: Mapping[str, Any] | None = None,
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
    reading, target_reading
        How to read sites of other makers' files: options of :func:`sitsfuse.open_series`, and further ones for the
        LR series alone. They are kept with the results.
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
    with_options = chosen(methods or method_names(), options)
    asked = tuple(str(Protocol.parse(p)) for p in protocols)
    with taken(results, sites, overwrite):
        paths = [Path(p) for p in sites] or simulated(
            results.path, SITES, size, functools.partial(simulate_site, size=size), report
        )
        planned = survey(paths, targets, asked, max_dates, max_days, reading, target_reading)
        config = merged(results, Configuration(max_days, tile, planned, with_options, asked))
        return carry_out(results, config, report, keep=keep, jobs=jobs)


def carry_out(
    results: Results,
    config: Configuration,
    report: Progress,
    *,
    keep: bool = False,
    jobs: int | None = None,
    see: See | None = None,
) -> pd.DataFrame:
    """Do what a configuration asks for and is not done yet, and gather the table; see :func:`benchmark` and
    :class:`~sitsfuse.benchmarking.units.Job`.
    """
    results.configure(config)
    if not config.study:
        keep_windows(results, config, report)
    _run_missing(results, config, report, keep, jobs, see)
    table = results.collect()
    table.attrs["failures"] = len(results.failures())
    return table


def _run_missing(
    results: Results, config: Configuration, report: Progress, keep: bool, jobs: int | None, see: See | None
) -> None:
    units = list(results.units())
    left = [u for u in units if not results.done(u)]
    count = min(threads.default_workers() if jobs is None else jobs, max(1, len(left)))
    share = max(1, threads.default_workers() // max(1, count))
    work = [
        Job(
            results.path,
            unit,
            config.sites[unit.site],
            config.methods[unit.method],
            config.max_days,
            config.tile,
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
