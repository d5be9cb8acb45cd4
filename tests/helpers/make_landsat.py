"""Tiny but complete products of Landsat, Collection 2, Level 2."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

BANDS = {8: (1, 2, 3, 4, 5, 6, 7), 9: (1, 2, 3, 4, 5, 6, 7), 7: (1, 2, 3, 4, 5, 7), 5: (1, 2, 3, 4, 5, 7)}
"""Reflective bands of each satellite."""
PREFIX = {8: "LC08", 9: "LC09", 7: "LE07", 5: "LT05"}


def make_landsat(
    parent: Path,
    *,
    satellite: int = 8,
    day: str = "20200107",
    pixels: Mapping[int, Any] | None = None,
    quality: Any = None,
    saturation: Any = None,
    shape: tuple[int, int] = (12, 10),
    origin: tuple[float, float] = (500010.0, 4000005.0),
    scale: float = 2.75e-5,
    offset: float = -0.2,
    nodata: float | None = 0,
    forms: Sequence[str] = ("xml", "json", "txt"),
    changes: Mapping[str, Mapping[str, str | None]] | None = None,
    leave_out: Sequence[str] = (),
    folder: str | None = None,
    seed: int = 0,
) -> Path:
    """Write a product and return its folder.

    Parameters
    ----------
    parent
        Where to put the folder.
    satellite, day
        5, 7, 8 or 9; YYYYMMDD.
    pixels
        (y, x) numbers by band number; random ones for the others.
    quality, saturation
        (y, x) QA_PIXEL (by default 21824, clear land) and QA_RADSAT (0).
    origin, shape
        Upper left corner in EPSG:32631, and size in pixels of 30 m.
    forms
        Of the metadata file.
    changes
        Values of the metadata by group and key; None removes a key.
    leave_out
        Endings of files that are not written, such as ``QA_PIXEL.TIF``.
    folder
        Its name; by default that of the product.
    """
    identity = f"{PREFIX[satellite]}_L2SP_198026_{day}_20200823_02_T1"
    path = parent / (folder or identity)
    path.mkdir(parents=True)
    numbers = _numbers(satellite, pixels or {}, shape, seed)
    images: dict[str, npt.NDArray[Any]] = {f"SR_B{n}": values for n, values in numbers.items()}
    images["QA_PIXEL"] = np.full(shape, 21824, np.uint16) if quality is None else np.asarray(quality, np.uint16)
    images["QA_RADSAT"] = np.zeros(shape, np.uint16) if saturation is None else np.asarray(saturation, np.uint16)
    for kind, values in images.items():
        if f"{kind}.TIF" not in leave_out:
            fill = nodata if kind.startswith("SR") else (1 if kind == "QA_PIXEL" else None)
            _write(path / f"{identity}_{kind}.TIF", values, origin, fill)
    groups = _metadata(identity, satellite, day, scale, offset)
    for group, keys in (changes or {}).items():
        for key, value in keys.items():
            if value is None:
                groups[group].pop(key)
            else:
                groups[group][key] = value
    for form in forms:
        (path / f"{identity}_MTL.{form}").write_text(FORMS[form](groups))
    return path


def zipped(folder: Path) -> Path:
    """The same as a .zip, files at its root, as USGS packs them."""
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def tarred(folder: Path) -> Path:
    """The same as a .tar, files at its root, as USGS packs them."""
    path = folder.parent / f"{folder.name}.tar"
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return path


def _numbers(
    satellite: int, pixels: Mapping[int, Any], shape: tuple[int, int], seed: int
) -> dict[int, npt.NDArray[np.uint16]]:
    rng = np.random.default_rng(seed)
    random = {n: rng.integers(7500, 25000, shape).astype(np.uint16) for n in BANDS[satellite]}
    return random | {n: np.asarray(values, np.uint16) for n, values in pixels.items()}


def _write(path: Path, values: npt.NDArray[Any], origin: tuple[float, float], nodata: float | None) -> None:
    profile = {
        "driver": "GTiff",
        "count": 1,
        "height": values.shape[0],
        "width": values.shape[1],
        "dtype": values.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(30, 0, origin[0], 0, -30, origin[1]),
        "nodata": nodata,
        "tiled": True,
        "blockxsize": 16,
        "blockysize": 16,
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(values, 1)


def _metadata(identity: str, satellite: int, day: str, scale: float, offset: float) -> dict[str, dict[str, str]]:
    bands = BANDS[satellite]
    level1 = identity.replace("L2SP", "L1TP")
    files = {f"FILE_NAME_BAND_{n}": f"{identity}_SR_B{n}.TIF" for n in bands}
    thermal = {8: "B10", 9: "B10", 7: "B6", 5: "B6"}[satellite]
    files[f"FILE_NAME_BAND_ST_{thermal}"] = f"{identity}_ST_{thermal}.TIF"
    sensor = {8: "OLI_TIRS", 9: "OLI_TIRS", 7: "ETM", 5: "TM"}[satellite]
    return {
        "PRODUCT_CONTENTS": {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_PRODUCT_ID": identity,
            "PROCESSING_LEVEL": "L2SP",
            "COLLECTION_NUMBER": "02",
            **files,
            "FILE_NAME_QUALITY_L1_PIXEL": f"{identity}_QA_PIXEL.TIF",
            "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{identity}_QA_RADSAT.TIF",
        },
        "IMAGE_ATTRIBUTES": {
            "SPACECRAFT_ID": f"LANDSAT_{satellite}",
            "SENSOR_ID": sensor,
            "DATE_ACQUIRED": f"{day[:4]}-{day[4:6]}-{day[6:]}",
            "SCENE_CENTER_TIME": "10:28:34.3964289Z",
            "CLOUD_COVER": "21.12",
            "SUN_AZIMUTH": "-162.20059080",
            "SUN_ELEVATION": "57.84396063",
        },
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            **{f"QUANTIZE_CAL_MAX_BAND_{n}": "65535" for n in bands},
            **{f"QUANTIZE_CAL_MIN_BAND_{n}": "1" for n in bands},
            **{f"REFLECTANCE_MULT_BAND_{n}": f"{scale:g}" for n in bands},
            **{f"REFLECTANCE_ADD_BAND_{n}": f"{offset:g}" for n in bands},
        },
        # The level-1 product that it was made from: the same keys with other values.
        "LEVEL1_PROCESSING_RECORD": {
            "LANDSAT_PRODUCT_ID": level1,
            **{f"FILE_NAME_BAND_{n}": f"{level1}_B{n}.TIF" for n in bands},
        },
        "LEVEL1_RADIOMETRIC_RESCALING": {
            **{f"REFLECTANCE_MULT_BAND_{n}": "2.0000E-05" for n in bands},
            **{f"REFLECTANCE_ADD_BAND_{n}": "-0.100000" for n in bands},
        },
    }


def _xml(groups: Mapping[str, Mapping[str, str]]) -> str:
    inner = "\n".join(
        f"  <{group}>\n" + "".join(f"    <{k}>{v}</{k}>\n" for k, v in keys.items()) + f"  </{group}>"
        for group, keys in groups.items()
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}\n<LANDSAT_METADATA_FILE>\n{inner}\n</LANDSAT_METADATA_FILE>\n"


def _json(groups: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps({"LANDSAT_METADATA_FILE": groups}, indent=2)


def _text(groups: Mapping[str, Mapping[str, str]]) -> str:
    def shown(key: str, value: str) -> str:
        plain = key.startswith(("DATE", "COLLECTION_NUMBER")) or value.lstrip("-").replace(".", "").isdigit()
        return value if plain else f'"{value}"'

    inner = "".join(
        f"  GROUP = {group}\n"
        + "".join(f"    {k} = {shown(k, v)}\n" for k, v in keys.items())
        + f"  END_GROUP = {group}\n"
        for group, keys in groups.items()
    )
    return f"GROUP = LANDSAT_METADATA_FILE\n{inner}END_GROUP = LANDSAT_METADATA_FILE\nEND\n"


FORMS = {"xml": _xml, "json": _json, "txt": _text}
"""How the metadata file is written."""
