"""Level-2 products of Landsat, Collection 2, as USGS delivers them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from ...core.sensors import find_sensor
from ...errors import InputError
from ..opening import opened
from .archive import Archive
from .flags import MaskFile, Rule
from .masks import PIXEL_QUALITY
from .metadata import AGAIN
from .product import BandFile, Product, grid_of

SHAPE = re.compile(r"L[A-Z]\d{2}_L2S[PR]_\d{6}_\d{8}_\d{8}_\d{2}_(?:T1|T2|RT)")
"""What the names of products and their files begin with."""
ARCHIVES = (".zip", ".tar")
"""Endings of archives."""
METADATA = ("xml", "json", "txt")
"""The forms in which products come with their metadata, the same in each: one is enough."""
DROPPED, HIDDEN = 1 << 9, 1 << 11
"""Bits of QA_RADSAT: pixels lost on the way (Landsat-4 to 7), and ground behind mountains (Landsat-8 and 9)."""


def is_product(path: Path) -> bool:
    """Whether a path is a product, or what is left of one, by names alone: a folder, .zip or .tar."""
    if path.is_dir():
        return bool(SHAPE.match(path.name)) or any(SHAPE.match(p.name) for p in path.glob("[!.]*_MTL.*"))
    return path.suffix.lower() in ARCHIVES and bool(SHAPE.match(path.name))


def read_products(path: Path) -> list[Product]:
    """The one product at a path."""
    return [read_product(path)]


def read_product(path: str | Path) -> Product:
    """Read the metadata of a product.

    Parameters
    ----------
    path
        A folder, or an archive that holds one (or its files directly).

    Returns
    -------
    Product
        The bands of surface reflectance, of Landsat-4 to 9.

    Raises
    ------
    InputError
        If metadata or bands are missing, or the folder holds the files of several products.
    """
    archive = Archive.of(path)
    meta = _Metadata.of(archive)
    identity = meta.text("PRODUCT_CONTENTS/LANDSAT_PRODUCT_ID")
    if not SHAPE.match(identity):
        raise InputError(meta.where, f"is of {identity}", "give Level-2 products of Collection 2 (L2SP or L2SR)")
    others = {n.rsplit("/", 1)[-1].rsplit("_", 1)[0] for n in archive.names if n.endswith("_MTL." + meta.form)}
    if len(others) > 1:
        raise InputError(archive.path, f"holds the files of {len(others)} products", "give each a folder of its own")
    platform = meta.text("IMAGE_ATTRIBUTES/SPACECRAFT_ID")
    try:
        sensor = find_sensor(platform)
    except InputError:
        raise InputError(meta.where, f"SPACECRAFT_ID is {platform}", "give products of Landsat-4 to 9") from None
    bands = [
        _band(archive, meta, band.name, band.common)
        for band in sensor.bands
        if f"FILE_NAME_BAND_{_number(band.name)}" in meta.groups["PRODUCT_CONTENTS"]
    ]
    if not bands:
        raise InputError(meta.where, "lists no FILE_NAME_BAND_ of a band", AGAIN)
    masks, notes = _masks(archive, bands)
    date, clock = meta.text("IMAGE_ATTRIBUTES/DATE_ACQUIRED"), meta.text("IMAGE_ATTRIBUTES/SCENE_CENTER_TIME")
    try:
        time = np.datetime64(f"{date}T{clock.removesuffix('Z')}", "ns")
    except ValueError:
        raise InputError(meta.where, f"{date} {clock} is not a time", AGAIN) from None
    cloud = meta.number("IMAGE_ATTRIBUTES/CLOUD_COVER")
    return Product(
        path=archive.path,
        id=identity,
        format="landsat",
        sensor=sensor.name,
        platform=platform,
        time=time,
        bands=tuple(bands),
        masks=masks,
        # -1 where it was not computed.
        cloud=cloud / 100 if cloud >= 0 else None,
        sun=(90 - meta.number("IMAGE_ATTRIBUTES/SUN_ELEVATION"), meta.number("IMAGE_ATTRIBUTES/SUN_AZIMUTH") % 360),
        notes=notes,
    )


def _number(native: str) -> int:
    """The number of a band: 1 of SR_B1."""
    return int(native.removeprefix("SR_B"))


def _band(archive: Archive, meta: _Metadata, native: str, common: str) -> BandFile:
    n = _number(native)
    name = archive.need(meta.text(f"PRODUCT_CONTENTS/FILE_NAME_BAND_{n}"), f"image of band {native}")
    where, group = archive.label(name), "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"
    least, most = (meta.number(f"{group}/QUANTIZE_CAL_{end}_BAND_{n}") for end in ("MIN", "MAX"))
    with opened(archive.gdal(name), where=where, whole_header=True) as source:
        nodata = source.nodata
    return BandFile(
        name=common,
        native=native,
        path=archive.gdal(name),
        box=grid_of(archive.gdal(name), where),
        scale=meta.number(f"{group}/REFLECTANCE_MULT_BAND_{n}"),
        offset=meta.number(f"{group}/REFLECTANCE_ADD_BAND_{n}"),
        nodata=(least - 1 if nodata is None else float(nodata),),
        # What is brighter is cut to it.
        saturated=(most,),
    )


def _masks(archive: Archive, bands: list[BandFile]) -> tuple[tuple[MaskFile, ...], tuple[str, ...]]:
    """The masks that are there, and what is to say of those that are not."""
    masks, notes = [], []
    for kind, rules in {"QA_PIXEL": PIXEL_QUALITY, "QA_RADSAT": saturation(bands)}.items():
        if name := archive.find(f"*_{kind}.TIF"):
            masks.append(MaskFile(archive.gdal(name), grid_of(archive.gdal(name), archive.label(name)), rules))
        else:
            notes.append(f"no mask {kind}" + "; clouds are unknown" * (kind == "QA_PIXEL"))
    return tuple(masks), tuple(notes)


def saturation(bands: list[BandFile]) -> tuple[Rule, ...]:
    """What the bits of QA_RADSAT mean: one for each band, by its number, and what is in their way."""
    bits = sum(1 << (_number(band.native) - 1) for band in bands)
    return Rule("saturated", bits=bits), Rule("nodata", bits=DROPPED | HIDDEN)


@dataclass(frozen=True)
class _Metadata:
    """The metadata file: groups of keys with values."""

    where: str
    """The file as a user finds it."""
    form: str
    """One of :data:`METADATA`."""
    groups: Mapping[str, Mapping[str, str]]
    """Values by group and key."""

    @classmethod
    def of(cls, archive: Archive) -> _Metadata:
        """Read the metadata file of a product."""
        for form in METADATA:
            if name := archive.find(f"L*_MTL.{form}"):
                where = archive.label(name)
                if form == "xml":
                    groups = _groups_xml(archive.xml(name))
                else:
                    text = archive.read(name).decode("utf-8", "replace")
                    groups = _groups_json(text, where) if form == "json" else _groups_text(text)
                return cls(where, form, groups)
        raise InputError(archive.path, "has no metadata file (*_MTL.xml, .json or .txt)", AGAIN)

    def text(self, path: str) -> str:
        """The value of ``group/key``; a missing one is an InputError."""
        group, key = path.split("/")
        value = self.groups.get(group, {}).get(key)
        if not value:
            raise InputError(self.where, f"has no {path}", AGAIN)
        return value

    def number(self, path: str) -> float:
        """Like :meth:`text`, as a finite number."""
        text = self.text(path)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(self.where, f"{path} is {text!r}, not a number", AGAIN)
        return value


def _groups_xml(root: Element) -> dict[str, dict[str, str]]:
    return {group.tag: {e.tag: (e.text or "").strip() for e in group} for group in root}


def _groups_json(text: str, where: str) -> dict[str, dict[str, str]]:
    try:
        groups = json.loads(text)["LANDSAT_METADATA_FILE"]
        return {name: {k: str(v).strip() for k, v in group.items()} for name, group in groups.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(where, f"is not valid metadata ({error})", AGAIN) from error


def _groups_text(text: str) -> dict[str, dict[str, str]]:
    """Groups of an Object Description Language file; a key belongs to the group opened last."""
    groups: dict[str, dict[str, str]] = {}
    group: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = groups.setdefault(value, {})
        elif value and key != "END_GROUP":
            group[key] = value.strip('"')
    return groups
