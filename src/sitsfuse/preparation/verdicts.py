"""What was decided of each correction, in words: the same in the record, on the page and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..stats.heldout import Verdict
from .blurring import Blur
from .config import PrepareConfig
from .harmonizing import Radiometry
from .placed import ImageRecord


@dataclass(frozen=True)
class Said:
    """A verdict with the words for it."""

    of: str
    """The correction: harmonisation, HR registration…"""
    verdict: Verdict
    measured: str
    """What is compared on what was left out: "the difference to the guides on dates left out"."""
    detail: str = ""
    """What is applied, in a few figures."""
    digits: int = 4
    """Of what is compared."""
    unit: str = ""
    """Of what is compared."""

    @property
    def text(self) -> str:
        """In a line."""
        return "; ".join(part for part in (f"{self.of}: {self.verdict.state}", self.why) if part)

    @property
    def why(self) -> str:
        """Reasons and figures, without the decision."""
        v = self.verdict
        words = [v.reason] if v.reason else []
        if v.used and math.isfinite(v.gained):
            change = "falls" if v.gained >= 0 else "grows"
            spread = f" ± {100 * v.error:.0f}" if math.isfinite(v.error) else ""
            told = f"{self.measured} {change} by {100 * abs(v.gained):.0f}{spread} %"
            if math.isfinite(v.before) and math.isfinite(v.after):
                told += f", from {v.before:.{self.digits}f} to {v.after:.{self.digits}f}{self.unit}"
            words.append(told)
        if v.used and self.detail:
            words.append(self.detail)
        return "; ".join(words)

    def record(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        known = {
            k: None if isinstance(x, float) and not math.isfinite(x) else x for k, x in asdict(self.verdict).items()
        }
        return {"of": self.of, "text": self.text, "why": self.why, **known}


def harmonization_verdict(config: PrepareConfig, radiometry: Radiometry, bands: Sequence[str]) -> Said:
    """What was decided of the radiometry."""
    name, measured = "Harmonisation", "on dates left out the difference to the guides"
    if config.harmonization.mode == "none":
        return Said(name, Verdict("off", reason="not asked for"), measured)
    found = radiometry.harmonization
    if found is None:
        return Said(name, Verdict("not applied", reason=radiometry.note), measured)
    lines = [found.lines[b] for b in bands]
    detail = ", ".join(f"{b} × {v.gain:.3f} {v.offset:+.4f}" for b, v in zip(bands, lines, strict=True))
    return Said(name, found.verdict, measured, "a matrix of bands" if found.matrix is not None else detail)


def blur_verdict(blur: Blur, bands: Sequence[str]) -> Said:
    """What was decided of the PSF of the LR sensor."""
    found = [f"{b} {_short(m)} for {_short(s)}" for b, m, s in zip(bands, blur.mtf, blur.sensor, strict=True)]
    measured = "on LR images left out the share of details that the guides do not explain"
    return Said("PSF of the LR sensor", blur.verdict, measured, "MTF at Nyquist: " + ", ".join(found), 2)


def _short(mtf: float) -> str:
    """An MTF in two digits."""
    return f"{mtf:.2f}" if mtf >= 0.005 else f"{mtf:.0e}"


def registration_verdict(series: str, verdict: Verdict, images: Sequence[ImageRecord]) -> Said:
    """What was decided of the displacements of a series, hr or lr."""
    roles = ("target",) if series == "lr" else ("guide", "reference")
    held = [i.placed for i in images if i.role in roles]
    sizes = [float(np.hypot(*p.displacement.mean)) for p in held if p.applied]
    pixels = [float(np.hypot(*p.shift_px)) for p in held if p.applied]
    detail = ""
    if sizes:
        detail = f"{len(sizes)} of {len(held)} images moved, by {np.median(pixels):.2f} px or {np.median(sizes):.1f} m"
        detail += f" (median), at most {max(pixels):.2f} px"
        taken = sum(p.quality == "common" for p in held)
        detail += f"; {taken} of them as the others are" if taken else ""
    measured = "on windows left out the distance of tie points"
    return Said(f"{series.upper()} registration", verdict, measured, detail, 2, " px")
