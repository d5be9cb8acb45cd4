"""The thin-plate spline through the pixels of an LR image, on the HR grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import interpolate, sparse

from ..core.arrays import FloatArray
from ..core.grid import Axis, GridPair

REACH = 5
"""Where the cardinal thin-plate spline ends, in LR pixels: it is 1e-4 there."""
KNOTS, STEPS, ACCURACY = 8, 16, 1e-4
"""Knots on each side of the unit impulse, samples per LR pixel, and the least weight of a separable term."""


def thin_plate(image: FloatArray, grids: GridPair) -> FloatArray:
    """The thin-plate spline through the centres of LR pixels, at HR: (band, y, x) float32, all finite, to the same.

    On a regular grid it is a convolution with the spline through a unit impulse, which falls by five from one LR pixel
    to the next and is nearly separable. Beyond the LR image its edge pixel is repeated.
    """
    rows, cols = _spline_terms(grids.y), _spline_terms(grids.x)
    stacked = sparse.hstack(cols, format="csr", dtype=np.float32)
    ones = np.ones(image.shape[-1], np.float32), np.ones(image.shape[-2], np.float32)
    weight = sum(
        np.outer(sign * (r @ ones[1]), c @ ones[0]) for sign, r, c in zip(_spline()[1], rows, cols, strict=True)
    )
    out = np.empty((len(image), grids.y.n_hr, grids.x.n_hr), np.float32)
    for plane, low in zip(out, image, strict=True):
        terms = [sign * (r @ low).T for sign, r in zip(_spline()[1], rows, strict=True)]
        plane[:] = (stacked @ np.concatenate(terms)).T / weight
    return out


@lru_cache(maxsize=1)
def _spline() -> tuple[interpolate.CubicSpline, npt.NDArray[np.float32]]:
    """The spline through a unit impulse: functions f_i and signs s_i with ``L(y, x) = sum s_i f_i(|y|) f_i(|x|)``.

    y and x are in LR pixels.
    """
    steps = np.arange(-KNOTS, KNOTS + 1)
    knots = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float64)
    plane = np.concatenate([np.ones((len(knots), 1)), knots], axis=1)
    system = np.block([[_thin_plate_kernel(knots, knots), plane], [plane.T, np.zeros((3, 3))]])
    impulse = np.concatenate([(knots == 0).all(axis=1), np.zeros(3)])
    weights = np.linalg.solve(system, impulse)
    at = np.arange(REACH * STEPS + 1) / STEPS
    points = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    values = _thin_plate_kernel(points, knots) @ weights[:-3] + weights[-3] + points @ weights[-2:]
    size, vectors = np.linalg.eigh(values.reshape(len(at), len(at)))
    keep = np.abs(size) > ACCURACY * np.abs(size).max()
    functions = vectors[:, keep] * np.sqrt(np.abs(size[keep]))
    return interpolate.CubicSpline(at, functions, bc_type=("clamped", "not-a-knot")), np.sign(size[keep]).astype(
        np.float32
    )


def _thin_plate_kernel(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``r² ln r`` between points (n, 2) and (m, 2)."""
    square = ((a[:, None] - b) ** 2).sum(axis=-1)
    return np.asarray(square * np.log(np.where(square > 0, square, 1)) / 2)


@lru_cache(maxsize=64)
def _spline_terms(axis: Axis) -> tuple[sparse.csr_array, ...]:
    """Weights (n_hr, n_lr) along one axis, for each separable term of the spline."""
    functions, _ = _spline()
    position = (np.arange(axis.n_hr) + 0.5 - axis.offset) / axis.ratio - 0.5
    base = np.floor(position).astype(int)
    taps = base[:, None] + np.arange(1 - REACH, REACH + 1)
    distance = np.abs(position[:, None] - taps)
    # Faded out over the last LR pixel: after a cut, rounding would decide whether the last one counts.
    weights = (functions(distance) * np.clip(REACH - distance, 0, 1)[..., None]).astype(np.float32)
    rows = np.broadcast_to(np.arange(axis.n_hr)[:, None], taps.shape).ravel()
    cols = np.clip(taps, 0, axis.n_lr - 1).ravel()
    shape = axis.n_hr, axis.n_lr
    return tuple(sparse.coo_array((w.ravel(), (rows, cols)), shape=shape).tocsr() for w in np.moveaxis(weights, -1, 0))
