"""Fuse a site: dates × tiles on threads or a dask cluster, resumable, at a memory that a tile bounds."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from . import threads
from .errors import InputError, missing_extra
from .grid import GridPair, TileWindow, blocks, tiles
from .methods import Method, Predictor, Tile, make_method
from .methods.base import read
from .outputs import CogOutput, Layout, MemoryOutput, Output, ZarrOutput
from .readers import open_site
from .series import geobox, group, make_series, mtf, pair_of

TILE = 1024
"""Default side of a tile, in HR pixels."""

Report = Callable[[int, int, str], None]
"""Called with tiles done, tiles in all and a note."""
OnFit = Callable[[np.datetime64, Predictor], None]
"""Called with a date and its predictor."""


def fuse(
    site: xr.DataTree | str | Path,
    out: str | Path | None = None,
    *,
    method: str | Method = "ddi",
    options: Mapping[str, Any] | None = None,
    dates: Sequence[Any] | None = None,
    every: str | None = None,
    format: str = "cog",
    tile: int = TILE,
    weights: bool = False,
    int16: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    report: Report | None = None,
    on_fit: OnFit | None = None,
) -> xr.Dataset | Path:
    """Predict HR images of a site.

    Parameters
    ----------
    site
        A site, or the path of one.
    out
        Where to write; None keeps the images in memory. A second run over the same output resumes.
    method
        Name of a method, or a method.
    options
        The method's parameters, where ``method`` is a name.
    dates
        Dates to predict; by default those of the target series.
    every
        Instead of ``dates``, a regular series over the time of the target series: ``"2d"``.
    format
        ``"cog"``: a folder of GeoTIFFs; ``"zarr"``: one Zarr series.
    tile
        Side of a tile, in HR pixels; it bounds the memory and does not change the result.
    weights
        Whether to keep the weights of the guides, where the method has them.
    int16
        Whether GeoTIFFs hold integers × 1e-4 instead of float32.
    workers
        Tiles at a time; by default the number of cores.
    scheduler
        Address of a dask scheduler to run on instead of threads; its workers must see the same files, and ``out``
        must be given.
    overwrite
        Whether to start anew where there is an output already.
    report
        Called as the work proceeds.
    on_fit
        Called with each date that is fitted, on the calling thread: for those who want to ask its predictor more.

    Returns
    -------
    xarray.Dataset or pathlib.Path
        The series in memory, with ``uncertainty(time, band, y, x)``, ``filled(time, y, x)``, the coordinate
        ``interpolated(time)`` and on request ``weight(time, guide_time, band, y, x)``; or ``out``.

    Raises
    ------
    InputError
        If input, options or output are unfit.
    """
    tree = open_site(site) if isinstance(site, str | Path) else site
    chosen = make_method(method, options) if isinstance(method, str) else method
    if tile < 16:
        raise InputError("tile", f"{tile} is too small", "give at least 16 HR pixels")
    if format not in ("cog", "zarr"):
        raise InputError("format", f"{format!r} is unknown", "choose cog or zarr")
    check_guides(tree, chosen)
    times, interpolated = plan_dates(group(tree, "target")["time"].values, dates, every)
    guide = group(tree, "guide")
    layout = Layout(
        times=times,
        interpolated=interpolated,
        bands=tuple(str(b) for b in guide["band"].values),
        box=geobox(guide),
        guides=guide["time"].values,
        weights=weights,
        tile=tile,
        config=_configuration(tree, chosen, times),
    )
    output = _output(out, layout, format, int16, overwrite, scheduler)
    threads.bound()
    try:
        with _executor(workers, scheduler) as (executor, slots):
            _Run(tree, chosen, output, executor, slots, report or _ignore, on_fit or _ignore).go()
    except InputError:
        # The user mends input or options and comes back, maybe with another configuration.
        output.withdraw()
        raise
    output.close()
    return output.series if isinstance(output, MemoryOutput) else Path(str(out))


def plan_dates(
    available: npt.NDArray[np.datetime64], dates: Sequence[Any] | None = None, every: str | None = None
) -> tuple[npt.NDArray[np.datetime64], tuple[bool, ...]]:
    """The dates to predict, and which of them the target series lacks.

    Parameters
    ----------
    available
        (time,) dates of the target series.
    dates, every
        As in :func:`fuse`; at most one of them.

    Raises
    ------
    InputError
        If a date or a step cannot be understood, or a date lies outside the target series.
    """
    if dates is not None and every is not None:
        raise InputError("--every", "cannot go with --dates", "give one of them")
    have = dict(zip(available.astype("datetime64[D]").tolist(), available, strict=True))
    if len(have) < len(available):
        twice = available[1:][np.diff(available.astype("datetime64[D]")) == np.timedelta64(0, "D")]
        raise InputError("target", f"has two images of {str(twice[0])[:10]}", "keep one image per day")
    first, last = available[0].astype("datetime64[D]"), available[-1].astype("datetime64[D]")
    if every is not None:
        found = re.fullmatch(r"\s*(\d+)\s*d?\s*", every)
        if not found or int(found[1]) < 1:
            raise InputError("--every", f"{every!r} is no number of days", "give e.g. 2d")
        wanted = np.arange(first, last + 1, int(found[1]))
    elif dates is not None:
        if not len(dates):
            raise InputError("--dates", "names no date", "give e.g. 2019-05-01,2019-05-06")
        wanted = np.unique([_as_day(d) for d in dates])
        outside = wanted[(wanted < first) | (wanted > last)]
        if outside.size:
            raise InputError(
                "--dates", f"{outside[0]} lies outside the target series ({first} to {last})", "choose a date within"
            )
    else:
        wanted = available.astype("datetime64[D]")
    times = np.array([have.get(d, np.datetime64(d)) for d in wanted.tolist()], "datetime64[ns]")
    return times, tuple(d not in have for d in wanted.tolist())


def check_guides(site: xr.DataTree, method: Method) -> None:
    """Raise :class:`InputError` if there are too few guides for the method, or one has no valid pixel."""
    guide = group(site, "guide")
    count = guide.sizes["time"]
    if count < method.min_guides:
        raise InputError(
            _source(guide, "guide"),
            f"holds {count} image{'s' * (count != 1)}, and {method.name} needs at least {method.min_guides}",
            "add guides or use --method spatial",
        )
    if not method.min_guides:
        return
    for i in range(count):
        if not _any_valid(guide.isel(time=[i])):
            name = str(guide["product"].values[i]) if "product" in guide.coords else str(guide["time"].values[i])[:10]
            source = guide.attrs.get("source")
            raise InputError(
                f"{source}/{name}" if source else f"guide {name}", "has no valid pixel", "remove it or mend its mask"
            )


def _any_valid(image: xr.Dataset) -> bool:
    """Whether an image has a valid pixel; reads block by block until it finds one."""
    shape = image.sizes["y"], image.sizes["x"]
    return any(image["valid"].isel(y=y, x=x).values.any() for y, x in blocks(shape, 2048))


@dataclass
class _Run:
    """One run: fits dates and predicts their tiles, a few dates at a time."""

    site: xr.DataTree
    method: Method
    output: Output
    executor: Executor
    slots: int
    report: Report
    on_fit: OnFit

    def go(self) -> None:
        """Do what is not done yet."""
        layout = self.output.layout
        pair = pair_of(self.site)
        self.windows = list(tiles(pair, layout.tile, self.method.halo(pair.ratio)))
        self.left: dict[int, set[int]] = {}
        waiting: list[int] = []
        todo = 0
        for date in range(len(layout.times)):
            if not self.output.finished(date):
                self.left[date] = set(range(len(self.windows))) - set(self.output.done(date))
                todo += len(self.left[date])
                waiting.append(date)
        self.total = len(layout.times) * len(self.windows)
        self.count = self.total - todo
        self.futures: dict[Future[Any], tuple[str, int]] = {}
        self.queue: deque[tuple[str, int, Callable[..., Any], tuple[Any, ...]]] = deque()
        active: set[int] = set()
        self.report(self.count, self.total, "")
        try:
            while waiting or self.queue or self.futures:
                while waiting and len(active) < self.slots:
                    active.add(date := waiting.pop(0))
                    self._start(date)
                # Few at a time: waiting for one of many futures costs time for each of them.
                while self.queue and len(self.futures) < 2 * self.slots:
                    kind, date, function, args = self.queue.popleft()
                    self.futures[self.executor.submit(function, *args)] = kind, date
                for future in wait(self.futures, return_when=FIRST_COMPLETED).done:
                    kind, date = self.futures.pop(future)
                    if self._advance(kind, date, future.result()):
                        active.discard(date)
        except BaseException:
            for future in self.futures:
                future.cancel()
            raise

    def _start(self, date: int) -> None:
        if self.left[date]:
            self._submit("fit", date, self.method.fit, self.site, self.output.layout.times[date])
        else:
            self._submit("finish", date, self.output.finish, date)

    def _advance(self, kind: str, date: int, value: Any) -> bool:
        """Take a result and submit what it allows; True when the date is complete."""
        day = str(self.output.layout.times[date])[:10]
        if kind == "fit":
            self.on_fit(self.output.layout.times[date], value)
            self.output.begin(date, _record(self.output.layout, date, value))
            for k in sorted(self.left[date]):
                self._submit("tile", date, run_tile, value, self.site, self.output, date, k, self.windows[k])
        elif kind == "tile":
            self.left[date].discard(value)
            self.count += 1
            if not self.left[date]:
                self._submit("finish", date, self.output.finish, date)
        self.report(self.count, self.total, day)
        return kind == "finish"

    def _submit(self, kind: str, date: int, function: Callable[..., Any], *args: Any) -> None:
        # A date's images are made as soon as its tiles are there: that frees their room.
        (self.queue.appendleft if kind == "finish" else self.queue.append)((kind, date, function, args))


def run_tile(predictor: Predictor, site: xr.DataTree, output: Output, date: int, index: int, window: TileWindow) -> int:
    """Read, predict and keep one tile; returns its index."""
    threads.bound()
    image = predict_window(predictor, site, window, frozenset({"weight"} if output.layout.weights else ()))
    if output.layout.weights and "weight" not in image:
        raise InputError("--weights", "the method has no weights of guides", "leave --weights out or use ddi")
    output.write(date, index, window.core, image)
    return index


def predict_window(
    predictor: Predictor, site: xr.DataTree, window: TileWindow, diagnostics: frozenset[str] = frozenset()
) -> xr.Dataset:
    """What a predictor makes of a window of a site, in memory.

    Parameters
    ----------
    predictor
        Of one date.
    site
        The site it was fitted on.
    window
        What to predict and to read, as :func:`~sitsfuse.grid.tiles` gives it for the method's halo.
    diagnostics
        Asked for, such as ``weight``; a method gives those that it has.

    Returns
    -------
    xarray.Dataset
        As :class:`~sitsfuse.methods.base.Predictor` gives it, on the window's core.
    """
    guide, target = group(site, "guide"), group(site, "target")
    part, grids = _target_part(target, GridPair(geobox(guide), geobox(target)), window, predictor.targets)
    tile = Tile(read(guide, window.block, predictor.guides), part, grids, diagnostics, window.inner)
    return predictor(tile).isel(y=window.inner[0], x=window.inner[1])


def _target_part(
    target: xr.Dataset, pair: GridPair, window: TileWindow, times: npt.NDArray[np.datetime64]
) -> tuple[xr.Dataset, GridPair]:
    """The LR images that a tile needs, and the tile's grids."""
    if all(part.stop > part.start for part in pair.lr_window(window.block)):
        return read(target, window.lr, times), pair.crop(window.block, window.lr)
    # The block lies outside the target's image: invalid pixels there tell the method so.
    spans = [
        (math.floor((part.start - axis.offset) / axis.ratio), math.ceil((part.stop - axis.offset) / axis.ratio))
        for axis, part in zip((pair.y, pair.x), window.block, strict=True)
    ]
    (top, bottom), (left, right) = spans
    shape = bottom - top, right - left
    box = GeoBox(shape, pair.lr.affine @ Affine.translation(left, top), pair.lr.crs)
    bands = [str(b) for b in target["band"].values]
    nothing = np.full((len(times), len(bands), *shape), np.nan, np.float32)
    empty = make_series(nothing, np.zeros((len(times), *shape), bool), times, bands, box)
    return empty, GridPair(pair.hr[window.block], box)


def _ignore(*_: Any) -> None:
    """Nobody wants to be told."""


def _record(layout: Layout, date: int, predictor: Predictor) -> dict[str, Any]:
    return {
        "interpolated": layout.interpolated[date],
        "guides": [str(t)[:10] for t in predictor.guides],
        "targets": [str(t)[:10] for t in predictor.targets],
        "choices": dict(predictor.choices),
    }


def _configuration(site: xr.DataTree, method: Method, times: npt.NDArray[np.datetime64]) -> dict[str, Any]:
    """Everything that the result depends on, for the provenance and to recognise the run."""
    guide, target = group(site, "guide"), group(site, "target")
    return {
        "version": importlib.metadata.version("sitsfuse"),
        "method": method.name,
        "options": json.loads(json.dumps(dataclasses.asdict(method))),  # type: ignore[call-overload]
        "site": str(site.attrs.get("name", "")),
        "ratio": pair_of(site).ratio,
        "bands": [str(b) for b in guide["band"].values],
        "grids": [_grid(guide), _grid(target)],
        "guides": _inputs(guide),
        "targets": _inputs(target),
        "mtf": mtf(target),
        "dates": [str(t)[:10] for t in times],
    }


def _grid(series: xr.Dataset) -> str:
    box = geobox(series)
    epsg = None if box.crs is None else box.crs.to_epsg()
    place = " ".join(f"{v:.12g}" for v in box.affine[:6])
    return f"{f'EPSG:{epsg}' if epsg else box.crs} {box.shape[0]}x{box.shape[1]} {place}"


def _inputs(series: xr.Dataset) -> list[str]:
    """The images of a series: products where known, else dates."""
    if "product" in series.coords:
        return [str(p) for p in series["product"].values]
    return [str(t)[:19] for t in series["time"].values]


def _source(series: xr.Dataset, role: str) -> str:
    return str(series.attrs.get("source", role))


def _output(
    out: str | Path | None, layout: Layout, kind: str, int16: bool, overwrite: bool, scheduler: str | None
) -> MemoryOutput | ZarrOutput | CogOutput:
    if out is None:
        if scheduler is not None:
            raise InputError("scheduler", "its workers cannot write into this process", "give an output path")
        return MemoryOutput(layout)
    disk = ZarrOutput(Path(out), layout) if kind == "zarr" else CogOutput(Path(out), layout, int16)
    disk.open(overwrite)
    return disk


@contextlib.contextmanager
def _executor(workers: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
    """Threads, or a dask cluster; and how many dates to have in work at once."""
    if scheduler is None:
        count = workers or threads.default_workers()
        with ThreadPoolExecutor(count, thread_name_prefix="sitsfuse") as pool:
            yield pool, count
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise missing_extra("scale", "distributed (needed by --scheduler)") from error
    try:
        # Not the default client: one that fails to connect would stay that, and later computations would hang.
        client = Client(scheduler, timeout="20s", set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(scheduler, "no dask scheduler answers", "check the address, e.g. tcp://host:8786") from error
    with client:
        cores = sum(client.nthreads().values())  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False), max(2, cores)  # type: ignore[no-untyped-call]


def _as_day(value: Any) -> np.datetime64:
    if isinstance(value, str):  # NumPy would take 20190501 for a year
        value = re.sub(r"^\s*(\d{4})(\d\d)(\d\d)\s*$", r"\1-\2-\3", value)
    try:
        day = np.datetime64(value, "D")
    except (ValueError, TypeError) as error:
        raise InputError("--dates", f"{value!r} is no date", "write dates as 2019-05-01") from error
    if np.isnat(day):
        raise InputError("--dates", f"{value!r} is no date", "write dates as 2019-05-01")
    return day
