"""Raster files opened by GDAL: by the driver that their name says and no other, with errors that name the file."""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from ..errors import InputError
from .damage import AGAIN, check_file, first_line, outside
from .handles import drop, kept

DRIVERS = {
    ".tif": ("GTiff",),
    ".tiff": ("GTiff",),
    ".jp2": ("JP2OpenJPEG",),
    ".j2k": ("JP2OpenJPEG",),
    ".vrt": ("VRT",),
    ".img": ("HFA", "ENVI"),
    ".dat": ("ENVI",),
    ".bsq": ("ENVI", "EHdr"),
    ".bil": ("ENVI", "EHdr"),
    ".bip": ("ENVI", "EHdr"),
    ".nc": ("netCDF",),
    ".asc": ("AAIGrid",),
    ".ers": ("ERS",),
}
"""GDAL's drivers by the ending of a name. A file is never opened by another: what is called .tif and is a recipe (VRT,
WMS …) could make requests and read other files."""
ANY = tuple(dict.fromkeys(name for suffix, names in DRIVERS.items() if suffix != ".vrt" for name in names))
"""Drivers where the name has none of these endings."""
DEEPEST = 3
"""How many VRTs may refer to one another."""


def suffix_of(path: Path | str) -> str:
    """The ending of a file, also in an archive or at an address, in small letters."""
    return PurePosixPath(str(path).partition("?")[0]).suffix.lower()


def is_raster(path: Path) -> bool:
    """Whether a name says that a file is a raster."""
    return path.suffix.lower() in DRIVERS


@contextmanager
def opened(path: Path | str, *, where: object = None, whole_header: bool = False) -> Iterator[rasterio.DatasetReader]:
    """An open dataset; whatever GDAL cannot read becomes an InputError that names the file.

    Parameters
    ----------
    path
        What GDAL opens.
    where
        What the user knows it by; the path itself by default.
    whole_header
        Whether what GDAL only warns of is an error, too: a header cut short, which may have lost scale and nodata.
    """
    place = path if where is None else where
    local = not str(path).startswith("/vsi") and "://" not in str(path)
    if str(path).encode("utf-8", "ignore").decode() != str(path):
        raise InputError(place, "has a name that is not UTF-8, which GDAL does not open", "rename it or its folder")
    if local:
        check_file(Path(path), place)
        if suffix_of(path) == ".vrt":
            _check_recipe(Path(path), place)
    lost = _LostTags()
    logger = logging.getLogger("rasterio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if whole_header:
                logger.addHandler(lost)
            elif local:
                yield kept(Path(path), lambda: _open(path))
                return
            source = _open(path)
        with source:
            lost.check()
            yield source
    except (RasterioError, OSError, SystemError, MemoryError) as error:
        if local:
            drop(Path(path))
        kind = "GeoTIFF" if suffix_of(path) in (".tif", ".tiff") else "raster"
        why = "" if local else f": {first_line(error)}"
        raise InputError(place, f"cannot be read (truncated, damaged or no {kind}{why})", AGAIN) from error
    finally:
        logger.removeHandler(lost)


def _open(path: Path | str) -> rasterio.DatasetReader:
    """Open with the first driver that can: rasterio takes one at a time."""
    drivers = DRIVERS.get(suffix_of(path), ANY)
    for driver in drivers[:-1]:
        try:
            return rasterio.open(path, driver=driver)
        except RasterioError:
            continue
    return rasterio.open(path, driver=drivers[-1])


class _LostTags(logging.Handler):
    """Listens, in its own thread, for GDAL's warning that it could not read a part of a header."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found = ""
        self.thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Note what GDAL says."""
        if record.thread == self.thread and "IO error during reading" in record.getMessage():
            self.found = record.getMessage()

    def check(self) -> None:
        """Raise OSError if something was lost."""
        if self.found:
            raise OSError(self.found)


def _check_recipe(path: Path, where: object) -> None:
    """Raise InputError unless all that a VRT refers to are rasters on this machine."""
    stat = path.stat()
    _check_sources(path, where, stat.st_mtime_ns, stat.st_size, 1)


@functools.lru_cache(maxsize=4096)
def _check_sources(path: Path, where: object, _mtime: int, _size: int, depth: int) -> None:
    mend = "write it anew, from rasters on this machine"
    with outside(where, "is not a valid VRT"):
        root = ElementTree.fromstring(path.read_bytes())  # noqa: S314 (expat refuses what expands without end)
    for band in root.iter("VRTRasterBand"):
        if band.get("subClass") not in (None, "VRTSourcedRasterBand", "VRTWarpedRasterBand"):
            raise InputError(where, f"has a band of the kind {band.get('subClass')}, which is not read", mend)
    for element in (e for e in root.iter() if e.tag in ("SourceFilename", "SourceDataset")):
        text = (element.text or "").strip()
        source = path.parent / text if element.get("relativeToVRT") == "1" else Path(text)
        if "://" in text or text.startswith("/vsi") or not is_raster(source):
            raise InputError(where, f"refers to {text[:100]}, which is not a raster on this machine", mend)
        if suffix_of(source) != ".vrt":
            with opened(source, where=f"{where} (its source {text[:100]})"):
                continue
        if depth == DEEPEST:
            raise InputError(where, f"refers to VRTs {DEEPEST} deep", mend)
        check_file(source, f"{where} (its source {text[:100]})")
        stat = source.stat()
        _check_sources(source, where, stat.st_mtime_ns, stat.st_size, depth + 1)
