"""Co-registration: the displacement of an image against a reference, from a vote of tie points.

The vote is for one shift of the whole image; on request for an affine field or a smooth local one, which have to
foretell tie points that were left out better than the simpler model does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from odc.geo.geobox import GeoBox

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..core.displacement import Displacement, Nodes
from .field import Basis, Fit, Model, choose, fit_to, left_out, window_numbers
from .tiepoints import TiePoints, correlation, tie_points

Quality = Literal["good", "doubtful", "failed"]

FEWEST = 3
"""Tie points in agreement below which a registration has failed."""
AGREEMENT = 0.5
"""Share of tie points in agreement below which a registration has failed."""
PART = 0.1
"""The same as a share of all windows and bands measured: of many that show nothing, a few agree by chance."""
CHANCE = 6.0
"""A registration has failed if the spread exceeds the reach of the windows over this; chance makes it two thirds."""
DOUBTFUL_FEW = 6
"""Tie points in agreement below which a registration is doubtful."""
DOUBTFUL_AGREEMENT = 0.6
"""Share of tie points in agreement below which a registration is doubtful."""
SYSTEMATIC = 0.012
"""Error that no number of tie points takes away, in pixels: how images sample their edges."""
EXPECTED = (0.1, 2.0)
"""Spread of tie points that is expected, in pixels, and the windows that it counts: few may agree by chance."""
DOUBTFUL_ERROR = 0.1
"""Standard error above which a registration is doubtful, in pixels."""


@dataclass(frozen=True)
class Registration:
    """What is known of a displacement."""

    model: Model
    """What was fitted: the model asked for, or the simpler one that it fell back to."""
    quality: Quality
    """Whether to trust it.

    "failed": fewer than 3 tie points agree, less than half of them, or less than a tenth of all windows and bands; or
    they spread over more than a sixth of what windows reach, as by chance; or the shift reaches the end of the range
    searched. "doubtful": fewer than 6 agree, less than 0.6 of them, or the standard error exceeds 0.1 pixel.
    """
    shift_row: float
    """Displacement of the middle towards higher rows, in pixels; 0 if failed."""
    shift_col: float
    """Displacement of the middle towards higher columns, in pixels; 0 if failed."""
    found: int
    """Number of tie points."""
    tie_points: int
    """Number of tie points that agree: within 3 robust standard deviations."""
    spread: float | None
    """Robust standard deviation of the tie points around the fit along an axis, in pixels; None without any."""
    error: float | None
    """Standard error of the shift along an axis, in pixels."""
    left_out: float | None = None
    """Root mean square distance, along an axis, of tie points left out in turn to what the others tell, in pixels."""
    correlation_before: float | None = None
    """Correlation of the two images' values as they lie, mean over the bands."""
    correlation_after: float | None = None
    """The same with the displacement taken out."""


def register_images(
    reference: FloatArray,
    reference_valid: BoolArray,
    image: FloatArray,
    image_valid: BoolArray,
    geobox: GeoBox,
    model: Model = "shift",
    *,
    search: int | None = None,
    min_valid: float = 0.6,
) -> tuple[Displacement, Registration]:
    """Find the displacement of an image against a reference.

    Parameters
    ----------
    reference, image
        (y, x) or (band, y, x) float32 on one grid; read only where valid. They may differ in gain, offset, PSF and
        date; an HR reference is first degraded to the grid of an LR image.
    reference_valid, image_valid
        (y, x) bool.
    geobox
        The grid.
    model
        "shift", "affine" or "local": see :func:`register`.
    search, min_valid
        As for :func:`~sitsfuse.registration.tiepoints.tie_points`.

    Returns
    -------
    displacement, registration
        In metres and as statistics in pixels. Where nothing can be found the displacement is 0 and the quality
        "failed"; no image is an error.

    Raises
    ------
    ValueError
        If shapes differ, the model is unknown or an option makes no sense.
    """
    if image.shape[-2:] != tuple(geobox.shape):
        raise ValueError(f"images of {image.shape[-2:]} pixels on a grid of {tuple(geobox.shape)}")
    pair = (reference, reference_valid, image, image_valid)
    displacement, found = register(tie_points(*pair, search=search, min_valid=min_valid), model, geobox)
    before = correlation(*pair, _in_pixels(Displacement(), geobox))
    after = before if found.quality == "failed" else correlation(*pair, _in_pixels(displacement, geobox))
    return displacement, replace(found, correlation_before=before, correlation_after=after)


def register(points: TiePoints, model: Model, geobox: GeoBox) -> tuple[Displacement, Registration]:
    """Fit a model to tie points.

    Parameters
    ----------
    points
        Of two images on ``geobox``.
    model
        "shift"; "affine": linear in place; "local": smooth around the affine field.
    geobox
        The grid.

    Returns
    -------
    displacement, registration
        An affine field falls back to a shift, a local one to an affine field, if the windows in agreement are too
        few (12, 30) or too close together, or if it foretells windows that were left out no better.

    Raises
    ------
    ValueError
        If the model is unknown.

    Notes
    -----
    A local field is a lattice of nodes, bilinear in between. It minimises the mean squared distance of the tie points
    plus the stiffness times the squared second derivatives, as a thin plate does.
    """
    if model not in ("shift", "affine", "local"):
        raise ValueError(f"unknown model {model!r}: choose shift, affine or local")
    if len(points) == 0:
        return Displacement(), vote(points)
    basis = choose(points, model)
    fit = fit_to(basis, points)
    found = _judged(points, basis, fit)
    affine = geobox.affine
    if found.quality == "failed" or basis.model == "shift":
        return Displacement.shift(found.shift_col * affine.a, found.shift_row * affine.e), found
    # The nodes span the image. Theirs run down and to the right on the map, whatever way the rows and columns do.
    d = (basis.design(*basis.places()) @ fit.coefficients).reshape(*basis.nodes, 2)
    d = d[:: -1 if affine.e > 0 else 1, :: -1 if affine.a < 0 else 1]
    box = geobox.boundingbox
    bounds = (box.left, box.bottom, box.right, box.top)
    return Displacement(_nodes(d[..., 1] * affine.a), _nodes(d[..., 0] * affine.e), bounds), found


def vote(points: TiePoints) -> Registration:
    """The shift that most tie points agree on.

    Parameters
    ----------
    points
        Of an image; there may be none.

    Returns
    -------
    Registration
        Of the model "shift".

    Notes
    -----
    A mean with Tukey's biweights [1]_, begun at the weighted median, each point with the square of its correlation.
    All bands of a window count as one in the standard error: what changed on the land changed in all of them.

    References
    ----------
    .. [1] P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009.
    """
    shift = Basis("shift")
    if len(points) == 0:
        return Registration("shift", "failed", 0.0, 0.0, 0, 0, None, None)
    return _judged(points, shift, fit_to(shift, points))


def _judged(points: TiePoints, basis: Basis, fit: Fit) -> Registration:
    """What a fit is worth."""
    agree = int(fit.agree.sum())
    middle = np.array([0.5])
    shift_row, shift_col = (float(d) for d in (basis.design(middle, middle) @ fit.coefficients)[0])
    # Windows half their side apart are nearly independent under the taper; there is no room for more.
    rows, cols = (2 * (n - points.window) / points.window + 1 for n in points.shape)
    windows = max(min(np.unique(window_numbers(points)[fit.agree]).size, rows * cols), 1.0)
    spread, worth = EXPECTED
    variance = ((windows - 1) * fit.spread**2 + worth * spread**2) / (windows - 1 + worth)
    error = math.sqrt(variance / windows + SYSTEMATIC**2)
    quality: Quality = "good"
    if error > DOUBTFUL_ERROR or agree < max(DOUBTFUL_FEW, DOUBTFUL_AGREEMENT * len(points)):
        quality = "doubtful"
    few = agree < max(FEWEST, AGREEMENT * len(points), PART * points.measured)
    wide = fit.spread > points.reach / CHANCE
    if few or wide or max(abs(shift_row), abs(shift_col)) >= points.search:
        quality, shift_row, shift_col = "failed", 0.0, 0.0
    return Registration(
        basis.model, quality, shift_row, shift_col, len(points), agree, fit.spread, error, left_out(points, basis)
    )


def _nodes(values: F64Array) -> Nodes:
    return tuple(tuple(float(v) for v in row) for row in values)


def _in_pixels(displacement: Displacement, geobox: GeoBox) -> Callable[[F64Array, F64Array], tuple[F64Array, F64Array]]:
    """The displacement at rows and columns of a grid, in pixels towards rows and columns."""
    a = geobox.affine

    def where(row: F64Array, col: F64Array) -> tuple[F64Array, F64Array]:
        dx, dy = displacement.at(a.c + a.a * col, a.f + a.e * row)
        return dy / a.e, dx / a.a

    return where
