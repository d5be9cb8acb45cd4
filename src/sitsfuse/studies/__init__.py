"""Studies: one controlled disturbance of sites at a time, what it costs each method, and from which level it hurts.

A study is a benchmark whose protocols are disturbances: the same plan, pool, resumption and table. What a prediction
is judged by, references and the masks of LR images, stays undisturbed, so that every level is judged on the same
pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..benchmarking import carry_out
from ..benchmarking.configuration import Configuration, PlannedStudy
from ..benchmarking.plan import chosen, merged, simulated, survey, taken
from ..benchmarking.protocols import STANDARD, Protocol, withhold
from ..benchmarking.results import Results, Unit
from ..benchmarking.windows import opened
from ..core.site import group
from ..errors import InputError
from ..fusion.fuse import TILE
from ..runtime.progress import Progress, silent
from .disturbances import VARIANTS, Disturbance
from .sites import RATIO, RATIOS, SCALE, SCALES, check_simulated, derived, first_target, simulate_for

STUDIES = ("revisit", "registration", RATIO, "radiometry", "clouds", SCALE, "noise")
"""What can be studied."""
METHODS = ("temporal", "spatial", "difference", "robot", "estarfm")
"""What a study compares by default: methods that need no training."""
DEFAULT_SITES = ("arm", "fr-bil", "sudoe-4")
"""Simulated sites of a study without sites."""
SIZE, DATES, SEEDS = 100, 4, 3
"""Defaults: side of simulated sites in HR pixels, dates per site, seeds per level."""
NATIVE = 0.8
"""A revisit must not be shorter than this share of that of a site's guides."""


def study(
    kind: str,
    sites: Sequence[str | Path] = (),
    out: str | Path = "study-output",
    *,
    methods: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    variants: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
    seeds: int = SEEDS,
    max_dates: int = DATES,
    max_days: float = 1.0,
    size: int = SIZE,
    tile: int = TILE,
    jobs: int | None = None,
    overwrite: bool = False,
    report: Progress = silent,
) -> pd.DataFrame:
    """Predict dates of sites that are disturbed in one way, more and more, with every method.

    Parameters
    ----------
    kind
        ``revisit``, ``registration``, ``ratio``, ``radiometry``, ``clouds``, ``scale`` or ``noise``.
    sites
        Paths of sites with references, or names of simulated sites (``arm`` …). None: three simulated ones.
    out
        Folder of the results. A second run over it does what is missing.
    methods, options
        Names, by default some that need no training, and their parameters, by method.
    variants
        Ways to disturb, see :data:`sitsfuse.studies.disturbances.VARIANTS`; by default all of the study.
    levels
        Sizes of the disturbance, by default those of the variant; its base is always among them.
    seeds
        How many times what is random is drawn.
    max_dates
        Predict at most so many dates per site, spread evenly.
    max_days
        Days by which a reference may differ from the LR image that it judges.
    size
        Side of the simulated sites, in HR pixels.
    tile, jobs, overwrite, report
        As of :func:`sitsfuse.benchmark`.

    Returns
    -------
    pandas.DataFrame
        The table of :func:`sitsfuse.benchmark`, whose ``protocol`` is the disturbance: ``between:0.3#1`` for seed 1 of
        0.3 LR pixels; see :mod:`sitsfuse.studies.curves` for what it tells.

    Raises
    ------
    InputError
        If the study, a variant, a site or a method is unknown, or ``out`` holds something else.
    """
    if kind not in STUDIES:
        raise InputError("study", f"{kind!r} is unknown", f"choose among {', '.join(STUDIES)}")
    results = Results(Path(out))
    with_options = chosen(methods or METHODS, options)
    used = _variants(kind, variants)
    paths = [Path(s) for s in sites if Path(s).exists()]
    with taken(results, paths, overwrite, kind):
        names = [str(s).lower() for s in sites if not Path(s).exists()] or ([] if sites else list(DEFAULT_SITES))
        check_simulated(names)
        make = functools.partial(simulate_for, kind, size)
        simulations = simulated(results.path, names, size, make, report) if names else []
        asked: tuple[str, ...] = (STANDARD,)
        if kind in (RATIO, SCALE):
            tried = tuple(levels or (RATIOS if kind == RATIO else SCALES))
            copied = paths if kind == RATIO else [*paths, *simulations]
            made = derived(kind, copied, tried, results.path, report)
            bases = {p.name.removesuffix(".zarr"): of for p, of in made.items()}
            about = PlannedStudy(kind, seeds, bases, {kind: tried})
            held = [*made, *(simulations if kind == RATIO else [])]
        else:
            held = [*paths, *simulations]
            shortest = max((_revisit(p) for p in held), default=0.0) if kind == "revisit" else 0.0
            about = PlannedStudy(kind, seeds, levels={v: _levels(v, levels, shortest) for v in used})
            asked = tuple(str(d) for v in used for d in _disturbances(v, about.levels[v], seeds))
        before = results.earlier()
        # Of hundreds of disturbances no images are kept to be looked at.
        planned = {n: replace(s, shown=()) for n, s in survey(held, None, [], max_dates, max_days).items()}
        config = merged(results, Configuration(max_days, tile, planned, with_options, asked))
        config = replace(config, study=_joined(before.study if before else None, about))
        return carry_out(results, config, report, jobs=jobs, see=seen)


def seen(path: str, unit: Unit, date: np.datetime64, answer: np.datetime64) -> xr.DataTree:
    """What a method may see of a disturbed site: no guide of the predicted day, and no reference."""
    site = opened(path, unit.target)
    if unit.protocol != STANDARD:
        site = _disturbed(path, unit.target, unit.protocol)
    return withhold(site, Protocol(STANDARD), date, answer)


@functools.lru_cache(2)
def _disturbed(path: str, target: str, text: str) -> xr.DataTree:
    return Disturbance.parse(text)(opened(path, target))


def _joined(before: PlannedStudy | None, now: PlannedStudy) -> PlannedStudy:
    """What a study holds after another run over it, of more sites, levels, variants or seeds."""
    if before is None:
        return now
    names = dict.fromkeys([*before.levels, *now.levels])
    levels = {n: [*before.levels.get(n, ()), *now.levels.get(n, ())] for n in names}
    apart = {n: tuple(sorted(set(held), key=functools.partial(_apart, held[0]))) for n, held in levels.items()}
    return PlannedStudy(now.kind, max(before.seeds, now.seeds), {**before.bases, **now.bases}, apart)


def _apart(base: float, level: float) -> float:
    return abs(level - base)


def _variants(kind: str, wanted: Sequence[str] | None) -> list[str]:
    known = [name for name, v in VARIANTS.items() if v.study == kind]
    for name in wanted or ():
        if name not in known:
            mend = f"choose among {', '.join(known)}" if known else "it has none"
            raise InputError("variants", f"{name!r} is of no study of the {kind}", mend)
    return list(wanted or known)


def _levels(variant: str, wanted: Sequence[float] | None, shortest: float) -> tuple[float, ...]:
    """Levels to try: the base, then those asked for; no revisit that guides do not allow."""
    known = VARIANTS[variant]
    found = sorted({known.base, *(wanted or known.levels)}, key=lambda level: abs(level - known.base))
    if known.study == "revisit" and known.base > 0:
        found = [level for level in found if level >= NATIVE * shortest] or [known.levels[-1]]
    return tuple(float(level) for level in found)


def _disturbances(variant: str, levels: Sequence[float], seeds: int) -> list[Disturbance]:
    """The base once, every other level once per seed."""
    base = VARIANTS[variant].base
    return [
        Disturbance(variant, level, seed) for level in levels for seed in range(1 if level == base else max(1, seeds))
    ]


def _revisit(path: Path) -> float:
    """Median days between the guides of a site."""
    guides = np.unique(group(opened(str(path.resolve()), first_target(path)), "guide")["time"].values)
    gaps = np.diff(guides.astype("datetime64[D]")).astype(float)
    return float(np.median(gaps)) if gaps.size else 0.0
