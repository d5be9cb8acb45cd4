"""Sums over the patches of ROBOT."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.arrays import F64Array, FloatArray
from ...core.grid import Axis
from ..shared.gapless import Gapless


@dataclass(frozen=True)
class Patches:
    """Patches along one dimension: patch p covers three cells from cell 2 p on."""

    cell: int
    """Side of a cell, in HR pixels."""
    start: int
    """Where the first patch begins, in HR pixels of the image or tile."""
    count: int

    @classmethod
    def over(cls, n: int, cell: int) -> Patches:
        """The patches of an image of n pixels; the first and the last hang over its edges by the same length."""
        count = max(1, math.ceil((n - cell) / (2 * cell)))
        return cls(cell, -(((2 * count + 1) * cell - n) // 2), count)

    def within(self, start: int, n: int) -> Patches:
        """Those of them that overlap a tile of n pixels that begins at pixel ``start``."""
        step = 2 * self.cell
        first = max((start - self.start - self.cell) // step, 0)
        last = min((start + n - 1 - self.start) // step, self.count - 1)
        return Patches(self.cell, self.start + 2 * first * self.cell - start, last - first + 1)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return 2 * self.count + 1

    def overlap(self, axis: Axis) -> F64Array:
        """(patch, lr) length of an LR pixel that lies in a patch, in LR pixels."""
        edge = (self.start + 2 * self.cell * np.arange(self.count))[:, None]
        left = axis.ratio * np.arange(axis.n_lr) + axis.offset
        inside = np.minimum(left + axis.ratio, edge + 3 * self.cell) - np.maximum(left, edge)
        return np.asarray(np.clip(inside / axis.ratio, 0, None))

    def share(self, n: int) -> F64Array:
        """(hr, patch) weight of each patch in the mean over those that cover a pixel."""
        position = np.arange(n)[:, None] - self.start - 2 * self.cell * np.arange(self.count)
        covers = ((position >= 0) & (position < 3 * self.cell)).astype(np.float64)
        return np.asarray(covers / covers.sum(axis=1, keepdims=True))


def lr_sums(guides: Gapless, rows: Patches, cols: Patches, prior: F64Array) -> tuple[F64Array, F64Array, F64Array]:
    """Sums over the known LR pixels of each patch, all bands together; a pixel counts by its share in the patch.

    Returns
    -------
    square
        (patch y, patch x, time, time) of ``C_i C_j``.
    product
        (patch y, patch x, time) of ``C_i (C_p - sum w_j C_j)``, w being ``prior``.
    count
        (patch y, patch x) number of LR pixels.
    """
    along_y, along_x = rows.overlap(guides.tile.grids.y), cols.overlap(guides.tile.grids.x).T
    lr = np.where(guides.known, guides.coarse, 0).astype(np.float64)
    left = np.where(guides.known, guides.target - np.tensordot(prior, lr, 1), 0)
    n = len(lr)
    square, product = np.empty((rows.count, cols.count, n, n)), np.empty((rows.count, cols.count, n))
    for i in range(n):
        product[..., i] = along_y @ np.einsum("byx,byx->yx", lr[i], left) @ along_x
        for j in range(i + 1):
            square[..., i, j] = along_y @ np.einsum("byx,byx->yx", lr[i], lr[j]) @ along_x
            square[..., j, i] = square[..., i, j]
    return square, product, along_y @ guides.known.astype(np.float64) @ along_x


def hr_sums(guides: Gapless, rows: Patches, cols: Patches) -> tuple[F64Array, F64Array]:
    """Sums over the valid HR pixels of each patch, all bands together.

    Returns
    -------
    square
        (patch y, patch x, time, time) float64 of ``F_i F_j``.
    count
        (patch y, patch x) number of HR pixels.
    """
    n, bands, height, width = guides.fine.shape
    side = rows.cell
    square, count = np.empty((rows.cells, cols.cells, n, n)), np.empty((rows.cells, cols.cells))
    strip = np.empty((n + 1, bands, side, cols.cells * side))
    for k in range(rows.cells):
        # One row of cells at a time; what hangs over the image is 0.
        strip[:] = 0
        top = rows.start + k * side
        part = slice(max(top, 0), max(min(top + side, height), 0))
        here = strip[..., : max(part.stop - part.start, 0), -cols.start : width - cols.start]
        here[:n], here[n] = guides.fine[..., part, :], guides.valid[part]
        blocks = strip.reshape(n + 1, bands, side, cols.cells, side).transpose(3, 0, 1, 2, 4)
        blocks = blocks.reshape(cols.cells, n + 1, -1)
        square[k] = blocks[:, :n] @ blocks[:, :n].transpose(0, 2, 1)
        count[k] = blocks[:, n].sum(axis=-1) / bands
    return by_patch(square), by_patch(count)


def by_patch(sums: F64Array) -> F64Array:
    """Sums by patch from sums by cell, along the first two axes."""
    rows = sums[:-2:2] + sums[1:-1:2] + sums[2::2]
    return np.asarray(rows[:, :-2:2] + rows[:, 1:-1:2] + rows[:, 2::2])


def cells(axis: Axis) -> F64Array:
    """(lr, hr) share of each HR pixel in the part of an LR pixel that lies in the HR image."""
    left = (axis.ratio * np.arange(axis.n_lr) + axis.offset)[:, None]
    pixel = np.arange(axis.n_hr)
    inside = np.clip(np.minimum(left + axis.ratio, pixel + 1) - np.maximum(left, pixel), 0, None)
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-9))


def over(weights: F64Array, along_y: F64Array, along_x: F64Array) -> FloatArray:
    """Mean of (..., patch y, patch x) over the patches that cover a pixel: (..., y, x) float32."""
    return np.asarray(along_y @ weights @ along_x.T, np.float32)
