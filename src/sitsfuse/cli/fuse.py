"""The commands fuse and methods."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import OUTPUT, SPEED, Quiet, Site, TargetName
from .parsing import names, numbers, pairs
from .reading import How, reads

if TYPE_CHECKING:
    import xarray as xr

    from ..radiometry.screening import Screening


@reads()
def fuse(
    paths: Site,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of GeoTIFFs or Zarr store to write; run again to resume.")
    ],
    method: Annotated[str, typer.Option(help="One of `sitsfuse methods`.")] = "ddi",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the method, see `sitsfuse methods`: --set steps=500 --set seed=3."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a network, as `sitsfuse train` writes it, for the methods carn and carn+ddi."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            help="Where TARGET stands alone: its pixel size over that of the prediction. Default: that of --model."
        ),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(help="Dates to predict: 2019-05-01,2019-05-06. Default: those of the target.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(help="Instead, a regular series over the target's time: 2d. Gaps are interpolated.")
    ] = None,
    target: TargetName = "target",
    mtf: Annotated[
        str | None,
        typer.Option(
            help="MTF of the LR sensor at its Nyquist frequency: 0.3, or one per band of the guide. Default: what the "
            "target says, else 0.3."
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="cog: a GeoTIFF per date; zarr: one Zarr series. Default: zarr where OUT ends in .zarr, else cog.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    int16: Annotated[
        bool, typer.Option("--int16", help="GeoTIFFs as integers × 1e-4.", rich_help_panel=OUTPUT)
    ] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also keep the weight of each guide (ddi).", rich_help_panel=OUTPUT)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where an output is there.", rich_help_panel=OUTPUT)
    ] = False,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="Make anew the dates of OUT that are changed by inputs which were replaced or taken away since.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Only say what would be done with each date, and why.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    keep_all_guides: Annotated[
        bool,
        typer.Option(
            "--keep-all-guides",
            help="Believe every guide, also where it shows what neither the LR series nor the other guides show.",
        ),
    ] = False,
    leave_out_same_day: Annotated[
        bool,
        typer.Option(
            "--leave-out-same-day",
            help="Leave out guides taken on a day that is predicted: they would give away what is to be judged.",
        ),
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda, for methods that train.", rich_help_panel=SPEED)
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of a tile, in HR pixels: it bounds the memory. Default: by cores and free memory.",
            min=16,
            rich_help_panel=SPEED,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Tiles at a time. Default: all cores.", min=1, rich_help_panel=SPEED)
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Run on a dask cluster: its scheduler's address, tcp://host:8786.", rich_help_panel=SPEED),
    ] = None,
    quiet: Quiet = False,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Predict HR images at every LR date.

    Writes YYYYMMDD.tif, YYYYMMDD_uncertainty.tif and YYYYMMDD_mask.tif (0 valid, 1 invalid, 2 filled, 3
    outside the LR image) per date. A killed run resumes where it was when it is run again. New LR images add their
    dates; new guides change those dates alone that read them or learn from them.

    Examples: `sitsfuse fuse SITE -o fused` · `sitsfuse fuse venus/ sentinel2/ -o fused --every 2d --weights` ·
    `sitsfuse fuse sentinel2/ -o fused --method carn --model model`
    """
    from ..core.site import group
    from ..fusion.dates import plan_dates
    from ..fusion.fuse import fuse as run
    from ..fusion.outputs.disk import read_records
    from .progress import stages

    options = pairs(set_ or [], "--set")
    if device is not None:
        options["device"] = device
    if model is not None:
        from ..superresolution.card import read_card

        options["model"] = str(model)
        factor = factor or read_card(model).factor
    chosen = names(dates)
    site = _open(paths, target, how.all, how.target, mtf, factor)
    times, _ = plan_dates(group(site, "target")["time"].values, chosen, every)
    with stages(quiet) as report:
        run(
            site,
            out,
            method=method,
            options=options,
            dates=chosen,
            every=every,
            format=format_,
            tile=tile,
            weights=weights,
            int16=int16,
            workers=workers,
            scheduler=scheduler,
            overwrite=overwrite,
            renew=renew,
            keep_all_guides=keep_all_guides,
            leave_out_same_day=leave_out_same_day,
            report=report,
            on_screening=None if quiet else _tell,
            on_decision=print if explain else None,
        )
    if explain:
        return
    # An output may hold the dates of other runs, too.
    records = read_records(out)
    for day in (str(t)[:10] for t in times):
        print(f"{day}  {_line(day, records[day])}")
    print(out)


def _tell(screening: Screening) -> None:
    """Say which guides are left out, before the work begins."""
    for verdict in screening.findings:
        print(f"sitsfuse: {verdict}; --keep-all-guides believes it", file=sys.stderr)


def methods() -> None:
    """List the methods, their options and papers."""
    from ..core.options import parameters
    from ..methods import known_methods

    for name, cls in known_methods().items():
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        print(f"{name}: {summary}\n    paper: {cls.paper}")
        for option in parameters(cls):
            default = option.default
            shown = ",".join(str(v) for v in default) if isinstance(default, tuple) else default
            shown = '""' if shown == "" else shown
            print(f"    {option.name}={shown}  {option.text}")


def _open(
    paths: Sequence[Path],
    target: str,
    how: dict[str, Any],
    own: dict[str, Any],
    mtf: str | None,
    factor: float | None,
) -> xr.DataTree:
    """The site of one path, or of two."""
    from ..core.checks import check
    from ..readers import open_pair, open_site, open_target, series_names

    alone = len(paths) == 1 and paths[0].is_dir() and not series_names(paths[0])
    if alone:
        if factor is None:
            mend = "give GUIDE TARGET; --factor or --model if there is no guide"
            raise InputError(paths[0], "has no guide/ and target/", mend)
        site = open_target(paths[0], factor, **how | own)
    elif len(paths) == 1:
        site = open_site(paths[0], target, own, **how)
    elif len(paths) == 2:
        if target != "target":
            raise InputError("--target", f"{target!r} names a series of a site, but two paths are given", "drop it")
        site = open_pair(paths[0], paths[1], None, own, **how)
    else:
        raise InputError("fuse", f"got {len(paths)} paths", "give a site, or a guide and a target (and -o OUT)")
    if mtf is not None:
        values = numbers(mtf, "--mtf")
        site["target"].attrs["mtf"] = values[0] if len(values) == 1 else values
        check(site["target"].to_dataset(), "--mtf")
    return site


def _line(day: str, record: dict[str, Any]) -> str:
    """What happened to a date, in a line."""
    notes = []
    if record.get("interpolated"):
        notes.append("LR interpolated in time")
    guides = record.get("guides") or [day]
    if day in record.get("guides", []):
        notes.append("a guide of this day was used")
    if day < min(guides):
        notes.append("before the first guide")
    if day > max(guides):
        notes.append("after the last guide")
    valid, filled = record.get("valid_share", 1.0), record.get("filled_share", 0.0)
    outside = record.get("outside_share", 0.0)
    if valid < 1:
        notes.append(f"{100 * (1 - valid):.1f} % nodata")
    if record.get("targets") and filled > 0:
        # A method that reads no LR image fills everything: that is not news.
        no_clear = "no clear LR pixel, all from the guides"
        if filled == valid:
            notes.append(no_clear)
        elif filled - outside >= 5e-4:
            notes.append(f"{100 * (filled - outside):.1f} % filled without a clear LR pixel")
        if outside and filled != valid:
            notes.append(f"{100 * outside:.1f} % outside the LR image")
    choices = record.get("choices", {})
    if choices.get("head"):
        notes.append(f"{choices['head']}, penalty {choices['penalty']}")
    elif choices.get("note"):
        notes.append(choices["note"])
    return "; ".join(notes) or "done"
