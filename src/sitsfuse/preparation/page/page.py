"""The page of a prepared site: what was chosen, how it was registered and harmonised, and what to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace as Row
from typing import Any

import numpy as np

from ...drawing.html import inline, picture, write_page
from ...drawing.text import MISSING, counted, finite, number, printable
from .plots import block_side, checkerboard, displacement, regression, shift_dates, shift_panel, shift_tips, shifts
from .summary import facts, flagged, sentences
from .timeline import NARROW, SERIES, describe, entries, sensor, timeline, tips

TEMPLATE = "prepare.html.j2"
SKIPPED = ("date", "role", "id", "platform", "clear", "coverage", "reason")
IMAGE = ("date", "role", "id", "platform", "clear", "shift_x", "shift_y", "shift_px", "spread", "tie_points", "found")
JUDGED = ("quality", "note", "error", "correlation_before", "correlation_after")
LINE = ("band", "gain", "offset", "correlation", "rmse_before", "rmse_after", "bias_before", "count", "used", "ok")
NAMES = {"hr": "High resolution", "lr": "Low resolution"}


def prepare_page(record: Mapping[str, Any], samples: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write the page of a prepared site: one HTML file that needs nothing else.

    Parameters
    ----------
    record
        What is known of the site, as JSON can hold it: ``name``, ``landscape``, ``location``, ``version``, ``made``,
        ``ratio``, the grids ``hr`` and ``lr``, ``plan`` and ``images`` with an entry per image, ``registration``,
        ``harmonization``, ``combined``, ``problems`` and ``config``. Whatever is missing or None is left out.
    samples
        ``x_<band>`` and ``y_<band>``, (n,) reflectance of the LR sensor before harmonisation and of the HR sensor
        degraded to it; ``checker_hr``, ``checker_before`` and ``checker_after``, (3, y, x) or (1, y, x) reflectance of
        one date on the HR grid: the HR image, and the LR image before and after registration and harmonisation, NaN
        where invalid. Any of them may be missing.
    path
        Of the page; its folder is made if need be. Nothing is left there if it cannot be written.

    Raises
    ------
    InputError
        If matplotlib or jinja2 is missing, or the file cannot be written.
    """
    record = printable(record)
    images = _images(record)
    context = {
        "site": {k: record.get(k) or "" for k in ("name", "landscape", "location", "version", "made")},
        "sentences": sentences(record),
        "facts": facts(record),
        "verdicts": _rows(record.get("verdicts"), ("of", "state", "why")),
        "grids": [
            _row(record[s], ("sensor", "crs", "bands"), name=NAMES[s], **_extent(record[s]))
            for s in NAMES
            if isinstance(record.get(s), Mapping)
        ],
        "timelines": _timelines(record),
        "shifts": _shift_figures(record),
        "registration": _row(record.get("registration"), ("model", "reference")),
        "flagged": flagged(record),
        "met": {s.quality for series in NAMES for s in shifts(record, series)},
        "images": images,
        "unplaced": sum(row.quality == "failed" and row.shift_px is None for row in images),
        "skipped": [r for r in _rows(record.get("plan"), SKIPPED) if r.role == "skipped"],
        "harmonization": _harmonization(record),
        "regressions": list(_regressions(record, samples)),
        "checkers": _checkers(record, samples),
        "combined": {
            band: [(of, finite(w)) for of, w in weights.items()]
            for band, weights in (record.get("combined") or {}).items()
            if isinstance(weights, Mapping)
        },
        "problems": _rows(record.get("problems"), ("path", "problem")),
        "config": list(_settings(record.get("config") or {})),
    }
    write_page(Path(path), __package__, TEMPLATE, context)


def _row(given: Any, keys: Sequence[str], **more: Any) -> Row:
    """All of the keys, None for what is missing; no dict, of which templates would take ``clear`` for the method."""
    given = given if isinstance(given, Mapping) else {}
    return Row(**{k: given.get(k) for k in keys}, **more)


def _rows(given: Any, keys: Sequence[str]) -> list[Row]:
    return [_row(entry, keys) for entry in given or []]


def _extent(grid: Mapping[str, Any]) -> dict[str, str]:
    """Pixel, and rows and columns with what they span on the ground."""
    pixel, size = finite(grid.get("pixel")), grid.get("size")
    sides = [finite(n) for n in size] if isinstance(size, list) else []
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        text = MISSING
    else:
        text = f"{number(sides[0])} × {number(sides[1])} px"
        text += f", {sides[0] * pixel / 1000:.3g} × {sides[1] * pixel / 1000:.3g} km" if pixel else ""
    return {"pixel": f"{pixel:g} m" if pixel else MISSING, "extent": text}


def _timelines(record: Mapping[str, Any]) -> list[str]:
    """For wide and for narrow screens; nothing without dates."""
    if not entries(record):
        return []
    about, texts = describe(record), tips(record)
    return [inline(timeline(record), "wide", about, texts), inline(timeline(record, NARROW), "narrow", about, texts)]


def _shift_figures(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Per series, displacements as points and against the date."""
    found = {series: shifts(record, series) for series in NAMES}
    days = [s.day for held in found.values() for s in held if s.day is not None]
    figures = []
    for series, held in found.items():
        if not held:
            continue
        sizes = [s.size for s in held]
        about = f"{NAMES[series]}: displacements of {counted(len(held), 'image')}"
        about += f", median {np.median(sizes):.2f} px, at most {max(sizes):.2f} px"
        texts, over = shift_tips(held), ""
        if any(s.day is not None for s in held):
            over = inline(shift_dates(held, (min(days), max(days))), f"{series}-time", f"{about}, by date", texts)
        title = " · ".join(part for part in (NAMES[series], sensor(record, series)) if part)
        points = inline(shift_panel(held), f"{series}-shift", about, texts)
        figures.append({"title": title, "points": points, "dates": over})
    return figures


def _images(record: Mapping[str, Any]) -> list[Row]:
    """The images in order of time, with the share of tie points that were of use."""
    given = record.get("images") or []
    partner = {(str(e.get("role")), str(e.get("date"))): e.get("paired") for e in record.get("plan") or []}
    rows = _rows(given, IMAGE + JUDGED)
    for row, image in zip(rows, given, strict=True):
        pixel = finite((record.get(SERIES.get(str(row.role), "")) or {}).get("pixel"))
        row.shift_px = displacement(image, pixel)
        row.paired = partner.get((str(row.role), str(row.date)))
        counts = sorted(n for n in (finite(row.tie_points), finite(row.found)) if n is not None)
        row.matched = " of ".join(number(n) for n in counts) or MISSING
    return sorted(rows, key=lambda row: (str(row.date), str(row.role)))


def _lines(given: Any) -> list[Row]:
    """Lines of bands, with the change of their RMSE as a share."""
    rows = _rows(given, (*LINE, "reason"))
    for row in rows:
        before, after = finite(row.rmse_before), finite(row.rmse_after)
        row.change = after / before - 1 if before and after is not None else None
    return rows


def _harmonization(record: Mapping[str, Any]) -> dict[str, Any]:
    given = record.get("harmonization") or {}
    bands = _lines(given.get("bands"))
    dates = {day: _lines(rows) for day, rows in sorted((given.get("dates") or {}).items())}
    names = [str(row.band) for row in bands]
    matrix = given.get("matrix") or []
    return {
        "bands": bands,
        "dates": dates,
        "matrix": matrix,
        "offsets": given.get("offsets") or [None] * len(matrix),
        "names": names if len(names) == len(matrix) else list(range(1, len(matrix) + 1)),
        "pairs": _rows(given.get("pairs"), ("lr", "hr", "days", "count")),
    }


def _regressions(record: Mapping[str, Any], samples: Mapping[str, np.ndarray]) -> Iterator[dict[str, str]]:
    """A density per band with samples, those with a line first."""
    rows = {str(row.band): row for row in _lines((record.get("harmonization") or {}).get("bands"))}
    sampled = [k[2:] for k in samples if k.startswith("x_") and f"y_{k[2:]}" in samples]
    for place, band in enumerate([*(b for b in rows if b in sampled), *(b for b in sampled if b not in rows)]):
        x, y = (np.asarray(samples[f"{axis}_{band}"], np.float32).ravel() for axis in "xy")
        row = rows.get(band, _row({"ok": False}, (*LINE, "reason")))
        name = printable(band)
        about = f"{name}: {len(x):,} samples of the LR sensor against the HR sensor"
        line = (finite(row.gain), finite(row.offset), finite(row.correlation)) if row.ok is not False else None
        if line:
            about += f", gain {number(row.gain, 3)}, offset {number(row.offset, 4)}"
        svg = inline(regression(x, y, line), f"band{place}", about)
        yield {"band": name, "svg": svg, "reason": str(row.reason or "")}


def _checkers(record: Mapping[str, Any], samples: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    """The checkerboards that there are arrays for."""
    if "checker_hr" not in samples:
        return []
    hr = np.asarray(samples["checker_hr"], np.float32)
    block = block_side(hr.shape, finite(record.get("ratio")))
    return [
        {
            "when": when,
            "src": picture(checkerboard(hr, np.asarray(samples[key], np.float32), hr, block)),
            "rows": str(hr.shape[1]),
            "cols": str(hr.shape[2]),
        }
        for when, key in (("Before", "checker_before"), ("After", "checker_after"))
        if key in samples and np.shape(samples[key]) == hr.shape
    ]


def _settings(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested configuration as dotted names and values."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
