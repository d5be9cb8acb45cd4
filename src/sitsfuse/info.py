"""What a series or a site holds, and what is wrong with it."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .errors import InputError
from .grid import GridPair, Window, same_grid
from .readers import open_series, series_names
from .readers.products import find_products
from .readers.zarr import is_zarr, zarr_attrs
from .series import geobox, mtf

WHOLE = 2**20
"""Pixels up to which an image is read whole; of a larger one, a regular pattern of windows is."""
WINDOWS, SIDE = 4, 256
"""Windows per axis of a large image, and their side in pixels."""
SAMPLE = 4096
"""Pixels per date that are kept for the statistics of values."""
GAP_DAYS = 60.0
"""Days between two images that are worth a warning."""
TWIN_HOURS = 12.0
"""Hours within which two images count as twice the same date."""
NOT_REFLECTANCE = 2.0
"""Percentile of values beyond which they do not look like a reflectance (or an index)."""


@dataclass(frozen=True)
class SeriesInfo:
    """What one series holds."""

    where: str
    """Path, or the role in a site."""
    kind: str
    """GeoTIFF, Zarr or in memory."""
    dates: tuple[str, ...]
    """ISO dates, in order."""
    bands: tuple[str, ...]
    size: tuple[int, int]
    """Rows and columns."""
    pixel: tuple[float, float]
    """Height and width of a pixel, in units of the CRS."""
    crs: str
    extent: tuple[float, float, float, float]
    """Left, bottom, right, top."""
    sensor: str | None
    mtf: tuple[float, ...]
    """MTF at Nyquist per band, as it will be used."""
    extras: tuple[str, ...]
    """Variables beside reflectance and valid."""
    valid: tuple[float, ...]
    """Share of valid pixels per date (NaN where the date cannot be read)."""
    sampled: bool
    """Whether shares and ranges come from a sample rather than from all pixels."""
    ranges: tuple[tuple[float, float], ...]
    """1st and 99th percentile of the valid values, per band."""
    warnings: tuple[str, ...] = ()
    """What is wrong or suspicious."""

    def format(self) -> str:
        """The description as text."""
        rows, cols = self.size
        left, bottom, right, top = self.extent
        shares = "  ".join(f"{d} {_percent(v)}" for d, v in zip(self.dates, self.valid, strict=True))
        ranges = "  ".join(f"{b} {_span(r)}" for b, r in zip(self.bands, self.ranges, strict=True))
        about = " (sample)" if self.sampled else ""
        lines = [
            ("dates", f"{len(self.dates)}, " + " to ".join(dict.fromkeys((self.dates[0], self.dates[-1])))),
            ("bands", ", ".join(self.bands)),
            ("size", f"{rows} rows × {cols} columns of {self.pixel[0]:g} × {self.pixel[1]:g}"),
            ("CRS", self.crs),
            ("extent", f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}"),
            ("sensor", self.sensor or ""),
            ("MTF", ", ".join(f"{m:g}" for m in dict.fromkeys(self.mtf))),
            ("also", ", ".join(self.extras)),
            ("valid" + about, f"{_percent(_mean(self.valid))} on average: {shares}"),
            ("values" + about, f"1st to 99th percentile: {ranges}"),
        ]
        text = [f"{self.where} ({self.kind} series)"]
        text += [_wrapped(f"  {name:<16}", value) for name, value in lines if value]
        return "\n".join(text + [_wrapped("  ! ", w) for w in self.warnings])


@dataclass(frozen=True)
class SiteInfo:
    """What a site holds."""

    where: str
    attrs: dict[str, Any]
    """Name, landscape, location …"""
    series: dict[str, SeriesInfo]
    """The series that can be read, by role."""
    ratios: dict[str, float]
    """LR pixel size over HR pixel size, per target."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the site: series that cannot be read, or that do not fit together."""
    notes: tuple[str, ...] = field(default=())
    """What is worth to know and nothing wrong."""

    def format(self) -> str:
        """The description as text."""
        text = [f"{self.where} (site)"]
        text += [_wrapped(f"  {name:<16}", str(value)) for name, value in self.attrs.items()]
        text += [f"  {'ratio':<16}{ratio:.6g} ({name})" for name, ratio in self.ratios.items()]
        text += [_wrapped("  ! ", w) for w in self.warnings] + [_wrapped("  - ", n) for n in self.notes]
        return "\n\n".join(["\n".join(text), *(s.format() for s in self.series.values())])


def describe(source: str | Path | xr.Dataset | xr.DataTree, **options: Any) -> SeriesInfo | SiteInfo:
    """Describe a series or a site.

    Parameters
    ----------
    source
        A path or an open series or site. Large images are sampled by windows; nothing is read twice.
    **options
        Of :func:`~sitsfuse.readers.geotiff.read_geotiffs`.

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
    for name in names:
        try:
            found[name] = (str(path / name), open_series(path / name, **options), _kind(path / name))
        except InputError as error:
            broken.append(f"{name}: {error}")
    attrs = zarr_attrs(path) if is_zarr(path) else {}
    return _describe_site(str(path), attrs, found, broken)


def describe_series(series: xr.Dataset, where: str, kind: str, *, dense: bool = True) -> SeriesInfo:
    """Describe one open series; gaps in time are worth a warning only if it should be ``dense``."""
    box = geobox(series)
    dates = [str(t)[:10] for t in series["time"].values]
    bands = tuple(str(b) for b in series["band"].values)
    windows = _windows(box.shape[0], box.shape[1])
    shares, samples, warnings = [], [], []
    for i, date in enumerate(dates):
        try:
            share, sample = _sample(series, i, windows)
        except InputError as error:
            warnings.append(f"{date}: {error}")
            share, sample = math.nan, np.full((len(bands), 0), np.nan, np.float32)
        shares.append(share)
        samples.append(sample)
    values = np.concatenate(samples, axis=1)
    warnings += _date_warnings(series["time"].values, dates, shares, GAP_DAYS if dense else math.inf)
    warnings += _twins(dates, samples)
    warnings += _value_warnings(bands, values)
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
        ranges=tuple(_percentiles(band) for band in values),
        warnings=tuple(warnings),
    )


def _describe_site(
    where: str, attrs: dict[str, Any], found: dict[str, tuple[str, xr.Dataset, str]], broken: list[str]
) -> SiteInfo:
    """Describe the series of a site, and how they fit together."""
    warnings, notes, ratios = list(broken), [], {}
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
            warnings += _band_warnings(guide, opened[name], name)
        for name in targets:
            try:
                pair = GridPair(geobox(guide), geobox(opened[name]))
            except InputError as error:
                warnings.append(f"{name}: {error.problem}; {error.mend}")
                continue
            ratios[name] = pair.ratio
            notes += [*_alignment(pair, name), *_outside(guide, opened[name], name)]
        if "reference" in opened and not same_grid(geobox(guide), geobox(opened["reference"])):
            warnings.append("reference: lies on another grid than the guide")
    attrs = {k: v for k, v in attrs.items() if k != "ratio"}
    return SiteInfo(where, attrs, described, ratios, tuple(warnings), tuple(notes))


# --- reading ---------------------------------------------------------------------------------------------------


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


# --- judging ---------------------------------------------------------------------------------------------------


def _date_warnings(times: npt.NDArray[Any], dates: list[str], shares: list[float], longest: float) -> Iterator[str]:
    """All-invalid dates, long gaps between the others, and dates that come twice."""
    empty = [d for d, s in zip(dates, shares, strict=True) if s == 0]
    if empty:
        yield f"no valid pixel on {', '.join(empty)}"
    usable = [i for i, s in enumerate(shares) if s > 0]
    steps = np.diff(times[usable]) / np.timedelta64(1, "D")
    for step, i, j in zip(steps, usable[:-1], usable[1:], strict=True):
        if step > longest:
            yield f"no valid image for {step:.0f} days, {dates[i]} to {dates[j]}"
    hours = np.diff(times) / np.timedelta64(1, "h")
    for date, gap in zip(dates, hours, strict=False):
        if gap < TWIN_HOURS:
            yield f"two images within {gap:.0f} h of each other on {date}: keep one"


def _twins(dates: list[str], samples: list[npt.NDArray[np.float32]]) -> Iterator[str]:
    """Neighbouring dates with the same image."""
    for i, (a, b) in enumerate(itertools.pairwise(samples)):
        if a.shape != b.shape:
            continue
        both = np.isfinite(a) & np.isfinite(b)
        # A constant image (a test scene, a filled one) is no evidence.
        if both.any() and np.ptp(a[both]) > 0 and np.mean(a[both] == b[both]) > 0.99:
            yield f"{dates[i]} and {dates[i + 1]} hold the same image: one may be a copy"


def _value_warnings(bands: tuple[str, ...], values: npt.NDArray[np.float32]) -> Iterator[str]:
    """Values that do not look like a reflectance."""
    for band, row in zip(bands, values, strict=True):
        high = max((abs(v) for v in _percentiles(row)), default=math.nan)
        if not high > NOT_REFLECTANCE:
            continue
        known = row[np.isfinite(row)]
        if np.all(known == np.rint(known)):
            yield (
                f"{band}: whole numbers up to {high:.0f} look like unscaled integers; "
                "set the scale in the files, e.g. gdal_edit.py -scale 0.0001"
            )
        else:
            yield f"{band}: values up to {high:.4g} are no reflectance (fine for a temperature)"


def _band_warnings(guide: xr.Dataset, other: xr.Dataset, name: str) -> Iterator[str]:
    """Bands that one of two series lacks."""
    mine, theirs = ([str(b) for b in s["band"].values] for s in (guide, other))
    missing = [b for b in mine if b not in theirs]
    if missing:
        yield (
            f"{name}: has no band {', '.join(missing)} of the guide's (it has {', '.join(theirs)}); "
            "map the bands, or name both alike"
        )


def _alignment(pair: GridPair, name: str) -> Iterator[str]:
    """Where the LR grid's origin lies, if not on a corner of an HR pixel."""
    offsets = (pair.x.offset + 0.0, pair.y.offset + 0.0)  # no -0
    if any(abs(o - round(o)) > 1e-3 for o in offsets):
        yield f"{name}: grids are not aligned: its origin lies at x {offsets[0]:g}, y {offsets[1]:g} guide pixels"


def _outside(guide: xr.Dataset, target: xr.Dataset, name: str) -> Iterator[str]:
    """Target dates before the first or after the last guide."""
    first, last = guide["time"].values[[0, -1]]
    times = target["time"].values
    count = int(np.sum((times < first) | (times > last)))
    if count:
        yield f"{name}: {count} of {times.size} dates lie before the first or after the last guide"


def _percentiles(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return (math.nan, math.nan)
    low, high = np.percentile(known, (1, 99))
    return (float(low), float(high))


def _mean(shares: tuple[float, ...]) -> float:
    known = [s for s in shares if not math.isnan(s)]
    return sum(known) / len(known) if known else math.nan


def _percent(share: float) -> str:
    if math.isnan(share):
        return "unreadable"
    # Rounded, but 0 and 100 only where that is exact: a few bad pixels are news.
    return f"{share if share in (0, 1) else min(max(share, 0.01), 0.99):.0%}".replace("%", " %")


def _span(limits: tuple[float, float]) -> str:
    return "none" if math.isnan(limits[0]) else f"{limits[0]:.4g} to {limits[1]:.4g}"


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(text, 110, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
