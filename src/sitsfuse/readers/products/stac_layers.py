"""The rasters of STAC items, layer by layer: which band it is, what the item says of it, where and on which grid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from odc.geo.geobox import GeoBox

from ...core.grid import same_grid
from ...core.sensors import Sensor
from ...errors import InputError, missing_extra
from .product import grid_of

SHOWN = {"visual", "overview", "thumbnail"}
"""Roles of assets to look at, not to compute with."""
NUMBERED = re.compile(r"(?:SR_)?B0*(?P<number>\d+A?)(?:_\d+m|\.tif)?", re.IGNORECASE)
"""What bands are called by their number: B02, SR_B2.TIF, B02_10m."""
KEYS = {
    "name": "name",
    "common_name": "common_name",
    "eo:common_name": "common_name",
    "scale": "scale",
    "raster:scale": "scale",
    "offset": "offset",
    "raster:offset": "offset",
    "nodata": "nodata",
}
"""What is read of an asset's bands, by its names in STAC 1.0 and 1.1."""


@dataclass(frozen=True)
class Layer:
    """A layer of a raster of an item."""

    key: str
    """Of the asset."""
    index: int
    """Which layer of the raster, from 1."""
    count: int
    """How many layers the raster has."""
    uri: str
    """As GDAL opens it."""
    box: GeoBox | None
    """Its grid, if the item tells it."""
    roles: frozenset[str]
    """Of the asset."""
    said: Mapping[str, Any]
    """What the item says of the layer, or else of the asset: values of :data:`KEYS`."""

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """Smaller for the better of two rasters of the same."""
        pixel = math.inf if self.box is None else abs(self.box.affine.a)
        # Of copies the GeoTIFF: it is read from the web in parts.
        return self.count > 1, self.uri.lower().endswith(".jp2"), pixel

    def names(self, sensor: Sensor | None) -> tuple[str, str] | None:
        """Common and native name of the band that it is; None for anything else."""
        if self.roles & SHOWN or "visual" in self.key.lower():
            return None
        name, common = self.said.get("name"), self.said.get("common_name")
        if sensor is None:
            return None if common is None else (str(common), str(name or self.key))
        for text in (str(t) for t in (name, self.key, common) if t is not None):
            match = NUMBERED.fullmatch(text)
            wanted = {text.lower().replace(" ", "_")}
            wanted |= {f"B{match['number'].upper()}", f"SR_B{match['number']}"} if match else set()
            for band in sensor.bands:
                if band.name in wanted or band.common in wanted:
                    return band.common, band.name
        return None


def parsed(path: Path, document: Any) -> tuple[list[Layer], np.datetime64]:
    """The layers of an item's rasters, and its time."""
    try:
        import odc.stac
        import pystac
    except ImportError as error:
        raise missing_extra("stac", "odc-stac") from error
    try:
        # Relative paths are seen from the file, wherever the item was before.
        links = [link for link in document.get("links", []) if link.get("rel") not in ("self", "root", "parent")]
        item = pystac.Item.from_dict({**document, "links": links}, migrate=True)
        item.set_self_href(str(path.resolve()))
        parsed = odc.stac.parse_item(item)
        time = parsed.nominal_datetime.astimezone(UTC).replace(tzinfo=None)
    except (pystac.errors.STACError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(path, f"holds what is not a STAC item ({error or type(error).__name__})", "mend it") from error
    layers = []
    for (key, first), source in parsed.bands.items():
        if first == 1:
            asset = document["assets"][key]
            details, roles = _details(asset), frozenset(asset.get("roles") or ())
            uri, box = _local(source.uri), getattr(source, "geobox", None)
            layers += [Layer(key, i, len(details), uri, box, roles, said) for i, said in enumerate(details, 1)]
    return layers, np.datetime64(time, "ns")


def _local(uri: str) -> str:
    """A path where an address means a file on this machine, whose name may be escaped; others as they are."""
    path = uri.removeprefix("file://")
    plain = unquote(path)
    return plain if "://" not in path and not Path(path).exists() and Path(plain).exists() else path


def _details(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an asset says of each of its layers."""
    lists = [asset.get(name) or [] for name in ("eo:bands", "raster:bands", "bands")]
    common = {KEYS[name]: value for name, value in asset.items() if name in KEYS}
    details = []
    for k in range(max(1, *map(len, lists))):
        entries = [entry[k] for entry in lists if k < len(entry) and isinstance(entry[k], dict)]
        details.append(common | {KEYS[name]: value for e in entries for name, value in e.items() if name in KEYS})
    return details


def best_bands(layers: Sequence[Layer], sensor: Sensor | None) -> list[tuple[tuple[str, str], Layer]]:
    """The best layer of each band, in the order of the sensor."""
    found: dict[tuple[str, str], Layer] = {}
    for layer in layers:
        if (names := layer.names(sensor)) and (names not in found or layer.rank < found[names].rank):
            found[names] = layer
    order = {band.name: k for k, band in enumerate(sensor.bands)} if sensor else {}
    return sorted(found.items(), key=lambda entry: order.get(entry[0][1], 0))


def is_here(layer: Layer) -> bool:
    """Whether a raster lies on this machine, where looking at it costs nothing."""
    return "://" not in layer.uri and not layer.uri.startswith("/vsi")


def grid_told(where: str, layer: Layer) -> GeoBox:
    """The grid of a raster: its own, where it is at hand or the item tells none, else what the item says.

    What the item says of a raster on the web is compared with it when it is read.
    """
    if layer.box is not None and not is_here(layer):
        return layer.box
    return grid_of(layer.uri, layer.uri)


def contradicts(layer: Layer) -> bool:
    """Whether an item tells another grid of a raster at hand than the raster does."""
    return layer.box is not None and is_here(layer) and not same_grid(layer.box, grid_of(layer.uri, layer.uri))


def check_there(where: str, layer: Layer) -> None:
    """Raise :class:`InputError` if a raster is said to be on this machine and is not."""
    if is_here(layer) and not Path(layer.uri).exists():
        raise InputError(where, f"asset {layer.key} ({layer.uri}) does not exist", "download it, too")
