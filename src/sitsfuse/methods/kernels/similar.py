"""The compiled loop over the most similar pixels: Fit-FC, FSDAF and VIPSTF."""

from __future__ import annotations

import numpy as np

from ...core.arrays import BoolArray, FloatArray
from ...runtime.compiled import njit
from .padding import COMPILED, FAR, around, nearness, padded

_UNBOUNDED = np.float32(1e18)
"""A squared distance between the features of valid pixels is less; one to an invalid pixel is more."""
_TIE = np.float32(1 + 3e-6)
"""Squared distances that differ by less are equal: rounding must not part them."""


@njit("f4(f4[::1], i8, i8)", **COMPILED)
def _kth(values, n, k):  # type: ignore[no-untyped-def]
    """The k-th smallest (from 0) of the first n values, which it reorders: Hoare's selection."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit("Tuple((i8, f4))(f4[::1], i4[:, ::1], i8, i8, f4[::1])", **COMPILED)
def _closest(distance, at, n, count, scratch):  # type: ignore[no-untyped-def]
    """Keep the closest ``count`` of n pixels and those as far as the last of them: how many, and how far that is."""
    scratch[:n] = distance[:n]
    bound = _kth(scratch, n, count - 1) * _TIE
    kept = 0
    for i in range(n):
        if distance[i] <= bound:
            distance[kept] = distance[i]
            at[kept, 0] = at[i, 0]
            at[kept, 1] = at[i, 1]
            kept += 1
    return kept, bound


@njit("void(f4[:, :, ::1], f4[:, :, ::1], b1[:, ::1], f4[:, ::1], i8, f4[:, :, ::1])", **COMPILED)
def _similar(features, values, centre, near, count, out):  # type: ignore[no-untyped-def]
    bands, rows, cols = out.shape
    side = near.shape[0]
    reach = side // 2
    distance = np.empty(side, np.float32)
    # One more than fits the window: what is not kept is written, too, and then overwritten.
    kept_d, kept_at = np.empty(side * side + 1, np.float32), np.empty((side * side + 1, 2), np.int32)
    scratch = np.empty(side * side, np.float32)
    mean = np.empty(bands, np.float32)
    for y in range(rows):
        kept = 0
        for x in range(cols):
            if not centre[y, x]:
                continue
            # What was similar to the pixel before bounds how far the most similar ones can be.
            still = 0
            for i in range(kept):
                row, col = kept_at[i, 0], kept_at[i, 1]
                if x <= col < x + side:
                    d = np.float32(0)
                    for f in range(features.shape[0]):
                        d += (features[f, row, col] - features[f, y + reach, x + reach]) ** 2
                    scratch[still] = d
                    still += 1
            bound = _kth(scratch, still, count - 1) * _TIE if still >= count else _UNBOUNDED
            kept, full = 0, 2 * count
            for step in range(side):
                # From the middle outwards: near pixels are mostly similar, and bring the bound down early.
                dy = reach + (step + 1) // 2 if step % 2 else reach - step // 2
                for f in range(features.shape[0]):
                    own = features[f, y + reach, x + reach]
                    line = features[f, y + dy, x : x + side]
                    if f == 0:
                        for i in range(side):
                            distance[i] = (line[i] - own) ** 2
                    else:
                        for i in range(side):
                            distance[i] += (line[i] - own) ** 2
                hits = 0
                for i in range(side):
                    hits += distance[i] <= bound
                if hits == 0:
                    continue
                for i in range(side):
                    kept_d[kept] = distance[i]
                    kept_at[kept, 0] = y + dy
                    kept_at[kept, 1] = x + i
                    kept += distance[i] <= bound
                if kept > full:
                    kept, bound = _closest(kept_d, kept_at, kept, count, scratch)
                    full = kept + 2 * count
            if kept > count:
                kept, bound = _closest(kept_d, kept_at, kept, count, scratch)
            weights = np.float32(0)
            mean[:] = 0
            for i in range(kept):
                row, col = kept_at[i, 0], kept_at[i, 1]
                w = near[row - y, col - x]
                weights += w
                for b in range(bands):
                    mean[b] += w * values[b, row, col]
            for b in range(bands):
                out[b, y, x] = mean[b] / weights


def similar(
    features: FloatArray, values: FloatArray, valid: BoolArray, centre: BoolArray, window: int, count: int
) -> FloatArray:
    """Mean of the pixels in a window that are most similar to its centre, near ones weighing more (``1 / D``).

    No window is sorted: the pixels that were similar to the neighbour before, compared with the new centre, bound how
    far the most similar ones can be; only the few pixels within that bound are kept and the last one selected from.

    Parameters
    ----------
    features
        (feature, y, x) float32: similarity is the Euclidean distance between them.
    values
        (band, y, x) float32: what the mean is of; read only where valid.
    valid
        (y, x) bool: the pixels that may be used.
    centre
        (y, x) bool: where the mean is wanted, only where valid.
    window
        Side of the window, odd.
    count
        Number of similar pixels, the centre among them; pixels as far as the last one are used too, all of them where
        there are fewer.

    Returns
    -------
    mean
        (band, y, x) float32; 0 where it is not wanted.
    """
    out = np.zeros(values.shape, np.float32)
    part = around(centre & valid, window)
    usable = valid[part]
    mean = np.zeros(values[:, *part].shape, np.float32)
    _similar(
        padded(features[:, *part], window, usable, FAR),
        padded(values[:, *part], window, usable),
        np.ascontiguousarray((centre & valid)[part]),
        nearness(window),
        min(count, window * window),
        mean,
    )
    out[:, *part] = mean
    return out
