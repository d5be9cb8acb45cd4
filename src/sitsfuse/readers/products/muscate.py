"""Level-2A products of Theia (MUSCATE, made by MAJA): Venµs and Sentinel-2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from affine import Affine
from odc.geo.geobox import GeoBox

from ...core.sensors import SENSORS, Sensor, find_sensor
from ...errors import InputError
from ..raster import check_grid
from .archive import Archive
from .flags import MaskFile, Rule
from .metadata import AGAIN, Metadata
from .product import BandFile, Product, grid_of

SHAPE = re.compile(r"[A-Z0-9-]+_\d{8}-\d{6}-\d{3}_L2A_[^/]*")
"""What the names of products and their files begin with."""
NATURES = {"FRE": "Flat_Reflectance", "SRE": "Surface_Reflectance"}
"""Images of reflectance: corrected for the slope of the ground, and not."""
MASKS = {
    "EDG": (Rule("nodata", nonzero=True),),
    # Bit 0 is set for all clouds and their shadows; what the other bits say depends on the processor's version.
    "CLM": (Rule("cloud", nonzero=True),),
    "SAT": (Rule("saturated", nonzero=True),),
    "MG2": (
        Rule("water", bits=1),
        Rule("cloud", bits=2),
        Rule("snow", bits=4),
        Rule("cloud_shadow", bits=8),
        Rule("terrain_shadow", bits=16 | 32),
        Rule("poor_illumination", bits=64 | 128),
    ),
}
"""What the masks mean."""
ASIDE = (1e-3, 0.5)
"""Pixels by which files may lie aside of where the metadata place them: unnoticed, and at all (whether the corner or
the centre of a pixel is meant is a matter of convention)."""
PER_GROUP = "SAT"
"""The mask that tells of the bands of its own group; the others tell the same for all of them."""


def is_product(path: Path) -> bool:
    """Whether a path is a product, or what is left of one, by names alone: a folder or .zip."""
    if path.is_dir():
        return bool(SHAPE.match(path.name)) or any(SHAPE.match(p.name) for p in path.glob("[!.]*_MTD_ALL.xml"))
    return path.suffix.lower() == ".zip" and bool(SHAPE.match(path.name))


def read_products(path: Path) -> list[Product]:
    """The one product at a path."""
    return [read_product(path)]


def read_product(path: str | Path, reflectance: str = "FRE") -> Product:
    """Read the metadata of a product.

    Parameters
    ----------
    path
        A folder, or a .zip that holds one.
    reflectance
        FRE (corrected for the slope of the ground) or SRE (not); the other one, with a note, if there is none.

    Returns
    -------
    Product
        Its clouds need no dilation: MAJA widens them.

    Raises
    ------
    InputError
        If metadata or bands are missing, or a band or mask lies on another grid than the metadata say.
    """
    archive = Archive.of(path)
    meta = Metadata.of(archive, archive.need("*_MTD_ALL.xml", "metadata file"))
    sensor = _sensor(meta)
    kind, files = _images(archive, meta, reflectance)
    groups, stated = _groups(meta)
    scale = meta.scale("REFLECTANCE_QUANTIFICATION_VALUE")
    nodata = _as_stored(meta.number("SPECIAL_VALUE[@name='nodata']"))
    bands = []
    for band in (b for b in sensor.bands if b.name in files):
        if band.name not in groups:
            raise InputError(meta.where, f"Band_Group_List has no band {band.name}", AGAIN)
        name = files[band.name]
        box = _grid(archive, name, groups[band.name], stated)
        bands.append(BandFile(band.common, band.name, archive.gdal(name), box, scale, nodata=nodata))
    if not bands:
        raise InputError(meta.where, f"lists no band of {sensor.name}", AGAIN)
    masks, lost = _masks(archive, stated)
    notes = []
    if kind != reflectance:
        notes.append(f"no {reflectance} images: {kind} ({NATURES[kind]}) is read")
    if any(_aside(b.box, stated[groups[b.native]]) > ASIDE[0] for b in bands):
        notes.append("files lie up to half a pixel from where the metadata place them: the files are right")
    if lost:
        notes.append(f"no mask {', '.join(lost)}" + "; clouds are unknown" * ({"CLM", "MG2"} <= set(lost)))
    return Product(
        path=archive.path,
        id=meta.text("PRODUCT_ID"),
        format="muscate",
        sensor=sensor.name,
        platform=meta.text("PLATFORM"),
        time=meta.time("Product_Characteristics/ACQUISITION_DATE"),
        bands=tuple(bands),
        masks=masks,
        cloud=meta.share("QUALITY_INDEX[@name='CloudPercent']"),
        sun=meta.angles("Mean_Value_List/Sun_Angles"),
        view=meta.angles("Mean_Value_List/Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle"),
        notes=tuple(notes),
    )


def _groups(meta: Metadata) -> tuple[dict[str, str], dict[str, GeoBox]]:
    """The group of each band, and the grid of each group as the metadata state it."""
    groups: dict[str, str] = {}
    stated: dict[str, GeoBox] = {}
    crs = meta.crs("HORIZONTAL_CS_CODE")
    for group in meta.all("Band_Group_List/Group"):
        name = group.get("group_id", "")
        where = f"Group_Geopositioning[@group_id='{name}']"
        stated[name] = meta.grid(where, where, crs)
        groups |= {(b.text or "").strip(): name for b in group.iter("BAND_ID")}
    return groups, stated


def _grid(archive: Archive, name: str, group: str, stated: Mapping[str, GeoBox]) -> GeoBox:
    """The grid of a file, which must be that of its group."""
    where, expected = archive.label(name), stated[group]
    box = grid_of(archive.gdal(name), where)
    if _aside(box, expected) <= ASIDE[1]:
        a, b = expected.affine, box.affine
        expected = GeoBox(expected.shape, Affine(a.a, a.b, b.c, a.d, a.e, b.f), expected.crs)
    check_grid(where, box, f"group {group} of its metadata", expected, AGAIN)
    return box


def _aside(box: GeoBox, stated: GeoBox) -> float:
    """How far apart the origins of two grids are, in pixels."""
    a, b = stated.affine, box.affine
    return max(abs(b.c - a.c), abs(b.f - a.f)) / abs(b.a)


def _sensor(meta: Metadata) -> Sensor:
    platform = meta.text("PLATFORM")
    try:
        sensor = find_sensor(platform)
    except InputError:
        sensor = None
    if sensor not in (SENSORS["venus"], SENSORS["sentinel2"]):
        raise InputError(meta.where, f"PLATFORM is {platform}", "give products of Venµs or Sentinel-2")
    return sensor


def _images(archive: Archive, meta: Metadata, wanted: str) -> tuple[str, dict[str, str]]:
    """Which kind of reflectance there is, and the file of each band in the archive."""
    if wanted not in NATURES:
        raise InputError("reflectance", f"{wanted!r} is not known", f"choose among {', '.join(NATURES)}")
    for kind in sorted(NATURES, key=lambda kind: kind != wanted):
        listed = {
            file.get("band_id", ""): (file.text or "").strip()
            for image in meta.all("Image_List/*")
            if image.findtext("Image_Properties/NATURE", "").strip() == NATURES[kind]
            for file in image.iter("IMAGE_FILE")
        }
        # The metadata may name files as if of the distributed product (_D) while they are named after the computed one.
        patterns = {band: "*_" + "_".join(name.rsplit("_", 2)[-2:]) for band, name in listed.items()}
        if any(archive.find(pattern) for pattern in patterns.values()):
            what = "image of band {}, which its metadata list"
            return kind, {band: archive.need(pattern, what.format(band)) for band, pattern in patterns.items()}
    raise InputError(archive.path, f"has no images of reflectance ({' or '.join(NATURES)})", AGAIN)


def _masks(archive: Archive, stated: Mapping[str, GeoBox]) -> tuple[tuple[MaskFile, ...], list[str]]:
    """The masks that are there, on the finest grid that has them, and the names of those that are not."""
    finest_first = sorted(stated, key=lambda group: stated[group].affine.a)
    masks, lost = [], []
    for kind, rules in MASKS.items():
        found = {group: name for group in finest_first if (name := archive.find(f"*_{kind}_{group}.tif"))}
        if kind == PER_GROUP:
            lost += [f"{kind}_{group}" for group in finest_first if group not in found]
        else:
            lost += [kind] * (not found)
            found = dict(list(found.items())[:1])
        for group, name in found.items():
            masks.append(MaskFile(archive.gdal(name), _grid(archive, name, group, stated), rules))
    return tuple(masks), lost


def _as_stored(nodata: float) -> tuple[float, ...]:
    """The numbers that stand for nodata in a file: negative ones wrap around where it is unsigned."""
    return (nodata, nodata % 2**16) if nodata < 0 else (nodata,)
