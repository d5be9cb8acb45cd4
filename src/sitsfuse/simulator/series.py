"""The series of a scene: guides, LR images and the truth, eager or lazy."""

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

from ..core.series import make_series
from .land.covers import BANDS
from .scene import Scene

LARGEST_EAGER = 1024
"""Size in HR pixels above which the images are dask arrays, rendered when they are asked for."""


def guide_series(scene: Scene, lazy: bool | None) -> xr.Dataset:
    """The guides; ``shift_x`` and ``shift_y`` give the true displacement of what an image shows, in metres."""
    c = scene.config
    guide = _series(scene, scene.pair.hr, c.guide_days, scene.guide, scene.guide_valid, lazy, "simulated HR")
    return _displaced(guide, scene.guide_shift * c.pixel)


def target_series(scene: Scene, lazy: bool | None) -> xr.Dataset:
    """The LR images; ``gain`` and ``offset`` give ``seen = gain * true + offset``."""
    c = scene.config
    gain, offset = scene.calibration
    target = _series(scene, scene.pair.lr, c.target_days, scene.target, scene.target_valid, lazy, "simulated LR")
    target = _displaced(target, scene.target_shift * c.pixel)
    target = target.assign_coords(gain=(("time", "band"), gain), offset=(("time", "band"), offset))
    target.attrs["mtf"] = [c.target_mtf] * len(BANDS)
    return target


def reference_series(scene: Scene, lazy: bool | None) -> xr.Dataset:
    """The true HR image at each LR date, all valid."""
    days = scene.config.target_days
    return _series(scene, scene.pair.hr, days, scene.reference, scene.all_valid, lazy, "simulated truth")


def _series(
    scene: Scene,
    box: GeoBox,
    days: list[int],
    image: Callable[[int], npt.NDArray[np.float32]],
    valid: Callable[[int], npt.NDArray[np.bool_]],
    lazy: bool | None,
    sensor: str,
) -> xr.Dataset:
    """A series of one image per day."""
    shape = (box.shape[0], box.shape[1])
    count = len(days)
    values: Any
    masks: Any
    if lazy is None:
        lazy = scene.config.size > LARGEST_EAGER
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
