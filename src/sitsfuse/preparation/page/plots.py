"""Figures of a prepared site: where images were displaced, how two sensors agree, and how they look side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.arrays import F64Array, FloatArray
from ...drawing.figures import date_axis, plain, require_matplotlib
from ...drawing.stretch import GAMMA, INVALID, STRETCH
from ...drawing.text import MISSING, finite, number
from ...drawing.theme import FONT, colour
from .timeline import SERIES, parse_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


RINGS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Radii of the circles around no displacement, in pixels."""
SHIFTED = ("reference", "good", "common", "doubtful", "failed", "off")
"""What may become of an image's registration."""
SYMBOLS = {"reference": "s", "good": "o", "common": "D", "doubtful": "^", "failed": "x", "off": "o"}
INKS = {"reference": "ink", "good": "good", "common": "ink", "doubtful": "doubtful", "failed": "failed", "off": "rule"}
SHIFT, OVER, BAND = (3.3, 3.14), (4.3, 3.14), (1.95, 1.87)
"""Width and height of the figures of displacements, of them against the date, and of a band, in inches."""
SMALL = 7.5
"""Size of the type in the figure of a band, in points."""
BINS = 64
"""Bins along each side of a density."""
DENSITY = "#3d84c6"
"""Seen on light and on dark ground; the more samples, the less transparent."""
BLOCKS = 6
"""Blocks of a checkerboard along its shorter side."""


@dataclass(frozen=True)
class Shift:
    """Displacement of an image as it was found."""

    day: np.datetime64 | None
    role: str
    x: float
    """In pixels of the image's own series, as are the others."""
    y: float
    spread: float | None
    quality: str

    @property
    def size(self) -> float:
        """Length of the displacement."""
        return math.hypot(self.x, self.y)

    @property
    def about(self) -> str:
        """All of it as one line."""
        day = MISSING if self.day is None else str(self.day)
        return f"{day} {self.role}: {number(self.x, 2, sign=True)}, {number(self.y, 2, sign=True)} px, {self.quality}"


def shifts(record: Mapping[str, Any], series: str) -> list[Shift]:
    """Displacements of the images of a series (hr or lr), where they were found, in order of time."""
    pixel = finite((record.get(series) or {}).get("pixel"))
    found = []
    for image in record.get("images") or []:
        role, quality = str(image.get("role")), image.get("quality")
        place = displacement(image, pixel)
        if SERIES.get(role) == series and place is not None:
            quality = quality if quality in SHIFTED else "good"
            found.append(Shift(parse_day(image.get("date")), role, *place, finite(image.get("spread")), quality))
    return sorted(found, key=lambda s: (s.day is None, str(s.day)))


def displacement(image: Mapping[str, Any], pixel: float | None) -> tuple[float, float] | None:
    """Displacement of an image in pixels of its series, or None where none was found.

    Parameters
    ----------
    image
        ``shift_px``, or else ``shift_x`` and ``shift_y`` (metres), and ``quality``.
    pixel
        Of the series, in metres.
    """
    given = image.get("shift_px")
    if not isinstance(given, list | tuple) or len(given) != 2:
        metres = [finite(image.get(key)) for key in ("shift_x", "shift_y")]
        given = [m / pixel if m is not None and pixel else None for m in metres]
    x, y = (finite(v) for v in given)
    if x is None or y is None:
        return None
    # An image that was left as it is has no displacement, and not one of 0.
    return None if image.get("quality") in ("failed", "off") and x == y == 0 else (x, y)


def shift_panel(found: Sequence[Shift]) -> Figure:
    """Displacements as points around none, with circles of known radius."""
    figure = require_matplotlib()(figsize=SHIFT)
    axes = figure.add_axes((0.18, 0.14, 0.8, 0.84), aspect="equal")
    plain(axes)
    far = max((s.size for s in found), default=0.0)
    # The next circle outwards is in view.
    reach = 1.12 * next((r for r in RINGS[1:] if r >= far), far)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="dx [px]", ylabel="dy [px]")
    axes.xaxis.labelpad = axes.yaxis.labelpad = 1
    axes.locator_params(nbins=5)
    axes.axhline(0, color=colour("rule"), linewidth=0.6, zorder=0)
    axes.axvline(0, color=colour("rule"), linewidth=0.6, zorder=0)
    from matplotlib.patches import Circle

    for radius in (r for r in RINGS if reach / 12 < r < reach):
        axes.add_patch(
            Circle((0, 0), radius, fill=False, edgecolor=colour("muted"), linewidth=0.7, linestyle=(0, (4, 3)))
        )
        x, y = -radius * math.sqrt(0.5), radius * math.sqrt(0.5)
        style: dict[str, Any] = {"fontsize": FONT - 1, "color": colour("muted"), "ha": "center", "va": "center"}
        box = {"facecolor": colour("paper"), "edgecolor": "none", "pad": 0.8}
        axes.text(x, y, f"{radius:g}", zorder=2, bbox=box, **style)
    _mark(axes, found, np.array([s.x for s in found]), np.array([s.y for s in found]))
    return figure


def shift_dates(found: Sequence[Shift], span: tuple[Any, Any]) -> Figure:
    """Displacements along x and y against the date, with their spread.

    Parameters
    ----------
    found
        Of one series.
    span
        First and last day to show.
    """
    figure = require_matplotlib()(figsize=OVER)
    dated = [s for s in found if s.day is not None]
    across = np.array([s.day for s in dated], "datetime64[D]").astype(float)
    far = max([0.1, *(max(abs(s.x), abs(s.y)) + (s.spread or 0.0) for s in dated)]) * 1.08
    pad = max((span[1] - span[0]).astype(int) * 0.02, 2.0)
    limits = (span[0].astype(float) - pad, span[1].astype(float) + pad)
    for k, direction in enumerate(("x", "y")):
        axes = figure.add_axes((0.12, 0.58 - 0.44 * k, 0.85, 0.4), xlim=limits, ylim=(-far, far))
        plain(axes)
        axes.set_ylabel(f"d{direction} [px]", labelpad=1)
        axes.axhline(0, color=colour("rule"), linewidth=0.6, zorder=0)
        date_axis(axes, 6)
        axes.tick_params(labelbottom=bool(k))
        axes.xaxis.get_offset_text().set_visible(bool(k))
        axes.locator_params(axis="y", nbins=5)
        values = np.array([getattr(s, direction) for s in dated])
        spread = np.array([s.spread or 0.0 for s in dated])
        axes.vlines(across, values - spread, values + spread, color=colour("muted"), linewidth=0.9)
        _mark(axes, dated, across, values, f"{direction}-")
    return figure


def _mark(axes: Axes, found: Sequence[Shift], x: F64Array, y: F64Array, prefix: str = "") -> None:
    """Mark displacements at given places by what became of them."""
    for quality in SHIFTED:
        shown = np.array([s.quality == quality for s in found], bool)
        if not shown.any():
            continue
        ink = colour(INKS[quality])
        style: dict[str, Any] = {"facecolors": ink, "edgecolors": colour("paper"), "linewidths": 0.6}
        if quality == "failed":
            style = {"color": ink, "linewidths": 1.4}
        style |= {"zorder": 3, "clip_on": False, "gid": f"{prefix}{quality}"}
        axes.scatter(x[shown], y[shown], 26, marker=SYMBOLS[quality], **style)


def shift_tips(found: Sequence[Shift]) -> dict[str, list[str]]:
    """What is known of the displacements, by the markers of both figures."""
    tips: dict[str, list[str]] = {}
    for shift in found:
        for prefix in ("", "x-", "y-") if shift.day is not None else ("",):
            tips.setdefault(f"{prefix}{shift.quality}", []).append(shift.about)
    return tips


def regression(x: FloatArray, y: FloatArray, line: tuple[float | None, float | None, float | None] | None) -> Figure:
    """What the LR sensor saw against what the HR sensor did, as a density with the line between them.

    Parameters
    ----------
    x, y
        (n,) values of the LR sensor, not yet harmonised, and of the HR sensor degraded to it.
    line
        Gain, offset and correlation, or None if no line could be fitted.
    """
    figure = require_matplotlib()(figsize=BAND)
    axes = figure.add_axes((0.2, 0.18, 0.77, 0.8), aspect="equal")
    plain(axes, SMALL)
    seen = np.isfinite(x) & np.isfinite(y)
    x, y = x[seen], y[seen]
    both = np.concatenate([x, y])
    low, high = (float(v) for v in np.percentile(both, (0.2, 99.8))) if both.size else (0.0, 1.0)
    pad = max(0.05 * (high - low), 1e-4)
    low, high = low - pad, high + pad
    counts = np.histogram2d(y, x, BINS, [[low, high], [low, high]])[0]
    shade = np.log1p(counts) / max(float(np.log1p(counts).max()), 1e-9)
    from matplotlib.colors import to_rgb

    colours = np.empty((BINS, BINS, 4), np.float32)
    colours[..., :3] = to_rgb(DENSITY)
    colours[..., 3] = np.where(counts > 0, 0.12 + 0.88 * shade, 0)
    axes.imshow(colours, extent=(low, high, low, high), origin="lower", interpolation="none")
    ends = np.array([low, high])
    axes.plot(ends, ends, color=colour("muted"), linewidth=1.0, linestyle=(0, (4, 3)))
    gain, offset, correlation = line or (None, None, None)
    told = "no line"
    if gain is not None and offset is not None:
        axes.plot(ends, gain * ends + offset, color=colour("target"), linewidth=1.2)
        told = f"gain {number(gain, 3)}\noffset {number(offset, 4, sign=True)}\nr {number(correlation, 3)}"
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="LR", ylabel="HR, degraded")
    axes.locator_params(nbins=4)
    axes.xaxis.labelpad = axes.yaxis.labelpad = 1
    axes.text(
        0.04, 0.965, told, transform=axes.transAxes, va="top", fontsize=SMALL, linespacing=1.35, color=colour("ink")
    )
    return figure


def checkerboard(first: FloatArray, second: FloatArray, like: FloatArray, block: int) -> FloatArray:
    """Two images in alternating blocks, with the stretch of a third.

    Parameters
    ----------
    first, second, like
        (channel, y, x) float32 reflectance, 3 channels or 1; NaN where invalid. The upper left block is the first's.
    block
        Side of a block, in pixels.

    Returns
    -------
    colours
        (y, x, 3) 0–1; grey where invalid.
    """
    rows, cols = np.indices(first.shape[1:]) // block
    mixed = np.where((rows + cols) % 2 == 0, first, second)
    known = np.isfinite(like).all(axis=0)
    seen = like[:, known] if known.any() else np.array([[0.0, 1.0]] * len(like))
    low, high = (a[:, None, None] for a in np.percentile(seen, STRETCH, axis=1))
    valid = np.isfinite(mixed).all(axis=0)
    scaled = np.clip((np.where(valid, mixed, low) - low) / np.maximum(high - low, 1e-6), 0, 1) ** GAMMA
    colours = np.where(valid, np.broadcast_to(scaled, (3, *valid.shape)), float(INVALID))
    return np.asarray(colours.transpose(1, 2, 0), np.float32)


def block_side(shape: tuple[int, ...], ratio: float | None) -> int:
    """Side of a checkerboard's blocks in HR pixels: whole LR pixels where their ratio is whole."""
    step = max(round(ratio), 1) if ratio else 1
    return max(round(min(shape[-2:]) / BLOCKS / step), 1) * step
