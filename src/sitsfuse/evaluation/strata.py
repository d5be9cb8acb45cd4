"""Strata of a whole series: thresholds from all of it, in memory that stays bounded."""

from __future__ import annotations

from typing import get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..core.grid import Window
from ..core.loading import load_image
from ..core.tiling import grown
from ..errors import InputError
from ..metrics import Quantiles
from ..metrics.strata import Mode, Thresholds, classify, gradient
from ..runtime.streaming import Block, stream, within

BLOCK = 1024
"""Side of the blocks in which an image is read, in pixels."""


def stratify(
    image: xr.Dataset, window: Window | None = None, mode: Mode = "mean", *, workers: int = 1
) -> npt.NDArray[np.uint8]:
    """The strata of an image.

    Parameters
    ----------
    image
        One image of a series: ``reflectance(band, y, x)`` and ``valid(y, x)``, lazy or not.
    window
        Rows and columns to map; the percentiles are those of the whole image.
    mode
        How the gradients of the bands are joined, ``"mean"`` or ``"norm"``.
    workers
        Threads that read the image.

    Returns
    -------
    strata
        (y, x) uint8: 0 without a gradient, 1 low, 2 between, 3 high.
    """
    check_mode(mode)
    shape = image.sizes["y"], image.sizes["x"]
    magnitudes = Quantiles()

    def collect(block: Block) -> None:
        values, valid = block.arrays
        magnitude, known = gradient(values, valid, mode)
        own = block.inner(block.core)
        magnitudes.add(magnitude[own][known[own]])

    for _ in stream(lambda w: load_image(image, w), collect, shape, side=BLOCK, reach=1, workers=workers):
        pass
    window = window or (slice(0, shape[0]), slice(0, shape[1]))
    outer = grown(window, 1, shape)
    steep, known = gradient(*load_image(image, outer), mode)
    return classify(steep, known, Thresholds.of(magnitudes))[within(window, outer)]


def check_mode(mode: str) -> None:
    """Raise :class:`InputError` if there is no such way to join the gradients of bands."""
    if mode not in get_args(Mode):
        raise InputError("`mode`", f"{mode!r} is unknown", f"choose {' or '.join(get_args(Mode))}")
