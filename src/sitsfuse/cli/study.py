"""`sitsfuse study`: one controlled disturbance at a time, and from which level it hurts."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError
from . import options as shared
from .options import RUN_SPEED, Again, Quiet, ResultsFolder
from .parsing import names, numbers

_WHAT = "What is studied"


def study(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="revisit, registration, ratio, radiometry, clouds, scale or noise.",
            show_default=False,
        ),
    ],
    out: ResultsFolder,
    sites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SITE…]",
            help="Sites with references, or names of simulated ones: arm, esgisb-2, fr-bil, fr-lq1, mad-ambo, sudoe-4. "
            "None: arm, fr-bil and sudoe-4, simulated.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods, with commas between them. Default: temporal,spatial,difference,robot,estarfm.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    variants: Annotated[
        str | None, typer.Option(help="Ways to disturb. Default: all of the study.", rich_help_panel=_WHAT)
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(help="Sizes of the disturbance. Default: those of each variant.", rich_help_panel=_WHAT),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="How many times what is random is drawn.", min=1, rich_help_panel=_WHAT)
    ] = 3,
    max_dates: Annotated[int, shared.max_dates(_WHAT)] = 4,
    max_days: Annotated[float, shared.max_days(_WHAT)] = 1.0,
    size: Annotated[
        int, typer.Option(help="Side of the simulated sites, in HR pixels.", min=40, rich_help_panel=_WHAT)
    ] = 100,
    jobs: Annotated[
        int | None,
        typer.Option(help="Predictions at a time. Default: as many as cores.", min=0, rich_help_panel=RUN_SPEED),
    ] = None,
    overwrite: Again = False,
    quiet: Quiet = False,
) -> None:
    """Disturb sites in one way, more and more, and tell from which level on methods suffer.

    Every level is judged by the same undisturbed references on the same pixels. A killed run goes on where it was.
    `sitsfuse report` draws the curves and writes the verdicts.

    Examples: `sitsfuse study revisit -o results` · `sitsfuse study registration site.zarr -o results --variants within`
    """
    from ..benchmarking.results import Results
    from ..studies import STUDIES
    from ..studies import study as run
    from .progress import stages

    if kind not in STUDIES:
        raise InputError("STUDY", f"{kind!r} is unknown", f"choose among {', '.join(STUDIES)}")
    with stages(quiet) as report:
        table = run(
            kind,
            sites or [],
            out,
            methods=names(methods),
            variants=names(variants),
            levels=numbers(levels, "--levels") if levels else None,
            seeds=seeds,
            max_dates=max_dates,
            max_days=max_days,
            size=size,
            jobs=jobs,
            overwrite=overwrite,
            report=report,
        )
    failures = Results(out).failures()
    for name in failures["method"].unique():
        errors = failures.loc[failures["method"] == name, "error"]
        print(f"{name}: {len(errors)} failed, the first with: {errors.iloc[0]}")
    made = 0 if table.empty else len(table.drop_duplicates(["site", "target", "protocol", "method", "date"]))
    print(f"{made} predictions in {out / 'metrics.parquet'}; verdicts and curves with: sitsfuse report {out}")
