"""STAC beside a folder of GeoTIFFs: an item per date, ``YYYYMMDD.json``, and ``collection.json`` of all of them.

Version 1.1 of the specification (https://stacspec.org), with the extensions projection, raster, eo, processing and
classification. They are plain JSON with relative links, so that the folder can be moved or put on a server as it is.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.warp import transform

from ..core.channels import Channel
from ..runtime.files import plain, read_json, replacing

VERSION = "1.1.0"
EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    # With version 2, odc-stac does not find bands by their names.
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "classification": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
COMMON = {
    "coastal", "blue", "green", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078", "nir", "nir08",
    "nir09", "cirrus", "swir16", "swir22", "pan", "lwir", "lwir11", "lwir12",
}  # fmt: skip
"""Common names that the extension eo knows."""
COLLECTION = "collection.json"


@dataclass(frozen=True)
class Asset:
    """A file of an item."""

    key: str
    """What it is called there."""
    file: str
    """Its name, in the folder of the item."""
    title: str
    roles: tuple[str, ...]
    channels: tuple[Channel, ...]
    dtype: str
    nodata: float | str | None = None
    """As STAC writes it: "nan" for NaN."""
    scale: float = 1.0
    classes: tuple[str, ...] = ()
    """What its numbers mean, from 0."""
    suffix: str = ""
    """Of the names of its bands, where another asset has bands of the same names."""


@dataclass(frozen=True)
class Item:
    """What there is to say of a date."""

    day: str
    """YYYYMMDD, the name of its files."""
    time: np.datetime64
    box: GeoBox
    assets: tuple[Asset, ...]
    version: str
    """Of the software that made it."""
    lineage: str
    """How it was made, in a sentence."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """Further ones, of whatever JSON can hold."""


def write_item(folder: Path, item: Item) -> None:
    """Write the item of a date into the folder of its files."""
    name = folder.resolve().name
    longitudes, latitudes = zip(*_corners(item.box), strict=True)
    document = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": list(EXTENSIONS.values()),
        "id": f"{name}_{item.day}",
        "collection": name,
        "geometry": {"type": "Polygon", "coordinates": [_corners(item.box)]},
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "properties": {
            "datetime": _iso(item.time),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "gsd": abs(item.box.affine.a),
            **_projection(item.box),
            "processing:lineage": item.lineage,
            "processing:software": {"sitsfuse": item.version},
            **item.properties,
        },
        "links": [
            {"rel": rel, "href": f"./{COLLECTION}", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": {asset.key: _asset(asset) for asset in item.assets},
    }
    _write(folder / f"{item.day}.json", document)


def write_collection(folder: Path) -> None:
    """Write the collection of all items in a folder; nothing where there are none."""
    items = item_files(folder)
    known = [found for found in (read_json(items[k]) for k in (0, -1)) if found] if items else []
    if not known:
        return
    name = folder.resolve().name
    document = {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": name,
        "title": name,
        "description": "Satellite images of high resolution, fused by sitsfuse, with their uncertainties and masks.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [known[0]["bbox"]]},
            "temporal": {"interval": [[entry["properties"]["datetime"] for entry in (known[0], known[-1])]]},
        },
        "links": [
            {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
            *({"rel": "item", "href": f"./{path.name}", "type": "application/geo+json"} for path in items),
        ],
    }
    if read_json(folder / COLLECTION) != document:
        _write(folder / COLLECTION, document)


def item_files(folder: Path) -> list[Path]:
    """The items in a folder, by date; only those of which the image is there."""
    return sorted(
        p for p in folder.glob("*.json") if re.fullmatch(r"\d{8}", p.stem) and p.with_suffix(".tif").is_file()
    )


def _asset(asset: Asset) -> dict[str, Any]:
    about: dict[str, Any] = {
        "href": f"./{asset.file}",
        "type": COG,
        "title": asset.title,
        "roles": list(asset.roles),
        "data_type": asset.dtype,
        "bands": [_band(channel, asset) for channel in asset.channels],
        "eo:bands": [_spectrum(channel, asset) for channel in asset.channels],
    }
    if asset.nodata is not None:
        about["nodata"] = asset.nodata
    if asset.scale != 1:
        about["raster:scale"], about["raster:offset"] = asset.scale, 0
    if asset.classes:
        about["classification:classes"] = [
            {"value": value, "name": re.sub(r"\W+", "_", words), "description": words}
            for value, words in enumerate(asset.classes)
        ]
    return about


def _band(channel: Channel, asset: Asset) -> dict[str, Any]:
    about: dict[str, Any] = {"name": channel.name + asset.suffix}
    if channel.unit:
        about["unit"] = channel.unit
    return about


def _spectrum(channel: Channel, asset: Asset) -> dict[str, Any]:
    about: dict[str, Any] = {"name": channel.name + asset.suffix}
    if channel.name in COMMON and not asset.suffix:
        about["common_name"] = channel.name
    if channel.wavelength is not None:
        about["center_wavelength"] = round(channel.wavelength / 1000, 6)
    if channel.width is not None:
        about["full_width_half_max"] = round(channel.width / 1000, 6)
    return about


def _projection(box: GeoBox) -> dict[str, Any]:
    code = None if box.crs is None else box.crs.to_epsg()
    about: dict[str, Any] = {"proj:code": f"EPSG:{code}" if code else None}
    if not code and box.crs is not None:
        about["proj:wkt2"] = box.crs.to_wkt()
    return about | {"proj:shape": list(box.shape), "proj:transform": [float(v) for v in box.affine[:6]]}


def _corners(box: GeoBox) -> list[list[float]]:
    """Longitude and latitude of the outline, counter-clockwise and closed."""
    rows, cols = box.shape
    xs, ys = zip(*(box.affine * corner for corner in ((0, 0), (0, rows), (cols, rows), (cols, 0))), strict=True)
    if box.crs is not None:
        xs, ys = transform(box.crs.to_wkt(), "EPSG:4326", xs, ys)
    points = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(xs, ys, strict=True)]
    ring = [*points, points[0]]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring))
    return ring if area > 0 else ring[::-1]


def _iso(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"


def _write(path: Path, document: Mapping[str, Any]) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(plain(document), indent=1), encoding="utf-8")
