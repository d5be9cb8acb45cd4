"""The compiled loop of STARFM."""

from __future__ import annotations

import numpy as np

from ...core.arrays import BoolArray, FloatArray
from ...runtime.compiled import njit
from .padding import COMPILED, around, nearness, padded

SPAN = 256
"""Pixels of a row at a time: their sums stay in the processor's innermost cache."""


@njit(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], b1[:, ::1], f4[:, ::1], f4, f4, f4,"
    " f4[:, ::1], f4[:, ::1])",
    **COMPILED,
)
def _starfm(fine, spectral, temporal, weight, value, centre, near, like, more_s, more_t, total, weights):  # type: ignore[no-untyped-def]
    rows, cols = total.shape
    side = near.shape[0]
    reach = side // 2
    f = np.empty(SPAN, np.float32)
    s = np.empty(SPAN, np.float32)
    t = np.empty(SPAN, np.float32)
    sum_v = np.empty(SPAN, np.float32)
    sum_w = np.empty(SPAN, np.float32)
    none = np.float32(0)
    for y in range(rows):
        first, last = cols, 0
        for x in range(cols):
            if centre[y, x]:
                first, last = min(first, x), x + 1
        for x in range(first, last, SPAN):
            n = min(SPAN, last - x)
            if not centre[y, x : x + n].any():
                continue
            for i in range(n):
                f[i] = fine[y + reach, x + reach + i]
                s[i] = spectral[y + reach, x + reach + i] + more_s
                t[i] = temporal[y + reach, x + reach + i] + more_t
                sum_v[i] = 0
                sum_w[i] = 0
            for dy in range(side):
                for dx in range(0, near.shape[1], 3):
                    row, a, b = y + dy, x + dx, x + dx + n + 2
                    fj, sj, tj = fine[row, a:b], spectral[row, a:b], temporal[row, a:b]
                    wj, vj = weight[row, a:b], value[row, a:b]
                    n0, n1, n2 = near[dy, dx], near[dy, dx + 1], near[dy, dx + 2]
                    for i in range(n):
                        fi, si, ti = f[i], s[i], t[i]
                        w0 = n0 * wj[i] if (abs(fj[i] - fi) < like) & (sj[i] < si) & (tj[i] < ti) else none
                        w1 = (
                            n1 * wj[i + 1]
                            if (abs(fj[i + 1] - fi) < like) & (sj[i + 1] < si) & (tj[i + 1] < ti)
                            else none
                        )
                        w2 = (
                            n2 * wj[i + 2]
                            if (abs(fj[i + 2] - fi) < like) & (sj[i + 2] < si) & (tj[i + 2] < ti)
                            else none
                        )
                        sum_w[i] += w0 + w1 + w2
                        sum_v[i] += w0 * vj[i] + w1 * vj[i + 1] + w2 * vj[i + 2]
            for i in range(n):
                total[y, x + i] = sum_v[i]
                weights[y, x + i] = sum_w[i]


def starfm(
    fine: FloatArray,
    spectral: FloatArray,
    temporal: FloatArray,
    weight: FloatArray,
    value: FloatArray,
    centre: BoolArray,
    window: int,
    like: float,
    more: tuple[float, float],
) -> tuple[FloatArray, FloatArray]:
    """Sums over the pixels in a window that are like its centre in F and better than it in S and T.

    ``sum w v`` and ``sum w`` with ``w = weight / D`` over the pixels with ``|F - F_c| < like``,
    ``S < S_c + more[0]`` and ``T < T_c + more[1]``. The window's offset is the outer loop, three at a time, and a row
    of centres the inner one.

    Parameters
    ----------
    fine, spectral, temporal, weight, value
        (y, x) float32, finite: F, S, T, the weight at distance 0 (0 for invalid pixels) and v.
    centre
        (y, x) bool, where the sums are wanted; what is returned elsewhere has no meaning.
    window
        Side of the window, odd.
    like, more
        Thresholds, in reflectance.

    Returns
    -------
    total, weights
        (y, x) float32.
    """
    out = np.zeros((2, *fine.shape), np.float32)
    part = around(centre, window)
    f, s, t, w, v = (padded(a[part], window) for a in (fine, spectral, temporal, weight, value))
    limit, more_s, more_t = (np.float32(a) for a in (like, *more))
    sums = np.zeros((2, *centre[part].shape), np.float32)
    wanted = np.ascontiguousarray(centre[part])
    _starfm(f, s, t, w, v, wanted, nearness(window), limit, more_s, more_t, sums[0], sums[1])
    out[:, *part] = sums
    return out[0], out[1]
