"""What DDI learns from held-out LR pixels: samples, folds, and the choice of head, blend and strengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, FloatArray, Times
from ...core.dates import days
from ...core.timeline import interpolate
from ...stats.ridge import Linear
from ..shared.calibration import high_pass
from .windows import Windows

TIE = 0.1
"""Relative difference of held-out errors below which two heads count as equally good."""
REHEARSAL_DAYS = 10.0
"""Longest gap between a guide and the nearest target image for the guide to take part in `confirmed`."""
REHEARSAL_PIXELS = 100
"""Fewest LR pixels for that."""
OUTLIER = 9.0
"""Difference of two dates, in median absolute differences, beyond which a pixel changed (6 standard deviations)."""


@dataclass(frozen=True)
class Trial:
    """A candidate, judged on held-out pixels."""

    error: float
    """Error left after a residual correction, in standard deviations of the target."""
    base_error: float
    """The same for temporal interpolation."""
    alpha: float
    """Best share of the networks."""
    left: FloatArray
    """(B, N) error of the held-out pixels."""
    spread: FloatArray
    """(B, N) standard deviation of the networks there, as far as they are followed."""


def block_folds(usable: BoolArray, k: int, block: int, seed: int) -> npt.NDArray[np.intp]:
    """Assign square blocks of LR pixels to K folds of about equal size; (W, y, x) int.

    Every fold gets a block with usable pixels, as long as there are enough of them.
    """
    w, rows, cols = usable.shape
    # A network needs pixels to learn from and others to be judged by, however large a block is asked for.
    while block > 1 and _filled_blocks(usable, block).sum() < k:
        block //= 2
    by, bx = -(-rows // block), -(-cols // block)
    label = np.zeros((w, by, bx), np.intp)
    filled = _filled_blocks(usable, block)
    count = int(filled.sum())
    label[filled] = np.random.default_rng(seed).permutation(np.arange(count) % k)
    return label.repeat(block, axis=1).repeat(block, axis=2)[:, :rows, :cols]


def _filled_blocks(usable: BoolArray, block: int) -> BoolArray:
    """(W, blocks along y, blocks along x), whether a block has usable pixels."""
    w, rows, cols = usable.shape
    by, bx = -(-rows // block), -(-cols // block)
    padded = np.zeros((w, by * block, bx * block), bool)
    padded[:, :rows, :cols] = usable
    return np.asarray(padded.reshape(w, by, block, bx, block).any(axis=(2, 4)), dtype=bool)


def neighbours(usable: BoolArray) -> npt.NDArray[np.intp]:
    """All windows of 2×2 LR pixels that hold a usable one; (M, 4) numbers of usable pixels, -1 for others.

    Parameters
    ----------
    usable
        (W, y, x); its pixels are numbered in this order.
    """
    number = np.full(usable.shape, -1, np.intp)
    number[usable] = np.arange(np.count_nonzero(usable))
    padded = np.pad(number, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 2), axis=(1, 2)).reshape(-1, 4)
    return np.asarray(windows[(windows >= 0).any(axis=1)])


def judge(
    usable: BoolArray, target: FloatArray, base: FloatArray, held: FloatArray, scatter: FloatArray, spread: FloatArray
) -> Trial:
    """How good a candidate is where its networks have not been trained.

    The residual correction will remove what can be seen at LR and leave the details below. One scale up that is: of
    the held-out errors, remove what 2×2 LR pixels show, and look at what is left. ``alpha`` minimises it, in closed
    form, for ``base + alpha (mean - base)``: a held-out pixel is known to one network alone, which scatters about the
    mean of all that will predict, and the power of this scatter is taken off. It is measured between networks that
    have seen the pixel, which agree more than others: where networks learn noise, ``alpha`` errs towards 0.

    Parameters
    ----------
    usable
        (W, y, x), where the N pixels lie.
    target, base, held, scatter, spread
        (B, N): the truth, temporal interpolation, the held-out prediction, a sample of the networks' scatter about
        their mean, and its standard deviation.
    """
    scale = np.maximum(target.std(axis=1, keepdims=True), 1e-6)
    wanted = high_pass((target - base) / scale, usable)
    offered = high_pass((held - base) / scale, usable)
    power = float((offered**2).sum() - (high_pass(scatter / scale, usable) ** 2).sum())
    alpha = float(np.clip((wanted * offered).sum() / power, 0, 1)) if power > 0 else 0.0
    left = wanted - alpha * offered
    return Trial(
        float(np.sqrt((left**2).mean())),
        float(np.sqrt((wanted**2).mean())),
        alpha,
        target - base - np.float32(alpha) * (held - base),
        np.float32(alpha) * spread,
    )


def pick(errors: list[float], heads: list[str]) -> tuple[int, int | None]:
    """The candidate of least error; and the best one with another head, if the two are about as good.

    An ensemble of both heads then errs less than either, and it is safer where the held-out pixels of one noisy LR
    image cannot tell which is right.
    """
    first = int(np.argmin(errors))
    others = [i for i in range(len(errors)) if heads[i] != heads[first] and errors[i] <= (1 + TIE) * errors[first]]
    return first, min(others, key=lambda i: errors[i]) if others else None


def confirmed(windows: Windows, guide_times: Times) -> FloatArray:
    """How much of an LR residual the HR sensor confirms, per band, in [0, 1].

    At a guide's date both sensors are known. The other guides are fitted to the target series there (ridge regression,
    the linear cousin of the networks), and what the fit leaves, ``r = C - P``, is compared with what the guide itself
    says is missing, ``e = G - P``: the slope of e on r is the share of the residual that is scene and not noise of the
    LR sensor. What differs between the two dates must not count as noise: pixels that disagree by far (clouds,
    harvests) take no part, and r and e are compared in their finest details, which haze and growth do not touch. What
    remains of such changes only lowers the slope, so the guide that confirms most counts. 1 if no guide has a target
    image near enough.
    """
    t, b = windows.guide.shape[:2]
    slopes = []
    for k in range(t):
        offsets = days(windows.times, guide_times[k])
        if np.abs(offsets).min() > REHEARSAL_DAYS:
            continue
        image, seen = interpolate(windows.series, windows.series_valid, offsets)
        others = np.arange(t) != k
        ok = windows.guide_valid[k] & seen & windows.guide_valid[others].any(axis=0)
        if ok.sum() < REHEARSAL_PIXELS:
            continue
        target, truth = image[:, ok].T.astype(np.float64), windows.guide[k][:, ok].T.astype(np.float64)
        linear = Linear.fit(windows.guide[others][:, :, ok], windows.guide_valid[others][:, ok], target.T)
        fitted = linear.fitted.T
        r, e = target - fitted, truth - fitted
        off = np.abs(r - e - np.median(r - e, axis=0))
        near = off <= OUTLIER * np.median(off, axis=0)
        seen_lr, seen_hr = (high_pass(np.where(near, a - a.mean(axis=0, where=near), 0).T, ok) for a in (r, e))
        slopes.append((seen_lr * seen_hr).sum(axis=1) / np.maximum((seen_lr**2).sum(axis=1), 1e-12))
    if not slopes:
        return np.ones(b, np.float32)
    return np.asarray(np.clip(np.max(slopes, axis=0), 0, 1), np.float32)
