"""What to search for: a collection, a place and a period, checked before anyone is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any

from ..errors import InputError

CREDENTIALS = {"geodes": ("apikey",), "cop_dataspace": ("username", "password")}
"""Archives of whole products as zip files: eodag's names for them and for what a download needs."""
STAC = "stac"
"""What a STAC API given by its URL is called in eodag."""


@dataclass(frozen=True)
class Query:
    """What to look for."""

    provider: str
    """``geodes`` (Theia), ``cop_dataspace`` (Copernicus), or the URL of a STAC API."""
    collection: str
    """As the provider, or eodag, names it: THEIA_REFLECTANCE_VENUS_VM1_L2A, S2_MSI_L2A …"""
    start: str
    """First day, YYYY-MM-DD, in UTC."""
    end: str
    """Last day, YYYY-MM-DD, in UTC; it counts."""
    bounds: tuple[float, float, float, float] | None = None
    """West, south, east and north, in degrees."""
    tile: str | None = None
    """Tile or site as product names have it: 31TCJ, ARM."""
    cloud: float | None = None
    """Largest cloud cover, in %; products that do not tell theirs are kept."""
    platform: str | None = None
    """Satellite: S2A, or as the provider writes it."""

    def __post_init__(self) -> None:
        optional = [name for name in ("tile", "platform") if getattr(self, name) is not None]
        for name in ("provider", "collection", "start", "end", *optional):
            value = getattr(self, name)
            # A quote or a brace would break eodag's template of a request.
            if not (isinstance(value, str) and re.fullmatch(r"[^\s\"'\\{}]+", value)):
                raise InputError(name, f"cannot be {value!r}", "give one word as text")
        if self.provider not in CREDENTIALS and not re.match("https?://", self.provider):
            raise InputError("provider", f"{self.provider!r} is unknown", f"choose {', '.join(CREDENTIALS)} or a URL")
        for name, day in (("start", self.start), ("end", self.end)):
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", day) or parse_time(day) is None:
                raise InputError(name, f"{day!r} is not a date", "write it like 2020-06-01")
        if self.end < self.start:
            raise InputError("end", f"{self.end} lies before the start, {self.start}", "swap them")
        if self.bounds is None and self.tile is None:
            raise InputError("bounds", "are missing, and so is a tile", "give bounds in degrees, or a tile")
        if self.bounds is not None:
            numbers = isinstance(self.bounds, tuple) and len(self.bounds) == 4 and all(map(is_number, self.bounds))
            west, south, east, north = self.bounds if numbers else (0, 0, 0, 0)
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise InputError("bounds", f"cannot be {self.bounds!r}", "give west, south, east and north in degrees")
        if self.cloud is not None and not (is_number(self.cloud) and 0 <= self.cloud <= 100):
            raise InputError("cloud", f"cannot be {self.cloud!r}", "give the largest cloud cover, 0 to 100 %")

    @classmethod
    def from_mapping(cls, where: object, values: Mapping[str, Any]) -> Query:
        """Read a query from a table of a configuration, called ``where`` in errors.

        Dates may be ``datetime.date`` (TOML), bounds a list. An unknown or missing key, or a wrong value: InputError.
        """
        names = [f.name for f in fields(cls)]
        for key in values:
            if key not in names:
                raise InputError(where, f"has an unknown key {key!r}", f"choose among {', '.join(names)}")
        missing = [name for name in ("provider", "collection", "start", "end") if name not in values]
        if missing:
            raise InputError(where, f"lacks {', '.join(missing)}", "add what is missing")
        kinds: dict[type, Callable[[Any], Any]] = {list: tuple, date: str, datetime: lambda t: str(t.date())}
        try:
            return cls(**{key: kinds.get(type(v), lambda v: v)(v) for key, v in values.items()})
        except InputError as error:
            raise InputError(f"{where}: {error.where}", error.problem, error.mend) from error


def parse_time(text: object) -> datetime | None:
    """A time in ISO 8601, in UTC where it names no zone; None if the text is not a time."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:  # eodag writes "Not Available"
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def is_number(value: object) -> bool:
    """Whether a value of a configuration is a number (true and false are not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
