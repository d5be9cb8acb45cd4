"""What a network learns from: HR images of sites, series or a SEN2VENµS archive, some of them held out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ...core.checks import match_bands
from ...core.grid import Window
from ...core.loading import load_image
from ...core.series import DEFAULT_MTF
from ...core.site import SiteLayout, group
from ...errors import InputError
from ...readers import open_series, open_site, series_names
from ...readers.kinds import shared_options
from ..card import FACTOR_TOLERANCE
from .archive import from_archive
from .collection import HELD_SHARE, Collection, is_clear
from .config import SMALLEST_PATCH
from .pairs import Image
from .sen2venus import is_sen2venus

Source = str | Path | xr.DataTree | xr.Dataset
"""A path, a site or a series."""

EVERY = 5
"""One in so many sites or dates is held out."""
FEWEST = EVERY // 2 + 1
"""Fewest sites or dates of which one is held out."""
WINDOW = 384
"""Side of the windows that are drawn from large images, in HR pixels."""
BANDS = "b2b3b4b8"
"""Group of bands of a SEN2VENµS archive that is read unless another is asked for."""
SHOWN = 3
"""Places named in a model's card."""


def collect(
    sources: Sequence[Source],
    factor: float | None,
    target: str,
    group_of_bands: str,
    most: int,
    patch: int,
    seed: int,
    reading: Mapping[str, Any] | None = None,
) -> Collection:
    """Read the images of one SEN2VENµS archive, or of sites and HR series.

    Parameters
    ----------
    sources
        Paths, sites or series.
    factor
        LR pixel size over HR pixel size; by default that of the sites, or of the archive's pairs.
    target
        Name of the target series in the sites, which says the factor and the MTF.
    group_of_bands
        Of a SEN2VENµS archive.
    most
        Most HR pixels in memory.
    patch
        Side of the patches to be drawn, in LR pixels.
    seed
        Of the windows drawn.
    reading
        Options of :func:`sitsfuse.open_series`, for those sources that have a use for them.

    Raises
    ------
    InputError
        If a source cannot be read, sources do not go together, or no factor is known.
    """
    if not sources:
        raise InputError("training", "has no images", "give a site, a folder of HR images or a SEN2VENµS archive")
    if factor is not None and not 1 < factor < math.inf:
        raise InputError("`factor`", f"{factor:g} is not above 1", "give the LR over the HR pixel size, e.g. 2.5")
    archives = [s for s in sources if isinstance(s, str | Path) and is_sen2venus(s)]
    if archives and len(sources) > 1:
        raise InputError(archives[0], "is a SEN2VENµS archive, which goes alone", "drop the other paths")
    if archives and reading:
        raise InputError(
            archives[0], f"is a SEN2VENµS archive: `{min(reading)}` is of no use", f"drop `{min(reading)}`"
        )
    if archives:
        return from_archive(Path(archives[0]), factor, group_of_bands, most, seed)
    if group_of_bands != BANDS:
        raise InputError(
            "`bands`", f"{group_of_bands!r} is for a SEN2VENµS archive, which none of the paths is", "drop it"
        )
    named = {f"source {i}": source for i, source in enumerate(sources, 1)}
    usable = shared_options(named, reading) if reading else {name: {} for name in named}
    return _from_series([_open(s, target, usable[name]) for name, s in named.items()], factor, most, patch, seed)


# eq=False: whether two are the same must not depend on pixels, which are not even in memory.
@dataclass(frozen=True, eq=False)
class _Place:
    """HR images of one place."""

    name: str
    series: xr.Dataset
    factor: float | None
    mtf: float | None


@dataclass(frozen=True, eq=False)
class _Part:
    """One date of a place, or some of its columns."""

    place: _Place
    time: int
    left: int = 0
    right: int | None = None

    @property
    def day(self) -> str:
        return str(self.place.series["time"].values[self.time])[:10]


Division = tuple[list[_Part], list[_Part], str]
"""Parts to learn from, parts to judge by, and what the latter are."""


def _open(source: Source, target: str, reading: Mapping[str, Any]) -> _Place:
    if isinstance(source, xr.Dataset) or (isinstance(source, str | Path) and not series_names(source)):
        series = open_series(source, **reading)
        name = Path(str(series.attrs.get("source", "series"))).resolve().name
        return _Place(name.removesuffix(".zarr"), series, None, None)
    site = source if isinstance(source, xr.DataTree) else open_site(source, target, **reading)
    known = SiteLayout.of(site)
    return _Place(str(site.attrs.get("name", "site")), group(site, "guide"), known.ratio, float(np.mean(known.mtf)))


def _from_series(places: list[_Place], factor: float | None, most: int, patch: int, seed: int) -> Collection:
    places = _alike(places)
    factor = factor or _common_factor(places)
    size, least = max(WINDOW, math.ceil(patch * factor)), math.ceil(SMALLEST_PATCH * factor)
    for place in places:
        rows, cols = (place.series.sizes[d] for d in ("y", "x"))
        if min(rows, cols) < least:
            mend = f"give images of at least {least} pixels a side, or a smaller factor"
            raise InputError(place.name, f"has images of {rows} × {cols} pixels: too small for {factor:g}", mend)
    known = [p.mtf for p in places if p.mtf is not None]
    level = round(float(np.mean(known)), 6) if known else DEFAULT_MTF
    for parts, away, what in _divisions(places, least):
        rng = np.random.default_rng(seed)
        learnt, judged = (
            _windows(some, int(most * share), size, least, factor, level, rng)
            for some, share in ((parts, 1 - HELD_SHARE), (away, HELD_SHARE))
        )
        if learnt and judged:
            # A site has no images to spare for a third part.
            bands = tuple(str(b) for b in places[0].series["band"].values)
            return Collection(bands, factor, learnt, judged, judged, level, _told(parts), what)
    raise InputError(
        places[0].name,
        "has too few clear pixels to learn from and to judge by",
        "give more, larger or clearer images",
    )


def _alike(places: list[_Place]) -> list[_Place]:
    """The places, their bands in the order of the first one's."""
    first = places[0]
    bands = [str(b) for b in first.series["band"].values]
    for p in places:
        if not p.series.sizes["time"]:
            raise InputError(p.name, "has no HR image", "give a site with guides, or a folder of HR images")
        here = [str(b) for b in p.series["band"].values]
        if sorted(here) != sorted(bands):
            what = f"has the bands {', '.join(here)}, and {first.name} has {', '.join(bands)}"
            raise InputError(p.name, what, "give images with the same bands")
    return [replace(p, series=match_bands(p.series, first.series, p.name)) for p in places]


def _common_factor(places: list[_Place]) -> float:
    """The ratio of those that are sites."""
    ratios = [(p.factor, p.name) for p in places if p.factor is not None]
    if not ratios:
        raise InputError(places[0].name, "is a series, which has no ratio", "give `factor`, e.g. `factor=2.5`")
    factor, first = ratios[0]
    for other, name in ratios:
        if abs(other / factor - 1) > FACTOR_TOLERANCE:
            what = f"has a ratio of {other:g}, and {first} one of {factor:g}"
            raise InputError(name, what, "give the one to train for as `factor`")
    return factor


def _told(parts: list[_Part]) -> str:
    """What a network learnt from, for its card."""
    days = sorted(part.day for part in parts)
    # Two places may have one name.
    places = list({id(part.place): part.place.name for part in parts}.values())
    names = ", ".join(places[:SHOWN])
    if len(places) > SHOWN:
        names += f" and {len(places) - SHOWN} more"
    count = f"{len(parts)} image{'s' * (len(parts) != 1)}, {days[0]} to {days[-1]}"
    return f"HR images of {names} ({count}) and their own degraded versions"


def _divisions(places: list[_Place], least: int) -> Iterator[Division]:
    """What to learn from and what to judge by: other places, else other dates, else columns; the best comes first."""
    parts = [_Part(p, k) for p in places for k in range(p.series.sizes["time"])]
    if len(places) >= FEWEST:
        away = places[EVERY // 2 :: EVERY]
        what = "other places: " + ", ".join(p.name for p in away)
        yield [p for p in parts if p.place not in away], [p for p in parts if p.place in away], what
    if min(p.series.sizes["time"] for p in places) >= FEWEST:
        held = [p for p in parts if p.time % EVERY == EVERY // 2]
        what = "other dates of the same place: " + ", ".join(sorted({p.day for p in held}))
        yield [p for p in parts if p not in held], held, what
    west, east = [], []
    for part in parts:
        cols = part.place.series.sizes["x"]
        edge = min(round(cols * (1 - HELD_SHARE)), cols - least)
        west.append(replace(part, right=edge))
        east.append(replace(part, left=edge))
    yield west, east, "columns in the east"


def _windows(
    parts: list[_Part], most: int, size: int, least: int, factor: float, level: float, rng: np.random.Generator
) -> list[Image]:
    """The images, in windows of ``size`` HR pixels; drawn at random if they are more than ``most`` HR pixels.

    Those with a side below ``least``, or with few clear pixels, are left out.
    """
    cells = []
    for part in parts:
        rows, cols = part.place.series.sizes["y"], part.place.series.sizes["x"]
        left, right = part.left, cols if part.right is None else part.right
        for y in _starts(rows, size):
            for x in _starts(right - left, size):
                window = slice(y, min(y + size, rows)), slice(left + x, min(left + x + size, right))
                if min(s.stop - s.start for s in window) >= least:
                    cells.append((part, window))
    found: list[Image] = []
    pixels = 0
    for i in rng.permutation(len(cells)):
        if found and pixels >= most:
            break
        image = _image(*cells[i])
        if is_clear(image, factor, level):
            found.append(image)
            pixels += image.valid.size
    return found


def _image(part: _Part, window: Window) -> Image:
    values, valid = load_image(part.place.series.isel(time=part.time), window)
    return Image(np.where(valid, values, np.float32(0)), valid)


def _starts(n: int, size: int) -> list[int]:
    """Where as many whole windows as fit begin, evenly from end to end; what lies between them is left out."""
    count = max(1, n // size)
    return [round(i * (n - size) / (count - 1)) for i in range(count)] if count > 1 else [0]
