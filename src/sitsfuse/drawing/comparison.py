"""One figure of a prediction: what the LR sensor saw, what was predicted, the truth, the error and the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..core.checks import check_same_grid, match_bands
from ..core.grid import Window
from ..core.series import geobox
from ..errors import InputError
from .figures import require_matplotlib
from .furniture import FONT, corners, frame, in_lower_left, outline, scale_bar, shape_of, unit_of
from .stretch import Stretch, absolute_error, busiest
from .weights import MAPS, Maps, most_used

if TYPE_CHECKING:
    from matplotlib.figure import Figure


WIDTH, MARGIN, BAR, GAP = 11.0, 0.34, 0.92, 0.08
"""Width of the figure, left margin, right margin with the colour bars, and gaps; in inches."""
HEAD, TITLE = 0.42, 0.30
"""Height of the figure's heading and of a row of titles, in inches."""


def draw_comparison(
    lr: xr.Dataset,
    prediction: xr.Dataset,
    truth: xr.Dataset | None = None,
    weights: xr.DataArray | None = None,
    *,
    path: str | Path,
    dpi: int = 110,
    **options: Any,
) -> Path:
    """Draw :func:`comparison` to a file; its type is that of the suffix (png, pdf, svg).

    Returns
    -------
    pathlib.Path
        ``path``.

    Raises
    ------
    InputError
        As :func:`comparison`, or if the file cannot be written.
    """
    figure, path = comparison(lr, prediction, truth, weights, **options), Path(path)
    # Under another name first: what has its final name is complete.
    draft = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(draft, dpi=dpi)
        draft.replace(path)
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror or error})", "choose another place") from error
    except ValueError as error:
        raise InputError(path, f"is not a known kind of picture ({error})", "name it .png, .pdf or .svg") from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def comparison(
    lr: xr.Dataset,
    prediction: xr.Dataset,
    truth: xr.Dataset | None = None,
    weights: xr.DataArray | None = None,
    *,
    method: str = "prediction",
    title: str = "",
    weight_band: str = "green",
    zoom: Window | None = None,
) -> Figure:
    """Compare images of one date.

    Parameters
    ----------
    lr
        ``reflectance(band, y, x)`` and ``valid(y, x)`` of the LR image; drawn pixel by pixel.
    prediction
        The same of the predicted HR image.
    truth
        The same of an HR image to compare with, on the prediction's grid; without it there is no error panel.
    weights
        (guide_time, y, x) or (guide_time, band, y, x) weights of the guides, on the prediction's grid.
    method
        What to call the prediction.
    title
        Heading, behind the date.
    weight_band
        Band whose weights are drawn, if ``weights`` has bands; the first one if it is not there.
    zoom
        Rows and columns of the HR image to enlarge; by default the square with the strongest edges.

    Returns
    -------
    matplotlib.figure.Figure
        A row of whole images and a row of enlarged ones, all with one stretch: LR, prediction, truth and the absolute
        error, mean over the bands. Below, the weights of the guides that weigh most. Colour where three bands make a
        colour image, else the first band in grey. Invalid pixels are grey.

    Raises
    ------
    InputError
        If matplotlib is missing, or an image is not of one date, has other bands or lies on another grid.
    """
    figure_class = require_matplotlib()
    shown = {"Low resolution": lr, f"Predicted: {method}": prediction} | ({} if truth is None else {"Truth": truth})
    for name, image in shown.items():
        _check(name, image, prediction)
    if truth is not None:
        check_same_grid(prediction, truth, "truth")
    shown = {name: match_bands(image, prediction, name) for name, image in shown.items()}
    stretch = Stretch.of(prediction if truth is None else shown["Truth"])
    zoom = zoom or busiest(prediction if truth is None else truth)
    maps = None if weights is None else most_used(weights, weight_band)

    rows, cols = geobox(prediction).shape
    columns = len(shown) + (truth is not None)
    page = _Page(columns, rows / cols, shape_of(zoom), 0 if maps is None else len(maps.weights))
    figure = figure_class(figsize=(WIDTH, page.height), facecolor="white")
    heading = " · ".join(part for part in (_date(prediction), title) if part)
    figure.text(MARGIN / WIDTH, 1 - 0.27 / page.height, heading, fontsize=FONT + 2, weight="bold", va="center")
    for column, (name, image) in enumerate(shown.items()):
        pixel = abs(geobox(image).affine.a)
        whole, part = (figure.add_axes(page.panel(row, column)) for row in (0, 1))
        for axes, window in ((whole, None), (part, zoom)):
            axes.imshow(stretch(image), extent=corners(image), interpolation=_how(image, prediction, window))
            frame(axes, prediction, window)
        unit = unit_of(prediction)
        whole.set_title(f"{name}, {pixel:g} {unit}" if unit else name, fontsize=FONT)
        outline(whole, prediction, zoom)
        if not column:
            scale_bar(whole, prediction, None, on_right=in_lower_left(zoom, rows, cols))
            scale_bar(part, prediction, zoom)
            part.set_ylabel("enlarged", fontsize=FONT)
    if truth is not None:
        _draw_error(figure, page, columns - 1, prediction, shown["Truth"], zoom)
    if maps is not None:
        _draw_weights(figure, page, maps, prediction)
    return figure


@dataclass(frozen=True)
class _Page:
    """Places of the panels: two rows of images, and one of weights below."""

    columns: int
    aspect: float
    """Height over width of a whole image."""
    zoom_aspect: float
    maps: int
    """Number of maps of weights."""

    @property
    def _sides(self) -> tuple[float, float]:
        """Widths of an image and of a map of weights, in inches."""
        free = WIDTH - MARGIN - BAR
        maps = max(self.maps, self.columns)
        return (free - (self.columns - 1) * GAP) / self.columns, (free - (maps - 1) * GAP) / maps

    @property
    def _tops(self) -> tuple[float, float, float]:
        """Distances of the three rows from the top, in inches."""
        whole = HEAD + TITLE
        part = whole + self._sides[0] * self.aspect + GAP
        return whole, part, part + self._sides[0] * self.zoom_aspect + 2 * TITLE + GAP

    @property
    def height(self) -> float:
        """Height of the figure, in inches."""
        end = self._tops[2] + self._sides[1] * self.aspect if self.maps else self._tops[2] - 2 * TITLE - GAP
        return end + 0.15

    def panel(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height as shares of the figure."""
        side = self._sides[row == 2]
        high = side * (self.zoom_aspect if row == 1 else self.aspect)
        return self._box(MARGIN + column * (side + GAP), self._tops[row], side, high)

    def bar(self, first: int, last: int) -> tuple[float, float, float, float]:
        """Place of a colour bar beside some rows."""
        high = self._tops[last] - self._tops[first]
        high += self._sides[last == 2] * (self.zoom_aspect if last == 1 else self.aspect)
        return self._box(WIDTH - BAR + 0.1, self._tops[first], 0.14, high)

    def _box(self, left: float, top: float, wide: float, high: float) -> tuple[float, float, float, float]:
        return left / WIDTH, 1 - (top + high) / self.height, wide / WIDTH, high / self.height


def _draw_error(
    figure: Figure, page: _Page, column: int, prediction: xr.Dataset, truth: xr.Dataset, zoom: Window
) -> None:
    error = absolute_error(prediction, truth)
    known = error[np.isfinite(error)]
    most = float(np.percentile(known, 98)) if known.size else 1.0
    drawn: Any = None
    for row, window in enumerate((None, zoom)):
        axes = figure.add_axes(page.panel(row, column))
        drawn = axes.imshow(
            error,
            extent=corners(prediction),
            interpolation=_how(prediction, prediction, window),
            cmap="cividis",
            vmin=0,
            vmax=max(most, 1e-6),
        )
        frame(axes, prediction, window)
        if window is None:
            axes.set_title("Absolute error", fontsize=FONT)
            outline(axes, prediction, zoom)
    count = prediction.sizes["band"]
    bar = figure.colorbar(drawn, cax=figure.add_axes(page.bar(0, 1)), extend="max")
    mean = f", mean of {count} bands" if count > 1 else ""
    bar.set_label(f"abs. error [reflectance]{mean}", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)


def _draw_weights(figure: Figure, page: _Page, maps: Maps, prediction: xr.Dataset) -> None:
    known = maps.weights[np.isfinite(maps.weights)]
    low, high = np.percentile(known, (1, 99)) if known.size else (0.0, 1.0)
    low = min(float(low), 0.0)
    drawn: Any = None
    for i, (weights, time) in enumerate(zip(maps.weights, maps.times, strict=True)):
        axes = figure.add_axes(page.panel(2, i))
        drawn = axes.imshow(
            weights,
            extent=corners(prediction),
            interpolation="antialiased",
            cmap="viridis",
            vmin=low,
            vmax=max(float(high), low + 1e-6),
        )
        frame(axes, prediction, None)
        axes.set_title(f"{str(time)[:10]}{_days(time, prediction)}", fontsize=FONT - 1, pad=4)
    left, bottom, _, high_ = page.panel(2, 0)
    of = f" in the {maps.band} band" if maps.band else ""
    which = f"the {len(maps.weights)} of {maps.count} guides that weigh most" if maps.count > MAPS else "the guides"
    text = f"Weights{of} of {which} (days from the date predicted); 0 under clouds"
    figure.text(left, bottom + high_ + 0.40 / page.height, text, fontsize=FONT, weight="bold", va="center")
    extend = "both" if low < 0 else "max"
    bar = figure.colorbar(drawn, cax=figure.add_axes(page.bar(2, 2)), extend=extend)
    bar.set_label("weight", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT - 1)


def _check(name: str, image: xr.Dataset, like: xr.Dataset) -> None:
    """Raise :class:`InputError` unless this is an image of one date in the prediction's CRS."""
    for variable, dims in (("reflectance", {"band", "y", "x"}), ("valid", {"y", "x"})):
        if variable not in image or set(image[variable].dims) != dims:
            what = f"is not an image of one date ({variable} needs {sorted(dims)})"
            raise InputError(name, what, "choose isel(time=0)")
    if geobox(image).crs != geobox(like).crs:
        raise InputError(name, "has another CRS than the prediction", "reproject it")


def _how(image: xr.Dataset, prediction: xr.Dataset, window: Window | None) -> str:
    """HR pixels are averaged where they are smaller than the screen's, all others are shown as they are."""
    return "antialiased" if window is None and geobox(image).shape == geobox(prediction).shape else "nearest"


def _date(image: xr.Dataset) -> str:
    return str(image["time"].values)[:10] if "time" in image.coords else ""


def _days(time: np.datetime64, prediction: xr.Dataset) -> str:
    """How far a guide lies from the date predicted."""
    if "time" not in prediction.coords:
        return ""
    days = (time.astype("datetime64[D]") - prediction["time"].values.astype("datetime64[D]")).astype(int)
    return f" ({days:+d})".replace("-", "−")
