"""Writes the images of a site, block by block; an image that is written is not written again."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from ..core.grid import Window
from ..errors import InputError
from ..readers.products.flags import FLAG_ATTRS, FLAGS
from ..runtime.files import writing
from ..runtime.progress import Progress
from ..version import __version__
from ..writers import create_series, write_region
from .config import PrepareConfig
from .harmonizing import Radiometry
from .placed import Placing
from .placing import key
from .state import State
from .survey import Chosen, Survey

SHARD = 1024
"""Side of a shard, in pixels."""
BLOCK = 2**28
"""Bytes of reflectances that a block holds at most, if it has more than one shard."""


def write_images(
    config: PrepareConfig,
    found: Survey,
    placed: Placing,
    radiometry: Radiometry,
    state: State,
    report: Progress,
    workers: int,
) -> dict[str, InputError]:
    """Write all images of a site.

    Returns
    -------
    dict
        {identifier: why} of images that could not be read to their end: they stay in the series, without a valid
        pixel.
    """
    found = replace(found, hr=replace(found.hr, recipes=radiometry.recipes))
    problems: dict[str, InputError] = {}
    jobs = []
    for role in ("guide", "target", "reference"):
        images = found.of(role)
        if images:
            _create(config, found, role, images, placed, radiometry, state)
        jobs += [(role, index, chosen) for index, chosen in enumerate(images)]
    total = len(jobs)
    with ThreadPoolExecutor(workers) as pool:
        for done, (role, index, chosen) in enumerate(jobs):
            report("writing images", done, total)
            name = f"{role} {index}"
            if state.get("written", name):
                continue
            start = time.monotonic()
            record: dict[str, Any] = {"image": chosen.image.id}
            try:
                shares = list(
                    pool.map(
                        lambda w, c=chosen, i=index: _block(found, c, i, placed, radiometry, state, w),
                        blocks(found.box(role), len(found.bands)),
                    )
                )
                record["valid"] = float(sum(shares)) / (found.box(role).shape[0] * found.box(role).shape[1])
            except InputError as error:
                if config.on_error == "stop" or str(error.where).startswith(str(state.site)):
                    raise
                problems[chosen.image.id] = error
                record["problem"] = str(error)
                _clear(state, role, index, found)
            record["seconds"] = round(time.monotonic() - start, 3)
            state.put("written", name, record)
    report("writing images", total, total)
    return problems


def _create(
    config: PrepareConfig,
    found: Survey,
    role: str,
    images: Sequence[Chosen],
    placed: Placing,
    radiometry: Radiometry,
    state: State,
) -> None:
    """Make the empty series of a role, unless an earlier run has."""
    if state.get("created", role):
        return
    place = state.site / role
    if place.exists():  # killed while it was made
        with writing(place):
            shutil.rmtree(place)
    source = found.source(role)
    bands = list(found.bands)
    moved = [placed[key(c)].displacement.mean for c in images]
    coords: dict[str, Any] = {
        "product": (("time",), [c.image.id for c in images]),
        "platform": (("time",), [c.image.platform for c in images]),
        "shift_x": (("time",), [float(m[0]) for m in moved]),
        "shift_y": (("time",), [float(m[1]) for m in moved]),
        "registration": (("time",), [placed[key(c)].quality for c in images]),
    }
    if role == "target":
        lines = [radiometry.lines(c.image.time, bands) for c in images]
        coords["gain"] = (("time", "band"), np.array([gain for gain, _ in lines]))
        coords["offset"] = (("time", "band"), np.array([offset for _, offset in lines]))
    mtfs = (
        found.lr_mtf if role == "target" else [found.hr.mtfs.get(b, np.mean([*found.hr.mtfs.values()])) for b in bands]
    )
    made = {"config": config.model_dump(mode="json"), "version": __version__}
    create_series(
        place,
        times=[c.image.time for c in images],
        bands=bands,
        geobox=found.box(role),
        variables={"flags": (("time", "y", "x"), np.uint8, FLAG_ATTRS)},
        coords=coords,
        attrs={
            "sensor": source.sensor,
            "mtf": [float(m) for m in mtfs],
            "history": "prepared by sitsfuse",
            "provenance": json.dumps(made),
        },
        shard=SHARD,
        made_by="sitsfuse prepare",
    )
    state.put("created", role, {"images": len(images)})


def _block(
    found: Survey,
    chosen: Chosen,
    index: int,
    placed: Placing,
    radiometry: Radiometry,
    state: State,
    window: Window,
) -> int:
    """Read, harmonise and write a block; the number of its valid pixels."""
    role = chosen.role
    rows, cols = window
    mtf = found.lr_mtf if role == "target" else (0.3,)
    moved = placed[key(chosen)].displacement
    values, valid, flags = found.source(role).read(chosen.image, found.bands, found.box(role)[rows, cols], moved, mtf)
    if role == "target" and radiometry.harmonization is not None:
        values = radiometry.harmonization.apply(values, chosen.image.time)
    write_region(state.site / role, {"reflectance": values, "valid": valid, "flags": flags}, index, rows, cols)
    return int(valid.sum())


def blocks(box: GeoBox, bands: int) -> list[Window]:
    """Blocks of whole shards, as wide as the image if memory allows: files are stored by rows."""
    rows, cols = box.shape
    wide = max(1, BLOCK // (4 * bands * SHARD * SHARD)) * SHARD
    return [
        (slice(y, min(y + SHARD, rows)), slice(x, min(x + wide, cols)))
        for y, x in itertools.product(range(0, rows, SHARD), range(0, cols, wide))
    ]


def _clear(state: State, role: str, index: int, found: Survey) -> None:
    """Take back what was written of an image that cannot be read to its end."""
    for rows, cols in blocks(found.box(role), len(found.bands)):
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        nothing = np.full((len(found.bands), *shape), np.nan, np.float32)
        flags = np.full(shape, FLAGS["nodata"], np.uint8)
        write_region(
            state.site / role,
            {"reflectance": nothing, "valid": np.zeros(shape, bool), "flags": flags},
            index,
            rows,
            cols,
        )
