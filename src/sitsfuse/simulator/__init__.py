"""Simulated sites: scenes with a known truth at every date, seen by two sensors.

The land has parcels with the seasons of their crops, abrupt harvests and cuts, hedges, woods, roads, water and
hamlets. The HR sensor sees it rarely, the LR sensor often, each with its own PSF, noise, misregistration and clouds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import tokenize
from dask.delayed import delayed
from odc.geo.geobox import GeoBox

from ..errors import InputError
from ..series import make_series, make_site
from .config import SimulationConfig
from .phenology import BANDS
from .scene import Scene, make_scene

__all__ = ["LARGEST_EAGER", "SimulationConfig", "simulate"]

LARGEST_EAGER = 1024
"""Size in HR pixels above which the images are dask arrays, rendered when they are asked for."""


def simulate(config: SimulationConfig | None = None, *, lazy: bool | None = None, **changes: Any) -> xr.DataTree:
    """Simulate a site with a known truth.

    Parameters
    ----------
    config
        The options; the defaults if None.
    lazy
        Whether the images are dask arrays with one chunk per date, rendered when asked for; if None, above
        1024 × 1024 pixels. The numbers are the same.
    **changes
        Options that differ from ``config``, by name.

    Returns
    -------
    xarray.DataTree
        With the groups ``guide`` and ``target`` as the sensors see them (values stay under the clouds) and
        ``reference``, the true HR image at each LR date, all valid. Coordinates ``shift_x`` and ``shift_y`` of guide
        and target give the true displacement of what an image shows, in metres along x and y; ``gain`` and
        ``offset`` of the target give ``seen = gain * true + offset``.

    Raises
    ------
    InputError
        If an option is unknown or makes no sense.

    Notes
    -----
    ``target == gain * down(reference) + offset`` where there are no clouds, noise or displacement.

    Examples
    --------
    >>> site = simulate(size=64, guides=3, targets=2)
    >>> dict(site["guide"].sizes)
    {'time': 3, 'band': 4, 'y': 64, 'x': 64}
    """
    known = {field.name for field in dataclasses.fields(SimulationConfig)}
    for name in changes:
        if name not in known:
            raise InputError(name, "is no option of the simulation", f"choose among {', '.join(sorted(known))}")
    config = dataclasses.replace(config or SimulationConfig(), **changes)
    scene = make_scene(config)
    if lazy is None:
        lazy = config.size > LARGEST_EAGER
    pair = scene.pair
    gain, offset = scene.calibration
    guide = _series(scene, pair.hr, config.guide_days, scene.guide, scene.guide_valid, lazy, "simulated HR")
    target = _series(scene, pair.lr, config.target_days, scene.target, scene.target_valid, lazy, "simulated LR")
    reference = _series(scene, pair.hr, config.target_days, scene.reference, scene.all_valid, lazy, "simulated truth")
    guide = _displaced(guide, scene.guide_shift * config.pixel)
    target = _displaced(target, scene.target_shift * config.pixel)
    target = target.assign_coords(gain=(("time", "band"), gain), offset=(("time", "band"), offset))
    target.attrs["mtf"] = [config.target_mtf] * len(BANDS)
    name = f"simulated-{config.seed}"
    return make_site(guide, target, reference, name=name, landscape="simulated farmland", location="nowhere")


def _series(
    scene: Scene,
    box: GeoBox,
    days: list[int],
    image: Callable[[int], npt.NDArray[np.float32]],
    valid: Callable[[int], npt.NDArray[np.bool_]],
    lazy: bool,
    sensor: str,
) -> xr.Dataset:
    """A series of one image per day."""
    shape = (box.shape[0], box.shape[1])
    count = len(days)
    values: Any
    masks: Any
    if lazy:
        values = _lazily(scene, image, count, (len(BANDS), *shape), np.float32)
        masks = _lazily(scene, valid, count, shape, bool)
    else:
        values, masks = np.stack([image(i) for i in range(count)]), np.stack([valid(i) for i in range(count)])
    attrs = {
        "sensor": sensor,
        "mtf": [scene.config.guide_mtf] * len(BANDS),
        "history": "simulated",
        "provenance": json.dumps({"simulation": dataclasses.asdict(scene.config)}),
    }
    times = np.datetime64(scene.config.start, "D") + np.array(days, "timedelta64[D]")
    return make_series(values, masks, times, BANDS, box, attrs)


def _lazily(
    scene: Scene, method: Callable[[int], npt.NDArray[Any]], count: int, shape: tuple[int, ...], dtype: type
) -> da.Array:
    """Stack ``method(0)``, ``method(1)`` … as dask chunks that share the scene."""
    shared = delayed(scene, name=f"scene-{tokenize(dataclasses.asdict(scene.config))}", traverse=False)
    render = delayed(_render, pure=True)
    images = [da.from_delayed(render(shared, method.__name__, i), shape, dtype) for i in range(count)]  # type: ignore[no-untyped-call]
    stacked: da.Array = da.stack(images)  # type: ignore[no-untyped-call]
    return stacked


def _render(scene: Scene, method: str, index: int) -> npt.NDArray[Any]:
    image: npt.NDArray[Any] = getattr(scene, method)(index)
    return image


def _displaced(series: xr.Dataset, shift: npt.NDArray[np.float64]) -> xr.Dataset:
    """The series with the true displacements as coordinates: (time, 2) metres towards higher rows and columns."""
    return series.assign_coords(
        shift_x=("time", shift[:, 1], {"units": "m", "long_name": "true displacement along x"}),
        shift_y=("time", -shift[:, 0], {"units": "m", "long_name": "true displacement along y"}),
    )
