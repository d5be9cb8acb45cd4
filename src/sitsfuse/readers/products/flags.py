"""Flags of pixels: what they mean, and which pixels may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray
from ...errors import InputError

FLAGS = {
    "nodata": 1,
    "cloud": 2,
    "cloud_shadow": 4,
    "snow": 8,
    "water": 16,
    "saturated": 32,
    "terrain_shadow": 64,
    "poor_illumination": 128,
}
"""Bits of ``flags``, the same for all formats."""
FLAG_ATTRS = {
    "long_name": "what was found at a pixel",
    "flag_masks": [np.uint8(bit).item() for bit in FLAGS.values()],
    "flag_meanings": " ".join(FLAGS),
}
"""CF attributes of the variable ``flags``."""
USABLE = ("snow", "water")
"""Flags of pixels that are valid nonetheless, by default."""
GROWS = FLAGS["cloud"] | FLAGS["cloud_shadow"]
"""Flags that a dilation widens."""


@dataclass(frozen=True)
class Rule:
    """Which numbers of a mask set a flag: those in ``values``, or those with any of ``bits`` set."""

    flag: str
    """One of :data:`FLAGS`."""
    bits: int = 0
    """Any of these bits set."""
    values: tuple[int, ...] = ()
    """Any of these numbers."""
    nonzero: bool = False
    """Any number but 0."""

    def hits(self, raw: npt.NDArray[np.integer]) -> BoolArray:
        """Where the rule holds."""
        found = raw != 0 if self.nonzero else np.zeros(raw.shape, bool)
        if self.bits:
            found = found | ((raw.astype(np.int64) & self.bits) != 0)
        if self.values:
            found = found | np.isin(raw, self.values)
        return np.asarray(found)


@dataclass(frozen=True)
class MaskFile:
    """Where a mask lies and what its numbers mean."""

    path: str
    """As GDAL opens it."""
    box: GeoBox
    """Its grid; it need not be that of the bands."""
    rules: tuple[Rule, ...]
    """What its numbers mean."""
    index: int = 1
    """Which layer of the file, from 1."""

    def flags(self, raw: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """What numbers of the mask mean, as :data:`FLAGS`."""
        found = np.zeros(raw.shape, np.uint8)
        for rule in self.rules:
            found |= rule.hits(raw) * np.uint8(FLAGS[rule.flag])
        return found


def bad_pixels(usable: Sequence[str]) -> np.uint8:
    """The bits that make a pixel invalid."""
    unknown = [name for name in usable if name not in FLAGS]
    if unknown:
        raise InputError("usable", f"{unknown[0]!r} is not a flag", f"choose among {', '.join(FLAGS)}")
    bits = sum(bit for name, bit in FLAGS.items() if name not in usable) | FLAGS["nodata"]
    return np.uint8(bits)
