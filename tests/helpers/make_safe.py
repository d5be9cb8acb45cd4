"""Small but complete SAFE Level-2A products of Sentinel-2, written with plain rasterio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from tests.helpers.make_muscate import BLOCK, numbers, pack

PHYSICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
"""Bands in the order of their ids, 0 to 12."""
IMAGES = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12", "SCL"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12", "SCL"),
}
"""Images by resolution in metres; before processing baseline 04.00 without B01 at 20 m."""

Values = Mapping[str, Any] | Callable[[str, slice, int], Any]


def make_safe(
    folder: Path,
    values: Values | None = None,
    scl: Any = None,
    *,
    platform: str = "Sentinel-2A",
    time: str = "2023-09-11T11:37:14.779144Z",
    start: str = "2023-09-11T11:21:21.024Z",
    baseline: str = "05.09",
    tile: str = "T28PDC",
    size: int = 24,
    origin: tuple[float, float] = (399960.0, 1800000.0),
    epsg: int = 32628,
    bands: Iterable[str] | None = None,
    coarse: bool = True,
    without: Iterable[str] = (),
    quantification: float = 10000,
    offset: Mapping[str, float] | float | None = -1000,
    cloud: float = 4.109936,
    form: str = "folder",
    edit: Callable[[str], str] | None = None,
    edit_tile: Callable[[str], str] | None = None,
    moved: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Write a product into a folder and return its path.

    Parameters
    ----------
    folder
        Where to put it.
    values
        Numbers of the bands: arrays by name, ``B04`` or ``B04_10m``; or functions of the name of an image
        (``B04_10m``), a slice of rows and the number of columns, by name or one for all. By default, random numbers
        (:func:`make_muscate.numbers` of ``B04_10m``).
    scl
        Scene classification at 20 m, an array or a function likewise; 4 (vegetation) by default.
    platform, time, start, baseline, tile, cloud
        As the names and metadata have them; ``time`` is the tile's, ``start`` the data take's.
    size
        Side of the images at 10 m, in pixels: a multiple of 6.
    origin, epsg
        Of the grids.
    bands
        Images to write, ``B04``, ``SCL``; all by default.
    coarse
        Whether bands come at coarser resolutions, too.
    without
        Endings of images that the metadata list and that are missing: ``B04_10m``.
    quantification, offset
        How numbers are stored; an offset for each band (``B4``) or for all. None leaves it out of the metadata.
    form
        folder, zip, or nested (a folder in a folder of its name).
    edit, edit_tile
        Change the metadata of the product, and of its tile.
    moved
        Metres by which files lie aside of where the metadata say, by ending.
    """
    stamp = start[:19].replace("-", "").replace(":", "")
    name = f"S2{platform[-1]}_MSIL2A_{stamp}_N{baseline.replace('.', '')}_R037_{tile}_20230911T161500.SAFE"
    root = Path(folder) / name
    top = root / name if form == "nested" else root
    granule = f"GRANULE/L2A_{tile}_A042934_{stamp}"
    lost, aside = set(without), moved or {}
    listed: list[str] = []
    for metres, images in IMAGES.items():
        place = f"{granule}/IMG_DATA/R{metres}m"
        (top / place).mkdir(parents=True)
        for image in images:
            known = any(image in IMAGES[finer] for finer in IMAGES if finer < metres)
            if (bands is not None and image not in bands) or (known and not coarse):
                continue
            ending = f"{image}_{metres}m"
            listed.append(f"{place}/{tile}_{stamp}_{ending}")
            if ending not in lost:
                side = size * 10 // metres
                given = (4 if scl is None else scl) if image == "SCL" else values
                rows = _rows(given, ending, side)
                kind = "uint8" if image == "SCL" else "uint16"
                dx, dy = aside.get(ending, (0, 0))
                transform = Affine(metres, 0, origin[0] + dx, 0, -metres, origin[1] + dy)
                _write(top / f"{listed[-1]}.jp2", rows, side, kind, epsg, transform)
    add = {b: offset.get(b) if isinstance(offset, Mapping) else offset for b in PHYSICAL}
    xml = _product(name, platform, start, baseline, listed, quantification, add, cloud)
    (top / "MTD_MSIL2A.xml").write_text(edit(xml) if edit else xml, encoding="utf-8")
    xml = _tile(time, epsg, size, origin)
    (top / granule / "MTD_TL.xml").write_text(edit_tile(xml) if edit_tile else xml, encoding="utf-8")
    return pack(root) if form == "zip" else root


def _rows(given: Any, ending: str, side: int) -> Callable[[slice], np.ndarray]:
    """What gives the rows of an image."""
    if isinstance(given, Mapping):
        given = given.get(ending, given.get(ending[:3]))
    if callable(given):
        return lambda part: np.asarray(given(ending, part, side))
    whole = numbers(ending, (side, side)) if given is None else np.asarray(given)
    if whole.ndim == 0:
        whole = np.full((side, side), whole)
    step = -(-whole.shape[0] // side)
    whole = whole[::step, ::step]
    assert whole.shape == (side, side), (ending, whole.shape, side)
    return lambda part: whole[part]


def _write(path: Path, rows: Callable[[slice], np.ndarray], side: int, kind: str, epsg: int, transform: Affine) -> None:
    header = {"count": 1, "height": side, "width": side, "dtype": kind, "crs": f"EPSG:{epsg}", "transform": transform}
    # Without loss: numbers come back as they went in.
    with rasterio.open(path, "w", driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY="100", **header) as out:
        for first in range(0, side, BLOCK):
            part = slice(first, min(first + BLOCK, side))
            out.write(rows(part).astype(kind), 1, window=((part.start, part.stop), (0, side)))


def _product(
    name: str,
    platform: str,
    start: str,
    baseline: str,
    listed: list[str],
    quantification: float,
    add: Mapping[str, float | None],
    cloud: float,
) -> str:
    files = "\n".join(f"<IMAGE_FILE>{file}</IMAGE_FILE>" for file in listed)
    offsets = "".join(
        f'<BOA_ADD_OFFSET band_id="{PHYSICAL.index(b)}">{value:g}</BOA_ADD_OFFSET>'
        for b, value in add.items()
        if value is not None
    )
    if offsets:
        offsets = f"<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>"
    spectral = "".join(f'<Spectral_Information bandId="{k}" physicalBand="{b}"/>' for k, b in enumerate(PHYSICAL))
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT>"
        f"<SPECIAL_VALUE_INDEX>{index}</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, index in (("NODATA", 0), ("SATURATED", 65535))
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
<n1:General_Info>
<Product_Info>
<PRODUCT_URI>{name}</PRODUCT_URI>
<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake><SPACECRAFT_NAME>{platform}</SPACECRAFT_NAME>
<DATATAKE_SENSING_START>{start}</DATATAKE_SENSING_START></Datatake>
<Query_Options completeSingleTile="true"><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options>
<Product_Organisation><Granule_List><Granule imageFormat="JPEG2000">
{files}
</Granule></Granule_List></Product_Organisation>
</Product_Info>
<Product_Image_Characteristics>
{special}
<QUANTIFICATION_VALUES_LIST>
<BOA_QUANTIFICATION_VALUE unit="none">{quantification:g}</BOA_QUANTIFICATION_VALUE>
</QUANTIFICATION_VALUES_LIST>
{offsets}
<Spectral_Information_List>{spectral}</Spectral_Information_List>
</Product_Image_Characteristics>
</n1:General_Info>
<n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>{cloud}</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""


def _tile(time: str, epsg: int, size: int, origin: tuple[float, float]) -> str:
    grids = "".join(
        f'<Size resolution="{m}"><NROWS>{size * 10 // m}</NROWS><NCOLS>{size * 10 // m}</NCOLS></Size>'
        f'<Geoposition resolution="{m}"><ULX>{origin[0]:.15g}</ULX><ULY>{origin[1]:.15g}</ULY>'
        f"<XDIM>{m}</XDIM><YDIM>-{m}</YDIM></Geoposition>"
        for m in IMAGES
    )
    views = "".join(
        f'<Mean_Viewing_Incidence_Angle bandId="{k}"><ZENITH_ANGLE unit="deg">{8 + 0.1 * k:g}</ZENITH_ANGLE>'
        f'<AZIMUTH_ANGLE unit="deg">{100 + k}</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle>'
        for k in range(len(PHYSICAL))
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd">
<n1:General_Info><SENSING_TIME>{time}</SENSING_TIME></n1:General_Info>
<n1:Geometric_Info>
<Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:{epsg}</HORIZONTAL_CS_CODE>{grids}</Tile_Geocoding>
<Tile_Angles>
<Mean_Sun_Angle>
<ZENITH_ANGLE unit="deg">22.88</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">117.24</AZIMUTH_ANGLE>
</Mean_Sun_Angle>
<Mean_Viewing_Incidence_Angle_List>{views}</Mean_Viewing_Incidence_Angle_List>
</Tile_Angles>
</n1:Geometric_Info>
</n1:Level-2A_Tile_ID>
"""
