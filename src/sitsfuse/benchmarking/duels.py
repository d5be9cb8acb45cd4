"""Two methods against each other: who wins, by how much, and how likely that is by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..core.arrays import F64Array
from ..stats.paired import signed_rank
from .measures import Measure


@dataclass(frozen=True)
class Duel:
    """Two methods on the pairs that both have."""

    measure: Measure
    pairs: int
    ours: float
    """Mean of the first."""
    theirs: float
    better: bool
    """Whether the first is better, by the sum of signed ranks."""
    chance: float
    """Of such differences if there were none, two-sided."""

    @classmethod
    def of(cls, measure: Measure, ours: F64Array, theirs: F64Array) -> Duel:
        """Compare (pair,) values."""
        known = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[known], theirs[known]
        if not known.any():
            return cls(measure, 0, float("nan"), float("nan"), False, 1.0)
        gain = (ours - theirs) * (1 if measure.higher else -1)
        ranks = stats.rankdata(np.abs(gain)) * np.sign(gain)
        means = float(ours.mean()), float(theirs.mean())
        return cls(measure, int(known.sum()), *means, bool(ranks.sum() > 0), signed_rank(gain))

    def told(self, chance: float) -> str:
        """In words, with the corrected chance."""
        digits = 3 if self.measure.higher else 4
        return f"{self.measure.label} {self.ours:.{digits}f} and {self.theirs:.{digits}f} ({chance_text(chance)})"


def chance_text(chance: float) -> str:
    """How likely chance alone is."""
    return "p < 0.001" if chance < 0.001 else f"p = {chance:.2g}"
