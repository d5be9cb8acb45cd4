"""Classes of the land in the guides, and how each has changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.cluster import vq

from ...core.arrays import BoolArray, FloatArray

TRIM = 0.1
"""Share of the purest LR pixels of a class that is left out at each end of the changes, where land cover changed."""
WIDER = 1.0
"""Standard deviations by which changes of classes may exceed those of the LR pixels, which are mixed."""
RIDGE = 1.0
"""Weight, in pure LR pixels, of the mean change in that of each class: where LR pixels are few, classes follow it."""
NONE = -1
"""Class of an invalid pixel."""

ClassArray = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Classes:
    """The classes of a guide: a pixel belongs to the nearest centre, in standardised bands."""

    mean: FloatArray
    """(band,) in reflectance."""
    scale: FloatArray
    """(band,) standard deviation, in reflectance."""
    centres: FloatArray
    """(class, band), standardised."""

    def __call__(self, values: FloatArray, valid: BoolArray) -> ClassArray:
        """(y, x) class of the pixels of a (band, y, x) guide; `NONE` where invalid."""
        features = self.features(values, valid)
        best = np.full(valid.shape, np.inf, np.float32)
        out = np.full(valid.shape, NONE, np.int8)
        for c, centre in enumerate(self.centres):
            # Band by band and not as a product of matrices, whose rounding depends on the size of the tile.
            distance = np.zeros(valid.shape, np.float32)
            for plane, value in zip(features, centre, strict=True):
                distance += (plane - value) ** 2
            nearer = valid & (distance < best)
            out[nearer] = c
            best = np.minimum(best, distance)
        return out

    def features(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """(band, y, x) standardised; 0 where invalid."""
        standard = (np.where(valid, values, np.float32(0)) - self.mean[:, None, None]) / self.scale[:, None, None]
        return np.where(valid, standard, np.float32(0))


def find_classes(pixels: FloatArray, count: int) -> Classes:
    """Find classes by k-means on standardised bands.

    Parameters
    ----------
    pixels
        (n, band) float32, in reflectance.
    count
        Number of classes; fewer are found where pixels are few or alike.
    """
    bands = pixels.shape[1]
    if not len(pixels):
        return Classes(np.zeros(bands, np.float32), np.ones(bands, np.float32), np.zeros((1, bands), np.float32))
    exact = pixels.astype(np.float64)
    mean, scale = exact.mean(axis=0), exact.std(axis=0)
    scale = np.where(scale > 1e-6 * np.abs(mean), scale, 1.0)
    features = (exact - mean) / scale
    # From groups along the direction of most variance: the same classes in every run.
    main = np.linalg.eigh(features.T @ features)[1][:, -1]
    groups = np.array_split(np.argsort(features @ main, kind="stable"), min(count, len(pixels)))
    centres, _ = vq.kmeans(features, np.stack([features[g].mean(axis=0) for g in groups]))
    return Classes(*(np.asarray(a, np.float32) for a in (mean, scale, centres)))


def purest(fractions: FloatArray, count: int) -> list[npt.NDArray[np.intp]]:
    """For each class, the numbers of the ``count`` LR pixels of which it covers most: (n, class) → (≤ count,) each."""
    return [np.argsort(-column, kind="stable")[:count] for column in fractions.T]


def class_changes(fractions: FloatArray, change: FloatArray, count: int) -> FloatArray:
    """Change of each class from that of mixed LR pixels: bounded least squares, band by band.

    Parameters
    ----------
    fractions
        (n, class) share of each class in LR pixels.
    change
        (n, band) change of those, in reflectance.
    count
        Purest pixels of each class to take; those whose change is among the least or largest of them are left out.

    Returns
    -------
    changes
        (class, band) float32, within the range of the changes seen, a little widened; 0 without any pixel.
    """
    classes, bands = fractions.shape[1], change.shape[1]
    out = np.zeros((classes, bands), np.float32)
    if not len(change):
        return out
    best = purest(fractions, count)
    for b in range(bands):
        seen = change[:, b].astype(np.float64)
        use = np.zeros(len(change), bool)
        for rows in best:
            low, high = np.quantile(seen[rows], [TRIM, 1 - TRIM])
            use[rows[(seen[rows] >= low) & (seen[rows] <= high)]] = True
        if not use.any():  # one or two pixels: none lies between their quantiles
            use[:] = True
        mean, span = seen[use].mean(), np.ptp(seen[use])
        if span == 0:
            out[:, b] = mean
            continue
        # In units of their range: bounds and tolerances then fit any quantity.
        units = (seen[use] - mean) / span
        slack = WIDER * units.std()
        matrix = np.concatenate([fractions[use], math.sqrt(RIDGE) * np.eye(classes)])
        wanted = np.concatenate([units, np.zeros(classes)])
        bounds = (units.min() - slack, units.max() + slack)
        out[:, b] = mean + span * optimize.lsq_linear(matrix, wanted, bounds, method="bvls").x
    return out
