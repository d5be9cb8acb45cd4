"""The sentences of a benchmark's page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..benchmarking.configuration import Configuration
from ..benchmarking.duels import Duel, chance_text
from ..benchmarking.measures import EDGES, NDVI, RMSE, Measure
from ..benchmarking.protocols import STANDARD
from ..benchmarking.ranking import ALPHA, FEWEST, Ranking
from ..benchmarking.scores import Scores
from ..drawing.facts import Fact
from ..drawing.text import counted, finite, number, percent

DIGITS = {"structural": 3, "gradient_correlation": 3, "uiqi": 3, "sam": 2, "ergas": 2, "psnr": 1}
"""Digits behind the point of metrics that are not reflectances."""

SHARPNESS = ("structural", "gradient_correlation")
"""Metrics that tell of edges."""


def digits(measure: Measure) -> int:
    """How many digits behind the point a measure is told with."""
    return DIGITS.get(measure.metric, 3 if measure.band == "ndvi" else 4)


def value(measure: Measure, given: float) -> str:
    """A value of a measure as text."""
    return number(given, digits(measure))


def ratio_name(ratio: float | None) -> str:
    """A ratio of pixels, or all of them."""
    return "all ratios" if ratio is None else f"×{ratio:g}"


def listed(names: Sequence[str]) -> str:
    """Names in a row, the last behind "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def opening(scores: Scores, config: Configuration) -> str:
    """What was run, in a sentence."""
    ratios = listed([ratio_name(r) for r in scores.ratios])
    sites = counted(len(scores.sites), "site")
    made = int(np.isfinite(scores.values).any(axis=-1).sum())
    text = f"{counted(len(scores.methods), 'method')} made {counted(made, 'prediction')} of {sites} at {ratios}"
    days = finite(config.max_days)
    text += (
        f", each compared with a sharp image taken within {number(days)} day{'' if days == 1 else 's'}" if days else ""
    )
    if left := _same_day(scores, config):
        text += f", without {counted(left, 'guide')} of a predicted day, which would give away the answer"
    others = [p for p in scores.protocols if p != STANDARD]
    return text + (f", also under {listed(others)}." if others else ".")


def _same_day(scores: Scores, config: Configuration) -> int:
    """How many guides of sites are of a day that is predicted."""
    held = scores.pairs.groupby("site")["date"].agg(set)
    return sum(len(days & set(config.site(str(site)).guides)) for site, days in held.items())


def leading(measures: Sequence[Measure]) -> list[Measure]:
    """What text, charts against dates and the plane of methods speak of, all of the same: radiometry, then edges."""
    usual = [m for m in (NDVI, RMSE, EDGES) if m in measures]
    if NDVI in usual or RMSE in usual:
        edges = [m for m in measures if m.metric in SHARPNESS][:1]
        return [m for m in usual if m != EDGES] + edges
    radiometry = [m for m in measures if m.metric not in SHARPNESS][:1]
    return radiometry + [m for m in measures if m.metric in SHARPNESS][:1]


def findings(ranked: Sequence[Ranking], scores: Scores) -> list[str]:
    """Which method is best at each ratio, by how much and how sure that is, on the pairs of the ranking."""
    found = []
    for held in ranked:
        if len(held.places) < 2:
            continue
        first, second = held.places[:2]
        text = f"At {ratio_name(held.ratio)}, {first.method} ranks first of {len(held.places)} methods and "
        text += f"{second.method} second, with "
        parts: list[str] = []
        for measure in leading(held.measures):
            ours, theirs = (scores.one(measure, p.method)[held.rows] for p in (first, second))
            duel = Duel.of(measure, ours, theirs, scores.pairs.loc[held.rows])
            parts.append(_told(duel))
        few = f" {too_few(held)}" if held.scenes < FEWEST else ""
        found.append(f"{text}{', '.join(parts)}.{few}")
    return found


def too_few(held: Ranking) -> str:
    """What a reader should know where there are too few scenes for tests."""
    pairs, scenes = counted(held.pairs, "pair"), counted(held.scenes, "independent scene")
    return f"With {pairs} of {scenes} (fewer than {FEWEST}) nothing can be told from chance: no intervals, no tests."


def _told(duel: Duel) -> str:
    """How a method compares with another."""
    measure = duel.measure
    known = {NDVI: "a CE90 of NDVI of", RMSE: "an RMSE of", EDGES: "a structure of the red band of"}
    name = known.get(measure, f"a mean {measure.label} of")
    text = f"{name} {value(measure, duel.ours)} against {value(measure, duel.theirs)}"
    notes = [] if measure.higher or not duel.theirs else [percent(duel.ours / duel.theirs - 1, sign=True)]
    if duel.scenes >= FEWEST:
        notes.append(chance_text(duel.chance) if duel.chance < ALPHA else "may be chance")
    return f"{text} ({', '.join(notes)})" if notes else text


def facts(scores: Scores, ranked: Sequence[Ranking], failed: int, asked: int) -> list[Fact]:
    """Numbers that matter."""
    dates = scores.pairs[["site", "date"]].drop_duplicates()
    per_site = dates.groupby("site").size()
    few, many = int(per_site.min()), int(per_site.max())
    found = [
        Fact("Sites", str(len(scores.sites)), ", ".join(scores.sites[:6])),
        Fact(
            "Dates per site", str(few) if few == many else f"{few}–{many}", f"{len(scores.pairs)} pairs over all ratios"
        ),
        Fact("Methods", str(len(scores.methods)), counted(len(scores.protocols), "protocol")),
    ]
    for held in ranked:
        if held.ratio is not None and held.places:
            first = held.places[0]
            measure = next(iter(leading(held.measures)), None)
            note = f"mean rank {first.rank:.1f}"
            if measure:
                note = f"{measure.label} {value(measure, first.cells[measure].mean)}"
            found.append(Fact(f"First at {ratio_name(held.ratio)}", first.method, note))
    share = failed / asked if asked else 0.0
    found.append(
        Fact(
            "Failed", number(failed), f"of {asked:,} predictions" + (f", {percent(share, 1)}" if share > 0.0005 else "")
        )
    )
    return found
