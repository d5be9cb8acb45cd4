"""The command prepare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Quiet
from .parsing import names, pairs
from .reading import How, reads

_CHOICE, _CORRECTIONS = "Which images", "Corrections"


@reads(but=("bands",))
def prepare(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG.toml | GUIDE TARGET",
            help="A configuration, or the HR and the LR images: folders of products or GeoTIFFs, or Zarr stores.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The site to write, a Zarr store; run again to resume.")],
    reference: Annotated[
        Path | None, typer.Option(help="HR images to compare with, if they lie apart; they are never guides.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be chosen and draw it to OUT_plan.png; write no site.")
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option(
            help="production: all images are guides and targets; benchmark: guides by revisit, the other HR images "
            "become references.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    revisit: Annotated[
        float | None, typer.Option(help="Days between guides (benchmark). Default: 20.", rich_help_panel=_CHOICE)
    ] = None,
    max_days: Annotated[
        float | None,
        typer.Option(
            help="Days from a reference to its target, less than (benchmark). Default: 1.", rich_help_panel=_CHOICE
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the site: blue,green,red,nir. Default: all in common.", rich_help_panel=_CHOICE),
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(help="shift, affine, local or none. Default: shift.", rich_help_panel=_CORRECTIONS),
    ] = None,
    harmonize: Annotated[
        str | None,
        typer.Option(help="pooled, per-date, mixing or none. Default: pooled.", rich_help_panel=_CORRECTIONS),
    ] = None,
    degrade: Annotated[
        float | None,
        typer.Option(help="Pixel size to degrade the LR images to, in metres.", rich_help_panel=_CORRECTIONS),
    ] = None,
    mask_missed_clouds: Annotated[
        bool | None,
        typer.Option(
            "--mask-missed-clouds",
            help="Mask what guides show and neither the other guides nor the LR series do; else it is only told.",
            rich_help_panel=_CORRECTIONS,
        ),
    ] = None,
    on_error: Annotated[
        str | None, typer.Option(help="skip images that cannot be used, or stop. Default: skip.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a site is there.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Blocks at a time. Default: one per core, at most 4.", min=1)
    ] = None,
    quiet: Quiet = False,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Make a site from product archives or series: choose, register, harmonise, degrade.

    Writes a Zarr store with guide, target and reference, and prepare.html in it, which shows what was done. Options
    override what the configuration says. A killed run resumes where it was when it is run again.

    Examples: `sitsfuse prepare site.toml -o site.zarr` · `sitsfuse prepare venus/ sentinel2/ -o site.zarr --dry-run`
    """
    from ..preparation import changed, make_config, plan_site, read_config
    from ..preparation import prepare as run
    from .progress import stages

    if len(paths) == 1 and paths[0].suffix == ".toml":
        config = read_config(paths[0])
    elif len(paths) == 2:
        config = make_config({"guide": {"path": paths[0]}, "target": {"path": paths[1]}})
    else:
        raise InputError(
            "prepare",
            f"got {len(paths)} path{'s' * (len(paths) != 1)}",
            "give CONFIG.toml, or a guide and a target (and -o OUT)",
        )
    config = changed(
        config,
        {
            "reference": None if reference is None else {"path": reference},
            "guide.bands": pairs(bands.split(","), "--bands") if bands and "=" in bands else names(bands),
            "target.degrade": degrade,
            "selection.mode": mode,
            "selection.revisit": revisit,
            "selection.max_days": max_days,
            "registration.model": register,
            "harmonization.mode": harmonize,
            "mask_missed_clouds": mask_missed_clouds,
            "on_error": on_error,
        },
    )
    roles = ["guide", "target", *(["reference"] if config.reference else [])]
    told = {f"{role}.{name}": value for role in roles for name, value in how.all.items()}
    config = changed(config, told | {f"target.{name}": value for name, value in how.target.items()})
    with stages(quiet) as report:
        if dry_run:
            from ..preparation.page import draw_timeline
            from ..preparation.record import planned

            found = plan_site(config, report)
            picture = out.with_name(f"{out.stem}_plan.png")
            draw_timeline(planned(config, found), picture)
        else:
            done = run(config, out, overwrite=overwrite, workers=workers, report=report)
    if dry_run:
        for problem in found.problems:
            print(f"sitsfuse: left out: {problem}", file=sys.stderr)
        print(found.plan.format())
        print(picture)
        return
    for problem in done["problems"]:
        print(f"sitsfuse: left out: {problem['path']}: {problem['problem']}", file=sys.stderr)
    print(done["summary"])
    print(out / "prepare.html")
    print(out)
