"""Commands about images: simulate, info, search."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .naming import as_options
from .options import Quiet
from .parsing import pairs
from .reading import How, reads


def simulate(
    out: Annotated[Path, typer.Option("-o", "--out", help="The site to write.")],
    like: Annotated[str | None, typer.Option(help="A site to imitate, with two targets: SUDOE-4, ARM …")] = None,
    size: Annotated[int | None, typer.Option(help="Side, in HR pixels. Default: 600, with --like 400.")] = None,
    ratio: Annotated[float | None, typer.Option(help="LR pixel size over HR pixel size. Default: 5.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all that is random. Default: 0.")] = None,
    guides: Annotated[int | None, typer.Option(help="Number of guides. Default: 13.")] = None,
    targets: Annotated[int | None, typer.Option(help="Number of LR images. Default: 12.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any further option of the simulator: landscape=mountains, cloud_cover=0.5 …"),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="zarr (one store) or geotiff (a folder per series).")
    ] = "zarr",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a site that is there.")] = False,
) -> None:
    """Simulate a site with a known truth: fields, forests, roads, water, clouds and two sensors.

    Writes the series guide, target and reference (the truth at the target's dates); with --like a target per ratio.
    """
    from ..simulator import simulate as run
    from ..simulator import simulate_site
    from ..writers import write_geotiffs, write_site

    if format_ not in ("zarr", "geotiff"):
        raise InputError("--format", f"{format_!r} is unknown", "choose zarr or geotiff")
    options: dict[str, Any] = {"size": size, "ratio": ratio, "seed": seed, "guides": guides, "targets": targets}
    options = {n: v for n, v in options.items() if v is not None} | pairs(set_ or [], "--set")
    site = run(**options) if like is None else simulate_site(like, **options)
    if format_ == "zarr":
        write_site(site, out, overwrite=overwrite)
    else:
        for name, node in site.children.items():
            write_geotiffs(node.to_dataset(), out / name, overwrite=overwrite)
    print(out)


def _contradicted(paths: list[Path], how: How) -> list[str]:
    """Guides that the target and the other guides contradict, from a few windows."""
    from ..core.levels import check_levels
    from ..radiometry.screening import screen
    from ..readers import open_pair, open_site, series_names

    try:
        if len(paths) == 2:
            site = open_pair(paths[0], paths[1], None, how.target, **how.all)
        elif {"guide", "target"} <= set(series_names(paths[0])):
            site = open_site(paths[0], "target", how.target, **how.all)
        else:
            return []
        check_levels(site)
        return [str(finding) for finding in screen(site, most=8).findings]
    except InputError:
        return []  # the description says what is wrong


@reads()
def info(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH | GUIDE TARGET",
            help="A series or a site (a folder of images or products, or a Zarr store), or the two series of a pair.",
        ),
    ],
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Show what a series or a site holds, or how two series fit together, and what is wrong with them."""
    from ..readers.description import describe, describe_pair

    # What is unusual stands in the description.
    logging.getLogger("sitsfuse").setLevel(logging.ERROR)
    if len(paths) > 2:
        raise InputError("info", f"got {len(paths)} paths", "give a series or a site, or a guide and a target")
    if len(paths) == 2:
        text = describe_pair(paths[0], paths[1], how.target, **how.all).format()
    else:
        text = describe(paths[0], how.target, **how.all).format()
    print(as_options(text))
    for finding in _contradicted(paths, how):
        print(f"  ! {finding}")


def search(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="A configuration with guide.search or target.search.")
    ],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the products into the folders that the configuration names.")
    ] = False,
    catalogue: Annotated[
        str | None, typer.Option(help="Address of a STAC server to ask instead of the provider.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Find the products of a site at their provider, and fetch them.

    What is there already is not fetched again. Accounts are set up as eodag wants it: see docs/prepare.md.
    """
    from ..catalogue.download import download as fetch
    from ..catalogue.query import Query
    from ..catalogue.search import search as find
    from ..catalogue.search import table
    from ..preparation.config import read_config
    from .progress import stages

    read = read_config(config)
    roles = {r: s for r in ("guide", "target", "reference") if (s := getattr(read, r)) is not None and s.search}
    if not roles:
        raise InputError(config, "has neither guide.search nor target.search", "say where to search: docs/prepare.md")
    for role, series in roles.items():
        query = Query.from_mapping(f"{config}: {role}.search", series.search)
        found = find(query, catalogue=catalogue)
        print(f"{role}: {len(found)} product{'s' * (len(found) != 1)} of {query.collection}")
        print(table(found))
        if download:
            with stages(quiet) as report:
                paths = fetch(found, series.path, report=report)
            print(f"{len(paths)} in {series.path}")
