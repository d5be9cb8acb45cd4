"""Whether the two series of a site are in one unit, before anything is estimated from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.displacement import STAY
from ..core.levels import APART, SIDE
from ..errors import InputError
from .sources import Source

MOST = 6
"""Images of a series that are looked at, spread evenly."""


def check_units(hr: Source, lr: Source, bands: Sequence[str]) -> None:
    """Compare the magnitudes of two sources.

    Raises
    ------
    InputError
        If they differ by more than a factor of :data:`~sitsfuse.core.levels.APART`.
    """
    first, second = (_level(source, bands) for source in (hr, lr))
    factor = second / first if first > 0 and second > 0 else 1.0
    if not 1 / APART <= factor <= APART:
        larger, times = (lr, factor) if factor > 1 else (hr, 1 / factor)
        what = f"has numbers {times:.0f} times as large as the other series (medians {second:.4g} and {first:.4g})"
        raise InputError(larger.where, what, "tell its scale, e.g. `scale=0.0001` of guide or target")


def _level(source: Source, bands: Sequence[str]) -> float:
    """Median of the magnitudes of clear pixels in the middle of some images; NaN without any."""
    count = len(source.images)
    found = []
    for i in sorted({int(k) for k in np.linspace(0, count - 1, min(count, MOST))}):
        image = source.images[i]
        box = image.box(source.parts(bands))
        start = [max(0, n // 2 - SIDE // 2) for n in box.shape]
        window = box[start[0] : start[0] + SIDE, start[1] : start[1] + SIDE]
        try:
            values, valid, _ = source.read(image, bands, window, STAY, [0.3] * len(bands))
        except InputError:
            continue  # named where images are read in earnest
        found.append(np.abs(values[:, valid]).ravel())
    return float(np.median(np.concatenate(found))) if any(f.size for f in found) else float("nan")
