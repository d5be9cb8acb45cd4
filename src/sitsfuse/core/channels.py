"""What is known of the bands of a series beside their names: unit and wavelength."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from ..errors import InputError
from .sensors import Sensor, find_sensor


@dataclass(frozen=True)
class Channel:
    """A band as files describe it."""

    name: str
    unit: str = ""
    """Of its values, as CF writes it: "1" for a reflectance; empty where nobody says."""
    wavelength: float | None = None
    """Centre, in nm."""
    width: float | None = None
    """Width, in nm."""


def channels_of(series: xr.Dataset) -> tuple[Channel, ...]:
    """The bands of a series: wavelengths where its images are of one sensor that is known.

    Parameters
    ----------
    series
        A series; ``attrs["sensor"]`` or the coordinate ``platform`` tell the sensor, ``attrs["quantity"]`` and
        ``reflectance.attrs["units"]`` the unit.
    """
    told = series["reflectance"].attrs.get("units")
    unit = str(told) if told else "1" if series.attrs.get("quantity", "reflectance") == "reflectance" else ""
    sensor = _sensor(series)
    found = []
    for name in map(str, series["band"].values):
        band = next((b for b in sensor.bands if name in (b.name, b.common)), None) if sensor else None
        found.append(Channel(name, unit, *((band.wavelength, band.width) if band else ())))
    return tuple(found)


def _sensor(series: xr.Dataset) -> Sensor | None:
    """The one sensor of all images, if it is known."""
    names = {str(series.attrs.get("sensor", ""))}
    if "platform" in series.coords:
        names |= {str(p) for p in series["platform"].values}
    sensors = {}
    for name in names - {""}:
        try:
            sensor = find_sensor(name)
        except InputError:
            continue
        sensors[sensor.name] = sensor
    return next(iter(sensors.values())) if len(sensors) == 1 else None
