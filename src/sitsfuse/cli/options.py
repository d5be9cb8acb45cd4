"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FOREIGN, OUTPUT, SPEED = "Files of other makers", "Output", "Speed and memory"

Site = Annotated[
    list[Path],
    typer.Argument(
        metavar="SITE | GUIDE TARGET | TARGET",
        help="A site (a folder or Zarr store with guide/ and target/), the paths of the two series, or, for the "
        "methods carn and spatial, that of the LR series alone.",
    ),
]
TargetName = Annotated[str, typer.Option("--target", help="Name of the target series in a site, e.g. target_x5.")]
DatePattern = Annotated[
    str | None,
    typer.Option(
        help="Where the date stands in file names: a strptime format such as A%Y%j, or a regular expression with the "
        "groups year, month and day. Default: YYYYMMDD or YYYY-MM-DD.",
        rich_help_panel=FOREIGN,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Names for bands, given by index or description: blue=1,green=2 or red=B4,nir=B8. Others are left out.",
        rich_help_panel=FOREIGN,
    ),
]
TargetDatePattern = Annotated[
    str | None,
    typer.Option(help="The same for the target, if its files are named otherwise.", rich_help_panel=FOREIGN),
]
TargetBands = Annotated[
    str | None,
    typer.Option(help="The same for the target, if its bands are named otherwise.", rich_help_panel=FOREIGN),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
