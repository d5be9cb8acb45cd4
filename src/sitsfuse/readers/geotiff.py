"""A folder of GeoTIFFs, one per date, as a lazy series.

Opening reads the headers only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Not rioxarray: it decodes with one scale and one offset per file, while ours may differ by band.
import rasterio
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from ..errors import InputError
from ..grid import check_unrotated
from ..series import check, make_series
from .raster import Stack, check_grid, missing, opened, scaled

COMPANIONS = ("_mask", "_uncertainty", "_weights")
"""Endings of the files that belong to an image and are none themselves."""

BandNames = Mapping[str, str | int] | Sequence[str]

_DEFAULT_DATE = r"(?<!\d)(?P<date>\d{4}-\d{2}-\d{2}|\d{8})(?!\d)"
_DIRECTIVES = {"Y": r"\d{4}", "j": r"\d{3}", "b": r"[^\W\d_]{3}", "B": r"[^\W\d_]+", "f": r"\d{1,6}"}
_DIRECTIVES |= dict.fromkeys("ymdHMS", r"\d{2}")


def read_geotiffs(
    folder: str | Path,
    *,
    date_pattern: str | None = None,
    bands: BandNames | None = None,
    chunk: int = 1024,
) -> xr.Dataset:
    """Open a folder of GeoTIFFs, one per date, as a lazy series.

    Parameters
    ----------
    folder
        Holds one ``*.tif`` or ``*.tiff`` per date. ``NAME_mask.tif`` beside ``NAME.tif`` is its mask: 0 is clear,
        anything else and nodata are invalid. ``*_uncertainty.tif``, ``*_weights.tif`` and hidden files are skipped.
    date_pattern
        How to find the date in a file's name (without its suffix); by default the first YYYYMMDD or YYYY-MM-DD that
        is a date. With a ``%`` it is a `strptime` format, looked for anywhere in the name, such as ``A%Y%j``; else
        a regular expression with the named groups ``year``, ``month`` and ``day``, or one group ``date`` that holds
        YYYYMMDD or YYYY-MM-DD.
    bands
        A mapping {name: band description or 1-based index} selects and renames bands. A sequence of names selects
        them, if all are descriptions, else it names the bands in the order of the file. Bands with neither name nor
        description are called band1, band2 …
    chunk
        Side of a dask chunk, in pixels; a chunk holds all bands of one date.

    Returns
    -------
    xarray.Dataset
        A lazy series. Scale and offset of each band are applied; ``reflectance`` is NaN where a band has nodata (or
        is not finite) and keeps its values under the mask; ``valid`` is false where any band has nodata or the
        mask is not clear. ``uncertainty(time, band, y, x)`` if every date has one beside it, named
        ``<same name>_uncertainty.tif``. Coordinate ``product`` (time): the file names.

    Raises
    ------
    InputError
        If the folder or a file in it cannot be used; reading a damaged block raises it, too, when computed.
    """
    folder = Path(folder)
    if chunk < 1:
        raise InputError("chunk", f"is {chunk}", "give a positive number of pixels")
    dated = _dated_files(folder, date_pattern)
    images = [_header(path, mask, bands) for _, path, mask, _ in dated]
    first = images[0]
    for other in images[1:]:
        _check_alike(other, first)
    stack = Stack(tuple(images), "read", np.dtype(np.float32), (len(first.names), *first.shape))
    clear = Stack(tuple(images), "clear", np.dtype(bool), first.shape)
    # Modification times, so that a file that was replaced is not taken for the old one by a cluster's cache.
    token = tokenize(stack, [p.stat().st_mtime_ns for i in images for p in (i.path, i.mask) if p], chunk)
    reflectance, valid = stack.lazy(chunk, f"geotiff-{token}"), clear.lazy(chunk, f"geotiff-valid-{token}")
    box = GeoBox(first.shape, first.transform, first.crs)
    series = make_series(reflectance, valid, [time for time, *_ in dated], first.names, box)
    companions = [path for *_, path in dated if path is not None]
    if len(companions) == len(dated):
        unsure = [_header(path, None, bands) for path in companions]
        for other in unsure:
            _check_alike(other, first)
        sigma = Stack(tuple(unsure), "read", np.dtype(np.float32), (len(first.names), *first.shape))
        token = tokenize(sigma, [p.stat().st_mtime_ns for p in companions], chunk)
        series["uncertainty"] = series["reflectance"].dims, sigma.lazy(chunk, f"geotiff-uncertainty-{token}")
    products = np.array([path.name for _, path, *_ in dated], dtype=np.dtypes.StringDType())
    return check(series.assign_coords(product=("time", products)), folder)


@dataclass(frozen=True)
class _Image:
    """What a header says: where an image is and how to decode it."""

    path: Path
    mask: Path | None
    names: tuple[str, ...]
    indexes: tuple[int, ...]
    """1-based, one per name."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    may_be_invalid: bool
    """Whether the pixels themselves can be invalid: they have nodata, NaN or a mask inside the file."""
    inner_mask: bool
    shape: tuple[int, int]
    transform: rasterio.Affine
    crs: str
    """EPSG code where there is one, else well-known text."""

    def read(self, window: Window) -> npt.NDArray[np.float32]:
        """(band, y, x), NaN where a band has nodata."""
        with opened(self.path) as source:
            out = np.empty((len(self.indexes), window.height, window.width), np.float32)
            for i, index in enumerate(self.indexes):
                raw = source.read(index, window=window)
                value = scaled(raw, self.scales[i], self.offsets[i])
                value[missing(raw, self.nodata[i])] = np.nan
                out[i] = value
        return out

    def clear(self, window: Window) -> npt.NDArray[np.bool_]:
        """(y, x), whether all bands are there and the mask is clear."""
        ok = np.ones((window.height, window.width), bool)
        if self.may_be_invalid:
            with opened(self.path) as source:
                for index, nodata in zip(self.indexes, self.nodata, strict=True):
                    ok &= ~missing(source.read(index, window=window), nodata)
                if self.inner_mask:
                    ok &= source.dataset_mask(window=window) > 0
        if self.mask is not None:
            with opened(self.mask) as source:
                for index, nodata in zip(source.indexes, source.nodatavals, strict=True):
                    raw = source.read(index, window=window)
                    ok &= (raw == 0) & ~missing(raw, nodata)
        return ok


# --- names and dates -------------------------------------------------------------------------------------------


def _dated_files(folder: Path, date_pattern: str | None) -> list[tuple[np.datetime64, Path, Path | None, Path | None]]:
    """Date, image, mask and uncertainty of each image in a folder, sorted by date."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise InputError(folder, what, "give a folder with one GeoTIFF per date")
    files = [
        p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".tif", ".tiff") and not p.name.startswith(".")
    ]
    by_stem = {p.stem.lower(): p for p in files}
    images = [p for p in files if not p.stem.lower().endswith(COMPANIONS)]
    if not images:
        raise InputError(
            folder, "holds no GeoTIFF", "give a folder with one *.tif per date (YYYYMMDD in its name), or of products"
        )
    pattern = _compiled(date_pattern)
    found: dict[np.datetime64, Path] = {}
    for path in images:
        date = _date(path.stem, pattern, date_pattern)
        if date is None:
            wanted = f"matching {date_pattern!r}" if date_pattern else "(YYYYMMDD or YYYY-MM-DD)"
            raise InputError(
                path, f"has no date {wanted} in its name", "rename it, move it away or give --date-pattern"
            )
        if date in found:
            raise InputError(
                path,
                f"has the same date as {found[date].name} ({str(date)[:10]})",
                "keep one file per date, with all its bands",
            )
        found[date] = path

    def beside(image: Path, kind: str) -> Path | None:
        return by_stem.get(f"{image.stem.lower()}{kind}")

    dates = sorted(found)
    return [(d, found[d], beside(found[d], "_mask"), beside(found[d], "_uncertainty")) for d in dates]


def _compiled(date_pattern: str | None) -> re.Pattern[str]:
    """The regular expression of a date pattern, which finds a strptime format as the group ``date``."""
    if date_pattern is None:
        return re.compile(_DEFAULT_DATE)
    if "%" in date_pattern:
        pieces = re.split(r"(%.?)", date_pattern)
        unknown = [p for p in pieces[1::2] if p != "%%" and p[1:] not in _DIRECTIVES]
        if unknown:
            raise InputError("--date-pattern", f"{date_pattern!r} holds {unknown[0]}", "use %Y %y %m %d %j %b %H %M %S")
        body = "".join((_DIRECTIVES.get(p[1:], "%") if i % 2 else re.escape(p)) for i, p in enumerate(pieces))
        directives = set(pieces[1::2])
        month_and_day = "%d" in directives and directives & {"%m", "%b", "%B"}
        if not (directives & {"%Y", "%y"} and ("%j" in directives or month_and_day)):
            raise InputError(
                "--date-pattern", f"{date_pattern!r} gives no full date", "add %Y and %j, or %Y, %m and %d"
            )
        return re.compile(rf"(?<!\d)(?P<date>{body})(?!\d)")
    try:
        pattern = re.compile(date_pattern)
    except re.error as error:
        raise InputError(
            "--date-pattern", f"{date_pattern!r} is no regular expression ({error})", "mend it or use e.g. %Y%j"
        ) from None
    groups = set(pattern.groupindex)
    if not (groups >= {"year", "month", "day"} or "date" in groups):
        raise InputError(
            "--date-pattern",
            f"{date_pattern!r} has no groups (?P<year>…), (?P<month>…) and (?P<day>…), nor one (?P<date>…)",
            "name them so, or use a strptime format such as %Y%j",
        )
    return pattern


def _date(stem: str, pattern: re.Pattern[str], given: str | None) -> np.datetime64 | None:
    """The first date in a name."""
    for match in pattern.finditer(stem):
        parts = match.groupdict()
        if given and "%" in given:
            text, layout = parts["date"], given
        elif parts.get("year"):
            text, layout = "-".join(parts[p] or "" for p in ("year", "month", "day")), "%Y-%m-%d"
        else:
            text, layout = (parts["date"] or "").replace("-", ""), "%Y%m%d"
        try:
            date = datetime.strptime(text, layout)
        except ValueError:
            continue
        if 1900 <= date.year < 2200:
            return np.datetime64(date, "ns")
    return None


# --- headers ---------------------------------------------------------------------------------------------------


def _header(path: Path, mask: Path | None, bands: BandNames | None) -> _Image:
    """Read and check the header of an image and of its mask."""
    with opened(path, whole_header=True) as source:
        colours = source.colorinterp
        data = [i for i in source.indexes if colours[i - 1] != ColorInterp.alpha]
        chosen = _choose(path, {i: source.descriptions[i - 1] for i in data}, bands)
        transform, crs, shape = source.transform, source.crs, (source.height, source.width)
        if crs is None or transform.is_identity:
            what = "no CRS" if crs is None else "no geotransform"
            raise InputError(path, f"has {what}", "georeference it, e.g. with gdal_translate -a_srs … -a_ullr …")
        indexes = tuple(chosen.values())
        pick = [i - 1 for i in indexes]
        nodata = tuple(source.nodatavals[i] for i in pick)
        dtypes = [np.dtype(source.dtypes[i]) for i in pick]
        if any(d.kind == "c" for d in dtypes):
            raise InputError(path, "holds complex numbers", "give reflectances, as integers or floats")
        inner_mask = any(MaskFlags.per_dataset in source.mask_flag_enums[i] for i in pick)
        image = _Image(
            path=path,
            mask=mask,
            names=tuple(chosen),
            indexes=indexes,
            scales=tuple(float(source.scales[i]) for i in pick),
            offsets=tuple(float(source.offsets[i]) for i in pick),
            nodata=nodata,
            may_be_invalid=inner_mask or any(n is not None for n in nodata) or any(d.kind == "f" for d in dtypes),
            inner_mask=inner_mask,
            shape=shape,
            transform=transform,
            crs=f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.to_wkt(),
        )
    check_unrotated(_box(image), path)
    if mask is not None:
        _check_mask(mask, image)
    return image


def _choose(path: Path, descriptions: Mapping[int, str | None], bands: BandNames | None) -> dict[str, int]:
    """Names and 1-based indexes of the bands to read."""
    have = {name: index for index, name in descriptions.items() if name}
    listed = ", ".join(name or f"band {i}" for i, name in descriptions.items())
    if len(have) < sum(1 for name in descriptions.values() if name):
        raise InputError(path, f"names a band twice ({listed})", "give every band its own description")
    if bands is None:
        return {name or f"band{i}": i for i, name in descriptions.items()}
    if isinstance(bands, str) or not bands:
        raise InputError("bands", f"is {bands!r}", "give a list of names or a mapping {name: description or index}")
    if isinstance(bands, Mapping):
        chosen = {}
        for name, key in bands.items():
            index = have.get(str(key)) or (int(key) if str(key).isdecimal() else 0)
            if index not in descriptions:
                raise InputError(
                    path, f"has no band {key!r} (for {name!r}; it has: {listed})", "correct the mapping of bands"
                )
            chosen[str(name)] = index
        return chosen
    names = [str(b) for b in bands]
    if len(set(names)) < len(names):
        raise InputError("bands", f"names a band twice ({', '.join(names)})", "give every band its own name")
    if all(name in have for name in names):
        return {name: have[name] for name in names}
    places = list(descriptions)
    moved = [n for i, n in enumerate(names) if n in have and (i >= len(places) or have[n] != places[i])]
    if len(names) != len(places) or moved:
        missing = next(n for n in names if n not in have)
        raise InputError(
            path,
            f"has bands {listed}, but the bands asked for are {', '.join(names)}",
            f"name one per band of the file, or map {missing!r} to a description or index",
        )
    return dict(zip(names, places, strict=True))


def _check_alike(image: _Image, first: _Image) -> None:
    """Raise InputError unless two images of a folder have the same bands and grid."""
    if image.names != first.names:
        raise InputError(
            image.path,
            f"has bands {', '.join(image.names)}, but {first.path.name} has {', '.join(first.names)}",
            "describe the bands of all files alike, or map them with --bands",
        )
    check_grid(image.path, _box(image), first.path.name, _box(first), "give each grid its own folder, or resample")


def _check_mask(mask: Path, image: _Image) -> None:
    """Raise InputError unless a mask can be read, can tell clear pixels and lies on its image's grid."""
    with opened(mask, whole_header=True) as source:
        if source.crs is None and source.transform.is_identity:
            # A bare mask, as array libraries write it: only its size can tell.
            box = GeoBox((source.height, source.width), image.transform, image.crs)
        else:
            box = GeoBox((source.height, source.width), source.transform, source.crs or image.crs)
        blind = 0 in source.nodatavals
    check_grid(mask, box, image.path.name, _box(image), "resample the mask to its image's grid (nearest neighbour)")
    if blind:
        raise InputError(
            mask, "declares 0, which means clear, as nodata", "unset that, e.g. with gdal_edit.py -unsetnodata"
        )


def _box(image: _Image) -> GeoBox:
    return GeoBox(image.shape, image.transform, image.crs)
