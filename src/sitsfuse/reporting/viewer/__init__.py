"""The viewer of images: what went in, what was predicted and the truth side by side, and series of single pixels.

Predictions of a date are many and differ little from each other: each is kept as its difference from the reference,
which is kept once. At the same size that halves what compression takes away, and the difference is the error itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...benchmarking.configuration import Configuration
from ...benchmarking.protocols import STANDARD
from ...benchmarking.results import Results
from ...core.arrays import FloatArray
from ...drawing.stretch import GAMMA
from ...drawing.text import counted, number
from ..palette import styles, swatch
from .entries import LOSSLESS, OBSERVED, Plan, entry, evenly, sheets, still
from .pictures import Blobs, Pictures, decode, decode_difference, unstack
from .series import deflate
from .site import STORED, Predicted, Scene, read_scene

QUALITIES = (LOSSLESS, 85, 75, 65, 55, 45, 37, 30, 25)
"""Qualities of the pictures of predictions, the best first: where they are few nothing is lost; below the last one,
textures melt into blocks."""
SIDES = (32, 24, 16, 12, 8)
"""Positions of the series along a side of the window."""
SERIES_SHARE = 0.2
"""Share of the budget that series may take."""
DEFLATED, AS_TEXT = 0.85, 4 / 3
"""What remains of the bytes of a series when they are deflated; characters per byte in the page."""
SAMPLED = 32
"""So many pictures tell how large they all will be."""
LEAST_SAMPLED, SAMPLED_PIXELS = 4, 5_000_000
"""Of large ones fewer: compressing them takes time."""
HEADROOM = 0.97
"""Share of the budget that is planned for: an estimate is none of certainty."""
ENTRY = 60
"""Characters that tell of a picture besides its own."""


def viewer(results: Results, table: pd.DataFrame, budget: int = 11_000_000) -> dict[str, Any] | None:
    """What ``viewer.html.j2`` needs.

    Parameters
    ----------
    results
        The folder of results.
    table
        The tidy table; it tells which methods are best.
    budget
        Most characters that pictures, series and what tells of them take in the page. The quality of pictures gives
        way first, then the number of dates, then that of methods.

    Returns
    -------
    dict or None
        ``data`` (what the script reads), ``blobs`` (per site, base64 texts), ``still`` (a picture for readers without
        script) and ``notes`` (sentences on what is shown and what is left out). None if there are no samples, or the
        budget is too small for any.

    Raises
    ------
    InputError
        If Pillow is missing.
    """
    config = results.config
    ordered = ranked(table, list(config.methods))
    side = side_for(_values(config), budget)
    read = (read_scene(results, site, ordered, side) for site in config.sites)
    return fitted([scene for scene in read if scene is not None and scene.targets], ordered, side, budget)


def fitted(scenes: Sequence[Scene], ordered: Sequence[str], side: int, budget: int) -> dict[str, Any] | None:
    """What ``viewer.html.j2`` needs of some scenes, as good as the budget allows: see :func:`viewer`.

    Parameters
    ----------
    scenes
        At least one.
    ordered
        The methods, the best first.
    side
        Positions of the scenes' series along a side.
    budget
        Most characters.
    """
    drawn = [m for m in ordered if any(m in t.predicted for s in scenes for t in s.targets)]
    drawing, pictures = styles(ordered), Pictures()
    for plan in _plans(scenes, len(drawn), budget, pictures) if drawn else ():
        methods = drawn[: plan.methods]
        pictures.make([s for scene in scenes for s in sheets(scene, plan, methods)], plan.quality)
        blobs = [Blobs() for _ in scenes]
        data = {
            "sites": [entry(s, plan, methods, pictures, held) for s, held in zip(scenes, blobs, strict=True)],
            "methods": methods,
            "styles": {m: {"ink": drawing[m].ink, "swatch": swatch(drawing[m])} for m in methods},
            "gamma": GAMMA,
        }
        alone = still(scenes[0], methods[0])
        size = (
            sum(len(text) + 1 for held in blobs for text in held.texts) + len(alone["source"]) + len(json.dumps(data))
        )
        if size <= budget:
            notes = _notes(scenes, plan, drawn, side, pictures)
            return {"data": data, "blobs": [held.texts for held in blobs], "still": alone, "notes": notes}
    return None


def ranked(table: pd.DataFrame, methods: Sequence[str]) -> list[str]:
    """Methods by their mean RMSE in the standard protocol, the best first; those without one last, in their order."""
    wanted = {"protocol": STANDARD, "band": "all", "stratum": "all", "metric": "rmse"}
    rows = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    means = rows.groupby("method")["value"].mean().dropna().to_dict()
    return sorted(methods, key=lambda m: means.get(m, np.inf))


def _values(config: Configuration) -> int:
    """How many values the series of a benchmark have per position."""
    values = 0
    for about in config.sites.values():
        shown = len(about.shown)
        dates = len(about.guides) + shown
        dates += sum(len(t.lr_dates) + len(config.methods) * shown for t in about.targets.values())
        values += dates * min(len(about.bands), STORED)
    return values


def side_for(values: int, budget: int) -> int:
    """How many positions along a side the series can afford, of so many values per position."""
    return next((s for s in SIDES if values * s**2 * DEFLATED * AS_TEXT <= SERIES_SHARE * budget), SIDES[-1])


def _plans(scenes: Sequence[Scene], methods: int, budget: int, pictures: Pictures) -> Iterator[Plan]:
    """Plans that seem to fit, the best first."""
    every = [p.sheet for s in scenes for t in s.targets for p in t.predictions]
    enough = max(LEAST_SAMPLED, min(SAMPLED, SAMPLED_PIXELS // max(scenes[0].shape[0] * scenes[0].shape[1], 1)))
    sampled = [every[i] for i in evenly(len(every), enough)]
    most = max(len(s.dates) for s in scenes)
    plans = [
        Plan(q, LOSSLESS if q == LOSSLESS else OBSERVED, d, methods) for d in range(most, 0, -1) for q in QUALITIES
    ]
    plans += [Plan(QUALITIES[-1], OBSERVED, 1, m) for m in range(methods - 1, 0, -1)]
    always = sum(AS_TEXT * len(deflate(part)) for s in scenes for part in _series(s))
    for plan in plans:
        per_date = sum(
            AS_TEXT * (len(s.bases) + len(s.guides)) * len(pictures(s.bases[0], plan.observed)) / len(s.dates)
            for s in scenes
        )
        pictures.make(sampled, plan.quality)
        size = AS_TEXT * np.mean([len(pictures(s, plan.quality)) for s in sampled]) + ENTRY
        count = len(every) * (plan.dates / most) * (plan.methods / methods)
        if always + per_date * plan.dates + count * size <= HEADROOM * budget:
            yield plan


def _series(scene: Scene) -> list[Any]:
    return [
        scene.observed,
        *(part for t in scene.targets for part in (t.series, *t.predicted.values(), *t.unsure.values())),
    ]


def _notes(scenes: Sequence[Scene], plan: Plan, drawn: Sequence[str], side: int, pictures: Pictures) -> list[str]:
    """What a reader should know of the pictures, in sentences."""
    if plan.quality == LOSSLESS:
        half = number(max(1e-4, *(float(s.scale.max()) / 254 for s in scenes)), 4)
        told = f"Pictures are not compressed: a prediction is told to half a step of its bytes, at most {half} "
        told += "(reflectance)."
    else:
        shown, errors = (number(off, 4) for off in _deviation(scenes, plan, pictures))
        told = f"Pictures are compressed, which adds an error of {shown} to predictions and one of {errors} to maps of "
        told += "errors (RMS, reflectance); what is smaller is to be read from the tables."
    notes = [
        f"{told} Uncertainty is at half the resolution.",
        f"Series are of {side} × {side} positions per site, in steps of 1/252 of the range of values; bars are ± σ "
        "of the prediction.",
    ]
    most = max(len(s.dates) for s in scenes)
    left_out = []
    if plan.dates < most:
        left_out.append(f"{counted(plan.dates, 'date')} of {most} per site")
    if plan.methods < len(drawn):
        left_out.append(f"{', '.join(drawn[: plan.methods])} of {counted(len(drawn), 'method')}")
    if left_out:
        notes.append(f"To keep the page small, pictures are of {' and '.join(left_out)}.")
    return notes


def _deviation(scenes: Sequence[Scene], plan: Plan, pictures: Pictures) -> tuple[float, float]:
    """What compression does to predictions and to maps of errors: RMS deviation from what went in, in reflectance."""
    squares: list[tuple[FloatArray, FloatArray]] = []
    for scene in scenes:
        every: list[Predicted] = [p for t in scene.targets for p in t.predictions]
        for p in [every[i] for i in evenly(len(every), 6)]:
            base, sheet = scene.bases[p.date], p.sheet
            seen, under = (
                unstack(decode(pictures(s, q)), len(scene.bands), scene.shape)
                for s, q in ((sheet, plan.quality), (base, plan.observed))
            )
            error = decode_difference(seen, scene.scale) - decode_difference(sheet.bands, scene.scale)
            beneath = scene.code.decode(under) - scene.code.decode(base.bands)
            maps = error.mean(axis=0)
            squares.append((np.square(error + beneath)[:, sheet.valid], np.square(maps)[sheet.valid]))
    shown, errors = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*squares, strict=True))
    return (float(np.sqrt(shown.mean())), float(np.sqrt(errors.mean()))) if shown.size else (0.0, 0.0)
