"""The loop that all methods share: dates × tiles, a few at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
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
from ..errors import InputError
from ..methods import Method, Predictor, Study, Tile
from ..runtime import threads
from ..runtime.progress import Progress
from .outputs.layout import Output
from .pool import Pool
from .record import record_of

STAGE = "fusing"
"""What a run's progress is called; its steps are tiles."""
OnFit = Callable[[np.datetime64, Predictor], None]
"""Called with a date and its predictor."""


@dataclass
class Run:
    """One run: fits dates and predicts their tiles, a few dates at a time."""

    site: xr.DataTree
    method: Method
    output: Output
    pool: Pool
    report: Progress
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
        self.tasks: dict[Any, tuple[str, int]] = {}
        self.queue: deque[tuple[str, int, Callable[..., Any], tuple[Any, ...]]] = deque()
        self.study: Any = None
        active: set[int] = set()
        self.report(STAGE, self.count, self.total)
        try:
            while waiting or self.queue or self.tasks:
                while waiting and len(active) < self.pool.slots:
                    active.add(date := waiting.pop(0))
                    self._start(date)
                # Few at a time: waiting for one of many tasks costs time for each of them.
                while self.queue and len(self.tasks) < 2 * self.pool.slots:
                    kind, date, function, args = self.queue.popleft()
                    self.tasks[self.pool.submit(function, *args)] = kind, date
                for task in self.pool.wait(list(self.tasks)):
                    kind, date = self.tasks.pop(task)
                    if self._advance(kind, date, task):
                        active.discard(date)
        except BaseException:
            for task in self.tasks:
                task.cancel()
            raise

    def _start(self, date: int) -> None:
        if self.left[date]:
            if self.study is None:
                self.study = self.pool.submit(self.method.study, self.site)
                self.pool.wait([self.study])
                if (error := self.study.exception()) is not None:
                    raise error
            self._submit("fit", date, fit_date, self.study, self.output.layout.times[date])
        else:
            self._submit("finish", date, self.output.finish, date)

    def _advance(self, kind: str, date: int, task: Any) -> bool:
        """Take what a task has made and submit what it allows; True when the date is complete."""
        value = task.result()
        if kind == "fit":
            self.on_fit(self.output.layout.times[date], value)
            self.output.begin(date, record_of(self.output.layout, date, value))
            for k in sorted(self.left[date]):
                self._submit("tile", date, run_tile, task, self.site, self.output, date, k, self.windows[k])
        elif kind == "tile":
            self.left[date].discard(value)
            self.count += 1
            if not self.left[date]:
                self._submit("finish", date, self.output.finish, date)
        self.report(STAGE, self.count, self.total)
        return kind == "finish"

    def _submit(self, kind: str, date: int, function: Callable[..., Any], *args: Any) -> None:
        # A date's images are made as soon as its tiles are there: that frees their room.
        (self.queue.appendleft if kind == "finish" else self.queue.append)((kind, date, function, args))


def fit_date(study: Study, date: np.datetime64) -> Predictor:
    """Prepare the prediction of one date."""
    return study.fit(date)


def run_tile(predictor: Predictor, site: xr.DataTree, output: Output, date: int, index: int, window: TileWindow) -> int:
    """Read, predict and keep one tile; returns its index."""
    threads.bound()
    image = predict_window(predictor, site, window, frozenset({"weight"} if output.layout.weights else ()))
    if output.layout.weights and "weight" not in image:
        raise InputError("`weights`", "the method has no weights of guides", "leave `weights` out or use ddi")
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
