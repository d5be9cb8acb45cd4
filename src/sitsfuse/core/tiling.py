"""Cut images into tiles with a halo, and into blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from odc.geo.geobox import GeoBox

from .grid import GridPair, Window


@dataclass(frozen=True)
class TileWindow:
    """Where a tile lies: what it yields, and what it needs to read."""

    core: Window
    """HR pixels that the tile yields."""
    block: Window
    """HR pixels to read: the core grown by the halo, within the image."""
    lr: Window
    """LR pixels to read."""

    @property
    def inner(self) -> Window:
        """The core, in the block's own pixels."""
        return tuple(  # type: ignore[return-value]
            slice(c.start - b.start, c.stop - b.start) for c, b in zip(self.core, self.block, strict=True)
        )


def tiles(pair: GridPair, size: int, halo: int) -> Iterator[TileWindow]:
    """Cut the HR grid into tiles of ``size`` pixels, each with ``halo`` pixels of context.

    Parameters
    ----------
    pair
        The grids.
    size
        Side of a tile, in HR pixels; the last row and column may be smaller.
    halo
        HR pixels of context on each side, where the image has them.
    """
    for core in blocks(pair.hr.shape, size):
        yield tile_window(pair, core, halo)


def tile_window(pair: GridPair, core: Window, halo: int) -> TileWindow:
    """The tile that yields ``core``."""
    block = grown(core, halo, pair.hr.shape)
    # One LR pixel more than the halo covers: its footprint may reach the block.
    lr = pair.lr_window(core, halo + math.ceil(pair.ratio))
    return TileWindow(core, block, lr)


def blocks(shape: Iterable[int], size: int) -> Iterator[Window]:
    """Cut an image into blocks of ``size`` × ``size`` pixels, the last row and column perhaps smaller."""
    rows, cols = shape
    for y in range(0, rows, size):
        for x in range(0, cols, size):
            yield slice(y, min(y + size, rows)), slice(x, min(x + size, cols))


def grown(window: Window, halo: int, shape: Iterable[int]) -> Window:
    """A window with ``halo`` pixels on each side, as far as the image goes."""
    rows, cols = (slice(max(s.start - halo, 0), min(s.stop + halo, n)) for s, n in zip(window, shape, strict=True))
    return rows, cols


def middle(box: GeoBox, side: int) -> Window:
    """The middle of a grid, at most ``side`` pixels along each axis."""
    rows, cols = (slice(start := max(0, (n - side) // 2), start + min(n, side)) for n in box.shape)
    return rows, cols
