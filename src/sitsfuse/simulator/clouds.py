"""Clouds with their shadows, and the mask that a processor would give with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter
from scipy.special import betaincinv

from ..core.arrays import BoolArray, FloatArray
from .noise import fractal_noise, stream

OCTAVES: dict[float, float] = {2600: 1.0, 1300: 0.75, 600: 0.5, 280: 0.33, 130: 0.2, 60: 0.12, 28: 0.06}
"""Amplitudes of a cloud field by cell size in metres."""
WHITE = (0.62, 0.61, 0.62, 0.66)
"""Reflectance of a thick cloud: blue, green, red, nir."""
DIM = (0.42, 0.50, 0.56, 0.62)
"""Share of the light that the deepest shadow takes: blue, green, red, nir."""
MASK_BUFFER = 15.0
"""Metres by which masks are grown (at least one pixel)."""
MOST = 0.9
"""Largest share of an image that is masked."""
SPREAD = 1.3
"""Concentration of the beta distribution of the cover: low values give clear and overcast days."""
THIN = 0.35
"""Opacity below which a cloud can be missed by a mask."""


@dataclass(frozen=True, eq=False)
class Clouds:
    """Clouds over one image."""

    opacity: FloatArray
    """(y, x) share of the light that comes from the cloud, 0–1."""
    shadow: FloatArray
    """(y, x) depth of the cloud shadows, 0–1."""
    bright: FloatArray
    """(y, x) factor of the clouds' reflectance."""
    clear: BoolArray
    """(y, x) what the mask says: True = clear. It misses some thin clouds."""


def covers(seed: int, role: str, count: int, mean: float) -> npt.NDArray[np.float64]:
    """(count,) masked share of each image: shuffled quantiles of a beta distribution, from 0 to 0.9."""
    if mean == 0:
        return np.zeros(count)
    m = mean / MOST
    quantiles = (np.arange(count) + 0.5) / count
    share = MOST * betaincinv(m * SPREAD, (1 - m) * SPREAD, quantiles)
    share[-1] = max(share[-1], 1e-9)
    share *= mean / share.mean()
    return stream(seed, role, "cover").permutation(np.clip(share, 0, MOST))


def draw_clouds(
    seed: int, role: str, day: int, shape: tuple[int, int], pixel: float, cover: float, missed: float
) -> Clouds | None:
    """Clouds of an image.

    Parameters
    ----------
    seed, role, day
        What they are drawn from.
    shape
        Rows and columns.
    pixel
        Pixel size in metres.
    cover
        Share of the image that the mask takes, before it misses any.
    missed
        Share of the cloudy pixels that the mask misses.

    Returns
    -------
    Clouds or None
        None for a clear sky.
    """
    if cover <= 0.5 / (shape[0] * shape[1]):
        return None
    rng = stream(seed, role, day, "clouds")
    # A morning sun in the south-east: shadows fall to the north-west.
    elevation = math.radians(24 + 36 * 0.5 * (1 - math.cos(2 * math.pi * (day + 10) / 365)))
    throw = rng.uniform(500, 1500) / math.tan(elevation) / pixel
    away = math.radians(rng.uniform(25, 45))
    dy, dx = round(throw * math.cos(away)), round(throw * math.sin(away))
    # The field reaches beyond the image, to where the clouds stand whose shadows fall into it.
    wide = (shape[0] + dy, shape[1] + dx)
    field = fractal_noise(rng, wide, pixel, OCTAVES)
    radius = max(1, round(MASK_BUFFER / pixel))
    level = _level(field, (dy, dx), shape, radius, cover)
    softness = np.float32(rng.uniform(0.15, 0.6))
    field = np.clip((field - np.float32(level)) / softness, 0, 3.5)
    bright = 0.75 + np.float32(0.12) * field[: shape[0], : shape[1]]
    opacity = 1 - np.exp(-1.6 * field**1.5)
    cloud, shadow = opacity[: shape[0], : shape[1]], opacity[dy:, dx:]
    hidden = maximum_filter(((cloud > 0) | (shadow > 0)).view(np.uint8), 2 * radius + 1)
    clear = hidden == 0
    if missed > 0:
        clear |= _missed(rng, cloud, pixel, missed)
    return Clouds(cloud, shadow, bright, clear)


def overcast(image: FloatArray, clouds: Clouds) -> None:
    """Put clouds and shadows over a (band, y, x) image, in place."""
    for band, white, dim in zip(image, WHITE, DIM, strict=True):
        band *= 1 - np.float32(dim) * clouds.shadow
        band *= 1 - clouds.opacity
        band += np.float32(white) * clouds.opacity * clouds.bright


def _level(field: FloatArray, shift: tuple[int, int], shape: tuple[int, int], radius: int, cover: float) -> float:
    """Threshold of the field that makes clouds, shadows and buffer take ``cover`` of the image."""
    step = max(1, min(shape) // 400)
    near = maximum_filter(field, 2 * radius + 1)
    both = np.maximum(near[: shape[0] : step, : shape[1] : step], near[shift[0] :: step, shift[1] :: step])
    return float(np.quantile(both, 1 - cover))


def _missed(rng: np.random.Generator, cloud: FloatArray, pixel: float, share: float) -> BoolArray:
    """Patches of thin cloud, ``share`` of all cloudy pixels."""
    candidates = (cloud > 0) & (cloud < THIN)
    wanted = share * np.count_nonzero(cloud)
    available = np.count_nonzero(candidates)
    if not available:
        return candidates
    blind = fractal_noise(rng, (cloud.shape[0], cloud.shape[1]), pixel, {400: 1, 150: 0.6, 3 * pixel: 0.2})
    level = np.quantile(blind[candidates], max(0.0, 1 - wanted / available))
    return np.asarray(candidates & (blind > level))
