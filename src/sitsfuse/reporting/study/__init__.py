"""The page of a study: verdicts, curves as small multiples, and their numbers as a table and as CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...benchmarking.configuration import Configuration, PlannedStudy
from ...benchmarking.measures import EDGES, NDVI, RMSE, Measure
from ...benchmarking.ranking import FEWEST
from ...benchmarking.results import Results
from ...drawing.html import write_page
from ...drawing.text import counted, number
from ...errors import InputError
from ...runtime.files import replacing
from ...runtime.progress import Progress
from ...studies.curves import LIMITS, Curve, Verdict, competitive, curves, label_of, observations, verdict
from ...studies.sites import RATIO, SCALE
from ..album import Album
from ..palette import PALETTE, styles, swatch
from ..tables import failure_rows, settings
from ..words import listed, value
from .figure import curve_figure

TEMPLATE = "study.html.j2"
NAMES = {
    "revisit": "How often must guides come?",
    "registration": "How well must images be registered?",
    RATIO: "Up to which ratio?",
    "radiometry": "How well must radiometries agree?",
    "clouds": "How many clouds?",
    SCALE: "At which scale of the land?",
    "noise": "How much noise?",
}
"""The question of each study."""


def study_report(found: Results, page: Path, report: Progress) -> Path:
    """Write the page of a study, ``curves.csv`` and ``verdicts.csv`` and the figures beside it; see :func:`report`."""
    config, table = found.config, found.table()
    about = config.study
    if about is None:
        raise InputError(found.path, "holds no study", "give the output of `sitsfuse study`")
    report("curves", 0, 1)
    measures = [m for m in (NDVI, RMSE, EDGES) if _there(table, m)] or _others(table)
    every = list(curves(observations(table, about, measures), about, measures))
    told = [v for c in every if c.variant != RATIO and (v := verdict(c)) is not None]
    told += [v for v in (competitive(every),) if v is not None]
    report("curves", 1, 1)
    methods = [m for m in config.methods if any(c.method == m for c in every)]
    album = Album(page.with_name(f"{page.stem}_figures"), styles(methods))
    panels = []
    for k, variant in enumerate(about.levels):
        report("figures", k, len(about.levels))
        panels.append(_panel(variant, every, told, measures, album))
    report("figures", len(about.levels), len(about.levels))
    _write(page.with_name("curves.csv"), _numbers(every))
    _write(page.with_name("verdicts.csv"), pd.DataFrame([_plain(v) for v in told]))
    failures = found.failures()
    context = {
        "theme": PALETTE,
        "question": NAMES[about.kind],
        "kind": about.kind,
        "opening": _opening(config, about, every),
        "findings": _findings(told),
        "few": f"With fewer than {FEWEST} independent scenes there are no intervals." if _few(every) else "",
        "methods": methods,
        "swatches": {m: swatch(s) for m, s in album.styles.items()},
        "panels": [p for p in panels if p["figures"]],
        "measures": [m.label for m in measures if m in LIMITS],
        "limits": [f"{m.label} {words}" for m, (_, words) in LIMITS.items() if m in measures],
        "rows": _rows(told, measures, methods),
        "numbers": _numbers(every).to_dict("records"),
        "failures": failure_rows(failures, config),
        "failed": len(failures),
        "settings": list(settings(config)),
        "made": config.made,
        "version": config.version,
    }
    write_page(page, __package__.rpartition(".")[0], TEMPLATE, context)
    return page


def _there(table: pd.DataFrame, measure: Measure) -> bool:
    metric, band, stratum = measure.key
    return bool(((table["metric"] == metric) & (table["band"] == band) & (table["stratum"] == stratum)).any())


def _others(table: pd.DataFrame) -> list[Measure]:
    """RMSE and structure of a band that is there."""
    band = str(table["band"].iloc[0])
    return [m for m in (Measure("rmse", band), Measure("structural", band)) if _there(table, m)]


def _few(every: Sequence[Curve]) -> bool:
    return any(c.scenes < FEWEST for c in every)


def _panel(
    variant: str, every: Sequence[Curve], told: Sequence[Verdict], measures: Sequence[Measure], album: Album
) -> dict[str, Any]:
    """The small multiples of a variant, one per measure."""
    about, unit = label_of(variant)
    figures = []
    for measure in measures:
        held = [c for c in every if c.variant == variant and c.measure == measure]
        if not held:
            continue
        marks = [v for v in told if v.variant == variant and v.measure == measure]
        figure = curve_figure(held, marks, album.styles, measure, f"{about} [{unit}]")
        name = f"{variant}-{measure.metric}-{measure.band}"
        told_curves = "; ".join(
            f"{c.method} {value(measure, c.means[0])} to {value(measure, c.means[-1])}" for c in held
        )
        text = f"{measure.label} against {about}, from {held[0].levels[0]:g} to {held[0].levels[-1]:g} {unit}: "
        figures.append({"title": measure.label, "svg": album.show(figure, name, text + told_curves, keep=True)})
    return {"variant": variant, "about": about, "figures": figures}


def _opening(config: Configuration, about: PlannedStudy, every: Sequence[Curve]) -> str:
    sites = len({about.bases.get(name, (name, 0.0))[0] for name in config.sites})
    scenes = max((c.scenes for c in every), default=0)
    seeds = f", what is random drawn {counted(about.seeds, 'time')}" if about.kind not in (RATIO, SCALE) else ""
    return (
        f"{counted(len(config.methods), 'method')} on {counted(sites, 'site')}{seeds}; "
        f"{counted(scenes, 'independent scene')} at every level. All levels are judged by the same undisturbed "
        "references on the same pixels."
    )


def _findings(told: Sequence[Verdict]) -> list[str]:
    """Per variant and measure, the method that stands most and the one that stands least, in a sentence."""
    found = []
    for variant in dict.fromkeys(v.variant for v in told):
        about, unit = label_of(variant)
        for measure in LIMITS:
            held = [v for v in told if v.variant == variant and v.measure == measure]
            if not held:
                continue
            hurt = sorted((v for v in held if np.isfinite(v.level)), key=lambda v: v.level)
            safe = [v.method for v in held if not np.isfinite(v.level)]
            text = f"{about[0].upper()}{about[1:]}: {measure.label} {held[0].limit}"
            parts = [f"at {_level(v)} {unit} for {v.method}" for v in (hurt[:1] + hurt[1:][-1:])]
            if safe:
                parts.append(f"nowhere up to {held[0].most:g} {unit} for {listed(safe)}")
            found.append(f"{text} {', '.join(parts)}.")
    return found


def _level(found: Verdict) -> str:
    """A level with its interval."""
    if not np.isfinite(found.level):
        return f"> {found.most:g}"
    text = number(found.level, 3 if found.most < 2 else 2 if found.most < 10 else 0)
    if np.isnan(found.low):
        return text
    ends = [
        f"> {found.most:g}" if not np.isfinite(e) else number(e, 3 if found.most < 2 else 1)
        for e in (found.low, found.high)
    ]
    return f"{text} ({ends[0]} – {ends[1]})"


def _rows(told: Sequence[Verdict], measures: Sequence[Measure], methods: Sequence[str]) -> list[dict[str, Any]]:
    """A row per variant and method: the level of every measure."""
    rows = []
    for variant in dict.fromkeys(v.variant for v in told):
        for method in methods:
            held = {v.measure: v for v in told if v.variant == variant and v.method == method}
            cells = []
            for measure in (m for m in measures if m in LIMITS):
                v = held.get(measure)
                exact = "" if v is None else f"{v.level:.6g}" if np.isfinite(v.level) else f"{10 * v.most:.6g}"
                cells.append({"text": _level(v) if v else "–", "exact": exact})
            if held:
                rows.append(
                    {"about": label_of(variant)[0], "unit": label_of(variant)[1], "method": method, "cells": cells}
                )
    return rows


def _numbers(every: Sequence[Curve]) -> pd.DataFrame:
    """A row per point of every curve."""
    rows = []
    for c in every:
        low, high = c.ends if c.ends is not None else (np.full(len(c.levels), np.nan),) * 2
        for k, level in enumerate(c.levels):
            rows.append(
                {
                    "variant": c.variant, "method": c.method, "measure": c.measure.label, "level": float(level),
                    "mean": float(c.means[k]), "low": float(low[k]), "high": float(high[k]),
                    "change": float(c.means[k] / c.means[0] - 1) if c.means[0] else float("nan"),
                    "pairs": c.pairs, "scenes": c.scenes,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _plain(v: Verdict) -> dict[str, Any]:
    return {
        "variant": v.variant, "unit": label_of(v.variant)[1], "method": v.method, "measure": v.measure.label,
        "limit": v.limit, "level": v.level, "low": v.low, "high": v.high, "largest level": v.most,
    }  # fmt: skip


def _write(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as draft:
        table.to_csv(draft, index=False, float_format="%.6g")
