"""Charts of methods: against the date, how they vary, how sure they are, and what they lose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..benchmarking.measures import Measure
from ..benchmarking.ranking import FEWEST
from ..core.arrays import BoolArray, F64Array
from ..drawing.figures import date_axis, plain, require_matplotlib
from ..drawing.theme import FONT, colour
from .palette import Style, draw_key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CURVE = (4.6, 2.1)
"""Width and height of a measure against the date, in inches."""
BOX = 2.55
"""Width of a panel of distributions, in inches; it is as high as it has methods."""
ROW = 0.34
"""Height of a method in it."""
STRATA: Mapping[str, tuple[float, str]] = {"low": (-0.27, "v"), "all": (0.0, "o"), "high": (0.27, "^")}
"""Where a stratum is drawn around its method's line, and its marker."""
FAR = 5.0
"""A method whose median error is so many times that of the middle one may leave an axis."""
BRIDGED = 62.0
"""Longest gap that a line bridges, in days."""
FEW_DATES = 12
"""With so few dates, each has a marker."""
WHISKERS = (5, 25, 50, 75, 95)
"""Percentiles: ends of the whiskers, of the box, and the median."""


def axis_label(measure: Measure) -> str:
    """A measure with its unit."""
    return f"{measure.label} [{measure.unit}]"


@dataclass(frozen=True)
class Course:
    """A measure of the methods against the date, at a site."""

    title: str
    measure: Measure
    dates: npt.NDArray[np.datetime64]
    """(date,) in order."""
    values: F64Array
    """(date, method)."""
    guides: npt.NDArray[np.datetime64]
    """Dates of the guides."""


def course_figure(course: Course, styles: Mapping[str, Style]) -> Figure:
    """A course alone."""
    figure = require_matplotlib()(figsize=CURVE)
    axes = figure.add_axes((0.125, 0.19, 0.845, 0.77))
    draw_course(axes, course, styles)
    return figure


def draw_course(axes: Axes, course: Course, styles: Mapping[str, Style]) -> None:
    """A line per method, and a tick per guide below.

    Lines of methods that are far worse than the others leave the axes; lines end at gaps of more than two months.
    """
    plain(axes, FONT - 0.5)
    days = course.dates.astype("datetime64[D]").astype(float)
    guides = course.guides.astype("datetime64[D]").astype(float)
    for k, (method, style) in enumerate(styles.items()):
        known = np.isfinite(course.values[:, k])
        axes.plot(
            *_broken(days[known], course.values[known, k]),
            color=style.colour,
            linestyle=style.dash,
            linewidth=style.width,
            marker=style.marker if style.strong or known.sum() <= FEW_DATES else "",
            markersize=3,
            markeredgewidth=0,
            zorder=3 if style.strong else 2,
            gid=f"way{k}",
            label=method,
        )
    axes.set_ylim(*_span(course))
    pad = max(np.ptp(days) * 0.02, 3.0) if len(days) else 3.0
    low, high = (days.min() - pad, days.max() + pad) if len(days) else (0.0, 1.0)
    axes.set_xlim(low, high)
    near = guides[(guides >= low) & (guides <= high)]
    axes.vlines(near, 0, 0.055, transform=axes.get_xaxis_transform(), color=colour("guide"), linewidth=1.3, zorder=4)
    date_axis(axes, 7)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=colour("rule"), linewidth=0.5)
    axes.set_axisbelow(True)


def in_view(values: F64Array, *, higher: bool) -> BoolArray:
    """(method,) which methods of (pair, method) values an axis must hold: all but those far worse than the middle one.

    Worse is told by the median error or, where more is better, by the distance from 1.
    """
    known = np.isfinite(values)
    there = known.any(axis=0)
    shown = np.zeros(values.shape[1], bool)
    if there.any():
        size = np.maximum(1, values[known].max()) - values if higher else np.abs(values)
        middle = np.nanmedian(size[:, there], axis=0)
        limit = FAR * np.sort(middle)[(middle.size - 1) // 2]
        shown[there] = middle <= max(limit, float(middle.min()))
    return shown


def _span(course: Course) -> tuple[float, float]:
    """Ends of the axis."""
    seen = course.values[:, in_view(course.values, higher=course.measure.higher)]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    pad = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - pad, high + pad) if course.measure.higher else (min(0.0, low), high + pad)


def _broken(days: F64Array, values: F64Array) -> tuple[F64Array, F64Array]:
    """A line without bridges over months of which nothing is known: NaN in between."""
    gaps = np.flatnonzero(np.diff(days) > BRIDGED) + 1
    return np.insert(days, gaps, np.nan), np.insert(values, gaps, np.nan)


def courses_figure(rows: Sequence[Sequence[Course]], styles: Mapping[str, Style]) -> Figure:
    """All courses of a ratio, a row per site, with the methods' key above."""
    key = 0.24 * math.ceil(len(styles) / 5) + 0.15
    tall, columns = 2.2, len(rows[0])
    high = key + tall * len(rows)
    figure = require_matplotlib()(figsize=(4.9 * columns, high))
    draw_key(figure.add_axes((0, 1 - key / high, 1, key / high)), styles, loc="center", ncols=5, fontsize=FONT)
    for i, row in enumerate(rows):
        for j, course in enumerate(row):
            bottom = 1 - (key + (i + 1) * tall - 0.32) / high
            axes = figure.add_axes(((j + 0.11) / columns, bottom, 0.87 / columns, (tall - 0.65) / high))
            draw_course(axes, course, styles)
            name = f"{course.title} · {axis_label(course.measure)}"
            axes.set_title(name, fontsize=FONT, color=colour("ink"), loc="left", parse_math=False)
    return figure


@dataclass(frozen=True)
class Spread:
    """A measure of the methods over all pairs, per stratum."""

    measure: Measure
    values: Mapping[str, F64Array]
    """(pair, method) by stratum."""


def box_size(methods: int) -> tuple[float, float]:
    """Width and height of a panel, in inches."""
    return BOX, ROW * methods + 0.62


def spread_figure(spread: Spread, styles: Mapping[str, Style]) -> Figure:
    """Distributions alone."""
    wide, high = box_size(len(styles))
    figure = require_matplotlib()(figsize=(wide, high))
    axes = figure.add_axes((0.28, 0.4 / high, 0.66, 1 - 0.48 / high))
    draw_spread(axes, spread, styles)
    return figure


def draw_spread(axes: Axes, spread: Spread, styles: Mapping[str, Style], *, named: bool = True) -> None:
    """Per method and stratum a box from the 25th to the 75th percentile, whiskers from the 5th to the 95th.

    Of fewer than six pairs the values themselves are drawn.
    """
    plain(axes, FONT - 0.5)
    ends: list[F64Array] = []
    pooled = next((spread.values[k] for k in ("all", *spread.values) if k in spread.values), np.empty((0, len(styles))))
    seen = in_view(pooled, higher=spread.measure.higher)
    for stratum, (offset, marker) in STRATA.items():
        values = spread.values.get(stratum)
        if values is None:
            continue
        there = np.flatnonzero(np.isfinite(values).any(axis=0))
        if not there.size:
            continue
        y, bold = there + offset, stratum == "all"
        inks = [style.colour for style, k in zip(styles.values(), range(len(styles)), strict=True) if k in there]
        if len(values) < FEWEST:
            # Percentiles of a handful are inventions: the values themselves.
            rows = np.broadcast_to(y, values[:, there].shape)
            colours = [ink for _ in values for ink in inks]
            axes.scatter(values[:, there].ravel(), rows.ravel(), 16, c=colours, marker=marker, linewidths=0, zorder=3)
            ends += list(values[:, seen])
            continue
        # (percentile, method)
        low, first, middle, last, high = np.nanpercentile(values[:, there], WHISKERS, axis=0)
        ends += [low[seen[there]], high[seen[there]]]
        axes.hlines(y, low, high, colors=inks, linewidth=0.7)
        axes.hlines(y, first, last, colors=inks, linewidth=5.0 if bold else 2.6, alpha=1.0 if bold else 0.55)
        faces = [colour("paper")] * len(inks) if bold else inks
        axes.scatter(middle, y, 9 if bold else 16, c=faces, marker=marker, linewidths=0, zorder=3)
    known = np.concatenate(ends) if ends else np.empty(0)
    known = known[np.isfinite(known)]
    axes.set_ylim(len(styles) - 0.45, -0.55)
    if known.size:
        pad = 0.06 * float(np.ptp(known)) or 0.05 * abs(float(known.max())) or 1.0
        axes.set_xlim(float(known.min()) - pad, float(known.max()) + pad)
    axes.set_yticks(range(len(styles)), list(styles) if named else [])
    axes.tick_params(axis="y", length=0)
    for label, style in zip(axes.get_yticklabels(), styles.values(), strict=named):
        label.set(color=colour("ink" if style.strong else "muted"), weight="bold" if style.strong else "normal")
        label.set_parse_math(False)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color=colour("rule"), linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(axis_label(spread.measure), labelpad=2)


def spreads_figure(spreads: Sequence[Spread], styles: Mapping[str, Style]) -> Figure:
    """Several panels side by side."""
    wide, high = box_size(len(styles))
    inner, left = wide * 0.72, 0.9
    total = left + inner * len(spreads)
    figure = require_matplotlib()(figsize=(total, high))
    for k, spread in enumerate(spreads):
        axes = figure.add_axes(((left + k * inner) / total, 0.4 / high, (inner - 0.2) / total, 1 - 0.48 / high))
        draw_spread(axes, spread, styles, named=not k)
    return figure


def reliability_figure(
    levels: Sequence[float], observed: Mapping[str, F64Array], styles: Mapping[str, Style]
) -> Figure:
    """Nominal against observed coverage.

    Parameters
    ----------
    levels
        (level,) nominal shares, 0–1.
    observed
        (level,) observed shares per method.
    """
    figure = require_matplotlib()(figsize=(3.9, 3.6))
    axes = figure.add_axes((0.15, 0.13, 0.82, 0.84), aspect="equal")
    plain(axes)
    axes.plot([0, 1], [0, 1], color=colour("muted"), linewidth=1.0, linestyle=(0, (4, 3)))
    for k, (method, style) in enumerate(styles.items()):
        if method in observed:
            look: dict[str, Any] = {
                "marker": style.marker,
                "markersize": 3.5,
                "linewidth": style.width,
                "gid": f"way{k}",
            }
            axes.plot(levels, observed[method], color=style.colour, linestyle=style.dash, **look)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Nominal coverage [%]", ylabel="Observed coverage [%]")
    ticks = [0, 0.25, 0.5, 0.75, 1]
    names = [f"{100 * t:.0f}" for t in ticks]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.text(0.97, 0.03, "too sure", ha="right", fontsize=FONT, color=colour("muted"))
    axes.text(0.03, 0.97, "too cautious", va="top", fontsize=FONT, color=colour("muted"))
    return figure


def scenes_figure(observed: Mapping[str, F64Array], kept: tuple[float, float], styles: Mapping[str, Style]) -> Figure:
    """Coverage of the 90 % interval scene by scene: a point per scene, a row per method, and the aim as a band.

    Parameters
    ----------
    observed
        (scene,) observed shares per method.
    kept
        Ends of the band.
    """
    high = 0.3 * len(observed) + 0.75
    figure = require_matplotlib()(figsize=(3.9, high))
    axes = figure.add_axes((0.22, 0.45 / high, 0.75, 1 - 0.6 / high))
    plain(axes)
    axes.axvspan(100 * kept[0], 100 * kept[1], color=colour("rule"), alpha=0.5, linewidth=0)
    axes.axvline(90, color=colour("muted"), linewidth=0.9, linestyle=(0, (4, 3)))
    for k, (method, values) in enumerate(observed.items()):
        known = 100 * values[np.isfinite(values)]
        # Scenes side by side, for many lie at the same share.
        y = k + 0.5 * ((np.arange(known.size) * 0.618) % 1 - 0.5)
        axes.scatter(known, y, 14, color=styles[method].colour, marker=styles[method].marker, linewidths=0, alpha=0.8)
    axes.set_ylim(len(observed) - 0.5, -0.5)
    axes.set_yticks(range(len(observed)), list(observed))
    axes.tick_params(axis="y", length=0, labelcolor=colour("ink"))
    axes.set_xlim(right=101)
    axes.set_xlabel("Errors within the 90 % interval, per scene [%]", labelpad=2)
    return figure


def losses_figure(losses: Mapping[str, Mapping[str, float]], styles: Mapping[str, Style], label: str) -> Figure:
    """How much methods lose under each protocol, as dots on a line per method.

    Parameters
    ----------
    losses
        Change relative to the standard protocol, by protocol and method.
    label
        Of the axis.
    """
    high = 0.24 * len(styles) + 0.95
    figure = require_matplotlib()(figsize=(4.9, high))
    axes = figure.add_axes((0.19, 0.45 / high, 0.79, 1 - 0.85 / high))
    plain(axes)
    inks = ("target", "reference", "guide", "doubtful", "failed", "ink")
    marks = "os^DvP"
    axes.axvline(0, color=colour("muted"), linewidth=0.9)
    for k, (protocol, changes) in enumerate(losses.items()):
        x = [100 * changes.get(m, math.nan) for m in styles]
        look: dict[str, Any] = {"color": colour(inks[k % 6]), "markersize": 5.5, "markeredgewidth": 0}
        axes.plot(x, range(len(styles)), marks[k % 6], label=protocol, alpha=0.9, **look)
    axes.set_ylim(len(styles) - 0.5, -0.5)
    axes.set_yticks(range(len(styles)), list(styles))
    axes.tick_params(axis="y", length=0, labelcolor=colour("ink"))
    axes.grid(axis="y", color=colour("rule"), linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(label, labelpad=2)
    axes.margins(x=0.06)
    style: dict[str, Any] = {"fontsize": FONT, "labelcolor": colour("muted"), "frameon": False, "handletextpad": 0.1}
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, columnspacing=1.2, borderpad=0.1, **style)
    return figure
