"""Methods as points in a plane, with their names: against each other and against what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.arrays import F64Array
from ..drawing.figures import plain, require_matplotlib
from ..drawing.theme import FONT, colour
from .palette import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CLOUD = (4.6, 3.7)
"""Width and height of a figure, in inches."""
CROWDED = 0.35
"""Points that span less than this share of a figure, along an axis, are shown again."""
FRAME = 0.03
"""Space between a crowd and the frame around it, as a share of the figure."""
FEWEST_TOGETHER = 5
"""Fewest points of which some may be called a crowd."""
AROUND = ((8, 0), (-8, 0), (0, 8), (0, -8), (7, 7), (-7, 7), (7, -7), (-7, -7), (14, 14), (-14, 14), (14, -14))
"""Where a label may stand from its point, in points, in order of preference."""


@dataclass(frozen=True)
class Point:
    """A method in a plane."""

    method: str
    x: float
    y: float
    across: tuple[float, float] | None = None
    """Interval along x, as that along y."""
    along: tuple[float, float] | None = None


def crowd(points: Sequence[Point]) -> list[Point]:
    """Points that lie together while others are far away; none if a figure of all does.

    Near is what lies within three times the median distance from the median, along both axes, and whatever else lies
    in the frame around these: an enlarged part of a figure leaves out nothing that is in it.
    """
    places = np.array([(p.x, p.y) for p in points])
    if len(places) < FEWEST_TOGETHER:
        return []
    away = np.abs(places - np.median(places, axis=0))
    near = (away <= 3 * np.maximum(np.median(away, axis=0), 1e-12)).all(axis=1)
    while True:
        low, high = _around(places[near], places)
        inside = ((places >= low) & (places <= high)).all(axis=1)
        if (inside == near).all():
            break
        near = inside
    shares = np.ptp(places[near], axis=0) / np.maximum(np.ptp(places, axis=0), 1e-12)
    return [p for p, n in zip(points, near, strict=True) if n] if shares.min() < CROWDED else []


def _around(crowded: F64Array, every: F64Array) -> tuple[F64Array, F64Array]:
    """Lower left and upper right corner of the frame around a crowd, of (point, 2) places."""
    pad = FRAME * np.maximum(np.ptp(every, axis=0), 1e-12)
    return crowded.min(axis=0) - pad, crowded.max(axis=0) + pad


def cloud_figure(
    points: Sequence[Point],
    styles: Mapping[str, Style],
    labels: tuple[str, str],
    *,
    better: str = "",
    log: bool = False,
    crowded: Sequence[Point] = (),
) -> Figure:
    """Methods as points with their names.

    Parameters
    ----------
    labels
        Of the axes.
    better
        Where good methods lie: ``upper left`` or ``lower left``.
    log
        Whether x is logarithmic; a cost that is not begins at 0.
    crowded
        Points without a name, in a frame instead.
    """
    figure = require_matplotlib()(figsize=CLOUD)
    axes = figure.add_axes((0.14, 0.125, 0.825, 0.85))
    plain(axes)
    if log:
        axes.set_xscale("log")
    axes.grid(color=colour("rule"), linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(labels[0], labelpad=2)
    axes.set_ylabel(labels[1], labelpad=2)
    for point in points:
        style = styles[point.method]
        bars: dict[str, Any] = {"color": style.colour, "linewidth": 1.0, "alpha": 0.55, "zorder": 2}
        if point.across:
            axes.hlines(point.y, *point.across, **bars)
        if point.along:
            axes.vlines(point.x, *point.along, **bars)
        size = 7.5 if style.strong else 6.0
        look: dict[str, Any] = {"markersize": size, "markeredgecolor": colour("paper"), "markeredgewidth": 0.6}
        axes.plot(point.x, point.y, style.marker, color=style.colour, zorder=3, **look)
    axes.margins(0.09)
    axes.autoscale_view()
    axes.minorticks_off()
    if not log and better == "lower left":
        # A cost: what looks like twice as much must be twice as much.
        axes.set_xlim(0, 1.09 * max(p.x for p in points))
    if log:
        _log_ticks(axes, [p.x for p in points])
    if better:
        up = better.startswith("upper")
        where: dict[str, Any] = {"va": "top" if up else "bottom", "transform": axes.transAxes, "fontsize": FONT - 0.5}
        text = ("↖ " if up else "↙ ") + "better"
        axes.text(0.012, 0.985 if up else 0.015, text, color=colour("muted"), **where)
    if crowded:
        _frame(axes, crowded, points)
    _name(axes, [p for p in points if p not in crowded], styles)
    return figure


def _frame(axes: Axes, crowded: Sequence[Point], points: Sequence[Point]) -> None:
    """Frame those points whose names stand in another figure."""
    from matplotlib.patches import Rectangle

    low, high = _around(*(np.array([(p.x, p.y) for p in some]) for some in (crowded, points)))
    look: dict[str, Any] = {"fill": False, "edgecolor": colour("muted"), "linewidth": 0.9, "linestyle": (0, (3, 2))}
    axes.add_patch(Rectangle((low[0], low[1]), *(high - low), **look))
    where: dict[str, Any] = {"textcoords": "offset points", "fontsize": FONT - 0.5, "color": colour("muted")}
    axes.annotate("enlarged", (high[0], low[1]), (4, 0), va="bottom", **where)


def _log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis, at 1, 2 and 5 times the powers of ten where there are few of these."""
    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # A narrow axis would have no tick at 1 or 3: as many as it takes.
    for steps in ((1,), (1, 3), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(ticks) > (3 if steps == (1,) else 1):
            break
    axes.set_xticks(ticks, [f"{t:g}" if t >= 0.001 else f"{t:.0e}" for t in ticks])


def _name(axes: Axes, points: Sequence[Point], styles: Mapping[str, Style]) -> None:
    """Write names beside points where they cover the least."""
    unit = axes.figure.dpi / 72
    places = [axes.transData.transform((p.x, p.y)) / unit for p in points]
    box = axes.get_window_extent()
    left, bottom, right, top = (v / unit for v in (box.x0, box.y0, box.x1, box.y1))
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for point in points:
        bars = [[(e, point.y) for e in point.across or ()], [(point.x, e) for e in point.along or ()]]
        for bar in filter(None, bars):
            (x0, y0), (x1, y1) = axes.transData.transform(bar) / unit
            taken.append((x0 - 0.7, y0 - 0.7, x1 + 0.7, y1 + 0.7))
    for point, (x, y) in zip(points, places, strict=True):
        style = styles[point.method]
        wide, high = 0.56 * FONT * len(point.method), FONT
        options = []
        for dx, dy in AROUND:
            x0 = x + dx - (wide if dx < 0 else wide / 2 if dx == 0 else 0)
            y0 = y + dy - (high if dy < 0 else high / 2 if dy == 0 else 0)
            cover = (x0, y0, x0 + wide, y0 + high)
            outside = max(left - x0, 0) + max(x0 + wide - right, 0) + max(bottom - y0, 0) + max(y0 + high - top, 0)
            options.append((sum(_shared(cover, other) for other in taken) + 20 * outside, cover, dx, dy))
        _, cover, dx, dy = min(options, key=lambda o: o[0])
        taken.append(cover)
        axes.annotate(
            point.method,
            (point.x, point.y),
            (dx, dy),
            textcoords="offset points",
            ha="right" if dx < 0 else "center" if dx == 0 else "left",
            va="top" if dy < 0 else "center" if dy == 0 else "bottom",
            fontsize=FONT,
            color=colour("ink" if style.strong else "muted"),
            weight="bold" if style.strong else "normal",
            parse_math=False,
            zorder=4,
        )


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Area that two boxes share."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0
