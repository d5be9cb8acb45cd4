"""Tiny but complete scenes of PlanetScope: surface reflectance, UDM2 and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

NAMES = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}
LAYERS = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "udm1")
"""Layers of UDM2."""


def make_planet(
    folder: Path,
    *,
    scene: str = "20210709_175710_72_105e",
    tools: str = "",
    pixels: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
    bands: int = 4,
    instrument: str = "PS2.SD",
    shape: tuple[int, int] = (12, 10),
    origin: tuple[float, float] = (500010.0, 4000005.0),
    forms: Sequence[str] = ("json",),
    changes: Mapping[str, Any] | None = None,
    descriptions: Sequence[str] | None = None,
    dtype: str = "uint16",
    nodata: float | None = 0,
    mask_tools: str | None = None,
    mask_shift: tuple[int, int] = (0, 0),
    mask_layers: int = 8,
    with_mask: bool = True,
    seed: int = 0,
    **tags: Any,
) -> Path:
    """Write a scene flat into a folder, as Planet delivers it, and return the path of the image.

    Parameters
    ----------
    folder
        May hold other scenes.
    scene
        Its name, which begins with YYYYMMDD, the day it was taken.
    tools
        End of the image's name after ``_SR``, such as ``_harmonized_clip``; ``_8b`` is added by itself.
    pixels, mask
        (y, x) numbers by names of bands, and by names of the layers of UDM2 (by default all is clear).
    forms
        Of the metadata: json, xml.
    changes
        Properties in the metadata; None removes one.
    mask_tools, mask_shift
        End of the mask's name (by default what the image's has of it) and rows and columns by which it begins
        before the image.
    **tags
        ``scales`` or ``offsets`` of the image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = NAMES[bands]
    given = pixels or {}
    image = np.stack([np.asarray(given.get(n, rng.integers(200, 5000, shape))) for n in names]).astype(dtype)
    suffix = ("_8b" if bands == 8 else "") + tools
    path = folder / f"{scene}_3B_AnalyticMS_SR{suffix}.tif"
    described = names if descriptions is None else descriptions
    _write(path, image, origin, nodata, described, **tags)
    if with_mask:
        size = (shape[0] + mask_shift[0], shape[1] + mask_shift[1])
        layers = {"clear": np.ones(size), "confidence": np.full(size, 90)} | dict(mask or {})
        stack = np.stack([np.broadcast_to(layers.get(n, 0), size) for n in LAYERS[:mask_layers]]).astype(np.uint8)
        end = tools.replace("_harmonized", "") if mask_tools is None else mask_tools
        corner = (origin[0] - 3 * mask_shift[1], origin[1] + 3 * mask_shift[0])
        _write(folder / f"{scene}_3B_udm2{end}.tif", stack, corner, None, LAYERS[:mask_layers])
    time = f"{scene[:4]}-{scene[4:6]}-{scene[6:8]}T17:57:10.722684Z"
    properties = PROPERTIES | {"acquired": time, "instrument": instrument} | dict(changes or {})
    properties = {k: v for k, v in properties.items() if v is not None}
    if "json" in forms:
        item = {"id": scene, "type": "Feature", "geometry": None, "properties": properties}
        (folder / f"{scene}_metadata.json").write_text(json.dumps(item, indent=2))
    if "xml" in forms:
        kind = "_8b" if bands == 8 else ""
        end = "_clip" if "_clip" in tools else ""
        (folder / f"{scene}_3B_AnalyticMS{kind}_metadata{end}.xml").write_text(_xml(properties))
    return path


PROPERTIES: dict[str, Any] = {
    "anomalous_pixels": 0,
    "clear_percent": 88,
    "cloud_cover": 0.07,
    "cloud_percent": 8,
    "gsd": 3.8,
    "item_type": "PSScene",
    "pixel_resolution": 3,
    "provider": "planetscope",
    "satellite_azimuth": 285.7,
    "satellite_id": "105e",
    "sun_azimuth": 176.4,
    "sun_elevation": 46.9,
    "view_angle": 3.1,
}


def _write(
    path: Path,
    values: Any,
    origin: tuple[float, float],
    nodata: float | None,
    descriptions: Sequence[str],
    **tags: Any,
) -> None:
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(3, 0, origin[0], 0, -3, origin[1]),
        "nodata": nodata,
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(values)
        if descriptions:
            out.descriptions = descriptions
        for name, value in tags.items():
            setattr(out, name, value)


def _xml(p: Mapping[str, Any]) -> str:
    def element(tag: str, name: str, scale: float = 1) -> str:
        if name not in p:
            return ""
        return f"<{tag}>{p[name] * scale if scale != 1 else p[name]}</{tag}>"

    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ps:EarthObservation xmlns:opt="http://earth.esa.int/opt" xmlns:gml="http://www.opengis.net/gml"
    xmlns:eop="http://earth.esa.int/eop" version="1.2.1"
    xmlns:ps="http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level">
  <gml:metaDataProperty><ps:EarthObservationMetaData>
    <eop:identifier>20210709_175710_72_105e_3B_AnalyticMS</eop:identifier>
    <eop:downlinkedTo><eop:DownlinkInformation>
      <eop:acquisitionDate>2021-07-09T18:00:00+00:00</eop:acquisitionDate>
    </eop:DownlinkInformation></eop:downlinkedTo>
  </ps:EarthObservationMetaData></gml:metaDataProperty>
  <gml:using><eop:EarthObservationEquipment>
    <eop:platform><eop:Platform>
      <eop:shortName>PlanetScope</eop:shortName>{element("eop:serialIdentifier", "satellite_id")}
    </eop:Platform></eop:platform>
    <eop:instrument><eop:Instrument>{element("eop:shortName", "instrument")}</eop:Instrument></eop:instrument>
    <eop:acquisitionParameters><ps:Acquisition>
      <eop:orbitDirection>DESCENDING</eop:orbitDirection>
      {element("eop:incidenceAngle", "view_angle")}
      {element("opt:illuminationAzimuthAngle", "sun_azimuth")}
      {element("opt:illuminationElevationAngle", "sun_elevation")}
      {element("ps:azimuthAngle", "satellite_azimuth")}
      <ps:spaceCraftViewAngle>2.9</ps:spaceCraftViewAngle>
      {element("ps:acquisitionDateTime", "acquired")}
    </ps:Acquisition></eop:acquisitionParameters>
  </eop:EarthObservationEquipment></gml:using>
  <gml:resultOf><ps:EarthObservationResult>
    {element("opt:cloudCoverPercentage", "cloud_cover", 100)}
    <ps:bandSpecificMetadata><ps:bandNumber>1</ps:bandNumber>
      <ps:radiometricScaleFactor>0.01</ps:radiometricScaleFactor>
      <ps:reflectanceCoefficient>2.2e-05</ps:reflectanceCoefficient>
    </ps:bandSpecificMetadata>
  </ps:EarthObservationResult></gml:resultOf>
</ps:EarthObservation>
"""
