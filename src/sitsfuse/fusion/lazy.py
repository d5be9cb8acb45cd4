"""A prediction that is computed when it is asked for: a dask graph whose chunks are the tiles."""

from __future__ import annotations

import json
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from ..core.series import make_series
from ..core.site import SiteLayout
from ..core.tiling import TileWindow, tiles
from ..errors import InputError
from ..methods import Method, Predictor, Study
from ..runtime import threads
from .outputs.layout import Layout
from .run import fit_date, predict_window

da: Any = dask.array
"""Whose functions have no types."""


def lazy_prediction(site: xr.DataTree, known: SiteLayout, method: Method, layout: Layout) -> xr.Dataset:
    """A series of predictions of which nothing is computed yet.

    Parameters
    ----------
    site, known
        What is fused; in memory or lazy, and then read tile by tile.
    method
        How.
    layout
        What the series holds.

    Returns
    -------
    xarray.Dataset
        As an output in memory, of dask arrays with a chunk per date and tile. The method studies the site once per
        graph that is computed, and a date once.
    """
    windows = list(tiles(known.grids, layout.tile, method.halo(known.grids.ratio)))
    work = _Work(site, known, method, windows, layout.weights)
    # The work as a whole goes into the graph: dask would compute the lazy series in it.
    study = delayed(work.study, pure=False)()
    image = ("time", "band", "y", "x")
    variables: dict[str, tuple[tuple[str, ...], tuple[int, ...], npt.DTypeLike]] = {
        "reflectance": (image, (len(layout.bands),), np.float32),
        "uncertainty": (image, (len(layout.bands),), np.float32),
        "valid": (("time", "y", "x"), (), bool),
        "filled": (("time", "y", "x"), (), bool),
    }
    if layout.weights:
        lead = len(layout.guides), len(layout.bands)
        variables["weight"] = ("time", "guide_time", "band", "y", "x"), lead, np.float32
    found: dict[str, list[Any]] = {name: [] for name in variables}
    for time in layout.times:
        predictor = delayed(work.fit, pure=False)(study, time)
        parts = [delayed(work.predict, pure=False)(predictor, index) for index in range(len(windows))]
        for name, (_, outer, dtype) in variables.items():
            found[name].append(_assembled(parts, windows, name, outer, dtype))
    arrays = {name: da.stack(parts) for name, parts in found.items()}
    attrs = {"provenance": json.dumps(layout.config)}
    made = make_series(arrays["reflectance"], arrays["valid"], layout.times, layout.bands, layout.box, attrs)
    made = made.assign_coords(interpolated=("time", np.array(layout.interpolated)))
    if layout.weights:
        made = made.assign_coords(guide_time=layout.guides)
    return made.assign({name: (variables[name][0], arrays[name]) for name in variables if name not in made})


class _Work:
    """What the tasks of a graph do; not a dataclass, in which dask would look for what to compute."""

    def __init__(
        self, site: xr.DataTree, known: SiteLayout, method: Method, windows: list[TileWindow], weights: bool
    ) -> None:
        self.site, self.known, self.method, self.windows = site, known, method, windows
        self.asked = frozenset({"weight"} if weights else ())

    def study(self) -> Study:
        """What depends on guides and LR series alone."""
        threads.bound()
        return self.method.study(self.site)

    def fit(self, study: Study, date: np.datetime64) -> Predictor:
        """Prepare a date."""
        threads.bound()
        return fit_date(study, date)

    def predict(self, predictor: Predictor, index: int) -> dict[str, npt.NDArray[Any]]:
        """A tile, by variable."""
        threads.bound()
        image = predict_window(predictor, self.site, self.known, self.windows[index], self.asked)
        if self.asked - set(image):
            raise InputError("`weights`", "the method has no weights of guides", "leave `weights` out or use ddi")
        return {str(name): variable.values for name, variable in image.data_vars.items()}


def _assembled(
    parts: list[Any], windows: list[TileWindow], name: str, lead: tuple[int, ...], dtype: npt.DTypeLike
) -> Any:
    """The tiles of a date as one array: (…, y, x)."""
    rows: dict[int, list[Any]] = {}
    for part, window in zip(parts, windows, strict=True):
        shape = *lead, *(span.stop - span.start for span in window.core)
        rows.setdefault(window.core[0].start, []).append(da.from_delayed(part[name], shape, dtype))
    return da.concatenate([da.concatenate(row, axis=-1) for row in rows.values()], axis=-2)
