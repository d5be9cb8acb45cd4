"""Paired comparisons over scenes that are not independent: block bootstrap, signed ranks, Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..core.arrays import F64Array, IntArray

DRAWS = 2000
"""Times that pairs are drawn anew for an interval."""
LEVEL = 0.95
"""Share of those draws that an interval holds."""


def block_length(dates: int) -> int:
    """Dates in a block: the cube root of their number, which is of the best order for the variance of a mean [1]_.

    References
    ----------
    .. [1] P. Hall, J. L. Horowitz and B.-Y. Jing, "On blocking rules for the bootstrap with dependent data",
       Biometrika 82, 1995.
    """
    return max(1, round(float(np.cbrt(dates))))


def scenes(sites: npt.ArrayLike, dates: npt.ArrayLike) -> IntArray:
    """Number pairs by what may count as an independent scene.

    Ratios of one site and date see the same land under the same guides, and consecutive dates resemble each other:
    of a site with n dates there are ``ceil(n ** (2 / 3))`` blocks of consecutive dates, about a cube root of n long as
    those of :func:`bootstrap`, and the pairs of a block are one scene.

    Parameters
    ----------
    sites, dates
        (pair,) site and date of each.

    Returns
    -------
    numpy.ndarray
        (pair,) numbers of scenes, 0, 1 … without gaps.
    """
    site, date = (pd.factorize(np.asarray(c), sort=True)[0] for c in (sites, dates))
    number, count = np.zeros(len(site), np.int64), 0
    for k in range(int(site.max(initial=-1)) + 1):
        rank = np.unique(date[site == k], return_inverse=True)[1]
        days = int(rank.max()) + 1
        blocks = math.ceil(days ** (2 / 3) - 1e-9)
        number[site == k] = count + rank * blocks // days
        count += blocks
    return number


def scene_means(values: F64Array, number: IntArray) -> F64Array:
    """(scene, …) means over the pairs (pair, …) of each scene, of numbers as :func:`scenes` gives them."""
    count = np.bincount(number).reshape(-1, *(1,) * (values.ndim - 1))
    sums = np.zeros((len(count), *values.shape[1:]))
    np.add.at(sums, number, values)
    return np.asarray(sums / count)


def bootstrap(
    values: F64Array, sites: npt.ArrayLike, dates: npt.ArrayLike, draws: int = DRAWS, seed: int = 0
) -> F64Array:
    """Means over pairs, of pairs drawn anew: sites first, then blocks of consecutive dates within each [1]_.

    Parameters
    ----------
    values
        (pair, method) finite values.
    sites, dates
        (pair,) site and date of each; pairs of one site and date, at several ratios, are drawn together.
    draws
        How many means.
    seed
        Of the draws.

    Returns
    -------
    means
        (draw, method). The methods' means of one draw are of the same pairs, so that their differences and quotients
        have intervals as well. With one site, only its dates are drawn.

    Notes
    -----
    Blocks have :func:`block_length` dates and run over the end to the beginning. As many sites are drawn as there
    are, with replacement, and as many dates as a site has.

    References
    ----------
    .. [1] D. N. Politis and J. P. Romano, "A circular block-resampling procedure for stationary data", in Exploring
       the Limits of Bootstrap, Wiley, 1992.
    """
    rng = np.random.default_rng(seed)
    site, date = (pd.factorize(np.asarray(c), sort=True)[0] for c in (sites, dates))
    count = int(site.max()) + 1
    drawn = rng.integers(0, count, (draws, count))
    sums, sizes = np.zeros((draws, values.shape[1])), np.zeros(draws)
    for k in range(count):
        times = (drawn == k).sum(axis=1)
        which = np.repeat(np.arange(draws), times)
        days, place = np.unique(date[site == k], return_inverse=True)
        # One row per date: the sum over its pairs, and their number behind.
        rows = np.zeros((len(days), values.shape[1] + 1))
        np.add.at(rows, place, np.column_stack([values[site == k], np.ones(len(place))]))
        picked = _blocks(rows, len(which), rng)
        for column in range(values.shape[1]):
            sums[:, column] += np.bincount(which, picked[:, column], draws)
        sizes += np.bincount(which, picked[:, -1], draws)
    return np.asarray(sums / sizes[:, None])


def _blocks(rows: F64Array, times: int, rng: np.random.Generator) -> F64Array:
    """(times, column) sums over as many rows as there are, drawn in circular blocks."""
    count, length = len(rows), block_length(len(rows))
    whole, rest = divmod(count, length)
    running = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(np.concatenate([rows, rows]), axis=0)])
    total = np.zeros((times, rows.shape[1]))
    for size in [length] * whole + [rest] * bool(rest):
        start = rng.integers(0, count, times)
        total += (running[size:] - running[:-size])[start]
    return total


def interval(means: F64Array) -> tuple[F64Array, F64Array]:
    """Lower and upper ends of the central 95 % of draws (draw, …)."""
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


def signed_rank(differences: F64Array, alternative: str = "two-sided") -> float:
    """Chance of such differences if their median were 0: Wilcoxon's signed-rank test [1]_; 1 if all are 0.

    References
    ----------
    .. [1] F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
    """
    known = differences[np.isfinite(differences) & (differences != 0)]
    return float(stats.wilcoxon(known, alternative=alternative).pvalue) if known.size else 1.0


def holm(chances: Sequence[float]) -> list[float]:
    """Chances corrected for having made several tests [1]_.

    References
    ----------
    .. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.
    """
    order = np.argsort(chances)
    steps = np.asarray(chances, float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(p) for p in corrected]
