"""The displacements of a series together: where its middle lies, what single images are believed, what the others take.

Each image is measured against another one, with an error. Images of a series lie around a common displacement; how far,
is told by their spread beyond those errors. An image is believed by its own measurement as far as that is surer than
what the others tell; one that could not be measured takes what the others have in common.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.arrays import BoolArray, F64Array
from ..stats.heldout import location
from ..stats.robust import weighted_median

FEWEST = 3
"""Measured images from which on a series has a displacement in common."""
SURE = 3.0
"""Size of a displacement in its standard errors below which it is not taken out."""
LEAST = 0.05
"""Displacement that is not worth an interpolation, in pixels."""


@dataclass(frozen=True)
class Agreement:
    """What the images of a series agree on. Displacements are towards rows and columns, in pixels."""

    shifts: F64Array
    """(image, 2) where each image is believed to lie."""
    errors: F64Array
    """(image,) standard error of that along an axis; infinite of an image of which nothing is known."""
    own: BoolArray
    """(image,) whether that comes from the image itself."""
    centre: F64Array
    """(2,) what the images have in common."""
    centre_error: float
    """Standard error of that along an axis; infinite if too few images tell."""
    scatter: float
    """Standard deviation of the images around it along an axis, beyond the errors of measurement."""


def agree(shifts: F64Array, errors: F64Array, groups: Sequence[Hashable] | None = None) -> Agreement:
    """Believe each image as far as its own measurement is surer than the others'.

    Parameters
    ----------
    shifts
        (image, 2) displacements as measured; NaN of an image that could not be.
    errors
        (image,) their standard errors along an axis.
    groups
        (image,) satellite or orbit of each image; those of a group of three measured images or more have a centre of
        their own.

    Returns
    -------
    Agreement
        ``centre`` is that of all images.
    """
    whole = _of_group(shifts, errors)
    if groups is None or len(set(groups)) < 2:
        return whole
    out_shifts, out_errors = whole.shifts.copy(), whole.errors.copy()
    for group in dict.fromkeys(groups):
        inside = np.array([g == group for g in groups])
        if np.isfinite(shifts[inside, 0]).sum() >= FEWEST:
            part = _of_group(shifts[inside], errors[inside])
            out_shifts[inside], out_errors[inside] = part.shifts, part.errors
    return Agreement(out_shifts, out_errors, whole.own, whole.centre, whole.centre_error, whole.scatter)


def _of_group(shifts: F64Array, errors: F64Array) -> Agreement:
    known: BoolArray = np.asarray(np.isfinite(shifts).all(axis=1))
    count = int(known.sum())
    if count < FEWEST:
        out = np.where(known[:, None], shifts, 0.0)
        return Agreement(out, np.where(known, errors, math.inf), known, np.zeros(2), math.inf, math.nan)
    seen, error = shifts[known], errors[known]
    weights = 1 / (np.square(error) + np.median(error) ** 2 + LEAST**2)
    found = [location(seen[:, k], weights) for k in (0, 1)]
    centre = np.array([f.value for f in found])
    centre_error = math.sqrt(sum(f.error**2 for f in found) / 2)
    spread = [1.4826 * weighted_median(list(np.abs(seen[:, k] - centre[k])), list(weights)) for k in (0, 1)]
    scatter = math.sqrt(max(sum(s**2 for s in spread) / 2 - float(np.median(error)) ** 2, 0.0))
    away = seen - centre
    # An image that lies far off the others is believed all the same, if it is measured well.
    odds = np.sum(np.square(away), axis=1) / 2 / np.square(error)
    trust = np.maximum(scatter**2 / (scatter**2 + np.square(error)), 1 - 1 / np.maximum(odds, 1))
    out, sure = np.tile(centre, (len(shifts), 1)), np.full(len(shifts), math.hypot(scatter, centre_error))
    out[known] = centre + trust[:, None] * away
    sure[known] = np.hypot(trust * error, (1 - trust) * math.hypot(scatter, centre_error))
    return Agreement(out, sure, known, centre, centre_error, scatter)


def worthwhile(agreed: Agreement, frame: F64Array) -> BoolArray:
    """(image,) whether to move each image to a frame (2,): it lies off it beyond its uncertainty, and by enough.

    What an image takes from the others is as sure as what they have in common, however much they scatter: on average,
    it helps.
    """
    size = np.hypot(*(agreed.shifts - frame).T)
    error = np.where(agreed.own, agreed.errors, agreed.centre_error)
    return np.asarray((size > LEAST) & (size > SURE * error))
