"""What the Sentinel-HR study concluded, put to the test by the pairs of a benchmark.

A claim is confirmed or refuted only by a test on pairs: what may be chance is undecided. All tests are at 5 %,
corrected after Holm over the tests that one claim needs. Ratios of one date and neighbouring dates of a site count as
one scene, see :func:`sitsfuse.stats.paired.scenes`; with fewer than six scenes nothing is tested.

References
----------
J. Michel, O. Hagolle, J. Inglada and J. Vinasco, "Sentinel-2 data at 2m every 2 days: Assessment of spatio-temporal
fusion algorithms between the Sentinel-HR and Sentinel-2 (NG) missions", Living Planet Symposium, 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from ..core.arrays import BoolArray, F64Array
from ..stats.paired import holm, scene_means, scenes, signed_rank
from .configuration import Configuration
from .duels import Duel, chance_text
from .measures import EDGES, NDVI, RMSE, Measure
from .protocols import GUIDE_GAP, STANDARD, Protocol
from .ranking import ALPHA, FEWEST
from .scores import Scores

CONFIRMED, REFUTED, UNDECIDED, UNTESTABLE = "confirmed", "refuted", "undecided", "not testable"
DDI, CARN = "ddi", "carn"
TRIVIAL = ("temporal", "spatial")
"""Interpolation of one of the two series."""
ONE_SERIES = (*TRIVIAL, CARN)
"""Methods that look at one of the two series alone when they predict."""
NEAR = 0.5
"""How far a ratio may lie from 5 or 2.5 and still count as that."""
MARGIN = 0.10
"""By how much the error of a competitive method may exceed that of the other."""
REVISITS = ((12.0, 20.0), (20.0, 30.0))
"""Halves of the range of revisits for which the results are said to hold, in days."""
LIMITS = {"blue": 0.01, "green": 0.01, "red": 0.01, "nir": 0.15}
"""What 99 % of the absolute errors are said to stay below, in reflectance."""
SHARE = 0.75
"""On more than which share of the scenes."""


@dataclass(frozen=True)
class Claim:
    """A claim and what became of it."""

    text: str
    verdict: str
    """confirmed, refuted, undecided or not testable."""
    evidence: str
    """Why, in a sentence or two with the numbers."""
    criterion: str
    """What it takes to confirm it."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The numbers of the evidence, by name."""


def claims(scores: Scores, config: Configuration) -> list[Claim]:
    """The six claims, in their order.

    Parameters
    ----------
    scores
        Of the benchmark's table.
    config
        Of the benchmark; the sites' ``guides`` are looked at.
    """
    return [
        ddi_beats_carn(scores),
        carn_competes(scores),
        mixing_pays(scores),
        preparation_matters(),
        revisits_hold(scores, config),
        errors_are_small(scores),
    ]


def ddi_beats_carn(scores: Scores) -> Claim:
    """1: DDI beats CARN at ×5."""
    text = "DDI beats CARN at ×5"
    criterion = "DDI is significantly better in RMSE, CE90 of NDVI and structure of the red band"
    duels = [_duel(scores, m, DDI, CARN, _near(scores, 5.0)) for m in _there(scores, (RMSE, NDVI, EDGES))]
    if not _enough(duels):
        return Claim(text, UNTESTABLE, _too_few(scores, (DDI, CARN), duels, " at ×5"), criterion)
    chances = holm([d.chance for d in duels])
    wins, losses = _count(duels, chances)
    verdict = CONFIRMED if wins == len(duels) else REFUTED if losses > wins else UNDECIDED
    told = "; ".join(d.told(p) for d, p in zip(duels, chances, strict=True))
    evidence = f"On {duels[0].pairs} pairs, means of DDI and CARN: {told}."
    return Claim(text, verdict, evidence, criterion, _numbers(duels, chances))


def carn_competes(scores: Scores) -> Claim:
    """2: CARN is competitive at ×2.5."""
    text = "CARN is competitive at ×2.5"
    criterion = f"its RMSE and its CE90 of NDVI are significantly less than {1 + MARGIN:g} times those of DDI"
    at, measures = _near(scores, 2.5), _there(scores, (RMSE, NDVI))
    duels = [_duel(scores, m, CARN, DDI, at) for m in measures]
    if not _enough(duels):
        return Claim(text, UNTESTABLE, _too_few(scores, (DDI, CARN), duels, " at ×2.5"), criterion)
    within, beyond, parts, numbers = [], [], [], {}
    for measure in measures:
        ours, theirs = (scores.one(measure, name)[at] for name in (CARN, DDI))
        known = (ours > 0) & (theirs > 0)
        quotient, where = ours[known] / theirs[known], scores.pairs[at][known]
        excess = scene_means(np.log(quotient / (1 + MARGIN)), scenes(where["site"], where["date"]))
        within.append(signed_rank(excess, "less"))
        beyond.append(signed_rank(excess, "greater"))
        numbers[f"quotient of {measure.label}"] = float(np.median(quotient))
    both = [holm(within), holm(beyond)]
    for measure, inside, outside in zip(measures, *both, strict=True):
        median = numbers[f"quotient of {measure.label}"]
        least = min(inside, outside)
        parts.append(f"{measure.label} {median:.2f} times that of DDI ({chance_text(least)} against {1 + MARGIN:g})")
    verdict = UNDECIDED
    if all(p < ALPHA for p in both[0]):
        verdict = CONFIRMED
    elif any(p < ALPHA for p in both[1]):
        verdict = REFUTED
    evidence = f"On {duels[0].pairs} pairs, in the median CARN has {' and '.join(parts)}."
    return Claim(text, verdict, evidence, criterion, numbers)


def mixing_pays(scores: Scores) -> Claim:
    """3: any mix of both series beats temporal interpolation."""
    text = "Any mix of both series beats temporal interpolation"
    criterion = (
        "every method that uses both is significantly better than temporal in RMSE and CE90 of NDVI at every ratio"
    )
    mixes = [m for m in scores.methods if m not in ONE_SERIES]
    found = [
        (name, ratio, _duel(scores, measure, name, "temporal", scores.at(ratio)))
        for ratio in scores.ratios
        for name in mixes
        for measure in _there(scores, (RMSE, NDVI))
    ]
    tested = [entry for entry in found if entry[2].scenes >= FEWEST]
    if not tested:
        return Claim(text, UNTESTABLE, _too_few(scores, ("temporal",), [d for *_, d in found]), criterion)
    chances = holm([d.chance for *_, d in tested])
    better = [d.better and p < ALPHA for (*_, d), p in zip(tested, chances, strict=True)]
    worse = [not d.better and p < ALPHA for (*_, d), p in zip(tested, chances, strict=True)]
    verdict = REFUTED if any(worse) else CONFIRMED if all(better) and len(tested) == len(found) else UNDECIDED
    evidence = f"{sum(better)} of {len(found)} comparisons (method, ratio and measure) are won significantly"
    evidence += f", {sum(worse)} lost." if any(worse) else ", none is lost."
    for flags, word in ((worse, "Worse"), ([not b and not w for b, w in zip(better, worse, strict=True)], "Open")):
        names = dict.fromkeys(
            f"{name} at ×{ratio:g} in {d.measure.label}" for (name, ratio, d), f in zip(tested, flags, strict=True) if f
        )
        evidence += f" {word}: {_listed(list(names))}." if names else ""
    numbers = {"comparisons": float(len(found)), "won": float(sum(better)), "lost": float(sum(worse))}
    return Claim(text, verdict, evidence, criterion, numbers)


def preparation_matters() -> Claim:
    """4: registration and spectral harmonisation are mandatory."""
    return Claim(
        "Registration and spectral harmonisation are mandatory",
        UNTESTABLE,
        "A benchmark sees each site in one preparation. Runs over the same images, prepared with and without either "
        "step, would test it.",
        "a run without the step is significantly worse than one with it, on the same pairs",
    )


def revisits_hold(scores: Scores, config: Configuration) -> Claim:
    """5: the results hold for a revisit of 12 to 30 days."""
    text = "The results hold for a revisit of 12 to 30 days"
    criterion = (
        "DDI has a significantly smaller RMSE than both trivial methods where the guides around the date are "
        "12–20 days apart, and where they are 20–30 days apart"
    )
    gaps = guide_gaps(scores, config)
    duels, names = [], []
    for low, high in REVISITS:
        for other in TRIVIAL:
            ours, theirs = _over_gaps(scores, gaps, other, low, high)
            duels.append(Duel.of(RMSE, ours, theirs, scores.pairs))
            names.append(f"{low:g}–{high:g} days against {other}")
    counts = ", ".join(
        f"{d.pairs} of {low:g}–{high:g} days" for d, (low, high) in zip(duels[::2], REVISITS, strict=True)
    )
    numbers = {
        f"pairs of {low:g}–{high:g} days": float(d.pairs) for d, (low, high) in zip(duels[::2], REVISITS, strict=True)
    }
    if not _enough(duels):
        evidence = f"Too few scenes with such guides (pairs: {counts}; {FEWEST} independent scenes are needed of each)."
        lacking = [m for m in (DDI, *TRIVIAL) if m not in scores.methods]
        evidence = f"{_listed(lacking)} did not run." if lacking else evidence
        return Claim(text, UNTESTABLE, evidence, criterion, numbers)
    chances = holm([d.chance for d in duels])
    wins, losses = _count(duels, chances)
    verdict = CONFIRMED if wins == len(duels) else REFUTED if losses else UNDECIDED
    told = "; ".join(
        f"{name} {d.ours:.4f} instead of {d.theirs:.4f} ({chance_text(p)})"
        for name, d, p in zip(names, duels, chances, strict=True)
    )
    return Claim(text, verdict, f"Mean RMSE of DDI on pairs ({counts}): {told}.", criterion, numbers)


def errors_are_small(scores: Scores) -> Claim:
    """6: 99 % of the pixels have small errors on most scenes."""
    text = "99 % of pixels are below 0.01 (RGB) and 0.15 (NIR) on more than 75 % of scenes"
    criterion = "the share of DDI's scenes with CE99 below these limits in all four bands is significantly above 75 %"
    bands = [b for b in LIMITS if np.isfinite(scores.one(Measure("ce99", b), DDI)).any()]
    if len(bands) < len(LIMITS):
        lacking = [b for b in LIMITS if b not in bands]
        return Claim(text, UNTESTABLE, f"DDI has no CE99 of {_listed(lacking)}.", criterion)
    values = np.stack([scores.one(Measure("ce99", b), DDI) for b in LIMITS], axis=1)
    known = np.isfinite(values).all(axis=1)
    same = known & scores.pairs["same_day"].to_numpy(bool)
    # As in the study: only where the reference is of the predicted day, if there are such.
    known = same if same.any() else known
    below = values < np.array(list(LIMITS.values()))
    good: BoolArray = np.asarray(below.all(axis=1), bool)
    count, met = int(known.sum()), int(good[known].sum())
    where = scores.pairs[known]
    independent = len(set(scenes(where["site"], where["date"])))
    if independent < FEWEST:
        evidence = f"{met} of {count} predictions meet all limits, of {independent} independent scenes; a test needs"
        return Claim(text, UNTESTABLE, f"{evidence} {FEWEST}.", criterion, {"scenes": float(independent)})
    # The share is that of all pairs, what it is worth that of so many independent scenes.
    met_of = round(met / count * independent)
    test = [stats.binomtest(met_of, independent, SHARE, alternative=side).pvalue for side in ("greater", "less")]
    verdict = CONFIRMED if test[0] < ALPHA else REFUTED if test[1] < ALPHA else UNDECIDED
    shares = {b: float(below[known, k].mean()) for k, b in enumerate(LIMITS)}
    per_band = ", ".join(f"{b} {100 * share:.0f} %" for b, share in shares.items())
    ratios = [(r, known & scores.at(r)) for r in scores.ratios]
    per_ratio = ", ".join(f"×{r:g} {100 * good[at].mean():.0f} %" for r, at in ratios if at.any())
    day = " of the same day" if same.any() else ""
    evidence = (
        f"{met} of {count} predictions{day} ({100 * met / count:.0f} %) meet all limits "
        f"({chance_text(min(test))} against 75 %, as of {independent} independent scenes): {per_band}; {per_ratio}."
    )
    return Claim(text, verdict, evidence, criterion, {"share": met / count, "scenes": float(independent), **shares})


def guide_gaps(scores: Scores, config: Configuration) -> dict[str, F64Array]:
    """Days between the guides before and after each date, of those that a protocol leaves: per protocol, (pair,).

    Of the standard protocol and of gaps between guides; NaN where there is no guide on one side.
    """
    gaps = {}
    for text in scores.protocols:
        protocol = Protocol.parse(text)
        if protocol.kind not in (STANDARD, GUIDE_GAP):
            continue
        found = np.full(len(scores.pairs), np.nan)
        for k, (site, date) in enumerate(scores.pairs[["site", "date"]].itertuples(index=False)):
            guides = np.array(config.site(str(site)).guides, "datetime64[D]")
            day = np.datetime64(date, "D")
            away = (guides[protocol.guides(guides, day, day)] - day).astype(int)
            if (away < 0).any() and (away > 0).any():
                found[k] = away[away > 0].min() - away[away < 0].max()
        gaps[text] = found
    return gaps


def _over_gaps(
    scores: Scores, gaps: Mapping[str, F64Array], other: str, low: float, high: float
) -> tuple[F64Array, F64Array]:
    """(pair,) RMSE of DDI and of another method where the guides are so far apart; no pair twice."""
    ours, theirs = np.full(len(scores.pairs), np.nan), np.full(len(scores.pairs), np.nan)
    for protocol, gap in gaps.items():
        within = (gap >= low) & ((gap < high) | ((gap == high) & (high == REVISITS[-1][1])))
        a, b = scores.one(RMSE, DDI, protocol), scores.one(RMSE, other, protocol)
        new = within & np.isfinite(a) & np.isfinite(b) & ~np.isfinite(ours)
        ours[new], theirs[new] = a[new], b[new]
    return ours, theirs


def _duel(scores: Scores, measure: Measure, ours: str, theirs: str, at: BoolArray) -> Duel:
    return Duel.of(measure, scores.one(measure, ours)[at], scores.one(measure, theirs)[at], scores.pairs[at])


def _count(duels: Sequence[Duel], chances: Sequence[float]) -> tuple[int, int]:
    """Duels won and lost significantly."""
    sure = [d.better for d, p in zip(duels, chances, strict=True) if p < ALPHA]
    return sum(sure), len(sure) - sum(sure)


def _enough(duels: Sequence[Duel]) -> bool:
    return bool(duels) and all(d.scenes >= FEWEST for d in duels)


def _near(scores: Scores, ratio: float) -> BoolArray:
    """(pair,) which are of about a ratio."""
    return np.asarray(np.abs(scores.pairs["ratio"].to_numpy(float) - ratio) <= NEAR, bool)


def _there(scores: Scores, measures: Sequence[Measure]) -> list[Measure]:
    """Those that there are values of."""
    return [m for m in measures if np.isfinite(scores.get(m)).any()]


def _too_few(scores: Scores, methods: Sequence[str], duels: Sequence[Duel], where: str = "") -> str:
    lacking = [m for m in methods if m not in scores.methods]
    if lacking:
        return f"{_listed(lacking)} did not run."
    fewest = min(duels, key=lambda d: d.scenes, default=None)
    pairs, held = (fewest.pairs, fewest.scenes) if fewest else (0, 0)
    return (
        f"There are {pairs} pairs{where} that both methods have, of {held} independent scenes; a test needs {FEWEST}."
    )


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Names in a row, not too many."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _numbers(duels: Sequence[Duel], chances: Sequence[float]) -> dict[str, float]:
    numbers = {"pairs": float(duels[0].pairs)}
    for duel, chance in zip(duels, chances, strict=True):
        name = duel.measure.label
        numbers |= {f"first's {name}": duel.ours, f"second's {name}": duel.theirs, f"p of {name}": chance}
    return numbers
