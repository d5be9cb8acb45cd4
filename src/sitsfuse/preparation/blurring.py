"""The PSF of the LR sensor: that of the sensor's table, unless LR images and guides agree on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..core.arrays import BoolArray, FloatArray
from ..core.grid import GridPair
from ..core.tiling import middle
from ..errors import InputError
from ..operators.matrices import psf_mtf, psf_sigma
from ..operators.updown import down
from ..radiometry.sharpness import WIDTHS, Details, Sharpness, learn_widths, read_details
from ..runtime.progress import Progress
from ..stats.heldout import Verdict
from .config import PrepareConfig
from .harmonizing import Comparison, comparisons
from .placed import Placing
from .placing import CLOUDY, key
from .survey import Chosen, Survey

LARGEST = 1536
"""Largest side of the part of the HR images that is compared, in pixels; of larger ones it is the middle."""
AROUND = 90.0
"""Days to the guides before and after at most: they need not show the same as the LR image, but the same details."""
SURE = 1.0
"""Width in LR pixels whose whole PSF must fall on valid pixels; of wider ones, the greater part."""
PART = 0.5
"""That part."""


@dataclass(frozen=True)
class Blur:
    """MTFs at Nyquist of the LR images' own grid, and where they come from."""

    mtf: tuple[float, ...]
    """Per band."""
    sensor: tuple[float, ...]
    """As known of the sensor, or as given."""
    sharpness: Sharpness | None
    """What the images tell; None where they were not asked."""
    verdict: Verdict
    """What was decided."""

    def used_by(self, found: Survey) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """MTFs of the site's LR images, and of their own grid: what images are degraded to is not measured."""
        return (self.mtf if found.own_box == found.lr_box else found.lr_mtf), self.mtf


def fit_blur(config: PrepareConfig, found: Survey, placed: Placing, report: Progress) -> Blur:
    """Measure the PSF of the LR sensor, relative to the guides; references are never looked at.

    Parameters
    ----------
    config, found
        What to do, and with which images.
    placed
        Where the content of the images lies.
    report
        Told of the progress.
    """
    known = found.own_mtf

    def left(reason: str, state: str = "not applied") -> Blur:
        return Blur(known, known, None, Verdict("off" if state == "off" else "not applied", reason=reason))

    if not config.target.fit_mtf:
        return left("not asked for", "off")
    if config.target.mtf is not None and config.target.degrade is None:
        return left("the MTF is as given", "off")
    if config.target.degrade is not None and found.own_box == found.lr_box:
        return left("the LR images have no coarser grid of their own", "off")
    guides = found.of("guide")
    compared = [c for c in comparisons(found, config.harmonization.max_days, AROUND) if key(c.image) in placed.images]
    if len(guides) < 2 or not compared:
        return left("it takes two guides, and LR images near them")
    reader = _Reader(config, found, placed)
    dates = []
    for done, c in enumerate(compared):
        report("comparing details", done, len(compared))
        details = reader.details(c, guides)
        if details is not None:
            dates.append(details)
    report("comparing details", len(compared), len(compared))
    learnt = learn_widths(dates, [psf_sigma(m) for m in known])
    mtf = tuple(psf_mtf(w) for w in learnt.widths) if learnt.verdict.used else known
    return Blur(mtf, known, learnt, learnt.verdict)


class _Reader:
    """Reads and degrades what is compared."""

    def __init__(self, config: PrepareConfig, found: Survey, placed: Placing) -> None:
        self.config, self.found, self.placed = config, found, placed
        whole = GridPair(found.hr_box, found.own_box)
        part = middle(found.hr_box, LARGEST)
        lr = whole.lr_window(part)
        self.pair = whole.crop(part, lr)
        # Neighbouring dates are compared with the same guides.
        self.degraded = lru_cache(maxsize=4)(self._degraded)

    def details(self, c: Comparison, guides: Sequence[Chosen]) -> Details | None:
        """What an LR image tells; None if that is nothing, or if an image cannot be read and that does not matter."""
        found, image = self.found, c.image
        first, *more = c.guides
        day = np.timedelta64(1, "D")
        rest = [g for g in guides if g is not first]
        second = (
            more[0]
            if more
            else min(rest, key=lambda g: abs(g.image.time - image.image.time) / day + CLOUDY * (1 - g.useful))
        )
        places = [next(i for i, g in enumerate(guides) if g is wanted) for wanted in (first, second)]
        moved = self.placed[key(image)].displacement
        try:
            values, valid, _ = found.lr.read(image.image, found.bands, self.pair.lr, moved, found.own_mtf)
            (one, one_ok), (other, other_ok) = (self.degraded(i) for i in places)
        except InputError:
            if self.config.on_error == "stop":
                raise
            return None
        part = " ".join(str(guides[i].image.time) for i in sorted(places)) if more else str(image.image.time)
        return read_details(part, (values, valid), (one, other), one_ok & other_ok)

    def _degraded(self, guide: int) -> tuple[list[FloatArray], BoolArray]:
        """A guide by each of the PSFs, and where it is valid."""
        found = self.found
        chosen = found.of("guide")[guide]
        box = self.pair.hr
        values, valid, _ = found.hr.read(chosen.image, found.bands, box, self.placed[key(chosen)].displacement)
        known = down(values, valid, self.pair, psf_mtf(SURE))[1]
        return [down(values, valid, self.pair, psf_mtf(w), PART)[0] for w in WIDTHS], known
