"""A path in, a series or a site out."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.checks import check
from ..core.site import make_site, target_alone
from ..errors import InputError
from .geotiff import read_geotiffs
from .kinds import Kind, check_usable, shared_options
from .objects import series
from .places import check_listable
from .products import find_products, items_of, products_series
from .reading import REFLECTANCE, Reading
from .zarr import check_finished, is_zarr, read_zarr, zarr_attrs, zarr_groups

__all__ = [
    "open_pair",
    "open_series",
    "open_site",
    "open_target",
    "products_series",
    "read_geotiffs",
    "read_zarr",
    "series",
    "series_names",
]

PathOrSeries = str | Path | xr.Dataset | Iterable[Any]
"""Where a series lies, a series, or STAC items."""


def open_series(path: PathOrSeries, **options: Any) -> xr.Dataset:
    """Open a series lazily.

    Parameters
    ----------
    path
        A Zarr group, a folder of products (Theia/MUSCATE, SAFE, Landsat, PlanetScope, STAC items) or of GeoTIFFs;
        STAC items, as a search gives them (pystac's, or dictionaries); or a series, which is checked and passes
        through.
    **options
        Of :func:`~sitsfuse.readers.products.products_series` or :func:`~sitsfuse.readers.geotiff.read_geotiffs`; a
        Zarr store and a series have none.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    InputError
        If there is no series at ``path``, it breaks the conventions, or has no use for an option.
    """
    if isinstance(path, xr.Dataset):
        check_usable("the series", options, Kind.SERIES)
        return check(path)
    if isinstance(path, xr.DataArray):
        return check(path)  # type: ignore[arg-type]  # which tells how to make a series of it
    if (items := items_of(path)) is not None:
        check_usable("the items", options, Kind.PRODUCTS)
        return _noted(products_series(items, **_of_products(options)), "items", options)
    if not isinstance(path, str | os.PathLike):
        raise InputError("series", f"is a {type(path).__name__}", "give a path or a series")
    check_listable(path)
    path = Path(path)
    if not path.exists():
        raise InputError(path, "does not exist", "check the path")
    names = series_names(path)
    if names:
        raise InputError(path, f"is a site, not a series (it holds {', '.join(names)})", f"give {path / names[0]}")
    if is_zarr(path):
        check_usable(path, options, Kind.ZARR)
        series = _rescaled(read_zarr(path), Reading.of(options))
    elif find_products(path):
        check_usable(path, options, Kind.PRODUCTS)
        series = products_series(path, **_of_products(options))
    else:
        check_usable(path, options, Kind.GEOTIFFS)
        series = read_geotiffs(path, Reading.of(options))
    series = series.assign_attrs(source=str(path), **({"reading": dict(options)} if options else {}))
    return _noted(series, path, options)


def _of_products(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "quantity"}


def _noted(series: xr.Dataset, where: object, options: Mapping[str, Any]) -> xr.Dataset:
    """The series with what its numbers are, after telling what is unusual of it."""
    if options.get("quantity", REFLECTANCE) != REFLECTANCE:
        series = series.assign_attrs(quantity=options["quantity"])
    for note in series.attrs.get("notes", ()):
        _say(f"{where}: {note}")
    return series


@functools.lru_cache(maxsize=1024)
def _say(note: str) -> None:
    """Tell once what was left out or is unusual."""
    logging.getLogger("sitsfuse").warning(note)


def _rescaled(series: xr.Dataset, reading: Reading) -> xr.Dataset:
    """A series with the scale and offset that the user gives: its numbers are as they were stored."""
    if reading.scale is None and reading.offset is None:
        return series
    scale, offset = np.float32(1 if reading.scale is None else reading.scale), np.float32(reading.offset or 0)
    return series.assign(reflectance=(series["reflectance"] * scale + offset).assign_attrs(series["reflectance"].attrs))


def open_site(
    path: str | Path, target: str = "target", target_options: Mapping[str, Any] | None = None, **options: Any
) -> xr.DataTree:
    """Open a site lazily.

    Parameters
    ----------
    path
        A Zarr store with the groups ``guide``, ``target`` and, optionally, ``reference``, or a folder that holds
        such folders, each a folder of GeoTIFFs or a Zarr group.
    target
        Name of the target series: a site may hold several, such as ``target_x5``.
    target_options
        Options for the target alone, on top of ``options``.
    **options
        As for :func:`open_series`, for all series that have a use for them.

    Returns
    -------
    xarray.DataTree
        Whatever its name on disk, the target is the group ``target``.

    Raises
    ------
    InputError
        Naming the file or folder at fault.
    """
    check_listable(path)
    path = Path(path)
    if not path.is_dir():
        raise InputError(path, "is not a folder" if path.exists() else "does not exist", "give the folder of a site")
    kept = zarr_attrs(path) if is_zarr(path) else {}
    check_finished(path, kept)
    names = series_names(path)
    for name in ("guide", target):
        if name not in names:
            known = ", ".join(names) or "no series"
            others = [n for n in names if n.startswith("target")]
            mend = f"choose a target: {', '.join(others)}" if name == target and others else f"add {path / name}"
            raise InputError(path, f"has no {name}/ (it holds {known})", mend)
    attrs = {k: v for k, v in kept.items() if k != "ratio"}
    return _site(
        path / "guide",
        path / target,
        path / "reference" if "reference" in names else None,
        {"name": path.resolve().name.removesuffix(".zarr")} | attrs,
        options,
        target_options,
    )


def open_pair(
    guide: PathOrSeries,
    target: PathOrSeries,
    reference: PathOrSeries | None = None,
    target_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> xr.DataTree:
    """Join series to a site.

    Parameters
    ----------
    guide, target, reference
        Each a path or a series, as :func:`open_series` takes it.
    target_options
        Options for the target alone, on top of ``options``.
    **options
        As for :func:`open_series`, for all series that have a use for them.

    Raises
    ------
    InputError
        Naming the file or folder at fault.
    """
    return _site(guide, target, reference, {}, options, target_options)


def is_site(source: Any) -> bool:
    """Whether something is a site, or the path of one."""
    if isinstance(source, xr.DataTree):
        return True
    return isinstance(source, str | os.PathLike) and bool(series_names(Path(source)))


def open_any(source: Any, second: Any = None, third: Any = None) -> tuple[xr.DataTree, str | Path | None]:
    """A site, and where to write, from ``(site, out)`` or ``(guide, target, out)``.

    Parameters
    ----------
    source
        A site or its path; or the guide, as :func:`open_series` takes it.
    second, third
        After a site, where to write; after a guide, the target and where to write.

    Raises
    ------
    InputError
        If it is neither, or cannot be read.
    """
    if is_site(source):
        if second is not None and third is not None:
            raise InputError("fuse", "got a site and a target", "give a site, or a guide and a target")
        out = third if second is None else second
        if isinstance(out, xr.Dataset | xr.DataArray | xr.DataTree):
            raise InputError("fuse", "got a site and a target", "give a site, or a guide and a target")
        return (source if isinstance(source, xr.DataTree) else open_site(Path(source))), out
    if not isinstance(source, str | os.PathLike | xr.Dataset | xr.DataArray):
        raise InputError("site", f"is a {type(source).__name__}", "give a site, or a guide and a target")
    if second is None and not isinstance(source, xr.Dataset | xr.DataArray):
        return open_site(Path(source)), third  # which says what it is not
    if second is None:
        raise InputError("target", "is missing", "give a site, or a guide and a target")
    guide: Any = Path(source) if isinstance(source, str | os.PathLike) else source
    return open_pair(guide, second), third


def open_target(target: PathOrSeries, factor: float, **options: Any) -> xr.DataTree:
    """A site of LR images alone, for methods that need no guide.

    Parameters
    ----------
    target
        A path or a series, as :func:`open_series` takes it.
    factor
        LR pixel size over that of the images to predict.
    **options
        As for :func:`open_series`.

    Raises
    ------
    InputError
        Naming the file or folder at fault.
    """
    return target_alone(open_series(target, **options), factor)


def open_roles(
    given: Mapping[str, PathOrSeries], options: Mapping[str, Any], target_options: Mapping[str, Any] | None = None
) -> dict[str, xr.Dataset]:
    """Open several series alike.

    Parameters
    ----------
    given
        Paths or series by role.
    options
        As for :func:`open_series`, for those that have a use for them: one of them at least must.
    target_options
        Further ones for the role ``target`` alone, which must have a use for them.

    Raises
    ------
    InputError
        Naming what is at fault.
    """
    own, opened = target_options or {}, {}
    # A search gives its items once.
    given = {role: items_of(source) or source for role, source in given.items()}
    if own and "target" not in given:
        raise InputError(f"`target_options.{min(own)}`", "is given without a target", "give `target`, or drop it")
    for role, shared in shared_options(given, options).items():
        try:
            opened[role] = open_series(given[role], **{**shared, **(own if role == "target" else {})})
        except InputError as error:
            raise (error.within("target_options", own) if role == "target" else error) from error
    return opened


def series_names(path: str | Path) -> list[str]:
    """Names of the series in a site; none if ``path`` is not a site.

    Parameters
    ----------
    path
        A folder or a Zarr store.
    """
    path = Path(path)
    if is_zarr(path):
        return _known(zarr_groups(path))
    return _known(sorted(p.name for p in path.iterdir() if p.is_dir())) if path.is_dir() else []


def _known(names: list[str]) -> list[str]:
    """The names that are a role in a site, in the order guide, targets, reference."""
    targets = [n for n in names if n.startswith("target")]
    return [n for n in ("guide", *targets, "reference") if n in names]


def _site(
    guide: PathOrSeries,
    target: PathOrSeries,
    reference: PathOrSeries | None,
    attrs: dict[str, Any],
    options: dict[str, Any],
    target_options: Mapping[str, Any] | None,
) -> xr.DataTree:
    given = {"guide": guide, "target": target} | ({} if reference is None else {"reference": reference})
    opened = open_roles(given, options, target_options)
    try:
        return make_site(**opened, **attrs)
    except InputError as error:
        # The model knows roles; the user knows paths.
        source = given.get(str(error.where))
        if not isinstance(source, str | os.PathLike):
            raise
        raise InputError(source, error.problem, error.mend) from error
