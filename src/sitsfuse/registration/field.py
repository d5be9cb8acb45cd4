"""Displacement fields from tie points: robust fits of one shift, an affine field or a smooth local one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..core.arrays import BoolArray, F64Array
from ..stats.robust import weighted_median
from .tiepoints import TiePoints

Model = Literal["shift", "affine", "local"]

TUKEY = 4.685
"""Where the weight of a tie point reaches 0, in robust standard deviations (95 % efficiency for normal errors)."""
FINEST = 0.01
"""Least standard deviation that is taken for true, and least gain of a richer model that counts, in pixels."""
ROUNDS = 30
"""Times that a fit is done again with new weights, at most."""
OUTLIER = 3.0
"""Distance from the fit beyond which a tie point does not agree with it, in robust standard deviations."""
AFFINE_WINDOWS = 12
"""Windows in agreement below which no affine field is fitted."""
LOCAL_WINDOWS = 30
"""Windows in agreement below which no local field is fitted."""
BREADTH = 0.15
"""Standard deviation of the windows' places along each axis, over the image's side, below which there is no field."""
FOLDS = 5
"""Parts of the windows of which each is left out once to compare models."""
GAIN = 0.98
"""Error of the windows left out, over that of the simpler model, which a richer one must stay below."""
MOST_NODES = 12
"""Most nodes of a local field along an axis."""
STIFFNESS = tuple(10.0**k for k in range(-8, 0))
"""Strengths of the smoothing of local fields that are tried."""


@dataclass(frozen=True)
class Basis:
    """What a displacement is a weighted sum of; places run from 0 to 1 over rows (v) and columns (u)."""

    model: Model
    """Which sum."""
    nodes: tuple[int, int] = (2, 2)
    """Nodes along rows and columns that hold the field; for an affine one the corners."""
    stiffness: float = 0.0
    """Strength of the smoothing of a local field."""

    def design(self, v: F64Array, u: F64Array) -> F64Array:
        """(n, k) terms at places (n,)."""
        if self.model == "shift":
            return np.ones((v.size, 1))
        if self.model == "affine":
            return np.stack([np.ones(v.size), v, u], 1)
        terms = _hats(v, self.nodes[0])[:, :, None] * _hats(u, self.nodes[1])[:, None, :]
        return terms.reshape(v.size, -1)

    def penalty(self) -> F64Array:
        """(k, k) quadratic form that is added to the mean squared distance of the tie points.

        That of a local field is the mean over the image of its squared second derivatives.
        """
        if self.model != "local":
            return np.zeros((1, 1))
        rows, cols = self.nodes
        bend_rows, bend_cols = (np.diff(np.eye(n), 2, axis=0) * (n - 1) ** 1.5 for n in self.nodes)
        slope_rows, slope_cols = (np.diff(np.eye(n), axis=0) * (n - 1) ** 0.5 for n in self.nodes)
        bends = [
            np.kron(bend_rows, np.eye(cols)) / math.sqrt(cols),
            np.kron(np.eye(rows), bend_cols) / math.sqrt(rows),
            math.sqrt(2) * np.kron(slope_rows, slope_cols),
        ]
        squares: F64Array = np.sum([b.T @ b for b in bends], axis=0)
        return self.stiffness * squares

    def places(self) -> tuple[F64Array, F64Array]:
        """(rows · columns,) places of the nodes."""
        v, u = np.meshgrid(*(np.linspace(0, 1, n) for n in self.nodes), indexing="ij")
        return v.ravel(), u.ravel()


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit to tie points."""

    coefficients: F64Array
    """(k, 2) of the basis, towards rows and columns, in pixels."""
    spread: float
    """Robust standard deviation of the tie points along an axis, in pixels."""
    agree: BoolArray
    """(point,) which tie points lie near the fit."""


def fit_to(basis: Basis, points: TiePoints, use: BoolArray | None = None) -> Fit:
    """Fit to tie points by least squares with Tukey's biweights, each with the square of its correlation.

    Parameters
    ----------
    basis
        What to fit.
    points
        At least one.
    use
        (point,) which of them to fit to; by default all. Agreement is told of all.
    """
    design, penalty = basis.design(*_places(points)), basis.penalty()
    d = np.stack([points.d_row, points.d_col], 1)
    trust = points.quality**2 * (1.0 if use is None else use)
    used = trust > 0
    residual = d - np.array([weighted_median(list(d[used, k]), list(trust[used])) for k in (0, 1)])
    before, free = np.inf, 1.0
    for _ in range(ROUNDS):
        distance = np.hypot(*residual.T)
        # Of a normal distribution, the median distance in the plane is 1.1774 standard deviations along an axis.
        spread = max(float(np.median(distance[used])) / 1.1774 / math.sqrt(free), FINEST)
        weight = trust * np.maximum(1 - (distance / (TUKEY * spread)) ** 2, 0) ** 2
        weight /= weight.sum()
        information = design.T @ (weight[:, None] * design)
        normal = information + penalty
        # Terms of which no tie point tells (all lie in one row, say) are 0.
        normal += 1e-9 * np.trace(normal) * np.eye(len(normal))
        told = np.linalg.solve(normal, np.hstack([information, design.T @ (weight[:, None] * d)]))
        # The more terms follow the tie points, the nearer to them the fit lies by itself.
        coefficients, free = told[:, -2:], max(1 - np.trace(told[:, :-2]) / used.sum(), 0.1)
        residual = d - design @ coefficients
        if abs(before - spread) < 1e-4 * spread:
            break
        before = spread
    return Fit(coefficients, spread, np.hypot(*residual.T) <= OUTLIER * spread)


def choose(points: TiePoints, model: Model) -> Basis:
    """The richest model, up to the one asked for, that the tie points bear.

    It needs enough windows in agreement, far enough apart, and to foretell windows left out better than the simpler
    model; the stiffness of a local field is that which foretells best.
    """
    shift, affine = Basis("shift"), Basis("affine")
    if model == "shift":
        return shift
    fitted = fit_to(affine, points)
    window = window_numbers(points)
    count = np.unique(window[fitted.agree]).size
    broad = all(np.std(p[fitted.agree]) >= BREADTH for p in _places(points)) if count else False
    if count < AFFINE_WINDOWS or not broad:
        return shift

    def error(basis: Basis) -> float:
        """Mean squared distance, clipped, of windows that the fit has not seen."""
        return float(np.mean(np.minimum(_missed(points, basis), OUTLIER * fitted.spread) ** 2))

    groups = [[affine]]
    if model == "local" and count >= LOCAL_WINDOWS:
        rows, cols = (min(max(np.unique(p).size, 3), MOST_NODES) for p in (points.row, points.col))
        groups.append([Basis("local", (rows, cols), s) for s in STIFFNESS])
    best, least = shift, error(shift)
    for group in groups:
        errors = [error(basis) for basis in group]
        if min(errors) + FINEST**2 < GAIN * least:
            best, least = group[errors.index(min(errors))], min(errors)
    return best


def left_out(points: TiePoints, basis: Basis) -> float | None:
    """How far windows lie from what the others tell, in pixels along an axis; None of a single window.

    A root mean square of distances up to 3 robust standard deviations: those beyond count as that.
    """
    if np.unique(window_numbers(points)).size < 2:
        return None
    missed = _missed(points, basis)
    limit = OUTLIER * max(float(np.median(missed)) / 1.1774, FINEST)
    return float(np.sqrt(np.mean(np.minimum(missed, limit) ** 2) / 2))


def _missed(points: TiePoints, basis: Basis) -> F64Array:
    """(point,) distance of each window to the fit to the windows of other folds."""
    d, window = np.stack([points.d_row, points.d_col], 1), window_numbers(points)
    design, missed = basis.design(*_places(points)), np.empty(len(points))
    for fold in range(min(FOLDS, int(window.max()) + 1)):
        out = window % FOLDS == fold
        missed[out] = np.hypot(*(d[out] - design[out] @ fit_to(basis, points, ~out).coefficients).T)
    return missed


def window_numbers(points: TiePoints) -> npt.NDArray[np.intp]:
    """(point,) a number for each window, 0, 1, 2… row by row."""
    places = np.stack([points.row, points.col], 1)
    return np.unique(places, axis=0, return_inverse=True)[1].ravel()


def _hats(place: F64Array, n: int) -> F64Array:
    """(place, n) weights of ``n`` nodes from 0 to 1, linear in between."""
    hats: F64Array = np.maximum(1 - np.abs(place[:, None] * (n - 1) - np.arange(n)), 0)
    return hats


def _places(points: TiePoints) -> tuple[F64Array, F64Array]:
    """Rows and columns of the tie points from 0 to 1."""
    return points.row / points.shape[0], points.col / points.shape[1]
