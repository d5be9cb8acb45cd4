"""A folder of GeoTIFFs, one per date, as a lazy series.

Opening reads the headers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from dask.base import tokenize
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from ..core.checks import check
from ..core.grid import check_unrotated
from ..core.series import make_series
from ..errors import InputError
from .file_dates import DIRECTIVES, dated_files
from .raster import Stack, check_grid, missing, opened, scaled

# Not rioxarray: it decodes with one scale and one offset per file, while ours may differ by band.


BandNames = Mapping[str, str | int] | Sequence[str]
DIRECTIVES |= dict.fromkeys("ymdHMS", r"\d{2}")


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
        raise InputError("`chunk`", f"is {chunk}", "give a positive number of pixels")
    dated = dated_files(folder, date_pattern)
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
        raise InputError("`bands`", f"is {bands!r}", "give a list of names or a mapping {name: description or index}")
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
        raise InputError("`bands`", f"names a band twice ({', '.join(names)})", "give every band its own name")
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
            "describe the bands of all files alike, or map them with `bands`",
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
