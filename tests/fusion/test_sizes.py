"""How much is done at a time."""

import math

import pytest

from sitsfuse.fusion.sizes import MOST_DATES, SIDES, block_size, tile_side

BIG, SMALL = (10980, 10980), (1200, 1200)


def pieces(shape, side, dates):
    return math.prod(math.ceil(n / side) for n in shape) * dates


@pytest.mark.parametrize("slots", [2, 4, 16])
@pytest.mark.parametrize("dates", [1, 3, 12])
@pytest.mark.parametrize("shape", [BIG, SMALL, (5400, 900)])
def test_every_core_has_some_tiles_if_the_image_holds_them(shape, dates, slots):
    side = tile_side(shape, 20, 52, dates, slots)
    assert side in SIDES
    assert pieces(shape, side, dates) >= 4 * slots or side == SIDES[-1]
    larger = [s for s in SIDES if s > side]
    assert all(pieces(shape, s, dates) < 4 * slots for s in larger)


def test_one_core_takes_the_largest():
    assert tile_side(SMALL, 20, 52, 1, 1) == SIDES[0]


def test_little_memory_makes_small_tiles():
    sides = [tile_side(BIG, 20, 52, 12, 2, free=gib * 2**30) for gib in (16, 3, 1.5, 0.1)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == SIDES[0]
    assert sides[-1] == SIDES[-1]
    # What fits takes no more than half of what is free.
    assert 2 * 3 * 4 * 52 * (sides[1] + 40) ** 2 <= 0.5 * 3 * 2**30


@pytest.mark.parametrize(
    ("units", "slots", "wanted"), [(1, 2, 1), (2, 2, 1), (12, 2, 6), (10**6, 2, MOST_DATES), (5, 8, 1)]
)
def test_a_block_leaves_work_for_everyone(units, slots, wanted):
    assert block_size(units, slots) == wanted
