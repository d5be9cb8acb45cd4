"""A prepared site in a few numbers and sentences."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...drawing.facts import Fact
from ...drawing.text import counted, finite, number, percent
from .plots import shifts
from .timeline import Dated, entries, sensor

FLAGGED = ("doubtful", "failed")


@dataclass(frozen=True)
class Revisit:
    """How far apart images are."""

    median: float
    """In days, as is the other."""
    longest: int
    since: np.datetime64
    """Day on which the longest gap begins."""


@dataclass(frozen=True)
class Gain:
    """What harmonisation changes, means over the bands with a line."""

    before: float
    """RMSE between the sensors, in reflectance."""
    after: float
    bands: int

    @property
    def change(self) -> float:
        """Share of the RMSE before, negative for the better."""
        return self.after / self.before - 1 if self.before else 0.0


def revisit(images: Sequence[Dated], role: str) -> Revisit | None:
    """Gaps between the days with an image of a role; None with fewer than two."""
    days = np.unique([e.day for e in images if e.role == role])
    if len(days) < 2:
        return None
    gaps = np.diff(days).astype(int)
    return Revisit(float(np.median(gaps)), int(gaps.max()), days[int(gaps.argmax())])


def typical_shift(record: Mapping[str, Any], series: str) -> float | None:
    """Median length of the displacements found in a series, in its pixels."""
    sizes = [s.size for s in shifts(record, series) if s.quality in ("good", "doubtful", "common")]
    return float(np.median(sizes)) if sizes else None


def flagged(record: Mapping[str, Any]) -> int:
    """Number of images whose registration is doubtful or failed."""
    return sum(image.get("quality") in FLAGGED for image in record.get("images") or [])


def gain_of_rmse(record: Mapping[str, Any]) -> Gain | None:
    """How much nearer harmonisation brings the sensors, or None where that is unknown."""
    rows = (record.get("harmonization") or {}).get("bands") or []
    known = [
        (before, after)
        for row in rows
        if row.get("ok") is not False
        and (before := finite(row.get("rmse_before"))) is not None
        and (after := finite(row.get("rmse_after"))) is not None
    ]
    if not known:
        return None
    before, after = np.mean(known, axis=0)
    return Gain(float(before), float(after), len(known))


def facts(record: Mapping[str, Any]) -> list[Fact]:
    """The numbers that matter, those that are known."""
    images = entries(record)
    found = []
    for role in ("guide", "target", "reference"):
        held = [e for e in images if e.role == role]
        apart = revisit(images, role)
        notes = {
            "guide": f"{sum(e.same_day for e in held) or 'none'} with a target of the day" if held else "",
            "target": f"every {apart.median:g} days, longest gap {apart.longest}" if apart else "",
            "reference": "kept aside to judge by" if held else "none kept aside",
        }
        found.append(Fact(f"{role.capitalize()}s", f"{len(held):,}", notes[role]))
    ratio = finite(record.get("ratio"))
    pixels = [finite((record.get(s) or {}).get("pixel")) for s in ("lr", "hr")]
    if ratio is not None:
        note = f"{pixels[0]:g} m to {pixels[1]:g} m" if None not in pixels else ""
        found.append(Fact("Ratio", f"{ratio:g}", note))
    shift = {series: typical_shift(record, series) for series in ("hr", "lr")}
    known = [(name, shift[s]) for s, name in (("hr", "HR"), ("lr", "LR")) if shift[s] is not None]
    if known:
        bad = flagged(record)
        value = " · ".join(number(size, 2) for _, size in known)
        found.append(Fact("Median shift [px]", value, " · ".join(n for n, _ in known) + f"; {bad or 'none'} flagged"))
    gain = gain_of_rmse(record)
    if gain:
        note = f"{number(gain.before, 4)} to {number(gain.after, 4)} by harmonisation"
        found.append(Fact("RMSE", percent(gain.change, sign=True), note))
    return found


def sentences(record: Mapping[str, Any]) -> list[str]:
    """The site told in sentences."""
    images = entries(record)
    return [s for s in (_holds(record, images), _pairs(images), _shifted(record), _harmonised(record)) if s]


def _holds(record: Mapping[str, Any], images: Sequence[Dated]) -> str:
    count = {role: sum(e.role == role for e in images) for role in ("guide", "target", "reference", "skipped")}
    used = [e.day for e in images if e.role != "skipped"]
    if not used:
        return "There are no images in it."
    whose = [f" ({name})" if (name := sensor(record, series)) else "" for series in ("hr", "lr")]
    text = f"{counted(count['guide'], 'guide')}{whose[0]} and {counted(count['target'], 'target')}{whose[1]}"
    text += f", {_told(min(used))} to {_told(max(used))}"
    if count["reference"]:
        text += f"; {counted(count['reference'], 'reference')} kept aside to judge by"
    if count["skipped"]:
        text += f"; {counted(count['skipped'], 'image')} not used"
    return text + "."


def _told(day: np.datetime64) -> str:
    """A day as one says it."""
    date: datetime.date = day.astype("datetime64[D]").item()
    return f"{date.day} {date:%B} {date.year}"


def _pairs(images: Sequence[Dated]) -> str:
    parts = []
    if any(e.role == "target" for e in images):
        same = {role: sum(e.same_day for e in images if e.role == role) for role in ("guide", "reference")}
        told = [counted(n, role) for role, n in same.items() if n] or ["No image of the HR sensor"]
        parts.append(f"{' and '.join(told)} {'has' if sum(same.values()) < 2 else 'have'} a target of the same day.")
    apart = revisit(images, "target")
    if apart:
        parts.append(
            f"Targets are {apart.median:g} days apart (median); the longest gap is {apart.longest} days, "
            f"from {_told(apart.since)}."
        )
    return " ".join(parts)


def _shifted(record: Mapping[str, Any]) -> str:
    if (record.get("registration") or {}).get("model") == "none":
        return "Images were not registered."
    images, bad = record.get("images") or [], flagged(record)
    if not bad:
        return ""
    return f"The registration of {bad} of {counted(len(images), 'image')} is doubtful or failed."


def _harmonised(record: Mapping[str, Any]) -> str:
    gain, given = gain_of_rmse(record), record.get("harmonization") or {}
    if gain is None:
        why = f": {given['note']}" if given.get("note") else ""
        return f"The sensors were not harmonised{why}." if why or given.get("mode") == "none" else ""
    return (
        f"Harmonisation takes the RMSE between the sensors from {number(gain.before, 4)} to {number(gain.after, 4)} "
        f"({percent(gain.change, sign=True)}, mean of {counted(gain.bands, 'band')})."
    )
