"""The command demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write to.")] = Path("demo-output"),
    all_: Annotated[bool, typer.Option("--all", help="Fuse with every method, not with four.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make everything anew.")] = False,
    quiet: Quiet = False,
) -> None:
    """The whole way on made-up images: prepare a site, fuse, evaluate, draw a figure, and report.

    Takes about three minutes on two cores, with --all longer. Run again, it makes only what is missing.
    """
    from ..demonstration import SOME
    from ..demonstration import demo as run
    from ..methods import METHODS
    from .progress import stages

    with stages(quiet) as report:
        made = run(out, methods=tuple(METHODS) if all_ else SOME, overwrite=overwrite, report=report)
    print(made)
