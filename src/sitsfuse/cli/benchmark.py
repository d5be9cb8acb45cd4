"""`sitsfuse benchmark` and `sitsfuse report`: every method on every date of every site, and the page about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import options as shared
from .options import RUN_SPEED, Again, Quiet, ResultsFolder
from .parsing import names, pairs
from .reading import How, reads

if TYPE_CHECKING:
    import pandas as pd


_WHAT = "What is compared"
SHOWN = ("rmse", "ce90", "gradient_correlation")
"""Metrics in the table on the terminal, of those that the page ranks by."""


@reads()
def benchmark(
    out: ResultsFolder,
    sites: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SITE…]",
            help="Sites with references (folders or Zarr stores with guide/, target…/ and reference/). None: six "
            "simulated sites with a known truth, in the image of those of the Sentinel-HR study.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Methods, with commas between them. Default: all.", rich_help_panel=_WHAT),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            help="LR series, i.e. ratios: target_x5,target_x2.5. Default: all of a site.", rich_help_panel=_WHAT
        ),
    ] = None,
    protocols: Annotated[
        str,
        typer.Option(
            help="What is left out before a date is predicted: standard, guide-gap:DAYS or target-gap:DAYS (no image "
            "for so long), no-lr (the date's LR image is lost), forecast (only what was known on the date).",
            rich_help_panel=_WHAT,
        ),
    ] = "standard",
    max_dates: Annotated[int | None, shared.max_dates(_WHAT)] = None,
    max_days: Annotated[float, shared.max_days(_WHAT)] = 1.0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of a method: ddi.window=51. May be repeated.", rich_help_panel=_WHAT),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the simulated sites, in HR pixels. Default: 240.", rich_help_panel=_WHAT),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the predicted images, as GeoTIFFs.", rich_help_panel=RUN_SPEED)
    ] = False,
    tile: Annotated[
        int, typer.Option(help="Side of a tile, in HR pixels: it bounds the memory.", min=16, rich_help_panel=RUN_SPEED)
    ] = 1024,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Predictions at a time, each a process with its share of the cores. Default: as many as cores. For "
            "large scenes fewer, to save memory; 0: in this process.",
            min=0,
            rich_help_panel=RUN_SPEED,
        ),
    ] = None,
    overwrite: Again = False,
    quiet: Quiet = False,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Predict and judge every date with every method: one table for all, and what `sitsfuse report` draws.

    Guides of a predicted day are never used. A killed run goes on where it was when it is run again, and may then be
    given more sites, methods or protocols; what failed is tried again. A method that fails fails alone.

    Examples: `sitsfuse benchmark -o results` · `sitsfuse benchmark site1.zarr site2/ -o results --methods ddi,starfm`
    """
    from ..benchmarking import SIMULATED
    from ..benchmarking import benchmark as run
    from ..benchmarking.results import Results
    from .progress import stages

    if sites and size is not None:
        raise InputError("--size", "is of the simulated sites", "drop it, or give no SITE")
    options: dict[str, dict[str, str]] = {}
    for key, value in pairs(set_ or [], "--set").items():
        method, dot, option = key.rpartition(".")
        if not dot:
            raise InputError("--set", f"{key!r} names no method", "write METHOD.OPTION=VALUE, e.g. ddi.steps=300")
        options.setdefault(method, {})[option] = value
    with stages(quiet) as report:
        table = run(
            sites or [],
            out,
            methods=names(methods),
            options=options,
            targets=names(targets),
            protocols=names(protocols) or [],
            max_dates=max_dates,
            max_days=max_days,
            size=SIMULATED if size is None else size,
            keep=keep,
            tile=tile,
            jobs=jobs,
            reading=how.all,
            target_reading=how.target,
            overwrite=overwrite,
            report=report,
        )
    print(_digest(table))
    failures = Results(out).failures()
    for name in failures["method"].unique():
        errors = failures.loc[failures["method"] == name, "error"]
        print(f"{name}: {len(errors)} failed, the first with: {errors.iloc[0]}")
    print(f"{out / 'metrics.parquet'}; look at it with: sitsfuse report {out}")


def report(
    results: Annotated[Path, typer.Argument(help="Output of `sitsfuse benchmark` or `study`.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Page to write. Default: report.html in RESULTS.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make the page of a benchmark or a study: one HTML file that needs no network, and its figures as PNG and SVG.

    Rankings with confidence intervals, errors against dates, cost, calibration of the uncertainty, claims put to the
    test, and a viewer of the images. The figures go to a folder beside the page.

    Example: `sitsfuse report results -o report.html`
    """
    from ..reporting import report as run
    from .progress import stages

    with stages(quiet) as show:
        page = run(results, out, report=show)
    print(page)


def _digest(table: pd.DataFrame) -> str:
    """Per ratio and protocol the page's ranking, on the pairs that all methods have, and three of its measures."""
    if table.empty:
        return "no prediction succeeded"
    from ..benchmarking.ranking import ranking
    from ..benchmarking.scores import Scores
    from ..drawing.text import counted
    from ..reporting.words import ratio_name, value

    scores = Scores.of(table)
    parts = []
    for protocol in scores.protocols:
        for ratio in scores.ratios:
            held = ranking(scores, ratio, scores.headline(ratio), protocol)
            if not held.places:
                continue
            shown = [m for m in held.measures if m.metric in SHOWN]
            name = "" if protocol == "standard" else f", {protocol}"
            head = ["method", *(m.label for m in shown)]
            rows = [head, *([p.method, *(value(m, p.cells[m].mean) for m in shown)] for p in held.places)]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            sites = counted(held.sites, "site")
            parts.append(f"{ratio_name(ratio)}{name}: means over {counted(held.pairs, 'pair')} of {sites}")
            parts += ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
            parts.append("")
    return "\n".join(parts).rstrip() or "no date that several methods share: nothing to compare"
