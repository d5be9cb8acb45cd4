"""Judging by what was left out: a correction is worth what it gains on data that it was not learnt from.

Parts (dates, blocks of windows) are left out in turn, the correction is learnt from the others and applied to the part
left out. What it gains there, relative to doing nothing, has a spread over the parts, and from that an error. Outlying
parts have no more say than others: cloudy dates, changed fields.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.arrays import F64Array
from .robust import weighted_median

State = Literal["applied", "doubtful", "not applied", "in order", "not checked", "off"]

HUBER = 1.5
"""Distance from the location beyond which a value's pull no longer grows, in robust standard deviations."""
ROUNDS = 50
"""Times that a location is computed anew, at most."""
LOST = 1.1
"""Error of the location over that of a mean of what remains: the price of its robustness, for normal errors."""


@dataclass(frozen=True)
class Estimate:
    """A value with what is known of it."""

    value: float
    error: float
    """Standard error; infinite if a single part tells of it."""
    count: float
    """Independent parts that it comes from; weights may make that less than their number."""

    @property
    def evidence(self) -> float:
        """Size in standard errors."""
        return abs(self.value) / self.error if self.error > 0 else (math.inf if self.value else 0.0)

    @property
    def sure(self) -> bool:
        """Whether it is positive beyond its error."""
        return self.value > self.error


@dataclass(frozen=True)
class Verdict:
    """What was decided of a correction, and why."""

    state: State
    """applied; doubtful: applied, but look at it; not applied: the data do not bear it out; off: not asked for.
    Of what is only looked at: in order, doubtful or not checked."""
    gained: float = math.nan
    """Share of the difference, on what was left out, that the correction takes away; negative if that grows."""
    error: float = math.nan
    """Standard error of that share."""
    before: float = math.nan
    """Root mean square of the difference on what was left out, in units of the values."""
    after: float = math.nan
    """The same with the correction, learnt from the rest."""
    parts: int = 0
    """Parts that were left out in turn."""
    reason: str = ""
    """Why it is doubtful or not applied; of what is only looked at, what was seen."""

    @property
    def used(self) -> bool:
        """Whether the correction is applied."""
        return self.state in ("applied", "doubtful")


def location(
    values: Sequence[float] | F64Array,
    weights: Sequence[float] | F64Array,
    parts: Sequence[Hashable] | None = None,
    prior: tuple[float, float] = (0.0, 0.0),
) -> Estimate:
    """Weighted mean of which outliers do not get hold, with its standard error.

    Parameters
    ----------
    values, weights
        (n,) finite, weights not negative and not all 0.
    parts
        What each value belongs to; values of one part are not independent. By default each is a part of its own.
    prior
        Spread of the values that is expected, and how many values that expectation is worth: few values may lie close
        together by chance.

    Returns
    -------
    Estimate

    Notes
    -----
    Huber's location from the weighted median on, with the median absolute deviation for the scale [1]_; its error from
    the spread of the values, those beyond Huber's limit moved there, and the prior's [2]_.

    References
    ----------
    .. [1] P. J. Huber, E. M. Ronchetti, Robust Statistics, 2nd ed., Wiley, 2009.
    .. [2] G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression in microarray
       experiments, Statistical Applications in Genetics and Molecular Biology 3(1), 2004 (moderated variances).
    """
    v, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    centre = weighted_median(list(v), list(w))
    scale = 0.0
    for _ in range(ROUNDS):
        distance = np.abs(v - centre)
        scale = max(1.4826 * weighted_median(list(distance), list(w)), 1e-12 * (1 + abs(centre)))
        pull = w * np.minimum(1, HUBER * scale / np.maximum(distance, 1e-300))
        before, centre = centre, float(pull @ v / pull.sum())
        if abs(centre - before) <= 1e-6 * scale:
            break
    left = np.clip(v - centre, -HUBER * scale, HUBER * scale)
    each = w if parts is None else np.array([w[[p == q for p in parts]].sum() for q in dict.fromkeys(parts)])
    count = min(w.sum() ** 2 / np.square(w).sum(), each.sum() ** 2 / np.square(each).sum())
    spread, worth = prior
    free = max(count - 1, 0.0) + worth
    if count < 1 + 1e-9 and not worth:
        return Estimate(centre, math.inf, float(count))
    alone = float(w @ np.square(left) / w.sum()) * count / max(count - 1, 1e-9) if count > 1 + 1e-9 else 0.0
    variance = (max(count - 1, 0.0) * alone + worth * spread**2) / free
    return Estimate(centre, LOST * math.sqrt(variance / count), float(count))


def gain(before: F64Array, after: F64Array, weights: F64Array, parts: Sequence[Hashable]) -> tuple[float, Estimate]:
    """What a correction gains on the parts left out.

    Parameters
    ----------
    before, after
        (n,) log of the root mean square difference of each piece left out, without and with the correction.
    weights
        (n,) of the pieces.
    parts
        (n,) what each piece belongs to.

    Returns
    -------
    share, estimate
        The share of the difference that goes away, and the mean of ``before - after`` with its standard error.
    """
    names = list(dict.fromkeys(parts))
    inside = [np.array([p == q for p in parts]) for q in names]
    w = np.array([weights[m].sum() for m in inside])
    drop = np.array([weights[m] @ (before - after)[m] / weights[m].sum() for m in inside])
    mean = float(w @ drop / w.sum())
    count = float(w.sum() ** 2 / np.square(w).sum())
    error = math.inf
    if count > 1 + 1e-9:
        error = math.sqrt(float(w @ np.square(drop - mean) / w.sum()) / (count - 1))
    return 1 - math.exp(-mean), Estimate(mean, error, count)
