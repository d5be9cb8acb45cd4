"""Guides to a prediction in one pass: gaps filled in time, regressors, and their products with coefficients."""

from __future__ import annotations

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...runtime.compiled import njit

CHUNK = 512
"""Pixels at a time: their regressors stay in the processor's cache."""
UNROLLED = 4
"""Regressors that are taken at once."""


def combine(
    values: FloatArray,
    valid: BoolArray,
    offsets: F64Array,
    coefficients: FloatArray,
    first: int = 0,
    count: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Interpolate guides in time, and multiply their regressors by coefficients.

    ``x`` is, per pixel, the guides in order of date and band, then their validity (0 or 1), then 1; an invalid guide
    stands there as interpolated in time, to its own date, between the valid ones next to it (of one side only: the
    nearest). Pixels without any valid guide are 0.

    Parameters
    ----------
    values, valid
        (T, B, N) float32, read only where valid, and (T, N).
    offsets
        (T,) days from the date to predict to each guide, increasing.
    coefficients
        (J, T B + T + 1) float32.
    first, count
        The first pixel and how many; by default all.

    Returns
    -------
    interpolated, products
        (B, N) the guides interpolated linearly to the date, and (J, N) ``coefficients @ x``.
    """
    b = values.shape[1]
    n = values.shape[2] - first if count is None else count
    j, d = coefficients.shape
    padded = np.zeros((j + j % 2, -(-d // UNROLLED) * UNROLLED), np.float32)
    padded[:j, :d] = coefficients
    base, out = np.empty((b, n), np.float32), np.empty((j, n), np.float32)
    _combine(
        np.ascontiguousarray(values),
        np.ascontiguousarray(valid),
        offsets.astype(np.float32),
        padded,
        first,
        base,
        out,
    )
    return base, out


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def _combine(values, valid, offsets, coefficients, first, base, out):  # type: ignore[no-untyped-def]
    t_all, b_all = values.shape[:2]
    n_all = base.shape[1]
    j_all, d_all = coefficients.shape
    flags = t_all * b_all
    x = np.zeros((d_all, CHUNK), np.float32)
    sums = np.empty((2, CHUNK), np.float32)
    for start in range(0, n_all, CHUNK):
        n = min(CHUNK, n_all - start)
        for t in range(t_all):
            for p in range(n):
                ok = valid[t, first + start + p]
                x[flags + t, p] = 1.0 if ok else 0.0
                for b in range(b_all):
                    x[t * b_all + b, p] = values[t, b, first + start + p] if ok else np.float32(0)
        # The nearest valid guide before each one; then gaps are closed from the last guide to the first.
        for p in range(n):
            x[flags + t_all, p] = 0.0
            for t in range(t_all):
                if x[flags + t, p] > 0:
                    x[flags + t_all, p] = 1.0
                    break
        for p in range(n):
            whole = True
            for t in range(t_all):
                if x[flags + t, p] == 0:
                    whole = False
                    break
            if whole or x[flags + t_all, p] == 0:
                continue
            last = -1
            for t in range(t_all):
                if x[flags + t, p] > 0:
                    last = t
                    continue
                following = -1
                for s in range(t + 1, t_all):
                    if x[flags + s, p] > 0:
                        following = s
                        break
                if last < 0:
                    for b in range(b_all):
                        x[t * b_all + b, p] = x[following * b_all + b, p]
                elif following < 0:
                    for b in range(b_all):
                        x[t * b_all + b, p] = x[last * b_all + b, p]
                else:
                    gap = offsets[following] - offsets[last]
                    share = (offsets[t] - offsets[last]) / gap if gap > 0 else np.float32(0)
                    for b in range(b_all):
                        near, far = x[last * b_all + b, p], x[following * b_all + b, p]
                        x[t * b_all + b, p] = near + share * (far - near)
        # Without gaps, interpolation to the date is that between the two guides around it.
        right = 0
        while right < t_all and offsets[right] <= 0:
            right += 1
        for b in range(b_all):
            if right == 0:
                for p in range(n):
                    base[b, start + p] = x[b, p]
            elif right == t_all:
                for p in range(n):
                    base[b, start + p] = x[(t_all - 1) * b_all + b, p]
            else:
                gap = offsets[right] - offsets[right - 1]
                share = -offsets[right - 1] / gap if gap > 0 else np.float32(0)
                for p in range(n):
                    near = x[(right - 1) * b_all + b, p]
                    base[b, start + p] = near + share * (x[right * b_all + b, p] - near)
        for j in range(0, j_all, 2):
            for p in range(n):
                sums[0, p] = 0
                sums[1, p] = 0
            for i in range(0, d_all, 4):
                a0, a1, a2, a3 = (
                    coefficients[j, i],
                    coefficients[j, i + 1],
                    coefficients[j, i + 2],
                    coefficients[j, i + 3],
                )
                b0, b1, b2, b3 = (
                    coefficients[j + 1, i],
                    coefficients[j + 1, i + 1],
                    coefficients[j + 1, i + 2],
                    coefficients[j + 1, i + 3],
                )
                for p in range(n):
                    x0, x1, x2, x3 = x[i, p], x[i + 1, p], x[i + 2, p], x[i + 3, p]
                    sums[0, p] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                    sums[1, p] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
            for p in range(n):
                out[j, start + p] = sums[0, p]
            if j + 1 < out.shape[0]:
                for p in range(n):
                    out[j + 1, start + p] = sums[1, p]
