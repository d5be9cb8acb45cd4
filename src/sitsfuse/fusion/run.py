"""The loop that all methods share: tiles × blocks of dates, a few at a time."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.grid import GridPair
from ..core.loading import read
from ..core.series import make_series
from ..core.site import SiteLayout, group
from ..core.tiling import TileWindow, tiles
from ..errors import InputError
from ..methods import Method, Predictor, Study, Tile
from ..runtime import threads
from ..runtime.memo import Memo
from ..runtime.progress import Progress
from .inputs import Inputs, changed, whole
from .outputs.layout import Output
from .pool import Pool
from .record import record_of
from .sizes import block_size

LOGGER = logging.getLogger("sitsfuse")
STAGE = "fusing"
"""What a run's progress is called; its steps are tiles."""
OnFit = Callable[[np.datetime64, Predictor], None]
"""Called with a date and its predictor."""


@dataclass
class Run:
    """One run: takes the dates block by block, fits them, and predicts the tiles of all dates of a block at once."""

    site: xr.DataTree
    known: SiteLayout
    method: Method
    output: Output
    pool: Pool
    report: Progress
    on_fit: OnFit
    inputs: Inputs
    """As they are used: see :func:`~sitsfuse.fusion.inputs.screened`."""

    def go(self) -> None:
        """Do what is not done yet."""
        layout = self.output.layout
        pair = self.known.grids
        self.windows = list(tiles(pair, layout.tile, self.method.halo(pair.ratio)))
        self.left: dict[int, set[int]] = {}
        self.doubtful = doubtful(self.output, self.inputs)
        for date in range(len(layout.times)):
            if not self.output.finished(date):
                self.left[date] = set(range(len(self.windows))) - set(self.output.done(date))
            elif date in self.doubtful:
                self.left[date] = set()
        todo = sum(map(len, self.left.values()))
        self.total = len(layout.times) * len(self.windows)
        self.count = self.total - todo
        self.waiting = deque(self.left)
        self.size = block_size(todo, self.pool.slots)
        self.tasks: dict[Any, tuple[Callable[[Any, Any], None], tuple[int, ...]]] = {}
        self.queue: deque[tuple[Callable[[Any, Any], None], tuple[int, ...], tuple[Any, ...]]] = deque()
        self.study: Any = None
        self.report(STAGE, self.count, self.total)
        LOGGER.info(
            "%s: %d dates in %d tiles of %d px, %d at a time; %d tiles are there already",
            self.method.name, len(layout.times), len(self.windows), layout.tile, self.pool.slots, self.count,
        )  # fmt: skip
        try:
            while self.waiting or self.queue or self.tasks:
                # The next block begins when this one no longer keeps everyone busy.
                while self.waiting and len(self.queue) + len(self.tasks) < 2 * self.pool.slots:
                    self._start()
                # Few at a time: waiting for one of many tasks costs time for each of them.
                while self.queue and len(self.tasks) < 2 * self.pool.slots:
                    then, dates, call = self.queue.popleft()
                    self.tasks[self.pool.submit(*call)] = then, dates
                for task in self.pool.wait(list(self.tasks)):
                    then, dates = self.tasks.pop(task)
                    then(dates, task)
                    self.report(STAGE, self.count, self.total)
        except BaseException:
            for task in self.tasks:
                task.cancel()
            raise

    def _start(self) -> None:
        """Fit the dates of the next block; a date of which all tiles are there only wants its images."""
        fits: dict[int, Any] = {}
        while self.waiting and len(fits) < self.size:
            date = self.waiting.popleft()
            if not self.left[date] and date not in self.doubtful:
                self._finish(date)
                continue
            if self.study is None:
                self.study = self.pool.submit(self.method.study, self.site)
                self.pool.wait([self.study])
                if (error := self.study.exception()) is not None:
                    raise error
            fits[date] = None
            self.queue.append(
                (partial(self._fitted, fits), (date,), (fit_date, self.study, self.output.layout.times[date]))
            )

    def _fitted(self, fits: dict[int, Any], dates: tuple[int, ...], task: Any) -> None:
        """Note what was chosen for a date of a block; when all of them are fitted, predict their tiles."""
        (date,) = dates
        predictor = task.result()
        self.on_fit(self.output.layout.times[date], predictor)
        record = record_of(self.output.layout, date, predictor, self.inputs)
        LOGGER.info("%s: fitted to %d guides", _day(self.output, date), len(record["guides"]))
        LOGGER.debug("%s: %s", _day(self.output, date), record)
        if self._judge(date, record):
            self.output.begin(date, record)
            fits[date] = task
        else:
            del fits[date]
        if any(fit is None for fit in fits.values()):
            return
        for index, window in enumerate(self.windows):
            lacking = tuple(date for date in fits if index in self.left[date])
            if lacking:
                site = self.site, self.known
                call = run_block, *site, self.output, index, window, lacking, *(fits[date] for date in lacking)
                self.queue.append((self._predicted, lacking, call))

    def _judge(self, date: int, record: Mapping[str, Any]) -> bool:
        """Whether a date has tiles to predict, now that it is known what they are made of."""
        if date not in self.doubtful:
            return True
        self.doubtful.discard(date)
        known = self.output.known(date)
        if why := changed(known.get("inputs", {}), record["inputs"]):
            LOGGER.info("%s: made anew, %s", _day(self.output, date), why)
            self.output.discard(date)
            self.count -= len(self.windows) - len(self.left[date])
            self.left[date] = set(range(len(self.windows)))
            return True
        self.output.note(date, {**known, "inputs": record["inputs"]})
        if not self.left[date] and not self.output.finished(date):
            self._finish(date)
        return bool(self.left[date])

    def _predicted(self, dates: tuple[int, ...], task: Any) -> None:
        """Count a tile of some dates; the images of a date are made as soon as all of its tiles are there."""
        index = task.result()
        self.count += len(dates)
        for date in dates:
            self.left[date].discard(index)
            if not self.left[date]:
                self._finish(date)

    def _finish(self, date: int) -> None:
        # Before anything else: that frees the room of its shards.
        self.queue.appendleft((partial(_finished, self.output), (date,), (self.output.finish, date)))


def _finished(output: Output, dates: tuple[int, ...], task: Any) -> None:
    """Raise what went wrong while the images of a date were made."""
    task.result()
    LOGGER.info("%s: complete", _day(output, dates[0]))


def _day(output: Output, date: int) -> str:
    return str(output.layout.times[date])[:10]


def doubtful(output: Output, inputs: Inputs) -> set[int]:
    """Dates of which something is there that was made of other inputs: whether that changes them is not known yet."""
    now = whole(inputs)
    known = {date: output.known(date) for date in range(len(output.layout.times))}
    return {date for date, record in known.items() if record and record.get("inputs", {}).get("all") != now}


def fit_date(study: Study, date: np.datetime64) -> Predictor:
    """Prepare the prediction of one date."""
    return study.fit(date)


def run_block(
    site: xr.DataTree,
    known: SiteLayout,
    output: Output,
    index: int,
    window: TileWindow,
    dates: tuple[int, ...],
    *predictors: Predictor,
) -> int:
    """Read a tile, predict and keep it for some dates; returns its index."""
    threads.bound()
    asked = frozenset({"weight"} if output.layout.weights else ())
    for date, image in zip(dates, predict_dates(predictors, site, known, window, asked), strict=True):
        if output.layout.weights and "weight" not in image:
            raise InputError("`weights`", "the method has no weights of guides", "leave `weights` out or use ddi")
        output.write(date, index, window.core, image)
    return index


def predict_window(
    predictor: Predictor,
    site: xr.DataTree,
    known: SiteLayout,
    window: TileWindow,
    diagnostics: frozenset[str] = frozenset(),
) -> xr.Dataset:
    """What a predictor makes of a window of a site, in memory; see `predict_dates`."""
    (image,) = predict_dates([predictor], site, known, window, diagnostics)
    return image


def predict_dates(
    predictors: Sequence[Predictor],
    site: xr.DataTree,
    known: SiteLayout,
    window: TileWindow,
    diagnostics: frozenset[str] = frozenset(),
) -> Iterator[xr.Dataset]:
    """What predictors of several dates make of a window of a site, one after the other; the guides are read once.

    Parameters
    ----------
    predictors
        Of one date each.
    site, known
        The site they were fitted on.
    window
        What to predict and to read, as :func:`~sitsfuse.core.tiling.tiles` gives it for the method's halo.
    diagnostics
        Asked for, such as ``weight``; a method gives those that it has.

    Yields
    ------
    xarray.Dataset
        As :class:`~sitsfuse.methods.base.Predictor` gives it, on the window's core.
    """
    guide, target = group(site, "guide"), group(site, "target")
    every = np.unique(np.concatenate([p.guides for p in predictors]))
    images, memo = read(guide, window.block, every), Memo()
    for predictor in predictors:
        part, grids = _target_part(target, known, window, predictor.targets)
        own = _chosen(images, np.searchsorted(every, predictor.guides))
        yield predictor(Tile(own, part, grids, diagnostics, window.inner, memo)).isel(
            y=window.inner[0], x=window.inner[1]
        )


def _chosen(images: xr.Dataset, places: npt.NDArray[np.intp]) -> xr.Dataset:
    """Some images of a series in memory: the series itself or a part of it, without a copy, if they lie in a row."""
    if np.array_equal(places, np.arange(images.sizes["time"])):
        return images
    in_a_row = places.size and np.array_equal(places, np.arange(places[0], places[0] + places.size))
    return images.isel(time=slice(int(places[0]), int(places[-1]) + 1) if in_a_row else places)


def _target_part(
    target: xr.Dataset, known: SiteLayout, window: TileWindow, times: npt.NDArray[np.datetime64]
) -> tuple[xr.Dataset, GridPair]:
    """The LR images that a tile needs, and the tile's grids."""
    pair = known.grids
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
    nothing = np.full((len(times), len(known.bands), *shape), np.nan, np.float32)
    empty = make_series(nothing, np.zeros((len(times), *shape), bool), times, known.bands, box)
    return empty, GridPair(pair.hr[window.block], box)
