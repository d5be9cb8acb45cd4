"""The benchmark: sites × ratios × protocols × methods × dates in one run that can be killed and resumed.

Every prediction is a unit of its own, made in a process of a pool: a method that raises, or that takes its process
down, is noted and the others go on. What a unit leaves is written whole or not at all; see :mod:`sitsfuse.results`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from . import memory, threads
from .engine import TILE, fuse, predict_window
from .errors import InputError
from .evaluation import evaluate
from .grid import Window, middle, tile_window
from .methods import Predictor, known_methods, make_method
from .protocols import STANDARD, Protocol, withhold
from .readers import open_series, open_site, series_names
from .results import Results, Unit
from .series import group, pair_of
from .simulator.sites import SITES, simulate_site
from .strata import stratify
from .timeline import days
from .writers import read_json, write_json, write_site

Report = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done and the steps in all."""

WINDOW = 200
"""Side of the window that is kept to be looked at, in HR pixels."""
SHOWN = 6
"""Most dates per site of which that window is kept."""
SIMULATED = 240
"""Default side of the simulated sites, in HR pixels."""
CACHED = 4
"""Sites that a process keeps open."""


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
    report: Report | None = None,
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
        What to leave out, see :mod:`sitsfuse.protocols`: ``standard``, ``guide-gap:60``, ``forecast`` …
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
        and writing), ``seconds_evaluation``, ``peak_rss`` (MB of the process during the fusion) and ``megapixels`` (of
        the scene). Its ``attrs["failures"]`` counts the predictions without rows.

    Raises
    ------
    InputError
        If a site, method or option is unfit, or ``out`` holds something else. A method that fails raises nothing.
    """
    tell = report or (lambda *_: None)
    results = Results(Path(out))
    chosen = {name: _described(name, (options or {}).get(name)) for name in methods or known_methods()}
    if strange := set(options or {}) - set(chosen):
        raise InputError(f"option of {min(strange)!r}", "is of no method of this run", f"choose {', '.join(chosen)}")
    asked = [str(Protocol.parse(p)) for p in protocols]
    claim(results, bool(sites), overwrite)
    paths = [Path(p) for p in sites] or _simulated(results, size, tell)
    config = {
        "version": importlib.metadata.version("sitsfuse"),
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "max_days": max_days,
        "tile": tile,
        "sites": _surveyed(paths, targets, asked, max_dates, max_days),
        "methods": chosen,
        "protocols": asked,
    }
    config = merged(results, config)
    results.configure(config)
    _samples(results, config, tell)
    _run(results, config, keep, jobs, tell)
    table = results.collect()
    table.attrs["failures"] = len(results.failures())
    return table


# --- what is asked for -----------------------------------------------------------------------------------------


def claim(results: Results, foreign: bool, overwrite: bool) -> None:
    """Make sure that the folder is ours, or empty; empty it on request.

    Raises
    ------
    InputError
        If it holds something else, or a benchmark of other sites than asked for.
    """
    path = results.path
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / "benchmark.json").is_file() and not (path / "sites").is_dir():
        raise InputError(path, "exists and holds no benchmark", "choose another folder")
    if overwrite:
        # The configuration last: without it, what is left could not be told from foreign files.
        for name in ("parts", "samples", "predictions", "work", *(() if foreign else ("sites",))):
            shutil.rmtree(path / name, ignore_errors=True)
        for name in ("metrics.parquet", "benchmark.json"):
            (path / name).unlink(missing_ok=True)


def _described(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """All options of a method as JSON can hold them."""
    method = make_method(name, options)
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(method)))  # type: ignore[call-overload]
    return found


def _simulated(results: Results, size: int, tell: Report) -> list[Path]:
    """The six simulated sites, written where they are not yet."""
    folder = results.path / "sites"
    there = read_json(folder / "sites.json").get("size", size)
    if there != size:
        raise InputError(folder, f"holds sites of {there} pixels", f"give --size {there}, or --overwrite")
    write_json(folder / "sites.json", {"size": size})
    paths = [folder / f"{name}.zarr" for name in SITES]
    for k, (name, path) in enumerate(zip(SITES, paths, strict=True)):
        tell("simulate", k, len(paths))
        if not path.is_dir():
            write_site(simulate_site(name, size=size), path)
    tell("simulate", len(paths), len(paths))
    return paths


def _surveyed(
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
    target, answers = group(tree, "target")["time"].values, group(tree, "reference")["time"].values
    pairs = {}
    for date in target:
        nearest = answers[np.argmin(np.abs(days(answers, date)))]
        if abs(_calendar(nearest) - _calendar(date)) <= max_days:
            pairs[str(date)[:10]] = str(nearest)[:10]
    if not pairs:
        raise InputError(where, f"has no image within {max_days:g} days of a reference", "set --max-days higher")
    dates = spread(list(pairs), max_dates)
    guides = group(tree, "guide")["time"].values
    impossible: dict[str, dict[str, str]] = {}
    for text in protocols:
        for date in dates:
            day, answer = np.datetime64(date), np.datetime64(pairs[date])
            if why := Protocol.parse(text).problem(guides, target, _exact(target, day), answer):
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
            "choose another folder or --overwrite",
        )


# --- the run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A unit and all that a process needs to know to make it."""

    results: Path
    unit: Unit
    site: Mapping[str, Any]
    """The site's entry in the configuration."""
    options: Mapping[str, Any]
    max_days: float
    tile: int
    keep: bool
    workers: int
    """Threads."""


def _run(results: Results, config: Mapping[str, Any], keep: bool, jobs: int | None, tell: Report) -> None:
    """Do what is not done yet."""
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
        )
        for unit in left
    ]
    shutil.rmtree(results.path / "work", ignore_errors=True)
    ready = len(units) - len(left)
    tell("predict", ready, len(units))
    for k, _ in enumerate(finished(work, count, run), ready + 1):
        tell("predict", k, len(units))
    shutil.rmtree(results.path / "work", ignore_errors=True)


def finished(work: Sequence[Job], processes: int, run: Callable[[Job], None]) -> Iterator[Job]:
    """Run jobs and yield them as they end; a job that takes its process down is noted as failed."""
    if processes == 0:
        for job in work:
            run(job)
            yield job
        return
    waiting = list(reversed(work))
    suspects: list[Job] = []
    while waiting or suspects:
        # When a process dies, all that were at work are suspects: they are tried one by one.
        alone = bool(suspects)
        queue = suspects if alone else waiting
        with _pool(1 if alone else processes) as pool:
            running: dict[Future[None], Job] = {}
            broken = False
            while (queue and not broken) or running:
                while queue and not broken and len(running) < (1 if alone else processes):
                    job = queue.pop()
                    running[pool.submit(run, job)] = job
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    try:
                        future.result()
                    except BrokenProcessPool:
                        broken = True
                        if alone:
                            Results(job.results).write_failure(job.unit, "took its process down: out of memory?")
                            yield job
                        else:
                            suspects.append(job)
                    else:
                        yield job


@contextlib.contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: a fork would copy the locks of threads that it does not copy.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin_process)
    try:
        yield pool
    except BaseException:
        # Ctrl-C: what is at work is lost, nothing else.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_process() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(job: Job) -> None:
    """Make a unit: predict, judge, keep what is to be looked at. Failures are noted, not raised."""
    results, unit = Results(job.results), job.unit
    folder = job.results / "work" / unit.place
    try:
        rows = _rows(results, job, folder)
        results.write_rows(unit, rows)
    except Exception as error:
        if isinstance(error, InputError) and str(error.where).startswith(str(job.results)):
            raise  # a full disk is no failure of the method
        line = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        results.write_failure(unit, " ".join(line.split()), traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows(results: Results, job: Job, folder: Path) -> pd.DataFrame:
    """The rows of a unit; its sample and, on request, its images are kept on the way."""
    unit, entry = job.unit, job.site["targets"][job.unit.target]
    site = _site(job.site["path"], unit.target)
    target = group(site, "target")
    date = _exact(target["time"].values, np.datetime64(unit.date))
    answer = np.datetime64(entry["references"][unit.date])
    part = withhold(site, Protocol.parse(unit.protocol), date, answer)
    method = make_method(unit.method, job.options)
    fitted: list[Predictor] = []
    memory.reset_peak()
    began = time.perf_counter()
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
    fused = time.perf_counter()
    peak = memory.peak()
    reference = group(site, "reference")
    truth = reference.isel(time=[int(np.argmin(np.abs(days(reference["time"].values, answer))))])
    rows = evaluate(open_series(folder), truth, target, max_days=job.max_days, workers=job.workers)
    judged = time.perf_counter()
    if unit.date in job.site["shown"] and unit.protocol == STANDARD:
        pair = pair_of(part)
        window = tile_window(pair, middle(pair.hr, WINDOW), method.halo(pair.ratio))
        results.write_sample(predict_window(fitted[0], part, window, frozenset({"weight"})), *unit.place.parts)
    if job.keep:
        _keep(folder, job.results / "predictions" / unit.place.parent)
    head = {
        "site": unit.site,
        "landscape": job.site["landscape"],
        "target": unit.target,
        "ratio": entry["ratio"],
        "protocol": unit.protocol,
        "method": unit.method,
        "same_day": rows["days"] == 0,
        "nearest_guide": _nearest(group(part, "guide")["time"].values, date),
        "seconds": fused - began,
        "seconds_evaluation": judged - fused,
        "peak_rss": peak,
        "megapixels": truth.sizes["y"] * truth.sizes["x"] / 1e6,
    }
    return rows.assign(**head)[[*head, *rows.columns]]


@functools.lru_cache(CACHED)
def _site(path: str, target: str) -> xr.DataTree:
    """Opened once per process."""
    return open_site(path, target)


def _keep(made: Path, folder: Path) -> None:
    """Move a date's images to those of the other dates."""
    folder.mkdir(parents=True, exist_ok=True)
    # The image itself last: what has its name is complete.
    for file in sorted(made.glob("*.tif"), key=lambda p: len(p.name), reverse=True):
        file.replace(folder / file.name)


def _samples(results: Results, config: Mapping[str, Any], tell: Report) -> None:
    """Keep a window of the sites' series, to be looked at."""
    done, total = 0, sum(len(site["targets"]) for site in config["sites"].values())
    for name, about in config["sites"].items():
        for target, entry in about["targets"].items():
            tell("windows", done, total)
            done += 1
            site = _site(about["path"], target)
            pair = pair_of(site)
            window = middle(pair.hr, WINDOW)
            if results.sample(name, target, "target") is None:
                results.write_sample(_part(group(site, "target"), pair.lr_window(window)), name, target, "target")
            if results.sample(name, "guide") is None:
                results.write_sample(_part(group(site, "guide"), window), name, "guide")
            if results.sample(name, "reference") is None:
                days_shown = [entry["references"].get(d) for d in about["shown"]]
                results.write_sample(_reference(group(site, "reference"), days_shown, window), name, "reference")
    tell("windows", total, total)


def _reference(series: xr.Dataset, wanted: Sequence[str | None], window: Window) -> xr.Dataset:
    """A window of some references, with the strata that the whole image defines."""
    have = [str(t)[:10] for t in series["time"].values]
    index = sorted({have.index(d) for d in wanted if d is not None})
    chosen = series.isel(time=index)
    part = _part(chosen, window)
    maps = [stratify(chosen.isel(time=k), window) for k in range(len(index))]
    return part.assign(stratum=(("time", "y", "x"), np.stack(maps)))


def _part(series: xr.Dataset, window: Window) -> xr.Dataset:
    return series[["reflectance", "valid"]].isel(y=window[0], x=window[1]).compute()


def _calendar(time: np.datetime64) -> int:
    return int(time.astype("datetime64[D]").astype(int))


def _exact(times: npt.NDArray[np.datetime64], day: np.datetime64) -> np.datetime64:
    """The time of the image of a day."""
    found: np.datetime64 = times[np.flatnonzero(times.astype("datetime64[D]") == day.astype("datetime64[D]"))[0]]
    return found


def _nearest(guides: npt.NDArray[np.datetime64], date: np.datetime64) -> float:
    return float(np.abs(days(guides, date)).min())
