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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
