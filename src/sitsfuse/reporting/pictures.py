"""The pictures of a benchmark's page: strata, and predictions beside the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..benchmarking.configuration import Configuration
from ..benchmarking.measures import RMSE
from ..benchmarking.results import Results
from ..benchmarking.scores import Scores
from ..drawing.text import number
from .album import Album
from .panels import Panel, Views, row_figure, strata_views, views, views_figure, webp
from .words import ratio_name, value


def _picture(panel: Panel, name: str, about: str) -> dict[str, Any]:
    x, y, width, height = panel.box
    place = {"x": f"{x:.6g}", "y": f"{y:.6g}", "width": f"{width:.6g}", "height": f"{height:.6g}"}
    rows, cols = panel.colours.shape[:2]
    where: dict[str, Any] = {"id": re.sub(r"\W+", "-", name), "source": panel.source, "rows": rows, "cols": cols}
    where["error"] = "" if panel.error is None else webp(panel.error)
    return {"name": panel.name, "note": panel.note, "about": about, **where, **place}


def strata_rows(results: Results, scores: Scores, album: Album) -> Iterator[dict[str, Any]]:
    """A row of pictures per site: a reference, and where its gradients are low and high."""
    for site in scores.sites:
        found = strata_views(results, site)
        if found is None:
            continue
        date, *panels = found
        rows, cols = panels[0].colours.shape[:2]
        album.keep(row_figure(panels, (rows, cols), f"{site} {date}"), f"strata-{site}")
        told = ("Reference image", "Where gradients of the reference are low and high")
        pictures = [
            _picture(p, f"strata-{site}-{k}", f"{t}, {site}, {date}")
            for k, (p, t) in enumerate(zip(panels, told, strict=True))
        ]
        yield {"site": site, "date": date, "pictures": pictures}


def view_rows(
    results: Results, config: Configuration, scores: Scores, order: Sequence[str], album: Album
) -> Iterator[dict[str, Any]]:
    """Per ratio and site, what was predicted for a date and how guides weigh in it."""
    rmse = scores.get(RMSE)
    for ratio in scores.ratios:
        for site in scores.sites:
            here = scores.pairs[scores.at(ratio) & (scores.pairs["site"] == site).to_numpy()]
            for target in dict.fromkeys(here["target"]):
                if target not in config.site(site).targets:
                    continue
                notes = {
                    (str(date), m): f"RMSE {value(RMSE, rmse[place, k])}"
                    for place, date in here.loc[here["target"] == target, "date"].items()
                    for k, m in enumerate(scores.methods)
                    if np.isfinite(rmse[int(str(place)), k])
                }
                found = views(results, site, target, order, notes)
                if found is not None:
                    yield _view(found, f"{site}-{target}", album)


def _view(found: Views, name: str, album: Album) -> dict[str, Any]:
    title = f"{found.site} {ratio_name(found.ratio)}, {found.date}"
    album.keep(views_figure(found, title), f"predictions-{name}")
    about = {"LR": "LR image", "reference": "Reference"}
    pictures = [
        _picture(p, f"view-{name}-{k}", f"{about.get(p.name, f'Prediction of {p.name}')}, {title} {p.note}".strip())
        for k, p in enumerate(found.panels)
    ]
    maps = []
    for held in found.weights:
        band = f" in {held.band}" if held.band else ""
        album.keep(
            row_figure(held.maps, found.shape, f"{title}: weights{band}, {held.method}"),
            f"weights-{name}-{held.method}",
        )
        shown = [
            _picture(
                p,
                f"weight-{name}-{held.method}-{k}",
                f"Weight{band} of the guide of {p.name} in {held.method}, {p.note}",
            )
            for k, p in enumerate(held.maps)
        ]
        maps.append(
            {
                "method": held.method,
                "band": held.band,
                "guides": held.guides,
                "top": number(held.top, 2),
                "pictures": shown,
            }
        )
    rows, cols = found.shape
    return {
        "site": found.site,
        "ratio": ratio_name(found.ratio),
        "date": found.date,
        "box": f"0 0 {cols} {rows}",
        "zoom": found.zoomed,
        "end": number(found.end, 3),
        "pictures": pictures,
        "weights": maps,
    }
