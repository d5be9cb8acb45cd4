"""STAC items: whatever the format of a product, its rasters described in JSON, here or on the web.

Where rasters lie and on which grid is read by odc-stac; bands, scales and masks are told apart here.
"""

from __future__ import annotations

import json
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
from ...core.sensors import Sensor, find_sensor
from ...errors import InputError, missing_extra
from ..damage import check_file, outside
from ..opening import opened
from . import landsat, planet
from . import masks as provider_masks
from .flags import MaskFile, Rule
from .product import BandFile, Product, grid_of

MARK = re.compile(rb'"type"\s*:\s*"Feature(?:Collection)?"')
"""What an item or a collection of items says of itself, beside its ``stac_version``."""
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
MASK_ROLES = {"cloud", "cloud-shadow", "snow-ice", "data-mask"}
"""Roles of masks."""
APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
"""Properties of items whose numbers had the offset added when they were copied, though the bands still declare it."""


def is_product(path: Path) -> bool:
    """Whether a path is a JSON file with items, or a folder that holds such files and no other products.

    JSON files say by their content what they are. An item that comes beside the images of a format of its own is none.
    """
    if path.is_dir():
        inside = [p for p in path.iterdir() if not p.name.startswith(".")]
        return not any(p.is_dir() or p.suffix.lower() in (".zip", ".tar") for p in inside) and bool(_items(path))
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if any(p.name.startswith(f"{path.stem}_3B_") for p in path.parent.iterdir()):
        return False
    text = path.read_bytes()
    return b'"stac_version"' in text and MARK.search(text) is not None


def read_products(path: str | Path) -> list[Product]:
    """Read the items of a file or folder.

    Parameters
    ----------
    path
        A JSON file that holds an item or a collection of items, or a folder of such files. Assets are files beside
        it or on the web.

    Returns
    -------
    list of Product
        Bands are those of a known sensor, else those with a common name; of several rasters of a band the finest.
        Masks that are understood are SCL (Sentinel-2), QA_PIXEL and QA_RADSAT (Landsat) and UDM2 (PlanetScope). Rasters
        are opened only where the item does not tell their grid, scale and nodata.

    Raises
    ------
    InputError
        If odc-stac is not installed, or an item cannot be used.
    """
    path = Path(path)
    files = _items(path) if path.is_dir() else [path]
    products = [_product(file, document) for file in files for document in _documents(file)]
    if not products:
        raise InputError(path, "holds no STAC item", "give a JSON file of items or a folder of such files")
    return products


def _items(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_file() and is_product(p))


def _documents(path: Path) -> list[dict[str, Any]]:
    """The items of a file."""
    check_file(path)
    with outside(path, "is not valid JSON", "download it again"):
        data = json.loads(path.read_bytes())
    kind = data.get("type") if isinstance(data, dict) else None
    if kind not in ("Feature", "FeatureCollection"):
        raise InputError(path, "holds no STAC item", "give an item or a collection of items")
    return [data] if kind == "Feature" else list(data.get("features", []))


def _product(path: Path, document: Any) -> Product:
    layers, time = _parsed(path, document)
    where = f"{path}: item {document.get('id')}"
    said = _Properties(where, document["properties"])
    sensor, platform = said.sensor()
    bands = tuple(_band_file(where, said, native, common, best) for (common, native), best in _bands(layers, sensor))
    if not bands:
        what = "has no band with a common name" if sensor is None else f"has no band of {sensor.name}"
        raise InputError(where, what, "give items of reflectance")
    masks, dilation, notes = _masks(where, layers, bands)
    wrong = [layer.key for _, layer in _bands(layers, sensor) if _contradicts(layer)]
    if wrong:
        notes += (f"the item places {', '.join(wrong)} otherwise than the files: the files are right",)
    return Product(
        path=path,
        id=str(document["id"]),
        format="stac",
        sensor=platform if sensor is None else sensor.name,
        platform=platform,
        time=time,
        bands=bands,
        masks=masks,
        cloud=None if (percent := said.number("eo:cloud_cover")) is None else percent / 100,
        sun=said.angles("view:sun_elevation", "view:sun_azimuth", from_horizon=True),
        view=said.angles("view:incidence_angle", "view:azimuth"),
        dilation=dilation,
        notes=notes,
    )


@dataclass(frozen=True)
class _Layer:
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


def _parsed(path: Path, document: Any) -> tuple[list[_Layer], np.datetime64]:
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
            layers += [_Layer(key, i, len(details), uri, box, roles, said) for i, said in enumerate(details, 1)]
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


def _bands(layers: Sequence[_Layer], sensor: Sensor | None) -> list[tuple[tuple[str, str], _Layer]]:
    """The best layer of each band, in the order of the sensor."""
    found: dict[tuple[str, str], _Layer] = {}
    for layer in layers:
        if (names := layer.names(sensor)) and (names not in found or layer.rank < found[names].rank):
            found[names] = layer
    order = {band.name: k for k, band in enumerate(sensor.bands)} if sensor else {}
    return sorted(found.items(), key=lambda entry: order.get(entry[0][1], 0))


def _band_file(where: str, said: _Properties, native: str, common: str, layer: _Layer) -> BandFile:
    scale, offset, nodata = (_Properties(where, layer.said).number(name) for name in ("scale", "offset", "nodata"))
    _check_there(where, layer)
    box, empty = layer.box, {nodata} - {None}
    if box is None or scale is None or "nodata" not in layer.said or _here(layer):
        with opened(layer.uri, whole_header=True) as source:
            if layer.index > source.count:
                what = f"tells of layer {layer.index} of asset {layer.key}, which has {source.count}"
                raise InputError(where, what, "correct the item")
            header = source.scales[layer.index - 1], source.offsets[layer.index - 1]
            empty |= {source.nodatavals[layer.index - 1]} - {None}
            floats = source.dtypes[layer.index - 1].startswith("float")
        box = _grid(where, layer)
        if scale is None:
            if header == (1, 0) and not floats:
                raise InputError(where, f"tells no scale of asset {layer.key}", "give items that do (raster:bands)")
            scale, offset = header
        elif header[0] != 1 and not math.isclose(header[0], scale, rel_tol=1e-3):
            what = f"tells the scale {scale:g} of asset {layer.key}, but the file itself {header[0]:g}"
            raise InputError(where, what, "correct the one that is wrong")
    applied = any(said.values.get(name) is True for name in APPLIED)
    return BandFile(
        name=common,
        native=native,
        path=layer.uri,
        box=box,
        scale=scale,
        offset=0.0 if applied or offset is None else offset,
        nodata=tuple(float(v) for v in empty if v is not None),
        index=layer.index,
    )


def _masks(
    where: str, layers: Sequence[_Layer], bands: Sequence[BandFile]
) -> tuple[tuple[MaskFile, ...], float, tuple[str, ...]]:
    """Masks that are understood, metres by which clouds should be widened, and what to say of others."""
    numbered = [band for band in bands if band.native.startswith("SR_B")]
    kinds: dict[str, tuple[Mapping[int, tuple[Rule, ...]], float]] = {
        "scl": ({1: provider_masks.SCENE_CLASSES}, provider_masks.DILATION),
        "qa_pixel": ({1: provider_masks.PIXEL_QUALITY}, 0.0),
        "udm2": (provider_masks.USABLE_DATA_MASK, planet.DILATION),
        "qa_radsat": ({1: landsat.saturation(numbered)}, 0.0),
    }
    masks, dilation, clouds = [], 0.0, False
    for kind, (rules, grow) in kinds.items():
        found = [layer for layer in layers if kind in layer.key.lower() and not layer.roles & SHOWN]
        if found:
            best = min(found, key=lambda layer: layer.rank)
            _check_there(where, best)
            box = _grid(where, best)
            masks += [MaskFile(best.uri, box, rule, index) for index, rule in rules.items()]
            dilation, clouds = max(dilation, grow), clouds or kind != "qa_radsat"
    if clouds:
        return tuple(masks), dilation, ()
    others = sorted(
        {layer.key for layer in layers if layer.roles & MASK_ROLES or any("mask" in r for r in layer.roles)}
    )
    strange = f" ({', '.join(others)} is not understood)" if others else ""
    return tuple(masks), dilation, (f"no mask SCL, QA_PIXEL or UDM2{strange}; clouds are unknown",)


def _here(layer: _Layer) -> bool:
    """Whether a raster lies on this machine, where looking at it costs nothing."""
    return "://" not in layer.uri and not layer.uri.startswith("/vsi")


def _grid(where: str, layer: _Layer) -> GeoBox:
    """The grid of a raster: its own, where it is at hand or the item tells none, else what the item says.

    What the item says of a raster on the web is compared with it when it is read.
    """
    if layer.box is not None and not _here(layer):
        return layer.box
    return grid_of(layer.uri, layer.uri)


def _contradicts(layer: _Layer) -> bool:
    """Whether an item tells another grid of a raster at hand than the raster does."""
    return layer.box is not None and _here(layer) and not same_grid(layer.box, grid_of(layer.uri, layer.uri))


def _check_there(where: str, layer: _Layer) -> None:
    if _here(layer) and not Path(layer.uri).exists():
        raise InputError(where, f"asset {layer.key} ({layer.uri}) does not exist", "download it, too")


@dataclass(frozen=True)
class _Properties:
    """What an item, or a layer of it, says by name."""

    where: str
    """The item, for errors."""
    values: Mapping[str, Any]
    """As they were read."""

    def number(self, name: str) -> float | None:
        """A number; None without one."""
        value = self.values.get(name)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InputError(self.where, f"{name} is {value!r}, not a number", "mend it") from None

    def angles(self, height: str, azimuth: str, *, from_horizon: bool = False) -> tuple[float, float] | None:
        """Zenith and azimuth in degrees; None without them."""
        first, second = self.number(height), self.number(azimuth)
        if first is None or second is None:
            return None
        return (90 - first if from_horizon else first), second % 360

    def sensor(self) -> tuple[Sensor | None, str]:
        """The sensor, if it is known, and the platform."""
        values = self.values
        names = [values.get("platform"), *values.get("instruments", ()), values.get("constellation")]
        texts = [str(name) for name in names if name]
        for text in texts:
            try:
                return find_sensor(text), texts[0]
            except InputError:
                continue
        if not texts:
            raise InputError(self.where, "tells no platform", "give items that do")
        return None, texts[0]
