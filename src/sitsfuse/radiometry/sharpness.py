"""How sharp an LR sensor sees, by the details that its images and guides show: arrays in, widths of the PSF out.

An LR image is compared with two guides that are degraded by PSFs of several widths. What fine details of a guide come
back in the LR image, relative to coarser ones, tells the width: too narrow a PSF leaves the fine ones of the guide too
strong. Only what both guides show counts. What changed on the land, noise or a displacement of one guide then weakens
fine and coarse details alike, where a plain regression would take it for blur.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, convolve1d

from ..core.arrays import BoolArray, F64Array, FloatArray
from ..stats.heldout import Estimate, State, Verdict, gain, location

WIDTHS = (0.2, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1)
"""Standard deviations of the PSFs that are tried, in LR pixels: MTFs at Nyquist of 0.82 to 4e-10."""
SMOOTH = (1, 4)
"""Times that (1, 2, 1) / 4 runs over the image: between none and the first lie its fine details, then the coarse."""
RIM = 2
"""LR pixels along the border, where degraded guides were reflected, that are not looked at."""
FEWEST = 100
"""LR pixels of an image below which it tells nothing."""
STEADY = 0.05
"""Error of a date at best, as the logarithm of the ratio of gains."""
PRIOR = (0.05, 2.0)
"""Spread between dates of the squared width that is expected, in LR pixels², and the dates that this counts."""
NOISE = 0.01
"""Share of the details' variance that no PSF explains: less is as good as none."""
EVIDENCE = 3.0
"""Distance from the sensor's width in standard errors, root mean square over the bands, that a width must have."""
LEAST = 0.1
"""Relative change of the width that is worth it; 0.1 takes an MTF of 0.3 to 0.23 or 0.38."""
WORTH = 0.05
"""Share of the unexplained details that another PSF must take away on dates left out: where the guides tell little of
the details, a little more is no evidence."""
PARTS = 3
"""Parts that are left out in turn, at least."""


@dataclass(frozen=True, eq=False)
class Details:
    """What one LR image tells."""

    part: str
    """What it is left out with."""
    squares: F64Array
    """(band,) squared width of the PSF, in LR pixels²; NaN of a band that does not tell."""
    errors: F64Array
    """(band,) expected error of that."""
    missed: F64Array
    """(width, band) share of the variance of the LR image's details that the guides' leave, for :data:`WIDTHS`."""

    def left(self, squares: F64Array) -> F64Array:
        """(band,) that share at some squared widths."""
        known = np.square(WIDTHS)
        return np.array([np.interp(s, known, self.missed[:, k]) for k, s in enumerate(squares)])


def read_details(
    part: str,
    image: tuple[FloatArray, BoolArray],
    guides: tuple[Sequence[FloatArray], Sequence[FloatArray]],
    known: BoolArray,
) -> Details | None:
    """What an LR image tells of its PSF; None if it shows too little.

    Parameters
    ----------
    part
        What it is left out with.
    image
        (band, y, x) float32 and (y, x) bool.
    guides
        Of two guides, (band, y, x) float32 degraded by a PSF of each of :data:`WIDTHS`.
    known
        (y, x) bool, where both guides are valid at all widths.

    Returns
    -------
    Details or None

    Notes
    -----
    With L the LR image's details, G and H the guides', the gain at which they come back is
    ``sqrt(<L G> <L H>) / <G H>``: each guide is the other's instrument [1]_. The logarithm of the gain of the fine
    details over that of the coarse ones rises with the width of the PSF, and is 0 at the right one; in between widths
    it is linear in the width's square, as gaussians have it.

    References
    ----------
    .. [1] W. A. Fuller, Measurement Error Models, Wiley, 1987 (instrumental variables).
    """
    values, valid = image
    ok = valid & known & np.isfinite(values).all(axis=0)
    ok &= np.logical_and.reduce([np.isfinite(g).all(axis=0) for each in guides for g in each])
    inside = np.zeros_like(ok)
    inside[RIM:-RIM, RIM:-RIM] = True
    used = binary_erosion(ok, np.ones((3, 3))) & inside
    count = int(used.sum())
    if count < FEWEST:
        return None
    bands = values.shape[0]
    seen = _parts(values, ok, used)
    ratios, missed, noise = (np.full((len(WIDTHS), bands), np.nan) for _ in range(3))
    for i, (first, second) in enumerate(zip(*guides, strict=True)):
        a, b = _parts(first, ok, used), _parts(second, ok, used)
        ratios[i], noise[i] = _ratio(seen, a, b)
        missed[i] = [_missed(seen[:, k].sum(axis=0), a[:, k].sum(axis=0), b[:, k].sum(axis=0)) for k in range(bands)]
    found = [_root(ratios[:, k], noise[:, k]) for k in range(bands)]
    squares, errors = np.array(found).T
    return Details(part, squares, errors, missed)


def _parts(values: FloatArray, ok: BoolArray, used: BoolArray) -> F64Array:
    """(2, band, n) fine and coarse details at the pixels used, each centred; invalid pixels have no say."""
    steps = [(np.where(ok, values, 0.0), ok.astype(np.float64))]
    for times in np.diff((0, *SMOOTH)):
        total, share = steps[-1]
        for axis in (-1, -2) * int(times):
            total, share = (convolve1d(a, (0.25, 0.5, 0.25), axis, mode="nearest") for a in (total, share))
        steps.append((total, share))
    levels = [total[:, used] / share[used] for total, share in steps]
    details = np.array([finer - coarser for finer, coarser in itertools.pairwise(levels)])
    return np.asarray(details - details.mean(axis=-1, keepdims=True))


def _ratio(seen: F64Array, a: F64Array, b: F64Array) -> tuple[F64Array, F64Array]:
    """(band,) logarithm of the gain of fine details over that of coarse ones, and its expected variance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        la, lb, ab = ((u * v).mean(axis=-1) for u, v in ((seen, a), (seen, b), (a, b)))
        power, other = np.square(seen).mean(axis=-1), [np.square(x).mean(axis=-1) for x in (a, b)]
        logs = (np.log(la) + np.log(lb)) / 2 - np.log(ab)
        alike = la * lb / (power * np.sqrt(other[0] * other[1]))
        # Neighbours share their coarse details.
        free = seen.shape[-1] / np.array([1.0, 2.0 * SMOOTH[1]])[:, None]
        variance = (1 - np.clip(alike, 0, 0.999)) / (free * alike)
    return logs[0] - logs[1], variance.sum(axis=0)


def _missed(seen: F64Array, a: F64Array, b: F64Array) -> float:
    """Share of the variance that a regression on two guides leaves."""
    design = np.stack([a, b], axis=1)
    power = float(seen @ seen)
    if not power > 0:
        return 1.0
    left = seen - design @ np.linalg.lstsq(design, seen, rcond=1e-6)[0]
    return float(left @ left) / power


def _root(ratios: F64Array, variances: F64Array) -> tuple[float, float]:
    """Squared width at which the ratio is 0, and its error; the first or last that was tried if it lies beyond."""
    if not np.isfinite(ratios).all():
        return math.nan, math.nan
    known = np.square(WIDTHS)
    at = int(np.argmax(ratios >= 0)) if (ratios >= 0).any() else len(known) - 1
    low = max(at - 1, 0)
    rise = (ratios[low + 1] - ratios[low]) / (known[low + 1] - known[low])
    if not rise > 0:
        return math.nan, math.nan
    square = float(np.clip(known[low] - ratios[low] / rise, known[0], known[-1]))
    return square, math.sqrt(STEADY**2 + float(variances[low])) / float(rise)


@dataclass(frozen=True)
class Sharpness:
    """The width of a sensor's PSF per band, and why."""

    widths: tuple[float, ...]
    """Standard deviation in LR pixels: what was found, or the sensor's."""
    found: tuple[float, ...]
    """What the dates tell, applied or not; NaN of a band of which they tell nothing."""
    errors: tuple[float, ...]
    """Standard error of that."""
    verdict: Verdict
    """What was decided."""


def learn_widths(dates: Sequence[Details], sensor: Sequence[float]) -> Sharpness:
    """Whether the images have another PSF than the sensor's, and which.

    Parameters
    ----------
    dates
        What each LR image tells.
    sensor
        (band,) widths that are taken for the sensor's, in LR pixels.

    Returns
    -------
    Sharpness
        Of the sensor, unless the dates agree on others: further off than three times their error (root mean square over
        the bands), by at least a tenth, and on dates left out in turn the guides must leave less of the LR image's
        details unexplained, by a twentieth and by more than the error of that. What is taken is shrunk to what the
        bands have in common, and to the sensor's by what remains of doubt.
    """
    start = np.square(np.asarray(sensor, np.float64))
    parts = len({d.part for d in dates})
    known, errors = _learn(dates, start)
    found, error = np.sqrt(known), errors / (2 * np.sqrt(known))

    def decided(verdict: Verdict, squares: F64Array = start) -> Sharpness:
        widths = tuple(float(w) for w in np.sqrt(squares))
        return Sharpness(widths, tuple(map(float, found)), tuple(map(float, error)), verdict)

    if parts < PARTS or not np.isfinite(errors).any():
        reason = f"only {parts} LR images tell of it" if parts else "no LR image tells of it"
        return decided(Verdict("not applied", parts=parts, reason=reason))
    taken = _shrunk(known, errors, start)
    evidence = _evidence(known, errors, start)
    change = float(np.max(np.abs(np.sqrt(taken / start) - 1)))
    before, after = (np.log(_left_out(dates, start, learnt) + NOISE).mean(axis=1) / 2 for learnt in (False, True))
    share, estimate = gain(before, after, np.ones(len(dates)), [d.part for d in dates])
    rms = [float(np.sqrt(np.mean(np.exp(2 * v)))) for v in (before, after)]
    state: State = "applied"
    reason = ""
    if evidence < EVIDENCE or change < LEAST:
        state, reason = "not applied", "the images agree with the sensor's, within their uncertainty or a tenth"
    elif not estimate.sure or share < WORTH:
        state, reason = "not applied", "on LR images left out the guides' details explain hardly more than before"
    elif estimate.value < 2 * estimate.error or evidence < 2 * EVIDENCE:
        state, reason = "doubtful", "hardly above its uncertainty"
    verdict = Verdict(state, share, (1 - share) * estimate.error, rms[0], rms[1], parts, reason)
    return decided(verdict, taken if verdict.used else start)


def _learn(dates: Sequence[Details], start: F64Array) -> tuple[F64Array, F64Array]:
    """(band,) squared widths that dates tell and their errors; the sensor's and infinite of a band without any."""
    squares, errors = start.copy(), np.full(start.size, np.inf)
    for k in range(start.size):
        told = [d for d in dates if math.isfinite(d.squares[k])]
        if told:
            weights = [1 / float(d.errors[k]) ** 2 for d in told]
            estimate: Estimate = location([float(d.squares[k]) for d in told], weights, [d.part for d in told], PRIOR)
            squares[k], errors[k] = estimate.value, estimate.error
    return squares, errors


def _shrunk(squares: F64Array, errors: F64Array, start: F64Array) -> F64Array:
    """Bands towards what they have in common, and all towards the sensor's."""
    told = np.isfinite(errors)
    weight = 1 / np.square(errors[told])
    change = squares[told] - start[told]
    common = float(weight @ change / weight.sum())
    apart = max(float(np.mean(np.square(change - common) - np.square(errors[told]))), 0.0) if told.sum() > 1 else 0.0
    own = apart / (apart + np.square(errors[told]))
    out = np.full(start.size, common)
    out[told] = common + own * (change - common)
    trust = max(0.0, 1 - 1 / max(_evidence(squares, errors, start), 1e-9) ** 2)
    return np.asarray(np.clip(start + trust * out, WIDTHS[0] ** 2, WIDTHS[-1] ** 2))


def _evidence(squares: F64Array, errors: F64Array, start: F64Array) -> float:
    """Distance from the sensor's in standard errors, root mean square over the bands."""
    told = np.isfinite(errors)
    return float(np.sqrt(np.mean(np.square((squares - start)[told] / errors[told])))) if told.any() else 0.0


def _left_out(dates: Sequence[Details], start: F64Array, learnt: bool) -> F64Array:
    """(date, band) what the details leave, with the sensor's widths or with those learnt from the other parts."""
    out = np.empty((len(dates), start.size))
    for part in dict.fromkeys(d.part for d in dates):
        rest = [d for d in dates if d.part != part]
        squares = _shrunk(*_learn(rest, start), start) if learnt and rest else start
        for i, d in enumerate(dates):
            if d.part == part:
                out[i] = d.left(squares)
    return out
