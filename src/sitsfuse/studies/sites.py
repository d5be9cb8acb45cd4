"""The sites of a study: simulated ones without what the study adds, and copies of sites at other ratios or scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..core.series import geobox
from ..core.site import group
from ..errors import InputError
from ..operators.series import degrade
from ..readers import open_site, series_names
from ..runtime.progress import Progress
from ..simulator.sites import SITES, simulate_site
from ..writers import write_site

RATIO, SCALE = "ratio", "scale"
"""Studies whose levels are sites or LR series of their own, not disturbances of one."""
RATIOS = (1.5, 2.5, 4.0, 5.0, 8.0, 10.0)
"""Ratios that are tried."""
SCALES = (1.0, 2.0, 3.0)
"""By how much pixels, HR and LR, are enlarged: the land looks finer."""
DENSE = 5
"""Days between the guides of simulated sites of the study of the revisit."""
CLEAN: Mapping[str, Mapping[str, Any]] = {
    "revisit": {},
    "registration": {"guide_shift": 0.0, "target_shift": 0.0},
    "radiometry": {"gain": 0.0, "offset": 0.0},
    "clouds": {"cloud_cover": 0.0, "missed_clouds": 0.0},
    "noise": {"guide_noise": 0.0, "target_noise": 0.0},
    RATIO: {},
    SCALE: {},
}
"""Options of the simulation that take out what a study adds, by study."""


def check_simulated(names: Sequence[str]) -> None:
    """Raise :class:`InputError` if one of these is not among the simulated sites."""
    for name in names:
        if name not in SITES:
            raise InputError(f"site {name!r}", "is not among the simulated sites", f"choose among {', '.join(SITES)}")


def simulate_for(kind: str, size: int, name: str) -> xr.DataTree:
    """A simulated site without what a study adds."""
    changes: dict[str, Any] = dict(CLEAN[kind])
    ratios = RATIOS if kind == RATIO else (5.0,)
    if kind == "revisit":
        config = SITES[name].config
        span = (config.guides - 1) * config.guide_revisit
        changes |= {"guide_revisit": DENSE, "guides": span // DENSE + 1, "target_revisit": 3}
    return simulate_site(name, size=size, ratios=ratios, **changes)


def at_ratios(site: xr.DataTree, ratios: Sequence[float]) -> xr.DataTree:
    """A site whose LR series are its references degraded to several ratios."""
    reference = group(site, "reference")
    groups = {"guide": group(site, "guide"), "reference": reference}
    groups |= {f"target_x{r:g}": degrade(reference, coarser(geobox(reference), r)) for r in ratios}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update({k: v for k, v in site.attrs.items() if k != "ratio"})
    return tree


def at_scale(site: xr.DataTree, factor: float) -> xr.DataTree:
    """A site as sensors with pixels ``factor`` times as large see it: all its series degraded."""
    if factor == 1:
        return site
    tree = xr.DataTree.from_dict(
        {str(n): degrade(group(site, str(n)), coarser(geobox(group(site, str(n))), factor)) for n in site.children}
    )
    tree.attrs.update(site.attrs)
    return tree


def first_target(path: Path) -> str:
    """The name of the first LR series of a site."""
    return next((n for n in series_names(path) if n.startswith("target")), "target")


def _series_of(path: Path) -> xr.DataTree:
    """Guides, the first LR series and references of a site, in memory."""
    tree: xr.DataTree = open_site(path, first_target(path)).load()
    return tree


def coarser(box: GeoBox, factor: float) -> GeoBox:
    """A grid of pixels ``factor`` times as large that begins at the same corner and lies within."""
    shape = tuple(max(1, int(np.floor(n / factor + 1e-6))) for n in box.shape)
    return GeoBox((shape[0], shape[1]), box.affine * Affine.scale(factor), box.crs)


def derived(
    kind: str, paths: Sequence[Path], levels: Sequence[float], folder: Path, report: Progress
) -> dict[Path, tuple[str, float]]:
    """The sites that stand for the levels of a study of the ratio or the scale: of which site, and their level.

    Of the ratio it is one site per site; its LR series tell their level.
    """
    found: dict[Path, tuple[str, float]] = {}
    for k, path in enumerate(paths):
        report("derive", k, len(paths))
        name = path.resolve().name.removesuffix(".zarr")
        for factor in levels if kind == SCALE else (1.0,):
            made = folder / "derived" / (f"{name}@{factor:g}.zarr" if kind == SCALE else f"{name}.zarr")
            if not made.is_dir():
                site = _series_of(path)
                write_site(at_scale(site, factor) if kind == SCALE else at_ratios(site, levels), made)
            found[made] = name, factor
    report("derive", len(paths), len(paths))
    return found
