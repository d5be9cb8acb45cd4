"""The LR pixels that DDI learns from, and the HR windows that it is tried on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.arrays import BoolArray, FloatArray, Times
from ...core.dates import days, index_of
from ...core.grid import GridPair, Window
from ...core.loading import read
from ...core.series import mtf
from ...operators.matrices import down_halo
from ...operators.updown import down, up_mask
from .uncertainty import Details, WindowDetails, window_details

WINDOW = 64
"""Side of a training window, in LR pixels."""
DETAIL_WINDOWS = 4
"""Windows on which `Windows.details` are measured."""
FINE_PIXELS = 1000
"""Most HR pixels of a window of which the guides are kept."""


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
