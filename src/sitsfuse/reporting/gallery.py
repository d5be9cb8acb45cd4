"""All figures and pictures of a benchmark's report: drawn, kept as files, and ready for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..benchmarking.configuration import Configuration
from ..benchmarking.measures import RMSE, Measure
from ..benchmarking.protocols import STANDARD
from ..benchmarking.ranking import Place, Ranking
from ..benchmarking.results import Results
from ..benchmarking.scores import Scores
from ..drawing.text import counted, number, percent
from ..runtime.progress import Progress
from .album import Album
from .charts import (
    Course,
    Spread,
    axis_label,
    course_figure,
    courses_figure,
    in_view,
    losses_figure,
    reliability_figure,
    scenes_figure,
    spread_figure,
    spreads_figure,
)
from .pictures import strata_rows, view_rows
from .scatter import Point, cloud_figure, crowd
from .tables import KEPT, coverage, coverage_by_scene, losses
from .words import SHARPNESS, leading, listed, ratio_name, value

DISTRIBUTED = ("ce90", "rmse", "structural", "gradient_correlation")
"""Metrics whose distributions are shown for every band."""
SMALL = 1.0
"""Megapixels below which time is told per prediction, not per megapixel."""


def draw(
    results: Results,
    config: Configuration,
    scores: Scores,
    ranked: Sequence[Ranking],
    album: Album,
    report: Progress,
) -> dict[str, Any]:
    """All figures, by the section that they stand in."""
    order = [p.method for p in ranked[0].places] if ranked else []
    order += [m for m in scores.methods if m not in order]
    parts: dict[str, Callable[[], list[Any]]] = {
        "courses": lambda: list(_courses(config, scores, album)),
        "spreads": lambda: list(_spreads(scores, album)),
        "tradeoffs": lambda: list(_tradeoffs(ranked, album)),
        "costs": lambda: list(_costs(scores, ranked, album)),
        "reliabilities": lambda: list(_reliabilities(scores, album)),
        "losses": lambda: list(_losses(scores, album)),
        "strata_maps": lambda: list(strata_rows(results, scores, album)),
        "views": lambda: list(view_rows(results, config, scores, order, album)),
    }
    drawn = {}
    for k, (name, draw) in enumerate(parts.items()):
        report("figures", k, len(parts))
        drawn[name] = draw()
    report("figures", len(parts), len(parts))
    return drawn


def _courses(config: Configuration, scores: Scores, album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, a row per site of the measures against the date."""
    for ratio in scores.ratios:
        measures = leading(scores.headline(ratio))
        rows: list[list[Course]] = []
        shown = []
        for site in scores.sites:
            held = np.flatnonzero(scores.at(ratio) & (scores.pairs["site"] == site).to_numpy())
            if not held.size:
                continue
            dates = scores.pairs["date"].to_numpy(str)[held].astype("datetime64[D]")
            guides = np.array(config.site(site).guides, "datetime64[D]")
            name = f"{site} {ratio_name(ratio)}"
            courses = [Course(name, m, dates, scores.get(m)[held], guides) for m in measures]
            rows.append(courses)
            figures = [
                {"svg": album.show(course_figure(c, album.styles), f"course-{site}-x{ratio:g}-{k}", _about(c, scores)),
                 "title": axis_label(c.measure)}
                for k, c in enumerate(courses)
            ]  # fmt: skip
            shown.append({"site": site, "figures": figures, "cut": _cut(courses, scores)})
        if not shown or not measures:
            continue
        album.keep(courses_figure(rows, album.styles), f"dates-x{ratio:g}")
        yield {"ratio": ratio_name(ratio), "rows": shown, "measures": listed([m.label for m in measures])}


def _cut(courses: Sequence[Course], scores: Scores) -> str:
    """Which methods leave the frame of some charts, in a sentence; empty if none does."""
    told = []
    for course in courses:
        there = np.isfinite(course.values).any(axis=0)
        gone = there & ~in_view(course.values, higher=course.measure.higher)
        if gone.any():
            told.append(
                f"{listed([m for m, g in zip(scores.methods, gone, strict=True) if g])} in {course.measure.label}"
            )
    return f"Out of the frame, for far worse than the others: {'; '.join(told)}." if told else ""


def _about(course: Course, scores: Scores) -> str:
    """The methods of a course in words: the best and the worst mean."""
    known = np.isfinite(course.values)
    counts = known.sum(axis=0)
    mean = np.where(known, course.values, 0).sum(axis=0)[counts > 0] / counts[counts > 0]
    names = [m for m, n in zip(scores.methods, counts, strict=True) if n]
    text = f"{course.title}: {course.measure.label} of {len(names)} methods on {len(course.dates)} dates"
    if len(names) < 2:
        return text
    order = np.argsort(-mean if course.measure.higher else mean)
    best, worst = (f"{names[k]} {value(course.measure, mean[k])}" for k in (order[0], order[-1]))
    return f"{text}; best on average {best}, worst {worst}"


def _spreads(scores: Scores, album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, distributions of the measures of the ranking and, per metric, of every band."""
    for ratio in scores.ratios:
        at = scores.at(ratio)
        same = at & scores.pairs["same_day"].to_numpy(bool)
        rows = same if same.any() else at
        main = [m for m in scores.headline(ratio) if m.metric != "sam"]
        every = []
        for metric in DISTRIBUTED:
            held = [Measure(metric, b) for b in scores.bands]
            held = [m for m in held if np.isfinite(scores.get(m)[rows]).any()]
            if held:
                spreads = [_spread(scores, m, rows) for m in held]
                album.keep(spreads_figure(spreads, album.styles), f"{metric}-x{ratio:g}")
            every += [m for m in held if m not in main]
        panels = []
        for measures in (main, every):
            shown = []
            for m in measures:
                figure = spread_figure(_spread(scores, m, rows), album.styles)
                name = f"spread-x{ratio:g}-{m.metric}-{m.band}"
                shown.append(album.show(figure, name, _middle(scores, m, rows)))
            panels.append(shown)
        yield {
            "ratio": ratio_name(ratio),
            "pairs": counted(int(rows.sum()), "pair"),
            "same": bool(same.any()),
            "main": panels[0],
            "every": panels[1],
        }


def _spread(scores: Scores, measure: Measure, rows: Any) -> Spread:
    held = {s: scores.get(Measure(measure.metric, measure.band, s))[rows] for s in ("low", "all", "high")}
    return Spread(measure, held)


def _middle(scores: Scores, measure: Measure, rows: Any) -> str:
    """Medians of a measure in words."""
    values = scores.get(measure)[rows]
    known = [(m, values[np.isfinite(values[:, k]), k]) for k, m in enumerate(scores.methods)]
    medians = [(float(np.median(v)), m) for m, v in known if v.size]
    medians.sort(reverse=measure.higher)
    told = ", ".join(f"{m} {value(measure, v)}" for v, m in medians[:3])
    return f"Distributions of {measure.label} per method and stratum; best medians: {told}"


def _points(places: Sequence[Place], x: Measure, y: Measure) -> list[Point]:
    held = [(p.method, p.cells[x], p.cells[y]) for p in places]
    return [Point(m, a.mean, b.mean, a.interval, b.interval) for m, a, b in held]


def _tradeoffs(ranked: Sequence[Ranking], album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, radiometry against edges; again for those that lie together, if others are far away."""
    for held in ranked:
        main = leading(held.measures)
        x = next((m for m in main if m.metric not in SHARPNESS), None)
        y = next((m for m in main if m.metric in SHARPNESS), None)
        if x is None or y is None or not held.places:
            continue
        points, labels = _points(held.places, x, y), (axis_label(x), axis_label(y))
        near = crowd(points)
        best = {m: next(p.method for p in held.places if p.cells[m].best) for m in (x, y)}
        about = f"{best[x]} has the best {x.label} and "
        about += f"the best {y.label}" if best[y] == best[x] else f"{best[y]} the best {y.label}"
        name, stem = ratio_name(held.ratio), f"tradeoff-x{held.ratio:g}"
        figure = cloud_figure(points, album.styles, labels, better="upper left", crowded=near)
        yield {"title": name, "svg": album.show(figure, stem, f"{name}: {about}", keep=True), "about": about}
        if near:
            figure = cloud_figure(near, album.styles, labels, better="upper left")
            about = f"{counted(len(near), 'method')} without {listed([p.method for p in points if p not in near])}"
            svg = album.show(figure, f"{stem}-enlarged", f"{name}, enlarged: {about}", keep=True)
            yield {"title": f"{name}, enlarged", "svg": svg, "about": about}


def _costs(scores: Scores, ranked: Sequence[Ranking], album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, accuracy against wall time, CPU time and memory."""
    if STANDARD not in scores.protocols or not {"seconds", "megapixels"} <= set(scores.costs):
        return
    k = scores.protocols.index(STANDARD)
    for held in ranked:
        measure = next((m for m in (RMSE, *leading(held.measures)) if m in held.measures), None)
        if not held.places or measure is None:
            continue
        at = scores.at(held.ratio)
        sizes = scores.costs["megapixels"][k, at]
        size = _median(sizes.ravel())
        # Of a small scene, what is done once per date is most of the time: it must not be multiplied.
        small = size < SMALL
        per, unit = (1.0, f"per prediction of {size:.2g} Mpx [s]") if small else (sizes, "per megapixel [s]")
        panels = [
            (name, scores.costs[column][k, at] / (1.0 if column == "peak_rss" else per), label, column != "peak_rss")
            for name, column, label in (
                ("time", "seconds", f"Wall time {unit}"),
                ("cpu", "cpu_seconds", f"CPU time {unit}"),
                ("memory", "peak_rss", "Peak memory [MB]"),
            )
            if column in scores.costs
        ]
        shown = []
        for name, costs, label, log in panels:
            middle = {m: _median(costs[:, j]) for j, m in enumerate(scores.methods)}
            points = [
                Point(p.method, middle[p.method], p.cells[measure].mean, None, p.cells[measure].interval)
                for p in held.places
                if middle[p.method] > 0
            ]
            if not points:
                continue
            figure = cloud_figure(points, album.styles, (label, axis_label(measure)), better="lower left", log=log)
            least = min(points, key=lambda p: p.x)
            most = max(points, key=lambda p: p.x)
            about = f"{ratio_name(held.ratio)}: {measure.label} against {label}; from {least.method} {least.x:.3g} to "
            about += f"{most.method} {most.x:.3g}"
            shown.append(album.show(figure, f"{name}-x{held.ratio:g}", about, keep=True))
        yield {"ratio": ratio_name(held.ratio), "figures": shown, "size": f"{size:.2g}", "small": small}


def _median(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _reliabilities(scores: Scores, album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, nominal against observed coverage."""
    for ratio in scores.ratios:
        levels, observed, rows = coverage(scores, ratio)
        if not observed:
            continue
        figure = reliability_figure([n / 100 for n in levels], observed, album.styles)
        best = min(rows, key=lambda r: r.gap)
        about = f"{ratio_name(ratio)}: observed against nominal coverage of {len(observed)} methods; {best.method} is "
        about += f"closest, at most {number(100 * best.gap, 1)} points off"
        svg = album.show(figure, f"reliability-x{ratio:g}", about, keep=True)
        each = coverage_by_scene(scores, ratio)
        held = {m: each[:, k] for k, m in enumerate(scores.methods) if m in observed}
        scenes = scenes_figure(held, KEPT, album.styles)
        told = "; ".join(
            f"{r.method} {percent(r.kept)} of {counted(r.scenes, 'scene')}" for r in rows if r.kept is not None
        )
        told = f"{ratio_name(ratio)}: within 80–97 % are {told}"
        shown = album.show(scenes, f"scenes-x{ratio:g}", told, keep=True)
        yield {"ratio": ratio_name(ratio), "svg": svg, "about": about, "scenes": shown, "told": told}


def _losses(scores: Scores, album: Album) -> Iterator[dict[str, Any]]:
    """Per ratio, how much methods lose under each protocol."""
    protocols = [p for p in scores.protocols if p != STANDARD]
    for ratio in scores.ratios:
        changes = {p: {r.method: r.changes.get(RMSE.label) for r in losses(scores, ratio, p)} for p in protocols}
        known = {p: {m: c for m, c in held.items() if c is not None} for p, held in changes.items()}
        known = {p: held for p, held in known.items() if held}
        if not known:
            continue
        figure = losses_figure(known, album.styles, "Change of RMSE against the standard protocol [%]")
        told = []
        for protocol, held in known.items():
            most = max(held, key=lambda m: held[m])
            told.append(f"{protocol} costs {most} most, {percent(held[most], sign=True)}")
        about = f"{ratio_name(ratio)}: change of RMSE per protocol and method; {'; '.join(told)}"
        svg = album.show(figure, f"protocols-x{ratio:g}", about, keep=True)
        yield {"ratio": ratio_name(ratio), "svg": svg, "about": about}
