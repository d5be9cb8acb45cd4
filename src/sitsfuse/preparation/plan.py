"""What the selection of images gives: candidates, pairs, and those that were left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """An image that could be used."""

    time: np.datetime64
    """When it was taken, UTC."""
    coverage: float
    """Share of the site's area with data, 0–1."""
    clear: float
    """Share of valid pixels, 0–1."""
    id: str
    """Name of the product or date, for messages."""

    @property
    def day(self) -> np.datetime64:
        """Calendar day, UTC."""
        return self.time.astype("datetime64[D]")  # type: ignore[no-any-return]

    @property
    def useful(self) -> float:
        """How much there is to see, 0–1."""
        return self.clear * self.coverage


@dataclass(frozen=True)
class Pair:
    """A target and the reference that its prediction is compared with."""

    target: int
    """Position among the plan's targets."""
    reference: int
    """Position among the plan's references."""
    days: float
    """Days between them."""
    same_day: bool
    """Whether they are of one calendar day, UTC."""


@dataclass(frozen=True)
class Skipped:
    """An image that is not used."""

    image: Candidate
    """The image."""
    series: str
    """hr or lr."""
    reason: str
    """Why."""


@dataclass(frozen=True)
class Plan:
    """The images of a site with their roles, each role by time."""

    guides: tuple[Candidate, ...]
    """HR images that are given to a fusion method."""
    targets: tuple[Candidate, ...]
    """LR images at whose dates HR images are predicted."""
    references: tuple[Candidate, ...]
    """HR images to compare predictions with."""
    pairs: tuple[Pair, ...]
    """One for each target and reference, by time; none in production."""
    skipped: tuple[Skipped, ...]
    """The images that are left, by time."""

    def table(self) -> list[dict[str, Any]]:
        """One row per image, by date, as JSON can hold it.

        Returns
        -------
        list of dict
            ``date`` (ISO day), ``role`` (guide, target, reference or skipped), ``series`` (hr or lr), ``id``,
            ``clear`` and ``coverage`` (0–1), ``paired`` (day of the reference or target that belongs to it, or
            None), ``gap`` (days to that, or None), ``same_day`` (whether that, or for a guide a target, is of the
            same day) and ``reason`` (of what is skipped).
        """
        partner = {("target", p.target): (self.references[p.reference], p) for p in self.pairs}
        partner |= {("reference", p.reference): (self.targets[p.target], p) for p in self.pairs}
        days = {"target": {c.day for c in self.guides}, "guide": {c.day for c in self.targets}}
        rows = []
        for role, images in (("guide", self.guides), ("target", self.targets), ("reference", self.references)):
            for i, image in enumerate(images):
                row = _row(image, role, "lr" if role == "target" else "hr")
                if (role, i) in partner:
                    other, pair = partner[role, i]
                    row |= {"paired": str(other.day), "gap": round(pair.days, 3), "same_day": pair.same_day}
                else:
                    row["same_day"] = image.day in days[role]
                rows.append((image.time, row))
        rows += [(s.image.time, _row(s.image, "skipped", s.series) | {"reason": s.reason}) for s in self.skipped]
        return [row for _, row in sorted(rows, key=lambda r: (r[0], r[1]["series"]))]

    def format(self) -> str:
        """The table as aligned text; its last line sums it up."""
        cells = [("date", "role", "series", "clear", "coverage", "paired with", "gap (d)", "same day", "")]
        for r in self.table():
            shares = [f"{100 * r[name]:.0f} %" for name in ("clear", "coverage")]
            gap, same = "" if r["gap"] is None else f"{r['gap']:.2f}", "yes" if r["same_day"] else ""
            first = (r["date"], r["role"], r["series"].upper(), *shares)
            cells.append((*first, r["paired"] or "", gap, same, r["reason"]))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        sides = ["<", "<", "<", ">", ">", "<", ">", "<", "<"]
        lines = ["  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip() for row in cells]
        gaps = np.diff([days_of(c.time) for c in self.guides])
        revisit = f"median revisit {np.median(gaps):.0f} d, longest gap {gaps.max():.0f} d"
        total = f"{len(self.guides)} guides ({revisit}), {len(self.targets)} target{'s' * (len(self.targets) != 1)}"
        if self.pairs:
            total += f", {sum(p.same_day for p in self.pairs)} of them the same day as their reference"
        return "\n".join([*lines, total])


def _row(image: Candidate, role: str, series: str) -> dict[str, Any]:
    shares = {"clear": round(float(image.clear), 4), "coverage": round(float(image.coverage), 4)}
    unpaired = {"paired": None, "gap": None, "same_day": False, "reason": ""}
    return {"date": str(image.day), "role": role, "series": series, "id": image.id, **shares, **unpaired}


def days_of(time: np.datetime64) -> float:
    """Days since 1970."""
    return float(time.astype("datetime64[ms]").astype(np.int64)) / 86_400_000
