"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write to.")] = Path("demo-output"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make everything anew.")] = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a site, fuse it with every method, evaluate, and draw a figure.

    Takes a minute or two. Run again, it makes only what is missing.
    """
    from ..demonstration import demo as run
    from .progress import stages

    with stages(quiet) as report:
        made = run(out, overwrite=overwrite, report=report)
    print(made)
