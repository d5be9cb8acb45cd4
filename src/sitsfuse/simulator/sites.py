"""Six simulated sites in the image of those on which fusion for Sentinel-HR was first judged.

Their kinds of land, dates and numbers of images are those of the real sites; what they show is made up.

References
----------
J. Michel et al., "Sentinel-2 data at 2m every 2 days: Assessment of spatio-temporal fusion algorithms between the
Sentinel-HR and Sentinel-2 (NG) missions", Living Planet Symposium (2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from ..core.options import altered
from ..errors import InputError
from .config import SimulationConfig
from .scene import make_scene
from .series import guide_series, reference_series, target_series


@dataclass(frozen=True)
class SimulatedSite:
    """A site of the benchmark, simulated."""

    name: str
    """Name; it says that the site is simulated."""
    landscape: str
    """Landscape of the real site."""
    location: str
    """Country of the real site."""
    config: SimulationConfig
    """Options of the simulation but for the size and the ratio."""


def _site(
    name: str, landscape: str, location: str, land: str, seed: int, start: str, revisit: int, guides: int, targets: int,
    cloud_cover: float,
) -> SimulatedSite:  # fmt: skip
    config = SimulationConfig(
        landscape=land, seed=seed, start=start, guide_revisit=revisit, guides=guides, targets=targets,
        cloud_cover=cloud_cover,
    )  # fmt: skip
    return SimulatedSite(f"simulated {name}", landscape, location, config)


SITES: Mapping[str, SimulatedSite] = {
    "sudoe-4": _site("SUDOE-4", "mountains", "France", "mountains", 8, "2019-07-10", 20, 10, 14, 0.30),
    "mad-ambo": _site("MAD-AMBO", "desert", "Madagascar", "desert", 6, "2018-11-16", 26, 17, 39, 0.08),
    "fr-lq1": _site("FR-LQ1", "mixed", "France", "mixed", 5, "2020-04-14", 22, 9, 27, 0.25),
    "fr-bil": _site("FR-BIL", "agricultural, urban", "France", "urban", 7, "2020-03-14", 22, 12, 16, 0.25),
    "arm": _site("ARM", "agricultural", "USA", "agricultural", 11, "2019-03-14", 20, 16, 23, 0.20),
    "esgisb-2": _site("ESGISB-2", "agricultural, urban", "France", "urban", 3, "2018-11-12", 20, 10, 14, 0.35),
}
"""The six, by the real sites' names. A guide comes about every 20 days (every 26 days in Madagascar, where 17 guides
span 14 months), an LR image on multiples of five days; clouds are as frequent as the climate has it."""


def simulate_site(
    name: str,
    *,
    size: int = 400,
    ratios: Sequence[float] = (5.0, 2.5),
    targets: int | None = None,
    lazy: bool | None = None,
    **changes: Any,
) -> xr.DataTree:
    """Simulate one of the six sites, with an LR series per ratio.

    Parameters
    ----------
    name
        Name in :data:`SITES`, in upper or lower case.
    size
        Side of the scene, in HR pixels of 5 m.
    ratios
        LR pixel sizes over the HR pixel size.
    targets
        Number of LR images, spread evenly over the period; if None, that of the real site.
    lazy
        As for :func:`~sitsfuse.simulator.simulate`.
    **changes
        Further options of :class:`SimulationConfig`, by name; ``ratio`` stands for a single ratio.

    Returns
    -------
    xarray.DataTree
        With the groups ``guide``, ``reference`` and, for each ratio, ``target_x5``, ``target_x2.5`` …; attributes
        name, landscape and location. All LR series have the same dates, sky, gains and offsets.

    Raises
    ------
    InputError
        If the site or an option is unknown, or an option makes no sense.

    Examples
    --------
    >>> site = simulate_site("ARM", size=48, targets=3)
    >>> sorted(site.children)
    ['guide', 'reference', 'target_x2.5', 'target_x5']
    """
    site = SITES.get(name.lower())
    if site is None:
        raise InputError(f"site {name!r}", "is not among the simulated sites", f"choose among {', '.join(SITES)}")
    ratios = [changes.pop("ratio")] if "ratio" in changes else list(ratios)
    if not ratios:
        raise InputError("`ratios`", "is empty", "give at least one, e.g. 5")
    changes |= {"size": size} | ({} if targets is None else {"targets": targets})
    scenes = {ratio: make_scene(altered(site.config, changes | {"ratio": ratio}, "a simulation")) for ratio in ratios}
    first = scenes[ratios[0]]
    groups = {"guide": guide_series(first, lazy)}
    groups |= {f"target_x{ratio:g}": target_series(scene, lazy) for ratio, scene in scenes.items()}
    groups["reference"] = reference_series(first, lazy)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(name=site.name, landscape=site.landscape, location=site.location)
    return tree
