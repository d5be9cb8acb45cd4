"""The timeline: which images there are, which are used and as what, and how much of them is clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...drawing.figures import date_axis, plain, require_matplotlib, save
from ...drawing.text import counted, finite, percent, printable
from ...drawing.theme import FONT, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ROLES = ("guide", "target", "reference", "skipped")
SERIES = {"guide": "hr", "reference": "hr", "target": "lr"}
"""Which series an image of a role belongs to."""
YEARS = ("1900-01-01", "2200-01-01")
"""Dates that are taken for dates of images."""
WIDE, NARROW = 9.4, 3.9
"""Widths of a timeline on a desk's screen and on a phone's, in inches."""
TITLE, LANE, STRIP, AXIS, KEY = 0.30, 0.95, 0.22, 0.37, 0.19
"""Heights of a lane's title, a lane, a lane without clear shares, the axis of dates and a row of the key, in inches."""
SYMBOLS = {"guide": "o", "target": "o", "reference": "D", "skipped": "x"}


@dataclass(frozen=True)
class Dated:
    """An image in the timeline."""

    day: np.datetime64
    role: str
    """guide, target, reference or skipped."""
    series: str
    """hr, lr, or nothing where that is unknown."""
    clear: float | None
    """Share of clear pixels, 0–1."""
    same_day: bool
    """Whether an image of the other series was taken on that day."""
    about: str
    """What is known of it, as one line."""


def entries(record: Mapping[str, Any]) -> list[Dated]:
    """The images of the plan and those prepared, in order of time; what has no date is left out."""
    listed = [(parse_day(e.get("date")), str(e.get("role")), e) for e in record.get("plan") or []]
    planned = {(day, role) for day, role, _ in listed}
    prepared = [(parse_day(e.get("date")), str(e.get("role")), e) for e in record.get("images") or []]
    # References that are given apart are in no plan.
    listed += [image for image in prepared if image[:2] not in planned]
    days = [{day for day, role, _ in listed if SERIES.get(role) == series} for series in ("hr", "lr")]
    found = []
    for day, role, entry in listed:
        if day is None or role not in ROLES:
            continue
        series, clear = SERIES.get(role) or entry.get("series"), finite(entry.get("clear"))
        same = role != "skipped" and (bool(entry.get("same_day")) or all(day in held for held in days))
        parts = [f"{day} {role}", str(entry.get("platform") or ""), "" if clear is None else f"{percent(clear)} clear"]
        parts += [f"with {entry['paired']}" if entry.get("paired") else "", str(entry.get("reason") or "")]
        about = ", ".join(part for part in parts if part)
        found.append(Dated(day, role, series if series in ("hr", "lr") else "", clear, same, about))
    return sorted(found, key=lambda e: (e.day, ROLES.index(e.role)))


def parse_day(value: Any) -> np.datetime64 | None:
    """The day of an ISO date or time, or None."""
    try:
        day = np.datetime64(str(value)[:10], "D")
    except ValueError:
        return None
    return day if np.datetime64(YEARS[0]) <= day < np.datetime64(YEARS[1]) else None


def sensor(record: Mapping[str, Any], series: str, otherwise: str = "") -> str:
    """Name and pixel of a series' sensor, as far as they are known; a name to call it by otherwise."""
    of = record.get(series) or {}
    pixel = finite(of.get("pixel"))
    name = str(of.get("sensor") or otherwise)[:40]
    return ", ".join(part for part in (name, "" if pixel is None else f"{pixel:g} m") if part)


def timeline(record: Mapping[str, Any], width: float = WIDE) -> Figure:
    """Draw the images of a site over time.

    A lane per series; an image is a stem as high as its share of clear pixels, an image that is not used a cross.
    Days on which both series have an image are joined by a line.

    Parameters
    ----------
    record
        What is known of the site; ``plan``, ``images``, ``hr`` and ``lr`` are looked at.
    width
        In inches.

    Raises
    ------
    InputError
        If matplotlib is missing.
    """
    figure_class = require_matplotlib()
    record = printable(record)
    images = entries(record)
    lanes = [(s, [e for e in images if e.series == s]) for s in ("hr", "lr", "")]
    lanes = [(s, held) for s, held in lanes if held] or [("", [])]
    heights = [LANE if s else STRIP for s, _ in lanes]
    keys = 1 if width > 6 else 2
    high = sum(heights) + TITLE * len(lanes) + AXIS + KEY * keys
    figure = figure_class(figsize=(width, high), facecolor="none")
    left, right = 0.5 / width, 1 - 0.1 / width
    days = [e.day for e in images] or [np.datetime64("2000-01-01")]
    pad = max((max(days) - min(days)).astype(int) * 0.015, 2.0)
    limits = (min(days).astype(float) - pad, max(days).astype(float) + pad)

    bottom = (AXIS + KEY * keys) / high
    joined = sorted({e.day for e in images if e.same_day})
    behind = figure.add_axes((left, bottom, right - left, 1 - bottom - TITLE / high), xlim=limits, ylim=(0, 1))
    behind.vlines(np.array(joined, dtype="datetime64[D]").astype(float), 0, 1, color=colour("rule"), linewidth=0.9)
    behind.set_axis_off()
    top, axes = 1.0, behind
    for (series, held), lane in zip(lanes, heights, strict=True):
        top -= (TITLE + lane) / high
        axes = figure.add_axes((left, top, right - left, lane / high), xlim=limits)
        _draw_lane(axes, series, held, right - left)
        roles = [counted(sum(e.role == r for e in held), r, r if r == "skipped" else "") for r in ROLES]
        roles = [r for r in roles if not r.startswith("0 ")]
        name = sensor(record, series, series.upper()) if series else "Not used" if held else "No images"
        level = top + (lane + 0.1) / high
        # On paper, for the lines between the lanes end behind it.
        box = {"facecolor": colour("paper"), "edgecolor": "none", "pad": 1.5}
        figure.text(
            left, level, name, color=colour("ink"), fontsize=FONT + 0.5, weight="bold", parse_math=False, bbox=box
        )
        figure.text(right, level, ", ".join(roles), color=colour("muted"), fontsize=FONT, ha="right", bbox=box)
    date_axis(axes, 5 if keys > 1 else 10)
    axes.tick_params(bottom=True, labelbottom=bool(images))
    _draw_key(figure, images, bool(joined), keys)
    return figure


def _draw_lane(axes: Axes, series: str, held: Sequence[Dated], share: float) -> None:
    plain(axes, left=False)
    axes.set(ylim=(0, 1.08) if series else (-1, 1), yticks=[0, 0.5, 1] if series else [], zorder=1)
    axes.set_yticklabels(["0", "50", "100 %"] if series else [])
    axes.tick_params(bottom=False, labelbottom=False)
    if series:
        axes.hlines([0.5, 1], 0, 1, transform=axes.get_yaxis_transform(), color=colour("rule"), linewidth=0.5, zorder=0)
    # As large as leaves neighbours apart, within reason.
    room = axes.figure.get_figwidth() * share * 72 / max(len(held), 1)  # type: ignore[union-attr]
    size = float(np.clip(room, 2.6, 5.2)) ** 2
    for role in ROLES:
        drawn = [e for e in held if e.role == role]
        if not drawn:
            continue
        x = np.array([e.day for e in drawn]).astype(float)
        y = np.array([_height(e) for e in drawn])
        if role == "skipped":
            style: dict[str, Any] = {"s": 0.7 * size, "color": colour("muted"), "alpha": 0.8, "gid": f"skipped{series}"}
        else:
            known, ink = np.array([e.clear is not None for e in drawn]), colour(role)
            axes.vlines(x[known], 0, y[known], color=ink, linewidth=1.0, alpha=0.55)
            faces = [ink if k else "none" for k in known]
            style = {"s": size, "facecolors": faces, "edgecolors": ink, "zorder": 3, "gid": role}
        axes.scatter(x, y, marker=SYMBOLS[role], linewidths=0.9, clip_on=False, **style)


def _height(entry: Dated) -> float:
    """Where an image stands in its lane: those with an unknown clear share in the middle, where no stem leads."""
    if not entry.series or (entry.clear is None and entry.role == "skipped"):
        return 0.0
    return 0.5 if entry.clear is None else min(max(entry.clear, 0.0), 1.0)


def _draw_key(figure: Figure, images: Sequence[Dated], joined: bool, rows: int) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for role in ROLES:
        if any(e.role == role for e in images):
            ink = colour("muted" if role == "skipped" else role)
            label = {"skipped": "not used"}.get(role, role)
            handles.append(Line2D([], [], color=ink, marker=SYMBOLS[role], markersize=4.5, linestyle="", label=label))
    if any(e.clear is None and e.role != "skipped" for e in images):
        ink = colour("muted")
        handles.append(
            Line2D([], [], color=ink, marker="o", markerfacecolor="none", linestyle="", label="clear share unknown")
        )
    if joined:
        handles.append(Line2D([], [], color=colour("rule"), label="HR and LR on one day"))
    if not handles:
        return
    spacing = {"handletextpad": 0.3, "columnspacing": 1.4, "borderaxespad": 0.1, "borderpad": 0.1, "labelspacing": 0.3}
    style: dict[str, Any] = {"fontsize": FONT, "labelcolor": colour("muted"), "frameon": False, **spacing}
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0), ncols=-(-len(handles) // rows), **style)
    if rows == 1:
        x, y = 1 - 0.1 / figure.get_figwidth(), 0.05 / figure.get_figheight()
        figure.text(x, y, "height: share of clear pixels", ha="right", color=colour("muted"), fontsize=FONT)


def tips(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is known of the images, by the markers that a timeline shows."""
    out: dict[str, list[str]] = {}
    for entry in entries(record):
        out.setdefault(f"skipped{entry.series}" if entry.role == "skipped" else entry.role, []).append(entry.about)
    return out


def describe(record: Mapping[str, Any]) -> str:
    """The timeline in words."""
    images = entries(record)
    if not images:
        return "Timeline without images"
    held = ", ".join(
        counted(n, r, r if r == "skipped" else "") for r in ROLES if (n := sum(e.role == r for e in images))
    )
    shares = [e.clear for e in images if e.clear is not None and e.role != "skipped"]
    clear = f"; their median clear share is {percent(np.median(shares))}" if shares else ""
    return f"Timeline from {images[0].day} to {images[-1].day}: {held}{clear}"


def draw_timeline(record: Mapping[str, Any], path: str | Path) -> None:
    """Draw :func:`timeline` to a file; its type is that of the suffix (png, pdf, svg).

    Raises
    ------
    InputError
        If matplotlib is missing or the file cannot be written.
    """
    save(timeline(record), Path(path))
