"""What a series or a site holds, as text."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SeriesInfo:
    """What one series holds."""

    where: str
    """Path, or the role in a site."""
    kind: str
    """GeoTIFF, Zarr or in memory."""
    dates: tuple[str, ...]
    """ISO dates, in order."""
    bands: tuple[str, ...]
    size: tuple[int, int]
    """Rows and columns."""
    pixel: tuple[float, float]
    """Height and width of a pixel, in units of the CRS."""
    crs: str
    extent: tuple[float, float, float, float]
    """Left, bottom, right, top."""
    sensor: str | None
    mtf: tuple[float, ...]
    """MTF at Nyquist per band, as it will be used."""
    extras: tuple[str, ...]
    """Variables beside reflectance and valid."""
    valid: tuple[float, ...]
    """Share of valid pixels per date (NaN where the date cannot be read)."""
    sampled: bool
    """Whether shares and ranges come from a sample rather than from all pixels."""
    ranges: tuple[tuple[float, float], ...]
    """1st and 99th percentile of the valid values, per band."""
    warnings: tuple[str, ...] = ()
    """What is wrong or suspicious."""

    def format(self) -> str:
        """The description as text."""
        rows, cols = self.size
        left, bottom, right, top = self.extent
        shares = "  ".join(f"{d} {_percent(v)}" for d, v in zip(self.dates, self.valid, strict=True))
        ranges = "  ".join(f"{b} {_span(r)}" for b, r in zip(self.bands, self.ranges, strict=True))
        about = " (sample)" if self.sampled else ""
        lines = [
            ("dates", f"{len(self.dates)}, " + " to ".join(dict.fromkeys((self.dates[0], self.dates[-1])))),
            ("bands", ", ".join(self.bands)),
            ("size", f"{rows} rows × {cols} columns of {self.pixel[0]:g} × {self.pixel[1]:g}"),
            ("CRS", self.crs),
            ("extent", f"x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g}"),
            ("sensor", self.sensor or ""),
            ("MTF", ", ".join(f"{m:g}" for m in dict.fromkeys(self.mtf))),
            ("also", ", ".join(self.extras)),
            ("valid" + about, f"{_percent(_mean(self.valid))} on average: {shares}"),
            ("values" + about, f"1st to 99th percentile: {ranges}"),
        ]
        text = [f"{self.where} ({self.kind} series)"]
        text += [_wrapped(f"  {name:<16}", value) for name, value in lines if value]
        return "\n".join(text + [_wrapped("  ! ", w) for w in self.warnings])


@dataclass(frozen=True)
class SiteInfo:
    """What a site holds."""

    where: str
    attrs: dict[str, Any]
    """Name, landscape, location …"""
    series: dict[str, SeriesInfo]
    """The series that can be read, by role."""
    ratios: dict[str, float]
    """LR pixel size over HR pixel size, per target."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the site: series that cannot be read, or that do not fit together."""
    notes: tuple[str, ...] = field(default=())
    """What is worth to know and nothing wrong."""

    def format(self) -> str:
        """The description as text."""
        text = [f"{self.where} (site)"]
        text += [_wrapped(f"  {name:<16}", str(value)) for name, value in self.attrs.items()]
        text += [f"  {'ratio':<16}{ratio:.6g} ({name})" for name, ratio in self.ratios.items()]
        text += [_wrapped("  ! ", w) for w in self.warnings] + [_wrapped("  - ", n) for n in self.notes]
        return "\n\n".join(["\n".join(text), *(s.format() for s in self.series.values())])


def _mean(shares: tuple[float, ...]) -> float:
    known = [s for s in shares if not math.isnan(s)]
    return sum(known) / len(known) if known else math.nan


def _percent(share: float) -> str:
    if math.isnan(share):
        return "unreadable"
    # Rounded, but 0 and 100 only where that is exact: a few bad pixels are news.
    return f"{share if share in (0, 1) else min(max(share, 0.01), 0.99):.0%}".replace("%", " %")


def _span(limits: tuple[float, float]) -> str:
    return "none" if math.isnan(limits[0]) else f"{limits[0]:.4g} to {limits[1]:.4g}"


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(text, 110, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
