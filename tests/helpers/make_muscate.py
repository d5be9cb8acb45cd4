"""Small but complete Theia/MUSCATE products, and large ones for measurements, written with plain rasterio."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

GROUPS = {
    "SENTINEL2": {"R1": (1, ("B2", "B3", "B4", "B8")), "R2": (2, ("B5", "B6", "B7", "B8A", "B11", "B12"))},
    "VENUS": {"XS": (1, tuple(f"B{n}" for n in range(1, 13)))},
}
"""Groups of bands: how much larger their pixels are than the finest ones, and their bands."""
NATURES = {"FRE": "Flat_Reflectance", "SRE": "Surface_Reflectance"}
MASKS = ("EDG", "CLM", "SAT", "MG2")
MG2 = ("Water", "Cloud", "Snow", "Cloud_Shadow", "Topography_Shadow", "Hidden_Surface", "Sun_Too_Low", "Tangent_Sun")
BLOCK = 512
"""Rows that are made and written at once."""

Values = Mapping[str, Any] | Callable[[str, slice, int], Any]


def make_muscate(
    folder: Path,
    values: Values | None = None,
    masks: Values | None = None,
    *,
    platform: str = "SENTINEL2A",
    time: str = "2017-02-03T07:12:45.541Z",
    place: str | None = None,
    shape: tuple[int, int] = (24, 20),
    pixel: float | None = None,
    origin: tuple[float, float] = (600000.0, 4900020.0),
    epsg: int = 32631,
    bands: Iterable[str] | None = None,
    kinds: Iterable[str] = ("FRE", "SRE"),
    without: Iterable[str] = (),
    quantification: float = 10000,
    nodata: int = -10000,
    dtype: str = "int16",
    cloud: float = 24,
    version: str = "V1-4",
    letters: tuple[str, str] = ("C", "C"),
    form: str = "folder",
    edit: Callable[[str], str] | None = None,
    moved: Mapping[str, tuple[float, float]] | None = None,
    **profile: Any,
) -> Path:
    """Write a product into a folder and return its path.

    Parameters
    ----------
    folder
        Where to put it.
    values
        Numbers (not reflectances) of the bands: arrays by name, ``B4`` or ``SRE_B4``; or functions of a band's name, a
        slice of rows and the number of columns that return those rows, by name or one for all. By
        default, random numbers (:func:`numbers` of ``FRE_B4``).
    masks
        Likewise, by name ``CLM`` or ``CLM_R2``; 0 by default. A mask of the finest grid does for the coarser ones,
        which take every second row and column.
    platform, time, place, cloud, version
        As the names and metadata have them.
    shape, pixel, origin, epsg
        Of the finest grid; 10 m for Sentinel-2 and 5 m for Venµs by default.
    bands
        Those to write, by default all.
    kinds
        Of reflectance: FRE, SRE.
    without
        Endings of names of files that the metadata list and that are missing: ``CLM_R1``, ``FRE_B4``, ``MG2_XS``.
    quantification, nodata, dtype
        How numbers are stored.
    letters
        Of the product (folder and metadata) and of its files: D (distributed) and C (computed).
    form
        folder, zip, or nested (a folder in a folder of its name).
    edit
        Changes the metadata.
    moved
        Metres by which files lie aside of where the metadata say, by ending.
    **profile
        Of the GeoTIFFs: ``tiled=True, compress="deflate", zlevel=1``; by default striped and not compressed.
    """
    groups = GROUPS["VENUS" if platform.startswith("V") else "SENTINEL2"]
    pixel = pixel or (5.0 if "XS" in groups else 10.0)
    chosen = {g: [b for b in names if bands is None or b in bands] for g, (_, names) in groups.items()}
    chosen = {g: names for g, names in chosen.items() if names}
    stamp = f"{time[:10].replace('-', '')}-{time[11:19].replace(':', '')}-{(time[20:23].rstrip('Z') or '000'):0<3}"
    place = place or ("SUDOUE-1" if "XS" in groups else "T31TCJ")
    start = f"{'VENUS-XS' if 'XS' in groups else platform}_{stamp}_L2A_{place}"
    product, stem = (f"{start}_{letter}_{version}" for letter in letters)
    root = Path(folder) / product
    top = root / product if form == "nested" else root
    (top / "MASKS").mkdir(parents=True)
    lost, aside = set(without), moved or {}

    def write(file: str, ending: str, given: Values | None, name: str, group: str, kind: str) -> None:
        if ending in lost:
            return
        step = groups[group][0]
        size = (shape[0] // step, shape[1] // step)
        dx, dy = aside.get(ending, (0, 0))
        header: dict[str, Any] = {
            "driver": "GTiff",
            "count": 1,
            "height": size[0],
            "width": size[1],
            "dtype": kind,
            "crs": f"EPSG:{epsg}",
            "transform": Affine(pixel * step, 0, origin[0] + dx, 0, -pixel * step, origin[1] + dy),
        }
        rows = _rows(numbers(ending, size) if given is None else given, (ending, name), size)
        with rasterio.open(top / file.format(ending), "w", **header, **profile) as out:
            for start in range(0, size[0], BLOCK):
                part = slice(start, min(start + BLOCK, size[0]))
                out.write(rows(part).astype(kind), 1, window=((part.start, part.stop), (0, size[1])))

    for group, names in chosen.items():
        for kind in kinds:
            for band in names:
                write(f"{stem}_{{}}.tif", f"{kind}_{band}", values, band, group, dtype)
        for mask in MASKS:
            kind = "uint16" if group == "XS" and mask == "SAT" else "uint8"
            write(f"MASKS/{stem}_{{}}.tif", f"{mask}_{group}", masks or {}, mask, group, kind)
    grids = {
        group: (origin[0], origin[1], pixel * step, -pixel * step, shape[0] // step, shape[1] // step)
        for group, (step, _) in groups.items()
        if group in chosen
    }
    sensor = {"platform": platform, "time": time, "product": product, "quantification": quantification}
    xml = _metadata(chosen, grids, tuple(kinds), **sensor, nodata=nodata, cloud=cloud, epsg=epsg)
    (top / f"{stem}_MTD_ALL.xml").write_text(edit(xml) if edit else xml, encoding="utf-8")
    return pack(root) if form == "zip" else root


def numbers(name: str, shape: tuple[int, int]) -> np.ndarray:
    """Random numbers from 1 to 5000 that depend on a name alone."""
    return np.random.default_rng(list(name.encode())).integers(1, 5000, shape).astype(np.int16)


def pack(root: Path) -> Path:
    """A product's folder as a .zip; the folder is removed."""
    path = root.with_name(root.name + ".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(root.parent))
            file.unlink()
    for left in sorted(root.rglob("*"), reverse=True):
        left.rmdir()
    root.rmdir()
    return path


def _rows(given: Any, names: tuple[str, str], size: tuple[int, int]) -> Callable[[slice], np.ndarray]:
    """What gives the rows of a file."""
    if isinstance(given, Mapping):
        given = next((given[n] for n in names if n in given), np.zeros(size, np.uint8))
    if callable(given):
        return lambda part: np.asarray(given(names[1], part, size[1]))
    whole = np.asarray(given)
    step = -(-whole.shape[0] // size[0])
    whole = whole[::step, ::step]
    assert whole.shape == size, (names, whole.shape, size)
    return lambda part: whole[part]


def _metadata(
    groups: Mapping[str, list[str]],
    grids: Mapping[str, tuple[float, ...]],
    kinds: tuple[str, ...],
    *,
    platform: str,
    time: str,
    product: str,
    quantification: float,
    nodata: int,
    cloud: float,
    epsg: int,
) -> str:
    """The metadata, as far as the description of the format goes."""
    bands = [b for names in groups.values() for b in names]
    images = "".join(
        _listed(
            "Image", NATURES[kind], [f'<IMAGE_FILE band_id="{b}">{product}_{kind}_{b}.tif</IMAGE_FILE>' for b in bands]
        )
        for kind in kinds
    )
    masks = ""
    for code, nature in (("EDG", "Edge"), ("CLM", "Detailed_Cloud")):
        masks += _listed("Mask", nature, [_mask(product, code, f'group_id="{g}"', g) for g in groups])
    saturated = [
        _mask(product, "SAT", f'band_id="{b}" bit_number="{n}"', g) for g in groups for n, b in enumerate(groups[g], 1)
    ]
    masks += _listed("Mask", "Saturation", saturated)
    for bit, nature in enumerate(MG2, 1):
        masks += _listed(
            "Mask", nature, [_mask(product, "MG2", f'group_id="{g}" bit_number="{bit}"', g) for g in groups]
        )
    positions = ""
    for g, grid in grids.items():
        named = zip(("ULX", "ULY", "XDIM", "YDIM", "NROWS", "NCOLS"), grid, strict=True)
        inner = "".join(f"<{key}>{value:.15g}</{key}>" for key, value in named)
        positions += f'<Group_Geopositioning group_id="{g}">{inner}</Group_Geopositioning>'
    # Sentinel-2 gives the angles of each band, Venµs those of each of its four detectors.
    seen = [f'band_id="{b}"' for b in bands] if "R1" in groups else [f'detector_id="0{n}"' for n in range(1, 5)]
    views = "".join(
        f"<Mean_Viewing_Incidence_Angle {name}>{_angles(6 + 0.1 * k, 359 + 0.5 * k)}</Mean_Viewing_Incidence_Angle>"
        for k, name in enumerate(seen)
    )
    lists = "".join(
        f'<Group group_id="{g}"><Band_List count="{len(names)}">{_ids(names)}</Band_List></Group>'
        for g, names in groups.items()
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Muscate_Metadata_Document>
<Product_Characteristics>
<PRODUCT_ID>{product}</PRODUCT_ID>
<ACQUISITION_DATE>{time}</ACQUISITION_DATE>
<PRODUCTION_DATE>2020-01-01T00:00:00.0Z</PRODUCTION_DATE>
<PRODUCT_LEVEL>L2A</PRODUCT_LEVEL>
<PLATFORM>{platform}</PLATFORM>
<Band_Global_List count="{len(bands)}">{_ids(bands)}</Band_Global_List>
<Band_Group_List>{lists}</Band_Group_List>
</Product_Characteristics>
<Product_Organisation><Muscate_Product>
<Image_List>{images}</Image_List>
<Mask_List>{masks}</Mask_List>
</Muscate_Product></Product_Organisation>
<Geoposition_Informations>
<Coordinate_Reference_System><Horizontal_Coordinate_System><HORIZONTAL_CS_CODE>{epsg}</HORIZONTAL_CS_CODE>
</Horizontal_Coordinate_System></Coordinate_Reference_System>
<Geopositioning><Group_Geopositioning_List>{positions}</Group_Geopositioning_List></Geopositioning>
</Geoposition_Informations>
<Geometric_Informations><Mean_Value_List>
<Sun_Angles>{_angles(26.99, 88.08)}</Sun_Angles>
<Mean_Viewing_Incidence_Angle_List>{views}</Mean_Viewing_Incidence_Angle_List>
</Mean_Value_List></Geometric_Informations>
<Radiometric_Informations>
<REFLECTANCE_QUANTIFICATION_VALUE>{quantification:g}</REFLECTANCE_QUANTIFICATION_VALUE>
<Special_Values_List><SPECIAL_VALUE name="nodata">{nodata}</SPECIAL_VALUE>
<SPECIAL_VALUE name="water_vapor_content_nodata">0</SPECIAL_VALUE></Special_Values_List>
</Radiometric_Informations>
<Quality_Informations><Current_Product><Product_Quality_List level="N2"><Product_Quality>
<Source_Product><ACQUISITION_DATE>1999-01-01T00:00:00Z</ACQUISITION_DATE></Source_Product>
<Global_Index_List><QUALITY_INDEX name="CloudPercent">{cloud:g}</QUALITY_INDEX></Global_Index_List>
</Product_Quality></Product_Quality_List></Current_Product></Quality_Informations>
</Muscate_Metadata_Document>
"""


def _listed(what: str, nature: str, files: list[str]) -> str:
    return (
        f"<{what}><{what}_Properties><NATURE>{nature}</NATURE></{what}_Properties>\n"
        f"<{what}_File_List>{chr(10).join(files)}</{what}_File_List></{what}>\n"
    )


def _mask(product: str, code: str, attributes: str, group: str) -> str:
    return f"<MASK_FILE {attributes}>MASKS/{product}_{code}_{group}.tif</MASK_FILE>"


def _ids(bands: Iterable[str]) -> str:
    return "".join(f"<BAND_ID>{b}</BAND_ID>" for b in bands)


def _angles(zenith: float, azimuth: float) -> str:
    return (
        f'<ZENITH_ANGLE unit="deg">{zenith:g}</ZENITH_ANGLE><AZIMUTH_ANGLE unit="deg">{azimuth % 360:g}</AZIMUTH_ANGLE>'
    )
