"""``ds.sitsfuse``: what one looks at first, from a series itself.

xarray knows it once a function of sitsfuse was reached, or at `import sitsfuse` where xarray was imported before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEAD = 4.2, 0.34
"""Width of a panel and height of its title, in inches."""


@xr.register_dataset_accessor("sitsfuse")  # type: ignore[no-untyped-call]
class SeriesAccessor:
    """Pictures and weights of a series, as ``series.sitsfuse``.

    Parameters
    ----------
    series
        As :func:`sitsfuse.open_series` and :func:`sitsfuse.fuse` give it.
    """

    def __init__(self, series: xr.Dataset) -> None:
        self._series = series

    def plot(self, date: Any = None) -> Figure:
        """Draw the image of a date, in colour where three bands make a colour image.

        Parameters
        ----------
        date
            ``"2020-06-15"``, a datetime or a datetime64; needed where there are several.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``figure.savefig("image.png")`` keeps it. Invalid pixels are grey.

        Raises
        ------
        InputError
            If it is not a series, has no image of the date, or matplotlib is missing.
        """
        from .stretch import Stretch

        image = _at(self._series, date)
        return _panels([(_day(image), Stretch.of(image)(image))], image)

    def compare(self, other: xr.Dataset, date: Any = None) -> Figure:
        """Draw the images of a date beside those of another series, with one stretch.

        Parameters
        ----------
        other
            On the same grid, such as a reference: the mean absolute error over the bands is drawn, too. On another
            grid, such as the LR series: what is seen is enlarged, and the guides' weights, if there are any.
        date
            As for :meth:`plot`.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            If either is not a series or has no image of the date, they share no bands, or matplotlib is missing.
        """
        from ..core.checks import match_bands
        from ..core.grid import same_grid
        from ..core.series import geobox
        from .comparison import comparison
        from .stretch import Stretch, absolute_error

        image = _at(self._series, date)
        with_it = match_bands(_at(other, image["time"].values, "other"), image, "other")
        if not same_grid(geobox(image), geobox(with_it)):
            return comparison(with_it, image, weights=image.get("weight"))
        stretch = Stretch.of(with_it)
        error = absolute_error(image, with_it)
        title = f"Mean absolute error {np.nanmean(error):.4f}" if np.isfinite(error).any() else "No pixel in common"
        return _panels([(_day(image), stretch(image)), ("Other", stretch(with_it)), (title, error)], image)

    @property
    def weights(self) -> xr.DataArray:
        """(time, guide_time) mean absolute weight of each guide, over the bands and pixels that have one; lazy.

        Raises
        ------
        InputError
            If the series holds no weights.
        """
        if "weight" not in self._series:
            raise InputError("series", "holds no weights", "fuse with `weights=True` and a method that gives them")
        weight = self._series["weight"]
        mean = abs(weight).mean([d for d in weight.dims if d not in ("time", "guide_time")], skipna=True)
        return mean.rename("mean absolute weight")


def _at(series: Any, date: Any, where: str = "series") -> xr.Dataset:
    """The image of a date, of a checked series."""
    from ..core.checks import check
    from ..core.dates import index_of

    times = check(series, where)["time"].values
    shown = ", ".join(str(t)[:10] for t in times[:6]) + " …" * (len(times) > 6)
    if date is None:
        if len(times) > 1:
            raise InputError("`date`", "is needed", f"choose one of {shown}")
        return series.isel(time=0)  # type: ignore[no-any-return]
    try:
        day = np.datetime64(date, "D")
    except (ValueError, TypeError):
        raise InputError("`date`", f"{date!r} is not a date", "write it as 2020-06-15") from None
    found = index_of(series, day)
    if found is None:
        raise InputError(where, f"has no image of {day}", f"choose one of {shown}")
    return series.isel(time=found)  # type: ignore[no-any-return]


def _day(image: xr.Dataset) -> str:
    return str(image["time"].values)[:10]


def _panels(panels: list[tuple[str, Any]], like: xr.Dataset) -> Figure:
    """Pictures (y, x, 4), and maps (y, x) with a colour bar, side by side."""
    from .figures import require_matplotlib
    from .furniture import FONT, corners, frame, scale_bar

    figure_class = require_matplotlib()
    rows, cols = like["valid"].shape
    size = (WIDTH * len(panels), WIDTH * rows / cols + HEAD)
    figure = figure_class(figsize=size, facecolor="white", layout="constrained")
    for n, (title, picture) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), n + 1)
        drawn = axes.imshow(picture, extent=corners(like), interpolation="nearest", cmap="magma", vmin=0)
        frame(axes, like, None)
        axes.set_aspect("equal")
        axes.set_title(title, fontsize=FONT)
        if picture.ndim == 2:
            figure.colorbar(drawn, ax=axes)
        if not n:
            scale_bar(axes, like, None)
    return figure
