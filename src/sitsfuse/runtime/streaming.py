"""Images too large for memory, block by block: each block is read once, whatever its windows need of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.grid import Window

Arrays = tuple[npt.NDArray[Any], ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """A piece of an image, with the pixels around it that windows need."""

    arrays: Arrays
    """(…, y, x) each, on `window`."""
    window: Window
    """Pixels of the image that are here."""
    core: Window
    """Pixels that the block owns, in the image: every pixel is one block's own, and all within reach of it is here."""
    read: Window
    """Pixels that were read for it, in the image: those of all blocks tile it too."""

    def inner(self, part: Window) -> Window:
        """A part of the image, in the block's own pixels."""
        return within(part, self.window)


def stream(
    read: Callable[[Window], Arrays],
    work: Callable[[Block], T],
    shape: tuple[int, int],
    *,
    side: int,
    reach: int,
    least: int = 1,
    workers: int = 1,
) -> Iterator[T]:
    """Read an image block by block, work on the blocks, and yield what comes of it, row by row.

    A block owns the pixels `reach` above and to the left of those that were read for it: what lies around is then
    here already. So every pixel is read once, and only a margin of 2 · `reach` rows is kept of what is done with.

    Parameters
    ----------
    read
        Gives the arrays, (…, y, x) each, of a window of the image.
    work
        What to do with a block.
    shape
        Rows and columns of the image.
    side
        Side of what is read at a time, in pixels; grown to a multiple of `least` that holds a margin.
    reach
        Pixels that `work` needs around each pixel.
    least
        What is left at the image's end is read with the last block, if it is less than this.
    workers
        Threads that read and work. The results do not depend on their number.
    """
    side = max(1, -(-max(side, 2 * reach) // least)) * least
    rows, cols = (_cuts(n, side, least) for n in shape)
    windows = iter([(y, x) for y in rows for x in cols])
    join = _Margins(shape, reach)
    with ThreadPoolExecutor(workers) as pool:
        reading: deque[tuple[Window, Future[Arrays]]] = deque()
        working: deque[Future[T]] = deque()
        try:
            while True:
                while len(reading) < workers and (window := next(windows, None)) is not None:
                    reading.append((window, pool.submit(read, window)))
                if not reading:
                    break
                window, future = reading.popleft()
                working.append(pool.submit(work, join(window, future.result())))
                del future
                while len(working) > workers:
                    yield working.popleft().result()
            while working:
                yield working.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def within(part: Window, window: Window) -> Window:
    """A part of an image, seen from a window of it."""
    (y, x), (rows, cols) = part, window
    return slice(y.start - rows.start, y.stop - rows.start), slice(x.start - cols.start, x.stop - cols.start)


class _Margins:
    """Joins each block, row by row, with what it needs of those above and to its left."""

    def __init__(self, shape: tuple[int, int], reach: int) -> None:
        self.shape, self.reach = shape, reach
        self.above: Sequence[npt.NDArray[Any]] = ()
        self.left: Sequence[npt.NDArray[Any]] = ()

    def __call__(self, window: Window, arrays: Arrays) -> Block:
        margin, (rows, cols), (height, width) = 2 * self.reach, window, self.shape
        top, side = min(margin, rows.start), min(margin, cols.start)
        joined = []
        for i, a in enumerate(arrays):
            if not top and not side:
                joined.append(np.ascontiguousarray(a))
                continue
            out = np.empty((*a.shape[:-2], top + a.shape[-2], side + a.shape[-1]), a.dtype)
            out[..., top:, side:] = a
            if top:
                out[..., :top, side:] = self.above[i][..., cols]
            if side:
                out[..., :side] = self.left[i]
            joined.append(out)
        if cols.stop < width:
            self.left = [a[..., a.shape[-1] - margin :].copy() for a in joined]
        if rows.stop < height:
            if not self.above:
                self.above = [np.empty((*a.shape[:-2], margin, width), a.dtype) for a in arrays]
            for kept, a in zip(self.above, arrays, strict=True):
                kept[..., cols] = a[..., a.shape[-2] - margin :, :]
        core = tuple(
            slice(s.start - min(self.reach, s.start), s.stop - (self.reach if s.stop < n else 0))
            for s, n in zip(window, self.shape, strict=True)
        )
        here = slice(rows.start - top, rows.stop), slice(cols.start - side, cols.stop)
        return Block(tuple(joined), here, core, window)  # type: ignore[arg-type]


def _cuts(n: int, side: int, least: int) -> list[slice]:
    """An axis of n pixels in pieces of `side`, the last one larger if less than `least` would be left."""
    starts = list(range(0, n, side))
    if len(starts) > 1 and n - starts[-1] < least:
        starts.pop()
    return [slice(a, b) for a, b in pairwise([*starts, n])]
