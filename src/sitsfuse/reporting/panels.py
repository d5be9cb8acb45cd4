"""Pictures of a benchmark: predictions beside what was seen and the truth, strata, and weights of the guides."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..benchmarking.configuration import PlannedTarget
from ..benchmarking.protocols import STANDARD
from ..benchmarking.results import Results, Unit
from ..core.arrays import ByteArray, FloatArray
from ..core.dates import nearest
from ..core.grid import Window, place_in
from ..core.series import geobox
from ..drawing.figures import require_matplotlib
from ..drawing.html import picture
from ..drawing.stretch import INVALID, Stretch, busiest
from ..drawing.text import number
from ..drawing.theme import FONT, colour
from ..drawing.weights import most_used
from .viewer.pictures import encode
from .viewer.scales import COMMON, round_up

if TYPE_CHECKING:
    from matplotlib.figure import Figure


QUALITY = 84
"""Of the compressed pictures."""
ZOOM = 0.25
"""Side of the part that is enlarged, as a share of the image."""
MAPS = 7
"""Most maps of weights."""
WEIGHED = ("green", "nir")
"""Bands whose weights are shown, the first that is there."""
STRATA = {1: ("#3b6ea8", "low gradient"), 2: ("#d9d6cc", "between"), 3: ("#d9772b", "high gradient")}
"""Colours of strata and what they are called, by their number."""
NOTHING = "#bfbfbf"
"""Of what is in no stratum."""
SIDE, CAPTION, GAP = 1.35, 0.2, 0.06
"""Side of a picture in a figure, height of its caption and space around it, in inches."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture on the HR grid of a site's window."""

    name: str
    colours: FloatArray
    """(row, column, 3) values 0–1."""
    box: tuple[float, float, float, float]
    """Left, top, width and height in HR pixels; LR pixels may reach beyond the window."""
    note: str = ""
    """A line below its name."""
    error: FloatArray | None = None
    """(row, column, 3) colours of the error of a prediction."""

    @property
    def source(self) -> str:
        """The address that stands for it in a page: small pictures and those of few pixels are kept as they are."""
        if self.box[2] / self.colours.shape[1] > 1.01:
            return picture(self.colours)
        return webp(self.colours)


@dataclass(frozen=True, eq=False)
class Views:
    """The pictures of a date at a site and ratio."""

    site: str
    target: str
    ratio: float
    date: str
    shape: tuple[int, int]
    """Rows and columns of the window, in HR pixels."""
    zoom: Window
    panels: tuple[Panel, ...]
    """The LR image, the reference and the predictions, these with maps of their errors."""
    end: float
    """What the darkest red of the errors stands for; the darkest blue is as much below 0."""
    weights: tuple[Weights, ...] = ()

    @property
    def zoomed(self) -> str:
        """The enlarged part as SVG takes it: left, top, width, height."""
        rows, cols = self.zoom
        return f"{cols.start} {rows.start} {cols.stop - cols.start} {rows.stop - rows.start}"


@dataclass(frozen=True, eq=False)
class Weights:
    """Maps of the guides' weights in a prediction."""

    method: str
    band: str
    maps: tuple[Panel, ...]
    """In order of time."""
    guides: int
    """How many there are in all."""
    top: float
    """What the brightest colour stands for; the darkest is 0."""


def webp(colours: FloatArray, quality: int = QUALITY) -> str:
    """A picture (row, column, 3) of values 0–1 as the address that stands for it in a page, compressed."""
    pixels: ByteArray = np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    return "data:image/webp;base64," + base64.b64encode(encode(pixels, quality)).decode("ascii")


def views(
    results: Results, site: str, target: str, methods: Sequence[str], notes: Mapping[tuple[str, str], str]
) -> Views | None:
    """The pictures of a site and LR series at the date that is seen best; None if there are no samples.

    Parameters
    ----------
    methods
        In the order to be shown.
    notes
        What to write below a prediction, by date and method.
    """
    about = results.config.site(site)
    truth, low = results.sample(site, "reference"), results.sample(site, target, "target")
    if truth is None or low is None:
        return None
    entry = about.targets[target]
    for date, reference in _clearest(truth, low, entry):
        units = [Unit(site, target, date, STANDARD, m) for m in methods]
        found = {u.method: image for u in units if (image := results.prediction(u)) is not None}
        if not found:
            continue
        answer = truth.isel(time=reference)
        seen = low.isel(time=nearest(low, np.datetime64(date)))
        stretch = Stretch.of(answer)
        panels = [Panel("LR", _colours(stretch, seen), place_in(geobox(seen), geobox(answer)), date)]
        panels.append(
            Panel("reference", _colours(stretch, answer), place_in(geobox(answer), geobox(answer)), _day(answer))
        )
        errors = {m: error_of(image, answer) for m, image in found.items()}
        end = _end_of(list(errors.values()))
        panels += [
            Panel(
                m,
                _colours(stretch, image),
                place_in(geobox(image), geobox(answer)),
                notes.get((date, m), ""),
                error_colours(errors[m] / end),
            )
            for m, image in found.items()
        ]
        weights = tuple(w for m, image in found.items() if (w := _weights(m, image, date)) is not None)
        shape, window = geobox(answer).shape, busiest(answer, ZOOM)
        return Views(site, target, entry.ratio, date, (shape[0], shape[1]), window, tuple(panels), end, weights)
    return None


def _clearest(truth: xr.Dataset, low: xr.Dataset, entry: PlannedTarget) -> list[tuple[str, int]]:
    """Predicted dates with the position of their reference, those first of which most is seen in both images."""
    days = [str(t)[:10] for t in truth["time"].values]
    found = []
    for date in entry.dates:
        if (answer := entry.reference_of(date)) in days:
            place = days.index(answer)
            clear = float(truth["valid"].values[place].mean())
            clear *= float(low["valid"].values[nearest(low, np.datetime64(date))].mean())
            found.append((-round(clear, 2), abs(place - len(days) // 2), date, place))
    # Among dates as clear as each other, one in the middle, where guides lie on both sides.
    return [(date, place) for *_, date, place in sorted(found)]


def error_of(image: xr.Dataset, answer: xr.Dataset) -> FloatArray:
    """(y, x) prediction minus reference, mean over the bands; NaN where either is invalid."""
    apart = image["reflectance"].values - answer["reflectance"].values
    known = image["valid"].values & answer["valid"].values
    return np.where(known, apart.mean(axis=0), np.float32(np.nan)).astype(np.float32)


def _end_of(errors: Sequence[FloatArray]) -> float:
    """A round number that few errors of all predictions exceed."""
    sizes = np.abs(np.concatenate([e.ravel() for e in errors]))
    sizes = sizes[np.isfinite(sizes)]
    return round_up(float(np.percentile(sizes, COMMON))) if sizes.size else 0.1


def error_colours(shares: FloatArray) -> FloatArray:
    """(y, x, 3) blue for -1 over near white for 0 to red for 1; grey where unknown."""
    from matplotlib import colormaps

    drawn = colormaps["RdBu_r"](0.5 + 0.5 * np.clip(np.nan_to_num(shares), -1, 1))[..., :3]
    return np.where(np.isfinite(shares)[..., None], drawn, float(INVALID)).astype(np.float32)


def _day(image: xr.Dataset) -> str:
    return str(image["time"].values)[:10]


def _colours(stretch: Stretch, image: xr.Dataset) -> FloatArray:
    """(y, x, 3); grey where invalid."""
    drawn = stretch(image)
    return np.where(drawn[..., 3:] > 0, drawn[..., :3], np.float32(INVALID)).astype(np.float32)


def _weights(method: str, image: xr.Dataset, date: str) -> Weights | None:
    """The guides that weigh most, in order of time."""
    if "weight" not in image:
        return None
    names = [str(b) for b in image["band"].values]
    used = most_used(image["weight"], next((b for b in WEIGHED if b in names), ""), MAPS)
    known = np.nan_to_num(np.abs(used.weights))
    chosen = np.flatnonzero(known.any(axis=(1, 2)))
    if not chosen.size:
        return None
    top = float(np.percentile(known[chosen], 99)) or float(known.max())
    times = used.times.astype("datetime64[D]")
    rows, cols = known.shape[1:]
    maps = []
    for k in chosen:
        days = int((times[k] - np.datetime64(date, "D")).astype(int))
        told = f"{days:+d} days".replace("-", "−") + f" · mean {number(np.nan_to_num(used.weights[k]).mean(), 2)}"
        drawn = _viridis(used.weights[k] / top)
        maps.append(Panel(str(times[k]), drawn, (0, 0, cols, rows), told))
    return Weights(method, used.band, tuple(maps), used.count, top)


def _viridis(values: FloatArray) -> FloatArray:
    """(y, x, 3) colours of values 0–1; grey where unknown."""
    from matplotlib import colormaps

    drawn = colormaps["viridis"](np.clip(np.nan_to_num(values), 0, 1))[..., :3]
    return np.where(np.isfinite(values)[..., None], drawn, float(INVALID)).astype(np.float32)


def strata_views(results: Results, site: str) -> tuple[str, Panel, Panel] | None:
    """A reference beside its strata, with its date; None if there are no samples."""
    truth = results.sample(site, "reference")
    if truth is None or "stratum" not in truth:
        return None
    clear = truth["valid"].values.mean(axis=(1, 2)).round(2)
    middle = len(clear) // 2
    place = min(range(len(clear)), key=lambda k: (-clear[k], abs(k - middle)))
    image = truth.isel(time=place)
    box = place_in(geobox(image), geobox(image))
    reference = Panel("reference", _colours(Stretch.of(image), image), box, _day(image))
    return _day(image), reference, Panel("strata", strata_colours(image["stratum"].values), box)


def strata_colours(stratum: npt.NDArray[np.uint8]) -> FloatArray:
    """(y, x, 3) colours of numbered strata."""
    from matplotlib.colors import to_rgb

    table = np.array([to_rgb(NOTHING), *(to_rgb(ink) for ink, _ in STRATA.values())], np.float32)
    return np.asarray(table[np.clip(stratum, 0, len(STRATA))])


def views_figure(shown: Views, title: str) -> Figure:
    """All pictures of a date, each with its enlarged part and its error below."""
    from matplotlib.patches import Rectangle

    columns = min(len(shown.panels), 8)
    lines = math.ceil(len(shown.panels) / columns)
    rows, cols = shown.shape
    zoom = shown.zoom
    aspect = (rows / cols, (zoom[0].stop - zoom[0].start) / (zoom[1].stop - zoom[1].start))
    line = CAPTION + SIDE * (sum(aspect) + aspect[0]) + 3 * GAP
    wide, high = columns * (SIDE + GAP) + GAP, lines * line + 0.3
    figure = require_matplotlib()(figsize=(wide, high))
    figure.text(GAP / wide, 1 - 0.17 / high, title, fontsize=FONT + 1, weight="bold", va="center", parse_math=False)
    for k, panel in enumerate(shown.panels):
        left = GAP + (k % columns) * (SIDE + GAP)
        top = 0.3 + (k // columns) * line + CAPTION
        for part in range(2 if panel.error is None else 3):
            tall = SIDE * aspect[part % 2]
            place = (left / wide, 1 - (top + tall) / high, SIDE / wide, tall / high)
            axes = figure.add_axes(place, xticks=[], yticks=[], facecolor=INVALID)
            x, y, width, height = panel.box
            shown_here = panel.error if part == 2 and panel.error is not None else panel.colours
            axes.imshow(shown_here, extent=(x, x + width, y + height, y), interpolation="none", aspect="auto")
            axes.set(xlim=(0, cols), ylim=(rows, 0))
            if part == 1:
                axes.set(xlim=(zoom[1].start, zoom[1].stop), ylim=(zoom[0].stop, zoom[0].start))
            elif not part:
                axes.set_title(panel.name, fontsize=FONT, pad=2, parse_math=False)
                corner = zoom[1].start, zoom[0].start
                size = zoom[1].stop - zoom[1].start, zoom[0].stop - zoom[0].start
                axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.0))
            axes.spines[:].set_visible(False)
            top += tall + GAP
    return figure


def row_figure(panels: Sequence[Panel], shape: tuple[int, int], title: str) -> Figure:
    """Pictures of one window side by side."""
    rows, cols = shape
    tall = SIDE * rows / cols
    wide, high = max(len(panels) * (SIDE + GAP) + GAP, 4.0), tall + CAPTION + 0.36
    figure = require_matplotlib()(figsize=(wide, high))
    figure.text(GAP / wide, 1 - 0.17 / high, title, fontsize=FONT + 1, weight="bold", va="center", parse_math=False)
    for k, panel in enumerate(panels):
        place = ((GAP + k * (SIDE + GAP)) / wide, GAP / high, SIDE / wide, tall / high)
        axes = figure.add_axes(place, xticks=[], yticks=[])
        axes.imshow(panel.colours, interpolation="none", aspect="auto")
        axes.set_title(panel.name, fontsize=FONT, pad=2, color=colour("ink"), parse_math=False)
        axes.spines[:].set_visible(False)
    return figure
