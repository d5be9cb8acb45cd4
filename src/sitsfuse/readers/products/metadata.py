"""What XML metadata say: elements by name, whatever their namespace, with errors that name file and element."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from ...errors import InputError
from .archive import Archive

AGAIN = "download the product again"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z?")


@dataclass(frozen=True)
class Metadata:
    """A metadata file.

    Elements are looked up by paths of local names, at any depth: ``Sun_Angles/ZENITH_ANGLE``,
    ``QUALITY_INDEX[@name='CloudPercent']``.
    """

    root: Element
    """The document."""
    where: str
    """The file as a user finds it."""

    @classmethod
    def of(cls, archive: Archive, name: str) -> Metadata:
        """Read a metadata file of a product."""
        return cls(archive.xml(name), archive.label(name))

    def all(self, path: str) -> list[Element]:
        """All elements of a path."""
        return self.root.findall(".//" + "/".join(part if part == "*" else "{*}" + part for part in path.split("/")))

    def find(self, path: str) -> str | None:
        """The text of the first element of a path, without blanks around it; None without one."""
        found = self.all(path)
        return (found[0].text or "").strip() or None if found else None

    def text(self, path: str) -> str:
        """Like :meth:`find`, but a missing or empty element is an InputError."""
        found = self.find(path)
        if found is None:
            raise InputError(self.where, f"has no {path}", AGAIN)
        return found

    def number(self, path: str) -> float:
        """The first element of a path as a finite number; anything else is an InputError."""
        return self.parse(path, self.text(path))

    def share(self, path: str) -> float | None:
        """A percentage as a share, 0–1; None where it is missing."""
        text = self.find(path)
        return None if text is None else self.parse(path, text) / 100

    def numbers(self, path: str) -> list[float]:
        """All elements of a path that hold a finite number."""
        texts = [(element.text or "").strip() for element in self.all(path)]
        return [value for t in texts if math.isfinite(value := self.parse(path, t, finite=False))]

    def scale(self, path: str) -> float:
        """Reflectance per number, from a quantification value."""
        value = self.number(path)
        if value <= 0:
            raise InputError(self.where, f"{path} is {value:g}, not positive", AGAIN)
        return 1 / value

    def time(self, path: str) -> np.datetime64:
        """The first element of a path as a time (UTC), datetime64[ns]."""
        text = self.text(path)
        try:
            # NumPy alone takes "now" for a time, too.
            if TIME.fullmatch(text):
                return np.datetime64(text.removesuffix("Z"), "ns")
        except ValueError:
            pass
        raise InputError(self.where, f"{path} is {text!r}, not a time", AGAIN)

    def crs(self, path: str) -> str:
        """The first element of a path as the name of a CRS: ``EPSG:32631``, with or without the ``EPSG:``."""
        name = f"EPSG:{self.text(path).removeprefix('EPSG:')}"
        try:
            CRS(name)
        except RuntimeError as error:  # pyproj's CRSError
            raise InputError(self.where, f"{path} is {self.text(path)!r}, no EPSG code", AGAIN) from error
        return name

    def grid(self, position: str, size: str, crs: str) -> GeoBox:
        """The grid of ``XDIM``, ``YDIM``, ``ULX``, ``ULY`` below one path, and ``NROWS``, ``NCOLS`` below another."""
        dx, dy, left, top = (self.number(f"{position}/{key}") for key in ("XDIM", "YDIM", "ULX", "ULY"))
        rows, cols = (int(self.number(f"{size}/{key}")) for key in ("NROWS", "NCOLS"))
        return GeoBox((rows, cols), Affine(dx, 0, left, 0, dy, top), crs)

    def angles(self, path: str) -> tuple[float, float] | None:
        """Mean ``ZENITH_ANGLE`` and ``AZIMUTH_ANGLE`` below the elements of a path, in degrees; None without them."""
        zenith, azimuth = (self.numbers(f"{path}/{name}_ANGLE") for name in ("ZENITH", "AZIMUTH"))
        if not zenith or not azimuth:
            return None
        return sum(zenith) / len(zenith), _mean_direction(azimuth)

    def parse(self, what: str, text: str, *, finite: bool = True) -> float:
        """A text as a number; what is none, or not finite where it should be, is an InputError that says ``what``."""
        try:
            value = float(text)
        except ValueError:
            value, finite = math.nan, True
        if finite and not math.isfinite(value):
            raise InputError(self.where, f"{what} is {text!r}, not a number", AGAIN)
        return value


def _mean_direction(degrees: Sequence[float]) -> float:
    """Mean of directions, 0–360: that of 350 and 10 degrees is 0."""
    mean = sum(complex(math.cos(math.radians(d)), math.sin(math.radians(d))) for d in degrees)
    return math.degrees(math.atan2(mean.imag, mean.real)) % 360
