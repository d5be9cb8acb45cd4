"""How far DDI is off, from held-out LR pixels and from guides that are left out.

The variance of the error at HR is put together from what can be measured:

- *level*: the errors of held-out LR pixels at the date itself, less the white noise of the LR image. Their part within
  2×2 LR pixels stands for the details that LR does not show, where a residual is known; where none is, all of the
  error counts as well.
- *growth*: guides are left out, predicted from the others, and compared with at HR (`leftout`): so much larger are
  errors in HR details than in the finest ones of LR.
- *grain*: what no LR pixel can show, the guides' noise, which passes in proportion to the squares of the weights, and
  what small displacements make of fine structure.
- *sensor*: where two sensors show other details, no held-out pixel of the LR image knows that they are not scene. They
  come in as far as the image follows the target, by what was learnt and by the correction.
- *residual*: of the LR error, a correction of strength s leaves 1 - s, and of the LR noise it brings in s; s falls with
  the share of the error that the correction takes for noise (`operators.residual.scene_part`).

All of them are standard deviations of which 90 % of the errors lie within 1.645 (`shared.calibration`). Where they lie
is told by the standard deviation of the posterior (and of the networks) and by the residual around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.arrays import BoolArray, F64Array, FloatArray
from ...stats.noise import TINY, white_noise
from ..shared.calibration import LEAST, deviation, high_pass, local_square, on, variance_model

HIGH_PASS = 0.64
"""Share of the variance of white noise that `high_pass` leaves: the sum of the squares of its weights."""


@dataclass(frozen=True)
class Evidence:
    """What `error_models` starts from: N held-out LR pixels, M HR pixels, B bands."""

    usable: BoolArray
    """(W, y, x), where the N pixels lie."""
    left: FloatArray
    """(B, N) errors of the held-out pixels."""
    spread: FloatArray
    """(B, N) standard deviation of the prediction there."""
    fine_spread: FloatArray
    """(B, M) the same at HR."""
    strength: FloatArray
    """(B,) largest strength of the residual correction."""
    noise: FloatArray
    """(B,) power of what the correction takes for no scene."""
    lasting: F64Array
    """(B,) lasting difference between the sensors, in reflectance."""
    white: F64Array
    """(B,) variance at HR of what is white: what the guides' grain makes of the prediction, and the scene's own."""
    growth: F64Array
    """(B,) variance of the errors in HR details, per variance of those in the finest LR details."""
    followed: F64Array
    """(B,) share of what the target has beyond temporal interpolation that was learnt; 0 where sensors agree."""


def error_models(found: Evidence) -> tuple[FloatArray, FloatArray]:
    """Variance of the error at HR from spread², local residual² and a constant.

    Returns
    -------
    clear, cloudy
        (B, 3) coefficients where a residual is known, and where none is (the second column is 0).
    """
    left = found.left
    fine = high_pass(left, found.usable)
    maps = np.stack([on(found.usable, e) for e in left])
    square = local_square(maps, found.usable)[:, found.usable]
    noise = white_noise(maps, found.usable) ** 2
    always = found.white + found.lasting**2
    # Predictions are less sure at HR, which has details that LR does not show: growth and grain know of that.
    tame = np.minimum(deviation(found.spread) ** 2 / np.maximum(deviation(found.fine_spread) ** 2, TINY), 1)
    clear, cloudy = np.zeros((2, len(left), 3))
    for b, largest in enumerate(found.strength):
        power = found.spread[b] ** 2
        whole, within = (float(deviation(e[b])) ** 2 for e in (left, fine))
        noise_within = min(HIGH_PASS * noise[b], (1 - LEAST) * within)
        noise_whole = min(noise[b], (1 - LEAST) * whole)
        below = found.growth[b] * variance_model((power, square[b]), fine[b], noise_within)
        strength = largest * max(0.0, 1 - float(found.noise[b]) / max(whole, TINY))
        residual = (1 - strength) ** 2 * (whole - noise_whole) + strength**2 * noise_whole
        followed = 1 - (1 - found.followed[b]) * (1 - strength) if found.followed[b] else 0.0
        sensor = followed**2 * max(float(found.noise[b]) - noise_whole, 0.0)
        clear[b] = below[0] * tame[b], below[1], below[2] + always[b] + residual + sensor
        anywhere = variance_model((power,), left[b], noise_whole)
        hidden = found.growth[b] * (within - noise_within)
        cloudy[b] = anywhere[0] * tame[b], 0, anywhere[1] + hidden + always[b]
    return clear.astype(np.float32), cloudy.astype(np.float32)
