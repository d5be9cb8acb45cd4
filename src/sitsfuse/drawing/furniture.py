"""What a panel with an image carries: its extent, the outline of a window, a scale bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xarray as xr

from ..core.grid import Window
from ..core.series import geobox
from .stretch import INVALID

if TYPE_CHECKING:
    from matplotlib.axes import Axes


FONT = 11
"""Size of the text, in points."""


def frame(axes: Axes, prediction: xr.Dataset, window: Window | None) -> None:
    """Show the extent of a window of the prediction, without ticks."""
    left, right, bottom, top = corners(prediction, window)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], facecolor=INVALID, aspect="auto")
    for spine in axes.spines.values():
        spine.set(linewidth=0.6, color="0.3")


def corners(image: xr.Dataset, window: Window | None = None) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of a window of pixels, or of the whole image: so images of any pixel size overlay."""
    box = geobox(image)
    y, x = window or (slice(0, box.shape[0]), slice(0, box.shape[1]))
    to = box.affine
    return to.c + x.start * to.a, to.c + x.stop * to.a, to.f + y.stop * to.e, to.f + y.start * to.e


def outline(axes: Axes, prediction: xr.Dataset, zoom: Window) -> None:
    """Where the enlarged part lies: white on black, to be seen on any ground."""
    left, right, bottom, top = corners(prediction, zoom)
    for width, colour in ((2.6, "black"), (1.2, "white")):
        axes.plot(
            [left, right, right, left, left],
            [top, top, bottom, bottom, top],
            color=colour,
            linewidth=width,
            solid_joinstyle="miter",
        )


def scale_bar(axes: Axes, prediction: xr.Dataset, window: Window | None, *, on_right: bool = False) -> None:
    """A bar of a round length in a lower corner."""
    left, right, bottom, top = corners(prediction, window)
    unit = unit_of(prediction)
    pixel = 1.0 if unit else abs(geobox(prediction).affine.a)
    length = round_length(abs(right - left) / pixel / 4)
    label = f"{length / 1000:g} km" if unit == "m" and length >= 1000 else f"{length:g} {unit or 'px'}"
    reach = math.copysign(length * pixel, right - left)
    x, y = left + 0.06 * (right - left), bottom + 0.06 * (top - bottom)
    if on_right:
        x = right - 0.06 * (right - left) - reach
    for width, colour in ((5.0, "black"), (2.6, "white")):
        axes.plot([x, x + reach], [y, y], color=colour, linewidth=width, solid_capstyle="butt")
    text = axes.text(x, y + 0.035 * (top - bottom), label, color="white", fontsize=FONT - 1, va="bottom")
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2.2, foreground="black")])


def in_lower_left(window: Window, rows: int, cols: int) -> bool:
    """Whether a window would hide behind a scale bar."""
    return bool(window[0].stop > 0.8 * rows and window[1].start < 0.36 * cols)


def round_length(length: float) -> float:
    """The largest of 1, 2, 5, 10, 20 … that does not exceed ``length``."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))


def unit_of(image: xr.Dataset) -> str:
    """Unit of the grid: m of a projected CRS, nothing where pixels have no size on the ground."""
    crs = geobox(image).crs
    return "m" if crs is not None and crs.projected and crs.units[0] in ("metre", "meter") else ""


def shape_of(window: Sequence[slice]) -> float:
    """Height over width."""
    rows, cols = (s.stop - s.start for s in window)
    return float(rows / cols)
