"""A folder of rasters, one or some per date, as a lazy series.

Opening reads headers, and the numbers of one mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.checks import check
from ..core.series import CONTENT, make_series
from .content import mark
from .folders import Dated, Listing, list_folder, unread
from .image import Image, check_alike, read_header, with_uncertainty
from .mosaic import Mosaic, clearest, union
from .raster import Stack, check_grid
from .reading import Reading

# Not rioxarray: it decodes with one scale and one offset per file, while ours may differ by band.


def read_geotiffs(folder: str | Path, reading: Reading | None = None, **options: Any) -> xr.Dataset:
    """Open a folder of GeoTIFFs or other rasters, one per date, as a lazy series.

    Parameters
    ----------
    folder
        Holds one ``*.tif`` (or .jp2, .vrt, .img, ENVI, NetCDF …) per date, or a folder per date that does.
        ``NAME_mask.tif`` beside ``NAME.tif`` is its mask: 0 is clear, anything else and nodata are invalid; so is a
        mask of the same date if it is the only one, and what is named SCL, QA_PIXEL or UDM2, which mean what their
        providers say. Masks may have larger pixels than their images. ``*_uncertainty.tif``, ``*_weights.tif`` and
        hidden files are skipped.
    reading
        How to read. Its fields may also be given by name:

        ``date_pattern`` tells how to find the date in a file's name (without its suffix); by default the first
        YYYYMMDD or YYYY-MM-DD that is a date. With a ``%`` it is a `strptime` format, looked for anywhere in the
        name, such as ``A%Y%j``; else a regular expression with the named groups ``year``, ``month`` and ``day``, or
        one group ``date`` that holds YYYYMMDD or YYYY-MM-DD.

        ``bands``: a mapping {name: band description or 1-based index} selects and renames bands. A sequence of names
        selects them, if all are descriptions, else it names the bands in the order of the file. Bands with neither
        name nor description are called band1, band2 … Where each file holds one band (``band_pattern``, or names
        that differ in one part), that is its description.

        For ``mask_pattern``, ``mask_band``, ``clear``, ``cloudy``, ``mask_bits``, ``scale``, ``offset`` and
        ``same_day`` see :class:`~sitsfuse.readers.reading.Reading`.
    **options
        The fields of ``reading`` by name.

    Returns
    -------
    xarray.Dataset
        A lazy series. Scale and offset of each band are applied; ``reflectance`` is NaN where a band has nodata (or
        is not finite, or beyond all measure) and keeps its values under the mask; ``valid`` is false where any band
        has nodata, an alpha band or GDAL's own mask is transparent, or the mask is not clear.
        ``uncertainty(time, band, y, x)`` if every date has one beside it, named ``<same name>_uncertainty.tif``.
        Coordinate ``product`` (time): the file names. Attribute ``notes``: what was left out or is unusual.

    Raises
    ------
    InputError
        If the folder or a file in it cannot be used; reading a damaged block raises it, too, when computed.
    """
    folder = Path(folder)
    reading = Reading.of(options) if reading is None else reading
    listing = list_folder(folder, reading)
    notes = list(listing.notes)
    notes += [f"left out: {name}, of a format that is not read" for name in unread(folder)]
    images = _images(listing, reading, notes)
    first = images[0]
    for other in images[1:]:
        check_alike(other, first)
        check_grid(other.path, other.box, first.path.name, first.box, "give each grid its own folder, or resample")
    shape = tuple(first.box.shape)
    stack = Stack(tuple(images), "read", np.dtype(np.float32), (len(first.names), *shape))
    clear = Stack(tuple(images), "clear", np.dtype(bool), shape)
    # Modification times, so that a file that was replaced is not taken for the old one by a cluster's cache.
    token = stack.token([p.stat().st_mtime_ns for i in images for p in i.files], reading.chunk)
    reflectance, valid = (
        stack.lazy(reading.chunk, f"geotiff-{token}"),
        clear.lazy(reading.chunk, f"geotiff-valid-{token}"),
    )
    times = [d.time for d in listing.dates]
    attrs = {"notes": notes} if notes else {}
    series = make_series(reflectance, valid, times, first.names, first.box, attrs)
    companions = [d.uncertainty for d in listing.dates if d.uncertainty is not None]
    if len(companions) == len(images) and isinstance(first, Image):
        unsure = with_uncertainty(companions, first, reading)
        sigma = Stack(tuple(unsure), "read", np.dtype(np.float32), (len(first.names), *shape))
        token = sigma.token([p.stat().st_mtime_ns for p in companions], reading.chunk)
        series["uncertainty"] = series["reflectance"].dims, sigma.lazy(reading.chunk, f"geotiff-uncertainty-{token}")
    products = np.array([_label(d) for d in listing.dates], dtype=np.dtypes.StringDType())
    marks = np.array([mark(image.files) for image in images], dtype=np.dtypes.StringDType())
    return check(series.assign_coords({"product": ("time", products), CONTENT: ("time", marks)}), folder)


def _label(dated: Dated) -> str:
    """What an image is called: its file, or its folder or the first of its files where it has several."""
    return dated.images[0].name


def _images(listing: Listing, reading: Reading, notes: list[str]) -> list[Image | Mosaic]:
    """The images of all dates, on one grid where those of a day are joined."""
    masked = [d for d in listing.dates if any(d.masks)]
    # The numbers of the first and of the last mask are looked at.
    looked_at = [masked[0], masked[-1]] if masked else []
    parts: list[list[Image]] = []
    for dated in listing.dates:
        count = 1 if dated.bands is not None else len(dated.images)
        look = any(dated is d for d in looked_at)
        parts.append([read_header(dated, k, reading, look=look, notes=notes) for k in range(count)])
    if all(len(p) == 1 for p in parts) and reading.same_day != "mosaic":
        return [p[0] for p in parts]
    for images in parts:
        for other in images[1:]:
            check_alike(other, images[0])
    if reading.same_day == "clearest":
        return [clearest(images) for images in parts]
    flat = [image for images in parts for image in images]
    box = union([image.box for image in flat], [image.path for image in flat])
    return [Mosaic(tuple(images), box) for images in parts]
