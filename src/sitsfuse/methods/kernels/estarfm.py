"""The compiled loop of ESTARFM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, FloatArray
from ...runtime.compiled import njit
from .padding import COMPILED, FAR, LANES, around, nearness, padded

CENTRES = 32
"""Neighbouring pixels whose sums are taken at once."""


@njit(
    "void(f4[:, :, :, ::1], f4[:, :, :, ::1], f4[:, :, ::1], f4[:, ::1], b1[:, ::1], f4[:, ::1], f4[:, ::1], f4,"
    " f8[::1], i8, f4[:, :, :, ::1])",
    **COMPILED,
)
def _estarfm(fine, coarse, today, unlike, centre, distance, like, least, critical, fewest, out):  # type: ignore[no-untyped-def]
    bands, rows, cols = out.shape[1:]
    side, wide = distance.shape[0], fine.shape[3]
    reach, terms = side // 2, 6 * bands
    lanes = (side + LANES - 1) // LANES * LANES
    # What a similar pixel adds to the sums, for the rows of the window: row y is kept at y % side.
    plain = np.zeros((side, wide + CENTRES, terms), np.float32)
    moved = np.zeros((side, wide + CENTRES, 2 * bands), np.float32)
    # Which pixels of a row are similar to each centre, and their weights: row c is 0 outside the window of centre c.
    similar = np.zeros((CENTRES, CENTRES + side - 1), np.float32)
    weight = np.zeros((CENTRES, CENTRES + side - 1), np.float32)
    alike = np.empty(lanes, np.float32)
    count, weights = np.empty(CENTRES), np.empty(CENTRES)
    sums, changes = np.empty((CENTRES, terms)), np.empty((CENTRES, 2 * bands))
    one, none = np.float32(1), np.float32(0)
    for y in range(1 - side, rows):
        new = y + side - 1
        for b in range(bands):
            for x in range(wide):
                p, m = plain[new % side, x], moved[new % side, x]
                f1, f2, c1, c2 = fine[0, b, new, x], fine[1, b, new, x], coarse[0, b, new, x], coarse[1, b, new, x]
                p[b] = c1
                p[bands + b] = c2
                p[2 * bands + b] = f1 + f2
                p[3 * bands + b] = c1 * c1 + c2 * c2
                p[4 * bands + b] = c1 * f1 + c2 * f2
                p[5 * bands + b] = f1 * f1 + f2 * f2
                m[b] = today[b, new, x] - c1
                m[bands + b] = today[b, new, x] - c2
        if y < 0:
            continue
        for start in range(0, cols, CENTRES):
            n = min(CENTRES, cols - start)
            if not centre[y, start : start + n].any():
                continue
            count[:] = 0
            weights[:] = 0
            sums[:] = 0
            changes[:] = 0
            for dy in range(side):
                row, found = y + dy, False
                for c in range(n):
                    x = start + c
                    if not centre[y, x]:
                        continue
                    for b in range(bands):
                        f1, f2 = fine[0, b, row, x : x + lanes], fine[1, b, row, x : x + lanes]
                        o1, o2 = fine[0, b, y + reach, x + reach], fine[1, b, y + reach, x + reach]
                        t1, t2 = like[0, b], like[1, b]
                        if b == 0:
                            for i in range(lanes):
                                alike[i] = one if (abs(f1[i] - o1) < t1) & (abs(f2[i] - o2) < t2) else none
                        else:
                            for i in range(lanes):
                                alike[i] = alike[i] if (abs(f1[i] - o1) < t1) & (abs(f2[i] - o2) < t2) else none
                    s, w, u, d = (
                        similar[c, c : c + side],
                        weight[c, c : c + side],
                        unlike[row, x : x + side],
                        distance[dy],
                    )
                    number, total = none, none
                    for i in range(side):
                        s[i] = alike[i]
                        number += alike[i]
                    if number == 0:
                        w[:] = 0
                        continue
                    for i in range(side):
                        w[i] = s[i] / (u[i] * d[i] + np.float32(1e-7))
                    for i in range(side):
                        total += w[i]
                    found = True
                    count[c] += number
                    weights[c] += total
                if found:
                    # In double precision from row to row: the regression takes differences of large sums.
                    part = slice(start, start + CENTRES + side - 1)
                    row_sums = np.dot(similar, plain[row % side, part])
                    row_changes = np.dot(weight, moved[row % side, part])
                    for c in range(n):
                        for k in range(terms):
                            sums[c, k] += row_sums[c, k]
                        for k in range(2 * bands):
                            changes[c, k] += row_changes[c, k]
            for c in range(n):
                x = start + c
                if not centre[y, x]:
                    continue
                if count[c] <= fewest:
                    out[0, :, y, x] = moved[(y + reach) % side, x + reach, :bands]
                    out[1, :, y, x] = moved[(y + reach) % side, x + reach, bands:]
                    continue
                samples = 2 * int(count[c])
                for b in range(bands):
                    s_c, s_f = sums[c, b] + sums[c, bands + b], sums[c, 2 * bands + b]
                    cc = sums[c, 3 * bands + b] - s_c * s_c / samples
                    cf = sums[c, 4 * bands + b] - s_c * s_f / samples
                    ff = sums[c, 5 * bands + b] - s_f * s_f / samples
                    enough = abs(sums[c, bands + b] - sums[c, b]) >= least * count[c]
                    slope = 1.0
                    if enough and cc > 0 and cf * cf >= critical[samples] * cc * ff:
                        slope = cf / cc
                        if slope <= 0 or slope > 5:
                            slope = 1.0
                    out[0, b, y, x] = slope * changes[c, b] / weights[c]
                    out[1, b, y, x] = slope * changes[c, bands + b] / weights[c]


def estarfm(
    fine: FloatArray,
    coarse: FloatArray,
    today: FloatArray,
    level: FloatArray,
    unlike: FloatArray,
    valid: BoolArray,
    centre: BoolArray,
    window: int,
    like: FloatArray,
    least: float,
    critical: npt.NDArray[np.float64],
    fewest: int,
) -> FloatArray:
    """The change since each of two guides, as the pixels in a window show it that are like its centre in both.

    ``V sum w (C_p - C_k) / sum w`` over the pixels with ``|F_k - F_k,c| < like`` in all bands of both guides;
    ``w = 1 / (unlike D + 1e-7)`` and V the slope of F on C over these pixels on both dates, or 1. Which pixels of a row
    are similar to each of some neighbouring centres is a matrix, and what a pixel adds to the sums another one: their
    product takes the sums of all centres at once, whether many pixels are similar or few.

    Parameters
    ----------
    fine, coarse
        (2, band, y, x) float32: F_k and C_k.
    today
        (band, y, x) float32: C_p.
    level
        (band,) float32: what to subtract from all of them, near their mean: it keeps precision.
    unlike
        (y, x) float32: 1 less the correlation of fine and coarse spectra.
    valid
        (y, x) bool: the pixels that may be used.
    centre
        (y, x) bool: where the change is wanted, only where valid.
    window
        Side of the window, odd.
    like
        (2, band) float32, thresholds of similarity.
    least
        Mean change of C between the guides below which V = 1.
    critical
        (2 * window² + 1,) least r² of a significant slope, by number of samples.
    fewest
        Up to so many similar pixels, the centre stands alone with V = 1.

    Returns
    -------
    change
        (2, band, y, x) float32, since each guide; 0 where it is not wanted.
    """
    out = np.zeros(fine.shape, np.float32)
    part = around(centre & valid, window)
    usable, base = valid[part], level[:, None, None]
    change = np.zeros(fine[..., *part].shape, np.float32)
    _estarfm(
        padded(fine[..., *part], window, usable, FAR, base),
        padded(coarse[..., *part], window, usable, level=base),
        padded(today[..., *part], window, usable, level=base),
        padded(unlike[part], window, usable),
        np.ascontiguousarray((centre & valid)[part]),
        1 / np.ascontiguousarray(nearness(window)[:, :window]),
        np.ascontiguousarray(like, np.float32),
        np.float32(least),
        np.ascontiguousarray(critical, np.float64),
        fewest,
        change,
    )
    out[..., *part] = change
    return out
