"""FSDAF: the change of each class, and what it leaves unexplained, shared out by a thin-plate spline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import GridPair
from ...core.options import Count, Natural, need, settle
from ...core.site import pair_of
from ...operators.matrices import FILL_RADIUS, cell_matrix, down_halo, nearest_index, separable
from ...operators.residual import residual_halo
from ...operators.thin_plate import REACH, thin_plate
from ...operators.updown import down, fill
from ..base import Tile
from ..shared.dates import Calendar, DatedPredictor
from ..shared.pairs import Pairs, odd_window, window_sum
from ..shared.rehearsal import Rehearsed
from ..shared.samples import sample_tile, sample_windows
from .classes import NONE, ClassArray, Classes, class_changes, find_classes, purest
from .mixtures import Mixture, sample_pixels

LEAST_WINDOW = 9
"""Side of a window that still has a choice of similar pixels, in HR pixels."""
UNSURE = 0.05
"""Least part of a residual that is shared out evenly, however homogeneous the surroundings."""


@dataclass(frozen=True)
class FSDAF(Rehearsed):
    """The guide, plus the change of each pixel's class, plus a share of what that leaves unexplained at LR.

    With classes c found in the guide F_1 and their fractions A at LR, the changes ``ΔF_c`` solve ``ΔC = A ΔF`` by least
    squares over the purest LR pixels of each class. With ``F_TP = F_1 + ΔF_c``, F_SP the thin-plate spline through
    C_p, and HI the share of a pixel's class in a window of one LR pixel around it, the residual
    ``R = ΔC - (F_TP↓ - F_1↓)`` of an LR pixel is shared out to its HR pixels in proportion to
    ``(F_SP - F_TP) HI + |R| (1 - HI)``, the first term only where it has the sign of R. The sum of both changes is
    averaged over the most similar pixels in a window, near ones weighing more, and added to F_1.

    References
    ----------
    Zhu, Helmer, Gao, Liu, Chen, Lefsky, A flexible spatiotemporal method for fusing satellite images with different
    resolutions, Remote Sensing of Environment 172, 2016. Ours: one pair per pixel, that of the nearest clear guide;
    k-means for the classes; PSF-weighted fractions and ↓; the small pull of each ``ΔF_c`` to the mean change and that
    of the weights to evenness; similarity in standardised bands; the uncertainty.
    """

    name: ClassVar[str] = "fsdaf"
    paper: ClassVar[str] = "Zhu et al. 2016"
    min_guides: ClassVar[int] = 1

    classes: Count = 6
    """Number of classes in a guide."""
    pure: Count = 200
    """Purest LR pixels of each class that its change is estimated from."""
    similar: Count = 20
    """Most similar pixels that a change is averaged over, the pixel itself among them."""
    window: Natural = 0
    """Side of the window that they are searched in, in HR pixels; 0: 2.5 LR pixels (the
    paper's 41 at its ratio of 16), and at least 9."""

    def __post_init__(self) -> None:
        settle(self)
        need(self.classes <= 100, self, "classes", "give at most 100")

    def halo(self, ratio: float) -> int:
        """Half a window, the LR pixels there, and the reach of ↓ and of the spline around them."""
        spline = math.ceil((REACH + FILL_RADIUS) * ratio) + 1
        inner = self.side(ratio) // 2 + math.ceil(ratio)
        return inner + max(spline, down_halo(ratio) + math.ceil(ratio), residual_halo(ratio))

    def side(self, ratio: float) -> int:
        """Side of the window, in HR pixels, odd."""
        return odd_window(self.window, 2.5, ratio) if self.window else max(odd_window(0, 2.5, ratio), LEAST_WINDOW)

    def describe(self, guide: xr.Dataset) -> Sequence[Classes]:
        """The classes of each guide, from blocks that stand for the image."""
        return [find_classes(pixels, self.classes) for pixels in sample_pixels(guide)]

    def examine(self, site: xr.DataTree, found: Sequence[Classes]) -> FSDAFPlain:
        """Find the share of the classes of every guide in the LR pixels of these blocks."""
        calendar, pair = Calendar.of(site), pair_of(site)
        windows = sample_windows(pair.hr.shape)
        tiles = ((sample_tile(site, pair, calendar, window), pair.lr_window(window)) for window in windows)
        mixtures = [Mixture.of(tile, lr, calendar, found) for tile, lr in tiles if tile is not None]
        return FSDAFPlain(calendar, tuple(found), tuple(mixtures), self)


@dataclass(frozen=True)
class FSDAFPlain:
    """The classes of the guides, and their shares in LR pixels."""

    calendar: Calendar
    classes: tuple[Classes, ...]
    """Of each guide."""
    mixtures: tuple[Mixture, ...]
    method: FSDAF

    def prepare(self, date: np.datetime64, target: xr.Dataset) -> FSDAFPredictor:
        """Find how the classes of every guide changed to the date."""
        pure = self.method.pure
        nothing = [
            (np.zeros((0, len(c.centres)), np.float32), np.zeros((0, len(c.mean)), np.float32)) for c in self.classes
        ]
        parts = [[none] for none in nothing]
        for mixture in self.mixtures:
            for found, part in zip(parts, mixture.changes(date, target), strict=True):
                rows = np.unique(np.concatenate(purest(part[0], pure)))
                found.append((part[0][rows], part[1][rows]))
        changes = []
        for found in parts:
            fractions = np.concatenate([f for f, _ in found])
            changes.append(class_changes(fractions, np.concatenate([c for _, c in found]), pure))
        counts = [sum(len(f) for f, _ in found) for found in parts]
        return FSDAFPredictor(self.calendar.on(date), self.classes, tuple(changes), tuple(counts), self.method)


@dataclass(frozen=True)
class FSDAFPredictor(DatedPredictor):
    """Adds to the guides of a tile what changed since."""

    classes: tuple[Classes, ...]
    """Of each guide."""
    changes: tuple[FloatArray, ...]
    """(class, band) change of each class since each guide, in reflectance."""
    counts: tuple[int, ...]
    """Number of LR pixels that they were estimated from."""
    method: FSDAF

    @property
    def choices(self) -> Mapping[str, Any]:
        """What stands for the LR images of the guides' dates, and how the classes of each guide changed."""
        how = [
            f"{len(c)} classes, from {n} LR pixels" if n else "none: no clear LR pixel"
            for n, c in zip(self.counts, self.changes, strict=True)
        ]
        return {**self.dates.record, "class_changes": how}

    def __call__(self, tile: Tile) -> xr.Dataset:
        """Predict a tile; see `base.Predictor`."""
        pairs = Pairs.of(tile, self.dates, 1)
        target, clear = self.dates.target(tile)
        smooth = thin_plate(fill(target, clear), tile.grids)
        image, square = np.zeros_like(pairs.target), np.zeros_like(pairs.target)
        for k in pairs.used():
            here = pairs.index[0] == k
            change, scatter = self._change(pairs, k, here, smooth)
            image[:, here] = (pairs.fine(k) + change)[:, here]
            # One guide knows nothing of what the change did to its details, and similar pixels differ in it.
            square[:, here] = ((pairs.target - pairs.coarse(k)) ** 2 + scatter)[:, here]
        return pairs.result(image, np.sqrt(square))

    def _change(self, pairs: Pairs, k: int, here: BoolArray, smooth: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance among similar pixels, (band, y, x), of the change since a guide, where its pair is used."""
        from ..kernels import similar as kernel  # numba is slow to import

        grids, valid, fine = pairs.tile.grids, pairs.valid[k], pairs.fine(k)
        target, clear = self.dates.target(pairs.tile)
        classes = self.classes[k](fine, valid)
        change = np.where(valid, self.changes[k].T[:, classes], np.float32(0))
        # Beside clouds the mean over what is clear of an LR pixel is all that is known of it.
        explained, known = down(change, valid, grids, self.dates.mtf, 1e-5)
        today = np.where(clear, target, np.float32(0))
        residual = np.where(known & clear, today - pairs.lr[k] - explained, np.float32(0))
        share = homogeneity(classes, one_pixel(grids.ratio))
        change += share_out(residual, smooth - fine - change, share, valid, grids)
        features, moments = self.classes[k].features(fine, valid), np.concatenate([change, change**2])
        mean, square = np.split(
            kernel.similar(features, moments, valid, here, self.method.side(grids.ratio), self.method.similar), 2
        )
        return mean, np.maximum(square - mean**2, 0)


def one_pixel(ratio: float) -> int:
    """Side of a window of about one LR pixel, in HR pixels; odd, at least 3."""
    return max(3, 2 * int(ratio // 2) + 1)


def homogeneity(classes: ClassArray, side: int) -> FloatArray:
    """HI: share of a pixel's own class among the valid pixels in a window around it, (y, x) float32."""
    same = np.zeros(classes.shape)
    for c in range(int(classes.max(initial=NONE)) + 1):
        own = classes == c
        same[own] = window_sum(own, side)[own]
    return (same / np.maximum(window_sum(classes != NONE, side), 1)).astype(np.float32)


def share_out(
    residual: FloatArray, misfit: FloatArray, share: FloatArray, valid: BoolArray, grids: GridPair
) -> FloatArray:
    """Share the residual of each LR pixel out to its valid HR pixels; their mean is the residual.

    Parameters
    ----------
    residual
        (band, y, x) R, at LR.
    misfit
        (band, y, x) ``F_SP - F_TP``, at HR.
    share
        (y, x) HI, at HR.
    valid
        (y, x) bool, at HR.
    grids
        The two grids.
    """
    iy, ix = nearest_index(grids.y), nearest_index(grids.x)
    cells = cell_matrix(grids.y), cell_matrix(grids.x)
    members = separable(valid.astype(np.float32), *cells)
    uneven = np.maximum(1 - share, np.float32(UNSURE))
    out = np.empty_like(misfit)
    for b, plane in enumerate(residual):
        left = plane[iy[:, None], ix]
        agrees = np.where(misfit[b] * left > 0, np.abs(misfit[b]), np.float32(0))
        weight = np.where(valid, agrees * share + np.abs(left) * uneven, np.float32(0))
        total = separable(weight, *cells)
        scale = np.divide(plane * members, total, out=np.zeros_like(plane), where=total > 0)
        out[b] = weight * scale[iy[:, None], ix]
    return out
