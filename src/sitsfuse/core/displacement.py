"""Where the content of an image lies: a displacement for every place, as registration finds and resampling applies it.

What belongs at map position ``p`` is seen in the image at ``p + d(p)``; the corrected image is
``corrected(p) = image(p + d(p))``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Nodes = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Displacement:
    """Displacements at the nodes of a regular lattice, linear between them and beyond.

    One node is a shift of the whole image, 2 × 2 nodes hold what is affine, more a smooth local field.
    """

    nodes_x: Nodes = ((0.0,),)
    """(ny, nx) displacement along x at the nodes, in metres; the first row is the uppermost."""
    nodes_y: Nodes = ((0.0,),)
    """(ny, nx) displacement along y at the nodes, in metres, upwards."""
    bounds: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """Left, bottom, right and top of the outer nodes, in map coordinates; of no meaning for one node."""

    def __post_init__(self) -> None:
        shapes = {np.shape(self.nodes_x), np.shape(self.nodes_y)}
        if len(shapes) > 1 or len(shape := shapes.pop()) != 2 or min(shape) < 1:
            raise ValueError("nodes_x and nodes_y must be rectangles of the same shape")

    @classmethod
    def shift(cls, dx: float, dy: float) -> Displacement:
        """The same displacement everywhere, in metres."""
        return cls(((float(dx),),), ((float(dy),),))

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> Displacement:
        """The displacement that :meth:`to_mapping` has written down."""
        x, y = (tuple(tuple(float(v) for v in row) for row in fields[name]) for name in ("nodes_x", "nodes_y"))
        return cls(x, y, tuple(fields["bounds"]))

    def to_mapping(self) -> dict[str, Any]:
        """The fields, as JSON can hold them."""
        return asdict(self)

    def plus(self, dx: float, dy: float) -> Displacement:
        """The displacement with another one added everywhere, in metres."""
        x, y = ((np.array(n) + v).tolist() for n, v in ((self.nodes_x, dx), (self.nodes_y, dy)))
        return Displacement(tuple(map(tuple, x)), tuple(map(tuple, y)), self.bounds)

    @property
    def is_shift(self) -> bool:
        """Whether the displacement is the same everywhere."""
        return all(len({v for row in nodes for v in row}) == 1 for nodes in (self.nodes_x, self.nodes_y))

    @property
    def mean(self) -> tuple[float, float]:
        """Mean displacement (x, y) of the nodes, in metres."""
        return float(np.mean(self.nodes_x)), float(np.mean(self.nodes_y))

    @property
    def largest(self) -> tuple[float, float]:
        """Largest displacement (x, y) of the nodes in size, in metres."""
        return float(np.abs(self.nodes_x).max()), float(np.abs(self.nodes_y).max())

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The displacement at map coordinates.

        Parameters
        ----------
        x, y
            Coordinates of any shapes that go together.

        Returns
        -------
        dx, dy
            float64, in metres.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        left, bottom, right, top = self.bounds
        rows, cols = np.shape(self.nodes_x)
        i, u = _between((top - y) / (top - bottom), rows)
        j, v = _between((x - left) / (right - left), cols)
        below, beside = np.minimum(i + 1, rows - 1), np.minimum(j + 1, cols - 1)

        def value(nodes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            upper = nodes[i, j] * (1 - v) + nodes[i, beside] * v
            lower = nodes[below, j] * (1 - v) + nodes[below, beside] * v
            return np.asarray(upper * (1 - u) + lower * u)

        return value(np.asarray(self.nodes_x)), value(np.asarray(self.nodes_y))


def _between(position: npt.NDArray[np.float64], count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Node before each position (0 at the first node, 1 at the last) and how far the position is past it."""
    if count == 1:
        return np.zeros(position.shape, np.intp), np.zeros(position.shape)
    place = position * (count - 1)
    before = np.clip(np.floor(place), 0, count - 2).astype(np.intp)
    return before, place - before


STAY = Displacement()
"""No displacement."""
