"""Blocks of LR pixels that are held out in turn."""

from __future__ import annotations

import numpy as np

from ...core.arrays import BoolArray, IntArray


def block_folds(usable: BoolArray, k: int, block: int, seed: int) -> IntArray:
    """Assign square blocks of LR pixels to K folds of about equal size; (W, y, x) int.

    Every fold gets a block with usable pixels, as long as there are enough of them.
    """
    w, rows, cols = usable.shape
    # A fit needs pixels to learn from and others to be judged by, however large a block is asked for.
    while block > 1 and _filled_blocks(usable, block).sum() < k:
        block //= 2
    by, bx = -(-rows // block), -(-cols // block)
    label = np.zeros((w, by, bx), np.intp)
    filled = _filled_blocks(usable, block)
    count = int(filled.sum())
    label[filled] = np.random.default_rng(seed).permutation(np.arange(count) % k)
    return label.repeat(block, axis=1).repeat(block, axis=2)[:, :rows, :cols]


def _filled_blocks(usable: BoolArray, block: int) -> BoolArray:
    """(W, blocks along y, blocks along x), whether a block has usable pixels."""
    w, rows, cols = usable.shape
    by, bx = -(-rows // block), -(-cols // block)
    padded = np.zeros((w, by * block, bx * block), bool)
    padded[:, :rows, :cols] = usable
    return np.asarray(padded.reshape(w, by, block, bx, block).any(axis=(2, 4)), dtype=bool)
