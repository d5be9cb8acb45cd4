"""What DDI learns from held-out LR pixels: samples, folds, and the choice of head, blend and strengths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..degrade import down, down_halo, up_mask
from ..grid import GridPair, Window
from ..series import index_of, mtf
from ..timeline import days, interpolate
from ._calibration import high_pass
from .base import BoolArray, FloatArray, Times, read
from .ddi_linear import Linear
from .ddi_uncertainty import Details, WindowDetails, window_details

WINDOW = 64
"""Side of a training window, in LR pixels."""
TIE = 0.1
"""Relative difference of held-out errors below which two heads count as equally good."""
DETAIL_WINDOWS = 4
"""Windows on which `Windows.details` are measured."""
FINE_PIXELS = 1000
"""Most HR pixels of a window of which the guides are kept."""
REHEARSAL_DAYS = 10.0
"""Longest gap between a guide and the nearest target image for the guide to take part in `rehearse`."""
REHEARSAL_PIXELS = 100
"""Fewest LR pixels for that."""
OUTLIER = 9.0
"""Difference of two dates, in median absolute differences, beyond which a pixel changed (6 standard deviations)."""


@dataclass(frozen=True)
class Windows:
    """Training windows at LR: T guides, B bands, S target images, W windows of (y, x) pixels, padded as invalid."""

    guide: FloatArray
    """(T, B, W, y, x) degraded guides, 0 where invalid."""
    guide_valid: BoolArray
    """(T, W, y, x)."""
    target: FloatArray
    """(B, W, y, x) the target image of the date."""
    usable: BoolArray
    """(W, y, x) where the target and at least one guide are valid."""
    series: FloatArray
    """(S, B, W, y, x) all target images."""
    series_valid: BoolArray
    """(S, W, y, x)."""
    times: Times
    """(S,) their dates."""
    details: Details
    """What left-out guides say of errors at HR."""
    fine: tuple[FloatArray, BoolArray]
    """(T, B, M) and (T, M): guides and their validity at some HR pixels."""


@dataclass(frozen=True)
class Trial:
    """A candidate, judged on held-out pixels."""

    error: float
    """Error left after a residual correction, in standard deviations of the target."""
    base_error: float
    """The same for temporal interpolation."""
    alpha: float
    """Best share of the networks."""
    left: FloatArray
    """(B, N) error of the held-out pixels."""
    spread: FloatArray
    """(B, N) standard deviation of the networks there, as far as they are followed."""


def read_windows(
    guide: xr.Dataset, target: xr.Dataset, date: np.datetime64, pair: GridPair, most: int, seed: int
) -> Windows | None:
    """Read and degrade the guides on windows of the LR grid that hold about ``most`` clear target pixels.

    Small scenes are read whole. On large ones windows are drawn at random, so that reading and training cost the same
    for any size of scene. Returns None if the target has no clear pixel.
    """
    when = np.array([date], target["time"].dtype)
    times = np.union1d(target["time"].values, when) if index_of(target, date) is None else target["time"].values
    at = int(np.flatnonzero(times.astype("datetime64[D]") == when.astype("datetime64[D]"))[0])
    mtfs = mtf(target)
    halo = down_halo(pair.ratio, min(mtfs))
    cells = _cells(pair)
    order = np.random.default_rng(seed).permutation(len(cells)) if len(cells) * WINDOW**2 > most else range(len(cells))
    parts: list[tuple[FloatArray, BoolArray, FloatArray, BoolArray]] = []
    details: list[WindowDetails] = []
    pixels: list[tuple[FloatArray, BoolArray]] = []
    offsets = days(guide["time"].values, date)
    found = 0
    for i in order:
        if found >= most:
            break
        rows, cols = cells[i]
        clear = int(read(target, (rows, cols), when)["valid"].values.sum())
        if not clear:
            continue
        hr = _hr_window(pair, (rows, cols), halo)
        block, window = read(guide, hr), read(target, (rows, cols), times)
        grids = pair.crop(hr, (rows, cols))
        values, valid = down(block["reflectance"].values, block["valid"].values, grids, mtfs)
        if len(details) < DETAIL_WINDOWS:
            fine = block["reflectance"].values, block["valid"].values
            details.append(window_details(*fine, values, valid, grids, mtfs, offsets))
            pixels.append(_some_pixels(*fine, up_mask(window["valid"].values[at], grids)))
        parts.append((values, valid, window["reflectance"].values, window["valid"].values))
        found += clear
    if not parts:
        return None
    values, series = (_stack([p[k] for p in parts]) for k in (0, 2))
    valid, series_valid = (_stack([p[k] for p in parts]).astype(bool) for k in (1, 3))
    clean = np.where(valid[:, None], values, np.float32(0))
    usable = series_valid[at] & valid.any(axis=0)
    fine_pixels = np.concatenate([v for v, _ in pixels], axis=-1), np.concatenate([v for _, v in pixels], axis=-1)
    return Windows(clean, valid, series[at], usable, series, series_valid, times, Details.of(details), fine_pixels)


def _some_pixels(values: FloatArray, valid: BoolArray, clear: BoolArray) -> tuple[FloatArray, BoolArray]:
    """At most `FINE_PIXELS` evenly spread pixels under a clear target, (T, B, M) and (T, M); 0 where invalid."""
    flat, ok = values.reshape(*values.shape[:2], -1), valid.reshape(len(valid), -1)
    known = np.flatnonzero(ok.any(axis=0) & clear.ravel())
    known = known[:: max(1, -(-len(known) // FINE_PIXELS))]
    ok = ok[:, known]
    return np.where(ok[:, None], flat[:, :, known], np.float32(0)), ok


def block_folds(usable: BoolArray, k: int, block: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign square blocks of LR pixels to K folds of about equal size; (W, y, x) int.

    Every fold gets a block with usable pixels, as long as there are enough of them.
    """
    w, rows, cols = usable.shape
    # A network needs pixels to learn from and others to be judged by, however large a block is asked for.
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


def neighbours(usable: BoolArray) -> npt.NDArray[np.intp]:
    """All windows of 2×2 LR pixels that hold a usable one; (M, 4) numbers of usable pixels, -1 for others.

    Parameters
    ----------
    usable
        (W, y, x); its pixels are numbered in this order.
    """
    number = np.full(usable.shape, -1, np.intp)
    number[usable] = np.arange(np.count_nonzero(usable))
    padded = np.pad(number, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 2), axis=(1, 2)).reshape(-1, 4)
    return np.asarray(windows[(windows >= 0).any(axis=1)])


def judge(
    usable: BoolArray, target: FloatArray, base: FloatArray, held: FloatArray, scatter: FloatArray, spread: FloatArray
) -> Trial:
    """How good a candidate is where its networks have not been trained.

    The residual correction will remove what can be seen at LR and leave the details below. One scale up that is: of
    the held-out errors, remove what 2×2 LR pixels show, and look at what is left. ``alpha`` minimises it, in closed
    form, for ``base + alpha (mean - base)``: a held-out pixel is known to one network alone, which scatters about the
    mean of all that will predict, and the power of this scatter is taken off. It is measured between networks that
    have seen the pixel, which agree more than others: where networks learn noise, ``alpha`` errs towards 0.

    Parameters
    ----------
    usable
        (W, y, x), where the N pixels lie.
    target, base, held, scatter, spread
        (B, N): the truth, temporal interpolation, the held-out prediction, a sample of the networks' scatter about
        their mean, and its standard deviation.
    """
    scale = np.maximum(target.std(axis=1, keepdims=True), 1e-6)
    wanted = high_pass((target - base) / scale, usable)
    offered = high_pass((held - base) / scale, usable)
    power = float((offered**2).sum() - (high_pass(scatter / scale, usable) ** 2).sum())
    alpha = float(np.clip((wanted * offered).sum() / power, 0, 1)) if power > 0 else 0.0
    left = wanted - alpha * offered
    return Trial(
        float(np.sqrt((left**2).mean())),
        float(np.sqrt((wanted**2).mean())),
        alpha,
        target - base - np.float32(alpha) * (held - base),
        np.float32(alpha) * spread,
    )


def pick(errors: list[float], heads: list[str]) -> tuple[int, int | None]:
    """The candidate of least error; and the best one with another head, if the two are about as good.

    An ensemble of both heads then errs less than either, and it is safer where the held-out pixels of one noisy LR
    image cannot tell which is right.
    """
    first = int(np.argmin(errors))
    others = [i for i in range(len(errors)) if heads[i] != heads[first] and errors[i] <= (1 + TIE) * errors[first]]
    return first, min(others, key=lambda i: errors[i]) if others else None


def rehearse(windows: Windows, guide_times: Times) -> FloatArray:
    """How much of an LR residual the HR sensor confirms, per band, in [0, 1].

    At a guide's date both sensors are known. The other guides are fitted to the target series there (ridge regression,
    the linear cousin of the networks), and what the fit leaves, ``r = C - P``, is compared with what the guide itself
    says is missing, ``e = G - P``: the slope of e on r is the share of the residual that is scene and not noise of the
    LR sensor. What differs between the two dates must not count as noise: pixels that disagree by far (clouds,
    harvests) take no part, and r and e are compared in their finest details, which haze and growth do not touch. What
    remains of such changes only lowers the slope, so the guide that confirms most counts. 1 if no guide has a target
    image near enough.
    """
    t, b = windows.guide.shape[:2]
    slopes = []
    for k in range(t):
        offsets = days(windows.times, guide_times[k])
        if np.abs(offsets).min() > REHEARSAL_DAYS:
            continue
        image, seen = interpolate(windows.series, windows.series_valid, offsets)
        others = np.arange(t) != k
        ok = windows.guide_valid[k] & seen & windows.guide_valid[others].any(axis=0)
        if ok.sum() < REHEARSAL_PIXELS:
            continue
        target, truth = image[:, ok].T.astype(np.float64), windows.guide[k][:, ok].T.astype(np.float64)
        linear = Linear.fit(windows.guide[others][:, :, ok], windows.guide_valid[others][:, ok], target.T)
        fitted = linear.fitted.T
        r, e = target - fitted, truth - fitted
        off = np.abs(r - e - np.median(r - e, axis=0))
        near = off <= OUTLIER * np.median(off, axis=0)
        seen_lr, seen_hr = (high_pass(np.where(near, a - a.mean(axis=0, where=near), 0).T, ok) for a in (r, e))
        slopes.append((seen_lr * seen_hr).sum(axis=1) / np.maximum((seen_lr**2).sum(axis=1), 1e-12))
    if not slopes:
        return np.ones(b, np.float32)
    return np.asarray(np.clip(np.max(slopes, axis=0), 0, 1), np.float32)


def _cells(pair: GridPair) -> list[Window]:
    """Cut the LR pixels that overlap the HR image into windows of at most `WINDOW`."""
    axes = []
    for axis in (pair.y, pair.x):
        inside = axis.lr_overlapping(0, axis.n_hr)
        size = inside.stop - inside.start
        edges = np.linspace(inside.start, inside.stop, math.ceil(size / WINDOW) + 1).astype(int)
        axes.append([slice(int(a), int(b)) for a, b in itertools.pairwise(edges)])
    return [(rows, cols) for rows in axes[0] for cols in axes[1]]


def _hr_window(pair: GridPair, lr: Window, halo: int) -> Window:
    """HR pixels under an LR window, and the reach of ↓ around them."""
    out = []
    for axis, part in zip((pair.y, pair.x), lr, strict=True):
        start = math.floor(axis.ratio * part.start + axis.offset) - halo
        stop = math.ceil(axis.ratio * part.stop + axis.offset) + halo
        out.append(slice(max(start, 0), min(stop, axis.n_hr)))
    return out[0], out[1]


def _stack(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Stack windows (..., y, x) along a new axis before y, padded with 0 or False."""
    rows, cols = (max(p.shape[axis] for p in parts) for axis in (-2, -1))
    out = np.zeros((*parts[0].shape[:-2], len(parts), rows, cols), parts[0].dtype)
    for i, part in enumerate(parts):
        out[..., i, : part.shape[-2], : part.shape[-1]] = part
    return out
