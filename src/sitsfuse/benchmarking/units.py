"""One prediction of a benchmark: predict, judge, keep what is to be looked at."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from ..core.dates import days, nearest
from ..core.site import SiteLayout, group
from ..core.tiling import middle, tile_window
from ..errors import InputError
from ..evaluation import evaluate
from ..fusion.fuse import fuse
from ..fusion.run import predict_window
from ..methods import Predictor
from ..methods.registry import make_method
from ..readers import open_series
from ..runtime import memory
from .configuration import PlannedSite
from .protocols import STANDARD, Protocol, withhold
from .results import Results, Unit
from .windows import WINDOW, opened_as

See = Callable[[str, Unit, np.datetime64, np.datetime64], xr.DataTree]
"""From the path of a site, a unit, the predicted date and that of its reference to what a method may see."""


@dataclass(frozen=True)
class Job:
    """A unit and all that a process needs to know to make it."""

    results: Path
    unit: Unit
    site: PlannedSite
    options: Mapping[str, Any]
    max_days: float
    tile: int
    keep: bool
    workers: int
    """Threads."""
    see: See | None = None
    """What is left to methods under a protocol; None: what it leaves of the site."""


def run(job: Job) -> None:
    """Make a unit: predict, judge, keep what is to be looked at. Failures are noted, not raised."""
    results, unit = Results(job.results), job.unit
    folder = job.results / "work" / unit.place
    try:
        rows = _rows(results, job, folder)
        results.write_rows(unit, rows)
    except Exception as error:
        if isinstance(error, InputError) and _of_results(Path(str(error.where)), job.results):
            raise
        line = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        results.write_failure(unit, " ".join(line.split()), traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _of_results(path: Path, results: Path) -> bool:
    """Whether an error is about writing the results, such as a full disk: no failure of a method.

    Simulated sites lie among the results, but are what methods read.
    """
    return path.is_relative_to(results) and not path.is_relative_to(results / "sites")


def _rows(results: Results, job: Job, folder: Path) -> pd.DataFrame:
    """The rows of a unit; its sample and, on request, its images are kept on the way."""
    unit, entry = job.unit, job.site.targets[job.unit.target]
    site = opened_as(job.site, unit.target)
    target = group(site, "target")
    (date,) = (t for t in target["time"].values if str(t)[:10] == unit.date)
    answer = np.datetime64(entry.references[unit.date])
    if job.see:
        part = job.see(job.site.path, unit, date, answer)
    else:
        part = withhold(site, Protocol.parse(unit.protocol), date, answer)
    known = SiteLayout.of(part)
    method = make_method(unit.method, job.options)
    fitted: list[Predictor] = []
    memory.reset_peak()
    began, busy = time.perf_counter(), time.process_time()
    fuse(
        part,
        folder,
        method=method,
        dates=[date],
        format="cog" if job.keep else "zarr",
        tile=job.tile,
        workers=job.workers,
        overwrite=True,
        on_fit=lambda _, predictor: fitted.append(predictor),
    )
    fused, worked = time.perf_counter(), time.process_time() - busy
    peak = memory.peak()
    reference = group(site, "reference")
    truth = reference.isel(time=[nearest(reference, answer)])
    rows = evaluate(open_series(folder), truth, target, max_days=job.max_days, workers=job.workers)
    judged = time.perf_counter()
    if unit.date in job.site.shown and unit.protocol == STANDARD:
        window = tile_window(known.grids, middle(known.grids.hr, WINDOW), method.halo(known.ratio))
        image = predict_window(fitted[0], part, known, window, frozenset({"weight"}))
        results.write_sample(image, *unit.place.parts)
    if job.keep:
        _keep(folder, job.results / "predictions" / unit.place.parent)
    head: dict[str, Any] = {
        "site": unit.site,
        "landscape": job.site.landscape,
        "target": unit.target,
        "ratio": entry.ratio,
        "protocol": unit.protocol,
        "method": unit.method,
        "same_day": rows["days"] == 0,
        "nearest_guide": _nearest(known.guides, date),
        "seconds": fused - began,
        "cpu_seconds": worked,
        "seconds_evaluation": judged - fused,
        "peak_rss": peak,
        "megapixels": truth.sizes["y"] * truth.sizes["x"] / 1e6,
    }
    return rows.assign(**head)[[*head, *rows.columns]]


def _keep(made: Path, folder: Path) -> None:
    """Move a date's images to those of the other dates."""
    folder.mkdir(parents=True, exist_ok=True)
    # The image itself last: what has its name is complete.
    for file in sorted(made.glob("*.tif"), key=lambda p: len(p.name), reverse=True):
        file.replace(folder / file.name)


def _nearest(guides: npt.NDArray[np.datetime64], date: np.datetime64) -> float:
    return float(np.abs(days(guides, date)).min())
