"""Two methods against each other: who wins, by how much, and how likely that is by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ..core.arrays import F64Array
from ..stats.paired import scene_means, scenes, signed_rank
from .measures import Measure


@dataclass(frozen=True)
class Duel:
    """Two methods on the pairs that both have."""

    measure: Measure
    pairs: int
    scenes: int
    """Independent ones among the pairs, on which the test is: see :func:`sitsfuse.stats.paired.scenes`."""
    ours: float
    """Mean of the first."""
    theirs: float
    better: bool
    """Whether the first is better, by the sum of signed ranks."""
    chance: float
    """Of such differences if there were none, two-sided."""

    @classmethod
    def of(cls, measure: Measure, ours: F64Array, theirs: F64Array, pairs: pd.DataFrame) -> Duel:
        """Compare (pair,) values; ``pairs`` tells their ``site`` and ``date``."""
        known = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[known], theirs[known]
        if not known.any():
            return cls(measure, 0, 0, float("nan"), float("nan"), False, 1.0)
        number = scenes(pairs["site"][known], pairs["date"][known])
        gain = scene_means((ours - theirs) * (1 if measure.higher else -1), number)
        ranks = stats.rankdata(np.abs(gain)) * np.sign(gain)
        means = float(ours.mean()), float(theirs.mean())
        return cls(measure, int(known.sum()), len(gain), *means, bool(ranks.sum() > 0), signed_rank(gain))

    def told(self, chance: float) -> str:
        """In words, with the corrected chance."""
        digits = 3 if self.measure.higher else 4
        return f"{self.measure.label} {self.ours:.{digits}f} and {self.theirs:.{digits}f} ({chance_text(chance)})"


def chance_text(chance: float) -> str:
    """How likely chance alone is."""
    return "p < 0.001" if chance < 0.001 else f"p = {chance:.2g}"
