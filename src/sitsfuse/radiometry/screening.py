"""Guides that show what was not there: clouds that a mask missed, a wrong radiometry.

Nothing in a guide itself tells a cloud from a bright roof. But an LR series that saw the land a few days before and
after, and the guides before and after, tell what a guide may show: a genuine change (harvest, snow, growth) is in the
LR images as well. So a pixel of a guide is doubted only where it lies far outside of *all* of these, on the LR grid:
further than the sensors and a few days usually make them differ, and further than the land itself is changing. Where
that evidence is missing (no LR image near in time, fewer than three guides) a guide is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

from ..core.arrays import BoolArray
from ..core.grid import GridPair, Window
from ..core.site import SiteLayout, group
from ..operators.coarse import Coarse, lr_windows, near, sampled
from ..operators.matrices import nearest_index
from .evidence import FEWEST_GUIDES, FEWEST_PIXELS, NEAR, Usual, distances

SURE = 8.0
"""Distance from what a guide may show beyond which a pixel is wrong, in usual differences."""
LIKELY = 4.0
"""The same, beyond which it counts towards doubting the guide as a whole."""
EDGE = 2.0
"""The same, beyond which the neighbour of a wrong pixel is wrong too: clouds have thin edges."""
GROWN = 4
"""LR pixels by which wrong pixels grow into such neighbours."""
WHOLE_SURE, WHOLE_LIKELY = 0.1, 0.5
"""Shares of wrong and of likely pixels from which on the whole guide is left out."""
WHOLE_WRONG = 0.75
"""Share of pixels to leave out from which on nothing is kept."""
SIDE = 128
"""Side of the windows that are read, in LR pixels."""
SAMPLED = 8
"""Windows at most that tell what differences are usual."""


@dataclass(frozen=True)
class Verdict:
    """What was found of one guide."""

    time: np.datetime64
    judged: float
    """Share of its valid LR pixels for which there is evidence, 0 to 1."""
    wrong: float
    """Share of the judged pixels that are left out."""
    whole: bool
    """Whether the guide is left out as a whole."""

    def __str__(self) -> str:
        day = str(self.time)[:10]
        if self.whole:
            return f"guide {day} is left out: neither the LR series nor the other guides show what it shows"
        return f"guide {day}: {self.wrong:.1%} of it is left out, where it shows what the others do not (a cloud?)"


@dataclass(frozen=True, eq=False)
class Screening:
    """What was found of the guides of a site."""

    verdicts: tuple[Verdict, ...]
    """One per guide, in their order."""
    wrong: BoolArray | None
    """(time, y, x) on the LR grid, what is left out; None where nothing is."""
    grids: GridPair

    @property
    def findings(self) -> tuple[Verdict, ...]:
        """The verdicts on guides of which something is left out."""
        return tuple(v for v in self.verdicts if v.wrong > 0)

    @property
    def record(self) -> list[dict[str, Any]]:
        """The findings, JSON-safe."""
        return [{"guide": str(v.time)[:10], "whole": v.whole, "share": round(v.wrong, 4)} for v in self.findings]

    def apply(self, site: xr.DataTree) -> xr.DataTree:
        """The site without what is left out, lazy where it is lazy; the site itself where nothing is.

        Parameters
        ----------
        site
            The site that was screened.
        """
        if self.wrong is None:
            return site
        keep = np.flatnonzero([not v.whole for v in self.verdicts])
        guide, wrong = group(site, "guide").isel(time=keep), self.wrong[keep]
        valid = guide["valid"]
        if valid.chunks is None:
            cleared = valid.values & ~at_hr(wrong, self.grids)
        else:
            cleared = valid.data.map_blocks(_cleared, wrong, self.grids, dtype=bool)
        out = site.copy()
        out["guide"] = xr.DataTree(guide.assign(valid=(valid.dims, cleared, valid.attrs)))
        return out


def screen(site: xr.DataTree, most: int | None = None) -> Screening:
    """Find guides, and pixels of guides, that show what neither the LR series nor the other guides show.

    Parameters
    ----------
    site
        A site with guides and an LR series, lazy or not; it is read once, by windows.
    most
        Windows of 128 × 128 LR pixels to look at, evenly spread: for a description of a large site. By default all.

    Returns
    -------
    Screening
        Without findings where there is no clear evidence.
    """
    layout = SiteLayout.of(site)
    times, pair = layout.guides, layout.grids
    nothing = Screening(tuple(Verdict(t, 0.0, 0.0, False) for t in times), None, pair)
    if sum(near(times, layout.targets, NEAR)) < FEWEST_GUIDES:
        return nothing
    windows = lr_windows(pair, SIDE)
    if most is not None:
        windows = [windows[i] for i in sampled(windows, most)]
    parts = {i: Coarse.read(site, layout, windows[i]) for i in sampled(windows, SAMPLED)}
    usual = Usual.of(list(parts.values()))
    if usual is None:
        return nothing
    sure, likely, edge, judged, known, shared = (np.zeros((len(times), *pair.lr.shape), bool) for _ in range(6))
    for i, (rows, cols) in enumerate(windows):
        part = parts.pop(i) if i in parts else Coarse.read(site, layout, (rows, cols))
        distance, evidence = distances(part, usual)
        at = (slice(None), rows, cols)
        sure[at], likely[at], edge[at] = (distance > level for level in (SURE, LIKELY, EDGE))
        judged[at], known[at] = evidence, part.valid
        shared[at] = part.valid.sum(axis=0) > part.valid
    verdicts, out = [], np.zeros_like(sure)
    for k, empty in enumerate(nothing.verdicts):
        count = int(judged[k].sum())
        if count < FEWEST_PIXELS:
            verdicts.append(empty)
            continue
        # Where a guide is the only one, a doubtful value is better than none.
        out[k] = shared[k] & _grown(sure[k], edge[k])
        share = float((out[k] & judged[k]).sum() / count)
        mostly = sure[k].sum() >= WHOLE_SURE * count and likely[k].sum() >= WHOLE_LIKELY * count
        whole = bool(mostly or share > WHOLE_WRONG)
        if whole:
            out[k], share = True, 1.0
        verdicts.append(Verdict(empty.time, count / int(known[k].sum()), share, whole))
    # Where half of the guides disagree with the LR series, it is the series that is wrong.
    if 2 * sum(v.whole for v in verdicts) >= sum(v.judged > 0 for v in verdicts):
        verdicts = [replace(v, wrong=0.0, whole=False) for v in verdicts]
        out[:] = False
    return Screening(tuple(verdicts), out if out.any() else None, pair)


def _grown(sure: BoolArray, edge: BoolArray) -> BoolArray:
    """Wrong pixels, grown into the thin edges of clouds, and one pixel further."""
    if not sure.any():
        return sure
    square = np.ones((3, 3), bool)
    core = ndimage.binary_dilation(sure, square, GROWN, mask=edge | sure)
    return np.asarray(ndimage.binary_dilation(core, square), bool)


def at_hr(wrong: BoolArray, grids: GridPair, window: Window = (slice(None), slice(None))) -> BoolArray:
    """A mask (time, y, x) of the LR grid at the HR pixels of a window; False outside the LR grid."""
    rows, cols = nearest_index(grids.y)[window[0]], nearest_index(grids.x)[window[1]]
    inside = (rows >= 0)[:, None] & (cols >= 0)
    return np.asarray(wrong[:, rows[:, None], cols] & inside, bool)


def _cleared(valid: BoolArray, wrong: BoolArray, grids: GridPair, block_info: Any = None) -> BoolArray:
    """A block of ``valid`` without what is wrong."""
    times, y, x = (slice(*span) for span in block_info[0]["array-location"])
    return np.asarray(valid & ~at_hr(wrong[times], grids, (y, x)), bool)
