"""Seeded random streams and smooth random fields."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from ..core.arrays import FloatArray
from ..core.grid import Axis
from ..operators.matrices import separable, up_matrix


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """A generator of its own for every ``key``, so that no part of a scene depends on what was drawn before it."""
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]
    return np.random.default_rng([seed, *words])


def lattice_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> FloatArray:
    """Bicubic interpolation of white noise on a lattice.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Rows and columns.
    cell
        Spacing of the lattice in pixels, > 1.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32 of mean 0 and variance about 1.
    """
    matrices, counts = [], []
    for n in shape:
        count = int(np.ceil(n / cell)) + 4
        matrices.append(up_matrix(Axis(cell, float(-cell * rng.uniform(1, 2)), n, count)))
        counts.append(count)
    # Interpolating lowers the variance of white noise to about 0.8² (mean over the positions between the knots).
    values = rng.standard_normal(counts, dtype=np.float32) / np.float32(0.8)
    return separable(values, *matrices).astype(np.float32, copy=False)


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], pixel: float, octaves: Mapping[float, float]
) -> FloatArray:
    """Sum of lattice noises.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        Rows and columns.
    pixel
        Pixel size in metres.
    octaves
        Amplitude of each octave by its cell size in metres. Octaves finer than two pixels are left out.

    Returns
    -------
    numpy.ndarray
        (rows, columns) float32 of mean 0 and, but for the octaves left out, variance about 1.
    """
    out = np.zeros(shape, np.float32)
    norm = float(np.sqrt(sum(a**2 for a in octaves.values())))
    for cell, amplitude in octaves.items():
        if cell >= 2 * pixel:
            out += np.float32(amplitude / norm) * lattice_noise(rng, shape, cell / pixel)
    return out
