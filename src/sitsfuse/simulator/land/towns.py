"""Towns: a grid of streets in each district, blocks of houses, halls, slabs, parks and a dense centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import FloatArray
from ..noise import fractal_noise, stream
from .covers import COVER
from .parcels import Districts, IntArray

KINDS: dict[str, int] = {
    "tile roof": 16, "grey roof": 12, "metal roof": 6, "flat roof": 8, "dark roof": 8, "paved": 8, "garden": 10,
    "lawn": 6, "deciduous": 4, "road": 1,
}  # fmt: skip
"""Covers of a town, each in so many variants of its brightness and season."""
FIRST = dict(zip(KINDS, np.cumsum([0, *KINDS.values()])[:-1].tolist(), strict=True))
"""Number of each cover's first variant."""
LUCK = 65537
"""Entries of the table of random numbers."""
STREET = 9.0
"""Width of a street between the blocks, in metres."""
PLOT = 19.0
"""Width of a plot, in metres."""
TREES = 11.0
"""Width of a clump of trees, in metres."""
OUTSKIRTS = (0.68, 0.05, 0.08, 0.09, 0.10)
CENTRE = (0.12, 0.60, 0.08, 0.10, 0.10)
"""Shares of the blocks with houses, dense ones, those with halls, with slabs, and of the parks."""


@dataclass(frozen=True, eq=False)
class Town:
    """Where the town is, and the tables of random numbers behind its blocks."""

    built: npt.NDArray[np.uint8]
    """(y, x) 0 = land, 1 = outskirts, 2 = centre."""
    districts: Districts
    """Their directions are those of the streets."""
    block: FloatArray
    """(district, 2) sides of a block in metres."""
    luck: FloatArray
    """(LUCK,) numbers in [0, 1)."""
    first: int
    """Unit number of the first variant of the first kind."""

    @property
    def cover(self) -> npt.NDArray[np.uint8]:
        """(unit,) covers of the town's units."""
        return np.repeat([COVER[kind] for kind in KINDS], list(KINDS.values())).astype(np.uint8)

    def units(
        self, rows: slice, home: IntArray, border: FloatArray, x: FloatArray, y: FloatArray
    ) -> npt.NDArray[np.int64]:
        """Unit of each position of a block of rows, as if the town were everywhere."""
        d = self.districts
        cos, sin = np.cos(d.angle)[home], np.sin(d.angle)[home]
        dx, dy = x - d.centre[home, 0], y - d.centre[home, 1]
        u, v = cos * dx + sin * dy, -sin * dx + cos * dy
        across, along = self.block[home, 0], self.block[home, 1]
        i, j = _whole(u / across), _whole(v / along)
        in_u, in_v = u - i * across, v - j * along
        gap_u, gap_v = np.minimum(in_u, across - in_u), np.minimum(in_v, along - in_v)
        edge = np.minimum(np.minimum(gap_u, gap_v), border)
        plot = _whole(in_v / PLOT)
        side = in_u > across / 2
        # Numbers of the block, and of the plot.
        one, two = (self._luck(home, i, j, n) for n in range(2))
        own, other = (self._luck(home, i, j, 2 * plot + side, n) for n in range(2, 4))
        tree = self._luck(_whole(u / TREES), _whole(v / TREES), 4)

        roof = self._variant(other, (own, 0.62, "tile roof"), (own, 0.82, "grey roof"), (own, 0.93, "dark roof"))
        hall = self._variant(two, (one * 17 % 1, 0.4, "metal roof"), (one * 17 % 1, 0.6, "dark roof"))
        yard = self._variant(two, otherwise="paved")
        garden = self._variant(other, (own * 13 % 1, 0.1, "paved"), otherwise="garden")
        lawn = self._variant(two, (tree, 0.2, "deciduous"), otherwise="lawn")
        wood = self._variant(two, (tree, 0.5, "deciduous"), otherwise="lawn")

        near = np.abs(in_v - (plot + 0.5) * PLOT) < 5 + 2 * other
        house = near & (gap_u > 9 + 5 * own) & (gap_u < 20 + 5 * own) & (gap_v > 8)
        terrace = (edge < 20) & (edge > 4 + STREET / 2)
        slab = (np.abs(in_v % 46 - 23) < 7.5) & (gap_u > 12) & (gap_v > 12)
        blocks = {
            "houses": np.where(house, roof, garden),
            "dense": np.where(terrace, roof, np.where(two < 0.5, yard, garden)),
            "halls": np.where(edge > 8 + 14 * two, hall, yard),
            "slabs": np.where(slab, hall, lawn),
            "park": wood,
        }
        shares = np.where(self.built[rows][..., None] == 2, np.cumsum(CENTRE), np.cumsum(OUTSKIRTS))
        kind = (one[..., None] >= shares[..., :-1]).sum(-1)
        land = np.choose(kind, list(blocks.values()))
        return np.asarray(np.where(edge < STREET / 2, self.first + FIRST["road"], land), np.int64)

    def _luck(self, *numbers: npt.NDArray[np.integer] | int) -> FloatArray:
        """The random number of a place that these numbers name."""
        index = np.zeros((), np.int64)
        for n in numbers:
            index = np.asarray((index * 9176 + n * 131 + 7919) % LUCK, np.int64)
        return self.luck[index]

    def _variant(
        self, luck: FloatArray, *steps: tuple[FloatArray, float, str], otherwise: str = "flat roof"
    ) -> npt.NDArray[np.int64]:
        """Unit of a variant, picked by ``luck``, of the first cover whose number lies below its bound."""
        out = self._pick(otherwise, luck)
        for number, bound, kind in reversed(steps):
            out = np.where(number < bound, self._pick(kind, luck), out)
        return out

    def _pick(self, kind: str, luck: FloatArray) -> npt.NDArray[np.int64]:
        return _whole(luck * KINDS[kind]) + np.int64(self.first + FIRST[kind])


def _whole(x: FloatArray) -> npt.NDArray[np.int64]:
    return np.asarray(np.floor(x), np.int64)


def draw_town(seed: int, size: int, pixel: float, districts: Districts, share: float, first: int) -> Town:
    """Draw a town that takes ``share`` of the land; its units are numbered from ``first``."""
    field = fractal_noise(stream(seed, "town"), (size, size), pixel, {1600: 1, 600: 0.4, 200: 0.15, 60: 0.05})
    step = max(1, size // 400)
    outer, inner = np.quantile(field[::step, ::step], [1 - share, 1 - 0.3 * share])
    built = (field > outer).astype(np.uint8) + (field > inner)
    rng = stream(seed, "streets")
    sides = rng.uniform((64, 110), (88, 200), (len(districts.centre), 2)).astype(np.float32)
    return Town(built, districts, sides, rng.random(LUCK, dtype=np.float32), first)
