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
from ...core.dates import days
from ...core.grid import GridPair, Window
from ...core.loading import load
from ...core.series import geobox, mtf
from ...operators.matrices import down_halo
from ...operators.updown import down
from ..shared.anchor import Anchor
from ..shared.gapless import without_gaps
from .closed import Coarse

WINDOW = 64
"""Side of a training window, in LR pixels."""
SAMPLES = 3
"""Most windows of which the HR pixels are kept for a while."""
SAMPLE_SIDE = 300
"""Largest side of these, in HR pixels, as long as they hold `SAMPLE_LR` LR pixels."""
SAMPLE_LR = 24
"""Least side of them, in LR pixels."""


@dataclass(frozen=True)
class Sample:
    """A window at both scales: what left-out guides are predicted on."""

    values: FloatArray
    """(T, B, y, x) guides."""
    valid: BoolArray
    """(T, y, x)."""
    coarse: FloatArray
    """(T, B, y, x) degraded guides, 0 where invalid."""
    coarse_valid: BoolArray
    """(T, y, x)."""
    series: FloatArray
    """(S, B, y, x) the target series, read only where valid."""
    series_valid: BoolArray
    """(S, y, x)."""
    grids: GridPair


@dataclass(frozen=True)
class Windows:
    """Training windows at LR, padded as invalid to one size (y, x)."""

    places: tuple[Window, ...]
    """Rows and columns of each, on the LR grid."""
    coarse: Coarse
    """The guides there."""

    def read(self, target: xr.Dataset, date: np.datetime64, anchor: Anchor) -> tuple[FloatArray, BoolArray]:
        """(B, W, y, x) the target of a date, less its bias, and (W, y, x) valid.

        It is interpolated in time where the series lacks the date.
        """
        when = np.array([date], target["time"].dtype)
        box = geobox(target)
        parts = [load(target, place, when) for place in self.places]
        shape = self.coarse.valid.shape[-2:]
        biases = [anchor.bias(date, box[place]) for place in self.places]
        values = _stack([p.values[0] - b for p, b in zip(parts, biases, strict=True)], shape)
        return values, _stack([p.valid[0] for p in parts], shape)


def read_windows(guide: xr.Dataset, target: xr.Dataset, pair: GridPair, most: int, seed: int) -> Windows | None:
    """Read and degrade the guides on windows of the LR grid that hold about ``most`` pixels.

    Small scenes are read whole. On large ones windows are drawn at random, so that reading and training cost the same
    for any size of scene. Returns None if no LR pixel is covered by a guide.
    """
    mtfs = mtf(target)
    halo = down_halo(pair.ratio, min(mtfs))
    cells = _cells(pair)
    order = np.random.default_rng(seed).permutation(len(cells)) if len(cells) * WINDOW**2 > most else range(len(cells))
    parts: list[tuple[FloatArray, BoolArray]] = []
    places: list[Window] = []
    found = 0
    for i in order:
        if found >= most:
            break
        hr = _hr_window(pair, cells[i], halo)
        block = load(guide, hr)
        values, valid = down(block.values, block.valid, pair.crop(hr, cells[i]), mtfs)
        if valid.any():
            places.append(cells[i])
            parts.append((values, valid))
            found += int(valid.any(axis=0).sum())
    if not parts:
        return None
    shape = tuple(max(v.shape[axis] for _, v in parts) for axis in (-2, -1))
    values, valid = _stack([v for v, _ in parts], shape), _stack([v for _, v in parts], shape)
    filled = gap_free(values, valid, guide["time"].values)
    return Windows(tuple(places), Coarse(filled, valid))


def gap_free(values: FloatArray, valid: BoolArray, times: Times) -> FloatArray:
    """(T, B, ...) guides, each gap interpolated in time between the valid ones next to it; 0 where none is valid."""
    filled, known = without_gaps(values, valid, days(times, times[0]))
    return np.where(known, filled, np.float32(0))


def read_samples(guide: xr.Dataset, target: xr.Dataset, pair: GridPair, places: Sequence[Window]) -> list[Sample]:
    """The middles of a few windows of the LR grid, at both scales."""
    mtfs = mtf(target)
    halo = down_halo(pair.ratio, min(mtfs))
    side = max(SAMPLE_LR, int(SAMPLE_SIDE / pair.ratio))
    out = []
    for place in places[:: max(1, -(-len(places) // SAMPLES))]:
        lr = _middle(place, side)
        hr = _hr_window(pair, lr, halo)
        block, series, grids = load(guide, hr), load(target, lr), pair.crop(hr, lr)
        values, valid = block.values, block.valid
        coarse, seen = down(values, valid, grids, mtfs)
        clean = np.where(seen[:, None], coarse, np.float32(0))
        out.append(Sample(values, valid, clean, seen, series.values, series.valid, grids))
    return out


def _middle(window: Window, side: int) -> Window:
    rows, cols = (
        slice(start := part.start + max(0, part.stop - part.start - side) // 2, min(start + side, part.stop))
        for part in window
    )
    return rows, cols


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


def _stack(parts: Sequence[npt.NDArray[Any]], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Stack windows (..., y, x) along a new axis before y, padded with 0 or False."""
    out = np.zeros((*parts[0].shape[:-2], len(parts), *shape), parts[0].dtype)
    for i, part in enumerate(parts):
        out[..., i, : part.shape[-2], : part.shape[-1]] = part
    return out
