"""One's own fusion to look at: a page that needs nothing else, with the viewer of the benchmark's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ..core.grid import GridPair, Window, same_grid
from ..core.series import geobox
from ..drawing.html import write_page
from ..errors import InputError
from ..fusion.dates import plan_dates
from ..fusion.outputs.disk import SOURCES
from ..readers import open_roles, open_series
from ..runtime.files import STATE, read_json
from ..runtime.progress import Progress, silent
from .palette import PALETTE
from .viewer import fitted, side_for
from .viewer.entries import evenly
from .viewer.samples import Sample, days_of
from .viewer.samples import read as read_image
from .viewer.site import Material, scene_of, stored_bands
from .viewer.thinning import step_for, thinned

LARGEST = 14_000_000
"""Most characters that pictures and series take in the page."""
SIDE = 800
"""Most pixels along a side of the pictures."""
MOST_DATES = 40
"""Most dates that are shown: of more, evenly spread ones."""
NEAR = np.timedelta64(1, "D")
"""Most time between a prediction and its reference."""


def view(
    fused: str | Path | xr.Dataset,
    reference: str | Path | xr.Dataset | None = None,
    out: str | Path | None = None,
    *,
    target: str | Path | xr.Dataset | None = None,
    guide: str | Path | xr.Dataset | None = None,
    window: Sequence[int] | None = None,
    dates: Any = None,
    target_options: Mapping[str, Any] | None = None,
    report: Progress = silent,
    **options: Any,
) -> Path:
    """Write a page to look at a fusion: swipe between low resolution and prediction, ± σ, series of pixels.

    Parameters
    ----------
    fused
        The output of a fusion, or any series.
    reference
        Images on the same grid to compare with: the page then shows errors as well.
    out
        The page; by default ``FUSED.html`` beside the output.
    target, guide
        What was fused; by default what the output tells that it was made of, where that is still there.
    window
        Row and column of the first pixel, then the side, or height and width, of the part that is shown; by default
        the whole. Beyond 800 pixels along a side several become one.
    dates
        Dates to show, as for :func:`sitsfuse.fuse`; by default all, or 40 of them evenly spread.
    target_options
        Options for reading the target alone, on top of ``options``.
    report
        Called as the work proceeds.
    **options
        For reading reference, target and guide, as for :func:`sitsfuse.open_series`.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    InputError
        If a path cannot be read, grids do not match, or jinja2 or Pillow is missing.
    """
    series = fused if isinstance(fused, xr.Dataset) else open_series(fused)
    place = None if isinstance(fused, xr.Dataset) else Path(fused)
    page = Path(out) if out is not None else _beside(place)
    given = {"reference": reference, "target": target, "guide": guide}
    opened = open_roles({k: v for k, v in given.items() if v is not None}, options, target_options)
    told = {} if place is None else read_json(place / STATE / "run.json")
    opened = _recorded(place) | opened
    shown = _shown(series, dates)
    series = series.isel(time=shown)
    part = _part(series, window)
    step = step_for(part, SIDE)
    bands = stored_bands([str(b) for b in series["band"].values])
    seen = _Reader(series, bands, part, step, report, opened)
    method = str(told.get("method", "prediction"))
    material = seen.material(method, page.stem if place is None else place.resolve().name)
    side = side_for(seen.values, LARGEST)
    found = fitted([scene_of(material, [method], side)], [method], side, LARGEST)
    if found is None:
        raise InputError(fused if place is not None else "fused", "is too large for a page", "give a smaller `window`")
    context = {
        "theme": PALETTE,
        "viewer": {**found, "notes": [*seen.notes(part), *found["notes"]]},
        "title": material.title,
        "method": method,
        "days": (material.dates[0], material.dates[-1]),
        "count": len(material.dates),
        "ratio": material.ratios["target"],
        "compared": material.reference is not None,
        "version": str(told.get("version", "")),
    }
    write_page(page, __name__.rpartition(".")[0], "view.html.j2", context)
    return page


def _beside(place: Path | None) -> Path:
    if place is None:
        raise InputError("`out`", "is missing", "name the page, e.g. view.html")
    whole = place.resolve()
    return whole.with_name(f"{whole.name.removesuffix('.zarr')}.html")


def _recorded(place: Path | None) -> dict[str, xr.Dataset]:
    """The guide and the target that an output was made of, as far as they are still there."""
    found = {}
    for role, source in ({} if place is None else read_json(place / STATE / SOURCES)).items():
        try:
            found[role] = open_series(source["path"], **source["options"])
        except InputError:
            continue  # moved or changed: `target` and `guide` tell where
    return found


def _shown(series: xr.Dataset, dates: Any) -> list[int]:
    """Positions of the dates to show."""
    available = series["time"].values
    if dates is None:
        return evenly(len(available), MOST_DATES)
    times, lacking = plan_dates(available, dates)
    if any(lacking):
        missing = str(times[lacking.index(True)])[:10]
        raise InputError("`dates`", f"{missing} was not predicted", f"choose among {', '.join(days_of(series)[:12])} …")
    return [int(i) for i in np.flatnonzero(np.isin(available, times))]


def _part(series: xr.Dataset, window: Sequence[int] | None) -> Window:
    """Rows and columns to show."""
    sizes = series.sizes["y"], series.sizes["x"]
    if window is None:
        return slice(0, sizes[0]), slice(0, sizes[1])
    if len(window) not in (3, 4) or any(int(v) != v or v < 0 for v in window):
        raise InputError(
            "`window`", f"{tuple(window)} is not a window", "give row, column and side, e.g. 1000,2000,800"
        )
    row, col, *lengths = map(int, window)
    part = slice(row, min(row + lengths[0], sizes[0])), slice(col, min(col + lengths[-1], sizes[1]))
    if any(p.stop - p.start < 1 for p in part):
        raise InputError("`window`", f"lies outside the image of {sizes[0]} × {sizes[1]} pixels", "choose a part of it")
    return part


class _Reader:
    """Reads what is shown, small enough for a page."""

    def __init__(
        self, series: xr.Dataset, bands: list[str], part: Window, step: int, report: Progress,
        opened: Mapping[str, xr.Dataset],
    ) -> None:  # fmt: skip
        self.series, self.bands, self.step, self.report = series, bands, step, report
        box = geobox(series)
        for role in ("reference", "guide"):
            if role in opened and not same_grid(geobox(opened[role]), box):
                raise InputError(
                    opened[role].attrs.get("source", role),
                    "lies on another grid than the fusion",
                    "resample it to that",
                )
        for role, other in opened.items():
            if lacking := [b for b in bands if b not in [str(v) for v in other["band"].values]]:
                raise InputError(other.attrs.get("source", role), f"has no band {lacking[0]}", "name its bands alike")
        self.lr, self.ratio, lr_part = None, 1.0, None
        if "target" in opened:
            pair = GridPair(box, geobox(opened["target"]))
            self.ratio, lr_part = pair.ratio, pair.lr_window(part)
            if any(p.stop <= p.start for p in lr_part):
                lr_part = None
        near = {k: v for k, v in opened.items() if k != "target"}
        near |= {"reference": _matched(near["reference"], series)} if "reference" in near else {}
        near = {k: v for k, v in near.items() if v.sizes["time"]}
        self.total = sum(s.sizes["time"] for s in near.values()) + series.sizes["time"]
        self.total += opened["target"].sizes["time"] if lr_part else 0
        self.done = 0
        self.small = {k: thinned(s, bands, part, step, self.told) for k, s in near.items()}
        if lr_part is not None:
            self.lr = thinned(opened["target"], bands, lr_part, step_for(lr_part, SIDE // 2), self.told)
        self.fused = thinned(series, bands, part, step, self.told)

    def told(self) -> None:
        """Count an image."""
        self.done += 1
        self.report("read", self.done, self.total)

    @property
    def values(self) -> int:
        """How many values the series of a pixel have."""
        return self.total * len(self.bands)

    def material(self, method: str, title: str) -> Material:
        """What there is to see."""
        samples = {
            (method, day): Sample(*read_image(image := self.fused.isel(time=k), self.bands), *_sigma(image))
            for k, day in enumerate(days_of(self.fused))
        }
        return Material(
            name=title,
            title=title,
            bands=self.bands,
            dates=days_of(self.fused),
            grid=self.fused,
            samples={"target": samples},
            lr={"target": self.lr},
            ratios={"target": self.ratio},
            guide=self.small.get("guide"),
            reference=self.small.get("reference"),
        )

    def notes(self, part: Window) -> list[str]:
        """What a reader should know of what is shown."""
        rows, cols = (p.stop - p.start for p in part)
        if self.step == 1:
            return []
        return [
            f"{rows} × {cols} pixels are shown, each {self.step} × {self.step} of them as one; --window shows a part "
            "of them at full resolution."
        ]


def _sigma(image: xr.Dataset) -> tuple[Any, Any]:
    """The uncertainty, mean over the bands and of each."""
    if "uncertainty" not in image or not np.isfinite(image["uncertainty"].values).any():
        return None, None
    values = image["uncertainty"].values
    return values.mean(axis=0), values


def _matched(reference: xr.Dataset, fused: xr.Dataset) -> xr.Dataset:
    """The references nearest to the predictions, at most a day away, under the dates of these."""
    theirs, ours = reference["time"].values, fused["time"].values
    pairs = {}
    for time in ours:
        k = int(np.argmin(np.abs(theirs - time)))
        apart = abs(theirs[k].astype("datetime64[D]") - time.astype("datetime64[D]"))
        if apart <= NEAR:
            pairs[time] = k
    return reference.isel(time=list(pairs.values())).assign_coords(time=list(pairs))
