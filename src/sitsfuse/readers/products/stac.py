"""STAC items: whatever the format of a product, its rasters described in JSON, here or on the web.

Where rasters lie and on which grid is read by odc-stac; bands, scales and masks are told apart here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.sensors import Sensor, find_sensor
from ...errors import InputError
from ..damage import check_file, outside
from ..opening import opened
from . import landsat, planet
from . import masks as provider_masks
from .flags import MaskFile, Rule
from .product import BandFile, Product
from .stac_layers import SHOWN, Layer, best_bands, check_there, contradicts, grid_told, is_here, parsed

MARK = re.compile(rb'"type"\s*:\s*"Feature(?:Collection)?"')
"""What an item or a collection of items says of itself, beside its ``stac_version``."""
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
    if b'"sitsfuse:method"' in text and path.with_suffix(".tif").is_file():
        return False  # beside the images of a fusion, which tell more
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


def read_items(items: Sequence[Any]) -> list[Product]:
    """Products of items in memory: of pystac, or as dictionaries.

    Raises
    ------
    InputError
        As :func:`read_products`.
    """
    products = []
    for item in items:
        document = item if isinstance(item, dict) else item.clone().make_asset_hrefs_absolute().to_dict(False)
        products.append(_product(Path(str(document.get("id"))), document))
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
    layers, time = parsed(path, document)
    where = f"{path}: item {document.get('id')}"
    said = _Properties(where, document["properties"])
    sensor, platform = said.sensor()
    best = best_bands(layers, sensor)
    bands = tuple(_band_file(where, said, native, common, layer) for (common, native), layer in best)
    if not bands:
        what = "has no band with a common name" if sensor is None else f"has no band of {sensor.name}"
        raise InputError(where, what, "give items of reflectance")
    masks, dilation, notes = _masks(where, layers, bands)
    wrong = [layer.key for _, layer in best if contradicts(layer)]
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


def _band_file(where: str, said: _Properties, native: str, common: str, layer: Layer) -> BandFile:
    scale, offset, nodata = (_Properties(where, layer.said).number(name) for name in ("scale", "offset", "nodata"))
    check_there(where, layer)
    box, empty = layer.box, {nodata} - {None}
    if box is None or scale is None or "nodata" not in layer.said or is_here(layer):
        with opened(layer.uri, whole_header=True) as source:
            if layer.index > source.count:
                what = f"tells of layer {layer.index} of asset {layer.key}, which has {source.count}"
                raise InputError(where, what, "correct the item")
            header = source.scales[layer.index - 1], source.offsets[layer.index - 1]
            empty |= {source.nodatavals[layer.index - 1]} - {None}
            floats = source.dtypes[layer.index - 1].startswith("float")
        box = grid_told(where, layer)
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
    where: str, layers: Sequence[Layer], bands: Sequence[BandFile]
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
            check_there(where, best)
            box = grid_told(where, best)
            masks += [MaskFile(best.uri, box, rule, index) for index, rule in rules.items()]
            dilation, clouds = max(dilation, grow), clouds or kind != "qa_radsat"
    if clouds:
        return tuple(masks), dilation, ()
    others = sorted(
        {layer.key for layer in layers if layer.roles & MASK_ROLES or any("mask" in r for r in layer.roles)}
    )
    strange = f" ({', '.join(others)} is not understood)" if others else ""
    return tuple(masks), dilation, (f"no mask SCL, QA_PIXEL or UDM2{strange}; clouds are unknown",)


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
