"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

FOREIGN, OUTPUT, SPEED = "Files of other makers", "Output", "Speed and memory"
RUN_SPEED = "Speed and output"
"""The panel of `benchmark` and `study`."""

Site = Annotated[
    list[Path],
    typer.Argument(
        metavar="SITE | GUIDE TARGET | TARGET",
        help="A site (a folder or Zarr store with guide/ and target/), the paths of the two series, or, for the "
        "methods carn and spatial, that of the LR series alone.",
    ),
]
TargetName = Annotated[str, typer.Option("--target", help="Name of the target series in a site, e.g. target_x5.")]
ResultsFolder = Annotated[Path, typer.Option("-o", "--out", help="Folder of the results; run again to resume.")]
Again = Annotated[
    bool, typer.Option("--overwrite", help="Start anew where results are there.", rich_help_panel=RUN_SPEED)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def max_dates(panel: str) -> Any:
    """``--max-dates``, in a panel of the help."""
    return typer.Option(help="Predict at most so many dates per site, spread evenly.", min=1, rich_help_panel=panel)


def max_days(panel: str) -> Any:
    """``--max-days``, in a panel of the help."""
    return typer.Option(
        help="Longest gap between an LR image and its reference, in days.", min=0, rich_help_panel=panel
    )
