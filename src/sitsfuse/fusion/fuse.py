"""Fuse a site: the function behind ``sitsfuse fuse``."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..core.channels import channels_of
from ..core.levels import check_levels
from ..core.site import SiteLayout, group
from ..core.tiling import blocks
from ..errors import InputError
from ..methods import Method, Predictor
from ..methods.registry import make_method
from ..radiometry.screening import Screening, screen
from ..readers import open_any
from ..runtime import memory, threads
from ..runtime.files import STATE, read_json
from ..runtime.progress import Progress, silent
from .choices import Choices, Step
from .dates import plan_dates
from .explain import OnDecision, explain
from .inputs import Inputs, inputs_of, screened
from .lazy import lazy_prediction
from .outputs.cog import CogOutput
from .outputs.form import form_of
from .outputs.layout import Layout
from .outputs.memory import MemoryOutput
from .outputs.zarr import ZarrOutput
from .pool import open_pool
from .record import configuration_of
from .run import OnFit, Run
from .sizes import SIDES, tile_side

LOGGER = logging.getLogger("sitsfuse")
TILE = SIDES[0]
"""Largest side that a tile has by default, in HR pixels."""
LOOK = 256
"""Side of the blocks that are looked at for a valid pixel."""
Place = str | Path
Source = Place | xr.Dataset
OnScreening = Callable[[Screening], None]
"""Called with what was found of the guides."""


@overload
def fuse(
    site: Source | xr.DataTree, target: None = None, out: None = None, **choices: Unpack[Choices]
) -> xr.Dataset: ...
@overload
def fuse(site: Source, target: xr.Dataset, out: None = None, **choices: Unpack[Choices]) -> xr.Dataset: ...
@overload
def fuse(site: xr.Dataset, target: Place, out: None = None, **choices: Unpack[Choices]) -> xr.Dataset: ...
@overload
def fuse(site: xr.DataTree, target: Place, out: None = None, **choices: Unpack[Choices]) -> Path: ...
@overload
def fuse(site: Place, target: Place, out: None = None, **choices: Unpack[Choices]) -> xr.Dataset | Path: ...
@overload
def fuse(
    site: Source | xr.DataTree, target: Source | None = None, *, out: Place, **choices: Unpack[Choices]
) -> Path: ...
@overload
def fuse(site: Source, target: Source, out: Place, **choices: Unpack[Choices]) -> Path: ...
def fuse(
    site: xr.DataTree | xr.Dataset | str | Path,
    target: xr.Dataset | str | Path | None = None,
    out: str | Path | None = None,
    *,
    method: str | Method = "ddi",
    options: Mapping[str, Any] | None = None,
    dates: Any = None,
    every: Step | None = None,
    format: str | None = None,
    tile: int | None = None,
    weights: bool = False,
    int16: bool = False,
    workers: int | None = None,
    scheduler: Any = None,
    overwrite: bool = False,
    renew: bool = False,
    keep_all_guides: bool = False,
    leave_out_same_day: bool = False,
    compute: bool = True,
    report: Progress = silent,
    on_fit: OnFit | None = None,
    on_screening: OnScreening | None = None,
    on_decision: OnDecision | None = None,
) -> xr.Dataset | Path:
    """Predict HR images of a site.

    Parameters
    ----------
    site
        A site, or the path of one; or the guide, a series or a path, followed by the target.
    target
        The target, after a guide. After a site, ``out`` may stand here.
    out
        Where to write; None keeps the images in memory. A second run over the same output resumes.
    method
        Name of a method, or a method.
    options
        The method's parameters, where ``method`` is a name.
    dates
        Dates to predict: a text, a date, several of them, an index, or a slice of the target's dates, both ends
        included; by default those of the target series.
    every
        Instead of ``dates``, a regular series over the time of the target series: ``"2d"``, a number of days or a
        timedelta of whole days.
    format
        ``"cog"``: a folder of GeoTIFFs; ``"zarr"``: one Zarr series; by default zarr where ``out`` ends in .zarr.
    tile
        Side of a tile, in HR pixels; it bounds the memory and does not change the result. By default that of the
        output, if a run is resumed; else up to 1024, so that there is work for all cores and memory for all tiles.
    weights
        Whether to keep the weights of the guides, where the method has them.
    int16
        Whether GeoTIFFs hold integers × 1e-4 instead of float32.
    workers
        Tiles at a time; by default the number of cores.
    scheduler
        A dask cluster to run on instead of threads: a ``Client``, a cluster, the address of a scheduler, or
        ``"active"`` for the client that is. Its workers must see the same files, and ``out`` must be given.
    overwrite
        Whether to start anew where there is an output already.
    renew
        Whether to make anew the dates of an output that images, a model or a mask change which were replaced or taken
        away since. By default that is refused; what was only added changes its dates without being asked.
    keep_all_guides
        Whether to believe every guide. By default a guide, or a part of it, is left out if it shows what neither the
        LR series nor the other guides show: a cloud that its mask misses, a wrong radiometry
        (:func:`~sitsfuse.radiometry.screening.screen`).
    leave_out_same_day
        Whether to leave out, of the whole run, guides taken on a day that is predicted: they give away the answer where
        a prediction is to be judged.
    compute
        False gives a series of dask arrays, a chunk per date and tile, of which nothing is computed yet; ``out`` is
        None then, and ``workers`` and ``scheduler`` are those of whoever computes it.
    report
        Called as the work proceeds.
    on_fit
        Called with each date that is fitted, on the calling thread: for those who want to ask its predictor more.
    on_screening
        Called once with what was found of the guides, if anything was.
    on_decision
        Called with each date, what would be done with it and why; then nothing is done.

    Returns
    -------
    xarray.Dataset or pathlib.Path
        The series in memory, with ``uncertainty(time, band, y, x)``, ``filled(time, y, x)``, the coordinate
        ``interpolated(time)`` and on request ``weight(time, guide_time, band, y, x)``; or ``out``.

    Raises
    ------
    InputError
        If input, options or output are unfit.
    """
    tree, out = open_any(site, target, out)
    chosen = make_method(method, options) if isinstance(method, str) else method
    if tile is not None and tile < 16:
        raise InputError("`tile`", f"{tile} is too small", "give at least 16 HR pixels")
    if not compute and (out is not None or scheduler is not None):
        raise InputError("`compute`", "is False, but `out` or `scheduler` is given", "write the result yourself")
    format = form_of(out, format)
    if leave_out_same_day:
        planned, _ = plan_dates(group(tree, "target")["time"].values, dates, every)
        tree = _without(tree, planned)
    check_guides(tree, chosen)
    check_levels(tree)
    inputs = inputs_of(tree, chosen)
    used: Inputs = inputs
    left_out: list[dict[str, Any]] = []
    if chosen.min_guides and not keep_all_guides:
        screening = screen(tree)
        tree, left_out = screening.apply(tree), screening.record
        used = screened(inputs, screening.wrong)
        for verdict in screening.findings:
            LOGGER.info("%s", verdict)
        if left_out and on_screening is not None:
            on_screening(screening)
    known = SiteLayout.of(tree)
    times, interpolated = plan_dates(known.targets, dates, every)
    layout = Layout(
        times=times,
        interpolated=interpolated,
        channels=channels_of(group(tree, "guide")),
        box=known.grids.hr,
        guides=known.guides,
        weights=weights,
        tile=tile or _tile(known, chosen, len(times), out, overwrite, workers, scheduler),
        config=configuration_of(tree, known, chosen, times) | {"left_out_guides": left_out},
        inputs=inputs,
        inside=known.grids.inside,
    )
    if not compute:
        return lazy_prediction(tree, known, chosen, layout)
    if on_decision is not None:
        if out is None:
            raise InputError("`on_decision`", "explains what would be done with an output", "give `out`")
        place = _on_disk(out, layout, format, int16)
        there = not overwrite and place.explained(renew)
        for decision in explain(tree, known, chosen, place, used, there):
            on_decision(decision)
        return Path(str(out))
    with _output(out, layout, format, int16, overwrite, scheduler, _sources(tree), renew) as output:
        threads.bound()
        try:
            with open_pool(workers, scheduler) as pool:
                Run(tree, known, chosen, output, pool, report, on_fit or _ignore, used).go()
        except InputError:
            # The user mends input or options and comes back, maybe with another configuration.
            output.withdraw()
            raise
        output.close()
    return output.series if isinstance(output, MemoryOutput) else Path(str(out))


def _without(site: xr.DataTree, times: npt.NDArray[np.datetime64]) -> xr.DataTree:
    """The site without guides of some days."""
    guide = group(site, "guide")
    same = np.isin(guide["time"].values.astype("datetime64[D]"), times.astype("datetime64[D]"))
    tree: xr.DataTree = site.copy()
    tree["guide"] = xr.DataTree(guide.isel(time=np.flatnonzero(~same)))
    return tree


def _tile(
    site: SiteLayout,
    method: Method,
    dates: int,
    out: str | Path | None,
    overwrite: bool,
    workers: int | None,
    scheduler: Any,
) -> int:
    """The side of a tile where none is asked for: that of a run to resume, else by cores and memory."""
    if out is not None and not overwrite:
        with contextlib.suppress(OSError):  # whoever opens the output tells what is wrong with it
            known = read_json(Path(out) / STATE / "run.json").get("tile")
            if isinstance(known, int):
                return known
    if scheduler is not None:
        return TILE  # nobody knows the memory of its workers
    planes = max(len(site.guides), 1) * len(site.bands)
    slots = workers or threads.default_workers()
    return tile_side(site.grids.hr.shape, method.halo(site.ratio), planes, dates, slots, memory.free())


def check_guides(site: xr.DataTree, method: Method) -> None:
    """Raise :class:`InputError` if there are too few guides for the method, or one has no valid pixel."""
    guide = group(site, "guide")
    count = guide.sizes["time"]
    if count < method.min_guides:
        raise InputError(
            _source(guide, "guide"),
            f"holds {count} image{'s' * (count != 1)}, and {method.name} needs at least {method.min_guides}",
            'add guides or use `method="spatial"`',
        )
    if not method.min_guides:
        return
    for i in range(count):
        if not _any_valid(guide.isel(time=[i])):
            name = str(guide["product"].values[i]) if "product" in guide.coords else str(guide["time"].values[i])[:10]
            source = guide.attrs.get("source")
            raise InputError(
                f"{source}/{name}" if source else f"guide {name}", "has no valid pixel", "remove it or mend its mask"
            )


def _any_valid(image: xr.Dataset) -> bool:
    """Whether an image has a valid pixel; reads small blocks, the middle first, until it finds one."""
    shape = image.sizes["y"], image.sizes["x"]
    places = sorted(blocks(shape, LOOK), key=lambda b: _off_centre(b[0], shape[0]) + _off_centre(b[1], shape[1]))
    return any(image["valid"].isel(y=y, x=x).values.any() for y, x in places)


def _off_centre(part: slice, size: int) -> int:
    """Twice the distance of the middle of a part from that of the whole."""
    return abs(int(part.start) + int(part.stop) - size)


def _ignore(_date: np.datetime64, _predictor: Predictor) -> None:
    """Nobody asks for the predictors."""


def _source(series: xr.Dataset, role: str) -> str:
    return str(series.attrs.get("source", role))


def _sources(site: xr.DataTree) -> dict[str, dict[str, Any]]:
    """Where the series of a site lie, as far as they lie somewhere, and how they are read."""
    found = {}
    for role, node in site.children.items():
        if "source" in node.attrs:
            path = str(node.attrs["source"])
            whole = path if "://" in path or path.startswith("/vsi") else str(Path(path).absolute())
            found[role] = {"path": whole, "options": dict(node.attrs.get("reading", {}))}
    return found


@contextmanager
def _output(
    out: str | Path | None,
    layout: Layout,
    kind: str,
    int16: bool,
    overwrite: bool,
    scheduler: Any,
    sources: Mapping[str, Mapping[str, Any]],
    renew: bool,
) -> Iterator[MemoryOutput | ZarrOutput | CogOutput]:
    if out is None:
        if scheduler is not None:
            raise InputError("`scheduler`", "its workers cannot write into this process", "give `out`")
        yield MemoryOutput(layout)
        return
    disk = _on_disk(out, layout, kind, int16)
    with disk.claimed(overwrite, sources, renew):
        yield disk


def _on_disk(out: str | Path, layout: Layout, kind: str, int16: bool) -> ZarrOutput | CogOutput:
    return ZarrOutput(Path(out), layout) if kind == "zarr" else CogOutput(Path(out), layout, int16)
