"""Pairs of LR and HR patches: real ones, or HR images and their own degraded versions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, FloatArray
from ...core.grid import Axis, tidy
from ...errors import InputError
from ...operators.matrices import PSF_RADIUS, down_matrix, nearest_index, psf_sigma, up_matrix
from ...operators.updown import MIN_FOOTPRINT, fill
from ..card import Normalisation
from .config import SMALLEST_PATCH

MTF_LEVELS = 13
"""MTFs drawn between two bounds: few enough for operators to be kept."""
SHIFT_STEP = 0.05
"""Step of displacements in LR pixels, for the same reason."""
FARTHEST = 4
"""Largest displacement, in standard deviations."""
CLEAR = 0.7
"""Least share of valid HR pixels in a patch."""
TRIES = 50
"""Places tried to find such a patch."""


@dataclass(frozen=True)
class Image:
    """An HR image to learn from, with the LR image of the same day if there is a real one."""

    values: FloatArray
    """(B, y, x) reflectance."""
    valid: BoolArray
    """(y, x)."""
    lr: FloatArray | None = None
    """(B, y / factor, x / factor) reflectance, NaN where invalid."""


@dataclass(frozen=True)
class Degradation:
    """How an HR image becomes an LR one; what is random is drawn anew for every patch."""

    factor: float
    """LR pixel size over HR pixel size."""
    mtf: tuple[float, float]
    """Bounds of the LR sensor's MTF at its Nyquist frequency."""
    noise: float
    """Largest standard deviation of its noise, in standard deviations of the band."""
    shift: float
    """Standard deviation of its displacement along each axis, in LR pixels."""

    @property
    def margin(self) -> int:
        """HR pixels around a patch that its LR image depends on."""
        return math.ceil((PSF_RADIUS * psf_sigma(self.mtf[0]) + FARTHEST * self.shift) * self.factor) + 1


@dataclass(frozen=True)
class Batch:
    """N patches of B bands, p LR and P ≈ p · factor HR pixels a side, one around the other's centre."""

    seen: FloatArray
    """(N, B, p, p) LR patches as the network sees them."""
    lr: FloatArray
    """(N, B, p, p) LR patches in reflectance, filled where invalid."""
    bicubic: FloatArray
    """(N, B, P, P), the LR patches interpolated."""
    hr: FloatArray
    """(N, B, P, P) reflectance, 0 where invalid."""
    valid: BoolArray
    """(N, P, P) where both images are."""
    down: FloatArray
    """(N, p, P) ↓ along either axis, as it was applied but for the displacement."""


@dataclass(frozen=True)
class Pairs:
    """Patches drawn from images, with flips and turns; patch ``i`` is the same whenever it is drawn."""

    images: Sequence[Image]
    """To draw from."""
    degradation: Degradation
    """How LR patches are made, where an image has no real one."""
    patch: int
    """Side of the LR patches, in LR pixels."""
    norm: Normalisation
    """What the network sees; its scale is that of the noise, too."""
    seed: int = 0
    """Of all that is random."""

    @property
    def axis(self) -> Axis:
        """HR and LR pixels along either side of a patch.

        They share their centre, so that flips and turns keep them aligned where P is not quite p · factor.
        """
        factor, p = self.degradation.factor, self.patch
        side = round(p * factor)
        return Axis(factor, tidy((side - p * factor) / 2), side, p)

    def draw(self, numbers: Sequence[int]) -> Batch:
        """The patches of these numbers, stacked."""
        parts = [self._one(np.random.default_rng([self.seed, int(i)])) for i in numbers]
        return Batch(*(np.stack(each) for each in zip(*parts, strict=True)))

    def _one(self, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
        """The arrays of a patch, in the order of `Batch`."""
        axis, p = self.axis, self.patch
        for _ in range(TRIES):
            image = self.images[int(rng.integers(len(self.images)))]
            y, x = self._corner(image, axis.n_hr, rng)
            here = slice(y, y + axis.n_hr), slice(x, x + axis.n_hr)
            if image.valid[here].mean() >= CLEAR:
                break
        mtf = float(np.linspace(*self.degradation.mtf, MTF_LEVELS)[rng.integers(MTF_LEVELS)])
        turned = _turn(rng)
        if image.lr is None:
            lr, seen = self._degraded(image, y, x, mtf, rng)
        else:
            top, left = round(y / axis.ratio), round(x / axis.ratio)
            lr = image.lr[:, top : top + p, left : left + p]
            seen = observed(lr)
        index = nearest_index(axis)
        clear = image.valid[here] & seen[index[:, None], index]
        hr = np.where(clear, image.values[:, *here], np.float32(0))
        filled = fill(lr, seen)
        up = up_matrix(axis).toarray()
        parts = self.norm.apply(lr, seen), filled, up @ filled @ up.T, hr, clear
        # In one order in memory, so that sums are the same to the last bit; ↓ is symmetric: no turn changes it.
        return (*(np.ascontiguousarray(turned(part)) for part in parts), _dense_down(axis, mtf))

    def _corner(self, image: Image, side: int, rng: np.random.Generator) -> tuple[int, int]:
        """Upper left pixel of a patch; where the LR image is real, on an edge that both grids share."""
        step = 1 if image.lr is None else _common_step(self.degradation.factor)
        y, x = (int(rng.integers((n - side) // step + 1)) * step for n in image.valid.shape)
        return y, x

    def _degraded(
        self, image: Image, y: int, x: int, mtf: float, rng: np.random.Generator
    ) -> tuple[FloatArray, BoolArray]:
        """The LR patch of an HR one, displaced and noisy, and where it is valid."""
        how, axis = self.degradation, self.axis
        farthest = FARTHEST * how.shift
        shift = np.clip(np.rint(rng.normal(0, how.shift, 2) / SHIFT_STEP) * SHIFT_STEP, -farthest, farthest)
        around, operators = [], []
        for start, n, s in zip((y, x), image.valid.shape, shift, strict=True):
            # What lies around the patch, as far as the image goes: there ↓ reflects it.
            part = slice(max(0, start - how.margin), min(n, start + axis.n_hr + how.margin))
            offset = round(start - part.start + axis.offset + s * how.factor, 6)
            around.append(part)
            operators.append(_dense_down(Axis(how.factor, offset, part.stop - part.start, axis.n_lr), mtf))
        rows, cols = operators
        valid = image.valid[tuple(around)]
        weight = rows @ valid.astype(np.float32) @ cols.T
        seen = weight >= MIN_FOOTPRINT - 1e-6
        values = rows @ np.where(valid, image.values[:, *around], np.float32(0)) @ cols.T
        scale = np.array(self.norm.scale)[:, None, None]
        noise = rng.uniform(0, how.noise) * scale * rng.standard_normal(values.shape, np.float32)
        lr = values / np.where(seen, weight, 1) + noise
        return np.where(seen, lr, 0).astype(np.float32), seen


def observed(lr: FloatArray) -> BoolArray:
    """(y, x) where all bands of an LR image (B, y, x), NaN where invalid, are there."""
    return np.asarray(np.isfinite(lr).all(axis=0), bool)


def patch_side(images: Sequence[Image], factor: float, wanted: int) -> int:
    """The side of LR patches, in LR pixels: as wanted, or what the smallest image holds.

    Where the factor is not an integer, a multiple that makes the HR side one too, if there is one small enough.

    Raises
    ------
    InputError
        If an image holds no patch of 8 LR pixels.
    """
    smallest = min(min(i.valid.shape) for i in images)
    most = min(wanted, int(smallest / factor + 1e-6))
    if most < SMALLEST_PATCH:
        raise InputError(
            "training",
            f"an image of {smallest} HR pixels a side holds {most} LR pixels",
            f"give images of at least {SMALLEST_PATCH} LR pixels a side, or a smaller factor",
        )
    step = max(1, round(_common_step(factor) / factor))
    side = most // step * step
    return side if side >= SMALLEST_PATCH else most


def _common_step(factor: float) -> int:
    """HR pixels after which the edges of both grids meet again; 1 if that takes more than 8 LR pixels."""
    for n in range(1, 9):
        if abs(n * factor - round(n * factor)) < 1e-6:
            return round(n * factor)
    return 1


@lru_cache(maxsize=4096)
def _dense_down(axis: Axis, mtf: float) -> FloatArray:
    """↓ along an axis, (n_lr, n_hr): patches are so small that dense products are the faster ones."""
    return np.asarray(down_matrix(axis, mtf).toarray(), np.float32)


def _turn(rng: np.random.Generator) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """One of the eight flips and turns of a square, for arrays (…, y, x)."""
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turned(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        a = np.rot90(a, quarter, (-2, -1))
        return a[..., ::-1] if mirror else a

    return turned
