"""Simulated sites: scenes with a known truth at every date, seen by two sensors.

Farmland has parcels with the seasons of their crops, abrupt harvests and cuts, hedges, woods, roads, water and
hamlets; mountains, desert, mixed and agricultural land and towns can be had as well. The HR sensor sees the land
rarely, the LR sensor often, each with its own PSF, noise, misregistration and clouds.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from ..core.options import altered
from ..core.site import make_site
from .config import SimulationConfig
from .scene import make_scene
from .series import guide_series, reference_series, target_series
from .sites import SITES, SimulatedSite, simulate_site

__all__ = ["SITES", "SimulatedSite", "SimulationConfig", "simulate", "simulate_site"]


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
    config = altered(config or SimulationConfig(), changes, "a simulation")
    scene = make_scene(config)
    return make_site(
        guide_series(scene, lazy),
        target_series(scene, lazy),
        reference_series(scene, lazy),
        name=f"simulated-{config.seed}",
        landscape=f"simulated {config.landscape}",
        location="nowhere",
    )
