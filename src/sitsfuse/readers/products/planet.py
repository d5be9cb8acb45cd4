"""Surface reflectance of PlanetScope as Planet delivers it: an image, its usable data mask (UDM2) and metadata."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rasterio import DatasetReader

from ...core.sensors import Sensor, find_sensor
from ...errors import InputError
from ..opening import opened
from .archive import Archive
from .flags import MaskFile
from .masks import USABLE_DATA_MASK
from .metadata import AGAIN, Metadata
from .product import BandFile, Product, grid_of

IMAGE = re.compile(r"(?P<scene>.+)_3B_AnalyticMS_SR(?P<tools>(?:_[A-Za-z0-9]+)*)\.tif")
"""Names of images; ``tools`` says what was done to them: ``_8b_harmonized_clip``."""
ONLY_IMAGE = ("8b", "harmonized")
"""Parts of an image's name that its mask's does not have."""
SCALE = 1e-4
"""Reflectance per number, if the image does not say: the surface reflectance asset is by its specification reflectance
times 10000, which no metadata repeat (their coefficients are those of the radiance asset)."""
NODATA = 0.0
"""What that asset has where it has no data, if the image does not say."""
ORDER = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}
"""Native names of the bands by their number, in the order of the file."""
ELEMENTS = {
    "acquired": "acquisitionDateTime",
    "instrument": "Instrument/shortName",
    "satellite_id": "Platform/serialIdentifier",
    "sun_elevation": "illuminationElevationAngle",
    "sun_azimuth": "illuminationAzimuthAngle",
    "view_angle": "incidenceAngle",
    "satellite_azimuth": "azimuthAngle",
}
"""What the metadata in XML call what is in the metadata in JSON."""
DILATION = 30.0
"""Metres by which its clouds and shadows should be widened: it follows them closely and misses their rims."""


def is_product(path: Path) -> bool:
    """Whether a path is the image of a product, or a folder that holds just one, by names alone."""
    if path.is_dir():
        return len(_images(path)) == 1
    return bool(IMAGE.fullmatch(path.name))


def read_products(path: Path) -> list[Product]:
    """The one product at a path."""
    return [read_product(path)]


def read_product(path: str | Path) -> Product:
    """Read the metadata of a product.

    Parameters
    ----------
    path
        The image ``<scene>_3B_AnalyticMS_SR….tif`` with 4 or 8 bands, or a folder that holds just one. Beside it lie
        the mask ``<scene>_3B_udm2….tif`` and the metadata, ``<scene>_metadata.json`` or
        ``<scene>_3B_AnalyticMS…metadata….xml``.

    Returns
    -------
    Product
        Its path is that of the image.

    Raises
    ------
    InputError
        If metadata are missing, or the image is none of surface reflectance.
    """
    path = Path(path)
    if path.is_dir():
        images = _images(path)
        if len(images) != 1:
            raise InputError(path, f"holds {len(images)} images *_3B_AnalyticMS_SR*.tif", "give one of them")
        path = images[0]
    match = IMAGE.fullmatch(path.name)
    if match is None:
        raise InputError(path, "is not an image of surface reflectance", "give <scene>_3B_AnalyticMS_SR….tif")
    scene = match["scene"]
    said = _Metadata.of(path, scene)
    try:
        sensor = find_sensor(said.text("instrument"))
    except InputError as error:
        where = said.where if error.where == "sensor" else error.where
        raise InputError(where, error.problem, error.mend) from None
    mask = _mask_path(path, scene, match["tools"])
    return Product(
        path=path,
        id=path.stem,
        format="planet",
        sensor=sensor.name,
        platform=f"PlanetScope-{said.text('satellite_id')}",
        time=said.time("acquired"),
        bands=_bands(path, sensor),
        masks=() if mask is None else _masks(mask),
        cloud=said.cloud(),
        sun=said.angles("sun_elevation", "sun_azimuth", from_horizon=True),
        view=said.angles("view_angle", "satellite_azimuth"),
        dilation=DILATION,
        notes=("no mask UDM2; clouds are unknown",) if mask is None else (),
    )


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("[!.]*_3B_*") if IMAGE.fullmatch(p.name))


def _bands(path: Path, sensor: Sensor) -> tuple[BandFile, ...]:
    with opened(path, whole_header=True) as source:
        if source.dtypes[0] != "uint16":
            what = f"holds {source.dtypes[0]}, not uint16 as surface reflectance does"
            raise InputError(path, what, "give the image as it was delivered")
        names = _names(path, source, sensor)
        scales, offsets, nodata = source.scales, source.offsets, source.nodatavals
    box = grid_of(str(path), path)
    known = {band.name: band.common for band in sensor.bands}
    return tuple(
        BandFile(
            name=known[native],
            native=native,
            path=str(path),
            box=box,
            scale=SCALE if scales[i] == 1 else scales[i],
            offset=offsets[i],
            nodata=(NODATA if nodata[i] is None else float(nodata[i]),),
            index=i + 1,
        )
        for i, native in enumerate(names)
    )


def _names(path: Path, source: DatasetReader, sensor: Sensor) -> tuple[str, ...]:
    """Native names of the layers: as they are described, else by their number."""
    known = {band.name for band in sensor.bands}
    described = tuple((text or "").strip().lower().replace(" ", "_") for text in source.descriptions)
    if known.issuperset(described):
        return described
    order = ORDER.get(source.count, ())
    if not order or not known.issuperset(order):
        what = f"has {source.count} bands, which are none that {sensor.name} delivers"
        raise InputError(path, what, "give an image of 4 or 8 bands as it was delivered")
    return order


def _mask_path(path: Path, scene: str, tools: str) -> Path | None:
    """The mask that was treated as the image was, else any of the scene."""
    treated = "".join(f"_{tool}" for tool in tools.split("_")[1:] if tool.lower() not in ONLY_IMAGE)
    found = sorted(p for p in path.parent.glob("*_3B_udm2*.tif") if p.name.startswith(f"{scene}_3B_"))
    return next((p for p in found if p.stem == f"{scene}_3B_udm2{treated}"), found[0] if found else None)


def _masks(path: Path) -> tuple[MaskFile, ...]:
    with opened(path, whole_header=True) as source:
        count = source.count
    if count < max(USABLE_DATA_MASK):
        raise InputError(path, f"has {count} layers, not the {max(USABLE_DATA_MASK)} of a mask UDM2", AGAIN)
    box = grid_of(str(path), path)
    return tuple(MaskFile(str(path), box, rules, index) for index, rules in USABLE_DATA_MASK.items())


@dataclass(frozen=True)
class _Metadata:
    """What a metadata file says, under the names that Planet's JSON has for it."""

    where: Path
    """The file."""
    values: Mapping[str, Any]
    """Texts or numbers."""

    @classmethod
    def of(cls, image: Path, scene: str) -> _Metadata:
        """Read the metadata that lie beside an image."""
        path = image.parent / f"{scene}_metadata.json"
        if path.is_file():
            return cls(path, _properties(path))
        found = sorted(p for p in image.parent.glob("*_metadata*.xml") if p.name.startswith(f"{scene}_3B_AnalyticMS"))
        if not found:
            raise InputError(image, f"has no metadata beside it ({path.name} or {scene}_3B_AnalyticMS*.xml)", AGAIN)
        meta = Metadata.of(Archive(image.parent, (found[0].name,)), found[0].name)
        values: dict[str, Any] = {name: meta.find(element) for name, element in ELEMENTS.items()}
        if (cloud := meta.share("cloudCoverPercentage")) is not None:
            values["cloud_cover"] = cloud
        return cls(found[0], values)

    def shown(self, name: str) -> str:
        """What the file itself calls a value."""
        return ELEMENTS.get(name, name) if self.where.suffix == ".xml" else name

    def text(self, name: str) -> str:
        """A value as text; a missing one is an InputError."""
        value = self.values.get(name)
        if value is None or str(value).strip() == "":
            raise InputError(self.where, f"has no {self.shown(name)}", AGAIN)
        return str(value).strip()

    def number(self, name: str) -> float | None:
        """A value as a finite number; None without one."""
        if self.values.get(name) is None:
            return None
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(self.where, f"{self.shown(name)} is {text!r}, not a number", AGAIN)
        return value

    def time(self, name: str) -> np.datetime64:
        """A value as a time (UTC), datetime64[ns]."""
        text = self.text(name)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise InputError(self.where, f"{self.shown(name)} is {text!r}, not a time", AGAIN) from None
        utc = moment.astimezone(UTC) if moment.tzinfo else moment
        return np.datetime64(utc.replace(tzinfo=None), "ns")

    def cloud(self) -> float | None:
        """Cloudy share of the image, 0–1."""
        share, percent = self.number("cloud_cover"), self.number("cloud_percent")
        return share if share is not None else None if percent is None else percent / 100

    def angles(self, height: str, azimuth: str, *, from_horizon: bool = False) -> tuple[float, float] | None:
        """Zenith and azimuth in degrees; None without them."""
        first, second = self.number(height), self.number(azimuth)
        if first is None or second is None:
            return None
        return (90 - first if from_horizon else abs(first)), second % 360


def _properties(path: Path) -> Mapping[str, Any]:
    try:
        properties = json.loads(path.read_bytes())["properties"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is not valid metadata ({error})", AGAIN) from error
    if not isinstance(properties, dict):
        raise InputError(path, "is not valid metadata (properties)", AGAIN)
    return properties
