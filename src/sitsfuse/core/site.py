"""A site is an ``xarray.DataTree`` of series: guide, target and, for an evaluation, reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from ..errors import InputError
from .arrays import Times
from .checks import check, match_bands
from .grid import GridPair
from .series import geobox, make_series, mtf


def make_site(
    guide: xr.Dataset,
    target: xr.Dataset,
    reference: xr.Dataset | None = None,
    **attrs: Any,
) -> xr.DataTree:
    """Join series to a site and check that they fit together.

    Parameters
    ----------
    guide
        The HR series.
    target
        The LR series, with the guide's bands in any order; it is put in the guide's order.
    reference
        HR images to compare with.
    **attrs
        Attributes of the site (name, landscape, location).

    Returns
    -------
    xarray.DataTree
        With the groups ``guide``, ``target`` and, if given, ``reference``; attribute ``ratio``.

    Raises
    ------
    InputError
        If a series breaks the conventions, bands differ or the grids do not fit.
    """
    guide, target = check(guide, "guide"), check(target, "target")
    target = match_bands(target, guide, "target")
    pair = GridPair(geobox(guide), geobox(target))
    groups = {"guide": guide, "target": target}
    if reference is not None:
        reference = match_bands(check(reference, "reference"), guide, "reference")
        groups["reference"] = reference
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(attrs, ratio=pair.ratio)
    return tree


def target_alone(target: xr.Dataset, factor: float, **attrs: Any) -> xr.DataTree:
    """A site without guides: its HR grid is that of the target, with pixels divided by ``factor``.

    Parameters
    ----------
    target
        The LR series.
    factor
        LR pixel size over HR pixel size.
    **attrs
        Attributes of the site (name, landscape, location).

    Returns
    -------
    xarray.DataTree
        Its series ``guide`` has a grid and bands, but no image.

    Raises
    ------
    InputError
        If the series breaks the conventions or the factor is not above 1.
    """
    target = check(target, "target")
    if not 1 < factor < np.inf:
        raise InputError("`factor`", f"{factor:g} is not above 1", "give the LR over the HR pixel size, e.g. 2.5")
    low, bands = geobox(target), [str(b) for b in target["band"].values]
    rows, cols = (int(n * factor + 1e-6) for n in low.shape)
    box = GeoBox((rows, cols), low.affine @ Affine.scale(1 / factor), low.crs)
    none = np.empty((0, len(bands), rows, cols), np.float32), np.empty((0, rows, cols), bool)
    tree = xr.DataTree.from_dict({"guide": make_series(*none, [], bands, box), "target": target})
    tree.attrs.update(attrs, ratio=GridPair(box, low).ratio)
    return tree


def group(site: xr.DataTree, name: str) -> xr.Dataset:
    """A series of a site, as a Dataset."""
    if name not in site.children:
        known = ", ".join(site.children) or "none"
        raise InputError(site.name or "site", f"has no series {name!r} (it has: {known})", f"add {name}/")
    return site[name].to_dataset()


def pair_of(site: xr.DataTree) -> GridPair:
    """The grids of a site's guide and target."""
    return GridPair(geobox(group(site, "guide")), geobox(group(site, "target")))


@dataclass(frozen=True, eq=False)
class SiteLayout:
    """What of a site is known without its pixels: derived once, and passed on to whoever works on windows or dates."""

    grids: GridPair
    """Of guides and LR series."""
    bands: tuple[str, ...]
    """Of both, in the order of the guides."""
    guides: Times
    """Dates of the guides."""
    targets: Times
    """Dates of the LR images."""
    mtf: tuple[float, ...]
    """(band,) MTF of the LR sensor at its Nyquist frequency."""

    @classmethod
    def of(cls, site: xr.DataTree) -> SiteLayout:
        """That of a site."""
        guide, target = group(site, "guide"), group(site, "target")
        return cls(
            GridPair(geobox(guide), geobox(target)),
            tuple(str(b) for b in guide["band"].values),
            guide["time"].values,
            target["time"].values,
            tuple(mtf(target)),
        )

    @property
    def ratio(self) -> float:
        """LR pixel size over HR pixel size."""
        return self.grids.ratio
