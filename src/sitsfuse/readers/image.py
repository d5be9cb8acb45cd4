"""One image of a series of raster files: what its headers say, and its pixels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import DatasetReader
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from ..core.arrays import LARGEST, BoolArray, FloatArray
from ..core.grid import straightened
from ..errors import InputError
from .folders import Dated
from .meanings import Mask, Meaning, fits, meaning_of
from .opening import opened
from .raster import check_grid, missing, scaled
from .reading import BandNames, Reading


class Named(Protocol):
    """What has bands and a file."""

    @property
    def path(self) -> Path:
        """The file, for errors."""

    @property
    def names(self) -> tuple[str, ...]:
        """The bands."""


@dataclass(frozen=True)
class Layer:
    """Where a band lies and how to decode it."""

    path: Path
    index: int
    """From 1."""
    scale: float
    offset: float
    nodata: float | None
    dtype: str


@dataclass(frozen=True)
class Image:
    """Where the bands of an image lie and how to decode them."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    """One per name."""
    box: GeoBox
    alphas: tuple[tuple[Path, int], ...] = ()
    """Bands that are transparent (0) where there is nothing."""
    inner: tuple[Path, ...] = ()
    """Files with a mask of GDAL's own, inside or beside them."""
    judged: tuple[tuple[Path, int, Meaning], ...] = ()
    """Bands of the files that are masks."""
    mask: Mask | None = None

    @property
    def path(self) -> Path:
        """The first file."""
        return self.layers[0].path

    @property
    def files(self) -> list[Path]:
        """All files, for their times of change."""
        return list(dict.fromkeys([layer.path for layer in self.layers] + ([self.mask.path] if self.mask else [])))

    @property
    def may_be_invalid(self) -> bool:
        """Whether the pixels themselves can be invalid."""
        hole = any(layer.nodata is not None or np.dtype(layer.dtype).kind == "f" for layer in self.layers)
        return hole or bool(self.alphas or self.inner or self.judged)

    def decode(self, window: Window) -> tuple[FloatArray, BoolArray]:
        """Values (band, y, x), NaN where a band has nodata, and where all bands are there and clear (y, x)."""
        shape = int(window.height), int(window.width)
        values, ok = np.empty((len(self.layers), *shape), np.float32), np.ones(shape, bool)
        for path in dict.fromkeys(layer.path for layer in self.layers):
            with opened(path) as source:
                for k, layer in enumerate(self.layers):
                    if layer.path == path:
                        raw = source.read(layer.index, window=window)
                        value = scaled(raw, layer.scale, layer.offset)
                        lacks = missing(raw, layer.nodata) | ~(np.abs(value) < LARGEST)
                        value[lacks] = np.nan
                        values[k] = value
                        ok &= ~lacks
                self._judge(source, path, window, ok)
        if self.mask is not None:
            ok &= self.mask.clear(window)
        return values, ok

    def _judge(self, source: DatasetReader, path: Path, window: Window, ok: BoolArray) -> None:
        """Take out what the masks inside a file take out."""
        for where, index in self.alphas:
            if where == path:
                ok &= source.read(index, window=window) != 0
        for where, index, meaning in self.judged:
            if where == path:
                raw = source.read(index, window=window)
                ok &= meaning.ok(raw, index) & ~missing(raw, source.nodatavals[index - 1])
        if path in self.inner:
            ok &= source.dataset_mask(window=window) > 0

    def read(self, window: Window) -> FloatArray:
        """Values alone (band, y, x)."""
        return self.decode(window)[0]

    def clear(self, window: Window) -> BoolArray:
        """Whether all bands are there and clear (y, x)."""
        if self.may_be_invalid:
            return self.decode(window)[1]
        return np.ones((window.height, window.width), bool) if self.mask is None else self.mask.clear(window)


def read_header(dated: Dated, k: int, reading: Reading, *, look: bool, notes: list[str]) -> Image:
    """Read and check the headers of an image and of its mask.

    Parameters
    ----------
    dated
        The files of a date.
    k
        Which of its images, where each holds all bands.
    reading
        What the user says.
    look
        Whether to look at the numbers of its mask.
    notes
        What is to say is added here.
    """
    mask = dated.masks[k] if len(dated.masks) > k else None
    if dated.bands is None:
        inside = reading.mask_band if mask is None and reading.mask_pattern is None else None
        image = _from_file(dated.images[k], reading, inside)
    else:
        image = _from_files(dict(zip(dated.bands, dated.images, strict=True)), reading)
    if mask is None:
        return image
    meaning, said = meaning_of(mask, reading, look)
    if said and said not in notes:
        notes.append(said)
    return _with_mask(image, mask, meaning)


def _from_file(path: Path, reading: Reading, inside: str | int | None = None) -> Image:
    """An image in one file, of which the band ``inside`` is a mask."""
    with opened(path, whole_header=True) as source:
        box = box_of(source, path)
        alphas = [i for i in source.indexes if source.colorinterp[i - 1] == ColorInterp.alpha]
        judged = [] if inside is None else [find_band(path, source, inside, "`mask_band`")]
        data = [i for i in source.indexes if i not in alphas and i not in judged]
        chosen = choose(path, {i: _description(source, i) for i in data}, reading.bands)
        layers = tuple(_layer(path, source, i, reading) for i in chosen.values())
        flags = {f for i in chosen.values() for f in source.mask_flag_enums[i - 1]}
        inner = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
    if judged and not any((reading.clear, reading.cloudy, reading.mask_bits)):
        raise InputError(path, "has a band for a mask, of which nothing says what is clear", "give `clear` or `cloudy`")
    meaning = Meaning(
        clear=reading.clear,
        cloudy=reading.cloudy or (),
        bits=sum(1 << b for b in set(reading.mask_bits or ())),
    )
    return Image(
        names=tuple(chosen),
        layers=layers,
        box=box,
        alphas=tuple((path, i) for i in alphas),
        inner=(path,) if inner else (),
        judged=tuple((path, i, meaning) for i in judged),
    )


def _description(source: DatasetReader, index: int) -> str | None:
    """A band's name, unless it is the one that some formats give to whatever has none: Layer_1."""
    text: str | None = source.descriptions[index - 1]
    return None if text and re.fullmatch(rf"(layer|band)[_ ]?0*{index}", text, re.IGNORECASE) else text


def _from_files(files: Mapping[str, Path], reading: Reading) -> Image:
    """An image whose bands lie in files of their own."""
    places = list(files)
    first = files[places[0]]
    chosen = choose(first, dict(enumerate(places, 1)), reading.bands)
    parts: list[Image] = []
    for index in chosen.values():
        path = files[places[index - 1]]
        part = _from_file(path, Reading(scale=reading.scale, offset=reading.offset))
        if len(part.layers) != 1:
            raise InputError(path, f"holds {len(part.layers)} bands", "give one band per file, or drop `band_pattern`")
        if parts:
            mend = "give files of one resolution, or leave it out with `bands`"
            check_grid(path, part.box, parts[0].path.name, parts[0].box, mend)
        parts.append(part)
    return Image(
        names=tuple(chosen),
        layers=tuple(part.layers[0] for part in parts),
        box=parts[0].box,
        alphas=tuple(a for part in parts for a in part.alphas),
        inner=tuple(p for part in parts for p in part.inner),
    )


def _layer(path: Path, source: DatasetReader, index: int, reading: Reading) -> Layer:
    dtype = source.dtypes[index - 1]
    if np.dtype(dtype).kind == "c":
        raise InputError(path, "holds complex numbers", "give reflectances, as integers or floats")
    scale = float(source.scales[index - 1]) if reading.scale is None else reading.scale
    offset = float(source.offsets[index - 1]) if reading.offset is None else reading.offset
    if not (np.isfinite(scale) and np.isfinite(offset)) or scale == 0:
        what = f"says that band {index} has scale {scale:g} and offset {offset:g}"
        raise InputError(path, what, "give `scale` and `offset`")
    return Layer(path, index, scale, offset, source.nodatavals[index - 1], dtype)


def box_of(source: DatasetReader, path: Path) -> GeoBox:
    """The grid of an open file, without the tilt of rounding.

    Raises
    ------
    InputError
        If it has no place on the map, is rotated, or holds several rasters.
    """
    pages = len(source.subdatasets)
    if pages:
        what = f"holds {pages} rasters (pages or variables), of which only one would be read"
        raise InputError(path, what, "write them as bands of one file, e.g. with gdalbuildvrt -separate")
    if source.crs is None or source.transform.is_identity:
        what = "no CRS" if source.crs is None else "no geotransform"
        raise InputError(path, f"has {what}", "georeference it, e.g. with gdal_translate -a_srs … -a_ullr …")
    code = source.crs.to_epsg()
    box = GeoBox((source.height, source.width), source.transform, f"EPSG:{code}" if code else source.crs.to_wkt())
    return straightened(box, path)


def find_band(path: Path, source: DatasetReader, wanted: str | int, option: str) -> int:
    """The index of a band, by description or from 1."""
    names = {name: i for i, name in enumerate(source.descriptions, 1) if name}
    index = names.get(str(wanted)) or (int(wanted) if str(wanted).isdecimal() else 0)
    if index not in source.indexes:
        known = ", ".join(names) or f"1 to {source.count}"
        raise InputError(path, f"has no band {wanted!r} (it has {known})", f"correct {option}")
    return index


def choose(path: Path, descriptions: Mapping[int, str | None], bands: BandNames | None) -> dict[str, int]:
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


def check_alike(image: Named, first: Named) -> None:
    """Raise InputError unless two images of a folder have the same bands."""
    if image.names != first.names:
        raise InputError(
            image.path,
            f"has bands {', '.join(image.names)}, but {first.path.name} has {', '.join(first.names)}",
            "describe the bands of all files alike, or map them with `bands`",
        )


def _with_mask(image: Image, mask: Path, meaning: Meaning) -> Image:
    """The image with a mask, which must be readable, tell clear pixels and lie on its grid."""
    with opened(mask, whole_header=True) as source:
        if source.crs is None and source.transform.is_identity:
            # A bare mask, as array libraries write it: only its size can tell.
            box = GeoBox((source.height, source.width), image.box.affine, image.box.crs)
        else:
            box = GeoBox((source.height, source.width), source.transform, source.crs or image.box.crs)
        blind = meaning == Meaning() and 0 in source.nodatavals
    if not fits(box, image.box):
        mend = "resample the mask to its image's grid (nearest neighbour)"
        check_grid(mask, box, image.path.name, image.box, mend)
    if blind:
        raise InputError(
            mask, "declares 0, which means clear, as nodata", "unset that, e.g. with gdal_edit.py -unsetnodata"
        )
    return replace(image, mask=Mask(mask, meaning, box, image.box))


def with_uncertainty(paths: Sequence[Path], first: Image, reading: Reading) -> list[Image]:
    """The images of uncertainty of a series, in the unit of its values."""
    found = []
    for path in paths:
        offset = None if reading.scale is None else 0.0
        image = _from_file(path, Reading(bands=reading.bands, scale=reading.scale, offset=offset))
        check_alike(image, first)
        check_grid(path, image.box, first.path.name, first.box, "give it the grid of its image")
        found.append(image)
    return found
