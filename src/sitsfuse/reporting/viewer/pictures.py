"""Pictures of the viewer: bands in one compressed picture, masks, and all of them as text in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ...core.arrays import BoolArray, ByteArray, FloatArray
from ...errors import missing_extra
from ...runtime.threads import default_workers

BLOCK = 16
"""Panels are as high as a multiple of the codec's blocks: what lies in one does not show in the next."""
COLOURS = 3
"""So many bands share a panel in colour, of which the codec keeps the hue at half the resolution."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """An image before it is compressed, as one picture: its bands are panels one below another.

    The first three bands share a panel in colour, every other band has a grey one.
    """

    bands: ByteArray
    """(band, y, x)."""
    valid: BoolArray
    """(y, x) where it shows something."""
    half: ByteArray | None = None
    """(y/2, x/2), rounded up: a last panel, of half the resolution."""
    grey: bool = False
    """Whether every band has a panel of its own, for large pixels whose hue must not run into the next."""

    @property
    def pixels(self) -> ByteArray:
        """(rows, x) or, with a panel in colour, (rows, x, 3)."""
        shared = _shared(len(self.bands), grey=self.grey)
        panels = list(self.bands[shared:])
        if self.half is not None:
            panels.append(np.pad(self.half, ((0, 0), (0, self.bands.shape[2] - self.half.shape[1])), mode="edge"))
        if shared:
            panels = [np.moveaxis(self.bands[:shared], 0, -1), *(np.repeat(p[..., None], 3, axis=-1) for p in panels)]
        whole = [np.pad(p, ((0, -len(p) % BLOCK), *((0, 0),) * (p.ndim - 1)), mode="edge") for p in panels]
        return np.concatenate(whole)


def unstack(pixels: ByteArray, count: int, shape: tuple[int, int], *, grey: bool = False) -> ByteArray:
    """The bands (band, y, x) of a picture (rows, x, 3) of a sheet."""
    shared, rows = _shared(count, grey=grey), shape[0] + -shape[0] % BLOCK
    tops = [(k + bool(shared)) * rows for k in range(count - shared)]
    return np.stack(
        [pixels[: shape[0], :, k] for k in range(shared)] + [pixels[top : top + shape[0], :, 1] for top in tops]
    )


def _shared(count: int, *, grey: bool) -> int:
    """How many bands share a panel."""
    return COLOURS if count >= COLOURS and not grey else 0


def encode(pixels: ByteArray, quality: int) -> bytes:
    """A picture as WebP: lossless at a quality of 100.

    Raises
    ------
    InputError
        If Pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("report", "Pillow (needed by pages with pictures)") from error
    buffer = io.BytesIO()
    # Method 6, without losses, takes 15 to 25 times as long for 1 to 2 % less.
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=4, lossless=quality >= 100, exact=True)
    return buffer.getvalue()


def decode(data: bytes) -> ByteArray:
    """(y, x, 3) what a browser makes of a picture."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def encode_mask(valid: BoolArray) -> bytes:
    """A mask as PNG of one bit per pixel."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(valid).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@dataclass
class Pictures:
    """Compressed pictures by sheet and quality, each made once."""

    _made: dict[tuple[Sheet, int], bytes] = field(default_factory=dict)

    def make(self, sheets: Iterable[Sheet], quality: int) -> None:
        """Compress many at a time, on all cores."""
        todo = [sheet for sheet in sheets if (sheet, quality) not in self._made]
        with ThreadPoolExecutor(default_workers()) as pool:
            made = pool.map(lambda sheet: encode(sheet.pixels, quality), todo)
            self._made.update({(sheet, quality): data for sheet, data in zip(todo, made, strict=True)})

    def __call__(self, sheet: Sheet, quality: int) -> bytes:
        """The picture of a sheet."""
        if (sheet, quality) not in self._made:
            self._made[sheet, quality] = encode(sheet.pixels, quality)
        return self._made[sheet, quality]


@dataclass
class Blobs:
    """Pictures and other bytes as base64 texts; what is the same is kept once."""

    texts: list[str] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)

    def add(self, data: bytes) -> int:
        """Keep some bytes; returns their position."""
        if data not in self._places:
            self._places[data] = len(self.texts)
            self.texts.append(base64.b64encode(data).decode("ascii"))
        return self._places[data]

    def mask(self, valid: BoolArray) -> int | None:
        """Keep a mask; None stands for one that is true everywhere."""
        return None if valid.all() else self.add(encode_mask(valid))


@dataclass(frozen=True)
class Code:
    """From reflectances of images to bytes: by their square root, for differences are seen best where it is dark."""

    low: FloatArray
    """(band,) reflectance of byte 0."""
    high: FloatArray
    """(band,) reflectance of byte 255."""

    def __call__(self, values: FloatArray) -> ByteArray:
        """Bytes of (band, y, x); what lies outside is clipped."""
        low, high = (a[:, None, None] for a in (self.low, self.high))
        codes: ByteArray = np.rint(255 * np.sqrt(np.clip((values - low) / (high - low), 0, 1))).astype(np.uint8)
        return codes

    def decode(self, codes: ByteArray) -> FloatArray:
        """Reflectances of bytes (band, y, x)."""
        low, high = (a[:, None, None] for a in (self.low, self.high))
        return (low + (high - low) * (codes / np.float32(255)) ** 2).astype(np.float32)


def encode_difference(values: FloatArray, scale: FloatArray) -> ByteArray:
    """Bytes of differences (band, y, x): 128 stands for none, 255 for ``scale`` (band,); what is larger is clipped."""
    codes: ByteArray = np.rint(128 + 127 * np.clip(values / scale[:, None, None], -1, 1)).astype(np.uint8)
    return codes


def decode_difference(codes: ByteArray, scale: FloatArray) -> FloatArray:
    """Differences of bytes (band, y, x)."""
    return ((codes.astype(np.float32) - 128) / 127 * scale[:, None, None]).astype(np.float32)


def fill(values: FloatArray, valid: BoolArray) -> FloatArray:
    """(band, y, x) with the nearest valid value where there is none: what no one sees should cost few bytes."""
    if valid.all():
        return values
    if not valid.any():
        return np.zeros_like(values)
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: FloatArray = values[:, nearest[0], nearest[1]]
    return filled


def halve(values: FloatArray, valid: BoolArray) -> FloatArray:
    """(y/2, x/2), rounded up: means of the valid ones of 2 × 2 pixels."""
    pad = tuple((0, n % 2) for n in values.shape)
    kept, count = (np.pad(a, pad) for a in (np.where(valid, values, 0), valid.astype(np.float32)))
    total, number = (a.reshape(a.shape[0] // 2, 2, -1, 2).sum(axis=(1, 3)) for a in (kept, count))
    mean = (total / np.maximum(number, 1)).astype(np.float32)
    filled: FloatArray = fill(mean[None], number > 0)[0]
    return filled
