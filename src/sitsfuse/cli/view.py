"""The command view."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Quiet
from .parsing import names, numbers
from .reading import How, reads


@reads()
def view(
    fused: Annotated[Path, typer.Argument(help="What `sitsfuse fuse` wrote, or any series.")],
    reference: Annotated[Path | None, typer.Option(help="HR series to compare with, on the same grid.")] = None,
    target: Annotated[
        Path | None, typer.Option(help="LR series. Default: the one that was fused, if it is still there.")
    ] = None,
    guide: Annotated[Path | None, typer.Option(help="Guides. Default: those that were used.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The page. Default: FUSED.html.")] = None,
    window: Annotated[
        str | None,
        typer.Option(help="Part to show: row, column, side (or height, width), as 1000,2000,800. Default: the whole."),
    ] = None,
    dates: Annotated[str | None, typer.Option(help="Dates to show: 2019-05-01,2019-05-06. Default: up to 40.")] = None,
    quiet: Quiet = False,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Write a page to look at a fusion.

    Swipe between the LR image and the prediction, see where it is uncertain, and the series of a pixel with ± σ. The
    page needs nothing else and has at most 15 MB: beyond 800 pixels along a side, several are shown as one.

    Examples: `sitsfuse view fused/` · `sitsfuse view fused/ --window 1000,2000,800 --reference reference/ -o look.html`
    """
    from ..reporting.view import view as run
    from .progress import stages

    with stages(quiet) as report:
        page = run(
            fused,
            reference,
            out,
            target=target,
            guide=guide,
            window=None if window is None else [int(v) for v in numbers(window, "--window")],
            dates=names(dates),
            target_options=how.target,
            report=report,
            **how.all,
        )
    print(page)
