"""What the viewer's script reads of a site, and a picture for readers without script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.arrays import BoolArray, ByteArray, FloatArray
from ...drawing.stretch import GAMMA
from .pictures import Blobs, Pictures, Sheet, decode_difference, encode
from .scales import NDVI
from .series import deflate
from .site import COLOUR, COLOURED, INFRARED, Scene, Target, neighbours

LOSSLESS = 100
"""A quality at which a picture is what went in."""
OBSERVED = 82
"""Quality of the pictures of what was observed: there are few of them, and predictions are told from them."""
BLANK = 191
"""Grey of invalid pixels in the picture without script."""


@dataclass(frozen=True)
class Plan:
    """What is shown."""

    quality: int
    """Of the pictures of predictions."""
    observed: int
    """Of the pictures of what was observed."""
    dates: int
    """Most dates per site."""
    methods: int
    """How many, the best."""


def evenly(count: int, most: int) -> list[int]:
    """At most so many of ``count`` positions, evenly spread."""
    return sorted({int(i) for i in np.rint(np.linspace(0, count - 1, min(count, most)))})


def sheets(scene: Scene, plan: Plan, methods: Sequence[str]) -> list[Sheet]:
    """The predictions that a plan shows."""
    dates = evenly(len(scene.dates), plan.dates)
    return [p.sheet for t in scene.targets for p in t.predictions if p.date in dates and p.method in methods]


def entry(scene: Scene, plan: Plan, methods: Sequence[str], pictures: Pictures, blobs: Blobs) -> dict[str, Any]:
    """A site as the script reads it; pictures, masks and series are positions in ``blobs``."""
    writer = _Writer(scene, plan, methods, evenly(len(scene.dates), plan.dates), pictures, blobs)
    return writer.site()


@dataclass(frozen=True)
class _Writer:
    """What the parts of an entry share."""

    scene: Scene
    plan: Plan
    methods: Sequence[str]
    chosen: list[int]
    """Positions of the dates that are shown."""
    pictures: Pictures
    blobs: Blobs

    def site(self) -> dict[str, Any]:
        scene, chosen = self.scene, self.chosen
        near = [neighbours(scene.dates[k], list(scene.guides)) for k in chosen]
        return {
            "title": scene.title,
            "bands": scene.bands,
            "shape": scene.shape,
            "map": [float(f"{v:.10g}") for v in scene.transform],
            "crs": scene.crs,
            "composites": composites(scene.bands),
            "dates": [scene.dates[k] for k in chosen],
            "guide_dates": scene.guide_dates,
            "near": near,
            "guides": {g: self.picture(scene.guides[g]) for g in sorted({g for pair in near for g in pair if g})},
            "bases": [self.picture(scene.bases[k]) for k in chosen],
            # None: the reference is known nowhere.
            "known": [{"m": self.blobs.mask(scene.known[k])} if scene.known[k].any() else None for k in chosen],
            "code": [_floats(scene.code.low), _floats(scene.code.high)],
            "scale": _floats(scene.scale),
            "stretch": [_floats(pair) for pair in scene.stretch],
            "sigma": scene.sigma,
            "errors": scene.errors,
            "series": {
                "rows": scene.at[0].tolist(),
                "cols": scene.at[1].tolist(),
                "span": [_floats(scene.span.low), _floats(scene.span.high)],
                "guides": scene.guide_dates,
                "references": scene.dates,
                "blob": self.blobs.add(deflate(scene.observed)),
            },
            "targets": [self.target(target) for target in scene.targets],
        }

    def target(self, target: Target) -> dict[str, Any]:
        predictions: dict[str, list[Any]] = {m: [None] * len(self.chosen) for m in self.methods}
        for p in target.predictions:
            if p.method in predictions and p.date in self.chosen:
                unsure = {} if p.sheet.half is None else {"u": 1}
                picture = self.picture(p.sheet, self.plan.quality) | unsure
                predictions[p.method][self.chosen.index(p.date)] = picture
        images: list[Any] = []
        for k in self.chosen:
            date, sheet = target.images.get(k, ("", None))
            images.append(None if sheet is None else self.picture(sheet) | {"date": date})
        series = [m for m in self.methods if m in target.predicted]
        stated = [m for m in series if m in target.unsure]
        parts = np.concatenate(
            [target.series, *(target.predicted[m] for m in series), *(target.unsure[m] for m in stated)]
        )
        return {
            "name": target.name,
            "ratio": target.ratio,
            "place": [round(v, 6) for v in target.place],
            "shape": target.shape,
            "lr": images,
            "predictions": {m: p for m, p in predictions.items() if any(p)},
            "series": {
                "dates": target.dates,
                "methods": series,
                "unsure": stated,
                "blob": self.blobs.add(deflate(parts)),
            },
        }

    def picture(self, sheet: Sheet, quality: int = 0) -> dict[str, Any]:
        """A picture ``s`` and its mask ``m``; a mask that is null hides nothing."""
        return {
            "s": self.blobs.add(self.pictures(sheet, quality or self.plan.observed)),
            "m": self.blobs.mask(sheet.valid),
        }


def composites(bands: Sequence[str]) -> list[dict[str, Any]]:
    """The ways to colour an image of some bands, the best first: what they are called and which bands they need."""
    known = [
        ("colour", "true colour", COLOUR),
        ("infrared", "false colour (nir)", INFRARED),
        ("ndvi", "NDVI", NDVI),
        *(("other", ", ".join(c), c) for c in COLOURED[2:]),
    ]
    found = [
        {"kind": kind, "label": label, "bands": [bands.index(b) for b in names]}
        for kind, label, names in known if set(names) <= set(bands)
    ]  # fmt: skip
    return found or [{"kind": "band", "label": b, "bands": [k] * 3} for k, b in enumerate(bands)]


def _floats(values: npt.NDArray[Any]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]


def still(scene: Scene, method: str) -> dict[str, str]:
    """A picture of the LR image, the prediction of a method and the reference: its address, and what it shows."""
    target = scene.targets[0]
    shown = next((p for p in target.predictions if p.method == method), target.predictions[0])
    base = scene.code.decode(scene.bases[shown.date].bands)
    prediction = base + decode_difference(shown.sheet.bands, scene.scale)
    panels = {f"prediction by {shown.method}": _coloured(scene, prediction, shown.sheet.valid)}
    if scene.known[shown.date].any():
        panels["reference"] = _coloured(scene, base, scene.known[shown.date])
    if shown.date in target.images:
        panels = {"low resolution": _enlarged(scene, target, target.images[shown.date][1])} | panels
    gap = np.full((scene.shape[0], max(scene.shape[1] // 40, 2), 3), 255, np.uint8)
    wide = np.concatenate([part for panel in panels.values() for part in (panel, gap)][:-1], axis=1)
    source = base64.b64encode(encode(wide, OBSERVED)).decode("ascii")
    about = f"{scene.title}, {scene.dates[shown.date]}: {', '.join(panels)}"
    return {"source": f"data:image/webp;base64,{source}", "about": about}


def _coloured(scene: Scene, values: FloatArray, valid: BoolArray) -> ByteArray:
    """(y, x, 3) colours of values (band, y, x)."""
    way = composites(scene.bands)[0]
    first = way["bands"] if len(way["bands"]) == 3 else [way["bands"][0]] * 3
    low, high = (scene.stretch[first, k][:, None, None] for k in (0, 1))
    colours = 255 * np.clip((values[first] - low) / (high - low), 0, 1) ** GAMMA
    return np.moveaxis(np.rint(np.where(valid, colours, BLANK)), 0, -1).astype(np.uint8)


def _enlarged(scene: Scene, target: Target, sheet: Sheet) -> ByteArray:
    """An LR image on the HR window, pixel by pixel."""
    colours = _coloured(scene, scene.code.decode(sheet.bands), sheet.valid)
    left, top, width, height = target.place
    index, inside = [], []
    for count, many, start, size in zip(scene.shape, target.shape, (top, left), (height, width), strict=True):
        at = np.floor(((np.arange(count) + 0.5) / count - start) / size * many).astype(int)
        index.append(np.clip(at, 0, many - 1))
        inside.append((at >= 0) & (at < many))
    seen = inside[0][:, None, None] & inside[1][:, None]
    return np.where(seen, colours[np.ix_(*index)], BLANK).astype(np.uint8)
