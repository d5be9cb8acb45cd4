"""How much is done at a time: the side of a tile, and the number of dates of a block."""

from __future__ import annotations

import math
from collections.abc import Iterable

SIDES = (1024, 768, 512, 256)
"""Sides of a tile to choose from, in HR pixels, the one that wastes least on halos first."""
SHARE = 0.5
"""Share of the free memory that the tiles in work may take."""
COPIES = 3
"""How often a tile's guides are in memory: as read, with their gaps closed, and what a method makes of them."""
AHEAD = 4
"""Pieces of work per core: with fewer, the last ones leave cores idle."""
MOST_DATES = 12
"""Most dates of a block: the shards of all of them lie on the disk until their images are made."""


def tile_side(shape: Iterable[int], halo: int, images: int, dates: int, slots: int, free: float = math.inf) -> int:
    """The side of a tile that keeps all cores busy and the memory bounded.

    Parameters
    ----------
    shape
        Of the HR image.
    halo
        HR pixels that a tile reads on each side.
    images
        Planes that a tile holds: guides times bands.
    dates
        How many are to be predicted: a tile of each is a piece of work.
    slots
        Pieces at a time.
    free
        Free memory, in bytes.
    """
    rows, cols = shape
    for side in SIDES:
        pieces = math.ceil(rows / side) * math.ceil(cols / side) * dates
        # Floats of 4 bytes.
        need = slots * COPIES * 4.0 * images * min(side + 2 * halo, rows) * min(side + 2 * halo, cols)
        if pieces >= (AHEAD * slots if slots > 1 else 1) and need <= SHARE * free:
            return side
    return SIDES[-1]


def block_size(units: int, slots: int) -> int:
    """Number of dates of a block, so that its tiles are read for many dates, and yet everyone has something to do.

    Parameters
    ----------
    units
        Tiles to predict, of all dates.
    slots
        How many at a time.
    """
    return max(1, min(MOST_DATES, math.ceil(units / slots)))
