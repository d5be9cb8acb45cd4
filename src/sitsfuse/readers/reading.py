"""How to read files of other makers: one set of options for the command line, configurations and Python."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError

BandNames = Mapping[str, str | int] | Sequence[str]
SAME_DAY = ("mosaic", "clearest")
"""What may be done with several images of one day."""
REFLECTANCE = "reflectance"
"""The quantity that images hold unless somebody says otherwise."""


@dataclass(frozen=True)
class Reading:
    """How to read a series of foreign files.

    Raises
    ------
    InputError
        If options contradict each other or cannot be meant.
    """

    date_pattern: str | None = None
    """Where the date stands in a name: see :func:`~sitsfuse.readers.read_geotiffs`."""
    bands: BandNames | None = None
    """Which bands, and their names: see :func:`~sitsfuse.readers.read_geotiffs`."""
    band_pattern: str | None = None
    """Where the band stands in the name of a file that holds one: ``{band}`` in a text (``*_{band}_10m``), or a regular
    expression with the named group ``band``."""
    mask_pattern: str | None = None
    """Which files are masks: ``*_SCL.tif``; they belong to the images of their date."""
    mask_band: str | int | None = None
    """Which band of the mask file counts, by name or from 1; where there is no such file, of the image itself."""
    clear: tuple[int, ...] | None = None
    """Numbers of a mask that mean clear; all others are invalid."""
    cloudy: tuple[int, ...] | None = None
    """Numbers of a mask that mean invalid; all others are clear."""
    mask_bits: tuple[int, ...] | None = None
    """Bits of a mask, from 0, any of which makes a pixel invalid."""
    scale: float | None = None
    """Reflectance per number, whatever the files say."""
    offset: float | None = None
    """Reflectance of the number 0, whatever the files say."""
    quantity: str = REFLECTANCE
    """What the numbers are: reflectance, temperature, NDVI …"""
    same_day: str | None = None
    """What to do with several images of one day: mosaic or clearest; refused without."""
    usable: tuple[str, ...] | None = None
    """Of products: flags of pixels that are valid nonetheless."""
    dilation: float | None = None
    """Of products: metres by which clouds are widened."""
    chunk: int = 1024
    """Side of a dask chunk, in pixels."""

    def __post_init__(self) -> None:
        for name in ("date_pattern", "band_pattern", "mask_pattern"):
            # An empty one undoes, for the target alone, what is said for all series.
            if getattr(self, name) == "":
                object.__setattr__(self, name, None)
        for name in ("clear", "cloudy", "mask_bits", "usable"):
            value = getattr(self, name)
            if value is not None:
                entries = (value,) if isinstance(value, int | str) else tuple(value)
                if not entries:
                    raise InputError(name, "is empty", "give at least one")
                object.__setattr__(self, name, entries)
        told = [n for n in ("clear", "cloudy", "mask_bits") if getattr(self, n) is not None]
        if len(told) > 1:
            raise InputError(told[1], f"is given beside {told[0]}", "say in one way what is clear")
        for name in ("clear", "cloudy", "mask_bits"):
            for number in getattr(self, name) or ():
                whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
                if not whole or (name == "mask_bits" and not 0 <= number < 64):
                    raise InputError(name, f"holds {number!r}", "give whole numbers" + " 0–63" * (name == "mask_bits"))
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(name, f"is {value}", "give a number such as 0.0001")
        if self.scale == 0:
            raise InputError("scale", "is 0", "give the reflectance per number, such as 0.0001")
        if self.same_day is not None and self.same_day not in SAME_DAY:
            raise InputError("same_day", f"{self.same_day!r} is unknown", f"choose {' or '.join(SAME_DAY)}")
        if self.chunk < 1:
            raise InputError("chunk", f"is {self.chunk}", "give a positive number of pixels")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Reading:
        """From options by name; an unknown one is an InputError."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                raise InputError(f"option {name!r}", "is unknown", f"choose among {', '.join(known)}")
        return cls(**options)

    def given(self) -> list[str]:
        """Names of the options that are not at their default."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]
