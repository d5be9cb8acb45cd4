"""The compiled loops of the metrics, over one band of a block.

Each works on one thread and lets go of the interpreter's lock: blocks run in parallel. Images come as float64, less a
level about their mean and 0 where invalid, so that no value that counts is lost in rounding and none that does not is
read. Sums of windows are made of the same terms wherever the block begins: nothing runs on from window to window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.arrays import F64Array
from ..runtime.compiled import njit
from ..stats.histogram import STRICT

NONE, LOW, BETWEEN, HIGH = 0, 1, 2, 3
"""Values of a map of strata: without a gradient, low, neither low nor high, high."""

SQUARE = 8
"""Side of the windows of UIQI."""
BEFORE_SQUARE = 4
"""Rows and columns of such a window before its centre."""
DISC = 11
"""Side of the gaussian windows of `structural`."""
SIGMA = 1.5
"""Standard deviation of these, in pixels."""
CONSTANT = 1e-12
"""A window's variance that is less than this share of its squared mean is rounding: the window is constant."""
# NaN and infinity keep their meaning.
_COMPILED: dict[str, Any] = {**STRICT, "fastmath": {"reassoc", "contract", "nsz", "arcp"}}
_MEAN = 1 / SQUARE**2


def gaussian() -> F64Array:
    """(6,) weights of the window of `structural` along one axis, from its edge to its centre."""
    steps = np.arange(-(DISC // 2), DISC // 2 + 1)
    weight = np.exp(-0.5 * (steps / SIGMA) ** 2)
    return np.asarray((weight / weight.sum())[: DISC // 2 + 1])


@njit("void(b1[:, ::1], i8, i8, b1[:, ::1])", **STRICT)
def whole(valid, before, side, out):  # type: ignore[no-untyped-def]
    """Where a square window lies within the image and holds valid pixels only.

    `side` is that of the window, `before` the rows and columns before its centre.
    """
    rows, cols = valid.shape
    line = np.empty(cols, np.bool_)
    out[:] = False
    for y in range(before, rows - side + before + 1):
        line[:] = True
        for k in range(side):
            for i in range(cols):
                line[i] &= valid[y - before + k, i]
        centres = out[y, before : max(cols - side + before + 1, before)]
        centres[:] = True
        for k in range(side):
            for i in range(centres.size):
                centres[i] &= line[i + k]


@njit(**_COMPILED)
def _weigh(counted, strata, weights):  # type: ignore[no-untyped-def]
    """Weights, 1 or 0, of a row of pixels in the strata all, low and high."""
    for i in range(counted.size):
        one = 1.0 if counted[i] else 0.0
        weights[0, i] = one
        weights[1, i] = one if strata[i] == LOW else 0.0
        weights[2, i] = one if strata[i] == HIGH else 0.0


@njit(**_COMPILED)
def _add(values, weights, sums, column):  # type: ignore[no-untyped-def]
    """Add a row of values to a column of the sums, per stratum."""
    total, low, high = 0.0, 0.0, 0.0
    for i in range(weights.shape[1]):
        total += weights[0, i] * values[i]
        low += weights[1, i] * values[i]
        high += weights[2, i] * values[i]
    sums[0, column] += total
    sums[1, column] += low
    sums[2, column] += high


@njit("void(f8[:, ::1], f8[:, ::1], b1[:, ::1], u1[:, ::1], f8[:, :], f8[:, ::1], i8[::1])", **_COMPILED)
def errors(prediction, reference, counted, strata, sums, sizes, filled):  # type: ignore[no-untyped-def]
    """Per stratum: n, sums of e, abs(e), e² and of the reference; and abs(e) itself, by the pixels' own stratum.

    `sizes` has room for one value more than there are pixels: each is written, and overwritten if it does not count.
    """
    rows, cols = prediction.shape
    weights, line, ones = np.empty((3, cols)), np.empty(cols), np.ones(cols)
    for y in range(rows):
        _weigh(counted[y], strata[y], weights)
        p, r = prediction[y], reference[y]
        _add(ones, weights, sums, 0)
        for i in range(cols):
            line[i] = p[i] - r[i]
        _add(line, weights, sums, 1)
        for i in range(cols):
            line[i] = abs(line[i])
        _add(line, weights, sums, 2)
        for i in range(cols):
            stratum = strata[y, i]
            sizes[stratum, filled[stratum]] = line[i]
            filled[stratum] += counted[y, i]
        for i in range(cols):
            line[i] *= line[i]
        _add(line, weights, sums, 3)
        _add(r, weights, sums, 4)


@njit("void(f8[:, ::1], f8[:, ::1], f8[:, ::1], b1[:, ::1], u1[:, ::1], f8[::1], f8[:, :])", **_COMPILED)
def coverages(prediction, reference, sigma, counted, strata, bounds, sums):  # type: ignore[no-untyped-def]
    """Per stratum: n, sum of sigma, and for each bound the number of pixels with abs(e) <= bound · sigma."""
    rows, cols = prediction.shape
    weights, line, size, ones = np.empty((3, cols)), np.empty(cols), np.empty(cols), np.ones(cols)
    for y in range(rows):
        _weigh(counted[y], strata[y], weights)
        p, r, s = prediction[y], reference[y], sigma[y]
        _add(ones, weights, sums, 0)
        _add(s, weights, sums, 1)
        for i in range(cols):
            size[i] = abs(p[i] - r[i])
        for k in range(bounds.size):
            for i in range(cols):
                line[i] = 1.0 if size[i] <= bounds[k] * s[i] else 0.0
            _add(line, weights, sums, 2 + k)


@njit(**_COMPILED)
def _steepness(above, line, below, out):  # type: ignore[no-untyped-def]
    """Gradient magnitude of a row, by central differences; 0 at its ends."""
    for i in range(1, line.size - 1):
        along, down = line[i + 1] - line[i - 1], below[i] - above[i]
        out[i] = 0.5 * np.sqrt(along * along + down * down)


@njit(**_COMPILED)
def _times(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = a[i] * b[i]


@njit("void(f8[:, ::1], f8[:, ::1], b1[:, ::1], u1[:, ::1], f8[:, :])", **_COMPILED)
def gradients(prediction, reference, counted, strata, sums):  # type: ignore[no-untyped-def]
    """Per stratum: n and sums of a, b, a², b² and ab, with a and b the gradient magnitudes of the two images."""
    rows, cols = prediction.shape
    weights, line, ones = np.empty((3, cols)), np.empty(cols), np.ones(cols)
    a, b = np.zeros(cols), np.zeros(cols)
    for y in range(1, rows - 1):
        _weigh(counted[y], strata[y], weights)
        _steepness(prediction[y - 1], prediction[y], prediction[y + 1], a)
        _steepness(reference[y - 1], reference[y], reference[y + 1], b)
        _add(ones, weights, sums, 0)
        _add(a, weights, sums, 1)
        _add(b, weights, sums, 2)
        _times(a, a, line)
        _add(line, weights, sums, 3)
        _times(b, b, line)
        _add(line, weights, sums, 4)
        _times(a, b, line)
        _add(line, weights, sums, 5)


@njit(**_COMPILED)
def _sum_of_8(line, out, n):  # type: ignore[no-untyped-def]
    """Sums of 8 neighbours in a row, by doubling; the row is lost."""
    for step in (1, 2):
        for i in range(n + 7 - (3 if step == 2 else 1)):
            line[i] += line[i + step]
    for i in range(n):
        out[i] = line[i] + line[i + 4]


@njit("void(f8[:, ::1], f8[:, ::1], b1[:, ::1], u1[:, ::1], f8, f8[:, :])", **_COMPILED)
def uiqi(prediction, reference, counted, strata, level, sums):  # type: ignore[no-untyped-def]
    """Per stratum: the number of windows and the sum of their Q.

    ``Q = 4 σ_pr µ_p µ_r / ((σ_p² + σ_r²) (µ_p² + µ_r²))``; ``2 µ_p µ_r / (µ_p² + µ_r²)`` where both windows are
    constant; 1 where both are 0.
    """
    rows, cols = prediction.shape
    n = cols - SQUARE + 1
    if n < 1 or rows < SQUARE:
        return
    line, weights, q, ones = np.empty(cols), np.empty((3, n)), np.empty(n), np.ones(cols)
    # Sums of 1, 2, 4 and 8 rows; as many of them are kept as the next ones need.
    one, two, four = np.zeros((5, 2, n)), np.zeros((5, 3, n)), np.zeros((5, 5, n))
    eight = np.zeros((5, n))
    for y in range(rows):
        p, r = prediction[y], reference[y]
        left, right = (ones, ones, p, r, p), (p, r, p, r, r)
        for m in range(5):
            _times(left[m], right[m], line)
            _sum_of_8(line, one[m, y % 2], n)
            for i in range(n):
                two[m, y % 3, i] = one[m, 0, i] + one[m, 1, i]
            for i in range(n):
                four[m, y % 5, i] = two[m, y % 3, i] + two[m, (y + 1) % 3, i]
            for i in range(n):
                eight[m, i] = four[m, y % 5, i] + four[m, (y + 1) % 5, i]
        if y < SQUARE - 1:
            continue
        for i in range(n):
            mp, mr = eight[0, i] * _MEAN, eight[1, i] * _MEAN
            vp, vr = eight[2, i] * _MEAN - mp * mp, eight[3, i] * _MEAN - mr * mr
            covariance = eight[4, i] * _MEAN - mp * mr
            mp += level
            mr += level
            vp = vp if vp > CONSTANT * mp * mp else 0.0
            vr = vr if vr > CONSTANT * mr * mr else 0.0
            covariance = covariance if vp * vr > 0 else 0.0
            contrast = vp + vr
            over = 4 * covariance * mp * mr if contrast > 0 else 2 * mp * mr
            under = (contrast if contrast > 0 else 1.0) * (mp * mp + mr * mr)
            q[i] = over / under if under > 0 else 1.0
        centre = y - SQUARE + 1 + BEFORE_SQUARE
        _weigh(counted[centre, BEFORE_SQUARE : BEFORE_SQUARE + n], strata[centre, BEFORE_SQUARE:], weights)
        _add(ones, weights, sums, 0)
        _add(q, weights, sums, 1)


@njit(**_COMPILED)
def _weighted(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, w, out):  # type: ignore[no-untyped-def]
    """Weighted sum of 11 rows, with the weights of :func:`gaussian`."""
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for i in range(out.size):
        out[i] = (
            w0 * (a0[i] + a10[i])
            + w1 * (a1[i] + a9[i])
            + w2 * (a2[i] + a8[i])
            + w3 * (a3[i] + a7[i])
            + w4 * (a4[i] + a6[i])
            + w5 * a5[i]
        )


@njit("void(f8[:, ::1], f8[:, ::1], b1[:, ::1], u1[:, ::1], f8, f8, f8[::1], f8[:, :])", **_COMPILED)
def structural(prediction, reference, counted, strata, level, c, w, sums):  # type: ignore[no-untyped-def]
    """Per stratum: the number of windows and the sum of their structure, ``(σ_pr + c) / (σ_p σ_r + c)``.

    Without c: 1 where both windows are constant, 0 where one is.
    """
    rows, cols = prediction.shape
    reach = DISC // 2
    n = cols - 2 * reach
    if n < 1 or rows < DISC:
        return
    t, weights, s, ones = np.empty(cols), np.empty((3, n)), np.empty(n), np.ones(cols)
    ring, mean = np.zeros((5, DISC, n)), np.zeros((5, n))
    for y in range(rows):
        p, r = prediction[y], reference[y]
        left, right = (ones, ones, p, r, p), (p, r, p, r, r)
        for m in range(5):
            _times(left[m], right[m], t)
            _weighted(
                t, t[1:], t[2:], t[3:], t[4:], t[5:], t[6:], t[7:], t[8:], t[9:], t[10:], w, ring[m, y % DISC]
            )  # fmt: skip
        if y < DISC - 1:
            continue
        for m in range(5):
            g, k = ring[m], y + 1
            _weighted(
                g[k % DISC], g[(k + 1) % DISC], g[(k + 2) % DISC], g[(k + 3) % DISC], g[(k + 4) % DISC],
                g[(k + 5) % DISC], g[(k + 6) % DISC], g[(k + 7) % DISC], g[(k + 8) % DISC], g[(k + 9) % DISC],
                g[(k + 10) % DISC], w, mean[m],
            )  # fmt: skip
        for i in range(n):
            mp, mr = mean[0, i], mean[1, i]
            vp, vr, covariance = mean[2, i] - mp * mp, mean[3, i] - mr * mr, mean[4, i] - mp * mr
            mp += level
            mr += level
            vp = vp if vp > CONSTANT * mp * mp else 0.0
            vr = vr if vr > CONSTANT * mr * mr else 0.0
            both = np.sqrt(vp * vr)
            covariance = covariance if both > 0 else 0.0
            under = both + c
            s[i] = (covariance + c) / under if under > 0 else 1.0 if vp + vr == 0 else 0.0
        centre = y - reach
        _weigh(counted[centre, reach : reach + n], strata[centre, reach:], weights)
        _add(ones, weights, sums, 0)
        _add(s, weights, sums, 1)


@njit("void(f4[:, :, ::1], f4[:, :, ::1], b1[:, ::1], u1[:, ::1], f8[:, :])", **STRICT)
def angles(prediction, reference, counted, strata, sums):  # type: ignore[no-untyped-def]
    """Per stratum: the number of pixels whose two spectra are not 0, and the sum of the angles between them.

    Reads invalid pixels, but makes nothing of them.
    """
    bands, rows, cols = prediction.shape
    pr, pp, rr = np.empty(cols), np.empty(cols), np.empty(cols)
    for y in range(rows):
        pr[:] = 0
        pp[:] = 0
        rr[:] = 0
        for b in range(bands):
            for i in range(cols):
                p, r = np.float64(prediction[b, y, i]), np.float64(reference[b, y, i])
                pr[i] += p * r
                pp[i] += p * p
                rr[i] += r * r
        for i in range(cols):
            norms = pp[i] * rr[i]
            if counted[y, i] and norms > 0:
                # The root of a square is exact: equal spectra have no angle.
                angle = np.arccos(min(max(pr[i] / np.sqrt(norms), -1.0), 1.0))
                sums[0, 0] += 1
                sums[0, 1] += angle
                if strata[y, i] == LOW:
                    sums[1, 0] += 1
                    sums[1, 1] += angle
                elif strata[y, i] == HIGH:
                    sums[2, 0] += 1
                    sums[2, 1] += angle
