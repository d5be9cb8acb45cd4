"""One image product: what its metadata say, and its pixels on any grid.

A reader of a format turns metadata into a :class:`Product`: where each band and mask lies, and how to decode it. All
that touches pixels is here, once for all formats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio import DatasetReader
from rasterio.windows import Window as RasterWindow
from scipy.ndimage import distance_transform_edt

from ...core.arrays import BoolArray, FloatArray
from ...core.displacement import STAY, Displacement
from ...core.grid import Window
from ...errors import InputError
from ...operators.warp import nearest, resample, source_window
from ..opening import opened
from ..raster import check_grid, missing, scaled
from .archive import verify
from .flags import FLAGS, GROWS, USABLE, MaskFile, bad_pixels


@dataclass(frozen=True)
class BandFile:
    """Where a band lies and how to decode it: ``reflectance = scale * number + offset``."""

    name: str
    """Common name: blue, nir …"""
    native: str
    """What the sensor's documents call it: B2 …"""
    path: str
    """As GDAL opens it."""
    box: GeoBox
    """Its grid."""
    scale: float
    """Reflectance per number."""
    offset: float = 0.0
    """Reflectance of the number 0."""
    nodata: tuple[float, ...] = ()
    """Numbers that say that there is none."""
    saturated: tuple[float, ...] = ()
    """Numbers that say that the sensor was saturated."""
    index: int = 1
    """Which layer of the file, from 1."""

    def lacks(self, raw: npt.NDArray[np.generic]) -> BoolArray:
        """Where numbers say that there is nothing."""
        empty = missing(raw, None)
        for number in self.nodata:
            empty |= missing(raw, number)
        return empty


@dataclass(frozen=True)
class Product:
    """An image as its producer delivers it."""

    path: Path
    """Folder, .zip or file."""
    id: str
    """The producer's name for it."""
    format: str
    """The name of its reader: muscate, safe …"""
    sensor: str
    """The name of its sensor: venus, sentinel2 …"""
    platform: str
    """The satellite: SENTINEL2A, VENUS …"""
    time: np.datetime64
    """When it was taken (UTC), datetime64[ns]."""
    bands: tuple[BandFile, ...]
    """All bands that can be used, in the order of the sensor."""
    masks: tuple[MaskFile, ...] = ()
    """Masks, none if the product has none."""
    cloud: float | None = None
    """Cloudy share of the image as the metadata have it, 0–1."""
    sun: tuple[float, float] | None = None
    """Zenith and azimuth of the sun, in degrees."""
    view: tuple[float, float] | None = None
    """Zenith and azimuth of the view, mean of the bands, in degrees."""
    dilation: float = 0.0
    """Metres by which clouds and their shadows should be widened, if nobody says otherwise: 0 where the producer
    does so."""
    notes: tuple[str, ...] = field(default=())
    """What is unusual: masks that are missing …"""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All folders or files that it comes from."""
        return (self.path,)

    def band(self, name: str) -> BandFile:
        """The band of a common or native name.

        Raises
        ------
        InputError
            If there is none.
        """
        for band in self.bands:
            if name in (band.name, band.native):
                return band
        have = ", ".join(f"{b.name} ({b.native})" for b in self.bands)
        raise InputError(self.path, f"has no band {name} (it has {have})", "choose other bands or download it again")

    def box(self, names: Iterable[str]) -> GeoBox:
        """The grid of the finest of some bands."""
        return min((self.band(n).box for n in names), key=lambda b: abs(b.affine.a))

    def read(
        self,
        names: Sequence[str],
        box: GeoBox,
        displacement: Displacement = STAY,
        *,
        usable: Sequence[str] = USABLE,
        dilation: float | None = None,
        mtf: float | Sequence[float] = 0.3,
    ) -> tuple[FloatArray, BoolArray, npt.NDArray[np.uint8]]:
        """Pixels on any grid, without displacement.

        Parameters
        ----------
        names
            Common or native names of bands.
        box
            The grid: often a window of a larger one, in this or another CRS.
        displacement
            Of the image, taken out in the resampling.
        usable
            Flags of pixels that are valid nonetheless; nodata never is.
        dilation
            Metres by which clouds and their shadows are widened; the format's own default if None.
        mtf
            MTF at Nyquist of a sensor with the pixels of ``box``, used where they are larger than a band's; one for
            all bands or one each.

        Returns
        -------
        values, valid, flags
            (band, y, x) float32, NaN where invalid; (y, x) bool, whether all bands are valid; (y, x) uint8, see
            :data:`FLAGS`.

        Raises
        ------
        InputError
            If a band is missing or a file cannot be read.
        """
        bands = [self.band(n) for n in names]
        mtfs = [float(mtf)] * len(bands) if np.isscalar(mtf) else [float(m) for m in mtf]  # type: ignore[arg-type, union-attr]
        grow = self.dilation if dilation is None else dilation
        bad = bad_pixels(usable)
        values = np.empty((len(bands), *box.shape), np.float32)
        valid = np.ones(box.shape, bool)
        flags = np.zeros(box.shape, np.uint8)
        masks: dict[GeoBox, npt.NDArray[np.uint8]] = {}
        found: dict[GeoBox, npt.NDArray[np.uint8]] = {}
        for k, (band, m) in enumerate(zip(bands, mtfs, strict=True)):
            window = source_window(band.box, box, displacement, m)
            part = band.box[window]
            if part not in masks:
                masks[part] = self._flags(part, grow)
            there = masks[part].copy()
            raw = _read(band.path, band.index, band.box, window, self.path)
            value = scaled(raw, band.scale, band.offset).astype(np.float32)
            there |= band.lacks(raw) * np.uint8(FLAGS["nodata"])
            there |= np.isin(raw, band.saturated) * np.uint8(FLAGS["saturated"])
            image, ok = resample(value[None], (there & bad) == 0, part, box, displacement, m)
            values[k] = image[0]
            valid &= ok
            found[part] = found[part] | there if part in found else there
        for part, there in found.items():
            flags |= np.asarray(nearest(there, part, box, displacement, FLAGS["nodata"]), np.uint8)
        values[:, ~valid] = np.nan
        return values, valid, flags

    def overview(self, name: str, box: GeoBox, *, usable: Sequence[str] = USABLE) -> tuple[BoolArray, BoolArray]:
        """Where there are data and where they are valid, by nearest neighbours on a coarse grid.

        Parameters
        ----------
        name
            A band, for its nodata.
        box
            The grid.
        usable
            Flags of pixels that are valid nonetheless.

        Returns
        -------
        there, valid
            (y, x) bool.
        """
        band = self.band(name)
        raw, part = _read_coarse(band.path, band.index, band.box, box, self.path)
        flags = np.where(band.lacks(raw), np.uint8(FLAGS["nodata"]), np.uint8(0))
        flags = np.asarray(nearest(flags, part, box, outside=FLAGS["nodata"]), np.uint8)
        for mask in self.masks:
            raw, part = _read_coarse(mask.path, mask.index, mask.box, box, self.path)
            flags |= np.asarray(nearest(mask.flags(raw), part, box), np.uint8)
        return (flags & FLAGS["nodata"]) == 0, (flags & bad_pixels(usable)) == 0

    def _flags(self, box: GeoBox, grow: float) -> npt.NDArray[np.uint8]:
        """What the masks say on a grid, clouds widened."""
        found = np.zeros(box.shape, np.uint8)
        pixel = abs(box.affine.a)
        margin = math.ceil(grow / pixel)
        wide = box.pad(margin) if margin else box
        for mask in self.masks:
            window = source_window(mask.box, wide)
            raw = _read(mask.path, mask.index, mask.box, window, self.path)
            # Where the mask has the smaller pixels, every one of them counts.
            parts = max(1, round(pixel / abs(mask.box.affine.a))) if mask.box.crs == box.crs else 1
            fine = wide.zoom_out(1 / parts) if parts > 1 else wide
            out = np.asarray(nearest(mask.flags(raw), mask.box[window], fine), np.uint8)
            if parts > 1:
                out = np.bitwise_or.reduce(out.reshape(wide.shape[0], parts, wide.shape[1], parts), axis=(1, 3))
            if margin:
                for bit in (b for b in FLAGS.values() if b & GROWS):
                    hit = (out & bit) != 0
                    if hit.any():
                        out |= (distance_transform_edt(~hit) * pixel <= grow) * np.uint8(bit)
                out = out[margin:-margin, margin:-margin]
            found |= out
        return found


def _read(path: str, index: int, whole: GeoBox, window: Window, where: Path) -> npt.NDArray[np.integer]:
    rows, cols = window
    if rows.start == rows.stop or cols.start == cols.stop:
        return np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
    with _opened(path, whole, where) as source:
        return np.asarray(source.read(index, window=RasterWindow.from_slices(rows, cols)))


@contextmanager
def _opened(path: str, whole: GeoBox, where: Path) -> Iterator[DatasetReader]:
    """A file of a product, which must be what its archive holds and lie where its metadata say."""
    place = path if Path(path).exists() else where
    verify(path, place)
    with opened(path, where=place) as source:
        box = GeoBox(source.shape, source.transform, source.crs or whole.crs)
        check_grid(path, box, "what its metadata say", whole, "download it again, or correct its metadata")
        yield source


def _read_coarse(
    path: str, index: int, whole: GeoBox, box: GeoBox, where: Path
) -> tuple[npt.NDArray[np.integer], GeoBox]:
    """What covers a coarse grid, with some two pixels for each of its own, and the grid of that."""
    window = source_window(whole, box)
    rows, cols = (w.stop - w.start for w in window)
    if 0 in (rows, cols):
        return _read(path, index, whole, window, where), whole[window]
    shape = (min(rows, 2 * box.shape[0]), min(cols, 2 * box.shape[1]))
    with _opened(path, whole, where) as source:
        raw = source.read(index, window=RasterWindow.from_slices(*window), out_shape=shape)
    scale = Affine.scale(cols / shape[1], rows / shape[0])
    return raw, GeoBox(shape, whole[window].affine * scale, whole.crs)


def grid_of(path: str, where: object) -> GeoBox:
    """The grid of a raster file.

    Raises
    ------
    InputError
        If it cannot be read or has no place on the map.
    """
    with opened(path, where=where, whole_header=True) as source:
        if source.crs is None or source.transform.is_identity:
            raise InputError(where, "has no CRS or geotransform", "download the product again")
        crs = f"EPSG:{source.crs.to_epsg()}" if source.crs.to_epsg() else source.crs.to_wkt()
        return GeoBox((source.height, source.width), source.transform, crs)
