"""The tables of a benchmark's page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace as Row
from typing import Any

import numpy as np
import pandas as pd

from ..benchmarking.configuration import Configuration, PlannedTarget
from ..benchmarking.measures import EDGES, NDVI, RMSE, Measure
from ..benchmarking.protocols import STANDARD
from ..benchmarking.ranking import ALPHA, FEWEST, Ranking
from ..benchmarking.scores import Scores, summary
from ..core.arrays import F64Array
from ..drawing.text import MISSING, counted, number
from ..stats.paired import holm, scene_means, scenes, signed_rank
from .words import DIGITS, ratio_name, too_few, value

SUMMARISED = ("rmse", "bias", "ce90", "ce99", "uiqi", "structural", "gradient_correlation")
"""Metrics in the table of all means."""
MOST_ROWS = 5000
"""Most rows of the table of all means."""
LEVELS = (*range(10, 100, 10), 95, 99)
"""Nominal coverages, in percent."""
KEPT = (0.80, 0.97)
"""Observed coverages of a 90 % interval, of a single scene, that keep the promise."""
SHOWN_LEVELS = (50, 90, 99)
"""Those in the table."""


def ranking_table(held: Ranking) -> dict[str, Any]:
    """A ranking for the page."""
    rows = []
    for k, place in enumerate(held.places, 1):
        cells = [
            {
                "mean": value(m, c.mean),
                "exact": f"{c.mean:.6g}",
                "range": f"{value(m, c.low)}–{value(m, c.high)}" if c.interval else "",
                "mark": "best" if c.best else "tied" if c.tied else "",
            }
            for m, c in place.cells.items()
        ]
        rows.append({"place": k, "method": place.method, "rank": f"{place.rank:.2f}", "cells": cells})
    notes = []
    if held.left_out:
        count = counted(held.left_out, "pair is", "pairs are")
        notes.append(f"{count} left out because a method compared lacks it, or it lacks a measure.")
    if held.missing:
        notes.append(f"Missing: {', '.join(f'{m} {n}' for m, n in held.missing.items())}.")
    if held.apart:
        names = ", ".join(f"{m} ({n} pairs)" for m, n in held.apart.items())
        notes.append(f"Not compared, for it has less than half of the pairs: {names}.")
    if held.scenes < FEWEST:
        notes.append(too_few(held))
    return {
        "name": ratio_name(held.ratio),
        "slug": "all" if held.ratio is None else f"x{held.ratio:g}",
        "measures": [{"label": m.label, "higher": m.higher} for m in held.measures],
        "rows": rows,
        "pairs": counted(held.pairs, "pair"),
        "scenes": held.scenes,
        "sites": held.sites,
        "notes": notes,
    }


def failure_rows(failures: pd.DataFrame, config: Configuration) -> list[Row]:
    """Failures, those of one method and reason together, with where they were."""
    rows = []
    for (method, error), held in failures.groupby(["method", "error"], sort=False):
        places: dict[str, list[str]] = {}
        for entry in held.itertuples():
            target = config.site(str(entry.site)).targets.get(str(entry.target), PlannedTarget())
            name = " ".join(
                [
                    str(entry.site),
                    f"×{target.ratio:g}" if target.ratio > 0 else str(entry.target),
                    *([str(entry.protocol)] if entry.protocol != STANDARD else []),
                ]
            )
            places.setdefault(name, []).append(str(entry.date))
        shown = [f"{n}: {', '.join(d[:3])}{f' and {len(d) - 3} more' if len(d) > 3 else ''}" for n, d in places.items()]
        more = f"; and {len(shown) - 4} more series" if len(shown) > 4 else ""
        rows.append(Row(method=method, error=error, count=len(held), where="; ".join(shown[:4]) + more))
    return sorted(rows, key=lambda r: -r.count)


def coverage(scores: Scores, ratio: float) -> tuple[list[int], dict[str, F64Array], list[Row]]:
    """Nominal levels, observed shares per method, and rows of a table, of the methods that give an uncertainty."""
    at = scores.at(ratio)

    def mean(metric: str) -> F64Array:
        """(method,) mean over the pairs, of all bands."""
        bands = ["all"] if (metric, "all", "all") in scores.keys else [b for b in scores.bands if b != "ndvi"]
        values = np.stack([scores.get(Measure(metric, b))[at] for b in bands])
        known = np.isfinite(values)
        counts = known.sum(axis=(0, 1))
        sums: F64Array = np.where(known, values, 0).sum(axis=(0, 1))
        return np.asarray(np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0))

    each = coverage_by_scene(scores, ratio)
    levels = [n for n in LEVELS if any(key[0] == f"coverage{n}" for key in scores.keys)]
    shares = {n: mean(f"coverage{n}") for n in levels}
    observed, rows = {}, []
    sharp = mean("sharpness")
    for k, method in enumerate(scores.methods):
        line = np.array([shares[n][k] for n in levels])
        if line.size and np.isfinite(line).all():
            observed[method] = line
            held = {n: float(shares[n][k]) for n in SHOWN_LEVELS if n in shares}
            gap = float(np.abs(line - np.array(levels) / 100).max())
            row = Row(ratio=ratio_name(ratio), method=method, held=held, sharpness=float(sharp[k]), gap=gap)
            known = each[at, k][np.isfinite(each[at, k])]
            row.scenes = len(known)
            row.kept = float(((known >= KEPT[0]) & (known <= KEPT[1])).mean()) if known.size else None
            rows.append(row)
    return levels, observed, rows


def coverage_by_scene(scores: Scores, ratio: float, level: int = 90) -> F64Array:
    """(pair, method) observed coverage of an interval at a ratio, mean over the bands; NaN elsewhere."""
    names = [f"coverage{level}", "all"]
    bands = ["all"] if (*names, "all") in scores.keys else [b for b in scores.bands if b != "ndvi"] or ["ndvi"]
    values = np.stack([scores.get(Measure(names[0], b)) for b in bands])
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0).sum(axis=0)
    found: F64Array = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    found[~scores.at(ratio)] = np.nan
    return found


def coverage_rows(scores: Scores) -> tuple[list[str], list[Row]]:
    """Methods that give an uncertainty, and a row per scene: the observed coverage of their 90 % intervals."""
    every = {ratio: coverage_by_scene(scores, ratio) for ratio in scores.ratios}
    total = np.stack(list(every.values())) if every else np.empty((0, 0, len(scores.methods)))
    stated = [k for k in range(len(scores.methods)) if np.isfinite(total[..., k]).any()]
    rows = []
    for ratio, held in every.items():
        for place in np.flatnonzero(np.isfinite(held).any(axis=1)):
            pair = scores.pairs.iloc[int(place)]
            cells = [(v, bool(KEPT[0] <= v <= KEPT[1])) if np.isfinite(v) else None for v in held[place, stated]]
            rows.append(Row(site=pair["site"], date=pair["date"], ratio=ratio_name(ratio), cells=cells))
    return [scores.methods[k] for k in stated], rows


def losses(scores: Scores, ratio: float, protocol: str) -> list[Row]:
    """How much methods lose under a protocol, on the pairs that they have under it and under the standard one."""
    at, rows, chances = scores.at(ratio), [], []
    for method in scores.methods:
        row = Row(
            ratio=ratio_name(ratio), protocol=protocol, method=method, pairs=0, changes={}, before=None, after=None
        )
        for measure in (RMSE, NDVI, EDGES):
            before, after = (scores.one(measure, method, p)[at] for p in (STANDARD, protocol))
            known = np.isfinite(before) & np.isfinite(after)
            if not known.any():
                continue
            means = float(before[known].mean()), float(after[known].mean())
            # Of edges the loss is that of 1 - structure, which is an error as the others are.
            base = (1 - means[0], 1 - means[1]) if measure.higher else means
            row.changes[measure.label] = base[1] / base[0] - 1 if base[0] > 0 else None
            if measure == RMSE:
                row.pairs, (row.before, row.after) = int(known.sum()), means
                where = scores.pairs[at][known]
                each = scene_means(after[known] - before[known], scenes(where["site"], where["date"]))
                row.chance, row.scenes = signed_rank(each), len(each)
        if row.pairs:
            rows.append(row)
            chances.append(row.chance)
    for row, chance in zip(rows, holm(chances), strict=True):
        row.sure = row.scenes >= FEWEST and chance < ALPHA
    return rows


def means(scores: Scores) -> tuple[list[str], list[Row], str]:
    """Metrics, rows of means per site, ratio, method, band and stratum, and what is left out."""
    table = summary(scores, SUMMARISED)
    note = ""
    if len(table) > MOST_ROWS:
        table = table[table["stratum"] == "all"]
        note = "Only the stratum of all pixels is listed here."
    if len(table) > MOST_ROWS:
        table = table[table["band"].isin(["all", "red", "nir", "ndvi"])].head(MOST_ROWS)
        note = "Only all pixels and the bands red, nir, NDVI and all together are listed here."
    metrics = [m for m in SUMMARISED if m in table]
    rows = []
    for entry in table.to_dict("records"):
        cells = [number(entry[m], DIGITS.get(m, 4)) for m in metrics]
        head = [entry["site"], ratio_name(entry["ratio"]), entry["method"], entry["band"], entry["stratum"]]
        rows.append(Row(head=head, exact=f"{entry['ratio']:g}", dates=int(entry["dates"]), cells=cells))
    return metrics, rows, note


def settings(config: Configuration) -> Iterator[tuple[str, str]]:
    """Methods with their options."""
    for method, options in config.methods.items():
        yield str(method), ", ".join(f"{k} = {_option(v)}" for k, v in options.items()) or MISSING


def _option(given: Any) -> str:
    return given if isinstance(given, str) and given else json.dumps(given, ensure_ascii=False, default=str)


def site_rows(scores: Scores, config: Configuration) -> list[Row]:
    """The sites as they were used."""
    rows = []
    for site in scores.sites:
        about = config.site(site)
        guides = sorted(about.guides)
        gaps = np.diff(np.array(guides, "datetime64[D]")).astype(int)
        held = scores.pairs[scores.pairs["site"] == site]
        rows.append(
            Row(
                name=site,
                title=about.title,
                landscape=about.landscape,
                location=about.location,
                bands=", ".join(about.bands),
                size=" × ".join(number(n) for n in about.shape) or MISSING,
                guides=len(guides),
                revisit=float(np.median(gaps)) if gaps.size else None,
                dates=int(held["date"].nunique()),
                ratios=", ".join(ratio_name(r) for r in sorted(set(held["ratio"]), reverse=True)),
                span=f"{held['date'].min()} – {held['date'].max()}",
            )
        )
    return rows
