"""What a preparation says of itself: one JSON-safe record, and small pictures for its page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from ..core.displacement import STAY
from ..core.grid import crs_name
from ..core.tiling import middle
from ..errors import InputError
from ..operators.matrices import psf_sigma
from ..version import __version__
from .blurring import Blur
from .config import PrepareConfig
from .harmonizing import Radiometry
from .masks import masks_verdict, share
from .placed import ImageRecord, Placing
from .placing import key
from .sources import Source
from .state import State
from .survey import Chosen, Survey
from .verdicts import Said, blur_verdict, harmonization_verdict, registration_verdict

CROP = 300
"""Side of the checkerboard, in HR pixels."""


def record(
    config: PrepareConfig,
    found: Survey,
    placed: Placing,
    blur: Blur,
    radiometry: Radiometry,
    masks: Mapping[str, Any],
    state: State,
    problems: Sequence[InputError],
    attrs: Mapping[str, Any],
) -> dict[str, Any]:
    """What was done, image by image."""
    images: list[ImageRecord] = []
    for role in ("guide", "target", "reference"):
        images += [_image(found, c, placed, state.get("written", f"{role} {i}")) for i, c in enumerate(found.of(role))]
    for finding in masks["findings"]:
        what = "all of it" if finding["whole"] else share(finding["share"])
        image = images[finding["index"]]  # guides come first
        note = "; ".join(t for t in (image.note, f"its mask misses clouds? ({what})") if t)
        images[finding["index"]] = replace(image, note=note)
    anchor = [i.date for i in images if i.placed.quality == "reference"]
    fitted = _harmonization(config, radiometry)
    verdicts = [
        *(registration_verdict(series, placed.verdicts[series], images) for series in ("hr", "lr")),
        blur_verdict(blur, found.bands),
        harmonization_verdict(config, radiometry, found.bands),
        masks_verdict(masks),
    ]
    return {
        **attrs,
        "summary": _summary(config, found, verdicts),
        "verdicts": [v.record() for v in verdicts],
        "version": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "hr": _series(found.hr, found.hr_box, found.bands),
        "lr": _series(found.lr, found.lr_box, found.bands),
        "plan": found.plan.table(),
        "images": [i.to_json() for i in images],
        "registration": {
            "model": config.registration.model,
            "reference": None if config.registration.reference is None else str(config.registration.reference),
            "measured_by": anchor[0] if anchor else None,
        },
        "psf": _psf(blur, found.bands),
        "harmonization": fitted,
        "masks": dict(masks),
        "combined": {b: dict(r) for b, r in radiometry.recipes.items() if b in found.bands},
        "problems": [{"path": str(e.where), "problem": e.advice} for e in problems],
        "config": config.model_dump(mode="json"),
    }


def planned(config: PrepareConfig, found: Survey) -> dict[str, Any]:
    """What would be done."""
    named = {k: v for k in ("name", "landscape", "location") if (v := getattr(config, k))}
    return {**named, "plan": found.plan.table(), "config": config.model_dump(mode="json")}


def checkerboard(
    found: Survey, placed: Placing, radiometry: Radiometry, failed: Collection[str]
) -> dict[str, npt.NDArray[np.float32]]:
    """A guide and the target nearest in time, before and after, on the middle of the HR grid; not the ``failed``."""
    day = np.timedelta64(1, "D")
    best = min(
        ((t, g) for t in found.of("target") for g in found.of("guide") if not {t.image.id, g.image.id} & {*failed}),
        key=lambda p: abs(p[0].image.time - p[1].image.time) / day + 10 * (2 - p[0].useful - p[1].useful),
        default=None,
    )
    if best is None:
        return {}
    target, guide = best
    box = found.hr_box[middle(found.hr_box, CROP)]
    natural = [found.bands.index(b) for b in ("red", "green", "blue") if b in found.bands]
    rows = natural if len(natural) == 3 else [min(k, len(found.bands) - 1) for k in range(3)]
    hr = replace(found.hr, recipes=radiometry.recipes)
    sharp, _, _ = hr.read(guide.image, found.bands, box, placed[key(guide)].displacement)
    before, _, _ = found.lr.read(target.image, found.bands, box, STAY)
    after, _, _ = found.lr.read(target.image, found.bands, box, placed[key(target)].displacement)
    if radiometry.harmonization is not None:
        after = radiometry.harmonization.apply(after, target.image.time)
    return {"checker_hr": sharp[rows], "checker_before": before[rows], "checker_after": after[rows]}


def _summary(config: PrepareConfig, found: Survey, verdicts: Sequence[Said]) -> str:
    """The figures that matter, in a few lines."""
    lines = [found.plan.format().splitlines()[-1]]
    wanted, there = config.selection.targets, len(found.of("target"))
    if wanted is not None and wanted != there:
        lines.append(f"{there} targets, where {wanted} were expected")
    lines += [v.text for v in verdicts]
    return "\n".join(lines)


def _image(found: Survey, chosen: Chosen, placed: Placing, written: Mapping[str, Any]) -> ImageRecord:
    where = placed[key(chosen)]
    return ImageRecord(
        role=chosen.role,
        date=str(chosen.image.time)[:10],
        id=chosen.image.id,
        platform=chosen.image.platform,
        clear=chosen.clear,
        coverage=chosen.coverage,
        placed=where,
        note=where.note or written.get("problem", ""),
        seconds=written.get("seconds"),
    )


def _series(source: Source, box: GeoBox, bands: Sequence[str]) -> dict[str, Any]:
    return {
        "sensor": source.sensor,
        "pixel": abs(box.affine.a),
        "size": list(box.shape),
        "crs": crs_name(box),
        "bands": list(bands),
    }


def _psf(blur: Blur, bands: Sequence[str]) -> dict[str, Any]:
    rows = []
    for k, band in enumerate(bands):
        row: dict[str, Any] = {"band": band, "mtf": blur.mtf[k], "sensor_mtf": blur.sensor[k]}
        row["width"] = psf_sigma(blur.mtf[k])
        if (told := blur.sharpness) is not None and np.isfinite(told.errors[k]):
            row |= {"found": told.found[k], "error": told.errors[k]}
        rows.append(row)
    return {"bands": rows}


def _harmonization(config: PrepareConfig, radiometry: Radiometry) -> dict[str, Any]:
    said: dict[str, Any] = {"mode": config.harmonization.mode, "pairs": list(radiometry.pairs), "note": radiometry.note}
    if radiometry.harmonization is None:
        return said | {"bands": []}
    fitted = radiometry.harmonization.to_mapping()
    return said | {
        "bands": _rows(fitted["lines"]),
        "dates": {d: _rows(lines) for d, lines in fitted.get("dates", {}).items()},
        "matrix": fitted.get("matrix"),
        "offsets": fitted.get("offsets"),
    }


def _rows(lines: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per band."""
    return [{"band": b, **line} for b, line in lines.items()]
