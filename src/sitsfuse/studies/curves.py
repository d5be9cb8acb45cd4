"""What a study tells: measures against the level of a disturbance, and the level from which it hurts.

A pair is a prediction of a site, LR series, date and seed; only pairs that have every level count. Intervals are those
of :func:`sitsfuse.stats.paired.bootstrap`: sites are drawn anew, within each blocks of dates with all their seeds.
With fewer than six independent scenes there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..benchmarking.claims import ONE_SERIES
from ..benchmarking.configuration import PlannedStudy
from ..benchmarking.measures import EDGES, NDVI, RMSE, Measure
from ..benchmarking.ranking import FEWEST
from ..core.arrays import F64Array
from ..stats.paired import bootstrap, interval, scenes
from .disturbances import VARIANTS, Disturbance
from .sites import RATIO, SCALE

LIMITS: Mapping[Measure, tuple[float, str]] = {
    NDVI: (2.0, "doubles"),
    RMSE: (1.1, "is 10 % higher"),
    EDGES: (0.9, "is 10 % lower"),
}
"""By measure, what a disturbance may make of its undisturbed value, and in words."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A measure of a method against the level of a disturbance."""

    variant: str
    method: str
    measure: Measure
    levels: F64Array
    """(level,) the undisturbed first."""
    means: F64Array
    """(level,) over the pairs."""
    draws: F64Array | None
    """(draw, level) means of pairs drawn anew; None with too few scenes."""
    pairs: int
    scenes: int

    @property
    def ends(self) -> tuple[F64Array, F64Array] | None:
        """(level,) ends of the 95 % intervals."""
        return None if self.draws is None else interval(self.draws)


@dataclass(frozen=True)
class Verdict:
    """From which level a disturbance makes a measure so much worse."""

    variant: str
    method: str
    measure: Measure
    limit: str
    """What happens at that level, in words."""
    level: float
    """Interpolated between the levels tried; infinite if it does not happen within them."""
    low: float
    """Ends of the 95 % interval of the level; NaN with too few scenes, infinite beyond the levels tried."""
    high: float
    most: float
    """Largest level tried."""


def observations(table: pd.DataFrame, about: PlannedStudy, measures: Sequence[Measure]) -> pd.DataFrame:
    """The table of a study with a row per prediction and measure.

    Returns
    -------
    pandas.DataFrame
        ``variant``, ``level``, ``seed``, ``site``, ``target``, ``date``, ``method``, ``measure``, ``value``.
    """
    parts = []
    for measure in measures:
        metric, band, stratum = measure.key
        rows = table[(table["metric"] == metric) & (table["band"] == band) & (table["stratum"] == stratum)]
        parts.append(rows.assign(measure=measure.label))
    found = pd.concat(parts, ignore_index=True) if parts else table.iloc[:0].assign(measure="")
    if about.kind == RATIO:
        found = found.assign(variant=RATIO, level=found["ratio"].round(2), seed=0, target="")
    elif about.kind == SCALE:
        bases = found["site"].map(about.bases)
        found = found.assign(variant=SCALE, level=bases.str[1].astype(float), seed=0, site=bases.str[0])
    else:
        told = {text: Disturbance.parse(text) for text in found["protocol"].unique()}
        for name in ("variant", "level", "seed"):
            found[name] = [getattr(told[text], name) for text in found["protocol"]]
    found["date"] = found["date"].astype(str).str.slice(0, 10)
    return found[["variant", "level", "seed", "site", "target", "date", "method", "measure", "value"]]


def curves(found: pd.DataFrame, about: PlannedStudy, measures: Sequence[Measure]) -> Iterator[Curve]:
    """Every variant, measure and method of :func:`observations`."""
    names = {m.label: m for m in measures}
    for (variant, label, method), rows in found.groupby(["variant", "measure", "method"], sort=False):
        levels = np.array([v for v in about.levels[str(variant)] if v in set(rows["level"])], float)
        key = ["site", "target", "date"]
        wide = rows.pivot_table(index=[*key, "seed"], columns="level", values="value").reindex(columns=levels)
        if about.kind not in (RATIO, SCALE):
            wide = _with_base(wide, float(levels[0]))
        wide = wide.dropna()
        if wide.empty or len(levels) < 2:
            continue
        values = wide.to_numpy(float)
        site, date = wide.index.get_level_values("site"), wide.index.get_level_values("date")
        count = len(set(scenes(site, date)))
        draws = bootstrap(values, site, date) if count >= FEWEST else None
        yield Curve(str(variant), str(method), names[str(label)], levels, values.mean(axis=0), draws, len(wide), count)


def _with_base(wide: pd.DataFrame, base: float) -> pd.DataFrame:
    """The undisturbed value, which has one seed, beside all others."""
    places = [str(name) for name in wide.index.names if name != "seed"]
    one = wide[base].groupby(level=places).first()
    more = wide.drop(columns=base).dropna(how="all")
    keys = pd.MultiIndex.from_arrays([more.index.get_level_values(n) for n in places])
    more[base] = one.reindex(keys).to_numpy()
    return more[list(wide.columns)]


def verdict(curve: Curve) -> Verdict | None:
    """From which level a curve passes the limit of its measure; None if it has none, or the undisturbed is 0."""
    limit = LIMITS.get(curve.measure)
    if limit is None or curve.means[0] <= 0:
        return None
    factor, words = limit
    level = crossing(curve.levels, curve.means, factor)
    low = high = float("nan")
    if curve.draws is not None:
        each = np.array([crossing(curve.levels, draw, factor) for draw in curve.draws])
        # By ranks: beyond the levels tried there is no number to interpolate.
        low, high = (float(v) for v in np.quantile(each, (0.025, 0.975), method="nearest"))
    return Verdict(curve.variant, curve.method, curve.measure, words, level, low, high, float(curve.levels.max()))


def crossing(levels: F64Array, values: F64Array, factor: float) -> float:
    """The first level at which values reach ``factor`` times the first one, linear between levels; else infinite."""
    return passing(levels, values / values[0], factor)


def passing(levels: F64Array, share: F64Array, limit: float) -> float:
    """The first level at which shares reach a limit, from below if it is above 1; else infinite."""
    beyond = share >= limit if limit > 1 else share <= limit
    if not beyond.any():
        return float("inf")
    k = int(np.argmax(beyond))
    if k == 0:
        return float(levels[0])
    step = (limit - share[k - 1]) / (share[k] - share[k - 1])
    return float(levels[k - 1] + step * (levels[k] - levels[k - 1]))


def label_of(variant: str) -> tuple[str, str]:
    """What a variant disturbs, in words, and the unit of its levels."""
    if variant == RATIO:
        return "LR over HR pixel size", "ratio"
    if variant == SCALE:
        return "HR and LR pixels enlarged together", "times"
    return VARIANTS[variant].about, VARIANTS[variant].unit


SINGLE = ("carn", "spatial")
"""Methods that enlarge LR images alone; the first that is there stands for super-resolution."""
COMPETITIVE = 1.1
"""Error of super-resolution over that of the best method of both series up to which it is competitive."""


def competitive(every: Sequence[Curve]) -> Verdict | None:
    """From which ratio on the error of super-resolution exceeds that of the best mix of both series by 10 %.

    None if there is neither; the best is chosen per ratio, by the means of all pairs.
    """
    held = {c.method: c for c in every if c.measure == RMSE and c.variant == RATIO}
    single = next((held[m] for m in SINGLE if m in held), None)
    mixes = [c for m, c in held.items() if m not in (*ONE_SERIES, *SINGLE)]
    if single is None or not mixes or len({c.pairs for c in (single, *mixes)}) > 1:
        return None
    best = np.argmin([c.means for c in mixes], axis=0)

    def level(ours: F64Array, theirs: Sequence[F64Array]) -> float:
        quotient = ours / np.array([theirs[b][k] for k, b in enumerate(best)])
        return passing(single.levels, quotient, COMPETITIVE)

    low = high = float("nan")
    if single.draws is not None:
        drawn = [c.draws for c in mixes if c.draws is not None]
        each = np.array([level(row, [d[i] for d in drawn]) for i, row in enumerate(single.draws)])
        low, high = (float(v) for v in np.quantile(each, (0.025, 0.975), method="nearest"))
    found = level(single.means, [c.means for c in mixes])
    words = "exceeds that of the best mix of both series by 10 %"
    return Verdict(RATIO, single.method, RMSE, words, found, low, high, float(single.levels.max()))
