"""Which method is better, and how sure that is: means with intervals, ranks, and tests on pairs of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from .protocols import STANDARD
from .scores import HEADLINE, Array, Codes, Measure, Scores

DRAWS = 2000
"""Times that pairs are drawn anew for an interval."""
LEVEL = 0.95
"""Share of those draws that an interval holds."""
ALPHA = 0.05
"""Chance of a false alarm that tests are allowed, over all that are made together."""
FEWEST = 6
"""Fewest pairs of a test: with fewer, a signed-rank test cannot reach 5 % on both sides (2 / 2⁵ > 0.05)."""
ENOUGH = 0.5
"""Least share of the predictions that a method must have to be compared."""


# --- intervals -------------------------------------------------------------------------------------------------


def block_length(dates: int) -> int:
    """Dates in a block: the cube root of their number, which is of the best order for the variance of a mean [1]_.

    References
    ----------
    .. [1] P. Hall, J. L. Horowitz and B.-Y. Jing, "On blocking rules for the bootstrap with dependent data",
       Biometrika 82, 1995.
    """
    return max(1, round(float(np.cbrt(dates))))


def bootstrap(values: Array, sites: npt.ArrayLike, dates: npt.ArrayLike, draws: int = DRAWS, seed: int = 0) -> Array:
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


def _blocks(rows: Array, times: int, rng: np.random.Generator) -> Array:
    """(times, column) sums over as many rows as there are, drawn in circular blocks."""
    count, length = len(rows), block_length(len(rows))
    whole, rest = divmod(count, length)
    running = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(np.concatenate([rows, rows]), axis=0)])
    total = np.zeros((times, rows.shape[1]))
    for size in [length] * whole + [rest] * bool(rest):
        start = rng.integers(0, count, times)
        total += (running[size:] - running[:-size])[start]
    return total


def interval(means: Array) -> tuple[Array, Array]:
    """Lower and upper ends of the central 95 % of draws (draw, …)."""
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return low, high


# --- tests -----------------------------------------------------------------------------------------------------


def signed_rank(differences: Array, alternative: str = "two-sided") -> float:
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


# --- the ranking -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A method's mean of a measure over the pairs compared."""

    mean: float
    low: float
    """Lower end of its 95 % interval."""
    high: float
    chance: float
    """Holm-corrected chance of such differences from the best method, if there were none; NaN for the best itself,
    and with too few pairs."""
    best: bool

    @property
    def tied(self) -> bool:
        """Whether it cannot be told from the best."""
        return not self.best and not self.chance < ALPHA


@dataclass(frozen=True)
class Place:
    """A method in the ranking."""

    method: str
    rank: float
    """Mean over pairs and measures of its rank, 1 for the best."""
    cells: Mapping[Measure, Cell]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Methods by their mean rank, the best first."""

    ratio: float | None
    """None: all ratios."""
    measures: tuple[Measure, ...]
    places: tuple[Place, ...]
    rows: Codes
    """Positions of the pairs compared, those that all methods have, among those of the scores."""
    left_out: int
    """Pairs that only some of the methods have."""
    sites: int
    apart: Mapping[str, int]
    """Methods with too few pairs to be compared, with how many they have."""
    missing: Mapping[str, int]
    """Methods compared that miss some of the pairs, with how many."""

    @property
    def pairs(self) -> int:
        """How many are compared."""
        return len(self.rows)


def ranking(
    scores: Scores, ratio: float | None = None, measures: Sequence[Measure] = (), protocol: str = STANDARD
) -> Ranking:
    """Rank the methods at a ratio, or over all.

    Parameters
    ----------
    measures
        What to rank by; by default :meth:`Scores.headline`.

    Notes
    -----
    A method is compared if it has at least half of the pairs of the method that has most; a pair is compared if all
    those methods have all measures of it. The best of a measure is the method with the best mean.
    """
    measures = tuple(measures) or tuple(scores.headline(ratio)) or HEADLINE
    at = scores.at(ratio)
    cube: Array = np.stack([scores.get(m, protocol)[at] for m in measures], axis=-1)
    there: npt.NDArray[np.bool_] = np.asarray(np.isfinite(cube).all(axis=-1), bool)
    counts = there.sum(axis=0)
    any_pair = int(there.any(axis=1).sum())
    most = int(counts.max()) if counts.size else 0
    compared = (counts >= max(1.0, ENOUGH * most)) if most else np.zeros(len(scores.methods), bool)
    names = [m for m, c in zip(scores.methods, compared, strict=True) if c]
    apart = {m: int(n) for m, n, c in zip(scores.methods, counts, compared, strict=True) if not c}
    common = np.asarray(there[:, compared].all(axis=1), bool) & bool(names)
    missing = {m: any_pair - int(n) for m, n in zip(scores.methods, counts, strict=True) if m in names and n < any_pair}
    rows = np.flatnonzero(at)[common]
    where = scores.pairs.loc[rows]
    places: list[Place] = []
    if len(where):
        cube = cube[common][:, compared]
        # The smaller the better from here on.
        signed = cube * np.array([-1.0 if m.higher else 1.0 for m in measures])
        ranks = stats.rankdata(signed, axis=1).mean(axis=(0, 2))
        cells = [_cells(cube[..., k], signed[..., k], where) for k in range(len(measures))]
        places = [
            Place(name, float(ranks[j]), {m: column[j] for m, column in zip(measures, cells, strict=True)})
            for j, name in enumerate(names)
        ]
    return Ranking(
        ratio,
        measures,
        tuple(sorted(places, key=lambda p: p.rank)),
        rows,
        any_pair - len(where),
        int(where["site"].nunique()),
        apart,
        missing,
    )


def _cells(values: Array, signed: Array, where: pd.DataFrame) -> list[Cell]:
    """A cell per method, of (pair, method) values of one measure."""
    low, high = interval(bootstrap(values, where["site"], where["date"]))
    means = values.mean(axis=0)
    best = int(np.argmin(signed.mean(axis=0)))
    others = [j for j in range(len(means)) if j != best]
    chances = np.full(len(means), np.nan)
    if len(values) >= FEWEST and others:
        chances[others] = holm([signed_rank(signed[:, j] - signed[:, best]) for j in others])
    return [
        Cell(float(means[j]), float(low[j]), float(high[j]), float(chances[j]), j == best) for j in range(len(means))
    ]
