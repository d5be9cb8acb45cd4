"""What two sensors saw of the same places at the same time, as far as images of other days can tell.

An LR image is compared with a guide of its day. Where there is none, it is compared with what the guides before and
after it tell of its day, linear in time between them: what grows or dries evenly drops out, which it does not from the
comparison with the nearest guide. Where the two guides agree, nothing has changed, in between neither, and nothing was
hazy or cloudy: these are the places that can be relied on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.arrays import BoolArray, FloatArray

WINDOW = 3
"""Side of the windows of LR pixels whose means are the samples."""
LARGEST = 20_000
"""Windows of an image that are looked at; of more, this many are drawn, evenly."""


@dataclass(frozen=True, eq=False)
class Means:
    """Means of an image over windows, which are the same for all images of a grid."""

    values: FloatArray
    """(band, n); of no meaning where not ``whole``."""
    whole: BoolArray
    """(n,) whether all pixels of the window are valid."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What two sensors saw of the same places at nearly the same time."""

    date: np.datetime64
    """Of the LR image."""
    lr: FloatArray
    """(band, n) values of the LR image."""
    hr: FloatArray
    """(band, n) values of the HR image, degraded to the LR grid."""
    doubt: FloatArray | None = None
    """(band, n) error, of either sign, that is to be expected of ``hr`` for its being of other days; None for none."""
    interval: str = ""
    """Names what the HR values come from: dates that share it are not independent."""

    @property
    def part(self) -> str:
        """What is left out together."""
        return self.interval or str(self.date)


def window_means(image: FloatArray, valid: BoolArray, window: int = WINDOW, largest: int = LARGEST) -> Means:
    """Means over windows in which all pixels are valid.

    Means of 3 × 3 pixels have a ninth of the noise's variance, yet most of the land's, and feel a displacement or a
    wrong PSF less: gains of simulated bands are right within 1 %, where those of single pixels are off by up to 3 %.
    They also leave out the rims of clouds, where masks miss most.

    Parameters
    ----------
    image
        (band, y, x) float32.
    valid
        (y, x) bool.
    window
        Side of the windows, in pixels. They overlap: there is one around every pixel.
    largest
        Most windows; of more, as many are drawn, the same ones of all images of a size.
    """
    ok = valid & np.isfinite(image).all(axis=0)
    if min(ok.shape) < window:
        return Means(image[:, :0, 0], np.empty(0, bool))
    views = np.lib.stride_tricks.sliding_window_view
    inside = views(ok, (window, window))
    rows, cols = inside.shape[:2]
    chosen = np.arange(rows * cols)
    if chosen.size > largest:
        chosen = np.sort(np.random.default_rng(0).choice(chosen.size, largest, replace=False))
    i, j = np.divmod(chosen, cols)
    whole = inside[i, j].all(axis=(-2, -1))
    clean = np.where(ok, image, np.float32(0))
    values = np.stack([views(band, (window, window))[i, j].mean(axis=(-2, -1)) for band in clean])
    return Means(np.asarray(values, np.float32), np.asarray(whole))


def together(date: np.datetime64, lr: Means, hr: Means) -> Samples:
    """Samples of two images of the same day."""
    both = lr.whole & hr.whole
    return Samples(date, lr.values[:, both], hr.values[:, both])


def between(
    date: np.datetime64, lr: Means, before: tuple[np.datetime64, Means], after: tuple[np.datetime64, Means]
) -> Samples:
    """Samples of an LR image and of what the HR images before and after it tell of its day.

    Parameters
    ----------
    date, lr
        The LR image.
    before, after
        Dates and means of the HR images around it.

    Notes
    -----
    The error of a value between two of a random walk, of which these are known, has the variance ``f (1 - f) T s²``
    (a Brownian bridge); ``T s²``, what the walk does in the time T between them, is taken to be the square of their
    difference.
    """
    (first, a), (last, b) = before, after
    f = np.float32((date - first) / (last - first))
    all_three = lr.whole & a.whole & b.whole
    start, end = a.values[:, all_three], b.values[:, all_three]
    doubt = (end - start) * np.float32(np.sqrt(f * (1 - f)))
    return Samples(date, lr.values[:, all_three], (1 - f) * start + f * end, doubt, f"{first} {last}")


def bridge_days(date: np.datetime64, first: np.datetime64, last: np.datetime64) -> float:
    """How far a date lies from two others, together: ``1 / (1 / a + 1 / b)`` of the days to each."""
    a, b = (float(abs(date - t) / np.timedelta64(1, "D")) for t in (first, last))
    return a * b / (a + b) if a + b > 0 else 0.0
