"""Where images lie, how well that is known, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..core.displacement import STAY, Displacement
from ..registration.register import Registration
from ..stats.heldout import Verdict

PlacedQuality = Literal["good", "doubtful", "failed", "off", "reference", "common"]
"""As of a registration; or "off": not asked for; "reference": what others were measured by; "common": it could not be
measured and takes what the others have in common."""


@dataclass(frozen=True)
class Placed:
    """Where the content of an image lies, and how well that is known."""

    displacement: Displacement = STAY
    """To be taken out."""
    quality: PlacedQuality = "off"
    found: Registration | None = None
    """What its tie points tell; None without any."""
    against: str = ""
    """Day of the image that it was measured by."""
    shift_px: tuple[float, float] = (0.0, 0.0)
    """Displacement of its middle, in pixels towards the east and the north."""
    applied: bool | None = None
    """Whether it is taken out; None if that was not asked."""
    note: str = ""

    @property
    def measured(self) -> bool:
        """Whether the image itself tells."""
        return self.quality in ("good", "doubtful", "reference")

    @property
    def shift(self) -> tuple[float, float]:
        """What was measured, towards higher rows and columns, in pixels; 0 of what others were measured by."""
        return (0.0, 0.0) if self.found is None else (self.found.shift_row, self.found.shift_col)

    @property
    def error(self) -> float | None:
        """Standard error of that, in pixels; 0 of what others were measured by."""
        if self.found is not None:
            return self.found.error
        return 0.0 if self.quality == "reference" else None

    @property
    def left_out(self) -> float | None:
        """How far tie points lie from what the others tell, in pixels; None if that is not known."""
        return None if self.found is None else self.found.left_out

    def to_json(self) -> dict[str, Any]:
        """What is known of it, as JSON can hold it; the displacement field is not part of it."""
        told: dict[str, Any] = {"against": self.against} if self.against else {}
        told |= asdict(self.found) if self.found else {"error": self.error} if self.quality == "reference" else {}
        told |= {"quality": self.quality, "shift_px": list(self.shift_px)}
        if self.applied is not None:
            told["applied"] = self.applied
        return told | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Placing:
    """Where all images lie, and what that is worth."""

    images: Mapping[str, Placed]
    """By :func:`~sitsfuse.preparation.placing.key`."""
    verdicts: Mapping[str, Verdict]
    """Of the series, hr and lr."""

    def __getitem__(self, name: str) -> Placed:
        """An image by its :func:`~sitsfuse.preparation.placing.key`."""
        return self.images[name]


@dataclass(frozen=True)
class ImageRecord:
    """What is recorded of an image of a prepared site."""

    role: str
    """guide, target or reference."""
    date: str = ""
    """YYYY-MM-DD."""
    id: str = ""
    platform: str = ""
    clear: float | None = None
    """Share of it that is clear."""
    coverage: float | None = None
    """Share of the site that it covers."""
    placed: Placed = Placed()
    note: str = ""
    seconds: float | None = None
    """That it took to write."""

    def to_json(self) -> dict[str, Any]:
        """As the record of a site holds it: shifts in metres and in pixels, and what registration tells."""
        dx, dy = self.placed.displacement.mean
        own = {name: getattr(self, name) for name in ("role", "date", "id", "platform", "clear", "coverage")}
        own |= {"shift_x": dx, "shift_y": dy, "seconds": self.seconds}
        return own | self.placed.to_json() | {"note": self.note}
