"""The loop that all methods share: dates × tiles, a few at a time."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.grid import GridPair
from ..core.loading import read
from ..core.series import geobox, make_series
from ..core.site import group, pair_of
from ..core.tiling import TileWindow, tiles
from ..errors import InputError, missing_extra
from ..methods import Method, Predictor, Tile
from ..runtime import threads
from .outputs.layout import Output
from .record import record_of

Report = Callable[[int, int, str], None]
"""Called with tiles done, tiles in all and a note."""
OnFit = Callable[[np.datetime64, Predictor], None]
"""Called with a date and its predictor."""


@dataclass
class Run:
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
            self.output.begin(date, record_of(self.output.layout, date, value))
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
        What to predict and to read, as :func:`~sitsfuse.core.tiling.tiles` gives it for the method's halo.
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


@contextlib.contextmanager
def open_executor(workers: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int]]:
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
