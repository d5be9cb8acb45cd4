"""Images to learn from, to choose by and to judge by, and the LR images that go with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from affine import Affine
from odc.geo.geobox import GeoBox

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import GridPair, coarser
from ...operators.updown import down, up_mask
from .pairs import CLEAR, Image, observed

HELD_SHARE = 0.2
"""Share of the memory, and of the ground where there is nothing else, that images held out may take."""


@dataclass(frozen=True)
class Collection:
    """Images to learn from, images to choose the best weights by, and images to judge them by."""

    bands: tuple[str, ...]
    """Common names."""
    factor: float
    """LR pixel size over HR pixel size."""
    train: list[Image]
    """To learn from."""
    held: list[Image]
    """To choose the best weights by."""
    test: list[Image]
    """To judge these by; the same where there are none to spare."""
    mtf: float
    """MTF at Nyquist with which the images held out are degraded."""
    data: str
    """What there is to learn from, in a sentence."""
    test_data: str
    """What there is to judge by."""

    def digest(self) -> str:
        """Of all pixels of the images, by which another run knows them again."""
        found = hashlib.sha256()
        for image in (*self.train, *self.held, *self.test):
            for array in (image.values, image.valid, image.lr):
                found.update(b"none" if array is None else repr(array.shape).encode() + array.tobytes())
        return found.hexdigest()


def lr_version(image: Image, factor: float, level: float) -> tuple[GridPair, FloatArray, BoolArray]:
    """The LR image that goes with an HR one: the real one, else the HR image degraded without noise.

    Parameters
    ----------
    image
        The HR image.
    factor
        LR pixel size over HR pixel size.
    level
        MTF at Nyquist to degrade it with.

    Returns
    -------
    grids, values, valid
        The two grids; (B, y, x) reflectance, NaN where invalid, and (y, x).
    """
    box = GeoBox(image.valid.shape, Affine(1, 0, 0, 0, -1, 0), None)
    grids = GridPair(box, coarser(box, factor))
    if image.lr is not None:
        return grids, image.lr, observed(image.lr)
    return grids, *down(image.values, image.valid, grids, level)


def is_clear(image: Image, factor: float, level: float) -> bool:
    """Whether enough of an HR image is valid, and anything of its LR version: single masked pixels spoil many there.

    Parameters
    ----------
    image, factor, level
        As for :func:`lr_version`.
    """
    if image.valid.mean() < CLEAR:
        return False
    grids, _, seen = lr_version(image, factor, level)
    return bool((image.valid & up_mask(seen, grids)).any())
