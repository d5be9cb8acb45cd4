"""The compiled loops over windows that the methods share: the only numba.

Each works on one tile, on one thread, and lets go of the interpreter's lock: tiles run in parallel. Images are padded
by the reach of the window with pixels that carry no weight, so that the loops know no border; the innermost loops go
along a row without branches, for the processor's vector units; what depends on one pixel only is computed before.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from .base import BoolArray, FloatArray

UNROLLED = 3
"""Offsets at a time: the sums of a pixel are then loaded and stored a third as often."""
SPAN = 256
"""Pixels of a row at a time: their sums stay in the processor's innermost cache."""
LANES = 32
"""Elements that a compiled loop takes at a time: it is slow on what remains."""
CENTRES = 32
"""Neighbouring pixels whose sums are taken at once."""

_COMPILED: dict[str, Any] = {"fastmath": True, "nogil": True, "cache": True}


def nearness(window: int) -> FloatArray:
    """(window, window + padding) weights ``1 / D``, ``D = 1 + d / (window / 2)``, of offsets at distance d.

    The columns are padded with 0 to a multiple of what the loops take at a time.
    """
    reach = window // 2
    steps = np.arange(-reach, reach + 1)
    weight = 1 / (1 + np.hypot(steps[:, None], steps) / (window / 2))
    return np.ascontiguousarray(np.pad(weight, ((0, 0), (0, -window % UNROLLED))), np.float32)


def padded(
    image: FloatArray, window: int, valid: BoolArray | bool = True, value: float = 0.0, level: FloatArray | float = 0.0
) -> FloatArray:
    """(..., y, x) with the reach of a window around, and room for the elements that loops take too many.

    There and where the image is invalid it holds ``value``, elsewhere the image less a level that broadcasts with it.
    """
    reach, (rows, cols) = window // 2, image.shape[-2:]
    room = 2 * reach + LANES
    out = np.full((*image.shape[:-2], rows + room, cols + room), value, np.float32)
    np.subtract(image, level, out=out[..., reach : reach + rows, reach : reach + cols], where=valid, dtype=np.float32)
    return out


def around(centre: BoolArray, window: int) -> tuple[slice, slice]:
    """The smallest rectangle that holds the windows of all pixels wanted."""
    spans = []
    for axis, n in enumerate(centre.shape):
        wanted = np.flatnonzero(centre.any(axis=1 - axis))
        first, last = (int(wanted[0]), int(wanted[-1]) + 1) if wanted.size else (0, 0)
        spans.append(slice(max(first - window // 2, 0), min(last + window // 2, n)))
    return spans[0], spans[1]


@nb.njit(
    "void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], b1[:, ::1], f4[:, ::1], f4, f4, f4,"
    " f4[:, ::1], f4[:, ::1])",
    **_COMPILED,
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


FAR = 1e10
"""Feature of an invalid pixel: its square is still a float32."""
_UNBOUNDED = np.float32(1e18)
"""A squared distance between the features of valid pixels is less; one to an invalid pixel is more."""
_TIE = np.float32(1 + 3e-6)
"""Squared distances that differ by less are equal: rounding must not part them."""


@nb.njit("f4(f4[::1], i8, i8)", **_COMPILED)
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


@nb.njit("Tuple((i8, f4))(f4[::1], i4[:, ::1], i8, i8, f4[::1])", **_COMPILED)
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


@nb.njit("void(f4[:, :, ::1], f4[:, :, ::1], b1[:, ::1], f4[:, ::1], i8, f4[:, :, ::1])", **_COMPILED)
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


@nb.njit(
    "void(f4[:, :, :, ::1], f4[:, :, :, ::1], f4[:, :, ::1], f4[:, ::1], b1[:, ::1], f4[:, ::1], f4[:, ::1], f4,"
    " f8[::1], i8, f4[:, :, :, ::1])",
    **_COMPILED,
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
