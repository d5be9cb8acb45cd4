"""What a run records: everything that its result depends on, and what was chosen for each date."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox

from ..core.site import SiteLayout, group
from ..methods import Method, Predictor
from ..version import __version__
from .inputs import Inputs, made_of
from .outputs.layout import Layout


def record_of(layout: Layout, date: int, predictor: Predictor, inputs: Inputs) -> dict[str, Any]:
    """What is kept of one date: the images it was made of, and what the method chose (JSON-safe)."""
    return {
        "interpolated": layout.interpolated[date],
        "guides": [str(t)[:10] for t in predictor.guides],
        "targets": [str(t)[:10] for t in predictor.targets],
        "choices": dict(predictor.choices),
        "inputs": made_of(inputs, predictor),
    }


def configuration_of(
    site: xr.DataTree, known: SiteLayout, method: Method, times: npt.NDArray[np.datetime64]
) -> dict[str, Any]:
    """Everything that the result depends on, for the provenance and to recognise the run."""
    guide, target = group(site, "guide"), group(site, "target")
    return {
        "version": __version__,
        "method": method.name,
        "options": json.loads(json.dumps(dataclasses.asdict(method))),  # type: ignore[call-overload]
        "site": str(site.attrs.get("name", "")),
        "ratio": known.ratio,
        "bands": list(known.bands),
        "grids": [_grid(known.grids.hr), _grid(known.grids.lr)],
        "guides": _inputs(guide),
        "targets": _inputs(target),
        "mtf": list(known.mtf),
        "dates": [str(t)[:10] for t in times],
    }


def _grid(box: GeoBox) -> str:
    epsg = None if box.crs is None else box.crs.to_epsg()
    place = " ".join(f"{v:.12g}" for v in box.affine[:6])
    return f"{f'EPSG:{epsg}' if epsg else box.crs} {box.shape[0]}x{box.shape[1]} {place}"


def _inputs(series: xr.Dataset) -> list[str]:
    """The images of a series: products where known, else dates."""
    if "product" in series.coords:
        return [str(p) for p in series["product"].values]
    return [str(t)[:19] for t in series["time"].values]
