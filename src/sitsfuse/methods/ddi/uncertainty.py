"""How far DDI is off, from held-out LR pixels and from guides that are left out.

The variance of the error at HR is put together from what can be measured:

- *level*: the errors of held-out LR pixels at the date itself, less the white noise of the LR image. Their part within
  2×2 LR pixels stands for the details that LR does not show, where a residual is known; where none is, all of the
  error counts as well.
- *growth*: guides are left out, predicted from the others by ridge regression and a residual correction, and compared
  with at HR: so much larger are errors in HR details than in the finest ones of LR.
- *grain*: what no LR pixel can show, the guides' noise, which passes in proportion to the squares of the weights, and
  what small displacements make of fine structure.
- *residual*: of the LR error, a correction of strength s leaves 1 - s, and of the LR noise it brings in s.

All of them are standard deviations of which 90 % of the errors lie within 1.645 (`_calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...core.grid import GridPair
from ...operators.matrices import down_matrix, separable, up_matrix
from ...operators.updown import fill, up_mask
from ...stats.noise import TINY, grain_and_noise, white_noise
from ...stats.ridge import Linear
from ..shared.calibration import LEAST, deviation, high_pass, local_square, on, variance_model

HIGH_PASS = 0.64
"""Share of the variance of white noise that `high_pass` leaves: the sum of the squares of its weights."""
LEFT_OUT = 4
"""Guides that are left out, those next to the date."""
FEWEST = 100
"""Fewest clear LR pixels for that."""


@dataclass(frozen=True)
class Details:
    """What the guides say of errors at HR, (B,) each, in reflectance²."""

    growth: F64Array
    """Variance of the errors in HR details, per variance of those in the finest LR details; no unit."""
    grain: F64Array
    """Variance, in each guide, of what is white at HR."""
    noise: F64Array
    """The part of the grain that is noise of the sensor, and so is not in the scene itself."""

    @classmethod
    def of(cls, windows: Sequence[WindowDetails]) -> Details:
        """Medians over windows and left-out guides; without any of these, HR details err as the finest ones of LR."""
        grain, noise = (np.median([getattr(w, name) for w in windows], axis=0) for name in ("grain", "noise"))
        growth = [g for w in windows for g in w.growth]
        return cls(np.median(growth, axis=0) if growth else np.ones_like(grain), grain, noise)


@dataclass(frozen=True)
class WindowDetails:
    """The same of one window."""

    growth: tuple[F64Array, ...]
    """For each guide that could be left out."""
    grain: F64Array
    noise: F64Array


def window_details(
    values: FloatArray,
    valid: BoolArray,
    coarse: FloatArray,
    coarse_valid: BoolArray,
    grids: GridPair,
    mtfs: Sequence[float],
    offsets: F64Array,
) -> WindowDetails:
    """Measure on a window what the guides say of errors at HR.

    Parameters
    ----------
    values, valid
        (T, B, y, x) and (T, y, x), the guides.
    coarse, coarse_valid
        The same degraded.
    grids, mtfs
        The grids, and the LR sensor's MTF per band.
    offsets
        (T,) days from the date to predict to each guide.
    """
    count, bands = values.shape[:2]
    grain, noise = grain_and_noise(values, valid)
    # Weights of ↓ add up noise in quadrature.
    passed_down = np.array(
        [np.prod([down_matrix(axis, m).power(2).sum(axis=1).mean() for axis in (grids.y, grids.x)]) for m in mtfs]
    )
    growth = []
    for k in np.argsort(np.abs(offsets), kind="stable")[:LEFT_OUT].tolist():
        others = [i for i in range(count) if i != k]
        ok = coarse_valid[k] & coarse_valid[others].any(axis=0)
        if np.count_nonzero(ok) < max(FEWEST, 2 * (bands + 1) * len(others)):
            continue
        truth = coarse[k][:, ok]
        linear = Linear.fit(np.nan_to_num(coarse[others][:, :, ok]), coarse_valid[others][:, ok], truth)
        misfit = np.stack([on(ok, plane) for plane in truth - linear.fitted])
        image = linear([values[i] for i in others], [valid[i] for i in others])
        image += separable(fill(misfit, ok), up_matrix(grids.y), up_matrix(grids.x))
        seen = up_mask(ok, grids) & valid[k]
        if np.count_nonzero(seen) < FEWEST:
            continue
        white = grain + linear.passed(grain)
        at_hr = deviation(image[:, seen] - values[k][:, seen]) ** 2
        at_lr = deviation(high_pass(truth - linear.held_out, ok)) ** 2
        scene = np.maximum(at_lr - HIGH_PASS * passed_down * white, LEAST * at_lr)
        growth.append(np.maximum(at_hr - white, 0) / np.maximum(scene, TINY))
    return WindowDetails(tuple(growth), grain, noise)


@dataclass(frozen=True)
class Evidence:
    """What `error_models` starts from: N held-out LR pixels, M HR pixels, B bands."""

    usable: BoolArray
    """(W, y, x), where the N pixels lie."""
    left: FloatArray
    """(B, N) errors of the held-out pixels."""
    linear_left: npt.NDArray[np.floating]
    """(B, any) the same of the networks' linear cousin."""
    spread: FloatArray
    """(B, N) standard deviation of the networks, as far as they are followed."""
    fine_spread: FloatArray
    """(B, M) the same at HR."""
    weights: F64Array
    """(B,) mean over HR pixels of the sum of the squares of the guides' weights."""
    strength: FloatArray
    """(B,) of the residual correction."""
    lasting: F64Array
    """(B,) lasting difference between the sensors, in reflectance."""
    details: Details
    """What the guides say."""


def error_models(found: Evidence) -> tuple[FloatArray, FloatArray]:
    """Variance of the error at HR from spread², local residual² and a constant.

    Returns
    -------
    clear, cloudy
        (B, 3) coefficients where a residual is known, and where none is (the second column is 0).
    """
    left, details = found.left, found.details
    fine = high_pass(left, found.usable)
    maps = np.stack([on(found.usable, e) for e in left])
    square = local_square(maps, found.usable)[:, found.usable]
    noise = white_noise(maps, found.usable) ** 2
    always = details.grain * (1 + found.weights) - details.noise + found.lasting**2
    # Networks differ more at HR, where they see details that LR does not show.
    tame = np.minimum(deviation(found.spread) ** 2 / np.maximum(deviation(found.fine_spread) ** 2, TINY), 1)
    # A cloud hides whole fields. Networks that have seen no part of a field err more than where they have seen the next
    # pixel, up to as much as a regression that has no eye for fields: the middle between the two.
    foreign = np.maximum(deviation(found.linear_left) / np.maximum(deviation(left), TINY), 1)
    clear, cloudy = np.zeros((2, len(left), 3))
    for b, strength in enumerate(found.strength):
        power = found.spread[b] ** 2
        whole, within = (float(deviation(e[b])) ** 2 for e in (left, fine))
        noise_within = min(HIGH_PASS * noise[b], (1 - LEAST) * within)
        noise_whole = min(noise[b], (1 - LEAST) * whole)
        below = details.growth[b] * variance_model((power, square[b]), fine[b], noise_within)
        residual = (1 - strength) ** 2 * (whole - noise_whole) + strength**2 * noise_whole
        clear[b] = below[0] * tame[b], below[1], below[2] + always[b] + residual
        anywhere = foreign[b] * variance_model((power,), left[b], noise_whole)
        hidden = details.growth[b] * (within - noise_within)
        cloudy[b] = anywhere[0] * tame[b], 0, anywhere[1] + hidden + always[b]
    return clear.astype(np.float32), cloudy.astype(np.float32)
