"""What the numbers of a mask mean: as the user says, as its provider says, or 0 for clear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio import DatasetReader
from rasterio.windows import Window

from ..core.arrays import BoolArray
from ..core.series import MASK_TAG
from ..errors import InputError
from .opening import opened
from .products.flags import USABLE, Rule, bad_pixels
from .products.masks import PIXEL_QUALITY, SCENE_CLASSES, USABLE_DATA_MASK
from .raster import missing
from .reading import Reading

KINDS: Mapping[str, tuple[str, Mapping[int, tuple[Rule, ...]]]] = {
    "scl": ("a scene classification of Sentinel-2 (SCL)", {1: SCENE_CLASSES}),
    "qa_pixel": ("a pixel quality of Landsat (QA_PIXEL)", {1: PIXEL_QUALITY}),
    "udm2": ("a usable data mask of Planet (UDM2)", USABLE_DATA_MASK),
}
"""Masks of providers, by what stands in the names of their files: what they are, and what their numbers mean."""
KNOWN = re.compile(r"(?:^|[_\-. ])(scl|qa_?pixel|udm2)(?=[_\-. ]|$)", re.IGNORECASE)
QUALITY = (21824, 21888, 21952, 22280, 23888, 5440, 5442, 5504, 5896)
"""The most frequent numbers of QA_PIXEL: clear ground and water, clouds, of both generations of sensors."""
WAYS = {
    "scl": "give `clear=4,5,6,7,11`",
    "qa_pixel": "give `mask_bits=0,1,2,3,4`",
    "udm2": "give `mask_band=1` `clear=1`",
}
"""What to say of a provider's mask whose name does not tell what it is."""
SAMPLE = 512
"""Side to which a mask is thinned out before its numbers are looked at."""


@dataclass(frozen=True)
class Meaning:
    """Which numbers of a mask are clear."""

    clear: tuple[int, ...] | None = (0,)
    """These alone are."""
    cloudy: tuple[int, ...] = ()
    """Or all but these."""
    bits: int = 0
    """Or those with none of these bits."""
    rules: Mapping[int, tuple[Rule, ...]] = field(default_factory=dict)
    """Or, by band, those without a flag that makes a pixel invalid."""
    bands: tuple[int, ...] | None = None
    """Which bands of the file count, from 1; all if None."""

    def ok(self, raw: npt.NDArray[Any], band: int) -> BoolArray:
        """Where a band of the mask is clear."""
        if self.rules:
            bad = bad_pixels(USABLE)
            whole = raw.astype(np.int64)
            hit = np.zeros(raw.shape, bool)
            for rule in self.rules[band]:
                if bad & _bit(rule.flag):
                    hit |= rule.hits(whole)
            return ~hit
        if self.bits:
            return np.asarray((raw.astype(np.int64) & self.bits) == 0)
        if self.clear is not None:
            return np.isin(raw, self.clear)
        return ~np.isin(raw, self.cloudy)


def _bit(flag: str) -> np.uint8:
    from .products.flags import FLAGS

    return np.uint8(FLAGS[flag])


@dataclass(frozen=True)
class Mask:
    """Where a mask is and what it means."""

    path: Path
    meaning: Meaning
    box: GeoBox
    """Its grid."""
    like: GeoBox
    """That of the image, whose pixels lie in whole ones of the mask."""

    def clear(self, window: Window) -> BoolArray:
        """(y, x), for a window of the image."""
        rows, cols = (_cells(self.like, self.box, axis, window) for axis in (0, 1))
        part = Window(cols[0], rows[0], int(cols.max()) + 1 - cols[0], int(rows.max()) + 1 - rows[0])
        ok = np.ones((int(part.height), int(part.width)), bool)
        with opened(self.path) as source:
            for band in self.meaning.bands or source.indexes:
                raw = source.read(band, window=part)
                ok &= self.meaning.ok(raw, band) & ~missing(raw, source.nodatavals[band - 1])
        return np.asarray(ok[np.ix_(rows - rows[0], cols - cols[0])])


def _cells(like: GeoBox, box: GeoBox, axis: int, window: Window) -> npt.NDArray[np.intp]:
    """The rows (axis 0) or columns (1) of a mask under those of a window of its image."""
    a, b = like.affine, box.affine
    start, size = (window.row_off, window.height) if axis == 0 else (window.col_off, window.width)
    places = np.arange(int(start), int(start + size)) + 0.5
    map_ = (a.f + a.e * places - b.f) / b.e if axis == 0 else (a.c + a.a * places - b.c) / b.a
    return np.asarray(np.floor(map_), np.intp)


def fits(box: GeoBox, like: GeoBox) -> bool:
    """Whether a mask covers its image with pixels that are whole numbers of the image's."""
    if box.crs != like.crs:
        return False
    to = ~like.affine @ box.affine
    rows, cols = like.shape
    whole = all(v >= 1 - 1e-6 and abs(v - round(v)) < 1e-3 for v in (to.a, to.e))
    at = abs(to.c - round(to.c)) < 1e-3 and abs(to.f - round(to.f)) < 1e-3 and to.c < 1e-3 and to.f < 1e-3
    reach = to.c + to.a * box.shape[1] >= cols - 1e-3 and to.f + to.e * box.shape[0] >= rows - 1e-3
    return whole and at and reach


def known_kind(stem: str) -> str | None:
    """The provider's mask that a name tells of, one of :data:`KINDS`."""
    found = KNOWN.search(stem)
    if found is None:
        return None
    return "qa_pixel" if found[1].lower().startswith("qa") else found[1].lower()


def meaning_of(path: Path, reading: Reading, looked_at: bool) -> tuple[Meaning, str | None]:
    """What the numbers of a mask mean, and what is to say of that.

    Parameters
    ----------
    path
        The mask file.
    reading
        What the user says.
    looked_at
        Whether to compare its numbers with what they are taken for: one mask of a series is enough.

    Raises
    ------
    InputError
        If the numbers are none that are understood, with the options that tell.
    """
    with opened(path, whole_header=True) as source:
        bands = _band(path, source, reading.mask_band)
        if reading.clear is not None:
            return Meaning(clear=reading.clear, bands=bands), None
        if reading.cloudy is not None:
            return Meaning(clear=None, cloudy=reading.cloudy, bands=bands), None
        if reading.mask_bits is not None:
            return Meaning(clear=None, bits=sum(1 << b for b in set(reading.mask_bits)), bands=bands), None
        if MASK_TAG in source.tags():
            return Meaning(clear=None, cloudy=(1,), bands=bands), None
        kind = known_kind(path.stem)
        if kind is None:
            if looked_at:
                _check_plain(path, source, bands)
            return Meaning(bands=bands), None
        what, rules = KINDS[kind]
        if looked_at and looks_like(source) not in (kind, None):
            raise InputError(path, f"is named like {what}, but its numbers are not", "give `clear` or `cloudy`")
        if source.count < max(rules):
            raise InputError(path, f"has {source.count} bands, not the {max(rules)} of {what}", "give `clear`")
        return Meaning(clear=None, rules=rules, bands=tuple(rules)), f"masks are read as {what}"


def _band(path: Path, source: DatasetReader, wanted: str | int | None) -> tuple[int, ...] | None:
    if wanted is None:
        return None
    names = {name: i for i, name in enumerate(source.descriptions, 1) if name}
    index = names.get(str(wanted)) or (int(wanted) if str(wanted).isdecimal() else 0)
    if index not in source.indexes:
        known = ", ".join(names) or f"1 to {source.count}"
        raise InputError(path, f"has no band {wanted!r} for the mask (it has {known})", "correct `mask_band`")
    return (index,)


def _numbers(source: DatasetReader, band: int) -> npt.NDArray[Any]:
    """The different numbers of a thinned-out band, without nodata."""
    shape = tuple(min(n, SAMPLE) for n in source.shape)
    raw = source.read(band, out_shape=shape)
    return np.unique(raw[~missing(raw, source.nodatavals[band - 1])])


def looks_like(source: DatasetReader) -> str | None:
    """Which provider's mask the numbers of a file are of, one of :data:`KINDS`, if that is plain."""
    if any(np.dtype(kind).kind not in "iu" for kind in source.dtypes):
        return None
    if source.count == 8 and set(_numbers(source, 1)) <= {0, 1} and _numbers(source, 7).max(initial=0) <= 100:
        return "udm2"
    found = set(_numbers(source, 1).tolist())
    if found and found <= set(range(12)) and found & {5, 6, 7, 8, 9, 10, 11} and found & {4, 5, 6, 8, 9}:
        return "scl"
    if found & set(QUALITY):
        return "qa_pixel"
    return None


def _check_plain(path: Path, source: DatasetReader, bands: tuple[int, ...] | None) -> None:
    """Raise InputError where 0 for clear is not what a mask means."""
    found = _numbers(source, (bands or (1,))[0]).tolist()
    shown = ", ".join(f"{v:g}" for v in found[:6]) + ", …" * (len(found) > 6)
    kind = looks_like(source)
    if kind is not None:
        raise InputError(path, f"holds {shown}: looks like {KINDS[kind][0]}", f"{WAYS[kind]} (or `clear=0`)")
    if found and 0 not in found and len(found) > 1:
        what = f"holds {shown} and no 0, which means clear"
        raise InputError(path, what, "say what does: `clear`, `cloudy` or `mask_bits`")
