"""What a series or a site holds, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ...core.grid import GridPair, Window, same_grid
from ...core.series import geobox, mtf
from ...errors import InputError
from .. import open_series, series_names
from ..kinds import shared_options
from ..products import find_products
from ..zarr import is_zarr, zarr_attrs
from .text import SeriesInfo, SiteInfo
from .warnings import (
    GAP_DAYS,
    alignment_warnings,
    band_warnings,
    date_warnings,
    fit_notes,
    outside_warnings,
    percentiles,
    twin_warnings,
    unit_warnings,
    value_warnings,
)

WHOLE = 2**20
"""Pixels up to which an image is read whole; of a larger one, a regular pattern of windows is."""
WINDOWS, SIDE = 4, 256
"""Windows per axis of a large image, and their side in pixels."""
SAMPLE = 4096
"""Pixels per date that are kept for the statistics of values."""


def describe(
    source: str | Path | xr.Dataset | xr.DataTree, target_options: Mapping[str, Any] | None = None, **options: Any
) -> SeriesInfo | SiteInfo:
    """Describe a series or a site.

    Parameters
    ----------
    source
        A path or an open series or site. Large images are sampled by windows; nothing is read twice.
    target_options
        Options for the targets of a site alone, on top of ``options``.
    **options
        As for :func:`~sitsfuse.readers.open_site`.

    Returns
    -------
    SeriesInfo or SiteInfo
        With ``format()`` for the text. A broken part of a site is a warning there, not an error.

    Raises
    ------
    InputError
        If nothing at ``source`` can be described.
    """
    if isinstance(source, xr.Dataset):
        return describe_series(open_series(source), "series", "in memory")
    if isinstance(source, xr.DataTree):
        found = {name: (name, node.to_dataset(), "in memory") for name, node in source.children.items()}
        return _describe_site(str(source.name or "site"), {str(k): v for k, v in source.attrs.items()}, found, [])
    path = Path(source)
    names = series_names(path)
    if not names:
        return describe_series(open_series(path, **options), str(path), _kind(path))
    found, broken = {}, []
    for name, usable in shared_options({name: path / name for name in names}, options).items():
        try:
            own = dict(target_options or {}) if name.startswith("target") else {}
            found[name] = (str(path / name), open_series(path / name, **usable | own), _kind(path / name))
        except InputError as error:
            broken.append(f"{name}: {error}")
    attrs = zarr_attrs(path) if is_zarr(path) else {}
    return _describe_site(str(path), attrs, found, broken)


def describe_pair(
    guide: str | Path | xr.Dataset,
    target: str | Path | xr.Dataset,
    target_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> SiteInfo:
    """Describe two series and how they fit together: ratio, overlap, dates, radiometry.

    Parameters
    ----------
    guide, target
        Paths or open series, as :func:`~sitsfuse.readers.open_series` takes them.
    target_options
        Options for the target alone, on top of ``options``.
    **options
        Of :func:`~sitsfuse.readers.open_series`, for both.

    Raises
    ------
    InputError
        If a series cannot be read.
    """
    own = {"guide": options, "target": options | dict(target_options or {})}
    found = {}
    for role, source in (("guide", guide), ("target", target)):
        series = open_series(source, **own[role])
        kind = "in memory" if isinstance(source, xr.Dataset) else _kind(Path(source))
        found[role] = (role if isinstance(source, xr.Dataset) else str(source), series, kind)
    return _describe_site("guide and target", {}, found, [])


def describe_series(series: xr.Dataset, where: str, kind: str, *, dense: bool = True) -> SeriesInfo:
    """Describe one open series; gaps in time are worth a warning only if it should be ``dense``."""
    box = geobox(series)
    dates = [str(t)[:10] for t in series["time"].values]
    bands = tuple(str(b) for b in series["band"].values)
    windows = _windows(box.shape[0], box.shape[1])
    shares, samples = [], []
    warnings = [str(note) for note in series.attrs.get("notes", ())]
    for i, date in enumerate(dates):
        try:
            share, sample = _sample(series, i, windows)
        except InputError as error:
            warnings.append(f"{date}: {error}")
            share, sample = math.nan, np.full((len(bands), 0), np.nan, np.float32)
        shares.append(share)
        samples.append(sample)
    values = np.concatenate(samples, axis=1)
    warnings += date_warnings(series["time"].values, dates, shares, GAP_DAYS if dense else math.inf)
    warnings += twin_warnings(dates, samples)
    warnings += value_warnings(bands, values)
    outline = box.boundingbox
    return SeriesInfo(
        where=where,
        kind=kind,
        dates=tuple(dates),
        bands=bands,
        size=(int(box.shape[0]), int(box.shape[1])),
        pixel=(abs(box.affine.e), abs(box.affine.a)),
        crs="(none)" if box.crs is None else f"EPSG:{box.crs.epsg}" if box.crs.epsg else str(box.crs),
        extent=(outline.left, outline.bottom, outline.right, outline.top),
        sensor=str(series.attrs["sensor"]) if "sensor" in series.attrs else None,
        mtf=tuple(mtf(series)),
        extras=tuple(sorted(str(v) for v in series.data_vars if v not in ("reflectance", "valid"))),
        valid=tuple(shares),
        sampled=len(windows) > 1,
        ranges=tuple(percentiles(band) for band in values),
        warnings=tuple(warnings),
    )


def _describe_site(
    where: str, attrs: dict[str, Any], found: dict[str, tuple[str, xr.Dataset, str]], broken: list[str]
) -> SiteInfo:
    """Describe the series of a site, and how they fit together."""
    warnings = list(broken)
    notes: list[str] = []
    ratios: dict[str, float] = {}
    described = {
        name: describe_series(series, path, kind, dense=name != "reference")
        for name, (path, series, kind) in found.items()
    }
    opened = {name: series for name, (_, series, _) in found.items()}
    guide = opened.get("guide")
    targets = [name for name in opened if name.startswith("target")]
    for role, there in (("guide", guide is not None), ("target", bool(targets))):
        if not there and not any(b.startswith(role) for b in broken):
            warnings.append(f"has no {role}")
    if guide is not None:
        if guide.sizes["time"] == 1:
            warnings.append("a single guide: nothing shows how the HR image changes; add guides of other dates")
        for name in [n for n in opened if n != "guide"]:
            warnings += band_warnings(guide, opened[name], name)
        for name in targets:
            try:
                pair = GridPair(geobox(guide), geobox(opened[name]))
            except InputError as error:
                warnings.append(f"{name}: {error.problem}; {error.mend}")
                continue
            ratios[name] = pair.ratio
            warnings += unit_warnings(guide, opened[name])
            notes += fit_notes(guide, opened[name], pair, name)
            notes += [*alignment_warnings(pair, name), *outside_warnings(guide, opened[name], name)]
        if "reference" in opened and not same_grid(geobox(guide), geobox(opened["reference"])):
            warnings.append("reference: lies on another grid than the guide")
    attrs = {k: v for k, v in attrs.items() if k != "ratio"}
    return SiteInfo(where, attrs, described, ratios, tuple(warnings), tuple(notes))


def _windows(rows: int, cols: int) -> list[Window]:
    """What to read of an image: all of a small one, a regular pattern of windows of a large one."""
    if rows * cols <= WHOLE:
        return [(slice(0, rows), slice(0, cols))]

    def starts(n: int) -> list[int]:
        return sorted({int(s) for s in np.linspace(0, max(n - SIDE, 0), WINDOWS)})

    return [(slice(y, y + SIDE), slice(x, x + SIDE)) for y in starts(rows) for x in starts(cols)]


def _sample(series: xr.Dataset, time: int, windows: list[Window]) -> tuple[float, npt.NDArray[np.float32]]:
    """Share of valid pixels, and the values of some pixels (band, pixel), NaN where they are invalid."""
    both = series[["reflectance", "valid"]]
    # One by one, in a single step each: dask merges into the reading of a chunk one slice, wanted by nothing else.
    read = [both.isel(time=time, y=y, x=x).compute() for y, x in windows]
    valid = np.concatenate([p["valid"].values.ravel() for p in read])
    values = np.concatenate([p["reflectance"].values.reshape(p.sizes["band"], -1) for p in read], axis=1)
    # An odd step, lest it fall on the same columns of every row; the same pixels on every date.
    step = max(1, math.ceil(valid.size / SAMPLE)) | 1
    return float(valid.mean()), np.where(valid, values, np.float32(np.nan))[:, ::step]


def _kind(path: Path) -> str:
    if is_zarr(path):
        return "Zarr"
    formats = sorted({name for _, name in find_products(path)})
    return f"{', '.join(formats)} product" if formats else "GeoTIFF"
