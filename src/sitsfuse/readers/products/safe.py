"""Level-2A products of Sentinel-2 as ESA delivers them: SAFE."""

from __future__ import annotations

import re
from pathlib import Path

from odc.geo.geobox import GeoBox

from ...core.sensors import SENSORS
from ...errors import InputError
from ..raster import check_grid
from .archive import Archive
from .flags import MaskFile
from .masks import DILATION, SCENE_CLASSES
from .metadata import AGAIN, Metadata
from .product import BandFile, Product, grid_of

SHAPE = re.compile(r"S2[A-Z]_MSIL2A_\d{8}T\d{6}_[^/]*")
"""What the names of products begin with."""
METADATA = "MTD_MSIL2A.xml"
"""The product's metadata file."""
IMAGE = re.compile(r"_(?:B0?(?P<band>\d+A?)|SCL)_(?P<metres>\d+)m$")
"""How the names of images end: ``_B02_10m``."""
SHIFTED = (4.0, 99.0)
"""Processing baselines that shift the numbers: metadata without the shift are not whole. Products that users make with
Sen2Cor, old or new, say 99.99."""

RENAMED = {
    "L2A_Product_Info": "Product_Info",
    "L2A_Product_Organisation": "Product_Organisation",
    "IMAGE_FILE_2A": "IMAGE_FILE",
    "IMAGE_ID_2A": "IMAGE_FILE",
    "PRODUCT_URI_2A": "PRODUCT_URI",
    "L2A_Product_Image_Characteristics": "Product_Image_Characteristics",
    "L1C_L2A_Quantification_Values_List": "QUANTIFICATION_VALUES_LIST",
    "L2A_BOA_QUANTIFICATION_VALUE": "BOA_QUANTIFICATION_VALUE",
}
"""Names of elements in the products of 2017 and 2018 (baselines before 02.07), and since."""


def is_product(path: Path) -> bool:
    """Whether a path is a product, or what is left of one, by names alone: a folder or .zip."""
    if path.is_dir():
        return bool(SHAPE.match(path.name)) or (path / METADATA).exists()
    return path.suffix.lower() == ".zip" and bool(SHAPE.match(path.name))


def read_products(path: Path) -> list[Product]:
    """The one product at a path."""
    return [read_product(path)]


def read_product(path: str | Path) -> Product:
    """Read the metadata of a product.

    Parameters
    ----------
    path
        A ``.SAFE`` folder, or a .zip that holds one.

    Returns
    -------
    Product
        Each band from its image of finest resolution.

    Raises
    ------
    InputError
        If metadata or bands are missing, or an image lies on another grid than the metadata say.
    """
    archive = Archive.of(path)
    meta = _renamed(Metadata.of(archive, archive.need(METADATA, "metadata file")))
    granules = len(meta.all("Granule_List/Granule"))
    if granules != 1:
        raise InputError(meta.where, f"lists {granules} tiles", "give products of one tile each")
    tile = Metadata.of(archive, archive.need("MTD_TL.xml", "metadata file of its tile"))
    listed = _listed(meta)
    scale, offsets = meta.scale("BOA_QUANTIFICATION_VALUE"), _offsets(meta)
    special = _special_values(meta)
    bands = []
    for band in (b for b in SENSORS["sentinel2"].bands if b.name in listed):
        metres, file = listed[band.name]
        name = archive.need(f"{file}.jp2", f"image of band {band.name}, which its metadata list")
        if offsets and band.name not in offsets:
            raise InputError(meta.where, f"has no BOA_ADD_OFFSET of band {band.name}", AGAIN)
        bands.append(
            BandFile(
                name=band.common,
                native=band.name,
                path=archive.gdal(name),
                box=_grid(archive, name, tile, metres),
                scale=scale,
                offset=scale * offsets.get(band.name, 0.0),
                nodata=special["NODATA"],
                saturated=special.get("SATURATED", ()),
            )
        )
    if not bands:
        raise InputError(meta.where, "lists no IMAGE_FILE of a band", AGAIN)
    masks, notes = [], []
    metres, file = listed.get("SCL", (20, "*_SCL_20m"))
    if scenes := archive.find(f"{file}.jp2"):
        masks.append(MaskFile(archive.gdal(scenes), _grid(archive, scenes, tile, metres), SCENE_CLASSES))
    else:
        notes.append("no scene classification (SCL); clouds are unknown")
    return Product(
        path=archive.path,
        id=meta.text("PRODUCT_URI").removesuffix(".SAFE"),
        format="safe",
        sensor="sentinel2",
        platform=meta.text("SPACECRAFT_NAME"),
        time=tile.time("SENSING_TIME"),
        bands=tuple(bands),
        masks=tuple(masks),
        cloud=meta.share("Cloud_Coverage_Assessment"),
        sun=tile.angles("Tile_Angles/Mean_Sun_Angle"),
        view=tile.angles("Tile_Angles/Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle"),
        dilation=DILATION,
        notes=tuple(notes),
    )


def _renamed(meta: Metadata) -> Metadata:
    """Metadata under the names that they have since October 2018."""
    for element in meta.root.iter():
        space, brace, name = element.tag.rpartition("}")
        element.tag = f"{space}{brace}{RENAMED.get(name, name)}"
    return meta


def _listed(meta: Metadata) -> dict[str, tuple[int, str]]:
    """Resolution in metres and name of the finest image of each band and of the scene classification."""
    found: dict[str, tuple[int, str]] = {}
    for element in meta.all("IMAGE_FILE"):
        file = (element.text or "").strip().rsplit("/", 1)[-1]
        if match := IMAGE.search(file):
            key = f"B{match['band']}" if match["band"] else "SCL"
            found[key] = min(found.get(key, (10**6, "")), (int(match["metres"]), file))
    return found


def _offsets(meta: Metadata) -> dict[str, float]:
    """What to add to the numbers of each band; empty where the processing baseline adds nothing."""
    given = [element.get("band_id", "") for element in meta.all("BOA_ADD_OFFSET")]
    if not given and SHIFTED[0] <= (baseline := meta.number("PROCESSING_BASELINE")) < SHIFTED[1]:
        what = f"has no BOA_ADD_OFFSET, though its PROCESSING_BASELINE is {baseline:05.2f}"
        raise InputError(meta.where, what, AGAIN)
    names = {e.get("bandId", ""): e.get("physicalBand", "") for e in meta.all("Spectral_Information")}
    return {names.get(k, ""): meta.number(f"BOA_ADD_OFFSET[@band_id='{k}']") for k in given}


def _special_values(meta: Metadata) -> dict[str, tuple[float, ...]]:
    """Numbers with a meaning of their own: NODATA and, perhaps, SATURATED."""
    found: dict[str, tuple[float, ...]] = {
        text: (meta.parse(f"SPECIAL_VALUE_INDEX of {text}", e.findtext("{*}SPECIAL_VALUE_INDEX", "")),)
        for e in meta.all("Special_Values")
        if (text := e.findtext("{*}SPECIAL_VALUE_TEXT", "").strip())
    }
    if "NODATA" not in found:
        raise InputError(meta.where, "has no Special_Values for NODATA", AGAIN)
    return found


def _grid(archive: Archive, name: str, tile: Metadata, metres: int) -> GeoBox:
    """The grid of a file, which must be that of its resolution."""
    where = archive.label(name)
    box = grid_of(archive.gdal(name), where)
    resolution = f"[@resolution='{metres}']"
    stated = tile.grid(f"Geoposition{resolution}", f"Size{resolution}", tile.crs("HORIZONTAL_CS_CODE"))
    check_grid(where, box, f"{metres} m in its metadata", stated, AGAIN)
    return box
