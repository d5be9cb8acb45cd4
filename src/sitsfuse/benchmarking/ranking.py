"""Which method is better, and how sure that is: means with intervals, ranks, and tests on pairs of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ..core.arrays import F64Array
from ..stats.paired import bootstrap, holm, interval, scene_means, scenes, signed_rank
from .measures import HEADLINE, Measure
from .protocols import STANDARD
from .scores import Codes, Scores

ALPHA = 0.05
"""Chance of a false alarm that tests are allowed, over all that are made together."""
FEWEST = 6
"""Fewest independent scenes of a test and of an interval: with fewer, a signed-rank test cannot reach 5 % on both
sides (2 / 2⁵ > 0.05)."""
ENOUGH = 0.5
"""Least share of the predictions that a method must have to be compared."""


@dataclass(frozen=True)
class Cell:
    """A method's mean of a measure over the pairs compared."""

    mean: float
    low: float
    """Lower end of its 95 % interval; NaN with too few scenes."""
    high: float
    chance: float
    """Holm-corrected chance of such differences from the best method, if there were none; NaN for the best itself,
    and with too few scenes."""
    best: bool

    @property
    def tied(self) -> bool:
        """Whether a test was made and cannot tell it from the best."""
        return self.chance >= ALPHA

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval; None if there is none."""
        return (self.low, self.high) if np.isfinite(self.low) else None


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
    scenes: int
    """Independent ones among the pairs, on which tests and intervals are."""
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
    cube: F64Array = np.stack([scores.get(m, protocol)[at] for m in measures], axis=-1)
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
        len(set(scenes(where["site"], where["date"]))),
        any_pair - len(where),
        int(where["site"].nunique()),
        apart,
        missing,
    )


def _cells(values: F64Array, signed: F64Array, where: pd.DataFrame) -> list[Cell]:
    """A cell per method, of (pair, method) values of one measure."""
    number = scenes(where["site"], where["date"])
    enough = number.max() + 1 >= FEWEST
    unknown = np.full(values.shape[1], np.nan)
    low, high = interval(bootstrap(values, where["site"], where["date"])) if enough else (unknown, unknown)
    means = values.mean(axis=0)
    best = int(np.argmin(signed.mean(axis=0)))
    others = [j for j in range(len(means)) if j != best]
    chances = np.full(len(means), np.nan)
    if enough and others:
        each = scene_means(signed - signed[:, [best]], number)
        chances[others] = holm([signed_rank(each[:, j]) for j in others])
    return [
        Cell(float(means[j]), float(low[j]), float(high[j]), float(chances[j]), j == best) for j in range(len(means))
    ]
